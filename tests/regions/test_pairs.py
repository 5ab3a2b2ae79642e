"""impasto.masks against masks whose labels are known, Pillow's drawings and JPEGs of them, and areas counted in whole numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from impasto import masks, pictures
from impasto.errors import PictureError, UsageError

SAMPLES: Any = skimage.data  # which has no types
steady = settings(derandomize=True, deadline=None, database=None, max_examples=40)
sides = st.integers(1, 12)
seeds = st.integers(0, 2**31)

Array = np.ndarray
PALETTE = np.array(
    [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128), (255, 255, 0), (240, 160, 96)],
    np.uint8,
)


def numbers(weight: Tensor) -> reference.Array:
    """1x1xHxW -> HxW float64."""
    assert weight.dtype == torch.float32
    assert weight.shape[:2] == (1, 1)
    return weight[0, 0].double().numpy()


def drawn(size: int, scale: int = 1) -> Image.Image:
    """A blue disc and a red square on white, antialiased where scale > 1."""
    image = Image.new("RGB", (size * scale, size * scale), "white")
    pen = ImageDraw.Draw(image)
    whole = size * scale
    pen.ellipse((whole * 0.1, whole * 0.1, whole * 0.6, whole * 0.6), fill="blue")
    pen.rectangle((whole * 0.55, whole * 0.55, whole * 0.9, whole * 0.85), fill="red")
    return image.resize((size, size), Image.Resampling.BOX)


def as_jpeg(image: Image.Image, quality: int, subsampling: str) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return Image.open(buffer)


def labels_of(regions: masks.Regions, which: int) -> Array:
    """HxW: the number of the pair each pixel belongs to; -1 for none."""
    weights = [numbers(pair[which]) for pair in regions.pairs]
    assert all(np.isin(weight, (0, 1)).all() for weight in weights)
    return np.where(np.any(weights, axis=0), np.argmax(weights, axis=0), -1)


# ----------------------------------------------------------------------------------------------------------------- weights


def test_a_weight_is_the_luma_of_what_is_shown() -> None:
    colours = np.array([[(255, 255, 255), (0, 0, 0), (128, 128, 128)], [(255, 0, 0), (0, 255, 0), (0, 0, 255)]], np.uint8)
    found = numbers(masks.load_weight(colours, (2, 3), role="mask"))
    np.testing.assert_allclose(found, [[1, 0, 128 / 255], [0.299, 0.587, 0.114]], atol=1e-7)
    assert found[0, 0] == 1


def test_transparent_parts_count_as_black() -> None:
    white = np.full((1, 4, 4), 255, np.uint8)
    white[0, :, 3] = (0, 51, 255, 255)
    white[0, 3, :3] = 0
    np.testing.assert_allclose(numbers(masks.load_weight(white, (1, 4), role="mask")), [[0, 0.2, 1, 0]], atol=1e-7)


def test_sixteen_bits_and_booleans_and_files(tmp_path: Path) -> None:
    deep = np.array([[0, 300, 65535]], np.uint16)
    np.testing.assert_allclose(numbers(masks.load_weight(deep, (1, 3), role="mask")), deep / 65535, atol=1e-7)
    chosen = np.array([[True, False], [False, True]])
    Image.fromarray(chosen).save(tmp_path / "mask.png")
    for source in (chosen, tmp_path / "mask.png", str(tmp_path / "mask.png"), Image.open(tmp_path / "mask.png")):
        assert (numbers(masks.load_weight(source, (2, 2), role="mask")) == chosen).all()


def test_a_mask_of_another_size_is_resized_as_pillow_does() -> None:
    grey = SAMPLES.camera()[::32, ::16] / 255  # 16x32
    for size in ((8, 16), (24, 48), (5, 10)):
        found = numbers(masks.load_weight(grey, size, role="mask"))
        image = Image.fromarray(grey.astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC)
        np.testing.assert_allclose(found, np.asarray(image).clip(0, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [((100, 102), (50, 50)), ((102, 100), (50, 50)), ((667, 1000), (11, 16)), ((2, 1000), (1, 64)), ((1, 1), (1, 1))],
)
def test_aspect_ratios_that_rounding_explains_are_taken(found: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert masks.load_weight(np.ones(found), wanted, role="mask").shape == (1, 1, *wanted)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [((100, 103), (500, 500)), ((103, 100), (500, 500)), ((16, 18), (16, 16)), ((30, 40), (40, 30)), ((9, 9), (1, 3))],
)
def test_another_aspect_ratio_is_refused_with_both_sizes(found: tuple[int, int], wanted: tuple[int, int]) -> None:
    message = f"style mask is {found[1]}x{found[0]} pixels; .* {wanted[1]}x{wanted[0]}$"
    with pytest.raises(PictureError, match=message):
        masks.load_weight(np.ones(found), wanted, role="style mask")


def test_masks_that_select_nothing_or_are_none() -> None:
    for nothing in (np.zeros((3, 4)), np.dstack([np.zeros((3, 4, 3)), np.ones((3, 4, 1))])):
        with pytest.raises(PictureError, match=r"weight of a\.png is black everywhere, so it selects nothing"):
            masks.load_weight(nothing, (3, 4), role="weight of a.png")
    with pytest.raises(PictureError, match="weight: is transparent everywhere"):
        masks.load_weight(np.zeros((3, 4, 4)), (3, 4), role="weight")
    with pytest.raises(PictureError, match=r"weight nowhere\.png: "):
        masks.load_weight("nowhere.png", (3, 4), role="weight")
    with pytest.raises(UsageError, match="12 pixels, more than the limit of 11"):
        masks.load_weight(np.ones((3, 4)), (3, 4), role="weight", max_pixels=11)


# ----------------------------------------------------------------------------------------------------------------- regions


@steady
@given(sides, sides, sides, sides, st.integers(1, 8), seeds)
def test_regions_are_the_labels_the_masks_were_painted_from(h1: int, w1: int, h2: int, w2: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    palette = rng.permutation(PALETTE)[:count]
    content, style = (rng.integers(0, count, size).repeat(4, 0).repeat(4, 1) for size in ((h1, w1), (h2, w2)))
    style[:, :4] = np.arange(4 * h2)[:, None] // 4 % count
    if set(np.unique(content)) <= set(np.unique(style)):
        found = masks.paired_regions(palette[content], palette[style])
        assert (np.sum([numbers(pair[0]) for pair in found.pairs], axis=0) == 1).all()
        assert len(found.pairs) == len(found.colours) == len(np.unique(content))
        for colour, (ours, theirs) in zip(found.colours, found.pairs, strict=True):
            label = [f"#{bytes(rgb).hex()}" for rgb in palette].index(colour)
            assert (numbers(ours) == (content == label)).all()
            assert (numbers(theirs) == (style == label)).all()
        assert len(found.notes) == len(np.unique(style)) - len(np.unique(content))
    else:
        with pytest.raises(PictureError, match="is not in the style mask"):
            masks.paired_regions(palette[content], palette[style])


def test_one_pixel_and_the_largest_region_first() -> None:
    red = np.array([[(255, 0, 0)]], np.uint8)
    found = masks.paired_regions(red, red)
    assert found.colours == ("#ff0000",)
    assert numbers(found.pairs[0][0]).tolist() == numbers(found.pairs[0][1]).tolist() == [[1]]
    stripes = PALETTE[[[0, 1, 1, 1, 2, 2]]]
    assert masks.paired_regions(stripes, stripes).colours == ("#ffffff", "#ff0000", "#000000")


def test_near_colours_are_one_and_13_levels_apart_are_two() -> None:
    def flat(*levels: int) -> Array:
        return np.array(levels, np.uint8)[None, :, None].repeat(3, 2).repeat(20, 0).repeat(20, 1)

    together = masks.paired_regions(flat(100, 112, 112, 200), flat(105, 188))
    assert together.colours == ("#707070", "#c8c8c8")  # the more frequent of 100 and 112
    assert labels_of(together, 0)[0, ::20].tolist() == [0, 0, 0, 1]
    assert len(masks.paired_regions(flat(100, 113), flat(100, 113)).pairs) == 2
    with pytest.raises(
        PictureError, match=r"content mask: its colour #717171 is not in the style mask, whose colours are #646464, #ffffff$"
    ):
        masks.paired_regions(flat(113, 255), flat(100, 100, 255))


def test_a_near_partner_is_found_beside_a_nearer_colour_that_is_none() -> None:
    def flat(*colours: tuple[int, int, int]) -> Array:
        return np.array([colours], np.uint8).repeat(8, 0).repeat(8, 1)

    found = masks.paired_regions(flat((100, 100, 100)), flat((113, 100, 100), (88, 88, 88)))
    assert labels_of(found, 1)[0, ::8].tolist() == [-1, 0]
    assert found.notes == ("style mask: its colour #716464 is not in the content mask and is left out",)
    found = masks.paired_regions(flat((100, 100, 100)), flat((112, 112, 112), (112, 112, 112), (95, 95, 95)))
    assert labels_of(found, 1)[0, ::8].tolist() == [-1, -1, 0]  # of two that are near, the nearer


def test_regions_are_ordered_by_all_their_pixels() -> None:
    shades = np.array([0, 0, 0, 250, 250, 255, 255], np.uint8)[None, :, None].repeat(3, 2).repeat(8, 0)
    assert masks.paired_regions(shades, shades).colours == ("#fafafa", "#000000")


def test_colours_of_less_than_a_thousandth_belong_to_the_nearest() -> None:
    def with_block(height: int) -> Array:
        mask = np.zeros((height, 60, 3), np.uint8)
        mask[:, 30:] = 255
        mask[70:73, 28:31] = (170, 160, 150)
        return mask

    found = masks.paired_regions(with_block(151), PALETTE[:2, None])  # 9 of 9060
    assert found.colours == ("#ffffff", "#000000")
    assert (labels_of(found, 0)[70:73, 28:31] == 0).all()  # white is nearer than black
    assert masks.paired_regions(with_block(150), with_block(150)).colours[2] == "#aaa096"  # 9 of 9000


@pytest.mark.parametrize("scale", [2, 3, 8])
@pytest.mark.parametrize("size", [48, 96])
def test_antialiased_edges_are_no_colours(size: int, scale: int) -> None:
    found = masks.paired_regions(drawn(size, scale), drawn(size))
    assert found.colours == ("#ffffff", "#0000ff", "#ff0000")
    assert found.notes == ()
    assert (labels_of(found, 0) == labels_of(found, 1)).mean() > 0.95


@pytest.mark.parametrize(("quality", "subsampling"), [(95, "4:4:4"), (75, "4:2:0"), (40, "4:2:0")])
def test_jpegs_have_the_colours_they_were_made_from(quality: int, subsampling: str) -> None:
    plain = drawn(128)
    found = masks.paired_regions(as_jpeg(plain, quality, subsampling), plain)
    assert len(found.pairs) == 3
    assert (labels_of(found, 0) == labels_of(found, 1)).mean() > 0.98
    assert len(masks.paired_regions(plain, as_jpeg(plain, quality, subsampling)).pairs) == 3


def test_transparent_parts_are_black() -> None:
    seen = np.array([[(255, 0, 0, 255), (255, 0, 0, 0)]], np.uint8)
    assert masks.paired_regions(seen, PALETTE[[[0, 2]]]).colours == ("#000000", "#ff0000")


def test_what_the_pictures_say_is_passed_on() -> None:
    frames = [Image.new("P", (2, 2), 0), Image.new("P", (2, 2), 1)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 255, 255, 255])
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    found = masks.paired_regions(Image.open(buffer), PALETTE[[[0, 1]]])
    assert found.notes == (
        "content mask is animated: its first frame is used",
        "style mask: its colour #ffffff is not in the content mask and is left out",
    )


def test_too_many_colours_and_none_that_are_flat() -> None:
    greys = np.arange(0, 255, 15, dtype=np.uint8)[None, :, None].repeat(3, 2).repeat(3, 0).repeat(3, 1)  # 17 squares of 3x3
    with pytest.raises(PictureError, match="content mask has 17 colours, and at most 16 are allowed; a mask shows each region"):
        masks.paired_regions(greys, greys)
    assert len(masks.paired_regions(greys, greys, most=17).pairs) == 17
    with pytest.raises(PictureError, match="style mask has 2 colours, and at most 1 are allowed"):
        masks.paired_regions(PALETTE[:1, None], PALETTE[:2, None], most=1)
    with pytest.raises(PictureError, match=r"content mask has (\d+|no flat) colours"):
        masks.paired_regions(SAMPLES.astronaut()[::4, ::4], greys)
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    with pytest.raises(PictureError, match="style mask has no flat colours; a mask shows each region in one colour"):
        masks.paired_regions(PALETTE[:2, None], noise)


def test_masks_that_are_no_pictures() -> None:
    with pytest.raises(PictureError, match=r"content mask nowhere\.png: "):
        masks.paired_regions("nowhere.png", PALETTE[:1, None])
    with pytest.raises(PictureError, match=r"style mask nowhere\.png: "):
        masks.paired_regions(PALETTE[:1, None], "nowhere.png")
    with pytest.raises(UsageError, match="more than the limit of 1"):
        masks.paired_regions(PALETTE[:1, None], PALETTE[:2, None], max_pixels=1)


# ------------------------------------------------------------------------------------------------------------ feature maps


def by_area(mask: Array, size: tuple[int, int]) -> Array:
    """Each pixel cut into as many as the other side has, so that areas are whole numbers of pieces."""
    (height, width), (h, w) = mask.shape, size
    pieces = mask.astype(float).repeat(h, 0).repeat(w, 1)
    return np.asarray(pieces.reshape(h, height, w, width).mean((1, 3)))


@steady
@given(sides, sides, sides, sides, seeds)
def test_guidance_is_the_mean_over_the_area_and_exact_at_both_ends(h1: int, w1: int, h2: int, w2: int, seed: int) -> None:
    height, width, h, w = max(h1, h2), max(w1, w2), min(h1, h2), min(w1, w2)
    mask = np.random.default_rng(seed).random((height, width)) < 0.7
    found = numbers(masks.guidance(torch.from_numpy(mask)[None, None].float(), (h, w)))
    area = by_area(mask, (h, w))
    np.testing.assert_allclose(found, area, atol=1e-6)
    assert ((found == 0) == (area == 0)).all()
    np.testing.assert_array_equal(found == 1, by_area(~mask, (h, w)) == 0)
    assert found.mean() == pytest.approx(mask.mean(), abs=1e-6)


def test_guidance_of_large_masks_is_exact_too() -> None:
    mask = torch.zeros(1, 1, 997, 1013)
    mask[..., 300:, 200:] = 1
    found = numbers(masks.guidance(mask, (61, 89)))
    area = by_area(np.arange(997)[:, None] >= 300, (61, 1)) * by_area(np.arange(1013)[None] >= 200, (1, 89))
    np.testing.assert_allclose(found, area, atol=1e-6)
    assert ((found == 0) == (area == 0)).all()
    assert ((found == 1) == (area > 1 - 1e-9)).all()


@steady
@given(sides, sides, sides, sides, seeds)
def test_an_enlarged_mask_is_the_nearest_pixel(h1: int, w1: int, h2: int, w2: int, seed: int) -> None:
    mask = torch.from_numpy(np.random.default_rng(seed).random((1, 1, min(h1, h2), min(w1, w2)))).float()
    size = max(h1, h2), max(w1, w2)
    found = masks.guidance(mask, size)
    assert torch.equal(found, functional.interpolate(mask, size=size, mode="nearest-exact"))
    assert found.is_contiguous()


def test_one_side_may_shrink_while_the_other_grows() -> None:
    mask = torch.tensor([[[[0.0, 1.0, 1.0, 0.0, 0.0, 1.0]]]])
    assert numbers(masks.guidance(mask, (2, 4))).tolist() == pytest.approx(np.array([[1 / 3, 1, 0, 2 / 3]] * 2), abs=1e-6)


def test_guidance_changes_nothing_it_is_given() -> None:
    mask = torch.rand(1, 1, 5, 7, generator=torch.Generator().manual_seed(0))
    kept = mask.clone()
    masks.guidance(mask, (5, 7)).zero_()
    assert torch.equal(mask, kept)
    assert torch.equal(masks.guidance(mask, (5, 7)), mask)
    assert pictures.resize(mask, (5, 7)) is mask  # which is why it is looked at
