"""What is kept of a picture's making: previews every so many steps, and frames as a folder, a GIF or an MP4."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from impasto import files, pictures, states
from impasto.cli.console import note
from impasto.errors import OutputError, SaveError, UsageError
from impasto.optimize import share_done
from impasto.options import Output

if TYPE_CHECKING:
    from impasto.optimize import Step
    from impasto.stylizer import Run

MOST_FRAMES = 120  # of a making-of: 10 seconds at FRAMES_A_SECOND, and a GIF that can still be passed on
FRAMES_A_SECOND = 12
REST = 2.0  # seconds the finished picture stays
LONGEST = {".gif": 480, ".mp4": 1920}  # pixels; larger GIFs take tens of megabytes, and larger films do not play everywhere


@contextlib.contextmanager
def making(run: Run, target: Path, output: Output) -> Iterator[Making]:
    """What is kept of a run's making. Raises OutputError before anything is done.

    A run that goes on from a state goes on with its previews and its frames.
    """
    overwrite = output.overwrite or run.state is not None
    kept = Making()
    with contextlib.ExitStack() as stack:
        if output.preview:
            kept.watching.append(Preview(run, target, output.preview, overwrite=overwrite))
        if output.frames:
            if output.frames.suffix:
                stack.enter_context(states.alone(output.frames))
            frames = Frames(run, target, output.frames, overwrite=overwrite)
            if frames.lost:
                note(
                    f"{files.printable(frames.place)} is not made: what it was to show of the beginning is lost",
                    quiet=output.quiet,
                )
            else:
                kept.watching.append(frames)
                kept.frames = frames
                stack.callback(frames.tidy)
        yield kept


@dataclass
class Making:
    """Sees every step, and at the end makes the film, while there still is a state to go on with if that cannot be done."""

    watching: list[Preview | Frames] = field(default_factory=list)
    frames: Frames | None = None

    def __call__(self, step: Step) -> None:
        """To be called after every step."""
        for one in self.watching:
            one(step)

    def finish(self) -> None:
        """Write a GIF or MP4 of what there is. Raises SaveError."""
        if self.frames:
            self.frames.write()


def _before(run: Run) -> list[float]:
    """The share of the work done after each step that an earlier run has taken, of which this one is the rest."""
    if run.state is None:
        return []
    here = run.state.scale, run.state.step
    steps = [(number, step) for number, scale in enumerate(run.scales, 1) for step in range(1, scale.steps + 1)]
    return [share_done(run.scales, *one) for one in steps if one <= here]


def replaces(output: Output, target: Path, file: Path) -> bool:
    """Whether a frame or a preview may be written over `file`."""
    file = file.resolve()
    if output.frames:
        frames = output.frames.resolve()
        if file == frames or (file.parent in (frames, being_made(frames)) and re.fullmatch(r"\d{4,}\.png", file.name)):
            return True
    preview = rf"{re.escape(target.stem)}-step\d{{5,}}{re.escape(target.suffix)}"
    return bool(output.preview and file.parent == target.resolve().parent and re.fullmatch(preview, file.name))


class Preview:
    """Saves the picture every so many steps, under the output's name and the step's number."""

    def __init__(self, run: Run, target: Path, every: int, *, overwrite: bool) -> None:
        self.run, self.target, self.every, self.overwrite = run, target, every, overwrite
        self.count = len(_before(run))
        pictures.check_output(self._name(every), overwrite=overwrite)

    def __call__(self, step: Step) -> None:
        """Count the step; save if it is time."""
        self.count += 1
        if self.count % self.every == 0:
            pictures.save(self.run.image(), self._name(self.count), overwrite=self.overwrite)

    def _name(self, count: int) -> Path:
        return self.target.with_name(f"{self.target.stem}-step{count:05}{self.target.suffix}")


class Frames:
    """Keeps at most MOST_FRAMES pictures, evenly over the work, in a folder, and makes them a GIF or an MP4 if asked.

    For those the folder is beside them (`being_made`); it is kept as long as the run has a state that can be gone on with.
    """

    def __init__(self, run: Run, target: Path, place: Path, *, overwrite: bool) -> None:
        self.run, self.target, self.place, self.overwrite = run, target, place, overwrite
        self.kind = self.place.suffix.lower()
        self.folder = being_made(place) if self.kind else place
        self.count, self.next = 0, 0.0
        self.new = False  # whether the folder is
        if self.kind == ".mp4":
            _ffmpeg()
        if self.kind in LONGEST:
            files.check(self.place, (self.kind,), overwrite=self.overwrite)
        elif self.kind:
            raise OutputError(f"frames go to a folder, a .gif or an .mp4, not to {files.printable(self.place)}")
        else:
            self._check_folder()
        for done in _before(run):
            self.count += self._due(done)

    @property
    def lost(self) -> bool:
        """Whether frames are gone that an earlier run has kept for a GIF or an MP4, of which this one is the rest."""
        return bool(self.kind) and not all(self._file(number).exists() for number in range(1, self.count + 1))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:04}.png"

    def _check_folder(self) -> None:
        name = files.printable(self.place)
        try:
            if self.place.exists() and (not self.place.is_dir() or (any(self.place.iterdir()) and not self.overwrite)):
                raise OutputError(f"{name} exists and is no empty folder; name another, or add --overwrite")
            self.new = not self.place.exists()
            self.place.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{name} cannot be used for frames: {files.reason(error)}") from error

    def __call__(self, step: Step) -> None:
        """Keep the picture if enough work was done since the last."""
        if self._due(step.done):
            self._keep(self.run.image())

    def _due(self, done: float) -> bool:
        """Whether the picture is kept after this share of the work."""
        due = done >= self.next or done >= 1
        if due:
            self.next = done + 1 / MOST_FRAMES
        return due

    def _keep(self, image: Image.Image) -> None:
        self.count += 1
        file = self._file(self.count)
        if not self.kind:
            pictures.save(image, file, overwrite=True)
            return
        try:
            if self.count == 1:
                _clear(self.folder)  # of what a run that was given up has left
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise SaveError(f"{files.printable(self.folder)} could not be made for frames: {files.reason(error)}") from error
        files.write(file, _png(_opaque(image, LONGEST[self.kind])), (".png",), overwrite=True)

    def write(self) -> None:
        """Write a GIF or MP4; a folder is written already. At strength 0 the one frame is the picture. Raises SaveError."""
        if not self.run.scales:
            self._keep(self.run.image())
        if self.kind and self.count:
            film(self.place, overwrite=self.overwrite)

    def tidy(self) -> None:
        """Remove a folder that was made for frames and got none, and that of a film whose run is over."""
        if self.kind and not states.place(self.target).exists():
            _clear(self.folder)
        elif self.new and not (self.kind or self.count):
            with contextlib.suppress(OSError):
                self.place.rmdir()


def being_made(film: Path) -> Path:
    """Where the frames of a GIF or an MP4 are until it is whole: beside it, as the state is beside the picture."""
    return states.place(film)


def film(place: Path, *, overwrite: bool) -> None:
    """Make a GIF or an MP4 of the frames that were kept for it. Raises SaveError, OutputError."""
    folder, kind = being_made(place), place.suffix.lower()
    if not any(folder.glob("*.png")):
        raise SaveError(f"{files.printable(place)} is not made: its frames are gone from {files.printable(folder)}")
    files.write(place, _gif(folder) if kind == ".gif" else _mp4(folder), (kind,), overwrite=overwrite)


def finish_film(place: Path) -> None:
    """Make the film of a run whose picture is finished, as far as its frames are there, and remove them. Raises SaveError."""
    if any(being_made(place).glob("*.png")):
        film(place, overwrite=True)
        _clear(being_made(place))


def _clear(folder: Path) -> None:
    """Remove frames and their folder; what else may be in it stays."""
    with contextlib.suppress(OSError):
        for file in (*folder.glob("[0-9][0-9][0-9][0-9].png"), *folder.glob(".impasto-*.tmp")):
            file.unlink()
        folder.rmdir()


def _png(image: Image.Image) -> bytes:
    """Quickly, for a while."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _opaque(image: Image.Image, longest: int) -> Image.Image:
    """In RGB over white, at most `longest` pixels a side."""
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    image = image.convert("RGB")
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return image


