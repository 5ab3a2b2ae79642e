"""What files say about their colors, against formulas: PNG chunks, boxes of AVIF and JPEG 2000, BMP, GIF, EXIF; PQ and HLG."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures.samples import colors, encoded, png, random_bytes, random_words, tiff
from pictures.test_profile import (
    ADOBE_GAMMA,
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    display_profile,
    gray_profile,
    icc,
    linear,
    s15f16,
    srgb_curve,
    to_xyz,
)
from PIL import Image

from impasto import pictures

BT2020 = to_xyz((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
P3_CHRM = (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
CICP_P3 = (b"cICP", bytes([12, 13, 0, 1]))
CICP_2020_LINEAR = (b"cICP", bytes([9, 8, 0, 1]))
LINEAR_GAMA = (b"gAMA", struct.pack(">I", 100_000))
ICC_ADOBE = (b"iCCP", b"A\0\0" + zlib.compress(display_profile(ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998)")))
SRGB_CHUNK = (b"sRGB", b"\0")

Decoding = tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]
MEANING: dict[bytes, Decoding] = {
    CICP_P3[1]: (DISPLAY_P3, linear),
    CICP_2020_LINEAR[1]: (BT2020, lambda v: v),
    ICC_ADOBE[1]: (ADOBE_RGB, lambda v: v**ADOBE_GAMMA),
    SRGB_CHUNK[1]: (SRGB, linear),
}


def expected(value: np.ndarray, matrix: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return srgb_curve(curve(value) @ (np.linalg.inv(SRGB) @ matrix).T)


def png_of(stored: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """An RGB PNG of 8 or 16 bits."""
    depth, kind = (8, "u1") if stored.dtype == np.uint8 else (16, ">u2")
    height, width = stored.shape[:2]
    return png(width, height, depth, 2, [row.astype(kind).tobytes() for row in stored], *chunks)


STATED = (CICP_P3, CICP_2020_LINEAR, ICC_ADOBE, SRGB_CHUNK, LINEAR_GAMA, P3_CHRM)


@pytest.mark.parametrize("depth", [8, 16])
def test_png_chunks_count_in_the_order_of_the_specification(depth: int) -> None:
    """cICP, iCCP, sRGB, gAMA with cHRM (PNG, third edition, 4.3), whatever their order in the file: every combination."""
    stored = random_bytes(5, 7, 3) if depth == 8 else random_words(5, 7, 3)
    value = stored / (2**depth - 1)
    for count in range(5):
        for chunks in itertools.combinations(STATED[1:], count):
            first = next((MEANING[body] for name, body in chunks if body in MEANING), None)
            if first is None:
                matrix = DISPLAY_P3 if P3_CHRM in chunks else SRGB
                first = (matrix, (lambda v: v) if LINEAR_GAMA in chunks else linear)
            picture = pictures.load(png_of(stored, *reversed(chunks)))
            np.testing.assert_allclose(colors(picture), expected(value, *first), atol=1.2e-3, err_msg=str(chunks))
            plain = np.allclose(expected(value, *first), value, atol=1e-6)
            assert bool(picture.notes) == (not plain or bool({LINEAR_GAMA, P3_CHRM} & set(chunks))), (chunks, picture.notes)


def test_the_notes_name_what_was_used_and_what_was_ignored() -> None:
    stored = random_bytes(3, 4, 3)
    for chunks, says in {
        (CICP_P3,): "has its colors converted from Display P3, sRGB (cICP)",
        (LINEAR_GAMA,): "has its colors converted from gAMA",
        (P3_CHRM, LINEAR_GAMA): "has its colors converted from gAMA and cHRM",
        (SRGB_CHUNK, LINEAR_GAMA): "states gAMA colors, which are ignored because of sRGB",
        (
            (b"cICP", bytes([99, 13, 0, 1])),
        ): "states colors that are not supported (cICP: primaries 99, transfer 13), which is ignored",
        ((b"cICP", bytes([12, 2, 0, 1])),): "states colors incompletely (cICP), which is ignored",
        ((b"cHRM", bytes(32)),): "states impossible colors (cHRM), which is ignored",
        ((b"iCCP", b"x\0\0" + b"no zlib"),): "has a damaged color profile, which is ignored",
    }.items():
        picture = pictures.load(png_of(stored, *chunks), role="photograph")
        assert picture.notes == (f"photograph {says}",)
        if "ignored" in says:
            np.testing.assert_array_equal(pictures.to_image(picture.pixels), stored)
    unusable_then_used = pictures.load(png_of(stored, (b"cICP", bytes([99, 13, 0, 1])), ICC_ADOBE))
    np.testing.assert_allclose(colors(unusable_then_used), expected(stored / 255, *MEANING[ICC_ADOBE[1]]), atol=5e-4)
    assert len(unusable_then_used.notes) == 2
    for usual in ((b"gAMA", struct.pack(">I", 45455)), SRGB_CHUNK), (SRGB_CHUNK,), ((b"cICP", bytes([1, 13, 0, 1])),), ():
        assert pictures.load(png_of(stored, *usual)).notes == ()


def test_gamma_and_narrow_range() -> None:
    stored = random_bytes(4, 5, 3)
    for stated in (45000, 55555, 38462):
        found = pictures.load(png_of(stored, (b"gAMA", struct.pack(">I", stated))))
        np.testing.assert_allclose(colors(found), srgb_curve((stored / 255) ** (100_000 / stated)), atol=5e-4)
    usual = pictures.load(png_of(stored, (b"gAMA", struct.pack(">I", 45455)), P3_CHRM))  # what writers of sRGB's curve state
    np.testing.assert_allclose(colors(usual), expected(stored / 255, DISPLAY_P3, linear), atol=5e-4)
    assert pictures.load(png_of(stored, (b"gAMA", struct.pack(">I", 45455)))).notes == ()
    narrow = pictures.load(png_of(stored, (b"cICP", bytes([12, 13, 0, 0]))))
    value = np.clip((stored.astype(float) - 16) / 219, 0, 1)
    np.testing.assert_allclose(colors(narrow), expected(value, DISPLAY_P3, linear), atol=5e-4)


@pytest.mark.parametrize("gamma", [None, 1.0, 2.2])
def test_16_bits_are_converted_without_banding(tmp_path: Path, gamma: float | None) -> None:
    """A ramp as dark as a linear file's shadows: 8 bits would leave a few levels of it."""
    ramp = np.linspace(0, 2000, 900).round().astype(np.uint16).reshape(30, 30)
    stored = np.stack([ramp, ramp[::-1], ramp.T], axis=-1)
    profile = display_profile(DISPLAY_P3, gamma, "deep")
    path = tiff(tmp_path / "deep.tif", stored, photometric="rgb", iccprofile=profile)
    found = colors(pictures.load(path))
    wanted = expected(stored / 65535, DISPLAY_P3, linear if gamma is None else lambda v: v**gamma)
    np.testing.assert_allclose(found, wanted, atol=3e-4)
    assert len(np.unique(found)) > 700
    grays = pictures.load(png(30, 30, 16, 0, [row.astype(">u2").tobytes() for row in ramp], gray_chunk(gamma or 1.8)))
    np.testing.assert_allclose(colors(grays)[..., 0], srgb_curve((ramp / 65535) ** (gamma or 1.8)), atol=3e-3)


