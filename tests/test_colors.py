"""impasto.colors against scikit-image's YIQ, scipy's matrix roots, and moments taken in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
import skimage.color
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch import Tensor

from impasto import colors
from impasto.errors import PictureError

SAMPLES: Any = skimage.data  # which has no types, as all below
RGB2YIQ: Any = skimage.color.rgb2yiq
ROOT: Any = sqrtm
steady = settings(derandomize=True, deadline=None, database=None, max_examples=40)
tiny = st.integers(1, 4)
sides = st.integers(4, 9)
seeds = st.integers(0, 2**31)


def tensor(picture: reference.Array) -> Tensor:
    """HxWx3, 0..1 -> 1x3xHxW float32."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float()


def array(picture: Tensor) -> reference.Array:
    """1x3xHxW -> HxWx3 float64."""
    return picture[0].permute(1, 2, 0).double().numpy()


def random(height: int, width: int, seed: int, low: float = 0, high: float = 1) -> Tensor:
    return tensor(np.random.default_rng(seed).uniform(low, high, (height, width, 3)))


def plain(height: int, width: int, *rgb: float) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1).repeat(1, 1, height, width)


def moments(picture: Tensor) -> tuple[reference.Array, reference.Array]:
    pixels = array(picture).reshape(-1, 3)
    return pixels.mean(0), np.cov(pixels, rowvar=False, bias=True)


def is_image(picture: Tensor, height: int, width: int) -> bool:
    usable = picture.dtype == torch.float32 and picture.shape == (1, 3, height, width) and bool(torch.isfinite(picture).all())
    return usable and float(picture.min()) >= 0 and float(picture.max()) <= 1


PHOTO = tensor(SAMPLES.chelsea()[60:124:2, 110:190:2] / 255)  # 32x40
PAINTING = tensor(SAMPLES.astronaut()[0:480:16, 100:450:16] / 255)  # 30x22


# ---------------------------------------------------------------------------------------------------------------- palettes


