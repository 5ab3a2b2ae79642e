"""The few colors a painting is shown by."""

from __future__ import annotations

import pytest
import torch

from impasto.styles.swatch import swatch


def test_it_finds_the_colors_and_their_shares() -> None:
    canvas = torch.zeros(1, 3, 40, 60)
    canvas[:, 0, :, 30:] = 1.0  # half red
    canvas[:, 2, :, :15] = 0.6  # a quarter blue, and a quarter black
    found = swatch(canvas)
    assert {"#000000", "#ff0000", "#000099"} <= {color for color, _ in found}
    assert found[0][0] == "#ff0000"
    assert found[0][1] == pytest.approx(0.5, abs=0.06)
    assert [share for _, share in found] == sorted((share for _, share in found), reverse=True)
    assert sum(share for _, share in found) == pytest.approx(1, abs=0.01)
    assert swatch(torch.full((1, 3, 9, 9), 0.2)) == (("#333333", 1.0),)
