"""The measures of a result: pure, deterministic functions of tensors.

Images are 1x3xHxW float32, sRGB, 0..1. Features are 1xNxHxW by tap, as an encoder returns them. F and P are the features of two
images. `content_distance` and `structure` need two images of one size; the others compare images of any sizes. `measure`
resizes the inputs and computes every measure.

The judge's luma and sliced Wasserstein distance are independent of `colors` and `losses` on purpose: shared code would share its
mistakes.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from impasto import pictures
from impasto.compute import settings
from impasto.compute.kernels import gram, wide
from impasto.encoders import Encoder
from impasto.errors import OptionError, PictureError, UnknownNameError, UsageError
from impasto.ladder import Size
from impasto.losses import Features, positions, relative_style_loss
from impasto.objective.levels import averaged_by

Doubles: TypeAlias = npt.NDArray[np.float64]

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: the gray of Pillow and OpenCV, with which most SSIM values are published
SMALLER = (2, 4)  # by how much a result is averaged down to measure the style of larger forms
SSIM_WINDOW = 7  # pixels a side
AXIS_SHARE = 2 / 9  # of all directions lie within 10 degrees of horizontal or vertical
FAINT = 1e-5  # of an image's energy: with less fine detail than this its direction is not meaningful
MIN_VARIANCE = 1e-8  # below that of any 8-bit image that is not uniform: keeps rounding errors from counting as detail


@dataclass(frozen=True)
class Measures:
    """The measures of one result as plain numbers, ready for JSON by `dataclasses.asdict`.

    judge: the encoder's name. content, style (by tap), style_mean, moments, structure, palette, grain, weave: the values of
    `content_distance`, `style_distances` and their mean, `moments_distance`, `structure`, `palette_distance`, `grain` and
    `weave`. style_sizes: the mean of style_mean and of `smaller_styles`.
    """

    judge: str
    content: float
    style: dict[str, float]
    style_mean: float
    style_sizes: float
    moments: float
    structure: float
    palette: float
    grain: float
    weave: float


@settings.default_settings()
@torch.no_grad()
def measure(
    result: Tensor, photo: Tensor, painting: Tensor, encoder: Encoder, *, content_tap: str, style_taps: Sequence[str]
) -> Measures:
    """Compute every measure of one result.

    result, photo, painting: 1x3xHxW, 0..1, of any sizes. The photograph is resized to the result's size, ignoring its aspect.
    The painting is resized to the result's longer side, so that strokes are compared at the scale they are seen at, or to more
    if it would be too narrow for the encoder. The result is resampled for `style_sizes` only.
    encoder: the judge, on any device, built with content_tap and all style_taps.
    Raises PictureError (the result is too small for the encoder), UnknownNameError (the encoder lacks a tap), OptionError (no
    style taps) and UsageError (scikit-image is missing).
    """
    _check_taps(encoder, content_tap, style_taps)
    size = size_of(result)
    encoder.check_size(*size, "result")
    photo = pictures.resize(photo, size)
    smaller = list(smaller_styles(result, painting, encoder, style_taps))
    painting = _at_scale_of(result, painting, encoder)
    features, wanted = _features(encoder, result), _features(encoder, painting)
    style = style_distances(features, wanted, style_taps)
    style_mean = fmean(style.values())
    return Measures(
        judge=encoder.name,
        content=content_distance(features[content_tap], _features(encoder, photo)[content_tap]),
        style=style,
        style_mean=style_mean,
        style_sizes=fmean([style_mean, *smaller]),
        moments=moments_distance(features, wanted, style_taps),
        structure=structure(result, photo),
        palette=palette_distance(result, painting),
        grain=grain(result, painting),
        weave=weave(result, photo, painting),
    )


def size_of(pixels: Tensor) -> Size:
    """(height, width)."""
    return int(pixels.shape[-2]), int(pixels.shape[-1])


def size_text(size: Size) -> str:
    """(384, 512) -> "512x384"."""
    return f"{size[1]}x{size[0]}"


def fit_with_minimum(size: Size, longer: int, minimum: int) -> Size:
    """A size of the same aspect with a longer side of `longer` pixels, or more where a side would have less than `minimum`."""
    return pictures.fit(size, max(longer, math.ceil(minimum * max(size) / min(size))))


def _at_scale_of(result: Tensor, painting: Tensor, encoder: Encoder) -> Tensor:
    """The painting, resized as `measure` says."""
    return pictures.resize(painting, fit_with_minimum(size_of(painting), max(size_of(result)), encoder.minimum_side))


def _check_taps(encoder: Encoder, content_tap: str, style_taps: Sequence[str]) -> None:
    if not style_taps:
        raise OptionError("must name at least one tap", option="style_taps")
    for tap in (content_tap, *style_taps):
        if tap not in encoder.taps:
            raise UnknownNameError(f"tap of encoder {encoder.name}:", tap, sorted(encoder.taps))


def _features(encoder: Encoder, image: Tensor) -> dict[str, Tensor]:
    """The image's features, computed on the encoder's device."""
    found: dict[str, Tensor] = encoder(image.to(next(encoder.parameters()).device))
    return found


# ------------------------------------------------------------------------------------------------------- through a network


def content_distance(F: Tensor, P: Tensor) -> float:
    """Sum (F - P)^2 / sum P^2: equation 1 of Gatys et al. 2016, relative to the photograph's own features.

    F, P: 1xNxHxW, the features of the result and of the photograph at one tap. Returns 0 for the photograph, 1 for an image
    whose features are all 0; there is no upper bound. Raises PictureError for different shapes.
    """
    _check_same_shape("features", F, P)
    F, P = wide(F), wide(P)
    return float((F - P).square().sum() / P.square().sum().clamp_min(torch.finfo(P.dtype).eps))


def style_distances(result_features: Features, painting_features: Features, taps: Iterable[str]) -> dict[str, float]:
    """{tap: sum (G - A)^2 / sum A^2}: `losses.relative_style_loss` of the Gram matrices per position (Gatys 2016, eq. 3).

    Features: 1xNxHxW by tap; the two images may differ in size. Returns 0 for the painting, 1 for an image whose features are
    all 0; there is no upper bound. Do not judge by one tap alone: with lite at relu5_1 strong noise can come out closer than
    mild noise.
    """
    return {tap: _gram_distance(result_features[tap], painting_features[tap]) for tap in taps}


def _gram_distance(F: Tensor, P: Tensor) -> float:
    return float(relative_style_loss(gram(F) / positions(F), gram(P) / positions(P), 1))


@torch.no_grad()
def smaller_styles(result: Tensor, painting: Tensor, encoder: Encoder, taps: Sequence[str]) -> Iterator[float]:
    """The mean of `style_distances` of the result at a half and at a quarter of its size.

    An encoder sees forms up to the reach of its deepest tap; in a smaller image these are larger forms of the result. The idea
    is that of multi-scale texture synthesis (Snelgrove 2017).
    result, painting: 1x3xHxW, 0..1, of any sizes. The result is averaged over squares of 2x2 and 4x4 pixels; incomplete squares at
    the lower and right edges are left out. The painting is resized to the longer side of that, as in `measure`. The two filters
    differ a little, so the painting itself has a small distance instead of 0.
    Yields nothing for a size that is too small for the encoder's deepest tap.
    """
    for factor in SMALLER:
        if min(size_of(result)) // factor >= encoder.minimum_side:
            small = averaged_by(factor, result)
            features, wanted = (_features(encoder, image) for image in (small, _at_scale_of(small, painting, encoder)))
            yield fmean(style_distances(features, wanted, taps).values())


def moments_distance(result_features: Features, painting_features: Features, taps: Iterable[str]) -> float:
    """The mean over taps of the squared differences of the channels' means and standard deviations.

    The style loss of AdaIN (Huang and Belongie 2017, equation 13) as MicroAST (Wang et al. 2023) reports it: at each tap, the
    mean over channels of (mu_F - mu_P)^2 plus the mean of (sigma_F - sigma_P)^2. We leave out their 1e-5 under the root, which
    protects a gradient, and Bessel's correction, so that a single position has a deviation of 0.
    Features: 1xNxHxW by tap; the two images may differ in size. The unit is that of the squared features: values are comparable
    only between images measured by the same network, and with published ones only for the normalized VGG-19.
    """
    differences = (_moments(result_features[tap]) - _moments(painting_features[tap]) for tap in taps)
    return fmean(float(difference.square().mean(1).sum()) for difference in differences)


def _moments(F: Tensor) -> Tensor:
    """2xN: the mean and standard deviation of each channel."""
    deviation, mean = torch.std_mean(wide(F)[0], dim=(-2, -1), correction=0)
    return torch.stack((mean, deviation))


# ------------------------------------------------------------------------------------------------------------------ structure


def structure(result: Tensor, photo: Tensor) -> float:
    """Mean structural similarity (Wang et al. 2004) of the lumas, by scikit-image: uniform 7x7 window, sample covariance.

    result, photo: 1x3xHxW, 0..1, of one size. scikit-image's defaults, as MicroAST (Wang et al. 2023) uses them. A side shorter
    than the window is extended to 7 pixels by reflection in both images.
    Returns -1 .. 1, 1 for equal lumas. Raises PictureError for different sizes, UsageError without scikit-image.
    """
    _check_same_shape("images", result, photo)
    similarity = _skimage("metrics").structural_similarity
    return float(similarity(_at_least_window(luma(result)), _at_least_window(luma(photo)), data_range=1.0))


def _at_least_window(gray: Tensor) -> Doubles:
    """1x1xHxW -> HxW, extended by reflection to at least 7x7."""
    plane: Doubles = gray[0, 0].numpy()
    return np.pad(plane, [(0, max(0, SSIM_WINDOW - side)) for side in plane.shape], mode="symmetric")


def luma(pixels: Tensor) -> Tensor:
    """Y' of ITU-R BT.601, from the sRGB values as they are. pixels: 1x3xHxW, 0..1. Returns 1x1xHxW float64 on the CPU, 0..1."""
    weights = torch.tensor(LUMA, dtype=torch.float64).view(1, 3, 1, 1)
    return (_double(pixels) * weights).sum(1, keepdim=True)


