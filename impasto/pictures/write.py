"""Floats to images, and images to files."""

from __future__ import annotations

import functools
import io
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from impasto import files
from impasto.errors import MemoryLimitError, OutputError, PictureError, SaveError, UnknownNameError
from impasto.files import printable, reason
from impasto.ladder import Size
from impasto.pictures import metadata, png
from impasto.pictures.metadata import Kept
from impasto.pictures.spaces import BYTE, WORD, Floats

Words: TypeAlias = npt.NDArray[np.uint16]  # HxWx3 RGB or HxWx4 RGBA
Level = TypeVar("Level", np.uint8, np.uint16)

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}

_ENCODING: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    # Lossy WebP always halves the color resolution, which smears saturated brush strokes. In lossless WebP, quality is effort:
    # 25 takes a fifth of the time of Pillow's 80, for files 2 % larger.
    "WEBP": {"lossless": True, "exact": True, "quality": 25},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
DEEP = ("PNG", "TIFF")  # formats that hold 16 bits per channel
_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}  # the limits of libjpeg and libwebp


def image_of(color: Floats, alpha: Floats | None = None) -> Image.Image:
    """Round to 8 bits, RGB or with alpha RGBA; values outside [0, 1] are clipped.

    color: HxWx3 float32, sRGB in [0, 1]; alpha: HxW float32 in [0, 1]. Raises PictureError for other shapes and for NaN or infinite
    values.
    """
    return Image.fromarray(_rounded(color, alpha, np.uint8, BYTE))


def words_of(color: Floats, alpha: Floats | None = None) -> Words:
    """Round to 16 bits, HxWx3 or with alpha HxWx4; everything else as in `image_of`."""
    return _rounded(color, alpha, np.uint16, WORD)


def _rounded(color: Floats, alpha: Floats | None, kind: type[Level], top: int) -> npt.NDArray[Level]:
    """HxWxC, integers from 0 to top."""
    if color.ndim != 3 or color.shape[2] != 3 or (alpha is not None and alpha.shape != color.shape[:2]):
        shapes = [each.shape for each in (color, alpha) if each is not None]
        raise PictureError(
            f"colors must be HxWx3, and alpha HxW, not {' and '.join('x'.join(map(str, each)) for each in shapes)}"
        )
    levels = np.empty((*color.shape[:2], 3 if alpha is None else 4), kind)
    for place, plane in enumerate((color[..., 0], color[..., 1], color[..., 2], *(() if alpha is None else (alpha,)))):
        if not np.isfinite(plane).all():
            raise PictureError("pixels must be finite, and some are NaN or infinite")
        levels[..., place] = np.rint(np.clip(plane, 0, 1) * np.float32(top))
    return levels


def flatten(image: Image.Image, color: str = "white") -> Image.Image:
    """A copy in RGB, with transparent parts over a color (as Pillow names colors)."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    whole = image.convert("RGBA")
    opaque = Image.new("RGB", whole.size, color)
    opaque.paste(whole, mask=whole.getchannel("A"))
    return opaque


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False, size: Size | None = None) -> Path:
    """Make sure, before a run, that `save` can write there.

    size: (height, width) of the image to come, where it is known, to check it against the format's limit.
    Returns the path. Raises OutputError: unknown suffix, no such directory, no permission to write there, an existing file without
    `overwrite`, or a size that the format cannot hold.
    """
    target = files.check(path, SUFFIXES, overwrite=overwrite)
    _check_size(size or (0, 0), SUFFIXES[target.suffix.lower()], printable(path))
    return target


def _check_size(size: Size, kind: str, name: str) -> None:
    if max(size) > (limit := _LONGEST_SIDE.get(kind, max(size))):
        raise OutputError(f"{name}: {kind} holds at most {limit} pixels a side, not {size[1]}x{size[0]}; use .png or .tif")


def save(
    image: Image.Image | Words,
    path: str | os.PathLike[str],
    *,
    settings: Mapping[str, object] | None = None,
    exif: Kept | None = None,
    overwrite: bool = False,
    announce: Callable[[bytes], object] = len,
) -> tuple[str, ...]:
    """Write an image whole or not at all; the suffix chooses the format. image, settings, exif: as in `encode`.

    announce: called with the file's bytes before they are written. An existing file keeps its permissions; a new one gets those of
    any new file. Returns notes for the user.

    Raises OutputError as `check_output` does, also for a file that appears while this runs, and SaveError when the disk is full or
    the like. Either way an existing file is untouched and nothing else is left in the directory.
    """
    target, name = check_output(path, overwrite=overwrite), printable(path)
    try:
        data, notes = _encoded(image, SUFFIXES[target.suffix.lower()], settings, exif or {}, name)
        announce(data)
        files.write(target, data, SUFFIXES, overwrite=overwrite)
    except OSError as error:
        raise SaveError(f"{name} could not be written: {reason(error)}") from error
    return tuple(f"{name}: {note}" for note in notes)


def encode(
    image: Image.Image | Words, suffix: str, *, settings: Mapping[str, object] | None = None, exif: Kept | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of an image file, and notes for the user. The same arguments give the same bytes.

    image: sRGB, in 8 bits, or in 16 from `words_of`, which only PNG and TIFF hold. suffix: one of SUFFIXES, which chooses PNG, JPEG
    (quality 95, 4:4:4), WebP (lossless) or TIFF (deflate). Transparent parts of a JPEG become white. settings: what JSON can hold,
    stored in the EXIF UserComment (see `read_settings`); None stores nothing of impasto. exif: `Picture.exif` of a photograph, to be
    stored too; a TIFF cannot hold it.

    Raises UnknownNameError for another suffix, OutputError for a size or a depth that the format cannot hold, SaveError for settings
    that are too large, MemoryLimitError, and TypeError or ValueError for settings that JSON cannot hold.
    """
    if suffix.lower() not in SUFFIXES:
        raise UnknownNameError("suffix", suffix, SUFFIXES)
    return _encoded(image, SUFFIXES[suffix.lower()], settings, exif or {}, "the image")


