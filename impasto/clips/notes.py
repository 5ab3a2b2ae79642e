"""What is said about a clip: notes for the user, and refusals."""

from __future__ import annotations

from pathlib import Path

from impasto import files
from impasto.errors import PictureError
from impasto.ladder import Size


class Notes(list[str]):
    """Notes without the clip's name, each once."""

    def add(self, text: str, *, once: str = "") -> None:
        """Add a note, unless it is empty or there. once: a note that begins so is enough."""
        if text and text not in self and not (once and any(note.startswith(once) for note in self)):
            self.append(text)


def refusal(path: Path, problem: str, remedy: str = "") -> PictureError:
    """The error of a clip that cannot be used."""
    return PictureError(f"clip {files.printable(path)}: {problem}", remedy=remedy)


def check_size(path: Path, size: Size, max_pixels: int) -> None:
    """Raise PictureError for more pixels than allowed. size: (height, width)."""
    if size[0] * size[1] > max_pixels:
        problem = f"{size[0] * size[1]:,} pixels, more than the limit of {max_pixels:,}"
        raise refusal(path, problem, "raise {max_pixels}")
