"""Styles in files and styles by name, held against numpy and against the paintings they were made from."""

from __future__ import annotations

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
from impasto.cli import main
from impasto.errors import OptionError, OutputError, StyleFileError, UnknownNameError
from impasto.styles import Painted, Stored, named
from impasto.styles.palette import palette

TAPS = ("relu1_1", "relu2_1", "relu3_1")
QUICK: dict[str, Any] = {"size": 64, "iterations": 6, "device": "cpu", "precision": "fp32", "style_taps": TAPS}
Edit = Callable[[dict[str, Any], dict[str, torch.Tensor]], None]


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


def make(stylizer: impasto.Stylizer, name: str = "night.style", **words: Any) -> tuple[Painted, Stored]:
    """The painting's style, and the same from a file."""
    painted = stylizer.painting("painting.png")
    styles.save(painted, name, **words)
    stored = stylizer.style(name)
    assert isinstance(stored, Stored)
    return painted, stored


def edited(name: str, edit: Edit) -> None:
    """Change a style file's card and tensors, and write it back."""
    with safe_open(name, framework="pt") as file:
        card = json.loads(file.metadata()["impasto style"])
    tensors = load_file(name)
    edit(card, tensors)
    save_file(tensors, name, {"impasto style": json.dumps(card)})


# -------------------------------------------------------------------------------------------------------------- exact files


def test_a_file_holds_the_triangle_of_every_gram_matrix(stylizer: impasto.Stylizer) -> None:
    """Against numpy in float64, from the features themselves."""
    make(stylizer)
    tensors = load_file("night.style")
    for number, size in ((-2, (51, 64)), (0, (102, 128)), (2, (205, 256))):
        F = stylizer.encoder(pictures.resize(pictures.load("painting.png").pixels, size))
        for tap in TAPS:
            rows = F[tap][0].flatten(1).numpy().astype(np.float64)
            G = rows @ rows.T / rows.shape[1]
            upper = np.concatenate([G[i, i:] for i in range(len(G))])
            np.testing.assert_allclose(tensors[f"{number}/{tap}"].numpy(), upper, rtol=1e-4, atol=1e-5)


def test_the_targets_are_the_paintings_to_the_last_bit(stylizer: impasto.Stylizer) -> None:
    painted, stored = make(stylizer)
    for longer in (64, 128, 150, 200, 256):
        expected = painted.targets(longer)
        assert stored.targets(longer).keys() == expected.keys()
        for tap, G in stored.targets(longer).items():
            assert torch.equal(G, expected[tap])


@pytest.mark.parametrize(
    "options",
    [{}, {"size": 150}, {"style_scale": 0.5, "size": 128}, {"strength": 0.9}, {"mask": ("mask.png=PAINTING",)}],
    ids=str,
)
def test_a_stored_style_paints_the_same_bytes(options: dict[str, Any], stylizer: impasto.Stylizer) -> None:
    make(stylizer)
    Image.linear_gradient("L").resize((451, 300)).save("mask.png")
    results = []
    for style in ("painting.png", "night.style"):
        masks = tuple(text.replace("PAINTING", style) for text in options.get("mask", ()))
        results.append(impasto.stylize("photo.jpg", style, **QUICK | options | {"mask": masks}).tobytes())
    assert results[0] == results[1]


def test_a_stored_style_blends_with_a_painting(stylizer: impasto.Stylizer) -> None:
    make(stylizer)
    with Image.open("painting.png") as image:
        image.rotate(180).convert("L").save("other.png")
    one, two = (
        impasto.stylize("photo.jpg", [style, "other.png"], blend=(3, 1), **QUICK) for style in ("painting.png", "night.style")
    )
    assert one.tobytes() == two.tobytes()


def test_a_subset_of_the_taps_is_enough(stylizer: impasto.Stylizer) -> None:
    make(stylizer)
    fewer = QUICK | {"style_taps": "relu2_1"}
    one, two = (impasto.stylize("photo.jpg", style, **fewer) for style in ("painting.png", "night.style"))
    assert one.tobytes() == two.tobytes()


