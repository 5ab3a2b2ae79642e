"""`impasto page`: the page that paints in the browser."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group

from impasto import files
from impasto.cli.console import note, report, tell
from impasto.cli.forms import OUTPUT, CommonFlags, flag
from impasto.errors import OptionError

PAGE_EXAMPLES = """\
Examples:

    impasto page -o site
    python -m http.server --directory site
    impasto page -o site --overwrite --runtime onnxruntime-web-1.30.0.tgz
"""
PARTS = Group("Parts", sort_key=1)


@dataclass(frozen=True, kw_only=True)
class PageFlags(CommonFlags):
    """Where the page goes, and what it is made of."""

    output: Annotated[Path | None, flag(OUTPUT, "Folder to write.", "--output", "-o")] = None
    runtime: Annotated[
        Path | None,
        flag(
            PARTS,
            "The npm package onnxruntime-web, as its .tgz or unpacked. [default: from the cache, else got once with npm]",
        ),
    ] = None


def page(*, flags: PageFlags) -> int:
    """Write a web page that paints photographs in the visitor's own browser: a folder for any static server.

    Nothing that visitors choose leaves their device. After the first visit the page works offline. See docs/anywhere.md.
    """
    if flags.output is None:
        raise OptionError("names the folder to write and is missing", option="output")
    from impasto.page import folder, runtime

    folder.check(flags.output, overwrite=flags.overwrite)
    if flags.runtime is None and runtime.find() is None:
        note(f"getting {runtime.PACKAGE} {runtime.VERSION} with npm, once", quiet=flags.quiet)
    found = folder.write(flags.output, flags.runtime, overwrite=flags.overwrite)
    if not flags.quiet:
        report(f"wrote {files.printable(found.folder)} ({found.files} files; a first visit loads {found.visit / 1e6:.1f} MB)")
    if flags.json_line:
        tell(
            json.dumps(
                {"output": str(found.folder), "files": found.files, "bytes": found.bytes, "visit": found.visit, "exit_code": 0}
            )
        )
    return 0
