from __future__ import annotations

from pathlib import Path

import pytest
from weights.vgg_files import make_network


@pytest.fixture(scope="session")
def shallow():
    """VGG-19 to the end of its third block."""
    return make_network("vgg19", "3_4")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty home of impasto's."""
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("IMPASTO_OFFLINE", raising=False)
    return tmp_path / "home"
