"""Tuning: a minute of fitting the network's parameters of one style, which are then stored with it.

Only what the network is told of the style is fitted, an addition to the style's modulation, as in Magenta's
`image_stylization_finetune`. The network itself stays as it is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from impasto import dials, pictures
from impasto.compute import settings
from impasto.fast import net as nets
from impasto.fast.looks import look_of
from impasto.fast.net import Look, Net
from impasto.fast.objective import Target, Weights, fine_energy, levels, losses, painted_level, reduced, straight_share, total
from impasto.fast.recolor import recolored
from impasto.fast.stored import Stored
from impasto.ladder import SMALLEST
from impasto.styles import Painted

SIDES = (128, 256)  # of the levels, in pixels
CROPS = {128: 4, 256: 2}  # photographs at a step
EVERY = 3  # steps, of which one fits the second level
RATE, WARMUP = 0.01, 5
STRENGTH = 0.5  # that styles are tuned at
STEPS = 150


@dataclass(frozen=True)
class Progress:
    """After a step: its number from 1, and the weighted sum of losses at its level, whose side is given."""

    step: int
    of: int
    side: int
    loss: float


def crops(photos: Sequence[Tensor], count: int, side: int, generator: torch.Generator) -> Tensor:
    """Random square crops, half of them mirrored. photos: 1x3xHxW. Returns countx3xsidexside."""
    found = []
    for _ in range(count):
        photo = photos[int(torch.randint(len(photos), (), generator=generator))]
        height, width = photo.shape[-2:]
        share, down, right, flip = torch.rand(4, generator=generator).tolist()
        own = max(1, round((0.5 + 0.5 * share) * min(height, width)))
        top, left = round(down * (height - own)), round(right * (width - own))
        crop = pictures.resize(photo[..., top : top + own, left : left + own], (side, side))
        found.append(crop.flip(3) if flip < 0.5 else crop)
    return torch.cat(found)


def tune(
    style: Painted, stored: Stored, photos: Sequence[Tensor], steps: int = STEPS, seed: int = 0
) -> Iterator[tuple[Progress, Tensor]]:
    """Fit the network to a painting. Yields the progress and the tuning so far, a vector, after every step.

    style: its encoder is lite. photos: 1x3xHxW in 0..1, of any sizes: what the style is tried on. The same arguments give the same
    tuning on the same machine.
    """
    return settings.each_step(_tuned(style, stored, photos, steps, seed))


def _tuned(
    style: Painted, stored: Stored, photos: Sequence[Tensor], steps: int, seed: int
) -> Generator[tuple[Progress, Tensor], None, None]:
    device = next(style.encoder.parameters()).device
    net, target, generator = (
        stored.on(device),
        _target(style, stored.on(device), stored.digest),
        torch.Generator().manual_seed(seed),
    )
    paint = partial(painted_level, net, style.encoder)
    photos = [photo.to(device) for photo in photos]
    tuning = torch.zeros(net.head.out_features, device=device, requires_grad=True)
    optimizer = torch.optim.Adam([tuning], betas=(0.9, 0.95))
    for step in range(1, steps + 1):
        side = SIDES[1] if step % EVERY == 0 else SIDES[0]
        kept = recolored(crops(photos, CROPS[side], side, generator).contiguous(memory_format=torch.channels_last), target.Q)
        start = kept
        if side == SIDES[1]:
            small = reduced(kept, SIDES[0])
            with torch.no_grad():
                below = paint(small, small, target, dials.for_network(STRENGTH), tuning=tuning).clamp(0, 1)
            start = nets.start(below, kept, small)
        x = paint(kept, start, target, dials.for_network(STRENGTH), tuning=tuning)
        loss = total(losses(x, kept, target, style.encoder, levels(side)), dials.for_network(STRENGTH), Weights())
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, step / WARMUP, 0.02 + 2 * (1 - step / steps))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield Progress(step, steps, side, float(loss.detach())), tuning.detach().clone()


def _target(style: Painted, net: Net, network: str) -> Target:
    sides = sorted({side // factor for side in SIDES for factor in (1, 2, 4) if side // factor >= SMALLEST})
    looks: dict[int, Look] = {side: look_of(net, network, style, side) for side in sides}
    images = {side: pictures.resize(style.painting, style.size_at(side)) for side in sides}
    return Target(
        {side: style.targets(side) for side in sides},
        looks,
        style.quantiles(),
        {side: fine_energy(image) for side, image in images.items()},
        {side: straight_share(image) for side, image in images.items()},
    )
