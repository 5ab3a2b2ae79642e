"""Try inputs that are odd but legal on the command line and print what each gets: exit code, measures, verdict.

    python scripts/odd_inputs.py [WORDS IN A CASE'S NAME]

Flat pictures, panoramas, tiny ones, a photograph as its own painting, masks that are empty, full or of another size, blends that
do not add up, both ends of every dial. Each either ends with exit code 0, a complete picture of the right size that is what the
case says, and no word on standard error but the notes it should have; or it is refused as a bad input is (`bad_inputs.py`): exit
code 2, one clear line, nothing written. No traceback, no library's warning, ever. Exits 1 if one does not.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import bad_inputs as bad
import numpy as np
import numpy.typing as npt
from PIL import Image

Floats: TypeAlias = npt.NDArray[np.float64]
ASSETS = bad.ROOT / "impasto" / "assets"
OUTPUT = "out.png"
QUICK = {"--size": "64", "--iterations": "12", "--device": "cpu", "-o": OUTPUT}
PROGRESS = re.compile(r"impasto: \d+%, .*")
LUMA = np.array([0.299, 0.587, 0.114])
FLAT = 1.0  # levels: the standard deviation of a picture of one colour is less
ROUNDED = 1.0  # levels that two roundings of one resampling may be apart
DID_SOMETHING = 2.0  # levels of mean difference from the photograph
HARDLY = 8.0  # the same, of a picture that should hardly have changed


@dataclass(frozen=True)
class Case:
    """An odd input: PHOTO STYLE... and options, and what must come of it.

    size: (width, height) of the result; None: it is refused. says: a pattern for its refusal or its note, or one for each of
    several notes; "" for no word at all. checks: of the result. flat: whether it may be of one colour. then: further command
    lines, and a pattern of their output. leaves: what is new afterwards beside the result. again: `impasto info` knows it, and
    `impasto again` makes the same file. like: a command line that makes the same picture. real: also run as a process of its own.
    """

    name: str
    line: str
    size: tuple[int, int] | None = (64, 43)
    says: str | tuple[str, ...] = ""
    checks: tuple[Check, ...] = ()
    flat: bool = False
    then: tuple[tuple[str, str], ...] = ()
    leaves: tuple[str, ...] = ()
    again: bool = False
    like: str = ""
    real: bool = False
    skip: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The command line, small and short, with a line of JSON at its end."""
        words = shlex.split(self.line)
        quick = (word for pair in QUICK.items() if pair[0] not in words for word in pair)
        return (*words, *quick, "--json")

    @property
    def whole(self) -> Case:
        """The same case with all that `again` and `like` stand for, and the result among what it leaves."""
        then, checks, leaves = self.then, self.checks, (OUTPUT, *self.leaves)
        if self.again:
            then, checks, leaves = (*then, *AGAIN), (*checks, same_file), (*leaves, "again.png")
        if self.like:
            then, checks, leaves = (
                (*then, (f"{self.like} -o other.png", "")),
                (*checks, same_as("other.png")),
                (*leaves, "other.png"),
            )
        return replace(self, then=then, checks=checks, leaves=leaves, again=False, like="")

    @property
    def patterns(self) -> tuple[str, ...]:
        """One for each word there should be on standard error."""
        return self.says if isinstance(self.says, tuple) else (self.says,) if self.says else ()


@dataclass(frozen=True)
class Look:
    """A result to look at: the folder it is in, its pixels as HxWx3 levels, and the photograph at its size."""

    folder: Path
    pixels: Floats
    photo: Floats


AGAIN = (
    ("info out.png", r"out\.png: \d+x\d+, made by impasto"),
    ("info out.png --json", r'"picture": "[0-9a-f]{64}"'),
    ("again out.png -o again.png", "the same picture, pixel by pixel"),
)
Finding: TypeAlias = tuple[str, bool]  # a measure in words, and whether it is as it should be
Check: TypeAlias = Callable[[Look], Finding]


@dataclass(frozen=True)
class Tried:
    """What became of a case: the command's outcome, measures of its picture, and everything that is wrong."""

    outcome: bad.Outcome
    measures: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())


# ------------------------------------------------------------------------------------------------------------------ files


def make_files(folder: Path) -> None:
    """Fill a folder with ordinary pictures, odd ones, and masks of every kind for `photo.png`, which has 192x128 pixels."""
    with Image.open(ASSETS / "chelsea.jpg") as cat, Image.open(ASSETS / "strokes.jpg") as strokes:
        photo, painting = cat.resize((192, 128)), strokes.resize((240, 192))
        pictures = {
            "photo": photo,
            "copy": photo,
            "painting": painting,
            "wide": cat.crop((0, 100, 400, 120)).resize((640, 32)),
            "wide-painting": strokes.crop((0, 100, 640, 132)),
            "32": cat.crop((100, 60, 292, 252)).resize((32, 32)),
            "32-painting": strokes.crop((0, 0, 512, 512)).resize((32, 32)),
            "bw-photo": photo.convert("L"),
            "bw-painting": painting.convert("L"),
            "bilevel-photo": photo.convert("1"),
            "bilevel-painting": painting.convert("1"),
            "alpha-painting": painting.convert("LA"),
        }
    pictures["tall"] = pictures["wide"].transpose(Image.Transpose.ROTATE_90)
    pictures["tall-painting"] = pictures["wide-painting"].transpose(Image.Transpose.ROTATE_90)
    pictures["deep-painting"] = Image.fromarray(np.asarray(pictures["bw-painting"]).astype(np.uint16) * 257)
    pictures["checkers"] = Image.fromarray(_checkers())
    for name, colour in (("flat", (90, 140, 60)), ("black", (0, 0, 0)), ("white", (255, 255, 255)), ("grey", (128, 128, 128))):
        pictures[name] = Image.new("RGB", (192, 128), colour)
        pictures[f"{name}-painting"] = Image.new("RGB", (240, 192), colour)
    pictures["flat-painting"] = Image.new("RGB", (240, 192), (200, 60, 30))
    for name, image in (pictures | _masks()).items():
        image.save(folder / f"{name}.png")
    pictures["photo"].save(folder / "photo.gif")
    _masks()["mask-left"].save(folder / "mask.gif")
    pictures["photo"].save(folder / "taken-step00005.png")


