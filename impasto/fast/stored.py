"""The network that ships with impasto: reading and writing its file."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save as serialize
from torch import Tensor

from impasto import files
from impasto.compute import settings
from impasto.errors import WeightsFileError
from impasto.fast.net import Net
from impasto.portable.card import CARD, FILE, FORMAT, REMEDY, Card, opened


@dataclass(frozen=True)
class Stored:
    """The network in a file. digest: SHA-256 of the file, to which tuned styles belong."""

    net: Net
    card: Card
    digest: str

    def on(self, device: torch.device) -> Net:
        """The network on a device."""
        return self.net if device.type == "cpu" else copy.deepcopy(self.net).to(device)


@cache
@settings.default_settings()
def load(file: Path = FILE) -> Stored:
    """Read the network. Raises WeightsFileError, which says what to do, if the file is missing or damaged."""
    with opened(file, "pt") as (card, content):
        net = _net(file, {name: content.get_tensor(name) for name in sorted(content.keys())})
    return Stored(net, card, files.digest(file))


def _net(file: Path, tensors: Mapping[str, Tensor]) -> Net:
    net = Net()
    for name, value in net.state_dict().items():
        found = tensors.get(name)
        if found is None or found.shape != value.shape or not bool(found.isfinite().all()):
            raise WeightsFileError(f"{files.printable(file)} is damaged: {name} is missing or malformed", remedy=REMEDY)
        value.copy_(found)
    return net.requires_grad_(False)


def save(net: Net, file: Path, *, encoder: str, training: str, licence: str) -> None:
    """Write a network. Arguments: see `Card`. Raises SaveError and OutputError."""
    card = Card(FORMAT, encoder, training, licence)
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in net.state_dict().items()}
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise WeightsFileError("a weight overflows float16")
    files.write(file, serialize(tensors, {CARD: json.dumps(asdict(card))}), (file.suffix,), overwrite=True)
