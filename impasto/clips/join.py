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
from impasto.clips.formats import format_of
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
    library()
    files.check(place, (kind.suffix,), overwrite=overwrite)
    notes = list[str]()
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(writing(place, (kind.suffix,), overwrite=overwrite))
        sound, delay = None, Fraction(0)
        if clip is not None and isinstance(clip.source, Movie):
            sound, delay = _sound_of(clip, window, kind, stack)
        if sound is not None and sound.note:
            notes.append(f"{files.printable(place)}: {sound.note}")
        _mux([Path(segment) for segment in segments], temporary, kind, sound, delay, metadata)
    return tuple(notes)


def _sound_of(clip: Clip, window: Window, kind: Any, stack: contextlib.ExitStack) -> tuple[Sound | None, Fraction]:
    """The track of sound, and seconds from the new file's start until the first frame appears."""
    movie = clip.source
    if not isinstance(movie, Movie) or movie.facts.sound is None:
        return None, Fraction(0)
    first = clip.start(window)
    whole = clip.start()  # when the clip's own first frame appears
    zero = first if first > whole else (window.start or Fraction(0))
    container = stack.enter_context(opened(clip.path))
    kept = Window(zero or None, window.end if window.end is None or window.end > zero else None)
    return Sound(container, movie.facts.sound, kind, movie.facts.zero + zero, kept), first - zero


def _mux(
    segments: Sequence[Path], path: Path, kind: Any, sound: Sound | None, delay: Fraction, metadata: Mapping[str, object] | None
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
