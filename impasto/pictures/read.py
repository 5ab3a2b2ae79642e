"""Picture files, images and arrays <-> 1x3xHxW float32 sRGB tensors in [0, 1].

`load` reads whatever a user has (any orientation, colour profile, depth, alpha) into one representation; `to_image` and `save`
go back, at most half a rounding step away. Outside the weights' input conventions, the number 255
appears in this file only.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from impasto import files, metadata
from impasto.errors import MemoryLimitError, OptionError, OutputError, PictureError, SaveError
from impasto.files import one_line, printable, reason
from impasto.metadata import Kept

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float32]
PictureLike: TypeAlias = str | os.PathLike[str] | Image.Image | Array | Tensor

DEFAULT_MAX_PIXELS = 200_000_000
BYTE = 255
WORD = 65535
LOBES = 6  # of the sinc that pictures are enlarged by, on each side
PASSED = 0.9  # of the frequencies that the small picture can hold

SUFFIXES: dict[str, str] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}

# TIFF's Predictor 2 (differences along a row) goes in with the EXIF tags, see `metadata`.
_ENCODING: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    # Lossy WebP always halves the colour resolution, which smears saturated brush strokes. Without loss, quality is effort:
    # 25 takes a fifth of the time of Pillow's 80 for files 2 % larger.
    "WEBP": {"lossless": True, "exact": True, "quality": 25},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}  # what libjpeg and libwebp write

# Everything Pillow decodes itself. Left out: formats that run another program (EPS), that are only identified, or that hold no
# pictures. TGA has no signature, so it is tried last. HEIF is there when the user has registered a plugin for it.
_READABLE = (
    *("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF"),
    *("ICO", "ICNS", "PSD", "PCX", "SGI", "QOI", "DDS", "TGA"),
)
_DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N", "F"})  # Pillow's modes of more than 8 bits; all are grey
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # an ICC profile's colour space -> Pillow's mode

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
    """A picture as the rest of impasto sees it.

    pixels: 1x3xHxW float32, sRGB in [0, 1], upright. Where alpha is 0 the colour is the mean of the visible colours.
    alpha: 1x1xHxW float32 in [0, 1], or None when the picture is opaque everywhere.
    notes: one sentence for the user per thing that was not taken as it stood.
    """

    pixels: Tensor
    alpha: Tensor | None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.pixels.shape[-2:]
        return int(height), int(width)


@dataclass(frozen=True)
class _Decoded:
    """A decoded image, upright. colour: mode L, RGB, CMYK or LAB, or HxW floats for deep greys; alpha: HxW or None."""

    colour: Image.Image | Floats
    alpha: Floats | None
    profile: bytes | None
    notes: tuple[str, ...]


class _RefusedError(Exception):
    """Why a source is refused; `_named` puts the source's name in front of it."""


# ---------------------------------------------------------------------------------------------------------------- reading


def load(source: PictureLike, *, max_pixels: int = DEFAULT_MAX_PIXELS, role: str = "picture") -> Picture:
    """Read a picture.

    source: a path; a PIL image (its current frame; EXIF orientation and profile are honoured); an array HxW, HxWx1, HxWx3 or
        HxWx4 of uint8, uint16, bool (0 and 1) or float in [0, 1]; a float tensor 3xHxW or 1x3xHxW in [0, 1]. Never changed.
    max_pixels: the most height times width allowed, checked before anything is decoded.
    role: what the picture is for; begins the error messages.

    Colours become sRGB: by the embedded ICC profile where there is one, otherwise they are taken as sRGB.
    Pillow keeps its size limit and Python its warning filters in globals. Both are changed while a file is decoded, under a
    lock, and put back: pictures load one after the other whatever thread they load in, and another thread that uses Pillow
    itself in that moment sees the changed values.

    Raises PictureError (the source is not a usable picture) and MemoryLimitError.
    """
    path = printable(source) if isinstance(source, (str, os.PathLike)) else None
    with _named(role if path is None else f"{role} {path}"):
        colour, alpha, notes = _read(source, max_pixels)
        colour, alpha = _settle_alpha(colour, alpha)
        return Picture(
            pixels=torch.from_numpy(np.ascontiguousarray(colour.transpose(2, 0, 1)))[None],
            alpha=None if alpha is None else torch.from_numpy(np.ascontiguousarray(alpha))[None, None],
            notes=tuple(f"{path or role} {note}" for note in notes),
        )


