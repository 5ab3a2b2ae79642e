"""Measure impasto's speed, compared with a plain PyTorch loop, and write docs/benchmarks.md.

    python benchmarks/speed.py [steps] [loss] [arithmetic] [command] [optimizers] [--size 512] [--weights VGG19] [--dry]

steps       a step of VGG-19 Gatys and of lite, compared with the usual loop: fp32, NCHW, torch.optim.LBFGS
loss        the loss of both after 300 steps, at --loss-size pixels
arithmetic  operations per second, compared with a large matrix product in the same precision
command     the default command from start to saved file, and `impasto --help`
optimizers  loss and seconds for L-BFGS with and without its metric and its scales, and for Adam

Without --weights, VGG-19 has seeded random weights, which are equally fast. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, get_args

import torch
from machine import PAINTING, PHOTO, ROOT, processor, timed
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

import impasto
from impasto import Stylizer, pictures
from impasto.catalog import Quality, defaults
from impasto.compute import allocator
from impasto.compute.memory import Plan
from impasto.ladder import schedule as share_out
from impasto.run import Run
from impasto.weights.formats import OURS
from impasto.weights.networks import convolution_shapes

PAGE = ROOT / "docs" / "benchmarks.md"
ROUNDS = 5
STYLE_TAPS = defaults("gatys")["style_taps"]
CONTENT_TAP = "relu4_2"
MATRIX = 4096
WHERE = """
import runpy, sys, time
from impasto import optimize
began, minimize = float(sys.argv.pop(1)), optimize.minimize
def first(*given):
    print(f"first step after {time.time() - began}", flush=True)
    optimize.minimize = minimize
    return minimize(*given)
optimize.minimize = first
runpy.run_module("impasto", run_name="__main__", alter_sys=True)
"""


def random_vgg19(file: Path) -> Path:
    """Write a VGG-19 with random weights (He et al.), whose features are about as large as the published one's."""
    generator, tensors = torch.Generator().manual_seed(0), {"mean": torch.tensor([123.68, 116.779, 103.939])}
    for name, shape in convolution_shapes("vgg19").items():
        deviation = (2 / (shape[1] * 9)) ** 0.5
        tensors[f"{name}.weight"] = deviation * torch.randn(shape, generator=generator)
        tensors[f"{name}.bias"] = torch.zeros(shape[0])
    save_file(tensors, file, {"input": OURS, "network": "vgg19"})
    return file


# ---------------------------------------------------------------------------------------------------------- the plain loop


