"""How much memory an image takes, whole or in blocks; how much there is; and what to say when it runs out."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from impasto.errors import MemoryLimitError
from impasto.ladder import Size

PairStore = Literal["memory", "half", "disk"]  # where L-BFGS keeps its pairs: as float32, as bfloat16, as bfloat16 in files

# The model of memory, fitted to measured runs (`python benchmarks/memory.py`).
RESTING = 470_000_000  # bytes of host memory: torch, the encoder, and what small scales leave allocated
IMAGE = 12  # bytes of a pixel in float32
EVALUATING = 6  # images in memory during an evaluation: image, best, gradient, L-BFGS's last place and its gradient
MOVING = 8  # images in memory during L-BFGS's step: these, the change, and what the metric and the pairs need
VALUE = 1.8  # how many times a feature value is in memory while gradients are computed, including memory kept for reuse
PER_VALUE = 3.4  # bytes for each value besides: its float32 copy at the time, whatever its own precision
STANDING_IN = 3.0  # bytes for each value besides, where float32 stands in for bfloat16 (`device.multipliable`)
LARGEST_BLOCK = 1.05  # of the memory of the block that takes most, among all stages
OTHER_BLOCKS = 0.7  # of that of the other stages' blocks: part of the memory kept from one fits another
WORKING = 90_000_000  # bytes that matrix products in blocks take
REGION = 16  # bytes of a pixel for a region's masks
PAIRS: dict[PairStore, int] = {"memory": 20 * IMAGE, "half": 10 * IMAGE, "disk": 0}  # bytes of a pixel for ten pairs
SIDES = (2048, 1536, 1024, 768, 640, 512, 448, 384, 320, 256, 192, 128, 96, 64)  # of blocks, in pixels
FORWARD = 0.4  # of a step's time: the first of the two passes over blocks
SPARE = 100_000_000  # bytes left unused below a limit: the model does not know every allocation
SHARE = 0.9  # of the free memory that a run may take
TENSOR = 1.05  # memory of a tensor relative to its values


@dataclass(frozen=True)
class Plan:
    """How an image is computed.

    side: of its blocks in pixels, None for the whole image at once; pairs: where L-BFGS keeps its pairs; peak: bytes of memory;
    work: pixels whose time one evaluation takes.
    """

    side: int | None = None
    pairs: PairStore = "memory"
    peak: int = 0
    work: float = 0


@dataclass(frozen=True)
class StageCost:
    """What one stage of an encoder takes (`objective.blocks.stages`).

    trunk, heads: values computed per pixel, within the margin too and without it. margin: of its blocks, in pixels. scale: the side of
    its blocks relative to the first stage's. share: of an evaluation's time. output: values per pixel passed to the next stage.
    """

    trunk: float
    heads: float
    margin: int
    scale: float = 1.0
    share: float = 1.0
    output: float = 0.0

    def side(self, side: int) -> int:
        """The side of its blocks where the first stage's have `side`."""
        return round(side * self.scale)

    def seen(self, length: int, side: int) -> int:
        """Pixels along one side of a block with its margins, in an image of that length."""
        return min(length, self.side(side) + 2 * self.margin)

    def all_seen(self, length: int, side: int) -> int:
        """The sum of that over the blocks along a side of the image: two margins wherever two blocks meet."""
        return length + 2 * self.margin * (math.ceil(length / self.side(side)) - 1)

    def values(self, size: Size, side: int) -> float:
        """The number of values of one block."""
        seen = math.prod(self.seen(length, side) for length in size)
        return self.trunk * seen + self.heads * math.prod(min(self.side(side), length) for length in size)


