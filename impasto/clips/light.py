"""From the planes of a decoded frame to sRGB, as tensors: the formulas of `color` and of `pictures.hdr` for many frames."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from impasto.clips.color import RGB, WEIGHTS, WIDE, Coding
from impasto.pictures import hdr
from impasto.pictures.spaces import HLG, PQ, PRIMARIES, to_linear_srgb, to_xyz

_LEVELS = 65535  # of the tables: one for each level of 16 bits


def to_srgb(planes: Tensor, how: Coding) -> Tensor:
    """3xHxW float32 sRGB values in [0, 1] from a frame's planes.

    planes: 3xHxW levels: luma, Cb and Cr, or red, green and blue where the matrix is RGB. BT.709's camera curve is not undone:
    browsers show the values of SDR video as sRGB.
    """
    top = 2**how.bits - 1
    values = planes.to(torch.float32) / top if how.matrix == RGB else _from_yuv(planes, how)
    if how.is_hdr:
        return _tone_map(how.transfer, how.primaries)(values)
    if how.primaries in WIDE:
        return _narrowed(values, how.primaries)
    return values.clamp_(0, 1)


def _from_yuv(planes: Tensor, how: Coding) -> Tensor:
    """3xHxW R'G'B' from luma and chroma, not clipped. H.273, equations 20 to 37."""
    unit = 2 ** (how.bits - 8)
    black, luma, chroma = (0, 256 * unit - 1, 256 * unit - 1) if how.full else (16 * unit, 219 * unit, 224 * unit)
    red, blue = WEIGHTS[how.matrix]
    y = planes[0].to(torch.float32).sub_(black).div_(luma)
    cb, cr = (planes[k].to(torch.float32).sub_(128 * unit).div_(chroma) for k in (1, 2))
    green = 1 - red - blue
    rgb = torch.empty(planes.shape, dtype=torch.float32)
    torch.add(y, cr, alpha=2 * (1 - red), out=rgb[0])
    torch.add(y, cb, alpha=-2 * (1 - blue) * blue / green, out=rgb[1]).add_(cr, alpha=-2 * (1 - red) * red / green)
    torch.add(y, cb, alpha=2 * (1 - blue), out=rgb[2])
    return rgb


def _narrowed(values: Tensor, primaries: int) -> Tensor:
    """sRGB values in [0, 1] from those of wide primaries, by way of linear light."""
    matrix = to_linear_srgb(PRIMARIES[primaries][1])
    x = values.clamp(0, 1)
    light = torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055).pow_(2.4))
    return _encoded(_mixed(light, torch.from_numpy(matrix.astype(np.float32))))


class ToneMap:
    """`pictures.hdr.to_srgb` for many frames: the same functions, from tables of 16 bits instead of powers for every pixel.

    It differs from `pictures.hdr.to_srgb` by less than a quarter of a level of 255.
    """

    def __init__(self, transfer: int, primaries: int, peak: float = hdr.PEAK) -> None:
        """transfer, primaries, peak: as in `pictures.hdr.to_srgb`."""
        chromaticities = PRIMARIES[primaries][1]
        self._matrix = torch.from_numpy((to_linear_srgb(chromaticities) / hdr.REFERENCE_WHITE).astype(np.float32))
        ramp = np.linspace(0, 1, _LEVELS + 1, dtype=np.float32)
        self._curve = torch.from_numpy(hdr.pq_to_light(ramp) if transfer == PQ else hdr.hlg_to_scene(ramp))
        self._weights = torch.from_numpy(to_xyz(chromaticities)[1].astype(np.float32)) if transfer == HLG else None
        self._peak, self._brightest = peak, hdr.HIGHEST if transfer == PQ else peak
        gray = np.repeat((ramp * np.float32(self._brightest))[1:, None], 3, axis=1)
        gains = hdr.compressed(gray, peak)[:, 0] / gray[:, 0]
        self._gain = torch.from_numpy(np.concatenate((gains[:1], gains)))

    def __call__(self, values: Tensor) -> Tensor:
        """3xHxW float32 PQ or HLG values to sRGB values in [0, 1]; what lies outside [0, 1] is clipped."""
        light = self._curve[_level(values)]
        if self._weights is not None:
            luminance = torch.einsum("i,ihw->hw", self._weights, light).clamp_(min=1e-9)
            light = light * luminance.pow_(hdr.system_gamma(self._peak) - 1).mul_(self._peak)
        gain = self._gain[_level(light.amax(dim=0) / self._brightest)]
        return _encoded(_mixed(light * gain, self._matrix))


def _level(values: Tensor) -> Tensor:
    """The nearest of 65536 levels for values in [0, 1]."""
    return values.clamp(0, 1).mul_(_LEVELS).add_(0.5).to(torch.int32)


_tone_map = functools.lru_cache(maxsize=4)(ToneMap)


def _encoded(light: Tensor) -> Tensor:
    """sRGB values in [0, 1] from light of any shape: `pictures.spaces.linear_to_srgb`, on torch's threads."""
    x = light.clamp(0, 1)
    curved = x.pow(1 / 2.4).mul_(1.055).sub_(0.055)
    return torch.where(x <= 0.0031308, x * 12.92, curved)


def _mixed(planes: Tensor, matrix: Tensor) -> Tensor:
    """A 3x3 matrix times every pixel of 3xHxW planes."""
    return torch.einsum("ij,jhw->ihw", matrix, planes)
