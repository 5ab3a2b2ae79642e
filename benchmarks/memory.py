"""Predicted and measured memory and time over sizes: `python benchmarks/memory.py 512 1024 2048 4096:4GiB 8192:8GiB`.

A size may have a limit (`--max-memory`) behind a colon. Each size is a process of its own, measured by the most memory the system saw
it in. Up to MANY pixels it is a run like any other, from the first scale on, with few steps at each. A larger one begins at its last
scale, after a step that never was, with L-BFGS's history full. Writes docs/memory.md, or with --dry prints the table only. Nothing
else should run meanwhile.
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

from machine import processor

if TYPE_CHECKING:
    from impasto.stylizer import Run

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "memory.md"
PHOTO = 1024  # pixels, its side: larger results are enlarged
MANY = 1 << 22  # pixels
FEW = 3  # steps that a larger picture takes
HEAD = """# Memory and time by size

What is predicted before a run (`--dry-run` prints it), and measured. Square pictures of a photograph of at most 1024 pixels, which is
enlarged; style strokes.jpg. Up to 4.2 megapixels a run of two steps at every scale before the last and of twelve there, with which
L-BFGS's history is full; of larger pictures three steps at the last scale, begun with a full history. s/MP: a step at the last scale.
"""
SECTION = """
On {processor}, {threads} threads, {precision}: `python benchmarks/memory.py {words}`.

| size | megapixels | limit | computed | history | GB predicted | measured | off | seconds predicted | measured | off | s/MP |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def measured(side: int, options: dict[str, object]) -> dict[str, object]:
    """Paint side x side pixels in this process, and say what that took."""
    import resource

    import torch

    import impasto
    from impasto import pictures
    from impasto.forecast import forecast

    generator = torch.Generator().manual_seed(0)
    photo = pictures.resize(torch.rand(1, 3, 64, 64, generator=generator), (min(side, PHOTO),) * 2)
    run = impasto.Stylizer(size=side, **options).run(photo[0], ROOT / "impasto/assets/strokes.jpg")
    del photo
    shorten(run)
    predicted, plan = forecast(run), run.plan(run.size)
    peak = max(run.plan(scale.size).peak for scale in run.scales)
    if side * side > MANY:
        begin_at_the_last(run)
    began, seen = time.perf_counter(), list[float]()
    for step in run:
        if step.scale == step.scales:
            seen.append(time.perf_counter())
    return {
        "side": plan.side,
        "history": plan.history,
        "predicted": peak,
        "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "predicted_seconds": predicted,
        "seconds": seen[-1] - began,
        "step": (seen[-1] - seen[0]) / (len(seen) - 1),
        "threads": torch.get_num_threads(),
        "precision": str(run.encoder.dtype).removeprefix("torch."),
    }


def shorten(run: Run) -> None:
    """Give a run few steps: of pictures up to MANY pixels as many as fill L-BFGS's history, else FEW at the last scale alone."""
    from impasto.optimize import HISTORY, LEAST_STEPS

    *smaller, last = run.scales
    if math.prod(run.size) > MANY:
        run.scales = [replace(last, steps=FEW)]
    else:
        run.scales = [*(replace(scale, steps=LEAST_STEPS) for scale in smaller), replace(last, steps=HISTORY + LEAST_STEPS)]


def begin_at_the_last(run: Run) -> None:
    """Have a run of one scale go on from a state that is made up, as after a step at that scale, with a full history."""
    import torch

    from impasto import devices, pictures
    from impasto.optimize import HISTORY, Ahead, Memory, State

    plan, (scale,) = run.plan(run.size), run.scales
    if plan.side:  # as the run itself will, but before the history is made up
        devices.keep_blocks_apart(run.size, plan.side, run.appetite)
    history, picture = run.history(plan.history), pictures.enlarge(run.start, run.size)
    move, zero = torch.full_like(picture, 1e-4), torch.zeros(()).expand_as(picture)
    pairs = tuple((history.keep(move, zero), history.keep(move, zero), 1 / move.square().sum()) for _ in range(HISTORY))
    memory = Memory(0.01, torch.ones(()), (picture.clone(), move), pairs)
    run.scales = [replace(scale, steps=scale.steps + 1)]
    # the picture, the best one and the one before are three: more there can never be
    run.go_on(State(1, {"style": 1e9}, picture.clone(), 1e9, Ahead(picture, memory)))


@contextmanager
def reported() -> Iterator[None]:
    """End the process with one line where what was asked for cannot be done, such as a limit that no block is small enough for."""
    from impasto.errors import ImpastoError

    try:
        yield
    except ImpastoError as error:
        sys.stderr.write(f"{Path(__file__).name}: {error}\n")
        sys.exit(error.exit_code)


def row(side: int, limit: str, found: dict[str, float | str | None]) -> str:
    """A line of the table."""
    megapixels = side * side / 1e6
    how = "at once" if found["side"] is None else f"blocks of {found['side']}"
    pairs = (("predicted", "peak", 1e9, ".2f"), ("predicted_seconds", "seconds", 1, ".0f"))
    cells = [f"{side}x{side}", f"{megapixels:.1f}", limit or "what is free", how, str(found["history"])]
    for *names, unit, digits in pairs:
        predicted, measured_ = (float(found[name] or 0) / unit for name in names)
        cells += [f"{predicted:{digits}}", f"{measured_:{digits}}", f"{predicted / measured_ - 1:+.0%}"]
    cells.append(f"{float(found['step'] or 0) / megapixels:.2f}")
    return f"| {' | '.join(cells)} |"


def charts(asked: list[str], results: list[dict[str, float]]) -> str:
    """Memory and time against megapixels, as Mermaid draws them; behind a size's megapixels its limit, if it has one."""
    axis = ", ".join(f'"{label(size)}"' for size in asked)
    memory = ", ".join(f"{found['peak'] / 1e9:.2f}" for found in results)
    times = ", ".join(f"{found['step']:.2f}" for found in results)
    return "".join(
        f'\n```mermaid\nxychart-beta\n  title "{title}"\n  x-axis "megapixels" [{axis}]\n  line [{values}]\n```\n'
        for title, values in (("peak memory, GB", memory), ("a step, seconds", times))
    )


def label(size: str) -> str:
    """4096:4GiB as 16.8 in 4GiB, 1024 as 1.0."""
    side, _, limit = size.partition(":")
    return f"{int(side) ** 2 / 1e6:.1f}" + (f" in {limit}" if limit else "")


def flatness(megapixels: list[float], results: list[dict[str, float]]) -> str:
    """From which to which time a megapixel takes in blocks, where more than one size was computed so."""
    paces = [found["step"] / size for size, found in zip(megapixels, results, strict=True) if found["side"]]
    return f"\nIn blocks a megapixel takes {min(paces):.2f} to {max(paces):.2f} s.\n" if len(paces) > 1 else ""


def main() -> None:
    """Measure each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="+", metavar="SIDE[:LIMIT]", help="of the square pictures, in pixels; the limit as 4GiB")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--encoder", default="lite")
    parser.add_argument("--add", action="store_true", help="add to what docs/memory.md says already, such as another precision")
    parser.add_argument("--dry", action="store_true", help="print the table only")
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
            sys.exit(done.returncode)  # it has said why
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
