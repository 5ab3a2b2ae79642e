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
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from cyclopts import App, Parameter
from PIL import Image
from torch import Tensor, distributed

from impasto import encoders, files, weights
from impasto.errors import DivergenceError, ImpastoError, WeightsFileError
from impasto.fast import net as nets
from impasto.fast import stored
from impasto.fast.net import CHANNELS, Net
from impasto.fast.objective import Weights, blended, levels, losses, painted_level, reduced, target_of, total
from impasto.fast.recolor import recolored
from impasto.portable import card
from impasto.portable.network import KEPT, TAPS
from training import checkpoint as checkpoints
from training.data import Picture, decode, gather
from training.encoder import say

FORMAT = "impasto instant training 1"
LICENCE = "Apache-2.0"
COARSE, FINE = (96, 128, 160), (192, 256)  # pixels: sides of the first level and of the second
PAINTING_SIDE = 256  # pixels
USUAL = 0.65  # share of samples of strength 0.5; the others are uniform from FAINTEST to 1
FAINTEST = 0.1
MIXED = 0.25  # share of styles that are mixtures of two
PHOTO_ZOOM, PAINTING_ZOOM = 0.5, 0.55  # least share of the shorter side that a crop has
PRINT_EVERY, SAVE_EVERY = 50, 200  # steps
EMA = 0.999
IDENTITY = (50.0, 2.0)  # weights of the squared and of the absolute distance to a painting that is painted in its own style


@dataclass(frozen=True)
class Config:
    """The settings of a run, stored in the checkpoint.

    steps: in all. styles, photos: of a step of each process; at the second level half as many photographs. rate: of Adam, with `warmup`
    first steps and `cooldown` last ones of a lower rate. seed: of everything random. second: share of steps that train the second
    level, from a result of the first. identity: share of samples that are a painting in its own style. basis: images that the
    directions of lite's features are found on. weights: of the losses.
    """

    steps: int = 8000
    styles: int = 2
    photos: int = 4
    rate: float = 1e-3
    warmup: int = 100
    cooldown: int = 1500
    seed: int = 0
    second: float = 0.5
    identity: float = 0.08
    basis: int = 320
    weights: Annotated[Weights, Parameter(name="*")] = field(default_factory=Weights)


