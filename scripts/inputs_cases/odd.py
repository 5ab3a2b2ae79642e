"""Pictures that other programs write: what viewers show, and what cannot be read."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from PIL import Image


def _encoded(image: Image.Image, encoding: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, encoding, **options)
    return file.getvalue()


def _with_chunk(image: Image.Image, name: bytes, body: bytes, *, sound: bool = True) -> bytes:
    """A PNG with another chunk after its header."""
    data = _encoded(image, "png")
    checksum = zlib.crc32(name + body) ^ (not sound)
    return data[:33] + struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum) + data[33:]


def _stray(data: bytes) -> bytes:
    """A JPEG with bytes between its segments that belong to none."""
    at = data.index(b"\xff\xdb")
    return data[:at] + bytes(5) + data[at:]


def _thumbnail_first(image: Image.Image) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(np.asarray(image.resize((24, 16))), photometric="rgb", subfiletype=1)
        tiff.write(np.asarray(image), photometric="rgb")
    return file.getvalue()


def _raw(image: Image.Image) -> bytes:
    """What a camera's DNG looks like: a thumbnail, and inside it what the sensor saw."""
    file = io.BytesIO()
    pattern = [(33421, 3, 2, (2, 2), True), (33422, 1, 4, bytes([0, 1, 1, 2]), True)]
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(np.asarray(image.resize((24, 16))), photometric="rgb", subfiletype=1, subifds=1)
        tiff.write(np.asarray(image.convert("L")), photometric="cfa", extratags=pattern)
    return file.getvalue()


def _spot_color(image: Image.Image) -> bytes:
    file = io.BytesIO()
    channels = np.dstack([np.asarray(image), np.asarray(image.convert("L"))])
    tifffile.imwrite(file, channels, photometric="rgb", extrasamples=["unspecified"])
    return file.getvalue()


def _in_more_bits(image: Image.Image) -> bytes:
    """Bytes that a program stored as integers of 16 bits."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(image).astype(np.uint16), photometric="rgb")
    return file.getvalue()


def _unreadable_compression(image: Image.Image) -> bytes:
    """A TIFF that claims WebP."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(image), photometric="rgb", compression="zlib")
    data = file.getvalue()
    at = data.index(struct.pack("<HHI", 259, 3, 1)) + 8
    return data[:at] + struct.pack("<H", 50001) + data[at + 2 :]


def pictures(photo: Callable[[], Image.Image]) -> dict[str, Callable[[], bytes]]:
    """{name: bytes} of files that all show one photograph, or are refused."""
    return {
        "crc.png": lambda: _with_chunk(photo(), b"iCCP", b"x\0\0y", sound=False),
        "long-text.png": lambda: _with_chunk(photo(), b"zTXt", b"workflow\0\0" + zlib.compress(bytes(4_000_000))),
        "p3.png": lambda: _with_chunk(photo(), b"cICP", bytes([12, 13, 0, 1])),
        "no-end.png": lambda: _encoded(photo(), "png")[:-12],
        "whole.jpg": lambda: _encoded(photo(), "jpeg", quality=95),
        "no-end.jpg": lambda: _encoded(photo(), "jpeg", quality=95)[:-2],
        "stray.jpg": lambda: _stray(_encoded(photo(), "jpeg", quality=95)),
        "thumbnail-first.tif": lambda: _thumbnail_first(photo()),
        "spot.tif": lambda: _spot_color(photo()),
        "more-bits.tif": lambda: _in_more_bits(photo()),
        "webp.tif": lambda: _unreadable_compression(photo()),
        "raw.dng": lambda: _raw(photo()),
        "drawing.svg": lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "film.mov": lambda: b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(100),
        "page.pdf": lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "light.exr": lambda: b"v/1\x01\2\0\0\0" + bytes(60),
    }
