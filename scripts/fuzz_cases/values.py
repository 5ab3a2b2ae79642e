"""Values of types that no option has."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

ODD: tuple[Any, ...] = (
    *(b"x", b"\xff", 1j, (1, 2), (), {1, 2}, range(3), len, int, Path("x"), Path("..")),
    *(Decimal("NaN"), Decimal("0.5"), Decimal(10) ** 500, Fraction(1, 3)),
    *(np.float32(0.5), np.float16("inf"), np.int64(3), np.bool_(True), np.str_("gatys"), np.datetime64("2024-01-01")),
    *(np.array([1, 2]), np.array(3), np.zeros((3, 3)), np.array(["a"], object), torch.tensor(2.0), torch.zeros(3, 3)),
    *("0.7,0.3", "0.5 0.5", "relu1_1, relu2_1", " ", "2 GB", "1e400GB", "0GB", "99999999999999999999GB"),
    *([0.7, 0.3], [0, 0], ["relu1_1", "relu1_1"], [np.float64(1)], ["x"] * 500, "instant", "luma", "cuda", "bf16"),
)
