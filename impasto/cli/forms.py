"""The options of the command line: how a field becomes a flag, and the flags that every command that writes a file has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field

OUTPUT = Group("Output", sort_key=0)


def flag(group: Group, *names: str, many: bool = False) -> Parameter:
    """A flag called like its field, or by `names`. many: it takes every word up to the next flag."""
    return Parameter(name=names or None, group=group, show_default=False, negative=(), consume_multiple=many)


class CommonFlags(BaseModel):
    """Where the output goes and what is printed."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    output: Annotated[Path | None, flag(OUTPUT, "--output", "-o")] = None
    overwrite: Annotated[bool, flag(OUTPUT)] = Field(default=False, description="Replace the output if it exists.")
    quiet: Annotated[bool, flag(OUTPUT, "--quiet", "-q")] = Field(default=False, description="Print errors only.")
    json_line: Annotated[bool, flag(OUTPUT, "--json")] = Field(
        default=False, description="Print one line of JSON at the end, for programs."
    )
