"""Check the content of a weights file and convert it to one form.

The same network is published under several input conventions. All of them are folded into the first convolution. The same weights then
give the same features whatever the file: input RGB in 0..255 minus `mean`, with zero padding (see `Weights`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.errors import OptionError, UnknownNameError, WeightsFileError
from impasto.weights.networks import DEPTHS, LITE, TITLES, Weights, convolution_shapes, feature_indices, lite_shapes

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Convention:
    """The input of a network: `(x - mean) / divisor` per channel for x in 0..255, with the channels in the given order.

    order: "RGB" or "BGR". mean and divisor are always in RGB order.
    """

    name: str
    order: str
    mean: tuple[float, float, float]
    divisor: tuple[float, float, float] = (1.0, 1.0, 1.0)


CAFFE = Convention("caffe", "BGR", (123.68, 116.779, 103.939))
"""Oxford's own, also Keras's `preprocess_input` and the .pth files of neural-style-pt."""

TORCHVISION = Convention("torchvision", "RGB", (255 * 0.485, 255 * 0.456, 255 * 0.406), (255 * 0.229, 255 * 0.224, 255 * 0.225))
"""RGB in 0..1, minus the mean, divided by the standard deviation."""


@dataclass(frozen=True)
class Raw:
    """The content of a file before any check.

    arrays: by name, kernels as (out, in, height, width). Names are `conv1_1.weight`, or `features.0.weight` as in torchvision, or
    `#0.weight` for the first convolution of a file that only numbers them. labels: the file's own names, for messages.
    convention and network: as the file states them; None if it does not.
    """

    arrays: Mapping[str, NDArray[np.generic]]
    labels: Mapping[str, str]
    convention: Convention | None = None
    network: str | None = None


@dataclass(frozen=True)
class _Fit:
    """A file's arrays under a network's names, and every difference from that network.

    strangers: the number of arrays that have no place in it. They count more against it than missing arrays do.
    """

    network: str
    arrays: dict[str, NDArray[np.generic]]
    strangers: int
    problems: list[str]


# The start of Oxford's published conv1_1: eight biases, and the values of the first kernel at (0, 1) and (1, 0) in red, green and blue.
# They distinguish Oxford's weights from torchvision's, VGG-16 from VGG-19, RGB from BGR and upright from transposed.
_OXFORD = {
    "vgg16": (
        (0.734298, 0.093404, 0.067757, 0.886297, 0.259945, 0.664267, -0.015829, 0.324906),
        ((0.408547, 0.310477), (0.440075, 0.345739), (0.373467, 0.274770)),
    ),
    "vgg19": (
        (0.730178, 0.064936, 0.034288, 0.826039, 0.257803, 0.548677, -0.012439, 0.347899),
        ((0.377403, 0.267130), (0.418108, 0.305112), (0.339992, 0.232159)),
    ),
}
_OXFORD_TOLERANCE = 1e-3  # includes half-precision copies


def canonical(raw: Raw, *, network: str | None = None, convention: str | None = None) -> Weights:
    """Check `raw` and convert it to the one form.

    network: needed where the file fits both VGGs. convention: "caffe" or "torchvision", needed where the guess is wrong. Raises
    WeightsFileError (without the file's name), OptionError or UnknownNameError.
    """
    if network is not None and network not in TITLES:
        raise UnknownNameError("network", network, TITLES)
    if network and raw.network not in (None, network):
        raise _other(str(raw.network), network)
    return _lite(raw) if raw.network == LITE else _vgg(raw, network or raw.network, convention)


def _lite(raw: Raw) -> Weights:
    found = {name: array.shape for name, array in raw.arrays.items()}
    expected = lite_shapes(found)
    for name, shape in expected.items():
        if found.get(name) != shape:
            raise WeightsFileError(f"is not lite: {name} has shape {found.get(name, 'nothing')}, expected {shape}")
    return Weights(LITE, {name: torch.from_numpy(_sound(name, raw.arrays[name])) for name in expected}, LITE)


def _vgg(raw: Raw, network: str | None, convention: str | None) -> Weights:
    fit = _recognize(raw, network)
    arrays = {name: _sound(name, array) for name, array in fit.arrays.items()}
    settled = _settle(raw, arrays, convention)
    kernel = arrays["conv1_1.weight"][:, :: -1 if settled.order == "BGR" else 1]
    arrays["conv1_1.weight"] = (kernel / np.array(settled.divisor).reshape(1, 3, 1, 1)).astype(np.float32)
    _turn_upright(arrays, fit.network)
    arrays["mean"] = _sound("mean", np.array(settled.mean))
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return Weights(fit.network, tensors, settled.name)


def _recognize(raw: Raw, network: str | None) -> _Fit:
    """Choose between the networks. A file that ends early can fit both; then `network` or Oxford's own weights decide."""
    fits = [_fit(raw, name) for name in DEPTHS]
    perfect = [fit for fit in fits if not fit.problems]
    for fit in perfect:
        only = len(perfect) == 1 or _is_oxford(fit.arrays["conv1_1.bias"], fit.network)
        if fit.network == network or (network is None and only):
            return fit
    if perfect and network:
        raise _other(perfect[0].network, network)
    if perfect:
        last = list(perfect[0].arrays)[-1].partition(".")[0]
        raise WeightsFileError(f"ends at {last}, up to where VGG-16 and VGG-19 are alike; name the network, vgg16 or vgg19")
    closest = min(fits, key=lambda fit: (network not in (None, fit.network), fit.strangers, len(fit.problems)))
    more = f" (and {len(closest.problems) - 1} more)" if len(closest.problems) > 1 else ""
    raise WeightsFileError(f"is not {TITLES[closest.network]}: {closest.problems[0]}{more}")


def _other(found: str, expected: str) -> WeightsFileError:
    return WeightsFileError(f"holds {TITLES[found]}, expected {TITLES[expected]}")


def _fit(raw: Raw, network: str) -> _Fit:
    shapes = convolution_shapes(network)
    own = {_own_name(name, network): name for name in raw.arrays}
    present = [i for i, conv in enumerate(shapes) if f"{conv}.weight" in own or f"{conv}.bias" in own]
    expected: dict[str, tuple[int, ...]] = {}
    for conv, kernel in itertools.islice(shapes.items(), max(present, default=0) + 1):
        expected |= {f"{conv}.weight": kernel, f"{conv}.bias": kernel[:1]}
    strangers = [f"{raw.labels[own[name]]} is not one of its convolutions" for name in own if name not in expected]
    problems = [f"{name} is missing" for name in expected if name not in own] + strangers
    for name, shape in expected.items():
        if name in own and (found := raw.arrays[own[name]].shape) != shape:
            problems.append(f"{name} ({raw.labels[own[name]]}) has shape {found}, expected {shape}")
    return _Fit(network, {name: raw.arrays[own[name]] for name in expected if name in own}, len(strangers), problems)


def _own_name(name: str, network: str) -> str:
    """Translate `features.0.weight` or `#0.weight` to `conv1_1.weight` if `network` has that convolution."""
    match = re.fullmatch(r"(features\.|#)(\d+)\.(weight|bias)", name)
    if match is None:
        return name
    names = feature_indices(network) if match[1] != "#" else dict(enumerate(convolution_shapes(network)))
    conv = names.get(int(match[2]))
    return f"{conv}.{match[3]}" if conv else name


def _sound(name: str, array: NDArray[np.generic]) -> Array:
    """Return a float32 copy, because `array` may be a memory map of the file. Raises WeightsFileError unless it is finite."""
    if not np.issubdtype(array.dtype, np.floating):
        raise WeightsFileError(f"has {array.dtype} numbers in {name}, expected floating-point numbers")
    with np.errstate(over="ignore"):  # overflow becomes infinity, which is reported below
        copy = np.array(array, dtype=np.float32, order="C")
    if bad := int(np.count_nonzero(~np.isfinite(copy))):
        raise WeightsFileError(f"has NaN or infinite values in {name} ({bad} of {copy.size}), expected finite numbers")
    return copy


def _settle(raw: Raw, arrays: Mapping[str, Array], asked: str | None) -> Convention:
    known = {"caffe": CAFFE, "torchvision": TORCHVISION}
    if asked is not None and asked not in known:
        raise OptionError(f"must be 'caffe' or 'torchvision', not {asked!r}", option="convention")
    if raw.convention is not None:
        if asked not in (None, raw.convention.name):
            raise OptionError(f"{asked!r} contradicts the file, which states {raw.convention.name!r}", option="convention")
        return raw.convention
    if asked is not None:
        return known[asked]
    # Names and shapes are the same under both conventions. torchvision's files are by far more common.
    return CAFFE if any(_is_oxford(arrays["conv1_1.bias"], network) for network in _OXFORD) else TORCHVISION


def _is_oxford(bias: NDArray[np.generic], network: str) -> bool:
    return bool(np.allclose(bias[:8], _OXFORD[network][0], rtol=0, atol=_OXFORD_TOLERANCE))


def _turn_upright(arrays: dict[str, Array], network: str) -> None:
    """Undo an exchange of red and blue, or of height and width, in Oxford's own weights, whose first kernel is known.

    Oxford's weights are published in both channel orders under the same names. Programs disagree on whether MatConvNet's kernels are
    transposed. All other weights are taken as their file states them.
    """
    if not _is_oxford(arrays["conv1_1.bias"], network):
        return
    known = np.array(_OXFORD[network][1])
    for step, axes in itertools.product((1, -1), ((0, 1, 2, 3), (0, 1, 3, 2))):
        kernel = arrays["conv1_1.weight"][:, ::step].transpose(axes)
        if np.allclose(kernel[0][:, (0, 1), (1, 0)], known, rtol=0, atol=_OXFORD_TOLERANCE):
            turned = {name: array.transpose(axes) for name, array in arrays.items() if array.ndim == 4}
            arrays |= turned | {"conv1_1.weight": kernel}
            return
