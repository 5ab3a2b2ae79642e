"""The sound of a clip for another file: its packets as they are, or converted where the file cannot hold them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from impasto.clips.container import fraction, library
from impasto.clips.formats import Format
from impasto.clips.window import Window

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

_BIT_RATE = 192_000  # of converted stereo
_OPUS_RATES = (48000, 24000, 16000, 12000, 8000)


class Sound:
    """One track of sound on its way into a container.

    origin: where the new file's clock is 0, in seconds of the old file's clock. window: what part is kept, on the clip's clock. copied:
    whether packets stay as they are if the format can hold them.
    """

    def __init__(
        self, container: InputContainer, index: int, kind: Format, origin: Fraction, window: Window, *, copied: bool = True
    ) -> None:
        self.source = container
        self.stream: Any = container.streams[index]
        self.origin, self.window = origin, window
        self.codec = self.stream.codec_context.name
        self.copied = copied and _family(self.codec) in kind.sound
        self.kind = kind
        self.note = "" if self.copied else f"its sound is converted from {_family(self.codec)} to {_family(kind.converted)}"
        self.until = None if window.end is None else window.end - (window.start or 0)

    def added(self, target: OutputContainer) -> Any:
        """The track in the new file."""
        if self.copied:
            copied = target.add_stream_from_template(self.stream)
            copied.metadata.update({key: value for key, value in self.stream.metadata.items() if key == "language"})
            return copied
        context: Any = self.stream.codec_context
        rate = context.sample_rate
        if self.kind.converted == "libopus" and rate not in _OPUS_RATES:
            rate = 48000
        track: Any = target.add_stream(self.kind.converted, rate=rate)
        channels = min(2, context.layout.nb_channels)
        track.codec_context.layout = "stereo" if channels == 2 else "mono"
        track.codec_context.bit_rate = _BIT_RATE * channels // 2
        return track

    def packets(self, track: Any) -> Iterator[tuple[Fraction, Any]]:
        """Packets for the track, each with its time in seconds of the new file."""
        if self.copied:
            yield from self._copied(track)
        else:
            yield from self._converted(track)

    def _copied(self, track: Any) -> Iterator[tuple[Fraction, Any]]:
        tb = fraction(self.stream.time_base) or Fraction(1, 48000)
        shift = round(self.origin / tb)
        latest: int | None = None
        for packet in self._demuxed():
            if not packet.size or packet.pts is None:
                continue
            time = packet.pts * tb - self.origin
            if self._is_before(time, (packet.duration or 0) * tb):
                continue
            if self.until is not None and time >= self.until:
                return
            packet.pts -= shift
            packet.dts = packet.pts  # sound is stored in the order in which it is heard
            if latest is not None and packet.pts <= latest:  # a joined or damaged file
                continue
            latest = packet.pts
            packet.time_base = tb
            packet.stream = track
            yield time, packet

    def _is_before(self, time: Fraction, duration: Fraction) -> bool:
        """Whether a packet ends before the window. The packet across its start is kept where the file can say that it starts early."""
        if not self.window.start:
            return False
        return time < 0 if self.kind.container == "webm" else time + duration <= 0

    def _demuxed(self) -> Iterator[Any]:
        av = library()
        try:
            yield from self.source.demux(self.stream)
        except (av.error.FFmpegError, OSError):  # cut off
            return

    def _converted(self, track: Any) -> Iterator[tuple[Fraction, Any]]:
        av = library()
        context = track.codec_context
        tb = Fraction(1, context.sample_rate)
        resampler = av.AudioResampler(format=context.format, layout=context.layout, rate=context.sample_rate)
        fifo = av.AudioFifo()
        start: Fraction | None = None
        written = 0

        def coded(frame: Any) -> Iterator[tuple[Fraction, Any]]:
            nonlocal written
            if frame is not None:
                frame.pts = round((start or Fraction(0)) / tb) + written
                frame.time_base = tb
                written += frame.samples
            for packet in track.encode(frame):
                yield packet.pts * (fraction(packet.time_base) or tb), packet

        for frame in self._decoded():
            time = frame.pts * (fraction(frame.time_base) or tb) - self.origin
            if start is None:
                if self.window.start and time < 0:
                    continue
                start = max(time, Fraction(0))
            if self.until is not None and time >= self.until:
                break
            frame.pts = None
            for part in resampler.resample(frame):
                part.pts = None
                fifo.write(part)
            while (part := fifo.read(context.frame_size or 1024)) is not None:
                yield from coded(part)
        if start is None:
            return
        for part in resampler.resample(None):
            part.pts = None
            fifo.write(part)
        while (part := fifo.read(context.frame_size or 1024, partial=True)) is not None and part.samples:
            yield from coded(part)
        yield from coded(None)

    def _decoded(self) -> Iterator[Any]:
        av = library()
        for packet in self._demuxed():
            try:
                frames = self.stream.decode(packet if packet.size else None)
            except av.error.FFmpegError:
                continue
            yield from (frame for frame in frames if frame.pts is not None)


def _family(codec: str) -> str:
    """FFmpeg has several encoders and decoders of one format."""
    names = {
        "libopus": "opus",
        "libvorbis": "vorbis",
        "mp3float": "mp3",
        "aac_latm": "aac",
        "aac_fixed": "aac",
        "libfdk_aac": "aac",
    }
    return names.get(codec, codec)
