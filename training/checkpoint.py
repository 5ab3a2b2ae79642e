"""A run on disk: a safetensors file with everything that going on needs, and the log of losses beside it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from impasto import files
from impasto.errors import ImpastoError, OutputError, SaveError, UsageError, WeightsFileError
from impasto.files import printable, reason
from training.config import Config
from training.student import Shape, Student

FORMAT = "impasto training 2"
WEIGHTS = ("student", "ema", "adam_mean", "adam_square")  # groups of tensors under the student's names
POOL = "pool"  # the group of what `Pool.state` gives, if there is a pool
LICENCE = "Apache-2.0; learned from VGG-19 (Oxford VGG, CC BY 4.0) and Collaborative Distillation (MIT)"
HEADS = "reluK_1 of the normalised VGG-19 (64, 128, 256, 512, 512 channels), from 1x1 convolutions with ReLU"
OWN = {"head1_1": "; head1_1 is VGG-19's conv1_1 itself, of the pixels, rescaled"}
DTYPES = {torch.float16: "F16", torch.float32: "F32"}

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A run after `step` steps. total: steps in all, None while --minutes is still being measured.

    pictures, teacher: digests of what it learned from. groups: tensors by name in each of WEIGHTS, and in POOL.
    """

    config: Config
    step: int
    total: int | None
    pictures: str
    teacher: str
    groups: Mapping[str, Tensors]

    def difference(self, config: Config, pictures: str, teacher: str) -> str:
        """In what a run that would go on from here is another one, in words; empty if in nothing."""
        if self.pictures != pictures:
            return config.difference(self.config) or "it was trained on other pictures"
        return config.difference(self.config) or ("it learned from other teachers" if self.teacher != teacher else "")


def save(checkpoint: Checkpoint, target: Path) -> None:
    """Write a checkpoint whole or not at all, replacing the last. Raises SaveError; the last one is then untouched."""
    said = {
        "config": checkpoint.config.model_dump(mode="json"),
        "step": checkpoint.step,
        "total": checkpoint.total,
        "pictures": checkpoint.pictures,
        "teacher": checkpoint.teacher,
    }
    tensors = {f"{group}/{name}": tensor for group, some in checkpoint.groups.items() for name, tensor in some.items()}
    data = serialised(tensors, {"format": FORMAT, "run": json.dumps(said, sort_keys=True)})
    files.write(target, data, (target.suffix.lower(),), overwrite=True)


def load(file: Path) -> Checkpoint:
    """Read a checkpoint. Raises OutputError if the file is none."""
    try:
        metadata, tensors = read(file)
        if metadata.get("format") != FORMAT:
            raise WeightsFileError(f"{printable(file)} is not a checkpoint of this program")
        said = json.loads(metadata["run"])
        config = Config.create(**said["config"])
        groups = {group: _group(tensors, group, Shape.of(config)) for group in WEIGHTS}
        prefix = f"{POOL}/"
        groups[POOL] = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        return Checkpoint(config, said["step"], said["total"], said["pictures"], said["teacher"], groups)
    except (KeyError, ValueError, TypeError) as error:  # every UsageError is a ValueError
        why = f"{error}" if isinstance(error, UsageError) else f"it is damaged ({type(error).__name__})"
        raise OutputError(f"{printable(file)} cannot be gone on from: {why}") from error


def _group(tensors: Tensors, group: str, shape: Shape) -> Tensors:
    found = {name: tensors[f"{group}/{name}"] for name in shape.tensors()}
    for name, expected in shape.tensors().items():
        if tuple(found[name].shape) != expected:
            raise WeightsFileError(f"{group}/{name} has shape {tuple(found[name].shape)}, expected {expected}")
    return found


