"""The layers of the encoders against torch's own layers and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from impasto.compute import device
from impasto.encoders import layers
from impasto.encoders.layers import FEW_CHANNELS, Padding, average_pool, convolve, crop, max_pool, pad_border


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient(layer: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The output of a layer, and the gradient of a weighted sum of it with respect to x."""
    x = x.clone().requires_grad_()
    y = layer(x)
    (found,) = torch.autograd.grad(y, x, maps(*y.shape, seed=9).to(y.dtype))
    return y.detach(), found


def by_torch(x: Tensor, weight: Tensor, bias: Tensor, padding: Padding, *, rectify: bool) -> Tensor:
    border = weight.shape[-1] // 2
    padded = functional.pad(x, [border] * 4, mode="constant" if padding == "zero" else "replicate")
    y = functional.conv2d(padded, weight, bias)
    return functional.relu(y) if rectify else y


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels", [3, FEW_CHANNELS + 1])
@pytest.mark.parametrize("padding", ["zero", "replicate"])
@pytest.mark.parametrize("rectify", [False, True])
def test_convolution(kernel: int, channels: int, padding: Padding, *, rectify: bool) -> None:
    weight, bias = maps(5, channels, kernel, kernel, seed=2), maps(5, seed=3)
    for size in ((1, 1), (1, 4), (2, 3), (7, 6)):
        x = maps(2, channels, *size, seed=1)
        found = gradient(lambda x: convolve(x, weight, bias, padding, rectify=rectify), x)
        expected = gradient(lambda x: by_torch(x, weight, bias, padding, rectify=rectify), x)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.fixture(params=["native", "float32"])
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How bfloat16 is multiplied: as this CPU does it, or as on a CPU without such instructions."""
    if request.param == "float32":
        monkeypatch.setattr(device, "_multiplies_bf16", lambda: False)


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_gradient_of_an_image_in_channels_last_and_every_precision(dtype: torch.dtype, bound: float) -> None:
    x, weight, bias = maps(2, 3, 9, 12, seed=1), maps(16, 3, 3, 3, seed=2), maps(16, seed=3)
    _, expected = gradient(lambda x: by_torch(x, weight, bias, "replicate", rectify=False), x)
    as_used = [tensor.to(dtype, memory_format=torch.channels_last) for tensor in (x, weight)]
    _, found = gradient(lambda x: convolve(x, as_used[1], bias.to(dtype), "replicate"), as_used[0])
    assert found.dtype == dtype
    assert (found.double() - expected).norm() < bound * expected.norm()


@pytest.mark.parametrize("size", [(2, 2), (5, 8), (7, 7)])
def test_max_pooling(size: tuple[int, int]) -> None:
    x = maps(2, 3, *size).relu()  # with many zeros: ties
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
def test_crop(rows: slice, columns: slice) -> None:
    x = maps(2, 6, 5, 8)
    y, found = gradient(lambda x: crop(x, rows, columns), x)
    expected = gradient(lambda x: x[..., rows, columns], x)
    torch.testing.assert_close((y, found), expected, rtol=0, atol=0)
    assert found.is_contiguous(memory_format=torch.channels_last)  # as the layers before it need it


@pytest.mark.usefixtures("products")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_and_relu_in_one_pass(kernel: int, dtype: torch.dtype, bound: float) -> None:
    x, weight, bias = (
        t.to(dtype) for t in (maps(2, 16, 9, 12, seed=1), maps(24, 16, kernel, kernel, seed=2), maps(24, seed=3))
    )
    expected = by_torch(x.double(), weight.double(), bias.double(), "replicate", rectify=True)
    layout = torch.channels_last
    y = convolve(x.to(memory_format=layout), weight.to(memory_format=layout), bias, "replicate", rectify=True)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=layout)  # as the next layer needs it
    assert float(y.min()) == 0
    assert (y.double() - expected).norm() < bound * expected.norm()


@pytest.mark.parametrize("rectify", [False, True])
def test_without_bfloat16_instructions_products_are_float32_and_rounded_once(
    rectify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_multiplies_bf16", lambda: False)
    x, weight, bias = (t.bfloat16() for t in (maps(1, 8, 9, 12, seed=1), maps(6, 8, 3, 3, seed=2), maps(6, seed=3)))
    expected, slope = gradient(
        lambda x: by_torch(x, weight.float(), bias.float(), "zero", rectify=rectify).bfloat16(), x.float()
    )
    y, found = gradient(lambda x: convolve(x, weight, bias, "zero", rectify=rectify), x)
    torch.testing.assert_close((y, found), (expected, slope.bfloat16()), rtol=2**-7, atol=1e-5)  # one step of 8 bits


@pytest.fixture
def fresh_probe() -> Iterator[None]:
    """Try the private operation of torch in this test, whatever earlier tests found out, and again in later ones."""
    layers._fused_conv_relu_works.cache_clear()
    yield
    layers._fused_conv_relu_works.cache_clear()


def changed_signature(*_: Any) -> Tensor:
    raise TypeError("_convolution_pointwise() is missing value for argument 'groups'")


def without_relu(x: Tensor, weight: Tensor, bias: Tensor, padding: list[int], *_: Any) -> Tensor:
    return functional.conv2d(x, weight, bias, padding=padding)


def without_border(x: Tensor, weight: Tensor, bias: Tensor, *_: Any) -> Tensor:
    return functional.conv2d(x, weight, bias).relu()


def a_little_wrong(x: Tensor, weight: Tensor, bias: Tensor, padding: list[int], *_: Any) -> Tensor:
    return functional.conv2d(x, weight, bias, padding=padding).relu() * 1.125


@pytest.mark.usefixtures("fresh_probe")
@pytest.mark.parametrize("private", [changed_signature, without_relu, without_border, a_little_wrong])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_changed_private_operation_is_not_used(
    private: Callable[..., Tensor], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(*arguments: Any) -> Tensor:
        calls.append(1)
        return private(*arguments)

    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", counted, raising=False)
    monkeypatch.setattr(device, "_multiplies_bf16", lambda: True)
    x, weight, bias = (t.to(dtype) for t in (maps(2, 8, 9, 12, seed=1), maps(6, 8, 3, 3, seed=2), maps(6, seed=3)))
    found = convolve(x, weight, bias, rectify=True)
    tries = len(calls)
    assert tries > 0
    assert torch.equal(found, functional.conv2d(x, weight, bias, padding=1).relu())
    assert torch.equal(convolve(x, weight, bias, rectify=True), found)
    assert len(calls) == tries  # tried once per process


@pytest.mark.usefixtures("fresh_probe")
def test_the_private_operation_is_used_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def marked(x: Tensor, weight: Tensor, bias: Tensor, padding: list[int], *_: Any) -> Tensor:
        calls.append(x.shape)
        return functional.conv2d(x, weight, bias, padding=padding).relu()

    calls = list[torch.Size]()
    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", marked, raising=False)
    x, weight, bias = (t.float() for t in (maps(2, 8, 9, 12), maps(6, 8, 3, 3), maps(6)))
    convolve(x, weight, bias, rectify=True)
    assert calls[-1] == x.shape


@pytest.mark.parametrize("reflect", [False, True])
def test_padding_of_the_border_and_its_second_derivative(*, reflect: bool) -> None:
    x, mode = maps(2, 3, 4, 5).requires_grad_(), "reflect" if reflect else "replicate"
    assert torch.equal(pad_border(x, reflect=reflect), functional.pad(x, (1, 1, 1, 1), mode=mode))
    assert torch.autograd.gradcheck(lambda x: pad_border(x, reflect=reflect), x)
    assert torch.autograd.gradgradcheck(lambda x: pad_border(x, reflect=reflect) ** 2, x)


@pytest.mark.parametrize("padding", ["zero", "replicate"])
def test_little_is_saved_for_the_backward_pass(padding: Padding) -> None:
    kept = []
    x, weight, bias = maps(1, 8, 32, 32).requires_grad_(), maps(8, 8, 3, 3), maps(8)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        y = convolve(x, weight, bias, padding, rectify=True)
        max_pool(y)
    assert kept.count(y.shape) == 2  # the rectified output, by either layer; no input, no indices
    assert sum(shape.numel() for shape in kept if shape != y.shape) == weight.numel()
