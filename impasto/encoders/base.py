"""The base class of all encoders: an image goes in, a dict of named feature maps ("taps") comes out."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import Self

from impasto import extent
from impasto.encoders import layers
from impasto.encoders.layers import Padding
from impasto.errors import UnknownNameError
from impasto.ladder import Size

Pooling = Literal["average", "max"]
Window = tuple[slice, slice]  # rows and columns of a tap's feature map
NO_WINDOWS: Mapping[str, Window] = MappingProxyType({})


class Encoder(nn.Module):
    """Checks tap names and image sizes, and defines pooling and padding. The parameters are frozen.

    taps: names of the features that `forward` returns. pooling, padding: see the options of the same names.
    known: all tap names of the network, from shallow to deep; set by subclasses.
    input_block: the block whose pooled features `forward` takes as input (see `split_after`); 0 if it takes an image.
    digest: SHA-256 of the weights if they came from `impasto.weights`. A style file names its encoder by this digest.
    """

    name: str
    digest: str = ""
    input_block: int = 0
    known: Sequence[str]

    def __init__(self, taps: Iterable[str], pooling: Pooling, padding: Padding) -> None:
        super().__init__()
        self.taps = frozenset(taps)
        self.pooling = pooling
        self.padding = padding
        self.filters = nn.ParameterDict()
        self.dtype = torch.float32

    def prepare(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move the encoder to a device and cast its filters to `dtype`, which is then the dtype of the features.

        Filters are stored in channels_last, the fastest memory format for convolutions.
        """
        self.to(device)
        self.dtype = dtype
        for name, tensor in self.filters.items():
            layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
            self.filters[name] = nn.Parameter(tensor.to(dtype, memory_format=layout), requires_grad=False)
        return self

    def check_taps(self) -> None:
        """Raise UnknownNameError if the network does not have one of the taps."""
        for tap in sorted(self.taps):
            if tap not in self.known:
                raise UnknownNameError(f"tap of encoder {self.name}:", tap, self.known)

    def path(self, tap: str) -> Sequence[str]:
        """The layers from the image to a tap, in order: "conv" for each 3x3 convolution, "pool" for each pooling."""
        raise NotImplementedError

    def pool_tap(self, block: int) -> str:
        """The name of the tap after the pooling that ends a block (1 is the first block)."""
        raise NotImplementedError

    def channels(self, tap: str) -> int:
        """The number of channels C of a tap's BxCxhxw features."""
        raise NotImplementedError

    @property
    def input_stride(self) -> int:
        """Image pixels between neighboring positions of the input of `forward`; 1 if that is an image."""
        return 1 << self.input_block

    def stride(self, tap: str) -> int:
        """Image pixels between neighboring positions of a tap's map."""
        return 1 << self.path(tap).count("pool")

    def reach(self, tap: str) -> int:
        """How far the receptive field of a position extends beyond its own stride x stride pixels, in image pixels per side.

        It is the largest such distance, counted from the tap back to the input of `forward`: a 3x3 convolution adds one position on
        each side, and a pooling doubles the number of positions.
        """
        reach, pools = 0, self.path(tap).count("pool")
        for layer in reversed(self.path(tap)):
            if layer == "pool" and pools == self.input_block:
                break
            reach, pools = (reach + 1, pools) if layer == "conv" else (2 * reach, pools - 1)
        return reach * self.input_stride

    @property
    def minimum_side(self) -> int:
        """The smallest height and width of an image, in pixels, for which the deepest tap has at least one position."""
        return max(map(self.stride, self.taps))

    def size_at(self, tap: str, size: Size) -> Size:
        """The (height, width) of a tap's map for an image of (height, width) pixels. Poolings round down."""
        stride = self.stride(tap)
        return size[0] // stride, size[1] // stride

    def only(self, taps: Iterable[str]) -> Self:
        """A copy of the encoder with these taps, which computes no layer beyond the deepest one. It shares the filters."""
        shallow = copy.copy(self)
        shallow.taps = frozenset(taps)
        return shallow

    def split_after(self, block: int) -> tuple[Self, Self | None]:
        """Split the encoder after the pooling of a block. Returns (encoder, None) if no tap lies beyond it.

        The first part has the tap `pool_tap(block)` in addition; its features are the input of the second part. Both parts share the
        filters. Sizes, strides and reaches of both are in pixels of the image.
        """
        last = self.known.index(self.pool_tap(block))
        beyond = {tap for tap in self.taps if self.known.index(tap) > last}
        if not beyond:
            return self, None
        first, second = self.only({*self.taps - beyond, self.pool_tap(block)}), self.only(beyond)
        second.input_block = block
        return first, second

    def check_size(self, height: int, width: int, what: str = "image") -> None:
        """Raise PictureError if an image of height x width pixels is too small for the deepest tap. what: its name in the error."""
        extent.check_side((height, width), self.minimum_side, self.name, what)

    def pool(self, x: Tensor) -> Tensor:
        """2x2 pooling with stride 2. x: BxCxHxW. Returns BxCx(H//2)x(W//2)."""
        return layers.average_pool(x) if self.pooling == "average" else layers.max_pool(x)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor, *, rectify: bool) -> Tensor:
        """A convolution with the encoder's padding, see `layers.convolve`. x: BxCxHxW. Returns BxKxHxW."""
        return layers.convolve(x, weight, bias, self.padding, rectify=rectify)

    def forward(self, image: Tensor, windows: Mapping[str, Window] = NO_WINDOWS) -> dict[str, Tensor]:
        """Compute the features at all taps. Raises PictureError if the image is too small.

        image: Bx3xHxW, RGB in 0..1, or BxCxhxw features of `pool_tap(input_block)`.
        windows: the rows and columns to return of a tap's map; a tap that is not listed is returned whole.
        Returns {tap: BxCxhxw} in the encoder's dtype.
        """
        height, width = image.shape[-2:]
        self.check_size(height * self.input_stride, width * self.input_stride)
        return self.compute(image.contiguous(memory_format=torch.channels_last), windows)

    def compute(self, image: Tensor, windows: Mapping[str, Window]) -> dict[str, Tensor]:
        """`forward` without its checks. Arguments and result have the same shapes. Defined by subclasses."""
        raise NotImplementedError


def crop(features: Tensor, window: Window | None) -> Tensor:
    """A view of the rows and columns in a window. features: BxCxHxW. Returns BxCxhxw, or the input itself if window is None."""
    return features if window is None else layers.crop(features, *window)


def block_of(name: str) -> int:
    """The number of the block in the name of a tap or a filter: 4 for "relu4_1", "pool4" and "conv4_1_weight"."""
    return int("".join(c for c in name.partition("_")[0] if c.isdigit()))
