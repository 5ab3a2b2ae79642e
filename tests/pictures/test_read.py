"""Pictures in and out, compared with numpy, with files other programs wrote (tifffile, or bytes laid out here) and with PIL."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import struct
import tempfile
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms
from torch import Tensor

from impasto import pictures
from impasto.errors import MemoryLimitError, OptionError, OutputError, PictureError, SaveError, UsageError

property_test = settings(deadline=None, derandomize=True, database=None, max_examples=60)

# ------------------------------------------------------------------------------------------------------------ helpers


def colours(picture: pictures.Picture) -> np.ndarray:
    """HxWx3."""
    assert picture.pixels.dtype == torch.float32
    assert picture.pixels.is_contiguous()
    return picture.pixels[0].numpy().transpose(1, 2, 0)


def random_bytes(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def refusal(source: Any, **options: Any) -> str:
    with pytest.raises(PictureError) as caught:
        pictures.load(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def png(width: int, height: int, depth: int, kind: int, rows: list[bytes], *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG by its specification; kind 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*each) for each in extra) + body + chunk(b"IEND", b"")


def tiff(path: Path, array: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


def s15f16(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def icc(space: bytes, pcs: bytes, kind: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    """An ICC version 2 profile (ICC.1:2001-04) holding the given tags."""
    text = name.encode("ascii") + b"\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + s15f16(0.9642, 1.0, 0.8249),
        **tags,
    }
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for signature, data in tags.items():
        table += signature + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, kind, space, pcs) + struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    header += b"acsp" + bytes(28) + s15f16(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50, D65 = np.array([0.9642, 1.0, 0.8249]), np.array([0.95047, 1.0, 1.08883])


def adapted(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """XYZ under one white -> XYZ under another, Bradford."""
    return np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ target) / (BRADFORD @ source)) @ BRADFORD


def to_xyz(red: tuple[float, float], green: tuple[float, float], blue: tuple[float, float]) -> np.ndarray:
    """Linear RGB -> XYZ under D65, from the primaries' chromaticities."""
    primaries = np.array([[x / y, 1, (1 - x - y) / y] for x, y in (red, green, blue)]).T
    return primaries * np.linalg.solve(primaries, D65)


