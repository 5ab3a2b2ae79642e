"""The colors of images, wherever they are: as sorted quantiles, and the distance between two palettes."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from impasto.ladder import Size

# Directions in which colors are compared: along red, green and blue, and along the diagonals of the cube (lightness, and three hues).
DIRECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1))
QUANTILES = 256  # of the colors along a direction
PALETTE_SIDE = 64  # pixels: colors are those of the image averaged over squares that leave a longer side of 64 to 127
RECOLORED_SIDE = 256  # pixels: longer side of the image that `recolored` computes with
STEPS = 8  # of `recolored`
TIED = 1e-5  # in 0..1: colors no further apart share a rank when they are mapped
GRAY = 0.012  # largest difference of a gray painting's colors from gray, in 0..1: a JPEG changes them by about this
LEAST_SPREAD = 1e-3  # variance of colors in 0..1, so that a painting of one color is no division by 0


def quantiles(image: Tensor, T: Tensor | None = None) -> Tensor:
    """An image's colors along each of the DIRECTIONS, sorted: the values in the middle of QUANTILES equal parts of its pixels.

    image: 1x3xHxW, 0..1; T: 1x1xhxw of any size, 0..1, how much each place counts, or None for 1 everywhere. Returns 7xQUANTILES.
    The weighted mean of two images' quantiles is the palette between them (the sliced barycenter of Bonneel et al. 2015).
    """
    values, ranks, _ = _sorted_colors(image, T)
    return interpolated(middles(QUANTILES, values), ranks, values)


def is_gray(Q: Tensor) -> bool:
    """Whether the painting with the `quantiles` Q (7xQUANTILES) has no colors, only grays: a drawing or a print in black ink."""
    lightness = Q[:3].mean(0)
    along = directions_on(Q.dtype, Q.device).sum(1, keepdim=True)  # where a color (1, 1, 1) lies along each direction
    return bool((Q - along * lightness).abs().max() < GRAY)


def has_no_colors(image: Tensor) -> bool:
    """Whether every pixel of an image is gray. image: 1x3xHxW, 0..1."""
    return bool((image.amax(1) - image.amin(1)).max() < GRAY)


def averaged(image: Tensor) -> Tensor:
    """The image averaged over squares that leave a longer side of PALETTE_SIDE to 127 pixels. image: 1x3xHxW. Returns 1x3xhxw."""
    height, width = image.shape[-2:]
    block = max(1, max(height, width) // PALETTE_SIDE)
    return functional.avg_pool2d(image, (min(block, height), min(block, width)))


def tint_loss(image: Tensor, target: Tensor, W: Tensor) -> Tensor:
    """Mean of W (x - target)^2 over the variance of the target's colors, where x is the image `averaged`. Returns a scalar.

    It keeps colors on the forms that `recolored` puts them on. Without it a large patch of one color may cover parts of several forms.
    image: 1x3xHxW, 0..1; target: 1x3xhxw of the averaged image's size; W: 1x1xhxw weights of mean about 1.
    """
    distance = (W * (averaged(image) - target).square()).mean()
    return distance / target.var(dim=(-2, -1), correction=0).mean().clamp_min(LEAST_SPREAD)


def palette_loss(image: Tensor, Q: Tensor, T: Tensor | None = None) -> Tensor:
    """The distance between the colors of image and painting, wherever they are: 0 for the same colors. Returns a scalar.

    The squared sliced Wasserstein distance (Rabin et al. 2011), averaged over the DIRECTIONS, over the variance of the painting's
    colors. Gram matrices hold means of products and leave the rest of a palette open; this loss closes it.
    image: 1x3xHxW, 0..1; Q: 7xQUANTILES, the painting's `quantiles`; T: 1x1xhxw, 0..1, the region that counts, or None for all.
    """
    values, ranks, weights = _sorted_colors(image, T)
    squares = (values - interpolated(ranks, middles(Q.shape[1], values), Q)).square()
    distance = (squares * weights).sum() / weights.expand_as(values).sum().clamp_min(torch.finfo(values.dtype).eps)
    return distance / Q.var(dim=1, correction=0).mean().clamp_min(LEAST_SPREAD)


def recolored(image: Tensor, Q: Tensor, T: Tensor | None = None) -> Tensor:
    """The image in the painting's palette, every form where it was: a flow down `palette_loss` (Rabin et al. 2011, section 4).

    Each of STEPS steps moves every color along all DIRECTIONS, by the monotonic maps between the sorted colors of the image and of the
    painting. The flow is that of an image of at most RECOLORED_SIDE pixels, and its change is enlarged and added, so that stretching
    the few colors of a sky does not enlarge its noise.
    image: 1x3xHxW, 0..1; Q, T: see `palette_loss`; the maps are those of the region T. Returns 1x3xHxW, 0..1.
    """
    height, width = image.shape[-2:]
    block = math.ceil(max(height, width) / RECOLORED_SIDE)
    small = functional.avg_pool2d(image, (min(block, height), min(block, width)))
    directions, found = directions_on(image.dtype, image.device), small
    for _ in range(STEPS):
        colors, rows = directions @ found[0].flatten(1), quantiles(found, T)
        moves = interpolated(colors, rows, at_middle_ranks(Q, rows)) - colors
        # a move of all colors by d is followed exactly
        found = found + (3 / len(directions) * directions.T @ moves).view_as(found)
    change = functional.avg_pool2d(functional.pad(found - small, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return (image + functional.interpolate(change, size=(height, width), mode="bilinear")).clamp(0, 1)


def at_middle_ranks(Q: Tensor, rows: Tensor) -> Tensor:
    """What sorted rows are mapped to: Q at the rank of each value, and for equal values at the middle of their ranks.

    Otherwise a white sky, which is the lightest colors of a photograph all at once, would take only the darkest of those that the
    painting has for them. Q, rows: DxQUANTILES. Returns the same.
    """
    first, last = torch.searchsorted(rows, rows - TIED), torch.searchsorted(rows, rows + TIED, right=True) - 1
    below, above = (first + last) // 2, (first + last + 1) // 2
    return (Q.gather(1, below) + Q.gather(1, above)) / 2


def _sorted_colors(image: Tensor, T: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The colors along each direction, sorted: (values, ranks in 0..1, weights), each 7xM, or 1xM if all rows are equal."""
    small = averaged(image)
    directions = directions_on(image.dtype, image.device)
    colors = small[0].flatten(1)
    if T is None:
        values = (directions @ colors).sort(dim=1, stable=True).values
        ranks = middles(values.shape[1], values)
        return values, ranks, torch.ones_like(ranks)
    shares = _averaged(T.to(image), (small.shape[-2], small.shape[-1])).flatten()
    inside = shares.nonzero()[:, 0]
    values, order = (directions @ colors[:, inside]).sort(dim=1, stable=True)
    weights = shares[inside][order]
    ranks = (weights.cumsum(1) - weights / 2) / weights.sum(1, keepdim=True)
    return values, ranks, weights


