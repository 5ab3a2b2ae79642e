"""Arrays and tensors as images: which are accepted, and their values as floats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from impasto.pictures.faults import RefusedError, check_size
from impasto.pictures.spaces import BYTE, WORD, Floats

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = npt.NDArray[Any]

ROUNDING = 1e-3  # how far floats may lie outside [0, 1]: resampling and half precision cause less


def from_array(array: Array, max_pixels: int, *, channels: tuple[int, ...] = (1, 3, 4)) -> Floats:
    """HxWxC float32 in [0, 1], C one of `channels`, from HxW or HxWxC of uint8, uint16, bool or float. Always a copy.

    Raises RefusedError.
    """
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise RefusedError("an array must not have masked values")
    array = np.asarray(array)  # a np.matrix has two dimensions whatever is done to it
    layered = array[..., None] if array.ndim == 2 else array
    if layered.ndim != 3 or layered.shape[2] not in channels:
        raise RefusedError(f"an array must be HxW, HxWx1, HxWx3 or HxWx4, not {_shape(array.shape)}")
    check_size(layered.shape[:2], max_pixels)
    if layered.dtype.kind == "u" and layered.dtype.itemsize == 2:
        return words_to_floats(layered)
    return _unit_floats(layered)


def from_tensor(tensor: Tensor, max_pixels: int) -> Floats:
    """HxWx3 float32 in [0, 1] from 3xHxW or 1x3xHxW floats. Always a copy. Raises RefusedError."""
    import torch  # here: whoever has a tensor has torch

    if tensor.is_nested:
        raise RefusedError("a tensor must not be nested")
    shape = tuple(tensor.shape)
    if not (shape[-3:-2] == (3,) and (len(shape) == 3 or (len(shape) == 4 and shape[0] == 1))):
        raise RefusedError(f"a tensor must be 3xHxW or 1x3xHxW, not {_shape(shape)}")
    if not tensor.is_floating_point():
        raise RefusedError(f"a tensor must hold floats in [0, 1], not {str(tensor.dtype).removeprefix('torch.')}")
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        kind = "on device meta" if tensor.device.type == "meta" else str(tensor.layout).removeprefix("torch.")
        raise RefusedError(f"a tensor must be dense and hold values, not {kind}")
    check_size(shape[-2:], max_pixels)
    values = tensor.detach().to("cpu", torch.float32).reshape(shape[-3:])
    return _unit_floats(values.numpy().transpose(1, 2, 0))


def words_to_floats(words: Array) -> Floats:
    """Integers of 16 bits as float32 in [0, 1]. Where none exceeds 255 they are bytes, which programs store like that."""
    return words.astype(np.float32) / np.float32(BYTE if words.size and words.max() <= BYTE else WORD)


def labels_of(values: Array, bits: int = 8, mode: str = "") -> npt.NDArray[np.int32] | None:
    """The numbers of a single channel as they are stored; None for floats and for several channels.

    bits: per sample in the file. mode: of the PIL image; in mode L Pillow scales fewer than 8 bits to 8.
    """
    values = np.asarray(values)
    values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    if values.ndim != 2 or values.dtype.kind not in "bui":
        return None
    scale = BYTE // (2**bits - 1) if mode == "L" and bits < 8 else 1
    return values.astype(np.int32) // scale  # undoes what Pillow multiplied grays of 1, 2 and 4 bits by


def _unit_floats(array: Array) -> Floats:
    if array.dtype == np.bool_:
        return array.astype(np.float32)
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(BYTE)
    if array.dtype.kind != "f":
        raise RefusedError(f"an array must hold uint8, uint16, bool or float, not {array.dtype}")
    with np.errstate(invalid="ignore"):
        low, high = float(array.min()), float(array.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # also true of NaN
        raise RefusedError(f"floats must be finite and lie in [0, 1], and reach from {low:.7g} to {high:.7g}")
    return np.clip(array, 0, 1).astype(np.float32)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