# -------------------------------------------------------------------------------------------------------------------- palette


def palette_distance(result: Tensor, painting: Tensor, *, projections: int = 64, seed: int = 0) -> float:
    """Sliced Wasserstein distance (Bonneel et al. 2015) of order 1 between the two images' colors in CIE Lab.

    result, painting: 1x3xHxW, 0..1, of any sizes. The positions of the pixels do not matter. projections: the number of
    directions, drawn uniformly from the sphere with `seed`; the distance along each is exact.
    Returns units of Lab (CIE 1976 Delta E) along one direction: moving all colors by d gives about d / 2.
    Raises OptionError for fewer than one projection, UsageError without scikit-image.
    """
    if projections < 1:
        raise OptionError(f"must be at least 1, not {projections}", option="projections")
    X, Y = (_lab_colors(image) for image in (result, painting))
    steps = _quantile_steps(len(X), len(Y))
    return fmean(_transport(X @ axis, Y @ axis, *steps) for axis in _directions(projections, seed))


def _lab_colors(pixels: Tensor) -> Doubles:
    """1x3xHxW, sRGB -> HWx3, CIE 1976 L*a*b* relative to D65."""
    lab: Doubles = _skimage("color").rgb2lab(_double(pixels)[0].permute(1, 2, 0).numpy())
    return lab.reshape(-1, 3)


