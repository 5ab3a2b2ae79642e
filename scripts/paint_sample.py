"""Paint the sample painting that ships with impasto, and save the sample photograph.

    python scripts/paint_sample.py [--out DIR] [--size WIDTHxHEIGHT]

`strokes.jpg` is an original evening landscape. The same seed gives the same bytes. The script has four stages:

1. **Scene.** Sky, sun, hills, fields, a brook and round trees are layered from back to front. Every pixel stores the two pigments to
   paint with and the fraction of the second (`Scene.pigments`, `Scene.share`), the direction of strokes (`Scene.flow`) and the form
   it belongs to (`Scene.form`). The sky is a stream function of wind, vortices and smooth noise. Strokes follow its level lines
   and its value selects the pigment, so bands of color and strokes swirl together.
2. **Strokes.** Each layer, from broad to fine, spreads seed points evenly and traces strokes along the flow, half backwards and half
   forwards, until they leave their form. Strokes are added to the first layer until it covers the canvas.
3. **Paint.** A stroke is a tapered ribbon. Windows of a streaky texture act as the hairs of the brush: they mix two colors, vary the
   lightness, run dry towards the end and leave ridges in a height map.
4. **Light.** The height map is lit from the upper left. The canvas, painted at twice the size with a margin, is averaged down and
   cropped.

Pigments are mixed in Oklab (Björn Ottosson, 2020), which is perceptually uniform; paint is composited in sRGB. Scene coordinates are
in units of the image's height: x from 0 to width / height, y from 0 (top) to 1. Brush sizes are in pixels of the result, so a
smaller image has fewer strokes of the same size.

`chelsea.jpg` is `skimage.data.chelsea()`, a photograph by Stefan van der Walt (CC0). Without scikit-image it is skipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Crest = tuple[float, float, tuple[tuple[float, float, float], ...]]

SEED = 3
SIZE = (640, 512)
STROKES_QUALITY = 88
PHOTO_QUALITY = 92
ASSETS = Path(__file__).resolve().parent.parent / "impasto" / "assets"

SUPERSAMPLE = 2  # scale of the canvas before it is averaged down
MARGIN = 48  # px painted beyond every edge and cropped, so that strokes cross the edge
TRACE_STEP = 2.0  # px between two points of a stroke
RIBBON_STEP = 0.55  # spacing of ribbon samples in canvas pixels; above 1 / sqrt(2) there would be holes
FILL_STROKES = 32  # strokes added to bare spots at a time
MIN_STROKE = 5  # trace points; shorter strokes are skipped

HAIR_TEXTURE = (1024, 384)  # ribbon samples along, across
HAIR_FINE = (45.0, 1.5)  # blur of the noise along and across: single hairs ...
HAIR_COARSE = (90.0, 5.0)  # ... and clumps of them
HAIR_MIX = 0.30  # how far the two colors on one brush separate into streaks
HAIR_MEAN = 0.35  # the second color's share
HAIR_TONE = 0.050  # lightness of single hairs, sRGB
HAIR_RELIEF = 0.22  # depth of the furrows left by hairs, relative to the thickness of the paint
RAGGED = 0.06  # fraction of the length over which single hairs start late and end early
BLOB, BLOB_LENGTH = 0.5, 0.08  # extra paint at the start of a stroke, and the fraction of the length over which it fades
HEAD, TAIL = 0.12, 0.45  # fractions of the length in which a stroke widens and narrows
FLECK_LIGHTNESS = 0.74  # Oklab lightness towards which complementary flecks are moved; in the night sky they would be too dark
RIDGE = 0.55  # paint pushed to the sides of a stroke, relative to paint under the brush
BUILD_UP = 0.35  # fraction of the relief below that shows through a stroke

LIGHT = (-0.62, -0.78)  # direction the light comes from, x right and y down
RELIEF_BLUR = 1.1  # canvas pixels
STEEPNESS = 3.5  # scale of the height map
RELIEF = 0.26  # strength of the shading
GLOSS = 0.14  # strength of the highlights

# The composition, in units of the image's height. Constants inside lay_* functions are used once.
FINE = 0.62  # brush size factor for small forms
SUN = (0.43, 0.335)
SUN_RADIUS = 0.088
SUN_MIDDLE = 0.36  # fraction of the radius with strokes across the disc
HALO = 0.23  # radius at which the glow falls to 1 / e
RING_SPACING = 0.085  # of the alternating red and yellow rings in the glow
HORIZON = (0.60, 0.10)  # height and half-thickness of the afterglow
BANDS = 9.0  # bands of color per unit of the stream function
WIND = 0.55
GUSTS = 0.020
CALM = 0.20  # radius around the sun without wind and gusts
VORTICES = (  # x, y, radius, strength: positive turns one way, negative the other
    (*SUN, 0.15, 0.160),
    (0.93, 0.19, 0.115, -0.105),
    (0.06, 0.13, 0.100, 0.085),
    (1.22, 0.36, 0.080, 0.055),
    (0.70, 0.02, 0.075, 0.050),
)
FAR_CREST = (0.555, 0.0, ((-0.045, 3.1, 0.4), (-0.018, 8.3, 0.0)))  # level, slope, waves (amplitude, frequency, phase)
NEAR_CREST = (0.600, 0.0, ((-0.030, 4.3, 2.6), (-0.010, 11.0, 1.0)))
HILL_DEPTH = 0.10  # distance over which a hill changes from its first to its last pigment
GOLD_EDGE = (0.650, 0.0, ((0.010, 5.0, 1.0),))
POPPY_EDGE = (0.690, 0.07, ((0.008, 9.0, 0.0),))
MEADOW_EDGE = (0.820, -0.10, ((0.010, 7.0, 0.0),))
POPPY_VANISHING = (0.56, 0.54)  # where the rows of a field meet
MEADOW_VANISHING = (0.30, 0.52)
HEDGE_HEIGHT = 0.014
BROOK_SPRING = (0.63, 0.665)
BROOK_SWING = 0.16
BROOK_WIDTH = (0.003, 0.15)  # half width at the spring, and the gain towards the lower edge
TREES = (  # x and y of the foot, radius
    (0.165, 0.675, 0.036),
    (0.245, 0.668, 0.028),
    (0.815, 0.672, 0.030),
    (1.185, 0.730, 0.080),
    (0.985, 0.780, 0.115),
)
CLUMPS = ((-0.50, 1.15, 0.62), (0.50, 1.10, 0.60), (0.05, 1.65, 0.68), (0.25, 1.20, 0.50))  # towards the sun, up, radius


@dataclass(frozen=True)
class Layer:
    """One pass over the canvas. Sizes in px; `cover` is the mean number of strokes at a pixel.

    `lightness` and `hue` are the spread of colors in Oklab (hue in radians), `fleck` the fraction of strokes in the complementary
    color, `relief` the thickness of the paint, `dry` how soon hairs run out of paint, `stays` whether strokes end at the edge of
    their form.
    """

    width: tuple[float, float]
    length: tuple[float, float]
    cover: float
    lightness: float
    hue: float
    fleck: float
    relief: float
    dry: float
    stays: bool = True


TONING = Layer((24, 34), (70, 130), 4.0, lightness=0.020, hue=0.08, fleck=0.00, relief=0.4, dry=0.0, stays=False)
UNDERPAINTING = Layer((18, 28), (70, 130), 2.5, lightness=0.030, hue=0.10, fleck=0.00, relief=0.6, dry=0.3)
BROAD = Layer((11, 16), (60, 120), 2.2, lightness=0.045, hue=0.15, fleck=0.01, relief=1.0, dry=0.5)
ACCENTS = Layer((6, 9), (40, 80), 0.9, lightness=0.060, hue=0.20, fleck=0.05, relief=1.2, dry=0.7)
LAYERS = (TONING, UNDERPAINTING, BROAD, ACCENTS)


# --- color ---------------------------------------------------------------------------------------------------------

_TO_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                    [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
_TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                    [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


def to_oklab(rgb: Array) -> Array:
    """Oklab of sRGB in [0, 1], last axis of three."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T)


