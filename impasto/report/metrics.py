"""The measures a picture is judged by: each a pure function on tensors, the same number every time, 0 (SSIM: 1) for identical pictures.

Pictures are 1x3xHxW float32, sRGB, 0..1; features are 1xNxHxW by tap, as an encoder gives them. F, P, G, A, N and M are those of
`impasto.losses`. Measures that need both pictures on one grid (content, structure) say so; all others compare pictures of any two
sizes. `measure` brings the sizes together and computes them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from impasto import pictures
from impasto.encoders import Encoder
from impasto.errors import OptionError, PictureError, UnknownNameError, UsageError
from impasto.losses import Features, gram, positions, relative_style_loss, wide
from impasto.styles import Painted

Doubles: TypeAlias = npt.NDArray[np.float64]

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the grey that Pillow and OpenCV make, and with it published SSIMs
WINDOW = 7  # pixels a side of SSIM's window
EVEN = 2 / 9  # of all directions lie within 10 degrees of upright and level
FAINT = 1e-5  # of a picture's energy: where the finest detail has less, its direction says nothing
LEAST_ENERGY = 1e-8  # a variance that no 8-bit picture but a plain one comes down to: keeps rounding errors from being grain

# sRGB's primaries and its white D65 (IEC 61966-2-1, in the digits of Lindbloom 2003). Rows: X, Y, Z; columns: linear R, G, B.
XYZ_FROM_RGB = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)


@dataclass(frozen=True)
class Measures:
    """One result, measured. Plain numbers: `dataclasses.asdict` is ready for JSON.

    judge: the encoder's name. content, style (by tap), style_mean, moments, structure, palette, grain, weave: what the functions
    `content_distance`, `style_distances`, `mean_style_distance`, `moments_distance`, `structure`, `palette_distance`, `grain` and
    `weave` say of it.
    """

    judge: str
    content: float
    style: dict[str, float]
    style_mean: float
    moments: float
    structure: float
    palette: float
    grain: float
    weave: float


@torch.no_grad()
def measure(
    result: Tensor, photo: Tensor, painting: Tensor, encoder: Encoder, *, content_tap: str, style_taps: Sequence[str]
) -> Measures:
    """Every measure of one result.

    result, photo, painting: 1x3xHxW, 0..1, of any sizes. The photograph is resized to the result's size, whatever its aspect; the
    painting to the result's longer side (more, if it is too narrow for the encoder then), because strokes are compared at the
    scale they are seen at. The result itself is never resampled.
    encoder: the judge, on any device; it must have been built with content_tap and all style_taps.
    Raises PictureError (the result is too small for the encoder), UnknownNameError (a tap the encoder does not give), OptionError
    (no style taps) and UsageError (scikit-image is missing).
    """
    _check_taps(encoder, content_tap, style_taps)
    height, width = result.shape[-2:]
    encoder.check_size(height, width, "result")
    photo = pictures.resize(photo, (height, width))
    painting = pictures.resize(painting, Painted(painting, encoder, tuple(style_taps)).size_at(max(height, width)))
    seen, wanted = _features(encoder, result), _features(encoder, painting)
    style = style_distances(seen, wanted, style_taps)
    return Measures(
        judge=encoder.name,
        content=content_distance(seen[content_tap], _features(encoder, photo)[content_tap]),
        style=style,
        style_mean=mean_style_distance(style),
        moments=moments_distance(seen, wanted, style_taps),
        structure=structure(result, photo),
        palette=palette_distance(result, painting),
        grain=grain(result, painting),
        weave=weave(result, photo, painting),
    )


def _check_taps(encoder: Encoder, content_tap: str, style_taps: Sequence[str]) -> None:
    if not style_taps:
        raise OptionError("style_taps must name at least one tap")
    for tap in (content_tap, *style_taps):
        if tap not in encoder.taps:
            raise UnknownNameError(f"tap of the encoder {encoder.name} as it was built:", tap, sorted(encoder.taps))


def _features(encoder: Encoder, picture: Tensor) -> dict[str, Tensor]:
    """The picture's features, on whatever device the encoder is."""
    found: dict[str, Tensor] = encoder(picture.to(next(encoder.parameters()).device))
    return found


# -------------------------------------------------------------------------------------------------------- through a network


def content_distance(F: Tensor, P: Tensor) -> float:
    """Sum (F - P)^2 over sum P^2: equation 1 of Gatys et al. 2016 relative to the photograph's own features.

    F, P: 1xNxHxW, the result's and the photograph's features at one tap. Returns 0 for the photograph, 1 for a picture without
    features; no upper bound. Raises PictureError for different shapes.
    """
    _check_same_shape("features", F, P)
    F, P = wide(F), wide(P)
    return float((F - P).square().sum() / P.square().sum().clamp_min(torch.finfo(P.dtype).eps))


def style_distances(result_features: Features, painting_features: Features, taps: Iterable[str]) -> dict[str, float]:
    """{tap: sum (G - A)^2 over sum A^2}, `losses.relative_style_loss` of the Gram matrices per position (Gatys et al. 2016, eq. 3).

    Features: 1xNxHxW by tap; the two pictures may differ in size. 0 for the painting, 1 for a picture without features; no upper
    bound. Not to be read at one tap alone: with `lite` at relu5_1 strong noise can come out nearer to the painting than mild noise.
    """
    return {tap: _gram_distance(result_features[tap], painting_features[tap]) for tap in taps}


