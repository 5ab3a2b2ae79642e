"""`impasto compare`: results side by side, as an HTML page and as numbers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group

from impasto import files
from impasto.cli.console import bar, fail, note, refuse_address, report, tell
from impasto.cli.forms import OUTPUT, CommonFlags, flag, whole_number
from impasto.errors import OptionError, PictureError, SaveError
from impasto.inputs import style_file

if TYPE_CHECKING:
    from rich.table import Table

    from impasto.report.comparison import Comparison, JudgeNetwork, MeasuredResult, PreparedImages

SUFFIXES = (".html", ".htm")
PIPE_WIDTH = 200  # characters: a table in a file or a pipe need not wrap
COLUMNS = {
    "content": "content",
    "style_mean": "style",
    "style_sizes": "style,\n3 sizes",
    "moments": "moments",
    "structure": "structure",
    "palette": "palette",
    "grain": "grain",
    "weave": "weave",
    "seconds": "seconds",
}  # of the table: number and title
COMPARISON = Group("Comparison", sort_key=1)


@dataclass(frozen=True, kw_only=True)
class CompareFlags(CommonFlags):
    """How results are measured and where the page goes."""

    output: Annotated[
        Path | None,
        flag(OUTPUT, "Page to write, .html. [default: PHOTO-STYLE.html in the photograph's folder]", "--output", "-o"),
    ] = None
    judge: Annotated[
        Literal["lite", "vgg16", "vgg19"],
        flag(
            COMPARISON,
            "Network that measures content and style. For a fair comparison choose one that no result was made with. "
            "[default: lite]",
        ),
    ] = "lite"
    size: Annotated[
        int | None,
        flag(
            COMPARISON,
            "Longer side of the photograph, in pixels, when measuring. [default: that of the smallest result, at most 1024]",
            converter=whole_number("size", least=16, most=65_535),
        ),
    ] = None


def compare(
    photo: Path,
    style: Path,
    /,
    *results: str,
    flags: CompareFlags,
) -> int:
    """Compare results side by side: measure them and write one HTML page that works offline.

    Parameters
    ----------
    photo: Path
        The photograph the results were made from.
    style: Path
        The painting.
    results: str
        Images made by impasto or any other program: FILE, or NAME=FILE to call it NAME.
    """
    sources = named(results)
    for file in (photo, style, *sources.values()):
        refuse_address(file)
    from impasto.report import page  # here, because torch takes a second to load
    from impasto.report.comparison import Comparison, load_judge, prepare

    if style_file(style):
        raise PictureError(
            f"{files.printable(style)} is a stored style, which does not contain the painting; name the painting's file"
        )
    target = flags.output or photo.parent / f"{photo.stem}-{style.stem}.html"
    files.check(target, SUFFIXES, overwrite=flags.overwrite)
    judge = load_judge(flags.judge)
    images = prepare(photo, style, sources, size=flags.size)
    comparison = Comparison(images, judge, _measure(images, judge, quiet=flags.quiet))
    for text in _notes(comparison):
        note(text, quiet=flags.quiet)
    html = page.render(comparison, photo_name=photo.stem, painting_name=style.stem)
    files.write(target, html.encode("utf-8"), SUFFIXES, overwrite=flags.overwrite)
    return _print(comparison, target, flags)


def named(arguments: Iterable[str]) -> dict[str, Path]:
    """{name: file} from "file" and "name=file". A file that exists is taken as a file even if its name contains "=".

    Raises OptionError for no arguments, an empty name or file, and two results of one name.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        name, equals, file = argument.partition("=")
        if not equals or Path(argument).exists():
            name, file = Path(argument).stem, argument
        if not name or not file:
            raise OptionError(f"a result is FILE or NAME=FILE, not {argument!r}")
        if name in found:
            raise OptionError(f"two results are called {name!r}; give one of them a name: other={file}")
        found[name] = Path(file)
    if not found:
        raise OptionError("a result is needed: impasto compare PHOTO STYLE RESULT ...; see `impasto compare --help`")
    return found


def _measure(images: PreparedImages, judge: JudgeNetwork, *, quiet: bool) -> tuple[MeasuredResult, ...]:
    """Measure every result behind a progress bar."""
    results: list[MeasuredResult] = []
    with bar("measuring", len(images.results), quiet=quiet) as update:
        for result in images.measure(judge):
            results.append(result)
            update(len(results), f"measured {files.printable(result.name)}")
    return tuple(results)


def _notes(comparison: Comparison) -> Iterable[str]:
    yield from comparison.images.notes
    for result in comparison.images.results:
        yield from (f"{files.printable(result.name)} {text}" for text in result.notes)
    same = [files.printable(result.name) for result in comparison.results if result.same_network]
    if same:
        yield f"optimized through the judge, {comparison.judge.name}, which is an advantage: {', '.join(same)}"


def _print(comparison: Comparison, target: Path, flags: CompareFlags) -> int:
    """Print the table, the errors and the JSON line. Returns the exit code: 1 if a result could not be read."""
    refused = comparison.images.refused
    code = 1 if refused else 0
    if not flags.quiet:
        from rich.console import Console

        console = Console()
        if not console.is_terminal:
            console.width = PIPE_WIDTH
        with contextlib.suppress(SaveError):
            console.print(_table(comparison))
        report(f"wrote {files.printable(target)}")
    message = (
        f"{'; '.join(refused.values())}; {files.printable(target)} was written without {'it' if len(refused) == 1 else 'them'}"
    )
    if refused:
        fail(message, code)
    if flags.json_line:
        error = {"error": message} if refused else {}
        tell(json.dumps({"output": str(target), **comparison.numbers(), **error, "exit_code": code}))
    return code


def _table(comparison: Comparison) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    columns = (Column(title, no_wrap=True) for title in COLUMNS.values())
    table = Table(Column(overflow="fold"), *columns, box=None, padding=(0, 1, 0, 0), pad_edge=False)  # fits in 80 characters
    for result in comparison.numbers()["results"]:
        values = ("" if result[name] is None else f"{result[name]:.3g}" for name in COLUMNS)
        table.add_row(Text(files.printable(result["name"])), *values)  # Text: the name may contain markup
    return table