def to_srgb(lab: Array) -> Array:
    """Clipped sRGB in [0, 1] of Oklab, last axis of three."""
    linear = np.clip((lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def pigments(*codes: str) -> Array:
    """Oklab rows of hexadecimal colors."""
    return to_oklab(np.array([[int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)] for code in codes]))


def ramp(colors: Array, at: Array) -> Array:
    """Interpolate a gradient of colors at `at` in [0, 1]."""
    knots = np.linspace(0.0, 1.0, len(colors))
    return np.stack([np.interp(at, knots, channel) for channel in colors.T], axis=-1)


NIGHT = pigments("141b52", "1d3a96", "1f5fbd", "2b8fc4", "5cc0bd", "cfe3c4")
GLOW = pigments("b0407c", "e2553f", "f08a2c", "f8bd3c", "fbe089")
DISC = pigments("f39a2b", "fbc843", "ffeaa2")
FAR_HILL = (pigments("4a3f9e", "5a5fc0", "7d7fd0"), pigments("c56aa5", "9a5fb5"))
NEAR_HILL = (pigments("1e2c6e", "24518f", "2b7f8f"), pigments("6b3f98", "c8567a"))
GOLD = pigments("b9761b", "e9b432", "f9e17c", "d9532c")  # fields: furrow, crop, crop in the light, companion
POPPY = pigments("7a1a38", "d8402c", "f58a42", "3b5fb5")
MEADOW = pigments("17504f", "3f9350", "c3cf55", "e0702f")
HEDGE = pigments("1b2358", "1d4a55")
WATER = pigments("8fd8d8", "3f9fd0", "1f4fae")
LEAVES = pigments("131747", "173a5c", "1f6a52", "5a9a45", "b9b843")
LEAF_LIGHT = pigments("f0a040")
SHADOW = pigments("2b2a78", "5a3f94")
BARK = pigments("2a1a3a", "8a4430")


# --- scene ----------------------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """Maps of the canvas with its margin, before supersampling.

    `pigments` 2 x H x W x 3 Oklab, `share` H x W in [0, 1]: fraction of the second, `flow` H x W x 2 unit vectors (x, y), `form` H x W
    ascending from back to front, `detail` H x W: factor of brush sizes.
    """

    x: Array
    y: Array
    pigments: Array
    share: Array
    flow: Array
    form: NDArray[np.int64]
    detail: Array

    def lay(self, where: Mask, main: Array, other: Array, share: Array | float, flow: Array, detail: float) -> None:
        """Add a form in front of the previous ones."""
        shape = self.flow.shape[:2]
        for own, new in zip(self.pigments, (main, other), strict=True):
            own[where] = np.broadcast_to(new, (*shape, 3))[where]
        self.share[where] = np.broadcast_to(share, shape)[where]
        self.flow[where] = np.broadcast_to(flow, (*shape, 2))[where]
        self.form[where] = self.form.max() + 1
        self.detail[where] = detail


def blank_scene(width: int, height: int) -> Scene:
    """An empty scene for an image of this size."""
    rows, columns = np.mgrid[-MARGIN : height + MARGIN, -MARGIN : width + MARGIN] + 0.5
    shape = rows.shape
    return Scene(
        x=columns / height,
        y=rows / height,
        pigments=np.zeros((2, *shape, 3)),
        share=np.zeros(shape),
        flow=np.zeros((*shape, 2)),
        form=np.zeros(shape, np.int64),
        detail=np.ones(shape),
    )


def waves(x: Array, y: Array, rng: np.random.Generator, wavelength: tuple[float, float], count: int = 14) -> Array:
    """Smooth noise of unit variance, independent of the pixel grid: plane waves of random direction, phase and length."""
    total = np.zeros_like(x)
    for _ in range(count):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        k = 2 * np.pi / rng.uniform(*wavelength)
        total += np.sin(k * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    return np.asarray(total * np.sqrt(2 / count))


def unit(x: Array, y: Array) -> Array:
    """Unit vectors on a new last axis."""
    length = np.hypot(x, y) + 1e-12
    return np.stack([x / length, y / length], axis=-1)


def turned(flow: Array, angle: Array) -> Array:
    """Rotate vectors by angles in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * flow[..., 0] - s * flow[..., 1], s * flow[..., 0] + c * flow[..., 1]], axis=-1)


