"""Whole batches with worker processes: the same bytes from any number of them, crashes, kills, Ctrl-C, and two at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from batches.folders import SMALL, Here, photos, same_image, tree, work
from command_line import LIMIT, Cli, start, wait_until

import impasto
from impasto import batches
from impasto.batches import Result, Status
from impasto.batches import runner as runners
from impasto.batches.crew import Lost, Processes, Report
from impasto.errors import OptionError, OutputError, RunError

NAMES = ("a.png", "b.jpg", "sub/c.png", "sub/d.png")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(autouse=True)
def _photographs(here: Path) -> None:
    photos(here / "in", *NAMES)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[Here]:
    """Have batches paint in this process. Returns the crews that did."""
    crews = list[Here]()

    def crew(what: batches.Work, workers: int | None, ray: str | None) -> tuple[Here, int]:
        crews.append(Here(what.settings))
        return crews[-1], 1

    monkeypatch.setattr(runners, "_crew", crew)
    return crews


def results(what: batches.Work, **more: Any) -> list[Result]:
    return [event for event in batches.run(what, **more) if isinstance(event, Result)]


def states(found: list[Result]) -> dict[str, str]:
    return {result.output: result.state for result in found}


def ledger(folder: str = "out") -> dict[str, Any]:
    return dict(json.loads(Path(folder, "batch.json").read_text(encoding="utf-8")))


def test_one_two_and_three_workers_make_the_bytes_of_the_command(cli: Cli, here: Path) -> None:
    expected = dict.fromkeys((f"{name[:-4]}--{style}.png" for name in NAMES for style in ("udnie", "style")), "painted")
    for count in (1, 2, 3):
        found = results(work("in", "udnie", "style.png", output=f"out{count}"), workers=count)
        assert states(found) == expected
        assert ledger(f"out{count}")["finished"] is True
    assert tree("out1") == tree("out2") == tree("out3")
    assert tree("out1").keys() == expected.keys()
    words = ("--quality", "instant", "--size", 48, "--device", "cpu")
    assert cli("in/sub/c.png", "style.png", *words, "-o", "alone.png").code == 0
    assert same_image(here / "out2" / "sub" / "c--style.png", here / "alone.png")


def test_a_bad_file_ends_nothing_and_is_tried_again_when_it_has_changed(here: Path, in_process: list[Here]) -> None:
    good = (here / "in" / "a.png").read_bytes()
    (here / "in" / "a.png").write_bytes(good[:100])
    expected = dict.fromkeys((f"{name[:-4]}--udnie.png" for name in NAMES), "painted")
    events = list(batches.run(work("in")))
    found = [event for event in events if isinstance(event, Result)]
    assert states(found) == expected | {"a--udnie.png": "failed"}
    statuses = [event for event in events if isinstance(event, Status)]
    assert (statuses[-1].done, statuses[-1].painted, statuses[-1].failed) == (4, 3, 1)
    (failure,) = ledger()["failures"]
    assert "in/a.png: truncated or damaged" in failure["problem"]
    kept = dict.fromkeys(expected, "kept")
    assert states(results(work("in"))) == kept | {"a--udnie.png": "skipped"}
    assert ledger()["failures"] == [failure]
    assert states(results(work("in"), retry_failed=True)) == kept | {"a--udnie.png": "failed"}
    (here / "in" / "a.png").write_bytes(good)
    assert states(results(work("in"))) == kept | {"a--udnie.png": "painted"}
    assert ledger()["failures"] == []
    assert [len(crew.items) for crew in in_process] == [4, 3, 4, 4]


def test_the_front_door_yields_results_and_refuses_at_once(here: Path, in_process: list[Here]) -> None:
    found = impasto.batch(here / "in", "udnie", output=here / "out", workers=1, names="{style}/{photo}.jpg", **SMALL)
    assert {result.output for result in found} == {"udnie/a.jpg", "udnie/b.jpg", "sub/udnie/c.jpg", "sub/udnie/d.jpg"}
    assert all(
        result.good for result in impasto.batch(str(here / "in" / "a.png"), ["udnie"], output="o", pairs="random:1", **SMALL)
    )
    with pytest.raises(OptionError, match=r"^workers must be at least 1, not 0$"):
        impasto.batch("in", "udnie", output="out", workers=0)
    with pytest.raises(OptionError, match="unknown option 'sise'"):
        impasto.batch("in", "udnie", output="out", sise=3)


def test_a_script_needs_no_guard_for_its_main_module(here: Path) -> None:
    (here / "script.py").write_text(
        f"import impasto\nprint(sorted(r.state for r in impasto.batch('in', 'udnie', output='out', workers=1, **{SMALL!r})))\n"
    )
    process = start(here / "script.py")
    assert process.communicate(timeout=LIMIT) == ("['painted', 'painted', 'painted', 'painted']\n", "")


# ------------------------------------------------------------------------------------------------- workers that die


@posix
def test_items_of_a_worker_that_was_killed_are_painted_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    killed, give = list[int](), Processes.give

    def giving(crew: Processes, worker: int, number: int, item: Any) -> None:
        give(crew, worker, number, item)
        if not killed:
            crew._known[worker].process.kill()
            killed.append(number)

    monkeypatch.setattr(Processes, "give", giving)
    assert set(states(results(work("in"), workers=2)).values()) == {"painted"}
    assert len(killed) == 1


def test_an_item_that_ends_its_worker_twice_has_failed(in_process: list[Here], monkeypatch: pytest.MonkeyPatch) -> None:
    wait = Here.wait

    def waiting(crew: Here, seconds: float) -> list[Report]:
        if not crew.waiting[0][1].output.startswith("b--"):
            return wait(crew, seconds)
        numbers = tuple(number for number, _ in crew.waiting)
        crew.waiting.clear()
        return [Lost(0, numbers, "was ended by signal SIGKILL")]

    monkeypatch.setattr(Here, "wait", waiting)
    found = {result.output: result for result in results(work("in"))}
    assert {output for output, result in found.items() if not result.good} == {"b--udnie.png"}
    assert found["b--udnie.png"].problem == "its worker was ended by signal SIGKILL, 2 times"
    assert found["b--udnie.png"].again
    assert ledger()["failures"][0]["output"] == "b--udnie.png"
    monkeypatch.setattr(Here, "wait", wait)
    assert states(results(work("in")))["b--udnie.png"] == "painted"


@posix
def test_workers_that_cannot_start_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    started = Processes._started

    def starting(crew: Processes, number: int) -> Any:
        one = started(crew, number)
        one.process.kill()
        return one

    monkeypatch.setattr(Processes, "_started", starting)
    with pytest.raises(
        RunError, match=r"^workers cannot be started: each was ended by signal SIGKILL, .* before it was ready$"
    ):
        results(work("in"), workers=1)


# ------------------------------------------------------------------------------------------- batches that are stopped


def started_batch(here: Path, iterations: int, states: int) -> Any:
    """A batch that saves its states after every step, once so many images are being painted."""
    words = ("-o", "out", "--workers", "2", "--size", "48", "--iterations", str(iterations), "--device", "cpu")
    process = start("-m", "impasto", "batch", "in", "udnie", *words)
    wait_until(lambda: len(list((here / "out").rglob("*.unfinished"))) == states, process, "the workers paint")
    return process


def workers_of(process: Any) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if any("spawn_main" in word for word in child.cmdline())]


@posix
def test_control_c_stops_the_workers_and_leaves_states_only(here: Path) -> None:
    process = started_batch(here, iterations=100_000, states=2)
    workers = workers_of(process)
    with pytest.raises(OutputError, match=r"^another batch is writing to out; wait for it, or choose another folder$"):
        results(work("in"))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "impasto: interrupted; 0 of 4 images are there, and the same command continues"
    assert len(workers) == 2
    assert not any(worker.is_running() for worker in workers)
    assert {Path(name).suffix for name in tree("out")} == {".unfinished"}
    assert ledger()["finished"] is False


@posix
def test_a_killed_batch_leaves_whole_files_and_the_same_command_ends_as_if_it_had_not_been_killed(here: Path) -> None:
    (here / "in" / "sub" / "d.png").unlink()
    process = started_batch(here, iterations=30, states=1)
    workers = workers_of(process)
    process.kill()
    process.communicate()
    until = time.monotonic() + LIMIT
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < until, "workers outlive their program"
        time.sleep(0.05)
    assert {Path(name).suffix for name in tree("out")} <= {".unfinished", ".png", ".impasto-lock"}
    options = {"size": 48, "iterations": 30, "quality": "normal"}
    assert set(states(results(work("in", **options))).values()) <= {"painted", "kept"}
    assert set(states(results(work("in", output="whole", **options))).values()) == {"painted"}
    assert tree("out") == tree("whole")


def test_closing_stops_the_workers(here: Path) -> None:
    with contextlib.closing(batches.run(work("in"), workers=1)) as events:
        assert next(event for event in events if isinstance(event, Result)).good
    assert not workers_of(psutil.Process())
    assert ledger()["finished"] is False
    assert set(states(results(work("in"), workers=1)).values()) <= {"painted", "kept"}
