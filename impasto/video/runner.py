"""Running a video job: from a clip to a painted clip, as an iterator of events."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from impasto import files
from impasto.errors import OutputError, PictureError, RunError, StateFileError
from impasto.files import printable
from impasto.jobs import signals
from impasto.jobs.events import Failed, Frame, Note, Preview, Saved
from impasto.jobs.lock import alone, how_to_resume
from impasto.jobs.signals import INTERRUPTED
from impasto.video.job import Video
from impasto.video.workspace import PART, Card, Workspace

if TYPE_CHECKING:  # torch takes a second to load: an output that cannot be written is reported before
    from impasto.stylizer import Stylizer
    from impasto.video.moments import Moment
    from impasto.video.session import Session

Event: TypeAlias = Note | Frame | Preview | Saved | Failed
Times: TypeAlias = list[tuple[Fraction, Fraction]]  # of each frame: when it is shown, and for how long, in seconds

FIRST_SECONDS = 2  # of a preview
LONG = 180  # seconds that are said in minutes
GIGABYTE = 10**9  # bytes that are said in gigabytes


def run(
    video: Video, stylizer: Stylizer | None = None, *, resume: bool = True, estimate: bool = False
) -> Generator[Event, None, None]:
    """Paint a clip. The last event is Saved or Failed.

    stylizer: one with the job's options, to use its encoder; None loads one. resume: continue an interrupted run of the same job, if
    its folder is there; without it such a folder is an error, or replaced if the output may be overwritten. estimate: first say in a
    Note how many frames there are, and the time and memory they take, which takes some seconds itself. Closing the iterator cancels;
    every painted frame is kept, and the run resumes from there with the same result. Raises UsageError and MissingWeightsError before
    anything is written.
    """
    target = video.output.path
    if not target.name:
        raise OutputError(f"{printable(target)} is a directory", remedy="name a file in it")
    with alone(target):
        card = _unfinished(video, resume=resume)
        if card is not None and Workspace.finished(target, card):
            yield _finished_before(video, card)
            return
        if card is None or not _may_replace(video, card):
            video.check()
        yield from _events(video, stylizer, card, estimate and card is None)


def finish_early(video: Video, stylizer: Stylizer | None = None) -> Saved | None:
    """End an interrupted run: write what is painted from the first frame on, up to the first gap, and remove the rest.

    The sound ends with the frames. Returns None where not even the first frame is painted; then nothing is written. Raises
    OutputError if a run writes the output at the moment, StateFileError as for a run that cannot be resumed, SaveError.
    """
    with alone(video.output.path):
        card = _unfinished(video, resume=True)
        if card is None:
            return None
        from impasto.compute import settings

        with settings.default_settings():
            return _join_what_is_painted(video, stylizer, card)


def _join_what_is_painted(video: Video, stylizer: Stylizer | None, card: Card) -> Saved | None:
    from impasto.video.finish import finish, settings
    from impasto.video.session import Session

    session = Session.of(video, stylizer, card)
    workspace = session.workspace(card)
    times = session.times()
    found = times[: workspace.whole_from_start]
    if not found:
        workspace.remove()
        return None
    time, duration = found[-1]
    shown = replace(video.window, end=session.clip.start(video.window) + time + duration)
    with signals.ignored():
        done = len(found) / len(times)
        stored = settings(session, len(found), card.seconds, done) if video.output.metadata else {}
        written = finish(session, workspace, found, stored, shown)
        workspace.remove()
    height, width = session.size
    problem = "" if len(found) == len(times) else f"ended early, with {len(found)} of {len(times)} frames"
    code = INTERRUPTED if problem else 0
    notes = (*session.notes, *written.notes)
    return Saved(written.path, width, height, card.seconds, settings=stored, notes=notes, problem=problem, exit_code=code)


def _unfinished(video: Video, *, resume: bool) -> Card | None:
    """The card of an interrupted run of the same job. Raises OutputError for one of another job, and StateFileError."""
    target = video.output.path
    if not Workspace.there(target):
        return None
    try:
        card = Workspace.read(target)
    except StateFileError:
        if video.output.overwrite:
            return None
        raise
    if resume and video.same_as(card.job):
        return card
    if video.output.overwrite:
        return None
    whose = "an unfinished run" if video.same_as(card.job) else "an unfinished run of another job"
    raise OutputError(
        f"{printable(target)} belongs to {whose}: {how_to_resume(target)}", remedy="use {overwrite} to start again"
    )


def _finished_before(video: Video, card: Card) -> Saved:
    """Clean up after a run that was killed when its output was there."""
    from impasto import clips
    from impasto.jobs.lock import state_of

    height, width = clips.open_clip(video.output.path, max_pixels=video.options.max_pixels).size
    shutil.rmtree(state_of(video.output.path), ignore_errors=True)
    return Saved(video.output.path, width, height, card.seconds)


def _may_replace(video: Video, card: Card) -> bool:
    """Whether the output is the one that the interrupted run was allowed to replace."""
    return bool(card.mine) and files.digest(video.output.path) == card.mine


def _events(video: Video, stylizer: Stylizer | None, card: Card | None, estimate: bool) -> Iterator[Event]:
    started = time.monotonic()
    from impasto.compute import settings
    from impasto.video.session import Session

    def events() -> Generator[Event, None, None]:
        session = Session.of(video, stylizer, card)
        if estimate:
            yield Note(_in_words(session))
        yield from _Run(video, session, session.workspace(card), started).events()

    yield from settings.each_step(events())


def _in_words(session: Session) -> str:
    """The plan of a job in a sentence."""
    from impasto.video.plan import plan_of

    found = plan_of(session)
    height, width = found.size
    memory = f"{found.memory / 1e9:.1f} GB" if found.memory >= GIGABYTE else f"{found.memory / 1e6:.0f} MB"
    minutes = f"{found.seconds / 60:.0f} min" if found.seconds > LONG else f"{found.seconds:.0f} s"
    return f"about {found.frames} frames of {width}x{height} in about {minutes}, with about {memory} of memory"


@dataclass
class _Run:
    """A clip being painted. started: by the monotonic clock."""

    video: Video
    session: Session
    workspace: Workspace
    started: float

    def __post_init__(self) -> None:
        card = self.workspace.card
        self.earlier = card.seconds  # of work, before this process
        self.previews = self.video.output.preview and not card.painted

    def events(self) -> Iterator[Event]:
        """Paint, then join the parts."""
        yield from map(Note, self.session.notes)
        times: Times = []
        try:
            yield from self._paint(times)
            yield from self._finish(times)
        except KeyboardInterrupt as stopped:
            yield self._failed(*signals.how_stopped(stopped))
        except RunError as error:
            yield self._failed(str(error), error.exit_code, error)

    def _seconds(self) -> float:
        return round(self.earlier + time.monotonic() - self.started, 2)

    def _failed(self, problem: str, code: int, error: RunError | None = None) -> Failed:
        with contextlib.suppress(RunError, OutputError):
            self.workspace.save(seconds=self._seconds())
        card = self.workspace.card
        kept = f"{card.painted} of {card.frames} frames are painted; {how_to_resume(self.video.output.path)}"
        return Failed(f"{problem}; {kept}", code, error)

    def _paint(self, times: Times) -> Iterator[Event]:
        workspace = self.workspace
        for one in self.session.painter.paint(self._moments(times), workspace.kept):
            card, fresh = workspace.card, not workspace.has(one.number)
            if fresh:
                workspace.store(one.number, one.image)
            if fresh or one.needs > card.needs:
                workspace.save(needs=max(one.needs, card.needs), painted=card.painted + fresh, seconds=self._seconds())
            if fresh:
                painted = workspace.card.painted
                of = max(card.frames, painted)
                yield Frame(painted, of, painted / of, workspace.frame_file(one.number))
            if fresh and one.number == 0 and self.previews:
                yield self._still()
            if self.session.kind.is_film:
                yield from self._encode(times)

    def _moments(self, times: Times) -> Iterator[Moment]:
        """The frames that are still needed. times: gets those of all frames that are read; those before are encoded already."""
        from impasto.video.moments import moments

        card = self.workspace.card
        first = min(card.needs, card.encoded) if self.session.kind.is_film else 0
        times.extend([(Fraction(0), Fraction(0))] * first)
        return moments(frame for frame in self.session.frames(first, times) if frame[0] >= card.needs)

    def _encode(self, times: Times) -> Iterator[Preview]:
        """Encode the next part if all of its frames are painted."""
        workspace = self.workspace
        last = workspace.card.encoded + PART
        while last < len(times) and all(map(workspace.has, range(last - PART, last))):
            workspace.encode_up_to(last, times)
            if self.previews and times[last][0] >= FIRST_SECONDS:
                self.previews = False
                from impasto.video.finish import finish_preview

                yield Preview(finish_preview(self.session, workspace), last)
            last += PART

    def _still(self) -> Preview:
        target = self.video.output.path
        file = target.with_name(f"{target.stem}-preview.png")
        files.write(file, self.workspace.frame_file(0).read_bytes(), overwrite=True)
        return Preview(file, 0)

    def _finish(self, times: Times) -> Iterator[Event]:
        from impasto.video.finish import finish, settings

        session, workspace = self.session, self.workspace
        if not times:
            workspace.remove()
            raise PictureError(f"clip {printable(self.video.clip)} has no frames in this part of it")
        with signals.ignored():
            stored = settings(session, len(times), self._seconds()) if self.video.output.metadata else {}
            written = finish(session, workspace, times, stored)
            workspace.remove()
        late = tuple(note for note in (*session.clip.notes, *written.notes) if note not in session.notes)
        yield from map(Note, late)
        height, width = session.size
        yield Saved(written.path, width, height, self._seconds(), settings=stored, notes=(*session.notes, *late))
