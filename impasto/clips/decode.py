"""The frames of a video stream in the order in which they appear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from impasto.clips.container import library
from impasto.clips.notes import Notes, refusal
from impasto.clips.scan import is_partial

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

Ticked: TypeAlias = "tuple[int, VideoFrame]"  # when a frame appears, in units of the stream's time base, and the frame

UNSUPPORTED = "is in a video format that is not supported"


def decoded(
    path: Path, container: InputContainer, stream: Any, notes: Notes, *, start: int | None = None, usual: int = 1
) -> Iterator[Ticked]:
    """Frames whose ticks increase. What cannot be decoded is left out, and noted.

    start: the ticks of a key frame to start with. usual: how long a frame stays whose successor states no time. Raises PictureError.
    """
    av = library()
    if start is not None:
        container.seek(start, stream=stream)
    previous: int | None = None
    damaged = False
    for packet in _packets(path, container, stream):
        try:
            frames = stream.decode(packet)
        except av.error.DecoderNotFoundError as error:
            raise refusal(path, UNSUPPORTED) from error
        except (av.error.FFmpegError, MemoryError):
            damaged = True
            continue
        for frame in frames:
            ticks = frame.pts
            if ticks is None:
                ticks = 0 if previous is None else previous + (frame.duration or usual)
            if previous is not None and ticks <= previous:
                notes.add("has frames whose times do not increase, which are left out")
                continue
            previous = ticks
            yield ticks, frame
    if damaged:
        notes.add("has damaged parts, which are left out")


def _packets(path: Path, container: InputContainer, stream: Any) -> Iterator[Any]:
    """Whole packets, and None at the end, which asks the decoder for what it holds back."""
    av = library()
    try:
        for packet in container.demux(stream):
            if packet.has_sidedata("encryption_info"):
                raise refusal(path, "is encrypted")
            if not is_partial(packet, container.format.name):
                yield packet if packet.size else None
    except (av.error.FFmpegError, OSError):  # cut off
        yield None
