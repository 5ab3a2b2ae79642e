"""What a batch is to do: the list of its items, made once from photographs, styles and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from impasto import files
from impasto.batches import manifest, names, places
from impasto.batches.events import Made, Result, State
from impasto.batches.manifest import Row
from impasto.batches.masks import Masks
from impasto.batches.pairs import Pairs
from impasto.batches.sources import Source, find
from impasto.errors import OptionError
from impasto.inputs import Inputs, Layer, style_names
from impasto.jobs.job import BYTE_DEPTH, DEEP_SUFFIXES
from impasto.options import Options


@dataclass(frozen=True)
class Item:
    """One image of a batch. output: its name in the output folder, with slashes. options: all of them. layers: masks with the style
    of each, as `inputs.Layer` of sources. made: what is known of a result without metadata.
    """

    photo: Source
    styles: tuple[Source, ...]
    options: Options
    output: str
    layers: tuple[Layer, ...] = ()
    made: Made | None = None

    @property
    def sources(self) -> dict[str, Source]:
        """{role: source} of everything that it is made from, in the order and with the roles of `Inputs`."""
        return Inputs(self.photo, self.styles, self.layers).sources()

    def with_places(self, place_of: Callable[[Source], Source]) -> Item:
        """The item with other places of its sources."""
        layers = tuple(Layer(place_of(one.mask), one.style and place_of(one.style)) for one in self.layers)
        styles = tuple(place_of(style) for style in self.styles)
        return replace(self, photo=place_of(self.photo), styles=styles, layers=layers)

    @property
    def subject(self) -> str:
        """The photograph and its styles, for messages."""
        return f"{files.printable(self.photo.place)} in {' + '.join(files.printable(style.place) for style in self.styles)}"


@dataclass(frozen=True)
class Settings:
    """What is the same for all items.

    output: the folder, or an address. weights: a weights file for the encoder. metadata, keep_exif, depth: see `jobs.Output`.
    overwrite: replace files that impasto did not make. threads: of each worker. workers: how many paint at once, which only divides
    the memory.
    """

    output: str
    weights: str | None = None
    metadata: bool = True
    keep_exif: bool = False
    depth: Literal[8, 16] = 8
    overwrite: bool = False
    threads: int = 1
    workers: int = 1


@dataclass(frozen=True)
class Work:
    """A batch. items: in an order in which a worker meets a style's items together. notes: about files that were left out."""

    items: tuple[Item, ...]
    settings: Settings
    notes: tuple[str, ...] = ()


def plan(
    photos: Sequence[str],
    styles: Sequence[str],
    settings: Settings,
    *,
    pairs: Pairs = Pairs(),  # noqa: B008  (frozen)
    template: str = names.TEMPLATE,
    masks: Sequence[Layer] = (),
    options: Mapping[str, Any] | None = None,
) -> Work:
    """The work that words ask for.

    photos: files, folders, patterns, addresses and lists of work. styles: the same, and names of built-in styles; they may be
    missing if a list names them. masks: a mask for all photographs, or a folder with one named like each, and its style or None, in
    words; a list's row may have masks of its own instead. options: of every item; those of a list's row come on top. Raises UsageError.
    """
    names.check_template(template)
    lists = [word for word in photos if manifest.is_manifest(word)]
    rows = [row for word in lists for row in manifest.read(word)]
    found = find([word for word in photos if word not in lists], leave_out=settings.output)
    rows += [Row(photo) for photo in found.sources]
    unpaired = [row for row in rows if not row.styles]
    known = find(styles, styles=True, leave_out=settings.output) if styles else None
    if unpaired and known is None:
        raise OptionError("a style is needed", remedy=f"name one of {{styles}}, such as {style_names()[0]}")
    if known is not None and not unpaired:
        raise OptionError("every row of the list has a style of its own", option="styles")
    notes = (*found.notes, *(known.notes if known else ()))
    masked = Masks(masks, leave_out=settings.output)
    return arranged(rows, known.sources if known else (), settings, pairs, template, dict(options or {}), masked, notes)


def arranged(
    rows: Sequence[Row],
    styles: Sequence[Source],
    settings: Settings,
    pairs: Pairs,
    template: str,
    options: Mapping[str, Any],
    masks: Masks,
    notes: tuple[str, ...] = (),
) -> Work:
    """The work of rows, and of styles for those that have none. Raises UsageError."""
    _check_metadata(settings)
    make = _Making(template, options, masks)
    items = [make(row, row.styles) for row in rows if row.styles]
    if styles:
        items += _paired([row for row in rows if not row.styles], styles, pairs, make)
    names.check_different((item.output, item.subject) for item in items)
    _check_depth(items, settings)
    return Work(tuple(items), settings, (*notes, *masks.notes()))


def _paired(
    rows: Sequence[Row], styles: Sequence[Source], pairs: Pairs, make: Callable[[Row, tuple[Source, ...]], Item]
) -> Iterable[Item]:
    """Rows without styles, with those that `pairs` chooses. A photograph in several rows, with other options, is paired in each."""
    by_photo = dict[Source, list[Row]]()
    for row in rows:
        by_photo.setdefault(row.photo, []).append(row)
    photos = [row.photo for row in rows] if pairs.kind == "zip" else list(by_photo)
    turn = {photo: iter(of) for photo, of in by_photo.items()} if pairs.kind == "zip" else None
    for photo, style in pairs.of(photos, styles):
        for row in [next(turn[photo])] if turn else by_photo[photo]:
            yield make(row, (style,))


class _Making:
    """Makes items of rows. Rows with the same options share them."""

    def __init__(self, template: str, options: Mapping[str, Any], masks: Masks) -> None:
        self.template, self.given, self.masks = template, options, masks
        self.known = dict[str, Options]()

    def __call__(self, row: Row, styles: tuple[Source, ...]) -> Item:
        given = {**self.given, **row.options}
        key = repr(sorted(given.items()))
        if key not in self.known:
            self.known[key] = Options(**given)
        output = row.output or names.named(self.template, row.photo, styles)
        return Item(row.photo, styles, self.known[key], output, row.layers or self.masks.of(row.photo))


def _check_metadata(settings: Settings) -> None:
    if settings.metadata:
        return
    if settings.keep_exif:
        raise OptionError("EXIF cannot be kept without metadata", remedy="drop {keep_exif}")
    if places.is_address(places.plain(settings.output)):
        raise OptionError("results at an address need their metadata, which says what is done", remedy="drop {no_metadata}")


def _check_depth(items: Sequence[Item], settings: Settings) -> None:
    if settings.depth == BYTE_DEPTH:
        return
    shallow = next((item.output for item in items if not item.output.lower().endswith(DEEP_SUFFIXES)), None)
    if shallow:
        problem = f"16 bits per channel need a .png or a .tif, and {files.printable(shallow)} is neither"
        raise OptionError(problem, remedy="drop {depth}, or change {names}")


def result_of(number: int, item: Item, folder: places.Folder, state: State, **more: Any) -> Result:
    """The result of an item."""
    return Result(
        number=number,
        photo=item.photo.place,
        styles=tuple(style.place for style in item.styles),
        output=item.output,
        place=folder.place_of(item.output),
        state=state,
        **more,
    )
