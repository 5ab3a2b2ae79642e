"""One photograph painted without torch: inputs and options, checked and prepared as `problem` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from impasto import extent
from impasto.errors import OptionError
from impasto.extras import INSTALL, needs_torch
from impasto.inputs import Inputs, StyleFile
from impasto.ladder import Size, level_sizes
from impasto.options import Options, blend_shares
from impasto.pictures import Still, Words, image_of, words_of
from impasto.portable import stored
from impasto.portable.network import Floats, planes, resized
from impasto.portable.painter import paint
from impasto.portable.styles import NARROWEST, Blend, Painted, Style

ENCODER = "lite"
WITHOUT = f"torch is not installed, so quality 'instant' is used; for the other qualities, {INSTALL}"
USUAL = {  # what is possible of these options
    "keep_colors": ("off",),
    "device": ("auto", "cpu"),
    "precision": ("auto", "fp32"),
    "max_memory": (None,),
}


def check(options: Options) -> None:
    """Raise UsageError for options that need torch."""
    if options.quality != "instant":
        raise needs_torch(f"quality {options.quality!r}")
    for name, possible in USUAL.items():
        value = getattr(options, name)
        if value not in possible:
            raise needs_torch(f"{value!r}", option=name)


@dataclass(frozen=True)
class Level:
    """After a level: its number from 1, the share of the work that is done, and its result, 1x3xHxW."""

    count: int
    done: float
    image: Floats


def settled(options: Options) -> tuple[Options, tuple[str, ...]]:
    """The options without torch, and notes: quality "instant" where none was asked for. Raises UsageError for what needs torch."""
    if "quality" not in options.model_fields_set:
        try:
            return options.changed(quality="instant"), (WITHOUT,)
        except OptionError:  # an option of the optimizer is given
            pass
    check(options)
    return options, ()


class Painting:
    """A photograph to be painted. Iterate over it for its levels, or call `image`.

    loaded: from `Inputs.load` with `Still` pictures. size: (height, width) of the result. sizes: of the levels. notes:
    for the user; of_photo: those of them about the photograph. Raises UsageError for
    what needs torch, and the errors of `Problem`.
    """

    def __init__(self, options: Options, loaded: Inputs) -> None:
        check(options)
        others = {"a mask": loaded.layers or loaded.pair, "a start image": loaded.start, "a weights file": loaded.weights}
        for what, given in others.items():
            if given:
                raise needs_torch(what)
        photo: Still = loaded.photo
        extent.check_side(photo.size, NARROWEST, ENCODER, "photograph")
        self.options, remarks = extent.sized(options, photo.size, NARROWEST)
        self.size: Size = extent.result_size(self.options, photo.size, NARROWEST, ENCODER)
        self.photo, self.style = photo, style_of(loaded.styles, self.options.blend)
        self.sizes = level_sizes(self.size) if self.options.strength else [self.size]
        sides = [max(size) * self.options.style_scale for size in self.sizes]
        of_styles = [note for style in loaded.styles if isinstance(style, Still) for note in style.notes]
        self.of_photo = (*photo.notes, *remarks)
        self.notes = (*self.of_photo, *dict.fromkeys((*of_styles, *self.style.notes_at(sides))))
        self.last: Floats | None = None

    def __len__(self) -> int:
        """The number of levels."""
        return len(self.sizes)

    def __iter__(self) -> Iterator[Level]:
        """Paint, yielding every level. Raises MemoryLimitError and RunError."""
        options, work = self.options, [height * width for height, width in self.sizes]
        results = paint(planes(self.photo.color), self.size, self.style, options.strength, options.style_scale)
        for count, self.last in enumerate(results, 1):
            yield Level(count, sum(work[:count]) / sum(work), self.last)

    def image(self) -> Image.Image:
        """The result with the photograph's transparency; paints what is not painted yet."""
        return image_of(*self._finished())

    def words(self) -> Words:
        """The same with 16 bits per channel."""
        return words_of(*self._finished())

    def _finished(self) -> tuple[Floats, Floats | None]:
        found, alpha = self.last, self.photo.alpha
        if found is None or found.shape[2:] != self.size:
            found = [level.image for level in self][-1]
        return found[0].transpose(1, 2, 0), None if alpha is None else _resized_plane(alpha, self.size)


def resized_still(still: Still, size: Size) -> Still:
    """An image at (height, width)."""
    color = resized(planes(still.color), size)[0].transpose(1, 2, 0)
    return replace(still, color=color, alpha=None if still.alpha is None else _resized_plane(still.alpha, size))


def _resized_plane(plane: Floats, size: Size) -> Floats:
    found: Floats = resized(np.broadcast_to(plane, (1, 3, *plane.shape)), size)[0, 0]
    return found


def style_of(loaded: Sequence[Still | StyleFile], weights: Sequence[float] = ()) -> Style:
    """The style of paintings and style files, blended by `weights`. Raises StyleFileError, PictureError, OptionError, UsageError."""
    parts = [(_style(one), share) for one, share in zip(loaded, blend_shares(weights, len(loaded)), strict=True) if share]
    return parts[0][0] if len(parts) == 1 else Blend(parts)


def _style(one: Still | StyleFile) -> Style:
    if isinstance(one, StyleFile):
        return stored.load(one)
    extent.check_side(one.size, NARROWEST, ENCODER, "style image")
    return Painted(one)
