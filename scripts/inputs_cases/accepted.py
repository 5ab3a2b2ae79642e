"""Rows of `scripts/inputs.py` that must succeed although their input is odd, with checks of the image they paint."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from inputs_cases import Check, Row
from inputs_cases.checks import (
    HARDLY,
    changed,
    film_of,
    gray,
    kept_left,
    kept_right,
    less_color,
    photograph,
    same_file,
    same_hues,
    same_pixels,
)

# Notes on standard error, without words that may change.
ENLARGED = "painting.*{}"
NEAREST = "{}.*16"
STANDS_IN = "vgg19.*lite"
LEFT_OUT = "#00ff00"
NO_FILM = "" if importlib.util.find_spec("imageio_ffmpeg") else "needs the video extra"
NEW = "issue 24"
GOOD = "photo.png painting.png"
LITTLE = changed(0, HARDLY)
REPORT = (" out.png -o report.html -q --json", '"structure"')
AGAIN = (
    ("info out.png", r"out\.png.*\d+x\d+"),
    ("info out.png --json", r'"picture": "[0-9a-f]{64}"'),
    ("again out.png -o again.png --device cpu", ""),
)


def made(name: str, words: str, *checks: Check, size: tuple[int, int] = (64, 43), **more: object) -> Row:
    """A row that paints an image of this size."""
    return Row(name, words, code=0, size=size, checks=checks, **more)  # type: ignore[arg-type]


def again(row: Row) -> Row:
    """The same row; `info` must also know its image and `again` must make the same file."""
    more = {"then": (*row.then, *AGAIN), "checks": (*row.checks, same_file("again.png"))}
    return Row(**(vars(row) | more))


def like(name: str, words: str, other: str, **more: object) -> Row:
    """A row whose image must equal that of another command line."""
    return made(name, words, same_pixels("other.png"), then=((f"{other} -o other.png", ""),), **more)  # type: ignore[arg-type]


def _flat_rows() -> Iterator[Row]:
    yield made("flat: photo", "flat.png painting.png", changed())
    yield made("flat: black photo", "black.png painting.png --precision bf16", changed(1))
    yield made("flat: painting", "photo.png flat-painting.png", changed())
    yield made("flat: painting, bf16", "photo.png flat-painting.png --precision bf16", changed(1))
    yield made("flat: its own painting", "flat.png flat.png", LITTLE, flat=True)
    both = "flat.png flat-painting.png"
    yield made("flat: both", both, flat=True, then=((f"compare {both}{REPORT[0]}", REPORT[1]),))
    yield made("flat: --strength 1", "flat.png painting.png --strength 1", changed())
    yield made("flat: from noise", "flat.png painting.png --init noise", changed())
    yield made("flat: a named style", "flat.png starry-night", changed())
    for way in ("luma", "match"):
        yield made(f"flat: photo, {way}", f"flat.png painting.png --keep-colors {way}", LITTLE, flat=True)
        yield made(f"flat: black photo, {way}", f"black.png painting.png --keep-colors {way}", LITTLE, flat=True)
        yield made(f"flat: painting, {way}", f"photo.png flat-painting.png --keep-colors {way}", changed(0.5))
    yield made("flat: photo, gatys", "flat.png painting.png --method gatys", changed(), says=STANDS_IN)
    yield made("flat: painting, gatys", "photo.png flat-painting.png --method gatys", changed(), says=STANDS_IN)


def _shape_rows() -> Iterator[Row]:
    wide, tall = {"size": (320, 16)}, {"size": (16, 320)}
    yield made("wide: photo", "wide.png painting.png --size 320", changed(), says=ENLARGED.format(320), **wide)
    both = "wide.png wide-painting.png"
    yield again(
        made("wide: both", f"{both} --size 320", changed(), then=((f"compare {both}{REPORT[0]}", REPORT[1]),), **wide)  # type: ignore[arg-type]
    )
    yield made("tall: photo, wide painting, luma", "tall.png wide-painting.png --size 320 --keep-colors luma", same_hues, **tall)
    yield made("tall: --strength 0", "tall.png painting.png --size 320 --strength 0", photograph, **tall)
    yield made("wide: a named style", "wide.png great-wave --size 320", changed(), **wide)
    yield made("wide: painting, gatys", "photo.png wide-painting.png --method gatys", changed(), says=STANDS_IN)
    masked = "wide.png wide-painting.png --size 320 --mask mask-wide.png=keep"
    yield made("wide: a mask", masked, kept_left, **wide)
    yield made("small: photo", "32.png painting.png --size original", changed(), size=(32, 32))
    yield made("small: at the smallest size", "32.png painting.png --size 16", changed(), size=(16, 16))
    yield made("small: enlarged", "32.png painting.png --size 128", changed(), size=(128, 128))
    yield made("small: painting", "photo.png 32-painting.png", changed(), says=ENLARGED.format(64))
    yield made("small: both, luma", "32.png 32-painting.png --size original --keep-colors luma", same_hues, size=(32, 32))
    yield made("small: a named style", "32.png udnie --size 16", changed(), says=NEAREST.format("64"), size=(16, 16))
    yield again(made("one iteration", f"{GOOD} --iterations 1"))


def _content_rows() -> Iterator[Row]:
    yield again(made("own painting", "photo.png photo.png", LITTLE))
    yield made("own painting: a copy, blended", "photo.png photo.png copy.png --blend 1 3", LITTLE)
    yield made("own painting: luma", "photo.png photo.png --keep-colors luma", LITTLE)
    yield made("own painting: match, --size original", "photo.png photo.png --keep-colors match --size original", LITTLE, size=(192, 128))
    yield made("own painting: --strength 1", "photo.png photo.png --strength 1", changed(0, 4 * HARDLY))
    for name in ("bw", "bilevel", "16-bit", "alpha"):
        yield made(f"gray: {name} painting", f"photo.png {name}-painting.png --iterations 24", changed(), less_color)
    yield made("gray: photo, luma", "bw-photo.png painting.png --keep-colors luma", changed(), gray)
    yield made("gray: photo, match", "bw-photo.png painting.png --keep-colors match", changed())
    yield made("gray: bilevel photo and painting", "bilevel-photo.png bilevel-painting.png", changed())


def _mask_rows() -> Iterator[Row]:
    for name in ("left", "large", "bilevel"):
        yield made(f"mask: {name}, keep", f"{GOOD} --mask mask-{name}.png=keep", kept_left)
    for name in ("small", "almost", "pixel", "faint", "half"):
        yield made(f"mask: {name}, keep", f"{GOOD} --mask mask-{name}.png=keep", changed())
        yield made(f"mask: {name}, a style", f"{GOOD} --mask mask-{name}.png=checkers.png", changed())
    yield made("mask: left, the only style", "photo.png --mask mask-left.png=painting.png", kept_right)
    yield made("mask: pixel, the only style", "photo.png --mask mask-pixel.png=painting.png", LITTLE)
    yield made("mask: faint, the only style", "photo.png --mask mask-faint.png=painting.png", changed(0, 1))
    other = "photo.png checkers.png"
    yield like("mask: all, another style", f"{GOOD} --mask mask-all.png=checkers.png", other)
    yield like("mask: all, the only style", "photo.png --mask mask-all.png=checkers.png", other)
    yield like("mask: keep under all", "photo.png --mask mask-left.png=keep --mask mask-all.png=checkers.png", other)
    two = "--mask mask-half.png=checkers.png --mask mask-large.png=keep"
    yield again(made("mask: two", f"{GOOD} {two}", kept_left))
    yield made("mask: one, twice", "photo.png --mask mask-left.png=checkers.png --mask mask-left.png=painting.png", kept_right)
    yield again(made("mask: a named style in it", "photo.png --mask mask-left.png=great-wave", kept_right))
    yield made("mask: names blended around it", "photo.png starry-night udnie --mask mask-left.png=checkers.png", changed())
    yield made("mask: flat photo", "flat.png painting.png --mask mask-left.png=keep", kept_left)
    for more in ("--strength 1", "--init noise", "--method gatys"):
        says = STANDS_IN if "gatys" in more else ()
        yield made(f"mask: keep, {more}", f"{GOOD} --mask mask-left.png=keep {more}", kept_left, says=says)
    yield made("mask: luma", f"{GOOD} --mask mask-left.png=keep --keep-colors luma", kept_left, same_hues)
    yield made("mask: match", "photo.png --mask mask-left.png=checkers.png --keep-colors match", kept_right)
    yield made("mask: --strength 0", f"{GOOD} --mask mask-left.png=checkers.png --strength 0", photograph)
    yield made("mask: the photo", f"{GOOD} --mask photo.png=checkers.png", changed())


def _color_mask_rows() -> Iterator[Row]:
    def pair(here: str, there: str, more: str = "") -> str:
        return f"{GOOD} --content-mask {here}.png --style-mask {there}.png {more}"

    yield again(made("colors: two masks", pair("here", "there"), changed()))
    yield made("colors: a small content mask", pair("here-small", "there"), changed())
    yield made("colors: one only in the style mask", pair("here", "there-three"), changed(), says=LEFT_OUT)
    yield made("colors: a thin part", pair("here", "there-thin", "--style-scale 0.25"), changed())
    yield like("colors: both masks black", pair("mask-none", "there-black"), GOOD)
    yield made("colors: flat photo", pair("here", "there").replace("photo", "flat"), changed())
    yield made("colors: gatys", pair("here", "there", "--method gatys"), changed(), says=STANDS_IN)


def _blend_rows() -> Iterator[Row]:
    two = "photo.png painting.png checkers.png"
    yield like("blend: adds up to 10", f"{two} --blend 7 3", f"{two} --blend 0.7 0.3")
    yield like("blend: nearly nothing", f"{two} --blend 1e-300 1e-300", two)
    yield like("blend: a 0", f"{two} --blend 0 1", "photo.png checkers.png")
    yield like("blend: one style", f"{GOOD} --blend 0.3", GOOD)
    yield again(made("blend: a name and a painting", "photo.png starry-night painting.png --blend 1 2", changed()))
    far = "photo.png starry-night udnie --style-scale 0.25"
    yield made("blend: names stored for other sizes", far, changed(), says=(NEAREST.format("starry-night"), NEAREST.format("udnie")))
    yield made("blend: luma", f"{two} --keep-colors luma", same_hues)
    yield made("blend: a flat painting", "photo.png painting.png flat-painting.png", changed())
    yield made("blend: twelve", f"photo.png {'painting.png checkers.png ' * 6}", changed())


def _dial_rows() -> Iterator[Row]:
    zero = f"{GOOD} --strength 0"
    for more in ("--init noise", "--keep-colors luma", "--style-scale 4", "--style-weight 0"):
        says = ENLARGED.format(256) if "4" in more else ()
        yield made(f"strength: 0 {more}", f"{zero} {more}", photograph, says=says)
    yield made("strength: 0, gatys", f"{zero} --method gatys", photograph, says=STANDS_IN)
    yield again(made("strength: 0, original size", f"{zero} --size original", photograph, size=(192, 128)))
    yield made("strength: 0, enlarged", f"{zero} --size 300", photograph, size=(300, 200))
    yield made("strength: 0, a named style", "photo.png starry-night --strength 0", photograph)
    yield made("strength: almost 0", f"{GOOD} --strength 0.000001", changed(0, 1))
    yield made("strength: 1 from noise", f"{GOOD} --strength 1 --init noise", changed())
    yield made("weights: no content", f"{GOOD} --content-weight 0", changed())
    yield made("weights: no style", f"{GOOD} --style-weight 0 --palette-weight 0", changed(0, 1))
    tiny = "photo.png 32-painting.png --style-scale 4"
    yield made("scale: 4, small painting", tiny, changed(), says=ENLARGED.format(256), then=(("info out.png", "style.scale"),))
    yield made("scale: 4, quiet", f"{tiny} -q", changed())
    yield made("scale: 4, gatys", f"{tiny} --method gatys", changed(), says=(STANDS_IN, ENLARGED.format(256)))
    yield made("scale: 0.25", f"{GOOD} --style-scale 0.25 --size 32", changed(), size=(32, 21))


def _frame_rows() -> Iterator[Row]:
    yield made("frames: one iteration", f"{GOOD} --iterations 1 --frames film.gif", film_of(1), writes="film.gif")
    video = f"{GOOD} --iterations 1 --frames film.mp4"
    yield made("frames: video, one iteration", video, writes="film.mp4", skip=NO_FILM)
    still = f"{GOOD} --frames making --strength 0"
    yield made("frames: nothing changes", still, same_pixels("making/0001.png"), writes="making making/0001.png")
    yield made("frames: flat", "flat.png flat.png --frames film.gif", flat=True, writes="film.gif")
    wide = "wide.png wide-painting.png --size 640 --iterations 3 --frames film.gif"
    yield made("frames: a panorama", wide, size=(640, 32), writes="film.gif")
    yield made("preview: after the end", f"{GOOD} --preview 999")
    last = f"{GOOD} --iterations 4 --preview 4"
    yield made("preview: the last iteration", last, same_pixels("out-step00004.png"), writes="out-step00004.png")
    fewer = f"{GOOD} --iterations 1 --frames making --overwrite -o out.png"
    yield made(
        "frames: no stale ones after --overwrite",
        f"{GOOD} --iterations 6 --frames making",
        same_pixels("making/0001.png"),
        then=((fewer, ""),),
        writes="making making/0001.png",
        expected_by=NEW,
    )


def _other_rows() -> Iterator[Row]:
    yield Row("words: none", "", code=0, prints="(?i)usage: impasto")
    yield Row("words: --help", "--help", code=0, prints="(?i)usage: impasto")
    yield Row("words: --version", "--version", code=0, prints=r"^\d+\.\d+")
    yield Row("styles: listed", "styles", code=0, prints="starry-night")
    yield Row("process: --help", "--help", code=0, prints="(?i)usage: impasto", own_process=True)
    yield made("process: a painting", GOOD, changed(), own_process=True)
    demo = "demo --size 64 --iterations 2 --device cpu -q"
    yield Row("demo: twice", demo, code=0, then=((demo, ""),), writes="impasto-demo.png", expected_by=NEW)
    yield made("stdin: the photo", "- painting.png", changed(), stdin="photo.png", own_process=True, expected_by=NEW)
    yield made("stdout: the image", f"{GOOD} -o -", changed(), own_process=True, expected_by=NEW)
    both = "- painting.png -o -"
    yield made("stdin and stdout", both, changed(), stdin="photo.png", own_process=True, expected_by=NEW)


ROWS = (
    *_flat_rows(),
    *_shape_rows(),
    *_content_rows(),
    *_mask_rows(),
    *_color_mask_rows(),
    *_blend_rows(),
    *_dial_rows(),
    *_frame_rows(),
    *_other_rows(),
)
