"""A written page, once for each process of the tests. Without onnxruntime-web, tests that need it are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from impasto.page import folder, runtime

CACHE = os.environ.get("IMPASTO_HOME", "")  # the user's own, before tests get another


@pytest.fixture(scope="session")
def runtime_at() -> Path:
    """onnxruntime-web in the user's cache, where scripts/install-page-runtime puts it."""
    with pytest.MonkeyPatch.context() as patched:
        if CACHE:
            patched.setenv("IMPASTO_HOME", CACHE)
        else:
            patched.delenv("IMPASTO_HOME", raising=False)
        found = runtime.find()
    if found is None and os.environ.get("IMPASTO_PAGE") == "required":
        pytest.fail("no onnxruntime-web on this machine: scripts/install-page-runtime gets it")
    if found is None:
        pytest.skip("no onnxruntime-web on this machine: scripts/install-page-runtime gets it")
    return found


@pytest.fixture(scope="session")
def site(runtime_at: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's folder."""
    place = tmp_path_factory.mktemp("page") / "site"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("IMPASTO_HOME", str(place.parent / "home"))
        folder.write(place, runtime_at)
    return place
