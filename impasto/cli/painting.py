"""Painting one picture, for every command that does: from the pictures' names to a file and the words about it."""

from __future__ import annotations

import itertools
import json
import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.cli.console import fail, follow, note, refuse_address, seconds, tell, worded
from impasto.errors import DivergenceError, OutputError, RunError, SaveError, StateFileError
from impasto.files import printable
from impasto.options import Options, Output

if TYPE_CHECKING:
    from PIL import Image

    from impasto.cli.keeping import Keeper
    from impasto.cli.making import Making
    from impasto.optimize import Step
    from impasto.pictures import Kept
    from impasto.records import Earlier, Made
    from impasto.states import Card
    from impasto.stylizer import Run

ASSETS = Path(__file__).parent.parent / "assets"


@dataclass(frozen=True)
class Unfinished:
    """A run to go on with: what its state says, and its picture's record as far as it goes."""

    card: Card
    record: Earlier


def paint_picture(
    photo: Path,
    styles: tuple[Path, ...],
    default: Path,
    output: Output,
    options: Options,
    earlier: Earlier | None = None,
    unfinished: Unfinished | None = None,
) -> int:
    """Paint and save. Returns the exit code.

    default: where to, if the output names no file. earlier: the picture that is made again. unfinished: the run to go on with.
    """
    began = time.monotonic()
    for file in (photo, *styles):
        refuse_address(file)
    # only now: torch takes a second to load, and help and usage errors need not wait for it
    from impasto import records, states
    from impasto.cli.keeping import stoppable
    from impasto.stylizer import Stylizer

    run = Stylizer(options).run(photo, styles)
    target = output.output or default
    if output.dry_run:
        return _tell_plan(run, target, output)
    with stoppable(), states.alone(target):
        _check_target(run, target, output, unfinished)
        sources = records.sources(photo, styles, options)
        _spare_inputs(target, sources.values(), output)
        made = records.begin(run, sources, keep_exif=output.keep_exif)
        if unfinished:
            _go_on(run, target, unfinished, made, quiet=output.quiet)
        card = unfinished.card if unfinished else _card(run, target, output, sources, made)
        job = _Job(run, target, output, made, card, earlier)
        return job.paint(sources["photo"], time.monotonic() - began)


def _tell_plan(run: Run, target: Path, output: Output) -> int:
    """Say what painting would make and take. Returns the exit code."""
    from impasto.forecast import forecast

    plan, took = run.plan(run.size), forecast(run)
    how = "all at once" if plan.side is None else f"in blocks of {plan.side} pixels"
    history = {"memory": "memory", "half": "memory, as bf16", "disk": f"files in {tempfile.gettempdir()}"}[plan.history]
    width, height, steps = run.size[1], run.size[0], sum(scale.steps for scale in run.scales)
    precision = "bf16" if run.encoder.dtype.itemsize == 2 else "fp32"
    if not output.quiet:
        print(
            f"{printable(target)} would be {width}x{height}, painted in {steps} steps at {len(run.scales)} sizes with {precision}"
        )
        print(f"its losses are computed {how}, and the optimiser's history is kept in {history}")
        print(f"that takes about {plan.peak / 1e9:.1f} GB of memory and {seconds(took)}", flush=True)
    if output.json_line:
        told = {
            "side": plan.side,
            "history": plan.history,
            "precision": precision,
            "bytes": plan.peak,
            "seconds": round(took, 1),
        }
        print(json.dumps({"output": str(target), "width": width, "height": height, "steps": steps} | told | {"exit_code": 0}))
    return 0


def _check_target(run: Run, target: Path, output: Output, unfinished: Unfinished | None) -> None:
    """Raise OutputError where the picture may not be written, and where that would lose an unfinished one."""
    from impasto import pictures, states

    state = states.place(target)
    if not (unfinished or output.overwrite) and state.exists():
        raise OutputError(
            f"{printable(state)} is that of an unfinished run: {how_to_go_on(target)} goes on with it, --overwrite starts anew"
        )
    mine = unfinished is not None and unfinished.card.may_replace(target)
    pictures.check_output(target, overwrite=output.overwrite or mine, size=run.size)


def how_to_go_on(target: Path) -> str:
    """The command, in words."""
    return f"`impasto resume {shlex.quote(printable(target))}`"


def _card(run: Run, target: Path, output: Output, sources: Mapping[str, Path], made: Made) -> Card:
    """What the state of a new run says."""
    import torch

    from impasto import states

    kept = output.model_dump(mode="json", include={"no_metadata", "keep_exif", "preview"})
    replaced = states.digest(target) if output.overwrite else ""
    return states.Card(
        settings=run.options.model_dump(mode="json") | run.settings() | made.stored(),
        paths={name: str(file.absolute()) for name, file in sources.items()},
        output=kept | {"frames": str(output.frames.absolute()) if output.frames else None},
        threads=torch.get_num_threads(),
        limit=run.limit,
        scales=tuple((*scale.size, scale.steps) for scale in run.scales) or ((*run.size, 1),),
        mine=(replaced,) if replaced else (),
    )


def _go_on(run: Run, target: Path, unfinished: Unfinished, made: Made, *, quiet: bool) -> None:
    """Have the run start from the state. Raises StateFileError where it would not end as it would have."""
    import torch

    from impasto import states

    file = states.place(target)
    for word in unfinished.record.differences(made):
        raise StateFileError(f"{printable(file)} cannot be gone on with: {word}")
    card, state = states.load(file, run.device)
    if card != unfinished.card or card.scales != tuple((*scale.size, scale.steps) for scale in run.scales):
        raise StateFileError(f"{printable(file)} is not what it was a moment ago, or not of these pictures")
    if card.threads != torch.get_num_threads():
        words = f"on {torch.get_num_threads()} threads, where it began on {card.threads}: the last bits may differ"
        note(f"it goes on {words}", quiet=quiet)
    if state.ahead is None and state.step < card.scales[state.scale - 1][2]:
        note(
            "so large a run is saved without the optimiser's memory: it goes on, but not to the very same picture", quiet=quiet
        )
    run.go_on(state, card.limit)