def along(levels: Array) -> Array:
    """The direction along the level lines of a scalar field."""
    down, right = np.gradient(levels)
    return unit(np.asarray(down), -np.asarray(right))


def from_sun(scene: Scene) -> Array:
    """Distance to the center of the sun."""
    return np.hypot(scene.x - SUN[0], scene.y - SUN[1])


def stream(scene: Scene, rng: np.random.Generator) -> Array:
    """The stream function of the sky: vortices, and wind and noise that fade near the sun to keep its rings in place."""
    calm = np.exp(-((from_sun(scene) / CALM) ** 2))
    psi = (1 - calm) * (WIND * (scene.y - SUN[1]) + GUSTS * waves(scene.x, 2.0 * scene.y, rng, (0.35, 0.9)))
    for x, y, radius, strength in VORTICES:
        psi = psi + strength * np.exp(-((scene.x - x) ** 2 + (scene.y - y) ** 2) / (2 * radius**2))
    return psi


def lay_sky(scene: Scene, rng: np.random.Generator) -> None:
    """Bands of cold pigments along the wind, and a warm glow near the sun and the horizon."""
    psi = stream(scene, rng)
    band = 0.5 + 0.5 * np.sin(2 * np.pi * BANDS * psi + 0.5 * waves(scene.x, scene.y, rng, (0.15, 0.4)))
    lift = np.clip(0.10 + 0.62 * band * (0.45 + 0.9 * scene.y) + 0.35 * scene.y, 0, 1)
    distance = from_sun(scene)
    halo = np.exp(-((distance / HALO) ** 2))
    horizon = np.exp(-(((scene.y - HORIZON[0]) / HORIZON[1]) ** 2)) * 0.75
    rings = 0.5 + 0.5 * np.cos(2 * np.pi * (distance - SUN_RADIUS) / RING_SPACING)
    heat = np.clip(0.12 + (1.0 - 0.62 * rings) * halo + 0.25 * horizon * band, 0, 1)
    share = np.clip(1.45 * halo * (1 - 0.35 * rings) + horizon * (0.4 + 0.6 * band), 0.02, 1)
    scene.lay(np.full(psi.shape, True), ramp(NIGHT, lift), ramp(GLOW, heat), share, along(psi), 1.0)


