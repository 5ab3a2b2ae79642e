"""Measure batches, and plan large ones. Writes docs/batch.md section by section.

    python benchmarks/batch.py rates [--sizes 256 512] [--images 60] [--workers 1 2]
    python benchmarks/batch.py tensors [--rounds 3]
    python benchmarks/batch.py plan [--core-price 0.04] [--gpu-price 3]
    python benchmarks/batch.py simulate [--items 1000000]
    ... --write docs/batch.md

rates: images a second of `impasto batch --quality instant` by workers, compared with a loop in one process with one thread:
the network alone, and with reading and writing files; and what a batch adds to an image, in time of the clock and of the processor.
tensors: the network on one image at a time and on several in one tensor: milliseconds for each image, and whether the bits are the
same. plan: hours and cost of a million images by quality. simulate: what slow images, slow machines and lost machines cost, with items
handed out one by one or in shards. `rates` needs an idle machine; `tensors` and `plan`
measure the time of one core, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from machine import PHOTO, ROOT, processor

sys.path.insert(0, str(ROOT / "scripts"))

from batch_trials import replace

STYLE = "starry-night"
MILLION = 1_000_000
# From docs/gpu.md: an H200, lite, 512 pixels, a step with L-BFGS in a CUDA graph. The style was compared at one size of the image then;
# at three sizes, a step computes 1 + 1/4 + 1/16 as many pixels.
GPU_STEP, GPU_PIXELS = 4.19e-3, 1 + 1 / 4 + 1 / 16
WARM = 2  # images of a worker that take longer
STEPS = {"draft": 20, "normal": 40, "best": 150}


def command_line() -> str:
    """The command as it was typed, and where."""
    import torch

    words = shlex.join(
        ["python", "benchmarks/batch.py", *(word for word in sys.argv[1:] if word != "--write" and ".md" not in word)]
    )
    return f"`{words}`, torch {torch.__version__}, {os.cpu_count()} cores ({processor()})."


def photographs(folder: Path, count: int, size: int) -> None:
    """The sample photograph at a longer side of `size` pixels, turned and shifted so that every file is another."""
    from PIL import Image, ImageChops

    with Image.open(PHOTO) as opened:
        photo = opened.convert("RGB").resize((size, round(size * opened.height / opened.width)), Image.Resampling.BICUBIC)
    for number in range(count):
        ImageChops.offset(photo, 7 * number, 3 * number).save(folder / f"{number:04}.jpg", quality=92)


# -------------------------------------------------------------------------------------------------------------- rates


def alone(folder: Path, size: int, suffix: str) -> dict[str, float]:
    """Seconds for each image in this process with one thread: of reading, of the network, of encoding and writing."""
    import torch

    import impasto
    from impasto import files, pictures
    from impasto.inputs import Inputs

    torch.set_num_threads(1)
    stylizer = impasto.Stylizer(quality="instant", size=size, device="cpu")
    style, spent = stylizer.style(STYLE), {"read": 0.0, "network": 0.0, "write": 0.0, "processor": 0.0}
    photos = sorted(folder.glob("*.jpg"))
    for warming, names in ((True, photos[:3]), (False, photos)):
        used = time.process_time()
        for file in names:
            began = time.perf_counter()
            photo = pictures.load(file)
            read = time.perf_counter()
            image = stylizer.paint(Inputs(photo, (style,))).finish()
            painted = time.perf_counter()
            data, _ = pictures.encode(image, suffix, settings={"a": 1})
            files.write(folder / f"alone{suffix}", data, overwrite=True)
            wrote = time.perf_counter()
            if not warming:
                for name, span in (("read", read - began), ("network", painted - read), ("write", wrote - painted)):
                    spent[name] += span / len(photos)
        spent["processor"] = (time.process_time() - used) / len(names)
    return spent


def in_process(call: str) -> Any:
    """What a call of this module returns, from a process of its own."""
    code = f"import json, batch; from pathlib import Path; print(json.dumps(batch.{call}))"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'benchmarks'}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def used() -> float:
    """Seconds of the processor that this process and its children have taken."""
    import psutil

    own = psutil.Process()
    times = [one.cpu_times() for one in (own, *own.children())]
    return sum(one.user + one.system for one in times)


def together(folder: Path, size: int, suffix: str, workers: int) -> tuple[float, float]:
    """Of a batch while all its workers paint: images a second, and seconds of the processor for each image."""
    import impasto

    ends, seen, first, last = list[float](), list[str](), 0.0, 0.0
    count = len(list(folder.iterdir()))
    with tempfile.TemporaryDirectory() as output:
        found = impasto.batch(
            folder, STYLE, output=output, names="{photo}" + suffix, quality="instant", size=size, device="cpu", workers=workers
        )
        for number, result in enumerate(found, 1):
            if result.state != "painted":
                sys.exit(result.problem)
            seen.append(result.worker)
            if len(set(seen)) == workers and min(map(seen.count, set(seen))) >= WARM and number <= count - workers:
                first, last = first or used(), used()
                ends.append(time.perf_counter())
    return (len(ends) - 1) / (ends[-1] - ends[0]), (last - first) / (len(ends) - 1)


def rates(asked: argparse.Namespace) -> list[str]:
    """The table of rates and of what a batch adds."""
    lines = [
        command_line(),
        "",
        "| size | files | workers | images a second | times one worker's | of the network's own rate | of network, read and write "
        "| added to an image, ms | ms of the processor |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for size in asked.sizes:
        for suffix in (".png", ".jpg"):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                photographs(folder, asked.images, size)
                own = in_process(f"alone(Path({place!r}), {size}, {suffix!r})")
                (folder / f"alone{suffix}").unlink()
                whole, base = own["read"] + own["network"] + own["write"], 0.0
                lines.append(
                    f"| {size} | {suffix} | a loop | {1 / whole:.2f} | | {own['network'] / whole:.0%} | 100% | "
                    f"| {1e3 * own['processor']:.1f} |"
                )
                print(lines[-1], {name: f"{1e3 * span:.1f} ms" for name, span in own.items()}, flush=True)
                for workers in asked.workers:
                    rate, processor_time = together(folder, size, suffix, workers)
                    base = base or rate / workers
                    lines.append(
                        f"| {size} | {suffix} | {workers} | {rate:.2f} | {rate / base:.2f} | {rate / workers * own['network']:.0%} "
                        f"| {rate / workers * whole:.0%} | {1e3 * (workers / rate - whole):.1f} | {1e3 * processor_time:.1f} |"
                    )
                    print(lines[-1], flush=True)
    return lines


# ------------------------------------------------------------------------------------------------------------ tensors


def _level(net: Any, encoder: Any, look: Any, own: Any, photo: Any) -> Any:
    """What the network makes of a level. photo: Bx3xHxW."""
    import torch
    from torch.nn import functional

    from impasto.fast import net as nets
    from impasto.fast.moments import moments
    from impasto.portable.network import SEEN

    start = photo * 0.9
    features = encoder(functional.avg_pool2d(start, 2).contiguous(memory_format=torch.channels_last))
    z = {tap: net.basis.project(tap, features[tap]) for tap in SEEN}
    seen = nets.moved(z, nets.moves({tap: moments(one, None) for tap, one in z.items()}, look))
    return net.paint(photo, start, seen, own)


def tensors(asked: argparse.Namespace) -> list[str]:
    """The network's largest level on several images in one tensor."""
    import torch

    import impasto
    from impasto.fast import load
    from impasto.fast import net as nets
    from impasto.fast.looks import look_of
    from impasto.portable.network import SEEN

    torch.set_num_threads(1)
    lines = [
        command_line(),
        "",
        "| size | arithmetic | images in a tensor | ms for each image | the same bits | largest difference |",
        "|---|---|---:|---:|---|---:|",
    ]
    stored, most = load(), 16
    for precision in ("bf16", "fp32"):
        stylizer = impasto.Stylizer(quality="instant", size=256, device="cpu", precision=precision)
        style, net, encoder = stylizer.style(STYLE), stored.net, stylizer.encoder.only(SEEN)
        for height, width in ((96, 128), (176, 256), (352, 512)):
            look = look_of(net, stored.digest, style, width)
            code = nets.code(look, style.quantiles(), width, 0.3)
            generator = torch.Generator().manual_seed(0)
            photos = torch.rand(most, 3, height, width, generator=generator).contiguous(memory_format=torch.channels_last)

            own = net.filters(net.modulation(code), stylizer.encoder.dtype)
            forward = partial(_level, net, encoder, look, own)

            with torch.no_grad():
                first = torch.cat([forward(photos[place : place + 1]) for place in range(most)])
                for count in (1, 2, 4, 8, 16):
                    spans = []
                    for _ in range(asked.rounds):
                        began = time.process_time()
                        found = torch.cat([forward(photos[place : place + count]) for place in range(0, most, count)])
                        spans.append((time.process_time() - began) / most)
                    apart = float((found - first).abs().max())
                    lines.append(
                        f"| {width}x{height} | {precision} | {count} | {1e3 * median(spans):.1f} | {'yes' if not apart else 'no'} "
                        f"| {apart:.1e} |"
                    )
                    print(lines[-1], flush=True)
    return lines


