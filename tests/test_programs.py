"""impasto inside other people's programs: their settings of torch, their processes, their streams, and folders that disappear."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Cli

import impasto
from impasto import errors, jobs, styles
from impasto.cli import main
from impasto.compute import settings
from impasto.errors import OptionError, RunError, UnknownNameError
from impasto.inputs import Inputs, Layer
from impasto.jobs.forecast import forecast

SMALL: dict[str, Any] = {"size": 32, "iterations": 2, "device": "cpu", "precision": "fp32"}
MATRIX = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch makes it when it is imported


# ------------------------------------------------------------------------------------------------------- settings of torch


@contextlib.contextmanager
def a_default_device() -> Iterator[None]:
    torch.set_default_device("meta")  # as "cuda" where there is none
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def a_default_dtype(dtype: torch.dtype = torch.float64) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def deterministic_and_inexact() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision("highest")
        MATRIX.fp32_precision = "none"


@contextlib.contextmanager
def everything() -> Iterator[None]:
    with torch.inference_mode(), a_default_device(), a_default_dtype(torch.bfloat16), torch.autocast("cpu", torch.float16):
        yield


HOSTS: tuple[Callable[[], AbstractContextManager[Any]], ...] = (torch.no_grad, deterministic_and_inexact, everything)


def current() -> tuple[object, ...]:
    """The settings that a program may have."""
    return (
        *(torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_default_device(), torch.get_default_dtype()),
        *(torch.is_autocast_enabled("cpu"), torch.are_deterministic_algorithms_enabled(), MATRIX.fp32_precision),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def pixels(host: Callable[[], AbstractContextManager[Any]], folder: Path) -> dict[str, Any]:
    """What every public entry gives while a program has its own settings, which it has again afterwards and between steps."""
    found: dict[str, Any] = {}
    with host():
        theirs = current()
        stylizer = impasto.Stylizer(**SMALL)
        style = stylizer.style("style.png")
        style.targets(32)
        run = stylizer.run("photo.png", [style, "udnie"], masks=[("mask.png", None)])
        states = []
        for _ in run:
            assert current() == theirs
            states.append(copy.deepcopy(run.state))
        found["masks"] = run.image()
        found["gatys"] = impasto.stylize("photo.png", "style.png", **SMALL, method="gatys", encoder="lite", init="noise")
        instant = impasto.stylize("photo.png", "style.png", size=32, device="cpu", precision="fp32", quality="instant")
        found["instant"] = instant
        styles.save(style, folder / "kept.style", overwrite=True)
        job = jobs.Job(Inputs("photo.png", ("kept.style",)), impasto.Options(**SMALL), jobs.Output(metadata=False))
        for found["job"] in jobs.run(job):
            assert current() == theirs
        assert forecast(run) > 0
        with pytest.raises(OptionError):
            impasto.Stylizer(**SMALL).run("photo.png", style)
        assert current() == theirs
    assert not current()[0]
    assert states[0] is not None
    resumed = stylizer.run("photo.png", [style, "udnie"], masks=[("mask.png", None)])
    resumed.resume(states[0])  # type: ignore[attr-defined]  # a Run
    found["resumed"] = resumed.finish()
    assert np.array_equal(found["resumed"], found["masks"])
    found["outside"] = stylizer.run("photo.png", style).finish()
    return {name: value.data if name == "job" else np.asarray(value).tobytes() for name, value in found.items()}


def test_a_programs_settings_change_no_result_and_are_its_own_again(here: Path) -> None:
    """Also if an error occurs. Everything that was made inside can be used outside."""
    expected = pixels(contextlib.nullcontext, here)
    for host in HOSTS:
        assert pixels(host, here) == expected


def test_programs_may_import_inside_and_end_with_an_unfinished_job(here: Path, often: None) -> None:
    """What modules compute once is not the program's. Torch would crash while Python ends if the job were not closed before."""
    program = """
        import torch
        torch.set_default_device("meta")
        with torch.inference_mode():
            import impasto
            impasto.stylize("photo.png", "style.png", size=32, quality="instant")
        from impasto import jobs
        inputs, output = impasto.Inputs("photo.png", ("style.png",)), jobs.Output(path="result.png")
        events = jobs.run(jobs.Job(inputs, impasto.Options(size=32, iterations=9, init="instant"), output))
        print(next(event for event in events if isinstance(event, jobs.Progress)).count)
    """
    assert output_of(program) == "1"
    assert (here / "result.png.unfinished").exists()


