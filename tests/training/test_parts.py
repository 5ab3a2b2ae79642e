"""The parts of training, each compared with something independent."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import pytest
import reference
import scipy.linalg
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from training_world import World, jpeg, random_weights

from impasto import encoders
from impasto import weights as weights_
from impasto.weights.networks import LITE_NAME, convolution_shapes
from training import checkpoint, evaluation, probe, teachers
from training.config import CHANNELS, PRESETS, TAPS, Config
from training.data import Compressed, Decoded, Picture, Pictures, batches, gather, plan, readable
from training.distillation import feature_error, gradient_error, tap_loss
from training.initialize import (
    IDLE,
    _inputs_and_outputs,
    _replace_channels,
    equalize,
    importance,
    initialize,
    most_informative,
    normalize,
    reset_idle,
    sort_channels,
)
from training.loop import learning_rate, rate_scale
from training.pool import Pool
from training.student import Shape, Student, quantized, subsampled, vgg19_cost

LITE = Path(weights_.path("lite"))
CPU = torch.device("cpu")


def picture(seed: int = 0, size: tuple[int, int] = (48, 32)) -> Tensor:
    """1x3xHxW, 0..1."""
    return evaluation.prepared(Picture("x", jpeg(seed, size)))


# ----------------------------------------------------------------------------------------------------------- the student


def test_lite_matches_impastos_encoder() -> None:
    student, image = checkpoint.read_student(LITE), picture()
    assert student.shape == Shape.of(Config.create())
    encoder = encoders.build(weights_.load("lite"), TAPS, pooling="max", padding="replicate")
    seen = encoder.prepare(CPU, torch.float64).double()(image.double())
    for tap, mine in zip(TAPS, student.double()(image.double()), strict=True):
        torch.testing.assert_close(mine, seen[tap])


@pytest.mark.parametrize("preset", PRESETS)
def test_an_exported_network_matches_impastos_encoder(preset: str, tmp_path: Path) -> None:
    config, image = Config.create(preset=preset), picture()
    student = Student(Shape.of(config), seed=3)
    groups = dict.fromkeys(checkpoint.WEIGHTS, student.state_dict())
    exported = checkpoint.export(checkpoint.Checkpoint(config, 1, 1, "", "", groups), LITE_NAME)
    (tmp_path / "x.safetensors").write_bytes(exported)
    encoder = encoders.build(weights_.load(tmp_path / "x.safetensors"), TAPS, pooling="max", padding="replicate")
    seen = encoder(image)
    for tap, mine in zip(TAPS, checkpoint.read_student(tmp_path / "x.safetensors")(image), strict=True):
        torch.testing.assert_close(mine, seen[tap])


def test_costs_match_the_model_card() -> None:
    trunk, heads = Shape.of(Config.create()).cost()
    assert trunk + heads <= vgg19_cost() / 6
    assert round(trunk, -2) == 50.9e3
    assert heads == 9 * 3 * 64 + 128 * 128 / 4 + 112 * 256 / 16 + 128 * 512 / 64 + 128 * 512 / 256
    by_hand = 1728 + 36864 + (73728 + 147456) / 4 + (294912 + 3 * 589824) / 16 + (1179648 + 3 * 2359296) / 64 + 2359296 / 256
    assert vgg19_cost() == by_hand


def test_copying_to_denser_heads_keeps_the_taps() -> None:
    widths, image = ((3, 4), (5, 5), (6, 6), (7, 7), (8,)), picture()
    narrow = Student(Shape(widths, (1,) * 5, dense_heads=False), seed=1)
    wider = Student(Shape((*widths[:4], (8, 9)), (1, 2, 2, 2, 2)), seed=2)
    assert wider.copy_from(narrow) == (["conv5_2"], [])
    for mine, theirs in zip(wider(image), narrow(image), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_copying_to_a_wider_network_keeps_the_taps() -> None:
    image = picture()
    narrow = Student(Shape(((3, 4), (5, 5), (6, 6, 6), (7, 7), (8, 8)), (1, 2, 2, 2, 2)), seed=1)
    wider = Student(Shape(((4, 4), (5, 9), (8, 7, 6), (7, 7), (8, 9)), (1, 2, 3, 2, 2)), seed=2)
    assert wider.copy_from(narrow) == ([], [])
    for mine, theirs in zip(wider(image), narrow(image), strict=True):
        torch.testing.assert_close(mine, theirs)
    with torch.no_grad():
        revived = sum(reset_idle(wider, image, narrow(image)).values())
    assert revived >= 1 + 4 + 2 + 1 + 1  # additional channels, and channels with little effect before
    for mine, theirs in zip(wider(image), narrow(image), strict=True):
        assert feature_error(mine, theirs) < 1e-3


def test_a_narrower_network_copies_the_first_channels() -> None:
    wide, narrow = (
        Student(Shape(((5, 6), (5, 5), (6, 6), (7, 7), (8, 8)), (2,) * 5)),
        Student(Shape(((4, 3), (5, 5), (6, 6), (7, 7), (8, 8)), (2,) * 5), seed=4),
    )
    assert narrow.copy_from(wide) == ([], [])
    theirs, mine = (student.get_submodule("head1_1").get_parameter("weight") for student in (wide, narrow))
    assert torch.equal(mine, theirs[:, [0, 1, 2, 3, 5, 6, 7]])


def test_without_a_layer_the_next_is_fitted_to_its_previous_responses() -> None:
    """The removed layer is the identity, so nothing needs to be lost."""
    image = torch.cat([picture(seed, (96, 96)) for seed in range(8)])
    deep = Student(Shape(((3, 4), (5, 5), (6, 6, 6), (7, 7), (8, 8)), (1, 2, 2, 2, 2)), seed=1)
    skipped = deep.get_submodule("conv3_3")
    skipped.get_parameter("weight").data.zero_()[torch.arange(6), torch.arange(6), 1, 1] = 1
    short = Student(Shape(((3, 4), (5, 5), (6, 6), (7, 7), (8, 8)), (1, 2, 2, 2, 2)), seed=2)
    assert short.copy_from(deep) == ([], ["conv4_1"])
    short.get_submodule("conv4_1").get_parameter("weight").data.normal_()
    assert feature_error(short(image)[4], deep(image)[4]) > 0.5
    initialize(short, deep, image, [], {}, ["conv4_1"])
    for mine, theirs in zip(short(image), deep(image), strict=True):
        assert feature_error(mine, theirs) < 0.01


@torch.no_grad()
def test_new_convolutions_are_fitted_to_the_teachers() -> None:
    """The responses are functions of the student's features that it can represent, so nothing needs to be lost."""
    image = torch.cat([picture(seed, (96, 96)) for seed in range(8)])
    older = Student(Shape(((3, 4), (5, 5), (6, 6), (7, 7), (8, 8)), (0, 2, 2, 2, 2)), seed=1)
    student = Student(Shape(((3, 4), (5, 5, 9), (6, 6), (7, 7), (8, 8)), (0, 2, 1, 2, 2)), seed=2)
    new, moved = student.copy_from(older)
    assert (new, moved) == (["conv2_3"], ["conv3_1"])
    generator = torch.Generator().manual_seed(3)
    behind = filters(torch.randn(9, 5 * 9, generator=generator), _inputs_and_outputs(student, "conv2_3", image)[0])
    pooled = nn.functional.max_pool2d(behind.relu(), 2)
    mixed = torch.randn(256, 5, generator=generator) @ torch.randn(5, 9 * 9, generator=generator)
    tap = filters(mixed, nn.functional.pad(pooled, (1, 1, 1, 1), mode="replicate"))
    seen = older(image)
    wanted = teachers.Response(tap, torch.ones(256))
    responses = {"conv2_2": teachers.Response(behind, torch.ones(9)), "conv3_1": wanted, "head3_1": wanted}
    initialize(student, older, image, seen, responses, [*new, *moved])
    found = _inputs_and_outputs(student, "conv2_3", image)[1]
    assert feature_error(found.sort(1)[0], behind.sort(1)[0]) < 1e-4  # in any order
    assert feature_error(student(image)[2], tap.relu()) < 0.01
    told = _inputs_and_outputs(older, "conv3_2", image)[1]  # readers of a reset convolution respond almost as before
    assert feature_error(_inputs_and_outputs(student, "conv3_2", image)[1], told) < 0.5


