"""The saved state of an unfinished run, in a file next to its output.

`out.png.unfinished` is safetensors. Its metadata is one JSON card: the job, the record of the image, and the engine's numbers. Its
tensors are the engine's, each as it was computed:

| name | content | shape |
|---|---|---|
| `best`, `image` | the best image, and what the next step evaluates | 1x3xHxW |
| `scale` | the divisor of gradients in L-BFGS | one number |
| `before/0`, `before/1` | the last image and its gradient | 1x3xHxW |
| `pairs/K/0`, `pairs/K/1`, `pairs/K/2` | moves, changes of gradient, 1 / their product | 3HW, 3HW, one number |
| `sums` | CRC-32 of the header and of every tensor before, int64 as bytes | 8 for each |

Resuming is exact, except that a state of more than MOST_BYTES is saved without L-BFGS's memory, which then starts afresh from the best
image. Unlike an image, a state names folders: it is for this machine, and removed when the image is finished.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from impasto import files
from impasto.compute.mapped import drop
from impasto.errors import StateFileError
from impasto.jobs.unfinished import CARD, Card, Position, opened
from impasto.lbfgs import Memory
from impasto.optimize import Ahead, State

MOST_BYTES = 1_000_000_000  # 3.3 megapixels with ten pairs in float32
SUMS = "sums"

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


# ----------------------------------------------------------------------------------------------------------------- writing


def write(file: Path, card: Card, state: State) -> int:
    """Replace the state in `file`, whole or not at all. Returns its size in bytes. Raises SaveError, OutputError; the old one then
    stays.

    A state of more than MOST_BYTES is written without L-BFGS's memory.
    """
    tensors, memory = _tensors(state), state.ahead.memory if state.ahead else None
    if sum(tensor.nbytes for tensor in tensors.values()) > MOST_BYTES:
        tensors, memory = {"best": state.best}, None
    position = Position(
        scale=state.scale,
        step=state.step,
        losses=dict(state.losses),
        lowest=state.lowest,
        first=memory.first if memory else None,
        pairs=len(memory.pairs) if memory else 0,
    )
    header = _header(card.model_copy(update={"position": position}), tensors)
    files.write(file, _parts(header, tensors), (file.suffix,), overwrite=True)
    return len(header) + sum(tensor.nbytes for tensor in tensors.values())


def _tensors(state: State) -> dict[str, Tensor]:
    """The engine's tensors under their names."""
    found = {"best": state.best}
    if state.ahead is None:
        return found
    memory = state.ahead.memory
    found |= {"image": state.ahead.image}
    found |= {} if memory.scale is None else {"scale": memory.scale}
    found |= {f"before/{i}": tensor for i, tensor in enumerate(memory.before or ())}
    return _ordered(found | {f"pairs/{k}/{i}": tensor for k, pair in enumerate(memory.pairs) for i, tensor in enumerate(pair)})


def _ordered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """In the file's order: wider numbers first, so that each is aligned to its width."""
    return dict(sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])))


def _header(card: Card, tensors: Mapping[str, Tensor]) -> bytes:
    """The beginning of a safetensors file."""
    entries: dict[str, object] = {"__metadata__": {CARD: card.model_dump_json()}}
    at = 0
    for name, tensor in tensors.items():
        shape = list(tensor.shape)
        entries[name] = {"dtype": _NAMES[tensor.dtype], "shape": shape, "data_offsets": [at, at := at + tensor.nbytes]}
    count = len(tensors) + 1
    entries[SUMS] = {"dtype": "U8", "shape": [8 * count], "data_offsets": [at, at + 8 * count]}
    words = json.dumps(entries, separators=(",", ":")).encode()
    words += b" " * (-len(words) % 8)
    return struct.pack("<Q", len(words)) + words


def _parts(header: bytes, tensors: Mapping[str, Tensor]) -> Iterator[files.Bytes]:
    """The file's parts: one tensor after the other, so that nothing is in memory twice."""
    yield header
    sums = [zlib.crc32(header)]
    for tensor in tensors.values():
        part = _bytes_of(tensor)
        sums.append(zlib.crc32(part))
        yield part
        drop(tensor)
    yield struct.pack(f"<{len(sums)}q", *sums)


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------------------- reading


def load(file: Path, device: torch.device) -> tuple[Card, State]:
    """A state and its card. Raises StateFileError."""
    name = files.printable(file)
    with opened(file, "pt") as (card, content):
        # a copy of each: the order in which numbers are added may depend on their place in memory
        tensors = {key: content.get_tensor(key).clone() for key in set(content.keys())}
    try:
        sums = struct.unpack(f"<{len(tensors)}q", _bytes_of(tensors.pop(SUMS)))
        if sums != (zlib.crc32(_head(file)), *(zlib.crc32(_bytes_of(tensor)) for tensor in _ordered(tensors).values())):
            raise StateFileError(f"{name} is damaged: its checksums are wrong")
        return card, _state(card, {key: tensor.to(device) for key, tensor in tensors.items()})
    except (KeyError, IndexError, ValueError, struct.error) as error:
        if isinstance(error, StateFileError):
            raise
        raise StateFileError(f"{name} is damaged: its tensors do not match its card") from error


def _head(file: Path) -> bytes:
    """The length and the header that a safetensors file begins with."""
    with file.open("rb") as opened:
        length = opened.read(8)
        return length + opened.read(struct.unpack("<Q", length)[0])


def _fits(name: str, tensor: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is what the engine keeps under a name: an image of this shape, a vector of its values, or a number."""
    if name == "scale" or name.endswith("/2"):
        shape = ()
    elif name.startswith("pairs/"):
        shape = (math.prod(shape),)
    return tensor.shape == shape and tensor.is_floating_point() and bool(tensor.isfinite().all())


def _state(card: Card, tensors: Mapping[str, Tensor]) -> State:
    """The engine's state. Raises KeyError, IndexError or ValueError if tensors and card do not fit together."""
    position = card.position
    if position is None:
        raise ValueError("no position")
    height, width, steps = card.scales[position.scale - 1]
    if position.step > steps or not all(_fits(name, tensor, (1, 3, height, width)) for name, tensor in tensors.items()):
        raise ValueError("not the size of its scale, or not finite")
    best, ahead = tensors["best"], None
    if position.first is not None:
        before = (tensors["before/0"], tensors["before/1"]) if "before/0" in tensors else None
        pairs = tuple(
            (tensors[f"pairs/{k}/0"], tensors[f"pairs/{k}/1"], tensors[f"pairs/{k}/2"]) for k in range(position.pairs)
        )
        ahead = Ahead(tensors["image"], Memory(position.first, tensors.get("scale"), before, pairs))
    return State(position.step, position.losses, best, position.lowest, ahead, position.scale)
