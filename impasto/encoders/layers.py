"""The layers of an encoder whose filters are frozen, so that nothing need be kept for the filters' gradients.

torch keeps every convolution's padded input and every max pooling's 8-byte indices until the backward pass. Here a convolution keeps
its rectified output alone, which the next layer reads anyway: a picture takes less memory.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from impasto.devices import multipliable

Padding = Literal["zero", "replicate"]

FEW = 4  # channels, see `_spread`


def convolve(x: Tensor, weight: Tensor, bias: Tensor, padding: Padding = "zero", *, rectify: bool = False) -> Tensor:
    """A convolution that keeps height and width, and if asked the ReLU behind it; only x has a gradient.

    x: BxCxHxW; weight: KxCx3x3 or KxCx1x1; bias: K. Returns BxKxHxW.
    """
    y: Tensor = _Convolution.apply(x, weight, bias, padding, rectify)  # type: ignore[no-untyped-call]
    return y


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: Padding, rectify: bool) -> Tensor:
        """See `convolve`."""
        border = weight.shape[-1] // 2
        ctx.replicated, ctx.rectify = bool(border) and padding == "replicate", rectify
        seen, border = (_edged(x, 0), 0) if ctx.replicated else (x, border)
        y = _convolved(seen, weight, bias, border, rectify)
        ctx.save_for_backward(weight, *((y,) if rectify else ()))
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        """gradient: BxKxHxW. Returns that of x: the transposed convolution, and what a repeated edge got goes to the edge."""
        weight, *rectified = ctx.saved_tensors
        if ctx.rectify:
            gradient = torch.ops.aten.threshold_backward(gradient, rectified[0], 0)
        few = weight.shape[-1] == 3 and weight.shape[1] <= FEW and gradient.device.type == "cpu"
        given, filters = multipliable(gradient), multipliable(weight)
        if not (few or ctx.replicated):
            back = functional.conv_transpose2d(given, filters, padding=weight.shape[-1] // 2)
        else:
            wide = _spread(given, filters) if few else functional.conv_transpose2d(given, filters)
            back = _folded(wide, 0) if ctx.replicated else wide[..., 1:-1, 1:-1]
        return back.to(gradient.dtype), None, None, None, None


def _convolved(x: Tensor, weight: Tensor, bias: Tensor, padding: int, rectify: bool) -> Tensor:
    """The convolution and its ReLU if asked, in one pass over the result where oneDNN is there."""
    dtype = x.dtype
    x, weight, bias = multipliable(x), multipliable(weight), multipliable(bias)
    if rectify and x.device.type == "cpu" and _fuses(x.dtype):
        once, sides = [1, 1], [padding, padding]
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, sides, once, once, 1, "relu", [], "")
        return fused.to(dtype)
    y = functional.conv2d(x, weight, bias, padding=padding)
    return (y.relu_() if rectify else y).to(dtype)


def _fuses(dtype: torch.dtype) -> bool:
    """Whether oneDNN is there and convolves in this precision. What torch compiles calls it by this name; it has no public one."""
    return hasattr(torch.ops.mkldnn, "_convolution_pointwise") and dtype in (torch.float32, torch.bfloat16)


def edged(x: Tensor, inward: int = 0) -> Tensor:
    """Features with one more position on every side: the edge's own again, or the next inward (1: reflected).

    x: BxCxHxW. Returns BxCx(H+2)x(W+2). torch's own padding is as fast on a CPU; on CUDA it knows one layout only, which is not that
    of fast convolutions, and adds up its gradient in any order.
    """
    y: Tensor = _Edged.apply(x, inward)  # type: ignore[no-untyped-call]
    return y


class _Edged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, inward: int) -> Tensor:
        """See `edged`."""
        ctx.inward = inward
        return _edged(x, inward)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """gradient: of the result."""
        return _Folded.apply(gradient, ctx.inward), None  # type: ignore[no-untyped-call]


class _Folded(torch.autograd.Function):
    """What _Edged does to gradients, and the other way round."""

    @staticmethod
    def forward(ctx: Any, wide: Tensor, inward: int) -> Tensor:
        """wide: BxCx(H+2)x(W+2). Returns BxCxHxW."""
        ctx.inward = inward
        return _folded(wide.clone(), inward)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """gradient: of the result."""
        return _Edged.apply(gradient, ctx.inward), None  # type: ignore[no-untyped-call]


def _edged(x: Tensor, inward: int) -> Tensor:
    if x.device.type == "cpu":
        return functional.pad(x, (1, 1, 1, 1), mode="reflect" if inward else "replicate")
    batch, channels, height, width = x.shape
    size = batch, channels, height + 2, width + 2
    y = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    y[..., 1:-1, 1:-1] = x
    for axis, last in ((-2, height + 1), (-1, width + 1)):
        y.select(axis, 0).copy_(y.select(axis, 1 + inward))
        y.select(axis, last).copy_(y.select(axis, last - 1 - inward))
    return y


def _folded(wide: Tensor, inward: int) -> Tensor:
    """Add what a repeated edge got to the positions it repeats; returns a view into `wide`, which is changed."""
    for axis in (-2, -1):
        last = wide.shape[axis] - 1
        wide.select(axis, 1 + inward).add_(wide.select(axis, 0))
        wide.select(axis, last - 1 - inward).add_(wide.select(axis, last))
    return wide[..., 1:-1, 1:-1]


def _spread(gradient: Tensor, weight: Tensor) -> Tensor:
    """The transposed convolution into few channels. gradient: BxKxHxW; weight: KxCx3x3. Returns BxCx(H+2)x(W+2), at least float32.

    On a CPU libraries reckon with 16 channels where a picture has three. Here one matrix product finds what every position gives to
    each of its nine neighbours, and nine sums collect it.
    """
    channels, (batch, _, height, width) = weight.shape[1], gradient.shape
    filters = weight.permute(2, 3, 1, 0).flatten(0, 2)  # 9CxK
    rows = gradient.permute(1, 0, 2, 3).flatten(1)  # a view of one picture in channels_last, which a batched product would copy
    given = (filters @ rows).view(3, 3, channels, batch, height, width)
    wide = gradient.new_zeros(
        (channels, batch, height + 2, width + 2), dtype=torch.promote_types(gradient.dtype, torch.float32)
    )
    for down in range(3):
        for right in range(3):
            wide[..., down : down + height, right : right + width] += given[down, right]
    return wide.transpose(0, 1)


def part(x: Tensor, rows: slice, columns: slice) -> Tensor:
    """Some rows and columns of x, a view whose gradient is channels_last. x: BxCxHxW. Returns BxCxhxw."""
    y: Tensor = _Part.apply(x, rows, columns)  # type: ignore[no-untyped-call]
    return y


class _Part(torch.autograd.Function):
    """Its own backward: torch's lays the gradient out channel by channel, and everything behind it then takes several times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: slice, columns: slice) -> Tensor:
        """See `part`."""
        ctx.size, ctx.within = x.shape, (rows, columns)
        return x[..., rows, columns]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """gradient: of the part. Returns that of the whole, 0 elsewhere."""
        whole = torch.empty(ctx.size, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last).zero_()
        whole[(..., *ctx.within)] = gradient
        return whole, None, None