@steady
@given(sides, sides, sides, sides, seeds)
def test_a_matched_painting_has_the_photographs_mean_and_covariance(h1: int, w1: int, h2: int, w2: int, seed: int) -> None:
    photo = random(h2, w2, seed + 1, 0.45, 0.55)  # so little contrast that nothing leaves the gamut
    found = colors.match(random(h1, w1, seed), photo)
    assert is_image(found, h1, w1)
    for ours, theirs in zip(moments(found), moments(photo), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_an_image_matched_to_itself_is_itself() -> None:
    assert torch.allclose(colors.match(PHOTO, PHOTO), PHOTO, atol=1e-6)
    assert torch.allclose(colors.match(PHOTO, PHOTO.flip(3).mT), PHOTO, atol=1e-6)  # where its pixels lie does not matter


@steady
@given(tiny, tiny, tiny, tiny, seeds)
def test_any_tiny_images_can_be_matched(h1: int, w1: int, h2: int, w2: int, seed: int) -> None:
    for low, high in ((0.0, 1.0), (0.0, 0.0), (0.3, 0.3001)):
        painting, photo = random(h1, w1, seed, low, high), random(h2, w2, seed + 1)
        for found in (colors.match(painting, photo), colors.match_luminance(painting, photo), colors.match(photo, painting)):
            assert is_image(found, *found.shape[-2:])


def test_images_without_contrast_or_color() -> None:
    for size in ((1, 1), (1, 9), (7, 5)):
        found = colors.match(plain(*size, 0.1, 0.7, 0.3), PHOTO)
        np.testing.assert_allclose(array(found), np.broadcast_to(moments(PHOTO)[0], (*size, 3)), atol=1e-6)
        mean = float(RGB2YIQ(array(PHOTO))[..., 0].mean())
        np.testing.assert_allclose(array(colors.match_luminance(plain(*size, 0.9, 0.1, 0.2), PHOTO)), mean, atol=1e-6)
    single = colors.match(PAINTING, plain(1, 1, 0.2, 0.4, 0.9))  # a photograph of one color removes all contrast
    np.testing.assert_allclose(array(single), np.broadcast_to((0.2, 0.4, 0.9), (30, 22, 3)))
    gray_photo = colors.match(PAINTING, colors.gray(PHOTO))
    assert float((gray_photo.amax(1) - gray_photo.amin(1)).max()) < 1e-6
    assert float(gray_photo.std()) > 0.1
    gray_painting = colors.match(colors.gray(PAINTING), 0.4 + 0.2 * PHOTO)  # stays on a line of colors
    variances = np.linalg.eigvalsh(moments(gray_painting)[1])
    assert variances[1] < 1e-9 < 1e-3 < variances[2]
    np.testing.assert_allclose(moments(gray_painting)[0], moments(0.4 + 0.2 * PHOTO)[0], atol=1e-6)


def test_rounding_is_not_amplified_to_the_photographs_contrast() -> None:
    level = 1 / 255
    checkered = torch.from_numpy(np.indices((8, 8)).sum(0) % 2).float()
    flat = 0.5 + 0.25 * level * (2 * checkered - 1).expand(1, 3, 8, 8)  # a deviation of a quarter of a level
    gain = 0.25 * level * np.sqrt(3 / colors.LEAST_VARIANCE)  # sqrt(3): along the grays three channels deviate together
    gray_photo = colors.gray(PHOTO)
    found = colors.match(flat, gray_photo)
    assert float(found.std(correction=0)) == pytest.approx(gain * float(gray_photo.std(correction=0)), rel=1e-4)
    assert gain < 0.6


# --------------------------------------------------------------------------------------------------------------- luminance


@steady
@given(tiny, tiny, seeds)
def test_luminance_is_scikit_images(height: int, width: int, seed: int) -> None:
    picture = random(height, width, seed)
    found = colors.luminance(picture)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[0, 0].numpy(), RGB2YIQ(array(picture))[..., 0], atol=1e-7)


def test_of_grays_the_luminance_is_exact() -> None:
    ramp = torch.linspace(0, 1, 257).view(1, 1, 1, -1)
    assert torch.equal(colors.luminance(ramp.expand(1, 3, 1, -1)), ramp)
    assert torch.equal(colors.gray(colors.gray(PHOTO)), colors.gray(PHOTO))
    assert is_image(colors.gray(PHOTO), 32, 40)


@steady
@given(sides, sides, sides, sides, seeds)
def test_a_matched_luminance_has_the_photographs_mean_and_deviation(h1: int, w1: int, h2: int, w2: int, seed: int) -> None:
    painting, photo = random(h1, w1, seed), random(h2, w2, seed + 1, 0.45, 0.55)
    x, y = (RGB2YIQ(array(picture))[..., 0] for picture in (painting, photo))
    found = array(colors.match_luminance(painting, photo))
    assert (found == found[..., :1]).all()
    np.testing.assert_allclose(found[..., 0], y.std() / x.std() * (x - x.mean()) + y.mean(), atol=1e-6)
    assert found.mean() == pytest.approx(y.mean(), abs=1e-6)
    assert found[..., 0].std() == pytest.approx(y.std(), abs=1e-6)


@steady
@given(tiny, tiny, seeds)
def test_out_of_gamut_luminance_and_hue_stay_and_saturation_gives_way_no_more_than_it_must(h: int, w: int, seed: int) -> None:
    photo, result = random(h, w, seed), random(h, w, seed + 1)
    found = colors.with_luminance(photo, result)
    assert is_image(found, h, w)
    ours, theirs, wanted = (RGB2YIQ(array(picture)) for picture in (found, photo, result))
    np.testing.assert_allclose(ours[..., 0], wanted[..., 0], atol=1e-6)
    share = (ours[..., 1:] * theirs[..., 1:]).sum(-1, keepdims=True) / (theirs[..., 1:] ** 2).sum(-1, keepdims=True)
    np.testing.assert_allclose(ours[..., 1:], share * theirs[..., 1:], atol=1e-5)
    at_the_border = (array(found).min(-1) < 1e-6) | (array(found).max(-1) > 1 - 1e-6)
    assert (at_the_border | (np.abs(share[..., 0] - 1) < 1e-4)).all()
    assert (share < 1 + 1e-4).all()


