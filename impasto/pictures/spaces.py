"""RGB color spaces: from encoded values to linear sRGB and back.

A space is a transfer function, which turns encoded values into light, and a matrix from its light to linear sRGB. Primaries and
transfer functions have the numbers of ITU-T H.273, which the cICP chunk of PNG and the nclx box of AVIF and HEIF use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Curve: TypeAlias = Callable[[Floats], Floats]  # encoded values in [0, 1] -> light, 1 for white
Chromaticities: TypeAlias = tuple[float, ...]  # x and y of white, red, green and blue: the order of PNG's cHRM

BYTE, WORD = 255, 65535  # the highest level of 8 and of 16 bits
PIXELS_AT_ONCE = 1 << 17  # pixels that a thread converts at once, so that temporary arrays stay in its cache

D65, D50, C, EQUAL, DCI = (0.3127, 0.3290), (0.3457, 0.3585), (0.310, 0.316), (1 / 3, 1 / 3), (0.314, 0.351)
_BT709, _P3 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06), (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
_BT601 = (0.630, 0.340, 0.310, 0.595, 0.155, 0.070)

SRGB: Chromaticities = (*D65, *_BT709)
ADOBE_RGB: Chromaticities = (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
ADOBE_GAMMA = 563 / 256
PRIMARIES: dict[int, tuple[str, Chromaticities]] = {  # H.273, table 2
    1: ("BT.709", SRGB),
    4: ("BT.470 M", (*C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08)),
    5: ("BT.470 BG", (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06)),
    6: ("BT.601", (*D65, *_BT601)),
    7: ("SMPTE 240M", (*D65, *_BT601)),
    8: ("film", (*C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049)),
    9: ("BT.2020", (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)),
    10: ("CIE XYZ", (*EQUAL, 1, 0, 0, 1, 0, 0)),
    11: ("DCI-P3", (*DCI, *_P3)),
    12: ("Display P3", (*D65, *_P3)),
    22: ("EBU 3213", (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077)),
}
PQ, HLG = 16, 18


def srgb_to_linear(values: Floats) -> Floats:
    """Light from sRGB values (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(light: Floats) -> Floats:
    """sRGB values in [0, 1] from light, which is clipped to [0, 1]."""
    x = np.clip(light, 0, 1, dtype=np.float32)
    curved = np.power(x, np.float32(1 / 2.4))
    curved *= np.float32(1.055)
    curved -= np.float32(0.055)
    encoded: Floats = np.where(x <= np.float32(0.0031308), x * np.float32(12.92), curved)
    return encoded


def power(gamma: float) -> Curve:
    """Light that is a power of the encoded value."""
    return lambda values: np.power(np.maximum(values, 0), gamma, dtype=np.float32)


def _smpte_240m(values: Floats) -> Floats:
    return np.where(values < 0.0912, values / 4, ((values + 0.1115) / 1.1115) ** (1 / 0.45)).astype(np.float32)


def _smpte_428(values: Floats) -> Floats:
    return np.power(values, 2.6, dtype=np.float32) * np.float32(52.37 / 48)


# H.273, table 3. The curves of BT.709 and its relatives (1, 6, 11, 12, 14, 15) describe cameras. Browsers show such values as sRGB.
TRANSFERS: dict[int, tuple[str, Curve]] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15, 13), ("sRGB", srgb_to_linear)),
    4: ("gamma 2.2", power(2.2)),
    5: ("gamma 2.8", power(2.8)),
    7: ("SMPTE 240M", _smpte_240m),
    8: ("linear", power(1)),
    17: ("SMPTE 428", _smpte_428),
}


_PROBE = np.stack(np.meshgrid(*[np.linspace(0, 1, 9, dtype=np.float32)] * 3), axis=-1).reshape(27, 27, 3)


