"""Compare predicted and measured memory and time, and write docs/memory.md.

    python benchmarks/memory.py 512 1024 2048 4096:4GiB

A memory limit (`--max-memory`) may follow a size. Each size runs in a separate process; its memory is the process's peak resident set.
Up to MANY pixels, a run has few steps at every scale. A larger one starts at its last scale with a made-up, full L-BFGS history.
--dry prints the table without writing the page. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from machine import PAINTING, ROOT, processor

if TYPE_CHECKING:
    from impasto.run import Run

PAGE = ROOT / "docs" / "memory.md"
PHOTO = 1024  # largest side of the photograph in pixels; larger results enlarge it
MANY = 1 << 22  # pixels
FEW = 3  # steps of a larger image
HEAD = """# Memory and time by size

Predictions before a run (`--dry-run` prints them) compared with measurements. Square images from a photograph of at most 1024
pixels, which is enlarged; style strokes.jpg. Up to 4.2 megapixels, a run has two steps at every scale except the last and
twelve there, which fills the L-BFGS history. Larger images have three steps at the last scale, starting with a full history.
s/MP: seconds per step and megapixel at the last scale.
"""
SECTION = """
On {processor}, {threads} threads, {precision}: `python benchmarks/memory.py {words}`.

| size | megapixels | limit | computed | history | GB predicted | measured | error | seconds predicted | measured | error | s/MP |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def measured(side: int, options: dict[str, object]) -> dict[str, object]:
    """Stylize a side x side image in this process. Returns its predicted and measured memory and time."""
    import resource

    import torch

    import impasto
    from impasto import pictures
    from impasto.jobs.forecast import forecast

    generator = torch.Generator().manual_seed(0)
    photo = pictures.resize(torch.rand(1, 3, 64, 64, generator=generator), (min(side, PHOTO),) * 2)
    run = impasto.Stylizer(size=side, **options).run(photo[0], PAINTING)
    del photo
    shorten(run)
    predicted, plan = forecast(run), run.plan(run.problem.size)
    peak = max(run.plan(scale.size).peak for scale in run.scales)
    if side * side > MANY:
        start_at_last_scale(run)
    began, seen = time.perf_counter(), list[float]()
    for step in run:
        if step.scale == step.scales:
            seen.append(time.perf_counter())
    return {
        "side": plan.side,
        "history": plan.pairs,
        "predicted": peak,
        "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "predicted_seconds": predicted,
        "seconds": seen[-1] - began,
        "step": (seen[-1] - seen[0]) / (len(seen) - 1),
        "threads": torch.get_num_threads(),
        "precision": str(run.problem.encoder.dtype).removeprefix("torch."),
    }


def shorten(run: Run) -> None:
    """Shorten a run: up to MANY pixels to the steps that fill the L-BFGS history, otherwise to FEW steps at the last scale."""
    from impasto.ladder import LEAST_STEPS
    from impasto.lbfgs import HISTORY

    *smaller, last = run.scales
    if math.prod(run.problem.size) > MANY:
        run.scales = [replace(last, steps=FEW)]
    else:
        run.scales = [*(replace(scale, steps=LEAST_STEPS) for scale in smaller), replace(last, steps=HISTORY + LEAST_STEPS)]


def start_at_last_scale(run: Run) -> None:
    """Make a run with one scale resume from a made-up state after one step, with a full history."""
    import torch

    from impasto import pictures
    from impasto.compute import allocator
    from impasto.lbfgs import HISTORY, Memory
    from impasto.optimize import Ahead, State

    plan, (scale,) = run.plan(run.problem.size), run.scales
    if plan.side:  # as the run does, but before the history is allocated
        allocator.keep_up_to(run.memory.block_tensor(run.problem.size, plan.side))
    store, picture = run.pairs(plan), pictures.enlarge(run.problem.start(scale.size), run.problem.size)
    move, zero = torch.full_like(picture, 1e-4), torch.zeros(()).expand_as(picture)
    pairs = tuple((store.keep(move, zero), store.keep(move, zero), 1 / move.square().sum()) for _ in range(HISTORY))
    memory = Memory(0.01, torch.ones(()), (picture.clone(), move), pairs)
    run.scales = [replace(scale, steps=scale.steps + 1)]
    # three images, the most that a run holds: the current one, the best one and the previous one
    run.state = State(1, {"style": 1e9}, picture.clone(), 1e9, Ahead(picture, memory))


