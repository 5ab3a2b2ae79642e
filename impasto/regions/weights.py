"""Weights from masks: 1x1xHxW float32 in [0, 1], 1 where a mask is white, 0 where it is black."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from impasto import colors, pictures
from impasto.errors import PictureError
from impasto.ladder import Size
from impasto.pictures import Picture

SAME_ASPECT = 1.02  # aspect ratios that differ by no more are equal: scaling and rounding cause as much


def weight_of(picture: Picture, size: Size, *, role: str) -> Tensor:
    """The weight that a mask gives: white 1, black 0, grays between. Colors count by their luma, transparent parts as black.

    size: (height, width) wanted, to which a mask of another size is resampled. role: what the mask is for; error messages begin
    with it.
    Returns 1x1xheightxwidth float32 in [0, 1].

    Raises PictureError: another aspect ratio (by more than 2 percent, and by a pixel or more), or black everywhere.
    """
    check_aspect(picture.size, size, role)
    weight = colors.luminance(picture.over(0))
    if weight.max() == 0:
        raise PictureError(f"{role} is black everywhere, so it selects nothing; white selects")
    return pictures.resize(weight, size)


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
