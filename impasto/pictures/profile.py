"""What a file's numbers mean: the one place that turns the colors of any file into sRGB.

A file may say several things about its colors. Its reader (`png`, `boxes`, `containers`) lists them as statements, in the order of
precedence that browsers use; the first one that can be used counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image

from impasto.pictures import hdr, icc, spaces
from impasto.pictures.icc import Profile, ProfileError
from impasto.pictures.spaces import BYTE, HLG, PQ, PRIMARIES, TRANSFERS, Chromaticities, Floats, Space

__all__ = ["ADOBE_RGB", "Calibrated", "Coded", "Floats", "Icc", "Statement", "to_srgb"]

_UNSPECIFIED = 2  # in ITU-T H.273
# The largest difference between sRGB and gamma 2.2 is 8.5 levels; files state gamma 2.2 for sRGB.
_DIFFERENT = 12 / BYTE
_PROBE = np.stack(np.meshgrid(*[np.linspace(0, 1, 6, dtype=np.float32)] * 3), axis=-1).reshape(36, 6, 3)  # 216 colors


@dataclass(frozen=True)
class Icc:
    """An ICC profile."""

    data: bytes


@dataclass(frozen=True)
class Coded:
    """Numbers of ITU-T H.273 for primaries and transfer. source: where they stand, for notes. full_range: black is 0, not 16 of 255."""

    primaries: int
    transfer: int
    source: str
    full_range: bool = True


@dataclass(frozen=True)
class Calibrated:
    """Light as a power of the value, and the chromaticities of white and of the primaries; None for those of sRGB."""

    gamma: float | None
    chromaticities: Chromaticities | None
    source: str


@dataclass(frozen=True)
class Unsupported:
    """A color space that is named and not supported."""

    source: str


Statement: TypeAlias = Icc | Coded | Calibrated | Unsupported


def embedded(profile: object) -> tuple[Statement, ...]:
    """The statement of an embedded profile; nothing for what is no profile, as the tag of a damaged file may be anything."""
    return (Icc(profile),) if profile and isinstance(profile, bytes) else ()


SRGB = Coded(1, 13, "sRGB")
ADOBE_RGB = Calibrated(spaces.ADOBE_GAMMA, spaces.ADOBE_RGB, "Adobe RGB (EXIF)")


class _UnusableError(Exception):
    """Why a statement is ignored, as a note without its subject."""


def to_srgb(color: Image.Image | Floats, statements: Iterable[Statement]) -> tuple[Floats, tuple[str, ...]]:
    """Convert colors to sRGB.

    color: an image in mode L, RGB, CMYK or LAB, or HxW or HxWx3 encoded values in [0, 1]. Returns HxWx3 sRGB values in [0, 1], and a
    note for each statement that changed colors or could not be used. Without a usable statement, L and RGB are taken as sRGB, CMYK as
    ideal inks, and LAB as CIELAB under D50.
    """
    notes: list[str] = []
    statements = tuple(statements)
    for number, statement in enumerate(statements, 1):
        try:
            found, note = _converted(color, statement)
        except _UnusableError as unusable:
            notes.append(str(unusable))
        else:
            note = note or _contradiction(statement, statements[number:])
            return found, (*notes, note) if note else tuple(notes)
    if isinstance(color, Image.Image) and color.mode == "CMYK":
        if notes:
            notes[-1] += "; its CMYK colors are approximate"
        else:
            notes = ["has no color profile; its CMYK colors are approximate"]
    return _as_it_is(color), tuple(notes)


def _contradiction(used: Statement, others: Iterable[Statement]) -> str:
    """A note where colors stay because of one statement, and another one would change them; "" elsewhere.

    It converts 216 probe colors per statement. ICC profiles are not compared.
    """
    known = "its ICC profile" if isinstance(used, Icc) else used.source
    for other in (other for other in others if not isinstance(other, Icc)):
        try:
            changed = np.abs(_converted(_PROBE, other)[0] - _PROBE).max()
        except _UnusableError:
            continue
        if changed > _DIFFERENT:
            return f"states {other.source} colors, which are ignored because of {known}"
    return ""


def _converted(color: Image.Image | Floats, statement: Statement) -> tuple[Floats, str]:
    """sRGB values and a note, "" for none. Raises _UnusableError."""
    if isinstance(statement, Icc):
        return _by_profile(color, statement.data)
    if isinstance(color, Image.Image) and color.mode not in ("L", "RGB"):
        raise _UnusableError(f"states {statement.source} colors for {color.mode} values, which is ignored")
    if isinstance(statement, Unsupported):
        raise _UnusableError(f"states {statement.source} colors, which are not supported and taken as sRGB")
    if isinstance(statement, Coded):
        return _by_code(color, statement)
    try:
        matrix = spaces.to_linear_srgb(statement.chromaticities or spaces.SRGB)
    except ValueError as error:
        raise _UnusableError(f"states impossible colors ({statement.source}), which is ignored") from error
    curve = spaces.srgb_to_linear if statement.gamma is None else spaces.power(statement.gamma)
    return _through(Space(statement.source, (curve,), matrix), color)


def _as_it_is(color: Image.Image | Floats) -> Floats:
    """HxWx3: L and RGB as sRGB, CMYK as ideal inks, LAB as CIELAB under D50."""
    if not isinstance(color, Image.Image):
        return color if color.ndim == 3 else np.repeat(color[..., None], 3, axis=2)
    if color.mode == "LAB":
        return icc.lab().to_srgb(color)
    return np.asarray(color.convert("RGB"), np.float32) / np.float32(BYTE)


def _through(space: Space, color: Image.Image | Floats) -> tuple[Floats, str]:
    if not space.is_finite:
        raise _UnusableError(f"states impossible colors ({space.name}), which is ignored")
    if space.is_srgb:
        return _as_it_is(color), ""
    note = f"has its colors converted from {space.name}"
    if isinstance(color, Image.Image):
        return space.bytes_to_srgb(np.asarray(color.convert("RGB"))), note
    return space.to_srgb(_as_it_is(color)), note


def _by_profile(color: Image.Image | Floats, data: bytes) -> tuple[Floats, str]:
    try:
        profile = Profile(data)
        mode = color.mode if isinstance(color, Image.Image) else "L" if color.ndim == 2 else "RGB"
        if profile.mode != mode and (profile.mode, mode) != ("RGB", "L"):  # a gray image may be in an RGB profile
            raise _UnusableError(f"has a color profile of another kind ({profile.name}), which is ignored")
        coded = profile.coded()
        if coded and coded[0] in PRIMARIES and (coded[1] in TRANSFERS or coded[1] in (PQ, HLG)):
            return _by_code(color, Coded(coded[0], coded[1], profile.name, coded[2]))
        space = profile.space()
        if space:
            return _through(space, color)
        note = f"has its colors converted from {profile.name}"
        if isinstance(color, Image.Image):
            return profile.to_srgb(color if color.mode == profile.mode else color.convert(profile.mode)), note
        return profile.deep_to_srgb(_as_it_is(color) if profile.mode == "RGB" else color), note
    except ProfileError as error:
        raise _UnusableError("has a damaged color profile, which is ignored") from error


def _by_code(color: Image.Image | Floats, stated: Coded) -> tuple[Floats, str]:
    if stated.source == "cICP" and _UNSPECIFIED in (stated.primaries, stated.transfer):
        raise _UnusableError("states colors incompletely (cICP), which is ignored")
    primaries = 1 if stated.primaries == _UNSPECIFIED else stated.primaries
    transfer = 13 if stated.transfer == _UNSPECIFIED else stated.transfer
    known = primaries in PRIMARIES and (transfer in TRANSFERS or transfer in (PQ, HLG))
    if not known:
        numbers = f"primaries {primaries}, transfer {transfer}"
        raise _UnusableError(f"states colors that are not supported ({stated.source}: {numbers}), which is ignored")
    if not stated.full_range:
        color = np.clip((_as_it_is(color) * BYTE - 16) / np.float32(219), 0, 1)
    name, chromaticities = PRIMARIES[primaries]
    if transfer in (PQ, HLG):
        kind = "PQ" if transfer == PQ else "HLG"
        note = f"has a high dynamic range ({kind}, {name}), which is mapped to the range of sRGB"
        return hdr.to_srgb(_as_it_is(color), transfer, primaries), note
    words, curve = TRANSFERS[transfer]
    return _through(Space(f"{name}, {words} ({stated.source})", (curve,), spaces.to_linear_srgb(chromaticities)), color)
