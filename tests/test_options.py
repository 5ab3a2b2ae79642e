"""Options: one table of defaults, ranges, and one line for whatever is wrong. Their flags are tested in tests/cli/test_flags.py."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from pydantic import ValidationError

import impasto
from impasto.catalog import DEFAULTS, OPTIONS, defaults, help_of
from impasto.errors import ImpastoError, OptionError
from impasto.options import Options

FIELDS = Options.model_fields
PLACES = [(method, encoder) for method in ("impasto", "gatys") for encoder in ("auto", "lite", "vgg16", "vgg19")]


def kinds(name: str) -> set[Any]:
    """The types an option may have, unions taken apart."""
    annotation = FIELDS[name].annotation
    return {annotation} if get_origin(annotation) in (None, tuple, Literal) else set(get_args(annotation))


def numeric(name: str) -> bool:
    return any(kind in (int, float) or get_args(kind)[:1] == (int,) for kind in kinds(name))


# -------------------------------------------------------------------------------------------------------------- defaults


def test_the_table_names_options_and_its_first_row_holds_always_and_completely() -> None:
    assert DEFAULTS[0][0] == {}
    for place, values in DEFAULTS:
        assert set(values) <= set(DEFAULTS[0][1]) <= set(FIELDS)
        assert set(place) <= {"method", "encoder", "quality"}
        assert all(choice in get_args(FIELDS[name].annotation) for name, choice in place.items())
    assert all(option.group in ("Image", "Look", "Method", "Machine") for option in OPTIONS.values())
    assert all(option.about and help_of(name).count("[default:") <= 1 for name, option in OPTIONS.items())


def test_the_catalog_lists_the_options_with_their_types() -> None:
    types = get_type_hints(Options)
    assert list(OPTIONS) == list(FIELDS)
    for name, option in OPTIONS.items():
        assert types[name] in (option.kind, option.kind | None), name
        assert FIELDS[name].description == help_of(name)


@pytest.mark.parametrize(("method", "encoder"), PLACES)
def test_what_is_not_given_comes_from_the_table_and_is_allowed(method: str, encoder: str) -> None:
    options, table = Options(method=method, encoder=encoder), defaults(method, encoder)
    dumped = options.model_dump()
    assert {name: dumped[name] for name in table} == table
    # what the table does not name is the same everywhere
    same = {"method": method, "encoder": encoder, "max_memory": None, "quality": "normal", "blend": (), "init_size": None}
    assert {name: dumped[name] for name in set(FIELDS) - set(table)} == same
    assert Options(**dumped) == options  # pydantic does not check defaults itself


def test_gatys_is_as_published() -> None:
    """Gatys, Ecker and Bethge 2016: section 2.3 (average pooling), 3 (L-BFGS, white noise, layers, alpha/beta = 1e-3)."""
    options = Options(method="gatys", encoder="vgg19")
    assert options.content_weight / options.style_weight == 1e-3
    assert options.content_taps == ("relu4_2",)
    assert options.style_taps == tuple(f"relu{block}_1" for block in range(1, 6))
    assert (options.pooling, options.padding, options.init, options.precision) == ("average", "zero", "noise", "fp32")
    assert options.palette_weight == options.tv_weight == 0
    assert defaults("gatys") == defaults("gatys", "vgg19") == defaults("gatys", "vgg16")
    assert defaults("impasto") == defaults("impasto", "lite")


def test_defaults_agree_with_other_rooms() -> None:
    from impasto.encoders import Lite
    from impasto.pictures import DEFAULT_MAX_PIXELS
    from impasto.terms import METHODS

    for method in METHODS:
        options = Options(method=method, encoder="lite")
        assert {*options.content_taps, *options.style_taps} <= set(Lite.known)
    assert Options().max_pixels == DEFAULT_MAX_PIXELS
    assert set(METHODS) == set(get_args(FIELDS["method"].annotation))


# ----------------------------------------------------------------------------------------------------- values and changes


def test_options_are_values() -> None:
    options = Options(size=300)
    with pytest.raises(ValidationError, match="frozen"):
        options.size = 301
    assert options == Options(size=300) != Options(size=301)
    assert hash(options) == hash(Options(size=300))


def test_changed_follows_the_new_methods_defaults_where_nothing_was_given() -> None:
    given = Options(style_weight=7, seed=3)
    gatys = given.changed(method="gatys", encoder="vgg19")
    assert (gatys.style_weight, gatys.seed) == (7, 3)
    assert (gatys.iterations, gatys.content_taps, gatys.init) == (500, ("relu4_2",), "noise")
    assert gatys.model_fields_set == {"style_weight", "seed", "method", "encoder"}
    assert given.changed(method="gatys").changed(method="impasto") == given.changed() == given
    assert given.changed().model_fields_set == {"style_weight", "seed"}
    assert Options(init="content").changed(method="gatys").init == "content"  # a default that was given
    with pytest.raises(OptionError, match="size must be from 16"):
        given.changed(size=3)


def test_the_quality_sets_the_steps_and_what_is_given_wins() -> None:
    draft, normal, best = (Options(quality=quality).iterations for quality in ("draft", "normal", "best"))
    assert draft < normal < best
    assert Options(quality="draft", iterations=7).iterations == 7
    assert Options(quality="best").changed(quality="draft").iterations == draft


@pytest.mark.parametrize("given", ["relu2_1,relu1_1", " relu2_1 , relu1_1 ", ["relu2_1", "relu1_1"], ("relu2_1,relu1_1",)])
def test_taps_are_written_with_commas_or_as_a_sequence(given: Any) -> None:
    options = Options(content_taps=given, style_taps=given)
    assert options.content_taps == options.style_taps == ("relu2_1", "relu1_1")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"method": "gatys", "size": "original", "style_taps": "relu1_1,relu4_1"},
        {"quality": "draft", "blend": (0.7, 0.3), "strength": 0.25, "keep_colors": "luma", "init_size": 64},
    ],
)
def test_options_survive_the_json_inside_an_image(given: dict[str, Any]) -> None:
    options = Options(**given)
    assert Options(**json.loads(json.dumps(options.model_dump(mode="json")))) == options


@pytest.mark.parametrize(
    ("words", "size"),
    [("2GB", 2_000_000_000), ("800mb", 800_000_000), ("1.5 GiB", 3 * 2**29), ("64kb", 64_000), ("1TiB", 2**40), (None, None)],
)
def test_amounts_of_memory(words: str | None, size: int | None) -> None:
    assert Options(max_memory=words).memory_limit == size


# ---------------------------------------------------------------------------------------------------------------- refused

RANGES: dict[str, tuple[float, float | None]] = {
    "size": (16, 65535),
    "init_size": (16, 65535),
    "iterations": (1, 100_000),
    "content_weight": (0, 1e12),
    "style_weight": (0, 1e12),
    "palette_weight": (0, 1e12),
    "tv_weight": (0, 1e12),
    "strength": (0, 1.0),
    "style_scale": (0.25, 4.0),
    "seed": (0, 2**63 - 1),
    "max_pixels": (1, None),
}


@pytest.mark.parametrize("name", [name for name in FIELDS if numeric(name)])
def test_numbers_keep_their_ranges_and_are_numbers(name: str) -> None:
    lowest, highest = RANGES[name]
    for end in (lowest, highest):
        assert end is None or getattr(Options(**{name: end}), name) == end
    beyond = [] if highest is None else [highest + (1 if isinstance(highest, int) else 1e6), math.inf]
    for value in (lowest - 1, -math.inf, *beyond, math.nan, "nan", "-nan", "many", ""):
        with pytest.raises(OptionError, match=f"^{name} must "):
            Options(**{name: value})
    if isinstance(lowest, int) and isinstance(highest or 1, int):
        for value in (17.5, "17.5", "1e3", [17]):
            with pytest.raises(OptionError, match=f"^{name} must be a whole number"):
                Options(**{name: value})


@pytest.mark.parametrize("name", FIELDS)
def test_a_value_of_no_sensible_type_is_an_option_error_of_one_line(name: str) -> None:
    for value in (5j, object(), {"a": 1}, b"\xff", [[]], [None]):
        with pytest.raises(OptionError) as caught:
            Options(**{name: value})
        assert str(caught.value).startswith(name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [5, None, True, (), "", ",", ["relu1_1", ""], "relu1_1,relu1_1", ["relu1_1", 3]], ids=str)
def test_taps_that_are_none(value: object) -> None:
    with pytest.raises(OptionError, match=r"^content_taps must "):
        Options(content_taps=value)


@pytest.mark.parametrize("words", ["", "2", "GB", "-1GB", "1e3MB", "2 G", "inf GB", "2GB or so"])
def test_what_is_no_amount_of_memory_is_refused(words: str) -> None:
    with pytest.raises(OptionError, match=r"^max_memory must be a size such as 2GB, 1.5GiB or 800MB, not "):
        Options(max_memory=words)


MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({"size": 3}, "size must be from 16 to 65535, or 'original', not 3"),
    ({"size": "huge"}, "size must be a whole number of pixels, or 'original', not 'huge'"),
    ({"iterations": 0, "seed": -1}, "iterations must be at least 1, not 0"),  # the first of several
    ({"iterations": 100_001}, "iterations must be at most 100000, not 100001"),
    ({"style_weight": 1e12 + 1e6}, r"style_weight must be at most 1e\+12, not .*"),
    ({"tv_weight": -0.5}, "tv_weight must be at least 0, not -0.5"),
    ({"tv_weight": math.nan}, "tv_weight must be a finite number, not nan"),
    ({"seed": 2**63}, "seed must be less than .*, not 9223372036854775808"),
    ({"method": "gattys"}, r"method must be 'impasto' or 'gatys' \(did you mean 'gatys'\?\), not 'gattys'"),
    ({"device": "gpu"}, "device must be 'auto', 'cpu', 'cuda' or 'mps'.*, not 'gpu'"),
    ({"style_taps": ""}, "style_taps must name at least one tap, such as relu4_1.*"),
    ({"content_taps": "relu1_1,relu1_1"}, "content_taps must name each tap once, not 'relu1_1,relu1_1'"),
    ({"blend": (0, 0)}, r"blend must have a number above 0, not \(0, 0\)"),
    ({"blend": (-1, 2)}, "blend must be at least 0, not .*"),
    ({"stlye_weight": 3}, r"unknown option 'stlye_weight'; did you mean style_weight\?"),
    ({"x": 3}, "unknown option 'x'"),
    (
        {"content_weight": 0, "style_weight": 0, "palette_weight": 0},
        "the weights of content, style and palette are all 0; raise content_weight, style_weight or palette_weight",
    ),
]


@pytest.mark.parametrize(("given", "message"), MESSAGES, ids=[str(row[0]) for row in MESSAGES])
def test_what_is_wrong_is_said_in_one_line_by_every_front_door(given: dict[str, Any], message: str) -> None:
    for front_door in (Options, Options().changed, impasto.Stylizer):
        with pytest.raises(OptionError) as caught:
            front_door(**given)
        assert isinstance(caught.value, ImpastoError)
        assert re.fullmatch(message, str(caught.value)), str(caught.value)
