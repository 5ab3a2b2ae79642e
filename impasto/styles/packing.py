"""Gram matrices as they are stored: exact as a triangle, or packed as a low-rank factor and a diagonal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

PASSES = 3  # of finding a factor and its diagonal


def packed(key: str, G: Tensor, error: float) -> dict[str, Tensor]:
    """G, NxN, as tensors under names that begin with `key`.

    error: the relative error (Frobenius) allowed. 0 stores the upper triangle. Above it, G = U U^T + diag(rest) with a factor U of the
    least rank that keeps the error. The diagonal costs little and keeps every channel's energy, of which the many small eigenvalues
    together hold a fair part. The factor need not explain what the diagonal holds, so both are found in turn, a few times (iterated
    principal factors; Harman 1976, "Modern Factor Analysis", chapter 8).
    """
    if not error:
        row, column = torch.triu_indices(*G.shape)
        return {key: G.cpu()[row, column].contiguous()}
    G = G.cpu().double()
    diagonal = torch.zeros_like(G[0])
    for _ in range(PASSES):
        values, vectors = torch.linalg.eigh(G - diagonal.diag())  # from the smallest
        # column k: the diagonal of what is left out with the k + 1 smallest
        rest = (vectors.square() * values).cumsum(dim=1)
        wrong = (values.square().cumsum(dim=0) - rest.square().sum(dim=0)).clamp_min(0).sqrt()
        first = min(int((wrong <= error * G.norm()).sum()), len(G) - 1)
        U = vectors[:, first:] * values[first:].clamp_min(0).sqrt()
        diagonal = G.diagonal() - U.square().sum(dim=1)
    U = U * U.gather(0, U.abs().argmax(dim=0, keepdim=True)).sign()  # an eigenvector's sign is arbitrary
    scale = U.abs().amax(dim=0).clamp_min(torch.finfo(torch.float32).tiny)  # columns have more range than float16
    factor = (U / scale).half()
    kept = factor.double() * scale.float().double()
    diagonal = G.diagonal() - kept.square().sum(dim=1)
    short = diagonal.half()
    remains = short if short.isfinite().all() else diagonal.float()
    return {f"{key}/factor": factor.contiguous(), f"{key}/scale": scale.float(), f"{key}/rest": remains}


def names(key: str, found: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The names of the tensors under which a matrix is stored."""
    return (key,) if key in found else (f"{key}/factor", f"{key}/scale", f"{key}/rest")


def channels(shapes: Sequence[tuple[int, ...]]) -> int:
    """N of a Gram matrix stored in tensors of these shapes; 0 if they do not fit together."""
    if len(shapes) == 1:
        N = _side(math.prod(shapes[0]))
        return N if shapes[0] == (N * (N + 1) // 2,) else 0
    factor, scale, rest = shapes
    return rest[0] if len(factor) == 2 and factor[1:] == scale and factor[:1] == rest else 0


def _side(count: int) -> int:
    """N of a triangle of N (N + 1) / 2 numbers."""
    return (math.isqrt(8 * count + 1) - 1) // 2


def unpacked(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    """The Gram matrix under a key, NxN float32."""
    if key in tensors:
        N = _side(len(tensors[key]))
        row, column = torch.triu_indices(N, N)
        G = torch.empty(N, N)
        G[row, column] = G[column, row] = tensors[key]
        return G
    U = tensors[f"{key}/factor"].double() * tensors[f"{key}/scale"].double()
    return (U @ U.T + torch.diag(tensors[f"{key}/rest"].double())).float()
