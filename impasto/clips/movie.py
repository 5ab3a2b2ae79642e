"""Video files: which stream is the video, how its frames become pictures, and when each appears."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto import files
from impasto.clips.container import fraction, library, opened
from impasto.clips.drawing import Drawing, Turn, turn_of
from impasto.clips.scan import Scan, is_partial, scanned
from impasto.clips.window import Moment, nothing
from impasto.errors import PictureError
from impasto.ladder import Size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_USUAL_RATE = Fraction(25)  # of a clip that states none and has one frame
_WIDEST_PIXEL = 8  # a sample aspect ratio beyond it, or below its inverse, is a mistake
_SLACK = Fraction(1, 4)  # seconds that a stated duration may exceed what is there


@dataclass(frozen=True)
class Facts:
    """What opening a video file tells.

    index: of the video stream. zero: where the clip's clock is 0, in seconds of the file's clock. size: (height, width), upright, with
    square pixels. coded: (height, width) as stored. sound: index of its stream, or None. declared: when the video ends on the clip's
    clock by the file's own words; None if it does not say.
    """

    index: int
    codec: str
    time_base: Fraction
    zero: Fraction
    size: Size
    coded: Size
    turn: Turn
    rate: Fraction
    sound: int | None
    declared: Fraction | None


class Movie:
    """A video file as a source of moments. notes: for the user, without the file's name; some are found while decoding."""

    def __init__(self, path: Path, max_pixels: int) -> None:
        """Read the facts and decode the first frame. Raises PictureError, and UsageError without the video extra."""
        self.path, self.max_pixels = path, max_pixels
        self.notes = list[str]()
        with opened(path) as container:
            self.facts = self._facts(container)

    @property
    def size(self) -> Size:
        """(height, width), upright, with square pixels."""
        return self.facts.size

    @property
    def rate(self) -> Fraction:
        """Frames a second on average."""
        return self.facts.rate

    @property
    def time_base(self) -> Fraction:
        """The unit of the file's times in seconds."""
        return self.facts.time_base

    @property
    def has_sound(self) -> bool:
        """Whether there is a track of sound that can be decoded."""
        return self.facts.sound is not None

    # -------------------------------------------------------------------------------------------------------------- facts

    def _facts(self, container: InputContainer) -> Facts:
        stream = self._video(container)
        context = stream.codec_context
        self._check_size((context.height, context.width))
        sound = self._sound(container)
        tb = fraction(stream.time_base) or Fraction(1, 90000)
        frame = self._first(container, stream)
        ratio = fraction(stream.sample_aspect_ratio) or Fraction(1)
        if not Fraction(1, _WIDEST_PIXEL) <= ratio <= _WIDEST_PIXEL:
            ratio = Fraction(1)
        turn, zero = turn_of(frame), self._zero(stream, sound)
        shape = frame.height, max(1, round(frame.width * ratio))
        self._check_size(shape)
        if ratio != 1:
            self._note(
                f"has pixels that are not square and is shown as {shape[1]}x{shape[0]}, not {frame.width}x{frame.height}"
            )
        if frame.interlaced_frame:
            self._note("is interlaced, and its two fields are not taken apart")
        return Facts(
            stream.index,
            context.name,
            tb,
            zero,
            turn.applied(shape),
            (frame.height, frame.width),
            turn,
            fraction(stream.average_rate) or fraction(stream.guessed_rate) or _USUAL_RATE,
            None if sound is None else sound.index,
            _declared(container, stream, zero),
        )

    def _video(self, container: InputContainer) -> VideoStream:
        """The first video that is no cover picture."""
        import av

        covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        streams = [stream for stream in container.streams.video if not stream.disposition & covers]
        if not streams:
            raise self._refusal("has only sound and no video" if container.streams.audio else "holds no video")
        stream = streams[0]
        if stream.codec_context is None:
            raise self._refusal("is in a video format that is not supported")
        if len(streams) > 1:
            self._note(f"has {len(streams)} video tracks; the first is used")
        for kind in ("data", "subtitle", "attachment"):
            count = sum(1 for other in container.streams if other.type == kind)
            if count:
                words = f"{count} {kind} tracks, which are" if count > 1 else f"a {kind} track, which is"
                self._note(f"has {words} left out")
        return stream

    def _sound(self, container: InputContainer) -> Stream | None:
        streams = container.streams.audio
        usable = [stream for stream in streams if stream.codec_context is not None and stream.codec_context.sample_rate]
        if len(streams) > len(usable):
            self._note("a track of sound that cannot be decoded is left out")
        if len(usable) > 1:
            self._note(f"has {len(usable)} tracks of sound; the first is used")
        return usable[0] if usable else None

    def _zero(self, video: VideoStream, sound: Stream | None) -> Fraction:
        starts = [_start(video) or Fraction(0)]
        if sound is not None:  # whose first samples may lie before 0: those that a decoder needs to settle
            starts.append(max(_start(sound) or Fraction(0), Fraction(0)))
        return min(starts)

    def _first(self, container: InputContainer, stream: VideoStream) -> VideoFrame:
        for _, frame in self._decoded(container, stream, None, facts=True):
            return frame
        raise self._refusal("no frame of it can be decoded")

    def _check_size(self, size: Size) -> None:
        if size[0] * size[1] > self.max_pixels:
            problem = f"{size[0] * size[1]:,} pixels, more than the limit of {self.max_pixels:,}"
            raise PictureError(f"clip {files.printable(self.path)}: {problem}", remedy="raise {max_pixels}")

    def _refusal(self, problem: str) -> PictureError:
        return PictureError(f"clip {files.printable(self.path)}: {problem}")

    def _note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes.append(text)

    # ------------------------------------------------------------------------------------------------------------- frames

    @functools.cached_property
    def scan(self) -> Scan:
        """What the packets say. Reads the file once, without decoding."""
        with opened(self.path) as container:
            found = scanned(container, container.streams[self.facts.index])  # type: ignore[arg-type]
        if found.varies:
            self._note("has a variable frame rate, which is kept")
        return found

    def times(self) -> Iterator[Moment]:
        """The moments without their pixels. Decodes only where packets do not tell."""
        if self.scan.exact:
            yield from self._placeholders(len(self.scan.ticks))
        else:
            for moment in self.moments(self.size):
                yield moment._replace(draw=nothing)

    def _placeholders(self, count: int) -> Iterator[Moment]:
        ticks = self.scan.ticks
        for place in range(count):
            after = ticks[place + 1] - ticks[place] if place + 1 < len(ticks) else self._last()
            yield Moment(self._seconds(ticks[place]), after * self.time_base, nothing)

    def _seconds(self, ticks: int) -> Fraction:
        return ticks * self.time_base - self.facts.zero

    def _last(self) -> int:
        """How long the last frame stays, in ticks."""
        return self.scan.last or self.scan.usual or max(1, round(1 / (self.rate * self.time_base)))

    def moments(self, size: Size, skip: int = 0) -> Iterator[Moment]:
        """All moments. size: (height, width) of the pixels. skip: so many need not be drawn, and cannot be."""
        start = self.scan.restart(skip) if skip else None
        drawing = Drawing(self.facts.turn, size)
        with opened(self.path) as container:
            if start is not None:
                wanted = self.scan.ticks[skip]
                decoded = self._decoded(container, container.streams[self.facts.index], start)
                later = (pair for pair in decoded if pair[0] >= wanted)
                first = next(later, None)
                if first is not None and first[0] == wanted:
                    yield from self._placeholders(skip)
                    yield from self._timed(first, later, drawing)
                    return
        with opened(self.path) as container:
            decoded = self._decoded(container, container.streams[self.facts.index], None)
            first = next(decoded, None)
            if first is not None:
                yield from self._timed(first, decoded, drawing)

    def _timed(
        self, first: tuple[int, VideoFrame], others: Iterator[tuple[int, VideoFrame]], drawing: Drawing
    ) -> Iterator[Moment]:
        ticks, frame = first
        for after, following in others:
            yield self._moment(ticks, after - ticks, frame, drawing)
            ticks, frame = after, following
        yield self._moment(ticks, self._last(), frame, drawing)
        self._note_end(ticks + self._last())

    def _moment(self, ticks: int, duration: int, frame: VideoFrame, drawing: Drawing) -> Moment:
        if (frame.height, frame.width) != self.facts.coded:
            self._check_size((frame.height, frame.width))
            if not any(note.startswith("changes its size") for note in self.notes):
                self._note(f"changes its size at {float(self._seconds(ticks)):.2f} s; later frames are resized to the first's")
        self._note(drawing.coding(frame).note)
        return Moment(self._seconds(ticks), duration * self.time_base, functools.partial(drawing.pixels, frame))

    def _note_end(self, end: int) -> None:
        there, declared = self._seconds(end), self.facts.declared
        if declared is not None and there + _SLACK < declared:
            self._note(f"is cut off: its pictures end at {float(there):.2f} s of {float(declared):.2f} s")
        elif self.scan.broken:
            self._note(f"is cut off: its pictures end at {float(there):.2f} s")

    def _decoded(
        self, container: InputContainer, stream: Any, start: int | None, *, facts: bool = False
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their ticks, ascending. start: ticks of a key frame."""
        av = library()
        if not facts:  # one frame needs no threads, which take a moment to stop
            stream.thread_type = "AUTO"
        if start is not None:
            container.seek(start, stream=stream)
        previous: int | None = None
        damaged = 0
        for packet in self._packets(container, stream):
            try:
                frames = stream.decode(packet)
            except av.error.DecoderNotFoundError as error:
                raise self._refusal("is in a video format that is not supported") from error
            except (av.error.FFmpegError, MemoryError):
                damaged += 1
                continue
            for frame in frames:
                ticks = frame.pts
                if ticks is None:
                    ticks = 0 if previous is None else previous + (frame.duration or self._last())
                if previous is not None and ticks <= previous:
                    self._note("has frames whose times do not increase; they are left out")
                    continue
                previous = ticks
                yield ticks, frame
        if damaged and not facts:
            self._note(f"{damaged} damaged part{'s' if damaged > 1 else ''} of it could not be decoded")

    def _packets(self, container: InputContainer, stream: Any) -> Iterator[Any]:
        av = library()
        try:
            for packet in container.demux(stream):
                if packet.has_sidedata("encryption_info"):
                    raise self._refusal("is encrypted")
                if not is_partial(packet, container.format.name):
                    yield packet if packet.size else None
        except (av.error.FFmpegError, OSError):  # cut off
            yield None


def _start(stream: Stream) -> Fraction | None:
    tb = fraction(stream.time_base)
    return None if stream.start_time is None or tb is None else stream.start_time * tb


def _declared(container: InputContainer, stream: VideoStream, zero: Fraction) -> Fraction | None:
    tb, start = fraction(stream.time_base), _start(stream) or Fraction(0)
    if stream.duration and tb:
        return start + stream.duration * tb - zero
    words = stream.metadata.get("DURATION", "").split(":")  # Matroska
    try:
        hours, minutes, seconds = map(Fraction, words)
    except ValueError:
        alone = len(container.streams) == 1 and container.duration
        return Fraction(container.duration, 1_000_000) if alone and container.duration else None
    return hours * 3600 + minutes * 60 + seconds - zero
