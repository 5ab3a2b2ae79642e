"""TIFF files made by hand: variants that Pillow cannot write (planar, tiled, BigTIFF, SubIFDs, odd bit depths)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CODES = {1: "B", 2: "s", 3: "H", 4: "I", 7: "s", 11: "f", 12: "d", 16: "Q"}  # TIFF's types as struct writes them
SHORT, LONG, UNDEFINED, LONG8 = 3, 4, 7, 16
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
OFFSETS, SAMPLES, ROWS, COUNTS, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, EXTRA, FORMAT, SUBIFDS = 322, 323, 324, 325, 338, 339, 330
DEFLATE, NONE = 8, 1


@dataclass(frozen=True)
class Page:
    """One image of a TIFF. pixels: HxWxC. tile: 0 for strips. tags: {tag: (type, values)} on top. children: its SubIFDs."""

    pixels: Array
    compression: int = NONE
    planar: bool = False
    tile: int = 0
    rows: int = 7
    tags: Mapping[int, tuple[int, Any]] = field(default_factory=dict)
    children: tuple[Page, ...] = ()


def tiff(*pages: Page, big: bool = False, order: str = "<") -> bytes:
    """A TIFF of these pages."""
    return _Writer(big, order).written(pages)


def looped(data: bytes) -> bytes:
    """A TIFF, little-endian and not big, whose first directory links to itself."""
    (at,) = struct.unpack_from("<I", data, 4)
    end = at + 2 + 12 * struct.unpack_from("<H", data, at)[0]
    return data[:end] + data[4:8] + data[end + 4 :]


class _Writer:
    def __init__(self, big: bool, order: str) -> None:
        self.order, self.pointer = order, "Q" if big else "I"
        start = b"II" if order == "<" else b"MM"
        self.data = bytearray(start + (self._pack("HHHQ", 43, 8, 0, 0) if big else self._pack("HI", 42, 0)))
        self.link = len(self.data) - struct.calcsize(self.pointer)  # where the offset of the next directory goes

    def _pack(self, code: str, *values: Any) -> bytes:
        return struct.pack(self.order + code, *values)

    def written(self, pages: Sequence[Page]) -> bytes:
        for page in pages:
            self._point(self.link, self._directory(page))
            self.link = len(self.data) - struct.calcsize(self.pointer)
        return bytes(self.data)

    def _point(self, at: int, offset: int) -> None:
        self.data[at : at + struct.calcsize(self.pointer)] = self._pack(self.pointer, offset)

    def _directory(self, page: Page) -> int:
        children = [self._directory(child) for child in page.children]
        entries = self._entries(page) | ({SUBIFDS: (LONG, children)} if children else {})
        wide = self.pointer == "Q"
        packed = b"".join(self._entry(tag, *entries[tag]) for tag in sorted(entries))
        offset = len(self.data)
        self.data += self._pack("Q" if wide else "H", len(entries)) + packed + self._pack(self.pointer, 0)
        return offset

    def _entry(self, tag: int, kind: int, values: Any) -> bytes:
        content = values if isinstance(values, bytes) else self._pack(f"{len(values)}{CODES[kind]}", *values)
        room = struct.calcsize(self.pointer)
        if len(content) > room:
            at = len(self.data)
            self.data += content + b"\0" * (len(content) % 2)
            content = self._pack(self.pointer, at)
        return self._pack(f"HH{self.pointer}", tag, kind, len(values)) + content.ljust(room, b"\0")

    def _entries(self, page: Page) -> dict[int, tuple[int, Any]]:
        height, width, samples = page.pixels.shape
        kind = {"u": 1, "i": 2, "f": 3}[page.pixels.dtype.kind]
        parts = [self._stored(part, page) for part in _parts(page)]
        offsets = []
        for part in parts:
            offsets.append(len(self.data))
            self.data += part
        where, lengths = (TILE_OFFSETS, TILE_COUNTS) if page.tile else (OFFSETS, COUNTS)
        entries: dict[int, tuple[int, Any]] = {
            WIDTH: (LONG, [width]),
            HEIGHT: (LONG, [height]),
            BITS: (SHORT, [page.pixels.dtype.itemsize * 8] * samples),
            COMPRESSION: (SHORT, [page.compression]),
            PHOTOMETRIC: (SHORT, [2 if samples >= 3 else 1]),
            SAMPLES: (SHORT, [samples]),
            PLANAR: (SHORT, [2 if page.planar else 1]),
            FORMAT: (SHORT, [kind] * samples),
            where: (LONG, offsets),
            lengths: (LONG, [len(part) for part in parts]),
        }
        sides = (
            {TILE_WIDTH: (LONG, [page.tile]), TILE_HEIGHT: (LONG, [page.tile])} if page.tile else {ROWS: (LONG, [page.rows])}
        )
        extra = {EXTRA: (SHORT, [2] * (samples - 3))} if samples > 3 else {EXTRA: (SHORT, [2])} if samples == 2 else {}
        return entries | sides | extra | dict(page.tags)

    def _stored(self, part: Array, page: Page) -> bytes:
        content = part.astype(part.dtype.newbyteorder(">" if self.order == ">" else "<")).tobytes()
        return zlib.compress(content) if page.compression == DEFLATE else content


def _parts(page: Page) -> Iterator[Array]:
    """The strips or tiles, plane by plane where the planes are separate."""
    planes = [page.pixels[..., k : k + 1] for k in range(page.pixels.shape[2])] if page.planar else [page.pixels]
    for plane in planes:
        height, width, _ = plane.shape
        if not page.tile:
            yield from (plane[top : top + page.rows] for top in range(0, height, page.rows))
            continue
        padded = np.pad(plane, ((0, -height % page.tile), (0, -width % page.tile), (0, 0)))
        for top in range(0, height, page.tile):
            yield from (padded[top : top + page.tile, left : left + page.tile] for left in range(0, width, page.tile))
