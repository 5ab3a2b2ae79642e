"""Batches: what one is to do, and carrying it out as a job.

The results are files in the job's folder, named by a hash, so that no name of a client's becomes a path. A list next to them has the
names that they get in the zip for the client.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from impasto import batches, extras, files
from impasto.batches import Item, Pairs, Settings, Status, Work, ledger, masks, names, work
from impasto.batches.manifest import Row as Photo
from impasto.batches.sources import Source
from impasto.errors import OutputError, PictureError
from impasto.inputs import style_names
from impasto.jobs.events import Note
from impasto.options import Options
from impasto.studio import folders
from impasto.studio.kinds import style_file
from impasto.studio.store import Row, Store
from impasto.studio.words import sentence, without_paths

NAMES = "names.json"  # {file: {"name", "photo", "styles"}} of every result
MOST_SHOWN = 1000  # failures
MOST_IMAGES = 20_000


@dataclass(frozen=True)
class Ended:
    """A batch ended. stopped: before its end. images: those that are there, and their bytes."""

    images: int
    bytes: int
    failed: int
    seconds: float
    stopped: bool = False


def work_of(store: Store, spec: Mapping[str, Any], output: Path, device: str = "auto") -> tuple[Work, dict[str, Row]]:
    """The work of a job, and for each of its outputs the name, the photograph and the styles as people know them.

    Raises OptionError for what does not go together, and PictureError for what was deleted.
    """
    options = Options(**spec["options"] | ({} if device == "auto" else {"device": device}))
    photos = [Photo(photo) for photo in folders.photos_of(store, spec["folder"]["id"])]
    styles = _styles(store, spec["styles"], options)
    batch = spec["batch"]
    pairs = Pairs.parse(batch["pairs"], batch["pairs_seed"])
    count = len(photos) * {"all": len(styles), "zip": 1, "random": min(pairs.count, len(styles))}[pairs.kind]
    if count > MOST_IMAGES:
        raise PictureError(f"these are {count:,} images; a batch has at most {MOST_IMAGES:,}")
    given = {name: getattr(options, name) for name in options.model_fields_set}

    def planned(template: str) -> Work:
        template = str(PurePosixPath(template).with_suffix(f".{batch['format']}"))
        return work.arranged(photos, styles, Settings(str(output)), pairs, template, given, masks.Masks(()))

    try:
        found = planned(names.TEMPLATE)
    except OutputError:  # photographs that differ in their suffixes only
        try:
            found = planned(names.DIFFERENT)
        except OutputError as error:
            raise PictureError("two photographs have names that differ in upper and lower case only") from error
    items, known = list[Item](), dict[str, Row]()
    for item in found.items:
        file = f"{hashlib.sha256(item.output.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.{batch['format']}"
        items.append(replace(item, output=file))
        known[file] = {"name": item.output, "photo": item.photo.key, "styles": [style.stem for style in item.styles]}
    return replace(found, items=tuple(items)), known


def _styles(store: Store, chosen: Sequence[Row], options: Options) -> list[Source]:
    """The sources of styles, with their names as keys. Of two with one name, the second gets a number."""
    sources, taken = list[Source](), set[str]()
    for style in chosen:
        name = _safe(style["name"])
        key = next(one for one in _numbered(name) if one.casefold() not in taken)
        taken.add(key.casefold())
        suffix = "" if style["id"] in style_names() else ".style" if style["kind"] == "file" else ".image"
        sources.append(Source(str(style_file(store, style, options)), key + suffix))
    return sources


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} {number}" for number in range(2, 1000))


def _safe(name: str) -> str:
    """A style's name as a part of a file name."""
    return "".join(one if one.isalnum() or one in " -_()" else "-" for one in name)[:60].strip(" -") or "style"


def events_of(store: Store, job: Row, device: str, painters: int) -> Generator[Note | Status | Ended, None, None]:
    """Paint a batch, from where an earlier process stopped. The last event is Ended, also after a KeyboardInterrupt.

    painters: of the studio, among which the machine is divided. Raises ImpastoError.
    """
    from impasto.batches import runner

    output, began, stopped, last = store.files.result(job["id"], job["spec"]), time.monotonic(), False, None
    found, known = work_of(store, job["spec"], output, device)
    output.mkdir(exist_ok=True, mode=0o700)
    files.write(output / NAMES, json.dumps(known).encode(), overwrite=True)
    workers = None if painters == 1 else max(1, (runner.gpus(found) or extras.cores()) // painters)
    try:
        with contextlib.closing(batches.run(found, workers=workers, retry_failed=True)) as events:
            for event in events:
                if isinstance(event, Status):
                    last = event
                    yield event
                elif isinstance(event, Note):
                    yield event
    except KeyboardInterrupt:
        stopped = True
    yield ended(output, last.failed if last else 0, time.monotonic() - began, stopped=stopped)


def ended(output: Path, failed: int, seconds: float, *, stopped: bool) -> Ended:
    """The end of a batch, by what is there."""
    there = [file.stat().st_size for _, file in results(output)]
    return Ended(len(there), sum(there), failed, round(seconds, 2), stopped)


def results(output: Path) -> list[tuple[str, Path]]:
    """(name, file) of the results that are there."""
    found = ((known["name"], output / file) for file, known in _known(output).items())
    return [(name, file) for name, file in found if file.is_file()]


def failures(output: Path) -> list[Row]:
    """What failed so far, and why, without paths of this machine."""
    known = _known(output)
    try:
        listed = json.loads((output / ledger.NAME).read_text(encoding="utf-8"))["failures"]
    except (OSError, ValueError, KeyError):
        return []
    root = output.parents[1]
    rows = (
        {**known[one["output"]], "problem": sentence(without_paths(one["problem"], root))}
        for one in listed
        if one["output"] in known
    )
    return sorted(rows, key=lambda row: str(row["name"]))[:MOST_SHOWN]


def _known(output: Path) -> dict[str, Row]:
    try:
        found: dict[str, Row] = json.loads((output / NAMES).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it has not started yet
        return {}
    return found


def zipped(found: Sequence[tuple[str, Path]]) -> Iterator[bytes]:
    """A zip of files, piece by piece. They are stored as they are, since images are compressed already."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, file in found:
            with contextlib.suppress(FileNotFoundError):  # the job was deleted meanwhile
                archive.writestr(zipfile.ZipInfo(name, time.localtime(file.stat().st_mtime)[:6]), file.read_bytes())
            yield sink.taken()
    yield sink.taken()


class _Sink:
    """A file to write to, of which the bytes are taken."""

    def __init__(self) -> None:
        self._parts = list[bytes]()

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        """What was written since the last time."""
        data, self._parts = b"".join(self._parts), []
        return data