@contextlib.contextmanager
def _named(subject: str) -> Iterator[None]:
    try:
        yield
    except _RefusedError as refused:
        raise PictureError(f"{subject}: {refused}") from refused.__cause__
    except MemoryError as error:
        raise MemoryLimitError(f"{subject}: does not fit into memory") from error


def _read(source: object, max_pixels: int) -> tuple[Floats, Floats | None, list[str]]:
    """HxWx3 colours, HxW alpha or None, both [0, 1], and the notes."""
    if isinstance(source, (str, os.PathLike)):
        with _open(source) as file, _pillow(max_pixels):
            decoded = _decode(_identify(file), max_pixels)
        return _from_decoded(decoded)
    if isinstance(source, Image.Image):
        with _pillow(max_pixels):
            decoded = _decode(source, max_pixels)
        return _from_decoded(decoded)
    if isinstance(source, np.ndarray):
        return *_from_array(source, max_pixels), []
    if isinstance(source, Tensor):
        return *_from_tensor(source, max_pixels), []
    raise _RefusedError(f"expected a path, a PIL image, an array or a tensor, not {type(source).__name__}")


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        found = Path(path).stat()
        if stat.S_ISDIR(found.st_mode):
            raise _RefusedError("is a directory, not a picture")
        if not stat.S_ISREG(found.st_mode):  # opening a FIFO would wait for a writer
            raise _RefusedError("is not a regular file")
        if found.st_size == 0:
            raise _RefusedError("the file is empty")
        return Path(path).open("rb")
    except (OSError, ValueError) as error:
        raise _RefusedError(reason(error)) from error


@contextlib.contextmanager
def _pillow(max_pixels: int) -> Iterator[None]:
    """Run Pillow on a source that may be hostile: our size limit, no warnings, every error a `_RefusedError`."""
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        except (_RefusedError, MemoryError):
            raise
        except UnidentifiedImageError as error:
            raise _RefusedError("not a picture, or not of a kind that can be read") from error
        except Image.DecompressionBombError as error:
            count = re.search(r"\d+", str(error))
            raise _RefusedError(_too_many(int(count[0]) if count else None, max_pixels)) from error
        except Exception as error:  # decoders raise nearly anything when fed damaged files
            raise _RefusedError(f"truncated or damaged ({one_line(str(error)) or type(error).__name__})") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _identify(file: BinaryIO) -> ImageFile.ImageFile:
    """The image in a file, its header read and its pixels not."""
    Image.init()
    image = Image.open(file, formats=[name for name in _READABLE if name in Image.OPEN])
    _repair_transparent_colour(image)
    return image