def lay_sun(scene: Scene) -> None:
    """The disc with circular strokes, and straight strokes at its center."""
    x, y = (scene.x - SUN[0]) / SUN_RADIUS, (scene.y - SUN[1]) / SUN_RADIUS
    radius = np.hypot(x, y)
    disc = ramp(DISC, np.clip(1.2 - radius, 0, 1))
    paler = disc + np.array([0.04, 0.0, 0.02])
    scene.lay(radius < 1, disc, paler, 0.5, unit(-y, x), FINE)
    scene.lay(radius < SUN_MIDDLE, disc, paler, 0.5, unit(1.0 - y, x + 0.6), FINE)


def crest(scene: Scene, line: Crest) -> Array:
    """The height of a rolling line above every pixel's column."""
    level, slope, rolls = line
    return level + slope * scene.x + sum(a * np.sin(k * scene.x + phase) for a, k, phase in rolls)


def lay_hill(scene: Scene, line: Crest, colors: tuple[Array, Array], share: float, detail: float) -> None:
    """A hill below its crest, brushed along the slope."""
    below = scene.y - crest(scene, line)
    main, other = (ramp(c, np.clip(below / HILL_DEPTH, 0, 1)) for c in colors)
    scene.lay(below > 0, main, other, share, along(below), detail)


def lay_field(scene: Scene, side: Mask, edge: Crest, vanishing: tuple[float, float], colors: Array) -> None:
    """A field behind a hedge; its rows meet in the vanishing point."""
    below = scene.y - crest(scene, edge)
    x, y = scene.x - vanishing[0], np.maximum(scene.y - vanishing[1], 0.02)
    band = 0.5 + 0.5 * np.sin(2 * np.pi * x / y)
    scene.lay(side & (below > -HEDGE_HEIGHT), HEDGE[0], HEDGE[1], 0.4, along(below), FINE)
    scene.lay(side & (below > 0), ramp(colors[:3], band), colors[3], 0.10, unit(x, y), 0.85)


