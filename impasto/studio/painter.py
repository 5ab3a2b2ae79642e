"""The worker process that carries out jobs, one after another, until its server ends.

It reports to the database. What it does not get to report, because it dies, `processes` and the next start find out.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Generator
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from impasto import files
from impasto.batches import Status
from impasto.errors import ImpastoError
from impasto.extras import on_one_gpu
from impasto.jobs.clock import Clock
from impasto.jobs.events import Failed, Frame, Note, Preview, Progress, Saved, Tile
from impasto.jobs.lock import state_of
from impasto.jobs.signals import INTERRUPTED
from impasto.studio import batching, kinds
from impasto.studio.batching import Ended
from impasto.studio.queue import Queue
from impasto.studio.store import Place, Row, Store
from impasto.studio.words import sentence, without_paths

IDLE = 0.2  # seconds between looks into an empty queue
EVERY = 0.25  # seconds between reports of progress
PREVIEW_QUALITY = 88
LARGEST_PREVIEW = 1280  # pixels: of a clip's frame, longer side
NICE = 10  # so that the previewer and the server come first


def work(root: Path, device: str, server: Connection, painters: int) -> None:
    """The process: carry out jobs until the server has ended. server: a pipe that closes with it. painters: how many there are."""
    ended = _Ended(server)
    if hasattr(os, "nice"):
        os.nice(NICE)
    queue, device = Queue(Store(root)), on_one_gpu(device)
    while not ended():
        try:
            job = queue.claim(os.getpid())
        except sqlite3.OperationalError:  # the disk is full: that may pass
            job = None
        if job is None:
            ended(IDLE)
        else:
            _Work(queue, job, device, ended, painters).carry_out()


class _Ended:
    """Whether the server has ended, or this process was asked to."""

    def __init__(self, server: Connection) -> None:
        self._server, self._asked = server, False
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._ask)

    def __call__(self, wait: float = 0.0) -> bool:
        """wait: seconds to wait for it."""
        return self._asked or self._server.poll(wait)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True


class _Reports:
    """What is entered about a job, from when it was claimed to when it is left."""

    def __init__(self, queue: Queue, job: Row, device: str, ended: _Ended, painters: int) -> None:
        self.queue, self.job, self.device, self.ended, self.painters = queue, job, device, ended, painters
        self.number: str = job["id"]
        self.place: Place = queue.store.files
        self.result = self.place.result(self.number, job["spec"])
        self.clock, self.reported = Clock(), 0.0
        self.previews: int = job["preview"]
        self.notes: list[str] = []

    def _words(self, problem: str | ImpastoError) -> str:
        """An error as people read it, without paths of this machine."""
        return sentence(without_paths(sentence(problem), self.place.root))

    def _end_early(self) -> None:
        """Have the frames of a clip, or the images of a batch, that are painted so far as its result."""
        if self.job["kind"] == "batch":
            failed = (self.job["progress"] or {}).get("failed", 0)
            self._report(batching.ended(self.result, failed, 0.0, stopped=True))
            return
        from impasto.studio import films

        saved = films.end_early(self.queue.store, self.job, self.device)
        if saved is None:
            self.queue.leave(self.number, "cancelled", whole=0)
        else:
            self._report(saved)

    def _report(self, event: Any) -> bool:
        """Enter what happened. Returns whether the job has ended."""
        if isinstance(event, Note):
            self.notes.append(without_paths(event.text, self.place.root))
        elif isinstance(event, Preview):
            self._keep_preview(event.path)
            event.path.unlink(missing_ok=True)
        elif isinstance(event, (Progress, Tile, Frame, Status)):
            self._report_progress(event)
        elif isinstance(event, Ended):
            self._finish_batch(event)
            return True
        elif isinstance(event, Failed):
            self.queue.leave(self.number, "failed", error=self._words(event.problem), notes=self.notes)
            return True
        elif isinstance(event, Saved):
            self.notes = [without_paths(note, self.place.root) for note in event.notes]
            if event.problem and event.exit_code == INTERRUPTED:
                self._finish(event.width, event.height, event.seconds, state="cancelled", whole=0)
            elif event.problem:
                self._finish(
                    event.width, event.height, event.seconds, state="failed", whole=0, error=self._words(event.problem)
                )
            else:
                self._finish(event.width, event.height, event.seconds)
            return True
        return False

    def _report_progress(self, event: Progress | Tile | Frame | Status) -> None:
        done = event.done / event.items if isinstance(event, Status) else event.done
        left, now = event.left if isinstance(event, Status) else self.clock.left(done), time.monotonic()
        if now - self.reported < EVERY and done < 1:
            return
        self.reported = now
        if isinstance(event, Frame):
            self._keep_preview(event.path)
        progress = {"left": None if left is None else round(left, 1)} | _facts(event)
        self.queue.report(self.number, done=done, progress=progress)

    def _keep_preview(self, file: Path) -> None:
        """A preview as a JPEG under the job's id, which replaces the one before."""
        from PIL import Image

        target = self.place.preview(self.number)
        part = target.with_suffix(".part")
        with Image.open(file) as image:
            if self.job["kind"] == "video":
                image.thumbnail((LARGEST_PREVIEW, LARGEST_PREVIEW))
            image.convert("RGB").save(part, "JPEG", quality=PREVIEW_QUALITY)
        part.replace(target)
        self.previews += 1
        self.queue.report(self.number, preview=self.previews)

    def _finish_batch(self, event: Ended) -> None:
        found = {"images": event.images, "bytes": event.bytes} if event.images else None
        state, news = "failed", dict[str, Any](error="None of the photographs could be painted.")
        if event.stopped:
            state, news = "cancelled", {"whole": 0}
        elif found:
            state, news = "done", {"done": 1.0}
        self.queue.leave(self.number, state, result=found, seconds=event.seconds, notes=self.notes, **news)

    def _finish(self, width: int, height: int, seconds: float, *, state: str = "done", **news: Any) -> None:
        size = self.result.stat().st_size if self.result.exists() else 0
        found = {"width": width, "height": height, "bytes": size} if size else None
        if self.job["kind"] == "tune" and state == "done":
            self.queue.store.enter_tuned(self.job["spec"]["styles"][0]["id"])
        if found and self.job["kind"] == "video":
            from impasto.studio import films

            films.keep_poster(self.result, self.place.preview(self.number))
        else:
            self.place.preview(self.number).unlink(missing_ok=True)
        done = {"done": 1.0} if state == "done" else {}
        self.queue.leave(self.number, state, result=found, seconds=seconds, notes=self.notes, **done, **news)


