"""Pairs of color masks against labels that are known, Pillow's drawings, and JPEGs of them."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw

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


def paired(content: Any, style: Any, *, lossy: bool = False, **options: Any) -> Regions:
    loaded = (pictures.load(mask, role=role) for mask, role in ((content, "content mask"), (style, "style mask")))
    return regions.paired_regions(*(replace(one, lossless=one.lossless and not lossy) for one in loaded), **options)


def flat(*colors: Any) -> Array:
    """Squares of 20x20 pixels in a row; a number is a gray."""
    return np.array([[np.broadcast_to(color, 3) for color in colors]], np.uint8).repeat(20, 0).repeat(20, 1)


def drawn(size: int, scale: int = 1, disc: str = "blue", ground: str = "white") -> Image.Image:
    """A disc and a red square on a ground, antialiased where scale > 1."""
    image = Image.new("RGB", (size * scale, size * scale), ground)
    pen = ImageDraw.Draw(image)
    whole = size * scale
    pen.ellipse((whole * 0.1, whole * 0.1, whole * 0.6, whole * 0.6), fill=disc)
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
        assert len(found.notes) == 1 + len(np.unique(style)) - len(np.unique(content))
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


def test_near_colors_of_lossy_masks_are_one_and_13_levels_apart_are_two() -> None:
    together = paired(flat(100, 112, 112, 200), flat(105, 188), lossy=True)
    assert together.notes == ("content mask: 2 regions; near colors are merged",)
    assert together.names == ("#707070", "#c8c8c8")  # the more frequent of 100 and 112
    assert labels_of(together, 0)[0, ::20].tolist() == [0, 0, 0, 1]
    assert len(paired(flat(100, 113), flat(100, 113), lossy=True).pairs) == 2
    words = "content mask: its color #717171 is not in the style mask, whose colors are #646464, #ffffff$"
    with pytest.raises(PictureError, match=words):
        paired(flat(113, 255), flat(100, 100, 255), lossy=True)
    assert paired(*[flat(0, 0, 0, 250, 250, 255, 255)] * 2, lossy=True).names == (
        "#fafafa",
        "#000000",
    )  # ordered by all their pixels


def as_file(values: Array, mode: str, palette: Array | None = None, kind: str = "PNG", **more: Any) -> bytes:
    """An image file of one channel with these numbers."""
    buffer = io.BytesIO()
    image = Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "1": bool}.get(mode, np.uint8)))
    if mode == "P":
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette(palette.astype(np.uint8).tobytes())
    assert image.mode == mode
    image.save(buffer, kind, **more)
    return buffer.getvalue()


EQUAL = np.full((256, 3), 7)  # a palette of one color
GRAYS = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LABELS = {
    "bytes": lambda labels: as_file(labels, "L"),
    "words": lambda labels: as_file(labels, "I;16"),
    "words in a TIFF": lambda labels: as_file(labels, "I;16", kind="TIFF"),
    "32 bits": lambda labels: as_file(labels, "I", kind="TIFF"),
    "a palette": lambda labels: as_file(labels, "P", np.arange(768).reshape(256, 3) * 37 % 256),
    "another palette": lambda labels: as_file(labels, "P", np.arange(768).reshape(256, 3) * 59 % 256),
    "equal colors": lambda labels: as_file(labels, "P", EQUAL),
    "a profile": lambda labels: as_file(labels, "L", icc_profile=GRAYS),
    "an array": lambda labels: labels.astype(np.uint8),
}


@pytest.mark.parametrize("theirs", LABELS)
@pytest.mark.parametrize("ours", LABELS)
def test_label_maps_belong_together_by_number(ours: str, theirs: str) -> None:
    rng = np.random.default_rng(7)
    content, style = (rng.permutation(np.arange(40) % 5).reshape(5, 8).repeat(4, 0).repeat(4, 1) for _ in range(2))
    content[content == 4], style[8:16] = 1, np.arange(32) // 4 % 4
    found = paired(LABELS[ours](content), LABELS[theirs](style))
    order = np.argsort(-np.bincount(content.ravel()), kind="stable")[:4]
    for label, (here, there) in zip(order, found.pairs, strict=True):
        assert np.array_equal(here[0, 0].numpy() == 1, content == label)
        assert np.array_equal(there[0, 0].numpy() == 1, style == label)
    assert found.notes[0] == "content mask: 4 regions"


def test_a_thin_line_is_a_region_unless_it_is_an_antialiased_edge() -> None:
    def line(left: int, middle: int, right: int) -> Array:
        return np.repeat([[left, middle, right]], 100, 0).repeat([99, 1, 100], 1).astype(np.uint8)

    for labels in (line(3, 5, 3), line(3, 5, 9)):  # 3 and 9 are too near for a mixture
        found = paired(labels, labels)
        assert found.names[-1] == "5"
        assert np.array_equal(found.pairs[-1][0][0, 0].numpy() == 1, labels == 5)
    assert paired(line(0, 100, 255), line(0, 100, 255)).names == ("255", "0")


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_a_number_that_only_the_photograph_has_is_named(mode: str) -> None:
    first, second = np.array([[1000, 1001, 1002]]), np.array([[1000, 1001]])
    if mode == "L":
        first, second = first - 1000, second - 1000
    words = f"content mask: its value {first[0, 2]} is not in the style mask, whose values are {second[0, 0]}, {second[0, 1]}$"
    with pytest.raises(PictureError, match=words):
        paired(as_file(first, mode), as_file(second, mode))


def test_palettes_with_other_orders_and_white_of_other_depths_belong_together_by_color() -> None:
    halves, swapped = np.array([[0, 0, 1]]), np.array([[1, 0]])
    found = paired(as_file(halves, "P", PALETTE[[2, 4]]), as_file(swapped, "P", PALETTE[[4, 2]]))
    assert found.names == ("#ff0000", "#0000ff")
    assert labels_of(found, 1).tolist() == [[0, 1]]
    for white in (as_file(halves * 255, "L"), as_file(halves * 65535, "I;16"), PALETTE[halves]):
        for other in (as_file(halves, "1"), as_file(halves * 255, "L"), PALETTE[halves]):
            found = paired(white, other)
            assert labels_of(found, 0).tolist() == labels_of(found, 1).tolist() == halves.tolist()


def test_of_two_partners_in_reach_the_nearer_is_taken() -> None:
    found = paired(flat(100), flat((113, 100, 100), 88), lossy=True)  # the first is nearer, but 13 away in one channel
    assert labels_of(found, 1)[0, ::20].tolist() == [-1, 0]
    assert found.notes[1:] == ("style mask: its color #716464 is not in the content mask and is left out",)
    assert labels_of(paired(flat(100), flat(112, 112, 95), lossy=True), 1)[0, ::20].tolist() == [-1, -1, 0]


def test_colors_of_less_than_a_thousandth_belong_to_the_nearest_in_a_lossy_mask() -> None:
    def with_block(height: int) -> Array:
        mask = np.zeros((height, 60, 3), np.uint8)
        mask[:, 30:] = 255
        mask[70:73, 28:31] = (170, 160, 150)
        return mask

    found = paired(with_block(151), PALETTE[:2, None], lossy=True)  # 9 of 9060
    assert found.names == ("#ffffff", "#000000")
    assert (labels_of(found, 0)[70:73, 28:31] == 0).all()  # white is nearer than black
    assert paired(with_block(150), with_block(150), lossy=True).names[2] == "#aaa096"  # 9 of 9000
    assert paired(with_block(151), with_block(151)).names[2] == "#aaa096"
    dotted = with_block(151)
    dotted[70:73:2, 28:31:2] = 0  # in a lossless mask too where it is nowhere flat
    dotted[71, 29] = 255
    assert paired(dotted, PALETTE[:2, None]).names == ("#000000", "#ffffff")


@pytest.mark.parametrize(("size", "scale"), [(48, 2), (48, 8), (96, 3)])
def test_antialiased_edges_are_no_colors(size: int, scale: int) -> None:
    found = paired(drawn(size, scale), drawn(size))
    assert found.names == ("#ffffff", "#0000ff", "#ff0000")
    assert found.notes == ("content mask: 3 regions",)
    assert (labels_of(found, 0) == labels_of(found, 1)).mean() > 0.95
    near = {"disc": "#808181", "ground": "#808080"}
    found = paired(drawn(size, scale, **near), drawn(size, **near))
    assert found.names == ("#808080", "#808181", "#ff0000")
    assert (labels_of(found, 0) == labels_of(found, 1)).mean() > 0.95


@pytest.mark.parametrize(("quality", "subsampling"), [(95, "4:4:4"), (75, "4:2:0"), (40, "4:2:0")])
def test_jpegs_have_the_colors_they_were_made_from(quality: int, subsampling: str) -> None:
    plain = drawn(128)
    found = paired(as_jpeg(plain, quality, subsampling), plain)
    assert len(found.pairs) == 3
    assert (labels_of(found, 0) == labels_of(found, 1)).mean() > 0.98
    assert len(paired(plain, as_jpeg(plain, quality, subsampling)).pairs) == 3
    copied = paired(as_jpeg(plain, quality, subsampling).convert("RGB"), plain)  # as a PNG made of a JPEG
    assert np.array_equal(labels_of(copied, 0), labels_of(found, 0))


def test_transparent_parts_are_black_and_notes_of_the_masks_are_passed_on() -> None:
    seen = np.array([[(255, 0, 0, 255), (255, 0, 0, 0)]], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(seen).save(buffer, "PNG", save_all=True, append_images=[Image.new("RGBA", (2, 1), "blue")])
    found = paired(buffer.getvalue(), PALETTE[[[0, 1, 2]]])
    assert found.names == ("#000000", "#ff0000")
    assert found.notes == (
        "content mask is animated: its first frame is used",
        "content mask: 2 regions",
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


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grays_of_few_bits_have_the_numbers_that_were_written(bits: int) -> None:
    labels = np.arange(64).reshape(8, 8) % 2**bits
    packed = np.packbits(labels[..., None] >> np.arange(bits)[::-1] & 1, axis=None).reshape(8, bits)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    found = paired(png, labels.astype(np.uint8))
    assert np.array_equal(np.array(list(map(int, found.names)))[labels_of(found, 0)], labels)
    assert np.array_equal(labels_of(found, 0), labels_of(found, 1))
