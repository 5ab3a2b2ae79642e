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
        if not ctx.replicated:
            return functional.conv_transpose2d(gradient, weight, padding=weight.shape[-1] // 2), None, None, None, None
        wide = functional.conv_transpose2d(gradient, weight)
        for axis in (-2, -1):
            last = wide.shape[axis] - 1
            wide.narrow(axis, 1, 1).add_(wide.narrow(axis, 0, 1))
            wide.narrow(axis, last - 1, 1).add_(wide.narrow(axis, last, 1))
        return wide[..., 1:-1, 1:-1], None, None, None, None


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
