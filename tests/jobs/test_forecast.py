"""The forecast, and the dry run that prints it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from command_line import Cli

import impasto
from impasto.jobs.forecast import NEW, SETUP, forecast
from impasto.ladder import STEP_OVERHEAD


def test_a_forecast_is_the_pace_of_its_parts_times_their_number(photo: Path, painting: Path) -> None:
    """Of a clock that ticks once whenever it is asked every trial takes 1: what is left is the counting."""
    ticks = itertools.count()
    run = impasto.Stylizer(size=200, iterations=40, precision="fp32").run(photo, painting)
    size, levels = run.problem.size, 1 + 1 / 4 + 1 / 16
    pace, moving = 1 / (levels * size[0] * size[1] + STEP_OVERHEAD), 1 / (size[0] * size[1])
    expected = sum(
        (scale.steps + SETUP) * pace * (levels * scale.size[0] * scale.size[1] + STEP_OVERHEAD)
        + scale.steps * moving * scale.size[0] * scale.size[1]
        for scale in run.scales
    )
    expected += max(run.plan(scale.size).peak for scale in run.scales) / NEW
    assert len(run.scales) > 1
    assert forecast(run, lambda: float(next(ticks))) == pytest.approx(expected)


def test_a_dry_run_prints_the_plan_and_paints_nothing(cli: Cli, photo: Path, painting: Path, tmp_path: Path) -> None:
    said = cli(photo, painting, "-o", tmp_path / "out.png", "--size", 160, "--dry-run", "--json")
    assert said.code == 0
    found = said.json
    assert (found["width"], found["height"], found["side"], found["pairs"]) == (160, 106, None, "memory")
    assert found["seconds"] > 0
    image, plan, cost, _ = said.stdout.splitlines()
    assert "would be 160x106" in image
    assert "all at once" in plan
    assert "GB of memory" in cost
    assert list(tmp_path.iterdir()) == []
