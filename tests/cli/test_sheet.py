"""`impasto sheet`: what is on a contact sheet, where it goes, and what is refused before anything is painted."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Cli, Said, names, noise, pixels_of, save_pixels, start
from PIL import Image

from impasto import pictures
from impasto.fast import Instant
from impasto.inputs import style_names
from impasto.jobs.sheet import FIRST, Grid

SMALL = ("--size", "64", "--device", "cpu")
OUT = "photo-sheet.png"
TILE = (53, 64)  # of the photograph at that size

pytestmark = pytest.mark.usefixtures("inputs")


@pytest.fixture
def inputs(here: Path) -> None:
    """Images as large as a tile, so that nothing is resized and nothing has to be said."""
    noise(here / "photo.png", *TILE, seed=1)
    noise(here / "style.png", 64, 64, seed=2)


def tiles(file: str | Path | io.BytesIO, grid: Grid) -> list[Any]:
    """The places of a sheet: HxWx3 each, row by row."""
    sheet = pixels_of(file)
    assert sheet.shape == (*grid.size, 3)
    (height, width), step = grid.tile, grid._cell
    corners = [
        (grid.margin + row * step[0], grid.margin + column * step[1])
        for row in range(grid.rows)
        for column in range(grid.columns)
    ]
    return [sheet[top : top + height, left : left + width] for top, left in corners]


def painted(cli: Cli, style: str, *more: str, photo: str = "photo.png") -> Any:
    """The pixels of `impasto PHOTO STYLE` with a sheet's options."""
    assert cli(photo, style, "--quality", "instant", *SMALL, "-o", "alone.png", "--overwrite", "-q", *more).code == 0
    return pixels_of("alone.png")


@pytest.fixture
def never_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    def paint(session: Instant) -> Iterator[Any]:
        raise AssertionError("something was painted")

    monkeypatch.setattr(Instant, "__iter__", paint)


# ------------------------------------------------------------------------------------------------------ what is on it


def test_the_photograph_comes_first_and_then_every_built_in_style(cli: Cli, here: Path) -> None:
    said = cli("sheet", "photo.png", *SMALL, "--json")
    assert (said.code, said.lines, names(here)) == (0, [], {OUT})
    grid = Grid.of(len(style_names()) + 1, TILE)
    height, width = grid.size
    assert re.fullmatch(rf"wrote {OUT} \({width}x{height}\) in [\d.]+ s", said.stdout.splitlines()[0])
    assert said.json["styles"] == style_names()
    assert (said.json["output"], said.json["width"], said.json["height"], said.json["exit_code"]) == (OUT, width, height, 0)
    found = tiles(OUT, grid)
    assert (found[0] == pixels_of("photo.png")).all()
    for name in ("great-wave", "udnie"):
        assert (found[1 + style_names().index(name)] == painted(cli, name)).all()
    assert all((place == 255).all() for place in found[len(style_names()) + 1 :])
    assert pictures.read_settings(OUT) is None  # so that `again` does not take it for a painting


def test_names_paintings_and_style_files_in_the_order_of_the_words(cli: Cli) -> None:
    assert cli("style", "make", "another.png", "-o", "mine.style").code == 0
    words = ("udnie", "style.png", "mine.style", "udnie")
    said = cli("sheet", "photo.png", *words, *SMALL, "--columns", "5", "--strength", "0.8", "--json", "-o", "choice.png")
    assert said.json["styles"] == ["udnie", "style", "mine", "udnie"]
    found = tiles("choice.png", Grid.of(5, TILE, 5))
    for tile, style in zip(found[1:], words, strict=True):
        assert (tile == painted(cli, style, "--strength", "0.8")).all()


def test_a_name_is_below_each_tile(cli: Cli) -> None:
    cli("sheet", "photo.png", "udnie", "the-scream", *SMALL, "--columns", "3")
    grid, sheet = Grid.of(3, TILE, 3), pixels_of(OUT)
    below = sheet[grid.margin + TILE[0] : grid.size[0] - grid.margin]
    drawn = [below[:, grid.margin + x * grid._cell[1] :][:, : TILE[1]] for x in range(3)]
    assert all(words.min() < 100 for words in drawn)
    blank = grid.paper()
    for number, name in enumerate((FIRST, "udnie", "the-scream")):
        grid.place(blank, number, name, Image.new("RGB", TILE[::-1]))
    again = np.asarray(blank)[grid.margin + TILE[0] : grid.size[0] - grid.margin]
    assert (again == below).all()
    assert (drawn[1] != drawn[2]).any()


