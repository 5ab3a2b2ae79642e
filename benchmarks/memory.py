"""Predicted and measured memory and time over sizes: `python benchmarks/memory.py 512 1024 2048 --max-memory 4GiB`.

Each size is a process of its own, which takes two steps at that size with L-BFGS's history full, and is measured by the most memory the
system saw it in. Seconds are for a step; what comes before the first counts as SETUP steps. Writes docs/memory.md, or prints the table
with --dry. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "memory.md"
STEPS = 3  # at the one scale; the first is given, so that the history is full
HEAD = """# Memory and time by size

What a step takes: predicted by the plan that is made before every run (`--dry-run` prints it), and measured. A square picture, style
{style}, {threads} threads. Written by `python benchmarks/memory.py {words}`.

| size | megapixels | computed | history | predicted GB | measured GB | off | predicted s/MP | measured s/MP |
|---|---|---|---|---|---|---|---|---|
"""


def measured(side: int, options: dict[str, object]) -> dict[str, object]:
    """Take two steps at side x side pixels in this process, and say what that took."""
    import resource

    import torch

    import impasto
    from impasto import devices, pictures
    from impasto.forecast import SETUP, forecast
    from impasto.optimize import HISTORY, Ahead, Memory, State

    generator = torch.Generator().manual_seed(0)
    photo = pictures.resize(torch.rand(1, 3, 64, 64, generator=generator), (side, side))
    run = impasto.Stylizer(size=side, iterations=STEPS, **options).run(photo[0], ROOT / "impasto/assets/strokes.jpg")
    plan, predicted = run.plan(run.size), forecast(run) / (STEPS + SETUP)
    del photo
    if plan.side:
        devices.pictures_apart()  # as the run itself will, but before the history is made up
    history, picture = run.history(plan.history), run.start
    move, zero = torch.full_like(picture, 1e-4), torch.zeros(()).expand_as(picture)
    over = 1 / move.square().sum()
    pairs = tuple((history.keep(move, zero), history.keep(move, zero), over) for _ in range(HISTORY))
    memory = Memory(0.01, torch.ones(()), (picture.clone(), move), pairs)
    # the picture, the best one and the one before are three: more there can never be
    run.go_on(State(1, {"style": 1e9}, picture.clone(), 1e9, Ahead(picture, memory)))
    del pairs, memory, move, picture
    began = time.perf_counter()
    for _ in run:
        pass
    seconds = (time.perf_counter() - began) / (STEPS - 1 + SETUP)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "side": plan.side,
        "history": plan.history,
        "predicted": plan.peak,
        "peak": peak,
        "predicted_seconds": predicted,
        "seconds": seconds,
        "threads": torch.get_num_threads(),
    }


def row(side: int, found: dict[str, float | str | None]) -> str:
    """A line of the table."""
    megapixels, predicted, peak = side * side / 1e6, float(found["predicted"] or 0), float(found["peak"] or 0)
    how = "at once" if found["side"] is None else f"blocks of {found['side']}"
    times = " | ".join(f"{float(found[name] or 0) / megapixels:.1f}" for name in ("predicted_seconds", "seconds"))
    gigabytes = f"{predicted / 1e9:.2f} | {peak / 1e9:.2f} | {predicted / peak - 1:+.0%}"
    return f"| {side}x{side} | {megapixels:.1f} | {how} | {found['history']} | {gigabytes} | {times} |"


def main() -> None:
    """Measure each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sides", type=int, nargs="+", help="of the square pictures, in pixels")
    parser.add_argument("--max-memory", help="as on the command line")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--encoder", default="lite")
    parser.add_argument("--dry", action="store_true", help="print the table only")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    options = {"encoder": asked.encoder, "precision": asked.precision, "max_memory": asked.max_memory}
    if asked.child:
        print(json.dumps(measured(asked.sides[0], options)))
        return
    words = [word for word in sys.argv[1:] if not word.isdigit() and word != "--dry"]
    rows, threads = [], 0
    for side in asked.sides:
        command = [sys.executable, __file__, str(side), "--child", *words]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append(row(side, found))
        threads = found["threads"]
        print(rows[-1], flush=True)
    if not asked.dry:
        head = HEAD.format(style="strokes.jpg", threads=threads, words=" ".join(sys.argv[1:]))
        PAGE.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
