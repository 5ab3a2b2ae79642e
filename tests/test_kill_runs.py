"""The script that kills runs works, for images and for clips."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from command_line import LIMIT, ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")


@pytest.mark.parametrize("words", [(), ("--video",)])
def test_a_killed_run_ends_as_one_that_was_not(words: tuple[str, ...]) -> None:
    if words:
        pytest.importorskip("av")
    command = [sys.executable, ROOT / "scripts" / "kill_runs.py", "--kills", "1", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 BAD" in done.stdout