def test_black_white_and_gray_results_in_color() -> None:
    assert torch.allclose(colors.with_luminance(PHOTO, PHOTO), PHOTO, atol=1e-6)
    for value in (0.0, 1.0):
        assert torch.equal(colors.with_luminance(PHOTO, torch.full_like(PHOTO, value)), torch.full_like(PHOTO, value))
    gray = colors.gray(PHOTO)
    assert torch.allclose(colors.with_luminance(gray, PHOTO.flip(2)), gray.flip(2), atol=1e-6)
    blue = colors.with_luminance(plain(1, 1, 0, 0, 1), plain(1, 1, 0.8, 0.8, 0.8))
    assert blue.flatten().tolist() == pytest.approx([0.8 - 0.114 * 0.2 / 0.886, 0.8 - 0.114 * 0.2 / 0.886, 1])


def test_two_sizes_cannot_be_put_together() -> None:
    for other, size in ((PAINTING, "22x30"), (plain(1, 1, 0, 0, 0), "1x1")):  # the latter would otherwise be broadcast
        with pytest.raises(PictureError, match=f"the photograph is 40x32 pixels, the result {size}"):
            colors.with_luminance(PHOTO, other)


@pytest.mark.parametrize("band", [1, 50, 400, 1 << 22])
def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch, band: int) -> None:
    """Against float64 numpy over all pixels at once; the photograph has 32 rows of 40 pixels, the painting 30 of 22."""
    monkeypatch.setattr(colors, "BAND", band)
    y, x, result = array(PHOTO), array(PAINTING), array(PHOTO.flip(3))
    (m_s, S), (m_c, C) = moments(PAINTING), moments(PHOTO)
    matched = (x - m_s) @ (ROOT(C) @ np.linalg.inv(ROOT(S))).T + m_c
    np.testing.assert_allclose(array(colors.match(PAINTING, PHOTO)), matched.clip(0, 1), atol=1e-6)
    l_x, l_y, wanted = (picture @ np.array([0.299, 0.587, 0.114]) for picture in (x, y, result))
    np.testing.assert_allclose(colors.luminance(PHOTO)[0, 0].numpy(), l_y, atol=1e-7)
    gray_match = (l_y.std() / l_x.std() * (l_x - l_x.mean()) + l_y.mean()).clip(0, 1)
    np.testing.assert_allclose(array(colors.match_luminance(PAINTING, PHOTO)), gray_match[..., None].repeat(3, 2), atol=1e-6)
    chroma = y - l_y[..., None]
    limits = np.where(chroma > 0, 1 - wanted[..., None], wanted[..., None]) / np.maximum(np.abs(chroma), 1e-300)
    back = wanted[..., None] + limits.min(-1, keepdims=True).clip(0, 1) * chroma
    np.testing.assert_allclose(array(colors.with_luminance(PHOTO, PHOTO.flip(3))), back, atol=1e-6)


def test_nothing_given_is_changed_and_nothing_returned_has_a_gradient() -> None:
    painting, photo = PHOTO.flip(3).clone().requires_grad_(), PHOTO.clone().requires_grad_()
    kept = painting.detach().clone(), photo.detach().clone()
    made = [way(painting, photo) for way in (colors.match, colors.match_luminance, colors.with_luminance)]
    for found in (*made, colors.gray(photo), colors.luminance(photo)):
        assert not found.requires_grad
        found.zero_()
    assert torch.equal(painting, kept[0])
    assert torch.equal(photo, kept[1])
