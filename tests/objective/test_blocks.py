"""Block by block is the whole: losses and gradients of every tap and method, compared with the computation at once."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
from PIL import Image
from tensors import image as image_of
from torch import Tensor

from impasto import Run, Stylizer, losses, palette, pictures, terms, weights
from impasto.compute.kernels import gram
from impasto.compute.memory import MemoryModel, PairStore, Plan, StageCost
from impasto.encoders import VGG, Encoder, Lite, Padding, Pooling, density
from impasto.encoders.vgg import operations
from impasto.ladder import Size
from impasto.losses import ContentLoss, PaletteLoss, StyleLoss, Term, VariationLoss, weighted
from impasto.objective import blocks, levels
from impasto.objective.blocks import InBlocks, features_of, grid, split_side, stages
from impasto.objective.evaluate import at_once
from impasto.styles import Blend, Painted, style

SIZES = [(64, 96), (101, 75), (37, 150)]  # whole steps of 16 pixels, and such that poolings round down
VGG_TAPS = [tap for _, tap in operations("vgg16")]
STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@pytest.fixture(scope="module")
def small_vgg() -> dict[str, Tensor]:
    arrays = reference.random_vgg("vgg16", "conv5_3", (4, 6, 8, 8, 8), seed=3)
    return {name: torch.from_numpy(array).float() for name, array in arrays.items()}


def lite(taps: Sequence[str], pooling: Pooling = "max", padding: Padding = "replicate") -> Encoder:
    encoder = Lite(weights.load("lite").tensors, taps, pooling=pooling, padding=padding)
    return encoder.prepare(torch.device("cpu"), torch.float64)


def vgg(tensors: dict[str, Tensor], taps: Sequence[str], pooling: Pooling, padding: Padding) -> Encoder:
    encoder = VGG("vgg16", tensors, taps, pooling=pooling, padding=padding).prepare(torch.device("cpu"), torch.float64)
    return encoder.double()


def apart(found: tuple[dict[str, float], Tensor], expected: tuple[dict[str, float], Tensor]) -> float:
    """The largest relative distance, of losses and of gradients."""
    assert found[0].keys() == expected[0].keys()
    values = [abs(found[0][name] - value) / abs(value) for name, value in expected[0].items()]
    return max(*values, float((found[1] - expected[1]).norm() / expected[1].norm()))


# ---------------------------------------------------------------------------------------------------------------- geometry


def spread_of_nan(encoder: Encoder, tap: str, size: tuple[int, int], rows: slice) -> set[int]:
    """Which rows of a tap's maps see rows of the picture: NaN goes wherever a filter looks, even through a weight of 0.

    In float64, where torch's own ReLU hands it on: oneDNN's, behind a convolution, makes it 0.
    """
    image = torch.zeros(1, 3, *size, dtype=torch.float64)
    image[..., rows, :] = math.nan
    whole = encoder.prepare(torch.device("cpu"), torch.float64).double().only([tap])
    seen = whole(image)[tap].isnan().any(dim=1).any(dim=-1)[0]
    return set(seen.nonzero()[:, 0].tolist())


@pytest.mark.parametrize("tap", [*Lite.known, *(f"vgg16 {tap}" for tap in VGG_TAPS)])
def test_reach_is_what_a_tap_sees(tap: str, small_vgg: dict[str, Tensor]) -> None:
    encoder: Encoder = (
        VGG("vgg16", small_vgg, [tap.split()[1]])
        if " " in tap
        else Lite(weights.load("lite").tensors, [tap], pooling="average").prepare(torch.device("cpu"), torch.float32)
    )
    (tap,) = encoder.taps
    stride, reach = encoder.stride(tap), encoder.reach(tap)
    height, edge = 416, 192
    positions = set(range(height // stride))
    assert encoder.size_at(tap, (height, 32)) == (height // stride, 32 // stride)
    # what lies `reach` pixels above a position's own is the last thing it does not see, and the same below
    touched = spread_of_nan(encoder, tap, (height, 32), slice(0, edge))
    assert positions - touched == {p for p in positions if p * stride - reach >= edge}
    touched = spread_of_nan(encoder, tap, (height, 32), slice(edge, height))
    assert positions - touched == {p for p in positions if (p + 1) * stride + reach <= edge}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [16, 32, 48, 64, 1000])
def test_every_position_of_every_tap_is_in_one_block(size: tuple[int, int], side: int) -> None:
    encoder = lite(STYLE)
    for tap in STYLE:
        count = torch.zeros(1, 1, *encoder.size_at(tap, size))
        for part in grid(encoder, size, side):
            part.cut(count, tap).add_(1)
        assert torch.equal(count, torch.ones_like(count))
    pixels = torch.zeros(1, 1, *size)
    for part in grid(encoder, size, side):
        pixels[..., part.rows, part.columns] += 1
        assert max(part.size) < max(side, 16) + 16
    assert torch.equal(pixels, torch.ones_like(pixels))


def test_blocks_are_of_about_the_same_size() -> None:
    assert split_side(8192, 1024, 16) == [slice(i, i + 1024) for i in range(0, 8192, 1024)]
    lengths = [core.stop - core.start for core in split_side(1100, 1024, 16)]
    assert lengths == [544, 556]
    assert split_side(21, 16, 16) == [slice(0, 21)]


@pytest.mark.parametrize("network", ["lite", "vgg16"])
@pytest.mark.parametrize("block", [1, 2, 3, 4])
def test_the_stages_of_an_encoder_together_are_the_encoder(network: str, block: int, small_vgg: dict[str, Tensor]) -> None:
    whole = lite(Lite.known) if network == "lite" else vgg(small_vgg, VGG_TAPS, "average", "zero")
    image = image_of((101, 75), 1)
    first, second = whole.split_after(block)
    assert second is not None
    passed_on = first(image)
    maps = {tap: F for tap, F in passed_on.items() if tap in whole.taps} | second(passed_on[whole.pool_tap(block)])
    assert maps.keys() == whole.taps
    assert all(torch.equal(F, maps[tap]) for tap, F in whole(image).items())


def test_an_encoder_is_split_only_before_taps() -> None:
    shallow = lite(["relu1_1", "relu2_1"])
    assert shallow.split_after(2) == (shallow, None)
    assert len(stages(shallow)) == 1
    near, third, fourth, last = stages(lite(STYLE))
    taps = [near.encoder.taps, third.encoder.taps, fourth.encoder.taps, last.encoder.taps]
    assert taps == [
        {"relu1_1", "relu2_1", near.output_tap},
        {"relu3_1", third.output_tap},
        {"relu4_1", fourth.output_tap},
        {"relu5_1"},
    ]
    assert last.output_tap == ""
    # the margin of the first stage is 8 pixels, and a block begins at a multiple of 4
    (top, left, *_) = (part for part in near.grid((96, 96), 32) if part.rows.start and part.columns.start)
    assert (top.seen_rows, left.seen_columns) == (slice(24, 72), slice(56, 96))
    margins = [max(map(one.encoder.reach, one.encoder.taps)) for one in (near, third, fourth, last)]
    assert sum(margins) == max(map(lite(STYLE).reach, STYLE))
    assert len(stages(lite(["relu1_1", "relu4_1"]))) == 3


# ------------------------------------------------------------------------------------------------------- every single term


CASES = [("average", "zero", (101, 75), 32), ("max", "replicate", (64, 96), 48), ("max", "zero", (37, 86), 16)]


@pytest.mark.parametrize(("pooling", "padding", "size", "side"), CASES)
@pytest.mark.parametrize("network", ["lite", "vgg16"])
def test_every_tap_and_measure(
    network: str, pooling: Pooling, padding: Padding, size: Size, side: int, small_vgg: dict[str, Tensor]
) -> None:
    taps = STYLE if network == "lite" else VGG_TAPS
    if pooling == "average" and network == "lite":
        taps = [tap for tap in Lite.known if tap not in STYLE]
    encoder = lite(taps, pooling, padding) if network == "lite" else vgg(small_vgg, taps, pooling, padding)
    image, photo, painting = (image_of(size, seed) for seed in (1, 2, 3))
    seen, learnt = encoder(photo), encoder(painting)
    features, terms = encoder(image), list[Term]()
    for tap in taps:
        A = gram(learnt[tap]) / losses.positions(learnt[tap])
        T = torch.rand(1, 1, *seen[tap].shape[-2:], generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        measured = [
            ContentLoss.of(tap, seen[tap]),
            ContentLoss.of(tap, seen[tap], losses.relative, T),
            StyleLoss(tap, A=A),
            StyleLoss(tap, T, A=A, measure=losses.relative_style_loss),
        ]
        # of the same value, so that none hides another in the gradient
        terms += [Term(f"{tap} {i}", 1 / float(loss(image, features)), loss) for i, loss in enumerate(measured)]
    deepest = max(taps, key=encoder.known.index)
    for one, some in ((encoder, terms), (encoder.only([deepest]), [term for term in terms if term.name.startswith(deepest)])):
        assert apart(InBlocks(one, some, side)(image), at_once(objective(one, some))(image)) < 1e-10


def test_a_tap_that_is_passed_on_may_have_losses_too(small_vgg: dict[str, Tensor]) -> None:
    taps = ["relu1_1", "pool2", "relu3_1", "pool3", "relu4_2", "pool4"]
    encoder = vgg(small_vgg, taps, "average", "zero")
    image, photo, painting = (image_of((101, 75), seed) for seed in (1, 2, 3))
    seen, learnt = encoder(photo), encoder(painting)
    terms = [Term("style", 1.0, StyleLoss(tap, A=gram(F) / losses.positions(F))) for tap, F in learnt.items()]
    terms += [Term("content", 1.0, ContentLoss.of(tap, F)) for tap, F in seen.items()]
    assert len(stages(encoder)) == 3
    assert apart(InBlocks(encoder, terms, 32)(image), at_once(objective(encoder, terms))(image)) < 1e-10
    found = features_of(encoder, photo, taps, 32)
    assert list(found) == list(seen)
    assert all(torch.allclose(F, found[tap], rtol=1e-12, atol=1e-12) for tap, F in seen.items())


def test_what_stages_pass_on_is_in_memory_as_long_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of it as the memory model counts, and nothing once the gradient is known."""
    encoder, image, photo = lite(STYLE), image_of((96, 160), 1), image_of((96, 160), 2)
    learnt = encoder(image_of((64, 64), 3))
    terms = [Term("style", 1.0, StyleLoss(tap, A=gram(F) / losses.positions(F))) for tap, F in learnt.items()]
    terms.append(Term("content", 1.0, ContentLoss.of("relu4_1", encoder(photo)["relu4_1"])))
    there, counts = weakref.WeakSet[torch.UntypedStorage](), [0]

    def counted(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made(*args: object) -> Tensor:
            maps = make(*args)
            if maps.shape[1] > 3:
                there.add(maps.untyped_storage())
                counts.append(sum(storage.nbytes() for storage in there) // maps.itemsize)
            return maps

        return made

    expected = InBlocks(encoder, terms, 48)(image)
    monkeypatch.setattr("impasto.objective.blocks._maps", counted(blocks._maps))
    monkeypatch.setattr(torch, "zeros_like", counted(torch.zeros_like))
    evaluate = InBlocks(encoder, terms, 48)
    for shown in (photo, image):
        found = evaluate(shown)
        assert not there
    assert found[0] == expected[0]
    assert torch.equal(found[1], expected[1])
    outputs = [density(encoder, [stage.output_tap]) if stage.output_tap else 0.0 for stage in evaluate.stages]
    model = MemoryModel(tuple(StageCost(trunk=1, heads=1, margin=1, output=output) for output in outputs))
    assert max(counts) == model._passed_on() * 96 * 160


def objective(encoder: Encoder, terms: Sequence[Term]) -> Callable[[Tensor], dict[str, Tensor]]:
    return lambda image: weighted(terms, image, encoder(image))


@pytest.mark.parametrize("size", SIZES)
def test_losses_of_the_pixels(size: Size) -> None:
    encoder, image = lite(["relu2_1"]), image_of(size, 1)
    terms = [
        Term("palette", 3.0, PaletteLoss(palette.quantiles(image_of((40, 40), 2)))),
        Term("variation", 2.0, VariationLoss()),
        Term("palette", 1.0, PaletteLoss(palette.quantiles(image_of((30, 30), 3)), image_of(size, 4)[:, :1])),
    ]
    expected = at_once(objective(encoder, terms))(image)
    assert list(expected[0]) == ["palette", "variation"]
    before = image.clone()
    assert apart(InBlocks(encoder, terms, 32)(image), expected) < 1e-12
    assert torch.equal(image, before)
    assert not image.requires_grad
    assert apart(InBlocks(encoder, terms[1:2], 32)(image), at_once(objective(encoder, terms[1:2]))(image)) < 1e-12


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kept", ["memory", "files"])
def test_features_in_blocks_are_those_of_the_whole(size: Size, kept: str, tmp_path: Path) -> None:
    taps = ["relu1_1", "relu3_1", "trunk3_3", "relu4_1"]
    encoder, photo = lite(taps), image_of(size, 2)
    found = features_of(encoder, photo, taps, 32, tmp_path if kept == "files" else None)
    assert set(found) == set(taps)
    for tap, P in encoder(photo).items():
        torch.testing.assert_close(found[tap], P, rtol=1e-10, atol=1e-12)
        assert hasattr(found[tap], "pages") == (kept == "files")


def test_the_targets_of_a_painting_in_blocks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, painting, size = lite(STYLE), image_of((90, 133), 3), (101, 150)
    for weight in (None, image_of((45, 66), 5)[:, :1]):
        whole = Painted(painting, encoder, STYLE, weight=weight).squeezed(size)
        asked = Blend([(Painted(painting, encoder, STYLE, weight=weight), 1.0)]).squeezed(size, side=32)
        with monkeypatch.context() as patch:
            patch.setattr(style, "LARGE", 1000)
            patch.setattr(style, "SIDE", 48)
            large = Painted(painting, encoder, STYLE, weight=weight).squeezed(size)
        for tap, A in whole.items():
            torch.testing.assert_close(large[tap], A, rtol=1e-10, atol=1e-14)
            torch.testing.assert_close(asked[tap], A, rtol=1e-10, atol=1e-14)


# ---------------------------------------------------------------------------------------------------------- whole runs


def pixels(seed: int) -> Image.Image:
    return pictures.to_image(image_of((75, 101), seed, torch.float32))


HALVES = Image.new("RGB", (101, 75), "red")
HALVES.paste("blue", (0, 0, 50, 75))
PHOTO, ONE, TWO = map(pixels, (2, 3, 4))
RAMP, LEFT = Image.linear_gradient("L").resize((101, 75)), HALVES.getchannel("B")
RUNS: dict[str, tuple[list[Image.Image], dict[str, Any], dict[str, Any]]] = {
    "defaults": ([ONE], {}, {}),
    "masks": ([ONE], {"masks": [(RAMP, TWO), (LEFT, None)]}, {}),
    "paired masks": ([ONE], {"pair": (HALVES, HALVES)}, {}),
    "several styles and taps": (
        [ONE, TWO],
        {},
        {
            "blend": (0.7, 0.3),
            "tv_weight": 3.0,
            "content_taps": "relu2_1,relu4_1",
            "style_taps": "trunk3_3,conv4_1",
            "padding": "zero",
        },
    ),
    "published": (
        [ONE],
        {"masks": [(RAMP, TWO)]},
        {"method": "gatys", "tv_weight": 1.0, "padding": "zero", "keep_colors": "luma"},
    ),
}


def run_of(name: str, **more: Any) -> Run:
    styles, inputs, options = RUNS[name]
    settings: dict[str, Any] = {"encoder": "lite", "precision": "fp32", "size": 117} | options | more
    return Stylizer(**settings).run(PHOTO, styles, **inputs)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", RUNS)
def test_the_objective_of_a_run_is_the_same_in_blocks(
    name: str, side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where rounding decides whether a ReLU is active, a gradient may differ around that place; with another image it does not."""
    monkeypatch.setattr(terms, "SMALLEST", 16)  # so that this small image is averaged down too
    monkeypatch.setattr(levels, "BAND", 101 * 20)
    problem = run_of(name).problem
    folder = tmp_path if side == 64 else None
    whole, blocks = (problem.objective(problem.size, Plan(of), (), folder) for of in (None, side))
    distances = []
    for seed in range(9, 15):
        image = image_of(problem.size, seed, torch.float32)
        distances.append(apart(blocks(image), whole(image)))
        if distances[-1] < 1e-4:
            break
    assert max(distances) < 2e-3
    assert min(distances) < 1e-4


def test_a_run_in_blocks_ends_nearly_as_the_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly, because rounding grows on the way; pairs in bfloat16 take another path, in files the very same one."""
    stores: tuple[PairStore, ...] = ("memory", "half", "disk")
    runs = [run_of("masks", iterations=5, size=64) for _ in (None, *stores)]
    for run, pairs in zip(runs[1:], stores, strict=True):
        monkeypatch.setattr(run, "plan", lambda size, pairs=pairs: Plan(side=32, pairs=pairs))
    images = [np.asarray(run.finish()).astype(int) for run in runs]
    whole, memory, half, disk = (run.last.total for run in runs if run.last)
    assert memory == pytest.approx(whole, rel=0.01)  # more steps would let rounding decide
    assert np.abs(images[0] - images[1]).max() <= 8
    assert half != memory
    assert half == pytest.approx(memory, rel=0.05)
    assert disk == half
    assert (images[2] == images[3]).all()
