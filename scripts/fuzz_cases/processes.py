"""Cases in a worker process, which may crash or hang: the parent finds which case did it and starts another worker."""

from __future__ import annotations

import faulthandler
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz_cases import ROOT, Verdict, build, perform

PATIENCE = perform.HANGS + 2  # seconds after which a worker says where it hangs, and ends
GRACE = 10  # more seconds until the parent kills it
START = 120  # seconds that a worker may take to load torch
ADDRESS_SPACE = 12_000_000_000  # bytes that a worker may have beyond those at its start


def run(numbers: Iterable[int], seed: int) -> Iterator[Verdict]:
    """Carry out cases in their order. Closing the iterator ends the worker."""
    waiting = iter(numbers)
    while True:
        with tempfile.TemporaryDirectory(prefix="impasto-fuzz-", dir=_memory(), ignore_cleanup_errors=True) as folder:
            ended = yield from _one_worker(waiting, seed, Path(folder))
        if ended:
            return


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # files there cost no disk


def _one_worker(waiting: Iterator[int], seed: int, folder: Path) -> Generator[Verdict, None, bool]:
    """Cases until a worker ends. Returns whether no case is left."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    log = folder / "log"
    worker = context.Process(target=_work, args=(there, seed, str(folder)), daemon=True)
    worker.start()
    there.close()
    try:
        if not here.poll(START) or here.recv() != "ready":
            raise RuntimeError("the worker does not start")
        for number in waiting:
            here.send(number)
            start = time.monotonic()
            try:
                if here.poll(PATIENCE + GRACE):
                    yield here.recv()
                    continue
            except (EOFError, ConnectionError):
                pass
            worker.kill()
            worker.join()
            yield _lost(number, seed, worker.exitcode, time.monotonic() - start, log)
            return False
        return True
    finally:
        worker.kill()
        worker.join()
        here.close()


def _lost(number: int, seed: int, code: int | None, seconds: float, log: Path) -> Verdict:
    """The verdict on a case that ended its process."""
    case = build.case(number, seed)
    lines = [line.strip() for line in log.read_text(errors="backslashreplace").splitlines()] if log.exists() else []
    where = [line for line in lines if line.startswith("File")][:4]
    what = "hangs" if seconds > perform.HANGS else f"ended the process ({code})"
    problem = f"{what}: {next(iter(lines), 'no word')} {' < '.join(where)}"
    return Verdict(number, case.kind, case.what, "failed", "", (problem,), seconds)


def _work(there: Connection, seed: int, folder: str) -> None:
    """A worker: cases by their numbers, verdicts back."""
    sys.path.insert(0, str(ROOT))
    log = Path(folder, "log").open("w", encoding="utf-8")  # noqa: SIM115  # open as long as the process lives
    faulthandler.enable(log)
    place = Path(folder, "cases")
    place.mkdir()
    import impasto.cli
    import impasto.pictures  # noqa: F401

    _limit_memory()
    with perform.Sandbox(place) as sandbox:
        there.send("ready")
        while True:
            try:
                number = there.recv()
            except EOFError:
                break
            case = build.case(number, seed)
            faulthandler.dump_traceback_later(PATIENCE, exit=True, file=log)
            verdict = sandbox.run(case, number)
            faulthandler.cancel_dump_traceback_later()
            there.send(verdict)
    shutil.rmtree(place, ignore_errors=True)


def _limit_memory() -> None:
    """Have the system refuse memory before the machine runs out of it."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + ADDRESS_SPACE, resource.RLIM_INFINITY))
