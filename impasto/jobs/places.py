"""Where an image goes if its name was taken, or its folder removed, while it was painted."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import OutputError
from impasto.files import printable


@dataclass(frozen=True)
class Written:
    """A written image. notes: for the user: those of the encoder, and that it was saved in another folder."""

    path: Path
    notes: tuple[str, ...]


def make_again(folder: Path) -> None:
    """Make a folder that was removed. Without permission nothing happens: writing there says why."""
    if not folder.is_dir():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)


def write(target: Path, save: Callable[[Path, bool], tuple[str, ...]], may_replace: Callable[[Path], bool]) -> Written:
    """Write a finished image under its name, under the next free one, or in another folder.

    save: writes the image to a file and returns notes; its second argument is whether the file may be replaced.
    may_replace: whether a file may be replaced.

    Raises the OutputError of the target if the image cannot be written to any folder.
    """
    make_again(target.parent)
    first_error: OutputError | None = None
    for folder in (target.parent, *_others(target)):
        for name in _names(folder / target.name):
            replace = name == target and may_replace(name)
            try:
                saved = save(name, replace)
            except OutputError as error:
                first_error = first_error or error
                if replace or not name.exists():  # the folder is at fault
                    break
            else:
                moved = folder != target.parent
                return Written(name, (*saved, f"{first_error}; it was saved as {printable(name)}") if moved else saved)
    raise first_error or OutputError(f"{printable(target)} could not be written")


def _names(target: Path) -> Iterator[Path]:
    yield target
    yield from (target.with_name(f"{target.stem}-{number}{target.suffix}") for number in itertools.count(2))


def _others(target: Path) -> Iterator[Path]:
    """The nearest folder above that is there, the current folder, and the one for temporary files."""
    yield next((folder for folder in target.absolute().parents[1:] if folder.is_dir()), Path.cwd())
    yield Path.cwd()
    yield Path(tempfile.gettempdir())
