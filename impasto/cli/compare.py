"""`impasto compare`: results beside one another, as a page to look at and as numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table

from impasto.cli.console import fail, note, refuse_address
from impasto.errors import OptionError, PictureError
from impasto.options import Report

if TYPE_CHECKING:
    from impasto.report.comparison import Comparison, Judge, Result, Sheet

SUFFIXES = (".html", ".htm")
WIDE = 200  # characters
COLUMNS = ("content", "style_mean", "moments", "structure", "palette", "grain", "weave", "seconds")


def compare(
    photo: Path,
    style: Path,
    /,
    *results: str,
    report: Annotated[Report | None, Parameter(name="*")] = None,
) -> int:
    """Judge results beside one another, by numbers and by eye: writes one HTML page that needs no network.

    Parameters
    ----------
    photo: Path
        The photograph the results were made from.
    style: Path
        The painting.
    results: str
        Pictures made by impasto or anything else: FILE, or NAME=FILE to call it NAME.
    """
    report = report or Report()
    sources = named(results)
    for file in (photo, style, *sources.values()):
        refuse_address(file)
    from impasto import files  # only now: torch takes a second to load
    from impasto.report import page
    from impasto.report.comparison import Comparison, find_judge, lay_out
    from impasto.styles import named as styles

    if styles.style_file(style):
        raise PictureError(
            f"{files.printable(style)} is a stored style, which holds no painting to compare with; name the painting"
        )
    target = report.output or photo.with_name(f"{photo.stem}-{style.stem}.html")
    files.check(target, SUFFIXES, overwrite=report.overwrite)
    judge = find_judge(report.judge)
    sheet = lay_out(photo, style, sources, size=report.size)
    comparison = Comparison(sheet, judge, tuple(_follow(sheet, judge, quiet=report.quiet)))
    for word in _words(comparison):
        note(word, quiet=report.quiet)
    html = page.render(comparison, photo_name=photo.stem, painting_name=style.stem)
    files.write(target, html.encode("utf-8"), SUFFIXES, overwrite=report.overwrite)
    return _say(comparison, target, report)


def named(words: Iterable[str]) -> dict[str, Path]:
    """{name: file} from "file" and "name=file"; a file whose own name has a "=" is taken for a file.

    Raises OptionError for no words, an empty name or file, and two results of one name.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, equals, file = word.partition("=")
        if not equals or Path(word).exists():
            name, file = Path(word).stem, word
        if not name or not file:
            raise OptionError(f"a result is FILE or NAME=FILE, not {word!r}")
        if name in found:
            raise OptionError(f"two results are called {name!r}; name one of them: other={file}")
        found[name] = Path(file)
    if not found:
        raise OptionError("a result is needed: impasto compare PHOTO STYLE RESULT ...; see `impasto compare --help`")
    return found


def _follow(sheet: Sheet, judge: Judge, *, quiet: bool) -> Iterable[Result]:
    """Measure every result, showing which one it is."""
    console = Console(stderr=True)
    columns = (BarColumn(bar_width=10), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("measuring", total=len(sheet.candidates))
        for result in sheet.measured(judge):
            yield result
            progress.update(task, advance=1, description=f"measured {result.name}")


def _words(comparison: Comparison) -> Iterable[str]:
    sheet = comparison.sheet
    yield from sheet.notes
    for candidate in sheet.candidates:
        yield from (f"{candidate.name} {word}" for word in candidate.notes)
    same = [result.name for result in comparison.results if result.same_network]
    if same:
        yield f"made with the network that judges, {comparison.judge.name}, which is an advantage: {', '.join(same)}"


def _say(comparison: Comparison, target: Path, report: Report) -> int:
    refused = comparison.sheet.refused
    code = 1 if refused else 0
    if not report.quiet:
        console = Console()
        if not console.is_terminal:
            console.width = WIDE  # for a file or a pipe no name needs folding
        console.print(_table(comparison))
        print(f"wrote {target}", flush=True)
    message = "; ".join(refused.values()) + f"; {target} was made without" if refused else ""
    if refused:
        fail(message, code)
    if report.json_line:
        error = {"error": message} if refused else {}
        print(json.dumps({"output": str(target), **comparison.numbers(), **error, "exit_code": code}), flush=True)
    return code


def _table(comparison: Comparison) -> Table:
    names, *numbers = Column(overflow="fold"), *(Column(name.partition("_")[0], no_wrap=True) for name in COLUMNS)
    table = Table(names, *numbers, box=None)
    for result in comparison.numbers()["results"]:
        table.add_row(_plain(result["name"]), *(_number(result[name]) for name in COLUMNS))
    return table


def _plain(name: str) -> Any:
    from rich.text import Text

    return Text(name if name.isprintable() else ascii(name)[1:-1])  # as it is: no markup in it


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
