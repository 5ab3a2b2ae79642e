"""Notes for the user about using a style at a size."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from impasto.ladder import Size, position, rung


def of_painting(size: Size, sides: Sequence[float], *, squeeze: bool = False) -> tuple[str, ...]:
    """A note if a painting of (height, width) is smaller than the image.

    sides: longer sides in pixels; squeeze: see `Style.notes_at`.
    """
    (height, width), longer = size, max(sides)
    if longer <= max(size):
        return ()
    effect = (
        "it is enlarged, so its strokes are blurred" if squeeze else "it is not enlarged to that, so its strokes look smaller"
    )
    return (
        f"the painting has {width}x{height} pixels, smaller than the {round(longer)} asked for; {effect}. "
        "Use a larger image of the painting or a smaller style scale",
    )


def of_stored(name: str, rungs: Collection[int], sides: Sequence[float]) -> tuple[str, ...]:
    """A note if a style file has nothing stored for a longer side."""
    missing = [side for side in sides if not {math.floor(position(side)), math.ceil(position(side))} <= set(rungs)]
    if not missing:
        return ()
    return (
        f"style {name} is stored for {rung(min(rungs))} to {rung(max(rungs))} pixels, not for {_listed(missing)}; the nearest scale is "
        "used, which changes the size of its strokes",
    )


def _listed(sides: Sequence[float]) -> str:
    *most, last = (str(round(side)) for side in sides)
    return f"{', '.join(most)} and {last}" if most else last
