"""The HTML report: one file that holds its pictures, its style and its script, and asks the network for nothing.

Half of what it shows was written by strangers: names of files, and settings out of pictures. All of it goes through Jinja2's
escaping, as text or inside a quoted attribute, never into the script, which reads what it needs from attributes. The page's
policy lets nothing run and nothing style it but the two files beside the template, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from torch import Tensor

from impasto import pictures
from impasto.report.comparison import Comparison, Result, Size

LONGEST_SHOWN = 1600  # longer side in pixels of an embedded picture
MOST_COLUMNS = 5  # pictures side by side on a wide screen
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def render(comparison: Comparison, *, photo_name: str = "", painting_name: str = "") -> str:
    """The report as one HTML document, the same for the same comparison.

    photo_name, painting_name: what to call the two, as in "PHOTO in the style of PAINTING"; without either the title is a general one.
    Pictures are embedded anew as JPEGs of at most LONGEST_SHOWN pixels a side, so nothing else of their files gets in.
    """
    from jinja2 import Environment, StrictUndefined  # here, so that only a report needs it

    figures = _figures(comparison, photo_name, painting_name)
    css, script = _style(comparison, figures) + _template("page.css"), _template("page.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"by": _by, "digits": digits, "settings": _settings}
    page = environment.from_string(_template("page.html")).render(
        policy=_policy(css, script),
        css=css,
        script=script,
        photo_name=photo_name,
        painting_name=painting_name,
        judge=comparison.judge,
        sheet=comparison.sheet,
        results=comparison.results,
        figures=figures,
        before=_rows(BEFORE_TAPS, comparison),
        taps=_rows([_tap_measure(tap) for tap in comparison.judge.style_taps], comparison),
        after=_rows(AFTER_TAPS, comparison),
        notes=_notes(comparison),
        other_judge="vgg19" if comparison.judge.name == "vgg16" else "vgg16",
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # lone surrogates, out of file names or JSON, fit into no file


def _template(name: str) -> str:
    return (importlib.resources.files("impasto.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(css: str, script: str) -> str:
    return f"default-src 'none'; img-src data:; style-src {_hash(css)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


# --------------------------------------------------------------------------------------------------------------- the pictures


@dataclass(frozen=True)
class Figure:
    """A picture on the wall.

    size: (height, width) of the original. source: a data URI; width, height: its pixels. frame: (left, top, width, height) of
    what it shows of the photograph, in fractions of it. share: how much of a mat of the photograph's shape it fills across, 0..1.
    """

    kind: Literal["Photograph", "Painting", "Result"]
    name: str
    size: Size
    source: str
    width: int
    height: int
    frame: tuple[float, float, float, float]
    share: float
    result: Result | None = None

    @property
    def whole(self) -> bool:
        """Whether it shows all of the photograph. The painting counts: it is looked at by the same relative places."""
        return self.result is None or self.result.candidate.whole

    @property
    def called(self) -> str:
        """Kind and name, for where a word has to do for the picture."""
        return f"{self.kind} {self.name}".rstrip()


def _figures(comparison: Comparison, photo_name: str, painting_name: str) -> list[Figure]:
    photo = _size(comparison.sheet.photo)
    return [
        _figure("Photograph", photo_name, comparison.sheet.photo, photo),
        _figure("Painting", painting_name, comparison.sheet.painting, photo),
        *(_figure("Result", result.name, result.candidate.pixels, photo, result) for result in comparison.results),
    ]


def _figure(
    kind: Literal["Photograph", "Painting", "Result"], name: str, pixels: Tensor, photo: Size, result: Result | None = None
) -> Figure:
    height, width = shown = _shown_size(size := _size(pixels))
    data, _ = pictures.encode(pictures.to_image(pictures.resize(pixels, shown)), ".jpg")
    return Figure(
        kind=kind,
        name=name,
        size=size,
        source=f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}",
        width=width,
        height=height,
        frame=frame(result.candidate.part, photo) if result else (0, 0, 1, 1),
        share=min(1, size[1] * photo[0] / (size[0] * photo[1])),
        result=result,
    )


def frame(part: Size, photo: Size) -> tuple[float, float, float, float]:
    """(left, top, width, height), in fractions of the photograph, of a part at its centre as `Candidate` has it."""
    (height, width), (h, w) = photo, part
    return (width - w) // 2 / width, (height - h) // 2 / height, w / width, h / height


def _size(pixels: Tensor) -> Size:
    height, width = pixels.shape[-2:]
    return int(height), int(width)


def _shown_size(size: Size) -> Size:
    return size if max(size) <= LONGEST_SHOWN else pictures.fit(size, LONGEST_SHOWN)


def _style(comparison: Comparison, figures: Sequence[Figure]) -> str:
    """The rules that depend on the pictures; numbers only. Policy by hash rules out style attributes."""
    height, width = _size(comparison.sheet.photo)
    lines = math.ceil(len(figures) / MOST_COLUMNS)
    rules = [
        f":root {{ --ratio: {width / height:.5f}; --columns: {math.ceil(len(figures) / lines)};"
        f" --results: {len(comparison.results)}; }}",
        *(f"#picture-{n} {{ width: {100 * figure.share:.3f}%; }}" for n, figure in enumerate(figures) if figure.share < 1),
    ]
    return "\n".join(rules) + "\n"


# --------------------------------------------------------------------------------------------------------------- the measures


@dataclass(frozen=True)
class Measure:
    """A row of the table. rank: what the best result has least of. scale: what the bars are drawn against."""

    title: str
    meaning: str
    value: Callable[[Result], float | None]
    rank: Callable[[float], float] = abs
    scale: Literal["row", "one", "signed"] = "row"
    best: str = "best"


BEFORE_TAPS = (
    Measure(
        "Content",
        "How far the network finds the picture from what the photograph shows: 0 is the photograph, 1 is as far as a blank.",
        lambda result: result.measures.content,
    ),
    Measure(
        "Style",
        "How far its strokes, textures and colours are from the painting’s, on average over the layers: 0 is the painting,"
        " 1 is as far as a blank.",
        lambda result: result.measures.style_mean,
    ),
)
AFTER_TAPS = (
    Measure(
        "Moments",
        "How far the strength and the spread of each pattern the network knows are from the painting’s: 0 is the painting,"
        " and only results judged by the same network compare.",
        lambda result: result.measures.moments,
    ),
    Measure(
        "Structure",
        "How much of the photograph’s light and shade is still in its place, without any network: 1 is the photograph,"
        " 0 has nothing in common with it.",
        lambda result: result.measures.structure,
        rank=lambda value: -value,
        scale="one",
    ),
    Measure(
        "Palette",
        "How far its colours are from the painting’s, wherever in the picture they lie: 0 is the painting.",
        lambda result: result.measures.palette,
    ),
    Measure(
        "Grain",
        "How much more of the very finest detail it has than the painting, such as noise and grids: 0 is the painting,"
        " above 0 is grainier, below 0 is smoother.",
        lambda result: result.measures.grain,
        scale="signed",
    ),
    Measure(
        "Weave",
        "How much more of its very finest detail runs straight up or across than in photograph and painting, like the threads of a"
        " canvas or the grid of a network: 0 or less is good.",
        lambda result: result.measures.weave,
        rank=lambda value: value,
        scale="signed",
    ),
    Measure(
        "Seconds",
        "How long impasto took, where the file tells: fewer is faster, but neither machine nor size need be the same.",
        lambda result: result.seconds,
        best="fastest",
    ),
)
# What a layer looks at, by its block: in VGG-16 a neuron of these sees 3, 10, 24, 60 and 132 pixels across.
_LOOKS_AT = {
    "1": "single colours and edges",
    "2": "the finest marks",
    "3": "single strokes",
    "4": "groups of strokes",
    "5": "the largest shapes, which mean little without the other layers",
}


def _tap_measure(tap: str) -> Measure:
    looks_at = _LOOKS_AT.get(tap.removeprefix("relu")[:1], "one depth of the network")
    return Measure(tap, f"Style in {looks_at}: 0 is the painting.", lambda result: result.measures.style.get(tap))


@dataclass(frozen=True)
class Cell:
    """value: None where nobody knows it. bar: where it starts and how long it is, in percent of the cell's width."""

    value: float | None
    bar: tuple[float, float] | None = None
    best: bool = False