def _gram_distance(F: Tensor, P: Tensor) -> float:
    return float(relative_style_loss(gram(F) / positions(F), gram(P) / positions(P), 1))


def mean_style_distance(distances: Mapping[str, float]) -> float:
    """The mean over taps of what `style_distances` returned, each tap with the same weight; at least one tap."""
    return fmean(distances.values())


def moments_distance(result_features: Features, painting_features: Features, taps: Iterable[str]) -> float:
    """How far each channel's mean and standard deviation are from the painting's, the mean over taps.

    The style loss of AdaIN (Huang and Belongie 2017, equation 13), in the form in which MicroAST (Wang et al. 2023) reports it:
    at each tap mean over channels of (mu_F - mu_P)^2 plus that of (sigma_F - sigma_P)^2, over relu1_1 .. relu5_1. sigma is over
    all positions, without their 1e-5 under the root (there is no gradient to protect) and without Bessel's correction (one
    position has a deviation, 0).
    Features: 1xNxHxW by tap; the two pictures may differ in size. In squared units of the features: comparable only between
    pictures judged by the same network, and with published numbers only where that is the normalised VGG-19.
    """
    return fmean(_moments_distance(result_features[tap], painting_features[tap]) for tap in taps)


def _moments_distance(F: Tensor, P: Tensor) -> float:
    difference = _moments(F) - _moments(P)
    return float(difference.square().mean(1).sum())


def _moments(F: Tensor) -> Tensor:
    """2xN: each channel's mean and standard deviation."""
    deviation, mean = torch.std_mean(wide(F)[0], dim=(-2, -1), correction=0)
    return torch.stack((mean, deviation))


# ------------------------------------------------------------------------------------------------------------------ structure


def structure(result: Tensor, photo: Tensor) -> float:
    """Mean structural similarity (Wang et al. 2004) of the lumas, by scikit-image: uniform 7x7 window, sample covariance.

    result, photo: 1x3xHxW, 0..1, of one size. These are scikit-image's defaults, with which MicroAST (Wang et al. 2023) reports it.
    The window has to fit: a side shorter than 7 pixels is continued by its own mirror image to 7 first, in both pictures.
    Returns -1 .. 1, 1 for pictures of the same luma. Raises PictureError for different sizes, UsageError without scikit-image.
    """
    _check_same_shape("pictures", result, photo)
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise UsageError("structural similarity needs scikit-image: pip install 'impasto[report]'") from error
    similarity: Any = structural_similarity  # which has no types
    return float(similarity(_windowed(luma(result)), _windowed(luma(photo)), data_range=1.0))


def _windowed(grey: Tensor) -> Doubles:
    """1x1xHxW -> HxW, continued by its mirror image to at least 7x7."""
    plane: Doubles = grey[0, 0].numpy()
    return np.pad(plane, [(0, max(0, WINDOW - side)) for side in plane.shape], mode="symmetric")


def luma(pixels: Tensor) -> Tensor:
    """Y' of ITU-R BT.601, from the sRGB values as they are. pixels: 1x3xHxW, 0..1. Returns 1x1xHxW float64 on the CPU, 0..1."""
    weights = torch.tensor(LUMA, dtype=torch.float64).view(1, 3, 1, 1)
    return (_double(pixels) * weights).sum(1, keepdim=True)


# -------------------------------------------------------------------------------------------------------------------- palette


def palette_distance(result: Tensor, painting: Tensor, *, projections: int = 64, seed: int = 0) -> float:
    """Sliced Wasserstein distance (Bonneel et al. 2015), of order 1, between the pictures' pixels in CIE Lab.

    result, painting: 1x3xHxW, 0..1, of any two sizes: every pixel weighs the same share of its picture. Where a pixel lies is not
    looked at. projections: the number of directions, drawn from the sphere with `seed`; along each the distance is exact.
    Returns units of Lab (CIE 1976 Delta E) as seen along one direction: moving all colours by d gives about d / 2.
    Raises OptionError for fewer than one projection.
    """
    if projections < 1:
        raise OptionError(f"projections must be at least 1, not {projections}")
    X, Y = (to_lab(picture)[0].flatten(1).numpy() for picture in (result, painting))
    steps = _quantile_steps(X.shape[1], Y.shape[1])
    return fmean(_transport(axis @ X, axis @ Y, *steps) for axis in _directions(projections, seed))


def _directions(count: int, seed: int) -> Doubles:
    """countx3: unit vectors, uniform on the sphere."""
    axes = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    unit: Doubles = functional.normalize(axes, dim=1).numpy()
    return unit


def _quantile_steps(n: int, m: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Doubles]:
    """The pieces on which both quantile functions, of n and of m values, are constant: index among n, among m, and width.

    In units of 1 / (n m) all borders are whole numbers, so no piece is lost to rounding.
    """
    ends = np.union1d(np.arange(1, n + 1, dtype=np.int64) * m, np.arange(1, m + 1, dtype=np.int64) * n)
    return (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)


