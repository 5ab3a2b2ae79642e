"""Lists of work: CSV or JSON lines, a photograph with its style and its options in every row.

| column | content |
|---|---|
| photo | a file, relative to the list's folder, or an address |
| style | a file, an address or a built-in name; in JSON lines also a list of several, which are blended; optional |
| output | the result's name in the output folder; optional |
| mask | where it is white, the result gets the style of mask_style; in JSON lines also a list of several; optional |
| mask_style | a style, or keep for the photograph unchanged; a list where mask is one |
| options | JSON lines only: an object of options |
| any option | its value; an empty cell is no value |
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from impasto import files
from impasto.batches import names, places
from impasto.batches.sources import Source, key_of
from impasto.catalog import OPTIONS
from impasto.errors import ImpastoError, PictureError, UsageError
from impasto.inputs import KEEP, Layer, style_names

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
COLUMNS = ("photo", "style", "output", "mask", "mask_style")
LONGEST = 2_000_000_000  # bytes


@dataclass(frozen=True)
class Row:
    """A row of a list. styles: none where the photograph is paired with styles that are named elsewhere. options: those given.
    layers: its masks, as `inputs.Layer` of sources.
    """

    photo: Source
    styles: tuple[Source, ...] = ()
    output: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()


def is_manifest(word: str) -> bool:
    """Whether a word names a list of work, by its suffix."""
    return PurePosixPath(word).suffix.lower() in SUFFIXES


def read(place: str) -> list[Row]:
    """The rows of a list. Raises UsageError, which names the line, and PictureError if the file cannot be read."""
    name, text = files.printable(place), _text(place)
    csv_file = PurePosixPath(place).suffix.lower() in (".csv", ".tsv")
    rows = list[Row]()
    for line, values in _of_csv(name, text) if csv_file else _of_json(name, text):
        try:
            rows.append(_row(values, _Home(place)))
        except ImpastoError as error:
            raise UsageError(f"{name}, line {line}: {error}") from error
    if not rows:
        raise UsageError(f"{name} has no rows")
    return rows


def _text(place: str) -> str:
    if places.is_address(place):
        data = places.read(place, "list")
    else:
        with files.open_regular(place, PictureError, "list") as file:
            data = file.read(LONGEST)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{files.printable(place)} is not text in UTF-8") from error


def _of_csv(name: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, {column: cell}) of every row with a cell."""
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    try:
        columns = [column.strip() for column in next(reader, [])]
        if "photo" not in columns or len(set(columns)) < len(columns):
            raise UsageError(f"{name}, line 1: must name the columns, each once, and one of them photo")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(columns):
                raise UsageError(f"{name}, line {reader.line_num}: has {len(cells)} cells for {len(columns)} columns")
            found: dict[str, Any] = {column: cell.strip() for column, cell in zip(columns, cells, strict=False) if cell.strip()}
            if "blend" in found:
                found["blend"] = found["blend"].split()
            yield reader.line_num, found
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: {files.one_line(str(error))}") from error


def _of_json(name: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of every line that is not empty."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UsageError(f"{name}, line {number}: is not JSON") from error
        if not isinstance(found, dict):
            raise UsageError(f'{name}, line {number}: must be an object, such as {{"photo": "a.jpg"}}')
        more = found.pop("options", {})
        if not isinstance(more, dict):
            raise UsageError(f"{name}, line {number}: options must be an object")
        yield number, {**found, **more}


def _row(values: Mapping[str, Any], home: _Home) -> Row:
    unknown = next((column for column in values if column not in COLUMNS and column not in OPTIONS), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, (*COLUMNS, *OPTIONS), n=1)
        raise UsageError(f"unknown column {files.one_line(repr(unknown))}" + (f"; did you mean {near[0]}?" if near else ""))
    photo, output = values.get("photo"), values.get("output")
    if not isinstance(photo, str) or not photo:
        raise UsageError("has no photo")
    named, masks, applied = (_names(values, column) for column in ("style", "mask", "mask_style"))
    if len(masks) != len(applied):
        raise UsageError(f"each mask needs a mask_style, a style or {KEEP}")
    if output is not None and not isinstance(output, str):
        raise UsageError("output must be a name")
    return Row(
        photo=home.source(photo),
        styles=tuple(home.source(style, style=True) for style in named),
        output=names.check_output(output) if output else "",
        layers=tuple(
            Layer(home.source(mask), None if style == KEEP else home.source(style, style=True))
            for mask, style in zip(masks, applied, strict=True)
        ),
        options={name: value for name, value in values.items() if name in OPTIONS and value is not None},
    )


def _names(values: Mapping[str, Any], column: str) -> list[str]:
    """The names in a column: none, one, or a list of them."""
    found = values.get(column)
    named = found if isinstance(found, list) else [] if found is None else [found]
    if not all(isinstance(name, str) and name for name in named):
        raise UsageError(f"{column} must be a name, or a list of names")
    return named


class _Home:
    """The folder of a list, to which its paths are relative."""

    def __init__(self, place: str) -> None:
        self.address = place.rpartition("/")[0] if places.is_address(place) else ""
        self.folder = None if self.address else Path(place).parent

    def source(self, text: str, *, style: bool = False) -> Source:
        place = places.plain(text)
        if style and place in style_names() and not (self.folder and files.is_file(self.folder / place)):
            return Source(place, place)
        if places.is_address(place) or self.folder is None:
            whole = place if places.is_address(place) else f"{self.address}/{place}"
            return Source(whole, self._key(place))
        return Source(str(self.folder / place), self._key(place))

    @staticmethod
    def _key(place: str) -> str:
        """The path in the list, or the name alone where that leads out of the list's folder."""
        if places.is_address(place):
            return key_of(place.rpartition("/")[2])
        path = PurePosixPath(key_of(os.path.normpath(place)))
        outside = path.is_absolute() or ".." in path.parts or ":" in str(path)
        return path.name if outside else str(path)
