"""`impasto video`: a clip painted, frame by frame."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Token

from impasto.cli import console
from impasto.cli.console import fail, note, refuse_address, report, seconds, tell, worded
from impasto.cli.forms import GROUPS, OUTPUT, STDIO, CommonFlags, flag, whole_number
from impasto.cli.paint import follow
from impasto.errors import OptionError
from impasto.files import printable
from impasto.inputs import KEEP, Layer
from impasto.jobs import signals

if TYPE_CHECKING:
    from impasto.jobs.events import Failed, Saved
    from impasto.video.job import Video
    from impasto.video.runner import Event

VIDEO_OPTIONS = ("size", "strength", "style_scale", "keep_colors", "device", "precision", "max_memory", "max_pixels")
_CLOCK = re.compile(r"(?:(\d+):)?(?:(\d+):)?(\d+(?:\.\d*)?|\.\d+)")


def moment(name: str) -> Any:
    """A converter of a time: seconds, or minutes and hours before them, as in 1:02.5."""

    def convert(_: Any, tokens: Sequence[Token]) -> Fraction:
        found = _CLOCK.fullmatch(tokens[0].value)
        if found is None:
            raise OptionError(f"must be a time such as 2.5, 1:30 or 1:02:03, not {tokens[0].value!r}", option=name)
        hours, minutes = (found[1], found[2]) if found[2] else (None, found[1])
        return (int(hours or 0) * 60 + int(minutes or 0)) * 60 + Fraction(found[3])

    return convert


def _rate(_: Any, tokens: Sequence[Token]) -> Fraction:
    word = tokens[0].value
    try:
        return Fraction(word)
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"must be a number such as 24 or 30000/1001, not {word!r}", option="fps") from None


def _words(_: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(token.value for token in tokens)


@dataclass(frozen=True, kw_only=True)
class VideoFlags(CommonFlags):
    """Where the clip goes, what part of it is painted, and how its styles change."""

    output: Annotated[
        Path | None,
        flag(
            OUTPUT,
            "Video to write: .mp4, .webm or .gif, or a folder for PNGs. [default: CLIP-STYLE.mp4 in the clip's folder]",
            "--output",
            "-o",
        ),
    ] = None
    preview: Annotated[
        bool,
        flag(OUTPUT, "First write one painted frame, ...-preview.png, and then the first two seconds, ...-preview.mp4."),
    ] = False
    no_metadata: Annotated[bool, flag(OUTPUT, "Don't embed settings in the video. `impasto info` will not work on it.")] = False
    dry_run: Annotated[bool, flag(OUTPUT, "Paint nothing. Print the frames, the size, and the memory and time needed.")] = False
    quality: Annotated[
        str | None,
        flag(
            GROUPS["Image"],
            "instant: the network paints each frame; normal: painted key frames are carried to the frames between; best: the "
            "optimizer paints every frame. [default: normal]",
        ),
    ] = None
    start: Annotated[
        Fraction | None, flag(GROUPS["Image"], "Where to start in the clip, such as 2.5 or 1:30.", converter=moment("start"))
    ] = None
    end: Annotated[Fraction | None, flag(GROUPS["Image"], "Where to end.", converter=moment("end"))] = None
    fps: Annotated[
        Fraction | None,
        flag(GROUPS["Image"], "Frames a second of the result. [default: the clip's own times]", converter=_rate),
    ] = None
    every: Annotated[
        int,
        flag(GROUPS["Image"], "Paint one of so many frames; each stays until the next.", converter=whole_number("every", 1)),
    ] = 1
    mask: Annotated[
        tuple[str, ...],
        flag(
            GROUPS["Look"],
            "MASK=STYLE, repeatable: where the image or clip MASK is white, the result gets STYLE. MASK=keep leaves the clip "
            "unchanged there.",
        ),
    ] = ()
    blend: Annotated[
        tuple[str, ...],
        flag(
            GROUPS["Look"],
            "Weight of each of several styles, such as 0.7 0.3; 1..0 changes from the start to the end. The last style's may be left "
            "out. [default: equal weights]",
            converter=_words,
            consume_multiple=True,
        ),
    ] = ()
    weights: Annotated[
        Path | None,
        flag(GROUPS["Method"], "A weights file for the encoder: Keras .h5, PyTorch .pth, MatConvNet .mat or safetensors."),
    ] = None


def video(clip: Path, /, *styles: Path, flags: VideoFlags) -> int:
    """Repaint a video, an animated image, or a folder of frames in the style of a painting. Its sound is kept.

    Parameters
    ----------
    clip: Path
        The clip.
    styles: Path
        The painting: an image, a .style file, or a name that `impasto styles` lists. Several are blended (--blend).
    """
    for file in (clip, *styles):
        refuse_address(file)
    if STDIO in (str(clip), str(flags.output)):
        raise OptionError("a clip is read from a file and written to one; standard input and output cannot be used")
    job = _job(clip, styles, flags)
    return print_plan(job, flags) if flags.dry_run else carry_out(job, flags)


def _job(clip: Path, styles: tuple[Path, ...], flags: VideoFlags) -> Video:
    from impasto.clips import Window
    from impasto.options import Options
    from impasto.video.blending import Blending
    from impasto.video.job import QUALITIES, Output, Video

    quality = flags.quality or "normal"
    if quality not in QUALITIES:
        raise OptionError(f"must be {', '.join(QUALITIES)} for a video, not {quality!r}", option="quality")
    if not styles and not any(not word.endswith(f"={KEEP}") for word in flags.mask):
        raise OptionError("a clip and a painting are needed: impasto video CLIP STYLE; see `impasto video --help`")
    name = "-".join([clip.stem if clip.suffix else clip.name, *([style.stem for style in styles] or ["painted"])])
    return Video(
        clip,
        tuple(styles),
        Options(**{"quality": quality, **flags.given}),
        Output(flags.output or clip.parent / f"{name}.mp4", flags.overwrite, not flags.no_metadata, flags.preview),
        tuple(map(Layer.parse, flags.mask)),
        Window(flags.start, flags.end, flags.fps, flags.every),
        Blending.parse(flags.blend) if flags.blend else None,
        flags.weights,
    )


def carry_out(job: Video, flags: CommonFlags, *, resume: bool = False) -> int:
    """Run a job and print its events. Returns the exit code."""
    from impasto.jobs.events import Failed, Frame, Note, Preview, Saved
    from impasto.video import runner

    code = 1

    def handle(event: Event) -> None:
        nonlocal code
        if isinstance(event, Note):
            note(event.text, quiet=flags.quiet)
        elif isinstance(event, Frame):
            show(event)
        elif isinstance(event, Preview):
            note(f"preview: {printable(event.path)}", quiet=flags.quiet)
        elif isinstance(event, (Saved, Failed)):
            show(None)
            code = _report(event, flags)

    events = runner.run(job, resume=resume, estimate=not flags.quiet)
    with signals.stoppable(), console.progress(quiet=flags.quiet) as show, contextlib.closing(events):
        follow(events, handle)
    return code


def _report(event: Saved | Failed, flags: CommonFlags) -> int:
    from impasto.jobs.events import Failed

    if isinstance(event, Failed):
        problem = event.problem.replace(str(event.error), worded(event.error), 1) if event.error else event.problem
        return fail(problem, event.exit_code, as_json=flags.json_line)
    if not flags.quiet:
        frames = event.settings.get("clip", {}).get("frames")
        what = f"{frames} frames of {event.width}x{event.height}" if frames else f"{event.width}x{event.height}"
        report(f"wrote {printable(event.path or '')} ({what}) in {seconds(event.seconds)}")
    if flags.json_line:
        tell(
            json.dumps(
                {
                    "output": str(event.path),
                    "width": event.width,
                    "height": event.height,
                    "seconds": event.seconds,
                    "notes": list(event.notes),
                    "settings": dict(event.settings),
                    "exit_code": 0,
                }
            )
        )
    return 0


def print_plan(job: Video, flags: VideoFlags) -> int:
    """Print what painting would make and take. Returns the exit code."""
    from impasto.video.plan import plan

    job.check()
    found = plan(job)
    height, width = found.size
    lines = [
        f"{printable(job.output.path)} would have about {found.frames} frames of {width}x{height}, "
        f"{float(found.length):.2f} s, painted by quality {job.options.quality!r}",
        f"that takes about {found.memory / 1e9:.1f} GB of memory and {seconds(found.seconds)}",
    ]
    if not flags.quiet:
        for line in lines:
            tell(line)
    if flags.json_line:
        numbers = {"frames": found.frames, "width": width, "height": height, "bytes": found.memory}
        tell(json.dumps({"output": str(job.output.path), **numbers, "seconds": round(found.seconds, 1), "exit_code": 0}))
    return 0
