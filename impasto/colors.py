"""Keeping the photograph's colors: by matching the painting's colors before the transfer, or by transferring luminance only.

[1] Gatys, Bethge, Hertzmann, Shechtman: Preserving Color in Neural Artistic Style Transfer. arXiv:1606.05897, 2016.
[2] Gatys, Ecker, Bethge, Hertzmann, Shechtman: Controlling Perceptual Factors in Neural Style Transfer. CVPR 2017, section 5.

`match` ([1] color histogram matching, [2] section 5.2) keeps the photograph's palette. Luminance-only transfer ([1], [2] section
5.1) keeps the hue of every pixel: the engine gets `gray` photographs and `match_luminance` paintings, and `with_luminance` restores
the colors.

Images are 1x3xHxW float32, sRGB, 0..1, on any device. Everything is computed in float64 on the CPU, in bands of rows, so that a
large image never has several float64 copies in memory. Results are new contiguous tensors on the device of the first argument,
without gradients. Images of one band have the same bits as if computed at once. In larger ones, sums over all pixels are sums of
the bands' sums, which changes the last bits of float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from impasto.errors import PictureError

LUMA = (0.299, 0.587, 0.114)  # Y of YIQ, from sRGB values without linearization (ITU-R BT.601)
BAND = 1 << 22  # pixels of a band of rows: 100 MB in float64

# The least variance along a direction of color (a standard deviation of 0.8 of an 8-bit level) that `match` assumes of a painting:
# less is rounding, which must not be amplified to the photograph's contrast. The value is the epsilon of [2]'s code, which adds it
# to every variance. As a lower bound it leaves the covariance exact wherever the painting has contrast.
LEAST_VARIANCE = 1e-5


def match(painting: Tensor, photo: Tensor) -> Tensor:
    """The painting in the photograph's colors: x -> A (x - mean of the painting) + mean of the photograph.

    A = C^(1/2) S^(-1/2), with S and C the covariances of the painting's and the photograph's pixels, gives the result the
    photograph's mean and covariance. Every C^(1/2) R S^(-1/2) with a rotation R does ([1], color histogram matching). This choice is
    that of Image Analogies (Hertzmann et al. 2001) and of the published code of [2] (`pca`). Unlike the other choice in [1], by
    Cholesky factors, it does not depend on the order of the channels.

    painting, photo: 1x3xHxW, 0..1, of any two sizes. Returns 1x3xHxW of the painting's size, clamped to 0..1, which changes the
    moments slightly where colors leave the gamut. A painting of one color becomes the photograph's mean color. A photograph of one
    color removes all contrast, a gray photograph all color. A gray painting stays on a line of colors.
    """
    (x_mean, S), (y_mean, C) = _moments(painting), _moments(photo)
    A = _power(C, 0.5, least=0) @ _power(S, -0.5, least=LEAST_VARIANCE)
    return _in_bands(lambda band: (A @ (_flat(band) - x_mean) + y_mean).view_as(band), 3, painting)


def _moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """1x3xHxW -> the 3x1 mean and the 3x3 covariance (biased: of one pixel it is 0) of its pixels, float64."""
    count = image.shape[-2] * image.shape[-1]
    mean = _total(_flat(band).sum(1, keepdim=True) for (band,) in _bands(image)) / count
    centered = (_flat(band) - mean for (band,) in _bands(image))
    return mean, _total(x @ x.T for x in centered) / count


def _total(parts: Iterator[Tensor]) -> Tensor:
    total = next(parts)
    for part in parts:
        total = total + part
    return total


def _power(covariance: Tensor, exponent: float, *, least: float) -> Tensor:
    """The symmetric matrix with the same eigenvectors, whose eigenvalues are clamped to at least `least` and raised to a power."""
    variances, axes = torch.linalg.eigh(covariance)
    powered: Tensor = (axes * variances.clamp_min(least).pow(exponent)) @ axes.T
    return powered


def luminance(pixels: Tensor) -> Tensor:
    """Y of YIQ. pixels: 1x3xHxW, 0..1. Returns 1x1xHxW float32, 0..1; of a gray image any of its channels, exactly."""
    return _in_bands(_luminance, 1, pixels)


def gray(pixels: Tensor) -> Tensor:
    """The luminance in all three channels. pixels: 1x3xHxW, 0..1. Returns 1x3xHxW, 0..1."""
    return luminance(pixels).repeat(1, 3, 1, 1)


def match_luminance(painting: Tensor, photo: Tensor) -> Tensor:
    """The painting in gray, with the photograph's mean luminance and contrast: L -> s_C / s_S (L - m_S) + m_C.

    m and s are mean and standard deviation of the luminances of the painting (S) and the photograph (C), so that a dark painting
    does not darken a bright photograph ([1], luminance-only transfer; [2], section 5.1).

    painting, photo: 1x3xHxW, 0..1, of any two sizes. Returns 1x3xHxW of the painting's size, three equal channels, clamped to
    0..1. A painting of one color becomes the photograph's mean luminance.
    """
    x, y = (torch.cat([_luminance(band) for (band,) in _bands(image)], dim=-2) for image in (painting, photo))
    gain = y.std(correction=0) / x.var(correction=0).clamp_min(LEAST_VARIANCE).sqrt()
    x_mean, y_mean = x.mean(), y.mean()
    return _in_bands(lambda band: gain * (_luminance(band) - x_mean) + y_mean, 1, painting).repeat(1, 3, 1, 1)


def with_luminance(photo: Tensor, result: Tensor) -> Tensor:
    """The photograph's colors at the result's luminance: Y of the result, I and Q of the photograph ([1], [2] section 5.1).

    Where that is outside sRGB (pale paint over deep blue), I and Q are scaled down together, by no more than necessary. Hue and
    luminance stay exact, and saturation is reduced. The usual clipping of each channel would change all three.

    photo, result: 1x3xHxW, 0..1, of one size. Returns 1x3xHxW, 0..1. Raises PictureError for two different sizes.
    """
    (height, width), (other_height, other_width) = photo.shape[-2:], result.shape[-2:]
    if (height, width) != (other_height, other_width):
        raise PictureError(
            f"colors can be kept only between images of one size: the photograph is {width}x{height} pixels, "
            f"the result {other_width}x{other_height}"
        )
    return _in_bands(_recombined, 3, photo, result)


def _recombined(photo: Tensor, result: Tensor) -> Tensor:
    wanted = _luminance(result)
    # Going back from YIQ adds the same Y to every channel, so I and Q contribute the difference between the image and its own Y.
    chroma = photo - _luminance(photo)
    room = torch.where(chroma > 0, 1 - wanted, wanted)
    share = (room / chroma.abs().clamp_min(torch.finfo(chroma.dtype).tiny)).amin(1, keepdim=True).clamp(0, 1)
    return wanted + share * chroma


def _luminance(x: Tensor) -> Tensor:
    """1x3xHxW -> 1x1xHxW, in x's own precision."""
    weights = x.new_tensor(LUMA).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True)


def _flat(x: Tensor) -> Tensor:
    """1x3xHxW -> 3xM."""
    return x[0].flatten(1)


def _bands(*images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Images of one size in bands of rows, in float64 and on the CPU, because MPS has no float64."""
    height, width = images[0].shape[-2:]
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        yield tuple(image.detach()[..., top : top + rows, :].cpu().double() for image in images)


def _in_bands(change: Callable[..., Tensor], channels: int, *images: Tensor) -> Tensor:
    """What `change` makes of the bands of images of one size: 1xchannelsxHxW float32, clamped to 0..1, on the first one's device."""
    found = torch.empty(1, channels, *images[0].shape[-2:], dtype=torch.float32)
    top = 0
    for bands in _bands(*images):
        band = change(*bands).clamp(0, 1)
        found[..., top : top + band.shape[-2], :] = band
        top += band.shape[-2]
    return found.to(images[0].device)
