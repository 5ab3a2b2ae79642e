"""The cost of an encoder against the shapes that a forward pass computes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import reference
import torch
from torch import Tensor

from impasto import encoders
from impasto import weights as weights_
from impasto.encoders import VGG, Encoder, Lite, layers
from impasto.options import Options

SIDE = 64  # pixels; no pooling rounds down
STYLE = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


def vgg(taps: Sequence[str]) -> VGG:
    arrays = reference.random_vgg("vgg16", "", (4, 5, 6, 7, 8), seed=3)
    return VGG("vgg16", {name: torch.from_numpy(array).float() for name, array in arrays.items()}, taps)


def lite(taps: Sequence[str]) -> Lite:
    return Lite(weights_.load("lite").tensors, taps)


@pytest.fixture
def convolutions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Size, torch.Size]]:
    """The shapes of the output and of the filters of every convolution that is computed in a test."""
    shapes = []

    def recorded(x: Tensor, weight: Tensor, *arguments: object, **options: object) -> Tensor:
        y = convolve(x, weight, *arguments, **options)  # type: ignore[arg-type]
        shapes.append((y.shape, weight.shape))
        return y

    convolve = layers.convolve
    monkeypatch.setattr(layers, "convolve", recorded)
    return shapes


def counted(shapes: Sequence[tuple[torch.Size, torch.Size]]) -> encoders.Cost:
    pixels = SIDE * SIDE
    trunk, heads = (sum(y.numel() for y, weight in shapes if weight[-1] == side) / pixels for side in (3, 1))
    arithmetic = sum(y.numel() * weight[1:].numel() for y, weight in shapes) / pixels
    return encoders.Cost(trunk, heads, max(y.numel() for y, _ in shapes) / pixels, arithmetic)


@pytest.mark.parametrize(
    "encoder",
    [
        lite(STYLE),
        lite(Lite.known),
        lite([*STYLE, *Options().content_taps]),
        lite(["trunkpool3", "relu1_1", "conv2_1", "relu3_1"]),
        vgg(STYLE),
        vgg(["pool4", "relu1_2"]),
        vgg(["conv2_2"]),
    ],
    ids=lambda encoder: f"{encoder.name}-{len(encoder.taps)}",
)
def test_cost_is_what_a_forward_pass_computes(encoder: Encoder, convolutions: list[tuple[torch.Size, torch.Size]]) -> None:
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    features = encoder(image)
    whole = encoders.cost_of(encoder)
    assert whole == counted(convolutions)
    assert whole.values == sum(y.numel() for y, _ in convolutions) / SIDE**2
    assert encoders.density(encoder, [*features, *features]) == sum(F.numel() for F in features.values()) / SIDE**2
    for tap, F in features.items():
        assert (encoder.channels(tap), encoder.size_at(tap, (SIDE, SIDE))) == (F.shape[1], F.shape[2:])


@pytest.mark.parametrize("encoder", [lite(STYLE), vgg(STYLE)], ids=lambda encoder: encoder.name)
@pytest.mark.parametrize("block", [1, 2, 3, 4])
def test_cost_of_either_part(encoder: Encoder, block: int, convolutions: list[tuple[torch.Size, torch.Size]]) -> None:
    first, second = encoder.split_after(block)
    assert second is not None
    features = first(torch.zeros(1, 3, SIDE, SIDE))
    assert encoders.cost_of(first) == counted(convolutions)
    convolutions.clear()
    second(features[encoder.pool_tap(block)])
    assert encoders.cost_of(second) == counted(convolutions)


def test_cost_counts_whole_blocks(convolutions: list[tuple[torch.Size, torch.Size]]) -> None:
    shallow = lite(["relu1_1"])
    shallow(torch.zeros(1, 3, SIDE, SIDE))
    assert encoders.cost_of(shallow).trunk > counted(convolutions).trunk
    assert encoders.cost_of(shallow) == encoders.cost_of(lite(["trunkpool1", "relu1_1"]))
