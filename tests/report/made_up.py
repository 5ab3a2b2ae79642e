"""Comparisons made by hand: tiny images and invented measures."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from impasto import encoders, weights
from impasto.ladder import Size
from impasto.report.comparison import Comparison, JudgeNetwork, MeasuredResult, PreparedImages, PreparedResult
from impasto.report.metrics import Measures

PHOTO = (48, 64)  # (height, width)
STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def plain(color: Sequence[float], size: Size = PHOTO) -> Tensor:
    """1x3xHxW of one color."""
    return torch.tensor(color, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, *size).contiguous()


def ramp(size: Size = PHOTO) -> Tensor:
    """1x3xHxW: red grows to the right, green downwards, so that a color tells its place."""
    height, width = size
    across = torch.linspace(0, 1, width).expand(height, width)
    down = torch.linspace(0, 1, height)[:, None].expand(height, width)
    return torch.stack((across, down, torch.full_like(across, 0.25)))[None].contiguous()


def center(pixels: Tensor, crop: Size) -> Tensor:
    (height, width), (h, w) = pixels.shape[-2:], crop
    top, left = (height - h) // 2, (width - w) // 2
    return pixels[..., top : top + h, left : left + w].contiguous()


def result(
    name: str,
    pixels: Tensor,
    *,
    seed: int = 0,
    crop: Size | None = None,
    photo: Size = PHOTO,
    settings: Mapping[str, object] | None = None,
    notes: tuple[str, ...] = (),
    same_network: bool = False,
    **measures: float,
) -> MeasuredResult:
    """A result. Measures that are not given are drawn with `seed`."""
    drawn = np.random.default_rng(seed).uniform(0.01, 1, 13).tolist()
    found = Measures(
        judge="lite",
        content=drawn[0],
        style=dict(zip(STYLE_TAPS, drawn[1:6], strict=True)),
        style_mean=drawn[6],
        style_sizes=drawn[12],
        moments=drawn[7],
        structure=drawn[8],
        palette=drawn[9],
        grain=drawn[10] - 0.5,
        weave=drawn[11] - 0.5,
    )
    height, width = pixels.shape[-2:]
    prepared = PreparedResult(name, pixels, crop or photo, crop is not None, (height, width), settings, notes)
    return MeasuredResult(prepared, Measures(**{**found.__dict__, **measures}), same_network)


def comparison(
    *results: MeasuredResult,
    photo: Tensor | None = None,
    painting: Tensor | None = None,
    refused: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> Comparison:
    photo = plain((1, 0, 0)) if photo is None else photo
    height, width = photo.shape[-2:]
    images = PreparedImages(
        photo=photo,
        painting=plain((0, 1, 0), (40, 40)) if painting is None else painting,
        size=(height, width),
        results=tuple(one.prepared for one in results),
        refused=refused or {},
        notes=notes,
    )
    return Comparison(images, judge(), results)


@functools.cache
def judge() -> JudgeNetwork:
    encoder = encoders.build(weights.load("lite"), ["relu1_1"], pooling="max", padding="replicate")
    return JudgeNetwork(encoder, "relu4_1", STYLE_TAPS)
