"""Image files of every format: the main image, and what the file says about colors, transparency and bits.

Pillow decodes all formats. What it does not read is found here, and files that viewers read and Pillow refuses are
repaired in memory.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image, ImageFile, UnidentifiedImageError

from impasto.pictures import boxes, jpeg, kinds, png, tiff
from impasto.pictures.faults import RefusedError
from impasto.pictures.profile import Calibrated, Icc, Statement, embedded

# Everything Pillow decodes itself. Left out: formats that run another program (EPS), that are only identified, or that hold no
# images. TGA has no signature, so it is tried last. JXL is there when the plugin of impasto[formats] is.
_READABLE = (
    *("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "JXL"),
    *("ICO", "ICNS", "PSD", "PCX", "SGI", "QOI", "DDS", "TGA"),
)
_LOSSLESS = {"PNG", "GIF", "BMP", "DIB", "PPM", "ICO", "PSD", "PCX", "SGI", "QOI", "TGA"}


@dataclass(frozen=True)
class Traits:
    """What is known about stored pixels.

    statements: about their colors, in the order of precedence.
    bits: per sample.
    signed: whether samples are signed integers.
    opaque: whether extra channels must be ignored.
    lossless: whether pixels are stored exactly.
    """

    statements: tuple[Statement, ...] = ()
    bits: int = 8
    signed: bool = False
    opaque: bool = False
    lossless: bool = True


@dataclass(frozen=True)
class Container:
    """An opened file.

    image: its main image, with the header read and the pixels not.
    reopened: opens the main image a second time.
    data: the file, repaired if that was needed.
    traits: what the file says about its pixels.
    tiff: what was found in a TIFF; None for other formats.
    notes: for the user, without their subject.
    """

    image: ImageFile.ImageFile
    reopened: Callable[[], ImageFile.ImageFile]
    data: bytes
    traits: Traits = Traits()
    tiff: tiff.Tiff | None = None
    notes: tuple[str, ...] = ()


def opened(data: bytes) -> Container:
    """Open the bytes of an image file.

    Raises RefusedError, UnsupportedTiffError for a TIFF that only `tiff.decoded` may read, and what Pillow raises for damaged files.
    """
    if data.startswith(png.SIGNATURE):
        return _png(data)
    if data.startswith(tiff.SIGNATURES):
        return _tiff(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if kinds.needs_plugin(data):
        return _by_plugin(data)
    found = _container(data)
    if found is None:
        raise kinds.refusal(data)
    kind = str(found.image.format)
    stated = _BOXED[kind](data) if kind in _BOXED else boxes.Stated(_COLORS[kind](data) if kind in _COLORS else ())
    traits = Traits(
        statements=stated.statements or _embedded(found.image),
        bits=stated.bits,
        opaque=kind in _ALPHA and not _ALPHA[kind](data),
        lossless=kind in _LOSSLESS or (kind == "WEBP" and _is_lossless_webp(data)),
    )
    return replace(found, traits=traits)


def _container(data: bytes, load: Callable[[], object] = Image.init) -> Container | None:
    """Without traits. None for a format that is not readable. load: loads Pillow's formats; all of them take a tenth of a second."""
    load()
    names = [name for name in _READABLE if name in Image.OPEN]

    def reopened() -> ImageFile.ImageFile:
        return Image.open(io.BytesIO(data), formats=names)

    try:
        return Container(reopened(), reopened, data)
    except UnidentifiedImageError:
        return None


def _embedded(image: Image.Image) -> tuple[Statement, ...]:
    """The profile that Pillow has found."""
    return embedded(image.info.get("icc_profile"))


# ---------------------------------------------------------------------------------------------------- PNG, TIFF, JPEG


def _png(data: bytes) -> Container:
    examined = png.examine(data)
    found = _container(examined.data, Image.preinit)
    if found is None:
        raise RefusedError("truncated or damaged")
    _repair_transparent_color(found.image, examined.bits, data[25])
    return replace(found, traits=Traits(examined.statements, examined.bits), notes=examined.notes)


