"""Carry out a case in a folder of its own and judge it: how it ended, what it said, what it left."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import re
import resource
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz_cases import Case, Verdict, calls

HANGS = 20.0  # seconds
MEMORY = 2_000_000_000  # bytes above what the process had before
LONGEST = 2000  # characters of an error, besides a word of the command line that it repeats
PROGRESS = re.compile(r"impasto: \d+%, ")
LEFT = re.compile(r"(^|/)\.|\.tmp$|impasto-lock")  # names of temporary files and locks


class Sandbox:
    """A folder in which cases run one after another. Use it as a context manager: while it is open, the process works in the folder.

    folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.home, self.work, self.temporary = folder / "home", folder / "work", folder / "tmp"
        self._errors = folder / "stderr"
        self._highest = _peak()  # bytes that were in use at some time before

    def __enter__(self) -> Sandbox:
        self._stack = contextlib.ExitStack()
        for place in (self.home, self.work, self.temporary):
            place.mkdir()
        variables = {
            "IMPASTO_HOME": str(self.home),
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "IMPASTO_OFFLINE": "1",
            "COLUMNS": "80",
        }
        before = {name: os.environ.get(name) for name in variables}
        self._stack.callback(_set_environment, before)
        _set_environment(variables)
        self._stack.callback(os.chdir, Path.cwd())
        os.chdir(self.work)
        self._said = os.open(self._errors, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._stack.callback(os.close, self._said)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def _redirected(self) -> Iterator[None]:
        """Have what libraries write to file descriptor 2 end in a file."""
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(self._said, 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            os.close(real)

    def run(self, case: Case, number: int) -> Verdict:
        """Carry out a case. Afterwards the folder is empty again."""
        for name, content in case.files.items():
            (self.work / name).mkdir() if name.endswith("/") else (self.work / name).write_bytes(content)
        resident, start = _resident(), time.monotonic()
        with warnings.catch_warnings(record=True) as caught, self._redirected():
            warnings.simplefilter("always")
            result = _call(case) if case.call else _command(case)
        seconds = time.monotonic() - start
        problems = [*result.problems, *(f"warning: {one.category.__name__}: {one.message}" for one in caught), *self._stderr()]
        problems += [] if seconds < HANGS else [f"took {seconds:.0f} s"]
        problems += self._memory(resident)
        problems += [*self._left(case, result), *self._clean()]
        if number % 500 == 0:
            gc.collect()
        outcome = "failed" if problems else "accepted" if result.accepted else "refused"
        return Verdict(number, case.kind, case.what, outcome, result.said, tuple(problems), seconds)

    def _memory(self, before: int) -> Iterator[str]:
        """before: bytes that the process had. The highest number since it started is known; after a complaint it is reset."""
        peak = _peak()
        if peak > max(before + MEMORY, self._highest):
            yield f"needed {(peak - before) / 1e9:.1f} GB of memory"
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._highest = _peak()

    def _stderr(self) -> Iterator[str]:
        if os.fstat(self._said).st_size:
            said = self._errors.read_bytes().decode(errors="backslashreplace")
            os.ftruncate(self._said, 0)
            yield f"on the real standard error: {said[:500]!r}"

    def _left(self, case: Case, result: Result) -> Iterator[str]:
        """Files that should not be there, and inputs that have changed."""
        if Path.cwd() != self.work:
            yield f"the current folder is {Path.cwd()}"
        # a run that diverges keeps its last good image
        allowed = (result.accepted or "diverged" in result.said) and not case.call
        replaces = allowed and ("--overwrite" in case.words or case.words[:1] == ("resume",))
        for name, content in case.files.items():
            path = self.work / name
            if replaces or name.endswith("/"):
                continue
            if not path.is_file():
                yield f"{name} is gone"
            elif path.read_bytes() != content:
                yield f"{name} has changed"
        for root in (self.work, self.temporary, self.home.parent):
            found = (path.relative_to(root).as_posix() for path in root.rglob("*")) if root != self.home.parent else ()
            for name in found:
                if name not in case.files and f"{name}/" not in case.files and (not allowed or LEFT.search(name)):
                    yield f"{'left in ' if root == self.work else 'left in TMPDIR: '}{name}"

    def _clean(self) -> Iterator[str]:
        for place in (self.work, self.temporary, self.home):
            for path in list(place.iterdir()):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in self.home.parent.iterdir():
            if path not in (self.home, self.work, self.temporary, self._errors):  # "../x.png" was asked for
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield from ()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # a fourth of the time that Path takes
        return int(file.read().split()[1]) * resource.getpagesize()


def _set_environment(variables: dict[str, Any]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class Result:
    """How a case ended. accepted: no error; said: its error; problems: what is wrong."""

    def __init__(self, accepted: bool, said: str = "", problems: tuple[str, ...] = ()) -> None:
        self.accepted, self.said, self.problems = accepted, said, problems


def _call(case: Case) -> Result:
    """Call the library. Every error must be an ImpastoError of one line."""
    from impasto.errors import ImpastoError

    try:
        problems = tuple(calls.CALLS[case.call[0]](*case.call[1:]))
    except ImpastoError as error:
        return Result(False, str(error), tuple(_wrong_line(str(error), LONGEST)))
    except BaseException as error:
        return Result(False, str(error), (_raised(error),))
    return Result(True, "", problems)


def _raised(error: BaseException) -> str:
    """An exception and where it came from, in one line."""
    places = traceback.extract_tb(error.__traceback__)
    ours = [place for place in places if "impasto/" in place.filename and "fuzz" not in Path(place.filename).name]
    shown = [*ours[-2:], *places[-1:]]
    where = " < ".join(f"{Path(place.filename).name}:{place.lineno} {place.name}" for place in reversed(shown))
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]!r} at {where}"


def _wrong_line(text: str, longest: int) -> Iterator[str]:
    if not text.isprintable():
        yield f"not one printable line: {text[:300]!r}"
    if len(text) > longest:
        yield f"an error of {len(text)} characters: {text[:100]!r}"


def _command(case: Case) -> Result:
    """Run `impasto` with these words in this process."""
    from impasto.cli import main

    written, err = io.BytesIO(), io.StringIO()
    out, stdin = io.TextIOWrapper(written, "utf-8"), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(case.stdin))
    code: object = None
    problems: tuple[str, ...] = ()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(case.words))
            out.flush()
    except BaseException as error:
        problems = (_raised(error),)
    finally:
        sys.stdin = stdin
    lines = [line for line in err.getvalue().split("\n") if line and not PROGRESS.match(line)]
    said = lines[-1] if lines else ""
    if not problems:
        problems = tuple(_judged(case, code, lines, written.getvalue()))
    return Result(code == 0, "" if code == 0 else said, problems)