def test_options_are_those_of_every_tile(cli: Cli) -> None:
    assert cli("sheet", "photo.png", "udnie", "style.png", *SMALL, "--strength", "0", "--columns", "9").code == 0
    assert all((tile == pixels_of("photo.png")).all() for tile in tiles(OUT, Grid.of(3, TILE, 9)))
    words = ("--style-scale", "0.5", "--keep-colors", "luma")
    assert cli("sheet", "photo.png", "style.png", *SMALL, *words, "-o", "luma.jpg").code == 0
    assert cli("sheet", "photo.png", "style.png", *SMALL, *words, "-o", "luma.png").code == 0
    assert (tiles("luma.png", Grid.of(2, TILE))[1] == painted(cli, "style.png", *words)).all()
    with Image.open("luma.jpg") as image:
        assert (image.format, image.size) == ("JPEG", Grid.of(2, TILE).size[::-1])


def test_the_optimizer_paints_tiles_too(cli: Cli) -> None:
    assert cli("sheet", "photo.png", "style.png", *SMALL, "--quality", "draft", "-q") == Said(0, "", "")
    assert cli("photo.png", "style.png", "--quality", "draft", *SMALL, "-o", "alone.png").code == 0
    assert (tiles(OUT, Grid.of(2, TILE))[1] == pixels_of("alone.png")).all()


def test_transparent_parts_are_white_and_the_photograph_is_upright(cli: Cli) -> None:
    pixels = np.random.default_rng(1).integers(0, 200, (*TILE, 4))
    pixels[..., 3] = 255
    pixels[:20, :, 3] = 0
    save_pixels("photo.png", pixels)
    cli("sheet", "photo.png", "udnie", *SMALL)
    found = tiles(OUT, Grid.of(2, TILE))
    assert all((tile[:20] == 255).all() and (tile[20:] < 255).any() for tile in found)
    noise(Path("side.png"), *TILE[::-1], seed=4)
    with Image.open("side.png") as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save("turned.png", exif=exif)
    cli("sheet", "turned.png", "udnie", *SMALL)
    assert (tiles("turned-sheet.png", Grid.of(2, TILE))[0] == np.rot90(pixels_of("side.png"), -1)).all()


def test_large_images_are_reduced_and_small_ones_are_enlarged(cli: Cli) -> None:
    noise(Path("photo.png"), 40, 48, seed=5)
    noise(Path("large.png"), 318, 384, seed=5)
    for photo in ("photo.png", "large.png"):
        assert cli("sheet", photo, "udnie", "large.png", *SMALL, "-o", f"sheet-{photo}").code == 0
        first, *others = tiles(f"sheet-{photo}", Grid.of(3, TILE))[:3]
        with Image.open(photo) as image:
            expected = np.asarray(image.resize(TILE[::-1], Image.Resampling.BICUBIC), dtype=float)
        assert np.abs(first - expected).mean() < 1  # of 255 levels; the filters differ at the edges
        assert all((tile != first).any() for tile in others)


def test_what_is_to_be_said_names_its_style(cli: Cli) -> None:
    said = cli("sheet", "photo.png", "another.png", "udnie", "style.png", *SMALL)
    noted = [line for line in said.stderr.splitlines() if "%" not in line]
    assert [line.partition(" asked")[0] for line in noted] == [
        "impasto: another: the painting has 44x44 pixels, smaller than the 64"
    ]
    assert cli("sheet", "photo.png", "another.png", *SMALL, "-q", "--overwrite") == Said(0, "", "")


# ------------------------------------------------------------------------------------------------------ where it goes


def test_standard_input_and_output(here: Path, cli: Cli) -> None:
    cli("sheet", "photo.png", "udnie", *SMALL, "-q")
    words = ("-m", "impasto", "sheet", "-", "udnie", "-o", "-", "-q", *SMALL)
    with start(*words, text=False, stdin=subprocess.PIPE) as process:
        data, said = process.communicate(Path("photo.png").read_bytes())
    assert (process.returncode, said) == (0, b"")
    assert (pixels_of(io.BytesIO(data)) == pixels_of(OUT)).all()
    assert names(here) == {OUT}
    assert cli("sheet", "photo.png", "-o", "-", "--json").line == "--json cannot be used when the image goes to standard output"


