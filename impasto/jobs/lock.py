"""The files of an unfinished run, and the lock of the one that writes an output."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path

from impasto import files
from impasto.errors import OutputError

UNFINISHED = ".unfinished"
LONGEST_NAME = 200  # bytes of the output's name to which ours is added


def state_of(output: Path) -> Path:
    """The state file of the run that writes `output`; for a film the folder of its frames."""
    return _companion(output, "", UNFINISHED)


def output_of(file: Path) -> Path:
    """The output that a file belongs to: its own name, or that of the state file's output. Raises OutputError for no file name."""
    name = file.name.removesuffix(UNFINISHED)
    if not name:
        raise OutputError(f"{files.printable(file)} is a directory; name an image in it")
    return file.with_name(name)


def how_to_resume(output: Path) -> str:
    """The command, in words."""
    return f"`impasto resume {shlex.quote(files.printable(output))}` resumes it"


def _companion(output: Path, before: str, after: str) -> Path:
    """A file in the output's folder, named after it as far as names may be long; for a link, in the folder it leads to."""
    final = files.real(output)
    name = os.fsencode(final.name)
    short = final.name if len(name) <= LONGEST_NAME else f"impasto-{hashlib.sha256(name).hexdigest()[:16]}"
    return final.parent / f"{before}{short}{after}"


@contextlib.contextmanager
def alone(output: Path) -> Iterator[None]:
    """Be the only run that writes this output; remove what killed runs left half-written of it and of its state.

    Raises OutputError if another run writes it. The lock is the system's, which releases it when a process dies. On file systems
    without locks there is none.
    """
    from filelock import FileLock, Timeout  # here: help need not wait for it

    if not files.real(output).parent.is_dir():  # FileLock would make it
        yield
        return
    file = _companion(output, ".", ".impasto-lock")
    lock = FileLock(file, timeout=0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on file systems without locks
            lock.acquire()
    except Timeout:
        raise OutputError(f"another run is writing {files.printable(output)}; wait for it, or choose another name") from None
    except (OSError, ValueError, NotImplementedError):
        yield
        return
    try:
        for written in (output, state_of(output)):
            files.sweep(written)
        yield
    finally:
        # filelock 4 and later refuse a lock on a file that was unlinked after they opened it, so no third process gets in
        with contextlib.suppress(OSError):  # Windows removes no open file
            file.unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):
            if os.name == "nt":
                file.unlink(missing_ok=True)
