"""What a style file says of itself, and the images in it: all that is read of one without torch. `stored` has the format."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter

from impasto import __version__, cards, files
from impasto.errors import StyleFileError
from impasto.ladder import rung

FORMAT = 3  # raised when earlier files can no longer be read
CARD = "impasto style"  # the only key of the metadata: the order of several would differ from run to run
COLORS = "quantiles"
INSTANT = "instant/"  # begins the names of what is stored for the network of quality "instant"
TUNING = "tuning"  # of these, the tuning
LONGEST_TEXT = 300  # characters of a title, a source, a license

_Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
_Color = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]
_Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Card:
    """What a style file says of itself.

    encoder, digest, pooling, padding: what the targets were computed with. taps, rungs: where they were taken. size: the painting's
    (width, height). palette: ("#rrggbb", share), the largest share first. error: a bound on the relative error of each Gram matrix,
    0 for an exact file. network: SHA-256 of the network that `instant/...` is for; tuned: whether a tuning is among that. impasto: the
    version that made it.
    """

    format: int
    impasto: str
    title: _Text
    source: _Text
    licence: _Text
    encoder: str
    digest: str
    pooling: str
    padding: str
    taps: Annotated[tuple[str, ...], Field(min_length=1)]
    rungs: Annotated[tuple[Annotated[int, Field(ge=-14, le=20)], ...], Field(min_length=1)]
    size: tuple[_Count, _Count]
    palette: tuple[tuple[_Color, float], ...]
    error: float = 0.0
    network: str = ""
    tuned: bool = False

    @property
    def sides(self) -> tuple[int, int]:
        """The smallest and the largest longer side it is stored for, in pixels."""
        return rung(min(self.rungs)), rung(max(self.rungs))


_CARDS = TypeAdapter(Card)


def read_card(path: files.PathLike) -> Card:
    """What a style file says of itself. Raises StyleFileError."""
    with opened(path, "np") as (card, _):
        return card


def read_image(path: files.PathLike, name: str) -> bytes | None:
    """One of the JPEGs of the painting in a style file, "thumbnail" or "painting"; None if it has none. Raises StyleFileError."""
    with opened(path, "np") as (_, content):
        return image_in(content, name)


def image_in(content: Any, name: str) -> bytes | None:
    """The same from the open file that `opened` gives."""
    return np.asarray(content.get_tensor(name)).tobytes() if name in set(content.keys()) else None


def opened(path: files.PathLike, framework: cards.Framework) -> AbstractContextManager[tuple[Card, Any]]:
    """A style file's card and its safetensors, as a context manager. framework: as in `cards.opened`. Raises StyleFileError."""
    return cards.opened(path, CARD, lambda text: _card(files.printable(path), text), StyleFileError, "style file", framework)


def _card(name: str, text: str) -> Card:
    """Read a card. text: its JSON."""
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise StyleFileError(f"style file {name} is damaged: its card is not JSON") from error
    number = found.get("format") if isinstance(found, dict) else None
    if isinstance(number, int) and number != FORMAT:
        raise StyleFileError(
            f"{name} has format {number}, made by impasto {files.one_line(str(found.get('impasto')))}; "
            f"impasto {__version__} reads format {FORMAT}: make it again with `impasto style make PAINTING`"
        )
    return _CARDS.validate_json(text)
