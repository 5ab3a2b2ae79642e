"""The front door: what goes in, what comes out, and that the same goes in and out the same way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity

import impasto
from impasto import pictures, terms
from impasto.compute.kernels import gram
from impasto.compute.memory import Plan
from impasto.encoders import Lite
from impasto.errors import OptionError, PictureError
from impasto.optimize import Step
from impasto.styles import Painted
from impasto.weights import load

SMALL: dict[str, Any] = {"size": 64, "iterations": 4}


@pytest.fixture(scope="module")
def stylizer() -> impasto.Stylizer:
    return impasto.Stylizer(**SMALL)


def test_the_same_seed_gives_the_same_bytes(photo: Path, painting: Path) -> None:
    def paint(seed: int) -> bytes:
        return impasto.stylize(photo, painting, init="noise", seed=seed, **SMALL).tobytes()

    assert paint(3) == paint(3)
    assert paint(3) != paint(4)


def test_every_source_of_an_image_gives_the_same_result(stylizer: impasto.Stylizer, photo: Path, painting: Path) -> None:
    image = Image.open(painting).convert("RGB")
    array = np.asarray(image)
    tensor = torch.from_numpy(array.astype(np.float32) / 255).permute(2, 0, 1)
    data = painting.read_bytes()
    sources = (str(painting), painting, data, io.BytesIO(data), image, array, tensor)
    results = [stylizer.run(photo, style).finish().tobytes() for style in sources]
    assert len(set(results)) == 1


def test_no_input_is_changed(stylizer: impasto.Stylizer, photo: Path) -> None:
    array = np.random.RandomState(0).randint(0, 256, (48, 64, 3), dtype=np.uint8)
    before = array.copy()
    stylizer.run(photo, array).finish()
    assert (array == before).all()


def test_a_style_serves_several_photographs(stylizer: impasto.Stylizer, photo: Path, painting: Path) -> None:
    style = stylizer.style(painting)
    first, second = (stylizer.run(photo, style).finish().tobytes() for _ in range(2))
    assert first == second == stylizer.run(photo, painting).finish().tobytes()


def test_a_style_of_another_stylizer_is_refused(stylizer: impasto.Stylizer, photo: Path, painting: Path) -> None:
    with pytest.raises(OptionError, match="only be used with the Stylizer that made it"):
        impasto.Stylizer(**SMALL).run(photo, stylizer.style(painting))


def test_one_with_other_options_shares_styles(stylizer: impasto.Stylizer, photo: Path, painting: Path) -> None:
    style, other = stylizer.style(painting), stylizer.changed(size=48, strength=0.8)
    assert (stylizer.options.size, other.options.size) == (64, 48)
    expected = impasto.Stylizer(**SMALL).changed(size=48, strength=0.8).run(photo, painting).finish().tobytes()
    assert other.run(photo, style).finish().tobytes() == expected
    for change in ({"method": "gatys"}, {"precision": "bf16"}, {"style_taps": "relu1_1"}):
        with pytest.raises(OptionError, match="needs a Stylizer of its own"):
            stylizer.changed(**change)


def test_steps_can_be_left_at_any_time(stylizer: impasto.Stylizer, photo: Path, painting: Path) -> None:
    run = stylizer.run(photo, painting)
    assert run.image().size == (64, 43)
    for step in run:
        if step.count == 2:
            break
    assert isinstance(step, Step)
    assert (step.count, step.of, len(run)) == (2, 4, 4)
    assert [later.count for later in run] == [3, 4]  # a second iteration resumes
    assert run.finish().tobytes() == stylizer.run(photo, painting).finish().tobytes()


def test_steps_count_over_the_whole_run(photo: Path, painting: Path) -> None:
    run = impasto.Stylizer(size=182, iterations=7).run(photo, painting)
    steps = list(run)
    assert [(step.count, step.of) for step in steps] == [(count, 7) for count in range(1, 8)]
    assert [(step.scale, step.step) for step in steps] == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (2, 3)]
    assert steps[-1].done == 1


def test_the_photograph_is_resized_and_recolored_once_a_scale(
    photo: Path, painting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first scale starts from the image that its objective keeps, and masks show the photograph at the same size."""
    recolored, counted = terms.target, list[tuple[int, ...]]()

    def target(*words: Any) -> torch.Tensor:
        counted.append(tuple(words[2].shape[-2:]))
        return recolored(*words)

    monkeypatch.setattr(terms, "target", target)
    masks = [(Image.linear_gradient("L").resize((451, 300)), None)]
    run = impasto.Stylizer(size=182, iterations=4).run(photo, painting, masks=masks)
    run.finish()
    assert counted == [scale.size for scale in run.scales]
    assert len(counted) == 2


