"""Styles in files: the targets on every rung of the ladder of scales, and a card that says what they are.

A `.style` file is safetensors, so reading one never runs what it holds. Its metadata is one JSON card; its tensors are

| name | what | in |
|---|---|---|
| `RUNG/TAP` | exact: the upper triangle of the Gram matrix, row by row, N (N + 1) / 2 numbers | float32 |
| `RUNG/TAP/factor` | packed: G = U U^T + diag(rest), U = factor * scale; Nxr numbers | float16 |
| `RUNG/TAP/scale` | r numbers | float32 |
| `RUNG/TAP/rest` | N numbers | float16, where its range is enough |
| `quantiles` | the painting's colours (`losses.quantiles`), 7x256 | float32 |
| `thumbnail` | a JPEG of the painting; may be absent | bytes |

An exact file holds what the painting gives, to the last bit.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from impasto import __version__, files, pictures
from impasto.encoders import Encoder
from impasto.errors import StyleFileError
from impasto.losses import DIRECTIONS, QUANTILES
from impasto.styles.base import Painted, Style, Targets, place, rung
from impasto.styles.palette import palette

SUFFIX = ".style"
PASSES = 3  # of finding a factor and its diagonal
FORMAT = 2  # raised when files of before can no longer be read
RUNGS = range(-2, 7)  # 64 to 1024 pixels
COLOURS = "quantiles"  # the key of the painting's
THUMBNAIL = 160  # pixels on the longer side
CARD = "impasto style"  # the one key of the metadata: with more, their order, and so the file, would differ from run to run
LONGEST_WORDS = 300  # characters of a title, a source, a licence

_Words = Annotated[str, Field(max_length=LONGEST_WORDS)]
_Color = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]
_Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Card:
    """What a style file says of itself.

    encoder, digest, pooling, padding: what the targets were seen through. taps, rungs: where they were taken. size: the painting's
    (width, height). palette: ("#rrggbb", share), the largest share first. error: a bound on the relative error of each Gram matrix,
    0 for an exact file. impasto: the version that made it.
    """

    format: int
    impasto: str
    title: _Words
    source: _Words
    licence: _Words
    encoder: str
    digest: str
    pooling: str
    padding: str
    taps: Annotated[tuple[str, ...], Field(min_length=1)]
    rungs: Annotated[tuple[Annotated[int, Field(ge=-14, le=20)], ...], Field(min_length=1)]
    size: tuple[_Count, _Count]
    palette: tuple[tuple[_Color, float], ...]
    error: float = 0.0

    @property
    def sides(self) -> tuple[int, int]:
        """The least and the largest longer side it is stored for, in pixels."""
        return rung(min(self.rungs)), rung(max(self.rungs))


_CARDS = TypeAdapter(Card)


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

    def at(self, number: int) -> Targets:
        """The targets on rung `number`, or on the nearest that is stored."""
        nearest = min(self.card.rungs, key=lambda stored: abs(stored - number))
        if nearest not in self._known:
            device = next(self.encoder.parameters()).device
            self._known[nearest] = {tap: _unpacked(self._tensors, f"{nearest}/{tap}").to(device) for tap in self.taps}
        return self._known[nearest]

    def quantiles(self) -> Tensor:
        """The painting's colours."""
        return self._tensors[COLOURS].to(next(self.encoder.parameters()).device)

    def words_at(self, sides: Sequence[float]) -> tuple[str, ...]:
        """Say so if there is none stored for a side."""
        missing = [side for side in sides if not {math.floor(place(side)), math.ceil(place(side))} <= set(self.card.rungs)]
        if not missing:
            return ()
        least, most = self.card.sides
        return (
            f"style {self.name} is stored for {least} to {most} pixels, not for {_listed(missing)}: the nearest stands in, "
            "which changes the size of its strokes",
        )


def _listed(sides: Sequence[float]) -> str:
    *most, last = (str(round(side)) for side in sides)
    return f"{', '.join(most)} and {last}" if most else last


# ------------------------------------------------------------------------------------------------------------------ writing


def rungs_of(style: Painted) -> tuple[int, ...]:
    """The rungs worth storing: up to the painting's own size, rounded up to a rung, and 1024 pixels at most."""
    own = math.ceil(place(max(style.painting.shape[-2:])))
    return tuple(number for number in RUNGS if number <= max(own, RUNGS[0]))


