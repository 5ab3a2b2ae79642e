"""The built-in styles as the page reads them: safetensors with the little that the network needs.

| name | content | type |
|---|---|---|
| `quantiles` | the painting's colors, 7x256 | float32 |
| `tuning` | an addition to the modulation of every level; optional | float16 |
| `TAP/mean`, `TAP/covariance` | for every rung a row: K numbers; the upper triangle, row by row | float16 |

The metadata has one key, `style`: JSON with `rungs`, the numbers of the rungs in order (`impasto.ladder`), and `longest`, the largest
side at which the style is known, in pixels.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from impasto.errors import StyleFileError
from impasto.inputs import StyleFile, built_in, style_names
from impasto.portable import stored
from impasto.portable.network import KEPT
from impasto.portable.styles import Stored
from impasto.styles import read_card


def listed() -> dict[str, tuple[dict[str, str], bytes]]:
    """The built-in styles by name: title and source, and the bytes of the page's file. Raises StyleFileError."""
    return {name: _style(built_in(name)) for name in style_names()}


def _style(path: Path) -> tuple[dict[str, str], bytes]:
    card, style = read_card(path), stored.load(StyleFile(path, digest=""))
    if not isinstance(style, Stored):
        raise StyleFileError(f"{path.name} was made for another network")
    rungs = sorted(style.looks)
    tensors = {"quantiles": style.palette}
    for tap, count in KEPT.items():
        at = [style.looks[number][tap] for number in rungs]
        upper = np.triu_indices(count)
        tensors[f"{tap}/mean"] = np.stack([one.mean for one in at]).astype(np.float16)
        tensors[f"{tap}/covariance"] = np.stack([one.covariance[upper] for one in at]).astype(np.float16)
    if style.tuning is not None:
        tensors["tuning"] = style.tuning.astype(np.float16)
    facts = json.dumps({"rungs": rungs, "longest": style.longest})
    return {"title": card.title, "source": card.source}, save(tensors, {"style": facts})
