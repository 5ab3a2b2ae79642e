"""Packed Gram matrices against numpy's own decompositions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from impasto.styles import packing


def gram(channels: int, positions: int, seed: int = 0) -> torch.Tensor:
    """A Gram matrix with a spectrum that falls like those of features."""
    generator = torch.Generator().manual_seed(seed)
    F = torch.rand(channels, positions, generator=generator).double() * torch.logspace(0, -2, positions)
    return (F @ F.T).float()


def unpacked(G: torch.Tensor, error: float) -> torch.Tensor:
    return packing.unpacked(packing.packed("x", G, error), "x")


def test_exact_is_the_upper_triangle_row_by_row() -> None:
    G = gram(5, 9)
    (upper,) = packing.packed("x", G, 0).values()
    assert upper.tolist() == [G[i, j].item() for i in range(5) for j in range(i, 5)]
    assert torch.equal(unpacked(G, 0), G)


@pytest.mark.parametrize("error", [0.003, 0.01, 0.05])
def test_packing_keeps_its_bound_and_every_channels_energy(error: float) -> None:
    for seed in range(3):
        G = gram(64, 300, seed)
        A, B = (x.numpy().astype(np.float64) for x in (G, unpacked(G, error)))
        assert np.linalg.norm(B - A) <= (error + 5e-4) * np.linalg.norm(A)
        np.testing.assert_allclose(np.diag(B), np.diag(A), rtol=1e-3, atol=1e-6 * np.diag(A).max())
        np.testing.assert_array_equal(B, B.T)


def test_packing_takes_the_least_rank() -> None:
    """The bound measured on the matrices themselves: one column fewer breaks it."""
    error = 0.01
    tensors = packing.packed("x", gram(64, 300), error)
    A = gram(64, 300).numpy().astype(np.float64)

    def off_diagonal(U: np.ndarray) -> float:
        left = A - U @ U.T
        np.fill_diagonal(left, 0)
        return float(np.linalg.norm(left) / np.linalg.norm(A))

    diagonal, ranks = np.zeros(len(A)), []
    for _ in range(packing.PASSES):
        values, vectors = np.linalg.eigh(A - np.diag(diagonal))
        factors = [vectors[:, -columns:] * np.sqrt(values[-columns:].clip(0)) for columns in range(1, len(A) + 1)]
        ranks.append(1 + next(k for k, U in enumerate(factors) if off_diagonal(U) <= error))
        U = factors[ranks[-1] - 1]
        diagonal = np.diag(A - U @ U.T)
    assert tensors["x/factor"].shape[1] == ranks[-1] < ranks[0]
    assert off_diagonal(factors[ranks[-1] - 2]) > error
    kept = tensors["x/factor"].double() * tensors["x/scale"].double()
    assert off_diagonal(kept.numpy()) == pytest.approx(off_diagonal(factors[ranks[-1] - 1]), rel=1e-3)  # apart from float16


def test_packing_survives_what_half_precision_cannot_hold() -> None:
    for size in (1e-6, 1.0, 1e9):
        G = gram(8, 5) * size
        torch.testing.assert_close(unpacked(G, 0.001), G, rtol=3e-3, atol=float(G.max()) * 1e-3)
    for G in (torch.zeros(4, 4), torch.ones(4, 4)):
        assert torch.allclose(unpacked(G, 0.01), G, atol=2e-3)
