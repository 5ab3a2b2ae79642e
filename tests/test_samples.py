"""The sample images that ship with impasto, and the script that paints one of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "impasto" / "assets"
HUE_BINS = 12
TINY = (48, 40)


def decoded(name: str) -> Image.Image:
    with Image.open(ASSETS / name) as picture:
        assert (picture.format, picture.mode) == ("JPEG", "RGB")
        picture.load()
        return picture.copy()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("paint_sample", ROOT / "scripts" / "paint_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # needed by dataclasses
    spec.loader.exec_module(module)
    return module


def hue_shares(picture: Image.Image) -> np.ndarray:
    """The fraction of pixels in each hue bin, without grey and black pixels."""
    hue, saturation, value = np.moveaxis(np.asarray(picture.convert("HSV")), -1, 0)
    colored = (saturation > 64) & (value > 64)
    return np.asarray(np.bincount(hue[colored].astype(int) * HUE_BINS // 256, minlength=HUE_BINS) / hue.size)


@pytest.mark.parametrize(("name", "size", "limit"), [("strokes.jpg", (640, 512), 180_000), ("chelsea.jpg", (451, 300), 60_000)])
def test_the_sample_images_decode_and_are_small(name: str, size: tuple[int, int], limit: int) -> None:
    assert decoded(name).size == size
    assert (ASSETS / name).stat().st_size < limit


def test_the_shipped_photograph_is_scikit_images() -> None:
    data = pytest.importorskip("skimage.data")
    difference = np.asarray(decoded("chelsea.jpg")).astype(int) - data.chelsea()
    assert np.abs(difference).mean() < 3


def test_the_palette_of_the_painting_is_wide() -> None:
    shares = hue_shares(decoded("strokes.jpg"))
    assert (shares >= 0.03).sum() >= 6, shares.round(3)


def test_the_palette_measure_can_fail() -> None:
    assert (hue_shares(decoded("chelsea.jpg")) >= 0.03).sum() < 6


def test_the_painting_has_lights_darks_and_textured_edges() -> None:
    luma = np.asarray(decoded("strokes.jpg").convert("L")).astype(float)
    dark, bright = np.percentile(luma, [5, 95])
    assert dark < 70
    assert bright > 170
    edges = [luma[:4], luma[-4:], luma[:, :4], luma[:, -4:]]
    assert min(edge.std() for edge in edges) > 10


@pytest.fixture(scope="module")
def tiny(script: ModuleType) -> tuple[np.ndarray, np.ndarray]:
    picture, covered = script.paint(*TINY)
    return picture, covered


def test_strokes_cover_the_canvas(tiny: tuple[np.ndarray, np.ndarray]) -> None:
    picture, covered = tiny
    assert picture.shape == (TINY[1], TINY[0], 3)
    assert picture.dtype == np.uint8
    assert covered.shape == picture.shape[:2]
    assert covered.all()


def test_only_another_seed_gives_another_painting(script: ModuleType, tiny: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(script.paint(*TINY)[0], tiny[0])
    other, _ = script.paint(*TINY, seed=script.SEED + 1)
    assert (other != tiny[0]).any(axis=-1).mean() > 0.9


def test_oklab_of_known_colors(script: ModuleType) -> None:
    # sRGB white and red in Oklab, from Ottosson's article and the CSS Color 4 examples
    known = {"ffffff": (1.0, 0.0, 0.0), "ff0000": (0.62796, 0.22486, 0.12585), "000000": (0.0, 0.0, 0.0)}
    np.testing.assert_allclose(script.pigments(*known), list(known.values()), atol=2e-4)
    colors = np.random.default_rng(0).uniform(size=(50, 3))
    np.testing.assert_allclose(script.to_srgb(script.to_oklab(colors)), colors, atol=1e-6)
