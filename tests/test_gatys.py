"""The whole product against the whole published algorithm (`reference.Published`), number for number, and its gradient.

Random weights, but as wide as VGG-19 really is and as deep as the papers go, read from a file as a user's would be.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import skimage.data
import torch
from PIL import Image
from safetensors.numpy import save_file
from torch import Tensor

from impasto import Options, Step, Stylizer
from impasto.compute.kernels import gram
from impasto.encoders import VGG, Padding, Pooling
from impasto.errors import DivergenceError, MissingWeightsError, UnknownNameError
from impasto.losses import ContentLoss, StyleLoss, Term, weighted

SAMPLES: Any = skimage.data  # which has no types
SIZE = (24, 32)  # height, width: conv5_1 of it still has 1x2 positions
TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CLOSE = 2e-4  # float32 through thirteen layers, and differences of Gram matrices


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return reference.random_vgg("vgg19", "conv5_1", (64, 128, 256, 512, 512), seed=7)


@pytest.fixture(scope="module")
def file(weights: dict[str, np.ndarray]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # 50 MB, which pytest's own folders would keep
        path = Path(folder) / "vgg19.safetensors"
        save_file(weights, path, {"network": "vgg19", "input": "RGB, 0..255, minus mean, zero padding"})
        yield path


def crop(image: np.ndarray, top: int, left: int, size: tuple[int, int], step: int = 2) -> np.ndarray:
    """HxWx3 bytes."""
    return np.ascontiguousarray(image[top::step, left::step][: size[0], : size[1]])


PHOTO = crop(SAMPLES.chelsea(), 90, 130, SIZE)
PAINTING = crop(SAMPLES.astronaut(), 20, 150, (50, 41), step=4)  # of another size and shape


def planes(picture: np.ndarray) -> reference.Array:
    """HxWx3 bytes -> 3xHxW, 0..1."""
    return picture.transpose(2, 0, 1) / 255.0


def resized(picture: np.ndarray, size: tuple[int, int]) -> reference.Array:
    """HxWx3 bytes -> 3xHxW, 0..1, by Pillow's bicubic filter in floating point."""
    channels = [
        Image.fromarray(channel.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        for channel in planes(picture)
    ]
    return np.clip(np.stack([np.asarray(channel, dtype=np.float64) for channel in channels]), 0, 1)


def published(weights: dict[str, np.ndarray], **constants: Any) -> reference.Published:
    return reference.Published(weights, planes(PHOTO), resized(PAINTING, SIZE), **constants)


def stylizer(file: Path, **options: Any) -> Stylizer:
    given: dict[str, Any] = {"method": "gatys", "weights": file, "size": max(SIZE), "device": "cpu"} | options
    return Stylizer(**given)


def steps(file: Path, count: int, **options: Any) -> list[Step]:
    return list(islice(stylizer(file, iterations=count, **options).run(PHOTO, PAINTING), count))


def array(picture: Tensor) -> reference.Array:
    return picture[0].double().numpy()


# --------------------------------------------------------------------------------------------- the reference is to be trusted


@pytest.mark.parametrize("padding", ["zero", "replicate"])
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_reference_gradient_by_finite_differences(pooling: str, padding: str) -> None:
    narrow = reference.random_vgg("vgg19", "conv5_1", (4, 5, 6, 7, 8), seed=3)
    stream = np.random.default_rng(0)
    photo, painting, picture, way = stream.random((4, 3, 20, 24))
    objective = reference.Published(narrow, photo, painting, pooling=pooling, padding=padding)
    step = 1e-7
    slope = (objective.total(picture + step * way) - objective.total(picture - step * way)) / (2 * step)
    assert slope == pytest.approx(np.sum(objective.gradient(picture) * way), rel=1e-5)


# --------------------------------------------------------------------------------------------- the objective, number for number


@pytest.mark.parametrize(
    ("options", "constants"),
    [
        ({}, {}),
        ({"content_weight": 3.0, "style_weight": 3e4}, {"alpha": 3.0, "beta": 3e4}),
        ({"pooling": "max"}, {"pooling": "max"}),
        ({"padding": "replicate"}, {"padding": "replicate"}),
        (
            {"content_taps": "relu3_2", "style_taps": "relu1_2,relu4_1"},
            {"content_layer": "relu3_2", "style_layers": ("relu1_2", "relu4_1")},
        ),
        (
            {"content_taps": "conv4_2", "style_taps": "conv2_1,pool3"},
            {"content_layer": "conv4_2", "style_layers": ("conv2_1", "pool3")},
        ),
    ],
    ids=["papers", "weights", "max", "replicate", "taps", "other taps"],
)
def test_losses_are_the_papers(
    weights: dict[str, np.ndarray], file: Path, options: dict[str, Any], constants: dict[str, Any]
) -> None:
    (first,) = steps(file, 1, **options)
    start = array(first.image)
    expected = published(weights, **constants).terms(start)
    assert set(first.losses) == {"content", "style"}
    assert first.losses["content"] == pytest.approx(expected["content"], rel=CLOSE)
    assert first.losses["style"] == pytest.approx(expected["style"], rel=CLOSE)
    assert first.total == pytest.approx(sum(expected.values()), rel=CLOSE)


def test_vgg16_too(file: Path) -> None:
    made = reference.random_vgg("vgg16", "conv4_2", (64, 128, 256, 512, 512), seed=8)
    save_file(made, file.with_name("vgg16.safetensors"), {"network": "vgg16", "input": "RGB, 0..255, minus mean, zero padding"})
    taps = TAPS[:4]
    (first,) = steps(file.with_name("vgg16.safetensors"), 1, encoder="vgg16", style_taps=taps)
    expected = published(made, network="vgg16", style_layers=taps).terms(array(first.image))
    assert dict(first.losses) == pytest.approx(expected, rel=CLOSE)


def test_total_variation_is_added(file: Path) -> None:
    (without,) = steps(file, 1)
    (first,) = steps(file, 1, tv_weight=5.0)
    variation = 5 * reference.total_variation(array(first.image))
    assert dict(first.losses) == pytest.approx({**without.losses, "variation": variation}, rel=1e-5)


def test_photograph_scores_no_content_and_painting_no_style(file: Path) -> None:
    (photo,) = steps(file, 1, init="content")
    assert photo.losses["content"] == 0
    assert photo.losses["style"] > 0
    np.testing.assert_allclose(array(photo.image), planes(PHOTO), atol=1e-6)
    same = next(iter(stylizer(file, init="content").run(PHOTO, PHOTO)))
    assert same.total < 1e-6 * photo.total


def test_painting_is_resized_to_the_photograph(weights: dict[str, np.ndarray], file: Path) -> None:
    beside = reference.Published(weights, planes(PHOTO), resized(PAINTING[:40, :30], SIZE))
    (first,) = steps(file, 1)
    assert first.losses["style"] != pytest.approx(beside.terms(array(first.image))["style"], rel=0.01)
    ready = np.round(resized(PAINTING, SIZE) * 255).astype(np.uint8).transpose(1, 2, 0)
    given = next(iter(stylizer(file).run(PHOTO, ready)))
    assert first.losses["style"] == pytest.approx(given.losses["style"], rel=0.01)  # only rounding to bytes differs


def test_photograph_is_resized_to_the_size_asked_for(weights: dict[str, np.ndarray], file: Path) -> None:
    large = crop(SAMPLES.chelsea(), 60, 100, (96, 128), step=1)
    (first,) = stylizer(file, iterations=1).run(large, PAINTING)
    expected = reference.Published(weights, resized(large, SIZE), resized(PAINTING, SIZE)).terms(array(first.image))
    assert first.image.shape == (1, 3, *SIZE)
    assert dict(first.losses) == pytest.approx(expected, rel=CLOSE)


# ------------------------------------------------------------------------------------------------------------- the gradient


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_first_step_goes_down_the_published_gradient(weights: dict[str, np.ndarray], file: Path, pooling: str) -> None:
    """L-BFGS knows no curvature yet: its first step follows the gradient, which we work out layer by layer by hand."""
    first, second = steps(file, 2, pooling=pooling)
    assert second.total < first.total  # else the second picture would not be shown
    gradient = published(weights, pooling=pooling).gradient(array(first.image))
    moved = array(second.image) - array(first.image)
    expected = -gradient * np.linalg.norm(moved) / np.linalg.norm(gradient)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    assert np.abs(moved).max() > 1e-4  # large enough to be told from float32's rounding of the pictures


@pytest.mark.parametrize(("pooling", "padding"), [("average", "zero"), ("max", "replicate")])
def test_gradcheck_of_the_total_loss(pooling: Pooling, padding: Padding) -> None:
    narrow = reference.random_vgg("vgg19", "conv5_1", (3, 4, 4, 5, 6), seed=2)
    tensors = {name: torch.from_numpy(tensor) for name, tensor in narrow.items()}
    encoder = VGG("vgg19", tensors, {*TAPS, "relu4_2"}, pooling=pooling, padding=padding)
    encoder.prepare(torch.device("cpu"), torch.float64)
    photo, painting, picture = torch.from_numpy(np.random.default_rng(0).random((3, 1, 3, 16, 16)))
    seen = encoder(painting)
    content = Term("content", 1.0, ContentLoss.of("relu4_2", encoder(photo)["relu4_2"]))
    style = [
        Term("style", 1e3 / 5, StyleLoss(tap, A=gram(seen[tap]) / (seen[tap].shape[-2] * seen[tap].shape[-1]))) for tap in TAPS
    ]

    def total(image: Tensor) -> Tensor:
        return torch.stack(list(weighted([content, *style], image, encoder(image)).values())).sum()

    # the very function: float64, so nearly to the last digit
    slow = reference.Published(narrow, photo[0].numpy(), painting[0].numpy(), pooling=pooling, padding=padding)
    assert total(picture).item() == pytest.approx(slow.total(picture[0].numpy()), rel=1e-11)
    picture.requires_grad_()
    assert torch.autograd.gradcheck(total, (picture,), eps=1e-7, atol=1e-4, rtol=1e-4)
    (gradient,) = torch.autograd.grad(total(picture), picture)
    np.testing.assert_allclose(gradient[0].numpy(), slow.gradient(picture.detach()[0].numpy()), rtol=1e-8, atol=1e-9)


# --------------------------------------------------------------------------------------------------------------- whole runs


def test_a_run_lowers_the_published_loss(weights: dict[str, np.ndarray], file: Path) -> None:
    run = steps(file, 25)
    slow = published(weights)
    totals = [slow.total(array(step.image)) for step in (run[0], run[12], run[24])]
    assert totals[0] > 2 * totals[1] > 2 * totals[2]
    assert totals[2] == pytest.approx(min(step.total for step in run), rel=CLOSE)
    assert {(step.scale, step.scales, step.steps) for step in run} == {(1, 1, 25)}  # one scale only, as published


def test_same_seed_same_picture_byte_for_byte(file: Path) -> None:
    one, again, other = (steps(file, 4, seed=seed)[-1].image for seed in (5, 5, 6))
    assert one.numpy().tobytes() == again.numpy().tobytes()
    assert not torch.equal(one, other)


def test_a_stylizer_keeps_nothing_of_the_run_before(file: Path) -> None:
    kept = stylizer(file, iterations=3)
    kept.run(PAINTING, PHOTO).finish()
    assert kept.run(PHOTO, PAINTING).finish().tobytes() == stylizer(file, iterations=3).run(PHOTO, PAINTING).finish().tobytes()


def test_a_style_serves_photographs_of_every_size(file: Path) -> None:
    kept = stylizer(file, iterations=1)
    style = kept.style(PAINTING)
    for photo in (PHOTO, np.ascontiguousarray(PHOTO[:, :20]), PHOTO):
        (shared,) = kept.run(photo, style)
        (fresh,) = kept.run(photo, PAINTING)
        assert shared.losses == fresh.losses


def test_start_is_white_noise(file: Path) -> None:
    noise = array(next(iter(stylizer(file, size=96).run(PHOTO, PAINTING))).image)
    assert noise.shape == (3, 72, 96)
    assert abs(noise.mean() - 0.5) < 0.005
    assert noise.std() > 0.05
    centred = noise - noise.mean()
    for other in (centred[:, 1:] * centred[:, :-1], centred[:, :, 1:] * centred[:, :, :-1], centred[1:] * centred[:-1]):
        assert abs(other.mean()) < 0.04 * noise.var()  # white: neighbors are independent
    (of_another,) = islice(stylizer(file, size=96).run(crop(SAMPLES.coffee(), 0, 0, SIZE), PAINTING), 1)
    assert np.array_equal(array(of_another.image), noise)  # and independent of the photograph


def test_start_from_an_image(weights: dict[str, np.ndarray], file: Path) -> None:
    (first,) = stylizer(file, iterations=1).run(PHOTO, PAINTING, start=PAINTING)
    np.testing.assert_allclose(array(first.image), resized(PAINTING, SIZE), atol=1e-5)
    assert dict(first.losses) == pytest.approx(published(weights).terms(array(first.image)), rel=CLOSE)


def test_losses_that_overflow_stop_the_run_and_keep_the_last_good_image(weights: dict[str, np.ndarray]) -> None:
    loud = weights | {"conv1_1.weight": weights["conv1_1.weight"] * np.float32(1e7)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vgg19.safetensors"
        save_file(loud, path, {"network": "vgg19", "input": "RGB, 0..255, minus mean, zero padding"})
        run = stylizer(path, style_weight=1e12, content_weight=0).run(PHOTO, PAINTING)
        with pytest.raises(DivergenceError, match="style_weight"):
            run.finish()
        assert run.image().size == (SIZE[1], SIZE[0])


# ------------------------------------------------------------------------------------------------------------- the defaults


def test_defaults_are_the_papers(file: Path) -> None:
    settled = stylizer(file).options
    assert settled.encoder == "vgg19"
    assert settled.content_taps == ("relu4_2",)
    assert settled.style_taps == TAPS
    assert settled.content_weight / settled.style_weight == pytest.approx(1e-3)
    assert settled.tv_weight == 0
    assert (settled.pooling, settled.padding, settled.init, settled.precision) == ("average", "zero", "noise", "fp32")


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path))


