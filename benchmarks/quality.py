"""Paint many pairs in several settings, measure them all, and write one table and contact sheets.

    python benchmarks/quality.py --pairs PHOTOS PAINTINGS -o OUT [--table docs/quality.md]
        [--setting NAME[=WORDS] ...] [--pictures NAME=DIR ...] [--sample 24 | --zip] [--size 256] [--judge lite] [--sheets GLOB]

A setting is a name and words of the command line: "gatys-lite=--method gatys --encoder lite". Each picture is painted by a process of
its own, whose seconds and peak memory count from start to exit. `--pictures NAME=DIR` adds a folder of pictures made by anything,
named PHOTO--PAINTING.png (or .jpg, .webp, .tif), for instance another version's OUT/NAME. What OUT holds already is not painted
again: an interrupted run goes on. After changing the code, name another OUT.

PHOTOS and PAINTINGS are folders. Pairs are a sample of all combinations, the same every time, in which every picture comes up as often
as any other (--sample 0: all of them); --zip pairs the first with the first, and so on. Seeds are fixed: the command's default is 0.
Pictures are measured at --size, or at the size their setting's own words name.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from statistics import fmean, median

import torch
from machine import processor
from PIL import Image

from impasto import __version__, files
from impasto.errors import ImpastoError
from impasto.pictures import SUFFIXES
from impasto.report.comparison import JudgeNetwork, MeasuredResult, load_judge, prepare
from impasto.report.contact import cell, contact_sheet

SETTINGS = ["default", "gatys-lite=--method gatys --encoder lite"]
ROWS_A_SHEET = 6
# Each measure: what it is called, and whether the largest, the smallest or the largest by magnitude is the worst.
MEASURES = {
    "content": max,
    "style_mean": max,
    "moments": max,
    "structure": min,
    "palette": max,
    "grain": max,
    "weave": max,
    "seconds": max,
    "memory_mb": max,
}
UNITS = {"seconds": "seconds", "memory_mb": "peak memory, MB", "style_mean": "style"}


@dataclass(frozen=True)
class Pair:
    """A photograph and a painting."""

    photo: Path
    painting: Path

    @property
    def name(self) -> str:
        """What their pictures are called in every folder."""
        return f"{self.photo.stem}--{self.painting.stem}"


@dataclass(frozen=True)
class Setting:
    """A column: a folder of pictures, and the words that make those missing (None: somebody else made them)."""

    name: str
    folder: Path
    words: tuple[str, ...] | None
    size: int

    def picture(self, pair: Pair) -> Path | None:
        """The pair's picture, if there is one."""
        files = (self.folder / f"{pair.name}{suffix}" for suffix in SUFFIXES)
        return next((file for file in files if file.exists()), None)


# ------------------------------------------------------------------------------------------------------------------ what to do


def pictures_in(folder: Path) -> list[Path]:
    """Every picture file of a folder, by name."""
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not found:
        sys.exit(f"{folder} holds no pictures")
    return found


def choose_pairs(photos: Sequence[Path], paintings: Sequence[Path], *, sample: int, zipped: bool) -> list[Pair]:
    """Pairs in a fixed order. sample: how many of all combinations, 0 for all."""
    if zipped:
        return [Pair(*both) for both in zip(photos, paintings, strict=False)]
    left = [Pair(*both) for both in product(photos, paintings)]
    random.Random(0).shuffle(left)
    used: Counter[Path] = Counter()
    chosen: list[Pair] = []
    while left and (not sample or len(chosen) < sample):
        pair = min(left, key=lambda pair: (used[pair.photo] + used[pair.painting], max(used[pair.photo], used[pair.painting])))
        left.remove(pair)
        used.update((pair.photo, pair.painting))
        chosen.append(pair)
    return sorted(chosen, key=lambda pair: pair.name)


def settings_of(arguments: argparse.Namespace) -> list[Setting]:
    """The columns, in the order given."""
    columns = []
    for text in arguments.setting or SETTINGS:
        name, _, line = text.partition("=")
        words = tuple(shlex.split(line))
        size = int(words[words.index("--size") + 1]) if "--size" in words else arguments.size
        columns.append(Setting(name, arguments.output / name, words, size))
    for text in arguments.pictures:
        name, _, folder = text.partition("=")
        columns.append(Setting(name, Path(folder), None, arguments.size))
    return columns


