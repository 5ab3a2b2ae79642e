"""How consistent a clip is over time: the warping error (Lai et al. 2018, "Learning Blind Video Temporal Consistency", section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, from_numpy

from impasto.video.flow import Floats, coordinates, warped

Back = Callable[[int, int], tuple[Floats, Floats]]  # frame and earlier frame -> flow to it, HxWx2, and where it holds, HxW


def warping_error(frames: Sequence[Tensor], back: Back, distance: int = 1) -> float:
    """The mean squared difference between frames and the ones `distance` before them, warped to them, where the flow holds.

    frames: 1x3xHxW, 0..1. back: the flow. It is averaged over the pixels of each pair, then over pairs. A pair of which nothing holds
    is left out; without any pair the error is 0.
    """
    errors = []
    for number in range(distance, len(frames)):
        flow, holds = back(number, number - distance)
        mask = from_numpy(holds)
        if float(mask.sum()) > 0:
            away = (frames[number] - warped(frames[number - distance], coordinates(flow))).square().mean((0, 1))
            errors.append(float((away * mask).sum() / mask.sum()))
    return sum(errors) / len(errors) if errors else 0.0
