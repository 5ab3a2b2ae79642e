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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np
import torch
from cyclopts import App, Parameter
from torch import Tensor, distributed
from torch.nn import functional

from impasto import encoders, files, weights
from impasto.encoders import Encoder
from impasto.fast import net as nets
from impasto.fast import stored
from impasto.fast.moments import Moments, mixed, moments
from impasto.fast.net import CHANNELS, KEPT, TAPS, Look, Net
from impasto.fast.recolor import palette_distance, recolored
from impasto.losses import TINT_FLOOR, TINT_REACH, detail
from impasto.palette import averaged, quantiles
from training import checkpoint as checkpoints
from training.data import Picture, decode, gather
from training.encoder import say

FORMAT = "impasto instant training 1"
LEVELS = ((1, 0.5), (2, 0.3), (4, 0.2))  # of the style loss, as in the engine's objective (`terms.METHODS`)
SMALLEST = 64  # pixels: sides at which a painting is taken
SOFT = 0.1  # style distance beyond which it counts less, so that no painting outweighs the others
HELD_OUT = 300  # images of each kind
BASIS_IMAGES = 320
PRINT_EVERY, SAVE_EVERY = 50, 200  # steps
EMA = 0.999

Pixels = Tensor


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
    content: float = 1.0
    style: float = 40.0
    palette: float = 10.0
    tint: float = 1.0
    weave: float = 1.0
    grain: float = 0.1
    identity: float = 0.08


# -------------------------------------------------------------------------------------------------------------- targets


def grams(F: Tensor) -> Tensor:
    """Gram matrices per position, without a gradient. F: BxNxHxW. Returns BxNxN float32."""
    rows = F.permute(0, 2, 3, 1).flatten(1, 2)
    return torch.bmm(rows.mT, rows).float() / rows.shape[1]


def style_distance(F: Tensor, A: Tensor) -> Tensor:
    """`relative_style_loss` for a batch. F: BxNxHxW; A: NxN per position. Returns B."""
    distance: Tensor = _StyleDistance.apply(F, A)  # type: ignore[no-untyped-call]
    return distance


class _StyleDistance(torch.autograd.Function):
    """With its own backward: Gram matrices are symmetric, and large where features are few."""

    @staticmethod
    def forward(ctx: Any, F: Tensor, A: Tensor) -> Tensor:
        """See `style_distance`."""
        rows = F.permute(0, 2, 3, 1).flatten(1, 2)
        apart = torch.bmm(rows.mT, rows).float().div_(rows.shape[1]).sub_(A)
        ctx.energy = float(A.square().sum().clamp_min(1e-6))
        ctx.save_for_backward(F, apart.to(F.dtype))
        return torch.linalg.vector_norm(apart, dim=(1, 2)).square() / ctx.energy

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """gradient: B. Returns that of F."""
        F, apart = ctx.saved_tensors
        rows = F.permute(0, 2, 3, 1).flatten(1, 2)
        factor = (gradient * 4 / rows.shape[1] / ctx.energy).to(F.dtype)
        slope = torch.bmm(rows, apart * factor[:, None, None])
        return slope.unflatten(1, F.shape[2:]).permute(0, 3, 1, 2), None


@dataclass(frozen=True)
class Target:
    """A style at several sizes: {side: {tap: Gram matrix}}, its looks by side, its palette, and its fine detail."""

    grams: Mapping[int, Mapping[str, Tensor]]
    looks: Mapping[int, Look]
    Q: Tensor
    fine: Mapping[int, Tensor]
    straight: Mapping[int, Tensor]
    image: Mapping[int, Tensor]


def target_of(painting: Pixels, sides: tuple[int, ...], net: Net, encoder: Encoder) -> Target:
    """painting: 1x3xSxS."""
    G, looks, images = {}, {}, {side: reduced(painting, side) for side in sides}
    for side, image in images.items():
        features = encoder(image)
        G[side] = {tap: grams(features[tap])[0] for tap in TAPS}
        looks[side] = {tap: moments(net.basis.project(tap, features[tap].float())) for tap in TAPS}
    fine = {side: fine_energy(image) for side, image in images.items()}
    straight = {side: straight_share(image) for side, image in images.items()}
    return Target(G, looks, quantiles(painting), fine, straight, images)


def blended(a: Target, b: Target, share: float) -> Target:
    """Between two styles."""
    G = {side: {tap: torch.lerp(own[tap], b.grams[side][tap], share) for tap in TAPS} for side, own in a.grams.items()}
    looks = {side: mixed([(a.looks[side], 1 - share), (b.looks[side], share)]) for side in a.looks}
    fine = {side: torch.maximum(a.fine[side], b.fine[side]) for side in a.fine}
    straight = {side: torch.maximum(a.straight[side], b.straight[side]) for side in a.straight}
    return Target(G, looks, torch.lerp(a.Q, b.Q, share), fine, straight, a.image)


def reduced(x: Pixels, side: int) -> Pixels:
    """Square images at another side."""
    if x.shape[-1] == side:
        return x
    return (
        functional.interpolate(x, size=(side, side), mode="bicubic", antialias=True)
        .clamp(0, 1)
        .contiguous(memory_format=torch.channels_last)
    )


# --------------------------------------------------------------------------------------------------------------- losses