def average_pool(x: Tensor) -> Tensor:
    """The mean of every 2x2 positions, rounding height and width down. x: BxCxHxW."""
    y: Tensor = _AveragePool.apply(x)  # type: ignore[no-untyped-call]
    return y


class _AveragePool(torch.autograd.Function):
    """Its own backward: torch's fills the gradient with zeros first and adds to them, which takes three times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """See `average_pool`."""
        ctx.size = x.shape[-2:]
        return functional.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """gradient: that of the result."""
        height, width = ctx.size
        wide: Tensor = functional.interpolate(gradient / 4, scale_factor=2)
        odd = (0, width - wide.shape[-1], 0, height - wide.shape[-2])
        return functional.pad(wide, odd) if any(odd) else wide


def max_pool(x: Tensor) -> Tensor:
    """The largest of every 2x2 positions, rounding height and width down. x: BxCxHxW."""
    y: Tensor = _MaxPool.apply(x)  # type: ignore[no-untyped-call]
    return y


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        """See `max_pool`."""
        ctx.save_for_backward(x)
        return functional.max_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """gradient: that of the result. Looks for the largest again: that takes less than keeping where they were."""
        (x,) = ctx.saved_tensors
        variable = x.detach().requires_grad_()
        with torch.enable_grad():
            found: Tensor = torch.autograd.grad(functional.max_pool2d(variable, 2), variable, gradient)[0]
        return found
