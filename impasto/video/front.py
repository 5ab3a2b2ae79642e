"""`paint`: a clip painted in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from impasto.clips import Window
from impasto.errors import RunError
from impasto.inputs import StyleSource
from impasto.jobs.events import Failed, Saved
from impasto.options import Options
from impasto.video.blending import Blending
from impasto.video.job import Output, Video, styles_of
from impasto.video.runner import run


def paint(
    clip: str | os.PathLike[str],
    style: StyleSource | Sequence[StyleSource],
    output: str | os.PathLike[str],
    *,
    window: Window | None = None,
    blending: Blending | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Saved:
    """Repaint a clip in the style of a painting.

    clip: a video file, an animated image, or a folder of frames. style: as in `stylize`, but nothing in memory: a run can then be
    resumed by calling this again. output: .mp4, .webm or .gif, or a folder of PNGs. window: the part that is painted. blending: the
    weights of several styles over time. options: of `Options`; quality is "instant", "normal" or "best". Returns what was saved.
    Raises ImpastoError.
    """
    job = Video(
        Path(clip),
        styles_of(style),
        Options(**options),
        Output(Path(output), overwrite=overwrite),
        window=window or Window(),
        blending=blending,
    )
    *_, last = run(job)
    if isinstance(last, Saved):
        return last
    problem = last.problem if isinstance(last, Failed) else "the run ended early"
    raise RunError(problem)
