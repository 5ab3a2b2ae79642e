"""Running a job: the order of its events, stopping and resuming to the same pixels, and what it never does to other files."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import pickle
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import ROOT, after_step, fail_with, names, pixels_of, start
from jobs.small import OUT, SMALL, STATE, STEPS, finish, interrupt, job, leave, record, same
from PIL import Image

from impasto import encoders, files, jobs, pictures
from impasto.compute import memory
from impasto.errors import DivergenceError, OutputError, SaveError, StateFileError
from impasto.inputs import Inputs, Layer
from impasto.jobs import Failed, Note, Preview, Progress, Saved, keeper, lock, making, records, unfinished
from impasto.objective import levels
from impasto.stylizer import Stylizer

pytestmark = pytest.mark.usefixtures("here")


# ----------------------------------------------------------------------------------------------------------------- events


def test_events_come_in_order_and_survive_pickling() -> None:
    events = list(jobs.run(job(size=182, iterations=6, output={"preview": 4})))
    assert [type(event) for event in events] == [Note, Note, Preview, *[Progress] * 3, Preview, *[Progress] * 3, Saved]
    assert pickle.loads(pickle.dumps(events)) == events
    steps = [event for event in events if isinstance(event, Progress)]
    assert [(step.count, step.of, step.scales) for step in steps] == [(count, 6, 2) for count in range(1, 7)]
    assert [(step.scale, step.step, step.steps, step.width, step.height) for step in steps] == [
        *((1, step, 4, 128, 107) for step in range(1, 5)),
        *((2, step, 2, 182, 152) for step in range(1, 3)),
    ]
    assert [step.done for step in steps] == sorted({step.done for step in steps})
    assert steps[-1].done == 1
    assert all(step.losses.keys() == {"content", "style", "palette"} for step in steps)
    preview, saved = events[6], events[-1]
    assert preview == Preview(Path("out-step00004.png"), 4)
    assert isinstance(saved, Saved)
    assert (saved.path, saved.width, saved.height, saved.problem, saved.exit_code) == (OUT, 182, 152, "", 0)
    assert saved.notes == tuple(event.text for event in events if isinstance(event, Note))
    assert saved.losses == steps[-1].losses
    assert saved.settings == pictures.read_settings(OUT)


def test_a_job_paints_what_its_stylizer_paints() -> None:
    stylizer = Stylizer(**SMALL)
    saved = finish(job(None, output={"suffix": ".webp"}), stylizer=stylizer)
    assert saved.path is None
    with Image.open(io.BytesIO(saved.data)) as image:
        assert image.format == "WEBP"
        assert image.tobytes() == stylizer.run("photo.png", "style.png").finish().tobytes()
    assert pictures.read_settings(saved.data) == saved.settings
    finish(job(inputs=Inputs(Path("photo.png"), (pixels_of("style.png"),))))
    assert pixels_of(OUT).tobytes() == image.tobytes()


def test_inputs_in_memory_paint_to_a_file_too_and_keep_no_state(often: None, here: Path) -> None:
    finish(job("whole.png"))
    inputs = Inputs(Path("photo.png").read_bytes(), ("style.png",))
    saved = interrupt(job(inputs=inputs), 5)
    assert (saved.resume, saved.problem[:15]) == ("", "interrupted at ")
    assert names(here) == {"out.png", "whole.png"}
    finish(job(inputs=inputs, output={"overwrite": True}))
    assert (pixels_of(OUT) == pixels_of("whole.png")).all()


# -------------------------------------------------------------------------------------------------- stopping and resuming


def test_closing_saves_a_state_that_ends_in_the_same_pixels(here: Path) -> None:
    inputs = Inputs("photo.png", ("style.png", "another.png"), (Layer("mask.png", "style.png"),))
    blend: dict[str, Any] = {"inputs": inputs, "blend": (1, 2), "keep_colors": "luma"}
    finish(job("whole.png", **blend))
    for steps in (1, 4, STEPS):
        leave(job(**blend), steps)
        assert names(here) == {"whole.png", STATE.name}
        position = unfinished.read(STATE).position
        assert position is not None
        assert position.step == steps
        events = list(jobs.run(job(**blend), resume=True))
        assert [event.count for event in events if isinstance(event, Progress)] == list(range(steps + 1, STEPS + 1))
        assert same(OUT, "whole.png")
        assert names(here) == {"whole.png", OUT.name}
        OUT.unlink()


def test_control_c_saves_the_image_and_the_state_as_often_as_it_comes(here: Path) -> None:
    finish(job("whole.png"))
    first = interrupt(job(), 2)
    assert first.problem == f"interrupted at {2 / STEPS:.0%}"
    assert (first.exit_code, first.resume) == (130, "`impasto resume out.png` resumes it")
    assert record(OUT)["done"] == pytest.approx(unfinished.read(STATE).done, abs=1e-4) == pytest.approx(2 / STEPS, abs=1e-4)
    before = OUT.read_bytes()
    second = interrupt(job(), 3)
    assert (second.problem, OUT.read_bytes() == before) == (f"interrupted at {5 / STEPS:.0%}", False)
    assert finish(job()).seconds >= second.seconds
    assert same(OUT, "whole.png")
    assert names(here) == {OUT.name, "whole.png"}


def test_control_c_before_the_first_step_writes_nothing(here: Path) -> None:
    with after_step(0):
        assert list(jobs.run(job())) == [Failed("interrupted; nothing was written", 130)]
    assert names(here) == set()


def test_an_interrupted_image_is_as_large_as_the_finished_one() -> None:
    saved = interrupt(job(size=300, iterations=30), 3)
    assert saved.problem.endswith(", still at 128x107 and enlarged")
    assert pixels_of(OUT).shape == (250, 300, 3)


def test_what_started_in_blocks_resumes_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever memory is free by then; its pairs, in files, are in the state."""
    large: dict[str, Any] = {"size": 128, "init_size": 128, "iterations": 3}
    with monkeypatch.context() as patch:
        patch.setattr(memory, "limit_of", lambda device: 1)
        finish(job("whole.png", **large))
        leave(job(**large), 2)
    assert unfinished.read(STATE).settings["memory"] == 1
    finish(job(**large))
    assert same(OUT, "whole.png")


