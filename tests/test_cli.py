"""The command line as a user meets it: files, words, exit codes, Ctrl-C. Unusual inputs are in test_inputs.py."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from command_line import Cli, Said
from PIL import Image
from safetensors.numpy import save_file

import impasto
from impasto import pictures
from impasto.cli import main

ROOT = Path(__file__).resolve().parent.parent
QUICK = ("--size", "32", "--iterations", "2", "--device", "cpu")
ENDLESS = ("--size", "64", "--iterations", "100000", "--device", "cpu")
STEMS = "photo-style.png"
GOES_ON = f"; `impasto resume {STEMS}` goes on from there"
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

pytestmark = pytest.mark.usefixtures("here")


def save_pixels(name: str, pixels: np.ndarray, folder: Path = Path()) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(folder / name)


def pixels_of(name: str | Path) -> np.ndarray:
    with Image.open(name) as image:
        return np.asarray(image)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, words)]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, **pipes | options)


# ------------------------------------------------------------------------------------------------------- the main job


def test_the_result_goes_beside_the_photograph_under_both_names(cli: Cli, here: Path) -> None:
    holiday = here / "holiday"
    holiday.mkdir()
    (here / "photo.png").rename(holiday / "beach.1.png")
    said = cli("holiday/beach.1.png", "style.png", *QUICK)
    assert said.code == 0
    assert files(holiday) == {"beach.1.png", "beach.1-style.png"}
    assert files(here) == {"holiday", "style.png"}
    assert said.stdout.startswith(f"wrote {Path('holiday', 'beach.1-style.png')} (32x27) in ")
    assert len(said.stdout.splitlines()) == 1
    assert pixels_of(holiday / "beach.1-style.png").shape == (27, 32, 3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("result.png", "PNG"),
        ("result.PNG", "PNG"),
        ("result.jpg", "JPEG"),
        ("result.jpeg", "JPEG"),
        ("result.webp", "WEBP"),
        ("result.tif", "TIFF"),
        ("result.tiff", "TIFF"),
    ],
)
def test_the_suffix_chooses_the_format(cli: Cli, here: Path, name: str, kind: str) -> None:
    assert cli("photo.png", "style.png", "-o", name, *QUICK).code == 0
    assert files(here) == {"photo.png", "style.png", name}
    with Image.open(name) as image:
        image.load()
        assert (image.format, image.mode, image.size) == (kind, "RGB", (32, 27))


def test_the_picture_is_repainted(cli: Cli) -> None:
    grain = np.random.default_rng(1).normal(0, 30, (48, 48, 1))
    save_pixels("style.png", (np.array((220, 40, 40)) + grain).clip(0, 255))
    assert cli("photo.png", "style.png", "--size", 48, "--iterations", 30).code == 0
    (red, green, blue), before = pixels_of(STEMS).mean(axis=(0, 1)), pixels_of("photo.png").mean(axis=(0, 1))
    assert red > before[0] + 30
    assert green < before[1] - 15
    assert blue < before[2] - 5


def test_an_existing_file_is_kept_unless_told_otherwise(cli: Cli, here: Path) -> None:
    before = b"precious"
    (here / STEMS).write_bytes(before)
    refused = cli("photo.png", "style.png", *QUICK)
    assert refused.code == 2
    assert "--overwrite" in refused.stderr
    assert (here / STEMS).read_bytes() == before
    assert cli("photo.png", "style.png", *QUICK, "--overwrite").code == 0
    assert pixels_of(STEMS).shape == (27, 32, 3)
    assert files(here) == {"photo.png", "style.png", STEMS}


def test_size_original_keeps_the_photographs(cli: Cli) -> None:
    assert cli("photo.png", "style.png", "--size", "original", "--iterations", 2).code == 0
    assert pixels_of(STEMS).shape == (40, 48, 3)


@pytest.mark.parametrize("size", [16, 33, 160])
def test_the_longer_side_is_the_size_asked_for(cli: Cli, size: int) -> None:
    save_pixels("photo.png", np.random.default_rng(1).integers(0, 256, (48, 46, 3)))
    assert cli("photo.png", "style.png", f"--size={size}", "--iterations", 2, "--taps", "relu1_1,relu2_1").code == 0
    assert pixels_of(STEMS).shape == (size, round(size * 46 / 48), 3)


def test_a_photograph_taken_upright_comes_out_upright(cli: Cli) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open("photo.png").save("photo.jpg", exif=exif)
    assert cli("photo.jpg", "style.png", *QUICK).code == 0
    with Image.open(STEMS) as image:
        assert image.size == (27, 32)
        assert image.getexif().get(0x0112, 1) == 1


def test_transparency_is_kept(cli: Cli) -> None:
    rgba = np.random.default_rng(2).integers(0, 256, (40, 48, 4))
    rgba[:5, :, 3], rgba[5:10, :, 3] = 0, 255
    save_pixels("photo.png", rgba)
    assert cli("photo.png", "style.png", "--size", "original", "--iterations", 2).code == 0
    assert (pixels_of(STEMS)[..., 3] == rgba[..., 3]).all()


def test_a_jpeg_says_that_it_cannot_keep_transparency(cli: Cli) -> None:
    save_pixels("photo.png", np.random.default_rng(2).integers(0, 200, (40, 48, 4)))
    said = cli("photo.png", "style.png", *QUICK, "-o", "result.jpg")
    assert said.code == 0
    assert said.line == "result.jpg: JPEG has no transparency, so transparent parts are white"
    assert pixels_of("result.jpg").shape == (27, 32, 3)


@pytest.mark.parametrize("order", ["before", "between", "after"])
def test_options_may_stand_anywhere(cli: Cli, order: str) -> None:
    words: dict[str, tuple[str, ...]] = {
        "before": (*QUICK, "--taps", "relu1_1", "photo.png", "style.png"),
        "between": ("photo.png", "--taps=relu1_1", *QUICK, "style.png"),
        "after": ("photo.png", "style.png", "--style-taps", "relu1_1", *QUICK),
    }
    said = cli(*words[order], "--json")
    assert said.code == 0
    assert said.json["settings"]["style_taps"] == ["relu1_1"]


def test_a_name_that_begins_with_a_dash(cli: Cli, here: Path) -> None:
    (here / "photo.png").rename(here / "-o.png")
    assert cli(*QUICK, "--", "-o.png", "style.png").code == 0
    assert "-o-style.png" in files(here)


def test_the_start_may_be_a_picture(cli: Cli) -> None:
    start_ = np.random.default_rng(3).integers(0, 256, (40, 48, 3))
    save_pixels("start.png", start_)
    # the first step looks at the start, and only then is there anything to move
    said = cli("photo.png", "style.png", "--init", "start.png", "--size", 48, "--iterations", 1)
    assert said.code == 0
    assert (pixels_of(STEMS) == start_).all()


def test_the_same_seed_gives_the_same_picture_and_another_another(cli: Cli) -> None:
    for name, seed in (("a.png", 5), ("b.png", 5), ("c.png", 6)):
        assert cli("photo.png", "style.png", *QUICK, "--init", "noise", "--seed", seed, "-o", name).code == 0
    assert (pixels_of("a.png") == pixels_of("b.png")).all()
    assert (pixels_of("a.png") != pixels_of("c.png")).any()


@pytest.mark.parametrize("name", ["été à la mer", "画像 №1", "it's; $HOME & *", "100%[red]", "a" * 200])
def test_file_names_are_free(cli: Cli, here: Path, name: str) -> None:
    (here / "photo.png").rename(here / f"{name}.png")
    said = cli(f"{name}.png", "style.png", *QUICK, "--json")
    assert said.code == 0
    assert f"wrote {name}-style.png (32x27)" in said.stdout
    assert said.json["output"] == f"{name}-style.png"
    assert files(here) == {f"{name}.png", "style.png", f"{name}-style.png"}


@pytest.mark.parametrize(("encoding", "name"), [("ascii", "画"), ("cp1252", "画"), ("utf-8", os.fsdecode(b"caf\xe9"))])
def test_a_terminal_that_cannot_show_the_name_is_no_failure(here: Path, encoding: str, name: str) -> None:
    try:
        (here / "photo.png").rename(here / f"{name}.png")
    except OSError:
        pytest.skip("this file system has no such names")
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, encoding=encoding)) as narrow:
        assert main([f"{name}.png", "style.png", *QUICK, "--json"]) == 0
        narrow.flush()
        said = raw.getvalue()
    assert said.startswith(b"wrote ")
    assert json.loads(said.splitlines()[-1])["output"] == f"{name}-style.png"
    assert f"{name}-style.png" in files(here)


@pytest.mark.parametrize("size", [256, 512])
def test_a_scroll_is_a_painting_too(cli: Cli, size: int) -> None:
    """A painting ten times as long as it is high is 13 pixels high at the coarsest scale, where lite needs 16."""
    save_pixels("style.png", np.random.default_rng(4).integers(0, 256, (100, 1000, 3)))
    said = cli("photo.png", "style.png", "--size", size, "--iterations", 3)
    assert (said.code, said.lines) == (0, [])


# ------------------------------------------------------------------------------------------------- settings in the file


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_the_settings_are_in_the_file(cli: Cli, suffix: str) -> None:
    said = cli("photo.png", "style.png", *QUICK, "--style-weight", "77.5", "--seed", 9, "-o", f"result{suffix}", "--json")
    stored = pictures.read_settings(f"result{suffix}")
    assert stored is not None
    assert {
        "method": "impasto",
        "encoder": "lite",
        "size": 32,
        "iterations": 2,
        "seed": 9,
        "style_weight": 77.5,
    }.items() <= stored.items()
    assert (stored["photo"], stored["styles"], stored["impasto"]) == ("photo.png", ["style.png"], impasto.__version__)
    assert said.json["settings"].items() <= stored.items()


def test_the_settings_stored_make_the_same_picture_again(cli: Cli) -> None:
    assert cli("photo.png", "style.png", *QUICK, "--method", "gatys", "--pooling", "max", "--seed", 3).code == 0
    stored = pictures.read_settings(STEMS)
    assert stored is not None
    options = {name: value for name, value in stored.items() if name in impasto.Options.model_fields}
    assert len(options) > 10
    again = impasto.stylize("photo.png", "style.png", **options)
    assert (np.asarray(again) == pixels_of(STEMS)).all()


def test_what_stands_in_is_what_is_stored(cli: Cli) -> None:
    said = cli("photo.png", "style.png", *QUICK, "--method", "gatys", "--json")
    assert "weights are not on this machine, so lite stands in" in said.stderr
    assert len(said.lines) == 1
    stored = pictures.read_settings(STEMS)
    assert stored is not None
    assert (stored["method"], stored["encoder"], stored["init"]) == ("gatys", "lite", "noise")
    assert said.json["notes"] == [said.line]


# ------------------------------------------------------------------------------------------------- what is said, and where


def test_quiet_says_nothing(cli: Cli) -> None:
    save_pixels("photo.png", np.random.default_rng(2).integers(0, 200, (40, 48, 4)))
    said = cli("photo.png", "style.png", *QUICK, "--quiet", "--method", "gatys", "-o", "result.jpg")
    assert said == Said(0, "", "")
    assert cli("photo.png", "style.png", *QUICK, "-q") == Said(0, "", "")


def test_the_last_line_of_json(cli: Cli) -> None:
    said = cli("photo.png", "style.png", *QUICK, "--tv-weight", 1, "--json")
    assert said.code == 0
    assert set(said.json) >= {"output", "width", "height", "seconds", "losses", "settings", "exit_code"}
    assert (said.json["output"], said.json["exit_code"]) == (STEMS, 0)
    assert pixels_of(STEMS).shape == (said.json["height"], said.json["width"], 3)
    assert 0 < said.json["seconds"] < 60
    assert set(said.json["losses"]) == {"content", "style", "palette", "variation"}
    assert all(loss >= 0 for loss in said.json["losses"].values())
    assert impasto.Options(**said.json["settings"]).iterations == 2
    assert said.stdout.startswith("wrote ")


def test_quiet_json_is_json_alone(cli: Cli) -> None:
    said = cli("photo.png", "style.png", *QUICK, "--quiet", "--json")
    assert json.loads(said.stdout)["exit_code"] == 0
    assert len(said.stdout.splitlines()) == 1
    assert said.stderr == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("photo.png",), 2),
        (("photo.png", "style.png", "--size", "7"), 2),
        (("photo.png", "style.png", "--sise", "64"), 2),
        (("photo.png", "missing.png"), 2),
        (("photo.png", "style.png", "--taps", "relu9_9"), 2),
        (("photo.png", "style.png", "-o", "photo.png"), 2),
        (("photo.png", "style.png", "--init", "missing.png", *QUICK), 2),
        (("photo.png", "style.png", "--encoder", "vgg16"), 1),
    ],
)
def test_errors_end_with_json_too(cli: Cli, here: Path, words: tuple[str, ...], code: int) -> None:
    said = cli(*words, "--json")
    assert said.code == code
    assert json.loads(said.stdout) == {"error": said.line, "exit_code": code}
    assert files(here) == {"photo.png", "style.png"}


def test_json_may_be_asked_for_in_other_words(cli: Cli) -> None:
    assert cli("photo.png", "missing.png", "--json=true").json["exit_code"] == 2
    assert cli("photo.png", "missing.png", "--json=false").stdout == ""
    # here it is the name of a file, not a wish
    assert cli("photo.png", "missing.png", "--output=--json").stdout == ""


def test_progress_without_a_terminal_is_a_line_now_and_then(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.cli.console.PLAIN_EVERY", 0.0)
    said = cli("photo.png", "style.png", "--size", 181, "--iterations", 6)
    assert said.code == 0
    lines = [line for line in said.stderr.splitlines() if "is enlarged to" not in line]
    assert len(lines) == 6
    losses = r"content \S+  style \S+  palette \S+"
    pattern = rf"impasto: (\d+)%, (?:estimating|\d+ s left)  scale (\d)/2 (\d+x\d+)  step (\d)/(\d)  {losses}"
    found = [match.groups() for line in lines if (match := re.fullmatch(pattern, line))]
    assert len(found) == 6
    assert {(scale, size) for _, scale, size, *_ in found} == {("1", "128x107"), ("2", "181x151")}
    assert [scale for _, scale, *_ in found] == sorted(scale for _, scale, *_ in found)
    shares = [int(share) for share, *_ in found]
    assert shares == sorted(shares)
    assert shares[-1] == 100


@pytest.mark.parametrize(
    ("span", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (3599.7, "1 h 00 min"), (4800, "1 h 20 min")],
)
def test_spans_of_time(span: float, words: str) -> None:
    from impasto.cli.console import seconds

    assert seconds(span) == words


# ---------------------------------------------------------------------------------------------------------------- Ctrl-C


def painting_now() -> Any:
    """The Run that the main thread is painting, or None."""
    frame: FrameType | None = sys._current_frames()[threading.main_thread().ident or 0]
    while frame is not None:
        if frame.f_code.co_name == "_follow":
            return frame.f_locals["run"]
        frame = frame.f_back
    return None


@contextlib.contextmanager
def when(ready: Callable[[Any], bool], act: Callable[[], object]) -> Iterator[None]:
    """Act, from another thread, as soon as the run that the main thread paints is ready."""

    def watch() -> None:
        while not over.is_set():
            run = painting_now()
            if run is not None and ready(run):
                act()
                return
            time.sleep(0.0005)

    over, thread = threading.Event(), threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def press_control_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@posix
def test_control_c_saves_the_best_picture_at_its_full_size(cli: Cli, here: Path) -> None:
    with when(lambda run: run.last is not None and run.last.step >= 3, press_control_c):
        said = cli("photo.png", "style.png", "--size", 300, "--iterations", 100000, "--json")
    assert said.code == 130
    told = rf"interrupted at \d+%, still at 128x107 and enlarged; the best picture so far is in {STEMS}{GOES_ON}"
    assert re.fullmatch(told, said.line)
    assert pixels_of(STEMS).shape == (250, 300, 3)
    assert {"output": STEMS, "width": 300, "height": 250, "error": "interrupted", "exit_code": 130}.items() <= said.json.items()
    stored = pictures.read_settings(STEMS)
    assert stored is not None
    assert stored["size"] == 300
    assert files(here) == {"photo.png", "style.png", STEMS, f"{STEMS}.unfinished"}


@posix
def test_control_c_when_quiet_says_only_that(cli: Cli) -> None:
    with when(lambda run: run.last is not None, press_control_c):
        said = cli("photo.png", "style.png", *ENDLESS, "--quiet")
    assert (said.code, said.stdout) == (130, "")
    assert re.fullmatch(rf"impasto: interrupted at \d+%; the best picture so far is in {STEMS}{GOES_ON}\n", said.stderr)
    assert pixels_of(STEMS).shape == (53, 64, 3)


@posix
def test_control_c_before_the_first_step_writes_nothing(cli: Cli, here: Path) -> None:
    slow = ("--size", "500", "--method", "gatys", "--iterations", "1000", "--quiet", "--json")
    with when(lambda run: True, press_control_c):
        said = cli("photo.png", "style.png", *slow)
    assert said.code == 130
    assert re.fullmatch("impasto: interrupted.*nothing was written\n", said.stderr)
    assert said.json == {"error": said.stderr.removeprefix("impasto: ").strip(), "exit_code": 130}
    assert files(here) == {"photo.png", "style.png"}


@posix
def test_control_c_while_torch_loads_writes_nothing(here: Path) -> None:
    script = f"""
