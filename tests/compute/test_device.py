"""Devices, precision, and torch's global settings, which are ours during a step only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

import impasto
from impasto.compute import device
from impasto.errors import OptionError
from impasto.ladder import Size
from impasto.losses import Features, Loss, Term

CPU, GPU = torch.device("cpu"), torch.device("cuda")
CUDNN, PRODUCTS = torch.backends.cudnn, torch.backends.cuda.matmul
CONVOLUTIONS = CUDNN.conv  # type: ignore[attr-defined]  # torch makes it when it is imported
OURS = {"fp32": (True, "ieee", "ieee"), "bf16": (True, "tf32", "tf32")}


def current() -> tuple[object, ...]:
    """The settings that a step changes. They are attributes only, so they are there without a GPU too."""
    return CUDNN.deterministic, CONVOLUTIONS.fp32_precision, PRODUCTS.fp32_precision


@pytest.fixture(params=["as torch starts", "set by the program"])
def theirs(request: pytest.FixtureRequest) -> Iterator[tuple[object, ...]]:
    """The caller's settings, afterwards put back."""
    before = current()
    if request.param == "set by the program":
        CONVOLUTIONS.fp32_precision = PRODUCTS.fp32_precision = "tf32"
    yield current()
    CUDNN.deterministic, CONVOLUTIONS.fp32_precision, PRODUCTS.fp32_precision = before  # type: ignore[assignment]


def test_settings_are_ours_inside_and_the_callers_outside(theirs: tuple[object, ...]) -> None:
    """Also where the program has set `fp32_precision` itself, after which reading the older `allow_tf32` is an error."""
    with device.settings(GPU, torch.float32):
        assert current() == OURS["fp32"]
        with device.settings(GPU, torch.bfloat16):
            assert current() == OURS["bf16"]
        assert current() == OURS["fp32"]
        with suppress(KeyError), device.settings(GPU, torch.bfloat16):
            raise KeyError
        assert current() == OURS["fp32"]
    assert current() == theirs
    with device.settings(CPU, torch.float32):
        assert current() == theirs


def test_without_fp32_precision_the_older_settings_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Older:
        allow_tf32 = True
        deterministic = False

    products = Older()
    monkeypatch.setattr(torch.backends.cuda, "matmul", products)
    monkeypatch.setattr(torch.backends, "cudnn", convolutions := Older())
    with device.settings(GPU, torch.float32):
        assert (products.allow_tf32, convolutions.allow_tf32, convolutions.deterministic) == (False, False, True)
    assert (products.allow_tf32, convolutions.allow_tf32, convolutions.deterministic) == (True, True, False)


class Spy(Loss):
    """Remembers the settings in which it is evaluated."""

    def __init__(self) -> None:
        self.seen: set[tuple[object, ...]] = set()

    def __call__(self, image: Tensor, features: Features) -> Tensor:
        self.seen.add(current())
        return 0 * image.sum()


def spied(spy: Spy, size: Size) -> list[Term]:
    return [Term("spy", 1.0, spy)]


def test_interleaved_runs_and_the_callers_code_never_see_each_others_settings(
    theirs: tuple[object, ...], photo: Path, painting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs compute on the CPU, but enter the settings of a GPU."""
    enter = device.settings

    def as_on_a_gpu(_: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
        return enter(GPU, dtype)

    monkeypatch.setattr(device, "settings", as_on_a_gpu)
    spies, runs = {}, {}
    for precision in ("fp32", "bf16"):
        spy = spies[precision] = Spy()
        run = impasto.Stylizer(size=32, iterations=3, device="cpu", precision=precision).run(photo, painting)
        run.more_terms = partial(spied, spy)
        runs[precision] = iter(run)
    for precision in ("fp32", "bf16", "bf16", "fp32", "fp32", "bf16"):
        next(runs[precision])
        assert current() == theirs
    for precision in ("fp32", "bf16"):  # neither is finished: the second is left as it is
        if precision == "fp32":
            assert next(runs[precision], None) is None
        assert spies[precision].seen == {OURS[precision]}
    assert current() == theirs


def test_a_device_that_is_not_there_is_refused() -> None:
    for name in ("cuda", "mps"):
        if not {"cuda": torch.cuda, "mps": torch.backends.mps}[name].is_available():
            with pytest.raises(OptionError, match=rf"^device '{name}' is not available: no {name.upper()} device"):
                device.choose(name)
    assert device.choose("cpu") == CPU


def test_a_torch_without_its_private_tests_of_the_cpu_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        @staticmethod
        def _is_mkldnn_bf16_supported(needed: int) -> bool:
            return True

    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert device.encoder_dtype("auto", CPU) == torch.float32
    assert not device._reported(Without, "_is_mkldnn_bf16_supported")  # another signature
    assert not device._reported(Without, "_is_something_else")
    assert device.encoder_dtype("bf16", CPU) == torch.bfloat16
