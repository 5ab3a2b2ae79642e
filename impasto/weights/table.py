"""The table of weights: what impasto can use by name, where it comes from, how it is checked and under which terms.

The two VGGs are Keras's files without the classifier: 59 and 80 MB where torchvision's are 528 and 548 MB, and they are the
weights Oxford published (torchvision trained its own). Addresses and MD5 sums are those in Keras's own source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from impasto.errors import UnknownNameError
from impasto.weights.networks import LITE_NAME, title

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_OXFORD = "VGG-{layers}, Simonyan & Zisserman (arXiv:1409.1556), Visual Geometry Group, University of Oxford; Keras conversion"


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    name: what the command line and `load` call it; network: "vgg16", "vgg19" or "lite"; file: the name of the file at `url`
    (or, embedded, in impasto/assets); url: None for what is embedded; digest: "md5:..." or "sha256:..." of that file; bytes:
    its size; licence: short name; origin: who made it; terms: what the licence asks of you, in one sentence.
    """

    name: str
    network: str
    file: str
    url: str | None
    digest: str
    bytes: int
    licence: str
    origin: str
    terms: str

    @property
    def title(self) -> str:
        """The network's name as people write it: "VGG-19"."""
        return title(self.network)


def _keras(network: str, md5: str, size: int) -> Entry:
    file = f"{network}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    return Entry(
        name=network,
        network=network,
        file=file,
        url=f"{_KERAS}/{network}/{file}",
        digest=f"md5:{md5}",
        bytes=size,
        licence="CC BY 4.0",
        origin=_OXFORD.format(layers=network[3:]),
        terms="Use and share freely, also commercially, naming the authors (Simonyan & Zisserman, Oxford VGG).",
    )


_ENTRIES = (
    Entry(
        name="lite",
        network="lite",
        file="lite.safetensors",
        url=None,
        digest="sha256:9dc4e9942f8dedf15d9b5088d57594cf59a58acc77b7ed0c4163175f3ec461c7",
        bytes=1717992,
        licence="Apache-2.0",
        origin=f"{LITE_NAME}, learned from VGG-19 (Oxford VGG), whose conv1_1 it has, and Collaborative Distillation (Wang et al., "
        "CVPR 2020)",
        terms="Use and share freely, keeping the licence and the notices, which name VGG-19's authors.",
    ),
    _keras("vgg16", "6d6bbae143d832006294945121d1f1fc", 58889256),
    _keras("vgg19", "253f8cb515780f3b799900260a226db6", 80134624),
)

TABLE: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every entry by its name."""


def lookup(name: str) -> Entry:
    """Return the entry called `name`. Raises UnknownNameError with the nearest name."""
    try:
        return TABLE[name]
    except KeyError:
        raise UnknownNameError("weights", name, TABLE) from None
