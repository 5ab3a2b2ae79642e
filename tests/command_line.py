"""What the tests of the command line share: how a command ended, and pictures of noise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


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
        return [line for line in self.stderr.splitlines() if not re.match(progress, line) and "is enlarged to" not in line]

    @property
    def line(self) -> str:
        """The only one of them, besides the one that says where it goes on."""
        told = [line for line in self.lines if not re.match("impasto: going on ", line)]
        assert len(told) == 1, told
        return told[0].removeprefix("impasto: ")

    @property
    def json(self) -> Any:
        return json.loads(self.stdout.splitlines()[-1])


Cli = Callable[..., Said]


def noise(file: Path, height: int, width: int, *, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file)
