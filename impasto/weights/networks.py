"""VGG-16 and VGG-19 as names and shapes (Simonyan & Zisserman, arXiv:1409.1556, configurations D and E), and their weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions in each of the five blocks; a 2x2 pooling ends every block."""

CHANNELS = (64, 128, 256, 512, 512)
"""Output channels of every convolution, by block."""


LITE = "lite"
"""The embedded network, an emulator of VGG-19."""

LITE_NAME = "impasto lite 9"
"""What its file is called in its metadata; a name that begins with "impasto lite" is read as a lite's."""

OLDER_LITES = tuple(f"impasto lite {number}" for number in range(1, 9))
"""What older versions came with; their taps are not the same."""

LITE_DEPTHS = (2, 3, 4, 4, 1)
"""Convolutions in each of its five blocks."""

LITE_HEADS = (0, 2, 1, 1, 1)
"""After how many convolutions of a block its head is; it reads what all of them give, by a 1x1 convolution.

The first head comes before them all: it is a 3x3 convolution of the pixels, VGG-19's own.
"""

LITE_ARCHITECTURE = {"heads_at": list(LITE_HEADS), "dense_heads": True, "residual": False}
"""What lite's file says of itself, as far as the shapes of its tensors do not say it."""


@dataclass(frozen=True)
class VGGWeights:
    """Weights in the one form that the encoders read, whatever file they came from.

    network: "vgg16", "vgg19" or "lite". tensors: contiguous float32 on the CPU: `conv1_1.weight` (out, in, height, width),
    `conv1_1.bias` (out,), ... and `mean` (3,). The first convolution takes RGB scaled to 0..255 minus `mean`, that is
    `255 * x - mean` for x in [0, 1]; padding is zero. A VGG may end early, after any convolution.
    convention: the input convention of the file they came from ("caffe", "torchvision" or "matconvnet").
    lite is its own: RGB in [0, 1] and no `mean`, replicate padding, and also `head1_1.weight` .. `head5_1.bias`.
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
        """Whether no convolution of the network is missing. What is embedded is always complete."""
        return self.network not in DEPTHS or len(self.convolutions) == sum(DEPTHS[self.network])

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the tensors in the order of their names: the same for the same weights, whatever file they came from."""
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.float().contiguous().numpy().astype("<f4", copy=False).tobytes())
        return digest.hexdigest()


def convolution_shapes(network: str) -> dict[str, tuple[int, int, int, int]]:
    """Return the shape (out, in, height, width) of every convolution of "vgg16" or "vgg19", in order."""
    shapes = {}
    inputs = 3
    for block, (depth, outputs) in enumerate(zip(DEPTHS[network], CHANNELS, strict=True), start=1):
        for i in range(1, depth + 1):
            shapes[f"conv{block}_{i}"] = (outputs, inputs, 3, 3)
            inputs = outputs
    return shapes


def feature_indices(network: str) -> dict[int, str]:
    """Return which convolution torchvision's `features.N` is.

    It counts a convolution, its ReLU and a block's pooling each.
    """
    indices = {}
    position = 0
    for block, depth in enumerate(DEPTHS[network], start=1):
        for i in range(1, depth + 1):
            indices[position] = f"conv{block}_{i}"
            position += 2
        position += 1
    return indices


def lite_shapes(found: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor lite must have. Its widths are free: each convolution's is taken from its own bias."""

    def width(layer: str) -> int:
        return next(iter(found.get(f"{layer}.bias", ())), 1)

    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for block, depth in enumerate(LITE_DEPTHS, start=1):
        for i in range(1, depth + 1):
            outputs = width(f"conv{block}_{i}")
            shapes |= {f"conv{block}_{i}.weight": (outputs, inputs, 3, 3), f"conv{block}_{i}.bias": (outputs,)}
            inputs = outputs
    for block, (seen, read) in enumerate(zip(CHANNELS, LITE_HEADS, strict=True), start=1):
        inputs = sum(width(f"conv{block}_{i}") for i in range(1, read + 1))
        filters = (inputs, 1, 1) if read else (3, 3, 3)
        shapes |= {f"head{block}_1.weight": (seen, *filters), f"head{block}_1.bias": (seen,)}
    return shapes


def title(network: str) -> str:
    """Return the network's name as people write it: "VGG-19"."""
    return network.upper().replace("VGG", "VGG-") if network in DEPTHS else network
