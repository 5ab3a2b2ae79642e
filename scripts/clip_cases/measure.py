"""What impasto makes of each clip, measured against formulas and against ffmpeg, and the table of it."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clip_cases.make import Floats, Nasty, pattern
from clip_cases.table import CLIPS
from impasto import clips
from impasto.errors import ImpastoError

BEGIN, END = "<!-- made by scripts/nasty_clips.py -->", "<!-- end of what scripts/nasty_clips.py makes -->"
SEGMENT = 7  # frames of a piece
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Measured:
    """What was found. color: the mean error of the worst frame in levels of 255; None where the picture is not the pattern.

    drift: the largest distance between a frame's time and ffprobe's, in seconds. result: the same of the file that is written from the
    frames, against the source. sound: what became of the sound.
    """

    size: tuple[int, int]
    frames: int
    color: float | None
    drift: float
    result: float
    sound: str
    notes: tuple[str, ...]
    error: str = ""


@functools.lru_cache(maxsize=4)
def probed(path: Path) -> dict[str, Any]:
    """What ffprobe says about streams and about decoded frames."""
    entries = "stream:frame=stream_index,best_effort_timestamp_time"
    command = ["ffprobe", "-v", "quiet", "-of", "json", "-show_entries", entries, str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def decoded_times(path: Path, kind: str) -> list[float]:
    """When each frame of the first track of video (no cover) or audio appears, in seconds; NaN where ffprobe knows no time."""
    found = probed(path)
    streams = (s for s in found["streams"] if s["codec_type"] == kind and not s["disposition"]["attached_pic"])
    index = next(streams)["index"]
    frames = (frame for frame in found["frames"] if frame.get("stream_index") == index)
    return [float(frame.get("best_effort_timestamp_time", "nan")) for frame in frames]


def times_by_ffprobe(path: Path) -> list[float]:
    """When each picture appears, in seconds since the first."""
    found = decoded_times(path, "video")
    return [time - found[0] for time in found]


def apart(frames: list[clips.Frame], times: list[float]) -> float:
    """The largest distance between the frames' times and ffprobe's, which knows no time for some frames of AVI and MPEG-2."""
    found = [abs(float(frame.time) - time) for frame, time in zip(frames, times, strict=True)]
    return float(np.nanmax(found))


def starts(path: Path) -> tuple[float, float]:
    """When the first picture and the first sound appear, in seconds of the file's clock."""
    return decoded_times(path, "video")[0], decoded_times(path, "audio")[0]


def sound_md5(path: Path, *, decoded: bool = False) -> str:
    """Of the packets of the first sound, or of its samples."""
    how = ("-f", "md5") if decoded else ("-c", "copy", "-f", "md5")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0:a:0", *how, "-"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


def rounded(frames: Iterator[clips.Frame]) -> Iterator[tuple[Bytes, Fraction, Fraction]]:
    """Frames as `encode` takes them."""
    for frame in frames:
        levels = (frame.pixels[0].permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
        yield levels, frame.time, frame.duration


def rewritten(clip: clips.Clip, target: Path, window: clips.Window | None = None) -> tuple[str, ...]:
    """A clip to another file with its sound, in segments. Returns notes."""
    window = window or clips.Window()
    kind, segments, notes = clips.format_of(target), list[Path](), list[str]()
    count = clip.count_in(window)
    for first in range(0, count, SEGMENT):
        segments.append(target.with_name(f"{target.name}.{first}"))
        part = rounded(clip.frames(window, first=first))
        some = (frame for frame, _ in zip(part, range(SEGMENT), strict=False))
        notes.extend(clips.encode(some, segments[-1], kind, time_base=clip.time_base_in(window), rate=clip.rate_in(window)))
    notes.extend(clips.join(segments, target, clip=clip, window=window, overwrite=True))
    for segment in segments:
        segment.unlink()
    return tuple(notes)


def expected(clip: Nasty, number: int) -> Floats:
    """The frame that must be shown, HxWx3 in [0, 1]."""
    swapped = clip.turn(np.zeros((2, 3))).shape == (3, 2)
    return clip.expected(clip.turn(pattern(number, clip.size[::-1] if swapped else clip.size)))


def color_error(clip: Nasty, frames: list[clips.Frame]) -> float:
    """The mean error of the worst frame, in levels of 255."""
    return max(
        float(np.abs(frame.pixels[0].permute(1, 2, 0).numpy() - expected(clip, frame.number)).mean()) * 255 for frame in frames
    )


def measured(clip: Nasty, file: Path, work: Path) -> Measured:
    """Read a clip, write it again, and compare."""
    try:
        source = clips.open_clip(file)
    except ImpastoError as error:
        return Measured((0, 0), 0, None, 0, 0, "", (), str(error).replace(str(file), file.name))
    frames = list(source.frames())
    times = times_by_ffprobe(file)[: len(frames)]
    target = work / f"{file.name}.mp4"
    notes = [note.replace(str(target), target.name) for note in rewritten(source, target)]
    return Measured(
        source.size,
        len(frames),
        None if clip.colors is None else color_error(clip, frames),
        apart(frames, times),
        apart(frames, times_by_ffprobe(target)),
        _sound(file, target, source, notes),
        tuple(note.replace(f"{file} ", "") for note in source.notes),
    )


def _sound(file: Path, target: Path, source: clips.Clip, notes: list[str]) -> str:
    if not source.has_sound:
        return "none"
    video, sound = starts(file)
    new_video, new_sound = starts(target)
    off = abs((new_video - new_sound) - (video - sound))
    step = f", {1000 * off:.1f} ms off" if off > 0.0005 else ", in step"
    if any("converted" in note for note in notes):
        return "converted" + step
    if sound_md5(file) == sound_md5(target):
        return "the same bytes" + step
    return ("the same samples" if sound_md5(file, decoded=True) == sound_md5(target, decoded=True) else "other bytes") + step


def table(folder: Path) -> str:
    """The clips in a folder, in Markdown."""
    lines = [
        "| clip | what is nasty | what impasto does | frames | color error | time error | sound |",
        "|---|---|---|---|---|---|---|",
    ]
    work = folder.with_name("written")
    work.mkdir(exist_ok=True)
    for clip in CLIPS:
        found = measured(clip, folder / clip.name, work)
        if found.error:
            lines.append(f"| {clip.name} | {clip.trap} | refuses it: {found.error.split(': ', 1)[1]} | - | - | - | - |")
            continue
        does = "; ".join(found.notes) or "shows it as it is meant"
        color = "-" if found.color is None else f"{found.color:.2f}"
        time = f"{1000 * max(found.drift, found.result):.2f} ms"
        lines.append(f"| {clip.name} | {clip.trap} | {does} | {found.frames} | {color} | {time} | {found.sound} |")
    return "\n".join(lines)


def written(page: str, folder: Path) -> str:
    """A page with the table in its place."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{table(folder)}\n\n{END}{tail}"
