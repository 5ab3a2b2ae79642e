"""What this installation and this process have."""

from __future__ import annotations

import os

import pytest

from impasto import extras


def test_a_name_with_a_number_leaves_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for before, name, kind, after in [
        (None, "cuda:1", "cuda", "1"),
        ("", "cuda:1", "cuda", ""),
        ("4,6", "cuda:1", "cuda", "6"),
        ("4", "cuda:3", "cuda", ""),
        ("4,6", "cuda", "cuda", "4,6"),
        ("", "auto", "auto", ""),
    ]:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if before is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
        assert (extras.on_one_gpu(name), os.environ["CUDA_VISIBLE_DEVICES"]) == (kind, after)


def test_threads_are_no_more_than_openmp_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for allowed, expected in (("1", 1), ("1000", extras.cores()), ("0", extras.cores()), ("many", extras.cores())):
        monkeypatch.setenv("OMP_NUM_THREADS", allowed)
        assert extras.threads() == expected
