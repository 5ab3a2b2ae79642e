"""What every test of training needs; the world itself is made in tests/training_world.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from training_world import World, build


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """The networks are too small for two, and runs are compared to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
