"""Regions: which parts of a painting are learnt from, and which part of it goes where.

A weight picture is white where it counts fully; a pair of colour masks says by equal colours which parts of the photograph and of the
painting belong together (Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, CVPR 2017, section 4: these are its
spatial guidance channels). `guidance` brings either to the size of a feature map.

Weights are 1x1xHxW float32, 0..1. Colours are compared in steps of 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from impasto import colors, pictures
from impasto.errors import PictureError
from impasto.pictures import PictureLike

Bytes: TypeAlias = npt.NDArray[np.uint8]
Integers: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

SAME_ASPECT = 1.02  # the most that one ratio of sides may be of another: what scaling and rounding make of it
NEAR = 12  # of 255 in every channel: one colour, as JPEG stores it
HALO = 48  # of 255 in every channel: what JPEG makes of one colour beside an edge
LEAST_SHARE = 0.001  # of a mask: less is noise
EDGE_SHARE = 0.02  # of a mask: no one shade of antialiased edges comes to that
HALO_SHARE = 0.1  # of a mask: no one shade of halos comes to that
INSIDE = 0.1  # of a colour's pixels have all neighbours alike in a region (1 of 9 in a 3x3 square), and fewer in an edge
MOST_TRIED = 4096  # exact colours: those of regions are among the most frequent ones


@dataclass(frozen=True)
class Regions:
    """What a pair of colour masks says, the largest region of the content mask first.

    pairs: for every colour of the content mask its weights in the content mask and in the style mask, each 1x1xHxW float32, 0 or 1,
        at its own mask's size. The content weights of all pairs sum to 1 at every pixel.
    colours: the colour of each pair in the content mask, as #rrggbb.
    notes: one sentence for the user per thing that was not taken as it stood.
    """

    pairs: tuple[tuple[Tensor, Tensor], ...]
    colours: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Labelled:
    """A colour mask, read. colours: Kx3, 0..255, the most frequent first; labels: HxW, which of them each pixel belongs to."""

    colours: Integers
    labels: Integers
    notes: tuple[str, ...]

    def weight(self, index: int) -> Tensor:
        """1x1xHxW float32: 1 where the pixel has that colour."""
        return torch.from_numpy((self.labels == index).astype(np.float32))[None, None]


# ----------------------------------------------------------------------------------------------------------------- weights


def load_weight(
    source: PictureLike, size: tuple[int, int], *, role: str, max_pixels: int = pictures.DEFAULT_MAX_PIXELS
) -> Tensor:
    """Read a weight picture: white 1, black 0, greys between; colours count by their luma, transparent parts as black.

    source: a picture as in `pictures.load`; size: (height, width) wanted, to which a mask of another size is resampled.
    role: what the mask is for; begins the error messages. max_pixels: as in `pictures.load`.
    Returns 1x1xHxW float32, 0..1.

    Raises PictureError: not a picture, another aspect ratio (by more than 2 percent, and by a pixel or more), or black everywhere.
    """
    picture = pictures.load(source, max_pixels=max_pixels, role=role)
    check_aspect(picture.size, size, role)
    weight = colors.luminance(_over_black(picture))
    if weight.max() == 0:
        raise PictureError(f"{role} is black everywhere, so it selects nothing; white is what counts")
    return pictures.resize(weight, size)


def _over_black(picture: pictures.Picture) -> Tensor:
    return picture.pixels if picture.alpha is None else picture.pixels * picture.alpha


def check_aspect(found: tuple[int, int], wanted: tuple[int, int], role: str) -> None:
    """Raise PictureError for a mask whose (height, width) has another aspect than its picture's.

    Tiny sizes are rounded by more than 2 percent, so a side may also be up to a pixel from what the other one asks for.
    """
    (height, width), (wanted_height, wanted_width) = found, wanted
    ratio = (width * wanted_height) / (height * wanted_width)
    off = min(abs(wanted_width * ratio - wanted_width), abs(wanted_height / ratio - wanted_height))
    if max(ratio, 1 / ratio) > SAME_ASPECT and off >= 1:
        raise PictureError(
            f"{role} is {width}x{height} pixels; its sides must be in the ratio of those of its picture, "
            f"{wanted_width}x{wanted_height}"
        )


# ----------------------------------------------------------------------------------------------------------------- regions


def paired_regions(
    content_mask: PictureLike, style_mask: PictureLike, *, most: int = 16, max_pixels: int = pictures.DEFAULT_MAX_PIXELS
) -> Regions:
    """Read two colour masks, of the photograph and of the painting, in which equal colours belong together.

    content_mask, style_mask: pictures as in `pictures.load`, of any two sizes; transparent parts count as black.
    most: the most colours a mask may have. max_pixels: as in `pictures.load`.

    Colours are equal when they differ by at most 12 of 255 in every channel, within a mask and between the two. Colours that only the
    style mask has are left out, and noted. No colours of their own, but counted to the nearest one of their mask, are those of

    - noise: less than 0.1 percent of the mask;
    - edges, antialiased or scaled: less than 2 percent, and nowhere broader than a line (fewer than a tenth of the pixels have
      four neighbours of equal colour);
    - JPEG's halos: less than 10 percent, at most 48 of 255 from a more frequent colour, and nowhere flat (fewer than a tenth of
      the pixels have four neighbours of exactly the same colour).

    Raises PictureError: not a picture; no mask of a few flat colours; more than `most` of them; a colour of the content mask that
    the style mask does not have.
    """
    content = _labelled(content_mask, "content mask", most, max_pixels)
    style = _labelled(style_mask, "style mask", most, max_pixels)
    partners = [_partner(colour, style.colours) for colour in content.colours]
    unused = [colour for index, colour in enumerate(style.colours) if index not in partners]
    left_out = tuple(f"style mask: its colour {_name(colour)} is not in the content mask and is left out" for colour in unused)
    return Regions(
        pairs=tuple((content.weight(index), style.weight(partner)) for index, partner in enumerate(partners)),
        colours=tuple(map(_name, content.colours)),
        notes=(*content.notes, *style.notes, *left_out),
    )


def _partner(colour: Integers, colours: Integers) -> int:
    """Which of the style mask's colours is the content mask's."""
    near = np.flatnonzero(_near(colours, colour, NEAR))
    if not len(near):
        known = ", ".join(map(_name, colours))
        raise PictureError(f"content mask: its colour {_name(colour)} is not in the style mask, whose colours are {known}")
    return int(near[_distances(colours[near], colour).argmin()])


def _labelled(source: PictureLike, role: str, most: int, max_pixels: int) -> _Labelled:
    picture = pictures.load(source, max_pixels=max_pixels, role=role)
    levels: Bytes = np.asarray(pictures.to_image(_over_black(picture)))
    palette, exact = _exact_colours(levels)
    # 3xN: how many pixels each colour has, how many of them with neighbours near in colour, and how many with the very same
    chosen = (np.ones(exact.shape, np.bool_), _inside(levels, NEAR), _inside(levels, 0))
    tally = np.stack([np.bincount(exact[which], minlength=len(palette)) for which in chosen])
    colours = _main_colours(palette, tally)
    _check_count(len(colours), most, role)
    nearest = np.argmin([_distances(palette, colour) for colour in colours], axis=0)
    return _Labelled(colours, nearest[exact], picture.notes)


def _exact_colours(levels: Bytes) -> tuple[Integers, Integers]:
    """HxWx3 -> the Nx3 different colours, the most frequent first, and HxW, which of them each pixel has."""
    packed = levels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    values, found, counts = np.unique(packed.ravel(), return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    palette = np.stack([values >> 16, values >> 8 & 0xFF, values & 0xFF], axis=1)
    return palette[order], rank[found].reshape(packed.shape)


def _inside(levels: Bytes, tolerance: int) -> Bools:
    """HxWx3 -> HxW: whether the four neighbours, as far as there are any, have the pixel's colour."""
    inside = np.ones(levels.shape[:2], np.bool_)
    colours = levels.astype(np.int16)
    down, right = _near(colours[1:], colours[:-1], tolerance), _near(colours[:, 1:], colours[:, :-1], tolerance)
    for view, same in ((inside[1:], down), (inside[:-1], down), (inside[:, 1:], right), (inside[:, :-1], right)):
        view &= same
    return inside


