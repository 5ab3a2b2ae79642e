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
from impasto.pictures.containers import Container, Traits, UnsupportedTiffError, opened
from impasto.pictures.faults import RefusedError, check_size
from impasto.pictures.metadata import Kept
from impasto.pictures.profile import ADOBE_RGB, Floats, Statement, embedded
from impasto.pictures.spaces import BYTE, WORD

DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N", "F"})  # Pillow's modes of more than 8 bits; all are gray
_LABELED = DEEP | {"1", "L", "P"}

_ORIENTATION, _PHOTOMETRIC, _BITS, _PLANAR = 0x0112, 0x0106, 0x0102, 0x011C
_EXIF, _INTEROP, _COLOR_SPACE, _INDEX = 0x8769, 0xA005, 0xA001, 1
_UNCALIBRATED, _ADOBE = 0xFFFF, 2
# EXIF orientation -> what makes an image upright, and an array
_TURNS: dict[int, tuple[Image.Transpose, Callable[[Floats], Floats]]] = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, lambda values: values[:, ::-1]),
    3: (Image.Transpose.ROTATE_180, lambda values: values[::-1, ::-1]),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, lambda values: values[::-1]),
    5: (Image.Transpose.TRANSPOSE, lambda values: values.swapaxes(0, 1)),
    6: (Image.Transpose.ROTATE_270, lambda values: values.swapaxes(0, 1)[:, ::-1]),
    7: (Image.Transpose.TRANSVERSE, lambda values: values.swapaxes(0, 1)[::-1, ::-1]),
    8: (Image.Transpose.ROTATE_90, lambda values: values.swapaxes(0, 1)[::-1]),
}
_LEAST_BYTES = 16  # floats whose maximum reaches it are levels of 255; others are meant to lie in [0, 1]
_LEAST_LONGS = 1 << 24  # integers whose maximum exceeds it use all of their 32 bits; others are bytes or words
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # of bytes, in Pillow's raw modes


@dataclass(frozen=True)
class Decoded:
    """A decoded source, upright.

    color: an image in mode L, RGB, CMYK or LAB, or HxW or HxWx3 float32, encoded values in [0, 1].
    alpha: HxW float32 in [0, 1]; None for an opaque image.
    statements: about its colors, in the order of precedence.
    notes: for the user, without their subject.
    exif: the part of a photograph's EXIF that is kept.
    labels: HxW int32, the stored values of an image with a single channel; None for other images.
    lossless: whether pixels are stored exactly.
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
    bits = found.traits.bits
    deep = _deep_color(found) if bits > 8 and image.mode not in DEEP else None
    if deep is None:
        image, note = _loaded(found)
        notes += note
        if bits > 8 and image.mode not in DEEP:
            notes.append(f"is read with 8 of its {bits} bits per channel")
    return _upright(image, found.traits, deep, notes)


def from_image(image: Image.Image, max_pixels: int) -> Decoded:
    """Decode a PIL image, in its current frame. Its EXIF orientation and its profile are honored."""
    check_size((image.height, image.width), max_pixels)
    try:
        image.load()
    except (ValueError, AssertionError, AttributeError) as error:
        raise RefusedError("is a PIL image that was closed", remedy="use it before it is closed, or a copy of it") from error
    lossless = image.format not in ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JPEG2000", "JXL")
    traits = Traits(embedded(image.info.get("icc_profile")), lossless=lossless)
    return _upright(image, traits, None, _frame_notes(image))


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


def _upright(image: Image.Image, traits: Traits, deep: Floats | None, notes: Iterable[str]) -> Decoded:
    """A loaded image, turned as its EXIF says. deep: HxWxC floats that take the place of the image's pixels."""
    orientation = _orientation(image)
    labels = None
    color: Image.Image | Floats
    if deep is not None:
        color, alpha = _parted(_turned(deep, orientation))
    else:
        upright = image.transpose(_TURNS[orientation][0]) if orientation in _TURNS else image
        if image.mode in _LABELED:
            labels = labels_of(np.asarray(upright), traits.bits, image.mode)
        if image.mode in DEEP:
            bits, white_is_zero = _gray_layout(image)  # not of the turned one, which has lost the tags of its file
            color, alpha = _gray(upright, bits, signed=traits.signed, white_is_zero=white_is_zero)
        else:
            color, alpha = _split(upright, opaque=traits.opaque)
    stated = traits.statements or _by_exif(image)
    return Decoded(color, alpha, stated, tuple(notes), metadata.photographed(image), labels, traits.lossless)


def _parted(values: Floats) -> tuple[Floats, Floats | None]:
    """HxWxC with 1 to 4 channels -> gray or color, and alpha."""
    channels = values.shape[2]
    color = values[..., 0] if channels < 3 else values[..., :3]
    return color, values[..., -1] if channels in (2, 4) else None


def _turned(values: Floats, orientation: int) -> Floats:
    """An upright copy of HxWxC values, contiguous; the values themselves where they are upright."""
    return np.ascontiguousarray(_TURNS[orientation][1](values) if orientation in _TURNS else values)


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


def _gray_layout(image: Image.Image) -> tuple[int, bool]:
    """Bits per sample, and whether zero is white: by the tags of a TIFF; 16 and no for other formats."""
    tags = getattr(image, "tag_v2", {})
    return max(tags.get(_BITS, (16,))), tags.get(_PHOTOMETRIC) == 0


