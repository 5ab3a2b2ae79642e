"""How fast impasto is on a CUDA device: `python benchmarks/gpu.py` writes docs/gpu.md.

    python benchmarks/gpu.py [--sizes 512 1024 2048 4096] [--weights VGG19] [--out docs/gpu.md]

For every encoder and size: seconds of the losses and gradient of a default run, told to the device layer by layer and recorded as a
CUDA graph (up to as many pixels as a run does that), seconds of a whole step with its L-BFGS, and what share the multiplications and
additions of it are of those that a large matrix product reaches in the same precision. Then the default run, from a photograph in
memory to a picture. Without --weights VGG-19 has seeded random weights: as fast. Medians; nothing else should run meanwhile.
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
from speed import PAINTING, PHOTO, Counter, random_vgg19
from torch import Tensor

import impasto
from impasto import Stylizer, devices, pictures, stylizer
from impasto.optimize import Scale
from impasto.stylizer import Run

PAGE = Path(__file__).parent.parent / "docs" / "gpu.md"
MATRIX = 8192
ROUNDS, FIRST = 7, 4  # timed, after as many that are not
HEAD = """# On a GPU

Written by `python benchmarks/gpu.py`. {device}, {system}, torch {torch}, impasto {version}. Default settings but the size, square
pictures, bfloat16. A product of two {matrix}x{matrix} matrices reaches {rate:.0f} 10^12 operations/s there.

| encoder | pixels | loss and gradient, ms: told anew | recorded | a step with L-BFGS, ms | 10^12 operations/s | share of product | GB |
|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 1024, 2048, 4096])
    parser.add_argument("--weights", type=Path, help="VGG-19's")
    parser.add_argument("--out", type=Path, default=PAGE)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("this machine, or this build of torch, has no CUDA device")
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
    return 2 * MATRIX**3 / timed(lambda: a @ b)


def timed(work: Callable[[], object]) -> float:
    """Seconds until the device has done it, the median of ROUNDS."""
    seconds = []
    for _ in range(FIRST + ROUNDS):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return median(seconds[FIRST:])


def row(encoder: str, size: int, product: float, weights: Path | None) -> str:
    """A line of the table."""
    run = made(encoder, size, weights)
    with devices.repeatable(run.device, run.encoder.dtype):
        with Counter() as counter:
            loss_and_gradient(run, limit=0)(run.start)
        anew = seconds_of(run, limit=0)
        recorded = seconds_of(run, stylizer.RECORDED) if size * size <= stylizer.RECORDED else None
    torch.cuda.reset_peak_memory_stats()
    steps = step_seconds(run)
    peak = torch.cuda.max_memory_allocated() / 1e9
    rate = counter.operations / min(anew, recorded or anew)
    return (
        f"| {encoder} | {size} | {1e3 * anew:.2f} | {'' if recorded is None else f'{1e3 * recorded:.2f}'} | {1e3 * steps:.2f} "
        f"| {rate / 1e12:.0f} | {rate / product:.0%} | {peak:.1f} |"
    )


def made(encoder: str, size: int, weights: Path | None) -> Run:
    """The default run of a square picture, all its steps at that one size."""
    photo = pictures.resize(pictures.load(PHOTO).pixels, (size, size))
    run = Stylizer(encoder=encoder, weights=weights, size=size, device="cuda", precision="bf16").run(photo[0], PAINTING)
    run.scales, run.start = [Scale(run.size, FIRST + 11 + ROUNDS)], photo.to(run.device)  # L-BFGS's history is full at last
    return run


def seconds_of(run: Run, limit: int) -> float:
    """Seconds of the losses and the gradient, see `loss_and_gradient`."""
    found = timed(partial(loss_and_gradient(run, limit), run.start))
    devices.free(run.device)  # what was recorded has memory of its own
    return found


def loss_and_gradient(run: Run, limit: int) -> Callable[[Tensor], object]:
    """What a step computes; recorded if the picture has no more pixels than limit."""
    before, stylizer.RECORDED = stylizer.RECORDED, limit
    try:
        return run.way(run.size, None)
    finally:
        stylizer.RECORDED = before


def step_seconds(run: Run) -> float:
    """Seconds between the last steps of a run, the median."""
    seconds, began = [], 0.0
    for _ in run:
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return median(seconds[-ROUNDS:])


def whole_runs(sizes: list[int]) -> str:
    """The default run by size, from photograph and painting in memory to the picture; the second of two."""
    text = "| the default run, lite | steps | seconds |\n|---|---|---|\n"
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
