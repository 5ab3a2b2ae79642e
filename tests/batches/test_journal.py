"""Batches whose results store no metadata: what is done is in a list in the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from batches.folders import Here, photos, work
from command_line import Cli, noise
from PIL import Image

from impasto import batches, pictures
from impasto.batches import Result, runner
from impasto.batches.journal import NAME
from impasto.errors import OptionError

pytestmark = pytest.mark.usefixtures("here")

OUT = Path("out")
FIRST, SECOND = "a--udnie.png", "b--udnie.png"


@pytest.fixture(autouse=True)
def _photographs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(here / "in", "a.jpg", "b.png")
    monkeypatch.setattr(runner, "_crew", lambda work, workers, ray: (Here(work.settings), 1))


def states(*, metadata: bool = False, **more: Any) -> dict[str, str]:
    events = batches.run(work("in", metadata=metadata, **more), retry_failed=True)
    return {event.output: event.state for event in events if isinstance(event, Result)}


PAINTED, KEPT = (dict.fromkeys((FIRST, SECOND), state) for state in ("painted", "kept"))


def test_the_same_command_keeps_what_is_done_and_repaints_what_has_changed(here: Path) -> None:
    assert states() == PAINTED
    for file in OUT.glob("*.png"):
        assert pictures.read_settings(file) is None
        with Image.open(file) as image:
            assert set(image.info) == {"icc_profile"}
    assert states() == KEPT
    assert states(strength=0.9) == PAINTED
    noise(here / "in" / "a.jpg", 40, 48, seed=9)
    assert states(strength=0.9) == PAINTED | {SECOND: "kept"}
    (OUT / FIRST).write_bytes((OUT / FIRST).read_bytes()[:-20])
    assert states(strength=0.9) == PAINTED | {SECOND: "kept"}


def test_a_file_of_another_is_not_replaced_before_or_afterwards(here: Path) -> None:
    OUT.mkdir()
    other = (here / "another.png").read_bytes()
    (OUT / FIRST).write_bytes(other)
    for _ in range(2):
        assert states()[FIRST] == "failed"
        assert (OUT / FIRST).read_bytes() == other
    assert states(overwrite=True)[FIRST] == "painted"
    assert states()[FIRST] == "kept"
    (OUT / FIRST).write_bytes(other)
    assert states()[FIRST] == "failed"


def test_what_was_written_before_a_kill_is_known_as_the_batchs_own(here: Path) -> None:
    assert states() == PAINTED
    whole = (OUT / FIRST).read_bytes()
    lines = (OUT / NAME).read_text().splitlines()
    kept = [line for line in lines if line and not (json.loads(line)["output"] == FIRST and json.loads(line)["sha256"])]
    (OUT / NAME).write_text("\n".join([*kept, '{"output": "a--udn']))  # the last line was cut off
    assert states()[FIRST] == "painted"
    assert (OUT / FIRST).read_bytes() == whole
    assert states() == KEPT


def test_a_kill_while_results_are_repainted_blocks_none_of_them(here: Path) -> None:
    assert states() == PAINTED
    before = (OUT / NAME).read_text()
    assert states(strength=0.9) == PAINTED
    added = (OUT / NAME).read_text().removeprefix(before).splitlines()
    opened = [line for line in added if line and json.loads(line).get("open")]
    assert len(opened) == 2
    (OUT / NAME).write_text("\n".join([before, *opened]))  # killed after the files were there
    assert states(strength=0.9) == PAINTED
    assert states(strength=0.9) == KEPT


def test_with_and_without_metadata_in_turn(here: Path) -> None:
    assert states(metadata=True) == PAINTED
    assert states() == PAINTED
    assert states(metadata=True) == PAINTED
    assert states(metadata=True) == KEPT


def test_the_command_says_what_it_cannot_do(cli: Cli) -> None:
    words = ("--quality", "instant", "--size", 48, "--device", "cpu", "--no-metadata")
    assert cli("batch", "in", "udnie", "-o", "out", *words).code == 0
    assert cli("batch", "in", "udnie", "-o", "out", *words).stdout.rstrip().endswith("2 were there already")
    said = cli("batch", "in", "udnie", "-o", "memory://out", *words)
    problem = "results at an address need their metadata, which says what is done; drop --no-metadata"
    assert (said.code, said.line) == (2, problem)
    with pytest.raises(OptionError, match="EXIF cannot be kept without metadata; drop keep_exif"):
        work("in", metadata=False, keep_exif=True)