def test_a_run_may_start_at_a_finer_scale(photo: Path, painting: Path) -> None:
    def sizes(**options: Any) -> list[int]:
        return [max(scale.size) for scale in impasto.Stylizer(size=1024, **options).run(photo, painting).scales]

    assert sizes() == [256, 512, 1024]
    assert sizes(init_size=128) == [128, 256, 512, 1024]
    assert sizes(init_size=257) == [512, 1024]
    assert sizes(init_size=2000) == [1024]
    start = Image.open(painting).convert("RGB")
    (first,) = impasto.Stylizer(size=150, init_size=150, iterations=1).run(photo, painting, start=start)
    assert (first.of, tuple(first.image.shape)) == (1, (1, 3, 100, 150))
    torch.testing.assert_close(first.image, pictures.resize(pictures.load(start).pixels, (100, 150)))


def test_the_result_is_nearer_to_the_painting_and_still_shows_the_photograph(assets: Path, painting: Path) -> None:
    result = impasto.stylize(assets / "chelsea.jpg", painting, size=96, iterations=50)
    photo = Image.open(assets / "chelsea.jpg").resize(result.size, Image.Resampling.LANCZOS)
    assert _style_distance(result, painting) < 0.2 * _style_distance(photo, painting)
    grey = [np.asarray(image.convert("L"), dtype=np.float64) for image in (photo, result)]
    stranger = np.asarray(Image.open(painting).resize(result.size).convert("L"), dtype=np.float64)
    assert _similarity(grey[0], grey[1]) > 2 * _similarity(grey[0], stranger)


def _similarity(a: np.ndarray, b: np.ndarray) -> float:
    similarity: Any = structural_similarity  # which has no types
    return float(similarity(a, b, data_range=255, gaussian_weights=True, sigma=3))


def _style_distance(image: Image.Image, painting: Path) -> float:
    """Relative Gram distance at relu2_1 and relu3_1, computed here from the definition."""
    encoder = Lite(load("lite").tensors, ["relu2_1", "relu3_1"])
    style = pictures.load(painting).pixels
    seen = (
        encoder(pictures.load(image).pixels),
        encoder(pictures.resize(style, pictures.fit((style.shape[-2], style.shape[-1]), 128))),
    )
    distances = []
    for tap in ("relu2_1", "relu3_1"):
        G, A = (gram(features[tap]) / features[tap][0, 0].numel() for features in seen)
        distances.append(float((G - A).square().sum() / A.square().sum()))
    return sum(distances)


def test_more_style_weight_is_more_painted(photo: Path, painting: Path) -> None:
    distances = [
        _style_distance(impasto.stylize(photo, painting, size=64, iterations=30, style_weight=weight), painting)
        for weight in (0.3, 2, 10)  # larger ones come as near as 64 pixels can
    ]
    assert distances[2] < 0.85 * distances[1] < 0.85**2 * distances[0]


@pytest.mark.parametrize(("init", "near"), [("content", "photo"), ("image", "painting"), ("noise", "grey")])
def test_init_is_where_it_starts(photo: Path, painting: Path, init: str, near: str) -> None:
    image = init == "image"
    run = impasto.Stylizer(size=64, init="content" if image else init).run(photo, painting, start=painting if image else None)
    start = np.asarray(run.image(), dtype=np.float64)
    expected = {
        "photo": np.asarray(Image.open(photo).resize((64, 43), Image.Resampling.BICUBIC), dtype=np.float64),
        "painting": np.asarray(Image.open(painting).resize((64, 43), Image.Resampling.BICUBIC), dtype=np.float64),
        "grey": np.full((43, 64, 3), 127.5),
    }
    distance = {name: np.abs(start - picture).mean() for name, picture in expected.items()}
    assert min(distance, key=lambda name: distance[name]) == near


def test_transparency_of_the_photograph_is_kept(stylizer: impasto.Stylizer, painting: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (64, 64, 4), dtype=np.uint8)
    pixels[..., 3] = np.linspace(0, 255, 64).astype(np.uint8)
    result = stylizer.run(pixels, painting).finish()
    assert result.mode == "RGBA"
    assert (np.asarray(result)[..., 3] == pixels[..., 3]).all()


def test_size_is_the_longer_side(photo: Path, painting: Path) -> None:
    with Image.open(photo) as image:
        small = image.resize((91, 60))
    for source, size, expected in ((photo, 100, (100, 67)), (small, "original", (91, 60))):
        run = impasto.Stylizer(size=size, iterations=1).run(source, painting)
        assert run.problem.size == expected[::-1]
        assert run.finish().size == expected


