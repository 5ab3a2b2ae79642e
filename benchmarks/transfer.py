"""The test that counts for an encoder: do pictures painted through lite look like the painting to VGG-19's own layers?

    python benchmarks/transfer.py --pairs PHOTOS PAINTINGS --teachers DIR [--sample 8] [--size 256] [--iterations 300] [-o OUT]

Every pair is painted three times with the same steps and weights: through the exact normalised VGG-19 (relu1_1, relu2_1, relu3_1),
through lite at the same three taps, and through lite at its default taps. Then the relative squared distance of the Gram matrices,
painting to picture, is measured in the exact VGG-19. Printed for every tap: the means, and their ratios to VGG-19's own.

--teachers: the folder with the exact first blocks (training/teachers.py). -o: keep the pictures there.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import quality
import torch
from safetensors.torch import save_file
from torch import Tensor

from impasto import Stylizer, pictures
from impasto.losses import gram, positions, relative_style_loss
from impasto.weights.formats import OURS
from training.teachers import Trunk, read_pair

TAPS = ("relu1_1", "relu2_1", "relu3_1")


def weights_file(exact: Trunk, file: Path) -> Path:
    """Write the exact blocks as a weights file that impasto reads: for input in 0..255, as all are."""
    tensors = {
        f"{name}.{part}": exact.get_buffer(f"{name}_{part}").contiguous() for name in exact.names for part in ("weight", "bias")
    }
    tensors |= {"conv1_1.weight": tensors["conv1_1.weight"] / 255, "mean": 255 * exact.get_buffer("mean").flatten()}
    save_file(tensors, file, {"input": OURS, "network": "vgg19"})
    return file


@torch.no_grad()
def distances(picture: Tensor, painting: Tensor, exact: Trunk) -> dict[str, float]:
    """{tap: relative squared distance of Gram matrices} from the painting, shrunk to the picture's longer side."""
    small = pictures.resize(painting, pictures.fit((painting.shape[-2], painting.shape[-1]), max(picture.shape[-2:])))
    seen, wanted = exact(picture), exact(small)
    return {
        tap: float(relative_style_loss(gram(seen[tap]) / positions(seen[tap]), gram(wanted[tap]) / positions(wanted[tap]), 1))
        for tap in TAPS
    }


def main() -> None:
    """Paint, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs=2, type=Path, required=True, metavar=("PHOTOS", "PAINTINGS"))
    parser.add_argument("--teachers", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--lite", type=Path, help="another lite.safetensors than the package's")
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    exact = read_pair(arguments.teachers).trunks[0]
    assert isinstance(exact, Trunk)
    same = {"size": arguments.size, "iterations": arguments.iterations, "pooling": "max", "padding": "replicate"}
    with tempfile.TemporaryDirectory() as folder:
        file = weights_file(exact, Path(folder) / "vgg19.safetensors")
        settings = {
            "VGG-19": Stylizer(encoder="vgg19", weights=file, style_taps=TAPS, **same),
            "lite": Stylizer(encoder="lite", weights=arguments.lite, style_taps=TAPS, **same),
            "lite, five taps": Stylizer(encoder="lite", weights=arguments.lite, **same),
        }
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in settings}
    for pair in quality.choose_pairs(*map(quality.pictures_in, arguments.pairs), sample=arguments.sample, zipped=False):
        for name, stylizer in settings.items():
            image = stylizer.run(pair.photo, pair.painting).finish()
            measured = distances(pictures.load(image).pixels, pictures.load(pair.painting).pixels, exact)
            for tap, distance in measured.items():
                found[name][tap].append(distance)
            print(f"{pair.name:45} {name:16}", *(f"{measured[tap]:.4f}" for tap in TAPS), flush=True)
            if arguments.out:
                arguments.out.mkdir(parents=True, exist_ok=True)
                pictures.save(
                    image, arguments.out / f"{pair.name}--{name.replace(', ', '-').replace(' ', '-')}.png", overwrite=True
                )
    print(f"\n| optimised through | {' | '.join(TAPS)} |\n|{'---|' * (len(TAPS) + 1)}")
    for name, taps in found.items():
        cells = [f"{fmean(taps[tap]):.4f} ({fmean(taps[tap]) / fmean(found['VGG-19'][tap]):.2f} times)" for tap in TAPS]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
