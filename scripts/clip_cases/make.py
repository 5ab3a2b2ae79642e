"""A pattern whose colors are known by formulas, as video in every coding, by ffmpeg."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HEIGHT, WIDTH, FRAMES, RATE = 64, 96, 18, 24
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}  # of red and blue
SPACE = {"bt601": "smpte170m", "bt709": "bt709", "bt2020": "bt2020nc"}
LOSSLESS = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast")
LOSSLESS_10 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "lossless=1:log-level=none:pools=1", "-tag:v", "hvc1")
SWEEP = "0.5*sin(2*PI*(300*t+800*t*t))"  # no part of it is like another
TONE = ("-f", "lavfi", "-i", f"aevalsrc={SWEEP}:sample_rate=48000:duration={FRAMES / RATE}")
AAC = ("-c:a", "aac", "-b:a", "64k")


@dataclass(frozen=True)
class Nasty:
    """A clip. name: of its file. trap: what other programs get wrong. make: (folder, path) -> None.

    turn: from the stored picture to the one that is shown. colors: the largest mean error in levels of 255; None where the picture is
    not the pattern. error: how the message of a clip that is refused ends. note: a part of a note.
    """

    name: str
    trap: str
    make: Callable[[Path, Path], None]
    turn: Callable[[Floats], Floats] = lambda image: image
    size: tuple[int, int] = (HEIGHT, WIDTH)
    frames: int = FRAMES
    colors: float | None = 1.0
    error: str = ""
    note: str = ""
    expected: Callable[[Floats], Floats] = lambda image: image


def pattern(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Floats:
    """HxWx3 in [0, 1]: soft, different in every corner, and moving."""
    y, x = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]), indexing="ij")
    phase = number / 40
    red = 0.15 + 0.7 * x * (1 - 0.3 * phase)
    green = 0.5 + 0.35 * np.sin(2 * np.pi * (0.6 * y + phase)) * (0.3 + 0.7 * x)
    blue = 0.85 - 0.7 * y * (0.4 + 0.6 * x)
    return np.stack((red, green, blue), axis=-1)


def yuv(image: Floats, matrix: str, *, full: bool, bits: int, chroma: tuple[int, int]) -> bytes:
    """Planar Y'CbCr by the formulas of H.273. chroma: how many columns and rows share a sample; (2, 2) is 4:2:0, sited on the left."""
    red, blue = WEIGHTS[matrix]
    y = image @ (red, 1 - red - blue, blue)
    cb, cr = (image[..., 2] - y) / (2 - 2 * blue), (image[..., 0] - y) / (2 - 2 * red)
    unit = 2 ** (bits - 8)
    black, luma, span = (0, 2**bits - 1, 2**bits - 1) if full else (16 * unit, 219 * unit, 224 * unit)
    across, down = chroma
    planes = [black + luma * y]
    for plane in (cb, cr):
        rows = plane.reshape(plane.shape[0] // down, down, -1).mean(axis=1)
        if across == 2:
            padded = np.pad(rows, ((0, 0), (1, 1)), mode="edge")
            rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:])[:, ::2] / 4
        planes.append(128 * unit + span * rows)
    kind = np.uint8 if bits == 8 else np.dtype("<u2")
    return b"".join(np.clip(np.rint(plane), 0, 2**bits - 1).astype(kind).tobytes() for plane in planes)


def rgb(image: Floats) -> bytes:
    """8 bits a channel."""
    return bytes(np.rint(image * 255).astype(np.uint8).tobytes())


def ffmpeg(*words: str | Path, data: bytes | None = None) -> None:
    """Run ffmpeg on bytes."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)]
    if data is not None:
        command.remove("-nostdin")
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr.decode(errors='replace')[:1000]}")


def coded(
    path: Path,
    *out: str,
    matrix: str = "bt709",
    full: bool = False,
    bits: int = 8,
    chroma: tuple[int, int] = (2, 2),
    tags: tuple[str, str, str] | None = ("bt709", "bt709", "bt709"),
    size: tuple[int, int] = (HEIGHT, WIDTH),
    frames: int = FRAMES,
    before: tuple[str, ...] = (),
    more: tuple[str | Path, ...] = (),
    codec: tuple[str, ...] = LOSSLESS,
) -> None:
    """The pattern as video. tags: matrix, primaries and transfer as ffmpeg names them. before: options of the raw video. more: further
    inputs. out: options of the output."""
    data = b"".join(yuv(pattern(k, size), matrix, full=full, bits=bits, chroma=chroma) for k in range(frames))
    letters = {(2, 2): "420", (2, 1): "422", (1, 1): "444"}[chroma]
    form = f"yuv{letters}p" + ("" if bits == 8 else f"{bits}le")
    span = "pc" if full else "tv"
    raw = ("-f", "rawvideo", "-pix_fmt", form, "-s", f"{size[1]}x{size[0]}", "-r", str(RATE), "-color_range", span)
    named = ()
    if tags:
        named = ("-colorspace", tags[0], "-color_primaries", tags[1], "-color_trc", tags[2], "-color_range", span)
    ffmpeg(*before, *raw, "-i", "-", *more, *codec, *named, *out, path, data=data)


def sounding(path: Path, *out: str, **rest: Any) -> None:
    """The same with a tone."""
    coded(path, *AAC, *out, more=(*TONE, *rest.pop("more", ())), **rest)


def patched(path: Path, matrix: tuple[int, ...]) -> None:
    """Give the first track of an MP4 another display matrix: (a, b, c, d) of 65536."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version 0
    a, b, c, d = matrix
    for offset, value in zip((0, 4, 12, 16), (a, b, c, d), strict=True):
        data[place + offset : place + offset + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(data)


def turned(words: str) -> Callable[[Path, Path], None]:
    """By ffmpeg's metadata."""

    def make(folder: Path, path: Path) -> None:
        sounding(folder / "upright.mp4")
        ffmpeg("-i", folder / "upright.mp4", "-c", "copy", "-metadata:s:v", f"rotate={words}", path)

    return make


def mirrored(matrix: tuple[int, ...]) -> Callable[[Path, Path], None]:
    """By the display matrix."""

    def make(folder: Path, path: Path) -> None:
        sounding(path)
        patched(path, matrix)

    return make


def hdr_data(number: int) -> Floats:
    """The pattern as HDR values: not too bright, so that its colors stay apart."""
    return pattern(number)


def tone_mapped(transfer: int) -> Callable[[Floats], Floats]:
    """By the functions that stills use, which have their own tests against the standards."""

    def mapped(image: Floats) -> Floats:
        from impasto.pictures import hdr

        return hdr.to_srgb(image.astype(np.float32), transfer, 9).astype(np.float64)

    return mapped


def narrowed(primaries: int) -> Callable[[Floats], Floats]:
    """From wide primaries to those of sRGB, by formulas of its own."""
    xy = {9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), 12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))}
    srgb = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))

    def to_xyz(points: Any) -> Floats:
        columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in points]).T
        white = np.array((0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290))
        return columns * np.linalg.solve(columns, white)

    def converted(image: Floats) -> Floats:
        light = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
        light = np.clip(light @ (np.linalg.inv(to_xyz(srgb)) @ to_xyz(xy[primaries])).T, 0, 1)
        return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)

    return converted
