"""How large a result is: from the option `size`, the photograph and the least that an encoder takes."""

from __future__ import annotations

import math

from impasto.errors import PictureError
from impasto.ladder import SMALLEST, Size, fit
from impasto.options import Options

LONGEST = 65_535  # pixels: the largest value of the option `size`
ENLARGED = 2  # times: a photograph that is enlarged more gets a note


def check_side(size: Size, least: int, encoder: str, what: str = "image") -> None:
    """Raise PictureError if an image of (height, width) is too small.

    least: pixels on the shorter side; what: its name in the error.
    """
    if min(size) < least:
        raise PictureError(
            f"{what} is {size[1]}x{size[0]} pixels; encoder {encoder} needs at least {least}x{least} for the taps used"
        )


def sized(options: Options, photo: Size, least: int) -> tuple[Options, tuple[str, ...]]:
    """The options with a size that suits a photograph of (height, width), and notes.

    Only a default size is changed: for a panorama that would be too thin for the encoder, which takes `least` pixels.
    """
    notes = list[str]()
    if "size" not in options.model_fields_set and min(fit(photo, int(options.size))) < least:
        longer = min(LONGEST, _longer_for(min(*photo, SMALLEST), photo))
        notes.append(
            f"the photograph is too thin for the default size of {options.size} pixels, so the longer side has {longer}"
        )
        options = options.changed(size=longer)
    times = longer_side(options, photo) / max(photo)
    if times > ENLARGED:
        notes.append(
            f"the photograph has {photo[1]}x{photo[0]} pixels and is enlarged {times:.3g} times; a smaller size is sharper"
        )
    return options, tuple(notes)


def longer_side(options: Options, photo: Size) -> int:
    """The longer side of the result in pixels."""
    return max(photo) if options.size == "original" else int(options.size)


def result_size(options: Options, photo: Size, least: int, encoder: str) -> Size:
    """The (height, width) of the result. Raises PictureError if it is too large, or too small for the encoder."""
    height, width = fit(photo, longer_side(options, photo))
    if height * width > options.max_pixels:
        problem = f"the result would have {width}x{height} pixels, more than the limit of {options.max_pixels:,}"
        raise PictureError(problem, remedy="raise {max_pixels}")
    if min(height, width) < least:
        longer = _longer_for(least, photo)
        problem = f"the result would have {width}x{height} pixels, and encoder {encoder} needs at least {least}x{least}"
        way = f"{longer} or more" if longer <= LONGEST else "original"
        raise PictureError(f"{problem} for the taps used", remedy=f"use {{size}} {way}")
    return height, width


def _longer_for(shorter: int, photo: Size) -> int:
    """The longer side in pixels at which a photograph has this shorter side."""
    return math.ceil(shorter * max(photo) / min(photo))