@dataclass(frozen=True)
class Space:
    """An RGB color space. name: for notes. curves: one for each channel, or one for all. matrix: 3x3, its light to linear sRGB."""

    name: str
    curves: tuple[Curve, ...]
    matrix: Doubles

    def to_srgb(self, values: Floats) -> Floats:
        """HxWx3 encoded values in [0, 1] to HxWx3 sRGB values in [0, 1]. Colors outside sRGB's gamut are clipped in linear light."""
        curves = self.curves if len(self.curves) == 3 else self.curves * 3

        return by_rows(lambda rows: self._encoded(curve(rows[..., channel]) for channel, curve in enumerate(curves)), values)

    def bytes_to_srgb(self, levels: npt.NDArray[np.uint8]) -> Floats:
        """The same for HxWx3 levels of 255: every curve is evaluated once for each level."""
        ramp = np.linspace(0, 1, 256, dtype=np.float32)
        tables = [curve(ramp) for curve in (self.curves if len(self.curves) == 3 else self.curves * 3)]

        return by_rows(lambda rows: self._encoded(table[rows[..., channel]] for channel, table in enumerate(tables)), levels)

    def _encoded(self, light: Iterable[Floats]) -> Floats:
        """HxWx3 sRGB values from the light of each channel. Planes are several times faster than pixels of three."""
        red, green, blue = light
        rows = self.matrix.astype(np.float32)
        return np.stack([linear_to_srgb(a * red + b * green + c * blue) for a, b, c in rows], axis=-1)

    @property
    def is_srgb(self) -> bool:
        """Whether conversion changes no color by more than two levels of 255: how far two sRGB profiles differ."""
        return bool(np.abs(self.to_srgb(_PROBE) - _PROBE).max() < 2.5 / 255)

    @property
    def is_finite(self) -> bool:
        """Whether every color becomes one."""
        return bool(np.isfinite(self.to_srgb(_PROBE)).all())


def by_rows(function: Callable[[npt.NDArray[Any]], Floats], values: npt.NDArray[Any]) -> Floats:
    """Apply a function of single pixels to blocks of rows of HxWx3 values, on all cores: NumPy lets other threads run meanwhile."""
    step = max(1, PIXELS_AT_ONCE // max(1, values.shape[1]))
    result, tops, state = np.empty(values.shape, np.float32), range(0, len(values), step), np.geterr()

    def fill(top: int) -> None:
        with np.errstate(**state):  # a new thread has the defaults
            result[top : top + step] = function(values[top : top + step])

    threads = min(_cores(), len(tops))
    if threads < 2:
        for top in tops:
            fill(top)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, tops))  # the list raises what a thread raised
    return result


def _cores() -> int:
    """How many threads to use: one for each core that this process may use, and no more than OpenMP is allowed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(allowed)) if allowed.isdecimal() and int(allowed) else cores


def to_xyz(chromaticities: Chromaticities) -> Doubles:
    """The 3x3 matrix from linear RGB to XYZ, in which RGB (1, 1, 1) is the white point with Y = 1 (SMPTE RP 177).

    Raises ValueError for primaries that span no plane.
    """
    xy = np.asarray(chromaticities, np.float64).reshape(4, 2)
    if not (np.isfinite(xy).all() and xy[0, 1] > 0):
        raise ValueError("the white point is not a color")
    white, *primaries = (np.array([x, y, 1 - x - y]) for x, y in xy)
    columns = np.stack(primaries, axis=1)
    try:
        result: Doubles = columns * np.linalg.solve(columns, white / white[1])
    except np.linalg.LinAlgError as error:
        raise ValueError("the primaries lie on a line") from error
    return result


_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def adapted(source: Doubles, target: Doubles) -> Doubles:
    """The 3x3 matrix from XYZ under one white point to XYZ under another (Bradford; Lam 1985). source, target: XYZ of the whites."""
    result: Doubles = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ target) / (_BRADFORD @ source)) @ _BRADFORD
    return result


def to_linear_srgb(chromaticities: Chromaticities) -> Doubles:
    """The 3x3 matrix from linear RGB with these primaries to linear sRGB. White stays white. Raises ValueError as `to_xyz`."""
    matrix, srgb = to_xyz(chromaticities), to_xyz(SRGB)
    result: Doubles = np.linalg.inv(srgb) @ adapted(matrix.sum(axis=1), srgb.sum(axis=1)) @ matrix
    if not np.isfinite(result).all():
        raise ValueError("the primaries are no colors")
    return result


# Profiles state light under D50. This leads back: the inverse of sRGB's matrix, adapted to the D50 of the ICC specification.
D50_XYZ = np.array([0.9642, 1.0, 0.8249])
FROM_D50 = np.linalg.inv(adapted(to_xyz(SRGB).sum(axis=1), D50_XYZ) @ to_xyz(SRGB))
