"""impasto repaints a photograph in the style of a painting.

>>> import impasto
>>> image = impasto.stylize("photo.jpg", "painting.jpg")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from impasto import lazy

__version__ = "0.1.0"

if TYPE_CHECKING:
    from impasto.batches import batch
    from impasto.errors import ImpastoError
    from impasto.front import stylize
    from impasto.inputs import Inputs
    from impasto.jobs import Job
    from impasto.optimize import Step
    from impasto.options import Options
    from impasto.run import Run
    from impasto.session import Session
    from impasto.styles import Style
    from impasto.stylizer import Stylizer

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "impasto.batches.front": ("batch",),
        "impasto.errors": ("ImpastoError",),
        "impasto.front": ("stylize",),
        "impasto.inputs": ("Inputs",),
        "impasto.jobs": ("Job",),
        "impasto.optimize": ("Step",),
        "impasto.options": ("Options",),
        "impasto.run": ("Run",),
        "impasto.session": ("Session",),
        "impasto.styles": ("Style",),
        "impasto.stylizer": ("Stylizer",),
    },
)

__all__ = ["ImpastoError", "Inputs", "Job", "Options", "Run", "Session", "Step", "Style", "Stylizer", "batch", "stylize"]
