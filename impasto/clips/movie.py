"""Video files as a source of moments."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.clips.container import opened
from impasto.clips.decode import Ticked, decoded
from impasto.clips.drawing import Drawing, has_alpha
from impasto.clips.facts import read_facts
from impasto.clips.notes import Notes, check_size
from impasto.clips.scan import Scan, scanned
from impasto.clips.window import Moment, nothing
from impasto.ladder import Size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

_SLACK = Fraction(1, 4)  # seconds that a stated duration may exceed what is there


class Movie:
    """A video file. facts: what opening it told. notes: for the user, without the file's name; some are found while decoding."""

    def __init__(self, path: Path, max_pixels: int) -> None:
        """Read the facts and decode the first frame. Raises PictureError, and UsageError without the video extra."""
        self.path, self.max_pixels = path, max_pixels
        self.notes = Notes()
        with opened(path) as container:
            self.facts = read_facts(path, container, self.notes, max_pixels)

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

    @functools.cached_property
    def scan(self) -> Scan:
        """What the packets say. Reads the file once, without decoding."""
        with opened(self.path) as container:
            found = scanned(container, container.streams.video[self._place(container)])
        if found.varies:
            self.notes.add("has a variable frame rate, which is kept")
        return found

    def _place(self, container: InputContainer) -> int:
        """The video's number among the video streams."""
        return [stream.index for stream in container.streams.video].index(self.facts.video)

    def times(self) -> Iterator[Moment]:
        """The moments without their pixels. Decodes only where packets do not tell."""
        if self.scan.exact:
            yield from self._placeholders(len(self.scan.ticks))
        else:
            for moment in self.moments(self.size):
                yield moment._replace(draw=nothing)

    def moments(self, size: Size, skip: int = 0) -> Iterator[Moment]:
        """All moments. size: (height, width) of the pixels. skip: so many need not be drawn, and cannot be."""
        drawing = Drawing(self.facts.turn, size)
        start = self.scan.restart(skip) if skip else None
        if start is not None:
            with opened(self.path) as container:
                wanted = self.scan.ticks[skip]
                later = (ticked for ticked in self._decoded(container, start) if ticked[0] >= wanted)
                first = next(later, None)
                if first is not None and first[0] == wanted:
                    yield from self._placeholders(skip)
                    yield from self._timed(first, later, drawing)
                    return
        with opened(self.path) as container:  # from the beginning
            frames = self._decoded(container, None)
            first = next(frames, None)
            if first is not None:
                yield from self._timed(first, frames, drawing)

    def _decoded(self, container: InputContainer, start: int | None) -> Iterator[Ticked]:
        stream = container.streams.video[self._place(container)]
        stream.thread_type = "AUTO"
        return decoded(self.path, container, stream, self.notes, start=start, usual=self._last())

    def _placeholders(self, count: int) -> Iterator[Moment]:
        ticks = self.scan.ticks
        for place in range(count):
            after = ticks[place + 1] - ticks[place] if place + 1 < len(ticks) else self._last()
            yield Moment(self._seconds(ticks[place]), after * self.time_base, nothing)

    def _timed(self, first: Ticked, others: Iterator[Ticked], drawing: Drawing) -> Iterator[Moment]:
        ticks, frame = first
        for after, following in others:
            yield self._moment(ticks, after - ticks, frame, drawing)
            ticks, frame = after, following
        yield self._moment(ticks, self._last(), frame, drawing)
        self._note_end(self._seconds(ticks + self._last()))

    def _moment(self, ticks: int, duration: int, frame: VideoFrame, drawing: Drawing) -> Moment:
        time = self._seconds(ticks)
        if (frame.height, frame.width) != self.facts.stored:
            check_size(self.path, (frame.height, frame.width), self.max_pixels)
            start = "changes its size at "
            self.notes.add(f"{start}{float(time):.2f} s; later frames are resized to the first's", once=start)
        self.notes.add(drawing.coding(frame).note)
        if has_alpha(frame.format):
            self.notes.add("is shown on white where it is transparent")
        return Moment(time, duration * self.time_base, functools.partial(drawing.pixels, frame))

    def _note_end(self, end: Fraction) -> None:
        declared = self.facts.declared
        if declared is not None and end + _SLACK < declared:
            self.notes.add(f"is cut off: its pictures end at {float(end):.2f} s of {float(declared):.2f} s")
        elif self.scan.broken:
            self.notes.add(f"is cut off: its pictures end at {float(end):.2f} s")

    def _seconds(self, ticks: int) -> Fraction:
        return ticks * self.time_base - self.facts.zero

    def _last(self) -> int:
        """How long the last frame stays, in ticks."""
        return self.scan.last or self.scan.usual or max(1, round(1 / (self.rate * self.time_base)))
