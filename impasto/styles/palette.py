"""The few colours a painting is made of, for lists and swatches."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from impasto import pictures

Palette: TypeAlias = tuple[tuple[str, float], ...]  # ("#rrggbb", share of the painting), the largest share first

COLORS = 6
SATURATION = (
    3.0  # how many times a difference in colour counts as much as one in lightness: a few reds among many greys are seen
)
SAMPLE = 96  # pixels on the longer side that are enough to find them
ROUNDS = 20  # of k-means; they settle in about ten


def palette(painting: Tensor, count: int = COLORS) -> Palette:
    """The colours of a painting by k-means. painting: 1x3xHxW, 0..1. Returns `count` at most; nothing is drawn by chance."""
    height, width = painting.shape[-2:]
    small = pictures.resize(painting.cpu(), pictures.fit((height, width), min(SAMPLE, max(height, width))))
    colors = small.clamp(0, 1)[0].flatten(1).T.double()  # (positions, 3)
    grey = colors.mean(dim=1, keepdim=True)
    points = grey + SATURATION * (colors - grey)
    centres = _far_apart(points, count)
    for _ in range(ROUNDS):
        nearest = torch.cdist(points, centres).argmin(dim=1)
        centres = torch.stack([points[nearest == k].mean(dim=0) for k in range(len(centres)) if bool((nearest == k).any())])
    nearest = torch.cdist(points, centres).argmin(dim=1)
    shares = nearest.bincount(minlength=len(centres)) / len(points)
    order = [k for k in shares.argsort(descending=True, stable=True).tolist() if shares[k]]
    return tuple((_hex(colors[nearest == k].mean(dim=0)), round(float(shares[k]), 3)) for k in order)


def _far_apart(points: Tensor, count: int) -> Tensor:
    """The mean colour, then again and again the one farthest from all chosen so far. points: (n, 3). Returns (count, 3) or fewer."""
    chosen = points.mean(dim=0, keepdim=True)
    while len(chosen) < count:
        distance = torch.cdist(points, chosen).amin(dim=1)
        if not bool(distance.max() > 0):
            break
        chosen = torch.cat([chosen, points[distance.argmax()][None]])
    return chosen


def _hex(color: Tensor) -> str:
    """color: (3,), 0..1 -> "#rrggbb"."""
    return f"#{pictures.to_image(color.float().reshape(1, 3, 1, 1)).tobytes().hex()}"
