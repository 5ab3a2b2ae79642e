"""Masks of a batch: one image for all photographs, or a folder with an image named like each photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from impasto import files
from impasto.batches.sources import Source, find, is_folder
from impasto.errors import OptionError, PictureError
from impasto.inputs import Layer


@dataclass
class _Of:
    """A layer of a batch. folder: as it was named; one: the mask of every photograph; by_name: the masks of a folder."""

    folder: str
    style: Source | None
    one: Source | None = None
    by_name: dict[str, Source] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)  # photographs that have no mask there


class Masks:
    """The layers of a batch's photographs. layers: a mask, or a folder of masks, and a style or None, in words; later ones on top.

    Raises PictureError for what is not there and for a folder with two masks of one name, and OptionError for a pattern.
    """

    def __init__(self, layers: Sequence[Layer], leave_out: str = "") -> None:
        self._layers = [_found(layer, leave_out) for layer in layers]
        self._used = set[int]()

    def of(self, photo: Source) -> tuple[Layer, ...]:
        """The layers of a photograph, with a Source for each mask and style. One without a mask in a folder is without that layer."""
        layers = list[Layer]()
        for number, one in enumerate(self._layers):
            mask = one.one or one.by_name.get(_name(photo.key))
            if mask is None:
                one.without.append(photo.key)
            else:
                self._used.add(number)
                layers.append(Layer(mask, one.style))
        return tuple(layers)

    def notes(self) -> list[str]:
        """What to say after all photographs. Raises PictureError for a folder of which no mask was used."""
        notes = list[str]()
        for number, one in enumerate(self._layers):
            missing = list(dict.fromkeys(one.without))
            if missing and number not in self._used:
                problem = f"no mask in it is named like a photograph, such as {_name(missing[0])}.png for {missing[0]}"
                raise PictureError(f"{files.printable(one.folder)}: {files.one_line(problem)}")
            if missing:
                many = (
                    f"{len(missing)} photographs have no mask in it and are"
                    if missing[1:]
                    else "1 photograph has no mask in it and is"
                )
                such = files.one_line(missing[0])
                notes.append(f"{files.printable(one.folder)}: {many} painted without one, such as {such}")
        return notes


def _found(layer: Layer, leave_out: str) -> _Of:
    word = str(layer.mask)
    style = None if layer.style is None else _style(str(layer.style))
    sources = find([word], leave_out=leave_out).sources
    if not is_folder(word):
        if len(sources) > 1:
            raise OptionError(f"{files.printable(word)} is {len(sources)} masks; name one, or their folder", option="mask")
        return _Of(word, style, sources[0])
    of = _Of(word, style)
    for source in sources:
        other = of.by_name.setdefault(_name(source.key), source)
        if other is not source:
            problem = f"has two masks of one name: {files.one_line(other.key)} and {files.one_line(source.key)}"
            raise PictureError(f"{files.printable(word)}: {problem}")
    return of


def _style(word: str) -> Source:
    sources = find([word], styles=True).sources
    if len(sources) > 1:
        raise OptionError(f"{files.printable(word)} is {len(sources)} styles; name one for a mask", option="mask")
    return sources[0]


def _name(key: str) -> str:
    """A photograph's or a mask's path in its folder, without its suffix."""
    return str(PurePosixPath(key).with_suffix(""))
