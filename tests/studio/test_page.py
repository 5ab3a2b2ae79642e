"""The studio's page in a real browser: headless Chromium against a studio of its own.

Few long scenarios, because every page that is opened takes its time. Without a Chromium these tests are skipped
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
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from chromium import launched, skip_without
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Locator, Page, Request, expect
from small_clips import film, pictures
from studio.running import PATIENCE as SECONDS
from studio.running import Studio, zipped

from impasto.clips import open_clip
from impasto.inputs import built_in
from impasto.studio.store import Store

skip_without()

AXE = os.environ.get("IMPASTO_AXE", "")
PHONE: dict[str, Any] = {"width": 390, "height": 844, "is_mobile": True, "has_touch": True}
PATIENCE = 1000 * SECONDS  # milliseconds
Open = Callable[..., Page]

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture
def wrong() -> list[str]:
    """What the browser complained of so far."""
    return []


@pytest.fixture
def show(browser: Browser, page_studio: Studio, wrong: list[str]) -> Iterator[Open]:
    """Opens the studio in a browser that was never here; in the end nothing may have gone wrong in any.

    options: of paintings, where they are not those of the dials. No request may leave the studio.
    """
    own = page_studio.base
    with contextlib.ExitStack() as stack:

        def show(
            *, width: int = 1280, height: int = 800, options: dict[str, Any] | None = None, key: bool = True, **context: Any
        ) -> Page:
            opened = browser.new_context(viewport={"width": width, "height": height}, **context)
            stack.callback(opened.close)
            page = opened.new_page()
            page.set_default_timeout(PATIENCE)
            if options:
                stored = json.dumps(json.dumps({"options": options}))
                page.add_init_script(f"localStorage['impasto.studio'] ??= {stored}")
            page.on("console", lambda message: complain(message, wrong))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("dialog", lambda dialog: wrong.append(dialog.message))
            page.on(
                "request", lambda request: None if request.url.startswith((own, f"blob:{own}")) else wrong.append(request.url)
            )
            page.goto(f"{own}/#token={page_studio.token}" if key else own)
            return page

        yield show
    assert wrong == []


def complain(message: ConsoleMessage, wrong: list[str]) -> None:
    """Enter what the console shows. Of requests that failed, chromium says so by itself."""
    address = message.location["url"]
    if "/preview?" in address and "404" in message.text:
        return  # the job was finished in between, and its preview is gone
    if message.type in ("error", "warning"):
        wrong.append(f"{message.text} {address}")


def jpeg(width: int = 160, height: int = 106) -> bytes:
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


def press(scope: Page | Locator, name: str | re.Pattern[str]) -> None:
    scope.get_by_role("button", name=name, exact=True).click()


def view(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def switch(page: Page, name: str) -> Locator:
    return page.get_by_role("switch", name=name).locator("visible=true")


def kept(page: Page) -> Any:
    """What the page stores for a reload."""
    page.evaluate("window.dispatchEvent(new Event('pagehide'))")
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


def give(page: Page, event: str, name: str, selector: str = "body") -> None:
    """Drop or paste a photograph from outside the browser."""
    script = """([event, selector, data, name]) => {
      const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
      const files = new DataTransfer();
      files.items.add(new File([bytes], name, { type: "image/jpeg" }));
      if (event === "paste") return void window.dispatchEvent(new ClipboardEvent("paste", { clipboardData: files }));
      for (const type of ["dragenter", "dragover", "drop"]) {
        const init = { bubbles: true, cancelable: true, dataTransfer: files };
        document.querySelector(selector).dispatchEvent(new DragEvent(type, init));
      }
    }"""
    page.evaluate(script, [event, selector, base64.b64encode(jpeg()).decode(), name])


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


HOSTILE = "<img src=x onerror=alert(1)>.jpg"
QUICK = {"quality": "instant", "size": 96}


def picture(page: Page) -> npt.NDArray[np.uint8]:
    """HxWx3: what the stage shows on its after side, 16x16 pixels of it."""
    script = """() => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 16, height: 16 });
      const context = canvas.getContext("2d");
      context.drawImage(document.querySelector("#stage img.after"), 0, 0, 16, 16);
      return [...context.getImageData(0, 0, 16, 16).data];
    }"""
    return np.asarray(page.evaluate(script), np.uint8).reshape(16, 16, 4)[..., :3]


def changes(page: Page, before: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Wait until the stage shows another picture."""
    end = time.monotonic() + SECONDS
    while np.array_equal(now := picture(page), before):
        assert time.monotonic() < end
        page.wait_for_timeout(30)
    return now


