"""Pairs of color masks: equal colors say which parts of the photograph and of the painting belong together.

Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, CVPR 2017, section 4. Colors are compared as 16-bit levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from impasto.errors import PictureError
from impasto.pictures import Picture

Integers: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

LEVELS = 65535  # white in every channel
LEVELS_OF_A_BYTE = 257  # 16-bit levels per 8-bit level
NEAR = 12 * LEVELS_OF_A_BYTE  # in every channel: differences within one color that JPEG causes
HALO = 48 * LEVELS_OF_A_BYTE  # in every channel: differences that JPEG causes along an edge
LEAST_SHARE = 0.001  # of a mask: smaller regions that are nowhere flat are noise
EDGE_SHARE = 0.02  # of a mask: no single shade of antialiased edges reaches it
HALO_SHARE = 0.1  # of a mask: no single shade of halos reaches it
INSIDE = 0.1  # of a region's pixels have four equal neighbors (1 of 9 in a 3x3 square), and fewer of an edge's
MOST_TRIED = 4096  # exact colors: those of regions are among the most frequent ones


@dataclass(frozen=True)
class Regions:
    """What a pair of color masks says, the largest region of the content mask first.

    pairs: for every region of the content mask its weights in the content mask and in the style mask, each 1x1xHxW float32, 0 or 1,
        at its own mask's size. The content weights of all pairs sum to 1 at every pixel.
    names: of each region in the content mask: its color as #rrggbb, or its number in a gray label map.
    notes: one sentence for the user about the regions, and one per thing that was not taken as it stood.
    """

    pairs: tuple[tuple[Tensor, Tensor], ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Labeled:
    """A color mask, read.

    colors: Kx3 levels of its regions, the largest first; values: the numbers that a file of one channel has for them, or None; labels:
    HxW, which of them each pixel belongs to; exact: whether any two different colors are two regions.
    """

    colors: Integers
    values: Integers | None
    labels: Integers
    exact: bool
    notes: tuple[str, ...]

    def weight(self, index: int) -> Tensor:
        """1x1xHxW float32: 1 where the pixel has that color."""
        return torch.from_numpy((self.labels == index).astype(np.float32))[None, None]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the regions: numbers where the file has gray labels, colors otherwise."""
        if self.values is not None and _is_gray(self.colors):
            return tuple(map(str, self.values))
        return tuple(
            "#" + "".join(f"{round(level / LEVELS_OF_A_BYTE):02x}" for level in color) for color in self.colors.tolist()
        )

    @property
    def noun(self) -> str:
        """What the names are."""
        return "color" if self.names[0].startswith("#") else "value"


def paired_regions(content: Picture, style: Picture, *, most: int = 16) -> Regions:
    """The regions of two color masks, of the photograph and of the painting. Equal colors belong together.

    content, style: masks of any two sizes; transparent parts count as black. most: the largest number of regions in a mask.

    In a lossless mask any two different colors are two regions, and so are two numbers of a label map (a file of one channel: grays of
    any depth, palette indices, bits). Label maps belong together by number where equal numbers have equal colors, otherwise by color,
    and where that fails by number alone. So palettes may differ, and so may depths and profiles. Two masks of two grays each are black
    and white. In a lossy mask, and between such a
    mask and another, colors are equal when they differ by at most 12 of 255 in every channel. Colors that only the style mask has are
    left out, with a note. These pixels get the nearest color of their mask instead of a region of their own:

    - edges, antialiased or scaled: less than 2 percent of the mask, nowhere broader than a line (fewer than a tenth of the pixels have
      four neighbors of equal color) and, in a lossless mask of at most `most` colors, between the colors on either side;
    - noise: less than 0.1 percent of the mask, in a lossless mask only where nowhere broader than a line;
    - halos of JPEG: less than 10 percent, at most 48 of 255 from a more frequent color, and nowhere flat (fewer than a tenth of
      the pixels have four neighbors of exactly the same color).

    A lossless copy of a JPEG counts as lossy: of many colors most are nowhere flat, and near a flat one.

    Raises PictureError: a mask without flat colors, or with more than `most` of them; a color of the content mask that the style
    mask does not have.
    """
    ours, theirs = _labeled(content, "content mask", most), _labeled(style, "style mask", most)
    partners = _partners(ours, theirs)
    unused = [name for index, name in enumerate(theirs.names) if index not in partners]
    count = f"content mask: {len(partners)} region{'s' if len(partners) > 1 else ''}"
    left_out = (f"style mask: its {theirs.noun} {name} is not in the content mask and is left out" for name in unused)
    return Regions(
        pairs=tuple((ours.weight(index), theirs.weight(partner)) for index, partner in enumerate(partners)),
        names=ours.names,
        notes=(*ours.notes, *theirs.notes, count if ours.exact else f"{count}; near colors are merged", *left_out),
    )


