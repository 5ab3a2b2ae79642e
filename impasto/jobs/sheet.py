"""A contact sheet: one photograph in many styles, side by side, each with its name below it."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from impasto import files
from impasto.errors import OptionError, OutputError, PictureError
from impasto.extras import has_torch
from impasto.inputs import ImageSource, Inputs, StyleSource, style_names
from impasto.jobs import places, signals
from impasto.jobs.events import Note, Saved, Tile
from impasto.jobs.job import SUFFIXES, Output, check_no_input
from impasto.jobs.lock import alone
from impasto.ladder import Size, fit
from impasto.options import Options

if TYPE_CHECKING:  # torch takes a second to load: an output that cannot be written is reported before
    from PIL import Image

    from impasto.jobs.tiles import Painter, Waiting
    from impasto.stylizer import Stylizer

Event: TypeAlias = Note | Tile | Saved

FIRST = "photograph"  # the name below the first tile
PAPER, INK = "white", "#303030"
CUT = "..."  # the end of a name that is too long
ASPECT = 1.7  # width of a sheet divided by its height, roughly a screen's, where the columns are not given
PAINTING = 2  # times the longer side of a tile at style scale 1: paintings that are larger are reduced to it
NARROW = 64  # pixels: but their shorter side to no less, which encoders need


@dataclass(frozen=True)
class Sheet:
    """A contact sheet to be painted: the photograph, then a tile for each style.

    photo, styles: as in `Inputs`, but styles are not blended; no styles: all built-in ones. options: of every tile, whose longer side
    is `size`. output: its path, suffix and overwrite count. columns: tiles in a row; None chooses. Raises OptionError.
    """

    photo: ImageSource
    styles: tuple[StyleSource, ...]
    options: Options
    output: Output
    columns: int | None = None

    def __post_init__(self) -> None:
        if self.columns is not None and self.columns < 1:
            raise OptionError(f"must be at least 1, not {self.columns}", option="columns")


def run(sheet: Sheet, stylizer: Stylizer | None = None) -> Generator[Event, None, None]:
    """Paint a sheet. The last event is Saved; its image is RGB, on white, without settings.

    stylizer: one with the sheet's options, to use its encoder; None makes one. Closing the iterator cancels. The file is written whole
    at the end, or not at all. Raises UsageError before anything is painted: for an output that cannot be written, a sheet that is too
    large, a photograph or a style that cannot be used. Raises RunError if painting or writing fails.
    """
    target = sheet.output.path
    inputs = Inputs(sheet.photo, sheet.styles or tuple(style_names()))
    inputs.check()
    if target is not None and not target.name:
        raise OutputError(f"{files.printable(target)} is a directory", remedy="name a file in it")
    if target is not None:
        files.check(target, SUFFIXES, overwrite=sheet.output.overwrite)
        check_no_input(target, inputs)
    with nullcontext() if target is None else alone(target):
        yield from _events(sheet, inputs, stylizer)


def _events(sheet: Sheet, inputs: Inputs, stylizer: Stylizer | None) -> Iterator[Event]:
    started = time.monotonic()
    if not has_torch():
        return _painted(started, sheet, inputs, stylizer)
    from impasto.compute import settings

    return settings.each_step(_painted(started, sheet, inputs, stylizer))


def _painted(started: float, sheet: Sheet, inputs: Inputs, stylizer: Stylizer | None) -> Generator[Event, None, None]:
    from impasto.jobs import tiles

    painter = tiles.painter_of(sheet.options, stylizer)
    photo, waiting = _waiting(inputs, painter)
    grid = Grid.of(len(waiting) + 1, waiting[0][1].size, sheet.columns)
    _check_size(grid, sheet)
    notes = [*painter.notes, *_notes(waiting)]
    yield from map(Note, notes)
    image = grid.paper()
    grid.place(image, 0, FIRST, painter.shown(painter.resized(photo, grid.tile)))
    count = len(waiting)
    for number in range(1, count + 1):
        name, tile = waiting.popleft()  # so that its memory is free again
        for step in tile.session:
            yield Tile(name, number, count, (number - 1 + step.done) / count)
        grid.place(image, number, name, tile.session.image())
        yield Tile(name, number, count, number / count)
    with signals.ignored():
        path, data, more = _write(image, sheet.output)
    yield from map(Note, more)
    seconds = round(time.monotonic() - started, 2)
    yield Saved(path, image.width, image.height, seconds, data=data, notes=(*notes, *more))


def _waiting(inputs: Inputs, painter: Painter) -> tuple[Any, deque[tuple[str, Waiting]]]:
    """The photograph, and a tile for each style, in order.

    All are prepared before the first is painted, so that every error comes early. Large images are reduced first, so that all fit into
    memory.
    """
    options, photo = painter.options, inputs.photo
    found: deque[tuple[str, Waiting]] = deque()

    def reduced(image: Any, longer: int) -> Any:
        return image if max(image.size) <= longer else painter.resized(image, fit(image.size, longer))

    for number, source in enumerate(inputs.styles, 1):
        loaded = painter.load(Inputs(photo, (source,)))
        longer = max(loaded.photo.size) if options.size == "original" else int(options.size)
        least = math.ceil(painter.least * max(loaded.photo.size) / min(loaded.photo.size))
        photo, style, name = reduced(loaded.photo, max(longer, least)), loaded.styles[0], _name(source, number)
        if painter.is_image(style):
            wanted = math.ceil(PAINTING * max(options.style_scale, 1.0) * longer)
            style = reduced(style, max(wanted, math.ceil(NARROW * max(style.size) / min(style.size))))
        try:
            found.append((name, painter.tile(Inputs(photo, (style,)))))
        except OptionError as error:  # unlike errors of files, it does not name the style
            raise OptionError(f"{error.problem} ({name})", option=error.option, remedy=error.remedy) from error
    return photo, found


def _name(source: StyleSource, number: int) -> str:
    """What is written below a tile: a built-in name, the name of a file, or a number."""
    if not isinstance(source, (str, os.PathLike)):
        return f"style {number}"
    return files.one_line(files.printable(Path(source).stem))


def _notes(waiting: deque[tuple[str, Waiting]]) -> Iterator[str]:
    """Notes about the photograph once, and about each style with its name."""
    of_photo = waiting[0][1].of_photo
    yield from of_photo
    for name, tile in waiting:
        yield from (f"{name}: {note}" for note in tile.notes if note not in of_photo)


def _check_size(grid: Grid, sheet: Sheet) -> None:
    """Raise PictureError or OutputError for a sheet that is too large."""
    from impasto import pictures

    (height, width), limit = grid.size, sheet.options.max_pixels
    if height * width > limit:
        problem = f"the sheet would have {width}x{height} pixels, more than the limit of {limit:,}"
        raise PictureError(problem, remedy="use a smaller {size}")
    if sheet.output.path is not None:
        pictures.check_output(sheet.output.path, overwrite=sheet.output.overwrite, size=grid.size)


def _write(image: Image.Image, output: Output) -> tuple[Path | None, bytes, tuple[str, ...]]:
    """Returns the file, or without one the bytes, and notes. Raises SaveError, OutputError."""
    from impasto import pictures

    if output.path is None:
        return None, *pictures.encode(image, output.suffix)
    written = places.write(
        output.path, lambda name, replace: pictures.save(image, name, overwrite=replace), lambda name: output.overwrite
    )
    return written.path, b"", written.notes


# ---------------------------------------------------------------------------------------------------------------- layout


@dataclass(frozen=True)
class Grid:
    """Where tiles are on a sheet. tile: (height, width) in pixels; margin: between tiles and around them; text: height of a name."""

    columns: int
    rows: int
    tile: Size
    margin: int
    text: int

    @classmethod
    def of(cls, count: int, tile: Size, columns: int | None = None) -> Grid:
        """For so many tiles of this size, in at most so many columns. None: as near to ASPECT as possible with few empty places."""
        margin, text = max(6, max(tile) // 20), min(32, max(11, tile[1] // 18))
        numbers = range(1, count + 1) if columns is None else [min(columns, count)]
        grids = [cls(number, -(-count // number), tile, margin, text) for number in numbers]
        return min(grids, key=lambda grid: grid._badness(count))

    def _badness(self, count: int) -> float:
        height, width = self.size
        return abs(math.log(width / height / ASPECT)) + 1 - count / (self.columns * self.rows)

    @property
    def _cell(self) -> Size:
        """A tile with its name and one margin below and beside it."""
        return self.tile[0] + 2 * self.text + self.margin, self.tile[1] + self.margin

    @property
    def size(self) -> Size:
        """(height, width) of the sheet in pixels."""
        return self.rows * self._cell[0] + self.margin, self.columns * self._cell[1] + self.margin

    def paper(self) -> Image.Image:
        """An empty sheet, RGB."""
        from PIL import Image

        return Image.new("RGB", self.size[::-1], PAPER)

    def place(self, sheet: Image.Image, number: int, name: str, image: Image.Image) -> None:
        """Draw a tile and its name, centered below it and cut if it is too long.

        sheet: from `paper`, changed. number: of the tile, from 0, row by row. Transparent parts show the paper.
        """
        from PIL import ImageDraw, ImageFont

        from impasto import pictures

        row, column = divmod(number, self.columns)
        top, left = self.margin + row * self._cell[0], self.margin + column * self._cell[1]
        sheet.paste(pictures.flatten(image, PAPER), (left, top))
        font = ImageFont.load_default(size=self.text)  # its own: Latin letters; others are drawn as boxes
        while name and font.getlength(name) > self.tile[1]:
            name = f"{name.removesuffix(CUT)[:-1]}{CUT}" if name != CUT else ""
        start = left + round((self.tile[1] - font.getlength(name)) / 2)
        ImageDraw.Draw(sheet).text((start, top + self.tile[0] + self.text // 3), name, fill=INK, font=font)
