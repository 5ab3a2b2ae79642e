"""What a painting's targets are: those of its features, whoever asks first, and no more of them in memory than promised."""

from __future__ import annotations

import pytest
import torch
from tensors import image
from torch import Tensor

from impasto import pictures, weights
from impasto.encoders import Lite
from impasto.ladder import RATIO, SMALLEST, Size, rung
from impasto.regions import guidance
from impasto.styles import Blend, Means, Painted, Targets, style

TAPS = ("relu1_1", "relu2_1", "relu3_1")
PAINTING = image((90, 133), 3, torch.float32)


@pytest.fixture(scope="module")
def encoder() -> Lite:
    return Lite(weights.load("lite").tensors, TAPS).prepare(torch.device("cpu"), torch.float32)


def features(encoder: Lite, number: int) -> dict[str, Tensor]:
    """The painting's features on a rung, CxM in float64, by the encoder alone."""
    pixels = pictures.resize(PAINTING, pictures.fit((90, 133), rung(number)))
    with torch.no_grad():
        return {tap: F[0].flatten(1).double() for tap, F in encoder(pixels).items()}


@pytest.mark.parametrize("number", [-2, 0])
def test_targets_are_the_second_moments_of_the_features_and_means_the_first(number: int, encoder: Lite) -> None:
    painted = Painted(PAINTING, encoder, TAPS)
    targets, means = painted.at(number), painted.means_at(number)
    for tap, F in features(encoder, number).items():
        torch.testing.assert_close(targets[tap].double(), F @ F.T / F.shape[1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(means[tap].double(), F.mean(1), rtol=1e-5, atol=1e-6)


def test_the_means_of_a_part_are_those_of_its_positions(encoder: Lite) -> None:
    """Weighted as the Gram matrix of the part is: a covariance is what both leave."""
    weight = torch.zeros(1, 1, 90, 133)
    weight[..., :64] = 1
    weight[..., 64:96] = 0.5
    part = Painted(PAINTING, encoder, TAPS).part(weight)
    F = features(encoder, 0)["relu1_1"].reshape(-1, 87, 128)
    T = guidance(weight, (87, 128))[0, 0].double() ** 2
    torch.testing.assert_close(part.means_at(0)["relu1_1"].double(), (F * T).sum((1, 2)) / T.sum(), rtol=1e-5, atol=1e-6)


def test_targets_do_not_depend_on_which_run_asked_first(encoder: Lite) -> None:
    """Blocks sum in another order: targets differ in their last bits, and a run must have its own."""

    def asked(*sides: int | None) -> dict[int | None, Tensor]:
        painted = Painted(PAINTING, encoder, TAPS)
        return {side: painted.squeezed((180, 266), side)["relu3_1"] for side in sides}

    one, other = asked(None, 48, 96), asked(96, 48, None)
    for side, targets in one.items():
        assert torch.equal(targets, other[side])
        torch.testing.assert_close(targets, one[None], rtol=1e-4, atol=1e-5)
    assert not torch.equal(one[None], one[48])


def test_targets_are_computed_once_and_forgotten_in_turn(encoder: Lite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "REMEMBERED", 3)
    painted = Painted(PAINTING, encoder, TAPS)
    sizes = [(side, side) for side in (32, 40, 48)]
    first = {size: painted.squeezed(size) for size in sizes}
    assert all(painted.squeezed(size) is targets for size, targets in first.items())
    painted.squeezed((32, 32))  # used again: the next to be forgotten is 40
    painted.squeezed((56, 56))
    assert painted.squeezed((32, 32)) is first[(32, 32)]
    assert painted.squeezed((40, 40)) is not first[(40, 40)]
    assert len(painted._known) == 3


@pytest.mark.parametrize("size", [(45, 60), (64, 48), (90, 133), (181, 128), (30, 300)])
def test_a_painting_is_enlarged_at_most_to_the_next_rung(size: Size, encoder: Lite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly on a rung it is not enlarged at all, and below 64 pixels to 64."""
    asked = list[Size]()
    painted, statistics = Painted(image(size, 3, torch.float32), encoder, TAPS), Painted._statistics

    def seen(self: Painted, to: Size, side: int | None) -> tuple[Targets, Means]:
        asked.append(to)
        return statistics(self, to, side)

    monkeypatch.setattr(Painted, "_statistics", seen)
    for longer in (*(max(size) * factor for factor in (0.7, 1, 1.1, 3)), 64, 4096):
        painted.targets(longer)
    own = max(*size, SMALLEST)
    most = min(side for side in map(rung, range(-2, 9)) if side >= own)
    assert max(map(max, asked)) == most < own * RATIO
    if own == most > SMALLEST:
        assert all(height <= size[0] and width <= size[1] for height, width in asked)


def test_between_two_rungs_targets_and_blends_are_linear(encoder: Lite) -> None:
    painted, other = Painted(PAINTING, encoder, TAPS), Painted(image((64, 64), 4, torch.float32), encoder, TAPS)
    assert painted.targets(128) is painted.at(0)
    middle = painted.targets(128 / 2**0.25)  # half a rung below 128
    blend = Blend([(painted, 0.25), (other, 0.75)])
    for tap in TAPS:
        torch.testing.assert_close(middle[tap], (painted.at(-1)[tap] + painted.at(0)[tap]) / 2)
        torch.testing.assert_close(blend.targets(150)[tap], 0.25 * painted.targets(133)[tap] + 0.75 * other.targets(64)[tap])
