"""The HTML report: one file that contains its images, style and script, and loads nothing.

Names of files and settings stored in images are untrusted. Jinja2 escapes all of them, as text or inside a quoted attribute.
None goes into the script, which reads its data from attributes. The page's content security policy allows only our style and
our script, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeGuard

from torch import Tensor

from impasto import pictures
from impasto.ladder import Size
from impasto.report.comparison import Comparison, MeasuredResult
from impasto.report.metrics import size_of, size_text

MAX_EMBEDDED_SIDE = 1600  # pixels
MAX_COLUMNS = 5  # images side by side on a wide screen
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Kind: TypeAlias = Literal["Photograph", "Painting", "Result"]


def render(comparison: Comparison, *, photo_name: str = "", painting_name: str = "") -> str:
    """The report as one HTML document, the same for the same comparison.

    photo_name, painting_name: for the title "PHOTO in the style of PAINTING", which is a general one without either.
    Images are encoded again as JPEGs of at most MAX_EMBEDDED_SIDE pixels a side, so no metadata of their files is included.
    """
    from jinja2 import Environment, StrictUndefined  # here, so that only a report needs it

    figures = _figures(comparison, photo_name, painting_name)
    css, script = _layout_css(comparison, figures) + _template("page.css"), _template("page.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"size": _spaced, "number": format_number, "settings": _settings}
    page = environment.from_string(_template("page.html")).render(
        policy=_policy(css, script),
        css=css,
        script=script,
        photo_name=photo_name,
        painting_name=painting_name,
        judge=comparison.judge,
        images=comparison.images,
        results=comparison.results,
        figures=figures,
        network_rows=_rows(NETWORK_MEASURES, comparison),
        layer_rows=_rows([_layer_measure(tap) for tap in comparison.judge.style_taps], comparison),
        other_rows=_rows(OTHER_MEASURES, comparison),
        notes=_notes(comparison),
        other_judge="vgg19" if comparison.judge.name == "vgg16" else "vgg16",
    )
    return page.encode("utf-8", "replace").decode(
        "utf-8"
    )  # lone surrogates, from file names or JSON, cannot be written to a file


def _template(name: str) -> str:
    return (importlib.resources.files("impasto.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(css: str, script: str) -> str:
    return f"default-src 'none'; img-src data:; style-src {_hash(css)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


# ----------------------------------------------------------------------------------------------------------------- the images


@dataclass(frozen=True)
class Figure:
    """An image on the page.

    size: (height, width) of the original. source: a data URI; width, height: its size in pixels. frame: (left, top, width,
    height) of the part of the photograph that it shows, in fractions of the photograph. share: how much of the width of a box
    of the photograph's aspect it fills, 0..1.
    """

    kind: Kind
    name: str
    size: Size
    source: str
    width: int
    height: int
    frame: tuple[float, float, float, float]
    share: float
    result: MeasuredResult | None = None

    @property
    def cropped(self) -> bool:
        """Whether it shows a part of the photograph only. The painting does not count as cropped."""
        return self.result is not None and self.result.prepared.cropped

    @property
    def label(self) -> str:
        """Kind and name, where text stands for the image."""
        return f"{self.kind} {self.name}".rstrip()


def _figures(comparison: Comparison, photo_name: str, painting_name: str) -> list[Figure]:
    images = comparison.images
    photo = size_of(images.photo)
    return [
        _figure("Photograph", photo_name, images.photo, photo),
        _figure("Painting", painting_name, images.painting, photo),
        *(_figure("Result", result.name, result.prepared.pixels, photo, result) for result in comparison.results),
    ]


def _figure(kind: Kind, name: str, pixels: Tensor, photo: Size, result: MeasuredResult | None = None) -> Figure:
    size = size_of(pixels)
    height, width = embedded = size if max(size) <= MAX_EMBEDDED_SIDE else pictures.fit(size, MAX_EMBEDDED_SIDE)
    data, _ = pictures.encode(pictures.to_image(pictures.resize(pixels, embedded)), ".jpg")
    return Figure(
        kind=kind,
        name=name,
        size=size,
        source=f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}",
        width=width,
        height=height,
        frame=crop_frame(result.prepared.crop, photo) if result else (0, 0, 1, 1),
        share=min(1, size[1] * photo[0] / (size[0] * photo[1])),
        result=result,
    )


def crop_frame(crop: Size, photo: Size) -> tuple[float, float, float, float]:
    """(left, top, width, height) of a centered crop, in fractions of the photograph."""
    (height, width), (h, w) = photo, crop
    return (width - w) // 2 / width, (height - h) // 2 / height, w / width, h / height


def _layout_css(comparison: Comparison, figures: Sequence[Figure]) -> str:
    """The rules that depend on the images; numbers only. A policy by hashes forbids style attributes."""
    height, width = size_of(comparison.images.photo)
    lines = math.ceil(len(figures) / MAX_COLUMNS)
    rules = [
        f":root {{ --ratio: {width / height:.5f}; --columns: {math.ceil(len(figures) / lines)};"
        f" --results: {len(comparison.results)}; }}",
        *(f"#picture-{n} {{ width: {100 * figure.share:.3f}%; }}" for n, figure in enumerate(figures) if figure.share < 1),
    ]
    return "\n".join(rules) + "\n"


# --------------------------------------------------------------------------------------------------------------- the measures


@dataclass(frozen=True)
class MeasureRow:
    """A row of the table. rank: lowest for the best result. scale: what bars are relative to. best: the best result's mark."""

    title: str
    meaning: str
    value: Callable[[MeasuredResult], float | None]
    rank: Callable[[float], float] = abs
    scale: Literal["row", "one", "signed"] = "row"
    best: str = "best"


