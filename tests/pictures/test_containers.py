"""The main image of a file and its transparency, files that viewers read although they are damaged, and names of what is not read."""

from __future__ import annotations

import builtins
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from pictures.samples import colors, encoded, png, random_bytes, random_words, refusal, tiff, written
from PIL import Image

from impasto import pictures

# ------------------------------------------------------------------------------------------------------------ main images


def test_the_image_of_a_tiff_and_not_its_thumbnail(tmp_path: Path) -> None:
    image, thumbnail, mask = random_bytes(40, 60, 3), random_bytes(8, 12, 3), random_bytes(40, 60)
    rgb: dict[str, Any] = {"photometric": "rgb"}
    for name, write in {
        "thumbnail first": lambda file: (file.write(thumbnail, subfiletype=1, **rgb), file.write(image, **rgb)),
        "thumbnail last": lambda file: (file.write(image, **rgb), file.write(thumbnail, subfiletype=1, **rgb)),
        "mask first": lambda file: (file.write(mask, subfiletype=1), file.write(image, **rgb)),
        "image inside": lambda file: (file.write(thumbnail, subfiletype=1, subifds=1, **rgb), file.write(image, **rgb)),
        "compressed": lambda file: (file.write(thumbnail, subfiletype=1, **rgb), file.write(image, compression="zlib", **rgb)),
        "only a thumbnail": lambda file: (file.write(image, subfiletype=1, **rgb),),
    }.items():
        for big in (False, True):
            path = tmp_path / f"{name}{big}.tif"
            with tifffile.TiffWriter(path, bigtiff=big) as file:
                write(file)
            if name == "mask first":
                tag = struct.pack("<HHQI" if big else "<HHII", 254, 4, 1, 1)
                written(path, path.read_bytes().replace(tag, tag[:-4] + struct.pack("<I", 4)))
            picture = pictures.load(path)
            np.testing.assert_allclose(colors(picture), image / 255, atol=1e-6, err_msg=name)
            assert picture.notes == ()


