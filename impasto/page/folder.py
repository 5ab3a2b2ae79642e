"""Writing the folder of the page."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from impasto import __version__, files
from impasto.errors import OutputError, SaveError
from impasto.inputs import ASSETS, SAMPLE
from impasto.page import WEB, runtime, styles
from impasto.portable.network import GRAPHS

LIST = "files.js"  # the list of all other files, by which the page knows what to keep for use offline
PREFIX = "self.IMPASTO = "  # of that list
WEIGHTS = ("instant.safetensors", "lite.safetensors")
PACKED = ".packed"  # added to the names of files that the page unpacks itself (gzip), since few servers compress them


@dataclass(frozen=True)
class Page:
    """What was written. bytes: of all files; visit: of those that a first visit loads; files: how many there are."""

    folder: Path
    files: int
    bytes: int
    visit: int


def check(folder: Path, *, overwrite: bool = False) -> None:
    """Make sure, before anything is fetched, that the page can be written. Raises OutputError."""
    name = files.printable(folder)
    if files.is_file(folder):
        raise OutputError(f"{name} is not a folder")
    files.check(folder / LIST if folder.is_dir() else folder, overwrite=True)
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputError(f"the folder {name} is not empty", remedy="use {overwrite} to write the page into it")


def write(folder: Path, source: Path | None = None, *, overwrite: bool = False) -> Page:
    """Write the page. A new folder is written whole or not at all.

    source: see `runtime.provide`. overwrite: write into a folder that has files: those of a page that was written before are replaced,
    and removed where the new one lacks them; others stay. Raises OutputError, SaveError, and what `runtime.provide` raises.
    """
    check(folder, overwrite=overwrite)
    found = content(runtime.provide(source))
    if folder.is_dir():
        _replace(folder, found)
    else:
        files.write_folder(folder, found)
    kept = kinds(found)
    visit = sum(len(found[name]) for name, kind in kept.items() if kind != "webgpu")
    return Page(folder, len(found), sum(map(len, found.values())), visit + len(found[LIST]))


def content(runtime_at: Path) -> dict[str, bytes]:
    """The bytes of every file by its path in the folder."""
    found = {file.relative_to(WEB).as_posix(): file.read_bytes() for file in sorted(WEB.rglob("*")) if file.is_file()}
    for name in runtime.FILES:
        found |= _packed(f"runtime/{name}", (runtime_at / name).read_bytes())
    for name in GRAPHS:
        found |= _packed(f"network/instant-{name}.onnx", (ASSETS / f"instant-{name}.onnx").read_bytes())
    for name in WEIGHTS:
        found |= _packed(f"network/{name}", (ASSETS / name).read_bytes())
    listed = styles.listed()
    for name, (_, data) in listed.items():
        found |= _packed(f"styles/{name}.safetensors", data)
    found["styles/styles.json"] = json.dumps([{"name": name, **words} for name, (words, _) in listed.items()]).encode()
    found["sample.jpg"] = SAMPLE.read_bytes()
    found[LIST] = _list(found)
    return found


def _packed(name: str, data: bytes) -> dict[str, bytes]:
    """A file, packed unless it is a script, which browsers load by themselves."""
    return {name: data} if name.endswith(".mjs") else {f"{name}{PACKED}": gzip.compress(data, 6, mtime=0)}


def kinds(found: Mapping[str, bytes]) -> dict[str, str]:
    """When each file is loaded: "shell" before the page is shown, "paint" before it paints offline, "webgpu" where there is WebGPU."""

    def kind(name: str) -> str:
        folder, _, last = name.rpartition("/")
        if folder == "runtime" and last.removesuffix(PACKED) in runtime.WEBGPU:
            return "webgpu"
        return "shell" if folder in ("", "shared") and name != "sample.jpg" else "paint"

    return {name: kind(name) for name in found if name not in (LIST, "sw.js")}


def _list(found: Mapping[str, bytes]) -> bytes:
    """The script that tells the page and its service worker of all files."""
    listed = {name: [hashlib.sha256(found[name]).hexdigest(), len(found[name]), kind] for name, kind in kinds(found).items()}
    return f"{PREFIX}{json.dumps({'version': __version__, 'files': listed})};\n".encode()


def _replace(folder: Path, found: Mapping[str, bytes]) -> None:
    """Write into a folder that has files, the list last, and remove what only the page before had. Raises OutputError and SaveError."""
    before = _before(folder)
    for name in sorted(found, key=lambda name: name == LIST):
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {files.printable(target.parent)}: {files.reason(error)}") from error
        files.write(target, found[name], overwrite=True)
    for name in before - set(found):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise SaveError(f"{files.printable(folder / name)} could not be removed: {files.reason(error)}") from error


def _before(folder: Path) -> set[str]:
    """The files of the page that is in a folder; none where there is none, or where its list is not as this program writes it."""
    try:
        text = (folder / LIST).read_text(encoding="utf-8")
        names = json.loads(text.removeprefix(PREFIX).rstrip().removesuffix(";"))["files"]
        return {
            name
            for name in names
            if name.isprintable() and not set(name) & set(":\\") and not {"..", ""} & set(name.split("/"))
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return set()
