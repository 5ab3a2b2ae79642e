"""Which part of the image gets which style, and which part stays the photograph. Styles are indices into the caller's list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.ladder import Size
from impasto.pictures import Picture
from impasto.regions.pairs import paired_regions
from impasto.regions.weights import check_aspect, weight_of


@dataclass(frozen=True)
class Region:
    """A style and where it goes.

    style: index into the caller's list of styles. weight: 1x1xhxw, 0..1, over the whole image at any size; None for everywhere.
    part: 1x1xhxw, 0..1, over the painting at any size: the part that the style is taken from; None for all of it.
    """

    style: int
    weight: Tensor | None = None
    part: Tensor | None = None

    @property
    def share(self) -> float:
        """The region's share of the image, 0..1."""
        return 1.0 if self.weight is None else float(self.weight.mean())


@dataclass(frozen=True)
class Layout:
    """All regions, and how much of the result is painted: 1x1xhxw, 0..1, where 0 stays the photograph; None for 1 everywhere."""

    regions: tuple[Region, ...]
    painted: Tensor | None = None
    notes: tuple[str, ...] = ()


def whole() -> Layout:
    """Style 0 everywhere."""
    return Layout((Region(0),))


def paired(content: Picture, style: Picture, photo_size: Size, painting_size: Size) -> Layout:
    """Each part of the photograph gets style 0 from the part of the painting that has the same color in the masks.

    Gatys et al. 2017, section 4. content, style: the color masks of the photograph and of the painting, whose (height, width) are
    photo_size and painting_size. Raises PictureError for masks that cannot be used.
    """
    found = paired_regions(content, style)
    check_aspect(content.size, photo_size, "content mask")
    check_aspect(style.size, painting_size, "style mask")
    return Layout(tuple(Region(0, here, there) for here, there in found.pairs), notes=found.notes)


def layered(layers: Sequence[tuple[Picture, int | None]], size: Size, base: int | None) -> Layout:
    """Masks over one another, the last on top: white gets the layer's style, gray gets it in part.

    layers: (mask, style), with None as the style to keep the photograph. size: (height, width) of the photograph. base: the style of
    what no mask covers; None keeps the photograph there.
    Raises PictureError for masks that cannot be used, OptionError when nothing is left to paint.
    """
    left = torch.ones(1, 1, *size)  # the part that the layers above leave visible
    kept = torch.zeros(1, 1, *size)
    regions, notes = list[Region](), list[str]()
    for mask, style in reversed(layers):
        weight, remarks = weight_of(mask, size, role="mask")
        notes[:0] = remarks
        seen, left = left * weight, left * (1 - weight)
        if style is None:
            kept = kept + seen
        elif bool(seen.any()):
            regions.append(Region(style, seen))
    if base is None:
        kept = kept + left
    elif bool(left.any()):
        regions.append(Region(base, left))
    if not regions:
        raise OptionError("the masks leave nothing to paint")
    return Layout(tuple(regions), painted=1 - kept if bool(kept.any()) else None, notes=tuple(notes))
