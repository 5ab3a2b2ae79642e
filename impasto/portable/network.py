"""The network of quality "instant", run by ONNX Runtime: its graphs are parts of the painter (`impasto.fast.graphs`)."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from impasto.errors import ImpastoError, MemoryLimitError, RunError, WeightsFileError
from impasto.extras import threads
from impasto.files import one_line
from impasto.ladder import Size
from impasto.portable.card import FILE, REMEDY

Floats: TypeAlias = npt.NDArray[np.float32]

GRAPHS = ("resize", "moments", "modulation", "level", "finish")  # in impasto/assets/instant-NAME.onnx
KEPT = {"relu1_1": 16, "relu2_1": 32, "relu3_1": 48, "relu4_1": 64, "relu5_1": 32}  # directions of each tap of lite
MODULATION = 2206  # values: what a style makes of the network
PALETTE = (7, 256)  # shape of a painting's colors
TAPS = tuple(KEPT)
SEEN = TAPS[:4]  # taps of which a level takes the style's moments
ERRORS = 3  # the level of what ONNX Runtime logs


@cache
def _session(name: str) -> Any:
    import onnxruntime  # takes a quarter of a second: not before it is needed

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS
    options.intra_op_num_threads = threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait leave the cores to others
    # optimizing takes longer than it saves for an image
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    path = FILE.with_name(f"instant-{name}.onnx")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a class for each of its status codes, without a base class
        raise WeightsFileError(f"{path.name} or its weights cannot be read: {one_line(str(error))}", remedy=REMEDY) from error


def run(name: str, **inputs: npt.ArrayLike) -> list[Floats]:
    """The outputs of a graph, in order. Raises WeightsFileError, MemoryLimitError and RunError."""
    session = _session(name)
    arrays = {key: np.asarray(value, np.int64 if key == "size" else np.float32) for key, value in inputs.items()}
    try:
        found: list[Floats] = session.run(None, arrays)
    except Exception as error:  # as above
        raise _worded(error) from error
    return found


def planes(color: Floats) -> Floats:
    """HxWx3 as 1x3xHxW."""
    return np.ascontiguousarray(color.transpose(2, 0, 1))[None]


def resized(image: Floats, size: Size) -> Floats:
    """An image, 1x3xHxW in 0..1, at (height, width): antialiased bicubic, as `pictures.resize`."""
    return image if image.shape[2:] == tuple(size) else run("resize", image=image, size=size)[0]


def _worded(error: Exception) -> ImpastoError:
    text = one_line(str(error))
    if isinstance(error, MemoryError) or "alloc" in text.lower():
        return MemoryLimitError("the image does not fit into memory at this size", remedy="use a smaller {size}")
    return RunError(f"ONNX Runtime failed: {text}")
