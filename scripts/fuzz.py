"""Try mutated inputs until one makes impasto fail: `python scripts/fuzz.py [--cases N] [--minutes M] [--kinds image,line] [--case N]`.

Valid files of every format, command lines, style files, records, saved states and weights files are made by code, changed at random
and given to the library or to the whole command. Every case has a number, and the same number is always the same case: `--case N` runs
one and shows it, `--save FOLDER` with it keeps its files.

A case fails when an exception other than ImpastoError comes out, the exit code is not 0, 1 or 2, an error is not one line, a library
warns or writes to standard error, the case takes more than 20 s or 2 GB, the process crashes, or a file is left or changed. Cases run
in a worker process; after a crash or a hang another worker continues with the next case. Prints a line for each failure and a table.
`--write docs/robustness.md` writes the page about it. Exits 1 if a case failed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from fuzz_cases import KINDS, ROOT, build, page, processes

EVERY = 30  # seconds between lines of progress


def _numbers(asked: argparse.Namespace) -> Iterator[int]:
    """The numbers of the cases to run, within the bounds of count and time."""
    if asked.case is not None:
        yield from asked.case
        return
    end = time.monotonic() + asked.minutes * 60
    kinds = set(asked.kinds.split(",")) if asked.kinds else set(KINDS)
    chosen = (number for number in itertools.count(asked.first) if build.kind_of(number) in kinds)
    for number in itertools.islice(chosen, asked.cases):
        if time.monotonic() > end:
            return
        yield number


def _run(asked: argparse.Namespace) -> page.Summary:
    """Run the cases, with a line for the first failures of each fault and a line of progress now and then."""
    summary = page.Summary(asked.seed)
    spoken = start = time.monotonic()
    for verdict in processes.run(_numbers(asked), asked.seed):
        if summary.add(verdict):
            print(f"FAILED case {verdict.number}: {page.described(verdict)}", flush=True)
        elif asked.case:
            print(f"{verdict.outcome} in {verdict.seconds:.3f} s: {verdict.said}"[:2000])
        if time.monotonic() - spoken > EVERY:
            spoken = time.monotonic()
            took = f"{summary.cases} cases in {spoken - start:.0f} s, {summary.failed} failed"
            print(f"{took} (seed {asked.seed})", file=sys.stderr, flush=True)
    summary.took = time.monotonic() - start
    return summary


def _show(number: int, seed: int, folder: Path | None) -> None:
    case = build.case(number, seed)
    print(f"case {number}, {case.kind}: {case.what}")
    print(f"    {['impasto', *case.words] if case.words else case.call}"[:2000])
    for name, content in case.files.items() if folder else ():
        place = Path(str(folder), name)
        place.mkdir(parents=True, exist_ok=True) if name.endswith("/") else place.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            place.write_bytes(content)


def main() -> int:
    """Run the cases asked for. Returns 1 if one failed."""
    parser = argparse.ArgumentParser(description="Try mutated inputs until one makes impasto fail.")
    parser.add_argument("--cases", type=int, default=None, metavar="N", help="run at most N cases [default: 1000, or no bound]")
    parser.add_argument("--minutes", type=float, default=None, help="run for at most so many minutes")
    parser.add_argument("--kinds", default="", help=f"only these, separated by commas: {', '.join(KINDS)}")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the number of the first case")
    parser.add_argument("--seed", type=int, default=0, help="another seed has other cases under the same numbers")
    parser.add_argument("--case", type=int, nargs="+", metavar="N", help="run these cases only and show them")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the files of --case there")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the page about it")
    asked = parser.parse_args()
    if unknown := set(filter(None, asked.kinds.split(","))) - KINDS.keys():
        parser.error(f"unknown kind: {', '.join(sorted(unknown))}")
    if asked.cases is None:
        asked.cases = sys.maxsize if asked.minutes else 1000
    asked.minutes = asked.minutes or float("inf")
    for number in asked.case or ():
        _show(number, asked.seed, asked.save)
    summary = _run(asked)
    print(summary.table())
    if asked.write:
        page.write(asked.write, summary)
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
