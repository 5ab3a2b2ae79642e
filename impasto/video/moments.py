"""The frames of a clip as painters get them, with cuts found, and what painters give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from impasto.video import flow
from impasto.video.flow import Motion

CUT_COLORS = 0.35  # share of the pixels that have other colors after a cut than before, at least
CUT_RELIABLE = 0.35  # share of the pixels whose flow can be relied on across a cut, at most
BINS = 8  # of each color in the histogram


@dataclass(frozen=True)
class Moment:
    """A frame to be painted.

    number: in the clip, from 0. pixels: 1x3xHxW in 0..1, at the result's size. share: how far the clip is there, 0..1. masks: of the
    layers, 1x1xhxw in 0..1. gray: what flow is found on. cut: whether nothing before it shows the same scene.
    """

    number: int
    pixels: Tensor
    share: float
    masks: tuple[Tensor, ...]
    gray: Any
    cut: bool

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.pixels.shape[-2]), int(self.pixels.shape[-1])

    def motion_from(self, earlier: Moment) -> Motion:
        """The motion from an earlier frame to this one."""
        return flow.motion(earlier.gray, self.gray, self.size)


@dataclass(frozen=True)
class Painted:
    """A painted frame.

    image: 1x3xHxW, in whole levels of 1/255, so that a result that was stored is the result. needs: number of the earliest frame that
    painting the next ones needs, with its result.
    """

    number: int
    image: Tensor
    needs: int


Kept = Callable[[int], "Tensor | None"]  # a frame's number -> its result if there is one already


class Painter(Protocol):
    """Paints a clip."""

    def paint(self, moments: Iterator[Moment], kept: Kept) -> Iterator[Painted]:
        """Paint the frames, in any order. Results that `kept` has are yielded again, and not painted again."""
        ...


def in_levels(image: Tensor) -> Tensor:
    """An image in whole levels of 1/255."""
    return (image.clamp(0, 1) * 255).round() / 255


def moments(frames: Iterable[tuple[int, Tensor, float, tuple[Tensor, ...]]]) -> Iterator[Moment]:
    """The moments of (number, pixels, share, masks) in order. The first one counts as a cut."""
    before: Moment | None = None
    for number, pixels, share, masks in frames:
        gray = flow.gray(pixels)
        cut = before is None or is_cut(before, pixels, gray)
        before = Moment(number, pixels, share, masks, gray, cut)
        yield before


def is_cut(before: Moment, pixels: Tensor, gray: Any) -> bool:
    """Whether a frame shows another scene than the one before: most colors differ, and no motion leads from one to the other."""
    if before.gray.shape != gray.shape:
        return True
    if color_change(before.pixels, pixels) < CUT_COLORS:
        return False
    return float(flow.motion(before.gray, gray, gray.shape).reliable.mean()) < CUT_RELIABLE


def color_change(before: Tensor, now: Tensor) -> float:
    """The share of pixels, 0..1, whose colors are in one frame and not in the other: half the L1 distance of their histograms."""
    one, other = (_histogram(pixels) for pixels in (before, now))
    return float(abs(one - other).sum() / 2)


def _histogram(pixels: Tensor) -> Any:
    cells = (pixels[0].clamp(0, 1) * (BINS - 1)).round().long()
    index = (cells[0] * BINS + cells[1]) * BINS + cells[2]
    counts = np.bincount(index.flatten().numpy(), minlength=BINS**3).astype(np.float32)
    return counts / counts.sum()
