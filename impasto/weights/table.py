"""The table of weights: what can be used by name, where it comes from, how it is verified and under which license.

The two VGGs are Keras's files without the classifier. They hold the weights that Oxford published and have 59 and 80 MB. torchvision's
files have 528 and 548 MB and hold weights that torchvision trained itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from impasto.errors import UnknownNameError
from impasto.weights.networks import LITE_NAME, TITLES

_OXFORD = "Simonyan & Zisserman (arXiv:1409.1556), Visual Geometry Group, University of Oxford"


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    name: for the command line and `load`. network: "vgg16", "vgg19" or "lite". file: the last part of `url`, or a name in
    impasto/assets. url: None for weights that are part of the package. digest: "md5:..." or "sha256:..." of that file. bytes: its size.
    license: a short name. origin: who made the weights.
    """

    name: str
    network: str
    file: str
    url: str | None
    digest: str
    bytes: int
    license: str
    origin: str

    @property
    def title(self) -> str:
        """The network's name as people write it: "VGG-19"."""
        return TITLES[self.network]


def _keras(network: str, md5: str, size: int) -> Entry:
    """A file of Keras. Its source publishes only MD5. No SHA-256 is known that was computed from the published file."""
    file = f"{network}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    return Entry(
        name=network,
        network=network,
        file=file,
        url=f"https://storage.googleapis.com/tensorflow/keras-applications/{network}/{file}",
        digest=f"md5:{md5}",
        bytes=size,
        license="CC BY 4.0",
        origin=f"{TITLES[network]}, {_OXFORD}; Keras conversion",
    )


_LITE = Entry(
    name="lite",
    network="lite",
    file="lite.safetensors",
    url=None,
    digest="sha256:9dc4e9942f8dedf15d9b5088d57594cf59a58acc77b7ed0c4163175f3ec461c7",
    bytes=1717992,
    license="Apache-2.0",
    origin=f"{LITE_NAME}, learned from VGG-19 (Oxford VGG), whose conv1_1 it has, and Collaborative Distillation (Wang et al., "
    "CVPR 2020)",
)
_VGG16 = _keras("vgg16", "6d6bbae143d832006294945121d1f1fc", 58889256)
_VGG19 = _keras("vgg19", "253f8cb515780f3b799900260a226db6", 80134624)

TABLE: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in (_LITE, _VGG16, _VGG19)})
"""Every entry by its name."""


def lookup(name: str) -> Entry:
    """Return the entry called `name`. Raises UnknownNameError with the nearest name."""
    if name not in TABLE:
        raise UnknownNameError("weights", name, TABLE)
    return TABLE[name]
