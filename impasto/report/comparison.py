"""Results laid beside the photograph and the painting they were made from, whoever made them, brought to one size and measured.

`lay_out` reads the pictures and settles the sizes, `Sheet.measured` yields one Result after the other, a Comparison holds them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from impasto import devices, encoders, pictures, weights
from impasto.encoders import Encoder
from impasto.errors import ImpastoError, OptionError, PictureError
from impasto.files import printable
from impasto.pictures import Picture
from impasto.pictures import Source as PictureLike
from impasto.report.metrics import Measures, measure

Size = tuple[int, int]  # (height, width) in pixels
JudgeName = Literal["lite", "vgg16", "vgg19"]

STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_TAP = "relu4_2"  # Gatys et al. 2016
CONTENT_TAP_OF_LITE = "relu4_1"  # it has no relu4_2
LONGEST = 1024  # longer side in pixels that results are compared at, unless asked otherwise: seconds, not minutes
LEAST = 16  # pixels a side that relu5_1 needs
SAME_SHAPE = 0.01  # relative difference of aspect that is put down to rounding


@dataclass(frozen=True)
class Judge:
    """A network that pictures are measured through, and where: content_tap and style_taps are taps of the encoder."""

    encoder: Encoder
    content_tap: str
    style_taps: tuple[str, ...]

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.encoder.name


def find_judge(name: str = "lite", *, file: Path | None = None, device: str = "auto") -> Judge:
    """The judge called `name` ("lite", "vgg16", "vgg19"), from the weights on this machine, or from `file`, always in float32.

    It sees as it was trained: max pooling, and zero padding (lite: replicate). A file that ends early judges by the taps it reaches,
    and by the deepest of them for content. Raises MissingWeightsError, WeightsFileError, UnknownNameError, OptionError.
    """
    found = weights.load(file, network=name) if file else weights.load(name)
    chosen = devices.choose(device)
    style = tuple(tap for tap in STYLE_TAPS if tap.replace("relu", "conv") in found.convolutions)
    content = CONTENT_TAP_OF_LITE if found.network == "lite" else CONTENT_TAP
    if content.replace("relu", "conv") not in found.convolutions:
        content = style[-1]
    padding: encoders.Padding = "replicate" if found.network == "lite" else "zero"
    encoder = encoders.build(found, {content, *style}, pooling="max", padding=padding)
    return Judge(encoder.prepare(chosen, devices.encoder_dtype("fp32", chosen)), content, style)


@dataclass(frozen=True)
class Candidate:
    """A result that can be compared.

    pixels: 1x3xHxW, over white where it was transparent. part: the (height, width) of the photograph that it shows, in the
    photograph's pixels, taken at the centre; whole: whether that is all of it. size: the (height, width) it is measured at.
    settings: what impasto stored in the file, None for anybody else's. notes: what was done to it, in words.
    """

    name: str
    pixels: Tensor
    part: Size
    whole: bool
    size: Size
    settings: Mapping[str, object] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """A measured candidate. same_network: it is known to have been optimised through the network that judges it."""

    candidate: Candidate
    measures: Measures
    same_network: bool

    @property
    def name(self) -> str:
        """What it is called in the comparison."""
        return self.candidate.name

    @property
    def seconds(self) -> float | None:
        """How long impasto took, from the file; None where nobody knows."""
        taken = (self.candidate.settings or {}).get("seconds")
        return float(taken) if isinstance(taken, (int, float)) and math.isfinite(taken) else None


@dataclass(frozen=True)
class Sheet:
    """Pictures ready to be measured, all brought to the scale of one size.

    photo, painting: 1x3xHxW over white. size: (height, width) the photograph is compared at. refused: {name: why} of results that
    could not be read. notes: words on photograph and painting.
    """

    photo: Tensor
    painting: Tensor
    size: Size
    candidates: tuple[Candidate, ...]
    refused: Mapping[str, str]
    notes: tuple[str, ...]

    def measured(self, judge: Judge) -> Iterator[Result]:
        """Measure one candidate after the other. Raises UsageError without scikit-image, MemoryLimitError."""
        for candidate in self.candidates:
            photo = pictures.resize(_centre(self.photo, candidate.part), candidate.size)
            pixels = pictures.resize(candidate.pixels, candidate.size)
            with devices.clear_memory_errors(f"measuring {candidate.name} at {_by(candidate.size)} pixels"):
                found = measure(
                    pixels, photo, self.painting, judge.encoder, content_tap=judge.content_tap, style_taps=judge.style_taps
                )
            yield Result(candidate, found, same_network=(candidate.settings or {}).get("encoder") == judge.name)


@dataclass(frozen=True)
class Comparison:
    """A sheet and all its results, by one judge."""

    sheet: Sheet
    judge: Judge
    results: tuple[Result, ...]

    def numbers(self) -> dict[str, Any]:
        """Everything measured, as JSON can hold it; the report shows the same numbers."""
        return {
            "judge": self.judge.name,
            "content_tap": self.judge.content_tap,
            "style_taps": list(self.judge.style_taps),
            "size": list(self.sheet.size[::-1]),
            "results": [_numbers(result) for result in self.results],
            "refused": dict(self.sheet.refused),
            "notes": list(self.sheet.notes),
        }


def _numbers(result: Result) -> dict[str, Any]:
    candidate, measures = result.candidate, asdict(result.measures)
    del measures["judge"]
    height, width = candidate.pixels.shape[-2:]
    return {
        "name": result.name,
        "width": width,
        "height": height,
        "measured_at": list(candidate.size[::-1]),
        **measures,
        "same_network": result.same_network,
        "seconds": result.seconds,
        "settings": candidate.settings,
        "notes": list(candidate.notes),
    }


# ------------------------------------------------------------------------------------------------------------------ laying out


def lay_out(
    photo: PictureLike,
    painting: PictureLike,
    results: Mapping[str, PictureLike],
    *,
    size: int | None = None,
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
) -> Sheet:
    """Read all pictures and settle at which sizes they are compared.

    results: {name: picture}. size: longer side of the whole photograph to compare at; by default as in the smallest result, at most
    LONGEST, so that no result is enlarged. A result of another shape is taken for the photograph's centre, as services crop.
    Raises PictureError if the photograph, the painting or every result is unusable, OptionError for no results or a size below 16.
    """
    if not results:
        raise OptionError("at least one result is needed to compare")
    if size is not None and size < LEAST:
        raise OptionError(f"size must be at least {LEAST}, not {size}")
    original, style = (
        pictures.load(source, max_pixels=max_pixels, role=role)
        for source, role in ((photo, "photograph"), (painting, "style picture"))
    )
    loaded, refused = _read(results, max_pixels)
    longer = size or min(LONGEST, *(_longer_in(picture.size, original.size) for picture in loaded.values()))
    grid = pictures.fit(original.size, max(longer, _least_longer(original.size)))
    return Sheet(
        photo=_over_white(original),
        painting=_over_white(style),
        size=grid,
        candidates=tuple(_candidate(name, results[name], picture, original.size, grid) for name, picture in loaded.items()),
        refused=refused,
        notes=tuple(
            _without_folders(note, source)
            for picture, source in ((original, photo), (style, painting))
            for note in picture.notes
        ),
    )


def _read(results: Mapping[str, PictureLike], max_pixels: int) -> tuple[dict[str, Picture], dict[str, str]]:
    """The results that can be used, and {name: why} of the others. Raises PictureError if none can."""
    loaded: dict[str, Picture] = {}
    refused: dict[str, str] = {}
    for name, source in results.items():
        try:
            picture = pictures.load(source, max_pixels=max_pixels, role="result")
            _check_side(picture)
        except ImpastoError as error:
            refused[name] = _without_folders(str(error), source)
        else:
            loaded[name] = picture
    if not loaded:
        raise PictureError(next(iter(refused.values())))
    return loaded, refused


def _without_folders(words: str, source: PictureLike) -> str:
    """Words on a file without the folders it lies in: comparisons are passed on, and folders tell whose they are."""
    return words.replace(printable(source), printable(Path(source).name)) if isinstance(source, (str, Path)) else words


def _check_side(picture: Picture) -> None:
    if min(picture.size) < LEAST:
        raise PictureError(f"result is {_by(picture.size)} pixels; at least {LEAST}x{LEAST} can be measured")


def _candidate(name: str, source: PictureLike, picture: Picture, photo: Size, grid: Size) -> Candidate:
    part = shown_part(picture.size, photo)
    scale = max(grid) / max(photo)
    size = grid if part == photo else (max(LEAST, round(part[0] * scale)), max(LEAST, round(part[1] * scale)))
    notes = [
        note.removeprefix(f"{printable(source) if isinstance(source, (str, Path)) else 'result'} ") for note in picture.notes
    ]
    if part != photo:
        notes.append(f"has another shape than the photograph ({_by(picture.size)}): measured on the common centre crop")
    if picture.size != size:
        notes.append(f"was resized from {_by(picture.size)} to {_by(size)} for measuring")
    if picture.alpha is not None:
        notes.append("has transparent parts, which are measured as white")
    settings = pictures.read_settings(source) if isinstance(source, (str, Path)) else None
    return Candidate(name, _over_white(picture), part, part == photo, size, settings, tuple(notes))


def shown_part(result: Size, photo: Size) -> Size:
    """The (height, width), in the photograph's pixels, of what a result shows: all of it, or the largest centre of its own shape.

    Shapes that differ by a pixel or by SAME_SHAPE are the same: tools round sizes.
    """
    expected = pictures.fit(photo, max(result))
    if all(abs(a - b) <= max(1, SAME_SHAPE * b) for a, b in zip(result, expected, strict=True)):
        return photo
    scale = min(photo[0] / result[0], photo[1] / result[1])
    return max(1, round(result[0] * scale)), max(1, round(result[1] * scale))


def _longer_in(result: Size, photo: Size) -> int:
    """The longer side the whole photograph has at a result's scale, in pixels."""
    part = shown_part(result, photo)
    return round(max(photo) * max(result) / max(part))


def _least_longer(photo: Size) -> int:
    """The longer side at which the photograph's shorter one has LEAST pixels."""
    return math.ceil(LEAST * max(photo) / min(photo))


def _centre(pixels: Tensor, part: Size) -> Tensor:
    """The part of 1x3xHxW pixels around its centre."""
    (height, width), (h, w) = pixels.shape[-2:], part
    top, left = (height - h) // 2, (width - w) // 2
    return pixels[..., top : top + h, left : left + w]


def _over_white(picture: Picture) -> Tensor:
    if picture.alpha is None:
        return picture.pixels
    return picture.pixels * picture.alpha + (1 - picture.alpha)


def _by(size: Sequence[int]) -> str:
    """(384, 512) -> "512x384"."""
    return f"{size[1]}x{size[0]}"