def test_an_error_of_the_run_saves_the_image(here: Path) -> None:
    error = DivergenceError("the palette loss diverged", remedy="try a smaller {palette_weight}")
    with after_step(4, fail_with(error)):
        *_, saved = jobs.run(job())
    assert isinstance(saved, Saved)
    assert (saved.exit_code, saved.resume) == (1, "")
    assert saved.problem == f"the palette loss diverged; try a smaller palette_weight at {4 / STEPS:.0%}"
    assert str(saved.error) == str(error)
    assert names(here) == {OUT.name}  # no state: resuming would lead to the same end


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(9)], ids=type)
def test_a_bug_loses_nothing(here: Path, error: BaseException) -> None:
    OUT.write_bytes(b"old")
    with after_step(4, fail_with(error)), pytest.raises(type(error)):
        finish(job(output={"overwrite": True}))
    assert OUT.read_bytes() == b"old"
    finish(job())  # the old one may still be replaced: it is what the first run was allowed to replace
    assert names(here) == {OUT.name}
    assert record(OUT)["picture"]


def test_killed_between_the_image_and_the_end(here: Path, monkeypatch: pytest.MonkeyPatch, often: None) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(keeper.Keeper, "remove", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish(job())
    assert unfinished.read(STATE).whole == files.digest(OUT) == hashlib.sha256(OUT.read_bytes()).hexdigest()
    before = pixels_of(OUT)
    finish(job())
    assert (pixels_of(OUT) == before).all()
    assert names(here) == {OUT.name}


# ------------------------------------------------------------------------------------------------------ what is refused


def refused(job: jobs.Job, error: type[Exception], *says: str, **words: Any) -> None:
    with pytest.raises(error) as caught:
        finish(job, **words)
    assert all(word in str(caught.value) for word in says), str(caught.value)


def test_an_unfinished_run_is_not_lost(here: Path) -> None:
    leave(job(), 3)
    before = STATE.read_bytes()
    refused(
        job(), OutputError, "belongs to an unfinished run: `impasto resume out.png` resumes it; use overwrite", resume=False
    )
    refused(job(seed=3), OutputError, "unfinished run of another job", "use overwrite to start again")
    refused(job(inputs=Inputs("photo.png", ("style.png",) * 2)), OutputError, "unfinished run of another job")
    assert STATE.read_bytes() == before
    finish(job(seed=3, output={"overwrite": True}))  # which a run with overwrite may replace
    assert names(here) == {OUT.name}


def test_changed_inputs_program_or_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    leave(job(), 3)
    with monkeypatch.context() as patch:
        patch.setattr(making, "__version__", "0.0.7")
        refused(
            job(), StateFileError, "out.png.unfinished cannot be resumed: it was made with impasto 0.1.0, and this is 0.0.7"
        )
    with monkeypatch.context() as patch:
        build = encoders.build

        def other_weights(*words: Any, **more: Any) -> Any:
            encoder = build(*words, **more)
            encoder.digest = "another"
            return encoder

        patch.setattr(encoders, "build", other_weights)
        refused(job(), StateFileError, "the encoder's weights have changed")
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 7)
        assert "the run continues on 7 threads and started on 1: the last bits may differ" in finish(job()).notes
    OUT.unlink()
    leave(job(), 3)
    Path("another.png").replace("style.png")
    refused(job(), StateFileError, "style style.png has changed (its hash differs)")
    assert STATE.exists()