def _judged(case: Case, code: object, lines: list[str], out: bytes) -> Iterator[str]:
    if code not in (0, 1, 2):
        yield f"exit code {code}"
    for line in lines:
        if not line.startswith("impasto: "):
            yield f"on standard error: {line[:300]!r}"
        yield from _wrong_line(line, LONGEST + max(map(len, case.words), default=0))
    as_json = "--json" in case.words or "--json=true" in case.words
    if code == 0:
        yield from _wrong_output(out)
        return
    if not lines:
        yield f"exit code {code} without an error"
        return
    if len(set(lines)) < len(lines):  # other lines before the error are notes
        yield f"says the same twice: {lines}"
    text = out.decode(errors="backslashreplace")
    if not as_json:
        if text:
            yield f"an error, and on standard output: {text[:200]!r}"
        return
    try:
        json.loads(text.splitlines()[-1])
    except (ValueError, IndexError):
        yield f"not one line of JSON with the error: {text[:200]!r}"


def _wrong_output(out: bytes) -> Iterator[str]:
    """What is wrong with standard output: it holds an image, or lines that move no cursor."""
    if not out.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF", b"II*", b"MM")):
        for line in out.decode(errors="backslashreplace").split("\n"):
            if not line.isprintable():
                yield f"on standard output, not printable: {line[:300]!r}"
