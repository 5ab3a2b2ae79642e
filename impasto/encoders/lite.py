"""`lite`, the embedded encoder: a small network that emulates VGG-19, trained for impasto and shipped inside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from impasto.encoders.base import Encoder, Pooling, Within, cut
from impasto.encoders.layers import Padding
from impasto.weights.networks import LITE_DEPTHS, LITE_HEADS

PLACES = [f"{block}_{i}" for block, count in enumerate(LITE_DEPTHS, start=1) for i in range(1, count + 1)]


def place_of(tap: str) -> str:
    """Behind which convolution of the trunk a tap is taken: "4_3" for "trunk4_3", and "4_2" for "relu4_1", by its head."""
    place = tap[-len("4_1") :]
    return place if tap.startswith("trunk") else f"{place[0]}_{LITE_HEADS[int(place[0]) - 1]}"


def taps_at(place: str) -> list[str]:
    """The taps to be had behind the trunk's convolution `place`; one of each block has a head."""
    block, number = map(int, place.split("_"))
    return [f"trunk{place}"] + ([f"conv{block}_1", f"relu{block}_1"] if number == LITE_HEADS[block - 1] else [])


class Lite(Encoder):
    """A slim trunk of 3x3 convolutions with 1x1 heads into VGG-19's own channels (64, 128, 256, 512, 512).

    A head reads all features of its block up to where it is: those of the first convolution, but for block 1 also of the second.

    Taps: `relu1_1` .. `relu5_1` emulate the normalised VGG-19 (mean activation about 1, Gatys et al. 2015) and `conv1_1` .. `conv5_1`
    are the same before the ReLU; `trunk1_1` .. `trunk5_2` are the trunk's own rectified features, which no VGG has.
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
        return max(map(place_of, self.taps))

    def path(self, tap: str) -> list[str]:
        """See `Encoder.path`: a pooling begins every block but the first."""
        places = PLACES[: 1 + PLACES.index(place_of(tap))]
        return [step for place in places for step in (["pool"] * (place.endswith("_1") and place != PLACES[0]) + ["conv"])]

    def see(self, image: Tensor, within: Mapping[str, Within]) -> dict[str, Tensor]:
        """See `Encoder.forward`."""
        x, block, features = image.to(self.dtype), list[Tensor](), dict[str, Tensor]()
        for place in PLACES[: 1 + PLACES.index(self.deepest)]:
            if place.endswith("_1") and place != PLACES[0]:
                x, block = self.pool(x), []
            x = self.convolve(x, *self._filters("conv", place), rectify=True)
            block.append(x)
            features |= self._tapped(place, block, within)
        return features

    def _filters(self, kind: str, place: str) -> tuple[Tensor, Tensor]:
        return self.filters[f"{kind}{place}_weight"], self.filters[f"{kind}{place}_bias"]

    def _tapped(self, place: str, block: Sequence[Tensor], within: Mapping[str, Within]) -> dict[str, Tensor]:
        """The taps at a place. block: the features of its block up to there."""
        found, (trunk, *behind_head) = dict[str, Tensor](), taps_at(place)
        if trunk in self.taps:
            found[trunk] = cut(block[-1], within.get(trunk))
        if self.taps.intersection(behind_head):
            conv, relu = behind_head
            # a head has many more channels than what it sees, so it looks at no more than is wanted
            seen = [cut(x, within.get(relu, within.get(conv))) for x in block]
            rectified = conv not in self.taps
            head = self.convolve(torch.cat(seen, 1), *self._filters("head", conv.removeprefix("conv")), rectify=rectified)
            found |= {relu: head} if rectified else {conv: head, relu: functional.relu(head)}
        return {tap: feature for tap, feature in found.items() if tap in self.taps}
