"""How many values an encoder computes per pixel of an image: the input of the memory and time estimates.

Only shapes of filters are read; no layer is run. A layer of block b has one position for every 4^(b-1) pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from impasto.encoders.base import Encoder, block_of


@dataclass(frozen=True)
class Cost:
    """What one forward pass computes, per pixel of the image.

    trunk: values computed by 3x3 convolutions. heads: values computed by 1x1 convolutions.
    widest: values computed by the layer that computes the most. arithmetic: multiply-adds of all convolutions.
    """

    trunk: float
    heads: float
    widest: float
    arithmetic: float

    @property
    def values(self) -> float:
        """Values computed by all convolutions."""
        return self.trunk + self.heads


def cost_of(encoder: Encoder) -> Cost:
    """The cost of an encoder from its input (see `Encoder.input_block`) to the end of the block of its deepest tap.

    Blocks count as a whole: the cost is an upper bound if the deepest tap is not at the end of its block, or if a head is not used.
    """
    last = max(map(block_of, encoder.taps))
    trunk, heads, arithmetic = list[float](), list[float](), 0.0
    for name, filters in encoder.filters.items():
        block = block_of(name)
        if filters.dim() == 4 and encoder.input_block < block <= last:
            positions = 1 / 4 ** (block - 1)
            (heads if filters.shape[-1] == 1 else trunk).append(filters.shape[0] * positions)
            arithmetic += filters.numel() * positions
    return Cost(float(sum(trunk)), float(sum(heads)), max(trunk + heads), arithmetic)


def density(encoder: Encoder, taps: Iterable[str]) -> float:
    """The number of values per pixel of the image in the features of these taps together."""
    return float(sum(encoder.channels(tap) / encoder.stride(tap) ** 2 for tap in set(taps)))
