"""The commands and their words; the flags come from impasto.options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from impasto import __version__
from impasto.cli.again import again, info
from impasto.cli.compare import compare
from impasto.cli.console import note
from impasto.cli.painting import ASSETS, paint_picture
from impasto.cli.resume import resume
from impasto.cli.styles import style_app, styles
from impasto.cli.weights import weights_app
from impasto.errors import OptionError
from impasto.options import Options, Output

DEMO_SIZE = 384  # pixels: a first picture soon, also on a slow machine

EXAMPLES = """\
Examples:

    impasto demo
    impasto photo.jpg painting.jpg
    impasto photo.jpg starry-night
    impasto photo.jpg painting.jpg -o result.jpg --size 1024 --strength 0.7
    impasto photo.jpg painting.jpg another.jpg --blend 0.7 0.3 --keep-colors luma
    impasto photo.jpg painting.jpg --method gatys --encoder vgg19
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

app = App(
    name="impasto",
    version=__version__,
    usage="Usage: impasto PHOTO STYLE... [OPTIONS]\n       impasto COMMAND ...",
    help_epilogue=EXAMPLES,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # main says what became of the picture
)
app.command(compare, usage="Usage: impasto compare PHOTO STYLE RESULT... [OPTIONS]", help_epilogue=COMPARE_EXAMPLES)
app.command(info, usage="Usage: impasto info FILE [--json]", help_epilogue="")
app.command(again, usage="Usage: impasto again FILE [PHOTO [STYLE...]] [OPTIONS]", help_epilogue=AGAIN_EXAMPLES)
app.command(resume, usage="Usage: impasto resume FILE [OPTIONS]", help_epilogue=RESUME_EXAMPLES)
app.command(styles)
app.command(style_app)
app.command(weights_app)

Flattened = Parameter(name="*")


@app.default
def paint(
    photo: Path,
    /,
    *styles: Path,
    output: Annotated[Output | None, Flattened] = None,
    options: Annotated[Options | None, Flattened] = None,
) -> int:
    """Repaint PHOTO in the style of the painting STYLE, or of several, blended.

    Parameters
    ----------
    photo: Path
        The photograph: what the result shows.
    styles: Path
        The painting: what the result looks like. A picture, a .style file, or a name that `impasto styles` lists. Several are blended,
        see --blend; with --mask there may be none.
    """
    options = options or Options()
    if not (styles or options.mask):
        raise OptionError("a photograph and a painting are needed: impasto PHOTO STYLE; see `impasto --help`")
    name = "-".join([photo.stem, *([style.stem for style in styles] or ["painted"])])
    return paint_picture(photo, styles, photo.parent / f"{name}.png", output or Output(), options)


@app.command
def demo(
    *,
    output: Annotated[Output | None, Flattened] = None,
    options: Annotated[Options | None, Flattened] = None,
) -> int:
    """Repaint a sample photograph; writes impasto-demo.png here, of 384 pixels without --size. Needs no files and no network."""
    options = options or Options()
    options = options if "size" in options.model_fields_set else options.changed(size=DEMO_SIZE)
    style, what = _demo_style(options)
    if not (output and output.quiet):
        note(f"the photograph is Chelsea the cat (CC0), {what}; both come with impasto")
    return paint_picture(ASSETS / "chelsea.jpg", (style,), Path("impasto-demo.png"), output or Output(), options)


def _demo_style(options: Options) -> tuple[Path, str]:
    """A style for the demo, and what it is: one that has a name or, where these options need more than that, a painting."""
    asked, usual = options.changed(encoder="lite"), Options(encoder="lite")
    same = ("method", "weights", "pooling", "padding", "keep_colors", "style_mask")  # what a stored style is fixed for
    if (
        options.encoder in ("auto", "lite")
        and all(getattr(asked, name) == getattr(usual, name) for name in same)
        and set(asked.style_taps) <= set(usual.style_taps)
    ):
        return ASSETS / "styles" / "the-scream.style", "the style is that of The Scream (`impasto styles` lists more)"
    return ASSETS / "strokes.jpg", "the painting is strokes.jpg"
