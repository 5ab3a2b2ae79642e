"""Results, whoever made them, brought to the scale of their photograph and measured.

`prepare` reads the images and chooses the sizes, `PreparedImages.measure` measures one result after the other, and a Comparison
holds everything that a report shows.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from impasto import encoders, pictures, weights
from impasto.catalog import defaults
from impasto.compute import device as devices
from impasto.compute import memory, settings
from impasto.encoders import Encoder
from impasto.errors import ImpastoError, OptionError, PictureError
from impasto.files import printable
from impasto.ladder import Size
from impasto.pictures import Picture, Source
from impasto.report.metrics import Measures, fit_with_minimum, measure, size_of, size_text

DEFAULT_LONGER_SIDE = 1024  # pixels at most, unless a size is given: measuring then takes seconds
MIN_SIDE = 16  # pixels, for relu5_1
ASPECT_TOLERANCE = 0.01  # relative difference of two aspects that counts as rounding


@dataclass(frozen=True)
class JudgeNetwork:
    """A network that measures content and style. content_tap, style_taps: taps of the encoder."""

    encoder: Encoder
    content_tap: str
    style_taps: tuple[str, ...]

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.encoder.name


@settings.default_settings()
def load_judge(name: str = "lite", *, file: Path | None = None, device: str = "auto") -> JudgeNetwork:
    """Load the network `name` ("lite", "vgg16", "vgg19") in float32, from the weights on this machine or from `file`.

    It pools and pads as it was trained, and has the taps of the published method. Without the deeper layers in the file it uses
    the taps that are left, and the deepest of them for content. Raises MissingWeightsError, WeightsFileError, UnknownNameError,
    OptionError.
    """
    found = weights.load(file, network=name) if file else weights.load(name)
    chosen = devices.choose(device)
    published = defaults("gatys", found.network)
    style = tuple(tap for tap in published["style_taps"] if _has_tap(found, tap))
    (content,) = published["content_taps"]
    content = content if _has_tap(found, content) else style[-1]
    padding: encoders.Padding = "replicate" if found.network == "lite" else "zero"
    encoder = encoders.build(found, {content, *style}, pooling="max", padding=padding)
    return JudgeNetwork(encoder.prepare(chosen, devices.encoder_dtype("fp32", chosen)), content, style)


def _has_tap(found: weights.Weights, tap: str) -> bool:
    return tap.replace("relu", "conv") in found.convolutions


@dataclass(frozen=True)
class PreparedResult:
    """A result that was read.

    pixels: 1x3xHxW, over white where it was transparent. crop: the (height, width) of the centered part of the photograph that
    it shows, in the photograph's pixels. cropped: whether that is less than all of it. size: (height, width) when measuring.
    settings: what impasto stored in the file, None for other programs' files. notes: what was done to it.
    """

    name: str
    pixels: Tensor
    crop: Size
    cropped: bool
    size: Size
    settings: Mapping[str, object] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class MeasuredResult:
    """A result and its measures. same_network: whether it is known to have been optimized through the measuring network."""

    prepared: PreparedResult
    measures: Measures
    same_network: bool

    @property
    def name(self) -> str:
        """Its name in the comparison."""
        return self.prepared.name

    @property
    def seconds(self) -> float | None:
        """How long impasto took, from the file; None if it is not known."""
        taken = (self.prepared.settings or {}).get("seconds")
        return float(taken) if isinstance(taken, (int, float)) and math.isfinite(taken) else None

    def numbers(self) -> dict[str, Any]:
        """Everything known of it, as JSON can hold it."""
        measures = asdict(self.measures)
        del measures["judge"]
        height, width = size_of(self.prepared.pixels)
        return {
            "name": self.name,
            "width": width,
            "height": height,
            "measured_at": list(self.prepared.size[::-1]),
            **measures,
            "same_network": self.same_network,
            "seconds": self.seconds,
            "settings": self.prepared.settings,
            "notes": list(self.prepared.notes),
        }


@dataclass(frozen=True)
class PreparedImages:
    """A photograph, a painting and results, ready to be measured at one scale.

    photo, painting: 1x3xHxW over white. size: (height, width) of the photograph when measuring. refused: {name: reason} of the
    results that could not be read. notes: on the photograph and the painting.
    """

    photo: Tensor
    painting: Tensor
    size: Size
    results: tuple[PreparedResult, ...]
    refused: Mapping[str, str]
    notes: tuple[str, ...]

    def measure(self, judge: JudgeNetwork) -> Iterator[MeasuredResult]:
        """Measure one result after the other. Raises UsageError without scikit-image, MemoryLimitError."""
        return settings.each_step(self._measured(judge))

    def _measured(self, judge: JudgeNetwork) -> Generator[MeasuredResult, None, None]:
        for result in self.results:
            photo = pictures.resize(_center(self.photo, result.crop), result.size)
            pixels = pictures.resize(result.pixels, result.size)
            with memory.clear_errors(f"measuring {result.name} at {size_text(result.size)} pixels"):
                measures = measure(
                    pixels, photo, self.painting, judge.encoder, content_tap=judge.content_tap, style_taps=judge.style_taps
                )
            yield MeasuredResult(result, measures, same_network=(result.settings or {}).get("encoder") == judge.name)


@dataclass(frozen=True)
class Comparison:
    """Prepared images and their measures by one judge."""

    images: PreparedImages
    judge: JudgeNetwork
    results: tuple[MeasuredResult, ...]

    def numbers(self) -> dict[str, Any]:
        """Everything measured, as JSON can hold it. The report shows the same numbers."""
        return {
            "judge": self.judge.name,
            "content_tap": self.judge.content_tap,
            "style_taps": list(self.judge.style_taps),
            "size": list(self.images.size[::-1]),
            "results": [result.numbers() for result in self.results],
            "refused": dict(self.images.refused),
            "notes": list(self.images.notes),
        }


# ------------------------------------------------------------------------------------------------------------------ preparing


@settings.default_settings()
def prepare(
    photo: Source,
    painting: Source,
    results: Mapping[str, Source],
    *,
    size: int | None = None,
    max_pixels: int = pictures.DEFAULT_MAX_PIXELS,
) -> PreparedImages:
    """Read all images and choose the sizes at which they are measured.

    results: {name: image}. size: longer side of the whole photograph when measuring; by default that of the smallest result, at
    most 1024, so that no result is enlarged. A result of another aspect is taken for a crop of the photograph's center, as
    services make.
    Raises PictureError if the photograph, the painting or every result is unusable, OptionError for no results or a size
    below 16.
    """
    if not results:
        raise OptionError("at least one result is needed to compare")
    if size is not None and size < MIN_SIDE:
        raise OptionError(f"must be at least {MIN_SIDE}, not {size}", option="size")
    original, style = (
        pictures.load(source, max_pixels=max_pixels, role=role)
        for source, role in ((photo, "photograph"), (painting, "style image"))
    )
    loaded, refused = _read(results, max_pixels)
    longer = size or min(DEFAULT_LONGER_SIDE, *(_longer_side(picture.size, original.size) for picture in loaded.values()))
    whole = fit_with_minimum(original.size, longer, MIN_SIDE)
    return PreparedImages(
        photo=original.over(1),
        painting=style.over(1),
        size=whole,
        results=tuple(_prepare_result(name, results[name], one, original.size, whole) for name, one in loaded.items()),
        refused=refused,
        notes=tuple(
            _without_folders(note, source)
            for picture, source in ((original, photo), (style, painting))
            for note in picture.notes
        ),
    )


def _read(results: Mapping[str, Source], max_pixels: int) -> tuple[dict[str, Picture], dict[str, str]]:
    """The usable results, and {name: reason} of the others. Raises PictureError if none is usable."""
    loaded: dict[str, Picture] = {}
    refused: dict[str, str] = {}
    for name, source in results.items():
        try:
            picture = pictures.load(source, max_pixels=max_pixels, role="result")
            if min(picture.size) < MIN_SIDE:
                raise PictureError(f"result is {size_text(picture.size)} pixels; at least {MIN_SIDE}x{MIN_SIDE} are needed")
        except ImpastoError as error:
            refused[name] = _without_folders(str(error), source)
        else:
            loaded[name] = picture
    if not loaded:
        raise PictureError(next(iter(refused.values())))
    return loaded, refused


def _without_folders(text: str, source: Source) -> str:
    """Remove the folders of a file from a message: comparisons are shared, and a folder can contain a person's name."""
    return text.replace(printable(source), printable(Path(source).name)) if isinstance(source, (str, Path)) else text


