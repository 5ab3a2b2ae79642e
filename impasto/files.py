"""Files of any kind: written whole or not at all, opened safely, hashed; and one-line descriptions of what went wrong."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
import stat
import tempfile
import urllib.parse
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeAlias

from impasto.errors import ImpastoError, OutputError, SaveError

Bytes: TypeAlias = bytes | memoryview
PathLike: TypeAlias = str | os.PathLike[str]
_ADDRESS = re.compile(r"(https?|ftps?|sftp|s3|gs|file|data):(/*)(.*)", re.IGNORECASE)


# ---------------------------------------------------------------------------------------------------------------- reading


def open_regular(path: PathLike, error: type[ImpastoError], role: str = "") -> BinaryIO:
    """Open a regular, non-empty file for reading.

    role: what the file is for; begins the message. Raises `error` for anything else, which includes directories, pipes (opening one
    would wait for a writer) and empty files.
    """
    subject = f"{role} {printable(path)}".strip()
    try:
        found = Path(path).stat()
        if stat.S_ISDIR(found.st_mode):
            raise error(f"{subject}: is a directory, not a file")
        if not stat.S_ISREG(found.st_mode):
            raise error(f"{subject}: is not a regular file")
        if not found.st_size:
            raise error(f"{subject}: the file is empty")
        return Path(path).open("rb")
    except (OSError, ValueError) as failure:
        if isinstance(failure, ImpastoError):
            raise
        hint = address_hint(path)
        raise error(f"{subject}: {reason(failure)}" + (f"; {hint}" if hint else "")) from failure


def is_file(path: PathLike) -> bool:
    """Whether there is a file, or something else that is no directory; False for a name that no file can have."""
    try:
        return Path(path).exists() and not Path(path).is_dir()
    except (OSError, ValueError):
        return False


def real(path: PathLike) -> Path:
    """The file that a link leads to; the path itself if it leads nowhere."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):  # not a valid file name
        return Path(path)


def digest(path: PathLike) -> str:
    """SHA-256 of a file's bytes as hexadecimal; "" where there is no regular file that can be read."""
    try:
        if not Path(path).is_file():
            return ""
        with Path(path).open("rb") as file:
            return digest_of(file)
    except (OSError, ValueError):
        return ""


def digest_of(file: BinaryIO) -> str:
    """SHA-256 of an open file from its position to its end, as hexadecimal."""
    found = hashlib.sha256()
    while chunk := file.read(1 << 20):
        found.update(chunk)
    return found.hexdigest()


# ---------------------------------------------------------------------------------------------------------------- writing


def check(path: PathLike, suffixes: Collection[str] = (), *, overwrite: bool = False) -> Path:
    """Make sure, before the work is done, that `write` can write there.

    suffixes: those allowed, in lower case, with their dot; none for any. Returns the path. Raises OutputError: an unknown suffix, no
    such directory, no permission to write there, or an existing file without `overwrite`.
    """
    name, target = printable(path), Path(path)
    found = _stat(name, target)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise OutputError(f"{name} is a directory", remedy="name a file in it")
    if suffixes:
        _check_suffix(name, target.suffix.lower(), suffixes)
    _check_directory(name, target)
    if found is not None:
        _check_replaceable(name, target, found, overwrite)
    return target


def _stat(name: str, target: Path) -> os.stat_result | None:
    try:
        target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # a name too long for the file system, a directory that cannot be searched
        raise OutputError(f"{name}: {reason(error)}") from error
    try:
        return target.stat()
    except OSError as error:
        raise OutputError(f"{name} is a broken link ({reason(error)})") from error


def _check_suffix(name: str, suffix: str, suffixes: Collection[str]) -> None:
    if suffix not in suffixes:
        near = difflib.get_close_matches(suffix, suffixes, n=1)
        found = f"unknown suffix {suffix!r}" if suffix else "no suffix"
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise OutputError(f"{name}: {found}; {hint}known: {', '.join(suffixes)}")


def _check_directory(name: str, target: Path) -> None:
    directory = target.parent
    if not directory.is_dir():
        hint = address_hint(target)
        raise OutputError(f"{name}: there is no directory {printable(directory)}" + (f"; {hint}" if hint else ""))
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(f"{name}: the directory {printable(directory)} is not writable")