def test_rungs_reach_to_the_paintings_own_size_and_no_further(stylizer: impasto.Stylizer) -> None:
    for side, most in ((40, 64), (128, 128), (129, 181), (200, 256), (3000, 1024)):
        painting = Painted(torch.zeros(1, 3, 20, side), stylizer.encoder, TAPS)
        assert styles.rung(max(styles.stored.rungs_of(painting))) == most
        assert styles.rung(min(styles.stored.rungs_of(painting))) == 64


def test_a_size_that_is_not_stored_is_said(stylizer: impasto.Stylizer) -> None:
    painted, stored = make(stylizer)
    assert stored.words_at([64, 150, 256]) == ()
    (word,) = stored.words_at([45, 128, 362.4])
    assert word.startswith("style night is stored for 64 to 256 pixels, not for 45 and 362")
    for asked, nearest in ((-5, -2), (-3, -2), (3, 2), (9, 2)):
        assert all(torch.equal(G, painted.at(nearest)[tap]) for tap, G in stored.at(asked).items())
    notes = impasto.Stylizer(**QUICK | {"size": 512}).run("photo.jpg", "night.style").notes
    assert [note for note in notes if "not for 362 and 512: the nearest stands in" in note]
    assert impasto.Stylizer(**QUICK).run("photo.jpg", "night.style").notes == ()


def test_the_same_painting_makes_the_same_bytes(stylizer: impasto.Stylizer) -> None:
    for error in (0.0, 0.02):
        for name in ("a.style", "b.style"):
            make(stylizer, name, error=error, title="x", overwrite=True)
        assert Path("a.style").read_bytes() == Path("b.style").read_bytes()


# --------------------------------------------------------------------------------------------------------- packed files


@pytest.mark.parametrize("error", [0.003, 0.01, 0.05])
def test_packing_keeps_its_bound_and_every_channels_energy(stylizer: impasto.Stylizer, error: float) -> None:
    painted, stored = make(stylizer, error=error)
    for number in stored.card.rungs:
        for tap, G in stored.at(number).items():
            A, B = (x.numpy().astype(np.float64) for x in (painted.at(number)[tap], G))
            assert np.linalg.norm(B - A) <= (error + 5e-4) * np.linalg.norm(A)
            np.testing.assert_allclose(np.diag(B), np.diag(A), rtol=1e-3, atol=1e-6 * np.diag(A).max())
            np.testing.assert_array_equal(B, B.T)


def test_packing_takes_the_least_rank(stylizer: impasto.Stylizer) -> None:
    """Against numpy's own decompositions, the bound measured on the matrices themselves: one column fewer breaks it."""
    painted, _ = make(stylizer, error=0.01)
    tensors = load_file("night.style")
    A = painted.at(0)["relu3_1"].numpy().astype(np.float64)

    def off_diagonal(U: np.ndarray) -> float:
        left = A - U @ U.T
        np.fill_diagonal(left, 0)
        return float(np.linalg.norm(left) / np.linalg.norm(A))

    diagonal, ranks = np.zeros(len(A)), []
    for _ in range(styles.stored.PASSES):
        values, vectors = np.linalg.eigh(A - np.diag(diagonal))
        factors = [vectors[:, -columns:] * np.sqrt(values[-columns:].clip(0)) for columns in range(1, len(A) + 1)]
        ranks.append(1 + next(k for k, U in enumerate(factors) if off_diagonal(U) <= 0.01))
        U = factors[ranks[-1] - 1]
        diagonal = np.diag(A - U @ U.T)
    assert tensors["0/relu3_1/factor"].shape[1] == ranks[-1] < ranks[0]
    assert off_diagonal(factors[ranks[-1] - 2]) > 0.01
    kept = tensors["0/relu3_1/factor"].double() * tensors["0/relu3_1/scale"].double()
    assert off_diagonal(kept.numpy()) == pytest.approx(off_diagonal(factors[ranks[-1] - 1]), rel=1e-3)  # but for float16


