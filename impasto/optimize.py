"""The engine: minimize an objective over an image, scale by scale, as an iterator of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from impasto.errors import DivergenceError
from impasto.ladder import Scale, Size, share_done
from impasto.lbfgs import LBFGS, Memory, Metric, Pairs
from impasto.objective.evaluate import Evaluate

SURGE = 2.0  # a total this many times the lowest one means that a step went astray
WEIGHTS = {"content": "content_weight", "palette": "palette_weight", "variation": "tv_weight"}  # other losses: style_weight


@dataclass(frozen=True)
class Step:
    """Where a run is. The image is the best so far, never an unfinished one.

    count, of: number of this step in the whole run, from 1, and the number of steps of the run. scale, scales: the same for scales;
    step, steps: the same within the scale. losses: {name: weighted loss} of this step; total: their sum. done: share of the work, 0..1.
    image: 1x3xHxW float32 at the scale's size, not yet clamped to 0..1; it belongs to the engine, so copy it before changing it.
    """

    count: int
    of: int
    scale: int
    scales: int
    step: int
    steps: int
    losses: Mapping[str, float]
    total: float
    done: float
    image: Tensor = field(compare=False)  # tensors have no single answer to ==


@dataclass(frozen=True)
class Ahead:
    """What the next step at a scale needs. image: what it evaluates, 1x3xHxW."""

    image: Tensor
    memory: Memory


@dataclass(frozen=True)
class State:
    """All that the engine knows after a step, so that it can resume as if it had never stopped.

    scale, step: from 1, as in Step. losses: of that step. best: 1x3xHxW, and lowest, its total. ahead: None after the last step of a
    scale, since the next scale does not need it; elsewhere None means to start afresh from the best image, which differs slightly.
    """

    step: int
    losses: Mapping[str, float]
    best: Tensor
    lowest: float
    ahead: Ahead | None
    scale: int = 1

    def at(self, scales: Sequence[Scale]) -> Step:
        """The step it was taken after. scales: those of the run."""
        count = sum(scale.steps for scale in scales[: self.scale - 1]) + self.step
        return Step(
            count=count,
            of=sum(scale.steps for scale in scales),
            scale=self.scale,
            scales=len(scales),
            step=self.step,
            steps=scales[self.scale - 1].steps,
            losses=self.losses,
            total=sum(self.losses.values()),
            done=share_done(scales, self.scale, self.step),
            image=self.best,
        )


def coarse_to_fine(
    start: Tensor,
    scales: Sequence[Scale],
    objective_at: Callable[[Size], Evaluate],
    enlarge: Callable[[Tensor, Size], Tensor],
    *,
    metric_at: Callable[[Size], Metric | None] = lambda size: None,
    pairs_at: Callable[[Size], Pairs | None] = lambda size: None,
    state: State | None = None,
    keep: Callable[[State], object] = lambda state: None,
) -> Iterator[Step]:
    """Minimize at each scale in turn. Each scale starts from the enlarged result of the one before.

    start: 1x3xHxW at the first scale's size. objective_at: makes the objective of a size. metric_at, pairs_at: what L-BFGS starts from
    at a size, and where it keeps its pairs; None for the identity, and for memory. state: of an earlier run of the same scales, to
    resume from. keep: receives the state before each Step is yielded. Yields a Step after every evaluation.
    Raises DivergenceError when the objective is no longer finite; the steps before stay valid.
    """
    image, done = (state.best, (state.scale, state.step)) if state else (start, (0, 0))
    del start
    for number, scale in enumerate(scales, start=1):
        if (number, scale.steps) <= done:
            continue
        here = state if state and number == state.scale else None
        first = image if here else enlarge(image, scale.size)
        steps = minimize(objective_at(scale.size), first, scale.steps, here, metric_at(scale.size), pairs_at(scale.size))
        del here, first  # of a large image every copy counts, and so do those of a state that the run resumed from
        state = None
        for now in steps:
            latest, image = replace(now, scale=number), now.best
            keep(latest)
            yield latest.at(scales)


def minimize(
    objective: Evaluate,
    start: Tensor,
    steps: int,
    state: State | None = None,
    metric: Metric | None = None,
    pairs: Pairs | None = None,
) -> Iterator[State]:
    """Yield the state after each of `steps` evaluations of the objective.

    start: 1x3xHxW, not changed. state: where to resume, whose best image is `start`. metric, pairs: see `LBFGS`.
    Raises DivergenceError at the first loss or gradient that is not finite.
    """
    image = start.detach().contiguous()
    lbfgs = LBFGS(image.shape, metric=metric, store=pairs)
    best, lowest = image, math.inf
    if state and state.ahead:
        best, lowest, image = state.best, state.lowest, state.ahead.image
        lbfgs.recall(state.ahead.memory)
    first = state.step + 1 if state else 1
    del start, state  # what they hold is soon replaced, and of a large image every copy counts
    for step in range(first, steps + 1):
        losses, gradient = objective(image)
        total = sum(losses.values())
        if not (math.isfinite(total) and bool(gradient.isfinite().all())):
            raise _divergence(losses, step)
        if total < lowest:
            best, lowest = image, total
        elif total > SURGE * lowest:
            # no line search guards the steps: go back to the best image and forget the curvature that misled us
            # (evaluating there again costs the time of a step, seldom; keeping its gradient would cost memory, always)
            image, lbfgs = best, LBFGS(image.shape, lbfgs.first / 2, metric, pairs)
            _, gradient = objective(image)
        if step < steps:  # before the yield: all that the next step needs is then known, wherever it is interrupted
            image = lbfgs.move(image, gradient).add_(image)
        yield State(step, losses, best, lowest, Ahead(image, lbfgs.memory()) if step < steps else None)


def _divergence(losses: Mapping[str, float], step: int) -> DivergenceError:
    """Name the loss that is not finite, or the largest one if only the gradient is not."""
    name = next((name for name, loss in losses.items() if not math.isfinite(loss)), max(losses, key=lambda name: losses[name]))
    weight = WEIGHTS.get(name, "style_weight")
    return DivergenceError(f"the {name} loss diverged at step {step} of this scale", remedy=f"try a smaller {{{weight}}}")
