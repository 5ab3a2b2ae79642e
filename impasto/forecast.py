"""How long a run is going to take, judged by small pieces of it that are done for the purpose."""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Callable
from statistics import median

import torch

from impasto import pictures
from impasto.devices import HistoryKind, memory_kept, work
from impasto.optimize import HISTORY, LBFGS, STEP_OVERHEAD
from impasto.stylizer import Run

TRIAL = 512  # pixels, the longer side of what is computed at once for a trial; of blocks one is
NEW = 1 << 27  # bytes: of memory that is asked for, to see how long that takes
TRIALS = 3  # of which the middle one counts; the first also sets things up
SETUP = 0.7  # steps whose time a scale takes before its first: the features of photograph and painting, without gradients

Clock = Callable[[], float]


@memory_kept()
def forecast(run: Run, clock: Clock = time.perf_counter) -> float:
    """About how many seconds of `clock` a run takes, from its first scale to its last step. Takes some itself."""
    paces: dict[int | None, float] = {}
    moves: dict[HistoryKind, float] = {}
    total = 0.0
    for scale in run.scales:
        plan = run.plan(scale.size)
        if plan.side not in paces:
            paces[plan.side] = _pace(run, plan.side, clock)
        if plan.history not in moves:
            moves[plan.history] = _pace_of_moves(run, plan.history, clock)
        total += (scale.steps + SETUP) * paces[plan.side] * (plan.work + STEP_OVERHEAD)
        total += scale.steps * moves[plan.history] * math.prod(scale.size)
    peak = max((run.plan(scale.size).peak for scale in run.scales), default=0)
    return total + _pace_of_memory(clock) * peak


def _pace(run: Run, side: int | None, clock: Clock) -> float:
    """Seconds that losses and gradient take for a pixel of work (`Plan.work`), at once or in blocks of a side."""
    size = pictures.fit(run.photo.size, min(side or TRIAL, max(run.size)))
    if min(size) < run.encoder.minimum_side:  # a narrow picture
        size = run.size
    way, picture, seconds = run.way(size, side), pictures.resize(run.pixels, size), list[float]()
    for _ in range(TRIALS):
        began = clock()
        way(picture)
        seconds.append(clock() - began)
    return median(seconds) / (work(size, side, run.appetite) + STEP_OVERHEAD)


def _pace_of_memory(clock: Clock) -> float:
    """Seconds until a byte of memory that nothing has used yet is there: the system clears it first."""
    began = clock()
    torch.frombuffer(mmap.mmap(-1, NEW), dtype=torch.uint8).fill_(1)  # the C library would give what it has kept
    return (clock() - began) / NEW


def _pace_of_moves(run: Run, kind: HistoryKind, clock: Clock) -> float:
    """Seconds that L-BFGS's step takes for a pixel, with its history full; judged on a bowl."""
    size = pictures.fit(run.photo.size, min(TRIAL, max(run.size)))
    lbfgs = LBFGS(torch.Size((1, 3, *size)), metric=run.metric(size), history=run.history(kind))
    picture, seconds = pictures.resize(run.pixels, size), list[float]()
    for _ in range(HISTORY + TRIALS):
        began = clock()
        picture = picture + lbfgs.move(picture, picture - 0.5)
        seconds.append(clock() - began)
    return median(seconds[HISTORY:]) / math.prod(size)