class _Work(_Reports):
    """One job that is carried out."""

    def carry_out(self) -> None:
        """Do it, and report how it ended. Errors of any kind end this job only."""
        try:
            if self._is_done():
                return
            if self.job["kind"] in ("video", "batch") and self.job["wanted"] == "cancel":
                self._end_early()
                return
            self._follow(kinds.events_of(self.queue.store, self.job, self.device, self.painters))
        except ImpastoError as error:
            self.queue.leave(self.number, "failed", error=self._words(error), notes=self.notes)
        except Exception as error:  # a bug, or an image that no test foresaw: the queue continues
            words = f"impasto failed ({type(error).__name__}: {files.one_line(str(error))})"
            self.queue.leave(self.number, "failed", error=self._words(words))

    def _is_done(self) -> bool:
        """Whether an earlier process wrote the whole result and died before it said so."""
        if not self.result.exists() or state_of(self.result).exists():
            return False
        found = _whole(self.job["kind"], self.result)
        if found is not None:
            self._finish(*found)
        return found is not None

    # ------------------------------------------------------------------------------------------------------------- events

    def _follow(self, events: Generator[Any, None, None]) -> None:
        """Go through the events, and do what people ask for meanwhile."""
        stop = False
        while True:
            try:
                event = events.throw(KeyboardInterrupt()) if stop else next(events)
            except StopIteration:
                return
            except KeyboardInterrupt:  # before there was anything to keep
                self.queue.leave(self.number, "cancelled", whole=0)
                return
            stop = False
            ended = self._report(event)
            if ended or not isinstance(event, (Progress, Tile, Preview, Frame, Status)):
                continue
            wanted = self.queue.wanted(self.number)
            if self.ended() or (not wanted and self.job["kind"] == "batch" and self.queue.others_wait()):
                self._put_back(events)
                return
            if wanted == "pause":
                events.close()
                self.queue.leave(self.number, "paused")
                return
            if wanted == "remove":
                events.close()
                self.queue.forget(self.number)
                return
            stop = wanted == "cancel"
            if stop and self.job["kind"] == "video":
                events.close()
                self._end_early()
                return

    def _put_back(self, events: Generator[Any, None, None]) -> None:
        """Leave the job to a later process, or to this one after jobs that go first."""
        if self.ended():  # first: a server that ends does not wait for all workers of a batch
            self.queue.leave(self.number, "queued")
            events.close()
        else:
            events.close()
            self.queue.leave(self.number, "queued")


def _facts(event: Progress | Tile | Frame | Status) -> dict[str, Any]:
    """How far a job is, as the page shows it."""
    if isinstance(event, Status):
        names = ("items", "painted", "kept", "failed", "workers", "rate")
        return {name: getattr(event, name) for name in names}
    if isinstance(event, Frame):
        return {"frame": event.number, "frames": event.of}
    if isinstance(event, Tile):
        return {"step": event.number, "steps": event.of, "name": event.name}
    names = ("step", "steps", "scale", "scales", "width", "height")
    return {name: getattr(event, name) for name in names} | {"losses": dict(event.losses)}


def _whole(kind: str, result: Path) -> tuple[int, int, float] | None:
    """The width, the height and the seconds of a result if it is whole; None if it is not, or if that cannot be told."""
    if kind == "video":
        from impasto.studio import films

        settings = films.finished(result)
        return None if settings is None else (settings["width"], settings["height"], settings["seconds"])
    if kind != "paint":
        return None
    from PIL import Image

    from impasto.jobs import records

    try:
        previous = records.read(result)
    except ImpastoError:
        return None
    if previous.record.done < 1:
        return None
    with Image.open(result) as image:
        return (*image.size, previous.record.seconds)
