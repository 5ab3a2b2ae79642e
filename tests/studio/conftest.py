"""A studio for the tests of its page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from studio.running import Studio


@pytest.fixture(scope="module")
def page_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A running studio, for all tests of a module."""
    studio = Studio(tmp_path_factory.mktemp("page") / "data")
    yield studio
    assert studio.stop() == 0
    assert "Traceback" not in studio.logged()
