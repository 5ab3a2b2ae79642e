"""How the numbers of a decoded frame code colors, and from sRGB to such numbers, by the formulas of the standards.

Numbers of ITU-T H.273 name matrices, primaries and transfer functions, as in `pictures.spaces`. FFmpeg uses the same numbers.
swscale is not asked for colors: what it does with ranges and matrices has changed between releases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from impasto.pictures.spaces import HLG, PQ

BT709, UNSTATED, BT470BG, BT601, BT2020 = 1, 2, 5, 6, 9
_BT2020_CONSTANT, _P3_DCI, _P3_DISPLAY = 10, 11, 12
RGB = 0  # as a matrix: the planes are green, blue and red
_HD_LINES = 720  # untagged clips of fewer lines are BT.601
WIDE = {BT2020: "BT.2020", _P3_DCI: "DCI-P3", _P3_DISPLAY: "Display P3"}

# H.273, table 4: the weights of red and blue in luma
WEIGHTS: dict[int, tuple[float, float]] = {
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
        return f"has the colors of {WIDE[self.primaries]}, which are converted to BT.709" if self.primaries in WIDE else ""


def coding(matrix: int, primaries: int, transfer: int, *, full: bool, bits: int, lines: int) -> Coding:
    """Fill in what a clip does not state, or states by a number that is not known. lines: the height of its frames in pixels."""
    if matrix != RGB and matrix not in WEIGHTS:
        wide = primaries == BT2020 or transfer in (PQ, HLG)
        matrix = BT2020 if wide else BT709 if lines >= _HD_LINES else BT601
    if primaries not in WIDE:
        primaries = BT2020 if transfer in (PQ, HLG) and primaries == UNSTATED else BT709
    return Coding(matrix, primaries, transfer, full, bits)


# ------------------------------------------------------------------------------------------------------------------ writing


def to_yuv420(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Luma, Cb and Cr of BT.709 in limited range, 4:2:0, rounded to the nearest level.

    image: HxWx3 RGB, both sides even. Chroma lies between two rows and on the left one of two columns, as H.264 and VP9 assume.
    """
    red, blue = map(np.float32, WEIGHTS[BT709])
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
