"""Weights of several styles that change over a clip."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from impasto.errors import OptionError

_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_RANGE = re.compile(rf"({_NUMBER})(?:\.\.({_NUMBER}))?")


@dataclass(frozen=True)
class Blending:
    """For each style its weight at the start of the clip and at the end; it changes evenly.

    With one pair less than there are styles, the last style gets what the others leave of 1.
    """

    ranges: tuple[tuple[float, float], ...]

    @classmethod
    def parse(cls, words: Sequence[str]) -> Blending:
        """From words such as "1..0" and "0.3". Raises OptionError."""
        found = []
        for word in words:
            match = _RANGE.fullmatch(word.strip())
            if match is None:
                raise OptionError(f"must be numbers such as 0.7, or ranges such as 1..0, not {word!r}", option="blend")
            found.append((float(match[1]), float(match[2] or match[1])))
        return cls(tuple(found))

    def check(self, count: int) -> None:
        """Make sure that the weights suit so many styles. Raises OptionError."""
        given = len(self.ranges)
        if count < 2:
            raise OptionError("needs several styles", option="blend")
        if given not in (count - 1, count):
            raise OptionError(f"must have a weight for each of the {count} styles, or for all but the last", option="blend")
        for end in (0, 1):
            weights = [pair[end] for pair in self.ranges]
            if given < count and sum(weights) > 1:
                raise OptionError("leaves nothing for the last style: the others have more than 1", option="blend")
            if given == count and not sum(weights):
                raise OptionError("must have a number above 0 at any time", option="blend")

    def at(self, share: float, count: int) -> tuple[float, ...]:
        """The weights of so many styles when a share, 0..1, of the clip is over."""
        weights = [start + (end - start) * share for start, end in self.ranges]
        if len(weights) < count:
            weights.append(max(0.0, 1 - math.fsum(weights)))
        return tuple(weights)

    def to_json(self) -> list[list[float]]:
        """As JSON holds it."""
        return [list(pair) for pair in self.ranges]
