"""The exact loss and gradient of a picture that is looked at block by block, so that memory depends on the block, not on the picture.

Every loss is a function of sums over positions (`losses.Summed`), and a position's features depend only on the pixels within reach. So
blocks are seen with a margin of the encoder's reach, cut off where the picture ends (only there may the encoder pad), and of each
block's features only its own count. A first pass adds up the sums; their totals give the losses and the slope of the total to every
sum; a second pass computes the features again and carries these slopes back to the pixels. What comes out is the whole picture's loss
and gradient, to rounding: there are no seams because nothing is blended. Where rounding decides whether a ReLU is on, the gradient may
differ around that one place, in float32 by less than a thousandth of the whole's.

Deep features reach far and would ask for wide margins. So an encoder is looked through in stretches: what its second block hands on,
and its third and fourth, is kept for the whole picture while losses are computed, and what lies beyond has blocks of its own, of the
maps that were kept. In the first stretch margins are 8 pixels wide and not 80; in the others are fewer positions, and larger blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from impasto import devices
from impasto.encoders import Encoder, cost_of
from impasto.history import filed, put_down
from impasto.losses import Part, Summed, Sums, Term, grouped

Size = tuple[int, int]  # (height, width) in pixels
Way = Callable[[Tensor], tuple[dict[str, float], Tensor]]  # picture -> (losses by name, gradient of their sum)

PARTED = (2, 3, 4)  # the blocks behind which an encoder is parted: what they hand on is small; the first one's would not be
LARGEST = 1024  # pixels: the side of the blocks that take the place of a whole picture
SMALLEST = 64  # pixels: with smaller blocks nearly all would be margin


class Show(Protocol):
    """What the encoder is shown of some rows and columns of a picture."""

    def __call__(self, picture: Tensor, rows: slice = ..., columns: slice = ...) -> Tensor:
        """picture: 1x3xhxw, those rows and columns of it."""


def as_it_is(picture: Tensor, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor:
    """Show the picture itself."""
    return picture


@dataclass(frozen=True)
class Block(Part):
    """A part of a picture, and the pixels that have to be seen for it. strides: of every tap, and of what is seen."""

    strides: dict[str, int]
    seen_rows: slice
    seen_columns: slice
    seen_stride: int = 1

    def see(self, source: Tensor) -> Tensor:
        """The block with its margin, a view. source: 1xCxHxW, all of a picture, or of maps of `seen_stride`."""
        return source[..., _shrunk(self.seen_rows, self.seen_stride), _shrunk(self.seen_columns, self.seen_stride)]

    @property
    def within(self) -> dict[str, tuple[slice, slice]]:
        """The block's own positions among those of what is seen, for every tap."""
        return {tap: (self._inner(tap, 0), self._inner(tap, 1)) for tap in self.strides}

    def _inner(self, tap: str, axis: int) -> slice:
        own, seen = self.maps[tap][axis], (self.seen_rows, self.seen_columns)[axis].start // self.strides[tap]
        return slice(own.start - seen, own.stop - seen)

    def pixels(self, image: Tensor) -> Tensor:
        """Of what is seen (1x3xhxw) the block's own pixels, and the next below and to the right where the picture goes on."""
        top, left = self.seen_rows.start, self.seen_columns.start
        return image[
            ..., self.rows.start - top : self.rows.stop + 1 - top, self.columns.start - left : self.columns.stop + 1 - left
        ]


