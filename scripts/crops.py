"""Write parts of results at 100 percent, before and after a change, side by side.

    python scripts/crops.py BEFORE AFTER -o docs/images/defects.jpg PHOTO--PAINTING:LEFT,TOP,WIDTH,HEIGHT ...

BEFORE and AFTER are folders of results with the same names, such as those of benchmarks/quality.py. Numbers are in pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from contact import cell, contact_sheet
from PIL import Image


def row(part: str, folders: tuple[Path, Path]) -> list[Image.Image]:
    """The same part of a result in both folders."""
    name, _, box = part.partition(":")
    left, top, width, height = (int(number) for number in box.split(","))
    cells = []
    for folder, when in zip(folders, ("before", "after"), strict=True):
        with Image.open(folder / f"{name}.png") as image:
            crop = image.crop((left, top, left + width, top + height))
        cells.append(cell(crop, f"{when}: {name}", max(crop.size)))
    return cells


def main() -> None:
    """Read the arguments and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("parts", nargs="+", metavar="PHOTO--PAINTING:LEFT,TOP,WIDTH,HEIGHT")
    parser.add_argument("-o", "--output", type=Path, default=Path("crops.jpg"))
    arguments = parser.parse_args()
    contact_sheet([row(part, (arguments.before, arguments.after)) for part in arguments.parts]).save(
        arguments.output, quality=90
    )
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
