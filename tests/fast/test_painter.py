"""Quality instant through the front door: what the options do, what is refused, blocks, damaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import impasto
from impasto import fast
from impasto.errors import OptionError, WeightsFileError
from impasto.fast import painter, stored
from impasto.palette import quantiles

SMALL: dict[str, Any] = {"quality": "instant", "size": 200, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def stylizer() -> impasto.Stylizer:
    return impasto.Stylizer(**SMALL)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float64) / 255


def painted(photo: Path, style: Any, **changes: Any) -> np.ndarray:
    return pixels(impasto.stylize(photo, style, **(SMALL | changes)))


def test_levels_double_from_coarse_to_the_size_asked_for(stylizer: impasto.Stylizer, photo: Path, painting: Path) -> None:
    session = stylizer.run(photo, painting)
    steps = list(session)
    assert [max(step.image.shape[-2:]) for step in steps] == [100, 200]
    assert [(step.count, step.of) for step in steps] == [(1, 2), (2, 2)]
    assert steps[-1].done == 1
    image = session.image()
    assert max(image.size) == 200
    again = stylizer.run(photo, painting).finish()
    assert image.tobytes() == again.tobytes()


@pytest.mark.parametrize("size", [25, 50, 96, 191, 192, 193])
def test_any_size_is_painted(size: int, photo: Path, painting: Path) -> None:
    assert max(impasto.stylize(photo, painting, **(SMALL | {"size": size})).size) == size


def test_strength_goes_from_the_photograph_to_the_style_without_a_jump(photo: Path) -> None:
    strengths = (0.0, 0.01, 0.05, 0.1, 0.5, 1.0)
    results = [painted(photo, "the-scream", strength=strength) for strength in strengths]
    away = [float(np.abs(one - results[0]).mean()) for one in results]
    assert np.array_equal(
        results[0], pixels(impasto.stylize(photo, "the-scream", **(SMALL | {"quality": "draft", "strength": 0})))
    )
    assert away[1] < 0.02
    assert away[:-1] == sorted(away[:-1])  # at 1 the style changes more than the distance
    assert np.abs(results[-1] - results[-2]).mean() > 2 / 255


def test_blends_masks_colors_and_stroke_size_change_the_image_as_for_the_optimizer(
    photo: Path, painting: Path, tmp_path: Path
) -> None:
    plain = painted(photo, painting)
    np.testing.assert_allclose(painted(photo, [painting, painting], blend=(0.3, 0.7)), plain, atol=2 / 255)
    np.testing.assert_array_equal(painted(photo, [painting, "great-wave"], blend=(1, 0)), plain)
    assert np.abs(painted(photo, painting, style_scale=2) - plain).mean() > 2 / 255
    luma = painted(photo, painting, keep_colors="luma")
    original = pixels(impasto.stylize(photo, painting, **(SMALL | {"strength": 0})))
    chroma = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]).T
    inside = ((luma > 0) & (luma < 1)).all(2)
    np.testing.assert_allclose((luma @ chroma)[inside], (original @ chroma)[inside], atol=0.02)
    mask = Image.new("L", (451, 300), 0)
    mask.paste(255, (226, 0, 451, 300))
    mask.save(tmp_path / "mask.png")
    kept = painted(photo, painting, masks=[(tmp_path / "mask.png", None)])
    width = kept.shape[1]
    np.testing.assert_array_equal(kept[:, width // 2 + 2 :], original[:, width // 2 + 2 :])
    assert np.abs(kept[:, : width // 2 - 2] - original[:, : width // 2 - 2]).mean() > 0.02
    two = painted(photo, painting, masks=[(tmp_path / "mask.png", "great-wave")])
    assert (
        np.abs(two[:, : width // 2] - kept[:, : width // 2]).mean()
        < np.abs(two[:, width // 2 :] - kept[:, width // 2 :]).mean()
    )


def test_transparency_is_the_photographs(photo: Path, painting: Path) -> None:
    with Image.open(photo) as image:
        opened = image.convert("RGB").resize((120, 90))
    opened.putalpha(Image.linear_gradient("L").resize((120, 90)))
    result = impasto.stylize(opened, painting, **(SMALL | {"size": "original"}))
    assert result.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(result)[..., 3], np.asarray(opened)[..., 3])


def test_a_style_without_colors_gives_an_image_without_colors(photo: Path, painting: Path) -> None:
    with Image.open(painting) as image:
        gray = image.convert("L").convert("RGB")
    result = painted(photo, gray)
    assert np.abs(result - result.mean(2, keepdims=True)).max() <= 1 / 255


def test_a_level_in_blocks_is_the_level_at_once(photo: Path, painting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = SMALL | {"size": 700}
    whole = pixels(impasto.stylize(photo, painting, **large))
    monkeypatch.setattr(painter, "BLOCK", 128)
    assert float(np.abs(pixels(impasto.stylize(photo, painting, **large)) - whole).max()) <= 1 / 255


def mesh(image: np.ndarray) -> float:
    """The strongest wave of period 2, 4 or 8 pixels along rows, columns and diagonals, over the energy around it.

    image: 192x192x3. Waves of an amplitude of less than half a level of 255 do not count.
    """
    window = np.hanning(193)[:192]
    gray = image.mean(2)
    energy = np.abs(np.fft.fft2((gray - gray.mean()) * np.outer(window, window))) ** 2
    visible = (0.5 / 255 * window.sum() ** 2 / 2) ** 2
    found = [0.0]
    for at in (96, 48, 24):
        for row, column in ((at, 0), (0, at), (at, at)):
            around = np.roll(energy, (5 - row, 5 - column), (0, 1))[:11, :11].copy()
            peak = around[4:7, 4:7].mean()
            around[4:7, 4:7] = 0
            if peak > visible:
                found.append(peak / (around.sum() / (121 - 9)))
    return float(max(found))


@pytest.mark.parametrize("value", [0, 128, 255, None])
def test_flat_photographs_and_gradients_get_strokes_without_a_mesh(value: int | None, painting: Path) -> None:
    """A wave that stands out would be at least ten times as strong as what is around it."""
    rows, columns = np.mgrid[:192, :192]
    assert mesh(np.repeat(0.5 + 0.02 * np.cos(np.pi / 2 * columns)[..., None], 3, 2) + random_grain(rows.shape)) > 10
    gradient = Image.linear_gradient("L").resize((192, 192)).convert("RGB")
    flat = gradient if value is None else Image.new("RGB", (192, 192), (value, value, value))
    result = painted(flat, painting, size=192)
    assert mesh(result) < 5
    assert result.std() > 0.05
    assert painted(painting, flat).std() < 0.2


def random_grain(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.02, (*shape, 1))


@pytest.mark.parametrize("size", [(16, 16), (1200, 20), (20, 1200)])
def test_extreme_shapes_of_photographs(size: tuple[int, int], painting: Path) -> None:
    image = Image.effect_noise(size, 60).convert("RGB")
    assert impasto.stylize(image, painting, **(SMALL | {"size": "original"})).size == size


@pytest.mark.parametrize(
    "changes",
    [
        {"iterations": 20},
        {"style_taps": ("relu1_1",)},
        {"method": "gatys"},
        {"encoder": "vgg19"},
        {"init": "noise"},
        {"tv_weight": 1.0},
    ],
)
def test_what_only_the_optimizer_has_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as caught:
        impasto.Options(**(SMALL | changes))
    (name,) = changes
    assert str(caught.value) == f"{name} does not apply to quality 'instant'; drop it, or choose another quality"


def test_a_start_image_is_refused(stylizer: impasto.Stylizer, photo: Path, painting: Path) -> None:
    with pytest.raises(OptionError, match="starts from the photograph"):
        stylizer.run(photo, painting, start=photo)


def test_a_damaged_network_is_named_with_the_way_out(tmp_path: Path) -> None:
    good, file = load_file(stored.FILE), tmp_path / "instant.safetensors"
    file.write_bytes(stored.FILE.read_bytes()[:1000])
    with pytest.raises(WeightsFileError, match=r"instant\.safetensors .*install impasto again"):
        fast.load(file)
    with pytest.raises(WeightsFileError, match=r"no such file.*install impasto again"):
        fast.load(tmp_path / "none.safetensors")
    card = {stored.CARD: '{"format":1,"encoder":"","training":"","licence":""}'}
    save_file({name: value for name, value in good.items() if name != "noise"}, tmp_path / "part.safetensors", card)
    with pytest.raises(WeightsFileError, match="noise is missing"):
        fast.load(tmp_path / "part.safetensors")


def test_the_network_fits_in_four_megabytes_and_is_for_the_lite_that_ships() -> None:
    from impasto import weights

    assert stored.FILE.stat().st_size <= 4_000_000
    assert fast.load().card.encoder == weights.load("lite").digest


def test_the_palette_is_the_paintings(photo: Path, painting: Path) -> None:
    from impasto import pictures
    from impasto.palette import palette_loss

    Q = quantiles(pictures.load(painting).pixels)
    before, after = (pictures.load(impasto.stylize(photo, painting, **(SMALL | {"strength": s}))).pixels for s in (0, 0.5))
    assert float(palette_loss(after, Q)) < 0.3 * float(palette_loss(before, Q))
    assert after.dtype == torch.float32


def test_the_optimizer_can_start_from_the_networks_result(photo: Path, painting: Path) -> None:
    """At its first scale, two before the last; and what cannot be painted instantly is said before the run."""
    options = {"size": 256, "iterations": 4, "device": "cpu", "precision": "fp32", "init": "instant"}
    run = impasto.Stylizer(**options).run(photo, painting)
    assert [max(scale.size) for scale in run.scales] == [128, 256]
    instant = impasto.stylize(photo, painting, **(SMALL | {"size": 128}))
    assert np.abs(pixels(run.image()) - pixels(instant.resize(run.image().size, Image.Resampling.BICUBIC))).mean() < 0.02
    steps = list(run)
    assert len(steps) == 4
    assert steps[-1].total < steps[2].total
    with pytest.raises(OptionError, match="init 'instant' needs the built-in lite"):
        impasto.stylize(photo, painting, **(options | {"style_taps": ("relu1_1",)}))


def test_an_image_in_its_own_style_is_nearly_unchanged(photo: Path, painting: Path) -> None:
    for image in (photo, painting):
        original = pixels(impasto.stylize(image, image, **(SMALL | {"strength": 0})))
        assert np.abs(painted(image, image) - original).mean() < 0.05
    assert np.abs(painted(photo, painting) - painted(photo, photo)).mean() > 0.1


def test_the_border_is_painted_as_the_middle(painting: Path) -> None:
    """On gray the outer four rows and columns have the mean and the spread of the rest."""
    result = painted(Image.new("RGB", (192, 192), (128, 128, 128)), painting, size=192).mean(2)
    inside = np.zeros_like(result, bool)
    inside[4:-4, 4:-4] = True
    assert abs(result[~inside].mean() - result[inside].mean()) < 0.5 * result[inside].std()
    assert 0.5 < result[~inside].std() / result[inside].std() < 2
