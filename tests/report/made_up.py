"""Comparisons by hand: tiny pictures and invented measures, as no network would give them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from impasto import encoders, weights
from impasto.report.comparison import STYLE_TAPS, Candidate, Comparison, Judge, Result, Sheet
from impasto.report.metrics import Measures

PHOTO = (48, 64)  # (height, width)


def plain(colour: Sequence[float], size: tuple[int, int] = PHOTO) -> Tensor:
    """1x3xHxW of one colour."""
    return torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, *size).contiguous()


def ramp(size: tuple[int, int] = PHOTO) -> Tensor:
    """1x3xHxW: red grows to the right, green downwards, so that a colour tells its place."""
    height, width = size
    across = torch.linspace(0, 1, width).expand(height, width)
    down = torch.linspace(0, 1, height)[:, None].expand(height, width)
    return torch.stack((across, down, torch.full_like(across, 0.25)))[None].contiguous()


def centre(pixels: Tensor, part: tuple[int, int]) -> Tensor:
    (height, width), (h, w) = pixels.shape[-2:], part
    top, left = (height - h) // 2, (width - w) // 2
    return pixels[..., top : top + h, left : left + w].contiguous()


def result(
    name: str,
    pixels: Tensor,
    *,
    seed: int = 0,
    part: tuple[int, int] | None = None,
    photo: tuple[int, int] = PHOTO,
    settings: Mapping[str, object] | None = None,
    notes: tuple[str, ...] = (),
    same_network: bool = False,
    **measures: float,
) -> Result:
    """A result; what is not given of its measures is drawn with `seed`."""
    drawn = np.random.default_rng(seed).uniform(0.01, 1, 13).tolist()
    found = Measures(
        judge="lite",
        content=drawn[0],
        style=dict(zip(STYLE_TAPS, drawn[1:6], strict=True)),
        style_mean=drawn[6],
        moments=drawn[7],
        structure=drawn[8],
        palette=drawn[9],
        grain=drawn[10] - 0.5,
        weave=drawn[11] - 0.5,
    )
    height, width = pixels.shape[-2:]
    candidate = Candidate(name, pixels, part or photo, part is None, (height, width), settings, notes)
    return Result(candidate, Measures(**{**found.__dict__, **measures}), same_network)


def comparison(
    *results: Result,
    photo: Tensor | None = None,
    painting: Tensor | None = None,
    refused: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> Comparison:
    photo = plain((1, 0, 0)) if photo is None else photo
    height, width = photo.shape[-2:]
    sheet = Sheet(
        photo=photo,
        painting=plain((0, 1, 0), (40, 40)) if painting is None else painting,
        size=(height, width),
        candidates=tuple(one.candidate for one in results),
        refused=refused or {},
        notes=notes,
    )
    return Comparison(sheet, judge(), results)


@functools.cache
def judge() -> Judge:
    encoder = encoders.build(weights.load("lite"), ["relu1_1"], pooling="max", padding="replicate")
    return Judge(encoder, "relu4_1", STYLE_TAPS)
