"""Which device and precision to compute with, how much memory that takes, and what to say when memory runs out."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from impasto.errors import MemoryLimitError, OptionError

Size = tuple[int, int]  # (height, width) in pixels
HistoryKind = Literal["memory", "half", "disk"]

# The model of memory, fitted to measured runs (`python benchmarks/memory.py`).
RESTING = (
    470_000_000  # bytes: torch, the encoder and everything else before a picture is there, and what small scales left behind
)
PICTURE = 12  # bytes of a pixel in float32
EVALUATING = 6  # pictures there are while losses are computed: picture, best, gradient, L-BFGS's last place and gradient there
MOVING = 8  # pictures there are while L-BFGS takes its step: these, the change, and what the metric and the history need
VALUE = 1.8  # how often a value of a feature is there while gradients are computed, or was and its memory is kept
BESIDE_VALUE = 3.4  # bytes for each value besides: what float32 holds of it meanwhile, whatever its own precision
STANDING_IN = 3.0  # bytes for each value besides: what float32 takes where it stands in for bfloat16 (`multipliable`)
LARGEST_BLOCK = 1.05  # of the memory of the stretch's block that takes most
OTHER_BLOCKS = 0.7  # of that of the other stretches' blocks: part of what is kept of one fits another
WORKING = 90_000_000  # bytes: what products in blocks take beside
REGION = 16  # bytes of a pixel for a region's masks
PAIRS: dict[HistoryKind, int] = {"memory": 20 * PICTURE, "half": 10 * PICTURE, "disk": 0}  # bytes of a pixel for L-BFGS's pairs
SIDES = (2048, 1536, 1024, 768, 640, 512, 448, 384, 320, 256, 192, 128, 96, 64)  # of blocks, in pixels
FORWARD = 0.4  # of a step's time that the first of two passes takes
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_ANY, _LARGE, _NEVER = 2**31 - 1, 4 << 20, -1  # bytes; the last is what the C library calls it
BESIDE = 1.05  # a tensor's memory is a little more than its values
SPARE = 100_000_000  # bytes that are left of a limit: no model knows all that is kept
SHARE = 0.9  # of the memory there is that a run may take


@dataclass(frozen=True)
class Plan:
    """How a picture is computed. side: of its blocks in pixels, None for all of it at once; history: where L-BFGS keeps its pairs.

    peak: bytes of memory that takes. work: pixels whose time it takes to compute losses and gradient once.
    """

    side: int | None = None
    history: HistoryKind = "memory"
    peak: int = 0
    work: float = 0


@dataclass(frozen=True)
class Demand:
    """What a part of an encoder takes (`blocks.stretches`).

    trunk, heads: values it computes per pixel, for all it sees and for what is wanted of it. margin: of its blocks, in pixels.
    wider: how many times longer the sides of its blocks are than those of the first part's. share: of an evaluation's time.
    handed: values per pixel that it hands on to the next.
    """

    trunk: float
    heads: float
    margin: int
    wider: float = 1.0
    share: float = 1.0
    handed: float = 0.0

    def side(self, side: int) -> int:
        """Of its blocks where those of the first part have `side`."""
        return round(side * self.wider)

    def seen(self, length: int, side: int) -> int:
        """Pixels along a side of one of its blocks with its margins, of a picture of that length."""
        return min(length, self.side(side) + 2 * self.margin)

    def all_seen(self, length: int, side: int) -> int:
        """The sum of that over the blocks along a side of the picture: two margins wherever two blocks meet."""
        return length + 2 * self.margin * (math.ceil(length / self.side(side)) - 1)


@dataclass(frozen=True)
class Appetite:
    """What an encoder takes, by its parts.

    widest: the most values per pixel that one layer computes. content: values per pixel that are kept of the photograph.
    bytes_each: of a value. stood_in: whether products are made of its float32. regions: how many masks there are.
    """

    stretches: tuple[Demand, ...]
    widest: float = 64
    content: float = 0
    bytes_each: int = 4
    stood_in: bool = False
    regions: int = 0

    @property
    def value(self) -> float:
        """Bytes of memory for each value while gradients are computed."""
        return VALUE * self.bytes_each + BESIDE_VALUE + STANDING_IN * self.stood_in


def plan(size: Size, appetite: Appetite, limit: int) -> Plan:
    """The fastest way to compute a picture of (height, width) in `limit` bytes, or where there is none the one that takes the least."""
    sides = [None, *(side for side in SIDES if side < max(size))]
    kinds: tuple[HistoryKind, ...] = ("memory", "half", "disk")
    ways = [_plan(size, appetite, side, history) for side in sides for history in kinds]
    return next((way for way in ways if way.peak + SPARE <= limit), min(ways, key=lambda way: way.peak))


def _plan(size: Size, appetite: Appetite, side: int | None, history: HistoryKind) -> Plan:
    pixels = math.prod(size)
    space = appetite.value * pixels * sum(one.trunk + one.heads for one in appetite.stretches)
    if side is not None:
        *others, largest = sorted(appetite.value * _values(size, one, side) for one in appetite.stretches)
        space = WORKING + LARGEST_BLOCK * largest + OTHER_BLOCKS * sum(others)
    handed = 0.0 if side is None else pixels * appetite.bytes_each * _handed(appetite)
    evaluating, moving = PICTURE * pixels * EVALUATING + handed, PICTURE * pixels * MOVING
    # the memory of blocks is kept apart from that of pictures, and while L-BFGS moves
    pictures = max(evaluating + space, moving) if side is None else max(evaluating, moving) + space
    content = 0 if side and history == "disk" else appetite.bytes_each * appetite.content
    peak = RESTING + pictures + pixels * (PAIRS[history] + REGION * appetite.regions + content)
    return Plan(side, history, round(peak), work(size, side, appetite))


def _handed(appetite: Appetite) -> float:
    """The most values per pixel there are of what stretches hand on, and of gradients to it: see `blocks.Blockwise`.

    While a stretch is looked at again there are what it and those before it are given, the gradient to that, and to what it hands on.
    """
    handed = [one.handed for one in appetite.stretches]
    return max((sum(handed[:k]) + handed[k - 1] + handed[k] for k in range(1, len(handed))), default=0.0)


def _values(size: Size, stretch: Demand, side: int) -> float:
    """How many values a block has in a stretch."""
    seen = math.prod(stretch.seen(length, side) for length in size)
    return stretch.trunk * seen + stretch.heads * math.prod(min(stretch.side(side), length) for length in size)


def work(size: Size, side: int | None, appetite: Appetite) -> float:
    """Pixels whose time it takes to compute losses and gradient of a picture of (height, width), in blocks of a side or at once."""
    if side is None:
        return math.prod(size)
    parts = (one.share * math.prod(one.all_seen(length, side) for length in size) for one in appetite.stretches)
    return (1 + FORWARD) * sum(parts)


def limit_of(device: torch.device) -> int:
    """Bytes that a run may take on a device: SHARE of what is free, on a CPU with what impasto takes already."""
    if device.type == "cuda":
        return round(SHARE * torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return round(SHARE * torch.mps.recommended_max_memory())
    return RESTING + round(SHARE * _free())


def _free() -> int:
    """Bytes of memory that are free, where the system says so; else more than any run takes."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return sys.maxsize // 2


