"""What the state of an unfinished run says, read without torch. `states` has the format."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from impasto import cards, files
from impasto.errors import StateFileError

CARD = "impasto state"

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


class Position(BaseModel):
    """Where the engine is: `State` without its tensors. first: of L-BFGS; None in a state without its memory. pairs: their number."""

    model_config = ConfigDict(frozen=True)

    scale: _Count
    step: _Count
    losses: dict[str, _Number]
    lowest: _Number
    first: _Number | None = None
    pairs: Annotated[int, Field(ge=0, le=1000)] = 0


class Card(BaseModel):
    """What a state file says.

    job: as JSON. settings: what the image will store (`records`). scales: (height, width, steps) of each. done: share of the work,
    0..1. seconds: spent so far. mine: SHA-256 of the files at the output that this run may replace; whole: of the finished file,
    once it is
    about to be written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[3] = 3
    job: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    scales: Annotated[tuple[tuple[_Count, _Count, _Count], ...], Field(min_length=1)]
    done: Annotated[float, Field(ge=0, le=1)] = 0.0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    mine: tuple[str, ...] = ()
    whole: str = ""
    position: Position | None = None

    def may_replace(self, output: Path) -> bool:
        """Whether a file is one that the run itself left at the output, or was asked to replace."""
        return files.digest(output) in {*self.mine, self.whole} - {""}


def read(file: Path) -> Card:
    """What a state file says. Raises StateFileError."""
    with opened(file, "np") as (card, _):
        return card


def opened(file: Path, framework: cards.Framework) -> AbstractContextManager[tuple[Card, Any]]:
    """A state file's card and its safetensors, as a context manager. framework: as in `cards.opened`. Raises StateFileError."""
    return cards.opened(file, CARD, Card.model_validate_json, StateFileError, "state of an unfinished run", framework)
