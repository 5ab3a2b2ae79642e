"""Batches: many photographs in many styles, on all cores, or on the machines of a Ray cluster.

`plan` makes the work that words ask for, and `run` paints it, as an iterator of events. `batch` does both and yields the results.
What is done is seen from the results themselves, so that the same work again continues where it was left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from impasto import lazy

if TYPE_CHECKING:
    from impasto.batches.events import Event, Result, Status
    from impasto.batches.front import batch
    from impasto.batches.pairs import Pairs
    from impasto.batches.runner import run
    from impasto.batches.work import Item, Settings, Work, plan

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "impasto.batches.events": ("Event", "Result", "Status"),
        "impasto.batches.front": ("batch",),
        "impasto.batches.pairs": ("Pairs",),
        "impasto.batches.runner": ("run",),
        "impasto.batches.work": ("Item", "Settings", "Work", "plan"),
    },
)

__all__ = ["Event", "Item", "Pairs", "Result", "Settings", "Status", "Work", "batch", "plan", "run"]
