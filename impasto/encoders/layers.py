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
        if ctx.replicated:
            y = functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), weight, bias)
        else:
            y = functional.conv2d(x, weight, bias, padding=border)
        if rectify:
            y.relu_()
        ctx.save_for_backward(weight, *((y,) if rectify else ()))
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        """gradient: BxKxHxW. Returns that of x: the transposed convolution, and what a repeated edge got goes to the edge."""
        weight, *rectified = ctx.saved_tensors
        if ctx.rectify:
            gradient = torch.ops.aten.threshold_backward(gradient, rectified[0], 0)
        few = weight.shape[-1] == 3 and weight.shape[1] <= FEW and gradient.device.type == "cpu"
        if not (few or ctx.replicated):
            return functional.conv_transpose2d(gradient, weight, padding=weight.shape[-1] // 2), None, None, None, None
        wide = _spread(gradient, weight) if few else functional.conv_transpose2d(gradient, weight)
        for axis in (-2, -1) if ctx.replicated else ():
            last = wide.shape[axis] - 1
            wide.narrow(axis, 1, 1).add_(wide.narrow(axis, 0, 1))
            wide.narrow(axis, last - 1, 1).add_(wide.narrow(axis, last, 1))
        return wide[..., 1:-1, 1:-1], None, None, None, None


def _spread(gradient: Tensor, weight: Tensor) -> Tensor:
    """The transposed convolution into few channels. gradient: BxKxHxW; weight: KxCx3x3. Returns BxCx(H+2)x(W+2), at least float32.

    On a CPU libraries reckon with 16 channels where a picture has three. Here one matrix product finds what every position gives to
    each of its nine neighbours, and nine sums collect it.
    """
    channels, (batch, _, height, width) = weight.shape[1], gradient.shape
    filters = weight.permute(2, 3, 1, 0).flatten(0, 2)  # 9CxK
    given = (filters @ gradient.flatten(2)).view(batch, 3, 3, channels, height, width)
    wide = gradient.new_zeros(
        (batch, channels, height + 2, width + 2), dtype=torch.promote_types(gradient.dtype, torch.float32)
    )
    for down in range(3):
        for right in range(3):
            wide[..., down : down + height, right : right + width] += given[:, down, right]
    return wide


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
