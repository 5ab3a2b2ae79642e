"""`impasto batch`: which words are photographs and which styles, what is printed, and exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from batches.folders import Here, photos
from command_line import Cli

from impasto.batches import runner
from impasto.batches.events import Status
from impasto.cli.batch import describe, split
from impasto.errors import OptionError

SMALL = ("-o", "out", "--quality", "instant", "--size", "64", "--device", "cpu")

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setattr(runner, "_crew", lambda work, workers, ray: (Here(work.settings), 1))
    photos(here / "in", "a.jpg", "sub/b.png")


@pytest.mark.parametrize(
    ("words", "styles", "expected"),
    [
        (("in", "art"), (), (("in",), ("art",))),
        (("in", "udnie"), (), (("in",), ("udnie",))),
        (("a.jpg", "b.jpg"), (), (("a.jpg",), ("b.jpg",))),
        (("a.jpg", "b.jpg", "udnie"), (), (("a.jpg", "b.jpg"), ("udnie",))),
        (("in", "udnie", "x.style", "mondrian"), (), (("in",), ("udnie", "x.style", "mondrian"))),
        (("udnie", "mondrian"), (), (("udnie",), ("mondrian",))),
        (("a", "b", "c"), ("d",), (("a", "b", "c"), ("d",))),
        (("work.csv",), (), (("work.csv",), ())),
    ],
)
def test_words_are_photographs_and_styles(words: Any, styles: Any, expected: Any) -> None:
    assert split(words, styles) == expected


@pytest.mark.parametrize("words", [("a.jpg", "b.jpg", "c.jpg"), ("in", "udnie", "c.jpg")])
def test_it_never_guesses_which_are_styles(words: tuple[str, ...]) -> None:
    with pytest.raises(
        OptionError, match=r"unclear which of 3 words are styles; name them after styles, for instance styles c\.jpg"
    ):
        split(words, ())


def test_a_batch_says_what_it_wrote_and_the_same_command_continues(cli: Cli, here: Path) -> None:
    said = cli("batch", "in", "udnie", *SMALL, "--json")
    assert (said.code, said.lines) == (0, [])
    assert re.match(r"wrote 2 images to out in [\d.]+ s\n", said.stdout)
    assert {**said.json, "seconds": 0} == {
        "output": "out",
        "items": 2,
        "painted": 2,
        "kept": 0,
        "failed": 0,
        "skipped": 0,
        "seconds": 0,
        "exit_code": 0,
    }
    assert {file.name for file in (here / "out").rglob("*.png")} == {"a--udnie.png", "b--udnie.png"}
    said = cli("batch", "in", "udnie", *SMALL)
    assert re.fullmatch(r"wrote 0 images to out in [\d.]+ s, 2 were there already\n", said.stdout)


def test_failures_are_printed_and_end_with_code_1(cli: Cli, here: Path) -> None:
    (here / "in" / "c.jpg").write_bytes(b"no image")
    reason = "photograph in/c.jpg: not an image, or its format is not supported"
    said = cli("batch", "in", "udnie", *SMALL)
    assert said.code == 1
    assert said.lines == [
        f"impasto: c--udnie.png failed: {reason}",
        "impasto: 1 of 3 images failed; out/batch.json lists why",
    ]
    assert json.loads((here / "out" / "batch.json").read_text())["failures"][0]["problem"] == reason
    said = cli("batch", "in", "udnie", *SMALL, "--json")
    assert said.lines == [
        "impasto: 1 of 3 images failed (1 of them before, and nothing has changed since; --retry-failed tries again); "
        "out/batch.json lists why"
    ]
    assert (said.code, said.json["skipped"], said.json["exit_code"]) == (1, 1, 1)
    assert cli("batch", "in", "udnie", *SMALL, "--retry-failed", "-q").lines[0] == f"impasto: c--udnie.png failed: {reason}"


def test_a_failure_names_flags(cli: Cli) -> None:
    assert "; raise --max-pixels" in cli("batch", "in/a.jpg", "udnie", *SMALL, "--max-pixels", "10").lines[0]


def test_control_c_says_how_to_continue(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    wait, left = Here.wait, [1]

    def waiting(crew: Here, seconds: float) -> Any:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return wait(crew, seconds)

    monkeypatch.setattr(Here, "wait", waiting)
    said = cli("batch", "in", "udnie", *SMALL)
    assert (said.code, said.line) == (130, "interrupted; 1 of 2 images are there, and the same command continues")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "photographs and styles are needed: impasto batch PHOTOS STYLES -o FOLDER; see `impasto batch --help`"),
        (("in", "udnie"), "--output needs a folder for the results: impasto batch PHOTOS STYLES -o FOLDER"),
        (
            ("a", "b", "c", "-o", "out"),
            "it is unclear which of 3 words are styles; name them after --styles, for instance --styles c",
        ),
        (("in", "-o", "out"), "a style is needed; name one of --styles, such as composition-vii"),
        (
            ("in", "udnie", "-o", "out", "--pairs", "some"),
            "--pairs must be all, zip or random:N with a number from 1, not 'some'",
        ),
        (("in", "udnie", "-o", "out", "--names", "x.png"), "--names must have {photo}, or results would replace each other"),
        (("in", "udnie", "-o", "out", "--workers", "0"), "--workers must be at least 1, not '0'"),
        (("in", "udnie", "-o", "out", "--depth", "9"), "--depth must be 8 or 16, not 9"),
        (("in", "udnie", "-o", "out", "--init", "photo.png"), "--init must be content or noise, not 'photo.png'"),
        (("in", "udnie", "-o", "photo.png"), "the folder photo.png cannot be made: file exists"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(cli: Cli, here: Path, words: tuple[str, ...], problem: str) -> None:
    said = cli("batch", *words)
    assert (said.code, said.line) == (2, problem)
    assert not (here / "out").exists()


def test_progress_in_one_line() -> None:
    assert describe(Status(10, 2.5, 2, 0, 0, 2)) == "estimating  2 of 10"
    assert describe(Status(10, 2.5, 2, 1, 1, 2, 63.04, 70.2)) == "1 min 10 s left  3 of 10  63 images a minute  1 failed"
