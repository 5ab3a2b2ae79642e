"""Animated GIFs, written one frame at a time."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from impasto import files
from impasto.clips.window import rounded
from impasto.errors import OutputError

_SHORTEST = 2  # hundredths of a second; browsers slow down frames of fewer


def write_gif(
    frames: Iterable[tuple[npt.NDArray[np.uint8], Fraction, Fraction]],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Write frames as a GIF that repeats, whole or not at all. Memory does not grow with their number.

    frames: as in `encode`. A GIF counts hundredths of a second: the end of every frame is rounded, not its duration, so that errors do
    not add up. Frames that would stay less than 2 hundredths stay 2.

    metadata: what JSON can hold, stored as the file's comment. Raises OutputError and SaveError.
    """
    place = Path(target)
    files.check(place, (".gif",), overwrite=overwrite)
    files.write(place, _parts(frames, files.printable(place), metadata), (".gif",), overwrite=overwrite)


def _parts(
    frames: Iterable[tuple[npt.NDArray[np.uint8], Fraction, Fraction]], name: str, metadata: Mapping[str, object] | None
) -> Iterator[bytes]:
    now = 0
    empty = True
    for image, time, duration in frames:
        stays = max(_SHORTEST, rounded((time + duration) * 100) - now)
        now += stays
        head, body = _one(image, stays, metadata if empty else None)
        if empty:
            yield head
        empty = False
        yield body
    if empty:
        raise OutputError(f"{name}: there are no frames to write")
    yield b";"


def _one(image: npt.NDArray[np.uint8], stays: int, metadata: Mapping[str, object] | None) -> tuple[bytes, bytes]:
    """The head of a file of this size, and a frame with its own palette. Pillow would hold all frames in memory."""
    picture = Image.fromarray(image).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
    buffer = io.BytesIO()
    picture.save(buffer, "GIF")
    data = buffer.getvalue()
    bits = data[10] & 7  # of the size of the palette
    start = 13 + 3 * 2 ** (bits + 1)
    palette, place = data[13:start], start
    while data[place] == 0x21:  # extensions
        place += 2
        while data[place]:
            place += 1 + data[place]
        place += 1
    descriptor, coded = data[place : place + 9], data[place + 10 : -1]
    control = b"!\xf9\x04\x04" + stays.to_bytes(2, "little") + b"\0\0"
    frame = control + descriptor + bytes((0x80 | bits,)) + palette + coded
    return b"GIF89a" + data[6:10] + b"\x70\0\0" + b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" + _comment(metadata), frame


def _comment(metadata: Mapping[str, object] | None) -> bytes:
    if metadata is None:
        return b""
    text = b"impasto " + json.dumps(dict(metadata), allow_nan=False).encode("ascii")
    blocks = (text[place : place + 255] for place in range(0, len(text), 255))
    return b"!\xfe" + b"".join(bytes((len(block),)) + block for block in blocks) + b"\0"
