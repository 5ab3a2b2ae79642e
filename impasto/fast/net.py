"""The network: one level of a recursion from coarse to fine, for any style.

At every level it gets the photograph in the painting's colors and the enlarged result of the level below. It sees them through lite, at
half the level's size. A few directions of lite's features are kept (`Basis`), as they are and moved to the painting's mean and
covariance (`moments.transport`). So the style is built in, and what is learned is how to paint it. A style's own parameters scale and
shift the channels of every convolution (Perez et al. 2018, "FiLM") and mix the filters of some (Yang et al. 2019, "CondConv"). Both
are folded into the filters once for each style, so that only plain convolutions run over pixels.

There are no normalization layers: a pixel depends on its surroundings and on the moments, and on nothing else in the image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from impasto.fast.moments import Moments, transport
from impasto.portable.network import KEPT, SEEN, TAPS

CHANNELS = {"relu1_1": 64, "relu2_1": 128, "relu3_1": 256, "relu4_1": 512, "relu5_1": 512}
STRIDES = {"relu1_1": 2, "relu2_1": 4, "relu3_1": 8, "relu4_1": 16}  # pixels of a level between positions of what it sees
MULTIPLE = 16  # pixels: sides of a level's image
PAIRED = 8  # directions of a tap whose correlations are in the code
SHADES = 8  # quantiles of each direction of the palette that are in the code
TILE = 64  # positions: side of the noise that is repeated over an image
DEEP, MID, QUARTER, HALF, FINE = 96, 96, 64, 32, 12  # channels at 1/16, 1/8, 1/4, 1/2 of the level's size, and at it
NOISE = 2  # channels
LARGEST = 256  # pixels: longer side of the largest level in training; to the network larger levels are like that one
LEAST_VARIANCE = 1e-3  # of a kept direction
PAIRS = tuple(map(list, zip(*itertools.combinations(range(PAIRED), 2), strict=True)))  # rows and columns above the diagonal
MIXED = 4  # filters that a mixed convolution mixes

# Convolutions: name, inputs, outputs, width of the filters, filters that are mixed
LAYERS = (
    ("deep0", 2 * KEPT["relu4_1"], DEEP, 3, 1),
    ("deep1", DEEP, DEEP, 3, 1),
    ("deep2", DEEP, DEEP, 3, 1),
    ("mid0", DEEP + 2 * KEPT["relu3_1"] + NOISE, MID, 3, 1),
    ("mid1", MID, MID, 3, 1),
    ("mid2", MID, MID, 3, 1),
    ("rise4", MID, QUARTER, 1, 1),
    ("quarter0", 2 * KEPT["relu2_1"] + 6 * 16 + NOISE, QUARTER, 3, 1),
    ("quarter1", QUARTER, QUARTER, 3, MIXED),
    ("quarter2", QUARTER, QUARTER, 3, MIXED),
    ("quarter3", QUARTER, QUARTER, 3, MIXED),
    ("quarter4", QUARTER, QUARTER, 3, MIXED),
    ("rise2", QUARTER, HALF, 1, 1),
    ("half0", 2 * KEPT["relu1_1"] + 6 * 4, HALF, 3, 1),
    ("half1", HALF, HALF, 3, 1),
    ("rise1", HALF, FINE, 1, 1),
    ("fine0", 6, FINE, 3, 1),
    ("fine1", FINE, FINE, 3, 1),
    ("out", FINE, 3, 3, 1),
)
SMALL = {"deep2": 0.3, "mid2": 0.3, "quarter2": 0.3, "quarter4": 0.3, "out": 0.1}  # of the usual size of filters, at first
# Of every convolution, how many values of a style's modulation are scales, shifts, and shares of mixed filters
MODULATED = [(outputs, outputs, experts) if experts > 1 else (outputs, outputs) for _, _, outputs, _, experts in LAYERS]


class Filters(NamedTuple):
    """A convolution for one style. weight: KxCxSxS; bias: K."""

    weight: Tensor
    bias: Tensor


class Basis(nn.Module):
    """The directions of lite's features that are kept, scaled so that each varies by about 1 over many images."""

    def __init__(self) -> None:
        super().__init__()
        for tap in TAPS:
            self.register_buffer(f"{tap}_center", torch.zeros(CHANNELS[tap]))
            self.register_buffer(f"{tap}_directions", torch.eye(CHANNELS[tap], KEPT[tap]))

    def of(self, tap: str) -> tuple[Tensor, Tensor]:
        """The center, N, and the directions, NxK, of a tap."""
        return getattr(self, f"{tap}_center"), getattr(self, f"{tap}_directions")

    def project(self, tap: str, F: Tensor) -> Tensor:
        """The kept directions of BxNxHxW features: BxKxHxW."""
        center, directions = self.of(tap)
        weight = directions.T[:, :, None, None].to(F.dtype)
        return functional.conv2d(F, weight, -(center @ directions).to(F.dtype))

    def of_style(self, tap: str, G: Tensor, mean: Tensor) -> Moments:
        """The moments of the kept directions from a Gram matrix per position, NxN, and the channels' means, N."""
        center, directions = self.of(tap)
        covariance = directions.T @ (G - torch.outer(mean, mean)) @ directions
        values, vectors = torch.linalg.eigh(covariance)  # packed Gram matrices are inexact: no variance may be negative
        covariance = vectors * values.clamp_min(0) @ vectors.T
        return Moments(((mean - center) @ directions)[None], covariance[None])


