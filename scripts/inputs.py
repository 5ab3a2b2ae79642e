"""Try unusual inputs on the command line: `python scripts/inputs.py [--show] [NAME ...]`.

The table is in `inputs_cases/`: command lines that must be refused (refused.py) or must succeed although their input is odd
(accepted.py). Each row runs in a folder of its own that holds the files it needs. A refusal ends with exit code 1 or 2, prints one
line that begins with "impasto: " and changes no file. A success ends with exit code 0, prints only its notes and leaves exactly the
files it should, with whole images that pass the row's checks. A traceback or a library's warning is always a failure.

With NAMEs, only rows run whose names contain one of them. Prints one line per failure and a summary. Exits 1 if a row
failed or no name matches.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import cast

from inputs_cases import OUTPUT, ROOT, Result, Row, accepted, checks, files, refused

ROWS = (*refused.ROWS, *accepted.ROWS)
ENVIRONMENT = {"IMPASTO_HOME": "home", "IMPASTO_OFFLINE": ""}
HANGS = 300  # seconds after which a command counts as hanging; ordinary ones take less than 10 on a busy machine
PROGRESS = re.compile(r"impasto: .*\d ?%")
TRACEBACK = "Traceback (most recent call last)"
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Outcome:
    """What a command did. changes: new, changed and removed files by name, with one of these words. warned: libraries' warnings."""

    code: int | str
    stdout: bytes = b""
    stderr: str = ""
    changes: Mapping[str, str] | None = None
    warned: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """Standard error without progress."""
        return [line for line in self.stderr.splitlines() if not PROGRESS.match(line)]

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="backslashreplace")


def run(row: Row, folder: Path) -> tuple[Outcome, list[str]]:
    """Run a row in an empty folder. Returns the outcome of its command, and everything that is wrong."""
    words = [*row.command, *(word for line, _ in row.then for word in shlex.split(line))]
    files.make(files.needed(words, f"{row.files} {row.stdin}"), folder)
    before = snapshot(folder)
    outcome = call(row.command, row, folder)
    problems = list[str]()
    if row.code == 0 == outcome.code:
        problems += [*_follow(row, folder), *examine(row, outcome, folder)]
    outcome = replace(outcome, changes=differences(before, snapshot(folder)))
    return outcome, [*judge(row, outcome), *problems]


def _follow(row: Row, folder: Path) -> Iterator[str]:
    """Run the commands that follow. Yields what is wrong with them."""
    for line, prints in row.then:
        outcome = call(row.completed(line), row, folder)
        if outcome.code != 0 or TRACEBACK in outcome.stderr or not re.search(prints, outcome.text):
            yield f"then {line}: exit code {outcome.code}, {outcome.text + outcome.stderr!r}"


def call(words: Sequence[str], row: Row, folder: Path) -> Outcome:
    """Run one command line in a folder, with the environment and standard input of a row."""
    stdin = (folder / row.stdin).read_bytes() if row.stdin else b""
    variables = ENVIRONMENT | dict(row.environment)
    return _call_process(words, folder, variables, stdin) if row.own_process else _call_main(words, folder, variables, stdin)


def _call_process(words: Sequence[str], folder: Path, variables: Mapping[str, str], stdin: bytes) -> Outcome:
    environment = os.environ | dict(variables) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "impasto", *words]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, input=stdin, timeout=HANGS, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(f"did not end within {HANGS} s")
    return Outcome(done.returncode, done.stdout, done.stderr.decode(errors="backslashreplace"))