def _encoded(
    image: Image.Image | Words, kind: str, settings: Mapping[str, object] | None, exif: Kept, name: str
) -> tuple[bytes, tuple[str, ...]]:
    deep = isinstance(image, np.ndarray)
    _check_size(image.shape[:2] if isinstance(image, np.ndarray) else (image.height, image.width), kind, name)
    if deep and kind not in DEEP:
        raise OutputError(f"{name}: {kind} holds 8 bits per channel, not 16; use .png or .tif")
    stored, notes = _comment(settings, name), list[str]()
    try:
        if exif and kind == "TIFF":
            exif, notes = {}, [*notes, "the photograph's EXIF is not kept in TIFF files"]
        elif exif and not metadata.fits(exif, stored):
            exif, notes = {}, [*notes, "the photograph's EXIF is damaged or too large and is not kept"]
        if isinstance(image, np.ndarray):
            return _deep(image, kind, stored, exif), tuple(notes)
        plain, more = _plain(image, kind)
        buffer = io.BytesIO()  # not the file itself, for which Pillow reports a full disk as "encoder error -2"
        options = _ENCODING[kind] | metadata.arguments(kind, stored, exif)
        plain.save(buffer, kind, icc_profile=_srgb_profile(), **options)
        return buffer.getvalue(), (*more, *notes)
    except MemoryError as error:
        raise MemoryLimitError(f"{name} could not be written: the encoded image does not fit into memory") from error


def _deep(words: Words, kind: str, stored: bytes | None, exif: Kept) -> bytes:
    """A file of 16 bits, which Pillow cannot write."""
    if kind == "PNG":
        return png.with_words(words, icc_profile=_srgb_profile(), **metadata.arguments(kind, stored, exif))
    import tifffile  # imported here because only TIFFs need it

    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        words,
        photometric="rgb",
        extrasamples=["unassalpha"] if words.shape[2] == 4 else None,
        compression="zlib",
        predictor=True,
        iccprofile=_srgb_profile(),
        metadata=None,
        **metadata.tiff_arguments(stored),
    )
    return buffer.getvalue()


def _plain(image: Image.Image, kind: str) -> tuple[Image.Image, list[str]]:
    """A copy in RGB or RGBA without metadata, which Pillow would write too; and notes."""
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    notes = []
    if plain.mode == "RGBA" and kind == "JPEG":
        if plain.getchannel("A").getextrema() != (BYTE, BYTE):
            notes = ["JPEG has no transparency, so transparent parts are white"]
        plain = flatten(plain)
    plain.info = {}
    return plain, notes


def _comment(settings: Mapping[str, object] | None, name: str) -> bytes | None:
    if settings is None:
        return None
    stored = metadata.comment(settings)
    if len(stored) > metadata.MOST_SETTINGS:
        most = f"{metadata.MOST_SETTINGS:,} that fit into an image file"
        raise SaveError(f"{name} could not be written: its settings take {len(stored):,} bytes, more than the {most}")
    return stored


@functools.cache
def _srgb_profile() -> bytes:
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return (
        data[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + data[36:]
    )  # a fixed creation date: every run gives the same bytes
