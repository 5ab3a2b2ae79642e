"""The queue: what may happen to a job, each as one transaction.

queued -> running -> done | failed | cancelled | paused | queued (the server stops) | held (its worker crashed twice)
paused -> queued    failed, cancelled, held -> queued (a person asks for it)
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from impasto import files
from impasto.studio.store import FINISHED, Row, Store, announce, decoded, erase, new_id, words_of

MOST_CRASHES = 2  # after so many, a job waits for a person


_SEARCH = """
SELECT id FROM jobs
WHERE NOT EXISTS (SELECT 1 FROM json_each(:words) WHERE NOT instr(words, value))
  AND (:all OR state IN (SELECT value FROM json_each(:states)))
  AND (:any_result OR result IS NOT NULL)
  AND (:kind = '' OR kind = :kind)
  AND (:before = '' OR (created, id) < (SELECT created, id FROM jobs WHERE id = :before))
ORDER BY created DESC, id DESC LIMIT :limit
"""


class ConflictError(Exception):
    """The job's state does not allow it."""


class GoneError(Exception):
    """There is no such job any more."""


class FullError(Exception):
    """There are as many jobs as the queue may hold."""


class Jobs:
    """The jobs of a store, to look at and to delete."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def get(self, number: str) -> Row | None:
        """A job, with its place in the queue, counted from 1; None if there is none."""
        with self.store.reading() as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (number,)).fetchone()
            if row is None:
                return None
            ahead = "SELECT count(*) FROM jobs WHERE state = 'queued' AND (kind = 'batch', position) < (?, ?)"
            asked = (row["kind"] == "batch", row["position"])
            place = db.execute(ahead, asked).fetchone()[0] + 1 if row["state"] == "queued" else None
        return decoded(row) | {"place": place}

    def list(
        self,
        *,
        query: str = "",
        states: tuple[str, ...] = (),
        kind: str = "",
        with_result: bool = False,
        before: str = "",
        limit: int = 50,
    ) -> list[Row]:
        """Jobs, the newest first. query: words of the photograph's and the styles' names. before: only older ones than this."""
        asked = {
            "words": json.dumps(query.replace("\0", "\ufffd").casefold().split()),  # a text of SQLite ends at a NUL
            "states": json.dumps(states),
            "all": not states,
            "kind": kind,
            "any_result": not with_result,
            "before": before,
            "limit": limit,
        }
        with self.store.reading() as db:
            numbers = [row["id"] for row in db.execute(_SEARCH, asked)]
        return [job for number in numbers if (job := self.get(number))]

    def forget(self, number: str) -> None:
        """Remove a job that does not run."""
        try:
            self._forget(number)
        except sqlite3.OperationalError:  # the disk is full; without the files it has room
            self._remove_files(number)
            self._forget(number)
        self._remove_files(number)

    def _forget(self, number: str) -> None:
        with self.store.changing() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (number,))
            announce(db, "removed", number)

    def _remove_files(self, number: str) -> None:
        for file in self.store.files.of_job(number):
            erase(file)

    def remove_old(self, days: float) -> int:
        """Delete what was finished longer ago. Returns how many."""
        with self.store.reading() as db:
            text = "SELECT id FROM jobs WHERE state IN ('done', 'failed', 'cancelled') AND finished < ?"
            old = [row["id"] for row in db.execute(text, (time.time() - days * 86_400,))]
        for number in old:
            self.forget(number)
        return len(old)


class Reports(Jobs):
    """What workers take and report."""

    def claim(self, worker: int) -> Row | None:
        """The first job in the queue, which is running then; None if there is none. Batches come last. worker: of the process."""
        with self.store.changing() as db:
            row = db.execute(
                "SELECT id FROM jobs WHERE state = 'queued' ORDER BY wanted = 'cancel' DESC, kind = 'batch', position LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE jobs SET state = 'running', worker = ?, attempts = attempts + 1, started = coalesce(started, ?) WHERE id = ?",
                (worker, time.time(), row["id"]),
            )
            _announce_all_queued(db)
            announce(db, "job", row["id"])
        return self.get(row["id"])

    def wanted(self, number: str) -> str:
        """What a person asked of a running job: "cancel", "pause", "remove", or ""."""
        with self.store.reading() as db:
            row = db.execute("SELECT wanted FROM jobs WHERE id = ?", (number,)).fetchone()
        return row["wanted"] if row else "remove"

    def others_wait(self) -> bool:
        """Whether jobs wait that are no batches, which go first: a batch takes hours."""
        with self.store.reading() as db:
            return db.execute("SELECT 1 FROM jobs WHERE state = 'queued' AND kind != 'batch' LIMIT 1").fetchone() is not None

    def report(self, number: str, **news: Any) -> None:
        """Enter news of a job: any of its columns."""
        with self.store.changing() as db:
            _enter(db, number, news)

    def leave(self, number: str, state: str, **news: Any) -> None:
        """Enter that a job runs no more. What a person asked for at the last moment is not forgotten."""
        ended = {"finished": time.time()} if state in FINISHED else {}
        with self.store.changing() as db:
            row = db.execute("SELECT wanted FROM jobs WHERE id = ?", (number,)).fetchone()
            wanted = row["wanted"] if row else ""
            if (state, wanted) == ("queued", "pause"):
                state, wanted = "paused", ""
            kept = wanted if state == "queued" else ""
            _enter(db, number, {"state": state, "wanted": kept, "worker": None, "attempts": 0, **ended, **news})
        if wanted == "remove":
            self.forget(number)

    def crashed(self, worker: int | None = None) -> None:
        """Put the jobs of a worker that died back into the queue, or hold them after `MOST_CRASHES`. None: of every worker."""
        with self.store.changing() as db:
            text = "SELECT id, kind, spec, attempts, wanted FROM jobs WHERE state = 'running' AND (? IS NULL OR worker = ?)"
            rows = db.execute(text, (worker, worker)).fetchall()
            for row in rows:
                for file in self._written(row["id"], row["kind"], json.loads(row["spec"])):
                    files.sweep(file)
                held = row["attempts"] >= MOST_CRASHES
                why = f"The process that painted it died {row['attempts']} times. Retry it, or delete it." if held else None
                db.execute(
                    "UPDATE jobs SET state = ?, worker = NULL, error = ? WHERE id = ?",
                    ("held" if held else "queued", why, row["id"]),
                )
                announce(db, "job", row["id"])
        for row in rows:
            if row["wanted"] == "remove":
                self.forget(row["id"])

    def _written(self, number: str, kind: str, spec: Mapping[str, Any]) -> Iterator[Path]:
        """The files that a job writes little by little."""
        from impasto.jobs.lock import state_of

        result = self.store.files.result(number, spec)
        yield from (result, state_of(result))
        if kind == "tune":
            yield self.store.files.style(spec["styles"][0]["id"], "file")


class Queue(Reports):
    """All that may happen to a job; here is what people ask for."""

    def add(self, kind: str, spec: Mapping[str, Any], *, client: str = "", most: int = 1000, most_each: int = 1000) -> Row:
        """A new job at the end. spec: what `painter` needs. Raises FullError."""
        number = new_id()
        with self.store.changing() as db:
            count = "SELECT count(*), coalesce(sum(client = ?), 0) FROM jobs WHERE state NOT IN ('done', 'failed', 'cancelled')"
            total, mine = db.execute(count, (client,)).fetchone()
            if total >= most:
                raise FullError(f"The queue is full: it holds {most} jobs. Wait until some are finished.")
            if mine >= most_each:
                raise FullError(f"You have {most_each} jobs in the queue, which is the limit. Wait until some are finished.")
            last = db.execute("SELECT coalesce(max(position), 0) FROM jobs").fetchone()[0]
            db.execute(
                "INSERT INTO jobs (id, kind, state, position, spec, words, client, created) VALUES (?, ?, 'queued', ?, ?, ?, ?, ?)",
                (number, kind, last + 1, json.dumps(spec), words_of(spec), client, time.time()),
            )
            announce(db, "job", number)
        return self.get(number) or {}

    def cancel(self, number: str) -> None:
        """Stop a job and keep the best image, or the frames, so far. Raises ConflictError."""
        with self.store.changing() as db:
            row = _row(db, number)
            if row["state"] == "running":
                db.execute("UPDATE jobs SET wanted = 'cancel' WHERE id = ?", (number,))
            elif row["state"] in ("queued", "paused", "held"):
                saved = self._saved(
                    number, json.loads(row["spec"])
                )  # then its worker takes it up for a moment, to write the image
                state = "queued" if saved and row["state"] != "held" else "cancelled"
                db.execute(
                    "UPDATE jobs SET state = ?, wanted = ?, whole = 0, finished = ? WHERE id = ?",
                    (state, "cancel" if state == "queued" else "", None if state == "queued" else time.time(), number),
                )
            else:
                raise ConflictError(f"The job is {row['state']} already.")
            announce(db, "job", number)

    def _saved(self, number: str, spec: Mapping[str, Any]) -> bool:
        from impasto.jobs.lock import state_of

        result = self.store.files.result(number, spec)
        return result.is_dir() or state_of(result).exists()

    def pause(self, number: str) -> None:
        """Stop a job and keep its state. Raises ConflictError."""
        with self.store.changing() as db:
            row = _row(db, number)
            if row["state"] == "running":
                db.execute("UPDATE jobs SET wanted = 'pause' WHERE id = ?", (number,))
            elif row["state"] == "queued":
                db.execute("UPDATE jobs SET state = 'paused' WHERE id = ?", (number,))
            elif row["state"] != "paused":
                raise ConflictError(f"The job is {row['state']}, so it cannot be paused.")
            announce(db, "job", number)

    def go_on(self, number: str, *, states: tuple[str, ...]) -> None:
        """Put a job in one of these states back into the queue. It goes on where it was. Raises ConflictError."""
        with self.store.changing() as db:
            row = _row(db, number)
            if row["state"] not in states:
                raise ConflictError(f"The job is {row['state']}, so it cannot go on.")
            db.execute(
                "UPDATE jobs SET state = 'queued', wanted = '', attempts = 0, error = NULL, finished = NULL, whole = 1 WHERE id = ?",
                (number,),
            )
            announce(db, "job", number)

    def move(self, number: str, place: int) -> None:
        """Give a queued job another place, counted from 1. Raises ConflictError."""
        with self.store.changing() as db:
            if _row(db, number)["state"] != "queued":
                raise ConflictError("Only a job that waits in the queue can be moved.")
            rows = db.execute(
                "SELECT id, position FROM jobs WHERE state = 'queued' ORDER BY kind = 'batch', position"
            ).fetchall()
            order = [row["id"] for row in rows if row["id"] != number]
            order.insert(min(place - 1, len(order)), number)
            for row, other in zip(rows, order, strict=True):
                db.execute("UPDATE jobs SET position = ? WHERE id = ?", (row["position"], other))
                announce(db, "job", other)

    def remove(self, number: str) -> None:
        """Delete a job and everything it made. A running one is stopped first, by its worker."""
        with self.store.changing() as db:
            row = _row(db, number)
            if row["state"] == "running":
                db.execute("UPDATE jobs SET wanted = 'remove' WHERE id = ?", (number,))
                return
        self.forget(number)


def _row(db: sqlite3.Connection, number: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM jobs WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise GoneError
    return row


def _enter(db: sqlite3.Connection, number: str, news: Mapping[str, Any]) -> None:
    """Change some columns of a job."""
    values = [json.dumps(value) if isinstance(value, (dict, list, tuple)) else value for value in news.values()]
    changes = ", ".join(f"{name} = ?" for name in news)
    db.execute(f"UPDATE jobs SET {changes} WHERE id = ?", (*values, number))  # noqa: S608  (names of columns, which this package chose)
    announce(db, "job", number)


def _announce_all_queued(db: sqlite3.Connection) -> None:
    """Places have changed."""
    for row in db.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY kind = 'batch', position LIMIT 100").fetchall():
        announce(db, "job", row["id"])
