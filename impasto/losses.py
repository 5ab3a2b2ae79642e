"""What a picture is measured by: pure functions first, then small modules that hold a target.

F, P, G, A, N and M are those of Gatys et al. (2016): F and P the features of the new picture and of the photograph at one tap, G and A
the Gram matrices of the new picture and of the painting, N the number of channels, M the number of positions (H * W).
A module never sees an encoder: it is given the picture and the dict of its features, and looks up its own tap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

Features = Mapping[str, Tensor]

REACH = 31  # positions: 124 pixels at relu3_1; with less the painting gathers in one patch of sky
DETAIL_FLOOR = 0.5  # least weight of a position in the content loss


def gram(F: Tensor) -> Tensor:
    """Gram matrix G_ij = sum_k F_ik F_jk (Gatys et al. 2016, equation 3), summed in float32 or better.

    F: 1xNxHxW features. Returns NxN.
    """
    G: Tensor = _Gram.apply(F)  # type: ignore[no-untyped-call]
    return G


class _Gram(torch.autograd.Function):
    """The Gram matrix with its own backward: G is symmetric, so one product does where autograd would take two and add them."""

    @staticmethod
    def forward(ctx: FunctionCtx, F: Tensor) -> Tensor:
        """F: 1xNxHxW. Returns NxN."""
        ctx.save_for_backward(F)
        rows = wide(_rows(F))
        return rows.T @ rows

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """gradient: NxN, dL/dG. Returns dL/dF = (dL/dG + its transpose) F as 1xNxHxW, in F's own precision."""
        F: Tensor = ctx.saved_tensors[0]
        product = _rows(F) @ (gradient + gradient.T).to(F.dtype)
        return product.T.reshape(F.shape)


def _rows(F: Tensor) -> Tensor:
    """1xNxHxW features as MxN; a view, not a copy, where they are channels_last."""
    return F[0].permute(1, 2, 0).flatten(0, 1)


def positions(F: Tensor) -> int:
    """M, the number of positions of 1xNxHxW features."""
    return F.shape[-2] * F.shape[-1]


def guided(F: Tensor, T: Tensor | None) -> tuple[Tensor, Tensor | int]:
    """The guided Gram matrix of F and the positions it sums over (Gatys et al. 2017, "Controlling Perceptual Factors", equation 4).

    F: 1xNxHxW features. T: 1x1xHxW guidance channel, 0..1, or None for the whole picture. Returns (NxN, M): the Gram matrix of T F,
    and sum T^2, which is the number of positions where T is 1. Where T is 0 features have no influence at all.
    """
    if T is None:
        return gram(F), positions(F)
    return gram(F * T.to(F.dtype)), T.square().sum().clamp_min(torch.finfo(T.dtype).eps)


def content_loss(F: Tensor, P: Tensor, W: Tensor | None = None) -> Tensor:
    """1/2 sum (F - P)^2 (Gatys et al. 2016, equation 1). F, P: 1xNxHxW; W: 1x1xHxW weights or None. Returns a scalar."""
    return 0.5 * _weighted_squares(F, P, W).sum()


def relative_content_loss(F: Tensor, P: Tensor, W: Tensor | None = None) -> Tensor:
    """Mean (F - P)^2 over the variance of P: 0 for the photograph, 1 for a picture of its mean features. Returns a scalar.

    F, P: 1xNxHxW; W: 1x1xHxW, how much each position counts, of mean about 1 (`detail`); None for all the same.
    """
    return _weighted_squares(F, P, W).mean() / P.var(correction=0).clamp_min(torch.finfo(P.dtype).eps)


def _weighted_squares(F: Tensor, P: Tensor, W: Tensor | None) -> Tensor:
    squares = (wide(F) - P).square()
    return squares if W is None else squares * W


def detail(P: Tensor) -> Tensor:
    """How much of the photograph's shape is at each position: where the content loss should hold, and where the painting is free.

    P: 1xNxHxW, the photograph's features. Returns 1x1xHxW float32 of mean nearly 1, at least DETAIL_FLOOR. The energy of P around its
    local mean, over REACH positions, averaged over as many; its square root, over the mean of that. Skies and walls have little of it
    and houses, faces and branches much, so a sky can take the painting's swirls while the houses below stand. Our own.
    """
    P = wide(P)
    energy = _around((P - _around(P)).square().mean(1, keepdim=True))
    relative = (energy / energy.mean().clamp_min(torch.finfo(P.dtype).tiny)).sqrt()
    flat = float(energy.max()) <= torch.finfo(P.dtype).eps * float(P.square().mean())  # one colour: nothing stands out
    weight = torch.ones_like(relative) if flat else relative / relative.mean()
    return DETAIL_FLOOR + (1 - DETAIL_FLOOR) * weight


