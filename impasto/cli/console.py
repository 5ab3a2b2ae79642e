"""Printing: progress and notes on standard error, results on standard output."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from impasto import files
from impasto.errors import ImpastoError, OutputError, PictureError, SaveError
from impasto.jobs.clock import Clock

if TYPE_CHECKING:
    from impasto.jobs.events import Frame, Tile
    from impasto.jobs.events import Progress as Progressed

GONE = (errno.EPIPE, errno.EIO)  # the reader of a pipe, or the terminal, is gone
LOSSES = ("content", "style", "palette")  # the order in which they are printed, before any others
PLAIN_EVERY = 5.0  # seconds between progress lines where there is no terminal to draw a bar on


class LossyStream:
    """A stream whose errors never stop a run: if its reader is gone, or it is closed, text is lost.

    patient: wait for a slow reader; otherwise text is lost then too. Everything else is as in `stream`.
    """

    def __init__(self, stream: IO[str], *, patient: bool = False) -> None:
        self._stream = stream
        self._patient = patient

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or lose it."""
        with self._unharmed():
            if self._patient or self._has_room():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or lose it."""
        with self._unharmed():
            self._stream.flush()

    def _has_room(self) -> bool:
        """Whether a line can be written at once. A full pipe or a stopped terminal would block."""
        try:
            return bool(select.select([], [self._stream.fileno()], [], 0)[1])
        except (OSError, ValueError, AttributeError):  # no file, or a system that cannot say
            return True

    @contextlib.contextmanager
    def _unharmed(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in GONE:
                silence(self._stream)


class StandardOutput:
    """Standard output whose errors are those of impasto. exists: whether the program has one; otherwise output is lost."""

    def __init__(self, stream: TextIO | None, nowhere: TextIO) -> None:
        self.exists = stream is not None and not stream.closed
        self._stream = stream if stream is not None and self.exists else nowhere
        self._lost: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write. Raises BrokenPipeError if the reader, or the terminal, is gone, and SaveError if the disk is full or the like."""
        return int(self._tried(lambda: self._stream.write(text)))

    def write_bytes(self, data: bytes) -> None:
        """Write bytes. Raises as `write` does."""
        self._tried(lambda: self._stream.buffer.write(data))
        self.flush()

    def flush(self) -> None:
        """Flush. Raises as `write` does."""
        if not self._lost:
            self._tried(self._stream.flush)

    def _tried(self, work: Callable[[], Any]) -> Any:
        try:
            if self._lost:
                raise self._lost
            return work()
        except OSError as error:
            self._lost = error
            silence(self._stream)
            if error.errno in GONE:
                raise BrokenPipeError(error.errno, "nobody reads standard output") from error
            raise SaveError(f"standard output could not be written: {files.reason(error)}") from error


@contextlib.contextmanager
def streams() -> Iterator[None]:
    """Have standard output and standard error, also in a program without a console, and write there what a terminal can show."""
    real = sys.stdout, sys.stderr
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        for stream in real:
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a file's name is no failure
        sys.stdout, sys.stderr = cast("TextIO", StandardOutput(sys.stdout, nowhere)), sys.stderr or nowhere
        try:
            yield
        finally:
            sys.stdout, sys.stderr = real


def silence(stream: IO[str]) -> None:
    """Discard what is still written to a stream whose other end is closed. Python would report it again at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def standard_error(*, patient: bool = False) -> IO[str]:
    """Standard error as a `LossyStream`."""
    return cast("IO[str]", LossyStream(sys.stderr, patient=patient))


def tell(line: str) -> None:
    """Print a line on standard output. Raises as `StandardOutput.write` does."""
    print(line, flush=True)


def report(line: str) -> None:
    """Print a line about what was written. It is lost if standard output is full, which is no failure."""
    with contextlib.suppress(SaveError):
        tell(files.escaped(line))


def write_image(data: bytes) -> None:
    """Write an image to standard output. Raises as `StandardOutput.write` does."""
    cast("StandardOutput", sys.stdout).write_bytes(data)


def check_output() -> None:
    """Raise OutputError in a program without a standard output."""
    if not getattr(sys.stdout, "exists", True):
        raise OutputError("standard output is closed, so the image cannot go there", remedy="name a file with {output}")


def fail(message: str, code: int, *, as_json: bool = False) -> int:
    """Print an error as one line, and as JSON if asked. Returns the code."""
    line = files.escaped(" ".join(message.split()))
    print(f"impasto: {line}", file=standard_error(patient=True))
    if as_json:
        report(json.dumps({"error": line, "exit_code": code}))
    return code


def flag_of(option: str) -> str:
    """The flag of an option: --style-weight for style_weight."""
    return f"--{option.replace('_', '-')}"


def worded(error: ImpastoError) -> str:
    """An error's text with options spelled as flags."""
    return error.worded(flag_of)


