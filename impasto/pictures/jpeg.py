"""JPEG files that viewers read and libjpeg, as Pillow uses it, refuses (ITU-T T.81, annex B)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without content
END_MARKER = b"\xff\xd9"
_FILLING = bytes(range(1, 255)) * 16  # no 0xFF: decoded as pixels where pixels are missing


def without_stray_bytes(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A file that begins with a start marker, without the bytes between segments that belong to none; and notes."""
    parts, at, stray = [data[:2]], 2, 0
    while at + 4 <= len(data):
        marker = data.find(b"\xff", at)
        while 0 <= marker < len(data) - 1 and data[marker + 1] == 0xFF:  # fill bytes
            marker += 1
        if marker < 0 or marker + 4 > len(data):
            break
        stray += data.count(b"\0", at, marker) or marker - at - data.count(b"\xff", at, marker)
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


def with_end(data: bytes, decoded: Callable[[bytes], Image.Image]) -> bytes | None:
    """A file that lacks only its end marker, with one; None where pixels are missing too.

    decoded: decodes a file, or raises OSError. Where nothing is missing, what follows the pixels does not change them.
    """
    data = data.rstrip(b"\xff")
    whole = data + END_MARKER
    try:
        same = np.array_equal(np.asarray(decoded(whole)), np.asarray(decoded(data + _FILLING + END_MARKER)))
    except OSError:
        return None
    return whole if same else None