def gray_chunk(gamma: float) -> tuple[bytes, bytes]:
    return b"iCCP", b"g\0\0" + zlib.compress(gray_profile(gamma))


def test_parametric_curves() -> None:
    """Types 0 to 4 of ICC.1:2022, 10.18, with numbers that give known curves."""
    matrix_tags = {
        tag: b"XYZ \0\0\0\0" + s15f16(*column) for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), (d50_columns()), strict=True)
    }
    a, b, c, d = 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045
    srgb_like = linear
    for kind, numbers, curve in (
        (0, (2.2,), lambda v: v**2.2),
        (1, (2.0, 0.5, 0.5), lambda v: (0.5 * v + 0.5) ** 2),
        (2, (2.0, 0.8, 0.0, 0.1), lambda v: (0.8 * v) ** 2 + 0.1),
        (3, (2.4, a, b, c, d), srgb_like),
        (4, (2.4, a, b, c, d, 0.0, 0.0), srgb_like),
    ):
        tag = b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + s15f16(*numbers)
        profile = icc(b"RGB ", b"XYZ ", b"mntr", matrix_tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), tag), "para")
        stored = random_words(4, 5, 3)
        found = pictures.load(png_of(stored, (b"iCCP", b"p\0\0" + zlib.compress(profile))))
        np.testing.assert_allclose(colors(found), srgb_curve(curve(stored / 65535)), atol=1.2e-3)


