"""Valid image files of every format that is read, in many variants, made by code. All are small and differ in size and content."""

from __future__ import annotations

import functools
import importlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from fuzz_cases import tiffs
from fuzz_cases.tiffs import DEFLATE, SHORT, UNDEFINED, Page, tiff

WIDTH, HEIGHT = 29, 22
Make = Callable[[], bytes]


def pixels(channels: int = 3, dtype: Any = np.uint8, seed: int = 1) -> tiffs.Array:
    """Soft noise, HxWxchannels, over the range of an integer type or 0 to 1."""
    rough = np.random.default_rng(seed).random((HEIGHT, WIDTH, channels))
    soft = (rough + np.roll(rough, 1, 0) + np.roll(rough, 1, 1)) / 3
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return (soft * top).astype(dtype)


def image(mode: str = "RGB", seed: int = 1) -> Image.Image:
    """The same as a PIL image of a mode, new at every call: Pillow keeps settings of one format's encoder in an image."""
    if mode in ("LA", "RGBA"):
        return Image.fromarray(pixels(len(mode), seed=seed))
    if mode == "I;16":
        return Image.fromarray(pixels(1, np.uint16, seed)[..., 0])
    if mode == "F":
        return Image.fromarray(pixels(1, np.float32, seed)[..., 0])
    return Image.fromarray(pixels(seed=seed)).convert(mode)


def encoded(picture: Image.Image, encoding: str, **options: Any) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    picture.save(file, encoding, **options)
    return file.getvalue()


@functools.cache
def icc(name: str = "sRGB") -> bytes:
    """An ICC profile that lcms makes."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()  # type: ignore[arg-type]


def exif(orientation: int = 6) -> Image.Exif:
    """EXIF as a camera writes it, with a GPS directory."""
    tags = Image.Exif()
    tags[0x0112], tags[0x010F], tags[0x0131], tags[0x0132] = orientation, "Camera", "impasto", "2024:01:02 03:04:05"
    tags[0x8769] = {0x9286: b'ASCII\0\0\0{"size": 64, "inputs": {}}', 0x829A: (1, 60), 0x9003: "2024:01:02 03:04:05"}
    tags[0x8825] = {1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)}
    return tags


# ------------------------------------------------------------------------------------------------------------------- PNG


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_raw(bits: int, color: int, interlaced: bool = False) -> bytes:
    """A PNG of any color type and depth, of noise."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    row = (WIDTH * samples * bits + 7) // 8
    rng = np.random.default_rng(bits * 10 + color)
    if interlaced:
        lines = b""
        for x0, y0, dx, dy in (
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ):
            wide, high = -(-(WIDTH - x0) // dx), -(-(HEIGHT - y0) // dy)
            lines += b"".join(b"\0" + rng.bytes((wide * samples * bits + 7) // 8) for _ in range(high))
    else:
        lines = b"".join(b"\0" + rng.bytes(row) for _ in range(HEIGHT))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, color, 0, 0, interlaced)
    palette = chunk(b"PLTE", rng.bytes(3 * 2**bits)) + chunk(b"tRNS", rng.bytes(2)) if color == 3 else b""
    keys = {0: b"\0\1", 2: b"\0\1\0\2\0\3"}
    if color in keys and bits in (4, 16):
        palette = chunk(b"tRNS", keys[color])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def _png_with(*chunks: bytes, mode: str = "RGB") -> bytes:
    """A PNG with chunks before its pixels."""
    plain = encoded(image(mode), "png")
    return plain[:33] + b"".join(chunks) + plain[33:]


def _pngs() -> Iterator[tuple[str, Make]]:
    for bits, color in (
        (1, 0),
        (2, 0),
        (4, 0),
        (8, 0),
        (16, 0),
        (8, 2),
        (16, 2),
        (1, 3),
        (4, 3),
        (8, 3),
        (8, 4),
        (16, 4),
        (8, 6),
        (16, 6),
    ):
        yield f"png {bits} bits type {color}", functools.partial(_png_raw, bits, color)
        yield f"png {bits} bits type {color} interlaced", functools.partial(_png_raw, bits, color, True)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "a text")
    texts.add_text("impasto", '{"size": 64}', zip=True)
    texts.add_itxt("Title", "ein Bild", "de", "Titel", zip=True)
    yield "png texts", lambda: encoded(image(), "png", pnginfo=texts)
    yield "png exif", lambda: encoded(image(), "png", exif=exif())
    yield "png iccp", lambda: encoded(image("RGBA"), "png", icc_profile=icc())
    yield "png cicp", lambda: _png_with(chunk(b"cICP", bytes((9, 16, 0, 1))))
    white = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    gamma = chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"cHRM", struct.pack(">8I", *white))
    yield "png gama chrm", lambda: _png_with(*gamma)
    yield "png linear gray", lambda: _png_with(chunk(b"gAMA", struct.pack(">I", 100000)), mode="L")
    yield "png srgb phys", lambda: _png_with(chunk(b"sRGB", b"\0"), chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1)))
    frames = [image(seed=2), image(seed=3)]
    yield "apng", lambda: encoded(image(), "png", save_all=True, append_images=frames, duration=100, loop=0)
    yield "apng default image", lambda: encoded(image(), "png", save_all=True, append_images=frames, default_image=True)


