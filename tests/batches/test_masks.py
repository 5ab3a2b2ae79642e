"""Masks of batches: one for all photographs, one named like each, and those of a list's rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from batches.folders import SMALL, item, photos, same_image
from command_line import Cli

from impasto.batches import Settings, Work, plan
from impasto.batches.painter import Painter
from impasto.errors import ImpastoError, OptionError, PictureError
from impasto.inputs import Layer

pytestmark = pytest.mark.usefixtures("here")

OUT = Path("out")


def masked(*layers: Layer, where: str = "in") -> Work:
    return plan([where], ["udnie"], Settings("out"), masks=layers, options=SMALL)


@pytest.fixture(autouse=True)
def _folders(here: Path) -> None:
    photos(here / "in", "a.jpg", "sub/b.png", "c.jpg")
    for name in ("a.png", "sub/b.jpg"):
        (here / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "masks" / name).write_bytes((here / "mask.png").read_bytes())


def test_a_folder_has_a_mask_named_like_each_photograph_and_a_file_is_for_all(here: Path) -> None:
    found = masked(Layer("masks", "style.png"), Layer("mask.png", None))
    layers = {
        one.photo.key: [(layer.mask.place, layer.style and layer.style.place) for layer in one.layers] for one in found.items
    }
    for_all = ("mask.png", None)
    assert layers == {
        "a.jpg": [("masks/a.png", "style.png"), for_all],
        "c.jpg": [for_all],
        "sub/b.png": [("masks/sub/b.jpg", "style.png"), for_all],
    }
    assert found.notes == ("masks: 1 photograph has no mask in it and is painted without one, such as c.jpg",)


def test_a_result_is_the_image_that_the_command_paints_and_is_kept_until_its_mask_changes(cli: Cli, here: Path) -> None:
    what = masked(Layer("masks", "style.png"), Layer("mask.png", None)).items[0]
    painter = Painter(Settings("out"))
    assert [painter.paint(0, what).state for _ in range(2)] == ["painted", "kept"]
    words = ("--mask", "masks/a.png=style.png", "--mask", "mask.png=keep", "--size", 48, "--device", "cpu")
    assert cli("in/a.jpg", "udnie", "--quality", "instant", *words, "-o", "alone.png").code == 0
    assert same_image(OUT / what.output, here / "alone.png")
    assert painter.paint(0, item("in/a.jpg", output=what.output)).state == "painted"
    assert painter.paint(0, what).state == "painted"
    (here / "masks" / "a.png").write_bytes((here / "photo.png").read_bytes())
    assert painter.paint(0, what).state == "painted"


def test_the_command_takes_folders_of_masks(cli: Cli, here: Path) -> None:
    words = ("--quality", "instant", "--size", 48, "--device", "cpu", "--workers", 1)
    said = cli("batch", "in/a.jpg", "udnie", "-o", "out", "--mask", "masks=keep", *words)
    assert said.code == 0
    assert same_image(OUT / "a--udnie.png", _alone(cli, "masks/a.png=keep"))


def _alone(cli: Cli, mask: str) -> Path:
    words = ("--quality", "instant", "--size", 48, "--device", "cpu", "--mask", mask, "-o", "alone.png")
    assert cli("in/a.jpg", "udnie", *words).code == 0
    return Path("alone.png")


def test_a_rows_masks_replace_those_of_the_batch(here: Path) -> None:
    (here / "w.csv").write_text("photo,mask,mask_style\nphoto.png,mask.png,keep\nin/a.jpg,,\n")
    (here / "w.jsonl").write_text(
        '{"photo": "photo.png", "style": "udnie", "mask": ["mask.png", "in/a.jpg"], "mask_style": ["keep", "mondrian"]}\n'
    )
    first, second = masked(Layer("masks", "style.png"), where="in/a.jpg").items, masked(where="w.csv").items
    assert [layer.mask.place for layer in first[0].layers] == ["masks/a.png"]
    assert [[(layer.mask.place, layer.style) for layer in one.layers] for one in second] == [[("mask.png", None)], []]
    (row,) = plan(["w.jsonl"], [], Settings("out")).items
    assert list(row.sources) == ["photo", "style", "mask", "mask 2", "style of mask 2"]


@pytest.mark.parametrize(
    ("layer", "error", "problem"),
    [
        (Layer("nowhere", None), PictureError, "^nowhere: no such file or folder$"),
        (Layer("art", None), PictureError, r"^art: no mask in it is named like a photograph, such as a\.png for a\.jpg$"),
        (Layer("twice", None), PictureError, r"^twice: has two masks of one name: a\.jpg and a\.png$"),
        (Layer("mask.png", "in"), OptionError, "^in is 3 styles; name one for a mask$"),
        (Layer("mask.png", "undie"), ImpastoError, "did you mean 'udnie'"),
        (Layer("in/*.jpg", None), OptionError, r"^in/\*\.jpg is 2 masks; name one, or their folder$"),
    ],
)
def test_masks_that_cannot_be_used_are_refused_at_once(
    here: Path, layer: Layer, error: type[ImpastoError], problem: str
) -> None:
    photos(here / "art", "x.png")
    photos(here / "twice", "a.png", "a.jpg")
    with pytest.raises(error) as caught:
        masked(layer)
    assert re.search(problem, str(caught.value).removeprefix("mask ")), str(caught.value)
