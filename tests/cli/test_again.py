"""`impasto info`, `impasto again` and `impasto resume`, and what EXIF an image gets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import QUICK, Cli, Said, after_step, names, noise, pixels_of
from jobs.small import record, same
from PIL import Image

import impasto
from impasto import pictures
from impasto.inputs import built_in
from impasto.jobs import unfinished
from impasto.jobs.recorder import Recorder

OUT, STATE = Path("out.png"), Path("out.png.unfinished")
SUFFIXES = (".png", ".jpg", ".webp", ".tif")
MAKE, ORIENTATION, HOST = 0x010F, 0x0112, 0x013C  # EXIF tags
WORDS = ("photo.png", "style.png", "--size", 40, "--iterations", 9, "--device", "cpu")

pytestmark = pytest.mark.usefixtures("here")


def stored(file: str | Path) -> dict[str, Any]:
    settings = pictures.read_settings(file)
    assert settings is not None
    return settings


def remember(file: str | Path, settings: dict[str, Any]) -> None:
    """Store other settings in an image."""
    with Image.open(file) as image:
        image.load()
        pictures.save(image, file, settings=settings, overwrite=True)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is 42 s later whenever it is read."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("time.monotonic", lambda: 42.0 * next(ticks))


# ------------------------------------------------------------------------------------------------------------------ again


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_again_gives_the_same_bytes(cli: Cli, suffix: str, slow: None) -> None:
    cli("photo.png", "style.png", "-o", f"out{suffix}", *QUICK, "--method", "gatys", "--encoder", "lite", "--seed", 5)
    said = cli("again", f"out{suffix}", "--json")
    assert (said.code, said.lines) == (0, [])
    assert re.match(rf"wrote out-again{suffix} \(32x27\) in .*: the same image, pixel by pixel\n", said.stdout)
    assert said.json["compared"] == "the same image, pixel by pixel"
    assert Path(f"out-again{suffix}").read_bytes() == Path(f"out{suffix}").read_bytes()


def test_again_finds_every_kind_of_input_next_to_the_image(cli: Cli, here: Path, assets: Path) -> None:
    place = here / "place"
    place.mkdir()
    for number, name in enumerate(("sky.png", "other=sky.png", "start.png", "third.png")):
        noise(place / name, 40, 48, seed=10 + number)
    for name in ("photo.png", "style.png"):
        Path(name).rename(place / name)
    (place / "w.safetensors").write_bytes((assets / "lite.safetensors").read_bytes())
    (place / "mine.style").write_bytes(built_in("udnie").read_bytes())
    masks = ("--mask", f"{place / 'sky.png'}=keep", "--mask", f"{place / 'other=sky.png'}={place / 'third.png'}")
    files = ("--init", place / "start.png", "--weights", place / "w.safetensors")
    styles = (place / "style.png", "great-wave", place / "mine.style")
    words = (*QUICK, *masks, *files, "--blend", 1, 2, 3, "-o", place / "out.png")
    assert cli(place / "photo.png", *styles, *words).code == 0
    assert cli("again", place / "out.png").code == 0
    assert (place / "out.png").read_bytes() == (place / "out-again.png").read_bytes()


def test_again_with_a_pair_of_masks_with_strength_0_and_the_demo(cli: Cli) -> None:
    cli("photo.png", "photo.png", *QUICK, "--content-mask", "mask.png", "--style-mask", "mask.png", "-o", "pair.png")
    cli("photo.png", "style.png", "-o", "zero.png", *QUICK, "--strength", 0)
    cli("demo", *QUICK)
    assert "losses" not in stored("zero.png")
    for name in ("pair", "zero", "impasto-demo"):
        assert cli("again", f"{name}.png").code == 0
        assert Path(f"{name}.png").read_bytes() == Path(f"{name}-again.png").read_bytes()


def test_again_takes_changes(cli: Cli) -> None:
    cli("photo.png", "style.png", "-o", OUT, *QUICK, "--style-weight", 33)
    changes = ("--size", 40, "--keep-colors", "luma")
    said = cli("again", OUT, *changes, "-o", "new.webp")
    assert (said.code, "same image" in said.stdout) == (0, False)
    found = stored("new.webp")
    assert (found["size"], found["keep_colors"], found["style_weight"], found["iterations"]) == (40, "luma", 33, 3)
    cli("photo.png", "style.png", "-o", "same.webp", *QUICK[2:], *changes, "--style-weight", 33)
    assert (pixels_of("new.webp") == pixels_of("same.webp")).all()
    said = cli("again", OUT, "another.png", "-o", "two.png")
    assert said.lines == ["impasto: photo another.png has changed (its hash differs)"]
    assert (stored("two.png")["width"], stored("two.png")["height"]) == (32, 32)


def test_what_differs_is_said_once_each(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("photo.png", "style.png", "-o", OUT, *QUICK)
    remember(OUT, stored(OUT) | {"torch": "1.0", "brush": 3, "canvas": 1})
    said = cli("again", OUT)
    assert said.lines == [
        "impasto: out.png has settings that this version of impasto does not know: brush, canvas",
        f"impasto: it was made with torch 1.0, and this is {torch.__version__}",
    ]
    assert said.stdout.endswith(": the same image, pixel by pixel\n")
    remember(OUT, stored("out-again.png") | {"picture": "another"})
    assert cli("again", OUT, "-o", "x.png").stdout.endswith(
        ": the same image as far as its file tells, which does not keep every pixel\n"
    )
    noise(Path("style.png"), 48, 40, seed=99)
    said = cli("again", OUT, "-o", "y.png")
    assert said.lines == ["impasto: style style.png has changed (its hash differs)"]
    assert "same image" not in said.stdout
    Path("style.png").unlink()
    said = cli("again", OUT, "-o", "z.png")
    assert said == Said(2, "", "impasto: style style.png is not in the folder of out.png and not in the current one; name it\n")


# ------------------------------------------------------------------------------------------------------------------- info


def test_info_lists_what_matters_or_all_of_it(cli: Cli) -> None:
    cli("photo.png", "style.png", "-o", OUT, *QUICK, "--style-weight", 33, "--keep-colors", "match")
    said = cli("info", OUT)
    assert (said.code, said.stderr) == (0, "")
    first, *lines = said.stdout.splitlines()
    assert first.startswith(f"out.png: 32x27, made by impasto {impasto.__version__} in ")
    rows = [tuple(line.split()) for line in lines]
    assert ("photo", "photo.png", "sha256", stored(OUT)["inputs"]["photo"]["sha256"][:12]) in rows
    options = rows[rows.index(("options",)) + 1 : rows.index(("versions",))]
    assert options[:4] == [("method", "impasto"), ("encoder", "lite"), ("size", "32"), ("quality", "normal")]
    others = {("keep-colors", "match"), ("iterations", "3"), ("style-weight", "33"), ("device", "cpu")}
    assert set(options[4:]) == others
    assert {"content", "style"} <= {row[0] for row in rows[rows.index(("losses",)) :]}
    assert cli("info", OUT, "--json").stdout == json.dumps(stored(OUT)) + "\n"


def test_info_shows_no_control_characters(cli: Cli) -> None:
    cli("photo.png", "style.png", "-o", OUT, *QUICK)
    remember(OUT, stored(OUT) | {"torch": "1\x1b[2J\n\u202e", "\x1b]0;": 1, "keep_colors": "\x07" + "x" * 5000})
    said = cli("info", OUT)
    assert said.code == 0
    assert all(character.isprintable() or character == "\n" for character in said.stdout)
    assert max(map(len, said.stdout.splitlines())) < 300


@pytest.mark.parametrize("words", ["info .", "info /", "info ..", "resume .", "resume /", "again .", "again /"])
def test_a_folder_is_one_line(cli: Cli, words: str) -> None:
    said = cli(*words.split())
    assert (said.code, said.stdout) == (2, "")
    assert "directory" in said.line


def test_another_programs_image_has_no_settings(cli: Cli) -> None:
    for command in ("info", "again"):
        assert cli(command, "photo.png").line == (
            "image photo.png has no settings: it was not made by impasto, or without metadata"
        )


# ----------------------------------------------------------------------------------------------------------------- resume


@pytest.fixture
def interrupted(cli: Cli) -> None:
    """A run that was stopped after its third step of nine."""
    with after_step(3):
        assert cli(*WORDS, "-o", OUT).code == 130


def test_resumed_is_the_same_image_and_record(cli: Cli, here: Path, interrupted: None) -> None:
    assert cli(*WORDS, "-o", "whole.png").code == 0
    with after_step(2):
        said = cli("resume", OUT, "--json")
    assert (said.code, said.json["exit_code"]) == (130, 130)
    assert said.line == "interrupted at 56%; the best image so far is in out.png; `impasto resume out.png` resumes it"
    assert "impasto: resuming at 33%" in said.lines
    said = cli("resume", STATE)  # by the state's own name too
    assert (said.code, said.lines) == (0, ["impasto: resuming at 56%"])
    assert said.stdout.startswith("wrote out.png (40x33) in ")
    assert same(OUT, "whole.png")
    assert names(here) == {"out.png", "whole.png"}
    assert cli("resume", OUT).line.startswith("out.png has no unfinished run (")


def test_info_says_how_far_it_is(cli: Cli, slow: None) -> None:
    with after_step(3):
        cli(*WORDS, "-o", OUT)
    seconds = unfinished.read(STATE).seconds
    assert seconds >= 42
    took = f"{seconds // 60:.0f} min {seconds % 60:02.0f} s" if seconds >= 59.5 else f"{seconds:.0f} s"
    told = rf"out\.png: unfinished, 33% done in {took}; `impasto resume out\.png` resumes it\n"
    assert re.fullmatch(told, cli("info", STATE).stdout)
    assert re.search(rf"interrupted at 33%\n(.*\n)+{told}", cli("info", OUT).stdout)
    OUT.unlink()
    assert re.fullmatch(told, cli("info", OUT).stdout)
    assert cli("info", OUT, "--json").json["done"] == pytest.approx(3 / 9)


def test_an_interrupted_image_can_be_made_again(cli: Cli, interrupted: None) -> None:
    said = cli("again", OUT)
    assert "impasto: it was interrupted at 33%; this one will be finished" in said.lines
    assert (said.code, "done" in stored("out-again.png")) == (0, False)


def test_inputs_are_found_from_elsewhere_and_no_folder_is_in_the_image(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = here / "private-folder"
    folder.mkdir()
    with after_step(3):
        cli(*WORDS, "--init", "another.png", "-o", folder / "first.png")
    Path("style.png").rename(folder / "style.png")  # where `again` would look
    for name in ("first.png", "first.png.unfinished"):
        (folder / name).rename(folder / name.replace("first", "moved"))
    monkeypatch.chdir("/")
    assert cli("resume", folder / "moved.png").code == 0
    data = (folder / "moved.png").read_bytes()
    assert b"photo.png" in data
    assert b"private-folder" not in data


@pytest.mark.parametrize("name", ["photo", "style"])
def test_another_input_is_refused(cli: Cli, interrupted: None, name: str) -> None:
    before = STATE.read_bytes()
    Path("another.png").replace(f"{name}.png")
    assert re.fullmatch(rf"{name} .*{name}\.png has changed \(its hash differs\).*", cli("resume", OUT).line)
    Path(f"{name}.png").unlink()
    assert re.fullmatch(rf"{name} .*{name}\.png is missing, so the run cannot be resumed", cli("resume", OUT).line)
    assert STATE.read_bytes() == before


def test_a_new_run_may_replace_an_unfinished_one(cli: Cli, here: Path, interrupted: None) -> None:
    said = cli("photo.png", "another.png", *QUICK, "-o", OUT)
    assert said.line.endswith("an unfinished run: `impasto resume out.png` resumes it; use --overwrite to start again")
    assert cli("photo.png", "another.png", *QUICK, "-o", OUT, "--overwrite").code == 0
    assert names(here) == {"out.png"}


def test_a_run_that_was_finished_already_is_cleaned_up(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    with monkeypatch.context() as patch:  # killed after the image is written
        patch.setattr(Recorder, "finish", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cli(*WORDS, "-o", OUT, "--frames", "film.gif")
    data = OUT.read_bytes()
    assert names(here) == {"out.png", STATE.name, "film.gif.unfinished"}
    assert cli("resume", OUT) == Said(0, "out.png was finished already\n", "")
    assert names(here) == {"out.png", "film.gif"}
    assert OUT.read_bytes() == data


# ------------------------------------------------------------------------------------------------------- metadata and EXIF


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_the_photographs_exif_nothing_is_copied_unless_asked(cli: Cli, suffix: str) -> None:
    """What exactly is kept is tested with pictures/."""
    exif = Image.Exif()
    exif[MAKE], exif[ORIENTATION], exif[HOST] = "Leica", 6, "my-laptop"
    Image.open("photo.png").save("photo.jpg", exif=exif)
    for name, word in (("out", "-q"), ("bare", "--no-metadata"), ("kept", "--keep-exif")):
        assert cli("photo.jpg", "style.png", "-o", f"{name}{suffix}", *QUICK, word).code == 0
    out, bare, kept = (Path(f"{name}{suffix}") for name in ("out", "bare", "kept"))
    assert [b"Leica" in file.read_bytes() for file in (out, bare, kept)] == [False, False, suffix != ".tif"]
    assert not any(word in bare.read_bytes() for word in (b"impasto", b"style.png", b"seed", b"eXIf", b"Exif"))
    assert "has no settings" in cli("again", bare).line
    with Image.open(kept) as image:
        assert (image.size, {ORIENTATION, HOST} & set(image.getexif())) == ((27, 32), set())
    assert record(kept)["keep_exif"] is True
    assert cli("again", kept).code == 0
    assert kept.read_bytes() == Path(f"kept-again{suffix}").read_bytes()


def test_a_photograph_without_exif_is_said(cli: Cli) -> None:
    said = cli("photo.png", "style.png", *QUICK, "--keep-exif")
    assert (said.code, said.lines) == (0, ["impasto: the photograph has no EXIF that could be kept"])


def test_threads_and_memory_are_in_info(cli: Cli) -> None:
    cli("photo.png", "style.png", "-o", OUT, *QUICK, "--max-memory", "3GB")
    assert (stored(OUT)["threads"], stored(OUT)["memory"]) == (torch.get_num_threads(), 3 * 10**9)
    assert f"threads      {torch.get_num_threads()}" in cli("info", OUT).stdout
