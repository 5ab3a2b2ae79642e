"""`impasto compare` as a user runs it. The page is tested in tests/report, bad inputs in test_bad_inputs.py."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto import pictures
from impasto.cli import main
from impasto.cli.compare import named
from impasto.cli.console import bar
from impasto.errors import OptionError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder every test runs in: photo.png, 48x40, style.png, and two results, of which ours.png was made by impasto."""
    random = np.random.default_rng(0)
    for name, shape in (("photo", (40, 48, 3)), ("style", (48, 40, 3)), ("theirs", (40, 48, 3))):
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    pictures.save(
        Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8)),
        tmp_path / "ours.png",
        settings={"encoder": "lite", "seconds": 7.5, "style_weight": 100.0},
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*words: str) -> tuple[int, str, str]:
        return main(["compare", *words]), *capsys.readouterr()

    return run


def test_the_page_is_written_and_the_numbers_are_printed(cli: Cli, here: Path) -> None:
    code, out, err = cli("photo.png", "style.png", "ours.png", "their own=theirs.png")
    assert code == 0
    lines = out.splitlines()
    assert lines[-1] == "wrote photo-style.html"
    titles = "content style 3 sizes moments structure palette grain weave seconds"
    assert [line.split() for line in lines[:2]] == [["style,"], titles.split()]
    assert [line.split()[0] for line in lines[2:4]] == ["ours", "their"]
    assert lines[2].split()[-1] == "7.5"
    assert "optimized through the judge, lite, which is an advantage: ours" in err
    page = (here / "photo-style.html").read_text(encoding="utf-8")
    for words in ("photo", "style", "their own", "style_weight", "7.5"):
        assert words in page


def test_json_and_page_have_the_same_numbers(cli: Cli, here: Path) -> None:
    code, out, err = cli("photo.png", "style.png", "a=ours.png", "theirs.png", "-o", "report.html", "--json", "-q")
    said = json.loads(out)
    assert (code, err, said["exit_code"], said["output"], said["judge"]) == (0, "", 0, "report.html", "lite")
    page = (here / "report.html").read_text(encoding="utf-8")
    for result in said["results"]:
        for name in ("content", "style_mean", "style_sizes", "structure", "palette"):
            assert f"{abs(result[name]):.3g}" in page  # the page writes a real minus sign


def test_one_unreadable_result_changes_the_exit_code_only(cli: Cli, here: Path) -> None:
    (here / "text.jpg").write_text("no image")
    code, out, err = cli("photo.png", "style.png", "ours.png", "text.jpg", "--json")
    assert code == 1
    assert err.splitlines()[-1] == (
        "impasto: result text.jpg: not an image, or its format is not supported; photo-style.html was written without it"
    )
    said = json.loads(out.splitlines()[-1])
    assert (said["exit_code"], list(said["refused"]), [one["name"] for one in said["results"]]) == (1, ["text"], ["ours"])
    assert "text.jpg" in (here / "photo-style.html").read_text(encoding="utf-8")


def test_a_page_contains_no_folders(cli: Cli, here: Path) -> None:
    home = here / "home of somebody"
    home.mkdir()
    for name in ("photo.png", "style.png", "ours.png", "theirs.png"):
        (here / name).rename(home / name)
    (home / "text.jpg").write_text("no image")
    with Image.open(home / "theirs.png") as image:
        image.save(home / "moving.gif", save_all=True, append_images=[image.rotate(90)])
    names = ("photo.png", "style.png", "ours.png", "moving.gif", "text.jpg")
    code, out, err = cli(*(str(home / name) for name in names), "--json", "-o", "report.html")
    assert code == 1
    assert "moving is animated: its first frame is used" in err
    assert json.loads(out.splitlines()[-1])["results"][1]["notes"][0] == "is animated: its first frame is used"
    assert "home of somebody" not in (here / "report.html").read_text(encoding="utf-8")


def test_markup_in_a_name_is_text(cli: Cli, here: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    (here / f"{hostile}.png").write_bytes((here / "theirs.png").read_bytes())
    code, out, _ = cli("photo.png", "style.png", f"{hostile}.png", "[red]bold[/red]=ours.png")
    assert code == 0
    assert hostile in out
    assert "[red]bold[/red]" in out
    page = (here / "photo-style.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_an_existing_page_is_replaced_only_with_overwrite(cli: Cli, here: Path) -> None:
    (here / "report.html").write_text("mine")
    words = ("photo.png", "style.png", "ours.png", "-o", "report.html")
    assert cli(*words)[0] == 2
    assert (here / "report.html").read_text() == "mine"
    assert cli(*words, "--overwrite")[0] == 0
    assert (here / "report.html").stat().st_size > 10_000


def test_names_of_results(here: Path) -> None:
    (here / "x=y.png").touch()
    assert named(["ours.png", "a=theirs.png", "x=y.png", "z=x=y.png"]) == {
        "ours": Path("ours.png"),
        "a": Path("theirs.png"),
        "x=y": Path("x=y.png"),
        "z": Path("x=y.png"),
    }
    with pytest.raises(OptionError, match="two results are called 'a'"):
        named(["a=ours.png", "folder/a.png"])


def test_resizing_and_cropping_are_noted(cli: Cli, here: Path) -> None:
    with Image.open("theirs.png") as image:
        image.crop((4, 0, 44, 40)).resize((80, 80)).save("square.png")
    _, _, err = cli("photo.png", "style.png", "ours.png", "square.png")
    assert "square has another aspect ratio than the photograph (80x80): measured on the common center crop" in err
    assert "square was resized from 80x80 to 40x40 for measuring" in err


@pytest.mark.parametrize("words", [(".", "style.png"), ("/", "style.png"), ("photo.png", "."), ("..", "/")])
def test_a_folder_in_place_of_an_image_is_one_line(cli: Cli, words: tuple[str, str]) -> None:
    code, out, err = cli(*words, "ours.png")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"impasto: .* directory.*\n", err)


def test_the_bar_shows_markup_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any stream for a terminal
    with bar("measuring", 2) as update:
        update(1, "measured [/red]")
    assert "50%" in screen.getvalue()
    assert "measured [/red]" in screen.getvalue()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--size", "15"), "--size must be at least 16, not '15'"),
        (("--size", "70000"), "--size must be at most 65535, not '70000'"),
        (("--size", "16.5"), "--size must be a whole number, not '16.5'"),
        (("--judge", "vgg"), 'Invalid value "vgg" for --judge. Choose from: "lite", "vgg16", "vgg19".'),
    ],
)
def test_sizes_and_judges_that_are_refused(cli: Cli, words: tuple[str, str], says: str) -> None:
    code, out, err = cli("photo.png", "style.png", "ours.png", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"impasto: {says}")


def test_the_size_is_that_of_the_measurement(cli: Cli) -> None:
    code, out, _ = cli("photo.png", "style.png", "ours.png", "--size", "24", "--json", "-q")
    assert (code, json.loads(out)["size"]) == (0, [24, 20])
