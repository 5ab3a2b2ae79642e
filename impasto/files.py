"""Files of any kind, written whole or not at all, and what to say of them: one line that any terminal can show."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import BinaryIO, TypeAlias

from impasto.errors import OutputError, SaveError

Bytes: TypeAlias = bytes | memoryview


def check(path: str | os.PathLike[str], suffixes: Collection[str], *, overwrite: bool = False) -> Path:
    """Make sure, before the work is done, that `write` can write there.

    suffixes: those allowed, in lower case, with their dot. Returns the path. Raises OutputError: unknown suffix, no such directory
    or no right to write there, an existing file without `overwrite`.
    """
    name, target = printable(path), Path(path)
    found = _stat(name, target)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise OutputError(f"{name} is a directory; name a file in it")
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
        raise OutputError(f"{name} is a link that leads nowhere ({reason(error)})") from error


def _check_suffix(name: str, suffix: str, suffixes: Collection[str]) -> None:
    if suffix not in suffixes:
        near = difflib.get_close_matches(suffix, suffixes, n=1)
        found = f"unknown suffix {suffix!r}" if suffix else "no suffix"
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise OutputError(f"{name}: {found}; {hint}known: {', '.join(suffixes)}")


def _check_directory(name: str, target: Path) -> None:
    directory = target.parent
    if not directory.is_dir():
        raise OutputError(f"{name}: there is no directory {printable(directory)}")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(f"{name}: the directory {printable(directory)} is not writable")


def _check_replaceable(name: str, target: Path, found: os.stat_result, overwrite: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OutputError(f"{name} exists and is not a regular file")
    if not overwrite:
        raise OutputError(f"{name} exists; add --overwrite to replace it")
    if not os.access(target, os.W_OK):
        raise OutputError(f"{name} exists and is write-protected")


def write(
    path: str | os.PathLike[str], data: bytes | Iterable[Bytes], suffixes: Collection[str], *, overwrite: bool = False
) -> None:
    """Write a file whole or not at all; an existing one keeps its permissions, a new one gets those of any new file.

    data: all of it, or its parts one after the other, which then need not be in memory together.
    Raises OutputError as `check` does, also for a file that appears while this runs, and SaveError when the disk is full or the
    like; either way an existing file is untouched and nothing is left beside it.
    """
    try:
        _replace(Path(path), (data,) if isinstance(data, bytes) else data, suffixes, overwrite)
    except OSError as error:
        raise SaveError(f"{printable(path)} could not be written: {reason(error)}") from error


def _replace(target: Path, data: Iterable[Bytes], suffixes: Collection[str], overwrite: bool) -> None:
    final = target.resolve()  # a link stays a link
    temporary = final.with_name(f"{_scratch(final)}{secrets.token_hex(8)}.tmp")
    try:
        with _new(temporary) as file:
            for part in data:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
            if not temporary.exists():
                _name(file, temporary)
        check(target, suffixes, overwrite=overwrite)
        if final.exists():
            shutil.copymode(final, temporary)
        _publish(temporary, final, overwrite)
    finally:  # after Ctrl-C too
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _new(name: Path) -> BinaryIO:
    """A new file; on Linux without a name as yet, so that a process killed while it writes leaves nothing."""
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        with contextlib.suppress(OSError):  # a file system that has none
            return os.fdopen(os.open(name.parent, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    return name.open("xb")


def _name(file: BinaryIO, name: Path) -> None:
    """Give a file without a name one."""
    folder = os.open(name.parent, os.O_RDONLY)
    try:
        # with a folder, which an absolute path needs not, Python calls what follows links of /proc
        os.link(f"/proc/self/fd/{file.fileno()}", name, src_dir_fd=folder, follow_symlinks=True)
    except OSError:
        file.seek(0)
        with name.open("xb") as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
    finally:
        os.close(folder)


def _scratch(final: Path) -> str:
    """How the names begin under which a file is written before it gets its own; hidden, and short however long that is."""
    return f".impasto-{hashlib.sha256(os.fsencode(final.name)).hexdigest()[:12]}-"


def sweep(path: str | os.PathLike[str]) -> None:
    """Remove what a killed process left of writing a file. Only for one who knows that nobody writes it now."""
    final = Path(path).resolve()
    with contextlib.suppress(OSError):
        for left in final.parent.glob(f"{_scratch(final)}*.tmp"):
            left.unlink()


def _publish(temporary: Path, final: Path, overwrite: bool) -> None:
    """Give the finished file its name. Without `overwrite` a hard link does it: unlike a rename, it never replaces a file."""
    if not overwrite:
        try:
            os.link(temporary, final)
        except FileExistsError:
            raise OutputError(f"{printable(final)} exists; add --overwrite to replace it") from None
        except OSError:
            pass  # no hard links on this file system: rename, a moment after the check
        else:
            return
    temporary.replace(final)


def printable(path: str | os.PathLike[str]) -> str:
    """A path as one line any terminal can show, whatever bytes its name is made of."""
    text = os.fspath(path)
    return text if text and text.isprintable() else ascii(text)[1:-1] or "''"


def one_line(text: str) -> str:
    """At most 200 characters of a text from anywhere, without what would move the cursor."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]


def reason(error: OSError | ValueError) -> str:
    """Why the system refused a file, in its own words."""
    if isinstance(error, ValueError):  # a NUL in the name
        return "not a valid file name"
    return (error.strerror or one_line(str(error)) or type(error).__name__).lower()
