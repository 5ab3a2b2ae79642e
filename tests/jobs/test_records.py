"""What an image remembers: the record in its file, options and inputs again from it, what differs now, and damaged records."""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import noise, pixels_of
from jobs.small import OUT, finish, job
from PIL import Image

import impasto
from impasto import catalog, pictures
from impasto.catalog import defaults
from impasto.errors import OptionError, PictureError, UsageError
from impasto.inputs import Inputs, Layer, built_in
from impasto.jobs import records
from impasto.jobs.records import Input, Previous, Record

QUICK: dict[str, Any] = {"size": 32, "iterations": 2}
SUFFIXES = (".png", ".jpg", ".webp", ".tif")

pytestmark = pytest.mark.usefixtures("here")


def sha256(file: str | Path) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def previous_of(settings: dict[str, Any], name: str = "out.png", **record: Any) -> Previous:
    return Previous(Path(name), settings, Record(**record))


# ------------------------------------------------------------------------------------------------------------- the record


def test_the_record_says_how_it_was_made(here: Path, assets: Path) -> None:
    weights = here / "mine.safetensors"
    weights.write_bytes((assets / "lite.safetensors").read_bytes())
    layers = (Layer("mask.png", "another.png"),)
    inputs = Inputs("photo.png", ("style.png", "another.png"), layers, start="another.png", weights=weights)
    finish(job(inputs=inputs, tv_weight=2, **QUICK))
    found = records.read(OUT).settings
    assert found["inputs"] == {
        role: {"name": name, "sha256": sha256(name)}
        for role, name in {
            "photo": "photo.png",
            "style": "style.png",
            "style 2": "another.png",
            "mask": "mask.png",
            "style of mask": "another.png",
            "start": "another.png",
            "weights": "mine.safetensors",
        }.items()
    }
    assert (found["impasto"], found["torch"]) == (impasto.__version__, torch.__version__)
    assert found["encoder_digest"] == impasto.Stylizer(device="cpu").encoder.digest != ""
    assert (found["width"], found["height"], found["threads"]) == (32, 27, torch.get_num_threads())
    assert found["ran_on"].startswith("cpu ")
    assert min(found["seconds"], found["memory"]) > 0
    assert found["losses"].keys() == {"content", "style", "palette", "variation"}
    assert found["picture"] == hashlib.sha256(b"RGB 32x27\n" + pixels_of(OUT).tobytes()).hexdigest()
    assert (found["size"], found["method"], found["encoder"], found["tv_weight"]) == (32, "impasto", "lite", 2)
    assert "max_pixels" not in found
    with Image.open(OUT) as image:
        assert json.loads(image.info["impasto"]) == found
    options = {name: value for name, value in found.items() if name in impasto.Options.model_fields}
    made = impasto.stylize(
        "photo.png", ["style.png", "another.png"], masks=[("mask.png", "another.png")], start="another.png", **options
    )
    assert (np.asarray(made) == pixels_of(OUT)).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_folder_user_or_machine_is_named(here: Path, suffix: str) -> None:
    private = here / "private-folder"
    private.mkdir()
    for name in ("photo.png", "style.png"):
        Path(name).rename(private / name)
    photo, style = private / "photo.png", private / "style.png"
    finish(job(private / f"out{suffix}", Inputs(photo, (style,), (Layer(photo, style),), start=photo), **QUICK))
    written = (private / f"out{suffix}").read_bytes()
    assert b"photo.png" in written
    said = json.dumps(records.read(private / f"out{suffix}").settings).encode()
    for word in (b"private-folder", str(Path.home()).encode(), platform.node().encode(), getpass.getuser().encode()):
        # a short name may be in compressed pixels by chance, so for that only the settings count
        assert word in (b"", b"/", b"root") or word not in (written if len(word) > 3 else said)


# ---------------------------------------------------------------------------------------------------------- options again