def test_a_cicp_tag_in_a_profile_counts() -> None:
    """ICC.1:2022, 9.2.17: profiles of HDR displays state what they mean, and their curves are a substitute."""
    stored = random_words(4, 5, 3)
    columns = {
        tag: b"XYZ \0\0\0\0" + s15f16(*column) for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), d50_columns(), strict=True)
    }
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), b"curv\0\0\0\0" + struct.pack(">IH", 1, 256))
    tag = {b"cicp": b"cicp\0\0\0\0" + bytes([12, 13, 0, 1])}
    found = pictures.load(
        png_of(stored, (b"iCCP", b"p\0\0" + zlib.compress(icc(b"RGB ", b"XYZ ", b"mntr", columns | curves | tag, "HDR"))))
    )
    np.testing.assert_allclose(colors(found), expected(stored / 65535, DISPLAY_P3, linear), atol=1.2e-3)


def test_curves_of_any_numbers_give_colors(recwarn: pytest.WarningsRecorder) -> None:
    columns = {
        tag: b"XYZ \0\0\0\0" + s15f16(*column) for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), d50_columns(), strict=True)
    }
    chance, stored = np.random.default_rng(4), random_bytes(4, 5, 3)
    for _ in range(150):
        kind = int(chance.integers(0, 5))
        numbers = chance.choice([-30000.0, -1.0, -0.5, 0.0, 1e-4, 0.5, 1.0, 2.4, 30000.0], {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}[kind])
        tag = b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + s15f16(*numbers)
        profile = icc(b"RGB ", b"XYZ ", b"mntr", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), tag), "odd")
        with np.errstate(all="raise"):
            picture = pictures.load(png_of(stored, (b"iCCP", b"p\0\0" + zlib.compress(profile))))
        assert np.isfinite(colors(picture)).all()
    for stated in (1, 1000, 2**32 - 1):
        with np.errstate(all="raise"):
            assert np.isfinite(colors(pictures.load(png_of(stored, (b"gAMA", struct.pack(">I", stated)))))).all()
    assert not recwarn.list


def d50_columns() -> np.ndarray:
    """sRGB's primaries under D50, as every sRGB profile states them."""
    return np.array([[0.4360, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7141]])


