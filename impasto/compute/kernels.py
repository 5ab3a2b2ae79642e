"""The sums that losses consist of, computed with little memory and time: Gram matrices, squared distances, variances.

Each function is one line of algebra, said in its docstring. What is around it here is how: half precision is widened piece by piece,
gradients are written by hand where autograd would take several products, and tensors in files (`mapped`) are visited in bands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from impasto.compute.device import multipliable
from impasto.compute.mapped import bands

HALF = (torch.bfloat16, torch.float16)
PIECE = 1 << 20  # values widened to float32 at a time for a Gram matrix or a variance
PARTS = 4  # of a piece, multiplied side by side: a single product of 64 columns keeps one thread busy only
BAND = 1 << 18  # values at a time for a distance, which only reads and writes: they stay in a processor's cache
GROUP = 32  # channels widened to float32 at a time for `local_energy`


def wide(x: Tensor) -> Tensor:
    """Half precision as float32; everything else unchanged."""
    return x.float() if x.dtype in HALF else x


# -------------------------------------------------------------------------------------------------- Gram matrices


def gram(F: Tensor) -> Tensor:
    """F F^T over positions, NxN, summed in float32 or better. F: 1xNxHxW."""
    G: Tensor = _Gram.apply(F)  # type: ignore[no-untyped-call]
    return G


class _Gram(torch.autograd.Function):
    """With its own backward: G is symmetric, so one product replaces the two that autograd would add."""

    @staticmethod
    def forward(ctx: FunctionCtx, F: Tensor) -> Tensor:
        """F: 1xNxHxW. Returns NxN."""
        ctx.save_for_backward(F)
        rows = _rows(F)
        if F.dtype not in HALF:
            return rows.T @ rows
        G = torch.zeros(F.shape[1], F.shape[1], device=F.device)
        values = PIECE if F.device.type == "cpu" else F.numel()
        with _bf16_products(F):
            for piece in map(wide, torch.split(rows, math.ceil(values / F.shape[1]))):
                G += _product(piece)
        return G

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """gradient: NxN, dL/dG. Returns dL/dF, 1xNxHxW."""
        return _gram_gradient(ctx.saved_tensors[0], gradient)


def along_gram(F: Tensor, S: Tensor) -> Tensor:
    """A zero whose gradient to F is that of <S, gram(F)>, for a Gram matrix that has been summed before.

    F: 1xNxHxW; S: NxN, the derivative of the total with respect to the Gram matrix.
    """
    zero: Tensor = _AlongGram.apply(F, S)  # type: ignore[no-untyped-call]
    return zero


class _AlongGram(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, F: Tensor, S: Tensor) -> Tensor:
        """See `along_gram`."""
        ctx.save_for_backward(F, S)
        return S.new_zeros(())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """gradient: a scalar."""
        F, S = ctx.saved_tensors
        return _gram_gradient(F, gradient * S), None


def _rows(F: Tensor) -> Tensor:
    """1xNxHxW as MxN; a view, not a copy, for channels_last."""
    return F[0].permute(1, 2, 0).flatten(0, 1)


def _product(rows: Tensor) -> Tensor:
    """rows^T rows, NxN, as a sum over PARTS of the rows. rows: MxN."""
    each = len(rows) // PARTS
    parts, rest = rows[: PARTS * each].reshape(PARTS, each, rows.shape[1]), rows[PARTS * each :]
    product = torch.bmm(parts.mT, parts).sum(0)
    return product.addmm_(rest.T, rest)


def _gram_gradient(F: Tensor, S: Tensor) -> Tensor:
    """The gradient of <S, gram(F)> with respect to F, (S + S^T) F as 1xNxHxW, in F's own precision. S: NxN."""
    product = multipliable(_rows(F)) @ multipliable((S + S.T).to(F.dtype))
    return product.T.reshape(F.shape).to(F.dtype)


@contextmanager
def _bf16_products(F: Tensor) -> Iterator[None]:
    """Let float32 products of numbers that bfloat16 holds exactly be multiplied as bfloat16 and summed in float32.

    The sums are as good and take half as long with AMX; with AVX-512 alone oneDNN keeps to float32. On CUDA `device.settings` allows
    the like for a whole step.
    """
    products = getattr(torch.backends.mkldnn, "matmul", None)
    if F.dtype != torch.bfloat16 or F.device.type != "cpu" or products is None:
        yield
        return
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before


