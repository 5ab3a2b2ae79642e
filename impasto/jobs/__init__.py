"""Painting an image to a file: jobs with records, saved states, previews and films, run as iterators of events.

A front end makes a `Job`, calls `run`, and shows the events. Closing the iterator cancels the job and saves its state.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.jobs.checks import check
    from impasto.jobs.events import Event, Failed, Note, Preview, Progress, Saved
    from impasto.jobs.job import Job, Output
    from impasto.jobs.runner import run

_HOMES = {
    "Event": "impasto.jobs.events",
    "Failed": "impasto.jobs.events",
    "Job": "impasto.jobs.job",
    "Note": "impasto.jobs.events",
    "Output": "impasto.jobs.job",
    "Preview": "impasto.jobs.events",
    "Progress": "impasto.jobs.events",
    "Saved": "impasto.jobs.events",
    "check": "impasto.jobs.checks",
    "run": "impasto.jobs.runner",
}

__all__ = ["Event", "Failed", "Job", "Note", "Output", "Preview", "Progress", "Saved", "check", "run"]


def __getattr__(name: str) -> Any:
    """Load a public name at first use, so that the help of the command line does not wait for pydantic."""
    if name not in _HOMES:
        raise AttributeError(f"module 'impasto.jobs' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
