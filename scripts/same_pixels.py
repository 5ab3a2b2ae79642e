"""Paint a fixed set of commands with two versions of impasto and say which results have the same pixels.

    python scripts/same_pixels.py record FILE [--source DIR]     # paint, and write the SHA-256 of every result's pixels
    python scripts/same_pixels.py compare OLD NEW                # print the table of two recordings as Markdown

A change that only moves code must leave every row the same. DIR is a checkout of impasto; without it the installed package is used.
Record both versions on one machine: other processors round differently.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

SMALL = "--size 96 --iterations 24"
BLOCKS = "--size 700 --iterations 8 --max-memory"
# name -> the words after `impasto`; the result is always out.png. Files are made by `inputs`.
COMMANDS: dict[str, str] = {
    "default": f"photo.jpg painting.jpg {SMALL}",
    "default, 160 pixels": "photo.jpg painting.jpg --size 160 --iterations 40",
    "draft": "photo.jpg painting.jpg --size 128 --quality draft",
    "fp32": f"photo.jpg painting.jpg {SMALL} --precision fp32",
    "bf16": f"photo.jpg painting.jpg {SMALL} --precision bf16",
    "noise, seed 7": f"photo.jpg painting.jpg {SMALL} --init noise --seed 7",
    "noise, seed 8": f"photo.jpg painting.jpg {SMALL} --init noise --seed 8",
    "start from a file": f"photo.jpg painting.jpg {SMALL} --init start.png",
    "strength 0": f"photo.jpg painting.jpg {SMALL} --strength 0",
    "strength 0.9, scale 2": f"photo.jpg painting.jpg {SMALL} --strength 0.9 --style-scale 2",
    "original size": "small.png painting.jpg --size original --iterations 20",
    "transparent photograph": f"clear.png painting.jpg {SMALL}",
    "two paintings": f"photo.jpg painting.jpg other.png {SMALL} --blend 0.7 0.3",
    "style by name": f"photo.jpg starry-night {SMALL}",
    "two names, scale 2": f"photo.jpg starry-night great-wave {SMALL} --blend 0.6 0.4 --style-scale 2",
    "style file": f"photo.jpg made.style {SMALL}",
    "colors kept, luma": f"photo.jpg painting.jpg {SMALL} --keep-colors luma",
    "colors kept, match": f"photo.jpg painting.jpg {SMALL} --keep-colors match",
    "mask with a style": f"photo.jpg painting.jpg {SMALL} --mask left.png=starry-night",
    "mask, keep": f"photo.jpg painting.jpg {SMALL} --mask left.png=keep",
    "masks alone": f"photo.jpg {SMALL} --mask left.png=other.png --mask soft.png=starry-night",
    "pair of masks": f"photo.jpg painting.jpg {SMALL} --content-mask left.png --style-mask top.png",
    "smooth, average, zero": f"photo.jpg painting.jpg {SMALL} --tv-weight 5 --pooling average --padding zero",
    "VGG-16": f"photo.jpg painting.jpg {SMALL} --encoder vgg16 --weights vgg16.safetensors "
    "--taps relu1_1,relu2_1 --content-taps relu2_2",
    "gatys": f"photo.jpg painting.jpg {SMALL} --method gatys --encoder lite",
    "gatys, max, taps": f"photo.jpg painting.jpg {SMALL} --method gatys --encoder lite --pooling max --taps relu1_1,relu2_1,relu3_1",
    "gatys, VGG-16, mask": f"photo.jpg painting.jpg {SMALL} --method gatys --encoder vgg16 --weights vgg16.safetensors "
    "--taps relu1_1,relu2_1 --content-taps relu2_2 --mask left.png=keep",
    "blocks": f"photo.jpg painting.jpg {BLOCKS} 680MB",
    "blocks, smallest": f"photo.jpg painting.jpg {BLOCKS} 640MB --precision bf16",
    "blocks, masks, smooth": f"photo.jpg painting.jpg {BLOCKS} 720MB --mask left.png=starry-night --mask soft.png=keep --tv-weight 5",
    "blocks, gatys": f"photo.jpg painting.jpg {BLOCKS} 640MB --method gatys --encoder lite --init content",
}


def inputs(folder: Path) -> None:
    """Write the pictures, the masks and the weights that the commands name."""
    assets = Path(__file__).parent.parent / "impasto" / "assets"
    photo = Image.open(assets / "chelsea.jpg").convert("RGB")
    photo.save(folder / "photo.jpg", quality=95)
    Image.open(assets / "strokes.jpg").convert("RGB").save(folder / "painting.jpg", quality=95)
    photo.resize((90, 60)).save(folder / "small.png")
    photo.transpose(Image.Transpose.ROTATE_90).resize((200, 300)).save(folder / "other.png")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "start.png")
    across, down = np.meshgrid(np.linspace(0, 255, photo.width), np.linspace(0, 255, photo.height))
    clear = photo.copy()
    clear.putalpha(Image.fromarray(across.astype(np.uint8)))
    clear.save(folder / "clear.png")
    Image.fromarray(((across < 100) * 255).astype(np.uint8)).save(folder / "left.png")
    Image.fromarray(down.astype(np.uint8)).save(folder / "soft.png")
    painting = Image.open(folder / "painting.jpg")
    top = np.zeros((painting.height, painting.width), np.uint8)
    top[: painting.height // 2] = 255
    Image.fromarray(top).save(folder / "top.png")
    save_file(_random_vgg(), folder / "vgg16.safetensors")


def _random_vgg() -> dict[str, torch.Tensor]:
    """VGG-16 with filters drawn by chance, in torchvision's names."""
    generator, channels, tensors, index = torch.Generator().manual_seed(0), 3, {}, 0
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            tensors[f"features.{index}.weight"] = (
                torch.randn(width, channels, 3, 3, generator=generator) * (2 / (9 * channels)) ** 0.5
            )
            tensors[f"features.{index}.bias"] = torch.zeros(width)
            channels, index = width, index + 2
        index += 1
    return tensors


