"""impasto.report.metrics against numpy, scikit-image, scipy and Pillow, and against degradations of known strength."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import sys
from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import reference
import skimage.color
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance
from skimage.metrics import structural_similarity
from torch import Tensor

from impasto import encoders, pictures, weights
from impasto.encoders import Encoder
from impasto.errors import OptionError, PictureError, UnknownNameError, UsageError
from impasto.ladder import Size
from impasto.report import (
    content_distance,
    fine_share,
    grain,
    measure,
    moments_distance,
    palette_distance,
    smaller_styles,
    straight_share,
    structure,
    style_distances,
    weave,
)
from impasto.report.metrics import luma

SAMPLES: Any = skimage.data  # scikit-image and scipy have no types
RGB2LAB: Any = skimage.color.rgb2lab
SSIM: Any = structural_similarity
BLUR: Any = gaussian_filter
TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
steady = settings(derandomize=True, deadline=None, database=None, max_examples=40)
sides = st.integers(1, 12)
Degrade = Callable[[reference.Array, float], reference.Array]


def tensor(picture: reference.Array) -> Tensor:
    """HxWx3, 0..1 -> 1x3xHxW float32."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float()


def array(picture: Tensor) -> reference.Array:
    """1x3xHxW -> HxWx3 float64."""
    return picture[0].permute(1, 2, 0).double().numpy()


def random(height: int, width: int, seed: int) -> Tensor:
    return tensor(np.random.default_rng(seed).random((height, width, 3)))


def features(shape: tuple[int, int, int], seed: int) -> reference.Array:
    return np.random.default_rng(seed).standard_normal(shape)


def uniform(height: int, width: int, value: float = 0.5) -> Tensor:
    return torch.full((1, 3, height, width), value, dtype=torch.float32)


CAT = SAMPLES.chelsea()[60:156, 110:206] / 255  # 96x96
FACE = SAMPLES.astronaut()[0:480:5, 100:450:5] / 255  # 96x70: another size and shape
PHOTO, PAINTING = tensor(CAT), tensor(FACE)


@pytest.fixture(scope="module")
def judge() -> Encoder:
    return encoders.build(weights.load("lite"), TAPS, pooling="max", padding="replicate")


# ------------------------------------------------------------------------------------------------------ degradations, 0..1


def blurred(picture: reference.Array, strength: float) -> reference.Array:
    return np.asarray(BLUR(picture, (3 * strength, 3 * strength, 0)))


def noisy(picture: reference.Array, strength: float) -> reference.Array:
    noise = np.random.default_rng(0).standard_normal(picture.shape)
    return np.clip(picture + 0.3 * strength * noise, 0, 1)


def tinted(picture: reference.Array, strength: float) -> reference.Array:
    return np.clip(picture + strength * np.array([0.2, -0.1, -0.2]), 0, 1)


def shuffled(picture: reference.Array, strength: float) -> reference.Array:
    """A share `strength` of the 8x8 tiles, each moved to the position of the next."""
    tiles = picture.reshape(12, 8, 12, 8, 3).swapaxes(1, 2).reshape(144, 8, 8, 3).copy()
    chosen = np.random.default_rng(0).permutation(144)[: round(144 * strength)]
    tiles[chosen] = tiles[np.roll(chosen, 1)]
    return tiles.reshape(12, 12, 8, 8, 3).swapaxes(1, 2).reshape(96, 96, 3)


def grows(values: list[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))


def series(degrade: Degrade, value: Callable[[Tensor], float]) -> list[float]:
    return [value(tensor(degrade(CAT, strength))) for strength in (0, 0.25, 0.5, 1)]


# --------------------------------------------------------------------------------------------------- identical, and degraded


def test_an_image_compared_with_itself(judge: Encoder) -> None:
    found = measure(PHOTO, PHOTO, PHOTO, judge, content_tap="relu4_1", style_taps=TAPS)
    assert found.judge == "lite"
    assert found.style == dict.fromkeys(TAPS, 0.0)
    assert (found.content, found.style_mean, found.moments, found.palette, found.grain, found.weave) == (0,) * 6
    assert found.structure == pytest.approx(1, abs=1e-12)
    assert 0 < found.style_sizes < 0.01  # the two filters that make the smaller images differ