def read(file: Path) -> tuple[dict[str, str], Tensors]:
    """Metadata and tensors of a safetensors file. Raises WeightsFileError."""
    try:
        with safe_open(file, framework="pt") as content:
            return content.metadata() or {}, {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else "it is not a safetensors file"
        raise WeightsFileError(f"{printable(file)} cannot be read: {why}") from error


def read_student(file: Path) -> Student:
    """A network out of a checkpoint (its moving average) or of a weights file such as lite.safetensors. Raises WeightsFileError."""
    metadata, tensors = read(file)
    if metadata.get("format") == FORMAT:
        checkpoint = load(file)
        shape, tensors = Shape.of(checkpoint.config), checkpoint.groups["ema"]
    else:
        shape = _shape(file, metadata, tensors)
    for name, expected in shape.tensors().items():
        has = tuple(tensors[name].shape) if name in tensors else "nothing"
        if has != expected:
            raise WeightsFileError(f"{printable(file)} is not lite: {name} has shape {has}, expected {expected}")
    student = Student(shape)
    student.load_state_dict(tensors)
    return student.requires_grad_(False)


def _shape(file: Path, metadata: Mapping[str, str], tensors: Tensors) -> Shape:
    try:
        return Shape.read(metadata, tensors)
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsFileError(f"{printable(file)} is neither a checkpoint nor lite's weights") from error


@dataclass(frozen=True)
class Exported:
    """A file to ship: its bytes, their digest, and the architecture."""

    data: bytes
    shape: Shape

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.data).hexdigest()


def export(checkpoint: Checkpoint, name: str) -> Exported:
    """The moving average in fp16 with what a reader must know of it; the same bytes every time.

    Raises WeightsFileError if a weight does not fit into fp16.
    """
    shape = Shape.of(checkpoint.config)
    tensors = {key: tensor.half() for key, tensor in checkpoint.groups["ema"].items()}
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise WeightsFileError(f"{key} has values that fp16 cannot hold")
    own = "".join(OWN[name] for name in shape.own)
    metadata = {
        "name": name,
        "licence": LICENCE + own,
        "input": "RGB, 0..1, replicate padding",
        "pooling": "2x2 max (as trained; average works as well in optimisation)",
        "heads": HEADS + own,
        "dtype": "fp16 storage, compute in fp32 or bf16",
        "architecture": shape.written(),
        "training": json.dumps(
            {"step": checkpoint.step, "teacher": checkpoint.teacher, "pictures": checkpoint.pictures}, sort_keys=True
        ),
    }
    return Exported(serialised(tensors, metadata), shape)


def serialised(tensors: Tensors, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file: 8 bytes of the header's length, the header, the tensors. The library's own puts metadata in any order."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    parts, end = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):  # every tensor aligned
        array: np.ndarray[Any, np.dtype[Any]] = tensors[name].detach().cpu().contiguous().numpy()
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": DTYPES[tensors[name].dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
        parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


class Log:
    """Losses of every step as JSON lines, beside the checkpoint. Opened at a step, it forgets what a killed run wrote after it."""

    def __init__(self, file: Path, step: int) -> None:
        """Raises SaveError."""
        self.file = file
        try:
            kept = [line for line in _lines(file) if _step_of(line) <= step] if step else []
            files.write(file, b"".join(kept), (file.suffix,), overwrite=True)
            self.stream = file.open("ab")
        except (OSError, ImpastoError) as error:
            raise SaveError(f"log {printable(file)} could not be written: {error}") from error

    def add(self, entry: Mapping[str, object]) -> None:
        """Append one line. Raises SaveError."""
        try:
            self.stream.write(json.dumps(entry).encode() + b"\n")
            self.stream.flush()
        except OSError as error:
            raise SaveError(f"log {printable(self.file)} could not be written: {reason(error)}") from error

    def close(self) -> None:
        """Nothing more will be added."""
        self.stream.close()


def read_log(file: Path) -> list[dict[str, Any]]:
    """The entries of a log, whole lines only."""
    return [json.loads(line) for line in _lines(file) if _step_of(line) < float("inf")]


def _lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True) if file.exists() else []


def _step_of(line: bytes) -> float:
    """The step a line is of; infinite for a line cut short."""
    try:
        return float(json.loads(line)["step"]) if line.endswith(b"\n") else float("inf")
    except (ValueError, KeyError, TypeError):
        return float("inf")
