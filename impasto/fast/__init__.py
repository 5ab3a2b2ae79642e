"""Painting in a fraction of a second: a network that repaints any photograph in any style, without optimization."""

from impasto.fast.painter import Instant

__all__ = ["Instant"]
