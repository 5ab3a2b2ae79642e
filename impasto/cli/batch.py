"""`impasto batch`: many photographs in many styles."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from impasto.cli import console
from impasto.cli.console import exact_seconds, fail, note, report, seconds, tell, worded
from impasto.cli.forms import GROUPS, OUTPUT, STARTS, AnyFlags, flag, whole_number
from impasto.errors import ImpastoError, OptionError
from impasto.files import escaped, is_file, one_line, printable
from impasto.inputs import STYLE_SUFFIX, Layer, style_names
from impasto.jobs import signals

if TYPE_CHECKING:
    from impasto.batches import Result, Settings, Status, Work

MOST_SHOWN = 20  # failures that are printed; batch.json lists all
BATCH_EXAMPLES = """\
Examples:

    impasto batch photos starry-night -o painted --quality instant
    impasto batch photos paintings -o painted --pairs random:3
    impasto batch *.jpg --styles starry-night udnie -o painted --names "{style}/{photo}.jpg"
    impasto batch work.csv -o painted
    impasto batch s3://bucket/photos starry-night -o s3://bucket/painted --ray auto
"""


@dataclass(frozen=True, kw_only=True)
class BatchFlags(AnyFlags):
    """Where results go, which pairs are painted, and by whom."""

    output: Annotated[
        str, flag(OUTPUT, "Folder for the results, or an address such as s3://bucket/painted.", "--output", "-o")
    ] = ""
    styles: Annotated[
        tuple[str, ...],
        flag(OUTPUT, "Styles, where several photographs are named one by one.", consume_multiple=True),
    ] = ()
    pairs: Annotated[
        str,
        flag(
            OUTPUT,
            "all: every photograph in every style; zip: the first with the first, and so on; random:N: every photograph in N styles. "
            "[default: all]",
        ),
    ] = "all"
    pairs_seed: Annotated[
        int, flag(OUTPUT, "Seed of random pairs. [default: 0]", converter=whole_number("pairs_seed", least=0))
    ] = 0
    names: Annotated[
        str,
        flag(
            OUTPUT,
            "Names of the results, made of {photo}, {style}, {photo_type} and {style_type}. Sub-folders of the photographs are kept. "
            "[default: {photo}--{style}.png]",
        ),
    ] = ""
    retry_failed: Annotated[
        bool, flag(OUTPUT, "Try again what failed before. Otherwise only what may succeed now: changed files, a full disk.")
    ] = False
    overwrite: Annotated[bool, flag(OUTPUT, "Replace files in the folder that impasto did not make.")] = False
    no_metadata: Annotated[
        bool, flag(OUTPUT, "Don't embed settings in the results. A list in the folder says what is done, and must stay there.")
    ] = False
    keep_exif: Annotated[bool, flag(OUTPUT, "Copy the photographs' EXIF to the results.")] = False
    depth: Annotated[
        int,
        flag(
            OUTPUT,
            "Bits per channel of the results, 8 or 16 (.png and .tif). [default: 8]",
            converter=whole_number("depth", least=8, most=16),
        ),
    ] = 8
    mask: Annotated[
        tuple[str, ...],
        flag(
            GROUPS["Look"],
            "MASK=STYLE, repeatable: where MASK is white, results get STYLE; MASK=keep leaves the photographs unchanged there. MASK is "
            "an image, or a folder with an image named like each photograph.",
        ),
    ] = ()
    workers: Annotated[
        int | None,
        flag(
            GROUPS["Machine"],
            "How many images are painted at once. [default: one on each GPU, or one on every core]",
            converter=whole_number("workers", least=1, most=100_000),
        ),
    ] = None
    threads: Annotated[
        int,
        flag(
            GROUPS["Machine"],
            "Threads for each image. Another number changes the last bits. [default: 1]",
            converter=whole_number("threads", least=1, most=1024),
        ),
    ] = 1
    ray: Annotated[
        str | None,
        flag(GROUPS["Machine"], "Paint on a Ray cluster (extra: ray): its address, or auto for the one of this machine."),
    ] = None
    weights: Annotated[
        Path | None,
        flag(GROUPS["Method"], "A weights file for the encoder: Keras .h5, PyTorch .pth, MatConvNet .mat or safetensors."),
    ] = None


def batch(*words: str, flags: BatchFlags) -> int:
    """Repaint all PHOTOS in all STYLES, on all cores. The same command again continues, and repaints what has changed.

    Parameters
    ----------
    words: str
        PHOTOS and STYLES: files, folders, patterns, addresses, names of built-in styles. PHOTOS may be a list of work: .csv or .jsonl
        with the columns photo, style, output and any option. Several photographs need --styles.
    """
    photos, styles = split(words, flags.styles)
    if not flags.output:
        raise OptionError("needs a folder for the results: impasto batch PHOTOS STYLES -o FOLDER", option="output")
    init = flags.given.get("init")
    if init is not None and init not in STARTS:
        raise OptionError(f"must be content or noise, not {one_line(repr(init))}", option="init")
    from impasto import batches
    from impasto.batches.names import TEMPLATE

    if flags.depth not in (8, 16):
        raise OptionError(f"must be 8 or 16, not {flags.depth}", option="depth")
    settings = _settings(flags)
    pairs = batches.Pairs.parse(flags.pairs, flags.pairs_seed)
    masks = tuple(map(Layer.parse, flags.mask))
    template = flags.names or TEMPLATE
    work = batches.plan(photos, styles, settings, pairs=pairs, template=template, masks=masks, options=flags.given)
    return _carry_out(work, flags)


def _settings(flags: BatchFlags) -> Settings:
    from impasto import batches

    return batches.Settings(
        output=flags.output,
        weights=None if flags.weights is None else str(flags.weights),
        metadata=not flags.no_metadata,
        keep_exif=flags.keep_exif,
        depth=16 if flags.depth == 16 else 8,
        overwrite=flags.overwrite,
        threads=flags.threads,
    )


def split(words: tuple[str, ...], styles: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The photographs and the styles among words. styles: those that were named as such. Raises OptionError where it is unclear.

    Of two words, the second is the style. Of more, the last ones are if they can be nothing else: style files and built-in names.
    """
    if not words:
        raise OptionError(
            "photographs and styles are needed: impasto batch PHOTOS STYLES -o FOLDER; see `impasto batch --help`"
        )
    if styles or len(words) == 1:
        return words, styles
    last = len(words)
    while last > 1 and _is_style(words[last - 1]):
        last -= 1
    if last == len(words) == 2:
        last = 1
    if last == len(words):
        remedy = f"name them after {{styles}}, for instance {{styles}} {printable(words[-1])}"
        raise OptionError(f"it is unclear which of {len(words)} words are styles", remedy=remedy)
    return words[:last], words[last:]


