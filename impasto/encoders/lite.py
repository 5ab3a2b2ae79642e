"""`lite`, the embedded encoder: a small network that emulates VGG-19, trained for impasto and shipped inside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.nn import functional

from impasto.encoders.base import Encoder, Padding, Pooling, Within, cut

TRUNK = (2, 2, 4, 4, 1)  # 3x3 convolutions per block
PLACES = [f"{block}_{i}" for block, count in enumerate(TRUNK, start=1) for i in range(1, count + 1)]


def place_of(tap: str) -> str:
    """Where in the trunk a tap is taken: "4_1" for "relu4_1"."""
    return tap[-len("4_1") :]


def taps_at(place: str) -> list[str]:
    """The taps to be had behind the trunk's convolution `place`; only the first of each block has a head."""
    return [f"trunk{place}"] + ([f"conv{place}", f"relu{place}"] if place.endswith("_1") else [])


class Lite(Encoder):
    """A slim VGG-19 trunk with 1x1 heads into VGG-19's own channels (64, 128, 256, 512, 512).

    Taps: `relu1_1` .. `relu5_1` emulate the normalised VGG-19 (mean activation about 1, Gatys et al. 2015) and `conv1_1` .. `conv5_1`
    are the same before the ReLU; `trunk1_1` .. `trunk5_1` are the trunk's own rectified features, which no VGG has.
    tensors: `conv1_1.weight`, ..., `head5_1.bias`, as in impasto/assets/lite.safetensors. Trained with max pooling and replicate
    padding; optimising with average pooling works as well.
    """

    name = "lite"
    known = tuple(tap for place in PLACES for tap in taps_at(place))

    def __init__(
        self, tensors: Mapping[str, Tensor], taps: Iterable[str], *, pooling: Pooling = "max", padding: Padding = "replicate"
    ) -> None:
        super().__init__(taps, pooling, padding)
        self.check_taps()
        for name, tensor in tensors.items():
            self.filters[name.replace(".", "_")] = nn.Parameter(tensor.float(), requires_grad=False)

    @property
    def deepest(self) -> str:
        """The place of the deepest tap."""
        return max(place_of(tap) for tap in self.taps)

    def path(self, tap: str) -> list[str]:
        """See `Encoder.path`: a pooling begins every block but the first."""
        places = PLACES[: 1 + PLACES.index(place_of(tap))]
        return [step for place in places for step in (["pool"] * (place.endswith("_1") and place != PLACES[0]) + ["conv"])]

    def see(self, image: Tensor, within: Mapping[str, Within]) -> dict[str, Tensor]:
        """See `Encoder.forward`."""
        x, features = image.to(self.dtype), dict[str, Tensor]()
        for place in PLACES[: 1 + PLACES.index(self.deepest)]:
            if place.endswith("_1") and place != PLACES[0]:
                x = self.pool(x)
            x = functional.relu(self.convolve(x, *self._filters("conv", place)))
            features |= self._tapped(place, x, within)
        return features

    def _filters(self, kind: str, place: str) -> tuple[Tensor, Tensor]:
        return self.filters[f"{kind}{place}_weight"], self.filters[f"{kind}{place}_bias"]

    def _tapped(self, place: str, x: Tensor, within: Mapping[str, Within]) -> dict[str, Tensor]:
        found, trunk, conv, relu = dict[str, Tensor](), f"trunk{place}", f"conv{place}", f"relu{place}"
        if trunk in self.taps:
            found[trunk] = cut(x, within.get(trunk))
        if self.taps & {conv, relu}:
            # a head has four times as many channels as what it sees, so it looks at no more than is wanted
            head = functional.conv2d(cut(x, within.get(relu, within.get(conv))), *self._filters("head", place))
            found |= {conv: head, relu: functional.relu(head)}
        return {tap: feature for tap, feature in found.items() if tap in self.taps}