def test_raw_photographs_are_refused(tmp_path: Path) -> None:
    thumbnail, sensor = random_bytes(8, 12, 3), random_words(40, 60)
    with tifffile.TiffWriter(tmp_path / "raw.dng") as file:
        file.write(thumbnail, photometric="rgb", subfiletype=1, subifds=1, extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
        file.write(sensor, photometric="cfa", extratags=[(33421, 3, 2, (2, 2), True), (33422, 1, 4, b"\0\1\1\2", True)])
    assert "is a RAW photograph, which is not supported; develop it and save it as TIFF" in refusal(tmp_path / "raw.dng")
    only = tiff(tmp_path / "cut.dng", thumbnail, photometric="rgb", subfiletype=1, extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
    assert "is a RAW photograph" in refusal(only)


def test_extra_channels_that_are_not_transparency(tmp_path: Path) -> None:
    note = "has extra channels that are not transparency, which are ignored"
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535)):
        stored = (random_words(5, 6, 4) // (65536 // (top + 1))).astype(dtype)
        for extra, transparent in ((["unspecified"], False), (["unassalpha"], True)):
            path = tiff(tmp_path / "x.tif", stored, photometric="rgb", extrasamples=extra)
            picture = pictures.load(path)
            np.testing.assert_allclose(colors(picture), stored[..., :3] / top, atol=1e-6)
            assert (picture.alpha is not None) == transparent
            assert picture.notes == (() if transparent else (f"{path} {note}",))
    missing = tiff(tmp_path / "y.tif", stored.astype(np.uint8), photometric="rgb", extrasamples=["unspecified"]).read_bytes()
    at = missing.index(struct.pack("<HHI", 338, 3, 1))  # the tag becomes one that nobody knows
    picture = pictures.load(missing[:at] + struct.pack("<H", 65000) + missing[at + 2 :])
    assert picture.alpha is None
    gray = tiff(tmp_path / "z.tif", random_bytes(5, 6, 2), photometric="minisblack", extrasamples=["unspecified"])
    assert pictures.load(gray).alpha is None


def test_which_extra_sample_is_transparency(tmp_path: Path) -> None:
    color, spot, alpha = random_bytes(5, 6, 3), random_bytes(5, 6, seed=1), random_bytes(5, 6, seed=2) | 1
    for order, kinds in (((spot, alpha), ["unspecified", "unassalpha"]), ((alpha, spot), ["unassalpha", "unspecified"])):
        path = tiff(
            tmp_path / "x.tif", np.dstack([color, *order]), photometric="rgb", planarconfig="contig", extrasamples=kinds
        )
        picture = pictures.load(path)
        np.testing.assert_allclose(colors(picture), color / 255, atol=1e-6)
        np.testing.assert_allclose(picture.alpha[0, 0].numpy(), alpha / 255, atol=1e-6)
        assert picture.notes == (f"{path} has extra channels that are not transparency, which are ignored",)


def test_tiffs_that_pillow_cannot_read_are_upright_with_their_alpha(tmp_path: Path) -> None:
    floats = np.random.default_rng(1).random((4, 7, 3)).astype(np.float32)
    turned = tiff(tmp_path / "t.tif", floats, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    np.testing.assert_allclose(colors(pictures.load(turned)), np.rot90(floats, -1), atol=1e-6)
    assert pictures.read_settings(turned) is None
    shares = np.full((4, 7, 1), 0.5, np.float32)
    premultiplied = tiff(
        tmp_path / "p.tif", np.dstack([floats * shares, shares]), photometric="rgb", extrasamples=["assocalpha"]
    )
    np.testing.assert_allclose(colors(pictures.load(premultiplied)), floats, atol=1e-6)
    words = random_words(4, 7, 2)
    gray = pictures.load(tiff(tmp_path / "g.tif", words, photometric="minisblack", extrasamples=["unassalpha"]))
    np.testing.assert_allclose(colors(gray)[..., 1], words[..., 0] / 65535, atol=1e-6)
    np.testing.assert_allclose(gray.alpha[0, 0].numpy(), words[..., 1] / 65535, atol=1e-6)
    signed = tiff(tmp_path / "s.tif", np.full((4, 7), 100, np.int8), photometric="minisblack")
    assert "a TIFF with 1 channel of 8 signed bits" in refusal(signed)


def psd(stored: np.ndarray, layers: int) -> bytes:
    """A PSD of 8 bits without compression: HxWx4 RGB and a fourth channel."""
    height, width = stored.shape[:2]
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 4, height, width, 8, 3)
    info = struct.pack(">h", layers) + bytes(2)
    layer = struct.pack(">I", len(info)) + info
    return header + bytes(8) + struct.pack(">I", len(layer)) + layer + b"\0\0" + stored.transpose(2, 0, 1).tobytes()


def test_the_fourth_channel_of_psd_tga_and_jpeg_2000() -> None:
    stored = random_bytes(5, 6, 4) | 1
    for data, transparent in (
        (psd(stored, 0), False),  # a spot color or a stored selection
        (psd(stored, -1), True),
        (b"8BPS" + struct.pack(">H6xHIIHH", 1, 4, 5, 6, 8, 3) + bytes(14) + stored.transpose(2, 0, 1).tobytes(), False),
        (encoded(Image.fromarray(stored), "TGA"), True),
        (without_attribute_bits(encoded(Image.fromarray(stored), "TGA")), False),
        (encoded(Image.fromarray(stored), "JPEG2000", irreversible=False), True),
        (encoded(Image.fromarray(stored), "JPEG2000", irreversible=False).replace(b"cdef", b"free"), False),
    ):
        picture = pictures.load(data)
        np.testing.assert_allclose(colors(picture), stored[..., :3] / 255, atol=1e-6)
        assert (picture.alpha is not None) == transparent


def without_attribute_bits(tga: bytes) -> bytes:
    return tga[:17] + bytes([tga[17] & 0xF0]) + tga[18:]


# ------------------------------------------------------------------------------------------- damaged, and read by viewers


def chunk(name: bytes, body: bytes, *, sound: bool = True) -> bytes:
    checksum = zlib.crc32(name + body) ^ (0 if sound else 1)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


STORED = random_bytes(4, 5, 3)
ROWS = [row.tobytes() for row in STORED]
PLAIN = png(5, 4, 8, 2, ROWS)


def spliced(*chunks: bytes) -> bytes:
    """PLAIN with chunks after its header."""
    return PLAIN[:33] + b"".join(chunks) + PLAIN[33:]


@pytest.mark.parametrize(
    ("data", "note"),
    [
        *(
            (spliced(chunk(name, body, sound=False)), f"has damaged side chunks ({name.decode()}), which are ignored")
            for name, body in (
                (b"iCCP", b"x\0\0y"),
                (b"tEXt", b"a\0b"),
                (b"pHYs", bytes(9)),
                (b"gAMA", b"\0\0\0\1"),
                (b"eXIf", b"II"),
            )
        ),
        (spliced(chunk(b"gAMA", b""), chunk(b"cHRM", b"")), "has damaged side chunks (cHRM, gAMA), which are ignored"),
        (PLAIN[:-12], "lacks its end marker"),
        (PLAIN[:-5], "lacks its end marker"),
        (PLAIN + b"trailing bytes" * 99, ""),
        (spliced(chunk(b"tEXt", b"workflow\0" + b"{}" * 1_000_000)), ""),
        (spliced(chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(5_000_000)))), ""),
        (spliced(chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(bytes(5_000_000)))), ""),
        (spliced(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(9_000_000)))), ""),
        (spliced(chunk(b"prVt", bytes(3_000_000))), ""),
        *(
            (spliced(chunk(name, body)), f"has damaged side chunks ({name.decode()}), which are ignored")
            for name, body in ((b"acTL", b""), (b"tRNS", b""), (b"tRNS", b"\0"), (b"fdAT", b""), (b"fcTL", b"\0" * 5))
        ),
        (spliced(chunk(b"zTXt", b"Raw profile type exif\0\x09" + zlib.compress(b"x"))), ""),
        (PLAIN[:-12] + chunk(b"gAMA", b"\0\1\x86\xa0") + chunk(b"tRNS", bytes(6)) + PLAIN[-12:], ""),
    ],
)
def test_pngs_that_viewers_read(data: bytes, note: str) -> None:
    picture = pictures.load(data)
    np.testing.assert_allclose(colors(picture), STORED / 255, atol=1e-6)
    assert picture.notes == ((f"image {note}",) if note else ())
    assert pictures.read_settings(data) is None


