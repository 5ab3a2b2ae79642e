"""Readers for the weights files in use. Each gives names and arrays. The first bytes of a file, not its suffix, determine its format.

| file | layout of a kernel | expected input |
|---|---|---|
| Keras .h5 (old and new names), .weights.h5, .keras | (height, width, in, out) | BGR, 0..255, minus the mean |
| torchvision .pth, also as safetensors | (out, in, height, width) | RGB, 0..1, minus the mean, divided by the deviation |
| .pth converted from Caffe, as in neural-style-pt | (out, in, height, width) | BGR, 0..255, minus the mean |
| MatConvNet .mat (beta and 1.0) | (height, width, in, out) | RGB, 0..255, minus averageImage |
| safetensors: ours, or with `input` in the metadata | (out, in, height, width) | as its metadata says |

No reader executes code from a file: pickles are opened with torch's `weights_only`.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from impasto import files
from impasto.errors import WeightsFileError
from impasto.weights.canonical import CAFFE, Convention, Raw, canonical
from impasto.weights.networks import LITE, LITE_ARCHITECTURE, LITE_NAME, OLDER_LITES, Weights

if TYPE_CHECKING:
    import h5py

OURS = "RGB, 0..255, minus mean, zero padding"
"""The input that our own files state."""

_LONGEST_HEADER = 100_000_000  # safetensors' own limit
_Arrays = dict[str, NDArray[np.generic]]


def read_file(file: Path, *, network: str | None = None, convention: str | None = None) -> Weights:
    """Read the weights in `file`, of any format, in the one form that `Weights` describes.

    network and convention: see `impasto.weights.load`. Raises WeightsFileError with the file, what was expected and what was found;
    OptionError if `convention` contradicts the file.
    """
    with files.open_regular(file, WeightsFileError) as stream:
        head = stream.read(1024)
    try:
        return canonical(_reader(head)(file), network=network, convention=convention)
    except WeightsFileError as error:
        raise WeightsFileError(f"{files.printable(file)}: {error}") from error.__cause__
    except OSError as error:
        raise WeightsFileError(f"{files.printable(file)}: {files.reason(error)}") from error


def _reader(head: bytes) -> Callable[[Path], Raw]:
    """Choose the reader by the first bytes."""
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _LONGEST_HEADER:
        return _read_safetensors  # first, because the length 1152 starts with 80 04, like a pickle
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _read_keras
    if head.startswith(b"PK\x03\x04"):
        return _read_zip
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _read_torch
    if head.startswith(b"MATLAB 5.0 MAT-file"):
        return _read_matconvnet
    raise WeightsFileError(f"is not a weights file: {_describe(head)}; expected .h5, .keras, .pth, .mat or .safetensors")


def _describe(head: bytes) -> str:
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "it is a web page (the download went wrong)"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer to the file"
    if head.startswith(b"MATLAB 7.3"):
        return "it is a MATLAB 7.3 file (in MATLAB, save it with -v7)"
    if all(byte in b"\t\n\r\f\x1b" or byte >= 0x20 for byte in head):
        return "it is text"
    return f"it starts with the bytes {head[:8].hex(' ')}"


def _damaged(kind: str, error: BaseException) -> WeightsFileError:
    reason = files.one_line(str(error).strip().partition("\n")[0]) or type(error).__name__
    return WeightsFileError(f"is cut short or damaged; it starts like {kind}, but reading it failed: {reason}")


# Keras


def _read_keras(file: Path | io.BytesIO) -> Raw:
    import h5py

    try:
        with h5py.File(file, "r") as hdf5:
            arrays, labels = _keras_arrays(hdf5)
    except Exception as error:  # h5py raises errors of many kinds
        raise _damaged("HDF5", error) from error
    if not arrays:
        raise WeightsFileError("is HDF5 without the layers of a VGG; expected block1_conv1, block1_conv2, ...")
    return Raw(arrays, labels, CAFFE)


def _keras_arrays(hdf5: h5py.File) -> tuple[_Arrays, dict[str, str]]:
    datasets: dict[str, Any] = {}
    hdf5.visititems(lambda path, item: datasets.update({path: item}) if hasattr(item, "ndim") else None)
    # the optimizer's datasets have the names of the layers too
    datasets = {path: item for path, item in datasets.items() if not path.startswith("optimizer")}
    layers = {path: _keras_layer(path, str(item.parent.attrs.get("name", ""))) for path, item in datasets.items()}
    if not any(layers.values()):
        layers = {path: _counted_layer(path) for path in datasets}
    arrays: _Arrays = {}
    labels = {}
    for path, layer in layers.items():
        if layer is None or datasets[path].ndim not in (1, 4):
            continue
        value = np.asarray(datasets[path][()])
        name = f"{layer}.weight" if value.ndim == 4 else f"{layer}.bias"
        arrays[name] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
        labels[name] = files.one_line(path)
    return arrays, labels


def _keras_layer(path: str, attribute: str) -> str | None:
    """Return `conv1_1` for a dataset in a group named block1_conv1 or, in Keras 3, with that name in the group's attribute."""
    for part in (*path.split("/")[:-1], attribute):
        match = re.fullmatch(r"block(\d)_conv(\d)", part)
        if match:
            return f"conv{match[1]}_{match[2]}"
    return None


