"""Options: one table of defaults, ranges, one line for whatever is wrong, and flags that say the same."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import ValidationError
from rich.console import Console

from impasto.cli import main
from impasto.cli.commands import app
from impasto.errors import ImpastoError, OptionError
from impasto.options import DEFAULTS, Options, Output, defaults, explain

FIELDS = Options.model_fields
METHODS = ("impasto", "gatys")
ENCODERS = ("auto", "lite", "vgg16", "vgg19")
FLAGS = {name: f"--{name.replace('_', '-')}" for name in FIELDS}


def kinds(name: str) -> set[Any]:
    """The types an option may have, unions taken apart."""
    annotation = FIELDS[name].annotation
    return {annotation} if get_origin(annotation) in (None, tuple, Literal) else set(get_args(annotation))


NUMERIC = [name for name in FIELDS if kinds(name) & {int, float}]
WHOLE = [name for name in NUMERIC if float not in kinds(name)]


# -------------------------------------------------------------------------------------------------------------- defaults


def test_every_default_in_the_table_is_an_option_and_every_place_a_choice() -> None:
    for place, values in DEFAULTS:
        assert set(values) <= set(FIELDS)
        assert set(place) <= {"method", "encoder", "quality"}
        assert all(choice in get_args(FIELDS[name].annotation) for name, choice in place.items())


def test_the_first_row_of_the_table_holds_always_and_completely() -> None:
    assert DEFAULTS[0][0] == {}
    assert all(set(row) <= set(DEFAULTS[0][1]) for _, row in DEFAULTS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_what_is_not_given_comes_from_the_table(method: str, encoder: str) -> None:
    options = Options.create(method=method, encoder=encoder).model_dump()
    table = defaults(method, encoder)
    assert {name: options[name] for name in table} == table
    # what the table does not name is the same everywhere
    assert {name: options[name] for name in set(FIELDS) - set(table)} == {
        "method": method,
        "encoder": encoder,
        "weights": None,
        "max_memory": None,
        "quality": "normal",
        "blend": (),
        "content_mask": None,
        "style_mask": None,
        "mask": (),
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_defaults_are_allowed(method: str, encoder: str) -> None:
    """Pydantic does not look at defaults itself."""
    given = defaults(method, encoder)
    options = Options.create(method=method, encoder=encoder, **given)
    assert {name: getattr(options, name) for name in given} == given


def test_gatys_is_as_published() -> None:
    """Gatys, Ecker and Bethge 2016: section 2.3 (average pooling), 3 (L-BFGS, white noise, layers, alpha/beta = 1e-3)."""
    options = Options(method="gatys", encoder="vgg19")
    assert options.content_weight / options.style_weight == 1e-3
    assert options.content_taps == ("relu4_2",)
    assert options.style_taps == tuple(f"relu{block}_1" for block in range(1, 6))
    assert (options.pooling, options.padding, options.init, options.precision) == ("average", "zero", "noise", "fp32")
    assert options.palette_weight == 0
    assert options.tv_weight == 0


def test_gatys_before_the_encoder_is_known_is_gatys_with_vgg19() -> None:
    assert defaults("gatys") == defaults("gatys", "vgg19") == defaults("gatys", "vgg16")
    assert defaults("impasto") == defaults("impasto", "lite")


def test_lite_has_no_tap_that_it_lacks_by_default() -> None:
    from impasto.encoders import Lite

    for method in METHODS:
        options = Options.create(method=method, encoder="lite")
        assert {*options.content_taps, *options.style_taps} <= set(Lite.known)


def test_the_pixel_limit_is_that_of_the_pictures() -> None:
    from impasto.pictures import DEFAULT_MAX_PIXELS

    assert Options().max_pixels == DEFAULT_MAX_PIXELS


# ----------------------------------------------------------------------------------------------------- values and changes


@pytest.mark.parametrize("name", FIELDS)
def test_options_are_frozen(name: str) -> None:
    options = Options()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(options, name, getattr(options, name))


def test_options_with_the_same_values_are_equal_and_hash_alike() -> None:
    assert Options(size=300) == Options(size=300) != Options(size=301)
    assert hash(Options(size=300)) == hash(Options(size=300))


def test_changed_follows_the_new_methods_defaults_where_nothing_was_asked_for() -> None:
    asked = Options(style_weight=7, seed=3)
    gatys = asked.changed(method="gatys", encoder="vgg19")
    assert (gatys.style_weight, gatys.seed) == (7, 3)
    assert (gatys.iterations, gatys.content_taps, gatys.init) == (500, ("relu4_2",), "noise")
    assert gatys.model_fields_set == {"style_weight", "seed", "method", "encoder"}
    assert asked.method == "impasto"


def test_changed_keeps_a_default_that_was_asked_for() -> None:
    assert Options(init="content").changed(method="gatys").init == "content"
    assert Options().changed(method="gatys").init == "noise"
    assert Options(method="gatys").changed(init="content").changed(method="impasto").changed(method="gatys").init == "content"


def test_changed_back_and_forth_is_no_change() -> None:
    options = Options(size=100, seed=4)
    assert options.changed(method="gatys").changed(method="impasto") == options.changed(method="impasto") == options
    assert options.changed() == options
    assert options.changed().model_fields_set == {"size", "seed"}


def test_changed_checks_what_it_is_given() -> None:
    with pytest.raises(OptionError, match="size must be from 16"):
        Options().changed(size=3)
    with pytest.raises(OptionError, match="must not all be 0"):
        Options(style_weight=0, palette_weight=0).changed(content_weight=0)


@pytest.mark.parametrize(
    ("given", "taps"),
    [
        ("relu1_1", ("relu1_1",)),
        ("relu1_1,relu2_1", ("relu1_1", "relu2_1")),
        (" relu1_1 , relu2_1 ", ("relu1_1", "relu2_1")),
        (["relu1_1", "relu2_1,relu3_1"], ("relu1_1", "relu2_1", "relu3_1")),
        (("relu2_1", "relu1_1"), ("relu2_1", "relu1_1")),
    ],
)
@pytest.mark.parametrize("name", ["content_taps", "style_taps"])
def test_taps_are_written_with_commas_or_as_a_sequence(name: str, given: Any, taps: tuple[str, ...]) -> None:
    assert getattr(Options.create(**{name: given}), name) == taps


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"method": "gatys"},
        {"quality": "draft", "blend": (0.7, 0.3), "mask": ("sky.png=night.jpg", "face.png=keep"), "strength": 0.25},
        {"content_mask": "a.png", "style_mask": Path("b.png"), "keep_colors": "luma", "style_scale": 2},
        {"size": "original", "weights": Path("some") / "file.h5", "init": Path("start.png"), "style_taps": "relu1_1,relu4_1"},
    ],
)
def test_options_survive_the_json_inside_a_picture(given: dict[str, Any]) -> None:
    options = Options.create(**given)
    stored = json.loads(json.dumps(options.model_dump(mode="json")))
    again = Options.create(**stored)
    assert again.model_dump(mode="json") == options.model_dump(mode="json")
    assert Path(again.init) == Path(options.init)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"blend": (0, 0)}, "blend must have a number above 0"),
        ({"blend": (-1, 2)}, "blend must be at least 0"),
        ({"blend": (math.nan, 2)}, "blend must be"),
        ({"content_mask": "a.png"}, "content_mask and style_mask go together"),
        ({"style_mask": "a.png"}, "content_mask and style_mask go together"),
        ({"mask": ("a.png",)}, "mask must be MASK=STYLE or MASK=keep, not 'a.png'"),
        ({"mask": ("=a.png",)}, "mask must be MASK=STYLE"),
        ({"mask": ("a.png=",)}, "mask must be MASK=STYLE"),
        ({"mask": ("a=b",), "content_mask": "a", "style_mask": "b"}, "two ways to name regions"),
    ],
)
def test_masks_and_blends_that_say_nothing_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Options.create(**given)


def test_the_quality_sets_the_steps_and_what_is_given_wins() -> None:
    draft, normal, best = (Options.create(quality=quality).iterations for quality in ("draft", "normal", "best"))
    assert draft < normal < best
    assert Options.create(quality="draft", iterations=7).iterations == 7
    assert Options.create(quality="best").changed(quality="draft").iterations == draft


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("size", 16, 65535),
        ("iterations", 1, 100_000),
        ("content_weight", 0, 1e12),
        ("style_weight", 0, 1e12),
        ("palette_weight", 0, 1e12),
        ("tv_weight", 0, 1e12),
        ("strength", 0, 1.0),
        ("style_scale", 0.25, 4.0),
        ("seed", 0, 2**63 - 1),
        ("max_pixels", 1, None),
    ],
)
def test_ranges_hold_their_ends_and_nothing_beyond(name: str, lowest: float, highest: float | None) -> None:
    for end in (lowest, highest):
        assert end is None or getattr(Options.create(**{name: end}), name) == end
    beyond = [
        lowest - 1,
        -math.inf,
        *([] if highest is None else [highest + (1 if isinstance(highest, int) else 1e6), math.inf]),
    ]
    for value in beyond:
        with pytest.raises(OptionError, match=f"^{name} must "):
            Options.create(**{name: value})


def test_every_number_has_its_range_tested_above() -> None:
    (mark,) = (mark for mark in test_ranges_hold_their_ends_and_nothing_beyond.pytestmark)  # type: ignore[attr-defined]
    assert [row[0] for row in mark.args[1]] != []
    assert {row[0] for row in mark.args[1]} == set(NUMERIC)


@pytest.mark.parametrize("name", NUMERIC)
@pytest.mark.parametrize("value", [math.nan, "nan", "NaN", "-nan"])
def test_no_number_is_nan(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"^{name} must "):
        Options.create(**{name: value})


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [17.5, "17.5", "1e3", "many", "", None, [17]])
def test_whole_numbers_are_whole(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"^{name} must be a whole number"):
        Options.create(**{name: value})


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [5j, object(), {"a": 1}, b"\xff", [[]], [None]])
def test_a_value_of_no_sensible_type_is_an_option_error_of_one_line(name: str, value: object) -> None:
    with pytest.raises(OptionError) as caught:
        Options.create(**{name: value})
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["content_taps", "style_taps"])
@pytest.mark.parametrize("value", [5, None, True, 1.5, (), [], "", ",", ["relu1_1", ""], "relu1_1,relu1_1", ["relu1_1", 3]])
def test_taps_that_are_none(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=name):
        Options.create(**{name: value})


def test_the_front_door_takes_the_same_options() -> None:
    import impasto

    for wrong in ({"size": 3}, {"sise": 64}, {"style_weight": math.nan}, {"taps": "relu1_1"}):
        with pytest.raises(ImpastoError) as caught:
            impasto.Stylizer(**wrong)
        with pytest.raises(OptionError, match=f"^{re.escape(str(caught.value))}$"):
            Options.create(**wrong)


# --------------------------------------------------------------------------------------------------------------- messages

MESSAGES: list[tuple[dict[str, Any], str, str]] = [
    ({"size": 3}, "size must be from 16 to 65535, or 'original', not 3", "--size"),
    ({"size": "huge"}, "size must be a whole number.*, not 'huge'", "--size"),
    ({"size": 20.5}, "size must be a whole number.*, not 20.5", "--size"),
    ({"iterations": 0}, "iterations must be at least 1, not 0", "--iterations"),
    ({"iterations": 100_001}, "iterations must be at most 100000, not 100001", "--iterations"),
    ({"iterations": "few"}, "iterations must be a whole number, not 'few'", "--iterations"),
    ({"style_weight": -1}, "style_weight must be at least 0, not -1", "--style-weight"),
    ({"style_weight": 1e13}, r"style_weight must be at most 1e\+12, not 1e13|.*not 10000000000000.0", "--style-weight"),
    ({"content_weight": math.inf}, "content_weight must be (a finite number|at most .*), not inf", "--content-weight"),
    ({"tv_weight": math.nan}, "tv_weight must be a finite number, not nan", "--tv-weight"),
    ({"tv_weight": "some"}, "tv_weight must be a number, not 'some'", "--tv-weight"),
    ({"seed": 2**63}, "seed must be (less than|at most) .*, not 9223372036854775808", "--seed"),
    ({"method": "gattys"}, r"method must be 'impasto' or 'gatys' \(did you mean 'gatys'\?\), not 'gattys'", "--method"),
    ({"encoder": "vgg91"}, r"encoder must be .* \(did you mean 'vgg19'\?\), not 'vgg91'", "--encoder"),
    ({"device": "gpu"}, "device must be 'auto', 'cpu', 'cuda' or 'mps'.*, not 'gpu'", "--device"),
    ({"pooling": "median"}, "pooling must be 'average' or 'max', not 'median'", "--pooling"),
    ({"style_taps": ""}, "style_taps must name at least one tap, such as relu4_1.*", "--style-taps"),
    ({"content_taps": "relu1_1,relu1_1"}, "content_taps must name each tap once, not .*relu1_1,relu1_1.*", "--content-taps"),
    ({"stlye_weight": 3}, r"unknown option stlye_weight(; | \()did you mean style_weight\?\)?", "--stlye-weight"),
    ({"x": 3}, "unknown option x", "--x"),
    (
        {"content_weight": 0, "style_weight": 0, "palette_weight": 0},
        "content_weight, style_weight and palette_weight must not all be 0",
        "--content-weight",
    ),
]


def mistake(given: dict[str, Any]) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Options(**given)
    return caught.value


@pytest.mark.parametrize(("given", "message", "flag"), MESSAGES, ids=[str(row[0]) for row in MESSAGES])
def test_what_is_wrong_is_said_in_one_line(given: dict[str, Any], message: str, flag: str) -> None:
    said = explain(mistake(given))
    assert re.fullmatch(message, said), said
    with pytest.raises(OptionError, match=f"^{re.escape(said)}$"):
        Options.create(**given)


@pytest.mark.parametrize(("given", "message", "flag"), MESSAGES, ids=[str(row[0]) for row in MESSAGES])
def test_the_command_line_says_the_same_of_its_flags(given: dict[str, Any], message: str, flag: str) -> None:
    python, shell = explain(mistake(given)), explain(mistake(given), flags=True)
    assert flag in shell.replace(",", "").split()
    names = {**FLAGS, **{name: f"--{name.replace('_', '-')}" for name in given}}
    for name in sorted((name for name in names if "_" in name or name in given), key=len, reverse=True):
        python = re.sub(rf"(?<![-\w]){name}(?![\w'])", names[name], python)
    assert shell == python


@pytest.mark.parametrize(("value", "shown"), [(1e12 + 1e6, "1e+12"), (-0.5, "0")])
def test_limits_are_written_as_people_write_them(value: float, shown: str) -> None:
    assert f" {shown}, not" in explain(mistake({"tv_weight": value}))


def test_the_first_mistake_of_several_is_named() -> None:
    assert explain(mistake({"size": 3, "seed": -1})).startswith("size must")


# ------------------------------------------------------------------------------------------------------------------ flags


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the command line; returns what it printed."""
    monkeypatch.setattr(app, "console", Console(width=400))  # the app keeps its first one, as wide as that was

    def run(*words: str) -> str:
        main(words)
        return "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize("command", [(), ("demo",)])
