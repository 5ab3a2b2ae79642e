"""Moving a photograph's colors to a painting's palette by a table of colors.

`palette.recolored` moves every pixel. Here the same flow moves the colors of a coarse grid of all colors, and pixels are looked up
between them. It takes a few milliseconds whatever the size of the photograph.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from impasto.palette import QUANTILES, STEPS, at_middle_ranks, directions_on, interpolated, middles

GRID = 17  # colors along each axis of the table
SIDE = 48  # pixels: the photograph's colors are those of its means over squares that leave about so many


def colors_of(image: Tensor, T: Tensor | None = None) -> Tensor:
    """The colors that count: means over squares. image: Bx3xHxW. Returns Bx3xM.

    T: 1x1xHxW, for a single image: the region whose colors count, or None for all.
    """
    height, width = image.shape[-2:]
    block = -(-max(height, width) // SIDE)
    squares = (min(block, height), min(block, width))
    colors = functional.avg_pool2d(image, squares).flatten(2)
    if T is None:
        return colors
    inside = functional.avg_pool2d(T, squares).flatten()
    return colors[..., inside >= min(0.5, float(inside.max()))]


def table(colors: Tensor, Q: Tensor) -> Tensor:
    """Where each color of a grid goes: Bx3xGRIDxGRIDxGRID, indexed by blue, green and red.

    colors: Bx3xM of the photographs (`colors_of`); Q: 7xQUANTILES of the painting.
    """
    directions = directions_on(colors.dtype, colors.device)
    moved, found = _grid().to(colors).expand(len(colors), -1, -1), colors
    for _ in range(STEPS):
        rows = _quantiles(directions @ found).flatten(0, 1)
        wanted = at_middle_ranks(Q.repeat(len(colors), 1), rows)
        moved, found = (_pulled(x, directions, rows, wanted) for x in (moved, found))
    return moved.reshape(len(colors), 3, GRID, GRID, GRID)


def _pulled(colors: Tensor, directions: Tensor, rows: Tensor, wanted: Tensor) -> Tensor:
    """Colors, Bx3xM, after a step along all directions, Dx3, by the monotonic maps from rows to wanted, both BDxQUANTILES."""
    along = directions @ colors
    moves = interpolated(along.flatten(0, 1), rows, wanted).view_as(along) - along
    return colors + 3 / len(directions) * directions.T @ moves


def looked_up(table: Tensor, image: Tensor) -> Tensor:
    """The image with its colors replaced, Bx3xHxW in 0..1: trilinear between the colors of the table."""
    grid = (image * 2 - 1).permute(0, 2, 3, 1)[:, None]
    found = functional.grid_sample(table, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return found[:, :, 0].clamp(0, 1)


def recolored(image: Tensor, Q: Tensor) -> Tensor:
    """Images in the painting's palette. image: Bx3xHxW, 0..1. Returns the same, channels_last."""
    return looked_up(table(colors_of(image), Q), image).contiguous(memory_format=torch.channels_last)


@cache
def _grid() -> Tensor:
    """All colors of the table, 1x3xGRID^3: red varies fastest."""
    steps = torch.linspace(0, 1, GRID)
    blue, green, red = torch.meshgrid(steps, steps, steps, indexing="ij")
    return torch.stack([red, green, blue]).flatten(1)[None]


def _quantiles(values: Tensor) -> Tensor:
    """The values in the middle of QUANTILES equal parts, sorted. values: BxDxM. Returns BxDxQUANTILES."""
    ordered = values.sort(2).values.flatten(0, 1)
    found = interpolated(middles(QUANTILES, values), middles(values.shape[2], values), ordered)
    return found.view(*values.shape[:2], QUANTILES)


def palette_distance(image: Tensor, Q: Tensor) -> Tensor:
    """`palette.palette_loss` of Bx3xHxW images, B."""
    rows = _quantiles(directions_on(image.dtype, image.device) @ colors_of(image))
    return (rows - Q).square().mean((1, 2)) / Q.var(1, correction=0).mean().clamp_min(1e-3)
