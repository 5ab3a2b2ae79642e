"""A decoded frame to pixels: the chroma enlarged, the size asked for, colors, transparency, and which way is up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto.clips import color
from impasto.clips.color import Coding
from impasto.ladder import Size

if TYPE_CHECKING:
    from av.video.format import VideoFormat
    from av.video.frame import VideoFrame
    from torch import Tensor

_LIMITED, _FULL = 1, 2  # AVColorRange
_FILTER = (
    0x4 | 0x4000 | 0x40000
)  # swscale's bicubic filter, all chroma, accurate rounding; PyAV 17 has no names for the last two
_RED_FIRST = (2, 0, 1)  # planes of FFmpeg's gbrp


@dataclass(frozen=True)
class Turn:
    """How a frame is laid on the screen. swapped: rows become columns. across, down: then mirrored left to right, top to bottom."""

    swapped: bool = False
    across: bool = False
    down: bool = False

    def applied(self, size: Size) -> Size:
        """(height, width) after turning."""
        return (size[1], size[0]) if self.swapped else size

    def turned(self, pixels: Tensor) -> Tensor:
        """CxHxW pixels, upright."""
        pixels = pixels.transpose(1, 2) if self.swapped else pixels
        axes = [axis for axis, mirrored in ((2, self.across), (1, self.down)) if mirrored]
        return (pixels.flip(axes) if axes else pixels).contiguous()


def turn_of(frame: VideoFrame) -> Turn:
    """From the display matrix: (x, y) of a sample appears at (a x + c y, b x + d y) (ISO 14496-12, 6.2.2).

    An angle that is no quarter turn becomes the nearest one.
    """
    found: Any = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return Turn()
    a, b, _, c, d = np.frombuffer(bytes(found), np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Turn(False, a < 0, d < 0)
    return Turn(True, c < 0, b < 0)


class Drawing:
    """Makes pixels of one size from decoded frames.

    One reformatter is used for all frames: FFmpeg 8 keeps megabytes for each.
    """

    def __init__(self, turn: Turn, size: Size) -> None:
        """size: (height, width) of the result, upright."""
        from av.video.reformatter import VideoReformatter

        self.turn, self.size = turn, size
        self._scaler = VideoReformatter()

    def coding(self, frame: VideoFrame) -> Coding:
        """How the frame's numbers code colors."""
        form = frame.format
        rgb = _is_rgb(form)
        return color.coding(
            color.RGB if rgb else int(frame.colorspace) or color.UNSTATED,
            int(frame.color_primaries),
            int(frame.color_trc),
            full=_is_full(frame),
            bits=_target(form)[1],
            lines=frame.height,
        )

    def pixels(self, frame: VideoFrame) -> Tensor:
        """1x3xHxW float32 sRGB in [0, 1], upright."""
        import torch  # here: what a clip is, and what is stored in it, is read without torch

        from impasto.clips import light

        form = frame.format
        name, bits = _target(form)
        height, width = self.turn.applied(self.size)
        span = _FULL if _is_full(frame) else _LIMITED
        scaled = self._scaler.reformat(
            frame, width, height, name, interpolation=_FILTER, src_color_range=span, dst_color_range=span
        )
        how = self.coding(frame)
        planes = _planes(scaled, bits)
        if len(planes) == 1:  # gray
            planes = np.concatenate((planes, np.full((2, *planes.shape[1:]), 2 ** (bits - 1), np.float32)))
        alpha = planes[3] / np.float32(2**bits - 1) if len(planes) == 4 else None
        found = planes[list(_RED_FIRST)] if how.matrix == color.RGB else planes[:3]
        shown = light.to_srgb(torch.from_numpy(np.ascontiguousarray(found)), how)
        if alpha is not None:
            opaque = torch.from_numpy(np.ascontiguousarray(alpha))
            shown = shown * opaque + (1 - opaque)
        return self.turn.turned(shown)[None]


def has_alpha(form: VideoFormat) -> bool:
    """Whether a pixel format has transparency."""
    return any(component.is_alpha for component in form.components)


def _is_rgb(form: VideoFormat) -> bool:
    return form.is_rgb or form.has_palette or form.name.startswith("xyz")


def _is_full(frame: VideoFrame) -> bool:
    return frame.format.name.startswith("yuvj") or int(frame.color_range) == _FULL or _is_rgb(frame.format)


def _target(form: VideoFormat) -> tuple[str, int]:
    """The planar format without subsampled chroma that keeps a format's bits, and how many bits that are."""
    most = max(component.bits for component in form.components)
    bits = next(depth for depth in (8, 10, 12, 16) if depth >= min(most, 16))
    ending = "" if bits == 8 else f"{bits}le"
    letter = "a" if has_alpha(form) else ""
    if _is_rgb(form):
        return f"gbr{letter}p{ending}", bits
    if sum(not component.is_alpha for component in form.components) < 3:
        return f"gray{ending}", bits
    return f"yuv{letter}444p{ending}", bits


def _planes(frame: VideoFrame, bits: int) -> Any:
    """CxHxW float32: the numbers of a planar frame."""
    kind = np.dtype(np.uint8 if bits == 8 else "<u2")
    found = np.empty((len(frame.planes), frame.height, frame.width), np.float32)
    for number, plane in enumerate(frame.planes):
        rows = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // kind.itemsize)
        found[number] = rows[: frame.height, : frame.width]
    return found
