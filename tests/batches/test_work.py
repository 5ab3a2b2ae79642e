"""From words to items: folders, patterns, addresses, lists, and what is refused before anything is painted."""

from __future__ import annotations

import os
import re
from pathlib import Path

import fsspec
import pytest
from batches.folders import photos, work
from command_line import noise

from impasto.batches import Pairs, Settings, plan
from impasto.errors import ImpastoError, OptionError, OutputError, PictureError, UnknownNameError, UsageError
from impasto.inputs import style_names

pytestmark = pytest.mark.usefixtures("here")


def outputs(*words: object, **more: object) -> list[str]:
    return [item.output for item in work(*words, **more).items]  # type: ignore[arg-type]


def test_a_folder_is_searched_with_its_sub_folders_which_are_mirrored(here: Path) -> None:
    photos(here / "in", "b.jpg", "a.PNG", "sub/deep/c.webp", ".hidden.jpg", ".git/d.jpg", "._a.PNG")
    (here / "in" / "labels.txt").write_text("a label")
    (here / "in" / "raw.dng").write_bytes(b"II*\0")
    found = work("in", "udnie", "style.png")
    names = ["a", "b", "raw", "sub/deep/c"]
    assert [item.output for item in found.items] == [f"{name}--{style}.png" for style in ("udnie", "style") for name in names]
    assert found.notes == ("in: 1 file without the suffix of an image is left out, such as labels.txt",)


def test_results_are_no_photographs_the_next_time(here: Path) -> None:
    photos(here, "in/a.jpg", "in/out/a--udnie.png", "in/output/b.jpg")
    assert outputs("in", output="in/out") == ["a--udnie.png", "output/b--udnie.png"]
    assert outputs("in/**/*", output="in/out") == ["a--udnie.png", "output/b--udnie.png"]


def test_of_several_folders_each_keeps_its_name(here: Path) -> None:
    photos(here, "x/a.jpg", "y/a.jpg", "z.jpg")
    assert outputs(["x", "y/", "z.jpg"]) == ["x/a--udnie.png", "y/a--udnie.png", "z--udnie.png"]


def test_a_pattern_mirrors_what_is_below_its_first_wildcard(here: Path) -> None:
    photos(here, "in/a/x.jpg", "in/b/y.jpg", "in/b/z.png")
    assert outputs("in/*/*.jpg") == ["a/x--udnie.png", "b/y--udnie.png"]
    noise(here / "in" / "odd[1].jpg", 40, 48, seed=1)
    assert outputs("in/odd[1].jpg") == ["odd[1]--udnie.png"]


def test_a_file_is_taken_once_and_whatever_its_suffix(here: Path) -> None:
    photos(here, "in/a.jpg")
    (here / "photo").write_bytes((here / "photo.png").read_bytes())
    assert outputs(["photo", "in/a.jpg", "in/a.jpg"]) == ["photo--udnie.png", "a--udnie.png"]


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_links_in_a_circle_end(here: Path) -> None:
    photos(here, "in/a.jpg")
    (here / "in" / "again").symlink_to(here / "in")
    assert outputs("in") == ["a--udnie.png"]


def test_a_folder_of_styles_may_have_paintings_and_style_files(here: Path) -> None:
    photos(here, "art/one.jpg")
    (here / "art" / "two.style").write_bytes(b"a style")
    assert outputs("photo.png", "art", "udnie") == [f"photo--{name}.png" for name in ("one", "two", "udnie")]


def test_addresses_are_listed_as_folders_and_patterns() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("in/b.jpg", "in/a.jpg", "in/sub/c.png", "in/d.txt"):
        memory.pipe(f"/listed/{name}", b"image")
    found = work("memory://listed/in", output="memory://out")
    assert [item.output for item in found.items] == ["a--udnie.png", "b--udnie.png", "sub/c--udnie.png"]
    assert found.items[2].photo.place == "memory:///listed/in/sub/c.png"
    assert outputs("memory://listed/in/*.jpg", output="memory://out") == ["a--udnie.png", "b--udnie.png"]
    assert outputs("memory://listed/in/sub/c.png", output="memory://out") == ["c--udnie.png"]


def test_file_addresses_are_files(here: Path) -> None:
    assert outputs(f"file://{here}/photo.png") == ["photo--udnie.png"]


def test_rows_of_a_list_are_paired_unless_they_name_a_style(here: Path) -> None:
    (here / "w.csv").write_text("photo,style,output,strength\nphoto.png,,,0.9\nanother.png,style.png,mine.jpg,\n")
    found = work("w.csv", "udnie", "mondrian").items
    assert [(item.output, item.options.strength) for item in found] == [
        ("mine.jpg", 0.5),
        ("photo--udnie.png", 0.9),
        ("photo--mondrian.png", 0.9),
    ]
    assert found[1].options is found[2].options
    assert [one.output for one in plan(["w.csv"], ["udnie"], Settings("o"), pairs=Pairs("zip")).items][1:] == [
        "photo--udnie.png"
    ]


@pytest.mark.parametrize(
    ("words", "more", "error", "problem"),
    [
        (("nowhere",), {}, PictureError, "^nowhere: no such file or folder$"),
        (("empty",), {}, PictureError, r"^empty: there are no photographs in it$"),
        (
            ("texts",),
            {},
            PictureError,
            r"^texts: there are no photographs in it; 1 file without the suffix of an image is left out, such as .*$",
        ),
        (("*.gif",), {}, PictureError, r"^\*\.gif: there are no photographs in it$"),
        (("memory://nothing",), {}, PictureError, "^memory://nothing: no such file or folder$"),
        (("nosuch://a",), {}, UsageError, "^nosuch://a cannot be opened: Protocol not known: nosuch"),
        (("https://example.org/a.jpg",), {}, PictureError, "^https:// addresses are not fetched; download the images"),
        (("photo.png", "stary-night"), {}, UnknownNameError, "did you mean 'starry-night'"),
        (("photo.png", "nosuch.jpg"), {}, PictureError, r"^nosuch\.jpg: no such file or folder$"),
        (("photo.png",), {"template": "x.png"}, OptionError, "^names must have"),
        (
            ("photo.png",),
            {"depth": 16, "template": "{photo}.jpg"},
            OptionError,
            r"16 bits .* photo\.jpg is neither; drop depth",
        ),
        (("photo.png",), {"size": 3}, OptionError, "^size must be from 16"),
        (
            (["photo.png", "a/photo.jpg"],),
            {},
            OutputError,
            r"^photo--udnie\.png would be the result of photo\.png in udnie and",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    here: Path, words: tuple[str, ...], more: dict[str, object], error: type[ImpastoError], problem: str
) -> None:
    (here / "empty").mkdir()
    (here / "texts").mkdir()
    (here / "texts" / "a.txt").write_text("text")
    photos(here, "a/photo.jpg")
    with pytest.raises(error) as caught:
        work(*words, **more)
    assert re.search(problem, str(caught.value)), str(caught.value)


def test_styles_are_needed_unless_all_rows_have_one(here: Path) -> None:
    with pytest.raises(OptionError, match="a style is needed; name one of styles, such as"):
        plan(["photo.png"], [], Settings("out"))
    (here / "w.csv").write_text("photo,style\nphoto.png,udnie\n")
    assert len(plan(["w.csv"], [], Settings("out")).items) == 1
    with pytest.raises(OptionError, match=r"^styles every row of the list has a style of its own"):
        plan(["w.csv"], style_names(), Settings("out"))
