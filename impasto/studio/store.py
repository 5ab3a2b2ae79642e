"""The data directory: uploads, styles and results as files named by id, and the database with everything about them.

No name that a client sends becomes a path. The database is SQLite in WAL mode, so that the server and its worker processes use it at
the same time, and what was committed survives a crash of any of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from impasto import files
from impasto.errors import OutputError

State: TypeAlias = Literal["queued", "running", "paused", "done", "failed", "cancelled", "held"]
Row: TypeAlias = dict[str, Any]

FINISHED = ("done", "failed", "cancelled")
KEPT_EVENTS = 20_000
SERVER_FOLDERS = "folders"  # where somebody may put photographs for batches
FOLDERS = ("images", "styles", "zips", "results", "previews")
_JSON = ("spec", "progress", "result", "notes")  # columns that hold JSON
_TABLES = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, notes TEXT NOT NULL,
    created REAL NOT NULL, clip TEXT
);
CREATE TABLE IF NOT EXISTS styles (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, tuned INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS zips (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, photos INTEGER NOT NULL, notes TEXT NOT NULL, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL, position REAL NOT NULL, spec TEXT NOT NULL, words TEXT NOT NULL,
    client TEXT NOT NULL DEFAULT '', wanted TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0, worker INTEGER,
    done REAL NOT NULL DEFAULT 0, progress TEXT, preview INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL, finished REAL,
    seconds REAL, result TEXT, whole INTEGER NOT NULL DEFAULT 1, error TEXT, notes TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, position);
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created);
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL);
"""


def new_id() -> str:
    """An id that cannot be guessed, and that is a safe file name."""
    return secrets.token_hex(8)


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return len(text) == 16 and all(one in "0123456789abcdef" for one in text)


@dataclass(frozen=True)
class Place:
    """Where the files of a data directory are. Every method takes an id from `new_id`."""

    root: Path

    def image(self, number: str) -> Path:
        """An upload, as it was sent."""
        return self.root / "images" / number

    def still(self, number: str) -> Path:
        """The first frame of an upload that is a clip."""
        return self.root / "images" / f"{number}.png"

    def picture(self, number: str) -> Path:
        """What is painted of an upload as a picture: of a clip its first frame."""
        still = self.still(number)
        return still if still.exists() else self.image(number)

    def style(self, number: str, kind: str) -> Path:
        """A painting as it was sent, or a style file."""
        return self.root / "styles" / (number + (".style" if kind == "file" else ""))

    def result(self, number: str, spec: Mapping[str, Any] | None = None) -> Path:
        """What a job makes: an image, what the job's spec says of a clip, or the folder of a batch. The folder of a clip in progress
        is next to it.
        """
        film, batch = (spec or {}).get("video"), (spec or {}).get("batch")
        if batch:
            return self.root / "results" / f"{number}.batch"
        return self.root / "results" / f"{number}.{film['format'] if film else 'png'}"

    def preview(self, number: str) -> Path:
        """The newest preview of a job; of a painted clip its first frame."""
        return self.root / "previews" / f"{number}.jpg"

    def of_job(self, number: str) -> Iterator[Path]:
        """Everything that a job may have left."""
        yield from (self.root / "previews").glob(f"{number}.*")
        yield from (self.root / "results").glob(f"*{number}*")


class Database:
    """The database of a data directory. Both are made where there are none. Raises OutputError if they cannot be used."""

    def __init__(self, root: Path) -> None:
        self.files = Place(root)
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (*FOLDERS, SERVER_FOLDERS):
                (root / folder).mkdir(exist_ok=True, mode=0o700)
            with self.changing() as db:
                db.executescript(_TABLES)
                if "clip" not in {row["name"] for row in db.execute("PRAGMA table_info(images)")}:  # made by an earlier version
                    db.execute("ALTER TABLE images ADD COLUMN clip TEXT")
            _keep_open(self)
        except (OSError, sqlite3.Error) as error:
            words = files.reason(error) if isinstance(error, OSError) else str(error)
            raise OutputError(f"data directory {files.printable(root)} cannot be used: {words}") from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for this thread."""
        db = sqlite3.connect(self.files.root / "studio.sqlite", timeout=30, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            yield db
        finally:
            db.close()

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, which nobody else's change can come between."""
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            if db.in_transaction:
                db.execute("COMMIT")


