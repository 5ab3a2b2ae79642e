"""A painting to a style file to which the network of quality instant is tuned, as a job."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import OptionError
from impasto.inputs import SAMPLE
from impasto.jobs.events import Saved, Tile

if TYPE_CHECKING:
    from torch import Tensor


def tune(painting: Path, target: Path) -> Generator[Tile | Saved, None, None]:
    """Fit the network to a painting and write a style file. The last event is Saved. Closing the iterator writes nothing.

    Raises PictureError, OptionError for a style file, SaveError and RunError.
    """
    started = time.monotonic()
    from impasto import fast, pictures, styles
    from impasto.options import Options
    from impasto.stylizer import Stylizer

    style = Stylizer(Options()).style(painting)
    if not isinstance(style, styles.Painted):
        raise OptionError("only a painting can be tuned, not a style file")
    stored = fast.load()
    found: dict[str, Tensor] = {}
    for progress, tuning in fast.tune(style, stored, [pictures.load(SAMPLE, role="photograph").pixels]):
        found = {fast.TUNING: tuning}
        yield Tile("tuning", progress.step, progress.of, progress.step / progress.of)
    styles.save(style, target, instant=found, network=stored.digest, overwrite=True)
    yield Saved(target, 0, 0, round(time.monotonic() - started, 2))
