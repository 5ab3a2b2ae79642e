"""The losses for batches against the engine's own."""

from __future__ import annotations

import pytest
import torch
from tensors import backward, image, slope

from impasto import encoders, weights
from impasto.compute.kernels import gram
from impasto.encoders import Encoder
from impasto.fast import objective
from impasto.fast.net import Net
from impasto.losses import TintLoss, detail, positions, relative_content_loss, relative_style_loss
from impasto.portable.network import TAPS


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return encoders.build(weights.load("lite"), TAPS, pooling="max", padding="replicate")


def test_style_distance_and_its_gradient_are_the_engines() -> None:
    F, other = torch.rand(2, 6, 5, 7, requires_grad=True), torch.rand(1, 6, 8, 8)
    A = gram(other) / 64
    distance = objective.style_distance(F, A)
    backward((distance * torch.tensor([1.0, 3.0])).sum())
    own = F.detach().clone().requires_grad_()
    M = positions(own)
    expected = torch.stack([relative_style_loss(gram(one[None]), A * M, M) for one in own])
    backward((expected * torch.tensor([1.0, 3.0])).sum())
    torch.testing.assert_close(distance, expected)
    torch.testing.assert_close(slope(F), slope(own))


def test_losses_of_a_batch_are_the_means_of_the_engines(encoder: Encoder) -> None:
    """Content with all channels' weights, tint and style of both levels, one image at a time."""
    torch.manual_seed(0)
    net = Net()
    results, photos = (torch.cat([image((128, 128), seed + k, torch.float32) for k in (0, 1)]) for seed in (1, 5))
    painting = image((128, 128), 9, torch.float32)
    with torch.no_grad():
        target = objective.target_of(painting, (128, 64), net, encoder)
        found = objective.losses(results, photos, target, encoder, objective.levels(128))
        style, content, tint = [], [], []
        for x, photo in zip(results[:, None], photos[:, None], strict=True):
            P, F = (encoder(one)["relu3_1"] for one in (photo, x))
            content.append(relative_content_loss(F, P, detail(P[:, ::8])))
            tint.append(TintLoss.of(photo)(x, {}))
            for side, share in ((128, 0.5 / 0.8), (64, 0.3 / 0.8)):
                features = encoder(torch.nn.functional.avg_pool2d(x, 128 // side))
                wanted = encoder(objective.reduced(painting, side))
                for tap in TAPS:
                    M, K = positions(features[tap]), positions(wanted[tap])
                    A = gram(wanted[tap]) / K * M
                    style.append(share / 5 * relative_style_loss(gram(features[tap]), A, M))
    assert float(found["content"]) == pytest.approx(float(torch.stack(content).mean()), rel=1e-3)
    assert float(found["tint"]) == pytest.approx(float(torch.stack(tint).mean()), rel=1e-3)
    assert float(found["style"]) == pytest.approx(float(torch.stack(style).sum() / 2), rel=1e-3)


def test_a_mesh_is_seen_and_slanted_strokes_are_not() -> None:
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    mesh = 0.5 + 0.2 * torch.cos(columns * 2.0) + 0.2 * torch.cos(rows * 2.0)
    slanted = 0.5 + 0.4 * torch.cos((columns + rows) * 1.4)
    shares = objective.straight_share(torch.stack([mesh, slanted])[:, None].expand(-1, 3, -1, -1))
    assert float(shares[0].max()) > 0.9
    assert float(shares[1].max()) < 0.3


def test_fine_energy_is_that_of_second_differences() -> None:
    x = image((20, 24), 1, torch.float32)
    inner = x[..., 1:-1, 1:-1]
    across = x[..., 1:-1, :-2] - 2 * inner + x[..., 1:-1, 2:]
    torch.testing.assert_close(objective.fine_energy(x)[0, 0], across[0, 0].square().mean())
