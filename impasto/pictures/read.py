"""Image files, bytes, PIL images, arrays and tensors to a `Still`: upright, sRGB, with transparency, notes, EXIF and digest."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from impasto import files
from impasto.catalog import defaults
from impasto.errors import MemoryLimitError, PictureError
from impasto.files import one_line, printable, reason
from impasto.ladder import Size
from impasto.pictures import arrays, decode, metadata
from impasto.pictures.arrays import Array
from impasto.pictures.containers import UnsupportedTiffError, opened
from impasto.pictures.decode import Decoded
from impasto.pictures.faults import RefusedError, too_many
from impasto.pictures.metadata import Kept
from impasto.pictures.profile import Floats, to_srgb

if TYPE_CHECKING:
    from torch import Tensor

Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | Array | Tensor"

DEFAULT_MAX_PIXELS: int = defaults("impasto")["max_pixels"]
LARGEST_PIXEL = 16  # bytes of a file per pixel allowed: four channels of 32 bits
LEAST_ROOM = 1 << 28  # bytes that any file may have
_BLOCK = 1 << 20  # bytes read at once

_pillow_lock = threading.Lock()


@dataclass(frozen=True)
class Still:
    """A decoded image.

    color: HxWx3 float32, sRGB in [0, 1], upright, with all the bits of the source. Where alpha is 0, the color is the mean of the
        visible colors.
    alpha: HxW float32 in [0, 1], or None when the image is opaque everywhere.
    notes: one sentence for the user about each property of the source that was changed or ignored.
    name: the file's name without folders; "" for a source that is not a path.
    digest: SHA-256 of the file or of the bytes, as hexadecimal; "" for a PIL image, an array or a tensor.
    exif: the part of a photograph's EXIF that `save` can keep: camera, exposure, date, place, owner. Empty where there is none.
    labels: HxW int32, upright: the numbers that a source with a single channel stores (grays of any depth, palette indices, bits); None
        for other sources.
    lossless: whether the colors are exactly those that were saved.
    """

    color: Floats
    alpha: Floats | None
    notes: tuple[str, ...] = ()
    name: str = ""
    digest: str = ""
    exif: Kept = field(default_factory=dict)
    labels: npt.NDArray[np.int32] | None = None
    lossless: bool = True

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        height, width = self.color.shape[:2]
        return height, width


def load_still(source: Source, *, max_pixels: int = DEFAULT_MAX_PIXELS, role: str = "image") -> Still:
    """Read an image without torch. source, max_pixels, role, errors: as in `load`, which makes tensors of the result."""
    path = printable(source) if isinstance(source, (str, os.PathLike)) else None
    with _named(role if path is None else f"{role} {path}"):
        decoded, digest = _read(source, role, max_pixels)
        with np.errstate(all="ignore"):  # whatever a file states: what is not finite is found
            color, notes = to_srgb(decoded.color, decoded.statements)
        color, alpha = _settle_alpha(color, decoded.alpha)
        return Still(
            color=color,
            alpha=alpha,
            notes=tuple(f"{path or role} {note}" for note in (*decoded.notes, *notes)),
            name=Path(source).name if isinstance(source, (str, os.PathLike)) else "",
            digest=digest,
            exif=decoded.exif,
            labels=decoded.labels,
            lossless=decoded.lossless,
        )


def read_settings(
    source: str | os.PathLike[str] | bytes | BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> dict[str, object] | None:
    """The settings that `save` stored with an image; None for an image without settings or from another program.

    source: a path, the bytes of an image file, or a binary file object. Raises PictureError when it is not an image.
    """
    path = f" {printable(source)}" if isinstance(source, (str, os.PathLike)) else ""
    with _named(f"image{path}"):
        data = _bytes_of(source, "image", max_pixels)
        with _pillow(max_pixels):
            try:
                return metadata.settings_in(opened(data).image)
            except UnsupportedTiffError:  # an image that `load` may read, and that impasto did not write
                return None


@contextlib.contextmanager
def _named(subject: str) -> Iterator[None]:
    """Begin errors with their subject.

    Raises PictureError for RefusedError and OSError, and MemoryLimitError for MemoryError.
    """
    try:
        yield
    except RefusedError as refused:
        raise PictureError(f"{subject}: {refused.problem}", remedy=refused.remedy) from refused.__cause__
    except OSError as error:
        raise PictureError(f"{subject}: {reason(error)}") from error
    except MemoryError as error:
        raise MemoryLimitError(f"{subject}: does not fit into memory") from error


def _read(source: object, role: str, max_pixels: int) -> tuple[Decoded, str]:
    """The decoded source, and the digest of its bytes."""
    if isinstance(source, np.ndarray):
        return replace(_of_floats(arrays.from_array(source, max_pixels)), labels=arrays.labels_of(source)), ""
    if _is_tensor(source):
        return _of_floats(arrays.from_tensor(source, max_pixels)), ""
    if isinstance(source, Image.Image):
        with _pillow(max_pixels):
            return decode.from_image(source, max_pixels), ""
    data = _bytes_of(source, role, max_pixels)
    with _pillow(max_pixels):
        return decode.from_bytes(data, max_pixels), hashlib.sha256(data).hexdigest()


def _is_tensor(source: object) -> TypeGuard[Tensor]:
    """Whether a source is a tensor, which nothing is before torch is loaded."""
    return isinstance(source, getattr(sys.modules.get("torch"), "Tensor", ()))


def _of_floats(values: Floats) -> Decoded:
    color = values[..., 0] if values.shape[2] == 1 else values[..., :3]
    return Decoded(color, values[..., 3] if values.shape[2] == 4 else None)


def _bytes_of(source: object, role: str, max_pixels: int) -> bytes:
    """The bytes of a file.

    Raises RefusedError for a source that is no file, for no bytes, and for more bytes than an image of so many pixels can need;
    PictureError or OSError for a path that cannot be read.
    """
    limit = max(LEAST_ROOM, LARGEST_PIXEL * max_pixels)
    if isinstance(source, (str, os.PathLike)):
        with files.open_regular(source, PictureError, role) as file:
            data = file.read(limit + 1)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif callable(read := getattr(source, "read", None)):
        data = _read_all(read, limit)
    else:
        kinds = "a path, bytes, a binary file, a PIL image, an array or a tensor"
        raise RefusedError(f"expected {kinds}, not {type(source).__name__}")
    if not data:
        raise RefusedError("there are no bytes to read")
    if len(data) > limit:
        raise RefusedError(f"is a file of more than {limit / 1e9:.1f} GB", remedy="raise {max_pixels}")
    return data


def _read_all(read: Callable[[int], object], limit: int) -> bytes:
    """What a file object holds from its position on, and a byte more than allowed at most."""
    parts, left = list[bytes](), limit + 1
    while left > 0:
        try:
            part = read(min(left, _BLOCK))
        except ValueError as error:
            raise RefusedError("the file is closed, or not open for reading") from error
        if not isinstance(part, bytes):
            raise RefusedError(f"a file must be opened in binary mode, and its read() returns {type(part).__name__}")
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


@contextlib.contextmanager
def _pillow(max_pixels: int) -> Iterator[None]:
    """Run Pillow on an untrusted source: our size limit, no warnings, nothing logged, every error a RefusedError."""
    with _pillow_lock, warnings.catch_warnings(), _silent_loggers():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        except (RefusedError, MemoryError):
            raise
        except UnidentifiedImageError as error:
            raise RefusedError("not an image, or its format is not supported") from error
        except Image.DecompressionBombError as error:
            count = re.search(r"\d+", str(error))
            raise too_many(int(count[0]) if count else None, max_pixels) from error
        except Exception as error:  # decoders raise nearly anything when fed damaged files
            raise RefusedError(f"truncated or damaged ({one_line(str(error)) or type(error).__name__})") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextlib.contextmanager
def _silent_loggers() -> Iterator[None]:
    """Logging shows errors on standard error where a program has not set it up."""
    loggers = [logging.getLogger(name) for name in ("PIL", "tifffile")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _settle_alpha(color: Floats, alpha: Floats | None) -> tuple[Floats, Floats | None]:
    """Drop an alpha that hides nothing. Give hidden pixels the mean color of the visible ones, so that they influence nothing.

    color: HxWx3, changed in place. alpha: HxW. Raises RefusedError for an image that is transparent everywhere.
    """
    if alpha is None or alpha.min() >= 1:
        return color, None
    hidden = alpha == 0
    if hidden.all():
        raise RefusedError("is transparent everywhere")
    if hidden.any():
        weight = alpha.sum(dtype=np.float64)
        color[hidden] = np.einsum("hw,hwc->c", alpha, color, dtype=np.float64) / weight
    return color, alpha
