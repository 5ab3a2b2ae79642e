"""The colors of images: a painting's palette, and the table that moves a photograph's colors to it (`fast.recolor`), in numpy."""

from __future__ import annotations

import numpy as np

from impasto.portable.network import Floats

DIRECTIONS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]], np.float32)
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
QUANTILES = 256  # of the colors along a direction
STEPS = 8  # towards the palette
TIED = 1e-5  # in 0..1: colors no further apart share a rank
GRID = 17  # colors along each axis of the table
SIDE = 48  # pixels: the photograph's colors are those of its means over squares that leave about so many
PALETTE_SIDE = 64  # pixels: a painting's squares leave so many at least


def table(photo: Floats, palette: Floats) -> Floats:
    """Where each color of a grid goes, 3xGRID^3; red varies fastest. photo: 1x3xHxW, 0..1; palette: 7xQUANTILES."""
    steps = np.linspace(0, 1, GRID, dtype=np.float32)
    moved = np.stack(np.meshgrid(steps, steps, steps, indexing="ij")[::-1]).reshape(3, -1)
    found = averaged(photo, -(-max(photo.shape[2:]) // SIDE))
    for _ in range(STEPS):
        rows = quantiles(found)
        wanted = at_middle_ranks(palette, rows)
        moved, found = (pulled(colors, rows, wanted) for colors in (moved, found))
    return moved


def palette_of(painting: Floats) -> Floats:
    """A painting's colors along each direction, sorted: 7xQUANTILES, see `impasto.palette.quantiles`. painting: 1x3xHxW, 0..1."""
    return quantiles(averaged(painting, max(1, max(painting.shape[2:]) // PALETTE_SIDE)))


def averaged(image: Floats, block: int) -> Floats:
    """The means over squares of `block` pixels, 3xM. image: 1x3xHxW."""
    height, width = image.shape[2:]
    down, across = min(block, height), min(block, width)
    whole = image[0, :, : height // down * down, : width // across * across]
    squares = whole.reshape(3, height // down, down, width // across, across)
    return np.asarray(squares.mean((2, 4)), np.float32).reshape(3, -1)


def quantiles(colors: Floats) -> Floats:
    """The values in the middle of QUANTILES equal parts along each direction, sorted. colors: 3xM. Returns 7xQUANTILES."""
    count = colors.shape[1]
    rows = [np.interp(middles(QUANTILES), middles(count), row) for row in np.sort(DIRECTIONS @ colors, 1)]
    return np.stack(rows).astype(np.float32)


def middles(count: int) -> Floats:
    """The middles of `count` equal parts of 0..1."""
    return (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count)


def at_middle_ranks(palette: Floats, rows: Floats) -> Floats:
    """What sorted rows are mapped to: the palette at the rank of each value, and for equal values at the middle of their ranks."""
    found = []
    for Q, row in zip(palette, rows, strict=True):
        first, last = np.searchsorted(row, row - TIED), np.searchsorted(row, row + TIED, "right") - 1
        found.append((Q[(first + last) // 2] + Q[(first + last + 1) // 2]) / 2)
    return np.stack(found)


def pulled(colors: Floats, rows: Floats, wanted: Floats) -> Floats:
    """Colors, 3xM, after a step along all directions, by the monotonic maps from rows to wanted, both 7xQUANTILES."""
    along = DIRECTIONS @ colors
    moves = np.stack([np.interp(x, before, after) for x, before, after in zip(along, rows, wanted, strict=True)]) - along
    return np.asarray(colors + np.float32(3 / len(DIRECTIONS)) * (DIRECTIONS.T @ moves), np.float32)
