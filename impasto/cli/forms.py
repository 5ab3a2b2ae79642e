"""The flags of the command line: made from the options, the inputs and the output of a job."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field, SkipValidation, create_model

from impasto import files
from impasto.errors import OptionError, UnknownNameError
from impasto.inputs import Layer
from impasto.jobs.job import Output
from impasto.options import Options, group_of

OUTPUT = Group("Output", sort_key=0)
GROUPS = {name: Group(name, sort_key=key) for key, name in enumerate(("Image", "Look", "Method", "Machine"), 1)}
Flattened = Parameter(name="*")
NAMES = {"style_taps": ("--taps", "--style-taps")}  # flags with other names than their options
STARTS = ("content", "noise")
STDIO = "\0"  # what a lone "-" becomes, since cyclopts takes it for a flag: standard input or output, and the name of no file


def flag(group: Group, *names: str, many: bool = False, show: bool = True) -> Parameter:
    """A flag called like its field, or by `names`. many: it takes every word up to the next flag. show: list it in the help."""
    return Parameter(name=names or None, group=group, show_default=False, negative=(), consume_multiple=many, show=show)


class CommonFlags(BaseModel):
    """Where the output goes and what is printed."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    output: Annotated[Path | None, flag(OUTPUT, "--output", "-o")] = None
    overwrite: Annotated[bool, flag(OUTPUT)] = Field(default=False, description="Replace the output if it exists.")
    quiet: Annotated[bool, flag(OUTPUT, "--quiet", "-q")] = Field(default=False, description="Print errors only.")
    json_line: Annotated[bool, flag(OUTPUT, "--json")] = Field(
        default=False, description="Print one line of JSON at the end, for programs."
    )


class PaintFlags(CommonFlags):
    """The flags of the commands that paint: the output and the inputs. `paint_flags` adds the options."""

    output: Annotated[Path | None, flag(OUTPUT, "--output", "-o")] = Field(
        default=None,
        description="File to write: .png, .jpg, .webp or .tif; - for standard output. [default: PHOTO-STYLE.png in the photograph's "
        "folder; demo: impasto-demo.png; again: FILE-again]",
    )
    frames: Annotated[Path | None, flag(OUTPUT)] = Field(
        default=None, description="Keep the making-of: a folder, a .gif, or an .mp4 (extra: video)."
    )
    preview: Annotated[int | None, flag(OUTPUT, show=False)] = Field(
        default=None, description="Also save the image every so many steps, as ...-step00050.png."
    )
    no_metadata: Annotated[bool, flag(OUTPUT, show=False)] = Field(
        default=False,
        description="Don't embed settings in the output. `impasto info` and `impasto again` will not work on it.",
    )
    keep_exif: Annotated[bool, flag(OUTPUT, show=False)] = Field(
        default=False, description="Copy the photograph's EXIF (camera, exposure, date, owner, GPS) to the output."
    )
    dry_run: Annotated[bool, flag(OUTPUT)] = Field(
        default=False,
        description="Paint nothing. Print the size of the result, how it would be computed, and the memory and time needed.",
    )
    mask: Annotated[tuple[str, ...], flag(GROUPS["Look"])] = Field(
        default=(),
        description="MASK=STYLE, repeatable: where the image MASK is white, the result gets STYLE; gray applies it partly. MASK=keep "
        "leaves the photograph unchanged there.",
    )
    content_mask: Annotated[Path | None, flag(GROUPS["Look"], show=False)] = Field(
        default=None, description="Regions of the photograph, an image of flat colors; goes with --style-mask."
    )
    style_mask: Annotated[Path | None, flag(GROUPS["Look"], show=False)] = Field(
        default=None, description="Regions of the painting; each paints the region of --content-mask that has its color."
    )
    weights: Annotated[Path | None, flag(GROUPS["Method"], show=False)] = Field(
        default=None, description="A weights file for the encoder: Keras .h5, PyTorch .pth, MatConvNet .mat or safetensors."
    )

    def options(self) -> Options:
        """The options that were given. Raises OptionError."""
        return Options(**self.given())

    def given(self) -> dict[str, Any]:
        """The options that were given, by name."""
        found = {name: getattr(self, name) for name in self.model_fields_set & Options.model_fields.keys()}
        if found.get("init", "content") not in STARTS:
            del found["init"]
        return found

    def inputs(self) -> dict[str, Any]:
        """The inputs that were given as flags, by their role; "masks" holds layers. Raises OptionError."""
        init = getattr(self, "init", None)
        start = None if init in STARTS else init
        if start and not files.is_file(start) and difflib.get_close_matches(start, STARTS, n=1):
            raise UnknownNameError("start (--init)", start, STARTS)
        if (self.content_mask is None) != (self.style_mask is None):
            missing = "style_mask" if self.style_mask is None else "content_mask"
            raise OptionError("a pair of masks is incomplete", remedy=f"add {{{missing}}}")
        found = {"content mask": self.content_mask, "style mask": self.style_mask, "start": start, "weights": self.weights}
        masks = {"masks": tuple(map(Layer.parse, self.mask))} if self.mask else {}
        return {role: source for role, source in found.items() if source is not None} | masks

    def to(self, default: Path, *, keep_exif: bool = False) -> Output:
        """Where the image goes. default: the file if none was named. Raises OptionError."""
        path = self.output or default
        stdout = path == Path(STDIO)
        if stdout and self.json_line:
            raise OptionError("cannot be used when the image goes to standard output", option="json")
        return Output(
            path=None if stdout else path,
            overwrite=self.overwrite,
            metadata=not self.no_metadata,
            keep_exif=self.keep_exif or (keep_exif and not self.no_metadata),
            preview=self.preview,
            frames=self.frames,
        )


@cache
def paint_flags(show_all: bool) -> type[PaintFlags]:
    """The form of the commands that paint. show_all: list every flag in the help, not only the common ones."""
    fields = option_flags(*Options.model_fields, show_all=show_all)
    for name, field in PaintFlags.model_fields.items() if show_all else ():
        parameter = Parameter.combine(*(one for one in field.metadata if isinstance(one, Parameter)), Parameter(show=True))
        fields[name] = (Annotated[field.annotation, parameter], Field(default=field.default, description=field.description))
    made: type[PaintFlags] = create_model("PaintFlags", __base__=PaintFlags, **fields)
    return made


def option_flags(*names: str, show_all: bool = True) -> dict[str, Any]:
    """Fields of some options, which pass on what was typed: `Options` alone says what is valid."""
    fields: dict[str, Any] = {}
    as_typed: Any = SkipValidation
    for name in names:
        field, (group, common) = Options.model_fields[name], group_of(name)
        kind: Any = str if name == "init" else field.annotation  # an image file too
        parameter = flag(GROUPS[group], *NAMES.get(name, ()), many=name == "blend", show=common or show_all)
        fields[name] = (Annotated[as_typed[kind], parameter], Field(default=None, description=field.description))
    return fields