@pytest.mark.parametrize("degrade", [blurred, noisy, tinted])
def test_every_distance_grows_with_the_damage(judge: Encoder, degrade: Degrade) -> None:
    found = [
        measure(tensor(degrade(CAT, strength)), PHOTO, PHOTO, judge, content_tap="relu4_1", style_taps=TAPS)
        for strength in (0, 0.25, 0.5, 1)
    ]
    for name in ("content", "style_mean", "style_sizes", "moments", "palette"):
        assert grows([getattr(one, name) for one in found]), name
    for tap in TAPS[:-1]:  # relu5_1 has 6x6 positions here and is not monotone, see `style_distances`
        assert grows([one.style[tap] for one in found]), tap
    assert grows([-one.structure for one in found])


def test_shuffled_tiles_lose_content_and_keep_the_palette(judge: Encoder) -> None:
    assert grows(series(shuffled, lambda picture: content_distance(judge(picture)["relu4_1"], judge(PHOTO)["relu4_1"])))
    assert grows(series(shuffled, lambda picture: -structure(picture, PHOTO)))
    assert series(shuffled, lambda picture: palette_distance(picture, PHOTO)) == pytest.approx([0] * 4, abs=1e-12)


def test_grain_tells_noise_and_grids_from_blur() -> None:
    def grid(picture: reference.Array, strength: float) -> reference.Array:
        lines = picture.copy()
        lines[::2] *= 1 - 0.5 * strength
        return lines

    assert grows(series(noisy, lambda picture: grain(picture, PHOTO)))
    assert grows(series(grid, lambda picture: grain(picture, PHOTO)))
    assert grows(series(blurred, lambda picture: -grain(picture, PHOTO)))
    assert grain(tensor(noisy(CAT, 0.5)), PHOTO) > 0 > grain(tensor(blurred(CAT, 0.5)), PHOTO)


# ------------------------------------------------------------------------------------------------------- through a network


@steady
@given(st.integers(1, 5), sides, sides, st.integers(0, 2**31))
def test_feature_distances_against_numpy(channels: int, height: int, width: int, seed: int) -> None:
    F, P, A = (
        features((channels, height, width), seed),
        features((channels, height, width), seed + 1),
        features((channels, 5, 3), 9),
    )
    f, p, a = (torch.from_numpy(x)[None] for x in (F, P, A))
    assert content_distance(f, p) == pytest.approx(((F - P) ** 2).sum() / (P**2).sum(), rel=1e-9)

    wanted = reference.gram(A) / 15
    error = ((reference.gram(F) / (height * width) - wanted) ** 2).sum() / (wanted**2).sum()
    assert style_distances({"x": f, "y": a}, {"x": a, "y": a}, ("x", "y")) == {"x": pytest.approx(error, rel=1e-9), "y": 0}

    means, deviations = F.mean((1, 2)) - A.mean((1, 2)), F.std((1, 2)) - A.std((1, 2))
    moments = (means**2).mean() + (deviations**2).mean()
    assert moments_distance({"x": f, "y": a}, {"x": a, "y": a}, ("x", "y")) == pytest.approx(moments / 2, rel=1e-9)


def test_half_precision_features_are_summed_in_single_precision() -> None:
    F, P = (torch.from_numpy(1000 * features((3, 8, 8), seed))[None].to(torch.float16) for seed in (0, 1))
    wide = content_distance(F.double(), P.double())  # the squares alone overflow float16
    assert content_distance(F, P) == pytest.approx(wide, rel=1e-5)


def test_features_of_zero_have_distance_1() -> None:
    P, nothing = torch.from_numpy(features((4, 6, 6), 0))[None].float(), torch.zeros(1, 4, 6, 6)
    assert content_distance(nothing, P) == 1
    assert style_distances({"x": nothing}, {"x": P}, ["x"])["x"] == 1
    assert content_distance(nothing, nothing) == 0
    assert style_distances({"x": nothing}, {"x": nothing}, ["x"])["x"] == 0


