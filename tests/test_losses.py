"""The losses against the slow reference (the papers in numpy) and against closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from tensors import backward, random, slope, tensor
from torch import Tensor

from impasto import losses, palette
from impasto.compute.kernels import gram
from impasto.losses import (
    ChannelSum,
    ContentLoss,
    GramSum,
    PaletteLoss,
    StyleLoss,
    SummedLoss,
    Term,
    VariationLoss,
    content_loss,
    halved,
    relative,
    relative_content_loss,
    relative_style_loss,
    style_loss,
    total_variation,
    weighted,
)

steady = settings(derandomize=True, deadline=None, database=None, max_examples=60)
shapes = st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7))  # N, H, W
seeds = st.integers(0, 2**32 - 1)
PIXELS = tensor(np.random.default_rng(5).random((3, 6, 5)))
SEEN = {"relu1_1": tensor(random((4, 6, 5), 0)), "relu2_1": tensor(random((6, 3, 2), 1))}
T = tensor(np.random.default_rng(6).random((1, 3, 2)))


# ----------------------------------------------------------------------------------------------- equations 1, 2, 4, 6


@steady
@given(shapes, seeds)
def test_content_loss_is_equation_1_and_its_gradient_equation_2(shape: tuple[int, int, int], seed: int) -> None:
    pre, P = random(shape, seed), reference.relu(random(shape, seed + 1))
    leaf, F = rectified(pre)
    loss = content_loss(F, tensor(P))
    assert loss.item() == pytest.approx(reference.content_loss(reference.relu(pre), P), rel=1e-12)
    backward(loss)
    expected = np.where(pre > 0, pre - P, 0.0)  # (F - P) where F > 0, 0 where F < 0
    np.testing.assert_allclose(slope(leaf)[0].numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(reference.content_gradient(reference.relu(pre), P), expected, rtol=1e-12)


@steady
@given(shapes, seeds)
def test_style_loss_is_equation_4_and_its_gradient_equation_6(shape: tuple[int, int, int], seed: int) -> None:
    pre, A = random(shape, seed), reference.gram(reference.relu(random(shape, seed + 1)))
    leaf, F = rectified(pre)
    loss = style_loss(gram(F), torch.from_numpy(A), losses.positions(F))
    assert loss.item() == pytest.approx(reference.style_layer_loss(reference.relu(pre), A), rel=1e-12)
    backward(loss)
    expected = reference.style_layer_gradient(reference.relu(pre), A)
    np.testing.assert_allclose(slope(leaf)[0].numpy(), expected, rtol=1e-10, atol=1e-12)
    assert not slope(leaf)[0].numpy()[pre < 0].any()


def rectified(pre: reference.Array) -> tuple[Tensor, Tensor]:
    """A leaf, and its ReLU: "conv4_2" of the papers is the rectified response."""
    leaf = tensor(pre).requires_grad_()
    return leaf, torch.relu(leaf)


def test_float32_is_as_close_as_float32_can_be() -> None:
    F, P = 100 * random((64, 20, 30), 0), 100 * random((64, 20, 30), 1)
    A = reference.gram(P)
    single = tensor(F, torch.float32), tensor(P, torch.float32)
    assert content_loss(*single).item() == pytest.approx(reference.content_loss(F, P), rel=1e-5)
    found = style_loss(gram(single[0]), torch.from_numpy(A).float(), 600).item()
    assert found == pytest.approx(reference.style_layer_loss(F, A), rel=1e-5)


@pytest.mark.parametrize(("half", "bound"), [(torch.bfloat16, 0.01), (torch.float16, 0.002)])
def test_half_precision_features_give_float32_losses(half: torch.dtype, bound: float) -> None:
    """bf16 keeps 8 bits: half a step is 0.002, and features, matrix and product are rounded once each."""
    F, P = (tensor(reference.relu(random((8, 40, 50), seed)), torch.float32).to(half) for seed in (0, 1))
    exact = F[0].double().numpy(), P[0].double().numpy()
    A = reference.gram(exact[1])
    content, style = ContentLoss.of("tap", P), StyleLoss("tap", A=torch.from_numpy(A).float() / 2000)
    assert {loss(PIXELS, {"tap": F}).dtype for loss in (content, style)} == {torch.float32}
    assert content(PIXELS, {"tap": F}).item() == pytest.approx(reference.content_loss(*exact), rel=1e-5)
    assert style(PIXELS, {"tap": F}).item() == pytest.approx(reference.style_layer_loss(exact[0], A), rel=1e-3)
    leaf = F.clone().requires_grad_()
    backward(style_loss(gram(leaf), torch.from_numpy(A / 2).float(), 2000).mul(1000))  # float16's numbers end at 6e-8
    expected = 1000 * reference.style_layer_gradient(exact[0], A / 2)
    found = np.where(exact[0] > 0, slope(leaf)[0].double().numpy(), 0)
    assert np.sqrt(np.mean((found - expected) ** 2)) < bound * np.sqrt(np.mean(expected**2))


# -------------------------------------------------------------------------------------------------------- closed forms


def test_content_loss_of_a_shift() -> None:
    P = tensor(random((3, 4, 5), 0))
    assert content_loss(P + 0.5, P).item() == pytest.approx(0.5 * 0.25 * 60, rel=1e-12)


def test_style_loss_of_scaled_features() -> None:
    F = tensor(random((3, 4, 5), 0))
    A = gram(F)
    expected = (2**2 - 1) ** 2 * A.square().sum().item() / (4 * 3**2 * 20**2)
    assert style_loss(gram(2 * F), A, 20).item() == pytest.approx(expected, rel=1e-12)


def test_style_ignores_where_things_are() -> None:
    F = tensor(random((5, 6, 7), 0))
    shuffled = F.flatten(2)[..., torch.randperm(42, generator=torch.Generator().manual_seed(0))].reshape(F.shape)
    torch.testing.assert_close(gram(shuffled), gram(F), rtol=1e-12, atol=1e-12)


def style_of(F: Tensor) -> Tensor:
    return style_loss(gram(F), torch.eye(F.shape[1], dtype=F.dtype), losses.positions(F))


def relative_style_of(F: Tensor) -> Tensor:
    return relative_style_loss(gram(F), torch.eye(F.shape[1], dtype=F.dtype), losses.positions(F))


def relative_content_of(F: Tensor) -> Tensor:
    # a fixed target: what is measured against must not move with F
    return relative_content_loss(F, tensor(random(tuple(F.shape[1:]), 9)))


@pytest.mark.parametrize("function", [gram, style_of, relative_style_of, relative_content_of, total_variation])
def test_gradcheck(function: Any) -> None:
    assert torch.autograd.gradcheck(function, (tensor(random((3, 4, 5), 0)).requires_grad_(),))
    # and the gradient's own gradient, so that no second-order method is led astray
    assert torch.autograd.gradgradcheck(function, (tensor(random((2, 2, 3), 1)).requires_grad_(),))


# --------------------------------------------------------------------------------------------------------- relative losses


@steady
@given(shapes.filter(lambda shape: math.prod(shape) > 1), seeds)
def test_relative_content_by_numpy(shape: tuple[int, int, int], seed: int) -> None:
    F, P = random(shape, seed), random(shape, seed + 1)
    expected = np.mean((F - P) ** 2) / np.var(P)
    assert relative_content_loss(tensor(F), tensor(P)).item() == pytest.approx(expected, rel=1e-9)


@steady
@given(shapes, seeds)
def test_relative_style_by_numpy(shape: tuple[int, int, int], seed: int) -> None:
    F, A = random(shape, seed), reference.gram(random(shape, seed + 1))
    expected = np.sum((reference.gram(F) - A) ** 2) / np.sum(A**2)
    found = relative_style_loss(gram(tensor(F)), torch.from_numpy(A), shape[1] * shape[2])
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-2, 0.3, 7.0, 1e3])
def test_relative_losses_do_not_depend_on_the_scale_of_features(scale: float) -> None:
    F, P = tensor(random((4, 6, 5), 0)), tensor(random((4, 6, 5), 1))
    content, style = relative_content_loss(F, P), relative_style_loss(gram(F), gram(P), 30)
    torch.testing.assert_close(relative_content_loss(scale * F, scale * P), content, rtol=1e-9, atol=0)
    torch.testing.assert_close(relative_style_loss(gram(scale * F), gram(scale * P), 30), style, rtol=1e-9, atol=0)


def test_relative_losses_are_0_at_the_target_and_1_without_its_features() -> None:
    P = tensor(random((4, 6, 5), 1))
    assert relative_content_loss(P, P).item() == 0
    assert relative_content_loss(torch.full_like(P, P.mean().item()), P).item() == pytest.approx(1, rel=1e-12)
    assert relative_style_loss(gram(P), gram(P), 30).item() == 0
    assert relative_style_loss(gram(torch.zeros_like(P)), gram(P), 30).item() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("measure", [style_loss, relative_style_loss])
@pytest.mark.parametrize("tiles", [(1, 2), (3, 1), (2, 3)])
def test_style_does_not_depend_on_how_often_features_are_tiled(measure: Any, tiles: tuple[int, int]) -> None:
    F, painting = tensor(random((4, 6, 5), 0)), tensor(random((4, 6, 5), 1))
    loss = StyleLoss("relu1_1", A=gram(painting) / 30, measure=measure)
    once = loss(PIXELS, {"relu1_1": F})
    torch.testing.assert_close(loss(PIXELS, {"relu1_1": F.repeat(1, 1, *tiles)}), once, rtol=1e-10, atol=0)
    assert once.item() > 0


def test_relative_content_does_not_depend_on_how_often_features_are_tiled() -> None:
    F, P = tensor(random((4, 6, 5), 0)), tensor(random((4, 6, 5), 1))
    tiled = relative_content_loss(F.repeat(1, 1, 2, 3), P.repeat(1, 1, 2, 3))
    torch.testing.assert_close(tiled, relative_content_loss(F, P), rtol=1e-10, atol=0)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_flat_features_give_finite_losses_and_gradients(value: float) -> None:
    flat = torch.full((1, 4, 6, 5), value)
    F = torch.rand(1, 4, 6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    total = relative_content_loss(F, flat) + relative_style_loss(gram(F), gram(torch.zeros_like(flat)), 30)
    backward(total)
    assert total.isfinite()
    assert slope(F).isfinite().all()
    assert relative_content_loss(flat, flat).item() == 0


# ----------------------------------------------------------------------------------------------------------- total variation


@steady
@given(st.tuples(st.just(3), st.integers(1, 6), st.integers(1, 6)), seeds)
def test_total_variation_by_loops(shape: tuple[int, int, int], seed: int) -> None:
    picture = random(shape, seed)
    assert total_variation(tensor(picture)).item() == pytest.approx(reference.total_variation(picture), rel=1e-12)


def test_total_variation_of_one_color_is_0() -> None:
    assert total_variation(torch.tensor([0.2, 0.5, 0.9])[None, :, None, None].expand(1, 3, 7, 5)).item() == 0


@steady
@given(st.integers(1, 9), st.integers(1, 9), st.floats(-1, 1), st.floats(-1, 1))
def test_total_variation_of_a_ramp(height: int, width: int, down: float, right: float) -> None:
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    picture = (down * y + right * x).expand(1, 3, height, width)
    expected = ((height - 1) * width * down**2 + height * (width - 1) * right**2) / (height * width)
    assert total_variation(picture).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1)])
def test_total_variation_of_a_line_or_a_point(size: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    variation = total_variation(picture)
    backward(variation)
    assert variation.item() == pytest.approx(reference.total_variation(picture.detach()[0].double().numpy()), rel=1e-6)
    assert slope(picture).isfinite().all()


# ------------------------------------------------------------------------------------------------------ losses with targets


@pytest.mark.parametrize(("measure", "function"), [(halved, content_loss), (relative, relative_content_loss)])
def test_a_content_loss_is_its_function(measure: Any, function: Any) -> None:
    P = tensor(random((6, 3, 2), 2))
    for W in (None, T):
        assert torch.equal(ContentLoss.of("relu2_1", P, measure, W)(PIXELS, SEEN), function(SEEN["relu2_1"], P, W))


@pytest.mark.parametrize("measure", [style_loss, relative_style_loss])
def test_a_style_loss_is_its_function(measure: Any) -> None:
    F, A = SEEN["relu2_1"], gram(tensor(random((6, 3, 2), 2)))
    whole, guided = (StyleLoss("relu2_1", where, A=A / 6, measure=measure) for where in (None, T))
    torch.testing.assert_close(whole(PIXELS, SEEN), measure(gram(F), A, 6), rtol=1e-12, atol=0)
    rows, M = (F * T)[0].flatten(1), (T**2).sum()
    torch.testing.assert_close(guided(PIXELS, SEEN), measure(rows @ rows.T, A / 6 * M, M), rtol=1e-12, atol=0)
    changed = SEEN["relu2_1"].clone()
    changed[..., 0, 0] = 99
    nowhere = StyleLoss("relu2_1", torch.where(torch.arange(6).reshape(1, 1, 3, 2) == 0, 0.0, T), A=A, measure=measure)
    assert torch.equal(nowhere(PIXELS, {"relu2_1": changed}), nowhere(PIXELS, SEEN))  # blind outside its region


def test_default_measures_are_the_papers() -> None:
    F, P = (random((4, 6, 5), seed) for seed in (0, 2))
    content, style = ContentLoss.of("relu1_1", tensor(P)), StyleLoss("relu1_1", A=gram(tensor(P)) / 30)
    assert content(PIXELS, SEEN).item() == pytest.approx(reference.content_loss(F, P), rel=1e-12)
    assert style(PIXELS, SEEN).item() == pytest.approx(reference.style_layer_loss(F, reference.gram(P)), rel=1e-12)


def test_sums_per_position_are_the_means_of_numpy() -> None:
    """Of features, and of their products: what a style file stores."""
    F, weight = SEEN["relu2_1"][0].flatten(1).numpy(), T.flatten().numpy()
    image = PIXELS, SEEN
    for kind, expected, guided in (
        (ChannelSum, F.mean(1), (F * weight**2).sum(1) / (weight**2).sum()),
        (GramSum, F @ F.T / 6, F * weight @ (F * weight).T / (weight**2).sum()),
    ):
        for where, values in ((None, expected), (T, guided)):
            one = kind("relu2_1", where)
            np.testing.assert_allclose(one.per_position(*one.sums(*image)).numpy(), values, rtol=1e-12)


def test_palette_and_variation_losses_are_their_functions() -> None:
    Q, where = palette.quantiles(tensor(random((3, 9, 9), 5))), tensor(np.random.default_rng(7).random((1, 6, 5)))
    for mask in (None, where):
        assert torch.equal(PaletteLoss(Q, mask)(PIXELS, SEEN), palette.palette_loss(PIXELS, Q, mask))
    assert torch.equal(VariationLoss()(PIXELS, SEEN), total_variation(PIXELS))


def test_the_sums_of_blocks_add_up_to_the_value_of_the_whole() -> None:
    """Two blocks, cut by hand: the upper rows of the target with one row more of the image, and the rest."""
    F, P = SEEN["relu1_1"], tensor(random((4, 6, 5), 3))
    weight = tensor(np.random.default_rng(8).random((1, 6, 5)))
    summed: list[SummedLoss] = [
        ContentLoss.of("relu1_1", P, relative, weight),
        StyleLoss("relu1_1", weight, A=gram(P) / 30),
        StyleLoss("relu1_1", A=gram(P) / 30, measure=relative_style_loss),
        VariationLoss(),
    ]

    def sums(loss: SummedLoss, rows: slice) -> tuple[Tensor, ...]:
        block = loss.block(lambda maps: maps[..., rows, :], (rows.stop - rows.start, 5), (6, 5))
        return block.sums(PIXELS[..., rows.start : rows.stop + 1, :], {"relu1_1": F[..., rows, :]})

    for loss in summed:
        upper, lower = sums(loss, slice(0, 4)), sums(loss, slice(4, 6))
        value = loss.value(*(a + b for a, b in zip(upper, lower, strict=True)))
        assert value.item() == pytest.approx(loss(PIXELS, SEEN).item(), rel=1e-12), loss


def test_a_target_is_fixed() -> None:
    P = tensor(random((4, 6, 5), 0)).requires_grad_()
    assert not ContentLoss.of("tap", P).P.requires_grad


def test_the_target_may_be_on_another_device() -> None:
    """As where it is in a file. Meta tensors have no values, but refuse operands on another device; every machine has them."""
    P, weight = torch.rand(1, 4, 6, 5), torch.rand(1, 1, 6, 5)
    F = torch.empty(1, 4, 6, 5, device="meta", requires_grad=True)
    with pytest.raises(RuntimeError, match="device"):
        F - P
    for W in (None, weight):
        value = ContentLoss.of("tap", P, relative, W)(PIXELS, {"tap": F})
        (gradient,) = torch.autograd.grad(value, F)
        assert value.device.type == gradient.device.type == "meta"


def test_a_printed_term_explains_itself() -> None:
    """What is measured, where, and against a target of what shape."""
    P, A = tensor(random((6, 3, 2), 2)), torch.eye(6)
    terms = [
        Term("content", 0.5, ContentLoss.of("relu2_1", P, relative, T)),
        Term("style", 25, StyleLoss("relu2_1", A=A, measure=relative_style_loss)),
        Term("palette", 20, PaletteLoss(torch.zeros(7, 256))),
        Term("variation", 3e4, VariationLoss()),
    ]
    content, style, colors, variation = map(str, terms)
    assert content.startswith("content: 0.5 * ContentLoss(tap='relu2_1', P=1x6x3x2, measure=relative, W=1x1x3x2, ")
    assert style == "style: 25 * StyleLoss(tap='relu2_1', A=6x6, measure=relative_style_loss)"
    assert colors == "palette: 20 * PaletteLoss(Q=7x256)"
    assert variation == "variation: 30000 * VariationLoss()"


def test_weighted_sums_by_name_to_equation_7() -> None:
    alpha, beta = 0.25, 30.0
    F = {tap: features[0].numpy() for tap, features in SEEN.items()}
    P = random((6, 3, 2), 2)
    A = {tap: reference.gram(random(features.shape, 3)) for tap, features in F.items()}
    terms = [
        Term("style", beta / 2, StyleLoss("relu1_1", A=torch.from_numpy(A["relu1_1"]) / 30)),
        Term("content", alpha, ContentLoss.of("relu2_1", tensor(P))),
        Term("style", beta / 2, StyleLoss("relu2_1", A=torch.from_numpy(A["relu2_1"]) / 6)),
        Term("variation", 2.0, VariationLoss()),
    ]
    sums = weighted(terms, PIXELS, SEEN)
    content = reference.content_loss(F["relu2_1"], P)
    style = reference.style_loss([reference.style_layer_loss(F[tap], A[tap]) for tap in F])
    assert list(sums) == ["style", "content", "variation"]
    assert sums["variation"].item() == pytest.approx(2 * reference.total_variation(PIXELS[0].numpy()), rel=1e-12)
    total = sums["content"] + sums["style"]
    assert total.item() == pytest.approx(reference.total_loss(content, style, alpha, beta), rel=1e-12)


# ------------------------------------------------------------------------------------------------------------------ detail


def test_detail_is_the_definition_in_numpy() -> None:
    P = random((5, 50, 17), 0) * np.linspace(0.2, 3, 17)

    def mean(x: reference.Array) -> reference.Array:
        smooth: Any = uniform_filter  # which has no types
        return np.asarray(smooth(x, losses.REACH, mode="nearest"))

    energy = mean(((P - np.stack([mean(channel) for channel in P])) ** 2).mean(0))
    energy /= energy.mean()
    weight = np.sqrt(energy) / (energy + 0.3)
    expected = losses.DETAIL_FLOOR + (1 - losses.DETAIL_FLOOR) * weight / weight.mean()
    found = losses.detail(tensor(P, torch.float32))
    assert found.shape == (1, 1, 50, 17)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=1e-4)
    assert float(found.mean()) == pytest.approx(1, abs=1e-5)


def test_detail_of_one_color_is_the_same_everywhere() -> None:
    for value in (0.0, 0.3, 100.0):
        weight = losses.detail(torch.full((1, 4, 9, 9), value))
        assert torch.equal(weight, torch.ones(1, 1, 9, 9))


def test_detail_frees_the_sky_and_holds_the_houses() -> None:
    P = torch.zeros(1, 3, 160, 60)
    P[..., 80:, :] = torch.rand(1, 3, 80, 60, generator=torch.Generator().manual_seed(0))
    weight = losses.detail(P)
    assert weight[..., :40, :].max() == pytest.approx(losses.DETAIL_FLOOR)
    assert weight[..., 120:, :].min() > 1


def test_a_weighted_content_loss_counts_positions_by_their_weight() -> None:
    F, P = (torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in (1, 2))
    W = torch.rand(1, 1, 4, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    by_hand = sum(float(W[0, 0, y, x] * ((F - P)[0, :, y, x] ** 2).sum()) for y in range(4) for x in range(5))
    assert float(losses.content_loss(F, P, W)) == pytest.approx(by_hand / 2, rel=1e-12)
    assert float(losses.relative_content_loss(F, P, W)) == pytest.approx(by_hand / 60 / P.numpy().var(), rel=1e-12)
    assert float(losses.content_loss(F, P)) == pytest.approx(float(losses.content_loss(F, P, torch.ones_like(W))), rel=1e-12)