def record(source: Path | None) -> dict[str, str]:
    """{name: SHA-256 of the pixels, or the last words of the error}."""
    environment = os.environ | ({"PYTHONPATH": str(source)} if source else {})
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs(folder)

        def impasto(words: str, **more: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "impasto", *words.split()]
            return subprocess.run(command, cwd=folder, env=environment | more, capture_output=True, text=True, check=False)

        impasto("style make painting.jpg -o made.style")
        for name, words in COMMANDS.items():
            done = impasto(f"{words} -o out.png --overwrite")
            found[name] = _pixels(folder / "out.png") if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
            print(f"{name:28} {found[name][:100]}", file=sys.stderr)
        impasto(f"{COMMANDS['default']} -o first.png --overwrite")
        impasto("again first.png -o out.png --overwrite")
        found["again"] = _pixels(folder / "out.png")
        found["resume after kill -9"] = _resumed(folder, environment)
    return found


def _resumed(folder: Path, environment: dict[str, str]) -> str:
    """The pixels of the second command, killed as soon as it has saved its state at the second scale, and then resumed."""
    words = COMMANDS["default, 160 pixels"].split()
    command = [sys.executable, "-m", "impasto", *words, "-o", "killed.png"]
    state = folder / "killed.png.unfinished"
    running = subprocess.Popen(command, cwd=folder, env=environment | {"IMPASTO_SAVE_EVERY": "0"}, stderr=subprocess.DEVNULL)
    while running.poll() is None and not (state.exists() and state.stat().st_size):
        time.sleep(0.01)
    time.sleep(0.5)
    running.kill()
    running.wait()
    resume = [sys.executable, "-m", "impasto", "resume", "killed.png"]
    subprocess.run(resume, cwd=folder, env=environment, capture_output=True, check=False)
    return _pixels(folder / "killed.png")


def _pixels(file: Path) -> str:
    with contextlib.suppress(OSError), Image.open(file) as image:
        return hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
    return "no result"


def compare(old: dict[str, str], new: dict[str, str]) -> int:
    """Print the table. Returns the number of rows that differ."""
    print("| command | before | now | |\n|---|---|---|---|")
    for name in old:
        same = "same" if old[name] == new.get(name) else "**differs**"
        print(f"| {name} | `{old[name][:12]}` | `{new.get(name, '-')[:12]}` | {same} |")
    return sum(old[name] != new.get(name) for name in old)


def main() -> int:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("file", type=Path)
    recording.add_argument("--source", type=lambda text: Path(text).resolve())
    comparing = commands.add_parser("compare")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    asked = parser.parse_args()
    if asked.command == "record":
        asked.file.write_text(json.dumps(record(asked.source), indent=1) + "\n", encoding="utf-8")
        return 0
    old, new = (json.loads(file.read_text(encoding="utf-8")) for file in (asked.old, asked.new))
    return min(1, compare(old, new))


if __name__ == "__main__":
    sys.exit(main())