def lay_crown(scene: Scene, rng: np.random.Generator, x: float, y: float, radius: float) -> None:
    """A round clump of leaves in curved strokes, lit from the sun and from above."""
    dx, dy = (scene.x - x) / radius, (scene.y - y) / radius
    sunward = np.array([SUN[0] - x, SUN[1] - y]) / np.hypot(SUN[0] - x, SUN[1] - y)
    lit = np.clip(0.36 + 0.55 * (dx * sunward[0] + dy * sunward[1]) - 0.20 * dy, 0, 1)
    edge = 1 + 0.08 * waves(dx, dy, rng, (0.5, 1.0))
    dabs = turned(unit(0.6 - dy, dx + 0.6), 0.5 * waves(scene.x, scene.y, rng, (0.06, 0.15)))
    scene.lay(np.hypot(dx, dy) < edge, ramp(LEAVES, lit), LEAF_LIGHT, 0.40 * lit**2, dabs, FINE)


def lay_tree(scene: Scene, rng: np.random.Generator, x: float, y: float, radius: float) -> None:
    """A tree with its foot at (x, y): a shadow away from the sun, a short trunk, and a crown of clumps, the lit ones last."""
    dx, dy = (scene.x - x) / radius, (scene.y - y) / radius
    side = np.sign(x - SUN[0])
    shadow = np.hypot((dx - 0.7 * side) / 1.5, (dy - 0.08) / 0.24) < 1
    scene.lay(shadow, SHADOW[0], SHADOW[1], 0.3, np.array([1.0, 0.12 * side]), 0.7)
    scene.lay((np.abs(dx) < 0.13 - 0.05 * dy) & (np.abs(dy + 0.5) < 0.55), BARK[0], BARK[1], 0.3, np.array([0.05, 1.0]), FINE)
    for cx, cy, r in CLUMPS:
        lay_crown(scene, rng, x - cx * side * radius, y - cy * radius, r * radius)


def brook_depth(scene: Scene) -> Array:
    """Position along the brook by height: 0 at and above the spring, 1 at the lower edge."""
    return np.asarray(np.clip((scene.y - BROOK_SPRING[1]) / (1 - BROOK_SPRING[1]), 0, None))


def brook_middle(scene: Scene) -> Array:
    """The x coordinate of the brook's center at each pixel's height. Its bends widen towards the viewer."""
    depth = brook_depth(scene)
    return np.asarray(BROOK_SPRING[0] + BROOK_SWING * np.sin(6.5 * depth**0.6) * (0.25 + 0.75 * depth) - 0.05 * depth)


def lay_brook(scene: Scene) -> None:
    """A brook that winds towards the viewer and widens, with reflections of the sky and the sun."""
    depth = brook_depth(scene)
    across = (scene.x - brook_middle(scene)) / (BROOK_WIDTH[0] + BROOK_WIDTH[1] * depth**1.1)
    glitter = 0.55 * np.exp(-((across / 0.45) ** 2))
    scene.lay(
        (np.abs(across) < 1) & (depth > 0),
        ramp(WATER, np.abs(across)),
        ramp(GLOW, 0.8 - 0.2 * depth),
        glitter,
        along(across),
        0.75,
    )


def lay_land(scene: Scene, rng: np.random.Generator) -> None:
    """Hills, fields with hedges, the brook and trees."""
    lay_hill(scene, FAR_CREST, FAR_HILL, 0.25, 0.8)
    lay_hill(scene, NEAR_CREST, NEAR_HILL, 0.2, 0.8)
    lay_hill(scene, GOLD_EDGE, (GOLD[:3], GOLD[3:]), 0.15, 0.7)
    left = scene.x < brook_middle(scene)
    lay_field(scene, left, POPPY_EDGE, POPPY_VANISHING, POPPY)
    lay_field(scene, ~left, MEADOW_EDGE, MEADOW_VANISHING, MEADOW)
    lay_brook(scene)
    for tree in TREES:
        lay_tree(scene, rng, *tree)


