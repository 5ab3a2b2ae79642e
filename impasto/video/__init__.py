"""Painting clips: frame by frame, calm over time, with their sound.

A front end makes a `Video`, calls `run`, and shows the events. `paint` does that for scripts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.clips import Window
    from impasto.video.blending import Blending
    from impasto.video.consistency import warping_error
    from impasto.video.front import paint
    from impasto.video.job import Output, Video
    from impasto.video.runner import finish_early, run

_HOMES = {
    "Blending": "impasto.video.blending",
    "Output": "impasto.video.job",
    "Video": "impasto.video.job",
    "Window": "impasto.clips",
    "finish_early": "impasto.video.runner",
    "paint": "impasto.video.front",
    "run": "impasto.video.runner",
    "warping_error": "impasto.video.consistency",
}

__all__ = ["Blending", "Output", "Video", "Window", "finish_early", "paint", "run", "warping_error"]


def __getattr__(name: str) -> Any:
    """Load a public name at first use, so that the help of the command line does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'impasto.video' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