def test_too_narrow_a_photograph_is_refused_with_a_size_that_works(painting: Path) -> None:
    thin = np.random.default_rng(0).integers(0, 256, (20, 410, 3), np.uint8)
    with pytest.raises(PictureError, match=r"64x3 .* at least 16x16 for the taps used; use size 328 or more$"):
        impasto.Stylizer(**SMALL).run(thin, painting)
    assert impasto.Stylizer(size=328, iterations=1).run(thin, painting).problem.size == (16, 328)
    with pytest.raises(PictureError, match=r"15 pixels, .*use size original$"):  # a size of 66,000 is out of range
        impasto.Stylizer(size=61_875).run(np.zeros((16, 66_000)), painting)


def test_a_default_size_suits_a_panorama(painting: Path) -> None:
    stylizer = impasto.Stylizer(quality="instant")
    for shape, size in (((4000, 80), (3200, 64)), ((30, 1800), (30, 1800)), ((33, 1000), (17, 512))):
        run = stylizer.run(np.zeros(shape), painting)
        assert run.problem.size == size
        notes = [note for note in run.problem.notes if "thin" in note]
        said = f"the photograph is too thin for the default size of 512 pixels, so the longer side has {max(size)}"
        assert notes == ([] if max(size) == 512 else [said])
        assert run.problem.options.size == max(size)  # which records store
    assert stylizer.run(np.zeros((4000, 80)), painting).finish().size == (64, 3200)


def test_a_photograph_that_is_enlarged_more_than_twice_is_said(stylizer: impasto.Stylizer, painting: Path) -> None:
    assert stylizer.run(np.zeros((32, 20)), painting).problem.notes == ()
    (note,) = stylizer.run(np.zeros((16, 20)), painting).problem.notes
    assert note == "the photograph has 20x16 pixels and is enlarged 3.2 times; a smaller size is sharper"


def test_images_too_small_for_the_encoder_are_refused(stylizer: impasto.Stylizer, photo: Path) -> None:
    tiny = np.zeros((15, 40, 3), dtype=np.uint8)
    with pytest.raises(PictureError, match=r"photograph is 40x15 .* at least 16x16"):
        stylizer.run(tiny, photo)
    with pytest.raises(PictureError, match=r"style image is 40x15 .* at least 16x16"):
        stylizer.run(photo, tiny)


def test_a_narrow_painting_is_enlarged_until_the_encoder_takes_it(stylizer: impasto.Stylizer, photo: Path) -> None:
    narrow = np.random.RandomState(0).randint(0, 256, (16, 400, 3), dtype=np.uint8)
    style = stylizer.style(narrow)
    assert isinstance(style, Painted)
    assert style.size_at(64) == (16, 400)
    assert stylizer.run(photo, narrow).finish().size == (64, 43)


def test_flat_images_do_not_break_the_losses(stylizer: impasto.Stylizer) -> None:
    flat = np.full((40, 40, 3), 128, dtype=np.uint8)
    assert np.isfinite(np.asarray(stylizer.run(flat, flat).finish())).all()
    assert stylizer.run(flat, np.zeros((40, 40, 3), dtype=np.uint8)).finish().size == (64, 64)


def test_bf16_has_the_losses_and_the_gradient_of_fp32(photo: Path, painting: Path) -> None:
    """To the precision of its 8 bits. Later steps amplify every rounding, so ends are compared by how good they are."""
    problems = [
        impasto.Stylizer(precision=precision, size=80, iterations=20, device="cpu").run(photo, painting).problem
        for precision in ("fp32", "bf16")
    ]
    size = problems[0].size
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    for image in (problems[0].start(size), noise):
        (exact, gradient), (found, rounded) = (problem.objective(size, Plan())(image) for problem in problems)
        assert found == pytest.approx(exact, rel=0.02)
        assert (rounded - gradient).norm() < 0.2 * gradient.norm()
    ends = [_style_distance(impasto.Run(problem).finish(), painting) for problem in problems]
    assert ends[1] == pytest.approx(ends[0], rel=0.25)


def test_an_unknown_option_names_the_nearest(photo: Path, painting: Path) -> None:
    with pytest.raises(OptionError, match="style_weight"):
        impasto.stylize(photo, painting, stile_weight=3)


def test_white_noise_becomes_the_photograph_with_the_published_method(photo: Path, painting: Path) -> None:
    def totals() -> Iterator[float]:
        options: dict[str, Any] = {"method": "gatys", "encoder": "lite", "size": 64, "iterations": 60}
        yield from (step.total for step in impasto.Stylizer(**options).run(photo, painting))

    history = list(totals())
    assert history[-1] < 0.05 * history[0]
