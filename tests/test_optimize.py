"""The engine: against scipy's L-BFGS-B on convex problems, and the promises it makes about its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from impasto.errors import DivergenceError
from impasto.optimize import LBFGS, Scale, Size, Step, coarse_to_fine, descend, longer_sides, pink, schedule

steady = settings(derandomize=True, deadline=None, database=None, max_examples=150)
SHAPE = (1, 3, 4, 5)
COUNT = math.prod(SHAPE)

Smooth = Callable[[Tensor], Tensor]


def random(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def quadratic(condition: float) -> Smooth:
    """1/2 (x - c)' A (x - c) + 2, the eigenvalues of A from 1 to `condition`."""
    stream = np.random.default_rng(1)
    basis, _ = np.linalg.qr(stream.standard_normal((COUNT, COUNT)))
    A = torch.from_numpy(basis @ np.diag(np.geomspace(1, condition, COUNT)) @ basis.T)
    c = torch.from_numpy(stream.random(COUNT))

    def value(x: Tensor) -> Tensor:
        d = x.flatten() - c.to(x.dtype)
        return 0.5 * d @ A.to(x.dtype) @ d + 2

    return value


def quartic(x: Tensor) -> Tensor:
    return quadratic(30)(x) + 0.3 * (x - random(seed=2).to(x.dtype)).pow(4).sum()


def bowls(x: Tensor) -> Tensor:
    """Convex, its curvature between 1 and 10 wherever x is."""
    return quadratic(10)(x) + torch.nn.functional.softplus(6 * (x - 0.5)).sum() / 4


def log_cosh(x: Tensor) -> Tensor:
    """Convex, but nearly straight away from its minimum: full quasi-Newton steps would overshoot it further and further."""
    d = 3 * (x - random(seed=2).to(x.dtype))
    return (d.abs() + torch.nn.functional.softplus(-2 * d.abs())).sum() + 0.01 * quadratic(10)(x)


def minimum_by_scipy(function: Smooth, start: Tensor) -> tuple[float, np.ndarray]:
    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.from_numpy(flat.reshape(start.shape)).requires_grad_()
        value = function(x)
        (gradient,) = torch.autograd.grad(value, x)
        return value.item(), gradient.numpy().ravel()

    options = {"maxcor": 20, "maxiter": 2000, "maxfun": 4000, "ftol": 0, "gtol": 1e-9}
    found = minimize(value_and_gradient, start.double().numpy().ravel(), jac=True, method="L-BFGS-B", options=options)
    return float(found.fun), found.x.reshape(start.shape)


def named(function: Smooth) -> Callable[[Tensor], dict[str, Tensor]]:
    return lambda x: {"content": function(x)}


def last(steps: Iterable[tuple[dict[str, float], Tensor]]) -> Tensor:
    *_, (_, best) = steps
    return best


# ------------------------------------------------------------------------------------------------------------------- descend


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("function", "away"),
    [(quadratic(1), 1), (quadratic(10), 1), (quadratic(100), 1), (quartic, 1), (quartic, 3), (bowls, 1), (log_cosh, 1)],
    ids=["ball", "ellipsoid", "long ellipsoid", "quartic", "quartic from afar", "bowls", "log cosh"],
)
def test_reaches_the_minimum_that_scipy_reaches(function: Smooth, away: float, dtype: torch.dtype) -> None:
    start = away * random().to(dtype)
    lowest, where = minimum_by_scipy(function, start)
    best = last(descend(named(function), start, 150))
    exact = dtype == torch.float64
    assert function(best.double()).item() == pytest.approx(lowest, rel=1e-8 if exact else 1e-5)
    np.testing.assert_allclose(best.numpy(), where, rtol=0, atol=1e-4 if exact else 5e-3)


def test_a_first_step_too_long_is_taken_back() -> None:
    function = quadratic(100)
    _, where = minimum_by_scipy(function, random())
    start = torch.from_numpy(where) + 1e-4 * (random(seed=3) - 0.5)

    def above(x: Tensor) -> Tensor:
        return function(x) - 2

    assert above(last(descend(named(above), start, 60))).item() < 1e-3 * above(start).item()