def _rows(measures: Iterable[Measure], comparison: Comparison) -> list[tuple[Measure, list[Cell]]]:
    """Each measure with a cell per result; a measure that no result has is left out."""
    rows = ((measure, [measure.value(result) for result in comparison.results]) for measure in measures)
    return [(measure, _cells(measure, values)) for measure, values in rows if any(value is not None for value in values)]


def _cells(measure: Measure, values: Sequence[float | None]) -> list[Cell]:
    known = [value for value in values if _known(value)]
    ranks = [measure.rank(value) for value in known]
    best = min(ranks) if len(known) > 1 and min(ranks) < max(ranks) else None
    return [
        Cell(value, _bar(measure, value, known), measure.rank(value) == best) if _known(value) else Cell(value)
        for value in values
    ]


def _bar(measure: Measure, value: float, known: Sequence[float]) -> tuple[float, float] | None:
    """Start and length in percent. known: all values of the row; one alone has nothing to be long against."""
    if measure.scale == "one":
        return 0, 100 * min(1, max(0, value))
    longest = max(map(abs, known))
    if len(known) == 1 or longest == 0:
        return None
    share = value / longest
    return (50 + 50 * min(0, share), 50 * abs(share)) if measure.scale == "signed" else (0, 100 * max(0, share))


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


# ------------------------------------------------------------------------------------------------------------------ the words


def digits(value: float, *, signed: bool = False) -> str:
    """Three significant digits, as one would write them: 0.0123, 1.50, 1,230, 1.23 × 10⁻⁷; signed: with a plus above 0."""
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


def _by(size: Size) -> str:
    return f"{size[1]}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{size[0]}"


def _settings(result: Result) -> list[tuple[str, str]]:
    return [(name, _written(value)) for name, value in (result.candidate.settings or {}).items()]


def _written(value: object) -> str:
    """Text as it stands, lists of text separated by commas, all else as JSON."""
    if value is None or isinstance(value, str):
        return value or "none"
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "nested too deeply to be shown"


def _notes(comparison: Comparison) -> list[tuple[str, str]]:
    """(of which result, or "", and the note)."""
    return [
        *(("", note) for note in comparison.sheet.notes),
        *((result.name, note) for result in comparison.results for note in result.candidate.notes),
    ]