def note(message: str, *, quiet: bool = False) -> None:
    """Print a note on standard error."""
    if not quiet:
        print(f"impasto: {files.escaped(message)}", file=standard_error(), flush=True)


def refuse_address(file: Path) -> None:
    """Raise PictureError for an address, such as https://..., where a file is expected."""
    hint = files.address_hint(file)
    if hint and not files.is_file(file):
        raise PictureError(hint)


def seconds(span: float) -> str:
    """A span of time as people say it: "9 s", "2 min 05 s", "1 h 20 min"."""
    whole = round(span)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def exact_seconds(span: float) -> str:
    """The same with a decimal where a second counts: "0.4 s"."""
    return f"{span:.1f} s" if span < 2.95 else seconds(span)


@contextlib.contextmanager
def bar(description: str, total: float | None = None, *, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """Draw a progress bar on standard error until the block ends; only where that is a terminal.

    description: literal text. total: the amount of work, None while it is unknown.
    Yields update(completed, description=None, total=None); None keeps what is shown.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.table import Column

    console = Console(file=standard_error())
    text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="crop"))
    columns = (BarColumn(bar_width=10), TaskProgressColumn(), text)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)

        def update(completed: float, description: str | None = None, total: float | None = None) -> None:
            progress.update(task, completed=completed, description=description, total=total)

        yield update


@contextlib.contextmanager
def progress(*, quiet: bool = False) -> Iterator[Callable[[Progressed | Tile | Frame | None], None]]:
    """Show the progress of a job or a contact sheet: a bar on a terminal, elsewhere a line every few seconds.

    Yields show(event); None removes the bar before the last lines are printed.
    """
    from rich.console import Console

    clock, said = Clock(), time.monotonic()
    if quiet or not Console(file=standard_error()).is_terminal:

        def line(event: Progressed | Tile | Frame | None) -> None:
            nonlocal said
            if event is None:
                return
            words, now = left(clock, event.done), time.monotonic()
            if now - said >= PLAIN_EVERY:
                said = now
                note(f"{event.done:.0%}, {words}  {describe(event)}", quiet=quiet)

        yield line
        return
    with contextlib.ExitStack() as stack:
        update = stack.enter_context(bar("reading the images", 1.0))

        def draw(event: Progressed | Tile | Frame | None) -> None:
            if event is None:
                stack.close()
            else:
                update(event.done, f"{left(clock, event.done):{len('59 min 59 s left')}}  {describe(event)}")

        yield draw


def describe(event: Progressed | Tile | Frame) -> str:
    """A step, a tile of a contact sheet, or a frame of a clip, in one line."""
    from impasto.jobs.events import Frame, Tile  # here: help need not wait for it

    if isinstance(event, Frame):
        return f"frame {event.number} of {event.of}  {files.printable(event.path)}"

    if isinstance(event, Tile):
        return f"{event.name} ({event.number} of {event.of})"
    words = f"scale {event.scale}/{event.scales} {event.width}x{event.height}  step {event.step}/{event.steps}"
    order = {name: place for place, name in enumerate(LOSSES)}
    losses = sorted(event.losses.items(), key=lambda loss: order.get(loss[0], len(order)))
    return words + "".join(f"  {name} {loss:.3g}" for name, loss in losses)


def left(clock: Clock, done: float) -> str:
    """The time left, such as "9 s left", or "estimating" while too little is known. done: share of the work, 0..1."""
    span = clock.left(done)
    return "estimating" if span is None else f"{seconds(span)} left"
