"""The files that the rows of `scripts/inputs.py` name: good ones, odd ones and every kind of unusable one."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inputs_cases import ROOT

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NO_PERMISSIONS = "root may read and write everything" if AS_ROOT or os.name == "nt" else ""
NO_PIPES = "" if hasattr(os, "mkfifo") else "needs a POSIX system"
PHOTO, PAINTING = (192, 128), (240, 192)


# ----------------------------------------------------------------------------------------------------------------- images


def _noise(seed: int, cells: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Soft colored blobs: random cells, enlarged."""
    noise = np.random.default_rng(seed).integers(0, 256, (cells[1], cells[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def _photo() -> Image.Image:
    return _noise(1, (12, 8), PHOTO)


def _painting() -> Image.Image:
    return _noise(2, (40, 32), PAINTING)


def _checkers() -> Image.Image:
    squares = (np.indices((160, 200)) // 16).sum(axis=0) % 2
    return Image.fromarray((squares[..., None] * np.array([220, 30, 20])).astype(np.uint8))


def _halves(size: tuple[int, int], left: str, right: str, mode: str = "RGB") -> Image.Image:
    mask = Image.new(mode, size, right)
    mask.paste(Image.new(mode, (size[0] // 2, size[1]), left), (0, 0))
    return mask


def _with_rectangle(image: Image.Image, color: str, box: tuple[int, int, int, int]) -> Image.Image:
    image.paste(color, box)
    return image


def _images() -> dict[str, Callable[[], Image.Image]]:
    """Makers of every PNG by its name without suffix. photo has 192x128 pixels, painting 240x192."""
    photos = ("photo", "copy", "taken", "photo-painting", "new-step00002", "locked", "unreadable")
    images: dict[str, Callable[[], Image.Image]] = {
        **dict.fromkeys(photos, _photo),
        **dict.fromkeys(("painting", "s" * 250), _painting),
        "wide": lambda: _noise(3, (40, 2), (640, 32)),
        "tall": lambda: _noise(3, (2, 40), (32, 640)),
        "wide-painting": lambda: _noise(4, (80, 4), (640, 32)),
        "32": lambda: _noise(5, (6, 6), (32, 32)),
        "32-painting": lambda: _noise(6, (16, 16), (32, 32)),
        "bw-photo": lambda: _photo().convert("L"),
        "bilevel-photo": lambda: _photo().convert("1"),
        "bw-painting": lambda: _painting().convert("L"),
        "bilevel-painting": lambda: _painting().convert("1"),
        "alpha-painting": lambda: _painting().convert("LA"),
        "16-bit-painting": lambda: Image.fromarray(np.asarray(_painting().convert("L")).astype(np.uint16) * 257),
        "checkers": _checkers,
        "flat": lambda: Image.new("RGB", PHOTO, (90, 140, 60)),
        "black": lambda: Image.new("RGB", PHOTO),
        "flat-painting": lambda: Image.new("RGB", PAINTING, (200, 60, 30)),
        "1x1": lambda: Image.new("RGB", (1, 1), "teal"),
        "16400x17": lambda: Image.new("RGB", (16400, 17), "teal"),
        "transparent": lambda: Image.new("RGBA", PHOTO, (200, 100, 50, 0)),
    }
    sizes = {
        "left": PHOTO,
        "small": (48, 32),
        "large": (768, 512),
        "square": (128, 128),
        "almost": (193, 128),
        "wide": (640, 32),
    }
    for name, size in sizes.items():
        images[f"mask-{name}"] = functools.partial(_halves, size, "white", "black", "L")
    for name, level in (("none", 0), ("all", 255), ("faint", 1), ("half", 128)):
        images[f"mask-{name}"] = functools.partial(Image.new, "L", PHOTO, level)
    images["mask-pixel"] = lambda: _with_rectangle(Image.new("L", PHOTO), "white", (96, 64, 97, 65))
    images["mask-bilevel"] = lambda: _halves(PHOTO, "white", "black", "L").convert("1")
    for name, size in (("here", PHOTO), ("here-small", (96, 64)), ("there", PAINTING), ("there-square", (90, 90))):
        images[name] = functools.partial(_halves, size, "red", "blue")
    images["here-green"] = lambda: _halves(PHOTO, "red", "lime")
    images["there-three"] = lambda: _with_rectangle(_halves(PAINTING, "red", "blue"), "lime", (0, 0, 240, 60))
    images["there-thin"] = lambda: _with_rectangle(Image.new("RGB", PAINTING, "blue"), "red", (0, 0, 8, 192))
    images["there-black"] = lambda: Image.new("RGB", PAINTING)
    return images


def _encoded(image: Image.Image, encoding: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, encoding, **options)
    return file.getvalue()


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost no pixels."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(64))),
        (b"IEND", b""),
    )
    parts = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _float_tiff(value: float) -> bytes:
    levels = np.full((40, 48), 0.5, np.float32)
    levels[0, 0] = value
    return _encoded(Image.fromarray(levels), "tiff")


# What an image says about how it was made, by its name. Some of it is not JSON; None is another program's comment.
SETTINGS = {
    "foreign": None,
    "gone": '{"inputs": {"photo": {"name": "photo.png", "sha256": ""}, "style": {"name": "gone.jpg", "sha256": ""}}}',
    "no-inputs": '{"method": "impasto"}',
    "no-init": '{"init": "photo.png", "inputs": {"photo": {"name": "photo.png", "sha256": ""}}}',
    "pipe-input": '{"inputs": {"photo": {"name": "fifo.png", "sha256": ""}}}',
    "long-input": '{"inputs": {"photo": {"name": "' + "n" * 5000 + '", "sha256": ""}}}',
    "path-input": '{"inputs": {"photo": {"name": "../../etc/passwd", "sha256": ""}}}',
    "wrong-type": '{"inputs": [1, 2], "seconds": {}}',
    "json-nan": '{"seconds": NaN}',
    "huge-number": '{"size": 1' + "0" * 400 + "}",
    "endless-number": '{"size": 1' + "0" * 50_000 + "}",
    "huge-text": '{"seconds": "' + "s" * 50_000 + '"}',
    "deep-json": "[" * 50_000,
    "unknown-method": '{"method": "magic"}',
    "json-list": "[]",
    "null-option": '{"iterations": null}',
}


def _with_settings(settings: str | None) -> bytes:
    exif = Image.Exif()
    exif[0x0131] = "impasto" if settings is not None else "GIMP"
    exif[0x8769] = {0x9286: b"ASCII\0\0\0" + (settings or "a comment").encode()}
    return _encoded(_photo(), exif=exif)


# ------------------------------------------------------------------------------------------------------ weights and styles


class Evil:
    """Creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("evil-was-here", "w")


def _evil_zip() -> bytes:
    """What torch.save writes, with a pickle that runs code."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(), protocol=2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return file.getvalue()


def _keras() -> bytes:
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        with h5py.File(Path(folder, "whole.h5"), "w") as file:
            file.create_dataset("block1_conv1/block1_conv1_W_1:0", data=np.zeros((3, 3, 3, 64), np.float32))
        return Path(folder, "whole.h5").read_bytes()


def _safetensors(metadata: dict[str, str] | None = None) -> bytes:
    from safetensors.numpy import save

    return bytes(save({"encoder.layer.0.weight": np.zeros((4, 4), np.float32)}, metadata))


def shipped(name: str) -> bytes:
    """A file that comes with the package, wherever in it."""
    return next((ROOT / "impasto").rglob(name)).read_bytes()


def _style(**changes: Any) -> bytes:
    """A shipped style whose card is changed."""
    whole = shipped("great-wave.style")
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    ((key, text),) = header["__metadata__"].items()
    card = json.loads(text)
    assert changes.keys() <= card.keys(), f"a style's card no longer has {changes.keys() - card.keys()}"
    changed = json.dumps(header | {"__metadata__": {key: json.dumps(card | changes)}}).encode()
    return struct.pack("<Q", len(changed)) + changed + whole[8 + length :]


def _bad_card() -> bytes:
    """A safetensors file whose card, under the key that styles use, is not JSON."""
    whole = shipped("great-wave.style")
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    return _safetensors(dict.fromkeys(header["__metadata__"], "{" * 5000))


# ------------------------------------------------------------------------------------------------------------------ making

CONTENT: dict[str, Callable[[], bytes]] = {
    **{f"{name}.png": functools.partial(lambda make: _encoded(make()), make) for name, make in _images().items()},
    **{f"{name}.png": functools.partial(_with_settings, settings) for name, settings in SETTINGS.items()},
    "mask.gif": lambda: _encoded(_halves(PHOTO, "white", "black", "L"), "gif"),
    "cut.png": lambda: _cut(_encoded(_photo())),
    "cut.jpg": lambda: _cut(_encoded(_photo(), "jpeg")),
    "cut.webp": lambda: _cut(_encoded(_photo(), "webp")),
    "0x0.png": lambda: _png_header(0, 0),
    "bomb.png": lambda: _png_header(60_000, 60_000),
    "nan.tif": lambda: _float_tiff(np.nan),
    "negative.tif": lambda: _float_tiff(-1),
    "empty.png": bytes,
    "text.jpg": lambda: b"This is not an image.\n" * 50,
    "two\nlines.jpg": lambda: b"This is not an image either.",
    "taken.html": lambda: b"<!doctype html><title>a page of the user's own</title>\n",
    "torch.py": lambda: b"raise RuntimeError('torch was imported')\n",
    "cut.h5": lambda: _cut(_keras()),
    "text.h5": lambda: b"These are not weights.\n",
    "evil.pth": lambda: pickle.dumps(Evil(), protocol=2),
    "evil-zip.pth": _evil_zip,
    "cut.pth": lambda: _evil_zip()[:100],
    "other.safetensors": _safetensors,
    "cut.safetensors": lambda: _safetensors()[:-20],
    "huge-header.safetensors": lambda: struct.pack("<Q", 1 << 62) + b"{}",
    "lite.safetensors": lambda: shipped("lite.safetensors"),
    "matlab.mat": lambda: b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + bytes(50),
    "good.style": _style,
    "cut.style": lambda: _cut(_style()),
    "empty.style": bytes,
    "other.style": _safetensors,
    "bad-card.style": _bad_card,
    "other-encoder.style": lambda: _style(encoder="vgg19"),
    "other-weights.style": lambda: _style(digest="0" * 64),
    "other-format.style": lambda: _style(format=99, impasto="9.0"),
    "wrong-type.style": lambda: _style(rungs="all of them"),
    "more-scales.style": lambda: _style(rungs=[-2, 77]),
}
FOLDERS = {"a-folder": 0o755, "folder.png": 0o755, "folder.style": 0o755, "closed": 0o555}
MODES = {"unreadable.png": 0, "locked.png": 0o444}
PIPES, BROKEN_LINKS = ("fifo.png", "fifo.style"), ("broken-link.png",)

content = functools.cache(lambda name: CONTENT[name]())


def make(names: Iterable[str], folder: Path) -> None:
    """Make the files of these names in a folder. A name that is in no table stays missing."""
    for name in names:
        if name in CONTENT:
            (folder / name).write_bytes(content(name))
            (folder / name).chmod(MODES.get(name, 0o644))
        elif name in FOLDERS:
            (folder / name).mkdir(mode=FOLDERS[name])
        elif name in PIPES and not NO_PIPES:
            os.mkfifo(folder / name)
        elif name in BROKEN_LINKS and not NO_PIPES:
            (folder / name).symlink_to("nowhere.png")


def needed(words: Iterable[str], also: str) -> set[str]:
    """The names of files that a command line needs: those in its words, also as `MASK=STYLE` or as a folder, and those listed."""
    return {part.split("/")[0] for word in words for part in word.split("=")} | set(also.split())