def _repair_transparent_color(image: Image.Image, bits: int, kind: int) -> None:
    """Scale a gray PNG's transparent value to 8 bits, as Pillow scales the pixels but (as of 13.0) not this value."""
    key = image.info.get("transparency")
    if isinstance(key, int) and kind == 0 and bits in (1, 2, 4):
        image.info["transparency"] = min(key * (255 // (2**bits - 1)), 255)


def _tiff(data: bytes) -> Container:
    if data[8:10] == b"CR":
        raise kinds.raw_photograph("CR2")
    main = tiff.examine(data)
    found = _container(main.data)
    if found is None or main.by_tifffile or (main.signed and main.bits == 8):
        raise UnsupportedTiffError(main)
    traits = Traits(_embedded(found.image), main.bits, main.signed, main.opaque, main.lossless)
    return replace(found, traits=traits, tiff=main, notes=main.notes)


class UnsupportedTiffError(Exception):
    """A TIFF that Pillow cannot decode. main: what was found in it."""

    def __init__(self, main: tiff.Tiff) -> None:
        super().__init__(main.layout)
        self.main = main


def _jpeg(data: bytes) -> Container:
    odd = jpeg.unsupported(data)
    if odd:
        raise RefusedError(f"{odd}, which is not supported", "convert it to PNG or to a JPEG of 8 bits")
    repaired, notes = jpeg.without_stray_bytes(data)
    found = _container(repaired, Image.preinit)
    if found is None:
        raise RefusedError("truncated or damaged")
    return replace(found, traits=Traits(_embedded(found.image), lossless=False), notes=notes)


# -------------------------------------------------------------------------------------------- formats of other packages


def _by_plugin(data: bytes) -> Container:
    """HEIC or JPEG XL, with a package of impasto[formats]."""
    try:
        if data[4:8] == b"ftyp":
            from pillow_heif import HeifImageFile

            def reopened() -> ImageFile.ImageFile:
                return HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]  # pillow-heif has no types

            stated = boxes.heif(data)
            return Container(reopened(), reopened, data, Traits(stated.statements, stated.bits, lossless=False))
        import pillow_jxl  # noqa: F401  (registers its format)
    except ImportError as error:
        raise kinds.refusal(data) from error
    found = _container(data)
    if found is None:
        raise RefusedError("truncated or damaged")
    return replace(found, traits=Traits(_embedded(found.image), lossless=False))


# ------------------------------------------------------------------- color and transparency information that Pillow ignores


def _bmp_colors(data: bytes) -> tuple[Statement, ...]:
    """Of a BMP with header version 4 or 5: an embedded profile, or gamma and end points (BITMAPV5HEADER)."""
    start = 14 if data[:2] == b"BM" else 0
    if len(data) < start + 124 or struct.unpack_from("<I", data, start)[0] not in (108, 124):
        return ()
    kind = data[start + 56 : start + 60][::-1]
    if kind == b"MBED":
        offset, size = struct.unpack_from("<II", data, start + 112)
        return (Icc(data[start + offset : start + offset + size]),)
    if kind != b"\0\0\0\0":
        return ()
    xyz = [value / 2**30 for value in struct.unpack_from("<9I", data, start + 60)]
    gammas = [value / 2**16 for value in struct.unpack_from("<3I", data, start + 96)]
    if min(map(sum, (xyz[0:3], xyz[3:6], xyz[6:9]))) <= 0 or not 0.1 < min(gammas) == max(gammas) < 10:
        return ()
    primaries = [value / sum(xyz[n : n + 3]) for n in (0, 3, 6) for value in xyz[n : n + 2]]
    white = [sum(xyz[n::3]) for n in range(3)]
    chromaticities = (white[0] / sum(white), white[1] / sum(white), *primaries)
    return (Calibrated(gammas[0], chromaticities, "BITMAPV4HEADER"),)


def _gif_profile(data: bytes) -> tuple[Statement, ...]:
    """Of a GIF, whose profile is an application extension in blocks of up to 255 bytes (ICC.1:2022, B.6)."""
    head = re.search(rb"!\xff\x0bICCRGBG1012", data)
    parts, at = [], head.end() if head else len(data)
    while at < len(data) and data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return (Icc(b"".join(parts)),) if parts else ()


def _psd_has_alpha(data: bytes) -> bool:
    """Whether a PSD's fourth channel is transparency: its number of layers is negative then (Adobe's specification, Layer info)."""
    at = 26
    for _ in range(2):  # color mode data, image resources
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    section, layers = (int.from_bytes(data[at + n : at + n + 4], "big") for n in (0, 4))
    return section > 4 and layers > 2 and int.from_bytes(data[at + 8 : at + 10], "big", signed=True) < 0


def _is_lossless_webp(data: bytes) -> bool:
    """Whether the first image in a WebP is coded as VP8L (RFC 9649)."""
    at = 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        at += 8 + (16 if kind == b"ANMF" else length + length % 2)
    return False


def _tga_has_alpha(data: bytes) -> bool:
    """Whether the descriptor of a TGA counts bits of alpha."""
    return bool(data[17] & 0x0F)


_BOXED = {"JPEG2000": boxes.jpeg2000, "AVIF": boxes.heif}
_COLORS = {"BMP": _bmp_colors, "DIB": _bmp_colors, "GIF": _gif_profile}
_ALPHA = {"PSD": _psd_has_alpha, "TGA": _tga_has_alpha, "JPEG2000": boxes.has_alpha}
