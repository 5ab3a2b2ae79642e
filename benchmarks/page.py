"""Measure the page of `impasto page` in Chromium, and write the tables of docs/anywhere.md.

    python benchmarks/page.py [--sizes 256 512 1024] [--threads 2]

Seconds of painting the sample photograph: the first picture, and the median of those after it, each in another style. Bytes that a
first visit loads. Needs Chromium (scripts/install-browser) and onnxruntime-web (scripts/install-page-runtime).
Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from machine import PHOTO, ROOT, processor, write_between

sys.path.insert(0, str(ROOT / "tests"))

from chromium import launched
from playwright.sync_api import Browser, Page, expect
from static_server import Server

from impasto.page import folder, runtime

DOCUMENT = ROOT / "docs" / "anywhere.md"
STYLES = ("Great Wave", "The Scream", "Udnie")
PATIENCE = 600_000  # milliseconds
PARTS = {
    "runtime/": "onnxruntime-web",
    "network/": "the network: weights and graphs",
    "styles/": "twelve styles",
    "": "the page: scripts, style sheets, images, licenses",
}


def painted(page: Page) -> float:
    """Wait until a picture is there. Returns the seconds that the page states."""
    expect(page.locator("#showing")).to_contain_text("painted in", timeout=PATIENCE)
    return float((page.locator("#showing").text_content() or "").rpartition("painted in ")[2].removesuffix(" s"))


def seconds(browser: Browser, server: Server, size: int, threads: int) -> tuple[float, float, float]:
    """Seconds until the page is ready, of the first picture, and of later ones."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(f"Object.defineProperty(navigator, 'hardwareConcurrency', {{ get: () => {threads} }})")
    page.add_init_script(f"localStorage['impasto.page'] ??= '{{\"options\": {{\"size\": {size}}}}}'")
    began = time.perf_counter()
    page.goto(server.page)
    expect(page.locator("#engine")).to_contain_text(f"{threads} threads" if threads > 1 else "one thread", timeout=PATIENCE)
    ready = time.perf_counter() - began
    expect(page.locator("#offline")).to_contain_text("offline", timeout=PATIENCE)
    page.locator("#photo-file").set_input_files(PHOTO)
    first, later = painted(page), []
    for style in STYLES:
        until_idle(page)
        page.locator(".tile", has_text=style).click()
        expect(page.locator("#stage img.after")).to_have_attribute(
            "alt", f"{PHOTO.name} in the style of {style}", timeout=PATIENCE
        )
        later.append(painted(page))
    page.context.close()
    return ready, first, median(later)


def until_idle(page: Page) -> None:
    """Wait until all thumbnails are painted, so that nothing else is computed."""
    thumbnails = page.locator(".tile img[src^='blob:']")
    expect(thumbnails).to_have_count(12, timeout=PATIENCE)


def sizes(found: dict[str, bytes]) -> str:
    """The table of what a first visit loads."""
    kinds = folder.kinds(found)
    left = {name: len(data) for name, data in found.items() if kinds.get(name) != "webgpu"}
    rows = []
    for start, words in PARTS.items():
        inside = [name for name in left if name.startswith(start)]
        rows.append((words, sum(left.pop(name) for name in inside)))
    total = sum(size for _, size in rows)
    webgpu = sum(len(found[name]) for name, kind in kinds.items() if kind == "webgpu")
    lines = [f"| {words} | {size / 1e6:.2f} |" for words, size in (*rows, ("a first visit", total))]
    return "\n".join(["| what | MB |", "|---|---|", *lines, f"| where there is WebGPU, also | {webgpu / 1e6:.2f} |"])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="longer sides of the picture, in pixels")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    at = runtime.provide()
    rows = []
    with tempfile.TemporaryDirectory() as place, launched() as browser:
        folder.write(Path(place) / "site", at)
        server = Server(Path(place) / "site", "/impasto/")
        for size in chosen.sizes:
            ready, first, later = seconds(browser, server, size, chosen.threads)
            rows.append(f"| {size} | {ready:.1f} | {first:.2g} | {later:.2g} |")
            print(rows[-1], flush=True)
        version = browser.version
        server.stop()
    said = f"Chromium {version}, WASM, {chosen.threads} threads, {os.cpu_count()} cores ({processor()}), `python benchmarks/page.py`."
    head = ["| pixels | page ready (s) | first picture (s) | later pictures (s) |", "|---|---|---|---|"]
    write_between(DOCUMENT, "seconds", "\n".join([*head, *rows, "", said]))
    write_between(DOCUMENT, "bytes", sizes(folder.content(at)))


if __name__ == "__main__":
    main()
