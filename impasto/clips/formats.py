"""What a painted clip can be saved as."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from impasto import files
from impasto.errors import OutputError


@dataclass(frozen=True)
class Format:
    """A kind of output.

    suffix: "" for a folder of PNGs. container, codec: FFmpeg's names; "" for what FFmpeg does not write. options: of the codec. sound:
    codecs of sound that are copied as they are. converted: the codec that others become.
    """

    suffix: str
    container: str = ""
    codec: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    sound: tuple[str, ...] = ()
    converted: str = ""

    @property
    def is_film(self) -> bool:
        """Whether `encode` and `join` write it."""
        return bool(self.codec)

    @property
    def can_hold_sound(self) -> bool:
        """Whether it has room for sound."""
        return bool(self.sound)


# Without B-frames every packet appears in the order in which it is stored, so that segments follow one another as they are. The number
# of threads is fixed because the bytes depend on it.
_H264 = {"crf": "18", "preset": "medium", "bf": "0", "g": "48", "x264-params": "threads=4:open-gop=0"}
_VP9 = {
    "crf": "24",
    "b": "0",
    "deadline": "good",
    "cpu-used": "3",
    "row-mt": "1",
    "threads": "4",
    "tile-columns": "1",
    "g": "48",
}
FORMATS = {
    ".mp4": Format(".mp4", "mp4", "libx264", _H264, ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"), "aac"),
    ".webm": Format(".webm", "webm", "libvpx-vp9", _VP9, ("opus", "vorbis"), "libopus"),
    ".gif": Format(".gif"),
    "": Format(""),
}
FRAME_NAME = "{:06}.png"  # of a folder's images, from 1


def format_of(path: str | os.PathLike[str]) -> Format:
    """The format that a name's suffix stands for. Raises OutputError for others."""
    suffix = Path(path).suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]
    near = difflib.get_close_matches(suffix, [known for known in FORMATS if known], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    known = "known: .mp4, .webm, .gif, and no suffix for a folder of PNGs"
    raise OutputError(f"{files.printable(path)}: unknown suffix {suffix!r}; {hint}{known}")
