"""`impasto style` and `impasto styles`: paintings' styles as files, and those that have names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from impasto.cli.console import note, refuse_address
from impasto.errors import StyleFileError
from impasto.options import StyleFile

if TYPE_CHECKING:
    from impasto.styles import Card

MAKE_EXAMPLES = """\
Examples:

    impasto style make painting.jpg -o night.style --title "A night" --source "painted by me" --licence CC0
    impasto photo.jpg night.style
"""
WIDE = 200  # characters
SWATCH = 12  # characters a palette is drawn in

style_app = App(name="style", help="Make and look at style files: a painting's style without the painting.", help_epilogue="")


@style_app.command(usage="Usage: impasto style make PAINTING [OPTIONS]", help_epilogue=MAKE_EXAMPLES)
def make(painting: Path, /, *, asked: Annotated[StyleFile | None, Parameter(name="*")] = None) -> int:
    """Analyse a painting once and keep its style in a file: `impasto PHOTO FILE.style` then needs no painting.

    Parameters
    ----------
    painting: Path
        The painting, a picture file.
    """
    asked = asked or StyleFile()
    refuse_address(painting)
    from impasto import files, styles  # only now: torch takes a second to load
    from impasto.stylizer import Stylizer

    stylizer = Stylizer(asked.options())
    style = stylizer.painting(painting)
    target = asked.output or painting.with_name(f"{painting.stem}{styles.SUFFIX}")
    files.check(target, (styles.SUFFIX,), overwrite=asked.overwrite)  # before the work
    for word in (*stylizer.notes, *style.notes):
        note(word, quiet=asked.quiet)
    card = styles.save(style, target, title=asked.title, source=asked.source, licence=asked.licence, overwrite=asked.overwrite)
    least, most = card.sides
    if not asked.quiet:
        megabytes = target.stat().st_size / 1e6
        print(f"wrote {files.printable(target)}: {least} to {most} pixels, for {_seen_through(card)}, {megabytes:.1f} MB")
    if asked.json_line:
        print(json.dumps({"output": str(target), "from": least, "to": most, "palette": card.palette, "exit_code": 0}))
    return 0


@style_app.command
def show(style: Path, /) -> None:
    """Say what a style file, or a style that has a name, is and what it was made for.

    Parameters
    ----------
    style: Path
        FILE.style, or a name that `impasto styles` lists.
    """
    from impasto import files, styles
    from impasto.styles import named

    file = named.style_file(style)
    if file is None:
        raise StyleFileError(f"{files.printable(style)} is neither a .style file nor one of the styles `impasto styles` lists")
    card = styles.read_card(file)
    least, most = card.sides
    picture = "with a thumbnail" if styles.read_thumbnail(file) else "no thumbnail"
    exact = "exact" if not card.error else f"compressed, every Gram matrix to within {card.error:.1%}"
    table = Table(box=None, show_header=False, pad_edge=False)
    rows: dict[str, str | Text] = {
        "title": _one_line(card.title) or "-",
        "source": _one_line(card.source) or "-",
        "licence": _one_line(card.licence) or "-",
        "palette": _drawn(card, _console().is_terminal),
        "painting": f"{card.size[0]}x{card.size[1]} pixels, {picture}",
        "stored for": f"{least} to {most} pixels, {exact}",
        "made for": f"{_seen_through(card)}, at {_one_line(', '.join(card.taps))}",
        "made by": f"impasto {_one_line(card.impasto)}, format {card.format}",
    }
    for row, value in rows.items():
        table.add_row(row, value if isinstance(value, Text) else Text(value))
    _console().print(table)


def styles() -> None:
    """List the styles that come with impasto: palette, title, source. Use one by its name: impasto PHOTO NAME."""
    from impasto.styles import named, read_card

    console = _console()
    table = Table("name", "palette", "title", "source", box=None, pad_edge=False)
    for name in named.names():
        card = read_card(named.path(name))
        table.add_row(name, _drawn(card, console.is_terminal), Text(card.title), Text(card.source))
    console.print(table)


def _console() -> Console:
    """Standard output; where it is no terminal, lines are as long as they need to be."""
    console = Console(soft_wrap=True)
    return console if console.is_terminal else Console(soft_wrap=True, width=WIDE)


def _seen_through(card: Card) -> str:
    return _one_line(f"{card.encoder} with {card.pooling} pooling and {card.padding} padding")


def _one_line(text: str) -> str:
    from impasto import files

    return files.one_line(text)


def _drawn(card: Card, terminal: bool) -> Text:
    """The palette: bars of its colours on a terminal, each as long as its share, else their numbers."""
    if not terminal:
        return Text(" ".join(color for color, _ in card.palette))
    text, seen, drawn = Text(), 0.0, 0
    for color, share in card.palette:
        seen += share
        end = round(SWATCH * min(1.0, seen))
        text.append(" " * (end - drawn), style=f"on {color}")
        drawn = end
    return text
