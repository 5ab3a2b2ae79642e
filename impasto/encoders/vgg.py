"""VGG-16 and VGG-19 (Simonyan and Zisserman, 2014) without their classifiers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn
from torch.nn import functional

from impasto.encoders.base import Encoder, Pooling, Window, crop
from impasto.encoders.layers import Padding
from impasto.errors import WeightsFileError
from impasto.weights.networks import DEPTHS

INPUT_RANGE = 255.0  # the published networks were trained on pixel values in 0..255


def operations(network: str) -> Iterator[tuple[str, str]]:
    """(kind, tap name) of every operation in order: ("conv", "conv1_1"), ("relu", "relu1_1"), ..., ("pool", "pool5")."""
    for block, count in enumerate(DEPTHS[network], start=1):
        for i in range(1, count + 1):
            yield "conv", f"conv{block}_{i}"
            yield "relu", f"relu{block}_{i}"
        yield "pool", f"pool{block}"


class VGG(Encoder):
    """A VGG network up to its deepest tap. Deeper layers are not built.

    network: "vgg16" or "vgg19". tensors: `conv1_1.weight` (out, in, 3, 3), `conv1_1.bias` (out,), ... and `mean` (3,), float32. The
    first convolution takes RGB in 0..255 minus `mean`; `impasto.weights` converts every file format to this convention.
    Taps: `conv{b}_{i}` before and `relu{b}_{i}` after the ReLU, and `pool{b}`. "conv4_2" in the papers is the rectified response,
    `relu4_2`.
    Raises UnknownNameError for a tap that the network does not have, and WeightsFileError if `tensors` end before the deepest tap.
    """

    def __init__(
        self,
        network: str,
        tensors: Mapping[str, Tensor],
        taps: Iterable[str],
        *,
        pooling: Pooling = "average",
        padding: Padding = "zero",
    ) -> None:
        super().__init__(taps, pooling, padding)
        self.name = network
        self.known = [tap for _, tap in operations(network)]
        self.check_taps()
        self.mean: Tensor
        self.register_buffer("mean", tensors["mean"].float().reshape(1, 3, 1, 1))
        for kind, tap in self.operations:
            if kind == "conv":
                self._add_filters(tap, tensors)

    @property
    def operations(self) -> list[tuple[str, str]]:
        """(kind, tap name) of the operations from the input of `forward` to the deepest tap."""
        first = 1 + self.known.index(self.pool_tap(self.input_block)) if self.input_block else 0
        return list(operations(self.name))[first : 1 + max(map(self.known.index, self.taps))]

    def pool_tap(self, block: int) -> str:
        """See `Encoder.pool_tap`."""
        return f"pool{block}"

    def path(self, tap: str) -> list[str]:
        """See `Encoder.path`."""
        kinds = [kind for kind, _ in operations(self.name)][: 1 + self.known.index(tap)]
        return [kind for kind in kinds if kind != "relu"]

    def channels(self, tap: str) -> int:
        """See `Encoder.channels`. The tap must not be deeper than the deepest one the network was built with."""
        convolutions = [name for name in self.known[: 1 + self.known.index(tap)] if name.startswith("conv")]
        return len(self.filters[f"{convolutions[-1]}_bias"])

    def _add_filters(self, tap: str, tensors: Mapping[str, Tensor]) -> None:
        for part in ("weight", "bias"):
            tensor = tensors.get(f"{tap}.{part}")
            if tensor is None:
                raise WeightsFileError(f"the weights given for {self.name} end before {tap}, which the taps used need")
            self.filters[f"{tap}_{part}"] = nn.Parameter(tensor, requires_grad=False)

    def compute(self, image: Tensor, windows: Mapping[str, Window]) -> dict[str, Tensor]:
        """See `Encoder.forward`."""
        x = (image if self.input_block else image * INPUT_RANGE - self.mean).to(self.dtype)
        features, rectified = {}, False
        for kind, tap in self.operations:
            if kind == "conv":
                rectified = tap not in self.taps  # then convolution and ReLU are one operation
                x = self.convolve(x, self.filters[f"{tap}_weight"], self.filters[f"{tap}_bias"], rectify=rectified)
            elif kind == "pool":
                x = self.pool(x)
            elif not rectified:
                x = functional.relu(x)
            if tap in self.taps:
                features[tap] = crop(x, windows.get(tap))
        return features
