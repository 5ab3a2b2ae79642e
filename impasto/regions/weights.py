"""Weights from masks: 1x1xHxW float32 in [0, 1], 1 where a mask is white, 0 where it is black."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from impasto import colors, pictures
from impasto.errors import PictureError
from impasto.files import printable
from impasto.ladder import Size
from impasto.pictures import Picture

DARK, BRIGHT = 0.1, 0.9  # weights: a mask that has none above is nearly black; one that has none above is nowhere white
LITTLE = 0.001  # of an image: a mask that selects, or leaves, less than this is probably a mistake
SAME_ASPECT = 1.02  # aspect ratios that differ by no more are equal: scaling and rounding cause as much


def weight_of(picture: Picture, size: Size, *, role: str) -> tuple[Tensor, tuple[str, ...]]:
    """The weight that a mask gives: white 1, black 0, grays between. Colors count by their luma, transparent parts as black.

    A lossless mask of two values is black and white, whatever they are: the lighter one is white, and of two indices of one color the
    higher one. A mask of a single gray has that weight everywhere.
    size: (height, width) wanted, to which a mask of another size is resampled. role: what the mask is for; errors and notes begin
    with it.
    Returns 1x1xheightxwidth float32 in [0, 1], and notes for the user.

    Raises PictureError: another aspect ratio (by more than 2 percent, and by a pixel or more), or black or nearly black everywhere, as
    label maps are.
    """
    name = f"{role} {printable(picture.name)}" if picture.name else role
    check_aspect(picture.size, size, name)
    light = colors.luminance(picture.over(0))
    weight = _black_and_white(picture, light)
    lightest = float(weight.max())
    if lightest == 0:
        raise PictureError(f"{name} is black everywhere, so it selects nothing; white selects")
    if lightest < DARK:
        white = 255 if abs(lightest * 255 - round(lightest * 255)) < 1e-3 else 65535
        problem = f"{name} is nearly black: its lightest value is {lightest * white:.0f} of {white}. It looks like a label map"
        raise PictureError(problem, remedy="make a mask that is white where it selects")
    notes = (f"{name} {remark}" for remark in _remarks(picture, light, weight))
    return pictures.resize(weight, size), (*picture.notes, *notes)


def _black_and_white(picture: Picture, light: Tensor) -> Tensor:
    """Its light, 1x1xHxW, and for a lossless mask of two values 0 and 1 instead."""
    if not picture.lossless:
        return light
    values = light.cpu().numpy()
    if values.min() == values.max() and picture.labels is not None and picture.alpha is None:
        values = picture.labels[None, None]  # two indices of one color
    found = np.unique(values)
    return torch.from_numpy((values == found[1]).astype(np.float32)) if len(found) == 2 else light


def _remarks(picture: Picture, light: Tensor, weight: Tensor) -> Iterator[str]:
    """What a user may not expect of a mask's light and of the weight that it gives."""
    share, most = float(weight.mean()), float(weight.max())
    if not torch.equal(light, weight):
        yield "has two values, which count as black and white"
    elif bool((picture.pixels.amax(1) - picture.pixels.amin(1)).max() > DARK):
        yield "has colors, which count by their brightness"
    if most < BRIGHT:
        yield f"is nowhere white: it selects by {most * 100:.0f} percent at most"
    if share < LITTLE:
        yield f"selects almost nothing: {share * 100:.1g} percent of the image"
    elif share > 1 - LITTLE:
        yield f"selects {'' if share == 1 else 'almost '}the whole image"


def check_aspect(found: Size, wanted: Size, role: str) -> None:
    """Raise PictureError for a mask whose (height, width) has another aspect ratio than its image.

    Rounding changes the ratio of tiny sizes by more than 2 percent, so a side may also be up to a pixel off.
    """
    (height, width), (wanted_height, wanted_width) = found, wanted
    ratio = (width * wanted_height) / (height * wanted_width)
    off = min(abs(wanted_width * ratio - wanted_width), abs(wanted_height / ratio - wanted_height))
    if max(ratio, 1 / ratio) > SAME_ASPECT and off >= 1:
        raise PictureError(
            f"{role} is {width}x{height} pixels; its aspect ratio must be that of its image, {wanted_width}x{wanted_height}"
        )


def guidance(mask: Tensor, size: Size) -> Tensor:
    """A mask at the size of a feature map: the mean over the area that each position covers; along a side that grows, the nearest.

    mask: 1x1xHxW float, 0..1, on any device; size: (height, width). Returns 1x1xheightxwidth float32, 0..1, on the mask's device:
    exactly 0 where no pixel that the position covers is selected (even in part), exactly 1 where all are. The mean of the mask is
    kept where both sides shrink. These are the spatial guidance channels of Gatys et al. 2017, section 4.
    """
    height, width = size
    columns = _averaged(mask.detach().cpu().double(), width)  # the CPU, because MPS has no float64
    return _averaged(columns.mT, height).mT.clamp(0, 1).to(mask.device, torch.float32).contiguous()


def _averaged(x: Tensor, length: int) -> Tensor:
    """...xN -> ...xlength: means over N / length neighbors, of which the outer ones count by the part that is covered."""
    before = x.shape[-1]
    if length >= before:
        return x[..., (2 * torch.arange(length) + 1) * before // (2 * length)]
    edges = torch.arange(length + 1, dtype=torch.float64) * before / length
    whole = edges.long().clamp_max(before - 1)
    sums = functional.pad(x.cumsum(-1), (1, 0))
    up_to_edges = sums[..., whole] + (edges - whole) * x[..., whole]
    return up_to_edges.diff(dim=-1) * (length / before)