def build_scene(width: int, height: int, rng: np.random.Generator) -> Scene:
    """The complete composition, from back to front."""
    scene = blank_scene(width, height)
    lay_sky(scene, rng)
    lay_sun(scene)
    lay_land(scene, rng)
    return scene


# --- strokes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stroke:
    """The path of a stroke in scene px, its width in px, and its two sRGB colors."""

    path: Array
    width: float
    colors: Array


def scatter(count: int, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """`count` points (x, y) spread evenly over the canvas in random order (the R2 sequence, Roberts 2018)."""
    steps = np.array([0.7548776662466927, 0.5698402909980532])
    points = (rng.uniform(size=2) + np.arange(count)[:, None] * steps) % 1.0
    return rng.permutation(points) * [shape[1] - 1, shape[0] - 1]


def sample(values: NDArray[Any], points: Array) -> NDArray[Any]:
    """The values of an H x W (x C) map at points (x, y), clamped to the canvas."""
    column = np.clip(points[..., 0].round().astype(int), 0, values.shape[1] - 1)
    row = np.clip(points[..., 1].round().astype(int), 0, values.shape[0] - 1)
    return np.asarray(values[row, column])


def trace(scene: Scene, seeds: Array, steps: int, sign: float, stays: bool) -> tuple[Array, NDArray[np.int64]]:
    """Trace paths, n x steps x 2, from the seeds. Returns them and the number of points to paint of each."""
    points, home, heading = [seeds], sample(scene.form, seeds), sign * sample(scene.flow, seeds)
    alive, count = np.ones(len(seeds), bool), np.ones(len(seeds), np.int64)
    for _ in range(steps):
        flow = sample(scene.flow, points[-1])
        # a stroke never reverses where two directions meet
        flow = flow * np.where((flow * heading).sum(-1) < 0, -1.0, 1.0)[:, None]
        heading = unit(*(0.5 * heading + 0.5 * flow).T)
        points.append(points[-1] + TRACE_STEP * heading)
        alive &= (sample(scene.form, points[-1]) == home) | (not stays)
        count += alive
    return np.stack(points, axis=1), count


def choose_colors(scene: Scene, layer: Layer, seeds: Array, rng: np.random.Generator) -> Array:
    """Two sRGB colors for each stroke, n x 2 x 3: two variations of one local pigment, which give streaks."""
    n = len(seeds)
    second = rng.uniform(size=n) < sample(scene.share, seeds)
    lab = np.where(second[:, None], sample(scene.pigments[1], seeds), sample(scene.pigments[0], seeds))
    pair = np.stack([lab, lab], axis=1)
    pair[..., 0] += rng.normal(0, layer.lightness, (n, 2))
    fleck = rng.uniform(size=(n, 1)) < layer.fleck
    angle = rng.normal(0, layer.hue, (n, 2)) + np.where(fleck, np.pi, 0.0)
    pair[..., 0] += np.where(fleck, 0.8 * (FLECK_LIGHTNESS - pair[..., 0]), 0.0)
    pair[..., 1:] = turned(pair[..., 1:], angle) * rng.uniform(0.9, 1.2, (n, 2, 1))
    return to_srgb(pair)


def seed_points(scene: Scene, layer: Layer, rng: np.random.Generator) -> Array:
    """The seed points of a layer, denser where strokes are finer."""
    shape, finest = scene.form.shape, float(scene.detail.min())
    area = np.mean(layer.width) * np.mean(layer.length) * finest**2
    seeds = scatter(round(layer.cover * shape[0] * shape[1] / area), shape, rng)
    return seeds[rng.uniform(size=len(seeds)) < (finest / sample(scene.detail, seeds)) ** 2]


def strokes_from(scene: Scene, layer: Layer, seeds: Array, rng: np.random.Generator) -> list[Stroke]:
    """The strokes of a layer through the seeds, sorted from back to front."""
    detail, colors = sample(scene.detail, seeds), choose_colors(scene, layer, seeds, rng)
    width = detail * rng.uniform(*layer.width, len(seeds))
    half = (detail * rng.uniform(*layer.length, len(seeds)) / 2 / TRACE_STEP).astype(int)
    (back, n_back), (front, n_front) = (trace(scene, seeds, int(half.max()), sign, layer.stays) for sign in (-1.0, 1.0))
    n_back, n_front = np.minimum(n_back, half), np.minimum(n_front, half)
    strokes = []
    for i in np.argsort(sample(scene.form, seeds), kind="stable"):
        path = np.concatenate([back[i, 1 : n_back[i]][::-1], front[i, : n_front[i]]])
        if len(path) >= MIN_STROKE:
            strokes.append(Stroke(path, float(width[i]), colors[i]))
    return strokes


# --- paint ----------------------------------------------------------------------------------------------------------


@dataclass
class Canvas:
    """The canvas at SUPERSAMPLE times the scene's size: `color` H x W x 3 sRGB, `height` H x W, `covered` H x W."""

    color: Array
    height: Array
    covered: Mask


def make_hairs(rng: np.random.Generator) -> Array:
    """Streaky noise of unit variance; a window of it acts as the hairs of a brush."""
    noise = rng.standard_normal((2, *HAIR_TEXTURE))
    fine, coarse = (gaussian_filter(n, sigma, mode="wrap") for n, sigma in zip(noise, (HAIR_FINE, HAIR_COARSE), strict=True))
    mixed = fine / fine.std() + coarse / coarse.std()
    return np.asarray(mixed / mixed.std())


def window(hairs: Array, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """A random window of the hair texture."""
    row, column = (rng.integers(0, have - want) for have, want in zip(hairs.shape, shape, strict=True))
    return hairs[row : row + shape[0], column : column + shape[1]]


def ribbon(stroke: Stroke) -> tuple[Array, Array, Array]:
    """Canvas coordinates n x m x 2 of a stroke's samples, and their positions along (n x 1, 0..1) and across it (1 x m, -1..1)."""
    path = stroke.path * SUPERSAMPLE
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    n = max(int(arc[-1] / RIBBON_STEP), 8)
    m = max(int(stroke.width * SUPERSAMPLE / RIBBON_STEP), 5)
    at = np.linspace(0.0, arc[-1], n)
    centre = np.stack([np.interp(at, arc, path[:, 0]), np.interp(at, arc, path[:, 1])], axis=-1)
    tangent = gaussian_filter(np.gradient(centre, axis=0), (8, 0), mode="nearest")
    tangent /= np.hypot(*tangent.T)[:, None] + 1e-12
    s, t = np.linspace(0, 1, n)[:, None], np.linspace(-1, 1, m)[None]
    swell = np.sqrt(np.clip(s / HEAD, 0, 1)) * np.sqrt(np.clip((1 - s) / TAIL, 0, 1)) * 0.92 + 0.08
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)[:, None]
    offset = stroke.width * SUPERSAMPLE / 2 * swell * t
    return centre[:, None] + offset[..., None] * normal, s, t


def lay_down(canvas: Canvas, stroke: Stroke, layer: Layer, hairs: Array, rng: np.random.Generator) -> None:
    """Paint one stroke."""
    points, s, t = ribbon(stroke)
    shape = points.shape[:2]
    tone, streak, load = (window(hairs, shape, rng) for _ in range(3))
    ragged = RAGGED * load
    ends = np.clip((s - 0.5 * RAGGED + ragged) / RAGGED, 0, 1) * np.clip((1 - s - RAGGED + 2 * ragged) / RAGGED, 0, 1)
    alpha = ends * np.clip(1.25 - layer.dry * (0.3 + s) * np.clip(0.4 - load, 0, 1.6), 0, 1)
    mix = np.clip(HAIR_MEAN + HAIR_MIX * streak, 0, 1)[..., None]
    color = stroke.colors[0] * (1 - mix) + stroke.colors[1] * mix + HAIR_TONE * tone[..., None]
    body = (1 - RIDGE) + RIDGE * t**2 + HAIR_RELIEF * load + BLOB * np.exp(-s / BLOB_LENGTH)
    press(canvas, points, alpha, np.clip(color, 0, 1), layer.relief * body)


def press(canvas: Canvas, points: Array, alpha: Array, color: Array, height: Array) -> None:
    """Composite ribbon samples onto the canvas. If samples share a pixel, numpy keeps the last, so no sample is blended twice."""
    rows, columns = canvas.height.shape
    column, row = np.floor(points[..., 0]).astype(int), np.floor(points[..., 1]).astype(int)
    on = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    at = (row[on], column[on])
    a = alpha[on]
    canvas.color[at] += a[:, None] * (color[on] - canvas.color[at])
    canvas.height[at] += a * (BUILD_UP * canvas.height[at] + height[on] - canvas.height[at])
    canvas.covered[at] |= a > 0.5


def light(canvas: Canvas) -> Array:
    """Shade the colors by the height map: slopes towards the light are lighter, others darker, with highlights on steep ridges."""
    down, right = np.gradient(gaussian_filter(canvas.height, RELIEF_BLUR))
    slope = np.tanh(-STEEPNESS * (right * LIGHT[0] + down * LIGHT[1]))
    shaded = canvas.color * (1 + RELIEF * slope[..., None])
    gloss = GLOSS * np.clip(slope, 0, 1)[..., None] ** 3
    return np.asarray(np.clip(shaded + gloss * (1 - shaded), 0, 1))


def finish(image: NDArray[Any]) -> Array:
    """Average the canvas, H x W (x 3), down to the result's size and crop the margin."""
    rows, columns = (n // SUPERSAMPLE for n in image.shape[:2])
    blocks = image.reshape(rows, SUPERSAMPLE, columns, SUPERSAMPLE, *image.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3))[MARGIN:-MARGIN, MARGIN:-MARGIN])


