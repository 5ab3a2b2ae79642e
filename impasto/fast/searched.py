"""`recolor` for runtimes other than torch: searches sort, lookups go by index, and only the image has a variable size.

The results are those of `recolor` up to rounding.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from impasto import palette
from impasto.fast import recolor

OUTSIDE = 1e9  # a color's place in the order where there is no color


class Flow(NamedTuple):
    """The colors of B photographs on their way to the palette, see `recolor.table`.

    colors: Bx3x(GRID^3+SIDE^2), those of a grid of all colors and those of the photograph; inside: Bx1xSIDE^2, which of the latter
    there are; below, above, share: places of the quantiles among them, see `_places`.
    """

    colors: Tensor
    inside: Tensor
    below: Tensor
    above: Tensor
    share: Tensor


def first_flow(photos: list[Tensor]) -> Flow:
    """The flow before its first step. photos: each 1x3xHxW in 0..1."""
    found, inside = (torch.stack(each) for each in zip(*map(colors_of, photos), strict=True))
    grid = _grid(found).expand(len(photos), -1, -1)
    return Flow(torch.cat([grid, found], 2), inside[:, None], *_places(inside.sum(1)[:, None, None], len(palette.DIRECTIONS)))


def stepped(flow: Flow, Q: Tensor) -> Tensor:
    """The colors after a step towards a palette, 7xQUANTILES. There are `palette.STEPS`."""
    directions = palette.directions_on(Q.dtype, Q.device)
    along, Q = directions @ flow.colors, Q.expand(len(flow.colors), -1, -1)
    ordered = torch.where(flow.inside, along[..., recolor.GRID**3 :], OUTSIDE).sort(2).values
    rows = torch.lerp(ordered.gather(2, flow.below), ordered.gather(2, flow.above), flow.share)
    pull = 3 / len(directions) * directions.T
    return flow.colors + pull @ (_mapped(along, rows, _at_middle_ranks(Q, rows)) - along)


def tables(colors: Tensor) -> tuple[Tensor, ...]:
    """The tables of colors in a flow's last colors, one for each photograph, 3xGRID^3."""
    return colors[..., : recolor.GRID**3].unbind()


def colors_of(image: Tensor) -> tuple[Tensor, Tensor]:
    """`recolor.colors_of` with a fixed count: the colors, 3xSIDE^2, and which of them there are, SIDE^2. image: 1x3xHxW."""
    sides = [torch.arange(length, device=image.device) for length in image.shape[-2:]]
    last = torch.maximum(sides[0][-1], sides[1][-1])
    block = last // recolor.SIDE + 1
    rows, columns = (_means(side, block) for side in sides)
    inside = (rows.sum(1) > 0)[:, None] & (columns.sum(1) > 0)
    return (rows @ image[0] @ columns.T).flatten(1), inside.flatten()


def _means(places: Tensor, block: Tensor) -> Tensor:
    """The matrix that takes means over parts of `block` places, or over all of fewer. places: L. Returns SIDExL."""
    length = places[-1] + 1
    block = torch.minimum(block, length)
    parts = torch.arange(recolor.SIDE, device=places.device)[:, None]
    belongs = (places // block == parts) & (parts < length // block)
    return belongs.float() / block


def _places(count: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where quantiles are among `count` sorted values: (place below, place above, share of the latter), see `recolor._quantiles`.

    count: Bx1x1. Returns places as BxrowsxQUANTILES, and shares as Bx1xQUANTILES.
    """
    places = (torch.arange(palette.QUANTILES, device=count.device) + 0.5) / palette.QUANTILES * count - 0.5
    below = torch.minimum(places.floor().long().clamp_min(0), count - 1)
    above = torch.minimum(below + 1, count - 1)
    return below.expand(-1, rows, -1), above.expand(-1, rows, -1), (places - below).clamp(0, 1)


def _at_middle_ranks(Q: Tensor, rows: Tensor) -> Tensor:
    """`palette.at_middle_ranks`. Q, rows: BxDxQUANTILES."""
    first = _counted(rows, rows - palette.TIED)
    last = palette.QUANTILES - 1 - _counted(-rows.flip(2), -rows - palette.TIED)
    return (Q.gather(2, (first + last) // 2) + Q.gather(2, (first + last + 1) // 2)) / 2


def _mapped(values: Tensor, rows: Tensor, wanted: Tensor) -> Tensor:
    """`palette.interpolated`. values: BxDxM; rows, wanted: BxDxQUANTILES. Returns BxDxM."""
    after = _counted(rows, values).clamp_max(palette.QUANTILES - 1)
    before = (after - 1).clamp_min(0)
    low, high = rows.gather(2, before), rows.gather(2, after)
    share = ((values - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return torch.lerp(wanted.gather(2, before), wanted.gather(2, after), share)


def _counted(rows: Tensor, values: Tensor) -> Tensor:
    """How many of the sorted rows are below each value: both are sorted together, and rows are counted in that order.

    Rows that equal a value count or not, as the runtime sorts. To `_mapped` both are the same, since equal rows go to equal places.
    rows: BxDxQUANTILES; values: BxDxM. Returns BxDxM, int64.
    """
    count = values.shape[2]
    order = torch.cat([values, rows], 2).sort(2).indices
    below = (order >= count).long().cumsum(2)
    return torch.zeros_like(order).scatter(2, order, below)[..., :count]


def _grid(like: Tensor) -> Tensor:
    """`recolor._grid`, by calculation: 3xGRID^3. A runtime computes it once; in a file it would be large."""
    places = torch.arange(recolor.GRID**3, device=like.device)
    axes = [places % recolor.GRID, places // recolor.GRID % recolor.GRID, places // recolor.GRID**2]
    return torch.stack(axes).to(like.dtype) / (recolor.GRID - 1)


def looked_up(table: Tensor, image: Tensor) -> Tensor:
    """`recolor.looked_up`, by index. table: 3xGRID^3; image: 1x3xHxW, 0..1. Returns as image."""
    places = image.flatten(2)[0] * (recolor.GRID - 1)
    below = places.floor().clamp_max(recolor.GRID - 2)
    strides = (1, recolor.GRID, recolor.GRID**2)
    first = (below * places.new_tensor(strides)[:, None]).sum(0).long()
    share = places - below
    upper, lower = share.unbind(), (1 - share).unbind()
    found = list[Tensor]()
    for corner in itertools.product((0, 1), repeat=3):
        step = sum(stride for stride, up in zip(strides, corner, strict=True) if up)
        red, green, blue = (upper[axis] if up else lower[axis] for axis, up in enumerate(corner))
        found.append(table.index_select(1, first + step) * (red * green * blue))
    return torch.stack(found).sum(0).view_as(image).clamp(0, 1)
