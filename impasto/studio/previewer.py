"""The process that answers at once: it reads uploads, makes views of images, and paints with the network of quality instant.

Whatever a client sent is decoded here and not in the server. If a file kills this process, `processes` starts another.
"""

from __future__ import annotations

import io
import os
import signal
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from impasto.errors import ImpastoError, OptionError
from impasto.extras import on_one_gpu
from impasto.inputs import SAMPLE, STYLE_SUFFIX, Inputs, Layer, StyleFile, built_in, style_names
from impasto.studio.words import sentence

if TYPE_CHECKING:
    from impasto.pictures import Picture
    from impasto.stylizer import Stylizer

T = TypeVar("T")

MOST_PHOTOS, MOST_STYLES = 4, 16  # kept in memory
MOST_SAMPLES = 64
SMALLEST_SAMPLE = 96  # pixels
LARGEST_VIEW = 2048  # pixels, longer side
KEPT = 1280  # pixels: an instant preview is painted from a photograph reduced to this, at most
QUALITY = 90  # of the JPEGs sent to the page


@dataclass(frozen=True)
class Answer:
    """What came of a request. value: what was asked for. error: why not, in one sentence. kind: of the error: "picture", "gone",
    "option" or "busy"; "" for a bug. option: which.
    """

    value: Any = None
    error: str = ""
    kind: str = ""
    option: str = ""


