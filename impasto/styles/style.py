"""What a painting looks like to an encoder: its Gram matrices at every scale asked for. Paintings, parts of paintings, and blends."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from impasto import pictures
from impasto.compute import settings
from impasto.encoders import Encoder
from impasto.errors import OptionError
from impasto.ladder import SMALLEST, Size, position, rung
from impasto.losses import ChannelSum, GramSum
from impasto.objective import blocks
from impasto.options import blend_shares
from impasto.palette import quantiles
from impasto.regions import check_aspect, guidance
from impasto.styles import remarks

Targets = Mapping[str, Tensor]  # {tap: NxN Gram matrix per position}
Means = Mapping[str, Tensor]  # {tap: mean of each channel, (N,)}

LARGE = 1_500_000  # pixels: a painting of no more is encoded at once, which takes a gigabyte with lite
SIDE = 768  # pixels: of the blocks of a larger one
REMEMBERED = 32  # sizes at which a painting's targets are kept


def mix(parts: Sequence[tuple[Mapping[str, Tensor], float]]) -> Mapping[str, Tensor]:
    """The weighted sum of targets, tap by tap; a single part of weight 1 itself, to the last bit."""
    (first, weight), *rest = parts
    if not rest and weight == 1:
        return first
    return {tap: sum((targets[tap] * share for targets, share in rest), first[tap] * weight) for tap in first}


class Style:
    """Targets for one encoder at any scale.

    encoder: where they are taken; taps: at which of its taps; notes: for the user, from loading. A subclass gives `at`, the targets
    on a rung of the ladder of scales, `longest`, `means_at` and `quantiles`. `targets` interpolates between rungs, so that a stored
    style, which holds rungs only, equals its painting.

    In all methods, side is that of the blocks a painting is encoded in, in pixels. None encodes it at once, unless it is LARGE.
    """

    def __init__(self, encoder: Encoder, taps: tuple[str, ...], notes: tuple[str, ...] = ()) -> None:
        self.encoder = encoder
        self.taps = taps
        self.notes = notes

    def at(self, number: int, side: int | None = None) -> Targets:
        """The targets on rung `number`."""
        raise NotImplementedError

    def means_at(self, number: int) -> Means:
        """The mean of each channel on rung `number`."""
        raise NotImplementedError

    def quantiles(self) -> Tensor:
        """The painting's colors, 7xQUANTILES (`palette.quantiles`)."""
        raise NotImplementedError

    def means(self, longer: float) -> Means:
        """The mean of each channel at a longer side of `longer` pixels; between rungs as `targets`."""
        return mix([(self.means_at(number), share) for number, share in self.rungs(longer)])

    def kept_for(self, network: str) -> Mapping[str, Tensor]:
        """What is stored for a network of quality "instant", by name (`fast.looks`); nothing if the file was made for another one.

        network: SHA-256 of its file.
        """
        return {}

    def targets(self, longer: float, side: int | None = None) -> Targets:
        """The targets at a longer side of `longer` pixels; between two rungs linear in the logarithm of the side.

        Beyond the `longest` side, the targets there: enlarging a painting further would blur its strokes. Where that side lies between
        two rungs, the painting is enlarged to the upper one, by a factor of less than `ladder.RATIO`.
        """
        return mix([(self.at(number, side), share) for number, share in self.rungs(longer)])

    def rungs(self, longer: float) -> list[tuple[int, float]]:
        """The rungs around a longer side of `longer` pixels, each with its share; one if the side lies on it."""
        place = position(min(longer, self.longest))
        below = math.floor(place)
        above = place - below
        return [(below, 1 - above), (below + 1, above)] if above else [(below, 1.0)]

    def squeezed(self, size: Size, side: int | None = None) -> Targets:
        """The targets of the painting squeezed to (height, width), whatever its proportions (the published method)."""
        return self.targets(max(size), side)

    def notes_at(self, sides: Sequence[float], *, squeeze: bool = False) -> tuple[str, ...]:
        """Notes for the user about a use at these longer sides, in pixels. squeeze: whether with `squeezed`, or with `targets`."""
        return ()

    def recolored(self, change: Callable[[Tensor], Tensor]) -> Style:
        """The style of the painting with other colors. change: 1x3xHxW, 0..1 -> the same. Raises OptionError without a painting."""
        raise OptionError("needs the painting itself: a stored style has no colors to change", option="keep_colors")

    def part(self, weight: Tensor) -> Style:
        """The style of a part of the painting. weight: 1x1xhxw of any size, 0..1. Raises OptionError without a painting."""
        raise OptionError("needs the painting itself: a stored style has no regions", option="style_mask")

    @property
    def size(self) -> Size | None:
        """(height, width) of the painting in pixels; None without a painting."""
        return None

    @property
    def longest(self) -> float:
        """The longer side of the painting in pixels, or of the largest size of it that is stored."""
        raise NotImplementedError