import os, signal, sys, threading, time
def press():
    while "torch" not in sys.modules:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)
from impasto.cli import main
threading.Thread(target=press, daemon=True).start()
code = main(["photo.png", "style.png", *{ENDLESS!r}])
print("code", code)
"""
    with start("-c", script) as process:
        stdout, stderr = process.communicate(timeout=60)
    assert stdout == "code 130\n"
    assert re.fullmatch("impasto: interrupted.*nothing was written\n", stderr)
    assert files(here) == {"photo.png", "style.png"}


@posix
def test_control_c_in_a_terminal(here: Path) -> None:
    """The bar is drawn while it paints; what is left on the screen says what became of the picture."""
    import pty

    ours, theirs = pty.openpty()
    with start("-m", "impasto", "photo.png", "style.png", *ENDLESS, stderr=theirs) as process:
        os.close(theirs)
        screen = read_until(ours, r"step \d+/100000")
        process.send_signal(signal.SIGINT)
        screen += read_until(ours, r"photo-style\.png")
        stdout, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 130
    assert "scale 1/1 64x53" in screen
    assert re.search(r"interrupted at \d+%; the best picture so far is in photo-style.png", screen)
    assert "Traceback" not in screen
    assert stdout == ""
    assert pixels_of(STEMS).shape == (53, 64, 3)
    assert files(here) == {"photo.png", "style.png", STEMS, f"{STEMS}.unfinished"}


def read_until(terminal: int, pattern: str) -> str:
    """What is drawn on a pseudo-terminal until it matches; all of it if the other side goes away first."""
    screen = ""
    until = time.monotonic() + 60
    while not re.search(pattern, screen) and time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                screen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # Linux says so when nobody holds the other side any more
                break
    return screen


# -------------------------------------------------------------------------------------------------------- what goes wrong


def weights_that_overflow(file: Path, gain: float) -> None:
    """A VGG of one layer, which sees nothing but differences of neighbouring pixels, enlarged by gain."""
    high_pass = np.full((3, 3), -1.0)
    high_pass[1, 1] = 8
    weight = np.zeros((64, 3, 3, 3), np.float32)
    weight[:, :] = gain * high_pass
    save_file({"conv1_1.weight": weight, "conv1_1.bias": np.zeros(64, np.float32)}, file)


def diverge(cli: Cli, gain: float, *words: str) -> Said:
    """A painting of single pixels: all but invisible at the first scale, as rough as can be at the second and last."""
    checkers = np.indices((181, 181)).sum(axis=0) % 2 * 255
    save_pixels("style.png", np.repeat(checkers[..., None], 3, axis=2))
    save_pixels("photo.png", np.full((181, 181, 3), 128))
    weights_that_overflow(Path("huge.safetensors"), gain)
    taps = ("--taps", "relu1_1", "--content-taps", "relu1_1", "--content-weight", "0", "--encoder", "vgg16")
    return cli("photo.png", "style.png", "--size", 181, "--iterations", 6, *taps, "--weights", "huge.safetensors", *words)


def test_losses_that_turn_infinite_save_the_last_good_picture(cli: Cli) -> None:
    said = diverge(cli, 1e6, "--json")
    assert said.code == 1
    assert len(said.lines) == 1
    assert "the style loss is " in said.stderr
    assert "--style-weight" in said.stderr
    assert said.stderr.endswith(f"the best picture so far is in {STEMS}\n")
    assert pixels_of(STEMS).shape == (181, 181, 3)
    assert (said.json["exit_code"], said.json["output"]) == (1, STEMS)
    assert all(np.isfinite(loss) for loss in said.json["losses"].values())


def test_losses_infinite_from_the_start_write_nothing(cli: Cli, here: Path) -> None:
    said = diverge(cli, 1e18)
    assert said.code == 1
    assert re.fullmatch("the style loss .*; nothing was written", said.line)
    assert files(here) == {"photo.png", "style.png", "huge.safetensors"}


def test_a_file_that_appears_meanwhile_is_not_replaced(cli: Cli, here: Path) -> None:
    with when(lambda run: True, lambda: (here / STEMS).write_bytes(b"someone else's")):
        said = cli("photo.png", "style.png", "--size", 300, "--iterations", 4)
    beside = STEMS.replace(".png", "-2.png")
    assert said.code == 0
    assert f"wrote {beside}" in said.stdout
    assert (here / STEMS).read_bytes() == b"someone else's"
    assert files(here) == {"photo.png", "style.png", STEMS, beside}


@pytest.mark.parametrize("name", ["photo.png", "style.png"])
def test_an_input_is_never_the_output(cli: Cli, here: Path, name: str) -> None:
    before = (here / name).read_bytes()
    said = cli("photo.png", "style.png", "-o", name, "--overwrite", "--size", 32, "--iterations", 1)
    assert said.code == 2
    assert "the input" in said.line
    assert (here / name).read_bytes() == before


@posix
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--help",), 1),
        (("weights", "list"), 1),
        (("weights", "path", "lite"), 1),
        (("photo.png", "style.png", "--sise", "9", "--json"), None),
    ],
)
def test_a_reader_that_has_gone_is_no_traceback(words: Sequence[str], code: int | None) -> None:
    """As in `impasto --help | head -c 0`."""
    reading, writing = os.pipe()
    os.close(reading)
    with start("-m", "impasto", *words, stdout=writing) as process:
        os.close(writing)
        stderr = process.communicate(timeout=60)[1]
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    assert len(stderr.splitlines()) == ("--json" in words)
    assert process.returncode == code or (code is None and process.returncode in (1, 2))


# ------------------------------------------------------------------------------------------------------ the other commands


def test_the_demo_needs_nothing(cli: Cli, here: Path) -> None:
    said = cli("demo", "--size", 64, "--iterations", 3)
    assert said.code == 0
    assert said.stdout.startswith("wrote impasto-demo.png (64x43) in ")
    assert files(here) == {"photo.png", "style.png", "impasto-demo.png"}
    assert pixels_of("impasto-demo.png").shape == (43, 64, 3)
    again = cli("demo", "--size", 64, "--iterations", 3)
    assert again.code == 2
    assert "--overwrite" in again.stderr
    assert "the style is that of The Scream" in said.stderr
    assert cli("demo", "--size", 32, "--taps", "relu1_1", "--iterations", 2, "-o", "other.webp").code == 0


@pytest.mark.parametrize(
    "words", ["--pooling average", "--keep-colors luma", "--method gatys --encoder lite", "--taps trunk3_1"]
)
def test_the_demo_takes_a_painting_where_a_stored_style_will_not_do(cli: Cli, words: str) -> None:
    said = cli("demo", "--size", 32, "--iterations", 2, *words.split())
    assert said.code == 0
    assert "the painting is strokes.jpg" in said.stderr


def test_weights_list(cli: Cli) -> None:
    said = cli("weights", "list")
    assert (said.code, said.stderr) == (0, "")
    rows = {line.split()[0]: line for line in said.stdout.splitlines() if line.strip()}
    assert "comes with impasto" in rows["lite"]
    assert "in the package" in rows["lite"]
    assert "59 MB" in rows["vgg16"]
    assert "80 MB" in rows["vgg19"]
    assert "not here; impasto weights fetch vgg19" in rows["vgg19"]


def test_weights_path(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = cli("weights", "path", "lite")
    assert (embedded.code, embedded.stderr) == (0, "")
    assert Path(embedded.stdout.strip()).is_file()
    monkeypatch.setenv("IMPASTO_HOME", "elsewhere")
    assert cli("weights", "path", "vgg19").stdout == f"{Path('elsewhere', 'weights', 'vgg19.safetensors')}\n"


def test_weights_that_are_here_need_no_fetching(cli: Cli) -> None:
    said = cli("weights", "fetch", "lite")
    assert said.code == 0
    assert Path(said.stdout.strip()).is_file()


def test_weights_list_fits_a_pipe(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    lines = [line for line in cli("weights", "list").stdout.splitlines() if line.strip()]
    assert len(lines) == 4


def test_help_and_usage_errors_do_not_wait_for_torch() -> None:
    script = """
