"""`impasto export`: the network of quality instant as an ONNX file."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group

from impasto import files
from impasto.cli.console import note, refuse_address, report, tell
from impasto.cli.forms import OUTPUT, CommonFlags, flag, option_value, whole_number
from impasto.errors import OptionError, OutputError
from impasto.inputs import style_names

if TYPE_CHECKING:
    from torch import Tensor

    from impasto.fast.onnxfile import Distance

EXPORT_EXAMPLES = """\
Examples:

    impasto export -o impasto.onnx --codes codes
    impasto export --style starry-night -o night.onnx
    impasto export --style painting.jpg -o painting.onnx --precision int8
"""
NETWORK = Group("Network", sort_key=1)
CODE_SUFFIX = ".npy"
LEAST, MOST = 128, 4096  # pixels
ANY = "great-wave"  # the style that a network for any style is checked with


@dataclass(frozen=True, kw_only=True)
class ExportFlags(CommonFlags):
    """What is exported and where it goes."""

    output: Annotated[
        Path | None,
        flag(OUTPUT, "File to write, .onnx. [default: impasto.onnx, or STYLE.onnx]", "--output", "-o"),
    ] = None
    codes: Annotated[
        Path | None,
        flag(
            OUTPUT,
            "Export for any style, and write the codes of the styles to this folder, NAME.npy each: those of --style, or all "
            "built-in ones.",
        ),
    ] = None
    style: Annotated[
        tuple[str, ...],
        flag(
            NETWORK,
            "A painting, a .style file or a name that `impasto styles` lists. The exported network then paints in this style only. "
            "Repeatable with --codes.",
        ),
    ] = ()
    size: Annotated[
        int,
        flag(
            NETWORK,
            "Longer side of the photographs in pixels, from which the number of levels follows. Others work too, with as many "
            "levels. [default: 512]",
            converter=whole_number("size", least=LEAST, most=MOST),
        ),
    ] = 512
    strength: Annotated[
        float,
        flag(NETWORK, "How strongly to apply the style, above 0 to 1. [default: 0.5]", converter=option_value("strength")),
    ] = 0.5
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        flag(
            NETWORK,
            "fp16: convolutions compute in 16 bits, for GPUs; int8: most filters are stored in 8 bits, for a smaller file. What this "
            "changes is printed. [default: fp32]",
        ),
    ] = "fp32"


def export(*, flags: ExportFlags) -> int:
    """Write the network of quality instant as an ONNX file (extra: onnx), for any style or for one. See docs/onnx.md."""
    names = _names(flags)
    target = flags.output or Path("impasto.onnx" if flags.codes or not names else f"{names[0]}.onnx")
    files.check(target, (".onnx",), overwrite=flags.overwrite)  # before torch is loaded
    codes = {} if flags.codes is None else {name: flags.codes / f"{name}{CODE_SUFFIX}" for name in names}
    _check_codes(flags, codes)
    if not flags.strength:
        raise OptionError("must be above 0 to export", option="strength")
    from impasto.fast import onnxfile

    onnxfile.check_extra()
    one_style = bool(names) and flags.codes is None
    found = _codes(flags, names or [ANY])
    from impasto.fast.export import Portable, level_count

    exact = Portable(level_count(flags.size), flags.strength)
    painter = exact if flags.precision == "fp32" else Portable(exact.levels, flags.strength, flags.precision)
    first = next(iter(found.values()))
    words: dict[str, object] = {
        "size": flags.size,
        "strength": flags.strength,
        "levels": exact.levels,
        "precision": flags.precision,
    }
    words |= {"style": names[0]} if one_style else {"code_length": exact.code_length}
    properties = {f"impasto.{name}": str(value) for name, value in words.items()}
    data = onnxfile.made(painter, properties, first if one_style else None)
    apart = onnxfile.verify(data, painter, first, one_style=one_style)
    lost = None if painter is exact else onnxfile.loss(painter, exact, first, flags.size)
    files.write(target, data, (".onnx",), overwrite=flags.overwrite)
    _write_codes(flags, codes, found)
    return _report(flags, target, len(data), apart, lost, codes)


def _names(flags: ExportFlags) -> list[str]:
    """What the styles are called: a built-in name, or a file's name without folders and suffix. Raises OptionError."""
    for style in flags.style:
        refuse_address(Path(style))
    if len(flags.style) > 1 and flags.codes is None:
        raise OptionError("is given several times", option="style", remedy="name one, or add {codes}")
    names = [Path(style).stem for style in flags.style]
    for name in names:
        if not name:
            raise OptionError("must be a painting, a .style file or the name of a style, not ''", option="style")
        if names.count(name) > 1:
            raise OptionError(f"two styles are called {name!r}", option="style")
    return names or (style_names() if flags.codes else [])


def _check_codes(flags: ExportFlags, codes: dict[str, Path]) -> None:
    """Make sure that the codes can be written. Raises OutputError."""
    if flags.codes is None:
        return
    if files.is_file(flags.codes):
        raise OutputError(f"{files.printable(flags.codes)} is not a folder")
    for file in codes.values() if flags.codes.is_dir() else ():
        files.check(file, (CODE_SUFFIX,), overwrite=flags.overwrite)
    if not flags.codes.is_dir():
        files.check(flags.codes)


def _write_codes(flags: ExportFlags, codes: dict[str, Path], found: dict[str, Tensor]) -> None:
    """Write codes, and make their folder. Raises OutputError and SaveError."""
    import numpy as np

    for name, file in codes.items():
        try:
            file.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {files.printable(file.parent)}: {files.reason(error)}") from error
        written = io.BytesIO()
        np.save(written, found[name].numpy())
        files.write(file, written.getvalue(), (CODE_SUFFIX,), overwrite=flags.overwrite)


def _codes(flags: ExportFlags, names: Sequence[str]) -> dict[str, Tensor]:
    """The codes of styles by name. Raises the errors of `Stylizer.style`."""
    from impasto.fast.export import style_code
    from impasto.stylizer import Stylizer

    stylizer = Stylizer(quality="instant", precision="fp32", device="cpu", size=flags.size, strength=flags.strength)
    found = {}
    for name, source in zip(names, flags.style or names, strict=True):
        style = stylizer.style(source)
        for text in style.notes:
            note(text, quiet=flags.quiet)
        found[name] = style_code(style, flags.size, flags.strength)
    return found


def _report(flags: ExportFlags, target: Path, size: int, apart: float, lost: Distance | None, codes: dict[str, Path]) -> int:
    """Print what was written and how exact it is. Returns the exit code."""
    if not flags.quiet:
        report(
            f"wrote {files.printable(target)}: {flags.precision}, {size / 1e6:.2f} MB; ONNX Runtime and torch differ by {apart:.1g}"
        )
        if lost:
            report(f"{flags.precision} differs from fp32 by {lost.mean:.2g} on average and {lost.largest:.2g} at most, of 0..1")
        if codes and flags.codes:
            report(f"wrote {len(codes)} style code{'s' if len(codes) > 1 else ''} to {files.printable(flags.codes)}")
    if flags.json_line:
        losses = {"mean_loss": lost.mean, "largest_loss": lost.largest} if lost else {}
        written = {"codes": [str(file) for file in codes.values()]} if codes else {}
        numbers = {"output": str(target), "bytes": size, "precision": flags.precision, "difference": apart}
        tell(json.dumps({**numbers, **losses, **written, "exit_code": 0}))
    return 0
