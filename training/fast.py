"""Train and export the network behind `--quality instant`.

Train: python -m training.fast --photos photos.tar --paintings paintings.tar -o instant.ckpt --steps 8000

Run the same command again to resume from instant.ckpt, even after the process was killed. The result is the same. On a CPU, several
processes of one thread each are faster than one process of several threads:

    torchrun --nproc-per-node 2 -m training.fast ...
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from cyclopts import App, Parameter
from torch import Tensor, distributed
from torch.nn import functional

from impasto import encoders, files, weights
from impasto.fast import net as nets
from impasto.fast import stored
from impasto.fast.moments import moments
from impasto.fast.net import CHANNELS, KEPT, TAPS, Net
from impasto.fast.objective import Target, Weights, blended, levels, losses, reduced, target_of, total
from impasto.fast.recolor import recolored
from training import checkpoint as checkpoints
from training.data import Picture, decode, gather
from training.encoder import say

FORMAT = "impasto instant training 1"
USUAL = 0.65  # share of samples of strength 0.5
HELD_OUT = 300  # images of each kind
BASIS_IMAGES = 320
PRINT_EVERY, SAVE_EVERY = 50, 200  # steps
EMA = 0.999


@dataclass(frozen=True)
class Config:
    """The settings of a run. Stored in the checkpoint."""

    steps: int = 8000
    styles: int = 2
    photos: int = 4
    rate: float = 1e-3
    warmup: int = 100
    cooldown: int = 2000
    seed: int = 0
    second: float = 0.35
    weights: Annotated[Weights, Parameter(name="*")] = field(default_factory=Weights)
    identity: float = 0.08


# ----------------------------------------------------------------------------------------------------------------- steps


class Trainer:
    """The network, its optimizer, and the images.

    rank, world: of this process, and the number of processes.
    """

    def __init__(
        self,
        config: Config,
        photos: tuple[Picture, ...],
        paintings: tuple[Picture, ...],
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.config, self.photos, self.paintings, self.device, self.rank, self.world = (
            config,
            photos,
            paintings,
            device,
            rank,
            world,
        )
        self.dtype = dtype
        self.encoder = encoders.build(weights.load("lite"), TAPS, pooling="max", padding="replicate").prepare(device, dtype)
        torch.manual_seed(config.seed)
        self.net = Net().to(device)
        self.named = dict(self.net.named_parameters())
        self.optimizer = torch.optim.Adam(self.named.values(), lr=config.rate, betas=(0.9, 0.99))
        self.ema = {name: value.detach().clone() for name, value in self.named.items()}
        self.step = 0

    def find_basis(self) -> None:
        """Principal directions of lite's features over paintings and photographs."""
        rng = np.random.default_rng(self.config.seed)
        sums = {tap: [torch.zeros(CHANNELS[tap]), torch.zeros(CHANNELS[tap], CHANNELS[tap])] for tap in TAPS}
        with torch.no_grad():
            for i in range(BASIS_IMAGES):
                image = square((self.paintings, self.photos)[i % 4 == 3], rng, 1, 0.6, (64, 128, 192)[i % 3]).to(self.device)
                for tap, F in self.encoder(image).items():
                    rows = F.float()[0].flatten(1)
                    sums[tap][0] += rows.mean(1).cpu() / BASIS_IMAGES
                    sums[tap][1] += (rows @ rows.T / rows.shape[1]).cpu() / BASIS_IMAGES
        for tap, (mean, square_) in sums.items():
            values, vectors = torch.linalg.eigh((square_ - torch.outer(mean, mean)).double())
            kept = KEPT[tap]
            values, vectors = values.flip(0)[:kept], vectors.flip(1)[:, :kept]
            say(
                f"{tap}: {kept} directions hold {float(values.sum() / (square_.diagonal() - mean**2).sum()):.2f} of the variance"
            )
            center, directions = self.net.basis.of(tap)
            center.copy_(mean)
            directions.copy_((vectors / values.clamp_min(1e-6).sqrt()).float())

    def rate(self) -> float:
        """The learning rate of the next step: warm-up, constant, and a linear decline over the last `cooldown` steps."""
        config, step = self.config, self.step
        return config.rate * min(1, (step + 1) / config.warmup, max(0.02, (config.steps - step) / max(1, config.cooldown)))

    def run(self) -> Iterator[dict[str, float]]:
        """One step at a time: the losses."""
        while self.step < self.config.steps:
            self.optimizer.zero_grad(set_to_none=True)
            found = self._gradients()
            self._average()
            norm = torch.nn.utils.clip_grad_norm_(self.named.values(), 1.0)
            if not math.isfinite(float(norm)):
                raise SystemExit(f"the gradient is not finite at step {self.step}")
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate()
            self.optimizer.step()
            self.step += 1
            decay = min(EMA, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(self.ema.values()), [p.detach() for p in self.named.values()], 1 - decay)
            yield found | {"norm": float(norm)}

    def _gradients(self) -> dict[str, float]:
        config = self.config
        rng = np.random.default_rng((config.seed, self.rank, self.step))
        common = np.random.default_rng((config.seed, self.step))  # the same sides in all processes: they wait for each other
        second = common.random() < config.second
        side = int(common.choice((192, 256) if second else (96, 128, 160)))
        sums: dict[str, float] = {}
        for _ in range(config.styles):
            count = max(1, config.photos // 2) if second else config.photos
            strength = 0.5 if rng.random() < USUAL else float(rng.uniform(0.1, 1))
            identity = rng.random() < config.identity
            sides = (side, side // 2, side // 4) if second else (side, side // 2)
            with torch.no_grad():
                pictured = square(self.paintings, rng, 1, 0.55, 256).to(self.device)
                target = target_of(pictured, sides, self.net, self.encoder)
                if rng.random() < 0.25 and not identity:
                    other = square(self.paintings, rng, 1, 0.55, 256).to(self.device)
                    target = blended(target, target_of(other, sides, self.net, self.encoder), float(rng.random()))
                photos = (
                    pictured.expand(count, -1, -1, -1)
                    if identity
                    else square(self.photos, rng, count, 0.5, side).to(self.device)
                )
                photos = reduced(photos, side)
                kept = recolored(photos, target.Q)
                kept = torch.lerp(photos, kept, min(1.0, 2 * strength))
                start = kept
                if second:
                    below = self.result(reduced(kept, side // 2), None, None, target, strength, rng, frozen=True)
                    start = nets.start(below.clamp(0, 1), kept, reduced(kept, side // 2))
            x = self.result(kept, start, side, target, strength, rng)
            parts = losses(x, kept, target, self.encoder, levels(side))
            loss = total(parts, strength, config.weights)
            if identity:
                loss = loss + 50 * (x - kept).square().mean() + 2 * (x - kept).abs().mean()
            (loss / config.styles).backward()  # type: ignore[no-untyped-call]
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / config.styles
            sums["loss"] = sums.get("loss", 0.0) + float(loss.detach()) / config.styles
        return sums | {"side": side}

    def result(
        self,
        kept: Tensor,
        start: Tensor | None,
        side: int | None,
        target: Target,
        strength: float,
        rng: np.random.Generator,
        *,
        frozen: bool = False,
    ) -> Tensor:
        """The network's result at a level."""
        start = kept if start is None else start
        side = kept.shape[-1]
        with torch.no_grad():
            small = functional.avg_pool2d(start, 2).contiguous(memory_format=torch.channels_last)
            features = self.encoder.only(nets.SEEN)(small)
            z = {tap: self.net.basis.project(tap, features[tap]) for tap in nets.SEEN}
            seen = nets.moved(z, nets.moves({tap: moments(one) for tap, one in z.items()}, target.looks[side // 2]))
            code = nets.code(target.looks[side], target.Q, side, strength)
        with torch.set_grad_enabled(not frozen):
            own = self.net.filters(self.net.modulation(code), self.dtype)
            row, column = (nets.MULTIPLE * int(shift) for shift in rng.integers(nets.TILE, size=2))
            return self.net.paint(kept, start, seen, own, (row, column))

    def _average(self) -> None:
        """The mean gradient over the processes."""
        if self.world == 1:
            return
        flat = torch.cat([p.grad.flatten() for p in self.named.values() if p.grad is not None])
        distributed.all_reduce(flat)
        at = 0
        for p in self.named.values():
            p.grad = flat[at : at + p.numel()].view_as(p) / self.world
            at += p.numel()

    def save(self, target: Path) -> None:
        """Replace the checkpoint."""
        groups: dict[str, Mapping[str, Tensor]] = {"net": self.named, "ema": self.ema, "basis": dict(self.net.named_buffers())}
        states = {name: self.optimizer.state[p] for name, p in self.named.items() if p in self.optimizer.state}
        groups["mean"] = {name: s["exp_avg"] for name, s in states.items()}
        groups["square"] = {name: s["exp_avg_sq"] for name, s in states.items()}
        tensors = {f"{group}/{name}": value.detach().float() for group, some in groups.items() for name, value in some.items()}
        data = checkpoints.serialize(
            tensors, {"format": FORMAT, "config": json.dumps(asdict(self.config)), "step": str(self.step)}
        )
        files.write(target, data, (target.suffix,), overwrite=True)

    def load(self, file: Path, *, fresh: bool = False) -> None:
        """Resume from a checkpoint. fresh: only take the network from it, its moving average."""
        metadata, tensors = checkpoints.read(file)
        with torch.no_grad():
            for name, p in self.named.items():
                p.copy_(tensors[f"{'ema' if fresh else 'net'}/{name}"])
                self.ema[name].copy_(tensors[f"ema/{name}"])
            for name, buffer in self.net.named_buffers():
                buffer.copy_(tensors[f"basis/{name}"])
        if fresh:
            return
        self.step = int(metadata["step"])
        for name, p in self.named.items():
            mean, square_ = tensors[f"mean/{name}"].clone(), tensors[f"square/{name}"].clone()
            self.optimizer.state[p] = {"step": torch.tensor(float(self.step)), "exp_avg": mean, "exp_avg_sq": square_}


def square(pictures: tuple[Picture, ...], rng: np.random.Generator, count: int, zoom: float, side: int) -> Tensor:
    """Random square crops at `side` pixels, mirrored half the time. zoom: smallest share of the shorter side. Countx3xSxS in 0..1."""
    rows = []
    for i in rng.integers(0, len(pictures), count):
        image = decode(pictures[i])
        room = rng.uniform(zoom, 1) * min(image.size)
        left, top = (rng.random() * (extent - room) for extent in image.size)
        crop = np.asarray(image.resize((side, side), 3, (left, top, left + room, top + room)), np.float32) / 255
        rows.append(crop[:, ::-1].copy() if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


LICENCE = "Apache-2.0"
app = App(name="python -m training.fast", help=str(__doc__), help_format="plaintext", version_flags=())


@app.default
def train(
    *,
    photos: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)],
    paintings: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)],
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    start: Path | None = None,
    config: Annotated[Config, Parameter(name="*")] = Config(),
) -> None:
    """Train, or resume."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        distributed.init_process_group("gloo")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pictures = gather(photos, paintings, HELD_OUT)
    trainer = Trainer(config, *pictures.train, device, rank, world)
    if output.exists():
        trainer.load(output)
    elif start:
        trainer.load(start, fresh=True)
    else:
        trainer.find_basis()
    recent: list[dict[str, float]] = []
    began = time.monotonic()
    for found in trainer.run():
        recent.append(found)
        if rank == 0 and (trainer.step % PRINT_EVERY == 0 or trainer.step in (1, 5, 20)):
            for second in (False, True):
                some = [one for one in recent if (one["side"] > 160) == second]
                if some:
                    means = {name: sum(one[name] for one in some) / len(some) for name in some[0]}
                    say(
                        f"{trainer.step} {time.monotonic() - began:.0f} s {'fine' if second else 'coarse'} "
                        + " ".join(f"{name} {value:.4f}" for name, value in means.items())
                    )
            recent = []
        if rank == 0 and (trainer.step % SAVE_EVERY == 0 or trainer.step == config.steps):
            trainer.save(output)


@app.command
def export(checkpoint: Path, /, *, output: Annotated[Path, Parameter(name=["--output", "-o"])] = stored.FILE) -> None:
    """Write the moving average of a checkpoint as the network that impasto ships."""
    metadata, tensors = checkpoints.read(checkpoint)
    network = Net()
    state = {name.partition("/")[2]: value for name, value in tensors.items() if name.startswith(("ema/", "basis/"))}
    network.load_state_dict(state)
    told = f"{metadata['step']} steps, {metadata['config']}"
    stored.save(network, output, encoder=weights.load("lite").digest, training=told, licence=LICENCE)
    say(f"wrote {files.printable(output)}, {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    app()
