"""Keeping the photograph's colours: the painting recoloured before it is learnt from, or the luminance alone painted.

[1] Gatys, Bethge, Hertzmann, Shechtman: Preserving Color in Neural Artistic Style Transfer. arXiv:1606.05897, 2016.
[2] Gatys, Ecker, Bethge, Hertzmann, Shechtman: Controlling Perceptual Factors in Neural Style Transfer. CVPR 2017, section 5.

The two ways are `match` ([1] color histogram matching, [2] section 5.2), which keeps the photograph's palette, and luminance-only
transfer ([1], [2] section 5.1), which keeps the hue of every pixel: the engine is given `grey` photographs and `match_luminance`
paintings, and `with_luminance` puts the colours back.

Pictures are 1x3xHxW float32, sRGB, 0..1, on any device. Everything is computed in float64 on the CPU; results are new tensors on
the device of the first argument, without gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from impasto.errors import PictureError

LUMA = (0.299, 0.587, 0.114)  # Y of YIQ, from sRGB values as they are (ITU-R BT.601); `report.metrics` measures the same

# A painting that varies less than this along a direction of colour (a standard deviation of 0.8 of an 8-bit level) is taken to
# vary as much there: what there is is rounding, and must not be blown up to the photograph's contrast. The value is the epsilon of
# [2]'s code, which adds it to every variance. As a floor it leaves the covariance exact wherever the painting has contrast.
LEAST_VARIANCE = 1e-5


# ---------------------------------------------------------------------------------------------------------------- palettes


def match(painting: Tensor, photo: Tensor) -> Tensor:
    """The painting in the photograph's colours: x -> A (x - mean of the painting) + mean of the photograph.

    A = C^(1/2) S^(-1/2), with S and C the covariances of the painting's and the photograph's pixels, gives the result the
    photograph's mean and covariance. Every C^(1/2) R S^(-1/2) with a rotation R does, so there is a choice ([1], color histogram
    matching). This is that of Image Analogies (Hertzmann et al. 2001), with which the published code of [2] runs (`pca`); unlike
    the other one in [1], by Cholesky factors, it treats the three channels alike, whatever their order.

    painting, photo: 1x3xHxW, 0..1, of any two sizes. Returns 1x3xHxW of the painting's size, clamped to 0..1, which costs a
    little of the exact moments where colours leave the gamut. A painting of one colour becomes the photograph's mean colour, a
    photograph of one colour takes all contrast away, a grey photograph all colour; a grey painting stays on a line of colours.
    """
    x, y = _pixels(painting), _pixels(photo)
    x_mean, y_mean = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    A = _power(_covariance(y), 0.5, least=0) @ _power(_covariance(x), -0.5, least=LEAST_VARIANCE)
    return _picture((A @ (x - x_mean) + y_mean).reshape(painting.shape), painting)


def _covariance(x: Tensor) -> Tensor:
    """3xM -> 3x3, of the pixels there are (no Bessel's correction: one pixel has a covariance, 0)."""
    centred = x - x.mean(1, keepdim=True)
    return centred @ centred.T / x.shape[1]


def _power(covariance: Tensor, exponent: float, *, least: float) -> Tensor:
    """The symmetric matrix with the same axes whose variances, raised to `least`, are raised to a power."""
    variances, axes = torch.linalg.eigh(covariance)
    powered: Tensor = (axes * variances.clamp_min(least).pow(exponent)) @ axes.T
    return powered


# --------------------------------------------------------------------------------------------------------------- luminance


def luminance(pixels: Tensor) -> Tensor:
    """Y of YIQ. pixels: 1x3xHxW, 0..1. Returns 1x1xHxW float32, 0..1; of a grey picture any of its channels, exactly."""
    return _picture(_luminance(_double(pixels)), pixels)


def grey(pixels: Tensor) -> Tensor:
    """The luminance in all three channels. pixels: 1x3xHxW, 0..1. Returns 1x3xHxW, 0..1."""
    return luminance(pixels).repeat(1, 3, 1, 1)


def match_luminance(painting: Tensor, photo: Tensor) -> Tensor:
    """The painting in grey, at the photograph's brightness and contrast: L -> s_C / s_S (L - m_S) + m_C.

    m and s are mean and standard deviation of the luminances of the painting (S) and the photograph (C), so that a dark painting
    does not darken a bright photograph ([1], luminance-only transfer; [2], section 5.1).

    painting, photo: 1x3xHxW, 0..1, of any two sizes. Returns 1x3xHxW of the painting's size, three equal channels, clamped to
    0..1. A painting of one colour becomes the photograph's mean luminance.
    """
    x, y = _luminance(_double(painting)), _luminance(_double(photo))
    gain = y.std(correction=0) / x.var(correction=0).clamp_min(LEAST_VARIANCE).sqrt()
    return _picture(gain * (x - x.mean()) + y.mean(), painting).repeat(1, 3, 1, 1)


def with_luminance(photo: Tensor, result: Tensor) -> Tensor:
    """The photograph's colours at the result's brightness: Y of the result, I and Q of the photograph ([1], [2] section 5.1).

    Where that is no sRGB colour (pale paint over deep blue), I and Q are scaled down together by just enough to make it one, up
    to a grey: hue and luminance stay, saturation gives way. Clipping each channel, as is usual, would change all three.

    photo, result: 1x3xHxW, 0..1, of one size. Returns 1x3xHxW, 0..1. Raises PictureError for two different sizes.
    """
    _check_same_size(photo, result)
    colours, wanted = _double(photo), _luminance(_double(result))
    # Going back from YIQ adds the same Y to every channel, so what I and Q add is what the picture has beyond its own Y.
    chroma = colours - _luminance(colours)
    room = torch.where(chroma > 0, 1 - wanted, wanted)
    share = (room / chroma.abs().clamp_min(torch.finfo(chroma.dtype).tiny)).amin(1, keepdim=True).clamp(0, 1)
    return _picture(wanted + share * chroma, photo)


def _luminance(x: Tensor) -> Tensor:
    """1x3xHxW -> 1x1xHxW, in x's own precision."""
    weights = x.new_tensor(LUMA).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True)


def _check_same_size(photo: Tensor, result: Tensor) -> None:
    (height, width), (other_height, other_width) = photo.shape[-2:], result.shape[-2:]
    if (height, width) != (other_height, other_width):
        raise PictureError(
            f"colours can be kept only between pictures of one size: the photo is {width}x{height} pixels, "
            f"the result {other_width}x{other_height}"
        )


# ------------------------------------------------------------------------------------------------------------------ common


def _double(pixels: Tensor) -> Tensor:
    return pixels.detach().cpu().double()  # the CPU, because MPS has no float64


def _pixels(picture: Tensor) -> Tensor:
    """1x3xHxW -> 3xM float64."""
    return _double(picture)[0].flatten(1)


def _picture(values: Tensor, like: Tensor) -> Tensor:
    return values.clamp(0, 1).to(like.device, torch.float32)
