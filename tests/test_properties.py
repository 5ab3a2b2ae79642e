"""Whatever the options and the pictures: a finite picture of the size asked for, or one of our own errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import impasto
from impasto.errors import ImpastoError

painted: list[tuple[int, int]] = []
steady = settings(derandomize=True, deadline=None, database=None, max_examples=40)
sides = st.sampled_from((16, 17, 31, 40, 64, 320))
KEPT, OTHER = ("mask.png", None), ("mask.png", "other.png")
KINDS = ("noise", "flat", "grey", "black", "white", "lines")


@st.composite
def pictures_of_any_kind(draw: st.DrawFn) -> np.ndarray:
    height, width, kind = draw(sides), draw(sides), draw(st.sampled_from(KINDS))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    if kind == "noise":
        return random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "grey":
        return random.integers(0, 256, (height, width), dtype=np.uint8)
    if kind == "lines":
        return np.repeat((np.arange(height) % 2 * 255).astype(np.uint8)[:, None, None], width, 1).repeat(3, 2)
    return np.full((height, width, 3), {"flat": (90, 140, 60), "black": 0, "white": 255}[kind], np.uint8)


options = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(("impasto", "gatys")),
        "size": st.sampled_from((16, 33, 48)),
        "strength": st.sampled_from((0, 1e-3, 0.5, 0.9, 1)),
        "style_scale": st.sampled_from((0.25, 0.7, 1, 4)),
        "keep_colors": st.sampled_from(("off", "luma", "match")),
        "init": st.sampled_from(("content", "noise")),
        "pooling": st.sampled_from(("average", "max")),
        "padding": st.sampled_from(("zero", "replicate")),
        "precision": st.sampled_from(("fp32", "bf16")),
        "content_weight": st.sampled_from((0, 1, 1e6)),
        "style_weight": st.sampled_from((1e-3, 100, 1e9)),
        "tv_weight": st.sampled_from((0, 1, 1e6)),
        "style_taps": st.sampled_from(("relu1_1", "relu3_1,relu1_1", "trunk2_2")),
        "seed": st.integers(0, 2**63 - 1),
        "init_size": st.sampled_from((16, 40)),
        "masks": st.sampled_from(((), (KEPT,), (OTHER,), (KEPT, OTHER))),
    },
)


@steady
@given(photo=pictures_of_any_kind(), painting=pictures_of_any_kind(), chosen=options)
def finite_or_refused(photo: np.ndarray, painting: np.ndarray, chosen: dict[str, Any]) -> None:
    ramp = np.linspace(0, 255, photo.shape[1]).round().astype(np.uint8)
    Image.fromarray(np.repeat(ramp[None], photo.shape[0], 0)).save("mask.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save("other.png")
    try:
        masks = chosen.pop("masks", ())
        run = impasto.Stylizer(iterations=3, encoder="lite", device="cpu", **{"size": 33} | chosen).run(
            photo, painting, masks=masks
        )
        for step in run:
            assert np.isfinite(step.total)
            assert step.image.isfinite().all()
        image = run.image()  # which refuses NaN and infinity
    except ImpastoError as error:
        refusal = str(error)
    else:
        refusal = ""
        painted.append(image.size)
    assert "\n" not in refusal
    if refusal:
        return
    assert image.size == run.problem.size[::-1]
    assert max(image.size) == chosen.get("size", 33)


def test_never_nan_never_out_of_range_never_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    painted.clear()
    finite_or_refused()
    assert len(painted) > 13  # most were painted, or this would prove nothing
