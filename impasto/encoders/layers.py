"""The layers of an encoder with frozen filters. They save less for the backward pass than torch's own.

torch saves the padded input of every convolution, and 8-byte indices for every max pooling. Here a convolution saves only its
rectified output, which the next layer reads anyway, and a max pooling only its input.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from impasto.compute.device import multipliable

Padding = Literal["zero", "replicate"]

FEW_CHANNELS = 4  # at most so many input channels: the input is an image, see `_few_channel_conv_transpose`


def convolve(x: Tensor, weight: Tensor, bias: Tensor, padding: Padding = "zero", *, rectify: bool = False) -> Tensor:
    """A convolution that keeps height and width, followed by a ReLU if `rectify`. Only x gets a gradient.

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
        padded, border = (_pad_border(x, False), 0) if ctx.replicated else (x, border)
        y = _conv2d(padded, weight, bias, border, rectify)
        ctx.save_for_backward(weight, *((y,) if rectify else ()))
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        """gradient: of the output, BxKxHxW. Returns the gradient of x, BxCxHxW: a transposed convolution, its border folded back."""
        weight, *rectified = ctx.saved_tensors
        if ctx.rectify:
            gradient = torch.ops.aten.threshold_backward(gradient, rectified[0], 0)
        few = weight.shape[-1] == 3 and weight.shape[1] <= FEW_CHANNELS and gradient.device.type == "cpu"
        y, filters = multipliable(gradient), multipliable(weight)
        if not (few or ctx.replicated):
            back = functional.conv_transpose2d(y, filters, padding=weight.shape[-1] // 2)
        else:
            padded = _few_channel_conv_transpose(y, filters) if few else functional.conv_transpose2d(y, filters)
            back = _fold_border(padded, False) if ctx.replicated else padded[..., 1:-1, 1:-1]
        return back.to(gradient.dtype), None, None, None, None


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor, padding: int, rectify: bool) -> Tensor:
    """A convolution with zero padding, followed by a ReLU if `rectify`, in one pass over the output where oneDNN can do that.

    x: BxCxHxW; weight: KxCxSxS; bias: K. Returns BxKx(H+2*padding-S+1)x(W+2*padding-S+1) in the dtype of x.
    """
    dtype = x.dtype
    x, weight, bias = multipliable(x), multipliable(weight), multipliable(bias)
    if rectify and x.device.type == "cpu" and _fused_conv_relu_works(x.dtype):
        return _fused_conv_relu(x, weight, bias, padding).to(dtype)
    y = functional.conv2d(x, weight, bias, padding=padding)
    return (y.relu_() if rectify else y).to(dtype)


def _fused_conv_relu(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """Convolution and ReLU by the private operation of torch that its compiler uses; there is no public one. Shapes: see `_conv2d`."""
    ones, sides = [1, 1], [padding, padding]
    y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, sides, ones, ones, 1, "relu", [], "")
    return y


@cache
def _fused_conv_relu_works(dtype: torch.dtype) -> bool:
    """Whether the private operation exists, takes our arguments and agrees with conv2d and ReLU. Tried once per process and dtype."""
    if dtype not in (torch.float32, torch.bfloat16):
        return False

    def integers(*shape: int) -> Tensor:  # -3 to 3: no output is above 256, so bfloat16 holds every one exactly
        numbers = torch.arange(torch.Size(shape).numel(), device="cpu") % 7 - 3
        return numbers.reshape(shape).to(dtype)

    x, weight = (integers(*shape).to(memory_format=torch.channels_last) for shape in ((1, 3, 5, 6), (8, 3, 3, 3)))
    bias = integers(8)
    try:
        for padding in (0, 1):
            expected = functional.conv2d(x, weight, bias, padding=padding).relu_()
            found = _fused_conv_relu(x, weight, bias, padding)
            slack = 8 * torch.finfo(dtype).eps * float(expected.max())  # algorithms round intermediate results differently
            if found.shape != expected.shape or not torch.allclose(found, expected, rtol=0, atol=slack):
                return False
    except Exception:  # a later torch may change or drop the operation in any way
        return False
    return True


def pad_border(x: Tensor, *, reflect: bool = False) -> Tensor:
    """Pad by one position on every side: replicate padding, or reflect padding. x: BxCxHxW. Returns BxCx(H+2)x(W+2).

    On a CPU this calls torch's own padding. On CUDA torch's padding does not keep channels_last, the memory format of fast
    convolutions, and its gradient is not deterministic; so it is written out there.
    """
    y: Tensor = _PadBorder.apply(x, reflect)  # type: ignore[no-untyped-call]
    return y


class _PadBorder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, reflect: bool) -> Tensor:
        """See `pad_border`."""
        ctx.reflect = reflect
        return _pad_border(x, reflect)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """gradient: of the output, BxCx(H+2)x(W+2). Returns the gradient of x, BxCxHxW."""
        return _FoldBorder.apply(gradient, ctx.reflect), None  # type: ignore[no-untyped-call]


