"""The losses: the papers' and our own, as pure functions and small objects that hold a target.

F, P, G, A, N and M are those of Gatys et al. (2016): F and P are the features of the new image and of the photograph at one tap, G
and A the Gram matrices of the new image and of the painting, N the number of channels, M the number of positions (H * W). A loss
never sees an encoder: it gets the image and the dict of its features, and takes those of its own tap.

Most losses are a function of sums over positions: a Gram matrix, a sum of squares. Their objects say both, `sums` and `value`, so that
a loss computed at once and one summed over blocks (`objective.blocks`) share one definition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import Self

from impasto.compute import kernels
from impasto.compute.kernels import gram, squared_distance, variance
from impasto.ladder import Size
from impasto.palette import averaged, palette_loss, tint_loss

Features = Mapping[str, Tensor]
Sums = tuple[Tensor, ...]  # what a loss is a function of, and what adds up over the blocks of an image
Cut = Callable[[Tensor], Tensor]  # a block's part of maps at a loss's tap

REACH = 31  # positions: 124 pixels at relu3_1; with less the painting gathers in one patch of sky
DETAIL_FLOOR = 0.5  # least weight of a position in the content loss
TINT_REACH, TINT_FLOOR = 15, 0.2  # the same for colors, whose image is at most 127 pixels wide
DETAIL_KNEE = 0.3  # energy, relative to the mean, from which on more detail weighs less


# ------------------------------------------------------------------------------------------------------------- content


def content_loss(F: Tensor, P: Tensor, W: Tensor | None = None) -> Tensor:
    """1/2 sum W (F - P)^2 (Gatys et al. 2016, equation 1, where W is 1). F, P: 1xNxHxW; W: 1x1xHxW or None. Returns a scalar."""
    return halved(squared_distance(F, P, W), P.numel(), variance(P))


def relative_content_loss(F: Tensor, P: Tensor, W: Tensor | None = None) -> Tensor:
    """Mean of W (F - P)^2 over the variance of P: 0 for the photograph, 1 for an image of its mean features. Returns a scalar.

    Unlike equation 1 it does not depend on the layer, the encoder or the size, so that one weight suits them all.
    F, P: 1xNxHxW; W: 1x1xHxW weights of mean about 1 (`detail`), None for 1 everywhere.
    """
    return relative(squared_distance(F, P, W), P.numel(), variance(P))


def halved(distance: Tensor, count: int, variance: Tensor) -> Tensor:
    """The measure of equation 1: half a `squared_distance`. The number of P's values and their variance do not count."""
    return 0.5 * distance


def relative(distance: Tensor, count: int, variance: Tensor) -> Tensor:
    """The measure of `relative_content_loss`. distance: a `squared_distance`; count, variance: of the values of P."""
    return distance / count / variance.clamp_min(torch.finfo(variance.dtype).eps)


def detail(P: Tensor, reach: int = REACH, floor: float = DETAIL_FLOOR) -> Tensor:
    """How much of the photograph's shape is at each position: where the content loss should hold, and where the painting is free.

    P: 1xNxHxW, the photograph's features. Returns 1x1xHxW float32 of mean nearly 1, at least `floor`: sqrt(e) / (e + DETAIL_KNEE)
    relative to its mean, where e is the energy of P around its local mean, averaged over `reach` positions, relative to its mean. Skies
    and walls have little energy, so that they can take the painting's swirls while the houses below stand. Faces in shadow have little
    too, and the knee gives them the largest weight. High-contrast areas stay recognizable with less weight. Our own.
    """
    energy = kernels.local_mean(kernels.local_energy(P, reach), reach)
    relative = energy / energy.mean().clamp_min(torch.finfo(energy.dtype).tiny)
    weight = relative.sqrt() / (relative + DETAIL_KNEE)
    flat = float(energy.max()) <= torch.finfo(energy.dtype).eps * float(kernels.mean_square(P))  # one color: nothing stands out
    weight = torch.ones_like(weight) if flat else weight / weight.mean()
    return floor + (1 - floor) * weight


