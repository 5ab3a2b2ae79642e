"""L-BFGS: its moves against the dense BFGS matrix, its metric, and its pairs in every place they may be kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tensors import random
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from impasto import lbfgs
from impasto.compute import mapped
from impasto.ladder import Size
from impasto.lbfgs import LBFGS, HalfPairs, Pairs, pink
from impasto.objective.evaluate import at_once
from impasto.optimize import minimize

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
SHAPE = torch.Size((1, 3, 20, 30))


def normal(seed: int) -> Tensor:
    """Of SHAPE, float32."""
    return torch.from_numpy(random(tuple(SHAPE), seed)).float()


def test_moves_are_those_of_bfgs() -> None:
    """The two-loop recursion against the dense inverse Hessian (Nocedal and Wright 2006, equations 6.17 and 7.20)."""
    stream = np.random.default_rng(4)
    basis, _ = np.linalg.qr(stream.standard_normal((12, 12)))
    A = basis @ np.diag(np.geomspace(1, 50, 12)) @ basis.T
    points, found = stream.random((6, 12)), LBFGS(torch.Size((1, 3, 2, 2)))
    for x in points:
        move = found.move(torch.from_numpy(x).reshape(1, 3, 2, 2), torch.from_numpy(A @ x).reshape(1, 3, 2, 2))
    S, Y = np.diff(points, axis=0), np.diff(points @ A, axis=0)
    H = np.eye(12) * (S[-1] @ Y[-1]) / (Y[-1] @ Y[-1])
    for s, y in zip(S, Y, strict=True):
        V = np.eye(12) - np.outer(y, s) / (y @ s)
        H = V.T @ H @ V + np.outer(s, s) / (y @ s)
    expected, moved = -H @ A @ points[-1], move.numpy().ravel()
    np.testing.assert_allclose(moved / np.linalg.norm(moved), expected / np.linalg.norm(expected), rtol=0, atol=1e-10)


# ------------------------------------------------------------------------------------------------------------ metric


def test_a_metric_is_a_change_of_variables() -> None:
    """L-BFGS in the metric M = L L^T moves as plain L-BFGS does over z, where the image is x = L z."""
    rng = np.random.default_rng(0)
    L, root = rng.standard_normal((2, 12, 12)) / 4 + np.eye(12)
    A, shape = root @ root.T, torch.Size((1, 3, 2, 2))

    def tensor(x: np.ndarray) -> Tensor:
        return torch.from_numpy(x).reshape(shape)

    measured = LBFGS(shape, metric=lambda g: tensor(L @ (L.T @ g.reshape(-1).numpy())))
    plain, x = LBFGS(shape), rng.standard_normal(12)
    for step in range(6):
        move = measured.move(tensor(x), tensor(A @ x)).reshape(-1).numpy()
        other = L @ plain.move(tensor(np.linalg.solve(L, x)), tensor(L.T @ A @ x)).reshape(-1).numpy()
        np.testing.assert_allclose(move / np.linalg.norm(move), other / np.linalg.norm(other), rtol=1e-6, err_msg=str(step))
        x = x + move


@pytest.mark.parametrize(("size", "power"), [((8, 8), 1), ((7, 12), 1), ((5, 3), 1), ((48, 64), 1), ((192, 256), 0.25)])
def test_pink_divides_by_a_power_of_the_frequency(size: Size, power: float) -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, *size))
    down, right = np.meshgrid(np.fft.fftfreq(size[0]), np.fft.fftfreq(size[1]), indexing="ij")
    expected = np.fft.ifft2(np.fft.fft2(x) / (np.hypot(down, right) + 1 / max(size)) ** power).real
    np.testing.assert_allclose(pink(size, CPU)(torch.from_numpy(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_in_the_pink_metric_large_forms_come_first() -> None:
    """Of a slope and a grain that are as far from the image, the first step goes to the slope."""
    slope = (torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)).contiguous()
    grain = torch.randn(slope.shape, generator=torch.Generator().manual_seed(0))
    grain *= slope.norm() / grain.norm()
    for metric, least, most in ((None, 0.6, 0.8), (pink((32, 32), CPU), 0.9, 1.0)):
        move = LBFGS(slope.shape, metric=metric).move(torch.zeros_like(slope), -slope - grain)
        assert least < float((move * slope).sum() / (move.norm() * slope.norm())) < most


# ------------------------------------------------------------------------------------------------- where pairs are kept

Store = Callable[[], Pairs]


@pytest.fixture(params=["memory", "half", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(lbfgs, "PIECE", 700)  # several pieces, the last a short one
    stores: dict[str, Store] = {"memory": Pairs, "half": HalfPairs, "disk": lambda: HalfPairs(tmp_path)}
    return stores[request.param]


def test_products_and_sums_are_those_of_the_kept_vectors(store: Store) -> None:
    pairs, x, y, q = store(), normal(1), normal(2), normal(3).reshape(-1)
    kept, other = pairs.keep(x, torch.zeros(()).expand(SHAPE)), pairs.keep(3 * y, y, torch.tensor(2.0))
    exact, beside = pairs.restored(kept, CPU), pairs.restored(other, CPU)
    torch.testing.assert_close(exact, x.reshape(-1), rtol=2**-8, atol=0)
    torch.testing.assert_close(beside, y.reshape(-1), rtol=2**-8, atol=1e-6)
    torch.testing.assert_close(pairs.dot(kept, q), exact @ q, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(pairs.dot(kept, other), exact @ beside, rtol=1e-4, atol=1e-3)
    before = q.clone()
    pairs.add(q, kept, torch.tensor(0.3))
    torch.testing.assert_close(q, before + 0.3 * exact, rtol=1e-6, atol=1e-6)
    exact.zero_()  # a copy: what is kept stays
    torch.testing.assert_close(pairs.restored(kept, CPU), x.reshape(-1), rtol=2**-8, atol=0)


def test_in_every_store_the_minimum_is_as_near(store: Store) -> None:
    target, weight = normal(5), torch.linspace(1, 30, SHAPE.numel()).reshape(SHAPE)
    bowl = at_once(lambda x: {"content": ((x - target).square() * weight).mean() + (x - target).pow(4).mean()})
    *_, plain = minimize(bowl, torch.zeros(SHAPE), 60)
    *_, found = minimize(bowl, torch.zeros(SHAPE), 60, pairs=store())
    start = bowl(torch.zeros(SHAPE))[0]["content"]
    assert plain.lowest < 0.01 * start
    assert found.lowest < plain.lowest + 0.002 * start


def test_by_default_pairs_are_kept_exactly() -> None:
    found, (x, g, s, y) = LBFGS(SHAPE), (normal(seed) for seed in (1, 2, 3, 3))
    found.move(x, g)
    found.move(x + s, g + y)
    kept = (s.reshape(-1), (y / g.abs().max()).reshape(-1))
    for mine, theirs in zip(found.pairs[0], (*kept, 1 / torch.dot(*kept)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_memory_can_be_given_to_another(store: Store) -> None:
    first, second = LBFGS(SHAPE, store=store()), LBFGS(SHAPE, store=store())
    for seed in range(4):
        first.move(normal(seed), 2 * normal(seed) + 0.1)
    second.recall(first.memory())
    x, g = normal(9), normal(10)
    assert torch.equal(first.move(x, g), second.move(x, g))


# ----------------------------------------------------------------------------------------------------------- two devices


def test_pairs_in_files_and_a_gpu_never_meet_in_one_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are the CPU's. Fake tensors have no values, but their operations refuse operands on two devices, without a GPU too."""
    monkeypatch.setattr(mapped, "empty", lambda shape, dtype, folder: torch.empty(shape, dtype=dtype, device="cpu"))
    with FakeTensorMode():
        image, gradient, weight = (torch.empty(1, 3, 8, 8, device=GPU) for _ in range(3))
        scale, q = torch.empty((), device=GPU), image.reshape(-1)
        pairs = HalfPairs(tmp_path)
        kept = pairs.keep(image, gradient, scale)
        with pytest.raises(RuntimeError, match="same device"):
            torch.dot(q, kept.float())
        assert kept.device == pairs.dot(kept, kept).device == CPU
        assert pairs.restored(kept, GPU).device == pairs.dot(kept, q).device == GPU
        pairs.add(q, kept, scale)
        moving = LBFGS(image.shape, metric=lambda g: g.mul_(weight), store=pairs)
        moving.scale = scale
        moving.pairs.extend([(kept, kept, 1 / pairs.dot(kept, kept))] * 2)
        assert moving._newton(q).device == GPU
