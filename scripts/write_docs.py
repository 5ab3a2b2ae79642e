"""Write docs/commandline.md from the command line's help and the table of weights. --check only tests whether it is up to date.

python scripts/write_docs.py [--check]
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commandline.md"
COMMANDS = (
    "",
    "demo",
    "sheet",
    "batch",
    "info",
    "again",
    "resume",
    "styles",
    "style",
    "style make",
    "style show",
    "compare",
    "export",
    "page",
    "weights",
    "weights list",
    "weights fetch",
    "weights path",
    "weights import",
)


def help_of(command: str) -> str:
    """The output of `impasto COMMAND --help` at 100 columns."""
    from impasto.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main([*command.split(), "--help-all"])
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def weights_table() -> str:
    """The table of weights in Markdown."""
    from impasto.weights import TABLE

    rows = [
        f"| {entry.name} | {entry.url or 'comes with impasto'} | `{entry.digest}` | {entry.bytes} | {entry.license} |"
        for entry in TABLE.values()
    ]
    return "\n".join(
        ["## The weights it knows by name", "", "| name | url | hash | bytes | license |", "|---|---|---|---|---|", *rows]
    )


def page() -> str:
    """The text of the page."""
    parts = ["# The command line", "Made by `scripts/write_docs.py` from the program's own help."]
    parts += [weights_table()]
    parts += [f"## impasto {command}".rstrip() + f"\n\n```text\n{help_of(command)}\n```" for command in COMMANDS]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Write or check the page. Returns the exit code: 1 if the check fails."""
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    print("docs/commandline.md is out of date; run `python scripts/write_docs.py`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
