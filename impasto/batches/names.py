"""The names of results: a template, and the sub-folders of the photographs."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from impasto import files
from impasto.batches.sources import Source
from impasto.errors import OptionError, OutputError
from impasto.jobs.job import SUFFIXES

TEMPLATE = "{photo}--{style}.png"
DIFFERENT = "{photo}.{photo_type}--{style}.png"  # where only the suffixes of photographs differ
FIELDS = ("photo", "style", "photo_type", "style_type")


def check_template(template: str) -> str:
    """Raise OptionError for a template with other fields, without an image's suffix, or that leads out of the folder."""
    try:
        fields = [
            (name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(template) if name is not None
        ]
    except ValueError as error:
        raise OptionError(f"is not a template: {files.one_line(str(error))}", option="names") from error
    for name, spec, conversion in fields:
        if name not in FIELDS or spec or conversion:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise OptionError(f"knows {known}, not {{{name}}}", option="names")
    if not any(name == "photo" for name, _, _ in fields):
        raise OptionError("must have {photo}, or results would replace each other", option="names")
    _check(template, option="names")
    return template


def _check(name: str, *, option: str = "") -> None:
    path = PurePosixPath(name)
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"must end with one of {', '.join(SUFFIXES)}, not {name!r}", option=option or "output")
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name or "\\" in name:
        raise OptionError(f"must be a name within the output folder, not {name!r}", option=option or "output")


def check_output(name: str) -> str:
    """Raise OptionError for a row's own output that is not an image's name within the folder. Returns it without dots."""
    _check(name)
    return str(PurePosixPath(name))


def named(template: str, photo: Source, styles: Sequence[Source]) -> str:
    """A result's name with its folders. template: from `check_template`; several styles are joined by +."""
    name = template.format(
        photo=photo.stem,
        style="+".join(style.stem for style in styles),
        photo_type=photo.kind,
        style_type="+".join(style.kind or "style" for style in styles),
    )
    return str(PurePosixPath(photo.key).parent / name)


def check_different(names: Iterable[tuple[str, str]]) -> None:
    """Raise OutputError if two results would have the same name, also where a file system ignores upper and lower case.

    names: (result, of which photograph and style).
    """
    known = dict[str, str]()
    for name, subject in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in known:
            problem = (
                f"{files.printable(name)} would be the result of {known[key]} and of {subject}; "
                f"names such as {DIFFERENT} are different"
            )
            raise OutputError(problem, remedy="change {names}")
        known[key] = subject
