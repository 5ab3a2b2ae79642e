"""`impasto style` and `impasto styles`: paintings' styles as files, and the built-in ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group

from impasto import files
from impasto.cli.console import bar, note, refuse_address, report, tell
from impasto.cli.forms import GROUPS, OUTPUT, CommonFlags, flag, with_flags
from impasto.errors import OptionError, PictureError, StyleFileError
from impasto.inputs import SAMPLE, STYLE_SUFFIX, built_in, style_file, style_names

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from torch import Tensor

    from impasto.styles import Card, Painted

MAKE_EXAMPLES = """\
Examples:

    impasto style make painting.jpg -o night.style --title "A night" --source "painted by me" --license CC0
    impasto photo.jpg night.style
    impasto style make painting.jpg --tune --photos holiday/*.jpg
"""
WIDE = 200  # characters
SWATCH = 12  # characters that a palette is drawn in
CARD = Group("Card", sort_key=1)
TUNING = Group("Quality instant", sort_key=2)
FOR = ("encoder", "pooling", "padding")  # the options a style is made for

style_app = App(name="style", help="Make and inspect style files: a painting's style without the painting.", help_epilogue="")


@dataclass(frozen=True, kw_only=True)
class MakeFlags(CommonFlags):
    """What is written on a style file, and what it is made for."""

    output: Annotated[
        Path | None,
        flag(OUTPUT, "File to write, .style. [default: PAINTING.style in the painting's folder]", "--output", "-o"),
    ] = None
    title: Annotated[str, flag(CARD, "Title of the painting.")] = ""
    source: Annotated[str, flag(CARD, "Who painted it, when, where it is from.")] = ""
    licence: Annotated[str, flag(CARD, "What others may do with it.", "--license", "--licence")] = ""
    no_painting: Annotated[
        bool,
        flag(
            CARD, "Keep no image of the painting in the file. Such a file cannot be used with another encoder or a later lite."
        ),
    ] = False
    weights: Annotated[Path | None, flag(GROUPS["Method"], "A weights file for the encoder.")] = None
    tune: Annotated[
        bool,
        flag(TUNING, "Fit the network of quality instant to this painting, which takes about a minute, and keep that too."),
    ] = False
    photos: Annotated[
        tuple[Path, ...],
        flag(
            TUNING,
            "Photographs to fit it on, better many than one. [default: the sample photograph that comes with impasto]",
            consume_multiple=True,
        ),
    ] = ()


def make(painting: Path, /, *, flags: MakeFlags) -> int:
    """Analyze a painting once and keep its style in a file: `impasto PHOTO FILE.style` then needs no painting.

    Parameters
    ----------
    painting: Path
        The painting, an image file.
    """
    refuse_address(painting)
    if not painting.name:
        raise PictureError(f"{files.printable(painting)} is a directory, not an image")
    target = flags.output or painting.with_name(f"{painting.stem}{STYLE_SUFFIX}")
    files.check(target, (STYLE_SUFFIX,), overwrite=flags.overwrite)  # before torch is loaded
    from impasto import styles
    from impasto.options import Options
    from impasto.stylizer import Stylizer

    stylizer = Stylizer(Options(**flags.given), weights=flags.weights)
    style = stylizer.style(painting)
    if not isinstance(style, styles.Painted):
        raise OptionError(f"{files.printable(painting)} is a style already; name an image")
    for text in (*stylizer.notes, *style.notes):
        note(text, quiet=flags.quiet)
    images = () if flags.no_painting else ("thumbnail", "painting")
    words = {name: getattr(flags, name) for name in ("title", "source", "licence")}
    tuned = _tuned(style, flags) if flags.tune else {}
    card = styles.save(style, target, **words, **tuned, images=images, overwrite=flags.overwrite)
    least, most = card.sides
    if not flags.quiet:
        megabytes = target.stat().st_size / 1e6
        report(f"wrote {files.printable(target)}: {least} to {most} pixels, for {_encoder(card)}, {megabytes:.1f} MB")
    if flags.json_line:
        tell(
            json.dumps(
                {"output": str(target), "tuned": flags.tune, "from": least, "to": most, "palette": card.palette, "exit_code": 0}
            )
        )
    return 0


def _tuned(style: Painted, flags: MakeFlags) -> dict[str, Any]:
    """What `styles.save` keeps of a tuning. Raises OptionError for another encoder, PictureError for unusable photographs."""
    from impasto import fast, pictures

    stored = fast.load()
    if style.encoder.digest != stored.card.encoder:
        raise OptionError("is for quality 'instant', which needs the weights of lite that come with impasto", option="tune")
    photos = [pictures.load(file, role="photograph").pixels for file in flags.photos or (SAMPLE,)]
    found: dict[str, Tensor] = {}
    with bar("tuning", 1.0, quiet=flags.quiet) as update:
        for progress, tuning in fast.tune(style, stored, photos):
            found = {fast.TUNING: tuning}
            update(progress.step / progress.of, f"tuning: step {progress.step}/{progress.of}  loss {progress.loss:.3g}")
    return {"instant": found, "network": stored.digest}


style_app.command(
    with_flags(make, MakeFlags, FOR),
    usage="Usage: impasto style make PAINTING [OPTIONS]",
    help_epilogue=MAKE_EXAMPLES,
)


@style_app.command
def show(style: Path, /) -> None:
    """Show what a style file or a built-in style is, and what it was made for.

    Parameters
    ----------
    style: Path
        FILE.style, or a name that `impasto styles` lists.
    """
    from rich.table import Table
    from rich.text import Text

    from impasto import styles

    file = style_file(style)
    if file is None:
        raise StyleFileError(
            f"{files.printable(style)} is neither a .style file nor a built-in style (`impasto styles` lists them)"
        )
    card = styles.read_card(file)
    least, most = card.sides
    images = [name for name in ("thumbnail", "painting") if styles.read_image(file, name)]
    exact = "exact" if not card.error else f"compressed, every Gram matrix to within {card.error:.1%}"
    table = Table(box=None, show_header=False, pad_edge=False)
    rows: dict[str, str | Text] = {
        "title": files.one_line(card.title) or "-",
        "source": files.one_line(card.source) or "-",
        "license": files.one_line(card.licence) or "-",
        "palette": _drawn(card, _console().is_terminal),
        "painting": f"{card.size[0]}x{card.size[1]} pixels, " + (f"kept as {' and '.join(images)}" if images else "not kept"),
        "stored for": f"{least} to {most} pixels, {exact}",
        "made for": f"{_encoder(card)}, at {files.one_line(', '.join(card.taps))}",
        "quality instant": "tuned" if card.tuned else "not tuned",
        "made by": f"impasto {files.one_line(card.impasto)}, format {card.format}",
    }
    for row, value in rows.items():
        table.add_row(row, value if isinstance(value, Text) else Text(value))
    _console().print(table)


def styles() -> None:
    """List the built-in styles with palette, title and source. Use one by its name: impasto PHOTO NAME."""
    from rich.table import Table
    from rich.text import Text

    from impasto.styles import read_card

    console = _console()
    table = Table("name", "palette", "title", "source", box=None, pad_edge=False)
    for name in style_names():
        card = read_card(built_in(name))
        table.add_row(name, _drawn(card, console.is_terminal), Text(card.title), Text(card.source))
    console.print(table)


def _console() -> Console:
    """Standard output; unless it is a terminal, lines are as long as they need to be."""
    from rich.console import Console

    console = Console(soft_wrap=True)
    return console if console.is_terminal else Console(soft_wrap=True, width=WIDE)


def _encoder(card: Card) -> str:
    return files.one_line(f"{card.encoder} with {card.pooling} pooling and {card.padding} padding")


def _drawn(card: Card, terminal: bool) -> Text:
    """The palette: on a terminal bars of its colors, each as long as its share; elsewhere their codes."""
    from rich.text import Text

    if not terminal:
        return Text(" ".join(color for color, _ in card.palette))
    text, seen, drawn = Text(), 0.0, 0
    for color, share in card.palette:
        seen += share
        end = round(SWATCH * min(1.0, seen))
        text.append(" " * (end - drawn), style=f"on {color}")
        drawn = end
    return text
