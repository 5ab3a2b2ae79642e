"""A run that is not finished, in a file beside its output: what to go on from, and who may write there now.

`out.png.unfinished` is safetensors, so reading it never runs what it holds. Its metadata is one JSON card: what the picture's record
says, where the inputs are, and the engine's numbers. Its tensors are the engine's, each as it was computed:

| name | what | shape |
|---|---|---|
| `best`, `picture`, `gradient` | the best picture, where the next step looks, the best picture's gradient | 1x3xHxW |
| `scale` | what L-BFGS divides gradients by | one number |
| `before/0`, `before/1` | the last place and its gradient, divided | 3HW |
| `pairs/K/0`, `pairs/K/1`, `pairs/K/2` | moves, changes of gradient, 1 / their product | 3HW, 3HW, one number |
| `sums` | CRC-32 of the header and of every tensor before, int64 as bytes | 8 for each |

Going on is exact. Only a state of more than MOST_BYTES is kept without L-BFGS's memory: it starts afresh from the best picture. Unlike
a picture, a state names folders: it is for this machine, and gone when the picture is finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from impasto import files
from impasto.errors import OutputError, StateFileError
from impasto.history import put_down
from impasto.optimize import Ahead, Memory, State

SUFFIX = ".unfinished"
MOST_BYTES = 1_000_000_000  # 3.3 megapixels with ten pairs in float32
CARD = "impasto state"
SUMS = "sums"
LONGEST_NAME = 200  # bytes of the output's name, to which ours is added

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]


class Progress(BaseModel):
    """How far the engine is: `State` without its tensors. first: of L-BFGS; None in a state without its memory. pairs: how many."""

    model_config = ConfigDict(frozen=True)

    scale: _Count
    step: _Count
    losses: dict[str, _Number]
    lowest: _Number
    first: _Number | None = None
    pairs: Annotated[int, Field(ge=0, le=1000)] = 0


class Card(BaseModel):
    """What a state file says.

    settings: all that the picture's record will have, see `records`, and every option. paths: {role: where that input is}. output: the
    command line's own options to go on with. threads: torch's. limit: the run's, in bytes of memory. scales: (height, width, steps) of
    each. done: share of the work, 0..1. seconds: spent so far. mine: SHA-256 of the files under the output's name that this run may
    replace; whole: of the finished picture, once it is about to be written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    settings: dict[str, Any]
    paths: dict[str, str]
    output: dict[str, Any]
    threads: int
    limit: int | None = None
    scales: Annotated[tuple[tuple[_Count, _Count, _Count], ...], Field(min_length=1)]
    done: Annotated[float, Field(ge=0, le=1)] = 0.0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    mine: tuple[str, ...] = ()
    whole: str = ""
    progress: Progress | None = None

    def may_replace(self, output: Path) -> bool:
        """Whether a file is one that the run itself left under the output's name, or was told to replace."""
        return digest(output) in {*self.mine, self.whole} - {""}


def place(output: Path) -> Path:
    """Where the state of the run that writes `output` is."""
    return _beside(output, "", SUFFIX)


def _beside(output: Path, before: str, after: str) -> Path:
    """A file beside the output, named after it as far as names may be long; a link's is beside what it leads to."""
    final = _real(output)
    name = os.fsencode(final.name)
    short = final.name if len(name) <= LONGEST_NAME else f"impasto-{hashlib.sha256(name).hexdigest()[:16]}"
    return final.parent / f"{before}{short}{after}"


def _real(output: Path) -> Path:
    """What a link leads to."""
    try:
        return Path(os.path.realpath(output))
    except (OSError, ValueError):  # no name that a file can have, as whoever checks the output says
        return output


def digest(file: Path) -> str:
    """SHA-256 of a file's bytes; "" where there is none."""
    from impasto.records import digest_of_file

    try:
        return digest_of_file(file)
    except OSError:
        return ""


# --------------------------------------------------------------------------------------------------------------- one alone


@contextlib.contextmanager
def alone(output: Path) -> Iterator[None]:
    """Be the only run that writes this output; then remove what killed ones left half-written of it and of its state.

    Raises OutputError where another is at it. The lock is the system's, which it takes back when a process dies however it may; where a
    file system has none, there is none.
    """
    from filelock import FileLock, Timeout

    if not _real(output).parent.is_dir():  # and FileLock would make it
        yield
        return
    file = _beside(output, ".", ".impasto-lock")
    lock = FileLock(file, timeout=0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on file systems without such locks
            lock.acquire()
    except Timeout:
        raise OutputError(f"another run is writing {files.printable(output)}; wait for it, or choose another name") from None
    except (OSError, ValueError, NotImplementedError):
        yield
        return
    try:
        for written in (output, place(output)):
            files.sweep(written)
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            file.unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):
            if os.name == "nt":
                file.unlink(missing_ok=True)


# ----------------------------------------------------------------------------------------------------------------- writing


