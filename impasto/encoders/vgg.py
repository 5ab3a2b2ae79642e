"""VGG-16 and VGG-19 (Simonyan and Zisserman, 2014) without their classifiers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn
from torch.nn import functional

from impasto.encoders.base import Encoder, Pooling, Within, cut
from impasto.encoders.layers import Padding
from impasto.errors import WeightsFileError
from impasto.weights.networks import DEPTHS

INPUT_RANGE = 255.0  # the published networks were trained on bytes


def operations(network: str) -> Iterator[tuple[str, str]]:
    """(kind, tap name) of every operation in order: ("conv", "conv1_1"), ("relu", "relu1_1"), ..., ("pool", "pool5")."""
    for block, count in enumerate(DEPTHS[network], start=1):
        for i in range(1, count + 1):
            yield "conv", f"conv{block}_{i}"
            yield "relu", f"relu{block}_{i}"
        yield "pool", f"pool{block}"


class VGG(Encoder):
    """A VGG built only as deep as its deepest tap.

    network: "vgg16" or "vgg19". tensors: `conv1_1.weight` (out, in, 3, 3), `conv1_1.bias`, ... and `mean` (3,), float32, for RGB
    input in 0..255 less `mean` (what `impasto.weights` gives for every file format).
    Taps: `conv{b}_{i}` before, `relu{b}_{i}` after the ReLU, `pool{b}`. The papers' "conv4_2" is the rectified response, `relu4_2`.
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
        """(kind, tap name) of the operations from where it begins up to the deepest tap."""
        first = 1 + self.known.index(self.pooled(self.begin)) if self.begin else 0
        return list(operations(self.name))[first : 1 + max(map(self.known.index, self.taps))]

    def pooled(self, block: int) -> str:
        """See `Encoder.pooled`."""
        return f"pool{block}"

    def path(self, tap: str) -> list[str]:
        """See `Encoder.path`."""
        kinds = [kind for kind, _ in operations(self.name)][: 1 + self.known.index(tap)]
        return [kind for kind in kinds if kind != "relu"]

    def _add_filters(self, tap: str, tensors: Mapping[str, Tensor]) -> None:
        for part in ("weight", "bias"):
            tensor = tensors.get(f"{tap}.{part}")
            if tensor is None:
                raise WeightsFileError(f"the weights given for {self.name} end before {tap}, which the taps used need")
            self.filters[f"{tap}_{part}"] = nn.Parameter(tensor, requires_grad=False)

    def see(self, image: Tensor, within: Mapping[str, Within]) -> dict[str, Tensor]:
        """See `Encoder.forward`."""
        x = (image if self.begin else image * INPUT_RANGE - self.mean).to(self.dtype)
        features, rectified = {}, False
        for kind, tap in self.operations:
            if kind == "conv":
                rectified = tap not in self.taps
                x = self.convolve(x, self.filters[f"{tap}_weight"], self.filters[f"{tap}_bias"], rectify=rectified)
            elif kind == "pool":
                x = self.pool(x)
            elif not rectified:
                x = functional.relu(x)
            if tap in self.taps:
                features[tap] = cut(x, within.get(tap))
        return features
