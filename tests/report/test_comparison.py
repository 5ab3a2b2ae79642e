"""impasto.report.comparison: what is brought to which size, what is cropped, who is refused; the numbers are `measure`'s."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from impasto import pictures
from impasto.errors import MissingWeightsError, OptionError, PictureError
from impasto.report import measure
from impasto.report.comparison import STYLE_TAPS, Comparison, Judge, find_judge, lay_out, shown_part

RANDOM = np.random.default_rng(0)


def picture(height: int, width: int, channels: int = 3) -> Image.Image:
    return Image.fromarray(RANDOM.integers(0, 256, (height, width, channels), dtype=np.uint8).squeeze())


PHOTO, PAINTING = picture(40, 60), picture(50, 30)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return find_judge("lite", device="cpu")


def compared(results: dict[str, Any], judge: Judge, **options: Any) -> Comparison:
    sheet = lay_out(PHOTO, PAINTING, results, **options)
    return Comparison(sheet, judge, tuple(sheet.measured(judge)))


@pytest.mark.parametrize(
    ("result", "photo", "part"),
    [
        ((40, 60), (40, 60), (40, 60)),
        ((400, 600), (40, 60), (40, 60)),  # enlarged
        ((341, 512), (2000, 3000), (2000, 3000)),  # 341.33, rounded
        ((27, 40), (40, 60), (40, 60)),  # 26.67, rounded
        ((384, 572), (2000, 3000), (2000, 3000)),  # sides that are multiples of 4: 0.7 percent
        ((30, 30), (40, 60), (40, 40)),  # a square of a landscape
        ((90, 90), (60, 40), (40, 40)),  # a square of a portrait
        ((20, 60), (40, 60), (20, 60)),  # a strip
        ((40, 20), (40, 60), (40, 20)),  # upright from a landscape
    ],
)
def test_the_part_of_the_photograph_that_a_result_shows(
    result: tuple[int, int], photo: tuple[int, int], part: tuple[int, int]
) -> None:
    assert shown_part(result, photo) == part


def test_a_result_of_the_photographs_size_is_measured_as_it_is(judge: Judge) -> None:
    result = picture(40, 60)
    (found,) = compared({"a": result}, judge).results
    load = {name: pictures.load(image).pixels for name, image in (("r", result), ("p", PHOTO), ("s", PAINTING))}
    taps: dict[str, Any] = {"content_tap": "relu4_1", "style_taps": STYLE_TAPS}
    assert found.measures == measure(load["r"], load["p"], load["s"], judge.encoder, **taps)
    assert found.candidate.notes == ()


def test_a_square_result_is_measured_beside_the_photographs_centre(judge: Judge) -> None:
    middle = PHOTO.crop((10, 0, 50, 40))
    (found,) = compared({"a": middle}, judge).results
    assert found.measures.content == 0
    assert found.measures.structure == pytest.approx(1)
    assert (found.candidate.part, found.candidate.whole, found.candidate.size) == ((40, 40), False, (40, 40))
    assert any("common centre crop" in note for note in found.candidate.notes)
    off_centre = PHOTO.crop((0, 0, 40, 40))
    assert compared({"a": off_centre}, judge).results[0].measures.content > 0.01


def test_all_are_brought_to_the_size_of_the_smallest(judge: Judge) -> None:
    large, small, square = PHOTO.resize((120, 80)), PHOTO.resize((48, 32)), PHOTO.crop((10, 0, 50, 40)).resize((64, 64))
    sheet = lay_out(PHOTO, PAINTING, {"large": large, "small": small, "square": square})
    assert sheet.size == (32, 48)
    assert [candidate.size for candidate in sheet.candidates] == [(32, 48), (32, 48), (32, 32)]
    assert ["resized" in " ".join(candidate.notes) for candidate in sheet.candidates] == [True, False, True]
    assert lay_out(PHOTO, PAINTING, {"large": large}).size == (80, 120)
    assert lay_out(PHOTO, PAINTING, {"large": large}, size=30).size == (20, 30)
    assert max(lay_out(PHOTO, PAINTING, {"huge": PHOTO.resize((3000, 2000))}).size) == 1024


def test_order_and_company_do_not_change_a_number(judge: Judge) -> None:
    results = {"a": picture(40, 60), "b": picture(40, 60), "c": picture(40, 60)}
    alone = {name: compared({name: image}, judge).results[0].measures for name, image in results.items()}
    backwards = compared(dict(reversed(results.items())), judge)
    assert {result.name: result.measures for result in backwards.results} == alone


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_grey_and_transparent_results_are_measured_as_seen_on_white(judge: Judge, channels: int) -> None:
    mode = {1: "L", 2: "LA", 4: "RGBA"}[channels]
    image = Image.fromarray(np.asarray(picture(40, 60, channels)), mode=None) if channels == 1 else picture(40, 60, channels)
    assert image.mode == mode
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    seen = compared({"a": image}, judge).results[0]
    flat = compared({"a": white.convert("RGB")}, judge).results[0]
    for name, value in asdict(flat.measures).items():
        if isinstance(value, float):  # Pillow rounds the blend to bytes
            assert asdict(seen.measures)[name] == pytest.approx(value, rel=0.02, abs=0.002), name
    assert bool(seen.candidate.notes) == (channels != 1)


def test_one_unreadable_result_is_left_out_and_named(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    done = compared({"good": PHOTO, "bad": tmp_path / "text.jpg", "tiny": picture(3, 9)}, judge)
    assert [result.name for result in done.results] == ["good"]
    assert "text.jpg" in done.sheet.refused["bad"]
    assert "9x3" in done.sheet.refused["tiny"]
    with pytest.raises(PictureError, match=r"text\.jpg"):
        lay_out(PHOTO, PAINTING, {"bad": tmp_path / "text.jpg"})


def test_nothing_to_compare_and_impossible_sizes_are_refused() -> None:
    with pytest.raises(OptionError, match="at least one result"):
        lay_out(PHOTO, PAINTING, {})
    with pytest.raises(OptionError, match="at least 16, not 15"):
        lay_out(PHOTO, PAINTING, {"a": PHOTO}, size=15)


def test_photographs_and_paintings_of_any_shape_can_be_judged(judge: Judge) -> None:
    strip = picture(2, 90)
    (found,) = compared({"a": picture(40, 60)}, judge, size=16).results  # 16x10.7: enlarged until the judge sees it
    assert min(found.candidate.size) == 16
    sheet = lay_out(strip, picture(1, 1), {"a": picture(40, 60)})
    assert [np.isfinite(result.measures.content) for result in sheet.measured(judge)] == [True]


def test_what_impasto_stored_is_shown_and_its_own_judge_marked(judge: Judge, tmp_path: Path) -> None:
    for name, encoder in (("ours.png", "lite"), ("theirs.jpg", "vgg19")):
        pictures.save(PHOTO, tmp_path / name, settings={"encoder": encoder, "seconds": 12.5})
    PHOTO.save(tmp_path / "stranger.png")
    files = {file.stem: file for file in sorted(tmp_path.iterdir())}
    ours, stranger, theirs = compared(files, judge).results
    assert (ours.same_network, theirs.same_network, stranger.same_network) == (True, False, False)
    assert (ours.seconds, stranger.seconds, stranger.candidate.settings) == (12.5, None, None)


@pytest.mark.parametrize("seconds", ["soon", None, float("nan"), True, [1]])
def test_seconds_that_are_no_number_are_unknown(judge: Judge, tmp_path: Path, seconds: object) -> None:
    if seconds == seconds:  # NaN cannot be stored
        pictures.save(PHOTO, tmp_path / "a.png", settings={"seconds": seconds})
        expected = 1.0 if seconds is True else None
        assert compared({"a": tmp_path / "a.png"}, judge).results[0].seconds == expected


def test_the_numbers_are_json_and_complete(judge: Judge) -> None:
    numbers = compared({"a": PHOTO, "b": picture(30, 30)}, judge).numbers()
    assert json.loads(json.dumps(numbers)) == numbers
    first = numbers["results"][0]
    assert (first["content"], first["style_mean"] > 0, first["structure"]) == (0, True, pytest.approx(1))
    assert set(first["style"]) == set(STYLE_TAPS) == set(numbers["style_taps"])


def test_a_judge_of_weights_that_end_early_judges_by_what_there_is(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from impasto.weights.formats import OURS
    from impasto.weights.networks import convolution_shapes

    torch.manual_seed(0)
    tensors = {"mean": torch.zeros(3)}
    for name, shape in list(convolution_shapes("vgg16").items())[:4]:
        tensors |= {f"{name}.weight": torch.randn(shape) / 9, f"{name}.bias": torch.zeros(shape[0])}
    save_file(tensors, tmp_path / "short.safetensors", {"network": "vgg16", "input": OURS})
    with pytest.raises(MissingWeightsError):
        find_judge("vgg16")
    found = find_judge("vgg16", file=tmp_path / "short.safetensors", device="cpu")
    assert (found.name, found.content_tap, found.style_taps) == ("vgg16", "relu2_1", ("relu1_1", "relu2_1"))
    assert compared({"a": PHOTO}, found).results[0].measures.content == 0