class _FoldBorder(torch.autograd.Function):
    """The backward pass of `_PadBorder` as a function of its own, so that it can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, reflect: bool) -> Tensor:
        """padded: BxCx(H+2)x(W+2). Returns BxCxHxW."""
        ctx.reflect = reflect
        return _fold_border(padded.clone(), reflect)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """gradient: of the output, BxCxHxW. Returns the gradient of `padded`, BxCx(H+2)x(W+2)."""
        return _PadBorder.apply(gradient, ctx.reflect), None  # type: ignore[no-untyped-call]


def _pad_border(x: Tensor, reflect: bool) -> Tensor:
    """`pad_border` without its gradient. x: BxCxHxW. Returns BxCx(H+2)x(W+2)."""
    if x.device.type == "cpu":
        return functional.pad(x, (1, 1, 1, 1), mode="reflect" if reflect else "replicate")
    batch, channels, height, width = x.shape
    size = batch, channels, height + 2, width + 2
    y = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    y[..., 1:-1, 1:-1] = x
    for axis, last in ((-2, height + 1), (-1, width + 1)):
        y.select(axis, 0).copy_(y.select(axis, 1 + reflect))
        y.select(axis, last).copy_(y.select(axis, last - 1 - reflect))
    return y


def _fold_border(padded: Tensor, reflect: bool) -> Tensor:
    """Add the gradient of the border to the positions that the border copies.

    padded: BxCx(H+2)x(W+2), changed in place. Returns BxCxHxW, a view of it.
    """
    for axis in (-2, -1):
        last = padded.shape[axis] - 1
        padded.select(axis, 1 + reflect).add_(padded.select(axis, 0))
        padded.select(axis, last - 1 - reflect).add_(padded.select(axis, last))
    return padded[..., 1:-1, 1:-1]


def _few_channel_conv_transpose(y: Tensor, weight: Tensor) -> Tensor:
    """A 3x3 transposed convolution with few output channels C, for CPUs.

    y: BxKxHxW; weight: KxCx3x3. Returns BxCx(H+2)x(W+2) in float32, or in the dtype of y if that is wider.

    CPU libraries round C up to 16 channels, which wastes most of the work for the three of an image. Here one matrix product computes
    the contribution of every position to each of its nine neighbors, and nine additions sum them up.
    """
    channels, (batch, _, height, width) = weight.shape[1], y.shape
    filters = weight.permute(2, 3, 1, 0).flatten(0, 2)  # 9CxK
    columns = y.permute(1, 0, 2, 3).flatten(1)  # KxBHW; for one channels_last image a view, which a batched product would copy
    products = (filters @ columns).view(3, 3, channels, batch, height, width)
    padded = y.new_zeros((channels, batch, height + 2, width + 2), dtype=torch.promote_types(y.dtype, torch.float32))
    for down in range(3):
        for right in range(3):
            padded[..., down : down + height, right : right + width] += products[down, right]
    return padded.transpose(0, 1)


def crop(x: Tensor, rows: slice, columns: slice) -> Tensor:
    """A view of some rows and columns of x, whose gradient is channels_last. x: BxCxHxW. Returns BxCxhxw."""
    y: Tensor = _Crop.apply(x, rows, columns)  # type: ignore[no-untyped-call]
    return y


class _Crop(torch.autograd.Function):
    """torch's own gradient of a crop is not channels_last, which makes the backward pass of earlier layers several times slower."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: slice, columns: slice) -> Tensor:
        """See `crop`."""
        ctx.size, ctx.window = x.shape, (rows, columns)
        return x[..., rows, columns]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """gradient: of the output, BxCxhxw. Returns the gradient of x, BxCxHxW, 0 outside the crop."""
        whole = torch.empty(ctx.size, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last).zero_()
        whole[(..., *ctx.window)] = gradient
        return whole, None, None


def average_pool(x: Tensor) -> Tensor:
    """2x2 average pooling with stride 2. x: BxCxHxW. Returns BxCx(H//2)x(W//2)."""
    y: Tensor = _AveragePool.apply(x)  # type: ignore[no-untyped-call]
    return y


class _AveragePool(torch.autograd.Function):
    """torch's own backward pass fills the gradient with zeros and adds to them, which takes three times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """See `average_pool`."""
        ctx.size = x.shape[-2:]
        return functional.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """gradient: of the output, BxCx(H//2)x(W//2). Returns the gradient of x, BxCxHxW, 0 in an odd last row or column."""
        height, width = ctx.size
        spread: Tensor = functional.interpolate(gradient / 4, scale_factor=2)
        odd = (0, width - spread.shape[-1], 0, height - spread.shape[-2])
        return functional.pad(spread, odd) if any(odd) else spread


def max_pool(x: Tensor) -> Tensor:
    """2x2 max pooling with stride 2. x: BxCxHxW. Returns BxCx(H//2)x(W//2)."""
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
        """gradient: of the output, BxCx(H//2)x(W//2). Returns the gradient of x, BxCxHxW.

        The position of each maximum is found again, which takes less memory than keeping it.
        """
        (x,) = ctx.saved_tensors
        variable = x.detach().requires_grad_()
        with torch.enable_grad():
            back: Tensor = torch.autograd.grad(functional.max_pool2d(variable, 2), variable, gradient)[0]
        return back
