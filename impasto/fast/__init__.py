"""Painting in a fraction of a second: a network that repaints any photograph in any style, without optimization."""

from impasto.fast.looks import moments_to_keep
from impasto.fast.painter import Instant, check_encoder, start_at
from impasto.fast.stored import load
from impasto.fast.tuning import tune
from impasto.styles import TUNING

__all__ = ["TUNING", "Instant", "check_encoder", "load", "moments_to_keep", "start_at", "tune"]
