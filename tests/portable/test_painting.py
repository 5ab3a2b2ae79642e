"""Painting without torch against the product: the same images up to rounding, the same notes and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import ROOT
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save as serialize

import impasto
from impasto import Stylizer, fast, palette, pictures, portable
from impasto.errors import ImpastoError, StyleFileError, UsageError
from impasto.fast import export, graphs, recolor
from impasto.fast.moments import moments
from impasto.inputs import Inputs, StyleFile, built_in
from impasto.options import Options
from impasto.portable import colors, network, stored, styles
from impasto.portable.network import TAPS

# of 0..1, for single pixels; the mean is 1e-5. Sums are in another order, and steep colors enlarge that
ROUNDING = 4e-3
STROKES = ROOT / "impasto" / "assets" / "strokes.jpg"


def painted(photo: Any, *given: Any, **changes: Any) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """What is painted without torch, HxWxC in 0..1, and the notes."""
    options = Options(quality="instant", **changes)
    painting = portable.Painting(options, Inputs(photo, given).load(options.max_pixels, stills=True))
    return np.asarray(painting.image(), np.float64) / 255, painting.notes


def product(photo: Any, *given: Any, **changes: Any) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """The same with torch."""
    session = Stylizer(quality="instant", precision="fp32", device="cpu", **changes).run(photo, given)
    return np.asarray(session.finish(), np.float64) / 255, session.problem.notes


CASES: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "a painting": ((STROKES,), {"size": 200}),
    "a built-in style, tuned": (("great-wave",), {"size": 230}),
    "between levels, large strokes": (("mondrian",), {"size": 191, "style_scale": 4, "strength": 1}),
    "small strokes, faint": ((STROKES,), {"size": 256, "style_scale": 0.25, "strength": 0.05}),
    "a blend": (("udnie", STROKES), {"size": 128, "blend": (3, 1)}),
    "a blend of one": (("udnie", "mondrian"), {"size": 64, "blend": (0, 1)}),
    "not painted": (("udnie",), {"size": 100, "strength": 0}),
}


@pytest.mark.parametrize("case", CASES)
def test_images_are_those_of_torch(photo: Path, case: str) -> None:
    given, changes = CASES[case]
    found, notes = painted(photo, *given, **changes)
    expected, known = product(photo, *given, **changes)
    assert notes == known
    assert found.shape == expected.shape
    apart = np.abs(found - expected)
    assert (apart.max() < ROUNDING + 1 / 255, apart.mean() < 2e-4) == (True, True)


def test_transparent_gray_and_thin_images(here: Path, photo: Path) -> None:
    with Image.open(photo) as image:
        small = image.convert("RGB").resize((90, 60))
    faded = small.copy()
    faded.putalpha(Image.linear_gradient("L").resize((90, 60)))
    small.convert("L").save("gray.png")
    for source, style in ((faded, "udnie"), (small, Path("gray.png")), (small.resize((700, 20)), "udnie")):
        found, notes = painted(source, style)
        expected, known = product(source, style)
        assert (found.shape, notes) == (expected.shape, known)
        assert np.abs(found - expected).max() < ROUNDING + 1 / 255


def test_parts_are_those_of_torch(photo: Path) -> None:
    pixels = pictures.load(photo).pixels
    encoder, net = Stylizer(quality="instant", precision="fp32", device="cpu").encoder.only(TAPS), fast.load().net
    for size in ((90, 131), (64, 20), (17, 300)):
        small = pictures.resize(pixels, size)
        (resized,) = network.run("resize", image=pixels, size=size)
        assert np.abs(resized - small.numpy()).max() < 1e-4
        Q = colors.palette_of(small.numpy())
        assert np.abs(Q - palette.quantiles(small).numpy()).max() < 1e-5
        known = recolor.table(recolor.colors_of(small), palette.quantiles(small).flip(0))
        assert np.abs(colors.table(small.numpy(), Q[::-1]) - known[0].flatten(1).numpy()).max() < 1e-4
        features = encoder(small)
        found = styles.look_of(network.run("moments", painting=small))
        for tap in TAPS:
            mean, covariance = (value[0].numpy() for value in moments(net.basis.project(tap, features[tap])))
            assert np.abs(found[tap].mean - mean).max() < 1e-4
            assert np.abs(found[tap].covariance - covariance).max() < 1e-3


def test_graphs_hold_no_weights_and_take_what_they_say() -> None:
    for name, graph in graphs.GRAPHS.items():
        file = graphs.file_of(name)
        assert file.stat().st_size < 60_000
        session = network._session(name)
        assert [value.name for value in session.get_inputs()] == list(graph.inputs)
        assert [value.name for value in session.get_outputs()] == list(graph.outputs)


@pytest.mark.parametrize(
    ("changes", "given", "problem"),
    [
        ({"quality": "best"}, {}, "quality 'best' needs torch"),
        ({"keep_colors": "luma"}, {}, "keep_colors 'luma' needs torch"),
        ({"precision": "bf16"}, {}, "precision 'bf16' needs torch"),
        ({}, {"start": np.zeros((64, 64, 3))}, "a start image needs torch"),
        ({}, {"pair": (np.zeros((64, 64)), np.zeros((64, 64)))}, "a mask needs torch"),
    ],
)
def test_what_needs_torch_says_so(photo: Path, changes: dict[str, Any], given: dict[str, Any], problem: str) -> None:
    options = Options(**{"quality": "instant", **changes})
    with pytest.raises(UsageError) as caught:
        portable.Painting(options, Inputs(photo, ("udnie",), **given).load(options.max_pixels, stills=True))
    assert str(caught.value) == f"{problem}; install it: pip install 'impasto[paint]'"


@pytest.mark.parametrize(
    ("size", "style", "changes"),
    [
        ((300, 300), "udnie", {"blend": (1, 2)}),
        ((300, 12), "udnie", {}),
        ((300, 300), (9, 300), {}),
        ((600, 20), "udnie", {"size": 256}),
        ((300, 300), "udnie", {"size": 20_000}),
    ],
)
def test_errors_are_those_of_torch(size: tuple[int, int], style: Any, changes: dict[str, Any]) -> None:
    photo = Image.new("RGB", size)
    style = style if isinstance(style, str) else Image.new("RGB", style)
    with pytest.raises(ImpastoError) as expected:
        product(photo, style, **changes)
    with pytest.raises(ImpastoError) as found:
        painted(photo, style, **changes)
    assert (type(found.value), str(found.value)) == (type(expected.value), str(expected.value))


def test_a_style_file_of_another_network_is_painted_from_its_painting(here: Path, photo: Path) -> None:
    from impasto import styles as with_torch

    stylizer = Stylizer(quality="instant", precision="fp32", device="cpu")
    painting = stylizer.style(STROKES)
    assert isinstance(painting, with_torch.Painted)
    with_torch.save(painting, "kept.style")
    found, _ = painted(photo, Path("kept.style"), size=128)
    expected, _ = product(photo, Path("kept.style"), size=128)
    assert np.abs(found - expected).mean() < 0.01  # of the JPEG in the file, while torch has its Gram matrices
    with_torch.save(painting, "bare.style", images=())
    problem = r"^bare\.style holds nothing for the network of quality 'instant': computing it needs torch; install"
    with pytest.raises(UsageError, match=problem):
        stored.load(StyleFile(Path("bare.style"), ""))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quantiles", np.zeros((7, 5), np.float32)),
        ("instant/tuning", np.zeros(5, np.float16)),
        ("instant/01/relu1_1/mean", np.zeros(16)),
    ],
)
def test_a_malformed_style_file_is_one_error(here: Path, name: str, value: np.ndarray[Any, Any]) -> None:
    file = Path("odd.style")
    with safe_open(built_in("udnie"), "np") as stored_file:
        metadata, names = stored_file.metadata(), set(stored_file.keys())
        tensors = {key: stored_file.get_tensor(key) for key in names}
    file.write_bytes(serialize(tensors | {name: value}, metadata))
    with pytest.raises(StyleFileError, match="is damaged: what it holds for quality 'instant' is malformed"):
        stored.load(StyleFile(file, ""))


def test_without_torch_stylize_paints_with_quality_instant(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = impasto.stylize(photo, "udnie", size=100, quality="instant", precision="fp32", device="cpu")
    monkeypatch.setattr("impasto.front.has_torch", lambda: False)
    found = impasto.stylize(photo, "udnie", size=100)
    assert np.abs(np.subtract(found, expected, dtype=np.int16)).max() <= 2
    with pytest.raises(UsageError, match="quality 'normal' needs torch"):
        impasto.stylize(photo, "udnie", iterations=3)


def test_the_sizes_that_are_known_without_torch() -> None:
    assert (export.MODULATION, (len(palette.DIRECTIONS), palette.QUANTILES)) == (network.MODULATION, network.PALETTE)
    assert tuple(graphs.GRAPHS) == network.GRAPHS