def _call_main(words: Sequence[str], folder: Path, variables: Mapping[str, str], stdin: bytes) -> Outcome:
    from impasto.cli import main

    written, err, result = io.BytesIO(), io.StringIO(), cast("int | str", "no exit code")
    out = io.TextIOWrapper(written, "utf-8")
    with (
        warnings.catch_warnings(record=True) as caught,
        _inside(folder, variables, stdin),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        warnings.simplefilter("always")
        try:
            with _time_limit():
                result = main(list(words))
        except SystemExit as error:
            result = f"SystemExit({error.code})"
        except BaseException as error:  # what a user would see as a traceback
            result = f"{type(error).__name__} left main()"
            err.write(traceback.format_exc())
        out.flush()
    return Outcome(result, written.getvalue(), err.getvalue(), warned=tuple(str(one.message) for one in caught))


@contextlib.contextmanager
def _inside(folder: Path, variables: Mapping[str, str], stdin: bytes) -> Iterator[None]:
    """Work in a folder, with these environment variables and this standard input."""
    here, environment, real = Path.cwd(), dict(os.environ), sys.stdin
    os.chdir(folder)
    os.environ.update(variables)
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
    try:
        yield
    finally:
        sys.stdin = real
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environment)


class HangError(BaseException):
    """A command does not end. Not an Exception, so that no handler on the way catches it."""


def _hangs(number: int, frame: FrameType | None) -> None:
    raise HangError


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    if not hasattr(signal, "alarm"):
        yield
        return
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """{name: (mode, time of change, content or target)} of everything below a folder."""
    return {path.relative_to(folder).as_posix(): _state(path) for path in sorted(folder.rglob("*"))}


def _state(path: Path) -> tuple[int, int, bytes]:
    found = path.lstat()
    if stat.S_ISREG(found.st_mode):
        return found.st_mode, found.st_mtime_ns, path.read_bytes() if os.access(path, os.R_OK) else b""
    return found.st_mode, 0, os.fsencode(path.readlink()) if stat.S_ISLNK(found.st_mode) else b""


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, str]:
    """{name: "new", "changed" or "removed"} between two snapshots."""
    found = dict.fromkeys(after.keys() - before.keys(), "new") | dict.fromkeys(before.keys() - after.keys(), "removed")
    return found | {name: "changed" for name in before.keys() & after.keys() if before[name] != after[name]}


def judge(row: Row, outcome: Outcome) -> list[str]:
    """Everything that is wrong with how a row's command ended, what it said and which files it changed."""
    problems = [] if outcome.code == row.code else [f"exit code {outcome.code}, expected {row.code}"]
    problems += [f"warning: {text}" for text in outcome.warned]
    if TRACEBACK in outcome.stderr + outcome.text:
        return [*problems, f"traceback: {outcome.stderr.strip().splitlines()[-1]}"]
    changes = dict(outcome.changes or {})
    if row.code == 0 == outcome.code:
        problems += [f"did not write {name}" for name in sorted(row.outputs - changes.keys())]
    problems += [f"{word} file: {name}" for name, word in sorted(changes.items()) if name not in row.outputs]
    problems += _judge_lines(row, outcome)
    return [*problems, *(_judge_success(row, outcome) if row.code == 0 else _judge_refusal(row, outcome))]


def _judge_lines(row: Row, outcome: Outcome) -> Iterator[str]:
    """Standard error holds the lines that the row expects, in their order, each beginning with "impasto: "."""
    lines = outcome.lines
    if len(lines) != len(row.patterns):
        yield f"{len(lines)} lines on standard error, expected {len(row.patterns)}: {lines}"
        return
    for line, pattern in zip(lines, row.patterns, strict=True):
        if not (line.startswith("impasto: ") and re.search(pattern, line)):
            yield f"does not begin with 'impasto: ' or match {pattern!r}: {line!r}"


def _judge_refusal(row: Row, outcome: Outcome) -> Iterator[str]:
    """A refusal comes before any painting and last, and says nothing on standard output except the JSON that was asked for."""
    if any(PROGRESS.match(line) for line in outcome.stderr.splitlines()):
        yield "painted before it refused"
    if "--json" not in row.command:
        if outcome.stdout:
            yield f"on standard output: {outcome.text!r}"
        return
    try:
        said = json.loads(outcome.text)
    except ValueError:
        yield f"not one line of JSON on standard output: {outcome.text!r}"
        return
    if (said.get("exit_code"), f"impasto: {said.get('error')}") != (row.code, (outcome.lines or [""])[-1]):
        yield f"the JSON differs from the error: {said}"


