"""What a picture is measured by: pure functions first, then small modules that hold a target.

F, P, G, A, N and M are those of Gatys et al. (2016): F and P the features of the new picture and of the photograph at one tap, G and A
the Gram matrices of the new picture and of the painting, N the number of channels, M the number of positions (H * W).
A module never sees an encoder: it is given the picture and the dict of its features, and looks up its own tap.

Most losses are a function of sums over positions: a Gram matrix, a sum of squares. Their modules say both (`Summed`), so that what is
computed of a whole picture at once and what `impasto.blocks` adds up block by block are one definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from impasto.devices import multipliable
from impasto.history import put_down

Features = Mapping[str, Tensor]
Sums = tuple[Tensor, ...]  # what a loss is a function of, and what adds up over the parts of a picture

HALF = (torch.bfloat16, torch.float16)
PIECE = 1 << 20  # values of features that are made float32 at a time, as for a Gram matrix
PARTS = 4  # of a piece, multiplied side by side: a single product of 64 columns keeps but one thread busy
BAND = 1 << 18  # and for a distance, which is nothing but reading and writing: they stay in a processor's cache
GROUP = 32  # channels of a photograph's features that are made float32 at a time
REACH = 31  # positions: 124 pixels at relu3_1; with less the painting gathers in one patch of sky
DETAIL_FLOOR = 0.5  # least weight of a position in the content loss

# Where colours are looked at from: along red, green and blue, and along the diagonals of the cube (light to dark, and three hues).
DIRECTIONS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1))
QUANTILES = 256  # of the colours along a direction
PALETTE_SIDE = (
    64  # pixels: colours are those of a picture averaged over blocks, which leave the longer side this, or less than twice it
)
LEAST_SPREAD = 1e-3  # variance of colours, in 0..1, so that a painting of one colour is no division by 0


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
        rows = _rows(F)
        if F.dtype not in HALF:
            return rows.T @ rows
        G = torch.zeros(F.shape[1], F.shape[1], device=F.device)
        values = PIECE if F.device.type == "cpu" else F.numel()
        with _as_exact(F):
            for piece in map(wide, torch.split(rows, math.ceil(values / F.shape[1]))):
                G += _product(piece)
        return G

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """gradient: NxN, dL/dG. Returns dL/dF, 1xNxHxW."""
        return _pulled(ctx.saved_tensors[0], gradient)


def _product(rows: Tensor) -> Tensor:
    """rows.T @ rows, NxN, as the sum over PARTS of the rows. rows: MxN."""
    each = len(rows) // PARTS
    parts, rest = rows[: PARTS * each].reshape(PARTS, each, rows.shape[1]), rows[PARTS * each :]
    product = torch.bmm(parts.mT, parts).sum(0)
    return product.addmm_(rest.T, rest)


@contextmanager
def _as_exact(F: Tensor) -> Iterator[None]:
    """Let float32 products of what bfloat16 holds exactly be multiplied as bfloat16, and added up in float32, by processors that can.

    The sums are as good and take half as long with AMX; with AVX-512 alone oneDNN keeps to float32. On CUDA `devices.repeatable` says
    as much for the whole run.
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


def _pulled(F: Tensor, S: Tensor) -> Tensor:
    """The gradient of <S, gram(F)> to F, (S + its transpose) F as 1xNxHxW, in F's own precision. S: NxN."""
    product = multipliable(_rows(F)) @ multipliable((S + S.T).to(F.dtype))
    return product.T.reshape(F.shape).to(F.dtype)


def along_gram(F: Tensor, S: Tensor) -> Tensor:
    """A zero whose gradient to F is that of <S, gram(F)>: all that is wanted where the Gram matrix has been added up before.

    F: 1xNxHxW features; S: NxN, the slope of the total to their Gram matrix.
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
        return _pulled(F, gradient * S), None


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
    return gram(by_guidance(F, T)), guided_positions(T)


def by_guidance(F: Tensor, T: Tensor) -> Tensor:
    """T F, in F's own precision. F: 1xNxHxW; T: 1x1xHxW."""
    return F * T.to(F.dtype)


def guided_positions(T: Tensor) -> Tensor:
    """Sum T^2, the number of positions where T is 1, a scalar above 0. T: 1x1xHxW, 0..1."""
    return T.square().sum().clamp_min(torch.finfo(T.dtype).eps)


def content_loss(F: Tensor, P: Tensor, W: Tensor | None = None) -> Tensor:
    """1/2 sum (F - P)^2 (Gatys et al. 2016, equation 1). F, P: 1xNxHxW; W: 1x1xHxW weights or None. Returns a scalar."""
    return halved(squared_distance(F, P, W), P.numel(), spread(P))


