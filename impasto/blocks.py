"""The exact loss and gradient of a picture that is looked at block by block, so that memory depends on the block, not on the picture.

Every loss is a function of sums over positions (`losses.Summed`), and a position's features depend only on the pixels within reach. So
blocks are seen with a margin of the encoder's reach, cut off where the picture ends (only there may the encoder pad), and of each
block's features only its own count. A first pass adds up the sums; their totals give the losses and the slope of the total to every
sum; a second pass computes the features again and carries these slopes back to the pixels. What comes out is the whole picture's loss
and gradient, to rounding: there are no seams because nothing is blended.
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
from impasto.encoders import Encoder
from impasto.history import filed, put_down
from impasto.losses import Part, Summed, Sums, Term, grouped

Size = tuple[int, int]  # (height, width) in pixels
Way = Callable[[Tensor], tuple[dict[str, float], Tensor]]  # picture -> (losses by name, gradient of their sum)

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
    """A part of a picture, and the pixels that have to be seen for it. strides: of every tap."""

    strides: dict[str, int]
    seen_rows: slice
    seen_columns: slice

    def see(self, picture: Tensor) -> Tensor:
        """The block with its margin, a view. picture: 1xCxHxW, whole."""
        return picture[..., self.seen_rows, self.seen_columns]

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
    seen = (
        slice(max(0, own.start - margin) // step * step, min(length, own.stop + margin))
        for own, length in zip((rows, columns), whole, strict=True)
    )
    return Block(whole, rows, columns, maps, strides, *seen)


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


@torch.no_grad()
def totals(encoder: Encoder, picture: Tensor, losses: Sequence[Summed], side: int, show: Show = as_it_is) -> list[Sums]:
    """The sums of losses over a picture, looked at in blocks of `side` pixels; as many as there are losses. picture: 1x3xHxW."""
    found: list[Sums] = []
    for part in grid(encoder, _size(picture), side):
        image, features = _seen(encoder, part.see(picture), part, show)
        found = _added(found, [loss.sums(image, features, part) for loss in losses])
    return found


def _size(picture: Tensor) -> Size:
    return int(picture.shape[-2]), int(picture.shape[-1])


def _seen(encoder: Encoder, pixels: Tensor, part: Block, show: Show) -> tuple[Tensor, dict[str, Tensor]]:
    """A block's own pixels (see `Block.pixels`) and its own features. pixels: 1x3xhxw, with the margin."""
    shown = show(pixels, part.seen_rows, part.seen_columns)
    return part.pixels(shown), encoder(shown, part.within)


def _added(old: list[Sums], new: Sequence[Sums]) -> list[Sums]:
    """Loss by loss the sums of both, without their history."""
    if not old:
        return [tuple(x.detach() for x in sums) for sums in new]
    return [tuple(a + b.detach() for a, b in zip(*sums, strict=True)) for sums in zip(old, new, strict=True)]


class Blockwise:
    """An objective that is evaluated block by block: a whole picture's terms, its losses and its gradient, to rounding.

    encoder: that of the picture; terms: what is minimised; side: the most pixels of a block's side, its margin not counted. show:
    what the encoder sees of a picture. Terms that are no sums (the palette) see the whole picture at once. rest: is called behind
    every block of the second pass.
    """

    def __init__(
        self,
        encoder: Encoder,
        terms: Sequence[Term],
        side: int,
        show: Show = as_it_is,
        rest: Callable[[], object] = lambda: None,
    ) -> None:
        self.encoder, self.terms, self.side, self.show, self.rest = encoder, terms, side, show, rest
        self.others = [term for term in terms if not isinstance(term.loss, Summed)]
        self.summed = [(term.weight, term.loss) for term in terms if isinstance(term.loss, Summed)]

    def evaluate(self, picture: Tensor) -> tuple[dict[str, float], Tensor]:
        """The losses by name, and the gradient of their sum to the picture. picture: 1x3xHxW, not changed; so is the gradient."""
        picture = picture.detach()
        whole, gradient = self._of_the_whole(picture)
        known, anywhere = self._look(picture), (picture.new_ones(()),)
        slopes = [_slope(weight, loss, sums or anywhere) for (weight, loss), sums in zip(self.summed, known, strict=True)]
        found = self._carry_back(picture, slopes, gradient)
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

    def _look(self, picture: Tensor) -> list[Sums]:
        """The first pass: the sums over the whole picture of the terms whose slope depends on them, of the others none."""
        curved = [loss for _, loss in self.summed if not loss.linear]
        known = iter(totals(self.encoder, picture, curved, self.side, self.show) if curved else ())
        return [() if loss.linear else next(known) for _, loss in self.summed]

    def _carry_back(self, picture: Tensor, slopes: list[Sums], gradient: Tensor) -> list[Sums]:
        """The second pass: add the gradient of the terms that are sums to `gradient`. Returns the sums that the first has not."""
        found: list[Sums] = []
        for part in grid(self.encoder, _size(picture), self.side):
            variable = part.see(picture).detach().requires_grad_()
            with torch.enable_grad():
                image, features = _seen(self.encoder, variable, part, self.show)
                terms = zip(self.summed, slopes, strict=True)
                pulls, sums = zip(*(loss.along(slope, image, features, part) for (_, loss), slope in terms), strict=True)
                (piece,) = torch.autograd.grad(torch.stack(pulls).sum(), variable)
            part.see(gradient).add_(piece)
            found = _added(found, sums)
            self.rest()
        return found


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
    encoder, size, found = encoder.only(taps), _size(picture), dict[str, Tensor]()
    for part in grid(encoder, size, side):
        for tap, features in encoder(part.see(picture), part.within).items():
            if tap not in found:
                shape = torch.Size((1, features.shape[1], *encoder.size_at(tap, size)))
                found[tap] = _maps(shape, features, folder)
            part.of(found[tap], tap).copy_(features)
            put_down(found[tap])
    return found


def _maps(shape: torch.Size, like: Tensor, folder: Path | None) -> Tensor:
    if folder is not None:
        return filed(shape, like.dtype, folder)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
