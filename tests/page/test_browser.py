"""The page in a real browser: headless Chromium, a static server, and the results of Python to compare with.

Few long scenarios, because every page that is opened loads the network. Without a Chromium or onnxruntime-web these tests are skipped
(scripts/install-browser and scripts/install-page-runtime get them), unless IMPASTO_BROWSER=required and IMPASTO_PAGE=required.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import launched, skip_without
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Page, Request, expect
from static_server import ISOLATED, Server

import impasto
from impasto.fast.painter import level_sizes
from impasto.ladder import position, rung
from impasto.pictures import fit

skip_without()

PATIENCE = 300_000  # milliseconds: a busy machine is slow
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
WEBGPU = (
    ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--use-vulkan=swiftshader")
    if "IMPASTO_WEBGPU" in os.environ
    else ()
)
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
NO_PICTURE: FilePayload = {"name": "text.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}
Open = Callable[..., Page]

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched(*CAMERA, *WEBGPU) as found:
        yield found


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[Server]:
    """A server that sets no headers, under a path of its own, as GitHub Pages is one."""
    found = Server(site, "/some/where/")
    yield found
    found.stop()


@pytest.fixture
def show(browser: Browser) -> Iterator[Open]:
    """Opens the page of a server in a browser that was never here. In the end nothing may have gone wrong, or have left the page."""
    wrong: list[str] = []
    with contextlib.ExitStack() as stack:

        def show(server: Server, size: int = 256, **context: Any) -> Page:
            def asked(request: Request) -> None:
                if not request.url.startswith((server.page, f"blob:{server.base}/")):
                    wrong.append(request.url)

            opened = browser.new_context(**{"viewport": {"width": 1280, "height": 860}} | context)
            stack.callback(opened.close)
            stored = json.dumps(json.dumps({"options": {"size": size}}))
            opened.add_init_script(f"localStorage['impasto.page'] ??= {stored}")
            opened.on("request", asked)  # of pages and of their service worker
            page = opened.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: complain(message, wrong))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(server.page)
            expect(page.locator("#engine")).to_contain_text("processor")
            return page

        yield show
    assert wrong == []


def complain(message: ConsoleMessage, wrong: list[str]) -> None:
    """Enter errors and warnings, of which Chromium gives one itself where there is no graphics processor."""
    if message.type in ("error", "warning") and message.text != "No available adapters.":
        wrong.append(f"{message.text} {message.location['url']}")


def until(page: Page, script: str) -> None:
    """Wait for a condition. The page's policy forbids Playwright's own wait_for_function."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(script):
        assert time.monotonic() < end, script
        page.wait_for_timeout(30)


def file(name: str, image: Image.Image, kind: str = "PNG", **more: Any) -> FilePayload:
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": stream.getvalue()}


def choose(page: Page, photo: FilePayload) -> None:
    page.locator("#photo-file").set_input_files([photo])


def saved(page: Page, kind: str = "PNG", patience: float = PATIENCE) -> Image.Image:
    """The picture, downloaded once it is there."""
    expect(page.locator("#showing")).to_contain_text("painted in", timeout=patience)
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Download {kind}").click()
    with Image.open(io.BytesIO(download.value.path().read_bytes())) as image:
        image.load()
        assert image.format == kind
        return image


def same(
    page: Page, photo: FilePayload, style: Any, size: int = 256, patience: float = PATIENCE, **options: Any
) -> Image.Image:
    """Check the page's picture against that of Python. Returns the page's."""
    found = saved(page, patience=patience)
    expected = impasto.stylize(
        io.BytesIO(photo["buffer"]), style, quality="instant", precision="fp32", device="cpu", size=size, **options
    )
    assert (found.mode, found.size) == (expected.mode, expected.size)
    assert np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64)).mean() <= 1
    return found


@pytest.fixture
def cat(photo: Path) -> Image.Image:
    with Image.open(photo) as image:
        return image.convert("RGB")


def test_pictures_equal_those_of_python(show: Open, server: Server, cat: Image.Image, painting: Path) -> None:
    page = show(server)
    assert page.evaluate("crossOriginIsolated")  # by the service worker
    photo = file("cat.png", cat)
    choose(page, photo)
    starry = same(page, photo, "starry-night")
    assert np.abs(np.asarray(starry, np.float64) - np.asarray(cat.resize(starry.size), np.float64)).mean() > 10

    page.locator(".tile", has_text="Great Wave").click()
    page.get_by_label("Strength").evaluate(SET, 0.06)
    page.get_by_label("Stroke size").evaluate(SET, 1)
    same(page, photo, "great-wave", strength=0.06, style_scale=2.0)

    page.get_by_role("button", name="Reset").click()
    page.get_by_role("switch", name="Blend two").check()
    page.locator(".tile", has_text="Mondrian").click()
    page.get_by_label("Blend", exact=True).evaluate(SET, 0.25)
    same(page, photo, ["great-wave", "mondrian"], blend=(0.75, 0.25))
    page.get_by_role("switch", name="Blend two").uncheck()

    with Image.open(painting) as image:
        own = file("Strokes.png", image.convert("RGB"))
    page.locator("#style-file").set_input_files([own])
    expect(page.locator(".tile", has_text="Strokes").locator("input")).to_be_checked()
    same(page, photo, io.BytesIO(own["buffer"]))
    page.reload()
    expect(page.locator(".tile", has_text="Strokes").locator("input")).to_be_checked()
    choose(page, photo)
    same(page, photo, io.BytesIO(own["buffer"]))
    page.get_by_role("button", name="Delete Strokes").click()
    page.get_by_role("button", name="Delete the style").click()
    expect(page.locator(".tile", has_text="Strokes")).to_have_count(0)


