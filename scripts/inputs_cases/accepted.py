"""Rows of `scripts/inputs.py` that must succeed although their input is odd, with checks of the image they paint."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from inputs_cases import Check, Row, checks
from inputs_cases.checks import HARDLY, changed, film_of, kept_left, kept_right, photograph, same_file, same_hues, same_pixels

# Notes on standard error, matched by their values because their words may change
ENLARGED, NEAREST, LEFT_OUT, STANDS_IN = "painting.*{}", "{}.*16", "#00ff00", "vgg19.*lite"
LITTLE_SELECTED, ALL_SELECTED, BINARY, COUNTED = "almost nothing", "whole image", "black and white", "{} region"
NO_FILM = "" if importlib.util.find_spec("av") else "needs the video extra"
GOOD, TWO = "photo.png painting.png", "photo.png painting.png checkers.png"
LITTLE = changed(0, HARDLY)
AGAIN = (
    ("info out.png", r"out\.png.*\d+x\d+"),
    ("info out.png --json", r'"picture": "[0-9a-f]{64}"'),
    ("again out.png -o again.png --device cpu", ""),
)


def made(name: str, words: str, *checks: Check, size: tuple[int, int] = (64, 43), **more: Any) -> Row:
    """A row that paints an image of this size."""
    return Row(name, words, code=0, size=size, checks=checks, **more)


def again(row: Row) -> Row:
    """The same row; `info` must also know its image, and `again` must make the same file."""
    return replace(row, then=(*row.then, *AGAIN), checks=(*row.checks, same_file("again.png")))


def like(name: str, words: str, other: str, says: str | tuple[str, ...] = ()) -> Row:
    """A row whose image must equal that of another command line."""
    return made(name, words, same_pixels("other.png"), then=((f"{other} -o other.png", ""),), says=says)


def compared(row: Row) -> Row:
    """The same row; its image must also be fit for `impasto compare`."""
    photo, style = row.command[:2]
    return replace(row, then=((f"compare {photo} {style} out.png -o report.html -q --json", '"structure"'),))


def _flat_rows() -> Iterator[Row]:
    yield made("flat: photo", "flat.png painting.png", changed())
    yield made("flat: black photo, bf16", "black.png painting.png --precision bf16", changed())
    yield made("flat: painting, bf16", "photo.png flat-painting.png --precision bf16", changed())
    yield made("flat: its own painting", "flat.png flat.png", LITTLE, flat=True)
    yield compared(made("flat: both", "flat.png flat-painting.png", flat=True))
    for way in ("luma", "match"):
        yield made(f"flat: black photo, {way}", f"black.png painting.png --keep-colors {way}", LITTLE, flat=True)
        yield made(f"flat: painting, {way}", f"photo.png flat-painting.png --keep-colors {way}", changed(0.5))
    yield made("flat: both, gatys", "flat.png flat-painting.png --method gatys", changed(0), flat=True, says=STANDS_IN)


def _shape_rows() -> Iterator[Row]:
    wide, tall, tiny = (320, 16), (16, 320), (32, 32)
    yield made("wide: photo", "wide.png painting.png --size 320", changed(), says=ENLARGED.format(320), size=wide)
    yield compared(made("wide: both", "wide.png wide-painting.png --size 320", changed(), size=wide))
    yield made("tall: luma", "tall.png wide-painting.png --size 320 --keep-colors luma", same_hues, size=tall)
    yield made("wide: a mask", "wide.png great-wave --size 320 --mask mask-wide.png=keep", kept_left, size=wide)
    yield made("small: photo", "32.png painting.png --size original", changed(), size=tiny)
    yield made("small: photo, enlarged", "32.png painting.png --size 96", changed(), says="32x32.* 3 times", size=(96, 96))
    yield made("small: at the smallest size", "32.png painting.png --size 16", changed(), size=(16, 16))
    yield made("small: painting", "photo.png 32-painting.png", changed(), says=ENLARGED.format(64))
    yield made("small: both, luma", "32.png 32-painting.png --size original --keep-colors luma", same_hues, size=tiny)
    yield made("small: a named style", "32.png udnie --size 16", changed(), says=NEAREST.format("64"), size=(16, 16))
    yield again(made("one iteration", f"{GOOD} --iterations 1"))


def _content_rows() -> Iterator[Row]:
    yield again(made("own painting", "photo.png photo.png", LITTLE))
    yield made(
        "own painting: match, --size original", "copy.png copy.png --keep-colors match --size original", LITTLE, size=(192, 128)
    )
    for name in ("bw", "bilevel", "16-bit", "alpha"):
        yield made(f"gray: {name} painting", f"photo.png {name}-painting.png --iterations 12", changed(), checks.less_color)
    for more in ("", "--strength 0.2", "--palette-weight 0", "--method gatys"):
        words = f"bw-photo.png bw-painting.png {more}"
        yield made(f"gray: both {more}", words, changed(), checks.gray, says=STANDS_IN if "gatys" in more else ())
    yield made("gray: photo, luma", "bw-photo.png painting.png --keep-colors luma", changed(), checks.gray)


def _picture_rows() -> Iterator[Row]:
    """At strength 0, where the result is the photograph."""
    for name, other, note in (
        ("crc.png", "photo.png", "damaged.*iCCP"),
        ("long-text.png", "photo.png", ()),
        ("no-end.png", "photo.png", "end"),
        ("no-end.jpg", "whole.jpg", "end"),
        ("stray.jpg", "whole.jpg", "stray"),
        ("thumbnail-first.tif", "photo.png", ()),
        ("spot.tif", "photo.png", "not transparency"),
        ("more-bits.tif", "photo.png", ()),
    ):
        row = like(f"picture: {name}", f"{name} painting.png --strength 0", f"{other} painting.png --strength 0")
        yield replace(row, says=note, files=other, shows=other)
    yield made("picture: wide gamut", "p3.png painting.png --strength 0", changed(), says="Display P3")
    deep = "photo.png painting.png --depth 16 --size 32 --iterations 1 --device cpu -q -o deep.tif"
    yield Row("picture: 16 bits", deep, code=0, then=(("info deep.tif", "depth|32x21"),))


def _mask_rows() -> Iterator[Row]:
    yield made("mask: bilevel, luma", f"{GOOD} --mask mask-bilevel.png=keep --keep-colors luma", kept_left, same_hues)
    for name, says in {"small": (), "almost": (), "pixel": LITTLE_SELECTED, "half": "50 percent"}.items():
        yield made(f"mask: {name}, a style", f"{GOOD} --mask mask-{name}.png=checkers.png", changed(), says=says)
    yield made("mask: left, the only style", "photo.png --mask mask-left.png=painting.png", kept_right)
    yield made("mask: pixel, the only style", "photo.png --mask mask-pixel.png=painting.png", LITTLE, says=LITTLE_SELECTED)
    other = f"{GOOD} --mask mask-left.png=keep"
    yield like("mask: 0 and 1", f"{GOOD} --mask mask-01.png=keep", other, BINARY)
    other = "photo.png checkers.png"
    yield like("mask: all, another style", f"{GOOD} --mask mask-all.png=checkers.png", other, ALL_SELECTED)
    under = "photo.png --mask mask-left.png=keep --mask mask-all.png=checkers.png"
    yield like("mask: keep under all", under, other, ALL_SELECTED)
    two = "--mask mask-half.png=checkers.png --mask mask-large.png=keep"
    yield again(made("mask: two", f"{GOOD} {two}", kept_left, says="50 percent"))
    yield again(made("mask: a named style in it", "photo.png --mask mask-left.png=great-wave", kept_right))
    yield made("mask: match", "photo.png --mask mask-left.png=checkers.png --keep-colors match", kept_right)
    yield made("mask: the photo", f"{GOOD} --mask photo.png=checkers.png", changed(), says="brightness")
    pair = f"{GOOD} --content-mask {{}}.png --style-mask {{}}.png"
    counted = COUNTED.format(2)
    yield again(made("colors: two masks", pair.format("here", "there"), changed(), says=counted))
    for name in ("near", "labels"):
        words = pair.format(f"here-{name}", f"there-{name}")
        yield like(f"colors: {name}", words, pair.format("here", "there"), counted)
    yield made("colors: one only in the style mask", pair.format("here", "there-three"), changed(), says=(counted, LEFT_OUT))
    yield made("colors: a thin part", f"{pair.format('here', 'there-thin')} --style-scale 0.25", changed(), says=counted)
    yield like("colors: both masks black", pair.format("mask-none", "there-black"), GOOD, COUNTED.format(1))
    gatys = f"{pair.format('here', 'there')} --method gatys"
    yield made("colors: gatys", gatys, changed(), says=(STANDS_IN, counted))


def _number_rows() -> Iterator[Row]:
    yield like("blend: adds up to 10", f"{TWO} --blend 7 3", f"{TWO} --blend 0.7 0.3")
    yield like("blend: nearly nothing", f"{TWO} --blend 1e-300 1e-300", TWO)
    yield like("blend: a 0", f"{TWO} --blend 0 1", "photo.png checkers.png")
    yield like("blend: one style", f"{GOOD} --blend 0.3", GOOD)
    yield again(made("blend: a name and a painting", "photo.png starry-night painting.png --blend 1 2", changed()))
    names, far = "photo.png starry-night udnie --style-scale 0.25", (NEAREST.format("starry-night"), NEAREST.format("udnie"))
    yield made("blend: names stored for other sizes", names, changed(), says=far)
    zero = f"{GOOD} --strength 0"
    for more in ("--init noise", "--keep-colors luma", "--mask mask-left.png=checkers.png"):
        yield made(f"strength: 0 {more}", f"{zero} {more}", photograph)
    yield made("strength: 0, gatys", f"{zero} --method gatys", photograph, says=STANDS_IN)
    yield again(made("strength: 0, original size", f"{zero} --size original", photograph, size=(192, 128)))
    yield made("strength: 0, enlarged", f"{zero} --size 300", photograph, size=(300, 200))
    yield made("strength: 1", f"{GOOD} --strength 1", changed())
    tiny = "photo.png 32-painting.png --style-scale 4"
    yield made("scale: 4, gatys", f"{tiny} --method gatys", changed(), says=(STANDS_IN, ENLARGED.format(256)))
    yield made("scale: 0.25", f"{GOOD} --style-scale 0.25 --size 32", changed(), size=(32, 21))


def _frame_rows() -> Iterator[Row]:
    yield made("frames: one iteration", f"{GOOD} --iterations 1 --frames film.gif", film_of(1), writes="film.gif")
    video = f"{GOOD} --iterations 1 --frames film.mp4"
    yield made("frames: video, one iteration", video, writes="film.mp4", skip=NO_FILM)
    still = f"{GOOD} --frames making --strength 0"
    yield made("frames: nothing changes", still, same_pixels("making/0001.png"), writes="making making/0001.png")
    last = f"{GOOD} --iterations 4 --preview 4"
    yield made(
        "preview: the last iteration", last, same_pixels("out-step00004.png"), writes="out-step00000.png out-step00004.png"
    )
    many, one = f"{GOOD} --iterations 6 --frames making", f"{GOOD} --iterations 1 --frames making --overwrite -o out.png"
    newest = same_pixels("making/0001.png")
    stale = made("frames: no stale ones after --overwrite", many, newest, then=((one, ""),), writes="making making/0001.png")
    yield stale


def _command_rows() -> Iterator[Row]:
    yield Row("words: none", "", code=0, prints="(?i)usage: impasto")
    yield Row("words: --version", "--version", code=0, prints=r"^\d+\.\d+")
    yield Row("styles: listed", "styles", code=0, prints="starry-night")
    demo = "demo --size 64 --iterations 2 --device cpu -q"
    yield Row("demo: twice", demo, code=0, then=((demo, ""),), writes="impasto-demo.png")
    sheet = "sheet photo.png painting.png udnie --size 64 --device cpu -q"
    yield Row("sheet: a painting and a name", sheet, code=0, writes="photo-sheet.png")
    yield made("stdin: the photo", "- painting.png", changed(), stdin="photo.png")
    yield made("stdout: the image", f"{GOOD} -o -", changed())
    yield made("stdin and stdout", "- painting.png -o -", changed(), stdin="photo.png")


ROWS = (
    *_flat_rows(),
    *_shape_rows(),
    *_content_rows(),
    *_picture_rows(),
    *_mask_rows(),
    *_number_rows(),
    *_frame_rows(),
    *_command_rows(),
)
