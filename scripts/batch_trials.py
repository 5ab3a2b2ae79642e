#!/usr/bin/env python
"""Kill batches, feed them bad files, and take machines away from them. Writes the tables of docs/batch.md.

python scripts/batch_trials.py kill [--images 1000] [--times 5]
python scripts/batch_trials.py bad [--good 300]
python scripts/batch_trials.py ray [--images 60]
... --write docs/batch.md

kill: a batch is killed at random moments (SIGKILL of the program, every second time without its workers, which then end by
themselves) and then run to its end. Every output must be whole, none missing, and all of them the bytes of a batch that was not
interrupted. bad: files of 30 kinds that no image can be read from, among good ones; exactly those must fail, each with a reason.
ray: one node against two and three on this machine, and three of which one is killed under way; the bytes must be the same. Exits 1 if
anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from inputs_cases import files as cases
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
STYLE = "udnie"
SMALL = ("--quality", "instant", "--size", "48", "--device", "cpu")
SEED = 30
Rows = list[tuple[str, str]]

# 30 kinds of files that no photograph can be read from: those of `scripts/inputs.py`, and more.
BAD: dict[str, Callable[[], bytes]] = {
    **{
        name: (lambda name=name: cases.content(name))
        for name in (
            *(
                "cut.png",
                "cut.jpg",
                "0x0.png",
                "bomb.png",
                "nan.tif",
                "negative.tif",
                "empty.png",
                "text.jpg",
                "transparent.png",
            ),
            *("1x1.png", "raw.dng", "webp.tif", "drawing.svg", "light.exr"),
        )
    },
    "film.jpg": lambda: cases.content("film.mov"),
    "page.jpg": lambda: cases.content("page.pdf"),
    "web-page.png": lambda: b"<!doctype html><html><body>404 Not Found</body></html>",
    "archive.png": lambda: b"PK\x03\x04" + bytes(100),
    "gzip.jpg": lambda: b"\x1f\x8b\x08" + bytes(100),
    "lfs-pointer.jpg": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "zeros.jpg": lambda: bytes(5000),
    "random.png": lambda: random.Random(SEED).randbytes(5000),
    "signature-only.png": lambda: b"\x89PNG\r\n\x1a\n",
    "signature-only.jpg": lambda: b"\xff\xd8\xff\xe0",
    "header-only.webp": lambda: b"RIFF\x24\0\0\0WEBPVP8 ",
    "cut.gif": lambda: _encoded("GIF")[:60],
    "cut.bmp": lambda: _encoded("BMP")[:70],
    "cut.webp": lambda: _encoded("WEBP")[:80],
    "json.png": lambda: b'{"an": "annotation"}',
    "gimp.xcf": lambda: b"gimp xcf v011\0" + bytes(100),
}


def _encoded(kind: str) -> bytes:
    import io

    file = io.BytesIO()
    photograph(1).save(file, kind)
    return file.getvalue()


def photograph(seed: int) -> Image.Image:
    """Soft blobs, 64x48, another picture for every seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((64, 48), Image.Resampling.BICUBIC)


def photographs(folder: Path, count: int) -> None:
    """So many JPEGs, a hundred in each sub-folder."""
    for number in range(count):
        file = folder / f"{number // 100:02}" / f"{number:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        photograph(number).save(file, quality=90)


def command(photos: Path, output: Path, *more: str) -> list[str]:
    """The batch."""
    return [sys.executable, "-m", "impasto", "batch", str(photos), STYLE, "-o", str(output), *SMALL, *more]


def started(photos: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    """The batch, under way."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(photos, output, *more), env=environment, text=True, **pipes)


def finished(photos: Path, output: Path, *more: str) -> tuple[int, str]:
    """Run the batch to its end. Returns the exit code and standard error."""
    process = started(photos, output, *more)
    _, said = process.communicate()
    return process.returncode, said


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, without the batch's list."""
    names = (
        file for file in folder.rglob("*") if file.is_file() and file.name not in ("batch.json", ".batch.json.impasto-lock")
    )
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in names}


def unreadable(found: dict[str, bytes]) -> list[str]:
    """The names of images that Pillow cannot decode to their end."""
    import io

    bad = []
    for name, data in found.items():
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
        except (OSError, SyntaxError, ValueError):
            bad.append(name)
    return bad


