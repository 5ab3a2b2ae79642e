"""Names of results: templates, sub-folders, and two results that would be one file."""

from __future__ import annotations

import pytest
from batches.folders import sources

from impasto.batches import names
from impasto.errors import OptionError, OutputError

PHOTO, OTHER, STYLE, PAINTING = sources("cats/tom.JPG", "cats/tom.png", "udnie", "night.v2.jpg")


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (names.TEMPLATE, "cats/tom--night.v2.png"),
        ("{style}/{photo}.jpg", "cats/night.v2/tom.jpg"),
        ("{photo}.{photo_type}.{style_type}.webp", "cats/tom.jpg.jpg.webp"),
        ("{{{photo}}}.png", "cats/{tom}.png"),
    ],
)
def test_a_template_is_filled_in_below_the_photographs_folder(template: str, name: str) -> None:
    assert names.named(names.check_template(template), PHOTO, [PAINTING]) == name


def test_several_styles_are_joined() -> None:
    assert names.named(names.TEMPLATE, PHOTO, [STYLE, PAINTING]) == "cats/tom--udnie+night.v2.png"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{photo}", r"must end with one of \.png"),
        ("{photo}.gif", r"must end with one of \.png"),
        ("{style}.png", r"must have \{photo\}"),
        ("{photo}-{artist}.png", r"knows \{photo\}, .*, not \{artist\}"),
        ("{photo:>9}.png", r"knows \{photo\}"),
        ("{photo.stem}.png", r"knows \{photo\}"),
        ("{photo!r}.png", r"knows \{photo\}"),
        ("{}{photo}.png", r"knows \{photo\}"),
        ("{photo.png", "is not a template"),
        ("../{photo}.png", "must be a name within the output folder"),
        ("/{photo}.png", "must be a name within the output folder"),
        ("{photo}\\a.png", "must be a name within the output folder"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(template: str, problem: str) -> None:
    with pytest.raises(OptionError, match=rf"^names {problem}"):
        names.check_template(template)


@pytest.mark.parametrize("other", ["a/\u00e9.png", "A/\u00c9.PNG", "a/e\u0301.png"])
def test_two_results_of_one_name_are_refused_also_where_case_is_ignored(other: str) -> None:
    names.check_different([("a/\u00e9.png", "one"), ("a/e.png", "two")])
    with pytest.raises(
        OutputError, match=r"would be the result of one and of two; names such as .* are different; change names$"
    ):
        names.check_different([("a/\u00e9.png", "one"), (other, "two")])
