"""Command lines: of every command, nearly right or wild. What an accepted line paints is small."""

from __future__ import annotations

import functools
import re

from fuzz_cases import PIXELS, ROOT, Case, Random, others

COMMANDS = (
    "",
    "again",
    "compare",
    "demo",
    "export",
    "info",
    "resume",
    "sheet",
    "style make",
    "style show",
    "styles",
    "weights",
)
FILES = ("photo.png", "painting.png", "mask.png", "text.txt", "night.style", "made.png", "folder", "missing.png", "empty.png")
STYLES = ("starry-night", "udnie", "painting.png", "night.style", "starry-nihgt")
OUTPUTS = (
    *("out.png", "out.png", "out.jpg", "out.webp", "out.tif", "out.gif", "out.html", "out.style", "out", "-", "photo.png"),
    *(
        "folder/x.png",
        "nowhere/x.png",
        "folder",
        ".",
        "..",
        "",
        "x" * 300 + ".png",
        "a\0.png",
        "a\n.png",
        "\udcff.png",
        "写真.png",
        "../x.png",
    ),
)
TEXTS = (
    *("", " ", "-", "--", "=", "--=", "---", "-x", "-oq", "--size=", "--no-size", "--no-overwrite", "--help=1", "@x", "a=b=c"),
    *(
        "é",
        "\u202e",
        "\0",
        "\n",
        "\r\n",
        "\x1b[31m",
        "\ud800",
        "\udcff",
        "x" * 100_000,
        "[bold]",
        "[/bold]",
        "[",
        "{size}",
        "{",
        "%s",
    ),
    *(
        "http://example.invalid/x.png",
        "file:///dev/null",
        "~",
        "~nobody",
        "$HOME",
        "*",
        "/dev/null",
        "/",
        ".",
        "True",
        "null",
        "None",
    ),
)
NUMBERS = (
    *(
        "0",
        "1",
        "-1",
        "2",
        "0.5",
        "-0",
        "1.5",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e-999",
        "1e308",
        "-1e5",
        "16",
        "20",
        "33",
        "64",
    ),
    *(
        "1_0",
        "0x10",
        "1e1",
        "\u0663\u0662",
        "\u00bd",
        "\uff13\uff12",
        "9" * 5000,
        "0." + "3" * 3000,
        "65536",
        "2147483648",
        "1" + "0" * 400,
        "+32",
        " 32",
        "32 ",
    ),
)
WORDS = (
    *(
        "content",
        "noise",
        "instant",
        "photo.png",
        "impasto",
        "gatys",
        "auto",
        "lite",
        "vgg16",
        "vgg19",
        "cpu",
        "cuda",
        "mps",
        "fp32",
    ),
    *(
        "bf16",
        "luma",
        "match",
        "off",
        "max",
        "average",
        "zero",
        "replicate",
        "normal",
        "draft",
        "best",
        "original",
        "2GB",
        "1KB",
        "0",
    ),
    *(
        "relu1_1",
        "relu1_1,relu3_1",
        "relu9_9",
        "trunk3_1",
        ",",
        "mask.png=painting.png",
        "mask.png=keep",
        "mask.png=",
        "=keep",
        "caffe",
    ),
    *("-1GB", "1e999GB", "list", "fetch", "path", "import", "CC0"),
)
COUNTS = ("--size", "--iterations", "--init-size", "--preview", "--columns")
SLOW = ("--tune", "--help-all")
SMALL = ("16", "20", "32", "33", "1", "2", "0", "-1", "9999999999", "original", "nan", "1.5", "", "1e1", "\u0662")
SWITCHES = (
    "--overwrite",
    "--quiet",
    "-q",
    "--json",
    "--no-metadata",
    "--keep-exif",
    "--dry-run",
    "--no-painting",
    "--help",
    "--version",
)


@functools.cache
def flags() -> tuple[str, ...]:
    """Every flag that docs/commandline.md names."""
    found = re.findall(r"--[a-z][a-z-]+", (ROOT / "docs" / "commandline.md").read_text(encoding="utf-8"))
    return tuple(sorted({*found, "-o", "-q", "-h"} - {*SLOW}))


