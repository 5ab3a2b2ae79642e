"""Reading, compared with numpy and with files that Pillow, tifffile or this folder's `png` wrote by their specifications."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pictures.samples import colors, encoded, gray, png, property_test, random_bytes, random_words, refusal, tiff, written
from PIL import Image

from impasto import pictures
from impasto.errors import MemoryLimitError, PictureError

# ---------------------------------------------------------------------------------------------------------------- sources


def test_paths_bytes_and_file_objects_give_the_same_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Leica"
    data = encoded(Image.fromarray(random_bytes(6, 7, 4)), "PNG", exif=exif.tobytes())
    path = written(tmp_path / "photo.png", data)
    behind = io.BytesIO(b"offset" + data)
    behind.seek(6)
    pipe_reads, pipe = os.pipe()
    os.write(pipe, data)
    os.close(pipe)
    expected = pictures.load(path)
    assert (expected.name, expected.digest) == ("photo.png", hashlib.sha256(data).hexdigest())
    assert expected.exif == {0: {0x010F: "Leica"}}
    with path.open("rb") as file, os.fdopen(pipe_reads, "rb", buffering=0) as unseekable:
        for source in (str(path), data, bytearray(data), memoryview(data), file, behind, unseekable):
            found = pictures.load(source)
            assert torch.equal(found.pixels, expected.pixels)
            assert torch.equal(found.alpha, expected.alpha)
            assert (found.digest, found.exif, found.notes) == (expected.digest, expected.exif, ())
            assert found.name == ("photo.png" if source == str(path) else "")
        for used in (file, behind, unseekable):
            assert not used.closed
            assert used.read() == b""
    for without in (Image.open(path), random_bytes(3, 4), torch.zeros(3, 4, 4)):
        assert (pictures.load(without).name, pictures.load(without).digest) == ("", "")
    assert pictures.load(Image.open(path)).exif == expected.exif


def test_a_path_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened, original = written(tmp_path / "p.png", encoded(Image.new("RGB", (4, 4)), "PNG")), list[Path](), Path.open

    def counted(self: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(self)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", counted)
    pictures.load(path)
    assert opened == [path]


def test_sources_in_memory_that_are_refused() -> None:
    assert refusal(b"these are words") == "image: not an image, or its format is not supported"
    assert refusal(b"") == refusal(io.BytesIO()) == "image: there are no bytes to read"
    assert "must be opened in binary mode, and its read() returns str" in refusal(io.StringIO("words"), role="mask")
    assert "expected a path, bytes, a binary file, a PIL image, an array or a tensor, not NoneType" in refusal(None)


# ------------------------------------------------------------------------------------------------- orientation and frames

# EXIF 2.32, tag 274: which side of the image the stored row 0 and the stored column 0 are on.
TURNED = ("top left", "top right", "bottom right", "bottom left", "left top", "right top", "right bottom", "left bottom")
SIDES = dict(enumerate(map(str.split, TURNED), start=1))


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """The image as its EXIF orientation says it looks, pixel by pixel from the specification's words."""
    rows, columns = stored.shape[:2]
    sides = SIDES[orientation]
    height, width = (rows, columns) if sides[0] in ("top", "bottom") else (columns, rows)
    shown = np.empty((height, width, stored.shape[2]), stored.dtype)
    for row, column in np.ndindex(rows, columns):
        at = {sides[0]: row, sides[1]: column}
        y = at["top"] if "top" in at else height - 1 - at["bottom"]
        x = at["left"] if "left" in at else width - 1 - at["right"]
        shown[y, x] = stored[row, column]
    return shown


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    stored = np.kron(random_bytes(2, 3, 3), np.ones((8, 8, 1), np.uint8))  # whole JPEG blocks of one color
    expected = upright(stored, orientation) / 255
    lossless: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    for kind in ("PNG", "TIFF", "WEBP", "JPEG"):
        data = encoded(Image.fromarray(stored), kind, exif=oriented(orientation), **lossless.get(kind, {}))
        picture = pictures.load(data)
        assert picture.size == expected.shape[:2]
        np.testing.assert_allclose(colors(picture), expected, atol=3 / 255 if kind == "JPEG" else 1e-6)
        assert picture.notes == ()
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    np.testing.assert_allclose(colors(pictures.load(image)), expected, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(image), stored)  # not changed


