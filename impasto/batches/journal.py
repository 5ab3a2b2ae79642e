"""Which results a batch has made that store no metadata: batch-results.jsonl, in the output folder.

A line is appended before a file may appear and another when it is there, so that after a kill a file is known as the batch's own.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace

from impasto import files
from impasto.batches import places
from impasto.batches.events import Made, Result
from impasto.batches.work import Item
from impasto.errors import SaveError

NAME = "batch-results.jsonl"


@dataclass(frozen=True)
class _Entry:
    output: str
    made: Made


class Journal:
    """What is known of results without metadata. folder: of this machine; at an address there is no journal.

    Raises OutputError if the file cannot be read.
    """

    def __init__(self, folder: places.Folder, *, metadata: bool) -> None:
        self.folder, self.writes = folder, not metadata
        self.file = folder.file(NAME)
        self._known = dict[str, Made]() if self.file is None else self._read()

    def _read(self) -> dict[str, Made]:
        text = (self.folder.read(NAME) or b"").decode("utf-8", "replace")
        return {entry.output: entry.made for entry in map(_entry, text.splitlines()) if entry}

    def handed_out(self, item: Item) -> Item:
        """An item with what is known of its result. What is not there yet is noted as the batch's own before it is painted.

        Raises SaveError.
        """
        known = self._known.get(item.output)
        if known is None and self.writes and not os.path.lexists(self.folder.place_of(item.output)):
            known = Made()
            self._enter(item.output, known, sync=True)
        elif known is not None and known.sha256 and self.writes:
            self._enter(item.output, replace(known, open=True))
        return item if known is None else replace(item, made=known)

    def add(self, item: Item, result: Result) -> None:
        """A result. Raises SaveError."""
        known = self._known.get(item.output)
        if self.writes and result.made:
            self._enter(item.output, result.made)
        elif self.writes and known and known.open:  # it stayed as it was
            self._enter(item.output, replace(known, open=False))

    def _enter(self, output: str, made: Made, *, sync: bool = False) -> None:
        if self.file is None:
            return
        self._known[output] = made
        line = json.dumps({"output": output, "of": made.of, "sha256": made.sha256} | ({"open": True} if made.open else {}))
        try:
            with self.file.open("a", encoding="utf-8", newline="") as file:
                file.write(f"\n{line}")  # the newline first: an earlier line may have been cut off
                file.flush()
                if sync:
                    os.fsync(file.fileno())
        except OSError as error:
            raise SaveError(f"{files.printable(self.file)} could not be written: {files.reason(error)}") from error


def _entry(line: str) -> _Entry | None:
    """The entry of a line; None for an empty or a damaged one."""
    try:
        found = json.loads(line)
        return _Entry(str(found["output"]), Made(str(found["of"]), str(found["sha256"]), bool(found.get("open"))))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
