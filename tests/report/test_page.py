"""impasto.report.page: what the report shows, that untrusted text stays text, and that the page loads nothing."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import importlib.resources
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from report.made_up import center, comparison, judge, plain, ramp, result

from impasto.ladder import Size
from impasto.report.comparison import Comparison, MeasuredResult, visible_crop
from impasto.report.metrics import Measures
from impasto.report.page import MAX_EMBEDDED_SIDE, crop_frame, format_number, render

HOSTILE = "<img src=x onerror=alert(1)>.png"
NASTY = (HOSTILE, "\"'></script><script>alert(1)</script>", "{{ 7 * 7 }} ]]> <!-- &lt;b&gt;")
VOID = {"meta", "link", "img", "input", "rect", "line"}


class Page(HTMLParser):
    """A parsed page. tags: of all elements, in their order; texts: {tag: [text]} by the innermost element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} comes twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(attributes)) for tag, attributes in self.tags]

    @property
    def text(self) -> str:
        return " ".join(data for tag, texts in self.texts.items() if tag not in ("style", "script") for data in texts)


def images(page: Page) -> list[Image.Image]:
    found: list[Image.Image] = []
    for attributes in page.all("img"):
        if source := attributes.get("src"):
            assert source.startswith("data:image/jpeg;base64,")
            found.append(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2], validate=True))))
    return found


def without_images(page: str) -> str:
    return re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "data:", page)


def one() -> Comparison:
    return comparison(result("a.png", plain((0, 0, 1))))


def named(name: str, setting: str, value: object) -> Comparison:
    """A comparison with untrusted text everywhere it can occur."""
    kept = {"encoder": "lite", setting: value}
    return comparison(
        result(name, ramp(), settings=kept, notes=(f"{name} was odd",), same_network=True),
        result("plain.png", ramp(), seed=1),
        refused={f"{name} too": f"result {name}: no image"},
        notes=(f"{name} is animated",),
    )


def many(count: int = 12) -> Comparison:
    settings: dict[str, object] = {
        "method": "impasto",
        "encoder": "lite",
        "taps": ["relu1_1"],
        "seconds": 12.5,
        "weights": None,
    }
    return comparison(*(result(f"{n}.png", ramp(), seed=n, settings=settings if n % 2 else None) for n in range(count)))


# -------------------------------------------------------------------------------------------------------------- untrusted text


@pytest.mark.parametrize("word", NASTY)
def test_untrusted_text_does_not_change_the_markup(word: str) -> None:
    harmless = Page(render(named("name", "setting", "value"), photo_name="photo", painting_name="painting"))
    page = Page(render(named(word, word, word), photo_name=word, painting_name=word))
    assert page.shape == harmless.shape
    assert word in page.texts["dt"]
    assert word in page.texts["dd"]
    assert [attributes["alt"] for attributes in page.all("img")][:3] == [
        f"Photograph {word}",
        f"Painting {word}",
        f"Result {word}",
    ]
    assert page.texts["style"][0].partition("\n")[2] == harmless.texts["style"][0].partition("\n")[2]
    assert page.texts["script"] == harmless.texts["script"]


def test_settings_of_any_type_are_shown_as_text() -> None:
    deep: Any = "end"
    for _ in range(100_000):
        deep = [deep]
    settings = {"nested": {"<b>": [1, None, True]}, "taps": ["a", "<i>"], "none": None, "infinite": float("inf"), "deep": deep}
    page = Page(render(comparison(result("a.png", ramp(), settings=settings))))
    assert page.texts["dd"] == ['{"<b>": [1, null, true]}', "a, <i>", "none", "Infinity", "nested too deeply to be shown"]
    assert not page.all("b")[2:]
    assert not page.all("i")


def test_names_that_are_not_unicode_can_be_written() -> None:
    page = render(
        comparison(result("caf\udce9.png", ramp(), settings={"\ud800": "\udfff"})), photo_name="\udcff", painting_name="p"
    )
    assert "caf?.png" in page.encode("utf-8").decode("utf-8")


