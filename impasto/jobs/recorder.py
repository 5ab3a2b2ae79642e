"""What is kept of an image's making: previews every so many steps, and frames for a folder, a GIF or an MP4."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from impasto import files, pictures
from impasto.errors import OutputError, SaveError
from impasto.jobs import events, film
from impasto.jobs.job import Output, check_frames, preview_of
from impasto.jobs.lock import alone, state_of
from impasto.jobs.look import first_look
from impasto.jobs.places import make_again
from impasto.ladder import share_done
from impasto.optimize import Step
from impasto.session import Session

MOST_FRAMES = 120  # of a making-of: 10 seconds at 12 frames a second


class Recorder:
    """Saves previews and frames. note: for the user, if the frames are incomplete. looked: whether the preview of step 0 was saved.

    A run that resumes continues its previews and its frames. Raises OutputError before anything is done.
    """

    def __init__(self, run: Session, target: Path, output: Output, stack: contextlib.ExitStack) -> None:
        """stack: closed at the end of the job, however it ends."""
        self.run, self.target, self.every = run, target, output.preview
        self.overwrite = output.overwrite or run.state is not None
        self.frames: Frames | None = None
        self.note = ""
        self.look, self.looked = (first_look(run) if self.every else None), False
        for count in ([0] if self.look else []) + ([self.every] if self.every else []):
            pictures.check_output(preview_of(target, count), overwrite=self.overwrite)
        if output.frames:
            if output.frames.suffix:
                stack.enter_context(alone(output.frames))
            frames = Frames(run, target, output.frames, overwrite=self.overwrite)
            if frames.lost:
                place = files.printable(output.frames)
                self.note = f"{place} will not be written: the frames from before the interruption are missing"
            else:
                self.frames = frames
                stack.callback(frames.tidy)

    def before_steps(self) -> events.Preview | None:
        """Save the first look, if there is one, as the preview of step 0. Returns its event."""
        image = self.look.image() if self.look else None
        if image is None:
            return None
        path = preview_of(self.target, 0)
        pictures.save(image, path, overwrite=self.overwrite)
        self.look, self.looked = None, True
        return events.Preview(path, 0)

    def after_step(self, step: Step) -> events.Preview | None:
        """Save what is due. Returns the event of a preview."""
        if self.frames:
            self.frames.after_step(step)
        if self.every and step.count % self.every == 0:
            path = preview_of(self.target, step.count)
            pictures.save(self.run.image(), path, overwrite=self.overwrite)
            return events.Preview(path, step.count)
        return None

    def finish(self) -> None:
        """Write a film of the frames. Raises SaveError."""
        if self.frames:
            self.frames.finish()


class Frames:
    """Keeps at most MOST_FRAMES images, spread evenly over the work, in a folder, and makes them a film if asked.

    The folder of a film is next to it, named like a state; it is kept as long as the run has a state to resume from.
    """

    def __init__(self, run: Session, target: Path, place: Path, *, overwrite: bool) -> None:
        self.run, self.target, self.place, self.overwrite = run, target, place, overwrite
        self.kind = place.suffix.lower()
        self.folder = state_of(place) if self.kind else place
        self.count, self.next = 0, 0.0
        self.new = False  # whether this run made the folder
        film.check_possible(self.kind)
        check_frames(place, overwrite=overwrite)
        if not self.kind:
            self._make_folder()
        for done in _shares_before(run):
            self.count += self._due(done)

    @property
    def lost(self) -> bool:
        """Whether frames of a film are missing that the run kept before it was interrupted."""
        return bool(self.kind) and not all(self._file(number).exists() for number in range(1, self.count + 1))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:04}.png"

    def _make_folder(self) -> None:
        try:
            self.new = not self.place.exists()
            self.place.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{files.printable(self.place)} cannot be used for frames: {files.reason(error)}") from error

    def after_step(self, step: Step) -> None:
        """Keep the image if enough work was done since the last frame."""
        if self._due(step.done):
            self._keep(self.run.image())

    def _due(self, done: float) -> bool:
        """Whether a frame is kept after this share of the work."""
        due = done >= self.next or done >= 1
        if due:
            self.next = done + 1 / MOST_FRAMES
        return due

    def _keep(self, image: Image.Image) -> None:
        self.count += 1
        file = self._file(self.count)
        if not self.kind:
            make_again(self.folder)
            pictures.save(image, file, overwrite=True)
            return
        try:
            if self.count == 1:
                film.clear(self.folder)  # of what an abandoned run has left
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise SaveError(f"{files.printable(self.folder)} could not be made for frames: {files.reason(error)}") from error
        files.write(file, film.frame(image, self.kind), (".png",), overwrite=True)

    def finish(self) -> None:
        """Write a film, or remove the later frames that an earlier run left in the folder. Raises SaveError.

        At strength 0 the one frame is the image.
        """
        if not self.run.scales:
            self._keep(self.run.image())
        if self.kind:
            if self.count:
                film.write(self.place, overwrite=self.overwrite)
        elif self.run.last is None or self.run.last.done >= 1:
            for number in range(self.count + 1, MOST_FRAMES + 2):
                with contextlib.suppress(OSError):
                    self._file(number).unlink()

    def tidy(self) -> None:
        """Remove a folder that got no frames, and the folder of a film whose run is over."""
        if self.kind and not state_of(self.target).exists():
            film.clear(self.folder)
        elif self.new and not (self.kind or self.count):
            with contextlib.suppress(OSError):
                self.place.rmdir()


def _shares_before(run: Session) -> Iterator[float]:
    """The share of the work after each step that was made before the run was resumed."""
    if run.state is None:
        return
    here = run.state.scale, run.state.step
    for number, scale in enumerate(run.scales, 1):
        for step in range(1, scale.steps + 1):
            if (number, step) <= here:
                yield share_done(run.scales, number, step)
