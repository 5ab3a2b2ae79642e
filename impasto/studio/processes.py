"""The processes behind the server: one previewer, and painters. They are started again when they die.

All are spawned, never forked: torch's threads do not survive a fork.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import sqlite3
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from impasto.studio import painter, previewer
from impasto.studio.previewer import Answer
from impasto.studio.queue import Queue

_SPAWN = multiprocessing.get_context("spawn")
PATIENCE = 60.0  # seconds that a request may take before the previewer is started again
MOST_WAITING = 100  # requests for the previewer
MOST_EACH = 12  # of them for one client's pictures
AT_ONCE = 1.0  # seconds between looks at the painters
LAST_CHANCE = 10.0  # seconds a painter has to save its state when the server ends


class SupersededError(Exception):
    """A newer request of the same stream came before this one began."""


@dataclass(frozen=True)
class _Request:
    name: str
    arguments: dict[str, Any]
    future: Future[Answer] = field(default_factory=Future)


class Previewing:
    """The previewer's requests, one at a time: of each stream only the newest waits."""

    def __init__(self, max_pixels: int, device: str) -> None:
        self._arguments = (max_pixels, device)
        self._waiting: OrderedDict[tuple[str, str], _Request] = OrderedDict()
        self._changed = threading.Condition()
        self._ended = False
        self._number = 0
        self._process: Any = None
        self._pipe: Connection | None = None
        self._thread = threading.Thread(target=self._serve, name="previewing", daemon=True)
        self._thread.start()

    def ask(self, name: str, /, *, client: str = "", stream: str = "", **arguments: Any) -> Future[Answer]:
        """A method of `Previewer`, to be called in its process. stream: of a client; replaces its earlier request that waits, by
        SupersededError.
        """
        request = _Request(name, arguments)
        with self._changed:
            mine = sum(1 for key in self._waiting if client and key[0] == client and key[1] != stream)
            full = mine >= MOST_EACH or len(self._waiting) >= MOST_WAITING
        if full:
            request.future.set_result(Answer(error="The server is busy. Try again in a moment.", kind="busy"))
            return request.future
        with self._changed:
            self._number += 1
            key = (client, stream) if stream else ("", str(self._number))
            earlier = self._waiting.pop(key, None)
            self._waiting[key] = request
            self._changed.notify()
        if earlier:
            earlier.future.set_exception(SupersededError())
        return request.future

    def end(self) -> None:
        """Stop the process."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(timeout=LAST_CHANCE)

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if self._ended:
                    break
                _, request = self._waiting.popitem(last=False)
            if request.future.set_running_or_notify_cancel():
                request.future.set_result(self._answer(request))
        self._stop()

    def _answer(self, request: _Request) -> Answer:
        try:
            pipe = self._pipe if self._pipe and self._process.is_alive() else self._start()
            pipe.send((request.name, request.arguments))
            if pipe.poll(PATIENCE):
                answer: Answer = pipe.recv()
                return answer
            why = f"it took more than {PATIENCE:.0f} s"
        except (EOFError, OSError):
            why = "the process that reads it ended"
        self._stop()
        return Answer(error=f"This cannot be read: {why}.", kind="picture")

    def _start(self) -> Connection:
        self._stop()
        mine, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=previewer.serve, args=(*self._arguments, theirs), daemon=True, name="previewer")
        self._process.start()
        theirs.close()
        self._pipe = mine
        return mine

    def _stop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.join(timeout=0.5)
            self._process.kill()
            self._process.join()
        self._pipe = self._process = None


class Painting:
    """The painters: as many as asked for, on their devices. A thread looks after them."""

    def __init__(self, queue: Queue, devices: list[str]) -> None:
        self.queue = queue
        self._devices = devices
        self._running: list[tuple[Any, Connection] | None] = [None] * len(devices)
        self._ended = threading.Event()
        atexit.register(self._let_go)
        self._thread = threading.Thread(target=self._look_after, name="painting", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> list[bool]:
        """Whether each painter runs."""
        return [one is not None and one[0].is_alive() for one in self._running]

    def end(self) -> None:
        """Have every painter save its state and end."""
        atexit.unregister(self._let_go)
        self._ended.set()
        self._thread.join(timeout=LAST_CHANCE)
        self._let_go()
        until = time.monotonic() + LAST_CHANCE
        for one in self._running:
            if one:
                one[0].join(timeout=max(0.0, until - time.monotonic()))
                if one[0].is_alive():
                    one[0].kill()
                    one[0].join()
                    self.queue.crashed(one[0].pid)

    def _let_go(self) -> None:
        """Have the painters notice that this is the end. They are no daemons, which could not start the workers of a batch. A program
        that ended without this would wait for them.
        """
        self._ended.set()
        for one in self._running:
            if one:
                one[1].close()

    def _look_after(self) -> None:
        while not self._ended.is_set():
            for place, device in enumerate(self._devices):
                with contextlib.suppress(sqlite3.Error, OSError):  # a full disk, or too many open files: the next look will do
                    self._replace(place, device)
            self._ended.wait(AT_ONCE)

    def _replace(self, place: int, device: str) -> None:
        """Start a painter where none runs."""
        one = self._running[place]
        if one is not None and one[0].is_alive():
            return
        if one is not None:
            one[1].close()
            self.queue.crashed(one[0].pid)
        self._running[place] = self._started(device)

    def _started(self, device: str) -> tuple[Any, Connection]:
        mine, theirs = _SPAWN.Pipe()
        root: Path = self.queue.store.files.root
        process = _SPAWN.Process(target=painter.work, args=(root, device, theirs, len(self._devices)), name=f"painter {device}")
        process.start()
        theirs.close()
        return process, mine
