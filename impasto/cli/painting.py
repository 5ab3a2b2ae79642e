"""Painting one picture, for every command that does: from the pictures' names to a file and the words about it."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.cli.console import INTERRUPTED, fail, follow, note, refuse_address, seconds
from impasto.errors import OutputError, RunError
from impasto.files import printable
from impasto.options import Options, Output

if TYPE_CHECKING:
    from PIL import Image

    from impasto.metadata import Kept
    from impasto.optimize import Step
    from impasto.records import Earlier
    from impasto.stylizer import Run

ASSETS = Path(__file__).parent.parent / "assets"


def paint_picture(
    photo: Path, styles: tuple[Path, ...], default: Path, output: Output, options: Options, earlier: Earlier | None = None
) -> int:
    """Paint and save. Returns the exit code.

    default: where to, if the output names no file. earlier: the picture that is made again.
    """
    began = time.monotonic()
    for file in (photo, *styles):
        refuse_address(file)
    from impasto import (
        pictures,
        records,
    )  # only now: torch takes a second to load, and help and usage errors need not wait for it
    from impasto.cli.making import replaces, watchers
    from impasto.stylizer import Stylizer

    run = Stylizer(options).run(photo, styles)
    target = pictures.check_output(output.output or default, overwrite=output.overwrite, size=run.size)
    sources = records.sources(photo, styles, options)
    _spare_inputs(target, sources.values())
    for file in sources.values():
        if replaces(output, target, file):
            raise OutputError(f"a frame or a preview would replace the input {printable(file)}; choose another name")
    exif = pictures.read_exif(photo, max_pixels=options.max_pixels) if output.keep_exif else {}
    if output.keep_exif and not exif:
        note(f"photograph {printable(photo)} has no EXIF that could be kept", quiet=output.quiet)
    made = records.begin(run, sources, keep_exif=output.keep_exif)
    with watchers(run, target, output) as watch:
        for word in (*run.notes, *(earlier.differences(made) if earlier else ())):
            note(word, quiet=output.quiet)
        problem = _follow(run, watch, quiet=output.quiet)
    if problem and run.last is None:
        return _report_failure(problem, output)
    with _unhurried():
        took, image = time.monotonic() - began, run.image()
        made = records.finish(made, run, image, took, whole=not problem)
        compared = earlier.compared(image, made) if earlier and not problem else ""
        stored = run.settings() | (earlier.settled(made) if earlier else made).stored()
        target, notes = _save(image, target, output, None if output.no_metadata else stored, exif)
    for word in notes:
        note(word, quiet=output.quiet)
    return _report(run, target, took, problem, output, compared)


def _spare_inputs(target: Path, inputs: Iterable[Path]) -> None:
    """Raise OutputError if the output is one of the inputs, even with --overwrite: nobody means to lose the photograph."""
    for file in inputs:
        if target.exists() and file.exists() and target.samefile(file):
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


def _save(
    image: Image.Image, target: Path, output: Output, settings: dict[str, object] | None, exif: Kept
) -> tuple[Path, tuple[str, ...]]:
    """Save under the output's name, or under the next free one if a file has appeared there while we painted."""
    from impasto import pictures

    name = target
    for number in itertools.count(2):
        try:
            return name, pictures.save(image, name, settings=settings, exif=exif, overwrite=output.overwrite)
        except OutputError:
            if output.overwrite or not name.exists():
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


def _report(run: Run, target: Path, took: float, problem: tuple[str, int] | None, output: Output, compared: str) -> int:
    message, code = problem or ("", 0)
    size = f"{run.size[1]}x{run.size[0]}"
    if problem:
        fail(f"{message}{_how_far(run)}; the best picture so far is in {target}", code)
    elif not output.quiet:
        print(f"wrote {target} ({size}) in {seconds(took)}" + (f": {compared}" if compared else ""), flush=True)
    if output.json_line:
        more = ({"compared": compared} if compared else {}) | ({"error": message} if problem else {})
        print(json.dumps(_summary(run, target, took) | more | {"exit_code": code}), flush=True)
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
