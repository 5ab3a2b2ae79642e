"""A clip: a video file, an animated picture or a folder of images, read as a stream of frames."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from impasto import files, pictures
from impasto.clips.animation import Animation, is_animated
from impasto.clips.folder import Folder, images_in
from impasto.clips.movie import Movie
from impasto.clips.notes import Notes, refusal
from impasto.clips.window import WHOLE, Frame, Moment, Pick, Window, picked
from impasto.errors import OptionError, PictureError
from impasto.ladder import Size

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".vob", ".wmv", ".asf"),
    *(".flv", ".ogv", ".3gp", ".3g2", ".mxf", ".dv", ".y4m", ".nut", ".ivf", ".rm"),
)
_PICTURE = re.compile(rb"GIF8|\x89PNG\r\n\x1a\n|RIFF....WEBP", re.DOTALL)
_STILL = re.compile(rb"\xff\xd8\xff|BM....\0\0|II\*\0|MM\0\*|8BPS|....ftyp(hei|hev|avi[fs]|mif|msf|crx)", re.DOTALL)
_VIDEO = re.compile(
    rb"....(ftyp|moov|mdat|wide|free|skip)|\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|OggS|\0\0\x01[\xb3\xba]|\x30\x26\xb2\x75|YUV4MPEG2"
    rb"|G.{187}G|.{4}G.{191}G",
    re.DOTALL,
)


class Source(Protocol):
    """What a clip is read from. Times are seconds on the clip's clock."""

    notes: Notes

    @property
    def size(self) -> Size:
        """(height, width), upright, with square pixels."""

    @property
    def rate(self) -> Fraction:
        """Frames a second on average."""

    @property
    def time_base(self) -> Fraction:
        """The unit of its times in seconds."""

    @property
    def has_sound(self) -> bool:
        """Whether there is sound that can be decoded."""

    def times(self) -> Iterator[Moment]:
        """The moments without their pixels."""

    def moments(self, size: Size, skip: int = 0) -> Iterator[Moment]:
        """All moments. size: (height, width) of the pixels. skip: so many need not be drawn, and cannot be."""


