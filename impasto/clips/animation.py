"""Animated GIF, WebP and PNG by Pillow, as sources of moments."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from impasto import files, pictures
from impasto.clips.notes import Notes, check_size, refusal
from impasto.clips.window import Moment, nothing
from impasto.errors import PictureError
from impasto.ladder import Size

if TYPE_CHECKING:
    from torch import Tensor

_SHORTEST, _SUBSTITUTE = 20, 100  # milliseconds: browsers show frames that are to stay less than 20 for 100


class Animation:
    """An animated picture. notes: for the user, without the file's name."""

    time_base = Fraction(1, 1000)
    has_sound = False

    def __init__(self, path: Path, max_pixels: int) -> None:
        """Read its size and durations. Raises PictureError."""
        self.path, self.max_pixels = path, max_pixels
        self.notes = Notes()
        with self._opened() as image:
            self.size: Size = (image.height, image.width)
            check_size(path, self.size, max_pixels)
            if getattr(image, "n_frames", 1) < 2:
                raise refusal(path, "is a still image, not a clip")

    @functools.cached_property
    def durations(self) -> tuple[int, ...]:
        """Milliseconds that each frame stays."""
        found, short = list[int](), 0
        with self._opened() as image:
            for number in range(getattr(image, "n_frames", 1)):
                if not self._reached(image, number):
                    break
                stays = round(float(image.info.get("duration", 0) or 0))
                short += stays < _SHORTEST
                found.append(stays if stays >= _SHORTEST else _SUBSTITUTE)
        if short:
            self.notes.add(f"frames of less than {_SHORTEST} ms are shown for {_SUBSTITUTE} ms, as browsers do")
        return tuple(found)

    @property
    def rate(self) -> Fraction:
        """Frames a second on average."""
        return Fraction(1000 * len(self.durations), sum(self.durations))

    def times(self) -> Iterator[Moment]:
        """The moments without their pixels."""
        now = 0
        for stays in self.durations:
            yield Moment(Fraction(now, 1000), Fraction(stays, 1000), nothing)
            now += stays

    def moments(self, size: Size, skip: int = 0) -> Iterator[Moment]:
        """All moments; each can be drawn until the next one is asked for. size: (height, width) of the pixels."""
        with self._opened() as image:
            for number, moment in enumerate(self.times()):
                if number < skip:
                    yield moment
                    continue
                if not self._reached(image, number):
                    return
                yield moment._replace(draw=functools.partial(self._pixels, image.copy(), size))

    def _reached(self, image: Image.Image, number: int) -> bool:
        try:
            image.seek(number)
            image.load()
        except (EOFError, OSError, SyntaxError, ValueError, IndexError):
            if number == 0:
                raise refusal(self.path, "no frame of it can be decoded") from None
            self.notes.add(f"is cut off: it ends after {number} frames")
            return False
        return True

    def _pixels(self, image: Image.Image, size: Size) -> Tensor:
        picture = pictures.load(image, max_pixels=self.max_pixels, role=f"clip {files.printable(self.path)}")
        if picture.alpha is not None:
            self.notes.add("is shown on white where it is transparent")
        return pictures.resize(picture.over(1.0), size)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Image.Image]:
        with warnings.catch_warnings(), files.open_regular(self.path, PictureError, "clip") as file:
            warnings.simplefilter("ignore")
            try:
                with Image.open(file, formats=("GIF", "WEBP", "PNG")) as image:
                    yield image
            except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, EOFError) as error:
                raise refusal(self.path, "truncated or damaged") from error


def is_animated(path: Path) -> bool:
    """Whether a GIF, WebP or PNG file has several frames."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("GIF", "WEBP", "PNG")) as image:
            warnings.simplefilter("ignore")
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # decoders raise nearly anything when fed damaged files
        return False