import contextlib, io, sys
from impasto.cli import main
for line in ("--help", "demo --help", "weights --help", "weights fetch --help", "--version", "", "weights list",
             "weights path vgg19", "a.png b.png --sise 3", "a.png b.png --style-weight nan", "a.png", "weights fetch nosuch"):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()) as wrong:
        code = main(line.split())
    print(line, "|", code, bool(said.getvalue().strip()), bool(wrong.getvalue().strip()), "torch" in sys.modules)
"""
    with start("-c", script) as process:
        stdout, stderr = process.communicate(timeout=60)
    assert stderr == ""
    ended = {line: how for line, _, how in (row.partition(" | ") for row in stdout.splitlines())}
    assert len(ended) == 12
    for line, how in ended.items():
        wrong = "--sise" in line or "nan" in line or line in ("a.png", "weights fetch nosuch")
        assert how == ("2 False True False" if wrong else "0 True False False"), line


def test_no_words_is_help(cli: Cli) -> None:
    assert cli() == cli("--help")
    assert "Usage: impasto PHOTO STYLE..." in cli().stdout


def test_python_m_impasto_is_the_same_program() -> None:
    with start("-m", "impasto", "photo.png", "style.png", "--size", "7") as process:
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (2, "")
    assert stderr == "impasto: --size must be from 16 to 65535, or 'original', not '7'\n"
    assert 'impasto = "impasto.cli:main"' in (ROOT / "pyproject.toml").read_text()


def test_the_version(cli: Cli) -> None:
    assert cli("--version") == Said(0, f"{impasto.__version__}\n", "")