class Plain(nn.Module):
    """Neural style transfer as in tutorials: VGG-19 layer by layer, Gram matrices, one LBFGS."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        filters, layers = run.problem.encoder.filters, []
        for name, (outputs, inputs, *_) in convolution_shapes("vgg19").items():
            if f"{name}_weight" not in filters:
                break
            if name.endswith("_1") and name != "conv1_1":
                layers.append(("pool" + name, nn.AvgPool2d(2)))
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
            convolution.weight.data.copy_(filters[f"{name}_weight"].float())
            convolution.bias.data.copy_(filters[f"{name}_bias"].float())
            layers += [(name, convolution), (name.replace("conv", "relu"), nn.ReLU())]
        self.layers = nn.ModuleDict(layers).requires_grad_(False)
        self.mean = torch.tensor([123.68, 116.779, 103.939]).reshape(1, 3, 1, 1)
        self.alpha, self.beta = run.problem.options.content_weight, run.problem.options.style_weight
        with torch.no_grad():
            self.content = self(pictures.resize(run.problem.pixels, run.problem.size))[CONTENT_TAP]
            painting = pictures.resize(pictures.load(PAINTING).pixels, run.problem.size)
            self.targets = {tap: self.gram(F) for tap, F in self(painting).items() if tap in STYLE_TAPS}

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """The features of every layer by name."""
        x, found = 255 * image - self.mean, {}
        for name, layer in self.layers.items():
            x = found[name] = layer(x)
        return found

    @staticmethod
    def gram(F: Tensor) -> Tensor:
        """The Gram matrix, NxN."""
        rows = F.flatten(2)[0]
        return rows @ rows.T

    def loss(self, image: Tensor) -> Tensor:
        """Gatys et al. 2016, equations 1 to 7."""
        seen = self(image)
        total = self.alpha * 0.5 * (seen[CONTENT_TAP] - self.content).square().sum()
        for tap, A in self.targets.items():
            N, M = seen[tap].shape[1], seen[tap].shape[2] * seen[tap].shape[3]
            total = total + self.beta / len(self.targets) * (self.gram(seen[tap]) - A).square().sum() / (4 * N**2 * M**2)
        return total

    def steps(self, start: Tensor) -> Iterator[float]:
        """Minimize, yielding the loss at every step."""
        picture = start.clone().contiguous().requires_grad_()
        lbfgs = torch.optim.LBFGS([picture], max_iter=1, history_size=10, tolerance_grad=0, tolerance_change=0)

        def closure() -> Tensor:
            lbfgs.zero_grad()
            loss = self.loss(picture)
            loss.backward()
            return loss.detach()

        while True:
            yield float(lbfgs.step(closure))


def gatys(encoder: str, size: int, iterations: int, **options: object) -> Run:
    """A run of the published method on the sample images, starting from the photograph."""
    stylizer = Stylizer(method="gatys", encoder=encoder, size=size, iterations=iterations, init="content", **options)
    return stylizer.run(PHOTO, PAINTING)


# --------------------------------------------------------------------------------------------------------------- sections


def steps(weights: Path, size: int) -> str:
    """Median seconds per step, measured in turn."""
    runs = {
        "VGG-19, fp32": gatys("vgg19", size, 2 * ROUNDS, weights=weights, precision="fp32"),
        "VGG-19, precision auto": gatys("vgg19", size, 2 * ROUNDS, weights=weights, precision="auto"),
        "lite, precision auto": gatys("lite", size, 2 * ROUNDS, precision="auto"),
    }
    plain = runs["VGG-19, fp32"]
    ways: dict[str, Iterator[object]] = {
        "plain loop, VGG-19": Plain(plain).steps(plain.problem.start(plain.problem.size)),
    }
    ways |= {name: iter(run) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 2):  # the first ones set things up
        for name, way in ways.items():
            began = time.perf_counter()
            next(way)
            if number >= 2:
                seconds[name].append(time.perf_counter() - began)
    plain = median(seconds["plain loop, VGG-19"])
    rows = [f"| {name} | {median(found):.3f} | {plain / median(found):.2f} |" for name, found in seconds.items()]
    head = f"## A step at {size} pixels\n\n| | seconds, median of {ROUNDS} | speed-up |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def loss(weights: Path, size: int, count: int = 300) -> str:
    """The plain loop's loss of its own result and of impasto's after the same number of steps."""
    rows, plain, wanted = [], None, 0.0
    for name, precision in (("VGG-19, fp32", "fp32"), ("VGG-19, precision auto", "auto")):
        run = gatys("vgg19", size, count, weights=weights, precision=precision)
        if plain is None:
            plain = Plain(gatys("vgg19", size, 1, weights=weights, precision="fp32"))
            way = plain.steps(run.problem.start(run.problem.size))
            began = time.perf_counter()
            wanted = min(next(way) for _ in range(count))
            rows.append(f"| plain loop | {wanted:.4g} | | {time.perf_counter() - began:.0f} |")
        began = time.perf_counter()
        picture = ours(run, count)
        seconds = time.perf_counter() - began
        with torch.no_grad():
            found = float(plain.loss(picture))
        rows.append(f"| {name} | {found:.4g} | {found / wanted - 1:+.1%} | {seconds:.0f} |")
    head = f"## The loss after {count} steps, {size} pixels\n\n| | loss | relative to the plain loop | seconds |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


class Counter(TorchDispatchMode):
    """Counts the multiplications and additions of convolutions and matrix products with torch's formulas."""

    operations = 0
    # a convolution fused with its ReLU (impasto.encoders.layers); torch has no formula for it
    fused = "mkldnn::_convolution_pointwise"

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function and count its operations."""
        found = function(*args, **(kwargs or {}))
        if formula := flop_registry.get(function._overloadpacket):
            self.operations += formula(*args, **(kwargs or {}), out_val=found)
        elif function.name() == self.fused:
            self.operations += conv_flop_count(args[0].shape, args[1].shape, found.shape)
        return found


def arithmetic(weights: Path, size: int) -> str:
    """Operations per second of a step and of a matrix product."""
    rows = []
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(MATRIX, MATRIX).to(dtype) for _ in range(2))
        product = 2 * MATRIX**3 / timed(lambda a=a, b=b: a @ b)
        for encoder, more in (("vgg19", {"weights": weights}), ("lite", {})):
            run = gatys(encoder, size, 1, precision=precision, **more)
            way = run.problem.objective(run.problem.size, Plan())
            with Counter() as counter:
                way(run.problem.start(run.problem.size))
            with allocator.kept():  # as in a run
                rate = counter.operations / timed(lambda way=way, run=run: way(run.problem.start(run.problem.size)))
            rows.append(f"| {encoder}, {precision} | {rate / 1e9:.0f} | {product / 1e9:.0f} | {rate / product:.0%} |")
    head = (
        "| loss and gradient of a step | 10^9 operations/s | product of two 4096x4096 matrices | ratio |\n|---|---|---|---|\n"
    )
    return f"## Arithmetic at {size} pixels\n\n{head}" + "\n".join(rows) + "\n"


def command(weights: Path, size: int) -> str:
    """The default command and its help, in separate processes."""
    whole, first = [], []
    with tempfile.TemporaryDirectory() as folder:
        words = [str(PHOTO), str(PAINTING), "-o", str(Path(folder) / "out.png"), "--overwrite", "--size", str(size), "-q"]
        for _ in range(ROUNDS):
            began = time.time()
            found = subprocess.run(
                [sys.executable, "-c", WHERE, str(began), *words], check=True, capture_output=True, text=True
            )
            whole.append(time.time() - began)
            first.append(float(found.stdout.partition("first step after ")[2].split()[0]))
    script = Path(sys.executable).parent / "impasto"
    helped = timed(lambda: subprocess.run([str(script), "--help"], check=True, capture_output=True))
    rows = [
        ("default command, start to saved file", median(whole)),
        ("of this, before the first step", median(first)),
        ("`impasto --help`", helped),
    ]
    table = "\n".join(f"| {name} | {seconds:.2f} |" for name, seconds in rows)
    return f"## The command at {size} pixels\n\n| | seconds, median of {ROUNDS} |\n|---|---|\n{table}\n"


def optimizers(weights: Path, size: int) -> str:
    """The loss and seconds of different optimizers on the default objective."""
    rows = []
    for iterations in (defaults("impasto", quality=quality)["iterations"] for quality in get_args(Quality)):
        for name, change in WAYS.items():
            run = Stylizer(size=size, iterations=iterations).run(PHOTO, PAINTING)
            way = run.problem.objective(run.problem.size, Plan())
            began = time.perf_counter()
            picture = change(run, iterations)
            seconds = time.perf_counter() - began
            total = sum(way(picture)[0].values())
            rows.append(f"| {iterations} | {name} | {total:.3f} | {seconds:.1f} |")
    head = "| steps | | total loss | seconds |\n|---|---|---|---|\n"
    return f"## Optimizers on the default objective, {size} pixels\n\n{head}" + "\n".join(rows) + "\n"


def ours(run: Run, iterations: int) -> Tensor:
    """impasto's engine."""
    for step in run:
        last = step
    return last.image


