"""The studio's page in a real browser: headless Chromium against a studio of its own.

`studio_address` is the address that a studio printed, with its token. Without a Chromium these tests are skipped
(scripts/install-browser gets one), unless IMPASTO_BROWSER=required. With IMPASTO_AXE=PATH/axe.min.js (npm install axe-core)
accessibility is checked as well.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, FilePayload, Locator, Page, Request, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
MISSING = "no Chromium on this machine: scripts/install-browser gets one"
if CHROMIUM is None and os.environ.get("IMPASTO_BROWSER") != "required":
    pytest.skip(MISSING, allow_module_level=True)

AXE = os.environ.get("IMPASTO_AXE", "")
PHONE: dict[str, Any] = {"width": 390, "height": 844, "is_mobile": True, "has_touch": True}
PATIENCE = 30_000  # milliseconds: a studio on a busy machine
Open = Callable[..., Page]

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.fail(MISSING)
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*sandbox, "--force-color-profile=srgb"])
        yield browser
        browser.close()


@pytest.fixture
def wrong() -> list[str]:
    """What the browser complained of so far."""
    return []


@pytest.fixture
def show(browser: Browser, studio_address: str, wrong: list[str]) -> Iterator[Open]:
    """Opens the studio in a browser that was never here; in the end nothing may have gone wrong in any."""
    with contextlib.ExitStack() as stack:

        def show(*, width: int = 1280, height: int = 800, address: str = studio_address, **context: Any) -> Page:
            opened = browser.new_context(viewport={"width": width, "height": height}, **context)
            stack.callback(opened.close)
            page = opened.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("dialog", lambda dialog: wrong.append(dialog.message))
            page.goto(address)
            return page

        yield show
    assert wrong == []


def jpeg(width: int = 240, height: int = 160) -> bytes:
    image = Image.new("RGB", (width, height), (90, 130, 180))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.2, height * 0.2, width * 0.7, height * 0.9), (220, 170, 90))
    draw.rectangle((0, height * 0.8, width, height), (60, 110, 60))
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    return stream.getvalue()


def file(name: str, data: bytes | None = None) -> FilePayload:
    return {"name": name, "mimeType": "image/jpeg", "buffer": jpeg() if data is None else data}


def until(page: Page, script: str) -> None:
    """Wait for a condition. The page's policy forbids Playwright's own wait_for_function."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(30)


PAINTED = "document.querySelector('#stage img.after').naturalWidth > 0"


def choose(page: Page, name: str = "harbor.jpg", data: bytes | None = None) -> None:
    """Upload a photograph and wait for its instant preview."""
    expect(page.locator("#view-studio")).to_be_visible()
    page.locator("#photo-file").set_input_files(file(name, data))
    expect(page.locator("#stage img.before")).to_have_attribute("alt", f"The photograph {name}")
    until(page, PAINTED)


def small(page: Page, quality: str = "draft", stop: int = 0) -> None:
    """The smallest size, so that painting takes seconds."""
    page.locator(f"[name=dial-quality][value={quality}]").check(force=True)
    page.locator("#dial-size").evaluate("(dial, stop) => { dial.value = stop; dial.dispatchEvent(new Event('input')); }", stop)


def press(scope: Page | Locator, name: str | re.Pattern[str]) -> None:
    scope.get_by_role("button", name=name, exact=True).click()