def test_style_does_not_depend_on_repetition() -> None:
    A = torch.from_numpy(features((6, 5, 7), 3))[None]
    twice = {"x": torch.cat((A, A), 3)}
    assert style_distances(twice, {"x": A}, ["x"])["x"] == pytest.approx(0, abs=1e-20)
    assert moments_distance(twice, {"x": A}, ["x"]) == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize(("size", "factors"), [((80, 94), (1, 2, 4)), ((57, 83), (1, 2)), ((31, 96), (1,))])
def test_style_of_several_sizes_against_numpy(judge: Encoder, size: Size, factors: tuple[int, ...]) -> None:
    height, width = size
    result = CAT[:height, :width]
    lite = {name: array.numpy() for name, array in weights.load("lite").tensors.items()}

    def seen(picture: reference.Array) -> dict[str, reference.Array]:
        taps = reference.lite(lite, picture.transpose(2, 0, 1))
        return {tap: reference.fast_gram(taps[tap]) / taps[tap][0].size for tap in TAPS}

    distances = []
    for factor in factors:
        h, w = height // factor, width // factor
        small = result[: h * factor, : w * factor].reshape(h, factor, w, factor, 3).mean((1, 3))
        longer = max(h, w)
        box = (max(16, round(longer * 70 / 96)), longer)  # of the painting, which is 96 pixels high and 70 wide
        planes = [Image.fromarray(FACE[..., c].astype(np.float32)).resize(box, Image.Resampling.BICUBIC) for c in range(3)]
        G, A = seen(small), seen(np.stack([np.clip(plane, 0, 1) for plane in planes], -1).astype(np.float64))
        distances.append(np.mean([((G[tap] - A[tap]) ** 2).sum() / (A[tap] ** 2).sum() for tap in TAPS]))
    found = measure(tensor(result), PHOTO, PAINTING, judge, content_tap="relu4_1", style_taps=TAPS)
    assert found.style_mean == pytest.approx(distances[0], rel=1e-4)
    assert found.style_sizes == pytest.approx(np.mean(distances), rel=1e-4)
    assert list(smaller_styles(tensor(result), PAINTING, judge, TAPS)) == pytest.approx(distances[1:], rel=1e-4)


def test_smaller_sizes_see_large_forms_and_no_fine_noise(judge: Encoder) -> None:
    def styles(result: Tensor) -> list[float]:
        full = style_distances(judge(result), judge(PHOTO), TAPS)
        return [fmean(full.values()), *smaller_styles(result, PHOTO, judge, TAPS)]

    for period in (24, 48):  # pixels: stripes at full, half and quarter size
        stripes = 0.2 * torch.cos(2 * math.pi * torch.arange(96) / period)
        assert grows(styles((PHOTO + stripes).clamp(0, 1)))
    assert grows(styles(tensor(noisy(CAT, 0.5)))[::-1])


# --------------------------------------------------------------------------------------------------------------- structure


def test_luma_against_pillow() -> None:
    gray = np.asarray(Image.fromarray((CAT * 255).round().astype(np.uint8)).convert("L")) / 255
    np.testing.assert_allclose(luma(PHOTO)[0, 0].numpy(), gray, atol=0.5 / 255 + 1e-4)


def test_structure_against_its_definition() -> None:
    x, y = (luma(random(9, 8, seed))[0, 0].numpy() for seed in (0, 1))
    values = []
    for top, left in np.ndindex(3, 2):
        a, b = x[top : top + 7, left : left + 7].ravel(), y[top : top + 7, left : left + 7].ravel()
        (va, cov), (_, vb) = np.cov(a, b)
        c1, c2 = 0.01**2, 0.03**2
        values.append((2 * a.mean() * b.mean() + c1) * (2 * cov + c2) / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (va + vb + c2)))
    assert structure(random(9, 8, 0), random(9, 8, 1)) == pytest.approx(np.mean(values), abs=1e-10)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (6, 9), (7, 7), (13, 31)])
