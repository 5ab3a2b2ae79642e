"""Which device and which precision to compute with, and torch's global settings while we do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from impasto.compute.settings import set_to
from impasto.errors import OptionError


def choose(name: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "mps". Raises OptionError if this machine lacks it."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, here in present.items() if here))
    if not present[name]:
        raise OptionError(
            f"{name!r} is not available: no {name.upper()} device found, or this build of torch lacks {name.upper()}",
            option="device",
        )
    return torch.device(name)


def encoder_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The encoder's dtype for "fp32", "bf16" or "auto": bfloat16 where the hardware multiplies it natively, else float32.

    Images are float32 in either case.
    """
    if precision == "auto":
        return torch.bfloat16 if _has_fast_bf16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _reported(torch.cpu, "_is_avx512_bf16_supported")


def multipliable(x: Tensor) -> Tensor:
    """x in a dtype that its device multiplies natively: float32 for bfloat16 on a CPU without bfloat16 products, else x itself.

    torch emulates missing bfloat16 products value by value, up to 60 times slower than float32. Products of bfloat16 numbers are exact
    in float32.
    """
    return x.float() if stands_in(x.dtype, x.device) else x


def stands_in(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether float32 stands in for products of this dtype; see `multipliable`."""
    return dtype == torch.bfloat16 and device.type == "cpu" and not _multiplies_bf16()


@cache
def _multiplies_bf16() -> bool:
    """Whether oneDNN multiplies bfloat16 natively on this CPU."""
    return _reported(torch.ops.mkldnn, "_is_mkldnn_bf16_supported")


def _reported(place: Any, name: str) -> bool:
    """What one of torch's private tests of the CPU says; False, which is right everywhere, if this torch has no such test.

    torch has no public test for either instruction set.
    """
    try:
        return bool(getattr(place, name)())
    except (AttributeError, TypeError, RuntimeError):
        return False


@contextmanager
def settings(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Have a CUDA device compute repeatably, and float32 as float32. Enter this for one step only: the settings are torch's own.

    TF32 products are allowed for bfloat16 encoders: TF32 holds their features exactly, and their Gram matrices are summed in float32.
    """
    if device.type != "cuda":
        yield
        return
    wanted = "ieee" if dtype == torch.float32 else "tf32"
    with set_to(torch.backends.cudnn, "deterministic", True), _precision(wanted):
        yield


@contextmanager
def _precision(wanted: str) -> Iterator[None]:
    """float32 products and convolutions as "ieee" or "tf32".

    torch 2.9 and later raise RuntimeError if the older `allow_tf32` is read in a program that has set `fp32_precision`.
    """
    convolutions, products = getattr(torch.backends.cudnn, "conv", None), torch.backends.cuda.matmul
    if hasattr(convolutions, "fp32_precision") and hasattr(products, "fp32_precision"):
        with set_to(convolutions, "fp32_precision", wanted), set_to(products, "fp32_precision", wanted):
            yield
        return
    allowed = wanted == "tf32"
    with set_to(torch.backends.cudnn, "allow_tf32", allowed), set_to(products, "allow_tf32", allowed):
        yield
