"""The painters as they are, on small frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_clips import pictures

from impasto.stylizer import Stylizer
from impasto.video.moments import moments
from impasto.video.painters import PAINTERS
from impasto.video.stills import Stills


@pytest.mark.parametrize("quality", list(PAINTERS))
def test_a_still_scene_stays_still(quality: str) -> None:
    still = torch.from_numpy(pictures("still", 1, (96, 128))[0]).permute(2, 0, 1)[None].float() / 255
    grain = torch.from_numpy(np.random.default_rng(0).normal(0, 2 / 255, (5, 3, 96, 128)).astype(np.float32))
    frames = [(still + one[None]).clamp(0, 1) for one in grain]
    stylizer = Stylizer(size="original", device="cpu", precision="fp32")
    painter = PAINTERS[quality](Stills(stylizer, [stylizer.style("udnie")]))
    shown = moments((number, frame, 0.0, ()) for number, frame in enumerate(frames))
    found = {one.number: one.image for one in painter.paint(shown, lambda number: None)}
    means = torch.stack([found[number].mean((0, 2, 3)) for number in range(5)])
    assert (means - means[0]).abs().max() < 1 / 255