SRGB = to_xyz((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = to_xyz((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = to_xyz((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
ADOBE_GAMMA = 563 / 256


def linear(value: np.ndarray) -> np.ndarray:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def srgb_curve(value: np.ndarray) -> np.ndarray:
    value = np.clip(value, 0, 1)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


def curve(gamma: float | None) -> bytes:
    """A curv tag; None for sRGB's curve as a table."""
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    table = (linear(np.linspace(0, 1, 4096)) * 65535).round().astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(table)) + table.tobytes()


def display_profile(matrix: np.ndarray, gamma: float | None, name: str) -> bytes:
    columns = (adapted(D65, D50) @ matrix).T
    tags = {tag: b"XYZ \0\0\0\0" + s15f16(*column) for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    return icc(b"RGB ", b"XYZ ", b"mntr", tags | {tag: curve(gamma) for tag in (b"rTRC", b"gTRC", b"bTRC")}, name)


def grey_profile(gamma: float) -> bytes:
    return icc(b"GRAY", b"XYZ ", b"mntr", {b"kTRC": curve(gamma)}, f"Grey {gamma}")


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """CIELAB under D50 -> sRGB."""
    f = (lab[..., 0] + 16) / 116
    f = np.stack([f + lab[..., 1] / 500, f, f - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    return srgb_curve(xyz @ (np.linalg.inv(SRGB) @ adapted(D50, D65)).T)


# Lab of the 16 corners of the CMYK cube, key varying fastest; all inside sRGB so that nothing is clipped.
CORNERS = np.array(
    [
        *([100, 0, 0], [0, 0, 0], [85, -2, 60], [0, 0, 0], [55, 45, 5], [0, 0, 0], [55, 40, 30], [0, 0, 0]),
        *([65, -20, -25], [0, 0, 0], [60, -35, 25], [0, 0, 0], [40, 12, -30], [0, 0, 0], [30, 0, 0], [0, 0, 0]),
    ],
    float,
)


def cmyk_profile() -> bytes:
    """A print profile: a 2x2x2x2 table of Lab (lut16, whose Lab has L* = 100 at 0xFF00 and a zero of a*, b* at 0x8000)."""
    table = np.stack([CORNERS[:, 0] * 652.8, (CORNERS[:, 1] + 128) * 256, (CORNERS[:, 2] + 128) * 256], axis=1)
    ends = struct.pack(">HH", 0, 65535)
    lut = b"mft2\0\0\0\0" + bytes([4, 3, 2, 0]) + s15f16(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    lut += ends * 4 + table.round().astype(">u2").tobytes() + ends * 3
    return icc(b"CMYK", b"Lab ", b"prtr", {b"A2B0": lut}, "Test print")


# ------------------------------------------------------------------------------------------------- orientation and frames

# EXIF 2.32, tag 274: which side of the picture the stored row 0 and the stored column 0 are on.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """The picture as its EXIF orientation says it looks, pixel by pixel from the specification's words."""
    rows, columns = stored.shape[:2]
    sides = SIDES[orientation]
    height, width = (rows, columns) if sides[0] in ("top", "bottom") else (columns, rows)
    shown = np.empty((height, width, stored.shape[2]), stored.dtype)
    for row in range(rows):
        for column in range(columns):
            at = {sides[0]: row, sides[1]: column}
            y = at["top"] if "top" in at else height - 1 - at["bottom"]
            x = at["left"] if "left" in at else width - 1 - at["right"]
            shown[y, x] = stored[row, column]
    return shown


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, kind: str) -> None:
    stored = np.kron(random_bytes(2, 3, 3), np.ones((8, 8, 1), np.uint8))  # whole JPEG blocks of one colour
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    path = written(tmp_path / "turned", encoded(Image.fromarray(stored), kind, exif=exif.tobytes(), **lossless))
    picture = pictures.load(path)
    expected = upright(stored, orientation) / 255
    assert picture.size == expected.shape[:2]
    np.testing.assert_allclose(colours(picture), expected, atol=3 / 255 if kind == "JPEG" else 1e-6)
    assert picture.notes == ()


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_turns_alpha_and_deep_greys_too(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = random_bytes(4, 5, 4) | 1
    picture = pictures.load(written(tmp_path / "a.png", encoded(Image.fromarray(stored), "PNG", exif=exif.tobytes())))
    np.testing.assert_allclose(picture.alpha[0, 0].numpy(), upright(stored, orientation)[..., 3] / 255, atol=1e-6)
    grey = random_bytes(4, 5).astype(np.uint16) * 257
    deep = pictures.load(written(tmp_path / "b.png", encoded(Image.fromarray(grey), "PNG", exif=exif.tobytes())))
    np.testing.assert_allclose(colours(deep)[..., :1], upright(grey[..., None], orientation) / 65535, atol=1e-6)


def test_a_pil_image_is_turned_and_not_changed() -> None:
    stored = random_bytes(2, 3, 3)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = 6
    picture = pictures.load(image)
    np.testing.assert_allclose(colours(picture), upright(stored, 6) / 255, atol=1e-6)
    assert image.size == (3, 2)
    np.testing.assert_array_equal(np.asarray(image), stored)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animated_first_frame_with_a_note(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    path = written(tmp_path / "moving", data)
    picture = pictures.load(path)
    np.testing.assert_allclose(colours(picture), np.broadcast_to([1.0, 0, 0], (4, 6, 3)), atol=0.02)
    assert picture.notes == (f"{path} is animated: its first frame is used",)


def test_a_tiff_of_several_pages_and_a_chosen_frame(tmp_path: Path) -> None:
    pages = random_bytes(3, 4, 5)
    path = tiff(tmp_path / "pages.tif", pages, photometric="minisblack")
    picture = pictures.load(path)
    np.testing.assert_allclose(colours(picture)[..., 0], pages[0] / 255, atol=1e-6)
    assert picture.notes == (f"{path} holds several pictures: its first frame is used",)
    with Image.open(path) as image:
        image.seek(2)
        chosen = pictures.load(image, role="style")
        assert image.tell() == 2
    np.testing.assert_allclose(colours(chosen)[..., 0], pages[2] / 255, atol=1e-6)
    assert chosen.notes == ("style holds several pictures: its frame 3 is used",)


def test_a_telephones_second_picture_is_not_worth_a_note(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    path = written(tmp_path / "phone.jpg", encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    with Image.open(path) as image:
        assert image.format == "MPO"
        assert image.is_animated
    picture = pictures.load(path)
    assert picture.notes == ()
    np.testing.assert_allclose(colours(picture)[3, 3], [1, 0, 0], atol=0.02)


# ------------------------------------------------------------------------------------------------------- colour profiles


@pytest.mark.parametrize(
    ("matrix", "gamma", "name"),
    [(DISPLAY_P3, None, "Display P3"), (ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998)"), (SRGB, 1.0, "sRGB in name only")],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_rgb_profiles_against_the_closed_form(
    tmp_path: Path, matrix: np.ndarray, gamma: float | None, name: str, kind: str
) -> None:
    levels = np.linspace(0, 255, 8).round().astype(np.uint8)
    stored = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(16, 32, 3)
    profile = display_profile(matrix, gamma, name)
    path = written(tmp_path / "wide", encoded(Image.fromarray(stored), kind, icc_profile=profile))
    picture = pictures.load(path)
    value = stored / 255
    light = linear(value) if gamma is None else value**gamma
    expected = srgb_curve(light @ (np.linalg.inv(SRGB) @ matrix).T)
    np.testing.assert_allclose(colours(picture), expected, atol=1.5 / 255)
    assert np.abs(expected - value).max() > 10 / 255  # the conversion is worth testing
    assert picture.notes == (f"{path} has its colours converted from {name}",)


def test_profile_keeps_alpha_and_reaches_palettes_and_pil_images(tmp_path: Path) -> None:
    profile = display_profile(DISPLAY_P3, None, "Display P3")
    stored = np.array([[[200, 30, 40, 255], [10, 200, 90, 128]]], np.uint8)
    expected = srgb_curve(linear(stored[..., :3] / 255) @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T)
    image = Image.fromarray(stored)
    image.info["icc_profile"] = profile
    picture = pictures.load(image)
    np.testing.assert_allclose(colours(picture), expected, atol=1.5 / 255)
    np.testing.assert_allclose(picture.alpha.numpy().ravel(), [1, 128 / 255], atol=1e-6)
    palette = (b"PLTE", stored[0, :, :3].tobytes()), (b"iCCP", b"P3\0\0" + zlib.compress(profile))
    indexed = pictures.load(written(tmp_path / "p.png", png(2, 1, 8, 3, [bytes([0, 1])], palette[1], palette[0])))
    np.testing.assert_allclose(colours(indexed), expected, atol=1.5 / 255)


def test_an_srgb_profile_changes_nothing_and_says_nothing(tmp_path: Path) -> None:
    stored = random_bytes(16, 16, 3)
    for profile in (
        display_profile(SRGB, None, "some monitor"),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ):
        path = written(tmp_path / "same.png", encoded(Image.fromarray(stored), "PNG", icc_profile=profile))
        picture = pictures.load(path)
        np.testing.assert_array_equal(pictures.to_image(picture.pixels), stored)
        assert picture.notes == ()


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_grey_profiles(tmp_path: Path, gamma: float) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(8, 32)
    expected = srgb_curve((values / 255) ** gamma)
    eight = pictures.load(written(tmp_path / "8.png", encoded(Image.fromarray(values), "PNG", icc_profile=grey_profile(gamma))))
    np.testing.assert_allclose(colours(eight), np.repeat(expected[..., None], 3, axis=2), atol=1.5 / 255)
    assert eight.notes == (f"{tmp_path / '8.png'} has its colours converted from Grey {gamma}",)
    deep = np.linspace(3000, 65535, 640).astype(np.uint16).reshape(20, 32)
    path = written(tmp_path / "16.png", encoded(Image.fromarray(deep), "PNG", icc_profile=grey_profile(gamma)))
    expected = srgb_curve((deep / 65535) ** gamma)
    np.testing.assert_allclose(colours(pictures.load(path)), np.repeat(expected[..., None], 3, axis=2), atol=1.5 / 255)


def test_a_grey_picture_in_an_rgb_profile(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(8, 32)
    image = Image.fromarray(values)
    image.info["icc_profile"] = display_profile(ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998)")
    expected = srgb_curve((values / 255) ** ADOBE_GAMMA)
    np.testing.assert_allclose(colours(pictures.load(image)), np.repeat(expected[..., None], 3, axis=2), atol=1.5 / 255)


def test_cmyk_through_a_print_profile(tmp_path: Path) -> None:
    corners = np.array([[c, m, y, k] for c in (0, 255) for m in (0, 255) for y in (0, 255) for k in (0, 255)], np.uint8)
    path = tiff(tmp_path / "print.tif", corners.reshape(4, 4, 4), photometric="separated", iccprofile=cmyk_profile())
    picture = pictures.load(path)
    expected = lab_to_srgb(CORNERS).reshape(4, 4, 3)
    np.testing.assert_allclose(colours(picture), expected, atol=2.5 / 255)
    assert picture.notes == (f"{path} has its colours converted from Test print",)
    edge = np.zeros((1, 256, 4), np.uint8)
    edge[0, :, 1] = np.arange(256)  # from paper to magenta, where any interpolation is linear in Lab
    ramp = pictures.load(tiff(tmp_path / "edge.tif", edge, photometric="separated", iccprofile=cmyk_profile()))
    along = np.linspace(0, 1, 256)[:, None]
    np.testing.assert_allclose(colours(ramp)[0], lab_to_srgb((1 - along) * CORNERS[0] + along * CORNERS[4]), atol=2.5 / 255)


def test_cmyk_without_a_profile(tmp_path: Path) -> None:
    stored = random_bytes(8, 8, 4)
    path = tiff(tmp_path / "ink.tif", stored, photometric="separated")
    picture = pictures.load(path)
    ink = 1 - stored / 255
    np.testing.assert_allclose(colours(picture), ink[..., :3] * ink[..., 3:], atol=1 / 255)
    assert picture.notes == (f"{path} has no colour profile; its CMYK colours are approximate",)
    jpeg = written(tmp_path / "ink.jpg", encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=100))
    np.testing.assert_allclose(colours(pictures.load(jpeg))[8, 8], [0, 1, 1], atol=0.02)


def test_lab_tiff(tmp_path: Path) -> None:
    lab = np.array([[[255, 0, 0], [128, 20, 30], [128, 236, 226]], [[200, 5, 251], [0, 0, 0], [90, 240, 10]]], np.uint8)
    picture = pictures.load(tiff(tmp_path / "lab.tif", lab, photometric="cielab"))
    real = np.concatenate([lab[..., :1] / 2.55, lab[..., 1:].astype(np.int8)], axis=-1)
    np.testing.assert_allclose(colours(picture), lab_to_srgb(real), atol=2.5 / 255)


def test_unusable_profiles_are_ignored_with_a_note(tmp_path: Path) -> None:
    stored = random_bytes(4, 4, 3)
    whole = display_profile(DISPLAY_P3, None, "Display P3")
    no_curves = icc(b"RGB ", b"XYZ ", b"mntr", {}, "No curves")
    for broken in (b"not a profile", whole[:200], no_curves, b"\0" * 500):
        path = written(tmp_path / "broken.png", encoded(Image.fromarray(stored), "PNG", icc_profile=broken))
        picture = pictures.load(path)
        np.testing.assert_array_equal(pictures.to_image(picture.pixels), stored)
        assert picture.notes == (f"{path} has a damaged colour profile, which is ignored",)
    for other, name in ((cmyk_profile(), "Test print"), (grey_profile(2.0), "Grey 2.0")):
        path = written(tmp_path / "other.png", encoded(Image.fromarray(stored), "PNG", icc_profile=other))
        picture = pictures.load(path)
        np.testing.assert_array_equal(pictures.to_image(picture.pixels), stored)
        assert picture.notes == (f"{path} has a colour profile of another kind ({name}), which is ignored",)


def test_a_cmyk_picture_with_a_broken_profile_says_both() -> None:
    image = Image.new("CMYK", (2, 2))
    image.info["icc_profile"] = b"broken"
    note = "picture has a damaged colour profile, which is ignored; its CMYK colours are approximate"
    assert pictures.load(image).notes == (note,)


# ------------------------------------------------------------------------------------------------------ depths and modes

DEEP = np.array([[0, 1, 255, 256, 300], [32768, 40000, 65279, 65534, 65535]], np.uint16)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=["plain", "deflate", "tiled"])
def test_16_bit_grey_tiff(tmp_path: Path, byteorder: str, options: dict[str, Any]) -> None:
    picture = pictures.load(tiff(tmp_path / "deep.tif", DEEP, byteorder=byteorder, **options))
    np.testing.assert_allclose(colours(picture), np.repeat(DEEP[..., None] / 65535, 3, axis=2), atol=1e-7)


def test_16_bit_grey_png_with_and_without_a_transparent_value(tmp_path: Path) -> None:
    rows = [row.astype(">u2").tobytes() for row in DEEP]
    picture = pictures.load(written(tmp_path / "deep.png", png(5, 2, 16, 0, rows)))
    np.testing.assert_allclose(colours(picture)[..., 1], DEEP / 65535, atol=1e-7)
    assert picture.alpha is None
    keyed = pictures.load(written(tmp_path / "keyed.png", png(5, 2, 16, 0, rows, (b"tRNS", struct.pack(">H", 40000)))))
    np.testing.assert_array_equal(keyed.alpha[0, 0].numpy(), DEEP != 40000)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=["plain", "deflate"])
def test_16_bit_rgb_tiff(tmp_path: Path, byteorder: str, options: dict[str, Any]) -> None:
    stored = np.random.default_rng(1).integers(0, 65536, (5, 6, 3)).astype(np.uint16)
    path = tiff(tmp_path / "deep.tif", stored, photometric="rgb", byteorder=byteorder, **options)
    np.testing.assert_allclose(colours(pictures.load(path)), stored / 65535, atol=1 / 255)


def test_16_bit_rgb_tiff_in_planes_is_read_right_or_refused(tmp_path: Path) -> None:
    planes = np.random.default_rng(1).integers(0, 65536, (3, 5, 6)).astype(np.uint16)
    apart: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate"}
    picture = pictures.load(tiff(tmp_path / "packed.tif", planes, compression="zlib", **apart))
    np.testing.assert_allclose(colours(picture), planes.transpose(1, 2, 0) / 65535, atol=1 / 255)
    assert "separate 16-bit colour planes" in refusal(tiff(tmp_path / "raw.tif", planes, **apart))
    eight = tiff(tmp_path / "eight.tif", (planes >> 8).astype(np.uint8), **apart)
    np.testing.assert_allclose(colours(pictures.load(eight)), (planes >> 8).transpose(1, 2, 0) / 255, atol=1e-6)


@pytest.mark.parametrize("kind", [2, 4, 6], ids=["RGB", "LA", "RGBA"])
def test_16_bit_png(tmp_path: Path, kind: int) -> None:
    channels = {2: 3, 4: 2, 6: 4}[kind]
    stored = np.random.default_rng(2).integers(256, 65536, (4, 5, channels)).astype(np.uint16)
    path = written(tmp_path / "deep.png", png(5, 4, 16, kind, [row.astype(">u2").tobytes() for row in stored]))
    picture = pictures.load(path)
    expected = stored[..., :3] if channels != 2 else np.repeat(stored[..., :1], 3, axis=2)
    np.testing.assert_allclose(colours(picture), expected / 65535, atol=1 / 255)
    if kind != 2:
        np.testing.assert_allclose(picture.alpha[0, 0].numpy(), stored[..., -1] / 65535, atol=1 / 255)


def test_float_tiff(tmp_path: Path) -> None:
    values = np.random.default_rng(3).random((4, 5)).astype(np.float32)
    for byteorder in "<>":
        picture = pictures.load(tiff(tmp_path / "float.tif", values, byteorder=byteorder))
        np.testing.assert_array_equal(colours(picture)[..., 2], values)
    for bad in (1.5, -0.25, np.nan, np.inf):
        values[1, 1] = bad
        assert "grey values must lie in [0, 1]" in refusal(tiff(tmp_path / "bad.tif", values))


def test_whole_number_greys_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    good = tiff(tmp_path / "good.tif", DEEP.astype(np.int32))
    np.testing.assert_allclose(colours(pictures.load(good))[..., 0], DEEP / 65535, atol=1e-7)
    assert "reach from 0 to 70000" in refusal(tiff(tmp_path / "high.tif", np.array([[0, 70000]], np.int32)))
    assert "reach from -3 to 9" in refusal(tiff(tmp_path / "low.tif", np.array([[-3, 9]], np.int16)))


def test_white_is_zero(tmp_path: Path) -> None:
    for stored, top in ((DEEP, 65535), ((DEEP >> 8).astype(np.uint8), 255), (DEEP.astype(np.float32) / 65535, 1)):
        path = tiff(tmp_path / "negative.tif", stored, photometric="miniswhite")
        np.testing.assert_allclose(colours(pictures.load(path))[..., 0], 1 - stored / top, atol=1e-6)


def test_12_bit_tiff(tmp_path: Path) -> None:
    entries = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 3)]
    directory = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    data = bytes([0xFF, 0xF8, 0x00])  # two samples of 12 bits: 4095, 2048
    header = b"II*\0" + struct.pack("<I", 12) + data + b"\0" + struct.pack("<H", len(entries)) + directory + bytes(4)
    picture = pictures.load(written(tmp_path / "12.tif", header))
    np.testing.assert_allclose(colours(picture)[0, :, 0], [1, 2048 / 4095], atol=1e-6)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_deep_pil_images(mode: str) -> None:
    kind = {"I;16": "<u2", "I;16B": ">u2", "I": "=i4"}[mode]
    image = Image.frombytes(mode, (5, 2), DEEP.astype(kind).tobytes())
    np.testing.assert_allclose(colours(pictures.load(image))[..., 0], DEEP / 65535, atol=1e-7)


def test_grey_one_bit_and_palette(tmp_path: Path) -> None:
    grey = random_bytes(3, 4)
    picture = pictures.load(written(tmp_path / "g.png", png(4, 3, 8, 0, [row.tobytes() for row in grey])))
    np.testing.assert_allclose(colours(picture), np.repeat(grey[..., None] / 255, 3, axis=2), atol=1e-6)
    bits = pictures.load(written(tmp_path / "b.png", png(4, 1, 1, 0, [bytes([0b01010000])])))
    np.testing.assert_array_equal(colours(bits)[0, :, 0], [0, 1, 0, 1])
    table = random_bytes(3, 3)
    indexed = pictures.load(written(tmp_path / "p.png", png(3, 1, 8, 3, [bytes([2, 0, 1])], (b"PLTE", table.tobytes()))))
    np.testing.assert_allclose(colours(indexed)[0], table[[2, 0, 1]] / 255, atol=1e-6)
    assert indexed.alpha is None


@pytest.mark.parametrize(("depth", "row"), [(1, 0b01000000), (2, 0b00011011), (4, 0b00010010)])
def test_a_transparent_grey_below_8_bits(tmp_path: Path, depth: int, row: int) -> None:
    """Sample 1 is the transparent one; Pillow compares it with pixels it has scaled to 8 bits already."""
    width = 2
    path = written(tmp_path / "key.png", png(width, 1, depth, 0, [bytes([row])], (b"tRNS", struct.pack(">H", 1))))
    samples = [row >> (8 - depth * (column + 1)) & (2**depth - 1) for column in range(width)]
    picture = pictures.load(path)
    np.testing.assert_array_equal(picture.alpha.numpy().ravel(), [sample != 1 for sample in samples])


def test_transparent_colours_of_rgb_and_palette(tmp_path: Path) -> None:
    key = (b"tRNS", struct.pack(">HHH", 9, 8, 7))
    rgb = pictures.load(written(tmp_path / "rgb.png", png(2, 1, 8, 2, [bytes([9, 8, 7, 100, 50, 20])], key)))
    np.testing.assert_array_equal(rgb.alpha.numpy().ravel(), [0, 1])
    key = (b"tRNS", struct.pack(">HHH", 0xFFFF, 0x8000, 3))
    deep = struct.pack(">6H", 0xFFFF, 0x8000, 3, 1, 2, 3)
    rgb16 = pictures.load(written(tmp_path / "rgb16.png", png(2, 1, 16, 2, [deep], key)))
    np.testing.assert_array_equal(rgb16.alpha.numpy().ravel(), [0, 1])
    entries = (b"PLTE", bytes([10, 20, 30, 40, 50, 60, 70, 80, 90])), (b"tRNS", bytes([0, 128]))
    indexed = pictures.load(written(tmp_path / "p.png", png(3, 1, 8, 3, [bytes([0, 1, 2])], *entries)))
    np.testing.assert_allclose(indexed.alpha.numpy().ravel(), [0, 128 / 255, 1], atol=1e-6)
    np.testing.assert_allclose(colours(indexed)[0, 1:], np.array([[40, 50, 60], [70, 80, 90]]) / 255, atol=1e-6)


# ----------------------------------------------------------------------------------------------------------------- alpha


def test_hidden_colours_become_the_visible_mean() -> None:
    stored = random_bytes(6, 7, 4)
    stored[:3, :, 3] = 0
    picture = pictures.load(Image.fromarray(stored))
    weight = stored[..., 3:] / 255
    mean = (stored[..., :3] / 255 * weight).sum((0, 1)) / weight.sum()
    np.testing.assert_allclose(colours(picture)[:3], np.broadcast_to(mean, (3, 7, 3)), atol=1e-6)
    np.testing.assert_allclose(colours(picture)[3:], np.where(weight[3:] > 0, stored[3:, :, :3] / 255, mean), atol=1e-6)
    np.testing.assert_allclose(picture.alpha[0, 0].numpy(), stored[..., 3] / 255, atol=1e-6)


@property_test
@given(stored=hnp.arrays(np.uint8, (3, 4, 4)), hidden=hnp.arrays(np.uint8, (3, 4, 3)))
def test_hidden_colours_influence_nothing(stored: np.ndarray, hidden: np.ndarray) -> None:
    stored[0, 0, 3] = 200
    other = stored.copy()
    other[..., :3] = np.where(stored[..., 3:] == 0, hidden, stored[..., :3])
    first, second = pictures.load(stored), pictures.load(other)
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.alpha, second.alpha)


def test_opaque_alpha_is_dropped_and_grey_alpha_kept() -> None:
    opaque = random_bytes(3, 4, 4)
    opaque[..., 3] = 255
    assert pictures.load(opaque).alpha is None
    assert pictures.load(Image.fromarray(opaque)).alpha is None
    la = Image.fromarray(random_bytes(3, 4)).convert("LA")
    la.putalpha(Image.fromarray(random_bytes(3, 4, seed=5) | 1))
    picture = pictures.load(la)
    np.testing.assert_allclose(picture.alpha[0, 0].numpy(), (random_bytes(3, 4, seed=5) | 1) / 255, atol=1e-6)
    np.testing.assert_allclose(colours(picture)[..., 1], random_bytes(3, 4) / 255, atol=1e-6)


def test_everywhere_transparent_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "glass.png", encoded(Image.new("RGBA", (3, 3), (9, 9, 9, 0)), "PNG"))
    assert refusal(path, role="photograph") == f"photograph {path}: is transparent everywhere"


# ---------------------------------------------------------------------------------------------------- arrays and tensors


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 51], [255, 102]], np.uint8), [[0, 0.2], [1, 0.4]]),
        (np.array([[0, 13107], [65535, 26214]], np.uint16), [[0, 0.2], [1, 0.4]]),
        (np.array([[0, 13107], [65535, 26214]], ">u2"), [[0, 0.2], [1, 0.4]]),
        (np.array([[0, 0.2], [1, 0.4]]), [[0, 0.2], [1, 0.4]]),
        (np.array([[0, 0.25], [1, 0.5]], np.float16), [[0, 0.25], [1, 0.5]]),
        (np.array([[False, True]]), [[0, 1]]),
    ],
)
def test_array_types(array: np.ndarray, expected: list[list[float]]) -> None:
    for shaped in (array, array[..., None], np.repeat(array[..., None], 3, axis=2)):
        values = colours(pictures.load(shaped))
        np.testing.assert_allclose(values, np.repeat(np.array(expected)[..., None], 3, axis=2), atol=1e-7)


def test_arrays_and_tensors_are_copied_whatever_their_strides() -> None:
    array = np.random.default_rng(0).random((6, 8, 4), np.float32)
    array[0, 0, 3] = 0
    before = array.copy()
    for view in (array, array[::-1, ::2], np.asfortranarray(array)):
        picture = pictures.load(view)
        visible = view[..., 3] > 0
        assert not visible.all() or view.shape != array.shape
        np.testing.assert_array_equal(colours(picture)[visible], view[visible][:, :3])
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
    with np.errstate(all="raise"):
        frozen = np.broadcast_to(np.uint8(7), (2, 2, 3))
        pictures.load(frozen).pixels.zero_()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((3, 5, 6)), "must be HxW, HxWx1, HxWx3 or HxWx4, not 3x5x6"),
        (np.zeros((4, 4, 2)), "not 4x4x2"),
        (np.zeros(4), "not 4"),
        (np.zeros((1, 4, 4, 3)), "not 1x4x4x3"),
        (np.zeros((0, 4, 3)), "zero size (4x0)"),
        (np.full((2, 2), 1.5), "lie in [0, 1], and reach from 1.5 to 1.5"),
        (np.array([[0.0, -0.1]]), "reach from -0.1 to 0"),
        (np.array([[0.0, np.nan]]), "finite"),
        (np.array([[0.0, np.inf]]), "finite"),
        (np.zeros((2, 2), np.int64), "uint8, uint16, bool or float, not int64"),
        (np.zeros((2, 2), np.uint32), "not uint32"),
        (np.zeros((2, 2), complex), "not complex128"),
        (torch.zeros(4, 4), "must be 3xHxW or 1x3xHxW, not 4x4"),
        (torch.zeros(2, 3, 4, 4), "not 2x3x4x4"),
        (torch.zeros(4, 4, 3), "not 4x4x3"),
        (torch.tensor(1.0), "not a single number"),
        (torch.zeros(3, 0, 4), "zero size (4x0)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "floats in [0, 1], not uint8"),
        (torch.full((3, 4, 4), 2.0), "reach from 2 to 2"),
        (torch.full((3, 4, 4), torch.nan), "finite"),
        (Image.new("RGB", (0, 5)), "zero size (0x5)"),
        (np.broadcast_to(np.uint8(0), (20000, 20000, 3)), "400,000,000 pixels, more than the limit of 200,000,000"),
        (None, "not NoneType"),
        (b"photo.png", "not bytes"),
    ],
)
def test_refused_objects(source: Any, words: str) -> None:
    message = refusal(source, role="style picture")
    assert message.startswith("style picture: ")
    assert words in message