class Store(Database):
    """A data directory: uploads, styles, events and files. `queue` has its jobs."""

    def add_image(self, number: str, name: str, size: tuple[int, int], notes: tuple[str, ...], clip: Row | None = None) -> Row:
        """Enter an upload whose file is in place. size: (height, width). clip: what is known of a clip; None for a picture."""
        values = (number, name, size[1], size[0], json.dumps(notes), time.time(), json.dumps(clip))
        with self.changing() as db:
            db.execute(
                "INSERT INTO images (id, name, width, height, notes, created, clip) VALUES (?, ?, ?, ?, ?, ?, ?)", values
            )
        return self.image(number) or {}

    def image(self, number: str) -> Row | None:
        """An upload, or None."""
        with self.reading() as db:
            found = db.execute("SELECT * FROM images WHERE id = ?", (number,)).fetchone()
        return (
            None
            if found is None
            else {**found, "notes": json.loads(found["notes"]), "clip": json.loads(found["clip"] or "null")}
        )

    def in_use(self, number: str, *, finished: bool = True, kind: str = "") -> bool:
        """Whether a job needs an upload or a style. finished: jobs that are finished count too. kind: only jobs of this kind."""
        with self.reading() as db:
            text = """
            SELECT 1 FROM jobs
            WHERE instr(spec, ?) AND (? OR state NOT IN ('done', 'failed', 'cancelled')) AND (? IN ('', kind)) LIMIT 1
            """
            return db.execute(text, (number, finished, kind)).fetchone() is not None

    def remove_image(self, number: str) -> None:
        """Forget an upload."""
        with self.changing() as db:
            db.execute("DELETE FROM images WHERE id = ?", (number,))
        for file in (self.files.image(number), self.files.still(number)):
            file.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------------------- styles

    def add_style(self, number: str, name: str, kind: str, *, tuned: bool) -> Row:
        """Enter a painting or a style file whose file is in place."""
        with self.changing() as db:
            db.execute("INSERT INTO styles VALUES (?, ?, ?, ?, ?)", (number, name, kind, tuned, time.time()))
            announce(db, "style", number)
        return self.style(number) or {}

    def enter_tuned(self, number: str) -> None:
        """Enter that a painting has a tuned style file too, which is in place. The painting stays: jobs may need it."""
        with self.changing() as db:
            db.execute("UPDATE styles SET tuned = 1 WHERE id = ?", (number,))
            announce(db, "style", number)

    def style(self, number: str) -> Row | None:
        """A style that was added, or None."""
        with self.reading() as db:
            found = db.execute("SELECT * FROM styles WHERE id = ?", (number,)).fetchone()
        return None if found is None else {**found, "tuned": bool(found["tuned"])}

    def styles(self) -> list[Row]:
        """All styles that were added, the oldest first."""
        with self.reading() as db:
            rows = db.execute("SELECT * FROM styles ORDER BY created").fetchall()
        return [{**row, "tuned": bool(row["tuned"])} for row in rows]

    def remove_style(self, number: str) -> None:
        """Forget a style."""
        with self.changing() as db:
            db.execute("DELETE FROM styles WHERE id = ?", (number,))
            announce(db, "style", number)
        for kind in ("painting", "file"):
            self.files.style(number, kind).unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------------------- events

    def last_event(self) -> int:
        """The number of the newest event."""
        with self.reading() as db:
            return int(db.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])

    def events(self, after: int) -> list[tuple[int, str, str]] | None:
        """(number, kind, subject) of what happened after an event, the last for each subject; None if some were forgotten."""
        with self.reading() as db:
            first = db.execute("SELECT min(id) FROM events").fetchone()[0]
            if first is not None and after + 1 < first:
                return None
            query = "SELECT max(id), kind, subject FROM events WHERE id > ? GROUP BY kind, subject ORDER BY 1"
            return [tuple(row) for row in db.execute(query, (after,))]

    # -------------------------------------------------------------------------------------------------------------- files

    def remove_unused_images(self, hours: float) -> None:
        """Delete uploads that are older, and that no job refers to."""
        with self.reading() as db:
            old = [row["id"] for row in db.execute("SELECT id FROM images WHERE created < ?", (time.time() - hours * 3600,))]
        for number in old:
            if not self.in_use(number):
                self.remove_image(number)

    def sweep(self) -> int:
        """Remove files that belong to nothing: of uploads that were cut off, and of what was deleted. Returns how many."""
        with self.reading() as db:
            text = "SELECT id FROM images UNION SELECT id FROM styles UNION SELECT id FROM zips UNION SELECT id FROM jobs"
            known = {row["id"] for row in db.execute(text)}
        removed = 0
        for folder in FOLDERS:
            for file in (self.files.root / folder).iterdir():
                if file.name.lstrip(".")[:16] not in known or file.name.endswith(".part"):
                    erase(file)
                    removed += 1
        return removed

    def free_disk(self) -> int:
        """Bytes that can still be written."""
        found = os.statvfs(self.files.root) if hasattr(os, "statvfs") else None
        return found.f_bavail * found.f_frsize if found else 1 << 62


def _keep_open(store: Database) -> None:
    """Have one connection as long as the store. Else SQLite would make its shared file for each, for which a full disk has no room."""
    kept = sqlite3.connect(store.files.root / "studio.sqlite", check_same_thread=False)
    weakref.finalize(store, kept.close)
    kept.execute("SELECT count(*) FROM events").fetchone()


def erase(path: Path) -> None:
    """Remove a file, or the folder of an unfinished clip."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def announce(db: sqlite3.Connection, kind: str, subject: str) -> None:
    """Enter an event: that something about a subject has changed."""
    number = db.execute("INSERT INTO events (kind, subject) VALUES (?, ?)", (kind, subject)).lastrowid or 0
    if number % 1000 == 0:
        db.execute("DELETE FROM events WHERE id <= ?", (number - KEPT_EVENTS,))


def decoded(row: sqlite3.Row) -> Row:
    """A row of `jobs` with its JSON read."""
    return {name: json.loads(row[name]) if name in _JSON and row[name] else row[name] for name in row.keys()}  # noqa: SIM118


def words_of(spec: Mapping[str, Any]) -> str:
    """What a search for a job looks at."""
    photo = spec.get("photo") or spec.get("folder") or {}  # tuning a style needs none
    return " ".join([photo.get("name", ""), *(style["name"] for style in spec.get("styles", ()))]).casefold()
