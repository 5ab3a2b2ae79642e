"""The engine: minimise an objective over a picture with L-BFGS, scale by scale, as an iterator of steps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

import torch
from torch import Tensor

from impasto.errors import DivergenceError
from impasto.styles.base import RATIO, rung

Size = tuple[int, int]  # (height, width) in pixels
Objective = Callable[[Tensor], Mapping[str, Tensor]]  # 1x3xHxW picture -> {name: scalar}; their sum is minimised
Metric = Callable[[Tensor], Tensor]  # linear, symmetric and positive, from a gradient to a move, both 1x3xHxW

LEAST_STEPS = 2  # at a scale: the first step only looks
HISTORY = 10  # pairs L-BFGS keeps; 20 and 50 reach the same losses, to 1 percent, for more memory and time
FIRST_STEP = 0.02  # root mean square change of the picture, in its range 0..1, by a first step
LONGEST_STEP = 0.03  # by any step
SURGE = 2.0  # a total this many times the lowest one means that a step went astray
CURVATURE = 1e-9  # least cosine between a move and the change of gradient along it
STEP_OVERHEAD = 10_000  # pixels a step could have computed in the time it takes to start
TINY = 1e-30  # instead of a division by zero


@dataclass(frozen=True)
class Scale:
    """One stop on the way from coarse to fine: the picture's size there and the steps spent."""

    size: Size
    steps: int


@dataclass(frozen=True)
class Step:
    """Where a run is. The picture is the best so far, never a half-made one.

    scale, scales: 1-based number of the scale, and how many there are. step, steps: the same within the scale.
    losses: {name: weighted loss} of this step; total: their sum. done: share of the whole work, 0..1.
    picture: 1x3xHxW float32 at the scale's size, not yet clamped to 0..1.
    """

    scale: int
    scales: int
    step: int
    steps: int
    losses: Mapping[str, float]
    total: float
    done: float
    picture: Tensor


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


def cost(size: Size) -> int:
    """What a step takes, in pixels: those of the picture, and a fixed part that small pictures feel."""
    return math.prod(size) + STEP_OVERHEAD


def coarse_to_fine(
    start: Tensor,
    scales: Sequence[Scale],
    objective_at: Callable[[Size], Objective],
    resize: Callable[[Tensor, Size], Tensor],
    *,
    metric_at: Callable[[Size], Metric | None] = lambda size: None,
) -> Iterator[Step]:
    """Minimise at each scale in turn; each starts from the enlarged result of the one before.

    start: 1x3xHxW at the first scale's size. objective_at: makes the objective of a size. Yields a Step after every evaluation.
    metric_at: what L-BFGS starts from at a size, in place of the identity.
    Raises DivergenceError when the objective is no longer finite; the steps before it stay valid.
    """
    work = [scale.steps * cost(scale.size) for scale in scales]
    picture = start
    for number, scale in enumerate(scales, start=1):
        before = sum(work[: number - 1])
        descent = descend(objective_at(scale.size), resize(picture, scale.size), scale.steps, metric_at(scale.size))
        for step, (losses, picture) in enumerate(descent, start=1):
            done = (before + step * cost(scale.size)) / sum(work)
            yield Step(number, len(scales), step, scale.steps, losses, sum(losses.values()), done, picture)


def descend(
    objective: Objective, start: Tensor, steps: int, metric: Metric | None = None
) -> Iterator[tuple[dict[str, float], Tensor]]:
    """Yield (losses, best picture so far) after each of `steps` evaluations of the objective.

    start: 1x3xHxW, not changed. metric: what L-BFGS starts from.
    Raises DivergenceError at the first loss or gradient that is not finite.
    """
    picture = start.detach().contiguous()
    lbfgs = LBFGS(picture.shape, metric=metric)
    best, best_gradient, lowest = picture, torch.zeros_like(picture), math.inf
    for step in range(1, steps + 1):
        losses, gradient = evaluate(objective, picture)
        total = sum(losses.values())
        if not (math.isfinite(total) and bool(gradient.isfinite().all())):
            raise DivergenceError(_which_diverged(losses, step))
        if total < lowest:
            best, best_gradient, lowest = picture, gradient, total
        elif total > SURGE * lowest:
            # no line search watches over the steps: go back to the best picture and forget the curvature that misled us
            picture, gradient, lbfgs = best, best_gradient, LBFGS(picture.shape, lbfgs.first / 2, metric)
        yield losses, best.clone()
        picture = picture + lbfgs.move(picture, gradient)


def evaluate(objective: Objective, picture: Tensor) -> tuple[dict[str, float], Tensor]:
    """The losses at a picture as numbers, and the gradient of their sum to it, 1x3xHxW."""
    variable = picture.detach().requires_grad_()
    with torch.enable_grad():
        losses = objective(variable)
        (gradient,) = torch.autograd.grad(torch.stack(list(losses.values())).sum(), variable)
    return {name: float(loss.detach()) for name, loss in losses.items()}, gradient