def _check_replaceable(name: str, target: Path, found: os.stat_result, overwrite: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OutputError(f"{name} exists and is not a regular file")
    if not overwrite:
        raise OutputError(f"{name} exists", remedy="use {overwrite} to replace it")
    if not os.access(target, os.W_OK):
        raise OutputError(f"{name} exists and is write-protected")


def write(path: PathLike, data: bytes | Iterable[Bytes], suffixes: Collection[str] = (), *, overwrite: bool = False) -> None:
    """Write a file whole or not at all. An existing file keeps its permissions; a new one gets those of any new file.

    data: all of it, or its parts in order, which then need not be in memory together. A symbolic link stays a link.
    Raises OutputError as `check` does, also for a file that appears while this runs, and SaveError when the disk is full or the
    like. Either way an existing file is untouched and nothing is left in the directory.
    """
    try:
        _replace(Path(path), (data,) if isinstance(data, bytes) else data, suffixes, overwrite)
    except OSError as error:
        raise SaveError(f"{printable(path)} could not be written: {reason(error)}") from error


def _replace(target: Path, data: Iterable[Bytes], suffixes: Collection[str], overwrite: bool) -> None:
    with replacing(target, suffixes, overwrite=overwrite) as temporary, temporary.open("xb") as file:
        for part in data:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: PathLike, suffixes: Collection[str] = (), *, overwrite: bool = False) -> Iterator[Path]:
    """For a program that writes a file itself: the name of a new file beside it, which gets the file's own name at the end.

    Everything else is as in `write`, also that nothing is left if the block raises. Raises OutputError and OSError.
    """
    target = Path(path)
    final = real(target)
    temporary = final.with_name(f"{_temporary_prefix(final)}{os.urandom(8).hex()}.tmp")
    try:
        yield temporary
        check(target, suffixes, overwrite=overwrite)
        if final.exists():
            temporary.chmod(stat.S_IMODE(final.stat().st_mode))
        _publish(temporary, final, overwrite)
    finally:  # after Ctrl-C too
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_folder(folder: Path, content: Mapping[str, bytes]) -> None:
    """Write a folder whole or not at all: a new one next to it is filled, which then takes its place.

    content: the bytes of every file by its path in the folder, with slashes. An existing folder is replaced. Raises SaveError.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".impasto-", dir=folder.parent, ignore_cleanup_errors=True) as place:
            new, old = Path(place) / "new", Path(place) / "old"
            for name, data in content.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(data)
            with contextlib.suppress(FileNotFoundError):
                folder.replace(old)
            try:
                new.replace(folder)
            except BaseException:  # Ctrl-C too
                if old.exists():
                    old.replace(folder)
                raise
    except OSError as error:
        raise SaveError(f"{printable(folder)} could not be written: {reason(error)}") from error


def _temporary_prefix(final: Path) -> str:
    """How the names of a file's temporary files begin: hidden, and short however long its own name is."""
    return f".impasto-{hashlib.sha256(os.fsencode(final.name)).hexdigest()[:12]}-"


def sweep(path: PathLike) -> None:
    """Remove the temporary files that killed processes left while writing a file. Call it only while nobody writes that file."""
    final = real(path)
    with contextlib.suppress(OSError):
        for left in final.parent.glob(f"{_temporary_prefix(final)}*.tmp"):
            left.unlink()


def _publish(temporary: Path, final: Path, overwrite: bool) -> None:
    """Give the finished file its name. Without `overwrite` a hard link does it: unlike a rename, it never replaces a file."""
    if not overwrite:
        try:
            os.link(temporary, final)
        except FileExistsError:
            raise OutputError(f"{printable(final)} exists", remedy="use {overwrite} to replace it") from None
        except OSError:
            pass  # no hard links on this file system: rename, a moment after the check
        else:
            return
    temporary.replace(final)


# ------------------------------------------------------------------------------------------------------------------ words


def printable(path: PathLike) -> str:
    """A path as one line that any terminal can show, whatever bytes its name consists of."""
    text = os.fspath(path)
    return text if text and text.isprintable() else ascii(text)[1:-1] or "''"


def escaped(text: str) -> str:
    """A text without characters that would move the cursor or color the terminal: with their escapes instead."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def address_hint(path: PathLike) -> str:
    """What to do about an address where a file is expected; "" for anything else. Path has made one slash of two."""
    found = _ADDRESS.match(printable(path))
    if not found:
        return ""
    scheme, slashes, rest = found[1].lower(), found[2], found[3]
    if scheme == "file":
        return f"name the file itself: {'/' if slashes else ''}{urllib.parse.unquote(rest)}"
    if scheme == "data":
        return "data: addresses are not read; save the image to a file and name it"
    return f"{scheme}:// addresses are not fetched; download the image and name the file"


def one_line(text: str) -> str:
    """At most 200 characters of a text from any source, without characters that would move the cursor."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]


def reason(error: OSError | ValueError) -> str:
    """Why the system refused a file, in its own words."""
    if isinstance(error, ValueError):  # a NUL in the name
        return "not a valid file name"
    return (error.strerror or one_line(str(error)) or type(error).__name__).lower()
