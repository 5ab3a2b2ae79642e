"""What a picture file says besides its pixels: the settings it was made with and, on request, what the photograph's camera wrote.

Settings are JSON in the EXIF UserComment, the one place that PNG, JPEG, WebP and TIFF all have and every reader of EXIF shows; a PNG
has them as a text chunk too, for readers of those. Software is "impasto", which tells them from anybody else's comment.

Of a photograph's EXIF only what is true of the result as well is kept: what the camera was, how and when and where it took the
picture, and whose it is. Left out are its orientation and sizes, places given in its pixels, thumbnail, colour space, maker notes,
comments and identifiers.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeAlias

from PIL import Image, PngImagePlugin, TiffImagePlugin

Directory: TypeAlias = dict[int, Any]
Kept: TypeAlias = Mapping[int, Directory]  # {MAIN, EXIF or GPS: {tag: value}}

MOST_SETTINGS = 60_000  # bytes; a JPEG keeps its EXIF in one segment of at most 64 KB
MOST_EXIF = 65_000
MAIN, EXIF, GPS = 0, 0x8769, 0x8825

_SOFTWARE, _USER_COMMENT, _PREDICTOR = 0x0131, 0x9286, 0x013D
_COMMENT_CODE = b"ASCII\0\0\0"
_NAME = "impasto"  # the Software tag, and the key of the PNG's text

# description, make, model, date, artist, copyright: texts, all of them
_KEPT_MAIN = (0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298)
_KEPT_EXIF = frozenset(
    (
        *(0x829A, 0x829D, 0x8822, 0x8827, *range(0x8830, 0x8836)),  # exposure time, aperture, program, sensitivity
        *(0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292),  # when, its fractions and time zones
        *range(0x9201, 0x920B),  # shutter, aperture, brightness, bias, distance, metering, light, flash, focal length
        *range(0x9400, 0x9406),  # weather: temperature, humidity, pressure, depth, acceleration, elevation
        *(0xA20B, 0xA215, 0xA217, 0xA300, 0xA301),  # flash energy, exposure index, kind of sensor, of source and of scene
        *(
            0xA401,
            0xA402,
            0xA403,
            0xA404,
            0xA405,
            0xA406,
            0xA407,
            0xA408,
            0xA409,
            0xA40A,
            0xA40C,
        ),  # modes, zoom, 35 mm focal length
        *range(0xA430, 0xA436),  # owner, serial numbers, lens
    )
)
_KEPT_GPS = frozenset(range(32))


# ---------------------------------------------------------------------------------------------------------------- settings


def comment(settings: Mapping[str, object]) -> bytes:
    """Settings as a UserComment. Raises TypeError and ValueError for what JSON cannot hold, NaN and infinity among it."""
    return _COMMENT_CODE + json.dumps(dict(settings), allow_nan=False).encode("ascii")


def settings_in(image: Image.Image) -> dict[str, object] | None:
    """The settings `save` stored; None where there are none, whatever is there instead."""
    try:
        tags = image.getexif()
        return _parsed(tags.get(_SOFTWARE), tags.get_ifd(EXIF).get(_USER_COMMENT, tags.get(_USER_COMMENT)))
    except Exception:  # EXIF of any other program, in any state
        return None


def _parsed(software: object, found: object) -> dict[str, object] | None:
    if not (isinstance(software, str) and software.startswith(_NAME) and isinstance(found, bytes)):
        return None
    if not found.startswith(_COMMENT_CODE):
        return None
    text = found[len(_COMMENT_CODE) :].rstrip(b"\0 ")
    settings = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    return settings if isinstance(settings, dict) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    """A float, unless it is too large for one: `comment` never writes such a number, and nobody who reads it expects infinity."""
    number = float(digits)
    if not math.isfinite(number):
        _refuse(digits[:20])
    return number


# ------------------------------------------------------------------------------------------------------------ photograph


def photographed(image: Image.Image) -> Kept:
    """What is kept of a photograph's EXIF: {directory: {tag: value}}, without those that hold nothing."""
    tags = image.getexif()
    found = {
        MAIN: {tag: _text(tags[tag]) for tag in _KEPT_MAIN if isinstance(tags.get(tag), (str, bytes))},
        EXIF: {tag: _text(value) for tag, value in tags.get_ifd(EXIF).items() if tag in _KEPT_EXIF},
        GPS: {tag: _text(value) for tag, value in tags.get_ifd(GPS).items() if tag in _KEPT_GPS},
    }
    return {directory: entries for directory, entries in found.items() if entries}