def test_orientation_applies_to_alpha_and_deep_grays() -> None:
    stored, words = random_bytes(4, 5, 4) | 1, random_words(4, 5)
    picture = pictures.load(encoded(Image.fromarray(stored), "PNG", exif=oriented(6)))
    np.testing.assert_allclose(picture.alpha[0, 0].numpy(), upright(stored, 6)[..., 3] / 255, atol=1e-6)
    deep = pictures.load(encoded(Image.fromarray(words), "PNG", exif=oriented(6)))
    np.testing.assert_allclose(colors(deep)[..., :1], upright(words[..., None], 6) / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        *((kind, "is animated: its first frame is used") for kind in ("GIF", "PNG", "WEBP")),
        ("TIFF", "holds several images: its first frame is used"),
        ("MPO", ""),  # what phones write: the second image is a depth map
    ],
)
def test_the_first_frame_is_used(kind: str, note: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    picture = pictures.load(data, role="photograph")
    np.testing.assert_allclose(colors(picture), np.broadcast_to([1.0, 0, 0], (16, 16, 3)), atol=0.02)
    assert picture.notes == ((f"photograph {note}",) if note else ())
    with Image.open(io.BytesIO(data)) as image:
        image.seek(2)
        chosen = pictures.load(image)
        assert image.tell() == 2
    np.testing.assert_allclose(colors(chosen)[3, 3], [0, 0, 1], atol=0.02)
    assert all("its frame 3 is used" in words for words in chosen.notes)


# ------------------------------------------------------------------------------------------------------ depths and modes

DEEP = np.array([[0, 1, 255, 256, 300], [32768, 40000, 65279, 65534, 65535]], np.uint16)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=["plain", "deflate", "tiled"])
def test_16_bit_tiff(tmp_path: Path, byteorder: str, options: dict[str, Any]) -> None:
    picture = pictures.load(tiff(tmp_path / "deep.tif", DEEP, byteorder=byteorder, **options))
    np.testing.assert_allclose(colors(picture), gray(DEEP / 65535), atol=1e-7)
    assert picture.notes == ()
    stored = random_words(5, 6, 3)
    path = tiff(tmp_path / "color.tif", stored, photometric="rgb", byteorder=byteorder, **options)
    picture = pictures.load(path)
    np.testing.assert_allclose(colors(picture), stored / 65535, atol=1e-7)
    assert picture.notes == ()


def test_16_bit_rgb_tiff_in_planes(tmp_path: Path) -> None:
    planes = random_words(3, 5, 6)
    separate: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate"}
    path = tiff(tmp_path / "packed.tif", planes, compression="zlib", **separate)
    picture = pictures.load(path)
    np.testing.assert_allclose(colors(picture), planes.transpose(1, 2, 0) / 65535, atol=1 / 255)
    assert picture.notes == (f"{path} is read with 8 of its 16 bits per channel",)
    raw = pictures.load(tiff(tmp_path / "raw.tif", planes, **separate))
    np.testing.assert_allclose(colors(raw), planes.transpose(1, 2, 0) / 65535, atol=1e-7)
    assert raw.notes == ()
    eight = tiff(tmp_path / "eight.tif", (planes >> 8).astype(np.uint8), **separate)
    np.testing.assert_allclose(colors(pictures.load(eight)), (planes >> 8).transpose(1, 2, 0) / 255, atol=1e-6)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)], ids=["RGB", "LA", "RGBA"])
