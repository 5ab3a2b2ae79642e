"""VGG-16 and VGG-19 against the slow reference, with narrow random weights: the code does not depend on the width of a VGG."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from torch import Tensor

from impasto.encoders import VGG, Padding, Pooling
from impasto.errors import PictureError, UnknownNameError, WeightsFileError
from impasto.ladder import Size

NETWORKS = ("vgg16", "vgg19")
NARROW = (4, 5, 6, 7, 8)
SIZE = (35, 33)  # odd, so that poolings drop a row or a column; pool5 needs at least 32
CPU = torch.device("cpu")
BF16_BOUND = 0.02  # root mean square error of a tap over its root mean square; one bfloat16 product is off by up to 0.004


def picture(size: Size = SIZE, seed: int = 0) -> reference.Array:
    return np.random.default_rng(seed).random((3, *size))


def weights(network: str, deepest: str = "") -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays(network, deepest).items()}


def arrays(network: str, deepest: str = "") -> reference.Weights:
    return reference.random_vgg(network, deepest, NARROW, seed=3)  # with this seed no layer is all zeros


def batch(*pictures: reference.Array, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).to(dtype)


def worst(found: Tensor, expected: np.ndarray) -> float:
    """The largest error over the largest value."""
    return float(np.abs(found.double().numpy() - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("padding", ["zero", "replicate"])
@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_tap_is_the_reference(network: str, pooling: Pooling, padding: Padding) -> None:
    expected = reference.vgg(network, arrays(network), picture(), "pool5", pooling, padding)
    assert len(expected) == {"vgg16": 13, "vgg19": 16}[network] * 2 + 5
    encoder = VGG(network, weights(network), expected, pooling=pooling, padding=padding)
    single = encoder(batch(picture()))
    double = encoder.prepare(CPU, torch.float64)(batch(picture(), dtype=torch.float64))
    assert set(single) == set(double) == set(expected) == set(encoder.known)
    for tap, features in expected.items():
        assert (features > 0).mean() > 0.25, f"{tap} is nearly always zero: nothing would be tested"
        assert single[tap].shape == (1, *features.shape)
        assert worst(double[tap][0], features) < 1e-12, tap
        assert worst(single[tap][0], features) < 5e-6, tap


def test_the_options_make_a_difference() -> None:
    seen = [
        VGG("vgg19", weights("vgg19"), ["relu3_1"], pooling=pooling, padding=padding)(batch(picture()))["relu3_1"]
        for pooling in ("average", "max")
        for padding in ("zero", "replicate")
    ]
    for i, one in enumerate(seen):
        for other in seen[:i]:
            assert (one - other).abs().max() > 0.01 * one.abs().max()


def test_the_defaults_are_the_papers_pooling_and_padding() -> None:
    expected = reference.vgg("vgg19", arrays("vgg19"), picture(), "relu5_1", "average", "zero")["relu5_1"]
    assert worst(VGG("vgg19", weights("vgg19"), ["relu5_1"])(batch(picture()))["relu5_1"][0], expected) < 5e-6


def test_taps_are_in_order_and_named_as_published() -> None:
    for network in NETWORKS:
        assert VGG(network, weights(network), ["conv1_1"]).known == reference.layers(network)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_batch_equals_its_images_one_by_one(network: str) -> None:
    taps = ["relu1_2", "conv3_1", "relu5_3", "pool2"]
    encoder = VGG(network, weights(network), taps).prepare(CPU, torch.float64)
    pictures = [picture(seed=seed) for seed in range(3)]
    together = encoder(batch(*pictures, dtype=torch.float64))
    for i, one in enumerate(pictures):
        for tap, features in encoder(batch(one, dtype=torch.float64)).items():
            torch.testing.assert_close(together[tap][i : i + 1], features, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (40, 16), (23, 20)])
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_sizes(size: Size, pooling: Pooling) -> None:
    expected = reference.vgg("vgg19", arrays("vgg19"), picture(size), "relu5_1", pooling, "replicate")["relu5_1"]
    encoder = VGG("vgg19", weights("vgg19"), ["relu5_1"], pooling=pooling, padding="replicate")
    found = encoder(batch(picture(size)))["relu5_1"][0]
    assert found.shape == expected.shape == (8, size[0] // 16, size[1] // 16)
    assert worst(found, expected) < 5e-6


def test_the_memory_format_of_the_image_changes_nothing() -> None:
    encoder = VGG("vgg19", weights("vgg19"), ["relu4_2"])
    plain = batch(picture(), picture(seed=1))
    last = plain.contiguous(memory_format=torch.channels_last)
    strided = torch.stack([plain, -plain], dim=-1)[..., 0]  # neither layout
    seen = encoder(plain)["relu4_2"]
    assert torch.equal(encoder(last)["relu4_2"], seen)
    assert torch.equal(encoder(strided)["relu4_2"], seen)


def test_prepare_does_not_change_the_features() -> None:
    taps = ["relu1_1", "relu3_1", "relu5_1"]
    before = VGG("vgg19", weights("vgg19"), taps)(batch(picture()))
    after = VGG("vgg19", weights("vgg19"), taps).prepare(CPU, torch.float32)(batch(picture()))
    for tap in taps:
        assert worst(after[tap], before[tap].double().numpy()) < 5e-6


def test_image_and_weights_are_not_changed() -> None:
    given, image = weights("vgg16"), batch(picture())
    kept, seen = {name: tensor.clone() for name, tensor in given.items()}, image.clone()
    encoder = VGG("vgg16", given, ["conv1_1", "relu5_1"]).prepare(CPU, torch.bfloat16)
    encoder(image)
    assert torch.equal(image, seen)
    assert all(torch.equal(given[name], tensor) and given[name].dtype == torch.float32 for name, tensor in kept.items())


def test_a_tap_before_the_relu_still_has_its_negative_values() -> None:
    seen = VGG("vgg19", weights("vgg19"), ["conv2_1", "relu2_1"])(batch(picture()))
    assert seen["conv2_1"].min() < 0
    assert torch.equal(seen["conv2_1"].clamp_min(0), seen["relu2_1"])


def test_only_the_image_has_a_gradient() -> None:
    encoder = VGG("vgg19", weights("vgg19"), ["relu5_1"])
    image = batch(picture()).requires_grad_()
    encoder(image)["relu5_1"].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


# --------------------------------------------------------------------------------------------------------------------- depth


@pytest.mark.parametrize(
    ("network", "taps", "convolutions", "last"),
    [
        ("vgg19", ["relu1_1"], 1, "conv1_1"),
        ("vgg19", ["relu2_1", "conv1_2"], 3, "conv2_1"),
        ("vgg19", ["pool3"], 8, "conv3_4"),
        ("vgg19", ["relu5_1"], 13, "conv5_1"),
        ("vgg19", ["relu5_4"], 16, "conv5_4"),
    ],
)
def test_built_as_deep_as_the_deepest_tap(network: str, taps: list[str], convolutions: int, last: str) -> None:
    whole = VGG(network, weights(network), taps)
    assert sum(parameter.dim() == 4 for parameter in whole.parameters()) == convolutions
    ended = VGG(network, weights(network, last), taps)
    for tap, features in ended(batch(picture())).items():
        assert torch.equal(features, whole(batch(picture()))[tap])
    assert set(ended(batch(picture()))) == set(taps)


def test_no_layer_beyond_the_deepest_tap_is_computed() -> None:
    expected = reference.vgg("vgg19", arrays("vgg19"), picture((2, 3)), "relu2_1")
    found = VGG("vgg19", weights("vgg19"), ["relu2_1"])(batch(picture((2, 3))))  # too small for any deeper block
    assert worst(found["relu2_1"][0], expected["relu2_1"]) < 5e-6


# -------------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("network", "tap", "meant"),
    [
        ("vgg19", "relu_4_1", "relu4_1"),
        ("vgg16", "relu5_4", "relu5_"),
    ],
)
def test_unknown_tap(network: str, tap: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"{network}.*{tap!r}.*did you mean '{meant}"):
        VGG(network, weights(network), ["relu1_1", tap])


@pytest.mark.parametrize(
    ("taps", "size", "least"),
    [
        (["relu5_1"], (15, 40), 16),
        (["conv4_2", "relu1_1"], (7, 9), 8),
        (["pool1"], (1, 9), 2),
        (["pool5"], (31, 31), 32),
    ],
)
def test_image_too_small(taps: list[str], size: Size, least: int) -> None:
    encoder = VGG("vgg19", weights("vgg19"), taps)
    with pytest.raises(PictureError, match=f"{size[1]}x{size[0]}.*vgg19.*{least}x{least}"):
        encoder(batch(picture(size)))
    enough = encoder(batch(picture((least, least))))
    assert all(min(features.shape) > 0 for features in enough.values())


@pytest.mark.parametrize("lost", ["conv4_1.weight", "conv4_1.bias"])
def test_weights_that_end_too_early(lost: str) -> None:
    ended = {name: tensor for name, tensor in weights("vgg19", "conv4_1").items() if name != lost}
    with pytest.raises(WeightsFileError, match=r"vgg19.*conv4_1"):
        VGG("vgg19", ended, ["relu4_1"])


# ------------------------------------------------------------------------------------------------------------ half precision


@pytest.mark.parametrize("padding", ["zero", "replicate"])
@pytest.mark.parametrize("network", NETWORKS)
def test_bfloat16_stays_close(network: str, padding: Padding) -> None:
    expected = reference.vgg(network, arrays(network), picture(), "pool5", "average", padding)
    encoder = VGG(network, weights(network), expected, padding=padding).prepare(CPU, torch.bfloat16)
    for tap, features in encoder(batch(picture())).items():
        assert features.dtype == torch.bfloat16
        error = features[0].double().numpy() - expected[tap]
        assert np.sqrt(np.mean(error**2) / np.mean(expected[tap] ** 2)) < BF16_BOUND, tap
    image = batch(picture()).requires_grad_()
    (gradient,) = torch.autograd.grad(encoder(image)["relu5_1"].float().sum(), image)
    assert gradient.dtype == torch.float32
    assert gradient.isfinite().all()
