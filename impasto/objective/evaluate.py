"""Losses and gradient of an image at once, and the retry in smaller blocks when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from impasto.compute import memory

Summands = Callable[[Tensor], Mapping[str, Tensor]]  # 1x3xHxW image -> {name: scalar}; their sum is minimized
Evaluated = tuple[dict[str, float], Tensor]  # the losses by name, and the gradient of their sum to the image, 1x3xHxW
Evaluate = Callable[[Tensor], Evaluated]  # an objective: from a 1x3xHxW image, which it does not change

LARGEST = 1024  # pixels: the side of the first blocks that replace a whole image
SMALLEST = 64  # pixels: smaller blocks would be nearly all margin


def at_once(losses: Summands) -> Evaluate:
    """The objective that autograd makes of a sum of losses."""

    def evaluate(image: Tensor) -> Evaluated:
        found, gradient = differentiate(losses, image)
        return numbers(found), gradient

    return evaluate


def differentiate(losses: Summands, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The losses at an image, and the gradient of their sum to it, 1x3xHxW."""
    variable = image.detach().requires_grad_()
    with torch.enable_grad():
        found = losses(variable)
        (gradient,) = torch.autograd.grad(torch.stack(list(found.values())).sum(), variable)
    return {name: loss.detach() for name, loss in found.items()}, gradient


def numbers(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Scalars as numbers, fetched from the device together: every fetch waits for it."""
    return dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))


class RetrySmaller:
    """An objective that is computed in smaller blocks whenever memory runs out.

    make: the objective in blocks of a side in pixels, or for None at once. longer: the image's longer side. side: of the first blocks;
    None to begin with the whole image.
    """

    def __init__(self, make: Callable[[int | None], Evaluate], longer: int, side: int | None = None) -> None:
        self.make, self.longer, self.side = make, longer, side
        self._evaluate: Evaluate | None = None

    def __call__(self, image: Tensor) -> Evaluated:
        """Evaluate. Raises the error of running out of memory if even the smallest blocks do not fit."""
        while True:
            try:
                if self._evaluate is None:
                    self._evaluate = self.make(self.side)
                return self._evaluate(image)
            except (MemoryError, RuntimeError) as error:
                smaller = self._smaller()
                if smaller is None or not memory.is_out_of_memory(error):
                    raise
            # outside of the handler, whose error holds on to all that was computed
            self.side, self._evaluate = smaller, None
            memory.release(image.device)

    def _smaller(self) -> int | None:
        """The side to try next, None if there is no smaller one."""
        side = min(LARGEST, self.longer // 2) if self.side is None else self.side // 2
        return side if side >= SMALLEST else None
