"""What is planned before a run: it fits where it can, is the fastest that fits, and what there is is measured as it should be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

import impasto
from impasto.compute import memory
from impasto.compute.memory import FORWARD, RESTING, SHARE, SIDES, SPARE, MemoryModel, Plan, StageCost, container_room, limit_of
from impasto.errors import MemoryLimitError, OptionError
from impasto.ladder import STEP_OVERHEAD, share_done

NEAR = StageCost(trunk=80, heads=96, margin=6, share=0.6, output=5)
FAR = StageCost(trunk=29, heads=26, margin=68, scale=2, share=0.4)
LITE = MemoryModel((NEAR, FAR))
GIB = 2**30


# -------------------------------------------------------------------------------------------------------------- the plan


def test_what_fits_is_computed_at_once() -> None:
    found = LITE.plan((512, 512), 4 * GIB)
    assert (found.side, found.pairs) == (None, "memory")
    assert found.work == 512 * 512
    assert RESTING < found.peak < 2 * GIB


@pytest.mark.parametrize(("side", "gib"), [(4096, 4), (8192, 16)])
def test_large_images_fit_in_blocks(side: int, gib: int) -> None:
    found = LITE.plan((side, side), gib * GIB)
    assert found.side in SIDES
    assert found.peak <= gib * GIB


def test_less_memory_never_takes_less_time() -> None:
    limits = [round(limit * GIB) for limit in (1, 1.5, 2, 3, 5, 8, 12)]
    plans = [LITE.plan((2048, 1365), limit) for limit in limits]
    assert all(plan.peak <= limit for plan, limit in zip(plans, limits, strict=True))
    works = [plan.work for plan in plans]
    assert works == sorted(works, reverse=True)


def test_where_nothing_fits_the_plan_takes_the_least() -> None:
    found = LITE.plan((4096, 4096), 1)
    assert found.pairs == "disk"
    assert all(found.peak <= LITE.plan((4096, 4096), limit * GIB).peak for limit in (4, 8, 64))
    assert LITE.plan((600, 1000), 1).side == 64
    assert LITE.plan((60, 60), 1).side is None  # blocks are never larger than the image


def test_blocks_take_two_passes_and_the_time_of_their_margins() -> None:
    assert LITE.work((96, 128), None) == 96 * 128
    assert LITE.work((96, 128), 128) == pytest.approx((1 + FORWARD) * 96 * 128)
    # four blocks of 64 in a row and three in a column: six margins of 6 and four; of 128 two and one: two of 68 and none
    near, far = (256 + 6 * 6) * (160 + 4 * 6), (256 + 2 * 68) * (160 + 2 * 68)
    assert LITE.work((160, 256), 64) == pytest.approx((1 + FORWARD) * (0.6 * near + 0.4 * far))


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2_000_000_000), (" 1.5 GiB ", 3 * 2**29), ("64kb", 64_000), ("1TiB", 2**40), (None, None)]
)
def test_max_memory_in_bytes(text: str | None, size: int | None) -> None:
    assert impasto.Options(max_memory=text).memory_limit == size


@pytest.mark.parametrize("text", ["", "2", "GB", "-1GB", "1e3MB", "2 G", "inf GB", "2GB or so", "0MB", "0.0 GB"])
def test_an_amount_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"^max_memory must be a size such as 2GB"):
        impasto.Options(max_memory=text)


def test_a_run_obeys_max_memory(photo: Path, painting: Path) -> None:
    limit = f"{(RESTING + SPARE + 145_000_000) // 1_000_000}MB"
    free = impasto.Stylizer(size=256, iterations=1, precision="fp32").run(photo, painting)
    tight = impasto.Stylizer(free.problem.options, max_memory=limit).run(photo, painting)
    assert tight.plan(tight.problem.size).side == 96
    totals = [next(iter(run)).total for run in (tight, free)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-3)
    with pytest.raises(MemoryLimitError) as caught:
        impasto.Stylizer(size=320, max_memory="9MB").run(photo, painting)
    expected = r"^320x213 pixels with encoder lite need 0\.\d\d GB in blocks, more than the limit of 9MB; raise max_memory"
    assert caught.match(expected)


def test_an_error_says_where_half_the_precision_would_do(photo: Path, painting: Path) -> None:
    sizes = {}
    for precision in ("fp32", "bf16"):
        with pytest.raises(MemoryLimitError, match=r"need \d+\.\d\d GB in blocks.*; raise max_memory$") as caught:
            impasto.Stylizer(size=2048, max_memory="9MB", precision=precision).run(photo, painting)
        sizes[precision] = round(1e3 * float(str(caught.value).split(" need ")[1].split()[0]))
    between = f"{(sizes['fp32'] + sizes['bf16']) // 2}MB"
    with pytest.raises(MemoryLimitError, match=r"; raise max_memory; precision bf16 needs 0\.\d\d GB$"):
        impasto.Stylizer(size=2048, max_memory=between, precision="fp32").run(photo, painting)
    run = impasto.Stylizer(size=2048, max_memory=between, precision="bf16").run(photo, painting)
    assert run.plan(run.problem.size).peak <= run.limit


def test_progress_counts_the_work_of_blocks(photo: Path, painting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = impasto.Stylizer(size=200, iterations=40).run(photo, painting)
    coarse, fine = at_once.scales
    works = {coarse.size: coarse.size[0] * coarse.size[1], fine.size: 7 * fine.size[0] * fine.size[1]}
    monkeypatch.setattr(MemoryModel, "plan", lambda self, size, limit: Plan(work=works[size]))
    in_blocks = impasto.Stylizer(size=200, iterations=40).run(photo, painting)
    first, second = (scale.steps * (works[scale.size] + STEP_OVERHEAD) for scale in (coarse, fine))
    assert share_done(in_blocks.scales, 1, coarse.steps) == pytest.approx(first / (first + second))
    assert share_done(at_once.scales, 1, coarse.steps) > share_done(in_blocks.scales, 1, coarse.steps)


# ---------------------------------------------------------------------------------------------------- what there is


def test_on_a_gpu_what_torch_keeps_for_reuse_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("memory_reserved", 5000), ("memory_allocated", 2000), ("mem_get_info", (10_000, 80_000))):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert limit_of(torch.device("cuda")) == round(SHARE * (10_000 + 5000 - 2000))


def test_on_a_gpu_a_run_rests_on_nothing(photo: Path, painting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch and the encoder take before there is an image is host memory, or taken from the GPU's free memory already."""
    problem = impasto.Stylizer(size=64, device="cpu").run(photo, painting).problem
    on_cpu = problem.memory(torch.float32)
    monkeypatch.setattr(problem, "device", torch.device("cuda"))
    on_gpu = problem.memory(torch.float32)
    assert (on_cpu.resting, on_gpu.resting) == (RESTING, 0)
    assert on_cpu.peak((64, 64), None, "memory") - on_gpu.peak((64, 64), None, "memory") == RESTING