def test_another_image_under_its_name_is_kept() -> None:
    interrupt(job(), 3)
    OUT.write_bytes(b"precious")
    refused(job(), OutputError, "out.png exists; use overwrite")
    assert OUT.read_bytes() == b"precious"
    finish(job(output={"overwrite": True}))
    assert pixels_of(OUT).shape == (33, 40, 3)


def test_an_input_is_never_replaced(here: Path) -> None:
    frame = here / "frames" / "0001.png"
    frame.parent.mkdir()
    Path("another.png").rename(frame)
    output = {"overwrite": True, "frames": here / "frames"}
    refused(job(here / "photo.png", output=output), OutputError, "photo.png is the input", "choose another name")
    refused(job(inputs=Inputs("photo.png", (frame,)), output=output), OutputError, "would replace the input", "another name")
    assert pixels_of(frame).shape == (44, 44, 3)


def test_a_file_that_appears_meanwhile_is_not_replaced(here: Path) -> None:
    with after_step(2, lambda: OUT.write_bytes(b"someone else's")):
        assert finish(job()).path == Path("out-2.png")
    assert OUT.read_bytes() == b"someone else's"
    assert names(here) == {"out.png", "out-2.png"}


# ------------------------------------------------------------------------------------------------------------- full disk


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_keeps_the_last_state_and_says_so_once(here: Path, often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(job("whole.png"))
    kept = []

    def fill() -> None:
        kept.append(STATE.read_bytes())
        patch.setattr(os, "fsync", no_space)

    events: list[Any] = []
    with monkeypatch.context() as patch, after_step(4, fill), pytest.raises(SaveError) as caught:
        events.extend(map(events.append, jobs.run(job())))  # all events before the error
    assert str(caught.value) == "out.png could not be written: no space left on device; `impasto resume out.png` resumes it"
    said = [event.text for event in events if isinstance(event, Note)]
    wrong = f"{here / STATE} could not be written: no space left on device"
    assert said == [f"the state of the run could not be saved, the previous one is kept: {wrong}"]
    assert names(here) == {"whole.png", STATE.name}
    assert kept == [STATE.read_bytes()]
    finish(job())
    assert same(OUT, "whole.png")


def test_a_disk_that_was_always_full(here: Path, often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", no_space)
    refused(job(), SaveError, "out.png could not be written: no space left on device")
    assert names(here) == set()


def test_an_image_that_could_not_be_replaced_is_replaced_later(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(job(), 2)
    first, write = OUT.read_bytes(), files.write

    def no_images(path: Path, *words: Any, **more: Any) -> None:
        if Path(path) == OUT:
            raise SaveError("the disk is full")
        write(path, *words, **more)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", no_images)
        with pytest.raises(SaveError, match=r"^the disk is full; `impasto resume out.png` resumes it$"):
            interrupt(job(), 3)
    assert OUT.read_bytes() == first
    assert finish(job()).path == OUT


# ------------------------------------------------------------------------------------------------------------- the lock


def test_two_runs_never_write_one_output(here: Path, often: None) -> None:
    said: list[str] = []

    def second() -> None:
        for path, resume in ((here / OUT, False), (OUT, True)):
            with pytest.raises(OutputError) as caught:
                finish(job(path, output={"overwrite": True}), resume=resume)
            said.append(str(caught.value))
        finish(job("other.png"))

    with after_step(2, second):
        finish(job())
    assert [words.endswith("out.png; wait for it, or choose another name") for words in said] == [True, True]
    assert names(here) == {OUT.name, "other.png"}


def test_another_process_holds_the_lock_until_it_is_killed(here: Path) -> None:
    script = (
        "import sys; from impasto.jobs.lock import alone\nwith alone('out.png'): print('held', flush=True); sys.stdin.read()"
    )
    script = script.replace("'out.png'", "__import__('pathlib').Path('out.png')")
    with start("-c", script, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        refused(job(), OutputError, "another run is writing out.png")
        process.kill()
        process.communicate()
    finish(job())
    assert names(here) == {OUT.name}


def test_scraps_of_killed_runs_are_removed_and_no_others(here: Path) -> None:
    for name in (OUT, STATE, "other.png"):
        (here / f"{files._temporary_prefix(here / name)}0123.tmp").write_bytes(b"half")
    finish(job())
    assert names(here) == {OUT.name, f"{files._temporary_prefix(here / 'other.png')}0123.tmp"}


def test_names_as_long_as_can_be_and_links(here: Path) -> None:
    long = "é" * 120 + ".png"
    leave(job(long), 2)
    finish(job(long))
    (here / "sub").mkdir()
    Path("link.png").symlink_to("sub/target.png")
    assert lock.state_of(Path("link.png")) == here / "sub" / "target.png.unfinished"
    assert lock.output_of(Path("sub/target.png.unfinished")) == Path("sub/target.png")
    assert names(here) == {long, "sub", "link.png"}


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_and_resumed_it_is_the_very_same(here: Path) -> None:
    finish(job("whole.png"))
    leave(job(), 2)  # so that the killed one is a resumed one
    script = f"""
import os, signal, sys
sys.path.append({str(ROOT / "tests")!r})
from command_line import after_step
from impasto.cli import main
with after_step(3, lambda: os.kill(os.getpid(), signal.SIGKILL)):
    main(["resume", "out.png", "-q"])
"""
    with start("-c", script) as process:
        assert process.communicate() == ("", "")
    assert process.returncode == -signal.SIGKILL
    assert not OUT.exists()
    assert unfinished.read(STATE).done == pytest.approx(5 / STEPS)
    finish(job())
    assert same(OUT, "whole.png")
    assert names(here) == {OUT.name, "whole.png"}


# ---------------------------------------------------------------------------------------------------------- made again


def again(previous: records.Previous, path: str, **changes: Any) -> tuple[list[str], Saved]:
    """Make an image again. Returns the notes and the last event."""
    made = job(path, output={"overwrite": True})
    made = dataclasses.replace(made, options=previous.options(changes))
    *events, saved = jobs.run(made, previous=previous)
    assert isinstance(saved, Saved)
    return [event.text for event in events if isinstance(event, Note)], saved


def test_made_again_it_is_compared_with_the_first() -> None:
    finish(job())
    previous = records.read(OUT)
    notes, saved = again(previous, "again.png")
    assert (notes, saved.compared) == ([], "the same image, pixel by pixel")
    assert Path("again.png").read_bytes() == OUT.read_bytes()
    other = dataclasses.replace(previous, record=previous.record.model_copy(update={"picture": "another"}))
    assert again(other, "again.png")[1].compared == "the same image as far as its file tells, which does not keep every pixel"
    changed = dataclasses.replace(previous, changed=True)
    assert again(changed, "again.png", seed=3, init="noise")[1].compared == ""


def test_it_is_planned_as_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """--max-memory is no option of the image; but the blocks it was computed in are in its last bits."""
    sides: list[int] = []

    class Seen(levels.InBlocks):
        def __init__(self, *words: Any) -> None:
            sides.append(words[2])
            super().__init__(*words)

    monkeypatch.setattr(levels, "InBlocks", Seen)
    large: dict[str, Any] = {"size": 256, "iterations": 2, "init_size": 256, "precision": "fp32"}
    finish(job(max_memory="700MB", **large))
    assert sides == [64] * 3  # the image, and averaged down by 2 and by 4
    previous = records.read(OUT)
    assert "max_memory" not in previous.settings
    assert previous.record.memory == 700_000_000
    notes, saved = again(previous, "again.png")
    assert (sides, notes[2:], saved.compared) == ([64] * 6, [], "the same image, pixel by pixel")  # the first two: small images
    with monkeypatch.context() as patch:
        patch.setattr(memory, "limit_of", lambda device: 1)  # less than it took
        more = dataclasses.replace(previous, record=previous.record.model_copy(update={"memory": 9 * 10**9}))
        events = jobs.run(job("again.png", output={"overwrite": True}, **large), previous=more)
        said = "it was computed with 9.0 GB of memory, and 0.0 GB are free: the last bits may differ"
        for event in events:
            assert isinstance(event, Note), "there was no such note before the first step"
            if event.text == said:
                break


def test_other_threads_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    finish(job())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert records.read(OUT).record.threads == 1
    notes, _ = again(records.read(OUT), "again.png")
    assert notes == ["it was computed with 1 threads, and these are 7: the last bits may differ"]
