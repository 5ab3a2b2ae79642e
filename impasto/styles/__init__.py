"""Styles: what paintings look like to an encoder, at any scale; blends, parts of paintings, style files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from impasto import lazy

if TYPE_CHECKING:
    from impasto.styles.card import TUNING, Card, read_card, read_image
    from impasto.styles.stored import Stored, load, rungs_of, save
    from impasto.styles.style import Blend, Means, Painted, Style, Targets, blended

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "impasto.styles.card": ("TUNING", "Card", "read_card", "read_image"),
        "impasto.styles.stored": ("Stored", "load", "rungs_of", "save"),
        "impasto.styles.style": ("Blend", "Means", "Painted", "Style", "Targets", "blended"),
    },
)

__all__ = [
    "TUNING",
    "Blend",
    "Card",
    "Means",
    "Painted",
    "Stored",
    "Style",
    "Targets",
    "blended",
    "load",
    "read_card",
    "read_image",
    "rungs_of",
    "save",
]
