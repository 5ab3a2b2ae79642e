"""From an opened file or a PIL image to upright color and transparency, in all the bits there are."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from impasto.pictures import jpeg, metadata, tiff
from impasto.pictures.arrays import ROUNDING, from_array, labels_of, words_to_floats
from impasto.pictures.containers import Container, UnsupportedTiffError, opened
from impasto.pictures.faults import RefusedError, check_size
from impasto.pictures.metadata import Kept
from impasto.pictures.profile import ADOBE_RGB, Floats, Statement, embedded
from impasto.pictures.spaces import BYTE, WORD

DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N", "F"})  # Pillow's modes of more than 8 bits; all are gray
_LABELED = DEEP | {"1", "L", "P"}

_ORIENTATION, _PHOTOMETRIC, _BITS, _PLANAR = 0x0112, 0x0106, 0x0102, 0x011C
_EXIF, _INTEROP, _COLOR_SPACE, _INDEX = 0x8769, 0xA005, 0xA001, 1
_UNCALIBRATED, _ADOBE = 0xFFFF, 2
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FEW, _MANY = 16, 1 << 24
# Pillow unpacks words of 16 bits to their high bytes. With the other byte order, it unpacks the low ones.
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass(frozen=True)
class Decoded:
    """A decoded source, upright.

    color: an image in mode L, RGB, CMYK or LAB, or HxW or HxWx3 floats in [0, 1]. alpha: HxW in [0, 1]. statements: about its colors.
    notes: without their subject. labels: HxW, the stored values of an image with a single channel. lossless: as in `Container`.
    """

    color: Image.Image | Floats
    alpha: Floats | None = None
    statements: tuple[Statement, ...] = ()
    notes: tuple[str, ...] = ()
    exif: Kept = field(default_factory=dict)
    labels: npt.NDArray[np.int32] | None = None
    lossless: bool = True


def from_bytes(data: bytes, max_pixels: int) -> Decoded:
    """Decode an image file. Raises RefusedError, and whatever Pillow raises for damaged files."""
    try:
        found = opened(data)
    except UnsupportedTiffError as unsupported:
        return _by_tifffile(unsupported.main, max_pixels)
    image: Image.Image = found.image
    check_size((image.height, image.width), max_pixels)
    notes = [*found.notes, *(_frame_notes(image) if image.format != "TIFF" else ())]
    deep = _deep_color(found) if found.bits > 8 and image.mode not in DEEP else None
    if deep is None:
        image, note = _loaded(found)
        notes += note
        if found.bits > 8 and image.mode not in DEEP:
            notes.append(f"is read with 8 of its {found.bits} bits per channel")
    return _upright(image, found, deep, notes)


def from_image(image: Image.Image, max_pixels: int) -> Decoded:
    """Decode a PIL image, in its current frame. Its EXIF orientation and its profile are honored."""
    check_size((image.height, image.width), max_pixels)
    try:
        image.load()
    except (ValueError, AssertionError, AttributeError) as error:
        raise RefusedError("is a PIL image that was closed", remedy="use it before it is closed, or a copy of it") from error
    lossless = image.format not in ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JPEG2000", "JXL")
    found = Container(image, lambda: image, b"", embedded(image.info.get("icc_profile")), lossless=lossless)  # type: ignore[arg-type, return-value]
    return _upright(image, found, None, _frame_notes(image))


def _loaded(found: Container) -> tuple[Image.Image, list[str]]:
    """The image with its pixels. A JPEG that lacks only its end marker is completed, with a note."""
    image = found.image
    try:
        with _silent_codec() if found.tiff else contextlib.nullcontext():
            image.load()
    except OSError:
        if found.tiff and not found.tiff.decodable:
            raise found.tiff.unsupported() from None
        if image.format not in ("JPEG", "MPO"):
            raise
        whole = jpeg.with_end(found.data, lambda data: Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB"))
        if whole is None:
            raise
        return Image.open(io.BytesIO(whole), formats=["JPEG"]), ["lacks its end marker"]
    return image, []


@contextlib.contextmanager
def _silent_codec() -> Iterator[None]:
    """Discard what libtiff prints on standard error, for the whole process."""
    try:
        real = os.dup(2)
    except OSError:  # closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(real, 2)
        os.close(real)


def _upright(image: Image.Image, found: Container, deep: Floats | None, notes: Iterable[str]) -> Decoded:
    """deep: HxWxC words as floats that take the place of the image's pixels."""
    method = _TURNS.get(_orientation(image))
    labels = None
    color: Image.Image | Floats
    if deep is not None:
        deep = np.ascontiguousarray(_turned(deep, method))
        color, alpha = _parted(deep)
    else:
        upright = image if method is None else image.transpose(method)
        if image.mode in _LABELED:
            labels = labels_of(np.asarray(upright), found.bits, image.mode)
        color, alpha = (
            _gray(upright, image, signed=found.signed) if image.mode in DEEP else _split(upright, opaque=found.opaque)
        )
    stated = found.statements or _by_exif(image)
    return Decoded(color, alpha, stated, tuple(notes), metadata.photographed(image), labels, found.lossless)


