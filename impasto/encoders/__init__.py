"""Networks that pictures are seen through: VGG-16, VGG-19 and the embedded `lite`, as named taps."""

from __future__ import annotations

from collections.abc import Iterable

from impasto.encoders.base import Encoder, Pooling
from impasto.encoders.layers import Padding
from impasto.encoders.lite import Lite
from impasto.encoders.vgg import VGG
from impasto.weights import Weights

__all__ = ["VGG", "Encoder", "Lite", "Padding", "Pooling", "build"]


def build(weights: Weights, taps: Iterable[str], *, pooling: Pooling, padding: Padding) -> Encoder:
    """The encoder these weights are for, as deep as its deepest tap.

    Raises UnknownNameError for a tap it does not have, WeightsFileError for weights that end before the deepest.
    """
    encoder = (
        Lite(weights.tensors, taps, pooling=pooling, padding=padding)
        if weights.network == "lite"
        else VGG(weights.network, weights.tensors, taps, pooling=pooling, padding=padding)
    )
    encoder.digest = weights.digest
    return encoder
