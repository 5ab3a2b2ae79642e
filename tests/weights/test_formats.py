from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from safetensors.torch import save_file
from weights.vgg_files import (
    FIXED,
    MEAN,
    UNSAID,
    VGG16_FEATURES,
    VGG19_FEATURES,
    bgr,
    caffe_pth,
    keras3_counted,
    keras_new,
    keras_old,
    make_network,
    matconvnet,
    safetensors_bgr,
    state_dict,
)

from impasto import weights
from impasto.errors import OptionError, UnknownNameError, WeightsFileError
from impasto.weights import matlab
from impasto.weights.networks import LITE_NAME, OLDER_LITES

# Oxford's conv1_1 as published: eight biases, and (0, 1) and (1, 0) of the first kernel's blue, green and red.
OXFORD = {
    "vgg16": (
        [0.73429835, 0.09340367, 0.06775674, 0.88629657, 0.25994542, 0.66426694, -0.01582893, 0.3249065],
        [[0.373467, 0.2747699], [0.4400745, 0.3457391], [0.4085474, 0.3104773]],
    ),
    "vgg19": (
        [0.7301776, 0.06493629, 0.03428847, 0.8260386, 0.2578029, 0.54867655, -0.01243854, 0.34789944],
        [[0.339992, 0.2321592], [0.4181084, 0.3051121], [0.3774031, 0.2671299]],
    ),
}


def assert_same(found, network, mean=MEAN):
    assert found.convolutions == list(network)
    assert set(found.tensors) == {"mean"} | {f"{layer}.{part}" for layer in network for part in ("weight", "bias")}
    for layer, (kernel, bias) in network.items():
        np.testing.assert_array_equal(found.tensors[f"{layer}.weight"].numpy(), kernel, strict=True)
        np.testing.assert_array_equal(found.tensors[f"{layer}.bias"].numpy(), bias, strict=True)
    np.testing.assert_array_equal(found.tensors["mean"].numpy(), np.float32(mean), strict=True)
    assert all(tensor.is_contiguous() for tensor in found.tensors.values())


@pytest.mark.parametrize("write", FIXED + UNSAID)
def test_every_format_gives_the_same_tensors_to_the_last_bit(write, shallow, tmp_path):
    file = tmp_path / "no suffix"
    write(file, shallow)
    found = weights.load(file, convention="caffe" if write in UNSAID else None)
    assert_same(found, shallow)
    assert found.network == "vgg19"
    assert found.convention == ("matconvnet" if "mat" in write.__name__ else "caffe")
    assert not found.complete


