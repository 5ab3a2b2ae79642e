"""Video files by PyAV, opened so that a file can only ever be that file.

FFmpeg follows addresses, playlists and lists of files. Here it gets an open file, which has no name, may recognize only formats that
hold their data themselves, and may open nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from impasto import files
from impasto.errors import PictureError, UsageError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

# FFmpeg's names of formats
FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "ogg", "asf"),
    *("mxf", "nut", "dv", "ivf", "yuv4mpegpipe", "gxf", "rm"),
)
MISSING = "video needs the video extra: pip install 'impasto[video]'"


def library() -> Any:
    """The module `av`. It logs nothing unless asked to, and must not be asked: its callback can deadlock with decoding threads.

    Raises UsageError where the video extra is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UsageError(MISSING) from error
    return av


def check_extra() -> None:
    """Raise UsageError if the video extra is not installed."""
    library()


class _Nameless:
    """The part of a file object that FFmpeg needs. Without a name, it judges a file by its bytes only."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _refuse(*_: object) -> NoReturn:
    raise PermissionError("a video may not refer to other files")


@contextlib.contextmanager
def opened(path: Path, role: str = "clip") -> Iterator[InputContainer]:
    """A video file. role: begins error messages. Raises PictureError for what FFmpeg does not recognize, and UsageError."""
    av = library()
    with files.open_regular(path, PictureError, role) as file:
        options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
        with faults(f"{role} {files.printable(path)}", "is not a video, or its format is not supported"):
            found = av.open(_Nameless(file), "r", options=options, io_open=_refuse, **_tolerant(av))
        with found:
            yield found


def _tolerant(av: Any) -> dict[str, str]:
    """Titles in any encoding. PyAV 19 is so by itself."""
    return {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


@contextlib.contextmanager
def faults(subject: str, otherwise: str) -> Iterator[None]:
    """Turn FFmpeg's errors into a PictureError that begins with a subject. otherwise: what is wrong where data is invalid."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        raise PictureError(f"{subject}: {otherwise}" + _detail(error)) from error


def _detail(error: av.error.FFmpegError) -> str:
    words = files.one_line(str(error.strerror or "")).lower()
    known = ("invalid data found when processing input", "invalid argument", "")
    return "" if words in known else f" ({words})"


def fraction(value: Any) -> Fraction | None:
    """A rational number of PyAV, which before version 19 is None where it is unknown and later 0; None for either."""
    if value is None:
        return None
    found = Fraction(int(value.numerator), int(value.denominator)) if value.denominator else Fraction(0)
    return found or None
