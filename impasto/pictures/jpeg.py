"""JPEG files that viewers read and libjpeg, as Pillow uses it, refuses (ITU-T T.81, annex B)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without content
END_MARKER = b"\xff\xd9"
# A decoder takes it for pixels where pixels are missing, because it is as random as a scan and has no 0xFF, which begins a marker.
_FILLING = hashlib.shake_256(b"impasto").digest(8192).replace(b"\xff", b"\xfe")
# Frames of Huffman codes: baseline, extended and progressive. Practically all lossy files have one of them.
_FRAMES = {0xC0, 0xC1, 0xC2}
_COEFFICIENTS = frozenset(range(64))


def without_stray_bytes(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A file that begins with a start marker, without the bytes between segments that belong to none; and notes."""
    parts, at, stray = [data[:2]], 2, 0
    while at + 4 <= len(data):
        marker = data.find(b"\xff", at)
        while 0 <= marker < len(data) - 1 and data[marker + 1] == 0xFF:  # fill bytes
            marker += 1
        if marker < 0 or marker + 4 > len(data):
            break
        stray += len(data[at:marker].strip(b"\xff"))  # a marker may have fill bytes before it
        kind = data[marker + 1]
        if kind in (_SCAN, _END):
            parts.append(data[marker:])
            break
        if kind == 0:
            stray, at = stray + 1, marker + 2
            continue
        end = marker + 2 + (0 if kind in _ALONE else int.from_bytes(data[marker + 2 : marker + 4], "big"))
        parts.append(data[marker:end])
        at = end
    return (b"".join(parts), ("has stray bytes between its segments",)) if stray else (data, ())


def unsupported(data: bytes) -> str:
    """What a file is that libjpeg, as Pillow uses it, cannot decode; "" for others (T.81, table B.1; T.87)."""
    for kind, body in _segments(data):
        if kind == _SCAN:
            break
        if kind == 0xF7:
            return "is a JPEG-LS image"
        if kind in (0xC3, 0xC7, 0xCB, 0xCF):
            return "is a lossless JPEG"
        if kind in _FRAMES and body and body[0] != 8:
            return f"is a JPEG of {body[0]} bits per channel"
    return ""


def with_end(data: bytes, decoded: Callable[[bytes], Image.Image]) -> bytes | None:
    """A file that lacks only its end marker, with one; None where pixels are missing too.

    decoded: decodes a file, or raises OSError. If no pixels are missing, random bytes appended before the marker do not change the
    decoded image.
    """
    data = data.rstrip(b"\xff")
    whole = data + END_MARKER
    if not _has_all_scans(data):
        return None
    try:
        same = np.array_equal(np.asarray(decoded(whole)), np.asarray(decoded(data + _FILLING + END_MARKER)))
    except OSError:
        return None
    return whole if same else None


def _has_all_scans(data: bytes) -> bool:
    """Whether a scan down to bit 0 exists for every coefficient of every component (T.81, B.2.3, G.1.1.1)."""
    missing: dict[int, set[int]] = {}
    for kind, body in _segments(data):
        if kind in _FRAMES and len(body) > 5:
            progressive = kind == 0xC2
            missing = {body[at]: set(_COEFFICIENTS) for at in range(6, 6 + 3 * body[5], 3) if at < len(body)}
        elif kind == _SCAN and body:
            names, rest = body[1 : 1 + 2 * body[0] : 2], body[1 + 2 * body[0] :]
            if len(rest) < 3 or not missing:
                return False
            first, last, low = (rest[0], rest[1], rest[2] & 15) if progressive else (0, 63, 0)
            for name in names:
                if low == 0:
                    missing.get(name, set()).difference_update(range(first, last + 1))
    return bool(missing) and not any(missing.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of each segment that has content. The pixels between them are skipped."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        kind = data[at + 1]
        if kind in _ALONE or kind in (0, 0xFF):
            at += 1 if kind == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield kind, data[at + 4 : at + 2 + length]
        at += 2 + length