def block(encoder: Encoder, whole: Size, rows: slice, columns: slice) -> Block:
    """The block of these pixels, as `encoder` has to see it.

    rows and columns begin at multiples of the encoder's largest stride, and end at such or where the picture ends. Then every position
    of every tap is one block's own: poolings round down within a block as they do within the picture.
    """
    strides = {tap: encoder.stride(tap) for tap in encoder.taps}
    margin, step = max(map(encoder.reach, encoder.taps)), max(strides.values())
    maps = {tap: (_shrunk(rows, stride), _shrunk(columns, stride)) for tap, stride in strides.items()}
    seen_rows, seen_columns = (
        slice(max(0, own.start - margin) // step * step, min(length, own.stop + margin))
        for own, length in zip((rows, columns), whole, strict=True)
    )
    return Block(whole, rows, columns, maps, strides, seen_rows, seen_columns, encoder.input_stride)


def _shrunk(pixels: slice, stride: int) -> slice:
    return slice(pixels.start // stride, pixels.stop // stride)


def cores(length: int, side: int, step: int) -> list[slice]:
    """Share a side of `length` pixels out among blocks of about equal length, at most `side` (or one `step`).

    They begin at multiples of step; the last one takes what is left of a step as well.
    """
    units = max(1, length // step)
    count = math.ceil(units / max(1, side // step))
    edges = [units * number // count * step for number in range(count)]
    return [slice(start, stop) for start, stop in zip(edges, [*edges[1:], length], strict=True)]


def grid(encoder: Encoder, whole: Size, side: int) -> Iterator[Block]:
    """The blocks of a picture of (height, width) `whole`, row by row. side: the most pixels of theirs, their margins not counted."""
    step = max(map(encoder.stride, encoder.taps))
    for rows in cores(whole[0], side, step):
        for columns in cores(whole[1], side, step):
            yield block(encoder, whole, rows, columns)


def _size(picture: Tensor) -> Size:
    return int(picture.shape[-2]), int(picture.shape[-1])


def _seen(encoder: Encoder, pixels: Tensor, part: Block, show: Show) -> tuple[Tensor, dict[str, Tensor]]:
    """A block's own pixels (see `Block.pixels`) and its own features. pixels: 1x3xhxw, with the margin."""
    shown = show(pixels, part.seen_rows, part.seen_columns)
    return part.pixels(shown), encoder(shown, part.within)


def _added(old: Sums, new: Sums) -> Sums:
    """The sums of both; of `new` alone where there are no old ones."""
    return tuple(a + b for a, b in zip(old, new, strict=True)) if old else new


@dataclass(frozen=True)
class Stretch:
    """A part of an encoder. wider: how many times longer the sides of its blocks may be, for as much memory as the first part's.

    handed: the tap of what it hands on to the next; "" for the last.
    """

    encoder: Encoder
    wider: float = 1.0
    handed: str = ""

    def grid(self, whole: Size, side: int) -> Iterator[Block]:
        """Its blocks of a picture of (height, width) `whole`. side: the most pixels of those of the first part."""
        return grid(self.encoder, whole, round(side * self.wider))

    def is_for(self, loss: Summed) -> bool:
        """Whether a loss looks at one of its taps, or at the picture itself and it is the first."""
        return loss.tap in self.encoder.taps or not (loss.tap or self.encoder.input_block)

    def see(self, source: Tensor, part: Block, show: Show) -> tuple[Tensor, dict[str, Tensor]]:
        """A block's own pixels (of a part that is given a picture; see `Block.pixels`), and its own features.

        source: what `Block.see` gives. show: what is seen of a picture.
        """
        if self.encoder.input_block:
            return source, self.encoder(source, part.within)
        return _seen(self.encoder, source, part, show)


def stretches(encoder: Encoder) -> list[Stretch]:
    """The parts that an encoder is looked through in: behind every block of PARTED that taps lie beyond."""
    found, beyond = list[Stretch](), encoder
    for block in PARTED:
        near, rest = beyond.split_after(block)
        if rest is None:
            break
        found.append(_stretch(near, found, handed=encoder.pool_tap(block)))
        beyond = rest
    return [*found, _stretch(beyond, found)]


def _stretch(encoder: Encoder, before: Sequence[Stretch], handed: str = "") -> Stretch:
    """The next one, whose blocks are as much longer as it computes fewer values for a pixel than the first."""
    wider = math.sqrt(cost_of(before[0].encoder).values / cost_of(encoder).values) if before else 1.0
    return Stretch(encoder, max(1.0, wider), handed)


def through(
    parts: Sequence[Stretch], sources: list[Tensor], side: int, show: Show = as_it_is
) -> Iterator[tuple[Stretch, Block, Tensor, dict[str, Tensor]]]:
    """Look through an encoder, stretch by stretch: every block with its own pixels and features (see `Stretch.see`).

    sources: the picture, 1x3xHxW; what is handed on to every next stretch is added to it, whole.
    """
    whole = _size(sources[0])
    for stretch in parts:
        handed = list[Tensor]()
        for part in stretch.grid(whole, side):
            image, features = stretch.see(part.see(sources[-1]), part, show)
            if stretch.handed:
                handed = handed or [_maps(features[stretch.handed], stretch.encoder.size_at(stretch.handed, whole))]
                part.of(handed[0], stretch.handed).copy_(features[stretch.handed])
            yield stretch, part, image, features
        sources += handed


def _sums(
    parts: Sequence[Stretch],
    sources: list[Tensor],
    losses: Sequence[Summed],
    side: int,
    show: Show,
    rest: Callable[[], object] = lambda: None,
) -> list[Sums]:
    """The sums of losses over a picture. sources: see `through`. rest: is called behind every block."""
    found: list[Sums] = [()] * len(losses)
    for stretch, part, image, features in through(parts, sources, side, show):
        for i, loss in enumerate(losses):
            if stretch.is_for(loss):
                found[i] = _added(found[i], loss.sums(image, features, part))
        rest()
    return found


@torch.no_grad()
def totals(encoder: Encoder, picture: Tensor, losses: Sequence[Summed], side: int, show: Show = as_it_is) -> list[Sums]:
    """The sums of losses over a picture, looked at in blocks of `side` pixels; as many as there are losses. picture: 1x3xHxW."""
    found = _sums(stretches(encoder), [picture], losses, side, show)
    if side < max(_size(picture)):
        devices.give_back()  # another picture's blocks are of other sizes
    return found


class Blockwise:
    """An objective that is evaluated block by block: a whole picture's terms, its losses and its gradient, to rounding.

    encoder: that of the picture; terms: what is minimised; side: the most pixels of a block's side, its margin not counted. show:
    what the encoder sees of a picture. Terms that are no sums (the palette) see the whole picture at once. rest: is called behind
    every block.
    """

    def __init__(
        self,
        encoder: Encoder,
        terms: Sequence[Term],
        side: int,
        show: Show = as_it_is,
        rest: Callable[[], object] = lambda: None,
    ) -> None:
        self.terms, self.side, self.show, self.rest = terms, side, show, rest
        self.others = [term for term in terms if not isinstance(term.loss, Summed)]
        self.summed = [(term.weight, term.loss) for term in terms if isinstance(term.loss, Summed)]
        self.stretches = stretches(encoder)

    def evaluate(self, picture: Tensor) -> tuple[dict[str, float], Tensor]:
        """The losses by name, and the gradient of their sum to the picture. picture: 1x3xHxW, not changed; so is the gradient."""
        picture = picture.detach()
        whole, gradient = self._of_the_whole(picture)
        known, sources = self._look(picture)
        anywhere = (picture.new_ones(()),)
        slopes = [_slope(weight, loss, sums or anywhere) for (weight, loss), sums in zip(self.summed, known, strict=True)]
        found = self._carry_back(sources, slopes, gradient)
        parts = iter([w * loss.value(*(a or b)) for (w, loss), a, b in zip(self.summed, known, found, strict=True)])
        values = [next(parts if isinstance(term.loss, Summed) else whole) for term in self.terms]
        return {name: float(value) for name, value in grouped(self.terms, values).items()}, gradient

    def _of_the_whole(self, picture: Tensor) -> tuple[Iterator[Tensor], Tensor]:
        """The values of the terms that are no sums, and their gradient; 0 where there are none."""
        if not self.others:
            return iter(()), torch.zeros_like(picture)
        variable = picture.detach().requires_grad_()
        with torch.enable_grad():
            shown = self.show(variable)
            values = [term.weight * term.loss(shown, {}) for term in self.others]
            (gradient,) = torch.autograd.grad(torch.stack(values).sum(), variable)
        return (value.detach() for value in values), gradient.contiguous()

    @torch.no_grad()
    def _look(self, picture: Tensor) -> tuple[list[Sums], list[Tensor]]:
        """The first pass: the sums over the whole picture of the terms whose slope depends on them, of the others none.

        And what every stretch is given: the picture, then whole maps of what the one before hands on.
        """
        known: list[Sums] = [()] * len(self.summed)
        curved = {i: loss for i, (_, loss) in enumerate(self.summed) if not loss.linear}
        sources = [picture]
        sums = _sums(self.stretches, sources, list(curved.values()), self.side, self.show, self.rest)
        for i, one in zip(curved, sums, strict=True):
            known[i] = one
        return known, sources

    def _carry_back(self, sources: list[Tensor], slopes: list[Sums], gradient: Tensor) -> list[Sums]:
        """The second pass, from the last stretch to the first: add the gradient of the terms that are sums to `gradient`.

        sources: what every stretch is given; each is let go of when its gradient is there. Returns the sums that the first has not.
        """
        found: list[Sums] = [()] * len(self.summed)
        whole, beyond = _size(gradient), gradient
        for stretch in reversed(self.stretches):
            source = sources.pop()
            back = torch.zeros_like(source) if sources else gradient
            mine = [(i, slopes[i]) for i, (_, loss) in enumerate(self.summed) if stretch.is_for(loss)]
            for part in stretch.grid(whole, self.side):
                piece, sums = self._pulled(stretch, part, source, mine, beyond)
                part.see(back).add_(piece)
                for (i, _), one in zip(mine, sums, strict=True):
                    found[i] = _added(found[i], one)
                self.rest()
            beyond = back
        return found

    def _pulled(
        self, stretch: Stretch, part: Block, source: Tensor, slopes: list[tuple[int, Sums]], beyond: Tensor
    ) -> tuple[Tensor, list[Sums]]:
        """The gradient to what a stretch sees of a block, and the sums that come with it.

        source: what it is given. slopes: of the terms that are for it, by number. beyond: the gradient to what it hands on, if it does.
        """
        variable = part.see(source).detach().requires_grad_()
        with torch.enable_grad():
            image, features = stretch.see(variable, part, self.show)
            pulls = [self.summed[i][1].along(slope, image, features, part) for i, slope in slopes]
            ends = [torch.stack([pull for pull, _ in pulls]).sum()] if pulls else []
        starts: list[Tensor | None] = [None] * len(ends)
        if stretch.handed:
            ends, starts = [*ends, features[stretch.handed]], [*starts, part.of(beyond, stretch.handed)]
        (piece,) = torch.autograd.grad(ends, variable, starts)
        return piece, [tuple(x.detach() for x in sums) for _, sums in pulls]  # with their history the block would stay


class Sturdy:
    """An objective that is evaluated at once, or block by block, and in smaller blocks as often as memory runs out.

    make: the way to losses and gradient in blocks of a side in pixels, or with None at once. longer: the picture's longer side.
    side: of the blocks to begin with; None to begin with the whole.
    """

    def __init__(self, make: Callable[[int | None], Way], longer: int, side: int | None = None) -> None:
        self.make, self.longer, self.side = make, longer, side
        self._way: Way | None = None

    def evaluate(self, picture: Tensor) -> tuple[dict[str, float], Tensor]:
        """The losses by name, and the gradient of their sum to the picture. Raises what says that memory is out even so."""
        while True:
            try:
                if self._way is None:
                    self._way = self.make(self.side)
                return self._way(picture)
            except (MemoryError, RuntimeError) as error:
                smaller = self._smaller()
                if smaller is None or not devices.is_out_of_memory(error):
                    raise
            # outside of the handler, whose error holds on to all that was computed
            self.side, self._way = smaller, None
            devices.free(picture.device)

    def _smaller(self) -> int | None:
        """The side to try next, or None where there is no smaller one."""
        side = min(LARGEST, self.longer // 2) if self.side is None else self.side // 2
        return side if side >= SMALLEST else None


def _slope(weight: float, loss: Summed, sums: Sums) -> Sums:
    """The derivative of weight * loss to each of its sums; numbers of positions have none."""
    leaves = tuple(x.detach().requires_grad_(x.is_floating_point()) for x in sums)
    with torch.enable_grad():
        value = weight * loss.value(*leaves)
    return torch.autograd.grad(value, [leaf for leaf in leaves if leaf.requires_grad])


@torch.no_grad()
def features_of(
    encoder: Encoder, picture: Tensor, taps: Iterable[str], side: int, folder: Path | None = None
) -> dict[str, Tensor]:
    """Whole maps at some of an encoder's taps, looked at in blocks of `side` pixels. Returns {tap: 1xNxhxw}, channels_last.

    picture: 1x3xHxW. folder: keep them in files there (`history.filed`). Raises SaveError where a file cannot be made.
    """
    wanted, size, found = frozenset(taps), _size(picture), dict[str, Tensor]()
    for _, part, _, features in through(stretches(encoder.only(wanted)), [picture], side):
        for tap in filter(wanted.__contains__, features):
            if tap not in found:
                found[tap] = _maps(features[tap], encoder.size_at(tap, size), folder)
            part.of(found[tap], tap).copy_(features[tap])
            put_down(found[tap])
    devices.give_back()
    return found


def _maps(like: Tensor, size: Size, folder: Path | None = None) -> Tensor:
    """Room for maps of (height, width) size. like: 1xNxhxw, a piece of them. folder: in a file there."""
    shape = torch.Size((1, like.shape[1], *size))
    if folder is not None:
        return filed(shape, like.dtype, folder)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