def test_torchvision_files_give_torchvisions_features(shallow, tmp_path):
    file = tmp_path / "vgg19-dcbb9e9d.pth"
    torch.save(state_dict(shallow), file)
    found = weights.load(file)
    assert found.convention == "torchvision"
    image = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    kernel, bias = map(torch.from_numpy, shallow["conv1_1"])
    statistics = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    theirs = torch.nn.functional.conv2d((image - statistics[0]) / statistics[1], kernel, bias, padding=1)
    prepared = 255 * image - found.tensors["mean"].view(1, 3, 1, 1)
    ours = torch.nn.functional.conv2d(prepared, found.tensors["conv1_1.weight"], found.tensors["conv1_1.bias"], padding=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for layer in list(shallow)[1:]:
        assert np.array_equal(found.tensors[f"{layer}.weight"].numpy(), shallow[layer][0])


def test_caffe_files_give_caffes_features(shallow, tmp_path):
    file = tmp_path / "vgg19-d01eb7cb.pth"
    caffe_pth(file, shallow)
    found = weights.load(file, convention="caffe")
    image = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    kernel, bias = map(torch.from_numpy, bgr(shallow)["conv1_1"])
    blue_green_red = 255 * image.flip(1) - torch.tensor(MEAN[::-1]).view(1, 3, 1, 1)
    theirs = torch.nn.functional.conv2d(blue_green_red, kernel, bias, padding=1)
    prepared = 255 * image - found.tensors["mean"].view(1, 3, 1, 1)
    ours = torch.nn.functional.conv2d(prepared, found.tensors["conv1_1.weight"], found.tensors["conv1_1.bias"], padding=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-3)


def oxford(network, last="3_3"):
    """Random weights with Oxford's fingerprint, RGB."""
    made = make_network(network, last)
    bias, first = OXFORD[network]
    made["conv1_1"][1][:8] = bias
    made["conv1_1"][0][0][:, (0, 1), (1, 0)] = first[::-1]
    return made


def transposed(network):
    return {layer: (kernel.swapaxes(2, 3).copy(), bias) for layer, (kernel, bias) in network.items()}


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_oxfords_own_weights_are_recognized_in_a_pth(name, tmp_path):
    made = oxford(name)
    torch.save(state_dict(bgr(made)), tmp_path / "a.pth")
    found = weights.load(tmp_path / "a.pth")
    assert (found.network, found.convention) == (name, "caffe")
    assert_same(found, made)


def test_oxfords_own_weights_in_half_precision_are_recognized(tmp_path):
    half = {key: value.half() for key, value in state_dict(bgr(oxford("vgg19"))).items()}
    torch.save(half, tmp_path / "a.pth")
    found = weights.load(tmp_path / "a.pth")
    assert (found.network, found.convention) == ("vgg19", "caffe")
    assert found.tensors["conv1_1.weight"].dtype == torch.float32
    assert torch.equal(found.tensors["conv1_1.weight"].flip(1), half["features.0.weight"].float())


@pytest.mark.parametrize("turn", [bgr, transposed, lambda made: bgr(transposed(made))])
@pytest.mark.parametrize("write", [matconvnet, keras_old])
def test_oxfords_own_weights_are_turned_upright(turn, write, tmp_path):
    made = oxford("vgg19")
    write(tmp_path / "file", turn(made))
    assert_same(weights.load(tmp_path / "file", network="vgg19"), made)


def test_an_explicit_convention_wins_over_recognition(tmp_path):
    torch.save(state_dict(oxford("vgg16")), tmp_path / "a.pth")
    found = weights.load(tmp_path / "a.pth", convention="torchvision")
    assert found.convention == "torchvision"
    np.testing.assert_allclose(found.tensors["mean"].numpy(), [123.675, 116.28, 103.53], rtol=1e-6)


@pytest.mark.parametrize(("name", "features"), [("vgg16", VGG16_FEATURES), ("vgg19", VGG19_FEATURES)])
def test_the_network_is_recognized_by_its_layers(name, features, tmp_path):
    made = make_network(name, "4_1")
    torch.save(state_dict(made, features), tmp_path / "a.pth")
    keras3_counted(tmp_path / "b.h5", made)
    for file in tmp_path.iterdir():
        assert weights.load(file).network == name
        assert weights.load(file).convolutions == list(made)


def test_a_file_that_fits_both_networks_needs_a_name(tmp_path):
    keras_old(tmp_path / "a.h5", make_network("vgg16", "2_2"))
    with pytest.raises(WeightsFileError, match=r"ends at conv2_2.*name the network, vgg16 or vgg19"):
        weights.load(tmp_path / "a.h5")
    for name in ("vgg16", "vgg19"):
        assert weights.load(tmp_path / "a.h5", network=name).network == name


def test_bfloat16_and_float64_become_float32(tmp_path):
    made = make_network("vgg19", "1_2")
    for dtype in (torch.bfloat16, torch.float64):
        state = {key: value.to(dtype) for key, value in state_dict(bgr(made)).items()}
        torch.save(state, tmp_path / "a.pth")
        save_file(state, tmp_path / "a.safetensors")
        for file in tmp_path.iterdir():
            found = weights.load(file, network="vgg19", convention="caffe").tensors["conv1_2.weight"]
            assert torch.equal(found, state["features.2.weight"].float())


def test_the_embedded_network_is_read_as_it_is():
    from safetensors.torch import load_file

    stored = load_file(weights.path("lite"))
    found = weights.load("lite")
    assert (found.network, found.convention, found.complete) == ("lite", "lite", True)
    assert found.tensors.keys() == stored.keys()
    assert all(torch.equal(found.tensors[key], value.float()) for key, value in stored.items())
    assert weights.load(weights.path("lite")).network == "lite"


def test_a_safetensors_header_that_starts_like_a_pickle(tmp_path):
    made = make_network("vgg19", "1_1")
    for filler in range(0, 2000, 8):
        file = tmp_path / "a.safetensors"
        tensors = {"conv1_1.weight": torch.from_numpy(made["conv1_1"][0]), "conv1_1.bias": torch.from_numpy(made["conv1_1"][1])}
        metadata = {"input": "RGB, 0..255, minus mean, zero padding", "filler": " " * filler, "network": "vgg19"}
        save_file(tensors | {"mean": torch.tensor(MEAN)}, file, metadata)
        if file.read_bytes()[:2] == b"\x80\x04":
            break
    assert file.read_bytes()[:2] == b"\x80\x04"
    assert_same(weights.load(file), made)


# Files that are wrong


def refused(file, *expected, error=WeightsFileError, **how):
    with pytest.raises(error) as caught:
        weights.load(file, **how)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(file), *expected):
        assert part in message
    return message