# ------------------------------------------------------------------------------------------------------------------ painting


def paint(setting: Setting, pair: Pair) -> None:
    """Paint what is missing, as a user would, and note what it took beside the picture."""
    target = setting.folder / f"{pair.name}.png"
    words = (
        (setting.words or ()) if "--size" in (setting.words or ()) else (*(setting.words or ()), "--size", str(setting.size))
    )
    command = [sys.executable, "-m", "impasto", str(pair.photo), str(pair.painting), "-o", str(target), "-q", *words]
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"`{shlex.join(command)}` ended with exit code {process.returncode}")
    cost = {"seconds": seconds, "memory_mb": usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)}
    keep(target.with_suffix(".cost.json"), cost)
    print(f"{setting.name}: {pair.name} in {seconds:.1f} s", flush=True)


def keep(file: Path, content: object) -> None:
    """Write JSON whole or not at all."""
    files.write(file, json.dumps(content).encode(), [file.suffix], overwrite=True)


def check_words(setting: Setting) -> None:
    """Have a folder hold pictures of one setting only."""
    setting.folder.mkdir(parents=True, exist_ok=True)
    note = setting.folder / "words.txt"
    line = shlex.join((*(setting.words or ()), "at", str(setting.size)))
    if note.exists() and note.read_text() != line:
        sys.exit(f"{setting.folder} holds pictures made with `{note.read_text()}`, not `{line}`; name another -o or setting")
    note.write_text(line)


# ------------------------------------------------------------------------------------------------------------------ measuring


def measured(setting: Setting, pair: Pair, judge: JudgeNetwork) -> dict[str, float] | None:
    """Every measure of a pair's picture, kept beside it; None where there is no picture."""
    file = setting.picture(pair)
    if file is None:
        return None
    kept = setting.folder / f".{pair.name}.{judge.name}-{len(judge.style_taps)}.json"
    stamp = [setting.size, file.stat().st_mtime_ns]
    if setting.words is not None and kept.exists() and (found := json.loads(kept.read_text()))["stamp"] == stamp:
        return dict(found["measures"])
    images = prepare(pair.photo, pair.painting, {setting.name: file}, size=setting.size)
    (result,) = images.measure(judge)
    measures = numbers_of(result) | cost_of(file)
    if setting.words is not None:  # somebody else's folder is left as it is
        keep(kept, {"stamp": stamp, "measures": measures})
    return measures


def numbers_of(result: MeasuredResult) -> dict[str, float]:
    """The measures as a flat row."""
    return {name: value for name, value in asdict(result.measures).items() if isinstance(value, float)}


def cost_of(file: Path) -> dict[str, float]:
    """What `paint` noted, if it made the picture."""
    note = file.with_suffix(".cost.json")
    return dict(json.loads(note.read_text())) if note.exists() else {}


# ------------------------------------------------------------------------------------------------------------------ writing


