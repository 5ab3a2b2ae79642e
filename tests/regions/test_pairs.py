"""Pairs of color masks against labels that are known, Pillow's drawings, and JPEGs of them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from impasto import pictures, regions
from impasto.errors import PictureError
from impasto.regions.pairs import Regions

ASTRONAUT: Any = skimage.data.astronaut  # which has no types
steady = settings(derandomize=True, deadline=None, database=None, max_examples=40)
sides = st.integers(1, 12)
seeds = st.integers(0, 2**31)

Array = np.ndarray
PALETTE = np.array(
    [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128), (255, 255, 0), (240, 160, 96)],
    np.uint8,
)


def paired(content: Any, style: Any, **options: Any) -> Regions:
    loaded = (pictures.load(mask, role=role) for mask, role in ((content, "content mask"), (style, "style mask")))
    return regions.paired_regions(*loaded, **options)


def flat(*colors: Any) -> Array:
    """Squares of 20x20 pixels in a row; a number is a gray."""
    return np.array([[np.broadcast_to(color, 3) for color in colors]], np.uint8).repeat(20, 0).repeat(20, 1)


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


def labels_of(regions: Regions, which: int) -> Array:
    """HxW: the number of the pair each pixel belongs to; -1 for none."""
    weights = [pair[which][0, 0].numpy() for pair in regions.pairs]
    assert all(np.isin(weight, (0, 1)).all() for weight in weights)
    return np.where(np.any(weights, axis=0), np.argmax(weights, axis=0), -1)


@steady
@given(sides, sides, sides, sides, st.integers(1, 8), seeds)
def test_regions_are_the_labels_the_masks_were_painted_from(h1: int, w1: int, h2: int, w2: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    palette = rng.permutation(PALETTE)[:count]
    content, style = (rng.integers(0, count, size).repeat(4, 0).repeat(4, 1) for size in ((h1, w1), (h2, w2)))
    style[:, :4] = np.arange(4 * h2)[:, None] // 4 % count
    if set(np.unique(content)) <= set(np.unique(style)):
        found = paired(palette[content], palette[style])
        assert (np.sum([pair[0][0, 0].numpy() for pair in found.pairs], axis=0) == 1).all()
        assert len(found.pairs) == len(found.names) == len(np.unique(content))
        for color, (ours, theirs) in zip(found.names, found.pairs, strict=True):
            label = [f"#{bytes(rgb).hex()}" for rgb in palette].index(color)
            assert (ours[0, 0].numpy() == (content == label)).all()
            assert (theirs[0, 0].numpy() == (style == label)).all()
        assert len(found.notes) == len(np.unique(style)) - len(np.unique(content))
    else:
        with pytest.raises(PictureError, match="is not in the style mask"):
            paired(palette[content], palette[style])


def test_one_pixel_and_the_largest_region_first() -> None:
    red = np.array([[(255, 0, 0)]], np.uint8)
    found = paired(red, red)
    assert found.names == ("#ff0000",)
    assert found.pairs[0][0][0, 0].numpy().tolist() == found.pairs[0][1][0, 0].numpy().tolist() == [[1]]
    stripes = PALETTE[[[0, 1, 1, 1, 2, 2]]]
    assert paired(stripes, stripes).names == ("#ffffff", "#ff0000", "#000000")


def test_near_colors_are_one_and_13_levels_apart_are_two() -> None:
    together = paired(flat(100, 112, 112, 200), flat(105, 188))
    assert together.names == ("#707070", "#c8c8c8")  # the more frequent of 100 and 112
    assert labels_of(together, 0)[0, ::20].tolist() == [0, 0, 0, 1]
    assert len(paired(flat(100, 113), flat(100, 113)).pairs) == 2
    words = "content mask: its color #717171 is not in the style mask, whose colors are #646464, #ffffff$"
    with pytest.raises(PictureError, match=words):
        paired(flat(113, 255), flat(100, 100, 255))
    assert paired(*[flat(0, 0, 0, 250, 250, 255, 255)] * 2).names == ("#fafafa", "#000000")  # ordered by all their pixels


def test_of_two_partners_in_reach_the_nearer_is_taken() -> None:
    found = paired(flat(100), flat((113, 100, 100), 88))  # the first is nearer, but 13 away in one channel
    assert labels_of(found, 1)[0, ::20].tolist() == [-1, 0]
    assert found.notes == ("style mask: its color #716464 is not in the content mask and is left out",)
    assert labels_of(paired(flat(100), flat(112, 112, 95)), 1)[0, ::20].tolist() == [-1, -1, 0]


def test_colors_of_less_than_a_thousandth_belong_to_the_nearest() -> None:
    def with_block(height: int) -> Array:
        mask = np.zeros((height, 60, 3), np.uint8)
        mask[:, 30:] = 255
        mask[70:73, 28:31] = (170, 160, 150)
        return mask

    found = paired(with_block(151), PALETTE[:2, None])  # 9 of 9060
    assert found.names == ("#ffffff", "#000000")
    assert (labels_of(found, 0)[70:73, 28:31] == 0).all()  # white is nearer than black
    assert paired(with_block(150), with_block(150)).names[2] == "#aaa096"  # 9 of 9000


@pytest.mark.parametrize(("size", "scale"), [(48, 2), (48, 8), (96, 3)])
def test_antialiased_edges_are_no_colors(size: int, scale: int) -> None:
    found = paired(drawn(size, scale), drawn(size))
    assert found.names == ("#ffffff", "#0000ff", "#ff0000")
    assert found.notes == ()
    assert (labels_of(found, 0) == labels_of(found, 1)).mean() > 0.95


@pytest.mark.parametrize(("quality", "subsampling"), [(95, "4:4:4"), (75, "4:2:0"), (40, "4:2:0")])
def test_jpegs_have_the_colors_they_were_made_from(quality: int, subsampling: str) -> None:
    plain = drawn(128)
    found = paired(as_jpeg(plain, quality, subsampling), plain)
    assert len(found.pairs) == 3
    assert (labels_of(found, 0) == labels_of(found, 1)).mean() > 0.98
    assert len(paired(plain, as_jpeg(plain, quality, subsampling)).pairs) == 3


def test_transparent_parts_are_black_and_notes_of_the_masks_are_passed_on() -> None:
    seen = np.array([[(255, 0, 0, 255), (255, 0, 0, 0)]], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(seen).save(buffer, "PNG", save_all=True, append_images=[Image.new("RGBA", (2, 1), "blue")])
    found = paired(buffer.getvalue(), PALETTE[[[0, 1, 2]]])
    assert found.names == ("#000000", "#ff0000")
    assert found.notes == (
        "content mask is animated: its first frame is used",
        "style mask: its color #ffffff is not in the content mask and is left out",
    )


def test_too_many_colors_and_none_that_are_flat() -> None:
    grays = flat(*range(0, 255, 15))  # 17
    with pytest.raises(PictureError, match="content mask has 17 colors, and at most 16 are allowed; a mask shows each region"):
        paired(grays, grays)
    assert len(paired(grays, grays, most=17).pairs) == 17
    with pytest.raises(PictureError, match="style mask has 2 colors, and at most 1 are allowed"):
        paired(PALETTE[:1, None], PALETTE[:2, None], most=1)
    with pytest.raises(PictureError, match=r"content mask has (\d+|no flat) colors"):
        paired(ASTRONAUT()[::4, ::4], grays)
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    with pytest.raises(PictureError, match="style mask has no flat colors; a mask shows each region in one color"):
        paired(PALETTE[:2, None], noise)
