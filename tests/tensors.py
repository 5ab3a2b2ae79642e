"""Tensors that the engine's tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from reference import Array
from torch import Tensor


def random(shape: tuple[int, ...], seed: int) -> Array:
    """Normally distributed numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def tensor(array: Array, dtype: torch.dtype = torch.float64) -> Tensor:
    """CxHxW -> 1xCxHxW."""
    return torch.from_numpy(array)[None].to(dtype)


def backward(loss: Any) -> None:
    """Tensor.backward, which torch leaves without types."""
    loss.backward()


def slope(leaf: Tensor) -> Tensor:
    """What `backward` left at a leaf."""
    assert leaf.grad is not None
    return leaf.grad


def image(size: tuple[int, int], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """1x3xHxW in 0..1, smooth at the left and rough at the right."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 7, generator=generator, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    grain = torch.rand(1, 3, *size, generator=generator, dtype=torch.float64) * torch.linspace(0, 0.5, size[1])
    return (smooth * 0.7 + grain).clamp(0, 1).to(dtype)
