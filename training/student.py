"""The network that is trained: `lite`, and its relatives of other widths and other heads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from impasto.errors import WeightsFileError
from impasto.weights.networks import convolution_shapes
from training.config import CHANNELS, TAPS, Config

Offsets = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Shape:
    """The architecture: channels of every convolution by block, where heads are taken, and how.

    heads_at: after which convolution of its block each head reads, from 1. dense_heads: it reads all of the block's features up to
    there. residual: a convolution's input is added to its output, before the ReLU, where the widths agree.
    """

    widths: tuple[tuple[int, ...], ...]
    heads_at: tuple[int, ...] = (1, 2, 3, 2, 2)
    dense_heads: bool = True
    residual: bool = False

    @classmethod
    def of(cls, config: Config) -> Self:
        """The shape a config asks for."""
        return cls(config.blocks, config.heads_at, config.dense_heads, config.residual)

    @classmethod
    def read(cls, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Self:
        """The shape of a file: as its metadata says, else as the tensors' names and sizes do, as in lite 1. Raises WeightsFileError."""
        if "architecture" in metadata:
            stored = json.loads(metadata["architecture"])
            widths = tuple(tuple(row) for row in stored["widths"])
            return cls(widths, tuple(stored["heads_at"]), stored["dense_heads"], stored["residual"])
        widths = tuple(tuple(_widths_found(tensors, block)) for block in range(1, len(TAPS) + 1))
        if not all(widths):
            raise WeightsFileError("is not lite: a block has no convolution")
        return cls(widths, (1,) * len(TAPS), dense_heads=False)

    def written(self) -> str:
        """For a file's metadata; `read` reads it."""
        return json.dumps(asdict(self), sort_keys=True)

    def convolutions(self) -> dict[str, tuple[int, int]]:
        """(channels in, channels out) of every 3x3 convolution by name, in order."""
        found, inputs = {}, 3
        for block, row in enumerate(self.widths, start=1):
            for i, width in enumerate(row, start=1):
                found[f"conv{block}_{i}"] = inputs, width
                inputs = width
        return found

    def heads(self) -> dict[str, tuple[int, int]]:
        """(channels in, channels out) of every 1x1 head by name."""
        return {
            f"head{block}_1": (sum(row[:at]) if self.dense_heads else row[at - 1], seen)
            for block, (row, at, seen) in enumerate(zip(self.widths, self.heads_at, CHANNELS, strict=True), start=1)
        }

    def sources(self, name: str) -> dict[str, slice]:
        """What a layer reads: the convolutions, in order, and which of its inputs each is. Empty for the first, which sees pixels."""
        names, block = list(self.convolutions()), int(name[len("conv")])
        if name in names:
            read = names[: names.index(name)][-1:]
        else:
            at = self.heads_at[block - 1]
            read = [f"conv{block}_{i}" for i in range(1 if self.dense_heads else at, at + 1)]
        found, first = {}, 0
        for source in read:
            width = self.convolutions()[source][1]
            found[source] = slice(first, first + width)
            first += width
        return found

    def readers(self, name: str) -> list[tuple[str, slice]]:
        """Which layers read a convolution's features, and which of their inputs these are."""
        layers = [*self.convolutions(), *self.heads()]
        return [(layer, self.sources(layer)[name]) for layer in layers if name in self.sources(layer)]

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor by name: `conv1_1.weight`, ..., `head5_1.bias`."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layers, side in ((self.convolutions(), 3), (self.heads(), 1)):
            for name, (inputs, outputs) in layers.items():
                shapes |= {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}
        return shapes

    def cost(self) -> tuple[float, float]:
        """Multiply-adds per pixel of the picture: of the trunk as far as the deepest head needs it, and of the heads."""
        last = f"conv{len(self.widths)}_{self.heads_at[-1]}"
        names = list(self.convolutions())
        trunk = {name: 9 * a * b for name, (a, b) in self.convolutions().items() if names.index(name) <= names.index(last)}
        heads = {name: a * b for name, (a, b) in self.heads().items()}
        return _per_pixel(trunk), _per_pixel(heads)


def _widths_found(tensors: Mapping[str, Tensor], block: int) -> list[int]:
    widths: list[int] = []
    while f"conv{block}_{len(widths) + 1}.bias" in tensors:
        widths.append(tensors[f"conv{block}_{len(widths) + 1}.bias"].shape[0])
    return widths


def _per_pixel(costs: Mapping[str, int]) -> float:
    """A layer of block b sees one position in 4^(b-1) pixels."""
    return float(sum(cost / 4 ** (int(name[len("conv")]) - 1) for name, cost in costs.items()))


def vgg19_cost() -> float:
    """Multiply-adds per pixel of VGG-19 up to conv5_1."""
    shapes = convolution_shapes("vgg19").items()
    return _per_pixel({name: math.prod(shape) for name, shape in shapes if name <= "conv5_1"})


