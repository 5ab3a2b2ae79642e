"""Styles: what paintings look like to an encoder, at any scale; blended, masked, kept in files, some of them by name."""

from impasto.styles.base import Blend, Painted, Style, Targets, rung
from impasto.styles.stored import SUFFIX, Card, Stored, load, read_card, read_thumbnail, save

__all__ = [
    "SUFFIX",
    "Blend",
    "Card",
    "Painted",
    "Stored",
    "Style",
    "Targets",
    "load",
    "read_card",
    "read_thumbnail",
    "rung",
    "save",
]