@pytest.mark.usefixtures("bare_machine")
def test_lite_stands_in_for_vgg19_with_a_note() -> None:
    stand_in = Stylizer(method="gatys", size=max(SIZE), iterations=1, device="cpu")
    assert stand_in.options.encoder == stand_in.encoder.name == "lite"
    assert stand_in.options.content_taps == ("relu4_1",)  # lite has no relu4_2
    assert stand_in.options.pooling == "average"
    run = stand_in.run(PHOTO, PAINTING)
    assert any("lite" in note and "impasto weights fetch vgg19" in note for note in stand_in.notes)
    assert run.finish().size == (SIZE[1], SIZE[0])


@pytest.mark.usefixtures("bare_machine")
def test_nothing_stands_in_for_what_was_asked_for_by_name() -> None:
    with pytest.raises(MissingWeightsError, match="vgg19"):
        Stylizer(method="gatys", encoder="vgg19")
    with pytest.raises(UnknownNameError, match="relu4_2"):
        Stylizer(method="gatys", encoder="lite", content_taps="relu4_2")


@pytest.mark.usefixtures("bare_machine")
def test_vgg19_in_the_cache_is_taken_without_asking(file: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vgg19.safetensors").symlink_to(file)
    taken = Stylizer(method="gatys", size=max(SIZE), device="cpu")
    assert taken.options.encoder == taken.encoder.name == "vgg19"
    assert not taken.notes


def test_lite_gatys_is_the_published_objective_too(file: Path) -> None:
    """But for a little total variation, which is there to smooth what lite does not see."""
    shipped = Stylizer(
        method="gatys", encoder="lite", size=max(SIZE), iterations=1, device="cpu", style_weight=1e3, tv_weight=0
    )
    (first,) = shipped.run(PHOTO, PAINTING)
    tensors = {name: tensor.detach().numpy() for name, tensor in lite_weights().items()}
    seen, photo, painting = (
        reference.lite(tensors, picture, "average", "replicate")
        for picture in (array(first.image), planes(PHOTO), resized(PAINTING, SIZE))
    )
    content = reference.content_loss(seen["relu4_1"], photo["relu4_1"])
    style = reference.style_loss([reference.style_layer_loss(seen[tap], reference.fast_gram(painting[tap])) for tap in TAPS])
    assert dict(first.losses) == pytest.approx({"content": content, "style": 1e3 * style}, rel=CLOSE)


def lite_weights() -> dict[str, Tensor]:
    from safetensors.torch import load_file

    import impasto

    return load_file(Path(impasto.__file__).parent / "assets" / "lite.safetensors")


def test_options_of_the_other_method_do_not_leak() -> None:
    assert Options(method="gatys").iterations == Options().changed(method="gatys").iterations
    assert Options(method="gatys").changed(method="impasto").content_taps == Options().content_taps