def _counted_layer(path: str) -> str | None:
    """Return `#2` for a dataset of early Keras 3 files, which only number their layers: conv2d, conv2d_1, conv2d_2, ..."""
    match = re.fullmatch(r"(?:.*/)?conv2d(?:_(\d+))?/vars/\d", path)
    return f"#{match[1] or 0}" if match else None


# PyTorch


def _read_zip(file: Path) -> Raw:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            keras = archive.read("model.weights.h5") if "model.weights.h5" in names else None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise _damaged("a zip archive (.pth or .keras)", error) from error
    if keras is not None:
        return _read_keras(io.BytesIO(keras))
    if not any(name.endswith("/data.pkl") for name in names):
        first = files.one_line(names[0]) if names else "nothing"
        raise WeightsFileError(f"is a zip archive of {first}; expected a .pth or .keras file")
    return _read_torch(file, mmap=True)


def _read_torch(file: Path, *, mmap: bool = False) -> Raw:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that no version of torch writes
            # The classifier of a full network is six times the rest. With mmap it is never read.
            state = torch.load(str(file), map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # the unpickler raises errors of many kinds
        pickled = re.search(r"GLOBAL (\S+)", str(error))
        if pickled is None:
            raise _damaged("a PyTorch file", error) from error
        advice = "save model.state_dict() instead; pickled objects are not loaded because they can run code"
        raise WeightsFileError(f"holds a pickled {files.one_line(pickled[1])}, expected a state dict; {advice}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict):
        raise WeightsFileError(f"holds a {type(state).__name__}, expected a state dict")
    tensors = {str(key): value for key, value in state.items() if isinstance(value, torch.Tensor)}
    return _from_state(list(tensors), tensors.__getitem__, None, None)


def _from_state(keys: list[str], tensor: Callable[[str], Any], convention: Convention | None, network: str | None) -> Raw:
    """Read the convolutions of a state dict, which may lack the prefix "features." (as from `vgg.features`)."""
    if any(key.endswith("running_mean") for key in keys):
        raise WeightsFileError("has batch normalization (vgg16_bn, vgg19_bn), expected plain VGG-16 or VGG-19")
    names = {}
    for key in keys:
        match = re.fullmatch(r"(?:module\.)?(?:(?:features\.)?(\d+)|(conv\d_\d))\.(weight|bias)", key)
        if match:
            layer = match[2] or f"features.{match[1]}"
            names[f"{layer}.{match[3]}"] = key
    if not names:
        held = f"it holds {files.one_line(keys[0])}, ..." if keys else "it holds no tensors"
        raise WeightsFileError(f"has no layer of a VGG: {held}; expected features.0.weight or conv1_1.weight, ...")
    return Raw({name: _to_numpy(tensor(key)) for name, key in names.items()}, names, convention, network)


def _to_numpy(tensor: Any) -> Any:
    # numpy has no bfloat16. Integers stay integers and are refused later.
    return (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()


# MatConvNet


def _read_matconvnet(file: Path) -> Raw:
    from impasto.weights import matlab

    try:
        content = matlab.read(file, ("layers", "meta", "normalization"))
    except ValueError as error:
        raise _damaged("a MATLAB file", error) from error
    arrays: _Arrays = {}
    layers = content.get("layers")
    for layer in layers if isinstance(layers, list) else [layers]:
        name = _field(layer, "name")
        if isinstance(name, str) and re.fullmatch(r"conv\d_\d", name):
            kernel, bias = _matconvnet_pair(layer, name)
            arrays[f"{name}.weight"] = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel
            arrays[f"{name}.bias"] = bias.reshape(-1)
    if not arrays:
        raise WeightsFileError("is a MATLAB file without the layers of a VGG; expected MatConvNet's `layers` with conv1_1, ...")
    return Raw(arrays, {name: name for name in arrays}, Convention("matconvnet", "RGB", _matconvnet_mean(content)))


def _field(value: Any, name: str) -> Any:
    """A field of a MATLAB structure; None where there is none."""
    return value.get(name) if isinstance(value, dict) else None


def _matconvnet_pair(layer: Any, name: str) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Return kernel and bias: the cell `weights`, or `filters` and `biases` before about MatConvNet beta 8."""
    pair = _field(layer, "weights")
    if not isinstance(pair, list) or len(pair) != 2:
        pair = [_field(layer, "filters"), _field(layer, "biases")]
    if not all(isinstance(array, np.ndarray) for array in pair):
        raise WeightsFileError(f"has a layer {name} without weights, expected filters and biases")
    return pair[0], pair[1]


def _matconvnet_mean(content: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return the mean of averageImage per channel. The beta has 224 x 224 x 3 numbers, later versions have three."""
    normalization = _field(content.get("meta"), "normalization") or content.get("normalization")
    found = _field(normalization, "averageImage")
    image = found.squeeze() if isinstance(found, np.ndarray) else np.empty(0)
    if image.shape[-1:] != (3,):
        raise WeightsFileError(f"has no usable normalization.averageImage: shape {image.shape}, expected (..., 3)")
    red, green, blue = image.reshape(-1, 3).mean(axis=0, dtype=np.float64)
    return float(red), float(green), float(blue)


# safetensors


def _read_safetensors(file: Path) -> Raw:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as content:  # numpy has no bfloat16
            metadata, keys = content.metadata() or {}, list(content.keys())
            if metadata.get("name", "").startswith("impasto lite"):
                _check_architecture(metadata)
                return Raw({key: _to_numpy(content.get_tensor(key)) for key in keys}, {}, network=LITE)
            mean = _to_numpy(content.get_tensor("mean")) if "mean" in keys else np.empty(0)
            return _from_state(keys, content.get_tensor, _stated_convention(metadata, mean), _stated_network(metadata))
    except (SafetensorError, OSError) as error:
        raise _damaged("safetensors", error) from error


def _check_architecture(metadata: Mapping[str, str]) -> None:
    """Raise WeightsFileError for an older lite, or for other heads, which the shapes of the tensors might not show."""
    if (name := metadata.get("name")) in OLDER_LITES:
        raise WeightsFileError(f"holds {name} of an older version; expected {LITE_NAME}")
    try:
        stated = json.loads(metadata.get("architecture", "{}"))
        other = {key: stated[key] for key, ours in LITE_ARCHITECTURE.items() if stated.get(key, ours) != ours}
    except (ValueError, AttributeError, RecursionError) as error:
        raise _damaged("safetensors", error) from error
    for key, value in other.items():
        found = files.one_line(str(value))
        raise WeightsFileError(f"holds a lite of another architecture: {key} is {found}, expected {LITE_ARCHITECTURE[key]}")


def _stated_network(metadata: Mapping[str, str]) -> str | None:
    match = re.search(r"vgg-?(16|19)", f"{metadata.get('network')} {metadata.get('origin')}", re.IGNORECASE)
    return f"vgg{match[1]}" if match else None


def _stated_convention(metadata: Mapping[str, str], mean: NDArray[np.generic]) -> Convention | None:
    """Return the input convention that the metadata states, or None."""
    stated = metadata.get("input")
    if stated is None:
        return None
    if stated == OURS:
        if mean.shape != (3,):
            raise WeightsFileError("has no `mean` of three numbers, which the input it states requires")
        red, green, blue = (float(value) for value in mean)
        return Convention(files.one_line(metadata.get("convention", CAFFE.name)), "RGB", (red, green, blue))
    if stated.startswith("BGR, 0..255"):
        numbers = re.search(r"minus \((\d+\.?\d*), (\d+\.?\d*), (\d+\.?\d*)\)", stated)
        blue, green, red = (float(number) for number in numbers.groups()) if numbers else CAFFE.mean[::-1]
        return Convention(CAFFE.name, "BGR", (red, green, blue))
    found = files.one_line(repr(stated))
    raise WeightsFileError(f"states the unknown input {found}; known: {OURS!r}, 'BGR, 0..255, minus (...)'")