def test_16_bit_color_png(kind: int, channels: int, orientation: int) -> None:
    stored = random_words(4, 5, channels)
    rows = [row.astype(">u2").tobytes() for row in stored]
    picture = pictures.load(png(5, 4, 16, kind, rows, (b"eXIf", oriented(orientation)[6:])), role="photograph")
    shown = upright(stored, orientation)
    expected = shown[..., :3] if channels != 2 else gray(shown[..., 0])
    np.testing.assert_allclose(colors(picture), expected / 65535, atol=1e-7)
    if kind != 2:
        np.testing.assert_allclose(picture.alpha[0, 0].numpy(), shown[..., -1] / 65535, atol=1e-7)
    assert picture.notes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_colors_are_upright(tmp_path: Path, orientation: int) -> None:
    stored = random_words(4, 5, 3)
    path = tiff(tmp_path / "turned.tif", stored, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    np.testing.assert_allclose(colors(pictures.load(path)), upright(stored, orientation) / 65535, atol=1e-7)


def test_premultiplied_16_bit_tiff(tmp_path: Path) -> None:
    alpha = np.array([[65535, 30000], [200, 0]], np.uint16)
    color = np.array([[[1, 500, 65535], [30000, 7, 12345]], [[0, 100, 200], [0, 0, 0]]], np.uint16)
    path = tiff(tmp_path / "a.tif", np.dstack([color, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    picture = pictures.load(path)
    np.testing.assert_allclose(picture.alpha[0, 0].numpy(), alpha / 65535, atol=1e-7)
    visible = alpha > 0
    np.testing.assert_allclose(colors(picture)[visible], color[visible] / alpha[visible][:, None], atol=1e-6)


def test_integers_that_hold_bytes_in_more_bits_are_bytes(tmp_path: Path) -> None:
    """What programs make of 8-bit images by mistake: without this rule they are nearly black."""
    values = random_bytes(6, 7)
    values[0, 0] = 255
    sources = {
        "I": Image.fromarray(values.astype(np.int32)),
        "F": Image.fromarray(values.astype(np.float32)),
        "I;16": Image.fromarray(values.astype(np.uint16)),
        "array": values.astype(np.uint16),
        "png": png(7, 6, 16, 0, [row.astype(">u2").tobytes() for row in values]),
        "tiff": tiff(tmp_path / "int.tif", values.astype(np.int32)),
    }
    for source in sources.values():
        np.testing.assert_allclose(colors(pictures.load(source)), gray(values / 255), atol=1e-6)
    signed = np.array([[0, 32767], [16384, 300]], np.int16)
    np.testing.assert_allclose(colors(pictures.load(tiff(tmp_path / "s.tif", signed))), gray(signed / 32767), atol=1e-6)
    long = np.array([[0, 2**32 - 1], [2**31, 2**30]], np.uint32)
    np.testing.assert_allclose(colors(pictures.load(tiff(tmp_path / "l.tif", long))), gray(long / (2**32 - 1)), atol=1e-6)


def test_tiffs_that_cannot_be_read_are_described(tmp_path: Path) -> None:
    words = random_words(3, 4, 3)
    for array, says in (
        (
            words.astype(np.uint32),
            "a TIFF with 3 channels of 32 bits and compression NONE, which is not supported; save it with 8",
        ),
        (words.astype(np.int32), "3 channels of 32 signed bits"),
    ):
        assert says in refusal(tiff(tmp_path / "odd.tif", array, photometric="rgb"))
    floats = words.astype(np.float32) / 65535
    found = pictures.load(tiff(tmp_path / "float.tif", floats, photometric="rgb"))
    np.testing.assert_allclose(colors(found), floats, atol=1e-7)
    packed = tiff(tmp_path / "packed.tif", floats, photometric="rgb", compression="zlib")
    assert "3 channels of 32 floating-point bits and compression ADOBE_DEFLATE" in refusal(packed)
    assert "reach from" in refusal(tiff(tmp_path / "bright.tif", floats * 9, photometric="rgb"))


def test_16_bit_gray_png_with_and_without_a_transparent_value() -> None:
    rows = [row.astype(">u2").tobytes() for row in DEEP]
    picture = pictures.load(png(5, 2, 16, 0, rows))
    np.testing.assert_allclose(colors(picture)[..., 1], DEEP / 65535, atol=1e-7)
    assert (picture.alpha, picture.notes) == (None, ())
    keyed = pictures.load(png(5, 2, 16, 0, rows, (b"tRNS", struct.pack(">H", 40000))))
    np.testing.assert_array_equal(keyed.alpha[0, 0].numpy(), DEEP != 40000)


def test_gray_tiffs_of_other_types(tmp_path: Path) -> None:
    values = np.random.default_rng(3).random((4, 5)).astype(np.float32)
    for byteorder in "<>":
        picture = pictures.load(tiff(tmp_path / "float.tif", values, byteorder=byteorder))
        np.testing.assert_array_equal(colors(picture)[..., 2], values)
    for bad in (1.5, -0.25, np.nan, np.inf):
        values[1, 1] = bad
        assert "gray values must lie in [0, 1]" in refusal(tiff(tmp_path / "bad.tif", values))
    good = tiff(tmp_path / "good.tif", DEEP.astype(np.int32))
    np.testing.assert_allclose(colors(pictures.load(good))[..., 0], DEEP / 65535, atol=1e-7)
    assert "reach from 0 to 70000" in refusal(tiff(tmp_path / "high.tif", np.array([[0, 70000]], np.int32)))
    assert "reach from -3 to 9" in refusal(tiff(tmp_path / "low.tif", np.array([[-3, 9]], np.int16)))
    for stored, top in ((DEEP, 65535), ((DEEP >> 8).astype(np.uint8), 255), (DEEP.astype(np.float32) / 65535, 1)):
        path = tiff(tmp_path / "negative.tif", stored, photometric="miniswhite")
        np.testing.assert_allclose(colors(pictures.load(path))[..., 0], 1 - stored / top, atol=1e-6)


def test_12_bit_tiff() -> None:
    entries = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 3)]
    directory = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    data = bytes([0xFF, 0xF8, 0x00])  # two samples of 12 bits: 4095, 2048
    file = b"II*\0" + struct.pack("<I", 12) + data + b"\0" + struct.pack("<H", len(entries)) + directory + bytes(4)
    np.testing.assert_allclose(colors(pictures.load(file))[0, :, 0], [1, 2048 / 4095], atol=1e-6)


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "<u2"), ("I;16B", ">u2"), ("I", "=i4")])
def test_deep_pil_images(mode: str, kind: str) -> None:
    image = Image.frombytes(mode, (5, 2), DEEP.astype(kind).tobytes())
    np.testing.assert_allclose(colors(pictures.load(image))[..., 0], DEEP / 65535, atol=1e-7)