# --------------------------------------------------------------------------------------------------------- refused files


def test_refused_files(tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(random_bytes(64, 64, 3)), "PNG")
    cases = {
        tmp_path / "missing.jpg": "no such file",
        tmp_path: "is a directory",
        written(tmp_path / "empty.png", b""): "the file is empty",
        written(tmp_path / "notes.txt", b"these are words, not a picture, and there are a good many of them"): "not a picture",
        written(tmp_path / "cut.png", whole[:5000]): "truncated or damaged",
        written(tmp_path / "stub.png", whole[:20]): "truncated or damaged",
        tmp_path / ("n" * 300 + ".png"): "name too long",
        Path(os.devnull): "is not a regular file",
    }
    for path, words in cases.items():
        message = refusal(path, role="photograph")
        assert message.startswith(f"photograph {path}: "), message
        assert words in message
    assert refusal("a\0b.png") == "picture a\\x00b.png: not a valid file name"
    assert refusal("") == "picture '': is a directory, not a picture"
    assert refusal(str(tmp_path / "two\nlines.png")).endswith("two\\nlines.png: no such file or directory")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str) -> None:
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    data = encoded(Image.fromarray(random_bytes(64, 64, 3)), kind, **options)
    path = written(tmp_path / "cut", data[: len(data) // 2])
    refusal(path)
    pictures.load(written(path, data))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are a POSIX thing")
def test_a_fifo_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    messages: list[str] = []
    worker = threading.Thread(target=lambda: messages.append(refusal(tmp_path / "pipe.png")), daemon=True)
    worker.start()
    worker.join(timeout=10)
    assert messages == [f"picture {tmp_path / 'pipe.png'}: is not a regular file"]


@contextlib.contextmanager
def unprivileged() -> Iterator[Path]:
    """A directory everyone can write to, as a user who is not root (os.access asks the real user id)."""
    if not hasattr(os, "setresuid"):
        pytest.skip("needs POSIX permissions")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        root = os.geteuid() == 0
        try:
            if root:
                os.setresuid(65534, 65534, 0)
            yield Path(name)
        finally:
            if root:
                os.setresuid(0, 0, 0)


def test_permissions() -> None:
    with unprivileged() as directory:
        secret = written(directory / "secret.png", encoded(Image.new("RGB", (2, 2)), "PNG"))
        secret.chmod(0)
        assert refusal(secret) == f"picture {secret}: permission denied"
        locked = directory / "locked"
        locked.mkdir(mode=0o555)
        with pytest.raises(OutputError, match="locked is not writable"):
            pictures.check_output(locked / "out.png")
        secret.chmod(0o444)
        with pytest.raises(OutputError, match="exists and is write-protected"):
            pictures.check_output(secret, overwrite=True)
        locked.chmod(0)
        with pytest.raises(OutputError, match="permission denied"):
            pictures.check_output(locked / "out.png")
        locked.chmod(0o700)


def bomb_bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bomb.png", png(60000, 60000, 8, 2, [b""])),
        ("bomb.bmp", bomb_bmp(60000, 60000)),
        (
            "bomb.gif",
            b"GIF89a" + struct.pack("<HHBBB", 60000, 60000, 0, 0, 0) + b"," + struct.pack("<HHHHBB", 0, 0, 9, 9, 0, 2),
        ),
        ("bomb.ppm", b"P6 60000 60000 255\n"),
    ],
)
def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path, name: str, data: bytes) -> None:
    path = written(tmp_path / name, data)
    words = "3,600,000,000 pixels, more than the limit of 200,000,000; raise it with --max-pixels"
    assert refusal(path) == f"picture {path}: {words}"


