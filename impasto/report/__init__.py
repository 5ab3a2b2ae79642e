"""Judging pictures, whatever made them: `metrics` has the measures, `comparison` lays results side by side, `page` shows them.

Importing this loads torch but neither scikit-image, which only `structure` needs, nor Jinja2, which only `render` needs (the extra
`impasto[report]`).
"""

from impasto.report.comparison import Comparison, Judge, Result, Sheet, find_judge, lay_out
from impasto.report.metrics import (
    Measures,
    content_distance,
    fine_share,
    grain,
    mean_style_distance,
    measure,
    moments_distance,
    palette_distance,
    straight_share,
    structure,
    style_distances,
    to_lab,
    weave,
)
from impasto.report.page import render

__all__ = [
    "Comparison",
    "Judge",
    "Measures",
    "Result",
    "Sheet",
    "content_distance",
    "find_judge",
    "fine_share",
    "grain",
    "lay_out",
    "mean_style_distance",
    "measure",
    "moments_distance",
    "palette_distance",
    "render",
    "straight_share",
    "structure",
    "style_distances",
    "to_lab",
    "weave",
]
