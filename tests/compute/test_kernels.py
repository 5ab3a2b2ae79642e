"""The kernels against the slow reference, numpy and scipy: values, gradients, half precision, bands and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from tensors import backward, random, slope, tensor
from torch import Tensor

from impasto.compute import device, kernels, mapped
from impasto.compute.kernels import along_gram, gram, squared_distance, variance, wide

steady = settings(derandomize=True, deadline=None, database=None, max_examples=60)
shapes = st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7))  # N, H, W
HALF = [torch.bfloat16, torch.float16]


# ---------------------------------------------------------------------------------------------------- Gram matrices


@steady
@given(shapes, st.integers(0, 2**32 - 1))
def test_gram_is_equation_3(shape: tuple[int, int, int], seed: int) -> None:
    F = random(shape, seed)
    np.testing.assert_allclose(gram(tensor(F)).numpy(), reference.gram(F), rtol=1e-12, atol=1e-12)


def test_gram_has_the_same_value_and_gradient_in_any_memory_layout() -> None:
    F = tensor(random((5, 6, 7), 0))
    expected = 4 * gram(F) @ F[0].flatten(1)  # d/dF sum (F F')^2
    for layout in (F, F.contiguous(memory_format=torch.channels_last), F.transpose(2, 3).contiguous().transpose(2, 3)):
        leaf = layout.clone(memory_format=torch.preserve_format).requires_grad_()
        torch.testing.assert_close(gram(leaf), gram(F), rtol=1e-12, atol=1e-12)
        backward(gram(leaf).square().sum())
        torch.testing.assert_close(slope(leaf)[0].flatten(1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", HALF)
def test_gram_of_half_precision_is_summed_in_float32(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """2000 summands: a sum in half precision would be off by a percent."""
    F = tensor(random((8, 40, 50), 0)).to(dtype)
    expected = reference.gram(F[0].double().numpy())
    for piece in (kernels.PIECE, 4200, 7, 1):
        monkeypatch.setattr(kernels, "PIECE", piece)
        G = gram(F)
        assert G.dtype == torch.float32
        np.testing.assert_allclose(G.numpy(), expected, rtol=1e-4, atol=1e-3)


def test_products_in_bfloat16_are_as_good_as_in_float32_and_end_with_the_gram_matrix() -> None:
    F = tensor(random((64, 170, 256), 0)).to(torch.bfloat16)  # large enough for a processor's bfloat16 products
    expected = gram(F.double())
    assert (gram(F) - expected).norm() < 2e-6 * expected.norm()
    x = torch.rand(300, 300, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(x @ x, (x.double() @ x.double()).float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("native", [True, False])
def test_the_gradient_of_gram_is_half_precision_with_and_without_native_products(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_multiplies_bf16", lambda: native)
    F = tensor(random((8, 9, 12), 0)).to(torch.bfloat16).requires_grad_()
    S = torch.from_numpy(random((8, 8), 1)).float()
    backward((S * gram(F)).sum())
    expected = (S + S.T).double() @ F.detach().double()[0].flatten(1)
    assert slope(F).dtype == torch.bfloat16
    assert (slope(F).double()[0].flatten(1) - expected).norm() < 0.01 * expected.norm()


def test_along_gram_has_the_gradient_of_the_gram_matrix() -> None:
    F, S = tensor(random((5, 6, 7), 0)).requires_grad_(), torch.from_numpy(random((5, 5), 1))
    value = along_gram(F, S)
    assert value.item() == 0
    found, expected = torch.autograd.grad(3 * value, F)[0], torch.autograd.grad(3 * (S * gram(F)).sum(), F)[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_gradcheck() -> None:
    P, W = tensor(random((3, 4, 5), 1)), tensor(random((1, 4, 5), 2))
    for kernel in (gram, lambda F: squared_distance(F, P), lambda F: squared_distance(F, P, W)):
        assert torch.autograd.gradcheck(kernel, (tensor(random((3, 4, 5), 0)).requires_grad_(),))


# -------------------------------------------------------------------------------------------- distances, in bands


@pytest.mark.parametrize("band", [kernels.BAND, 100, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_squared_distance_is_the_same_in_bands(band: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "BAND", band)
    F, P, weights = (tensor(random(shape, seed)) for seed, shape in enumerate([(5, 13, 7), (5, 13, 7), (1, 13, 7)]))
    F, P = F.to(dtype), P.float()
    for W in (None, weights.float()):
        leaf = F.clone().requires_grad_()
        distance = squared_distance(leaf, P, W)
        difference, weight = F.double() - P, 1 if W is None else W
        assert distance.item() == pytest.approx(float((weight * difference**2).sum()), rel=1e-6)
        backward(distance)
        rounding = 1e-2 if dtype == torch.bfloat16 else 1e-6
        torch.testing.assert_close(slope(leaf).double(), 2 * weight * difference, rtol=rounding, atol=1e-6)


@pytest.fixture(params=["memory", "file"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Features in memory at once, or in a file and visited in bands."""
    if request.param == "memory":
        return lambda x: x
    monkeypatch.setattr(kernels, "PIECE", 1000)
    return lambda x: mapped.empty(x.shape, x.dtype, tmp_path).copy_(x)


@pytest.mark.parametrize("channels", [3, 70])
def test_mean_square_and_variance_are_numpys(channels: int, kept: Any) -> None:
    P = random((channels, 6, 7), 0) + 100
    assert variance(kept(tensor(P))).item() == pytest.approx(P.var(), rel=1e-12)
    assert kernels.mean_square(kept(tensor(P)), 3.0).item() == pytest.approx(((P - 3) ** 2).mean(), rel=1e-12)
    assert variance(kept(tensor(P).bfloat16())).dtype == torch.float32


@pytest.mark.parametrize("height", [12, 140])  # less than a band of rows, and several
@pytest.mark.parametrize("reach", [31, 5])
def test_local_energy_is_scipys(height: int, reach: int, kept: Any) -> None:
    P = random((5, height, 17), 0) * np.linspace(0.2, 3, 17)
    smooth: Any = uniform_filter  # which has no types
    means = np.stack([smooth(channel, reach, mode="nearest") for channel in P])
    found = kernels.local_energy(kept(tensor(P)), reach)
    np.testing.assert_allclose(found[0, 0].numpy(), ((P - means) ** 2).mean(0), rtol=1e-9)
    averaged = kernels.local_mean(tensor(P), reach)
    np.testing.assert_allclose(averaged[0].numpy(), means, rtol=1e-9, atol=1e-12)


def test_wide_widens_half_precision_only() -> None:
    for dtype in (torch.float32, torch.float64):
        x: Tensor = torch.zeros(2, dtype=dtype)
        assert wide(x) is x
    assert all(wide(torch.zeros(2, dtype=dtype)).dtype == torch.float32 for dtype in HALF)
