"""What a job reports while it runs. Events hold plain values, so that they can be sent to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from impasto.errors import ImpastoError


@dataclass(frozen=True)
class Note:
    """A sentence for the user."""

    text: str


@dataclass(frozen=True)
class Progress:
    """A step was made; the fields are those of `optimize.Step`. width, height: of the image at this scale, in pixels."""

    count: int
    of: int
    scale: int
    scales: int
    step: int
    steps: int
    width: int
    height: int
    losses: Mapping[str, float]
    done: float


@dataclass(frozen=True)
class Preview:
    """A preview was written after step `count`; 0: before the first one, painted by the network of quality "instant"."""

    path: Path
    count: int


@dataclass(frozen=True)
class Tile:
    """A tile of a contact sheet is being painted, or was. name: of its style; number, of: which style it is, from 1, and how many.

    done: share of the work on all tiles, 0..1.
    """

    name: str
    number: int
    of: int
    done: float


@dataclass(frozen=True)
class Frame:
    """A frame of a clip was painted. number, of: how many are painted, and about how many there are. path: the frame's image."""

    number: int
    of: int
    done: float
    path: Path


@dataclass(frozen=True)
class Saved:
    """The image was written, finished or, with a `problem`, as far as it was.

    path: of the file; None if the job has none, and then data: its bytes. losses: at the end. settings: as stored in the image.
    compared: whether an image made again is the same, in words. notes: all that were reported. error: the one whose text the problem
    begins with, so that a front end can spell its options. resume: how to resume, in words.
    """

    path: Path | None
    width: int
    height: int
    seconds: float
    data: bytes = b""
    losses: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    compared: str = ""
    problem: str = ""
    error: ImpastoError | None = field(default=None, compare=False)  # its text is in the problem
    resume: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class Failed:
    """The job ended before there was an image to write. error: as in `Saved`."""

    problem: str
    exit_code: int
    error: ImpastoError | None = field(default=None, compare=False)  # its text is in the problem


Event: TypeAlias = Note | Progress | Preview | Saved | Failed