def _text(value: Any) -> Any:
    """Pillow reads texts as Latin-1 and writes them as ASCII, so what is beyond that goes through as the bytes it was."""
    return value if not isinstance(value, str) or value.isascii() else value.encode("latin-1", "replace")


def fits(kept: Kept, stored: bytes | None) -> bool:
    """Whether a photograph's EXIF can be written, and beside the settings into one segment."""
    try:
        return len(_tags("JPEG", stored, kept).tobytes()) <= MOST_EXIF
    except Exception:  # values of kinds their tags never have
        return False


# --------------------------------------------------------------------------------------------------------------- writing


def arguments(kind: str, stored: bytes | None, kept: Kept) -> dict[str, Any]:
    """What Pillow's `save` is told. kind: Pillow's name of the format; stored: from `comment`, None for no word of impasto at all."""
    tags = _tags(kind, stored, kept)
    told: dict[str, Any] = {"exif": tags} if len(tags) else {}
    if kind == "PNG" and stored:
        told["pnginfo"] = PngImagePlugin.PngInfo()
        told["pnginfo"].add_text(_NAME, stored[len(_COMMENT_CODE) :].decode("ascii"))
    return told


def _tags(kind: str, stored: bytes | None, kept: Kept) -> Image.Exif:
    tags = Image.Exif()
    for tag, value in kept.get(MAIN, {}).items():
        tags[tag] = value
    if stored is not None:
        tags[_SOFTWARE] = _NAME
    if kind == "TIFF":
        tags[_PREDICTOR] = 2
        if stored is not None:  # in the main directory, since Pillow cannot write an EXIF directory into a compressed TIFF
            tags[_USER_COMMENT] = stored
        return tags
    taken = kept.get(EXIF, {}) | ({_USER_COMMENT: stored} if stored is not None else {})
    for directory, entries in ((EXIF, taken), (GPS, kept.get(GPS, {}))):
        if entries:
            tags[directory] = entries
    return tags


def with_directories(tiff: bytes, kept: Kept) -> bytes:
    """A TIFF with the photograph's EXIF and GPS directories behind it, which Pillow cannot write there itself.

    tiff: little-endian, of one page, as Pillow writes it. The main directory is written anew at the end, with two entries more.
    """
    pointers: dict[int, int] = {}
    for directory in (EXIF, GPS):
        if kept.get(directory):
            tiff += b"\0" * (len(tiff) % 2)  # directories begin at even places
            pointers[directory] = len(tiff)
            tiff += _directory(directory, kept[directory].items(), len(tiff))
    if not pointers:
        return tiff
    (start,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, start)
    entries = [tiff[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    entries += [struct.pack("<HHII", tag, 4, 1, place) for tag, place in pointers.items()]  # 4: LONG
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    tiff += b"\0" * (len(tiff) % 2)
    moved = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    return tiff[:4] + struct.pack("<I", len(tiff)) + tiff[8:] + moved


def _directory(group: int, entries: Iterable[tuple[int, Any]], place: int) -> bytes:
    directory = TiffImagePlugin.ImageFileDirectory_v2(ifh=b"II*\0\x08\0\0\0", group=group)
    for tag, value in entries:
        directory[tag] = value
    return bytes(directory.tobytes(place))