SET = "(dial, value) => { dial.value = value; dial.dispatchEvent(new Event('input')); }"


def test_a_phone_with_a_transparent_and_a_rotated_photograph(show: Open, server: Server, cat: Image.Image) -> None:
    page = show(server, **PHONE, color_scheme="dark")
    clear = cat.resize((150, 100))
    clear.putalpha(Image.linear_gradient("L").resize(clear.size).point(lambda value: 255 if value > 60 else 0))
    photo = file("clear.png", clear)
    choose(page, photo)
    assert same(page, photo, "starry-night").mode == "RGBA"
    assert saved(page, "JPEG").getpixel((5, 5)) == (255, 255, 255)

    choose(page, NO_PICTURE)  # leaves the photograph and its picture
    expect(page.locator("#photo-problem")).to_contain_text("cannot read the file as a picture")
    assert same(page, photo, "starry-night").mode == "RGBA"

    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = file("turned.jpg", cat.resize((240, 160)), "JPEG", quality=95, exif=exif.tobytes())
    choose(page, turned)
    expect(page.locator("#stage img.before")).to_have_attribute("alt", "The photograph turned.jpg")
    page.locator(".tile", has_text="Udnie").tap()
    assert same(page, turned, "udnie").size == (171, 256)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_offline_and_installable_after_the_first_visit(show: Open, site: Path, cat: Image.Image) -> None:
    server = Server(site, "/pages/")
    page = show(server)
    expect(page.locator("#offline")).to_contain_text("works offline")
    session = page.context.new_cdp_session(page)
    assert session.send("Page.getAppManifest")["errors"] == []
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert {one["errorId"] for one in errors} <= {"in-incognito"}  # as all browsers of Playwright are
    server.stop()
    page.reload()
    expect(page.locator("#engine")).to_contain_text("processor")
    photo = file("cat.png", cat)
    choose(page, photo)
    page.locator(".tile", has_text="The Scream").click()  # its file was not needed before
    same(page, photo, "the-scream")


def test_the_camera_without_a_mouse(show: Open, site: Path) -> None:
    """On a server that isolates the page itself."""
    server = Server(site, "/", ISOLATED)
    page = show(server)
    page.get_by_role("button", name="Camera").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#camera-rate")).to_contain_text("frames per second")
    expect(page.get_by_role("button", name="Take the photograph")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#camera")).to_be_hidden()
    found = saved(page)
    assert found.size == (256, 144)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")
    split = page.get_by_role("switch", name="Before and after")
    split.focus()
    page.keyboard.press("Space")
    expect(page.get_by_label("Before and after").locator("visible=true").last).to_be_visible()
    expect(page.locator("#say")).to_contain_text("Painted in the style of Starry Night")
    server.stop()


@pytest.mark.skipif(not WEBGPU, reason="takes minutes on a processor: set IMPASTO_WEBGPU=1")
def test_webgpu_where_it_agrees(browser: Browser, server: Server, cat: Image.Image) -> None:
    """On SwiftShader, which computes on the processor what is meant for a graphics processor; the page is made to take it for one."""
    page = browser.new_page()
    page.set_default_timeout(10 * PATIENCE)
    page.add_init_script("Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false })")
    page.add_init_script("localStorage['impasto.page'] ??= '{\"options\": {\"size\": 256}}'")
    page.goto(server.page)
    expect(page.locator("#engine")).to_contain_text("graphics processor", timeout=10 * PATIENCE)
    photo = file("cat.png", cat)
    choose(page, photo)
    same(page, photo, "starry-night", patience=10 * PATIENCE)
    expect(page.locator("#engine")).to_contain_text("graphics processor")
    page.close()


def test_sizes_are_those_of_python_and_a_file_is_no_picture(show: Open, server: Server) -> None:
    page = show(server)
    choose(page, NO_PICTURE)
    expect(page.locator("#photo-problem")).to_contain_text("cannot read the file as a picture")
    expect(page.locator("#empty")).to_be_visible()

    longer = [1, 63, 64, 90.5, 95.75, 128, 181, 200, 362, 511.9, 512, 1023, 2048]
    sizes = [(341, 512), (512, 341), (16, 2000), (191, 97), (192, 192), (1, 1), (767, 769), (2048, 1365)]
    found = page.evaluate(
        """async ([longer, sizes]) => {
          const { fit, levelSizes, position, rung } = await import("./sizes.js");
          return [longer.map(position), [-2, -1, 0, 1, 5, 6].map(rung), sizes.map(levelSizes), sizes.map((size) => fit(size, 333))];
        }""",
        [longer, sizes],
    )
    assert found[0] == pytest.approx([position(one) for one in longer])
    assert found[1] == [rung(number) for number in (-2, -1, 0, 1, 5, 6)]
    assert found[2:] == [[[list(one) for one in level_sizes(size)] for size in sizes], [list(fit(size, 333)) for size in sizes]]
