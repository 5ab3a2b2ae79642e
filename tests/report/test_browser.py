"""The report in a real browser: headless Chromium, from file://, with the network off.

Without a Chromium these tests are skipped (scripts/install-browser gets one), unless IMPASTO_BROWSER=required.
"""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from chromium import launched, skip_without
from PIL import Image
from playwright.sync_api import Browser, Page
from report.made_up import center, comparison, plain, ramp, result

from impasto.report.comparison import Comparison
from impasto.report.page import render

skip_without()

RED, GREEN, BLUE = (1, 0, 0), (0, 1, 0), (0, 0, 1)
LEFT_OUT = 0.25  # of the photograph, at either side, by the cropped result of `places`
Pixels = npt.NDArray[np.float64]
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as found:
        yield found


@pytest.fixture
def wrong() -> list[str]:
    """What the browser complained of so far."""
    return []


@pytest.fixture
def show(browser: Browser, tmp_path: Path, wrong: list[str]) -> Iterator[Open]:
    """Opens a comparison's page; in the end nothing may have gone wrong in any."""
    with contextlib.ExitStack() as stack:

        def show(compared: Comparison, *, width: int = 800, height: int = 700, **context: Any) -> Page:
            file = tmp_path / "report.html"
            file.write_text(render(compared, photo_name="photo", painting_name="painting"), encoding="utf-8")
            opened = browser.new_context(viewport={"width": width, "height": height}, offline=True, **context)
            stack.callback(opened.close)
            page = opened.new_page()
            page.set_default_timeout(5000)
            page.on("console", lambda message: wrong.append(message.text))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("requestfailed", lambda request: wrong.append(request.url[:80]))
            page.on("dialog", lambda dialog: wrong.append(dialog.message))
            page.goto(file.as_uri())
            return page

        yield show
    assert wrong == []


def colors() -> Comparison:
    """A red photograph, a green painting, a blue result."""
    return comparison(result("blue.png", plain(BLUE)), photo=plain(RED), painting=plain(GREEN))


def places() -> Comparison:
    """Images in which a color tells its place; the second result is the photograph's own middle half, pixel by pixel."""
    photo = ramp()
    shown = (48, int(64 * (1 - 2 * LEFT_OUT)))
    return comparison(
        result("whole.png", photo.flip(1)),
        result("part.png", center(photo, shown), crop=shown, seed=1),
        photo=photo,
        painting=ramp((40, 30)),
    )