@contextmanager
def reported() -> Iterator[None]:
    """Exit with a one-line message on an error, such as a memory limit that is too low."""
    from impasto.errors import ImpastoError

    try:
        yield
    except ImpastoError as error:
        sys.stderr.write(f"{Path(__file__).name}: {error}\n")
        sys.exit(error.exit_code)


def row(side: int, limit: str, found: dict[str, float | str | None]) -> str:
    """A row of the table."""
    megapixels = side * side / 1e6
    how = "whole" if found["side"] is None else f"blocks of {found['side']}"
    pairs = (("predicted", "peak", 1e9, ".2f"), ("predicted_seconds", "seconds", 1, ".0f"))
    cells = [f"{side}x{side}", f"{megapixels:.1f}", limit or "free memory", how, str(found["history"])]
    for *names, unit, digits in pairs:
        predicted, measured_ = (float(found[name] or 0) / unit for name in names)
        cells += [f"{predicted:{digits}}", f"{measured_:{digits}}", f"{predicted / measured_ - 1:+.0%}"]
    cells.append(f"{float(found['step'] or 0) / megapixels:.2f}")
    return f"| {' | '.join(cells)} |"


def charts(asked: list[str], results: list[dict[str, float]]) -> str:
    """Mermaid charts of memory and time by megapixels and limit."""
    axis = ", ".join(f'"{label(size)}"' for size in asked)
    memory = ", ".join(f"{found['peak'] / 1e9:.2f}" for found in results)
    times = ", ".join(f"{found['step']:.2f}" for found in results)
    return "".join(
        f'\n```mermaid\nxychart-beta\n  title "{title}"\n  x-axis "megapixels" [{axis}]\n  line [{values}]\n```\n'
        for title, values in (("peak memory, GB", memory), ("seconds per step", times))
    )


def label(size: str) -> str:
    """Return "16.8 in 4GiB" for 4096:4GiB, "1.0" for 1024."""
    side, _, limit = size.partition(":")
    return f"{int(side) ** 2 / 1e6:.1f}" + (f" in {limit}" if limit else "")


def flatness(megapixels: list[float], results: list[dict[str, float]]) -> str:
    """The range of seconds per megapixel in blocks, if more than one size was computed in blocks."""
    paces = [found["step"] / size for size, found in zip(megapixels, results, strict=True) if found["side"]]
    return f"\nIn blocks, a step takes {min(paces):.2f} to {max(paces):.2f} s per megapixel.\n" if len(paces) > 1 else ""


def main() -> None:
    """Measure each size in a separate process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="+", metavar="SIDE[:LIMIT]", help="side in pixels, memory limit such as 4GiB")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--encoder", default="lite")
    parser.add_argument("--add", action="store_true", help="append to docs/memory.md, for instance another precision")
    parser.add_argument("--dry", action="store_true", help="print the table without writing the page")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    options = ["--encoder", asked.encoder, "--precision", asked.precision]
    if asked.child:
        side, _, limit = asked.sizes[0].partition(":")
        limited = {"encoder": asked.encoder, "precision": asked.precision, "max_memory": limit or None}
        with reported():
            print(json.dumps(measured(int(side), limited)))
        return
    rows, megapixels, results = [], [], []
    for size in asked.sizes:
        side, _, limit = size.partition(":")
        command = [sys.executable, __file__, size, "--child", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.returncode)  # the child has printed why
        results.append(json.loads(done.stdout))
        megapixels.append(int(side) ** 2 / 1e6)
        rows.append(row(int(side), limit, results[-1]))
        print(rows[-1], flush=True)
    if not asked.dry:
        first, words = results[0], " ".join(sys.argv[1:])
        head = PAGE.read_text(encoding="utf-8") if asked.add else HEAD
        section = SECTION.format(processor=processor(), threads=first["threads"], precision=first["precision"], words=words)
        table = section + "\n".join(rows) + "\n" + flatness(megapixels, results)
        PAGE.write_text(head + table + charts(asked.sizes, results), encoding="utf-8")


if __name__ == "__main__":
    main()
