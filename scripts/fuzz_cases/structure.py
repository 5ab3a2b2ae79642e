"""Mutations that know a format: parts are changed while lengths and checksums around them stay right, or only these are wrong."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from fuzz_cases import Random, records
from fuzz_cases.tiffs import CODES

Mutation = Callable[[bytes, Random], tuple[bytes, str]]

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
NUMBERS = (0, 1, 2, 3, 7, 8, 12, 15, 16, 17, 32, 64, 255, 256, 1000, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
PNG = b"\x89PNG\r\n\x1a\n"


class UnreadableError(Exception):
    """The bytes do not have the structure that their beginning promises."""


@dataclass(frozen=True)
class Part:
    """A chunk, segment or box. at, length: of its content."""

    name: bytes
    at: int
    length: int


# ------------------------------------------------------------------------------------------ files that are lists of parts


def _png_parts(data: bytes) -> list[Part]:
    parts, at = [], len(PNG)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        parts.append(Part(data[at + 4 : at + 8], at + 8, length))
        at += 12 + length
    return parts


def _png_part(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _jpeg_parts(data: bytes) -> list[Part]:
    parts, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in (0xDA, 0xD9):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            break
        parts.append(Part(data[at : at + 2], at + 4, length - 2))
        at += 2 + length
    return parts


def _jpeg_part(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">H", min(len(content) + 2, 65535)) + content


def _boxes(data: bytes, start: int = 0, end: int | None = None) -> list[Part]:
    """ISO boxes at the top, and those in boxes that hold boxes."""
    parts, at, end = [], start, len(data) if end is None else end
    while at + 8 <= end:
        length, name = struct.unpack(">I4s", data[at : at + 8])
        if length < 8 or at + length > end:
            break
        parts.append(Part(name, at + 8, length - 8))
        skip = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"jp2h": 0}.get(
            name
        )
        if skip is not None:
            parts += _boxes(data, at + 8 + skip, at + length)
        at += length
    return parts


def _riff_parts(data: bytes) -> list[Part]:
    parts, at = [], 12
    while at + 8 <= len(data):
        name, length = struct.unpack("<4sI", data[at : at + 8])
        if at + 8 + length > len(data):
            break
        parts.append(Part(name, at + 8, length))
        at += 8 + length + length % 2
    return parts


def _icns_parts(data: bytes) -> list[Part]:
    parts, at = [], 8
    while at + 8 <= len(data):
        name, length = struct.unpack(">4sI", data[at : at + 8])
        if length < 8 or at + length > len(data):
            break
        parts.append(Part(name, at + 8, length - 8))
        at += length
    return parts


@dataclass(frozen=True)
class Layout:
    """How a format's parts are found and written. head, tail: bytes of a part before and after its content."""

    parts: Callable[[bytes], list[Part]]
    written: Callable[[bytes, bytes], bytes]
    head: int
    tail: int = 0