@contextmanager
def memory_kept() -> Iterator[None]:
    """Have the C library keep the memory of tensors for the next ones; it goes back to the system at the end.

    Else every large tensor's pages are the system's again, which clears them for the next: a third of a step's time at 1024 pixels. The
    settings are glibc's and hold for the process; elsewhere this does nothing.
    """
    _allocate_apart(_ANY, _NEVER)
    try:
        yield
    finally:
        _allocate_apart(_LARGE)


def keep_blocks_apart(size: Size, side: int, appetite: Appetite) -> None:
    """Keep the memory of a block's tensors for the next block, but not that of larger ones, where the small would nest.

    The first stretch says which are larger: some tensors of the others' fewer blocks have memory of their own.
    """
    seen = math.prod(appetite.stretches[0].seen(length, side) for length in size)
    each = torch.float32.itemsize if appetite.stood_in else appetite.bytes_each
    _allocate_apart(max(_LARGE, round(BESIDE * appetite.widest * each * seen)), _NEVER)


def _allocate_apart(least: int, kept: int | None = None) -> None:
    """Give tensors of at least so many bytes memory of their own, and what is kept and free now back to the system.

    kept: how many free bytes may be kept from now on; as many where it says nothing.
    """
    library = _c_library()
    if library is not None:
        library.mallopt(_M_MMAP_THRESHOLD, least)
        library.mallopt(_M_TRIM_THRESHOLD, least if kept is None else kept)
    give_back()