def _value(flag: str, rng: Random) -> str:
    if flag in COUNTS:
        return rng.choice(SMALL)
    if flag in ("-o", "--output", "--frames", "--codes"):
        return rng.choice((*OUTPUTS, "frames", "film.gif", "film.mp4"))
    if flag in ("--content-mask", "--style-mask", "--weights", "--style", "--photos", "--init"):
        return rng.choice((*FILES, *STYLES, *WORDS))
    return rng.choice((rng.choice(WORDS), rng.choice(NUMBERS), rng.choice(FILES), rng.choice(TEXTS)))


def _flags(rng: Random, most: int) -> list[str]:
    words: list[str] = []
    for _ in range(rng.randrange(most + 1)):
        flag = rng.choice((rng.choice(flags()), rng.choice(flags()), rng.choice(SWITCHES)))
        if rng.random() < 0.03:
            flag = flag[: rng.randrange(2, len(flag) + 1)] + rng.choice(("", "x", "\u202e", "-"))
        words.append(flag)
        if flag not in SWITCHES or rng.random() < 0.05:
            value = _value(flag, rng)
            if rng.random() < 0.2:
                words[-1] = f"{flag}={value}"
            elif rng.random() < 0.95:
                words.append(value)
    return words


def _places(command: str, rng: Random) -> list[str]:
    """The words that stand in their places."""
    photo, other = rng.choice(("photo.png", "photo.png", *FILES, "-")), rng.choice((*STYLES, *FILES))
    if rng.random() < 0.15:
        return [rng.choice((*FILES, *TEXTS, *WORDS)) for _ in range(rng.randrange(4))]
    if command in ("", "sheet"):
        return [photo, *rng.choices((*STYLES, "painting.png"), k=rng.choice((1, 1, 1, 2)))]
    if command == "compare":
        return [photo, "painting.png", rng.choice(("made.png", "a=made.png", "=made.png", *FILES))]
    if command in ("again", "info", "resume"):
        return [rng.choice(("made.png", *FILES))]
    if command == "weights":
        return [rng.choice(("list", "fetch", "path", "import", "x")), *rng.choices((*WORDS, *FILES), k=rng.choice((0, 1, 1)))]
    return [other] if command.startswith("style ") else []


def made(rng: Random) -> Case:
    """A command line and its files."""
    if rng.random() < 0.1:
        words = [rng.choice((*TEXTS, *NUMBERS, *WORDS, *FILES, *COMMANDS[1:], *flags())) for _ in range(rng.randrange(7))]
    else:
        command = rng.choice((*COMMANDS, "", "", ""))
        words = [*command.split(), *_places(command, rng)]
        more = _flags(rng, 4)
        words = [*words, *more] if rng.random() < 0.9 else [*more, *words]
    return Case("line", "", files(), tuple(_small(words)), stdin=rng.choice((b"", b"x", others.basic()[others.PHOTO])))


def _small(words: list[str]) -> list[str]:
    """The words, with options that keep a painting small where none is given, and an export that is refused before it takes long."""
    given = {word.partition("=")[0] for word in words}
    command = words[0] if words else ""
    if command == "export":
        return [*words, "--strength", "0"]
    if command in ("styles", "style", "weights", "info", "resume", "compare") or not words:
        return words
    words = [word for word in words if word != "--"]  # what follows it would not be options
    words += [] if "--size" in given else ["--size", "32"]
    words += [] if "--iterations" in given or command == "sheet" else ["--iterations", "1"]
    return words + ([] if "--max-pixels" in given or command == "sheet" else ["--max-pixels", str(PIXELS)])


@functools.cache
def files() -> dict[str, bytes]:
    """The files that the lines name. A name that ends in / is a folder."""
    return {
        **others.basic(),
        "text.txt": b"This is not an image.\n",
        "empty.png": b"",
        "night.style": others.styles()[0],
        "made.png": others.recorded(others.settings(), ".png"),
        "folder/": b"",
    }
