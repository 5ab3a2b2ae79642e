"""Make small clips that video programs get wrong, with ffmpeg, and write the table of what impasto does with them.

python scripts/nasty_clips.py FOLDER          make the clips
python scripts/nasty_clips.py --write PAGE    make them in a temporary folder, measure, and write the table into the page
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from clip_cases.measure import written
from clip_cases.table import make_all


def main() -> int:
    """Make, or make and measure. Returns the exit code."""
    words = sys.argv[1:]
    if len(words) == 1 and not words[0].startswith("-"):
        make_all(Path(words[0]))
        return 0
    if len(words) == 2 and words[0] == "--write":
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "clips"
            make_all(made)
            page = Path(words[1])
            page.write_text(written(page.read_text(encoding="utf-8"), made), encoding="utf-8")
        return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())
