"""The network that is trained: `lite`, or one with other widths and heads."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from impasto.encoders import layers
from impasto.errors import OptionError, WeightsFileError
from impasto.weights.networks import convolution_shapes
from training.config import CHANNELS, TAPS, Config

TINY = 1e-30  # avoids division by zero

Offsets = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Shape:
    """The architecture. widths: channels of every convolution by block.

    heads_at: the convolution in each block that its head follows, counted from 1. If the first is 0, relu1_1 is the teacher's own
    3x3 convolution of the pixels. dense_heads: a head reads all features of its block up to there. residual: a convolution's input is
    added to its output, before the ReLU, where the widths match.
    """

    widths: tuple[tuple[int, ...], ...]
    heads_at: tuple[int, ...] = (0, 2, 1, 1, 1)
    dense_heads: bool = True
    residual: bool = False

    @classmethod
    def of(cls, config: Config) -> Self:
        """The shape described by a config."""
        return cls(config.blocks, config.heads_at, config.dense_heads, config.residual)

    @classmethod
    def read(cls, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Self:
        """The shape of a file, from its metadata or, for lite 1, from its tensors. Raises WeightsFileError."""
        if "architecture" in metadata:
            stored = json.loads(metadata["architecture"])
            widths = tuple(tuple(row) for row in stored["widths"])
            return cls(widths, tuple(stored["heads_at"]), stored["dense_heads"], stored["residual"])
        widths = tuple(tuple(_widths_found(tensors, block)) for block in range(1, len(TAPS) + 1))
        if not all(widths):
            raise WeightsFileError("a block has no convolution")
        return cls(widths, (1,) * len(TAPS), dense_heads=False)

    def written(self) -> str:
        """The shape as JSON for a file's metadata; see `read`."""
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
        """(channels in, channels out) of every head by name."""
        return {
            f"head{block}_1": (sum(row[:at] if self.dense_heads else row[at - 1 : at]) or 3, seen)
            for block, (row, at, seen) in enumerate(zip(self.widths, self.heads_at, CHANNELS, strict=True), start=1)
        }

    @property
    def frozen(self) -> set[str]:
        """The head that is the teacher's own first convolution, if any."""
        return {"head1_1"} if not self.heads_at[0] else set()

    def layers(self) -> dict[str, tuple[int, int, int]]:
        """(channels in, channels out, filter side) of every layer by name."""
        trunk = {name: (*size, 3) for name, size in self.convolutions().items()}
        return trunk | {name: (*size, 3 if name in self.frozen else 1) for name, size in self.heads().items()}

    def sources(self, name: str) -> dict[str, slice]:
        """The convolutions that a layer reads, in order, with their input channels. Empty for a layer that reads pixels."""
        names, block = list(self.convolutions()), int(name[len("conv")])
        if name in names:
            read = names[: names.index(name)][-1:]
        else:
            at = self.heads_at[block - 1]
            read = [f"conv{block}_{i}" for i in range(1 if self.dense_heads else max(at, 1), at + 1)]
        found, first = {}, 0
        for source in read:
            width = self.convolutions()[source][1]
            found[source] = slice(first, first + width)
            first += width
        return found

    def needed(self, last: int) -> list[str]:
        """The layers needed for the taps up to `last`, counted from 1."""
        blocks = range(1, last + 1)
        convolutions, heads = list(self.convolutions()), [f"head{block}_1" for block in blocks]
        deepest = next(
            (f"conv{block}_{self.heads_at[block - 1]}" for block in reversed(blocks) if self.heads_at[block - 1]), ""
        )
        return [*convolutions[: 1 + convolutions.index(deepest) if deepest else 0], *heads]

    def teacher_layer(self, name: str) -> str:
        """VGG-19's counterpart of a convolution: the tap's up to the block's head, then the following ones."""
        block, number = map(int, name[len("conv") :].split("_"))
        return f"conv{block}_{1 + max(0, number - max(1, self.heads_at[block - 1]))}"

    def readers(self, name: str) -> list[tuple[str, slice]]:
        """The layers that read a convolution's features, with the corresponding input channels."""
        layers = [*self.convolutions(), *self.heads()]
        return [(layer, self.sources(layer)[name]) for layer in layers if name in self.sources(layer)]

    def followers(self, name: str) -> list[str]:
        """The convolutions that read a layer."""
        return [reader for reader in self.convolutions() if name in self.sources(reader)]

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor by name: `conv1_1.weight`, ..., `head5_1.bias`."""
        shapes: dict[str, tuple[int, ...]] = {}
        for name, (inputs, outputs, side) in self.layers().items():
            shapes |= {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}
        return shapes

    def cost(self) -> tuple[float, float]:
        """Multiply-adds per image pixel of the trunk, up to the deepest head, and of the heads."""
        last = f"conv{len(self.widths)}_{self.heads_at[-1]}"
        names = list(self.convolutions())
        costs = {name: a * b * side**2 for name, (a, b, side) in self.layers().items()}
        trunk = {name: cost for name, cost in costs.items() if name in names[: 1 + names.index(last)]}
        return _per_pixel(trunk), _per_pixel({name: costs[name] for name in self.heads()})


def _widths_found(tensors: Mapping[str, Tensor], block: int) -> list[int]:
    widths: list[int] = []
    while f"conv{block}_{len(widths) + 1}.bias" in tensors:
        widths.append(tensors[f"conv{block}_{len(widths) + 1}.bias"].shape[0])
    return widths


def _per_pixel(costs: Mapping[str, int]) -> float:
    """Sum of costs per position; a layer of block b has one position per 4^(b-1) pixels."""
    return float(sum(cost / 4 ** (int(name[len("conv")]) - 1) for name, cost in costs.items()))


def vgg19_cost() -> float:
    """Multiply-adds per pixel of VGG-19 up to conv5_1."""
    shapes = convolution_shapes("vgg19").items()
    return _per_pixel({name: math.prod(shape) for name, shape in shapes if name <= "conv5_1"})


class Student(nn.Module):
    """A trunk of 3x3 convolutions with ReLU, replicate padding and 2x2 max pooling, and 1x1 heads with ReLU into VGG-19's channels.

    If `heads_at` begins with 0, the filters of relu1_1 are frozen; set them with `set_first_filters`. State dict names match
    impasto/assets/lite.safetensors.
    """

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        super().__init__()
        self.shape, generator = shape, torch.Generator().manual_seed(seed)
        for name, sizes in shape.layers().items():
            self.add_module(name, layer := nn.Conv2d(*sizes).requires_grad_(name not in shape.frozen))
            he_initialize(layer, generator)

    def learned(self, first: int = 1, last: int = 5) -> dict[str, nn.Module]:
        """The layers trained for taps `first` to `last`, by name, without those that shallower taps need."""
        names = {*self.shape.needed(last)} - {*self.shape.needed(first - 1), *self.shape.frozen}
        return {name: layer for name, layer in self.named_children() if name in names}

    @torch.no_grad()
    def set_first_filters(self, weight: Tensor, bias: Tensor) -> None:
        """Set the frozen head, if any, to the teacher's first convolution, 64x3x3x3 and 64."""
        for name in self.shape.frozen:
            self.get_submodule(name).get_parameter("weight").copy_(weight)
            self.get_submodule(name).get_parameter("bias").copy_(bias)

    @torch.no_grad()
    def copy_layers(self, other: Student, names: Collection[str]) -> None:
        """Copy these layers from another network. Raises OptionError if their shapes differ."""
        for name in names:
            mine, theirs = self.get_submodule(name), dict(other.named_children()).get(name)
            if theirs is None or [p.shape for p in mine.parameters()] != [p.shape for p in theirs.parameters()]:
                raise OptionError(f"must be a network with the same {name}", option="shallow")
            mine.load_state_dict(theirs.state_dict())

    def forward(
        self, image: Tensor, strides: Sequence[int] = (1,) * 5, offsets: Offsets = ((0, 0),) * 5, first: int = 1, last: int = 5
    ) -> list[Tensor]:
        """image: Bx3xHxW, RGB, 0..1. Returns taps `first` to `last`, counted from 1, BxCxhxw each.

        strides, offsets: compute tap k only at every strides[k]-th row and column, starting from offsets[k] (down, right).
        """
        return self.heads(self.trunk(image, last), strides, offsets, first)

    def trunk(self, image: Tensor, last: int = 5) -> list[list[Tensor]]:
        """image: Bx3xHxW. Returns the features that each block's head reads; a first head at 0 reads the padded image.

        last: the deepest tap wanted, counted from 1.
        """
        read: list[list[Tensor]] = []
        x = image
        for block, (row, at) in enumerate(zip(self.shape.widths[:last], self.shape.heads_at, strict=False), start=1):
            seen: list[Tensor] = []
            for i in range(1, (at if block == last else len(row)) + 1):
                x = self._convolve(f"conv{block}_{i}", functional.max_pool2d(x, 2) if i == 1 < block else x)
                seen.append(x)
            read.append(seen[:at] if self.shape.dense_heads else seen[at - 1 : at])
        return read if self.shape.heads_at[0] else [[layers.pad_border(image)], *read[1:]]

    def heads(self, read: Sequence[list[Tensor]], strides: Sequence[int], offsets: Offsets, first: int = 1) -> list[Tensor]:
        """Compute the taps from the result of `trunk`; see `forward`."""
        taps = []
        for block, features in enumerate(read[first - 1 :], start=first):
            name, stride, offset = f"head{block}_1", strides[block - 1], offsets[block - 1]
            layer = self.get_submodule(name)
            if name in self.shape.frozen:
                weight, bias, (down, right) = layer.get_parameter("weight"), layer.get_parameter("bias"), offset
                response = functional.conv2d(features[0][..., down:, right:], weight, bias, stride=stride)
            else:
                parts = [subsampled(F, stride, offset) for F in features]
                response = layer(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
            taps.append(functional.relu(response))
        return taps

    def _convolve(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = self.get_submodule(name)(layers.pad_border(x))
        return functional.relu(x + y if self.shape.residual and x.shape == y.shape else y)

    @torch.no_grad()
    def copy_from(self, other: Student) -> tuple[list[str], list[str]]:
        """Copy all weights that both networks have. Returns the layers missing in `other`, and those that read other layers there.

        Missing layers keep their random weights. Additional channels, and the weights that read them, become 0, so a network with
        wider convolutions or denser heads computes the same taps.
        """
        theirs = other.learned()
        moved = []
        for name, layer in self.learned().items():
            if name in theirs:
                _copy(theirs[name], layer, _shared(other.shape.sources(name), self.shape.sources(name)))
                if name in self.shape.convolutions() and [*self.shape.sources(name)] != [*other.shape.sources(name)]:
                    moved.append(name)
        return [name for name in self.learned() if name not in theirs], moved


def _shared(theirs: Mapping[str, slice], mine: Mapping[str, slice]) -> list[tuple[slice, slice]]:
    """The input channels of two layers that come from the same convolution; all of them if both read pixels."""
    if not mine:
        return [(slice(None), slice(None))]
    pairs = [(theirs[name], mine[name]) for name in mine if name in theirs]
    widths = [min(a.stop - a.start, b.stop - b.start) for a, b in pairs]
    return [(slice(a.start, a.start + n), slice(b.start, b.start + n)) for (a, b), n in zip(pairs, widths, strict=True)]


def _copy(theirs: nn.Module, mine: nn.Module, shared: Sequence[tuple[slice, slice]]) -> None:
    """Copy the channels that both layers have, for the shared inputs; set the rest to 0."""
    weight, bias = mine.get_parameter("weight"), mine.get_parameter("bias")
    kept = slice(min(len(bias), len(theirs.get_parameter("bias"))))
    weight.zero_()
    bias.zero_()
    bias[kept] = theirs.get_parameter("bias")[kept]
    for a, b in shared:
        weight[kept, b] = theirs.get_parameter("weight")[kept, a]


def he_initialize(layer: nn.Conv2d, generator: torch.Generator) -> None:
    """Random weights (He et al. 2015) and zero biases."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def subsampled(x: Tensor, stride: int, offset: tuple[int, int]) -> Tensor:
    """A view of every stride-th row and column of BxCxhxw features, starting from offset (down, right) < stride."""
    down, right = offset
    return x if stride == 1 else x[..., down::stride, right::stride]


def quantized(student: Student, bits: int) -> Student:
    """A copy with weights rounded to `bits` bits and one scale per output channel. Biases are unchanged.

    Symmetric and per channel (Krishnamoorthi 2018, "Quantizing Deep Convolutional Networks", section 2).
    """
    other, largest = copy.deepcopy(student), 2 ** (bits - 1) - 1
    for weight in other.parameters():
        if weight.dim() > 1:
            scale = weight.abs().flatten(1).amax(1).clamp_min(TINY).view(-1, 1, 1, 1) / largest
            weight.copy_((weight / scale).round() * scale)
    return other
