"""The fixture of a small clip."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cv2")
pytest.importorskip("av")


@pytest.fixture
def pan(here: Path) -> Path:
    """clip.mp4: 15 frames of a pan, 64x48, with uneven times."""
    from small_clips import film, pictures

    return film(here / "clip.mp4", pictures("pan", 15))