# ------------------------------------------------------------------------------------------------------------------ JPEG


def _jpegs() -> Iterator[tuple[str, Make]]:
    for mode in ("RGB", "L", "CMYK"):
        for progressive in (False, True):
            options = {"progressive": progressive, "quality": 70}
            yield f"jpeg {mode}{' progressive' * progressive}", functools.partial(encoded, image(mode), "jpeg", **options)
    yield "jpeg exif", lambda: encoded(image(), "jpeg", exif=exif())
    yield "jpeg icc", lambda: encoded(image(), "jpeg", icc_profile=icc())
    yield "jpeg lab icc", lambda: encoded(image(), "jpeg", icc_profile=icc("LAB"))
    yield (
        "jpeg comment 4:4:4 restarts",
        lambda: encoded(image(), "jpeg", subsampling=0, comment=b"a comment", restart_marker_rows=1),
    )
    yield "mpo", lambda: encoded(image(), "mpo", save_all=True, append_images=[image(seed=2)], exif=exif(1))


# ------------------------------------------------------------------------------------------------------------------ TIFF


def _tiffs() -> Iterator[tuple[str, Make]]:
    for compression in ("tiff_lzw", "packbits", "tiff_deflate", "jpeg", "zstd", "lzma"):
        yield f"tiff {compression}", functools.partial(encoded, image(), "tiff", compression=compression)
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield f"tiff {compression}", functools.partial(encoded, image("1"), "tiff", compression=compression)
    for mode in ("L", "LA", "P", "RGBA", "CMYK", "LAB", "YCbCr", "I;16", "I", "F"):
        yield f"tiff {mode}", functools.partial(encoded, image(mode), "tiff")
    yield "tiff predictor", lambda: encoded(image(), "tiff", compression="tiff_lzw", tiffinfo={317: 2})
    record = {0x0112: 3, 0x0131: "impasto", 0x9286: b'ASCII\0\0\0{"size": 64}'}
    yield "tiff icc orientation", lambda: encoded(image(), "tiff", icc_profile=icc(), tiffinfo=record)
    yield "tiff pages", lambda: encoded(image(), "tiff", save_all=True, append_images=[image(seed=2)])
    deep, floats = pixels(3, np.uint16), pixels(3, np.float32)
    pages = {
        "planar": Page(pixels(3), planar=True),
        "planar 16": Page(deep, DEFLATE, planar=True),
        "16": Page(deep),
        "16 alpha": Page(pixels(4, np.uint16), DEFLATE),
        "32 float": Page(floats),
        "32 float deflate": Page(floats, DEFLATE),
        "tiled": Page(pixels(3), DEFLATE, tile=16),
        "tiled planar": Page(pixels(3), planar=True, tile=16),
        "gray tiled 16": Page(pixels(1, np.uint16), tile=16),
        "two samples": Page(pixels(2)),
        "five samples": Page(pixels(5), tags={tiffs.EXTRA: (SHORT, [0, 0])}),
        "white is zero": Page(pixels(1, np.uint16), tags={tiffs.PHOTOMETRIC: (SHORT, [0])}),
        "icc": Page(pixels(3), tags={34675: (UNDEFINED, icc())}),
        "signed": Page(pixels(1, np.int16)),
        "32 unsigned": Page(pixels(1, np.uint32)),
        "64 float": Page(pixels(1, np.float64)),
        "many tags": Page(pixels(3), tags={tag: (SHORT, [1]) for tag in range(40_000, 41_000)}),
    }
    for name, page in pages.items():
        yield f"tiff {name}", functools.partial(tiff, page)
    yield "tiff big", lambda: tiff(Page(pixels(3)), Page(pixels(3, seed=2)), big=True)
    yield "tiff big-endian", lambda: tiff(Page(deep), order=">")
    thumbnail = Page(pixels(3)[::4, ::4], tags={254: (4, [1])})
    yield (
        "tiff thumbnail first, subifds",
        lambda: tiff(
            Page(pixels(3)[::4, ::4], tags={254: (4, [1])}, children=(Page(pixels(3)), thumbnail)), Page(pixels(3, seed=2))
        ),
    )


# ---------------------------------------------------------------------------------------------------------------- others


def _qoi() -> bytes:
    """QOI with plain pixels only."""
    body = b"".join(b"\xfe" + bytes(pixel) for pixel in pixels(3).reshape(-1, 3).tolist())
    return b"qoif" + struct.pack(">IIBB", WIDTH, HEIGHT, 3, 0) + body + bytes(7) + b"\1"