def test_a_clip(show: Open, page_studio: Studio, wrong: list[str], tmp_path: Path) -> None:
    clip = film(tmp_path / "c.mp4", pictures("pan", 15)).read_bytes()
    page = show(options=QUICK, width=390, height=844)
    expect(page.locator("#view-studio")).to_be_visible()
    page.locator("#photo-file").set_input_files(file("waves <b>.mp4", clip))
    expect(page.locator("#stage img.before")).to_have_attribute("alt", "The first frame of waves <b>.mp4")
    expect(page.locator("#photo-notes")).to_contain_text("A clip of 0.63 s, 15 frames, without sound.")
    until(page, PAINTED)
    expect(page.get_by_role("group", name="Quality").get_by_text("Draft")).to_be_hidden()
    page.get_by_label("Start (s)").fill("9")
    press(page, "Paint")
    expect(page.locator("#dial-start-problem")).to_have_text("Start is after the end: the file is 0.62 s long.")
    assert [one.split(" http")[0][-17:] for one in wrong] == ["400 (Bad Request)"]
    wrong.clear()
    page.get_by_label("Start (s)").fill("")
    page.get_by_label("End (s)").fill("0.5")
    press(page, "Paint")
    now = page.locator("#now")
    expect(now.get_by_text(re.compile(r"^Frame \d+ of 12"))).to_be_visible()
    until(page, "document.querySelector('#stage img.after').src.includes('/preview?')")
    accessible(page)
    press(now, "Play")
    video = page.locator("#viewer video")
    until(page, "document.querySelector('#viewer video').readyState >= 2")
    assert video.evaluate("(video) => [video.videoWidth, video.videoHeight, video.controls]") == [96, 72, True]
    accessible(page)
    page.locator("#viewer-record summary").click()
    expect(page.locator("#viewer-record")).to_contain_text("Frames")
    with page.expect_download() as download:
        page.locator("#viewer").get_by_role("link", name="Download MP4").click()
    assert open_clip(download.value.path()).count == 12
    press(page.locator("#viewer"), "Close")
    expect(video).to_have_count(0)
    view(page, "Gallery")
    card = page.locator("#wall .card").first
    expect(card).to_contain_text("12 frames")
    accessible(page)
    card.locator(".open").click()
    expect(video).to_be_visible()
    press(page.locator("#viewer"), "Delete")
    press(page, "Delete the clip")
    expect(card.get_by_text("waves")).to_have_count(0)
    assert not list((page_studio.data / "results").glob("*.mp4*"))


