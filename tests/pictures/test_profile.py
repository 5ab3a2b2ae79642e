"""Color conversion against closed forms, with ICC profiles laid out here by their specification."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures.samples import colors, encoded, gray, png, random_bytes, tiff, written
from PIL import Image, ImageCms

from impasto import pictures
from impasto.pictures import icc as profiles
from impasto.pictures import spaces


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


def gray_profile(gamma: float) -> bytes:
    return icc(b"GRAY", b"XYZ ", b"mntr", {b"kTRC": curve(gamma)}, f"Gray {gamma}")


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


@pytest.mark.parametrize(
    ("matrix", "gamma", "name", "kind"),
    [
        (DISPLAY_P3, None, "Display P3", "PNG"),
        (ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998)", "TIFF"),
        (SRGB, 1.0, "sRGB in name only", "PNG"),
    ],
)
def test_rgb_profiles_against_the_closed_form(
    tmp_path: Path, matrix: np.ndarray, gamma: float | None, name: str, kind: str
) -> None:
    levels = np.linspace(0, 255, 8).round().astype(np.uint8)
    stored = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(16, 32, 3)
    path = written(tmp_path / "wide", encoded(Image.fromarray(stored), kind, icc_profile=display_profile(matrix, gamma, name)))
    picture = pictures.load(path)
    value = stored / 255
    light = linear(value) if gamma is None else value**gamma
    expected = srgb_curve(light @ (np.linalg.inv(SRGB) @ matrix).T)
    np.testing.assert_allclose(colors(picture), expected, atol=1.5 / 255)
    assert np.abs(expected - value).max() > 10 / 255  # the conversion is worth testing
    assert picture.notes == (f"{path} has its colors converted from {name}",)


def test_a_profile_applies_to_palettes_and_pil_images_and_keeps_alpha() -> None:
    profile = display_profile(DISPLAY_P3, None, "Display P3")
    stored = np.array([[[200, 30, 40, 255], [10, 200, 90, 128]]], np.uint8)
    expected = srgb_curve(linear(stored[..., :3] / 255) @ (np.linalg.inv(SRGB) @ DISPLAY_P3).T)
    image = Image.fromarray(stored)
    image.info["icc_profile"] = profile
    picture = pictures.load(image)
    np.testing.assert_allclose(colors(picture), expected, atol=1.5 / 255)
    np.testing.assert_allclose(picture.alpha.numpy().ravel(), [1, 128 / 255], atol=1e-6)
    palette = (b"PLTE", stored[0, :, :3].tobytes()), (b"iCCP", b"P3\0\0" + zlib.compress(profile))
    indexed = pictures.load(png(2, 1, 8, 3, [bytes([0, 1])], palette[1], palette[0]))
    np.testing.assert_allclose(colors(indexed), expected, atol=1.5 / 255)


def test_an_srgb_profile_changes_nothing_and_needs_no_note() -> None:
    stored = random_bytes(16, 16, 3)
    for profile in (
        display_profile(SRGB, None, "some monitor"),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ):
        picture = pictures.load(encoded(Image.fromarray(stored), "PNG", icc_profile=profile))
        np.testing.assert_array_equal(pictures.to_image(picture.pixels), stored)
        assert picture.notes == ()


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_gray_profiles_at_8_and_16_bits(gamma: float) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(8, 32)
    eight = pictures.load(encoded(Image.fromarray(values), "PNG", icc_profile=gray_profile(gamma)))
    np.testing.assert_allclose(colors(eight), gray(srgb_curve((values / 255) ** gamma)), atol=1.5 / 255)
    assert eight.notes == (f"image has its colors converted from Gray {gamma}",)
    deep = np.linspace(3000, 65535, 640).astype(np.uint16).reshape(20, 32)
    sixteen = pictures.load(encoded(Image.fromarray(deep), "PNG", icc_profile=gray_profile(gamma)))
    np.testing.assert_allclose(colors(sixteen), gray(srgb_curve((deep / 65535) ** gamma)), atol=1.5 / 255)


def test_a_gray_image_in_an_rgb_profile() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(8, 32)
    image = Image.fromarray(values)
    image.info["icc_profile"] = display_profile(ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998)")
    np.testing.assert_allclose(colors(pictures.load(image)), gray(srgb_curve((values / 255) ** ADOBE_GAMMA)), atol=1.5 / 255)


def test_cmyk_through_a_print_profile(tmp_path: Path) -> None:
    corners = np.array([[c, m, y, k] for c in (0, 255) for m in (0, 255) for y in (0, 255) for k in (0, 255)], np.uint8)
    path = tiff(tmp_path / "print.tif", corners.reshape(4, 4, 4), photometric="separated", iccprofile=cmyk_profile())
    picture = pictures.load(path)
    np.testing.assert_allclose(colors(picture), lab_to_srgb(CORNERS).reshape(4, 4, 3), atol=2.5 / 255)
    assert picture.notes == (f"{path} has its colors converted from Test print",)
    edge = np.zeros((1, 256, 4), np.uint8)
    edge[0, :, 1] = np.arange(256)  # from paper to magenta, where any interpolation is linear in Lab
    ramp = pictures.load(tiff(tmp_path / "edge.tif", edge, photometric="separated", iccprofile=cmyk_profile()))
    along = np.linspace(0, 1, 256)[:, None]
    np.testing.assert_allclose(colors(ramp)[0], lab_to_srgb((1 - along) * CORNERS[0] + along * CORNERS[4]), atol=2.5 / 255)


def test_cmyk_without_a_usable_profile(tmp_path: Path) -> None:
    stored = random_bytes(8, 8, 4)
    path = tiff(tmp_path / "ink.tif", stored, photometric="separated")
    picture = pictures.load(path)
    ink = 1 - stored / 255
    np.testing.assert_allclose(colors(picture), ink[..., :3] * ink[..., 3:], atol=1 / 255)
    assert picture.notes == (f"{path} has no color profile; its CMYK colors are approximate",)
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    np.testing.assert_allclose(colors(pictures.load(encoded(cyan, "JPEG", quality=100)))[8, 8], [0, 1, 1], atol=0.02)
    cyan.info["icc_profile"] = b"broken"
    note = "image has a damaged color profile, which is ignored; its CMYK colors are approximate"
    assert pictures.load(cyan).notes == (note,)


def test_lab_tiff(tmp_path: Path) -> None:
    lab = np.array([[[255, 0, 0], [128, 20, 30], [128, 236, 226]], [[200, 5, 251], [0, 0, 0], [90, 240, 10]]], np.uint8)
    picture = pictures.load(tiff(tmp_path / "lab.tif", lab, photometric="cielab"))
    real = np.concatenate([lab[..., :1] / 2.55, lab[..., 1:].astype(np.int8)], axis=-1)
    np.testing.assert_allclose(colors(picture), lab_to_srgb(real), atol=2.5 / 255)


def test_a_profile_that_is_no_bytes_is_ignored() -> None:
    for odd in (5, (1, 2), "text"):
        image = Image.new("RGB", (4, 3))
        image.info["icc_profile"] = odd
        assert pictures.load(image).notes == ()


def test_unusable_profiles_are_ignored_with_a_note() -> None:
    stored = random_bytes(4, 4, 3)
    complete = display_profile(DISPLAY_P3, None, "Display P3")
    no_curves = icc(b"RGB ", b"XYZ ", b"mntr", {}, "No curves")
    damaged = dict.fromkeys((b"not a profile", complete[:200], no_curves, b"\0" * 500), "damaged color profile")
    other = {
        cmyk_profile(): "color profile of another kind (Test print)",
        gray_profile(2): "color profile of another kind (Gray 2)",
    }
    for profile, words in (damaged | other).items():
        picture = pictures.load(encoded(Image.fromarray(stored), "PNG", icc_profile=profile))
        np.testing.assert_array_equal(pictures.to_image(picture.pixels), stored)
        assert picture.notes == (f"image has a {words}, which is ignored",)


# --------------------------------------------------------------------------------------------------------- in NumPy alone


def test_tables_are_interpolated_as_torch_does() -> None:
    rng = np.random.default_rng(5)
    table = rng.random((*(profiles.GRID,) * 3, 3), dtype=np.float32)
    values = np.concatenate((rng.random((40, 50, 3), dtype=np.float32), rng.integers(0, 2, (8, 50, 3)).astype(np.float32)))
    points = torch.from_numpy(values[None, None, ..., ::-1].copy()) * 2 - 1
    grid = torch.from_numpy(table).permute(3, 0, 1, 2)[None]
    found = torch.nn.functional.grid_sample(grid, points, padding_mode="border", align_corners=True)
    expected = found[0, :, 0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(profiles.interpolated(table.reshape(-1, 3), values), expected, atol=2e-5)  # places are rounded


def test_rows_are_converted_on_all_cores_as_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(6).random((64, 32, 3), dtype=np.float32)
    space = spaces.Space("P3", (spaces.srgb_to_linear,), spaces.to_linear_srgb(spaces.PRIMARIES[12][1]))
    whole, seen = space.to_srgb(values), set[str]()
    monkeypatch.setattr(spaces, "PIXELS_AT_ONCE", 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS")
    np.testing.assert_allclose(space.to_srgb(values), whole, atol=1e-6)

    def inverse(rows: np.ndarray) -> np.ndarray:
        seen.add(threading.current_thread().name)
        return 1 / (rows - rows)

    with np.errstate(divide="ignore"):  # which holds in the threads as well
        assert np.isinf(spaces.by_rows(inverse, values)).all()
    assert threading.current_thread().name not in seen
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        spaces.by_rows(inverse, values)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    seen.clear()
    with np.errstate(divide="ignore"):
        spaces.by_rows(inverse, values)
    assert seen == {threading.current_thread().name}
