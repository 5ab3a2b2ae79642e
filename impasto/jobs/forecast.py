"""How long a run will take, estimated from small pieces of it that are run for the purpose."""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Callable
from statistics import median

import torch

from impasto import pictures
from impasto.compute import allocator, settings
from impasto.compute.memory import PairStore, Plan
from impasto.ladder import STEP_OVERHEAD
from impasto.lbfgs import HISTORY, LBFGS
from impasto.run import Run
from impasto.session import Session

TRIAL = 512  # pixels: the longer side of a trial image computed at once; of a trial in blocks, one block
NEW = 1 << 27  # bytes of memory requested to see how long that takes
TRIALS = 3  # of which the median counts; the first also sets things up
SETUP = 0.7  # steps whose time a scale takes before its first one: the features of photograph and painting, without gradients

Clock = Callable[[], float]


@settings.default_settings()
def forecast(session: Session, clock: Clock = time.perf_counter) -> float:
    """The seconds of `clock` that a session will take, roughly, from its first scale to its last step. Takes some itself."""
    return _of_run(session, clock) if isinstance(session, Run) else _of_levels(session, clock)


def _of_levels(session: Session, clock: Clock) -> float:
    """The first levels are painted, as far as TRIAL pixels; what a pixel takes there, the others take too."""
    pixels, started = 0, clock()
    for scale, _ in zip((scale for scale in session.scales if max(scale.size) <= TRIAL), session, strict=False):
        pixels += math.prod(scale.size)
    total = sum(math.prod(scale.size) for scale in session.scales)
    return (clock() - started) * total / max(1, pixels)


@allocator.kept()
def _of_run(run: Run, clock: Clock) -> float:
    paces: dict[int | None, float] = {}
    moves: dict[PairStore, float] = {}
    total = 0.0
    for scale in run.scales:
        plan = run.plan(scale.size)
        if plan.side not in paces:
            paces[plan.side] = _pace(run, plan.side, clock)
        if plan.pairs not in moves:
            moves[plan.pairs] = _pace_of_moves(run, plan, clock)
        total += (scale.steps + SETUP) * paces[plan.side] * (plan.work + STEP_OVERHEAD)
        total += scale.steps * moves[plan.pairs] * math.prod(scale.size)
    peak = max((run.plan(scale.size).peak for scale in run.scales), default=0)
    return total + _pace_of_memory(clock) * peak


def _pace(run: Run, side: int | None, clock: Clock) -> float:
    """Seconds that losses and gradient take for a pixel of work (`Plan.work`), at once or in blocks of a side."""
    problem = run.problem
    size = pictures.fit(problem.photo.size, min(side or TRIAL, max(problem.size)))
    if min(size) < problem.encoder.minimum_side:  # a narrow image
        size = problem.size
    objective, image, seconds = problem.objective(size, Plan(side)), pictures.resize(problem.pixels, size), list[float]()
    for _ in range(TRIALS):
        started = clock()
        objective(image)
        seconds.append(clock() - started)
    return median(seconds) / (run.memory.work(size, side) + STEP_OVERHEAD)


def _pace_of_memory(clock: Clock) -> float:
    """Seconds until a byte of memory is available that nothing has used yet: the system clears it first."""
    started = clock()
    torch.frombuffer(mmap.mmap(-1, NEW), dtype=torch.uint8).fill_(1)  # not by the C library, which would give what it has kept
    return (clock() - started) / NEW


def _pace_of_moves(run: Run, plan: Plan, clock: Clock) -> float:
    """Seconds that L-BFGS's step takes for a pixel with all its pairs, measured on a quadratic bowl."""
    problem = run.problem
    size = pictures.fit(problem.photo.size, min(TRIAL, max(problem.size)))
    lbfgs = LBFGS(torch.Size((1, 3, *size)), metric=problem.metric(size), store=run.pairs(plan))
    image, seconds = pictures.resize(problem.pixels, size), list[float]()
    for _ in range(HISTORY + TRIALS):
        started = clock()
        image = image + lbfgs.move(image, image - 0.5)
        seconds.append(clock() - started)
    return median(seconds[HISTORY:]) / math.prod(size)