def test_an_unknown_critical_chunk_is_refused() -> None:
    assert "unknown critical chunk" in refusal(spliced(chunk(b"WHAT", b"x")))


def test_settings_survive_large_texts_around_them() -> None:
    data, _ = pictures.encode(Image.fromarray(STORED), ".png", settings={"seed": 5})
    data = data[:33] + chunk(b"tEXt", b"workflow\0" + b"x" * 3_000_000) + data[33:]
    assert pictures.read_settings(data) == {"seed": 5}


def test_decompression_bombs_in_side_chunks_are_not_inflated() -> None:
    bomb = zlib.compress(bytes(200_000_000), 9)
    picture = pictures.load(spliced(chunk(b"iCCP", b"x\0\0" + bomb)))
    assert picture.notes == ("image has a damaged color profile, which is ignored",)
    assert pictures.load(spliced(chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb))).notes == ()


def test_large_profiles_are_used() -> None:
    from pictures.test_profile import DISPLAY_P3, display_profile

    profile = display_profile(DISPLAY_P3, None, "Display P3") + bytes(2_000_000)
    profile = struct.pack(">I", len(profile)) + profile[4:]
    picture = pictures.load(spliced(chunk(b"iCCP", b"P3\0\0" + zlib.compress(profile))))
    assert picture.notes == ("image has its colors converted from Display P3",)


PHOTO = np.kron(random_bytes(6, 8, 3), np.ones((8, 8, 1), np.uint8))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_that_viewers_read(progressive: bool) -> None:
    data = encoded(Image.fromarray(PHOTO), "JPEG", quality=95, progressive=progressive)
    whole = colors(pictures.load(data))
    for cut in (data[:-2], data[:-1], data[:-2] + b"\xff"):
        picture = pictures.load(cut)
        np.testing.assert_array_equal(colors(picture), whole)
        assert picture.notes == ("image lacks its end marker",)
    second = data.index(b"\xff\xdb")
    for stray in (b"\0\0\0", b"\1\2\3words", b"\0\xff\0\x11"):
        picture = pictures.load(data[:second] + stray + data[second:])
        np.testing.assert_array_equal(colors(picture), whole)
        assert picture.notes == ("image has stray bytes between its segments",)
    filled = pictures.load(data[:second] + b"\xff\xff" + data[second:] + b"a trailer")
    assert filled.notes == ()
    for share in (0.3, 0.6, 0.9):  # where pixels are missing
        assert "truncated" in refusal(data[: int(len(data) * share)])
    assert "truncated" in refusal(data[:-20])


