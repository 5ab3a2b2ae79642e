"""Kill runs at random moments and see whether anything is lost: `python scripts/kill_runs.py [--kills 50] [--seed 0] [--limit 600]`.

A small picture is painted in a child process, which is killed (SIGKILL, which nothing can catch) at a random moment; in every fourth
run Ctrl-C comes just before, so that the kill falls into the saving that it asks for. Whatever is there then must be whole: the output
is absent, or a complete picture; the state is absent, or can be read. `impasto resume` goes on, now and then killed in turn, and has to
end in the pixels and the record, but for the time it took, of a run that nobody interrupted, and leave nothing beside it. What a run
killed before its first state has lost is begun again. Prints a row for every run; exit 1 if any is BAD. For systems that can fork.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # and a child may be forked after torch is loaded

import numpy as np
import torch
from PIL import Image

from impasto import pictures, states
from impasto.cli import main as impasto
from impasto.errors import ImpastoError

OUT, INPUTS = "out.png", {"photo.png", "style.png"}
WORDS = ["photo.png", "style.png", "-o", OUT, "--size", "181", "--iterations", "16", "--device", "cpu", "--quiet"]
INTERVALS = ("0", "0.05", "0.3")  # seconds between saves: from nothing but saving to hardly any
MOST_KILLS = 4  # of one picture


@dataclass
class Row:
    """What became of one picture. kills: words on every kill; wrong: what should not be."""

    kills: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def start(words: list[str], interval: str) -> int:
    """Run impasto in a child. Returns its number."""
    child = os.fork()
    if child:
        return child
    os.environ["IMPASTO_SAVE_EVERY"] = interval
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    code = 99
    try:
        code = impasto(words)
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a child. Returns its exit code, less than 0 for a signal's number."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child: int, moments: random.Random, longest: float, *, warned: bool) -> str:
    """Kill a child at a random moment. Returns words on when; "" if it had come to its end before."""
    after = moments.uniform(0, longest)
    time.sleep(after)
    if warned:
        os.kill(child, signal.SIGINT)
        time.sleep(moments.uniform(0, 0.08))
    os.kill(child, signal.SIGKILL)
    code = ended(child)
    return f"{after:.2f} s" + (" after Ctrl-C" if warned else "") if code == -signal.SIGKILL else ""


def record(file: Path) -> tuple[object, ...]:
    """A picture's pixels, and what it remembers but for the seconds. Raises OSError or ImpastoError for half a picture."""
    with Image.open(file) as image:
        image.load()
        pixels = np.asarray(image).tobytes()
    settings = pictures.read_settings(file) or {}
    return pixels, {name: value for name, value in settings.items() if name != "seconds"}


def look(folder: Path, row: Row, whole: tuple[object, ...]) -> str:
    """Check what a kill has left. Returns a word on it."""
    out, state = folder / OUT, states.place(folder / OUT)
    there = {file.name for file in folder.iterdir()} - INPUTS
    scraps = {name for name in there if name.startswith(".impasto-") and name.endswith(".tmp")}
    unknown = there - scraps - {out.name, state.name, f".{OUT}.impasto-lock"}
    if unknown:
        row.wrong.append(f"left {', '.join(sorted(unknown))}")
    word = "nothing yet"
    try:
        if state.exists():
            word = f"state at {states.load(state, torch.device('cpu'))[0].done:.0%}"
        if out.exists():
            found = record(out)
            word = f"{word}, finished" if found == whole else f"{word}, picture so far"
            if found != whole and not state.exists():
                row.wrong.append("an unfinished picture without a state")
    except (OSError, ImpastoError) as error:
        row.wrong.append(f"half a file: {error}")
    return word + (f", {len(scraps)} scrap" if scraps else "")


def one(folder: Path, whole: tuple[object, ...], longest: float, moments: random.Random) -> Row:
    """Paint one picture, killing it on the way."""
    row, words = Row(), WORDS
    interval = moments.choice(INTERVALS)
    for _ in range(MOST_KILLS):
        killed = kill(start(words, interval), moments, longest, warned=moments.random() < 0.25)
        if not killed:
            break
        row.kills.append(f"{killed}: {look(folder, row, whole)}")
        words = ["resume", OUT, "--quiet"] if states.place(folder / OUT).exists() else WORDS
        if (folder / OUT).exists() and words is WORDS:
            break  # finished
        if moments.random() < 0.6:
            break
    if states.place(folder / OUT).exists() or not (folder / OUT).exists():
        words = ["resume", OUT, "--quiet"] if states.place(folder / OUT).exists() else WORDS
        code = ended(start(words, interval))
        if code:
            row.wrong.append(f"`{' '.join(words[:2])}` ended with {code}")
    if not (folder / OUT).exists() or record(folder / OUT) != whole:
        row.wrong.append("not the picture of an uninterrupted run")
    left = {file.name for file in folder.iterdir()} - INPUTS - {OUT, f".{OUT}.impasto-lock"}
    if left:
        row.wrong.append(f"at the end there is still {', '.join(sorted(left))}")
    return row


def prepare(folder: Path) -> None:
    """Put a photograph and a painting there, and go there."""
    for seed, name in enumerate(sorted(INPUTS)):
        rough = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((200, 160), Image.Resampling.BICUBIC).save(folder / name)
    os.chdir(folder)


def main() -> int:
    """Kill, look, print. Returns 1 if anything was BAD."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which no new run is begun")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    moments, began, rows, kills = random.Random(asked.seed), time.monotonic(), [], Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        whole, longest = uninterrupted(Path(place, "whole"))
        print(f"uninterrupted: {longest:.2f} s; killed at 0 to {1.2 * longest:.2f} s")
        for number in itertools.count(1):
            if kills.total() >= asked.kills:
                break
            if time.monotonic() - began > asked.limit:
                print(f"stopped after {asked.limit:g} s")
                break
            folder = Path(place, str(number))
            folder.mkdir()
            prepare(folder)
            row = one(folder, whole, 1.2 * longest, moments)
            rows.append(row)
            kills.update(kill.partition(": ")[2].partition(" at ")[0] for kill in row.kills)
            print(
                f"{number:3}  {'BAD' if row.wrong else 'ok '}  {'; '.join([*row.kills, *row.wrong]) or 'finished first'}",
                flush=True,
            )
        os.chdir("/")
    bad = sum(bool(row.wrong) for row in rows)
    found = ", ".join(f"{count} {word}" for word, count in kills.most_common())
    print(f"{len(rows)} pictures, {kills.total()} kills ({found}), {bad} BAD, {time.monotonic() - began:.0f} s")
    return 1 if bad or not rows else 0


def uninterrupted(folder: Path) -> tuple[tuple[object, ...], float]:
    """The record of a run that nobody kills, and how long it takes where it saves all the time."""
    folder.mkdir()
    prepare(folder)
    began = time.monotonic()
    if ended(start(WORDS, INTERVALS[0])):
        raise SystemExit("the run that nobody killed has failed")
    return record(folder / OUT), time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