def view(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def switch(page: Page, name: str) -> Locator:
    return page.get_by_role("switch", name=name).locator("visible=true")


def kept(page: Page) -> Any:
    """What the page stored for a reload."""
    page.wait_for_timeout(300)
    return json.loads(page.evaluate("localStorage.getItem('impasto.studio')"))


def asked(page: Page) -> list[Any]:
    """The requests for an instant preview from now on."""
    bodies: list[Any] = []

    def on(request: Request) -> None:
        if request.url.endswith("/api/instant") and json.loads(request.post_data or "{}")["stream"] == "dials":
            bodies.append(json.loads(request.post_data or ""))

    page.on("request", on)
    return bodies


def last(page: Page, bodies: list[Any], fits: Callable[[Any], bool]) -> None:
    """Wait until the newest request is such a one."""
    end = time.monotonic() + PATIENCE / 1000
    while not (bodies and fits(bodies[-1])):
        assert time.monotonic() < end, bodies[-1:]
        page.wait_for_timeout(30)


def drop(page: Page, selector: str, name: str) -> None:
    """Drop a photograph from outside the browser."""
    script = """([selector, data, name]) => {
      const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
      for (const type of ["dragenter", "dragover", "drop"]) {
        document.querySelector(selector).dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer }));
      }
    }"""
    page.evaluate(script, [selector, base64.b64encode(jpeg()).decode(), name])


def accessible(page: Page) -> None:
    """No serious violation, and nothing wider than the window."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if not AXE:
        return
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found = page.evaluate(
        "axe.run().then(({ violations }) => violations.map(({ impact, id, nodes }) => [impact, id, nodes[0].html]))"
    )
    assert [one for one in found if one[0] in ("serious", "critical")] == []


# ----------------------------------------------------------------------------------------------------------------- session


def test_without_a_session_the_page_says_how_to_open_it(show: Open, studio_address: str, wrong: list[str]) -> None:
    page = show(address=studio_address.partition("#")[0])
    expect(page.get_by_role("heading", name="Open the studio with its address")).to_be_visible()
    accessible(page)
    page.get_by_label("Address or token").fill("not the token")
    press(page, "Open")
    expect(page.locator("#signin-problem")).not_to_be_empty()
    page.get_by_label("Address or token").fill(studio_address)
    press(page, "Open")
    expect(page.locator("#view-studio")).to_be_visible()
    assert any("401" in one for one in wrong)
    wrong.clear()  # the browser reports every 401


def test_the_token_leaves_the_address_bar(show: Open) -> None:
    page = show()
    expect(page.locator("#view-studio")).to_be_visible()
    assert "token" not in page.url
    page.reload()
    expect(page.locator("#view-studio")).to_be_visible()


# -------------------------------------------------------------------------------------------------------------- photograph


def test_a_photograph_is_picked_dropped_and_pasted(show: Open, wrong: list[str]) -> None:
    page = show()
    expect(page.get_by_role("button", name="Choose a photograph")).to_be_visible()
    accessible(page)
    choose(page, "picked.jpg")
    drop(page, "body", "dropped.jpg")
    expect(page.locator("#stage img.before")).to_have_attribute("alt", "The photograph dropped.jpg")
    script = """(data) => {
      const clipboardData = new DataTransfer();
      const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
      clipboardData.items.add(new File([bytes], "pasted.jpg", { type: "image/jpeg" }));
      window.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
    }"""
    page.evaluate(script, base64.b64encode(jpeg()).decode())
    expect(page.locator("#stage img.before")).to_have_attribute("alt", "The photograph pasted.jpg")
    page.locator("#photo-file").set_input_files(file("letter.jpg", b"Dear studio"))
    expect(page.locator("#photo-problem")).not_to_be_empty()
    expect(page.locator("#stage img.before")).to_have_attribute("alt", "The photograph pasted.jpg")  # the old one stays
    wrong.clear()  # the browser reports every 415


def test_a_reload_loses_nothing(show: Open) -> None:
    page = show()
    choose(page)
    page.locator(".tile").nth(3).click()
    page.get_by_label("Strength").focus()
    page.keyboard.press("Home")
    before = kept(page)
    page.reload()
    until(page, PAINTED)
    after = kept(page)
    assert before["photo"]["id"] == after["photo"]["id"]
    assert after["styles"] == before["styles"]
    assert after["options"] == before["options"]
    assert page.get_by_label("Strength").input_value() == "0"


# ------------------------------------------------------------------------------------------------------- instant, styles


def test_dials_never_queue_stale_requests(show: Open) -> None:
    page = show()
    choose(page, data=jpeg(640, 480))
    until(page, "document.querySelectorAll('.tile img[src^=\"blob:\"]').length >= 12")
    bodies = asked(page)
    flying, most = 0, 0

    def count(request: Request, by: int) -> None:
        nonlocal flying, most
        if request.url.endswith("/api/instant"):
            flying += by
            most = max(most, flying)

    page.on("request", lambda request: count(request, 1))
    page.on("requestfinished", lambda request: count(request, -1))
    page.get_by_label("Strength").focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    last(page, bodies, lambda body: body["options"]["strength"] == pytest.approx(0.8))
    assert most == 1
    assert len(bodies) < 30
    page.get_by_label("Stroke size").focus()
    page.keyboard.press("End")
    page.locator("[name=dial-keep_colors][value=luma]").check(force=True)
    last(page, bodies, lambda body: body["options"]["style_scale"] == 4 and body["options"]["keep_colors"] == "luma")


def test_styles_by_keyboard_and_a_blend(show: Open) -> None:
    page = show()
    choose(page)
    page.locator(".tile input").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tile input").nth(1)).to_be_checked()
    switch(page, "Blend several").check()
    page.locator(".tile").nth(4).click()
    expect(page.locator("#blend input")).to_have_count(1)
    page.locator("#blend input").focus()
    page.keyboard.press("Home")
    for _ in range(25):
        page.keyboard.press("ArrowRight")
    assert [one["weight"] for one in kept(page)["styles"]] == pytest.approx([0.75, 0.25])
    page.locator(".tile").nth(6).click()
    box = page.locator(".triangle svg").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.06)
    assert kept(page)["styles"][0]["weight"] > 0.9
    page.locator("#share-2").focus()
    page.keyboard.press("End")
    assert [one["weight"] for one in kept(page)["styles"]] == pytest.approx([0, 0, 1])
    page.locator(".tile").nth(8).click()
    assert page.locator(".tile input:not(:disabled)").count() == 4
    accessible(page)
    switch(page, "Blend several").uncheck()
    assert len(kept(page)["styles"]) == page.locator(".tile input:checked").count() == 1


def test_a_painting_becomes_a_style_and_goes(show: Open) -> None:
    page = show()
    choose(page)
    drop(page, "#styles-title", "<b>waves</b>.jpg")
    tile = page.locator(".tile", has_text="<b>waves</b>")
    expect(tile.locator("input")).to_be_checked()
    row = page.locator("#own-styles li")
    press(row, "Delete")
    press(page, "No, keep it")
    expect(tile).to_be_visible()
    press(row, "Delete")
    press(page, "Delete the style")
    expect(tile).to_have_count(0)
    assert page.locator(".tile input:checked").count() == 1


# ------------------------------------------------------------------------------------------------------------------- jobs


def test_painting_from_the_button_to_the_download(show: Open) -> None:
    page = show()
    choose(page, "garden.jpg")
    small(page)
    press(page, "Paint")
    now = page.locator("#now")
    expect(now).to_contain_text("garden.jpg")
    expect(page.locator("#showing")).to_have_text("Painted")
    accessible(page)
    for kind in ("PNG", "JPEG"):
        with page.expect_download() as download:
            now.get_by_role("link", name=re.compile(f"Download {kind}")).click()
        assert Image.open(io.BytesIO(download.value.path().read_bytes())).format == kind
    press(now, "How it was made")
    expect(page.locator("#viewer-record")).to_contain_text("garden.jpg")
    accessible(page)
    page.keyboard.press("Escape")
    page.get_by_label("Strength").focus()
    page.keyboard.press("End")
    expect(page.locator("#showing")).to_have_text("Instant preview")  # the dials lead again
    press(now, "Show the painting")
    expect(page.locator("#showing")).to_have_text("Painted")
    page.reload()
    expect(page.locator("#showing")).to_have_text("Painted")
    press(now, "Again with changes")
    expect(page.get_by_label("Strength")).to_have_value("0.5")


def test_cancel_keeps_the_best_so_far(show: Open) -> None:
    page = show()
    choose(page)
    small(page, "best", 3)
    press(page, "Paint")
    now = page.locator("#now")
    expect(page.locator("#showing")).to_have_text("Painting")
    press(now, re.compile("^Pause"))
    expect(now).to_contain_text("Paused")
    press(now, re.compile("^Resume"))
    expect(now).to_contain_text("step")
    press(now, re.compile("^Cancel"))
    expect(page.locator("#showing")).to_have_text("Best so far")


def test_the_queue_can_be_reordered(show: Open) -> None:
    page = show()
    choose(page)
    small(page, "best", 3)
    for number in range(3):
        page.locator(".tile").nth(number).click()
        press(page, "Paint")
        page.wait_for_timeout(200)
    view(page, "Queue")
    rows = page.locator("#queue-list .job")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("next in the queue")
    last = rows.nth(2).locator("h2").inner_text()
    rows.nth(2).get_by_role("button", name=re.compile("^Move up")).focus()
    page.keyboard.press("Enter")
    expect(rows.nth(1).locator("h2")).to_have_text(last)
    accessible(page)
    assert "%" in page.title()
    for left in (2, 1, 0):
        rows.last.get_by_role("button", name=re.compile("^Cancel")).click()
        expect(rows).to_have_count(left)
    ended = page.locator("#ended-list .job")
    for left in reversed(range(ended.count())):
        ended.first.get_by_role("button", name=re.compile("^Delete")).click()
        press(page, "Delete")
        expect(ended).to_have_count(left)


def test_the_gallery_searches_compares_and_deletes(show: Open) -> None:
    page = show()
    choose(page, "lighthouse.jpg")
    small(page, "instant")
    for number in (0, 1):
        page.locator(".tile").nth(number).click()
        press(page, "Paint")
        expect(page.locator("#showing")).to_have_text("Painted")
    view(page, "Gallery")
    page.get_by_label("Search by style or name").fill("lighthouse")
    cards = page.locator(".card")
    expect(cards).to_have_count(2)
    accessible(page)
    for card in (0, 1):
        cards.nth(card).get_by_role("checkbox").check()
    press(page, "Compare")
    split = page.locator("#versus .split")
    split.focus()
    page.keyboard.press("Shift+ArrowRight")
    assert split.input_value() == "60"
    accessible(page)
    page.keyboard.press("Escape")
    cards.first.locator(".open").click()
    switch(page, "Before and after").check()
    switch(page, "Magnifier").check()
    page.locator("#viewer .stage").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewer .lens")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer .lens")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    for left in (1, 0):
        cards.first.get_by_role("button", name=re.compile("^Delete")).click()
        press(page, "Delete the picture")
        expect(cards).to_have_count(left)
    expect(page.locator("#gallery-empty")).to_contain_text("lighthouse")


def test_all_styles_as_a_sheet(show: Open) -> None:
    page = show()
    choose(page, "bridge.jpg")
    press(page, "All styles as a sheet")
    expect(page.locator("#showing")).to_have_text("Painted")
    expect(page.locator("#now")).to_contain_text("Sheet of styles of bridge.jpg")


# ---------------------------------------------------------------------------------------------------------------- regions


def mask(page: Page) -> npt.NDArray[np.uint8]:
    """HxW: the last mask that was uploaded, as the studio has it."""
    regions = kept(page)["regions"]
    answer = page.request.get(f"{page.url.partition('#')[0]}api/images/{regions[-1]['mask']}/picture?size=1024")
    return np.asarray(Image.open(io.BytesIO(answer.body())).convert("L"))


def test_a_region_by_keyboard_and_by_pointer(show: Open) -> None:
    page = show()
    choose(page)
    bodies = asked(page)
    press(page, "Add a region")
    brush = page.locator("canvas.brush")
    expect(brush).to_be_focused()
    accessible(page)
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    until(page, "Boolean(JSON.parse(localStorage.getItem('impasto.studio')).regions[0]?.mask)")
    found = mask(page)
    assert found.shape == (160, 240)
    assert found[80, 122] > 200
    assert found[5, 5] < 50
    for key in ("a", "i", "a", "e", "e"):
        page.keyboard.press(key)
    page.get_by_text("Rectangle", exact=True).click()
    page.get_by_text("Erase", exact=True).click()
    box = brush.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 1, steps=4)
    page.mouse.up()
    page.wait_for_timeout(1500)
    found = mask(page)
    assert found[80, 20] < 50
    assert found[80, 220] > 200
    page.get_by_label("Style of Region 1").select_option(index=2)
    style = page.get_by_label("Style of Region 1").input_value()
    last(page, bodies, lambda body: body["masks"][0]["style"] == style)
    brush.focus()
    page.keyboard.press("Escape")
    expect(brush).to_be_hidden()
    small(page, "instant")
    press(page, "Paint")
    expect(page.locator("#showing")).to_have_text("Painted")
    page.reload()
    expect(page.locator("#region-list li")).to_have_count(1)
    until(page, PAINTED)


def test_a_finger_brushes_and_does_not_scroll(show: Open) -> None:
    page = show(**PHONE)
    choose(page)
    page.get_by_role("button", name="Add a region").tap()
    page.wait_for_timeout(300)
    box, scrolled = page.locator("canvas.brush").bounding_box(), page.evaluate("scrollY")
    assert box is not None
    session = page.context.new_cdp_session(page)
    for step in range(8):
        place = {"x": box["x"] + 40 + 25 * step, "y": box["y"] + 60 + 8 * step}
        session.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": [place]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    until(page, "Boolean(JSON.parse(localStorage.getItem('impasto.studio')).regions[0]?.mask)")
    assert page.evaluate("scrollY") == scrolled


# ------------------------------------------------------------------------------------------------- before/after, looks, names


def test_before_and_after_and_the_magnifier(show: Open) -> None:
    page = show()
    choose(page)
    switch(page, "Before and after").check()
    split = page.locator("#stage .split")
    split.focus()
    page.keyboard.press("Shift+ArrowLeft")
    assert split.input_value() == "40"
    box = page.locator("#stage .stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 60, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 100, steps=4)
    page.mouse.up()
    assert float(split.input_value()) == pytest.approx(75, abs=1)
    switch(page, "Magnifier").check()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 150)
    expect(page.locator("#stage .lens")).to_be_visible()
    page.mouse.move(1, 1)
    expect(page.locator("#stage .lens")).to_be_hidden()
    accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{}, PHONE], ids=["wide", "phone"])
def test_every_view_is_accessible(show: Open, scheme: str, size: dict[str, Any]) -> None:
    page = show(color_scheme=scheme, **size)
    choose(page, "a-name-as-long-as-nobody-would-give-but-somebody-did-" * 3 + ".jpg")
    small(page, "instant")
    press(page, "Paint")
    expect(page.locator("#showing")).to_have_text("Painted")
    accessible(page)
    view(page, "Gallery")
    expect(page.locator(".card").first).to_be_visible()
    accessible(page)
    page.locator(".card .open").first.click()
    accessible(page)


def test_the_theme_is_remembered(show: Open) -> None:
    page = show()
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    press(page, "Dark colors")
    dark = page.evaluate(color)
    assert dark != light
    page.reload()
    assert page.evaluate(color) == dark


def test_a_hostile_name_runs_nothing(show: Open) -> None:
    page = show()
    name = "<img src=x onerror=alert(1)>.jpg"
    choose(page, name)
    small(page, "instant")
    press(page, "Paint")
    expect(page.locator("#now-title")).to_contain_text(name)
    expect(page.locator("#showing")).to_have_text("Painted")
    view(page, "Gallery")
    expect(page.locator(".card").first).to_contain_text(name)
    page.locator(".card .open").first.click()
    expect(page.locator("#viewer-title")).to_contain_text(name)
    assert page.locator("[onerror], [src=x]").count() == 0


# ---------------------------------------------------------------------------------------------------------------- bars


def test_the_page_is_small_and_loads_nothing_from_elsewhere(show: Open, studio_address: str) -> None:
    page = show()
    root = studio_address.partition("#")[0]
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.reload()
    expect(page.locator("#view-studio")).to_be_visible()
    own = [one for one in seen if "/api/" not in one]
    assert all(one.startswith((root, "blob:")) for one in seen)
    assert sum(len(page.request.get(one).body()) for one in own) < 150_000
