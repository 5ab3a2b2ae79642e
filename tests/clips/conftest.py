"""The nasty clips, made once for all processes that test. Without ffmpeg these tests are skipped, unless IMPASTO_FFMPEG=required."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

pytest.importorskip("av")


@pytest.fixture(scope="session")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the clips of `scripts/clip_cases/table.py`."""
    from clip_cases.table import make_all

    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        missing = "no ffmpeg on this machine: scripts/install-ffmpeg gets it"
        if os.environ.get("IMPASTO_FFMPEG") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    with FileLock(root / "nasty.lock"):
        if not (root / "nasty-are-made").exists():
            make_all(root / "nasty")
            (root / "nasty-are-made").touch()
    return root / "nasty"
