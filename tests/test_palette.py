"""The colors of a palette and its loss, against numpy and the definition of the Wasserstein distance."""

from __future__ import annotations

import io

import numpy as np
import pytest
import reference
import torch
from PIL import Image
from tensors import backward, slope
from torch import Tensor

from impasto import palette


def picture(height: int, width: int, seed: int) -> Tensor:
    """1x3xHxW, 0..1, of colors that go together."""
    colors = np.random.default_rng(seed).beta(2, 3, (3, height, width))
    return torch.from_numpy(np.stack([colors[0], (colors[0] + colors[1]) / 2, colors[2] ** 2]))[None]


def along(image: Tensor) -> list[reference.Array]:
    """The colors of a picture along each direction."""
    pixels = image[0].flatten(1).numpy()
    return [np.asarray(direction) / np.linalg.norm(direction) @ pixels for direction in palette.DIRECTIONS]


def test_quantiles_are_those_of_numpy() -> None:
    image = picture(30, 40, 1)
    middles = (np.arange(palette.QUANTILES) + 0.5) / palette.QUANTILES
    expected = [np.quantile(colors, middles, method="hazen") for colors in along(image)]
    np.testing.assert_allclose(palette.quantiles(image).numpy(), expected, rtol=1e-9)


def test_palette_loss_is_the_squared_wasserstein_distance_along_each_direction() -> None:
    image, painting = picture(30, 40, 1), picture(16, 16, 2)
    Q = palette.quantiles(painting)
    middles, ranks = ((np.arange(count) + 0.5) / count for count in (palette.QUANTILES, 1200))
    moved = [
        ((np.sort(colors) - np.interp(ranks, middles, row)) ** 2).mean()
        for colors, row in zip(along(image), Q.numpy(), strict=True)
    ]
    expected = np.mean(moved) / Q.numpy().var(axis=1).mean()
    assert float(palette.palette_loss(image, Q)) == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: palette.palette_loss(x, Q), picture(3, 4, 3).requires_grad_())


def test_palette_loss_is_0_for_the_same_colors_anywhere() -> None:
    painting = picture(16, 16, 1)  # as many pixels as quantiles
    shuffled = painting.flatten(2)[..., torch.randperm(256, generator=torch.Generator().manual_seed(0))].reshape(1, 3, 8, 32)
    Q = palette.quantiles(painting)
    assert float(palette.palette_loss(shuffled, Q)) == pytest.approx(0, abs=1e-12)
    assert float(palette.palette_loss(shuffled.flip(1), Q)) > 0.01
    assert float(palette.palette_loss(torch.full((1, 3, 5, 5), 0.5), palette.quantiles(torch.full((1, 3, 9, 9), 0.5)))) == 0


def test_a_palette_weighs_places_and_is_blind_outside() -> None:
    image, T = picture(20, 24, 1), torch.zeros(1, 1, 20, 24, dtype=torch.float64)
    T[..., :10] = 1
    part = image[..., :10]
    torch.testing.assert_close(palette.quantiles(image, T), palette.quantiles(part), rtol=1e-6, atol=1e-6)
    Q = palette.quantiles(picture(16, 16, 2))
    assert float(palette.palette_loss(image, Q, T)) == pytest.approx(float(palette.palette_loss(part, Q)), rel=1e-9)
    twice = torch.cat([part, part, image[..., 10:]], dim=-1)
    T = torch.cat([torch.ones(1, 1, 20, 20), torch.full((1, 1, 20, 14), 2.0)], dim=-1).double()
    doubled = torch.cat([twice, image[..., 10:]], dim=-1)
    assert float(palette.palette_loss(twice, Q, T)) == pytest.approx(float(palette.palette_loss(doubled, Q)), rel=1e-2)
    leaf = image.clone().requires_grad_()
    backward(palette.palette_loss(leaf, Q, torch.nn.functional.pad(torch.ones(1, 1, 20, 10).double(), (0, 14))))
    assert not slope(leaf)[..., 10:].any()
    assert slope(leaf)[..., :10].any()


def test_a_large_picture_is_averaged_in_squares() -> None:
    image = picture(60, 80, 1)
    enlarged = image.repeat_interleave(4, 2).repeat_interleave(4, 3)  # 320 pixels: blocks of 5 pixels, not of 4
    exact = image.repeat_interleave(2, 2).repeat_interleave(2, 3)  # 160: blocks of 2
    torch.testing.assert_close(palette.quantiles(exact), palette.quantiles(image))
    assert float(palette.palette_loss(enlarged, palette.quantiles(image))) < 0.2


# ------------------------------------------------------------------------------------------------------------- recoloring


