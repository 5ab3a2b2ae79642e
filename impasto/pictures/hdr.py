"""Pictures of high dynamic range (PQ, HLG) to the standard range.

Light is in cd/m². The range up to a peak of 1000 cd/m² is compressed to that of a screen whose white is the reference white of ITU-R
BT.2408 (203 cd/m²), by the curve of ITU-R BT.2390. It leaves everything below about 93 cd/m² as it is. The reference white itself
becomes level 229 of 255, so that highlights stay brighter than it. Stills and video use the same functions.
"""

from __future__ import annotations

import numpy as np

from impasto.pictures.spaces import PQ, PRIMARIES, Floats, by_rows, linear_to_srgb, to_linear_srgb, to_xyz

REFERENCE_WHITE = 203.0  # ITU-R BT.2408, section 2.2
PEAK = 1000.0  # what most material is mastered for; HLG is defined for displays of this brightness
HIGHEST = 10000.0  # of PQ

# SMPTE ST 2084
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def pq_to_light(values: Floats) -> Floats:
    """cd/m² from PQ values in [0, 1] (SMPTE ST 2084)."""
    root = np.maximum(values, 0) ** np.float32(1 / _M2)
    ratio = np.maximum(root - np.float32(_C1), 0) / (np.float32(_C2) - np.float32(_C3) * root)
    return np.asarray(HIGHEST * ratio ** np.float32(1 / _M1), np.float32)


def light_to_pq(light: Floats) -> Floats:
    """PQ values in [0, 1] from cd/m²."""
    power = (np.clip(light, 0, HIGHEST) / np.float32(HIGHEST)) ** np.float32(_M1)
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, np.float32)


def hlg_to_light(values: Floats, weights: Floats, peak: float = PEAK) -> Floats:
    """cd/m² on a display of a peak brightness, from ...x3 HLG values in [0, 1] (ITU-R BT.2100, table 5).

    weights: the luminances of the three primaries, which sum to 1.
    """
    scene = hlg_to_scene(values)
    luminance = np.maximum(scene @ weights, 1e-9)[..., None]
    return np.asarray(peak * luminance ** np.float32(system_gamma(peak) - 1) * scene, np.float32)


def hlg_to_scene(values: Floats) -> Floats:
    """The light in front of the camera, in [0, 1], from HLG values in [0, 1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12).astype(np.float32)


def system_gamma(peak: float) -> float:
    """The exponent from scene light to the light of an HLG display of a peak brightness (ITU-R BT.2100, note 5f)."""
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
