"""What only a CUDA device shows; the one module that is skipped without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_world import HEADS, TINY, build

import impasto
from impasto.encoders import layers
from training import checkpoint
from training.encoder import main

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


def test_a_recorded_step_is_the_step(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph computes what it was recorded from: run after run the same losses, at every scale."""
    totals = []
    for limit in (0, 1 << 21):
        monkeypatch.setattr("impasto.stylizer.RECORDED", limit)
        run = impasto.Stylizer(size=200, iterations=24, device="cuda").run(assets / "chelsea.jpg", assets / "strokes.jpg")
        totals.append([step.total for step in run])
    assert totals[1] == pytest.approx(totals[0], rel=1e-6)


def test_edges_are_repeated_as_torch_does() -> None:
    x = torch.randn(2, 5, 7, 6, device="cuda", requires_grad=True)
    for mode in ("replicate", "reflect"):
        ours, theirs = layers.pad_border(x, reflect=mode == "reflect"), torch.nn.functional.pad(x, (1, 1, 1, 1), mode=mode)
        assert torch.equal(ours, theirs)
        slope = torch.randn_like(theirs)
        (mine,), (its,) = (torch.autograd.grad((y * slope).sum(), x) for y in (ours, theirs))
        assert torch.allclose(mine, its, atol=1e-6)


def test_the_encoder_trains_on_cuda(tmp_path: Path) -> None:
    words = [
        *build(tmp_path).sources,
        *TINY,
        *HEADS,
        "--pool-batch",
        "2",
        "--drift-weight",
        "1",
        "--steps",
        "6",
        "--device",
        "cuda",
    ]
    assert main([*words, "--no-compile", "-o", str(tmp_path / "lite.ckpt")]) == 0
    assert checkpoint.load(tmp_path / "lite.ckpt").step == 6
