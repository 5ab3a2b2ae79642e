"""Stylize one photograph with several values of every control, and write a strip of results for each control.

    python scripts/strips.py PHOTO PAINTING OTHER [-o docs/images/controls.jpg] [--size 256] [--only CONTROL ...] [--each FOLDER]

Strips: strength, style scale, a blend of PAINTING and OTHER, quality, palette weight, kept colors, and masks (upper half in the
style of OTHER; lower half unchanged). `--only names` shows every built-in style instead. `--each` also writes the strip of every
control to its own file, FOLDER/option-CONTROL.jpg.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from contact import cell, contact_sheet
from PIL import Image

import impasto
from impasto.inputs import style_names

Strip = list[tuple[str, list[Any], dict[str, Any]]]  # (label, styles, options) of each image
NAMES = "names"  # instead of a control: the built-in styles
NAMES_A_ROW = 4


def strips(painting: Path, other: Path, upper: Path, lower: Path) -> dict[str, Strip]:
    """The strip of every control."""
    return {
        "strength": [(f"--strength {s:g}", [painting], {"strength": s}) for s in (0, 0.25, 0.5, 0.75, 1)],
        "style_scale": [(f"--style-scale {s:g}", [painting], {"style_scale": s}) for s in (0.25, 0.5, 1, 2, 4)],
        "blend": [(f"--blend {1 - b:g} {b:g}", [painting, other], {"blend": (1 - b, b)}) for b in (0, 0.25, 0.5, 0.75, 1)],
        "quality": [(f"--quality {how}", [painting], {"quality": how}) for how in ("draft", "normal", "best")],
        "palette_weight": [(f"--palette-weight {w:g}", [painting], {"palette_weight": w}) for w in (0, 3, 10, 50)],
        "keep_colors": [(f"--keep-colors {how}", [painting], {"keep_colors": how}) for how in ("off", "luma", "match")],
        "mask": [
            ("--mask upper=OTHER", [painting], {"masks": [(upper, other)]}),
            ("--mask lower=keep", [painting], {"masks": [(lower, None)]}),
        ],
    }


def names() -> dict[str, Strip]:
    """The built-in styles, in rows."""
    known = style_names()
    rows = [known[first : first + NAMES_A_ROW] for first in range(0, len(known), NAMES_A_ROW)]
    return {", ".join(row): [(name, [name], {}) for name in row] for row in rows}


def masks(photo: Path, folder: Path) -> tuple[Path, Path]:
    """Write masks of the upper and the lower half with a soft edge."""
    with Image.open(photo) as image:
        width, height = image.size
    ramp = Image.linear_gradient("L").resize((width, height // 6))  # black to white, downwards
    lower = Image.new("L", (width, height), 255)
    lower.paste(0, (0, 0, width, height // 2))
    lower.paste(ramp, (0, height // 2 - height // 12))
    upper = lower.point(lambda value: 255 - value)
    for name, mask in (("upper", upper), ("lower", lower)):
        mask.save(folder / f"{name}.png")
    return folder / "upper.png", folder / "lower.png"


def main() -> None:
    """Stylize and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("painting", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("controls.jpg"))
    parser.add_argument("--size", type=int, default=256, help="longer side in pixels (default: %(default)s)")
    known = [*strips(*[Path()] * 4), NAMES]
    parser.add_argument("--only", nargs="+", choices=known, metavar="CONTROL", help=f"only these: {', '.join(known)}")
    parser.add_argument("--each", type=Path, metavar="FOLDER", help="also write every strip to a file there")
    arguments = parser.parse_args()
    if NAMES in (arguments.only or ()) and len(arguments.only) > 1:
        parser.error(f"--only {NAMES} cannot be combined with controls")
    if arguments.only == [NAMES] and arguments.each:
        parser.error(f"--each writes a file for every control, and {NAMES} is none")
    if arguments.each:
        arguments.each.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        every = strips(arguments.painting, arguments.other, *masks(arguments.photo, Path(folder)))
        chosen = {name: row for name, row in every.items() if not arguments.only or name in arguments.only}
        if arguments.only == [NAMES]:
            chosen = names()
        for control, row in chosen.items():
            began = time.perf_counter()
            images = [
                (label, impasto.stylize(arguments.photo, styles, size=arguments.size, **more)) for label, styles, more in row
            ]
            rows.append([cell(image, label, arguments.size) for label, image in images])
            if arguments.each:
                contact_sheet(rows[-1:]).save(arguments.each / f"option-{control.replace('_', '-')}.jpg", quality=88)
            print(f"{control}: {time.perf_counter() - began:.0f} s", flush=True)
    contact_sheet(rows).save(arguments.output, quality=88)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
