"""Stylize many pairs with several settings, measure the results, and write a table and contact sheets.

    python benchmarks/quality.py --pairs PHOTOS PAINTINGS -o OUT [--table docs/quality.md]
        [--setting NAME[=WORDS] ...] [--pictures NAME=DIR ...] [--sample 24 | --zip] [--size 256] [--judge lite] [--sheets GLOB]

A setting is a name and arguments of the command line: "gatys-lite=--method gatys --encoder lite". Each image is made in a separate
process; its time and peak memory are those of the whole process. `--pictures NAME=DIR` adds a folder of existing images named
PHOTO--PAINTING.png (or .jpg, .webp, .tif), for instance OUT/NAME of another version. Images that OUT already contains are not made
again, so an interrupted run resumes. Use another OUT after changing the code.

PHOTOS and PAINTINGS are folders. Pairs are a fixed, balanced sample of all combinations (--sample 0: all of them); --zip pairs files in
order. The seed is the command's default, 0. Images are measured at --size, or at the --size of their setting.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from statistics import fmean, median

import torch
from machine import ROOT, processor
from pairs import Pair, named_folder, pictures_in
from PIL import Image

from impasto import __version__, files
from impasto.errors import ImpastoError
from impasto.report.comparison import JudgeNetwork, load_judge, prepare
from impasto.report.metrics import Measures

sys.path.append(str(ROOT / "scripts"))

from contact import cell, contact_sheet

SETTINGS = ["default", "gatys-lite=--method gatys --encoder lite"]
ROWS_A_SHEET = 6
# measure: whether the largest or the smallest value is the worst
MEASURES = {
    "content": max,
    "style_mean": max,
    "style_sizes": max,
    "moments": max,
    "structure": min,
    "palette": max,
    "grain": max,
    "weave": max,
    "seconds": max,
    "memory_mb": max,
}
Rows = Mapping[str, Mapping[str, Mapping[str, float]]]  # {setting: {pair: {measure: value}}}
LABELS = {"memory_mb": "peak memory, MB", "style_mean": "style", "style_sizes": "style, 3 sizes"}


@dataclass(frozen=True)
class Setting:
    """A folder of images and the arguments that make the missing ones (None: the folder is only read)."""

    name: str
    folder: Path
    words: tuple[str, ...] | None
    size: int


# ------------------------------------------------------------------------------------------------------------------ pairs, settings


def choose_pairs(photos: Sequence[Path], paintings: Sequence[Path], *, sample: int, zipped: bool) -> list[Pair]:
    """Choose pairs, always the same. sample: number of pairs, 0 for all."""
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
    """The settings in the order given."""
    columns = []
    for text in arguments.setting or SETTINGS:
        name, _, line = text.partition("=")
        words = tuple(shlex.split(line))
        size = int(words[words.index("--size") + 1]) if "--size" in words else arguments.size
        columns.append(Setting(name, arguments.output / name, words, size))
    return columns + [Setting(name, folder, None, arguments.size) for name, folder in arguments.pictures]


# ------------------------------------------------------------------------------------------------------------------ stylizing


def paint(setting: Setting, pair: Pair) -> None:
    """Make an image with the command line, and store its time and memory next to it."""
    target, words = setting.folder / f"{pair.name}.png", setting.words or ()
    words = words if "--size" in words else (*words, "--size", str(setting.size))
    command = [sys.executable, "-m", "impasto", str(pair.photo), str(pair.painting), "-o", str(target), "-q", *words]
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"`{shlex.join(command)}` failed with exit code {process.returncode}")
    cost = {"seconds": seconds, "memory_mb": usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)}
    keep(target.with_suffix(".cost.json"), cost)
    print(f"{setting.name}: {pair.name} in {seconds:.1f} s", flush=True)


def keep(file: Path, content: object) -> None:
    """Write JSON atomically."""
    files.write(file, json.dumps(content).encode(), [file.suffix], overwrite=True)


def check_words(setting: Setting) -> None:
    """Make sure that a folder contains images of one setting only."""
    setting.folder.mkdir(parents=True, exist_ok=True)
    note = setting.folder / "words.txt"
    line = shlex.join((*(setting.words or ()), "at", str(setting.size)))
    if note.exists() and note.read_text() != line:
        sys.exit(f"{setting.folder} contains images made with `{note.read_text()}`, not `{line}`; use another -o or setting")
    note.write_text(line)


# ------------------------------------------------------------------------------------------------------------------ measuring


def measured(setting: Setting, pair: Pair, judge: JudgeNetwork) -> dict[str, float] | None:
    """The measures of a pair's image, cached next to it; None if there is no image."""
    file = pair.picture(setting.folder)
    if file is None:
        return None
    kept = setting.folder / f".{pair.name}.{judge.name}-{len(judge.style_taps)}.json"
    stamp = [setting.size, file.stat().st_mtime_ns, [field.name for field in fields(Measures)]]
    if setting.words is not None and kept.exists() and (found := json.loads(kept.read_text()))["stamp"] == stamp:
        return dict(found["measures"])
    images = prepare(pair.photo, pair.painting, {setting.name: file}, size=setting.size)
    (result,) = images.measure(judge)
    measures = {name: value for name, value in asdict(result.measures).items() if isinstance(value, float)} | cost_of(file)
    if setting.words is not None:  # other folders are only read
        keep(kept, {"stamp": stamp, "measures": measures})
    return measures


