"""A plot of the log as SVG: the losses of every tap by step. Needs no plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from training.config import TAPS

WIDTH, HEIGHT, MARGIN = 860, 460, 60  # pixels
COLORS = ("#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7")  # Okabe and Ito's color-blind-safe palette
LEAST = 1e-4  # smallest error on the logarithmic axis; an exact relu1_1 has error 0
POINTS = 200  # per curve, at most; each is a mean over steps


def svg(entries: Sequence[Mapping[str, Any]]) -> str:
    """Plot feature error (solid) and Gram error (dashed) of each tap. entries: from the log, at least one."""
    span = max(1, -(-len(entries) // POINTS))
    chunks = [entries[i : i + span] for i in range(0, len(entries), span)]
    steps = [chunk[-1]["step"] for chunk in chunks]
    learned = [tap for tap in TAPS if tap in entries[0]]
    curves = {
        (tap, part): [_mean([entry[tap][part] for entry in chunk]) for chunk in chunks]
        for tap in learned
        for part in ("features", "gram")
    }
    values = [value for curve in curves.values() for value in curve]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    high = max(high, low + 1)

    def place(step: float, value: float) -> str:
        x = MARGIN + (WIDTH - 3 * MARGIN) * step / max(steps)
        y = MARGIN / 2 + (HEIGHT - 1.5 * MARGIN) * (high - math.log10(value)) / (high - low)
        return f"{x:.1f},{y:.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">']
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    for power in range(low, high + 1):
        (left, y), (right, _) = (place(step, 10.0**power).split(",") for step in (0, max(steps)))
        parts.append(f'<path d="M{left},{y} H{right}" stroke="#ddd"/><text x="8" y="{y}">{10.0**power:g}</text>')
    for color, tap in zip(COLORS, TAPS, strict=True):
        if tap not in learned:
            continue
        for part, dash in (("features", ""), ("gram", ' stroke-dasharray="4 3"')):
            points = " ".join(map(place, steps, curves[tap, part]))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"{dash}/>')
        row = 2 + TAPS.index(tap)
        parts.append(f'<text x="{WIDTH - 1.8 * MARGIN}" y="{20 * row}" fill="{color}">{tap}</text>')
    parts.append(
        f'<text x="{MARGIN}" y="{HEIGHT - 12}">step 0 to {max(steps)}; solid: feature error, dashed: Gram error</text>'
    )
    return "\n".join([*parts, "</svg>", ""])


def _mean(values: Sequence[float]) -> float:
    return max(sum(values) / len(values), LEAST)
