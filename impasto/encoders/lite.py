"""`lite`, the encoder that ships with impasto: a small network trained to reproduce the features of VGG-19."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from impasto.encoders.base import Encoder, Pooling, Window, block_of, crop
from impasto.encoders.layers import Padding
from impasto.weights.networks import LITE_DEPTHS, LITE_HEADS

POOL = "trunkpool"


def operations() -> Iterator[str]:
    """The operations of the trunk in order, each named by the tap after it: "trunk1_1", "trunk1_2", "trunkpool1", "trunk2_1", ..."""
    for block, count in enumerate(LITE_DEPTHS, start=1):
        yield from (f"trunk{block}_{i}" for i in range(1, count + 1))
        if block < len(LITE_DEPTHS):
            yield f"{POOL}{block}"


OPERATIONS = list(operations())
HEADS = {f"trunk{block}_{max(1, count)}": block for block, count in enumerate(LITE_HEADS, start=1)}
"""{operation: block} for the operation after which the head of each block is computed.

The head of block 1 reads pixels, not features. It is computed after the first convolution, which has the same receptive field.
"""


def last_operation(tap: str) -> str:
    """The last operation of the trunk that a tap needs: "trunk2_2" for "relu2_1", since the head of block 2 reads trunk2_2."""
    if tap in OPERATIONS:
        return tap
    return next(operation for operation, block in HEADS.items() if block == block_of(tap))


def taps_after(operation: str) -> list[str]:
    """The taps that become available with an operation of the trunk: its own, and those of the head that is computed after it."""
    head = HEADS.get(operation)
    return [operation, *([f"conv{head}_1", f"relu{head}_1"] if head else [])]


class Lite(Encoder):
    """A narrow trunk of 3x3 convolutions with one head per block, which has as many channels as VGG-19 (64, 128, 256, 512, 512).

    A head is a 1x1 convolution. It reads the concatenated features of the first convolution of its block, in block 2 of the first two.
    The head of block 1 is the 3x3 convolution conv1_1 of VGG-19 and reads the pixels. The remaining convolutions of a block stand in
    for the VGG-19 layers after its tap.

    Taps: `relu1_1` .. `relu5_1` reproduce the normalized VGG-19 (mean activation about 1, Gatys et al. 2015). `conv1_1` .. `conv5_1`
    are the same before the ReLU. `trunk1_1` .. `trunk5_1` are the rectified features of the trunk itself, which no VGG has, and
    `trunkpool1` .. `trunkpool4` the pooled output of its blocks.
    tensors: `conv1_1.weight` (out, in, 3, 3), `conv1_1.bias` (out,), ..., `head5_1.bias`, as in impasto/assets/lite.safetensors.
    The network was trained with max pooling and replicate padding. Average pooling works as well.
    """

    name = "lite"
    known = tuple(tap for operation in OPERATIONS for tap in taps_after(operation))

    def __init__(
        self, tensors: Mapping[str, Tensor], taps: Iterable[str], *, pooling: Pooling = "max", padding: Padding = "replicate"
    ) -> None:
        super().__init__(taps, pooling, padding)
        self.check_taps()
        for name, tensor in tensors.items():
            self.filters[name.replace(".", "_")] = nn.Parameter(tensor.float(), requires_grad=False)

    def pool_tap(self, block: int) -> str:
        """See `Encoder.pool_tap`."""
        return f"{POOL}{block}"

    def path(self, tap: str) -> list[str]:
        """See `Encoder.path`."""
        operations = OPERATIONS[: 1 + OPERATIONS.index(last_operation(tap))]
        return ["pool" if operation.startswith(POOL) else "conv" for operation in operations]

    def channels(self, tap: str) -> int:
        """See `Encoder.channels`."""
        if tap not in OPERATIONS:
            weight, _ = self._filters("head", f"{block_of(tap)}_1")
        else:
            convolutions = [name for name in OPERATIONS[: 1 + OPERATIONS.index(tap)] if not name.startswith(POOL)]
            weight, _ = self._filters("conv", convolutions[-1].removeprefix("trunk"))
        return weight.shape[0]

    @property
    def operations(self) -> list[str]:
        """The operations of the trunk from the input of `forward` to the deepest tap."""
        first = 1 + OPERATIONS.index(self.pool_tap(self.input_block)) if self.input_block else 0
        return OPERATIONS[first : 1 + max(OPERATIONS.index(last_operation(tap)) for tap in self.taps)]

    def compute(self, image: Tensor, windows: Mapping[str, Window]) -> dict[str, Tensor]:
        """See `Encoder.forward`."""
        x = pixels = image.to(self.dtype)
        outputs, features = list[Tensor](), dict[str, Tensor]()  # outputs: of the convolutions of this block so far
        for operation in self.operations:
            if operation.startswith(POOL):
                x, outputs = self.pool(x), []
            else:
                x = self.convolve(x, *self._filters("conv", operation.removeprefix("trunk")), rectify=True)
                outputs.append(x)
            if operation in self.taps:
                features[operation] = crop(x, windows.get(operation))
            if operation in HEADS:
                block = HEADS[operation]
                features |= self._head(block, outputs if LITE_HEADS[block - 1] else [pixels], windows)
        return features

    def _filters(self, kind: str, place: str) -> tuple[Tensor, Tensor]:
        return self.filters[f"{kind}{place}_weight"], self.filters[f"{kind}{place}_bias"]

    def _head(self, block: int, inputs: Sequence[Tensor], windows: Mapping[str, Window]) -> dict[str, Tensor]:
        """The features of those taps of a block's head that are asked for.

        inputs: BxChxw features of the block, which the head reads concatenated, or the Bx3xHxW pixels for block 1.
        Returns {tap: BxKxhxw} for none, one or both of the taps conv{block}_1 and relu{block}_1.
        """
        conv_tap, relu_tap = f"conv{block}_1", f"relu{block}_1"
        if self.taps.isdisjoint((conv_tap, relu_tap)):
            return {}
        weight, bias = self._filters("head", f"{block}_1")
        window = windows.get(relu_tap, windows.get(conv_tap))
        rectify = conv_tap not in self.taps
        if weight.shape[-1] == 1:  # crop first: the output of a head has many more channels than its input
            x = torch.cat([crop(x, window) for x in inputs], 1)
            y = self.convolve(x, weight, bias, rectify=rectify)
        else:  # a 3x3 convolution reads one position beyond the window
            y = crop(self.convolve(inputs[0], weight, bias, rectify=rectify), window)
        if rectify:
            return {relu_tap: y}
        return {conv_tap: y, relu_tap: functional.relu(y)} if relu_tap in self.taps else {conv_tap: y}
