"""The teachers: relu1_1 to relu5_1 of the normalized VGG-19, from exact weights where available and a distilled network elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from impasto import weights
from impasto.encoders import layers
from impasto.errors import WeightsFileError
from impasto.files import printable
from impasto.weights.networks import DEPTHS, convolution_shapes
from training import checkpoint
from training.config import CHANNELS, TAPS

EXACT = "vgg19-normalised-conv1_1-conv3_1.safetensors"
DISTILLED = "vgg19-distilled-16x-conv5_1.safetensors"
EXACT_CONVOLUTIONS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1")
DISTILLED_WIDTHS = (16, 32, 64, 128, 128)
DISTILLED_DEPTHS = (2, 2, 4, 4, 1)
UNIT = (0.7, 1.4)  # average over a tap's channels of their mean activation: about 1 for normalized weights

Padding = Literal["replicate", "reflect"]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Response:
    """A convolution's output before its ReLU, BxKxhxw, and the norm of the next layer's weights for each of its K channels."""

    values: Tensor
    norms: Tensor


class Trunk(nn.Module):
    """A frozen chain of 3x3 convolutions with ReLU and 2x2 max pooling between blocks.

    tensors: `conv1_1.weight`, ... for RGB in 0..1 minus `mean`; `headK_1.weight`, ... where a 1x1 head computes reluK_1.
    taps: those to return.
    """

    def __init__(self, tensors: Tensors, taps: Iterable[str], padding: Padding) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.padding = padding
        self.names = [name.removesuffix(".weight") for name in tensors if name.startswith("conv") and name.endswith(".weight")]
        for name, tensor in tensors.items():
            if name != "mean":
                layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
                self.register_buffer(name.replace(".", "_"), tensor.float().contiguous(memory_format=layout))
        self.register_buffer("mean", tensors["mean"].float().reshape(1, 3, 1, 1))

    def forward(self, image: Tensor, wanted: Collection[str] = TAPS, *, rectified: bool = True) -> dict[str, Tensor]:
        """image: Bx3xHxW, RGB, 0..1. Returns {tap: BxCxhxw} for the wanted taps of this trunk. rectified: False omits the ReLU."""
        found: dict[str, Tensor] = {}
        left = [tap for tap in self.taps if tap in wanted]
        x = image - self.get_buffer("mean")  # in float32; the centered values lose little when rounded to bf16
        for name in self.names:
            if len(found) == len(left):
                break
            y = self._respond(name, x)
            if (tap := name.replace("conv", "relu")) in left:
                seen = self._headed(name, y)
                found[tap] = functional.relu(seen) if rectified else seen
            x = functional.relu(y)
        return found

    def responses(self, image: Tensor) -> dict[str, Response]:
        """The response of every convolution by name, and of every tap as headK_1."""
        found: dict[str, Response] = {}
        x = image - self.get_buffer("mean")
        for name, reader in zip(self.names, [*self.names[1:], None], strict=True):
            y = self._respond(name, x)
            norms = self._filters(reader)[0].square().sum((0, 2, 3)).sqrt() if reader else torch.ones_like(y[0, :, 0, 0])
            found[name] = Response(y, norms)
            if name.replace("conv", "relu") in self.taps:
                seen = self._headed(name, y)
                found[name.replace("conv", "head")] = Response(seen, torch.ones_like(seen[0, :, 0, 0]))
            x = functional.relu(y)
        return found

    def first(self) -> tuple[Tensor, Tensor]:
        """Filters, 64x3x3x3, and biases of conv1_1 for pixels in 0..1, with the subtraction of `mean` folded in."""
        weight, bias = (tensor.double() for tensor in self._filters("conv1_1"))
        offset = torch.einsum("oihw,i->o", weight, self.get_buffer("mean").double().flatten())
        return weight.float(), (bias - offset).float()

    def _respond(self, name: str, x: Tensor) -> Tensor:
        """Apply a convolution without its ReLU, after pooling at the start of a block."""
        pooled = functional.max_pool2d(x, 2) if name.endswith("_1") and name != "conv1_1" else x
        return functional.conv2d(layers.pad_border(pooled, reflect=self.padding == "reflect"), *self._filters(name))

    def _filters(self, name: str) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")

    def _headed(self, name: str, y: Tensor) -> Tensor:
        """Apply a convolution's head, if it has one."""
        head = name.replace("conv", "head")
        return functional.conv2d(functional.relu(y), *self._filters(head)) if hasattr(self, f"{head}_weight") else y


