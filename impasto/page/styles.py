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

from impasto.errors import StyleFileError
from impasto.inputs import built_in, style_names
from impasto.ladder import SMALLEST, rung

CARD = "impasto style"  # the key of a style file's metadata
TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def listed(network: str) -> dict[str, tuple[dict[str, str], bytes]]:
    """The built-in styles by name: title and source, and the bytes of the page's file.

    network: SHA-256 of the network's file. Raises StyleFileError for a style that was made for another one.
    """
    return {name: _style(built_in(name), network) for name in style_names()}


def _style(path: Path, network: str) -> tuple[dict[str, str], bytes]:
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import save

    with safe_open(path, framework="np") as content:
        card = json.loads(content.metadata()[CARD])
        if card["network"] != network:
            raise StyleFileError(f"{path.name} was made for another network")
        rungs = sorted(card["rungs"])
        tensors = {"quantiles": content.get_tensor("quantiles")}
        for name in (f"{tap}/{part}" for tap in TAPS for part in ("mean", "covariance")):
            tensors[name] = np.stack([content.get_tensor(f"instant/{number}/{name}") for number in rungs])
        if card["tuned"]:
            tensors["tuning"] = content.get_tensor("instant/tuning")
    longest = max(SMALLEST, min(max(card["size"]), rung(rungs[-1])))
    facts = json.dumps({"rungs": rungs, "longest": longest})
    return {"title": card["title"], "source": card["source"]}, save(tensors, {"style": facts})