def _parted(values: Floats) -> tuple[Floats, Floats | None]:
    """HxWxC with 1 to 4 channels -> gray or color, and alpha."""
    channels = values.shape[2]
    color = values[..., 0] if channels < 3 else values[..., :3]
    return color, values[..., -1] if channels in (2, 4) else None


def _turned(values: Floats, method: Image.Transpose | None) -> Floats:
    """As PIL's transpose does it."""
    if method is None:
        return values
    steps: dict[Image.Transpose, Callable[[Floats], Floats]] = {
        Image.Transpose.FLIP_LEFT_RIGHT: lambda v: v[:, ::-1],
        Image.Transpose.ROTATE_180: lambda v: v[::-1, ::-1],
        Image.Transpose.FLIP_TOP_BOTTOM: lambda v: v[::-1],
        Image.Transpose.TRANSPOSE: lambda v: v.swapaxes(0, 1),
        Image.Transpose.ROTATE_270: lambda v: v.swapaxes(0, 1)[:, ::-1],
        Image.Transpose.TRANSVERSE: lambda v: v.swapaxes(0, 1)[::-1, ::-1],
        Image.Transpose.ROTATE_90: lambda v: v.swapaxes(0, 1)[::-1],
    }
    return steps[method](values)


def _frame_notes(image: Image.Image) -> list[str]:
    # MPO is an ordinary JPEG from a phone, whose second image is a depth or gain map. The frames of a PSD are its layers.
    if image.format in ("MPO", "PSD", "HEIF") or not getattr(image, "is_animated", False):
        return []
    frame = "first frame" if image.tell() == 0 else f"frame {image.tell() + 1}"
    if image.format in ("GIF", "PNG", "WEBP", "AVIF", "JXL"):
        return [f"is animated: its {frame} is used"]
    return [f"holds several images: its {frame} is used"]


def _orientation(image: Image.Image) -> int:
    if image.format == "JXL":  # its own orientation counts, which the decoder has applied (ISO/IEC 18181-2, 9.4)
        return 1
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a camera's broken EXIF is no reason to refuse its photograph
        return 1
    return orientation if isinstance(orientation, int) else 1


def _by_exif(image: Image.Image) -> tuple[Statement, ...]:
    """Adobe RGB, where a camera says so: the optional color space of DCF 2.0 (EXIF 2.32, 4.6.5 and table 13)."""
    try:
        exif = image.getexif()
        space, index = exif.get_ifd(_EXIF).get(_COLOR_SPACE), exif.get_ifd(_INTEROP).get(_INDEX, "")
    except Exception:  # a camera's broken EXIF
        return ()
    optional = space == _UNCALIBRATED and str(index).rstrip("\0 ") == "R03"
    return (ADOBE_RGB,) if optional or space == _ADOBE else ()


# ------------------------------------------------------------------------------------------------------------------ 8 bits


def _split(image: Image.Image, *, opaque: bool) -> tuple[Image.Image, Floats | None]:
    """Color in mode L, RGB, CMYK or LAB, and alpha."""
    if image.mode in ("CMYK", "LAB"):
        return image, None
    gray = image.mode in ("1", "L", "LA", "La")
    if opaque and image.mode in ("RGBA", "LA"):
        return image.getchannel("L") if gray else Image.merge("RGB", image.split()[:3]), None
    if not image.has_transparency_data:
        return image.convert("L" if gray else "RGB"), None
    whole = image.convert("LA" if gray else "RGBA")
    alpha = np.asarray(whole.getchannel("A"), np.float32) / np.float32(BYTE)
    return whole.getchannel("L") if gray else whole.convert("RGB"), alpha


# ----------------------------------------------------------------------------------------------------------- more than 8 bits


def _gray(image: Image.Image, original: Image.Image, *, signed: bool) -> tuple[Floats, Floats | None]:
    """Grays of more than 8 bits as floats. original: the image before it was rotated, which still has its file's tags."""
    tags = getattr(original, "tag_v2", {})
    bits = max(tags.get(_BITS, (16,)))
    stored = np.asarray(image)
    if tags and image.mode == "I" and bits == 32 and not signed:
        stored = stored.view(np.uint32)  # which Pillow takes for signed ones
    values = stored.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    tops = _float_tops(high) if image.mode == "F" else _integer_tops(high, bits - signed if tags else 16)
    top = next((top for top in tops if high <= top), None)
    if top is None or not low >= (-ROUNDING if image.mode == "F" else 0):
        most = 1 if image.mode == "F" else min(max(tops), WORD)
        raise RefusedError(f"gray values must lie in [0, {most}] and reach from {low:g} to {high:g}")
    key = image.info.get("transparency")
    alpha = (values != key).astype(np.float32) if isinstance(key, int) else None
    values = np.clip(values / np.floor(top), 0, 1)
    if tags.get(_PHOTOMETRIC) == 0:  # zero is white, which Pillow handles for 8 bits only
        values = 1 - values
    return values.astype(np.float32), alpha


