"""Tuning: it lowers the loss of one style, is the same every time, and comes back from the style file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import impasto
from impasto import fast, pictures, styles
from impasto.errors import StyleFileError
from impasto.fast import tuning
from impasto.fast.looks import look_of, tuning_of
from impasto.inputs import built_in, style_names
from impasto.styles import Painted

QUICK: dict[str, Any] = {"quality": "instant", "size": 128, "device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def stylizer() -> impasto.Stylizer:
    return impasto.Stylizer(**QUICK)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "SIDES", (128, 128))
    monkeypatch.setattr(tuning, "CROPS", {128: 1})


def painted(stylizer: impasto.Stylizer, painting: Path) -> Painted:
    style = stylizer.style(painting)
    assert isinstance(style, Painted)
    return style


@pytest.mark.usefixtures("small")
def test_tuning_lowers_the_loss_and_repeats(
    stylizer: impasto.Stylizer, photo: Path, painting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "crops", lambda photos, *rest: pictures.resize(photos[0], (128, 128)))  # the same every step
    style, pixels = painted(stylizer, painting), pictures.load(photo).pixels
    runs = [list(fast.tune(style, fast.load(), [pixels], steps=5)) for _ in range(2)]
    for (first, one), (second, other) in zip(*runs, strict=True):
        assert first == second
        assert torch.equal(one, other)
    losses = [progress.loss for progress, _ in runs[0]]
    assert [progress.step for progress, _ in runs[0]] == [1, 2, 3, 4, 5]
    assert min(losses[3:]) < losses[0]


def test_a_tuned_file_paints_as_its_painting_with_the_tuning(
    stylizer: impasto.Stylizer, photo: Path, painting: Path, tmp_path: Path
) -> None:
    style, stored = painted(stylizer, painting), fast.load()
    vector = 0.1 * torch.randn(stored.net.head.out_features, generator=torch.Generator().manual_seed(0))
    card = styles.save(style, tmp_path / "a.style", instant={fast.TUNING: vector}, network=stored.digest)
    assert card.tuned
    loaded = stylizer.style(tmp_path / "a.style")
    found = tuning_of(stored.digest, loaded)
    assert found is not None
    torch.testing.assert_close(found, vector.half().float())
    assert tuning_of("another network", loaded) is None
    plain, tuned = (np.asarray(stylizer.run(photo, one).finish(), float) for one in (style, loaded))
    assert np.abs(plain - tuned).mean() > 1
    untuned = styles.save(style, tmp_path / "b.style")
    assert not untuned.tuned
    np.testing.assert_array_equal(np.asarray(stylizer.run(photo, tmp_path / "b.style").finish(), float), plain)


def test_a_packed_file_keeps_the_moments(stylizer: impasto.Stylizer, painting: Path, tmp_path: Path) -> None:
    """Packed Gram matrices hide small variances; what the file keeps for the network does not."""
    style, stored = painted(stylizer, painting), fast.load()
    kept = fast.moments_to_keep(stored.net, style)
    styles.save(style, tmp_path / "a.style", error=0.0116, instant=kept, network=stored.digest)
    loaded, longer = stylizer.style(tmp_path / "a.style"), 200.0
    exact, found = (look_of(stored.net, stored.digest, one, longer) for one in (style, loaded))
    for tap in exact:
        torch.testing.assert_close(found[tap].mean, exact[tap].mean, rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(found[tap].covariance, exact[tap].covariance, rtol=5e-3, atol=5e-3)


def test_what_a_damaged_file_keeps_for_the_network_is_refused(
    stylizer: impasto.Stylizer, photo: Path, painting: Path, tmp_path: Path
) -> None:
    style, stored = painted(stylizer, painting), fast.load()
    good = fast.moments_to_keep(stored.net, style)
    first = next(iter(good))
    for change in ({"NaN/relu1_1/mean": good[first]}, {first: good[first][:-1]}, {"7/relu9_9/mean": good[first]}):
        styles.save(style, tmp_path / "a.style", instant=good | change, network=stored.digest, overwrite=True)
        with pytest.raises(StyleFileError, match=r"what it holds for quality 'instant' is malformed"):
            stylizer.run(photo, tmp_path / "a.style").finish()
    styles.save(style, tmp_path / "a.style", instant={fast.TUNING: torch.ones(3)}, network=stored.digest, overwrite=True)
    with pytest.raises(StyleFileError, match=r"what it holds for quality 'instant' is malformed"):
        stylizer.run(photo, tmp_path / "a.style").finish()


def test_a_blend_has_the_mean_of_the_tunings(stylizer: impasto.Stylizer, painting: Path, tmp_path: Path) -> None:
    style, stored = painted(stylizer, painting), fast.load()
    vector = torch.ones(stored.net.head.out_features)
    styles.save(style, tmp_path / "a.style", instant={fast.TUNING: vector}, network=stored.digest)
    blend = styles.blended([stylizer.style(tmp_path / "a.style"), style], (0.25, 0.75))
    found = tuning_of(stored.digest, blend)
    assert found is not None
    torch.testing.assert_close(found, 0.25 * vector)


def test_the_built_in_styles_are_tuned_for_the_network_that_ships() -> None:
    for name in style_names():
        card = styles.read_card(built_in(name))
        assert (card.tuned, card.network) == (True, fast.load().digest), name