def test_a_changed_quality_method_or_encoder_brings_its_defaults_where_nothing_else_was_stored() -> None:
    settings = impasto.Options(encoder="lite", style_weight=33).model_dump(mode="json")
    previous = previous_of(settings)
    assert previous.options({}).iterations == defaults("impasto", "lite")["iterations"]
    assert previous.options({"quality": "best"}).iterations == defaults("impasto", "lite", "best")["iterations"]
    assert previous.options({"quality": "best", "iterations": 9}).iterations == 9
    gatys = previous.options({"method": "gatys"})
    assert (gatys.content_taps, gatys.style_weight, gatys.init) == (("relu4_1",), 33, "noise")
    assert previous.options({"encoder": "vgg19"}).pooling == "average"
    assert previous_of(settings | {"iterations": 7}).options({"quality": "best"}).iterations == 7


def test_what_was_stored_outlives_other_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    previous = previous_of(impasto.Options(encoder="lite").model_dump(mode="json"))
    before = previous.options({}).style_weight
    monkeypatch.setattr(catalog, "DEFAULTS", (*catalog.DEFAULTS, ({}, {"style_weight": 5.0})))
    assert impasto.Options().style_weight == 5
    assert previous.options({"size": 64}).style_weight == before


# ----------------------------------------------------------------------------------------------------------- inputs again


def again(**names: str) -> Previous:
    inputs = {role.replace("_", " "): {"name": name, "sha256": sha256(name)} for role, name in names.items()}
    return previous_of({}, "place/out.png", inputs=inputs)


def test_inputs_are_found_by_hash_then_by_name(here: Path) -> None:
    previous = again(photo="photo.png", style="style.png", mask="mask.png", style_of_mask="another.png", start="another.png")
    (here / "place").mkdir()
    Path("style.png").rename("place/style.png")
    noise(here / "place" / "photo.png", 40, 48, seed=77)  # of the same name, and another
    inputs = records.inputs_again(previous)
    assert {role: Path(place) for role, place in inputs.sources().items()} == {
        "photo": Path("photo.png"),
        "style": Path("place/style.png"),
        "mask": Path("mask.png"),
        "style of mask": Path("another.png"),
        "start": Path("another.png"),
    }
    Path("photo.png").unlink()  # what is there of its name is another, which `differences` says
    assert records.inputs_again(previous).photo == Path("place/photo.png")
    Path("place/photo.png").unlink()
    with pytest.raises(
        PictureError, match=r"^photo photo.png is not in the folder of place/out.png and not in the current one"
    ):
        records.inputs_again(previous)
    nameless = previous_of({}, inputs={"photo": {"name": "", "sha256": "ab"}, "style": {"name": "a.png", "sha256": "ab"}})
    with pytest.raises(PictureError, match=r"^photo of out.png was not a file; name one"):
        records.inputs_again(nameless)


def test_inputs_may_be_named_again() -> None:
    previous = again(photo="photo.png", style="style.png", style_2="style.png", mask="mask.png")
    given = [Path("x.png"), Path("y.png")]
    assert records.inputs_again(previous, given).sources() == {
        "photo": Path("x.png"),
        "style": Path("y.png"),
        "mask": Path("mask.png"),
    }
    assert len(records.inputs_again(previous, given[:1]).styles) == 2
    layers = (Layer("m.png", None), Layer("n.png", "z.png"))
    changed = records.inputs_again(previous, [], {"masks": layers, "start": "s.png"})
    assert (changed.layers, changed.start) == (layers, "s.png")
    with pytest.raises(PictureError, match=r"^image out.png does not name its photograph; name it after the image"):
        records.inputs_again(previous_of({}))


