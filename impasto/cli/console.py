"""What is said and where: progress and notes on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Column

from impasto.errors import PictureError

if TYPE_CHECKING:
    from impasto.optimize import Step

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it
LEAST_TO_GO_BY = 0.03  # share of the work after which its pace is known
PLAIN_EVERY = 5.0  # seconds between progress lines where there is no terminal to draw a bar on


def fail(message: str, code: int, *, as_json: bool = False) -> int:
    """Say what went wrong in one line, for programs too if they asked for JSON. Returns code."""
    line = " ".join(message.split())
    print(f"impasto: {line}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": line, "exit_code": code}), flush=True)
    return code


def note(message: str, *, quiet: bool = False) -> None:
    """A word on the way."""
    if not quiet:
        print(f"impasto: {message}", file=sys.stderr, flush=True)


def refuse_address(file: Path) -> None:
    """Raise PictureError for what is no file but an address."""
    if file.parts and file.parts[0] in ("http:", "https:"):
        raise PictureError(f"{file.parts[0]}// addresses are not fetched; download the picture and name the file")


def seconds(span: float) -> str:
    """A span of time as people say it: "9 s", "2 min 05 s", "1 h 20 min"."""
    whole = round(span)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def follow(steps: Iterable[Step], *, quiet: bool) -> None:
    """Drive a run to its end, showing scale, step, losses and time left."""
    if quiet:
        for _ in steps:
            pass
        return
    console = Console(stderr=True)
    if console.is_terminal:
        _draw(steps, console)
    else:
        _tell(steps)


def describe(step: Step) -> str:
    """One step in a few words."""
    height, width = step.picture.shape[-2:]
    words = f"scale {step.scale}/{step.scales} {width}x{height}  step {step.step}/{step.steps}"
    return words + "".join(f"  {name} {loss:.3g}" for name, loss in step.losses.items())


class Clock:
    """Tells how long a run has left, from the pace since its first step: what comes before that is not the run's pace."""

    def __init__(self) -> None:
        self.began = 0.0
        self.first = 0.0

    def left(self, done: float) -> str:
        """done: share of the work, 0..1. Returns "9 s left", or "estimating" while there is too little to go by."""
        now = time.monotonic()
        if not self.began:
            self.began, self.first = now, done
        if done - self.first < LEAST_TO_GO_BY:
            return "estimating"
        return f"{seconds((now - self.began) * (1 - done) / (done - self.first))} left"


def _draw(steps: Iterable[Step], console: Console) -> None:
    clock = Clock()
    left = TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True, min_width=len("59 min 59 s left")))
    rest = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="crop"))  # gives way where it is narrow
    with Progress(BarColumn(bar_width=10), TaskProgressColumn(), left, rest, console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0, left="looking at the pictures")
        for step in steps:
            progress.update(task, completed=step.done, left=clock.left(step.done), description=describe(step))


def _tell(steps: Iterable[Step]) -> None:
    clock, said = Clock(), time.monotonic()
    for step in steps:
        left, now = clock.left(step.done), time.monotonic()
        if now - said >= PLAIN_EVERY:
            said = now
            note(f"{step.done:.0%}, {left}  {describe(step)}")