def test_packing_survives_what_half_precision_cannot_hold() -> None:
    for size in (1e-6, 1.0, 1e9):
        F = torch.rand(8, 5, generator=torch.Generator().manual_seed(0)).double() * torch.logspace(0, -4, 5)
        G = (size * F @ F.T).float()
        packed = {"x" + key[1:]: tensor for key, tensor in styles.stored._packed("x", G, 0.001).items()}
        torch.testing.assert_close(styles.stored._unpacked(packed, "x"), G, rtol=3e-3, atol=float(G.max()) * 1e-3)
    for G in (torch.zeros(4, 4), torch.ones(4, 4)):
        assert torch.allclose(styles.stored._unpacked(styles.stored._packed("x", G, 0.01), "x"), G, atol=2e-3)


# ------------------------------------------------------------------------------------------------------------------- cards


def test_the_card_says_what_it_was_made_for(stylizer: impasto.Stylizer) -> None:
    make(stylizer, title="Nacht", source="Ülle, 1907", licence="CC0")
    card = styles.read_card("night.style")
    assert (card.title, card.source, card.licence) == ("Nacht", "Ülle, 1907", "CC0")
    assert (card.encoder, card.pooling, card.padding, card.taps) == ("lite", "max", "replicate", TAPS)
    assert card.digest == weights.load("lite").digest
    assert (card.size, card.sides, card.error) == ((200, 160), (64, 256), 0)
    picture = styles.read_thumbnail("night.style")
    assert picture is not None
    with Image.open(io.BytesIO(picture)) as image, Image.open("painting.png") as painting:
        assert image.size == (160, 128)
        one, two = (np.asarray(x.convert("RGB").resize((20, 16), Image.Resampling.BOX), float) for x in (image, painting))
        assert np.abs(one - two).mean() < 2
    make(stylizer, thumbnail=False, overwrite=True)
    assert styles.read_thumbnail("night.style") is None


def test_a_palette_finds_the_colours_and_their_shares() -> None:
    canvas = torch.zeros(1, 3, 40, 60)
    canvas[:, 0, :, 30:] = 1.0  # half red
    canvas[:, 2, :, :15] = 0.6  # a quarter blue
    assert (
        dict(palette(canvas)) == pytest.approx({"#000000": 0.25, "#ff0000": 0.5, "#000099": 0.25}, abs=0.06)
        or len(palette(canvas)) > 3
    )
    colors = [color for color, _ in palette(canvas)]
    assert {"#000000", "#ff0000", "#000099"} <= set(colors)
    assert sum(share for _, share in palette(canvas)) == pytest.approx(1, abs=0.01)
    assert palette(torch.full((1, 3, 9, 9), 0.2)) == (("#333333", 1.0),)


def test_the_digest_is_of_the_weights_and_not_of_their_order() -> None:
    lite = weights.load("lite")
    again = weights.Weights("lite", dict(reversed(lite.tensors.items())), "x")
    assert lite.digest == again.digest
    changed = {name: tensor.clone() for name, tensor in lite.tensors.items()}
    changed["conv1_1.bias"][0] += 1e-6
    assert lite.digest != weights.Weights("lite", changed, "x").digest


# --------------------------------------------------------------------------------------------------------- what is refused


