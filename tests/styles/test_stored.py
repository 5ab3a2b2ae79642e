"""Style files against numpy and against the paintings they were made from; what is refused; the styles that come with impasto."""

from __future__ import annotations

import functools
import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import impasto
from impasto import pictures, styles, weights
from impasto.errors import OptionError, OutputError, StyleFileError
from impasto.inputs import built_in, style_names
from impasto.ladder import rung
from impasto.styles import Painted, Stored, Style

TAPS = ("relu1_1", "relu2_1", "relu3_1")
QUICK: dict[str, Any] = {"size": 64, "iterations": 2, "device": "cpu", "precision": "fp32", "style_taps": TAPS}
Edit = Callable[[dict[str, Any], dict[str, torch.Tensor]], object]


@pytest.fixture(scope="module")
def stylizer() -> impasto.Stylizer:
    return impasto.Stylizer(**QUICK)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, assets: Path) -> Path:
    """The folder every test runs in, with a photograph and a painting of 200x160 pixels."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(assets / "chelsea.jpg", "photo.jpg")
    with Image.open(assets / "strokes.jpg") as image:
        image.resize((200, 160)).save("painting.png")
    return tmp_path


def make(stylizer: impasto.Stylizer, name: str = "night.style", **words: Any) -> tuple[Painted, Style]:
    """The painting's style, and the same from a file."""
    painted = painted_by(stylizer)
    styles.save(painted, name, **words)
    return painted, stylizer.style(name)


@functools.cache
def painted_by(stylizer: impasto.Stylizer) -> Painted:
    """The painting's style, which computes its targets once for all tests."""
    painted = stylizer.style("painting.png")
    assert isinstance(painted, Painted)
    return painted


def edited(name: str, edit: Edit) -> None:
    """Change a style file's card and tensors, and write it back."""
    with safe_open(name, framework="pt") as file:
        card = json.loads(file.metadata()["impasto style"])
    tensors = load_file(name)
    edit(card, tensors)
    save_file(tensors, name, {"impasto style": json.dumps(card)})


# -------------------------------------------------------------------------------------------------------------- exact files