def output_of(program: str, **variables: str) -> str:
    """What a Python program prints, on both streams. It fails the test if it takes longer than a minute."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ | variables)
    return (done.stdout + done.stderr).strip()


def test_steps_are_advanced_thrown_into_and_closed_inside() -> None:
    seen = list[object]()

    def work() -> Iterator[int]:
        try:
            for number in range(3):
                seen.append(torch.is_inference_mode_enabled())
                try:
                    yield number
                except KeyError:
                    seen.append(torch.is_inference_mode_enabled())
        finally:
            seen.append(torch.is_inference_mode_enabled())

    with torch.inference_mode():
        steps = settings.each_step(work())  # type: ignore[arg-type]  # a generator
        assert next(steps) == 0
        assert steps.throw(KeyError()) == 1
        assert torch.is_inference_mode_enabled()
        steps.close()
        assert seen == [False] * 4
        assert list(settings.each_step(work())) == [0, 1, 2]  # type: ignore[arg-type]
        assert torch.is_inference_mode_enabled()


# --------------------------------------------------------------------------------------------------------------- processes


def values(here: Path) -> Iterator[object]:
    """Everything public that a program may send to another process."""
    job = jobs.Job(
        Inputs("photo.png", ("style.png", "udnie"), (Layer("mask.png", None),), start=here / "photo.png"),
        impasto.Options(**SMALL, blend=(0.3, 0.7)),
        jobs.Output(path=here / "result.png", preview=1),
    )
    yield from (job, job.inputs, job.options, job.output)
    yield from jobs.run(job)
    yield jobs.Failed("it failed", 1, errors.DivergenceError("it failed", remedy="a smaller {style_weight}"))
    run = impasto.Stylizer(**SMALL).run("photo.png", "style.png")
    yield from run
    yield run.scales[0]
    yield styles.read_card(Path(impasto.__file__).parent / "assets" / "styles" / "udnie.style")


def test_values_survive_pickling_and_copying(here: Path) -> None:
    kinds = set()
    for value in values(here):
        kinds.add(type(value).__name__)
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value
    assert kinds >= {
        "Job",
        "Inputs",
        "Options",
        "Output",
        "Note",
        "Preview",
        "Progress",
        "Saved",
        "Failed",
        "Step",
        "Scale",
        "Card",
    }


def test_a_run_and_a_stylizer_go_on_elsewhere(here: Path) -> None:
    stylizer = impasto.Stylizer(**SMALL)
    run = stylizer.run("photo.png", "style.png")
    next(iter(run))
    there = pickle.loads(pickle.dumps((run, stylizer)))
    expected = run.finish()
    assert there[0].finish() == expected == there[1].run("photo.png", "style.png").finish()


def failing(kind: str) -> None:
    if kind == "UnknownNameError":
        raise UnknownNameError("encoder", "vgg91", ["vgg19"])
    if kind == "a missing file":
        impasto.stylize("missing.png", "style.png")
    raise OptionError("must be at least 0, not -1", option="tv_weight", remedy="raise {tv_weight}")


def test_a_workers_error_reaches_the_parent(here: Path) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for kind, text in {
            "UnknownNameError": "unknown encoder 'vgg91'; did you mean 'vgg19'?",
            "a missing file": "photograph missing.png: no such file or directory",
            "OptionError": "tv_weight must be at least 0, not -1; raise tv_weight",
        }.items():
            with pytest.raises(impasto.ImpastoError) as raised:
                pool.submit(failing, kind).result(timeout=60)
            assert str(raised.value) == text


FORKED = """
    import multiprocessing
    import impasto

    def work():
        try:
            print(impasto.stylize("photo.png", "style.png", size=32, iterations=1).size)
        except impasto.ImpastoError as error:
            print(f"{type(error).__name__}: {error}")

    impasto.Stylizer(size=32)
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(30)
    print(child.exitcode)
    child.kill()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system with fork")
