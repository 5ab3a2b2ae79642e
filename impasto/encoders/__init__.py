"""VGG-16, VGG-19 and the built-in `lite`: networks whose features, at named taps, are compared by the losses."""

from __future__ import annotations

from collections.abc import Iterable

from impasto.encoders.base import Encoder, Pooling, block_of
from impasto.encoders.cost import Cost, cost_of, density
from impasto.encoders.layers import Padding
from impasto.encoders.lite import Lite
from impasto.encoders.vgg import VGG
from impasto.weights import Weights

__all__ = ["VGG", "Cost", "Encoder", "Lite", "Padding", "Pooling", "block_of", "build", "cost_of", "density"]


def build(weights: Weights, taps: Iterable[str], *, pooling: Pooling, padding: Padding) -> Encoder:
    """The encoder for these weights, up to the deepest of the taps.

    Raises UnknownNameError for a tap that the network does not have, and WeightsFileError if the weights end before the deepest tap.
    """
    encoder = (
        Lite(weights.tensors, taps, pooling=pooling, padding=padding)
        if weights.network == "lite"
        else VGG(weights.network, weights.tensors, taps, pooling=pooling, padding=padding)
    )
    encoder.digest = weights.digest
    return encoder
