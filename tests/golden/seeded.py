"""Seeded weights and images, made with numpy only, so that TensorFlow and impasto get the same ones.

They come from numpy's legacy RandomState, whose stream never changes (NEP 19). Used by scripts/tensorflow_golden.py and by the tests.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent
PHOTO = FOLDER / "photo.png"  # 64 x 48: a part of scikit-image's "chelsea" (CC0), reduced fourfold
GOLDEN = FOLDER / "tensorflow_vgg.npz"

SEEDS = {"vgg16": 16, "vgg19": 19}
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)
# Odd sizes, so that pooling drops rows and columns.
RANDOM_SIZE = (53, 37)
# Activations are about 100; biases must be large enough that a missing one shows.
BIAS_SCALE = 5.0

Weights = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


def weights(network: str) -> Weights:
    """Kernel (height, width, in, out) and bias (out,), both float32, of every convolution by Keras's name, in order.

    The kernels are He-scaled, so that activations keep their size. Their inputs are in Keras's (Caffe's) order: blue, green, red.
    """
    stream = np.random.RandomState(SEEDS[network])
    made = {}
    inputs = 3
    for block, (depth, outputs) in enumerate(zip(DEPTHS[network], CHANNELS, strict=True), start=1):
        for i in range(1, depth + 1):
            kernel = stream.standard_normal((3, 3, inputs, outputs)) * np.sqrt(2 / (9 * inputs))
            bias = stream.standard_normal(outputs) * BIAS_SCALE
            made[f"block{block}_conv{i}"] = (kernel.astype(np.float32), bias.astype(np.float32))
            inputs = outputs
    return made


def random_picture() -> NDArray[np.uint8]:
    """A noise image, height x width x RGB."""
    return np.random.RandomState(1).randint(0, 256, (*RANDOM_SIZE, 3)).astype(np.uint8)


def positions(shape: tuple[int, int, int], layer: int, count: int = 64) -> NDArray[np.int16]:
    """`count` positions (channel, row, column) in a layer's output of shape (channels, height, width)."""
    stream = np.random.RandomState(1000 + layer)
    return np.stack([stream.randint(0, size, count) for size in shape], axis=1).astype(np.int16)


def write_h5(file: Path, made: Weights) -> None:
    """Write the weights in the format of Keras's published files (`..._tf_dim_ordering_tf_kernels_notop.h5`)."""
    import h5py

    with h5py.File(file, "w") as hdf5:
        hdf5.attrs["layer_names"] = [name.encode() for name in made]
        for name, (kernel, bias) in made.items():
            group = hdf5.create_group(name)
            group.attrs["weight_names"] = [f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()]
            group[f"{name}_W_1:0"] = kernel
            group[f"{name}_b_1:0"] = bias