def _is_style(word: str) -> bool:
    return word.lower().endswith(STYLE_SUFFIX) or (word in style_names() and not is_file(word))


@dataclass
class _Tally:
    """What was printed and counted. results: by state."""

    flags: BatchFlags
    results: Counter[str] = field(default_factory=Counter)
    noted: int = 0
    began: float = field(default_factory=time.monotonic)

    def about(self, result: Result) -> None:
        """Count a result, and print a failure."""
        self.results[result.state] += 1
        self.noted += bool(result.notes)
        failed = self.results["failed"]
        if result.state == "failed" and failed <= MOST_SHOWN:
            note(f"{printable(result.output)} failed: {_problem(result)}")
            if failed == MOST_SHOWN:
                note("more failures are in batch.json only")

    @property
    def bad(self) -> int:
        """How many images are missing."""
        return self.results["failed"] + self.results["skipped"]


def _carry_out(work: Work, flags: BatchFlags) -> int:
    """Run a batch and print its events. Returns the exit code."""
    from impasto import batches

    tally = _Tally(flags)
    events = batches.run(work, workers=flags.workers, ray=flags.ray, retry_failed=flags.retry_failed)
    try:
        with signals.stoppable(), _progress(quiet=flags.quiet) as show, contextlib.closing(events):
            for event in events:
                if isinstance(event, batches.Result):
                    tally.about(event)
                elif isinstance(event, batches.Status):
                    show(event)
                else:
                    note(event.text, quiet=flags.quiet)
    except KeyboardInterrupt as stopped:
        why, code = signals.how_stopped(stopped)
        finished = tally.results["painted"] + tally.results["kept"]
        return _ended(
            work, tally, code, f"{why}; {finished} of {len(work.items)} images are there, and the same command continues"
        )
    return _ended(work, tally, 1 if tally.bad else 0, "")


def _ended(work: Work, tally: _Tally, code: int, problem: str) -> int:
    """Print the end. Returns the exit code."""
    flags, counts, took = tally.flags, tally.results, time.monotonic() - tally.began
    place = printable(flags.output)
    if not flags.quiet and not problem:
        kept = f", {counts['kept']} were there already" if counts["kept"] else ""
        report(f"wrote {counts['painted']} images to {place} in {exact_seconds(took)}{kept}")
        if tally.noted:
            note(f"{tally.noted} images have notes, which {place}/batch.json lists")
    if tally.bad and not problem:
        before = f" ({counts['skipped']} of them before, and nothing has changed since; --retry-failed tries again)"
        problem = (
            f"{tally.bad} of {len(work.items)} images failed{before if counts['skipped'] else ''}; {place}/batch.json lists why"
        )
    if problem:
        fail(problem, code)
    if flags.json_line:
        found: dict[str, Any] = {"output": flags.output, "items": len(work.items)}
        found |= {state: counts[state] for state in ("painted", "kept", "failed", "skipped")} | {"seconds": round(took, 2)}
        tell(json.dumps(found | ({"error": problem} if problem else {}) | {"exit_code": code}))
    return code


def _problem(result: Result) -> str:
    """Why an item failed, with options spelled as flags."""
    error: ImpastoError | None = result.error
    return result.problem.replace(str(error), worded(error), 1) if error else result.problem


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Status], None]]:
    """Show how far a batch is: a bar on a terminal, elsewhere a line every few seconds."""
    from rich.console import Console

    said = time.monotonic()
    if quiet or not Console(file=console.standard_error()).is_terminal:

        def line(status: Status) -> None:
            nonlocal said
            if time.monotonic() - said >= console.PLAIN_EVERY:
                said = time.monotonic()
                note(f"{status.done / status.items:.0%}, {describe(status)}", quiet=quiet)

        yield line
        return
    with console.bar("starting the workers", 1.0) as update:
        yield lambda status: update(status.done / status.items, escaped(describe(status)))


def describe(status: Status) -> str:
    """How far a batch is, in one line."""
    left = "estimating" if status.left is None else f"{seconds(status.left)} left"
    rate = "" if status.rate is None else f"  {status.rate:.3g} images a minute"
    failed = f"  {status.failed} failed" if status.failed else ""
    return f"{left}  {status.painted + status.kept} of {status.items}{rate}{failed}"
