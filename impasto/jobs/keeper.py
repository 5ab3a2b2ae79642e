"""Saves a run's state next to its output: now and then, when it is interrupted, and before an error."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from pathlib import Path

from impasto.errors import OptionError, OutputError, SaveError
from impasto.jobs import states
from impasto.jobs.lock import how_to_resume, state_of
from impasto.jobs.unfinished import Card
from impasto.run import Run

SAVE_EVERY = 20.0  # seconds; the environment variable IMPASTO_SAVE_EVERY sets others
MOST_OF_THE_TIME = (
    0.05  # share of the time that saving may take: on a slow disk, or for a large image, states are saved less often
)


class Keeper:
    """Saves the state of a run. `there`: whether there is one on disk.

    With `overwrite`, an earlier run's state is kept until this run has saved its own, or its image.
    """

    def __init__(self, run: Run, target: Path, card: Card) -> None:
        """card: what the state says, except how far the run is. A run that resumes has its state on disk."""
        self.run, self.card = run, card
        self.target, self.file = target, state_of(target)
        self.there = run.state is not None
        self.every, self.adapts = _interval()
        self.started = time.monotonic() - card.seconds
        self.due = time.monotonic() + self.every
        self.failed = False

    @property
    def seconds(self) -> float:
        """The time the run has taken, including what it took before it was resumed."""
        return time.monotonic() - self.started

    @property
    def how(self) -> str:
        """How to resume, in words; "" if there is no state."""
        return how_to_resume(self.target) if self.there else ""

    def after_step(self) -> str:
        """Save if it is time. Returns a note, or ""."""
        return self.save() if time.monotonic() >= self.due else ""

    def save(self) -> str:
        """Save what the run knows. If that fails, the state saved before stays. Returns a note about it, once, or ""."""
        state, now = self.run.state, time.monotonic()
        if state is None:
            return ""
        self.card = self.card.model_copy(update={"done": state.at(self.run.scales).done, "seconds": self.seconds})
        note = ""
        try:
            states.write(self.file, self.card, state)
            self.there, self.failed = True, False
        except (SaveError, OutputError) as error:
            if not self.failed:
                kept = "the previous one is kept" if self.there else "there is none so far"
                note = f"the state of the run could not be saved, {kept}: {error}"
            self.failed = True
        took, later = time.monotonic() - now, time.monotonic()
        self.due = later + max(self.every, took / MOST_OF_THE_TIME if self.adapts else 0)
        return note

    def announce(self, data: bytes, *, whole: bool) -> None:
        """Register the file that is about to be written as this run's own. whole: whether it is the finished image.

        A run so short that it has no state needs none for its finished image.
        """
        found = hashlib.sha256(data).hexdigest()
        self.card = self.card.model_copy(update={"whole": found} if whole else {"mine": (*self.card.mine[-1:], found)})
        if self.there or not whole:
            self.save()

    def remove(self) -> None:
        """Remove the state."""
        with contextlib.suppress(OSError):
            self.file.unlink(missing_ok=True)
        self.there = False


def _interval() -> tuple[float, bool]:
    """Seconds between saves, and whether they may become more. Raises OptionError."""
    asked = os.environ.get("IMPASTO_SAVE_EVERY")
    if not asked:
        return SAVE_EVERY, True
    with contextlib.suppress(ValueError):
        if 0 <= float(asked) < math.inf:
            return float(asked), False
    raise OptionError(f"IMPASTO_SAVE_EVERY must be a number of seconds, not {asked!r}")