def test_help_shows_every_flag_with_its_default(cli: Callable[..., str], command: tuple[str, ...]) -> None:
    rows = [line.strip("│ ") for line in cli(*command, "--help").splitlines()]
    for name, flag in FLAGS.items():
        (row,) = (row for row in rows if re.match(rf"(--\S+ )?{flag} ", row))
        shown = re.search(r"\[default: ([^]]*)\]", row)
        assert shown, row
        assert row.count("[default:") == 1
        if name in defaults("impasto"):
            check_default(name, shown[1])


def check_default(name: str, shown: str) -> None:
    """Shown as "VALUE" or "VALUE; gatys: VALUE" or "VALUE; gatys: VALUE, or VALUE with lite"."""
    ours, published, standin = (
        defaults(*place)[name] for place in (("impasto", "lite"), ("gatys", "vgg19"), ("gatys", "lite"))
    )
    match = re.fullmatch(r"(\S+?)(?:; gatys: (\S+?)(?:, or (\S+) with lite)?)?", shown)
    assert match, shown
    first, second, third = match.groups()
    assert written(ours, first), name
    assert written(published, second or first), name
    assert written(standin, third or second or first), name


def written(value: object, text: str) -> bool:
    if isinstance(value, tuple):
        return text.split(",") == list(value)
    return float(text) == value if isinstance(value, (int, float)) else text == value