def test_a_built_in_style_keeps_its_name_while_it_is_the_same(here: Path) -> None:
    name, other = "great-wave", "udnie"
    place = built_in(name)
    record = {"photo": {"name": "photo.png", "sha256": ""}, "style": {"name": place.name, "sha256": sha256(place)}}
    assert records.inputs_again(previous_of({}, inputs=record)).styles == (name,)
    record["style"]["sha256"] = sha256(built_in(other))  # a file of one name and another content
    assert records.inputs_again(previous_of({}, inputs=record)).styles == (place,)
    (here / place.name).write_bytes(built_in(other).read_bytes())
    assert records.inputs_again(previous_of({}, inputs=record)).styles == (Path(place.name),)


# ------------------------------------------------------------------------------------------------------------- differences


@pytest.mark.parametrize(
    ("was", "says"),
    [
        ({"impasto": "0.0.1"}, "it was made with impasto 0.0.1, and this is now"),
        ({"torch": "1.0\x1b"}, "it was made with torch 1.0, and this is now"),
        ({"encoder_digest": "ab"}, "the encoder's weights have changed (their hash differs)"),
        ({"network": "ab"}, "the network of quality 'instant' has changed (its hash differs)"),
        ({"ran_on": "cuda bf16"}, "it was computed on cuda bf16, and this is now"),
        ({"threads": 3}, "it was computed with 3 threads, and these are 1: the last bits may differ"),
        ({"done": 0.25}, "it was interrupted at 25%; this one will be finished"),
        ({"inputs": {"photo": {"name": "x", "sha256": "ab"}}}, "photo p.png has changed (its hash differs)"),
        ({"memory": 7, "seconds": 3, "losses": {"style": 1}}, ""),
        ({}, ""),
    ],
)
def test_what_is_different_now_is_said(was: dict[str, Any], says: str) -> None:
    inputs = {"photo": Input(name="p.png", sha256="cd")}
    now = Record(impasto="now", torch="now", encoder_digest="now", ran_on="now", threads=1, memory=9, inputs=inputs)
    assert list(previous_of({}, **was).differences(now)) == ([says] if says else [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_how_much_another_image_differs_is_said(suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(50, 200, (27, 32, 3)).astype(np.uint8)
    pictures.save(Image.fromarray(pixels), f"out{suffix}")
    other = pixels.copy()
    other[:9] += 40  # a third of its 27 rows
    image, previous = Image.fromarray(other), previous_of({}, f"out{suffix}", picture="another")
    share, most = records.apart(image, previous.file)
    if suffix == ".jpg":  # which spreads a difference over its blocks
        assert share >= 0.3
    else:
        assert share == pytest.approx(1 / 3)
        assert most == 40
        said = previous.compared(image, Record())
        assert said == "not the same image: 33.3% of its pixels differ, by at most 40 of 255 levels"
    assert records.apart(image.resize((9, 9)), previous.file) == (1.0, 255)
    assert records.apart(Image.fromarray(pixels), previous.file) == (0, 0)


# ---------------------------------------------------------------------------------------------------------------- damaged


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": []},
        {"inputs": {"photo": "photo.png"}},
        *({"inputs": {"photo": {"name": name, "sha256": ""}}} for name in ("../photo.png", "/etc/passwd", "..", ".", "a\0b")),
        {"seconds": "soon"},
        {"losses": {"style": None}},
        {"picture": 7},
        {"done": 2},
        {"threads": -1},
        {"memory": "much"},
    ],
    ids=str,
)
def test_damaged_records_are_refused(wrong: dict[str, Any]) -> None:
    pictures.save(Image.new("RGB", (32, 32)), "out.png", settings=wrong)
    with pytest.raises(UsageError, match=r"^image out\.png: its settings are damaged: ") as caught:
        records.read(Path("out.png"))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "wrong", [{"method": "magic"}, {"size": 10**300}, {"iterations": -1}, {"style_taps": 3}, {"seed": None}]
)
def test_damaged_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"^image out\.png: its settings cannot be used: ") as caught:
        previous_of(wrong).options({})
    assert len(str(caught.value)) < 300
    assert previous_of({"brush": 3, "size": 64}).unknown == ["brush"]
