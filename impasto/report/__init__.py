"""Measuring and comparing results of any program: `metrics` measures, `comparison` prepares images, `page` writes the HTML report.

Importing this loads torch, but neither scikit-image nor Jinja2 (the extra `impasto[report]`), which only measuring and `render` need.
"""

from impasto.report.comparison import Comparison, JudgeNetwork, MeasuredResult, PreparedImages, load_judge, prepare
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
    weave,
)
from impasto.report.page import render

__all__ = [
    "Comparison",
    "JudgeNetwork",
    "MeasuredResult",
    "Measures",
    "PreparedImages",
    "content_distance",
    "fine_share",
    "grain",
    "load_judge",
    "mean_style_distance",
    "measure",
    "moments_distance",
    "palette_distance",
    "prepare",
    "render",
    "straight_share",
    "structure",
    "style_distances",
    "weave",
]
