"""Quality "instant" without torch: the network's ONNX graphs, numpy and Pillow."""

from impasto.portable.painting import Painting, check
from impasto.portable.stored import network_digest

__all__ = ["Painting", "check", "network_digest"]
