"""Write parts of results at 100 percent, before and after a change, side by side.

    python scripts/crops.py BEFORE AFTER -o docs/images/defects.jpg PHOTO--PAINTING:LEFT,TOP,WIDTH,HEIGHT ...

BEFORE and AFTER are folders of results with the same names, such as those of benchmarks/quality.py: PHOTO--PAINTING.png (or .jpg,
.webp, .tif). Numbers are in pixels.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from contact import cell, contact_sheet
from PIL import Image

from impasto.pictures import SUFFIXES

PART = re.compile(r"(.+):(\d+),(\d+),(\d+),(\d+)")


@dataclass(frozen=True)
class Part:
    """A rectangle of the results that are called `name` in both folders. box: left, top, right, bottom in pixels."""

    name: str
    box: tuple[int, int, int, int]

    def picture(self, folder: Path) -> Path | None:
        """The image in a folder, if it exists."""
        files = (folder / f"{self.name}{suffix}" for suffix in SUFFIXES)
        return next((file for file in files if file.exists()), None)

    def cut(self, file: Path, when: str) -> Image.Image:
        """The part of an image, with its label."""
        with Image.open(file) as image:
            crop = image.crop(self.box)
        return cell(crop, f"{when}: {self.name}", max(crop.size))


def read_part(text: str) -> Part:
    """The argument "PHOTO--PAINTING:LEFT,TOP,WIDTH,HEIGHT"."""
    found = PART.fullmatch(text)
    left, top, width, height = map(int, found.groups()[1:]) if found else (0, 0, 0, 0)
    if not (found and width and height):
        raise argparse.ArgumentTypeError(f"must be PHOTO--PAINTING:LEFT,TOP,WIDTH,HEIGHT, not {text!r}")
    return Part(found[1], (left, top, left + width, top + height))


def main() -> None:
    """Read the arguments and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("parts", nargs="+", type=read_part, metavar="PHOTO--PAINTING:LEFT,TOP,WIDTH,HEIGHT")
    parser.add_argument("-o", "--output", type=Path, default=Path("crops.jpg"))
    arguments = parser.parse_args()
    rows = []
    for part in arguments.parts:
        files = {"before": part.picture(arguments.before), "after": part.picture(arguments.after)}
        missing = [when for when, file in files.items() if file is None]
        if missing:
            parser.error(f"there is no image {part.name} in {getattr(arguments, missing[0])}")
        rows.append([part.cut(file, when) for when, file in files.items() if file])
    contact_sheet(rows).save(arguments.output, quality=90)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
