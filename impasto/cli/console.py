"""What is said and where: progress and notes on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from impasto.optimize import Step

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it
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
    losses = "  ".join(f"{name} {loss:.3g}" for name, loss in step.losses.items())
    return f"scale {step.scale}/{step.scales} {width}x{height}  step {step.step}/{step.steps}  {losses}"


def _draw(steps: Iterable[Step], console: Console) -> None:
    columns = [TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn()]
    with Progress(*columns, TextColumn("left"), console=console, transient=True) as progress:
        task = progress.add_task("looking at the pictures", total=1.0)
        for step in steps:
            progress.update(task, completed=step.done, description=describe(step))


def _tell(steps: Iterable[Step]) -> None:
    for step, left in _with_time_left(steps):
        note(f"{describe(step)}  {step.done:.0%}, {seconds(left)} left")


def _with_time_left(steps: Iterable[Step]) -> Iterator[tuple[Step, float]]:
    """A step every PLAIN_EVERY seconds, with the seconds left if the work goes on at this speed."""
    began = said = time.monotonic()
    for step in steps:
        now = time.monotonic()
        if now - said >= PLAIN_EVERY:
            said = now
            yield step, (now - began) * (1 - step.done) / step.done