def _partners(ours: _Labeled, theirs: _Labeled) -> list[int]:
    """Which of the style mask's regions belongs to each of the content mask's."""
    away = np.abs(ours.colors[:, None] - theirs.colors).max(axis=2)  # of K colors from L
    colored = away <= (0 if ours.exact and theirs.exact else NEAR)
    ways = [colored]
    if ours.values is not None and theirs.values is not None:
        numbered = ours.values[:, None] == theirs.values
        ways = [numbered & colored, colored, numbered]
    for way in ways:
        if way.any(axis=1).all():
            distances = np.stack([_distances(theirs.colors, color) for color in ours.colors])
            nearest: list[int] = np.where(way, distances, distances.max() + 1).argmin(axis=1).tolist()
            return nearest
    if all(mask.exact and len(mask.colors) == 2 and _is_gray(mask.colors) for mask in (ours, theirs)):
        darker_first, rank = np.argsort(theirs.colors[:, 0]), np.argsort(np.argsort(ours.colors[:, 0]))
        return [int(darker_first[place]) for place in rank]
    name = ours.names[int(colored.any(axis=1).argmin())]
    known = f"{theirs.noun}s are {', '.join(theirs.names)}"
    raise PictureError(f"content mask: its {ours.noun} {name} is not in the style mask, whose {known}")


def _is_gray(colors: Integers) -> bool:
    """Kx3: whether no color has a hue."""
    return bool((colors == colors[:, :1]).all())


def _labeled(picture: Picture, role: str, most: int) -> _Labeled:
    pixels = picture.over(0).cpu()
    levels = (pixels[0] * LEVELS).round().int().numpy()
    numbers = None if picture.alpha is not None else picture.labels
    values, first, exact = _by_frequency(_packed(levels) if numbers is None else numbers)
    palette: Integers = levels.reshape(3, -1)[:, first].T.astype(np.int64)

    def tally(*chosen: Bools) -> Integers:
        """How many pixels each value has, and how many of those that are chosen."""
        everywhere = np.ones(exact.shape, np.bool_)
        return np.stack([np.bincount(exact[which], minlength=len(values)) for which in (everywhere, *chosen)])

    flat = _inside(exact[None], 0)
    counts, lossless = tally(flat, _between(pixels)), picture.lossless
    found = _exact_regions(counts, most)
    if not lossless or _noisy(palette, counts[0], found, most):
        found, lossless = _main_colors(palette, tally(flat, _inside(levels, NEAR))), False
    _check_count(len(found), most, role)
    nearest = np.argmin([_distances(palette, palette[main]) for main in found], axis=0)
    nearest[found] = np.arange(len(found))  # numbers of one color are two regions
    return _Labeled(
        palette[found], None if numbers is None else values[found], nearest[exact], exact=lossless, notes=picture.notes
    )


def _packed(levels: npt.NDArray[np.int32]) -> Integers:
    """3xHxW -> HxW: a number for each color."""
    red, green, blue = levels.astype(np.int64)
    packed: Integers = red << 32 | green << 16 | blue
    return packed


