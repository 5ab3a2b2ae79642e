"""Nothing lost: a run's state, going on from it to the very same picture, and what may go wrong meanwhile."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Cli, Said, noise
from PIL import Image
from safetensors.torch import save_file

from impasto import devices, encoders, files, pictures, states
from impasto.cli import console, keeping, main, making
from impasto.errors import OutputError, SaveError, StateFileError
from impasto.optimize import State
from impasto.stylizer import Run, Stylizer

ROOT = Path(__file__).resolve().parent.parent
OUT = "out.png"
LEFT = "out.png.unfinished"
SMALL: dict[str, Any] = {"size": 40, "iterations": 7, "device": "cpu"}
WORDS = ("--size", "40", "--iterations", "9", "--device", "cpu")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and pipes")


@pytest.fixture(autouse=True)
def here(here: Path) -> Path:
    """The folder every test runs in: also another.png, 44x44, and mask.png, half white."""
    noise(here / "another.png", 44, 44, seed=3)
    mask = np.zeros((40, 48), np.uint8)
    mask[:, 20:] = 255
    Image.fromarray(mask).save(here / "mask.png")
    return here


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state after every step."""
    monkeypatch.setenv("IMPASTO_SAVE_EVERY", "0")


def there(folder: Path) -> set[str]:
    """The files beside the inputs."""
    return {file.name for file in folder.iterdir()} - {"photo.png", "style.png", "another.png", "mask.png"}


def press_control_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@contextlib.contextmanager
def stop_after(count: int, act: Callable[[], object] = press_control_c) -> Iterator[None]:
    """Within the block, act when a run has made so many steps: press Ctrl-C, if nothing else is asked for."""
    real, left = Run.__iter__, [act]  # once: what it does may be another run

    def stopped(run: Run) -> Iterator[Any]:
        for number, step in enumerate(real(run), 1):
            yield step
            if number == count and left:
                left.pop()()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "__iter__", stopped)
        yield


def record(name: str | Path) -> dict[str, object]:
    """What a picture remembers, but for how long it took."""
    found = pictures.read_settings(name)
    assert found is not None
    return {key: value for key, value in found.items() if key != "seconds"}


def same(one: str | Path, other: str | Path) -> bool:
    with Image.open(one) as a, Image.open(other) as b:
        return a.tobytes() == b.tobytes() and record(one) == record(other)


# ------------------------------------------------------------------------------------------------------------- the engine


ASKED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "scales": ({"size": 181, "iterations": 9}, ["style.png"]),
    "masked": ({"mask": ("mask.png=another.png",)}, ["style.png"]),
    "kept": ({"mask": ("mask.png=keep",), "tv_weight": 2.0}, ["style.png"]),
    "blend": ({"blend": (0.3, 0.7), "keep_colors": "luma"}, ["style.png", "another.png"]),
    "gatys": ({"method": "gatys", "encoder": "lite", "seed": 3, "iterations": 14}, ["style.png"]),
    "named": ({"init": "noise", "precision": "bf16"}, ["starry-night"]),
}


@pytest.mark.parametrize("asked", ASKED)
def test_from_every_step_it_ends_in_the_same_bits(asked: str, tmp_path: Path) -> None:
    changes, styles = ASKED[asked]
    stylizer = Stylizer(**(SMALL | changes))
    run, file = stylizer.run("photo.png", styles), tmp_path / LEFT
    kept = []
    for step in run:
        assert run.state is not None
        assert (run.state.scale, run.state.step) == (step.scale, step.step)
        states.write(file, card_of(run), run.state)
        kept.append((file.read_bytes(), step))
    assert run.last is not None
    assert len({step.scale for _, step in kept}) == len(run.scales) == (2 if asked == "scales" else 1)
    for data, step in kept[:: 3 if asked == "scales" else 2] + kept[-1:]:
        file.write_bytes(data)
        again = stylizer.run("photo.png", styles)
        again.go_on(states.load(file, again.device)[1])
        assert again.last is not None
        assert (again.last.done, again.last.losses, again.last.total) == (step.done, step.losses, step.total)
        assert torch.equal(again.last.picture, step.picture)
        rest = list(again)
        assert len(rest) == len(kept) - 1 - [each for _, each in kept].index(step)
        assert torch.equal(again.last.picture, run.last.picture)
        assert again.last.losses == run.last.losses
        assert again.image().tobytes() == run.image().tobytes()


