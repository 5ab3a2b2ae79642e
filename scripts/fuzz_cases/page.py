"""What a run of the fuzzer found, as a table for the terminal and as docs/robustness.md."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fuzz_cases import KINDS, Verdict

STDERR = "on the real standard error"
OUTCOMES = ("accepted", "refused", "failed")
BEGIN, END = "<!-- fuzz: begin -->", "<!-- fuzz: end -->"
PAGE = f"""# Robustness

`scripts/fuzz.py` makes valid files of every format by code, changes them at random and gives them to impasto. It does the same with
command lines.

{BEGIN}
{END}
"""


def described(verdict: Verdict) -> str:
    """A failure in one line."""
    return " ".join(f"{verdict.kind}, {verdict.what[:200]}: {'; '.join(verdict.problems)}".split())[:900]


def _signature(verdict: Verdict) -> str:
    """What two failures of one fault have in common."""
    problem = verdict.problems[0]
    if problem.startswith(STDERR):  # a codec's complaint: one fault for each function that complains
        return " ".join(f"{verdict.kind}: {problem}".split()[:7])
    return re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "#", f"{verdict.kind}: {problem}")[:160]


@dataclass(frozen=True)
class Summary:
    """A run. faults: {signature: its failures}."""

    counts: Counter[tuple[str, str]]
    seconds: Counter[str]
    faults: dict[str, list[Verdict]]
    slowest: Verdict | None
    took: float
    seed: int

    @classmethod
    def of(cls, verdicts: Iterable[Verdict], took: float, seed: int) -> Summary:
        """Of all verdicts of a run that took so many seconds."""
        verdicts = list(verdicts)
        seconds: Counter[str] = Counter()
        faults: dict[str, list[Verdict]] = {}
        for verdict in verdicts:
            seconds[verdict.kind] += verdict.seconds  # type: ignore[assignment]
            if verdict.problems:
                faults.setdefault(_signature(verdict), []).append(verdict)
        counts = Counter((verdict.kind, verdict.outcome) for verdict in verdicts)
        slowest = max(verdicts, key=lambda verdict: verdict.seconds, default=None)
        return cls(counts, seconds, faults, slowest, took, seed)

    def rows(self) -> list[tuple[str, ...]]:
        """(kind, cases, accepted, refused, failed, milliseconds per case) of every kind and of all."""
        found = []
        for kind in KINDS:
            numbers = [self.counts[kind, outcome] for outcome in OUTCOMES]
            if sum(numbers):
                each = 1000 * self.seconds[kind] / sum(numbers)
                found.append((kind, str(sum(numbers)), *map(str, numbers), f"{each:.1f}"))
        totals = [sum(self.counts[kind, outcome] for kind in KINDS) for outcome in OUTCOMES]
        each = 1000 * sum(self.seconds.values()) / max(1, sum(totals))
        return [*found, ("all", str(sum(totals)), *map(str, totals), f"{each:.1f}")]

    def table(self) -> str:
        """For the terminal, with each fault once."""
        lines = ["{:10} {:>8} {:>9} {:>8} {:>7} {:>9}".format("kind", "cases", *OUTCOMES, "ms/case")]
        lines += ["{:10} {:>8} {:>9} {:>8} {:>7} {:>9}".format(*row) for row in self.rows()]
        lines.append(f"seed {self.seed}, {self.took:.0f} s" + (f", slowest: {_slow(self.slowest)}" if self.slowest else ""))
        for one in sorted(self.faults.values(), key=len, reverse=True):
            numbers = ", ".join(str(verdict.number) for verdict in one[:5])
            lines.append(f"{len(one)} times, as in case {numbers}: {described(one[0])}")
        return "\n".join(lines)


def _slow(verdict: Verdict) -> str:
    return f"case {verdict.number} ({verdict.kind}), {verdict.seconds:.1f} s"


def write(path: Path, summary: Summary) -> None:
    """Write the numbers into the page, between its two marks; the words around them stay."""
    text = path.read_text(encoding="utf-8") if path.exists() else PAGE
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{_section(summary)}\n{END}{after}", encoding="utf-8")


def _section(summary: Summary) -> str:
    kinds = {**KINDS, "all": ""}
    head = ["| kind | what | cases | accepted | refused | failed | ms per case |", "|---|---|--:|--:|--:|--:|--:|"]
    rows = [f"| {row[0]} | {kinds[row[0]]} | {' | '.join(row[1:])} |" for row in summary.rows()]
    where = f"{processor()}, Python {platform.python_version()}"
    words = f"\nSeed {summary.seed}, {summary.took / 60:.0f} minutes in one process on {where}."
    words += f" The slowest case took {summary.slowest.seconds:.1f} s.\n" if summary.slowest else "\n"
    failures = [f"- {len(one)} times, as in case {one[0].number}: {described(one[0])}" for one in summary.faults.values()] or [
        "No case failed."
    ]
    return "\n".join([*head, *rows, words, *failures])


def processor() -> str:
    """The processor's name."""
    names = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", names.read_text(encoding="utf-8")) if names.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()