@pytest.mark.parametrize("function", [quadratic(100), quartic, log_cosh])
def test_best_picture_is_never_worse_than_any_evaluated(function: Smooth) -> None:
    evaluated: list[Tensor] = []

    def watched(x: Tensor) -> dict[str, Tensor]:
        evaluated.append(x.detach().clone())
        return {"content": function(x)}

    for step, (losses, best) in enumerate(descend(watched, random(), 60), start=1):
        values = [function(x).item() for x in evaluated]
        assert step <= len(evaluated) <= 1.2 * step  # an evaluation is what costs; one to a step, and few taken back
        assert function(best).item() == min(values)
        assert losses == {"content": values[-1]}


def watch(function: Smooth, steps: int, start: Tensor) -> list[Tensor]:
    """The pictures a descent evaluates."""
    evaluated: list[Tensor] = []

    def watched(x: Tensor) -> dict[str, Tensor]:
        evaluated.append(x.detach().clone())
        return {"content": function(x)}

    last(descend(watched, start, steps))
    return evaluated


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_no_step_leaps(scale: float) -> None:
    """Where the first curvature it sees is next to nothing, an unbounded quasi-Newton step would end at 1e6 or so."""
    evaluated = watch(lambda x: scale * log_cosh(100 * x), 40, random())
    moves = [float((after - before).square().mean().sqrt()) for before, after in pairwise(evaluated)]
    assert 0 < max(moves) < 0.1  # of a picture in 0..1


def test_a_step_astray_is_taken_back() -> None:
    calls = 0

    def cliff(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return quartic(x) * (1000 if calls == 9 else 1)

    evaluated = watch(cliff, 15, random())
    best = min(evaluated[:8], key=lambda x: quartic(x).item())
    distances = [float((x - best).square().mean().sqrt()) for x in evaluated[9:11]]
    assert min(distances) < 0.03 < float((evaluated[0] - best).square().mean().sqrt())
    assert quartic(evaluated[-1]).item() < quartic(best).item()


def test_moves_are_those_of_bfgs() -> None:
    """The two-loop recursion against the dense inverse Hessian (Nocedal and Wright 2006, equations 6.17 and 7.20)."""
    stream = np.random.default_rng(4)
    basis, _ = np.linalg.qr(stream.standard_normal((12, 12)))
    A = basis @ np.diag(np.geomspace(1, 50, 12)) @ basis.T
    points = stream.random((6, 12))
    lbfgs = LBFGS(torch.Size((1, 3, 2, 2)))
    for x in points:
        move = lbfgs.move(torch.from_numpy(x).reshape(1, 3, 2, 2), torch.from_numpy(A @ x).reshape(1, 3, 2, 2))
    S, Y = np.diff(points, axis=0), np.diff(points @ A, axis=0)
    H = np.eye(12) * (S[-1] @ Y[-1]) / (Y[-1] @ Y[-1])
    for s, y in zip(S, Y, strict=True):
        V = np.eye(12) - np.outer(y, s) / (y @ s)
        H = V.T @ H @ V + np.outer(s, s) / (y @ s)
    expected = -H @ A @ points[-1]
    found = move.numpy().ravel()
    np.testing.assert_allclose(found / np.linalg.norm(found), expected / np.linalg.norm(expected), rtol=0, atol=1e-10)


def test_as_many_steps_as_asked_for_even_at_the_minimum() -> None:
    function = quadratic(1)
    _, where = minimum_by_scipy(function, random())
    steps = list(descend(named(function), torch.from_numpy(where), 12))
    assert len(steps) == 12
    flat = list(descend(lambda x: {"content": 0 * x.sum()}, random(), 5))  # no gradient at all
    assert all(torch.equal(best, random()) for _, best in flat)
    assert len(flat) == 5


def test_pictures_handed_out_stay_as_they_were() -> None:
    kept, copies = [], []
    for _, best in descend(named(quartic), random(), 20):
        kept.append(best)
        copies.append(best.clone())
    assert all(torch.equal(one, other) for one, other in zip(kept, copies, strict=True))
    assert len({one.sum().item() for one in kept}) > 10
    assert not any(one.requires_grad for one in kept)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_start_is_not_changed(layout: torch.memory_format) -> None:
    start = random().contiguous(memory_format=layout)
    before = start.clone()
    best = last(descend(named(quartic), start, 10))
    assert torch.equal(start, before)
    assert not start.requires_grad
    assert start.grad is None
    torch.testing.assert_close(best, last(descend(named(quartic), random(), 10)))


def test_the_terms_are_summed_and_reported() -> None:
    def objective(x: Tensor) -> dict[str, Tensor]:
        return {"content": (x - 1).square().sum(), "style": 3 * (x - 2).square().sum()}

    seen = list(descend(objective, random(), 100))
    np.testing.assert_allclose(seen[-1][1].numpy(), (1 + 3 * 2) / 4, atol=1e-6)
    first = {name: term.item() for name, term in objective(random()).items()}
    assert seen[0][0] == pytest.approx(first)


def test_no_warning_on_the_way() -> None:
    torch.set_warn_always(True)  # else torch warns once in a process, wherever that is
    try:
        last(descend(named(quartic), random(), 5))
    finally:
        torch.set_warn_always(False)


# ---------------------------------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("name", "option"), [("content", "--content-weight"), ("style", "--style-weight"), ("variation", "--tv-weight")]
)
def test_a_loss_that_is_not_finite_stops_and_names_the_option(name: str, option: str, bad: float) -> None:
    calls = 0

    def objective(x: Tensor) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        terms = {term: (x - 1).square().sum() for term in ("content", "style", "variation")}
        return terms | ({name: terms[name] * bad} if calls == 5 else {})

    steps: list[tuple[dict[str, float], Tensor]] = []
    with pytest.raises(DivergenceError, match=f"{name} loss.*step 5.*{option}") as caught:
        steps.extend(descend(objective, random(), 20))  # extend keeps what came before the error
    assert "\n" not in str(caught.value)
    assert len(steps) == 4
    assert all(math.isfinite(sum(losses.values())) and best.isfinite().all() for losses, best in steps)


