"""Measure impasto on a CUDA device and write docs/gpu.md.

    python benchmarks/gpu.py [--sizes 512 1024 2048 4096] [--weights VGG19] [--out docs/gpu.md]

For every encoder and size: the time of the losses and gradient of a default run, launched layer by layer and as a CUDA graph (up to
the size that a run records), the time of a complete step with L-BFGS, and its operations per second relative to a large matrix product
in the same precision. Then the default run, from a photograph in memory to the result. Times are medians; run it on an idle machine.
Without --weights, VGG-19 has seeded random weights, which are equally fast.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from machine import PAINTING, PHOTO, ROOT, timed
from speed import Counter, random_vgg19
from torch import Tensor

import impasto
from impasto import Stylizer, pictures, problem
from impasto.compute import device, memory
from impasto.compute.memory import Plan
from impasto.ladder import Scale
from impasto.run import Run

PAGE = ROOT / "docs" / "gpu.md"
MATRIX = 8192
ROUNDS, WARMUP = 7, 4
HEAD = """# GPU

Written by `python benchmarks/gpu.py` on {device}, {system}, torch {torch}, impasto {version}. Default settings except the size, square
images, bfloat16. A product of two {matrix}x{matrix} matrices reaches {rate:.0f} 10^12 operations/s on this device.

| encoder | pixels | loss and gradient, ms: by layer | CUDA graph | step with L-BFGS, ms | 10^12 operations/s | of the product | GB |
|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Measure, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 1024, 2048, 4096])
    parser.add_argument("--weights", type=Path, help="weights file of VGG-19")
    parser.add_argument("--out", type=Path, default=PAGE)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("no CUDA device found, or this build of torch lacks CUDA")
    product = rate_of_product()
    text = HEAD.format(
        device=torch.cuda.get_device_name(),
        system=f"{platform.system()}, Python {platform.python_version()}",
        torch=torch.__version__,
        version=impasto.__version__,
        matrix=MATRIX,
        rate=product / 1e12,
    )
    with tempfile.TemporaryDirectory() as folder:
        weights = asked.weights or random_vgg19(Path(folder) / "vgg19.safetensors")
        for encoder, size in itertools.product(("lite", "vgg19"), asked.sizes):
            text += row(encoder, size, product, weights if encoder == "vgg19" else None) + "\n"
            print(text.splitlines()[-1], flush=True)
    text += "\n" + whole_runs([size for size in asked.sizes if size <= 2048])
    print(text)
    asked.out.write_text(text, encoding="utf-8")


def rate_of_product() -> float:
    """Operations per second of a large product of bfloat16 matrices."""
    a, b = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * MATRIX**3 / on_device(lambda: a @ b)


on_device = partial(timed, warmup=WARMUP, rounds=ROUNDS, wait=torch.cuda.synchronize)


def row(encoder: str, size: int, product: float, weights: Path | None) -> str:
    """A row of the table."""
    run = made(encoder, size, weights)
    with device.settings(run.problem.device, run.problem.encoder.dtype):
        with Counter() as counter:
            loss_and_gradient(run, limit=0)(run.problem.start(run.problem.size))
        by_layer = seconds_of(run, limit=0)
        recorded = seconds_of(run, problem.RECORDED) if size * size <= problem.RECORDED else None
    torch.cuda.reset_peak_memory_stats()
    steps = step_seconds(run)
    peak = torch.cuda.max_memory_allocated() / 1e9
    rate = counter.operations / min(by_layer, recorded or by_layer)
    return (
        f"| {encoder} | {size} | {1e3 * by_layer:.2f} | {'' if recorded is None else f'{1e3 * recorded:.2f}'} | {1e3 * steps:.2f} "
        f"| {rate / 1e12:.0f} | {rate / product:.0%} | {peak:.1f} |"
    )


def made(encoder: str, size: int, weights: Path | None) -> Run:
    """The default run of a square image with all steps at one size."""
    photo = pictures.resize(pictures.load(PHOTO).pixels, (size, size))
    run = Stylizer(encoder=encoder, weights=weights, size=size, device="cuda", precision="bf16").run(photo[0], PAINTING)
    run.scales = [Scale(run.problem.size, WARMUP + 11 + ROUNDS)]  # ends with a full L-BFGS history
    return run


def seconds_of(run: Run, limit: int) -> float:
    """Seconds of the losses and the gradient; see `loss_and_gradient`."""
    found = on_device(partial(loss_and_gradient(run, limit), run.problem.start(run.problem.size)))
    memory.release(run.problem.device)  # a CUDA graph has its own memory
    return found


def loss_and_gradient(run: Run, limit: int) -> Callable[[Tensor], object]:
    """The losses and gradient of a step; a CUDA graph if the image has at most `limit` pixels."""
    before, problem.RECORDED = problem.RECORDED, limit
    try:
        return run.problem.objective(run.problem.size, Plan())
    finally:
        problem.RECORDED = before


def step_seconds(run: Run) -> float:
    """Median seconds between the last steps of a run."""
    seconds, began = [], 0.0
    for _ in run:
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return median(seconds[-ROUNDS:])


def whole_runs(sizes: list[int]) -> str:
    """The second of two default runs by size, from photograph and painting in memory to the result."""
    text = "| default run, lite | steps | seconds |\n|---|---|---|\n"
    photo, painting = (pictures.load(file).pixels for file in (PHOTO, PAINTING))
    for size in sizes:
        for _ in range(2):
            began = time.perf_counter()
            run = Stylizer(size=size, device="cuda").run(pictures.resize(photo, (size, size))[0], painting[0])
            run.finish()
            seconds = time.perf_counter() - began
        text += f"| {size} pixels | {sum(scale.steps for scale in run.scales)} | {seconds:.2f} |\n"
    return text


if __name__ == "__main__":
    main()
