"""Which photograph gets which style."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from impasto.batches.sources import Source
from impasto.errors import OptionError

Kind = Literal["all", "zip", "random"]


@dataclass(frozen=True)
class Pairs:
    """all: every photograph in every style. zip: the first photograph in the first style, the second in the second, and so on.
    random: every photograph in `count` different styles, drawn by `seed`.
    """

    kind: Kind = "all"
    count: int = 0
    seed: int = 0

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Pairs:
        """From "all", "zip" or "random:N". Raises OptionError."""
        if text == "all":
            return cls("all")
        if text == "zip":
            return cls("zip")
        found = re.fullmatch(r"random:(\d{1,9})", text)
        if not found or not int(found[1]):
            raise OptionError(f"must be all, zip or random:N with a number from 1, not {text!r}", option="pairs")
        return cls("random", int(found[1]), seed)

    def of(self, photos: Sequence[Source], styles: Sequence[Source]) -> Iterator[tuple[Source, Source]]:
        """The pairs, all of one style together, so that a worker analyzes a style once.

        A random choice depends on the seed, on the photograph's key and on the set of the styles' keys, not on an order, a machine or a
        version of Python: another photograph changes nothing for the others. Raises OptionError where the numbers do not fit.
        """
        if self.kind == "zip":
            if len(photos) != len(styles):
                problem = f"zip needs as many styles as photographs, not {len(styles)} and {len(photos)}"
                raise OptionError(problem, remedy="use {pairs} all or random:N")
            yield from zip(photos, styles, strict=True)
        elif self.kind == "all":
            yield from ((photo, style) for style in styles for photo in photos)
        else:
            yield from self._drawn(photos, styles)

    def _drawn(self, photos: Sequence[Source], styles: Sequence[Source]) -> Iterator[tuple[Source, Source]]:
        if self.count > len(styles):
            raise OptionError(f"draws {self.count} different styles, and there are {len(styles)}", option="pairs")
        known = sorted(styles, key=lambda style: style.key)
        chosen: dict[Source, list[Source]] = {style: [] for style in known}
        for photo in photos:
            drawn = dict[int, None]()
            for number in itertools.count():
                drawn[self._draw(photo, number) % len(known)] = None
                if len(drawn) == self.count:
                    break
            for place in drawn:
                chosen[known[place]].append(photo)
        yield from ((photo, style) for style, some in chosen.items() for photo in some)

    def _draw(self, photo: Source, number: int) -> int:
        """The photograph's draw of this number, 0 to 2^64 - 1."""
        text = f"{self.seed}\0{number}\0{photo.key}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
