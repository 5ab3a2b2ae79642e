"""The times of a video's frames from its packets, without decoding, and where decoding may start in the middle."""

from __future__ import annotations

import bisect
import statistics
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

# Every key frame of these resets the decoder. In H.264 and HEVC only some do, and in MPEG-2 and MPEG-4 one cannot tell.
_ALWAYS = frozenset(
    (
        *("mjpeg", "prores", "dnxhd", "ffv1", "rawvideo", "huffyuv", "ffvhuff", "utvideo", "png", "qtrle", "v210", "dvvideo"),
        *("vp8", "vp9", "av1", "libdav1d"),
    )
)
_SEEKABLE = ("mov", "matroska")  # formats with an index of key frames
_IDR = {"h264": ({5}, 0x1F, 0), "hevc": ({19, 20}, 0x3F, 1)}  # types of NAL units, and where a unit's type is


@dataclass
class Scan:
    """What packets say about a video's frames.

    ticks: when each frame appears, in units of the stream's time base, ascending. last: how long the last frame stays; 0 if unknown.
    keys: the ticks of frames at which decoding may start. exact: whether there is one frame for each of `ticks`. broken: whether
    reading ended with an error.
    """

    ticks: array[int] = field(default_factory=lambda: array("q"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    last: int = 0
    exact: bool = True
    broken: bool = False

    @property
    def usual(self) -> int:
        """The usual distance of two frames, in ticks; 0 if unknown."""
        few = self.ticks[:2000]
        return int(statistics.median_low([b - a for a, b in pairwise(few)])) if len(few) > 1 else 0

    @property
    def varies(self) -> bool:
        """Whether some frames stay much longer than others."""
        distances = sorted(b - a for a, b in pairwise(self.ticks))
        return bool(distances) and distances[-1] - distances[0] > 0.3 * self.usual

    def restart(self, index: int) -> int | None:
        """The ticks of the key frame from which the frame of this index can be decoded; None for the beginning."""
        if not self.exact or not index < len(self.ticks):
            return None
        place = bisect.bisect_right(self.keys, self.ticks[index])
        return self.keys[place - 1] if place else None


def scanned(container: InputContainer, stream: VideoStream) -> Scan:
    """Read all packets of a stream."""
    import av

    codec = stream.codec_context.name
    found = Scan(exact=not (codec == "mpeg4" and container.format.name == "avi"))  # whose packets may hold two frames
    seekable = container.format.name.startswith(_SEEKABLE)
    entries = list[tuple[int, int]]()
    try:
        for packet in container.demux(stream):
            if (
                not packet.size
                or packet.is_discard
                or is_partial(packet, container.format.name)
                or (codec == "vp8" and not bytes(packet)[0] & 0x10)
            ):  # not shown
                continue
            if packet.pts is None:
                found.exact = False
                continue
            entries.append((packet.pts, packet.duration or 0))
            if seekable and packet.is_keyframe and resets(codec, packet):
                found.keys.append(packet.pts)
    except (av.error.FFmpegError, OSError):
        found.broken = True
    entries.sort()
    found.ticks.extend(ticks for ticks, _ in entries)
    found.exact = found.exact and all(a < b for a, b in pairwise(found.ticks))
    found.last = entries[-1][1] if entries else 0
    found.keys = array("q", sorted(found.keys))
    return found


def is_partial(packet: Packet[VideoStream], form: str) -> bool:
    """Whether the file ends within a packet. form: of the file; others mark packets for more reasons."""
    return packet.is_corrupt and form.startswith((*_SEEKABLE, "avi"))


def resets(codec: str, packet: Packet[VideoStream]) -> bool:
    """Whether nothing after a key frame refers to frames before it."""
    if codec in _ALWAYS:
        return True
    if codec not in _IDR:
        return False
    types, mask, shift = _IDR[codec]
    return any((unit >> shift) & mask in types for unit in _unit_heads(bytes(packet)))


def _unit_heads(data: bytes) -> Iterator[int]:
    """The first byte of every NAL unit: behind start codes, or behind lengths of four bytes."""
    if data.startswith((b"\0\0\0\1", b"\0\0\1")):
        place = data.find(b"\0\0\1")
        while 0 <= place < len(data) - 3:
            yield data[place + 3]
            place = data.find(b"\0\0\1", place + 3)
        return
    place = 0
    while place + 4 < len(data):
        yield data[place + 4]
        place += 4 + int.from_bytes(data[place : place + 4], "big")
