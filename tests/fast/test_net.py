"""The network: what a style's parameters do to filters, blocks against the whole, and which inputs a pixel depends on."""

from __future__ import annotations

import pytest
import torch
from tensors import image

from impasto.fast import net as nets
from impasto.fast.moments import Moments
from impasto.fast.net import LAYERS, TILE, Net
from impasto.portable.network import KEPT, SEEN


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    found = Net().requires_grad_(False)
    found.weights["out"].mul_(10)  # so that the result depends visibly on everything
    return found


def seen_of(size: tuple[int, int], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        tap: torch.randn(1, 2 * KEPT[tap], size[0] // nets.STRIDES[tap], size[1] // nets.STRIDES[tap], generator=generator)
        for tap in SEEN
    }


def test_filters_are_mixed_scaled_and_shifted(net: Net) -> None:
    modulation = torch.randn(net.head.out_features, generator=torch.Generator().manual_seed(1))
    own, at = net.filters(modulation), 0
    for name, _, outputs, _, experts in LAYERS:
        scale, shift = modulation[at : at + outputs], modulation[at + outputs : at + 2 * outputs]
        at += 2 * outputs
        shares = torch.ones(1)
        if experts > 1:
            shares = 1 / experts + modulation[at : at + experts]
            at += experts
        expected = sum(share * filters for share, filters in zip(shares, net.weights[name], strict=True))
        torch.testing.assert_close(own[name].weight, expected * (1 + scale)[:, None, None, None])
        torch.testing.assert_close(own[name].bias, shift)
    assert at == net.head.out_features


def test_a_block_with_its_margin_is_the_same_part_of_the_whole(net: Net) -> None:
    size, margin = (64, 512), 192
    photo, start = image(size, 1, torch.float32), image(size, 2, torch.float32)
    seen, own = seen_of(size, 3), net.filters(torch.zeros(net.head.out_features))
    whole = net.paint(photo, start, seen, own)
    first, last = 224 - margin, 288 + margin
    part = {tap: one[..., first // nets.STRIDES[tap] : last // nets.STRIDES[tap]] for tap, one in seen.items()}
    block = net.paint(photo[..., first:last], start[..., first:last], part, own, (0, first))
    torch.testing.assert_close(block[..., margin:-margin], whole[..., 224:288], atol=1e-5, rtol=0)


def test_noise_repeats_and_shifts_with_the_block(net: Net) -> None:
    whole = nets.noise_for(net.noise, torch.zeros(1, 1, 2 * TILE, 3 * TILE), (0, 0), 4)
    part = nets.noise_for(net.noise, torch.zeros(1, 1, 30, 40), (4 * 50, 4 * 70), 4)
    assert torch.equal(part, whole[..., 50:80, 70:110])
    assert torch.equal(whole[..., :TILE, :TILE], whole[..., TILE:, TILE : 2 * TILE])


def test_the_moments_of_a_style_come_from_its_gram_matrix_and_means(net: Net) -> None:
    """As from the features themselves."""
    F = torch.rand(1, 64, 9, 11)
    rows = F[0].flatten(1)
    center, directions = net.basis.of("relu1_1")
    center.copy_(torch.rand(64))
    directions.copy_(torch.randn(64, KEPT["relu1_1"]))
    found = net.basis.of_style("relu1_1", rows @ rows.T / rows.shape[1], rows.mean(1))
    expected = nets_moments(net.basis.project("relu1_1", F))
    torch.testing.assert_close(found.mean, expected.mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.covariance, expected.covariance, atol=1e-3, rtol=1e-3)


def nets_moments(z: torch.Tensor) -> Moments:
    rows = z[0].flatten(1)
    return Moments(rows.mean(1)[None], torch.cov(rows, correction=0)[None])


def test_a_level_starts_from_the_result_below_and_the_photographs_own_octave() -> None:
    """Where the result below is the photograph, the level starts from the photograph."""
    photo = image((64, 96), 1, torch.float32)
    smaller = torch.nn.functional.avg_pool2d(photo, 2)
    torch.testing.assert_close(nets.start(smaller, photo, smaller), photo)
    darker = nets.start(smaller * 0.5, photo, smaller)
    assert float(darker.mean()) == pytest.approx(0.5 * float(photo.mean()), abs=0.02)