def save(
    style: Painted,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    source: str = "",
    licence: str = "",
    error: float = 0.0,
    thumbnail: bool = True,
    overwrite: bool = False,
) -> Card:
    """Write a painting's style to a file.

    error: 0 keeps every target to the last bit; above it, the relative error each Gram matrix may have, for a much smaller file.
    thumbnail: keep a small picture of the painting. Returns the card. Raises OutputError and SaveError, and StyleFileError for words
    too long.
    """
    files.check(path, (SUFFIX,), overwrite=overwrite)
    for name, words in (("title", title), ("source", source), ("licence", licence)):
        if len(words) > LONGEST_WORDS:
            raise StyleFileError(f"{name} must have at most {LONGEST_WORDS} characters, not {len(words)}")
    height, width = style.painting.shape[-2:]
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
        palette=palette(style.painting),
        error=error,
    )
    tensors = {COLOURS: style.quantiles().cpu()}
    if thumbnail:
        tensors["thumbnail"] = _thumbnail(style.painting)
    for number in card.rungs:
        for tap, G in style.at(number).items():
            tensors |= _packed(f"{number}/{tap}", G, error) if error else {f"{number}/{tap}": _triangle(G)}
    words = json.dumps(asdict(card), ensure_ascii=False, separators=(",", ":"))
    files.write(path, serialize(tensors, {CARD: words}), (SUFFIX,), overwrite=overwrite)
    return card


def _thumbnail(painting: Tensor) -> Tensor:
    """painting: 1x3xHxW, 0..1. Returns the bytes of a small JPEG."""
    height, width = painting.shape[-2:]
    small = pictures.resize(painting.cpu(), pictures.fit((height, width), min(THUMBNAIL, max(height, width))))
    stream = io.BytesIO()
    pictures.to_image(small.clamp(0, 1)).save(stream, "jpeg", quality=85)
    return torch.frombuffer(bytearray(stream.getvalue()), dtype=torch.uint8)


def _triangle(G: Tensor) -> Tensor:
    """The upper triangle of NxN, row by row: (N (N + 1) / 2,)."""
    row, column = torch.triu_indices(*G.shape)
    return G.cpu()[row, column].contiguous()


def _packed(key: str, G: Tensor, error: float) -> dict[str, Tensor]:
    """G, NxN, as a low-rank factor and the diagonal that it leaves, of the least rank that keeps the relative error (Frobenius).

    The diagonal costs little and keeps every channel's energy, of which the many small eigenvalues have a fair part together. What it
    takes over the factor need not tell, so that is found anew without it, a few times (iterated principal factors; Harman 1976, "Modern
    Factor Analysis", chapter 8).
    """
    G = G.cpu().double()
    diagonal = torch.zeros_like(G[0])
    for _ in range(PASSES):
        values, vectors = torch.linalg.eigh(G - diagonal.diag())  # from the smallest
        # column k: the diagonal of what is left out when the k + 1 smallest are
        rest = (vectors.square() * values).cumsum(dim=1)
        wrong = (values.square().cumsum(dim=0) - rest.square().sum(dim=0)).clamp_min(0).sqrt()
        first = min(int((wrong <= error * G.norm()).sum()), len(G) - 1)
        U = vectors[:, first:] * values[first:].clamp_min(0).sqrt()
        diagonal = G.diagonal() - U.square().sum(dim=1)
    U = U * U.gather(0, U.abs().argmax(dim=0, keepdim=True)).sign()  # an eigenvector has none of its own
    scale = U.abs().amax(dim=0).clamp_min(torch.finfo(torch.float32).tiny)  # the columns' range is more than float16 has
    factor = (U / scale).half()
    kept = factor.double() * scale.float().double()
    diagonal = G.diagonal() - kept.square().sum(dim=1)
    short = diagonal.half()
    remains = short if short.isfinite().all() else diagonal.float()
    return {f"{key}/factor": factor.contiguous(), f"{key}/scale": scale.float(), f"{key}/rest": remains}


# ------------------------------------------------------------------------------------------------------------------ reading


def read_card(path: str | os.PathLike[str]) -> Card:
    """What a style file says of itself. Raises StyleFileError."""
    with _opened(path) as (card, _):
        return card


def read_thumbnail(path: str | os.PathLike[str]) -> bytes | None:
    """The small JPEG of the painting in a style file, if it has one. Raises StyleFileError."""
    with _opened(path) as (_, content):
        return content.get_tensor("thumbnail").numpy().tobytes() if "thumbnail" in set(content.keys()) else None


def load(path: str | os.PathLike[str], encoder: Encoder, taps: tuple[str, ...]) -> Stored:
    """Read a style for an encoder, at some of its taps. Raises StyleFileError: not a style file, or made for something else."""
    name = files.printable(path)
    with _opened(path) as (card, content):
        _check_made_for(name, card, encoder, taps)
        found = {key: content.get_tensor(key) for key in set(content.keys()) - {"thumbnail"}}
    tensors = {COLOURS: _colours_of(name, found)}
    tensors |= {key: tensor for tap in taps for key, tensor in _tensors_of(name, card, tap, found)}
    return Stored(card, Path(path).stem, tensors, encoder, taps)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[Card, Any]]:
    """A style file's card and its safetensors. Raises StyleFileError."""
    name, file = files.printable(path), Path(path)
    try:
        if file.is_dir():
            raise StyleFileError(f"{name} is a directory, not a style file")
        if not stat.S_ISREG(file.stat().st_mode):  # opening a pipe would wait for ever
            raise StyleFileError(f"{name} is not a regular file")
        if not file.stat().st_size:
            raise StyleFileError(f"{name} is empty, not a style file")
        with safe_open(file, framework="pt") as content:
            yield _card(name, (content.metadata() or {}).get(CARD)), content
    except (OSError, ValueError) as error:
        if isinstance(error, StyleFileError):
            raise
        raise StyleFileError(f"style file {name}: {files.reason(error)}") from error
    except SafetensorError as error:
        raise StyleFileError(f"{name} is not a style file, or is cut short: {files.one_line(str(error))}") from error