class LBFGS:
    """Limited-memory BFGS (Nocedal and Wright 2006, algorithm 7.4) with bounded steps in place of a line search.

    A line search spends evaluations, and each one costs as much as a step. Without it torch.optim.LBFGS may leap to 1e30 when the
    first curvature it sees is small, as a white-noise start shows; here no step changes the picture by more than LONGEST_STEP.
    shape: of the picture. first: length of the first step, whose scale the curvature cannot give yet. metric: the matrix that the
    approximation of the inverse Hessian starts from, but for a factor; None for the identity.
    """

    def __init__(self, shape: torch.Size, first: float = FIRST_STEP, metric: Metric | None = None) -> None:
        self.shape = shape
        self.first = first
        self.metric = metric
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=HISTORY)  # (s, y, 1 / s.y): moves, changes of gradient
        self.before: tuple[Tensor, Tensor] | None = None
        self.scale: Tensor | None = None

    def move(self, picture: Tensor, gradient: Tensor) -> Tensor:
        """The change to make to `picture`, given the gradient there; both of the shape given."""
        x, g = picture.reshape(-1), self._scaled(gradient.reshape(-1))
        if self.before is not None:
            self._remember(x - self.before[0], g - self.before[1])
        self.before = x, g
        change = -self._newton(g) if self.pairs else self._first_change(g)
        return (change * (LONGEST_STEP / length(change).clamp_min(TINY)).clamp_max(1)).reshape(self.shape)

    def _first_change(self, g: Tensor) -> Tensor:
        """Downhill in the metric, of the length wanted."""
        downhill = -self._measured(g)
        return downhill * (self.first / length(downhill).clamp_min(TINY))

    def _measured(self, g: Tensor) -> Tensor:
        return g if self.metric is None else self.metric(g.reshape(self.shape)).reshape(-1)

    def _scaled(self, gradient: Tensor) -> Tensor:
        """The gradient over the largest entry of the first one: losses of any magnitude keep float32's squares in range."""
        if self.scale is None:
            self.scale = gradient.abs().max().clamp_min(TINY)
        return gradient / self.scale

    def _remember(self, s: Tensor, y: Tensor) -> None:
        """Keep a pair that shows positive curvature; another would make the direction point uphill."""
        curvature = torch.dot(s, y)
        if curvature > CURVATURE * s.norm() * y.norm():
            self.pairs.append((s, y, 1 / curvature))

    def _newton(self, g: Tensor) -> Tensor:
        """H g, where H approximates the inverse Hessian from the pairs: the two-loop recursion."""
        q, weights = g.clone(), []
        for s, y, rho in reversed(self.pairs):
            weights.append(rho * torch.dot(s, q))
            q -= weights[-1] * y
        s, y, rho = self.pairs[-1]
        q = self._measured(q) / (rho * torch.dot(y, self._measured(y)))  # equation 7.20, in the metric
        for (s, y, rho), weight in zip(self.pairs, reversed(weights), strict=True):
            q += s * (weight - rho * torch.dot(y, q))
        return q


def pink(size: Size, device: torch.device) -> Metric:
    """The metric of pictures: divides every frequency f, in cycles per pixel, by f + 1 / the longer side of size (height, width).

    Natural pictures, and paintings, have amplitudes that fall like 1 / f (Field 1987), while to the identity a change of grain costs
    as little as one of a whole sky. In this metric L-BFGS moves large forms and colours first, and reaches lower losses in as many
    steps with less grain. Descent in it is that over decorrelated Fourier coefficients (Olah et al. 2017, "Feature Visualization").
    """
    height, width = size
    down, right = torch.fft.fftfreq(height, device=device)[:, None], torch.fft.rfftfreq(width, device=device)
    weight = 1 / (torch.hypot(down, right) + 1 / max(size))

    def metric(gradient: Tensor) -> Tensor:
        found: Tensor = torch.fft.irfft2(torch.fft.rfft2(gradient) * weight, s=size)
        return found

    return metric


def length(change: Tensor) -> Tensor:
    """Root mean square of a change to a picture; a change of 0.01 everywhere has length 0.01."""
    return change.square().mean().sqrt()


def _which_diverged(losses: Mapping[str, float], step: int) -> str:
    """Name the loss that is not finite, or, where only the gradient is not, the largest."""
    name = next((name for name, loss in losses.items() if not math.isfinite(loss)), max(losses, key=lambda name: losses[name]))
    option = {"content": "--content-weight", "variation": "--tv-weight"}.get(name, "--style-weight")
    return f"the {name} loss is out of bounds at step {step} of this scale; try a smaller {option}"
