"""Image files, bytes, PIL images, arrays and tensors to a `Picture`: upright, sRGB, with transparency, notes, EXIF and digest."""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from impasto import files
from impasto.catalog import defaults
from impasto.errors import MemoryLimitError, PictureError
from impasto.files import one_line, printable, reason
from impasto.ladder import Size
from impasto.pictures import metadata
from impasto.pictures.metadata import Kept
from impasto.pictures.profile import BYTE, Floats, to_srgb

Array: TypeAlias = npt.NDArray[Any]
Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | Array | Tensor

DEFAULT_MAX_PIXELS: int = defaults("impasto")["max_pixels"]
WORD = 65535

# Everything Pillow decodes itself. Left out: formats that run another program (EPS), that are only identified, or that hold no
# images. TGA has no signature, so it is tried last. HEIF is there when the user has registered a plugin for it.
_READABLE = (
    *("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF"),
    *("ICO", "ICNS", "PSD", "PCX", "SGI", "QOI", "DDS", "TGA"),
)
_LOSSY = frozenset({"JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JPEG2000"})
_DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N", "F"})  # Pillow's modes of more than 8 bits; all are gray

_ORIENTATION, _BITS, _PHOTOMETRIC, _PLANAR = 0x0112, 0x0102, 0x0106, 0x011C

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_pillow_lock = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    pixels: 1x3xHxW float32, sRGB in [0, 1], upright. Where alpha is 0, the color is the mean of the visible colors.
    alpha: 1x1xHxW float32 in [0, 1], or None when the image is opaque everywhere.
    notes: one sentence for the user about each property of the source that was changed or ignored.
    name: the file's name without folders; "" for a source that is not a path.
    digest: SHA-256 of the file or of the bytes, as hexadecimal; "" for a PIL image, an array or a tensor.
    exif: the part of a photograph's EXIF that `save` can keep: camera, exposure, date, place, owner. Empty where there is none.
    lossless: whether the pixels are exactly those that were saved.
    labels: HxW int32, upright: the numbers in a source of one channel (grays of any depth, palette indices, bits), before any color
        conversion. None for several channels.
    """

    pixels: Tensor
    alpha: Tensor | None
    notes: tuple[str, ...] = ()
    name: str = ""
    digest: str = ""
    exif: Kept = field(default_factory=dict)
    lossless: bool = True
    labels: npt.NDArray[np.int32] | None = None

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        height, width = self.pixels.shape[-2:]
        return int(height), int(width)

    def over(self, background: float) -> Tensor:
        """The pixels over a gray background, 0 black to 1 white, 1x3xHxW."""
        return self.pixels if self.alpha is None else self.pixels * self.alpha + background * (1 - self.alpha)


@dataclass(frozen=True)
class _Decoded:
    """A decoded source, upright. color: an image or floats as in `to_srgb`; alpha: HxW in [0, 1]; notes: without their subject."""

    color: Image.Image | Floats
    alpha: Floats | None = None
    profile: bytes | None = None
    notes: tuple[str, ...] = ()
    exif: Kept = field(default_factory=dict)
    lossless: bool = True
    labels: npt.NDArray[np.int32] | None = None


class _RefusedError(Exception):
    """Why a source is refused; `_named` turns it into a PictureError that begins with the source's name."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def load(source: Source, *, max_pixels: int = DEFAULT_MAX_PIXELS, role: str = "image") -> Picture:
    """Read an image. The source is opened once and never changed.

    source: a path; the bytes of an image file; a binary file object, read from its position to its end and not closed; a PIL image
        (its current frame; EXIF orientation and profile are honored); an array HxW, HxWx1, HxWx3 or HxWx4 of uint8, uint16, bool
        or float in [0, 1]; a float tensor 3xHxW or 1x3xHxW in [0, 1].
    max_pixels: the largest height times width allowed, checked before pixels are decoded.
    role: what the image is for; error messages begin with it.

    Colors become sRGB: by the embedded ICC profile where there is one, otherwise they are taken as sRGB.
    Pillow keeps its size limit in a global, and Python its warning filters. Both are changed while a file is decoded and restored
    afterwards, under a lock. Images are therefore decoded one at a time, and a thread that uses Pillow directly at that moment sees
    the changed values.

    Raises PictureError (the source is not a usable image) and MemoryLimitError.
    """
    path = printable(source) if isinstance(source, (str, os.PathLike)) else None
    with _named(role if path is None else f"{role} {path}"):
        decoded, digest = _read(source, role, max_pixels)
        color, note = to_srgb(decoded.color, decoded.profile)
        color, alpha = _settle_alpha(color, decoded.alpha)
        return Picture(
            pixels=torch.from_numpy(np.ascontiguousarray(color.transpose(2, 0, 1)))[None],
            alpha=None if alpha is None else torch.from_numpy(np.ascontiguousarray(alpha))[None, None],
            notes=tuple(f"{path or role} {note}" for note in (*decoded.notes, note) if note),
            name=Path(source).name if isinstance(source, (str, os.PathLike)) else "",
            digest=digest,
            exif=decoded.exif,
            lossless=decoded.lossless,
            labels=decoded.labels,
        )


