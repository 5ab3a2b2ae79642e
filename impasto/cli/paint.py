"""`impasto PHOTO STYLE...` and `impasto demo`: from words to a job, and from its events to words."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from impasto import jobs
from impasto.cli import console
from impasto.cli.console import exact_seconds, fail, note, refuse_address, report, seconds, tell, worded, write_image
from impasto.cli.forms import STDIO, PaintFlags
from impasto.errors import ImpastoError, MemoryLimitError, OptionError, PictureError
from impasto.extras import has_torch
from impasto.files import printable
from impasto.inputs import ASSETS, SAMPLE, STYLES, Inputs
from impasto.jobs import signals

if TYPE_CHECKING:
    from impasto.jobs.records import Previous
    from impasto.options import Options

Event = TypeVar("Event")

MOST_INPUT = 2_000_000_000  # bytes of standard input
DEMO_SIZE = 384  # pixels: a first image soon, also on a slow machine


def paint(photo: Path, /, *styles: Path, flags: PaintFlags) -> int:
    """Repaint PHOTO in the style of the painting STYLE, or of several, blended.

    Parameters
    ----------
    photo: Path
        The photograph; - for standard input.
    styles: Path
        The painting: an image, a .style file, or a name that `impasto styles` lists. Several are blended (--blend). With --mask there
        may be none.
    """
    for file in (photo, *styles):
        refuse_address(file)
    options, found = flags.options(), flags.inputs()
    if not styles and "masks" not in found:
        raise OptionError("a photograph and a painting are needed: impasto PHOTO STYLE; see `impasto --help`")
    stdin = photo == Path(STDIO)
    inputs = Inputs.of({"photo": standard_input() if stdin else photo, "styles": styles} | found)
    name = "-".join(["stdin" if stdin else photo.stem, *([style.stem for style in styles] or ["painted"])])
    return carry_out(jobs.Job(inputs, options, flags.to((Path() if stdin else photo.parent) / f"{name}.png")), flags)


def standard_input() -> bytes:
    """The bytes of standard input. Raises PictureError if it is a terminal, which would wait for typing."""
    if sys.stdin is None:
        raise PictureError("photograph -: standard input is closed")
    if sys.stdin.isatty():
        raise PictureError("photograph -: standard input is a terminal; pipe an image into it")
    try:
        data = sys.stdin.buffer.read(MOST_INPUT + 1)
    except MemoryError as error:
        raise MemoryLimitError("photograph -: standard input does not fit into memory") from error
    if len(data) > MOST_INPUT:
        raise PictureError(f"photograph -: standard input has more than {MOST_INPUT / 1e9:.0f} GB; name a file")
    if not data:
        raise PictureError("photograph -: standard input is empty")
    return data


def demo(*, flags: PaintFlags) -> int:
    """Stylize a sample photograph and write impasto-demo.png (384 pixels by default). Works offline.

    At quality normal or best, it first writes what quality instant makes of it: impasto-demo-instant.png. Without torch, quality
    instant is all.
    """
    options, found = flags.options(), flags.inputs()
    options = options if "size" in options.model_fields_set else options.changed(size=DEMO_SIZE)
    style, what = _demo_style(options, painting=bool({"weights", "style mask"} & found.keys()))
    output = flags.to(Path("impasto-demo.png"))
    if flags.output is None and _is_demo(Path("impasto-demo.png")):
        output = output.model_copy(update={"overwrite": True})
    inputs = Inputs.of({"photo": SAMPLE, "styles": (style,)} | found)
    job = jobs.Job(inputs, options, output)
    jobs.check(job)  # nothing is said or painted if the image cannot be written
    if not flags.quiet:
        note(f"the photograph is Chelsea the cat (CC0), {what}; both come with impasto")
    first = None if flags.dry_run or not has_torch() else _instant(job, named=flags.output is not None)
    if first:
        code = carry_out(first, replace(flags, json_line=False))  # there is one line of JSON, for the second
        if code:
            return code
    return carry_out(job, flags)


def _instant(job: jobs.Job, *, named: bool) -> jobs.Job | None:
    """The job that quality "instant" does first, to ...-instant.png.

    named: whether the user chose the output's name; otherwise an earlier result of the demo is replaced. Returns None where "instant"
    does not take the options or inputs, where a quick quality was asked for, and for standard output.
    """
    path, quick = job.output.path, job.options.quality in ("instant", "draft")
    if path is None or quick or job.inputs.weights or job.inputs.start:
        return None
    try:
        options = job.options.changed(quality="instant")
    except OptionError:
        return None
    file = path.with_name(f"{path.stem}-instant{path.suffix}")
    overwrite = job.output.overwrite if named else _is_demo(file)
    kept = {"metadata": job.output.metadata, "keep_exif": job.output.keep_exif, "depth": job.output.depth}
    return jobs.Job(job.inputs, options, jobs.Output(path=file, overwrite=overwrite, **kept))


def _is_demo(file: Path) -> bool:
    """Whether a file is an earlier result of the demo."""
    if not file.is_file():
        return False
    from impasto.jobs import records

    try:
        inputs = records.read(file).record.inputs
    except ImpastoError:
        return False
    return "photo" in inputs and inputs["photo"].name == SAMPLE.name


def _demo_style(options: Options, *, painting: bool) -> tuple[Path, str]:
    """A style for the demo, and its description: a built-in style, or a painting if the options need one."""
    from impasto.options import Options

    asked, usual = options.changed(encoder="lite"), Options(encoder="lite")
    same = ("method", "pooling", "padding", "keep_colors")  # what a stored style is fixed for
    stored = options.encoder in ("auto", "lite") and all(getattr(asked, name) == getattr(usual, name) for name in same)
    if stored and not painting and set(asked.style_taps) <= set(usual.style_taps):
        return STYLES / "the-scream.style", "the style is that of The Scream (`impasto styles` lists more)"
    return ASSETS / "strokes.jpg", "the painting is strokes.jpg"


# ---------------------------------------------------------------------------------------------------------------- a job


def carry_out(job: jobs.Job, flags: PaintFlags, previous: Previous | None = None, *, resume: bool = False) -> int:
    """Run a job and print its events. Returns the exit code."""
    if flags.dry_run:
        return _print_plan(job, flags)
    code = 1

    def handle(event: jobs.Event) -> None:
        nonlocal code
        if isinstance(event, jobs.Note):
            note(event.text, quiet=flags.quiet)
        elif isinstance(event, jobs.Progress):
            show(event)
        elif isinstance(event, (jobs.Saved, jobs.Failed)):
            show(None)
            code = _report(event, flags)

    events = jobs.run(job, resume=resume, previous=previous)
    with signals.stoppable(), console.progress(quiet=flags.quiet) as show, contextlib.closing(events):
        follow(events, handle)
    return code


def follow(events: Iterator[Event], handle: Callable[[Event], None]) -> None:
    """Pass the events of a job to `handle`. Ctrl-C during `handle` is thrown into the job."""
    pending: KeyboardInterrupt | None = None
    while True:
        try:
            event = next(events) if pending is None else events.throw(pending)  # type: ignore[attr-defined]  # a generator
        except StopIteration:
            return
        pending = None
        try:
            handle(event)
        except KeyboardInterrupt as stopped:
            pending = stopped


def _report(event: jobs.Saved | jobs.Failed, flags: PaintFlags) -> int:
    """Print the end of a job. Returns the exit code."""
    problem = _spelled(event)
    if isinstance(event, jobs.Failed):
        return fail(problem, event.exit_code, as_json=flags.json_line)
    if event.path is None:
        write_image(event.data)
    name = "standard output" if event.path is None else printable(event.path)
    if event.problem:
        more = f"; {event.resume}" if event.resume else ""
        fail(f"{problem}; the best image so far is in {name}{more}", event.exit_code)
    elif not flags.quiet and event.path is not None:
        compared = f": {event.compared}" if event.compared else ""
        report(f"wrote {name} ({event.width}x{event.height}) in {exact_seconds(event.seconds)}{compared}")
    if flags.json_line:
        tell(json.dumps(_summary(event)))
    return event.exit_code


def _spelled(event: jobs.Saved | jobs.Failed) -> str:
    """The problem of an event, with options spelled as flags."""
    return event.problem.replace(str(event.error), worded(event.error), 1) if event.error else event.problem


def _summary(event: jobs.Saved) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "output": str(event.path),
        "width": event.width,
        "height": event.height,
        "seconds": event.seconds,
        "losses": dict(event.losses),
        "notes": list(event.notes),
        "settings": dict(event.settings),
    }
    summary |= {"compared": event.compared} if event.compared else {}
    summary |= {"error": _spelled(event)} if event.problem else {}
    return summary | {"exit_code": event.exit_code}


def _print_plan(job: jobs.Job, flags: PaintFlags) -> int:
    """Print what painting would make and take. Returns the exit code."""
    from impasto.jobs.forecast import forecast
    from impasto.run import Run
    from impasto.stylizer import Stylizer

    run = Stylizer(job.options, weights=job.inputs.weights).paint(job.inputs.load(job.options.max_pixels))
    size, took = run.problem.size, forecast(run)
    precision = "bf16" if run.problem.encoder.dtype.itemsize == 2 else "fp32"
    target = "standard output" if job.output.path is None else printable(job.output.path)
    lines = [f"{target} would be {size[1]}x{size[0]}, painted in {len(run)} steps at {len(run.scales)} sizes with {precision}"]
    found: dict[str, Any] = {
        "output": str(job.output.path or target),
        "width": size[1],
        "height": size[0],
        "steps": len(run),
        "precision": precision,
    }
    if isinstance(run, Run):
        plan = run.plan(size)
        how = "all at once" if plan.side is None else f"in blocks of {plan.side} pixels"
        pairs = {"memory": "memory", "half": "memory, as bf16", "disk": f"files in {run.folder(plan)}"}[plan.pairs]
        lines.append(f"its losses are computed {how}, and the optimizer's history is kept in {pairs}")
        lines.append(f"that takes about {plan.peak / 1e9:.1f} GB of memory and {seconds(took)}")
        found |= {"side": plan.side, "pairs": plan.pairs, "bytes": plan.peak}
    else:
        lines.append(f"that takes about {seconds(took)}")
    if not flags.quiet:
        for line in lines:
            tell(line)
    if flags.json_line:
        tell(json.dumps(found | {"seconds": round(took, 1), "exit_code": 0}))
    return 0
