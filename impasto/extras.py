"""What this installation and this process have: torch, cores."""

from __future__ import annotations

import importlib.util
import os
from functools import cache

from impasto.errors import UsageError

INSTALL = "install it: pip install 'impasto[paint]'"


@cache
def has_torch() -> bool:
    """Whether torch is installed. It is not loaded."""
    try:
        return importlib.util.find_spec("torch") is not None
    except ModuleNotFoundError:  # an import hook that refuses it
        return False


def needs_torch(what: str, option: str = "") -> UsageError:
    """The error for what cannot be done without torch. option: at fault."""
    return UsageError(f"{what} needs torch" if what else "needs torch", option=option, remedy=INSTALL)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """How many threads to use: one for each core, and no more than OpenMP is allowed."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores(), int(allowed)) if allowed.isdecimal() and int(allowed) else cores()


def on_one_gpu(device: str) -> str:
    """The option `device` for a name such as "cuda:1": "cuda", and this process sees that GPU only. Other names stay.

    It must be called before CUDA is used. Numbers count the GPUs that the process sees before. A number beyond them leaves
    none, and CUDA says so.
    """
    kind, _, number = device.partition(":")
    if number:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        seen = None if visible is None else visible.split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = number if seen is None else (seen[int(number)] if int(number) < len(seen) else "")
    return kind
