"""Small training data: a few images, and teachers of the real shapes with random weights."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from training import teachers

_TINY = "--widths 4,4/6,6/8,8,8/8,8/8,8 --batch 4 --crop 32 --held-out 2 --rate 0.005 --warmup 4 --pool 3 --pool-visits 4"
TINY = _TINY.split(" ")
"""Arguments for a network and crops that train in milliseconds per step."""
HEADS = ["--heads-at", "0", "2", "3", "2", "2"]
"""Arguments for the positions of its heads."""


@dataclass(frozen=True)
class World:
    """Paths of the images and the teachers."""

    photos: Path
    paintings: Path  # a tar
    teachers: Path

    @property
    def sources(self) -> list[str]:
        """Arguments that name them."""
        return ["--photos", str(self.photos), "--paintings", str(self.paintings), "--teachers", str(self.teachers)]


def jpeg(seed: int, size: tuple[int, int] = (80, 64)) -> bytes:
    """A seeded gradient with stripes and noise."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    ramps = [a * x + b * y for a, b in rng.uniform(-1, 1, (3, 2))]
    stripes = 0.3 * np.sin(x * rng.uniform(5, 60) + y * rng.uniform(5, 60))[..., None]
    pixels = 0.5 + np.stack(ramps, -1) / 2 + stripes + rng.normal(0, 0.05, (*size[::-1], 3))
    data = io.BytesIO()
    Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8)).save(data, "JPEG", quality=90)
    return data.getvalue()


def write_tar(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Seeded random weights that keep activations at a moderate size."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        scale = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) == 4 else 0.1
        tensors[name] = scale * torch.randn(shape, generator=generator)
    return tensors


def write_teachers(folder: Path) -> None:
    folder.mkdir()
    exact = random_weights(teachers._exact_shapes(), 1) | {
        "pre.weight": 2 * torch.eye(3)[[2, 1, 0], :, None, None],
        "pre.bias": -torch.ones(3),
    }
    distilled = random_weights(teachers._distilled_shapes(), 2) | {
        "conv0.weight": torch.eye(3)[..., None, None],
        "conv0.bias": -torch.ones(3) / 2,
    }
    save_file(exact, folder / teachers.EXACT)
    save_file(distilled, folder / teachers.DISTILLED)


def build(root: Path) -> World:
    """Write eight photographs to a folder, seven paintings to a tar file, and the teachers."""
    photos = root / "photos"
    photos.mkdir()
    for i in range(8):
        (photos / f"{i:02}.jpg").write_bytes(jpeg(i))
    write_tar(root / "paintings.tar", {f"paintings/{i:02}.jpg": jpeg(100 + i, (64, 64)) for i in range(7)})
    write_teachers(root / "teachers")
    return World(photos, root / "paintings.tar", root / "teachers")
