"""Checkpoints: a safetensors file with everything needed to resume, and a log of losses next to it."""

from __future__ import annotations

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
WEIGHTS = ("student", "ema", "adam_mean", "adam_square")  # groups of tensors with the student's names
POOL = "pool"  # the group with `Pool.state`, if there is a pool
LICENCE = "Apache-2.0; learned from VGG-19 (Oxford VGG, CC BY 4.0) and Collaborative Distillation (MIT)"
HEADS = "reluK_1 of the normalised VGG-19 (64, 128, 256, 512, 512 channels), from 1x1 convolutions with ReLU"
OWN = {"head1_1": "; head1_1 is VGG-19's conv1_1 itself, of the pixels, rescaled"}
DTYPES = {torch.float16: "F16", torch.float32: "F32"}

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A run after `step` steps.

    total: number of steps, None while --minutes is being measured. pictures, teacher: digests of the training data and the
    teacher. groups: tensors by name for each group in WEIGHTS and for POOL.
    """

    config: Config
    step: int
    total: int | None
    pictures: str
    teacher: str
    groups: Mapping[str, Tensors]

    def difference(self, config: Config, pictures: str, teacher: str) -> str:
        """Describe why a run with these settings cannot resume from here; empty if it can."""
        if why := config.difference(self.config):
            return why
        return "the images differ" if self.pictures != pictures else "the teacher differs" if self.teacher != teacher else ""


def save(checkpoint: Checkpoint, target: Path) -> None:
    """Replace the checkpoint file atomically. Raises SaveError; the previous file is then unchanged."""
    run = {
        "config": checkpoint.config.model_dump(mode="json"),
        "step": checkpoint.step,
        "total": checkpoint.total,
        "pictures": checkpoint.pictures,
        "teacher": checkpoint.teacher,
    }
    tensors = {f"{group}/{name}": tensor for group, some in checkpoint.groups.items() for name, tensor in some.items()}
    data = serialize(tensors, {"format": FORMAT, "run": json.dumps(run, sort_keys=True)})
    files.write(target, data, (target.suffix.lower(),), overwrite=True)


def load(file: Path) -> Checkpoint:
    """Read a checkpoint. Raises OutputError if the file is not one."""
    try:
        metadata, tensors = read(file)
        if metadata.get("format") != FORMAT:
            raise WeightsFileError(f"{printable(file)} is not a checkpoint of this program")
        run = json.loads(metadata["run"])
        config = Config.create(**run["config"])
        groups = {group: _under(tensors, group) for group in (*WEIGHTS, POOL)}
        for group in WEIGHTS:
            check_shapes(file, groups[group], Shape.of(config).tensors())
        return Checkpoint(config, run["step"], run["total"], run["pictures"], run["teacher"], groups)
    except (KeyError, ValueError, TypeError) as error:  # every UsageError is a ValueError
        if isinstance(error, WeightsFileError):
            raise OutputError(str(error)) from error
        why = f"{error}" if isinstance(error, UsageError) else f"the file is damaged ({type(error).__name__})"
        raise OutputError(f"{printable(file)} cannot be resumed: {why}") from error


def _under(tensors: Tensors, group: str) -> Tensors:
    return {name.removeprefix(f"{group}/"): tensor for name, tensor in tensors.items() if name.startswith(f"{group}/")}


def check_shapes(file: Path, tensors: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise WeightsFileError unless the tensors read from a file include these names with these shapes."""
    for name, expected in shapes.items():
        found = tuple(tensors[name].shape) if name in tensors else "nothing"
        if found != expected:
            raise WeightsFileError(
                f"{printable(file)} is not the expected network: {name} has shape {found}, expected {expected}"
            )


def read(file: Path) -> tuple[dict[str, str], Tensors]:
    """Read the metadata and tensors of a safetensors file. Raises WeightsFileError."""
    try:
        with safe_open(file, framework="pt") as content:
            return content.metadata() or {}, {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else "not a complete safetensors file"
        raise WeightsFileError(f"{printable(file)} cannot be read: {why}") from error


def read_student(file: Path) -> Student:
    """Load a network from a checkpoint (its moving average) or a weights file such as lite.safetensors. Raises WeightsFileError."""
    metadata, tensors = read(file)
    if metadata.get("format") == FORMAT:
        checkpoint = load(file)
        shape, tensors = Shape.of(checkpoint.config), checkpoint.groups["ema"]
    else:
        try:
            shape = Shape.read(metadata, tensors)
        except (KeyError, ValueError, TypeError) as error:
            raise WeightsFileError(f"{printable(file)} is neither a checkpoint nor weights of lite") from error
        check_shapes(file, tensors, shape.tensors())
    student = Student(shape)
    student.load_state_dict(tensors)
    return student.requires_grad_(False)


def export(checkpoint: Checkpoint, name: str) -> bytes:
    """Serialize the moving average in fp16 with its metadata. Deterministic.

    name: stored in the file. Raises WeightsFileError if a weight overflows fp16.
    """
    shape = Shape.of(checkpoint.config)
    tensors = {key: tensor.half() for key, tensor in checkpoint.groups["ema"].items()}
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise WeightsFileError(f"{key} has values that overflow fp16")
    own = "".join(OWN[name] for name in shape.frozen)
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
    return serialize(tensors, metadata)


def serialize(tensors: Tensors, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file. Unlike the library's own, they are deterministic: its order of metadata is random."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    parts, end = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):  # keeps every tensor aligned
        array: np.ndarray[Any, np.dtype[Any]] = tensors[name].detach().cpu().contiguous().numpy()
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": DTYPES[tensors[name].dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
        parts.append(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


class Log:
    """The losses of every step as JSON lines. Opening it at a step drops what a killed run logged after that step."""

    def __init__(self, file: Path, step: int) -> None:
        """Raises SaveError."""
        self.file = file
        try:
            kept = [line for line in _lines(file) if _step_of(line) <= step] if step else []
            files.write(file, b"".join(kept), (file.suffix,), overwrite=True)
            self.stream = file.open("ab")
        except (OSError, ImpastoError) as error:
            raise SaveError(f"the log {printable(file)} could not be written: {error}") from error

    def add(self, entry: Mapping[str, object]) -> None:
        """Append one line. Raises SaveError."""
        try:
            self.stream.write(json.dumps(entry).encode() + b"\n")
            self.stream.flush()
        except OSError as error:
            raise SaveError(f"the log {printable(self.file)} could not be written: {reason(error)}") from error

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


def read_log(file: Path) -> list[dict[str, Any]]:
    """The complete entries of a log."""
    return [json.loads(line) for line in _lines(file) if _step_of(line) < float("inf")]


def _lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True) if file.exists() else []


def _step_of(line: bytes) -> float:
    """The step of a line; infinite for an incomplete line."""
    try:
        return float(json.loads(line)["step"]) if line.endswith(b"\n") else float("inf")
    except (ValueError, KeyError, TypeError):
        return float("inf")