@torch.no_grad()
def test_a_narrow_convolution_is_fitted_to_the_most_informative_filters() -> None:
    image = torch.cat([picture(seed, (96, 96)) for seed in range(8)])
    older = Student(Shape(((3, 4), (5, 5), (6, 6), (7, 7), (8, 8)), (0, 2, 2, 2, 2)), seed=1)
    student = Student(Shape(((3, 4), (5, 5, 3), (6, 6), (7, 7), (8, 8)), (0, 2, 2, 2, 2)), seed=2)
    assert student.copy_from(older) == (["conv2_3"], ["conv3_1"])
    x = _inputs_and_outputs(student, "conv2_3", image)[0]
    weight = torch.randn(3, 5 * 9, generator=torch.Generator().manual_seed(3))
    behind = filters(torch.cat((weight[:2] / 100, weight)), x)  # two are weaker copies of two others
    responses = {"conv2_2": teachers.Response(behind, torch.ones(5))}
    initialize(student, older, image, older(image), responses, ["conv2_3", "conv3_1"])
    found = _inputs_and_outputs(student, "conv2_3", image)[1]
    assert feature_error(found.sort(1)[0], behind[:, 2:].sort(1)[0]) < 1e-4
    assert feature_error(_inputs_and_outputs(student, "conv3_1", image)[1], _inputs_and_outputs(older, "conv3_1", image)[1]) < 1


