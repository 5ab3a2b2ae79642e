"""The ladder: rungs, the sizes of a run, and how its steps are shared among them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.ladder import STEP_OVERHEAD, Scale, Size, longer_sides, position, rung, schedule, share_done

steady = settings(derandomize=True, deadline=None, database=None, max_examples=150)
sizes = st.lists(st.tuples(st.integers(16, 4000), st.integers(16, 4000)), min_size=1, max_size=12).map(
    lambda found: sorted(found, key=max)
)


def test_rungs_and_positions_are_inverse() -> None:
    assert [rung(number) for number in range(-2, 6)] == [64, 91, 128, 181, 256, 362, 512, 724]
    assert [position(rung(number)) for number in range(12)] == list(range(12))
    assert position(215) == pytest.approx(2 * math.log2(215 / 128))


@steady
@given(st.integers(16, 10_000))
def test_sides_are_rungs_and_then_the_size(longest: int) -> None:
    sides = longer_sides(longest, 1)
    assert sides[-1] == longest
    assert len(longer_sides(longest)) == min(3, len(sides))
    assert sides[-3:] == longer_sides(longest)
    assert sides[:-1] == [128 * 2**number for number in range(len(sides) - 1)]
    for coarse, fine in pairwise(sides):
        assert 2**0.5 * 0.99 <= fine / coarse <= 2**1.5 * 1.01
    if longest <= 128 * 2**0.5:
        assert sides == [longest]


def test_sides_by_hand() -> None:
    assert longer_sides(512) == [128, 256, 512]
    assert longer_sides(1000) == [256, 512, 1000]
    assert longer_sides(700) == [128, 256, 700]  # 512 is nearer to 700 than a rung
    assert longer_sides(16) == [16]
    assert longer_sides(2048) == [512, 1024, 2048]
    assert longer_sides(2048, 200) == [256, 512, 1024, 2048]
    assert longer_sides(100, 128) == [100]


@steady
@given(sizes, st.integers(1, 3000))
def test_a_schedule_keeps_its_promises(sizes: list[Size], iterations: int) -> None:
    scales = schedule(sizes, iterations)
    steps = [scale.steps for scale in scales]
    assert sum(steps) == iterations
    assert [scale.size for scale in scales] == sizes[-max(1, iterations // 2) :]  # with few steps the coarsest are left out
    assert min(steps) >= min(2, iterations)  # one to evaluate and one to change
    assert steps == sorted(steps, reverse=True)  # coarse scales get at least as many
    if iterations >= 500:
        ideal = [max(size) ** -0.25 for size in sizes]
        for found, share in zip(steps, ideal, strict=True):
            # two steps each come first, and whole steps are handed out: together they move a scale by less than twice their number
            assert abs(found - iterations * share / sum(ideal)) <= 2 * len(sizes)


def test_schedule_of_the_defaults() -> None:
    scales = schedule([(side * 3 // 4, side) for side in longer_sides(512)], 40)
    assert [scale.steps for scale in scales] == [16, 13, 11]


def test_the_share_done_counts_the_work_of_steps() -> None:
    """Pixels, or what blocks compute instead, and a fixed part for each step."""
    scales = [Scale((10, 20), 3), Scale((100, 200), 2, work=90_000)]
    work = [3 * (200 + STEP_OVERHEAD), 2 * (90_000 + STEP_OVERHEAD)]
    assert share_done(scales, 1, 2) == pytest.approx(2 * (200 + STEP_OVERHEAD) / sum(work))
    assert share_done(scales, 2, 1) == pytest.approx((work[0] + work[1] / 2) / sum(work))
    assert share_done(scales, 2, 2) == 1
