"""What a painting looks like to an encoder: its Gram matrices at every scale asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from impasto import blocks, pictures
from impasto.encoders import Encoder
from impasto.errors import OptionError
from impasto.losses import GramSum, quantiles
from impasto.regions import check_aspect, guidance

Size = tuple[int, int]  # (height, width) in pixels
Targets = Mapping[str, Tensor]  # {tap: NxN Gram matrix per position}

COARSEST = 128  # longer side in pixels of rung 0 of the ladder of scales
RATIO = math.sqrt(2)  # of neighbouring rungs: a picture doubles its pixels from one to the next
LARGE = 1_500_000  # pixels: a painting of no more is looked at whole, which takes a gigabyte with lite
SIDE = 768  # pixels, of the blocks of a larger one
ON_A_RUNG = 0.01  # of a rung's distance: 181 pixels are rung 1, though it lies at 181.02


def rung(number: int) -> int:
    """The longer side in pixels of a rung of the ladder of scales: 128, 181, 256, 362, 512, ... from 0; 91, 64, ... below."""
    return max(1, round(COARSEST * RATIO**number))


def place(longer: float) -> float:
    """Where on the ladder a longer side lies, in rungs: 4.0 for 512 pixels."""
    found = math.log(longer / COARSEST, RATIO)
    return float(round(found)) if abs(found - round(found)) < ON_A_RUNG else found


def mix(parts: Sequence[tuple[Targets, float]]) -> Targets:
    """The weighted sum of targets, tap by tap; of a single part of weight 1 that part itself, to the last bit."""
    (first, weight), *rest = parts
    if not rest and weight == 1:
        return first
    return {tap: sum((targets[tap] * share for targets, share in rest), first[tap] * weight) for tap in first}


class Style:
    """Targets for one encoder at any scale.

    encoder: where they are taken; taps: at which of its taps; notes: words for the user from loading.
    A subclass gives `quantiles`, and `at`: the targets on a rung of the ladder of scales. Between rungs `targets` interpolates, so
    that a style read from a file, which holds rungs only, is what its painting is.
    """

    def __init__(self, encoder: Encoder, taps: tuple[str, ...], notes: tuple[str, ...] = ()) -> None:
        self.encoder = encoder
        self.taps = taps
        self.notes = notes

    def at(self, number: int) -> Targets:
        """The targets on rung `number`."""
        raise NotImplementedError

    def quantiles(self) -> Tensor:
        """The painting's colours at any scale, 7xQUANTILES (`losses.quantiles`)."""
        raise NotImplementedError

    def targets(self, longer: float) -> Targets:
        """The targets at a longer side of `longer` pixels; between two rungs linear in the logarithm of the side."""
        position = place(longer)
        below = math.floor(position)
        above = position - below
        return mix([(self.at(below), 1 - above), (self.at(below + 1), above)]) if above else self.at(below)

    def squeezed(self, size: Size) -> Targets:
        """The targets of the painting squeezed to (height, width), whatever its proportions (the published method)."""
        return self.targets(max(size))

    def look_in_blocks(self, side: int | None) -> None:
        """Have paintings looked at in blocks of `side` pixels from now on, which takes less memory; None: only large ones."""

    def words_at(self, sides: Sequence[float]) -> tuple[str, ...]:
        """What to tell the user about a use at these longer sides, in pixels."""
        return ()

    def recoloured(self, change: Callable[[Tensor], Tensor]) -> Style:
        """The style of the painting with other colours. change: 1x3xHxW, 0..1 -> the same. Raises OptionError without a painting."""
        raise OptionError("keep_colors needs the painting itself: a stored style has no colours left to change")

    def masked(self, weight: Tensor) -> Style:
        """The style of a part of the painting. weight: 1x1xhxw, 0..1, of any size. Raises OptionError without a painting."""
        raise OptionError("style_mask needs the painting itself: a stored style has no regions")


