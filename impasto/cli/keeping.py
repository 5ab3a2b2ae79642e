"""What keeps a run from being lost: its state, saved now and then and when it is cut short; and the signals that cut it short."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from impasto import states
from impasto.cli.console import INTERRUPTED, note
from impasto.cli.painting import how_to_go_on
from impasto.errors import OptionError, OutputError, SaveError

if TYPE_CHECKING:
    from impasto.optimize import Step
    from impasto.stylizer import Run

SAVE_EVERY = 20.0  # seconds; IMPASTO_SAVE_EVERY has others
MOMENT = 1.0  # seconds in which signals come together, as when a terminal closes
MOST_OF_THE_TIME = 0.05  # that saving may take: on a slow disk, or with a large picture, it is saved less often


class StoppedError(KeyboardInterrupt):
    """Like Ctrl-C, but by another signal. code: what shells have the process end with."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number
        self.word = "ended by a signal" if number == signal.SIGTERM else "interrupted when the terminal was closed"


def how_stopped(stopped: KeyboardInterrupt) -> tuple[str, int]:
    """A word, and the exit code."""
    return (stopped.word, stopped.code) if isinstance(stopped, StoppedError) else ("interrupted", INTERRUPTED)


def _signals() -> list[signal.Signals]:
    """Those that end a run, but for such as somebody has this process ignore: nohup, or a shell in the background."""
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) != signal.SIG_IGN]


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Have SIGTERM, and SIGHUP of a terminal that closes, stop a run as Ctrl-C does; several in a moment count as one."""
    last = -math.inf

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > MOMENT:
            raise KeyboardInterrupt if number == signal.SIGINT else StoppedError(number)

    with _handled(_signals(), stop):
        yield


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """Let a second signal not spoil the saving that the first one asked for."""
    with _handled(_signals(), signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handled(numbers: list[signal.Signals], handler: signal._HANDLER) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # the only one that may say so, and that signals reach
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, one in before.items():
            if one is not None:  # or it was not Python that had set it
                signal.signal(number, one)


class Keeper:
    """Saves a run's state beside its output. `there`: whether it has one.

    That of an earlier run, which --overwrite was said of, stays until this run's own is there, or its picture.
    """

    def __init__(self, run: Run, target: Path, card: states.Card, *, quiet: bool) -> None:
        """card: what the state says, but for how far the run is. A run that goes on finds it on the disk."""
        self.run, self.card, self.quiet = run, card, quiet
        self.target, self.file = target, states.place(target)
        self.there = run.state is not None
        self.every, self.stretch = _interval()
        self.began = time.monotonic() - card.seconds
        self.due = time.monotonic() + self.every
        self.failed = False

    @property
    def seconds(self) -> float:
        """How long the run has taken, with what it took before it went on."""
        return time.monotonic() - self.began

    @property
    def how(self) -> str:
        """How to go on, in words; "" where there is no state."""
        return f"{how_to_go_on(self.target)} goes on from there" if self.there else ""

    def __call__(self, step: Step) -> None:
        """Save if it is time."""
        if time.monotonic() >= self.due:
            self.save()

    def save(self) -> None:
        """Save what the run knows; where it cannot be, the state saved before stays, and a note says so, once."""
        state, began = self.run.state, time.monotonic()
        if state is None:
            return
        done = state.at(self.run.scales).done
        self.card = self.card.model_copy(update={"done": done, "seconds": self.seconds})
        try:
            states.write(self.file, self.card, state)
            self.there, self.failed = True, False
        except (SaveError, OutputError) as error:
            if not self.failed:
                kept = "the one before is kept" if self.there else "so far there is none"
                note(f"the run's state could not be saved, {kept}: {error}", quiet=self.quiet)
            self.failed = True
        now = time.monotonic()
        self.due = now + max(self.every, (now - began) / MOST_OF_THE_TIME if self.stretch else 0)

    @contextlib.contextmanager
    def whatever_happens(self) -> Iterator[None]:
        """Save before an error leaves the block, be it a bug."""
        try:
            yield
        except Exception:
            self.save()
            if self.there:
                note(self.how, quiet=self.quiet)
            raise

    def announce(self, data: bytes, *, whole: bool) -> None:
        """Know the picture that is about to be written as this run's own. whole: whether it is the finished one.

        A run that was so short that there is no state needs none for its finished picture.
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