def test_structure_of_tiny_images(size: Size) -> None:
    x, y = random(*size, 0), random(*size, 1)
    assert structure(x, x) == pytest.approx(1, abs=1e-12)
    assert structure(x, y) == pytest.approx(structure(y, x), abs=1e-12)
    assert structure(x, y) < 0.99


def test_a_short_side_is_extended_by_reflection() -> None:
    x, y = random(4, 20, 0), random(4, 20, 1)
    mirrored = [torch.cat((z, z.flip(2)), 2)[:, :, :7] for z in (x, y)]
    assert structure(x, y) == pytest.approx(structure(*mirrored), abs=1e-12)


def test_different_sizes_are_refused() -> None:
    with pytest.raises(PictureError, match=r"same shape, not \(1, 3, 8, 9\) and \(1, 3, 8, 8\)"):
        structure(uniform(8, 9), uniform(8, 8))
    with pytest.raises(PictureError, match="features"):  # these would broadcast
        content_distance(torch.ones(1, 2, 4, 4), torch.ones(1, 2, 1, 4))


def test_without_scikit_image_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("skimage.metrics", "skimage.color"):
        monkeypatch.setitem(sys.modules, name, None)  # makes `import` fail
    with pytest.raises(UsageError, match=r"pip install 'impasto\[report\]'"):
        structure(uniform(8, 8), uniform(8, 8))
    with pytest.raises(UsageError, match="scikit-image"):
        palette_distance(uniform(8, 8), uniform(8, 8))


# ----------------------------------------------------------------------------------------------------------------- palette


def directions(count: int, seed: int) -> reference.Array:
    axes = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()
    return np.asarray(axes / np.linalg.norm(axes, axis=1, keepdims=True))


def test_a_palette_of_known_colors() -> None:
    known = {  # Lindbloom's calculator, sRGB, D65, no adaptation
        (1, 1, 1): (100, 0, 0),
        (0, 0, 0): (0, 0, 0),
        (1, 0, 0): (53.24, 80.09, 67.20),
        (0, 1, 0): (87.73, -86.18, 83.18),
        (0, 0, 1): (32.30, 79.19, -107.86),
    }
    for (a, lab_a), (b, lab_b) in itertools.combinations(known.items(), 2):
        expected = np.abs(directions(64, 0) @ (np.array(lab_a) - lab_b)).mean()
        assert palette_distance(tensor(np.array([[a]], float)), tensor(np.array([[b]], float))) == pytest.approx(
            expected, abs=0.02
        )


@steady
@given(sides, sides, sides, sides, st.integers(0, 2**31))
def test_a_palette_is_the_mean_of_scipys_distances(h1: int, w1: int, h2: int, w2: int, seed: int) -> None:
    x, y = random(h1, w1, seed), random(h2, w2, seed + 1)
    labs = [RGB2LAB(array(image)).reshape(-1, 3) for image in (x, y)]
    along = [wasserstein_distance(*(lab @ axis for lab in labs)) for axis in directions(7, 5)]
    assert palette_distance(x, y, projections=7, seed=5) == pytest.approx(np.mean(along), rel=1e-9)


def test_the_palette_does_not_depend_on_order_and_size() -> None:
    assert palette_distance(PHOTO, PAINTING) == pytest.approx(palette_distance(PAINTING, PHOTO), rel=1e-12)
    assert palette_distance(PHOTO, PHOTO.flip(2).transpose(2, 3)) == pytest.approx(0, abs=1e-12)
    assert palette_distance(PHOTO, PHOTO.repeat_interleave(2, 2).repeat_interleave(3, 3)) == pytest.approx(0, abs=1e-12)


