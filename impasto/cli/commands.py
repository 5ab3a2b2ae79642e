"""The commands and their help; the flags come from `forms`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import App, Parameter

from impasto import __version__
from impasto.catalog import OPTIONS
from impasto.cli import again, paint
from impasto.cli.batch import BATCH_EXAMPLES, BatchFlags, batch
from impasto.cli.compare import CompareFlags, compare
from impasto.cli.export import EXPORT_EXAMPLES, ExportFlags, export
from impasto.cli.forms import PaintFlags, with_flags
from impasto.cli.page import PAGE_EXAMPLES, PageFlags, page
from impasto.cli.sheet import SHEET_OPTIONS, SheetFlags, sheet
from impasto.cli.studio import studio
from impasto.cli.styles import style_app, styles
from impasto.cli.video import VIDEO_OPTIONS, VideoFlags, video
from impasto.cli.weights import weights_app

EXAMPLES = """\
Examples:

    impasto demo
    impasto photo.jpg painting.jpg
    impasto photo.jpg starry-night
    impasto photo.jpg painting.jpg -o result.jpg --size 1024 --strength 0.7
    impasto photo.jpg painting.jpg another.jpg --blend 0.7 0.3 --keep-colors luma
    cat photo.jpg | impasto - starry-night -o - > result.png
"""
MORE = "`impasto --help-all` lists all options.\n\n"
SHEET_EXAMPLES = """\
Examples:

    impasto sheet photo.jpg
    impasto sheet photo.jpg starry-night udnie painting.jpg -o choice.jpg --size 480 --columns 2
"""
VIDEO_EXAMPLES = """\
Examples:

    impasto video clip.mp4 starry-night
    impasto video clip.mp4 painting.jpg --quality best --size 720 -o painted.mp4
    impasto video clip.mov udnie the-scream --blend 1..0 --start 0:10 --end 0:20
"""
COMPARE_EXAMPLES = """\
Examples:

    impasto compare photo.jpg painting.jpg photo-painting.png
    impasto compare photo.jpg painting.jpg impasto=photo-painting.png other=download.jpg -o report.html
"""
AGAIN_EXAMPLES = """\
Examples:

    impasto again photo-painting.png
    impasto again photo-painting.png --size 2048 --quality best
    impasto again photo-painting.png other-photo.jpg -o other.png
"""
RESUME_EXAMPLES = """\
Examples:

    impasto resume photo-painting.png
"""


@functools.cache
def app(short: bool = False) -> App:
    """The command line. short: with the common flags only, which is what a short help lists."""
    more = MORE if short else ""
    paints = functools.partial(with_flags, form=PaintFlags, options=OPTIONS, short=short)
    made = App(
        name="impasto",
        version=__version__,
        usage="Usage: impasto PHOTO STYLE... [OPTIONS]\n       impasto COMMAND ...",
        help_epilogue=more + EXAMPLES,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,  # `main` reports what became of the image
    )
    made.default(paints(paint.paint))
    made.command(paints(paint.demo), help_epilogue=more)
    made.command(
        with_flags(sheet, SheetFlags, SHEET_OPTIONS),
        usage="Usage: impasto sheet PHOTO [STYLE...] [OPTIONS]",
        help_epilogue=SHEET_EXAMPLES,
    )
    made.command(
        with_flags(video, VideoFlags, VIDEO_OPTIONS),
        usage="Usage: impasto video CLIP STYLE... [OPTIONS]",
        help_epilogue=VIDEO_EXAMPLES,
    )
    made.command(
        with_flags(compare, CompareFlags),
        usage="Usage: impasto compare PHOTO STYLE RESULT... [OPTIONS]",
        help_epilogue=COMPARE_EXAMPLES,
    )
    made.command(
        with_flags(batch, BatchFlags, OPTIONS, short=short),
        usage="Usage: impasto batch PHOTOS STYLES -o FOLDER [OPTIONS]\n       impasto batch PHOTOS... --styles STYLES... -o FOLDER",
        help_epilogue=more + BATCH_EXAMPLES,
    )
    made.command(_switches(again.info), usage="Usage: impasto info FILE [--json]", help_epilogue="")
    made.command(
        paints(again.again),
        usage="Usage: impasto again FILE [PHOTO [STYLE...]] [OPTIONS]",
        help_epilogue=more + AGAIN_EXAMPLES,
    )
    made.command(_switches(again.resume), usage="Usage: impasto resume FILE [OPTIONS]", help_epilogue=RESUME_EXAMPLES)
    made.command(with_flags(export, ExportFlags), usage="Usage: impasto export [OPTIONS]", help_epilogue=EXPORT_EXAMPLES)
    made.command(with_flags(page, PageFlags), usage="Usage: impasto page -o FOLDER [OPTIONS]", help_epilogue=PAGE_EXAMPLES)
    made.command(_switches(studio), usage="Usage: impasto studio [OPTIONS]", help_epilogue="")
    made.command(styles)
    made.command(style_app)
    made.command(weights_app)
    return made


def _switches(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose boolean parameters are flags without a negative form."""
    names = {"json_line": ("--json",), "quiet": ("--quiet", "-q")}
    for name, kind in list(command.__annotations__.items()):
        if kind in ("bool", bool):
            command.__annotations__[name] = Annotated[bool, Parameter(name=names.get(name), negative=(), show_default=False)]
    return command