@pytest.mark.parametrize("write", FIXED + UNSAID)
@pytest.mark.parametrize("fraction", [0.02, 0.999])
def test_cut_files_are_refused(write, fraction, tmp_path):
    file = tmp_path / "cut"
    write(file, make_network("vgg19", "1_2"))
    os.truncate(file, int(file.stat().st_size * fraction))
    refused(file, "cut short or damaged")


@pytest.mark.parametrize("write", [keras_old, caffe_pth, matconvnet, safetensors_bgr])
def test_a_missing_layer_is_named(write, shallow, tmp_path):
    write(
        tmp_path / "file",
        {layer: pair for layer, pair in shallow.items() if layer != "conv2_2"} if write != caffe_pth else shallow,
    )
    if write == caffe_pth:
        state = state_dict(shallow)
        del state["features.7.weight"]
        torch.save(state, tmp_path / "file")
    refused(tmp_path / "file", "is not VGG-19", "conv2_2.weight is missing", network="vgg19")


def test_a_missing_bias_is_named(tmp_path):
    keras_old(tmp_path / "a.h5", make_network("vgg19", "3_4"))
    with h5py.File(tmp_path / "a.h5", "a") as hdf5:
        del hdf5["block3_conv4/block3_conv4_b_1:0"]
    refused(tmp_path / "a.h5", "is not VGG-19: conv3_4.bias is missing")


def test_a_wrong_shape_is_named_with_both_shapes(shallow, tmp_path):
    kernel, bias = shallow["conv3_1"]
    keras_old(tmp_path / "a.h5", shallow | {"conv3_1": (kernel[:, :100], bias)})
    refused(tmp_path / "a.h5", "conv3_1.weight (block3_conv1/block3_conv1_W_1:0)", "(256, 100, 3, 3)", "(256, 128, 3, 3)")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_values_that_are_not_finite_are_refused(value, shallow, tmp_path):
    bias = shallow["conv2_1"][1].copy()
    bias[5] = value
    keras_new(tmp_path / "a.h5", shallow | {"conv2_1": (shallow["conv2_1"][0], bias)})
    refused(tmp_path / "a.h5", "NaN or infinite values in conv2_1.bias (1 of 128)")


def test_values_beyond_float32_are_refused(tmp_path):
    state = {key: value.double() for key, value in state_dict(make_network("vgg19", "1_2")).items()}
    state["features.2.bias"][0] = 1e300
    torch.save(state, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "NaN or infinite values in conv1_2.bias (1 of 64)", network="vgg19")


def test_quantized_numbers_are_refused(tmp_path):
    state = {key: value.to(torch.int8) for key, value in state_dict(make_network("vgg19", "1_2")).items()}
    torch.save(state, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "int8 numbers in conv1_1.weight", network="vgg19")


def test_another_network_than_expected_is_refused(tmp_path):
    keras_old(tmp_path / "a.h5", make_network("vgg16", "4_1"))
    refused(tmp_path / "a.h5", "holds VGG-16, expected VGG-19", network="vgg19")
    safetensors_bgr(tmp_path / "b", make_network("vgg19", "2_1"))
    refused(tmp_path / "b", "holds VGG-19, expected VGG-16", network="vgg16")
    refused(tmp_path / "b", "holds VGG-19, expected lite", network="lite")
    torch.save(state_dict(make_network("vgg16", "4_1"), VGG16_FEATURES), tmp_path / "c.pth")
    refused(tmp_path / "c.pth", "holds VGG-16, expected lite", network="lite")
    refused(weights.path("lite"), "holds lite, expected VGG-19", network="vgg19")


@pytest.mark.parametrize("whole", [True, False])
def test_a_pickled_model_is_refused_and_not_run(whole, tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3))
    torch.save(model, tmp_path / "a.pth", _use_new_zipfile_serialization=whole)
    refused(tmp_path / "a.pth", "pickled torch.nn.modules.container.Sequential", "expected a state dict")


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_code_in_a_pickle_is_not_run(tmp_path):
    torch.save({"features.0.weight": Bomb(tmp_path / "ran")}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "can run code")
    assert not (tmp_path / "ran").exists()