def test_gray_one_bit_and_palette() -> None:
    values = random_bytes(3, 4)
    picture = pictures.load(png(4, 3, 8, 0, [row.tobytes() for row in values]))
    np.testing.assert_allclose(colors(picture), gray(values / 255), atol=1e-6)
    bits = pictures.load(png(4, 1, 1, 0, [bytes([0b01010000])]))
    np.testing.assert_array_equal(colors(bits)[0, :, 0], [0, 1, 0, 1])
    table = random_bytes(3, 3)
    indexed = pictures.load(png(3, 1, 8, 3, [bytes([2, 0, 1])], (b"PLTE", table.tobytes())))
    np.testing.assert_allclose(colors(indexed)[0], table[[2, 0, 1]] / 255, atol=1e-6)
    assert indexed.alpha is None


@pytest.mark.parametrize(("depth", "row"), [(1, 0b01000000), (2, 0b00011011), (4, 0b00010010)])
def test_a_transparent_gray_below_8_bits(depth: int, row: int) -> None:
    """Sample 1 is the transparent one; Pillow compares it with pixels that it has scaled to 8 bits."""
    samples = [row >> (8 - depth * (column + 1)) & (2**depth - 1) for column in range(2)]
    picture = pictures.load(png(2, 1, depth, 0, [bytes([row])], (b"tRNS", struct.pack(">H", 1))))
    np.testing.assert_array_equal(picture.alpha.numpy().ravel(), [sample != 1 for sample in samples])