def test_a_file_holds_the_gram_matrices_and_means_of_the_features(stylizer: impasto.Stylizer) -> None:
    """Against numpy in float64."""
    make(stylizer)
    tensors = load_file("night.style")
    for number, size in ((-2, (51, 64)), (0, (102, 128)), (2, (205, 256))):
        F = stylizer.encoder(pictures.resize(pictures.load("painting.png").pixels, size))
        for tap in TAPS:
            rows = F[tap][0].flatten(1).numpy().astype(np.float64)
            G = rows @ rows.T / rows.shape[1]
            upper = np.concatenate([G[i, i:] for i in range(len(G))])
            np.testing.assert_allclose(tensors[f"{number}/{tap}"].numpy(), upper, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(tensors[f"{number}/{tap}/mean"].numpy(), rows.mean(axis=1), rtol=1e-4, atol=1e-5)


def test_the_targets_are_the_paintings_to_the_last_bit(stylizer: impasto.Stylizer) -> None:
    painted, stored = make(stylizer)
    assert isinstance(stored, Stored)
    for longer in (64, 128, 150, 200, 256):
        found, expected = stored.targets(longer), painted.targets(longer)
        assert found.keys() == expected.keys()
        assert all(torch.equal(G, expected[tap]) for tap, G in found.items())
    for number in stored.card.rungs:
        means = painted.means_at(number)
        assert all(torch.equal(mean, means[tap]) for tap, mean in stored.means_at(number).items())
    assert torch.equal(stored.quantiles(), painted.quantiles())


@pytest.mark.parametrize(
    "options",
    [{"style_scale": 0.5, "size": 150}, {"masks": True}, {"blend": (3, 1), "style_taps": "relu2_1"}],
    ids=str,
)
def test_a_stored_style_paints_the_same_bytes(options: dict[str, Any], stylizer: impasto.Stylizer) -> None:
    make(stylizer)
    Image.linear_gradient("L").resize((451, 300)).save("mask.png")
    Image.open("painting.png").rotate(180).convert("L").save("other.png")
    results = []
    for style in ("painting.png", "night.style"):
        changes = QUICK | options | ({"masks": [("mask.png", style)]} if "masks" in options else {})
        several = [style, "other.png"] if "blend" in options else style
        results.append(impasto.stylize("photo.jpg", several, **changes).tobytes())
    assert results[0] == results[1]


def test_rungs_reach_to_the_paintings_own_size_and_what_is_not_stored_is_said(stylizer: impasto.Stylizer) -> None:
    for side, most in ((40, 64), (128, 128), (129, 181), (200, 256), (3000, 1024)):
        rungs = styles.rungs_of(Painted(torch.zeros(1, 3, 20, side), stylizer.encoder, TAPS))
        assert (rung(min(rungs)), rung(max(rungs))) == (64, most)
    painted, stored = make(stylizer)
    assert stored.notes_at([64, 150, 256]) == ()
    (note,) = stored.notes_at([45, 128, 362.4])
    assert note.startswith("style night is stored for 64 to 256 pixels, not for 45 and 362")
    for asked, nearest in ((-5, -2), (-3, -2), (3, 2), (9, 2)):
        assert all(torch.equal(G, painted.at(nearest)[tap]) for tap, G in stored.at(asked).items())
        assert all(torch.equal(m, painted.means_at(nearest)[tap]) for tap, m in stored.means_at(asked).items())
    notes = impasto.Stylizer(**QUICK | {"size": 512, "iterations": 4}).run("photo.jpg", "night.style").problem.notes
    assert [note for note in notes if "not for 512; the nearest scale is used" in note]


def test_a_thin_painting_whose_scales_are_alike(stylizer: impasto.Stylizer) -> None:
    Image.open("painting.png").resize((256, 16)).save("thin.png")
    style = stylizer.style("thin.png")
    assert isinstance(style, Painted)
    card = styles.save(style, "thin.style")
    assert len(card.rungs) > 1
    stored = stylizer.style("thin.style")
    for number in card.rungs:
        for tap, mean in style.means_at(number).items():
            assert torch.equal(stored.means_at(number)[tap], mean)


def test_the_same_painting_makes_the_same_bytes_and_packed_ones_are_near(stylizer: impasto.Stylizer) -> None:
    for error in (0.0, 0.01):
        for name in ("a.style", "b.style"):
            painted_by.cache_clear()  # computed again
            painted, stored = make(stylizer, name, error=error, title="x", overwrite=True)
        assert Path("a.style").read_bytes() == Path("b.style").read_bytes()
        assert isinstance(stored, Stored)
        for number in stored.card.rungs:
            for tap, G in stored.at(number).items():
                A = painted.at(number)[tap]
                assert float((G - A).norm() / A.norm()) <= error + 5e-4


# ------------------------------------------------------------------------------------------------------- cards and images


def test_the_card_and_the_images(stylizer: impasto.Stylizer) -> None:
    make(stylizer, title="Nacht", source="Ülle, 1907", licence="CC0")
    card = styles.read_card("night.style")
    assert (card.format, card.title, card.source, card.licence) == (3, "Nacht", "Ülle, 1907", "CC0")
    assert (card.encoder, card.pooling, card.padding, card.taps) == ("lite", "max", "replicate", TAPS)
    assert card.digest == weights.load("lite").digest
    assert (card.size, card.sides, card.error) == ((200, 160), (64, 256), 0)
    painting = Image.open("painting.png").convert("RGB")
    for name, size, most in (("thumbnail", (160, 128), 2), ("painting", (200, 160), 3)):
        data = styles.read_image("night.style", name)
        assert data is not None
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == ("JPEG", size)
            one, two = (np.asarray(x.resize((20, 16), Image.Resampling.BOX), float) for x in (image, painting))
            assert np.abs(one - two).mean() < most
    make(stylizer, images=(), overwrite=True)
    assert styles.read_image("night.style", "thumbnail") is styles.read_image("night.style", "painting") is None


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda card, tensors: card.update(digest="0" * 64), "was made for other weights of lite"),
        (lambda card, tensors: card.update(encoder="vgg19"), "was made for vgg19 with max pooling.*not for lite with max"),
        (lambda card, tensors: card.update(pooling="average"), "was made for lite with average pooling.*not for lite with max"),
        (lambda card, tensors: card.update(taps=["relu1_1"]), "has no relu2_1, only relu1_1"),
    ],
)
def test_a_file_for_another_encoder_falls_back_to_its_painting(edit: Edit, says: str, stylizer: impasto.Stylizer) -> None:
    painted, _ = make(stylizer)
    edited("night.style", edit)
    style = stylizer.style("night.style")
    assert isinstance(style, Painted)
    (note,) = style.notes
    assert note.startswith("night.style ")
    assert note.endswith("; the painting stored in it is used")
    run = stylizer.run("photo.jpg", "night.style")
    assert note in run.problem.notes
    assert run.finish().size == (64, 43)
    for tap, G in style.targets(128).items():  # as near as a JPEG is
        assert float((G - painted.targets(128)[tap]).norm() / G.norm()) < 0.05
    make(stylizer, images=("thumbnail",), overwrite=True)
    edited("night.style", edit)
    with pytest.raises(StyleFileError, match=rf"^night.style {says}.*, and holds no painting; .*impasto style make PAINTING"):
        stylizer.style("night.style")