def drop(card: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    del tensors["0/relu2_1"]


def shorten(card: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["0/relu2_1"] = tensors["0/relu2_1"][:-1].clone()


def spoil(card: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["0/relu2_1"][3] = math.nan


def shrink(card: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["0/relu2_1"] = torch.ones(3)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda card, tensors: card.update(format=3, impasto="9.1"), "format 3, made by impasto 9.1.*reads format 2.*anew"),
        (
            lambda card, tensors: card.update(digest="0" * 64),
            "other weights of lite.*impasto style make PAINTING --encoder lite",
        ),
        (lambda card, tensors: card.update(encoder="vgg19"), "made for vgg19 with max pooling.*not for lite with max pooling"),
        (lambda card, tensors: card.update(pooling="average"), "lite with average pooling.*not for lite with max pooling"),
        (lambda card, tensors: card.update(taps=["relu1_1"]), "has no relu2_1, only relu1_1"),
        (lambda card, tensors: card.update(rungs=[]), "card is damaged: rungs"),
        (lambda card, tensors: card.update(palette=[["red", 1]]), "card is damaged: palette"),
        (lambda card, tensors: card.pop("digest"), "card is damaged: digest"),
        (lambda card, tensors: card.update(title="x" * 301), "card is damaged: title"),
        (lambda card, tensors: tensors.pop("quantiles"), "damaged: it has not the colours"),
        (drop, "damaged: it has no relu2_1 for 128 pixels"),
        (shorten, "damaged: relu2_1 has not the shape"),
        (shrink, "damaged: relu2_1 has not the shape"),
        (spoil, "damaged: relu2_1 for 128 pixels is not of finite numbers"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(edit: Edit, says: str, stylizer: impasto.Stylizer) -> None:
    make(stylizer)
    edited("night.style", edit)
    with pytest.raises(StyleFileError, match=f"^night.style.*{says}") as caught:
        stylizer.style("night.style")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_styles_are_refused(stylizer: impasto.Stylizer) -> None:
    make(stylizer)
    whole = Path("night.style").read_bytes()
    Path("cut.style").write_bytes(whole[:-100])
    Path("stub.style").write_bytes(whole[:100])
    Path("empty.style").touch()
    Path("text.style").write_text("a style, says its name\n" * 20)
    Path("folder.style").mkdir()
    save_file({"x": torch.ones(2)}, "other.style")
    said = {
        "cut.style": "cut short",
        "stub.style": "cut short",
        "empty.style": "is empty",
        "text.style": "not a style file",
        "folder.style": "is a directory",
        "other.style": "safetensors, but not a style",
        "missing.style": "no such file",
        "/dev/null.style": "no such file|not a directory",
    }
    for name, says in said.items():
        with pytest.raises(StyleFileError, match=says):
            stylizer.style(name)
        with pytest.raises(StyleFileError, match=says):
            styles.read_card(name)


def test_saving_replaces_nothing_and_refuses_endless_words(stylizer: impasto.Stylizer) -> None:
    painted, _ = make(stylizer)
    with pytest.raises(OutputError, match="exists"):
        styles.save(painted, "night.style")
    with pytest.raises(OutputError, match=r"unknown suffix '.stile'; did you mean '.style'"):
        styles.save(painted, "night.stile")
    with pytest.raises(StyleFileError, match="title must have at most 300"):
        styles.save(painted, "other.style", title="x" * 301)


def test_what_needs_the_painting_says_so(stylizer: impasto.Stylizer) -> None:
    make(stylizer)
    for mode in ("luma", "match"):
        with pytest.raises(OptionError, match="keep_colors needs the painting"):
            impasto.stylize("photo.jpg", "night.style", keep_colors=mode, **QUICK)
    mask = pictures.load("photo.jpg")
    Image.new("RGB", mask.size[::-1], "red").save("here.png")
    Image.new("RGB", (200, 160), "red").save("there.png")
    with pytest.raises(OptionError, match="style_mask needs the painting"):
        impasto.stylize("photo.jpg", "night.style", content_mask="here.png", style_mask="there.png", **QUICK)


# ------------------------------------------------------------------------------------------------------------ those with names


def test_a_dozen_styles_come_with_impasto_in_twelve_megabytes() -> None:
    files = [named.path(name) for name in named.names()]
    assert len(files) == 12
    assert sum(file.stat().st_size for file in files) < 12_000_000
    default = impasto.Options()
    for name, file in zip(named.names(), files, strict=True):
        card = styles.read_card(file)
        assert card.title
        assert card.source
        assert card.licence.startswith("public domain")
        assert card.digest == weights.load("lite").digest, f"{name}: lite has changed; run scripts/make_styles.py"
        assert set(card.taps) >= set(default.style_taps)
        assert (card.pooling, card.padding) == (default.pooling if default.encoder != "auto" else "max", default.padding)
        assert card.sides == (64, 1024)
        assert 0 < card.error <= 0.0116
        assert 3 <= len(card.palette) <= 6
        assert styles.read_thumbnail(file) is None


def test_a_name_paints_without_the_painting() -> None:
    quick = {"size": 64, "iterations": 6, "device": "cpu"}
    results = {style: impasto.stylize("photo.jpg", style, **quick).tobytes() for style in ("starry-night", Path("great-wave"))}
    assert len(set(results.values())) == 2
    blend = impasto.stylize("photo.jpg", ["starry-night", "great-wave"], style_scale=2, **quick)
    assert blend.tobytes() not in results.values()
    for size in (64, 512, 600, 1024):
        assert impasto.Stylizer(size=size, device="cpu").run("photo.jpg", "udnie").notes == ()


def test_a_real_file_wins_over_a_name_and_a_folder_does_not(stylizer: impasto.Stylizer) -> None:
    quick = impasto.Stylizer(size=64, device="cpu")
    Path("udnie").mkdir()
    assert isinstance(quick.style("udnie"), Stored)
    shutil.copy("painting.png", "starry-night")
    assert isinstance(quick.style("starry-night"), Painted)
    assert isinstance(quick.style(Path("./great-wave")), Stored)  # as pathlib reads it
    assert named.style_file("sub/great-wave") is None


def test_nearly_a_name_is_helped(stylizer: impasto.Stylizer) -> None:
    for word, meant in (("sarry-night", "starry-night"), ("Great Wave", "great-wave"), ("unie", "udnie")):
        with pytest.raises(UnknownNameError, match=f"unknown style '{word}'; did you mean '{meant}'"):
            stylizer.style(word)
    with pytest.raises(impasto.ImpastoError, match="no such file"):
        stylizer.style("qqqqqq")


# ------------------------------------------------------------------------------------------------------------ the command line


def test_make_then_paint_without_the_painting(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    quick = ("--size", "64", "--iterations", "3", "--device", "cpu", "-q", "--no-metadata")
    assert main(["style", "make", "painting.png", "-o", "night.style", "--title", "A night", "--license", "CC0"]) == 0
    assert capsys.readouterr().out.startswith(
        "wrote night.style: 64 to 256 pixels, for lite with max pooling and replicate padding"
    )
    assert main(["photo.jpg", "painting.png", *quick]) == 0
    Path("painting.png").unlink()
    assert main(["photo.jpg", "night.style", *quick]) == 0
    assert pictures.load("photo-night.png").pixels.equal(pictures.load("photo-painting.png").pixels)
    assert main(["style", "show", "night.style"]) == 0
    shown = capsys.readouterr().out
    for words in ("A night", "CC0", "200x160 pixels, with a thumbnail", "64 to 256 pixels, exact", "lite with max pooling"):
        assert words in shown


def test_make_says_its_all_in_json_and_takes_its_default_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["style", "make", "painting.png", "--json", "-q", "--pooling", "average"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["output"], said["from"], said["to"], said["exit_code"]) == ("painting.style", 64, 256, 0)
    assert styles.read_card("painting.style").pooling == "average"
    assert main(["style", "make", "painting.png"]) == 2
    assert "painting.style exists; add --overwrite" in capsys.readouterr().err
    assert main(["style", "make", "painting.png", "--overwrite"]) == 0


def test_styles_lists_every_name_with_palette_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["styles"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == named.names()
    (line,) = (line for line in lines if line.startswith("great-wave"))
    assert "Katsushika Hokusai" in line
    assert styles.read_card(named.path("great-wave")).palette[0][0] in line


def test_a_file_cannot_play_with_the_terminal(capsys: pytest.CaptureFixture[str], stylizer: impasto.Stylizer) -> None:
    make(stylizer, title="\x1b[2Jgone\nimpasto: ok", source="[bold]x[/bold]")
    assert main(["style", "show", "night.style"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold]x[/bold]" in shown
    assert "gone impasto: ok" in shown


def test_a_name_is_where_the_result_gets_its_name_from(capsys: pytest.CaptureFixture[str]) -> None:
    quick = ("--size", "32", "--iterations", "2", "--device", "cpu", "--json")
    assert main(["photo.jpg", "starry-night", *quick]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["output"] == "photo-starry-night.png"
    assert main(["photo.jpg", "starry-night", *quick, "--overwrite"]) == 0