@torch.no_grad()
def test_a_wide_enough_network_is_initialized_to_the_distilled_teacher(world: World) -> None:
    """Its conv3_4 is hooked to respond like the distilled network's, so the deep taps need not lose anything."""
    image = torch.cat([picture(seed, (96, 96)) for seed in range(4)])
    teacher, widths = teachers.read_pair(world.teachers), teachers.DISTILLED_WIDTHS
    rows = ((3, 4), (5, 5), (widths[2],) * 4, (widths[3],) * 4, (widths[4],))
    student = Student(Shape(rows, (0, 2, 1, 1, 1)), seed=2)
    older = Student(Shape(((3, 4), (5, 5), (6,), (7,), (8,)), (0, 2, 1, 1, 1)), seed=1)
    responses = teacher.responses(image)
    assert {*responses} >= {"conv1_1", "conv3_1", "head3_1", "conv3_2", "conv4_4", "head4_1", "conv5_1", "head5_1"}
    conv3_4 = student.get_submodule("conv3_4")
    conv3_4.register_forward_hook(lambda layer, x, y: responses["conv3_4"].values)
    initialize(student, older, image, teacher(image), responses, ["conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1"])
    for mine, theirs in zip(student(image)[3:], teacher(image)[3:], strict=True):
        assert feature_error(mine, theirs) < 0.02


@torch.no_grad()
def test_without_a_start_a_network_is_initialized_to_its_teacher(world: World) -> None:
    """It is wide enough for all of VGG-19's filters up to relu2_1, and for the main components of relu3_1."""
    image = torch.cat([picture(seed, (64, 64)) for seed in range(4)])
    teacher = teachers.read_pair(world.teachers)
    student = Student(Shape(((64, 64), (128, 40), (30,), (7,), (8,)), (0, 1, 1, 1, 1)), seed=1)
    student.set_first_filters(*teacher.first())
    initialize(student, None, image, teacher(image), teacher.responses(image), student.learned())
    after = [feature_error(mine, theirs) for mine, theirs in zip(student(image), teacher(image), strict=True)]
    assert max(after[:2]) < 0.01
    assert max(after[2:]) < 0.1


def filters(weight: Tensor, x: Tensor) -> Tensor:
    """Apply 3x3 filters, one per row, to padded features."""
    return nn.functional.conv2d(x, weight.reshape(len(weight), -1, 3, 3))


def test_most_informative_matches_pivoted_qr() -> None:
    rows = np.random.default_rng(1).normal(size=(200, 12)) @ np.random.default_rng(2).normal(size=(12, 12))
    centred = rows - rows.mean(0)
    _, _, order = scipy.linalg.qr(centred, pivoting=True)
    assert most_informative(torch.cov(torch.from_numpy(rows).T), 12) == order.tolist()
    assert most_informative(torch.cov(torch.from_numpy(rows).T), 5) == order.tolist()[:5]
    assert len(most_informative(torch.eye(3), 5)) == 3


@torch.no_grad()
def test_inactive_channels_are_fitted_to_the_error_of_heads() -> None:
    shape = Shape(((4, 5), (6, 6), (7, 7, 7), (8, 8), (9, 9)), (0, 2, 3, 2, 2))
    student, image = Student(shape, seed=3), torch.cat([picture(seed, (96, 96)) for seed in range(4)])
    teacher = Student(shape, seed=4)(image)
    outputs: dict[str, Tensor] = {}
    for name in student.shape.convolutions():
        student.get_submodule(name).register_forward_hook(lambda layer, x, y, name=name: outputs.update({name: y}))
    for name, channels in {"conv1_2": [0, 3], "conv3_3": [0, 1, 2], "conv5_2": list(range(9))}.items():
        student.get_submodule(name).get_parameter("bias").data[channels] = -1e3
    before = [feature_error(mine, theirs) for mine, theirs in zip(student(image), teacher, strict=True)]
    silent = {name: y.amax((0, 2, 3)) <= 0 for name, y in outputs.items()}
    revived = reset_idle(student, image, teacher)
    assert sum(revived.values()) >= 14
    assert all(revived.get(name, 0) >= int(found.sum()) for name, found in silent.items())
    after = [feature_error(mine, theirs) for mine, theirs in zip(student(image), teacher, strict=True)]
    for name, found in silent.items():
        deviations = outputs[name].std((0, 2, 3))[found]
        torch.testing.assert_close(deviations, torch.ones_like(deviations), rtol=0.05, atol=0)
        assert (outputs[name].amax((0, 2, 3)) > 0).all()
    assert after[2] < 0.9 * before[2]
    assert after[4] < 0.9 * before[4]


