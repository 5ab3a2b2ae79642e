"""Moments and optimal transport against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tensors import random

from impasto.fast.moments import SLACK, Moments, mixed, moments, roots, transport


def power(C: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(C)
    return (vectors * values.clip(1e-12) ** exponent) @ vectors.T


def gaussian(count: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A mean and a covariance with eigenvalues from about 0.01 to 1 times `spread`."""
    root = random((count, count), seed) * np.logspace(-1, 0, count) * spread**0.5 / count**0.5
    return random((count,), seed + 1), root @ root.T


def as_moments(mean: np.ndarray, covariance: np.ndarray) -> Moments:
    return Moments(torch.from_numpy(mean)[None].float(), torch.from_numpy(covariance)[None].float())


def test_moments_of_weighted_positions_are_numpys() -> None:
    z, weight = random((1, 5, 7, 9), 1), np.random.default_rng(2).random((1, 1, 7, 9))
    rows, shares = z[0].reshape(5, -1), weight.ravel()
    plain = moments(torch.from_numpy(z))
    np.testing.assert_allclose(plain.mean[0], rows.mean(1), atol=1e-6)
    np.testing.assert_allclose(plain.covariance[0], np.cov(rows, bias=True), atol=1e-6)
    found = moments(torch.from_numpy(z), torch.from_numpy(weight))
    np.testing.assert_allclose(found.mean[0], np.average(rows, axis=1, weights=shares), atol=1e-6)
    np.testing.assert_allclose(found.covariance[0], np.cov(rows, bias=True, aweights=shares), atol=1e-6)


@pytest.mark.parametrize("count", [3, 16, 64])
def test_roots_are_the_symmetric_ones(count: int) -> None:
    _, C = gaussian(count, 3)
    C = C + SLACK * np.trace(C) / count * np.eye(count)
    root, inverse = (one[0].numpy() for one in roots(torch.from_numpy(C)[None].float()))
    np.testing.assert_allclose(root, power(C, 0.5), atol=2e-3 * np.sqrt(np.trace(C)))
    np.testing.assert_allclose(inverse, power(C, -0.5), atol=2e-2 * np.abs(power(C, -0.5)).max())


def test_transport_gives_features_the_styles_moments() -> None:
    """Against the closed form of Peyre and Cuturi with numpy's eigenvectors, and by the moments of moved features."""
    count = 16
    rng = np.random.default_rng(0)
    (mean, C), (aim, S) = gaussian(count, 5, spread=2), gaussian(count, 8)
    A, b = transport(as_moments(mean, C), as_moments(aim, S))
    guard = SLACK * np.trace(S) / count * np.eye(count)
    root, inverse = power(C + guard, 0.5), power(C + guard, -0.5)
    np.testing.assert_allclose(A[0], inverse @ power(root @ (S + guard) @ root, 0.5) @ inverse, atol=2e-2)
    features = rng.multivariate_normal(mean, C + guard, 200_000)
    moved = features @ A[0].double().numpy().T + b[0, :, 0].double().numpy()
    np.testing.assert_allclose(moved.mean(0), aim, atol=0.02)
    np.testing.assert_allclose(np.cov(moved.T), S + guard, atol=0.03)


def test_features_that_do_not_vary_are_not_enlarged_without_limit() -> None:
    count = 8
    _, S = gaussian(count, 11)
    flat = Moments(torch.zeros(1, count), torch.zeros(1, count, count))
    A, b = transport(flat, as_moments(np.ones(count), S))
    assert bool(A.isfinite().all())
    assert float(torch.linalg.matrix_norm(A[0], 2)) <= 2 * (np.linalg.eigvalsh(S).max() / (SLACK * np.trace(S) / count)) ** 0.5
    np.testing.assert_allclose(b[0, :, 0], 1, atol=1e-6)


def test_a_blend_has_the_moments_of_positions_from_both() -> None:
    first, second = (torch.from_numpy(random((1, 4, 10, 30), seed) * seed + seed) for seed in (1, 2))
    both = moments(torch.cat([first, second[..., :10]], 3))
    found = mixed([({"tap": moments(first)}, 0.75), ({"tap": moments(second[..., :10])}, 0.25)])["tap"]
    torch.testing.assert_close(found.mean, both.mean)
    torch.testing.assert_close(found.covariance, both.covariance)
