"""From the numbers of a decoded frame to sRGB and back, by the formulas of the standards.

Numbers of ITU-T H.273 name matrices, primaries and transfer functions, as in `pictures.spaces`. FFmpeg uses the same numbers.
swscale is not asked for colors: what it does with ranges and matrices has changed between releases.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from impasto.pictures import hdr, spaces
from impasto.pictures.spaces import HLG, PQ

BT709, UNSTATED, BT470BG, BT601, BT2020 = 1, 2, 5, 6, 9
_BT2020_CONSTANT, _P3_DCI, _P3_DISPLAY = 10, 11, 12
RGB = 0  # as a matrix: the planes are green, blue and red
_HD_LINES = 720  # untagged clips of fewer lines are BT.601
_WIDE = {BT2020: "BT.2020", _P3_DCI: "DCI-P3", _P3_DISPLAY: "Display P3"}

# H.273, table 4: the weights of red and blue in luma
_WEIGHTS: dict[int, tuple[float, float]] = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    BT470BG: (0.299, 0.114),
    BT601: (0.299, 0.114),
    7: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
    _BT2020_CONSTANT: (0.2627, 0.0593),  # constant luminance: nearly the same for what is not saturated
}


@dataclass(frozen=True)
class Coding:
    """How a frame's numbers code colors.

    matrix, primaries, transfer: of H.273. full: whether black is 0 and white the highest level. bits: of a number.
    """

    matrix: int
    primaries: int
    transfer: int
    full: bool
    bits: int

    @property
    def is_hdr(self) -> bool:
        """Whether it is of high dynamic range: PQ or HLG."""
        return self.transfer in (PQ, HLG)

    @property
    def note(self) -> str:
        """What is done to the colors, for the user; "" for nothing that needs saying."""
        if self.is_hdr:
            return f"is {'PQ' if self.transfer == PQ else 'HLG'} video and is mapped to the standard range"
        return f"has the colors of {_WIDE[self.primaries]}, which are converted to BT.709" if self.primaries in _WIDE else ""


def coding(matrix: int, primaries: int, transfer: int, *, full: bool, bits: int, lines: int) -> Coding:
    """Fill in what a clip does not state, or states by a number that is not known. lines: the height of its frames in pixels."""
    if matrix != RGB and matrix not in _WEIGHTS:
        wide = primaries == BT2020 or transfer in (PQ, HLG)
        matrix = BT2020 if wide else BT709 if lines >= _HD_LINES else BT601
    if primaries not in _WIDE:
        primaries = BT2020 if transfer in (PQ, HLG) and primaries == UNSTATED else BT709
    return Coding(matrix, primaries, transfer, full, bits)


def to_srgb(planes: Tensor, how: Coding) -> Tensor:
    """3xHxW float32 sRGB values in [0, 1] from a frame's planes.

    planes: 3xHxW levels: luma, Cb and Cr, or red, green and blue where the matrix is RGB. BT.709's camera curve is not undone:
    browsers show the values of SDR video as sRGB.
    """
    top = 2**how.bits - 1
    values = planes.to(torch.float32) / top if how.matrix == RGB else _from_yuv(planes, how)
    if how.is_hdr:
        return _tone_map(how.transfer, how.primaries)(values)
    if how.primaries in _WIDE:
        return _narrowed(values, how.primaries)
    return values.clamp_(0, 1)


def _from_yuv(planes: Tensor, how: Coding) -> Tensor:
    """3xHxW R'G'B' from luma and chroma, not clipped. H.273, equations 20 to 37."""
    unit = 2 ** (how.bits - 8)
    black, luma, chroma = (0, 256 * unit - 1, 256 * unit - 1) if how.full else (16 * unit, 219 * unit, 224 * unit)
    red, blue = _WEIGHTS[how.matrix]
    y = planes[0].to(torch.float32).sub_(black).div_(luma)
    cb, cr = (planes[k].to(torch.float32).sub_(128 * unit).div_(chroma) for k in (1, 2))
    green = 1 - red - blue
    rgb = torch.empty(planes.shape, dtype=torch.float32)
    torch.add(y, cr, alpha=2 * (1 - red), out=rgb[0])
    torch.add(y, cb, alpha=-2 * (1 - blue) * blue / green, out=rgb[1]).add_(cr, alpha=-2 * (1 - red) * red / green)
    torch.add(y, cb, alpha=2 * (1 - blue), out=rgb[2])
    return rgb


_tone_map = functools.lru_cache(maxsize=4)(hdr.ToneMap)


def _narrowed(values: Tensor, primaries: int) -> Tensor:
    """sRGB values in [0, 1] from those of wide primaries, by way of linear light."""
    matrix = spaces.to_linear_srgb(spaces.PRIMARIES[primaries][1])
    x = values.clamp(0, 1)
    light = torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055).pow_(2.4))
    return spaces.light_to_srgb(spaces.mixed(light, torch.from_numpy(matrix.astype(np.float32))))


# ------------------------------------------------------------------------------------------------------------------ writing


def to_yuv420(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Luma, Cb and Cr of BT.709 in limited range, 4:2:0, rounded to the nearest level.

    image: HxWx3 RGB, both sides even. Chroma lies between two rows and on the left one of two columns, as H.264 and VP9 assume.
    """
    red, blue = map(np.float32, _WEIGHTS[BT709])
    rgb = image.astype(np.float32) / np.float32(255)
    y = red * rgb[..., 0] + (1 - red - blue) * rgb[..., 1] + blue * rgb[..., 2]
    cb = _thinned((rgb[..., 2] - y) / (2 * (1 - blue)))
    cr = _thinned((rgb[..., 0] - y) / (2 * (1 - red)))
    levels = (16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr)
    luma, first, second = (np.floor(level + np.float32(0.5)).astype(np.uint8) for level in levels)
    return luma, first, second


def _thinned(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Half the rows by the mean of two, half the columns by 1-2-1 around the left one of two."""
    rows = (plane[0::2] + plane[1::2]) / np.float32(2)
    left = np.concatenate((rows[:, :1], rows[:, 1:-1:2]), axis=1)  # the column before each even one
    return np.asarray((left + 2 * rows[:, 0::2] + rows[:, 1::2]) / 4, np.float32)
