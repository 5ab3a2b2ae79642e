"""Measure quality instant, and write docs/instant.md section by section.

    python benchmarks/instant.py speed [--sizes 256 512 1024 2048 4096]
    python benchmarks/instant.py quality --pairs PHOTOS PAINTINGS -o OUT [--pictures NAME=DIR ...] [--judge vgg19 --judge-file FILE]
    python benchmarks/instant.py tuning --pairs PHOTOS PAINTINGS [--judge vgg19 --judge-file FILE]
    python benchmarks/instant.py starts --pairs PHOTOS PAINTINGS

speed: seconds and peak memory of painting in a process of its own for each size and precision, and of analyzing a painting. quality:
the measures of `benchmarks/quality.py` for instant and other qualities, beside existing images. tuning: the same measures with the
built-in styles as they are and without their tuning. starts: the engine's loss by seconds, from the photograph and from the network's
result. Each command replaces its own section of the page. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from machine import PAINTING, PHOTO, ROOT, processor

PAGE = ROOT / "docs" / "instant.md"
SIZES = (256, 512, 1024, 2048, 4096)
STYLE = "starry-night"
ROUNDS = 3


def replace(section: str, lines: Sequence[str]) -> None:
    """Replace the text between a section's marks in the page."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {section} -->\n", f"<!-- /{section} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"{PAGE} has no section {section}")
    PAGE.write_text(pattern.sub(lambda _: begin + "\n".join(lines) + "\n" + end, text), encoding="utf-8")
    print("\n".join(lines))


def command_line() -> str:
    """The command as it was typed."""
    import torch

    words = shlex.join(["python", "benchmarks/instant.py", *sys.argv[1:]])
    return f"`{words}`, torch {torch.__version__}, {os.cpu_count()} cores ({processor()})."


# -------------------------------------------------------------------------------------------------------------- speed


def painted_once(size: int, precision: str) -> dict[str, Any]:
    """Paint in this process: seconds for a stored style, for analyzing a painting, and the process's peak memory in GB."""
    import resource

    import torch
    from PIL import Image

    import impasto

    with Image.open(PHOTO) as opened:
        photo = opened.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    stylizer = impasto.Stylizer(quality="instant", size=size, precision=precision, device="cpu", max_pixels=10**9)
    style = stylizer.style(STYLE)
    stylizer.run(PHOTO, style)
    rounds = ROUNDS if size <= 1024 else 1
    seconds = []
    for _ in range(rounds + (size <= 1024)):
        session, began = stylizer.run(photo, style), time.perf_counter()
        for _ in session:
            pass
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    began = time.perf_counter()
    if size <= 1024:
        fresh = stylizer.style(PAINTING)
        for side in (size, size / 2, size / 4, size / 8):
            fresh.targets(max(64, side))
    analyzed = time.perf_counter() - began
    return {
        "seconds": median(seconds[-rounds:]),
        "analyzed": analyzed if size <= 1024 else None,
        "gigabytes": peak,
        "threads": torch.get_num_threads(),
    }


