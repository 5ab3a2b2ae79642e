"""Checks of the images that rows of `scripts/inputs.py` paint. Levels go from 0 to 255."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from inputs_cases import OUTPUT, Check, Finding, Floats, Result

LUMA = np.array([0.299, 0.587, 0.114])
FLAT = 1.0  # the standard deviation of an image of one color is less
ROUNDED = 1.0  # two roundings of one resampling may differ by this much
DID_SOMETHING = 1.0  # mean difference from the photograph
HARDLY = 8.0  # the same, of an image that should hardly have changed


def read(file: Path | IO[bytes]) -> Floats:
    """A whole image as HxWx3 levels. Raises OSError if it is cut short, ValueError if it is not 8-bit RGB."""
    with Image.open(file) as image:
        image.load()
        if image.mode != "RGB" and (image.format, image.mode) != ("GIF", "P"):
            raise ValueError(f"mode {image.mode}")
        return np.asarray(image.convert("RGB")).astype(np.float64)


def photograph_at(file: Path, size: tuple[int, int]) -> Floats:
    """A photograph as HxWx3 levels, resampled to (width, height) by Pillow in floating point."""
    with Image.open(file) as image:
        bands = [band.convert("F") for band in image.convert("RGB").split()]
    if size != bands[0].size:
        bands = [band.resize(size, Image.Resampling.BICUBIC) for band in bands]
    return np.stack([np.asarray(band, np.float64) for band in bands], axis=2).clip(0, 255)


def photograph(result: Result) -> Finding:
    """Every pixel is the photograph's."""
    most = np.abs(result.pixels - result.photo).max()
    return f"differs from the photograph by up to {most:.2f}", bool(most <= ROUNDED)


def changed(least: float = DID_SOMETHING, most: float = 255) -> Check:
    """The mean absolute difference from the photograph lies between these levels."""

    def check(result: Result) -> Finding:
        found = np.abs(result.pixels - result.photo).mean()
        return f"mean difference from the photograph is {found:.2f}", bool(least <= found <= most)

    return check


def kept_right(result: Result) -> Finding:
    """The right half is the photograph, except two columns at the middle; the left half is not."""
    middle = result.pixels.shape[1] // 2
    difference = np.abs(result.pixels - result.photo)
    right, left = difference[:, middle + 2 :].max(), difference[:, : middle - 2].mean()
    return f"kept half differs by up to {right:.2f}, painted half by {left:.2f}", bool(right <= ROUNDED < left)


def kept_left(result: Result) -> Finding:
    """The other way round."""
    return kept_right(replace(result, pixels=result.pixels[:, ::-1], photo=result.photo[:, ::-1]))


def less_color(result: Result) -> Finding:
    """The image has less color than the photograph."""
    found, before = (np.ptp(x, axis=2).mean() for x in (result.pixels, result.photo))
    return f"color went from {before:.1f} to {found:.1f}", bool(found < 0.9 * before)


def gray(result: Result) -> Finding:
    """Every pixel is gray."""
    most = np.ptp(result.pixels, axis=2).max()
    return f"channels differ by up to {most:.0f}", bool(most <= ROUNDED)


def same_hues(result: Result) -> Finding:
    """Each channel, minus the luminance, has the sign it has in the photograph."""
    ours, theirs = (x - (x @ LUMA)[..., None] for x in (result.pixels, result.photo))
    wrong = float(np.minimum(np.sign(theirs) * ours, 0).min())
    return f"hues are off by {-wrong:.2f}", wrong >= -1.5 * ROUNDED


def same_pixels(other: str) -> Check:
    """The image has the pixels of another file."""
    return lambda result: (f"differs from {other}", np.array_equal(read(result.folder / other), result.pixels))


def same_file(other: str) -> Check:
    """The image and another file are equal byte by byte."""

    def check(result: Result) -> Finding:
        return f"is another file than {other}", (result.folder / OUTPUT).read_bytes() == (result.folder / other).read_bytes()

    return check


def film_of(count: int) -> Check:
    """film.gif has this many frames of the image's size."""

    def check(result: Result) -> Finding:
        with Image.open(result.folder / "film.gif") as film:
            found, size = getattr(film, "n_frames", 1), film.size
        return f"film.gif has {found} frames of {size}", found == count and size == result.pixels.shape[1::-1]

    return check
