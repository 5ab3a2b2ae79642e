"""Make impasto's built-in styles and print the error of their compression.

    python scripts/make_styles.py FOLDER_OF_PAINTINGS [-o FOLDER]

The files contain numbers and a palette, but no painting or thumbnail. The same paintings on the same machine give the same bytes.
Printed for every tap: the relative error of the Gram matrices (Frobenius norm), mean and worst over styles and rungs.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch

from impasto import Stylizer
from impasto.inputs import STYLES
from impasto.ladder import rung
from impasto.styles import Painted, load, save

ERROR = 0.0116  # relative error of every Gram matrix; docs/styles.md shows its effect on results
LICENCE = "public domain: painted before 1930 by a painter who died before 1956"
# file stem: title, or a description where the title is uncertain; painter and year
PAINTINGS = {
    "composition-vii": ("Composition VII", "Wassily Kandinsky, 1913"),
    "contrast-of-forms": ("Contrast of Forms", "Fernand Léger, 1913"),
    "delaunay-portrait": ("Portrait of Jean Metzinger", "Robert Delaunay, 1906"),
    "edtaonisl": ("Edtaonisl", "Francis Picabia, 1913"),
    "gauguin-tahiti": ("Tahitian women by a tree", "Paul Gauguin"),
    "great-wave": ("The Great Wave off Kanagawa", "Katsushika Hokusai, about 1831"),
    "mondrian": ("Grid in yellow and grey", "Piet Mondrian"),
    "starry-night": ("The Starry Night", "Vincent van Gogh, 1889"),
    "the-scream": ("The Scream", "Edvard Munch, 1893"),
    "udnie": ("Udnie", "Francis Picabia, 1913"),
    "wheat-field": ("Wheat Field with Cypresses", "Vincent van Gogh, 1889"),
    "wreck-of-the-minotaur": ("The Wreck of the Minotaur", "J. M. W. Turner, about 1810"),
}


def make(painting: Path, target: Path, stylizer: Stylizer) -> Iterator[tuple[str, int, float]]:
    """Write one style. Yields (tap, rung, relative error) for every Gram matrix in it."""
    title, source = PAINTINGS[painting.stem]
    style = stylizer.style(painting)
    assert isinstance(style, Painted)
    made = save(style, target, title=title, source=source, licence=LICENCE, error=ERROR, images=(), overwrite=True)
    packed = load(target, stylizer.encoder, style.taps)
    for number in made.rungs:
        for tap, G in packed.at(number).items():
            A = style.at(number)[tap]
            yield tap, number, float((G - A).norm() / A.norm())


def main() -> None:
    """Make all styles and print their sizes and errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paintings", type=Path, help="folder with a NAME.jpg for every style")
    parser.add_argument("-o", "--out", type=Path, default=STYLES, help="folder to write to (default: impasto's styles)")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    stylizer = Stylizer(device="cpu", precision="fp32")
    errors: dict[str, list[tuple[float, str]]] = defaultdict(list)
    total = 0
    for name in PAINTINGS:
        target = asked.out / f"{name}.style"
        for tap, number, error in make(asked.paintings / f"{name}.jpg", target, stylizer):
            errors[tap].append((error, f"{name} at {rung(number)}"))
        total += target.stat().st_size
        print(f"{name:24} {target.stat().st_size / 1e6:.2f} MB", flush=True)
    for tap, found in errors.items():
        worst, where = max(found)
        print(f"{tap}: relative error {statistics.mean(e for e, _ in found):.4f} on average, {worst:.4f} at most ({where})")
    print(f"total {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
