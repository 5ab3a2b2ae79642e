"""What every encoder is: a picture in, a dict of named features ("taps") out."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import Self

from impasto.encoders import layers
from impasto.encoders.layers import Padding
from impasto.errors import PictureError, UnknownNameError

Pooling = Literal["average", "max"]
Within = tuple[slice, slice]  # rows and columns of a tap's maps
EVERYWHERE: Mapping[str, Within] = MappingProxyType({})


class Encoder(nn.Module):
    """Base class: checks tap names and picture sizes, pools and pads.

    taps: names of the features `forward` returns. pooling, padding: see the options of the same name.
    Subclasses set `known`, every tap name from shallow to deep. Parameters are frozen: only the picture is optimised.
    begin: the block whose pooled features `forward` is given in place of a picture; 0 for a picture (see `parted`).
    digest: of the weights, where they came from `impasto.weights`; a stored style is for one encoder and says by this which.
    """

    name: str
    digest: str = ""
    begin: int = 0
    known: Sequence[str]

    def __init__(self, taps: Iterable[str], pooling: Pooling, padding: Padding) -> None:
        super().__init__()
        self.taps = frozenset(taps)
        self.pooling = pooling
        self.padding = padding
        self.filters = nn.ParameterDict()
        self.dtype = torch.float32

    def prepare(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move to a device; convolve in dtype, in the memory layout convolutions are fastest in. Features come out in dtype."""
        self.to(device)
        self.dtype = dtype
        for name, tensor in self.filters.items():
            layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
            self.filters[name] = nn.Parameter(tensor.to(dtype, memory_format=layout), requires_grad=False)
        return self

    def check_taps(self) -> None:
        """Raise UnknownNameError for a tap this encoder does not have."""
        for tap in sorted(self.taps):
            if tap not in self.known:
                raise UnknownNameError(f"tap of encoder {self.name}:", tap, self.known)

    @property
    def deepest_block(self) -> int:
        """The number of the deepest block used, 1 to 5."""
        return max(block_of(tap) for tap in self.taps)

    @property
    def minimum_side(self) -> int:
        """Pixels a picture needs on each side so that the deepest tap still has one position."""
        return 1 << (self.deepest_block - 1)

    def size_at(self, tap: str, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) of a tap's maps for a picture of (height, width) pixels."""
        halvings = block_of(tap) - 1
        return size[0] >> halvings, size[1] >> halvings

    def path(self, tap: str) -> Sequence[str]:
        """What lies between a picture and a tap, in order: "conv" for every 3x3 convolution, "pool" for every pooling."""
        raise NotImplementedError

    def pooled(self, block: int) -> str:
        """The tap of what a block hands on to the next."""
        raise NotImplementedError

    @property
    def begin_stride(self) -> int:
        """Pixels from one position of what `forward` is given to the next: 1 for a picture."""
        return 1 << self.begin

    def stride(self, tap: str) -> int:
        """Pixels from one position of a tap's maps to the next."""
        return 1 << self.path(tap).count("pool")

    def reach(self, tap: str) -> int:
        """How many pixels beyond its own stride x stride a position of a tap sees, at most, on each side.

        Counted from the tap back to what `forward` is given: a convolution sees one more, and a pooling makes two of each.
        """
        reach, pools = 0, self.path(tap).count("pool")
        for step in reversed(self.path(tap)):
            if step == "pool" and pools == self.begin:
                break
            reach, pools = (reach + 1, pools) if step == "conv" else (2 * reach, pools - 1)
        return reach * self.begin_stride

    @property
    def widest(self) -> float:
        """The most values that one layer computes for each pixel of a picture."""
        used = (*self._used("conv"), *self._used("head"))
        return float(max(filters.shape[0] / 4 ** (block - 1) for block, filters in used))

    def values(self, kind: Literal["conv", "head"]) -> float:
        """How many values the 3x3 convolutions ("conv"), or the 1x1 heads on them, compute for each pixel of a picture."""
        return float(sum(filters.shape[0] / 4 ** (block - 1) for block, filters in self._used(kind)))

    @property
    def computed(self) -> float:
        """How many values all of them compute for each pixel of a picture."""
        return self.values("conv") + self.values("head")

    @property
    def arithmetic(self) -> float:
        """How many multiply-adds the convolutions take for each pixel of a picture."""
        return float(
            sum(filters.numel() / 4 ** (block - 1) for kind in ("conv", "head") for block, filters in self._used(kind))
        )

    def _used(self, kind: str) -> Iterator[tuple[int, Tensor]]:
        """The filters of that kind in the blocks from what `forward` is given to the deepest tap, each with its block."""
        last, side = max(block_of(tap) - ("pool" in tap) for tap in self.taps), {"conv": 3, "head": 1}[kind]
        for name, filters in self.filters.items():
            block = block_of(name)
            if filters.dim() == 4 and filters.shape[-1] == side and self.begin < block <= last:
                yield block, filters

    def density(self, taps: Iterable[str]) -> float:
        """How many values the maps at these taps have for each pixel of a picture."""
        side = self.minimum_side
        with torch.no_grad():
            shown = self.only(taps)(torch.zeros(1, 3, side, side, device=next(iter(self.filters.values())).device))
        return float(sum(features.shape[1] / self.stride(tap) ** 2 for tap, features in shown.items()))

    def only(self, taps: Iterable[str]) -> Self:
        """The same encoder, sharing its filters, as deep as these of its taps ask for."""
        shallow = copy.copy(self)
        shallow.taps = frozenset(taps)
        return shallow

    def parted(self, block: int) -> tuple[Self, Self | None]:
        """The same encoder in two: up to what `block` hands on, and from there to the taps beyond it; whole where there are none.

        The second is given the first one's tap `pooled(block)`. Both share the filters, and sizes and strides count a picture's pixels.
        """
        edge = self.known.index(self.pooled(block))
        beyond = {tap for tap in self.taps if self.known.index(tap) > edge}
        if not beyond:
            return self, None
        first, second = self.only({*self.taps - beyond, self.pooled(block)}), self.only(beyond)
        second.begin = block
        return first, second

    def check_size(self, height: int, width: int, what: str = "picture") -> None:
        """Raise PictureError if `what`, of height x width pixels, is too small for the deepest tap."""
        side = self.minimum_side
        if min(height, width) < side:
            raise PictureError(
                f"{what} is {width}x{height} pixels; encoder {self.name} needs at least {side}x{side} for the taps used"
            )

    def pool(self, x: Tensor) -> Tensor:
        """Halve BxCxHxW features in height and width, rounding down."""
        return layers.average_pool(x) if self.pooling == "average" else layers.max_pool(x)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor, *, rectify: bool) -> Tensor:
        """3x3 or 1x1 convolution that keeps height and width, and the ReLU behind it if asked."""
        return layers.convolve(x, weight, bias, self.padding, rectify=rectify)

    def forward(self, image: Tensor, within: Mapping[str, Within] = EVERYWHERE) -> dict[str, Tensor]:
        """image: Bx3xHxW, RGB, 0..1. Returns {tap: BxCxhxw} for every tap asked for.

        image: or the features it begins with (`parted`). within: the rows and columns of a tap's maps that are wanted; all of them
        where it says nothing.
        """
        height, width = image.shape[-2:]
        self.check_size(height * self.begin_stride, width * self.begin_stride)
        return self.see(image.contiguous(memory_format=torch.channels_last), within)

    def see(self, image: Tensor, within: Mapping[str, Within]) -> dict[str, Tensor]:
        """`forward` without its checks: what a subclass defines."""
        raise NotImplementedError


def cut(features: Tensor, within: Within | None) -> Tensor:
    """Those rows and columns of BxCxHxW features, a view; all of them for None."""
    return features if within is None else layers.part(features, *within)


def block_of(tap: str) -> int:
    """The block number in a tap's name: 4 for "relu4_1"; for "pool4", whose maps are those of block 5, it is 5."""
    digits = "".join(c for c in tap.partition("_")[0] if c.isdigit())
    return int(digits) + ("pool" in tap)
