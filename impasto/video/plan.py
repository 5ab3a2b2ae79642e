"""What a video job will make, and the time and memory it will take, estimated from its first frame."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from impasto.compute import settings
from impasto.jobs.forecast import forecast
from impasto.ladder import Size
from impasto.run import Run
from impasto.video.job import Video
from impasto.video.moments import Moment, moments
from impasto.video.painters import BETWEEN_STEPS, DISTANCES, KEY_EVERY, KEY_STEPS, STEPS, half_of
from impasto.video.session import Session, Times

HELD = 90  # bytes for each pixel of a frame that is kept in memory: its pixels, its result, and the motion to the next
NETWORK = 250  # bytes for each pixel that the network takes (docs/instant.md)


@dataclass(frozen=True)
class Plan:
    """frames: how many, about. size: (height, width) in pixels. length, seconds: of the result, and of the work. memory: in bytes."""

    frames: int
    size: Size
    length: Fraction
    seconds: float
    memory: int


@settings.default_settings()
def plan(video: Video, clock: Callable[[], float] = time.perf_counter) -> Plan:
    """Estimate. Raises UsageError as `run` does."""
    return plan_of(Session.of(video), clock)


def plan_of(session: Session, clock: Callable[[], float] = time.perf_counter) -> Plan:
    """The same for an opened job. It paints a frame or two, so that it takes some seconds at most."""
    times: Times = []
    first = next(moments(session.frames(0, times)))
    took, memory = _for_a_frame(session, first, clock)
    length = session.clip.seconds_in(session.video.window)
    return Plan(session.count, session.size, length, session.count * took, memory)


def _for_a_frame(session: Session, first: Moment, clock: Callable[[], float]) -> tuple[float, int]:
    """Seconds and bytes that a frame takes on average."""
    stills = session.stills

    def optimizer(**changes: Any) -> float:
        return forecast(Run(stills.problem(first, **changes), stills.limit), clock)

    def timed(work: Callable[[], object]) -> float:
        work()
        started = clock()
        work()
        return clock() - started

    own = timed(lambda: stills.network(first)) + timed(lambda: first.motion_from(first))
    pixels, half = math.prod(first.size), half_of(first)
    quality = session.video.options.quality
    if quality == "instant":
        return own, pixels * (2 * HELD + NETWORK)
    peak = Run(stills.problem(first), stills.limit).plan(first.size).peak
    if quality == "normal":
        key = optimizer(iterations=KEY_STEPS, init_size=half) / KEY_EVERY
        return own + key + optimizer(iterations=BETWEEN_STEPS, init_size=max(first.size)), peak + pixels * HELD * (
            KEY_EVERY + 1
        )
    took = own + optimizer(iterations=STEPS, init_size=half) + 2 * timed(lambda: first.motion_from(first))
    return took, peak + pixels * HELD * (max(DISTANCES) + 1)