def _card(name: str, words: str | None) -> Card:
    """Read a card. words: its JSON."""
    if words is None:
        raise StyleFileError(f"{name} is safetensors, but not a style; `impasto style make PAINTING -o FILE` makes one")
    try:
        found = json.loads(words)
        number = found.get("format") if isinstance(found, dict) else None
        if isinstance(number, int) and number != FORMAT:
            raise StyleFileError(
                f"{name} is a style file of format {number}, made by impasto {files.one_line(str(found.get('impasto')))}; "
                f"impasto {__version__} reads format {FORMAT}: make it anew from its painting with `impasto style make`"
            )
        return _CARDS.validate_json(words)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise StyleFileError(
            f"{name} is a style file whose card is damaged: {where}: {files.one_line(first['msg'])}"
        ) from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise StyleFileError(f"{name} is a style file whose card is damaged") from error


def _check_made_for(name: str, card: Card, encoder: Encoder, taps: tuple[str, ...]) -> None:
    """Raise StyleFileError if the file's targets are not those of this encoder, seen through the same pooling and padding."""
    made, wanted = (
        f"{files.one_line(x.name if isinstance(x, Encoder) else x.encoder)} with {x.pooling} pooling and {x.padding} padding"
        for x in (card, encoder)
    )
    flags = f"--encoder {encoder.name} --pooling {encoder.pooling} --padding {encoder.padding}"
    remedy = f"use the painting itself, or make one with `impasto style make PAINTING {flags}`"
    if made != wanted:
        raise StyleFileError(f"{name} was made for {made}, not for {wanted}; {remedy}")
    if card.digest != encoder.digest:
        raise StyleFileError(f"{name} was made for other weights of {encoder.name} than these; {remedy}")
    missing = [tap for tap in taps if tap not in card.taps]
    if missing:
        raise StyleFileError(
            f"{name} has no {missing[0]}, only {', '.join(card.taps)}; use the painting itself, or other --taps"
        )


def _colours_of(name: str, found: Mapping[str, Tensor]) -> Tensor:
    """The quantiles in the file, checked: of the right shape, finite."""
    Q = found.get(COLOURS)
    if Q is None or Q.shape != (len(DIRECTIONS), QUANTILES) or not (Q.is_floating_point() and bool(Q.isfinite().all())):
        raise StyleFileError(f"{name} is damaged: it has not the colours it should")
    return Q


def _tensors_of(name: str, card: Card, tap: str, found: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """What the file has for a tap, checked: on every rung, of the right shapes, finite, of the same number of channels."""
    channels = set()
    for number in card.rungs:
        key = f"{number}/{tap}"
        keys = (key,) if key in found else (f"{key}/factor", f"{key}/scale", f"{key}/rest")
        tensors = [found.get(part) for part in keys]
        if any(tensor is None for tensor in tensors):
            raise StyleFileError(f"{name} is damaged: it has no {tap} for {rung(number)} pixels")
        parts = [tensor for tensor in tensors if tensor is not None]
        if not all(part.is_floating_point() and bool(part.isfinite().all()) for part in parts):
            raise StyleFileError(f"{name} is damaged: {tap} for {rung(number)} pixels is not of finite numbers")
        channels.add(_channels([tuple(part.shape) for part in parts]))
        yield from zip(keys, parts, strict=True)
    if len(channels) != 1 or channels == {0}:
        raise StyleFileError(f"{name} is damaged: {tap} has not the shape it should")


def _channels(shapes: Sequence[tuple[int, ...]]) -> int:
    """N of a Gram matrix stored in tensors of these shapes; 0 if they do not go together."""
    if len(shapes) == 1:
        N = _side(math.prod(shapes[0]))
        return N if shapes[0] == (N * (N + 1) // 2,) else 0
    factor, scale, rest = shapes
    return rest[0] if len(factor) == 2 and factor[1:] == scale and factor[:1] == rest else 0


def _side(count: int) -> int:
    """N of a triangle of N (N + 1) / 2 numbers."""
    return (math.isqrt(8 * count + 1) - 1) // 2


def _unpacked(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    """The Gram matrix under a key, NxN float32."""
    if key in tensors:
        N = _side(len(tensors[key]))
        row, column = torch.triu_indices(N, N)
        G = torch.empty(N, N)
        G[row, column] = G[column, row] = tensors[key]
        return G
    U = tensors[f"{key}/factor"].double() * tensors[f"{key}/scale"].double()
    return (U @ U.T + torch.diag(tensors[f"{key}/rest"].double())).float()
