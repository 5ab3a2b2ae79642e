"""The terms of the objective, from options, the photograph's features and the styles' targets.

The table METHODS holds all that distinguishes one method from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from impasto import colors, dials
from impasto.compute import mapped
from impasto.encoders import Encoder, block_of
from impasto.ladder import SMALLEST, Size
from impasto.lbfgs import Metric, pink
from impasto.losses import (
    ContentLoss,
    PaletteLoss,
    StyleLoss,
    Term,
    TintLoss,
    detail,
    halved,
    relative,
    relative_style_loss,
    style_loss,
)
from impasto.objective import blocks
from impasto.objective.levels import Level, reduced
from impasto.options import Options
from impasto.palette import has_no_colors, is_gray, recolored
from impasto.regions import Region, guidance
from impasto.styles import Style, Targets

Regions = Sequence[tuple[Region, Style]]  # the regions of an image, each with its style
ALL_BLOCKS = 5  # of an encoder


@dataclass(frozen=True)
class Method:
    """What distinguishes a method (docs/method.md).

    content_measure, style_measure: of the distances at a tap. weigh_detail: keep the photograph most where it has detail. recolor: how
    far the photograph's colors are moved to the painting's before its features are taken, 0..1, at strength 0.5. tint: weight of the
    loss that keeps these colors, relative to the content loss. one_scale: optimize at the final size only. levels: by how much the
    image is averaged down for style losses, and the share of each. depth: number of the deepest block that the style loss of the image
    itself uses if all smaller levels are used. squeeze: give the painting the photograph's proportions. metric: what L-BFGS starts from
    at a size; None for the identity. Weights, layers and the start are options, with defaults for each method (`catalog.DEFAULTS`).
    """

    content_measure: Callable[[Tensor, int, Tensor], Tensor]
    style_measure: Callable[[Tensor, Tensor, Tensor | int], Tensor]
    weigh_detail: bool
    recolor: float
    tint: float
    one_scale: bool
    levels: tuple[tuple[int, float], ...]
    depth: int
    squeeze: bool
    metric: Callable[[Size, torch.device], Metric] | None


METHODS = {
    "impasto": Method(
        relative,
        relative_style_loss,
        weigh_detail=True,
        recolor=1.0,
        tint=1.0,
        one_scale=False,
        levels=((1, 0.5), (2, 0.3), (4, 0.2)),
        depth=3,
        squeeze=False,
        metric=pink,
    ),
    "gatys": Method(
        halved,
        style_loss,
        weigh_detail=False,
        recolor=0.0,
        tint=0.0,
        one_scale=True,
        levels=((1, 1.0),),
        depth=ALL_BLOCKS,
        squeeze=True,
        metric=None,
    ),
}


def levels(options: Options, method: Method, size: Size, least: int) -> dict[int, float]:
    """The levels of an image of (height, width): {factor: share}. least: the smallest side in pixels that the encoder takes.

    A level at which the image would be smaller than that, or the painting smaller than the smallest size that is stored, is left out,
    and the others share its weight.
    """
    longer = max(size) * min(1.0, options.style_scale)
    fitting = {k: share for k, share in method.levels if k == 1 or (min(size) // k >= least and longer / k >= SMALLEST)}
    return {factor: share / sum(fitting.values()) for factor, share in fitting.items()}


def photo_features(
    encoder: Encoder, photo: Tensor, taps: Sequence[str], side: int | None, folder: Path | None
) -> Mapping[str, Tensor]:
    """The photograph's features at the content taps, {tap: 1xNxhxw}.

    photo: 1x3xHxW. side: of the blocks it is encoded in, in pixels; None for at once. folder: keep them in files there.
    """
    with torch.no_grad():
        if side is not None:
            return blocks.features_of(encoder, photo, taps, side, folder)
        found: dict[str, Tensor] = encoder.only(taps)(photo)
        return found


def drop_pages(photo: Mapping[str, Tensor]) -> None:
    """Drop the resident pages of features in files."""
    for features in photo.values():
        mapped.drop(features)


@torch.no_grad()
def content_terms(options: Options, method: Method, photo: Mapping[str, Tensor], target: Tensor) -> list[Term]:
    """The terms that keep the photograph. photo: the features of `target` from `photo_features`; target: 1x3xHxW, the image to keep."""
    weight = strength_factors(options.strength)[0] * options.content_weight
    found = [Term("content", weight * method.tint, TintLoss.of(target))] if method.tint else []
    weight /= len(photo)
    for tap, P in photo.items():
        W = detail(P) if method.weigh_detail else None
        found.append(Term("content", weight, ContentLoss.of(tap, P, method.content_measure, W)))
        mapped.drop(P)
    return found


def style_targets(options: Options, method: Method, style: Style, size: Size, side: int | None) -> Targets:
    """The targets for an image of (height, width). side: of the blocks a painting is encoded in, in pixels; None for at once."""
    scale = options.style_scale
    if method.squeeze:
        return style.squeezed((max(1, round(size[0] * scale)), max(1, round(size[1] * scale))), side)
    return style.targets(max(size) * scale, side)


def style_terms(
    options: Options, method: Method, regions: Regions, size: Size, share: float, depth: int, side: int | None
) -> Iterator[Term]:
    """The style terms of a level of (height, width). Like its part of the content loss, a region counts by its share of the image.

    share: of the level. depth: number of the deepest block; taps of deeper ones are left out, unless there are no others. side: see
    `style_targets`.
    """
    for region, style in regions:
        every, device = style_targets(options, method, style, size, side), _device(style)
        targets = {tap: A for tap, A in every.items() if block_of(tap) <= depth} or every
        weight = strength_factors(options.strength)[1] * options.style_weight * region.share * share / len(targets)
        for tap, A in targets.items():
            T = None if region.weight is None else guidance(region.weight, style.encoder.size_at(tap, size)).to(device)
            yield Term("style", weight, StyleLoss(tap, T, A=A, measure=method.style_measure))


def in_levels(
    options: Options, method: Method, regions: Regions, size: Size, whole: Sequence[Term], side: int | None
) -> list[Level]:
    """The style terms of all levels of an image of (height, width), and with those of the image itself its other terms, `whole`.

    Where the smallest level is used, the image itself needs no features of deep blocks, whose forms the smaller levels see. That saves
    time.
    """
    least = max((style.encoder.minimum_side for _, style in regions), default=1)
    shares = levels(options, method, size, least)
    found = []
    for factor, share in shares.items():
        depth = method.depth if factor == 1 and len(shares) == len(method.levels) else ALL_BLOCKS
        sought = list(style_terms(options, method, regions, reduced(size, factor), share, depth, side))
        found.append(Level(factor, [*whole, *sought] if factor == 1 else sought))
    return found


def palette_terms(options: Options, regions: Regions) -> Iterator[Term]:
    """The palette terms, if they have a weight."""
    for region, style in regions if options.palette_weight else ():
        T = None if region.weight is None else region.weight.to(_device(style))
        weight = strength_factors(options.strength)[1] * options.palette_weight * region.share
        yield Term("palette", weight, PaletteLoss(style.quantiles(), T))


def recolored_share(options: Options, method: Method) -> float:
    """How far the photograph's colors are moved to the painting's, 0..1: in proportion to the strength; 0 without a palette weight."""
    return dials.recolored(options.strength * method.recolor) if options.palette_weight else 0.0


def target(options: Options, method: Method, photo: Tensor, regions: Regions) -> Tensor:
    """The image whose features are kept: the photograph, with its colors moved to the painting's as far as the method says.

    In these colors a form can be kept without working against the style and palette losses. photo: 1x3xHxW, 0..1. Returns the same.
    """
    share = recolored_share(options, method)
    found = photo
    for region, style in regions if share else ():
        T = None if region.weight is None else guidance(region.weight, (photo.shape[-2], photo.shape[-1])).to(photo.device)
        change = recolored(photo, style.quantiles(), T).sub_(photo).mul_(share)
        found = found + (change if T is None else change.mul_(T))
    return found


def in_gray(options: Options, method: Method, image: Tensor, photo: Tensor, regions: Regions) -> Tensor:
    """A finished image, in gray where its style is: encoders see little of the colored grain that is left.

    All the way if the photograph is gray too, otherwise as far as its colors are moved to the style's. image: 1x3xHxW, 0..1; photo: of
    any size. Returns the same.
    """
    grays = [is_gray(style.quantiles()) for _, style in regions]
    share = 1.0 if has_no_colors(photo) else recolored_share(options, method)
    if not (any(grays) and share):
        return image
    size, nothing = (image.shape[-2], image.shape[-1]), torch.zeros(())
    weights = [torch.ones(()) if region.weight is None else guidance(region.weight, size) for region, _ in regions]
    total = sum(weights, nothing).clamp_min(torch.finfo(torch.float32).tiny)
    part = sum((weight for weight, gray in zip(weights, grays, strict=True) if gray), nothing)
    return torch.lerp(image, colors.gray(image), share * part / total)


def _device(style: Style) -> torch.device:
    return next(style.encoder.parameters()).device


def strength_factors(strength: float) -> tuple[float, float]:
    """The factors that the option puts on the weights of content and style: 4 (1 - t)^2 and 4 t^2, both 1 at strength 0.5.

    t is 0.72 at strength 1, where the ratio of style to content is 6.6 times that at 0.5. A larger t did not lower the style distance.
    """
    t = strength * (1.28 - 0.56 * strength)
    return 4 * (1 - t) ** 2, 4 * t**2
