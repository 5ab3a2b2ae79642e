"""The networks as names and shapes, and their weights in memory.

VGG-16 and VGG-19 are configurations D and E of Simonyan & Zisserman (arXiv:1409.1556). lite is the small network inside the package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions in each of VGG's five blocks. A 2x2 pooling ends every block."""

CHANNELS = (64, 128, 256, 512, 512)
"""Output channels of every convolution of VGG, by block."""

LITE = "lite"
"""The network inside the package. It approximates the features of VGG-19."""

LITE_NAME = "impasto lite 9"
OLDER_LITES = tuple(f"impasto lite {number}" for number in range(1, 9))
"""The names in the metadata of lite's file and of older versions' files, which are refused because their taps are different."""

LITE_DEPTHS = (2, 3, 4, 4, 1)
"""Convolutions in each of lite's five blocks."""

LITE_HEADS = (0, 2, 1, 1, 1)
"""The convolution of each block after which its head is. The head is a 1x1 convolution of the outputs of all of them up to there.

0: the first head comes before them all. It is a 3x3 convolution of the pixels, VGG-19's own.
"""

LITE_ARCHITECTURE = {"heads_at": list(LITE_HEADS), "dense_heads": True, "residual": False}
"""The part of lite's architecture that its file states because the shapes of its tensors do not show it."""

TITLES = {LITE: "lite", "vgg16": "VGG-16", "vgg19": "VGG-19"}
"""Every network, and its name as people write it."""


@dataclass(frozen=True)
class Weights:
    """A network's weights in the one form that the encoders read, whatever file they came from.

    network: a key of TITLES. convention: the input convention of that file ("caffe", "torchvision", "matconvnet" or "lite").
    tensors: contiguous float32 on the CPU: `conv1_1.weight` (out, in, height, width), `conv1_1.bias` (out,), ...
    VGG also has `mean` (3,). Its first convolution takes RGB in 0..255 minus `mean`, which is `255 * x - mean` for x in [0, 1], with
    zero padding. It may end early, after any convolution.
    lite also has `head1_1.weight` .. `head5_1.bias`. It takes RGB in [0, 1], with replicate padding.
    """

    network: str
    tensors: dict[str, Tensor]
    convention: str

    @property
    def convolutions(self) -> list[str]:
        """The convolutions present, in order: ["conv1_1", "conv1_2", ...]."""
        return [key.removesuffix(".weight") for key in self.tensors if key.startswith("conv") and key.endswith(".weight")]

    @property
    def complete(self) -> bool:
        """Whether the network does not end early."""
        return len(self.convolutions) == sum((DEPTHS | {LITE: LITE_DEPTHS})[self.network])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the tensors in the order of their names as hexadecimal. It depends on the weights alone, not on their file."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.float().contiguous().numpy().astype("<f4", copy=False).tobytes())
        return digest.hexdigest()


def _convolutions(depths: Iterable[int]) -> list[str]:
    return [f"conv{block}_{i}" for block, depth in enumerate(depths, start=1) for i in range(1, depth + 1)]


def convolution_shapes(network: str) -> dict[str, tuple[int, int, int, int]]:
    """Return the shape (out, in, height, width) of every convolution of "vgg16" or "vgg19", in order."""
    names = _convolutions(DEPTHS[network])
    outputs = [CHANNELS[int(name[4]) - 1] for name in names]
    return {name: (width, inputs, 3, 3) for name, width, inputs in zip(names, outputs, [3, *outputs], strict=False)}


def feature_indices(network: str) -> dict[int, str]:
    """Return the convolution that each N of torchvision's `features.N` is. N also counts every ReLU and every pooling."""
    # before a convolution of block b come two layers for every earlier convolution and b - 1 poolings
    return {2 * i + int(name[4]) - 1: name for i, name in enumerate(_convolutions(DEPTHS[network]))}


def lite_shapes(found: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor lite must have. Widths are free: each convolution's is the length of its bias in `found`."""
    widths = {name: next(iter(found.get(f"{name}.bias", ())), 1) for name in _convolutions(LITE_DEPTHS)}
    shapes: dict[str, tuple[int, ...]] = {}
    for (name, width), inputs in zip(widths.items(), [3, *widths.values()], strict=False):
        shapes |= {f"{name}.weight": (width, inputs, 3, 3), f"{name}.bias": (width,)}
    for block, (width, read) in enumerate(zip(CHANNELS, LITE_HEADS, strict=True), start=1):
        inputs = sum(widths[f"conv{block}_{i}"] for i in range(1, read + 1))
        shapes |= {
            f"head{block}_1.weight": (width, inputs, 1, 1) if read else (width, 3, 3, 3),
            f"head{block}_1.bias": (width,),
        }
    return shapes
