"""What only a CUDA device shows; the one module that is skipped without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from training_world import HEADS, TINY, build

import impasto
from impasto.compute.memory import PairStore, Plan
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
        monkeypatch.setattr("impasto.problem.RECORDED", limit)
        run = impasto.Stylizer(size=200, iterations=24, device="cuda").run(assets / "chelsea.jpg", assets / "strokes.jpg")
        totals.append([step.total for step in run])
    assert totals[1] == pytest.approx(totals[0], rel=1e-6)


@pytest.mark.parametrize("side", [None, 64])
@pytest.mark.parametrize("pairs", ["memory", "half", "disk"])
@pytest.mark.parametrize("masked", [False, True])
def test_every_plan_runs_on_cuda(
    pairs: PairStore, side: int | None, masked: bool, assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in files is on the CPU, and meets the GPU's tensors: L-BFGS's pairs, and in blocks the photograph's features."""
    masks = [(Image.linear_gradient("L").resize((451, 300)), None)] if masked else []
    totals = []
    for device in ("cpu", "cuda"):
        stylizer = impasto.Stylizer(size=160, iterations=9, device=device, precision="fp32")
        run = stylizer.run(assets / "chelsea.jpg", assets / "strokes.jpg", masks=masks)
        monkeypatch.setattr(run, "plan", lambda size: Plan(side=side, pairs=pairs))
        totals.append([step.total for step in run])
        assert run.finish().size == (160, 106)
    assert totals[1][:3] == pytest.approx(totals[0][:3], rel=1e-3)  # later steps amplify every rounding
    assert totals[1] == pytest.approx(totals[0], rel=0.1)


def test_a_second_run_of_a_process_is_planned_as_the_first(assets: Path) -> None:
    """torch keeps what the first has freed, which the driver counts as used."""
    stylizer, limits = impasto.Stylizer(size=512, iterations=3, device="cuda"), []
    for _ in range(2):
        run = stylizer.run(assets / "chelsea.jpg", assets / "strokes.jpg")
        limits.append(run.limit)
        run.finish()
        del run
    assert limits[1] > limits[0] - 200_000_000


def test_settings_are_the_callers_between_two_steps(assets: Path) -> None:
    """Also where the program has set the newer `fp32_precision`, after which reading `allow_tf32` is an error."""
    products = torch.backends.cuda.matmul
    before = torch.backends.cudnn.deterministic, products.fp32_precision
    products.fp32_precision = "tf32"
    try:
        stylizer = impasto.Stylizer(size=64, iterations=3, device="cuda", precision="fp32")
        first, second = (iter(stylizer.run(assets / "chelsea.jpg", assets / "strokes.jpg")) for _ in range(2))
        for run in (first, second, second, first):
            next(run)
            assert (torch.backends.cudnn.deterministic, products.fp32_precision) == (before[0], "tf32")
    finally:
        products.fp32_precision = before[1]


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
