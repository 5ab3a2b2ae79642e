"""Means and covariances of features, and the map that moves one Gaussian onto another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

ITERATIONS = 14  # of Newton and Schulz, enough for eigenvalues down to SLACK of the mean
SLACK = 0.02  # of the style's mean variance, added to a photograph's: features that hardly vary are not enlarged without limit
LEAST = 1e-4  # variance of a whitened feature, whose usual variance is 1


class Moments(NamedTuple):
    """mean: BxK; covariance: BxKxK."""

    mean: Tensor
    covariance: Tensor


def moments(z: Tensor, weight: Tensor | None = None) -> Moments:
    """The moments of features over positions, in float32. z: BxKxHxW; weight: Bx1xHxW, how much each position counts."""
    rows = z.flatten(2).float()
    if weight is None:
        mean = rows.mean(2)
        rows = rows - mean[:, :, None]
        return Moments(mean, rows @ rows.mT / rows.shape[2])
    shares = weight.flatten(2).float()
    shares = shares / shares.sum(2, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    mean = (rows * shares).sum(2)
    rows = rows - mean[:, :, None]
    return Moments(mean, (rows * shares) @ rows.mT)


def roots(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """(C^1/2, C^-1/2) of positive definite matrices, by the coupled iteration of Newton and Schulz (Higham 2008, equation 6.35).

    It consists of matrix products only, so that it can be exported. covariance: BxKxK. Returns the same twice.
    """
    size = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    unit = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    root, half, unit = covariance / size, (0.5 * unit).expand_as(covariance), 1.5 * unit  # half: of the inverse
    for _ in range(ITERATIONS):
        step = unit - half @ root
        root, half = root @ step, step @ half
    return root * size.sqrt(), half * (2 * size.rsqrt())


def transport(photo: Moments, style: Moments) -> tuple[Tensor, Tensor]:
    """The optimal transport between Gaussians: (A, b) such that A z + b has the style's moments (Peyre and Cuturi 2019, remark 2.31).

    Of all maps that do, it moves features least. Returns BxKxK and BxKx1.
    """
    A = mapping(*guarded(photo, style))
    return A, style.mean[..., None] - A @ photo.mean[..., None]


def guarded(photo: Moments, style: Moments) -> tuple[Tensor, Tensor]:
    """The covariances of both, BxKxK, with a share of the style's mean variance added to every variance."""
    count = style.covariance.shape[-1]
    mean_variance = style.covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp_min(LEAST)
    unit = torch.eye(count, dtype=style.covariance.dtype, device=style.covariance.device)
    guard = SLACK * mean_variance * unit
    return photo.covariance + guard, style.covariance + guard


def mapping(C: Tensor, S: Tensor) -> Tensor:
    """The symmetric A such that A C A = S, for positive definite matrices. All BxKxK."""
    root, inverse = roots(C)
    middle, _ = roots(root @ S @ root)
    return inverse @ middle @ inverse


def mixed(parts: list[tuple[Mapping[str, Moments], float]]) -> dict[str, Moments]:
    """The moments of a blend: of positions of which a share has each style. The weights sum to 1."""
    found = {}
    for tap in parts[0][0]:
        mean = torch.stack([at[tap].mean * share for at, share in parts]).sum(0)
        squares = [at[tap].covariance + at[tap].mean[..., None] * at[tap].mean[..., None, :] for at, _ in parts]
        square = torch.stack([one * share for one, (_, share) in zip(squares, parts, strict=True)]).sum(0)
        found[tap] = Moments(mean, square - mean[..., None] * mean[..., None, :])
    return found
