"""Compare results of any program: `metrics` measures, `comparison` prepares images, `page` writes the HTML report.

Importing this loads torch, but neither scikit-image, which measuring needs, nor Jinja2, which `render` needs (both in the extra
`impasto[report]`).
"""

from impasto.report.comparison import Comparison, JudgeNetwork, MeasuredResult, PreparedImages, load_judge, prepare
from impasto.report.metrics import (
    Measures,
    content_distance,
    fine_share,
    grain,
    measure,
    moments_distance,
    palette_distance,
    smaller_styles,
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
    "measure",
    "moments_distance",
    "palette_distance",
    "prepare",
    "render",
    "smaller_styles",
    "straight_share",
    "structure",
    "style_distances",
    "weave",
]