def without_metric(run: Run, iterations: int) -> Tensor:
    """L-BFGS that starts from the identity."""
    run.problem.method = replace(run.problem.method, metric=None)
    return ours(run, iterations)


def one_scale(run: Run, iterations: int) -> Tensor:
    """All steps at the full size."""
    run.scales = share_out([run.problem.size], iterations)
    return ours(run, iterations)


def adam(rate: float) -> Callable[[Run, int], Tensor]:
    """torch's Adam with the same scales and steps; the rate falls to a tenth within each scale."""

    def paint(run: Run, iterations: int) -> Tensor:
        picture = run.problem.start(run.scales[0].size)
        for scale in run.scales:
            picture = pictures.resize(picture, scale.size).clone().requires_grad_()
            way, optimizer = run.problem.objective(scale.size, Plan()), torch.optim.Adam([picture], lr=rate)
            schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / scale.steps))
            for _ in range(scale.steps):
                _, picture.grad = way(picture)
                optimizer.step()
                schedule.step()
            picture = picture.detach()
        return picture

    return paint


WAYS: dict[str, Callable[[Run, int], Tensor]] = {
    "L-BFGS in the 1/f metric, coarse to fine (the default)": ours,
    "L-BFGS, coarse to fine": without_metric,
    "L-BFGS in the 1/f metric, one scale": one_scale,
    "Adam, rate 0.02, coarse to fine": adam(0.02),
    "Adam, rate 0.05, coarse to fine": adam(0.05),
}
SECTIONS = {"steps": steps, "loss": loss, "arithmetic": arithmetic, "command": command, "optimizers": optimizers}


def main() -> None:
    """Measure the sections; write the page or print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), help=f"{', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--loss-size", type=int, default=192)
    parser.add_argument("--weights", type=Path, help="weights file of VGG-19")
    parser.add_argument("--dry", action="store_true", help="print the tables without writing the page")
    asked = parser.parse_args()
    if wrong := set(asked.sections) - SECTIONS.keys():
        parser.error(f"unknown section {', '.join(sorted(wrong))}; known: {', '.join(SECTIONS)}")
    parts = [head()]
    with tempfile.TemporaryDirectory() as folder:
        weights = asked.weights or random_vgg19(Path(folder) / "vgg19.safetensors")
        for name in asked.sections:
            parts.append(SECTIONS[name](weights, asked.loss_size if name in ("loss", "optimizers") else asked.size))
            print(parts[-1], flush=True)
    if not asked.dry:
        PAGE.write_text("\n".join(parts), encoding="utf-8")


def head() -> str:
    """The page's first lines."""
    return (
        f"# Benchmarks\n\nWritten by `python benchmarks/speed.py` on {processor()}, {torch.get_num_threads()} threads of "
        f"{os.cpu_count()}, {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"impasto {impasto.__version__}. Sample images; seconds are medians, and each table comes from one run.\n"
    )


if __name__ == "__main__":
    main()
