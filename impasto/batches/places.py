"""Where photographs are and results go: files of this machine, or any address that fsspec knows (s3://, gs://, memory://)."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from impasto import files
from impasto.errors import ImpastoError, OutputError, PictureError, SaveError, UsageError

ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
AT_ONCE = {
    "s3",
    "s3a",
    "gs",
    "gcs",
    "abfs",
    "abfss",
    "az",
    "adl",
    "oss",
    "memory",
}  # stores whose files appear whole or not at all
NOT_FETCHED = {"http", "https", "ftp", "ftps", "data"}


def is_address(place: str) -> bool:
    """Whether a place is an address that fsspec opens. file:// is a file of this machine."""
    found = ADDRESS.match(place)
    return bool(found) and found[1].lower() not in ("file", "local") if found else False


def plain(place: str | os.PathLike[str]) -> str:
    """A place as text; the path of a file:// address. Raises PictureError for an address of the web, from which nothing is fetched."""
    text = os.fspath(place)
    found = ADDRESS.match(text)
    if found and found[1].lower() in NOT_FETCHED:
        raise PictureError(f"{found[1].lower()}:// addresses are not fetched; download the images and name their folder")
    if not found or found[1].lower() not in ("file", "local"):
        return text
    from fsspec.implementations.local import LocalFileSystem

    return str(LocalFileSystem._strip_protocol(text))


def system_of(address: str) -> tuple[Any, str]:
    """fsspec's file system of an address, and the path in it. Raises UsageError if a package is missing."""
    import fsspec  # comes with torch

    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{files.printable(address)} cannot be opened: {files.one_line(str(error))}") from error
    return system, str(path)


def stamp(place: str) -> str:
    """What changes when a file changes: its size and time, or what its store says instead; "" where there is none."""
    try:
        if not is_address(place):
            found = Path(place).stat()
            return f"{found.st_size} {found.st_mtime_ns}"
        system, path = system_of(place)
        known = system.info(path)
    except Exception:  # every store has errors of its own
        return ""
    when = next(
        (str(known[name]) for name in ("ETag", "etag", "mtime", "LastModified", "updated", "created") if name in known), ""
    )
    return f"{known.get('size')} {when}"


def read(place: str, role: str) -> bytes:
    """The bytes behind an address. role: what they are for. Raises PictureError."""
    try:
        system, path = system_of(place)
        return bytes(system.cat_file(path))
    except UsageError:
        raise
    except Exception as error:  # every store has errors of its own
        raise PictureError(f"{role} {files.printable(place)}: {_reason(error)}") from error


class Folder:
    """Where the results of a batch go. place: a folder of this machine, or an address. local: the folder; None for an address."""

    def __init__(self, place: str) -> None:
        self.place = plain(place)
        self.local = None if is_address(self.place) else Path(self.place)

    def file(self, name: str) -> Path | None:
        """The file of a name, which may have folders, with slashes; None for an address."""
        return None if self.local is None else self.local / name

    def place_of(self, name: str) -> str:
        """The file or the address of a name."""
        return f"{self.place.rstrip('/')}/{name}" if self.local is None else str(self.local / name)

    def make(self) -> None:
        """Make the folder, and try whether it can be written to. Raises OutputError."""
        if self.local is None:
            system_of(self.place)
            return
        try:
            self.local.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise OutputError(f"the folder {files.printable(self.place)} cannot be made: {files.reason(error)}") from error
        if not os.access(self.local, os.W_OK | os.X_OK):
            raise OutputError(f"the folder {files.printable(self.place)} is not writable")

    def sweep(self) -> None:
        """Remove what killed runs left half-written. Call it only while nobody writes there."""
        if self.local is None:
            return
        for folder, _, names in os.walk(self.local):
            for name in names:
                if name.startswith(".impasto-") and name.endswith(".tmp"):
                    with contextlib.suppress(OSError):
                        (Path(folder) / name).unlink()

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None where there is none. Raises OutputError."""
        place = self.place_of(name)
        try:
            if self.local is not None:
                return Path(place).read_bytes()
            system, path = system_of(place)
            return bytes(system.cat_file(path))
        except FileNotFoundError:
            return None
        except UsageError:
            raise
        except Exception as error:
            raise OutputError(f"{files.printable(place)}: {_reason(error)}") from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, in the place of an earlier one. Raises SaveError, OutputError."""
        place = self.place_of(name)
        if self.local is not None:
            self.make_parent(name)
            files.write(place, data, overwrite=True)
            return
        try:
            system, path = system_of(place)
            self._put(system, path, data)
        except ImpastoError:
            raise
        except Exception as error:
            raise SaveError(f"{files.printable(place)} could not be written: {_reason(error)}") from error

    @staticmethod
    def _put(system: Any, path: str, data: bytes) -> None:
        kinds = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
        parent = str(PurePosixPath(path).parent)
        system.makedirs(parent, exist_ok=True)
        if kinds & AT_ONCE:
            system.pipe_file(path, data)
            return
        part = f"{parent}/.impasto-{os.urandom(8).hex()}.tmp"
        system.pipe_file(part, data)
        system.mv(part, path)

    def make_parent(self, name: str) -> None:
        """Make the folder of a file of this machine. Raises OutputError."""
        file = self.file(name)
        if file is None:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise OutputError(f"the folder {files.printable(file.parent)} cannot be made: {files.reason(error)}") from error


def listed(address: str) -> Iterator[tuple[str, str]]:
    """(address, path below it) of every file below an address, or of those that its pattern matches. Raises PictureError."""
    system, path = system_of(address)
    try:
        if any(character in path for character in "*?["):
            fixed = re.split(r"[*?\[]", path)[0].rpartition("/")[0]
            found = [one for one in system.glob(path) if not system.isdir(one)]
        elif system.isdir(path):
            fixed, found = path, system.find(path)
        elif system.exists(path):
            fixed, found = str(PurePosixPath(path).parent), [path]
        else:
            raise PictureError(f"{files.printable(address)}: no such file or folder")
        for one in found:
            yield str(system.unstrip_protocol(one)), str(one).removeprefix(fixed).strip("/")
    except ImpastoError:
        raise
    except Exception as error:
        raise PictureError(f"{files.printable(address)}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return files.one_line(str(error)) or type(error).__name__
