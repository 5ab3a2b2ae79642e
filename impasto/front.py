"""The front door for one image, with torch or without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from impasto import portable
from impasto.extras import has_torch
from impasto.inputs import Inputs, StyleSource
from impasto.options import Options
from impasto.pictures import Source


def stylize(photo: Source, style: StyleSource | Sequence[StyleSource] = (), **changes: Any) -> Image.Image:
    """Repaint a photograph in the style of a painting.

    photo, style: paths, bytes, binary files, PIL images, HxW, HxWx3 or HxWx4 arrays (uint8, uint16, or float in 0..1), or 3xHxW tensors
    in 0..1. style: also a built-in name, a .style file, or a list of several styles, which are blended. changes: any of `Options`, and
    the other inputs of `Stylizer.run`. Returns an RGB image, or RGBA if the photograph has transparency. Raises ImpastoError.

    Without torch there is only quality "instant", which is then the default, and not all of its options. What needs torch raises
    UsageError.
    """
    given = {name: changes.pop(name) for name in ("masks", "pair", "start") if name in changes}
    weights = changes.pop("weights", None)
    if has_torch():
        from impasto.stylizer import Stylizer  # torch takes a second to load

        return Stylizer(weights=weights, **changes).run(photo, style, **given).finish()
    inputs = Inputs.to_repaint(photo, style, **given, weights=weights)
    options, _ = portable.settled(Options(**changes))
    return portable.Painting(options, inputs.load(options.max_pixels, stills=True)).image()
