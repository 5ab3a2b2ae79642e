"""What is planned before a run: it fits where it can, is the fastest that fits, and is what the run then does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import impasto
from impasto import Options, devices
from impasto.cli import main
from impasto.devices import RESTING, SIDES, Appetite, plan
from impasto.errors import MemoryLimitError, OptionError

LITE = Appetite(trunk=110.6, heads=122, margin=70, step=16)
GIB = 2**30


@pytest.fixture
def photo(assets: Path) -> Path:
    return assets / "chelsea.jpg"


@pytest.fixture
def painting(assets: Path) -> Path:
    return assets / "strokes.jpg"


def test_what_fits_is_computed_at_once() -> None:
    found = plan((512, 512), LITE, 4 * GIB)
    assert (found.side, found.history) == (None, "memory")
    assert found.work == 512 * 512
    assert RESTING < found.peak < 2 * GIB


@pytest.mark.parametrize(("side", "gib"), [(4096, 4), (8192, 16)])
def test_large_pictures_fit_in_blocks(side: int, gib: int) -> None:
    found = plan((side, side), LITE, gib * GIB)
    assert found.side in SIDES
    assert found.peak <= gib * GIB


def test_less_memory_never_takes_less_time() -> None:
    plans = [plan((2048, 1365), LITE, round(limit * GIB)) for limit in (1, 1.5, 2, 3, 5, 8, 12)]
    assert all(one.peak <= limit * GIB for one, limit in zip(plans, (1, 1.5, 2, 3, 5, 8, 12), strict=True))
    works = [one.work for one in plans]
    assert works == sorted(works, reverse=True)


def test_where_nothing_fits_it_is_what_takes_the_least() -> None:
    found = plan((4096, 4096), LITE, 1)
    assert found.history == "disk"
    assert all(found.peak <= plan((4096, 4096), LITE, limit * GIB).peak for limit in (4, 8, 64))


def test_blocks_are_never_larger_than_the_picture() -> None:
    assert plan((60, 100), LITE, 1).side == 64
    assert plan((60, 60), LITE, 1).side is None


@pytest.mark.parametrize(
    ("words", "size"),
    [("2GB", 2_000_000_000), ("800MB", 800_000_000), ("1.5 GiB", 3 * 2**29), ("64kb", 64_000), ("1TiB", 2**40)],
)
def test_max_memory_in_bytes(words: str, size: int) -> None:
    assert Options.create(max_memory=words).memory_limit == size
    assert Options.create().memory_limit is None


@pytest.mark.parametrize("words", ["", "2", "GB", "-1GB", "1e3MB", "2 G", "inf GB", "2GB or so"])
def test_what_is_no_size_is_refused(words: str) -> None:
    with pytest.raises(OptionError, match=r"^max_memory must be a size such as 2GB"):
        Options.create(max_memory=words)


def test_a_run_obeys_max_memory(photo: Path, painting: Path) -> None:
    limit = f"{(RESTING + 80_000_000) // 1_000_000}MB"
    tight = impasto.Stylizer(size=320, iterations=1, precision="fp32", max_memory=limit).run(photo, painting)
    assert tight.plan(tight.size).side == 64
    free = impasto.Stylizer(size=320, iterations=1, precision="fp32").run(photo, painting)
    found, expected = (next(iter(run)).total for run in (tight, free))
    assert found == pytest.approx(expected, rel=1e-3)
    assert "max_memory" not in tight.settings()
    with pytest.raises(MemoryLimitError, match=r"320x213 pixels with encoder lite need 0\.\d GB .* more than --max-memory 9MB"):
        impasto.Stylizer(size=320, max_memory="9MB").run(photo, painting)


def test_a_dry_run_tells_the_plan_and_paints_nothing(
    photo: Path, painting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(photo), str(painting), "-o", str(tmp_path / "out.png"), "--size", "160", "--dry-run", "--json"]
    assert main(words) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    told = json.loads(last)
    assert (told["width"], told["height"], told["side"], told["history"]) == (160, 106, None, "memory")
    assert told["seconds"] > 0
    assert "would be 160x106" in lines[0]
    assert "all at once" in lines[1]
    assert "GB of memory" in lines[2]
    assert list(tmp_path.iterdir()) == []


def test_the_limit_is_less_than_there_is() -> None:
    assert devices.limit_of(torch.device("cpu")) > RESTING