def read_settings(
    source: str | os.PathLike[str] | bytes | BinaryIO, *, max_pixels: int = DEFAULT_MAX_PIXELS
) -> dict[str, object] | None:
    """The settings that `save` stored with an image; None for an image without settings or from another program.

    source: a path, the bytes of an image file, or a binary file object. Raises PictureError when it is not an image.
    """
    path = f" {printable(source)}" if isinstance(source, (str, os.PathLike)) else ""
    with _named(f"image{path}"), _opened(source, "image") as file, _pillow(max_pixels):
        return metadata.settings_in(_identify(file)[0])


@contextlib.contextmanager
def _named(subject: str) -> Iterator[None]:
    try:
        yield
    except _RefusedError as refused:
        raise PictureError(f"{subject}: {refused.problem}", remedy=refused.remedy) from refused.__cause__
    except OSError as error:
        raise PictureError(f"{subject}: {reason(error)}") from error
    except MemoryError as error:
        raise MemoryLimitError(f"{subject}: does not fit into memory") from error


def _read(source: object, role: str, max_pixels: int) -> tuple[_Decoded, str]:
    """The decoded source, and the digest of its bytes."""
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels), ""
    if isinstance(source, Tensor):
        return _from_tensor(source, max_pixels), ""
    if isinstance(source, Image.Image):
        with _pillow(max_pixels):
            return _decode(source, 8, max_pixels), ""
    with _opened(source, role) as file:
        with _pillow(max_pixels):
            decoded = _decode(*_identify(file), max_pixels)
        file.seek(0)
        return decoded, files.digest_of(file)


@contextlib.contextmanager
def _opened(source: object, role: str) -> Iterator[BinaryIO]:
    """A seekable file from a path, bytes or a file object."""
    if isinstance(source, (str, os.PathLike)):
        with files.open_regular(source, PictureError, role) as file:
            yield file
        return
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif callable(read := getattr(source, "read", None)):
        data = read()
        if not isinstance(data, bytes):
            raise _RefusedError(f"a file must be opened in binary mode, and its read() returns {type(data).__name__}")
    else:
        kinds = "a path, bytes, a binary file, a PIL image, an array or a tensor"
        raise _RefusedError(f"expected {kinds}, not {type(source).__name__}")
    if not data:
        raise _RefusedError("there are no bytes to read")
    yield io.BytesIO(data)


@contextlib.contextmanager
def _pillow(max_pixels: int) -> Iterator[None]:
    """Run Pillow on an untrusted source: our size limit, no warnings, every error a `_RefusedError`."""
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        except (_RefusedError, MemoryError):
            raise
        except UnidentifiedImageError as error:
            raise _RefusedError("not an image, or its format is not supported") from error
        except Image.DecompressionBombError as error:
            count = re.search(r"\d+", str(error))
            raise _too_many(int(count[0]) if count else None, max_pixels) from error
        except Exception as error:  # decoders raise nearly anything when fed damaged files
            raise _RefusedError(f"truncated or damaged ({one_line(str(error)) or type(error).__name__})") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _identify(file: BinaryIO) -> tuple[ImageFile.ImageFile, int]:
    """The image in a file, with its header read and its pixels not; and a PNG's bits per sample, 8 for other formats."""
    header = file.read(26)  # of a PNG: bits per sample in byte 24, color type in byte 25
    file.seek(0)
    Image.init()
    image = Image.open(file, formats=[name for name in _READABLE if name in Image.OPEN])
    if image.format != "PNG":
        return image, 8
    bits, kind = header[24:26]
    _repair_transparent_color(image, bits, kind)
    return image, bits


