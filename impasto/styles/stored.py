"""Styles in files: the targets on every rung of the ladder of scales, and a card that says what they are.

A `.style` file is safetensors. Its metadata is one JSON card; its tensors are

| name | content | type |
|---|---|---|
| `RUNG/TAP` | exact: the upper triangle of the Gram matrix, row by row, N (N + 1) / 2 numbers | float32 |
| `RUNG/TAP/factor` | packed: G = U U^T + diag(rest), U = factor * scale; Nxr numbers | float16 |
| `RUNG/TAP/scale` | r numbers | float32 |
| `RUNG/TAP/rest` | N numbers | float16, or float32 beyond its range |
| `RUNG/TAP/mean` | the mean of each channel, N numbers | float32 |
| `quantiles` | the painting's colors (`palette.quantiles`), 7x256 | float32 |
| `instant/...` | what is stored for the network of quality "instant" (`fast.looks`); optional | float16 |
| `thumbnail` | a JPEG of at most 160 pixels; optional | bytes |
| `painting` | a JPEG of at most 1024 pixels, from which the style can be made again for another encoder; optional | bytes |

An exact file holds what the painting gives, to the last bit.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save as serialize
from torch import Tensor

from impasto import __version__, files, pictures
from impasto.compute import settings
from impasto.encoders import Encoder
from impasto.errors import StyleFileError
from impasto.inputs import STYLE_SUFFIX
from impasto.ladder import SMALLEST, position, rung
from impasto.palette import DIRECTIONS, QUANTILES
from impasto.styles import packing, remarks
from impasto.styles.card import CARD, COLORS, FORMAT, INSTANT, LONGEST_TEXT, TUNING, Card, image_in, opened
from impasto.styles.style import Means, Painted, Style, Targets
from impasto.styles.swatch import swatch

RUNGS = range(round(position(SMALLEST)), round(position(1024)) + 1)
IMAGES = {"thumbnail": 160, "painting": 1024}  # pixels of the longer side of the images that a file may hold
QUALITY = {"thumbnail": 85, "painting": 90}  # of these JPEGs
LARGEST = 1e9  # of a stored value: a sum of products of such is still finite; those of paintings are below 100


class Stored(Style):
    """The targets in a style file.

    name: what to call it; tensors: as the module says: the quantiles, and the targets at `taps` on all the card's rungs.
    """

    def __init__(self, card: Card, name: str, tensors: Mapping[str, Tensor], encoder: Encoder, taps: tuple[str, ...]) -> None:
        super().__init__(encoder, taps)
        self.card = card
        self.name = name
        self._tensors = tensors
        self._known: dict[int, Targets] = {}

    @property
    def _device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    @settings.default_settings()
    def at(self, number: int, side: int | None = None) -> Targets:
        """The targets on rung `number`, or on the nearest stored one."""
        nearest = self._nearest(number)
        if nearest not in self._known:
            self._known[nearest] = {
                tap: packing.unpacked(self._tensors, f"{nearest}/{tap}").to(self._device) for tap in self.taps
            }
        return self._known[nearest]

    def means_at(self, number: int) -> Means:
        """The mean of each channel on rung `number`, or on the nearest stored one."""
        return {tap: self._tensors[f"{self._nearest(number)}/{tap}/mean"].to(self._device) for tap in self.taps}

    @property
    def longest(self) -> float:
        """The painting's longer side, or that of the largest rung stored."""
        return max(SMALLEST, min(max(self.card.size), self.card.sides[1]))

    def kept_for(self, network: str) -> Mapping[str, Tensor]:
        """See `Style.kept_for`."""
        if network != self.card.network:
            return {}
        found = {name: tensor for name, tensor in self._tensors.items() if name.startswith(INSTANT)}
        return {name.removeprefix(INSTANT): tensor.to(self._device, torch.float32) for name, tensor in found.items()}

    def _nearest(self, number: int) -> int:
        return min(self.card.rungs, key=lambda stored: abs(stored - number))

    def quantiles(self) -> Tensor:
        """The painting's colors."""
        return self._tensors[COLORS].to(self._device)

    def notes_at(self, sides: Sequence[float], *, squeeze: bool = False) -> tuple[str, ...]:
        """A note if nothing is stored for a side."""
        return remarks.of_stored(self.name, self.card.rungs, sides)