def test_help_shows_the_outputs_flags_too(cli: Callable[..., str]) -> None:
    text = cli("--help")
    for flag in ("--output", "-o", "--overwrite", "--quiet", "-q", "--json"):
        assert re.search(rf"(?<!\S){flag}(?!\S)", text)
    assert "PHOTO-STYLE.png beside the photograph; demo: impasto-demo.png" in " ".join(text.replace("│", " ").split())


def test_nothing_is_called_twice() -> None:
    assert not set(FIELDS) & set(Output.model_fields)
    assert all(field.description for field in (*FIELDS.values(), *Output.model_fields.values()))


@pytest.mark.parametrize("name", NUMERIC)
@pytest.mark.parametrize("form", ["{} nan", "{}=nan", "{} NaN"])
def test_no_flag_takes_nan(cli: Callable[..., str], name: str, form: str) -> None:
    said = cli("photo.png", "style.png", *form.format(FLAGS[name]).split())
    assert re.fullmatch(rf"impasto: {FLAGS[name]} must .*, not 'nan'\n", said, re.IGNORECASE)


@pytest.mark.parametrize("name", NUMERIC)
def test_no_flag_takes_a_word_for_a_number(cli: Callable[..., str], name: str) -> None:
    said = cli("photo.png", "style.png", FLAGS[name], "plenty")
    kind = "a whole number" if name in WHOLE else "a number"
    assert re.fullmatch(rf"impasto: {FLAGS[name]} must be {kind}.*, not 'plenty'\n", said)