def _checkers() -> npt.NDArray[np.uint8]:
    """Red and black squares of 16 pixels, 200x160."""
    squares = (np.indices((160, 200)) // 16).sum(axis=0) % 2
    return (squares[..., None] * np.array([220, 30, 20])).astype(np.uint8)


def _masks() -> dict[str, Image.Image]:
    """Masks that weigh, and pairs of colour masks."""

    def halves(size: tuple[int, int], left: str, right: str, mode: str = "RGB") -> Image.Image:
        mask = Image.new(mode, size, right)
        mask.paste(Image.new(mode, (size[0] // 2, size[1]), left), (0, 0))
        return mask

    sizes = {"left": (192, 128), "small": (48, 32), "tiny": (3, 2), "large": (768, 512), "square": (128, 128)}
    masks = {f"mask-{name}": halves(size, "white", "black", "L") for name, size in sizes.items()}
    masks["mask-almost"] = halves((193, 128), "white", "black", "L")
    masks["mask-wide"] = halves((640, 32), "white", "black", "L")
    for name, level in (("none", 0), ("all", 255), ("faint", 1), ("half", 128)):
        masks[f"mask-{name}"] = Image.new("L", (192, 128), level)
    masks["mask-point"] = masks["mask-none"].copy()
    masks["mask-point"].putpixel((96, 64), 255)
    masks["mask-bilevel"] = masks["mask-left"].convert("1")
    for name, size in (("here", (192, 128)), ("here-small", (96, 64)), ("here-square", (90, 90)), ("there", (240, 192))):
        masks[name] = halves(size, "red", "blue")
    masks["there-large"], masks["there-square"] = halves((480, 384), "red", "blue"), halves((90, 90), "red", "blue")
    masks["here-green"], masks["there-green"] = halves((192, 128), "red", "lime"), halves((240, 192), "red", "lime")
    masks["there-three"] = masks["there"].copy()
    masks["there-three"].paste("lime", (0, 0, 240, 60))
    masks["there-thin"] = Image.new("RGB", (240, 192), "blue")
    masks["there-thin"].paste("red", (0, 0, 8, 192))
    masks |= {"there-none": Image.new("RGB", (240, 192), "black"), "there-all": Image.new("RGB", (240, 192), "white")}
    return masks


# ----------------------------------------------------------------------------------------------------------------- checks


def photograph(look: Look) -> Finding:
    """Every pixel is the photograph's: as Pillow resamples it, to the rounding."""
    most = np.abs(look.pixels - look.photo).max()
    return f"at most {most:.2f} from the photograph", bool(most <= ROUNDED)


def changed(least: float = DID_SOMETHING, most: float = 255) -> Check:
    """The mean absolute difference from the photograph lies between these levels."""

    def check(look: Look) -> Finding:
        found = np.abs(look.pixels - look.photo).mean()
        return f"changed by {found:.2f}", bool(least <= found <= most)

    return check


def kept_right(look: Look) -> Finding:
    """The right half is the photograph, but for a column beside the middle; the left one is not."""
    width = look.pixels.shape[1]
    apart = np.abs(look.pixels - look.photo)
    right, left = apart[:, width // 2 + 2 :].max(), apart[:, : width // 2 - 2].mean()
    return f"right half at most {right:.2f} from the photograph, left half {left:.2f}", bool(right <= ROUNDED < left)


def kept_left(look: Look) -> Finding:
    """The other way round."""
    return kept_right(replace(look, pixels=look.pixels[:, ::-1], photo=look.photo[:, ::-1]))


def drained(look: Look) -> Finding:
    """There is less colour than in the photograph."""
    found, before = (np.ptp(x, axis=2).mean() for x in (look.pixels, look.photo))
    return f"colour {found:.1f} of {before:.1f}", bool(found < 0.9 * before)


def colourless(look: Look) -> Finding:
    """Every pixel is grey, to the rounding."""
    most = np.ptp(look.pixels, axis=2).max()
    return f"channels at most {most:.0f} apart", bool(most <= ROUNDED)


def same_chroma(look: Look) -> Finding:
    """Hues stayed: what a channel has beyond the luminance has the sign it has in the photograph."""
    ours, theirs = (x - (x @ LUMA)[..., None] for x in (look.pixels, look.photo))
    against = float(np.minimum(np.sign(theirs) * ours, 0).min())
    return f"hues off by {-against:.2f}", against >= -1.5 * ROUNDED


def same_as(other: str) -> Check:
    """It has the pixels of another picture that was made after it."""

    def check(look: Look) -> Finding:
        most = np.abs(look.pixels - read(look.folder / other)).max()
        return f"at most {most:.0f} from {other}", bool(most == 0)

    return check


def same_file(look: Look) -> Finding:
    """What `impasto again` wrote is the same file, byte by byte."""
    same = (look.folder / OUTPUT).read_bytes() == (look.folder / "again.png").read_bytes()
    return "again: the same file" if same else "again: another file", same


def frames(count: int) -> Check:
    """The film has so many frames of the result's size."""

    def check(look: Look) -> Finding:
        with Image.open(look.folder / "film.gif") as film:
            found, size = getattr(film, "n_frames", 1), film.size
        return f"{found} frames", found == count and size == look.pixels.shape[1::-1]

    return check


# ------------------------------------------------------------------------------------------------------------------ cases

ENLARGED = r"the painting has \d+x\d+ pixels and is enlarged to {}"
NEAREST = "is stored for 64 to 1024 pixels, not for {}: the nearest stands in"
TOO_LOW = "photograph resized to the size asked for is {} pixels; encoder lite needs at least 16x16"
SQUEEZED = r"style picture at this size and style scale is 16x11 pixels; encoder lite needs at least 16x16"
STANDS_IN = "vgg19's weights are not on this machine, so lite stands in"
LEFT_OUT = "style mask: its color {} is not in the content mask and is left out"


def _flat_cases() -> Iterator[Case]:
    for name in ("flat", "black", "white", "grey"):
        yield Case(f"{name} photo", f"{name}.png painting.png --iterations 60", checks=(changed(),), real=name == "flat")
        yield Case(f"{name} painting", f"photo.png {name}-painting.png", checks=(changed(),))
        yield Case(f"{name} photo and its own painting", f"{name}.png {name}.png", checks=(changed(0, HARDLY),), flat=True)
    yield Case(
        "flat photo and flat painting",
        "flat.png flat-painting.png",
        flat=True,
        then=(("compare flat.png flat-painting.png out.png -o report.html -q --json", '"structure"'),),
        leaves=("report.html",),
    )
    yield Case("black photo and white painting", "black.png white-painting.png", flat=True)
    yield Case(
        "flat photo, --strength 1",
        "flat.png painting.png --strength 1 --iterations 60",
        checks=(changed(),),
        again=True,
    )
    yield Case("flat photo, --strength 0", "flat.png painting.png --strength 0", checks=(photograph,), flat=True)
    yield Case("flat photo, --init noise", "flat.png painting.png --init noise", checks=(changed(),))
    yield Case("flat photo, a named style", "flat.png starry-night --iterations 60", checks=(changed(),))
    for way in ("luma", "match"):
        keep = f"--keep-colors {way}"
        yield Case(f"flat photo, {keep}", f"flat.png painting.png {keep}", flat=True, checks=(changed(0, HARDLY),))
        yield Case(f"black photo, {keep}", f"black.png painting.png {keep}", flat=True, checks=(changed(0, HARDLY),))
        yield Case(f"flat painting, {keep}", f"photo.png flat-painting.png {keep}", checks=(changed(0.5),))
        yield Case(
            f"flat photo and painting, {keep}", f"flat.png flat-painting.png {keep}", flat=True, checks=(changed(0, HARDLY),)
        )
        yield Case(f"flat photo, {keep} --strength 1", f"flat.png painting.png --strength 1 {keep}", flat=True)
    gatys = "--method gatys --iterations 8"
    yield Case("flat photo, gatys", f"flat.png painting.png {gatys}", says=STANDS_IN, checks=(changed(),))
    for name in ("flat", "black"):
        yield Case(f"{name} photo, bf16", f"{name}.png painting.png --precision bf16", checks=(changed(1),))
        yield Case(f"{name} painting, bf16", f"photo.png {name}-painting.png --precision bf16", checks=(changed(1),))
    yield Case("flat painting, gatys", f"photo.png flat-painting.png {gatys}", says=STANDS_IN, checks=(changed(),))


def _panorama_cases() -> Iterator[Case]:
    for name, size in (("wide", (320, 16)), ("tall", (16, 320))):
        shown = "x".join(map(str, (64, 3) if name == "wide" else (3, 64)))
        yield Case(f"{name} photo", f"{name}.png painting.png --size 320", size, ENLARGED.format(320), (changed(),))
        yield Case(
            f"{name} photo, --size original",
            f"{name}.png painting.png --size original --iterations 6",
            tuple(2 * side for side in size),
            ENLARGED.format(640),
            (changed(),),
        )
        yield Case(f"{name} photo at 64", f"{name}.png painting.png", None, TOO_LOW.format(shown), real=name == "wide")
        yield Case(f"{name} painting", f"photo.png {name}-painting.png", checks=(changed(),))
        other = "tall" if name == "wide" else "wide"
        yield Case(
            f"{name} photo, {other} painting",
            f"{name}.png {other}-painting.png --size 320",
            size,
            checks=(changed(),),
            again=True,
            then=((f"compare {name}.png {other}-painting.png out.png -o report.html -q --json", '"structure"'),),
            leaves=("report.html",),
        )
        yield Case(
            f"{name} photo, --strength 0", f"{name}.png painting.png --size 320 --strength 0", size, checks=(photograph,)
        )
        yield Case(
            f"{name} photo, --keep-colors luma",
            f"{name}.png {name}-painting.png --size 320 --keep-colors luma",
            size,
            checks=(same_chroma,),
        )
        yield Case(f"{name} photo, a named style", f"{name}.png great-wave --size 320", size, checks=(changed(),))
        yield Case(
            f"{name} painting, gatys",
            f"photo.png {name}-painting.png --method gatys --iterations 6",
            says=STANDS_IN,
            checks=(changed(),),
        )
    yield Case(
        "wide photo, a mask",
        "wide.png checkers.png --size 320 --mask mask-wide.png=painting.png",
        (320, 16),
        (ENLARGED.format(320),) * 2,
    )
    yield Case(
        "wide photo, a mask of a photograph",
        "wide.png painting.png --size 320 --mask mask-left.png=keep",
        None,
        "mask mask-left.png is 192x128|mask is 192x128 pixels",
    )


def _tiny_cases() -> Iterator[Case]:
    small = ENLARGED.format("{}")
    yield Case("32-pixel photo", "32.png painting.png --size original", (32, 32), checks=(changed(),), real=True)
    yield Case("32-pixel photo at 16", "32.png painting.png --size 16", (16, 16), checks=(changed(),))
    yield Case("32-pixel photo at 128", "32.png painting.png --size 128", (128, 128), checks=(changed(),))
    yield Case("32-pixel painting", "photo.png 32-painting.png", says=small.format(64), checks=(changed(),))
    yield Case(
        "32-pixel photo and painting",
        "32.png 32-painting.png --size original",
        (32, 32),
        checks=(changed(),),
        again=True,
    )
    yield Case(
        "32-pixel photo, a named style", "32.png starry-night --size original", (32, 32), NEAREST.format(32), (changed(),)
    )
    yield Case(
        "32-pixel photo, --strength 0", "32.png painting.png --strength 0 --size original", (32, 32), checks=(photograph,)
    )
    yield Case(
        "32-pixel photo, luma", "32.png 32-painting.png --keep-colors luma --size original", (32, 32), checks=(same_chroma,)
    )
    yield Case("one step", "photo.png painting.png --iterations 1", again=True)


def _own_painting_cases() -> Iterator[Case]:
    hardly = (changed(0, HARDLY),)
    yield Case("the photo as its own painting", "photo.png photo.png --iterations 40", checks=hardly, again=True)
    yield Case("the photo's copy as its painting", "photo.png copy.png --iterations 40", checks=hardly)
    yield Case("the photo as its painting, twice", "photo.png photo.png copy.png --blend 1 3", checks=hardly)
    for options in ("--strength 0.1", "--keep-colors luma", "--keep-colors match", "--size original"):
        size = (192, 128) if "original" in options else (64, 43)
        yield Case(f"the photo as its own painting, {options}", f"photo.png photo.png {options}", size, checks=hardly)
    yield Case(
        "the photo as its own painting, --strength 1", "photo.png photo.png --strength 1", checks=(changed(0, 4 * HARDLY),)
    )


def _grey_cases() -> Iterator[Case]:
    for name in ("bw", "bilevel", "deep", "alpha"):
        line = f"photo.png {name}-painting.png --iterations 40"
        yield Case(f"{name} painting", line, checks=(changed(), drained), real=name == "bilevel")
    for way in ("luma", "match"):
        keep = f"--keep-colors {way}"
        yield Case(f"bw painting, {keep}", f"photo.png bw-painting.png {keep}", checks=(changed(),))
        yield Case(
            f"bw photo, {keep}", f"bw-photo.png painting.png {keep}", checks=(changed(), *([colourless] * (way == "luma")))
        )
    yield Case("bw photo", "bw-photo.png painting.png", checks=(changed(),))
    yield Case("bilevel photo", "bilevel-photo.png painting.png", checks=(changed(),))
    yield Case("bilevel photo and painting", "bilevel-photo.png bilevel-painting.png", checks=(changed(),))


def _mask_cases() -> Iterator[Case]:
    for name in ("left", "small", "tiny", "large", "almost", "bilevel"):
        lines = f"photo.png painting.png --mask mask-{name}.png=keep", f"photo.png --mask mask-{name}.png=painting.png"
        sharp = name not in ("small", "tiny", "almost")  # the others are resampled to the photograph's size
        yield Case(f"keep, mask-{name}", lines[0], checks=(kept_left,) if sharp else (changed(),), real=name == "small")
        yield Case(f"style, mask-{name}", lines[1], checks=(kept_right,) if sharp else (changed(),))
    square = "mask is 128x128 pixels; its aspect ratio must be that of its picture, 192x128"
    nothing = "mask is black everywhere, so it selects nothing"
    for what in ("keep", "checkers.png", "starry-night"):
        mask = f"photo.png painting.png --mask mask-{{}}.png={what}"
        yield Case(f"square mask, {what}", mask.format("square"), None, square)
        yield Case(f"empty mask, {what}", mask.format("none"), None, nothing, real=what == "keep")
        yield Case(f"mask of one pixel, {what}", mask.format("point"), checks=(changed(),))
        yield Case(f"faint mask, {what}", mask.format("faint"), checks=(changed(),))
        yield Case(f"half-grey mask, {what}", mask.format("half"), checks=(changed(),))
    yield Case("empty mask and no other style", "photo.png --mask mask-none.png=painting.png", None, nothing)
    yield Case("full mask, keep", "photo.png painting.png --mask mask-all.png=keep", None, "the masks leave nothing to paint")
    yield Case(
        "full mask, another style",
        "photo.png painting.png --mask mask-all.png=checkers.png",
        like="photo.png checkers.png",
    )
    yield Case(
        "full mask and no other style",
        "photo.png --mask mask-all.png=checkers.png",
        like="photo.png checkers.png",
    )
    yield Case(
        "mask of one pixel and no other style", "photo.png --mask mask-point.png=painting.png", checks=(changed(0, HARDLY),)
    )
    yield Case("faint mask and no other style", "photo.png --mask mask-faint.png=painting.png", checks=(changed(0, 1),))
    yield Case(
        "two masks, one of them keep",
        "photo.png painting.png --mask mask-half.png=checkers.png --mask mask-large.png=keep",
        checks=(kept_left,),
        again=True,
    )
    yield Case(
        "one mask twice", "photo.png --mask mask-left.png=checkers.png --mask mask-left.png=painting.png", checks=(kept_right,)
    )
    yield Case(
        "a keep mask under a full one",
        "photo.png --mask mask-left.png=keep --mask mask-all.png=checkers.png",
        like="photo.png checkers.png",
    )
    yield Case(
        "a named style, a keep mask",
        "photo.png great-wave --mask mask-left.png=keep",
        checks=(kept_left,),
        again=True,
    )
    yield Case("a named style in a mask", "photo.png --mask mask-left.png=great-wave", checks=(kept_right,), again=True)
    yield Case(
        "flat photo, a keep mask", "flat.png painting.png --mask mask-left.png=keep --iterations 40", checks=(kept_left,)
    )
    yield Case(
        "mask and luma", "photo.png painting.png --mask mask-left.png=keep --keep-colors luma", checks=(kept_left, same_chroma)
    )
    yield Case("mask and match", "photo.png --mask mask-left.png=checkers.png --keep-colors match", checks=(kept_right,))
    yield Case(
        "mask and --strength 0", "photo.png painting.png --mask mask-left.png=checkers.png --strength 0", checks=(photograph,)
    )
    for more in ("--strength 1", "--init noise", "--method gatys"):
        line, says = f"photo.png painting.png --mask mask-left.png=keep {more}", STANDS_IN if "gatys" in more else ""
        yield Case(f"a keep mask and {more}", line, says=says, checks=(kept_left,))
    yield Case("the photo as a mask", "photo.png painting.png --mask photo.png=checkers.png", checks=(changed(),))


def _colour_mask_cases() -> Iterator[Case]:
    def pair(here: str, there: str, more: str = "") -> str:
        return f"photo.png painting.png --content-mask {here}.png --style-mask {there}.png {more}"

    partner = "content mask: its color {} is not in the style mask, whose colors are {}"
    either = "(#ff0000, #0000ff|#0000ff, #ff0000)"
    ratio = "{} mask is 90x90 pixels; its aspect ratio must be"
    yield Case("colour masks", pair("here", "there"), checks=(changed(),), again=True)
    yield Case("small content mask, large style mask", pair("here-small", "there-large"), checks=(changed(),))
    yield Case("square content mask", pair("here-square", "there"), None, ratio.format("content"), real=True)
    yield Case("square style mask", pair("here", "there-square"), None, ratio.format("style"))
    yield Case(
        "a content colour without partner",
        pair("here-green", "there"),
        None,
        partner.format("#00ff00", either),
        real=True,
    )
    yield Case(
        "a style colour without partner", pair("here", "there-three"), says=LEFT_OUT.format("#00ff00"), checks=(changed(),)
    )
    yield Case("other colours on both sides", pair("here-green", "there-green", "--keep-colors luma"), checks=(same_chroma,))
    yield Case("a thin part of the painting", pair("here", "there-thin"), checks=(changed(),))
    yield Case("a thin part, --style-scale 0.25", pair("here", "there-thin", "--style-scale 0.25"), checks=(changed(),))
    yield Case(
        "empty content and style masks",
        pair("mask-none", "there-none"),
        like="photo.png painting.png",
    )
    yield Case("full content and style masks", pair("mask-all", "there-all"), checks=(changed(),))
    yield Case("an empty content mask", pair("mask-none", "there"), None, partner.format("#000000", either))
    yield Case("an empty style mask", pair("here", "there-none"), None, partner.format("#ff0000|#0000ff", "#000000"))
    yield Case(
        "full content mask, empty style mask", pair("mask-all", "there-none"), None, partner.format("#ffffff", "#000000")
    )
    yield Case("a photograph as content mask", pair("photo", "there"), None, "content mask has (no flat|[0-9]+) colors")
    yield Case(
        "colour masks, a blend",
        pair("here", "there").replace("g.png", "g.png checkers.png", 1),
        None,
        "style_mask names regions of one painting, and this is a blend",
    )
    yield Case(
        "colour masks, flat photo",
        "flat.png painting.png --content-mask here.png --style-mask there.png --iterations 40",
        checks=(changed(),),
    )
    yield Case("colour masks, gatys", pair("here", "there", "--method gatys"), says=STANDS_IN, checks=(changed(),))
    yield Case(
        "colour masks, a named style",
        "photo.png udnie --content-mask here.png --style-mask there.png",
        None,
        "style_mask needs the painting itself",
    )
    yield Case("colour masks and weights", pair("here", "there", "--mask mask-left.png=keep"), None, "two ways to name regions")
    yield Case(
        "colour masks, no style",
        "photo.png --content-mask here.png --style-mask there.png",
        None,
        "a photograph and a painting are needed",
    )


def _blend_cases() -> Iterator[Case]:
    two = "photo.png painting.png checkers.png"
    count = "blend must have one number for each of the {} styles, not {}"
    yield Case("a blend of two", two, checks=(changed(),), again=True)
    yield Case(
        "a blend that adds up to 10",
        f"{two} --blend 7 3",
        like=f"{two} --blend 0.7 0.3",
    )
    yield Case(
        "a blend of nearly nothing",
        f"{two} --blend 1e-300 1e-300",
        like=f"{two}",
    )
    yield Case(
        "a blend with a 0",
        f"{two} --blend 0 1",
        like="photo.png checkers.png",
    )
    yield Case(
        "a blend of one",
        "photo.png painting.png --blend 0.3",
        like="photo.png painting.png",
    )
    yield Case("more numbers than styles", f"{two} --blend 0.5 0.3 0.2", None, count.format(2, 3), real=True)
    yield Case("fewer numbers than styles", f"{two} --blend 0.5", None, count.format(2, 1))
    yield Case("two numbers for one style", "photo.png painting.png --blend 0.5 0.5", None, count.format(1, 2))
    yield Case("a blend for no styles", "photo.png --mask mask-left.png=painting.png --blend 0.5 0.5", None, "blend")
    for numbers in ("0 0", "0.0 -0"):
        yield Case(
            f"--blend {numbers}", f"{two} --blend {numbers}", None, "--blend must have a number above 0", real=numbers == "0 0"
        )
    yield Case("--blend 0 for one style", "photo.png painting.png --blend 0", None, "--blend must have a number above 0")
    yield Case("a negative blend", f"{two} --blend 2 -1", None, "--blend must be at least 0.*-1")
    yield Case("a blend of nan", f"{two} --blend nan 1", None, "--blend must be a finite number|--blend.*nan")
    yield Case("a blend of named styles", "photo.png starry-night the-scream --blend 1 2", checks=(changed(),), again=True)
    yield Case("a blend of a name and a painting", "photo.png starry-night painting.png", checks=(changed(),), again=True)
    yield Case(
        "a blend of names, one too far",
        "photo.png starry-night udnie --style-scale 0.25",
        says=(f"starry-night {NEAREST.format(16)}", f"udnie {NEAREST.format(16)}"),
        checks=(changed(),),
    )
    yield Case(
        "a blend of names in a mask", "photo.png starry-night udnie --mask mask-left.png=checkers.png", checks=(changed(),)
    )
    yield Case(
        "a blend of names, luma",
        "photo.png starry-night udnie --keep-colors luma",
        None,
        "keep_colors needs the painting itself",
    )
    yield Case("a blend, luma", f"{two} --keep-colors luma", checks=(same_chroma,))
    yield Case("a blend with a flat painting", "photo.png painting.png flat-painting.png", checks=(changed(),))
    yield Case("a blend of twelve", f"photo.png {'painting.png ' * 6}{'checkers.png ' * 6}", checks=(changed(),))


def _strength_cases() -> Iterator[Case]:
    for more in (
        "",
        "--init noise",
        "--keep-colors luma",
        "--keep-colors match",
        "--method gatys",
        "--style-scale 4",
        "--style-weight 0",
    ):
        says = STANDS_IN if "gatys" in more else ""
        yield Case(
            f"--strength 0 {more}".strip(),
            f"photo.png painting.png --strength 0 {more}",
            says=says,
            checks=(photograph,),
            real=not more,
        )
    yield Case(
        "--strength 0 --size original",
        "photo.png painting.png --strength 0 --size original",
        (192, 128),
        checks=(photograph,),
        again=True,
    )
    yield Case(
        "--strength 0, enlarged",
        "photo.png painting.png --strength 0 --size 300",
        (300, 200),
        checks=(photograph,),
        again=True,
    )
    yield Case("--strength 0, a named style", "photo.png starry-night --strength 0", checks=(photograph,), again=True)
    yield Case("--strength 0.000001", "photo.png painting.png --strength 0.000001", checks=(changed(0, 1),))
    yield Case("--strength 1", "photo.png painting.png --strength 1", checks=(changed(),), again=True)
    yield Case("--strength 1 --init noise", "photo.png painting.png --strength 1 --init noise", checks=(changed(),))
    yield Case("--content-weight 0 --strength 0.5", "photo.png painting.png --content-weight 0", checks=(changed(),))
    line = "photo.png painting.png --style-weight 0 --palette-weight 0"
    yield Case("no style", line, checks=(changed(0, 1),))


def _scale_cases() -> Iterator[Case]:
    small = ENLARGED.format
    yield Case(
        "--style-scale 4, tiny painting",
        "photo.png 32-painting.png --style-scale 4",
        says=small(256),
        checks=(changed(),),
        then=(("info out.png", "style-scale"),),
        real=True,
    )
    yield Case("--style-scale 4, tiny painting, --quiet", "photo.png 32-painting.png --style-scale 4 -q", checks=(changed(),))
    yield Case("--style-scale 4", "photo.png painting.png --style-scale 4", says=small(256), checks=(changed(),))
    yield Case("--style-scale 4, a named style", "photo.png udnie --style-scale 4", checks=(changed(),))
    yield Case(
        "--style-scale 4, gatys",
        "photo.png 32-painting.png --style-scale 4 --method gatys",
        says=(STANDS_IN, small(256)),
        checks=(changed(),),
    )
    yield Case("--style-scale 0.25", "photo.png painting.png --style-scale 0.25", checks=(changed(),), again=True)
    yield Case(
        "--style-scale 0.25 --size 16", "32.png painting.png --style-scale 0.25 --size 16", (16, 16), checks=(changed(),)
    )
    yield Case("--style-scale 0.25, wide painting", "photo.png wide-painting.png --style-scale 0.25", checks=(changed(),))
    yield Case("--style-scale 0.25, 32-pixel painting", "photo.png 32-painting.png --style-scale 0.25", checks=(changed(),))
    yield Case(
        "--style-scale 0.25, a named style", "photo.png udnie --style-scale 0.25", says=NEAREST.format(16), checks=(changed(),)
    )
    yield Case("--style-scale 0.25, gatys", "photo.png painting.png --style-scale 0.25 --method gatys", None, SQUEEZED)
    yield Case("--style-scale 0.2", "photo.png painting.png --style-scale 0.2", None, "--style-scale must be at least 0.25")
    yield Case("--style-scale 5", "photo.png painting.png --style-scale 5", None, "--style-scale must be at most 4")


def _making_cases() -> Iterator[Case]:
    line = "photo.png painting.png --iterations {} {}"
    yield Case("--frames film.gif, one step", line.format(1, "--frames film.gif"), checks=(frames(1),), leaves=("film.gif",))
    yield Case(
        "--frames, one step",
        line.format(1, "--frames making"),
        checks=(same_as("making/0001.png"),),
        leaves=("making", "making/0001.png"),
    )
    yield Case("--frames film.mp4, one step", line.format(1, "--frames film.mp4"), leaves=("film.mp4",), skip=_why_no_film())
    yield Case(
        "--frames film.gif, --strength 0",
        line.format(9, "--frames film.gif --strength 0"),
        checks=(frames(1), photograph),
        leaves=("film.gif",),
    )
    yield Case(
        "--frames, --strength 0",
        line.format(9, "--frames making --strength 0"),
        checks=(same_as("making/0001.png"),),
        leaves=("making", "making/0001.png"),
    )
    yield Case("--frames film.gif, flat", "flat.png flat.png --frames film.gif", flat=True, leaves=("film.gif",))
    yield Case(
        "--frames film.gif of a panorama",
        "wide.png wide-painting.png --size 640 --iterations 3 --frames film.gif",
        (640, 32),
        leaves=("film.gif",),
    )
    yield Case("--preview 999", line.format(4, "--preview 999"))
    yield Case(
        "--preview at the last step",
        line.format(4, "--preview 4"),
        checks=(same_as("out-step00004.png"),),
        leaves=("out-step00004.png",),
    )
    yield Case("--preview, --strength 0", line.format(4, "--preview 1 --strength 0"), checks=(photograph,))
    yield Case(
        "--frames, a refusal", "photo.png painting.png --frames making --mask mask-none.png=keep", None, "black everywhere"
    )
    yield Case(
        "--frames, a late refusal",
        "photo.png painting.png --frames making --style-scale 0.25 --method gatys",
        None,
        SQUEEZED,
    )
    yield Case(
        "--frames and --preview, a refusal",
        "photo.png painting.png --frames making --preview 5 -o taken.png",
        None,
        "taken-step00005.png exists",
    )
    for place, says in (
        ("n" * 300, "too long"),
        ("nowhere/making", "no such"),
        ("photo.png", "would replace the input photo.png"),
    ):
        yield Case(f"--frames {place[:20]}", f"photo.png painting.png --frames {place}", None, says)
    for name in ("photo.gif", "mask.gif"):
        line = f"photo.gif painting.png --mask mask.gif=keep --frames {name} --overwrite"
        yield Case(f"--frames over {name}, an input", line, None, f"would replace the input {name}")


def _why_no_film() -> str:
    return "" if importlib.util.find_spec("imageio_ffmpeg") else "needs the video extra"


def cases() -> list[Case]:
    """Every case, in the order of the table."""
    groups = (
        _flat_cases,
        _panorama_cases,
        _tiny_cases,
        _own_painting_cases,
        _grey_cases,
        _mask_cases,
        _colour_mask_cases,
        _blend_cases,
        _strength_cases,
        _scale_cases,
        _making_cases,
    )
    return [case.whole for group in groups for case in group()]


# ---------------------------------------------------------------------------------------------------------------- running


def run(case: Case, folder: Path, *, real: bool = False) -> Tried:
    """Run a case and what follows it in the folder, look at what they made, and put the folder back as it was."""
    with bad.restored(folder) as changes, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        outcome = bad.call(case.words, folder, real=real)
        measures: tuple[str, ...] = ()
        problems: list[str] = []
        if case.size and outcome.code == 0:
            problems += _follow(case, folder, real=real)
            measures, found = look_at(case, folder)
            problems += found
    outcome = replace(outcome, changes=tuple(changes))
    problems = [*judge(case, outcome), *problems, *(f"warning: {one.message}" for one in warned)]
    return Tried(outcome, measures, tuple(problems))


def _follow(case: Case, folder: Path, *, real: bool) -> Iterator[str]:
    """Run what follows; yield what is wrong with it."""
    for line, says in case.then:
        words = shlex.split(line)
        if words[0].endswith(".png"):
            words = [word for word in replace(case, line=line).words if word != "--json"]
        outcome = bad.call(words, folder, real=real)
        if outcome.code != 0 or outcome.stderr or not re.search(says, outcome.stdout):
            yield f"then {line}: exit code {outcome.code}, {outcome.stdout + outcome.stderr!r}"


def look_at(case: Case, folder: Path) -> tuple[tuple[str, ...], list[str]]:
    """Measures of the result, and what is wrong with it."""
    try:
        pixels = read(folder / OUTPUT)
        for name in case.leaves:
            if name.endswith((".png", ".gif")):
                read(folder / name)
    except (OSError, ValueError) as error:
        return (), [f"no complete picture: {error}"]
    height, width = pixels.shape[:2]
    spread = float(pixels.std(axis=(0, 1)).max())
    measures = [f"{width}x{height}", f"{pixels.min():.0f}..{pixels.max():.0f}", f"spread {spread:.1f}"]
    problems = [] if (width, height) == case.size else [f"{width}x{height}, expected {case.size}"]
    if spread < FLAT and not case.flat:
        problems.append("one flat colour")
    if problems:
        return tuple(measures), problems
    look = Look(folder, pixels, photograph_at(folder / shlex.split(case.line)[0], (width, height)))
    for check in case.checks:
        measure, good = check(look)
        measures.append(measure)
        problems += [] if good else [measure]
    return tuple(measures), problems


def read(file: Path) -> Floats:
    """A whole picture as HxWx3 levels. Raises OSError for one that is cut short, ValueError for one that is not in 8-bit RGB."""
    with Image.open(file) as image:
        image.load()
        if image.mode not in ("RGB", "P") or (file.suffix == ".png" and image.mode != "RGB"):
            raise ValueError(f"{file.name} has mode {image.mode}")
        return np.asarray(image.convert("RGB")).astype(np.float64)


def photograph_at(file: Path, size: tuple[int, int]) -> Floats:
    """A photograph as HxWx3 levels, resampled to (width, height) by Pillow in floating point."""
    with Image.open(file) as image:
        bands = [band.convert("F") for band in image.convert("RGB").split()]
    if size != bands[0].size:
        bands = [band.resize(size, Image.Resampling.BICUBIC) for band in bands]
    return np.stack([np.asarray(band, np.float64) for band in bands], axis=2).clip(0, 255)


# ---------------------------------------------------------------------------------------------------------------- judging


def judge(case: Case, outcome: bad.Outcome) -> list[str]:
    """Everything that is wrong with how the command went; of a refusal, what `bad_inputs` says."""
    if not case.size:
        return bad.judge(bad.Case(case.name, case.words, "".join(case.patterns)), outcome)
    problems = [] if outcome.code == 0 else [f"exit code {outcome.code}, expected 0"]
    if "Traceback (most recent call last)" in outcome.stderr + outcome.stdout:
        return [*problems, "traceback"]
    expected = {f"left {name}" for name in case.leaves}
    problems += sorted(f"has not {change}" for change in expected - set(outcome.changes))
    problems += sorted(set(outcome.changes) - expected)
    return [*problems, *_judge_notes(case, outcome), *_judge_output(case, outcome)]


def _notes(outcome: bad.Outcome) -> list[str]:
    return [line for line in outcome.stderr.splitlines() if not PROGRESS.fullmatch(line)]


def _judge_notes(case: Case, outcome: bad.Outcome) -> Iterator[str]:
    """Nothing on standard error but progress and the notes that the case should have."""
    notes = _notes(outcome)
    if len(notes) != len(case.patterns):
        yield f"{len(notes)} notes, expected {len(case.patterns)}: {notes}"
        return
    for note, says in zip(notes, case.patterns, strict=True):
        if not (note.startswith("impasto: ") and re.search(says, note)):
            yield f"the note does not match {says!r}: {note}"


def _judge_output(case: Case, outcome: bad.Outcome) -> Iterator[str]:
    """A line that names the file (not with --quiet), and one of JSON that says the same, with finite losses."""
    quiet = "-q" in case.words
    *said, last = outcome.stdout.splitlines() or [""]
    width, height = case.size or (0, 0)
    if len(said) != (not quiet) or (said and not said[0].startswith(f"wrote {OUTPUT} ({width}x{height}) in ")):
        yield f"not one line that says what was written: {said}"
    try:
        summary = json.loads(last, parse_constant=_no_constant)
    except ValueError as error:
        yield f"no line of JSON: {error}"
        return
    found: Mapping[str, Any] = {name: summary.get(name) for name in ("output", "width", "height", "exit_code")}
    if found != {"output": OUTPUT, "width": width, "height": height, "exit_code": 0}:
        yield f"the JSON says {found}"
    if not quiet and [f"impasto: {note}" for note in summary.get("notes", ())] != _notes(outcome):
        yield f"the JSON's notes are {summary.get('notes')}"


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} among its numbers")


def report(case: Case, tried: Tried, *, real: bool) -> str:
    """Two lines of the table: the case with its exit code and verdict, and its measures or the last line it said."""
    verdict = "ok" if not tried.problems else "BAD: " + "; ".join(tried.problems)
    said = tried.outcome.stderr.strip().rpartition("\n")[2]
    more = [*tried.measures, *([said] if said else [])]
    return (
        f"{tried.outcome.code!s:>4}  {'process' if real else ''!s:7}  {case.name:45}  {verdict}\n      {'  '.join(more)[:220]}"
    )


def main(words: Sequence[str]) -> int:
    """Run the cases whose names hold all of `words`; print the table. Returns 1 if any went wrong."""
    chosen = [case for case in cases() if all(word in case.name for word in words)]
    bad_ones = count = 0
    with tempfile.TemporaryDirectory(prefix="impasto-odd-inputs-") as name:
        make_files(Path(name))
        for case in chosen:
            if case.skip:
                print(f"   -           {case.name:45}  skipped: {case.skip}")
                continue
            for real in (False, True)[: 1 + case.real]:
                tried = run(case, Path(name), real=real)
                count, bad_ones = count + 1, bad_ones + bool(tried.problems)
                print(report(case, tried, real=real), flush=True)
    print(f"\n{count} runs of {sum(not case.skip for case in chosen)} cases, {bad_ones} bad")
    return 1 if bad_ones else 0


if __name__ == "__main__":
    sys.path.insert(0, str(bad.ROOT))
    sys.exit(main(sys.argv[1:]))
