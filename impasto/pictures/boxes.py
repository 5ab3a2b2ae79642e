"""What the boxes of AVIF, HEIF and JPEG 2000 files say about colors and bits, which Pillow does not read.

Files of both families consist of nested boxes: a length, a type of four bytes, content (ISO/IEC 14496-12, 15444-1). Files in any state
are accepted: what cannot be read is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from impasto.pictures import spaces
from impasto.pictures.profile import Calibrated, Coded, Icc, Statement, Unsupported

_MOST_BOXES = 10_000
_ROMM = Calibrated(1.8, (*spaces.D50, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001), "ROMM RGB")  # ISO 22028-2

_ENUMERATED: dict[int, Statement] = {
    14: Unsupported("CIELab"),
    20: Unsupported("e-sRGB"),
    21: _ROMM,
}  # ISO/IEC 15444-1, table I.10, and 15444-2


@dataclass(frozen=True)
class Stated:
    """What a file says. statements: about colors, the first counts. bits: per sample."""

    statements: tuple[Statement, ...] = ()
    bits: int = 8


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each box, in the order of the file. Stops where no box fits."""
    start = 0
    for _ in range(_MOST_BOXES):
        if start + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if length == 1 and start + 16 <= len(data):
            (length,), header = struct.unpack_from(">Q", data, start + 8), 16
        length = length or len(data) - start
        if length < header or start + length > len(data):
            return
        yield kind, data[start + header : start + length]
        start += length


def _box(data: bytes, *path: bytes) -> bytes:
    """The content of the first box at a path of types; b"" where there is none. A box of type meta has 4 bytes before its boxes."""
    for kind in path:
        data = next((content for found, content in _boxes(data) if found == kind), b"")
        data = data[4:] if kind == b"meta" else data
    return data


# ---------------------------------------------------------------------------------------------------------- JPEG 2000


def jpeg2000(data: bytes) -> Stated:
    """What a JP2 or JPX file says; nothing for a bare codestream (ISO/IEC 15444-1, I.5.3)."""
    if data[4:8] != b"jP  ":
        return Stated()
    header = _box(data, b"jp2h")
    depth = _box(header, b"ihdr")[10:11]
    bits = (depth[0] & 0x7F) + 1 if depth and depth[0] != 255 else 8
    found = (_enumerated(content) for kind, content in _boxes(header) if kind == b"colr")
    return Stated(tuple(statement for statement in found if statement), bits)


def has_alpha(data: bytes) -> bool:
    """Whether a channel of a JP2 or JPX file is transparency: its cdef box says so (ISO/IEC 15444-1, I.5.3.6)."""
    content = _box(data, b"jp2h", b"cdef")[2:]
    kinds = [int.from_bytes(content[at + 2 : at + 4], "big") for at in range(0, len(content), 6)]
    return bool({1, 2} & set(kinds))


def _enumerated(content: bytes) -> Statement | None:
    """Of a colr box, whose method says how it describes colors; None for sRGB and for what is not supported."""
    method, body = content[:1], content[3:]
    if method in (b"\2", b"\3"):
        return Icc(body)
    if method == b"\1":
        return _ENUMERATED.get(int.from_bytes(body[:4], "big"))
    if method == b"\5" and len(body) >= 7:  # ISO/IEC 15444-1:2019
        primaries, transfer, _, full_range = struct.unpack_from(">HHHB", body)
        return Coded(primaries, transfer, "colr", bool(full_range >> 7))
    return None


# --------------------------------------------------------------------------------------------------------- AVIF, HEIF


def heif(data: bytes) -> Stated:
    """What the main image of an AVIF or HEIF file says. An ICC profile comes before nclx, as in browsers.

    Where it says nothing about colors, the images count that it is derived from: the tiles of a grid. Thumbnails, gain maps and
    alpha do not count.
    """
    meta = _box(data, b"meta")
    properties = list(_boxes(_box(meta, b"iprp", b"ipco")))
    associated = _associations(_box(meta, b"iprp", b"ipma"))

    def of(*items: int) -> list[tuple[bytes, bytes]]:
        numbers = dict.fromkeys(number for item in items for number in associated.get(item, ()))  # tiles share properties
        return [properties[number - 1] for number in numbers if 0 < number <= len(properties)]

    main = _main_item(_box(meta, b"pitm"))
    chosen = of(main)
    if not any(kind == b"colr" for kind, _ in chosen):
        chosen = of(main, *_sources(_box(meta, b"iref"), main))
    found = [_color(content) for kind, content in chosen if kind == b"colr"]
    depths = [_bits(kind, content) for kind, content in chosen if kind in _CODECS and len(content) > _CODECS[kind]]
    profiles = [each for each in found if isinstance(each, Icc)]
    coded = [each for each in found if isinstance(each, Coded)]
    return Stated((*profiles[:1], *coded[:1]), max(depths, default=8))


def _main_item(content: bytes) -> int:
    """The number in a pitm box, which says which item is the image."""
    size = 4 if content[:1] == b"\1" else 2
    return int.from_bytes(content[4 : 4 + size], "big")


def _sources(content: bytes, item: int) -> list[int]:
    """The items that an item is derived from: references of type dimg in an iref box (ISO/IEC 14496-12, 8.11.12; 23008-12, 6.4)."""
    size = 4 if content[:1] == b"\1" else 2
    for kind, reference in _boxes(content[4:]):
        if kind == b"dimg" and int.from_bytes(reference[:size], "big") == item:
            places = range(size + 2, len(reference), size)  # behind the item and the number of sources
            return list(dict.fromkeys(int.from_bytes(reference[at : at + size], "big") for at in places))
    return []


def _associations(content: bytes) -> dict[int, list[int]]:
    """The properties of each item, counted from 1: an ipma box (ISO/IEC 23008-12, 9.3.2)."""
    associated: dict[int, list[int]] = {}
    try:
        version, wide = content[0], content[3] & 1
        (entries,), at = struct.unpack_from(">I", content, 4), 8
        for _ in range(min(entries, _MOST_BOXES)):
            size = 4 if version else 2
            number, count, at = int.from_bytes(content[at : at + size], "big"), content[at + size], at + size + 1
            width = 2 if wide else 1
            found = [int.from_bytes(content[at + width * k : at + width * (k + 1)], "big") for k in range(count)]
            at += width * count
            associated.setdefault(number, [index & (0x7FFF if wide else 0x7F) for index in found])
    except (IndexError, struct.error):
        pass
    return associated


def _color(content: bytes) -> Statement | None:
    """Of a colr box (ISO/IEC 14496-12, 12.1.5)."""
    if content[:4] in (b"prof", b"rICC"):
        return Icc(content[4:])
    if content[:4] == b"nclx" and len(content) >= 11:
        primaries, transfer = struct.unpack_from(">HH", content, 4)
        return Coded(primaries, transfer, "nclx")  # its range is of YCbCr, which the decoder has converted
    return None


_CODECS = {b"av1C": 2, b"hvcC": 17}  # where the byte with the number of bits stands


def _bits(kind: bytes, content: bytes) -> int:
    """Bits per sample by the configuration of a codec: AV1 (AV1-ISOBMFF, 2.3.3) or HEVC (ISO/IEC 14496-15, 8.3.3.1)."""
    byte = content[_CODECS[kind]]
    if kind == b"hvcC":
        return (byte & 7) + 8
    return 8 if not byte & 0x40 else 12 if byte & 0x20 else 10