def card_of(run: Run) -> states.Card:
    scales = tuple((*scale.size, scale.steps) for scale in run.scales)
    return states.Card(settings={}, paths={}, output={}, threads=1, scales=scales)


def run_of(**changes: Any) -> Run:
    return Stylizer(**(SMALL | changes)).run("photo.png", "style.png")


def state_after(count: int, **changes: Any) -> tuple[Run, State]:
    run = run_of(**changes)
    for number, _ in enumerate(run, 1):
        if number == count:
            break
    assert run.state is not None
    return run, run.state


def test_iterating_again_goes_on() -> None:
    run, state = state_after(5)
    whole = run_of().finish()
    left = [(step.scale, step.step) for step in run]
    assert left[0] == (state.scale, state.step + 1)
    assert run.image().tobytes() == whole.tobytes()
    assert list(run) == []


def test_what_a_run_went_on_from_is_let_go_of(tmp_path: Path) -> None:
    """Of a large picture every copy counts, and what the optimiser knew there is soon of the past."""
    run, state = state_after(5, iterations=20)
    states.write(tmp_path / LEFT, card_of(run), state)
    again = run_of(iterations=20)
    state = states.load(tmp_path / LEFT, again.device)[1]
    assert state.ahead is not None
    assert state.ahead.memory.before is not None
    held = [weakref.ref(x) for x in (state.best, state.ahead.picture, *state.ahead.memory.before)]
    again.go_on(state)
    del state
    steps = iter(again)
    assert all(x() is not None for x in held)
    assert len(list(islice(steps, 4))) == 4
    assert [x() for x in held] == [None] * 4


