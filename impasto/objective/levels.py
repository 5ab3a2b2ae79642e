"""One objective of an image at several sizes: the image itself, and the image averaged down by 2 and by 4.

An encoder sees forms up to the reach of its deepest tap. Averaged down, an image shows it forms that are two and four times as large.
The idea is that of multi-scale texture synthesis (Snelgrove 2017, "High-Resolution Multi-Scale Neural Texture Synthesis"). The smaller
sizes add a third to the time of an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from impasto.encoders import Encoder
from impasto.ladder import Size
from impasto.losses import SummedLoss, Term, weighted
from impasto.objective.blocks import Composite, InBlocks, nothing, unchanged
from impasto.objective.evaluate import Evaluated, Summands

BAND = 1 << 20  # pixels averaged at a time


@dataclass(frozen=True)
class Level:
    """The terms of an image averaged over squares of `factor` x `factor` pixels; 1 for the image itself."""

    factor: int
    terms: Sequence[Term]

    def encoder(self, encoder: Encoder) -> Encoder:
        """The encoder with the taps that the terms use."""
        return encoder.only({term.loss.tap for term in self.terms if isinstance(term.loss, SummedLoss)} - {""})


def reduced(size: Size, factor: int) -> Size:
    """(height, width) of an image averaged down. Incomplete squares at the lower and right edges are left out."""
    return size[0] // factor, size[1] // factor


def averaged_by(factor: int, image: Tensor) -> Tensor:
    """The means of squares of `factor` x `factor` pixels. image: 1x3xHxW. Returns 1x3xhxw of the `reduced` size."""
    return image if factor == 1 else functional.avg_pool2d(image, factor)


def losses_of(levels: Sequence[Level], encoder: Encoder, composite: Composite = unchanged) -> Summands:
    """The weighted losses by name, summed over the levels, as a function of the image. composite: what the encoder sees of it."""
    encoders = [level.encoder(encoder) for level in levels]

    def losses(image: Tensor) -> dict[str, Tensor]:
        seen, sums = composite(image), dict[str, Tensor]()
        for level, own in zip(levels, encoders, strict=True):
            small = averaged_by(level.factor, seen)
            for name, loss in weighted(level.terms, small, own(small)).items():
                sums[name] = sums[name] + loss if name in sums else loss
        return sums

    return losses


class LevelsInBlocks:
    """The same sum, computed in blocks: each level has blocks of its own, of the same size in its own pixels.

    encoder, side, composite, after_block: see `blocks.InBlocks`. levels: the image itself first.
    """

    def __init__(
        self,
        encoder: Encoder,
        levels: Sequence[Level],
        side: int,
        composite: Composite = unchanged,
        after_block: Callable[[], object] = nothing,
    ) -> None:
        first, *smaller = levels
        self.composite = composite
        self.image = InBlocks(first.encoder(encoder), first.terms, side, composite, after_block)
        self.smaller = [(level.factor, InBlocks(level.encoder(encoder), level.terms, side)) for level in smaller]

    def __call__(self, image: Tensor) -> Evaluated:
        """The losses by name, and the gradient of their sum to the image, 1x3xHxW."""
        losses, gradient = self.image(image)
        for factor, objective in self.smaller:
            size = reduced((image.shape[-2], image.shape[-1]), factor)
            small = image.new_empty(1, 3, *size)
            for rows, own in _rows(size, factor):
                small[..., own, :] = self._small(image[..., rows, :].detach(), rows, factor)
            more, slope = objective(small)
            for rows, own in _rows(size, factor):
                variable = image[..., rows, :].detach().requires_grad_()
                with torch.enable_grad():
                    means = self._small(variable, rows, factor)
                (piece,) = torch.autograd.grad(means, variable, slope[..., own, :])
                gradient[..., rows, :] += piece
            losses = {name: losses.get(name, 0.0) + more.get(name, 0.0) for name in losses | more}
        return losses, gradient

    def _small(self, band: Tensor, rows: slice, factor: int) -> Tensor:
        """What the encoder sees of some rows of the image, averaged down."""
        return averaged_by(factor, self.composite(band, rows))


def _rows(size: Size, factor: int) -> Iterator[tuple[slice, slice]]:
    """The rows of an image, and those of it averaged down to (height, width), in bands that are averaged at a time."""
    height, width = size
    step = max(1, BAND // (width * factor**2))
    for top in range(0, height, step):
        below = min(height, top + step)
        yield slice(top * factor, below * factor), slice(top, below)
