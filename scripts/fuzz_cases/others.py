"""Valid files that are not images: styles, records, saved states, weights. Made by the package itself, by torch, h5py and scipy."""

from __future__ import annotations

import functools
import io
import itertools
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fuzz_cases import ROOT, images, records

PHOTO, PAINTING, MASK, OUT = "photo.png", "painting.png", "mask.png", "out.png"
STATE = f"{OUT}.unfinished"
PAINT = {"size": 32, "iterations": 3, "device": "cpu"}
RECORDED = (".png", ".jpg", ".webp", ".tif")


@functools.cache
def basic() -> dict[str, bytes]:
    """What every command line finds in its folder."""
    half = np.zeros((images.HEIGHT, images.WIDTH), np.uint8)
    half[:, : images.WIDTH // 2] = 255
    return {
        PHOTO: images.encoded(images.image(), "png"),
        PAINTING: images.encoded(images.image(seed=2), "png"),
        MASK: images.encoded(Image.fromarray(half), "png"),
    }


@contextmanager
def _inside_a_folder() -> Iterator[Path]:
    """Work in a folder that holds the basic files."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="impasto-fuzz-") as name:
        for file, content in basic().items():
            Path(name, file).write_bytes(content)
        os.chdir(name)
        try:
            yield Path(name).resolve()
        finally:
            os.chdir(here)


def _job(output: str, **options: Any) -> Any:
    from impasto import jobs
    from impasto.inputs import Inputs
    from impasto.options import Options

    return jobs.Job(Inputs(PHOTO, (PAINTING,)), Options(**PAINT | options), jobs.Output(path=Path(output)))


def job() -> Any:
    """A job as JSON."""
    with _inside_a_folder() as folder:
        stored = _job(OUT, strength=0.7, blend=(1.0,)).to_json()
    return json.loads(json.dumps(stored).replace(f"{folder}/", ""))


@functools.cache
def fields(kind: str) -> tuple[str, ...]:
    """The names of the values of Options or Output, and one that is none."""
    from impasto import jobs
    from impasto.options import Options

    return (*(Options if kind == "Options" else jobs.Output).model_fields, "strenght")


@functools.cache
def settings() -> str:
    """The settings that a painted image holds, as JSON."""
    from impasto import jobs, pictures

    with _inside_a_folder():
        for _ in jobs.run(_job(OUT)):
            pass
        return json.dumps(pictures.read_settings(OUT))


def recorded(text: str, suffix: str) -> bytes:
    """An image with settings, whatever their text."""
    tags = Image.Exif()
    tags[0x0131] = "impasto"
    comment = b"ASCII\0\0\0" + text.encode("utf-8", "surrogatepass")
    encoding = {".jpg": "jpeg", ".tif": "tiff"}.get(suffix, suffix[1:])
    if encoding == "tiff":
        return images.encoded(images.image(), encoding, tiffinfo={0x0131: "impasto", 0x9286: comment})
    tags[0x8769] = {0x9286: comment[:65_000]}
    return images.encoded(images.image(), encoding, exif=tags)


@functools.cache
def states() -> tuple[bytes, ...]:
    """States after the first step of runs, with inputs and outputs in the current folder."""
    from impasto import jobs

    made = []
    before = os.environ.get("IMPASTO_SAVE_EVERY")
    os.environ["IMPASTO_SAVE_EVERY"] = "0"
    try:
        for options in ({}, {"size": 40, "iterations": 8, "init": "noise"}):
            with _inside_a_folder() as folder:
                events = jobs.run(_job(OUT, **options))
                for _ in itertools.takewhile(lambda event: not isinstance(event, jobs.Progress), events):
                    pass
                next(events)
                events.close()  # type: ignore[attr-defined]  # a generator
                made.append(_without_folder(Path(STATE).read_bytes(), folder))
    finally:
        os.environ.pop("IMPASTO_SAVE_EVERY")
        os.environ.update({} if before is None else {"IMPASTO_SAVE_EVERY": before})
    return tuple(made)


def _without_folder(state: bytes, folder: Path) -> bytes:
    header, rest = records.split(state)
    header = header.replace(f"{folder}/".encode(), b"")
    return records.sealed(records.joined(header + b" " * (-len(header) % 8), rest))


@functools.cache
def styles() -> tuple[bytes, ...]:
    """The two smallest that come with the package."""
    folder = ROOT / "impasto" / "assets" / "styles"
    small = sorted(folder.glob("*.style"), key=lambda file: file.stat().st_size)[:2]
    return tuple(file.read_bytes() for file in small)


@functools.cache
def network() -> bytes:
    """The network of quality instant."""
    return (ROOT / "impasto" / "assets" / "instant.safetensors").read_bytes()


# --------------------------------------------------------------------------------------------------------------- weights


def _vgg() -> dict[str, Any]:
    """VGG to the end of its first block, in torchvision's names."""
    rng = np.random.default_rng(5)
    shapes = {"features.0": (64, 3, 3, 3), "features.2": (64, 64, 3, 3)}
    found: dict[str, Any] = {}
    for name, shape in shapes.items():
        found[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32)
        found[f"{name}.bias"] = rng.normal(size=shape[:1]).astype(np.float32)
    return found


def _saved_by_torch(**options: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in _vgg().items()}, file, **options)
    return file.getvalue()


def keras() -> bytes:
    """Weights in HDF5, as older versions of Keras write them."""
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, layer in (("features.0", "block1_conv1"), ("features.2", "block1_conv2")):
            file[f"{layer}/{layer}_W_1:0"] = _vgg()[f"{name}.weight"].transpose(2, 3, 1, 0)
            file[f"{layer}/{layer}_b_1:0"] = _vgg()[f"{name}.bias"]
            file[layer].attrs["weight_names"] = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
    return content.getvalue()


def keras_zip(weights: bytes) -> bytes:
    """A .keras file. weights: the HDF5 file in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", weights)
    return file.getvalue()


def _matconvnet(packed: bool = False) -> bytes:
    from scipy.io import savemat

    layers = np.empty((1, 2), object)
    for number, (name, layer) in enumerate((("features.0", "conv1_1"), ("features.2", "conv1_2"))):
        weights = np.empty((1, 2), object)
        weights[0, 0], weights[0, 1] = _vgg()[f"{name}.weight"].transpose(2, 3, 1, 0), _vgg()[f"{name}.bias"]
        layers[0, number] = {"name": layer, "type": "conv", "weights": weights}
    file = io.BytesIO()
    mean = {"averageImage": np.array([123.68, 116.779, 103.939])}
    savemat(file, {"layers": layers, "meta": {"normalization": mean}}, do_compression=packed)
    return file.getvalue()


def _safetensors() -> bytes:
    from safetensors.numpy import save

    return bytes(save(_vgg(), {"input": "BGR, 0..255, minus (103.939, 116.779, 123.68)", "network": "VGG-19"}))


@functools.cache
def weights() -> dict[str, bytes]:
    """Weights files of every format, by their names."""
    return {
        "vgg.pth": _saved_by_torch(),
        "vgg-old.pth": _saved_by_torch(_use_new_zipfile_serialization=False),
        "vgg.h5": keras(),
        "vgg.keras": keras_zip(keras()),
        "vgg.mat": _matconvnet(),
        "vgg-packed.mat": _matconvnet(packed=True),
        "vgg.safetensors": _safetensors(),
        "lite.safetensors": (ROOT / "impasto" / "assets" / "lite.safetensors").read_bytes(),
    }
