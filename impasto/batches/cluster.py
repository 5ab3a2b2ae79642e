"""A crew on the machines of a Ray cluster: actors, each with a `Painter`, on one GPU or on so many cores.

Ray places the actors, starts them again elsewhere as there is room, and carries items and results. Photographs and results do not pass
through it: every machine reads and writes the shared folder, or the addresses, itself. Items are handed out one by one to actors that
are ready, two at a time each, so that a lost machine costs the time of the image that it was painting and nothing waits for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from impasto import files
from impasto.batches import places
from impasto.batches.crew import LAST_CHANCE, Done, Lost, Ready, Report
from impasto.batches.events import Result
from impasto.batches.sources import Source
from impasto.batches.work import Item, Settings
from impasto.errors import RunError, UsageError
from impasto.inputs import style_names

MOST_STILLBORN = 3  # actors in a row that end before they are ready
REACHED = 10.0  # seconds within which a cluster must answer


class Hand:
    """What an actor is: a `Painter` on some machine of the cluster."""

    def __init__(self, settings: Settings) -> None:
        import ray

        from impasto.batches.painter import Painter

        self._node = str(ray.get_runtime_context().get_node_id())[:8]
        self._painter = Painter(settings, f"node {self._node}")
        self._stopped = threading.Event()

    def ready(self) -> str:
        """The machine that it is on."""
        return self._node

    def paint(self, number: int, item: Item) -> Result | None:
        """Paint an item. None if the batch was stopped."""
        from impasto.batches.painter import StoppedError

        def tell(done: float) -> None:
            if self._stopped.is_set():
                raise StoppedError

        try:
            tell(0.0)
            return self._painter.paint(number, item, tell)
        except StoppedError:
            return None

    def stop(self) -> None:
        """Have `paint` end after its step."""
        self._stopped.set()


@dataclass
class _Actor:
    handle: Any
    ready: bool = False
    items: deque[int] = field(default_factory=deque)


class Actors:
    """The actors of a batch. address: of the cluster; "auto" finds one that this machine belongs to. on_gpu: whether GPUs may paint.

    Raises UsageError without Ray, and RunError where there is no cluster.
    """

    def __init__(self, settings: Settings, address: str, *, on_gpu: bool) -> None:
        self._ray = ray = _ray()
        self._mine = not ray.is_initialized()
        try:
            _check_reached(address)
            if self._mine:
                ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
        except Exception as error:  # Ray raises ConnectionError, ValueError, RuntimeError and its own
            raise RunError(
                f"there is no Ray cluster at {files.one_line(address)} ({files.one_line(str(error))})",
                remedy="start one with `ray start --head`, or name its address",
            ) from error
        self._gpus = int(ray.cluster_resources().get("GPU", 0)) if on_gpu else 0
        self._settings = replace(
            settings, output=_shared(settings.output), weights=settings.weights and _shared(settings.weights)
        )
        self._known = dict[int, _Actor]()
        self._waiting = dict[Any, tuple[int, int | None]]()  # of every call: its actor, and its item or None
        self._items = dict[int, Item]()
        self._next, self._stillborn = 0, 0

    def room(self) -> int:
        """How many actors the cluster has room for."""
        cores = int(self._ray.cluster_resources().get("CPU", 1))
        return max(1, self._gpus or cores // self._settings.threads)

    def start(self, count: int) -> None:
        """Ask for actors until there are so many. They are ready as soon as Ray has found room for them."""
        while len(self._known) < count:
            settings = replace(self._settings, workers=count)
            needs = {"num_gpus": 1} if self._gpus else {"num_cpus": self._settings.threads}
            kind = self._ray.remote(**needs, max_restarts=0, concurrency_groups={"paint": 1, "control": 1})(Hand)
            handle = kind.remote(settings)
            self._known[self._next] = _Actor(handle)
            self._waiting[handle.ready.options(concurrency_group="paint").remote()] = (self._next, None)
            self._next += 1

    def loads(self) -> dict[int, int]:
        """How many items each actor that is ready has."""
        return {number: len(one.items) for number, one in self._known.items() if one.ready}

    def give(self, worker: int, number: int, item: Item) -> None:
        """Give an actor an item."""
        one, self._items[number] = self._known[worker], item
        one.items.append(number)
        call = one.handle.paint.options(concurrency_group="paint").remote(number, item.with_places(_of))
        self._waiting[call] = (worker, number)

    def wait(self, seconds: float) -> list[Report]:
        """What has happened. Raises RunError if actors die before they are ready, or the cluster is lost."""
        if not self._waiting:
            time.sleep(seconds)
            return []
        found, _ = self._ray.wait(list(self._waiting), num_returns=1, timeout=seconds)
        if found:
            more, _ = self._ray.wait(list(self._waiting), num_returns=len(self._waiting), timeout=0)
            found = more or found
        return [report for call in found if call in self._waiting for report in self._heard(call)]

    def _heard(self, call: Any) -> Iterator[Report]:
        worker, number = self._waiting.pop(call)
        try:
            said = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            yield from self._lost(worker, error)
            return
        one = self._known[worker]
        if number is None:
            one.ready, self._stillborn = True, 0
            yield Ready(worker)
        elif said is not None:
            one.items.remove(number)
            yield Done(worker, self._as_named(number, said))

    def _lost(self, worker: int, error: Exception) -> Iterator[Report]:
        one = self._known.pop(worker)
        self._waiting = {call: of for call, of in self._waiting.items() if of[0] != worker}
        self._stillborn += not one.ready
        if self._stillborn > MOST_STILLBORN:
            raise RunError(f"actors cannot be started on the Ray cluster: {files.one_line(str(error.__cause__ or error))}")
        with contextlib.suppress(Exception):  # it is gone already
            self._ray.kill(one.handle)
        yield Lost(worker, tuple(one.items), "was lost with its machine, or ended")

    def _as_named(self, number: int, result: Result) -> Result:
        """A result with the places as the user named them."""
        item = self._items.pop(number)
        return replace(result, photo=item.photo.place, styles=tuple(style.place for style in item.styles))

    def stop(self, *, finished: bool) -> None:
        """End all actors."""
        try:
            if not finished and self._waiting:
                for one in self._known.values():
                    one.handle.stop.options(concurrency_group="control").remote()
                painting = [call for call, (_, number) in self._waiting.items() if number is not None]
                if painting:
                    self._ray.wait(painting, num_returns=len(painting), timeout=LAST_CHANCE)
        finally:
            for one in self._known.values():
                with contextlib.suppress(Exception):  # whatever has become of the cluster
                    self._ray.kill(one.handle)
            self._known.clear()
            if self._mine:
                self._ray.shutdown()


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UsageError("Ray is not installed", remedy='install it with `pip install "impasto[ray]"`') from error
    return ray


def _check_reached(address: str) -> None:
    """Raise OSError if nothing answers at host:port. Ray itself would wait for minutes."""
    found = re.fullmatch(r"([^/]+):(\d{1,5})", address)
    if found:
        socket.create_connection((found[1].strip("[]"), int(found[2])), timeout=REACHED).close()


def _of(source: Source) -> Source:
    """A source whose place is the same in every working directory."""
    if not source.kind and source.place in style_names() and not files.is_file(source.place):
        return source
    return replace(source, place=_shared(source.place))


def _shared(place: str) -> str:
    """A file's absolute path; an address as it is."""
    place = places.plain(place)
    return place if places.is_address(place) else os.path.abspath(place)  # noqa: PTH100  (it follows no links)
