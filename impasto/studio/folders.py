"""Folders of photographs for batches: zips that were uploaded, and folders that somebody put into DATA/folders on the server.

The photographs of a zip are files named by number, with a list of their names; see `unpack`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from impasto import files
from impasto.batches.sources import Source, find
from impasto.errors import PictureError
from impasto.studio.store import SERVER_FOLDERS, Row, Store, is_id

NAMES = "names.json"  # in the folder of a zip: [file, name in the zip] of every photograph
MOST_LISTED = 200  # folders on the server


def place_of(store: Store, number: str) -> Path:
    """The folder of an uploaded zip."""
    return store.files.root / "zips" / number


def add(store: Store, number: str, name: str, photos: int, notes: list[str]) -> Row:
    """Enter a zip whose folder is in place."""
    with store.changing() as db:
        db.execute("INSERT INTO zips VALUES (?, ?, ?, ?, ?)", (number, name, photos, json.dumps(notes), time.time()))
    return get(store, number) or {}


def get(store: Store, number: str) -> Row | None:
    """A folder by its id: of an uploaded zip, or the name of a folder on the server. None if there is none."""
    if not is_id(number):
        return next((row for row in _on_server(store) if row["id"] == number), None)
    with store.reading() as db:
        found = db.execute("SELECT * FROM zips WHERE id = ?", (number,)).fetchone()
    return None if found is None else _row(found)


def listed(store: Store) -> list[Row]:
    """Uploaded zips, the newest first, then the folders on the server."""
    with store.reading() as db:
        rows = db.execute("SELECT * FROM zips ORDER BY created DESC").fetchall()
    return [*map(_row, rows), *_on_server(store)]


def remove(store: Store, number: str) -> None:
    """Forget an uploaded zip."""
    with store.changing() as db:
        db.execute("DELETE FROM zips WHERE id = ?", (number,))
    shutil.rmtree(place_of(store, number), ignore_errors=True)


def remove_unused(store: Store, hours: float) -> None:
    """Forget uploaded zips that are older, and that no job refers to."""
    with store.reading() as db:
        old = [row["id"] for row in db.execute("SELECT id FROM zips WHERE created < ?", (time.time() - hours * 3600,))]
    for number in old:
        if not store.in_use(number):
            remove(store, number)


def photos_of(store: Store, number: str) -> list[Source]:
    """The photographs of a folder. Raises PictureError if it is not there, or has none."""
    if not is_id(number):
        return list(_photos_on_server(store, number))
    folder = place_of(store, number)
    try:
        named: list[tuple[str, str]] = json.loads((folder / NAMES).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PictureError("this zip is not here any more; upload it again") from error
    return [Source(str(folder / file), name) for file, name in named]


def _row(found: Row) -> Row:
    return {**found, "kind": "zip", "notes": json.loads(found["notes"])}


# -------------------------------------------------------------------------------------------------------- on the server


def _home(store: Store) -> Path:
    return store.files.root / SERVER_FOLDERS


def _on_server(store: Store) -> Iterator[Row]:
    """The folders in DATA/folders. What a link there leads to is elsewhere, and so is not among them."""
    try:
        found = sorted(one for one in _home(store).iterdir() if one.is_dir() and not one.is_symlink())
    except OSError:
        return
    for one in found[:MOST_LISTED]:
        if not is_id(one.name) and not one.name.startswith(".") and files.one_line(one.name) == one.name:
            yield {"id": one.name, "name": one.name, "kind": "folder", "photos": None, "notes": [], "created": None}


def _photos_on_server(store: Store, name: str) -> Iterator[Source]:
    if get(store, name) is None:
        raise PictureError("this folder is not here any more")
    folder = files.real(_home(store) / name)
    inside = [one for one in find([str(folder)]).sources if files.real(one.place).is_relative_to(folder)]
    if not inside:
        raise PictureError("there are no photographs in this folder")
    yield from inside
