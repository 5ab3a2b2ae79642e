"""The three ways to paint a clip: by the network, by key frames, and every frame by the optimizer."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

from impasto.video import flow
from impasto.video.carry import backward, between, carried, composed, onward
from impasto.video.moments import Kept, Moment, Painted, Painter, in_levels
from impasto.video.stills import Stills
from impasto.video.temporal import Earlier, temporal_terms

FIRST_STEPS = 40  # of the optimizer, for a frame with nothing before it
DISTANCES = (1, 2, 4)  # frames back at which `EveryFrame` looks (Ruder et al. 2016, section 5)
TEMPORAL = 4000.0  # weight of the temporal loss
STEPS = 20  # of the optimizer, for such a frame, at half and full size
KEY_EVERY = 12  # frames
KEY_STEPS = 16  # the same for a key frame that follows another
BETWEEN_STEPS = 5  # for a frame between key frames, at full size
KEPT_SHARE = 0.8  # of the carried result in the network's, where it can be relied on
FINE, AROUND = 3.0, 6.0  # pixels: deviations of the Gaussians that part off detail, and average its energy
MOST_GAIN = 1.3  # of detail


class ByNetwork:
    """Every frame by the network, blended with the result before it where that can be relied on.

    Blending averages fine strokes that differ from frame to frame. So the detail of the blend gets the local energy of the network's
    own detail again.
    """

    def __init__(self, stills: Stills) -> None:
        self.stills = stills

    def paint(self, moments: Iterator[Moment], kept: Kept) -> Iterator[Painted]:
        """See `Painter`."""
        before: tuple[Moment, Tensor] | None = None
        for moment in moments:
            result = kept(moment.number)
            if result is None:
                result = self.stills.network(moment)
                if before is not None and not moment.cut:
                    course = onward(moment.motion_from(before[0]))
                    result = self.stills.finished(moment, _calmed(result, carried(*before, moment, course)))
                result = in_levels(result)
            yield Painted(moment.number, result, moment.number)
            before = moment, result


def _calmed(own: Tensor, earlier: Earlier) -> Tensor:
    """The network's result blended with the earlier one."""
    blend = torch.lerp(own, earlier.image, KEPT_SHARE * earlier.reliable)
    coarse, detail = _parted(blend)
    wanted = _energy(_parted(own)[1])
    gain = (wanted / _energy(detail).clamp_min(torch.finfo(own.dtype).eps)).sqrt().clamp(1, MOST_GAIN)
    return coarse + gain * detail


def _parted(image: Tensor) -> tuple[Tensor, Tensor]:
    coarse = flow.blurred(image, FINE)
    return coarse, image - coarse


def _energy(detail: Tensor) -> Tensor:
    return flow.blurred(detail.square().mean(1, keepdim=True), AROUND)


class KeyFrames:
    """Key frames by the optimizer, carried both ways to the frames between, which the optimizer then refines.

    Every dozenth frame is a key frame, and the last one before a cut. A key frame starts from the one before it, carried there, and is
    kept like it. What no carried result shows is painted by the network first.
    """

    def __init__(self, stills: Stills) -> None:
        self.stills = stills

    def paint(self, moments: Iterator[Moment], kept: Kept) -> Iterator[Painted]:
        """See `Painter`."""
        before: Painted | None = None  # the key frame that ended the last stretch
        for stretch in _stretches(moments):
            first = stretch[0]
            if before is None or before.number != first.number:
                start = kept(first.number)
                if start is None:
                    start = self.stills.optimized(first, iterations=FIRST_STEPS)
                before = Painted(first.number, start, first.number)
                yield before
            if len(stretch) > 1:
                for one in self._stretch(stretch, before.image, kept):
                    before = one if one.number == stretch[-1].number else before
                    yield one

    def _stretch(self, stretch: list[Moment], start: Tensor, kept: Kept) -> Iterator[Painted]:
        first, last = stretch[0], stretch[-1]
        motions = [later.motion_from(earlier) for earlier, later in itertools.pairwise(stretch)]
        ahead = composed([onward(motion) for motion in motions])
        back = composed([backward(motion) for motion in reversed(motions)])[::-1]
        end = kept(last.number)
        if end is None:
            end = self._key(last, carried(first, start, last, ahead[-1]))
        yield Painted(last.number, end, first.number)
        for place, moment in enumerate(stretch[1:-1], start=1):
            result = kept(moment.number)
            if result is None:
                both = carried(first, start, moment, ahead[place - 1]), carried(last, end, moment, back[place])
                result = self._between(moment, *both, place / (len(stretch) - 1))
            yield Painted(moment.number, result, last.number if moment is stretch[-2] else first.number)

    def _key(self, moment: Moment, earlier: Earlier) -> Tensor:
        start = torch.lerp(self.stills.network(moment), earlier.image, earlier.usable)
        terms = temporal_terms([earlier], TEMPORAL, self.stills.device)
        return self.stills.optimized(moment, start, terms, iterations=KEY_STEPS, init_size=half_of(moment))

    def _between(self, moment: Moment, first: Earlier, last: Earlier, share: float) -> Tensor:
        mean = between(first, last, share, self.stills.network(moment))
        terms = temporal_terms([mean], TEMPORAL, self.stills.device)
        return self.stills.optimized(moment, mean.image, terms, iterations=BETWEEN_STEPS, init_size=max(moment.size))


def _stretches(moments: Iterator[Moment]) -> Iterator[list[Moment]]:
    """The frames from one key frame to the next, both included. A key frame begins one stretch and ends another."""
    stretch = list[Moment]()
    for moment in moments:
        if stretch and moment.cut:
            yield stretch
            stretch = []
        stretch.append(moment)
        if len(stretch) > KEY_EVERY:
            yield stretch
            stretch = [moment]
    if stretch:
        yield stretch


class EveryFrame:
    """Every frame by the optimizer, from the result before it and kept like those 1, 2 and 4 frames back."""

    def __init__(self, stills: Stills) -> None:
        self.stills = stills

    def paint(self, moments: Iterator[Moment], kept: Kept) -> Iterator[Painted]:
        """See `Painter`."""
        before = deque[tuple[Moment, Tensor]](maxlen=max(DISTANCES))  # of this scene, the nearest first
        for moment in moments:
            if moment.cut:
                before.clear()
            result = kept(moment.number)
            if result is None:
                result = self._frame(moment, before)
            before.appendleft((moment, result))
            yield Painted(moment.number, result, before[-1][0].number)

    def _frame(self, moment: Moment, before: deque[tuple[Moment, Tensor]]) -> Tensor:
        if not before:
            return self.stills.optimized(moment, iterations=FIRST_STEPS)
        near = [before[distance - 1] for distance in DISTANCES if distance <= len(before)]
        earlier = [carried(other, result, moment, onward(moment.motion_from(other))) for other, result in near]
        start = torch.lerp(self.stills.network(moment), earlier[0].image, earlier[0].usable)
        terms = temporal_terms(earlier, TEMPORAL, self.stills.device)
        return self.stills.optimized(moment, start, terms, iterations=STEPS, init_size=half_of(moment))


def half_of(moment: Moment) -> int:
    """The longer side of the first of two scales."""
    return max(16, max(moment.size) // 2)


PAINTERS: dict[str, type[ByNetwork] | type[KeyFrames] | type[EveryFrame]] = {
    "instant": ByNetwork,
    "normal": KeyFrames,
    "best": EveryFrame,
}


def painter(quality: str, stills: Stills) -> Painter:
    """The painter of a quality."""
    return PAINTERS[quality](stills)
