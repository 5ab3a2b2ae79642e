"""The exact loss and gradient of an image computed block by block, so that memory depends on the block and not on the image.

Every summed loss is a function of sums over positions (`losses.SummedLoss`), and the features of a position depend only on the pixels
within its reach. So each block is encoded with a margin of the encoder's reach, which ends at the image's edge (only there does the
encoder pad), and of its features only the block's own count. A first pass adds up the sums; the totals give the losses and the
derivative of the total with respect to every sum. A second pass computes the features again and propagates these derivatives to the
pixels. The result is the loss and the gradient of the whole image, to rounding: nothing is blended, so there are no seams. Where
rounding decides whether a ReLU is active, the gradient may differ around that place, in float32 by less than a thousandth of the whole.

Deep features reach far and would need wide margins. So the encoder is split into stages: the outputs of its second, third and fourth
block are kept for the whole image, and the next stage reads these maps in blocks of its own. Margins of the first stage are 8 pixels
wide instead of 80; later stages have fewer positions, and larger blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from impasto.compute import allocator, mapped
from impasto.compute.kernels import along_gram
from impasto.encoders import Encoder, cost_of
from impasto.ladder import Size
from impasto.losses import Features, GramSum, SummedLoss, Sums, Term, grouped
from impasto.objective.evaluate import Evaluated

SPLIT = (2, 3, 4)  # the blocks after which an encoder is split: their outputs are small; the first one's would not be


class Composite(Protocol):
    """What the encoder sees of some rows and columns of an image."""

    def __call__(self, image: Tensor, rows: slice = ..., columns: slice = ...) -> Tensor:
        """image: 1x3xhxw, those rows and columns of the image. Returns the same size."""


def unchanged(image: Tensor, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor:
    """The image itself."""
    return image


def nothing() -> None:
    """Do nothing after a block."""


# ------------------------------------------------------------------------------------------------------- geometry


@dataclass(frozen=True)
class Block:
    """A part of an image of (height, width) `whole`, and the part that is encoded for it.

    rows, columns: of its own pixels; seen_rows, seen_columns: with the margin. strides: of the encoder's taps, in pixels;
    input_stride: of what the encoder is given, 1 for an image.
    """

    whole: Size
    rows: slice
    columns: slice
    seen_rows: slice
    seen_columns: slice
    strides: Mapping[str, int]
    input_stride: int = 1

    @property
    def size(self) -> Size:
        """(height, width) of its own pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def cut(self, maps: Tensor, tap: str) -> Tensor:
        """Its own part of the whole image's maps at a tap, 1xNxHxW: a view."""
        stride = self.strides[tap]
        return maps[..., _shrunk(self.rows, stride), _shrunk(self.columns, stride)]

    def see(self, source: Tensor) -> Tensor:
        """The block with its margin, a view. source: 1xCxHxW, the whole input of the encoder."""
        return source[..., _shrunk(self.seen_rows, self.input_stride), _shrunk(self.seen_columns, self.input_stride)]

    @property
    def within(self) -> dict[str, tuple[slice, slice]]:
        """For every tap, the rows and columns of its own positions among those encoded."""
        return {
            tap: (_inside(self.rows, self.seen_rows, stride), _inside(self.columns, self.seen_columns, stride))
            for tap, stride in self.strides.items()
        }

    def pixels(self, image: Tensor) -> Tensor:
        """Its own pixels of what is seen (1x3xhxw), and one more row and column where the image goes on."""
        top, left = self.seen_rows.start, self.seen_columns.start
        return image[
            ..., self.rows.start - top : self.rows.stop + 1 - top, self.columns.start - left : self.columns.stop + 1 - left
        ]


