"""A folder of numbered images as a source of moments."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from impasto import files, pictures
from impasto.clips.notes import Notes, refusal
from impasto.clips.window import Moment
from impasto.ladder import Size

if TYPE_CHECKING:
    from torch import Tensor

USUAL_RATE = Fraction(24)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".avif", ".heic", ".jp2", ".jxl")


def images_in(folder: Path) -> list[Path]:
    """The images of a folder whose names have a number, in natural order: 2 before 10."""
    try:
        found = [
            file
            for file in folder.iterdir()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and re.search(r"\d", file.stem)
        ]
    except OSError as error:
        raise refusal(folder, files.reason(error)) from error
    return sorted(found, key=lambda file: _natural(file.name))


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", name.lower())
    return [(int(part), part) if place % 2 else (0, part) for place, part in enumerate(parts)]


class Folder:
    """Images that are frames. notes: for the user, without the folder's name."""

    has_sound = False

    def __init__(self, path: Path, max_pixels: int, rate: Fraction | None = None) -> None:
        """Read the size of the first image. rate: frames a second. Raises PictureError."""
        self.path, self.max_pixels, self.rate = path, max_pixels, rate or USUAL_RATE
        self.notes = Notes()
        self.files = images_in(path)
        if not self.files:
            raise refusal(path, "the folder holds no numbered images")
        kinds = {file.suffix.lower() for file in self.files}
        if len(kinds) > 1:
            self.notes.add(f"holds images of several formats: {', '.join(sorted(kinds))}")
        self.size: Size = self._read(self.files[0]).size

    @property
    def time_base(self) -> Fraction:
        """The unit of times in seconds."""
        return 1 / self.rate

    def at(self, rate: Fraction) -> Folder:
        """The same images at another rate, with the same list of notes."""
        other = copy.copy(self)
        other.rate = rate
        return other

    def times(self) -> Iterator[Moment]:
        """The moments."""
        return self.moments(self.size)

    def moments(self, size: Size, skip: int = 0) -> Iterator[Moment]:
        """All moments. size: (height, width) of the pixels. Every image can be drawn at any time, so none is skipped."""
        for number, file in enumerate(self.files):
            yield Moment(number / self.rate, 1 / self.rate, functools.partial(self._pixels, file, size))

    def _read(self, file: Path) -> pictures.Picture:
        return pictures.load(file, max_pixels=self.max_pixels, role="frame")

    def _pixels(self, file: Path, size: Size) -> Tensor:
        picture = self._read(file)
        if picture.size != self.size:
            self.notes.add("holds images of several sizes, which are resized to the first's")
        if picture.alpha is not None:
            self.notes.add("is shown on white where it is transparent")
        return pictures.resize(picture.over(1.0), size)
