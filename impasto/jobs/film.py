"""The making-of as a GIF or an MP4, from frames in a folder."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from impasto import files, pictures
from impasto.errors import OutputError, SaveError, UsageError
from impasto.jobs.lock import state_of

FRAMES_A_SECOND = 12
REST = 2.0  # seconds that the finished image stays
LONGEST = {".gif": 480, ".mp4": 1920}  # pixels; larger GIFs take tens of megabytes, and larger films do not play everywhere
TIMEOUT = 600  # seconds that ffmpeg may take


def write(place: Path, *, overwrite: bool) -> None:
    """Make a film of the frames that were kept for it. Raises SaveError, OutputError."""
    folder, kind = state_of(place), place.suffix.lower()
    if not any(folder.glob("*.png")):
        raise OutputError(f"{files.printable(place)} cannot be made: its frames are missing from {files.printable(folder)}")
    files.write(place, _gif(folder) if kind == ".gif" else _mp4(folder), (kind,), overwrite=overwrite)


def finish(place: Path) -> None:
    """Make the film of a run whose image is finished, if its frames are there, and remove them. Raises SaveError."""
    if any(state_of(place).glob("*.png")):
        write(place, overwrite=True)
        clear(state_of(place))


def clear(folder: Path) -> None:
    """Remove frames and their folder; other files in it stay."""
    with contextlib.suppress(OSError):
        for file in (*folder.glob("[0-9][0-9][0-9][0-9].png"), *folder.glob(".impasto-*.tmp")):
            file.unlink()
        folder.rmdir()


def frame(image: Image.Image, kind: str) -> bytes:
    """A frame as PNG, quickly compressed. kind: the film's suffix."""
    opaque = pictures.flatten(image)
    opaque.thumbnail((LONGEST[kind], LONGEST[kind]), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    opaque.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _gif(folder: Path) -> bytes:
    buffer = io.BytesIO()
    first, *others = sorted(folder.glob("*.png"))
    times = [round(1000 / FRAMES_A_SECOND)] * len(others) + [round(1000 * REST)]
    _read(first).save(buffer, "GIF", save_all=True, append_images=map(_read, others), duration=times, loop=0)
    return buffer.getvalue()


def _read(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.copy()


def ffmpeg() -> str:
    """The program that comes with the video extra. Raises UsageError without it."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise UsageError("an .mp4 needs the video extra: pip install 'impasto[video]'; a .gif works without it") from error
    return str(get_ffmpeg_exe())


def _mp4(folder: Path) -> bytes:
    """H.264 that plays everywhere: even sides, 4:2:0, ready to stream."""
    frames = ["-framerate", str(FRAMES_A_SECOND), "-i", "%04d.png"]  # relative: the folder's name may contain a % as well
    shape = ["-vf", f"crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0,tpad=stop_mode=clone:stop_duration={REST}"]
    codec = ["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "frames.mp4"
        command = [ffmpeg(), "-loglevel", "error", *frames, *shape, *codec, str(file)]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=TIMEOUT)  # noqa: S603 (no shell)
        except subprocess.TimeoutExpired as error:
            raise SaveError(f"the frames could not be made into a video: ffmpeg took more than {TIMEOUT} s") from error
        if done.returncode:
            reason = files.one_line(done.stderr.decode(errors="replace")) or f"ffmpeg ended with {done.returncode}"
            raise SaveError(f"the frames could not be made into a video: {reason}")
        return file.read_bytes()
