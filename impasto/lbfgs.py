"""L-BFGS with bounded steps: what the engine moves the image by, and where it keeps its pairs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from impasto.compute import mapped
from impasto.ladder import Size

Metric = Callable[
    [Tensor], Tensor
]  # linear, symmetric, positive: from a gradient to a move, both 1x3xHxW; may overwrite the first

HISTORY = 10  # pairs; 20 and 50 reach the same losses within 1 percent, for more memory and time
FIRST_STEP = 0.01  # root mean square change of the image, in its range 0..1, by a first step; with 0.02 many went uphill
LONGEST_STEP = 0.03  # by any step
CURVATURE = 1e-9  # least cosine between a move and the change of the gradient along it
TINY = 1e-30  # avoids a division by zero
FADE = 64  # pixels: longer side from which on the metric fades
PIECE = 1 << 22  # values converted at a time: 16 MB in float32


class Pairs:
    """Keeps the vectors of pairs in memory, in float32."""

    def keep(self, x: Tensor, less: Tensor, over: Tensor | float = 1.0) -> Tensor:
        """Keep (x - less) / over as one dimension. x, less: of one shape."""
        return (x - less).div_(over).reshape(-1)

    def restored(self, kept: Tensor, device: torch.device) -> Tensor:
        """A copy of a kept vector in float32 on a device."""
        return kept.clone()

    def dot(self, kept: Tensor, x: Tensor) -> Tensor:
        """The product of a kept vector and x, a scalar. x: float32, or kept as well."""
        return torch.dot(kept, x)

    def add(self, x: Tensor, kept: Tensor, factor: Tensor) -> None:
        """Add factor times a kept vector to x, in place."""
        x.addcmul_(kept, factor)


class HalfPairs(Pairs):
    """Keeps vectors in bfloat16, which has 8 bits of every number and the range of float32.

    folder: keep them in files there (`compute.mapped`), whose pages are dropped after use; None for memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def keep(self, x: Tensor, less: Tensor, over: Tensor | float = 1.0) -> Tensor:
        """Keep (x - less) / over in bfloat16. Raises SaveError if a file cannot be made."""
        shape = torch.Size((x.numel(),))
        if self.folder is None:
            kept = torch.empty(shape, dtype=torch.bfloat16, device=x.device)
        else:
            kept = mapped.empty(shape, torch.bfloat16, self.folder)
        pieces = (torch.split(one.reshape(-1), PIECE) for one in (x, less))
        for to, piece, minus in zip(mapped.bands(kept, PIECE), *pieces, strict=True):
            to.copy_((piece - minus).div_(over))
        return kept

    def restored(self, kept: Tensor, device: torch.device) -> Tensor:
        """A copy of a kept vector in float32 on a device."""
        found = kept.to(device).float()
        mapped.drop(kept)
        return found

    def dot(self, kept: Tensor, x: Tensor) -> Tensor:
        """The product of a kept vector and x, a scalar. x: float32, or kept as well."""
        return torch.stack([torch.dot(piece, part) for piece, part in self._pieces(kept, x)]).sum()

    def add(self, x: Tensor, kept: Tensor, factor: Tensor) -> None:
        """Add factor times a kept vector to x, in place."""
        for piece, part in self._pieces(kept, x):
            part.addcmul_(piece, factor)

    @staticmethod
    def _pieces(kept: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pieces of a kept vector in float32 on x's device, with the same pieces of x, which are views if x is float32."""
        for piece, part in zip(mapped.bands(kept, PIECE), mapped.bands(x, PIECE), strict=True):
            yield piece.to(x.device).float(), part.float()


@dataclass(frozen=True)
class Memory:
    """What L-BFGS knows, under the names of its attributes. Nobody changes these tensors, so keeping them costs nothing.

    before: the last image, 1x3xHxW, and the gradient there. scale: of gradients. pairs: as its store keeps them.
    """

    first: float
    scale: Tensor | None = None
    before: tuple[Tensor, Tensor] | None = None
    pairs: tuple[tuple[Tensor, Tensor, Tensor], ...] = ()


class LBFGS:
    """Limited-memory BFGS (Nocedal and Wright 2006, algorithm 7.4) with bounded steps and without a line search.

    Each evaluation of a line search would cost as much as a step. Without one, torch.optim.LBFGS may leap to 1e30 if the first
    curvature is small, as from white noise; here no step changes the image by more than LONGEST_STEP.
    shape: of the image. first: length of the first step, whose scale no curvature gives yet. metric: the matrix that the approximation
    of the inverse Hessian starts from, up to a factor; None for the identity. store: where the pairs are kept.
    """

    def __init__(
        self, shape: torch.Size, first: float = FIRST_STEP, metric: Metric | None = None, store: Pairs | None = None
    ) -> None:
        self.shape = shape
        self.first = first
        self.metric = metric
        self.store = store or Pairs()
        self.pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=HISTORY)  # (s, y, 1 / s.y): moves, changes of gradient
        self.before: tuple[Tensor, Tensor] | None = None
        self.scale = torch.ones(())

    def memory(self) -> Memory:
        """All it knows, for `recall`."""
        return Memory(self.first, self.scale, self.before, tuple(self.pairs))

    def recall(self, memory: Memory) -> None:
        """Continue from another instance's memory."""
        self.first, self.before = memory.first, memory.before
        self.scale = self.scale if memory.scale is None else memory.scale
        self.pairs.clear()
        self.pairs.extend(memory.pairs)

    def move(self, image: Tensor, gradient: Tensor) -> Tensor:
        """The change to make to the image, given the gradient there; all three of the shape given.

        For a large image every copy counts: this makes one, and returns it.
        """
        if self.before is None:
            # the largest entry of the first gradient keeps float32's squares in range, whatever the losses' magnitude
            self.scale = gradient.abs().max().clamp_min(TINY)
        else:
            self._remember(image, gradient, *self.before)
        self.before = image, gradient
        change = (self._newton if self.pairs else self._first_change)(gradient.reshape(-1)).neg_()
        return change.mul_((LONGEST_STEP / length(change).clamp_min(TINY)).clamp_max(1)).reshape(self.shape)

    def _first_change(self, gradient: Tensor) -> Tensor:
        """Uphill in the metric, of the first step's length."""
        uphill = self._measured(gradient / self.scale)
        return uphill.mul_(self.first / length(uphill).clamp_min(TINY))

    def _measured(self, g: Tensor) -> Tensor:
        """The metric of g, which it may overwrite."""
        return g if self.metric is None else self.metric(g.reshape(self.shape)).reshape(-1)

    def _remember(self, image: Tensor, gradient: Tensor, image_before: Tensor, gradient_before: Tensor) -> None:
        """Keep a pair with positive curvature; another would make the direction point uphill."""
        keep, dot = self.store.keep, self.store.dot
        s, y = keep(image, image_before), keep(gradient, gradient_before, self.scale)
        curvature = dot(s, y)  # of the kept vectors, or rounding could turn uphill
        if curvature > CURVATURE * dot(s, s).sqrt() * dot(y, y).sqrt():
            self.pairs.append((s, y, 1 / curvature))

    def _newton(self, gradient: Tensor) -> Tensor:
        """H g of the scaled gradient g, where H approximates the inverse Hessian from the pairs: the two-loop recursion."""
        latest, over = self.pairs[-1][1:]
        restored = self.store.restored(latest, gradient.device)
        gamma = 1 / (over * self.store.dot(latest, self._measured(restored)))  # equation 7.20, in the metric
        q, weights = gradient / self.scale, []
        for s, y, rho in reversed(self.pairs):
            weights.append(rho * self.store.dot(s, q))
            self.store.add(q, y, -weights[-1])
        q = self._measured(q).mul_(gamma)
        for (s, y, rho), weight in zip(self.pairs, reversed(weights), strict=True):
            self.store.add(q, s, weight - rho * self.store.dot(y, q))
        return q