def measured(size: int, precision: str, isa: str) -> dict[str, Any]:
    """`painted_once` in a process of its own. isa: the instruction set that oneDNN, ATen and MKL are held to; "" for the machine's."""
    held = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"} if isa else {}
    code = f"import json, instant; print(json.dumps(instant.painted_once({size}, {precision!r})))"
    environment = os.environ | held | {"PYTHONPATH": str(ROOT / "benchmarks")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def speed(arguments: argparse.Namespace) -> None:
    """The table of seconds and memory."""
    rows = [("bf16", "", "bf16")] if _has_bf16() else []
    rows += [("fp32", "", "fp32"), ("fp32", "avx2", "fp32, held to AVX2")]
    lines = [
        command_line(),
        "",
        "| size | arithmetic | seconds | seconds to analyze a painting | peak memory, GB |",
        "|---|---|---:|---:|---:|",
    ]
    for size in arguments.sizes:
        for precision, isa, label in rows:
            found = measured(size, precision, isa)
            analyzed = "" if found["analyzed"] is None else f"{found['analyzed']:.2f}"
            lines.append(f"| {size}x{size} | {label} | {found['seconds']:.2f} | {analyzed} | {found['gigabytes']:.2f} |")
            print(lines[-1], flush=True)
    replace("speed", lines)


def _has_bf16() -> bool:
    import torch

    from impasto.compute.device import encoder_dtype

    return encoder_dtype("auto", torch.device("cpu")) == torch.bfloat16


# ------------------------------------------------------------------------------------------------------------ quality


def quality(arguments: argparse.Namespace) -> None:
    """The measures beside existing images and other qualities, from `benchmarks/quality.py`."""
    import quality as pages
    from pairs import named_folder, pictures_in

    arguments.pictures = [named_folder(text) for text in arguments.pictures]
    arguments.setting = ["instant=--quality instant", *(f"{name}=--quality {name}" for name in arguments.qualities)]
    settings = pages.settings_of(arguments)
    pairs = pages.choose_pairs(*map(pictures_in, arguments.pairs), sample=arguments.sample, zipped=False)
    for setting in settings:
        if setting.words is not None:
            pages.check_words(setting)
            for pair in pairs:
                if pair.picture(setting.folder) is None:
                    pages.paint(setting, pair)
    judge = pages.load_judge(arguments.judge, file=arguments.judge_file)
    rows = {
        one.name: {pair.name: found for pair in pairs if (found := pages.measured(one, pair, judge)) is not None}
        for one in settings
    }
    (arguments.output / "measures.json").write_text(json.dumps(rows, indent=1))
    pages.write_sheets(arguments.output, pairs, settings, 300)
    about = f"{command_line()} {len(pairs)} pairs at {arguments.size} pixels, judge {judge.name}."
    replace("quality", [about, "", *pages.table(rows)])


# ------------------------------------------------------------------------------------------------------------- tuning


def tuning(arguments: argparse.Namespace) -> None:
    """Measures of the built-in styles with and without their tuning, on photographs that no tuning saw."""
    from pairs import pictures_in

    import impasto
    from impasto import pictures
    from impasto.inputs import built_in, style_names
    from impasto.report.comparison import load_judge
    from impasto.report.metrics import measure
    from impasto.styles import Stored, read_card

    judge = load_judge(arguments.judge, file=arguments.judge_file)
    photos, paintings = (pictures_in(folder) for folder in arguments.pairs)
    stylizer = impasto.Stylizer(quality="instant", size=arguments.size)
    lines = [
        command_line(),
        "",
        "| style | style, 3 sizes: untuned | tuned | content: untuned | tuned |",
        "|---|---:|---:|---:|---:|",
    ]
    sums: list[tuple[float, ...]] = []
    for name in style_names():
        painting = next((file for file in paintings if file.stem == name), None)
        if painting is None or not read_card(built_in(name)).tuned:
            continue
        tuned, plain = stylizer.style(name), stylizer.style(name)
        assert isinstance(plain, Stored)
        plain._tensors = {key: value for key, value in plain._tensors.items() if key != "instant/tuning"}
        found = []
        for style in (plain, tuned):
            results = []
            for photo in photos[:: max(1, len(photos) // arguments.photos)][: arguments.photos]:
                image = stylizer.run(photo, style).finish()
                images = [pictures.load(source).pixels for source in (image, photo, painting)]
                results.append(measure(*images, judge.encoder, content_tap=judge.content_tap, style_taps=judge.style_taps))
            found.append((fmean(one.style_sizes for one in results), fmean(one.content for one in results)))
        (a, c), (b, d) = found
        sums.append((a, b, c, d))
        lines.append(f"| {name} | {a:.4f} | {b:.4f} | {c:.3f} | {d:.3f} |")
        print(lines[-1], flush=True)
    a, b, c, d = (fmean(column) for column in zip(*sums, strict=True))
    lines.append(f"| mean | {a:.4f} | {b:.4f} | {c:.3f} | {d:.3f} |")
    replace("tuning", lines)


# ------------------------------------------------------------------------------------------------------------- starts


def curve(stylizer: Any, photo: Path, painting: Path) -> Iterator[tuple[float, float]]:
    """(seconds, total loss at the final size) after every step of a run at its last scale."""
    began = time.perf_counter()
    for step in stylizer.run(photo, painting):
        if step.scale == step.scales:
            yield time.perf_counter() - began, step.total


def starts(arguments: argparse.Namespace) -> None:
    """The engine's loss at the final size by seconds, from both starts."""
    import quality as pages
    from pairs import pictures_in

    import impasto

    pairs = pages.choose_pairs(*map(pictures_in, arguments.pairs), sample=arguments.sample, zipped=False)
    kinds = {"photograph": {"init": "content"}, "network": {"init": "instant"}}
    stylizers = {name: impasto.Stylizer(size=arguments.size, **options) for name, options in kinds.items()}
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    sooner = []
    for pair in pairs:
        curves = {name: list(curve(one, pair.photo, pair.painting)) for name, one in stylizers.items()}
        for name, points in curves.items():
            ends[name].append((points[-1][0], min(loss for _, loss in points)))
        aim = ends["photograph"][-1][1]
        sooner.append(next((seconds for seconds, loss in curves["network"] if loss <= aim), float("inf")))
        print(
            pair.name, {name: f"{points[-1][0]:.1f} s {ends[name][-1][1]:.3f}" for name, points in curves.items()}, flush=True
        )
    lines = [command_line(), "", "| start | seconds | total loss, mean | median |", "|---|---:|---:|---:|"]
    for name, points in ends.items():
        seconds, losses = zip(*points, strict=True)
        lines.append(f"| {name} | {fmean(seconds):.2f} | {fmean(losses):.3f} | {median(losses):.3f} |")
    reached = [seconds for seconds in sooner if seconds < float("inf")]
    lines += [
        "",
        f"From the network, the final loss of the run from the photograph is reached in {len(reached)} of {len(pairs)} runs.",
    ]
    if reached:
        lines[-1] += f" That takes {fmean(reached):.2f} s on average, with the time for the network's result."
    replace("starts", lines)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("speed")
    one.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    one.set_defaults(run=speed)
    for name, run in (("quality", quality), ("tuning", tuning), ("starts", starts)):
        one = commands.add_parser(name)
        one.add_argument("--pairs", nargs=2, type=Path, required=True, metavar=("PHOTOS", "PAINTINGS"))
        one.add_argument("--judge", choices=("lite", "vgg16", "vgg19"), default="lite")
        one.add_argument("--judge-file", type=Path)
        one.add_argument("--size", type=int, default=512)
        one.add_argument("--sample", type=int, default=24)
        one.add_argument("--photos", type=int, default=4)
        one.add_argument("--qualities", nargs="*", default=("draft", "normal"))
        one.add_argument("-o", "--output", type=Path, default=Path("out"))
        one.add_argument("--pictures", action="append", default=[], metavar="NAME=DIR")
        one.set_defaults(run=run)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