def _repair_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Scale a PNG's transparent colour to 8 bits, as Pillow scales the pixels but (as of 13.0) not the colour."""
    key, rawmode = image.info.get("transparency"), image.tile[0][3] if image.format == "PNG" and image.tile else None
    if isinstance(key, int) and rawmode in ("1", "L;2", "L;4"):
        step = {"1": BYTE, "L;2": BYTE // 3, "L;4": BYTE // 15}[rawmode]
        image.info["transparency"] = min(key * step, BYTE)
    elif isinstance(key, tuple) and rawmode == "RGB;16B":
        image.info["transparency"] = tuple(word >> 8 for word in key)


def _decode(image: Image.Image, max_pixels: int) -> _Decoded:
    _check_size((image.height, image.width), max_pixels)
    _check_planes(image)
    image.load()
    notes, profile = _frame_notes(image), image.info.get("icc_profile")
    method = _TURNS.get(_orientation(image))
    upright = image if method is None else image.transpose(method)
    colour, alpha = _deep(upright, image) if image.mode in _DEEP else _split(upright)
    return _Decoded(colour, alpha, profile, tuple(notes))


def _check_planes(image: Image.Image) -> None:
    """Pillow reads uncompressed 16-bit colour planes as if they had 8 bits (as of 13.0)."""
    tags = getattr(image, "tag_v2", {})
    apart = tags.get(_PLANAR) == 2 and image.info.get("compression") == "raw"
    if apart and image.mode not in _DEEP and max(tags.get(_BITS, (8,))) > 8:
        raise _RefusedError("a TIFF with separate 16-bit colour planes; save it with interleaved or compressed channels")


def _frame_notes(image: Image.Image) -> list[str]:
    # MPO is an ordinary JPEG of a telephone (the second picture is a depth or gain map); the frames of a PSD are its layers.
    if not getattr(image, "is_animated", False) or image.format in ("MPO", "PSD"):
        return []
    frame = "first frame" if image.tell() == 0 else f"frame {image.tell() + 1}"
    if image.format in ("GIF", "PNG", "WEBP", "AVIF"):
        return [f"is animated: its {frame} is used"]
    return [f"holds several pictures: its {frame} is used"]


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a camera's broken EXIF is no reason to refuse its picture
        return 1
    return orientation if isinstance(orientation, int) else 1


def _split(image: Image.Image) -> tuple[Image.Image, Floats | None]:
    """Colour in mode L, RGB, CMYK or LAB, and alpha."""
    if image.mode in ("CMYK", "LAB"):
        return image, None
    grey = image.mode in ("1", "L", "LA", "La")
    if not image.has_transparency_data:
        return image.convert("L" if grey else "RGB"), None
    whole = image.convert("LA" if grey else "RGBA")
    alpha = np.asarray(whole.getchannel("A"), np.float32) / np.float32(BYTE)
    return whole.getchannel("L") if grey else whole.convert("RGB"), alpha


def _deep(image: Image.Image, original: Image.Image) -> tuple[Floats, Floats | None]:
    """Greys of more than 8 bits as floats. original: the image before it was turned, which still has its file's tags."""
    values = np.asarray(image).astype(np.float64)
    key = image.info.get("transparency")
    alpha = (values != key).astype(np.float32) if isinstance(key, int) else None
    tags = getattr(original, "tag_v2", {})
    top = 1 if image.mode == "F" else 4095 if tags.get(_BITS) == (12,) else WORD
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= top):
        raise _RefusedError(f"grey values must lie in [0, {top}] and reach from {low:g} to {high:g}")
    values /= top
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow undoes for 8 bits only
        values = 1 - values
    return values.astype(np.float32), alpha


def _from_array(array: Array, max_pixels: int) -> tuple[Floats, Floats | None]:
    layered = array[..., None] if array.ndim == 2 else array
    if layered.ndim != 3 or layered.shape[2] not in (1, 3, 4):
        raise _RefusedError(f"an array must be HxW, HxWx1, HxWx3 or HxWx4, not {_shape(array.shape)}")
    _check_size(layered.shape[:2], max_pixels)
    values = _unit_floats(layered)
    colour = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values[..., :3]
    return colour, values[..., 3] if values.shape[2] == 4 else None


def _from_tensor(tensor: Tensor, max_pixels: int) -> tuple[Floats, None]:
    shape = tuple(tensor.shape)
    if not (shape[-3:-2] == (3,) and (len(shape) == 3 or (len(shape) == 4 and shape[0] == 1))):
        raise _RefusedError(f"a tensor must be 3xHxW or 1x3xHxW, not {_shape(shape)}")
    if not tensor.is_floating_point():
        raise _RefusedError(f"a tensor must hold floats in [0, 1], not {str(tensor.dtype).removeprefix('torch.')}")
    _check_size(shape[-2:], max_pixels)
    values = tensor.detach().to("cpu", torch.float32).reshape(shape[-3:])
    return _unit_floats(values.numpy().transpose(1, 2, 0)), None


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
        raise _RefusedError(_too_many(height * width, max_pixels))


