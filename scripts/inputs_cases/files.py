"""The files that the rows of `scripts/inputs.py` name: good ones, odd ones and every kind of unusable one."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inputs_cases import ROOT, odd

NO_PERMISSIONS = "" if hasattr(os, "geteuid") and os.geteuid() else "needs a POSIX system and a user other than root"
NO_PIPES = "" if hasattr(os, "mkfifo") else "needs a POSIX system"
PHOTO, PAINTING = (192, 128), (240, 192)


def _noise(seed: int, cells: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Soft colored blobs: random cells, enlarged."""
    noise = np.random.default_rng(seed).integers(0, 256, (cells[1], cells[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


_photo = functools.partial(_noise, 1, (12, 8), PHOTO)
_painting = functools.partial(_noise, 2, (40, 32), PAINTING)


def _checkers() -> Image.Image:
    squares = (np.indices((160, 200)) // 16).sum(axis=0) % 2
    return Image.fromarray((squares[..., None] * np.array([220, 30, 20])).astype(np.uint8))


def _mask(size: tuple[int, int], color: Any, *boxes: tuple[Any, tuple[int, int, int, int]], mode: str = "RGB") -> Image.Image:
    """An image of one color with rectangles of others."""
    mask = Image.new(mode, size, color)
    for other, box in boxes:
        mask.paste(other, box)
    return mask


def _halves(size: tuple[int, int], left: Any = "red", right: Any = "blue", mode: str = "RGB") -> Image.Image:
    return _mask(size, right, (left, (0, 0, size[0] // 2, size[1])), mode=mode)


def _images() -> Iterator[tuple[str, Image.Image]]:
    """Every PNG by its name without suffix."""
    for name in ("photo", "copy", "taken", "photo-painting", "new-step00002", "locked", "unreadable"):
        yield name, _photo()
    for name in ("painting", "s" * 250):
        yield name, _painting()
    yield "bw-photo", _photo().convert("L")
    for name, mode in (("bw", "L"), ("bilevel", "1"), ("alpha", "LA")):
        yield f"{name}-painting", _painting().convert(mode)
    yield "16-bit-painting", Image.fromarray(np.asarray(_painting().convert("L")).astype(np.uint16) * 257)
    yield "wide", _noise(3, (40, 2), (640, 32))
    yield "tall", _noise(3, (2, 40), (32, 640))
    yield "wide-painting", _noise(4, (80, 4), (640, 32))
    yield "32", _noise(5, (6, 6), (32, 32))
    yield "32-painting", _noise(6, (16, 16), (32, 32))
    yield "checkers", _checkers()
    flat = {
        "flat": (PHOTO, "olive"),
        "black": (PHOTO, "black"),
        "flat-painting": (PAINTING, "firebrick"),
        "1x1": ((1, 1), "teal"),
    }
    for name, (size, color) in (flat | {"16400x17": ((16400, 17), "teal"), "there-black": (PAINTING, "black")}).items():
        yield name, Image.new("RGB", size, color)
    yield "transparent", Image.new("RGBA", PHOTO, (200, 100, 50, 0))
    sizes = {"small": (48, 32), "large": (768, 512), "square": (128, 128), "almost": (193, 128), "wide": (640, 32)}
    for name, size in (sizes | {"left": PHOTO}).items():
        yield f"mask-{name}", _halves(size, "white", "black", "L")
    yield "mask-bilevel", _halves(PHOTO, "white", "black", "L").convert("1")
    for name, level in (("none", 0), ("all", 255), ("faint", 1), ("half", 128)):
        yield f"mask-{name}", Image.new("L", PHOTO, level)
    yield "mask-pixel", _mask(PHOTO, "black", ("white", (96, 64, 97, 65)), mode="L")
    for name, size in (("here", PHOTO), ("there", PAINTING), ("there-square", (90, 90))):
        yield name, _halves(size)
    yield "mask-01", _halves(PHOTO, 1, 0, "L")
    yield "mask-labels", _mask(PHOTO, 0, (1, (0, 0, 96, 128)), (2, (96, 0, 192, 64)), mode="L")
    for name, size in (("here", PHOTO), ("there", PAINTING)):
        yield f"{name}-near", _halves(size, (220, 220, 220), (230, 230, 230))
        labels = np.full(size[::-1], 1001, np.uint16)
        labels[:, : size[0] // 2] = 1000
        yield f"{name}-labels", Image.fromarray(labels)
    yield "here-green", _halves(PHOTO, "red", "lime")
    yield "there-three", _mask(PAINTING, "blue", ("red", (0, 0, 120, 192)), ("lime", (0, 0, 240, 60)))
    yield "there-thin", _mask(PAINTING, "blue", ("red", (0, 0, 8, 192)))


def _encoded(image: Image.Image, encoding: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, encoding, **options)
    return file.getvalue()


def _cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b""))
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
    "pipe-input": '{"inputs": {"photo": {"name": "fifo.png", "sha256": ""}, "style": {"name": "painting.png", "sha256": ""}}}',
    "long-input": '{"inputs": {"photo": {"name": "' + "n" * 5000 + '", "sha256": ""}}}',
    "path-input": '{"inputs": {"photo": {"name": "../../etc/passwd", "sha256": ""}}}',
    "wrong-type": '{"inputs": [1, 2], "seconds": {}}',
    "json-nan": '{"seconds": NaN}',
    "huge-number": '{"size": 1' + "0" * 400 + "}",
    "endless-number": '{"size": 1' + "0" * 50_000 + "}",
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

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("block1_conv1/block1_conv1_W_1:0", data=np.zeros((3, 3, 3, 64), np.float32))
    return content.getvalue()


def _safetensors() -> bytes:
    from safetensors.numpy import save

    return bytes(save({"encoder.layer.0.weight": np.zeros((4, 4), np.float32)}))


def shipped(name: str) -> bytes:
    """A file that comes with the package, wherever in it."""
    return next((ROOT / "impasto").rglob(name)).read_bytes()


def _style(text: str = "", **changes: Any) -> bytes:
    """A shipped style whose card is changed, or replaced by a text."""
    whole = shipped("great-wave.style")
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    ((key, words),) = header["__metadata__"].items()
    card = json.loads(words)
    assert changes.keys() <= card.keys(), f"a style's card no longer has {changes.keys() - card.keys()}"
    changed = json.dumps(header | {"__metadata__": {key: text or json.dumps(card | changes)}}).encode()
    return struct.pack("<Q", len(changed)) + changed + whole[8 + length :]


CONTENT: dict[str, Callable[[], bytes]] = {
    **odd.pictures(_photo),
    **{f"{name}.png": functools.partial(_encoded, image) for name, image in _images()},
    **{f"{name}.png": functools.partial(_with_settings, settings) for name, settings in SETTINGS.items()},
    "mask.gif": lambda: _encoded(_halves(PHOTO, "white", "black", "L"), "gif"),
    "cut.png": lambda: _cut(_encoded(_photo())),
    "cut.jpg": lambda: _cut(_encoded(_photo(), "jpeg")),
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
    "bad-card.style": lambda: _style("{" * 5000),
    "other-encoder.style": lambda: _style(encoder="vgg19"),
    "other-weights.style": lambda: _style(digest="0" * 64),
    "other-format.style": lambda: _style(format=99, impasto="9.0"),
    "wrong-type.style": lambda: _style(rungs="all of them"),
    "more-scales.style": lambda: _style(rungs=[-2, 77]),
}
FOLDERS = {"a-folder": 0o755, "folder.png": 0o755, "closed": 0o555}
MODES = {"unreadable.png": 0, "locked.png": 0o444}
PIPES = ("fifo.png", "fifo.style")
LINKS = {"broken-link.png": "nowhere.png", "loop.png": "loop.png", "loop.gif": "loop.gif"}

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
        elif name in LINKS and not NO_PIPES:
            (folder / name).symlink_to(LINKS[name])


def needed(words: Iterable[str], also: str) -> set[str]:
    """The names of files that a command line needs: those in its words, also as `MASK=STYLE` or as a folder, and those listed."""
    return {part.split("/")[0] for word in words for part in word.split("=")} | set(also.split())
