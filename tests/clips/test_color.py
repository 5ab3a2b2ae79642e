"""Colors of video by the formulas of the standards, written down here a second time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clip_cases.make import pattern, yuv

from impasto.clips import color, light
from impasto.clips.color import Coding
from impasto.pictures import hdr

# The levels of H.273 that every receiver shows as these colors, 8 bits, limited range. BT.709: Rec. ITU-R BT.709-6, 3.2 to 3.5
KNOWN = {
    (1, 16, 128, 128): (0, 0, 0),
    (1, 235, 128, 128): (1, 1, 1),
    (1, 63, 102, 240): (1, 0, 0),
    (1, 173, 42, 26): (0, 1, 0),
    (1, 32, 240, 118): (0, 0, 1),
    (6, 81, 90, 240): (1, 0, 0),
    (6, 145, 54, 34): (0, 1, 0),
    (6, 41, 240, 110): (0, 0, 1),
}


@pytest.mark.parametrize("levels", KNOWN)
def test_bars_have_the_levels_of_the_standards(levels: tuple[int, ...]) -> None:
    planes = torch.tensor(levels[1:], dtype=torch.float32)[:, None, None]
    found = light.to_srgb(planes, Coding(levels[0], 1, 1, False, 8)).flatten().tolist()
    assert found == pytest.approx(KNOWN[levels], abs=0.006)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("name", "number"), [("bt601", 6), ("bt709", 1), ("bt2020", 9)])
def test_every_matrix_range_and_depth_is_undone(name: str, number: int, full: bool, bits: int) -> None:
    image = pattern(3)
    data = np.frombuffer(yuv(image, name, full=full, bits=bits, chroma=(1, 1)), np.uint8 if bits == 8 else "<u2")
    planes = torch.from_numpy(data.reshape(3, *image.shape[:2]).astype(np.float32))
    found = light.to_srgb(planes, Coding(number, 1, 1, full, bits)).permute(1, 2, 0).numpy()
    assert np.abs(found - image).max() < 1.9 / (2**bits - 1) + 2e-6


@pytest.mark.parametrize("transfer", [16, 18])
def test_tables_of_the_tone_map_are_those_of_stills(transfer: int) -> None:
    rng = np.random.default_rng(4)
    values = rng.random((64, 64, 3), dtype=np.float32) ** 2
    stills = hdr.to_srgb(values, transfer, 9)
    found = light.ToneMap(transfer, 9)(torch.from_numpy(values.transpose(2, 0, 1).copy())).permute(1, 2, 0).numpy()
    assert np.abs(found - stills).max() < 0.25 / 255


def test_what_is_not_stated() -> None:
    def matrix(lines: int, primaries: int = 2, transfer: int = 2) -> int:
        return color.coding(2, primaries, transfer, full=False, bits=8, lines=lines).matrix

    assert (matrix(576), matrix(720), matrix(1080), matrix(480, primaries=9), matrix(480, transfer=16)) == (6, 1, 1, 9, 9)
    assert color.coding(9, 2, 18, full=False, bits=10, lines=64).primaries == 9
    assert color.coding(1, 5, 1, full=False, bits=8, lines=64).primaries == 1


def test_written_levels_are_those_of_the_formulas() -> None:
    image = np.rint(pattern(2) * 255).astype(np.uint8)
    luma, first, second = color.to_yuv420(image)
    data = yuv(image / 255, "bt709", full=False, bits=8, chroma=(2, 2))
    found = np.concatenate([plane.ravel() for plane in (luma, first, second)]).astype(int)
    apart = np.abs(found - np.frombuffer(data, np.uint8))
    assert apart.max() <= 1  # ties, and the right edge
    assert (apart > 0).mean() < 0.01


def test_written_extremes_stay_in_range() -> None:
    rng = np.random.default_rng(5)
    image = (rng.random((16, 16, 3)) > 0.5).astype(np.uint8) * 255
    luma, first, second = color.to_yuv420(image)
    assert (luma.min() >= 16, luma.max() <= 235) == (True, True)
    assert min(first.min(), second.min()) >= 16
    assert max(first.max(), second.max()) <= 240
    white = color.to_yuv420(np.full((2, 2, 3), 255, np.uint8))
    assert [plane.flatten().tolist() for plane in white] == [[235] * 4, [128], [128]]
