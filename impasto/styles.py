"""A Style: what a painting looks like to an encoder, as Gram matrices at every scale asked for."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from impasto import pictures
from impasto.encoders import Encoder
from impasto.losses import gram

Size = tuple[int, int]  # (height, width) in pixels


class Style:
    """A painting's targets, computed when first asked for and kept.

    painting: 1x3xHxW float32, 0..1. encoder: where the targets are taken; taps: at which of its taps.
    notes: words for the user from loading the painting.
    """

    def __init__(self, painting: Tensor, encoder: Encoder, taps: tuple[str, ...], notes: tuple[str, ...] = ()) -> None:
        self.painting = painting
        self.encoder = encoder
        self.taps = taps
        self.notes = notes
        self._targets: dict[Size, dict[str, Tensor]] = {}

    def size_at(self, longer: int) -> Size:
        """The painting's size with a longer side of `longer` pixels, or more if it is too narrow for the encoder then."""
        height, width = self.painting.shape[-2:]
        needed = math.ceil(self.encoder.minimum_side * max(height, width) / min(height, width))
        return pictures.fit((height, width), max(longer, needed))

    @torch.no_grad()
    def targets(self, size: Size) -> dict[str, Tensor]:
        """{tap: NxN Gram matrix per position} of the painting resized to `size`."""
        if size not in self._targets:
            features = self.encoder(pictures.resize(self.painting, size))
            self._targets[size] = {tap: gram(features[tap]) / positions(features[tap]) for tap in self.taps}
        return self._targets[size]


def positions(F: Tensor) -> int:
    """M, the number of positions of 1xNxHxW features."""
    return F.shape[-2] * F.shape[-1]
