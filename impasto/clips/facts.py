"""What opening a video file tells: which stream is the video, how large it is shown, and when its clock starts."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.clips.container import fraction
from impasto.clips.decode import UNSUPPORTED, decoded
from impasto.clips.drawing import Turn, turn_of
from impasto.clips.notes import Notes, check_size, refusal
from impasto.ladder import Size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_USUAL_RATE = Fraction(25)  # of a clip that states none and has one frame
_WIDEST_PIXEL = 8  # a sample aspect ratio beyond it, or below its inverse, is a mistake
_LEFT_OUT = ("data", "subtitle", "attachment")


@dataclass(frozen=True)
class Facts:
    """Facts of a video file.

    video: index of its stream. sound: index of the track of sound, or None. time_base: the unit of the video's times in seconds. zero:
    where the clip's clock is 0, in seconds of the file's clock. size: (height, width), upright, with square pixels. stored: (height,
    width) of the coded frames. turn: what makes them upright. rate: frames a second on average. declared: when the video ends on the
    clip's clock by the file's own words; None if it does not say.
    """

    video: int
    sound: int | None
    time_base: Fraction
    zero: Fraction
    size: Size
    stored: Size
    turn: Turn
    rate: Fraction
    declared: Fraction | None


def read_facts(path: Path, container: InputContainer, notes: Notes, max_pixels: int) -> Facts:
    """Find the streams and decode the first frame. Raises PictureError."""
    stream = _video(path, container, notes)
    context = stream.codec_context
    check_size(path, (context.height, context.width), max_pixels)
    sound = _sound(container, notes)
    frame = _first(path, container, stream)
    turn, shape = turn_of(frame), _shape(stream, frame, notes)
    check_size(path, shape, max_pixels)
    if frame.interlaced_frame:
        notes.add("is interlaced, and its two fields are not taken apart")
    zero = _zero(stream, sound)
    return Facts(
        stream.index,
        None if sound is None else sound.index,
        fraction(stream.time_base) or Fraction(1, 90000),
        zero,
        turn.applied(shape),
        (frame.height, frame.width),
        turn,
        fraction(stream.average_rate) or fraction(stream.guessed_rate) or _USUAL_RATE,
        _declared(container, stream, zero),
    )


def _video(path: Path, container: InputContainer, notes: Notes) -> VideoStream:
    """The first video that is no cover picture."""
    import av

    covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        raise refusal(path, "has only sound and no video" if container.streams.audio else "holds no video")
    if streams[0].codec_context is None:
        raise refusal(path, UNSUPPORTED)
    if len(streams) > 1:
        notes.add(f"has {len(streams)} video tracks, of which the first is used")
    for kind in _LEFT_OUT:
        count = sum(1 for other in container.streams if other.type == kind)
        if count:
            notes.add(
                f"has {count} {kind} tracks, which are left out" if count > 1 else f"has a {kind} track, which is left out"
            )
    return streams[0]


def _sound(container: InputContainer, notes: Notes) -> Stream | None:
    """The first sound that can be decoded. The real one is not always the first: telephones add tracks that only they can read."""
    streams = container.streams.audio
    usable = [stream for stream in streams if stream.codec_context is not None and stream.codec_context.sample_rate]
    if len(streams) > len(usable):
        notes.add("has a track of sound that cannot be decoded, which is left out")
    if len(usable) > 1:
        notes.add(f"has {len(usable)} tracks of sound, of which the first is used")
    return usable[0] if usable else None


def _first(path: Path, container: InputContainer, stream: VideoStream) -> VideoFrame:
    """One frame. It needs no threads, which take a moment to stop, and what is damaged is noted when all are read."""
    for _, frame in decoded(path, container, stream, Notes()):
        return frame
    raise refusal(path, "no frame of it can be decoded")


def _shape(stream: VideoStream, frame: VideoFrame, notes: Notes) -> Size:
    """(height, width) with square pixels, before turning. The height stays."""
    ratio = fraction(stream.sample_aspect_ratio) or Fraction(1)
    if not Fraction(1, _WIDEST_PIXEL) <= ratio <= _WIDEST_PIXEL:
        ratio = Fraction(1)
    width = max(1, round(frame.width * ratio))
    if width != frame.width:
        notes.add(f"has pixels that are not square and is shown as {width}x{frame.height}, not {frame.width}x{frame.height}")
    return frame.height, width


def _zero(video: VideoStream, sound: Stream | None) -> Fraction:
    """The earlier start of the two. The first samples of sound may lie before 0: those that a decoder needs to settle."""
    starts = [_start(video) or Fraction(0)]
    if sound is not None:
        starts.append(max(_start(sound) or Fraction(0), Fraction(0)))
    return min(starts)


def _start(stream: Any) -> Fraction | None:
    unit = fraction(stream.time_base)
    return None if stream.start_time is None or unit is None else stream.start_time * unit


def _declared(container: InputContainer, stream: VideoStream, zero: Fraction) -> Fraction | None:
    unit, start = fraction(stream.time_base), _start(stream) or Fraction(0)
    if stream.duration and unit:
        return start + stream.duration * unit - zero
    words = stream.metadata.get("DURATION", "").split(":")  # Matroska
    try:
        hours, minutes, seconds = map(Fraction, words)
    except (ValueError, ZeroDivisionError):
        alone = len(container.streams) == 1 and container.duration
        return Fraction(container.duration, 1_000_000) if alone and container.duration else None
    return hours * 3600 + minutes * 60 + seconds - zero