def _judge_success(row: Row, outcome: Outcome) -> Iterator[str]:
    """Standard output of a painting: the image alone, or a line with name and size (not if quiet) and one of JSON that agrees."""
    if not row.size:
        if not re.search(row.prints, outcome.text):
            yield f"standard output does not match {row.prints!r}: {outcome.text!r}"
        return
    if "-" in row.command[1:]:
        if not (outcome.stdout.startswith(PNG) and outcome.stdout.endswith(b"IEND\xaeB`\x82")):
            yield f"standard output is not a PNG and nothing else: {outcome.stdout[:60]!r}"
        return
    *said, last = outcome.text.splitlines() or [""]
    quiet, (width, height) = "-q" in row.command, row.size
    if len(said) != (not quiet) or any(OUTPUT not in line or f"{width}x{height}" not in line for line in said):
        yield f"not one line with the name and the size: {said}"
    try:
        summary = json.loads(last)
    except ValueError as error:
        yield f"no line of JSON: {error}"
        return
    if "NaN" in last or "Infinity" in last:
        yield f"not finite: {last}"
    expected = {"output": OUTPUT, "width": width, "height": height, "exit_code": 0}
    if (found := {name: summary.get(name) for name in expected}) != expected:
        yield f"the JSON says {found}"
    if not quiet and [f"impasto: {note}" for note in summary.get("notes", ())] != outcome.lines:
        yield f"the JSON's notes differ from standard error: {summary.get('notes')}"


def examine(row: Row, outcome: Outcome, folder: Path) -> list[str]:
    """What is wrong with the painted image and the other images that were written."""
    if not row.size:
        return []
    try:
        pixels = checks.read(io.BytesIO(outcome.stdout) if "-" in row.command[1:] else folder / OUTPUT)
        for name in row.outputs:
            if name.endswith((".png", ".gif")):
                checks.read(folder / name)
    except (OSError, ValueError) as error:
        return [f"not a whole image: {error}"]
    height, width = pixels.shape[:2]
    if (width, height) != row.size:
        return [f"the image has {width}x{height} pixels, expected {row.size}"]
    if pixels.std(axis=(0, 1)).max() < checks.FLAT and not row.flat:
        return ["the image has a single color"]
    photo = folder / (row.shows or (row.stdin if row.command[0] == "-" else row.command[0]))
    result = Result(folder, pixels, checks.photograph_at(photo, row.size))
    return [measured for measured, good in (check(result) for check in row.checks) if not good]


def main() -> int:
    """Run the rows asked for. Returns 1 if one failed."""
    parser = argparse.ArgumentParser(description="Try unusual inputs on the command line.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="run only rows whose names contain this")
    parser.add_argument("--show", action="store_true", help="print each command and what it wrote on standard error")
    asked = parser.parse_args()
    passed = failed = skipped = 0
    for row in ROWS:
        if asked.names and not any(name in row.name for name in asked.names):
            continue
        if row.skip:
            skipped += 1
            continue
        with new_folder() as folder:
            outcome, problems = run(row, folder)
        if asked.show:
            shown = (f"{row.name}: exit code {outcome.code}", shlex.join(["impasto", *row.command]), *outcome.lines)
            print(*(text[:300] for text in shown), sep="\n    ", flush=True)
        if problems:
            print(f"FAILED {row.name}: {'; '.join(problems)}", flush=True)
        passed, failed = passed + (not problems), failed + bool(problems)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if passed + skipped and not failed else 1


@contextlib.contextmanager
def new_folder() -> Iterator[Path]:
    """An empty folder, removed afterwards with whatever it then holds."""
    with tempfile.TemporaryDirectory(prefix="impasto-inputs-") as name:
        yield Path(name)
        for path in Path(name).iterdir():
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