LAYOUTS = {
    "png": Layout(_png_parts, _png_part, 8, 4),
    "jpeg": Layout(_jpeg_parts, _jpeg_part, 4),
    "iso": Layout(_boxes, lambda name, content: struct.pack(">I", len(content) + 8) + name + content, 8),
    "riff": Layout(
        _riff_parts, lambda name, content: name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2), 8
    ),
    "icns": Layout(_icns_parts, lambda name, content: name + struct.pack(">I", len(content) + 8) + content, 8),
}
EXTRA_PARTS = {
    "png": (
        *((b"gAMA", struct.pack(">I", number)) for number in (0, 1, 45455, 2**31, 2**32 - 1)),
        *((b"cHRM", struct.pack(">8I", *[number] * 8)) for number in (0, 1, 31270, 2**32 - 1)),
        *(
            (b"cICP", bytes(numbers))
            for numbers in ((1, 13, 0, 1), (9, 16, 0, 1), (255, 255, 255, 255), (2, 2, 2, 2), (9, 18, 9, 0))
        ),
        *((b"sRGB", bytes((number,))) for number in (0, 3, 255)),
        *((b"tRNS", bytes(count)) for count in (0, 1, 2, 6, 256, 300)),
        *((b"acTL", struct.pack(">II", count, 0)) for count in (0, 1, 2, 2**31)),
        (b"fcTL", struct.pack(">IIIIIHHBB", 0, 9999, 9999, 0, 0, 1, 0, 9, 9)),
        (b"iCCP", b"name\0\0" + zlib.compress(bytes(128))),
        (b"iCCP", b"name\0\0" + zlib.compress(bytes(3_000_000))),
        (b"iCCP", b""),
        (b"zTXt", b"key\0\0" + zlib.compress(bytes(70_000_000), 1)),
        (b"iTXt", b"key\0\1\0\0\0" + zlib.compress(bytes(3_000_000))),
        (b"tEXt", b"impasto\0" + b"[" * 3000),
        (b"eXIf", b"II*\0\x08\0\0\0\xff\xff"),
        (b"PLTE", bytes(7)),
        (b"pHYs", bytes(9)),
        (b"IDAT", b""),
        (b"IEND", b""),
    ),
    "jpeg": (
        (b"\xff\xe1", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(30)),
        (b"\xff\xe1", b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta"),
        (b"\xff\xe2", b"ICC_PROFILE\0\1\1" + bytes(200)),
        (b"\xff\xe2", b"ICC_PROFILE\0\2\1" + bytes(200)),
        (b"\xff\xe2", b"MPF\0II*\0\x08\0\0\0" + b"\xff" * 40),
        (b"\xff\xed", b"Photoshop 3.0\08BIM\4\x04" + b"\xff" * 20),
        (b"\xff\xee", b"Adobe\0\x64\0\0\0\0\7"),
        (b"\xff\xc0", b"\x08\xff\xff\xff\xff\3\1\x11\0\2\x11\1\3\x11\1"),
        (b"\xff\xdd", b"\0\1"),
        (b"\xff\xfe", b"a comment\0\xff"),
    ),
}


def _parts_of(layout: Layout, data: bytes, rng: Random) -> tuple[list[Part], Part]:
    parts = layout.parts(data)
    if not parts:
        raise UnreadableError
    return parts, rng.choice(parts)


def change_content(name: str, data: bytes, rng: Random) -> tuple[bytes, str]:
    """Change a part's content, and correct its length and checksum."""
    from fuzz_cases import mutate

    layout = LAYOUTS[name]
    _, part = _parts_of(layout, data, rng)
    content = data[part.at : part.at + part.length] or b"\0"
    start = next((at for at in (0, 6) if content[at : at + 4] in (b"II*\0", b"MM\0*")), None)
    if start is not None and rng.random() < 0.7:  # EXIF
        tags, what = change_tag(content[start:], rng)
        content = content[:start] + tags
    else:
        content, what = rng.choice(mutate.PLAIN)(content, rng)
    return _with(layout, data, part, content), f"in {part.name!r}: {what}"


def _with(layout: Layout, data: bytes, part: Part, content: bytes) -> bytes:
    return data[: part.at - layout.head] + layout.written(part.name, content) + data[part.at + part.length + layout.tail :]


def change_header(name: str, data: bytes, rng: Random) -> tuple[bytes, str]:
    """Write an extreme number over a part's length, or change its name."""
    layout = LAYOUTS[name]
    _, part = _parts_of(layout, data, rng)
    at = part.at - layout.head + rng.choice((0, layout.head // 2))
    new = rng.choice((rng.randbytes(layout.head // 2), rng.choice(NUMBERS).to_bytes(4, "big")[-layout.head // 2 :]))
    return data[:at] + new + data[at + len(new) :], f"head of {part.name!r} set to {new.hex()}"


def move_part(name: str, data: bytes, rng: Random) -> tuple[bytes, str]:
    """Remove, repeat or move a part, or put another kind of part there."""
    layout = LAYOUTS[name]
    parts, part = _parts_of(layout, data, rng)
    start, end = part.at - layout.head, part.at + part.length + layout.tail
    block, without = data[start:end], data[:start] + data[end:]
    other = rng.choice(parts).at - layout.head
    kind = rng.randrange(4)
    if kind == 0:
        return without, f"{part.name!r} removed"
    if kind == 1:
        return data[:other] + block * rng.choice((1, 2, 200)) + data[other:], f"{part.name!r} repeated at {other}"
    if kind == 2:
        return without[:other] + block + without[other:], f"{part.name!r} moved to {other}"
    extra, content = rng.choice(EXTRA_PARTS.get(name, ((part.name, b""),)))
    return data[:start] + layout.written(extra, content) + data[
        start:
    ], f"{extra!r} of {len(content)} bytes before {part.name!r}"


def _layout_mutations(name: str) -> tuple[Mutation, ...]:
    return tuple(functools.partial(change, name) for change in (change_content, change_content, change_header, move_part))


# ------------------------------------------------------------------------------------------------------------------ TIFF


def change_tag(data: bytes, rng: Random) -> tuple[bytes, str]:
    """Change a TIFF entry: its tag, type, count or value; or its values in their place; or link a directory to itself."""
    order, wide = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    pointer, width = ("Q", 20) if wide else ("I", 12)
    try:
        (at,) = struct.unpack_from(order + pointer, data, 8 if wide else 4)
        count, start = (
            (struct.unpack_from(order + "Q", data, at)[0], at + 8)
            if wide
            else (
                struct.unpack_from(order + "H", data, at)[0],
                at + 2,
            )
        )
        if not count or start + count * width > len(data):
            raise UnreadableError
        entry = start + width * rng.randrange(count)
        tag, kind, values = struct.unpack_from(f"{order}HH{pointer}", data, entry)
        field = entry + (12 if wide else 8)
        place = field
        if SIZES.get(kind, 1) * values > (8 if wide else 4):
            (place,) = struct.unpack_from(order + pointer, data, field)
    except struct.error as error:
        raise UnreadableError from error
    number = rng.choice(NUMBERS)
    what = rng.choice(("tag", "type", "count", "value", "value", "value", "field", "loop", "rational"))
    spots = {
        "tag": (
            entry,
            "H",
            rng.choice((254, 256, 258, 259, 262, 273, 277, 284, 317, 330, 338, 339, 34665, 34675, number % 65536)),
        ),
        "type": (entry + 2, "H", rng.choice((*SIZES, 0, 99))),
        "count": (entry + 4, pointer, number),
        "value": (place, CODES.get(kind, "B").replace("s", "B"), number),
        "field": (field, pointer, number),
        "loop": (start + count * width, pointer, at),
        "rational": (place, "II", 0),
    }
    spot, code, new = spots[what]
    return _packed_at(data, spot, order, code, new), f"{what} of tag {tag} set to {new}"


def _packed_at(data: bytes, at: int, order: str, code: str, number: int) -> bytes:
    limits = {"B": 8, "H": 16, "I": 32, "Q": 64}
    values = [number % 2 ** limits[one] if one in limits else float(number) for one in code]
    new = struct.pack(order + code, *values)
    return data[:at] + new + data[at + len(new) :]


# ------------------------------------------------------------------------------------------- safetensors, zip archives


def change_json(data: bytes, rng: Random) -> tuple[bytes, str]:
    """Change the header of a safetensors file, or a card in it, and correct the length and a saved state's checksums."""
    try:
        header, rest = records.split(data)
    except ValueError as error:
        raise UnreadableError from error
    header, what = records.change_header(header, rng)
    return records.sealed(records.joined(header, rest)), what


def change_tensors(data: bytes, rng: Random) -> tuple[bytes, str]:
    """Change the tensors of a safetensors file, and correct a saved state's checksums."""
    from fuzz_cases import mutate

    try:
        header, rest = records.split(data)
    except ValueError as error:
        raise UnreadableError from error
    special = rng.choice(
        (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\xff\xff\x7f\x7f", b"\0\x7e", b"\0\x7c", b"\1\0\0\0")
    )
    if rest and rng.random() < 0.6:
        at = rng.randrange(len(rest)) // 4 * 4
        rest, what = rest[:at] + special + rest[at + len(special) :], f"{special.hex()} at {at} of the tensors"
    else:
        rest, what = rng.choice(mutate.PLAIN)(rest or b"\0", rng)
    return records.sealed(records.joined(header, rest)), f"{what}, sealed"


def change_member(data: bytes, rng: Random) -> tuple[bytes, str]:
    """Change, remove or rename a member of a zip archive, and write the archive with right checksums."""
    from fuzz_cases import mutate

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception as error:
        raise UnreadableError from error
    if not members:
        raise UnreadableError
    number = rng.choice((0, rng.randrange(len(members))))
    name, content = members[number]
    kind = rng.random()
    if kind < 0.7:
        content, what = rng.choice(mutate.PLAIN)(content or b"\0", rng)
        members[number] = (name, content)
    elif kind < 0.85:
        del members[number]
        what = "removed"
    else:
        members[number] = ("archive/" + rng.choice(("data.pkl", "data/0", "version", "../x", "")), content)
        what = f"renamed to {members[number][0]}"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for key, value in dict(members).items():
            archive.writestr(key or "x", value)
    return file.getvalue(), f"member {name}: {what}"


def of(data: bytes) -> tuple[Mutation, ...]:
    """The mutations that know the format of some bytes; none for another format."""
    if data.startswith(PNG):
        return _layout_mutations("png")
    if data.startswith(b"\xff\xd8"):
        return _layout_mutations("jpeg")
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return (change_tag,)
    if data[4:8] in (b"ftyp", b"jP  "):
        return _layout_mutations("iso")
    if data[:4] == b"RIFF":
        return _layout_mutations("riff")
    if data[:4] == b"icns":
        return _layout_mutations("icns")
    if data[:2] == b"PK":
        return (change_member,)
    if data[8:9] == b"{":
        return (change_json, change_json, change_tensors)
    return ()
