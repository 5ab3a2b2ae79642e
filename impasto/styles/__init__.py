"""Styles: what paintings look like to an encoder, at any scale; blended, masked, kept in files."""

from impasto.styles.base import Blend, Painted, Style, Targets, rung

__all__ = ["Blend", "Painted", "Style", "Targets", "rung"]