@dataclass
class _Job:
    """One picture on its way into its file."""

    run: Run
    target: Path
    output: Output
    made: Made
    card: Card
    earlier: Earlier | None

    def paint(self, photo: Path, spent: float) -> int:
        """Paint, save and say what became of it. photo: for its EXIF; spent: seconds so far. Returns the exit code."""
        from impasto import records
        from impasto.cli.keeping import Keeper, unhurried
        from impasto.cli.making import making

        run, output, earlier = self.run, self.output, self.earlier
        exif = self._exif(photo)
        card = self.card.model_copy(update={"seconds": self.card.seconds + spent})
        keeper = Keeper(run, self.target, card, quiet=output.quiet)
        with making(run, self.target, output) as watch:
            for word in (*run.notes, *(earlier.differences(self.made) if earlier else ())):
                note(word, quiet=output.quiet)

            def watched(step: Step) -> None:
                watch(step)
                keeper(step)

            with keeper.whatever_happens():
                problem = _follow(run, watched, quiet=output.quiet)
            if problem and run.last is None:
                return _report_failure(problem, output)
            with unhurried():
                took, image = keeper.seconds, run.image()
                made = records.finish(self.made, run, image, took, whole=not problem)
                compared = earlier.compared(image, made) if earlier and not problem else ""
                stored = run.settings() | (earlier.settled(made) if earlier else made).stored()
                target = self._save(image, None if output.no_metadata else stored, exif, keeper, whole=not problem)
                self._film(watch, keeper)
                if not problem or problem.hopeless:
                    keeper.remove()
        return _report(run, target, took, problem, output, compared, keeper.how)

    def _film(self, making: Making, keeper: Keeper) -> None:
        """Make the film, if one was asked for. Raises SaveError, which says how to try again."""
        try:
            making.finish()
        except SaveError as error:
            raise SaveError(f"{worded(error)}; {keeper.how}" if keeper.there else worded(error)) from error

    def _exif(self, photo: Path) -> Kept:
        """What is kept of the photograph's EXIF."""
        if not self.output.keep_exif:
            return {}
        exif = self.run.photo.exif
        if not exif:
            note(f"photograph {printable(photo)} has no EXIF that could be kept", quiet=self.output.quiet)
        return exif

    def _save(self, image: Image.Image, settings: dict[str, object] | None, exif: Kept, keeper: Keeper, *, whole: bool) -> Path:
        """Save under the output's name, or under the next free one if a file has appeared there while we painted.

        Returns the name. Raises SaveError, which says how to try again.
        """
        from impasto import pictures

        name, announce = self.target, partial(keeper.announce, whole=whole)
        for number in itertools.count(2):
            overwrite = self.output.overwrite or (name == self.target and keeper.card.may_replace(name))
            try:
                notes = pictures.save(image, name, settings=settings, exif=exif, overwrite=overwrite, announce=announce)
            except OutputError:
                if overwrite or not name.exists():
                    raise
                name = self.target.with_name(f"{self.target.stem}-{number}{self.target.suffix}")
            except SaveError as error:
                keeper.save()
                raise SaveError(f"{worded(error)}; {keeper.how}" if keeper.there else worded(error)) from error
            else:
                break
        for word in notes:
            note(word, quiet=self.output.quiet)
        return name


def _spare_inputs(target: Path, inputs: Iterable[Path], output: Output) -> None:
    """Raise OutputError if a file to write is one of the inputs, even with --overwrite: nobody means to lose the photograph."""
    from impasto.cli.making import replaces

    for file in inputs:
        if target.exists() and file.exists() and target.samefile(file):
            raise OutputError(f"output {target} is the input {file} itself; choose another name")
        if replaces(output, target, file):
            raise OutputError(f"a frame or a preview would replace the input {printable(file)}; choose another name")


@dataclass(frozen=True)
class Problem:
    """What cut a run short. hopeless: whether going on would only lead there again."""

    message: str
    code: int
    hopeless: bool = False


def _follow(run: Run, watch: Callable[[Step], None], *, quiet: bool) -> Problem | None:
    """Paint to the end, letting `watch` see every step. Returns what cut it short, or None."""
    from impasto.cli.keeping import how_stopped

    def watched() -> Iterator[Step]:
        for step in run:
            watch(step)
            yield step

    try:
        follow(watched(), quiet=quiet)
    except KeyboardInterrupt as stopped:
        return Problem(*how_stopped(stopped))
    except RunError as error:
        return Problem(worded(error), error.exit_code, hopeless=isinstance(error, DivergenceError))
    return None


def _report_failure(problem: Problem, output: Output) -> int:
    return fail(f"{problem.message}; nothing was written", problem.code, as_json=output.json_line)


def _report(run: Run, target: Path, took: float, problem: Problem | None, output: Output, compared: str, how: str) -> int:
    size, code = f"{run.size[1]}x{run.size[0]}", problem.code if problem else 0
    if problem:
        more = f"; {how}" if how else ""
        fail(f"{problem.message}{_how_far(run)}; the best picture so far is in {target}{more}", code)
    elif not output.quiet:
        tell(f"wrote {target} ({size}) in {seconds(took)}" + (f": {compared}" if compared else ""))
    if output.json_line:
        more_words = ({"compared": compared} if compared else {}) | ({"error": problem.message} if problem else {})
        tell(json.dumps(_summary(run, target, took) | more_words | {"exit_code": code}))
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