def _gif(folder: Path) -> bytes:
    buffer = io.BytesIO()
    first, *others = sorted(folder.glob("*.png"))
    times = [round(1000 / FRAMES_A_SECOND)] * len(others) + [round(1000 * REST)]
    _read(first).save(buffer, "GIF", save_all=True, append_images=map(_read, others), duration=times, loop=0)
    return buffer.getvalue()


def _read(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.copy()


def _ffmpeg() -> str:
    """The program that comes with the video extra. Raises UsageError without it."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise UsageError("an .mp4 needs the video extra: pip install 'impasto[video]'; a .gif does without") from error
    return str(get_ffmpeg_exe())


def _mp4(folder: Path) -> bytes:
    """H.264 that plays everywhere: even sides, 4:2:0, ready to stream."""
    seen = ["-framerate", str(FRAMES_A_SECOND), "-i", "%04d.png"]  # in its own folder, whose name may have a % as well
    shape = ["-vf", f"crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0,tpad=stop_mode=clone:stop_duration={REST}"]
    film = ["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "frames.mp4"
        done = subprocess.run(  # noqa: S603 (our own words, and no shell)
            [_ffmpeg(), "-loglevel", "error", *seen, *shape, *film, str(file)], cwd=folder, capture_output=True, check=False
        )
        if done.returncode:
            reason = files.one_line(done.stderr.decode(errors="replace")) or f"ffmpeg ended with {done.returncode}"
            raise SaveError(f"the frames could not be made into a video: {reason}")
        return file.read_bytes()