def relative_content_loss(F: Tensor, P: Tensor, W: Tensor | None = None) -> Tensor:
    """Mean (F - P)^2 over the variance of P: 0 for the photograph, 1 for a picture of its mean features. Returns a scalar.

    F, P: 1xNxHxW; W: 1x1xHxW, how much each position counts, of mean about 1 (`detail`); None for all the same.
    """
    return relative(squared_distance(F, P, W), P.numel(), spread(P))


def squared_distance(F: Tensor, P: Tensor, W: Tensor | None = None) -> Tensor:
    """Sum W (F - P)^2. F, P: 1xNxHxW; W: 1x1xHxW weights or None. Returns a scalar."""
    distance: Tensor = _SquaredDistance.apply(F, P, W)  # type: ignore[no-untyped-call]
    return distance


class _SquaredDistance(torch.autograd.Function):
    """Its own backward: one product where autograd would take four. Both go band by band: float32 copies of all are slow, and large."""

    @staticmethod
    def forward(ctx: FunctionCtx, F: Tensor, P: Tensor, W: Tensor | None) -> Tensor:
        """F, P: 1xNxHxW; W: 1x1xHxW or None. Returns a scalar."""
        given = (F, P) if W is None else (F, P, W)
        ctx.save_for_backward(*given)
        return torch.stack([_weighted_squares(*band).sum() for band in _bands(*given)]).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """gradient: dL/d sum, a scalar. Returns dL/dF = 2 W (F - P) dL/d sum, in F's own precision."""
        F, P, *W = ctx.saved_tensors
        slope = torch.empty_like(F)
        for s, f, p, *w in _bands(slope, F, P, *W):
            s.copy_((wide(f) - p).mul_(2 * gradient * w[0] if w else 2 * gradient))
        return slope, None, None


