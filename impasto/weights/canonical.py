"""One form for weights from every file: which network it is, whether it is whole and sound, and which input it expects.

The same network travels under several input conventions. All of them are folded into the first convolution, so that the same
weights give the same features whatever the file: input RGB, 0..255, minus `mean`, zero padding (see `VGGWeights`).
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
from impasto.weights.networks import DEPTHS, LITE, VGGWeights, convolution_shapes, feature_indices, lite_shapes, title

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Convention:
    """What a network takes: `(x - mean) / divisor` per channel, x being RGB in 0..255, in the given channel order.

    mean and divisor are in RGB order whatever `order` ("RGB" or "BGR") is.
    """

    name: str
    order: str
    mean: tuple[float, float, float]
    divisor: tuple[float, float, float] = (1.0, 1.0, 1.0)


CAFFE = Convention("caffe", "BGR", (123.68, 116.779, 103.939))
"""Oxford's own; Keras's `preprocess_input`, and the .pth files of neural-style-pt."""

TORCHVISION = Convention(
    "torchvision",
    "RGB",
    (255 * 0.485, 255 * 0.456, 255 * 0.406),
    (255 * 0.229, 255 * 0.224, 255 * 0.225),
)
"""torchvision's: RGB in 0..1, minus the mean, over the standard deviation."""

CONVENTIONS = {known.name: known for known in (CAFFE, TORCHVISION)}
"""What a caller may say of a file that does not say it itself."""


@dataclass(frozen=True)
class Raw:
    """What a file holds, before anything is checked.

    arrays: by name, kernels as (out, in, height, width). Names are `conv1_1.weight`, or `features.0.weight` as in torchvision,
    or `#0.weight` for the first convolution of a file that only orders them. labels: the file's own names, for messages.
    convention and network: what the file says of itself, if it does.
    """

    arrays: Mapping[str, NDArray[np.generic]]
    labels: Mapping[str, str]
    convention: Convention | None = None
    network: str | None = None


@dataclass(frozen=True)
class _Fit:
    """A file's arrays under a network's names, and in what they are not that network.

    strangers: how many arrays have no place in it; they tell more against it than a gap does.
    """

    network: str
    arrays: dict[str, NDArray[np.generic]]
    strangers: int
    problems: list[str]


# The start of Oxford's published conv1_1: eight biases, and of the first kernel the values at (0, 1) and (1, 0) in red, green
# and blue. They tell Oxford's weights from torchvision's, VGG-16 from VGG-19, RGB from BGR and upright from transposed.
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
_OXFORD_TOLERANCE = 1e-3  # half-precision copies are Oxford's too


def canonical(raw: Raw, *, network: str | None = None, convention: str | None = None) -> VGGWeights:
    """Check `raw` and bring it into the one form.

    network ("vgg16", "vgg19") is needed where the file fits both, convention ("caffe", "torchvision") where a guess is not good
    enough. Raises WeightsFileError (without the file's name), OptionError or UnknownNameError.
    """
    if network is not None and network not in (*DEPTHS, LITE):
        raise UnknownNameError("network", network, DEPTHS)
    if LITE in (network, raw.network):
        return _lite(raw, network)
    fit = _recognise(raw, network)
    arrays = {name: _sound(name, array) for name, array in fit.arrays.items()}
    settled = _settle(raw, arrays, convention)
    arrays["conv1_1.weight"] = _fold(arrays["conv1_1.weight"], settled)
    _turn_upright(arrays, fit.network)
    arrays["mean"] = _sound("mean", np.array(settled.mean))
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return VGGWeights(fit.network, tensors, settled.name)


def _recognise(raw: Raw, asked: str | None) -> _Fit:
    fits = [_fit(raw, network) for network in DEPTHS]
    perfect = {fit.network: fit for fit in fits if not fit.problems}
    said = asked or raw.network
    if asked and raw.network and asked != raw.network:
        raise WeightsFileError(f"holds {title(raw.network)}; {title(asked)} was expected")
    if said and perfect and said not in perfect:
        raise WeightsFileError(f"holds {title(next(iter(perfect)))}; {title(said)} was expected")
    if perfect:
        return _choose(list(perfect.values()), said)
    closest = min(fits, key=lambda fit: (said not in (None, fit.network), fit.strangers, len(fit.problems)))
    more = f" (and {len(closest.problems) - 1} more)" if len(closest.problems) > 1 else ""
    raise WeightsFileError(f"is not {title(closest.network)}: {closest.problems[0]}{more}")


def _lite(raw: Raw, asked: str | None) -> VGGWeights:
    if asked not in (None, raw.network):
        raise WeightsFileError(f"holds {title(raw.network or 'another network')}; {title(str(asked))} was expected")
    found = {name: array.shape for name, array in raw.arrays.items()}
    expected = lite_shapes(found)
    for name, shape in expected.items():
        if found.get(name) != shape:
            raise WeightsFileError(f"is not lite: {name} has shape {found.get(name, 'nothing')}, expected {shape}")
    tensors = {name: torch.from_numpy(_sound(name, raw.arrays[name])) for name in expected}
    return VGGWeights(LITE, tensors, LITE)