def test_the_session_and_the_first_load(show: Open, page_studio: Studio, wrong: list[str]) -> None:
    page = show(key=False)
    expect(page.get_by_role("heading", name="Open the studio with its address")).to_be_visible()
    accessible(page)
    page.get_by_label("Address or token").fill("not the token")
    press(page, "Open")
    expect(page.locator("#signin-problem")).not_to_be_empty()
    assert wrong
    assert all("401" in one for one in wrong)
    wrong.clear()
    page.get_by_label("Address or token").fill(f"{page_studio.base}/#token={page_studio.token}")
    press(page, "Open")
    expect(page.get_by_role("button", name="Choose a file")).to_be_visible()
    accessible(page)
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    press(page, "Dark colors")
    dark = page.evaluate(color)
    page.reload()
    assert page.evaluate(color) == dark != light
    expect(page.get_by_role("button", name="Choose a file")).to_be_visible()
    loaded = [
        one for one in page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)") if "/page/" in one
    ]
    assert {one.rpartition("/")[2] for one in loaded} >= {"app.js", "viewer.js", "studio.css"}
    assert sum(len(page.request.get(one).body()) for one in {*loaded, page_studio.base}) < 150_000
    page.get_by_role("link", name="API").click()
    expect(page.locator(".call", has_text="/api/jobs/{number}/place")).to_contain_text('{"place":1}')
    accessible(page)


def test_the_editor(show: Open, wrong: list[str]) -> None:
    page = show()
    choose(page, "picked.jpg")
    assert "token" not in page.url
    give(page, "drop", HOSTILE)
    expect(page.locator("#stage img.before")).to_have_attribute("alt", f"The photograph {HOSTILE}")
    give(page, "paste", "pasted.jpg")
    expect(page.locator("#stage img.before")).to_have_attribute("alt", "The photograph pasted.jpg")
    page.locator("#photo-file").set_input_files(file("letter.jpg", b"Dear studio"))
    expect(page.locator("#photo-problem")).not_to_be_empty()
    expect(page.locator("#stage img.before")).to_have_attribute("alt", "The photograph pasted.jpg")  # the old one stays
    assert all("415" in one for one in wrong)
    wrong.clear()
    until(page, "document.querySelectorAll('.tile img[src^=\"blob:\"]').length >= 12")

    # The instant picture follows the dials, and moves that are over are not asked for.
    until(page, PAINTED)
    bodies, before = asked(page), picture(page)
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
    before = changes(page, before)
    page.get_by_label("Stroke size").focus()
    page.keyboard.press("End")
    last(page, bodies, lambda body: body["options"]["style_scale"] == 4)
    before = changes(page, before)

    # Styles by keyboard, and blends of two to four.
    page.locator(".tile input").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tile input").nth(1)).to_be_checked()
    before = changes(page, before)
    switch(page, "Blend several").check()
    page.locator(".tile").nth(4).click()
    expect(page.locator("#blend input")).to_have_count(1)
    page.locator("#blend input").focus()
    page.keyboard.press("Home")
    for _ in range(25):
        page.keyboard.press("ArrowRight")
    assert [one["weight"] for one in kept(page)["styles"]] == pytest.approx([0.75, 0.25])
    last(page, bodies, lambda body: [one["weight"] for one in body["styles"]] == pytest.approx([0.75, 0.25]))
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

    # A reload loses nothing.
    stored = kept(page)
    page.reload()
    until(page, PAINTED)
    for name in ("styles", "options"):
        assert kept(page)[name] == stored[name]
    assert kept(page)["photo"]["id"] == stored["photo"]["id"]

    # A painting becomes a style; only its colors can be changed.
    match = page.locator("[name=dial-keep_colors][value=match]")
    expect(match).to_be_disabled()
    give(page, "drop", f"waves {HOSTILE}", "#styles-title")
    name = "waves " + HOSTILE.removesuffix(".jpg")
    tile = page.locator(".tile", has_text=name)
    expect(tile.locator("input")).to_be_checked()
    bodies = asked(page)
    match.check(force=True)
    last(page, bodies, lambda body: body["options"]["keep_colors"] == "match")
    expect(page.locator("#working")).to_be_hidden()
    row = page.locator("#own-styles li")
    press(row, "Delete")
    press(page, "No, keep it")
    expect(tile).to_be_visible()
    press(row, "Delete")
    press(page, "Delete the style")
    expect(tile).to_have_count(0)
    expect(match).to_be_disabled()
    last(page, bodies, lambda body: body["options"]["keep_colors"] == "off")

    # Before and after, magnifier.
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