def _float_tops(high: float) -> tuple[float, ...]:
    """What may be white, the least first. Floats of 1.5 are a mistake, and those of 200 are bytes."""
    return (1 + ROUNDING, BYTE) if high >= _FEW else (1 + ROUNDING,)


def _integer_tops(high: float, bits: int) -> tuple[float, ...]:
    """The same. Integers of which none exceeds 255 are bytes, which programs store like that; those of 32 bits may be words."""
    whole = 2.0**bits - 1
    return (BYTE, min(whole, WORD), whole) if high > _MANY else (BYTE, min(whole, WORD))


def _deep_color(found: Container) -> Floats | None:
    """HxWxC of all the bits, not upright, C 2 to 4; None where Pillow gives 8 bits only. The image is loaded too."""
    if found.image.format == "HEIF":
        return _deep_heif(found)
    rawmode = _rawmode(found.image)
    if rawmode == "LA;16B":  # Pillow's way to decode it loses the low bytes, so each byte is taken as a channel
        image = _with_rawmode(found.image, "RGBA")
        image.load()
        return words_to_floats(_words(np.asarray(image)[..., 0::2], np.asarray(image)[..., 1::2]))
    kind, _, order = rawmode.partition(";16")
    separate = getattr(found.image, "tag_v2", {}).get(_PLANAR) == 2  # unpacked plane by plane, whatever the layout
    if kind not in ("RGB", "RGBA", "RGBa", "RGBX") or order not in _SWAPPED or separate:
        return None
    plain = "RGBA" if kind == "RGBa" else kind  # premultiplied: divided below, in all bits
    high = _with_rawmode(found.image, f"{plain};16{order}")
    low = _with_rawmode(found.reopened(), f"{plain};16{_SWAPPED[order]}")
    with _silent_codec() if found.tiff else contextlib.nullcontext():
        high.load()
        low.load()
    words = _words(np.asarray(high), np.asarray(low))
    values = words_to_floats(words)
    if found.opaque:
        values = values[..., :3]
    if kind == "RGBa" and values.shape[2] == 4:
        values[..., :3] = _divided(values)
    key = high.info.get("transparency")
    if isinstance(key, tuple) and len(key) == 3 and values.shape[2] == 3:
        visible = (words != np.array(key, np.uint16)).any(axis=2)
        values = np.concatenate([values, visible[..., None].astype(np.float32)], axis=2)
    return values


def _divided(values: Floats) -> Floats:
    """Colors that were multiplied by alpha, the last channel."""
    return np.clip(values[..., :-1] / np.maximum(values[..., -1:], 1 / WORD), 0, 1)


def _words(high: npt.NDArray[np.uint8], low: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    return np.asarray(high.astype(np.uint16) << 8 | low, np.uint16)


def _rawmode(image: ImageFile.ImageFile) -> str:
    """The layout in which the file stores pixels; "" where there is no single one."""
    found = {tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args for tile in image.tile}
    (only,) = found if len(found) == 1 else ("",)
    return str(only)


def _with_rawmode(image: ImageFile.ImageFile, rawmode: str) -> ImageFile.ImageFile:
    """The image, set to unpack its stored pixels as if they had another layout of the same size."""
    others = [() if isinstance(tile.args, str) else tuple(tile.args or ())[1:] for tile in image.tile]
    image.tile = [
        tile._replace(args=(rawmode, *rest) if rest else rawmode) for tile, rest in zip(image.tile, others, strict=True)
    ]
    return image


def _deep_heif(found: Container) -> Floats:
    import pillow_heif

    stored = pillow_heif.open_heif(io.BytesIO(found.data), convert_hdr_to_8bit=False)
    words = np.asarray(stored)
    found.image.load()
    highest = ((1 << found.bits) - 1) << (16 - found.bits)
    values: Floats = (words.astype(np.float32) / np.float32(highest if words.dtype == np.uint16 else BYTE)).clip(0, 1)
    return values if values.ndim == 3 else values[..., None]


def _by_tifffile(main: tiff.Tiff, max_pixels: int) -> Decoded:
    """A TIFF that Pillow cannot decode: gray or RGB without compression, with integers of 8 or 16 bits or floats in [0, 1].

    Raises RefusedError, which names its layout, for others.
    """
    samples = tiff.decoded(main.data, max_pixels) if main.channels else None
    if samples is None or samples.dtype.kind not in "uf" or (samples.dtype.kind == "u" and samples.dtype.itemsize > 2):
        raise main.unsupported()
    chosen = [*range(main.channels), *(() if main.alpha is None else (main.alpha,))]
    values = from_array(samples[..., chosen], max_pixels, channels=(1, 2, 3, 4))
    if main.premultiplied:
        values[..., :-1] = _divided(values)
    color, alpha = _parted(np.ascontiguousarray(_turned(values, _TURNS.get(main.orientation))))
    return Decoded(color, alpha, main.statements, main.notes)
