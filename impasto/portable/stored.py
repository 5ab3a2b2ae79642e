"""Style files without torch: what they hold for the network (`impasto.fast.looks`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from impasto import files
from impasto.errors import StyleFileError
from impasto.extras import needs_torch
from impasto.inputs import StyleFile
from impasto.ladder import SMALLEST
from impasto.pictures import load_still
from impasto.portable.card import FILE
from impasto.portable.network import KEPT, MODULATION, PALETTE, Floats
from impasto.portable.styles import Look, Moments, Painted, Stored, Style
from impasto.styles import card as style_cards
from impasto.styles.card import COLORS, INSTANT, TUNING

DAMAGED = "a style file is damaged: what it holds for quality 'instant' is malformed"


@cache
def network_digest() -> str:
    """SHA-256 of the network's file. What a style file holds for another network is not used."""
    return files.digest(FILE)


def load(file: StyleFile) -> Style:
    """The style in a file: what it holds for the network, or the painting in it.

    Raises StyleFileError, and UsageError for a file with neither of these, from which only torch can compute a style.
    """
    with style_cards.opened(file.path, "np") as (card, content):
        names = set(content.keys())
        kept = {name.removeprefix(INSTANT): content.get_tensor(name) for name in names if name.startswith(INSTANT)}
        painting = style_cards.image_in(content, "painting")
        palette = content.get_tensor(COLORS) if COLORS in names else None
    if card.network == network_digest() and any(key != TUNING for key in kept) and palette is not None:
        looks = {number: _look(kept, number) for number in checked_rungs({key: one.shape for key, one in kept.items()})}
        longest = max(SMALLEST, min(max(card.size), card.sides[1]))
        return Stored(file.path.stem, _checked(palette, PALETTE), looks, card.rungs, longest, _tuning(kept))
    if painting is None:
        raise needs_torch(f"{files.printable(file.path)} holds nothing for the network of quality 'instant': computing it")
    return Painted(load_still(painting, role=f"painting in {files.printable(file.path)}"))


def checked_rungs(shapes: Mapping[str, tuple[int, ...]]) -> set[int]:
    """The rungs of the moments that a style file keeps. Raises StyleFileError where some are missing or malformed.

    shapes: those of the tensors by name, `tuning` among them or not.
    """
    shapes = {name: tuple(shape) for name, shape in shapes.items() if name != TUNING}
    stored = {name.partition("/")[0] for name in shapes}
    sizes = {
        f"{rung}/{tap}/{part}": (count,)
        for rung in stored
        for tap, kept in KEPT.items()
        for part, count in (("mean", kept), ("covariance", kept * (kept + 1) // 2))
    }
    if shapes != sizes or not all(map(_is_integer, stored)):
        raise StyleFileError(DAMAGED)
    return set(map(int, stored))


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and len(text) < 5 and str(int(text)) == text


def _look(kept: Mapping[str, Floats], number: int) -> Look:
    """The moments on a rung; of a covariance the upper triangle is stored, row by row."""
    found = {}
    for tap, count in KEPT.items():
        full = np.zeros((count, count), np.float32)
        rows, columns = np.triu_indices(count)
        full[rows, columns] = full[columns, rows] = _checked(kept[f"{number}/{tap}/covariance"])
        found[tap] = Moments(_checked(kept[f"{number}/{tap}/mean"]), full)
    return found


def _tuning(kept: Mapping[str, Floats]) -> Floats | None:
    return _checked(kept[TUNING], (MODULATION,)) if TUNING in kept else None


def _checked(values: Floats, shape: tuple[int, ...] | None = None) -> Floats:
    """Values of this shape, or of any. Raises StyleFileError."""
    if values.dtype.kind != "f" or (shape is not None and values.shape != shape) or not np.isfinite(values).all():
        raise StyleFileError(DAMAGED)
    return values.astype(np.float32)