def _gray(image: Image.Image, bits: int, *, signed: bool, white_is_zero: bool) -> tuple[Floats, Floats | None]:
    """Grays of more than 8 bits as HxW floats in [0, 1], and alpha, for which a PNG may name one of its values.

    bits: per sample. signed: whether samples are signed integers. white_is_zero: Pillow handles that for 8 bits only.
    """
    stored = np.asarray(image)
    if image.mode == "I" and bits == 32 and not signed:
        stored = stored.view(np.uint32)  # which Pillow takes for signed ones
    low, high = float(stored.min()), float(stored.max())
    levels = _white_levels_of_floats(high) if image.mode == "F" else _white_levels_of_integers(high, bits - signed)
    white = next((level for level in levels if high <= level), None)
    if white is None or not low >= (-ROUNDING if image.mode == "F" else 0):
        limit = 1 if image.mode == "F" else min(max(levels), WORD)
        raise RefusedError(f"gray values must lie in [0, {limit}] and reach from {low:g} to {high:g}")
    key = image.info.get("transparency")
    alpha = (stored != key).astype(np.float32) if isinstance(key, int) else None
    white = np.floor(white)
    values = stored.astype(np.float64 if image.mode == "I" else np.float32)  # float32 holds 24 bits exactly, mode I has 32
    values = np.clip(values, 0, white, out=values)
    if white_is_zero:
        np.subtract(white, values, out=values)
    return np.divide(values, white, out=values).astype(np.float32, copy=False), alpha


def _white_levels_of_floats(high: float) -> tuple[float, ...]:
    """Values that white may have, in ascending order. high: the largest value. Floats of 1.5 are a mistake, those of 200 are bytes."""
    return (1 + ROUNDING, BYTE) if high >= _LEAST_BYTES else (1 + ROUNDING,)


def _white_levels_of_integers(high: float, bits: int) -> tuple[float, ...]:
    """Values that white may have, in ascending order. high: the largest value.

    Integers of which none exceeds 255 are bytes, which programs store like that; those of 32 bits may be words.
    """
    whole = 2.0**bits - 1
    return (BYTE, min(whole, WORD), whole) if high > _LEAST_LONGS else (BYTE, min(whole, WORD))


def _deep_color(found: Container) -> Floats | None:
    """HxWxC of all the bits, not upright, C 2 to 4; None where Pillow gives 8 bits only. The image is loaded too.

    Pillow has no 16-bit color mode, so the high and the low bytes are decoded separately: with the other byte order, Pillow unpacks
    the low bytes. Pillow chooses the layout in `image.tile`, which is its own and not documented: tested with Pillow 11 to 13. An
    image in an unknown layout is read in 8 bits, with a note.
    """
    if found.image.format == "HEIF":
        return _deep_heif(found)
    rawmode = _rawmode(found.image)
    if rawmode == "LA;16B":
        return _deep_gray_and_alpha(found.image)
    kind, _, order = rawmode.partition(";16")
    separate = getattr(found.image, "tag_v2", {}).get(_PLANAR) == 2  # unpacked plane by plane, whatever the layout
    if kind not in ("RGB", "RGBA", "RGBa", "RGBX") or order not in _OTHER_ORDER or separate:
        return None
    return _deep_rgb(found, kind, order)


def _deep_gray_and_alpha(image: ImageFile.ImageFile) -> Floats:
    """HxWx2. Pillow's way to decode it loses the low bytes, so each byte is taken as a channel."""
    _set_rawmode(image, "RGBA")
    image.load()
    channels = np.asarray(image)
    return words_to_floats(_words(channels[..., 0::2], channels[..., 1::2]))


def _deep_rgb(found: Container, kind: str, order: str) -> Floats:
    """HxWx3 or HxWx4. kind: of pixels, order: of bytes, both as in Pillow's raw modes."""
    plain = "RGBA" if kind == "RGBa" else kind  # premultiplied: divided below, in all bits
    high, low = found.image, found.reopened()
    _set_rawmode(high, f"{plain};16{order}")
    _set_rawmode(low, f"{plain};16{_OTHER_ORDER[order]}")
    with _silent_codec() if found.tiff else contextlib.nullcontext():
        high.load()
        low.load()
    words = _words(np.asarray(high), np.asarray(low))
    values = words_to_floats(words)
    if found.traits.opaque:
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


def _set_rawmode(image: ImageFile.ImageFile, rawmode: str) -> None:
    """Have an image unpack its stored pixels as if they had another layout of the same size."""
    others = [() if isinstance(tile.args, str) else tuple(tile.args or ())[1:] for tile in image.tile]
    image.tile = [
        tile._replace(args=(rawmode, *rest) if rest else rawmode) for tile, rest in zip(image.tile, others, strict=True)
    ]


def _deep_heif(found: Container) -> Floats:
    import pillow_heif

    stored = pillow_heif.open_heif(io.BytesIO(found.data), convert_hdr_to_8bit=False)
    words = np.asarray(stored)
    found.image.load()
    highest = ((1 << found.traits.bits) - 1) << (16 - found.traits.bits)
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
    color, alpha = _parted(_turned(values, main.orientation))
    return Decoded(color, alpha, main.statements, main.notes)