# ------------------------------------------------------------------------------------------------------------------ writing


def rungs_of(style: Painted) -> tuple[int, ...]:
    """The rungs worth storing: up to the painting's own size, rounded up to a rung, and 1024 pixels at most."""
    own = math.ceil(position(max(style.size)))
    return tuple(number for number in RUNGS if number <= max(own, RUNGS[0]))


@settings.default_settings()
def save(
    style: Painted,
    path: files.PathLike,
    *,
    title: str = "",
    source: str = "",
    licence: str = "",
    error: float = 0.0,
    images: Sequence[str] = tuple(IMAGES),
    instant: Mapping[str, Tensor] | None = None,
    network: str = "",
    overwrite: bool = False,
) -> Card:
    """Write a painting's style to a file.

    instant, network: see `Style.kept_for`. error: 0 stores every target to the last bit; above it, the relative error each Gram matrix
    may have, for a much smaller file. images: which images of the painting to keep, "thumbnail" and "painting". Returns the card.
    Raises OutputError and SaveError, and StyleFileError for texts that are too long.
    """
    files.check(path, (STYLE_SUFFIX,), overwrite=overwrite)
    for name, text in (("title", title), ("source", source), ("licence", licence)):
        if len(text) > LONGEST_TEXT:
            raise StyleFileError(f"must have at most {LONGEST_TEXT} characters, not {len(text)}", option=name)
    height, width = style.size
    card = Card(
        format=FORMAT,
        impasto=__version__,
        title=title,
        source=source,
        licence=licence,
        encoder=style.encoder.name,
        digest=style.encoder.digest,
        pooling=style.encoder.pooling,
        padding=style.encoder.padding,
        taps=style.taps,
        rungs=rungs_of(style),
        size=(width, height),
        palette=swatch(style.painting),
        error=error,
        network=network,
        tuned=TUNING in (instant or {}),
    )
    tensors = {COLORS: style.quantiles().cpu()} | {name: _jpeg(style.painting, name) for name in images}
    for number in card.rungs:
        for tap, G in style.at(number).items():
            tensors |= packing.packed(f"{number}/{tap}", G, error)
        # copies: of a thin painting, several scales share their means, and the format has no shared tensors
        tensors |= {f"{number}/{tap}/mean": mean.cpu().clone() for tap, mean in style.means_at(number).items()}
    tensors |= {f"{INSTANT}{name}": tensor.cpu().half() for name, tensor in (instant or {}).items()}
    text = json.dumps(asdict(card), ensure_ascii=False, separators=(",", ":"))
    files.write(path, serialize(tensors, {CARD: text}), (STYLE_SUFFIX,), overwrite=overwrite)
    return card


def _jpeg(painting: Tensor, name: str) -> Tensor:
    """painting: 1x3xHxW, 0..1. Returns the bytes of a JPEG."""
    height, width = painting.shape[-2:]
    small = pictures.resize(painting.cpu(), pictures.fit((height, width), min(IMAGES[name], max(height, width))))
    stream = io.BytesIO()
    pictures.to_image(small).save(stream, "jpeg", quality=QUALITY[name], subsampling=0)
    return torch.frombuffer(bytearray(stream.getvalue()), dtype=torch.uint8)


# ------------------------------------------------------------------------------------------------------------------ reading