def _averaged(T: Tensor, size: Size) -> Tensor:
    """T averaged down to (height, width). On the CPU for MPS, which cannot average over areas of unequal sizes."""
    if T.device.type == "mps":
        return _averaged(T.cpu(), size).to(T.device)
    return functional.interpolate(T, size=size, mode="area")


@cache
def directions_on(dtype: torch.dtype, device: torch.device) -> Tensor:
    """DIRECTIONS as 7x3 unit vectors; moved to a device once, since every move waits for the device."""
    return functional.normalize(torch.tensor(DIRECTIONS, dtype=dtype, device=device))


def middles(count: int, like: Tensor) -> Tensor:
    """The middles of `count` equal parts of 0..1, 1xcount."""
    return ((torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count)[None]


def interpolated(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Row by row, ys at x, linear between the points (xs, ys) and constant beyond them; a single row of x or xs is used for all.

    Of points with equal xs, the first one counts at that place.
    """
    rows = max(len(x), len(xs))
    x, xs = x.expand(rows, -1).contiguous(), xs.expand(rows, -1).contiguous()
    after = torch.searchsorted(xs, x).clamp_max(xs.shape[1] - 1)
    before = (after - 1).clamp_min(0)
    low, high = xs.gather(1, before), xs.gather(1, after)
    share = ((x - low) / (high - low).clamp_min(torch.finfo(x.dtype).tiny)).clamp(0, 1)
    before, after = before.expand(len(ys), -1), after.expand(len(ys), -1)
    return torch.lerp(ys.gather(1, before), ys.gather(1, after), share)
