"""Networks made up for the tests, and writers of every file format, independent of impasto."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import torch
from safetensors.torch import save_file

MEAN = [123.68, 116.779, 103.939]
VGG19_FEATURES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)  # as torchvision prints the network
VGG16_FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)

# Written out here, not taken from impasto, so that the tests have their own idea of the networks.
LAYERS = {
    "vgg16": "1_1 1_2 2_1 2_2 3_1 3_2 3_3 4_1 4_2 4_3 5_1 5_2 5_3",
    "vgg19": "1_1 1_2 2_1 2_2 3_1 3_2 3_3 3_4 4_1 4_2 4_3 4_4 5_1 5_2 5_3 5_4",
}
WIDTHS = (64, 128, 256, 512, 512)


def make_network(network, last=None, seed=0):
    """Random weights up to conv`last` in the one form, RGB: {"conv1_1": (kernel (out, in, 3, 3), bias)}. Deep blocks repeat."""
    pool = np.random.default_rng(seed).normal(size=200_003).astype(np.float32)
    made = {}
    inputs = 3
    for place in LAYERS[network].split():
        outputs = WIDTHS[int(place[0]) - 1]
        kernel = np.resize(pool[len(made) :], (outputs, inputs, 3, 3))
        made[f"conv{place}"] = (kernel, pool[1000 * len(made) :][:outputs].copy())
        inputs = outputs
        if place == last:
            break
    return made


def bgr(network):
    """Turn the first kernel, as most published files have it."""
    kernel, bias = network["conv1_1"]
    return {**network, "conv1_1": (kernel[:, ::-1].copy(), bias)}


def keras_name(layer):
    return f"block{layer[4]}_conv{layer[6]}"


def hwio(kernel):
    return kernel.transpose(2, 3, 1, 0)


def keras_old(file, network):
    with h5py.File(file, "w") as hdf5:
        for layer, (kernel, bias) in bgr(network).items():
            name = keras_name(layer)
            hdf5[f"{name}/{name}_W_1:0"] = hwio(kernel)
            hdf5[f"{name}/{name}_b_1:0"] = bias
        hdf5.create_group("block1_pool")


def keras_new(file, network):
    with h5py.File(file, "w") as hdf5:
        for layer, (kernel, bias) in bgr(network).items():
            name = keras_name(layer)
            hdf5[f"{name}/{name}/kernel:0"] = hwio(kernel)
            hdf5[f"{name}/{name}/bias:0"] = bias
        hdf5["fc1/fc1/kernel:0"] = np.ones((8, 4), np.float32)
        hdf5["fc1/fc1/bias:0"] = np.ones(4, np.float32)


def keras_whole_model(file, network):
    """As `model.save("x.h5")` of a classifier built on the network: nested, the optimizer's moments under the same names."""
    with h5py.File(file, "w") as hdf5:
        for layer, (kernel, bias) in bgr(network).items():
            name = keras_name(layer)
            hdf5[f"model_weights/vgg19/{name}/kernel"] = hwio(kernel)
            hdf5[f"model_weights/vgg19/{name}/bias"] = bias
            hdf5[f"optimizer_weights/adam/{name}/kernel"] = hwio(kernel) * 0
            hdf5[f"optimizer_weights/adam/{name}/bias"] = bias * 0
        hdf5["model_weights/dense/dense/kernel"] = np.ones((8, 4), np.float32)


def keras3(file, network, *, named=True):
    with h5py.File(file, "w") as hdf5:
        for i, (layer, (kernel, bias)) in enumerate(bgr(network).items()):
            variables = hdf5.create_group(f"layers/conv2d{f'_{i}' if i else ''}/vars")
            variables["0"] = hwio(kernel)
            variables["1"] = bias
            if named:
                variables.attrs["name"] = keras_name(layer)
        hdf5["optimizer/vars/2"] = np.zeros((3, 3, 3, 64), np.float32)


def keras3_counted(file, network):
    keras3(file, network, named=False)


def keras3_archive(file, network):
    content = io.BytesIO()
    keras3(content, network)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", content.getvalue())


def state_dict(network, features=VGG19_FEATURES, prefix="features."):
    state = {}
    for position, (kernel, bias) in zip(features, network.values(), strict=False):
        state[f"{prefix}{position}.weight"] = torch.from_numpy(kernel.copy())
        state[f"{prefix}{position}.bias"] = torch.from_numpy(bias.copy())
    return state


def caffe_pth(file, network):
    torch.save(state_dict(bgr(network)) | {"classifier.0.weight": torch.ones(4, 8)}, file)


def caffe_pth_of_2017(file, network):
    torch.save(state_dict(bgr(network)), file, _use_new_zipfile_serialization=False)


def caffe_pth_features_only(file, network):
    torch.save({"state_dict": state_dict(bgr(network), prefix="")}, file)


def matconvnet(file, network, *, beta=False):
    layers = []
    for layer, (kernel, bias) in network.items():
        struct = {"name": layer, "type": "conv", "stride": 1.0, "pad": 1.0}
        if beta:
            struct |= {"filters": hwio(kernel), "biases": bias[None]}
        else:
            cell = np.empty((1, 2), object)
            cell[0, 0], cell[0, 1] = hwio(kernel), bias[:, None]
            struct["weights"] = cell
        layers += [struct, {"name": layer.replace("conv", "relu"), "type": "relu"}]
    layers.append({"name": "fc6", "type": "conv", "filters": np.ones((1, 1, 2, 4)), "biases": np.ones(4)})
    cell = np.empty((1, len(layers)), object)
    cell[0, :] = layers
    image = np.broadcast_to(np.float32(MEAN), (224, 224, 3)) if beta else np.float32(MEAN).reshape(1, 1, 3)
    normalization = {"averageImage": image, "imageSize": [224.0, 224.0, 3.0]}
    top = {"normalization": normalization} if beta else {"meta": {"normalization": normalization}}
    with Path(file).open("wb") as stream:  # savemat would add a suffix
        scipy.io.savemat(stream, {"layers": cell, **top})


def matconvnet_beta(file, network):
    matconvnet(file, network, beta=True)


def safetensors_bgr(file, network):
    tensors = {}
    for layer, (kernel, bias) in bgr(network).items():
        tensors |= {f"{layer}.weight": torch.from_numpy(kernel), f"{layer}.bias": torch.from_numpy(bias)}
    save_file(tensors, file, {"input": "BGR, 0..255, minus (103.939, 116.779, 123.68), zero padding", "origin": "VGG-19"})


def safetensors_features(file, network):
    save_file(state_dict(bgr(network)), file)


FIXED = [
    keras_old,
    keras_new,
    keras_whole_model,
    keras3,
    keras3_counted,
    keras3_archive,
    matconvnet,
    matconvnet_beta,
    safetensors_bgr,
]
UNSAID = [caffe_pth, caffe_pth_of_2017, caffe_pth_features_only, safetensors_features]
