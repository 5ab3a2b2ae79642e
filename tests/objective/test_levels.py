"""An image at several sizes: the means of squares, and the losses of all sizes added up, against numpy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensors import random, tensor

from impasto import terms
from impasto.encoders import Lite
from impasto.losses import StyleLoss, Term, VariationLoss
from impasto.objective.blocks import unchanged
from impasto.objective.levels import Level, LevelsInBlocks, averaged_by, losses_of, reduced
from impasto.options import Options
from impasto.terms import METHODS
from impasto.weights import load

TAPS = ("relu1_1", "relu3_1")


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_an_image_is_averaged_over_squares(factor: int) -> None:
    image = random((3, 13, 18), 0)
    height, width = reduced((13, 18), factor)
    whole = image[:, : height * factor, : width * factor]
    expected = whole.reshape(3, height, factor, width, factor).mean((2, 4))
    np.testing.assert_allclose(averaged_by(factor, tensor(image))[0].numpy(), expected, rtol=1e-12)


def test_levels_that_are_too_small_leave_their_weight_to_the_others() -> None:
    method = METHODS["impasto"]
    assert terms.levels(Options(), method, (384, 512), 16) == dict(method.levels)
    two = {factor: share for factor, share in method.levels if factor <= 2}
    expected = {factor: share / sum(two.values()) for factor, share in two.items()}
    assert terms.levels(Options(), method, (96, 128), 16) == pytest.approx(expected)
    assert terms.levels(Options(style_scale=0.5), method, (96, 128), 16) == {1: 1.0}
    assert terms.levels(Options(), method, (20, 300), 16) == {1: 1.0}
    assert terms.levels(Options(), METHODS["gatys"], (384, 512), 16) == {1: 1.0}


def test_the_gradient_of_all_levels_is_that_of_finite_differences() -> None:
    """In blocks, and of a masked image too."""
    encoder = Lite({name: value.double() for name, value in load("lite").tensors.items()}, TAPS)
    for name, value in encoder.filters.items():
        encoder.filters[name] = torch.nn.Parameter(value.double(), requires_grad=False)
    encoder.dtype = torch.float64
    image, photo = (torch.rand(1, 3, 70, 52, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1))
    painted = torch.linspace(0, 1, 52, dtype=torch.float64).expand(1, 1, 70, 52)

    def composite(image: torch.Tensor, rows: slice = slice(None), columns: slice = slice(None)) -> torch.Tensor:
        return torch.lerp(photo[..., rows, columns], image, painted[..., rows, columns])

    levels = [
        Level(factor, [Term("style", 2 / factor, StyleLoss(tap, A=torch.eye(encoder.channels(tap)).double())) for tap in TAPS])
        for factor in (1, 2, 4)
    ]
    levels[0] = Level(1, [*levels[0].terms, Term("variation", 3.0, VariationLoss())])

    away = 1e-7 * (torch.rand(1, 3, 70, 52, generator=torch.Generator().manual_seed(2)).double() - 0.5)
    for seen in (unchanged, composite):
        losses = losses_of(levels, encoder, seen)
        found, gradient = LevelsInBlocks(encoder, levels, 32, seen)(image)
        totals = [float(sum(losses(x).values())) for x in (image, image + away, image - away)]
        assert sum(found.values()) == pytest.approx(totals[0], rel=1e-12)
        slope = (totals[1] - totals[2]) / 2
        assert float((gradient * away).sum()) == pytest.approx(slope, rel=1e-4)
