"""Sizes and resampling against Pillow, the sum that defines the filter, and pure waves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures.samples import property_test
from PIL import Image
from torch import Tensor

from impasto import pictures
from impasto.errors import OptionError
from impasto.ladder import Size


@property_test
@given(height=st.integers(1, 30000), width=st.integers(1, 30000), longer=st.integers(1, 20000))
def test_fit(height: int, width: int, longer: int) -> None:
    fitted = pictures.fit((height, width), longer)
    assert max(fitted) == longer
    assert min(fitted) >= 1
    assert (height >= width) == (fitted[0] >= fitted[1]) or fitted[0] == fitted[1]
    exact = min(height, width) * longer / max(height, width)
    assert abs(min(fitted) - max(exact, 1)) <= 0.5 + 1e-9
    assert pictures.fit((width, height), longer) == fitted[::-1]
    assert pictures.fit((height, width), max(height, width)) == (height, width)
    with pytest.raises(OptionError, match="at least 1 pixel, not 0"):
        pictures.fit((height, width), 0)


@pytest.mark.parametrize("size", [(5, 7), (64, 48), (100, 37), (1, 1)])
def test_resize_against_pil(size: Size) -> None:
    pixels = (torch.rand(2, 3, 31, 48, generator=torch.Generator().manual_seed(1)) > 0.5).float()  # overshoots, to be clamped
    resized = pictures.resize(pixels, size)
    assert resized.shape == (2, 3, *size)
    for batch, channel in np.ndindex(2, 3):
        image = Image.fromarray(pixels[batch, channel].numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
        np.testing.assert_allclose(resized[batch, channel].numpy(), np.clip(np.asarray(image), 0, 1), atol=2e-5)
    assert pictures.resize(pixels, (31, 48)) is pixels


def test_enlarge_keeps_constants_sizes_and_the_range() -> None:
    pixels = (torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    assert torch.equal(pictures.enlarge(pixels, (8, 9)), pixels)
    larger = pictures.enlarge(pixels, (33, 9))
    assert larger.shape == (2, 3, 33, 9)
    assert 0 <= float(larger.min()) <= float(larger.max()) <= 1
    np.testing.assert_allclose(pictures.enlarge(torch.full((1, 3, 1, 9), 0.3), (4, 21)).numpy(), 0.3, atol=1e-6)


def test_enlarge_by_the_sum_that_defines_it() -> None:
    pixels = 0.3 + 0.4 * torch.rand(1, 1, 1, 20, generator=torch.Generator().manual_seed(2))
    mirrored = np.pad(pixels.double().numpy()[0, 0, 0], 20, mode="symmetric")
    expected = []
    for i in range(31):
        away = np.arange(-20, 40) - ((i + 0.5) * 20 / 31 - 0.5)
        weights = np.sinc(0.9 * away) * np.sinc(away / 6) * (abs(away) < 6)
        expected.append((weights * mirrored).sum() / weights.sum())
    np.testing.assert_allclose(pictures.enlarge(pixels, (1, 31))[0, 0, 0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("vertical", [False, True])
def test_enlarge_keeps_waves_and_adds_no_aliases(vertical: bool) -> None:
    """Waves of frequencies f, in cycles per pixel: up to 0.35 they are kept, and none leaves an alias at 1 - f."""

    def enlarged(f: float, how: Callable[[Tensor, Size], Tensor]) -> np.ndarray:
        wave = 0.5 + 0.4 * torch.cos(2 * torch.pi * f * (torch.arange(200) + 0.5)).reshape(1, 1, 1, 200).expand(1, 1, 4, 200)
        larger = how(wave.mT, (280, 4)).mT if vertical else how(wave, (4, 280))
        return larger[0, 0, 0, 40:-40].double().numpy() - 0.5

    places = (np.arange(280) + 0.5) / 1.4
    expected = 0.4 * np.cos(2 * np.pi * 0.35 * places)[40:-40]
    np.testing.assert_allclose(enlarged(0.35, pictures.enlarge), expected, atol=0.02 * 0.4)
    alias = np.exp(-2j * np.pi * (1 - 0.45) * places)[40:-40] * np.hanning(200)
    ours, bicubic = (abs((enlarged(0.45, how) * alias).sum()) for how in (pictures.enlarge, pictures.resize))
    assert ours < bicubic / 5
