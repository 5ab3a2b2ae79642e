"""The terms of an objective: which levels and taps with which weights and targets, and the image that is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference import Array
from tensors import image

from impasto import palette, pictures, terms, weights
from impasto.encoders import Lite
from impasto.ladder import SMALLEST, Size
from impasto.losses import StyleLoss, Term, VariationLoss
from impasto.options import Options
from impasto.regions import Region
from impasto.styles import Painted
from impasto.terms import METHODS

METHOD = METHODS["impasto"]
TAPS = {"relu1_1": 1, "relu3_1": 3, "relu4_1": 4}  # and their blocks
PAINTING = image((500, 620), 3, torch.float32)
WEIGHTS = {"style_weight": 7.0, "palette_weight": 3.0}


@pytest.fixture(scope="module")
def painted() -> Painted:
    encoder = Lite(weights.load("lite").tensors, TAPS).prepare(torch.device("cpu"), torch.float32)
    return Painted(PAINTING, encoder, tuple(TAPS))


# ------------------------------------------------------------------------------------------------------------ levels


def gram_at(painted: Painted, tap: str, longer: float) -> Array:
    """The Gram matrix per position of the painting at a longer side; between two rungs the mean of theirs. In float64."""
    place = 2 * math.log2(longer / 128)
    found = 0
    for number, share in ((math.floor(place), 1 - place % 1), (math.floor(place) + 1, place % 1)):
        if share:
            pixels = pictures.resize(PAINTING, pictures.fit((500, 620), round(128 * 2 ** (number / 2))))
            F = painted.encoder(pixels)[tap][0].flatten(1).double().numpy()
            found = found + share * (F @ F.T) / F.shape[1]
    return np.asarray(found)


@pytest.mark.parametrize("size", [(384, 512), (96, 128)])
def test_every_level_has_its_share_and_the_painting_at_its_size(size: Size, painted: Painted) -> None:
    options, whole = Options(**WEIGHTS), [Term("variation", 1.0, VariationLoss())]
    found = terms.in_levels(options, METHOD, [(Region(0), painted)], size, whole, None)
    least = painted.encoder.minimum_side
    shares = {k: share for k, share in METHOD.levels if min(size) // k >= least and max(size) / k >= SMALLEST}
    assert [level.factor for level in found] == list(shares)
    assert 1 < len(found) <= len(METHOD.levels)
    complete = len(found) == len(METHOD.levels)
    assert complete == (size == (384, 512))
    assert found[0].terms[0] is whole[0]
    for level in found:
        styles = {term.loss.tap: term for term in level.terms if isinstance(term.loss, StyleLoss)}
        assert len(styles) == len(level.terms) - (level.factor == 1)
        depth = METHOD.depth if level.factor == 1 and complete else 5
        assert list(styles) == [tap for tap, block in TAPS.items() if block <= depth]
        total = options.style_weight * shares[level.factor] / sum(shares.values())
        assert [term.weight for term in styles.values()] == pytest.approx([total / len(styles)] * len(styles))
        for tap, term in styles.items():
            assert isinstance(term.loss, StyleLoss)
            np.testing.assert_allclose(
                term.loss.A.numpy(), gram_at(painted, tap, max(size) / level.factor), rtol=1e-3, atol=1e-5, err_msg=tap
            )
    every = [term.weight for level in found for term in level.terms if term.name == "style"]
    assert sum(every) == pytest.approx(options.style_weight)


# ------------------------------------------------------------------------------------------------- the image to keep


def test_colors_move_with_the_strength_and_only_in_their_region(painted: Painted) -> None:
    photo, T = image((60, 80), 5, torch.float32), torch.zeros(1, 1, 60, 80)
    T[..., :40] = 1
    Q, most = painted.quantiles(), min(1.0, 2 * METHOD.recolor)
    reached = min(1.0, 0.5 / METHOD.recolor)  # the strength from which on colors move all the way
    for strength, share in ((0.25, METHOD.recolor / 2), (0.5, METHOD.recolor), (reached, most), (1.0, most)):
        options = Options(strength=strength, **WEIGHTS)
        everywhere = terms.target(options, METHOD, photo, [(Region(0), painted)])
        expected = (1 - share) * photo + share * palette.recolored(photo, Q)
        torch.testing.assert_close(everywhere, expected, rtol=1e-5, atol=1e-6)
        inside = terms.target(options, METHOD, photo, [(Region(0, T), painted)])
        assert torch.equal(inside[..., 40:], photo[..., 40:])
        expected = (1 - share) * photo + share * palette.recolored(photo, Q, T)
        torch.testing.assert_close(inside[..., :40], expected[..., :40], rtol=1e-5, atol=1e-6)
        assert (inside - photo)[..., :40].abs().mean() > 0.02


def test_colors_do_not_move_without_a_palette_and_not_for_the_published_method(painted: Painted) -> None:
    photo = image((60, 80), 5, torch.float32)
    for options, method in ((Options(palette_weight=0), METHOD), (Options(**WEIGHTS), METHODS["gatys"])):
        assert torch.equal(terms.target(options, method, photo, [(Region(0), painted)]), photo)
