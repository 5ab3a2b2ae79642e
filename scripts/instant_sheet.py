"""Write docs/images/instant-styles.jpg: a photograph in the built-in styles, by the network and by the optimizer.

    python scripts/instant_sheet.py PHOTO [-o FILE] [--size 512] [--side 260] [--columns 6]

Every two rows have the same styles: instant above, normal below.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from contact import cell, contact_sheet
from PIL import Image

from impasto import Stylizer
from impasto.inputs import style_names

TARGET = Path(__file__).parent.parent / "docs" / "images" / "instant-styles.jpg"


def main() -> None:
    """Paint and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--side", type=int, default=260)
    parser.add_argument("--columns", type=int, default=6)
    asked = parser.parse_args()
    stylizers = {quality: Stylizer(quality=quality, size=asked.size) for quality in ("instant", "normal")}
    rows: list[list[Image.Image]] = []
    for start in range(0, len(style_names()), asked.columns):
        for quality, stylizer in stylizers.items():
            names = style_names()[start : start + asked.columns]
            rows.append([cell(stylizer.run(asked.photo, name).finish(), f"{name}, {quality}", asked.side) for name in names])
    contact_sheet(rows).save(asked.output, quality=85)
    print(f"wrote {asked.output}")


if __name__ == "__main__":
    main()