def _around(x: Tensor) -> Tensor:
    """Each position's mean over REACH x REACH positions around it, edges repeated."""
    border = REACH // 2
    padded = functional.pad(x, (border, border, border, border), mode="replicate")
    return functional.avg_pool2d(padded, REACH, stride=1)


def style_loss(G: Tensor, A: Tensor, M: Tensor | int) -> Tensor:
    """1 / (4 N^2 M^2) sum (G - A)^2 (Gatys et al. 2016, equation 4). G, A: NxN sums over M positions. Returns a scalar."""
    return (G - A).square().sum() / (4 * G.shape[0] ** 2 * M**2)


def relative_style_loss(G: Tensor, A: Tensor, M: Tensor | int) -> Tensor:
    """Sum (G - A)^2 over sum A^2: 0 for the painting, 1 for a picture without features; M cancels. Returns a scalar."""
    return ((G - A) / M).square().sum() / (A / M).square().sum().clamp_min(torch.finfo(A.dtype).eps)


def total_variation(image: Tensor) -> Tensor:
    """Sum of squared differences of neighbouring pixels, per value (Mahendran and Vedaldi 2015, beta = 2).

    image: 1x3xHxW, 0..1. Returns a scalar, 0 for a picture of one colour.
    """
    down = (image[..., 1:, :] - image[..., :-1, :]).square().sum()
    right = (image[..., :, 1:] - image[..., :, :-1]).square().sum()
    return (down + right) / image.numel()


def wide(x: Tensor) -> Tensor:
    """Half precision as float32; everything else unchanged."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class ContentLoss(nn.Module):
    """Distance of the features at `tap` from the photograph's, P (1xNxHxW). W: 1x1xHxW weights of positions, None for all the same."""

    def __init__(
        self,
        tap: str,
        P: Tensor,
        measure: Callable[[Tensor, Tensor, Tensor | None], Tensor] = content_loss,
        W: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.tap, self.measure = tap, measure
        self.P: Tensor
        self.W: Tensor | None
        self.register_buffer("P", wide(P).detach())
        self.register_buffer("W", W)

    def forward(self, image: Tensor, features: Features) -> Tensor:
        """image: 1x3xHxW (not looked at); features: the picture's. Returns a scalar."""
        return self.measure(features[self.tap], self.P, self.W)


class StyleLoss(nn.Module):
    """Distance of the Gram matrix at `tap` from the painting's, given per position (NxN, G / M), so that sizes may differ.

    T: 1x1xHxW guidance channel of the region that gets the style, at the tap's size; None for the whole picture.
    """

    def __init__(
        self,
        tap: str,
        A: Tensor,
        measure: Callable[[Tensor, Tensor, Tensor | int], Tensor] = style_loss,
        T: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.tap, self.measure = tap, measure
        self.A: Tensor
        self.T: Tensor | None
        self.register_buffer("A", A.detach())
        self.register_buffer("T", T)

    def forward(self, image: Tensor, features: Features) -> Tensor:
        """image: 1x3xHxW (not looked at); features: the picture's. Returns a scalar."""
        G, M = guided(features[self.tap], self.T)
        return self.measure(G, self.A * M, M)


class VariationLoss(nn.Module):
    """`total_variation` of the picture; it has no target."""

    def forward(self, image: Tensor, features: Features) -> Tensor:
        """image: 1x3xHxW; features are not looked at. Returns a scalar."""
        return total_variation(image)


@dataclass(frozen=True)
class Term:
    """One weighted summand of the total: `name` groups terms in reports ("content", "style", "variation")."""

    name: str
    weight: float
    loss: nn.Module


def weighted(terms: Sequence[Term], image: Tensor, features: Features) -> dict[str, Tensor]:
    """Sum the terms by name. Returns {name: weight * loss}; the total is the sum of its values (equation 7)."""
    sums: dict[str, Tensor] = {}
    for term in terms:
        value = term.weight * term.loss(image, features)
        sums[term.name] = sums[term.name] + value if term.name in sums else value
    return sums
