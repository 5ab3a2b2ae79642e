"""The engine: minimise an objective over a picture with L-BFGS, scale by scale, as an iterator of steps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from impasto.errors import DivergenceError
from impasto.history import History
from impasto.styles.base import RATIO, rung

Size = tuple[int, int]  # (height, width) in pixels
Summands = Callable[[Tensor], Mapping[str, Tensor]]  # 1x3xHxW picture -> {name: scalar}; their sum is minimised
Metric = Callable[
    [Tensor], Tensor
]  # linear, symmetric and positive, from a gradient to a move, both 1x3xHxW; may overwrite the first

LEAST_STEPS = 2  # at a scale: the first step only looks
HISTORY = 10  # pairs L-BFGS keeps; 20 and 50 reach the same losses, to 1 percent, for more memory and time
FIRST_STEP = 0.01  # root mean square change of the picture, in its range 0..1, by a first step; with 0.02 many went uphill
LONGEST_STEP = 0.03  # by any step
SURGE = 2.0  # a total this many times the lowest one means that a step went astray
CURVATURE = 1e-9  # least cosine between a move and the change of gradient along it
STEP_OVERHEAD = 10_000  # pixels a step could have computed in the time it takes to start
TINY = 1e-30  # instead of a division by zero


@runtime_checkable
class Differentiated(Protocol):
    """An objective with a way of its own to its gradient, such as `blocks.Blockwise`."""

    def evaluate(self, picture: Tensor) -> tuple[dict[str, float], Tensor]:
        """The losses at a picture as numbers, and the gradient of their sum to it, 1x3xHxW."""


Objective: TypeAlias = Summands | Differentiated


@dataclass(frozen=True)
class Scale:
    """One stop on the way from coarse to fine: the picture's size there and the steps spent.

    work: pixels whose time a step takes where these are not the picture's, as in blocks (`devices.Plan`).
    """

    size: Size
    steps: int
    work: float | None = None

    @property
    def cost(self) -> float:
        """What a step takes, in pixels: those it computes, and a fixed part that small pictures feel."""
        return (math.prod(self.size) if self.work is None else self.work) + STEP_OVERHEAD


@dataclass(frozen=True)
class Step:
    """Where a run is. The picture is the best so far, never a half-made one.

    scale, scales: 1-based number of the scale, and how many there are. step, steps: the same within the scale.
    losses: {name: weighted loss} of this step; total: their sum. done: share of the whole work, 0..1.
    picture: 1x3xHxW float32 at the scale's size, not yet clamped to 0..1; the engine's own, so copy it before you change it.
    """

    scale: int
    scales: int
    step: int
    steps: int
    losses: Mapping[str, float]
    total: float
    done: float
    picture: Tensor


@dataclass(frozen=True)
class Memory:
    """What L-BFGS knows; the names are those of its attributes. Nobody changes these tensors, so that keeping them costs nothing.

    before: the last picture, 1x3xHxW, and the gradient there. scale: of gradients. pairs: as its `history` keeps them.
    """

    first: float
    scale: Tensor | None = None
    before: tuple[Tensor, Tensor] | None = None
    pairs: tuple[tuple[Tensor, Tensor, Tensor], ...] = ()


@dataclass(frozen=True)
class Ahead:
    """What the next step at a scale needs. picture: where it looks, 1x3xHxW."""

    picture: Tensor
    memory: Memory


@dataclass(frozen=True)
class State:
    """All that the engine knows after a step, so that it can go on as if it had never stopped.

    scale, step: 1-based, as in Step. losses: of that step. best: 1x3xHxW, and lowest, its total. ahead: None after the last step of a
    scale, which the next one does not need; elsewhere None means to start afresh from the best picture, which is not the same.
    """

    step: int
    losses: Mapping[str, float]
    best: Tensor
    lowest: float
    ahead: Ahead | None
    scale: int = 1

    def at(self, scales: Sequence[Scale]) -> Step:
        """The step it was taken after. scales: those of the run."""
        steps, total = scales[self.scale - 1].steps, sum(self.losses.values())
        done = share_done(scales, self.scale, self.step)
        return Step(self.scale, len(scales), self.step, steps, self.losses, total, done, self.best)


def forget(state: State) -> None:
    """What is done with a state that nobody wants."""


def schedule(sizes: Sequence[Size], iterations: int) -> list[Scale]:
    """Share `iterations` out among scales, in proportion to 1 / sqrt(longer side): more where a step is cheap, LEAST_STEPS at least.

    sizes: from coarse to fine. Where there are too few steps for all, the coarsest are left out; a single step makes one scale.
    """
    sizes = sizes[-max(1, iterations // LEAST_STEPS) :]
    least = min(iterations, LEAST_STEPS)
    extra = iterations - least * len(sizes)
    shares = [max(size) ** -0.5 for size in sizes]
    steps = [least + math.floor(extra * share / sum(shares)) for share in shares]
    left = iterations - sum(steps)  # less than one a scale: the coarsest get them
    return [Scale(size, number + (i < left)) for i, (size, number) in enumerate(zip(sizes, steps, strict=True))]


def longer_sides(longest: int) -> list[int]:
    """The scales' longer sides, from coarse to `longest` pixels: the ladder's rungs (`styles.rung`), then the size asked for.

    128, 181, 256, 362, 512 for 512. Large forms and the palette settle on the first. The last rung before `longest` is left out where
    it is nearer than half a step.
    """
    rungs = takewhile(lambda side: side * math.sqrt(RATIO) < longest, map(rung, count()))
    return [*rungs, longest]


def share_done(scales: Sequence[Scale], number: int, step: int) -> float:
    """Share of the whole work, 0..1, after a step at the scale of this number, both 1-based."""
    work = [scale.steps * scale.cost for scale in scales]
    return (sum(work[: number - 1]) + step * scales[number - 1].cost) / sum(work)


def coarse_to_fine(
    start: Tensor,
    scales: Sequence[Scale],
    objective_at: Callable[[Size], Objective],
    enlarge: Callable[[Tensor, Size], Tensor],
    *,
    metric_at: Callable[[Size], Metric | None] = lambda size: None,
    history_at: Callable[[Size], History | None] = lambda size: None,
    state: State | None = None,
    keep: Callable[[State], None] = forget,
) -> Iterator[Step]:
    """Minimise at each scale in turn; each starts from the enlarged result of the one before.

    start: 1x3xHxW at the first scale's size. objective_at: makes the objective of a size. Yields a Step after every evaluation.
    metric_at: what L-BFGS starts from at a size, in place of the identity. history_at: where it keeps its pairs there.
    state: of an earlier run of the same scales, to go on from. keep: is given the state before each Step is yielded.
    Raises DivergenceError when the objective is no longer finite; the steps before it stay valid.
    """
    picture, done = (state.best, (state.scale, state.step)) if state else (start, (0, 0))
    for number, scale in enumerate(scales, start=1):
        if (number, scale.steps) <= done:
            continue  # done before
        here = state if state and number == state.scale else None
        begin = picture if here else enlarge(picture, scale.size)
        steps = minimise(objective_at(scale.size), begin, scale.steps, here, metric_at(scale.size), history_at(scale.size))
        del here, begin  # of a large picture every copy counts, and so do those of a state that was gone on from
        state = None
        for now in steps:
            latest, picture = replace(now, scale=number), now.best
            keep(latest)
            yield latest.at(scales)


def descend(objective: Objective, start: Tensor, steps: int) -> Iterator[tuple[dict[str, float], Tensor]]:
    """Yield (losses, best picture so far) after each of `steps` evaluations of the objective; see `minimise`."""
    for state in minimise(objective, start, steps):
        yield dict(state.losses), state.best


def minimise(
    objective: Objective,
    start: Tensor,
    steps: int,
    state: State | None = None,
    metric: Metric | None = None,
    history: History | None = None,
) -> Iterator[State]:
    """Yield what is known after each of `steps` evaluations of the objective.

    start: 1x3xHxW, not changed. state: where to go on, its best picture being `start`. metric: what L-BFGS starts from;
    history: where it keeps its pairs.
    Raises DivergenceError at the first loss or gradient that is not finite.
    """
    picture = start.detach().contiguous()
    lbfgs = LBFGS(picture.shape, metric=metric, history=history)
    best, lowest = picture, math.inf
    if state and state.ahead:
        best, lowest, picture = state.best, state.lowest, state.ahead.picture
        lbfgs.recall(state.ahead.memory)
    first = state.step + 1 if state else 1
    del start, state  # what they hold is soon of the past, and of a large picture every copy counts
    for step in range(first, steps + 1):
        losses, gradient = evaluate(objective, picture)
        total = sum(losses.values())
        if not (math.isfinite(total) and bool(gradient.isfinite().all())):
            raise DivergenceError(_which_diverged(losses, step))
        if total < lowest:
            best, lowest = picture, total
        elif total > SURGE * lowest:
            # no line search watches over the steps: go back to the best picture and forget the curvature that misled us
            # (looking there again costs a step's time, seldom; its gradient kept would cost the room of a picture, always)
            picture, lbfgs = best, LBFGS(picture.shape, lbfgs.first / 2, metric, history)
            _, gradient = evaluate(objective, picture)
        if step < steps:  # before the yield: what the next step needs is then known whole, wherever it is interrupted
            picture = lbfgs.move(picture, gradient).add_(picture)
        yield State(step, losses, best, lowest, Ahead(picture, lbfgs.memory()) if step < steps else None)


def evaluate(objective: Objective, picture: Tensor) -> tuple[dict[str, float], Tensor]:
    """The losses at a picture as numbers, and the gradient of their sum to it, 1x3xHxW; by its own way, if the objective has one."""
    if isinstance(objective, Differentiated):
        return objective.evaluate(picture)
    losses, gradient = slope(objective, picture)
    return numbers(losses), gradient


def slope(objective: Summands, picture: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The losses at a picture, and the gradient of their sum to it, 1x3xHxW."""
    variable = picture.detach().requires_grad_()
    with torch.enable_grad():
        losses = objective(variable)
        (gradient,) = torch.autograd.grad(torch.stack(list(losses.values())).sum(), variable)
    return {name: loss.detach() for name, loss in losses.items()}, gradient


