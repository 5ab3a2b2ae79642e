"""MATLAB 5 files: cells, structures, numbers and texts, which is all that networks are stored as. Reading one runs no code.

scipy reads them too, but a damaged file can crash it (a cell array that calls itself numeric: scipy 1.17), and with it the process.
The format: MathWorks, "MAT-File Format". A file is a header of 128 bytes and elements, each a tag (type, bytes) and its content.
"""

from __future__ import annotations

import itertools
import math
import mmap
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Content: TypeAlias = "bytes | memoryview"

_HEADER, _TAG = 128, 8  # bytes
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # by type of element
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR = 1, 2, 4  # classes of matrices; from 6 on they are numeric
_KINDS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_COMPLEX = 0x800
_DEEPEST = 20  # cells in cells
_MOST = 2_000_000_000  # bytes of an inflated variable; the whole of VGG-19 has 575 million
_DENSEST, _SMALL = 20, 100_000_000  # how often it may be larger than deflated, unless it has so few bytes


def read(file: Path, wanted: Collection[str]) -> dict[str, Any]:
    """The variables of these names.

    A cell array is a list, a structure a dict, an array of structures a list of dicts, in MATLAB's order. A text is a str. Numbers are
    a read-only array, which may be a memory map of the file. None for another class, such as sparse matrices and functions.
    Raises ValueError for a damaged file.
    """
    with file.open("rb") as stream:
        whole = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    order = {b"IM": "<", b"MI": ">"}.get(bytes(whole[126:128]))
    if order is None:
        raise ValueError("its byte order is not stated")
    reader, found = _Reader(order), {}
    try:
        for kind, content in reader.elements(whole[_HEADER:]):
            name, value = reader.variable(kind, content, wanted)
            found[name] = value
    except (struct.error, zlib.error) as error:
        raise ValueError(f"an element is damaged ({error})") from error
    return {name: found[name] for name in wanted if name in found}


class _Reader:
    """Elements in one byte order."""

    def __init__(self, order: str) -> None:
        self.order = order

    def elements(self, content: Content) -> Iterator[tuple[int, Content]]:
        """(type, content) of the elements in a row."""
        at = 0
        while at + _TAG <= len(content):
            kind, length = struct.unpack_from(f"{self.order}II", content, at)
            if kind >> 16:  # small: length and type in one number, and the content in the other
                kind, length, start = kind & 0xFFFF, kind >> 16, at + 4
                end = at + _TAG
            else:
                start = at + _TAG
                end = start + length + (0 if kind == _COMPRESSED else -length % 8)
            if start + length > len(content):
                raise ValueError("it is cut short")
            yield kind, content[start : start + length]
            at = end

    def variable(self, kind: int, content: Content, wanted: Collection[str]) -> tuple[str, Any]:
        """The name and the value of an element at the top; the value is None if the name is not wanted."""
        if kind == _COMPRESSED:
            inflate = zlib.decompressobj()
            content = inflate.decompress(content, max(_SMALL, min(_MOST, _DENSEST * len(content))))
            if inflate.unconsumed_tail:
                raise ValueError("a variable is too large")
            kind, content = next(self.elements(content), (0, b""))
        if kind != _MATRIX:
            return "", None
        name = bytes(next(itertools.islice(self.elements(content), 2, None), (0, b""))[1]).decode("latin-1")
        return name, self.matrix(content) if name in wanted else None

    def matrix(self, content: Content, depth: int = 0) -> Any:
        """The value of a matrix."""
        if depth > _DEEPEST:
            raise ValueError("its cells are nested too deep")
        parts = self.elements(content)
        first = next(parts, None)
        if first is None:
            return np.empty((0, 0))
        (flags,) = struct.unpack_from(f"{self.order}I", first[1])
        dims = [int(side) for side in self.numbers(*self.part(parts))]
        self.part(parts)  # the name
        kind = flags & 0xFF
        if kind == _CELL:
            return [self.inner(parts, depth) for _ in range(self.count(dims, len(content) // _TAG))]
        if kind == _STRUCT:
            return self.structure(parts, self.count(dims, len(content) // _TAG), depth)
        if kind == _CHAR:
            return self.text(*self.part(parts))
        if kind not in _KINDS or flags & _COMPLEX:
            return None
        values = self.numbers(*self.part(parts))
        if len(values) != self.count(dims, len(values)):
            raise ValueError("its dimensions do not match its numbers")
        return values.astype(_KINDS[kind], copy=False).reshape(dims, order="F")

    @staticmethod
    def part(parts: Iterator[tuple[int, Content]]) -> tuple[int, Content]:
        """The next element. Raises ValueError if there is none."""
        found = next(parts, None)
        if found is None:
            raise ValueError("an element is missing")
        return found

    def inner(self, parts: Iterator[tuple[int, Content]], depth: int) -> Any:
        """The value of a matrix in another."""
        kind, content = self.part(parts)
        if kind != _MATRIX:
            raise ValueError(f"an element of type {kind} is where a matrix should be")
        return self.matrix(content, depth + 1)

    def structure(self, parts: Iterator[tuple[int, Content]], count: int, depth: int) -> Any:
        """One structure as a dict, several as a list."""
        (length,) = (int(number) for number in self.numbers(*self.part(parts)))
        names = bytes(self.part(parts)[1])
        if not 0 < length <= max(1, len(names)):
            raise ValueError("its fields have no names")
        fields = [
            names[at : at + length].partition(b"\0")[0].decode("latin-1") for at in range(0, len(names) - length + 1, length)
        ]
        found = [{name: self.inner(parts, depth) for name in fields} for _ in range(count)]
        return found[0] if count == 1 else found

    def text(self, kind: int, content: Content) -> str:
        """A text."""
        if kind not in _TEXTS:
            raise ValueError(f"a text is of type {kind}")
        wide = {"<": "-le", ">": "-be"}[self.order] if "utf" in _TEXTS[kind] and kind != 16 else ""
        return bytes(content).decode(f"{_TEXTS[kind]}{wide}", "replace")

    def numbers(self, kind: int, content: Content) -> Any:
        """Numbers as a flat array."""
        if kind not in _NUMBERS:
            raise ValueError(f"numbers are of type {kind}")
        form = np.dtype(_NUMBERS[kind]).newbyteorder(self.order)  # type: ignore[arg-type]
        return np.frombuffer(content[: len(content) // form.itemsize * form.itemsize], form)

    @staticmethod
    def count(dims: list[int], most: int) -> int:
        """The product of dimensions."""
        found = math.prod(dims)
        if min(dims, default=0) < 0 or len(dims) < 2 or found > most:
            raise ValueError(f"its dimensions are {'x'.join(map(str, dims[:5]))}")
        return found