# --------------------------------------------------------------------------------------------------------------- style


def positions(F: Tensor) -> int:
    """M, the number of positions of 1xNxHxW features."""
    return F.shape[-2] * F.shape[-1]


def guided(F: Tensor, T: Tensor) -> Tensor:
    """T F, in F's own precision: the features of a region (Gatys et al. 2017, "Controlling Perceptual Factors", equation 4).

    F: 1xNxHxW; T: 1x1xHxW guidance channel, 0..1. Where T is 0, features have no influence on the Gram matrix of T F.
    """
    return F * T.to(F.dtype)


def guided_positions(T: Tensor) -> Tensor:
    """sum T^2, the number of positions where T is 1, a scalar above 0. T: 1x1xHxW, 0..1."""
    return T.square().sum().clamp_min(torch.finfo(T.dtype).eps)


def style_loss(G: Tensor, A: Tensor, M: Tensor | int) -> Tensor:
    """1 / (4 N^2 M^2) sum (G - A)^2 (Gatys et al. 2016, equation 4). G, A: NxN sums over M positions. Returns a scalar."""
    return functional.mse_loss(G, A, reduction="sum") / (4 * G.shape[0] ** 2 * M**2)


def relative_style_loss(G: Tensor, A: Tensor, M: Tensor | int) -> Tensor:
    """Sum (G - A)^2 over sum A^2: 0 for the painting, 1 for an image without features; M cancels. Returns a scalar."""
    energy = A.square().sum() / M**2
    return functional.mse_loss(G, A, reduction="sum") / M**2 / energy.clamp_min(torch.finfo(A.dtype).eps)


# ------------------------------------------------------------------------------------------------------ variation


def total_variation(image: Tensor) -> Tensor:
    """Sum of squared differences of neighboring pixels, per value (Mahendran and Vedaldi 2015, beta = 2).

    image: 1x3xHxW, 0..1. Returns a scalar, 0 for an image of one color.
    """
    return squared_differences(image, (image.shape[-2], image.shape[-1])) / image.numel()


