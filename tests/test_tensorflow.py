"""Parity with TensorFlow: same weights, same pictures, same activations as tf.keras.applications.VGG16 and VGG19.

The recorded answers of a real TensorFlow (scripts/tensorflow_golden.py) are compared with always. Where a live one has just answered,
in the folder named by IMPASTO_TENSORFLOW (.ci/run does that), its answers and its own weight files are compared with too.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import seeded
from PIL import Image

from impasto import weights
from impasto.encoders import VGG

LIVE = os.environ.get("IMPASTO_TENSORFLOW")
ANSWERS = [seeded.GOLDEN, *([Path(LIVE) / "live.npz"] if LIVE else [])]
RELATIVE = 1e-4


@pytest.fixture(scope="module")
def seeded_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("seeded")
    for network in seeded.DEPTHS:
        seeded.write_h5(folder / f"{network}.h5", seeded.weights(network))
    return {network: folder / f"{network}.h5" for network in seeded.DEPTHS}


def pictures() -> dict[str, torch.Tensor]:
    arrays = {"random": seeded.random_picture(), "photo": np.asarray(Image.open(seeded.PHOTO).convert("RGB"))}
    return {name: torch.from_numpy(array / np.float32(255)).permute(2, 0, 1)[None] for name, array in arrays.items()}


def check(file: Path, network: str, answers: Path) -> None:
    found = weights.load(file, network=network)
    with np.load(answers) as golden:
        taps = [str(tap) for tap in golden[f"{network}.taps"]]
        encoder = VGG(network, found.tensors, taps, pooling="max", padding="zero")
        for name, picture in pictures().items():
            features = encoder(picture)
            for layer, tap in enumerate(taps):
                ours = features[tap][0].double().numpy()
                assert ours.shape == tuple(golden[f"{network}.{name}.shapes"][layer]), tap
                norm = golden[f"{network}.{name}.norm"][layer]
                channel, row, column = golden[f"{network}.{name}.positions"][layer].T
                theirs = golden[f"{network}.{name}.values"][layer]
                scale = np.abs(theirs).max()
                assert np.abs(ours[channel, row, column] - theirs).max() <= RELATIVE * scale, tap
                assert np.linalg.norm(ours) == pytest.approx(norm, rel=RELATIVE), tap
                assert ours.mean() == pytest.approx(golden[f"{network}.{name}.mean"][layer], rel=RELATIVE), tap


@pytest.mark.parametrize("answers", ANSWERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
def test_every_tap_equals_tensorflow(seeded_files: dict[str, Path], network: str, answers: Path) -> None:
    check(seeded_files[network], network, answers)


if LIVE:

    @pytest.mark.parametrize("file", sorted((Path(LIVE) / "h5").iterdir()), ids=lambda path: path.name)
    def test_files_written_by_a_live_keras_give_the_same_taps(file: Path) -> None:
        check(file, file.name.partition(".")[0], Path(str(LIVE)) / "live.npz")


def test_a_wrong_weight_would_be_seen(seeded_files: dict[str, Path], tmp_path: Path) -> None:
    made = seeded.weights("vgg16")
    made["block2_conv1"][1][0] += 1
    seeded.write_h5(tmp_path / "vgg16.h5", made)
    with pytest.raises(AssertionError, match="relu2_1"):
        check(tmp_path / "vgg16.h5", "vgg16", seeded.GOLDEN)