def _too_many(count: int | None, max_pixels: int) -> str:
    found = "too many pixels, " if count is None else f"{count:,} pixels, "
    return f"{found}more than the limit of {max_pixels:,}; raise it with --max-pixels"


def _settle_alpha(colour: Floats, alpha: Floats | None) -> tuple[Floats, Floats | None]:
    """Drop an alpha that hides nothing; give hidden pixels the visible ones' mean colour, so they influence nothing."""
    if alpha is None or alpha.min() >= 1:
        return colour, None
    hidden = alpha == 0
    if hidden.all():
        raise _RefusedError("is transparent everywhere")
    if hidden.any():
        weight = alpha.sum(dtype=np.float64)
        colour[hidden] = np.einsum("hw,hwc->c", alpha, colour, dtype=np.float64) / weight
    return colour, alpha


# ---------------------------------------------------------------------------------------------------------------- colours


def _from_decoded(decoded: _Decoded) -> tuple[Floats, Floats | None, list[str]]:
    colour, note = _to_srgb(decoded.colour, decoded.profile)
    return colour, decoded.alpha, [*decoded.notes, *([note] if note else [])]


def _to_srgb(colour: Image.Image | Floats, profile: bytes | None) -> tuple[Floats, str]:
    """HxWx3 sRGB in [0, 1], and what to tell the user, "" for nothing."""
    cmyk = isinstance(colour, Image.Image) and colour.mode == "CMYK"
    guess = "; its CMYK colours are approximate" if cmyk else ""
    if not profile:
        return _as_srgb(colour), f"has no colour profile{guess}" if guess else ""
    try:
        transform, name = _transform(profile, colour.mode if isinstance(colour, Image.Image) else "L")
        if transform is None:
            return _as_srgb(colour), f"has a colour profile of another kind ({name}), which is ignored{guess}"
        if _is_srgb(transform):
            return _as_srgb(colour), ""
        return _through(transform, colour), f"has its colours converted from {name}"
    except (ImageCms.PyCMSError, OSError, ValueError):
        return _as_srgb(colour), f"has a damaged colour profile, which is ignored{guess}"


