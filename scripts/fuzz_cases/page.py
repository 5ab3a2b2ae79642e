"""What a run of the fuzzer found, as a table for the terminal and as docs/robustness.md."""

from __future__ import annotations

import platform
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_cases import KINDS, Verdict

OUTCOMES = ("accepted", "refused", "failed")
STDERR = "on the real standard error"
EXAMPLES = 3  # of one fault that are shown
BEGIN, END = "<!-- fuzz: begin -->", "<!-- fuzz: end -->"


def described(verdict: Verdict) -> str:
    """A failure in one line."""
    return " ".join(f"{verdict.kind}, {verdict.what[:200]}: {'; '.join(verdict.problems)}".split())[:900]


def _signature(verdict: Verdict) -> str:
    """What two failures of one fault have in common."""
    problem = verdict.problems[0]
    if problem.startswith(STDERR):  # a codec's complaint: one fault for each function that complains
        return " ".join(f"{verdict.kind}: {problem}".split()[:7])
    return re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "#", f"{verdict.kind}: {problem}")[:160]


@dataclass
class Summary:
    """A run so far. faults: {signature: how often}; examples: {signature: some of its failures}; took: seconds of the whole run."""

    seed: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Verdict]] = field(default_factory=dict)
    slowest: Verdict | None = None
    took: float = 0.0

    def add(self, verdict: Verdict) -> bool:
        """Count a verdict. Returns whether it is worth showing: one of the first failures of its fault."""
        self.counts[verdict.kind, verdict.outcome] += 1
        self.seconds[verdict.kind] += verdict.seconds
        if self.slowest is None or verdict.seconds > self.slowest.seconds:
            self.slowest = verdict
        if not verdict.problems:
            return False
        name = _signature(verdict)
        self.faults[name] += 1
        examples = self.examples.setdefault(name, [])
        if len(examples) < EXAMPLES:
            examples.append(verdict)
        return self.faults[name] <= EXAMPLES

    @property
    def cases(self) -> int:
        """How many there were."""
        return self.counts.total()

    @property
    def failed(self) -> int:
        """How many failed."""
        return self.faults.total()

    def rows(self) -> list[tuple[str, ...]]:
        """(kind, cases, accepted, refused, failed, milliseconds per case) of every kind and of all."""
        found = []
        for kind in KINDS:
            numbers = [self.counts[kind, outcome] for outcome in OUTCOMES]
            if sum(numbers):
                found.append(_row(kind, numbers, self.seconds[kind]))
        totals = [sum(self.counts[kind, outcome] for kind in KINDS) for outcome in OUTCOMES]
        return [*found, _row("all", totals, sum(self.seconds.values()))]

    def listed(self) -> list[str]:
        """One line for each fault, the most frequent first."""
        return [
            f"{count} times, as in case {', '.join(str(one.number) for one in self.examples[name])}: "
            f"{described(self.examples[name][0])}"
            for name, count in self.faults.most_common()
        ]

    def table(self) -> str:
        """For the terminal, with each fault once."""
        form = "{:10} {:>8} {:>9} {:>8} {:>7} {:>9}"
        lines = [form.format("kind", "cases", *OUTCOMES, "ms/case"), *(form.format(*row) for row in self.rows())]
        slow = f", slowest: case {self.slowest.number}, {self.slowest.seconds:.1f} s" if self.slowest else ""
        return "\n".join([*lines, f"seed {self.seed}, {self.took:.0f} s{slow}", *self.listed()])

    def section(self) -> str:
        """For the page."""
        kinds = {**KINDS, "all": ""}
        head = ["| kind | what | cases | accepted | refused | failed | ms per case |", "|---|---|--:|--:|--:|--:|--:|"]
        rows = [f"| {row[0]} | {kinds[row[0]]} | {' | '.join(row[1:])} |" for row in self.rows()]
        where = f"{_processor()}, Python {platform.python_version()}"
        words = f"Seed {self.seed}: {self.cases:,} cases in {self.took / 60:.0f} minutes, one process on {where}."
        slow = f" The slowest took {self.slowest.seconds:.1f} s." if self.slowest else ""
        failures = [f"- {line.replace('`', '')}" for line in self.listed()] or ["No case failed."]
        return "\n".join([words + slow, "", *head, *rows, "", *failures])


def _row(kind: str, numbers: list[int], seconds: float) -> tuple[str, ...]:
    return (kind, f"{sum(numbers):,}", *(f"{number:,}" for number in numbers), f"{1000 * seconds / max(1, sum(numbers)):.1f}")


def write(path: Path, summary: Summary) -> None:
    """Write the numbers into the page, between its two marks; the words around them stay."""
    text = path.read_text(encoding="utf-8") if path.exists() else f"# Robustness\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{summary.section()}\n{END}{after}", encoding="utf-8")


def _processor() -> str:
    """The processor's name."""
    names = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", names.read_text(encoding="utf-8")) if names.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()