# ------------------------------------------------------------------------------------------------------ distances


def squared_distance(F: Tensor, P: Tensor, W: Tensor | None = None) -> Tensor:
    """sum W (F - P)^2, a scalar. F, P: 1xNxHxW; W: 1x1xHxW weights, or None for 1 everywhere. Only F has a gradient."""
    distance: Tensor = _SquaredDistance.apply(F, P, W)  # type: ignore[no-untyped-call]
    return distance


class _SquaredDistance(torch.autograd.Function):
    """With its own backward: one product replaces autograd's four. Both go band by band: float32 copies of all are slow, and large."""

    @staticmethod
    def forward(ctx: FunctionCtx, F: Tensor, P: Tensor, W: Tensor | None) -> Tensor:
        """F, P: 1xNxHxW; W: 1x1xHxW or None. Returns a scalar."""
        given = (F, P) if W is None else (F, P, W)
        ctx.save_for_backward(*given)
        return torch.stack([_weighted_squares(*band).sum() for band in _row_bands(*given)]).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """gradient: a scalar. Returns 2 W (F - P) times it, in F's own precision."""
        F, P, *W = ctx.saved_tensors
        slope = torch.empty_like(F)
        for s, f, p, *w in _row_bands(slope, F, P, *W):
            s.copy_((wide(f) - p).mul_(2 * gradient * w[0] if w else 2 * gradient))
        return slope, None, None


def _row_bands(F: Tensor, *more: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """1xNxHxW features, and others of HxW, in bands of rows: of BAND feature values each on a CPU, otherwise all at once."""
    rows = max(1, BAND // (F.shape[1] * F.shape[3])) if F.device.type == "cpu" else F.shape[2]
    return (tuple(x[..., top : top + rows, :] for x in (F, *more)) for top in range(0, F.shape[2], rows))


def _weighted_squares(F: Tensor, P: Tensor, W: Tensor | None = None) -> Tensor:
    """W (F - P)^2 summed over channels, 1x1xHxW."""
    squares = (wide(F) - P).square_().sum(1, keepdim=True)
    return squares if W is None else squares * W


# ------------------------------------------------------------------------------------- a photograph's features


def variance(P: Tensor) -> Tensor:
    """The variance of all values of P, a scalar on P's device. P: 1xNxHxW."""
    mean = torch.stack([band.sum() for band in _wide_bands(P)]).sum() / P.numel()
    return mean_square(P, mean)


def mean_square(P: Tensor, less: Tensor | float = 0.0) -> Tensor:
    """The mean of (P - less)^2, a scalar. P: 1xNxHxW."""
    return torch.stack([(band - less).square_().sum() for band in _wide_bands(P)]).sum() / P.numel()


def _wide_bands(P: Tensor) -> Iterator[Tensor]:
    """P in float32 or better, PIECE values or a row at a time."""
    return map(wide, bands(P, max(1, PIECE // (P.shape[1] * P.shape[3])), 2))


def local_energy(P: Tensor, reach: int) -> Tensor:
    """The mean square over channels of P's distance from its own mean over reach x reach positions. P: 1xNxHxW. Returns 1x1xHxW."""
    found, rows, border = [], max(reach, PIECE // (GROUP * P.shape[3])), reach // 2
    for top, band in zip(range(0, P.shape[2], rows), bands(P, rows, 2), strict=True):
        above, height = min(top, border), band.shape[2]
        groups = torch.split(P[:, :, top - above : top + rows + border], GROUP, 1)
        squares = torch.stack([_squares_around(wide(some), reach) for some in groups]).sum(0)
        found.append(squares[:, :, above : above + height])
    return torch.cat(found, 2) / P.shape[1]


def _squares_around(P: Tensor, reach: int) -> Tensor:
    return (P - local_mean(P, reach)).square().sum(1, keepdim=True)


def local_mean(x: Tensor, reach: int) -> Tensor:
    """The mean over reach x reach positions around each position, with replicated edges. x: BxCxHxW; reach: odd."""
    border = reach // 2
    padded = functional.pad(x, (border, border, border, border), mode="replicate")
    columns = functional.avg_pool2d(padded, (reach, 1), stride=1)  # then rows: both at once would take reach^2 additions
    return functional.avg_pool2d(columns, (1, reach), stride=1)