def table(rows: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    """Lines of Markdown. rows: {setting: {pair: {measure: value}}}."""
    yield "| measure | setting | mean | median | worst | worst pair |"
    yield "|---|---|---:|---:|---:|---|"
    for measure, worst_of in MEASURES.items():
        for setting, pairs in rows.items():
            values = {pair: found[measure] for pair, found in pairs.items() if measure in found}
            if values:
                worst = worst_of(values, key=values.__getitem__)
                numbers = (fmean(values.values()), median(values.values()), values[worst])
                shown = " | ".join(f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}" for number in numbers)
                yield f"| {UNITS.get(measure, measure)} | {setting} | {shown} | {worst} |"


def page(
    arguments: argparse.Namespace, judge: JudgeNetwork, pairs: Sequence[Pair], settings: Sequence[Setting], lines: str
) -> str:
    """docs/quality.md."""
    shown = shlex.join(["python", "benchmarks/quality.py", *sys.argv[1:]])
    made = "\n".join(
        f"- **{one.name}**: "
        + (
            "pictures from elsewhere"
            if one.words is None
            else f"`impasto PHOTO STYLE {shlex.join(one.words)}`".replace(" `", "`")
        )
        + f", {one.size} pixels"
        for one in settings
    )
    return f"""# Quality

Made by

```
{shown}
```

impasto {__version__}, torch {torch.__version__}, {os.cpu_count()} cores ({processor()}); judge {judge.name} (content at
{judge.content_tap}, style at {", ".join(judge.style_taps)}). {len(pairs)} pairs. What each measure says: `impasto compare` and
[metrics.py](../impasto/report/metrics.py). Content, style, moments and palette are distances, 0 the best; structure is 1 for the
photograph; grain is 0 where the result has as much fine detail as the painting and above where it has more; weave is above 0 where
more of that is upright or level than in photograph and painting. A picture optimised through the judge itself has an advantage.
Seconds and memory are those of the whole process.

{made}

{lines}
"""


def write_sheets(output: Path, pairs: Sequence[Pair], settings: Sequence[Setting], side: int) -> None:
    """sheet-1.jpg and so on: photograph, painting, and a column for each setting."""
    for number, first in enumerate(range(0, len(pairs), ROWS_A_SHEET), start=1):
        rows = []
        for pair in pairs[first : first + ROWS_A_SHEET]:
            files = [(pair.photo, pair.photo.stem), (pair.painting, pair.painting.stem)]
            files += [(file, one.name) for one in settings if (file := one.picture(pair))]
            rows.append([cell(Image.open(file), label, side) for file, label in files])
        contact_sheet(rows).save(output / f"sheet-{number}.jpg", quality=88)


def main() -> None:
    """Paint, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs=2, type=Path, required=True, metavar=("PHOTOS", "PAINTINGS"))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for pictures, measures and contact sheets")
    parser.add_argument("--setting", action="append", metavar="NAME[=WORDS]", help=f"default: {', '.join(SETTINGS)}")
    parser.add_argument("--pictures", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--sample", type=int, default=24, help="pairs out of all combinations; 0: all (default: %(default)s)")
    parser.add_argument("--zip", action="store_true", help="the first photograph with the first painting, and so on")
    parser.add_argument("--size", type=int, default=256, help="longer side in pixels (default: %(default)s)")
    parser.add_argument("--judge", choices=("lite", "vgg16", "vgg19"), default="lite")
    parser.add_argument("--judge-file", type=Path, help="weights of the judge; may end after any block")
    parser.add_argument("--table", type=Path, help="also write the page there, for instance docs/quality.md")
    parser.add_argument(
        "--side", type=int, default=320, help="pixels of a picture on the contact sheets (default: %(default)s)"
    )
    parser.add_argument("--sheets", default="*", metavar="GLOB", help="photographs on the contact sheets (default: all)")
    arguments = parser.parse_args()
    try:
        run(arguments)
    except ImpastoError as error:
        sys.exit(str(error))


def run(arguments: argparse.Namespace) -> None:
    """Paint everything missing, then measure everything, then write."""
    pairs = choose_pairs(*map(pictures_in, arguments.pairs), sample=arguments.sample, zipped=arguments.zip)
    settings = settings_of(arguments)
    for setting in settings:
        if setting.words is not None:
            check_words(setting)
            for pair in pairs:
                if setting.picture(pair) is None:
                    paint(setting, pair)
    judge = load_judge(arguments.judge, file=arguments.judge_file)
    rows = {
        one.name: {pair.name: found for pair in pairs if (found := measured(one, pair, judge)) is not None} for one in settings
    }
    lines = "\n".join(table(rows))
    print(lines)
    (arguments.output / "measures.json").write_text(json.dumps(rows, indent=1))
    shown = [pair for pair in pairs if fnmatch(pair.photo.stem, arguments.sheets)]
    write_sheets(arguments.output, shown, settings, arguments.side)
    if arguments.table:
        arguments.table.write_text(page(arguments, judge, pairs, settings, lines), encoding="utf-8")


if __name__ == "__main__":
    main()
