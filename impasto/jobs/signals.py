"""Signals that stop a run: Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

INTERRUPTED = 130  # exit code after Ctrl-C, as in shells
MOMENT = 1.0  # seconds in which signals come together, as when a terminal closes


class StoppedError(KeyboardInterrupt):
    """Like Ctrl-C, by another signal. code: the exit code, as in shells."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number
        self.reason = "ended by a signal" if number == signal.SIGTERM else "interrupted when the terminal was closed"


def how_stopped(stopped: KeyboardInterrupt) -> tuple[str, int]:
    """The reason in words, and the exit code."""
    return (stopped.reason, stopped.code) if isinstance(stopped, StoppedError) else ("interrupted", INTERRUPTED)


def _signals() -> list[signal.Signals]:
    """Termination signals that are not ignored (as by nohup, or by a shell for background jobs)."""
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) != signal.SIG_IGN]


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Have SIGTERM and SIGHUP stop a run as Ctrl-C does. Several signals within a moment count as one."""
    last = -math.inf

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > MOMENT:
            raise KeyboardInterrupt if number == signal.SIGINT else StoppedError(number)

    with _handled(_signals(), stop):
        yield


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    """Ignore these signals, so that a second one does not spoil the saving that the first one started."""
    with _handled(_signals(), signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handled(numbers: list[signal.Signals], handler: signal._HANDLER) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only it may set handlers, and only it gets signals
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, one in before.items():
            if one is not None:  # set by other means than Python
                signal.signal(number, one)
