"""impasto repaints a photograph in the style of a painting.

>>> import impasto
>>> image = impasto.stylize("photo.jpg", "painting.jpg")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from impasto.batches import batch
    from impasto.errors import ImpastoError
    from impasto.inputs import Inputs
    from impasto.jobs import Job
    from impasto.optimize import Step
    from impasto.options import Options
    from impasto.run import Run
    from impasto.session import Session
    from impasto.styles import Style
    from impasto.stylizer import Stylizer, stylize

_HOMES = {
    "ImpastoError": "impasto.errors",
    "Inputs": "impasto.inputs",
    "Job": "impasto.jobs",
    "Options": "impasto.options",
    "Run": "impasto.run",
    "Session": "impasto.session",
    "Step": "impasto.optimize",
    "Style": "impasto.styles",
    "Stylizer": "impasto.stylizer",
    "batch": "impasto.batches.front",
    "stylize": "impasto.stylizer",
}

__all__ = ["ImpastoError", "Inputs", "Job", "Options", "Run", "Session", "Step", "Style", "Stylizer", "batch", "stylize"]


def __getattr__(name: str) -> Any:
    """Load a public name at first use, so that `import impasto` does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'impasto' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
