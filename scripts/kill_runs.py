"""Kill runs at random points and check that nothing is lost: `python scripts/kill_runs.py [--kills 50] [--seed 0] [--video]`.

A child process paints a small image, or with --video a small clip, and kills itself (SIGKILL, which nothing can catch) at a random
function call. In every fourth run Ctrl-C comes a little earlier, so that the kill falls into the save that Ctrl-C asks for. Points are
counted in calls, not in seconds, so the speed of the machine does not matter.

After a kill the output must be absent or a complete image. `impasto resume`, which is sometimes killed as well, must end with the
pixels and the record (except the seconds) of a run that was never interrupted, and leave no other file. A run killed before its first
save starts again. Prints a line for each image; exits 1 if one is BAD. For systems with fork.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # a process with more threads cannot fork safely

import numpy as np
import torch
from PIL import Image

from impasto import clips
from impasto.cli import main as impasto
from impasto.compute import settings
from impasto.video.flow import opencv

SAVE_EVERY = ("0", "1000000")  # seconds: after each iteration, or only when interrupted
FRAMES = 9  # of a clip
MOST_KILLS = 4  # of one image
CALLS_OF_A_SAVE = 500  # about as many calls of Python functions as a save takes
INTERRUPTED = 130  # the exit code after Ctrl-C


@dataclass(frozen=True)
class Subject:
    """What is painted. out: its file; inputs: what is there before; paint: the command; state: what there is once it can be resumed."""

    out: str
    inputs: frozenset[str]
    paint: tuple[str, ...]
    state: str

    @property
    def unfinished(self) -> str:
        """The state file or folder."""
        return f"{self.out}.unfinished"

    @property
    def lock(self) -> str:
        """The lock file."""
        return f".{self.out}.impasto-lock"

    def words(self, folder: Path) -> list[str]:
        """The command that paints, or resumes."""
        return ["resume", self.out, "--quiet"] if (folder / self.state).exists() else [*self.paint, "-o", self.out, "--quiet"]


COMMON = ("--device", "cpu")
IMAGE = Subject(
    "out.png",
    frozenset({"photo.png", "style.png"}),
    ("photo.png", "style.png", "--size", "182", "--iterations", "8", "--max-memory", "2GB", *COMMON),
    "out.png.unfinished",
)
CLIP = Subject(
    "out.mp4",
    frozenset({"clip", "style.png"}),
    ("video", "clip", "style.png", "--size", "64", "--quality", "instant", *COMMON),
    "out.mp4.unfinished/card.json",
)


@dataclass
class Row:
    """What happened to one image. kills: one text for each kill; wrong: everything that should not be so."""

    kills: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def run(words: list[str], save_every: str, kill_at: int = -1, after_interrupt: int = 0, counted: Path | None = None) -> int:
    """Run impasto in a child that kills itself at this function call (-1: never).

    after_interrupt: not 0: the child sends itself Ctrl-C at that call, and is killed this many calls later. counted: a file that gets
    the number of calls of the whole run. Returns the exit code; -N after signal N.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.environ["IMPASTO_SAVE_EVERY"] = save_every
    settings._process = os.getpid()  # impasto refuses a forked process, whose threads are lost; this one has only ever had one
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    code, calls, later = 99, itertools.count(), itertools.count()

    def kill(frame: object, event: str, argument: object) -> None:
        if next(later) == after_interrupt:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(frame: object, event: str, argument: object) -> None:
        if next(calls) == kill_at:
            sys.settrace(kill)  # Python drops the profiling hook when KeyboardInterrupt is raised in it, but keeps this one
            os.kill(os.getpid(), signal.SIGINT if after_interrupt else signal.SIGKILL)

    try:
        sys.setprofile(hook)
        code = impasto(words)
        sys.setprofile(None)
        if counted:
            counted.write_text(str(next(calls)))
    finally:
        os._exit(code)


def record(file: Path) -> tuple[object, dict[str, Any]]:
    """The pixels of an image, or the frames and times of a clip, and the record without the seconds.

    Raises OSError, ValueError or ImpastoError for an incomplete file.
    """
    if file.suffix == ".mp4":
        clip, stored = clips.open_clip(file), clips.settings_of(file) or {}
        pixels: object = [(frame.time, frame.duration, frame.pixels.numpy().tobytes()) for frame in clip.frames()]
    else:
        with Image.open(file) as image:
            image.load()
            comment = image.getexif().get_ifd(0x8769)[0x9286]
            stored = json.loads(bytes(comment if isinstance(comment, bytes) else comment.encode())[8:])
            pixels = np.asarray(image).tobytes()
    return pixels, {name: value for name, value in stored.items() if name != "seconds"}