@dataclass(frozen=True)
class MemoryModel:
    """What an encoder takes.

    stages: its parts. widest: the most values per pixel that one layer computes. content: values per pixel kept of the photograph.
    itemsize: bytes of a value. stood_in: whether float32 stands in for its products. regions: the number of masked regions.
    pixels_encoded: for each pixel of the image, at all sizes of it together (`objective.levels`).
    resting: bytes that a run takes before there is an image; 0 on a GPU, whose free memory does not include them.
    """

    stages: tuple[StageCost, ...]
    widest: float = 64
    content: float = 0
    itemsize: int = 4
    stood_in: bool = False
    regions: int = 0
    pixels_encoded: float = 1.0
    resting: int = RESTING

    @property
    def value(self) -> float:
        """Bytes for each feature value while gradients are computed."""
        return VALUE * self.itemsize + PER_VALUE + STANDING_IN * self.stood_in

    def peak(self, size: Size, side: int | None, pairs: PairStore) -> int:
        """Bytes that an image of (height, width) takes at once (side None) or in blocks of `side` pixels."""
        pixels = math.prod(size)
        space = self.value * pixels * self.pixels_encoded * sum(stage.trunk + stage.heads for stage in self.stages)
        if side is not None:
            *others, largest = sorted(self.value * stage.values(size, side) for stage in self.stages)
            space = WORKING + LARGEST_BLOCK * largest + OTHER_BLOCKS * sum(others)
        passed_on = 0.0 if side is None else pixels * self.itemsize * self._passed_on()
        smaller = 2 * IMAGE * pixels * (self.pixels_encoded - 1)  # the image averaged down, and the gradient to it
        evaluating, moving = IMAGE * pixels * EVALUATING + smaller + passed_on, IMAGE * pixels * MOVING
        # the allocator keeps the memory of blocks apart from that of images, also while L-BFGS moves
        images = max(evaluating + space, moving) if side is None else max(evaluating, moving) + space
        content = 0 if side and pairs == "disk" else self.itemsize * self.content
        return round(self.resting + images + pixels * (PAIRS[pairs] + REGION * self.regions + content))

    def _passed_on(self) -> float:
        """The most values per pixel in memory of what stages pass on, and of the gradients to it (`objective.blocks.InBlocks`).

        In the second pass through a stage these are the inputs of it and of all stages before, and the gradients to its input and
        output.
        """
        output = [stage.output for stage in self.stages]
        return max((sum(output[:k]) + output[k - 1] + output[k] for k in range(1, len(output))), default=0.0)

    def work(self, size: Size, side: int | None) -> float:
        """Pixels whose time one evaluation takes, at once or in blocks."""
        if side is None:
            return self.pixels_encoded * math.prod(size)
        parts = (stage.share * math.prod(stage.all_seen(length, side) for length in size) for stage in self.stages)
        return self.pixels_encoded * (1 + FORWARD) * sum(parts)

    def block_tensor(self, size: Size, side: int) -> int:
        """Bytes of the largest tensor of one of the first stage's blocks."""
        seen = math.prod(self.stages[0].seen(length, side) for length in size)
        each = torch.float32.itemsize if self.stood_in else self.itemsize
        return round(TENSOR * self.widest * each * seen)

    def plan(self, size: Size, limit: int) -> Plan:
        """The fastest way to compute an image of (height, width) in `limit` bytes, or if there is none the one that takes the least."""
        sides = [None, *(side for side in SIDES if side < max(size))]
        kinds: tuple[PairStore, ...] = ("memory", "half", "disk")
        plans = [Plan(side, pairs, self.peak(size, side, pairs), self.work(size, side)) for side in sides for pairs in kinds]
        return next((plan for plan in plans if plan.peak + SPARE <= limit), min(plans, key=lambda plan: plan.peak))


# ---------------------------------------------------------------------------------------------------- what there is


def limit_of(device: torch.device) -> int:
    """Bytes that a run may take on a device: SHARE of what is free, on a CPU including what impasto has taken already."""
    if device.type == "cuda":
        # torch keeps freed memory for reuse, which the driver counts as used
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return round(SHARE * (torch.cuda.mem_get_info(device)[0] + kept))
    if device.type == "mps":
        return round(SHARE * (torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()))
    room = container_room()
    free = int(psutil.virtual_memory().available)
    return RESTING + round(SHARE * (free if room is None else min(free, room)))


def container_room(system: Path = Path("/")) -> int | None:
    """Bytes that the control groups of this process (a container's limit) leave free; None without a limit.

    system: the root of the file system. Both versions of cgroups are read; a group's parents limit it too.
    """
    rooms: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        for line in (system / "proc/self/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                rooms += _rooms(system / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                rooms += _rooms(system / "sys/fs/cgroup/memory", path, *names)
    return min(rooms, default=None)


def _rooms(mount: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    """The free bytes of a group and of its parents. Inside a container the mount itself is the group, whatever the path says."""
    group = mount / path.lstrip("/")
    for folder in {mount, *(parent for parent in (group, *group.parents) if parent.is_relative_to(mount))}:
        with contextlib.suppress(OSError, ValueError):  # ValueError: "max", no limit
            most = int((folder / limit).read_text(encoding="ascii"))
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
            used = int((folder / usage).read_text(encoding="ascii")) - int(statistics.get(cache, 0))
            if most < 1 << 60:  # version 1 writes a huge number for no limit
                yield max(0, most - used)


# ------------------------------------------------------------------------------------------------------ running out


@contextmanager
def clear_errors(work: str) -> Iterator[None]:
    """Turn running out of memory during `work` ("2048x1536 pixels with encoder vgg19") into a MemoryLimitError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryLimitError(f"not enough memory for {work}", remedy="a smaller {size} needs less") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "DefaultCPUAllocator" in str(error) or "out of memory" in str(error)


def release(device: torch.device) -> None:
    """Give back the memory that torch keeps for reuse."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