Look = Mapping[str, Moments]  # of one painting at one size, B = 1


def code(look: Look, Q: Tensor, side: float, strength: float) -> Tensor:
    """What the network gets of a style: a vector of CODE numbers.

    look: the style's moments at the level's size; Q: 7xQUANTILES of its palette; side: the level's longer side in pixels.
    strength: see `dials.for_network`.
    """
    return coded(look, Q, Q.new_tensor([math.log2(min(side, LARGEST) / 128) / 2, 8 * strength - 4]))


def coded(look: Look, Q: Tensor, dials: Tensor) -> Tensor:
    """The same. dials: what the network gets of side and strength, two numbers."""
    parts = []
    for tap in TAPS:
        mean, covariance = (value[0] for value in look[tap])
        deviations = covariance.diagonal().clamp_min(LEAST_VARIANCE).sqrt()
        first = covariance[:PAIRED, :PAIRED] / torch.outer(deviations[:PAIRED], deviations[:PAIRED])
        parts += [mean / 2, deviations.log(), first[PAIRS]]
    shades = Q[:, Q.shape[1] // SHADES // 2 :: Q.shape[1] // SHADES].flatten() * 2 - 1
    return torch.cat([*parts, shades, dials])


CODE = sum(2 * count + len(PAIRS[0]) for count in KEPT.values()) + 7 * SHADES + 2
HIDDEN = (128, 192)


class Net(nn.Module):
    """The learned part. `filters` makes a style's convolutions, `paint` applies them to a level."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = Basis()
        self.weights = nn.ParameterDict()
        for name, inputs, outputs, width, experts in LAYERS:
            size = SMALL.get(name, 1.0) * math.sqrt(2 / (inputs * width**2))
            shared = torch.randn(outputs, inputs, width, width) * size
            apart = torch.randn(experts, outputs, inputs, width, width) * size * 0.5
            self.weights[name] = nn.Parameter((shared + apart - apart.mean(0)) if experts > 1 else shared[None])
        self.first, self.second = nn.Linear(CODE, HIDDEN[0]), nn.Linear(*HIDDEN)
        self.head = nn.Linear(HIDDEN[1], sum(map(sum, MODULATED)))
        with torch.no_grad():
            self.head.weight.mul_(0.3)
            self.head.bias.zero_()
        self.noise: Tensor
        self.register_buffer("noise", torch.randn(1, NOISE, TILE, TILE, generator=torch.Generator().manual_seed(0)))

    def modulation(self, code: Tensor) -> Tensor:
        """The style's parameters: for every layer a scale and a shift for each output, and shares of mixed filters."""
        h = functional.relu(self.first(code))
        found: Tensor = self.head(functional.relu(self.second(h)))
        return found

    def filters(self, modulation: Tensor, dtype: torch.dtype = torch.float32) -> dict[str, Filters]:
        """The convolutions for a style."""
        found = folded(dict(self.weights.items()), modulation)
        return {
            name: Filters(weight.to(dtype, memory_format=torch.channels_last), bias.to(dtype))
            for name, (weight, bias) in found.items()
        }

    def paint(
        self,
        photo: Tensor,
        start: Tensor,
        seen: Mapping[str, Tensor],
        own: Mapping[str, Filters],
        origin: tuple[int, int] = (0, 0),
    ) -> Tensor:
        """The level's result.

        photo, start: Bx3xHxW, sides multiples of MULTIPLE; seen: see `moved`; own: the style's `filters`; origin: row and column in the
        whole image, for a block of it.
        """
        dtype = own["out"].weight.dtype
        x = (torch.cat([photo, start], 1) - 0.5).to(dtype)

        def conv(name: str, y: Tensor) -> Tensor:
            weight, bias = own[name]
            if weight.shape[-1] == 3:
                y = functional.pad(y, (1, 1, 1, 1), mode="replicate")
            return functional.conv2d(y, weight, bias)

        def block(y: Tensor, first: str, second: str) -> Tensor:
            return y + conv(second, functional.relu(conv(first, y)))

        y = functional.relu(conv("deep0", seen["relu4_1"]))
        y = doubled(block(y, "deep1", "deep2"))
        y = functional.relu(conv("mid0", torch.cat([y, seen["relu3_1"], noise_for(self.noise, y, origin, 8)], 1)))
        y = block(y, "mid1", "mid2")
        more = functional.pixel_unshuffle(x, 4)
        inputs = torch.cat([seen["relu2_1"], more, noise_for(self.noise.flip(2), more, origin, 4)], 1)
        y = doubled(conv("rise4", y)) + conv("quarter0", inputs)
        y = block(block(functional.relu(y), "quarter1", "quarter2"), "quarter3", "quarter4")
        y = doubled(conv("rise2", y)) + conv("half0", torch.cat([seen["relu1_1"], functional.pixel_unshuffle(x, 2)], 1))
        y = functional.relu(y)
        y = y + functional.relu(conv("half1", y))
        y = functional.relu(doubled(conv("rise1", y)) + conv("fine0", x))
        y = functional.relu(conv("fine1", y))
        return start + conv("out", y).float()


def folded(weights: Mapping[str, Tensor], modulation: Tensor) -> dict[str, Filters]:
    """The network's weights with a style's modulation folded in, in float32."""
    found, at = {}, 0
    for (name, _, _, _, experts), sizes in zip(LAYERS, MODULATED, strict=True):
        parts = []
        for size in sizes:  # not one split, which WebGPU would need more buffers for than it has
            parts.append(modulation[at : at + size])
            at += size
        weight, scale, shift = weights[name], parts[0], parts[1]
        weight = weight[0] if experts == 1 else ((1 / experts + parts[2]).view(-1, 1, 1, 1, 1) * weight).sum(0)
        found[name] = Filters(weight * (1 + scale).view(-1, 1, 1, 1), shift)
    return found


def moves(photo: Mapping[str, Moments], style: Look) -> dict[str, tuple[Tensor, Tensor]]:
    """The maps that move features to a style: {tap: (A, b)}, see `transport`. photo: the moments of the start's features, whitened."""
    return {tap: transport(photo[tap], style[tap]) for tap in SEEN}


def moved(z: Mapping[str, Tensor], moves: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Directions of lite's features, as they are and moved to the style's moments: {tap: Bx2KxHxW}. z: BxKxHxW by tap."""
    found = {}
    for tap, (A, b) in moves.items():
        x = z[tap]
        other = (A.to(x.dtype) @ x.flatten(2) + b.to(x.dtype)).view_as(x)
        found[tap] = torch.cat([x, other], 1).contiguous(memory_format=torch.channels_last)
    return found


def noise_for(noise: Tensor, like: Tensor, origin: tuple[int, int], stride: int) -> Tensor:
    """The tile of noise, repeated over the positions of `like`. noise: 1xNxTILExTILE; like: BxCxHxW. Returns BxNxHxW.

    origin: of `like`, in pixels of the level; stride: of its positions, in pixels.
    """
    batch, _, height, width = like.shape
    noise = noise.to(like.dtype)  # first: few graphics processors have float16
    for axis, length, first in ((2, height, origin[0]), (3, width, origin[1])):
        noise = noise.index_select(axis, (torch.arange(length, device=noise.device) + first // stride) % TILE)
    return noise.expand(batch, -1, -1, -1)


def doubled(x: Tensor) -> Tensor:
    """Twice the height and width, bilinear: smooth, without the grid of transposed convolutions (Odena et al. 2016)."""
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarged to (height, width) by a kernel that leaves no aliases of fine detail: bilinear, then 1-2-1."""
    x = functional.pad(
        functional.interpolate(x, size=size, mode="bilinear", align_corners=False), (1, 1, 1, 1), mode="replicate"
    )
    x = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    return ((x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]) / 16).contiguous(memory_format=torch.channels_last)


def start(below: Tensor, photo: Tensor, smaller: Tensor) -> Tensor:
    """What a level starts from: the result below, enlarged, with the photograph's detail of this octave (a Laplacian pyramid).

    below: the result of the level below; photo, smaller: the photograph at this level and at that.
    """
    size = (photo.shape[-2], photo.shape[-1])
    return (enlarged(below, size) + photo - enlarged(smaller, size)).clamp(0, 1)
