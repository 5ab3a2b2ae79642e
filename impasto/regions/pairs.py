"""Pairs of color masks: equal colors say which parts of the photograph and of the painting belong together.

Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, CVPR 2017, section 4. Colors are compared as 8-bit levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from impasto import pictures
from impasto.errors import PictureError
from impasto.pictures import Picture

Bytes: TypeAlias = npt.NDArray[np.uint8]
Integers: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

NEAR = 12  # of 255 in every channel: differences within one color that JPEG causes
HALO = 48  # of 255 in every channel: differences that JPEG causes along an edge
LEAST_SHARE = 0.001  # of a mask: smaller regions are noise
EDGE_SHARE = 0.02  # of a mask: no single shade of antialiased edges reaches it
HALO_SHARE = 0.1  # of a mask: no single shade of halos reaches it
INSIDE = 0.1  # of a region's pixels have four equal neighbors (1 of 9 in a 3x3 square), and fewer of an edge's
MOST_TRIED = 4096  # exact colors: those of regions are among the most frequent ones


@dataclass(frozen=True)
class Regions:
    """What a pair of color masks says, the largest region of the content mask first.

    pairs: for every color of the content mask its weights in the content mask and in the style mask, each 1x1xHxW float32, 0 or 1,
        at its own mask's size. The content weights of all pairs sum to 1 at every pixel.
    colors: the color of each pair in the content mask, as #rrggbb.
    notes: one sentence for the user per thing that was not taken as it stood.
    """

    pairs: tuple[tuple[Tensor, Tensor], ...]
    colors: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Labeled:
    """A color mask, read. colors: Kx3, 0..255, the most frequent first; labels: HxW, which of them each pixel belongs to."""

    colors: Integers
    labels: Integers
    notes: tuple[str, ...]

    def weight(self, index: int) -> Tensor:
        """1x1xHxW float32: 1 where the pixel has that color."""
        return torch.from_numpy((self.labels == index).astype(np.float32))[None, None]


def paired_regions(content: Picture, style: Picture, *, most: int = 16) -> Regions:
    """The regions of two color masks, of the photograph and of the painting. Equal colors belong together.

    content, style: masks of any two sizes; transparent parts count as black. most: the largest number of colors in a mask.

    Colors are equal when they differ by at most 12 of 255 in every channel, within a mask and between the two. Colors that only the
    style mask has are left out, with a note. These pixels get the nearest color of their mask instead of a region of their own:

    - noise: less than 0.1 percent of the mask;
    - edges, antialiased or scaled: less than 2 percent, and nowhere broader than a line (fewer than a tenth of the pixels have
      four neighbors of equal color);
    - halos of JPEG: less than 10 percent, at most 48 of 255 from a more frequent color, and nowhere flat (fewer than a tenth of
      the pixels have four neighbors of exactly the same color).

    Raises PictureError: a mask without flat colors, or with more than `most` of them; a color of the content mask that the style
    mask does not have.
    """
    ours, theirs = _labeled(content, "content mask", most), _labeled(style, "style mask", most)
    partners = [_partner(color, theirs.colors) for color in ours.colors]
    unused = [color for index, color in enumerate(theirs.colors) if index not in partners]
    left_out = tuple(f"style mask: its color {_name(color)} is not in the content mask and is left out" for color in unused)
    return Regions(
        pairs=tuple((ours.weight(index), theirs.weight(partner)) for index, partner in enumerate(partners)),
        colors=tuple(map(_name, ours.colors)),
        notes=(*ours.notes, *theirs.notes, *left_out),
    )


def _partner(color: Integers, colors: Integers) -> int:
    """Which of the style mask's colors is the content mask's."""
    near = np.flatnonzero(_near(colors, color, NEAR))
    if not len(near):
        known = ", ".join(map(_name, colors))
        raise PictureError(f"content mask: its color {_name(color)} is not in the style mask, whose colors are {known}")
    return int(near[_distances(colors[near], color).argmin()])


def _labeled(picture: Picture, role: str, most: int) -> _Labeled:
    levels: Bytes = np.asarray(pictures.to_image(picture.over(0)))
    palette, exact = _exact_colors(levels)
    # 3xN: how many pixels each color has, how many of them with neighbors near in color, and how many with the very same
    chosen = (np.ones(exact.shape, np.bool_), _inside(levels, NEAR), _inside(levels, 0))
    tally = np.stack([np.bincount(exact[which], minlength=len(palette)) for which in chosen])
    colors = _main_colors(palette, tally)
    _check_count(len(colors), most, role)
    nearest = np.argmin([_distances(palette, color) for color in colors], axis=0)
    return _Labeled(colors, nearest[exact], picture.notes)


def _exact_colors(levels: Bytes) -> tuple[Integers, Integers]:
    """HxWx3 -> the Nx3 different colors, the most frequent first, and HxW, which of them each pixel has."""
    packed = levels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    values, found, counts = np.unique(packed.ravel(), return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    palette = np.stack([values >> 16, values >> 8 & 0xFF, values & 0xFF], axis=1)
    return palette[order], rank[found].reshape(packed.shape)


def _inside(levels: Bytes, tolerance: int) -> Bools:
    """HxWx3 -> HxW: whether the four neighbors, as far as there are any, have the pixel's color."""
    inside = np.ones(levels.shape[:2], np.bool_)
    colors = levels.astype(np.int16)
    down, right = _near(colors[1:], colors[:-1], tolerance), _near(colors[:, 1:], colors[:, :-1], tolerance)
    for view, same in ((inside[1:], down), (inside[:-1], down), (inside[:, 1:], right), (inside[:, :-1], right)):
        view &= same
    return inside