def _as_srgb(colour: Image.Image | Floats) -> Floats:
    """The colours taken as they stand: L and RGB as sRGB, CMYK as naive inks, LAB as CIELAB under D50."""
    if not isinstance(colour, Image.Image):
        return np.repeat(colour[..., None], 3, axis=2)
    if colour.mode == "LAB":
        colour = _build(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB").apply(colour)
    return np.asarray(colour.convert("RGB"), np.float32) / np.float32(BYTE)


def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """The transform from a profile to sRGB, None where the profile is not for such pixels, and the profile's name."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    name = one_line(ImageCms.getProfileDescription(source)) or "an unnamed colour profile"
    wanted = _SPACES.get(source.profile.xcolor_space.strip())
    if wanted is None or (wanted != mode and (wanted, mode) != ("RGB", "L")):
        return None, name
    return _build(source, wanted), name


def _build(source: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    # A print or Lab gamut does not fit into sRGB, so it is compressed; between screens colours that fit stay exact.
    intent = ImageCms.Intent.PERCEPTUAL if mode in ("CMYK", "LAB") else ImageCms.Intent.RELATIVE_COLORIMETRIC
    # lcms speeds transforms up through a coarse table, which is up to 10 levels off for linear greys and 50 for Lab.
    speed = ImageCms.Flags.NOOPTIMIZE if mode in ("L", "LAB") else ImageCms.Flags.HIGHRESPRECALC
    flags = speed | ImageCms.Flags.BLACKPOINTCOMPENSATION
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent, flags)


def _through(transform: ImageCms.ImageCmsTransform, colour: Image.Image | Floats) -> Floats:
    if isinstance(colour, Image.Image) and colour.mode != "L":
        return _as_srgb(transform.apply(colour))
    levels = np.arange(BYTE + 1, dtype=np.uint8)
    ramp = Image.fromarray(levels[None]).convert(transform.input_mode)
    curve: Floats = _as_srgb(transform.apply(ramp))[0]  # 256x3
    if isinstance(colour, Image.Image):
        return np.take(curve, np.asarray(colour), axis=0)
    # Pillow gives lcms 8 bits only, so deeper greys are interpolated.
    return np.stack([np.interp(colour, levels / BYTE, channel) for channel in curve.T], axis=2).astype(np.float32)


def _is_srgb(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform leaves colours alone. Names cannot tell: profiles called sRGB exist with other curves."""
    if transform.input_mode not in ("L", "RGB"):
        return False
    levels = np.linspace(0, BYTE, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    probe = Image.fromarray(cube).convert(transform.input_mode)
    change = np.abs(_through(transform, probe) - _as_srgb(probe)) * BYTE
    return bool(change.max() < 2.5)  # two levels: the rounding of one sRGB profile against another's


# ---------------------------------------------------------------------------------------------------------------- sizes


def fit(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """The (height, width) nearest to size's aspect whose longer side is `longer`; no side is below 1.

    Raises OptionError when `longer` is below 1.
    """
    if longer < 1:
        raise OptionError(f"the longer side must be at least 1 pixel, not {longer}")
    height, width = size
    long = max(height, width)
    scaled_height, scaled_width = (max(1, (2 * side * longer + long) // (2 * long)) for side in (height, width))
    return scaled_height, scaled_width


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased bicubic (a = -0.5) resampling, the bicubic filter of Pillow.

    pixels: BxCxHxW float in [0, 1]; size: (height, width). Returns BxCxheightxwidth clamped to [0, 1], or pixels itself when
    it has that size already.
    """
    if tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    source = pixels.cpu() if pixels.device.type == "mps" else pixels  # some torch releases lack this filter on MPS
    resized = functional.interpolate(source, size=size, mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0, 1).to(pixels.device)


def enlarge(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge by a sinc in Lanczos's window (Duchon 1979, "Lanczos filtering in one and two dimensions"), and mirror at the edges.

    Bicubic resampling leaves mirror images of fine detail, upright and level ones foremost. A picture that is enlarged and worked on
    again and again gathers them to a weave. Here next to nothing above the small picture's own detail is left.
    pixels: BxCxHxW float in [0, 1]; size: (height, width), no smaller. Returns BxCxheightxwidth clamped to [0, 1].
    """
    for axis, length in ((-2, size[0]), (-1, size[1])):
        if pixels.shape[axis] != length:
            pixels = _stretched(pixels, axis, length)
    return pixels.clamp(0, 1)


def _stretched(pixels: Tensor, axis: int, length: int) -> Tensor:
    own, shape = pixels.shape[axis], [1] * pixels.dim()
    shape[axis] = length
    centres = (torch.arange(length, dtype=torch.float64) + 0.5) * own / length - 0.5
    places = centres.floor().long()[:, None] + torch.arange(1 - LOBES, LOBES + 1)
    away = places - centres[:, None]
    weights = torch.sinc(PASSED * away) * torch.sinc(away / LOBES) * (away.abs() < LOBES)
    weights = (weights / weights.sum(1, keepdim=True)).to(pixels)
    mirrored = places.remainder(2 * own)
    places = torch.minimum(mirrored, 2 * own - 1 - mirrored).to(pixels.device)
    total = torch.zeros((), device=pixels.device)
    for place, weight in zip(places.T, weights.T, strict=True):
        total = torch.addcmul(total, pixels.index_select(axis, place), weight.reshape(shape))
    return total


# ---------------------------------------------------------------------------------------------------------------- writing


def to_image(pixels: Tensor, alpha: Tensor | None = None) -> Image.Image:
    """Round to 8 bits, RGB or with alpha RGBA; values outside [0, 1] are clipped.

    pixels: 1x3xHxW float, sRGB in [0, 1]; alpha: 1x1xHxW float in [0, 1]. Each value ends at most half a step of 1/255 away.
    Raises PictureError for other shapes and for NaN or infinite values.
    """
    height, width = pixels.shape[-2:]
    if pixels.shape != (1, 3, height, width):
        raise PictureError(f"pixels must be 1x3xHxW, not {_shape(pixels.shape)}")
    if alpha is None:
        return Image.fromarray(_bytes(pixels))
    if alpha.shape != (1, 1, height, width):
        raise PictureError(f"alpha must be 1x1x{height}x{width} like the pixels, not {_shape(alpha.shape)}")
    return Image.fromarray(np.concatenate([_bytes(pixels), _bytes(alpha)], axis=2))


def _bytes(values: Tensor) -> npt.NDArray[np.uint8]:
    """1xCxHxW [0, 1] -> HxWxC."""
    if not torch.isfinite(values).all():
        raise PictureError("pixels must be finite, and some are NaN or infinite")
    levels = values.detach().to("cpu", torch.float32).clamp(0, 1).mul_(BYTE).round_().to(torch.uint8)
    return np.ascontiguousarray(levels[0].numpy().transpose(1, 2, 0))


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False, size: tuple[int, int] | None = None) -> Path:
    """Make sure, before a run, that `save` can write there.

    size: (height, width) of the picture to come, where it is known, to check it against the format's own limit.
    Returns the path. Raises OutputError: unknown suffix, no such directory or no right to write there, an existing file
    without `overwrite`, a size the format cannot hold.
    """
    target = files.check(path, SUFFIXES, overwrite=overwrite)
    kind = SUFFIXES[target.suffix.lower()]
    limit = _LONGEST_SIDE.get(kind)
    if size and limit and max(size) > limit:
        raise OutputError(
            f"{printable(path)}: {kind} holds at most {limit} pixels a side, not {size[1]}x{size[0]}; use .png or .tif"
        )
    return target


def save(
    image: Image.Image,
    path: str | os.PathLike[str],
    *,
    settings: Mapping[str, object] | None = None,
    exif: Kept | None = None,
    overwrite: bool = False,
    announce: Callable[[bytes], object] = len,
) -> tuple[str, ...]:
    """Write a picture, whole or not at all; the suffix chooses PNG, JPEG (95, 4:4:4), WebP (lossless) or TIFF (deflate).

    image: sRGB; JPEG gets its transparent parts over white. The same image and settings give the same bytes.
    settings: what JSON can hold; kept in the file's EXIF UserComment, see `read_settings`. None: no word of impasto in the file.
    exif: a photograph's, from `read_exif`, to be kept in the file as well. announce: is given the file's bytes before it is written.
    An existing file keeps its permissions, a new one gets those of any new file. Returns notes for the user.

    Raises OutputError as `check_output` does, also for a file that appears while this runs, and SaveError when the disk is
    full or the like; either way an existing file is untouched and nothing is left beside it.
    """
    target = check_output(path, overwrite=overwrite, size=(image.height, image.width))
    name, kind = printable(path), SUFFIXES[target.suffix.lower()]
    try:
        plain, notes = _plain(image, kind)
        stored = _comment(settings)
        if exif and not metadata.fits(exif, stored):
            exif, notes = None, [*notes, "is without the photograph's EXIF, which is damaged or too large to be kept"]
        data = _encode(plain, kind, stored, exif or {})
        announce(data)
        files.write(target, data, SUFFIXES, overwrite=overwrite)
    except OSError as error:
        raise SaveError(f"{name} could not be written: {reason(error)}") from error
    except _RefusedError as refused:
        raise SaveError(f"{name} could not be written: {refused}") from refused.__cause__
    except MemoryError as error:
        raise MemoryLimitError(f"{name} could not be written: the encoded picture does not fit into memory") from error
    return tuple(f"{name} {note}" for note in notes)


def _plain(image: Image.Image, kind: str) -> tuple[Image.Image, list[str]]:
    """A copy in RGB or RGBA without metadata, which Pillow would write along; and notes."""
    notes = []
    plain = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if plain.mode == "RGBA" and kind == "JPEG":
        alpha = plain.getchannel("A")
        opaque = Image.new("RGB", plain.size, "white")
        opaque.paste(plain, mask=alpha)
        notes = [] if alpha.getextrema() == (BYTE, BYTE) else ["cannot be transparent, being a JPEG: what was is white"]
        plain = opaque
    plain.info = {}
    return plain, notes


def _comment(settings: Mapping[str, object] | None) -> bytes | None:
    if settings is None:
        return None
    stored = metadata.comment(settings)
    if len(stored) > metadata.MOST_SETTINGS:
        raise _RefusedError(
            f"its settings take {len(stored):,} bytes, more than the {metadata.MOST_SETTINGS:,} that fit into a picture"
        )
    return stored


def encode(image: Image.Image, suffix: str) -> bytes:
    """The bytes of a picture file without settings, as `save` would write it. suffix: one of SUFFIXES."""
    kind = SUFFIXES[suffix]
    return _encode(_plain(image, kind)[0], kind, None, {})


def _encode(image: Image.Image, kind: str, stored: bytes | None, exif: Kept) -> bytes:
    # Into memory first: writing to the file itself Pillow says "encoder error -2" for a full disk.
    buffer = io.BytesIO()
    told = _ENCODING[kind] | metadata.arguments(kind, stored, exif)
    image.save(buffer, kind, icc_profile=_srgb_profile(), **told)
    return metadata.with_directories(buffer.getvalue(), exif) if kind == "TIFF" else buffer.getvalue()


@functools.cache
def _srgb_profile() -> bytes:
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + data[36:]  # the date of creation, or no two runs would agree


def read_settings(path: str | os.PathLike[str], *, max_pixels: int = DEFAULT_MAX_PIXELS) -> dict[str, object] | None:
    """What `save` stored with a picture; None for a picture without settings or from another program.

    Raises PictureError when path is no picture.
    """
    with _named(f"picture {printable(path)}"), _open(path) as file, _pillow(max_pixels):
        image = _identify(file)
        return metadata.settings_in(image)


def apart(image: Image.Image, path: str | os.PathLike[str]) -> tuple[float, int]:
    """How much an image would differ from a picture file if it were saved in that file's format.

    Returns the share of pixels that differ, and by how many of 255 levels at most; all of them if the sizes differ.
    Raises PictureError when path is no picture.
    """
    stored = load(path)
    suffix = Path(path).suffix.lower()
    with Image.open(io.BytesIO(encode(image, suffix if suffix in SUFFIXES else ".png"))) as opened:
        again = load(opened)
    if stored.size != again.size:
        return 1.0, BYTE
    change = (stored.pixels - again.pixels).abs_().amax(dim=1)
    return float((change > 0).float().mean()), round(float(change.max()) * BYTE)


def read_exif(path: str | os.PathLike[str], *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Kept:
    """What `save` can keep of a photograph's EXIF: camera, exposure, date, place, owner; empty where it has none that can be read.

    Raises PictureError when path is no picture.
    """
    with _named(f"photograph {printable(path)}"), _open(path) as file, _pillow(max_pixels):
        image = _identify(file)
        try:
            return metadata.photographed(image)
        except Exception:  # a camera's broken EXIF
            return {}


# ---------------------------------------------------------------------------------------------------------------- words


def _shape(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(map(str, shape)) or "a single number"
