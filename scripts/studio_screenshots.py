#!/usr/bin/env python
"""Write the screenshots of docs/studio.md: start a studio on an empty data directory, and drive it with Chromium.

python scripts/studio_screenshots.py
python scripts/studio_screenshots.py --output /tmp/shots --format png
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import screenshots
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from small_clips import film, pictures  # noqa: E402  (the tests' clips)
from studio.running import Studio  # noqa: E402  (the tests' way to start a studio)

PHOTO = ROOT / "impasto" / "assets" / "chelsea.jpg"
PATIENCE = 300_000  # milliseconds
PHONE: dict[str, Any] = {"width": 390, "height": 844, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
STYLES = ("Starry Night", "Great Wave", "Udnie", "The Scream", "Composition VII", "Gauguin Tahiti")


def opened(browser: Browser, studio: Studio, *, width: int = 1280, height: int = 860, **context: Any) -> Page:
    """The studio with the photograph in its editor, every thumbnail painted."""
    page = browser.new_context(viewport={"width": width, "height": height}, **context).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{studio.base}/#token={studio.token}")
    expect(page.locator("#choose")).to_be_visible(timeout=PATIENCE)
    page.locator("#photo-file").set_input_files(PHOTO)
    choose(page, STYLES[0])
    until(page, "document.querySelectorAll('.tile img[src^=\"blob:\"]').length >= 12")
    settled(page)
    return page


def until(page: Page, script: str) -> None:
    """Wait for a condition. The page's policy forbids Playwright's own way."""
    for _ in range(PATIENCE // 100):
        if page.evaluate(script):
            return
        page.wait_for_timeout(100)
    raise SystemExit(f"this did not come true: {script}")


def settled(page: Page) -> None:
    """Wait until the instant picture is there, in its final size."""
    until(page, "document.querySelector('#stage img.after').naturalWidth >= 256")
    page.wait_for_timeout(1500)
    expect(page.locator("#working")).to_be_hidden(timeout=PATIENCE)


def choose(page: Page, style: str) -> None:
    """Choose a style."""
    page.locator(".tile", has_text=style).click()


def quality(page: Page, name: str, size: int) -> None:
    """Set how a job is painted. size: the stop of the dial."""
    page.locator(f"[name=dial-quality][value={name}]").check(force=True)
    page.locator("#dial-size").evaluate("(dial, stop) => { dial.value = stop; dial.dispatchEvent(new Event('input')); }", size)


def paint(page: Page, style: str) -> None:
    """Queue a painting."""
    before = page.locator("#queue-count").text_content()
    choose(page, style)
    page.get_by_role("button", name="Paint", exact=True).click()
    expect(page.locator("#queue-count")).not_to_have_text(before or "", timeout=PATIENCE)


def view(page: Page, name: str) -> None:
    """Go to one of the page's views."""
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def save(page: Page, folder: Path, name: str, suffix: str) -> None:
    """Take a screenshot."""
    screenshots.save(page, folder / f"studio-{name}.{suffix}")


def save_clip(browser: Browser, studio: Studio, folder: Path, suffix: str) -> None:
    """A clip in progress. It is a view that moves over the sample photograph."""
    page = opened(browser, studio)
    with tempfile.TemporaryDirectory() as place:
        page.locator("#photo-file").set_input_files(film(Path(place) / "chelsea.mp4", pictures("pan", 30, (288, 432))))
        expect(page.locator("#photo-notes")).to_contain_text("A clip", timeout=PATIENCE)
    quality(page, "instant", 1)
    page.get_by_role("button", name="Paint", exact=True).click()
    expect(page.locator("#now")).to_contain_text("left", timeout=PATIENCE)
    page.locator("#dial-format").scroll_into_view_if_needed()
    until(page, "document.querySelector('#stage img.after').src.includes('/preview?')")
    save(page, folder, "clip", suffix)
    page.locator("#now").get_by_role("button", name=re.compile("^Cancel")).click()
    expect(page.locator("#now")).to_contain_text(re.compile("Cancelled|Done"), timeout=PATIENCE)


def main(folder: Path, suffix: str) -> None:
    """Take all of them."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("no Chromium on this machine: scripts/install-browser gets one")
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        studio = Studio(Path(place) / "data", threads="")
        browser = playwright.chromium.launch(executable_path=found, args=[*sandbox, "--force-color-profile=srgb"])
        page = opened(browser, studio)
        page.get_by_role("switch", name="Before and after").locator("visible=true").check()
        save(page, folder, "editor", suffix)

        phone = opened(browser, studio, **PHONE)
        phone.locator("#styles-title").evaluate("(title) => window.scrollTo(0, title.offsetTop - 420)")
        choose(phone, "Great Wave")
        settled(phone)
        save(phone, folder, "phone", suffix)

        dark = opened(browser, studio, color_scheme="dark")
        choose(dark, "The Scream")
        settled(dark)
        quality(dark, "normal", 2)
        dark.get_by_role("button", name="Paint", exact=True).click()
        expect(dark.locator("#showing")).to_have_text("Painting", timeout=PATIENCE)
        expect(dark.locator("#now")).to_contain_text("left", timeout=PATIENCE)
        save(dark, folder, "dark", suffix)
        dark.locator("#now").get_by_role("button", name=re.compile("^Cancel")).click()
        expect(dark.locator("#showing")).to_have_text("Best so far", timeout=PATIENCE)

        quality(page, "instant", 3)
        for style in STYLES:
            choose(page, style)
            page.get_by_role("button", name="Paint", exact=True).click()
            expect(page.locator("#now-title")).to_contain_text(style, timeout=PATIENCE)
            expect(page.locator("#showing")).to_have_text("Painted", timeout=PATIENCE)
        view(page, "Gallery")
        expect(page.locator(".card")).to_have_count(len(STYLES) + 1, timeout=PATIENCE)
        until(page, "[...document.querySelectorAll('.card img')].every((one) => one.complete)")
        save(page, folder, "gallery", suffix)

        view(page, "Studio")
        quality(page, "normal", 2)
        for style in STYLES[:4]:
            paint(page, style)
        view(page, "Queue")
        expect(page.locator("#queue-list .job").first).to_contain_text("left", timeout=PATIENCE)
        page.locator("#queue-list .job").nth(3).get_by_role("button", name=re.compile("^Pause")).click()
        expect(page.locator("#queue-list .job").nth(3)).to_contain_text("Paused", timeout=PATIENCE)
        save(page, folder, "queue", suffix)
        for row in studio.json("GET", "/jobs?state=queued,running,paused")["jobs"]:
            studio.json("DELETE", f"/jobs/{row['id']}", 204)
        save_clip(browser, studio, folder, suffix)
        browser.close()
        studio.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images", help="folder to write to")
    parser.add_argument("--format", choices=["jpg", "png"], default="jpg")
    chosen = parser.parse_args()
    main(chosen.output, chosen.format)