class Clip:
    """An opened source of frames. It holds facts, no open file, and may be read several times.

    path: the file or folder. name: its name without folders. size: (height, width) of its frames, upright, with square pixels. rate:
    frames a second on average. time_base: the unit of its times, in seconds. has_sound: whether `join` can copy sound from it.
    """

    def __init__(self, path: Path, source: Source, max_pixels: int) -> None:
        self.path, self.source, self.max_pixels = path, source, max_pixels
        self.name = path.name
        self.size, self.rate, self.time_base, self.has_sound = source.size, source.rate, source.time_base, source.has_sound

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the file's bytes, or of the names and bytes of a folder's images, as hexadecimal."""
        if not isinstance(self.source, Folder):
            return files.digest(self.path)
        found = hashlib.sha256()
        for file in self.source.files:
            found.update(f"{file.name}\0{files.digest(file)}\n".encode(errors="surrogateescape"))
        return found.hexdigest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed or left out, one sentence each. Some are known only after `times` or `frames`."""
        return tuple(f"{files.printable(self.path)} {note}" for note in self.source.notes)

    @property
    def count(self) -> int:
        """How many frames there are."""
        return self.count_in(WHOLE)

    @property
    def seconds(self) -> Fraction:
        """From the first frame's appearance to the end of the last."""
        return self.seconds_in(WHOLE)

    def count_in(self, window: Window) -> int:
        """How many frames a window gives. Read from the index, or from the packets without decoding them where that is exact."""
        return sum(1 for _ in self._picks(window))

    def seconds_in(self, window: Window) -> Fraction:
        """How long the frames of a window last together."""
        end = Fraction(0)
        for pick in self._picks(window):
            end = pick.time + pick.duration
        return end

    def time_base_in(self, window: Window) -> Fraction:
        """The unit in which `encode` stores a window's times exactly, in seconds."""
        return self.time_base if window.fps is None else 1 / window.fps

    def rate_in(self, window: Window) -> Fraction:
        """Frames a second of a window, on average."""
        return (window.fps or self.rate) / window.every

    def times(self, window: Window = WHOLE) -> list[Fraction]:
        """When each frame of a window appears, in seconds since the first. Raises OptionError for a window without frames."""
        return [pick.time for pick in self._picks(window)]

    def start(self, window: Window = WHOLE) -> Fraction:
        """When the first frame of a window appears on the clip's clock, in seconds."""
        return next(self._picks(window)).start

    def frames(self, window: Window = WHOLE, size: Size | None = None, first: int = 0) -> Iterator[Frame]:
        """The frames of a window, one at a time: memory does not grow with the clip.

        size: (height, width) of the pixels; None for the clip's own. first: the number of the frame to start with. Frames do not depend
        on it: decoding starts at a key frame before it where that is exact, and at the clip's beginning elsewhere.

        Raises OptionError for a window without frames, PictureError where nothing can be decoded, MemoryLimitError.
        """
        source, rest = self._at(window)
        skip = 0
        for pick in picked(source.times(), rest) if first or window.start else ():
            if pick.number == first:
                skip = pick.place
                break
        else:
            if first or window.start:
                self._complain(window, first)
                return
        found = False
        for pick in picked(source.moments(size or self.size, skip), rest):
            found = True
            if pick.number >= first:
                yield Frame(pick.number, pick.time, pick.duration, pick.draw())
        if not found:
            self._complain(window, first)

    def _picks(self, window: Window) -> Iterator[Pick]:
        source, rest = self._at(window)
        empty = True
        for pick in picked(source.times(), rest):
            empty = False
            yield pick
        if empty:
            self._complain(window, 0)

    def _at(self, window: Window) -> tuple[Source, Window]:
        """The source at a window's rate, and the window that remains. A folder's images have no times but those of the rate."""
        if isinstance(self.source, Folder) and window.fps is not None:
            return self.source.at(window.fps), replace(window, fps=None)
        return self.source, window

    def _complain(self, window: Window, first: int) -> None:
        end = Fraction(0)
        for moment in self.source.times():
            end = moment.time + moment.duration
        if not end:
            raise refusal(self.path, "no frame of it can be decoded")
        if first:
            return
        raise OptionError(f"is after the end: {files.printable(self.path)} is {float(end):.2f} s long", option="start")


def open_clip(path: str | os.PathLike[str], *, max_pixels: int = pictures.DEFAULT_MAX_PIXELS) -> Clip:
    """Open a video file, an animated GIF, WebP or PNG, or a folder of numbered images.

    path: never an address. max_pixels: the largest height times width of a frame, checked before pixels are decoded.

    Raises PictureError for what is no clip, and UsageError for a video file without the video extra.
    """
    place = Path(path)
    if _is_folder(place):
        return Clip(place, Folder(place, max_pixels), max_pixels)
    with files.open_regular(place, PictureError, "clip") as file:
        head = file.read(400)
    if _PICTURE.match(head):
        return Clip(place, Animation(place, max_pixels), max_pixels)
    if _STILL.match(head):
        raise refusal(place, "is a still image, not a clip")
    return Clip(place, Movie(place, max_pixels), max_pixels)


def is_clip(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a moving picture, judged by its first bytes, else by its suffix. A mask may be either."""
    place = Path(path)
    if _is_folder(place):
        try:
            return bool(images_in(place))
        except PictureError:
            return False
    try:
        with files.open_regular(place, PictureError) as file:
            head = file.read(400)
    except PictureError:
        return place.suffix.lower() in SUFFIXES
    if _PICTURE.match(head):
        return is_animated(place)
    if _STILL.match(head):
        return False
    return bool(_VIDEO.match(head)) or place.suffix.lower() in SUFFIXES


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # not a valid file name
        return False