@torch.no_grad()
def test_a_channel_with_little_effect_is_reset() -> None:
    student, image = (
        Student(Shape(((4, 5), (6, 6), (7, 7, 7), (8, 8), (9, 9)), (0, 2, 3, 2, 2)), seed=3),
        picture(size=(96, 96)),
    )
    name, faint = "conv3_2", 1e-3
    student.get_submodule("conv3_3").get_parameter("weight")[:, 0] *= faint
    student.get_submodule("head3_1").get_parameter("weight")[:, 7] *= faint
    assert 0 < importance(student, name, _inputs_and_outputs(student, name, image)[1])[0] < IDLE
    before = student.get_submodule(name).get_parameter("weight")[0].clone()
    assert reset_idle(student, image, Student(student.shape, seed=4)(image))[name] >= 1
    assert not torch.equal(before, student.get_submodule(name).get_parameter("weight")[0])


@torch.no_grad()
def test_readers_of_a_reset_channel_keep_their_responses() -> None:
    """The new channel equals the old one, so its readers can keep their responses."""
    student, image = (
        Student(Shape(((4, 5), (6, 6), (7, 7, 7), (8, 8), (9, 9)), (0, 2, 3, 2, 2)), seed=3),
        picture(size=(96, 96)),
    )
    name, reader = "conv3_1", "conv3_2"  # at 24x24 positions
    loudest = importance(student, name, _inputs_and_outputs(student, name, image)[1]).argmax()[None]
    x, before = _inputs_and_outputs(student, name, image)[0], _inputs_and_outputs(student, reader, image)[1]
    fresh = nn.Conv2d(x.shape[1], 1, 3)
    fresh.load_state_dict({part: tensor[loudest] for part, tensor in student.get_submodule(name).state_dict().items()})
    silenced = copy.deepcopy(student)
    silenced.get_submodule(reader).get_parameter("weight")[:, loudest] = 0
    _replace_channels(student, name, loudest, fresh, x, image, student(image))
    lost, left = (feature_error(_inputs_and_outputs(network, reader, image)[1], before) for network in (silenced, student))
    assert lost > 0.1
    assert left < 0.3 * lost


def test_more_idle_channels_than_the_rank_of_the_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.initialize.IDLE", 1e9)  # all of them
    shape = Shape(((70, 3), (5, 5), (6, 6, 6), (7, 7), (8, 8)), (1, 2, 3, 2, 2))
    student, image = Student(shape, seed=3), picture()
    with torch.no_grad():
        assert reset_idle(student, image, Student(shape, seed=4)(image))["conv1_1"] == 70
        assert all(F.isfinite().all() for F in student(image))
    assert float(student.get_submodule("conv1_1").get_parameter("weight").detach().abs().max()) < 1e3


