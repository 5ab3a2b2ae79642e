"""What a batch reports. Events hold plain values, so that they can be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from impasto.errors import ImpastoError
from impasto.jobs.events import Note

State = Literal["painted", "kept", "failed", "skipped"]


@dataclass(frozen=True)
class Made:
    """A result that stores no metadata. of: a digest of its inputs and options; sha256: of its file. Both are "" until it is there.

    open: whether it was handed to a worker and did not come back, so that the file may be a later result.
    """

    of: str = ""
    sha256: str = ""
    open: bool = False


@dataclass(frozen=True)
class Result:
    """What became of an item.

    number: which item, from 0. photo, styles, output: as in the item; place: the file or the address of the result. state: painted;
    kept, because it was there already; failed; or skipped, because it failed before and nothing has changed since. problem: why it
    failed, with `error`, whose text the problem is, where there is one. again: whether trying again may help although its files
    have not changed, as after a full disk. seconds: it took. worker: of which one, in words. made: of a result without metadata.
    """

    number: int
    photo: str
    styles: tuple[str, ...]
    output: str
    place: str
    state: State
    problem: str = ""
    error: ImpastoError | None = field(default=None, compare=False)
    again: bool = False
    seconds: float = 0.0
    width: int = 0
    height: int = 0
    notes: tuple[str, ...] = ()
    worker: str = ""
    made: Made | None = None

    @property
    def good(self) -> bool:
        """Whether the image is there."""
        return self.state in ("painted", "kept")


@dataclass(frozen=True)
class Status:
    """How far a batch is. items: of all; done: finished ones of any kind, and the share of those that are being painted.

    rate: images a minute, painted since the start; left: seconds; None while too little is known.
    """

    items: int
    done: float
    painted: int
    kept: int
    failed: int
    workers: int
    rate: float | None = None
    left: float | None = None


Event: TypeAlias = Note | Result | Status