def _repair_transparent_color(image: Image.Image, bits: int, kind: int) -> None:
    """Scale a PNG's transparent color to 8 bits, as Pillow scales the pixels but (as of 13.0) not this color."""
    key = image.info.get("transparency")
    if isinstance(key, int) and kind == 0 and bits in (1, 2, 4):
        image.info["transparency"] = min(key * (BYTE // (2**bits - 1)), BYTE)
    elif isinstance(key, tuple) and kind == 2 and bits == 16:
        image.info["transparency"] = tuple(word >> 8 for word in key)


def _decode(image: Image.Image, bits: int, max_pixels: int) -> _Decoded:
    """bits: per sample, 8 where `_identify` does not know; those of a TIFF are found here."""
    _check_size((image.height, image.width), max_pixels)
    tags, few = getattr(image, "tag_v2", {}), bits
    bits = max(bits, *tags.get(_BITS, (8,)))
    shortened = bits > 8 and image.mode not in _DEEP
    if (
        shortened and tags.get(_PLANAR) == 2 and image.info.get("compression") == "raw"
    ):  # Pillow 13.0 reads these as 8 bits wide
        raise _RefusedError(f"a TIFF with separate {bits}-bit color planes; save it with interleaved or compressed channels")
    image.load()
    notes, profile = _frame_notes(image), image.info.get("icc_profile")
    if shortened:
        notes.append(f"is read with 8 of its {bits} bits per channel")
    method = _TURNS.get(_orientation(image))
    upright = image if method is None else image.transpose(method)
    color, alpha = _deep(upright, image) if image.mode in _DEEP else _split(upright)
    lossless = image.format not in _LOSSY
    return _Decoded(
        color,
        alpha,
        profile,
        tuple(notes),
        metadata.photographed(image),
        lossless,
        _labels(np.asarray(upright), few, image.mode),
    )


def _labels(values: Array, bits: int, mode: str = "") -> npt.NDArray[np.int32] | None:
    """The numbers of a single channel. bits: per sample in a PNG, of which Pillow scales fewer than 8 to 8 in mode L."""
    if values.ndim != 2 or values.dtype.kind not in "bui":
        return None
    return values.astype(np.int32) // (BYTE // (2**bits - 1) if mode == "L" and bits < 8 else 1)


def _frame_notes(image: Image.Image) -> list[str]:
    # MPO is an ordinary JPEG from a phone, whose second image is a depth or gain map. The frames of a PSD are its layers.
    if not getattr(image, "is_animated", False) or image.format in ("MPO", "PSD"):
        return []
    frame = "first frame" if image.tell() == 0 else f"frame {image.tell() + 1}"
    if image.format in ("GIF", "PNG", "WEBP", "AVIF"):
        return [f"is animated: its {frame} is used"]
    return [f"holds several images: its {frame} is used"]


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a camera's broken EXIF is no reason to refuse its photograph
        return 1
    return orientation if isinstance(orientation, int) else 1


def _split(image: Image.Image) -> tuple[Image.Image, Floats | None]:
    """Color in mode L, RGB, CMYK or LAB, and alpha."""
    if image.mode in ("CMYK", "LAB"):
        return image, None
    gray = image.mode in ("1", "L", "LA", "La")
    if not image.has_transparency_data:
        return image.convert("L" if gray else "RGB"), None
    whole = image.convert("LA" if gray else "RGBA")
    alpha = np.asarray(whole.getchannel("A"), np.float32) / np.float32(BYTE)
    return whole.getchannel("L") if gray else whole.convert("RGB"), alpha


def _deep(image: Image.Image, original: Image.Image) -> tuple[Floats, Floats | None]:
    """Grays of more than 8 bits as floats. original: the image before it was rotated, which still has its file's tags."""
    values = np.asarray(image).astype(np.float64)
    key = image.info.get("transparency")
    alpha = (values != key).astype(np.float32) if isinstance(key, int) else None
    tags = getattr(original, "tag_v2", {})
    top = 1 if image.mode == "F" else 4095 if tags.get(_BITS) == (12,) else WORD
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= top):
        raise _RefusedError(f"gray values must lie in [0, {top}] and reach from {low:g} to {high:g}")
    values /= top
    if tags.get(_PHOTOMETRIC) == 0:  # zero is white, which Pillow handles for 8 bits only
        values = 1 - values
    return values.astype(np.float32), alpha


def _from_array(array: Array, max_pixels: int) -> _Decoded:
    layered = array[..., None] if array.ndim == 2 else array
    if layered.ndim != 3 or layered.shape[2] not in (1, 3, 4):
        raise _RefusedError(f"an array must be HxW, HxWx1, HxWx3 or HxWx4, not {_shape(array.shape)}")
    _check_size(layered.shape[:2], max_pixels)
    values = _unit_floats(layered)
    color = values[..., 0] if values.shape[2] == 1 else values[..., :3]
    labels = _labels(layered[..., 0], 8) if layered.shape[2] == 1 else None
    return _Decoded(color, values[..., 3] if values.shape[2] == 4 else None, labels=labels)


def _from_tensor(tensor: Tensor, max_pixels: int) -> _Decoded:
    shape = tuple(tensor.shape)
    if not (shape[-3:-2] == (3,) and (len(shape) == 3 or (len(shape) == 4 and shape[0] == 1))):
        raise _RefusedError(f"a tensor must be 3xHxW or 1x3xHxW, not {_shape(shape)}")
    if not tensor.is_floating_point():
        raise _RefusedError(f"a tensor must hold floats in [0, 1], not {str(tensor.dtype).removeprefix('torch.')}")
    _check_size(shape[-2:], max_pixels)
    values = tensor.detach().to("cpu", torch.float32).reshape(shape[-3:])
    return _Decoded(_unit_floats(values.numpy().transpose(1, 2, 0)))


def _unit_floats(array: Array) -> Floats:
    """A float32 copy in [0, 1]."""
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        return array.astype(np.float32) / np.float32(BYTE if array.dtype.itemsize == 1 else WORD)
    if array.dtype.kind != "f":
        raise _RefusedError(f"an array must hold uint8, uint16, bool or float, not {array.dtype}")
    with np.errstate(invalid="ignore"):
        low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # also true of NaN
        raise _RefusedError(f"floats must be finite and lie in [0, 1], and reach from {low:g} to {high:g}")
    return array.astype(np.float32)


def _check_size(size: tuple[int, ...], max_pixels: int) -> None:
    height, width = size
    if height < 1 or width < 1:
        raise _RefusedError(f"has zero size ({width}x{height})")
    if height * width > max_pixels:
        raise _too_many(height * width, max_pixels)


def _too_many(count: int | None, max_pixels: int) -> _RefusedError:
    found = "too many pixels, " if count is None else f"{count:,} pixels, "
    return _RefusedError(f"{found}more than the limit of {max_pixels:,}", remedy="raise {max_pixels}")


def _settle_alpha(color: Floats, alpha: Floats | None) -> tuple[Floats, Floats | None]:
    """Drop an alpha that hides nothing. Give hidden pixels the mean color of the visible ones, so that they influence nothing."""
    if alpha is None or alpha.min() >= 1:
        return color, None
    hidden = alpha == 0
    if hidden.all():
        raise _RefusedError("is transparent everywhere")
    if hidden.any():
        weight = alpha.sum(dtype=np.float64)
        color[hidden] = np.einsum("hw,hwc->c", alpha, color, dtype=np.float64) / weight
    return color, alpha


def _shape(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(map(str, shape)) or "a single number"
