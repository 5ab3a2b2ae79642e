"""Image files made by hand, by Pillow or by tifffile, and what is read from them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import settings
from PIL import Image

from impasto import pictures
from impasto.errors import PictureError

property_test = settings(deadline=None, derandomize=True, database=None, max_examples=60)


def colors(picture: pictures.Picture) -> np.ndarray:
    """HxWx3."""
    assert picture.pixels.dtype == torch.float32
    assert picture.pixels.is_contiguous()
    return picture.pixels[0].numpy().transpose(1, 2, 0)


def gray(values: np.ndarray) -> np.ndarray:
    """HxW -> HxWx3."""
    return np.repeat(values[..., None], 3, axis=2)


def random_bytes(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def random_words(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(256, 65536, shape).astype(np.uint16)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def tiff(path: Path, array: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


def png(width: int, height: int, depth: int, kind: int, rows: list[bytes], *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG by its specification; kind 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*each) for each in extra) + body + chunk(b"IEND", b"")


def refusal(source: Any, **options: Any) -> str:
    with pytest.raises(PictureError) as caught:
        pictures.load(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
