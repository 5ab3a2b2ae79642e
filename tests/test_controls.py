"""Every control does what its help says: each test fails where the control does nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto import colors, pictures, terms
from impasto.compute.memory import Plan
from impasto.errors import OptionError, PictureError
from impasto.losses import StyleLoss
from impasto.report import fine_share, palette_distance
from impasto.report.metrics import content_distance, style_distances
from impasto.styles import Blend, Painted
from impasto.terms import SMALLEST, style_terms

TAPS = ("relu1_1", "relu2_1", "relu3_1")
QUICK: dict[str, Any] = {"size": 64, "iterations": 25, "device": "cpu", "precision": "fp32"}
BRIEF: dict[str, Any] = QUICK | {"iterations": 6}  # where bytes are compared


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another painting: red and black checkers of 16 pixels."""
    checkers = (np.indices((160, 200)) // 16).sum(axis=0) % 2
    Image.fromarray((checkers[..., None] * np.array([220, 30, 20])).astype(np.uint8)).save(tmp_path / "checkers.png")
    return tmp_path / "checkers.png"


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def halves(path: Path, size: tuple[int, int] = (300, 451)) -> Path:
    """A mask of the photograph's size: white on the left, black on the right."""
    mask = np.zeros(size)
    mask[:, : size[1] // 2] = 255
    return save(path, mask)


def tensor(image: Image.Image | Path) -> torch.Tensor:
    return pictures.load(image).pixels


def palette_of(painting: Path) -> torch.Tensor:
    """A painting in fewer pixels, of which the distance between palettes sorts every one."""
    pixels = tensor(painting)
    return pictures.resize(pixels, pictures.fit((pixels.shape[-2], pixels.shape[-1]), 128))


def distances(result: Image.Image, photo: Path, painting: Path) -> tuple[float, float]:
    """(content, style) of a result, through lite at three taps."""
    encoder = impasto.Stylizer(style_taps=TAPS, content_taps="relu3_1", **QUICK).encoder
    pixels = tensor(result)
    size = (pixels.shape[-2], pixels.shape[-1])
    style = tensor(painting)
    seen, kept, wanted = (
        encoder(x)
        for x in (
            pixels,
            pictures.resize(tensor(photo), size),
            pictures.resize(style, pictures.fit((style.shape[-2], style.shape[-1]), max(size))),
        )
    )
    return content_distance(seen["relu3_1"], kept["relu3_1"]), sum(style_distances(seen, wanted, TAPS).values())


# ---------------------------------------------------------------------------------------------------------------- strength


def test_strength_is_one_dial_from_the_photograph_to_the_painting(photo: Path, painting: Path) -> None:
    # with 40 steps, at strength 1, style is where the optimizer has come to, not where it goes
    steps = QUICK | {"size": 48, "iterations": 100}
    found = [distances(impasto.stylize(photo, painting, strength=s, **steps), photo, painting) for s in (0, 0.3, 0.6, 1)]
    content, style = zip(*found, strict=True)
    assert content[0] == pytest.approx(0, abs=1e-3)  # the photograph, but for its rounding
    assert content[0] < content[1] < content[2] < content[3]
    assert style[0] > style[1] > style[2] > style[3]
    assert content[3] > 1.3 * content[1]


def test_strength_0_is_the_photograph_resized(photo: Path, painting: Path) -> None:
    expected = pictures.to_image(pictures.resize(tensor(photo), (43, 64)))
    for more in ({}, {"init": "noise"}, {"keep_colors": "luma"}):
        assert impasto.stylize(photo, painting, strength=0, **more, **BRIEF).tobytes() == expected.tobytes()


def test_half_strength_is_what_the_weights_say(photo: Path, painting: Path) -> None:
    """Beyond the weights, the strength changes the colors of the image to keep, but not without a palette."""
    plain = impasto.stylize(photo, painting, **BRIEF)
    assert plain.tobytes() == impasto.stylize(photo, painting, strength=0.5, **BRIEF).tobytes()
    t = 0.75 * (1.28 - 0.56 * 0.75)
    weights = {"content_weight": 4 * (1 - t) ** 2, "style_weight": 160 * t**2, "palette_weight": 0}
    weighed = impasto.stylize(photo, painting, **weights, **BRIEF)
    assert weighed.tobytes() == impasto.stylize(photo, painting, strength=0.75, palette_weight=0, **BRIEF).tobytes()


# ---------------------------------------------------------------------------------------------------------------- palette


def test_the_palette_weight_brings_the_paintings_colors(photo: Path, other: Path) -> None:
    far, near = (
        palette_distance(tensor(impasto.stylize(photo, other, palette_weight=weight, **QUICK)), palette_of(other))
        for weight in (0, 50)
    )
    assert near < 0.7 * far


def test_a_region_takes_its_own_painting_s_colors(photo: Path, painting: Path, other: Path, tmp_path: Path) -> None:
    mask = halves(tmp_path / "left.png")
    result = tensor(impasto.stylize(photo, painting, masks=[(mask, other)], palette_weight=200.0, **QUICK))
    left, right = result[..., :28], result[..., -28:]
    assert palette_distance(left, palette_of(other)) < 0.5 * palette_distance(right, palette_of(other))
    assert palette_distance(right, palette_of(painting)) < 0.5 * palette_distance(left, palette_of(painting))


# -------------------------------------------------------------------------------------------------------------- style scale


def test_a_larger_style_scale_makes_larger_strokes(photo: Path, other: Path) -> None:
    """The painting is checkers, whose edges are its only fine detail: the larger they are painted, the less there is of it."""
    fine = [fine_share(tensor(impasto.stylize(photo, other, style_scale=scale, **QUICK))) for scale in (0.5, 1, 2)]
    assert fine == sorted(fine, reverse=True)


def test_a_painting_without_colors_gives_an_image_without_colors(photo: Path, painting: Path, tmp_path: Path) -> None:
    """In proportion to the strength."""
    with Image.open(painting) as colored:
        colored.convert("L").convert("RGB").save(tmp_path / "ink.jpg")
    saturations = []
    for strength in (0.1, 0.5):
        pixels = np.asarray(impasto.stylize(photo, tmp_path / "ink.jpg", strength=strength, **BRIEF), int)
        saturations.append(np.ptp(pixels, axis=-1).mean())
    assert saturations[0] > saturations[1] == 0
    assert np.ptp(np.asarray(impasto.stylize(photo, painting, **BRIEF), int), axis=-1).mean() > 10


GRAY: dict[str, dict[str, Any]] = {
    "draft": {"quality": "draft"},
    "instant": {"quality": "instant"},
    "faint": {"strength": 0.2},
    "faint and instant": {"strength": 0.2, "quality": "instant"},
    "no palette": {"palette_weight": 0},
    "gatys": {"method": "gatys", "encoder": "lite"},
    "match": {"keep_colors": "match"},
    "luma": {"keep_colors": "luma"},
}


@pytest.mark.parametrize("name", GRAY)
def test_a_gray_photograph_stays_gray_in_gray_styles(
    name: str, photo: Path, painting: Path, other: Path, tmp_path: Path
) -> None:
    for source, kind in ((photo, "photo.jpg"), (painting, "painting.webp"), (other, "other.png")):
        with Image.open(source) as colored:
            colored.convert("L").convert("RGB").save(tmp_path / kind, quality=60)
    gray, first, second = (tmp_path / name for name in ("photo.jpg", "painting.webp", "other.png"))
    options: dict[str, Any] = {"size": 64, "device": "cpu"} | GRAY[name]
    options |= {} if options.get("quality") == "instant" else {"iterations": 2}
    stylizer = impasto.Stylizer(**options)
    mask = save(tmp_path / "mask.png", np.linspace(0, 255, 451)[None].repeat(300, 0))
    for styles, masks in ((first, []), ((first, second), []), (first, [(mask, second)]), ((), [(mask, second)])):
        assert np.ptp(np.asarray(stylizer.run(gray, styles, masks=masks).finish(), int), axis=-1).max() == 0
    colors_left = np.asarray(stylizer.run(gray, other, masks=[(halves(mask), first)]).finish(), int)
    assert np.ptp(colors_left[:, :31], axis=-1).max() == 0
    assert (np.ptp(colors_left[:, 33:], axis=-1).max() > 5) == ("keep_colors" not in options)


def test_the_painting_is_seen_at_the_scale_asked_for(photo: Path, painting: Path) -> None:
    stylizer = impasto.Stylizer(style_scale=2, **QUICK | {"size": 128})
    style = stylizer.style(painting)
    problem = stylizer.run(photo, style).problem
    (term, *_) = style_terms(problem.options, problem.method, problem.regions, (85, 128), 1.0, 5, None)
    assert isinstance(term.loss, StyleLoss)
    expected = stylizer.encoder(pictures.resize(tensor(painting), (205, 256)))["relu1_1"][0].flatten(1)
    torch.testing.assert_close(term.loss.A, expected @ expected.T / expected.shape[1], rtol=1e-4, atol=1e-5)


def test_a_painting_smaller_than_the_image_is_taken_at_its_own_size_and_that_is_said(photo: Path, tmp_path: Path) -> None:
    small = save(tmp_path / "small.png", np.random.default_rng(0).integers(0, 256, (64, 80, 3)))
    words = {scale: impasto.Stylizer(style_scale=scale, **QUICK).run(photo, small).problem.notes for scale in (0.5, 4)}
    assert words[0.5] == ()
    note = (
        "the painting has 80x64 pixels, smaller than the 256 asked for; it is not enlarged to that, so its strokes look smaller. "
        "Use a larger image of the painting or a smaller style scale"
    )
    assert words[4] == (note,)
    style = impasto.Stylizer(**QUICK).style(small)
    for tap, A in style.targets(80).items():
        assert torch.equal(style.targets(256)[tap], A)
        assert not torch.equal(style.targets(64)[tap], A)


def test_the_published_method_enlarges_a_small_painting_and_says_so(photo: Path, tmp_path: Path) -> None:
    small = save(tmp_path / "small.png", np.random.default_rng(0).integers(0, 256, (64, 80, 3)))
    stylizer = impasto.Stylizer(method="gatys", encoder="lite", **QUICK | {"size": 96})
    (note,) = stylizer.run(photo, small).problem.notes
    assert "smaller than the 96 asked for; it is enlarged, so its strokes are blurred. Use" in note
    run = stylizer.run(photo, [small, small])
    assert run.problem.notes == (note,)


def test_a_painting_that_gatys_would_squeeze_too_small_is_refused_by_its_name(photo: Path, painting: Path) -> None:
    run = impasto.Stylizer(style_scale=0.25, method="gatys", encoder="lite", **QUICK).run(photo, painting)
    with pytest.raises(PictureError, match=r"^style image at this size and style scale is 16x11 pixels; .*at least 16x16"):
        run.finish()


def test_between_two_rungs_the_targets_are_nearly_the_paintings_own(painting: Path) -> None:
    style = impasto.Stylizer(**QUICK).style(painting)
    assert isinstance(style, Painted)
    for longer in (160, 215, 304):  # at 152 relu5_1 would see 9 positions of 9.5, as VGG-19 does
        mixed, exact = style.targets(longer), style.squeezed(style.size_at(longer))
        for tap, A in exact.items():
            assert (mixed[tap] - A).square().sum() < 0.02 * A.square().sum(), (longer, tap)
    assert style.targets(181) is style.at(1)


# -------------------------------------------------------------------------------------------------------------------- blend


def test_a_blend_goes_from_one_style_to_the_other(photo: Path, painting: Path, other: Path) -> None:
    results = [impasto.stylize(photo, [painting, other], blend=(1 - b, b), **BRIEF) for b in (0, 0.5, 1)]
    assert results[0].tobytes() == impasto.stylize(photo, painting, **BRIEF).tobytes()
    assert results[2].tobytes() == impasto.stylize(photo, other, **BRIEF).tobytes()
    palette = [palette_distance(tensor(result), palette_of(other)) for result in results]
    assert palette == sorted(palette, reverse=True)


def test_shares_of_any_sum_are_shares(photo: Path, painting: Path, other: Path) -> None:
    first = impasto.stylize(photo, [painting, other], blend=(7, 3), **BRIEF)
    assert first.tobytes() == impasto.stylize(photo, [painting, other], blend=(0.7, 0.3), **BRIEF).tobytes()
    even = impasto.stylize(photo, [painting, other], **BRIEF)
    assert even.tobytes() == impasto.stylize(photo, [painting, other], blend=(1, 1), **BRIEF).tobytes()


def test_a_blend_is_the_mean_of_the_gram_matrices(painting: Path, other: Path) -> None:
    stylizer = impasto.Stylizer(**QUICK)
    one, two = stylizer.style(painting), stylizer.style(other)
    mixed = Blend([(one, 0.25), (two, 0.75)]).targets(150)
    for tap, G in mixed.items():
        torch.testing.assert_close(G, 0.25 * one.targets(150)[tap] + 0.75 * two.targets(150)[tap])


def test_a_blend_needs_a_number_for_each_style(photo: Path, painting: Path) -> None:
    with pytest.raises(OptionError, match="one number for each of the 1 styles, not 2"):
        impasto.stylize(photo, painting, blend=(0.7, 0.3), **QUICK)


# ------------------------------------------------------------------------------------------------------------------- colors


def test_luma_keeps_every_hue(photo: Path, other: Path) -> None:
    result = tensor(impasto.stylize(photo, other, keep_colors="luma", **QUICK))
    kept = pictures.resize(tensor(photo), (43, 64))
    expected = colors.with_luminance(kept, colors.gray(result))
    assert (result - expected).abs().max() < 1.5 / 255
    light = (colors.luminance(result) - colors.luminance(kept)).abs().mean()
    assert light > 0.02  # the painting did something


def test_match_brings_the_paintings_colors_to_the_photographs(photo: Path, other: Path) -> None:
    off, match = (impasto.stylize(photo, other, keep_colors=mode, **QUICK) for mode in ("off", "match"))
    kept = palette_of(photo)
    assert palette_distance(tensor(match), kept) < 0.5 * palette_distance(tensor(off), kept)


# ------------------------------------------------------------------------------------------------------------------- regions


def test_what_is_kept_is_the_photograph_to_the_last_bit(photo: Path, painting: Path, tmp_path: Path) -> None:
    mask = halves(tmp_path / "left.png")
    result = np.asarray(impasto.stylize(photo, painting, masks=[(mask, None)], **QUICK))
    original = np.asarray(pictures.to_image(pictures.resize(tensor(photo), (43, 64))))
    assert (result[:, :31] == original[:, :31]).all()
    assert (result[:, 33:] != original[:, 33:]).mean() > 0.5


def test_only_what_is_white_gets_the_style(photo: Path, other: Path, tmp_path: Path) -> None:
    mask = halves(tmp_path / "left.png")
    result = np.asarray(impasto.stylize(photo, [], masks=[(mask, other)], **QUICK))
    original = np.asarray(pictures.to_image(pictures.resize(tensor(photo), (43, 64))))
    assert (result[:, 33:] == original[:, 33:]).all()
    assert (result[:, :31] != original[:, :31]).mean() > 0.5


@pytest.mark.parametrize("smallest", [SMALLEST, 8])
def test_nothing_outside_a_region_feels_its_style(
    smallest: int, photo: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the image's own size, and at all levels."""
    monkeypatch.setattr(terms, "SMALLEST", smallest)
    mask = halves(tmp_path / "left.png")
    problem = impasto.Stylizer(style_taps=TAPS, **QUICK).run(photo, masks=[(mask, other)]).problem
    levels = terms.in_levels(problem.options, problem.method, problem.regions, (43, 64), [], None)
    assert len(levels) == (1 if smallest == SMALLEST else len(problem.method.levels))
    _, gradient = problem.objective((43, 64), Plan())(torch.rand(1, 3, 43, 64))
    assert gradient[..., 33:].abs().max() == 0
    assert gradient[..., :31].abs().max() > 0


def test_at_all_levels_two_regions_get_two_styles(
    photo: Path, painting: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step downhill in the style loss alone brings each half nearer to its own painting at relu1_1, which sees little around it."""
    monkeypatch.setattr(terms, "SMALLEST", 8)
    mask = halves(tmp_path / "left.png")
    settings = {"style_taps": "relu1_1", "content_weight": 0, "palette_weight": 0} | QUICK
    size, grain = (43, 64), torch.rand(1, 3, 43, 64, generator=torch.Generator().manual_seed(0))
    alone = [impasto.Stylizer(**settings).run(photo, style).problem for style in (other, painting)]
    both = impasto.Stylizer(**settings).run(photo, painting, masks=[(mask, other)]).problem
    _, gradient = both.objective(size, Plan())(grain)
    for half, own in ((slice(0, 28), 0), (slice(36, 64), 1)):
        slopes = [problem.objective(size, Plan())(grain)[1][..., half].flatten() for problem in alone]
        likeness = [float(torch.cosine_similarity(gradient[..., half].flatten(), slope, dim=0)) for slope in slopes]
        assert likeness[own] > 0.9 > likeness[1 - own] + 0.1, likeness


def test_two_regions_get_two_styles(photo: Path, painting: Path, other: Path, tmp_path: Path) -> None:
    mask = halves(tmp_path / "left.png")
    result = tensor(impasto.stylize(photo, painting, masks=[(mask, other)], **QUICK))
    checkers, strokes = palette_of(other), palette_of(painting)
    left, right = result[..., :30], result[..., 34:]
    assert palette_distance(left, checkers) < palette_distance(left, strokes)
    assert palette_distance(right, strokes) < palette_distance(right, checkers)


def test_gray_is_partial_and_the_last_mask_lies_on_top(photo: Path, painting: Path, other: Path, tmp_path: Path) -> None:
    gray, left = save(tmp_path / "gray.png", np.full((300, 451), 51)), halves(tmp_path / "left.png")
    layout = impasto.Stylizer(**QUICK).run(photo, painting, masks=[(gray, other), (left, None)]).problem.layout
    checkers, base = layout.regions
    assert checkers.weight is not None
    assert base.weight is not None
    assert layout.painted is not None
    for column, (a, b) in {10: (0, 0), 400: (0.2, 0.8)}.items():
        assert float(checkers.weight[0, 0, 5, column]) == pytest.approx(a, abs=1e-6)
        assert float(base.weight[0, 0, 5, column]) == pytest.approx(b, abs=1e-6)
        assert float(layout.painted[0, 0, 5, column]) == pytest.approx(a + b, abs=1e-6)
    assert [checkers.share, base.share] == pytest.approx([0.2 * 226 / 451, 0.8 * 226 / 451])


def test_equal_colors_of_two_masks_belong_together(photo: Path, tmp_path: Path) -> None:
    """The painting is red on the left and blue on the right; the masks give the photograph's left half the blue."""
    canvas = np.random.default_rng(0).integers(0, 60, (120, 160, 3))
    canvas[:, :80, 0] += 180
    canvas[:, 80:, 2] += 180
    painting = save(tmp_path / "two.png", canvas)
    here, there = np.zeros((300, 451, 3)), np.zeros((120, 160, 3))
    here[:, :225, 1], there[:, 80:, 1] = 255, 255
    pair = save(tmp_path / "here.png", here), save(tmp_path / "there.png", there)
    result = np.asarray(impasto.stylize(photo, painting, pair=pair, **QUICK | {"iterations": 60})).astype(float)
    redness = result[..., 0] - result[..., 2]
    assert redness[:, :30].mean() < -40 < 40 < redness[:, 34:].mean()


def test_a_masked_painting_has_the_gram_matrix_of_its_part(painting: Path) -> None:
    stylizer = impasto.Stylizer(**QUICK)
    style = stylizer.style(painting)
    assert isinstance(style, Painted)
    weight = torch.zeros(1, 1, 32, 40)
    weight[..., :20] = 1
    part = style.part(weight).squeezed((64, 80))
    F = stylizer.encoder(pictures.resize(style.painting, (64, 80)))["relu2_1"][0, :, :, :20].flatten(1).double()
    np.testing.assert_allclose(part["relu2_1"].numpy(), (F @ F.T / F.shape[1]).numpy(), rtol=1e-3, atol=1e-4)


BLACK, WHITE, GREEN = (Image.new("RGB", (451, 300), color) for color in ("black", "white", "lime"))
SQUARE = Image.new("RGB", (50, 50), "white")


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        ({"masks": [(BLACK, "painting")]}, PictureError, "selects nothing"),
        ({"masks": [(SQUARE, "painting")]}, PictureError, "50x50.*451x300"),
        ({"masks": [("missing.png", None)]}, PictureError, "missing.png"),
        ({"masks": [(WHITE, None)]}, OptionError, "leave nothing to paint"),
        ({"pair": (GREEN, BLACK)}, PictureError, "#00ff00"),
        ({"pair": (SQUARE, WHITE)}, PictureError, "content mask is 50x50.*451x300"),
        ({"pair": (WHITE, SQUARE)}, PictureError, "style mask is 50x50.*640x512"),
        ({"pair": (WHITE, WHITE), "masks": [(WHITE, None)]}, OptionError, "two kinds of masks"),
    ],
)
def test_masks_that_cannot_be_used(
    inputs: dict[str, Any], error: type[Exception], says: str, photo: Path, painting: Path
) -> None:
    masks = [(mask, painting if style == "painting" else style) for mask, style in inputs.get("masks", ())]
    with pytest.raises(error, match=says):
        impasto.stylize(photo, painting, **inputs | ({"masks": masks} if masks else {}), **QUICK)


def test_color_masks_need_one_painting(photo: Path, painting: Path, other: Path) -> None:
    with pytest.raises(OptionError, match="style_mask names regions of one painting, and this is a blend"):
        impasto.stylize(photo, [painting, other], pair=(WHITE, WHITE), **QUICK)


# ----------------------------------------------------------------------------------------------------------- odd pictures


def test_a_flat_photograph_is_painted_too(painting: Path) -> None:
    flat = np.full((48, 64, 3), 128, np.uint8)
    result = np.asarray(impasto.stylize(flat, painting, **QUICK | {"iterations": 60})).astype(float)
    assert result.std() > 10


def test_panoramas_tiny_pictures_and_black_and_white_paintings_are_painted(photo: Path, painting: Path) -> None:
    cat = np.asarray(Image.open(photo))
    panorama = cat[100:120, :400]
    grey = np.asarray(Image.open(painting).convert("L"))
    for content, style, size in ((panorama, painting, (320, 16)), (cat[:32, :32], painting, (64, 64)), (cat, grey, (64, 43))):
        longer = max(size)
        result = impasto.stylize(content, style, **QUICK | {"size": longer, "iterations": 15})
        assert result.size == size
        start = pictures.to_image(pictures.resize(tensor_of(content), size[::-1]))
        assert np.abs(np.asarray(result).astype(float) - np.asarray(start)).mean() > 3
    drained = np.asarray(result).astype(float)
    assert np.ptp(drained, axis=2).mean() < 0.6 * np.ptp(np.asarray(start).astype(float), axis=2).mean()


def tensor_of(pixels: np.ndarray) -> torch.Tensor:
    return pictures.load(pixels).pixels


def test_the_photograph_as_its_own_painting_hardly_changes(photo: Path) -> None:
    result = tensor(impasto.stylize(photo, photo, **QUICK))
    assert (result - pictures.resize(tensor(photo), (43, 64))).abs().mean() < 0.03
