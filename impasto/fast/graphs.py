"""The ONNX graphs in the package, which paint without torch: in Python (`impasto.portable`) and in a web page (`impasto.page`).

A graph is a part of the painter, so that whoever runs them chooses size, levels, strength and style. No weights are in them: they refer
to the files of the network and of lite, which are in the same folder. All numbers are float32, except for sizes. Images are 1x3xHxW in
0..1, RGB. There is no graph for colors, which `impasto.portable.colors` moves without tensors, ten times as fast.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from impasto import palette
from impasto.compute import settings
from impasto.fast import net as nets
from impasto.fast import recolor
from impasto.fast.export import MODULATION, Packed, Portable
from impasto.fast.moments import Moments, moments
from impasto.fast.net import LARGEST
from impasto.fast.onnxfile import FREE, IMAGE, SIZE, WIDE, Example, Parts, Shape, black, common_examples, padded_images
from impasto.portable.card import FILE as NETWORK
from impasto.portable.network import KEPT, SEEN, TAPS

FOLDER = NETWORK.parent
WEIGHTS = (NETWORK, FOLDER / "lite.safetensors")
LEAST_SHARED = 1024  # bytes: smaller constants stay in the graph


class Host(Portable):
    """The parts of a painter whose sizes, levels and strength are chosen by the program that runs it."""

    def __init__(self) -> None:
        super().__init__(levels=1)
        for name in ("first", "second", "head"):
            self.own[name] = Packed(getattr(self.net, name).weight.data)

    def moments(self, painting: Tensor) -> tuple[Tensor, ...]:
        """Mean, K, and covariance, KxK, of the kept directions of each of the TAPS."""
        found = self.projected(painting, TAPS)
        return tuple(value[0] for tap in TAPS for value in moments(found[tap]))

    def modulation(self, Q: Tensor, side: Tensor, strength: Tensor, *look: Tensor) -> Tensor:
        """See `net.code` and `Net.modulation`."""
        pairs = zip(TAPS, look[::2], look[1::2], strict=True)
        dials = torch.stack([torch.log2(side.clamp_max(LARGEST) / 128) / 2, 8 * strength - 4])
        x = nets.coded({tap: Moments(mean[None], covariance[None]) for tap, mean, covariance in pairs}, Q, dials)
        for name in ("first", "second", "head"):
            weight: Tensor = self.own[name]()
            x = functional.linear(x, weight, getattr(self.net, name).bias)
            x = x if name == "head" else functional.relu(x)
        return x


def _examples() -> dict[str, Example]:
    Q = torch.zeros(len(palette.DIRECTIONS), palette.QUANTILES)
    look = {tap: (torch.zeros(KEPT[tap]), torch.eye(KEPT[tap])) for tap in TAPS}

    def values(taps: tuple[str, ...]) -> list[Tensor]:
        return [value.clone() for tap in taps for value in look[tap]]

    number = torch.tensor(0.5)
    return common_examples() | {
        "moments": Example((black(9),), (FREE,), 2 * len(TAPS)),
        "modulation": Example((Q, number + 128, number.clone(), *values(TAPS)), ({},) * (3 + 2 * len(TAPS))),
        "paint_in": Example(
            (*padded_images(), torch.zeros(MODULATION), *values(SEEN)), (WIDE, WIDE, *({},) * (1 + 2 * len(SEEN)))
        ),
    }


# ---------------------------------------------------------------------------------------------------------------- graphs


def _look(taps: tuple[str, ...]) -> dict[str, Shape]:
    """The moments of a style by name."""
    times = {"mean": 1, "covariance": 2}
    return {f"{tap}_{part}": [KEPT[tap]] * axes for tap in taps for part, axes in times.items()}


Q: Shape = [len(palette.DIRECTIONS), palette.QUANTILES]
TABLE: Shape = [3, recolor.GRID**3]
LARGER: Shape = [1, 3, "rows", "columns"]
SMALLER: Shape = [1, 3, "lower", "narrower"]


@dataclass(frozen=True)
class Graph:
    """inputs, outputs: their shapes. build: adds nodes to parts, and returns the values of the outputs in order."""

    inputs: Mapping[str, Shape]
    outputs: tuple[str, ...]
    build: Callable[[Any], Any]


def _resize(parts: Parts) -> list[str]:
    """`pictures.resize`. size: height and width."""
    return [parts.resized("image", SIZE)]


def _level(parts: Any) -> list[str]:
    """One level.

    photo: at this level; below, smaller: `image` and `colored` of the level below, and at the first level the photo itself. fade: how
    much of the result shows, 0..1.
    """
    colored = parts.colored("photo", "table", "share")
    start = parts.start("below", colored, "smaller")
    wide = parts.paint_in(parts.padded(colored), parts.padded(start), "modulation", *_look(SEEN))
    return [parts.cropped(wide, colored, "fade"), colored]


GRAPHS = {
    "resize": Graph({"image": IMAGE, SIZE: [2]}, ("resized",), _resize),
    "moments": Graph({"painting": IMAGE}, tuple(_look(TAPS)), lambda parts: parts.moments("painting")),
    "modulation": Graph(
        {"palette": Q, "side": [], "strength": [], **_look(TAPS)},
        ("modulation",),
        lambda parts: [parts.modulation("palette", "side", "strength", *_look(TAPS))],
    ),
    "level": Graph(
        {
            "photo": IMAGE,
            "table": TABLE,
            "share": [],
            "below": SMALLER,
            "smaller": SMALLER,
            "modulation": [MODULATION],
            **_look(SEEN),
            "fade": [],
        },
        ("image", "colored"),
        _level,
    ),
    "finish": Graph(
        {"image": IMAGE, "palette": Q, "share": []}, ("finished",), lambda parts: [parts.finished("image", "palette", "share")]
    ),
}


def file_of(name: str) -> Path:
    """The file of a graph in the package."""
    return FOLDER / f"instant-{name}.onnx"


@settings.default_settings()
def made() -> Iterator[tuple[str, bytes]]:
    """Every graph by name, as the bytes of its file. Needs the extra "onnx"."""
    parts = Parts(Host(), _examples())
    shared = _Shared(WEIGHTS)
    for name, graph in GRAPHS.items():
        found = zip(graph.outputs, graph.build(parts), strict=True)
        model = parts.model(graph.inputs, {output: (value, None) for output, value in found}, {})
        for tensor in model.graph.initializer:
            shared.refer(tensor)
        yield name, model.SerializeToString(deterministic=True)


class _Shared:
    """The tensors in safetensors files, to which graphs refer by file, offset and length."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._places: dict[bytes, tuple[str, int, int]] = {}
        for path in paths:
            data = path.read_bytes()
            start = 8 + int.from_bytes(data[:8], "little")  # of the data; before it, the length of the header, and the header
            header = json.loads(data[8:start])
            for name, entry in header.items():
                if name != "__metadata__":
                    first, last = (start + offset for offset in entry["data_offsets"])
                    self._places[data[first:last]] = path.name, first, last - first

    def refer(self, tensor: Any) -> None:
        """Replace the data of a constant of a model by a reference, if it is large. Raises ValueError for data that are in no file."""
        onnx = importlib.import_module("onnx")
        values = importlib.import_module("onnx.numpy_helper").to_array(tensor)
        if values.nbytes < LEAST_SHARED:
            return
        place = self._places.get(values.tobytes())
        if place is None:
            if values.dtype == "float16":
                raise ValueError(f"weights of shape {values.shape} are in none of the files")
            return
        for field in ("raw_data", "int32_data"):
            tensor.ClearField(field)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in zip(("location", "offset", "length"), place, strict=True):
            tensor.external_data.add(key=key, value=str(value))