# ------------------------------------------------------------------------------------------------------- formats by name


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC image"),
        (b"\xff\x0a" + bytes(30), "is a JPEG XL image"),
        (
            b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg xmlns='http://www.w3.org/2000/svg'/>",
            "is an SVG drawing, which is not supported",
        ),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b"v/1\x01\2\0\0\0", "is an OpenEXR image"),
        (b"#?RADIANCE\n", "is a Radiance HDR image"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "is a RAW photograph (CR3)"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(40), "is a RAW photograph (CR2)"),
        (b"FUJIFILMCCD-RAW 0201", "is a RAW photograph"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "is a video; save one of its frames"),
        (b"gimp xcf v011\0", "is a GIMP image"),
        (b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 4, 4, 16, 3), "is a Photoshop document with more than 8 bits"),
        (b"<!DOCTYPE html><html>", "is a web page; save the image itself"),
        (b"PK\3\4" + bytes(26) + b"mimetypeimage/openraster", "is an OpenRaster image"),
        (b"PK\3\4" + bytes(40), "is an archive"),
        (b"II\xbc\1" + bytes(40), "is a JPEG XR image"),
        (bytes(128) + b"DICM", "is a DICOM image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "is an AVIF image that is truncated or damaged"),
        (b"\0\0\0\x08wide\0\0\0\x08mdat", "is a video"),
        *(
            (b"\xff\xd8\xff" + bytes([marker]) + struct.pack(">HBHHB", 11, bits, 8, 8, 1) + b"\1\x11\0\xff\xd9", says)
            for marker, bits, says in (
                (0xC1, 12, "is a JPEG of 12 bits per channel, which is not supported"),
                (0xC3, 8, "is a lossless JPEG"),
                (0xF7, 8, "is a JPEG-LS image"),
            )
        ),
        (
            b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C" "x.dtd" [<!ENTITY a "b">]><svg/>',
            "is an SVG drawing",
        ),
    ],
)
def test_what_cannot_be_read_is_named(data: bytes, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name in ("pillow_heif", "pillow_jxl"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    message = refusal(data)
    assert says in message
    if "HEIC" in says or "XL" in says:
        assert message.endswith("which is not supported; install impasto[formats], or convert it to PNG or JPEG")


def test_heic_with_its_plugin() -> None:
    heif = pytest.importorskip("pillow_heif")
    if not heif.libheif_info()["encoders"]:
        pytest.skip("this build of pillow-heif cannot write HEIC")
    stored = np.kron(random_words(3, 4, 3), np.ones((16, 16, 1), np.uint16)) & 0xFFC0
    buffer = io.BytesIO()
    heif.from_bytes("RGB;16", stored.shape[1::-1], stored.tobytes()).save(buffer, quality=-1, chroma=444, matrix_coefficients=0)
    picture = pictures.load(buffer.getvalue())
    np.testing.assert_allclose(colors(picture), stored / 0xFFC0, atol=2 / 1023)
    assert len(np.unique(np.round(colors(picture) * 1023))) > len(np.unique(np.round(colors(picture) * 255))) - 1
    assert not picture.lossless
    at = buffer.getvalue().index(b"colrnclx") + 8
    coded = buffer.getvalue()[:at] + struct.pack(">HH", 12, 13) + buffer.getvalue()[at + 4 :]
    assert pictures.load(coded).notes == ("image has its colors converted from Display P3, sRGB (nclx)",)


def test_heic_is_upright() -> None:
    heif = pytest.importorskip("pillow_heif")
    if not heif.libheif_info()["encoders"]:
        pytest.skip("this build of pillow-heif cannot write HEIC")
    wide = Image.fromarray(np.kron(random_bytes(2, 4, 3), np.ones((32, 32, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    heif.from_pillow(wide).save(buffer, quality=100, exif=exif.tobytes())
    picture = pictures.load(buffer.getvalue())
    assert picture.size == (128, 64)
    turned = np.asarray(wide.transpose(Image.Transpose.ROTATE_270)) / 255
    assert np.abs(colors(picture)[16::32, 16::32] - turned[16::32, 16::32]).mean() < 0.1


def test_jpeg_xl_with_its_plugin() -> None:
    pytest.importorskip("pillow_jxl")
    stored = random_bytes(24, 32, 4) | 1
    data = encoded(Image.fromarray(stored), "JXL", lossless=True)
    picture = pictures.load(data)
    np.testing.assert_allclose(colors(picture), stored[..., :3] / 255, atol=1.5 / 255)
    np.testing.assert_allclose(picture.alpha[0, 0].numpy(), stored[..., 3] / 255, atol=1e-6)


def test_jpeg_xl_has_an_orientation_of_its_own() -> None:
    """ISO/IEC 18181-2, 9.4: that of EXIF is ignored."""
    pytest.importorskip("pillow_jxl")
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(random_bytes(24, 32, 3)), "JXL", lossless=True, exif=exif.tobytes())
    assert pictures.load(data).size == (24, 32)


def test_nothing_from_a_codec_reaches_the_terminal(tmp_path: Path) -> None:
    """libtiff writes to the file descriptor itself, so this runs in a process of its own."""
    good = tiff(tmp_path / "good.tif", random_bytes(64, 64, 3), photometric="rgb", compression="zlib").read_bytes()
    at = good.index(b"\x78\x9c") if b"\x78\x9c" in good else good.index(b"\x78\xda")
    written(tmp_path / "damaged.tif", good[: at + 50] + bytes(100) + good[at + 150 :])
    entry = struct.pack("<HHI", 259, 3, 1)
    webp = good.index(entry)
    written(tmp_path / "webp.tif", good[: webp + 8] + struct.pack("<I", 50001) + good[webp + 12 :])
    script = (
        "import sys\nfrom impasto import pictures, errors\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        pictures.load(path)\n    except errors.PictureError as error:\n        print(error)\n"
        "print('and now', file=sys.stderr)"
    )
    names = [str(tmp_path / name) for name in ("good.tif", "damaged.tif", "webp.tif")]
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, check=True)
    assert done.stderr == "and now\n"
    damaged, unsupported = done.stdout.splitlines()
    assert "truncated or damaged" in damaged
    assert "3 channels of 8 bits and compression WEBP, which is not supported" in unsupported


# ----------------------------------------------------------------------------------------------------------- labels, limits


def test_stored_values_of_single_channel_images() -> None:
    values = random_bytes(4, 5) % 3
    words = values.astype(np.uint16) + 1000
    indexed = png(5, 4, 8, 3, [row.tobytes() for row in values], (b"PLTE", bytes([9, 9, 9, 9, 9, 9, 1, 2, 3])))
    for data, labels in (
        (png(5, 4, 8, 0, [row.tobytes() for row in values]), values),
        (png(5, 4, 16, 0, [row.astype(">u2").tobytes() for row in words]), words),
        (indexed, values),
    ):
        picture = pictures.load(data)
        np.testing.assert_array_equal(picture.labels, labels)
        assert picture.lossless
    assert pictures.load(PLAIN).labels is None
    assert not pictures.load(encoded(Image.fromarray(PHOTO), "JPEG")).lossless
    assert not pictures.load(encoded(Image.fromarray(PHOTO), "WEBP")).lossless
    from pictures.test_profile import DISPLAY_P3, display_profile

    for options in (
        {},
        {"icc_profile": display_profile(DISPLAY_P3, None, "P3")},
        {"exact": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"},
    ):
        assert pictures.load(encoded(Image.fromarray(PHOTO), "WEBP", lossless=True, **options)).lossless
        assert not pictures.load(encoded(Image.fromarray(PHOTO), "WEBP", **options)).lossless


def test_what_is_closed_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "p.png", PLAIN)
    lazy, loaded, memory = Image.open(path), Image.open(path), Image.new("RGB", (4, 4))
    loaded.load()
    for image in (lazy, loaded, memory):
        image.close()
        assert "is a PIL image that was closed" in refusal(image)
    with Image.open(path) as inside:
        pass
    assert "is a PIL image that was closed" in refusal(inside)
    file = path.open("rb")
    file.close()
    assert "the file is closed" in refusal(file)


def test_files_larger_than_any_image_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("impasto.pictures.read.LEAST_ROOM", 1000)
    data = PLAIN + bytes(2000)
    endless = io.BytesIO(data)
    monkeypatch.setattr(
        endless, "read", lambda size=-1: b"x" * min(size, 700) if size > 0 else pytest.fail("read without limit")
    )
    for source in (data, io.BytesIO(data), endless, written(tmp_path / "large.png", data)):
        assert "is a file of more than 0.0 GB; raise max_pixels" in refusal(source, max_pixels=20)
        assert pictures.load(data).size == (4, 5)