def kill(place: Path, images: int, times: int) -> tuple[Rows, bool]:
    """Kill a batch again and again, then let it finish."""
    photos, whole, killed, choose = place / "photos", place / "whole", place / "killed", random.Random(SEED)
    photographs(photos, images)
    code, said = finished(photos, whole)
    if code:
        raise SystemExit(said)
    left, at = 0, []
    for number in range(times):
        process, until = started(photos, killed), (at[-1] if at else 0) + choose.randint(1, images // (times + 1))
        while process.poll() is None and sum(1 for _ in killed.rglob("*.png")) < until:
            time.sleep(choose.uniform(0.0, 0.1))
        workers = psutil.Process(process.pid).children() if process.poll() is None else []
        process.kill()
        for worker in workers if number % 2 == 0 else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        process.communicate()
        psutil.wait_procs(workers, timeout=60)  # those that were not killed end after the image that they were painting
        found = {name: data for name, data in tree(killed).items() if name.endswith(".png")}
        left += len(unreadable(found))
        at.append(len(found))
    code, _ = finished(photos, killed)
    found, expected = tree(killed), tree(whole)
    missing, different = len(expected.keys() - found.keys()), sum(found.get(name) != data for name, data in expected.items())
    extra = sorted(found.keys() - expected.keys())
    good = not (code or left or missing or different or extra)
    return [
        ("images", f"{images}"),
        ("images there after each kill", ", ".join(map(str, at))),
        ("half-written images after a kill", f"{left}"),
        ("missing at the end", f"{missing}"),
        ("with other bytes than an uninterrupted batch", f"{different}"),
        ("other files left", f"{len(extra)}"),
    ], good


def bad(place: Path, good: int) -> tuple[Rows, bool]:
    """Bad files among good ones."""
    photos, output = place / "photos", place / "out"
    photographs(photos, good)
    for number, (name, content) in enumerate(BAD.items()):
        file = photos / f"{number % 3:02}" / f"bad-{name}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content())
    code, said = finished(photos, output, "--names", "{photo}.{photo_type}--{style}.png")
    if not (output / "batch.json").exists():
        raise SystemExit(said)
    listed = json.loads((output / "batch.json").read_text())["failures"]
    failed = dict[str, str]()
    for one in listed:
        name = Path(one["photo"]).name
        failed[name.removeprefix("bad-")] = one["problem"].rpartition(f"{name}: ")[2]
    there = tree(output)
    right = code == 1 and failed.keys() == BAD.keys() and all(failed.values()) and len(there) == good and not unreadable(there)
    return [
        ("good photographs", f"{good}"),
        ("painted, whole", f"{len(there) - len(unreadable(there))}"),
        ("bad files", f"{len(BAD)}"),
        ("failed", f"{len(failed)}, the bad ones" if failed.keys() == BAD.keys() else f"{sorted(failed)}"),
        ("without a reason", f"{sum(not why for why in failed.values())}"),
        *((name, failed.get(name, "NOT REFUSED")) for name in sorted(BAD)),
    ], right


NODES = """
import sys
from ray.cluster_utils import Cluster
import impasto
nodes, kill, photos, output = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
others = [cluster.add_node(num_cpus=1) for _ in range(nodes - 1)]
count = painted = 0
found = impasto.batch(photos, "udnie", output=output, ray=cluster.address, size=64, iterations=30, device="cpu")
for result in found:
    count, painted = count + 1, painted + (result.state == "painted")
    if kill and count == kill:
        cluster.remove_node(others[0], allow_graceful=False)
print("results", count, "painted", painted)
cluster.shutdown()
"""


def ray(place: Path, images: int) -> tuple[Rows, bool]:
    """One node, two, three, and three of which one is killed."""
    photos = place / "photos"
    photographs(photos, images)
    rows, trees = Rows(), []
    right = True
    for label, nodes, kill_at in (
        ("1 node", 1, 0),
        ("2 nodes", 2, 0),
        ("3 nodes", 3, 0),
        ("3 nodes, one killed", 3, max(3, images // 3)),
    ):
        output = place / label.replace(" ", "-")
        began = time.monotonic()
        words = [sys.executable, "-c", NODES, str(nodes), str(kill_at), str(photos), str(output)]
        done = subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
        said = re.search(r"results (\d+) painted (\d+)", done.stdout)
        trees.append(tree(output))
        results = said and (int(said[1]), int(said[2]))
        same = trees[-1] == trees[0] and len(trees[-1]) == images
        right = right and same and results == (images, images)
        words_ = "the same bytes" if same else "OTHER BYTES"
        rows.append((label, f"{results} results and images of {images}, {words_}, {time.monotonic() - began:.0f} s"))
    return rows, right


def replace(page: Path, section: str, lines: list[str]) -> None:
    """Replace the text between a section's marks in the page."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {section} -->\n", f"<!-- /{section} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"{page} has no section {section}")
    page.write_text(pattern.sub(lambda _: begin + "\n".join(lines) + "\n" + end, text), encoding="utf-8")


def main() -> int:
    """Run one trial, print its table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", choices=("kill", "bad", "ray"))
    parser.add_argument("--images", type=int)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--good", type=int, default=300)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="impasto-batch-"))
    try:
        if asked.trial == "kill":
            rows, good = kill(place, asked.images or 1000, asked.times)
        elif asked.trial == "bad":
            rows, good = bad(place, asked.good)
        else:
            rows, good = ray(place, asked.images or 60)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    typed = " ".join(word for word in sys.argv[1:] if word != "--write" and not word.endswith(".md"))
    lines = [f"`python scripts/batch_trials.py {typed}`: {'good' if good else 'BAD'}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text.replace('|', '/')} |" for name, text in rows]
    print("\n".join(lines))
    if asked.write:
        replace(asked.write, asked.trial, lines)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
