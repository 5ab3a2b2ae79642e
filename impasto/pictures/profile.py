"""What colors a file's numbers stand for: ICC profiles and color spaces to sRGB."""

from __future__ import annotations

import io
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from impasto.files import one_line

Floats: TypeAlias = npt.NDArray[np.float32]

BYTE = 255
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # an ICC profile's color space -> Pillow's mode


def to_srgb(color: Image.Image | Floats, profile: bytes | None) -> tuple[Floats, str]:
    """Convert colors to sRGB, by their ICC profile where there is one.

    color: an image in mode L, RGB, CMYK or LAB, or HxW grays or HxWx3 sRGB values in [0, 1]. Returns HxWx3 in [0, 1] and a note for
    the user, "" for none.
    """
    cmyk = isinstance(color, Image.Image) and color.mode == "CMYK"
    guess = "; its CMYK colors are approximate" if cmyk else ""
    if not profile:
        return _as_srgb(color), f"has no color profile{guess}" if guess else ""
    try:
        transform, name = _transform(profile, color.mode if isinstance(color, Image.Image) else "L")
        if transform is None:
            return _as_srgb(color), f"has a color profile of another kind ({name}), which is ignored{guess}"
        if _is_srgb(transform):
            return _as_srgb(color), ""
        return _through(transform, color), f"has its colors converted from {name}"
    except (ImageCms.PyCMSError, OSError, ValueError):
        return _as_srgb(color), f"has a damaged color profile, which is ignored{guess}"


def _as_srgb(color: Image.Image | Floats) -> Floats:
    """The colors without a profile: L and RGB as sRGB, CMYK as ideal inks, LAB as CIELAB under D50."""
    if not isinstance(color, Image.Image):
        return color if color.ndim == 3 else np.repeat(color[..., None], 3, axis=2)
    if color.mode == "LAB":
        color = _build(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB").apply(color)
    return np.asarray(color.convert("RGB"), np.float32) / np.float32(BYTE)


def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The transform from a profile to sRGB, None where the profile is not for such pixels, and the profile's name."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    name = one_line(ImageCms.getProfileDescription(source)) or "an unnamed color profile"
    wanted = _SPACES.get(source.profile.xcolor_space.strip())
    if wanted is None or (wanted != mode and (wanted, mode) != ("RGB", "L")):
        return None, name
    return _build(source, wanted), name


def _build(source: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    # A print or Lab gamut does not fit into sRGB, so it is compressed. Between screens, colors that fit stay exact.
    intent = ImageCms.Intent.PERCEPTUAL if mode in ("CMYK", "LAB") else ImageCms.Intent.RELATIVE_COLORIMETRIC
    # lcms speeds transforms up with a coarse table, which is up to 10 levels off for linear grays and 50 for Lab.
    speed = ImageCms.Flags.NOOPTIMIZE if mode in ("L", "LAB") else ImageCms.Flags.HIGHRESPRECALC
    flags = speed | ImageCms.Flags.BLACKPOINTCOMPENSATION
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent, flags)


def _through(transform: ImageCms.ImageCmsTransform, color: Image.Image | Floats) -> Floats:
    if isinstance(color, Image.Image) and color.mode != "L":
        return _as_srgb(transform.apply(color))
    levels = np.arange(BYTE + 1, dtype=np.uint8)
    ramp = Image.fromarray(levels[None]).convert(transform.input_mode)
    curve: Floats = _as_srgb(transform.apply(ramp))[0]  # 256x3
    if isinstance(color, Image.Image):
        return np.take(curve, np.asarray(color), axis=0)
    # Pillow gives lcms 8 bits only, so deeper grays are interpolated.
    return np.stack([np.interp(color, levels / BYTE, channel) for channel in curve.T], axis=2).astype(np.float32)


def _is_srgb(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform changes nothing. Names cannot tell: some profiles called sRGB have other curves."""
    if transform.input_mode not in ("L", "RGB"):
        return False
    levels = np.linspace(0, BYTE, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    probe = Image.fromarray(cube).convert(transform.input_mode)
    change = np.abs(_through(transform, probe) - _as_srgb(probe)) * BYTE
    return bool(change.max() < 2.5)  # two levels: how far the rounding of two sRGB profiles differs
