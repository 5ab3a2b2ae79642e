"""The distillation losses of one tap: features relative to the teacher's variance, Gram matrices, drift and gradients."""

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
    """Scalar errors of one tap: features (1 - R2 over the batch), Gram matrices and drift (relative, squared).

    drift: the error in the difference between the Gram matrices of pool images and of their paintings; 0 without such pairs.
    """

    features: Tensor
    gram: Tensor
    drift: Tensor


def feature_error(F: Tensor, T: Tensor, *, per_channel: bool = False) -> Tensor:
    """Mean (F - T)^2 divided by the variance of T. F, T: BxCxhxw. per_channel: use each channel's own variance, then average."""
    F, T = F.float(), T.float()
    if not per_channel:
        return (F - T).square().mean() / T.var(correction=0).clamp_min(1e-6)
    variance = T.var((0, 2, 3), correction=0)
    floor = 1e-3 * variance.mean() + 1e-6  # so that channels inactive in this batch do not dominate
    return ((F - T).square().mean((0, 2, 3)) / (variance + floor)).mean()


def relative(difference: Tensor, A: Tensor) -> Tensor:
    """|difference|^2 / |A|^2 of BxCxC matrices. Returns B."""
    return difference.square().sum((1, 2)) / A.square().sum((1, 2)).clamp_min(1e-12)


def grams(F: Tensor) -> Tensor:
    """Gram matrices divided by the number of positions. F: BxCxhxw. Returns BxCxC float32; under autocast the products are bf16."""
    rows = F.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.bmm(rows.mT, rows).float() / rows.shape[1]


def tap_loss(F: Tensor, T: Tensor, pairs: int = 0, *, per_channel: bool = False) -> TapLoss:
    """The errors of a student's tap F relative to the teacher's T; both BxCxhxw.

    pairs: the batch begins with this many pool images, followed by their paintings. Style transfer follows the difference between
    the Gram matrices of an image and its painting, so an error that both share does no harm. Drift measures only the rest.
    """
    G, A = grams(F), grams(T.to(F.dtype))
    gram = relative(G - A, A).mean()
    if not pairs:
        return TapLoss(feature_error(F, T, per_channel=per_channel), gram, torch.zeros_like(gram))
    errors, wanted = (G - A)[: 2 * pairs], A[pairs : 2 * pairs]
    left = (A[:pairs] - wanted).square().sum((1, 2))  # far from the painting, for instance in noise, larger errors do no harm
    drift = (errors[:pairs] - errors[pairs:]).square().sum((1, 2)) / (wanted.square().sum((1, 2)) + left).clamp_min(1e-12)
    return TapLoss(feature_error(F, T, per_channel=per_channel), gram, drift.mean())


def total(losses: Sequence[TapLoss], config: Config) -> Tensor:
    """The weighted sum over taps, a scalar."""
    weighted = [
        w * (loss.features + config.gram_weight * loss.gram + config.drift_weight * loss.drift)
        for w, loss in zip(config.tap_weights[config.learned[0] - 1 : config.learned[1]], losses, strict=True)
    ]
    return torch.stack(weighted).sum()


def gradient_error(image: Tensor, student: Network, teacher: Network) -> Tensor:
    """1 - cosine similarity between the image gradients of a style loss through the student and the teacher, averaged.

    image: Bx3xHxW. The style target of each image is the teacher's Gram matrices of the previous image in the batch.
    """
    image = image.detach().requires_grad_()
    seen = teacher(image)
    targets = [grams(F).detach().roll(1, 0) for F in seen]
    (wanted,) = torch.autograd.grad(_style(seen, targets), image)
    (found,) = torch.autograd.grad(_style(student(image), targets), image, create_graph=True)
    return (1 - functional.cosine_similarity(found.flatten(1), wanted.flatten(1), dim=1)).mean()


def _style(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Relative squared distance of Gram matrices, summed over taps and the batch."""
    return torch.stack([relative(grams(F) - A, A) for F, A in zip(features, targets, strict=True)]).sum()
