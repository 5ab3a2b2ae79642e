"""Jobs that take no time, and what the tests of jobs ask about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from impasto import jobs, pictures
from impasto.inputs import Inputs
from impasto.jobs import Event, Job, Output, Progress, Saved
from impasto.options import Options

OUT = Path("out.png")
STATE = Path("out.png.unfinished")
INPUTS = Inputs("photo.png", ("style.png",))
STEPS = 9
SMALL: dict[str, Any] = {"size": 40, "iterations": STEPS, "device": "cpu"}


def job(path: str | Path | None = OUT, inputs: Inputs = INPUTS, output: dict[str, Any] | None = None, **options: Any) -> Job:
    return Job(inputs, Options(**SMALL | options), Output(path=path, **output or {}))


def finish(job: Job, **words: Any) -> Saved:
    """Run a job to its end."""
    *_, saved = jobs.run(job, **words)
    assert isinstance(saved, Saved)
    return saved


def begin(job: Job, steps: int, **words: Any) -> Iterator[Event]:
    """The events of a job that has made so many steps."""
    events = jobs.run(job, **words)
    while steps:
        steps -= isinstance(next(events), Progress)
    return events


def leave(job: Job, steps: int, **words: Any) -> None:
    """Run a job for so many steps, then close it."""
    begin(job, steps, **words).close()  # type: ignore[attr-defined]  # a generator


def interrupt(job: Job, steps: int, **words: Any) -> Saved:
    """Run a job for so many steps, then have it hear of Ctrl-C."""
    events = begin(job, steps, **words)
    *_, saved = [events.throw(KeyboardInterrupt()), *events]  # type: ignore[attr-defined]
    assert isinstance(saved, Saved)
    return saved


def record(file: str | Path) -> dict[str, Any]:
    """What an image remembers, except for how long it took and the memory that was free."""
    found = pictures.read_settings(file)
    assert found is not None
    return {key: value for key, value in found.items() if key not in ("seconds", "memory")}


def same(one: str | Path, other: str | Path) -> bool:
    with Image.open(one) as a, Image.open(other) as b:
        return a.tobytes() == b.tobytes() and record(one) == record(other)