def _main_colours(palette: Integers, tally: Integers) -> Integers:
    """The Kx3 colours of regions, the largest first. Each stands for all that are near it and not near a more frequent one.

    palette: Nx3, the most frequent first; tally: 3xN, see `_labelled`. None where the mask has no flat colours: Kx3 with K = 0.
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
    rule = "a mask shows each region in one colour"
    if not count:
        raise PictureError(f"{role} has no flat colours; {rule}")
    if count > most:
        raise PictureError(f"{role} has {count} colours, and at most {most} are allowed; {rule}")


def _near(a: npt.NDArray[np.signedinteger], b: npt.NDArray[np.signedinteger], tolerance: int) -> Bools:
    """...x3 -> ...: no channel differs by more."""
    return np.asarray((np.abs(a - b) <= tolerance).all(axis=-1), np.bool_)


def _distances(colours: Integers, colour: Integers) -> Integers:
    """Nx3 and 3 -> N: squared Euclidean."""
    squares: Integers = ((colours - colour) ** 2).sum(axis=1)
    return squares


def _name(colour: Integers) -> str:
    return "#" + "".join(f"{int(level):02x}" for level in colour)


# ------------------------------------------------------------------------------------------------------------ feature maps


def guidance(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask at the size of a feature map: the mean over the area that each position covers; along a side that grows, the nearest.

    mask: 1x1xHxW float, 0..1, on any device; size: (height, width). Returns 1x1xheightxwidth float32, 0..1, on the mask's device:
    exactly 0 where none of the pixels covered is selected (even in part), exactly 1 where all are; the mean of the mask is kept
    where both sides shrink.
    """
    height, width = size
    columns = _averaged(mask.detach().cpu().double(), width)  # the CPU, because MPS has no float64
    return _averaged(columns.mT, height).mT.clamp(0, 1).to(mask.device, torch.float32).contiguous()


def _averaged(x: Tensor, length: int) -> Tensor:
    """...xN -> ...xlength: means over N / length neighbours, of which the outer ones count by the part that is covered."""
    before = x.shape[-1]
    if length >= before:
        return x[..., (2 * torch.arange(length) + 1) * before // (2 * length)]
    edges = torch.arange(length + 1, dtype=torch.float64) * before / length
    whole = edges.long().clamp_max(before - 1)
    sums = functional.pad(x.cumsum(-1), (1, 0))
    up_to_edges = sums[..., whole] + (edges - whole) * x[..., whole]
    return up_to_edges.diff(dim=-1) * (length / before)
