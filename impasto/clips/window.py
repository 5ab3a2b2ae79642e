"""Which part of a clip is read, and how often: from the moments of a source to the frames that a caller gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from impasto.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

FASTEST = 1000  # frames a second that may be asked for

Draw: TypeAlias = "Callable[[], Tensor]"


@dataclass(frozen=True)
class Window:
    """A part of a clip and its rate.

    start, end: seconds on the clip's own clock, on which the clip starts at 0. Frames that appear from start on and before end are
        kept; None for the clip's own start and end.
    fps: frames a second; None keeps the times of the source. For a folder, which has no times, it is the rate of its images.
    every: keeps one of so many frames, after fps. A kept frame stays until the next one.

    Raises OptionError.
    """

    start: Fraction | None = None
    end: Fraction | None = None
    fps: Fraction | None = None
    every: int = 1

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise OptionError(f"must be at least 0 seconds, not {float(value):g}", option=name)
        if self.end is not None and self.end <= (self.start or 0):
            raise OptionError(f"must be after the start of {float(self.start or 0):g} s, not {float(self.end):g}", option="end")
        if self.fps is not None and not 0 < self.fps <= FASTEST:
            raise OptionError(
                f"must be more than 0 and at most {FASTEST} frames a second, not {float(self.fps):g}", option="fps"
            )
        if self.every < 1:
            raise OptionError(f"must be at least 1, not {self.every}", option="every")


WHOLE = Window()


@dataclass(frozen=True)
class Frame:
    """One frame of a window.

    number: from 0, among the frames of the window.
    time: seconds since the first frame of the window appeared; frame 0 has 0.
    duration: seconds until the next frame; of the last one by the container, or the usual spacing.
    pixels: 1x3xHxW float32, sRGB (BT.709) display values in [0, 1], upright, with square pixels. Two frames may share one tensor.
    """

    number: int
    time: Fraction
    duration: Fraction
    pixels: Tensor


class Moment(NamedTuple):
    """A frame of a source. time: seconds on the clip's clock. duration: seconds. draw: makes its pixels, 1x3xHxW."""

    time: Fraction
    duration: Fraction
    draw: Draw


class Pick(NamedTuple):
    """A moment that a window keeps.

    number, time, duration: as in `Frame`. place: of the moment in its source, from 0. start: when frame 0 appears on the clip's clock,
    in seconds.
    """

    number: int
    place: int
    time: Fraction
    duration: Fraction
    start: Fraction
    draw: Draw


class _Shown(NamedTuple):
    place: int
    time: Fraction
    duration: Fraction
    draw: Draw


def nothing() -> Tensor:
    """The `draw` of a moment that nobody looks at."""
    raise RuntimeError("this moment has no pixels")


def picked(moments: Iterable[Moment], window: Window) -> Iterator[Pick]:
    """The moments that a window keeps, one at a time. moments: in the order of their times; none is drawn.

    With `fps`, frame k shows the last moment that begins before (k + 1/2) / fps, so that times rounded to milliseconds do not double
    or drop a frame.
    """
    shown = _within(moments, window)
    if window.fps is not None:
        shown = _at_rate(shown, window.fps)
    start: Fraction | None = None
    for number, moment in enumerate(_every(shown, window.every)):
        start = moment.time if start is None else start
        yield Pick(number, moment.place, moment.time - start, moment.duration, start, moment.draw)


def _within(moments: Iterable[Moment], window: Window) -> Iterator[_Shown]:
    for place, (time, duration, draw) in enumerate(moments):
        if window.start is not None and time < window.start:
            continue
        if window.end is not None and time >= window.end:
            return
        yield _Shown(place, time, duration if window.end is None else min(duration, window.end - time), draw)


def _at_rate(shown: Iterable[_Shown], fps: Fraction) -> Iterator[_Shown]:
    held: _Shown | None = None
    start, slot, end = Fraction(0), 0, Fraction(0)
    for moment in shown:
        start = moment.time if held is None else start
        next_slot = rounded((moment.time - start) * fps)
        if held is not None:
            yield from _repeated(held, range(slot, next_slot), start, fps)
        held, slot, end = moment, next_slot, moment.time + moment.duration
    if held is not None:
        yield from _repeated(held, range(slot, max(rounded((end - start) * fps), 0 if slot else 1)), start, fps)


def _repeated(held: _Shown, slots: range, start: Fraction, fps: Fraction) -> Iterator[_Shown]:
    drawn: list[Tensor] = []

    def draw() -> Tensor:
        if not drawn:
            drawn.append(held.draw())
        return drawn[0]

    for slot in slots:
        yield _Shown(held.place, start + slot / fps, 1 / fps, draw)


def _every(shown: Iterable[_Shown], every: int) -> Iterator[_Shown]:
    held: _Shown | None = None
    for number, moment in enumerate(shown):
        if number % every == 0:
            if held is not None:
                yield held
            held = moment
        elif held is not None:
            held = held._replace(duration=moment.time + moment.duration - held.time)
    if held is not None:
        yield held


def rounded(value: Fraction) -> int:
    """The nearest integer; halves go up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)