def _bands(F: Tensor, *more: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """1xNxHxW features, and what else is of HxW, in bands of rows: BAND values of the features each on a CPU, else all at once."""
    rows = max(1, BAND // (F.shape[1] * F.shape[3])) if F.device.type == "cpu" else F.shape[2]
    return (tuple(x[..., top : top + rows, :] for x in (F, *more)) for top in range(0, F.shape[2], rows))


def _weighted_squares(F: Tensor, P: Tensor, W: Tensor | None = None) -> Tensor:
    """W (F - P)^2 summed over channels, 1x1xHxW."""
    squares = (wide(F) - P).square_().sum(1, keepdim=True)
    return squares if W is None else squares * W


def halved(distance: Tensor, count: int, variance: Tensor) -> Tensor:
    """The content loss of equation 1 from its `squared_distance`; the number of P's values and their variance do not matter."""
    return 0.5 * distance


def relative(distance: Tensor, count: int, variance: Tensor) -> Tensor:
    """`relative_content_loss` from its `squared_distance`. count: of the values of P; variance: theirs (`spread`)."""
    return distance / count / variance.clamp_min(torch.finfo(variance.dtype).eps)


def spread(P: Tensor) -> Tensor:
    """The variance of the values of P over all channels and positions, a scalar. P: 1xNxHxW, in a file or not (`history.filed`)."""
    mean = torch.stack([band.sum() for band in _wide_bands(P)]).sum() / P.numel()
    return _mean_square(P, mean)


def _mean_square(P: Tensor, less: Tensor | float = 0.0) -> Tensor:
    """The mean of (P - less)^2, a scalar."""
    return torch.stack([(band - less).square_().sum() for band in _wide_bands(P)]).sum() / P.numel()


def _wide_bands(P: Tensor) -> Iterator[Tensor]:
    """P in float32 or better, PIECE values or a row at a time: all of a large photograph, or of its file, would fill the memory."""
    for band in torch.split(P, max(1, PIECE // (P.shape[1] * P.shape[3])), 2):
        yield wide(band)
        put_down(P)


def detail(P: Tensor) -> Tensor:
    """How much of the photograph's shape is at each position: where the content loss should hold, and where the painting is free.

    P: 1xNxHxW, the photograph's features. Returns 1x1xHxW float32 of mean nearly 1, at least DETAIL_FLOOR. The energy of P around its
    local mean, over REACH positions, averaged over as many; its square root, over the mean of that. Skies and walls have little of it
    and houses, faces and branches much, so a sky can take the painting's swirls while the houses below stand. Our own.
    """
    energy = _around(deviation(P))
    relative = (energy / energy.mean().clamp_min(torch.finfo(energy.dtype).tiny)).sqrt()
    flat = float(energy.max()) <= torch.finfo(energy.dtype).eps * float(_mean_square(P))  # one colour: nothing stands out
    weight = torch.ones_like(relative) if flat else relative / relative.mean()
    return DETAIL_FLOOR + (1 - DETAIL_FLOOR) * weight


def deviation(P: Tensor) -> Tensor:
    """The mean square over channels of P's distance from its mean over REACH x REACH positions. P: 1xNxHxW. Returns 1x1xHxW."""
    bands, rows, border = [], max(REACH, PIECE // (GROUP * P.shape[3])), REACH // 2
    for top in range(0, P.shape[2], rows):
        above = min(top, border)
        groups = torch.split(P[:, :, top - above : top + rows + border], GROUP, 1)
        squares = torch.stack([_squares_around(wide(some)) for some in groups]).sum(0)
        bands.append(squares[:, :, above : above + rows])
        put_down(P)
    return torch.cat(bands, 2) / P.shape[1]


def _squares_around(P: Tensor) -> Tensor:
    return (P - _around(P)).square().sum(1, keepdim=True)


def _around(x: Tensor) -> Tensor:
    """Each position's mean over REACH x REACH positions around it, edges repeated."""
    border = REACH // 2
    padded = functional.pad(x, (border, border, border, border), mode="replicate")
    columns = functional.avg_pool2d(padded, (REACH, 1), stride=1)  # and then rows: both at once would take REACH^2 additions
    return functional.avg_pool2d(columns, (1, REACH), stride=1)


def style_loss(G: Tensor, A: Tensor, M: Tensor | int) -> Tensor:
    """1 / (4 N^2 M^2) sum (G - A)^2 (Gatys et al. 2016, equation 4). G, A: NxN sums over M positions. Returns a scalar."""
    return functional.mse_loss(G, A, reduction="sum") / (4 * G.shape[0] ** 2 * M**2)


def relative_style_loss(G: Tensor, A: Tensor, M: Tensor | int) -> Tensor:
    """Sum (G - A)^2 over sum A^2: 0 for the painting, 1 for a picture without features; M cancels. Returns a scalar."""
    energy = A.square().sum() / M**2
    return functional.mse_loss(G, A, reduction="sum") / M**2 / energy.clamp_min(torch.finfo(A.dtype).eps)


def quantiles(image: Tensor, T: Tensor | None = None) -> Tensor:
    """A picture's colours along each of the DIRECTIONS, sorted: the values in the middle of QUANTILES equal parts of the picture.

    image: 1x3xHxW, 0..1; T: 1x1xhxw, 0..1, of any size: how much each place counts; None for all the same. Returns 7xQUANTILES.
    The weighted mean of two pictures' is that of the palette between them (the sliced barycentre of Bonneel et al. 2015).
    """
    values, ranks, _ = _sorted_colours(image, T)
    return _interpolated(_middles(QUANTILES, values), ranks, values)


def palette_loss(image: Tensor, Q: Tensor, T: Tensor | None = None) -> Tensor:
    """How far the picture's colours are from the painting's, wherever they are: 0 for the same ones. Returns a scalar.

    The squared sliced Wasserstein distance (Rabin et al. 2011), mean over the DIRECTIONS, over the variance of the painting's colours.
    Gram matrices hold means of products and leave the rest of a palette open; this is what they leave.
    image: 1x3xHxW, 0..1; Q: 7xQUANTILES, the painting's `quantiles`; T: 1x1xhxw, 0..1, the region that gets them; None for all.
    """
    values, ranks, weights = _sorted_colours(image, T)
    squares = (values - _interpolated(ranks, _middles(Q.shape[1], values), Q)).square()
    distance = (squares * weights).sum() / weights.expand_as(values).sum().clamp_min(torch.finfo(values.dtype).eps)
    return distance / Q.var(dim=1, correction=0).mean().clamp_min(LEAST_SPREAD)


def _sorted_colours(image: Tensor, T: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The colours along each direction, sorted: (values, ranks in 0..1, weights), each 7xM, or 1xM where rows are alike."""
    height, width = image.shape[-2:]
    block = max(1, max(height, width) // PALETTE_SIDE)
    small = functional.avg_pool2d(image, (min(block, height), min(block, width)))
    directions = _directions(image.dtype, image.device)
    colours = small[0].flatten(1)
    if T is None:
        values = (directions @ colours).sort(dim=1, stable=True).values
        ranks = _middles(values.shape[1], values)
        return values, ranks, torch.ones_like(ranks)
    shares = functional.interpolate(T.to(image), size=small.shape[-2:], mode="area").flatten()
    inside = shares.nonzero()[:, 0]
    values, order = (directions @ colours[:, inside]).sort(dim=1, stable=True)
    weights = shares[inside][order]
    ranks = (weights.cumsum(1) - weights / 2) / weights.sum(1, keepdim=True)
    return values, ranks, weights


@cache
def _directions(dtype: torch.dtype, device: torch.device) -> Tensor:
    """DIRECTIONS as 7x3 unit vectors; brought to a device once, since bringing something there waits for it."""
    return functional.normalize(torch.tensor(DIRECTIONS, dtype=dtype, device=device))


def _middles(count: int, like: Tensor) -> Tensor:
    """The middles of `count` equal parts of 0..1, 1xcount."""
    return ((torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count)[None]


def _interpolated(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Row by row, ys at x, linear between the points (xs, ys) and constant beyond them; one row of x or xs stands for all of them."""
    rows = max(len(x), len(xs))
    x, xs = x.expand(rows, -1).contiguous(), xs.expand(rows, -1).contiguous()
    after = torch.searchsorted(xs, x).clamp_max(xs.shape[1] - 1)
    before = (after - 1).clamp_min(0)
    low, high = xs.gather(1, before), xs.gather(1, after)
    share = ((x - low) / (high - low).clamp_min(torch.finfo(x.dtype).tiny)).clamp(0, 1)
    return torch.lerp(ys.take_along_dim(before, 1), ys.take_along_dim(after, 1), share)


def total_variation(image: Tensor) -> Tensor:
    """Sum of squared differences of neighbouring pixels, per value (Mahendran and Vedaldi 2015, beta = 2).

    image: 1x3xHxW, 0..1. Returns a scalar, 0 for a picture of one colour.
    """
    return squared_differences(image, (image.shape[-2], image.shape[-1])) / image.numel()


def squared_differences(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Sum of squared differences of a picture's pixels to their neighbours below and to the right. Returns a scalar.

    image: 1x3xHxW. size: (height, width) of the pixels that count, from the top left; the rest of the image is neighbours only.
    """
    height, width = size
    below, beside = min(height, image.shape[-2] - 1), min(width, image.shape[-1] - 1)
    down = (image[..., 1 : below + 1, :width] - image[..., :below, :width]).square().sum()
    right = (image[..., :height, 1 : beside + 1] - image[..., :height, :beside]).square().sum()
    return down + right


def wide(x: Tensor) -> Tensor:
    """Half precision as float32; everything else unchanged."""
    return x.float() if x.dtype in HALF else x


@dataclass(frozen=True)
class Part:
    """Where a block lies in a picture of (height, width) `whole`. rows, columns: of its pixels; maps: of its positions at each tap."""

    whole: tuple[int, int]
    rows: slice
    columns: slice
    maps: Mapping[str, tuple[slice, slice]]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def of(self, x: Tensor, tap: str) -> Tensor:
        """The block's part of maps at `tap`, 1xNxHxW, of the whole picture."""
        rows, columns = self.maps[tap]
        return x[..., rows, columns]


class Summed(nn.Module):
    """A loss that is a function of sums over the positions of a picture.

    linear: whether the value is in proportion to the sums, so that its slope is known before they are. tap: the one whose features it
    looks at; "" for the picture's own pixels.
    """

    linear: ClassVar[bool] = False
    tap: str = ""

    def sums(self, image: Tensor, features: Features, part: Part | None = None) -> Sums:
        """What adds up over blocks. image: 1x3xHxW; features: the picture's.

        part: which part of the picture the features are of, None for all of it. The image then may go on below and to the right by a
        pixel, where the picture does.
        """
        raise NotImplementedError

    def value(self, *sums: Tensor) -> Tensor:
        """The loss, a scalar, of the sums over the whole picture."""
        raise NotImplementedError

    def along(self, slopes: Sums, image: Tensor, features: Features, part: Part | None = None) -> tuple[Tensor, Sums]:
        """A scalar with the gradient of the sums times their slopes, and the sums, or none where they need not be computed for it."""
        sums = self.sums(image, features, part)
        moving = [x for x in sums if x.is_floating_point()]
        return torch.stack([(slope * x).sum() for slope, x in zip(slopes, moving, strict=True)]).sum(), sums

    def forward(self, image: Tensor, features: Features) -> Tensor:
        """image: 1x3xHxW; features: the picture's. Returns a scalar."""
        return self.value(*self.sums(image, features))


class ContentLoss(Summed):
    """Distance of the features at `tap` from the photograph's, P (1xNxHxW).

    measure: `halved` or `relative`. W: 1x1xHxW weights of positions, None for all the same.
    """

    linear = True

    def __init__(
        self,
        tap: str,
        P: Tensor,
        measure: Callable[[Tensor, int, Tensor], Tensor] = halved,
        W: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.tap, self.measure = tap, measure
        self.P: Tensor
        self.W: Tensor | None
        self.register_buffer("P", P.detach())
        self.register_buffer("W", W)
        self.count, self.variance = P.numel(), spread(P)

    def sums(self, image: Tensor, features: Features, part: Part | None = None) -> Sums:
        """The sum of squares, over all channels."""
        W = self.W if self.W is None or part is None else part.of(self.W, self.tap)
        F, P = features[self.tap], self.P if part is None else part.of(self.P, self.tap)
        return (squared_distance(F, P.to(F.device), W),)

    def value(self, *sums: Tensor) -> Tensor:
        """The measure of the sum of squares."""
        return self.measure(sums[0], self.count, self.variance)


class GramSum(Summed):
    """The Gram matrix at `tap`, as a sum. T: 1x1xHxW guidance channel at the tap's size; None for the whole picture."""

    def __init__(self, tap: str, T: Tensor | None = None) -> None:
        super().__init__()
        self.tap = tap
        self.T: Tensor | None
        self.register_buffer("T", T)

    def sums(self, image: Tensor, features: Features, part: Part | None = None) -> Sums:
        """The Gram matrix and, without guidance, the number of positions."""
        F = self._guided(features, part)
        return (gram(F), torch.tensor(positions(F))) if self.T is None else (gram(F),)

    def along(self, slopes: Sums, image: Tensor, features: Features, part: Part | None = None) -> tuple[Tensor, Sums]:
        """See `Summed.along`: without the Gram matrix."""
        return along_gram(self._guided(features, part), slopes[0]), ()

    def _guided(self, features: Features, part: Part | None) -> Tensor:
        F = features[self.tap]
        return F if self.T is None else by_guidance(F, self.T if part is None else part.of(self.T, self.tap))

    def positions(self, *sums: Tensor) -> Tensor | int:
        """How many positions the Gram matrix is a sum over."""
        return int(sums[1]) if self.T is None else guided_positions(self.T)

    def per_position(self, *sums: Tensor) -> Tensor:
        """G / M, NxN."""
        return sums[0] / self.positions(*sums)


class StyleLoss(GramSum):
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
        super().__init__(tap, T)
        self.measure = measure
        self.A: Tensor
        self.register_buffer("A", A.detach())

    def value(self, *sums: Tensor) -> Tensor:
        """The measure of the Gram matrix."""
        M = self.positions(*sums)
        return self.measure(sums[0], self.A * M, M)


class PaletteLoss(nn.Module):
    """`palette_loss` of the picture to the painting's colours, Q (7xQUANTILES), in the region T (1x1xhxw), or None for the whole."""

    def __init__(self, Q: Tensor, T: Tensor | None = None) -> None:
        super().__init__()
        self.Q: Tensor
        self.T: Tensor | None
        self.register_buffer("Q", Q.detach())
        self.register_buffer("T", T)

    def forward(self, image: Tensor, features: Features) -> Tensor:
        """image: 1x3xHxW; features are not looked at. Returns a scalar."""
        return palette_loss(image, self.Q, self.T)


class VariationLoss(Summed):
    """`total_variation` of the picture; it has no target."""

    linear = True

    def sums(self, image: Tensor, features: Features, part: Part | None = None) -> Sums:
        """The sum of squared differences, over the number of values of the whole picture."""
        size = (image.shape[-2], image.shape[-1]) if part is None else part.size
        height, width = size if part is None else part.whole
        return (squared_differences(image, size) / (image.shape[1] * height * width),)

    def value(self, *sums: Tensor) -> Tensor:
        """The sum itself."""
        return sums[0]


@dataclass(frozen=True)
class Term:
    """One weighted summand of the total: `name` groups terms in reports ("content", "style", "palette", "variation")."""

    name: str
    weight: float
    loss: nn.Module


def weighted(terms: Sequence[Term], image: Tensor, features: Features) -> dict[str, Tensor]:
    """Sum the terms by name. Returns {name: weight * loss}; the total is the sum of its values (equation 7)."""
    return grouped(terms, [term.weight * term.loss(image, features) for term in terms])


def grouped(terms: Sequence[Term], values: Sequence[Tensor]) -> dict[str, Tensor]:
    """Sum the values of terms, already weighted, by the terms' names."""
    sums: dict[str, Tensor] = {}
    for term, value in zip(terms, values, strict=True):
        sums[term.name] = sums[term.name] + value if term.name in sums else value
    return sums