def test_a_batch(show: Open, wrong: list[str], tmp_path: Path) -> None:
    page = show()
    view(page, "Batch")
    go, batch = page.get_by_role("button", name="Paint all"), page.locator("#view-batch")
    expect(go).to_be_disabled()
    page.locator("#batch-file").set_input_files(FilePayload(name="none.zip", mimeType="application/zip", buffer=b"no zip"))
    expect(batch.locator(".problem:visible")).to_contain_text("it is not a zip file")
    assert len(wrong) == 1
    assert "415" in wrong.pop()
    name = "<b>Holidays.zip"
    content = zipped(("sea.jpg", jpeg(64, 48)), ("hills.jpg", jpeg(48, 64)), ("bad.jpg", b"no image"))
    page.locator("#batch-file").set_input_files(FilePayload(name=name, mimeType="application/zip", buffer=content))
    expect(page.get_by_label("Photographs", exact=True)).to_contain_text(f"{name} (3 photographs)")
    for style in ("Udnie", "Mondrian"):
        batch.locator(".tile", has_text=style).click()
    page.get_by_label("Size", exact=True).last.select_option("256")
    page.get_by_label("Format", exact=True).last.select_option("jpg")
    expect(batch).to_contain_text("6 images.")
    accessible(page)
    go.click()
    row = batch.locator(".job")
    expect(row).to_contain_text(f"Batch of {name}: Udnie, Mondrian")
    expect(row).to_contain_text("Done in")
    row.get_by_text("2 images failed").click()
    expect(row.locator("details li")).to_have_count(2)
    expect(row.locator("details")).to_contain_text(
        "bad.jpg in mondrian: Photograph: not an image, or its format is not supported."
    )
    with page.expect_download() as download:
        row.get_by_role("link", name="Download ZIP").click()
    download.value.save_as(tmp_path / "found.zip")
    with zipfile.ZipFile(tmp_path / "found.zip") as archive:
        assert sorted(archive.namelist()) == [
            f"{photo}--{style}.jpg" for photo in ("hills", "sea") for style in ("mondrian", "udnie")
        ]
    accessible(page)
    view(page, "Gallery")
    expect(page.locator("#wall")).not_to_contain_text("Batch of")
    page.reload()
    view(page, "Batch")
    expect(row).to_contain_text("4 images")
    press(row, re.compile("^Delete"))
    page.locator("#ask-yes").click()
    expect(row).to_have_count(0)
    page.get_by_label("Photographs", exact=True).select_option(index=1)
    press(page, "Delete the zip")
    page.locator("#ask-yes").click()
    expect(page.get_by_label("Photographs", exact=True)).to_contain_text("No folders yet")