def test_transparent_colors_of_rgb_and_palette() -> None:
    rgb = pictures.load(png(2, 1, 8, 2, [bytes([9, 8, 7, 100, 50, 20])], (b"tRNS", struct.pack(">HHH", 9, 8, 7))))
    np.testing.assert_array_equal(rgb.alpha.numpy().ravel(), [0, 1])
    deep = struct.pack(">6H", 0xFFFF, 0x8000, 3, 1, 2, 3)
    rgb16 = pictures.load(png(2, 1, 16, 2, [deep], (b"tRNS", deep[:6])))
    np.testing.assert_array_equal(rgb16.alpha.numpy().ravel(), [0, 1])
    entries = (b"PLTE", bytes([10, 20, 30, 40, 50, 60, 70, 80, 90])), (b"tRNS", bytes([0, 128]))
    indexed = pictures.load(png(3, 1, 8, 3, [bytes([0, 1, 2])], *entries))
    np.testing.assert_allclose(indexed.alpha.numpy().ravel(), [0, 128 / 255, 1], atol=1e-6)
    np.testing.assert_allclose(colors(indexed)[0, 1:], np.array([[40, 50, 60], [70, 80, 90]]) / 255, atol=1e-6)


# ----------------------------------------------------------------------------------------------------------------- alpha


def test_hidden_colors_become_the_visible_mean() -> None:
    stored = random_bytes(6, 7, 4)
    stored[:3, :, 3] = 0
    weight = stored[..., 3:] / 255
    mean = (stored[..., :3] / 255 * weight).sum((0, 1)) / weight.sum()
    picture = pictures.load(Image.fromarray(stored))
    np.testing.assert_allclose(colors(picture), np.where(weight > 0, stored[..., :3] / 255, mean), atol=1e-6)
    np.testing.assert_allclose(picture.alpha[0, 0].numpy(), weight[..., 0], atol=1e-6)


@property_test
@given(stored=hnp.arrays(np.uint8, (3, 4, 4)), hidden=hnp.arrays(np.uint8, (3, 4, 3)))
def test_hidden_colors_influence_nothing(stored: np.ndarray, hidden: np.ndarray) -> None:
    stored[0, 0, 3] = 200
    other = stored.copy()
    other[..., :3] = np.where(stored[..., 3:] == 0, hidden, stored[..., :3])
    first, second = pictures.load(stored), pictures.load(other)
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.alpha, second.alpha)


def test_opaque_alpha_is_dropped_gray_alpha_kept_and_full_transparency_refused() -> None:
    opaque = random_bytes(3, 4, 4)
    opaque[..., 3] = 255
    assert pictures.load(opaque).alpha is None
    assert pictures.load(Image.fromarray(opaque)).alpha is None
    la = Image.fromarray(random_bytes(3, 4)).convert("LA")
    la.putalpha(Image.fromarray(random_bytes(3, 4, seed=5) | 1))
    picture = pictures.load(la)
    np.testing.assert_allclose(picture.alpha[0, 0].numpy(), (random_bytes(3, 4, seed=5) | 1) / 255, atol=1e-6)
    np.testing.assert_allclose(colors(picture)[..., 1], random_bytes(3, 4) / 255, atol=1e-6)
    assert refusal(Image.new("RGBA", (3, 3), (9, 9, 9, 0)), role="photograph") == "photograph: is transparent everywhere"


# ---------------------------------------------------------------------------------------------------- arrays and tensors


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 51], [255, 102]], np.uint8), [[0, 0.2], [1, 0.4]]),
        (np.array([[0, 13107], [65535, 26214]], ">u2"), [[0, 0.2], [1, 0.4]]),
        (np.array([[0, 0.2], [1, 0.4]]), [[0, 0.2], [1, 0.4]]),
        (np.array([[0, 0.25], [1, 0.5]], np.float16), [[0, 0.25], [1, 0.5]]),
        (np.array([[False, True]]), [[0, 1]]),
    ],
)
def test_array_types(array: np.ndarray, expected: list[list[float]]) -> None:
    for shaped in (array, array[..., None], gray(array)):
        np.testing.assert_allclose(colors(pictures.load(shaped)), gray(np.array(expected)), atol=1e-7)


