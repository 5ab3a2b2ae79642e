"""How long a job still takes."""

from __future__ import annotations

import time

LEAST_SHARE = 0.03  # share of the work after which its pace is known


class Clock:
    """Estimates the time a job has left from its pace since the first step."""

    def __init__(self) -> None:
        self.started = 0.0
        self.first = 0.0

    def left(self, done: float) -> float | None:
        """Seconds; None while too little is known. done: share of the work, 0..1."""
        now = time.monotonic()
        if not self.started:
            self.started, self.first = now, done
        if done - self.first < LEAST_SHARE:
            return None
        return (now - self.started) * (1 - done) / (done - self.first)