def test_profiles_with_tables_at_16_bits(tmp_path: Path) -> None:
    """Lab tables of a scanner: no formula, so Little CMS converts the 8-bit colors that the 16-bit ones lie at."""
    lut = b"mft2\0\0\0\0" + bytes([3, 3, 2, 0]) + s15f16(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    corners = np.array(
        [[20 + 70 * (r + g + b) / 3, 30 * (r - g), 30 * (g - b)] for r in (0, 1) for g in (0, 1) for b in (0, 1)]
    )
    table = np.stack([corners[:, 0] * 652.8, (corners[:, 1] + 128) * 256, (corners[:, 2] + 128) * 256], axis=1)
    ends = struct.pack(">HH", 0, 65535)
    profile = icc(
        b"RGB ", b"Lab ", b"scnr", {b"A2B0": lut + ends * 3 + table.round().astype(">u2").tobytes() + ends * 3}, "Scanner"
    )
    eight = random_bytes(6, 7, 3)
    deep = tiff(tmp_path / "d.tif", eight.astype(np.uint16) * 257, photometric="rgb", iccprofile=profile)
    shallow = tiff(tmp_path / "s.tif", eight, photometric="rgb", iccprofile=profile)
    first, second = pictures.load(deep), pictures.load(shallow)
    np.testing.assert_allclose(colors(first), colors(second), atol=2.5 / 255)
    assert first.notes == (f"{deep} has its colors converted from Scanner",)


# ------------------------------------------------------------------------------------------------------- other containers


def avif(stored: np.ndarray, primaries: int, transfer: int, **options: object) -> bytes:
    data = encoded(Image.fromarray(stored), "AVIF", quality=100, subsampling="4:4:4", **options)
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def test_nclx_of_avif() -> None:
    stored = np.kron(random_bytes(2, 3, 3), np.ones((8, 8, 1), np.uint8))
    plain = colors(pictures.load(avif(stored, 1, 13)))
    picture = pictures.load(avif(stored, 12, 13), role="photograph")
    np.testing.assert_allclose(colors(picture), expected(plain, DISPLAY_P3, linear), atol=5e-4)
    assert picture.notes == ("photograph has its colors converted from Display P3, sRGB (nclx)",)
    assert pictures.load(avif(stored, 2, 2)).notes == ()
    profiled = pictures.load(avif(stored, 9, 13, icc_profile=display_profile(ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998)")))
    np.testing.assert_allclose(colors(profiled), expected(plain, ADOBE_RGB, lambda v: v**ADOBE_GAMMA), atol=2e-2)


def changed(data: bytes, kind: bytes, old: bytes, new: bytes) -> bytes:
    """A file with other bytes of the same length in its only box of a type."""
    at = data.index(kind)
    (length,) = struct.unpack_from(">I", data, at - 4)
    box = data[at : at - 4 + length]
    assert box.count(old) == 1
    return data[:at] + box.replace(old, new) + data[at - 4 + length :]


def test_colors_of_other_images_in_an_avif_count_only_if_the_main_one_is_derived_from_them() -> None:
    """Item 1 is the image, and item 2 its alpha. Property 4 of the file, nclx, is moved from item 1 to item 2."""
    data = avif(np.kron(random_bytes(2, 3, 4), np.ones((8, 8, 1), np.uint8)), 12, 13)
    converted = ("image has its colors converted from Display P3, sRGB (nclx)",)
    assert pictures.load(data).notes == converted
    moved = changed(data, b"ipma", b"\0\1\4\1\2\x83\4\0\2\4\1\5\x86\7", b"\0\1\4\1\2\x83\2\0\2\4\1\5\x86\4")
    assert pictures.load(moved).notes == ()
    derived = changed(moved, b"iref", b"auxl\0\2\0\1\0\1", b"dimg\0\1\0\1\0\2")
    assert pictures.load(derived).notes == converted


def with_color_box(jp2: bytes, box: bytes) -> bytes:
    """A JP2 whose colr box has other content. Its lengths are adjusted: of colr and of jp2h, which holds it."""
    at = jp2.index(b"colr")
    (length,) = struct.unpack_from(">I", jp2, at - 4)
    header = jp2.index(b"jp2h")
    (outer,) = struct.unpack_from(">I", jp2, header - 4)
    changed = struct.pack(">I", len(box) + 8) + b"colr" + box
    head = jp2[: header - 4] + struct.pack(">I", outer - length + len(changed)) + jp2[header : at - 4]
    return head + changed + jp2[at - 4 + length :]


def test_profiles_in_jpeg_2000() -> None:
    stored = random_bytes(8, 9, 3)
    data = encoded(Image.fromarray(stored), "JPEG2000", irreversible=False)
    profile = display_profile(ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998)")
    picture = pictures.load(with_color_box(data, b"\2\0\0" + profile))
    np.testing.assert_allclose(colors(picture), expected(stored / 255, ADOBE_RGB, lambda v: v**ADOBE_GAMMA), atol=5e-4)
    assert picture.notes == ("image has its colors converted from Adobe RGB (1998)",)
    coded = pictures.load(with_color_box(data, b"\5\0\0" + struct.pack(">HHHB", 12, 13, 0, 0x80)))
    np.testing.assert_allclose(colors(coded), expected(stored / 255, DISPLAY_P3, linear), atol=5e-4)
    assert pictures.load(data).notes == ()


def test_profiles_in_webp_jpeg_psd_bmp_and_gif() -> None:
    stored = np.kron(random_bytes(2, 3, 3), np.ones((8, 8, 1), np.uint8))
    profile = display_profile(ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998)")
    wanted = expected(stored / 255, ADOBE_RGB, lambda v: v**ADOBE_GAMMA)
    image = Image.fromarray(stored)
    files = {
        "webp": encoded(image, "WEBP", lossless=True, icc_profile=profile),
        "jpeg": encoded(image, "JPEG", quality=100, subsampling=0, icc_profile=profile),
        "bmp": bmp(stored, b"DEBM", profile),
        "calibrated bmp": bmp(stored, b"\0\0\0\0", b""),
        "gif": gif(image, profile),
    }
    for name, data in files.items():
        np.testing.assert_allclose(
            colors(pictures.load(data)), wanted, atol=3 / 255 if name in ("jpeg", "gif") else 1e-3, err_msg=name
        )
    assert pictures.load(bmp(stored, b"BGRs", b"")).notes == ()


def bmp(stored: np.ndarray, space: bytes, profile: bytes) -> bytes:
    """A 24-bit BMP with a BITMAPV5HEADER, whose end points and gammas are those of Adobe RGB."""
    height, width = stored.shape[:2]
    rows = b"".join(row[:, ::-1].tobytes() + bytes(-3 * width % 4) for row in stored[::-1])
    points = b"".join(struct.pack("<I", round(value * 2**30)) for value in ADOBE_RGB.T.ravel())
    header = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0) + bytes(16) + space + points
    header += struct.pack("<III", *[round(ADOBE_GAMMA * 65536)] * 3) + struct.pack("<IIII", 4, 124 + len(rows), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 14 + 124 + len(rows) + len(profile), 0, 0, 14 + 124) + header + rows + profile


def gif(image: Image.Image, profile: bytes) -> bytes:
    data = encoded(image.quantize(6), "GIF")
    blocks = b"".join(bytes([len(part)]) + part for part in (profile[at : at + 255] for at in range(0, len(profile), 255)))
    end = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:end] + b"!\xff\x0bICCRGBG1012" + blocks + b"\0" + data[end:]


def test_adobe_rgb_of_cameras() -> None:
    """DCF 2.0: EXIF ColorSpace is uncalibrated and the interoperability index R03."""
    stored = np.kron(random_bytes(2, 3, 3), np.ones((8, 8, 1), np.uint8))
    plain = colors(pictures.load(encoded(Image.fromarray(stored), "JPEG", quality=100, subsampling=0)))
    for space, index, converted in ((0xFFFF, "R03", True), (2, "", True), (0xFFFF, "R98", False), (1, "R98", False)):
        exif = Image.Exif()
        exif[0x8769] = {0xA001: space, 0xA005: {1: index}}
        data = encoded(Image.fromarray(stored), "JPEG", quality=100, subsampling=0, exif=exif.tobytes())
        picture = pictures.load(data)
        wanted = expected(plain, ADOBE_RGB, lambda v: v**ADOBE_GAMMA) if converted else plain
        np.testing.assert_allclose(colors(picture), wanted, atol=5e-4)
        assert picture.notes == (("image has its colors converted from Adobe RGB (EXIF)",) if converted else ())


# ------------------------------------------------------------------------------------------------------ high dynamic range


def pq_light(value: np.ndarray) -> np.ndarray:
    """cd/m², SMPTE ST 2084, equation 4.1."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = value ** (1 / m2)
    return 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def pq_value(light: np.ndarray) -> np.ndarray:
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = (light / 10_000) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


def test_pq_below_the_knee_is_exact_and_the_peak_is_white() -> None:
    """Grays of 0 to 90 cd/m² are their light over the reference white of BT.2408, 203 cd/m²; 1000 and more are white."""
    light = np.linspace(0, 90, 64)
    words = (pq_value(light) * 65535).round().astype(np.uint16)
    stored = np.repeat(words.reshape(8, 8)[..., None], 3, axis=2)
    picture = pictures.load(png_of(stored, (b"cICP", bytes([9, 16, 0, 1]))), role="photograph")
    np.testing.assert_allclose(colors(picture)[..., 0], srgb_curve(pq_light(stored[..., 0] / 65535) / 203), atol=2e-3)
    assert picture.notes == ("photograph has a high dynamic range (PQ, BT.2020), which is mapped to the range of sRGB",)
    bright = (pq_value(np.array([203.0, 500.0, 1000.0, 4000.0])) * 65535).round().astype(np.uint16)
    found = colors(pictures.load(png_of(np.repeat(bright.reshape(2, 2)[..., None], 3, 2), (b"cICP", bytes([9, 16, 0, 1])))))
    white, middle, *peak = found[..., 0].ravel()
    assert 0.85 < white < middle < 0.9995
    np.testing.assert_allclose(peak, 1, atol=1e-4)


def test_pq_colors_keep_their_hue() -> None:
    """Colors of BT.2020 inside sRGB's gamut, at 50 cd/m²: the matrix, and no more."""
    light = np.random.default_rng(2).uniform(5, 50, (6, 7, 3))
    inside = light @ (np.linalg.inv(BT2020) @ SRGB).T  # linear sRGB in cd/m² -> BT.2020
    words = (pq_value(np.maximum(inside, 0)) * 65535).round().astype(np.uint16)
    found = colors(pictures.load(png_of(words, (b"cICP", bytes([9, 16, 0, 1])))))
    np.testing.assert_allclose(found, srgb_curve(light / 203), atol=2e-3)


def test_hlg_grays() -> None:
    """BT.2100: the inverse OETF, then the system gamma 1.2 of a display of 1000 cd/m²; 75 percent is the reference white."""
    value = np.linspace(0, 0.5, 64)
    words = (value * 65535).round().astype(np.uint16)
    found = colors(pictures.load(png_of(np.repeat(words.reshape(8, 8)[..., None], 3, 2), (b"cICP", bytes([9, 18, 0, 1])))))
    light = 1000 * ((words / 65535) ** 2 / 3) ** 1.2
    np.testing.assert_allclose(found[..., 0].ravel(), srgb_curve(light / 203), atol=2e-3)
    three_quarters = np.full((2, 2, 3), round(0.75 * 65535), np.uint16)
    reference = np.full((2, 2, 3), round(float(pq_value(np.array(203.0))) * 65535), np.uint16)
    hlg = colors(pictures.load(png_of(three_quarters, (b"cICP", bytes([9, 18, 0, 1])))))
    pq = colors(pictures.load(png_of(reference, (b"cICP", bytes([9, 16, 0, 1])))))
    np.testing.assert_allclose(hlg, pq, atol=4e-3)  # BT.2408, table 1


def test_cmyk_and_statements_for_rgb() -> None:
    """A statement that only RGB can have does not touch inks."""
    image = Image.new("CMYK", (4, 4), (10, 20, 30, 40))
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 2}
    picture = pictures.load(encoded(image, "JPEG", exif=exif.tobytes()))
    assert "ignored; its CMYK colors are approximate" in picture.notes[0]
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", icc_profile=cmyk_profile())
    assert pictures.load(buffer.getvalue()).notes == ("image has its colors converted from Test print",)