@torch.no_grad()
def test_sorting_channels_keeps_the_taps() -> None:
    student, image = Student(Shape(((4, 5), (6, 6), (7, 7, 7), (8, 8), (9, 9)), (0, 2, 3, 2, 2)), seed=3), picture()
    before = student(image)
    sort_channels(student, image)
    for mine, theirs in zip(student(image), before, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    for name in student.shape.convolutions():
        shares = importance(student, name, _inputs_and_outputs(student, name, image)[1])
        assert torch.equal(shares, shares.sort(descending=True)[0])


def test_a_frozen_relu1_1_is_the_teachers_whatever_it_starts_from(world: World) -> None:
    image, teacher = picture(), teachers.read_pair(world.teachers)
    rows = ((3, 4), (5, 5), (6, 6, 6), (7, 7), (8, 8))
    student = Student(Shape(rows, (0, 2, 3, 2, 2)), seed=1)
    older = Student(Shape(rows, (1, 2, 3, 2, 2)), seed=2)
    assert student.copy_from(older) == ([], [])
    student.set_first_filters(*teacher.first())
    seen = [teacher(image)[0], *older(image)[1:]]
    for mine, expected in zip(student(image), seen, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)
    assert {name for name, parameter in student.named_parameters() if not parameter.requires_grad} == {
        "head1_1.weight",
        "head1_1.bias",
    }


@torch.no_grad()
def test_equalized_features_have_rms_1_and_the_taps_stay() -> None:
    student, image = Student(Shape(((4, 5), (6, 6), (7, 7, 7), (8, 8), (9, 9)), (0, 2, 3, 2, 2)), seed=3), picture()
    reset_idle(student, image, Student(student.shape, seed=4)(image))
    before = student(image)
    equalize(student, image)
    for mine, theirs in zip(student(image), before, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    for features in student.trunk(image)[1:]:  # the first is the padded picture
        for F in features:
            assert float(F.detach().square().mean((0, 2, 3)).sqrt().max()) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("first", [0, 2])
def test_the_architecture_survives_a_round_trip(first: int) -> None:
    shape = Shape(((3, 4), (5,), (6, 6), (7,), (8,)), (first, 1, 1, 1, 1), dense_heads=True, residual=True)
    assert Shape.read({"architecture": shape.written()}, {}) == shape
    assert shape.layers()["head1_1"] == ((7, 64, 1) if first else (3, 64, 3))
    assert {name: tuple(tensor.shape) for name, tensor in Student(shape).state_dict().items()} == shape.tensors()


def test_residual_and_dense_heads_by_hand() -> None:
    shape = Shape(((4, 4), (4,), (4,), (4,), (4,)), (2, 1, 1, 1, 1), dense_heads=True, residual=True)
    student, image = Student(shape, seed=1), picture()

    def convolve(name: str, x: np.ndarray) -> np.ndarray:
        layer = student.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        return reference.convolve(x, layer.weight.detach().numpy(), np.zeros(4, np.float32), "replicate")

    first = reference.relu(convolve("conv1_1", image[0].double().numpy()))
    second = reference.relu(first + convolve("conv1_2", first))
    head = student.get_submodule("head1_1")
    assert isinstance(head, nn.Conv2d)
    expected = np.tensordot(head.weight.detach().double().numpy()[:, :, 0, 0], np.concatenate((first, second)), axes=1)
    np.testing.assert_allclose(student(image)[0][0].detach().numpy(), reference.relu(expected), atol=1e-4)


def test_subsampled_taps_are_subsets_of_the_full_taps() -> None:
    student, image = Student(Shape.of(Config.create(preset="nano"))), picture()
    strides, offsets = (4, 2, 1, 1, 1), ((3, 1), (0, 1), (0, 0), (0, 0), (0, 0))
    for full, stride, offset, F in zip(student(image), strides, offsets, student(image, strides, offsets), strict=True):
        torch.testing.assert_close(F, subsampled(full, stride, offset))


def test_normalized_weights_respond_evenly_and_predict() -> None:
    student = Student(Shape.of(Config.create(preset="nano")))
    image = torch.cat([picture(seed, (64, 64)) for seed in range(4)])
    targets = [F.detach() for F in Student(student.shape, seed=9)(image)]
    before = feature_error(student(image)[2], targets[2])
    normalize(student, image, targets, student.learned())
    layer = student.get_submodule("conv1_1")
    response = layer(nn.functional.pad(image, (1, 1, 1, 1), mode="replicate"))
    torch.testing.assert_close(response.std((0, 2, 3)), torch.ones(8), rtol=1e-3, atol=0)
    assert feature_error(student(image)[2], targets[2]) < 0.5 < before


# ---------------------------------------------------------------------------------------------------------- the teachers


def test_exact_teacher_against_slow_numpy(world: World) -> None:
    image, raw = picture(), load_file(world.teachers / teachers.EXACT)
    tensors = {name: tensor.numpy() for name, tensor in raw.items()}
    x = np.tensordot(tensors["pre.weight"][:, :, 0, 0].astype(np.float64), image[0].double().numpy(), axes=1)
    x = x + tensors["pre.bias"][:, None, None]
    teacher = teachers.read_pair(world.teachers)
    seen, before, responses = teacher(image), teacher(image, rectified=False), teacher.responses(image)
    for i, name in enumerate(teachers.EXACT_CONVOLUTIONS):
        x = reference.pool(x, "max") if i and name.endswith("_1") else x
        x = reference.convolve(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], "replicate")
        np.testing.assert_allclose(responses[name].values[0].numpy(), x, rtol=1e-3, atol=1e-3)
        if name.endswith("_1"):
            np.testing.assert_allclose(before[int(name[4]) - 1][0].numpy(), x, rtol=1e-3, atol=1e-3)
        heard = [tensors[f"{reader}.weight"] for reader in teachers.EXACT_CONVOLUTIONS[i + 1 : i + 2]]
        expected = np.sqrt((heard[0].astype(np.float64) ** 2).sum((0, 2, 3))) if heard else np.ones(len(x))
        np.testing.assert_allclose(responses[name].norms.numpy(), expected, rtol=1e-5)
        x = reference.relu(x)
        if name.endswith("_1"):
            np.testing.assert_allclose(seen[int(name[4]) - 1][0].numpy(), x, rtol=1e-3, atol=1e-3)
    assert [F.shape[1] for F in seen] == list(CHANNELS)


def test_distilled_teacher_against_plain_torch(world: World) -> None:
    image, raw = picture(size=(64, 64)), load_file(world.teachers / teachers.DISTILLED)
    x = nn.functional.conv2d(image, raw["conv0.weight"], raw["conv0.bias"])
    for block, depth in enumerate((2, 2, 4, 4, 1), start=1):
        x = nn.functional.max_pool2d(x, 2) if block > 1 else x
        for i in range(1, depth + 1):
            padded = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
            x = nn.functional.conv2d(padded, raw[f"conv{block}{i}.weight"], raw[f"conv{block}{i}.bias"]).relu()
    head = nn.functional.conv2d(x, raw["conv51_aux.weight"], raw["conv51_aux.bias"])
    torch.testing.assert_close(teachers.read_pair(world.teachers)(image)[4], head.relu(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(teachers.read_pair(world.teachers)(image, rectified=False)[4], head, rtol=1e-3, atol=1e-3)


def test_the_complete_vgg19_matches_impastos_and_is_normalized(tmp_path: Path) -> None:
    layers = {name: shape for name, shape in convolution_shapes("vgg19").items() if name <= "conv5_1"}
    shapes = {f"{name}.weight": shape for name, shape in layers.items()} | {
        f"{name}.bias": shape[:1] for name, shape in layers.items()
    }
    save_file(
        random_weights(shapes, 5),
        file := tmp_path / "vgg19.safetensors",
        {"input": "BGR, 0..255, minus (103.939, 116.779, 123.68)"},
    )
    trunk, image = teachers.read_vgg19(file), picture(size=(64, 64))
    encoder = encoders.build(weights_.load(file, network="vgg19"), TAPS, pooling="max", padding="replicate")
    seen, expected = trunk(image), encoder(image)
    for tap in TAPS:
        torch.testing.assert_close(seen[tap], expected[tap], rtol=1e-3, atol=1e-2)
    teacher, rescaled = teachers.normalized(trunk, [image])
    assert rescaled
    for tap, F in zip(TAPS, teacher(image), strict=True):
        means, before = F.mean((0, 2, 3)), expected[tap].mean((0, 2, 3))
        active = before > 1e-3 * before.mean()
        torch.testing.assert_close(means[active], torch.ones_like(means[active]), rtol=1e-2, atol=0)
        scale = (before / means)[active][:, None, None]
        torch.testing.assert_close(F[0, active] * scale, expected[tap][0, active], rtol=1e-2, atol=1e-1)
    assert not teachers.normalized(teacher.parts[0], [image])[1]


# -------------------------------------------------------------------------------------------------------------- the data


def test_held_out_pictures_are_the_last_by_name(world: World) -> None:
    pictures = gather([world.photos], [world.paintings], 3)
    assert [picture.name for picture in pictures.held_out[0]] == [f"photos/{i:02}.jpg" for i in (5, 6, 7)]
    assert [picture.name for picture in pictures.held_out[1]] == [f"paintings/{i:02}.jpg" for i in (4, 5, 6)]
    assert [len(row) for row in pictures.train] == [5, 4]
    assert gather([world.photos], [world.paintings], 3, train=False).held_out == pictures.held_out


def test_crops_depend_only_on_seed_and_step(world: World) -> None:
    source = Compressed(gather([world.photos], [world.paintings], 2))
    config = Config.create(batch=6, crop=32, mix_rate=0.5, noise_rate=0.2, blank_rate=0.2)
    plans = [plan(config, source.counts, step) for step in range(6)]
    ahead = [image for _, image in batches(source, plans, 32, CPU, workers=2)]
    plain = [image for _, image in batches(source, plans[3:], 32, CPU, workers=0)]
    assert all(torch.equal(a, b) for a, b in zip(ahead[3:], plain, strict=True))
    assert not torch.equal(ahead[0], ahead[1])
    batch = torch.cat(ahead)
    assert batch.shape == (36, 3, 32, 32)
    assert 0 <= float(batch.min()) < float(batch.max()) <= 1


def test_decoded_and_compressed_sources_give_the_same_crops() -> None:
    pixels = np.asarray(
        Image.open(io.BytesIO(jpeg(4, (256, 256)))).resize((32, 32)).resize((256, 256), Image.Resampling.BICUBIC)
    )
    Image.fromarray(pixels).save(data := io.BytesIO(), "PNG")
    kept = (Picture("a", data.getvalue()),)
    pictures = Pictures((kept, kept), ((), ()), ())
    config = Config.create(batch=8, crop=64, mix_rate=1, noise_rate=0, blank_rate=0, flip_rate=0.5, upside_down_rate=0.5)
    first = plan(config, (1, 1), 0)
    for slow, fast in zip(Compressed(pictures).cut(first, 64), Decoded(pictures, CPU, 1).cut(first, 64), strict=True):
        assert (slow.float() - fast.float()).abs().mean() < 2  # of 255


def test_readable() -> None:
    whole = jpeg(0)
    assert readable(Picture("x", whole))
    assert not readable(Picture("x", whole[: len(whole) // 2]))
    assert not readable(Picture("x", b""))


# ---------------------------------------------------------------------------------------------- losses, rates, evaluation


def features(seed: int, shape: tuple[int, ...] = (2, 5, 4, 6)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).relu()


def test_losses_against_slow_numpy() -> None:
    F, T = features(1), features(2)
    f, t = F.double().numpy(), T.double().numpy()
    assert float(feature_error(F, T)) == pytest.approx(((f - t) ** 2).mean() / t.var(), rel=1e-5)
    by_channel = [((f[:, c] - t[:, c]) ** 2).mean() / t[:, c].var() for c in range(5)]
    assert float(feature_error(F, T, per_channel=True)) == pytest.approx(np.mean(by_channel), rel=5e-3)
    errors = []
    for one, other in zip(f, t, strict=True):
        G, A = (np.einsum("chw,dhw->cd", x, x) for x in (one, other))
        errors.append(((G - A) ** 2).sum() / (A**2).sum())
    assert float(tap_loss(F, T).gram) == pytest.approx(np.mean(errors), rel=1e-5)
    assert float(feature_error(T, T)) == float(tap_loss(T, T).gram) == 0


def test_gradients_of_the_same_network_match() -> None:
    student, other = (Student(Shape.of(Config.create(preset="nano")), seed) for seed in (1, 2))
    image = torch.cat([picture(seed) for seed in range(2)])
    assert float(gradient_error(image, student, student).detach()) == pytest.approx(0, abs=1e-5)
    error = gradient_error(image, student, other)
    assert float(error.detach()) > 0.1
    error.backward()  # type: ignore[no-untyped-call]
    assert student.get_parameter("conv1_1.weight").grad is not None


def test_scores_against_slow_numpy() -> None:
    scores, pairs = evaluation.Score(), [(features(i, (1, 5, 4, 6)), features(i + 50, (1, 5, 4, 6))) for i in range(3)]
    for F, T in pairs:
        scores.add(F, T)
    f, t = (np.concatenate([pair[i].double().numpy().ravel() for pair in pairs]) for i in (0, 1))
    assert scores.r2 == pytest.approx(1 - ((f - t) ** 2).sum() / ((t - t.mean()) ** 2).sum(), rel=1e-5)
    errors = []
    for F, T in pairs:
        G, A = (x[0].double().flatten(1).numpy() @ x[0].double().flatten(1).numpy().T for x in (F, T))
        errors.append(np.sqrt(((G - A) ** 2).sum() / (A**2).sum()))
    assert scores.gram == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_quantized_filters_are_integers_times_a_scale_per_channel(bits: int) -> None:
    student = Student(Shape(((4, 8), (8, 8), (8, 8, 12), (8, 8), (8, 8)))).requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    few, largest = quantized(student, bits).state_dict(), 2 ** (bits - 1) - 1
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, before[name])  # a copy was quantized
        if tensor.dim() == 1:
            assert torch.equal(few[name], tensor)
            continue
        for channel, exact in zip(few[name].double().numpy(), tensor.double().numpy(), strict=True):
            scale = np.abs(exact).max() / largest
            steps = channel / scale
            np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
            assert np.abs(steps).max() == pytest.approx(largest)
            assert np.abs(channel - exact).max() <= scale * 0.50001


def test_a_probe_matches_numpys_regression() -> None:
    student = Student(Shape(((3, 4), (5, 5, 6), (6, 6), (7, 7), (8, 8)), (0, 2, 1, 2, 2)), seed=1)
    teacher = Student(Shape(((3, 4), (5, 5), (6, 6), (7, 7), (8, 8)), (1, 2, 2, 2, 2)), seed=2)
    rows = [[Picture(f"{k}", jpeg(k, (48, 32))) for k in range(first, first + 4)] for first in (0, 4)]

    def responses(image: Tensor) -> list[Tensor]:
        return [T - T.mean() for T in teacher(image)]  # some are negative

    found = probe.probe(student, responses, rows, CPU)

    def seen(kept: int) -> tuple[np.ndarray, np.ndarray]:
        read, wanted = [], []
        for _, image in evaluation.variants([row[kept::2] for row in rows]):
            x = probe.features(student, image)["conv2_3"].detach().double().numpy()[0]
            padded = np.pad(reference.pool(x, "max"), ((0, 0), (1, 1), (1, 1)), mode="edge")
            patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
            read.append(patches.transpose(1, 2, 0, 3, 4).reshape(-1, 54))
            wanted.append(responses(image)[2].detach().double().numpy()[0].reshape(256, -1).T)
        return np.pad(np.concatenate(read), ((0, 0), (0, 1)), constant_values=1), np.concatenate(wanted)

    (learned, told), (measured, T) = seen(0), seen(1)
    T = reference.relu(T)
    error = reference.relu(measured @ np.linalg.lstsq(learned, told, rcond=None)[0]) - T
    expected = 1 - (error**2).sum() / ((T - T.mean()) ** 2).sum()
    assert found["conv2_3", "relu3_1"].r2 == pytest.approx(expected, abs=1e-3)
    assert 0.1 < expected < 0.999
    assert [*found] == [
        ("conv1_2", "relu2_1"),
        *((f"conv2_{i}", "relu2_1") for i in (1, 2, 3)),
        ("conv2_3", "relu3_1"),
        *((f"conv3_{i}", "relu3_1") for i in (1, 2)),
        ("conv3_2", "relu4_1"),
        *((f"conv4_{i}", "relu4_1") for i in (1, 2)),
        ("conv4_2", "relu5_1"),
        *((f"conv5_{i}", "relu5_1") for i in (1, 2)),
    ]


def test_evaluated_images_are_multiples_of_16_and_noise_is_repeatable() -> None:
    assert picture(size=(70, 45)).shape == (1, 3, 32, 64)
    assert picture(size=(9, 40)).shape == (1, 3, 32, 16)
    image = picture()
    assert torch.equal(evaluation.noisy(image, 1), evaluation.noisy(image, 1))
    assert (evaluation.noisy(image, 1) - image).abs().max() <= evaluation.NOISE


def test_learning_rate_rises_then_falls_to_zero() -> None:
    config = Config.create(steps=1000, rate=1.0, warmup=100)
    rates = [learning_rate(config, step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01, rel=1e-3)
    assert max(rates) == pytest.approx(1, abs=0.03)
    assert rates[500] == pytest.approx(0.5)
    assert rates[1000] == pytest.approx(0)
    timed = Config.create(minutes=1, rate=1.0, warmup=10)
    assert learning_rate(timed, 49, None) == 1.0
    assert learning_rate(timed, 50, 1050) == 1.0
    assert learning_rate(timed, 550, 1050) == pytest.approx(0.5)


def test_layers_with_a_large_fan_in_learn_slowly() -> None:
    """If a step moves every weight by the rate, no response moves by more than rate * fan_in for features of 1."""
    student = Student(Shape.of(Config.create()), seed=0)
    for name, parameter in student.named_parameters():
        share = rate_scale(parameter, 120)
        moved = (parameter[0].numel() if name.endswith("weight") else 1) * share
        assert moved == pytest.approx(120) if share < 1 else moved <= 120
    assert rate_scale(student.conv4_2.weight, 120) == pytest.approx(120 / 1152)
    assert rate_scale(student.conv4_2.bias, 120) == 1


def test_drift_against_slow_numpy() -> None:
    rng = np.random.default_rng(3)
    F, T = (rng.random((5, 3, 4, 6)) for _ in range(2))

    def gram(x: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = x.reshape(3, -1)
        return rows @ rows.T / rows.shape[1]

    errors = []
    for b in (0, 1):
        mine, its = (gram(x[b]) - gram(x[b + 2]) for x in (F, T))
        errors.append(np.sum((mine - its) ** 2) / (np.sum(gram(T[b + 2]) ** 2) + np.sum(its**2)))
    student, teacher = (torch.from_numpy(x).float() for x in (F, T))
    assert float(tap_loss(student, teacher, 2).drift) == pytest.approx(np.mean(errors), rel=1e-5)
    assert float(tap_loss(student, teacher).drift) == 0
    assert float(tap_loss(teacher, teacher, 2).drift) == 0


# ---------------------------------------------------------------------------------------------------------------- the pool


def test_pool_images_are_optimized_through_the_student(world: World) -> None:
    config = Config.create(pool=3, pool_batch=2, pool_visits=12, crop=32, held_out=2, noise_rate=0)
    pool = Pool(config, Compressed(gather([world.photos], [world.paintings], 2)), CPU)
    student = checkpoint.read_student(LITE)

    def distance(picture: Tensor, slot: int) -> float:
        """Relative squared distance of Gram matrices, numpy, summed over taps."""
        total = 0.0
        for F, A in zip(student(picture[None]), student(pool.paintings[slot][None]), strict=True):
            G, B = (x[0].flatten(1).detach().double().numpy() for x in (F, A))
            mine, its = G @ G.T / G.shape[1], B @ B.T / B.shape[1]
            total += ((mine - its) ** 2).sum() / (its**2).sum()
        return total

    first, paintings = pool.visit(0, student)
    assert torch.equal(paintings, pool.paintings[:2])
    assert torch.equal(first[0], pool.photos[0])  # one starts as the photograph, the next as noise
    assert (first[1] - pool.photos[1]).abs().mean() > 0.1
    for step in range(1, 18):  # 36 visits to three
        last, paintings = pool.visit(step, student)
        assert torch.equal(paintings, pool.paintings[[2 * step % 3, (2 * step + 1) % 3]])
        assert 0 <= float(last.min()) <= float(last.max()) <= 1
    for slot in (0, 1):
        assert distance(pool.pictures[slot], slot) < 0.7 * distance(first[slot], slot)
    old = pool.photos.clone()
    pool.visit(18, student)
    assert not torch.equal(pool.photos[0], old[0])  # replaced after its last visit
    assert torch.equal(pool.photos[2], old[2])


def test_a_pool_resumes_from_its_state(world: World) -> None:
    config = Config.create(pool=2, pool_visits=3, crop=32, held_out=2)
    source = Compressed(gather([world.photos], [world.paintings], 2))
    student = checkpoint.read_student(LITE)
    one = Pool(config, source, CPU)
    for step in range(5):
        one.visit(step, student)
    other = Pool(config, source, CPU, {name: tensor.clone() for name, tensor in one.state().items()})
    for step in range(5, 12):
        assert torch.equal(one.visit(step, student)[0], other.visit(step, student)[0])
