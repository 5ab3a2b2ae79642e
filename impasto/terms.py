"""The terms of the objective, from options, the photograph's features and the styles' targets.

The table METHODS holds all that distinguishes one method from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from impasto.compute import mapped
from impasto.encoders import Encoder
from impasto.ladder import Size
from impasto.lbfgs import Metric, pink
from impasto.losses import (
    ContentLoss,
    PaletteLoss,
    StyleLoss,
    Term,
    detail,
    halved,
    relative,
    relative_style_loss,
    style_loss,
)
from impasto.objective import blocks
from impasto.options import Options
from impasto.regions import Region, guidance
from impasto.styles import Style, Targets


@dataclass(frozen=True)
class Method:
    """What distinguishes a method (docs/method.md).

    content_measure, style_measure: of the distances at a tap. weigh_detail: keep the photograph most where it has detail. one_scale:
    optimize at the final size only. squeeze: give the painting the photograph's proportions. metric: what L-BFGS starts from at a size;
    None for the identity. Weights, layers and the start are options, with defaults for each method (`options.DEFAULTS`).
    """

    content_measure: Callable[[Tensor, int, Tensor], Tensor]
    style_measure: Callable[[Tensor, Tensor, Tensor | int], Tensor]
    weigh_detail: bool
    one_scale: bool
    squeeze: bool
    metric: Callable[[Size, torch.device], Metric] | None


METHODS = {
    "impasto": Method(relative, relative_style_loss, weigh_detail=True, one_scale=False, squeeze=False, metric=pink),
    "gatys": Method(halved, style_loss, weigh_detail=False, one_scale=True, squeeze=True, metric=None),
}


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
def content_terms(options: Options, method: Method, photo: Mapping[str, Tensor]) -> list[Term]:
    """The terms that keep the photograph. photo: its features, from `photo_features`."""
    weight = _strength_factor(options, content=True) * options.content_weight / len(photo)
    found = []
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


def style_terms(options: Options, method: Method, style: Style, targets: Targets, region: Region, size: Size) -> Iterator[Term]:
    """The style and palette terms of a region of an image of (height, width)."""
    device = next(style.encoder.parameters()).device
    weight = _strength_factor(options, content=False) * region.share
    for tap, A in targets.items():
        T = None if region.weight is None else guidance(region.weight, style.encoder.size_at(tap, size)).to(device)
        loss = StyleLoss(tap, T, A=A, measure=method.style_measure)
        yield Term("style", weight * options.style_weight / len(targets), loss)
    if options.palette_weight:
        T = None if region.weight is None else region.weight.to(device)
        yield Term("palette", weight * options.palette_weight, PaletteLoss(style.quantiles(), T))


def _strength_factor(options: Options, *, content: bool) -> float:
    """The factor that `strength` puts on a weight: 4 (1 - t)^2 for the content, 4 t^2 for the style, both 1 at strength 0.5.

    t is 0.8 at strength 1, where the style counts 16 times as much as at 0.5: more brings no image nearer to the painting.
    """
    t = options.strength * (1.2 - 0.4 * options.strength)
    return 4 * ((1 - t) if content else t) ** 2