def test_other_networks_are_refused(tmp_path):
    state = state_dict(make_network("vgg19", "2_1"), (0, 4, 8, 11))
    torch.save(state, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "features.4.weight")
    torch.save(state | {"features.1.running_mean": torch.zeros(64)}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "batch normalization")
    torch.save({"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "no layer of a VGG", "layer1.0.conv1.weight")
    torch.save({}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "it holds no tensors")
    torch.save(torch.zeros(3), tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "holds a Tensor, expected a state dict")
    with h5py.File(tmp_path / "a.h5", "w") as hdf5:
        hdf5["conv1/kernel:0"] = np.zeros((7, 7, 3, 64))
    refused(tmp_path / "a.h5", "without the layers of a VGG")
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.zeros(3)})
    refused(tmp_path / "a.mat", "without the layers of a VGG")
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    refused(tmp_path / "a.npz", "zip archive of x.npy")


def test_a_matconvnet_file_without_mean_is_refused(tmp_path):
    cell = np.empty((1, 1), object)
    cell[0, 0] = {"name": "conv1_1", "filters": np.zeros((3, 3, 3, 64)), "biases": np.zeros(64)}
    scipy.io.savemat(tmp_path / "a.mat", {"layers": cell})
    refused(tmp_path / "a.mat", "normalization.averageImage", "expected (..., 3)")
    cell[0, 0] = {"name": "conv1_1", "type": "conv"}
    scipy.io.savemat(tmp_path / "a.mat", {"layers": cell})
    refused(tmp_path / "a.mat", "layer conv1_1 without weights")


def test_an_unknown_input_convention_is_refused(tmp_path):
    save_file({"conv1_1.bias": torch.zeros(64)}, tmp_path / "a.safetensors", {"input": "RGB, 0..1"})
    refused(tmp_path / "a.safetensors", "states the unknown input 'RGB, 0..1'")


def test_our_own_files_are_checked_too(tmp_path):
    file = tmp_path / "vgg19.safetensors"
    kernel, bias = make_network("vgg19", "1_1")["conv1_1"]
    tensors = {"conv1_1.weight": torch.from_numpy(kernel), "conv1_1.bias": torch.from_numpy(bias)}
    metadata = {"input": "RGB, 0..255, minus mean, zero padding", "network": "vgg19", "convention": "caffe"}
    save_file(tensors, file, metadata)
    refused(file, "has no `mean`")
    save_file(tensors | {"mean": torch.tensor([123.0, np.nan, 104.0])}, file, metadata)
    refused(file, "NaN or infinite values in mean (1 of 3)")


def test_a_lite_that_is_not_whole_is_refused(tmp_path):
    stored = weights.load("lite").tensors
    file = tmp_path / "lite.safetensors"
    save_file({key: value for key, value in stored.items() if key != "head4_1.weight"}, file, {"name": LITE_NAME})
    refused(file, "is not lite: head4_1.weight has shape nothing, expected (512, 128, 1, 1)")
    save_file(stored | {"conv2_1.weight": torch.zeros(48, 16, 3, 3)}, file, {"name": LITE_NAME})
    refused(file, "is not lite: conv2_1.weight has shape (48, 16, 3, 3), expected (48, 32, 3, 3)")


