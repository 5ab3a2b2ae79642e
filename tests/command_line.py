"""What the tests of jobs and of the command line share: small inputs, how a command ended, and runs that are stopped on the way."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
QUICK = ("--size", "32", "--iterations", "3", "--device", "cpu")
LIMIT = 300  # seconds to wait for what certainly comes; a busy machine takes its time


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        """Standard error without progress, of which there is more on a slower machine, and without the note on a small painting."""
        progress = r"impasto: (\d+%, |scale )"
        return [line for line in self.stderr.splitlines() if not re.match(progress, line) and "the painting has" not in line]

    @property
    def line(self) -> str:
        """The only one of them, apart from the one that says where a run resumes."""
        found = [line for line in self.lines if not line.startswith("impasto: resuming at ")]
        assert len(found) == 1, found
        return found[0].removeprefix("impasto: ")

    @property
    def json(self) -> Any:
        return json.loads(self.stdout.splitlines()[-1])


Cli = Callable[..., Said]


def noise(file: Path, height: int, width: int, *, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file)


def save_pixels(file: str | Path, pixels: NDArray[Any]) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(file)


def pixels_of(file: str | Path | BinaryIO) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        return np.asarray(image)


def names(folder: Path) -> set[str]:
    """The files in a folder, without the inputs that a test's folder begins with."""
    return {file.name for file in folder.iterdir()} - {"photo.png", "style.png", "another.png", "mask.png"}


# ----------------------------------------------------------------------------------------------------------- stopping


def press_control_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def fail_with(error: BaseException) -> Callable[[], None]:
    """A function that raises it."""

    def act() -> None:
        raise error

    return act


@contextlib.contextmanager
def after_step(count: int, act: Callable[[], object] = press_control_c) -> Iterator[None]:
    """Within the block, act once when a run has made so many steps; 0: before the first one."""
    from impasto.run import Run

    steps_of, left = Run.__iter__, [act]  # once: what it does may be another run

    def steps(run: Run) -> Iterator[Any]:
        if count == 0 and left:
            left.pop()()
        for number, step in enumerate(steps_of(run), 1):
            yield step
            if number == count and left:
                left.pop()()

    Run.__iter__ = steps  # type: ignore[method-assign]
    try:
        yield
    finally:
        Run.__iter__ = steps_of  # type: ignore[method-assign]


# ---------------------------------------------------------------------------------------------------- other processes


def start(*words: object, text: bool = True, **options: Any) -> subprocess.Popen[Any]:
    """Start Python with these words, in this folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IMPASTO_SAVE_EVERY": "0"}
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-W", "error", *map(str, words)]
    return subprocess.Popen(command, env=environment, text=text, **pipes | options)


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[Any], what: str) -> None:
    """Wait until it is so while the process runs."""
    until = time.monotonic() + LIMIT
    while not ready():
        assert process.poll() is None, f"the process ended with {process.returncode} before {what}"
        assert time.monotonic() < until, f"{LIMIT} s were not enough for {what}"
        time.sleep(0.01)