class Teacher(nn.Module):
    """relu1_1 to relu5_1 from one or two trunks. exact: the taps with VGG-19's own weights. digest: SHA-256 of all weights."""

    def __init__(self, trunks: Iterable[Trunk], exact: Iterable[str]) -> None:
        super().__init__()
        self.parts = tuple(trunks)
        self.first = self.parts[0].first
        self.trunks = nn.ModuleList(self.parts)
        self.exact = tuple(exact)
        self.digest = _digest(dict(self.named_buffers()))

    def forward(self, image: Tensor, wanted: Collection[str] = TAPS, *, rectified: bool = True) -> list[Tensor]:
        """image: Bx3xHxW, RGB, 0..1. Returns the wanted taps, BxCxhxw each. rectified: False omits the ReLU."""
        found: dict[str, Tensor] = {}
        for trunk in self.trunks:
            found |= trunk(image, wanted, rectified=rectified)
        return [found[tap] for tap in TAPS if tap in wanted]

    def responses(self, image: Tensor) -> dict[str, Response]:
        """The response of every convolution by name, VGG-19's own where available, and of the taps as headK_1.

        image: Bx3xHxW, RGB, 0..1.
        """
        found: dict[str, Response] = {}
        for trunk in reversed(self.parts):
            found |= trunk.responses(image)
        return found


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_pair(folder: Path) -> Teacher:
    """Read the exact first three blocks and the distilled deep blocks from two files in a folder. Raises WeightsFileError."""
    exact = Trunk(_exact(read_tensors(folder / EXACT, _exact_shapes())), TAPS[:3], "replicate")
    deep = Trunk(_distilled(read_tensors(folder / DISTILLED, _distilled_shapes())), TAPS[3:], "reflect")
    return Teacher((exact, deep), TAPS[:3])


