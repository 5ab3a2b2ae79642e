"""Resampling of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from impasto.ladder import Size

LOBES = 6  # of the sinc that `enlarge` uses, on each side
PASSBAND = 0.9  # share of the smaller image's frequencies that `enlarge` keeps


def resize(pixels: Tensor, size: Size) -> Tensor:
    """Antialiased bicubic (a = -0.5) resampling, the bicubic filter of Pillow.

    pixels: BxCxHxW float in [0, 1]; size: (height, width). Returns BxCxheightxwidth clamped to [0, 1], or pixels itself when
    it has that size already.
    """
    if tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    source = pixels.cpu() if pixels.device.type == "mps" else pixels  # some torch releases lack this filter on MPS
    resized = functional.interpolate(source, size=size, mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0, 1).to(pixels.device)


def enlarge(pixels: Tensor, size: Size) -> Tensor:
    """Enlarge by a Lanczos-windowed sinc (Duchon 1979, "Lanczos filtering in one and two dimensions"), mirrored at the edges.

    Bicubic resampling leaves aliases of fine detail, mostly of horizontal and vertical detail. An image that is repeatedly enlarged
    and optimized accumulates them as a woven texture. This filter leaves almost nothing above the smaller image's own frequencies.
    pixels: BxCxHxW float in [0, 1]; size: (height, width), no smaller. Returns BxCxheightxwidth clamped to [0, 1].
    """
    for axis, length in ((-2, size[0]), (-1, size[1])):
        if pixels.shape[axis] != length:
            pixels = _stretched(pixels, axis, length)
    return pixels.clamp(0, 1)


def _stretched(pixels: Tensor, axis: int, length: int) -> Tensor:
    own, shape = pixels.shape[axis], [1] * pixels.dim()
    shape[axis] = length
    centers = (torch.arange(length, dtype=torch.float64) + 0.5) * own / length - 0.5
    places = centers.floor().long()[:, None] + torch.arange(1 - LOBES, LOBES + 1)
    away = places - centers[:, None]
    weights = torch.sinc(PASSBAND * away) * torch.sinc(away / LOBES) * (away.abs() < LOBES)
    weights = (weights / weights.sum(1, keepdim=True)).to(pixels)
    mirrored = places.remainder(2 * own)
    places = torch.minimum(mirrored, 2 * own - 1 - mirrored).to(pixels.device)
    total = torch.zeros((), device=pixels.device)
    for place, weight in zip(places.T, weights.T, strict=True):
        total = torch.addcmul(total, pixels.index_select(axis, place), weight.reshape(shape))
    return total
