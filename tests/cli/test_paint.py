"""Painting by words: names, formats, standard input and output, JSON, notes. Unusual inputs are in tests/test_inputs.py."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import QUICK, Cli, Said, after_step, fail_with, names, noise, pixels_of, press_control_c, save_pixels, start
from PIL import Image

import impasto
from impasto import catalog, fast, pictures
from impasto.cli import main
from impasto.errors import DivergenceError

OUT = "photo-style.png"

pytestmark = pytest.mark.usefixtures("here")


# ------------------------------------------------------------------------------------------------------- names and formats


def test_the_result_is_next_to_the_photograph_and_named_after_both(cli: Cli, here: Path) -> None:
    holiday = here / "holiday"
    holiday.mkdir()
    Path("photo.png").rename(holiday / "beach.1.png")
    said = cli("holiday/beach.1.png", "style.png", *QUICK)
    assert (said.code, said.stderr) == (0, "")
    assert names(holiday) == {"beach.1.png", "beach.1-style.png"}
    assert re.fullmatch(r"wrote holiday.beach\.1-style\.png \(32x27\) in [\d.]+ s\n", said.stdout)
    assert pixels_of(holiday / "beach.1-style.png").shape == (27, 32, 3)
    assert cli("holiday/beach.1.png", "starry-night", "another.png", *QUICK, "-q").code == 0
    assert cli("holiday/beach.1.png", "--mask", "mask.png=style.png", *QUICK, "-q").code == 0
    assert names(holiday) >= {"beach.1-starry-night-another.png", "beach.1-painted.png"}


@pytest.mark.parametrize(
    ("name", "kind"), [("result.PNG", "PNG"), ("result.jpg", "JPEG"), ("result.webp", "WEBP"), ("result.tiff", "TIFF")]
)
def test_the_suffix_chooses_the_format_and_settings_are_in_each(cli: Cli, here: Path, name: str, kind: str) -> None:
    said = cli("photo.png", "style.png", "-o", name, *QUICK, "--style-weight", "77.5", "--seed", 9, "--json")
    assert names(here) == {name}
    with Image.open(name) as image:
        assert (image.format, image.mode, image.size) == (kind, "RGB", (32, 27))
    stored = pictures.read_settings(name)
    assert stored is not None
    assert stored == said.json["settings"]
    assert {"size": 32, "iterations": 3, "seed": 9, "style_weight": 77.5, "device": "cpu"}.items() <= stored.items()


@pytest.mark.parametrize("name", ["été à la 画像 №1", "it's; $HOME & * 100%[red]", "a" * 200])
def test_file_names_are_free(cli: Cli, here: Path, name: str) -> None:
    Path("photo.png").rename(f"{name}.png")
    said = cli(f"{name}.png", "style.png", *QUICK, "--json")
    assert f"wrote {name}-style.png (32x27)" in said.stdout
    assert said.json["output"] == f"{name}-style.png"
    assert names(here) == {f"{name}.png", f"{name}-style.png"}


@pytest.mark.parametrize(("encoding", "name"), [("ascii", "画"), ("utf-8", os.fsdecode(b"caf\xe9"))])
def test_a_terminal_that_cannot_show_the_name_is_no_failure(here: Path, encoding: str, name: str) -> None:
    try:
        Path("photo.png").rename(f"{name}.png")
    except OSError:
        pytest.skip("this file system has no such names")
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, encoding=encoding)) as narrow:
        assert main([f"{name}.png", "style.png", *QUICK, "--json"]) == 0
        narrow.flush()
        said = raw.getvalue()
    assert said.startswith(b"wrote ")
    assert json.loads(said.splitlines()[-1])["output"] == f"{name}-style.png"


def test_options_may_stand_anywhere_and_a_name_may_begin_with_a_dash(cli: Cli, here: Path) -> None:
    Path("photo.png").rename("-o.png")
    words = (
        (*QUICK, "--taps", "relu1_1", "--", "-o.png", "style.png"),
        ("./-o.png", "--taps=relu1_1", *QUICK, "style.png"),
        ("./-o.png", "style.png", "--style-taps", "relu1_1", *QUICK),
    )
    for line in words:
        said = cli("--json", "--overwrite", *line)
        assert said.code == 0
        assert said.json["settings"]["style_taps"] == ["relu1_1"]
    assert names(here) == {"-o.png", "-o-style.png"}


def test_what_the_format_cannot_hold_is_said_unless_quiet(cli: Cli) -> None:
    save_pixels("photo.png", np.random.default_rng(2).integers(0, 200, (40, 48, 4)))
    assert cli("photo.png", "style.png", *QUICK, "-o", "result.jpg").line == (
        "result.jpg: JPEG has no transparency, so transparent parts are white"
    )
    assert cli("photo.png", "style.png", *QUICK, "-o", "quiet.jpg", "--quiet", "--method", "gatys") == Said(0, "", "")


def test_an_image_to_start_from_and_seeds(cli: Cli) -> None:
    Path("another.png").write_bytes(Path("photo.png").read_bytes())
    noise(Path("photo.png"), 40, 48, seed=9)
    # the first step evaluates the start, and only then is there anything to change
    assert cli("photo.png", "style.png", "--init", "another.png", "--size", "original", "--iterations", 1).code == 0
    assert (pixels_of(OUT) == pixels_of("another.png")).all()
    for name, seed in (("a.png", 5), ("b.png", 5), ("c.png", 6)):
        assert cli("photo.png", "style.png", *QUICK, "--init", "noise", "--seed", seed, "-o", name).code == 0
    assert (pixels_of("a.png") == pixels_of("b.png")).all()
    assert (pixels_of("a.png") != pixels_of("c.png")).any()


# ------------------------------------------------------------------------------------------------ standard input and output


def test_standard_output_is_exactly_a_png(here: Path, cli: Cli) -> None:
    data = Path("photo.png").read_bytes()
    with start("-m", "impasto", "-", "style.png", "-o", "-", "-q", *QUICK, text=False, stdin=subprocess.PIPE) as process:
        image, said = process.communicate(data)
    assert (process.returncode, said) == (0, b"")
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert image.endswith(b"IEND\xaeB`\x82")
    assert names(here) == set()
    stored = pictures.read_settings(image)
    assert stored is not None
    assert stored["inputs"]["photo"]["name"] == ""  # type: ignore[index]
    assert cli("photo.png", "style.png", *QUICK).code == 0
    assert (pixels_of(io.BytesIO(image)) == pixels_of(OUT)).all()
    assert cli("photo.png", "style.png", "-o", "-", "--json").line == (
        "--json cannot be used when the image goes to standard output"
    )
    Path("piped.png").write_bytes(image)
    assert cli("again", "piped.png").line == "photo of piped.png was not a file; name one"
    assert "the same image, pixel by pixel" in cli("again", "piped.png", "photo.png").stdout
    assert "photo" in cli("info", "piped.png").stdout


def test_standard_input_to_a_file(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("photo.png").open() as photo:
        monkeypatch.setattr("sys.stdin", photo)
        said = cli("-", "style.png", *QUICK)
    assert said.stdout.startswith("wrote stdin-style.png (32x27) in ")
    assert names(here) == {"stdin-style.png"}


# -------------------------------------------------------------------------------------------------------------- what is said


def test_json_is_the_last_line_and_with_quiet_the_only_one(cli: Cli) -> None:
    said = cli("photo.png", "style.png", *QUICK, "--tv-weight", 1, "--json", "--method", "gatys")
    assert said.stdout.startswith("wrote ")
    assert "weights are not on this machine, so lite is used" in said.line
    found = said.json
    assert (found["output"], found["width"], found["height"], found["exit_code"]) == (OUT, 32, 27, 0)
    assert found["notes"] == [said.line]
    assert found["seconds"] >= 0
    assert set(found["losses"]) == {"content", "style", "variation"}
    assert all(loss >= 0 for loss in found["losses"].values())
    assert (found["settings"]["encoder"], found["settings"]["init"]) == ("lite", "noise")  # what was used is what is stored
    quiet = cli("photo.png", "style.png", *QUICK, "--quiet", "--json", "--overwrite")
    assert (len(quiet.stdout.splitlines()), quiet.stderr, quiet.json["exit_code"]) == (1, "", 0)


@pytest.mark.parametrize(("words", "code"), [("photo.png missing.png", 2), ("photo.png style.png --encoder vgg16", 1)])
def test_errors_end_with_json_too(cli: Cli, here: Path, words: str, code: int) -> None:
    said = cli(*words.split(), "--json")
    assert (said.code, json.loads(said.stdout)) == (code, {"error": said.line, "exit_code": code})
    assert cli(*words.split(), "--json=true").json["exit_code"] == code
    assert cli(*words.split(), "--json=false").stdout == ""
    assert names(here) == set()


def test_words_of_the_user_are_left_alone(cli: Cli) -> None:
    for words in ("my-size-mask", "{size}_style_weight", "my_max_pixels.png"):
        said = cli("photo.png", "style.png", "--mask", words)
        assert said.line == f"--mask must be MASK=STYLE or MASK=keep, not '{words}'"
        assert cli(words, "style.png", *QUICK).line.startswith(f"photograph {words}: ")
    assert cli("photo.png", "style.png", "--content-mask", "mask.png").line.endswith("; add --style-mask")


def test_losses_that_diverge_save_the_last_good_image_and_name_a_flag(cli: Cli) -> None:
    with after_step(2, fail_with(DivergenceError("the palette loss diverged", remedy="try a smaller {palette_weight}"))):
        said = cli("photo.png", "style.png", *QUICK, "--json")
    problem = "the palette loss diverged; try a smaller --palette-weight at 67%"
    assert (said.code, said.line) == (1, f"{problem}; the best image so far is in {OUT}")
    assert said.json["error"] == problem
    assert pixels_of(OUT).shape == (27, 32, 3)


# --------------------------------------------------------------------------------------------------------------------- demo


def test_the_demo_needs_nothing_and_may_be_run_again(cli: Cli, here: Path) -> None:
    for _ in range(2):
        said = cli("demo", "--size", 64, "--iterations", 3)
        assert said.code == 0
        assert said.stdout.startswith("wrote impasto-demo.png (64x43) in ")
        assert "the style is that of The Scream" in said.stderr
        assert names(here) == {"impasto-demo.png"}
    Path("impasto-demo.png").write_bytes(Path("photo.png").read_bytes())  # another image is not replaced
    assert cli("demo", *QUICK).lines[-1] == "impasto: impasto-demo.png exists; use --overwrite to replace it"
    assert cli("demo", *QUICK, "--taps", "relu1_1", "-o", "other.webp").code == 0
    assert cli("demo", *QUICK, "-o", "other.webp").code == 2


DEMO, QUICKER = "impasto-demo.png", "impasto-demo-instant.png"


def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have qualities normal and best take two steps."""
    for where, row in catalog.DEFAULTS:
        if "iterations" in row and where != {"quality": "instant"}:
            monkeypatch.setitem(row, "iterations", 2)