def _directions(count: int, seed: int) -> Doubles:
    """countx3: unit vectors, uniform on the sphere."""
    axes = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    unit: Doubles = functional.normalize(axes, dim=1).numpy()
    return unit


def _quantile_steps(n: int, m: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Doubles]:
    """The pieces on which the quantile functions of n and of m values are both constant: index among n, index among m, width.

    In units of 1 / (n m) all borders are integers, so no piece is lost to rounding.
    """
    ends = np.union1d(np.arange(1, n + 1, dtype=np.int64) * m, np.arange(1, m + 1, dtype=np.int64) * n)
    return (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)


def _transport(x: Doubles, y: Doubles, of_x: npt.NDArray[np.int64], of_y: npt.NDArray[np.int64], width: Doubles) -> float:
    """Wasserstein distance of order 1 on the line: the integral of the difference of the two quantile functions.

    `scipy.stats.wasserstein_distance` gives the same but finds the pieces again for every direction.
    """
    return float(np.abs(np.sort(x)[of_x] - np.sort(y)[of_y]) @ width)


# ---------------------------------------------------------------------------------------------------------------------- grain


def grain(result: Tensor, painting: Tensor) -> float:
    """The difference of the two images' `fine_share`: positive where the result has more fine detail, such as grids or noise.

    result, painting: 1x3xHxW, 0..1, of any sizes but at one scale. Our own measure, after the first level of a Laplacian
    pyramid (Burt and Adelson 1983). Returns about -1 .. 1; 0 for equal shares.
    """
    return fine_share(result) - fine_share(painting)