def test_painting_and_the_queue(show: Open, page_studio: Studio, wrong: list[str]) -> None:
    page = show(options={"quality": "best", "size": 256})
    choose(page, HOSTILE)
    now, showing = page.locator("#now"), page.locator("#showing")
    press(page, "Paint")
    expect(page.locator("#now-title")).to_contain_text(HOSTILE)
    expect(showing).to_have_text("Painting")  # with a preview
    press(now, re.compile("^Cancel"))
    expect(showing).to_have_text("Best so far")
    accessible(page)
    for kind in ("PNG", "JPEG"):
        with page.expect_download() as download:
            now.get_by_role("link", name=re.compile(f"Download {kind}")).click()
        with Image.open(io.BytesIO(download.value.path().read_bytes())) as image:
            assert (image.format, image.size) == (kind, (256, 170))
    press(now, "How it was made")
    expect(page.locator("#viewer-record")).to_contain_text(HOSTILE)
    assert page.locator("#viewer-record dd").filter(has_not_text=re.compile(r"\S")).count() == 0
    accessible(page)
    page.keyboard.press("Escape")
    page.get_by_label("Strength").focus()
    page.keyboard.press("End")
    expect(showing).to_have_text("Instant preview")  # the dials lead again
    press(now, "Show the painting")
    expect(showing).to_have_text("Best so far")
    press(now, "Again with changes")
    expect(page.get_by_label("Strength")).to_have_value("0.5")

    # Three long ones. The last goes to the front; two are cancelled while they wait.
    for number in range(3):
        page.locator(".tile").nth(number).click()
        press(page, "Paint")
        expect(page.locator("#queue-count")).to_have_text(str(number + 1))
    view(page, "Queue")
    rows, ended = page.locator("#queue-list .job"), page.locator("#ended-list .job")
    expect(rows).to_have_count(3)
    names = rows.locator("h2").all_text_contents()
    expect(rows.first).to_contain_text("step")
    accessible(page)
    rows.nth(2).get_by_role("button", name=re.compile("^Move up")).click()
    expect(rows.nth(1)).to_contain_text(names[2])
    expect(rows.nth(2)).to_contain_text("number 2")
    for left in (2, 1):
        rows.nth(1).get_by_role("button", name=re.compile("^Cancel")).click()
        expect(rows).to_have_count(left)
    expect(ended).to_have_count(2)
    for left in (1, 0):
        ended.first.get_by_role("button", name=re.compile("^Delete")).click()
        press(page, "Delete")
        expect(ended).to_have_count(left)

    # Pause; the server dies and comes back; resume; cancel, which keeps the best so far.
    rows.first.get_by_role("button", name=re.compile("^Pause")).click()
    expect(rows.first).to_contain_text("Paused")
    port = int(page_studio.base.rpartition(":")[2])
    page_studio.kill()
    expect(page.locator("#lost")).to_contain_text("Connection lost")
    rows.first.get_by_role("button", name=re.compile("^Resume")).click()
    expect(page.locator(".problem:visible")).to_contain_text("The studio does not answer")
    page_studio.start(port)
    expect(page.locator("#lost")).to_be_empty()
    expect(page.locator(".problem:visible")).to_have_count(0)
    assert all("ERR_CONNECTION" in one or "ERR_INCOMPLETE" in one for one in wrong), wrong
    wrong.clear()
    rows.first.get_by_role("button", name=re.compile("^Resume")).click()
    expect(rows.first).to_contain_text("step")
    rows.first.get_by_role("button", name=re.compile("^Cancel")).click()
    expect(page.locator("#queue-empty")).to_be_visible()
    view(page, "Gallery")
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator(".card").first).to_contain_text("stopped at")
    assert page.locator("[onerror], [src=x]").count() == 0


def test_the_gallery(show: Open) -> None:
    page = show(options=QUICK)
    choose(page, "lighthouse <b>.jpg")
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
    view(page, "Studio")
    press(page, "All styles as a sheet")
    expect(page.locator("#now")).to_contain_text("Sheet of styles of lighthouse")
    expect(page.locator("#showing")).to_have_text("Painted")


def test_tuning_a_painting(show: Open, page_studio: Studio) -> None:
    """The long part of it, the fit itself, is replaced by the style file of another painting."""
    page = show()
    choose(page)
    page.locator("#style-file").set_input_files([file("clouds.jpg"), file("sails.jpg", jpeg(96, 96))])
    row = page.locator("#own-styles li", has_text="sails")
    press(row, "Tune")
    expect(row).to_contain_text("Being tuned")
    expect(row.get_by_role("button", name="Tune", exact=True)).to_have_count(0)
    view(page, "Queue")
    job = page.locator("#queue-list .job", has_text="Tuning sails")
    expect(job).to_contain_text("step")
    accessible(page)
    job.get_by_role("button", name=re.compile("^Cancel")).click()
    expect(job).to_have_count(0)
    view(page, "Studio")
    expect(row.get_by_role("button", name="Tune", exact=True)).to_be_visible()
    until(page, PAINTED)
    expect(page.locator("#working")).to_be_hidden()
    before, number = picture(page), kept(page)["styles"][0]["id"]
    store = Store(page_studio.data)
    shutil.copyfile(built_in("the-scream"), store.files.style(number, "file"))
    store.enter_tuned(number)
    expect(row).to_contain_text("Tuned")
    changes(page, before)
    expect(page.locator("[name=dial-keep_colors][value=match]")).to_be_enabled()  # the painting is still there
    press(row, "Delete")
    press(page, "Delete the style")
    expect(row).to_have_count(0)
    expect(page.locator(".tile", has_text="clouds")).to_be_visible()


