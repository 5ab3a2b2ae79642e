"""`impasto info` and `impasto again`: how a picture was made, and making it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from impasto.cli.console import note, refuse_address, seconds
from impasto.cli.painting import ASSETS, how_to_go_on, paint_picture
from impasto.errors import PictureError
from impasto.options import Options, Output, defaults

if TYPE_CHECKING:
    from impasto.records import Earlier
    from impasto.states import Card

Flattened = Parameter(name="*")
ALWAYS = ("method", "encoder", "size", "quality")  # shown first, and also where they are the defaults
SHOWN_OF_A_HASH = 12  # characters; all of them with --json


# ------------------------------------------------------------------------------------------------------------------- info


def info(
    file: Path, /, *, json_line: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False
) -> None:
    """Say how a picture was made: from which files, with which options and versions, how long it took, its losses.

    Parameters
    ----------
    file: Path
        A picture made by impasto, or one that an interrupted run has not finished yet.
    json_line: bool
        Print everything that is stored, as one line of JSON.
    """
    refuse_address(file)
    from impasto import records, states  # only now: torch takes a second to load

    target = file.with_name(file.name.removesuffix(states.SUFFIX))
    card = states.read(states.place(target)) if states.place(target).is_file() else None
    if card and (file != target or not file.exists()):
        print(json.dumps(card.settings | {"done": card.done}) if json_line else _how_far(target, card), flush=True)
        return
    earlier = records.read(file)
    if json_line:
        print(json.dumps(dict(earlier.settings)), flush=True)
        return
    for title, rows in _listing(earlier):
        if not rows and title in ("from", "how", "with", "losses"):
            continue
        wide = max((len(name) for name, _ in rows), default=0)
        print(title, *(f"  {name:{wide}}  {value}" for name, value in rows), sep="\n", flush=True)
    if card:
        print(_how_far(target, card), flush=True)


def _how_far(target: Path, card: Card) -> str:
    """How far an unfinished run is, and how to go on with it."""
    return f"{_shown(str(target))}: unfinished, {card.done:.0%} done in {seconds(card.seconds)}; {how_to_go_on(target)} goes on with it"


def _listing(earlier: Earlier) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Groups of (title, rows of (name, value))."""
    made = earlier.made
    size = f"{made.width}x{made.height}" if made.width and made.height else "a picture"
    took = f" in {seconds(made.seconds)}" if made.seconds else ""
    stopped = f", interrupted at {made.done:.0%}" if made.done < 1 else ""
    yield (
        f"{_shown(str(earlier.file))}: {size}, made by impasto {_shown(made.impasto) or 'of unknown version'}{took}{stopped}",
        [],
    )
    yield "from", [(_shown(role), f"{_shown(one.name)}  {_hash(one.sha256)}") for role, one in made.inputs.items()]
    yield "how", [(name.replace("_", "-"), _shown(value)) for name, value in _telling(earlier.stored)]
    versions = {"torch": made.torch, "encoder": _hash(made.encoder_digest), "on": made.ran_on}
    yield "with", [(name, _shown(value)) for name, value in versions.items() if value]
    yield "losses", [(_shown(name), f"{value:.4g}") for name, value in made.losses.items()]
    if earlier.unknown:
        yield "what this version of impasto does not know", [(_shown(name), "") for name in earlier.unknown]


