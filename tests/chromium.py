"""The browser of the tests: Debian's Chromium, which scripts/install-browser installs."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
MISSING = "no Chromium on this machine: scripts/install-browser gets one"


def skip_without() -> None:
    """Skip a module where there is no browser, unless IMPASTO_BROWSER=required."""
    if CHROMIUM is None and os.environ.get("IMPASTO_BROWSER") != "required":
        pytest.skip(MISSING, allow_module_level=True)


@contextlib.contextmanager
def launched(*arguments: str) -> Iterator[Browser]:
    """A browser without a window, which shows colors as sRGB. arguments: more of its own. The test fails where there is none."""
    if CHROMIUM is None:
        pytest.fail(MISSING)
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*sandbox, "--force-color-profile=srgb", *arguments]
        )
        yield browser
        browser.close()
