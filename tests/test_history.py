"""Where L-BFGS keeps its pairs: in bfloat16, and in files, it goes where it goes in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from impasto.history import Compact, History, make_room
from torch import Tensor

from impasto import history
from impasto.errors import SaveError
from impasto.optimize import LBFGS, Step, coarse_to_fine, schedule

SHAPE = torch.Size((1, 3, 20, 30))


@pytest.fixture(params=["memory", "half", "disk"])
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], History]:
    monkeypatch.setattr(history, "PIECE", 700)  # so that there are several, the last a short one
    return {"memory": History, "half": Compact, "disk": lambda: Compact(tmp_path)}[request.param]


def random(seed: int, count: int = 1800) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_products_and_sums_are_those_of_what_is_kept(kind: Callable[[], History]) -> None:
    store, x, y, q = kind(), random(1), random(2), random(3)
    kept, other = (
        store.keep(x, torch.zeros(()).expand(1800)),
        store.keep(3 * y.reshape(60, 30), y.reshape(60, 30), torch.tensor(2.0)),
    )
    torch.testing.assert_close(store.whole(kept), x, rtol=2**-8, atol=0)
    torch.testing.assert_close(store.whole(other), y, rtol=2**-8, atol=1e-6)
    exact, beside = store.whole(kept), store.whole(other)
    torch.testing.assert_close(store.dot(kept, q), exact @ q, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(store.dot(kept, other), exact @ beside, rtol=1e-4, atol=1e-3)
    before = q.clone()
    store.add(q, kept, torch.tensor(0.3))
    torch.testing.assert_close(q, before + 0.3 * exact, rtol=1e-6, atol=1e-6)
    assert torch.equal(store.whole(kept), exact)


def test_files_have_no_names_and_go_with_their_tensors(tmp_path: Path) -> None:
    store = Compact(tmp_path)
    kept = store.keep(random(1), random(2))
    assert list(tmp_path.iterdir()) == []
    if Path("/proc/self/maps").exists():
        assert str(tmp_path) in Path("/proc/self/maps").read_text(encoding="utf-8")
        del kept
        assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_a_folder_that_takes_no_files_is_said() -> None:
    with pytest.raises(
        SaveError, match=r"no file of 0 MB, for what memory has no room for, can be made in .*nowhere.*no such file"
    ):
        Compact(Path(os.sep) / "nowhere").keep(random(1), random(2))


def test_a_file_has_its_bytes_from_the_start(tmp_path: Path) -> None:
    """Else writing into it ends the process where the disk is full, by a signal that nothing can answer."""
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system has no posix_fallocate")
    with (tmp_path / "x").open("wb") as file:
        make_room(file.fileno(), 1 << 20)
    status = (tmp_path / "x").stat()
    assert status.st_size == 1 << 20 <= 512 * status.st_blocks


def bowl(x: Tensor) -> dict[str, Tensor]:
    """Curved from 1 to 30, and not quite a bowl."""
    target = random(5).reshape(SHAPE)
    weight = torch.linspace(1, 30, target.numel()).reshape(SHAPE)
    return {"content": ((x - target).square() * weight).mean() + (x - target).pow(4).mean()}


def minimised(store: History | None) -> list[Step]:
    start = torch.zeros(SHAPE)
    return list(
        coarse_to_fine(start, schedule([(20, 30)], 60), lambda size: bowl, lambda x, size: x, history_at=lambda size: store)
    )


def test_in_half_the_memory_it_comes_as_far(kind: Callable[[], History]) -> None:
    start, end = float(bowl(torch.zeros(SHAPE))["content"]), minimised(None)[-1].total
    assert end < 0.01 * start
    assert minimised(kind())[-1].total < end + 0.002 * start


def test_by_default_pairs_are_kept_as_they_are() -> None:
    lbfgs = LBFGS(SHAPE)
    x, g, s, y = (random(seed).reshape(SHAPE) for seed in (1, 2, 3, 3))
    lbfgs.move(x, g)
    lbfgs.move(x + s, g + y)
    kept = (s.reshape(-1), (y / g.abs().max()).reshape(-1))
    for mine, theirs in zip(lbfgs.pairs[0], (*kept, 1 / torch.dot(*kept)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_what_is_kept_can_be_given_to_another(kind: Callable[[], History]) -> None:
    first, second = LBFGS(SHAPE, history=kind()), LBFGS(SHAPE, history=kind())
    for seed in range(4):
        first.move(random(seed).reshape(SHAPE), 2 * random(seed).reshape(SHAPE) + 0.1)
    second.recall(first.memory())
    x, g = random(9).reshape(SHAPE), random(10).reshape(SHAPE)
    assert torch.equal(first.move(x, g), second.move(x, g))
