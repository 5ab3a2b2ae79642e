"""Small clips for the tests of video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from motion import Motion
from PIL import Image

from impasto.clips import encode, format_of
from impasto.inputs import SAMPLE

SIZE = (48, 64)
TIMES = [Fraction(number, 24) + (Fraction(1, 48) if number % 3 else 0) for number in range(60)]  # uneven


def pictures(kind: str, count: int, size: tuple[int, int] = SIZE) -> list[Any]:
    """Frames of a moving view of the sample photograph, HxWx3 uint8."""
    with Image.open(SAMPLE) as image:
        photo = np.asarray(image.convert("RGB"), np.float32) / 255
    return [np.rint(frame * 255).astype(np.uint8) for frame in Motion(photo, size, kind, count).frames()]


def film(file: Path, frames: list[Any]) -> Path:
    """An MP4 of frames with uneven times."""
    timed = ((frame, TIMES[number], TIMES[number + 1] - TIMES[number]) for number, frame in enumerate(frames))
    encode(timed, file, format_of(file), time_base=Fraction(1, 240))
    return file


def folder(place: Path, frames: list[Any]) -> Path:
    """A folder of frames."""
    place.mkdir()
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(place / f"{number:03}.png")
    return place
