"""Segments and a clip's sound to one file."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from impasto import files
from impasto.clips.clip import Clip
from impasto.clips.container import fraction, library, opened
from impasto.clips.encode import movie_clock, writing
from impasto.clips.formats import Format, format_of
from impasto.clips.movie import Movie
from impasto.clips.sound import Sound
from impasto.clips.window import WHOLE, Window
from impasto.errors import OutputError, SaveError

_NAME = "impasto"  # begins the comment of files that impasto wrote


def join(
    segments: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    clip: Clip | None = None,
    window: Window = WHOLE,
    overwrite: bool = False,
    metadata: Mapping[str, object] | None = None,
) -> tuple[str, ...]:
    """Put segments of `encode` together without encoding them again, with the sound of a clip. Written whole or not at all.

    segments: in order. The times in them are seconds since the window's first frame, as in `Frame`.
    clip, window: where sound comes from, and which part the segments show. Its packets are copied as they are, in step with the
        frames; sound that the format cannot hold is converted. A video that starts later than its sound keeps that distance.
    metadata: what JSON can hold, stored as the file's comment (see `settings_of`).

    Returns notes. Raises OutputError (an unknown suffix, an existing file without `overwrite`, no permission), SaveError, PictureError
    for a clip that cannot be read any more.
    """
    place = Path(target)
    kind = format_of(place)
    if not kind.is_film:
        raise OutputError(f"{files.printable(place)}: segments become .mp4 or .webm")
    av = library()
    files.check(place, (kind.suffix,), overwrite=overwrite)
    if clip is not None and files.real(place) == files.real(clip.path):
        raise OutputError(f"{files.printable(place)} is the clip itself", remedy="name another file")
    parts = [Path(segment) for segment in segments]
    for treatment in ("copied", "converted", "left out"):
        sound: Sound | None = None
        try:
            with writing(place, (kind.suffix,), overwrite=overwrite) as temporary, contextlib.ExitStack() as stack:
                sound, delay = _sound_of(clip, window, kind, stack, treatment)
                _mux(parts, temporary, kind, sound, delay, metadata)
        except SaveError as error:  # packets that the format refuses, not a full disk
            refused = isinstance(error.__cause__, av.error.FFmpegError) and not isinstance(error.__cause__, OSError)
            if sound is None or not refused:
                raise
        else:
            break
    note = sound.note if sound is not None else ""
    if treatment != "copied":
        note = f"its sound could not be copied as it is and is {treatment}"
    return (f"{files.printable(place)}: {note}",) if note else ()


def _sound_of(
    clip: Clip | None, window: Window, kind: Format, stack: contextlib.ExitStack, treatment: str
) -> tuple[Sound | None, Fraction]:
    """The track of sound, and seconds from the new file's start until the first frame appears."""
    facts = clip.source.facts if clip is not None and isinstance(clip.source, Movie) else None
    if clip is None or facts is None or facts.sound is None:
        return None, Fraction(0)
    first = clip.start(window)
    whole = clip.start()  # when the clip's own first frame appears
    zero = first if first > whole else (window.start or Fraction(0))
    if treatment == "left out":
        return None, first - zero
    container = stack.enter_context(opened(clip.path))
    kept = Window(zero or None, window.end if window.end is None or window.end > zero else None)
    copied = treatment == "copied"
    return Sound(container, facts.sound, kind, facts.zero + zero, kept, copied=copied), first - zero


def _mux(
    segments: Sequence[Path],
    path: Path,
    kind: Format,
    sound: Sound | None,
    delay: Fraction,
    metadata: Mapping[str, object] | None,
) -> None:
    av = library()
    with opened(segments[0], "segment") as first:
        tb = fraction(first.streams.video[0].time_base) or Fraction(1, 90000)
    options = {"fflags": "+bitexact"} | (dict(movie_clock(tb)) if kind.container == "mp4" else {})
    flags = {"movflags": "+faststart"} if kind.container == "mp4" else {}
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(av.open(os.fspath(path), "w", format=kind.container, options=options | flags))
        template = stack.enter_context(opened(segments[0], "segment"))
        video = output.add_stream_from_template(template.streams.video[0])
        video.time_base = tb
        track = sound.added(output) if sound is not None else None
        if metadata is not None:
            output.metadata["comment"] = _NAME + " " + json.dumps(dict(metadata), allow_nan=False)
        parts = [_pictures(segments, video, tb, delay)]
        if sound is not None:
            parts.append(sound.packets(track))
        for _, packet in heapq.merge(*parts, key=lambda timed: timed[0]):
            output.mux(packet)


def _pictures(segments: Sequence[Path], track: Any, tb: Fraction, delay: Fraction) -> Iterator[tuple[Fraction, Any]]:
    shift = round(delay / tb)
    for segment in segments:
        with opened(segment, "segment") as source:
            stream = source.streams.video[0]
            if fraction(stream.time_base) != tb:
                raise SaveError(f"{files.printable(segment)} has other units of time than the first segment")
            for packet in source.demux(stream):
                if not packet.size or packet.pts is None:
                    continue
                packet.pts += shift
                packet.dts = packet.pts
                packet.time_base = tb
                packet.stream = track
                yield packet.pts * tb, packet


def settings_of(path: str | os.PathLike[str]) -> dict[str, object] | None:
    """The settings that `join` or `write_gif` stored; None for a file without any, or from another program.

    Raises PictureError for what is no clip, and UsageError for a video file without the video extra.
    """
    place = Path(path)
    with contextlib.suppress(Exception), Image.open(place, formats=("GIF",)) as image:  # decoders raise nearly anything
        return _parsed(bytes(image.info.get("comment", b"")).decode("utf-8", "replace"))
    with opened(place) as container:
        return _parsed({key.lower(): value for key, value in container.metadata.items()}.get("comment", ""))


def _parsed(text: str) -> dict[str, object] | None:
    if not text.startswith(_NAME + " "):
        return None
    try:
        found = json.loads(text[len(_NAME) :])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