def _psd(mode: int = 3, channels: int = 3) -> bytes:
    """A PSD without layers. mode: 1 gray, 3 RGB, 4 CMYK."""
    planes = pixels(channels).transpose(2, 0, 1).tobytes()
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, HEIGHT, WIDTH, 8, mode)
    resource = b"8BIM" + struct.pack(">HHI", 1039, 0, len(icc())) + icc()
    return head + bytes(4) + struct.pack(">I", len(resource)) + resource + bytes(4) + bytes(2) + planes


def _icns() -> bytes:
    """Two icons as PNG. Pillow's own files hold sizes up to 1024."""
    parts = b""
    for name, side in ((b"icp5", 32), (b"icp6", 64)):
        icon = encoded(image("RGBA").resize((side, side)), "png")
        parts += name + struct.pack(">I", len(icon) + 8) + icon
    return b"icns" + struct.pack(">I", len(parts) + 8) + parts


def _others() -> Iterator[tuple[str, Make]]:
    yield "webp lossy", lambda: encoded(image(), "webp", quality=60)
    yield "webp lossless exif", lambda: encoded(image(), "webp", lossless=True, exif=exif())
    yield "webp alpha icc", lambda: encoded(image("RGBA"), "webp", icc_profile=icc())
    frames = [image(seed=2)]
    yield "webp animated", lambda: encoded(image(), "webp", save_all=True, append_images=frames, duration=80)
    yield "gif", lambda: encoded(image("P"), "gif")
    yield "gif transparent", lambda: encoded(image("P"), "gif", transparency=3, interlace=1, comment=b"a comment")
    yield "gif animated", lambda: encoded(image("P"), "gif", save_all=True, append_images=frames, duration=80, disposal=2)
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"bmp {mode}", functools.partial(encoded, image(mode), "bmp")
        yield f"tga {mode}", functools.partial(encoded, image(mode), "tga", compression="tga_rle" if mode != "1" else None)
    yield "dib", lambda: encoded(image(), "dib")
    yield "ico", lambda: encoded(image("RGBA"), "ico", sizes=[(16, 16), (22, 22)])
    yield "ico bmp", lambda: encoded(image("RGBA"), "ico", sizes=[(16, 16)], bitmap_format="bmp")
    yield "icns", _icns
    for mode in ("1", "L", "RGB", "I;16", "F"):
        yield f"ppm {mode}", functools.partial(encoded, image(mode), "ppm")
    yield "ppm plain", lambda: b"P3\n# a comment\n3 2\n255\n" + b" ".join(b"%d" % (40 * k % 256) for k in range(18)) + b"\n"
    yield "pam", lambda: b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(range(0, 180, 10))
    for mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        yield f"jp2 {mode}", functools.partial(encoded, image(mode), "jpeg2000")
    yield "j2k lossy", lambda: encoded(image(), "jpeg2000", no_jp2=True, irreversible=True, tile_size=(16, 16))
    yield "avif", lambda: encoded(image(), "avif", quality=60)
    yield "avif alpha icc exif", lambda: encoded(image("RGBA"), "avif", quality=60, icc_profile=icc(), exif=exif())
    yield "avif animated", lambda: encoded(image(), "avif", save_all=True, append_images=frames)
    for number, channels in ((1, 1), (3, 3), (4, 4), (3, 4)):
        yield f"psd mode {number}, {channels} channels", functools.partial(_psd, number, channels)
    for mode in ("1", "L", "P", "RGB"):
        yield f"pcx {mode}", functools.partial(encoded, image(mode), "pcx")
    for mode in ("L", "RGB", "RGBA"):
        yield f"sgi {mode}", functools.partial(encoded, image(mode), "sgi")
        yield f"dds {mode}", functools.partial(encoded, image(mode), "dds")
    for form in ("DXT1", "DXT3", "DXT5", "BC5"):
        yield f"dds {form}", functools.partial(encoded, image("RGB" if form == "BC5" else "RGBA"), "dds", pixel_format=form)
    yield "qoi", _qoi


def _plugins() -> Iterator[tuple[str, Make]]:
    """HEIF and JPEG XL where the plugins are installed."""
    for module, start, name in (("pillow_heif", "register_heif_opener", "heif"), ("pillow_jxl", "", "jxl")):
        try:
            plugin = importlib.import_module(module)
        except ImportError:
            continue
        if start:
            getattr(plugin, start)()
        for mode in ("RGB", "RGBA"):
            yield f"{name} {mode}", functools.partial(encoded, image(mode), name, quality=60, exif=exif().tobytes())


@functools.cache
def made() -> dict[str, bytes]:
    """Every file by its name. A format that this Pillow cannot write is left out."""
    found = {}
    for name, make in (*_pngs(), *_jpegs(), *_tiffs(), *_others(), *_plugins()):
        try:
            found[name] = make()
        except (OSError, KeyError, ValueError):  # no such codec here
            continue
    return found
