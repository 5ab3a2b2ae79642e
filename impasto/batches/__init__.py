"""Batches: many photographs in many styles, on all cores, or on the machines of a Ray cluster.

`plan` makes the work that words ask for, and `run` paints it, as an iterator of events. `batch` does both and yields the results.
What is done is seen from the results themselves, so that the same work again continues where it was left.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.batches.events import Event, Result, Status
    from impasto.batches.front import batch
    from impasto.batches.pairs import Pairs
    from impasto.batches.runner import run
    from impasto.batches.work import Item, Settings, Work, plan

_HOMES = {
    "Event": "impasto.batches.events",
    "Item": "impasto.batches.work",
    "Pairs": "impasto.batches.pairs",
    "Result": "impasto.batches.events",
    "Settings": "impasto.batches.work",
    "Status": "impasto.batches.events",
    "Work": "impasto.batches.work",
    "batch": "impasto.batches.front",
    "plan": "impasto.batches.work",
    "run": "impasto.batches.runner",
}

__all__ = ["Event", "Item", "Pairs", "Result", "Settings", "Status", "Work", "batch", "plan", "run"]


def __getattr__(name: str) -> Any:
    """Load a public name at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'impasto.batches' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
