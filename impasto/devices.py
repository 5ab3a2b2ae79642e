"""Which device and precision to compute with, and what to say when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from impasto.errors import MemoryLimitError, OptionError


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


@contextmanager
def repeatable(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Have cuDNN choose repeatable kernels on a CUDA device, and float32 mean float32 there (it would round to TF32).

    torch's own replicate padding may still add in any order there. The settings hold for the process until the run ends.
    """
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.allow_tf32
    cudnn.deterministic, cudnn.allow_tf32 = True, dtype != torch.float32
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.allow_tf32 = before


@contextmanager
def clear_memory_errors(work: str) -> Iterator[None]:
    """Turn running out of memory during `work` ("2048x1536 pixels with vgg19") into a MemoryLimitError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise MemoryLimitError(f"not enough memory for {work}; a smaller --size needs less") from error


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return "DefaultCPUAllocator" in str(error) or "out of memory" in str(error)