def test_the_limit_is_ours_and_pillows_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "hundred.png", encoded(Image.fromarray(random_bytes(10, 10, 3)), "PNG"))
    for pillows in (10, 60, None):  # 100 pixels are an error, a warning and nothing to Pillow
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows)
        filters = list(warnings.filters)
        assert pictures.load(path, max_pixels=100).size == (10, 10)
        for limit in (99, 60, 10):
            assert f"100 pixels, more than the limit of {limit};" in refusal(path, max_pixels=limit)
        assert pillows == Image.MAX_IMAGE_PIXELS
        assert list(warnings.filters) == filters


def test_threads_leave_the_globals_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "p.png", encoded(Image.fromarray(random_bytes(40, 40, 3)), "PNG"))
    before, filters, found = Image.MAX_IMAGE_PIXELS, list(warnings.filters), []

    def work(limit: int) -> None:
        for _ in range(20):
            try:
                found.append(pictures.load(path, max_pixels=limit).size == (40, 40) and limit == 1600)
            except PictureError:
                found.append(limit == 1000)

    workers = [threading.Thread(target=work, args=(limit,)) for limit in (1600, 1000, 1600, 1000)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 80
    assert all(found)
    assert before == Image.MAX_IMAGE_PIXELS
    assert list(warnings.filters) == filters


def test_too_large_for_memory_is_said(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux")
    path = written(tmp_path / "large.png", png(14000, 14000, 1, 0, [bytes(1750)] * 14000))
    with Path("/proc/self/statm").open() as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, before[1]))
    try:
        with pytest.raises(MemoryLimitError, match="does not fit into memory"):
            pictures.load(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01", b"Exif\0\0", b"II*\0\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_corrupt_exif_does_not_matter(tmp_path: Path, exif: bytes, kind: str) -> None:
    path = written(tmp_path / "odd", encoded(Image.new("RGB", (16, 16), "red"), kind, exif=exif))
    picture = pictures.load(path)
    np.testing.assert_allclose(colours(picture), np.broadcast_to([1.0, 0, 0], (16, 16, 3)), atol=0.02)
    assert pictures.read_settings(path) is None


def test_pillows_warnings_stay_inside(tmp_path: Path) -> None:
    path = written(
        tmp_path / "odd.jpg", encoded(Image.new("RGB", (8, 8)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01")
    )
    with pytest.warns(UserWarning, match="Corrupt EXIF"), Image.open(path) as image:
        image.getexif()
    pictures.load(path)  # warnings are errors here
    pictures.read_settings(path)


@property_test
@given(data=st.data())
def test_damaged_files_are_pictures_or_picture_errors(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "ICO", "PPM", "TGA", "BMP"]))
    whole = bytearray(encoded(Image.fromarray(random_bytes(9, 7, 3)), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as directory:
        path = written(Path(directory) / "damaged", bytes(whole[: data.draw(st.integers(1, len(whole)))]))
        with contextlib.suppress(PictureError):
            picture = pictures.load(path, max_pixels=100_000)
            assert 0 <= float(picture.pixels.min()) <= float(picture.pixels.max()) <= 1
        with contextlib.suppress(PictureError):
            assert pictures.read_settings(path, max_pixels=100_000) is None


# ----------------------------------------------------------------------------------------------------------------- sizes


@property_test
@given(height=st.integers(1, 30000), width=st.integers(1, 30000), longer=st.integers(1, 20000))
def test_fit(height: int, width: int, longer: int) -> None:
    fitted = pictures.fit((height, width), longer)
    assert max(fitted) == longer
    assert min(fitted) >= 1
    assert (height >= width) == (fitted[0] >= fitted[1]) or fitted[0] == fitted[1]
    exact = min(height, width) * longer / max(height, width)
    assert abs(min(fitted) - max(exact, 1)) <= 0.5 + 1e-9
    assert pictures.fit((width, height), longer) == fitted[::-1]
    assert pictures.fit((height, width), max(height, width)) == (height, width)


def test_fit_refuses_nonsense() -> None:
    with pytest.raises(OptionError, match="at least 1 pixel, not 0"):
        pictures.fit((3, 4), 0)


@pytest.mark.parametrize("size", [(5, 7), (20, 31), (64, 48), (100, 37), (1, 1)])
def test_resize_against_pil(size: tuple[int, int]) -> None:
    pixels = torch.rand(2, 3, 31, 48, generator=torch.Generator().manual_seed(1))
    resized = pictures.resize(pixels, size)
    assert resized.shape == (2, 3, *size)
    for batch in range(2):
        for channel in range(3):
            image = Image.fromarray(pixels[batch, channel].numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
            expected = np.clip(np.asarray(image), 0, 1)
            np.testing.assert_allclose(resized[batch, channel].numpy(), expected, atol=2e-5)


def test_resize_leaves_the_right_size_and_the_range_alone() -> None:
    pixels = (torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    assert pictures.resize(pixels, (8, 8)) is pixels
    larger = pictures.resize(pixels, (33, 29))
    assert 0 <= float(larger.min()) <= float(larger.max()) <= 1
    np.testing.assert_allclose(pictures.resize(torch.full((1, 3, 9, 9), 0.3), (4, 21)).numpy(), 0.3, atol=1e-6)


def test_enlarge_keeps_constants_sizes_and_the_range() -> None:
    pixels = (torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    assert torch.equal(pictures.enlarge(pixels, (8, 9)), pixels)
    larger = pictures.enlarge(pixels, (33, 9))
    assert larger.shape == (2, 3, 33, 9)
    assert 0 <= float(larger.min()) <= float(larger.max()) <= 1
    np.testing.assert_allclose(pictures.enlarge(torch.full((1, 3, 1, 9), 0.3), (4, 21)).numpy(), 0.3, atol=1e-6)


def test_enlarge_by_the_sum_that_defines_it() -> None:
    pixels = 0.3 + 0.4 * torch.rand(1, 1, 1, 20, generator=torch.Generator().manual_seed(2))
    mirrored = np.pad(pixels.double().numpy()[0, 0, 0], 20, mode="symmetric")
    expected = []
    for i in range(31):
        away = np.arange(-20, 40) - ((i + 0.5) * 20 / 31 - 0.5)
        weights = np.sinc(0.9 * away) * np.sinc(away / 6) * (abs(away) < 6)
        expected.append((weights * mirrored).sum() / weights.sum())
    np.testing.assert_allclose(pictures.enlarge(pixels, (1, 31))[0, 0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("turned", [False, True])
def test_enlarge_keeps_waves_and_makes_no_others(turned: bool) -> None:
    """Waves of frequencies f, in cycles per pixel: up to 0.35 they stay as they are, and none gives a mirror image at 1 - f."""

    def enlarged(f: float, how: Callable[[Tensor, tuple[int, int]], Tensor]) -> np.ndarray:
        wave = 0.5 + 0.4 * torch.cos(2 * torch.pi * f * (torch.arange(200) + 0.5)).reshape(1, 1, 1, 200).expand(1, 1, 4, 200)
        larger = how(wave.mT, (280, 4)).mT if turned else how(wave, (4, 280))
        return larger[0, 0, 0, 40:-40].double().numpy() - 0.5

    places = (np.arange(280) + 0.5) / 1.4
    np.testing.assert_allclose(
        enlarged(0.35, pictures.enlarge), 0.4 * np.cos(2 * np.pi * 0.35 * places)[40:-40], atol=0.02 * 0.4
    )
    image = np.exp(-2j * np.pi * (1 - 0.45) * places)[40:-40] * np.hanning(200)
    ours, bicubic = (abs((enlarged(0.45, how) * image).sum()) for how in (pictures.enlarge, pictures.resize))
    assert ours < bicubic / 5


# -------------------------------------------------------------------------------------------------------------- to_image


@property_test
@given(stored=hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([3, 4]))))
def test_bytes_survive_the_round_trip(stored: np.ndarray) -> None:
    if stored.shape[2] == 4:
        stored[..., 3] |= 1
    picture = pictures.load(stored)
    image = pictures.to_image(picture.pixels, picture.alpha)
    opaque = stored.shape[2] == 3 or (stored[..., 3] == 255).all()
    assert image.mode == ("RGB" if opaque else "RGBA")
    np.testing.assert_array_equal(np.asarray(image), stored[..., :3] if opaque else stored)
    again = pictures.load(image)
    assert torch.equal(again.pixels, picture.pixels)


@property_test
@given(values=hnp.arrays(np.float32, (1, 3, 3, 4), elements=st.floats(0, 1, width=32)))
def test_at_most_half_a_rounding_step(values: np.ndarray) -> None:
    image = pictures.to_image(torch.from_numpy(values))
    step = np.asarray(image).transpose(2, 0, 1)[None].astype(np.float64) / 255
    assert np.abs(step - values.astype(np.float64)).max() <= 0.5 / 255 + 1e-7


def test_to_image_clips_and_refuses() -> None:
    image = pictures.to_image(torch.tensor([-1.0, 0.5, 2.0]).reshape(1, 3, 1, 1).requires_grad_())
    np.testing.assert_array_equal(np.asarray(image), [[[0, 128, 255]]])
    half = pictures.to_image(torch.full((1, 3, 2, 2), 0.6, dtype=torch.bfloat16))
    assert np.asarray(half)[0, 0, 0] == round(float(torch.tensor(0.6, dtype=torch.bfloat16)) * 255)
    for pixels, alpha, words in (
        (torch.zeros(3, 4, 4), None, "pixels must be 1x3xHxW, not 3x4x4"),
        (torch.zeros(2, 3, 4, 4), None, "not 2x3x4x4"),
        (torch.full((1, 3, 2, 2), torch.nan), None, "NaN"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 5), "alpha must be 1x1x4x4 like the pixels, not 1x1x4x5"),
    ):
        with pytest.raises(PictureError, match=words):
            pictures.to_image(pixels, alpha)


# -------------------------------------------------------------------------------------------------------------- writing

ALL_SUFFIXES = sorted(pictures.SUFFIXES)


def sample(alpha: bool = False, seed: int = 7) -> Image.Image:
    stored = random_bytes(24, 33, 4 if alpha else 3, seed=seed)
    return Image.fromarray(stored)


@pytest.mark.parametrize("suffix", ALL_SUFFIXES)
@pytest.mark.parametrize("alpha", [False, True])
def test_save_round_trip(tmp_path: Path, suffix: str, alpha: bool) -> None:
    image, path = sample(alpha), tmp_path / f"out{suffix.upper()}"
    notes = pictures.save(image, path)
    jpeg = suffix in (".jpg", ".jpeg")
    with Image.open(path) as read:
        assert read.format == pictures.SUFFIXES[suffix]
        assert read.mode == ("RGBA" if alpha and not jpeg else "RGB")
        result = np.asarray(read)
    if not jpeg:
        np.testing.assert_array_equal(result, np.asarray(image))
    assert notes == ((f"{path} cannot be transparent, being a JPEG: what was is white",) if jpeg and alpha else ())
    assert list(tmp_path.iterdir()) == [path]


def test_tiff_can_be_read_by_another_program(tmp_path: Path) -> None:
    for alpha in (False, True):
        pictures.save(sample(alpha), tmp_path / f"{alpha}.tif", settings={"seed": 1})
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"{alpha}.tif"), np.asarray(sample(alpha)))


def test_jpeg_is_composited_over_white(tmp_path: Path) -> None:
    flat = np.full((16, 16, 4), (200, 100, 50, 102), np.uint8)
    pictures.save(Image.fromarray(flat), tmp_path / "out.jpg")
    expected = 1 - 0.4 + 0.4 * np.array([200, 100, 50]) / 255
    np.testing.assert_allclose(colours(pictures.load(tmp_path / "out.jpg")), np.tile(expected, (16, 16, 1)), atol=2 / 255)
    opaque = np.full((16, 16, 4), (200, 100, 50, 255), np.uint8)
    assert pictures.save(Image.fromarray(opaque), tmp_path / "opaque.jpg") == ()


def test_jpeg_is_good_and_keeps_colour_resolution(tmp_path: Path) -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    pictures.save(Image.fromarray(stripes), tmp_path / "stripes.jpg")
    np.testing.assert_allclose(colours(pictures.load(tmp_path / "stripes.jpg")), stripes / 255, atol=0.06)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "I;16"])
def test_save_takes_other_modes(tmp_path: Path, mode: str) -> None:
    image = sample().convert("L").convert(mode)
    pictures.save(image, tmp_path / "out.png")
    assert pictures.load(tmp_path / "out.png").size == (24, 33)


@pytest.mark.parametrize("suffix", ALL_SUFFIXES)
def test_saved_colours_are_declared_srgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    pictures.save(sample(), path)
    with Image.open(path) as read:
        profile = read.info["icc_profile"]
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    assert struct.unpack(">6H", profile[24:36]) == (2000, 1, 1, 0, 0, 0)  # not today's date
    assert pictures.load(path).notes == ()


@pytest.mark.parametrize("suffix", ALL_SUFFIXES)
def test_saved_bytes_are_the_same_every_time(tmp_path: Path, suffix: str) -> None:
    for name in ("one", "two"):
        pictures.save(sample(), tmp_path / f"{name}{suffix}", settings={"seed": 3, "style": "Öl"})
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_metadata_of_the_image_stays_behind(tmp_path: Path) -> None:
    image = sample()
    image.info.update(icc_profile=grey_profile(1.0), dpi=(7, 7), comment=b"secret", exif=b"Exif\0\0secret", xmp=b"secret")
    before = dict(image.info)
    for suffix in ALL_SUFFIXES:
        pictures.save(image, tmp_path / f"out{suffix}")
        assert b"secret" not in (tmp_path / f"out{suffix}").read_bytes()
    assert image.info == before


SETTINGS = {
    "seed": 7,
    "method": "gatys",
    "taps": ["relu1_1"],
    "weight": 1e-3,
    "title": "Öl auf 画布 \U0001f58c \0",
    "none": None,
}


@pytest.mark.parametrize("suffix", ALL_SUFFIXES)
def test_settings_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    pictures.save(sample(), path, settings=SETTINGS)
    assert pictures.read_settings(path) == SETTINGS
    pictures.save(sample(), path, overwrite=True)
    assert pictures.read_settings(path) is None
    pictures.save(sample(), path, settings={}, overwrite=True)
    assert pictures.read_settings(path) == {}
    pictures.save(sample(), path, settings={"text": "x" * 50_000}, overwrite=True)
    assert pictures.read_settings(path) == {"text": "x" * 50_000}
    with pytest.raises(SaveError, match="more than the 60,000 that fit"):
        pictures.save(sample(), path, settings={"text": "x" * 70_000}, overwrite=True)
    assert pictures.read_settings(path) == {"text": "x" * 50_000}


def test_settings_are_where_exif_has_user_comments(tmp_path: Path) -> None:
    pictures.save(sample(), tmp_path / "out.jpg", settings={"seed": 1})
    pictures.save(sample(), tmp_path / "out.tif", settings={"seed": 1})
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.getexif()[0x0131] == "impasto"
        assert image.getexif().get_ifd(0x8769)[0x9286] == b'ASCII\0\0\0{"seed": 1}'
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages[0].tags[0x0131].value == "impasto"
        assert file.pages[0].tags[0x9286].value == b'ASCII\0\0\0{"seed": 1}'


@pytest.mark.parametrize("suffix", ALL_SUFFIXES)
def test_settings_of_other_programs_are_none(tmp_path: Path, suffix: str) -> None:
    for software, comment in (
        ("impasto", b"ASCII\0\0\0not json"),
        ("impasto", b"ASCII\0\0\0[1, 2]"),
        ("impasto", b"ASCII\0\0\0\xff\xfe"),
        ("impasto", b"UNICODE\0" + '{"seed": 1}'.encode("utf-16")),
        ("impasto", b"ASCII\0\0\0" + b"[" * 50_000),
        ("impasto", b""),
        ("other", b'ASCII\0\0\0{"seed": 1}'),
        (None, b'ASCII\0\0\0{"seed": 1}'),
    ):
        exif = Image.Exif()
        if software:
            exif[0x0131] = software
        exif[0x8769] = {0x9286: comment}
        path = written(tmp_path / f"other{suffix}", encoded(sample(), pictures.SUFFIXES[suffix], exif=exif.tobytes()))
        assert pictures.read_settings(path) is None
    plain = written(tmp_path / f"plain{suffix}", encoded(sample(), pictures.SUFFIXES[suffix]))
    assert pictures.read_settings(plain) is None


@property_test
@given(odd=st.binary(max_size=80))
def test_odd_exif_never_raises(odd: bytes) -> None:
    data = encoded(Image.new("RGB", (4, 4)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + odd)
    with tempfile.TemporaryDirectory() as directory:
        path = written(Path(directory) / "odd.jpg", data)
        assert pictures.read_settings(path) is None
        assert pictures.load(path).size == (4, 4)


def test_read_settings_of_no_picture(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no such file"):
        pictures.read_settings(tmp_path / "missing.png")
    with pytest.raises(PictureError, match="not a picture"):
        pictures.read_settings(written(tmp_path / "words.png", b"words" * 20))


def test_settings_json_cannot_hold_are_a_bug_and_write_nothing(tmp_path: Path) -> None:
    for bad in ({"x": object()}, {"x": float("nan")}):
        with pytest.raises((TypeError, ValueError)) as caught:
            pictures.save(sample(), tmp_path / "out.png", settings=bad)
        assert not isinstance(caught.value, UsageError)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------- where it may be written


def test_check_output_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix in ALL_SUFFIXES:
        assert pictures.check_output(tmp_path / f"new{suffix.upper()}") == tmp_path / f"new{suffix.upper()}"
    old = written(tmp_path / "old.png", b"old")
    assert pictures.check_output(str(old), overwrite=True) == old
    monkeypatch.chdir(tmp_path)
    assert pictures.check_output("here.png") == Path("here.png")
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def outputs(directory: Path) -> dict[str, str]:
    written(directory / "old.png", b"old")
    written(directory / "file", b"")
    (directory / "folder.png").mkdir()
    (directory / "dangling.png").symlink_to(directory / "nowhere.png")
    os.mkfifo(directory / "pipe.png")
    return {
        "out.pgn": "unknown suffix '.pgn'; did you mean '.png'? known: .png, .jpg, .jpeg, .webp, .tif, .tiff",
        "out.xyz": "unknown suffix '.xyz'; known: ",
        "out": "no suffix; known: ",
        "old.png": "exists; add --overwrite to replace it",
        "folder.png": "is a directory; name a file in it",
        "": "is a directory; name a file in it",
        "missing/out.png": "there is no directory ",
        "file/out.png": "there is no directory ",
        "dangling.png": "is a link that leads nowhere",
        "a\0b.png": "a\\x00b.png: not a valid file name",
        "n" * 300 + ".png": "name too long",
        "pipe.png": "is not a regular file",
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are a POSIX thing")
def test_check_output_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, words in outputs(tmp_path).items():
        for action in (pictures.check_output, lambda path: pictures.save(sample(), path)):
            with pytest.raises(OutputError) as caught:
                action(name)
            assert words in str(caught.value)
            assert "\n" not in str(caught.value)
    for name in ("folder.png", "pipe.png"):
        with pytest.raises(OutputError):
            pictures.check_output(name, overwrite=True)
    assert (tmp_path / "old.png").read_bytes() == b"old"


@pytest.mark.parametrize(("suffix", "limit"), [(".webp", 16383), (".jpg", 65500)])
def test_formats_have_a_longest_side(tmp_path: Path, suffix: str, limit: int) -> None:
    words = f"at most {limit} pixels a side, not {limit + 1}x2; use .png or .tif"
    with pytest.raises(OutputError, match=words):
        pictures.check_output(tmp_path / f"out{suffix}", size=(2, limit + 1))
    with pytest.raises(OutputError, match=words):
        pictures.save(Image.new("RGB", (limit + 1, 2)), tmp_path / f"out{suffix}")
    pictures.save(Image.new("RGB", (limit, 2)), tmp_path / f"out{suffix}")
    pictures.save(Image.new("RGB", (limit + 1, 2)), tmp_path / "out.png")


# ------------------------------------------------------------------------------------------------------- whole or not at all


def test_overwriting(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    pictures.save(sample(seed=1), path)
    with pytest.raises(OutputError, match="exists; add --overwrite"):
        pictures.save(sample(seed=2), path)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(sample(seed=1)))
    pictures.save(sample(seed=2), path, overwrite=True)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(sample(seed=2)))
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = written(tmp_path / "real.png", b"old"), tmp_path / "link.png"
    link.symlink_to(real)
    pictures.save(sample(), link, overwrite=True)
    assert link.is_symlink()
    np.testing.assert_array_equal(np.asarray(Image.open(real)), np.asarray(sample()))


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_permissions_follow_the_umask_or_the_old_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        pictures.save(sample(), tmp_path / "new.png")
        private = written(tmp_path / "private.png", b"old")
        private.chmod(0o600)
        pictures.save(sample(), private, overwrite=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.png").stat().st_mode) == 0o640
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


@contextlib.contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond limit bytes: write() fails as it does on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", ALL_SUFFIXES)
@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path, suffix: str, existing: bool) -> None:
    path = tmp_path / f"out{suffix}"
    if existing:
        written(path, b"old")
    with full_disk(1000), pytest.raises(SaveError, match=r"out\.\w+ could not be written: file too large"):
        pictures.save(sample(), path, overwrite=existing)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"] * existing


def interrupted(_: Any) -> None:
    raise KeyboardInterrupt


def disk_error(_: Any) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(("failure", "expected"), [(interrupted, KeyboardInterrupt), (disk_error, SaveError)])
def test_a_failure_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Callable[[Any], None], expected: type[BaseException]
) -> None:
    path = written(tmp_path / "out.png", b"old")
    monkeypatch.setattr(os, "fsync", failure)
    with pytest.raises(expected):
        pictures.save(sample(), path, overwrite=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fsync = tmp_path / "out.png", os.fsync

    def meanwhile(descriptor: int) -> None:
        written(path, b"someone else's")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(OutputError, match="exists; add --overwrite"):
        pictures.save(sample(), path)
    assert path.read_bytes() == b"someone else's"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_never_see_half_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    versions = [np.asarray(sample(seed=seed)) for seed in range(15)]
    pictures.save(Image.fromarray(versions[0]), path)
    seen: list[bool] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            with Image.open(path) as image:
                found = np.asarray(image)
            seen.append(any(np.array_equal(found, version) for version in versions))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for version in versions:
            pictures.save(Image.fromarray(version), path, overwrite=True)
    finally:
        stop.set()
        reader.join()
    assert seen
    assert all(seen)


def test_exif_json_is_ascii(tmp_path: Path) -> None:
    pictures.save(sample(), tmp_path / "out.png", settings=SETTINGS)
    with Image.open(tmp_path / "out.png") as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment.isascii()
    assert json.loads(comment[8:]) == SETTINGS
