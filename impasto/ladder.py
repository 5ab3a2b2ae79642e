"""The ladder of scales: the sizes an image is optimized at, and how the steps are shared among them.

Rung 0 has a longer side of 128 pixels, and every rung has twice the pixels of the one below: 128, 181, 256, 362, 512, ... Styles are
taken and stored on these rungs, so that a stored style and its painting give the same targets. Images are optimized on every second
rung.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile

from impasto.errors import OptionError

Size = tuple[int, int]  # (height, width) in pixels

COARSEST = 128  # longer side in pixels of rung 0
RATIO = math.sqrt(2)  # between neighboring rungs
SMALLEST = 64  # longer side in pixels of the smallest rung at which a style is taken and stored
ON_A_RUNG = 0.01  # of the distance between rungs: 181 pixels count as rung 1, which lies at 181.02
SCALES = 3  # of a run: with more, the few steps at the last ones leave dots and a grid in large images
FROM_INSTANT = 2  # scales of a run that starts from the network's result, which has its large forms already
LEAST_STEPS = 2  # at a scale: the first step only evaluates
COARSEST_LEVEL = 96  # pixels: least longer side of the first level of quality "instant"; the largest is twice that
STEP_OVERHEAD = 10_000  # pixels that could be computed in the time a step takes to start


def rung(number: int) -> int:
    """The longer side in pixels of a rung: 128, 181, 256, 362, 512, ... from 0; 91, 64, ... below."""
    return max(1, round(COARSEST * RATIO**number))


def position(longer: float) -> float:
    """Where a longer side of `longer` pixels lies on the ladder, in rungs: 4.0 for 512 pixels."""
    found = math.log(longer / COARSEST, RATIO)
    return float(round(found)) if abs(found - round(found)) < ON_A_RUNG else found


def longer_sides(longest: int, first: int | None = None, most: int = SCALES) -> list[int]:
    """The longer sides of a run's scales, from coarse to `longest` pixels: 128, 256, 512 for 512.

    Large forms and the palette settle at the first ones. The last one below `longest` is left out if it is nearer than a rung.
    first: the smallest side that is wanted; None for the last `most` of them.
    """
    sides = [*takewhile(lambda side: side * RATIO < longest, map(rung, count(step=2))), longest]
    return sides[-most:] if first is None else [side for side in sides if side >= min(first, longest)]


def fit(size: Size, longer: int) -> Size:
    """The (height, width) nearest to size's aspect ratio whose longer side is `longer`; no side is below 1.

    Raises OptionError when `longer` is below 1.
    """
    if longer < 1:
        raise OptionError(f"the longer side must be at least 1 pixel, not {longer}")
    height, width = size
    long = max(height, width)
    scaled_height, scaled_width = (max(1, (2 * side * longer + long) // (2 * long)) for side in (height, width))
    return scaled_height, scaled_width


def level_sizes(size: Size) -> list[Size]:
    """The sizes of the levels of quality "instant", each twice the one below, up to (height, width)."""
    longer = [max(size)]
    while longer[-1] >= 2 * COARSEST_LEVEL:
        longer.append(longer[-1] // 2)
    return [fit(size, side) for side in reversed(longer)]


@dataclass(frozen=True)
class Scale:
    """One scale of a run: the image's size there and the number of steps.

    work: pixels a step computes where these are not the image's own, as in blocks (`compute.memory.Plan`).
    """

    size: Size
    steps: int
    work: float | None = None

    @property
    def cost(self) -> float:
        """The time of a step, in pixels: those it computes, and a fixed part that matters for small images."""
        return (math.prod(self.size) if self.work is None else self.work) + STEP_OVERHEAD


def schedule(sizes: Sequence[Size], iterations: int) -> list[Scale]:
    """Share `iterations` among scales in proportion to longer side ** -1/4, LEAST_STEPS at least: more where a step is cheap.

    sizes: from coarse to fine. If there are too few steps for all, the coarsest scales are left out; a single step makes one scale.
    """
    sizes = sizes[-max(1, iterations // LEAST_STEPS) :]
    least = min(iterations, LEAST_STEPS)
    extra = iterations - least * len(sizes)
    shares = [max(size) ** -0.25 for size in sizes]
    steps = [least + math.floor(extra * share / sum(shares)) for share in shares]
    left = iterations - sum(steps)  # fewer than one per scale: the coarsest scales get them
    return [Scale(size, number + (i < left)) for i, (size, number) in enumerate(zip(sizes, steps, strict=True))]


def share_done(scales: Sequence[Scale], number: int, step: int) -> float:
    """The share of the whole work, 0..1, after a step of the scale of this number, both counted from 1."""
    work = [scale.steps * scale.cost for scale in scales]
    return (sum(work[: number - 1]) + step * scales[number - 1].cost) / sum(work)
