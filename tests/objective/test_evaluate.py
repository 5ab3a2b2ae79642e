"""Losses and gradient at once, and the retry in smaller blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from impasto.compute import memory
from impasto.objective.evaluate import Evaluate, Evaluated, RetrySmaller, at_once

IMAGE = torch.zeros(1, 3, 2, 2)


def test_at_once_is_the_losses_and_the_gradient_of_their_sum() -> None:
    image = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    before = image.clone()
    losses, gradient = at_once(lambda x: {"content": x.square().sum(), "style": 3 * x.sum()})(image)
    assert losses == pytest.approx({"content": float(before.square().sum()), "style": 3 * float(before.sum())})
    torch.testing.assert_close(gradient, 2 * before + 3)
    assert torch.equal(image, before)
    assert not image.requires_grad


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_running_out_of_memory_retries_in_smaller_blocks(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int | None] = []
    released: list[torch.device] = []
    monkeypatch.setattr(memory, "release", released.append)

    def make(side: int | None) -> Evaluate:
        if side == 800:
            raise error  # while the objective is made, such as for the photograph's features

        def evaluate(image: Tensor) -> Evaluated:
            tried.append(side)
            if side is None or side > 200:
                raise error
            return {"content": 1.0}, image

        return evaluate

    objective = RetrySmaller(make, 1600)
    assert objective(IMAGE) == ({"content": 1.0}, IMAGE)
    objective(IMAGE)
    assert tried == [None, 400, 200, 200]  # it stays with what fitted
    assert objective.side == 200
    assert released == [IMAGE.device] * 3


@pytest.mark.parametrize(
    ("error", "tries"),
    [(MemoryError(), [100]), (ValueError("out of reach"), [100]), (RuntimeError("shapes do not fit"), [100])],
)
def test_other_errors_and_blocks_that_are_the_smallest_are_final(error: Exception, tries: list[int]) -> None:
    tried: list[int | None] = []

    def make(side: int | None) -> Evaluate:
        tried.append(side)
        raise error

    with pytest.raises(type(error)):
        RetrySmaller(make, 400, 100)(IMAGE)
    assert tried == tries
