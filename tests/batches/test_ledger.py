"""batch.json: what it says, when a failure is tried again, and files of that name that are not a batch's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from batches.folders import item, work

from impasto.batches.events import Result
from impasto.batches.ledger import Ledger
from impasto.batches.order import Order
from impasto.batches.places import Folder
from impasto.errors import OutputError

pytestmark = pytest.mark.usefixtures("here")


def result(output: str = "one.png", state: Any = "failed", **more: Any) -> Result:
    return Result(0, "photo.png", ("udnie",), output, f"out/{output}", state, **more)


def ledger() -> Ledger:
    return Ledger(Folder("out"), 3)


def test_it_says_how_far_it_is_and_what_failed() -> None:
    one = ledger()
    one.add(item("photo.png", output="b.png"), result("b.png", problem="it is \u00fcber"))
    one.add(item("photo.png", output="a.png"), result("a.png", "painted", notes=("a note",)))
    one.write(finished=False, now=True)
    found = json.loads(Path("out/batch.json").read_text(encoding="utf-8"))
    assert {name: found[name] for name in ("finished", "items", "done", "painted", "kept", "failed", "skipped")} == {
        "finished": False,
        "items": 3,
        "done": 1,
        "painted": 1,
        "kept": 0,
        "failed": 1,
        "skipped": 0,
    }
    (failure,) = found["failures"]
    assert (failure["photo"], failure["styles"], failure["output"], failure["problem"]) == (
        "photo.png",
        ["udnie"],
        "b.png",
        "it is \u00fcber",
    )
    assert found["notes"] == [{"output": "a.png", "notes": ["a note"]}]


def test_a_failure_is_known_until_its_files_or_options_change() -> None:
    what, one = item("photo.png", "style.png"), ledger()
    one.add(what, result(problem="bad"))
    one.write(finished=True, now=True)
    assert ledger().failed_before(what) == one.failures["one.png"]
    assert ledger().failed_before(item("photo.png", "style.png", strength=0.1)) is None
    assert ledger().failed_before(item("another.png", "style.png")) is None
    assert ledger().failed_before(item("photo.png", "style.png", output="two.png")) is None
    os.utime("style.png", (1, 1))
    assert ledger().failed_before(what) is None


def test_a_full_disk_is_tried_again() -> None:
    what, one = item("photo.png"), ledger()
    one.add(what, result(problem="full", again=True))
    one.write(finished=True, now=True)
    assert ledger().failed_before(what) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"failures": []}', '{"impasto batch": 99, "failures": []}', "[" * 100_000])
def test_another_programs_file_is_left_alone(text: str) -> None:
    Path("out").mkdir()
    Path("out/batch.json").write_text(text)
    with pytest.raises(OutputError, match=r"batch\.json exists, and is not the list of an impasto batch"):
        ledger()


# -------------------------------------------------------------------------------------------------------------- order


def test_workers_stay_with_a_style_and_share_what_is_left() -> None:
    items = list(enumerate(work(["photo.png", "another.png", "style.png"], "udnie", "mondrian").items))
    order, taken = Order(items), dict[int, list[str]]()
    for worker in (0, 1, 0, 1, 0):
        taken.setdefault(worker, []).append(order.next(worker)[1].styles[0].place)
    assert taken == {0: ["udnie"] * 3, 1: ["mondrian"] * 2}
    assert order.next(0)[1].styles[0].place == "mondrian"
    assert len(order) == 0
    with pytest.raises(IndexError):
        order.next(0)
    order.put_back(*items[0])
    order.forget(0)
    assert (len(order), order.next(1)) == (1, items[0])
