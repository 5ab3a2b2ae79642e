"""Pictures of high dynamic range (PQ, HLG) to the standard range.

Light is in cd/m². The range up to a peak of 1000 cd/m² is compressed to that of a screen whose white is the reference white of ITU-R
BT.2408 (203 cd/m²), by the curve of ITU-R BT.2390. It leaves everything below about 93 cd/m² as it is. The reference white itself
becomes level 229 of 255, so that highlights stay brighter than it. Stills and video use the same functions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from impasto.pictures.spaces import (
    HLG,
    PQ,
    PRIMARIES,
    Floats,
    by_rows,
    light_to_srgb,
    linear_to_srgb,
    mixed,
    to_linear_srgb,
    to_xyz,
)

REFERENCE_WHITE = 203.0  # ITU-R BT.2408, section 2.2
PEAK = 1000.0  # what most material is mastered for; HLG is defined for displays of this brightness
_HIGHEST = 10000.0

# SMPTE ST 2084
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def pq_to_light(values: Floats) -> Floats:
    """cd/m² from PQ values in [0, 1] (SMPTE ST 2084)."""
    root = np.maximum(values, 0) ** np.float32(1 / _M2)
    ratio = np.maximum(root - np.float32(_C1), 0) / (np.float32(_C2) - np.float32(_C3) * root)
    return np.asarray(_HIGHEST * ratio ** np.float32(1 / _M1), np.float32)


def light_to_pq(light: Floats) -> Floats:
    """PQ values in [0, 1] from cd/m²."""
    power = (np.clip(light, 0, _HIGHEST) / np.float32(_HIGHEST)) ** np.float32(_M1)
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, np.float32)


def hlg_to_light(values: Floats, weights: Floats, peak: float = PEAK) -> Floats:
    """cd/m² on a display of a peak brightness, from ...x3 HLG values in [0, 1] (ITU-R BT.2100, table 5).

    weights: the luminances of the three primaries, which sum to 1.
    """
    scene = hlg_to_scene(values)
    luminance = np.maximum(scene @ weights, 1e-9)[..., None]
    return np.asarray(peak * luminance ** np.float32(_system_gamma(peak) - 1) * scene, np.float32)


def hlg_to_scene(values: Floats) -> Floats:
    """The light in front of the camera, in [0, 1], from HLG values in [0, 1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12).astype(np.float32)


def _system_gamma(peak: float) -> float:
    return float(1.2 + 0.42 * np.log10(peak / 1000))


def compressed(light: Floats, peak: float = PEAK) -> Floats:
    """...x3 light in cd/m² so that the peak becomes the reference white: the curve of ITU-R BT.2390-8, section 5.4.1.

    It applies to the largest channel and the others keep their ratio to it, so that hues stay.
    """
    if peak <= REFERENCE_WHITE:
        return light
    brightest = light.max(axis=-1, keepdims=True)
    top = light_to_pq(np.array([peak], np.float32))[0]
    most = light_to_pq(np.array([REFERENCE_WHITE], np.float32))[0] / top
    knee = 1.5 * most - 0.5
    value = np.minimum(light_to_pq(brightest) / top, 1)
    t = (value - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    mapped = pq_to_light(np.where(value < knee, value, spline).astype(np.float32) * top)
    return np.asarray(light * np.where(value < knee, 1, mapped / np.maximum(brightest, 1e-6)), np.float32)


def to_srgb(values: Floats, transfer: int, primaries: int, peak: float = PEAK) -> Floats:
    """HxWx3 PQ or HLG values in [0, 1] to sRGB values in [0, 1].

    transfer, primaries: numbers of ITU-T H.273; the transfer is `spaces.PQ` or `spaces.HLG`. peak: the brightness in cd/m² that becomes
    white; what is brighter is clipped.
    """
    chromaticities = PRIMARIES[primaries][1]
    matrix = (to_linear_srgb(chromaticities).T / REFERENCE_WHITE).astype(np.float32)
    luminances = to_xyz(chromaticities)[1].astype(np.float32)

    def converted(rows: Floats) -> Floats:
        light = pq_to_light(rows) if transfer == PQ else hlg_to_light(rows, luminances)
        return linear_to_srgb(compressed(light, peak) @ matrix)

    return by_rows(converted, values)


_LEVELS = 65535  # of the tables: one for each level of 16 bits


class ToneMap:
    """`to_srgb` for many frames: the same functions, from tables of 16 bits instead of powers for every pixel.

    It differs from `to_srgb` by less than a quarter of a level of 255.
    """

    def __init__(self, transfer: int, primaries: int, peak: float = PEAK) -> None:
        """transfer, primaries, peak: as in `to_srgb`."""
        chromaticities = PRIMARIES[primaries][1]
        self._matrix = torch.from_numpy((to_linear_srgb(chromaticities) / REFERENCE_WHITE).astype(np.float32))
        ramp = np.linspace(0, 1, _LEVELS + 1, dtype=np.float32)
        self._curve = torch.from_numpy(pq_to_light(ramp) if transfer == PQ else hlg_to_scene(ramp))
        self._weights = torch.from_numpy(to_xyz(chromaticities)[1].astype(np.float32)) if transfer == HLG else None
        self._peak, self._brightest = peak, _HIGHEST if transfer == PQ else peak
        gray = np.repeat((ramp * np.float32(self._brightest))[1:, None], 3, axis=1)
        gains = compressed(gray, peak)[:, 0] / gray[:, 0]
        self._gain = torch.from_numpy(np.concatenate((gains[:1], gains)))

    def __call__(self, values: Tensor) -> Tensor:
        """3xHxW float32 PQ or HLG values to sRGB values in [0, 1]; what lies outside [0, 1] is clipped."""
        light = self._curve[_level(values)]
        if self._weights is not None:
            luminance = torch.einsum("i,ihw->hw", self._weights, light).clamp_(min=1e-9)
            light = light * luminance.pow_(_system_gamma(self._peak) - 1).mul_(self._peak)
        gain = self._gain[_level(light.amax(dim=0) / self._brightest)]
        return light_to_srgb(mixed(light * gain, self._matrix))


def _level(values: Tensor) -> Tensor:
    """The nearest of 65536 levels for values in [0, 1]."""
    return values.clamp(0, 1).mul_(_LEVELS).add_(0.5).to(torch.int32)