class Painted(Style):
    """The targets of a painting, computed when first asked for and kept.

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
        self._side: int | None = None
        self._known: dict[Size, Targets] = {}

    def at(self, number: int) -> Targets:
        """The targets on rung `number`, in the painting's own proportions."""
        return self.squeezed(self.size_at(rung(number)))

    @torch.no_grad()
    def squeezed(self, size: Size) -> Targets:
        """The targets of the painting squeezed to (height, width). Raises PictureError for a size too small for the encoder."""
        if size not in self._known:
            self.encoder.check_size(*size, "style picture at this size and style scale")
            sums = [GramSum(tap, self._guidance(tap, size)) for tap in self.taps]
            side = self._side or (SIDE if math.prod(size) > LARGE else max(size))
            found = blocks.totals(self.encoder.only(self.taps), pictures.resize(self.painting, size), sums, side)
            self._known[size] = {one.tap: one.per_position(*total) for one, total in zip(sums, found, strict=True)}
        return self._known[size]

    def look_in_blocks(self, side: int | None) -> None:
        """Look at the painting in blocks of `side` pixels; None: at once, unless it is LARGE."""
        self._side = side

    def quantiles(self) -> Tensor:
        """The colours of the painting, or of the part of it that counts."""
        return quantiles(self.painting, self.weight)

    def _guidance(self, tap: str, size: Size) -> Tensor | None:
        return None if self.weight is None else guidance(self.weight, self.encoder.size_at(tap, size))

    def size_at(self, longer: int) -> Size:
        """The painting's size with a longer side of `longer` pixels, or more if it is too narrow for the encoder then."""
        height, width = self.painting.shape[-2:]
        needed = math.ceil(self.encoder.minimum_side * max(height, width) / min(height, width))
        return pictures.fit((height, width), max(longer, needed))

    def words_at(self, sides: Sequence[float]) -> tuple[str, ...]:
        """Say so if the painting has to be enlarged."""
        height, width = self.painting.shape[-2:]
        longer = max(sides)
        if longer <= max(height, width):
            return ()
        return (
            f"the painting has {width}x{height} pixels and is enlarged to {round(longer)} here, which makes its strokes soft; "
            "a larger picture of it, or a smaller --style-scale, is sharper",
        )

    def recoloured(self, change: Callable[[Tensor], Tensor]) -> Painted:
        """The style of the painting with other colours. change: 1x3xHxW, 0..1 -> the same."""
        return Painted(change(self.painting), self.encoder, self.taps, self.notes, self.weight)

    def masked(self, weight: Tensor) -> Painted:
        """The style of a part of the painting. weight: 1x1xhxw, 0..1, of the painting's aspect. Raises PictureError for another."""
        size, wanted = ((int(x.shape[-2]), int(x.shape[-1])) for x in (weight, self.painting))
        check_aspect(size, wanted, "style mask")
        return Painted(self.painting, self.encoder, self.taps, self.notes, weight.to(self.painting.device))


class Blend(Style):
    """Several styles at once: the weighted mean of their targets. parts: (style, weight); the weights sum to 1."""

    def __init__(self, parts: Sequence[tuple[Style, float]]) -> None:
        first = parts[0][0]
        super().__init__(first.encoder, first.taps, tuple(note for style, _ in parts for note in style.notes))
        self.parts = tuple(parts)

    def at(self, number: int) -> Targets:
        """The mean of the styles' targets on rung `number`."""
        return mix([(style.at(number), weight) for style, weight in self.parts])

    def quantiles(self) -> Tensor:
        """The mean of the styles' quantiles: the palette between theirs."""
        (first, share), *rest = self.parts
        return sum((style.quantiles() * weight for style, weight in rest), first.quantiles() * share)

    def squeezed(self, size: Size) -> Targets:
        """The mean of the styles' targets at (height, width)."""
        return mix([(style.squeezed(size), weight) for style, weight in self.parts])

    def look_in_blocks(self, side: int | None) -> None:
        """Have each of the styles' paintings looked at so."""
        for style, _ in self.parts:
            style.look_in_blocks(side)

    def words_at(self, sides: Sequence[float]) -> tuple[str, ...]:
        """What each of the styles has to say."""
        return tuple(word for style, _ in self.parts for word in style.words_at(sides))

    def recoloured(self, change: Callable[[Tensor], Tensor]) -> Blend:
        """The blend of the recoloured styles."""
        return Blend([(style.recoloured(change), weight) for style, weight in self.parts])

    def masked(self, weight: Tensor) -> Style:
        """A blend has no one painting that a mask could be of. Raises OptionError."""
        raise OptionError("style_mask names regions of one painting, and this is a blend")