def _shrunk(pixels: slice, stride: int) -> slice:
    return slice(pixels.start // stride, pixels.stop // stride)


def _inside(own: slice, seen: slice, stride: int) -> slice:
    start = seen.start // stride
    return slice(own.start // stride - start, own.stop // stride - start)


def block(encoder: Encoder, whole: Size, rows: slice, columns: slice) -> Block:
    """The block of these pixels, as `encoder` has to see it.

    rows and columns begin at multiples of the encoder's largest stride, and end at such or at the image's edge. Then every position of
    every tap belongs to one block: pooling rounds down within a block as it does within the image.
    """
    strides = {tap: encoder.stride(tap) for tap in encoder.taps}
    margin, step = max(map(encoder.reach, encoder.taps)), max(strides.values())
    seen_rows, seen_columns = (
        slice(max(0, own.start - margin) // step * step, min(length, own.stop + margin))
        for own, length in zip((rows, columns), whole, strict=True)
    )
    return Block(whole, rows, columns, seen_rows, seen_columns, strides, encoder.input_stride)


def split_side(length: int, side: int, step: int) -> list[slice]:
    """Split a side of `length` pixels into blocks of about equal length, at most `side` (or one `step`).

    They begin at multiples of step; the last one also takes the remainder of a step.
    """
    units = max(1, length // step)
    count = math.ceil(units / max(1, side // step))
    edges = [units * number // count * step for number in range(count)]
    return [slice(start, stop) for start, stop in zip(edges, [*edges[1:], length], strict=True)]


def grid(encoder: Encoder, whole: Size, side: int) -> Iterator[Block]:
    """The blocks of an image of (height, width) `whole`, row by row. side: the most pixels of a block's side without its margins."""
    step = max(map(encoder.stride, encoder.taps))
    for rows in split_side(whole[0], side, step):
        for columns in split_side(whole[1], side, step):
            yield block(encoder, whole, rows, columns)


# --------------------------------------------------------------------------------------------------------- stages


@dataclass(frozen=True)
class Stage:
    """A part of an encoder. scale: the side of its blocks relative to the first stage's, for as much memory.

    output_tap: the tap whose maps it passes to the next stage; "" for the last.
    """

    encoder: Encoder
    scale: float = 1.0
    output_tap: str = ""

    def grid(self, whole: Size, side: int) -> Iterator[Block]:
        """Its blocks of an image of (height, width) `whole`. side: the most pixels of the first stage's blocks."""
        return grid(self.encoder, whole, round(side * self.scale))

    def computes(self, loss: SummedLoss) -> bool:
        """Whether a loss takes features of its taps, or takes pixels and it is the first stage."""
        return loss.tap in self.encoder.taps or not (loss.tap or self.encoder.input_block)

    def encode(self, source: Tensor, part: Block, composite: Composite) -> tuple[Tensor, dict[str, Tensor]]:
        """A block's own pixels (`Block.pixels`; only of the first stage) and its own features. source: from `Block.see`."""
        if self.encoder.input_block:
            return source, self.encoder(source, part.within)
        seen = composite(source, part.seen_rows, part.seen_columns)
        return part.pixels(seen), self.encoder(seen, part.within)


def stages(encoder: Encoder) -> list[Stage]:
    """The parts of an encoder: it is split after every block of SPLIT that has taps behind it."""
    found, rest = list[Stage](), encoder
    for number in SPLIT:
        near, beyond = rest.split_after(number)
        if beyond is None:
            break
        found.append(_stage(near, found, encoder.pool_tap(number)))
        rest = beyond
    return [*found, _stage(rest, found)]


def _stage(encoder: Encoder, before: Sequence[Stage], output_tap: str = "") -> Stage:
    """The next stage. Its blocks are larger as it computes fewer values for a pixel than the first."""
    scale = math.sqrt(cost_of(before[0].encoder).values / cost_of(encoder).values) if before else 1.0
    return Stage(encoder, max(1.0, scale), output_tap)


def through(
    parts: Sequence[Stage], sources: list[Tensor], side: int, composite: Composite = unchanged
) -> Iterator[tuple[Stage, Block, Tensor, dict[str, Tensor]]]:
    """Encode an image stage by stage: every block with its own pixels and features (`Stage.encode`).

    sources: the image, 1x3xHxW; the whole input of every later stage is appended to it.
    """
    whole = _size(sources[0])
    for stage in parts:
        output = list[Tensor]()
        for part in stage.grid(whole, side):
            image, features = stage.encode(part.see(sources[-1]), part, composite)
            if stage.output_tap:
                output = output or [_maps(features[stage.output_tap], stage.encoder.size_at(stage.output_tap, whole))]
                part.cut(output[0], stage.output_tap).copy_(features[stage.output_tap])
            yield stage, part, image, features
        sources += output


# ----------------------------------------------------------------------------------------------------------- sums


@torch.no_grad()
def totals(encoder: Encoder, image: Tensor, losses: Sequence[SummedLoss], side: int) -> list[Sums]:
    """The sums of losses over an image in blocks of `side` pixels, one for each loss. image: 1x3xHxW."""
    found = _sums(stages(encoder), [image], losses, side)
    if side < max(_size(image)):
        allocator.trim()  # another image's blocks have other sizes
    return found


def _sums(
    parts: Sequence[Stage],
    sources: list[Tensor],
    losses: Sequence[SummedLoss],
    side: int,
    composite: Composite = unchanged,
    after_block: Callable[[], object] = nothing,
) -> list[Sums]:
    """The sums of losses over an image. sources: see `through`."""
    found: list[Sums] = [()] * len(losses)
    for stage, part, image, features in through(parts, sources, side, composite):
        for i, loss in enumerate(losses):
            if stage.computes(loss):
                found[i] = _added(found[i], _of_block(loss, part).sums(image, features))
        after_block()
    return found


def _of_block(loss: SummedLoss, part: Block) -> SummedLoss:
    """The loss for one block."""
    return loss.block(lambda maps: part.cut(maps, loss.tap), part.size, part.whole)


def _added(old: Sums, new: Sums) -> Sums:
    """The sums of both; `new` alone if there are no old ones."""
    return tuple(a + b for a, b in zip(old, new, strict=True)) if old else new


@torch.no_grad()
def features_of(
    encoder: Encoder, image: Tensor, taps: Iterable[str], side: int, folder: Path | None = None
) -> dict[str, Tensor]:
    """Whole maps at some of an encoder's taps, computed in blocks of `side` pixels. Returns {tap: 1xNxhxw}, channels_last.

    image: 1x3xHxW. folder: keep them in files there (`compute.mapped`). Raises SaveError if a file cannot be made.
    """
    wanted, size, found = frozenset(taps), _size(image), dict[str, Tensor]()
    for _, part, _, features in through(stages(encoder.only(wanted)), [image], side):
        for tap in filter(wanted.__contains__, features):
            if tap not in found:
                found[tap] = _maps(features[tap], encoder.size_at(tap, size), folder)
            part.cut(found[tap], tap).copy_(features[tap])
            mapped.drop(found[tap])
    allocator.trim()
    return found


def _maps(like: Tensor, size: Size, folder: Path | None = None) -> Tensor:
    """Space for maps of (height, width). like: 1xNxhxw, a piece of them. folder: in a file there."""
    shape = torch.Size((1, like.shape[1], *size))
    if folder is not None:
        return mapped.empty(shape, like.dtype, folder)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _size(image: Tensor) -> Size:
    return int(image.shape[-2]), int(image.shape[-1])


# ------------------------------------------------------------------------------------------------------ objective


class InBlocks:
    """An objective computed block by block: the losses and the gradient of a whole image, to rounding.

    encoder: of the image; terms: what is minimized; side: the most pixels of a block's side without its margins; composite: what the
    encoder sees of an image. Terms that are no sums (the palette) take the whole image at once. after_block: called after every block.
    """

    def __init__(
        self,
        encoder: Encoder,
        terms: Sequence[Term],
        side: int,
        composite: Composite = unchanged,
        after_block: Callable[[], object] = nothing,
    ) -> None:
        self.terms, self.side, self.composite, self.after_block = terms, side, composite, after_block
        self.others = [term for term in terms if not isinstance(term.loss, SummedLoss)]
        self.summed = [(term.weight, term.loss) for term in terms if isinstance(term.loss, SummedLoss)]
        self.stages = stages(encoder)

    def __call__(self, image: Tensor) -> Evaluated:
        """The losses by name, and the gradient of their sum to the image, 1x3xHxW."""
        image = image.detach()
        whole, gradient = self._of_the_whole(image)
        known, sources = self._forward(image)
        anywhere = (image.new_ones(()),)
        slopes = [_derivatives(weight, loss, sums or anywhere) for (weight, loss), sums in zip(self.summed, known, strict=True)]
        found = self._backward(sources, slopes, gradient)
        parts = iter([w * loss.value(*(a or b)) for (w, loss), a, b in zip(self.summed, known, found, strict=True)])
        values = [next(parts if isinstance(term.loss, SummedLoss) else whole) for term in self.terms]
        return {name: float(value) for name, value in grouped(self.terms, values).items()}, gradient

    def _of_the_whole(self, image: Tensor) -> tuple[Iterator[Tensor], Tensor]:
        """The values of the terms that are no sums, and their gradient; 0 if there are none."""
        if not self.others:
            return iter(()), torch.zeros_like(image)
        variable = image.detach().requires_grad_()
        with torch.enable_grad():
            seen = self.composite(variable)
            values = [term.weight * term.loss(seen, {}) for term in self.others]
            (gradient,) = torch.autograd.grad(torch.stack(values).sum(), variable)
        return (value.detach() for value in values), gradient.contiguous()

    @torch.no_grad()
    def _forward(self, image: Tensor) -> tuple[list[Sums], list[Tensor]]:
        """The first pass: the sums of the terms whose derivatives depend on them, of the other terms none.

        And the input of every stage: the image, then whole maps of the previous stage's output.
        """
        known: list[Sums] = [()] * len(self.summed)
        curved = {i: loss for i, (_, loss) in enumerate(self.summed) if not loss.linear}
        sources = [image]
        sums = _sums(self.stages, sources, list(curved.values()), self.side, self.composite, self.after_block)
        for i, one in zip(curved, sums, strict=True):
            known[i] = one
        return known, sources

    def _backward(self, sources: list[Tensor], slopes: list[Sums], gradient: Tensor) -> list[Sums]:
        """The second pass, from the last stage to the first: add the gradient of the summed terms to `gradient`.

        sources: the input of every stage; each is freed once its gradient is known. Returns the sums that the first pass left out.
        """
        found: list[Sums] = [()] * len(self.summed)
        whole, beyond = _size(gradient), gradient
        for stage in reversed(self.stages):
            source = sources.pop()
            back = torch.zeros_like(source) if sources else gradient
            mine = [i for i, (_, loss) in enumerate(self.summed) if stage.computes(loss)]
            for part in stage.grid(whole, self.side):
                piece, sums = self._block_gradient(stage, part, source, {i: slopes[i] for i in mine}, beyond)
                part.see(back).add_(piece)
                for i, one in zip(mine, sums, strict=True):
                    found[i] = _added(found[i], one)
                self.after_block()
            beyond = back
        return found

    def _block_gradient(
        self, stage: Stage, part: Block, source: Tensor, slopes: Mapping[int, Sums], beyond: Tensor
    ) -> tuple[Tensor, list[Sums]]:
        """The gradient to what a stage sees of a block, and the sums computed on the way.

        source: the stage's input. slopes: derivatives of the total to the sums of its terms, by number. beyond: the gradient to its
        output.
        """
        variable = part.see(source).detach().requires_grad_()
        with torch.enable_grad():
            image, features = stage.encode(variable, part, self.composite)
            pulls = [_along(_of_block(self.summed[i][1], part), slope, image, features) for i, slope in slopes.items()]
            ends = [torch.stack([pull for pull, _ in pulls]).sum()] if pulls else []
        starts: list[Tensor | None] = [None] * len(ends)
        if stage.output_tap:
            ends, starts = [*ends, features[stage.output_tap]], [*starts, part.cut(beyond, stage.output_tap)]
        (piece,) = torch.autograd.grad(ends, variable, starts)
        return piece, [tuple(x.detach() for x in sums) for _, sums in pulls]  # with their history the block would stay


def _derivatives(weight: float, loss: SummedLoss, sums: Sums) -> Sums:
    """The derivative of weight * loss with respect to each of its sums; numbers of positions have none."""
    leaves = tuple(x.detach().requires_grad_(x.is_floating_point()) for x in sums)
    with torch.enable_grad():
        value = weight * loss.value(*leaves)
    return torch.autograd.grad(value, [leaf for leaf in leaves if leaf.requires_grad])


def _along(loss: SummedLoss, slopes: Sums, image: Tensor, features: Features) -> tuple[Tensor, Sums]:
    """A scalar whose gradient is that of the sums times their slopes; and the sums, or none if it does not take computing them."""
    if isinstance(loss, GramSum):
        return along_gram(loss.features(features), slopes[0]), ()
    sums = loss.sums(image, features)
    moving = [x for x in sums if x.is_floating_point()]
    return torch.stack([(slope * x).sum() for slope, x in zip(slopes, moving, strict=True)]).sum(), sums
