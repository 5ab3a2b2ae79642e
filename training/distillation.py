"""What the student is measured by, tap by tap: features against the teacher's variance, and Gram matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.config import Config

Network = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class TapLoss:
    """One tap's errors, scalars: features (1 - R2 of the batch) and Gram matrices (relative, squared).

    drift: the error of what Gram matrices differ in between pictures of the pool and their paintings (relative, squared); 0 without.
    """

    features: Tensor
    gram: Tensor
    drift: Tensor


def feature_error(F: Tensor, T: Tensor, *, per_channel: bool = False) -> Tensor:
    """Mean (F - T)^2 over the variance of T. F, T: BxCxhxw. per_channel: over each channel's own variance, then the mean."""
    F, T = F.float(), T.float()
    if not per_channel:
        return (F - T).square().mean() / T.var(correction=0).clamp_min(1e-6)
    variance = T.var((0, 2, 3), correction=0)
    floor = 1e-3 * variance.mean() + 1e-6  # channels that are silent in this batch must not outweigh the rest
    return ((F - T).square().mean((0, 2, 3)) / (variance + floor)).mean()


def relative(difference: Tensor, A: Tensor) -> Tensor:
    """|difference|^2 / |A|^2 of BxCxC matrices. Returns B."""
    return difference.square().sum((1, 2)) / A.square().sum((1, 2)).clamp_min(1e-12)


def grams(F: Tensor) -> Tensor:
    """Gram matrices per position. F: BxCxhxw. Returns BxCxC float32; under autocast the products are bf16, which is fast."""
    rows = F.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.bmm(rows.mT, rows).float() / rows.shape[1]


def tap_loss(F: Tensor, T: Tensor, pairs: int = 0, *, per_channel: bool = False) -> TapLoss:
    """The errors of a student's tap F against the teacher's T, BxCxhxw both.

    pairs: the first so many of the batch are pictures on their way to the paintings that the next so many are. What a style transfer
    descends along is by how much their Gram matrices differ, and errors that a picture and its painting share do not matter to it.
    """
    G, A = grams(F), grams(T.to(F.dtype))
    gram = relative(G - A, A).mean()
    if not pairs:
        return TapLoss(feature_error(F, T, per_channel=per_channel), gram, torch.zeros_like(gram))
    errors, wanted = (G - A)[: 2 * pairs], A[pairs : 2 * pairs]
    way = (A[:pairs] - wanted).square().sum((1, 2))  # to go yet: far from the painting, in noise, much more error does no harm
    drift = (errors[:pairs] - errors[pairs:]).square().sum((1, 2)) / (wanted.square().sum((1, 2)) + way).clamp_min(1e-12)
    return TapLoss(feature_error(F, T, per_channel=per_channel), gram, drift.mean())


def total(losses: Sequence[TapLoss], config: Config) -> Tensor:
    """The weighted sum: a scalar."""
    weighted = [
        w * (loss.features + config.gram_weight * loss.gram + config.drift_weight * loss.drift)
        for w, loss in zip(config.tap_weights[config.learned[0] - 1 : config.learned[1]], losses, strict=True)
    ]
    return torch.stack(weighted).sum()


def gradient_error(image: Tensor, student: Network, teacher: Network) -> Tensor:
    """1 - the cosine of the gradients that a style loss has to the picture through student and through teacher, averaged.

    image: Bx3xHxW. Each picture's style target is the teacher's Gram matrices of the picture before it in the batch: what a style
    transfer descends along is this gradient, and features can agree while gradients do not.
    """
    image = image.detach().requires_grad_()
    seen = teacher(image)
    targets = [grams(F).detach().roll(1, 0) for F in seen]
    (there,) = torch.autograd.grad(_style(seen, targets), image)
    (here,) = torch.autograd.grad(_style(student(image), targets), image, create_graph=True)
    return (1 - functional.cosine_similarity(here.flatten(1), there.flatten(1), dim=1)).mean()


def _style(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Relative squared distance of Gram matrices, summed over taps and batch."""
    return torch.stack([relative(grams(F) - A, A) for F, A in zip(features, targets, strict=True)]).sum()
