"""Quality "instant" without torch: the network's ONNX graphs, numpy and Pillow."""

from impasto.portable.painting import Level, Painting, check, resized_still, settled
from impasto.portable.stored import network_digest
from impasto.portable.styles import NARROWEST

__all__ = ["NARROWEST", "Level", "Painting", "check", "network_digest", "resized_still", "settled"]
