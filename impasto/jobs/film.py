"""The making-of as a GIF or an MP4, from frames in a folder."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from impasto import clips, files, pictures
from impasto.errors import OutputError, UsageError
from impasto.jobs.lock import state_of

FRAMES_A_SECOND = 12
SEGMENT = "film.segment"  # of an MP4, until it is whole
REST = 2  # seconds that the finished image stays
LONGEST = {".gif": 480, ".mp4": 1920}  # pixels; larger GIFs take tens of megabytes, and larger films do not play everywhere


def write(place: Path, *, overwrite: bool) -> None:
    """Make a film of the frames that were kept for it. Raises SaveError, OutputError."""
    folder, kind = state_of(place), place.suffix.lower()
    if not any(folder.glob("*.png")):
        raise OutputError(f"{files.printable(place)} cannot be made: its frames are missing from {files.printable(folder)}")
    if kind == ".gif":
        files.write(place, _gif(folder), (kind,), overwrite=overwrite)
    else:
        _mp4(folder, place, overwrite=overwrite)


def finish(place: Path) -> None:
    """Make the film of a run whose image is finished, if its frames are there, and remove them. Raises SaveError."""
    if any(state_of(place).glob("*.png")):
        write(place, overwrite=True)
        clear(state_of(place))


def clear(folder: Path) -> None:
    """Remove frames and their folder; other files in it stay."""
    with contextlib.suppress(OSError):
        for file in (*folder.glob("[0-9][0-9][0-9][0-9].png"), *folder.glob(".impasto-*.tmp"), *folder.glob(SEGMENT)):
            file.unlink()
        folder.rmdir()


def frame(image: Image.Image, kind: str) -> bytes:
    """A frame as PNG, quickly compressed. kind: the film's suffix."""
    opaque = pictures.flatten(image)
    opaque.thumbnail((LONGEST[kind], LONGEST[kind]), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    opaque.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _gif(folder: Path) -> bytes:
    buffer = io.BytesIO()
    first, *others = sorted(folder.glob("*.png"))
    times = [round(1000 / FRAMES_A_SECOND)] * len(others) + [round(1000 * REST)]
    _read(first).save(buffer, "GIF", save_all=True, append_images=map(_read, others), duration=times, loop=0)
    return buffer.getvalue()


def _read(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.copy()


def check_possible(kind: str) -> None:
    """Raise UsageError if a film of this suffix needs the video extra and it is not installed."""
    if kind != ".mp4":
        return
    try:
        clips.check_extra()
    except UsageError as error:
        raise UsageError("an .mp4 needs the video extra: pip install 'impasto[video]'; a .gif works without it") from error


def _mp4(folder: Path, place: Path, *, overwrite: bool) -> None:
    """H.264 that plays everywhere. Its frames are a segment of their own until it is whole."""
    segment = folder / SEGMENT
    rate = Fraction(FRAMES_A_SECOND)
    try:
        clips.encode(_timed(folder), segment, clips.format_of(place), time_base=1 / rate, rate=rate)
        clips.join([segment], place, overwrite=overwrite)
    finally:
        with contextlib.suppress(OSError):
            segment.unlink()


def _timed(folder: Path) -> Iterator[tuple[npt.NDArray[np.uint8], Fraction, Fraction]]:
    """The frames as arrays, each with its time and duration in seconds."""
    step = Fraction(1, FRAMES_A_SECOND)
    names = sorted(folder.glob("*.png"))
    for number, name in enumerate(names):
        rest = Fraction(REST) if number == len(names) - 1 else Fraction(0)
        yield np.asarray(_read(name).convert("RGB")), number * step, step + rest