class Student(nn.Module):
    """A trunk of 3x3 convolutions with ReLU, replicate padding and 2x2 max pooling, and 1x1 heads with ReLU into VGG-19's channels.

    The state dict's names are those of impasto/assets/lite.safetensors.
    """

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        for layers, side in ((shape.convolutions(), 3), (shape.heads(), 1)):
            for name, (inputs, outputs) in layers.items():
                self.add_module(name, nn.Conv2d(inputs, outputs, side))
        self._start(torch.Generator().manual_seed(seed))

    def _start(self, generator: torch.Generator) -> None:
        """He et al. (2015), the same for the same seed."""
        for layer in self.children():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor, strides: Sequence[int] = (1,) * 5, offsets: Offsets = ((0, 0),) * 5) -> list[Tensor]:
        """image: Bx3xHxW, RGB, 0..1. Returns relu1_1 .. relu5_1, each BxCxhxw.

        strides, offsets: tap k is computed at every strides[k]-th position of each side only, from offsets[k] (down, right).
        """
        return self.heads(self.trunk(image), strides, offsets)

    def trunk(self, image: Tensor) -> list[list[Tensor]]:
        """image: Bx3xHxW. Returns what each block's head reads: its convolution's features, or all up to there if heads are dense."""
        read: list[list[Tensor]] = []
        x = image
        for block, (row, at) in enumerate(zip(self.shape.widths, self.shape.heads_at, strict=True), start=1):
            seen: list[Tensor] = []
            for i in range(1, (at if block == len(self.shape.widths) else len(row)) + 1):
                x = self._convolve(f"conv{block}_{i}", functional.max_pool2d(x, 2) if i == 1 < block else x)
                seen.append(x)
            read.append(seen[:at] if self.shape.dense_heads else [seen[at - 1]])
        return read

    def heads(self, read: Sequence[list[Tensor]], strides: Sequence[int], offsets: Offsets) -> list[Tensor]:
        """The taps from what `trunk` returns, see `forward`."""
        taps = []
        for block, (features, stride, offset) in enumerate(zip(read, strides, offsets, strict=True), start=1):
            thin = [thinned(F, stride, offset) for F in features]
            taps.append(
                functional.relu(self.get_submodule(f"head{block}_1")(thin[0] if len(thin) == 1 else torch.cat(thin, 1)))
            )
        return taps

    def _convolve(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = self.get_submodule(name)(functional.pad(x, (1, 1, 1, 1), mode="replicate"))
        return functional.relu(x + y if self.shape.residual and x.shape == y.shape else y)

    @torch.no_grad()
    def take(self, other: Student) -> tuple[list[str], list[str]]:
        """Start from another network. Returns the layers it has not, which keep their chance weights, and those that read others there.

        What both have is the same: channels, and what is read of them. Channels that the other has not are 0, and so is what reads
        them. So a network with wider convolutions or with heads that read more says the same.
        """
        theirs = dict(other.named_children())
        moved = []
        for name, layer in self.named_children():
            if name in theirs:
                _copy(theirs[name], layer, _shared(other.shape.sources(name), self.shape.sources(name)))
                if name in self.shape.convolutions() and [*self.shape.sources(name)] != [*other.shape.sources(name)]:
                    moved.append(name)
        return [name for name, _ in self.named_children() if name not in theirs], moved


def _shared(theirs: Mapping[str, slice], mine: Mapping[str, slice]) -> list[tuple[slice, slice]]:
    """Which inputs of two layers are the same convolution's; all, if both see pixels."""
    if not mine:
        return [(slice(None), slice(None))]
    pairs = [(theirs[name], mine[name]) for name in mine if name in theirs]
    widths = [min(a.stop - a.start, b.stop - b.start) for a, b in pairs]
    return [(slice(a.start, a.start + n), slice(b.start, b.start + n)) for (a, b), n in zip(pairs, widths, strict=True)]


def _copy(theirs: nn.Module, mine: nn.Module, shared: Sequence[tuple[slice, slice]]) -> None:
    """The channels that both layers have, and of their inputs those that are shared; 0 for the rest."""
    weight, bias = mine.get_parameter("weight"), mine.get_parameter("bias")
    kept = slice(min(len(bias), len(theirs.get_parameter("bias"))))
    weight.zero_()
    bias.zero_()
    bias[kept] = theirs.get_parameter("bias")[kept]
    for a, b in shared:
        weight[kept, b] = theirs.get_parameter("weight")[kept, a]


def thinned(x: Tensor, stride: int, offset: tuple[int, int]) -> Tensor:
    """Every stride-th position of BxCxhxw features, from an offset smaller than the stride; a view."""
    down, right = offset
    return x if stride == 1 else x[..., down::stride, right::stride]
