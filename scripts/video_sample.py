"""Make the painted sample clip: `python scripts/video_sample.py PHOTO [--style starry-night] [--quality normal] [--seconds 10]`.

A view of a photograph that may be published moves in and out, and the clip is painted. Writes docs/images/video-sample.mp4, and to a
folder given by --sheets contact sheets of consecutive frames and of their differences, to look at.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from motion import Motion  # noqa: E402 (it is in benchmarks/)

from impasto import clips, video  # noqa: E402
from impasto.pictures import load  # noqa: E402

RATE = 12  # frames a second
COLUMNS, ROWS = 4, 4  # of a contact sheet
GAIN = 8  # of differences


def main() -> None:
    """Make the clip, paint it, and write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--style", default="starry-night")
    parser.add_argument("--quality", default="normal")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "video-sample.mp4")
    parser.add_argument("--sheets", type=Path)
    asked = parser.parse_args()
    photo = load(asked.photo).pixels[0].permute(1, 2, 0).contiguous().numpy()
    count = asked.seconds * RATE
    inward = list(Motion(photo, (180, 320), "zoom", count // 2).frames())
    frames = inward + inward[::-1]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.mp4"
        timed = ((np.rint(one * 255).astype(np.uint8), Fraction(n, RATE), Fraction(1, RATE)) for n, one in enumerate(frames))
        clips.encode(timed, source, clips.format_of(source), rate=Fraction(RATE))
        saved = video.paint(source, asked.style, asked.output, quality=asked.quality, size="original", overwrite=True)
    print(f"{asked.output.name}: {count} frames, {asked.output.stat().st_size / 1e6:.1f} MB, {saved.seconds:.0f} s")
    if asked.sheets:
        sheets(asked.output, asked.sheets)


def sheets(clip: Path, folder: Path) -> None:
    """Contact sheets of consecutive frames, and of their differences."""
    folder.mkdir(exist_ok=True)
    frames = [frame.pixels[0].permute(1, 2, 0).numpy() for frame in clips.open_clip(clip).frames()]
    away = [np.abs(later - earlier) * GAIN for earlier, later in itertools.pairwise(frames)]
    for name, images in (("frames", frames), ("differences", away)):
        for first in range(0, len(images) - COLUMNS * ROWS + 1, COLUMNS * ROWS):
            cells = images[first : first + COLUMNS * ROWS]
            rows = [np.concatenate(cells[row * COLUMNS : (row + 1) * COLUMNS], axis=1) for row in range(ROWS)]
            sheet = np.clip(np.concatenate(rows) * 255, 0, 255).astype(np.uint8)
            Image.fromarray(sheet).save(folder / f"{name}-{first:03}.png")


if __name__ == "__main__":
    main()
