"""Weights files as people have them, each read into names and arrays. What a file is, its first bytes say, not its suffix.

| file | layout of a kernel | input it expects |
|---|---|---|
| Keras .h5 (old and new names), .weights.h5, .keras | (height, width, in, out) | BGR, 0..255, minus the mean |
| torchvision .pth, also as safetensors | (out, in, height, width) | RGB, 0..1, minus the mean, over the deviation |
| .pth made from Caffe's, as in neural-style-pt | (out, in, height, width) | BGR, 0..255, minus the mean |
| MatConvNet .mat (beta and 1.0) | (height, width, in, out) | RGB, 0..255, minus averageImage |
| safetensors: ours, or with `input` in the metadata | (out, in, height, width) | as its metadata says |

Nothing here executes what a file contains: pickles are opened with torch's `weights_only`.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from impasto.errors import UsageError, WeightsFileError
from impasto.weights.canonical import CAFFE, Convention, Raw, canonical
from impasto.weights.networks import LITE, LITE_ARCHITECTURE, LITE_NAME, OLDER_LITES, VGGWeights

if TYPE_CHECKING:
    import h5py

OURS = "RGB, 0..255, minus mean, zero padding"
"""What our own files say of their input."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_LONGEST_HEADER = 100_000_000  # safetensors' own limit
_Arrays = dict[str, NDArray[np.generic]]


def read_file(file: Path, *, network: str | None = None, convention: str | None = None) -> VGGWeights:
    """Read the weights in `file`, of any format, in the one form that `VGGWeights` describes.

    network and convention: see `impasto.weights.load`. Raises WeightsFileError naming the file, what was expected and what was
    found, OptionError if `convention` contradicts the file, UsageError if a reader is not installed.
    """
    try:
        return canonical(_reader(_head(file))(file), network=network, convention=convention)
    except WeightsFileError as error:
        raise WeightsFileError(f"{file} {error}") from error.__cause__
    except OSError as error:
        raise WeightsFileError(f"{file} cannot be read: {error.strerror or error}") from error


def _head(file: Path) -> bytes:
    if file.is_dir():
        raise WeightsFileError("is a directory, expected a weights file")
    if not file.exists():
        raise WeightsFileError("does not exist")
    if not file.is_file():  # opening a pipe would wait for ever
        raise WeightsFileError("is not a regular file, expected a weights file")
    with file.open("rb") as stream:
        return stream.read(1024)


def _reader(head: bytes) -> Callable[[Path], Raw]:
    """Choose the reader by the first bytes."""
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _LONGEST_HEADER:
        return _read_safetensors  # first: its length may start like a pickle, 80 04 being 1152
    if head.startswith(_HDF5):
        return _read_keras
    if head.startswith(_ZIP):
        return _read_zip
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _read_torch
    if head.startswith(b"MATLAB 5.0 MAT-file"):
        return _read_matconvnet
    raise WeightsFileError(f"is not a weights file: {_describe(head)}; expected .h5, .keras, .pth, .mat or .safetensors")


def _describe(head: bytes) -> str:
    text = head.lstrip().lower()
    if not head:
        return "it is empty"
    if text.startswith((b"<!doctype html", b"<html")):
        return "it is a web page (the download went wrong)"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself"
    if head.startswith(b"MATLAB 7.3"):
        return "it is a MATLAB 7.3 file (in MATLAB, save it with -v7)"
    if all(byte in b"\t\n\r\f\x1b" or byte >= 0x20 for byte in head):
        return "it is text"
    return f"it starts with the bytes {head[:8].hex(' ')}"


def _damaged(kind: str, error: BaseException) -> WeightsFileError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return WeightsFileError(f"is cut short or damaged: it starts like {kind}, but: {reason}")


# Keras


def _read_keras(file: Path | io.BytesIO) -> Raw:
    import h5py

    try:
        with h5py.File(file, "r") as hdf5:
            arrays, labels = _keras_arrays(hdf5)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:  # h5py has no error class of its own
        raise _damaged("HDF5", error) from error
    if not arrays:
        raise WeightsFileError("is HDF5, but without VGG's layers; expected block1_conv1, block1_conv2, ...")
    return Raw(arrays, labels, CAFFE)


def _keras_arrays(hdf5: h5py.File) -> tuple[_Arrays, dict[str, str]]:
    datasets = dict(_datasets(hdf5))
    names = {path: _keras_name(hdf5, path) for path in datasets}
    if not any(names.values()):
        names = _counted_names(list(datasets))
    arrays: _Arrays = {}
    labels = {}
    for path, layer in names.items():
        dataset = datasets[path]
        if layer is None or dataset.ndim not in (1, 4):
            continue
        value = np.asarray(dataset[()])
        name = f"{layer}.weight" if value.ndim == 4 else f"{layer}.bias"
        arrays[name] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
        labels[name] = path
    return arrays, labels


