"""impasto.losses against the slow reference and against closed forms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from impasto.history import filed
from scipy.ndimage import uniform_filter
from torch import Tensor

from impasto import devices, losses
from impasto.losses import (
    ContentLoss,
    StyleLoss,
    Term,
    VariationLoss,
    content_loss,
    gram,
    halved,
    relative,
    relative_content_loss,
    relative_style_loss,
    style_loss,
    total_variation,
    weighted,
    wide,
)

steady = settings(derandomize=True, deadline=None, database=None, max_examples=60)
shapes = st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7))  # N, H, W
seeds = st.integers(0, 2**32 - 1)


def random(shape: tuple[int, ...], seed: int) -> reference.Array:
    return np.random.default_rng(seed).standard_normal(shape)


def tensor(array: reference.Array, dtype: torch.dtype = torch.float64) -> Tensor:
    """CxHxW -> 1xCxHxW."""
    return torch.from_numpy(array)[None].to(dtype)


def backward(loss: Any) -> None:  # torch leaves Tensor.backward without types
    loss.backward()


def slope(leaf: Tensor) -> Tensor:
    """What `backward` left at a leaf."""
    assert leaf.grad is not None
    return leaf.grad


def positions(F: Tensor) -> int:
    return F.shape[-2] * F.shape[-1]


# ---------------------------------------------------------------------------------------- the papers' sums, by the reference


@steady
@given(shapes, seeds)
def test_gram_is_equation_3(shape: tuple[int, int, int], seed: int) -> None:
    F = random(shape, seed)
    np.testing.assert_allclose(gram(tensor(F)).numpy(), reference.gram(F), rtol=1e-12, atol=1e-12)


@steady
@given(shapes, seeds)
def test_content_loss_is_equation_1(shape: tuple[int, int, int], seed: int) -> None:
    F, P = random(shape, seed), random(shape, seed + 1)
    assert content_loss(tensor(F), tensor(P)).item() == pytest.approx(reference.content_loss(F, P), rel=1e-12)


@steady
@given(shapes, seeds)
def test_style_loss_is_equation_4(shape: tuple[int, int, int], seed: int) -> None:
    F, A = random(shape, seed), reference.gram(random(shape, seed + 1))
    found = style_loss(gram(tensor(F)), torch.from_numpy(A), shape[1] * shape[2])
    assert found.item() == pytest.approx(reference.style_layer_loss(F, A), rel=1e-12)


def test_float32_is_as_close_as_float32_can_be() -> None:
    F, P = 100 * random((64, 20, 30), 0), 100 * random((64, 20, 30), 1)
    A = reference.gram(P)
    single = tensor(F, torch.float32), tensor(P, torch.float32)
    np.testing.assert_allclose(gram(single[0]).numpy(), reference.gram(F), rtol=0, atol=1e-6 * np.diag(A).max())
    assert content_loss(*single).item() == pytest.approx(reference.content_loss(F, P), rel=1e-5)
    found = style_loss(gram(single[0]), torch.from_numpy(A).float(), 600).item()
    assert found == pytest.approx(reference.style_layer_loss(F, A), rel=1e-5)


# ------------------------------------------------------------------------------------------------------------ closed forms


def test_gram_of_flat_features_is_the_product_of_their_values() -> None:
    values = torch.tensor([1.0, -2.0, 3.0])
    F = values[None, :, None, None].expand(1, 3, 4, 5)
    assert torch.equal(gram(F), 20 * torch.outer(values, values))


def test_gram_of_any_memory_layout() -> None:
    F = tensor(random((5, 6, 7), 0))
    for other in (F.contiguous(memory_format=torch.channels_last), F.transpose(2, 3).contiguous().transpose(2, 3)):
        leaf = other.clone(memory_format=torch.preserve_format).requires_grad_()
        torch.testing.assert_close(gram(leaf), gram(F), rtol=1e-12, atol=1e-12)
        backward(gram(leaf).square().sum())
        expected = 4 * gram(F) @ F[0].flatten(1)  # d/dF sum (F F')^2
        torch.testing.assert_close(slope(leaf)[0].flatten(1), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gram_of_half_precision_is_summed_in_float32_piece_by_piece(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    F = tensor(random((5, 60, 70), 0)).to(dtype).requires_grad_()
    expected = gram(F.detach().double())
    for piece in (1 << 20, 4200, 7, 1):
        monkeypatch.setattr("impasto.losses.PIECE", piece)
        G = gram(F)
        assert G.dtype == torch.float32
        torch.testing.assert_close(G.double(), expected, rtol=1e-5, atol=1e-2)  # of sums about 4000
        backward(G.sum())
        assert slope(F).dtype == dtype


@pytest.mark.parametrize("has", [True, False])
def test_gradient_of_a_gram_matrix_of_bfloat16(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_multiplies_bf16", lambda: has)
    F = tensor(random((8, 9, 12), 0)).to(torch.bfloat16).requires_grad_()
    S = tensor(random((8, 8, 1), 1))[0, :, :, 0].float()
    backward((S * gram(F)).sum())
    rows = F.detach().double()[0].flatten(1)
    by_hand = (S + S.T).double() @ rows
    found = slope(F)
    assert found.dtype == torch.bfloat16
    assert (found.double()[0].flatten(1) - by_hand).norm() < 0.01 * by_hand.norm()


def test_gram_of_bfloat16_is_as_good_as_a_product_in_float32() -> None:
    F = tensor(random((64, 170, 256), 0)).to(torch.bfloat16)  # large enough for a processor's bfloat16 products
    expected = gram(F.double())
    assert (gram(F) - expected).norm() < 2e-6 * expected.norm()
    rows = torch.rand(300, 300, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        rows @ rows, (rows.double() @ rows.double()).float(), rtol=1e-5, atol=0
    )  # as before: others' products


@pytest.mark.parametrize("band", [1 << 18, 100, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_squared_distance_is_the_same_in_bands(band: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.losses.BAND", band)
    F, P, W = (tensor(random(shape, seed)) for seed, shape in enumerate([(5, 13, 7), (5, 13, 7), (1, 13, 7)]))
    F = F.to(dtype)
    for weight in (None, W):
        leaf = F.clone().requires_grad_()
        distance = losses.squared_distance(leaf, P.float(), None if weight is None else weight.float())
        squares = (F.double() - P.float()) ** 2 * (1 if weight is None else weight.float())
        assert distance.item() == pytest.approx(float(squares.sum()), rel=1e-6)
        backward(distance)
        by_hand = 2 * (F.double() - P.float()) * (1 if weight is None else weight.float())
        torch.testing.assert_close(slope(leaf).double(), by_hand, rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=1e-6)


def test_along_gram_has_the_gradient_of_the_gram_matrix() -> None:
    F, S = tensor(random((5, 6, 7), 0)).requires_grad_(), tensor(random((5, 5, 1), 1))[0, :, :, 0]
    value = losses.along_gram(F, S)
    assert value.item() == 0
    found, expected = torch.autograd.grad(3 * value, F)[0], torch.autograd.grad(3 * (S * gram(F)).sum(), F)[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [3, 64, 70])
@pytest.mark.parametrize("piece", [losses.PIECE, 1000])
def test_spread_is_the_variance_of_all_values(channels: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "PIECE", piece)
    P = tensor(random((channels, 6, 7), 0)) + 100
    torch.testing.assert_close(losses.spread(P), P.var(correction=0), rtol=1e-12, atol=0)


def test_gram_forgets_where_things_are() -> None:
    F = tensor(random((5, 6, 7), 0))
    shuffled = F.flatten(2)[..., torch.randperm(42, generator=torch.Generator().manual_seed(0))].reshape(F.shape)
    assert not torch.equal(shuffled, F)
    torch.testing.assert_close(gram(shuffled), gram(F), rtol=1e-12, atol=1e-12)


def test_content_loss_of_a_shift() -> None:
    P = tensor(random((3, 4, 5), 0))
    assert content_loss(P + 0.5, P).item() == pytest.approx(0.5 * 0.25 * 60, rel=1e-12)


def test_style_loss_of_scaled_features() -> None:
    F = tensor(random((3, 4, 5), 0))
    A = gram(F)
    expected = (2**2 - 1) ** 2 * A.square().sum().item() / (4 * 3**2 * 20**2)
    assert style_loss(gram(2 * F), A, 20).item() == pytest.approx(expected, rel=1e-12)


# ----------------------------------------------------------------------------------------------------------- equations 2, 6


def rectified(pre: reference.Array) -> tuple[Tensor, Tensor]:
    """A leaf, and its ReLU: "conv4_2" of the papers is the rectified response."""
    leaf = tensor(pre).requires_grad_()
    return leaf, torch.relu(leaf)


@steady
@given(shapes, seeds)
def test_gradient_of_content_is_equation_2(shape: tuple[int, int, int], seed: int) -> None:
    pre, P = random(shape, seed), reference.relu(random(shape, seed + 1))
    leaf, F = rectified(pre)
    backward(content_loss(F, tensor(P)))
    expected = np.where(pre > 0, pre - P, 0.0)  # (F - P) where F > 0, 0 where F < 0
    np.testing.assert_allclose(slope(leaf)[0].numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(reference.content_gradient(reference.relu(pre), P), expected, rtol=1e-12)


def test_content_pulls_at_live_responses_only() -> None:
    pre = np.array([2.0, 1.0, -1.0, -3.0]).reshape(4, 1, 1)
    P = np.array([0.5, 4.0, 5.0, 0.0]).reshape(4, 1, 1)
    leaf, F = rectified(pre)
    backward(content_loss(F, tensor(P)))
    assert slope(leaf).flatten().tolist() == [1.5, -3.0, 0.0, 0.0]


@steady
@given(shapes, seeds)
def test_gradient_of_style_is_equation_6(shape: tuple[int, int, int], seed: int) -> None:
    pre, A = random(shape, seed), reference.gram(reference.relu(random(shape, seed + 1)))
    leaf, F = rectified(pre)
    backward(style_loss(gram(F), torch.from_numpy(A), positions(F)))
    expected = reference.style_layer_gradient(reference.relu(pre), A)
    np.testing.assert_allclose(slope(leaf)[0].numpy(), expected, rtol=1e-10, atol=1e-12)
    assert not slope(leaf)[0].numpy()[pre < 0].any()


def style_of(F: Tensor) -> Tensor:
    return style_loss(gram(F), torch.eye(F.shape[1], dtype=F.dtype), positions(F))


def relative_style_of(F: Tensor) -> Tensor:
    return relative_style_loss(gram(F), torch.eye(F.shape[1], dtype=F.dtype), positions(F))


def relative_content_of(F: Tensor) -> Tensor:
    # a fixed target: what is measured against must not move with F
    return relative_content_loss(F, tensor(random(tuple(F.shape[1:]), 9)))


@pytest.mark.parametrize("function", [gram, style_of, relative_style_of, relative_content_of, total_variation])
def test_gradcheck(function: Any) -> None:
    assert torch.autograd.gradcheck(function, (tensor(random((3, 4, 5), 0)).requires_grad_(),))
    # and the gradient's own gradient, so that no second-order method is led astray
    assert torch.autograd.gradgradcheck(function, (tensor(random((2, 2, 3), 1)).requires_grad_(),))


def test_gradcheck_content() -> None:
    P = tensor(random((3, 4, 5), 1))
    assert torch.autograd.gradcheck(lambda F: content_loss(F, P), (tensor(random((3, 4, 5), 0)).requires_grad_(),))


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
    loss = StyleLoss("relu1_1", gram(painting) / 30, measure)
    picture = torch.zeros(1, 3, 6, 5)
    once = loss(picture, {"relu1_1": F})
    torch.testing.assert_close(loss(picture, {"relu1_1": F.repeat(1, 1, *tiles)}), once, rtol=1e-10, atol=0)
    assert once.item() > 0


def test_relative_content_does_not_depend_on_how_often_features_are_tiled() -> None:
    F, P = tensor(random((4, 6, 5), 0)), tensor(random((4, 6, 5), 1))
    tiled = relative_content_loss(F.repeat(1, 1, 2, 3), P.repeat(1, 1, 2, 3))
    torch.testing.assert_close(tiled, relative_content_loss(F, P), rtol=1e-10, atol=0)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_features_that_say_nothing_give_finite_losses_and_gradients(value: float) -> None:
    flat = torch.full((1, 4, 6, 5), value)
    F = torch.rand(1, 4, 6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    total = relative_content_loss(F, flat) + relative_style_loss(gram(F), gram(torch.zeros_like(flat)), 30)
    backward(total)
    assert total.isfinite()
    assert slope(F).isfinite().all()
    assert relative_content_loss(flat, flat).item() == 0


# ------------------------------------------------------------------------------------------------------------ half precision


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_summed_in_float32(half: torch.dtype) -> None:
    F, P = (tensor(random((8, 40, 50), seed), torch.float32).to(half) for seed in (0, 1))
    exact = F[0].double().numpy(), P[0].double().numpy()
    G = gram(F)
    assert G.dtype == torch.float32
    # 2000 summands: a sum kept in half precision would be off by a per cent
    np.testing.assert_allclose(G.numpy(), reference.gram(exact[0]), rtol=1e-4, atol=1e-3)
    features = {"tap": F}
    content = ContentLoss("tap", P)(F, features)
    assert content.dtype == torch.float32
    assert content.item() == pytest.approx(reference.content_loss(*exact), rel=1e-5)
    style = StyleLoss("tap", gram(P) / 2000)(F, features)
    assert style.dtype == torch.float32
    assert style.item() == pytest.approx(reference.style_layer_loss(exact[0], reference.gram(exact[1])), rel=1e-3)
    assert relative_content_loss(F, wide(P)).dtype == torch.float32


@pytest.mark.parametrize(("half", "bound"), [(torch.bfloat16, 0.01), (torch.float16, 0.002)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradient_of_style_in_half_precision(half: torch.dtype, bound: float, layout: torch.memory_format) -> None:
    """bf16 keeps 8 bits: half a step is 0.002, and features, matrix and product are rounded once each."""
    F = tensor(reference.relu(random((8, 40, 50), 0))).to(half).contiguous(memory_format=layout)
    A = reference.gram(reference.relu(random((8, 40, 50), 1))) / 2
    leaf = F.clone(memory_format=torch.preserve_format).requires_grad_()
    backward(style_loss(gram(leaf), torch.from_numpy(A).float(), 2000).mul(1000))  # float16's numbers end at 6e-8
    expected = 1000 * reference.style_layer_gradient(F[0].double().numpy(), A)
    assert slope(leaf).dtype == half
    found = np.where(F[0].double().numpy() > 0, slope(leaf)[0].double().numpy(), 0)
    assert np.sqrt(np.mean((found - expected) ** 2)) < bound * np.sqrt(np.mean(expected**2))


def test_wide_leaves_float32_and_float64_alone() -> None:
    for dtype in (torch.float32, torch.float64):
        x = torch.zeros(2, dtype=dtype)
        assert wide(x) is x


# ----------------------------------------------------------------------------------------------------------- total variation


@steady
@given(st.tuples(st.just(3), st.integers(1, 6), st.integers(1, 6)), seeds)
def test_total_variation_by_loops(shape: tuple[int, int, int], seed: int) -> None:
    picture = random(shape, seed)
    assert total_variation(tensor(picture)).item() == pytest.approx(reference.total_variation(picture), rel=1e-12)


def test_total_variation_of_one_colour_is_0() -> None:
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


# ------------------------------------------------------------------------------------------------------------- the modules


@pytest.fixture
def seen() -> dict[str, Tensor]:
    return {"relu1_1": tensor(random((4, 6, 5), 0)), "relu2_1": tensor(random((6, 3, 2), 1))}


PICTURE = tensor(np.random.default_rng(5).random((3, 6, 5)))


@pytest.mark.parametrize(("measure", "function"), [(halved, content_loss), (relative, relative_content_loss)])
def test_content_module_is_the_function(seen: dict[str, Tensor], measure: Any, function: Any) -> None:
    P = tensor(random((6, 3, 2), 2))
    assert torch.equal(ContentLoss("relu2_1", P, measure)(PICTURE, seen), function(seen["relu2_1"], P))


@pytest.mark.parametrize("measure", [style_loss, relative_style_loss])
def test_style_module_is_the_function(seen: dict[str, Tensor], measure: Any) -> None:
    A = gram(tensor(random((6, 3, 2), 2)))
    found = StyleLoss("relu2_1", A / 6, measure)(PICTURE, seen)
    torch.testing.assert_close(found, measure(gram(seen["relu2_1"]), A, 6), rtol=1e-12, atol=0)


def test_default_measures_are_the_papers(seen: dict[str, Tensor]) -> None:
    F, P = (random((4, 6, 5), seed) for seed in (0, 2))
    assert ContentLoss("relu1_1", tensor(P))(PICTURE, seen).item() == pytest.approx(reference.content_loss(F, P), rel=1e-12)
    style = StyleLoss("relu1_1", gram(tensor(P)) / 30)(PICTURE, seen)
    assert style.item() == pytest.approx(reference.style_layer_loss(F, reference.gram(P)), rel=1e-12)


def test_palette_module_is_the_function(seen: dict[str, Tensor]) -> None:
    Q, T = losses.quantiles(picture(9, 9, 5)), torch.rand(1, 1, *PICTURE.shape[-2:]).double()
    for where in (None, T):
        module = losses.PaletteLoss(Q, where)
        assert torch.equal(module(PICTURE, seen), losses.palette_loss(PICTURE, Q, where))


def test_variation_module_is_the_function(seen: dict[str, Tensor]) -> None:
    assert torch.equal(VariationLoss()(PICTURE, seen), total_variation(PICTURE))


def test_targets_are_fixed_and_travel_with_the_module() -> None:
    P = tensor(random((4, 6, 5), 0)).requires_grad_()
    for loss in (ContentLoss("tap", P), StyleLoss("tap", gram(P))):
        (buffer,) = loss.buffers()
        assert not buffer.requires_grad
        assert not list(loss.parameters())
        assert next(loss.to(torch.float32).buffers()).dtype == torch.float32


def test_weighted_sums_by_name_to_equation_7() -> None:
    alpha, beta = 0.25, 30.0
    F = {"relu1_1": random((4, 6, 5), 0), "relu2_1": random((6, 3, 2), 1)}
    P = random((6, 3, 2), 2)
    A = {tap: reference.gram(random(features.shape, 3)) for tap, features in F.items()}
    terms = [
        Term("style", beta / 2, StyleLoss("relu1_1", torch.from_numpy(A["relu1_1"]) / 30)),
        Term("content", alpha, ContentLoss("relu2_1", tensor(P))),
        Term("style", beta / 2, StyleLoss("relu2_1", torch.from_numpy(A["relu2_1"]) / 6)),
        Term("variation", 2.0, VariationLoss()),
    ]
    sums = weighted(terms, PICTURE, {tap: tensor(features) for tap, features in F.items()})
    content = reference.content_loss(F["relu2_1"], P)
    style = reference.style_loss([reference.style_layer_loss(F[tap], A[tap]) for tap in F])
    assert set(sums) == {"content", "style", "variation"}
    assert sums["content"].item() == pytest.approx(alpha * content, rel=1e-12)
    assert sums["style"].item() == pytest.approx(beta * style, rel=1e-12)
    assert sums["variation"].item() == pytest.approx(2 * reference.total_variation(PICTURE[0].numpy()), rel=1e-12)
    total = sums["content"] + sums["style"]
    assert total.item() == pytest.approx(reference.total_loss(content, style, alpha, beta), rel=1e-12)


# ------------------------------------------------------------------------------------------------------------------ detail


@pytest.mark.parametrize("height", [12, 3 * losses.REACH + 5])  # the second is looked at in bands
def test_detail_is_the_definition_in_numpy(height: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(losses, "PIECE", 1)
    P = np.random.default_rng(0).standard_normal((5, height, 17)) * np.linspace(0.2, 3, 17)

    def mean(x: reference.Array) -> reference.Array:
        smooth: Any = uniform_filter  # which has no types
        return np.asarray(smooth(x, losses.REACH, mode="nearest"))

    energy = mean(((P - np.stack([mean(channel) for channel in P])) ** 2).mean(0))
    root = np.sqrt(energy / energy.mean())
    expected = losses.DETAIL_FLOOR + (1 - losses.DETAIL_FLOOR) * root / root.mean()
    found = losses.detail(filed(torch.Size((1, *P.shape)), torch.float32, tmp_path).copy_(torch.from_numpy(P)[None]))
    assert found.shape == (1, 1, height, 17)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=1e-4)
    assert float(found.mean()) == pytest.approx(1, abs=1e-5)


def test_detail_of_one_colour_is_the_same_everywhere() -> None:
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


# ----------------------------------------------------------------------------------------------------------------- palette


def picture(height: int, width: int, seed: int) -> Tensor:
    """1x3xHxW, 0..1, of colours that go together."""
    colours = np.random.default_rng(seed).beta(2, 3, (3, height, width))
    return torch.from_numpy(np.stack([colours[0], (colours[0] + colours[1]) / 2, colours[2] ** 2]))[None]


def along(image: Tensor) -> list[reference.Array]:
    """The colours of a picture along each direction."""
    pixels = image[0].flatten(1).numpy()
    return [np.asarray(direction) / np.linalg.norm(direction) @ pixels for direction in losses.DIRECTIONS]


def test_quantiles_are_those_of_numpy() -> None:
    image = picture(30, 40, 1)
    middles = (np.arange(losses.QUANTILES) + 0.5) / losses.QUANTILES
    expected = [np.quantile(colours, middles, method="hazen") for colours in along(image)]
    np.testing.assert_allclose(losses.quantiles(image).numpy(), expected, rtol=1e-9)


def test_palette_loss_is_the_squared_wasserstein_distance_along_each_direction() -> None:
    image, painting = picture(30, 40, 1), picture(16, 16, 2)
    Q = losses.quantiles(painting)
    middles, ranks = ((np.arange(count) + 0.5) / count for count in (losses.QUANTILES, 1200))
    moved = [
        ((np.sort(colours) - np.interp(ranks, middles, row)) ** 2).mean()
        for colours, row in zip(along(image), Q.numpy(), strict=True)
    ]
    expected = np.mean(moved) / Q.numpy().var(axis=1).mean()
    assert float(losses.palette_loss(image, Q)) == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: losses.palette_loss(x, Q), picture(3, 4, 3).requires_grad_())


def test_palette_loss_is_0_for_the_same_colours_anywhere() -> None:
    painting = picture(16, 16, 1)  # as many pixels as quantiles
    shuffled = painting.flatten(2)[..., torch.randperm(256, generator=torch.Generator().manual_seed(0))].reshape(1, 3, 8, 32)
    Q = losses.quantiles(painting)
    assert float(losses.palette_loss(shuffled, Q)) == pytest.approx(0, abs=1e-12)
    assert float(losses.palette_loss(shuffled.flip(1), Q)) > 0.01
    assert float(losses.palette_loss(torch.full((1, 3, 5, 5), 0.5), losses.quantiles(torch.full((1, 3, 9, 9), 0.5)))) == 0


def test_a_palette_weighs_places_and_is_blind_outside() -> None:
    image, T = picture(20, 24, 1), torch.zeros(1, 1, 20, 24, dtype=torch.float64)
    T[..., :10] = 1
    part = image[..., :10]
    torch.testing.assert_close(losses.quantiles(image, T), losses.quantiles(part), rtol=1e-6, atol=1e-6)
    Q = losses.quantiles(picture(16, 16, 2))
    assert float(losses.palette_loss(image, Q, T)) == pytest.approx(float(losses.palette_loss(part, Q)), rel=1e-9)
    twice = torch.cat([part, part, image[..., 10:]], dim=-1)
    T = torch.cat([torch.ones(1, 1, 20, 20), torch.full((1, 1, 20, 14), 2.0)], dim=-1).double()
    doubled = torch.cat([twice, image[..., 10:]], dim=-1)
    assert float(losses.palette_loss(twice, Q, T)) == pytest.approx(float(losses.palette_loss(doubled, Q)), rel=1e-2)
    leaf = image.clone().requires_grad_()
    backward(losses.palette_loss(leaf, Q, torch.nn.functional.pad(torch.ones(1, 1, 20, 10).double(), (0, 14))))
    assert not slope(leaf)[..., 10:].any()
    assert slope(leaf)[..., :10].any()


def test_a_large_picture_is_looked_at_in_blocks() -> None:
    image = picture(60, 80, 1)
    enlarged = image.repeat_interleave(4, 2).repeat_interleave(4, 3)  # 320 pixels: blocks of 5 pixels, not of 4
    exact = image.repeat_interleave(2, 2).repeat_interleave(2, 3)  # 160: blocks of 2
    torch.testing.assert_close(losses.quantiles(exact), losses.quantiles(image))
    assert float(losses.palette_loss(enlarged, losses.quantiles(image))) < 0.2


# -------------------------------------------------------------------------------------------------------------- guided Gram


def test_the_guided_gram_matrix_is_its_definition_and_blind_outside() -> None:
    F = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    T = torch.zeros(1, 1, 4, 5, dtype=torch.float64)
    T[..., :2], T[..., 2] = 1, 0.5
    G, M = losses.guided(F, T)
    rows = (F * T)[0].flatten(1).numpy()
    np.testing.assert_allclose(G.numpy(), rows @ rows.T, rtol=1e-12)
    assert float(M) == pytest.approx(4 * 2 + 4 * 0.25)
    changed = F.clone()
    changed[..., 3:] = 99
    assert torch.equal(losses.guided(changed, T)[0], G)
    everywhere, count = losses.guided(F, torch.ones_like(T))
    whole, positions = losses.guided(F, None)
    assert torch.equal(everywhere, whole)
    assert float(count) == positions == 20