def tiled(tile: int = 4) -> torch.Tensor:
    """Random tiles, so that no two places look alike."""
    small = torch.rand(1, 3, 48 // tile, 64 // tile, generator=torch.Generator().manual_seed(0))
    return small.repeat_interleave(tile, 2).repeat_interleave(tile, 3)


def seen(page: Page, selector: str, *across: float, y: float = 0.5) -> Pixels:
    """Nx3, 0..1: the colors on the screen at places given in fractions of an element."""
    page.locator(selector).scroll_into_view_if_needed()
    settle(page)
    box = box_of(page, selector)
    strip = {"x": box["x"], "y": int(box["y"] + y * box["height"]), "width": box["width"], "height": 1}
    shot = decoded(page.screenshot(clip=strip))  # type: ignore[arg-type]
    return np.stack([shot[0, int(x * shot.shape[1]), :3] for x in across])


def decoded(png: bytes) -> Pixels:
    """HxWx4, 0..1."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"), float) / 255


def box_of(page: Page, selector: str) -> dict[str, float]:
    box = page.locator(selector).bounding_box()
    assert box
    return dict(box)  # type: ignore[arg-type]


def settle(page: Page) -> None:
    """Wait for what has been asked of the next frame."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def point(page: Page, selector: str, x: float, y: float = 0.5) -> None:
    box = box_of(page, selector)
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    settle(page)


def lenses(page: Page) -> list[bool]:
    return [lens.is_visible() for lens in page.locator(".lens").all()]


def lens(page: Page, number: int) -> Pixels:
    """HxWx4, 0..1: what a lens holds."""
    return from_canvas(page, "n => document.querySelectorAll('.lens')[n].toDataURL()", number)


def picture(page: Page, number: int) -> Pixels:
    """HxWx3, 0..1: an embedded image as the browser decodes it."""
    draw = """n => {
      const image = document.querySelectorAll(".view img")[n];
      const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
      canvas.getContext("2d").drawImage(image, 0, 0);
      return canvas.toDataURL();
    }"""
    return from_canvas(page, draw, number)[..., :3]


def from_canvas(page: Page, script: str, number: int) -> Pixels:
    return decoded(base64.b64decode(page.evaluate(script, number).partition(",")[2]))


def close(a: npt.ArrayLike, b: npt.ArrayLike, by: float = 0.02) -> bool:
    return bool(np.abs(np.asarray(a) - np.asarray(b)).max() <= by)


# ------------------------------------------------------------------------------------------------------------------ slider


def test_the_slider_by_mouse(show: Open) -> None:
    page = show(colors())
    page.locator(".stage").scroll_into_view_if_needed()
    assert close(seen(page, ".stage", 0.25, 0.75), (RED, BLUE))
    point(page, ".stage", 0.5)
    page.mouse.down()
    point(page, ".stage", 0.9, 0.2)
    assert close(seen(page, ".stage", 0.25, 0.85, 0.95), (RED, RED, BLUE))
    point(page, ".stage", -0.3, 0.2)  # beyond the image's edge
    assert close(seen(page, ".stage", 0.05, 0.95), (BLUE, BLUE))
    point(page, ".stage", 0.4)
    page.mouse.up()
    point(page, ".stage", 0.8)  # let go: only a pointer passing by
    assert close(seen(page, ".stage", 0.35, 0.45), (RED, BLUE))
    assert page.locator("#split").input_value() == "40"


def test_the_slider_by_its_own_thumb(show: Open) -> None:
    page = show(colors())
    page.locator("#split").scroll_into_view_if_needed()
    stage, thumb = box_of(page, ".stage"), box_of(page, "#split")
    page.mouse.move(stage["x"] + stage["width"] * 0.5, thumb["y"] + thumb["height"] / 2)
    page.mouse.down()
    page.mouse.move(stage["x"] + stage["width"] * 0.7, thumb["y"] + thumb["height"] / 2, steps=3)
    page.mouse.up()
    assert float(page.locator("#split").input_value()) == pytest.approx(70, abs=0.2)  # the thumb stands under the divider
    assert close(seen(page, ".stage", 0.68, 0.72), (RED, BLUE))


def test_the_slider_by_keyboard(show: Open) -> None:
    page = show(colors())
    page.locator("#split").focus()
    page.keyboard.press("End")
    assert close(seen(page, ".stage", 0.03, 0.97), (RED, RED))
    page.keyboard.press("Home")
    assert close(seen(page, ".stage", 0.03, 0.97), (BLUE, BLUE))
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.locator("#split").input_value() == "11"
    assert close(seen(page, ".stage", 0.09, 0.13), (RED, BLUE))
    assert page.locator("#split").get_attribute("aria-valuetext") == "11 % Photograph photo, then Result blue.png"


def test_any_two_images_in_the_slider(show: Open) -> None:
    page = show(comparison(result("blue.png", plain(BLUE)), result("green.png", plain(GREEN)), photo=plain(RED)))
    page.get_by_label("Left", exact=True).select_option("Result green.png")
    page.get_by_label("Right", exact=True).select_option("Photograph photo")
    page.locator(".stage").scroll_into_view_if_needed()
    assert close(seen(page, ".stage", 0.25, 0.75), (GREEN, RED))


def test_a_part_lies_on_its_place_in_the_slider(show: Open) -> None:
    page = show(places())
    page.get_by_label("Right", exact=True).select_option("Result part.png")
    split = page.locator("#split")
    split.focus()
    across = (0.12, 0.3, 0.45, 0.6, 0.73, 0.9)
    for y in (0.2, 0.7):
        split.press("End")
        photograph = seen(page, ".stage", *across, y=y)
        split.press("Home")
        part = seen(page, ".stage", *across, y=y)
        assert close(part[1:-1], photograph[1:-1], 0.03)
        assert close(part[0], part[-1])  # where it shows nothing, the mat
        assert not close(photograph[0], photograph[-1], 0.5)
    page.get_by_label("Left", exact=True).select_option("Result part.png")
    page.get_by_label("Right", exact=True).select_option("Photograph photo")
    split.press("End")
    left, right = seen(page, ".stage", 0.12, 0.9)
    assert close(left, right)  # and not the other image behind it


# --------------------------------------------------------------------------------------------------------------- magnifier


def test_every_lens_shows_the_place_under_the_pointer(show: Open) -> None:
    page = show(places())
    assert lenses(page) == [False] * 4
    point(page, "#picture-0", 0.615, 0.305)
    assert lenses(page) == [True] * 4
    across = {3: (0.615 - LEFT_OUT) / (1 - 2 * LEFT_OUT)}
    for number in range(4):
        pixels, glass = picture(page, number), lens(page, number)
        height, width = pixels.shape[:2]
        x, y = across.get(number, 0.615), 0.305
        middle = glass.shape[0] // 2
        assert close(glass[middle, middle, :3], pixels[int(y * height), int(x * width)], 0.03), number
        box, at = box_of(page, f"#picture-{number}"), box_of(page, f"#picture-{number} .lens")
        assert at["x"] + at["width"] / 2 == pytest.approx(box["x"] + x * box["width"], abs=1)
        assert at["y"] + at["height"] / 2 == pytest.approx(box["y"] + y * box["height"], abs=1)
    page.mouse.move(1, 1)
    settle(page)
    assert lenses(page) == [False] * 4


@pytest.mark.parametrize("zoom", [2, 4, 8])
def test_a_lens_magnifies_as_much_as_it_says(show: Open, zoom: int) -> None:
    page = show(comparison(result("part.png", center(tiled(), (48, 40)), crop=(48, 40)), photo=tiled(), painting=tiled()))
    page.get_by_text(f"{zoom}×").click()
    point(page, "#picture-0", 0.47, 0.55)
    pixels, glass, part = picture(page, 0), lens(page, 0), lens(page, 2)
    box = box_of(page, "#picture-0 img")
    middle, shown = glass.shape[0] / 2, 0
    for dy in range(-40, 41, 8):
        for dx in range(-40, 41, 8):
            x = (0.47 + (dx + 0.5) / zoom / box["width"]) * 64
            y = (0.55 + (dy + 0.5) / zoom / box["height"]) * 48
            if min(x % 1, 1 - x % 1, y % 1, 1 - y % 1) > 0.2:  # well inside one pixel of the image
                shown += 1
                assert close(glass[int(middle) + dy, int(middle) + dx, :3], pixels[int(y), int(x)], 0.01), (dx, dy)
    assert shown > 20
    assert np.abs(glass - part).mean() < 0.02  # the same pixels, through another crop


def test_no_lens_where_a_part_does_not_show_the_place(show: Open) -> None:
    page = show(places())
    point(page, "#picture-0", LEFT_OUT - 0.05)
    assert lenses(page) == [True, True, True, False]
    point(page, "#picture-0", LEFT_OUT + 0.05)
    assert lenses(page) == [True] * 4
    point(page, "#picture-3", 0.98)
    assert lenses(page) == [True] * 4
    point(page, "#picture-1", 1 - LEFT_OUT + 0.05)
    assert lenses(page) == [True, True, True, False]


def test_the_magnifier_by_keyboard(show: Open) -> None:
    page = show(places())
    while page.evaluate("document.activeElement.id") != "picture-0":
        page.keyboard.press("Tab")
    settle(page)
    assert lenses(page) == [True] * 4
    before, scrolled = box_of(page, "#picture-1 .lens"), page.evaluate("scrollY")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    settle(page)
    after, picture_box = box_of(page, "#picture-1 .lens"), box_of(page, "#picture-1")
    assert after["x"] - before["x"] == pytest.approx(0.02 * picture_box["width"], abs=0.1)
    assert after["y"] - before["y"] == pytest.approx(0.1 * picture_box["height"], abs=0.1)
    assert page.evaluate("scrollY") == scrolled
    chosen = page.locator("[name=zoom]:checked")
    for key, zoom in (("+", "8"), ("+", "8"), ("-", "4"), ("-", "2"), ("-", "2"), ("+", "4")):
        page.keyboard.press(key)
        assert chosen.input_value() == zoom
    page.keyboard.press("Escape")
    settle(page)
    assert lenses(page) == [False] * 4
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert lenses(page) == [True] * 4
    for _ in range(60):
        page.keyboard.press("ArrowLeft")
    settle(page)
    at = box_of(page, "#picture-0 .lens")
    assert at["x"] + at["width"] / 2 == pytest.approx(box_of(page, "#picture-0")["x"], abs=1)  # the edge, and no further
    for _ in range(3):
        page.keyboard.press("Tab")
    settle(page)
    assert lenses(page) == [True] * 4  # on the part the place is the nearest that it shows
    page.get_by_label("Magnifier", exact=True).focus()
    settle(page)
    assert lenses(page) == [False] * 4


def test_the_magnifier_can_be_off(show: Open) -> None:
    page = show(places())
    page.get_by_label("Magnifier", exact=True).uncheck()
    point(page, "#picture-0", 0.5)
    assert lenses(page) == [False] * 4
    assert page.locator("#picture-0").get_attribute("tabindex") == "-1"
    page.get_by_label("Magnifier", exact=True).check()
    point(page, "#picture-0", 0.5)
    assert lenses(page) == [True] * 4


# ------------------------------------------------------------------------------------------------- telephone, dark, no script


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """One finger over the screen."""
    session = page.context.new_cdp_session(page)
    for step in range(6):
        x, y = (a + (b - a) * step / 5 for a, b in zip(start, end, strict=True))
        kind = "touchMove" if step else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    settle(page)


def test_a_telephone(show: Open) -> None:
    long = "a-name-as-long-as-nobody-would-give-but-somebody-did-" * 3
    compared = comparison(
        *(result(f"{long}{n}.png", ramp(), seed=n, settings={long: long, "seconds": 1.5}, notes=(long,)) for n in range(4)),
        photo=ramp(),
        refused={long: long},
    )
    page = show(compared, width=390, height=844, is_mobile=True, has_touch=True)
    narrow = "document.documentElement.scrollWidth <= 390 && innerWidth == 390"
    assert page.evaluate(narrow)
    first, second, third = (box_of(page, f"#picture-{n}") for n in range(3))
    assert first["y"] == second["y"] < third["y"]
    assert not page.get_by_label("Magnifier", exact=True).is_checked()

    page.locator("#picture-2").scroll_into_view_if_needed()
    scrolled = page.evaluate("scrollY")
    box = box_of(page, "#picture-2")
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    drag(page, middle, (middle[0], middle[1] - 200))
    assert page.evaluate("scrollY") > scrolled + 50  # a finger scrolls the page
    assert not any(lenses(page))

    page.get_by_label("Magnifier", exact=True).tap()
    box = box_of(page, "#picture-1")
    scrolled = page.evaluate("scrollY")
    drag(page, (box["x"] + 20, box["y"] + 90), (box["x"] + box["width"] - 1, box["y"] + 20))
    assert page.evaluate("scrollY") == scrolled  # or moves the lens
    assert all(lenses(page))
    at = box_of(page, "#picture-1 .lens")
    assert at["x"] + at["width"] / 2 == pytest.approx(box["x"] + box["width"] - 1, abs=2)
    assert page.evaluate(narrow)  # though the lens reaches beyond the edge
    for details in page.locator("summary").all():
        details.tap()
    page.get_by_label("Show layer by layer").check()
    assert page.evaluate(narrow)


def test_a_finger_drags_the_slider_and_scrolls_past_it(show: Open) -> None:
    page = show(colors(), width=390, height=700, is_mobile=True, has_touch=True)
    page.locator(".stage").scroll_into_view_if_needed()
    box, scrolled = box_of(page, ".stage"), page.evaluate("scrollY")
    y = box["y"] + box["height"] / 2
    drag(page, (box["x"] + box["width"] / 2, y), (box["x"] + box["width"] * 0.9, y))
    assert float(page.locator("#split").input_value()) == pytest.approx(90, abs=1)
    drag(page, (box["x"] + box["width"] / 2, y), (box["x"] + box["width"] / 2, y - 150))
    assert page.evaluate("scrollY") > scrolled + 50


@pytest.mark.parametrize("width", [800, 390])
def test_the_table_is_a_table_at_any_width(show: Open, width: int) -> None:
    page = show(places(), width=width)
    tree = page.locator("table").aria_snapshot()
    for role in ("table", "rowgroup", "row", 'columnheader "whole.png'):
        assert f"- {role}" in tree
    assert tree.count("- cell ") == 2 * tree.count("rowheader ") == 16
    page.get_by_label("Show layer by layer").check()
    assert page.locator("table").aria_snapshot().count("rowheader ") == 13


def test_dark_is_dark(show: Open) -> None:
    light, dark = (seen(show(colors(), color_scheme=scheme), "body", 0.001, y=0.001) for scheme in ("light", "dark"))
    assert light.min() > 0.9
    assert dark.max() < 0.15


def test_without_script_all_but_the_tools_is_there(show: Open) -> None:
    page = show(places(), java_script_enabled=False)
    assert [page.locator(one).is_visible() for one in ("#slider", "#magnifier", "#magnifier-hint")] == [False] * 3
    assert page.locator("noscript p").is_visible()
    assert page.locator("figure img").count() == page.locator("figure img:visible").count() == 4
    assert page.locator("#taps").is_hidden()
    page.get_by_label("Show layer by layer").check()
    assert page.locator("#taps").is_visible()


def test_it_can_be_printed(show: Open) -> None:
    page = show(places(), width=700, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("#slider").is_hidden()
    assert page.locator("#taps").is_visible()
    assert seen(page, "body", 0.001, y=0.001).min() == 1


def test_a_hostile_name_runs_nothing(show: Open) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    settings: dict[str, object] = {"</dd><script>alert(2)</script>": '"><svg onload=alert(3)>', "encoder": "lite"}
    page = show(comparison(result(name, ramp(), settings=settings, notes=(name,), same_network=True), refused={name: name}))
    page.get_by_label("Left", exact=True).select_option(f"Result {name}")
    page.locator("figure summary").click()
    assert page.locator("script").count() == 1
    assert page.locator("[src=x], [onerror], [onload]").count() == 0
    assert page.get_by_text("<svg onload=alert(3)>").is_visible()


def test_the_policy_stops_what_a_mistake_would_let_in(show: Open, wrong: list[str]) -> None:
    page = show(colors())
    refused = page.evaluate(
        """async () => {
          const refused = [];
          document.addEventListener("securitypolicyviolation", event => refused.push(event.effectiveDirective));
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          const image = document.createElement("img");
          image.src = "file:///dev/null";
          document.body.append(image);
          await new Promise(done => setTimeout(done, 50));
          return [window.ran, ...refused.sort()];
        }"""
    )
    assert refused == [None, "img-src", "script-src-elem"]
    assert wrong
    wrong.clear()