def fine_energy(x: Pixels) -> Tensor:
    """The energies of second differences of 1, 2 and 4 pixels, along rows, columns and diagonals. x: Bx3xHxW. Returns Bx27."""
    found = []
    for d in (1, 2, 4):
        c = x[..., d:-d, d:-d]
        across = x[..., d:-d, : -2 * d] - 2 * c + x[..., d:-d, 2 * d :]
        down = x[..., : -2 * d, d:-d] - 2 * c + x[..., 2 * d :, d:-d]
        cross = x[..., :-d, :-d] - x[..., d:, :-d] - x[..., :-d, d:] + x[..., d:, d:]
        found += [across, down, cross]
    return torch.stack([each.square().mean((2, 3)) for each in found], 2).flatten(1)


_BANDS: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = {}


def straight_share(x: Pixels) -> Tensor:
    """The share of energy near vertical and horizontal waves in the two finest octaves: a mesh, which lite does not see. Bx2."""
    height, width = x.shape[-2:]
    if (height, width) not in _BANDS:
        window = torch.outer(*(torch.hann_window(side + 2, periodic=False)[1:-1] for side in (height, width)))
        down, across = torch.fft.fftfreq(height).abs()[:, None], torch.fft.rfftfreq(width).abs()[None]
        radius, angle = torch.hypot(down, across), torch.atan2(down.expand(-1, across.shape[1]), across.expand(height, -1))
        straight = torch.minimum(angle, math.pi / 2 - angle) <= math.radians(10)
        octaves = torch.stack([(radius >= low) & (radius < 2 * low) for low in (1 / 4, 1 / 8)]).float()
        _BANDS[height, width] = window, octaves, octaves * straight
    window, octaves, straight = (each.to(x.device) for each in _BANDS[height, width])
    gray = x.float().mean(1)
    energy = torch.fft.rfft2((gray - gray.mean((1, 2), keepdim=True)) * window).abs().square() / (height * width)
    rest = 1e-3
    return (torch.einsum("bhw,khw->bk", energy, straight) + rest * 2 / 9) / (
        torch.einsum("bhw,khw->bk", energy, octaves) + rest
    )


def losses(x: Pixels, kept: Pixels, target: Target, encoder: Encoder, shares: Mapping[int, float]) -> dict[str, Tensor]:
    """The mean losses of results x of one style. kept: the photographs in its colors; shares: of the levels, by side."""
    side = x.shape[-1]
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        P = encoder.only({"relu3_1"})(kept)["relu3_1"]
        W = torch.cat([detail(p[None, ::8].float()) for p in P])  # every eighth channel is enough, and faster
        tint = averaged(kept)
        T = torch.cat([detail(t[None], TINT_REACH, TINT_FLOOR) for t in tint])
        straight = torch.maximum(straight_share(kept), target.straight[side])
    style = []
    for at, share in shares.items():
        taps = TAPS[:3] if at == side and len(shares) == len(LEVELS) else TAPS
        F = encoder.only(taps)(functional.avg_pool2d(x, side // at) if at < side else x)
        if at == side:
            found["content"] = (
                (W * (F["relu3_1"].float() - P).square()).mean((1, 2, 3)) / P.float().var((1, 2, 3)).clamp_min(1e-3)
            ).mean()
        for tap in taps:
            style.append(share / len(taps) * style_distance(F[tap], target.grams[at][tap]))
    each = torch.stack(style).sum(0)
    found["style"] = each.mean()
    found["soft"] = SOFT * torch.log1p(each / SOFT).mean()
    found["palette"] = palette_distance(x, target.Q).mean()
    spread = tint.var((2, 3), correction=0).mean(1).clamp_min(1e-3)
    found["tint"] = ((T * (averaged(x) - tint).square()).mean((1, 2, 3)) / spread).mean()
    found["grain"] = (
        (torch.log(fine_energy(x) + 1e-4) - torch.log(torch.maximum(fine_energy(kept), target.fine[side]) + 1e-4))
        .clamp_min(0)
        .square()
        .mean()
    )
    found["weave"] = (straight_share(x) - straight).clamp_min(0).sum(1).mean()
    found["outside"] = ((x - 0.5).abs() - 0.5).clamp_min(0).square().mean()
    return found


def levels(side: int) -> dict[int, float]:
    """{side: share} of the levels of the style loss."""
    fitting = {side // factor: share for factor, share in LEVELS if side // factor >= SMALLEST}
    return {at: share / sum(fitting.values()) for at, share in fitting.items()}


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
        total: dict[str, float] = {}
        for _ in range(config.styles):
            count = max(1, config.photos // 2) if second else config.photos
            strength = 0.5 if rng.random() < 0.5 else float(rng.uniform(0.1, 1))
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
            t = strength * (1.28 - 0.56 * strength)
            keep, change = 4 * (1 - t) ** 2, 4 * t**2
            loss = keep * (config.content * parts["content"] + config.tint * parts["tint"])
            loss = loss + change * (config.style * parts["soft"] + config.palette * parts["palette"])
            loss = loss + config.grain * parts["grain"] + config.weave * parts["weave"] + 30 * parts["outside"]
            if identity:
                loss = loss + 50 * (x - kept).square().mean() + 2 * (x - kept).abs().mean()
            (loss / config.styles).backward()
            for name, value in parts.items():
                total[name] = total.get(name, 0.0) + float(value.detach()) / config.styles
            total["loss"] = total.get("loss", 0.0) + float(loss.detach()) / config.styles
        return total | {"side": side}

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
        flat = torch.cat([p.grad.flatten() for p in self.named.values()])
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
