"""Frames to one closed piece of video, which `join` puts together with others without encoding again."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from impasto import files
from impasto.clips import color
from impasto.clips.container import library
from impasto.clips.formats import Format
from impasto.clips.window import rounded
from impasto.errors import OutputError, SaveError

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Image: TypeAlias = npt.NDArray[np.uint8]
Timed: TypeAlias = tuple[Image, Fraction, Fraction]

TIME_BASE = Fraction(1, 90000)
_RATE = Fraction(25)
_LIMITED, _BT709 = 1, 1
_REPRODUCIBLE = {"fflags": "+bitexact"}  # no date, no version of a library


def encode(
    frames: Iterable[Timed],
    path: str | os.PathLike[str],
    kind: Format,
    *,
    time_base: Fraction = TIME_BASE,
    rate: Fraction = _RATE,
) -> tuple[str, ...]:
    """Encode frames as a segment: a file that starts with a key frame and holds the frames' own times. An existing file is replaced.

    frames: HxWx3 uint8 sRGB, when it appears and how long it stays, in seconds; the times increase, and all frames have one size. They
        are consumed one at a time. A row or a column that makes a side odd is left out at the bottom or on the right.
    kind: .mp4 (H.264) or .webm (VP9), both 4:2:0 in the limited range of BT.709, and tagged so.
    time_base: the unit in which times are stored; `Clip.time_base` stores a clip's own times exactly. rate: frames a second on average,
        for the encoder's estimates. Segments to be joined need the same of both.

    The same arguments give the same bytes on one machine. Returns notes. Raises SaveError (disk full or the like), OutputError (no
    frames), UsageError without the video extra, ValueError for frames of several sizes.
    """
    av = library()
    target = Path(path)
    with writing(target, overwrite=True) as temporary:
        notes = _encode(av, iter(frames), temporary, kind, time_base, rate)
    return tuple(f"{files.printable(target)}: {note}" for note in notes)


def _encode(av: Any, frames: Iterator[Timed], path: Path, kind: Format, tb: Fraction, rate: Fraction) -> list[str]:
    first = next(frames, None)
    if first is None:
        raise OutputError(f"{files.printable(path)}: there are no frames to write")
    height, width = (side - side % 2 for side in first[0].shape[:2])
    if not (height and width):
        raise OutputError(f"{files.printable(path)}: a video must be at least 2 pixels wide and high")
    notes = (
        ["one row or column of pixels is left out, because a video needs even sides"]
        if first[0].shape[:2] != (height, width)
        else []
    )
    with av.open(os.fspath(path), "w", format="mp4", options={**_REPRODUCIBLE, **movie_clock(tb)}) as container:
        stream = container.add_stream(kind.codec, rate=rate, options=dict(kind.options))
        _describe(stream, (height, width), tb)
        pending = deque[int]()  # durations of frames in the encoder
        for image, time, duration in _chained(first, frames):
            if image.shape != first[0].shape:
                raise ValueError(f"a frame is {image.shape} and the first one {first[0].shape}")
            frame = _frame(av, image[:height, :width])
            frame.pts, frame.time_base = rounded(time / tb), tb
            pending.append(rounded((time + duration) / tb) - frame.pts)
            _mux(container, stream.encode(frame), pending)
        _mux(container, stream.encode(None), pending)
    return notes


def _describe(stream: VideoStream, size: tuple[int, int], tb: Fraction) -> None:
    context = stream.codec_context
    context.height, context.width = size
    context.pix_fmt = "yuv420p"
    context.time_base = tb
    stream.time_base = tb
    context.color_range, context.colorspace, context.color_primaries, context.color_trc = _LIMITED, _BT709, _BT709, _BT709


def _chained(first: Timed, others: Iterator[Timed]) -> Iterator[Timed]:
    yield first
    yield from others


def _mux(container: OutputContainer, packets: Iterable[Any], pending: deque[int]) -> None:
    for packet in packets:
        packet.duration = pending.popleft()
        container.mux(packet)


def _frame(av: Any, image: Image) -> VideoFrame:
    frame = av.VideoFrame(image.shape[1], image.shape[0], "yuv420p")
    for plane, levels in zip(frame.planes, color.to_yuv420(image), strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : plane.width] = levels
        plane.update(rows.tobytes())
    frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc = _LIMITED, _BT709, _BT709, _BT709
    result: VideoFrame = frame
    return result


def movie_clock(tb: Fraction) -> Mapping[str, str]:
    """Options of the MP4 writer: edit lists in units of the video's times, which keep a start exact instead of to a millisecond."""
    return {"movie_timescale": str(tb.denominator)} if 1 <= tb.denominator < 2**31 else {}


@contextlib.contextmanager
def writing(target: Path, suffixes: tuple[str, ...] = (), *, overwrite: bool) -> Iterator[Path]:
    """A temporary file that becomes the target. Raises SaveError and OutputError."""
    av = library()
    try:
        with files.replacing(target, suffixes, overwrite=overwrite) as temporary:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
    except (OSError, av.error.FFmpegError) as error:
        reason = files.reason(error) if isinstance(error, OSError) else files.one_line(str(error)).lower()
        raise SaveError(f"{files.printable(target)} could not be written: {reason}") from error
