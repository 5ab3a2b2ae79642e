"""impasto.report.comparison: sizes, crops and refusals. The numbers themselves are tested in test_metrics.py."""

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
from impasto.ladder import Size
from impasto.report import measure
from impasto.report.comparison import Comparison, JudgeNetwork, load_judge, prepare, visible_crop

RANDOM = np.random.default_rng(0)


def picture(height: int, width: int, channels: int = 3) -> Image.Image:
    return Image.fromarray(RANDOM.integers(0, 256, (height, width, channels), dtype=np.uint8).squeeze())


PHOTO, PAINTING = picture(40, 60), picture(50, 30)


@pytest.fixture(scope="module")
def judge() -> JudgeNetwork:
    return load_judge("lite", device="cpu")


def compared(results: dict[str, Any], judge: JudgeNetwork, **options: Any) -> Comparison:
    images = prepare(PHOTO, PAINTING, results, **options)
    return Comparison(images, judge, tuple(images.measure(judge)))


@pytest.mark.parametrize(
    ("result", "photo", "crop"),
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
def test_the_crop_that_a_result_shows(result: Size, photo: Size, crop: Size) -> None:
    assert visible_crop(result, photo) == crop


def test_a_result_of_the_photographs_size_is_not_resampled(judge: JudgeNetwork) -> None:
    result = picture(40, 60)
    (found,) = compared({"a": result}, judge).results
    load = {name: pictures.load(image).pixels for name, image in (("r", result), ("p", PHOTO), ("s", PAINTING))}
    taps: dict[str, Any] = {"content_tap": "relu4_1", "style_taps": judge.style_taps}
    assert found.measures == measure(load["r"], load["p"], load["s"], judge.encoder, **taps)
    assert found.prepared.notes == ()


def test_a_square_result_is_compared_with_the_photographs_center(judge: JudgeNetwork) -> None:
    middle = PHOTO.crop((10, 0, 50, 40))
    (found,) = compared({"a": middle}, judge).results
    assert found.measures.content == 0
    assert found.measures.structure == pytest.approx(1)
    assert (found.prepared.crop, found.prepared.cropped, found.prepared.size) == ((40, 40), True, (40, 40))
    assert any("common center crop" in note for note in found.prepared.notes)
    off_center = PHOTO.crop((0, 0, 40, 40))
    assert compared({"a": off_center}, judge).results[0].measures.content > 0.01


def test_all_are_measured_at_the_scale_of_the_smallest() -> None:
    large, small, square = PHOTO.resize((120, 80)), PHOTO.resize((48, 32)), PHOTO.crop((10, 0, 50, 40)).resize((64, 64))
    images = prepare(PHOTO, PAINTING, {"large": large, "small": small, "square": square})
    assert images.size == (32, 48)
    assert [result.size for result in images.results] == [(32, 48), (32, 48), (32, 32)]
    assert ["resized" in " ".join(result.notes) for result in images.results] == [True, False, True]
    assert prepare(PHOTO, PAINTING, {"large": large}).size == (80, 120)
    assert prepare(PHOTO, PAINTING, {"large": large}, size=30).size == (20, 30)
    assert max(prepare(PHOTO, PAINTING, {"huge": PHOTO.resize((3000, 2000))}).size) == 1024


def test_numbers_do_not_depend_on_the_other_results(judge: JudgeNetwork) -> None:
    results = {"a": picture(40, 60), "b": picture(40, 60), "c": picture(40, 60)}
    alone = {name: compared({name: image}, judge).results[0].measures for name, image in results.items()}
    backwards = compared(dict(reversed(results.items())), judge)
    assert {result.name: result.measures for result in backwards.results} == alone


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_gray_and_transparent_results_are_measured_over_white(judge: JudgeNetwork, channels: int) -> None:
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
    assert bool(seen.prepared.notes) == (channels != 1)


def test_one_unreadable_result_is_left_out_and_named(judge: JudgeNetwork, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    done = compared({"good": PHOTO, "bad": tmp_path / "text.jpg", "tiny": picture(3, 9)}, judge)
    assert [result.name for result in done.results] == ["good"]
    assert "text.jpg" in done.images.refused["bad"]
    assert "9x3" in done.images.refused["tiny"]
    with pytest.raises(PictureError, match=r"text\.jpg"):
        prepare(PHOTO, PAINTING, {"bad": tmp_path / "text.jpg"})


def test_no_results_and_too_small_sizes_are_refused() -> None:
    with pytest.raises(OptionError, match="at least one result"):
        prepare(PHOTO, PAINTING, {})
    with pytest.raises(OptionError, match="at least 16, not 15"):
        prepare(PHOTO, PAINTING, {"a": PHOTO}, size=15)


def test_photographs_and_paintings_of_any_shape(judge: JudgeNetwork) -> None:
    strip = picture(2, 90)
    (found,) = compared({"a": picture(40, 60)}, judge, size=16).results  # 16x10.7 is too small for the judge
    assert min(found.prepared.size) == 16
    images = prepare(strip, picture(1, 1), {"a": picture(40, 60)})
    assert [np.isfinite(result.measures.content) for result in images.measure(judge)] == [True]


def test_stored_settings_and_the_network_they_name(judge: JudgeNetwork, tmp_path: Path) -> None:
    for name, encoder in (("ours.png", "lite"), ("theirs.jpg", "vgg19")):
        pictures.save(PHOTO, tmp_path / name, settings={"encoder": encoder, "seconds": 12.5})
    PHOTO.save(tmp_path / "stranger.png")
    files = {file.stem: file for file in sorted(tmp_path.iterdir())}
    ours, stranger, theirs = compared(files, judge).results
    assert (ours.same_network, theirs.same_network, stranger.same_network) == (True, False, False)
    assert (ours.seconds, stranger.seconds, stranger.prepared.settings) == (12.5, None, None)


@pytest.mark.parametrize("seconds", ["soon", None, float("nan"), True, [1]])
def test_seconds_that_are_not_a_number_are_unknown(judge: JudgeNetwork, tmp_path: Path, seconds: object) -> None:
    if seconds == seconds:  # NaN cannot be stored
        pictures.save(PHOTO, tmp_path / "a.png", settings={"seconds": seconds})
        expected = 1.0 if seconds is True else None
        assert compared({"a": tmp_path / "a.png"}, judge).results[0].seconds == expected


def test_the_numbers_are_json_and_complete(judge: JudgeNetwork) -> None:
    numbers = compared({"a": PHOTO, "b": picture(30, 30)}, judge).numbers()
    assert json.loads(json.dumps(numbers)) == numbers
    first = numbers["results"][0]
    assert (first["content"], first["style_mean"] > 0, first["structure"]) == (0, True, pytest.approx(1))
    assert list(first["style"]) == numbers["style_taps"] == [f"relu{block}_1" for block in range(1, 6)]


def test_a_judge_from_weights_without_the_deeper_layers(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from impasto.weights.formats import OURS
    from impasto.weights.networks import convolution_shapes

    torch.manual_seed(0)
    tensors = {"mean": torch.zeros(3)}
    for name, shape in list(convolution_shapes("vgg16").items())[:4]:
        tensors |= {f"{name}.weight": torch.randn(shape) / 9, f"{name}.bias": torch.zeros(shape[0])}
    save_file(tensors, tmp_path / "short.safetensors", {"network": "vgg16", "input": OURS})
    with pytest.raises(MissingWeightsError):
        load_judge("vgg16")
    found = load_judge("vgg16", file=tmp_path / "short.safetensors", device="cpu")
    assert (found.name, found.content_tap, found.style_taps) == ("vgg16", "relu2_1", ("relu1_1", "relu2_1"))
    assert compared({"a": PHOTO}, found).results[0].measures.content == 0