# --------------------------------------------------------------------------------------------------------------- plan


def painted(quality: str) -> float:
    """Seconds of one core for an image of 512 pixels, with reading and writing a PNG."""
    import torch

    import impasto

    torch.set_num_threads(1)
    stylizer = impasto.Stylizer(quality=quality, size=512, device="cpu")
    style = stylizer.style(STYLE)
    rounds, spans = (6 if quality == "instant" else 1), []
    if quality == "instant":
        stylizer.run(PHOTO, style).finish()
    for _ in range(rounds):
        began = time.process_time()
        stylizer.run(PHOTO, style).finish().save(Path(tempfile.gettempdir()) / f"impasto-{os.getpid()}.png")
        spans.append(time.process_time() - began)
    return median(spans)


def plan(asked: argparse.Namespace) -> list[str]:
    """Hours and cost of a million images."""
    lines = [
        command_line(),
        "",
        "| quality | seconds of a core | core hours | cost | days on 64 cores | hours on 1,000 cores "
        "| seconds of a GPU | GPU hours | cost | hours on 8 GPUs |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for quality in ("instant", *STEPS):
        seconds = in_process(f"painted({quality!r})")
        hours = seconds * MILLION / 3600
        row = f"| {quality} | {seconds:.2f} | {hours:,.0f} | ${hours * asked.core_price:,.0f} "
        row += f"| {hours / 64 / 24:,.1f} | {hours / 1000:,.1f} "
        if quality in STEPS:
            on_gpu = STEPS[quality] * GPU_STEP * GPU_PIXELS
            gpu_hours = on_gpu * MILLION / 3600
            row += f"| {on_gpu:.2f} | {gpu_hours:,.0f} | ${gpu_hours * asked.gpu_price:,.0f} | {gpu_hours / 8:,.1f} |"
        else:
            row += "| | | | |"
        lines.append(row)
        print(row, flush=True)
    lines += [
        "",
        f"Prices are assumptions: ${asked.core_price} for an hour of a core, ${asked.gpu_price} for an hour of a GPU. Seconds of a "
        "core are measured with one thread. Seconds of a GPU are computed: steps times the time of a step in [gpu.md](gpu.md), an H200 "
        f"with one image at a time, times {GPU_PIXELS:.2f} for the style at three sizes. Instant was not measured on a GPU.",
    ]
    return lines


# ----------------------------------------------------------------------------------------------------------- simulate


def makespan(
    items: int,
    workers: int,
    shard: int,
    seconds: Callable[[random.Random], float],
    lost_every: float,
    *,
    slow: float,
    seed: int = 0,
) -> tuple[float, float]:
    """(hours until the last item, share of the work that was done twice).

    items: handed out in shards of `shard`. seconds: draws an item's. lost_every: hours between losses of one worker; its shard is then
    done again. slow: share of workers that take twice as long.
    """
    choose = random.Random(seed)
    slowness = [2.0 if choose.random() < slow else 1.0 for _ in range(workers)]
    free = [(0.0, worker) for worker in range(workers)]
    heapq.heapify(free)
    shards = [min(shard, items - first) for first in range(0, items, shard)]
    again, spent, last = 0.0, 0.0, 0.0
    while shards:
        at, worker = heapq.heappop(free)
        size = shards.pop()
        if size == 1:
            span = seconds(choose) * slowness[worker]
        else:  # the sum of many, by its mean: drawing each would take minutes
            span = sum(seconds(choose) for _ in range(min(size, 100))) * size / min(size, 100) * slowness[worker]
        if lost_every and choose.random() < 1 - 2.718281828 ** (-span / 3600 / lost_every):
            done = span * choose.random()
            again += done
            shards.append(size)
            heapq.heappush(free, (at + done + 60, worker))  # a minute until there is another machine
            continue
        spent += span
        last = max(last, at + span)
        heapq.heappush(free, (at + span, worker))
    return last / 3600, again / max(spent, 1e-9)


def simulate(asked: argparse.Namespace) -> list[str]:
    """Stragglers and failures."""
    mean = asked.seconds

    def usual(choose: random.Random) -> float:
        return mean * choose.lognormvariate(-0.02, 0.2)

    def straggling(choose: random.Random) -> float:
        return usual(choose) * (20 if choose.random() < 0.001 else 1)

    cases = (
        ("images that take about the same time", usual, 0.0, 0.0),
        ("1 image in 1,000 takes 20 times as long", straggling, 0.0, 0.0),
        ("and 1 worker in 10 is half as fast", straggling, 0.0, 0.1),
        ("and each worker is lost every 5 hours", straggling, 5.0, 0.1),
    )
    lines = [
        f"{command_line()} {asked.items:,} images of {mean} s on {asked.workers:,} workers; the ideal is "
        f"{asked.items * mean / asked.workers / 3600:.2f} hours.",
        "",
        "| | hours, one by one | done again | hours, shards of 1,000 | done again |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, seconds, lost_every, slow in cases:
        one = makespan(asked.items, asked.workers, 1, seconds, lost_every, slow=slow)
        shards = makespan(asked.items, asked.workers, 1000, seconds, lost_every, slow=slow)
        lines.append(f"| {name} | {one[0]:.2f} | {one[1]:.2%} | {shards[0]:.2f} | {shards[1]:.1%} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="section")
    made = {name: commands.add_parser(name) for name in ("rates", "tensors", "plan", "simulate")}
    made["rates"].add_argument("--sizes", type=int, nargs="+", default=(256, 512))
    made["rates"].add_argument("--images", type=int, default=60)
    made["rates"].add_argument("--workers", type=int, nargs="+", default=(1, 2))
    made["tensors"].add_argument("--rounds", type=int, default=3)
    made["plan"].add_argument("--core-price", type=float, default=0.04)
    made["plan"].add_argument("--gpu-price", type=float, default=3.0)
    made["simulate"].add_argument("--items", type=int, default=MILLION)
    made["simulate"].add_argument("--workers", type=int, default=1000)
    made["simulate"].add_argument("--seconds", type=float, default=4.0)
    for one in made.values():
        one.add_argument("--write", type=Path)
    asked = parser.parse_args()
    run = {"rates": rates, "tensors": tensors, "plan": plan, "simulate": simulate}[asked.section]
    lines = run(asked)
    print("\n".join(lines))
    if asked.write:
        replace(asked.write, asked.section, lines)


if __name__ == "__main__":
    main()