def test_moving_all_colors_by_d_gives_half_of_d() -> None:
    dark, light = uniform(3, 5, 0.2), uniform(7, 2, 0.8)
    moved = 82.05 - 21.25  # L* of these grays, by Lindbloom's calculator
    assert palette_distance(dark, light, projections=20_000) == pytest.approx(moved / 2, rel=0.01)
    assert palette_distance(PHOTO, PAINTING, seed=1) == pytest.approx(palette_distance(PHOTO, PAINTING, seed=2), rel=0.25)
    assert palette_distance(PHOTO, PAINTING, seed=1) != palette_distance(PHOTO, PAINTING, seed=2)


def test_zero_projections_are_refused() -> None:
    with pytest.raises(OptionError, match="at least 1, not 0"):
        palette_distance(PHOTO, PHOTO, projections=0)


# ------------------------------------------------------------------------------------------------------------------- grain


@pytest.mark.parametrize("size", [(96, 96), (61, 34), (1, 33), (5, 1), (33, 2), (2, 2), (2, 1)])
def test_fine_share_against_pillow(size: Size) -> None:
    height, width = size
    picture = tensor(CAT[:height, :width])
    x = luma(picture)[0, 0].numpy().astype(np.float32)
    halved = Image.fromarray(x).resize(((width + 1) // 2, (height + 1) // 2), Image.Resampling.BICUBIC)
    back = np.asarray(halved.resize((width, height), Image.Resampling.BICUBIC))
    assert fine_share(picture) == pytest.approx(((x - back) ** 2).sum() / ((x - x.mean()) ** 2).sum(), rel=1e-3, abs=1e-6)


def test_fine_share_of_uniform_checkered_and_smooth() -> None:
    checkered = torch.from_numpy(np.indices((64, 64)).sum(0) % 2).float().expand(1, 3, 64, 64)
    wave = (0.5 + 0.4 * torch.sin(torch.arange(64) * (2 * math.pi / 32))).expand(1, 3, 64, 64)
    assert fine_share(uniform(31, 8, 0.3)) < 1e-12
    assert fine_share(uniform(1, 1)) < 1e-12
    assert fine_share(checkered) == pytest.approx(1, abs=0.05)
    assert fine_share(wave) < 1e-3
    assert fine_share(0.25 + 0.5 * PHOTO) == pytest.approx(fine_share(PHOTO), rel=1e-5)  # independent of contrast
    assert grain(checkered, wave) == -grain(wave, checkered)


# ------------------------------------------------------------------------------------------------------------------- weave


def waves(degrees: float, cycles: float, size: Size = (96, 120)) -> Tensor:
    """Waves of so many cycles per pixel; vertical at 0 degrees."""
    down, right = np.indices(size)
    phase = 2 * np.pi * cycles * (right * np.cos(np.radians(degrees)) + down * np.sin(np.radians(degrees)))
    return torch.from_numpy(0.5 + 0.4 * np.cos(phase)).float().expand(1, 3, *size)


@pytest.mark.parametrize(("degrees", "share"), [(0, 1), (5, 1), (20, 0), (45, 0), (70, 0), (86, 1), (90, 1), (93, 1), (135, 0)])
def test_straight_share_by_direction(degrees: float, share: float) -> None:
    assert straight_share(waves(degrees, 1 / 3)) == pytest.approx(share, abs=0.02)


def test_straight_share_depends_on_the_finest_detail_only() -> None:
    both = 0.5 * waves(0, 1 / 12) + 0.5 * waves(45, 1 / 3)
    assert straight_share(both) == pytest.approx(0, abs=0.02)
    assert straight_share(random(200, 200, 0)) == pytest.approx(2 / 9, abs=0.02)
    for smooth in (uniform(31, 8, 0.3), uniform(1, 1), waves(0, 1 / 30)):
        assert straight_share(smooth) == pytest.approx(2 / 9, abs=0.05)


def test_straight_share_against_the_definition() -> None:
    picture = tensor(CAT[:24, :31])
    x = luma(picture)[0, 0].numpy()
    x = (x - x.mean()) * np.outer(np.hanning(26)[1:-1], np.hanning(33)[1:-1])
    near = fine = 0.0
    for j in range(-12, 12):
        for i in range(-15, 16):
            wave = np.exp(-2j * np.pi * (j * np.arange(24)[:, None] / 24 + i * np.arange(31) / 31))
            energy, radius, angle = (
                abs((x * wave).sum()) ** 2,
                math.hypot(j / 24, i / 31),
                math.degrees(math.atan2(j / 24, i / 31)),
            )
            if 0.25 <= radius <= 0.5:
                fine += energy
                near += energy * (abs((angle + 45) % 90 - 45) <= 10)
    assert straight_share(picture) == pytest.approx(near / fine, rel=0.01)


def test_weave_exceeds_both_images() -> None:
    lines, slanted = waves(0, 1 / 3), waves(45, 1 / 3)
    assert weave(lines, slanted, slanted) > 0.9 > 0.02 > abs(weave(lines, lines, slanted))
    assert weave(slanted, slanted, lines) < -0.9


# ------------------------------------------------------------------------------------------------------------------ measure


def test_measure_at_the_results_size(judge: Encoder) -> None:
    result = tensor(CAT[:57, :83])
    found = measure(result, PHOTO, PAINTING, judge, content_tap="relu4_1", style_taps=("relu1_1", "relu3_1"))
    photo, painting = pictures.resize(PHOTO, (57, 83)), pictures.resize(PAINTING, (83, 61))  # 96x70 to a longer side of 83
    seen, wanted = judge(result), judge(painting)
    assert found.content == content_distance(seen["relu4_1"], judge(photo)["relu4_1"])
    assert found.style == style_distances(seen, wanted, ("relu1_1", "relu3_1"))
    assert found.style_mean == pytest.approx(sum(found.style.values()) / 2)
    assert found.moments == moments_distance(seen, wanted, ("relu1_1", "relu3_1"))
    assert found.structure == structure(result, photo)
    assert found.palette == palette_distance(result, painting)
    assert found.grain == grain(result, painting)
    assert found.weave == weave(result, photo, painting)


def test_measure_is_deterministic_and_changes_no_input(judge: Encoder) -> None:
    kept = [picture.clone() for picture in (PHOTO, PAINTING)]
    others = [tensor(noisy(CAT, 1)), tensor(CAT[:31, :45])]
    runs = [
        [measure(one, PHOTO, PAINTING, judge, content_tap="relu4_1", style_taps=TAPS) for one in order]
        for order in (others, others[::-1])
    ]
    assert runs[0] == runs[1][::-1]
    assert torch.equal(PHOTO, kept[0])
    assert torch.equal(PAINTING, kept[1])


@pytest.mark.parametrize("size", [(16, 16), (33, 19)])
@pytest.mark.parametrize("painting", [uniform(1, 1), random(1, 9, 0), random(50, 3, 0)])
def test_measures_of_odd_and_uniform_images_are_finite(judge: Encoder, size: Size, painting: Tensor) -> None:
    for result in (uniform(*size), uniform(*size, 0), random(*size, 1)):
        found = measure(result, uniform(3, 3, 1), painting, judge, content_tap="relu4_1", style_taps=TAPS)
        values = {**dataclasses.asdict(found), **found.style}
        assert all(math.isfinite(value) for value in values.values() if isinstance(value, float))
        assert json.loads(json.dumps(dataclasses.asdict(found))) == dataclasses.asdict(found)


def test_too_small_results_and_unknown_taps_are_refused(judge: Encoder) -> None:
    with pytest.raises(PictureError, match="result is 9x15 pixels; encoder lite needs at least 16x16"):
        measure(uniform(15, 9), PHOTO, PAINTING, judge, content_tap="relu4_1", style_taps=TAPS)
    with pytest.raises(UnknownNameError, match="relu4_2"):
        measure(PHOTO, PHOTO, PAINTING, judge, content_tap="relu4_2", style_taps=TAPS)
    with pytest.raises(OptionError, match="at least one tap"):
        measure(PHOTO, PHOTO, PAINTING, judge, content_tap="relu4_1", style_taps=())