# -------------------------------------------------------------------------------------------------------------- self-contained


@pytest.mark.parametrize("made", [one, many])
def test_the_page_loads_nothing(made: Any) -> None:
    page = render(made(), photo_name="photo", painting_name="painting")
    own = without_images(page)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttp|innerHTML|eval\(", own)
    parsed = Page(page)
    for tag, attributes in parsed.tags:
        for name, value in attributes.items():
            assert not re.fullmatch("srcset|style|action|background|on.*", name), (tag, name)
            if name in ("src", "href"):
                assert str(value).startswith(("data:", "#")), (tag, name)
    assert len(parsed.all("script")) == len(parsed.all("style")) == 1
    assert len(own.encode()) < 200_000


def test_the_policy_allows_only_our_script_and_style() -> None:
    page = Page(render(one()))
    policy = next(str(meta["content"]) for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    for tag in ("script", "style"):
        [text] = page.texts[tag]
        assert rules[f"{tag}-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert [tag for tag, _ in page.tags].index("meta") < [tag for tag, _ in page.tags].index("style")


def test_the_same_comparison_gives_the_same_page() -> None:
    assert render(many(3), photo_name="a", painting_name="b") == render(many(3), photo_name="a", painting_name="b")


def test_each_image_is_encoded_once_without_metadata_and_not_too_large() -> None:
    photo, painting = ramp((8, MAX_EMBEDDED_SIDE + 100)), plain((0.2, 0.4, 0.8), (MAX_EMBEDDED_SIDE + 1, 16))
    page = render(comparison(result("a", ramp(), photo=(8, MAX_EMBEDDED_SIDE + 100)), photo=photo, painting=painting))
    first, second, third = images(Page(page))
    assert (first.size, second.size, third.size) == ((1600, 8), (16, 1600), (64, 48))
    assert page.count("data:image/jpeg;base64,") == 3
    for image in (first, second, third):
        assert image.format == "JPEG"
        assert not image.getexif()
    assert np.abs(np.asarray(second.convert("RGB"), float).mean((0, 1)) / 255 - (0.2, 0.4, 0.8)).max() < 0.01
    assert np.abs(np.asarray(third.convert("RGB"), float) / 255 - ramp()[0].permute(1, 2, 0).numpy()).max() < 0.05


# -------------------------------------------------------------------------------------------------------------- what it shows


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def test_every_number_is_shown_in_full_and_rounded() -> None:
    compared = comparison(
        result("a.png", ramp(), settings={"seconds": 32.9, "size": 512}),
        result("b.png", center(ramp(), (48, 48)), crop=(48, 48), seed=1),
        photo=ramp(),
    )
    page = Page(render(compared))
    shown = [float(str(data["value"])) for data in page.all("data")]
    found = compared.numbers()
    for one_result in found["results"]:
        sizes = [one_result.pop(name) for name in ("width", "height", "measured_at")]
        assert f"{sizes[0]}\xa0×\xa0{sizes[1]} pixels" in page.text
        assert "at {}\xa0×\xa0{}".format(*sizes[2]) in page.text
        settings = one_result.pop("settings") or {}
        assert [value for value in numbers(settings) if str(value) not in page.texts["dd"]] == []
        assert [value for value in numbers(one_result) if value not in shown] == []
    assert "at {}\xa0×\xa0{} pixels".format(*found["size"]) in page.text
    signed = {value for one in compared.results for value in (one.measures.grain, one.measures.weave)}
    assert page.texts["data"] == [format_number(value, signed=value in signed) for value in shown]


def rows(compared: Comparison) -> dict[str, list[bool]]:
    """{measure: whether each result is marked as the best}, parsed from the page."""
    found: dict[str, list[bool]] = {}
    for row in re.findall(r"<tr role=\"row\">(.*?)</tr>", render(compared), re.DOTALL)[1:]:
        title = re.search(r'class="title">(.*?)<', row)
        assert title
        found[title[1]] = ['class="mark"' in cell for cell in re.findall(r"<td(.*?)</td>", row, re.DOTALL)]
    return found


def measured(name: str, value: float, *, structure: float, grain: float, seconds: float | None = None) -> MeasuredResult:
    base = result(name, ramp(), settings=None if seconds is None else {"seconds": seconds})
    style = {f"relu{n}_1": value for n in range(1, 6)}
    found = Measures("lite", value, style, value, value, value, structure, value, grain, value)
    return MeasuredResult(base.prepared, found, same_network=False)


def test_the_best_of_each_row_is_marked() -> None:
    low = measured("low", 0.1, structure=0.2, grain=-0.3, seconds=5)
    high = measured("high", 0.9, structure=0.8, grain=0.1)
    middle = measured("middle", 0.5, structure=0.5, grain=0.2, seconds=4)
    marks = rows(comparison(low, high, middle))
    layers = [f"relu{n}_1" for n in range(1, 6)]
    for title in ("Content", "Style", *layers, "Style, 3 sizes", "Moments", "Palette", "Weave"):
        assert marks.pop(title) == [True, False, False], title
    assert marks == {"Structure": [False, True, False], "Grain": [False, True, False], "Seconds": [False, False, True]}


def test_no_mark_without_a_difference() -> None:
    alone = measured("a", 0.1, structure=0.2, grain=0.3, seconds=5)
    assert not any(map(any, rows(comparison(alone)).values()))
    assert not any(map(any, rows(comparison(alone, alone, alone)).values()))
    twins = rows(comparison(alone, alone, measured("b", 0.2, structure=0.1, grain=0.4)))
    assert twins.pop("Seconds") == [False, False, False]
    assert set(map(tuple, twins.values())) == {(True, True, False)}


def test_nan_is_never_the_best() -> None:
    broken = measured("a", float("nan"), structure=float("nan"), grain=float("nan"))
    page = render(comparison(broken, measured("b", 0.2, structure=0.1, grain=0.4), measured("c", 0.3, structure=0, grain=0.5)))
    assert page.count("not a number") == 13
    assert page.count('<b class="mark">') == 14  # including the one in the explanation


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1.00"),
        (0.123456, "0.123"),
        (0.99999, "1.00"),
        (0.000123456, "0.000123"),
        (0.0000123456, "1.23 × 10⁻⁵"),
        (32.94, "32.9"),
        (999.9, "1,000"),
        (1234.5, "1,230"),
        (987654.0, "988,000"),
        (1.5e12, "1.50 × 10¹²"),
        (-0.5, "−0.500"),
        (float("inf"), "not a number"),
    ],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert format_number(value) == text
    assert format_number(value, signed=True) == (f"+{text}" if 0 < value < float("inf") else text)


def test_the_length_of_bars() -> None:
    page = render(comparison(measured("a", 0.1, structure=0.25, grain=-0.2), measured("b", 0.4, structure=-0.5, grain=0.1)))
    bars = [
        [float(side) for side in re.findall(r"[\d.]+", bar)[:2]] for bar in re.findall(r'<rect x="[\d.]+" width="[\d.]+"', page)
    ]
    assert bars[:2] == [[0, 25], [0, 100]]  # content
    assert bars[-8:-6] == [[0, 25], [0, 0]]  # structure, on its own scale
    assert bars[-4:-2] == [[0, 50], [50, 25]]  # grain, from the middle


def test_captions_and_notes() -> None:
    settings = {"seconds": 12.34, "encoder": "lite"}
    compared = comparison(
        result("ours.png", ramp(), settings=settings, same_network=True),
        result("theirs.png", center(ramp(), (48, 36)), crop=(48, 36)),
        photo=ramp(),
        refused={"torn.png": "result torn.png: truncated or damaged"},
        notes=("photo.gif is animated",),
    )
    page = Page(render(compared, photo_name="photo", painting_name="painting"))
    assert page.texts["title"] == ["photo in the style of painting"]
    assert [attributes["alt"] for attributes in page.all("img")][:4] == [
        "Photograph photo",
        "Painting painting",
        "Result ours.png",
        "Result theirs.png, cropped to the center of the photograph",
    ]
    assert len(page.all("figure")) == 4
    assert page.texts["a"] == ["optimized with this network"]
    assert "64\xa0×\xa048 pixels, 12.3 s" in " ".join(page.texts["p"])
    assert "36\xa0×\xa048 of its pixels" in page.text
    for words in ("torn.png", "result torn.png: truncated or damaged", "photo.gif is animated", "measured with the network"):
        assert words in page.text
    assert [attributes["value"] for attributes in page.all("option")] == ["0", "2", "3"] * 2


def test_a_page_without_names_and_settings() -> None:
    page = Page(render(one()))
    assert page.texts["title"] == ["A photograph in the style of a painting"]
    assert "Seconds" not in page.text
    assert not page.all("dl")
    assert "1 result, measured" in page.text


def test_the_suggested_judge_is_another_one() -> None:
    assert "--judge vgg16" in render(one())
    encoder = copy.copy(judge().encoder)
    encoder.name = "vgg16"
    assert "--judge vgg19" in render(dataclasses.replace(one(), judge=dataclasses.replace(judge(), encoder=encoder)))


@pytest.mark.parametrize("photo", [(48, 64), (47, 63), (33, 64)])
@pytest.mark.parametrize("shape", [(32, 32), (60, 20), (31, 17)])
def test_the_frame_of_a_center_crop(photo: Size, shape: Size) -> None:
    height, width = photo
    crop = visible_crop(shape, photo)
    rows_, columns = np.mgrid[:height, :width].astype(np.float32)
    cut = center(torch.from_numpy(np.stack((rows_, columns, rows_)))[None], crop)[0].numpy()
    left, top, across, down = crop_frame(crop, photo)
    assert (left * width, top * height) == pytest.approx((cut[1].min(), cut[0].min()))
    assert ((left + across) * width, (top + down) * height) == pytest.approx((cut[1].max() + 1, cut[0].max() + 1))


# -------------------------------------------------------------------------------------------------------------- how it looks


def luminance(color: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2.2)."""
    r, g, b = (int(color[n : n + 2], 16) / 255 for n in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_and_bars_have_enough_contrast_in_light_and_dark() -> None:
    css = (importlib.resources.files("impasto.report") / "templates" / "page.css").read_text(encoding="utf-8")
    schemes = [dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in css.split("@media (prefers-color-scheme: dark)")[:2]]
    assert len(schemes) == 2
    for colors in schemes:
        for name, least in {"ink": 7, "soft": 4.5, "accent": 4.5, "bar": 3}.items():
            dark, light = sorted((luminance(colors[name]), luminance(colors["wall"])))
            assert (light + 0.05) / (dark + 0.05) >= least, name


def test_one_column_per_result() -> None:
    for count in (1, 12):
        page = render(many(count))
        assert f"--results: {count};" in page
        assert len(re.findall(r'role="columnheader"', page)) == count + 1
        assert len(re.findall(r'<td role="cell"', page)) == count * len(re.findall(r'role="rowheader"', page))


def test_images_are_shown_at_one_scale() -> None:
    tall, wide = center(ramp(), (48, 32)), center(ramp(), (24, 64))
    page = render(
        comparison(result("tall", tall, crop=(48, 32)), result("wide", wide, crop=(24, 64)), photo=ramp(), painting=ramp())
    )
    assert re.findall(r"#picture-(\d) { width: ([\d.]+)%", page) == [("2", "50.000")]