def serve(max_pixels: int, device: str, requests: Connection) -> None:
    """The process: answer requests (name, arguments) until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    previewer = Previewer(max_pixels, on_one_gpu(device))
    while True:
        try:
            name, arguments = requests.recv()
        except (EOFError, OSError):
            return
        try:
            answer = Answer(getattr(previewer, name)(**arguments))
        except OptionError as error:
            answer = Answer(error=sentence(error), kind="option", option=error.option)
        except ImpastoError as error:
            answer = Answer(error=str(error), kind="picture")
        except FileNotFoundError:  # it was deleted meanwhile
            answer = Answer(error="This picture is not here any more", kind="gone")
        except Exception as error:  # a bug, or a file that no test foresaw; the process goes on
            answer = Answer(error=f"impasto failed ({type(error).__name__})")
        requests.send(answer)


class Previewer:
    """What the process can do. max_pixels: of any image. device: as the option."""

    def __init__(self, max_pixels: int, device: str) -> None:
        self.max_pixels, self.device = max_pixels, device
        self._photos = _Cache(MOST_PHOTOS)
        self._styles = _Cache(MOST_STYLES)
        self._samples = _Cache(MOST_SAMPLES)
        self._stylizer: Stylizer | None = None

    def check(self, path: Path, name: str, still: Path | None = None) -> dict[str, Any]:
        """Read an upload. still: where the first frame goes if it is a clip; None where it may not be one.

        Returns its size, notes for the user, and what is known of a clip. Raises PictureError and StyleFileError.
        """
        if still is not None:
            from impasto.studio import films

            if (found := films.check(path, still, self.max_pixels)) is not None:
                return found
        if path.suffix == STYLE_SUFFIX:
            from impasto import styles

            card = styles.read_card(path)
            self._style(path)
            return {"size": tuple(card.size), "notes": (), "tuned": card.tuned}
        picture = self._picture(path, name)
        return {"size": picture.size, "notes": picture.notes, "tuned": False, "clip": None}

    def check_film(self, clip: Path, film: dict[str, Any], **more: Any) -> None:
        """Make sure that a clip can be painted as asked. Raises OptionError, and PictureError where video is not installed."""
        from impasto.studio import films

        films.check_film(clip, film, **more)

    def film_settings(self, path: Path) -> dict[str, Any]:
        """How a painted clip was made. Raises PictureError."""
        from impasto.studio import films

        return films.settings(path)

    def unpack(self, archive: Path, target: Path, most: int) -> dict[str, Any]:
        """Unpack the photographs of a zip. Raises PictureError."""
        from impasto.studio.unpack import unpack

        return unpack(archive, target, most)

    def view(self, path: Path, size: int) -> tuple[bytes, str]:
        """An image file at most so large, upright and in sRGB: its bytes and their media type."""
        from impasto import pictures

        picture = self._smaller(path, min(size, LARGEST_VIEW))
        return _sent(pictures.to_image(picture.pixels, picture.alpha))

    def as_jpeg(self, path: Path) -> bytes:
        """A result as JPEG, with its settings."""
        from PIL import Image

        from impasto import pictures

        settings = pictures.read_settings(path, max_pixels=self.max_pixels)
        with Image.open(path) as image:
            data, _ = pictures.encode(image, ".jpg", settings=settings)
        return data

    def style_view(self, path: Path, size: int) -> tuple[bytes, str]:
        """The painting of a style file or of an image file."""
        if path.suffix != STYLE_SUFFIX:
            return self.view(path, size)
        from PIL import Image

        from impasto import styles

        data = styles.read_image(path, "painting" if size > 256 else "thumbnail") or styles.read_image(path, "painting")
        if not data:
            return self._samples.get((path, size), lambda: self._sample(path, size))
        with Image.open(io.BytesIO(data)) as image:
            image.thumbnail((size, size))
            return _sent(image.convert("RGB"))

    def _sample(self, style: Path, size: int) -> tuple[bytes, str]:
        """A style without its painting: the sample photograph in it, or its palette where the network cannot paint it."""
        from impasto import styles

        try:
            return self.paint(SAMPLE, [(style, 1.0)], [], {"size": max(size, SMALLEST_SAMPLE)})
        except ImpastoError:
            return _sent(_swatch(styles.read_card(style).palette, size))

    def paint(
        self,
        photo: Path,
        styles: list[tuple[str | Path, float]],
        masks: list[tuple[Path, str | Path | None]],
        options: dict[str, Any],
    ) -> tuple[bytes, str]:
        """A photograph in some styles, by the network: bytes and media type. masks: with None as the style to keep the photograph."""
        weights = tuple(weight for _, weight in styles)
        chosen = options | ({"blend": weights} if len(weights) > 1 else {})
        stylizer = self._instant().changed(**chosen)
        size = int(stylizer.options.size)
        layers = tuple(Layer(self._reduced(mask, KEPT), None if style is None else self._style(style)) for mask, style in masks)
        inputs = Inputs(self._reduced(photo, max(size, KEPT)), tuple(self._style(style) for style, _ in styles), layers)
        return _sent(stylizer.paint(inputs).finish())

    def _instant(self) -> Stylizer:
        import torch

        from impasto.stylizer import Stylizer

        if self._stylizer is None:
            if "OMP_NUM_THREADS" not in os.environ:  # threads that share their cores with a painter's wait for each other
                torch.set_num_threads(max(1, torch.get_num_threads() // 2))
            self._stylizer = Stylizer(quality="instant", device=self.device, max_pixels=self.max_pixels)
        return self._stylizer

    def _picture(self, path: Path, name: str) -> Picture:
        from impasto import pictures

        return pictures.load(path.read_bytes(), max_pixels=self.max_pixels, role=name)

    def _reduced(self, path: Path, longer: int) -> Picture:
        """An upload, at most so large, from the cache if it is there."""
        return self._photos.get((path, longer), lambda: self._smaller(path, longer))

    def _smaller(self, path: Path, longer: int) -> Picture:
        """An upload, at most so large, so that what is kept in memory has a limit."""
        from impasto import pictures

        picture = self._picture(path, "picture")
        if max(picture.size) <= longer:
            return picture
        small = pictures.fit(picture.size, longer)
        alpha = picture.alpha if picture.alpha is None else pictures.resize(picture.alpha, small)
        return replace(picture, pixels=pictures.resize(picture.pixels, small), alpha=alpha, labels=None)

    def _style(self, source: str | Path) -> Any:
        """A style to paint with, from the cache if it is there. source: a file, or a built-in name."""
        file = built_in(str(source)) if str(source) in style_names() else Path(source)

        def read() -> Any:
            known = StyleFile(file, "") if file.suffix == STYLE_SUFFIX else self._smaller(file, LARGEST_VIEW)
            return self._instant().style(known)

        return self._styles.get((file, file.stat().st_mtime_ns), read)


@dataclass
class _Cache:
    """The values last used."""

    most: int
    found: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self.found:
            self.found[key] = make()
            while len(self.found) > self.most:
                self.found.popitem(last=False)
        self.found.move_to_end(key)
        value: T = self.found[key]
        return value


def _sent(image: Any) -> tuple[bytes, str]:
    """JPEG, or PNG for transparency."""
    data = io.BytesIO()
    if image.mode == "RGBA":
        image.save(data, "PNG", compress_level=3)
        return data.getvalue(), "image/png"
    image.convert("RGB").save(data, "JPEG", quality=QUALITY, subsampling=0)
    return data.getvalue(), "image/jpeg"


def _swatch(palette: Any, size: int) -> Any:
    """Stripes of a palette, for a style without its painting."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (size, size), "gray")
    draw, left = ImageDraw.Draw(image), 0.0
    for color, share in palette:
        draw.rectangle((left, 0, left + share * size + 1, size), fill=color)
        left += share * size
    return image