def cost_of(file: Path) -> dict[str, float]:
    """The time and memory stored by `paint`, if it made the image."""
    note = file.with_suffix(".cost.json")
    return dict(json.loads(note.read_text())) if note.exists() else {}


# ------------------------------------------------------------------------------------------------------------------ writing


def table(rows: Rows) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| measure | setting | mean | median | worst | worst pair |"
    yield "|---|---|---:|---:|---:|---|"
    for measure, worst_of in MEASURES.items():
        for setting, pairs in rows.items():
            values = {pair: found[measure] for pair, found in pairs.items() if measure in found}
            if values:
                worst = worst_of(values, key=values.__getitem__)
                numbers = (fmean(values.values()), median(values.values()), values[worst])
                shown = " | ".join(f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}" for number in numbers)
                yield f"| {LABELS.get(measure, measure)} | {setting} | {shown} | {worst} |"


def page(judge: JudgeNetwork, pairs: Sequence[Pair], settings: Sequence[Setting], rows: Rows) -> str:
    """The text of docs/quality.md."""
    lines = "\n".join(table(rows))
    costs = any("seconds" in found for of_setting in rows.values() for found in of_setting.values())
    shown = shlex.join(["python", "benchmarks/quality.py", *sys.argv[1:]])
    made = "\n".join(
        f"- **{one.name}**: "
        + ("existing images" if one.words is None else f"`{shlex.join(('impasto', 'PHOTO', 'STYLE', *one.words))}`")
        + f", {one.size} pixels"
        for one in settings
    )
    return f"""# Quality

Written by

```
{shown}
```

impasto {__version__}, torch {torch.__version__}, {os.cpu_count()} cores ({processor()}); judge {judge.name} (content at
{judge.content_tap}, style at {", ".join(judge.style_taps)}). {len(pairs)} pairs. The measures are those of `impasto compare`,
defined in [metrics.py](../impasto/report/metrics.py). Content, style, moments and palette are distances: 0 is best. "Style, 3
sizes" is the mean of the style at full, half and quarter size; the smaller sizes show the judge larger forms. Structure is 1
for the photograph. Grain is 0 if the result has as much fine detail as the painting, and positive if it has more. Weave is
positive if more of this detail is vertical or horizontal than in photograph and painting. Images optimized through the judge
itself have an advantage.{" Seconds and memory are those of the whole process." if costs else ""}

{made}

{lines}
"""


def write_sheets(output: Path, pairs: Sequence[Pair], settings: Sequence[Setting], side: int) -> None:
    """Write sheet-1.jpg, ...: photograph, painting and a column for each setting."""
    for number, first in enumerate(range(0, len(pairs), ROWS_A_SHEET), start=1):
        rows = []
        for pair in pairs[first : first + ROWS_A_SHEET]:
            files = [(pair.photo, pair.photo.stem), (pair.painting, pair.painting.stem)]
            files += [(file, one.name) for one in settings if (file := pair.picture(one.folder))]
            rows.append([cell(Image.open(file), label, side) for file, label in files])
        contact_sheet(rows).save(output / f"sheet-{number}.jpg", quality=80)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs=2, type=Path, required=True, metavar=("PHOTOS", "PAINTINGS"))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for images, measures and contact sheets")
    parser.add_argument("--setting", action="append", metavar="NAME[=WORDS]", help=f"default: {', '.join(SETTINGS)}")
    parser.add_argument("--pictures", action="append", default=[], type=named_folder, metavar="NAME=DIR")
    parser.add_argument("--sample", type=int, default=24, help="number of pairs; 0: all (default: %(default)s)")
    parser.add_argument("--zip", action="store_true", help="pair photographs and paintings in order")
    parser.add_argument("--size", type=int, default=256, help="longer side in pixels (default: %(default)s)")
    parser.add_argument("--judge", choices=("lite", "vgg16", "vgg19"), default="lite")
    parser.add_argument("--judge-file", type=Path, help="weights file of the judge; may end after any block")
    parser.add_argument("--table", type=Path, help="also write the page to this file, for instance docs/quality.md")
    parser.add_argument("--side", type=int, default=320, help="image size on contact sheets in pixels (default: %(default)s)")
    parser.add_argument("--sheets", default="*", metavar="GLOB", help="photographs on contact sheets (default: all)")
    arguments = parser.parse_args()
    try:
        run(arguments)
    except ImpastoError as error:
        sys.exit(str(error))


def run(arguments: argparse.Namespace) -> None:
    """Make missing images, measure all of them, and write the results."""
    pairs = choose_pairs(*map(pictures_in, arguments.pairs), sample=arguments.sample, zipped=arguments.zip)
    settings = settings_of(arguments)
    for setting in settings:
        if setting.words is not None:
            check_words(setting)
            for pair in pairs:
                if pair.picture(setting.folder) is None:
                    paint(setting, pair)
    judge = load_judge(arguments.judge, file=arguments.judge_file)
    rows = {
        one.name: {pair.name: found for pair in pairs if (found := measured(one, pair, judge)) is not None} for one in settings
    }
    print("\n".join(table(rows)))
    (arguments.output / "measures.json").write_text(json.dumps(rows, indent=1))
    shown = [pair for pair in pairs if fnmatch(pair.photo.stem, arguments.sheets)]
    write_sheets(arguments.output, shown, settings, arguments.side)
    if arguments.table:
        arguments.table.write_text(page(judge, pairs, settings, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