def write(file: Path, card: Card, state: State) -> int:
    """Replace the state in `file`, whole or not at all. Returns its bytes. Raises SaveError, OutputError; the one before then stays.

    A state of more than MOST_BYTES is written without L-BFGS's memory.
    """
    tensors, memory = _tensors(state), state.ahead.memory if state.ahead else None
    if sum(tensor.nbytes for tensor in tensors.values()) > MOST_BYTES:
        tensors, memory = {"best": state.best}, None
    told = Progress(
        scale=state.scale,
        step=state.step,
        losses=dict(state.losses),
        lowest=state.lowest,
        first=memory.first if memory else None,
        pairs=len(memory.pairs) if memory else 0,
    )
    header = _header(card.model_copy(update={"progress": told}), tensors)
    files.write(file, _parts(header, tensors), (file.suffix,), overwrite=True)
    return len(header) + sum(tensor.nbytes for tensor in tensors.values())


def _tensors(state: State) -> dict[str, Tensor]:
    """The engine's tensors under their names."""
    found = {"best": state.best}
    if state.ahead is None:
        return found
    memory = state.ahead.memory
    found |= {"picture": state.ahead.picture}
    found |= {} if memory.scale is None else {"scale": memory.scale}
    found |= {f"before/{i}": tensor for i, tensor in enumerate(memory.before or ())}
    return _ordered(found | {f"pairs/{k}/{i}": tensor for k, pair in enumerate(memory.pairs) for i, tensor in enumerate(pair)})


def _ordered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As they lie in the file: the wider numbers first, so that each lies at a multiple of its width."""
    return dict(sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])))


def _header(card: Card, tensors: Mapping[str, Tensor]) -> bytes:
    """What a safetensors file begins with."""
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
    """The file's parts: one tensor after the other, so that nothing of it is in memory twice."""
    yield header
    sums = [zlib.crc32(header)]
    for tensor in tensors.values():
        part = _bytes_of(tensor)
        sums.append(zlib.crc32(part))
        yield part
        put_down(tensor)
    yield struct.pack(f"<{len(sums)}q", *sums)


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------------------- reading


def read(file: Path) -> Card:
    """What a state file says. Raises StateFileError."""
    with _opened(file) as (card, _):
        return card


def load(file: Path, device: torch.device) -> tuple[Card, State]:
    """A state and its card. Raises StateFileError."""
    name = files.printable(file)
    with _opened(file) as (card, content):
        # a copy of each: the order in which numbers are added may depend on where they lie in memory
        tensors = {key: content.get_tensor(key).clone() for key in set(content.keys())}
    try:
        sums = struct.unpack(f"<{len(tensors)}q", _bytes_of(tensors.pop(SUMS)))
        if sums != (zlib.crc32(_head(file)), *(zlib.crc32(_bytes_of(tensor)) for tensor in _ordered(tensors).values())):
            raise StateFileError(f"{name} is damaged: its checksums are not right")
        return card, _state(card, {key: tensor.to(device) for key, tensor in tensors.items()})
    except (KeyError, IndexError, ValueError, struct.error) as error:
        if isinstance(error, StateFileError):
            raise
        raise StateFileError(f"{name} is damaged: its tensors are not those of its card") from error


def _head(file: Path) -> bytes:
    """The length and the header that a safetensors file begins with."""
    with file.open("rb") as opened:
        length = opened.read(8)
        return length + opened.read(struct.unpack("<Q", length)[0])


def _state(card: Card, tensors: Mapping[str, Tensor]) -> State:
    """The engine's state. Raises KeyError, IndexError or ValueError where tensors and card do not go together."""
    told = card.progress
    if told is None:
        raise ValueError("no progress")
    height, width, steps = card.scales[told.scale - 1]
    shape = (1, 3, height, width)
    if told.step > steps or any(tensors[name].shape != shape for name in ("best", "picture") if name in tensors):
        raise ValueError("not the size of its scale")
    best, ahead = tensors["best"], None
    if told.first is not None:
        before = (tensors["before/0"], tensors["before/1"]) if "before/0" in tensors else None
        pairs = tuple((tensors[f"pairs/{k}/0"], tensors[f"pairs/{k}/1"], tensors[f"pairs/{k}/2"]) for k in range(told.pairs))
        ahead = Ahead(tensors["picture"], Memory(told.first, tensors.get("scale"), before, pairs))
    return State(told.step, told.losses, best, told.lowest, ahead, told.scale)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tuple[Card, Any]]:
    """A state file's card and its safetensors. Raises StateFileError."""
    name = files.printable(file)
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for ever
            raise StateFileError(f"{name} is not a regular file")
        if not found.st_size:
            raise StateFileError(f"{name} is empty: it is damaged")
        with _whole(file) as content:
            yield _card(name, (content.metadata() or {}).get(CARD)), content
    except (OSError, ValueError) as error:
        if isinstance(error, StateFileError):
            raise
        raise StateFileError(f"{name}: {files.reason(error)}") from error
    except SafetensorError as error:
        raise StateFileError(f"{name} is no unfinished run's state, or is cut short: {files.one_line(str(error))}") from error


def _whole(file: Path) -> Any:
    """The safetensors of a file. Raises StateFileError for one that a run replaces meanwhile: torch looks at it twice."""
    try:
        return safe_open(file, framework="pt")
    except RuntimeError as error:
        raise StateFileError(f"{files.printable(file)} is being written just now; try again") from error


def _card(name: str, words: str | None) -> Card:
    """Read a card. words: its JSON."""
    if words is None:
        raise StateFileError(f"{name} is safetensors, but not an unfinished run's state")
    try:
        return Card.model_validate_json(words)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise StateFileError(
            f"{name} is damaged, or of another version of impasto: {where}: {files.one_line(first['msg'])}"
        ) from error
