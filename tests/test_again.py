"""What a picture remembers, and making it again: the record, `impasto info`, `impasto again`, --no-metadata, --keep-exif."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Cli, noise
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import impasto
from impasto import pictures, records
from impasto.errors import OptionError, UsageError
from impasto.options import defaults
from impasto.styles import named

QUICK = ("--size", "32", "--iterations", "3", "--device", "cpu")
SUFFIXES = (".png", ".jpg", ".webp", ".tif")
MAKE, MODEL, ORIENTATION, DATE, HOST, EXIF, GPS = 0x010F, 0x0110, 0x0112, 0x0132, 0x013C, 0x8769, 0x8825

pytestmark = pytest.mark.usefixtures("here")


def sha256(file: str | Path) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def stored(file: str | Path) -> dict[str, Any]:
    settings = pictures.read_settings(file)
    assert settings is not None
    return settings


# ------------------------------------------------------------------------------------------------------------- the record


def test_the_record_says_how_it_was_made(cli: Cli, here: Path) -> None:
    noise(here / "sky.png", 40, 48, seed=3)
    noise(here / "start.png", 40, 48, seed=4)
    cli(
        "photo.png",
        "style.png",
        "-o",
        "out.png",
        *QUICK,
        "--mask",
        "sky.png=photo.png",
        "--init",
        "start.png",
        "--tv-weight",
        2,
    )
    found = stored("out.png")
    assert found["inputs"] == {
        "photo": {"name": "photo.png", "sha256": sha256("photo.png")},
        "style": {"name": "style.png", "sha256": sha256("style.png")},
        "mask": {"name": "sky.png", "sha256": sha256("sky.png")},
        "style of mask": {"name": "photo.png", "sha256": sha256("photo.png")},
        "init": {"name": "start.png", "sha256": sha256("start.png")},
    }
    assert (found["impasto"], found["torch"]) == (impasto.__version__, torch.__version__)
    assert found["encoder_digest"] == impasto.Stylizer(device="cpu").encoder.digest != ""
    assert (found["width"], found["height"]) == (32, 27)
    assert found["seconds"] > 0
    assert found["losses"].keys() == {"content", "style", "palette", "variation"}
    with Image.open("out.png") as image:
        assert found["picture"] == hashlib.sha256(b"RGB 32x27\n" + np.asarray(image).tobytes()).hexdigest()


def test_several_styles_and_a_weights_file_have_roles(cli: Cli, here: Path, assets: Path) -> None:
    noise(here / "third.png", 40, 40, seed=5)
    weights = here / "mine.safetensors"
    weights.write_bytes((assets / "lite.safetensors").read_bytes())
    assert cli("photo.png", "style.png", "third.png", "-o", "out.png", *QUICK, "--weights", weights).code == 0
    found = stored("out.png")
    assert list(found["inputs"]) == ["photo", "style", "style 2", "weights"]
    assert found["inputs"]["weights"] == {"name": "mine.safetensors", "sha256": sha256(weights)}
    assert found["styles"] == ["style.png", "third.png"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_folder_user_or_machine_is_named(cli: Cli, here: Path, suffix: str) -> None:
    private = here / "private-folder"
    private.mkdir()
    for name in ("photo.png", "style.png"):
        (here / name).rename(private / name)
    out = private / f"out{suffix}"
    mask = f"{private / 'photo.png'}={private / 'style.png'}"
    assert (
        cli(
            private / "photo.png", private / "style.png", "-o", out, "--init", private / "photo.png", "--mask", mask, *QUICK
        ).code
        == 0
    )
    written = out.read_bytes()
    assert b"photo.png" in written
    said = json.dumps(stored(out)).encode()
    for word in (b"private-folder", str(Path.home()).encode(), platform.node().encode(), getpass.getuser().encode()):
        # a short name may stand in compressed pixels by chance, so for that only what is said counts
        assert word in (b"", b"/", b"root") or word not in (written if len(word) > 3 else said)


def test_a_png_has_it_as_text_too(cli: Cli) -> None:
    cli("photo.png", "style.png", "-o", "out.png", *QUICK)
    with Image.open("out.png") as image:
        assert json.loads(image.text["impasto"]) == stored("out.png")


def test_strength_0_has_no_losses(cli: Cli) -> None:
    assert cli("photo.png", "style.png", "-o", "out.png", *QUICK, "--strength", 0).code == 0
    assert "losses" not in stored("out.png")
    assert cli("again", "out.png").code == 0
    assert sha256("out.png") == sha256("out-again.png")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_an_interrupted_picture_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from impasto.cli import painting

    follow = painting.follow

    def interrupted(steps: Iterator[Any], *, quiet: bool) -> None:
        def some() -> Iterator[Any]:
            for step in steps:
                yield step
                os.kill(os.getpid(), signal.SIGINT)

        follow(some(), quiet=quiet)

    with monkeypatch.context() as patch:
        patch.setattr(painting, "follow", interrupted)
        assert cli("photo.png", "style.png", "-o", "out.png", *QUICK).code == 130
    assert 0 < stored("out.png")["done"] < 1
    assert "interrupted at " in cli("info", "out.png").stdout
    said = cli("again", "out.png")
    assert said.code == 0
    assert any("it was interrupted at" in line for line in said.lines)
    assert "done" not in stored("out-again.png")


# ------------------------------------------------------------------------------------------------------------------ again


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_again_gives_the_same_bytes(cli: Cli, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("photo.png", "style.png", "-o", f"out{suffix}", *QUICK, "--method", "gatys", "--encoder", "lite", "--seed", 5)
    monkeypatch.setattr(records, "round", lambda number, digits: 987.6, raising=False)  # how long it takes this time
    said = cli("again", f"out{suffix}")
    assert said.code == 0
    assert said.lines == []
    assert said.stdout.startswith(f"wrote out-again{suffix} (32x27) in ")
    assert said.stdout.endswith(": the same picture, pixel by pixel\n")
    assert Path(f"out-again{suffix}").read_bytes() == Path(f"out{suffix}").read_bytes()


def test_again_finds_every_kind_of_input_beside_the_picture(cli: Cli, here: Path, assets: Path) -> None:
    place = here / "place"
    place.mkdir()
    for name in ("photo.png", "style.png"):
        (here / name).rename(place / name)
    for number, name in enumerate(("sky.png", "other=sky.png", "start.png", "third.png")):
        noise(place / name, 40, 48, seed=10 + number)
    (place / "w.safetensors").write_bytes((assets / "lite.safetensors").read_bytes())
    masks = ("--mask", f"{place / 'sky.png'}=keep", "--mask", f"{place / 'other=sky.png'}={place / 'third.png'}")
    files = ("--init", place / "start.png", "--weights", place / "w.safetensors")
    words = (*QUICK, *masks, *files, "--blend", 1, 2, "-o", place / "out.png")
    assert cli(place / "photo.png", place / "style.png", place / "third.png", *words).code == 0
    assert cli("again", place / "out.png").code == 0
    assert sha256(place / "out.png") == sha256(place / "out-again.png")


def test_again_with_a_pair_of_masks(cli: Cli, here: Path) -> None:
    for name in ("here.png", "there.png"):
        Image.fromarray(np.repeat([[0, 255]], 40, axis=0).repeat(24, axis=1).astype(np.uint8)).save(name)
    assert (
        cli("photo.png", "photo.png", *QUICK, "--content-mask", "here.png", "--style-mask", "there.png", "-o", "out.png").code
        == 0
    )
    assert cli("again", "out.png").code == 0
    assert sha256("out.png") == sha256("out-again.png")


def test_again_finds_styles_by_name_and_in_files(cli: Cli, here: Path) -> None:
    first, second, *_ = named.names()
    (here / "mine.style").write_bytes(named.path(second).read_bytes())
    noise(here / "sky.png", 40, 48, seed=3)
    assert cli("photo.png", first, "mine.style", "--mask", f"sky.png={second}", *QUICK, "-o", "out.png").code == 0
    found = stored("out.png")
    assert found["styles"] == [f"{first}.style", "mine.style"]
    assert found["inputs"]["style of mask"] == {"name": f"{second}.style", "sha256": sha256(named.path(second))}
    assert found["mask"] == [f"sky.png={second}"]
    assert cli("again", "out.png").code == 0
    assert sha256("out.png") == sha256("out-again.png")


def test_again_looks_in_this_folder_too_and_takes_the_file_that_is_right(cli: Cli, here: Path) -> None:
    cli("photo.png", "style.png", "-o", "out.png", *QUICK)
    (here / "elsewhere").mkdir()
    Path("out.png").rename("elsewhere/out.png")
    noise(here / "elsewhere" / "photo.png", 40, 48, seed=77)  # of the same name, and another
    said = cli("again", "elsewhere/out.png")
    assert (said.code, said.lines) == (0, [])
    assert sha256("elsewhere/out.png") == sha256("elsewhere/out-again.png")


def test_the_demo_can_be_made_again(cli: Cli) -> None:
    assert cli("demo", *QUICK).code == 0
    assert cli("again", "impasto-demo.png").code == 0
    assert sha256("impasto-demo.png") == sha256("impasto-demo-again.png")


def test_again_takes_changes(cli: Cli) -> None:
    cli("photo.png", "style.png", "-o", "out.png", *QUICK, "--style-weight", 33)
    said = cli("again", "out.png", "--size", 40, "--keep-colors", "luma", "-o", "new.webp")
    assert said.code == 0
    assert "same picture" not in said.stdout
    found = stored("new.webp")
    assert (found["size"], found["keep_colors"], found["style_weight"], found["iterations"]) == (40, "luma", 33, 3)
    same = cli(
        "photo.png", "style.png", "-o", "same.webp", *QUICK[2:], "--size", 40, "--keep-colors", "luma", "--style-weight", 33
    )
    assert same.code == 0
    np.testing.assert_array_equal(np.asarray(Image.open("new.webp")), np.asarray(Image.open("same.webp")))


def test_a_changed_quality_method_or_encoder_brings_its_defaults_where_nothing_else_was_stored(here: Path) -> None:
    settings = impasto.Options(encoder="lite", style_weight=33).model_dump(mode="json")
    earlier = records.Earlier(here / "out.png", settings, records.Made())
    assert earlier.options({}).iterations == defaults("impasto", "lite")["iterations"]
    assert earlier.options({"quality": "best"}).iterations == defaults("impasto", "lite", "best")["iterations"]
    gatys = earlier.options({"method": "gatys"})
    assert (gatys.content_taps, gatys.style_weight, gatys.init) == (("relu4_1",), 33, "noise")
    assert earlier.options({"encoder": "vgg19"}).pooling == "average"
    own = records.Earlier(here / "out.png", settings | {"iterations": 7}, records.Made())
    assert own.options({"quality": "best"}).iterations == 7
    assert earlier.options({"quality": "best", "iterations": 9}).iterations == 9


def test_what_was_stored_outlives_other_defaults(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = impasto.Options(encoder="lite").model_dump(mode="json")
    earlier = records.Earlier(here / "out.png", settings, records.Made())
    before = earlier.options({}).style_weight
    monkeypatch.setattr("impasto.options.DEFAULTS", (*impasto.options.DEFAULTS, ({}, {"style_weight": 5.0})))
    assert impasto.Options().style_weight == 5
    assert earlier.options({"size": 64}).style_weight == before


def test_again_with_other_inputs(cli: Cli, here: Path) -> None:
    noise(here / "beach.png", 48, 48, seed=8)
    cli("photo.png", "style.png", "-o", "out.png", *QUICK)
    said = cli("again", "out.png", "beach.png")
    assert said.lines == ["impasto: photo beach.png is not the one it was made from (its hash differs)"]
    assert stored("out-again.png")["inputs"]["photo"] == {"name": "beach.png", "sha256": sha256("beach.png")}
    assert stored("out-again.png")["styles"] == ["style.png"]
    assert (stored("out-again.png")["width"], stored("out-again.png")["height"]) == (32, 32)
    said = cli("again", "out.png", "photo.png", "beach.png", "style.png", "-o", "two.png")
    assert said.lines == ["impasto: style beach.png is not the one it was made from (its hash differs)"]
    assert stored("two.png")["styles"] == ["beach.png", "style.png"]


def test_an_input_that_was_changed_since_is_said_and_one_that_is_gone_ends_it(cli: Cli, here: Path) -> None:
    cli("photo.png", "style.png", "-o", "out.png", *QUICK)
    noise(here / "style.png", 48, 40, seed=99)
    said = cli("again", "out.png")
    assert said.code == 0
    assert said.lines == ["impasto: style style.png is not the one it was made from (its hash differs)"]
    assert "same picture" not in said.stdout
    Path("style.png").unlink()
    said = cli("again", "out.png", "-o", "more.png")
    missing = "impasto: style style.png is neither beside out.png nor in this folder; name it: impasto again FILE PHOTO STYLE"
    assert (said.code, said.stdout, said.stderr) == (2, "", missing + "\n")
    assert not Path("more.png").exists()


@pytest.mark.parametrize(
    ("was", "word"),
    [
        ({"impasto": "0.0.1"}, f"it was made with impasto 0.0.1, and this is {impasto.__version__}"),
        ({"torch": "1.0"}, f"it was made with torch 1.0, and this is {torch.__version__}"),
        ({"encoder_digest": "ab"}, "the encoder's weights are not those it was made with (their hash differs)"),
        ({"ran_on": "cuda bf16"}, "it was computed on cuda bf16, and this is cpu "),
        ({"brush": 3, "canvas": 1}, "out.png remembers what this version of impasto leaves out: brush, canvas"),
    ],
)
def test_what_is_different_now_is_said(cli: Cli, was: dict[str, object], word: str) -> None:
    cli("photo.png", "style.png", "-o", "out.png", *QUICK)
    remember("out.png", stored("out.png") | was)
    said = cli("again", "out.png")
    assert said.code == 0
    assert len(said.lines) == 1
    assert said.lines[0].startswith(f"impasto: {word}")
    assert said.stdout.endswith(": the same picture, pixel by pixel\n")


def remember(name: str, settings: dict[str, object]) -> None:
    with Image.open(name) as image:
        image.load()
        pictures.save(image, name, settings=settings, overwrite=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_how_much_another_picture_differs_is_said(cli: Cli, suffix: str) -> None:
    name = f"out{suffix}"
    cli("photo.png", "style.png", "-o", name, *QUICK)
    found = stored(name)
    with Image.open(name) as image:
        pixels = np.asarray(image).astype(int)
    pixels[:9] += np.where(pixels[:9] < 128, 40, -40)  # a third of its 27 rows
    pictures.save(Image.fromarray(pixels.astype(np.uint8)), name, settings=found | {"picture": "another"}, overwrite=True)
    said = cli("again", name, "--json")
    line = said.stdout.splitlines()[0]
    if suffix == ".jpg":  # which spreads a difference over its blocks
        assert ": not the same picture: " in line
    else:
        assert line.endswith(": not the same picture: 33.3% of its pixels differ, by at most 40 of the levels of 8 bits")
    assert json.loads(said.stdout.splitlines()[1])["compared"] in line


# ------------------------------------------------------------------------------------------------------------------- info


def test_info_lists_what_matters(cli: Cli) -> None:
    cli("photo.png", "style.png", "-o", "out.png", *QUICK, "--style-weight", 33, "--keep-colors", "match")
    said = cli("info", "out.png")
    assert (said.code, said.stderr) == (0, "")
    lines = said.stdout.splitlines()
    assert lines[0].startswith(f"out.png: 32x27, made by impasto {impasto.__version__} in ")
    words = [line.split() for line in lines]
    assert ["photo", "photo.png", "sha256", sha256("photo.png")[:12]] in words
    how = words[words.index(["how"]) + 1 : words.index(["with"])]
    assert [row[0] for row in how[:4]] == ["method", "encoder", "size", "quality"]
    assert {tuple(row) for row in how[4:]} == {
        ("keep-colors", "match"),
        ("iterations", "3"),
        ("style-weight", "33"),
        ("device", "cpu"),
    }
    assert {"content", "style"} <= {row[0] for row in words[words.index(["losses"]) :]}


def test_info_as_json_is_all_of_it(cli: Cli) -> None:
    cli("photo.png", "style.png", "-o", "out.png", *QUICK)
    said = cli("info", "out.png", "--json")
    assert json.loads(said.stdout) == stored("out.png")
    assert len(said.stdout.splitlines()) == 1


def test_info_shows_no_control_characters(cli: Cli) -> None:
    cli("photo.png", "style.png", "-o", "out.png", *QUICK)
    remember("out.png", stored("out.png") | {"torch": "1\x1b[2J\n\u202e", "\x1b]0;": 1, "keep_colors": "\x07" + "x" * 5000})
    said = cli("info", "out.png")
    assert said.code == 0
    assert all(character.isprintable() or character == "\n" for character in said.stdout)
    assert max(map(len, said.stdout.splitlines())) < 300


def test_another_programs_picture_has_no_settings(cli: Cli) -> None:
    for command in ("info", "again"):
        said = cli(command, "photo.png")
        assert (said.code, said.stdout) == (2, "")
        assert said.lines == ["impasto: picture photo.png has no settings: it was not made by impasto, or with --no-metadata"]


# ---------------------------------------------------------------------------------------------------------- hostile records


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": []},
        {"inputs": {"photo": "photo.png"}},
        {"inputs": {"photo": {"name": "../photo.png", "sha256": ""}}},
        {"inputs": {"photo": {"name": "/etc/passwd", "sha256": ""}}},
        {"inputs": {"photo": {"name": "..", "sha256": ""}}},
        {"inputs": {"photo": {"name": "a\0b", "sha256": ""}}},
        {"seconds": "soon"},
        {"seconds": -1},
        {"losses": {"style": None}},
        {"picture": 7},
        {"width": [1]},
        {"done": 2},
    ],
)
def test_damaged_records_are_refused(here: Path, wrong: dict[str, object]) -> None:
    pictures.save(Image.new("RGB", (32, 32)), "out.png", settings=wrong)
    with pytest.raises(UsageError, match=r"picture out\.png: its settings are damaged: ") as caught:
        records.read(Path("out.png"))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "magic"},
        {"size": 10**300},
        {"size": {"a": 1}},
        {"iterations": -1},
        {"mask": [1]},
        {"style_taps": "x" * 9000},
        {"seed": None},
    ],
)
def test_damaged_options_are_refused(here: Path, wrong: dict[str, object]) -> None:
    earlier = records.Earlier(Path("out.png"), wrong, records.Made())
    if wrong == {"style_taps": "x" * 9000}:  # a name like any other; the encoder says that it has no such tap
        assert earlier.options({}).style_taps == ("x" * 9000,)
        return
    with pytest.raises(OptionError, match=r"picture out\.png: its settings cannot be used: ") as caught:
        earlier.options({"size": 32} if "size" not in wrong else {})
    assert len(str(caught.value)) < 300


# ---------------------------------------------------------------------------------------------- --no-metadata, --keep-exif


def photographed(file: Path, *, orientation: int = 6) -> None:
    """A photograph with all a telephone writes."""
    exif = Image.Exif()
    exif[MAKE], exif[MODEL], exif[ORIENTATION], exif[DATE], exif[HOST] = (
        "Leica",
        "Q3",
        orientation,
        "2024:05:01 10:00:00",
        "my-laptop",
    )
    exif[EXIF] = {
        0x829A: IFDRational(1, 250),
        0x9003: "2024:05:01 10:00:00",
        0x9204: IFDRational(-1, 3),
        0xA002: 4000,
        0xA003: 3000,
        0xA420: "unique-image-id",
        0x927C: b"maker-note",
        0x9286: b"ASCII\0\0\0a comment",
        0xA434: "Summilux",
    }
    exif[GPS] = {0: b"\2\3\0\0", 1: "N", 2: (IFDRational(48), IFDRational(51), IFDRational(2989, 100)), 29: "2024:05:01"}
    Image.fromarray(np.random.default_rng(6).integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(file, exif=exif)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_of_the_photographs_exif_is_copied_by_default(cli: Cli, here: Path, suffix: str) -> None:
    photographed(here / "photo.jpg")
    assert cli("photo.jpg", "style.png", "-o", f"out{suffix}", *QUICK).code == 0
    with Image.open(f"out{suffix}") as image:
        exif = image.getexif()
        assert not {MAKE, MODEL, ORIENTATION, DATE, HOST} & set(exif)
        assert exif.get_ifd(GPS) == {}
        assert set(exif.get_ifd(EXIF)) <= {0x9286}
    assert b"Leica" not in Path(f"out{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES[:3])  # a TIFF keeps none
def test_keep_exif_keeps_what_is_true_of_the_result(cli: Cli, here: Path, suffix: str) -> None:
    photographed(here / "photo.jpg")
    out = f"out{suffix}"
    said = cli("photo.jpg", "style.png", "-o", out, *QUICK, "--keep-exif")
    assert (said.code, said.lines) == (0, [])
    with Image.open(out) as image:
        image.load()
        assert image.size == (27, 32)  # upright
        exif, camera, gps = image.getexif(), image.getexif().get_ifd(EXIF), image.getexif().get_ifd(GPS)
    assert (exif[MAKE], exif[MODEL], exif[DATE], exif[0x0131]) == ("Leica", "Q3", "2024:05:01 10:00:00", "impasto")
    assert not {ORIENTATION, HOST} & set(exif)
    assert (float(camera[0x829A]), camera[0x9003], camera[0xA434]) == (1 / 250, "2024:05:01 10:00:00", "Summilux")
    assert float(camera[0x9204]) == pytest.approx(-1 / 3)
    assert not {0xA002, 0xA003, 0xA420, 0x927C} & set(camera)
    assert (gps[0], gps[1], tuple(map(float, gps[2])), gps[29]) == (b"\2\3\0\0", "N", (48, 51, 29.89), "2024:05:01")
    assert stored(out)["keep_exif"] is True
    for word in (b"maker-note", b"a comment", b"my-laptop", b"unique-image-id"):
        assert word not in Path(out).read_bytes()
    assert cli("again", out).code == 0
    assert sha256(out) == sha256(f"out-again{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_metadata_leaves_all_out(cli: Cli, here: Path, suffix: str) -> None:
    photographed(here / "photo.jpg")
    out = f"out{suffix}"
    assert cli("photo.jpg", "style.png", "-o", out, *QUICK, "--no-metadata").code == 0
    written = Path(out).read_bytes()
    assert all(word not in written for word in (b"impasto", b"style.png", b"Leica", b"seed", b"eXIf", b"Exif"))
    with Image.open(out) as image:
        exif = image.getexif()
        assert not {0x0131, 0x9286, MAKE, DATE} & set(exif)
        assert exif.get_ifd(EXIF) == exif.get_ifd(GPS) == {}
    said = cli("again", out)
    assert (said.code, len(said.lines)) == (2, 1)
    assert "has no settings" in said.stderr


def test_both_at_once_are_refused_and_a_photograph_without_exif_is_said(cli: Cli) -> None:
    said = cli("photo.png", "style.png", *QUICK, "--no-metadata", "--keep-exif")
    assert (said.code, said.lines) == (2, ["impasto: --no-metadata and --keep-exif exclude each other"])
    said = cli("photo.png", "style.png", *QUICK, "--keep-exif")
    assert (said.code, said.lines) == (0, ["impasto: photograph photo.png has no EXIF that could be kept"])


def test_previews_hold_no_settings(cli: Cli) -> None:
    cli("photo.png", "style.png", "-o", "out.png", *QUICK, "--preview", 2)
    assert pictures.read_settings("out-step00002.png") is None
