"""Sizes of images."""

from __future__ import annotations

from impasto.errors import OptionError
from impasto.ladder import Size


def fit(size: Size, longer: int) -> Size:
    """The (height, width) nearest to size's aspect ratio whose longer side is `longer`; no side is below 1.

    Raises OptionError when `longer` is below 1.
    """
    if longer < 1:
        raise OptionError(f"the longer side must be at least 1 pixel, not {longer}")
    height, width = size
    long = max(height, width)
    scaled_height, scaled_width = (max(1, (2 * side * longer + long) // (2 * long)) for side in (height, width))
    return scaled_height, scaled_width
