"""What is planned before a run: it fits where it can, is the fastest that fits, and is what the run then does."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from impasto.devices import FORWARD, RESTING, SIDES, SPARE, Appetite, Demand, plan, work
from impasto.forecast import NEW, SETUP, forecast

import impasto
from impasto import Options, devices, optimize
from impasto.cli import main
from impasto.errors import MemoryLimitError, OptionError

NEAR = Demand(trunk=80, heads=96, margin=6, share=0.6, handed=5)
FAR = Demand(trunk=29, heads=26, margin=68, wider=2, share=0.4)
LITE = Appetite((NEAR, FAR))
GIB = 2**30


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
    assert plan((600, 1000), LITE, 1).side == 64
    assert plan((60, 60), LITE, 1).side is None


def test_blocks_take_two_passes_and_the_time_of_their_margins() -> None:
    assert work((96, 128), None, LITE) == 96 * 128
    assert work((96, 128), 128, LITE) == pytest.approx((1 + FORWARD) * 96 * 128)
    # four blocks of 64 in a row and three beneath: six margins of 6 and four; of 128 two and one: two of 68 and none
    near, far = (256 + 6 * 6) * (160 + 4 * 6), (256 + 2 * 68) * (160 + 2 * 68)
    assert work((160, 256), 64, LITE) == pytest.approx((1 + FORWARD) * (0.6 * near + 0.4 * far))


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
    limit = f"{(RESTING + SPARE + 200_000_000) // 1_000_000}MB"
    tight = impasto.Stylizer(size=512, iterations=1, precision="fp32", max_memory=limit).run(photo, painting)
    assert tight.plan(tight.size).side == 96
    free = impasto.Stylizer(size=512, iterations=1, precision="fp32").run(photo, painting)
    found, expected = (next(iter(run)).total for run in (tight, free))
    assert found == pytest.approx(expected, rel=1e-3)
    assert "max_memory" not in tight.settings()
    with pytest.raises(
        MemoryLimitError, match=r"320x213 pixels with encoder lite need 0\.\d\d GB .* more than --max-memory 9MB"
    ):
        impasto.Stylizer(size=320, max_memory="9MB").run(photo, painting)


def test_where_half_the_precision_would_do_it_is_said(photo: Path, painting: Path) -> None:
    sizes = {}
    for precision in ("fp32", "bf16"):
        with pytest.raises(MemoryLimitError, match=r"need (\d+\.\d\d) GB in blocks, more than --max-memory 9MB$") as caught:
            impasto.Stylizer(size=2048, max_memory="9MB", precision=precision).run(photo, painting)
        sizes[precision] = round(1e3 * float(str(caught.value).split(" need ")[1].split()[0]))
    between = f"{(sizes['fp32'] + sizes['bf16']) // 2}MB"
    with pytest.raises(MemoryLimitError, match=rf"{between}; --precision bf16 needs 0\.\d\d$"):
        impasto.Stylizer(size=2048, max_memory=between, precision="fp32").run(photo, painting)
    run = impasto.Stylizer(size=2048, max_memory=between, precision="bf16").run(photo, painting)
    assert run.plan(run.size).peak <= run.limit


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


def test_free_memory_is_given_back_above_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back = []
    monkeypatch.setattr(devices, "give_back", lambda: given_back.append(True))
    devices.give_back_above(1 << 50)
    assert not given_back
    devices.give_back_above(1 << 20)
    assert len(given_back) == Path("/proc/self/statm").exists()


def test_the_limit_is_less_than_there_is() -> None:
    assert devices.limit_of(torch.device("cpu")) > RESTING


@pytest.mark.parametrize("history", ["half", "disk"])
def test_blocks_with_a_compact_history_come_as_far(
    history: devices.HistoryKind, photo: Path, painting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def painted() -> impasto.Run:
        run = impasto.Stylizer(size=160, iterations=30, precision="fp32").run(photo, painting)
        run.finish()
        return run

    whole = painted()
    monkeypatch.setattr(devices, "plan", lambda size, appetite, limit: devices.Plan(64, history, 0, 1))
    compact = painted()
    assert whole.last is not None
    assert compact.last is not None
    assert compact.state is not None
    assert compact.last.total == pytest.approx(whole.last.total, rel=0.03)
    assert compact.last.total != whole.last.total


def test_a_forecast_is_the_pace_of_its_parts_times_their_number(photo: Path, painting: Path) -> None:
    """Of a clock that ticks once whenever it is asked every trial takes 1: what is left is the counting."""
    ticks = itertools.count()
    run = impasto.Stylizer(size=200, iterations=40, precision="fp32").run(photo, painting)
    size, overhead = run.size, optimize.STEP_OVERHEAD
    pace, moving = 1 / (size[0] * size[1] + overhead), 1 / (size[0] * size[1])
    expected = sum(
        (scale.steps + SETUP) * pace * (scale.size[0] * scale.size[1] + overhead)
        + scale.steps * moving * scale.size[0] * scale.size[1]
        for scale in run.scales
    )
    expected += max(run.plan(scale.size).peak for scale in run.scales) / NEW
    assert len(run.scales) > 1
    assert forecast(run, lambda: float(next(ticks))) == pytest.approx(expected)


def test_progress_counts_what_blocks_compute_twice(photo: Path, painting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = impasto.Stylizer(size=200, iterations=40).run(photo, painting)
    plans = {max(scale.size): devices.Plan(work=7 * scale.size[0] * scale.size[1]) for scale in at_once.scales[1:]}
    monkeypatch.setattr(
        devices, "plan", lambda size, appetite, limit: plans.get(max(size), devices.Plan(work=size[0] * size[1]))
    )
    in_blocks = impasto.Stylizer(size=200, iterations=40).run(photo, painting)
    first, *rest = (scale.steps * scale.size[0] * scale.size[1] for scale in at_once.scales)
    overhead = [scale.steps * optimize.STEP_OVERHEAD for scale in at_once.scales]
    shares = [optimize.share_done(run.scales, 1, run.scales[0].steps) for run in (at_once, in_blocks)]
    assert shares == pytest.approx([(first + overhead[0]) / (first + k * sum(rest) + sum(overhead)) for k in (1, 7)])
    assert optimize.share_done(in_blocks.scales, len(rest) + 1, in_blocks.scales[-1].steps) == 1


def test_what_blocks_keep_makes_room_for_a_block_and_for_a_step(
    photo: Path, painting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = list[int]()
    monkeypatch.setattr(devices, "give_back_above", limits.append)
    monkeypatch.setattr(devices, "plan", lambda size, appetite, limit: devices.Plan(64, "memory", 0, 1))
    run = impasto.Stylizer(size=160, iterations=1, max_memory="2GB").run(photo, painting)
    next(iter(run))
    room = 2_000_000_000 - SPARE
    assert set(limits[:-1]) == {room - devices.largest_block(run.size, 64, run.appetite)}
    assert limits[-1] == room - 2 * devices.PICTURE * 160 * 106
