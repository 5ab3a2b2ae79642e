"""The styles that come with impasto, by name."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from impasto.errors import UnknownNameError
from impasto.styles.stored import SUFFIX

FOLDER = Path(__file__).parent.parent / "assets" / "styles"


def names() -> list[str]:
    """Every name, in alphabetical order."""
    return sorted(file.stem for file in FOLDER.glob(f"*{SUFFIX}"))


def path(name: str) -> Path:
    """The style file of a name. Raises UnknownNameError, with the nearest name."""
    if name not in names():
        raise UnknownNameError("style", name, names())
    return FOLDER / f"{name}{SUFFIX}"


def style_file(source: object) -> Path | None:
    """The style file that somebody means: one by its suffix, or one of ours by its name; None for anything else, such as a picture.

    A file that exists always wins over a name. Raises UnknownNameError for what is nearly a name and nothing else.
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    file = Path(source)
    if file.suffix.lower() == SUFFIX:
        return file
    name = os.fspath(source)
    if not isinstance(name, str) or not name or file.suffix or file.name != name or _is_there(file):
        return None
    known = names()
    return path(name) if name in known or difflib.get_close_matches(name, known, n=1) else None


def _is_there(file: Path) -> bool:
    """Whether there is a file; a folder is none."""
    try:
        return file.exists() and not file.is_dir()
    except (OSError, ValueError):  # a name too long, with a NUL in it
        return False
