"""ICC profiles: those of displays in float, all others through Little CMS in 8 bits.

A profile of a display consists of three curves and a matrix (ICC.1:2022, sections 8.3.3 and F.3), which `spaces.Space` applies without
rounding. Little CMS, as Pillow offers it, is limited to 8 bits. It is used for profiles with tables: print, scanners, Lab.
"""

from __future__ import annotations

import functools
import io
import itertools
import struct
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageCms

from impasto.files import one_line
from impasto.pictures.spaces import BYTE, FROM_D50, WORD, Curve, Floats, Space, by_rows, power

Tags: TypeAlias = dict[bytes, bytes]

GRID = 52  # grid points along each channel, 5 levels of 255 apart
_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK", b"Lab ": "LAB"}  # an ICC profile's color space -> Pillow's mode
_MOST_TAGS = 1000
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}  # kind of a parametric curve -> how many numbers it has


class ProfileError(ValueError):
    """A profile is damaged, or of a kind that is not supported."""


class Profile:
    """An ICC profile that Little CMS accepts.

    mode: Pillow's mode of the colors that it describes; "" for colors of another kind.
    name: its description.

    Raises ProfileError if Little CMS does not accept the data, also for profiles that are then applied without it.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
            self.name = one_line(ImageCms.getProfileDescription(self._profile)) or "an unnamed color profile"
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            raise ProfileError("damaged") from error
        self.mode = _MODES.get(data[16:20], "")
        self._data = data

    def space(self) -> Space | None:
        """The space of RGB or gray values, where curves and a matrix describe it; None where tables do. Raises ProfileError."""
        tags = _tags(self._data)
        if self._data[20:24] != b"XYZ " or {b"A2B0", b"A2B1", b"D2B0", b"D2B1"} & tags.keys():
            return None
        try:
            if self.mode == "L":
                return Space(self.name, (_curve(tags[b"kTRC"]),), np.eye(3))
            if self.mode == "RGB":
                columns = [_xyz(tags[tag]) for tag in (b"rXYZ", b"gXYZ", b"bXYZ")]
                curves = tuple(_curve(tags[tag]) for tag in (b"rTRC", b"gTRC", b"bTRC"))
                return Space(self.name, curves, FROM_D50 @ np.stack(columns, axis=1))
        except (KeyError, IndexError, struct.error) as error:
            raise ProfileError("damaged") from error
        return None

    def coded(self) -> tuple[int, int, bool] | None:
        """(primaries, transfer, full range) by ITU-T H.273 where the profile has a cicp tag, which then counts (ICC.1:2022, 9.2.17)."""
        tag = _tags(self._data).get(b"cicp", b"")
        return (tag[8], tag[9], bool(tag[11])) if len(tag) >= 12 else None

    def to_srgb(self, image: Image.Image) -> Floats:
        """An image in the profile's mode to HxWx3 sRGB values in [0, 1], in 8 bits. Raises ProfileError."""
        return np.asarray(self._apply(image), np.float32) / np.float32(BYTE)

    def deep_to_srgb(self, values: Floats) -> Floats:
        """Encoded values in [0, 1] to HxWx3 sRGB, interpolated between the conversions of 8-bit colors. Raises ProfileError.

        values: HxW for a profile of mode L, HxWx3 for one of mode RGB.
        """
        if self.mode == "L":
            ramp = self.to_srgb(Image.fromarray(np.arange(BYTE + 1, dtype=np.uint8)[None]))[0]
            levels = np.linspace(0, 1, len(ramp))
            return np.stack([np.interp(values, levels, each) for each in ramp.T], axis=2).astype(np.float32)
        levels = np.linspace(0, BYTE, GRID).round().astype(np.uint8)
        cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
        table = self.to_srgb(Image.fromarray(cube.reshape(GRID, GRID * GRID, 3)))
        return by_rows(functools.partial(interpolated, table.reshape(-1, 3)), values)

    def _apply(self, image: Image.Image) -> Image.Image:
        # A print or Lab gamut does not fit into sRGB, so it is compressed. Between screens, colors that fit stay exact.
        tables = self.mode in ("CMYK", "LAB")
        intent = ImageCms.Intent.PERCEPTUAL if tables else ImageCms.Intent.RELATIVE_COLORIMETRIC
        # lcms speeds transforms up with a coarse table, which is up to 10 levels off for linear grays and 50 for Lab.
        speed = ImageCms.Flags.NOOPTIMIZE if self.mode in ("L", "LAB") else ImageCms.Flags.HIGHRESPRECALC
        flags = speed | ImageCms.Flags.BLACKPOINTCOMPENSATION
        try:
            srgb = ImageCms.createProfile("sRGB")
            transform = ImageCms.buildTransform(self._profile, srgb, self.mode, "RGB", intent, flags)
            return transform.apply(image)
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            raise ProfileError("damaged") from error