def _by_frequency(numbers: npt.NDArray[np.signedinteger]) -> tuple[Integers, Integers, Integers]:
    """HxW -> the N different numbers, the most frequent first, where the first of each is, and HxW, which of them each pixel has."""
    row = numbers.ravel()
    starts = np.flatnonzero(np.diff(row, prepend=~row[:1]))  # of runs, of which flat masks have few
    lengths = np.diff(starts, append=len(row))
    values, first, found = np.unique(row[starts], return_index=True, return_inverse=True)
    order = np.argsort(-np.bincount(found, lengths), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return values[order].astype(np.int64), starts[first[order]], rank[found].repeat(lengths).reshape(numbers.shape)


def _inside(levels: npt.NDArray[np.signedinteger], tolerance: int) -> Bools:
    """CxHxW -> HxW: whether the four neighbors, as far as there are any, have the pixel's color."""
    inside = np.ones(levels.shape[1:], np.bool_)
    down, right = (np.asarray((np.abs(np.diff(levels, axis=axis)) <= tolerance).all(axis=0)) for axis in (1, 2))
    for view, same in ((inside[1:], down), (inside[:-1], down), (inside[:, 1:], right), (inside[:, :-1], right)):
        view &= same
    return inside


def _between(pixels: Tensor) -> Bools:
    """1x3xHxW -> HxW: whether the color is a mixture of colors around it that are not near each other."""
    high, low = functional.max_pool2d(pixels, 3, 1, 1), -functional.max_pool2d(-pixels, 3, 1, 1)
    found: Bools = ((low < pixels) & (pixels < high) & (high - low > NEAR / LEVELS)).any(1)[0].numpy()
    return found


def _exact_regions(tally: Integers, most: int) -> Integers:
    """The values of a lossless mask that are regions, the largest first. None if they cover less than half.

    tally: 3xN, how many pixels each value has, and how many with four neighbors of that value, and with a color that is `_between`.
    """
    pixels, flat, between = tally
    total = pixels.sum()
    thin = (flat < INSIDE * pixels) & (pixels < EDGE_SHARE * total)
    mixed = (2 * between > pixels) | (len(pixels) > most)
    found = np.flatnonzero(~thin | ((pixels >= LEAST_SHARE * total) & ~mixed))
    return found if 2 * pixels[found].sum() >= total else found[:0]


def _noisy(palette: Integers, pixels: Integers, found: Integers, most: int) -> bool:
    """Whether a mask that is lossless was made of a lossy one: most of its values are no regions, but near the color of one."""
    if len(palette) <= max(most, 2 * len(found)):
        return False
    thin = np.setdiff1d(np.arange(min(len(palette), MOST_TRIED)), found)
    near = np.zeros(len(thin), np.bool_)
    for main in found[:MOST_TRIED]:
        near |= _near(palette[thin], palette[main], NEAR)
    return bool(2 * pixels[thin[near]].sum() > pixels[thin].sum())


def _main_colors(palette: Integers, tally: Integers) -> Integers:
    """The colors of a lossy mask that are regions, the largest first. Each stands for all near it and not near a more frequent one.

    palette: Nx3, the most frequent first; tally: 3xN, how many pixels each color has, and how many with four neighbors of the very same
    color, and of a near one. None where the mask has no flat colors.
    """
    total = int(tally[0].sum())
    rest = np.arange(min(len(palette), MOST_TRIED))
    found: list[tuple[int, int]] = []
    if 2 * tally[0, rest].sum() < total:  # a photograph, or noise
        return rest[:0]
    while len(rest):
        seed = int(rest[0])
        alike = _near(palette[rest], palette[seed], NEAR)
        pixels, flat, inside = map(int, tally[:, rest[alike]].sum(axis=1))
        beside = _near(palette[[main for _, main in found]], palette[seed], HALO).any()
        share, solid = (HALO_SHARE, flat) if beside else (EDGE_SHARE, inside)
        if pixels / total >= LEAST_SHARE and (pixels / total >= share or solid / pixels >= INSIDE):
            found.append((-pixels, seed))
        rest = rest[~alike]
    return np.array([main for _, main in sorted(found)], np.int64)


def _check_count(count: int, most: int, role: str) -> None:
    rule = "a mask shows each region in one color"
    if not count:
        raise PictureError(f"{role} has no flat colors; {rule}")
    if count > most:
        raise PictureError(f"{role} has {count} colors, and at most {most} are allowed; {rule}")


def _near(a: Integers, b: Integers, tolerance: int) -> Bools:
    """...x3 -> ...: no channel differs by more."""
    return np.asarray((np.abs(a - b) <= tolerance).all(axis=-1), np.bool_)


def _distances(colors: Integers, color: Integers) -> Integers:
    """Nx3 and 3 -> N: squared Euclidean."""
    squares: Integers = ((colors - color) ** 2).sum(axis=1)
    return squares
