"""What a run reads: roles, files, built-in names, and that every source is opened once."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import noise
from PIL import Image

from impasto import inputs
from impasto.errors import OptionError, PictureError, UnknownNameError
from impasto.inputs import Inputs, Layer, StyleFile, built_in, style_file, style_names

MOST = 10**6  # pixels
EVERYTHING = Inputs(
    "photo.png",
    ("style.png", "starry-night"),
    (Layer("mask.png", "udnie"), Layer("mask.png", None), Layer("mask.png", "style.png")),
    start="start.png",
    weights="w.safetensors",
)
ROLES = ["photo", "style", "style 2", "mask", "style of mask", "mask 2", "mask 3", "style of mask 3", "start", "weights"]


@pytest.fixture(autouse=True)
def here(here: Path) -> Path:
    for name in ("mask.png", "start.png"):
        noise(here / name, 40, 48, seed=3)
    (here / "w.safetensors").write_bytes(b"weights")
    return here


def test_roles_name_every_input_and_lead_back_to_it() -> None:
    assert list(EVERYTHING.sources()) == ROLES
    assert Inputs.of(EVERYTHING.sources()) == EVERYTHING
    paired = Inputs("photo.png", ("style.png",), pair=("mask.png", "start.png"))
    assert list(paired.sources()) == ["photo", "style", "content mask", "style mask"]
    assert Inputs.of(paired.sources()) == paired
    assert EVERYTHING.files() == {
        role: built_in(source) if source in ("starry-night", "udnie") else Path(source)
        for role, source in EVERYTHING.sources().items()
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"styles": ()}, "a style is needed; name a painting, or use mask"),
        ({"styles": (), "layers": (Layer("mask.png", None),)}, "a style is needed"),
        ({"styles": (), "pair": ("a", "b")}, "a pair of masks needs a painting"),
        ({"layers": (Layer("mask.png", None),), "pair": ("a", "b")}, "two kinds of masks are given"),
    ],
)
def test_what_cannot_go_together_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=f"^{says}"):
        Inputs(**{"photo": "photo.png", "styles": ("style.png",)} | given)


def test_layers_from_words() -> None:
    assert Layer.parse("a=b.png=night.style") == Layer("a=b.png", "night.style")
    assert Layer.parse("sky.png=keep") == Layer("sky.png", None)
    for text in ("a.png", "=a.png", "a.png="):
        with pytest.raises(OptionError, match=rf"^mask must be MASK=STYLE or MASK=keep, not '{text}'$"):
            Layer.parse(text)


def test_every_source_is_read_once_with_its_hash(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    path_open = Path.open

    def counted(self: Path, *words: Any, **more: Any) -> Any:
        opened.extend([self.name] if self.suffix == ".png" else [])
        return path_open(self, *words, **more)

    monkeypatch.setattr(Path, "open", counted)
    paired = Inputs("photo.png", ("style.png",), pair=("mask.png", "start.png"))
    loaded = paired.load(MOST)
    assert sorted(opened) == ["mask.png", "photo.png", "start.png", "style.png"]
    assert loaded.hashes() == {
        role: (file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for role, file in paired.files().items()
    }


def test_what_was_not_a_file_has_no_name_and_a_hash_of_its_bytes(here: Path) -> None:
    data = Path("photo.png").read_bytes()
    array = np.zeros((40, 40, 3), np.uint8)
    expected = hashlib.sha256(data).hexdigest()
    for source in (data, io.BytesIO(data)):
        assert Inputs(source, (array,)).load(MOST).hashes() == {"photo": ("", expected)}
    loaded = Inputs(Image.open("photo.png"), (array,), weights="w.safetensors").load(MOST)
    assert loaded.hashes() == {"weights": ("w.safetensors", hashlib.sha256(b"weights").hexdigest())}
    assert loaded.photo.pixels.shape == (1, 3, 40, 48)


def test_messages_say_which_input_is_wrong(here: Path) -> None:
    Path("broken.png").write_bytes(b"broken")
    good: dict[str, Any] = {"photo": "photo.png", "styles": ("style.png",)}
    for given, role in (
        ({"photo": "broken.png"}, "photograph"),
        ({"styles": ("style.png", "broken.png")}, "style image"),
        ({"layers": (Layer("broken.png", None),)}, "mask"),
        ({"pair": ("broken.png", "mask.png")}, "content mask"),
        ({"pair": ("mask.png", "broken.png")}, "style mask"),
        ({"start": "broken.png"}, "start image"),
    ):
        with pytest.raises(PictureError, match=f"^{role} broken.png: "):
            Inputs(**good | given).load(MOST)
    with pytest.raises(PictureError, match=r"^photograph photo.png: .*pixels.*; raise max_pixels$"):
        Inputs(**good).load(100)


def test_names_of_styles(here: Path) -> None:
    assert len(style_names()) == 12
    name = style_names()[0]
    assert built_in(name) == style_file(name) == style_file(Path(f"./{name}"))
    assert style_file(f"sub/{name}") is style_file("photo.png") is style_file("qqqqqq") is style_file(b"x") is None
    assert style_file("any.STYLE") == Path("any.STYLE")
    for word, meant in (("sarry-night", "starry-night"), ("Great Wave", "great-wave"), ("unie", "udnie")):
        with pytest.raises(UnknownNameError, match=f"^unknown style '{word}'; did you mean '{meant}'"):
            style_file(word)
    Path("udnie").mkdir()  # a folder is no image, so the name stays a name
    assert style_file("udnie") == built_in("udnie")
    Path("starry-night").write_bytes(Path("style.png").read_bytes())
    assert style_file("starry-night") is None
    assert inputs.open_style("starry-night", MOST).size == (48, 40)
    opened = inputs.open_style("udnie", MOST)
    assert opened == StyleFile(built_in("udnie"), hashlib.sha256(built_in("udnie").read_bytes()).hexdigest())
    assert opened.name == "udnie.style"


def test_no_photograph_is_said() -> None:
    with pytest.raises(PictureError, match="a photograph is needed, not None"):
        Inputs(None, ("style.png",))
