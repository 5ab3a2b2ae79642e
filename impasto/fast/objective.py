"""What the network is trained for: the engine's losses for a batch of images of one style, and two against meshes.

The losses are those of `terms.METHODS["impasto"]`, through lite. They are written for batches here, with as few passes over memory as
possible, and the weight function of the content loss takes fewer channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from impasto.encoders import Encoder
from impasto.fast.moments import mixed, moments
from impasto.fast.net import Look, Net, code, moved, moves
from impasto.fast.recolor import palette_distance
from impasto.ladder import SMALLEST
from impasto.losses import TINT_FLOOR, TINT_REACH, detail
from impasto.palette import averaged, quantiles
from impasto.portable.network import SEEN, TAPS
from impasto.terms import METHODS, strength_factors

METHOD = METHODS["impasto"]
SOFT = 0.2  # style distance beyond which it counts less, so that no painting outweighs the others

FAINT = 1e-4  # energy of fine detail that does not count
REST = 1e-3  # energy that is taken to lie in all directions
AXIS_SHARE = 2 / 9  # of all directions lie within 10 degrees of horizontal or vertical

Pixels = Tensor


def grams(F: Tensor) -> Tensor:
    """Gram matrices per position, without a gradient. F: BxNxHxW. Returns BxNxN float32."""
    rows = F.permute(0, 2, 3, 1).flatten(1, 2)
    G: Tensor = torch.bmm(rows.mT, rows).float() / rows.shape[1]
    return G


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
        distance: Tensor = torch.linalg.vector_norm(apart, dim=(1, 2)).square() / ctx.energy
        return distance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """gradient: B. Returns that of F."""
        F, apart = ctx.saved_tensors
        rows = F.permute(0, 2, 3, 1).flatten(1, 2)
        factor = (gradient * 4 / rows.shape[1] / ctx.energy).to(F.dtype)
        slope = torch.bmm(rows, apart * factor[:, None, None])
        batch, channels, height, width = F.shape
        return slope.view(batch, height, width, channels).permute(0, 3, 1, 2), None


@dataclass(frozen=True)
class Target:
    """A style at several sizes, by side in pixels.

    grams: {tap: NxN per position}; looks: its moments; Q: 7xQUANTILES of its palette; fine: `fine_energy`, 1x27; straight:
    `straight_share`, 1x2.
    """

    grams: Mapping[int, Mapping[str, Tensor]]
    looks: Mapping[int, Look]
    Q: Tensor
    fine: Mapping[int, Tensor]
    straight: Mapping[int, Tensor]


def target_of(painting: Pixels, sides: tuple[int, ...], net: Net, encoder: Encoder) -> Target:
    """The target that a painting gives. painting: 1x3xSxS, 0..1; sides: in pixels, each divides into levels; encoder: lite."""
    G, looks, images = {}, {}, {side: reduced(painting, side) for side in sides}
    for side, image in images.items():
        features = encoder(image)
        G[side] = {tap: grams(features[tap])[0] for tap in TAPS}
        looks[side] = {tap: moments(net.basis.project(tap, features[tap].float())) for tap in TAPS}
    fine = {side: fine_energy(image) for side, image in images.items()}
    straight = {side: straight_share(image) for side, image in images.items()}
    return Target(G, looks, quantiles(painting), fine, straight)


def painted_level(
    net: Net,
    encoder: Encoder,
    kept: Pixels,
    start: Pixels,
    target: Target,
    strength: float,
    *,
    tuning: Tensor | None = None,
    origin: tuple[int, int] = (0, 0),
) -> Pixels:
    """A level of a batch, with a gradient for the network and the tuning.

    kept: the photographs in the style's colors; start: what the level starts from; both Bx3xSxS, like the result. origin: see
    `Net.paint`.
    """
    side = kept.shape[-1]
    with torch.no_grad():
        small = functional.avg_pool2d(start, 2).contiguous(memory_format=torch.channels_last)
        features = encoder.only(SEEN)(small)
        z = {tap: net.basis.project(tap, features[tap]) for tap in SEEN}
        seen = moved(z, moves({tap: moments(one) for tap, one in z.items()}, target.looks[side // 2]))
        told = code(target.looks[side], target.Q, side, strength)
    modulation = net.modulation(told)
    own = net.filters(modulation if tuning is None else modulation + tuning, encoder.dtype)
    return net.paint(kept, start, seen, own, origin)


def blended(a: Target, b: Target, share: float) -> Target:
    """Between two styles."""
    G = {side: {tap: torch.lerp(own[tap], b.grams[side][tap], share) for tap in TAPS} for side, own in a.grams.items()}
    looks = {side: mixed([(a.looks[side], 1 - share), (b.looks[side], share)]) for side in a.looks}
    fine = {side: torch.maximum(a.fine[side], b.fine[side]) for side in a.fine}
    straight = {side: torch.maximum(a.straight[side], b.straight[side]) for side in a.straight}
    return Target(G, looks, torch.lerp(a.Q, b.Q, share), fine, straight)


def reduced(x: Pixels, side: int) -> Pixels:
    """Square images at another side."""
    if x.shape[-1] == side:
        return x
    resized = functional.interpolate(x, size=(side, side), mode="bicubic", antialias=True)
    return resized.clamp(0, 1).contiguous(memory_format=torch.channels_last)


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
    along, all_ = (torch.einsum("bhw,khw->bk", energy, each) for each in (straight, octaves))
    return (along + REST * AXIS_SHARE) / (all_ + REST)


def losses(x: Pixels, kept: Pixels, target: Target, encoder: Encoder, shares: Mapping[int, float]) -> dict[str, Tensor]:
    """The mean losses of results of one style: scalars by name.

    x: Bx3xSxS, the results; kept: the same, the photographs in the style's colors; shares: of the levels of the style loss, by side.
    """
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
        taps = TAPS[: METHOD.depth] if at == side and len(shares) == len(METHOD.levels) else TAPS
        F = encoder.only(taps)(functional.avg_pool2d(x, side // at) if at < side else x)
        if at == side:
            distance = (W * (F["relu3_1"].float() - P).square()).mean((1, 2, 3))
            found["content"] = (distance / P.float().var((1, 2, 3)).clamp_min(1e-3)).mean()
        for tap in taps:
            style.append(share / len(taps) * style_distance(F[tap], target.grams[at][tap]))
    each = torch.stack(style).sum(0)
    found["style"] = each.mean()
    found["soft"] = SOFT * torch.log1p(each / SOFT).mean()
    found["palette"] = palette_distance(x, target.Q).mean()
    spread = tint.var((2, 3), correction=0).mean(1).clamp_min(1e-3)
    found["tint"] = ((T * (averaged(x) - tint).square()).mean((1, 2, 3)) / spread).mean()
    most = torch.maximum(fine_energy(kept), target.fine[side])
    found["grain"] = (torch.log(fine_energy(x) + FAINT) - torch.log(most + FAINT)).clamp_min(0).square().mean()
    found["weave"] = (straight_share(x) - straight).clamp_min(0).sum(1).mean()
    found["outside"] = ((x - 0.5).abs() - 0.5).clamp_min(0).square().mean()
    return found


@dataclass(frozen=True)
class Weights:
    """Of the losses. style is more than the engine's, because the network cannot come as near to the painting."""

    content: float = 1.25
    style: float = 65.0
    palette: float = 10.0
    tint: float = 1.0
    weave: float = 2.0
    grain: float = 2.0
    outside: float = 30.0


def total(parts: Mapping[str, Tensor], strength: float, weights: Weights) -> Tensor:
    """The weighted sum, a scalar. strength: 0..1, see `terms.strength_factors`."""
    keep, change = strength_factors(strength)
    found = keep * (weights.content * parts["content"] + weights.tint * parts["tint"])
    found = found + change * (weights.style * parts["soft"] + weights.palette * parts["palette"])
    return found + weights.grain * parts["grain"] + weights.weave * parts["weave"] + weights.outside * parts["outside"]


def levels(side: int) -> dict[int, float]:
    """{side: share} of the levels of the style loss."""
    fitting = {side // factor: share for factor, share in METHOD.levels if side // factor >= SMALLEST}
    return {at: share / sum(fitting.values()) for at, share in fitting.items()}
