"""batch.json, in the output folder: how far a batch is, and what failed."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

from impasto import __version__
from impasto.batches import places
from impasto.batches.events import Result
from impasto.batches.work import Item
from impasto.errors import OutputError

NAME = "batch.json"
FORMAT = 1
EVERY = 5.0  # seconds between writes
MOST_NOTES = 1000  # results whose notes are listed
SLOWEST = 0.02  # share of the time that writing may take


class Ledger:
    """Reads what an earlier run left, collects what happens in this one, and writes it now and then and at the end."""

    def __init__(self, folder: places.Folder, items: int) -> None:
        """Raises OutputError for a file of that name that is not a batch's."""
        self.folder, self.items = folder, items
        self.counts = {"painted": 0, "kept": 0, "failed": 0, "skipped": 0}
        self.failures = dict[str, dict[str, Any]]()
        self.notes = dict[str, list[str]]()
        self.before = self._read()
        self.began = time.monotonic()
        self._due = 0.0
        self._changed = True

    def _read(self) -> dict[str, dict[str, Any]]:
        """The failures of an earlier run, by output."""
        data = self.folder.read(NAME)
        if data is None:
            return {}
        try:
            found = json.loads(data)
            if found["impasto batch"] != FORMAT:
                raise ValueError
            return {one["output"]: one for one in found["failures"]}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            place = self.folder.place_of(NAME)
            problem = f"{place} exists, and is not the list of an impasto batch; choose another folder, or remove it"
            raise OutputError(problem) from error

    def failed_before(self, item: Item) -> dict[str, Any] | None:
        """The failure of an item in an earlier run, if trying again would lead there again: nothing has changed since."""
        found = self.before.get(item.output)
        if found is None or found.get("again") or found.get("of") != fingerprint(item):
            return None
        return found if isinstance(found.get("problem"), str) else None

    def add(self, item: Item, result: Result) -> None:
        """A result."""
        self.counts[result.state] += 1
        self._changed = True
        if result.state == "failed":
            self.failures[item.output] = {
                "photo": result.photo,
                "styles": list(result.styles),
                "output": result.output,
                "problem": result.problem,
                "again": result.again,
                "of": fingerprint(item),
            }
        elif result.state == "skipped":
            self.failures[item.output] = self.before[item.output]
        if result.notes and len(self.notes) < MOST_NOTES:
            self.notes[item.output] = list(result.notes)

    def write(self, *, finished: bool, now: bool = False) -> None:
        """Write the file if it is time, or now. Raises SaveError, OutputError."""
        began = time.monotonic()
        if not now and (began < self._due or not self._changed):
            return
        self.folder.write(NAME, self.text(finished=finished).encode("utf-8"))
        took, self._changed = time.monotonic() - began, False
        self._due = began + max(EVERY, took / SLOWEST)

    def text(self, *, finished: bool) -> str:
        """The file's text."""
        done = self.counts["painted"] + self.counts["kept"]
        head = {"impasto batch": FORMAT, "impasto": __version__, "finished": finished, "items": self.items, "done": done}
        head |= self.counts | {"seconds": round(time.monotonic() - self.began, 1)}
        parts = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
        parts.append('  "failures": ' + _listed(json.dumps(one, ensure_ascii=False) for one in self._all_failures()))
        notes = (json.dumps({"output": name, "notes": some}, ensure_ascii=False) for name, some in self.notes.items())
        parts.append('  "notes": ' + _listed(notes))
        return "{\n" + ",\n".join(parts) + "\n}\n"

    def _all_failures(self) -> Iterator[dict[str, Any]]:
        yield from (self.failures[output] for output in sorted(self.failures))


def _listed(lines: Iterator[str]) -> str:
    inner = ",\n".join(f"    {line}" for line in lines)
    return f"[\n{inner}\n  ]" if inner else "[]"


def fingerprint(item: Item) -> str:
    """What changes when an item's files or options change."""
    named = [source.place for source in item.sources.values()]
    options = json.dumps(item.options.model_dump(mode="json", exclude_unset=True), sort_keys=True)
    text = json.dumps([*named, *map(places.stamp, named), options])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
