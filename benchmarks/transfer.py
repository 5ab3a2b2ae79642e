"""Measure images made with lite in VGG-19's own layers.

    python benchmarks/transfer.py --pairs PHOTOS PAINTINGS --teachers DIR [--sample 8] [--size 256] [--iterations 300] [-o OUT]

Every pair is stylized three times with the same steps and weights: with the exact normalized VGG-19 (relu1_1, relu2_1, relu3_1), with
lite at the same taps, and with lite at its default taps. Printed for every tap:

- the mean relative squared distance of Gram matrices between image and painting in the exact VGG-19, and its ratio to VGG-19's own;
- the squared errors of lite's Gram matrices: at its image, at the painting, and of their difference. The last one is the distance
  that remains when lite sees no difference.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
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
    """Write the exact blocks as a weights file that impasto reads, for input in 0..255."""
    tensors = {
        f"{name}.{part}": exact.get_buffer(f"{name}_{part}").contiguous() for name in exact.names for part in ("weight", "bias")
    }
    tensors |= {"conv1_1.weight": tensors["conv1_1.weight"] / 255, "mean": 255 * exact.get_buffer("mean").flatten()}
    save_file(tensors, file, {"input": OURS, "network": "vgg19"})
    return file


Grams = dict[str, Tensor]


@torch.no_grad()
def grams(network: Callable[[Tensor], Mapping[str, Tensor]], image: Tensor) -> Grams:
    """{tap: Gram matrix per position, NxN}."""
    seen = network(image)
    return {tap: gram(seen[tap]) / positions(seen[tap]) for tap in TAPS}


def distances(seen: Grams, wanted: Grams) -> dict[str, float]:
    """{tap: relative squared distance}."""
    return {tap: float(relative_style_loss(seen[tap], wanted[tap], 1)) for tap in TAPS}


def errors(lite: tuple[Grams, Grams], exact: tuple[Grams, Grams]) -> dict[str, tuple[float, float, float]]:
    """{tap: lite's squared error at the image, at the painting, of their difference}, relative to VGG-19's matrix of the painting.

    lite, exact: Gram matrices of the image and of the painting.
    """
    found = {}
    for tap in TAPS:
        at_picture, at_painting = (mine[tap] - its[tap] for mine, its in zip(lite, exact, strict=True))
        size = exact[1][tap].square().sum()
        found[tap] = tuple(float(x.square().sum() / size) for x in (at_picture, at_painting, at_picture - at_painting))
    return found


def shrunk(painting: Path, longer: int) -> Tensor:
    """The painting with this longer side, 1x3xHxW."""
    pixels = pictures.load(painting).pixels
    return pictures.resize(pixels, pictures.fit((pixels.shape[-2], pixels.shape[-1]), longer))


def main() -> None:
    """Stylize, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs=2, type=Path, required=True, metavar=("PHOTOS", "PAINTINGS"))
    parser.add_argument(
        "--teachers", type=Path, required=True, help="folder with the exact first blocks (training/teachers.py)"
    )
    parser.add_argument("--sample", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--lite", type=Path, help="weights file to use instead of the package's")
    parser.add_argument("-o", "--out", type=Path, help="also save the images in this folder")
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
    off: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in settings}
    for pair in quality.choose_pairs(*map(quality.pictures_in, arguments.pairs), sample=arguments.sample, zipped=False):
        for name, stylizer in settings.items():
            image = stylizer.run(pair.photo, pair.painting).finish()
            shown = pictures.load(image).pixels, shrunk(pair.painting, max(image.size))
            seen, wanted = (grams(exact, picture) for picture in shown)
            measured = distances(seen, wanted)
            if name == "lite":
                mine, its = (grams(stylizer.encoder, picture) for picture in shown)
                for tap, three in errors((mine, its), (seen, wanted)).items():
                    off[tap].append(three)
            for tap, distance in measured.items():
                found[name][tap].append(distance)
            print(f"{pair.name:45} {name:16}", *(f"{measured[tap]:.4f}" for tap in TAPS), flush=True)
            if arguments.out:
                arguments.out.mkdir(parents=True, exist_ok=True)
                pictures.save(
                    image, arguments.out / f"{pair.name}--{name.replace(', ', '-').replace(' ', '-')}.png", overwrite=True
                )
    print(f"\n| optimized through | {' | '.join(TAPS)} |\n|{'---|' * (len(TAPS) + 1)}")
    for name, taps in found.items():
        cells = [f"{fmean(taps[tap]):.4f} ({fmean(taps[tap]) / fmean(found['VGG-19'][tap]):.2f} times)" for tap in TAPS]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n| squared error of lite, the same three taps | {' | '.join(TAPS)} |\n|{'---|' * (len(TAPS) + 1)}")
    for number, where in enumerate(("at its image", "at the painting", "of their difference")):
        print(f"| {where} | {' | '.join(f'{fmean(three[number] for three in off[tap]):.4f}' for tap in TAPS)} |")


if __name__ == "__main__":
    main()