def test_arrays_and_tensors_are_copied_whatever_their_strides() -> None:
    array = np.random.default_rng(0).random((6, 8, 4), np.float32)
    array[0, 0, 3] = 0
    before = array.copy()
    for view in (array, array[::-1, ::2], np.asfortranarray(array)):
        picture = pictures.load(view)
        visible = view[..., 3] > 0
        np.testing.assert_array_equal(colors(picture)[visible], view[visible][:, :3])
        picture.pixels.zero_()
        picture.alpha.zero_()
    np.testing.assert_array_equal(array, before)
    tensor = torch.rand(1, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    kept = tensor.clone()
    for given_tensor in (tensor, tensor[0], tensor.clone().requires_grad_(), tensor.double()):
        picture = pictures.load(given_tensor)
        assert torch.equal(picture.pixels, kept)
        assert not picture.pixels.requires_grad
        assert picture.alpha is None
        picture.pixels.zero_()
    assert torch.equal(tensor, kept)
    pictures.load(np.broadcast_to(np.uint8(7), (2, 2, 3))).pixels.zero_()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((3, 5, 6)), "must be HxW, HxWx1, HxWx3 or HxWx4, not 3x5x6"),
        (np.zeros((0, 4, 3)), "zero size (4x0)"),
        (np.full((2, 2), 1.5), "lie in [0, 1], and reach from 1.5 to 1.5"),
        (np.array([[0.0, -0.1]]), "reach from -0.1 to 0"),
        (np.array([[0.0, np.nan]]), "finite"),
        (np.zeros((2, 2), np.int64), "uint8, uint16, bool or float, not int64"),
        (torch.zeros(4, 4), "must be 3xHxW or 1x3xHxW, not 4x4"),
        (torch.tensor(1.0), "not a single number"),
        (torch.zeros(3, 0, 4), "zero size (4x0)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "floats in [0, 1], not uint8"),
        (torch.full((3, 4, 4), torch.nan), "finite"),
        (Image.new("RGB", (0, 5)), "zero size (0x5)"),
        (np.broadcast_to(np.uint8(0), (20000, 20000, 3)), "400,000,000 pixels, more than the limit of 200,000,000"),
    ],
)
def test_refused_arrays_and_tensors(source: Any, words: str) -> None:
    message = refusal(source, role="style image")
    assert message.startswith("style image: ")
    assert words in message


