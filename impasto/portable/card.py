"""The file of the network, impasto/assets/instant.safetensors, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from impasto import cards, files
from impasto.errors import WeightsFileError

FILE = Path(__file__).parent.parent / "assets" / "instant.safetensors"
CARD = "impasto instant network"
FORMAT = 1
REMEDY = "install impasto again: `pip install --force-reinstall impasto`"


@dataclass(frozen=True)
class Card:
    """What the file says of itself. encoder: SHA-256 of lite's weights, which the network was trained with. training: in words."""

    format: int
    encoder: str
    training: str
    licence: str


_CARDS = TypeAdapter(Card)


@contextmanager
def opened(file: Path = FILE, framework: cards.Framework = "np") -> Iterator[tuple[Card, Any]]:
    """The card and the tensors of a network's file. Raises WeightsFileError, which says what to do, if it is missing or damaged."""
    what = "network of quality 'instant'"
    try:
        with cards.opened(file, CARD, _CARDS.validate_json, WeightsFileError, what, framework) as (card, content):
            if card.format != FORMAT:
                raise WeightsFileError(f"{files.printable(file)} has format {card.format}; expected {FORMAT}")
            yield card, content
    except WeightsFileError as error:
        raise WeightsFileError(str(error), remedy=REMEDY) from error
