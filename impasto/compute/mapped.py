"""Tensors in files, for what does not fit into memory: an ordinary tensor over a memory-mapped file without a name.

The operating system reads and writes the pages. `bands` visits a tensor piece by piece and drops the pages of each piece when it is
done, so that the whole file is never resident. Both functions also take ordinary tensors, for which dropping does nothing.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import psutil
import torch
from torch import Tensor

from impasto.errors import SaveError
from impasto.files import printable, reason

CHUNK = 1 << 24  # bytes written at a time where the system cannot reserve a file's space
IN_MEMORY = ("tmpfs", "ramfs")  # file systems that are memory themselves


def scratch_folder() -> Path:
    """The folder for such files: TMPDIR or the system's, or else the user's cache. Raises SaveError if all of them are in memory."""
    cache = platformdirs.user_cache_path("impasto", appauthor=False)
    for folder in (Path(tempfile.gettempdir()), cache):
        if file_system(folder) not in IN_MEMORY:
            if folder == cache:
                with contextlib.suppress(OSError):  # `empty` reports the folder
                    folder.mkdir(parents=True, exist_ok=True)
            return folder
    raise SaveError(
        f"this image needs files for what memory cannot hold, and {printable(tempfile.gettempdir())} is a file system in memory; "
        "set TMPDIR to a folder on a disk"
    )


def file_system(folder: Path) -> str:
    """The type of the file system a folder is on, such as "ext4" or "tmpfs"; "" if the system does not say."""
    try:
        mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
        place = folder.resolve()
        return next((mounts[parent] for parent in (place, *place.parents) if parent in mounts), "")
    except (OSError, RuntimeError):
        return ""


def empty(shape: torch.Size, dtype: torch.dtype, folder: Path) -> Tensor:
    """An uninitialized CPU tensor in a file without a name, which disappears with the tensor or the process.

    shape: any; BxCxHxW is laid out as channels_last. Raises SaveError if a file of that size cannot be made.
    """
    size, layout = shape.numel() * dtype.itemsize, torch.channels_last if len(shape) == 4 else torch.contiguous_format
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve(file.fileno(), size)
            pages = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise SaveError(
            f"a file of {size / 1e6:.0f} MB, for what memory cannot hold, cannot be made in {printable(folder)}: {reason(error)}; "
            "set TMPDIR to another folder"
        ) from error
    tensor = torch.frombuffer(pages, dtype=dtype).as_strided(
        shape, torch.empty(shape, device="meta", memory_format=layout).stride()
    )
    tensor.pages = pages  # type: ignore[attr-defined]  # tensors take attributes, which torch's types do not say
    return tensor


def reserve(file: int, size: int) -> None:
    """Give a file all of its bytes now: on a full disk, writing to a mapped page without any ends the process by a signal."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    zeros, written = bytes(min(CHUNK, size)), 0
    while written < size:  # a write may take only a part, as it does just before the disk is full
        written += os.write(file, zeros[: size - written])


def bands(tensor: Tensor, count: int, dim: int = 0) -> Iterator[Tensor]:
    """Consecutive parts of `count` indices along a dimension, views. The pages of each are dropped when the next is asked for."""
    for number, band in enumerate(torch.split(tensor, count, dim)):
        yield band
        if tensor.dim() == 1:
            drop(tensor, number * count, count)
        else:
            drop(tensor)


def drop(tensor: Tensor, start: int = 0, count: int | None = None) -> None:
    """Drop the resident pages of a tensor in a file; they are read again on access, and what was written stays.

    start, count: the values of a one-dimensional tensor whose pages are dropped; all of them by default.
    """
    pages = getattr(tensor, "pages", None)
    if pages is None or not hasattr(pages, "madvise"):
        return
    first, last = start * tensor.itemsize, len(pages)
    if count is not None:
        last = min(last, first + count * tensor.itemsize)
    first -= first % mmap.PAGESIZE
    pages.madvise(mmap.MADV_DONTNEED, first, last - first)