def test_gray_is_recolored_by_the_monotonic_map_of_numpy() -> None:
    """Of one dimension there is only one transport: the quantile function of the painting after the ranks of the photograph."""
    tones = np.random.default_rng(0).beta(2, 5, (60, 80))
    painting = np.random.default_rng(1).beta(4, 2, (40, 40))
    gray = [torch.from_numpy(np.broadcast_to(image, (1, 3, *image.shape)).copy()) for image in (tones, painting)]
    ranks = (np.argsort(np.argsort(tones.ravel())) + 0.5) / tones.size
    expected = np.quantile(painting.ravel(), ranks, method="hazen").reshape(tones.shape)
    change = np.pad(expected - tones, 1, mode="edge")
    smooth = sum(change[y : y + 60, x : x + 80] for y in range(3) for x in range(3)) / 9
    found = palette.recolored(gray[0], palette.quantiles(gray[1]))
    np.testing.assert_allclose(found[0, 1].numpy(), np.clip(tones + smooth, 0, 1), atol=0.01)


@pytest.mark.parametrize("sky", [0.0, 1.0])
def test_equal_colors_are_recolored_as_their_middle_rank_in_numpy(sky: float) -> None:
    """40 percent of the photograph is a sky of one color, its lightest or its darkest."""
    tones = 0.1 + 0.8 * np.random.default_rng(0).beta(2, 5, (60, 80))
    tones[:24] = sky
    painting = np.random.default_rng(1).beta(4, 2, (40, 40))
    gray = [torch.from_numpy(np.broadcast_to(image, (1, 3, *image.shape)).copy()) for image in (tones, painting)]
    ordered = np.sort(tones.ravel())
    ranks = (np.searchsorted(ordered, tones) + np.searchsorted(ordered, tones, side="right")) / 2 / tones.size
    assert ranks[0, 0] == 0.2 + 0.6 * sky
    expected = np.quantile(painting.ravel(), ranks, method="hazen")
    regions = (None, torch.ones(1, 1, 60, 80, dtype=torch.float64))
    for found in (palette.recolored(gray[0], palette.quantiles(gray[1]), T)[0] for T in regions):
        luma = np.tensordot([0.299, 0.587, 0.114], found.numpy(), 1)
        np.testing.assert_allclose(luma[:23], expected[:23], atol=0.01)
        change = np.pad(expected - tones, 1, mode="edge")
        smooth = sum(change[y : y + 60, x : x + 80] for y in range(3) for x in range(3)) / 9
        np.testing.assert_allclose(luma, np.clip(tones + smooth, 0, 1), atol=0.02)


def test_a_photograph_of_one_color_takes_the_middle_of_the_palette() -> None:
    """The color whose place along every direction is nearest to the painting's median there, by least squares."""
    painting = picture(64, 64, 2)
    directions = np.asarray(palette.DIRECTIONS) / np.linalg.norm(palette.DIRECTIONS, axis=1, keepdims=True)
    expected = np.linalg.lstsq(directions, np.median(along(painting), axis=1))[0]
    for level in (0.0, 0.5, 1.0):
        found = palette.recolored(torch.full((1, 3, 48, 64), level, dtype=torch.float64), palette.quantiles(painting))
        np.testing.assert_allclose(found[0].flatten(1).numpy().T, np.broadcast_to(expected, (48 * 64, 3)), atol=0.005)


def test_recoloring_reaches_the_palette_of_the_painting_in_the_region() -> None:
    photo, painting = picture(120, 90, 1), picture(64, 64, 2).flip(1)
    smooth = torch.nn.functional.interpolate(photo[..., ::20, ::15], size=(120, 90), mode="bicubic").clamp(0, 1)
    Q = palette.quantiles(painting)
    T = torch.zeros(1, 1, 120, 90, dtype=torch.float64)
    T[..., :45] = 1
    for region in (None, T):
        before, after = (float(palette.palette_loss(x, Q, region)) for x in (smooth, palette.recolored(smooth, Q, region)))
        assert after < 0.05 * before


def test_the_tint_of_an_image_in_numpy() -> None:
    image, target = picture(130, 6, 1), picture(65, 3, 2)
    W = torch.rand(1, 1, 65, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    small = image[0].numpy().reshape(3, 65, 2, 3, 2).mean((2, 4))
    expected = (W[0].numpy() * (small - target[0].numpy()) ** 2).mean() / target[0].numpy().var((1, 2)).mean()
    assert float(palette.tint_loss(image, target, W)) == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: palette.tint_loss(x, target, W), image.requires_grad_())


def test_grays_and_sepia() -> None:
    """A JPEG in colors of a gray drawing is gray; ink on yellowish paper is not."""
    gray = np.random.default_rng(5).integers(0, 256, (60, 80, 1)).repeat(3, axis=2)
    for paper, expected in (([1, 1, 1], True), ([1, 0.97, 0.9], False)):
        file = io.BytesIO()
        Image.fromarray((gray * paper).astype(np.uint8)).save(file, "JPEG", quality=80)
        pixels = torch.from_numpy(np.asarray(Image.open(file), np.float32) / 255).permute(2, 0, 1)[None]
        assert palette.is_gray(palette.quantiles(pixels)) is expected
