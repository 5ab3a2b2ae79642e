"""What only a CUDA device shows; the one module that is skipped without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import impasto

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)


def test_cuda_sees_what_the_cpu_sees(assets: Path) -> None:
    """The first steps agree closely; later ones amplify every rounding."""
    totals = []
    for device in ("cpu", "cuda"):
        run = impasto.Stylizer(size=96, iterations=3, device=device, precision="fp32").run(
            assets / "chelsea.jpg", assets / "strokes.jpg"
        )
        totals.append([step.total for step in run])
    assert totals[1] == pytest.approx(totals[0], rel=1e-3)


def test_cuda_repeats_itself_byte_for_byte(assets: Path) -> None:
    stylizer = impasto.Stylizer(size=96, iterations=20, device="cuda")
    first, second = (stylizer.run(assets / "chelsea.jpg", assets / "strokes.jpg").finish() for _ in range(2))
    assert first.tobytes() == second.tobytes()