def _main_colors(palette: Integers, tally: Integers) -> Integers:
    """The Kx3 colors of regions, the largest first. Each stands for all that are near it and not near a more frequent one.

    palette: Nx3, the most frequent first; tally: 3xN, see `_labeled`. None where the mask has no flat colors: Kx3 with K = 0.
    """
    total = int(tally[0].sum())
    rest = np.arange(min(len(palette), MOST_TRIED))
    found: list[tuple[int, int]] = []
    if 2 * tally[0, rest].sum() < total:  # a photograph, or noise
        return palette[:0]
    while len(rest):
        seed = int(rest[0])
        alike = _near(palette[rest], palette[seed], NEAR)
        pixels, inside, flat = map(int, tally[:, rest[alike]].sum(axis=1))
        beside = _near(palette[[main for _, main in found]], palette[seed], HALO).any()
        share, solid = (HALO_SHARE, flat) if beside else (EDGE_SHARE, inside)
        if pixels / total >= LEAST_SHARE and (pixels / total >= share or solid / pixels >= INSIDE):
            found.append((-pixels, seed))
        rest = rest[~alike]
    return palette[[main for _, main in sorted(found)]]


def _check_count(count: int, most: int, role: str) -> None:
    rule = "a mask shows each region in one color"
    if not count:
        raise PictureError(f"{role} has no flat colors; {rule}")
    if count > most:
        raise PictureError(f"{role} has {count} colors, and at most {most} are allowed; {rule}")


def _near(a: npt.NDArray[np.signedinteger], b: npt.NDArray[np.signedinteger], tolerance: int) -> Bools:
    """...x3 -> ...: no channel differs by more."""
    return np.asarray((np.abs(a - b) <= tolerance).all(axis=-1), np.bool_)


def _distances(colors: Integers, color: Integers) -> Integers:
    """Nx3 and 3 -> N: squared Euclidean."""
    squares: Integers = ((colors - color) ** 2).sum(axis=1)
    return squares


def _name(color: Integers) -> str:
    return "#" + "".join(f"{int(level):02x}" for level in color)
