"""The parts of `scripts/fuzz.py`: what a case is, and what became of it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parent.parent.parent
PIXELS = 4_000_000  # the limit on pixels that images are read with, so that memory shows faults and not large images

Random: TypeAlias = random.Random

KINDS = {
    "image": "image files, read as photograph, painting, mask or start image and asked for their settings",
    "paint": "image files, painted with: the whole command",
    "line": "command lines: words, flags, numbers, names",
    "option": "values of any type for Options and Output, and jobs as JSON",
    "style": "style files",
    "record": "the settings in images: info and again",
    "state": "saved states of interrupted runs: info and resume",
    "weights": "weights files of every format",
    "network": "the network of quality instant",
}
# 50 cases in turn: the kind of case N is SCHEDULE[N % 50]
SCHEDULE = (
    *("image", "image", "line", "image", "image", "style", "image", "image", "weights", "image"),
    *("image", "image", "line", "image", "image", "record", "image", "image", "state", "image"),
    *("image", "image", "line", "image", "paint", "style", "image", "image", "weights", "image"),
    *("image", "image", "line", "image", "image", "record", "image", "image", "option", "image"),
    *("image", "image", "line", "image", "paint", "style", "image", "image", "network", "image"),
)


@dataclass(frozen=True)
class Case:
    """What is tried.

    what: the input and its mutations, in words. files: {name: content} of the files it finds. words: a command line; empty for a call
    of the library with `call`: (function, argument, ...), see `perform`. stdin: what standard input holds.
    """

    kind: str
    what: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    call: tuple[Any, ...] = ()
    stdin: bytes = b""


@dataclass(frozen=True)
class Verdict:
    """What became of a case: "accepted", "refused" or "failed". said: the error in words. problems: why it failed."""

    number: int
    kind: str
    what: str
    outcome: str
    said: str = ""
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
