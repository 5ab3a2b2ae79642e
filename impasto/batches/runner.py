"""Running a batch: from its work to results, as an iterator of events."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from impasto import files
from impasto.batches import places
from impasto.batches.crew import AHEAD, Crew, Done, Lost, Part, Processes
from impasto.batches.events import Event, Result, State, Status
from impasto.batches.journal import Journal
from impasto.batches.ledger import NAME, Ledger
from impasto.batches.order import Order
from impasto.batches.work import Work, result_of
from impasto.errors import OutputError, SaveError
from impasto.extras import cores, has_torch, needs_torch
from impasto.jobs import signals
from impasto.jobs.events import Note
from impasto.jobs.lock import alone

WAIT = 0.5  # seconds between reports of how far it is
MOST_CRASHES = 2  # of workers on one item, after which it has failed
LEAST_KNOWN = 2.0  # seconds of painting after which the rate is known


def gpus(work: Work) -> int:
    """The CUDA devices that the items may use; 0 where they are painted on the CPU."""
    if all(item.options.device == "cpu" for item in work.items):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def run(
    work: Work, *, workers: int | None = None, ray: str | None = None, retry_failed: bool = False
) -> Generator[Event, None, None]:
    """Paint all items. Yields a Result for each in the order in which they are finished, a Status now and then, and Notes.

    workers: that paint at once; None for one to a GPU, or one to every `threads` cores. ray: the address of a Ray cluster, or
    "auto", to paint there. retry_failed: try again also what failed before and has not changed since. Closing the iterator, or Ctrl-C,
    stops the workers after their step; the same work continues from there. Raises OutputError if another run writes there, and
    RunError if workers cannot be started.
    """
    if not has_torch():
        raise needs_torch("this")
    folder = places.Folder(work.settings.output)
    folder.make()
    with contextlib.nullcontext() if folder.local is None else _alone(folder.local):
        ledger = Ledger(folder, len(work.items))
        folder.sweep()
        yield from map(Note, work.notes)
        batch = _Batch(work, folder, ledger, retry_failed=retry_failed)
        yield from batch.skipped()
        finished = False
        try:
            if len(batch.order):
                yield from batch.painted(*_crew(work, workers, ray))
            finished = True
        finally:
            with signals.ignored(), contextlib.suppress(SaveError, OutputError) if not finished else contextlib.nullcontext():
                ledger.write(finished=finished, now=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with alone(folder / NAME):
            yield
    except OutputError as error:
        if not error.problem.startswith("another run is writing"):
            raise
        raise OutputError(
            f"another batch is writing to {files.printable(folder)}; wait for it, or choose another folder"
        ) from None


def _crew(work: Work, workers: int | None, ray: str | None) -> tuple[Crew, int]:
    """Who paints, and how many of them."""
    count = len(work.items)
    if ray is not None:
        from impasto.batches.cluster import Actors

        actors = Actors(work.settings, ray, on_gpu=any(item.options.device != "cpu" for item in work.items))
        return actors, min(workers or actors.room(), count)
    devices = gpus(work)
    number = min(workers or devices or max(1, cores() // work.settings.threads), count)
    return Processes(replace(work.settings, workers=number), devices), number


class _Batch:
    """The items of a run, and what has become of them."""

    def __init__(self, work: Work, folder: places.Folder, ledger: Ledger, *, retry_failed: bool) -> None:
        self.work, self.folder, self.ledger = work, folder, ledger
        self.journal = Journal(folder, metadata=work.settings.metadata)
        self.known_bad = {} if retry_failed else self._known_bad()
        items = enumerate(work.items)
        self.order = Order((number, item) for number, item in items if number not in self.known_bad)
        self.crashes = dict[int, int]()  # of workers, by item
        self.parts = dict[int, float]()
        self.clock = _Clock()

    def _known_bad(self) -> dict[int, str]:
        """The items that failed before and would fail again, with their problem."""
        if not self.ledger.before:
            return {}
        found = ((number, self.ledger.failed_before(item)) for number, item in enumerate(self.work.items))
        return {number: failure["problem"] for number, failure in found if failure}

    def skipped(self) -> Iterator[Event]:
        """The results of those."""
        for number, problem in self.known_bad.items():
            yield self._finished(number, self._result(number, "skipped", problem=problem))

    def painted(self, crew: Crew, count: int) -> Iterator[Event]:
        """The results of all others."""
        finished = False
        left = len(self.order)
        try:
            while left:
                crew.start(min(count, left))
                self._hand_out(crew, count)
                for report in crew.wait(WAIT):
                    if isinstance(report, Done):
                        left -= 1
                        self.clock.finished(report.result)
                        yield self._finished(report.result.number, report.result)
                    elif isinstance(report, Part):
                        self.parts[report.number] = report.done
                    elif isinstance(report, Lost):
                        for result in self._lost(report):
                            left -= 1
                            yield self._finished(result.number, result)
                    self._hand_out(crew, count)
                self.ledger.write(finished=False)
                yield self._status(left, len(crew.loads()))
            finished = True
        finally:
            with signals.ignored() if finished else contextlib.nullcontext():
                crew.stop(finished=finished)
            if self.crashes:
                self.folder.sweep()

    def _hand_out(self, crew: Crew, count: int) -> None:
        """Give every worker that is ready its next items. Where few wait, each gets one, also the workers that are not ready yet."""
        for most in range(1, AHEAD + 1):
            for worker, load in crew.loads().items():
                if load < most and len(self.order) > (count if load else 0):
                    number, item = self.order.next(worker)
                    crew.give(worker, number, self.journal.handed_out(item))

    def _lost(self, report: Lost) -> Iterator[Result]:
        """Try the items of a worker that is gone again. Yields a result for one that has ended too many workers."""
        self.order.forget(report.worker)
        for place, number in reversed(list(enumerate(report.numbers))):
            self.parts.pop(number, None)
            self.crashes[number] = self.crashes.get(number, 0) + (place == 0)
            if place == 0 and self.crashes[number] >= MOST_CRASHES:
                problem = f"its worker {report.why}, {MOST_CRASHES} times"
                yield self._result(number, "failed", problem=problem, again=True)
            else:
                self.order.put_back(number, self.work.items[number])

    def _result(self, number: int, state: State, **more: Any) -> Result:
        return result_of(number, self.work.items[number], self.folder, state, **more)

    def _finished(self, number: int, result: Result) -> Result:
        self.parts.pop(number, None)
        self.ledger.add(self.work.items[number], result)
        self.journal.add(self.work.items[number], result)
        return result

    def _status(self, left: int, workers: int) -> Status:
        counts, parts = self.ledger.counts, sum(self.parts.values())
        rate = self.clock.rate(parts)
        return Status(
            items=len(self.work.items),
            done=len(self.work.items) - left + parts,
            painted=counts["painted"],
            kept=counts["kept"],
            failed=counts["failed"] + counts["skipped"],
            workers=workers,
            rate=rate,
            left=None if not rate else max(0.0, left - parts) / rate * 60,
        )


class _Clock:
    """The rate of painting. Images that are there already, which take no time, do not count."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.painted = 0

    def finished(self, result: Result) -> None:
        """Count an image."""
        if self.began is None:
            self.began = time.monotonic() - result.seconds
        self.painted += result.state == "painted"

    def rate(self, parts: float) -> float | None:
        """Images a minute; None while too little is known. parts: shares of those that are being painted."""
        if self.began is None or time.monotonic() - self.began < LEAST_KNOWN or not self.painted + parts:
            return None
        return (self.painted + parts) / (time.monotonic() - self.began) * 60