def fill_bare_spots(canvas: Canvas, scene: Scene, hairs: Array, rng: np.random.Generator) -> None:
    """Add strokes to bare spots until none are left."""
    while len(bare := np.argwhere(~canvas.covered)):
        seeds = rng.permutation(bare)[:FILL_STROKES, ::-1] / SUPERSAMPLE
        for stroke in strokes_from(scene, TONING, seeds, rng):
            lay_down(canvas, stroke, TONING, hairs, rng)


def paint(width: int, height: int, seed: int = SEED) -> tuple[NDArray[np.uint8], Mask]:
    """Paint the landscape. Returns height x width x 3 sRGB, and a mask of fully covered pixels, height x width."""
    rng = np.random.default_rng(seed)
    scene = build_scene(width, height, rng)
    hairs = make_hairs(rng)
    rows, columns = (n * SUPERSAMPLE for n in scene.form.shape)
    canvas = Canvas(np.zeros((rows, columns, 3)), np.zeros((rows, columns)), np.zeros((rows, columns), bool))
    for layer in LAYERS:
        for stroke in strokes_from(scene, layer, seed_points(scene, layer, rng), rng):
            lay_down(canvas, stroke, layer, hairs, rng)
        if layer is TONING:
            fill_bare_spots(canvas, scene, hairs, rng)
    return np.rint(finish(light(canvas)) * 255).astype(np.uint8), finish(canvas.covered) == 1