def _prepare_result(name: str, source: Source, picture: Picture, photo: Size, whole: Size) -> PreparedResult:
    """photo: the photograph's size. whole: its size when measuring."""
    crop = visible_crop(picture.size, photo)
    scale = max(whole) / max(photo)
    size = whole if crop == photo else (max(MIN_SIDE, round(crop[0] * scale)), max(MIN_SIDE, round(crop[1] * scale)))
    notes = [
        note.removeprefix(f"{printable(source) if isinstance(source, (str, Path)) else 'result'} ") for note in picture.notes
    ]
    if crop != photo:
        notes.append(
            f"has another aspect ratio than the photograph ({size_text(picture.size)}): measured on the common center crop"
        )
    if picture.size != size:
        notes.append(f"was resized from {size_text(picture.size)} to {size_text(size)} for measuring")
    if picture.alpha is not None:
        notes.append("has transparent parts, which are measured as white")
    settings = pictures.read_settings(source) if isinstance(source, (str, Path)) else None
    return PreparedResult(name, picture.over(1), crop, crop != photo, size, settings, tuple(notes))


def visible_crop(result: Size, photo: Size) -> Size:
    """What a result shows, as (height, width) in the photograph's pixels: all of it, or its largest centered crop of that aspect.

    Sizes that differ by a pixel or by ASPECT_TOLERANCE count as the same aspect, because programs round sizes.
    """
    expected = pictures.fit(photo, max(result))
    if all(abs(a - b) <= max(1, ASPECT_TOLERANCE * b) for a, b in zip(result, expected, strict=True)):
        return photo
    scale = min(photo[0] / result[0], photo[1] / result[1])
    return max(1, round(result[0] * scale)), max(1, round(result[1] * scale))


def _longer_side(result: Size, photo: Size) -> int:
    """The longer side, in pixels, of the whole photograph at a result's scale."""
    return round(max(photo) * max(result) / max(visible_crop(result, photo)))


def _center(pixels: Tensor, crop: Size) -> Tensor:
    (height, width), (h, w) = size_of(pixels), crop
    top, left = (height - h) // 2, (width - w) // 2
    return pixels[..., top : top + h, left : left + w]