def test_a_loss_that_is_not_finite_at_once() -> None:
    with pytest.raises(DivergenceError, match="step 1"):
        next(descend(lambda x: {"style": x.sum() * math.nan}, random(), 3))


def test_the_term_whose_gradient_is_not_finite_is_the_one_named() -> None:
    def objective(x: Tensor) -> dict[str, Tensor]:
        # 0 with a gradient of 0 / 0, as of a norm at its target
        return {"content": (x - 1).square().sum(), "style": (x - random()).square().sum().sqrt()}

    with pytest.raises(DivergenceError):
        list(descend(objective, random(), 5))


# -------------------------------------------------------------------------------------------------------------------- metric


def test_a_metric_is_a_change_of_variables() -> None:
    """L-BFGS in the metric M = L L^T moves as plain L-BFGS does over z, where the picture is x = L z."""
    rng = np.random.default_rng(0)
    L, root = rng.standard_normal((2, 12, 12)) / 4 + np.eye(12)
    A, shape = root @ root.T, torch.Size((1, 3, 2, 2))

    def tensor(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x).reshape(shape)

    measured = LBFGS(shape, metric=lambda g: tensor(L @ (L.T @ g.reshape(-1).numpy())))
    plain, x = LBFGS(shape), rng.standard_normal(12)
    for step in range(6):
        move = measured.move(tensor(x), tensor(A @ x)).reshape(-1).numpy()
        other = L @ plain.move(tensor(np.linalg.solve(L, x)), tensor(L.T @ A @ x)).reshape(-1).numpy()
        np.testing.assert_allclose(move / np.linalg.norm(move), other / np.linalg.norm(other), rtol=1e-6, err_msg=str(step))
        x = x + move


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (5, 3)])
def test_pink_divides_by_the_frequency(size: Size) -> None:
    metric = pink(size, torch.device("cpu"))
    x = np.random.default_rng(1).standard_normal((1, 3, *size))
    down, right = np.meshgrid(np.fft.fftfreq(size[0]), np.fft.fftfreq(size[1]), indexing="ij")
    expected = np.fft.ifft2(np.fft.fft2(x) / (np.hypot(down, right) + 1 / max(size))).real
    np.testing.assert_allclose(metric(torch.from_numpy(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_in_the_pink_metric_large_forms_come_first() -> None:
    """Of a slope and a grain that are as far from the picture, the first step goes to the slope."""
    slope = (torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)).contiguous()
    grain = torch.randn(slope.shape, generator=torch.Generator().manual_seed(0))
    grain *= slope.norm() / grain.norm()
    for metric, least, most in ((None, 0.6, 0.8), (pink((32, 32), torch.device("cpu")), 0.9, 1.0)):
        move = LBFGS(slope.shape, metric=metric).move(torch.zeros_like(slope), -slope - grain)
        assert least < float((move * slope).sum() / (move.norm() * slope.norm())) < most


# ------------------------------------------------------------------------------------------------------------------ schedule

sizes = st.lists(st.tuples(st.integers(16, 4000), st.integers(16, 4000)), min_size=1, max_size=12).map(
    lambda found: sorted(found, key=max)
)


@steady
@given(sizes, st.integers(1, 2000))
def test_every_scale_gets_a_step_to_look_and_one_to_change(sizes: list[Size], iterations: int) -> None:
    scales = schedule(sizes, iterations)
    assert [scale.size for scale in scales] == sizes[-max(1, iterations // 2) :]
    assert all(scale.steps >= min(2, iterations) for scale in scales)


@steady
@given(sizes, st.integers(1, 300))
def test_steps_add_up_to_the_iterations(sizes: list[Size], iterations: int) -> None:
    assert sum(scale.steps for scale in schedule(sizes, iterations)) == iterations


@steady
@given(sizes, st.integers(1, 2000))
def test_coarse_scales_get_at_least_as_many_steps(sizes: list[Size], iterations: int) -> None:
    steps = [scale.steps for scale in schedule(sizes, iterations)]
    assert steps == sorted(steps, reverse=True)


@steady
@given(sizes, st.integers(500, 5000))
def test_shares_follow_one_over_the_root_of_the_side(sizes: list[Size], iterations: int) -> None:
    ideal = [1 / math.sqrt(max(size)) for size in sizes]
    for scale, share in zip(schedule(sizes, iterations), ideal, strict=True):
        # two steps each come first, and whole steps are handed out: together they move a scale by less than twice their number
        assert abs(scale.steps - iterations * share / sum(ideal)) <= 2 * len(sizes)


def test_schedule_of_the_default() -> None:
    scales = schedule([(side * 3 // 4, side) for side in longer_sides(512)], 260)
    assert [scale.steps for scale in scales] == [71, 60, 51, 42, 36]


# -------------------------------------------------------------------------------------------------------------- longer_sides


@steady
@given(st.integers(16, 10_000))
def test_sides_are_rungs_and_then_the_size(longest: int) -> None:
    sides = longer_sides(longest)
    assert sides[-1] == longest
    assert sides[:-1] == [round(128 * math.sqrt(2) ** number) for number in range(len(sides) - 1)]
    for coarse, fine in pairwise(sides):
        assert 2**0.25 * 0.99 <= fine / coarse <= 2**0.75 * 1.01
    if longest <= 128 * 2**0.25:
        assert sides == [longest]


def test_sides_by_hand() -> None:
    assert longer_sides(512) == [128, 181, 256, 362, 512]
    assert longer_sides(1024) == [128, 181, 256, 362, 512, 724, 1024]
    assert longer_sides(1000) == [128, 181, 256, 362, 512, 724, 1000]
    assert longer_sides(600) == [128, 181, 256, 362, 600]  # 512 is nearer to 600 than half a step
    assert longer_sides(128) == [128]
    assert longer_sides(16) == [16]


# ------------------------------------------------------------------------------------------------------------ coarse_to_fine

SCALES = [Scale((4, 6), 7), Scale((8, 12), 5), Scale((16, 24), 3)]


def nearest(picture: Tensor, size: Size) -> Tensor:
    """Enlarge by whole factors."""
    rows, columns = size[0] // picture.shape[-2], size[1] // picture.shape[-1]
    return picture.repeat_interleave(rows, -2).repeat_interleave(columns, -1)


def target(size: Size) -> Smooth:
    """Minimal at a ramp, the same at every scale."""
    ramp = torch.linspace(0, 1, size[1], dtype=torch.float64).expand(1, 3, *size)
    return lambda x: (x - ramp).square().sum() + (x - ramp).pow(4).sum()


class Watched:
    """Objectives that remember what they were asked for."""

    def __init__(self) -> None:
        self.evaluated: dict[Size, list[Tensor]] = {}

    def __call__(self, size: Size) -> Callable[[Tensor], dict[str, Tensor]]:
        self.evaluated[size] = []

        def objective(x: Tensor) -> dict[str, Tensor]:
            assert tuple(x.shape[-2:]) == size
            self.evaluated[size].append(x.detach().clone())
            return {"content": target(size)(x), "style": 0 * x.sum()}

        return objective


def paint(scales: list[Scale]) -> tuple[list[Step], Watched]:
    watched = Watched()
    return list(coarse_to_fine(random((1, 3, *scales[0].size)), scales, watched, nearest)), watched


def test_every_scale_starts_from_the_enlarged_best_of_the_one_before() -> None:
    _, watched = paint(SCALES)
    first, *rest = SCALES
    assert torch.equal(watched.evaluated[first.size][0], random((1, 3, *first.size)))
    before = first.size
    for scale in rest:
        best = min(watched.evaluated[before], key=lambda x: target(before)(x).item())
        assert torch.equal(watched.evaluated[scale.size][0], nearest(best, scale.size))
        before = scale.size


def test_steps_say_where_the_run_is() -> None:
    steps, watched = paint(SCALES)
    expected = [(number, 3, step, scale.steps) for number, scale in enumerate(SCALES, 1) for step in range(1, scale.steps + 1)]
    assert [(step.scale, step.scales, step.step, step.steps) for step in steps] == expected
    for step in steps:
        size = SCALES[step.scale - 1].size
        values = [target(size)(x).item() for x in watched.evaluated[size][: step.step]]
        assert step.picture.shape == (1, 3, *size)
        assert target(size)(step.picture).item() == min(values)
        assert step.losses["content"] == pytest.approx(values[-1])
        assert step.total == pytest.approx(sum(step.losses.values()))


@steady
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=4),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_done_rises_to_exactly_1(growth: list[tuple[int, int]], first: Size) -> None:
    scales, size = [], first
    for factor, steps in growth:
        size = (size[0] * factor, size[1] * factor)
        scales.append(Scale(size, steps))
    done = [step.done for step in paint(scales)[0]]
    assert done == sorted(set(done))
    assert done[0] > 0
    assert done[-1] == 1
    # a step of one size takes as long as another, and a larger one longer
    gains = iter(np.diff([0, *done]))
    per_step = [list(islice(gains, scale.steps)) for scale in scales]
    for found in per_step:
        assert found == pytest.approx([found[0]] * len(found), rel=1e-9)
    for scale, finer, found, later in zip(scales, scales[1:], per_step, per_step[1:], strict=False):
        assert later[0] > found[0] * (1 - 1e-9) if finer.size == scale.size else later[0] > found[0]


def test_stopping_early_costs_nothing_more() -> None:
    watched = Watched()
    run = coarse_to_fine(random((1, 3, 4, 6)), SCALES, watched, nearest)
    assert len(list(islice(run, 3))) == 3
    assert {size: len(seen) for size, seen in watched.evaluated.items()} == {(4, 6): 3}


def test_steps_before_a_divergence_stay_valid() -> None:
    watched = Watched()

    def breaks_at_the_second_scale(size: Size) -> Callable[[Tensor], dict[str, Tensor]]:
        sound = watched(size)
        return sound if size == (4, 6) else lambda x: {"content": sound(x)["content"], "style": x.sum() * math.inf}

    steps: list[Step] = []
    with pytest.raises(DivergenceError, match="--style-weight"):
        steps.extend(coarse_to_fine(random((1, 3, 4, 6)), SCALES, breaks_at_the_second_scale, nearest))
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert steps[-1].picture.isfinite().all()
    assert target((4, 6))(steps[-1].picture).item() < target((4, 6))(random((1, 3, 4, 6))).item()
