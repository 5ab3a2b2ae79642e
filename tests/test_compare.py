"""`impasto compare` as a user meets it. The page itself is tested in tests/report; unusual inputs in test_inputs.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto import pictures
from impasto.cli import main
from impasto.cli.compare import named
from impasto.errors import OptionError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder every test runs in: photo.png, 48x40, style.png, and two results, of which ours.png is impasto's."""
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


def test_the_page_goes_beside_the_photograph_and_the_numbers_to_the_terminal(cli: Cli, here: Path) -> None:
    code, out, err = cli("photo.png", "style.png", "ours.png", "their own=theirs.png")
    assert code == 0
    lines = out.splitlines()
    assert lines[-1] == "wrote photo-style.html"
    assert lines[0].split() == ["content", "style", "moments", "structure", "palette", "grain", "weave", "seconds"]
    assert [line.split()[0] for line in lines[1:3]] == ["ours", "their"]
    assert lines[1].split()[-1] == "7.5"
    assert "made with the network that judges, lite, which is an advantage: ours" in err
    page = (here / "photo-style.html").read_text(encoding="utf-8")
    for words in ("photo", "style", "their own", "style_weight", "7.5"):
        assert words in page


def test_json_says_what_the_page_says(cli: Cli, here: Path) -> None:
    code, out, err = cli("photo.png", "style.png", "a=ours.png", "theirs.png", "-o", "report.html", "--json", "-q")
    said = json.loads(out)
    assert (code, err, said["exit_code"], said["output"], said["judge"]) == (0, "", 0, "report.html", "lite")
    page = (here / "report.html").read_text(encoding="utf-8")
    for result in said["results"]:
        for name in ("content", "style_mean", "structure", "palette"):
            assert f"{abs(result[name]):.3g}" in page  # the page writes a real minus sign


def test_one_unreadable_result_costs_the_exit_code_and_not_the_report(cli: Cli, here: Path) -> None:
    (here / "text.jpg").write_text("no picture")
    code, out, err = cli("photo.png", "style.png", "ours.png", "text.jpg", "--json")
    assert code == 1
    assert err.splitlines()[-1] == (
        "impasto: result text.jpg: not a picture, or not of a kind that can be read; photo-style.html was made without"
    )
    said = json.loads(out.splitlines()[-1])
    assert (said["exit_code"], list(said["refused"]), [one["name"] for one in said["results"]]) == (1, ["text"], ["ours"])
    assert "text.jpg" in (here / "photo-style.html").read_text(encoding="utf-8")


def test_a_page_that_is_passed_on_does_not_tell_whose_it_is(cli: Cli, here: Path) -> None:
    home = here / "home of somebody"
    home.mkdir()
    for name in ("photo.png", "style.png", "ours.png", "theirs.png"):
        (here / name).rename(home / name)
    (home / "text.jpg").write_text("no picture")
    with Image.open(home / "theirs.png") as image:
        image.save(home / "moving.gif", save_all=True, append_images=[image.rotate(90)])
    names = ("photo.png", "style.png", "ours.png", "moving.gif", "text.jpg")
    code, out, err = cli(*(str(home / name) for name in names), "--json", "-o", "report.html")
    assert code == 1
    assert "moving is animated: its first frame is used" in err
    assert json.loads(out.splitlines()[-1])["results"][1]["notes"][0] == "is animated: its first frame is used"
    assert "home of somebody" not in (here / "report.html").read_text(encoding="utf-8")


def test_a_name_that_is_markup_is_only_a_name(cli: Cli, here: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    (here / f"{hostile}.png").write_bytes((here / "theirs.png").read_bytes())
    code, out, _ = cli("photo.png", "style.png", f"{hostile}.png", "[red]bold[/red]=ours.png")
    assert code == 0
    assert hostile in out
    assert "[red]bold[/red]" in out
    page = (here / "photo-style.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_a_report_is_replaced_only_when_asked(cli: Cli, here: Path) -> None:
    (here / "report.html").write_text("mine")
    words = ("photo.png", "style.png", "ours.png", "-o", "report.html")
    assert cli(*words)[0] == 2
    assert (here / "report.html").read_text() == "mine"
    assert cli(*words, "--overwrite")[0] == 0
    assert (here / "report.html").stat().st_size > 10_000


def test_names_are_the_files_or_given(here: Path) -> None:
    (here / "x=y.png").touch()
    assert named(["ours.png", "a=theirs.png", "x=y.png", "z=x=y.png"]) == {
        "ours": Path("ours.png"),
        "a": Path("theirs.png"),
        "x=y": Path("x=y.png"),
        "z": Path("x=y.png"),
    }
    with pytest.raises(OptionError, match="two results are called 'a'"):
        named(["a=ours.png", "folder/a.png"])


def test_a_comparison_says_what_it_did_to_other_sizes(cli: Cli, here: Path) -> None:
    with Image.open("theirs.png") as image:
        image.crop((4, 0, 44, 40)).resize((80, 80)).save("square.png")
    _, _, err = cli("photo.png", "style.png", "ours.png", "square.png")
    assert "square has another shape than the photograph (80x80): measured on the common centre crop" in err
    assert "square was resized from 80x80 to 40x40 for measuring" in err