def pink(size: Size, device: torch.device) -> Metric:
    """The metric of natural images: divides every frequency f, in cycles per pixel, by (f + 1 / the longer side) ** p.

    size: (height, width). Natural images and paintings have amplitudes that fall like 1 / f (Field 1987), while for the identity a
    change of grain costs as little as one of a whole sky. So at the coarsest scale, where p is 1/2, L-BFGS moves large forms and colors
    first. Each finer scale only adds detail, and p falls as 1 / the longer side: with p = 1 throughout, the last scales are far from
    converged after ten steps. Descent in this metric is descent over decorrelated Fourier coefficients (Olah et al. 2017, "Feature
    Visualization"). It overwrites its argument.
    """
    height, width = size
    down, right = torch.fft.fftfreq(height, device=device)[:, None], torch.fft.rfftfreq(width, device=device)
    weight = (torch.hypot(down, right) + 1 / max(size)) ** -min(1.0, FADE / max(size))

    def metric(gradient: Tensor) -> Tensor:
        for channel in gradient[0]:  # one by one, or large images would take three times the memory
            channel.copy_(torch.fft.irfft2(torch.fft.rfft2(channel).mul_(weight), s=size))
        return gradient

    return metric


def length(change: Tensor) -> Tensor:
    """Root mean square of a change to an image; a change of 0.01 everywhere has length 0.01."""
    norm: Tensor = torch.linalg.vector_norm(change)
    return norm / math.sqrt(change.numel())
