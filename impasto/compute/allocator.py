"""The C library's allocator: have it keep the memory of tensors for the next ones.

Otherwise the pages of every large tensor go back to the system, which clears them for the next one: a third of a step's time at 1024
pixels. This is for glibc only; with other libraries nothing here does anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

ANY, LARGE, NEVER = 2**31 - 1, 4 << 20, -1  # bytes; NEVER is glibc's own value
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h


@contextmanager
def kept(largest: int = ANY) -> Iterator[None]:
    """Allocate tensors where their memory is kept for reuse. Enter this for one step only: the setting is the process's.

    largest: tensors of more bytes get memory of their own, which goes back when they are freed: small tensors would otherwise fragment
    it. Afterwards allocations of 4 MB and more get memory of their own, and what is kept stays until `release`, or the next free of
    the caller's would give it back. glibc cannot be set back to the threshold it adapts itself.
    """
    keep_up_to(largest)
    try:
        yield
    finally:
        _set(LARGE, NEVER)


def keep_up_to(largest: int) -> None:
    """Change `largest` inside `kept`."""
    _set(max(LARGE, largest), NEVER)


def release() -> None:
    """Keep nothing any more: give freed memory back now, and from now on."""
    _set(LARGE, LARGE)
    trim()


def trim() -> None:
    """Give freed memory back to the system, when the next tensors have other sizes."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


def _set(own: int, kept: int) -> None:
    """own: bytes from which an allocation gets memory of its own; kept: how many freed bytes are kept."""
    library = _library()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, own)
        library.mallopt(_TRIM_THRESHOLD, kept)


@cache
def _library() -> ctypes.CDLL | None:
    """The C library if it is glibc, or has its settings."""
    with contextlib.suppress(OSError):
        library = ctypes.CDLL(None) if sys.platform == "linux" else None
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    return None
