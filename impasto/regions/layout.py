"""Which part of the picture gets which style, and which part stays the photograph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from impasto import masks
from impasto.errors import OptionError
from impasto.pictures import Picture
from impasto.styles import Blend, Style

KEEP = "keep"  # instead of a style: the photograph stays


@dataclass(frozen=True)
class Region:
    """A style and where it goes. weight: 1x1xhxw, 0..1, over the whole picture at any size; None for everywhere."""

    style: Style
    weight: Tensor | None = None

    @property
    def share(self) -> float:
        """The region's share of the picture, 0..1."""
        return 1.0 if self.weight is None else float(self.weight.mean())


@dataclass(frozen=True)
class Layout:
    """All regions. painted: 1x1xhxw, 0..1: how much of the result is painted at all; 0 is the photograph. None for everywhere 1."""

    regions: tuple[Region, ...]
    painted: Tensor | None = None
    notes: tuple[str, ...] = ()

    def recoloured(self, change: Callable[[Tensor], Tensor]) -> Layout:
        """The same with other colours of every painting; see `Style.recoloured`."""
        regions = tuple(replace(region, style=region.style.recoloured(change)) for region in self.regions)
        return replace(self, regions=regions)


def whole(styles: Sequence[Style], blend: Sequence[float]) -> Style:
    """One style of several. blend: a number for each, of any sum; none for equal shares. Raises OptionError for another count."""
    if blend and len(blend) != len(styles):
        raise OptionError(f"blend must have one number for each of the {len(styles)} styles, not {len(blend)}")
    if len(styles) == 1:
        return styles[0]
    shares = blend or (1.0,) * len(styles)
    return Blend([(style, share / sum(shares)) for style, share in zip(styles, shares, strict=True) if share])


def paired(style: Style, photo: Picture, content_mask: Path, style_mask: Path, *, max_pixels: int) -> Layout:
    """Each part of the photograph gets the style of the part of the painting that has its colour in the masks.

    Gatys et al. 2017, section 4. Raises PictureError for masks that cannot be used, OptionError for a style without its painting.
    """
    found = masks.paired_regions(content_mask, style_mask, max_pixels=max_pixels)
    masks.check_aspect(_size(found.pairs[0][0]), photo.size, "content mask")
    regions = tuple(Region(style.masked(there), here) for here, there in found.pairs)
    return Layout(regions, notes=found.notes)


def _size(weight: Tensor) -> tuple[int, int]:
    """(height, width) of 1x1xHxW."""
    return int(weight.shape[-2]), int(weight.shape[-1])


def layered(
    base: Style | None, photo: Picture, layers: Sequence[tuple[str, str]], load: Callable[[str], Style], *, max_pixels: int
) -> Layout:
    """Masks laid over one another, the later on top: white gets the layer's style, or with KEEP stays the photograph; grey is partial.

    base: the style of what no mask covers; None leaves that the photograph. layers: (mask file, style or KEEP). load: makes a style.
    Raises PictureError for masks that cannot be used.
    """
    left = torch.ones(1, 1, *photo.size)  # what the layers above leave visible
    kept = torch.zeros(1, 1, *photo.size)
    regions: list[Region] = []
    for file, style in reversed(layers):
        weight = masks.load_weight(Path(file), photo.size, role="mask", max_pixels=max_pixels)
        seen, left = left * weight, left * (1 - weight)
        if style == KEEP:
            kept = kept + seen
        elif bool(seen.any()):
            regions.append(Region(load(style), seen))
    if base is None:
        kept = kept + left
    elif bool(left.any()):
        regions.append(Region(base, None if bool((left == 1).all()) else left))  # a weight of 1 everywhere costs time
    if not regions:
        raise OptionError("the masks leave nothing to paint")
    return Layout(tuple(regions), painted=1 - kept if bool(kept.any()) else None)
