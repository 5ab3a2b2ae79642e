"""The painter that needs no optimization: the network, applied level by level from coarse to fine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from impasto import dials, pictures, terms
from impasto.compute import memory, settings
from impasto.errors import OptionError
from impasto.fast import net as nets
from impasto.fast.looks import look_of, tuning_of
from impasto.fast.moments import moments
from impasto.fast.net import MULTIPLE, Filters, Look
from impasto.fast.recolor import colors_of, looked_up, table
from impasto.fast.stored import Stored, load
from impasto.ladder import SMALLEST, Scale, Size, level_sizes, share_done
from impasto.optimize import Step
from impasto.portable.network import SEEN, TAPS
from impasto.problem import Problem
from impasto.regions import guidance
from impasto.session import Session
from impasto.styles import Style

BLOCK = 1280  # pixels: side of the blocks of a level, of which larger images are painted one at a time
MARGIN = 192  # pixels around a block: more than a result's pixel depends on


class Instant(Session):
    """The network's repainting of a problem. Each level is one Step.

    limit: bytes, only stored with the result. stored: the network; None for the one that ships with impasto. Raises OptionError for
    an encoder other than the one that the network was trained with, and for a start, and WeightsFileError for a damaged network.
    """

    def __init__(self, problem: Problem, limit: int | None = None, stored: Stored | None = None) -> None:
        stored = stored or load()
        check_encoder(problem, stored, "quality")
        if problem.start_image is not None:
            raise OptionError("'instant' starts from the photograph; a start image needs another quality", option="quality")
        self.problem, self.network = problem, stored.digest
        self.net = stored.on(problem.device)
        self.limit = limit or problem.options.memory_limit or memory.limit_of(problem.device)
        sizes = level_sizes(problem.size) if problem.options.strength else []
        self.scales = [Scale(size, 1) for size in sizes]
        self.dtype = problem.encoder.dtype
        self._encoder = problem.encoder.only(SEEN)

    def __iter__(self) -> Iterator[Step]:
        """Paint, yielding a Step for every level."""
        result, smaller = None, list[Tensor]()
        with memory.clear_errors(self.problem.name), settings.default_settings(), torch.no_grad():
            photos, tables = self._photos(), self._tables()
        for number in range(1, len(self.scales) + 1):
            # not inference_mode: styles remember the targets computed here, and an optimizer may use them next
            with memory.clear_errors(self.problem.name), settings.default_settings(), torch.no_grad():
                result, smaller = self._level(photos.pop(), tables, result, smaller)
            self.last = _step(self.scales, number, result)
            yield self.last

    def _photos(self) -> list[Tensor]:
        """The photograph at every level, the largest first; each is made from the one before."""
        found = list[Tensor]()
        for scale in reversed(self.scales):
            found.append(pictures.resize(found[-1] if found else self.problem.pixels, scale.size))
        return found

    def _tables(self) -> list[Tensor]:
        """For every region the table that moves the photograph's colors to its style's."""
        photo, found = self.problem.pixels, list[Tensor]()
        for region, style in self.problem.regions:
            T = None if region.weight is None else guidance(region.weight, (photo.shape[-2], photo.shape[-1])).to(photo.device)
            found.append(table(colors_of(photo, T), style.quantiles().to(photo)))
        return found

    def _level(
        self, photo: Tensor, tables: list[Tensor], below: Tensor | None, smaller: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """One level: the result, and the photograph in the colors of each region's style.

        photo: 1x3xHxW; tables: see `_tables`; below, smaller: the result, and the photograph in these colors, of the level below.
        """
        size, problem = (photo.shape[-2], photo.shape[-1]), self.problem
        share = terms.recolored_share(problem.options, problem.method)
        kept, results = list[Tensor](), list[tuple[Tensor, Tensor | None]]()
        for number, (region, style) in enumerate(problem.regions):
            T = None if region.weight is None else guidance(region.weight, size).to(photo.device)
            colored = torch.lerp(photo, looked_up(tables[number], photo), share).contiguous(memory_format=torch.channels_last)
            start = colored if below is None else nets.start(below, colored, smaller[number])
            results.append((self._painted(colored, start, style, T), T))
            kept.append(colored)
        return _composed(photo, results), kept

    def _painted(self, colored: Tensor, start: Tensor, style: Style, T: Tensor | None) -> Tensor:
        """A level painted in one style all over."""
        height, width = colored.shape[-2:]
        options = self.problem.options
        longer = max(height, width) * options.style_scale
        style_at = partial(look_of, self.net, self.network, style)
        code = nets.code(
            style_at(longer), style.quantiles().to(colored), max(height, width), dials.for_network(options.strength)
        )
        modulation, tuning = self.net.modulation(code), tuning_of(self.network, style)
        own = self.net.filters(modulation if tuning is None else modulation + tuning, self.dtype)
        wide = _padded(colored), _padded(start)
        found = self._paint(*wide, style_at(max(longer / 2, SMALLEST)), own, T)[..., :height, :width].clamp_(0, 1)
        shown = dials.shown(options.strength)
        return found if shown == 1 else torch.lerp(colored, found, shown)

    def _paint(self, photo: Tensor, start: Tensor, style: Look, own: Mapping[str, Filters], T: Tensor | None) -> Tensor:
        """The network's result for a level of any size, in blocks if it is large. Sides are multiples of MULTIPLE."""
        small = functional.avg_pool2d(start, 2).contiguous(memory_format=torch.channels_last)
        z = self._projected(small)
        known = {
            tap: moments(one, None if T is None else guidance(T, (one.shape[-2], one.shape[-1]))) for tap, one in z.items()
        }
        moves = nets.moves(known, style)
        if max(photo.shape[-2:]) <= BLOCK + 2 * MARGIN:
            return self.net.paint(photo, start, nets.moved(z, moves), own)
        result = torch.empty_like(start)
        for rows, columns in _blocks(photo):
            outer = rows.outer, columns.outer
            seen = nets.moved({tap: one[(..., *_at(outer, nets.STRIDES[tap]))] for tap, one in z.items()}, moves)
            piece = self.net.paint(
                photo[(..., *outer)], start[(..., *outer)], seen, own, (rows.outer.start, columns.outer.start)
            )
            result[..., rows.own, columns.own] = piece[..., rows.inside, columns.inside]
        return result

    def _projected(self, small: Tensor) -> dict[str, Tensor]:
        """The kept directions of lite's features, block by block."""
        if max(small.shape[-2:]) <= BLOCK // 2 + MARGIN:
            features = self._encoder(small)
            return {tap: self.net.basis.project(tap, features[tap]) for tap in SEEN}
        found: dict[str, Tensor] = {}
        height, width = small.shape[-2:]
        for rows, columns in _blocks(small):
            features = self._encoder(small[..., rows.outer, columns.outer])
            for tap in SEEN:
                z, stride = self.net.basis.project(tap, features[tap]), nets.STRIDES[tap] // 2
                if tap not in found:
                    shape = (1, z.shape[1], height // stride, width // stride)
                    found[tap] = torch.empty(shape, dtype=z.dtype, device=z.device).contiguous(
                        memory_format=torch.channels_last
                    )
                found[tap][(..., *_at((rows.own, columns.own), stride))] = z[(..., *_at((rows.inside, columns.inside), stride))]
        return found


def check_encoder(problem: Problem, stored: Stored, option: str) -> None:
    """Raise OptionError, which names the option, for another encoder than the network was trained with, or other taps."""
    encoder = problem.encoder
    same = (encoder.digest, encoder.pooling, encoder.padding) == (stored.card.encoder, "max", "replicate")
    if not same or not set(TAPS) <= set(problem.options.style_taps):
        raise OptionError("'instant' needs the built-in lite as it is, and its five style taps", option=option)


def start_at(problem: Problem, size: Size) -> Tensor:
    """The network's result for a problem at (height, width): what the optimizer may start from."""
    session = Instant(problem)
    for step in session:
        if max(step.image.shape[-2:]) >= max(size):
            break
    found = session.last.image if session.last else problem.start(size)
    return pictures.resize(found.clamp(0, 1), size)


def _composed(photo: Tensor, results: list[tuple[Tensor, Tensor | None]]) -> Tensor:
    """The results of all regions in one image, and the photograph where no region is. A region without a weight is everywhere."""
    if len(results) == 1 and results[0][1] is None:  # no further image is allocated
        return results[0][0]
    total, left = torch.zeros_like(photo), torch.ones_like(photo[:, :1])
    for image, weight in results:
        T = torch.ones_like(left) if weight is None else weight
        total, left = total + image * T, left - T
    return total + photo * left.clamp_min(0)


@dataclass(frozen=True)
class _Span:
    """Rows or columns of a block: its own, those with a margin, and its own within these."""

    own: slice
    outer: slice

    @property
    def inside(self) -> slice:
        """Its own, counted from the first of `outer`."""
        return slice(self.own.start - self.outer.start, self.own.stop - self.outer.start)


def _blocks(image: Tensor) -> Iterator[tuple[_Span, _Span]]:
    for rows in _spans(image.shape[-2]):
        for columns in _spans(image.shape[-1]):
            yield rows, columns


def _spans(length: int) -> Iterator[_Span]:
    for first in range(0, length, BLOCK):
        last = min(length, first + BLOCK)
        yield _Span(slice(first, last), slice(max(0, first - MARGIN), min(length, last + MARGIN)))


def _at(spans: tuple[slice, slice], stride: int) -> tuple[slice, slice]:
    """The positions of a map of this stride that slices of pixels cover."""
    rows, columns = (slice(span.start // stride, span.stop // stride) for span in spans)
    return rows, columns


def _padded(x: Tensor) -> Tensor:
    """With replicated rows and columns, to sides that are multiples of MULTIPLE."""
    down, right = (-side % MULTIPLE for side in x.shape[-2:])
    padded = functional.pad(x, (0, right, 0, down), mode="replicate") if down or right else x
    return padded.contiguous(memory_format=torch.channels_last)


def _step(scales: list[Scale], number: int, image: Tensor) -> Step:
    return Step(
        count=number,
        of=len(scales),
        scale=number,
        scales=len(scales),
        step=1,
        steps=1,
        losses={},
        total=0.0,
        done=share_done(scales, number, 1),
        image=image,
    )
