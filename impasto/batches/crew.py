"""Who paints: the interface of a crew of workers, and worker processes on this machine.

Processes are spawned, never forked: torch's threads do not survive a fork. Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from types import FrameType, ModuleType
from typing import Any, Protocol

from impasto.batches.events import Result
from impasto.batches.work import Item, Settings
from impasto.errors import RunError

AHEAD = 2  # items that a worker has at once: it never waits for the next one
EVERY = 0.25  # seconds between reports of an image's progress
LAST_CHANCE = 30.0  # seconds that workers have to end their step and save when a batch stops
_SPAWN = multiprocessing.get_context("spawn")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Ready:
    """A worker waits for items."""

    worker: int


@dataclass(frozen=True)
class Part:
    """The share of an item that is done, 0..1."""

    number: int
    done: float


@dataclass(frozen=True)
class Done:
    """An item has its result."""

    worker: int
    result: Result


@dataclass(frozen=True)
class Lost:
    """A worker is gone. numbers: its items, in order: it was painting the first one. why: in words."""

    worker: int
    numbers: tuple[int, ...]
    why: str


Report = Ready | Part | Done | Lost


class Crew(Protocol):
    """Workers. Whoever has few items is given more; `wait` says what happened."""

    def start(self, count: int) -> None:
        """Have so many workers, now or as soon as there is room for them."""

    def loads(self) -> dict[int, int]:
        """How many items each worker that is ready has."""

    def give(self, worker: int, number: int, item: Item) -> None:
        """Give a worker an item."""

    def wait(self, seconds: float) -> list[Report]:
        """What has happened, as soon as something has."""

    def stop(self, *, finished: bool) -> None:
        """End all workers. finished: nothing is being painted; otherwise they end their step and save its state."""


# ---------------------------------------------------------------------------------------------------------- processes


@dataclass
class _Process:
    """A worker. pipe: for items and reports. line: closed when the batch stops. items: those it has."""

    process: Any
    pipe: Connection
    line: Connection
    ready: bool = False
    items: deque[int] = field(default_factory=deque)


class Processes:
    """Worker processes on this machine. devices: GPUs to spread them over; none for the CPU."""

    def __init__(self, settings: Settings, devices: int = 0) -> None:
        self._settings, self._devices = settings, devices
        self._known = dict[int, _Process]()
        self._next = 0
        self._stillborn = 0  # workers in a row that ended before they were ready

    def start(self, count: int) -> None:
        """Start processes until there are so many."""
        while len(self._known) < count:
            self._known[self._next] = self._started(self._next)
            self._next += 1

    def _started(self, number: int) -> _Process:
        mine, theirs = _SPAWN.Pipe()
        line, their_line = _SPAWN.Pipe()
        gpu = str(number % self._devices) if self._devices else None
        process = _SPAWN.Process(
            target=work, args=(self._settings, number, gpu, theirs, their_line), daemon=True, name=f"impasto batch {number + 1}"
        )
        with _without_main():
            process.start()
        theirs.close()
        their_line.close()
        return _Process(process, mine, line)

    def loads(self) -> dict[int, int]:
        """How many items each worker that is ready has."""
        return {number: len(one.items) for number, one in self._known.items() if one.ready}

    def give(self, worker: int, number: int, item: Item) -> None:
        """Give a worker an item. One that has died meanwhile is reported by `wait`."""
        one = self._known[worker]
        one.items.append(number)
        with contextlib.suppress(OSError):
            one.pipe.send((number, item))

    def wait(self, seconds: float) -> list[Report]:
        """What has happened. Raises RunError if workers die before they are ready."""
        by_handle: dict[Any, int] = {}
        for number, one in self._known.items():
            by_handle |= {one.pipe: number, one.process.sentinel: number}
        reports = list[Report]()
        for number in dict.fromkeys(by_handle[handle] for handle in connection.wait(list(by_handle), seconds)):
            reports += self._heard(number)
        return reports

    def _heard(self, number: int) -> Iterator[Report]:
        one = self._known[number]
        try:
            while one.pipe.poll():
                yield self._of(number, one, one.pipe.recv())
        except (EOFError, OSError):
            one.process.join(timeout=5)
        if one.process.exitcode is None:
            return
        del self._known[number]
        one.pipe.close()
        one.line.close()
        why = _ended(one.process.exitcode)
        self._stillborn = 0 if one.ready else self._stillborn + 1
        if self._stillborn > 2:
            raise RunError(f"workers cannot be started: each {why} before it was ready")
        yield Lost(number, tuple(one.items), why)

    @staticmethod
    def _of(number: int, one: _Process, said: Any) -> Report:
        if isinstance(said, Result):
            one.items.popleft()
            return Done(number, said)
        if isinstance(said, float):
            return Part(one.items[0], said)
        one.ready = True
        return Ready(number)

    def stop(self, *, finished: bool) -> None:
        """End all processes, and kill those that take too long."""
        processes = list(self._known.values())
        self._known.clear()
        try:
            for one in processes:
                one.line.close()
                one.pipe.close()
            until = time.monotonic() + LAST_CHANCE
            for one in processes:
                one.process.join(timeout=max(0.0, until - time.monotonic()))
        finally:
            for one in processes:
                if one.process.exitcode is None:
                    one.process.kill()
                    one.process.join()


def _ended(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"was ended by signal {name}" + (", as when memory runs out" if name == "SIGKILL" else "")


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Start processes that do not import the program's main module again.

    They do not need it, and a script without `if __name__ == "__main__"` would start itself again.
    """
    main = sys.modules.get("__main__")
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        if main is not None:
            sys.modules["__main__"] = main


# --------------------------------------------------------------------------------------------------- in the process


def work(settings: Settings, number: int, gpu: str | None, pipe: Connection, line: Connection) -> None:
    """A worker process: paint what the pipe says until it, or the line, is closed. gpu: which one it sees."""
    stopped = _Stopped(line)
    os.environ |= dict.fromkeys(_THREADS, str(settings.threads))  # before torch loads
    if gpu is not None and "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    from impasto.batches.painter import Painter, StoppedError

    painter, said = Painter(settings, f"process {number + 1}"), 0.0

    def tell(done: float) -> None:
        nonlocal said
        if stopped():
            raise StoppedError
        if time.monotonic() - said >= EVERY:
            said = time.monotonic()
            pipe.send(done)

    with contextlib.suppress(EOFError, OSError, StoppedError):
        pipe.send("ready")
        while not stopped():
            if connection.wait([pipe, line]) == [line]:
                return
            place, item = pipe.recv()
            pipe.send(painter.paint(place, item, tell))


class _Stopped:
    """Whether the batch has stopped, by its program or with it, or this process was asked to end."""

    def __init__(self, line: Connection) -> None:
        self._line, self._asked = line, False
        for name in ("SIGINT", "SIGHUP"):  # for the program, which ends this process
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._ask)

    def __call__(self) -> bool:
        return self._asked or self._line.poll()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
