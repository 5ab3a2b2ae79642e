#!/usr/bin/env python
"""Write the screenshots of docs/anywhere.md: write the page, serve it, and drive it with Chromium.

python scripts/page_screenshots.py
python scripts/page_screenshots.py --output /tmp/shots --format png
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import screenshots
from playwright.sync_api import Browser, Page, expect

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from chromium import launched  # noqa: E402  (the browser of the tests)
from static_server import Server  # noqa: E402  (the tests' server)

from impasto.page import folder, runtime  # noqa: E402  (after the path is set)

PATIENCE = 600_000  # milliseconds
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}


def opened(browser: Browser, server: Server, **context: Any) -> Page:
    """The page with the sample photograph, every thumbnail painted."""
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | context).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(server.page)
    expect(page.locator("#offline")).to_contain_text("offline", timeout=PATIENCE)
    return page


def sampled(page: Page, style: str) -> None:
    """Choose the sample photograph and a style, and wait for the picture and all thumbnails."""
    page.get_by_role("button", name="Sample photograph").click()
    page.locator(".tile", has_text=style).click()
    expect(page.locator("#stage img.after")).to_have_attribute("alt", f"Chelsea in the style of {style}", timeout=PATIENCE)
    expect(page.locator("#showing")).to_contain_text("painted in", timeout=PATIENCE)
    expect(page.locator(".tile img[src^='blob:']")).to_have_count(12, timeout=PATIENCE)


def main(place: Path, suffix: str) -> None:
    """Take all of them."""
    with tempfile.TemporaryDirectory() as site, launched() as browser:
        folder.write(Path(site) / "site", runtime.provide())
        server = Server(Path(site) / "site", "/impasto/")
        start = opened(browser, server)
        screenshots.save(start, place / f"page-start.{suffix}")
        sampled(start, "Starry Night")
        start.get_by_role("switch", name="Before and after").check()
        screenshots.save(start, place / f"page-editor.{suffix}")

        phone = opened(browser, server, **PHONE, color_scheme="dark")
        sampled(phone, "Great Wave")
        phone.evaluate("window.scrollTo(0, 0)")
        screenshots.save(phone, place / f"page-phone.{suffix}")
        server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images", help="folder to write to")
    parser.add_argument("--format", choices=["jpg", "png"], default="jpg")
    chosen = parser.parse_args()
    main(chosen.output, chosen.format)