def interpolated(table: Floats, values: Floats) -> Floats:
    """Trilinear interpolation. table: the colors at GRID^3 points, the last channel fastest. values: HxWx3 in [0, 1]."""
    places = np.clip(values, 0, 1) * np.float32(GRID - 1)
    low = np.minimum(places, GRID - 2).astype(np.int32)
    shares = places - low
    first = (low[..., 0] * GRID + low[..., 1]) * GRID + low[..., 2]
    found = np.zeros_like(places)
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.prod([shares[..., k] if up else 1 - shares[..., k] for k, up in enumerate(corner)], axis=0)
        found += weight[..., None] * table[first + (corner[0] * GRID + corner[1]) * GRID + corner[2]]
    return found


def lab() -> Profile:
    """CIELAB under D50."""
    return Profile(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())


def _tags(data: bytes) -> Tags:
    """{signature: data} of a profile. Raises ProfileError."""
    try:
        (count,) = struct.unpack_from(">I", data, 128)
        entries = [struct.unpack_from(">4sII", data, 132 + 12 * number) for number in range(min(count, _MOST_TAGS))]
    except struct.error as error:
        raise ProfileError("damaged") from error
    return {signature: data[offset : offset + size] for signature, offset, size in entries}


def _fixed(data: bytes, offset: int, count: int) -> tuple[float, ...]:
    """Numbers of type s15Fixed16."""
    return tuple(value / 65536 for value in struct.unpack_from(f">{count}i", data, offset))


def _xyz(tag: bytes) -> tuple[float, ...]:
    return _fixed(tag, 8, 3)


def _curve(tag: bytes) -> Curve:
    """A curve of type curv or para. Raises ProfileError where it is not finite."""
    curve = _read_curve(tag)
    if not np.isfinite(curve(np.linspace(0, 1, 1025, dtype=np.float32))).all():
        raise ProfileError("damaged")
    return curve


def _read_curve(tag: bytes) -> Curve:
    """ICC.1:2022, sections 10.6 and 10.18."""
    kind = tag[:4]
    if kind == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return power(1)
        if count == 1:
            return power(struct.unpack_from(">H", tag, 12)[0] / 256)
        table = np.array(struct.unpack_from(f">{count}H", tag, 12), np.float64) / WORD
        return lambda values: np.interp(values, np.linspace(0, 1, count), table).astype(np.float32)
    if kind == b"para":
        return _parametric(int.from_bytes(tag[8:10], "big"), tag)
    raise ProfileError("damaged")


def _parametric(kind: int, tag: bytes) -> Curve:
    """ICC.1:2022, section 10.18. The numbers that a type lacks are 0."""
    if kind not in _PARAMETERS:
        raise ProfileError("damaged")
    g, a, b, c, d, e, f = (*_fixed(tag, 12, _PARAMETERS[kind]), *(0.0,) * 7)[:7]
    if kind == 0:  # x^g
        return power(g)
    if kind in (1, 2):  # 1: (a x + b)^g from x = -b / a, 0 below. 2: (a x + b)^g + c from x = -b / a, c below
        start, above, slope, below = (-b / a if a else 0.0), c, 0.0, c
    else:  # 3: (a x + b)^g from x = d, c x below. 4: (a x + b)^g + e from x = d, c x + f below
        start, above, slope, below = d, e, c, f

    def curve(values: Floats) -> Floats:
        base = np.maximum(a * values + b, 0)
        return np.where(values >= start, base**g + above, slope * values + below).astype(np.float32)

    return curve