def examine(subject: Subject, folder: Path, row: Row, whole: object) -> str:
    """Check what a kill left. Returns a description."""
    there = {file.name for file in folder.iterdir()} - subject.inputs
    temporary = {name for name in there if name.startswith(".impasto-") and name.endswith(".tmp")}
    if unknown := there - temporary - {subject.out, subject.unfinished, subject.lock}:
        row.wrong.append(f"left {', '.join(sorted(unknown))}")
    found = "state" if subject.unfinished in there else "no state"
    if subject.out in there:
        try:
            finished = record(folder / subject.out) == whole
            found += ", finished" if finished else ", unfinished image"
            if not finished and subject.unfinished not in there:
                row.wrong.append("an unfinished image without a state")
        except (OSError, ValueError, KeyError) as error:
            row.wrong.append(f"an incomplete file: {error}")
    return found + (f", {len(temporary)} temporary" if temporary else "")


def one(subject: Subject, folder: Path, whole: object, calls: dict[str, int], choose: random.Random) -> Row:
    """Paint once and kill it on the way."""
    row, save_every, out = Row(), choose.choice(list(calls)), folder / subject.out
    for _ in range(choose.randint(1, MOST_KILLS)):
        at, later = choose.randrange(calls[save_every]), choose.randint(1, CALLS_OF_A_SAVE) if choose.random() < 0.25 else 0
        code = run(subject.words(folder), save_every, at, later)
        if code == -signal.SIGKILL:
            row.kills.append(f"{'Ctrl-C at ' if later else ''}call {at}: {examine(subject, folder, row, whole)}")
        elif code != INTERRUPTED:
            break
        if out.exists() and not (folder / subject.state).exists():
            break  # finished
    command = subject.words(folder)
    if ((folder / subject.state).exists() or not out.exists()) and (code := run(command, save_every)):
        row.wrong.append(f"`{' '.join(command[:2])}` ended with {code}")
    if not out.exists() or record(out) != whole:
        row.wrong.append("not the result of an uninterrupted run")
    if left := {file.name for file in folder.iterdir()} - subject.inputs - {subject.out, subject.lock}:
        row.wrong.append(f"at the end there is still {', '.join(sorted(left))}")
    return row


def prepare(subject: Subject, folder: Path) -> None:
    """Write the inputs into a new folder, and change to it."""
    folder.mkdir()
    for seed, name in enumerate(sorted(subject.inputs)):
        noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((200, 160), Image.Resampling.BICUBIC)
        if name.endswith(".png"):
            image.save(folder / name)
        else:
            (folder / name).mkdir()
            for number in range(FRAMES):
                image.crop((3 * number, number, 3 * number + 128, number + 96)).save(folder / name / f"{number:03}.png")
    os.chdir(folder)


def uninterrupted(subject: Subject, new_folder: Callable[[], Path]) -> tuple[object, dict[str, int]]:
    """The record of a run that is not killed, and its number of function calls for each interval of saving."""
    calls, records = {}, []
    prepare(subject, new_folder())
    if code := impasto(subject.words(Path())):  # imports everything, so that the children's calls are those of painting
        raise SystemExit(f"the run that was not killed ended with {code}")
    for save_every in SAVE_EVERY if subject is IMAGE else SAVE_EVERY[:1]:
        prepare(subject, folder := new_folder())
        counted = folder.with_suffix(".calls")
        if code := run(subject.words(folder), save_every, counted=counted):
            raise SystemExit(f"the run that was not killed ended with {code}")
        calls[save_every] = int(counted.read_text())
        records.append(record(folder / subject.out))
    return records[0], calls


def main() -> int:
    """Kill, examine, print. Returns 1 if anything was BAD."""
    parser = argparse.ArgumentParser(description="Kill runs at random points and check that nothing is lost.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--video", action="store_true")
    asked = parser.parse_args()
    subject = CLIP if asked.video else IMAGE
    torch.set_num_threads(1)
    if asked.video:
        opencv().setNumThreads(1)
    choose, kills, bad, numbers = random.Random(asked.seed), Counter[str](), 0, itertools.count(1)
    with tempfile.TemporaryDirectory() as place:
        whole, calls = uninterrupted(subject, lambda: Path(place, f"whole-{next(numbers)}"))
        print(f"an uninterrupted run makes {' or '.join(map(str, calls.values()))} function calls")
        for number in itertools.count(1):
            if kills.total() >= asked.kills:
                break
            folder = Path(place, str(number))
            prepare(subject, folder)
            row = one(subject, folder, whole, calls, choose)
            kills.update(text.partition(": ")[2] for text in row.kills)
            bad += bool(row.wrong)
            texts = [*row.kills, *row.wrong] or ["finished before the kill"]
            print(f"{number:3}  {'BAD' if row.wrong else 'ok '}  {'; '.join(texts)}", flush=True)
        os.chdir("/")
    found = ", ".join(f"{count} {text}" for text, count in kills.most_common())
    print(f"{number - 1} runs, {kills.total()} kills ({found}), {bad} BAD")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
