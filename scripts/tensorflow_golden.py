"""Record the features of TensorFlow's VGG-16 and VGG-19 for tests/test_tensorflow.py.

    python scripts/tensorflow_golden.py [--out FILE] [--h5 FOLDER]

Needs TensorFlow, Pillow and h5py, but neither impasto nor torch. `tf.keras.applications.VGG16` and `VGG19` without classifier get the
seeded random weights of tests/golden/seeded.py. Two images pass through their `preprocess_input`: "random", noise of odd size, and
"photo", tests/golden/photo.png.

The file, tests/golden/tensorflow_vgg.npz by default, contains for NETWORK in vgg16, vgg19 and PICTURE in random, photo:

| array | shape | dtype | content |
|---|---|---|---|
| versions | (2,) | str | versions of TensorFlow and Keras |
| NETWORK.taps | (L,) | str | relu1_1, relu1_2, pool1, ... in order: every convolution after its ReLU, every pooling |
| NETWORK.PICTURE.shapes | (L, 3) | int16 | channels, height, width of each tap |
| NETWORK.PICTURE.positions | (L, 64, 3) | int16 | channel, row, column of the recorded values |
| NETWORK.PICTURE.values | (L, 64) | float32 | values at these positions |
| NETWORK.PICTURE.mean | (L,) | float64 | mean over the whole tap |
| NETWORK.PICTURE.norm | (L,) | float64 | L2 norm of the whole tap |

--h5 FOLDER also writes the weights in Keras's formats: NETWORK.weights.h5 (Keras 3), NETWORK.legacy.h5 and NETWORK.keras.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "golden"))

import seeded

NETWORKS = ("vgg16", "vgg19")


def build(network: str) -> Any:
    """The Keras model with the seeded weights."""
    from tensorflow import keras

    make = {"vgg16": keras.applications.VGG16, "vgg19": keras.applications.VGG19}[network]
    model = make(include_top=False, weights=None, input_shape=(None, None, 3))
    for name, pair in seeded.weights(network).items():
        model.get_layer(name).set_weights(pair)
    return model


def preprocess(network: str, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Apply the network's `preprocess_input`. Returns 1 x height x width x BGR."""
    from tensorflow import keras

    module = {"vgg16": keras.applications.vgg16, "vgg19": keras.applications.vgg19}[network]
    prepared: NDArray[np.float32] = module.preprocess_input(picture[None].astype(np.float32))
    return prepared


def tap_name(layer: str) -> str:
    """`relu1_2` for Keras's block1_conv2 (which includes the ReLU), `pool1` for block1_pool."""
    block, part = layer.removeprefix("block").split("_")
    return f"pool{block}" if part == "pool" else f"relu{block}_{part.removeprefix('conv')}"


def record(network: str, pictures: dict[str, NDArray[np.uint8]]) -> dict[str, NDArray[Any]]:
    """Run the network on the images. Returns its arrays of the file."""
    from tensorflow import keras

    model = build(network)
    layers = [layer for layer in model.layers if layer.name.startswith("block")]
    every = keras.Model(model.input, [layer.output for layer in layers])
    arrays: dict[str, NDArray[Any]] = {f"{network}.taps": np.array([tap_name(layer.name) for layer in layers])}
    for title, picture in pictures.items():
        outputs = [np.asarray(output)[0].transpose(2, 0, 1) for output in every(preprocess(network, picture))]
        for key, array in summarize(outputs).items():
            arrays[f"{network}.{title}.{key}"] = array
    return arrays


def summarize(outputs: list[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
    """The shapes, sampled values, means and norms of taps (channels, height, width)."""
    places = [seeded.positions(output.shape, layer) for layer, output in enumerate(outputs)]
    exact = [output.astype(np.float64) for output in outputs]
    return {
        "shapes": np.array([output.shape for output in outputs], dtype=np.int16),
        "positions": np.stack(places),
        "values": np.stack([output[tuple(place.T)] for output, place in zip(outputs, places, strict=True)]),
        "mean": np.array([output.mean() for output in exact]),
        "norm": np.array([np.linalg.norm(output) for output in exact]),
    }


def write_weights(folder: Path) -> None:
    """Write the seeded weights in every format that this Keras supports."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    folder.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        model = build(network)
        model.save_weights(folder / f"{network}.weights.h5")
        model.save(folder / f"{network}.keras")
        with h5py.File(folder / f"{network}.legacy.h5", "w") as hdf5:
            legacy_h5_format.save_weights_to_hdf5_group(hdf5, model)


def main() -> None:
    """Read the arguments and write the files."""
    import tensorflow as tf
    from PIL import Image

    parser = argparse.ArgumentParser(description="Record the features of TensorFlow's VGG-16 and VGG-19.")
    parser.add_argument("--out", type=Path, default=seeded.GOLDEN, help="the file to write (default: %(default)s)")
    parser.add_argument("--h5", type=Path, metavar="FOLDER", help="also write the weights as Keras files to this folder")
    arguments = parser.parse_args()
    pictures = {"random": seeded.random_picture(), "photo": np.asarray(Image.open(seeded.PHOTO).convert("RGB"))}
    arrays: dict[str, NDArray[Any]] = {"versions": np.array([tf.__version__, tf.keras.__version__])}
    for network in NETWORKS:
        arrays |= record(network, pictures)
    np.savez_compressed(arguments.out, **arrays)
    print(f"wrote {arguments.out} ({arguments.out.stat().st_size} bytes, TensorFlow {tf.__version__})")
    if arguments.h5:
        write_weights(arguments.h5)


if __name__ == "__main__":
    main()
