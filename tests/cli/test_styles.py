"""`impasto styles`, `impasto style make` and `impasto style show`."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import QUICK, Cli, pixels_of

from impasto import styles
from impasto.inputs import built_in, style_names

pytestmark = pytest.mark.usefixtures("here")


def test_make_then_paint_without_the_painting(cli: Cli) -> None:
    words = ("--title", "A night", "--license", "CC0")
    said = cli("style", "make", "style.png", "-o", "night.style", *words)
    assert said.stdout.startswith("wrote night.style: 64 to 64 pixels, for lite with max pooling and replicate padding, ")
    stored = ("--size", 64, *QUICK[2:])
    assert cli("photo.png", "style.png", *stored).code == 0
    Path("style.png").unlink()
    assert cli("photo.png", "night.style", *stored).code == 0
    assert (pixels_of("photo-night.png") == pixels_of("photo-style.png")).all()
    shown = cli("style", "show", "night.style").stdout
    for text in ("A night", "CC0", "40x48 pixels, kept as thumbnail and painting", "64 to 64 pixels, exact", "format 3"):
        assert text in shown


def test_make_without_the_painting_in_json_for_another_pooling(cli: Cli) -> None:
    said = cli("style", "make", "style.png", "--json", "-q", "--pooling", "average", "--no-painting")
    assert (said.json["output"], said.json["from"], said.json["to"], said.json["exit_code"]) == ("style.style", 64, 64, 0)
    assert len(said.stdout.splitlines()) == 1
    assert styles.read_card("style.style").pooling == "average"
    assert "not kept" in cli("style", "show", "style.style").stdout
    said = cli("photo.png", "style.style", *QUICK)
    assert (said.code, "and holds no painting" in said.line) == (2, True)
    assert cli("photo.png", "style.style", *QUICK, "--pooling", "average").code == 0
    assert cli("style", "make", "style.png").line == "style.style exists; use --overwrite to replace it"
    assert cli("style", "make", "style.png", "--overwrite").code == 0
    assert cli("photo.png", "style.style", *QUICK, "--pooling", "average", "--overwrite").line == (
        "style.style was made for lite with max pooling and replicate padding, not for lite with average pooling and replicate "
        "padding; the painting stored in it is used"
    )


def test_styles_lists_every_name_with_palette_and_source(cli: Cli) -> None:
    lines = cli("styles").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == style_names()
    (line,) = (line for line in lines if line.startswith("great-wave"))
    assert "Katsushika Hokusai" in line
    assert styles.read_card(built_in("great-wave")).palette[0][0] in line


def test_a_file_cannot_play_with_the_terminal(cli: Cli) -> None:
    cli("style", "make", "style.png", "--title", "\x1b[2Jgone\nimpasto: ok", "--source", "[bold]x[/bold]")
    shown = cli("style", "show", "style.style").stdout
    assert "\x1b" not in shown
    assert "[bold]x[/bold]" in shown
    assert "gone impasto: ok" in shown
