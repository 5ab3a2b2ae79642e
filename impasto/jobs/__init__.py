"""Painting an image to a file: jobs with records, saved states, previews and films, run as iterators of events.

A front end makes a `Job`, calls `run`, and shows the events. Closing the iterator cancels the job and saves its state.
"""

from impasto.jobs.events import Event, Failed, Note, Preview, Progress, Saved
from impasto.jobs.job import Job, Output
from impasto.jobs.runner import run

__all__ = ["Event", "Failed", "Job", "Note", "Output", "Preview", "Progress", "Saved", "run"]