def test_a_sheet_is_next_to_its_photograph_and_replaced_only_with_overwrite(cli: Cli, here: Path) -> None:
    (here / "sub").mkdir()
    Path("photo.png").rename("sub/beach.1.png")
    words = ("sheet", "sub/beach.1.png", "udnie", *SMALL)
    assert cli(*words).code == 0
    made = Path("sub/beach.1-sheet.png")
    made.write_bytes(b"mine")
    assert cli(*words).line == f"{made} exists; use --overwrite to replace it"
    assert made.read_bytes() == b"mine"
    assert cli(*words, "--overwrite").code == 0
    assert pixels_of(made).shape[2] == 3
    assert names(here / "sub") == {"beach.1.png", "beach.1-sheet.png"}


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_control_c_writes_nothing(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint, left = Instant.__iter__, [signal.SIGINT, signal.SIGTERM]

    def stopped(session: Instant) -> Iterator[Any]:
        yield from paint(session)
        os.kill(os.getpid(), left.pop())

    monkeypatch.setattr(Instant, "__iter__", stopped)
    for code in (143, 130):
        said = cli("sheet", "photo.png", "udnie", "style.png", *SMALL, "--json")
        assert (said.code, said.line, said.json["exit_code"]) == (code, "interrupted; nothing was written", code)
        assert names(here) == set()


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.usefixtures("never_paints")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("photo.png udnie missing.png", "style image missing.png: no such file or directory"),
        ("photo.png udnie text.jpg", "style image text.jpg: not an image"),
        ("photo.png udnie text.style", "text.style"),
        ("photo.png udnie starry-nigth", "did you mean 'starry-night'?"),
        ("photo.png style.png udnie --keep-colors luma", "--keep-colors needs the painting itself: .*(udnie)"),
        ("missing.png udnie", "photograph missing.png: no such file or directory"),
        ("text.jpg udnie", "photograph text.jpg: not an image"),
        (". udnie", "photograph .: is a directory, not a file"),
        ("https://example.org/a.jpg", "https:// addresses are not fetched"),
        ("photo.png udnie -o photo.png --overwrite", "output photo.png is the input photo.png itself; choose another name"),
        ("photo.png style.png -o style.png --overwrite", "output style.png is the input style.png itself; choose another name"),
        ("photo.png -o sheet.gif", "sheet.gif: unknown suffix '.gif'"),
        ("photo.png -o no/sheet.png", "there is no directory no"),
        ("photo.png -o .", ". is a directory; name a file in it"),
        ("photo.png --columns 0", "--columns must be at least 1, not '0'"),
        ("photo.png --columns 1.5", "--columns must be a whole number, not '1.5'"),
        ("photo.png --size 15", "--size must be at least 16, not '15'"),
        ("photo.png --strength 2", "--strength must be at most 1, not '2'"),
        ("photo.png --quality instnat", "did you mean 'instant'?"),
        ("photo.png udnie --columns 99 --size 1024 -o sheet.webp", "WEBP holds at most 16383 pixels a side"),
        ("photo.png udnie --size 4096 -o sheet.png", "more than the limit of 200,000,000; use a smaller --size"),
        ("", "a photograph is needed: impasto sheet PHOTO; see `impasto sheet --help`"),
    ],
)
def test_what_cannot_be_painted_is_one_line_before_anything_is_painted(cli: Cli, here: Path, words: str, says: str) -> None:
    Path("text.jpg").write_text("no image\n" * 99)
    Path("text.style").write_text("no style\n" * 99)
    before = names(here)
    many = ["style.png"] * 20 if {"4096", "1024"} & set(words.split()) else []
    said = cli("sheet", *words.split(), *many, *([] if "--size" in words else SMALL))
    assert (said.code, said.stdout) == (2, "")
    assert all(part in said.line for part in says.split(".*")), said.line
    assert names(here) == before


def test_progress_without_a_terminal_is_a_line_now_and_then(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.cli.console.PLAIN_EVERY", 0.0)
    said = cli("sheet", "photo.png", "udnie", "the-scream", *SMALL)
    found = [re.fullmatch(r"impasto: (\d+)%, .*  (\S+) \((\d) of 2\)", line) for line in said.stderr.splitlines()]
    assert all(found)
    shares = [int(match[1]) for match in found if match]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert list(dict.fromkeys((match[2], match[3]) for match in found if match)) == [("udnie", "1"), ("the-scream", "2")]
