"""The flags of the command line: made from the catalog of options, the inputs and the output of a job.

A form is a dataclass with a field for each flag. Forms need no pydantic, so that help does not wait for it.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_origin, get_type_hints

from cyclopts import Group, Parameter, Token

from impasto import files
from impasto.catalog import OPTIONS, help_of
from impasto.cli.console import check_output
from impasto.errors import OptionError, UnknownNameError
from impasto.inputs import Layer

if TYPE_CHECKING:
    from impasto.jobs import Output
    from impasto.options import Options

OUTPUT = Group("Output", sort_key=0)
GROUPS = {name: Group(name, sort_key=key) for key, name in enumerate(("Image", "Look", "Method", "Machine"), 1)}
Convert = Callable[[Any, Sequence[Token]], Any]
RARE = (
    "preview",
    "no_metadata",
    "keep_exif",
    "depth",
    "content_mask",
    "style_mask",
    "weights",
)  # flags that only --help-all lists
NAMES = {"style_taps": ("--taps", "--style-taps")}  # flags with other names than their options
STARTS = ("content", "noise")
STDIO = "\0"  # what a lone "-" becomes, since cyclopts takes it for a flag: standard input or output, and the name of no file


def flag(group: Group, text: str, *names: str, **more: Any) -> Parameter:
    """A flag with its help, called like its field, or by `names`. more: as in cyclopts."""
    return Parameter(name=names or None, group=group, help=text, show_default=False, negative=(), **more)


def option_value(name: str) -> Convert:
    """A converter of the words of an option: `Options` alone says what is valid."""

    def convert(kind: Any, tokens: Sequence[Token]) -> Any:
        from impasto.options import Options  # here: pydantic takes a tenth of a second to load

        words = [token.value for token in tokens]
        return getattr(Options(**{name: words if get_origin(kind) is tuple else words[0]}), name)

    return convert


def whole_number(name: str, least: int, most: int | None = None) -> Convert:
    """A converter of the word of the flag `name`. Cyclopts itself would take 16.5 for 16."""

    def convert(_: Any, tokens: Sequence[Token]) -> int:
        word = tokens[0].value
        if not re.fullmatch(r"[+-]?\d+", word):
            raise OptionError(f"must be a whole number, not {word!r}", option=name)
        if int(word) < least:
            raise OptionError(f"must be at least {least}, not {word!r}", option=name)
        if most is not None and int(word) > most:
            raise OptionError(f"must be at most {most}, not {word!r}", option=name)
        return int(word)

    return convert


@dataclass(frozen=True, kw_only=True)
class AnyFlags:
    """The options that were given, and what is printed."""

    given: Mapping[str, Any] = field(default_factory=dict)
    quiet: Annotated[bool, flag(OUTPUT, "Print errors only.", "--quiet", "-q")] = False
    json_line: Annotated[bool, flag(OUTPUT, "Print one line of JSON at the end, for programs.", "--json")] = False


@dataclass(frozen=True, kw_only=True)
class CommonFlags(AnyFlags):
    """Where the output goes."""

    output: Annotated[Path | None, flag(OUTPUT, "File to write.", "--output", "-o")] = None
    overwrite: Annotated[bool, flag(OUTPUT, "Replace the output if it exists.")] = False

    def target(self, default: Path) -> Path | None:
        """The file to write, or None for standard output. default: the file if none was named. Raises OptionError."""
        path = self.output or default
        if path != Path(STDIO):
            return path
        check_output()
        if self.json_line:
            raise OptionError("cannot be used when the image goes to standard output", option="json")
        return None


@dataclass(frozen=True, kw_only=True)
class PaintFlags(CommonFlags):
    """The flags of the commands that paint: the output and the inputs."""

    output: Annotated[
        Path | None,
        flag(
            OUTPUT,
            "File to write: .png, .jpg, .webp or .tif; - for standard output. [default: PHOTO-STYLE.png in the photograph's "
            "folder; demo: impasto-demo.png; again: FILE-again]",
            "--output",
            "-o",
        ),
    ] = None
    frames: Annotated[Path | None, flag(OUTPUT, "Keep the making-of: a folder, a .gif, or an .mp4 (extra: video).")] = None
    preview: Annotated[
        int | None,
        flag(
            OUTPUT,
            "Also save the image every so many steps, as ...-step00050.png, and first what quality 'instant' makes of it, as "
            "...-step00000.png.",
            converter=whole_number("preview", least=1),
        ),
    ] = None
    no_metadata: Annotated[
        bool, flag(OUTPUT, "Don't embed settings in the output. `impasto info` and `impasto again` will not work on it.")
    ] = False
    keep_exif: Annotated[
        bool, flag(OUTPUT, "Copy the photograph's EXIF (camera, exposure, date, owner, GPS) to the output.")
    ] = False
    depth: Annotated[
        int | None,
        flag(
            OUTPUT,
            "Bits per channel of the output, 8 or 16 (.png and .tif). [default: 8]",
            converter=whole_number("depth", least=8, most=16),
        ),
    ] = None
    dry_run: Annotated[
        bool,
        flag(OUTPUT, "Paint nothing. Print the size of the result, how it would be computed, and the memory and time needed."),
    ] = False
    mask: Annotated[
        tuple[str, ...],
        flag(
            GROUPS["Look"],
            "MASK=STYLE, repeatable: where the image MASK is white, the result gets STYLE; gray applies it partly. MASK=keep "
            "leaves the photograph unchanged there.",
        ),
    ] = ()
    content_mask: Annotated[
        Path | None, flag(GROUPS["Look"], "Regions of the photograph, an image of flat colors; goes with --style-mask.")
    ] = None
    style_mask: Annotated[
        Path | None,
        flag(GROUPS["Look"], "Regions of the painting; each paints the region of --content-mask that has its color."),
    ] = None
    weights: Annotated[
        Path | None,
        flag(GROUPS["Method"], "A weights file for the encoder: Keras .h5, PyTorch .pth, MatConvNet .mat or safetensors."),
    ] = None

    def options(self) -> Options:
        """The options that were given. Raises OptionError."""
        from impasto.options import Options

        return Options(**self.changes())

    def changes(self) -> dict[str, Any]:
        """The options that were given, by name, without a start image."""
        return {name: value for name, value in self.given.items() if name != "init" or value in STARTS}

    def inputs(self) -> dict[str, Any]:
        """The inputs that were given as flags, by their role; "masks" holds layers. Raises OptionError."""
        init = self.given.get("init")
        start = None if init in STARTS else init
        if start and not files.is_file(start) and difflib.get_close_matches(start, STARTS, n=1):
            raise UnknownNameError("start (--init)", start, STARTS)
        if (self.content_mask is None) != (self.style_mask is None):
            missing = "style_mask" if self.style_mask is None else "content_mask"
            raise OptionError("a pair of masks is incomplete", remedy=f"add {{{missing}}}")
        found = {"content mask": self.content_mask, "style mask": self.style_mask, "start": start, "weights": self.weights}
        masks = {"masks": tuple(map(Layer.parse, self.mask))} if self.mask else {}
        return {role: source for role, source in found.items() if source is not None} | masks

    def to(self, default: Path, *, keep_exif: bool = False, depth: int = 8) -> Output:
        """Where the image goes. default: the file if none was named. keep_exif, depth: of the image that is made again, for a file
        that can have them. Raises OptionError.
        """
        from impasto.jobs import Output
        from impasto.jobs.job import DEEP_SUFFIXES

        path = self.target(default)
        kept = depth if (path or default).suffix.lower() in DEEP_SUFFIXES else 8
        return Output(
            path=path,
            depth=kept if self.depth is None else self.depth,
            overwrite=self.overwrite,
            metadata=not self.no_metadata,
            keep_exif=self.keep_exif or (keep_exif and not self.no_metadata),
            preview=self.preview,
            frames=self.frames,
        )


def with_flags(
    command: Callable[..., int], form: type[AnyFlags], options: Collection[str] = (), *, short: bool = False
) -> Callable[..., int]:
    """A command with a flag for each field of a form and for each of some options. It gets the form as its argument `flags`.

    short: without the flags that a short help does not list.
    """
    kinds = get_type_hints(form, include_extras=True)
    flags = {name: kind for name, kind in kinds.items() if name != "given" and not (short and name in RARE)}
    flags |= {name: option_flag(name) for name in options if OPTIONS[name].common or not short}

    @functools.wraps(command)
    def run(*words: Any, **typed: Any) -> int:
        given = {name: typed.pop(name) for name in options if name in typed}
        return command(*words, flags=form(given=given, **typed))

    parameters = [one for one in inspect.signature(command).parameters.values() if one.name != "flags"]
    for name, kind in flags.items():
        default = getattr(form, name, None)
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # cyclopts reads it
    return run


@functools.cache
def option_flag(name: str) -> Any:
    """The type of an option's flag: None where it was not given."""
    option = OPTIONS[name]
    kind, convert = (str, None) if name == "init" else (option.kind, option_value(name))  # --init takes an image file too
    names = NAMES.get(name, ())
    return Annotated[
        kind | None, flag(GROUPS[option.group], help_of(name), *names, converter=convert, consume_multiple=name == "blend")
    ]
