"""Moving colors to a palette by a table: against numpy, and against `palette`, which moves every pixel."""

from __future__ import annotations

import numpy as np
import torch
from tensors import image

from impasto.fast.recolor import GRID, colors_of, looked_up, palette_distance, recolored, table
from impasto.palette import palette_loss, quantiles


def test_a_table_of_the_same_palette_changes_nothing() -> None:
    photo = image((64, 64), 1, torch.float32)
    assert float((recolored(photo, quantiles(photo)) - photo).abs().mean()) < 0.02  # grain is averaged at two sizes


def test_the_image_takes_the_palette() -> None:
    """Most of the distance that `palette_loss` measures is gone, and forms stay: the order of lightness is kept."""
    photo, painting = image((96, 128), 1, torch.float32), 0.2 + 0.5 * image((100, 80), 2, torch.float32).flip(1)
    Q = quantiles(painting)
    found = recolored(photo, Q)
    assert float(palette_loss(found, Q)) < 0.1 * float(palette_loss(photo, Q))
    before, after = (x.mean(1).flatten().numpy().argsort().argsort() for x in (photo, found))
    assert np.corrcoef(before, after)[0, 1] > 0.9


def test_looking_up_is_trilinear() -> None:
    """A table of a linear map of colors gives that map, whatever the color."""
    A, b = torch.tensor([[0.5, 0.2, 0.1], [0.1, 0.4, 0.2], [0.3, 0.0, 0.4]]), torch.tensor([0.05, 0.1, 0.2])
    steps = torch.linspace(0, 1, GRID)
    blue, green, red = torch.meshgrid(steps, steps, steps, indexing="ij")
    linear = torch.einsum("ck,kzyx->czyx", A, torch.stack([red, green, blue])) + b[:, None, None, None]
    photo = image((9, 13), 3, torch.float32)
    expected = torch.einsum("ck,bkhw->bchw", A, photo) + b[None, :, None, None]
    torch.testing.assert_close(looked_up(linear[None], photo), expected.clamp(0, 1), atol=1e-5, rtol=0)


def test_photographs_of_a_batch_do_not_see_each_other() -> None:
    photos = torch.cat([image((48, 48), seed, torch.float32) for seed in (1, 2)])
    Q = quantiles(image((48, 48), 3, torch.float32))
    together = recolored(photos, Q)
    for one, found in zip(photos, together, strict=True):
        torch.testing.assert_close(recolored(one[None], Q)[0], found)


def test_only_the_region_counts() -> None:
    photo = torch.cat([image((48, 48), 1, torch.float32) * 0.3, image((48, 48), 2, torch.float32)], 3)
    T = torch.zeros(1, 1, 48, 96)
    T[..., :48] = 1
    Q = quantiles(image((48, 48), 3, torch.float32))
    alone, within = recolored(photo[..., :48], Q), looked_up(table(colors_of(photo, T), Q), photo)[..., :48]
    assert float((alone - within).abs().mean()) < 0.02
    assert float((recolored(photo, Q)[..., :48] - alone).abs().mean()) > 0.05


def test_one_color_and_black_and_white_stay_finite() -> None:
    Q = quantiles(image((48, 48), 3, torch.float32))
    for value in (0.0, 0.5, 1.0):
        found = recolored(torch.full((1, 3, 40, 56), value), Q)
        assert bool(found.isfinite().all())
        assert float(found.var()) < 0.1
        assert bool(table(colors_of(found), Q).isfinite().all())


def test_the_distance_is_that_of_the_palette_loss() -> None:
    photos = torch.cat([image((48, 48), seed, torch.float32) for seed in (1, 2)])
    Q = quantiles(image((48, 48), 3, torch.float32))
    expected = torch.stack([palette_loss(one[None], Q) for one in photos])
    torch.testing.assert_close(palette_distance(photos, Q), expected, rtol=0.05, atol=1e-4)
