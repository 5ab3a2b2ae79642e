"""A studio for the tests of its page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from studio.running import Studio


@pytest.fixture(scope="module")
def studio_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address that a running studio printed, with its token."""
    studio = Studio(tmp_path_factory.mktemp("page") / "data")
    yield f"{studio.base}/#token={studio.token}"
    assert studio.stop() == 0
    assert "Traceback" not in studio.logged()