# --------------------------------------------------------------------------------------------------------- what is refused


def shorten(card: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["0/relu2_1"] = tensors["0/relu2_1"][:-1].clone()


def spoil(card: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["0/relu2_1/mean"][3] = math.nan


def spoil_half(card: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["0/relu2_1/mean"] = tensors["0/relu2_1/mean"].half()
    tensors["0/relu2_1/mean"][3] = math.inf


def enlarge(card: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["0/relu2_1"] *= 1e30


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (
            lambda card, tensors: card.update(format=2, impasto="0.0"),
            "format 2, made by impasto 0.0; .*reads format 3: make it ",
        ),
        (lambda card, tensors: card.update(rungs=[]), "damaged, or from another version of impasto: rungs"),
        (lambda card, tensors: tensors.pop("quantiles"), "damaged: color data is missing or malformed"),
        (lambda card, tensors: tensors.pop("0/relu2_1"), "damaged: relu2_1 for 128 pixels is missing"),
        (lambda card, tensors: tensors.pop("0/relu2_1/mean"), "damaged: relu2_1 for 128 pixels is missing"),
        (lambda card, tensors: tensors.update({"0/relu2_1": torch.ones(3)}), "damaged: relu2_1 has the wrong shape"),
        (lambda card, tensors: tensors.update({"0/relu2_1/mean": torch.ones(3)}), "damaged: relu2_1 has the wrong shape"),
        (shorten, "damaged: relu2_1 has the wrong shape"),
        (spoil, "damaged: relu2_1 for 128 pixels has values that are too large or not finite"),
        (spoil_half, "damaged: relu2_1 for 128 pixels has values that are too large or not finite"),
        (enlarge, "damaged: relu2_1 for 128 pixels has values that are too large or not finite"),
    ],
)
def test_a_damaged_file_is_one_line_and_none_is_replaced(edit: Edit, says: str, stylizer: impasto.Stylizer) -> None:
    make(stylizer)
    edited("night.style", edit)
    with pytest.raises(StyleFileError, match=rf"night\.style.*{says}") as caught:
        stylizer.style("night.style")
    assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match="exists"):
        make(stylizer)


def test_what_needs_the_painting_says_so(stylizer: impasto.Stylizer) -> None:
    make(stylizer)
    for mode in ("luma", "match"):
        with pytest.raises(OptionError, match="keep_colors needs the painting"):
            impasto.stylize("photo.jpg", "night.style", keep_colors=mode, **QUICK)
    Image.new("RGB", (451, 300), "red").save("here.png")
    Image.new("RGB", (200, 160), "red").save("there.png")
    with pytest.raises(OptionError, match="style_mask needs the painting"):
        impasto.stylize("photo.jpg", "night.style", pair=("here.png", "there.png"), **QUICK)


# ------------------------------------------------------------------------------------------------------------ built-in styles


def test_a_dozen_styles_come_with_impasto() -> None:
    files = [built_in(name) for name in style_names()]
    assert len(files) == 12
    assert sum(file.stat().st_size for file in files) < 14_000_000
    default = impasto.Options(encoder="lite")
    for file in files:
        card = styles.read_card(file)
        assert card.title
        assert card.source
        assert card.licence.startswith("public domain")
        assert card.digest == weights.load("lite").digest, f"{file.name}: lite has changed; run scripts/make_styles.py"
        assert set(card.taps) >= set(default.style_taps)
        assert (card.pooling, card.padding, card.sides) == (default.pooling, default.padding, (64, 1024))
        assert 0 < card.error <= 0.0116
        assert 3 <= len(card.palette) <= 6


def test_a_name_paints_without_the_painting() -> None:
    quick: dict[str, Any] = {"size": 64, "iterations": 4, "device": "cpu"}
    results = {style: impasto.stylize("photo.jpg", style, **quick).tobytes() for style in ("starry-night", Path("great-wave"))}
    assert len(set(results.values())) == 2
    blend = impasto.stylize("photo.jpg", ["starry-night", "great-wave"], style_scale=2, **quick)
    assert blend.tobytes() not in results.values()
    for size in (64, 600, 900):
        assert impasto.Stylizer(size=size, device="cpu").run("photo.jpg", "udnie").problem.notes == ()