class Trainer:
    """The network, its optimizer, and the images.

    pictures: photographs and paintings. rank, world: of this process, and the number of processes. dtype: of products.
    """

    def __init__(
        self,
        config: Config,
        pictures: tuple[tuple[Picture, ...], tuple[Picture, ...]],
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.config, self.device, self.rank, self.world = config, device, rank, world
        self.photos, self.paintings = pictures
        self.encoder = encoders.build(weights.load("lite"), TAPS, pooling="max", padding="replicate").prepare(device, dtype)
        torch.manual_seed(config.seed)
        self.net = Net().to(device)
        self.named = dict(self.net.named_parameters())
        self.optimizer = torch.optim.Adam(self.named.values(), lr=config.rate, betas=(0.9, 0.99))
        self.ema = {name: value.detach().clone() for name, value in self.named.items()}
        self.step = 0

    @torch.no_grad()
    def find_basis(self) -> None:
        """Principal directions of lite's features, three quarters of them from paintings."""
        rng, count = np.random.default_rng(self.config.seed), self.config.basis
        means = {tap: torch.zeros(CHANNELS[tap]) for tap in TAPS}
        squares = {tap: torch.zeros(CHANNELS[tap], CHANNELS[tap]) for tap in TAPS}
        for i in range(count):
            image = crops(self.photos if i % 4 == 3 else self.paintings, rng, 1, PAINTING_ZOOM, (64, 128, 192)[i % 3])
            for tap, F in self.encoder(image.to(self.device)).items():
                rows = F.float()[0].flatten(1)
                means[tap] += rows.mean(1).cpu() / count
                squares[tap] += (rows @ rows.T / rows.shape[1]).cpu() / count
        for tap in TAPS:
            covariance = squares[tap] - torch.outer(means[tap], means[tap])
            values, vectors = torch.linalg.eigh(covariance.double())
            values, vectors = values.flip(0)[: KEPT[tap]], vectors.flip(1)[:, : KEPT[tap]]
            center, directions = self.net.basis.of(tap)
            center.copy_(means[tap])
            directions.copy_((vectors / values.clamp_min(1e-6).sqrt()).float())
            say(f"{tap}: {KEPT[tap]} directions hold {float(values.sum() / covariance.trace()):.2f} of the variance")

    def rate(self) -> float:
        """The learning rate of the next step: warm-up, constant, and a linear decline over the last `cooldown` steps."""
        config, step = self.config, self.step
        return config.rate * min(1, (step + 1) / config.warmup, max(0.02, (config.steps - step) / max(1, config.cooldown)))

    def run(self) -> Iterator[dict[str, float]]:
        """Train to the end. Yields the mean losses of every step. Raises DivergenceError before the weights change."""
        while self.step < self.config.steps:
            self.optimizer.zero_grad(set_to_none=True)
            found = self._gradients()
            self._average()
            norm = float(torch.nn.utils.clip_grad_norm_(self.named.values(), 1.0))
            if not math.isfinite(norm):
                raise DivergenceError(f"the gradient became NaN or infinite at step {self.step + 1}", remedy="lower {rate}")
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate()
            self.optimizer.step()
            self.step += 1
            decay = min(EMA, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(self.ema.values()), [p.detach() for p in self.named.values()], 1 - decay)
            yield found

    def _gradients(self) -> dict[str, float]:
        """Add up the gradients of this step's samples. All that is random depends on the seed, the step and the process only."""
        config, sums = self.config, dict[str, float]()
        rng = np.random.default_rng((config.seed, self.rank, self.step))
        common = np.random.default_rng((config.seed, self.step))  # the same size in all processes, which wait for each other
        second = bool(common.random() < config.second)
        side = int(common.choice(FINE if second else COARSE))
        for _ in range(config.styles):
            parts = self._sample(side, rng, second=second)
            (parts["loss"] / config.styles).backward()  # type: ignore[no-untyped-call]
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / config.styles
        return sums | {"side": side}

    def _sample(self, side: int, rng: np.random.Generator, *, second: bool) -> dict[str, Tensor]:
        """The losses of one style on some photographs at a level of `side` pixels."""
        config = self.config
        count = max(1, config.photos // 2) if second else config.photos
        strength = 0.5 if rng.random() < USUAL else float(rng.uniform(FAINTEST, 1))
        itself = bool(rng.random() < config.identity)
        sides = (side, side // 2, side // 4) if second else (side, side // 2)
        paint = partial(painted_level, self.net, self.encoder)
        with torch.no_grad():
            painting, other = (crops(self.paintings, rng, 1, PAINTING_ZOOM, PAINTING_SIDE).to(self.device) for _ in range(2))
            target = target_of(painting, sides, self.net, self.encoder)
            if rng.random() < MIXED and not itself:
                target = blended(target, target_of(other, sides, self.net, self.encoder), float(rng.random()))
            found = painting.expand(count, -1, -1, -1) if itself else crops(self.photos, rng, count, PHOTO_ZOOM, side)
            photos = reduced(found.to(self.device), side)
            kept = start = torch.lerp(photos, recolored(photos, target.Q), min(1.0, 2 * strength))
            if second:
                small = reduced(kept, side // 2)
                below = paint(small, small, target, strength, origin=origin(rng)).clamp(0, 1)
                start = nets.start(below, kept, small)
        x = paint(kept, start, target, strength, origin=origin(rng))
        parts = losses(x, kept, target, self.encoder, levels(side))
        loss = total(parts, strength, config.weights)
        if itself:
            loss = loss + IDENTITY[0] * (x - kept).square().mean() + IDENTITY[1] * (x - kept).abs().mean()
        return parts | {"loss": loss}

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
        """Replace the checkpoint. Raises SaveError; the previous one is then unchanged."""
        states = {name: self.optimizer.state[p] for name, p in self.named.items() if p in self.optimizer.state}
        groups: dict[str, Mapping[str, Tensor]] = {
            "net": self.named,
            "ema": self.ema,
            "basis": dict(self.net.named_buffers()),
            "mean": {name: state["exp_avg"] for name, state in states.items()},
            "square": {name: state["exp_avg_sq"] for name, state in states.items()},
        }
        tensors = {f"{group}/{name}": value.detach().float() for group, some in groups.items() for name, value in some.items()}
        metadata = {"format": FORMAT, "config": json.dumps(asdict(self.config)), "step": str(self.step)}
        files.write(target, checkpoints.serialize(tensors, metadata), (target.suffix,), overwrite=True)

    def load(self, file: Path, *, fresh: bool = False) -> None:
        """Resume from a checkpoint. fresh: only take its network, or that of an exported file. Raises WeightsFileError."""
        metadata, tensors = checkpoints.read(file)
        if fresh and card.CARD in metadata:
            self.net.load_state_dict(stored.load(file).net.state_dict())
            self.ema = {name: value.detach().clone() for name, value in self.named.items()}
            return
        if metadata.get("format") != FORMAT:
            raise WeightsFileError(f"{files.printable(file)} is not a checkpoint of this program")
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
            mean, square = (tensors[f"{group}/{name}"].clone().to(self.device) for group in ("mean", "square"))
            self.optimizer.state[p] = {"step": torch.tensor(float(self.step)), "exp_avg": mean, "exp_avg_sq": square}


def origin(rng: np.random.Generator) -> tuple[int, int]:
    """A place in an image, for the noise that the network gets there."""
    row, column = (nets.MULTIPLE * int(shift) for shift in rng.integers(nets.TILE, size=2))
    return row, column


def crops(pictures: tuple[Picture, ...], rng: np.random.Generator, count: int, zoom: float, side: int) -> Tensor:
    """Random square crops at `side` pixels, mirrored half the time: countx3xsidexside in 0..1.

    zoom: the smallest share of an image's shorter side that a crop has.
    """
    rows = []
    for i in rng.integers(0, len(pictures), count):
        image = decode(pictures[i])
        room = rng.uniform(zoom, 1) * min(image.size)
        left, top = (rng.random() * (extent - room) for extent in image.size)
        box = (left, top, left + room, top + room)
        crop = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box), np.float32) / 255
        rows.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


app = App(
    name="python -m training.fast",
    help=str(__doc__),
    help_format="plaintext",
    version_flags=(),
    suppress_keyboard_interrupt=False,
)


@app.default
def train(
    *,
    photos: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)],
    paintings: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)],
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    start: Path | None = None,
    held_out: int = 300,
    config: Annotated[Config | None, Parameter(name="*")] = None,
) -> None:
    """Train, or resume.

    Parameters
    ----------
    photos: tuple[Path, ...]
        Folders or tar files of photographs.
    paintings: tuple[Path, ...]
        Folders or tar files of paintings.
    output: Path
        The checkpoint, from which the same command resumes.
    start: Path
        A checkpoint, or a network exported before, that a new run starts from.
    held_out: int
        Images of each kind, the last by name, that are not used.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        distributed.init_process_group("gloo")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(config or Config(), gather(photos, paintings, held_out).train, device, rank, world)
    if output.exists():
        trainer.load(output)
    elif start:
        trainer.load(start, fresh=True)
    else:
        trainer.find_basis()
    recent, began = list[dict[str, float]](), time.monotonic()
    for found in trainer.run():
        recent.append(found)
        if rank:
            continue
        if trainer.step % PRINT_EVERY == 0:
            report(trainer.step, time.monotonic() - began, recent)
            recent = []
        if trainer.step % SAVE_EVERY == 0 or trainer.step == trainer.config.steps:
            trainer.save(output)


def report(step: int, seconds: float, recent: list[dict[str, float]]) -> None:
    """Print the mean losses of the last steps, for each level."""
    for name, sides in (("first level", COARSE), ("second level", FINE)):
        some = [one for one in recent if one["side"] in sides]
        if some:
            means = {key: sum(one[key] for one in some) / len(some) for key in some[0] if key != "side"}
            say(f"{step} {seconds:.0f} s {name}: " + " ".join(f"{key} {value:.4f}" for key, value in means.items()))


@app.command
def export(checkpoint: Path, /, *, output: Annotated[Path, Parameter(name=["--output", "-o"])] = card.FILE) -> None:
    """Write the moving average of a checkpoint as the network that impasto ships.

    Parameters
    ----------
    checkpoint: Path
        Of a training run.
    output: Path
        The file to write.
    """
    metadata, tensors = checkpoints.read(checkpoint)
    if metadata.get("format") != FORMAT:
        raise WeightsFileError(f"{files.printable(checkpoint)} is not a checkpoint of this program")
    network = Net()
    network.load_state_dict({name.partition("/")[2]: x for name, x in tensors.items() if name.startswith(("ema/", "basis/"))})
    told = f"{metadata['step']} steps, {metadata['config']}"
    stored.save(network, output, encoder=weights.load("lite").digest, training=told, licence=LICENCE)
    say(f"wrote {files.printable(output)}, {output.stat().st_size / 1e6:.2f} MB")


def main() -> int:
    """Run the program. Returns its exit code."""
    try:
        app(exit_on_error=True, result_action="return_value")
    except ImpastoError as error:
        say(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
