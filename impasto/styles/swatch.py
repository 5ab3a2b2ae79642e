"""The few colors a painting consists of, for lists and swatches."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor

from impasto import pictures

Swatch: TypeAlias = tuple[tuple[str, float], ...]  # ("#rrggbb", share of the painting), the largest share first

COLORS = 6
SAMPLE = 96  # pixels of the longer side in which they are counted


def swatch(painting: Tensor, count: int = COLORS) -> Swatch:
    """The colors of a painting, `count` at most, by Pillow's median cut refined by k-means. painting: 1x3xHxW, 0..1."""
    height, width = painting.shape[-2:]
    small = pictures.resize(painting.cpu(), pictures.fit((height, width), min(SAMPLE, max(height, width))))
    image = pictures.to_image(small).quantize(count, kmeans=count)
    values, pixels = image.getpalette() or [], image.width * image.height
    counts = enumerate(image.histogram()[:count])
    found = sorted(((number / pixels, index) for index, number in counts if number), reverse=True)
    return tuple((f"#{bytes(values[3 * index : 3 * index + 3]).hex()}", round(share, 3)) for share, index in found)
