"""The temporal loss, which keeps a frame like the results before it (Ruder, Dosovitskiy and Brox 2016, equations 7 and 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from impasto import pictures
from impasto.ladder import Size
from impasto.losses import Features, Loss, Term
from impasto.run import MoreTerms


@dataclass(frozen=True, eq=False, repr=False)
class TemporalLoss(Loss):
    """Mean over all values of W (x - target)^2. target: 1x3xHxW, an earlier result as this frame sees it; W: 1x1xHxW, 0..1.

    It is computed on the whole image at once. So it is exact for images that are computed in blocks.
    """

    target: Tensor
    W: Tensor

    def __call__(self, image: Tensor, features: Features) -> Tensor:
        """image: 1x3xHxW, 0..1; features are ignored. Returns a scalar."""
        return (self.W * (image - self.target).square()).sum() / image.numel()


@dataclass(frozen=True)
class Earlier:
    """An earlier result as a frame sees it, 1x3xHxW in 0..1.

    reliable: how far it can be relied on, 1x1xHxW in 0..1. usable: how far it may be started from: also where the flow is in doubt, as
    at the borders of motion, but leads to the same colors.
    """

    image: Tensor
    reliable: Tensor
    usable: Tensor


def temporal_terms(earlier: Sequence[Earlier], weight: float, device: torch.device) -> MoreTerms:
    """The terms for results from the nearest to the furthest in time.

    Where a nearer one can be relied on, further ones do not count.
    """

    def at(size: Size) -> list[Term]:
        return [Term("temporal", weight, loss(one, size)) for one in exclusive(earlier)]

    def loss(one: Earlier, size: Size) -> TemporalLoss:
        return TemporalLoss(*(pictures.resize(each, size).to(device) for each in (one.image, one.reliable)))

    return at


def exclusive(earlier: Sequence[Earlier]) -> list[Earlier]:
    """The same with the reliability that is left where the nearer ones have taken theirs."""
    found, taken = list[Earlier](), None
    for one in earlier:
        left = one.reliable if taken is None else (one.reliable - taken).clamp_min(0)
        taken = one.reliable if taken is None else taken + left
        found.append(replace(one, reliable=left))
    return found
