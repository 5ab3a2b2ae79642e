"""What the network takes of a style, in numpy: from a style file, a painting, or several of them (`impasto.fast.looks`)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from impasto.ladder import SMALLEST, fit, position, rung
from impasto.pictures import Still
from impasto.portable import colors, network
from impasto.portable.network import TAPS, Floats, planes, resized
from impasto.styles import remarks

NARROWEST = 16  # pixels that lite needs on the shorter side


@dataclass(frozen=True)
class Moments:
    """Of one tap. mean: K; covariance: KxK."""

    mean: Floats
    covariance: Floats


Look = Mapping[str, Moments]


class Style:
    """palette: 7x256, the colors along seven directions, sorted. tuning: an addition to every modulation, or None.

    longest: the longest side in pixels for which it says more than at smaller ones.
    """

    palette: Floats
    tuning: Floats | None = None
    longest: float

    def notes_at(self, sides: Sequence[float]) -> tuple[str, ...]:
        """Notes for the user about a use at these longer sides, in pixels."""
        return ()

    def at(self, number: int) -> Look:
        """The moments on rung `number` of the ladder of scales."""
        raise NotImplementedError

    def look(self, longer: float) -> Look:
        """The moments at a longer side of `longer` pixels; between two rungs those of both together."""
        place = position(min(longer, self.longest))
        below, share = math.floor(place), place - math.floor(place)
        return mixed([(self.at(below), 1 - share), (self.at(below + 1), share)] if share else [(self.at(below), 1.0)])


class Stored(Style):
    """The style in a style file.

    looks: on every rung stored for the network; rungs: for which the file was made. longest: see `Style`.
    """

    def __init__(
        self,
        name: str,
        palette: Floats,
        looks: Mapping[int, Look],
        rungs: Collection[int],
        longest: float,
        tuning: Floats | None,
    ) -> None:
        self.name, self.palette, self.looks, self.rungs = name, palette, looks, rungs
        self.longest, self.tuning = longest, tuning

    def notes_at(self, sides: Sequence[float]) -> tuple[str, ...]:
        """See `Style.notes_at`."""
        return remarks.of_stored(self.name, self.rungs, sides)

    def at(self, number: int) -> Look:
        """See `Style.at`: those of the nearest rung stored."""
        return self.looks[min(self.looks, key=lambda stored: abs(stored - number))]


class Painted(Style):
    """The style of a painting, which is analyzed when it is first asked for."""

    def __init__(self, painting: Still) -> None:
        self.size, self.painting = painting.size, planes(painting.color)
        self.palette = colors.palette_of(self.painting)
        self.longest = max(*self.size, SMALLEST)
        self._known: dict[int, Look] = {}

    def notes_at(self, sides: Sequence[float]) -> tuple[str, ...]:
        """See `Style.notes_at`."""
        return remarks.of_painting(self.size, sides)

    def at(self, number: int) -> Look:
        """See `Style.at`."""
        if number not in self._known:
            height, width = self.size
            needed = math.ceil(NARROWEST * max(height, width) / min(height, width))
            size = fit((height, width), max(rung(number), needed))
            self._known[number] = look_of(network.run("moments", painting=resized(self.painting, size)))
        return self._known[number]


class Blend(Style):
    """Several styles at once. parts: (style, weight); the weights sum to 1."""

    def __init__(self, parts: Sequence[tuple[Style, float]]) -> None:
        self.parts = tuple(parts)
        self.palette = _sum((style.palette, share) for style, share in parts)
        tuned = [(style.tuning, share) for style, share in parts if style.tuning is not None]
        self.tuning = _sum(tuned) if tuned else None

    def notes_at(self, sides: Sequence[float]) -> tuple[str, ...]:
        """The notes of all parts."""
        return tuple(note for style, _ in self.parts for note in style.notes_at(sides))

    def look(self, longer: float) -> Look:
        """The moments of all parts together."""
        return mixed([(style.look(longer), share) for style, share in self.parts])


def look_of(values: Sequence[Floats]) -> Look:
    """A look of a mean and a covariance for each of the TAPS."""
    return {tap: Moments(*pair) for tap, pair in zip(TAPS, zip(values[::2], values[1::2], strict=True), strict=True)}


def mixed(parts: Sequence[tuple[Look, float]]) -> Look:
    """The moments of positions of which a share has each look. The shares sum to 1."""
    if len(parts) == 1:
        return parts[0][0]
    found = {}
    for tap in TAPS:
        known = [(look[tap], share) for look, share in parts]
        mean = _sum((one.mean, share) for one, share in known)
        square = _sum((one.covariance + np.outer(one.mean, one.mean), share) for one, share in known)
        found[tap] = Moments(mean, square - np.outer(mean, mean))
    return found


def _sum(parts: Iterable[tuple[Floats, float]]) -> Floats:
    """The sum of arrays with weights."""
    return np.asarray(sum(values * np.float32(weight) for values, weight in parts), np.float32)