class Painted(Style):
    """The targets of a painting, computed when first asked for.

    painting: 1x3xHxW float32, 0..1. weight: 1x1xHxW, 0..1: which of its pixels count; None for all.
    """

    def __init__(
        self,
        painting: Tensor,
        encoder: Encoder,
        taps: tuple[str, ...],
        notes: tuple[str, ...] = (),
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(encoder, taps, notes)
        self.painting = painting
        self.weight = weight
        self._known: OrderedDict[tuple[Size, int], tuple[Targets, Means]] = OrderedDict()
        self._quantiles: Tensor | None = None

    @property
    def size(self) -> Size:
        """(height, width) of the painting in pixels."""
        return int(self.painting.shape[-2]), int(self.painting.shape[-1])

    @property
    def longest(self) -> float:
        """The painting's own longer side, or that of the smallest rung."""
        return max(*self.size, SMALLEST)

    def at(self, number: int, side: int | None = None) -> Targets:
        """The targets on rung `number`, in the painting's own proportions."""
        return self.squeezed(self.size_at(rung(number)), side)

    def squeezed(self, size: Size, side: int | None = None) -> Targets:
        """The targets of the painting squeezed to (height, width). Raises PictureError for a size too small for the encoder."""
        return self._statistics(size, side)[0]

    def means_at(self, number: int) -> Means:
        """The mean of each channel on rung `number`."""
        return self._statistics(self.size_at(rung(number)), None)[1]

    @settings.default_settings()
    @torch.no_grad()
    def _statistics(self, size: Size, side: int | None) -> tuple[Targets, Means]:
        """The Gram matrices and the means of the painting squeezed to `size`, from one pass of the encoder."""
        key = (size, self._side(size, side))
        if key not in self._known:
            self.encoder.check_size(*size, "style image at this size and style scale")
            guidance = {tap: self._guidance(tap, size) for tap in self.taps}
            sums = [kind(tap, T) for kind in (GramSum, ChannelSum) for tap, T in guidance.items()]
            totals = blocks.totals(self.encoder.only(self.taps), pictures.resize(self.painting, size), sums, key[1])
            found = [one.per_position(*total) for one, total in zip(sums, totals, strict=True)]
            count = len(self.taps)
            self._known[key] = (
                dict(zip(self.taps, found[:count], strict=True)),
                dict(zip(self.taps, found[count:], strict=True)),
            )
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    @staticmethod
    def _side(size: Size, side: int | None) -> int:
        return side or (SIDE if math.prod(size) > LARGE else max(size))

    @settings.default_settings()
    def quantiles(self) -> Tensor:
        """The colors of the painting, or of the part of it that counts; sorted once, since every level and every image needs them."""
        if self._quantiles is None:
            self._quantiles = quantiles(self.painting, self.weight)
        return self._quantiles

    def _guidance(self, tap: str, size: Size) -> Tensor | None:
        return None if self.weight is None else guidance(self.weight, self.encoder.size_at(tap, size))

    def size_at(self, longer: int) -> Size:
        """The painting's size with a longer side of `longer` pixels, or more if it is too narrow for the encoder then."""
        height, width = self.size
        needed = math.ceil(self.encoder.minimum_side * max(height, width) / min(height, width))
        return pictures.fit((height, width), max(longer, needed))

    def notes_at(self, sides: Sequence[float], *, squeeze: bool = False) -> tuple[str, ...]:
        """A note if the painting is smaller than the image."""
        return remarks.of_painting(self.size, sides, squeeze=squeeze)

    def recolored(self, change: Callable[[Tensor], Tensor]) -> Painted:
        """The style of the painting with other colors. change: 1x3xHxW, 0..1 -> the same."""
        return Painted(change(self.painting), self.encoder, self.taps, self.notes, self.weight)

    def part(self, weight: Tensor) -> Painted:
        """The style of a part of the painting. weight: 1x1xhxw, 0..1, of the painting's aspect. Raises PictureError for another."""
        check_aspect((int(weight.shape[-2]), int(weight.shape[-1])), self.size, "style mask")
        return Painted(self.painting, self.encoder, self.taps, self.notes, weight.to(self.painting.device))


class Blend(Style):
    """Several styles at once: the weighted mean of their targets. parts: (style, weight); the weights sum to 1."""

    def __init__(self, parts: Sequence[tuple[Style, float]]) -> None:
        first = parts[0][0]
        super().__init__(first.encoder, first.taps, tuple(note for style, _ in parts for note in style.notes))
        self.parts = tuple(parts)

    def targets(self, longer: float, side: int | None = None) -> Targets:
        """The mean of the styles' targets at a longer side of `longer` pixels."""
        return mix([(style.targets(longer, side), weight) for style, weight in self.parts])

    def means(self, longer: float) -> Means:
        """The mean of the styles' means."""
        return mix([(style.means(longer), weight) for style, weight in self.parts])

    def quantiles(self) -> Tensor:
        """The mean of the styles' quantiles: the palette between theirs."""
        (first, share), *rest = self.parts
        return sum((style.quantiles() * weight for style, weight in rest), first.quantiles() * share)

    def squeezed(self, size: Size, side: int | None = None) -> Targets:
        """The mean of the styles' targets at (height, width)."""
        return mix([(style.squeezed(size, side), weight) for style, weight in self.parts])

    def notes_at(self, sides: Sequence[float], *, squeeze: bool = False) -> tuple[str, ...]:
        """The notes of all styles."""
        return tuple(note for style, _ in self.parts for note in style.notes_at(sides, squeeze=squeeze))

    def recolored(self, change: Callable[[Tensor], Tensor]) -> Blend:
        """The blend of the recolored styles."""
        return Blend([(style.recolored(change), weight) for style, weight in self.parts])

    def part(self, weight: Tensor) -> Style:
        """A blend has no single painting that a mask could refer to. Raises OptionError."""
        raise OptionError("names regions of one painting, and this is a blend", option="style_mask")


def blended(styles: Sequence[Style], weights: Sequence[float]) -> Style:
    """One style of several. weights: a number for each, of any sum; none for equal weights. Raises OptionError for another count."""
    shares = blend_shares(weights, len(styles))
    if len(styles) == 1:
        return styles[0]
    return Blend([(style, share) for style, share in zip(styles, shares, strict=True) if share])
