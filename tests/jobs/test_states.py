"""The saved state of a run: from every step the same bits, what it holds, when it is saved, and damaged ones."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs.small import OUT, SMALL, STATE, finish, job, leave
from safetensors.torch import save_file

from impasto import cards
from impasto.errors import OptionError, OutputError, StateFileError
from impasto.inputs import Inputs, Layer
from impasto.jobs import keeper, states, unfinished
from impasto.optimize import State
from impasto.run import Run
from impasto.stylizer import Stylizer

pytestmark = pytest.mark.usefixtures("here")


def card_of(run: Run) -> unfinished.Card:
    return unfinished.Card(job={}, settings={}, scales=tuple((*scale.size, scale.steps) for scale in run.scales))


def run_of(inputs: Inputs | None = None, **changes: Any) -> Run:
    stylizer = Stylizer(**SMALL | {"iterations": 7} | changes)
    return stylizer.paint((inputs or Inputs("photo.png", ("style.png",))).load(10**6))


def after(count: int, **changes: Any) -> tuple[Run, State]:
    """A run that has made so many steps, and its state."""
    run = run_of(**changes)
    assert len(list(islice(run, count))) == count
    assert run.state is not None
    return run, run.state


CASES: dict[str, tuple[dict[str, Any], Inputs]] = {
    "scales": ({"size": 182, "iterations": 9}, Inputs("photo.png", ("style.png",))),
    "masked": ({}, Inputs("photo.png", ("style.png",), (Layer("mask.png", "another.png"),))),
    "kept": ({"tv_weight": 2.0}, Inputs("photo.png", ("style.png",), (Layer("mask.png", None),))),
    "blend": ({"blend": (0.3, 0.7), "keep_colors": "luma"}, Inputs("photo.png", ("style.png", "another.png"))),
    "gatys": ({"method": "gatys", "encoder": "lite", "seed": 3}, Inputs("photo.png", ("style.png",))),
    "named": ({"init": "noise", "precision": "bf16"}, Inputs("photo.png", ("starry-night",))),
}


@pytest.mark.parametrize("case", CASES)
def test_from_every_third_step_and_the_last_it_ends_in_the_same_bits(case: str) -> None:
    changes, inputs = CASES[case]
    run, kept = run_of(inputs, **changes), []
    for step in run:
        assert run.state is not None
        assert (run.state.scale, run.state.step) == (step.scale, step.step)
        states.write(STATE, card_of(run), run.state)
        kept.append((STATE.read_bytes(), step))
    assert run.last is not None
    assert len({step.scale for _, step in kept}) == len(run.scales) == (2 if case == "scales" else 1)
    for data, step in kept[::3] + kept[-1:]:
        STATE.write_bytes(data)
        again = run_of(inputs, **changes)
        again.resume(states.load(STATE, again.problem.device)[1])
        assert again.last is not None
        assert torch.equal(again.last.image, step.image)
        assert replace(again.last, image=step.image) == step
        assert len(list(again)) == len(kept) - step.count
        assert torch.equal(again.last.image, run.last.image)
        assert again.last.losses == run.last.losses
        assert again.image().tobytes() == run.image().tobytes()


def test_iterating_again_resumes() -> None:
    run, state = after(5)
    whole = run_of().finish()
    assert [(step.scale, step.step) for step in run] == [(state.scale, 6), (state.scale, 7)]
    assert run.image().tobytes() == whole.tobytes()
    assert list(run) == []


def test_what_a_run_resumed_from_is_released() -> None:
    """Of a large image every copy counts, and what the optimizer knew there is soon outdated."""
    run, state = after(5, iterations=20)
    states.write(STATE, card_of(run), state)
    again = run_of(iterations=20)
    state = states.load(STATE, again.problem.device)[1]
    assert state.ahead is not None
    assert state.ahead.memory.before is not None
    held = [weakref.ref(x) for x in (state.best, state.ahead.image, *state.ahead.memory.before)]
    again.resume(state)
    del state
    steps = iter(again)
    assert all(x() is not None for x in held)
    assert len(list(islice(steps, 4))) == 4
    assert [x() for x in held] == [None] * 4


def test_tensors_keep_their_types_and_the_file_is_as_large_as_said() -> None:
    run, state = after(5)
    assert state.ahead is not None
    memory = state.ahead.memory
    half = replace(memory, pairs=tuple((s.half(), y.bfloat16(), rho.double()) for s, y, rho in memory.pairs))
    size = states.write(STATE, card_of(run), replace(state, ahead=replace(state.ahead, memory=half)))
    assert size <= STATE.stat().st_size < size + 500
    card, found = states.load(STATE, torch.device("cpu"))
    assert card == unfinished.read(STATE)
    assert found.ahead is not None
    assert len(found.ahead.memory.pairs) == len(memory.pairs) > 1
    for pair, other in zip(half.pairs, found.ahead.memory.pairs, strict=True):
        for a, b in zip(pair, other, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


def test_a_state_too_large_is_kept_without_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    run, state = after(5, iterations=20)
    whole = states.write(STATE, card_of(run), state)
    monkeypatch.setattr(states, "MOST_BYTES", whole // 2)
    assert states.write(STATE, card_of(run), state) < whole / 5
    again = run_of(iterations=20)
    again.resume(states.load(STATE, again.problem.device)[1])
    assert again.last is not None
    before = again.last.total
    steps = list(again)
    assert len(steps) == 15
    assert min(step.total for step in steps) < 0.9 * before
    with pytest.raises(OutputError, match="belongs to an unfinished run of another job"):
        finish(job())
    STATE.unlink()
    leave(job(), 5)
    assert finish(job()).notes == (
        "this run was too large to save the optimizer's state; it resumes, but the result will differ slightly",
    )


# ------------------------------------------------------------------------------------------------------ when it is saved


def test_every_twenty_seconds_by_a_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now, saved = [1000.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.time", lambda: pytest.fail("the clock on the wall"))
    run, _ = after(3)

    def write(*_: object) -> int:
        saved.append(now[0])
        now[0] += cost
        return 0

    monkeypatch.setattr(states, "write", write)
    for cost, times in ((0.5, [1020.0, 1040.5, 1061.0]), (4.0, [1020.0, 1104.0])):  # on a slow disk, 5 percent of the time
        now[0] = 1000.0
        saved.clear()
        keeping = keeper.Keeper(run, OUT, card_of(run))
        while now[0] < 1070 + 10 * cost:
            assert keeping.after_step() == ""
            now[0] += 1
        assert saved == times
        assert keeping.seconds == now[0] - 1000


def test_a_quick_job_writes_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    monkeypatch.setattr(states, "write", None)
    finish(job())
    monkeypatch.setenv("IMPASTO_SAVE_EVERY", "often")
    with pytest.raises(OptionError, match="IMPASTO_SAVE_EVERY must be a number of seconds, not 'often'"):
        finish(job("other.png"))


# --------------------------------------------------------------------------------------------------------------- damaged


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def name_a_field(data: bytes) -> bytes:
    """A field of 5000 characters in the card, and the header's length for it."""
    field = b'\\"' + b"x" * 5000 + b'\\":1,'
    at = data.index(b'\\"format\\":3')
    length = int.from_bytes(data[:8], "little") + len(field)
    return length.to_bytes(8, "little") + data[8:at] + field + data[at:]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "the file is empty"),
    "cut": (lambda data: data[: len(data) // 2], "cut short"),
    "text": (lambda data: b"not a state", "cut short"),
    "flipped": (flip, "checksums are wrong"),
    "card": (lambda data: data.replace(b'\\"lowest\\":', b'\\"lowesr\\":'), "position.lowest: field required"),
    "long": (name_a_field, "xxxxx: extra inputs"),
    "step": (lambda data: data.replace(b'\\"step\\":4', b'\\"step\\":3'), "checksums are wrong"),
    "version": (lambda data: data.replace(b'\\"format\\":3', b'\\"format\\":2'), "another version of impasto: format"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_one_line(damage: str) -> None:
    change, says = DAMAGES[damage]
    leave(job(), 4)
    data = STATE.read_bytes()
    STATE.write_bytes(change(data))
    assert STATE.read_bytes() != data
    with pytest.raises(StateFileError) as caught:
        finish(job())
    assert says.lower() in str(caught.value).lower()
    assert STATE.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert not OUT.exists()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("before/0", lambda tensor: tensor.mT),
        ("image", lambda tensor: tensor / 0),
        ("pairs/0/1", lambda tensor: tensor[1:]),
        ("pairs/0/2", lambda tensor: tensor[None]),
        ("scale", lambda tensor: tensor.long()),
    ],
)
def test_a_state_whose_tensors_are_not_what_the_engine_keeps_is_refused(
    name: str, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """With right checksums, as another program would write it."""
    run, _ = after(4)
    assert run.state is not None
    tensors = states._tensors(run.state)
    assert name in tensors
    card = card_of(run)
    states.write(STATE, card, run.state)
    card = unfinished.read(STATE)
    tensors = states._ordered(tensors | {name: change(tensors[name])})
    STATE.write_bytes(b"".join(states._parts(states._header(card, tensors), tensors)))
    with pytest.raises(StateFileError, match=r"out.png.unfinished is damaged: its tensors do not match its card"):
        states.load(STATE, torch.device("cpu"))


def test_what_is_no_state_is_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    STATE.mkdir()
    for says in ("is a directory", "is a safetensors file, but not a state"):
        with pytest.raises(StateFileError, match=says):
            unfinished.read(STATE)
        if STATE.is_dir():
            shutil.rmtree(STATE)
        save_file({"best": torch.zeros(2)}, STATE)

    def replaced(*words: object, **more: object) -> None:
        raise RuntimeError("size <1> is smaller than the required mapping size <2>")

    monkeypatch.setattr(cards, "safe_open", replaced)  # by another process, while it is opened
    with pytest.raises(StateFileError, match=r"out.png.unfinished is being written at this moment; try again$"):
        unfinished.read(STATE)