NETWORK_MEASURES = (
    MeasureRow(
        "Content",
        "Distance from the content of the photograph, by the network: 0 is the photograph, 1 is as far as a blank image.",
        lambda result: result.measures.content,
    ),
    MeasureRow(
        "Style",
        "Distance from the painting’s strokes, textures and colors, by the network, averaged over its layers:"
        " 0 is the painting, 1 is as far as a blank image.",
        lambda result: result.measures.style_mean,
    ),
)
OTHER_MEASURES = (
    MeasureRow(
        "Style, 3 sizes",
        "The mean of Style at full, half and quarter size: the smaller sizes show the network larger forms. The painting is"
        " near 0. Sizes that are too small for the network are left out.",
        lambda result: result.measures.style_sizes,
    ),
    MeasureRow(
        "Moments",
        "Distance of the mean and spread of the network’s features from the painting’s: 0 is the painting."
        " Compare only values by the same network.",
        lambda result: result.measures.moments,
    ),
    MeasureRow(
        "Structure",
        "Similarity of light and shade to the photograph’s, without a network: 1 is the photograph, 0 is unrelated.",
        lambda result: result.measures.structure,
        rank=lambda value: -value,
        scale="one",
    ),
    MeasureRow(
        "Palette",
        "Distance of the colors from the painting’s, wherever they are in the image: 0 is the painting.",
        lambda result: result.measures.palette,
    ),
    MeasureRow(
        "Grain",
        "Fine detail such as noise and grids, compared with the painting: 0 is the painting, above 0 is grainier,"
        " below 0 is smoother.",
        lambda result: result.measures.grain,
        scale="signed",
    ),
    MeasureRow(
        "Weave",
        "Fine horizontal and vertical lines that neither photograph nor painting has, like the threads of a canvas or the grid"
        " of a network: 0 or less is good.",
        lambda result: result.measures.weave,
        rank=lambda value: value,
        scale="signed",
    ),
    MeasureRow(
        "Seconds",
        "How long impasto took, if the file says so. Machines and sizes may differ.",
        lambda result: result.seconds,
        best="fastest",
    ),
)
# What a layer responds to, by its block: in VGG-16 a neuron of these sees 3, 10, 24, 60 and 132 pixels across.
LAYER_SUBJECTS = {
    "1": "single colors and edges",
    "2": "the finest marks",
    "3": "single strokes",
    "4": "groups of strokes",
    "5": "the largest shapes, which mean little without the other layers",
}


def _layer_measure(tap: str) -> MeasureRow:
    subject = LAYER_SUBJECTS.get(tap.removeprefix("relu")[:1], "one depth of the network")
    return MeasureRow(tap, f"Style in {subject}: 0 is the painting.", lambda result: result.measures.style.get(tap))


@dataclass(frozen=True)
class Cell:
    """value: None if it is not known. bar: where it starts and how long it is, in percent of the cell's width."""

    value: float | None
    bar: tuple[float, float] | None = None
    best: bool = False


def _rows(measures: Iterable[MeasureRow], comparison: Comparison) -> list[tuple[MeasureRow, list[Cell]]]:
    """Each measure with a cell per result, without the measures that no result has."""
    rows = ((measure, [measure.value(result) for result in comparison.results]) for measure in measures)
    return [(measure, _cells(measure, values)) for measure, values in rows if any(value is not None for value in values)]


def _cells(measure: MeasureRow, values: Sequence[float | None]) -> list[Cell]:
    known = [value for value in values if _known(value)]
    ranks = [measure.rank(value) for value in known]
    best = min(ranks) if len(known) > 1 and min(ranks) < max(ranks) else None
    return [
        Cell(value, _bar(measure, value, known), measure.rank(value) == best) if _known(value) else Cell(value)
        for value in values
    ]


def _bar(measure: MeasureRow, value: float, known: Sequence[float]) -> tuple[float, float] | None:
    """Start and length in percent, relative to the known values of the row; None where there is no other value."""
    if measure.scale == "one":
        return 0, 100 * min(1, max(0, value))
    longest = max(map(abs, known))
    if len(known) == 1 or longest == 0:
        return None
    share = value / longest
    return (50 + 50 * min(0, share), 50 * abs(share)) if measure.scale == "signed" else (0, 100 * max(0, share))


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


# ------------------------------------------------------------------------------------------------------------------- the text


def format_number(value: float, *, signed: bool = False) -> str:
    """Three significant digits: 0.0123, 1.50, 1,230, 1.23 × 10⁻⁷. signed: with a plus sign above 0."""
    if not math.isfinite(value):
        return "not a number"
    mantissa, _, exponent = f"{abs(value):.2e}".partition("e")
    power = int(exponent)
    if value == 0:
        return "0"
    sign = "−" if value < 0 else "+" if signed else ""
    if -5 < power < 6:
        return f"{sign}{float(mantissa + 'e' + exponent):,.{max(0, 2 - power)}f}"
    return f"{sign}{mantissa} × 10{str(power).translate(SUPERSCRIPTS)}"


def _spaced(size: Size) -> str:
    return size_text(size).replace("x", "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}")


def _settings(result: MeasuredResult) -> list[tuple[str, str]]:
    return [(name, _setting_text(value)) for name, value in (result.prepared.settings or {}).items()]


def _setting_text(value: object) -> str:
    """Text as it is, lists of text separated by commas, everything else as JSON."""
    if value is None or isinstance(value, str):
        return value or "none"
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "nested too deeply to be shown"


def _notes(comparison: Comparison) -> list[tuple[str, str]]:
    """(name of the result, or "" for the photograph and the painting, and the note)."""
    return [
        *(("", note) for note in comparison.images.notes),
        *((result.name, note) for result in comparison.results for note in result.prepared.notes),
    ]