def _choose(fits: list[_Fit], said: str | None) -> _Fit:
    """Decide between the networks that fit: both do if the file ends before they part."""
    if len(fits) == 1:
        return fits[0]
    bias = fits[0].arrays["conv1_1.bias"]
    for fit in fits:
        if fit.network == said or (said is None and _is_oxford(bias, fit.network)):
            return fit
    last = list(fits[0].arrays)[-1].partition(".")[0]
    raise WeightsFileError(f"ends at {last}, up to where VGG-16 and VGG-19 look alike; say which it is, vgg16 or vgg19")


def _fit(raw: Raw, network: str) -> _Fit:
    shapes = convolution_shapes(network)
    own = {_own_name(name, network): name for name in raw.arrays}
    present = [i for i, conv in enumerate(shapes) if f"{conv}.weight" in own or f"{conv}.bias" in own]
    expected: dict[str, tuple[int, ...]] = {}
    for conv, kernel in itertools.islice(shapes.items(), max(present, default=0) + 1):
        expected |= {f"{conv}.weight": kernel, f"{conv}.bias": kernel[:1]}
    strangers = [f"{raw.labels[own[name]]} is none of its convolutions" for name in own if name not in expected]
    problems = [f"{name} is missing" for name in expected if name not in own] + strangers
    for name, shape in expected.items():
        if name in own and raw.arrays[own[name]].shape != shape:
            problems.append(f"{_label(raw, own[name], name)} has shape {raw.arrays[own[name]].shape}, expected {shape}")
    return _Fit(network, {name: raw.arrays[own[name]] for name in expected if name in own}, len(strangers), problems)


def _own_name(name: str, network: str) -> str:
    """Translate `features.0.weight` and `#0.weight` into `conv1_1.weight`, as far as `network` has such a convolution."""
    match = re.fullmatch(r"(features\.|#)(\d+)\.(weight|bias)", name)
    if match is None:
        return name
    names = feature_indices(network) if match[1] != "#" else dict(enumerate(convolution_shapes(network)))
    conv = names.get(int(match[2]))
    return f"{conv}.{match[3]}" if conv else name


def _label(raw: Raw, name: str, canonical_name: str) -> str:
    label = raw.labels[name]
    return canonical_name if label == canonical_name else f"{canonical_name} ({label})"


def _sound(name: str, array: NDArray[np.generic]) -> Array:
    """Return a float32 copy: what was read may live in a file's memory map."""
    if not np.issubdtype(array.dtype, np.floating):
        raise WeightsFileError(f"has {array.dtype} numbers in {name}, expected floating-point numbers")
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is reported as such
        copy = np.array(array, dtype=np.float32, order="C")
    bad = int(np.count_nonzero(~np.isfinite(copy)))
    if bad:
        raise WeightsFileError(f"has NaN or infinite values in {name} ({bad} of {copy.size}), expected finite numbers")
    return copy


def _settle(raw: Raw, arrays: Mapping[str, Array], asked: str | None) -> Convention:
    if asked is not None and asked not in CONVENTIONS:
        raise OptionError(f"convention must be 'caffe' or 'torchvision', not {asked!r}")
    if raw.convention is not None:
        if asked not in (None, raw.convention.name):
            raise OptionError(f"convention={asked!r} contradicts the file, which is {raw.convention.name!r}")
        return raw.convention
    if asked is not None:
        return CONVENTIONS[asked]
    # Names and shapes are the same under both conventions; torchvision's is by far the more common file.
    return CAFFE if any(_is_oxford(arrays["conv1_1.bias"], network) for network in _OXFORD) else TORCHVISION


def _fold(kernel: Array, convention: Convention) -> Array:
    """Fold channel order and divisor into the first convolution's weight (out, in, height, width)."""
    if convention.order == "BGR":
        kernel = kernel[:, ::-1]
    divisor = np.array(convention.divisor).reshape(1, 3, 1, 1)
    folded: Array = (kernel / divisor).astype(np.float32)
    return folded


def _is_oxford(bias: NDArray[np.generic], network: str) -> bool:
    return bool(np.allclose(bias[:8], _OXFORD[network][0], rtol=0, atol=_OXFORD_TOLERANCE))


def _turn_upright(arrays: dict[str, Array], network: str) -> None:
    """Undo an exchange of red and blue, or of height and width, in Oxford's own weights, whose first kernel is known.

    Oxford's weights circulate in both channel orders under the same names, and programs disagree on whether MatConvNet's
    kernels are transposed. Weights that are not Oxford's are taken at their file's word.
    """
    if network not in _OXFORD or not _is_oxford(arrays["conv1_1.bias"], network):
        return
    known = np.array(_OXFORD[network][1])
    for flip, transpose in itertools.product((False, True), repeat=2):
        kernel = arrays["conv1_1.weight"][:, :: -1 if flip else 1]
        kernel = kernel.swapaxes(2, 3) if transpose else kernel
        if np.allclose(kernel[0][:, (0, 1), (1, 0)], known, rtol=0, atol=_OXFORD_TOLERANCE):
            break
    else:
        return
    arrays["conv1_1.weight"] = arrays["conv1_1.weight"][:, :: -1 if flip else 1]
    for name in arrays if transpose else ():
        if name.endswith(".weight"):
            arrays[name] = arrays[name].swapaxes(2, 3)