# --- files ----------------------------------------------------------------------------------------------------------


def save_photo(folder: Path) -> None:
    """Write the sample photograph, if scikit-image is installed."""
    try:
        from skimage import data
    except ImportError:
        print("chelsea.jpg skipped: scikit-image is not installed")
        return
    photo = data.chelsea()  # type: ignore[no-untyped-call]
    Image.fromarray(photo).save(folder / "chelsea.jpg", quality=PHOTO_QUALITY, optimize=True)


def parse_size(text: str) -> tuple[int, int]:
    """`640x512` as (640, 512)."""
    width, height = (int(n) for n in text.lower().split("x"))
    if min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1x1, not {text}")
    return width, height


def main(arguments: Sequence[str] | None = None) -> None:
    """Paint and save the samples."""
    parser = argparse.ArgumentParser(description="Paint strokes.jpg and save chelsea.jpg.")
    parser.add_argument("--out", type=Path, default=ASSETS, help="output folder")
    parser.add_argument("--size", type=parse_size, default=SIZE, metavar="WIDTHxHEIGHT", help="size of the painting in pixels")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    picture, _ = paint(*options.size)
    Image.fromarray(picture).save(options.out / "strokes.jpg", quality=STROKES_QUALITY, optimize=True)
    save_photo(options.out)


if __name__ == "__main__":
    main()
