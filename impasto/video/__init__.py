"""Painting clips: frame by frame, calm over time, with their sound.

A front end makes a `Video`, calls `run`, and shows the events. `paint` does that for scripts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from impasto import lazy

if TYPE_CHECKING:
    from impasto.clips import Window
    from impasto.video.blending import Blending
    from impasto.video.consistency import warping_error
    from impasto.video.front import paint
    from impasto.video.job import Output, Video
    from impasto.video.runner import finish_early, run

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "impasto.clips": ("Window",),
        "impasto.video.blending": ("Blending",),
        "impasto.video.consistency": ("warping_error",),
        "impasto.video.front": ("paint",),
        "impasto.video.job": ("Output", "Video"),
        "impasto.video.runner": ("finish_early", "run"),
    },
)

__all__ = ["Blending", "Output", "Video", "Window", "finish_early", "paint", "run", "warping_error"]