def squared_differences(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Sum of squared differences between pixels and their neighbors below and to the right. Returns a scalar.

    image: 1x3xHxW. size: (height, width) of the pixels that count, from the top left; the other pixels are neighbors only.
    """
    height, width = size
    below, beside = min(height, image.shape[-2] - 1), min(width, image.shape[-1] - 1)
    down = (image[..., 1 : below + 1, :width] - image[..., :below, :width]).square().sum()
    right = (image[..., :height, 1 : beside + 1] - image[..., :height, :beside]).square().sum()
    return down + right


# ------------------------------------------------------------------------------------------------------ with a target


class Loss:
    """A loss with its target."""

    def __call__(self, image: Tensor, features: Features) -> Tensor:
        """image: 1x3xHxW, 0..1; features: the image's. Returns a scalar."""
        raise NotImplementedError

    def __repr__(self) -> str:
        values = {name: value for name, value in vars(self).items() if value is not None}
        return f"{type(self).__name__}({', '.join(f'{name}={_brief(value)}' for name, value in values.items())})"


def _brief(value: object) -> str:
    """A tensor as its shape, a function as its name."""
    if isinstance(value, Tensor):
        return "x".join(map(str, value.shape)) or f"{value.item():.3g}"
    return getattr(value, "__name__", repr(value))


class SummedLoss(Loss):
    """A loss that is a function of sums over the positions of an image.

    tap: the one whose features it takes; "" for the image's own pixels. linear: whether the value is in proportion to the sums.
    """

    tap: str
    linear: ClassVar[bool] = False

    def sums(self, image: Tensor, features: Features) -> Sums:
        """What adds up over blocks. image: 1x3xHxW; features: the image's."""
        raise NotImplementedError

    def value(self, *sums: Tensor) -> Tensor:
        """The loss, a scalar, of the sums over the whole image."""
        raise NotImplementedError

    def block(self, cut: Cut, size: Size, whole: Size) -> Self:
        """The same loss for one block, whose sums are its part of the image's.

        cut: cuts the block's part out of the target. size: (height, width) of the block in pixels; the image that `sums` is given then
        may have one row and column more, where the whole image, of (height, width) `whole`, goes on.
        """
        return self

    def __call__(self, image: Tensor, features: Features) -> Tensor:
        """image: 1x3xHxW, 0..1; features: the image's. Returns a scalar."""
        return self.value(*self.sums(image, features))


@dataclass(frozen=True, eq=False, repr=False)
class ContentLoss(SummedLoss):
    """Distance of the features at `tap` from the photograph's, P (1xNxHxW).

    measure: `halved` or `relative`. W: 1x1xHxW weights of positions, None for 1 everywhere. count, variance: of the values of P.
    """

    tap: str
    P: Tensor
    measure: Callable[[Tensor, int, Tensor], Tensor]
    W: Tensor | None
    count: int
    variance: Tensor
    linear: ClassVar[bool] = True

    @classmethod
    def of(
        cls, tap: str, P: Tensor, measure: Callable[[Tensor, int, Tensor], Tensor] = halved, W: Tensor | None = None
    ) -> ContentLoss:
        """The loss for the photograph's features P. P may be on another device than the image, or in a file."""
        return cls(tap, P.detach(), measure, W, P.numel(), variance(P))

    def sums(self, image: Tensor, features: Features) -> Sums:
        """The weighted sum of squares over all channels."""
        F = features[self.tap]
        return (squared_distance(F, self.P.to(F.device), None if self.W is None else self.W.to(F.device)),)

    def value(self, *sums: Tensor) -> Tensor:
        """The measure of the sum of squares."""
        return self.measure(sums[0], self.count, self.variance.to(sums[0].device))

    def block(self, cut: Cut, size: Size, whole: Size) -> Self:
        """See `SummedLoss.block`."""
        return replace(self, P=cut(self.P), W=None if self.W is None else cut(self.W))


@dataclass(frozen=True, eq=False, repr=False)
class GramSum(SummedLoss):
    """The Gram matrix at `tap`, as a sum. T: 1x1xHxW guidance channel at the tap's size; None for the whole image."""

    tap: str
    T: Tensor | None = None

    def features(self, features: Features) -> Tensor:
        """The features that are summed: F, or T F."""
        F = features[self.tap]
        return F if self.T is None else guided(F, self.T)

    def sums(self, image: Tensor, features: Features) -> Sums:
        """The Gram matrix and, without guidance, the number of positions."""
        F = self.features(features)
        return (gram(F), torch.tensor(positions(F))) if self.T is None else (gram(F),)

    def positions(self, *sums: Tensor) -> Tensor | int:
        """How many positions the Gram matrix is a sum over."""
        return int(sums[1]) if self.T is None else guided_positions(self.T)

    def per_position(self, *sums: Tensor) -> Tensor:
        """G / M, NxN."""
        return sums[0] / self.positions(*sums)

    def block(self, cut: Cut, size: Size, whole: Size) -> Self:
        """See `SummedLoss.block`."""
        return self if self.T is None else replace(self, T=cut(self.T))


@dataclass(frozen=True, eq=False, repr=False)
class ChannelSum(GramSum):
    """The sums of each channel over positions, weighted by T^2 as in the Gram matrix of T F: (N,)."""

    def sums(self, image: Tensor, features: Features) -> Sums:
        """The sums of N channels and, without guidance, the number of positions."""
        F = self.features(features)
        F = F if self.T is None else guided(F, self.T)  # T^2 F, as in the Gram matrix of T F
        whole = F.sum((0, 2, 3), dtype=torch.promote_types(F.dtype, torch.float32))
        return (whole, torch.tensor(positions(F))) if self.T is None else (whole,)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class StyleLoss(GramSum):
    """Distance of the Gram matrix at `tap` from the painting's per position, A (NxN, G / M), so that sizes may differ.

    measure: `style_loss` or `relative_style_loss`. T: 1x1xHxW guidance channel of the region that gets the style, at the tap's size;
    None for the whole image.
    """

    A: Tensor
    measure: Callable[[Tensor, Tensor, Tensor | int], Tensor] = style_loss

    def value(self, *sums: Tensor) -> Tensor:
        """The measure of the Gram matrix."""
        M = self.positions(*sums)
        return self.measure(sums[0], self.A * M, M)


@dataclass(frozen=True, eq=False, repr=False)
class PaletteLoss(Loss):
    """`palette_loss` of the image to the painting's colors, Q (7xQUANTILES), in the region T (1x1xhxw), or None for the whole."""

    Q: Tensor
    T: Tensor | None = None

    def __call__(self, image: Tensor, features: Features) -> Tensor:
        """image: 1x3xHxW, 0..1; features are ignored. Returns a scalar."""
        return palette_loss(image, self.Q, self.T)


@dataclass(frozen=True, eq=False, repr=False)
class TintLoss(Loss):
    """`tint_loss` of the image to the colors `target` (1x3xhxw), with weights W (1x1xhxw) of its positions."""

    target: Tensor
    W: Tensor

    @classmethod
    def of(cls, image: Tensor) -> TintLoss:
        """The loss for an image whose colors are to be kept, 1x3xHxW."""
        target = averaged(image)
        return cls(target, detail(target, TINT_REACH, TINT_FLOOR))

    def __call__(self, image: Tensor, features: Features) -> Tensor:
        """image: 1x3xHxW, 0..1; features are ignored. Returns a scalar."""
        return tint_loss(image, self.target, self.W)


@dataclass(frozen=True, eq=False, repr=False)
class VariationLoss(SummedLoss):
    """`total_variation` of the image. size, whole: of a block and of its image, see `SummedLoss.block`; None for the whole image."""

    size: Size | None = None
    whole: Size | None = None
    tap: ClassVar[str] = ""  # type: ignore[misc]  # the same for all: it takes pixels
    linear: ClassVar[bool] = True

    def sums(self, image: Tensor, features: Features) -> Sums:
        """The sum of squared differences, divided by the number of values of the whole image."""
        size = self.size or (image.shape[-2], image.shape[-1])
        height, width = self.whole or size
        return (squared_differences(image, size) / (image.shape[1] * height * width),)

    def value(self, *sums: Tensor) -> Tensor:
        """The sum itself."""
        return sums[0]

    def block(self, cut: Cut, size: Size, whole: Size) -> Self:
        """See `SummedLoss.block`."""
        return replace(self, size=size, whole=whole)


@dataclass(frozen=True)
class Term:
    """One weighted summand of the total. name: what reports group terms by ("content", "style", "palette", "variation")."""

    name: str
    weight: float
    loss: Loss

    def __str__(self) -> str:
        return f"{self.name}: {self.weight:g} * {self.loss}"


def weighted(terms: Sequence[Term], image: Tensor, features: Features) -> dict[str, Tensor]:
    """Sum the terms by name. Returns {name: weight * loss}; the total is the sum of its values (equation 7)."""
    return grouped(terms, [term.weight * term.loss(image, features) for term in terms])


def grouped(terms: Sequence[Term], values: Sequence[Tensor]) -> dict[str, Tensor]:
    """Sum the values of terms, already weighted, by the terms' names."""
    sums: dict[str, Tensor] = {}
    for term, value in zip(terms, values, strict=True):
        sums[term.name] = sums[term.name] + value if term.name in sums else value
    return sums
