"""The engine: against scipy's L-BFGS-B on convex problems, and the promises it makes about its steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize as scipy_minimize
from torch import Tensor

from impasto.errors import DivergenceError
from impasto.ladder import Scale, Size
from impasto.objective.evaluate import Evaluate, at_once
from impasto.optimize import State, Step, coarse_to_fine, minimize

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
    found = scipy_minimize(value_and_gradient, start.double().numpy().ravel(), jac=True, method="L-BFGS-B", options=options)
    return float(found.fun), found.x.reshape(start.shape)


def named(function: Smooth) -> Evaluate:
    return at_once(lambda x: {"content": function(x)})


def best_of(function: Smooth, start: Tensor, steps: int) -> Tensor:
    """The image a run of so many steps ends with."""
    *_, last = minimize(named(function), start, steps)
    return last.best


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
    best = best_of(function, start, 150)
    exact = dtype == torch.float64
    assert function(best.double()).item() == pytest.approx(lowest, rel=1e-8 if exact else 1e-5)
    np.testing.assert_allclose(best.numpy(), where, rtol=0, atol=1e-4 if exact else 5e-3)


def test_a_first_step_too_long_is_taken_back() -> None:
    function = quadratic(100)
    _, where = minimum_by_scipy(function, random())
    start = torch.from_numpy(where) + 1e-4 * (random(seed=3) - 0.5)

    def above(x: Tensor) -> Tensor:
        return function(x) - 2

    assert above(best_of(above, start, 60)).item() < 1e-3 * above(start).item()


@pytest.mark.parametrize("function", [quadratic(100), quartic, log_cosh])
def test_the_best_image_is_never_worse_than_any_evaluated(function: Smooth) -> None:
    values: list[float] = []

    def watched(x: Tensor) -> dict[str, Tensor]:
        values.append(function(x.detach()).item())
        return {"content": function(x)}

    for step, state in enumerate(minimize(at_once(watched), random(), 60), start=1):
        assert step <= len(values) <= 1.2 * step  # an evaluation is what costs; one to a step, and few taken back
        assert function(state.best).item() == state.lowest == min(values)
        assert state.losses == {"content": values[-1]}
        assert (state.step, state.ahead is None) == (step, step == 60)


def watch(function: Smooth, steps: int, start: Tensor) -> list[Tensor]:
    """The images a run evaluates."""
    evaluated: list[Tensor] = []

    def watched(x: Tensor) -> dict[str, Tensor]:
        evaluated.append(x.detach().clone())
        return {"content": function(x)}

    assert len(list(minimize(at_once(watched), start, steps))) == steps
    return evaluated


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_no_step_leaps(scale: float) -> None:
    """Where the first curvature it sees is next to nothing, an unbounded quasi-Newton step would end at 1e6 or so."""
    evaluated = watch(lambda x: scale * log_cosh(100 * x), 40, random())
    moves = [float((after - before).square().mean().sqrt()) for before, after in pairwise(evaluated)]
    assert 0 < max(moves) < 0.1  # of a picture in 0..1


def test_a_step_that_went_astray_is_taken_back() -> None:
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


def test_as_many_steps_as_asked_for_even_at_the_minimum() -> None:
    function = quadratic(1)
    _, where = minimum_by_scipy(function, random())
    steps = list(minimize(named(function), torch.from_numpy(where), 12))
    assert len(steps) == 12
    flat = list(minimize(named(lambda x: 0 * x.sum()), random(), 5))  # no gradient at all
    assert all(torch.equal(state.best, random()) for state in flat)
    assert len(flat) == 5


def test_images_handed_out_never_change() -> None:
    kept, copies = [], []
    for state in minimize(named(quartic), random(), 20):
        kept.append(state.best)
        copies.append(state.best.clone())
    assert all(torch.equal(one, other) for one, other in zip(kept, copies, strict=True))
    assert len({one.sum().item() for one in kept}) > 10
    assert not any(one.requires_grad for one in kept)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_start_is_not_changed(layout: torch.memory_format) -> None:
    start = random().contiguous(memory_format=layout)
    before = start.clone()
    best = best_of(quartic, start, 10)
    assert torch.equal(start, before)
    assert not start.requires_grad
    assert start.grad is None
    torch.testing.assert_close(best, best_of(quartic, random(), 10))


def test_the_terms_are_summed_and_reported() -> None:
    def objective(x: Tensor) -> dict[str, Tensor]:
        return {"content": (x - 1).square().sum(), "style": 3 * (x - 2).square().sum()}

    seen = list(minimize(at_once(objective), random(), 100))
    np.testing.assert_allclose(seen[-1].best.numpy(), (1 + 3 * 2) / 4, atol=1e-6)
    first = {name: term.item() for name, term in objective(random()).items()}
    assert seen[0].losses == pytest.approx(first)


def test_no_step_warns() -> None:
    torch.set_warn_always(True)  # else torch warns once in a process, wherever that is
    try:
        best_of(quartic, random(), 5)
    finally:
        torch.set_warn_always(False)


# ---------------------------------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("content", "content_weight"),
        ("style", "style_weight"),
        ("palette", "palette_weight"),
        ("variation", "tv_weight"),
        ("temporal", "style_weight"),
    ],
)
@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_loss_that_is_not_finite_stops_and_names_its_weight(name: str, option: str, bad: float) -> None:
    calls = 0

    def objective(x: Tensor) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        terms = {term: (x - 1).square().sum() for term in ("content", name)}
        return terms | ({name: terms[name] * bad} if calls == 5 else {})

    states: list[State] = []
    with pytest.raises(DivergenceError) as caught:
        states.extend(minimize(at_once(objective), random(), 20))  # extend keeps what came before the error
    assert str(caught.value) == f"the {name} loss diverged at step 5 of this scale; try a smaller {option}"
    assert caught.value.worded(lambda name: f"<{name}>").endswith(f"try a smaller <{option}>")
    assert len(states) == 4
    assert all(math.isfinite(state.lowest) and state.best.isfinite().all() for state in states)


def test_a_gradient_that_is_not_finite_stops_too() -> None:
    def objective(x: Tensor) -> dict[str, Tensor]:
        # the content is 0 with a gradient of 0 / 0, as of a norm at its target
        return {"content": (x - random()).square().sum().sqrt(), "style": 3 + x.sum()}

    with pytest.raises(DivergenceError, match="step 1 of this scale; try a smaller style_weight"):
        next(minimize(at_once(objective), random(), 5))


# ------------------------------------------------------------------------------------------------------------ coarse_to_fine

SCALES = [Scale((4, 6), 7), Scale((8, 12), 5), Scale((16, 24), 3)]


def nearest(image: Tensor, size: Size) -> Tensor:
    """Enlarge by whole factors."""
    rows, columns = size[0] // image.shape[-2], size[1] // image.shape[-1]
    return image.repeat_interleave(rows, -2).repeat_interleave(columns, -1)


def target(size: Size) -> Smooth:
    """Minimal at a ramp, the same at every scale."""
    ramp = torch.linspace(0, 1, size[1], dtype=torch.float64).expand(1, 3, *size)
    return lambda x: (x - ramp).square().sum() + (x - ramp).pow(4).sum()


class Watched:
    """Objectives that remember what they were asked for."""

    def __init__(self) -> None:
        self.evaluated: dict[Size, list[Tensor]] = {}

    def __call__(self, size: Size) -> Evaluate:
        self.evaluated[size] = []

        def objective(x: Tensor) -> dict[str, Tensor]:
            assert tuple(x.shape[-2:]) == size
            self.evaluated[size].append(x.detach().clone())
            return {"content": target(size)(x), "style": 0 * x.sum()}

        return at_once(objective)


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
    assert [(step.count, step.of) for step in steps] == [(count, 15) for count in range(1, 16)]  # over the whole run
    for step in steps:
        size = SCALES[step.scale - 1].size
        values = [target(size)(x).item() for x in watched.evaluated[size][: step.step]]
        assert step.image.shape == (1, 3, *size)
        assert target(size)(step.image).item() == min(values)
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

    def breaks_at_the_second_scale(size: Size) -> Evaluate:
        return watched(size) if size == (4, 6) else at_once(lambda x: {"style": x.sum() * math.inf})

    steps: list[Step] = []
    with pytest.raises(DivergenceError, match="style_weight"):
        steps.extend(coarse_to_fine(random((1, 3, 4, 6)), SCALES, breaks_at_the_second_scale, nearest))
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert target((4, 6))(steps[-1].image).item() < target((4, 6))(random((1, 3, 4, 6))).item()


@pytest.mark.parametrize("left", [1, 6, 7, 8, 12, 14, 15])
def test_a_run_that_resumes_ends_as_one_that_was_never_stopped(left: int) -> None:
    """To the last bit, wherever it was left: in a scale, and between two."""
    whole, states = paint(SCALES)[0], list[State]()
    run = coarse_to_fine(random((1, 3, 4, 6)), SCALES, Watched(), nearest, keep=states.append)
    first = list(islice(run, left))
    rest = list(coarse_to_fine(random((1, 3, 4, 6), seed=9), SCALES, Watched(), nearest, state=states[-1]))
    for found, expected in zip([*first, *rest], whole, strict=True):
        assert (found.count, found.losses) == (expected.count, expected.losses)
        assert torch.equal(found.image, expected.image)
    assert states[-1].at(SCALES) == first[-1]


def test_without_the_memory_of_lbfgs_it_resumes_from_the_best_image() -> None:
    states = list[State]()
    first = list(islice(coarse_to_fine(random((1, 3, 4, 6)), SCALES, Watched(), nearest, keep=states.append), 5))
    state, watched = dataclasses.replace(states[-1], ahead=None), Watched()
    (step, *_) = coarse_to_fine(random((1, 3, 4, 6)), SCALES, watched, nearest, state=state)
    assert step.count == 6
    assert torch.equal(watched.evaluated[(4, 6)][0], first[-1].image)
