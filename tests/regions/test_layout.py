"""Layouts against shares of every pixel worked out one layer at a time in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto import pictures, regions
from impasto.errors import OptionError, PictureError
from impasto.pictures import Picture

HALVES = np.zeros((4, 6, 3), np.uint8)
HALVES[:, 3:] = (255, 0, 0)


def mask(values: np.ndarray) -> Picture:
    return pictures.load(values)


def test_the_whole_image_is_one_region() -> None:
    layout = regions.whole()
    assert layout == regions.Layout((regions.Region(0),))
    assert (layout.regions[0].weight, layout.regions[0].part, layout.regions[0].share, layout.painted) == (
        None,
        None,
        1.0,
        None,
    )


@settings(derandomize=True, deadline=None, database=None, max_examples=40)
@given(st.lists(st.none() | st.integers(1, 3), min_size=1, max_size=4), st.none() | st.just(0), st.integers(0, 2**31))
def test_layers_share_every_pixel(styles: list[int | None], base: int | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = [rng.choice([0.0, 0.25, 1.0], (3, 4)) for _ in styles]
    for weight in weights:
        weight[0, 0] = 0.5  # never black everywhere, never all white
    shares = dict.fromkeys((base, *styles), np.zeros((3, 4)))  # of each style, and of the photograph under None
    shares[base] = np.ones((3, 4))
    for weight, style in zip(weights, styles, strict=True):  # painted one over the other
        shares = {known: share * (1 - weight) for known, share in shares.items()}
        shares[style] = shares[style] + weight
    layers = list(zip(map(mask, weights), styles, strict=True))
    if not any(share.any() for style, share in shares.items() if style is not None):
        with pytest.raises(OptionError, match="leave nothing to paint"):
            regions.layered(layers, (3, 4), base)
        return
    layout = regions.layered(layers, (3, 4), base)
    found = {style: np.zeros((3, 4)) for style in shares}
    for region in layout.regions:
        assert region.weight.any()
        assert region.share == pytest.approx(float(region.weight.mean()))
        found[region.style] += region.weight[0, 0].numpy()
    assert (layout.painted is None) == (not shares.get(None, np.zeros(1)).any())
    if layout.painted is not None:
        found[None] = 1 - layout.painted[0, 0].numpy()
    for style, share in shares.items():
        np.testing.assert_allclose(found[style], share, atol=1e-6)


def test_hidden_layers_are_left_out_and_notes_of_masks_are_passed_on_in_their_order() -> None:
    white = mask(np.ones((2, 2)))
    hidden = regions.layered([(mask(np.eye(2) / 2), 1), (white, 2)], (2, 2), 0)
    assert [region.style for region in hidden.regions] == [2]
    assert hidden.notes == ("mask has two values, which count as black and white", "mask selects the whole image")
    with pytest.raises(PictureError, match="mask is black everywhere"):
        regions.layered([(mask(np.zeros((2, 2))), 1)], (2, 2), 0)


def test_pairs_have_a_weight_in_the_photograph_and_a_part_of_the_painting() -> None:
    style = np.concatenate([HALVES[:, ::-1], np.full((4, 2, 3), (0, 0, 255), np.uint8)], axis=1)  # red, black, blue
    layout = regions.paired(mask(HALVES), mask(style), (8, 12), (4, 8))
    assert layout.painted is None
    assert layout.notes[0] == "content mask: 2 regions"
    assert layout.notes[1:] == ("style mask: its color #0000ff is not in the content mask and is left out",)
    for color, region in zip(((0, 0, 0), (255, 0, 0)), layout.regions, strict=True):
        assert (region.style, region.share) == (0, 0.5)
        assert torch.equal(region.weight[0, 0].bool(), torch.from_numpy((color == HALVES).all(-1)))
        assert torch.equal(region.part[0, 0].bool(), torch.from_numpy((style == color).all(-1)))
    with pytest.raises(PictureError, match=r"content mask is 6x4 pixels; .* 8x8$"):
        regions.paired(mask(HALVES), mask(HALVES), (8, 8), (4, 6))
    with pytest.raises(PictureError, match=r"style mask is 6x4 pixels; .* 9x9$"):
        regions.paired(mask(HALVES), mask(HALVES), (4, 6), (9, 9))
