"""`impasto sheet`: one photograph in many styles, on one contact sheet."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from impasto.catalog import OPTIONS, Quality
from impasto.cli import console
from impasto.cli.console import note, refuse_address, report, seconds, tell, write_image
from impasto.cli.forms import GROUPS, OUTPUT, STDIO, CommonFlags, flag, option_value, whole_number
from impasto.cli.paint import standard_input
from impasto.files import printable
from impasto.jobs import signals

if TYPE_CHECKING:
    from impasto.jobs import Saved

SHEET_OPTIONS = ("strength", "style_scale", "keep_colors", "device", "precision")
QUALITY = "instant"
SIZE = 320  # pixels: a dozen tiles are a sheet that fits on a screen


@dataclass(frozen=True, kw_only=True)
class SheetFlags(CommonFlags):
    """Where the sheet goes, and the options with other defaults than a painting's."""

    output: Annotated[
        Path | None,
        flag(
            OUTPUT,
            "File to write: .png, .jpg, .webp or .tif; - for standard output. [default: PHOTO-sheet.png in the photograph's folder]",
            "--output",
            "-o",
        ),
    ] = None
    quality: Annotated[
        Quality | None,
        flag(
            GROUPS["Image"],
            OPTIONS["quality"].about.replace("[default: normal]", f"[default: {QUALITY}]"),
            converter=option_value("quality"),
        ),
    ] = None
    size: Annotated[
        int | None,
        flag(
            GROUPS["Image"],
            f"Longer side of each tile in pixels. [default: {SIZE}]",
            converter=whole_number("size", least=16, most=4096),
        ),
    ] = None
    columns: Annotated[
        int | None,
        flag(
            GROUPS["Image"],
            "Tiles in a row. [default: as many as give the sheet about the shape of a screen]",
            converter=whole_number("columns", least=1),
        ),
    ] = None


def sheet(photo: Path, /, *styles: Path, flags: SheetFlags) -> int:
    """Paint PHOTO in every built-in style, or in each STYLE, and write one contact sheet with their names.

    Parameters
    ----------
    photo: Path
        The photograph; - for standard input.
    styles: Path
        The styles: images, .style files, or names that `impasto styles` lists. [default: all of these names]
    """
    for file in (photo, *styles):
        refuse_address(file)
    from impasto.jobs import Note, Output, Saved
    from impasto.jobs import sheet as sheets
    from impasto.options import Options

    options = Options(**{"quality": flags.quality or QUALITY, "size": flags.size or SIZE, **flags.given})
    stdin = photo == Path(STDIO)
    name = f"{'stdin' if stdin else photo.stem}-sheet.png"
    output = Output(path=flags.target((Path() if stdin else photo.parent) / name), overwrite=flags.overwrite)
    asked = sheets.Sheet(standard_input() if stdin else photo, styles, options, output, flags.columns)
    names: dict[int, str] = {}
    with signals.stoppable(), console.progress(quiet=flags.quiet) as show, contextlib.closing(sheets.run(asked)) as events:
        for event in events:
            if isinstance(event, Note):
                note(event.text, quiet=flags.quiet)
            elif isinstance(event, Saved):
                show(None)
                _report(event, list(names.values()), flags)
            else:
                names[event.number] = event.name
                show(event)
    return 0


def _report(saved: Saved, names: list[str], flags: SheetFlags) -> None:
    """Print the end. names: of the styles."""
    if saved.path is None:
        write_image(saved.data)
        return
    if not flags.quiet:
        report(f"wrote {printable(saved.path)} ({saved.width}x{saved.height}) in {seconds(saved.seconds)}")
    if flags.json_line:
        found = {"output": str(saved.path), "width": saved.width, "height": saved.height, "seconds": saved.seconds}
        tell(json.dumps(found | {"styles": names, "notes": list(saved.notes), "exit_code": 0}))
