"""The machine, timing, and the inputs that benchmarks share."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
PHOTO, PAINTING = (ROOT / "impasto" / "assets" / name for name in ("chelsea.jpg", "strokes.jpg"))


def processor() -> str:
    """The processor's name, where the system provides it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def timed(work: Callable[[], object], *, warmup: int = 1, rounds: int = 5, wait: Callable[[], None] = lambda: None) -> float:
    """Median seconds of `rounds` calls after `warmup` untimed ones. wait: returns once the device is idle."""
    seconds = []
    for _ in range(warmup + rounds):
        wait()
        began = time.perf_counter()
        work()
        wait()
        seconds.append(time.perf_counter() - began)
    return median(seconds[warmup:])


def write_between(page: Path, name: str, table: str) -> None:
    """Replace what is between the markers of a name in a page."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")