def test_a_history_of_other_numbers_is_kept_as_it_is(tmp_path: Path) -> None:
    run, state = state_after(5)
    assert state.ahead is not None
    memory = state.ahead.memory
    half = replace(memory, pairs=tuple((s.half(), y.bfloat16(), rho.double()) for s, y, rho in memory.pairs))
    states.write(tmp_path / LEFT, card_of(run), replace(state, ahead=replace(state.ahead, memory=half)))
    _, found = states.load(tmp_path / LEFT, torch.device("cpu"))
    assert found.ahead is not None
    assert len(found.ahead.memory.pairs) == len(memory.pairs) > 1
    for pair, other in zip(half.pairs, found.ahead.memory.pairs, strict=True):
        for a, b in zip(pair, other, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


def test_a_state_too_large_is_kept_without_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, state = state_after(5, iterations=20)
    whole = states.write(tmp_path / LEFT, card_of(run), state)
    monkeypatch.setattr(states, "MOST_BYTES", whole // 2)
    assert states.write(tmp_path / LEFT, card_of(run), state) < whole / 5
    again = run_of(iterations=20)
    again.go_on(states.load(tmp_path / LEFT, again.device)[1])
    assert again.last is not None
    before = again.last.total
    steps = list(again)
    assert len(steps) == 15
    assert min(step.total for step in steps) < 0.9 * before


def test_the_state_is_as_large_as_said(tmp_path: Path) -> None:
    run, state = state_after(15, iterations=20)
    size = states.write(tmp_path / LEFT, card_of(run), state)
    assert (tmp_path / LEFT).stat().st_size - size < 500
    pixels = 40 * 33
    assert state.ahead is not None
    pictures_in_it = 2 + 2 + 2 * len(state.ahead.memory.pairs)
    assert size / (12 * pixels) == pytest.approx(pictures_in_it, abs=0.3)


# ------------------------------------------------------------------------------------------------------- the command line


def test_resumed_is_the_same_picture_and_record(cli: Cli, here: Path, often: None) -> None:
    words = ("photo.png", "style.png", "another.png", "--mask", "mask.png=starry-night", "--blend", 1, 2, *WORDS)
    assert cli(*words, "-o", "whole.png").code == 0
    for count in range(1, 10, 2):
        with stop_after(count):
            assert cli(*words, "-o", OUT).code == 130
        assert there(here) == {"whole.png", OUT, LEFT}
        assert cli("resume", OUT, "-q") == Said(0, "", "")
        assert there(here) == {"whole.png", OUT}
        assert same(OUT, "whole.png")
        (here / OUT).unlink()


def test_interrupted_twice(cli: Cli, here: Path) -> None:
    assert cli("photo.png", "style.png", *WORDS, "-o", "whole.png").code == 0
    with stop_after(2):
        assert cli("photo.png", "style.png", *WORDS, "-o", OUT).code == 130
    first = (here / OUT).read_bytes()
    with stop_after(3):
        said = cli("resume", OUT, "--json")
    assert said.code == 130
    assert "; `impasto resume out.png` goes on from there" in said.stderr
    assert (here / OUT).read_bytes() != first
    said = cli("resume", LEFT)  # by the state's own name too
    assert said.code == 0
    assert said.stdout.startswith("wrote out.png (40x33) in ")
    assert same(OUT, "whole.png")
    assert there(here) == {"whole.png", OUT}


def test_inputs_are_found_from_elsewhere_and_no_folder_is_in_the_picture(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = here / "private-folder"
    folder.mkdir()
    with stop_after(3):
        cli("photo.png", "style.png", "--init", "another.png", *WORDS, "-o", folder / OUT)
    (here / "style.png").rename(folder / "style.png")  # where `again` would look
    monkeypatch.chdir("/")
    assert cli("resume", folder / OUT).code == 0
    data = (folder / OUT).read_bytes()
    assert b"photo.png" in data
    assert b"private-folder" not in data


def test_what_was_begun_in_blocks_goes_on_in_blocks(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever memory is free by then; its history, in files, is in the state."""
    words = ("photo.png", "style.png", "--size", 181, "--iterations", 8, "--device", "cpu", "-o")
    with monkeypatch.context() as patch:
        patch.setattr(devices, "limit_of", lambda device: 1)
        assert cli(*words, "whole.png").code == 0
        with stop_after(6):
            assert cli(*words, OUT).code == 130
    assert states.read(here / LEFT).limit == 1
    assert cli("resume", OUT).code == 0
    assert same(OUT, "whole.png")


def test_a_quick_picture_leaves_and_writes_no_state(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "write", None)
    assert cli("photo.png", "style.png", *WORDS, "-o", OUT).code == 0
    assert there(here) == {OUT}


def test_every_twenty_seconds_by_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    now, saved = [1000.0], []
    monkeypatch.setattr(keeping.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(keeping.time, "time", lambda: pytest.fail("the clock on the wall"))
    run, _ = state_after(3)

    def write(*_: object) -> int:
        saved.append(now[0])
        now[0] += cost
        return 0

    monkeypatch.setattr(states, "write", write)
    for cost, times in ((0.5, [1020.0, 1040.5, 1061.0]), (4.0, [1020.0, 1104.0])):  # on a slow disk, 5 percent of the time
        now[0] = 1000.0
        saved.clear()
        keeper = keeping.Keeper(run, here / OUT, card_of(run), quiet=True)
        while now[0] < 1070 + 10 * cost:
            keeper(run.last)  # type: ignore[arg-type]
            now[0] += 1
        assert saved == times


def test_previews_and_a_folder_of_frames_go_on(cli: Cli, here: Path) -> None:
    words = ("photo.png", "style.png", *WORDS, "--preview", 2, "--frames")
    assert cli(*words, here / "all", "-o", "whole.png").code == 0
    with stop_after(5):
        cli(*words, here / "some", "-o", OUT)
    assert "out-step00004.png" in there(here)
    assert "out-step00006.png" not in there(here)
    assert cli("resume", OUT).code == 0
    for name in ("00002", "00004", "00006", "00008"):
        assert (here / f"out-step{name}.png").read_bytes() == (here / f"whole-step{name}.png").read_bytes()
    assert {file.name: file.read_bytes() for file in (here / "some").iterdir()} == {
        file.name: file.read_bytes() for file in (here / "all").iterdir()
    }


@pytest.mark.parametrize("kind", [".gif", ".mp4"])
def test_a_film_goes_on(cli: Cli, here: Path, kind: str) -> None:
    if kind == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    words = ("photo.png", "style.png", *WORDS, "--frames")
    assert cli(*words, f"whole{kind}", "-o", "whole.png").code == 0
    (here / f"film{kind}.unfinished").mkdir()
    (here / f"film{kind}.unfinished" / "0009.png").touch()  # of a run that was given up
    with stop_after(5):
        cli(*words, f"film{kind}", "-o", OUT)
    part = (here / f"film{kind}").read_bytes()
    assert len(list((here / f"film{kind}.unfinished").iterdir())) == 5
    assert cli("resume", OUT).code == 0
    assert (here / f"film{kind}").read_bytes() == (here / f"whole{kind}").read_bytes() != part
    assert there(here) == {OUT, f"film{kind}", "whole.png", f"whole{kind}"}


def test_a_film_that_cannot_be_written_is_made_later(
    cli: Cli, here: Path, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise SaveError("the disk is full")

    words = ("photo.png", "style.png", *WORDS, "--frames")
    assert cli(*words, "whole.gif", "-o", "whole.png").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(making, "_gif", full)
        said = cli(*words, "film.gif", "-o", OUT)
    assert said.code == 1
    assert said.line == "the disk is full; `impasto resume out.png` goes on from there"
    assert same(OUT, "whole.png")
    assert cli("resume", OUT) == Said(0, "out.png was finished already\n", "")
    assert (here / "film.gif").read_bytes() == (here / "whole.gif").read_bytes()
    assert there(here) == {OUT, "film.gif", "whole.png", "whole.gif"}


def test_two_runs_on_one_film(cli: Cli, here: Path) -> None:
    with states.alone(here / "film.gif"):
        said = cli("photo.png", "style.png", *WORDS, "--frames", "film.gif", "-o", OUT)
    assert said.code == 2
    assert said.line == "another run is writing film.gif; wait for it, or choose another name"
    assert there(here) == set()


@pytest.mark.parametrize("lost", ["film.gif.unfinished", "film.gif.unfinished/0002.png"])
def test_a_film_is_not_begun_in_its_middle(cli: Cli, here: Path, lost: str) -> None:
    with stop_after(5):
        cli("photo.png", "style.png", *WORDS, "--frames", "film.gif", "-o", OUT)
    film = (here / "film.gif").read_bytes()
    shutil.rmtree(here / lost) if (here / lost).is_dir() else (here / lost).unlink()
    said = cli("resume", OUT)
    assert said.code == 0
    assert said.line == f"{here / 'film.gif'} is not made: what it was to show of the beginning is lost"
    assert (here / "film.gif").read_bytes() == film


def test_info_says_how_far_it_is(cli: Cli, here: Path, interrupted: None) -> None:
    told = r"out\.png: unfinished, 33% done in 0 s; `impasto resume out\.png` goes on with it\n"
    assert re.fullmatch(told, cli("info", LEFT).stdout)
    assert re.search(rf"interrupted at 33%\n(.*\n)+{told}", cli("info", OUT).stdout)
    (here / OUT).unlink()
    assert re.fullmatch(told, cli("info", OUT).stdout)
    assert json.loads(cli("info", OUT, "--json").stdout)["done"] == pytest.approx(3 / 9)


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.fixture
def interrupted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was stopped after its third step."""
    with stop_after(3):
        assert cli("photo.png", "style.png", *WORDS, "-o", OUT).code == 130


def refused(said: Said, *words: str, code: int = 2) -> None:
    assert (said.code, said.stdout) == (code, "")
    assert all(word in said.line for word in words), said.line


def test_nothing_to_resume(cli: Cli) -> None:
    refused(cli("resume", OUT), "out.png has no unfinished run", LEFT)


@pytest.mark.parametrize("name", ["photo", "style"])
def test_another_input_is_refused(cli: Cli, here: Path, interrupted: None, name: str) -> None:
    before = (here / LEFT).read_bytes()
    (here / "another.png").replace(here / f"{name}.png")
    refused(cli("resume", OUT), f"{name} ", f"{name}.png is not what it was")
    (here / f"{name}.png").unlink()
    refused(cli("resume", OUT), f"{name}.png is not there any more")
    assert (here / LEFT).read_bytes() == before


def test_another_version_is_refused(cli: Cli, here: Path, interrupted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.records.__version__", "0.0.7")
    refused(cli("resume", OUT), "cannot be gone on with: it was made with impasto", "0.0.7")
    assert there(here) == {OUT, LEFT}


def test_another_encoder_is_refused(cli: Cli, interrupted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = encoders.build

    def another(*words: Any, **options: Any) -> Any:
        encoder = real(*words, **options)
        encoder.digest = "another"
        return encoder

    monkeypatch.setattr(encoders, "build", another)
    refused(cli("resume", OUT), "the encoder's weights are not those it was made with")


def test_another_picture_under_its_name_is_kept(cli: Cli, here: Path, interrupted: None) -> None:
    (here / OUT).write_bytes(b"precious")
    refused(cli("resume", OUT), "out.png exists; add --overwrite")
    assert (here / OUT).read_bytes() == b"precious"
    assert cli("resume", OUT, "--overwrite").code == 0
    assert there(here) == {OUT}


def test_a_new_run_does_not_lose_an_unfinished_one(cli: Cli, here: Path, interrupted: None) -> None:
    words = ("photo.png", "another.png", *WORDS, "-o", OUT)
    (here / OUT).unlink()
    refused(cli(*words), "unfinished run", "`impasto resume out.png` goes on with it", "--overwrite starts anew")
    assert there(here) == {LEFT}
    assert cli(*words, "--overwrite").code == 0
    assert there(here) == {OUT}


def test_a_bug_loses_nothing(cli: Cli, here: Path) -> None:
    with stop_after(4, lambda: 1 / 0), pytest.raises(ZeroDivisionError):
        cli("photo.png", "style.png", *WORDS, "-o", OUT)
    assert there(here) == {LEFT}
    assert cli("resume", OUT).code == 0


def test_what_was_to_be_replaced_may_be(cli: Cli, here: Path, often: None) -> None:
    """Killed before its own picture is there: the old one is still what --overwrite was said of."""
    assert cli("photo.png", "style.png", *WORDS, "-o", "whole.png").code == 0
    (here / OUT).write_bytes(b"old")
    with stop_after(4, lambda: (_ for _ in ()).throw(SystemExit(9))), pytest.raises(SystemExit):
        cli("photo.png", "style.png", *WORDS, "-o", OUT, "--overwrite")
    assert (here / OUT).read_bytes() == b"old"
    assert cli("resume", OUT).code == 0
    assert same(OUT, "whole.png")


@pytest.mark.parametrize("kind", ["empty", "cut", "text", "other", "flipped", "card", "folder"])
def test_a_damaged_state_is_one_line(cli: Cli, here: Path, interrupted: None, kind: str) -> None:
    file, data = here / LEFT, (here / LEFT).read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    broken = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "text": b"not a state",
        "flipped": bytes(flipped),
        "card": data.replace(b'\\"lowest\\":', b'\\"lowesr\\":'),
    }
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "other":
        save_file({"best": torch.zeros(2)}, file)
    else:
        file.write_bytes(broken[kind])
    refused(cli("resume", OUT), LEFT)
    assert (here / OUT).exists()


def test_a_state_of_a_number_changed_is_damaged(tmp_path: Path) -> None:
    run, state = state_after(4)
    states.write(tmp_path / LEFT, card_of(run), state)
    data = (tmp_path / LEFT).read_bytes()
    (tmp_path / LEFT).write_bytes(data.replace(b'\\"step\\":4', b'\\"step\\":3'))
    assert (tmp_path / LEFT).read_bytes() != data
    with pytest.raises(StateFileError, match="checksums"):
        states.load(tmp_path / LEFT, torch.device("cpu"))


# ------------------------------------------------------------------------------------------------------------------ alone


def test_two_runs_on_one_output(cli: Cli, here: Path) -> None:
    said: list[Said] = []

    def second() -> None:
        said.append(cli("photo.png", "style.png", *WORDS, "-o", here / OUT, "--overwrite"))
        said.append(cli("photo.png", "style.png", *WORDS, "-o", "other.png"))

    with stop_after(2, second):
        assert cli("photo.png", "style.png", *WORDS, "-o", OUT).code == 0
    refused(said[0], "another run is writing", "out.png")
    assert said[1].code == 0
    assert there(here) == {OUT, "other.png"}


def test_a_running_one_is_not_resumed(cli: Cli, here: Path, often: None) -> None:
    said: list[Said] = []
    with stop_after(2, lambda: said.append(cli("resume", OUT))):
        assert cli("photo.png", "style.png", *WORDS, "-o", OUT).code == 0
    refused(said[0], "another run is writing out.png")


def test_a_killed_runs_lock_and_scraps_are_no_obstacle(cli: Cli, here: Path) -> None:
    with states.alone(here / OUT):
        (lock,) = there(here)
        with pytest.raises(OutputError, match="another run"), states.alone(here / "." / OUT):
            pass
    (here / lock).touch()
    for name in (OUT, LEFT):
        (here / f"{files._scratch(here / name)}0123.tmp").write_bytes(b"half")
    mine = here / f"{files._scratch(here / 'other.png')}0123.tmp"
    mine.touch()
    assert cli("photo.png", "style.png", *WORDS, "-o", OUT).code == 0
    assert there(here) == {OUT, mine.name}


def test_names_as_long_as_can_be(cli: Cli, here: Path) -> None:
    name = "é" * 120 + ".png"
    with stop_after(2):
        assert cli("photo.png", "style.png", *WORDS, "-o", name).code == 130
    assert cli("resume", name).code == 0
    assert there(here) == {name}


# -------------------------------------------------------------------------------------------------------------- full disk


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_keeps_the_last_state_and_says_so_once(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    assert cli("photo.png", "style.png", *WORDS, "-o", "whole.png").code == 0
    real, kept = os.fsync, []

    def fill() -> None:
        kept.append((here / LEFT).read_bytes())
        monkeypatch.setattr(os, "fsync", no_space)

    with stop_after(4, fill):
        said = cli("photo.png", "style.png", *WORDS, "-o", OUT)
    monkeypatch.setattr(os, "fsync", real)
    assert said.code == 1
    told = [line for line in said.stderr.splitlines() if "scale " not in line and "enlarged" not in line]
    assert told == [
        f"impasto: the run's state could not be saved, the one before is kept: {here / LEFT} could not be written: "
        "no space left on device",
        "impasto: out.png could not be written: no space left on device; `impasto resume out.png` goes on from there",
    ]
    assert there(here) == {"whole.png", LEFT}
    assert kept == [(here / LEFT).read_bytes()]
    assert cli("resume", OUT).code == 0
    assert same(OUT, "whole.png")


def test_a_disk_that_was_always_full(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, often: None) -> None:
    monkeypatch.setattr(os, "fsync", no_space)
    said = cli("photo.png", "style.png", *WORDS, "-o", OUT)
    assert said.code == 1
    assert "so far there is none" in said.stderr
    assert said.stderr.endswith("out.png could not be written: no space left on device\n")
    assert there(here) == set()


# ----------------------------------------------------------------------------------------------- signals and broken pipes


@posix
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by a signal"), (signal.SIGHUP, 129, "interrupted when")],
)
def test_signals_leave_what_to_go_on_from(cli: Cli, here: Path, number: signal.Signals, code: int, word: str) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with stop_after(3, lambda: os.kill(os.getpid(), number)):
        said = cli("photo.png", "style.png", *WORDS, "-o", OUT)
    assert said.code == code
    assert said.line.startswith(word)
    assert said.line.endswith("the best picture so far is in out.png; `impasto resume out.png` goes on from there")
    assert there(here) == {OUT, LEFT}
    assert record(OUT)["done"] == pytest.approx(states.read(here / LEFT).done, abs=1e-4)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert cli("resume", OUT).code == 0


@posix
def test_nohup_is_respected(cli: Cli) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_after(3, lambda: os.kill(os.getpid(), signal.SIGHUP)):
            assert cli("photo.png", "style.png", *WORDS, "-o", OUT).code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


class Gone(io.StringIO):
    """Standard error whose reader has gone."""

    error = errno.EPIPE

    def write(self, text: str) -> int:
        raise OSError(self.error, "gone")  # a BrokenPipeError, by its number

    def flush(self) -> None:
        raise OSError(self.error, "gone")


class GoneTerminal(Gone):
    error = errno.EIO

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Gone, GoneTerminal])
def test_a_reader_that_goes_does_not_end_the_run(
    here: Path, monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]
) -> None:
    monkeypatch.setattr(console, "PLAIN_EVERY", 0.0)
    monkeypatch.setattr(sys, "stderr", stream())
    assert main(["photo.png", "style.png", *WORDS, "-o", OUT]) == 0
    assert there(here) == {OUT}


@posix
def test_a_full_pipe_does_not_hold_up_the_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PLAIN_EVERY", 0.0)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), open(writing, "w", encoding="utf-8") as pipe:  # noqa: PTH123
        try:
            while os.write(writing, b"x" * 4096):
                pass
        except BlockingIOError:
            os.set_blocking(writing, True)
        monkeypatch.setattr(sys, "stderr", pipe)
        assert main(["photo.png", "style.png", *WORDS, "-o", OUT]) == 0
    assert there(here) == {OUT}


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    environment: Mapping[str, str] = os.environ | {"PYTHONPATH": str(ROOT), "IMPASTO_SAVE_EVERY": "0"}
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-W", "error", "-m", "impasto", *map(str, words)]
    return subprocess.Popen(command, env=environment, text=True, **pipes | options)


@posix
def test_the_terminal_is_closed(here: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    words = ("photo.png", "style.png", "--size", 64, "--iterations", 100000, "--device", "cpu", "-o", OUT)
    with (
        (here / "said").open("w") as said,
        start(*words, stdin=theirs, stdout=said, stderr=theirs, start_new_session=True) as process,
    ):
        os.close(theirs)
        wait_for(here / LEFT, process)
        os.close(ours)
        process.send_signal(signal.SIGHUP)  # as the system does where it is the session's own terminal
        process.wait(timeout=30)
    assert process.returncode == 129
    assert (here / "said").read_text() == ""
    assert there(here) == {OUT, LEFT, "said"}


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 30
    while not file.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    assert file.exists()


# ------------------------------------------------------------------------------------------------------------------ killed


@posix
def test_killed_three_times_and_then_the_very_same(cli: Cli, here: Path) -> None:
    words = ("photo.png", "style.png", "--size", 64, "--iterations", 30, "--device", "cpu", "-q", "-o")
    assert cli(*words, "whole.png").code == 0
    command: tuple[object, ...] = (*words, OUT)
    for steps in (5, 12, 20):
        with start(*command) as process:
            wait_for(here / LEFT, process)
            until = time.monotonic() + 30
            while process.poll() is None and steps_in(here / LEFT) < steps and time.monotonic() < until:
                time.sleep(0.005)
            process.kill()
            process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (here / OUT).exists()
        assert steps_in(here / LEFT) >= steps
        command = ("resume", OUT, "-q")
    assert cli(*command) == Said(0, "", "")
    assert same(OUT, "whole.png")
    assert there(here) == {OUT, "whole.png"}


def test_a_state_that_is_replaced_while_it_is_opened_is_said_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*words: object, **more: object) -> None:
        raise RuntimeError("size <1> is smaller than the required mapping size <2>")

    monkeypatch.setattr(states, "safe_open", opened)
    (here / LEFT).write_bytes(b"something")
    with pytest.raises(StateFileError, match=r"out.png.unfinished is being written just now; try again$"):
        states.read(here / LEFT)


def steps_in(file: Path) -> int:
    """How far a run is, by its state; 0 where that is being replaced this moment."""
    try:
        told = states.read(file).progress
    except StateFileError as error:
        if "being written" in str(error):
            return 0
        raise
    assert told is not None
    return told.step


def test_killed_between_the_picture_and_the_end(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, often: None) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(keeping.Keeper, "remove", lambda self: None if self.run.last is None else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cli("photo.png", "style.png", *WORDS, "-o", OUT)
    data = (here / OUT).read_bytes()
    assert there(here) == {OUT, LEFT}
    assert cli("resume", OUT) == Said(0, "out.png was finished already\n", "")
    assert there(here) == {OUT}
    assert (here / OUT).read_bytes() == data
