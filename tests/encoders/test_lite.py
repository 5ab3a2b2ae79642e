"""`lite` with its shipped weights, against the slow reference and its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import skimage.data
import torch
from safetensors.numpy import load_file
from torch import Tensor

import impasto
from impasto import encoders
from impasto import weights as weights_
from impasto.errors import PictureError, UnknownNameError

SAMPLES: Any = skimage.data  # has no types
CPU = torch.device("cpu")
FILE = Path(impasto.__file__).parent / "assets" / "lite.safetensors"
HEADS = {"relu1_1": 64, "relu2_1": 128, "relu3_1": 256, "relu4_1": 512, "relu5_1": 512}  # VGG-19's own channels
# Root mean square error of a tap over its root mean square: bfloat16 has 8 bits, up to 15 layers. Measured: up to 0.026 (relu3_1).
BF16_BOUND = 0.04


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return load_file(FILE)


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    """A photograph, 3x300x451, 0..1."""
    return np.ascontiguousarray(SAMPLES.chelsea().transpose(2, 0, 1)) / 255


@pytest.fixture(scope="module")
def face(cat: np.ndarray) -> np.ndarray:
    """37x44 pixels of the cat: poolings drop a row in some blocks."""
    return cat[:, 90:127, 130:174]


def build(taps: list[str], pooling: encoders.Pooling = "max", padding: encoders.Padding = "replicate") -> encoders.Encoder:
    """Build the encoder as `impasto.Stylizer` does."""
    return encoders.build(weights_.load("lite"), taps, pooling=pooling, padding=padding)


def batch(*pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).float()


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


@pytest.mark.parametrize("padding", ["zero", "replicate"])
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_every_tap_is_the_reference(
    weights: dict[str, np.ndarray], face: np.ndarray, pooling: encoders.Pooling, padding: encoders.Padding
) -> None:
    expected = reference.lite(weights, face, pooling, padding)
    assert len(expected) == 14 + 4 + 5 + 5
    encoder = build(list(expected), pooling, padding)
    single = encoder(batch(face))
    double = encoder.prepare(CPU, torch.float64)(torch.from_numpy(face)[None])
    assert set(single) == set(double) == set(expected) == set(encoder.known)
    for tap, features in expected.items():
        assert single[tap].shape == (1, *features.shape)
        np.testing.assert_allclose(double[tap][0].numpy(), features, rtol=0, atol=1e-12 * np.abs(features).max(), err_msg=tap)
        slack = (1e-5 if tap.startswith("trunk") else 5e-6) * np.abs(features).max()  # conv3_2 sums nearly constant maps
        np.testing.assert_allclose(single[tap][0].numpy(), features, rtol=0, atol=slack, err_msg=tap)


def test_the_defaults_are_max_pooling_and_replicate_padding(weights: dict[str, np.ndarray], face: np.ndarray) -> None:
    found = encoders.Lite({name: torch.from_numpy(array) for name, array in weights.items()}, ["relu3_1"])(batch(face))[
        "relu3_1"
    ]
    expected = reference.lite(weights, face, "max", "replicate")["relu3_1"]
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=0, atol=5e-6 * expected.max())


def test_heads_have_the_channels_of_vgg19(face: np.ndarray) -> None:
    features = build(list(HEADS))(batch(face))
    assert {tap: features[tap].shape[1] for tap in HEADS} == HEADS
    for block, tap in enumerate(HEADS):
        assert features[tap].shape[2:] == (37 >> block, 44 >> block)


def test_mean_activation_is_about_1_on_a_photograph(cat: np.ndarray) -> None:
    for tap, features in build(list(HEADS))(batch(cat[:, 60:252, 100:356])).items():
        assert features.min() >= 0
        assert 0.3 < features.mean() < 3, tap
        assert features.std() > 0.3, tap


def test_a_batch_equals_its_images_one_by_one(face: np.ndarray) -> None:
    taps = ["relu1_1", "trunk3_3", "conv4_1", "relu5_1"]
    encoder = build(taps)
    together = encoder(batch(face, face[:, ::-1].copy()))
    for i, one in enumerate((face, face[:, ::-1].copy())):
        for tap, features in encoder(batch(one)).items():
            torch.testing.assert_close(together[tap][i : i + 1], features, rtol=1e-4, atol=1e-4)


def test_the_memory_format_of_the_image_changes_nothing(face: np.ndarray) -> None:
    encoder = build(["relu4_1"])
    plain = batch(face)
    last = plain.contiguous(memory_format=torch.channels_last)
    assert torch.equal(encoder(last)["relu4_1"], encoder(plain)["relu4_1"])


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_bfloat16_stays_close(weights: dict[str, np.ndarray], face: np.ndarray, pooling: encoders.Pooling) -> None:
    expected = reference.lite(weights, face, pooling, "replicate")
    encoder = build(list(expected), pooling).prepare(CPU, torch.bfloat16)
    for tap, features in encoder(batch(face)).items():
        assert features.dtype == torch.bfloat16
        assert rms(features[0].double().numpy() - expected[tap]) < BF16_BOUND * rms(expected[tap]), tap


def test_only_the_image_has_a_gradient(face: np.ndarray) -> None:
    encoder, image = build(["relu5_1"]), batch(face).requires_grad_()
    (gradient,) = torch.autograd.grad(encoder(image)["relu5_1"].sum(), image)
    assert gradient.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_no_layer_beyond_the_deepest_tap_is_computed(weights: dict[str, np.ndarray], face: np.ndarray) -> None:
    tiny = face[:, :2, :3]  # too small for any deeper block
    expected = reference.lite(weights, face[:, :16, :16])
    assert build(["relu2_1"])(batch(tiny))["relu2_1"].shape == (1, 128, 1, 1)
    found = build(["conv2_1"])(batch(face[:, :16, :16]))
    assert set(found) == {"conv2_1"}
    np.testing.assert_allclose(found["conv2_1"][0].numpy(), expected["conv2_1"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("tap", "meant"), [("relu41", "relu4_1"), ("trunk_4_2", "trunk4_2")])
def test_unknown_tap(tap: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"lite.*{tap!r}.*did you mean {meant!r}"):
        build(["relu1_1", tap])


@pytest.mark.parametrize("tap", ["relu4_2", "conv3_3", "pool1"])
def test_vgg19_taps_that_lite_does_not_have(tap: str) -> None:
    with pytest.raises(UnknownNameError, match=f"lite.*{tap!r}"):
        build([tap])


def test_image_too_small(face: np.ndarray) -> None:
    with pytest.raises(PictureError, match=r"20x15.*lite.*16x16"):
        build(["relu5_1"])(batch(face[:, :15, :20]))