def _datasets(hdf5: h5py.File) -> Iterator[tuple[str, Any]]:
    """Yield every dataset but the optimizer's, which carries the layers' names too."""
    import h5py

    found: list[tuple[str, Any]] = []
    hdf5.visititems(lambda path, item: found.append((path, item)) if isinstance(item, h5py.Dataset) else None)
    return (pair for pair in found if not pair[0].startswith("optimizer"))


def _keras_name(hdf5: h5py.File, path: str) -> str | None:
    """Return `conv1_1` for a dataset below a group called block1_conv1, or, in Keras 3, one whose attribute says so."""
    parts = path.split("/")[:-1]
    parts.append(str(hdf5[path].parent.attrs.get("name", "")))
    for part in parts:
        match = re.fullmatch(r"block(\d)_conv(\d)", part)
        if match:
            return f"conv{match[1]}_{match[2]}"
    return None


def _counted_names(paths: list[str]) -> dict[str, str | None]:
    """Name the layers of early Keras 3 files, which only count them: conv2d, conv2d_1, conv2d_2, ..."""
    matches = {path: re.fullmatch(r"(?:.*/)?conv2d(?:_(\d+))?/vars/\d", path) for path in paths}
    return {path: f"#{match[1] or 0}" if match else None for path, match in matches.items()}


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
        raise WeightsFileError(
            f"is a zip archive with {names[0] if names else 'nothing'} in it, expected a .pth or .keras file"
        )
    return _read_torch(file, mmap=True)


