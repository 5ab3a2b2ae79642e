"""`lite`, the embedded encoder: a small network that emulates VGG-19, trained for impasto and shipped inside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from impasto.encoders.base import Encoder, Pooling, Within, block_of, cut
from impasto.encoders.layers import Padding
from impasto.weights.networks import LITE_DEPTHS, LITE_HEADS

POOLED = "trunkpool"


def operations() -> Iterator[str]:
    """The trunk's operations in order, by the tap behind each: "trunk1_1", "trunk1_2", "trunkpool1", "trunk2_1", ..."""
    for block, count in enumerate(LITE_DEPTHS, start=1):
        yield from (f"trunk{block}_{i}" for i in range(1, count + 1))
        if block < len(LITE_DEPTHS):
            yield f"{POOLED}{block}"


OPERATIONS = list(operations())


def origin(tap: str) -> str:
    """The operation of the trunk behind which a tap is taken: "trunk2_2" for "relu2_1", by its head.

    For "relu1_1", whose head reads the pixels, it is "trunk1_1", which reads no more of them.
    """
    block = block_of(tap)
    return tap if tap.startswith("trunk") else f"trunk{block}_{max(1, LITE_HEADS[block - 1])}"


def taps_behind(operation: str) -> list[str]:
    """The taps to be had behind an operation of the trunk; one convolution of each block has a head."""
    block = block_of(operation)
    return [operation, *([f"conv{block}_1", f"relu{block}_1"] if operation == origin(f"relu{block}_1") else [])]


class Lite(Encoder):
    """A slim trunk of 3x3 convolutions with 1x1 heads into VGG-19's own channels (64, 128, 256, 512, 512).

    A head reads its block up to where it is: the features of the first convolution, in block 2 of two. relu1_1 is seen in the pixels,
    by VGG-19's own 3x3 convolution. What stands behind a head stands for VGG-19's convolutions behind that tap.

    Taps: `relu1_1` .. `relu5_1` emulate the normalised VGG-19 (mean activation about 1, Gatys et al. 2015) and `conv1_1` .. `conv5_1`
    are the same before the ReLU; `trunk1_1` .. `trunk5_1` are the trunk's own rectified features, which no VGG has, and `trunkpool1` ..
    `trunkpool4` what its blocks hand on.
    tensors: `conv1_1.weight`, ..., `head5_1.bias`, as in impasto/assets/lite.safetensors. Trained with max pooling and replicate
    padding; optimising with average pooling works as well.
    """

    name = "lite"
    known = tuple(tap for operation in OPERATIONS for tap in taps_behind(operation))

    def __init__(
        self, tensors: Mapping[str, Tensor], taps: Iterable[str], *, pooling: Pooling = "max", padding: Padding = "replicate"
    ) -> None:
        super().__init__(taps, pooling, padding)
        self.check_taps()
        for name, tensor in tensors.items():
            self.filters[name.replace(".", "_")] = nn.Parameter(tensor.float(), requires_grad=False)

    def pooled(self, block: int) -> str:
        """See `Encoder.pooled`."""
        return f"{POOLED}{block}"

    def path(self, tap: str) -> list[str]:
        """See `Encoder.path`."""
        operations = OPERATIONS[: 1 + OPERATIONS.index(origin(tap))]
        return ["pool" if operation.startswith(POOLED) else "conv" for operation in operations]

    @property
    def operations(self) -> list[str]:
        """The operations from where it begins up to the deepest tap."""
        first = 1 + OPERATIONS.index(self.pooled(self.begin)) if self.begin else 0
        return OPERATIONS[first : 1 + max(OPERATIONS.index(origin(tap)) for tap in self.taps)]

    def see(self, image: Tensor, within: Mapping[str, Within]) -> dict[str, Tensor]:
        """See `Encoder.forward`."""
        pixels, block, features = image.to(self.dtype), list[Tensor](), dict[str, Tensor]()
        x = pixels
        for operation in self.operations:
            if operation.startswith(POOLED):
                x, block = self.pool(x), []
            else:
                x = self.convolve(x, *self._filters("conv", operation.removeprefix("trunk")), rectify=True)
                block.append(x)
            if operation in self.taps:
                features[operation] = cut(x, within.get(operation))
            features |= self._headed(operation, block if LITE_HEADS[block_of(operation) - 1] else [pixels], within)
        return features

    def _filters(self, kind: str, place: str) -> tuple[Tensor, Tensor]:
        return self.filters[f"{kind}{place}_weight"], self.filters[f"{kind}{place}_bias"]

    def _headed(self, operation: str, read: Sequence[Tensor], within: Mapping[str, Within]) -> dict[str, Tensor]:
        """The taps behind the head at an operation, if it has one. read: the features of its block up to there, or the pixels."""
        behind = self.taps.intersection(taps_behind(operation)[1:])
        if not behind:
            return {}
        conv, relu = taps_behind(operation)[1:]
        rectified = conv not in self.taps
        weight, bias = self._filters("head", conv.removeprefix("conv"))
        wanted = within.get(relu, within.get(conv))
        if weight.shape[-1] == 1:  # it has many more channels than what it sees, so it looks at no more than is wanted
            head = self.convolve(torch.cat([cut(x, wanted) for x in read], 1), weight, bias, rectify=rectified)
        else:
            head = cut(self.convolve(read[0], weight, bias, rectify=rectified), wanted)
        found = {relu: head} if rectified else {conv: head, relu: functional.relu(head)}
        return {tap: found[tap] for tap in behind}