@pytest.mark.parametrize(("room", "expected"), [(None, 10**9), (4 * 10**9, 10**9), (2 * 10**8, 2 * 10**8)])
def test_on_a_cpu_the_smaller_of_machine_and_container_counts(
    room: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    monkeypatch.setattr(memory, "container_room", lambda: room)
    assert limit_of(torch.device("cpu")) == RESTING + round(SHARE * expected)


def group(folder: Path, version: int, limit: str, used: int, cache: int = 0) -> None:
    """A control group's files, as the kernel writes them."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    maximum, current, inactive = names[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / maximum).write_text(f"{limit}\n")
    (folder / current).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\nactive_file 77\n{inactive} {cache}\n")


def belongs(system: Path, *lines: str) -> None:
    """The groups of this process."""
    (system / "proc" / "self").mkdir(parents=True)
    (system / "proc" / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))


def test_a_container_of_version_2(tmp_path: Path) -> None:
    """As in `docker run --memory 2g`: the mount is the group. The page cache is given back when needed, so it is free."""
    belongs(tmp_path, "0::/")
    group(tmp_path / "sys/fs/cgroup", 2, "2000", 900, cache=300)
    assert container_room(tmp_path) == 2000 - 900 + 300


def test_nested_groups_of_version_2_limit_each_other(tmp_path: Path) -> None:
    belongs(tmp_path, "0::/user.slice/job/step")
    mount = tmp_path / "sys/fs/cgroup"
    group(mount / "user.slice/job/step", 2, "max", 10)
    group(mount / "user.slice/job", 2, "5000", 1000)
    group(mount / "user.slice", 2, "7000", 6500)
    group(mount / "other.slice", 2, "1", 1)
    assert container_room(tmp_path) == 500
    group(mount / "user.slice", 2, "7000", 8000)  # lowered below what is used
    assert container_room(tmp_path) == 0


def test_a_container_of_version_1(tmp_path: Path) -> None:
    belongs(tmp_path, "12:pids:/docker/ab", "4:cpu,memory:/docker/ab", "1:name=systemd:/docker/ab")
    mount = tmp_path / "sys/fs/cgroup/memory"
    group(mount, 1, str(2**63 - 4096), 123)  # no limit
    assert container_room(tmp_path) is None
    group(mount / "docker" / "ab", 1, "3000", 2500, cache=2000)
    assert container_room(tmp_path) == 2500
    group(mount, 1, "1000", 900)  # inside the container the mount is the group, whatever the path says
    assert container_room(tmp_path) == 100


@pytest.mark.parametrize("lines", [None, (), ("0::/",), ("nonsense",), ("3:cpuset:/a",)])
def test_without_a_limit_there_is_none(lines: tuple[str, ...] | None, tmp_path: Path) -> None:
    if lines is not None:
        belongs(tmp_path, *lines)
    group(tmp_path / "sys/fs/cgroup", 2, "max", 100)
    assert container_room(tmp_path) is None


# ------------------------------------------------------------------------------------------------------ running out


def test_running_out_of_memory_is_an_error_of_ours() -> None:
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: ...")):
        with pytest.raises(MemoryLimitError, match=r"not enough memory for 9x9 pixels; a smaller size needs less"):  # noqa: SIM117
            with memory.clear_errors("9x9 pixels"):
                raise error
    with pytest.raises(RuntimeError, match="shapes"), memory.clear_errors("9x9 pixels"):
        raise RuntimeError("shapes")
