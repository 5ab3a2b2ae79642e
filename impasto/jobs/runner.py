"""Running a job: from inputs to a file, as an iterator of events."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from impasto import files
from impasto.errors import DivergenceError, OutputError, RunError, SaveError, StateFileError
from impasto.extras import has_torch, needs_torch
from impasto.files import printable
from impasto.jobs import places, signals
from impasto.jobs.checks import check, same_job
from impasto.jobs.events import Event, Failed, Note, Progress, Saved
from impasto.jobs.job import BYTE_DEPTH, Job
from impasto.jobs.lock import alone, state_of

if TYPE_CHECKING:  # torch takes a second to load: an output that cannot be written is reported before
    from PIL import Image

    from impasto.inputs import Inputs
    from impasto.jobs.keeper import Keeper
    from impasto.jobs.recorder import Recorder
    from impasto.jobs.records import Previous, Record
    from impasto.jobs.unfinished import Card
    from impasto.optimize import Step
    from impasto.pictures import Words
    from impasto.session import Session
    from impasto.stylizer import Stylizer


@dataclass(frozen=True)
class Prepared:
    """What a caller with many jobs has done for all of them.

    loaded: the job's inputs, already read. limit: bytes of memory for this job; None for what is free. A caller that passes it is the
    only one that writes to the output's folder, so that the job needs no lock of its own.
    """

    loaded: Inputs
    limit: int | None = None


def run(
    job: Job,
    stylizer: Stylizer | None = None,
    *,
    resume: bool = True,
    previous: Previous | None = None,
    prepared: Prepared | None = None,
) -> Generator[Event, None, None]:
    """Run a job. The last event is Saved or Failed.

    stylizer: one with the job's options, to use its encoder; None loads one. resume: continue an interrupted run of the same job,
    if its state is there; without it such a state is an error, or replaced if the output may be overwritten. previous: the image
    that is made again. prepared: by a caller with many jobs. Closing the iterator cancels the job and saves its state, from which
    the job resumes. Ctrl-C, and errors of the run, save the best image so far too. Raises UsageError, MissingWeightsError and
    MemoryLimitError before anything is written, and SaveError if the image cannot be written.
    """
    target, card = job.output.path, None
    if prepared is None:
        job.inputs.check()
    if target is None:
        yield from _events(job, stylizer, previous, prepared)
        return
    if not target.name:
        raise OutputError(f"{printable(target)} is a directory", remedy="name a file in it")
    with contextlib.nullcontext() if prepared else alone(target):
        if resume:
            card = _unfinished(job, target)
        check(job, card)
        yield from _events(job, stylizer, previous, prepared, card)


def _unfinished(job: Job, target: Path) -> Card | None:
    """What the state of an interrupted run says; None if there is none, or none of this job that `overwrite` leaves."""
    if not state_of(target).exists():
        return None
    from impasto.jobs import unfinished

    try:
        card = unfinished.read(state_of(target))
    except StateFileError:
        if job.output.overwrite:
            return None
        raise
    return None if job.output.overwrite and not same_job(card, job) else card


def _events(
    job: Job, stylizer: Stylizer | None, previous: Previous | None, prepared: Prepared | None, card: Card | None = None
) -> Iterator[Event]:
    if not has_torch():
        from impasto.jobs import torchless

        if card is not None:
            raise needs_torch("resuming a run")
        yield from torchless.events(job, previous)
        return
    started = time.monotonic()
    from impasto.compute import settings

    def events() -> Generator[Event, None, None]:
        yield from _start(started, job, stylizer, previous, prepared, card).events()

    yield from settings.each_step(events())


def _start(
    started: float,
    job: Job,
    stylizer: Stylizer | None,
    previous: Previous | None,
    prepared: Prepared | None,
    card: Card | None,
) -> _Session:
    """Load the inputs, and the state if there is one. Raises StateFileError if it would not end as the interrupted run."""
    from impasto import pictures
    from impasto.jobs import making, records
    from impasto.stylizer import Stylizer

    stylizer = stylizer or Stylizer(job.options, weights=job.inputs.weights)
    loaded, limit = (prepared.loaded, prepared.limit) if prepared else (job.inputs.load(job.options.max_pixels), None)
    if card is not None:
        before = records.record_of(card.settings, "the state of the run")
        run, notes = stylizer.paint(loaded, before.memory), list[str]()
    else:
        run, notes = _planned(stylizer.paint(loaded, limit), previous.record.memory if previous else 0)
    record = making.begin(run, loaded, keep_exif=job.output.keep_exif, depth=job.output.depth)
    notes = [*stylizer.notes, *run.problem.notes, *notes]
    if job.output.path is not None:
        mine = card is not None and card.may_replace(job.output.path)
        pictures.check_output(job.output.path, overwrite=job.output.overwrite or mine, size=run.problem.size)
    if card is not None:
        notes += _resume(job, run, card, record)
    elif previous is not None:
        notes += previous.differences(record)
    return _Session(job, run, loaded, record, card or _card(job, run, record), notes, started, previous)


def _planned(run: Session, memory: int) -> tuple[Session, list[str]]:
    """The run as the image was planned that it makes again, since the last bits depend on blocks; and notes.

    memory: bytes it was planned for; 0 if unknown. Where that is more than there is now, the run stays as it is, with a note.
    """
    from impasto.run import Run

    if not isinstance(run, Run) or not memory or run.problem.options.memory_limit:
        return run, []
    earlier = Run(run.problem, memory, run.more_terms, run.start_at)
    plans = [(earlier.plan(scale.size), run.plan(scale.size)) for scale in run.scales]
    if all((was.side, was.pairs) == (now.side, now.pairs) for was, now in plans):
        return run, []
    if all(was.peak <= run.limit for was, _ in plans):
        earlier.network = run.network
        return earlier, []
    return run, [
        f"it was computed with {memory / 1e9:.1f} GB of memory, and {run.limit / 1e9:.1f} GB are free: the last bits may differ"
    ]


def _card(job: Job, run: Session, record: Record) -> Card | None:
    """What the state of a new run says; None for a job that cannot be stored, and for a painter that needs no state."""
    from impasto.jobs import records, unfinished
    from impasto.run import Run

    target = job.output.path
    if target is None or not job.storable or not isinstance(run, Run):
        return None
    replaced = files.digest(target) if job.output.overwrite else ""
    return unfinished.Card(
        job=job.to_json(),
        settings=records.settings(run.problem.options) | record.stored(),
        scales=_scales(run) or ((*run.problem.size, 1),),
        mine=(replaced,) if replaced else (),
    )


def _scales(run: Session) -> tuple[tuple[int, int, int], ...]:
    return tuple((*scale.size, scale.steps) for scale in run.scales)


def _resume(job: Job, run: Session, card: Card, record: Record) -> Iterator[str]:
    """Have the run start from its state. Yields notes."""
    from impasto.jobs import records, states
    from impasto.run import Run

    file = state_of(job.output.path or Path())
    if not isinstance(run, Run):
        raise StateFileError(f"{printable(file)} cannot be resumed: quality 'instant' keeps no state")
    previous = records.Previous(file, card.settings, records.record_of(card.settings, printable(file)))
    threads = previous.record.threads
    if threads != record.threads:
        yield f"the run continues on {record.threads} threads and started on {threads}: the last bits may differ"
    for difference in previous.differences(record.model_copy(update={"threads": threads})):
        raise StateFileError(f"{printable(file)} cannot be resumed: {difference}")
    found, state = states.load(file, run.problem.device)
    if found != card or card.scales != _scales(run):
        raise StateFileError(f"{printable(file)} has changed meanwhile, or belongs to other inputs")
    if state.ahead is None and state.step < card.scales[state.scale - 1][2]:
        yield "this run was too large to save the optimizer's state; it resumes, but the result will differ slightly"
    run.resume(state)


@dataclass(frozen=True)
class _Problem:
    """What cut a run short. error: None for an interruption."""

    text: str
    code: int
    error: RunError | None = None

    @property
    def hopeless(self) -> bool:
        """Whether resuming would only lead there again."""
        return isinstance(self.error, DivergenceError)


@dataclass
class _Session:
    """A running job and what it saves. card: of its state; None if it keeps none. started: by the monotonic clock."""

    job: Job
    run: Session
    loaded: Inputs
    record: Record
    card: Card | None
    notes: list[str]
    started: float
    previous: Previous | None

    def events(self) -> Iterator[Event]:
        """Paint, then save."""
        with contextlib.ExitStack() as stack:
            keeper, recorder = self._helpers(stack)
            if self.job.output.keep_exif and not self.loaded.photo.exif:
                self.notes.append("the photograph has no EXIF that could be kept")
            yield from map(Note, self.notes)
            problem = None
            try:
                preview = recorder.before_steps() if recorder else None
                if preview:
                    yield preview
                for step in self.run:
                    yield from self._after_step(step, keeper, recorder)
            except KeyboardInterrupt as stopped:
                problem = _Problem(*signals.how_stopped(stopped))
            except RunError as error:
                problem = _Problem(str(error), error.exit_code, error)
            except BaseException as error:  # a bug, or the iterator was closed
                if keeper:
                    keeper.save()
                    if keeper.there and isinstance(error, Exception):
                        yield Note(keeper.how)
                raise
            if problem and self.run.last is None:
                written = "only a preview" if recorder and recorder.looked else "nothing"
                yield Failed(f"{problem.text}; {written} was written", problem.code, problem.error)
                return
            known = len(self.notes)
            with signals.ignored():
                saved = self._save(problem, keeper, recorder)
            yield from map(Note, self.notes[known:])
            yield saved

    def _helpers(self, stack: contextlib.ExitStack) -> tuple[Keeper | None, Recorder | None]:
        """The objects that save states, previews and frames. Both need an output file."""
        from impasto.jobs.keeper import Keeper
        from impasto.jobs.recorder import Recorder
        from impasto.run import Run

        target, card, run = self.job.output.path, self.card, self.run
        if target is None:
            return None, None
        recorder = Recorder(run, target, self.job.output, stack)
        self.notes += [recorder.note] if recorder.note else []
        if card is None or not isinstance(run, Run):
            return None, recorder
        spent = time.monotonic() - self.started
        return Keeper(run, target, card.model_copy(update={"seconds": card.seconds + spent})), recorder

    def _after_step(self, step: Step, keeper: Keeper | None, recorder: Recorder | None) -> Iterator[Event]:
        if self.job.output.path is not None:
            places.make_again(self.job.output.path.parent)
        try:
            preview = recorder.after_step(step) if recorder else None
            if preview:
                yield preview
        except OutputError as error:  # no reason to end the run
            yield self._noted(str(error))
        note = keeper.after_step() if keeper else ""
        if note:
            yield self._noted(note)
        yield _progress(step)

    def _noted(self, text: str) -> Note:
        self.notes.append(text)
        return Note(text)

    def _save(self, problem: _Problem | None, keeper: Keeper | None, recorder: Recorder | None) -> Saved:
        """Write the image, and a film of it."""
        from impasto.jobs import making, records

        run, output, previous = self.run, self.job.output, self.previous
        seconds = keeper.seconds if keeper else time.monotonic() - self.started
        image = run.image()
        record = making.finish(self.record, run, image, seconds, whole=not problem)
        record = making.repeatable(record, run) if output.repeatable else record
        compared = previous.compared(image, record) if previous and not problem else ""
        stored = records.settings(run.problem.options) | (previous.settled(record) if previous else record).stored()
        settings = stored if output.metadata else None
        exact = run.words() if output.depth > BYTE_DEPTH else image
        path, data = self._write(exact, settings, keeper, whole=not problem)
        if recorder:
            try:
                with _with_resume_hint(keeper):
                    recorder.finish()
            except OutputError as error:  # the image is written
                self.notes.append(str(error))
        if keeper and (not problem or problem.hopeless):
            keeper.remove()
        return Saved(
            path=path,
            data=data,
            width=image.width,
            height=image.height,
            seconds=round(seconds, 2),
            losses=record.losses,
            settings=stored,
            notes=tuple(self.notes),
            compared=compared,
            problem=f"{problem.text}{_how_far(run)}" if problem else "",
            error=problem.error if problem else None,
            resume=keeper.how if keeper and problem else "",
            exit_code=problem.code if problem else 0,
        )

    def _write(
        self, image: Image.Image | Words, settings: dict[str, object] | None, keeper: Keeper | None, *, whole: bool
    ) -> tuple[Path | None, bytes]:
        """Write under the output's name, or where `places.write` finds a place.

        Returns that name; for a job without a file the bytes. Raises SaveError, which says how to try again.
        """
        from impasto import pictures

        output, target = self.job.output, self.job.output.path
        exif = self.loaded.photo.exif if output.keep_exif else None
        if target is None:
            data, notes = pictures.encode(image, output.suffix, settings=settings, exif=exif)
            self.notes += notes
            return None, data
        announce = partial(keeper.announce, whole=whole) if keeper else len

        def save(name: Path, overwrite: bool) -> tuple[str, ...]:
            with _with_resume_hint(keeper):
                return pictures.save(image, name, settings=settings, exif=exif, overwrite=overwrite, announce=announce)

        def may_replace(name: Path) -> bool:
            return output.overwrite or (keeper is not None and keeper.card.may_replace(name))

        written = places.write(target, save, may_replace)
        self.notes += written.notes
        return written.path, b""


def _how_far(run: Session) -> str:
    """Words such as " at 40%, still at 256x170 and enlarged"."""
    step = run.last
    if step is None:
        return ""
    height, width = step.image.shape[-2:]
    small = (height, width) != run.problem.size
    return f" at {step.done:.0%}" + (f", still at {width}x{height} and enlarged" if small else "")


def _progress(step: Step) -> Progress:
    height, width = step.image.shape[-2:]
    numbers = {name: value for name, value in vars(step).items() if name not in ("image", "total", "losses")}
    return Progress(**numbers, losses=dict(step.losses), width=width, height=height)


@contextlib.contextmanager
def _with_resume_hint(keeper: Keeper | None) -> Iterator[None]:
    """Have a SaveError say how to try again."""
    try:
        yield
    except SaveError as error:
        if keeper:
            keeper.save()
        if not (keeper and keeper.there):
            raise
        raise SaveError(f"{error}; {keeper.how}") from error