def _telling(stored: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """The options that say something: some always, of the others those that are not the method's defaults."""
    usual = defaults(*(str(stored.get(name, "")) for name in ("method", "encoder", "quality")))
    for name in sorted(stored, key=lambda name: (name not in ALWAYS, ALWAYS.index(name) if name in ALWAYS else 0)):
        default = usual.get(name)
        if name in ALWAYS or (stored[name] or None) != ((list(default) if isinstance(default, tuple) else default) or None):
            yield name, stored[name]


def _shown(value: object) -> str:
    """A value from a file that anybody may have written, as a short line."""
    from impasto.files import one_line

    if isinstance(value, list):
        return one_line(" ".join(map(str, value)))
    return one_line(f"{value:g}" if isinstance(value, float) else str(value))


def _hash(digest: str) -> str:
    return f"sha256 {_shown(digest)[:SHOWN_OF_A_HASH]}" if digest else ""


# ------------------------------------------------------------------------------------------------------------------ again


def again(
    file: Path,
    /,
    *inputs: Path,
    output: Annotated[Output | None, Flattened] = None,
    options: Annotated[Options | None, Flattened] = None,
) -> int:
    """Make a picture again from what its file remembers: the same one, or with other options or inputs.

    Parameters
    ----------
    file: Path
        A picture made by impasto.
    inputs: Path
        The photograph, and the paintings, if they are not to be looked for by their names beside FILE and in this folder.
    """
    output, changes = output or Output(), {name: getattr(options, name) for name in options.model_fields_set} if options else {}
    refuse_address(file)
    from impasto import records

    earlier = records.read(file)
    if earlier.unknown:
        names = ", ".join(map(_shown, earlier.unknown[:5]))
        note(f"{_shown(str(file))} remembers what this version of impasto leaves out: {names}", quiet=output.quiet)
    earlier = replace(earlier, changed=bool(changes.keys() - records.HARDLY_CHANGES))
    asked = earlier.options(changes)
    search = Search(earlier)
    asked = asked.changed(**search.of_options(asked, changes))
    photo = inputs[0] if inputs else search.file("photo", "impasto again FILE PHOTO")
    words = "impasto again FILE PHOTO STYLE"
    styles = inputs[1:] or tuple(search.file(role, words) for role in records.roles("style", earlier.made.inputs))
    kept = earlier.made.keep_exif and not output.no_metadata
    output = output.model_copy(update={"keep_exif": output.keep_exif or kept})
    return paint_picture(photo, styles, file.with_name(f"{file.stem}-again{file.suffix}"), output, asked, earlier)


class Search:
    """Finds the files an earlier picture was made from: beside it, in this folder, among those that come with impasto."""

    def __init__(self, earlier: Earlier) -> None:
        self.earlier = earlier
        self.folders = (earlier.file.parent, Path(), ASSETS, ASSETS / "styles")

    def file(self, role: str, how: str) -> Path:
        """The input of a role. how: a word on how to name it. Raises PictureError for one that is nowhere."""
        from impasto import records

        source = self.earlier.made.inputs.get(role)
        if source is None:
            raise PictureError(f"{_shown(str(self.earlier.file))} does not remember its {role}; name it: {how}")
        found = records.find(source, self.folders)
        if found is None:
            raise PictureError(
                f"{role} {_shown(source.name)} is neither beside {_shown(str(self.earlier.file))} nor in this folder; name it: {how}"
            )
        return found

    def of_options(self, asked: Options, changes: dict[str, Any]) -> dict[str, Any]:
        """The options that name files, with the files; those in `changes` name theirs already."""
        found: dict[str, Any] = {
            name: self.file(name, f"--{name.replace('_', '-')} FILE")
            for name in ("content_mask", "style_mask", "weights", "init")
            if name not in changes and getattr(asked, name) not in (None, "content", "noise")
        }
        if asked.mask and "mask" not in changes:
            found["mask"] = tuple(self._layer(number, text) for number, text in enumerate(asked.mask, 1))
        return found

    def _layer(self, number: int, text: str) -> str:
        """MASK=STYLE with the files that were found; a style that was given by its name stays that."""
        from impasto import records
        from impasto.styles import SUFFIX, named

        _, _, style = text.rpartition("=")
        how = "--mask MASK=STYLE"
        source = self.earlier.made.inputs.get(records.role("style of mask", number))
        if style != "keep" and not (source and source.name == f"{style}{SUFFIX}" and style in named.names()):
            style = str(self.file(records.role("style of mask", number), how))
        return f"{self.file(records.role('mask', number), how)}={style}"