def test_arrays_of_other_kinds_and_floats_within_rounding() -> None:
    values = random_bytes(5, 6)
    expected = gray(values / 255)
    with pytest.warns(PendingDeprecationWarning):
        matrices = np.asmatrix(values), np.asmatrix(values / 255)
    for source in (*matrices, np.ma.masked_array(values, mask=False)):
        np.testing.assert_allclose(colors(pictures.load(source)), expected, atol=1e-7)
    for slightly in (1 + 1e-7, 1 + 5e-4):
        found = colors(pictures.load(values / 255 * slightly))
        np.testing.assert_allclose(found, np.clip(expected * slightly, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(colors(pictures.load(np.full((2, 2), -1e-7))), 0)
    for source, says in (
        (np.ma.masked_array(values, mask=values > 9), "must not have masked values"),
        (torch.rand(3, 4, 4).to_sparse(), "must be dense and hold values, not sparse_coo"),
        (torch.rand(3, 4, 4, device="meta"), "not on device meta"),
        (torch.nested.nested_tensor([torch.rand(4, 4)], layout=torch.jagged), "must not be nested"),
        ([[0.0, 1.0]], "not list"),
        (np.full((2, 2), 1.01), "lie in [0, 1]"),
    ):
        assert says in refusal(source)


# --------------------------------------------------------------------------------------------------------- refused files


def test_refused_files(tmp_path: Path) -> None:
    complete = encoded(Image.fromarray(random_bytes(64, 64, 3)), "PNG")
    cases = {
        tmp_path / "missing.jpg": "no such file",
        tmp_path: "is a directory",
        written(tmp_path / "empty.png", b""): "the file is empty",
        written(tmp_path / "notes.txt", b"these are words, not an image, and there are a good many of them"): "not an image",
        written(tmp_path / "cut.png", complete[:5000]): "truncated or damaged",
        written(tmp_path / "stub.png", complete[:20]): "truncated or damaged",
        tmp_path / ("n" * 300 + ".png"): "name too long",
        Path(os.devnull): "is not a regular file",
    }
    for path, words in cases.items():
        message = refusal(path, role="photograph")
        assert message.startswith(f"photograph {path}: "), message
        assert words in message
    assert refusal("a\0b.png") == "image a\\x00b.png: not a valid file name"
    assert refusal(str(tmp_path / "two\nlines.png")).endswith("two\\nlines.png: no such file or directory")
    for kind in ("JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
        data = encoded(Image.fromarray(random_bytes(64, 64, 3)), kind, **options)
        pictures.load(data)
        refusal(data[: len(data) // 2])


def test_bombs_are_refused_before_they_are_decoded() -> None:
    for data in (png(60000, 60000, 8, 2, [b""]), b"P6 60000 60000 255\n"):
        assert refusal(data) == "image: 3,600,000,000 pixels, more than the limit of 200,000,000; raise max_pixels"


def test_the_limit_is_ours_and_pillows_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(random_bytes(10, 10, 3)), "PNG")
    for pillows in (10, 60, None):  # 100 pixels are an error, a warning and nothing to Pillow
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows)
        filters = list(warnings.filters)
        assert pictures.load(data, max_pixels=100).size == (10, 10)
        for limit in (99, 60, 10):
            assert f"100 pixels, more than the limit of {limit};" in refusal(data, max_pixels=limit)
        assert pillows == Image.MAX_IMAGE_PIXELS
        assert list(warnings.filters) == filters


def test_threads_leave_the_globals_alone() -> None:
    data = encoded(Image.fromarray(random_bytes(40, 40, 3)), "PNG")
    before, filters, found = Image.MAX_IMAGE_PIXELS, list(warnings.filters), []

    def work(limit: int) -> None:
        for _ in range(20):
            try:
                found.append(pictures.load(data, max_pixels=limit).size == (40, 40) and limit == 1600)
            except PictureError:
                found.append(limit == 1000)

    workers = [threading.Thread(target=work, args=(limit,)) for limit in (1600, 1000, 1600, 1000)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [True] * 80
    assert before == Image.MAX_IMAGE_PIXELS
    assert list(warnings.filters) == filters


def test_too_large_for_memory() -> None:
    resource = pytest.importorskip("resource")
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux")
    data = png(14000, 14000, 1, 0, [bytes(1750)] * 14000)
    with Path("/proc/self/statm").open() as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, before[1]))
    try:
        with pytest.raises(MemoryLimitError, match="does not fit into memory"):
            pictures.load(data)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


BROKEN_EXIF = (b"garbage", b"II*\0\x08\0\0\0\x05\0\x12\x01", b"", b"II*\0\xff\xff\xff\xff")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_does_not_matter(kind: str) -> None:
    for exif in BROKEN_EXIF:
        data = encoded(Image.new("RGB", (16, 16), "red"), kind, exif=b"Exif\0\0" + exif)
        picture = pictures.load(data)  # Pillow's warnings would be errors here
        np.testing.assert_allclose(colors(picture), np.broadcast_to([1.0, 0, 0], (16, 16, 3)), atol=0.02)
        assert picture.exif == {}
        assert pictures.read_settings(data) is None


def read_or_refused(read: Callable[..., Any], data: bytes) -> Any:
    with contextlib.suppress(PictureError):
        return read(data, max_pixels=100_000)
    return None


@property_test
@given(data=st.data())
def test_damaged_files_are_read_or_raise_picture_errors(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "ICO", "PPM", "TGA", "BMP"]))
    file = bytearray(encoded(Image.fromarray(random_bytes(9, 7, 3)), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(file[: data.draw(st.integers(1, len(file)))])
    picture = read_or_refused(pictures.load, damaged)
    assert picture is None or 0 <= float(picture.pixels.min()) <= float(picture.pixels.max()) <= 1
    assert read_or_refused(pictures.read_settings, damaged) is None
    odd = encoded(Image.new("RGB", (4, 4)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + data.draw(st.binary(max_size=80)))
    assert pictures.load(odd).size == (4, 4)
    assert pictures.read_settings(odd) is None
