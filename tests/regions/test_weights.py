"""Weights and guidance against numpy, Pillow, and areas counted in whole numbers."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn import functional

from impasto import pictures, regions
from impasto.errors import PictureError
from impasto.ladder import Size

CAMERA: Any = skimage.data.camera  # which has no types
steady = settings(derandomize=True, deadline=None, database=None, max_examples=40)
sides = st.integers(1, 12)
seeds = st.integers(0, 2**31)

Array = np.ndarray


def numbers(weight: Tensor) -> Array:
    """1x1xHxW -> HxW float64."""
    assert weight.dtype == torch.float32
    assert weight.shape[:2] == (1, 1)
    return weight[0, 0].double().numpy()


def weight_of(mask: Array, size: Size, role: str = "mask") -> Array:
    return numbers(regions.weight_of(pictures.load(mask), size, role=role)[0])


def notes_of(mask: Any) -> tuple[str, ...]:
    picture = pictures.load(mask)
    return regions.weight_of(picture, picture.size, role="mask")[1]


def test_a_weight_is_the_luma_over_black() -> None:
    colors = np.array([[(255, 255, 255), (0, 0, 0), (128, 128, 128)], [(255, 0, 0), (0, 255, 0), (0, 0, 255)]], np.uint8)
    found = weight_of(colors, (2, 3))
    np.testing.assert_allclose(found, [[1, 0, 128 / 255], [0.299, 0.587, 0.114]], atol=1e-7)
    assert found[0, 0] == 1
    white = np.full((1, 4, 4), 255, np.uint8)
    white[0, :, 3] = (0, 51, 255, 255)
    white[0, 3, :3] = 0
    np.testing.assert_allclose(weight_of(white, (1, 4)), [[0, 0.2, 1, 0]], atol=1e-7)
    deep = np.array([[0, 300, 65535]], np.uint16)
    np.testing.assert_allclose(weight_of(deep, (1, 3)), deep / 65535, atol=1e-7)


def test_a_mask_of_another_size_is_resized_as_pillow_does() -> None:
    gray = CAMERA()[::32, ::16] / 255  # 16x32
    for size in ((8, 16), (24, 48), (5, 10)):
        image = Image.fromarray(gray.astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC)
        np.testing.assert_allclose(weight_of(gray, size), np.asarray(image).clip(0, 1), atol=1e-5)


def test_aspect_ratios_may_differ_as_far_as_rounding_explains() -> None:
    for found, wanted in (((100, 102), (50, 50)), ((102, 100), (50, 50)), ((667, 1000), (11, 16)), ((2, 1000), (1, 64))):
        assert weight_of(np.ones(found), wanted).shape == wanted
    for found, wanted in (((100, 103), (500, 500)), ((103, 100), (500, 500)), ((16, 18), (16, 16)), ((9, 9), (1, 3))):
        with pytest.raises(PictureError, match=f"style mask is {found[1]}x{found[0]} pixels; .* {wanted[1]}x{wanted[0]}$"):
            weight_of(np.ones(found), wanted, "style mask")


def test_masks_that_select_nothing() -> None:
    for nothing in (np.zeros((3, 4)), np.dstack([np.zeros((3, 4, 3)), np.ones((3, 4, 1))])):
        with pytest.raises(PictureError, match=r"weight of a\.png is black everywhere, so it selects nothing"):
            weight_of(nothing, (3, 4), "weight of a.png")


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def indexed(values: Array, *colors: tuple[int, int, int]) -> bytes:
    image = Image.frombytes("P", values.shape[::-1], values.astype(np.uint8).tobytes())
    image.putpalette([level for color in colors for level in color])
    return encoded(image)


SELECTED = np.arange(200).reshape(10, 20) % 7 < 3
TWO_VALUED = {
    "0 and 1": SELECTED.astype(np.uint8),
    "7 and 9": np.where(SELECTED, 9, 7).astype(np.uint8),
    "254 and 255": np.where(SELECTED, 255, 254).astype(np.uint8),
    "0 and 1 of 65535": SELECTED.astype(np.uint16),
    "0 and 255 of 65535, a file": encoded(Image.fromarray(np.where(SELECTED, 255, 0).astype(np.uint16))),
    "bits": encoded(Image.fromarray(SELECTED)),
    "floats": np.where(SELECTED, 0.02, 0.01),
    "near colors": np.where(SELECTED[..., None], (10, 21, 30), (10, 20, 30)).astype(np.uint8),
    "a palette": indexed(SELECTED, (1, 0, 0), (2, 0, 0)),
    "a palette, the lighter first": indexed(~SELECTED, (9, 9, 200), (0, 0, 200)),
    "a palette of one color": indexed(SELECTED, (0, 0, 0), (0, 0, 0)),
    "alpha": np.dstack([np.full((10, 20, 3), 255), np.where(SELECTED, 9, 0)]).astype(np.uint8),
}


@pytest.mark.parametrize("name", TWO_VALUED)
def test_two_values_are_black_and_white(name: str) -> None:
    picture = pictures.load(TWO_VALUED[name])
    weight, notes = regions.weight_of(picture, (10, 20), role="mask")
    assert np.array_equal(numbers(weight), SELECTED)
    bytes_already = name in ("bits", "0 and 255 of 65535, a file")  # integers that hold bytes are read as bytes
    assert notes == (() if bytes_already else ("mask has two values, which count as black and white",))


def test_label_maps_of_more_values_and_dark_masks_are_refused() -> None:
    labels = np.arange(4, dtype=np.uint8).repeat(100).reshape(20, 20)
    for mask, level in (
        (labels, "3 of 255"),
        (labels.astype(np.uint16), "3 of 255"),
        (labels.astype(np.uint16) * 1000, "3000 of 65535"),
        (np.full((9, 9), 1, np.uint8), "1 of 255"),
    ):
        with pytest.raises(
            PictureError, match=f"mask is nearly black: its lightest value is {level}. It looks like a label map"
        ):
            weight_of(mask, mask.shape)
    lossy = encoded(Image.fromarray((labels > 1).astype(np.uint8)), "JPEG")  # of which nobody knows what was 1
    with pytest.raises(PictureError, match=r"mask is (nearly )?black"):
        notes_of(lossy)


def test_what_a_mask_selects_is_said_where_it_may_be_a_mistake() -> None:
    assert notes_of(CAMERA()[::16, ::16]) == ()
    assert notes_of(encoded(Image.fromarray(np.where(SELECTED, 255, 0).astype(np.uint8)), "JPEG")) == ()
    dot = np.zeros((40, 40), np.uint8)
    dot[20, 20] = 255
    assert notes_of(dot) == ("mask selects almost nothing: 0.06 percent of the image",)
    assert notes_of(255 - dot) == ("mask selects almost the whole image",)
    assert notes_of(np.full((9, 9), 255, np.uint8)) == ("mask selects the whole image",)
    assert notes_of(np.full((9, 9), 51, np.uint8)) == ("mask is nowhere white: it selects by 20 percent at most",)
    (colored,) = notes_of(np.array([[(255, 255, 255), (255, 0, 0), (0, 0, 255)]], np.uint8))
    assert colored == "mask has colors, which count by their brightness"


# ------------------------------------------------------------------------------------------------------------ feature maps


def by_area(mask: Array, size: Size) -> Array:
    """Each pixel cut into as many as the other side has, so that areas are whole numbers of pieces."""
    (height, width), (h, w) = mask.shape, size
    pieces = mask.astype(float).repeat(h, 0).repeat(w, 1)
    return np.asarray(pieces.reshape(h, height, w, width).mean((1, 3)))


@steady
@given(sides, sides, sides, sides, seeds)
def test_guidance_is_the_mean_over_the_area_and_exact_at_both_ends(h1: int, w1: int, h2: int, w2: int, seed: int) -> None:
    height, width, h, w = max(h1, h2), max(w1, w2), min(h1, h2), min(w1, w2)
    mask = np.random.default_rng(seed).random((height, width)) < 0.7
    found = numbers(regions.guidance(torch.from_numpy(mask)[None, None].float(), (h, w)))
    area = by_area(mask, (h, w))
    np.testing.assert_allclose(found, area, atol=1e-6)
    assert ((found == 0) == (area == 0)).all()
    np.testing.assert_array_equal(found == 1, by_area(~mask, (h, w)) == 0)
    assert found.mean() == pytest.approx(mask.mean(), abs=1e-6)


def test_guidance_of_large_masks_is_exact_too() -> None:
    mask = torch.zeros(1, 1, 997, 1013)
    mask[..., 300:, 200:] = 1
    found = numbers(regions.guidance(mask, (61, 89)))
    area = by_area(np.arange(997)[:, None] >= 300, (61, 1)) * by_area(np.arange(1013)[None] >= 200, (1, 89))
    np.testing.assert_allclose(found, area, atol=1e-6)
    assert ((found == 0) == (area == 0)).all()
    assert ((found == 1) == (area > 1 - 1e-9)).all()


@steady
@given(sides, sides, sides, sides, seeds)
def test_an_enlarged_mask_is_the_nearest_pixel(h1: int, w1: int, h2: int, w2: int, seed: int) -> None:
    mask = torch.from_numpy(np.random.default_rng(seed).random((1, 1, min(h1, h2), min(w1, w2)))).float()
    size = max(h1, h2), max(w1, w2)
    kept = mask.clone()
    found = regions.guidance(mask, size)
    assert torch.equal(found, functional.interpolate(mask, size=size, mode="nearest-exact"))
    assert found.is_contiguous()
    found.zero_()
    assert torch.equal(mask, kept)


def test_one_side_may_shrink_while_the_other_grows() -> None:
    mask = torch.tensor([[[[0.0, 1.0, 1.0, 0.0, 0.0, 1.0]]]])
    assert numbers(regions.guidance(mask, (2, 4))).tolist() == pytest.approx(np.array([[1 / 3, 1, 0, 2 / 3]] * 2), abs=1e-6)
