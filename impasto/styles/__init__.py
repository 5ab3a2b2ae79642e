"""Styles: what paintings look like to an encoder, at any scale; blends, parts of paintings, style files."""

from impasto.styles.stored import TUNING, Card, Stored, load, read_card, read_image, rungs_of, save
from impasto.styles.style import Blend, Means, Painted, Style, Targets, blended

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
