"""What paints the tiles of a contact sheet: a `Stylizer`, or where torch is not installed `impasto.portable`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from impasto import pictures, portable
from impasto.extras import has_torch
from impasto.inputs import Inputs
from impasto.ladder import Size
from impasto.options import Options

if TYPE_CHECKING:
    from PIL import Image

    from impasto.stylizer import Stylizer


class _Step(Protocol):
    @property
    def done(self) -> float:
        """The share of the work that is done, 0..1."""


class Session(Protocol):
    """A `session.Session`, or a `portable.Painting`."""

    def __iter__(self) -> Iterator[_Step]:
        """Paint."""

    def image(self) -> Image.Image:
        """The result."""


class Waiting(NamedTuple):
    """A tile to be painted. size: (height, width) of its image. of_photo: notes about the photograph; notes: these and others."""

    session: Session
    size: Size
    of_photo: tuple[str, ...]
    notes: tuple[str, ...]


class Painter(Protocol):
    """notes: for the user, from its making. options: of every tile. least: pixels that an image needs on the shorter side."""

    notes: tuple[str, ...]
    options: Options
    least: int

    def load(self, inputs: Inputs) -> Inputs:
        """The inputs, read."""

    def is_image(self, style: Any) -> bool:
        """Whether a loaded style is an image."""

    def resized(self, image: Any, size: Size) -> Any:
        """A loaded image at (height, width)."""

    def shown(self, image: Any) -> Image.Image:
        """A loaded image as it is."""

    def tile(self, loaded: Inputs) -> Waiting:
        """What paints them. Raises the errors of `Problem`."""


def painter_of(options: Options, stylizer: Stylizer | None) -> Painter:
    """What is installed. stylizer: one to use. Raises UsageError for what needs torch, and the errors of `Stylizer`."""
    return _ByStylizer(options, stylizer) if has_torch() else _ByGraphs(options)


class _ByStylizer:
    def __init__(self, options: Options, stylizer: Stylizer | None) -> None:
        from impasto.stylizer import Stylizer

        self._stylizer = stylizer or Stylizer(options)
        self.notes, self.options = self._stylizer.notes, self._stylizer.options
        self.least = self._stylizer.encoder.minimum_side

    def load(self, inputs: Inputs) -> Inputs:
        return inputs.load(self.options.max_pixels)

    def is_image(self, style: Any) -> bool:
        return isinstance(style, pictures.Picture)

    def resized(self, image: pictures.Picture, size: Size) -> pictures.Picture:
        alpha = image.alpha if image.alpha is None else pictures.resize(image.alpha, size)
        return replace(image, pixels=pictures.resize(image.pixels, size), alpha=alpha)

    def shown(self, image: pictures.Picture) -> Image.Image:
        return pictures.to_image(image.pixels, image.alpha)

    def tile(self, loaded: Inputs) -> Waiting:
        found = self._stylizer.paint(loaded)
        return Waiting(found, found.problem.size, found.problem.photo.notes, found.problem.notes)


class _ByGraphs:
    least = portable.NARROWEST

    def __init__(self, options: Options) -> None:
        self.options, self.notes = portable.settled(options)

    def load(self, inputs: Inputs) -> Inputs:
        return inputs.load(self.options.max_pixels, stills=True)

    def is_image(self, style: Any) -> bool:
        return isinstance(style, pictures.Still)

    def resized(self, image: pictures.Still, size: Size) -> pictures.Still:
        return portable.resized_still(image, size)

    def shown(self, image: pictures.Still) -> Image.Image:
        return pictures.image_of(image.color, image.alpha)

    def tile(self, loaded: Inputs) -> Waiting:
        found = portable.Painting(self.options, loaded)
        return Waiting(found, found.size, found.of_photo, found.notes)