def mask(page: Page) -> npt.NDArray[np.uint8]:
    """HxW: the last mask that was uploaded, as the studio has it; empty if there is none, or if another has replaced it meanwhile."""
    number = kept(page)["regions"][-1]["mask"]
    if number is None:
        return np.zeros((0, 0), np.uint8)
    answer = page.request.get(f"{page.url.partition('#')[0]}api/images/{number}/picture?size=1024")
    return np.asarray(Image.open(io.BytesIO(answer.body())).convert("L")) if answer.ok else np.zeros((0, 0), np.uint8)


def masked(page: Page, fits: Callable[[npt.NDArray[np.uint8]], bool]) -> None:
    """Wait until the mask is such a one."""
    end = time.monotonic() + SECONDS
    while not ((found := mask(page)).size and fits(found)):
        assert time.monotonic() < end
        page.wait_for_timeout(100)
    assert found.shape == (106, 160)


def test_regions(show: Open, wrong: list[str]) -> None:
    page = show(options=QUICK)
    choose(page)
    bodies = asked(page)
    press(page, "Add a region")
    brush = page.locator("canvas.brush")
    expect(brush).to_be_focused()
    accessible(page)
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    masked(page, lambda found: found[53, 82] > 200 and found[5, 5] < 50)
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
    masked(page, lambda found: found[53, 20] < 50 and found[53, 140] > 200)
    page.get_by_label("Style of Region 1").select_option(index=2)
    style = page.get_by_label("Style of Region 1").input_value()
    last(page, bodies, lambda body: bool(body["masks"]) and body["masks"][0]["style"] == style)
    assert all("400" in one and "/api/instant" in one for one in wrong), wrong  # for a moment the whole photograph was kept
    wrong.clear()
    brush.focus()
    page.keyboard.press("Escape")
    expect(brush).to_be_hidden()
    press(page, "Paint")
    expect(page.locator("#showing")).to_have_text("Painted")
    page.reload()
    expect(page.locator("#region-list li")).to_have_count(1)
    until(page, PAINTED)


def test_the_phone(show: Open) -> None:
    page = show(**PHONE, color_scheme="dark", options=QUICK)
    accessible(page)
    choose(page, "a-name-as-long-as-nobody-would-give-but-somebody-did-" * 3 + ".jpg")
    before = picture(page)
    page.locator(".tile").nth(5).tap()
    before = changes(page, before)
    page.get_by_role("button", name="Add a region").tap()
    brush = page.locator("canvas.brush")
    expect(brush).to_be_focused()
    box, scrolled = brush.bounding_box(), page.evaluate("scrollY")
    assert box is not None
    session = page.context.new_cdp_session(page)
    for step in range(8):
        place = {"x": box["x"] + 40 + 25 * step, "y": box["y"] + 60 + 8 * step}
        session.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": [place]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    changes(page, before)
    assert page.evaluate("scrollY") == scrolled
    assert mask(page).max() > 200
    press(page, "Paint")
    expect(page.locator("#showing")).to_have_text("Painted")
    accessible(page)
    view(page, "Queue")
    accessible(page)
    view(page, "Gallery")
    expect(page.locator(".card").first).to_be_visible()
    accessible(page)
    page.locator(".card .open").first.tap()
    expect(page.locator("#viewer")).to_be_visible()
    accessible(page)
