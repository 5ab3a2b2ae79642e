"""The commands and their words; the flags come from impasto.options."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from impasto import __version__
from impasto.cli.compare import compare
from impasto.cli.console import INTERRUPTED, fail, follow, note, refuse_address, seconds
from impasto.cli.weights import weights_app
from impasto.errors import OptionError, OutputError, RunError
from impasto.options import Options, Output

if TYPE_CHECKING:
    from PIL import Image

    from impasto.optimize import Step
    from impasto.stylizer import Run

ASSETS = Path(__file__).parent.parent / "assets"
EXAMPLES = """\
Examples:

    impasto demo
    impasto photo.jpg painting.jpg
    impasto photo.jpg painting.jpg -o result.jpg --size 1024 --strength 0.7
    impasto photo.jpg painting.jpg another.jpg --blend 0.7 0.3 --keep-colors luma
    impasto photo.jpg painting.jpg --method gatys --encoder vgg19
"""
COMPARE_EXAMPLES = """\
Examples:

    impasto compare photo.jpg painting.jpg photo-painting.png
    impasto compare photo.jpg painting.jpg impasto=photo-painting.png other=download.jpg -o report.html
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
        The painting: what the result looks like. Several are blended, see --blend; with --mask there may be none.
    """
    options = options or Options()
    if not (styles or options.mask):
        raise OptionError("a photograph and a painting are needed: impasto PHOTO STYLE; see `impasto --help`")
    name = "-".join([photo.stem, *([style.stem for style in styles] or ["painted"])])
    return _paint(photo, styles, photo.parent / f"{name}.png", output or Output(), options)


@app.command
def demo(
    *,
    output: Annotated[Output | None, Flattened] = None,
    options: Annotated[Options | None, Flattened] = None,
) -> int:
    """Repaint a sample photograph; writes impasto-demo.png here. Needs no files and no network."""
    if not (output and output.quiet):
        note("the photograph is Chelsea the cat (CC0), the painting is strokes.jpg; both come with impasto")
    style = ASSETS / "strokes.jpg"
    return _paint(ASSETS / "chelsea.jpg", (style,), Path("impasto-demo.png"), output or Output(), options or Options())


def _paint(photo: Path, styles: tuple[Path, ...], default: Path, output: Output, options: Options) -> int:
    began = time.monotonic()
    for file in (photo, *styles):
        refuse_address(file)
    from impasto import pictures  # only now: torch takes a second to load, and help and usage errors need not wait for it
    from impasto.cli.making import watchers
    from impasto.stylizer import Stylizer

    run = Stylizer(options).run(photo, styles)
    target = pictures.check_output(output.output or default, overwrite=output.overwrite, size=run.size)
    _spare_inputs(target, photo, *styles, *options.files())
    with watchers(run, target, output) as watch:
        for word in run.notes:
            note(word, quiet=output.quiet)
        problem = _follow(run, watch, quiet=output.quiet)
    if problem and run.last is None:
        return _report_failure(problem, output)
    took = time.monotonic() - began
    settings = run.settings() | {
        "impasto": __version__,
        "photo": photo.name,
        "styles": [style.name for style in styles],
        "seconds": round(took, 1),
    }
    with _unhurried():
        target, notes = _save(run.image(), target, settings, overwrite=output.overwrite)
    for word in notes:
        note(word, quiet=output.quiet)
    return _report(run, target, took, problem, output)


def _spare_inputs(target: Path, *inputs: Path) -> None:
    """Raise OutputError if the output is one of the inputs, even with --overwrite: nobody means to lose the photograph."""
    for file in inputs:
        if target.exists() and target.samefile(file):
            raise OutputError(f"output {target} is the input {file} itself; choose another name")


@contextlib.contextmanager
def _unhurried() -> Iterator[None]:
    """Let a second Ctrl-C not spoil the saving that the first one asked for."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _save(image: Image.Image, target: Path, settings: dict[str, object], *, overwrite: bool) -> tuple[Path, tuple[str, ...]]:
    """Save under the output's name, or under the next free one if a file has appeared there while we painted."""
    from impasto import pictures

    name = target
    for number in itertools.count(2):
        try:
            return name, pictures.save(image, name, settings=settings, overwrite=overwrite)
        except OutputError:
            if overwrite or not name.exists():
                raise
            name = target.with_name(f"{target.stem}-{number}{target.suffix}")
    raise AssertionError("unreachable")


def _follow(run: Run, watch: Callable[[Step], None], *, quiet: bool) -> tuple[str, int] | None:
    """Paint to the end, letting `watch` see every step. Returns what cut it short and the exit code, or None."""

    def watched() -> Iterator[Step]:
        for step in run:
            watch(step)
            yield step

    try:
        follow(watched(), quiet=quiet)
    except KeyboardInterrupt:
        return "interrupted", INTERRUPTED
    except RunError as error:
        return str(error), error.exit_code
    return None


def _report_failure(problem: tuple[str, int], output: Output) -> int:
    message, code = problem
    return fail(f"{message}; nothing was written", code, as_json=output.json_line)


def _report(run: Run, target: Path, took: float, problem: tuple[str, int] | None, output: Output) -> int:
    message, code = problem or ("", 0)
    size = f"{run.size[1]}x{run.size[0]}"
    if problem:
        fail(f"{message}{_how_far(run)}; the best picture so far is in {target}", code)
    elif not output.quiet:
        print(f"wrote {target} ({size}) in {seconds(took)}", flush=True)
    if output.json_line:
        print(
            json.dumps(_summary(run, target, took) | ({"error": message} if problem else {}) | {"exit_code": code}), flush=True
        )
    return code


def _how_far(run: Run) -> str:
    """Words such as " at 40%, still at 256x170 and enlarged", for a run that was cut short."""
    step = run.last
    if step is None:
        return ""
    height, width = step.picture.shape[-2:]
    return f" at {step.done:.0%}" + ("" if (height, width) == run.size else f", still at {width}x{height} and enlarged")


def _summary(run: Run, target: Path, took: float) -> dict[str, object]:
    step = run.last
    return {
        "output": str(target),
        "width": run.size[1],
        "height": run.size[0],
        "seconds": round(took, 2),
        "losses": dict(step.losses) if step else {},
        "notes": list(run.notes),
        "settings": run.settings(),
    }