def fine_share(pixels: Tensor) -> float:
    """The share of an image's contrast that is lost by halving and enlarging it: sum (x - up(down(x)))^2 / sum (x - mean)^2.

    pixels: 1x3xHxW, 0..1. x is the luma, down antialiased bicubic to half of each side (rounded up), up bicubic to the old
    size.
    Returns 0 for a uniform image, about 1 for a checkerboard of single pixels.
    """
    x = luma(pixels)
    height, width = x.shape[-2:]
    fine = x - _resampled(_resampled(x, ((height + 1) // 2, (width + 1) // 2)), (height, width))
    return float(fine.square().mean() / (x - x.mean()).square().mean().clamp_min(MIN_VARIANCE))


def _resampled(x: Tensor, size: Size) -> Tensor:
    """Like `pictures.resize` without clamping, which would remove energy at black and white."""
    if size[1] == 1 < size[0]:  # torch (2.13, CPU) gives every row of a column the value of the first; rows are right
        return _resampled(x.mT, (1, size[0])).mT
    return functional.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False)


# ---------------------------------------------------------------------------------------------------------------------- weave


def weave(result: Tensor, photo: Tensor, painting: Tensor) -> float:
    """How far the result's `straight_share` exceeds the larger of the photograph's and the painting's.

    result, photo, painting: 1x3xHxW, 0..1, of any sizes but at one scale. Our own measure of the canvas-like lines that a
    network's grid and repeated enlarging leave. Returns -1 .. 1; 0 or less is good.
    """
    return straight_share(result) - max(straight_share(photo), straight_share(painting))


def straight_share(pixels: Tensor) -> float:
    """The share of the energy in an image's highest octave whose waves run within 10 degrees of horizontal or vertical.

    pixels: 1x3xHxW, 0..1. The energy is that of the luma in a Hann window (Harris 1978), from 1/4 to 1/2 cycle per pixel.
    Returns 1 for horizontal or vertical stripes three pixels apart, 2/9 for detail without a preferred direction.
    """
    x = luma(pixels)[0, 0]
    height, width = x.shape
    window = torch.outer(*(torch.hann_window(side + 2, periodic=False, dtype=x.dtype)[1:-1] for side in (height, width)))
    energy = torch.fft.fft2((x - x.mean()) * window).abs().square() / (height * width * window.square().sum())
    down, right = torch.meshgrid(*(torch.fft.fftfreq(side, dtype=x.dtype).abs() for side in (height, width)), indexing="ij")
    radius, angle = torch.hypot(down, right), torch.atan2(down, right)
    fine = (radius >= 1 / 4) & (radius <= 1 / 2)
    straight = fine & (torch.minimum(angle, math.pi / 2 - angle) <= math.radians(10))
    little = FAINT * float(energy.sum()) + MIN_VARIANCE
    return (float(energy[straight].sum()) + AXIS_SHARE * little) / (float(energy[fine].sum()) + little)


# --------------------------------------------------------------------------------------------------------------------- common


def _skimage(name: str) -> Any:
    """A module of scikit-image, which has no types. Raises UsageError if scikit-image is not installed."""
    try:
        return importlib.import_module(f"skimage.{name}")
    except ImportError as error:
        raise UsageError("comparing images needs scikit-image", remedy="install it: pip install 'impasto[report]'") from error


def _double(pixels: Tensor) -> Tensor:
    return pixels.detach().cpu().double()


def _check_same_shape(what: str, a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise PictureError(f"{what} to compare must have the same shape, not {tuple(a.shape)} and {tuple(b.shape)}")