@settings.default_settings()
def load(path: files.PathLike, encoder: Encoder, taps: tuple[str, ...]) -> Style:
    """Read a style for an encoder, at some of its taps.

    A file made for another encoder is made again from the painting in it, with a note, if it has one.
    Raises StyleFileError: not a style file, or made for another encoder and without a painting.
    """
    name = files.printable(path)
    with opened(path, "pt") as (card, content):
        problem = _mismatch(card, encoder, taps)
        if problem:
            return _made_again(name, problem, image_in(content, "painting"), encoder, taps)
        found = {key: content.get_tensor(key) for key in set(content.keys()) - IMAGES.keys()}
    tensors = {COLORS: _colors_of(name, found)}
    tensors |= {key: tensor for tap in taps for key, tensor in _tensors_of(name, card, tap, found)}
    tensors |= _kept(name, found)
    return Stored(card, Path(path).stem, tensors, encoder, taps)


def _made_again(name: str, problem: str, painting: bytes | None, encoder: Encoder, taps: tuple[str, ...]) -> Painted:
    """The style of the painting in a file whose targets cannot be used."""
    if painting is None:
        flags = f"--encoder {encoder.name} --pooling {encoder.pooling} --padding {encoder.padding}"
        raise StyleFileError(
            f"{name} {problem}, and holds no painting; use the painting itself, or `impasto style make PAINTING {flags}`"
        )
    pixels = pictures.load(painting, role=f"painting in {name}").pixels
    device = next(encoder.parameters()).device
    return Painted(pixels.to(device), encoder, taps, (f"{name} {problem}; the painting stored in it is used",))


def _mismatch(card: Card, encoder: Encoder, taps: tuple[str, ...]) -> str:
    """Why the file's targets cannot be used with this encoder at these taps; "" if they can."""
    made, wanted = (card.encoder, card.pooling, card.padding), (encoder.name, encoder.pooling, encoder.padding)
    if made != wanted:
        words = (files.one_line("{} with {} pooling and {} padding".format(*three)) for three in (made, wanted))
        return "was made for {}, not for {}".format(*words)
    if card.digest != encoder.digest:
        return f"was made for other weights of {encoder.name}"
    missing = [tap for tap in taps if tap not in card.taps]
    return f"has no {missing[0]}, only {files.one_line(', '.join(card.taps))}" if missing else ""


def _colors_of(name: str, found: Mapping[str, Tensor]) -> Tensor:
    """The quantiles in the file, checked: of the right shape, finite."""
    Q = found.get(COLORS)
    if Q is None or Q.shape != (len(DIRECTIONS), QUANTILES) or not (Q.is_floating_point() and bool(Q.isfinite().all())):
        raise StyleFileError(f"style file {name} is damaged: color data is missing or malformed")
    return Q


def _kept(name: str, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is stored for the network, checked: finite numbers."""
    kept = {key: tensor for key, tensor in found.items() if key.startswith(INSTANT)}
    if not all(tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor in kept.values()):
        raise StyleFileError(f"style file {name} is damaged: what is stored for quality 'instant' is malformed")
    return kept


def _is_sound(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers that can be multiplied. In float16, LARGEST itself would be infinite."""
    sound = tensor.is_floating_point() and bool(tensor.isfinite().all())
    return sound and (not tensor.numel() or float(tensor.abs().max()) <= LARGEST)


def _tensors_of(name: str, card: Card, tap: str, found: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a tap, checked: present on every rung, of the right shapes, not huge, of the same number of channels."""
    channels = set()
    for number in card.rungs:
        key = f"{number}/{tap}"
        keys = (*packing.names(key, found), f"{key}/mean")
        tensors = [found[part] for part in keys if part in found]
        if len(tensors) < len(keys):
            raise StyleFileError(f"style file {name} is damaged: {tap} for {rung(number)} pixels is missing")
        if not all(map(_is_sound, tensors)):
            raise StyleFileError(
                f"style file {name} is damaged: {tap} for {rung(number)} pixels has values that are too large or not finite"
            )
        shapes = [tuple(part.shape) for part in tensors]
        channels |= {packing.channels(shapes[:-1]), shapes[-1][0] if len(shapes[-1]) == 1 else 0}
        yield from zip(keys, tensors, strict=True)
    if len(channels) != 1 or channels == {0}:
        raise StyleFileError(f"style file {name} is damaged: {tap} has the wrong shape")