def _read_torch(file: Path, *, mmap: bool = False) -> Raw:
    import torch

    try:
        # A full network's classifier is six times the rest: mapped, it is never read.
        state = torch.load(str(file), map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises whatever its unpickler stumbles over
        pickled = re.search(r"GLOBAL (\S+)", str(error))
        if pickled is None:
            raise _damaged("a PyTorch file", error) from error
        advice = "save model.state_dict() instead; pickled objects are not loaded, because they can run code"
        raise WeightsFileError(f"holds a pickled {pickled[1]}, expected a state dict: {advice}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict):
        raise WeightsFileError(f"holds a {type(state).__name__}, expected a state dict")
    tensors = {str(key): value for key, value in state.items() if isinstance(value, torch.Tensor)}
    wanted = {key: _to_numpy(tensors[key]) for key in _state_names(tensors).values()}
    return _from_state(wanted, list(tensors))


def _to_numpy(tensor: Any) -> NDArray[np.generic]:
    # bfloat16, which numpy lacks, becomes float32; integers stay integers, to be refused
    tensor = tensor.detach()
    array: NDArray[np.generic] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array


def _state_names(keys: Mapping[str, Any] | list[str]) -> dict[str, str]:
    """Map `features.0.weight` or `conv1_1.weight` to the state dict's key; also without "features", as from `vgg.features`."""
    if any(key.endswith("running_mean") for key in keys):
        raise WeightsFileError("has batch normalisation (vgg16_bn, vgg19_bn), expected plain VGG-16 or VGG-19")
    names = {}
    for key in keys:
        match = re.fullmatch(r"(?:module\.)?(?:(?:features\.)?(\d+)|(conv\d_\d))\.(weight|bias)", key)
        if match:
            layer = match[2] or f"features.{match[1]}"
            names[f"{layer}.{match[3]}"] = key
    return names


def _from_state(state: _Arrays, keys: list[str], convention: Convention | None = None, network: str | None = None) -> Raw:
    names = _state_names(keys)
    if not names:
        held = f"it holds {keys[0]}, ..." if keys else "it holds no tensors"
        raise WeightsFileError(f"has none of VGG's layers: {held}; expected features.0.weight or conv1_1.weight, ...")
    return Raw({name: state[key] for name, key in names.items()}, names, convention, network)


# MatConvNet


def _read_matconvnet(file: Path) -> Raw:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UsageError(f"reading {file} needs scipy: pip install 'impasto[mat]'") from error
    try:
        wanted = ["layers", "meta", "normalization"]
        content = loadmat(str(file), variable_names=wanted, struct_as_record=False, squeeze_me=True)
    except Exception as error:  # scipy raises whatever its parser stumbles over
        raise _damaged("a MATLAB file", error) from error
    layers = [layer for layer in np.atleast_1d(content.get("layers", [])) if re.fullmatch(r"conv\d_\d", _text(layer, "name"))]
    if not layers:
        raise WeightsFileError("is a MATLAB file, but without VGG's layers; expected MatConvNet's `layers` with conv1_1, ...")
    arrays: _Arrays = {}
    for layer in layers:
        name = _text(layer, "name")
        kernel, bias = _matconvnet_pair(layer, name)
        arrays[f"{name}.weight"] = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel
        arrays[f"{name}.bias"] = bias.reshape(-1)
    mean = _matconvnet_mean(content)
    return Raw(arrays, {name: name for name in arrays}, Convention("matconvnet", "RGB", mean))


def _text(struct: Any, field: str) -> str:
    return str(getattr(struct, field, ""))


def _matconvnet_pair(layer: Any, name: str) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Return kernel and bias: a cell `weights` since MatConvNet beta 8 or so, `filters` and `biases` before."""
    pair = getattr(layer, "weights", None)
    if not isinstance(pair, np.ndarray) or pair.dtype != object or pair.shape != (2,):
        pair = (getattr(layer, "filters", None), getattr(layer, "biases", None))
    if pair[0] is None or pair[1] is None:
        raise WeightsFileError(f"has a layer {name} without weights, expected filters and biases")
    return np.asarray(pair[0]), np.asarray(pair[1])


def _matconvnet_mean(content: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return averageImage's mean per channel: it is 224 x 224 x 3 in the beta, three numbers since."""
    normalization = getattr(content.get("meta"), "normalization", content.get("normalization"))
    image = np.asarray(getattr(normalization, "averageImage", ()))
    if image.shape[-1:] != (3,) or image.dtype.kind not in "fiu":
        raise WeightsFileError(f"has no usable normalization.averageImage: shape {image.shape}, expected (..., 3)")
    red, green, blue = image.reshape(-1, 3).mean(axis=0, dtype=np.float64)
    return float(red), float(green), float(blue)


# safetensors


def _read_safetensors(file: Path) -> Raw:
    from safetensors import SafetensorError, safe_open

    try:
        # framework "pt", because numpy has no bfloat16
        with safe_open(file, framework="pt") as content:
            metadata = content.metadata() or {}
            keys = list(content.keys())
            lite = metadata.get("name", "").startswith("impasto lite")
            wanted = keys if lite else [*_state_names(keys).values(), *(key for key in keys if key == "mean")]
            arrays = {key: _to_numpy(content.get_tensor(key)) for key in wanted}
    except (SafetensorError, OSError) as error:
        raise _damaged("safetensors", error) from error
    if lite:
        _check_architecture(metadata)
        return Raw(arrays, {key: key for key in arrays}, network=LITE)
    return _from_state(arrays, keys, _stated_convention(metadata, arrays), _stated_network(metadata))


def _check_architecture(metadata: Mapping[str, str]) -> None:
    """Raise WeightsFileError for an older lite, and for one with other heads, which its tensors alone might not show."""
    if (name := metadata.get("name")) in OLDER_LITES:
        raise WeightsFileError(f"is {name}, which older versions came with; this one reads {LITE_NAME}")
    try:
        stated = json.loads(metadata.get("architecture", "{}"))
        other = {key: stated[key] for key, ours in LITE_ARCHITECTURE.items() if stated.get(key, ours) != ours}
    except (ValueError, AttributeError) as error:
        raise _damaged("safetensors", error) from error
    for key, value in other.items():
        raise WeightsFileError(f"is lite of another architecture: {key} is {value}, expected {LITE_ARCHITECTURE[key]}")


def _stated_network(metadata: Mapping[str, str]) -> str | None:
    match = re.search(r"vgg-?(16|19)", f"{metadata.get('network')} {metadata.get('origin')}", re.IGNORECASE)
    return f"vgg{match[1]}" if match else None


def _stated_convention(metadata: Mapping[str, str], arrays: _Arrays) -> Convention | None:
    """Return what the metadata says of the input; None if it says nothing."""
    stated = metadata.get("input")
    if stated is None:
        return None
    if stated == OURS:
        if "mean" not in arrays or arrays["mean"].shape != (3,):
            raise WeightsFileError("has no `mean` of three numbers, expected one beside the input it states")
        red, green, blue = (float(value) for value in arrays["mean"])
        return Convention(metadata.get("convention", CAFFE.name), "RGB", (red, green, blue))
    if stated.startswith("BGR, 0..255"):
        numbers = re.search(r"minus \(([\d.]+), ([\d.]+), ([\d.]+)\)", stated)
        blue, green, red = (float(number) for number in numbers.groups()) if numbers else CAFFE.mean[::-1]
        return Convention(CAFFE.name, "BGR", (red, green, blue))
    raise WeightsFileError(
        f"expects the input {stated!r}, which is none of the known ones: {OURS!r}, 'BGR, 0..255, minus (...)'"
    )