def read_tensors(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read tensors with these names and shapes from a safetensors file. Raises WeightsFileError."""
    _, found = checkpoint.read(file)
    checkpoint.check_shapes(file, found, shapes)
    for name in shapes:
        if not found[name].isfinite().all():
            raise WeightsFileError(f"{printable(file)} contains NaN or infinite values in {name}")
    return {name: found[name] for name in shapes}


def _exact_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"pre.weight": (3, 3, 1, 1), "pre.bias": (3,)}
    for name in EXACT_CONVOLUTIONS:
        kernel = convolution_shapes("vgg19")[name]
        shapes |= {f"{name}.weight": kernel, f"{name}.bias": kernel[:1]}
    return shapes


def _distilled_layers() -> Iterator[tuple[int, int, int, int]]:
    """Yield (block, number within the block, channels in, channels out) for every 3x3 convolution."""
    inputs = 3
    for block, (depth, width) in enumerate(zip(DISTILLED_DEPTHS, DISTILLED_WIDTHS, strict=True), start=1):
        for i in range(1, depth + 1):
            yield block, i, inputs, width
            inputs = width


def _distilled_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"conv0.weight": (3, 3, 1, 1), "conv0.bias": (3,)}
    for block, i, inputs, width in _distilled_layers():
        shapes |= {f"conv{block}{i}.weight": (width, inputs, 3, 3), f"conv{block}{i}.bias": (width,)}
    for block, (width, seen) in enumerate(zip(DISTILLED_WIDTHS, CHANNELS, strict=True), start=1):
        shapes |= {f"conv{block}1_aux.weight": (seen, width, 1, 1), f"conv{block}1_aux.bias": (seen,)}
    return shapes


def _exact(found: Tensors) -> dict[str, Tensor]:
    tensors = {f"{name}.{part}": found[f"{name}.{part}"] for name in EXACT_CONVOLUTIONS for part in ("weight", "bias")}
    return _folded(tensors, found["pre.weight"], found["pre.bias"])


def _distilled(found: Tensors) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for block, i, _, _ in _distilled_layers():
        tensors |= {f"conv{block}_{i}.{part}": found[f"conv{block}{i}.{part}"] for part in ("weight", "bias")}
    for block in (4, 5):  # shallower taps come from the exact teacher
        tensors |= {f"head{block}_1.{part}": found[f"conv{block}1_aux.{part}"] for part in ("weight", "bias")}
    return _folded(tensors, found["conv0.weight"], found["conv0.bias"])


def _folded(tensors: dict[str, Tensor], weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """Fold a 1x1 convolution into the first 3x3 one: weight x + bias = weight (x - mean). Exact, because padding repeats pixels."""
    mixing = weight.double()[:, :, 0, 0]
    folded = torch.einsum("omhw,mi->oihw", tensors["conv1_1.weight"].double(), mixing).float()
    return tensors | {"conv1_1.weight": folded, "mean": -torch.linalg.solve(mixing, bias.double()).float()}


def read_vgg19(file: Path) -> Trunk:
    """Read VGG-19 up to conv5_1 in any format of `impasto.weights`, without normalizing it. Raises WeightsFileError."""
    found = weights.load(file, network="vgg19")
    needed = [f"conv{b}_{i}" for b, depth in enumerate(DEPTHS["vgg19"], start=1) for i in range(1, depth + 1)]
    needed = needed[: needed.index("conv5_1") + 1]
    missing = [name for name in needed if f"{name}.weight" not in found.tensors]
    if missing:
        raise WeightsFileError(f"{printable(file)} ends before {missing[0]}; VGG-19 up to conv5_1 is needed")
    tensors = {f"{name}.{part}": found.tensors[f"{name}.{part}"] for name in needed for part in ("weight", "bias")}
    tensors |= {"conv1_1.weight": 255 * tensors["conv1_1.weight"], "mean": found.tensors["mean"] / 255}
    return Trunk(tensors, TAPS, "replicate")


@torch.no_grad()
def normalized(trunk: Trunk, batches: Iterable[Tensor]) -> tuple[Teacher, bool]:
    """Rescale filters so that every channel has mean activation 1 over these images (Gatys et al. 2015, section 2).

    batches: Bx3xHxW images, 0..1. Returns the teacher, and whether it was rescaled: filters are unchanged if the mean activation is
    already about 1. Channels that are never active are not rescaled.
    """
    sums = {name: torch.zeros(trunk.get_buffer(f"{name}_bias").shape[0], dtype=torch.float64) for name in trunk.names}
    count = 0
    for batch in batches:
        count += 1
        for name, x in _activations(trunk, batch):
            sums[name] += x.mean((0, 2, 3), dtype=torch.float64)
    means = {name: total / max(count, 1) for name, total in sums.items()}
    active = (means[tap.replace("relu", "conv")] for tap in trunk.taps)
    if all(UNIT[0] < float(mean[mean > 0].mean()) < UNIT[1] for mean in active):
        return Teacher((trunk,), TAPS), False
    return Teacher((_rescaled(trunk, means),), TAPS), True


def _activations(trunk: Trunk, image: Tensor) -> Iterator[tuple[str, Tensor]]:
    x = image - trunk.get_buffer("mean")
    for name in trunk.names:
        x = functional.relu(trunk._respond(name, x))
        yield name, x


def _rescaled(trunk: Trunk, means: Mapping[str, Tensor]) -> Trunk:
    """Divide each filter by its mean activation and multiply the next layer's weights by it. Features change only by a factor."""
    tensors, before = {"mean": trunk.get_buffer("mean")}, torch.ones(3, dtype=torch.float64)
    for name in trunk.names:
        weight, bias = (tensor.double() for tensor in trunk._filters(name))
        scale = torch.where(means[name] > 0, means[name], torch.ones_like(means[name]))
        tensors[f"{name}.weight"] = (weight * before.reshape(1, -1, 1, 1) / scale.reshape(-1, 1, 1, 1)).float()
        tensors[f"{name}.bias"] = (bias / scale).float()
        before = scale
    return Trunk(tensors, trunk.taps, trunk.padding)