def numbers(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars as numbers, fetched from the device at once: every fetch waits for it."""
    return dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))


class LBFGS:
    """Limited-memory BFGS (Nocedal and Wright 2006, algorithm 7.4) with bounded steps in place of a line search.

    A line search spends evaluations, and each one costs as much as a step. Without it torch.optim.LBFGS may leap to 1e30 when the
    first curvature it sees is small, as a white-noise start shows; here no step changes the picture by more than LONGEST_STEP.
    shape: of the picture. first: length of the first step, whose scale the curvature cannot give yet. metric: the matrix that the
    approximation of the inverse Hessian starts from, but for a factor; None for the identity. history: where it keeps the pairs.
    """

    def __init__(
        self, shape: torch.Size, first: float = FIRST_STEP, metric: Metric | None = None, history: History | None = None
    ) -> None:
        self.shape = shape
        self.first = first
        self.metric = metric
        self.history = history or History()
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=HISTORY)  # (s, y, 1 / s.y): moves, changes of gradient
        self.before: tuple[Tensor, Tensor] | None = None
        self.scale = torch.ones(())

    def memory(self) -> Memory:
        """All it knows; `recall` gives it to another."""
        return Memory(self.first, self.scale, self.before, tuple(self.pairs))

    def recall(self, memory: Memory) -> None:
        """Know what another knew."""
        self.first, self.before = memory.first, memory.before
        self.scale = self.scale if memory.scale is None else memory.scale
        self.pairs.clear()
        self.pairs.extend(memory.pairs)

    def move(self, picture: Tensor, gradient: Tensor) -> Tensor:
        """The change to make to `picture`, given the gradient there; all three of the shape given.

        Of a large picture every copy counts: this makes one, and the change is it.
        """
        if (
            self.before is None
        ):  # the largest entry of the first gradient: losses of any magnitude keep float32's squares in range
            self.scale = gradient.abs().max().clamp_min(TINY)
        else:
            self._remember(picture, gradient, *self.before)
        self.before = picture, gradient
        change = (self._newton if self.pairs else self._first_change)(gradient.reshape(-1)).neg_()
        return change.mul_((LONGEST_STEP / length(change).clamp_min(TINY)).clamp_max(1)).reshape(self.shape)

    def _first_change(self, gradient: Tensor) -> Tensor:
        """Uphill in the metric, of the length wanted."""
        uphill = self._measured(gradient / self.scale)
        return uphill.mul_(self.first / length(uphill).clamp_min(TINY))

    def _measured(self, g: Tensor) -> Tensor:
        """The metric of g, which it may overwrite."""
        return g if self.metric is None else self.metric(g.reshape(self.shape)).reshape(-1)

    def _remember(self, picture: Tensor, gradient: Tensor, picture_before: Tensor, gradient_before: Tensor) -> None:
        """Keep a pair that shows positive curvature; another would make the direction point uphill."""
        keep, dot = self.history.keep, self.history.dot
        s, y = keep(picture, picture_before), keep(gradient, gradient_before, self.scale)
        curvature = dot(s, y)  # of what is kept, or rounding could turn uphill
        if curvature > CURVATURE * dot(s, s).sqrt() * dot(y, y).sqrt():
            self.pairs.append((s, y, 1 / curvature))

    def _newton(self, gradient: Tensor) -> Tensor:
        """H g of the scaled gradient g, where H approximates the inverse Hessian from the pairs: the two-loop recursion."""
        latest, over = self.pairs[-1][1:]
        gamma = 1 / (
            over * self.history.dot(latest, self._measured(self.history.whole(latest)))
        )  # equation 7.20, in the metric
        q, weights = gradient / self.scale, []
        for s, y, rho in reversed(self.pairs):
            weights.append(rho * self.history.dot(s, q))
            self.history.add(q, y, -weights[-1])
        q = self._measured(q).mul_(gamma)
        for (s, y, rho), weight in zip(self.pairs, reversed(weights), strict=True):
            self.history.add(q, s, weight - rho * self.history.dot(y, q))
        return q


def pink(size: Size, device: torch.device) -> Metric:
    """The metric of pictures: divides every frequency f, in cycles per pixel, by f + 1 / the longer side of size (height, width).

    Natural pictures, and paintings, have amplitudes that fall like 1 / f (Field 1987), while to the identity a change of grain costs
    as little as one of a whole sky. In this metric L-BFGS moves large forms and colours first, and reaches lower losses in as many
    steps with less grain. Descent in it is that over decorrelated Fourier coefficients (Olah et al. 2017, "Feature Visualization").
    It overwrites what it is given.
    """
    height, width = size
    down, right = torch.fft.fftfreq(height, device=device)[:, None], torch.fft.rfftfreq(width, device=device)
    weight = 1 / (torch.hypot(down, right) + 1 / max(size))

    def metric(gradient: Tensor) -> Tensor:
        for slope in gradient[0]:  # one by one, or large ones would take three times the room
            slope.copy_(torch.fft.irfft2(torch.fft.rfft2(slope).mul_(weight), s=size))
        return gradient

    return metric


def length(change: Tensor) -> Tensor:
    """Root mean square of a change to a picture; a change of 0.01 everywhere has length 0.01."""
    norm: Tensor = torch.linalg.vector_norm(change)
    return norm / math.sqrt(change.numel())


def _which_diverged(losses: Mapping[str, float], step: int) -> str:
    """Name the loss that is not finite, or, where only the gradient is not, the largest."""
    name = next((name for name, loss in losses.items() if not math.isfinite(loss)), max(losses, key=lambda name: losses[name]))
    option = {"content": "--content-weight", "variation": "--tv-weight"}.get(name, "--style-weight")
    return f"the {name} loss is out of bounds at step {step} of this scale; try a smaller {option}"
