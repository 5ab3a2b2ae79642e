"""Where L-BFGS keeps its pairs: in memory as they are, or, for pictures whose history would fill it, in half of that or in files.

A kept tensor is a tensor in any case, so that a run's state can be written and read whatever its history is.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from impasto.errors import SaveError
from impasto.files import printable, reason

PIECE = 1 << 22  # values that are converted at a time: 16 MB in float32


class History:
    """In memory, as they are."""

    def keep(self, x: Tensor, less: Tensor, over: Tensor | float = 1.0) -> Tensor:
        """What is kept of (x - less) / over, of one dimension. x, less: of the same shape, any."""
        return (x - less).div_(over).reshape(-1)

    def whole(self, kept: Tensor) -> Tensor:
        """A copy of what is kept, in float32 and in memory."""
        return kept.clone()

    def dot(self, kept: Tensor, x: Tensor) -> Tensor:
        """The product of what is kept and x, a scalar. x: float32, or kept as well."""
        return torch.dot(kept, x)

    def add(self, x: Tensor, kept: Tensor, factor: Tensor) -> None:
        """Add factor times what is kept to x, in place."""
        x.addcmul_(kept, factor)  # no product beside it, whose memory would take longer to come by than its values


class Compact(History):
    """In bfloat16, which keeps 8 bits of every number and its range; with a folder in files there, which vanish with their tensors.

    What is in files is read piece by piece, and no piece stays in memory longer than it is used.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def keep(self, x: Tensor, less: Tensor, over: Tensor | float = 1.0) -> Tensor:
        """(x - less) / over in bfloat16. Raises SaveError where a file cannot be made."""
        count = x.numel()
        if self.folder is None:
            kept = torch.empty(count, dtype=torch.bfloat16, device=x.device)
        else:
            kept = filed(torch.Size((count,)), torch.bfloat16, self.folder)
        split = zip(*(torch.split(one.reshape(-1), PIECE) for one in (kept, x, less)), strict=True)
        for number, (to, piece, minus) in enumerate(split):
            to.copy_((piece - minus).div_(over))
            put_down(kept, number)
        return kept

    def whole(self, kept: Tensor) -> Tensor:
        """A copy of what is kept, in float32 and in memory."""
        found = kept.float()
        put_down(kept)
        return found

    def dot(self, kept: Tensor, x: Tensor) -> Tensor:
        """The product of what is kept and x, a scalar. x: float32, or kept as well."""
        return torch.stack([torch.dot(piece, part) for piece, part in _pieces(kept, x)]).sum()

    def add(self, x: Tensor, kept: Tensor, factor: Tensor) -> None:
        """Add factor times what is kept to x, in place."""
        for piece, part in _pieces(kept, x):
            part.addcmul_(piece, factor)


def _pieces(kept: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pieces of what is kept, in float32 on x's device, beside the same pieces of x, which are views if x is float32."""
    for number, (piece, part) in enumerate(zip(torch.split(kept, PIECE), torch.split(x, PIECE), strict=True)):
        yield piece.to(x.device).float(), part.float()
        for one in (kept, x):
            put_down(one, number)


def filed(shape: torch.Size, dtype: torch.dtype, folder: Path) -> Tensor:
    """An empty tensor in a file without a name, which is gone when the tensor is, or the process; see `put_down`.

    shape: of any; BxCxHxW are laid out as channels_last. Raises SaveError where a file of that size cannot be made.
    """
    size, layout = shape.numel() * dtype.itemsize, torch.channels_last if len(shape) == 4 else torch.contiguous_format
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            make_room(file.fileno(), size)
            room = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise SaveError(
            f"no file of {size / 1e6:.0f} MB, for what memory has no room for, can be made in {printable(folder)}: {reason(error)}; "
            "TMPDIR can name another folder"
        ) from error
    kept = torch.frombuffer(room, dtype=dtype).as_strided(
        shape, torch.empty(shape, device="meta", memory_format=layout).stride()
    )
    kept.room = room  # type: ignore[attr-defined]
    return kept


def make_room(file: int, size: int) -> None:
    """Give a file all of its bytes now: where the disk is full, to write into one without them ends the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)


def put_down(kept: Tensor, number: int | None = None) -> None:
    """Let go of the memory that shows the file of a tensor, if it has one; it is read again when asked for.

    What was written stays: the system keeps it until it is in the file. number: of a piece of PIECE values, None for all of it.
    """
    room = getattr(kept, "room", None)
    if room is None or not hasattr(room, "madvise"):
        return
    start, stop = 0, len(room)
    if number is not None:
        piece = PIECE * kept.itemsize
        start, stop = number * piece, min((number + 1) * piece, stop)
        start -= start % mmap.PAGESIZE
    room.madvise(mmap.MADV_DONTNEED, start, stop - start)