def test_the_demo_shows_an_instant_result_first(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short(monkeypatch)
    for _ in range(2):
        said = cli("demo", "--size", 64, "--json", "--preview", 2)
        first, second, line = said.stdout.splitlines()
        assert re.fullmatch(rf"wrote {QUICKER} \(64x43\) in [\d.]+ s", first)
        assert re.fullmatch(rf"wrote {DEMO} \(64x43\) in [\d.]+ s", second)
        assert json.loads(line)["output"] == DEMO
        assert names(here) == {DEMO, QUICKER, "impasto-demo-step00000.png", "impasto-demo-step00002.png"}
    assert (pixels_of(QUICKER) == pixels_of("impasto-demo-step00000.png")).all()
    stored = {name: pictures.read_settings(name) or {} for name in (DEMO, QUICKER)}
    assert [stored[name]["quality"] for name in (DEMO, QUICKER)] == ["normal", "instant"]
    assert stored[DEMO]["inputs"] == stored[QUICKER]["inputs"]
    assert cli("demo", "--size", 64, "--quality", "instant", "-o", "only.png", "-q") == Said(0, "", "")
    assert (pixels_of("only.png") == pixels_of(QUICKER)).all()
    assert not Path("only-instant.png").exists()


@pytest.mark.parametrize(
    "words",
    [
        "--quality instant",
        "--quality draft",
        "--iterations 2",
        "--taps relu1_1",
        "--init noise",
        "--strength 1 --style-weight 5",
    ],
)
def test_the_demo_paints_one_image_where_instant_is_no_other_or_does_not_apply(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    short(monkeypatch)
    said = cli("demo", "--size", 48, *words.split())
    assert (said.code, names(here)) == (0, {DEMO})


def test_the_instant_demo_goes_where_the_demo_goes(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short(monkeypatch)
    assert cli("demo", "--size", 48, "-o", "cat.webp", "--quality", "best").code == 0
    assert names(here) == {"cat.webp", "cat-instant.webp"}
    for name in ("cat.webp", "cat-instant.webp"):
        there = Path(name).read_bytes()
        Path(name).unlink()
        Path(name).write_bytes(b"mine")
        other = next(iter(names(here) - {name}), "")
        Path(other).unlink()
        assert cli("demo", "--size", 48, "-o", "cat.webp").lines[-1] == f"impasto: {name} exists; use --overwrite to replace it"
        assert names(here) == {name}
        assert cli("demo", "--size", 48, "-o", "cat.webp", "--overwrite").code == 0
        assert Path(name).read_bytes()[:4] == there[:4]
    Path(QUICKER).write_bytes(Path("photo.png").read_bytes())  # another image is not replaced
    assert cli("demo", "--size", 48).lines[-1] == f"impasto: {QUICKER} exists; use --overwrite to replace it"
    assert not Path(DEMO).exists()
    Path(QUICKER).unlink()
    assert cli("demo", "--size", 48, "--dry-run").code == 0
    assert names(here) == {"cat.webp", "cat-instant.webp"}


def test_an_interrupted_instant_demo_is_the_end(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(session: fast.Instant) -> Iterator[Any]:
        press_control_c()
        yield

    monkeypatch.setattr(fast.Instant, "__iter__", stop)
    said = cli("demo", "--size", 48)
    assert (said.code, said.lines[-1]) == (130, "impasto: interrupted; nothing was written")
    assert names(here) == set()


@pytest.mark.parametrize(
    "words", ["--pooling average", "--keep-colors luma", "--method gatys --encoder lite", "--taps trunk3_1"]
)
def test_the_demo_takes_a_painting_where_a_stored_style_cannot_be_used(cli: Cli, words: str) -> None:
    said = cli("demo", *QUICK, *words.split())
    assert said.code == 0
    assert "the painting is strokes.jpg" in said.stderr
    assert impasto.__version__ in cli("info", "impasto-demo.png").stdout