def test_a_lite_of_another_architecture_is_refused(tmp_path):
    stored, file = weights.load("lite").tensors, tmp_path / "lite.safetensors"
    for name in OLDER_LITES:
        save_file(stored, file, {"name": name})
        refused(file, f"holds {name} of an older version; expected {LITE_NAME}")
    other = "holds a lite of another architecture"
    for architecture, expected in (
        ('{"heads_at": [1, 1, 1, 1, 1]}', f"{other}: heads_at is [1, 1, 1, 1, 1], expected [0, 2, 1, 1, 1]"),
        ('{"residual": true}', f"{other}: residual is True, expected False"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ("[" * 100_000, "damaged"),
    ):
        save_file(stored, file, {"name": LITE_NAME, "architecture": architecture})
        refused(file, expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html><body>Not found", "it is a web page"),
        (b"\n <HTML>sign in", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 80134624\n", "Git LFS pointer"),
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n", "save it with -v7"),
        (b"these are not weights", "it is text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "it starts with the bytes 89 50 4e 47"),
        (b"\x80\x04\x95garbage" * 9, "cut short or damaged"),
        (b"PK\x03\x04garbage" * 9, "cut short or damaged"),
        (b"\x89HDF\r\n\x1a\ngarbage" * 9, "cut short or damaged"),
        (b"MATLAB 5.0 MAT-file garbage" * 9, "cut short or damaged"),
        (b"\x30\0\0\0\0\0\0\0{garbage" * 9, "cut short or damaged"),
    ],
)
def test_what_is_no_weights_file_is_refused(content, expected, tmp_path):
    file = tmp_path / "vgg19_notop.h5"
    file.write_bytes(content)
    refused(file, expected)


def test_places_without_a_file_are_refused(tmp_path):
    refused(tmp_path, "is a directory")
    refused(tmp_path / "nothing.h5", "no such file")
    refused(str(tmp_path / "nothing"), "no such file")
    with pytest.raises(UnknownNameError, match="did you mean 'vgg19'"):
        weights.load("vgg91")


def test_the_arguments_are_checked(shallow, tmp_path):
    keras_old(tmp_path / "a.h5", shallow)
    with pytest.raises(UnknownNameError, match="unknown network 'vgg18'; did you mean"):
        weights.load(tmp_path / "a.h5", network="vgg18")
    with pytest.raises(OptionError, match="convention 'torchvision' contradicts the file, which states 'caffe'"):
        weights.load(tmp_path / "a.h5", convention="torchvision")
    torch.save(state_dict(shallow), tmp_path / "a.pth")
    with pytest.raises(OptionError, match="convention must be 'caffe' or 'torchvision', not 'tf'"):
        weights.load(tmp_path / "a.pth", convention="tf")


def by_scipy(value):
    """What scipy reads, in the terms of `matlab.read`."""
    if isinstance(value, scipy.io.matlab.mat_struct):
        return {name: by_scipy(getattr(value, name)) for name in value._fieldnames}
    if isinstance(value, np.ndarray) and value.dtype == object:
        found = [by_scipy(one) for one in value.ravel(order="F")]
        return found[0] if len(found) == 1 and isinstance(found[0], dict) else found
    return "".join(value) if isinstance(value, np.ndarray) and value.dtype.kind == "U" else value


def same(ours, scipys):
    if isinstance(scipys, dict):
        return ours.keys() == scipys.keys() and all(same(ours[name], scipys[name]) for name in scipys)
    if isinstance(scipys, list):
        return len(ours) == len(scipys) and all(map(same, ours, scipys))
    if isinstance(scipys, str):
        return ours == scipys
    return ours.dtype == scipys.dtype and np.array_equal(ours, scipys)


@pytest.mark.parametrize("packed", [False, True])
def test_matlab_files_are_read_as_scipy_reads_them(packed, tmp_path):
    cell, several = np.empty((2, 2), object), np.empty((1, 2), object)
    cell[:] = [["a", {"x": 1.5}], [np.arange(6.0).reshape(2, 3), np.zeros((0, 4))]]
    several[:] = [[{"name": "one", "value": 1}, {"name": "two", "value": 2}]]
    numbers = {
        kind: np.arange(24, dtype=kind).reshape(2, 3, 4)
        for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
    }
    content = {"cell": cell, "several": several, "inner": {"deep": {"deeper": np.float32([[1, 2]])}}, "text": "Grün", **numbers}
    scipy.io.savemat(tmp_path / "a.mat", content, do_compression=packed)
    expected = scipy.io.loadmat(tmp_path / "a.mat", struct_as_record=False)
    found = matlab.read(tmp_path / "a.mat", tuple(content))
    assert found.keys() == content.keys()
    for name, value in found.items():
        assert same(value, by_scipy(expected[name])), name
    assert matlab.read(tmp_path / "a.mat", ("text", "nothing")) == {"text": "Grün"}


def test_other_matlab_values_are_none(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"sparse": scipy.sparse.eye(3, format="csc"), "complex": np.array([[1j]])})
    assert matlab.read(tmp_path / "a.mat", ("sparse", "complex")) == {"sparse": None, "complex": None}


def test_a_matlab_cell_that_says_it_is_numeric_is_damaged(shallow, tmp_path):
    """scipy 1.17 ends the process."""
    matconvnet(tmp_path / "a.mat", shallow)
    data = bytearray((tmp_path / "a.mat").read_bytes())
    for kind, says in ((9, "numbers are of type 14"), (5, "without the layers"), (2, "numbers are of type 14")):
        assert data[128:132] == b"\x0e\0\0\0"
        data[144] = kind
        (tmp_path / "a.mat").write_bytes(data)
        refused(tmp_path / "a.mat", says)
