"""Optical flow between frames, which of it can be relied on, and warping by it.

A flow holds for every pixel how far it is from there, in pixels, to the same point of the scene in another frame: HxWx2 float32, x
then y. Pixel centers have whole coordinates. Flow is found by dense inverse search (Kroeger et al. 2016) from OpenCV, which needs no
weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor, from_numpy

from impasto.errors import UsageError

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

LONGEST = 512  # pixels: longer side at which flow is found; that of larger frames is enlarged
SMALLEST = 12  # pixels: side of the smallest frames whose flow is found
BLUR = 0.8  # pixels: deviation of the Gaussian that widens what cannot be relied on


def opencv() -> Any:
    """The module. Raises UsageError if the extra is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise UsageError("videos need the video extra: pip install 'impasto[video]'") from error
    return cv2


@dataclass(frozen=True)
class Motion:
    """How the scene moved between two frames, as the later one sees it.

    back: flow from the later frame to the earlier one; reliable: HxW float32, 0..1, where that can be relied on. ahead: flow from the
    earlier frame to the later one; ahead_reliable: the same for the earlier one's pixels.
    """

    back: Floats
    reliable: Floats
    ahead: Floats
    ahead_reliable: Floats


def gray(pixels: Tensor) -> Any:
    """HxW uint8 of a frame's 1x3xHxW pixels in 0..1: what flow is found on, LONGEST pixels at most."""
    cv2 = opencv()
    image = cv2.cvtColor(pixels[0].permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2GRAY)
    height, width = image.shape
    share = LONGEST / max(height, width)
    if share < 1:
        size = max(1, round(width * share)), max(1, round(height * share))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def motion(earlier: Any, later: Any, size: tuple[int, int]) -> Motion:
    """The motion between two frames from their `gray` images, for frames of (height, width)."""
    with _one_thread(), ThreadPoolExecutor(2) as pool:
        ahead, back = pool.map(_flow, (earlier, later), (later, earlier))
    reliable, ahead_reliable = reliability(back, ahead), reliability(ahead, back)
    return Motion(_enlarged(back, size), _sized(reliable, size), _enlarged(ahead, size), _sized(ahead_reliable, size))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let OpenCV use one thread. Its search divides an image among threads as they are free, and the flow depends on that."""
    cv2 = opencv()
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _flow(start: Any, end: Any) -> Floats:
    cv2 = opencv()
    if min(start.shape) < SMALLEST:  # the search needs patches at several sizes
        return np.zeros((*start.shape, 2), np.float32)
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found: Floats = search.calc(start, end, None)
    return found


def _sized(values: Floats, size: tuple[int, int]) -> Floats:
    if values.shape[:2] == size:
        return values
    cv2 = opencv()
    found: Floats = cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
    return found


def _enlarged(flow: Floats, size: tuple[int, int]) -> Floats:
    scale = np.array([size[1] / flow.shape[1], size[0] / flow.shape[0]], np.float32)
    return _sized(flow, size) * scale


def reliability(flow: Floats, back: Floats) -> Floats:
    """Where a flow can be relied on: HxW float32, 0..1 (Ruder, Dosovitskiy and Brox 2016, "Artistic style transfer for videos").

    back: the flow of the other direction. A pixel is occluded, or its flow is wrong, if the way there and back misses it by more than
    0.01 (|w|^2 + |w'|^2) + 0.5 (squared pixels). At the borders of motion, where the squared gradient of the flow exceeds
    0.01 |w|^2 + 0.002, flow is inexact.
    """
    cv2 = opencv()
    there = coordinates(flow)
    returned = cv2.remap(back, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    length, other = (flow**2).sum(-1), (returned**2).sum(-1)
    missed = ((flow + returned) ** 2).sum(-1)
    down, right = np.gradient(flow, axis=0), np.gradient(flow, axis=1)
    steep = (down**2).sum(-1) + (right**2).sum(-1)
    found = np.where(steep > 0.01 * length + 0.002, 0.0, 1.0).astype(np.float32)
    # occlusions count below 0, so that the blur widens them
    found[(inside(there) == 0) | (missed >= 0.01 * (length + other) + 0.5)] = -1
    widened: Floats = np.clip(cv2.GaussianBlur(found, (0, 0), BLUR), 0, 1)
    return widened


def inside(there: Floats) -> Floats:
    """Where coordinates, HxWx2, are in the image: HxW, 1 or 0."""
    height, width = there.shape[:2]
    last = np.array([width - 1, height - 1], np.float32)
    found: Floats = np.all((there >= 0) & (there <= last), axis=-1).astype(np.float32)
    return found


def coordinates(flow: Floats) -> Floats:
    """Where every pixel comes from, HxWx2: its own place plus its flow."""
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    found: Floats = flow + np.stack([columns, rows], axis=-1)
    return found


def warped(image: Tensor, there: Floats) -> Tensor:
    """An image as another frame sees it: every pixel is taken from its place there, bicubic.

    image: 1xCxHxW; there: `coordinates`. Places outside the image take its border. Returns the same shape.
    """
    cv2 = opencv()
    values = image[0].permute(1, 2, 0).contiguous().numpy()
    found = cv2.remap(values, there, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return from_numpy(found.reshape(*found.shape[:2], -1)).permute(2, 0, 1)[None].contiguous()


def blurred(image: Tensor, deviation: float) -> Tensor:
    """1xCxHxW blurred by a Gaussian, in pixels."""
    found = opencv().GaussianBlur(image[0].permute(1, 2, 0).contiguous().numpy(), (0, 0), deviation)
    return from_numpy(found.reshape(*found.shape[:2], -1)).permute(2, 0, 1)[None]
