"""Painting an image to a file: jobs with records, saved states, previews and films, run as iterators of events.

A front end makes a `Job`, calls `run`, and shows the events. Closing the iterator cancels the job and saves its state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from impasto import lazy

if TYPE_CHECKING:
    from impasto.jobs.checks import check
    from impasto.jobs.events import Event, Failed, Note, Preview, Progress, Saved
    from impasto.jobs.job import Job, Output
    from impasto.jobs.runner import run

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "impasto.jobs.checks": ("check",),
        "impasto.jobs.events": ("Event", "Failed", "Note", "Preview", "Progress", "Saved"),
        "impasto.jobs.job": ("Job", "Output"),
        "impasto.jobs.runner": ("run",),
    },
)

__all__ = ["Event", "Failed", "Job", "Note", "Output", "Preview", "Progress", "Saved", "check", "run"]
