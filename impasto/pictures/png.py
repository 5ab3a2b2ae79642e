"""PNG files, chunk by chunk: what they say about colors, damage that viewers ignore, and files of 16 bits (PNG, third edition).

Pillow refuses a whole file for a damaged or large side chunk. It gets a copy that holds only what it needs.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from impasto.pictures.faults import RefusedError
from impasto.pictures.profile import SRGB, Calibrated, Coded, Icc, Statement

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_PROFILE = 1 << 25  # bytes of an ICC profile
_MOST_TEXT = 1 << 20  # bytes of a text that Pillow reads EXIF or XMP from
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_PASSED_ON = {b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_KEYWORDS = (
    b"Raw profile type exif\0",
    b"Raw profile type APP1\0",
    b"XML:com.adobe.xmp\0",
)  # texts in which Pillow finds EXIF, XMP
_LENGTHS = {b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"cICP": 4, b"acTL": 8, b"fcTL": 26}
_BEFORE_PIXELS = {*_LENGTHS, b"iCCP", b"tRNS"} - {b"fcTL"}  # behind the first pixels they are ignored
_SRGB_GAMMA = range(45454, 45457)  # what writers of sRGB put into gAMA (PNG, 11.3.2.5)


@dataclass(frozen=True)
class Png:
    """A PNG file, examined.

    data: a file for Pillow.
    bits: per sample.
    statements: about colors, in the order of precedence.
    notes: for the user, without their subject.
    """

    data: bytes
    bits: int
    statements: tuple[Statement, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Chunk:
    kind: bytes
    body: bytes
    checksum: bytes

    @property
    def sound(self) -> bool:
        return self.checksum == struct.pack(">I", zlib.crc32(self.kind + self.body))

    def whole(self) -> bytes:
        return struct.pack(">I", len(self.body)) + self.kind + self.body + self.checksum


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """The chunks of a file, as far as there are any; the last one may be cut short."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if not kind.isalpha():
            return
        end = at + 8 + length
        yield _Chunk(kind, data[at + 8 : end], data[end : end + 4])
        at = end + 4


def examine(data: bytes) -> Png:
    """Read the chunks of a file that begins with SIGNATURE. Raises RefusedError for a critical chunk that nobody knows."""
    passed_on, stated, damaged = [SIGNATURE], dict[bytes, bytes](), list[str]()
    ended = pixels = False
    for each in _chunks(data):
        if each.kind in _CRITICAL:
            ended = each.kind == b"IEND"
            pixels = pixels or each.kind == b"IDAT"
            passed_on.append(chunk(b"IEND", b"") if ended else each.whole())
            if ended:
                break
        elif each.kind[:1].isupper():
            raise RefusedError("truncated or damaged (an unknown critical chunk)")
        elif not (each.sound and _has_its_length(each, data)):
            damaged.append(each.kind.decode("latin-1"))
        elif pixels and each.kind in _BEFORE_PIXELS:
            continue
        elif each.kind in _PASSED_ON or (each.kind in _TEXTS and _is_needed(each)):
            passed_on.append(each.whole())
        else:
            stated.setdefault(each.kind, each.body)
    notes = [f"has damaged side chunks ({', '.join(sorted(set(damaged)))}), which are ignored"] if damaged else []
    if not ended:
        passed_on.append(chunk(b"IEND", b""))
        notes.append("lacks its end marker")
    bits = data[24] if len(data) > 24 else 8
    return Png(b"".join(passed_on), bits, tuple(_statements(stated)), tuple(notes))


def _has_its_length(chunk: _Chunk, data: bytes) -> bool:
    """Whether a side chunk is as long as the specification says."""
    length, color = len(chunk.body), data[25:26]
    if chunk.kind == b"tRNS":
        return length == {b"\0": 2, b"\2": 6}.get(color, length) and length > 0
    return length == _LENGTHS.get(chunk.kind, length) and (length >= 4 or chunk.kind != b"fdAT")


def _is_needed(text: _Chunk) -> bool:
    """Whether Pillow finds EXIF or XMP in a text, and can read it."""
    if not text.body.startswith(_KEYWORDS) or len(text.body) > _MOST_TEXT:
        return False
    start = text.body.index(b"\0") + (2 if text.kind == b"zTXt" else 3)
    if text.kind == b"zTXt" and text.body[start - 1 : start] != b"\0":  # an unknown method of compression
        return False
    compressed = text.kind == b"zTXt" or (text.kind == b"iTXt" and text.body[start - 2 : start - 1] == b"\1")
    return not compressed or inflated(text.body[start:], _MOST_TEXT) is not None


def inflated(data: bytes, limit: int) -> bytes | None:
    """The content of a zlib stream; None where it is damaged, or larger than the limit."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, limit)
    except zlib.error:
        return None
    return found if stream.eof else None


def _statements(chunks: dict[bytes, bytes]) -> Iterator[Statement]:
    """In the order of precedence of the PNG specification, section 4.3."""
    if coded := chunks.get(b"cICP"):
        yield Coded(coded[0], coded[1], "cICP", full_range=bool(coded[3]))
    if profile := chunks.get(b"iCCP"):
        _, _, compressed = profile.partition(b"\0")
        yield Icc(inflated(compressed[1:], MOST_PROFILE) or b"")
    if b"sRGB" in chunks:
        yield SRGB
    gamma, chromaticities = chunks.get(b"gAMA"), chunks.get(b"cHRM")
    names = " and ".join(name for name, body in (("gAMA", gamma), ("cHRM", chromaticities)) if body)
    if names:
        stated = struct.unpack(">I", gamma)[0] if gamma else 0
        exponent = None if stated in _SRGB_GAMMA else stated / 100_000
        xy = tuple(value / 100_000 for value in struct.unpack(">8I", chromaticities)) if chromaticities else None
        yield Calibrated(1 / exponent if exponent else None, xy, names)


def with_words(words: npt.NDArray[np.uint16], **options: Any) -> bytes:
    """A PNG of 16 bits: HxWx3 RGB or HxWx4 RGBA. options: for Pillow's `save`, which writes all chunks but those of the pixels."""
    height, width, channels = words.shape
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG", **options)
    header = struct.pack(">IIBBBBB", width, height, 16, 6 if channels == 4 else 2, 0, 0, 0)
    pixels = {b"IHDR": chunk(b"IHDR", header), b"IDAT": chunk(b"IDAT", zlib.compress(b"".join(_filtered(words)), 6))}
    return SIGNATURE + b"".join(pixels.get(each.kind, each.whole()) for each in _chunks(buffer.getvalue()))


def _filtered(words: npt.NDArray[np.uint16]) -> Iterable[bytes]:
    """Rows after the filter Sub: the difference of each byte to that of the pixel before."""
    rows = words.astype(">u2").view(np.uint8).reshape(len(words), -1)
    step = 2 * words.shape[2]
    for row in rows:
        yield b"\1" + np.concatenate([row[:step], row[step:] - row[:-step]]).tobytes()
