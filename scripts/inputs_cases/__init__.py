"""The table of `scripts/inputs.py`: what a row is. Rows that are refused are in refused.py, rows that succeed in accepted.py."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent.parent
OUTPUT = "out.png"
COMMANDS = ("again", "compare", "demo", "info", "resume", "sheet", "style", "styles", "weights")
REFUSED, FAILED = 2, 1  # exit codes: the request is wrong; carrying it out failed
SMALL = {"--size": "32", "--iterations": "2", "--device": "cpu"}  # if a row that should be refused paints, it is soon over
PAINTED = {"--size": "64", "--iterations": "3", "--device": "cpu", "-o": OUTPUT}

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """What a row left: its folder, the painted pixels as HxWx3 levels from 0 to 255, and the photograph at the same size."""

    folder: Path
    pixels: Floats
    photo: Floats


Finding: TypeAlias = tuple[str, bool]  # a measurement in words, and whether it is as it should be
Check: TypeAlias = Callable[[Result], Finding]


@dataclass(frozen=True)
class Row:
    """One row of the table: a command line, the files it needs, and what must come of it.

    words: the command line. A line that paints gets SMALL or PAINTED where it does not set those options itself.
    says: regular expressions, one for each line on standard error except progress. The error of a refusal is the last line.
    code: the exit code. size: (width, height) of the image that must be painted; None: the command paints nothing.
    prints: a regular expression for standard output of a command that paints nothing.
    files: names of needed files, separated by spaces. Files that the words name are made without being listed here.
    checks: of the painted image. flat: it may have a single color. then: more command lines, each with an expression for its output.
    writes: files written besides those that `-o` names. stdin: the file that standard input is read from.
    shows: a file that shows the same photograph, where Pillow cannot read the photograph itself.
    own_process: run `python -m impasto` instead of calling its `main`. skip: why the row cannot run on this machine.
    """

    name: str
    words: str
    says: str | tuple[str, ...] = ()
    code: int = REFUSED
    size: tuple[int, int] | None = None
    prints: str = ""
    files: str = ""
    checks: tuple[Check, ...] = ()
    flat: bool = False
    then: tuple[tuple[str, str], ...] = ()
    writes: str = ""
    stdin: str = ""
    shows: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    own_process: bool = False
    skip: str = ""

    @property
    def command(self) -> list[str]:
        """The words as `main` receives them."""
        command = self.completed(self.words)
        return [*command, "--json"] if self.size and OUTPUT in command and "--json" not in command else command

    def completed(self, line: str) -> list[str]:
        """The words of a line, with the options that keep a painting small."""
        words = shlex.split(line)
        if not words or words[0] in COMMANDS or (words[0].startswith("-") and words[0] != "-"):
            return words
        options = PAINTED if self.size else SMALL
        return [*words, *(word for pair in options.items() if pair[0] not in words for word in pair)]

    @property
    def patterns(self) -> tuple[str, ...]:
        """The expressions of `says`."""
        return (self.says,) if isinstance(self.says, str) else self.says

    @property
    def outputs(self) -> set[str]:
        """Every file that must have been written or changed when the row is over."""
        found = set(self.writes.split())
        if self.code == 0:
            for words in (self.command, *(self.completed(line) for line, _ in self.then)):
                found |= {after for option, after in itertools.pairwise(words) if option == "-o" and after != "-"}
        return found