def give_back() -> None:
    """Give memory that is kept and free back to the system: between works whose tensors are of other sizes, where those would nest."""
    library = _c_library()
    if library is not None:
        library.malloc_trim(0)


def largest_block(size: Size, side: int, appetite: Appetite) -> int:
    """Bytes that a block takes at most, its products' own among them, where nothing that is kept fits."""
    return WORKING + round(appetite.value * max(_values(size, one, side) for one in appetite.stretches))


def moving(size: Size) -> int:
    """Bytes that L-BFGS's step takes beside the pictures there are when losses and gradient are there."""
    return PICTURE * math.prod(size) * (MOVING - EVALUATING)


def give_back_above(limit: int) -> None:
    """`give_back` if the process has more than `limit` bytes, where the system says so. It costs the time of asking for them again."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        if resident * os.sysconf("SC_PAGE_SIZE") > limit:
            give_back()


@cache
def _c_library() -> ctypes.CDLL | None:
    """The C library where it is glibc, or has its settings."""
    with contextlib.suppress(OSError):
        library = ctypes.CDLL(None) if sys.platform == "linux" else None
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    return None


def choose(name: str) -> torch.device:
    """The device behind "auto", "cpu", "cuda" or "mps". Raises OptionError for one this machine lacks."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, here in present.items() if here))
    if not present[name]:
        raise OptionError(
            f"device {name!r} is not to be had: this machine, or this build of torch, has no {name.upper()} device"
        )
    return torch.device(name)


def encoder_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What to convolve in. "auto" is bfloat16 where the hardware multiplies it natively, else float32; images stay float32."""
    if precision == "auto":
        return torch.bfloat16 if _has_fast_bf16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # torch has no public test for bf16 instructions on CPUs; without this one, fp32 is right everywhere.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cpu" and bool(supported())


def multipliable(x: Tensor) -> Tensor:
    """x as its device multiplies it: float32 for bfloat16 on a CPU without products in it, else x itself.

    torch makes up for such instructions value by value, which takes up to 60 times as long as float32, where the products of bfloat16's
    numbers are exact.
    """
    return x.float() if stood_in(x.dtype, x.device) else x


def stood_in(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether products of this dtype are made of float32, see `multipliable`."""
    return dtype == torch.bfloat16 and device.type == "cpu" and not _multiplies_bf16()


@cache
def _multiplies_bf16() -> bool:
    """Whether oneDNN has products in bfloat16 for this CPU. torch has no public test for this either."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    return bool(supported())


@contextmanager
def repeatable(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Have cuDNN choose repeatable kernels on a CUDA device. In float32 that is what is computed in there; TF32 is for bfloat16's runs,
    whose features it holds exactly, and their Gram matrices are added up in float32 even so. The settings hold until the run ends.
    """
    if device.type != "cuda":
        yield
        return
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.deterministic, cudnn.allow_tf32, products.allow_tf32
    cudnn.deterministic, cudnn.allow_tf32, products.allow_tf32 = True, dtype != torch.float32, dtype != torch.float32
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.allow_tf32, products.allow_tf32 = before


@contextmanager
def clear_memory_errors(work: str) -> Iterator[None]:
    """Turn running out of memory during `work` ("2048x1536 pixels with vgg19") into a MemoryLimitError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryLimitError(f"not enough memory for {work}; a smaller --size needs less") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whichever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "DefaultCPUAllocator" in str(error) or "out of memory" in str(error)


def free(device: torch.device) -> None:
    """Give back the memory that torch keeps for reuse."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
