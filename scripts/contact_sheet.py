"""Paint pairs of pictures and lay them out to be looked at: a row for each pair, photograph, painting, result, and any reference.

    python scripts/contact_sheet.py PHOTO:PAINTING[:REFERENCE] ... [-o sheet.jpg] [--set OPTION=VALUE ...] [--results DIR]

`--set style_weight=400 --set method=gatys` changes options, `--results DIR` also keeps every result in full.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from PIL import Image

import impasto
from impasto.report.contact import cell, contact_sheet


def paint(photo: Path, painting: Path, options: dict[str, str]) -> tuple[Image.Image, float]:
    """The result and the seconds it took."""
    began = time.perf_counter()
    result = impasto.stylize(photo, painting, **options)
    return result, time.perf_counter() - began


def row(pair: str, options: dict[str, str], side: int, results: Path | None) -> list[Image.Image]:
    """The cells of one pair."""
    photo, painting, *reference = map(Path, pair.split(":"))
    result, seconds = paint(photo, painting, options)
    if results:
        results.mkdir(parents=True, exist_ok=True)
        result.save(results / f"{photo.stem}--{painting.stem}.png")
    print(f"{photo.stem} with {painting.stem}: {seconds:.1f} s", flush=True)
    cells = [cell(Image.open(file), file.stem, side) for file in (photo, painting)]
    cells.append(cell(result, "impasto", side))
    return cells + [cell(Image.open(file), f"reference: {file.stem}", side) for file in reference]


def main() -> None:
    """Read the arguments, paint, write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="PHOTO:PAINTING[:REFERENCE]")
    parser.add_argument("-o", "--output", type=Path, default=Path("sheet.jpg"))
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of impasto.stylize")
    parser.add_argument("--side", type=int, default=384, help="pixels of a picture on the sheet (default: %(default)s)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="keep every result in full there")
    arguments = parser.parse_args()
    options = dict(item.split("=", 1) for item in arguments.set)
    missing = [file for pair in arguments.pairs for file in pair.split(":") if not Path(file).is_file()]
    if missing:
        parser.error(f"there is no file {missing[0]}")
    try:
        rows = [row(pair, options, arguments.side, arguments.results) for pair in arguments.pairs]
    except impasto.ImpastoError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    contact_sheet(rows).save(arguments.output, quality=88)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
