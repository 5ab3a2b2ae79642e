"""What an image file stores besides its pixels: the settings it was made with and, on request, a photograph's EXIF.

Settings are JSON in the EXIF UserComment. It is the one place that PNG, JPEG, WebP and TIFF all have, and every EXIF reader shows it.
A PNG has them as a text chunk too. The Software tag is "impasto", which tells them from the comments of other programs.

Of a photograph's EXIF, only what is also true of the result is kept: camera, exposure, date, place and owner. Orientation, sizes,
pixel positions, the thumbnail, color space, maker notes, comments and identifiers are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

from PIL import Image, PngImagePlugin

Kept: TypeAlias = Mapping[int, dict[int, Any]]  # {MAIN, EXIF or GPS: {tag: value}}

MOST_SETTINGS = 60_000  # bytes; a JPEG keeps its EXIF in one segment of at most 64 KB
MOST_EXIF = 65_000
MAIN, EXIF, GPS = 0, 0x8769, 0x8825

_SOFTWARE, _USER_COMMENT, _PREDICTOR = 0x0131, 0x9286, 0x013D
_COMMENT_CODE = b"ASCII\0\0\0"
_NAME = "impasto"  # the Software tag, and the key of the PNG's text

_KEPT_MAIN = (0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298)  # description, make, model, date, artist, copyright: all texts
_KEPT_EXIF = frozenset(
    (
        *(0x829A, 0x829D, 0x8822, 0x8827, *range(0x8830, 0x8836)),  # exposure time, aperture, program, sensitivity
        *(0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292),  # dates, their fractions and time zones
        *range(0x9201, 0x920B),  # shutter, aperture, brightness, bias, distance, metering, light, flash, focal length
        *range(0x9400, 0x9406),  # weather: temperature, humidity, pressure, depth, acceleration, elevation
        *(0xA20B, 0xA215, 0xA217, 0xA300, 0xA301),  # flash energy, exposure index, sensor type, source type, scene type
        *(*range(0xA401, 0xA40B), 0xA40C),  # modes, zoom, 35 mm focal length
        *range(0xA430, 0xA436),  # owner, serial numbers, lens
    )
)
_KEPT_GPS = frozenset(range(32))


def comment(settings: Mapping[str, object]) -> bytes:
    """Settings as a UserComment. Raises TypeError and ValueError for what JSON cannot hold, NaN and infinity included."""
    return _COMMENT_CODE + json.dumps(dict(settings), allow_nan=False).encode("ascii")


def settings_in(image: Image.Image) -> dict[str, object] | None:
    """The settings that `save` stored; None where there are none."""
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
    """A float, unless it is too large for one: `comment` never writes such a number, and no reader expects infinity."""
    number = float(digits)
    if not math.isfinite(number):
        _refuse(digits[:20])
    return number


def photographed(image: Image.Image) -> Kept:
    """What is kept of a photograph's EXIF: {directory: {tag: value}} without empty directories; {} where its EXIF is broken."""
    try:
        tags = image.getexif()
        found = {
            MAIN: {tag: _text(tags[tag]) for tag in _KEPT_MAIN if isinstance(tags.get(tag), (str, bytes))},
            EXIF: {tag: _text(value) for tag, value in tags.get_ifd(EXIF).items() if tag in _KEPT_EXIF},
            GPS: {tag: _text(value) for tag, value in tags.get_ifd(GPS).items() if tag in _KEPT_GPS},
        }
    except Exception:  # a camera's broken EXIF
        return {}
    return {directory: entries for directory, entries in found.items() if entries}


def _text(value: Any) -> Any:
    """Pillow reads texts as Latin-1 and writes them as ASCII, so other texts are passed through as the bytes they were."""
    return value if not isinstance(value, str) or value.isascii() else value.encode("latin-1", "replace")


def fits(kept: Kept, stored: bytes | None) -> bool:
    """Whether a photograph's EXIF can be written, and fits into one segment together with the settings."""
    try:
        return len(_tags("JPEG", stored, kept).tobytes()) <= MOST_EXIF
    except Exception:  # values of types that their tags never have
        return False


def arguments(kind: str, stored: bytes | None, kept: Kept) -> dict[str, Any]:
    """Arguments for Pillow's `save`. kind: Pillow's name of the format; stored: from `comment`, None for no settings.

    kept: from `photographed`; {} for a TIFF, into which Pillow cannot write the directories.
    """
    tags = _tags(kind, stored, kept)
    found: dict[str, Any] = {"exif": tags} if len(tags) else {}
    if kind == "PNG" and stored:
        found["pnginfo"] = PngImagePlugin.PngInfo()
        found["pnginfo"].add_text(_NAME, stored[len(_COMMENT_CODE) :].decode("ascii"))
    return found


def tiff_arguments(stored: bytes | None) -> dict[str, Any]:
    """Arguments for tifffile's `imwrite`. stored: from `comment`, None for no settings."""
    if stored is None:
        return {"software": False}
    undefined = 7
    return {"software": _NAME, "extratags": [(_USER_COMMENT, undefined, len(stored), stored, True)]}


def _tags(kind: str, stored: bytes | None, kept: Kept) -> Image.Exif:
    tags = Image.Exif()
    for tag, value in kept.get(MAIN, {}).items():
        tags[tag] = value
    if stored is not None:
        tags[_SOFTWARE] = _NAME
    if kind == "TIFF":
        tags[_PREDICTOR] = 2  # differences along a row
        if stored is not None:  # in the main directory: Pillow cannot write an EXIF directory into a compressed TIFF
            tags[_USER_COMMENT] = stored
        return tags
    exif = kept.get(EXIF, {}) | ({_USER_COMMENT: stored} if stored is not None else {})
    for directory, entries in ((EXIF, exif), (GPS, kept.get(GPS, {}))):
        if entries:
            tags[directory] = entries
    return tags
