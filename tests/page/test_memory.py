"""A browser that gives pages less memory than a picture needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import launched, skip_without
from PIL import Image
from playwright.sync_api import Browser, expect
from static_server import Server

skip_without()

PAGES = 1400  # of 64 kB: enough for 256 x 256 pixels, too few for 512 x 512
PATIENCE = 300_000  # milliseconds


@pytest.fixture
def browser() -> Iterator[Browser]:
    with launched(f"--js-flags=--wasm-max-mem-pages={PAGES}") as found:
        yield found


def test_the_page_says_so_and_paints_a_smaller_picture(browser: Browser, site: Path, photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as image:
        image.resize((300, 300)).save(tmp_path / "square.png")
    server = Server(site, "/")
    page = browser.new_page(service_workers="block")
    page.goto(server.page)
    page.locator("#photo-file").set_input_files(tmp_path / "square.png")
    expect(page.locator("#paint-problem")).to_have_text(
        "512 pixels need more memory than this browser gives the page. The picture is painted at 256 pixels.", timeout=PATIENCE
    )
    expect(page.locator("#showing")).to_contain_text("256 × 256, painted in", timeout=PATIENCE)
    expect(page.locator("[name=size][value='256']")).to_be_checked()

    # a worker that ends while the page asks it nothing, or for a thumbnail
    worker = next(one for one in page.workers if one.url.endswith("/worker.js"))
    with worker.expect_event("close"):
        worker.evaluate("setTimeout(() => { throw new Error('The worker ends.') })")
    page.locator(".tile", has_text="Udnie").click()
    expect(page.locator("#say")).to_contain_text("Painted in the style of Udnie", timeout=PATIENCE)
    expect(page.locator("#paint-problem")).to_be_hidden()
    server.stop()
