"""Where an image goes if its name was taken, or its folder removed, while it was painted."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from impasto.errors import OutputError
from impasto.files import printable

T = TypeVar("T")


def make_again(folder: Path) -> None:
    """Make a folder that was removed. Without permission nothing happens: writing there says why."""
    if not folder.is_dir():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)


def write(target: Path, save: Callable[[Path, bool], T], overwrite: Callable[[Path], bool]) -> tuple[Path, T, tuple[str, ...]]:
    """Write a finished image under its name, under the next free one, or in another folder.

    save: writes it to a file; its second argument is whether the file may be replaced. overwrite: whether a file may be. Returns the
    file, what `save` returned, and notes. Raises the OutputError of the target if no folder takes it.
    """
    make_again(target.parent)
    first: OutputError | None = None
    for folder in (target.parent, *_others(target)):
        for name in _names(folder / target.name):
            replace = name == target and overwrite(name)
            try:
                found = save(name, replace)
            except OutputError as error:
                first = first or error
                if replace or not name.exists():  # the folder is at fault
                    break
            else:
                moved = folder != target.parent
                return name, found, (f"{first}; it was saved as {printable(name)}",) if moved else ()
    raise first or OutputError(f"{printable(target)} could not be written")


def _names(target: Path) -> Iterator[Path]:
    yield target
    yield from (target.with_name(f"{target.stem}-{number}{target.suffix}") for number in itertools.count(2))


def _others(target: Path) -> Iterator[Path]:
    """The nearest folder above that is there, the current folder, and the one for temporary files."""
    yield next((folder for folder in target.absolute().parents[1:] if folder.is_dir()), Path.cwd())
    yield Path.cwd()
    yield Path(tempfile.gettempdir())
