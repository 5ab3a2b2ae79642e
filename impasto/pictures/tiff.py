"""TIFF files: which of their images is the main one, and images that Pillow cannot decode (TIFF 6.0, TIFF/EP, DNG)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from impasto.pictures import kinds
from impasto.pictures.faults import RefusedError, check_size
from impasto.pictures.profile import Statement, embedded

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_IMAGES = 1000
_DNG_VERSION, _ORIENTATION = 50706, 274
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_CFA, _LINEAR_RAW = 32803, 34892  # photometric interpretations of what a camera's sensor saw
_CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # photometric interpretation -> channels of color
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_LOSSLESS = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000}
_COMMON = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}
_ALPHA = {1, 2, 999}  # kinds of extra samples that are transparency; Corel Draw writes 999


@dataclass(frozen=True)
class Tiff:
    """The main image of a TIFF file.

    data: a file whose first image it is, for Pillow.
    bits: per sample.
    signed: whether samples are signed integers.
    channels: of color; 0 for other than gray and RGB.
    alpha: which sample is transparency, None for none.
    premultiplied: whether colors are multiplied by it.
    opaque: whether there are extra samples, and none is transparency.
    lossless: whether the compression keeps values.
    decodable: whether every decoder knows the compression.
    by_tifffile: whether Pillow would misread it, and tifffile can read it: uncompressed planes of more than 8 bits.
    orientation: as in EXIF.
    layout: what it is, in words.
    statements: about colors.
    notes: for the user, without their subject.
    """

    data: bytes
    bits: int
    signed: bool
    channels: int
    alpha: int | None
    premultiplied: bool
    opaque: bool
    lossless: bool
    decodable: bool
    by_tifffile: bool
    orientation: int
    layout: str
    statements: tuple[Statement, ...]
    notes: tuple[str, ...]

    def unsupported(self) -> RefusedError:
        """The refusal of an image that nothing here decodes."""
        return RefusedError(
            f"{self.layout}, which is not supported", "save it with 8 or 16 bits per channel and LZW compression"
        )


def examine(data: bytes) -> Tiff:
    """Find the main image of a file that begins with one of SIGNATURES. Raises RefusedError where there is none."""
    pages = _pages(data)
    if not pages:
        raise RefusedError("truncated or damaged (a TIFF in which no image is found)")
    main = [page for page in pages if not int(page.subfiletype) & (_REDUCED | _MASK)]
    raw = any(page.photometric in (_CFA, _LINEAR_RAW) for page in main)
    if raw or (not main and any(_DNG_VERSION in page.tags for page in pages)):
        raise kinds.raw_photograph()
    if not main and any(page.subifds for page in pages):
        raise RefusedError("holds a thumbnail, and the image itself is damaged or not supported")
    main = main or pages
    page = main[0]
    extras, color = tuple(map(int, page.extrasamples)), _CHANNELS.get(int(page.photometric), page.samplesperpixel)
    alpha = next((color + place for place, kind in enumerate(extras) if kind in _ALPHA), None)
    extra, bits = page.samplesperpixel - color, _bits(page)
    return Tiff(
        data=_starting_at(data, page.offset),
        bits=bits,
        signed=int(page.sampleformat) == _SIGNED,
        channels={0: 1, 1: 1, 2: 3}.get(int(page.photometric), 0),
        alpha=alpha,
        premultiplied=alpha is not None and extras[alpha - color] == 1,
        opaque=extra > 0 and alpha is None,
        lossless=int(page.compression) in _LOSSLESS,
        decodable=int(page.compression) in _COMMON,
        by_tifffile=int(page.planarconfig) == 2 and int(page.compression) == 1 and bits > 8,
        orientation=_orientation(page),
        layout=_layout(page),
        statements=embedded(page.iccprofile),
        notes=(
            *(("holds several images: its first frame is used",) if len(main) > 1 else ()),
            *(("has extra channels that are not transparency, which are ignored",) if extra > (alpha is not None) else ()),
        ),
    )


def _orientation(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION)
    return int(tag.value) if tag is not None and isinstance(tag.value, int) else 1


def _pages(data: bytes) -> list[Any]:
    """All images of a file, also those inside others (SubIFDs), as far as they can be read."""
    import tifffile  # here and below: most images are no TIFFs, and loading it takes a tenth of a second

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return list(islice(_walk(file.pages, set()), _MOST_IMAGES))
    except Exception:  # a damaged file may raise anything
        return []


def _walk(pages: Any, seen: set[int], depth: int = 0) -> Iterator[Any]:
    """All pages as `TiffPage`. seen: where the directories are that were read, as a damaged file may link to them again."""
    for number in range(_MOST_IMAGES):
        try:
            page = pages[number]
        except Exception:  # there are no more, or the rest is damaged
            return
        if page.offset in seen:
            return
        seen.add(page.offset)
        page = page.aspage()
        if page.imagewidth > 0 and page.imagelength > 0:
            yield page
        if page.subifds and depth < 2:
            yield from _walk(page.pages, seen, depth + 1)


def _starting_at(data: bytes, offset: int) -> bytes:
    """The file with its first image at an offset."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2] == 43 or data[3] == 43:  # BigTIFF
        return data[:8] + struct.pack(f"{order}Q", offset) + data[16:]
    return data[:4] + struct.pack(f"{order}I", offset) + data[8:]


def _bits(page: Any) -> int:
    return int(np.max(page.bitspersample))


def _layout(page: Any) -> str:
    kind = {_SIGNED: "signed ", _FLOAT: "floating-point "}.get(int(page.sampleformat), "")
    channels = f"{page.samplesperpixel} channels" if page.samplesperpixel > 1 else "1 channel"
    compression = getattr(page.compression, "name", page.compression)
    return f"a TIFF with {channels} of {_bits(page)} {kind}bits and compression {compression}"


def decoded(data: bytes, max_pixels: int) -> npt.NDArray[Any] | None:
    """HxWxC samples of the first image, for images without compression; None for others, which Pillow can decode or nobody.

    Compressed images are left out because their size in memory cannot be limited. Raises RefusedError.
    """
    pages = _pages(data)
    page = pages[0] if pages else None
    if page is None or int(page.compression) != 1:
        return None
    check_size((page.imagelength, page.imagewidth), max_pixels)
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            samples = np.asarray(file.pages[0].asarray())
    except Exception as error:
        raise RefusedError("truncated or damaged") from error
    if samples.ndim == 3 and int(page.planarconfig) == 2:
        samples = samples.transpose(1, 2, 0)
    return samples[..., None] if samples.ndim == 2 else samples
