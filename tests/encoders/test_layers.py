"""The encoder's own layers against torch's, with torch's gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from impasto import devices
from impasto.encoders.layers import FEW, Padding, average_pool, convolve, max_pool, part

SIZES = [(1, 1), (1, 4), (2, 3), (7, 6)]


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(layer: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer makes of x, and the gradient of a weighted sum of that."""
    x = x.clone().requires_grad_()
    y = layer(x)
    (found,) = torch.autograd.grad(y, x, maps(*y.shape, seed=9).to(y.dtype))
    return y.detach(), found


def plainly(x: Tensor, weight: Tensor, bias: Tensor, padding: Padding, *, rectify: bool) -> Tensor:
    border = weight.shape[-1] // 2
    padded = functional.pad(x, [border] * 4, mode="constant" if padding == "zero" else "replicate")
    y = functional.conv2d(padded, weight, bias)
    return functional.relu(y) if rectify else y


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels", [3, FEW + 1])
@pytest.mark.parametrize("padding", ["zero", "replicate"])
@pytest.mark.parametrize("rectify", [False, True])
def test_convolution(size: tuple[int, int], kernel: int, channels: int, padding: Padding, *, rectify: bool) -> None:
    x, weight, bias = maps(2, channels, *size, seed=1), maps(5, channels, kernel, kernel, seed=2), maps(5, seed=3)
    y, found = gradient(lambda x: convolve(x, weight, bias, padding, rectify=rectify), x)
    expected = gradient(lambda x: plainly(x, weight, bias, padding, rectify=rectify), x)
    torch.testing.assert_close((y, found), expected, rtol=1e-12, atol=1e-12)


@pytest.fixture(params=["its own", "float32's"])
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which products bfloat16 is multiplied by: whatever this processor has, and those of one that has none."""
    if request.param == "float32's":
        monkeypatch.setattr(devices, "_multiplies_bf16", lambda: False)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_gradient_of_a_picture_in_the_layout_and_precision_of_the_product(dtype: torch.dtype, bound: float) -> None:
    x, weight, bias = maps(2, 3, 9, 12, seed=1), maps(16, 3, 3, 3, seed=2), maps(16, seed=3)
    _, expected = gradient(lambda x: plainly(x, weight, bias, "replicate", rectify=False), x)
    as_used = [tensor.to(dtype, memory_format=torch.channels_last) for tensor in (x, weight)]
    _, found = gradient(lambda x: convolve(x, as_used[1], bias.to(dtype), "replicate"), as_used[0])
    assert found.dtype == dtype
    assert (found.double() - expected).norm() < bound * expected.norm()


@pytest.mark.parametrize("size", [(2, 2), (5, 8), (7, 7)])
def test_max_pooling(size: tuple[int, int]) -> None:
    x = maps(2, 3, *size).relu()  # with many zeros, which are as large as each other
    found, expected = gradient(max_pool, x), gradient(lambda x: functional.max_pool2d(x, 2), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", [(2, 2), (5, 8), (8, 5), (7, 7)])
def test_average_pooling(size: tuple[int, int]) -> None:
    x = maps(2, 3, *size)
    found, expected = gradient(average_pool, x), gradient(lambda x: functional.avg_pool2d(x, 2), x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("rows", "columns"), [(slice(0, 5), slice(0, 8)), (slice(1, 4), slice(3, 8)), (slice(2, 2), slice(0, 1))]
)
def test_part(rows: slice, columns: slice) -> None:
    x = maps(2, 6, 5, 8)
    y, found = gradient(lambda x: part(x, rows, columns), x)
    expected = gradient(lambda x: x[..., rows, columns], x)
    torch.testing.assert_close((y, found), expected, rtol=0, atol=0)
    assert found.is_contiguous(memory_format=torch.channels_last)  # as whatever is behind it goes on with


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_and_relu_in_one_pass(kernel: int, dtype: torch.dtype, bound: float) -> None:
    x, weight, bias = (
        t.to(dtype) for t in (maps(2, 16, 9, 12, seed=1), maps(24, 16, kernel, kernel, seed=2), maps(24, seed=3))
    )
    expected = plainly(x.double(), weight.double(), bias.double(), "replicate", rectify=True)
    layout = torch.channels_last
    y = convolve(x.to(memory_format=layout), weight.to(memory_format=layout), bias, "replicate", rectify=True)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=layout)  # what follows reads it so
    assert float(y.min()) == 0
    assert (y.double() - expected).norm() < bound * expected.norm()


@pytest.mark.parametrize("rectify", [False, True])
def test_without_products_in_bfloat16_they_are_float32s_and_rounded_once(
    rectify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_multiplies_bf16", lambda: False)
    x, weight, bias = (t.bfloat16() for t in (maps(1, 8, 9, 12, seed=1), maps(6, 8, 3, 3, seed=2), maps(6, seed=3)))
    expected, slope = gradient(
        lambda x: plainly(x, weight.float(), bias.float(), "zero", rectify=rectify).bfloat16(), x.float()
    )
    y, found = gradient(lambda x: convolve(x, weight, bias, "zero", rectify=rectify), x)
    torch.testing.assert_close((y, found), (expected, slope.bfloat16()), rtol=2**-7, atol=1e-5)  # one step of 8 bits


@pytest.mark.parametrize(("has", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16_is_multiplied_as_the_processor_can(has: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_multiplies_bf16", lambda: has)
    assert devices.multipliable(torch.ones(2, dtype=torch.bfloat16)).dtype == dtype
    assert devices.multipliable(torch.ones(2, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("padding", ["zero", "replicate"])
def test_little_is_kept_for_the_gradient(padding: Padding) -> None:
    kept = []
    x, weight, bias = maps(1, 8, 32, 32).requires_grad_(), maps(8, 8, 3, 3), maps(8)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        y = convolve(x, weight, bias, padding, rectify=True)
        max_pool(y)
    assert kept.count(y.shape) == 2  # the rectified output, once for each; no input, no indices
    assert sum(shape.numel() for shape in kept if shape != y.shape) == weight.numel()