def _transport(x: Doubles, y: Doubles, of_x: npt.NDArray[np.int64], of_y: npt.NDArray[np.int64], width: Doubles) -> float:
    """Wasserstein distance of order 1 on the line: the integral of the difference of the two quantile functions."""
    return float(np.abs(np.sort(x)[of_x] - np.sort(y)[of_y]) @ width)


def to_lab(pixels: Tensor) -> Tensor:
    """sRGB -> CIE 1976 L*a*b* relative to D65 (IEC 61966-2-1; CIE 15:2004), in closed form.

    pixels: 1x3xHxW, 0..1. Returns 1x3xHxW float64 on the CPU: L* 0..100, a* and b* about -110..110, 0 for greys.
    """
    encoded = _double(pixels)
    linear = torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    matrix = torch.tensor(XYZ_FROM_RGB, dtype=torch.float64)
    xyz = torch.einsum("ij,bjhw->bihw", matrix / matrix.sum(1, keepdim=True), linear)
    bend = 6 / 29
    x, y, z = torch.where(xyz > bend**3, xyz.clamp_min(0) ** (1 / 3), xyz / (3 * bend**2) + 4 / 29).unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), 1)


# ---------------------------------------------------------------------------------------------------------------------- grain


def grain(result: Tensor, painting: Tensor) -> float:
    """How much more of its energy the result has in the highest octave than the painting: the difference of their `fine_share`.

    result, painting: 1x3xHxW, 0..1, of any sizes but at one scale. Our own measure, after the first level of a Laplacian pyramid
    (Burt and Adelson 1983); grids, noise and ringing show in it. Returns about -1 .. 1: 0 for equal shares, positive when the result
    has more, negative when it is smoother than the painting.
    """
    return fine_share(result) - fine_share(painting)


def fine_share(pixels: Tensor) -> float:
    """The share of a picture's contrast that is gone when it is halved and brought back: sum (x - up(down(x)))^2 over sum (x - mean)^2.

    pixels: 1x3xHxW, 0..1; x is its luma, down antialiased bicubic to half of each side (rounded up), up bicubic to the old size.
    Returns 0 for a picture of one colour, about 1 for a checkerboard of single pixels.
    """
    x = luma(pixels)
    height, width = x.shape[-2:]
    fine = x - _resampled(_resampled(x, ((height + 1) // 2, (width + 1) // 2)), (height, width))
    return float(fine.square().mean() / (x - x.mean()).square().mean().clamp_min(LEAST_ENERGY))


def _resampled(x: Tensor, size: tuple[int, int]) -> Tensor:
    """As `pictures.resize`, but linear: clamping would take energy away at black and white."""
    if size[1] == 1 < size[0]:  # torch (2.13, CPU) gives every row of a column the value of the first; its rows are right
        return _resampled(x.mT, (1, size[0])).mT
    return functional.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False)


# ---------------------------------------------------------------------------------------------------------------------- weave


def weave(result: Tensor, photo: Tensor, painting: Tensor) -> float:
    """How much more of the result's finest detail is upright or level than of the photograph's and the painting's.

    result, photo, painting: 1x3xHxW, 0..1, of any sizes but at one scale. The difference of its `straight_share` to the larger of
    theirs: our own measure, for the canvas-like lines that a network's grid and repeated enlarging leave. Returns -1 .. 1: 0 or less
    is good.
    """
    return straight_share(result) - max(straight_share(photo), straight_share(painting))


def straight_share(pixels: Tensor) -> float:
    """The share of a picture's highest octave within 10 degrees of upright and level waves: 2/9 if it is the same all round.

    pixels: 1x3xHxW, 0..1; the energy of its luma in a Hann window (Harris 1978), of 1/4 to 1/2 cycle per pixel. Returns 1 for stripes
    of three pixels, upright or level.
    """
    x = luma(pixels)[0, 0]
    height, width = x.shape
    window = torch.outer(*(torch.hann_window(side + 2, periodic=False, dtype=x.dtype)[1:-1] for side in (height, width)))
    energy = torch.fft.fft2((x - x.mean()) * window).abs().square() / (height * width * window.square().sum())
    down, right = (torch.fft.fftfreq(side, dtype=x.dtype).abs() for side in (height, width))
    radius, angle = (
        torch.hypot(down[:, None], right),
        torch.atan2(down[:, None].expand(height, width), right.expand(height, width)),
    )
    fine = (radius >= 1 / 4) & (radius <= 1 / 2)
    straight = fine & (torch.minimum(angle, math.pi / 2 - angle) <= math.radians(10))
    little = FAINT * float(energy.sum()) + LEAST_ENERGY
    return (float(energy[straight].sum()) + EVEN * little) / (float(energy[fine].sum()) + little)


# --------------------------------------------------------------------------------------------------------------------- common


def _double(pixels: Tensor) -> Tensor:
    return pixels.detach().cpu().double()


def _check_same_shape(what: str, a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise PictureError(f"{what} to be compared must have the same shape, not {tuple(a.shape)} and {tuple(b.shape)}")