def test_a_process_forked_after_use_is_refused_and_does_not_wait_forever(here: Path) -> None:
    refused, code = output_of(FORKED, OMP_NUM_THREADS="2").splitlines()
    assert refused.startswith("RunError: impasto cannot be used in a process that was forked")
    assert "'spawn'" in refused
    assert code == "0"


# ----------------------------------------------------------------------------------------------------------------- streams

PAINT = ("photo.png", "style.png", "--size", "32", "--quality", "instant")
FULL = Path("/dev/full")
LOST = (1, "impasto: standard output could not be written: no space left on device\n")
CLOSED = (2, "impasto: standard output is closed, so the image cannot go there; name a file with --output\n")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("full", [True, False])
def test_an_image_needs_no_standard_output(
    here: Path, full: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text about what was written is lost. What was asked for and cannot be printed is one line."""

    def ended(*words: str) -> tuple[int, str]:
        with FULL.open("w") as stream, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream if full else None)
            return main(words), capsys.readouterr().err

    assert ended(*PAINT, "-o", "result.png") == (0, "")
    assert ended(*PAINT, "-o", "again.png", "--json") == ended("styles") == (LOST if full else (0, ""))
    assert ended(*PAINT, "-o", "-") == (LOST if full else CLOSED)
    assert ended("sheet", "photo.png", "style.png", "--size", "32", "-o", "-")[1].endswith((LOST if full else CLOSED)[1])
    assert {file.name for file in here.glob("*.png")} >= {"result.png", "again.png"}
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    assert [main(PAINT), main(PAINT)] == [0, 2]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("redirected", "expected"), [(">&-", (0, "")), (f">{FULL}", LOST)])
def test_python_says_nothing_when_it_ends(redirected: str, expected: tuple[int, str]) -> None:
    command = ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "impasto", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == expected


def test_control_characters_are_escaped_in_every_line_and_in_json_as_json_does(here: Path, cli: Cli) -> None:
    name = "a\x1b[31m\n.png"
    Path("photo.png").rename(name)
    lines = [
        cli(name, *PAINT[1:], "-o", f"1{name}", "--json"),
        cli("info", f"1{name}"),
        cli("sheet", name, "udnie", "--size", "32", "-o", f"3{name}"),
        cli("compare", name, "style.png", f"1{name}", "-o", f"4{name}.html"),
        cli("style", "show", f"6{name}"),
        cli(name, "style.png", "--dry-run", "-o", f"7{name}"),
        cli(name, f"8{name}"),
        cli("resume", name),
    ]
    assert [said.code for said in lines] == [0, 0, 0, 0, 2, 0, 2, 2]
    for said in lines:
        assert "\x1b" not in said.stdout + said.stderr
        assert "a\\x1b[31m\\n" in said.stdout + said.stderr
    assert "1a\\u001b[31m\\n.png" in lines[0].stdout


# ----------------------------------------------------------------------------------------------------------------- folders


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def replaced_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file")


@pytest.mark.parametrize("frames", [None, "out/made/film.gif", "out/made/frames"])
@pytest.mark.parametrize("happens", [removed, replaced_by_a_file])
def test_nothing_is_lost_with_the_outputs_folder(
    here: Path, often: None, happens: Callable[[Path], None], frames: str | None
) -> None:
    folder = here / "out" / "made"
    folder.mkdir(parents=True)
    output = jobs.Output(path=folder / "result.png", preview=2, frames=frames)
    events = jobs.run(jobs.Job(Inputs("photo.png", ("style.png",)), impasto.Options(**SMALL), output))
    for event in events:
        if isinstance(event, jobs.Progress) and event.count == 1:
            happens(folder)
    assert isinstance(event, jobs.Saved)
    there = folder if happens is removed else folder.parent
    assert event.path == there / "result.png"
    assert event.path.exists()
    if happens is replaced_by_a_file:
        moved = f"{folder}/result.png: there is no directory {folder}; it was saved as {event.path}"
        assert moved in event.notes
    assert not list(here.rglob("*.tmp"))


def test_a_forked_process_is_recognized_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_process", os.getpid() + 1)
    with pytest.raises(RunError, match="spawn"):
        impasto.Stylizer(**SMALL)
