"""What is kept of a picture's making: previews every so many steps, and frames as a folder, a GIF or an MP4."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from impasto import files, pictures
from impasto.errors import OutputError, SaveError, UsageError
from impasto.optimize import share_done
from impasto.options import Output

if TYPE_CHECKING:
    from impasto.optimize import Step
    from impasto.stylizer import Run

MOST_FRAMES = 120  # of a making-of: 10 seconds at FRAMES_A_SECOND, and a GIF that can still be passed on
FRAMES_A_SECOND = 12
REST = 2.0  # seconds the finished picture stays
LONGEST_GIF = 480  # pixels; larger GIFs take tens of megabytes


@contextlib.contextmanager
def watchers(run: Run, target: Path, output: Output) -> Iterator[Callable[[Step], None]]:
    """What to call after every step; when the block ends, frames are written. Raises OutputError before anything is done.

    A run that goes on from a state goes on with its previews and its folder of frames.
    """
    watching: list[Callable[[Step], None]] = []
    overwrite = output.overwrite or run.state is not None
    if output.preview:
        watching.append(Preview(run, target, output.preview, overwrite=overwrite))
    frames = Frames(run, output.frames, overwrite=overwrite) if output.frames else None
    if frames:
        watching.append(frames)

    def watch(step: Step) -> None:
        for one in watching:
            one(step)

    try:
        yield watch
        if frames:
            frames.write()
    finally:
        if frames:
            frames.tidy()


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
        if file == frames or (file.parent == frames and re.fullmatch(r"\d{4,}\.png", file.name)):
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
    """Keeps at most MOST_FRAMES pictures, evenly over the work, and writes them to a folder, a GIF or an MP4."""

    def __init__(self, run: Run, place: Path, *, overwrite: bool) -> None:
        self.run, self.place, self.overwrite = run, place, overwrite
        self.kind = self.place.suffix.lower()
        self.images: list[Image.Image] = []
        self.count, self.next = 0, 0.0
        self.new = False  # whether the folder is
        if self.kind == ".mp4":
            _ffmpeg()
        if self.kind in (".gif", ".mp4"):
            files.check(self.place, (self.kind,), overwrite=self.overwrite)
        elif self.kind:
            raise OutputError(f"frames go to a folder, a .gif or an .mp4, not to {files.printable(self.place)}")
        else:
            self._check_folder()
        for done in _before(run):
            self.count += self._due(done)

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
        if self.kind:
            self.images.append(_opaque(image, LONGEST_GIF if self.kind == ".gif" else None))
        else:
            pictures.save(image, self.place / f"{self.count:04}.png", overwrite=True)

    def write(self) -> None:
        """Write a GIF or MP4; a folder is written already. At strength 0 the one frame is the picture. Raises SaveError."""
        if not self.run.scales:
            self._keep(self.run.image())
        if self.kind and self.images:
            data = _gif(self.images) if self.kind == ".gif" else _mp4(self.images)
            files.write(self.place, data, (self.kind,), overwrite=self.overwrite)

    def tidy(self) -> None:
        """Remove a folder that was made for frames and got none."""
        if self.new and not (self.kind or self.count):
            with contextlib.suppress(OSError):
                self.place.rmdir()


def _opaque(image: Image.Image, longest: int | None) -> Image.Image:
    """In RGB over white, at most `longest` pixels a side."""
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    image = image.convert("RGB")
    if longest:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return image


def _gif(images: list[Image.Image]) -> bytes:
    buffer = io.BytesIO()
    times = [round(1000 / FRAMES_A_SECOND)] * (len(images) - 1) + [round(1000 * REST)]
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=times, loop=0)
    return buffer.getvalue()


def _ffmpeg() -> str:
    """The program that comes with the video extra. Raises UsageError without it."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise UsageError("an .mp4 needs the video extra: pip install 'impasto[video]'; a .gif does without") from error
    return str(get_ffmpeg_exe())


def _mp4(images: list[Image.Image]) -> bytes:
    """H.264 that plays everywhere: even sides, 4:2:0, ready to stream."""
    width, height = (side - side % 2 for side in images[0].size)
    frames = images + [images[-1]] * round(REST * FRAMES_A_SECOND)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FRAMES_A_SECOND), "-i", "-"]
    film = ["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frames.mp4"
        data = b"".join(image.crop((0, 0, width, height)).tobytes() for image in frames)
        done = subprocess.run(  # noqa: S603 (our own words, and no shell)
            [_ffmpeg(), "-loglevel", "error", *raw, *film, str(file)], input=data, capture_output=True, check=False
        )
        if done.returncode:
            reason = files.one_line(done.stderr.decode(errors="replace")) or f"ffmpeg ended with {done.returncode}"
            raise SaveError(f"the frames could not be made into a video: {reason}")
        return file.read_bytes()
