"""Stylize pairs and write a contact sheet: a row for each pair with photograph, painting, result and optional reference.

    python scripts/contact_sheet.py PHOTO:PAINTING[:REFERENCE] ... [-o sheet.jpg] [--set OPTION=VALUE ...] [--vary OPTION=VALUES]
        [--results DIR]

`--set style_weight=400 --set method=gatys` sets options. `--vary strength=0,0.5,1` makes a result with each of the values.
`--results DIR` also saves every result at full size.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from contact import cell, contact_sheet
from PIL import Image

import impasto


def row(pair: str, settings: dict[str, dict[str, str]], side: int, results: Path | None) -> list[Image.Image]:
    """Stylize one pair. settings: {label: options} of each result. Returns its cells."""
    photo, painting, *reference = map(Path, pair.split(":"))
    cells = [cell(Image.open(file), file.stem, side) for file in (photo, painting)]
    for label, options in settings.items():
        began = time.perf_counter()
        result = impasto.stylize(photo, painting, **options)
        print(f"{photo.stem} with {painting.stem}, {label}: {time.perf_counter() - began:.1f} s", flush=True)
        if results:
            results.mkdir(parents=True, exist_ok=True)
            result.save(results / f"{photo.stem}--{painting.stem}{'' if len(settings) == 1 else f'--{label}'}.png")
        cells.append(cell(result, label, side))
    return cells + [cell(Image.open(file), f"reference: {file.stem}", side) for file in reference]


def assigned(text: str) -> tuple[str, str]:
    """The argument "OPTION=VALUE" as (option, value)."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"must be OPTION=VALUE, not {text!r}")
    return name, value


def main() -> None:
    """Read the arguments, stylize, write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="PHOTO:PAINTING[:REFERENCE]")
    parser.add_argument("-o", "--output", type=Path, default=Path("sheet.jpg"))
    parser.add_argument(
        "--set", action="append", default=[], type=assigned, metavar="OPTION=VALUE", help="an option of impasto.stylize"
    )
    parser.add_argument(
        "--vary", type=assigned, metavar="OPTION=VALUES", help="values of an option, separated by commas: a result with each"
    )
    parser.add_argument("--side", type=int, default=384, help="image size on the sheet in pixels (default: %(default)s)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="also save every result at full size in this folder")
    arguments = parser.parse_args()
    options = dict(arguments.set)
    settings = {"impasto": options}
    if arguments.vary:
        name, values = arguments.vary
        settings = {f"{name}-{value}": options | {name: value} for value in values.split(",")}
        if not all(values.split(",")):
            parser.error(f"--vary needs values separated by commas, not {values!r}")
    missing = [file for pair in arguments.pairs for file in pair.split(":") if not Path(file).is_file()]
    if missing:
        parser.error(f"no such file: {missing[0]}")
    try:
        rows = [row(pair, settings, arguments.side, arguments.results) for pair in arguments.pairs]
    except impasto.ImpastoError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    contact_sheet(rows).save(arguments.output, quality=88)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
