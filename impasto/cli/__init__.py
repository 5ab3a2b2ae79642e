"""The command line: the only place that prints. Nothing here imports torch before a command needs it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import cyclopts

from impasto.cli.commands import app
from impasto.cli.console import fail, streams, worded
from impasto.cli.forms import STDIO
from impasto.errors import ImpastoError
from impasto.extras import needs_torch
from impasto.jobs.signals import INTERRUPTED

__all__ = ["main"]

USAGE = 2
HELP_ALL = "--help-all"
HELP = {"-h", "--help", HELP_ALL}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0, 1 (failure), 2 (usage) or 130 (interrupted); a bug keeps its traceback."""
    # read when torch loads: threads of GNU OpenMP that spin for less time leave more to other programs (benchmarks/busy.py)
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    with streams():
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        except BrokenPipeError:  # whoever read our output has gone
            return 1


def _run(words: list[str]) -> int:
    as_json = bool({"--json", "--json=true"} & set(words))  # the words themselves: they may be what is wrong
    try:
        if not words or HELP & set(words[: words.index("--")] if "--" in words else words):
            return _print_help(words)
        spelled = [_spelled(words, place) for place in range(len(words))]
        code = app()(spelled, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except cyclopts.CycloptsError as error:
        return fail(usage_message(error) + _dash_hint(words), USAGE, as_json=as_json)
    except ImpastoError as error:
        return fail(worded(error), error.exit_code, as_json=as_json)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return fail(worded(needs_torch("this")), USAGE, as_json=as_json)
    except KeyboardInterrupt as stopped:
        return fail("interrupted; nothing was written", getattr(stopped, "code", INTERRUPTED), as_json=as_json)
    return code if isinstance(code, int) else 0


def _spelled(words: list[str], place: int) -> str:
    """A word as cyclopts takes it. It takes a lone "-" for a flag, so the photograph and the output are passed under another name."""
    word, before = words[place], words[place - 1] if place else ""
    photo = place == 0 or (place == 1 and before == "sheet")
    return STDIO if word == "-" and (photo or before in ("-o", "--output")) else word


def _print_help(words: list[str]) -> int:
    """Print the help of the command that the words begin with."""
    app(short=HELP_ALL not in words).help_print([word for word in words if not word.startswith("-")])
    sys.stdout.flush()
    return 0


def _dash_hint(words: list[str]) -> str:
    """What to do about the first word that looks like a flag and like the name of a file."""
    dashed = next((word for word in words if re.fullmatch(r"-[^=]*\.[A-Za-z]\w+", word)), None)
    return f" For the file of that name write ./{dashed}" if dashed else ""


def usage_message(error: cyclopts.CycloptsError) -> str:
    """What is wrong with the words of the command, in one line."""
    cause = error.__cause__
    if isinstance(cause, ImpastoError):
        return worded(cause)
    if isinstance(error, cyclopts.UnusedCliTokensError):
        words = error.unused_tokens or []
        return f"too many words: {' '.join(words[:3])}{' ...' if len(words) > 3 else ''}"
    if (
        isinstance(error, cyclopts.MissingArgumentError)
        and error.argument
        and error.argument.name in ("PHOTO", "CLIP", "STYLE")
    ):
        command = " ".join(("impasto", *error.command_chain)) if error.command_chain else "impasto"
        if command == "impasto sheet":
            return "a photograph is needed: impasto sheet PHOTO; see `impasto sheet --help`"
        if command == "impasto video":
            return "a clip and a painting are needed: impasto video CLIP STYLE; see `impasto video --help`"
        return f"a photograph and a painting are needed: {command} PHOTO STYLE; see `{command} --help`"
    return " ".join(str(error).split())
