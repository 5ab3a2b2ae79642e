"""Make impasto's built-in styles and print the error of their compression.

    python scripts/make_styles.py FOLDER_OF_PAINTINGS --photos FOLDER_OF_PHOTOGRAPHS [-o FOLDER] [--tune-only] [--only NAME ...]

The files contain numbers and a palette, but no painting or thumbnail. The same paintings on the same machine give the same bytes.
Printed for every tap: the relative error of the Gram matrices (Frobenius norm), mean and worst over styles and rungs. Every style is
tuned for the network of quality instant on the photographs, which takes a minute. --tune-only leaves all else in the files as it is.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from impasto import Stylizer, fast, files, pictures
from impasto.fast.tuning import SIDES
from impasto.inputs import STYLES
from impasto.ladder import rung
from impasto.styles import Painted, load, save
from impasto.styles.card import CARD
from impasto.styles.stored import INSTANT

ERROR = 0.0116  # relative error of every Gram matrix; docs/styles.md shows its effect on results
MOST = 64  # photographs to tune on
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


def tuned(painting: Path, photos: Sequence[Tensor], stylizer: Stylizer) -> dict[str, Tensor]:
    """What a style keeps for the network: its moments and its tuning. Prints the loss at the first steps and at the last ones."""
    style, stored = stylizer.style(painting), fast.load()
    assert isinstance(style, Painted)
    losses, vector = list[float](), torch.zeros(0)
    for progress, latest in fast.tune(style, stored, photos):
        vector = latest
        if progress.side == SIDES[0]:
            losses.append(progress.loss)
    first, last = statistics.mean(losses[:20]), statistics.mean(losses[-20:])
    print(f"{painting.stem:24} loss of the first level {first:.2f} at first, {last:.2f} at last", flush=True)
    return {**fast.moments_to_keep(stored.net, style), fast.TUNING: vector}


def keep(target: Path, instant: Mapping[str, Tensor]) -> None:
    """Replace what a style file keeps for the network."""
    with safe_open(target, framework="pt") as content:
        card = json.loads(content.metadata()[CARD])
        tensors = {name: content.get_tensor(name) for name in sorted(content.keys()) if not name.startswith(INSTANT)}
    tensors |= {f"{INSTANT}{name}": tensor.half() for name, tensor in instant.items()}
    card |= {"network": fast.load().digest, "tuned": True}
    text = json.dumps(card, ensure_ascii=False, separators=(",", ":"))
    files.write(target, serialize(tensors, {CARD: text}), (target.suffix,), overwrite=True)


def some(folder: Path) -> list[Tensor]:
    """At most MOST photographs of a folder, evenly spread over its files in order of their names."""
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in pictures.SUFFIXES)
    return [pictures.load(file).pixels for file in found[:: -(-len(found) // MOST)]]


def main() -> None:
    """Make all styles and print their sizes and errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paintings", type=Path, help="folder with a NAME.jpg for every style")
    parser.add_argument("-o", "--out", type=Path, default=STYLES, help="folder to write to (default: impasto's styles)")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs to tune on")
    parser.add_argument("--tune-only", action="store_true", help="only replace what is kept for the network")
    parser.add_argument("--only", nargs="+", choices=PAINTINGS, default=list(PAINTINGS), help="these styles only")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    stylizer, painter = Stylizer(device="cpu", precision="fp32"), Stylizer(device="cpu")
    photos = some(asked.photos)
    errors: dict[str, list[tuple[float, str]]] = defaultdict(list)
    total = 0
    for name in asked.only:
        target = asked.out / f"{name}.style"
        for tap, number, error in [] if asked.tune_only else make(asked.paintings / f"{name}.jpg", target, stylizer):
            errors[tap].append((error, f"{name} at {rung(number)}"))
        keep(target, tuned(asked.paintings / f"{name}.jpg", photos, painter))
        total += target.stat().st_size
        print(f"{name:24} {target.stat().st_size / 1e6:.2f} MB", flush=True)
    for tap, found in errors.items():
        worst, where = max(found)
        print(f"{tap}: relative error {statistics.mean(e for e, _ in found):.4f} on average, {worst:.4f} at most ({where})")
    print(f"total {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
