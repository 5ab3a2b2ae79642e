"""Judging pictures, whatever made them: `metrics` has the measures.

Importing this loads torch but not scikit-image, which only `structure` needs (the extra `impasto[report]`).
"""

from impasto.report.metrics import (
    Measures,
    content_distance,
    fine_share,
    grain,
    mean_style_distance,
    measure,
    moments_distance,
    palette_distance,
    structure,
    style_distances,
    to_lab,
)

__all__ = [
    "Measures",
    "content_distance",
    "fine_share",
    "grain",
    "mean_style_distance",
    "measure",
    "moments_distance",
    "palette_distance",
    "structure",
    "style_distances",
    "to_lab",
]
