"""Fixtures for the tests of training; see tests/training_world.py."""

from __future__ import annotations

import pytest
from training_world import World, build


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("world"))
