"""Every option, once: its type, range, default and help.

`Options` is what the library runs with. The command line's flags, help and errors are generated from it, and so are the settings stored
inside a picture. Defaults depend on the method and the encoder; `DEFAULTS` is the one table of them.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, field_validator, model_validator
from typing_extensions import Self

from impasto.errors import OptionError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Method = Literal["impasto", "gatys"]
Quality = Literal["draft", "normal", "best"]
Share = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
EncoderName = Literal["auto", "lite", "vgg16", "vgg19"]
Values = dict[str, Any]
_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([KMGT]i?B)", re.IGNORECASE)

# Rows of (what they hold for, defaults); a later row overrides an earlier one. Where the numbers come from: docs/method.md.
DEFAULTS: tuple[tuple[Values, Values], ...] = (
    (
        {},
        {
            "size": 512,
            "strength": 0.5,
            "style_scale": 1.0,
            "keep_colors": "off",
            "init": "content",
            "iterations": 260,
            "content_taps": ("relu3_1",),
            "style_taps": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
            "content_weight": 1.0,
            "style_weight": 25.0,
            "palette_weight": 20.0,
            "tv_weight": 0.0,
            "pooling": "average",
            "padding": "replicate",
            "precision": "auto",
            "device": "auto",
            "seed": 0,
            "max_pixels": 200_000_000,
        },
    ),
    ({"quality": "draft"}, {"iterations": 75}),
    ({"quality": "best"}, {"iterations": 800}),
    ({"encoder": "lite"}, {"pooling": "max"}),
    (
        {"method": "gatys"},
        {
            "init": "noise",
            "iterations": 500,
            "content_taps": ("relu4_2",),
            "style_weight": 1e3,
            "palette_weight": 0.0,
            "pooling": "average",
            "padding": "zero",
            "precision": "fp32",
        },
    ),
    (
        {"method": "gatys", "encoder": "lite"},
        {"content_taps": ("relu4_1",), "padding": "replicate", "style_weight": 1e7, "tv_weight": 6e4},
    ),
)
# The encoder "auto" stands for, before it is known whether VGG-19's weights are on this machine.
AUTO_ENCODER: dict[str, str] = {"impasto": "lite", "gatys": "vgg19"}


def defaults(method: str, encoder: str = "auto", quality: str = "normal") -> Values:
    """The defaults of a method with an encoder at a quality, from the table above."""
    encoder = AUTO_ENCODER.get(method, "lite") if encoder == "auto" else encoder
    place = {"method": method, "encoder": encoder, "quality": quality}
    values: Values = {}
    for where, row in DEFAULTS:
        if where.items() <= place.items():
            values |= row
    return values


PICTURE = Group("Picture", sort_key=1)
LOOK = Group("Look", sort_key=2)
METHOD = Group("Method", sort_key=3)
MACHINE = Group("Machine", sort_key=4)
OUTPUT = Group("Output", sort_key=0)
CARD = Group("Card", sort_key=1)
_BASE = defaults("impasto")


def _option(name: str, help_: str, **limits: Any) -> Any:
    """A field whose default is a row of DEFAULTS; its help says where method gatys differs, with VGG-19 and with lite."""
    shown, published, standin = (_shown(row[name]) for row in (_BASE, defaults("gatys", "vgg19"), defaults("gatys", "lite")))
    gatys = published if published == standin else f"{published}, or {standin} with lite"
    both = shown if shown == gatys else f"{shown}; gatys: {gatys}"
    return Field(default=_BASE[name], description=f"{help_} [default: {both}]", **limits)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flag(group: Group, *names: str, many: bool = False) -> Parameter:
    """A flag under its field's name, or under these. many: it takes every word up to the next flag."""
    return Parameter(name=names or None, group=group, show_default=False, negative=(), consume_multiple=many)


class Options(BaseModel):
    """How to repaint: every field has a default, and an instance never changes.

    Raises OptionError, through `Options.create`, for a value out of its range.
    """

    # built when the first is made: `--help` makes none
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, defer_build=True)

    method: Annotated[Method, _flag(METHOD)] = Field(
        default="impasto",
        description="impasto: coarse to fine, for pictures worth keeping; gatys: the algorithm as published in 2016. "
        "[default: impasto]",
    )
    encoder: Annotated[EncoderName, _flag(METHOD)] = Field(
        default="auto",
        description="The network pictures are seen through; lite comes with impasto. "
        "[default: lite; gatys: vgg19 if its weights are here, else lite]",
    )
    weights: Annotated[Path | None, _flag(METHOD)] = Field(
        default=None,
        description="A weights file for the encoder: Keras .h5, PyTorch .pth, MatConvNet .mat or safetensors. "
        "[default: what `impasto weights` has]",
    )
    size: Annotated[int | Literal["original"], _flag(PICTURE)] = _option(
        "size", "Longer side of the result in pixels, or 'original' for the photograph's."
    )
    quality: Annotated[Quality, _flag(PICTURE)] = Field(
        default="normal",
        description="draft: a quick look; best: for pictures to print (docs/method.md has the seconds each takes). "
        "[default: normal]",
    )
    strength: Annotated[float, _flag(LOOK)] = _option(
        "strength",
        "From 0, the photograph itself, to 1, the painting only: more keeps less of the photograph.",
        ge=0,
        le=1,
        allow_inf_nan=False,
    )
    style_scale: Annotated[float, _flag(LOOK)] = _option(
        "style_scale",
        "Size of the strokes, 0.25 to 4: 2 makes them twice as large as the painting's are when it is as large as the result.",
        ge=0.25,
        le=4,
        allow_inf_nan=False,
    )
    blend: Annotated[tuple[Share, ...], _flag(LOOK, many=True)] = Field(
        default=(),
        description="How much each of several styles counts, one number each: --blend 0.7 0.3. [default: all the same]",
    )
    keep_colors: Annotated[Literal["off", "luma", "match"], _flag(LOOK)] = _option(
        "keep_colors",
        "Keep the photograph's colours. luma: the painting changes light and dark only, every hue stays; match: the painting's "
        "colours are first moved to the photograph's mean and spread.",
    )
    content_mask: Annotated[Path | None, _flag(LOOK)] = Field(
        default=None,
        description="Regions of the photograph, a picture of flat colours; goes with --style-mask. [default: none]",
    )
    style_mask: Annotated[Path | None, _flag(LOOK)] = Field(
        default=None,
        description="Regions of the painting; each paints the region of --content-mask in its colour. [default: none]",
    )
    mask: Annotated[tuple[str, ...], _flag(LOOK)] = Field(
        default=(),
        description="MASK=STYLE, may be repeated: where the picture MASK is white the result is painted like STYLE, where grey partly; "
        "MASK=keep: where it is white the photograph stays as it is. [default: none]",
    )
    init: Annotated[str | Path, _flag(METHOD)] = _option("init", "What to start from: content, noise, or a picture file.")
    iterations: Annotated[int, _flag(METHOD)] = _option(
        "iterations", "Optimisation steps over all scales; more is slower and closer.", ge=1, le=100_000
    )
    content_weight: Annotated[float, _flag(METHOD)] = _option(
        "content_weight", "Weight of the photograph (alpha); 0 keeps none of it.", ge=0, le=1e12, allow_inf_nan=False
    )
    style_weight: Annotated[float, _flag(METHOD)] = _option(
        "style_weight", "Weight of the painting (beta); higher is more painted.", ge=0, le=1e12, allow_inf_nan=False
    )
    palette_weight: Annotated[float, _flag(METHOD)] = _option(
        "palette_weight",
        "Weight of the painting's palette: higher brings its colours in the same shares.",
        ge=0,
        le=1e12,
        allow_inf_nan=False,
    )
    tv_weight: Annotated[float, _flag(METHOD)] = _option(
        "tv_weight", "Weight of total variation; higher is smoother.", ge=0, le=1e12, allow_inf_nan=False
    )
    content_taps: Annotated[tuple[str, ...], _flag(METHOD)] = _option(
        "content_taps", "Layers the photograph is kept at, separated by commas."
    )
    style_taps: Annotated[tuple[str, ...], _flag(METHOD, "--taps", "--style-taps")] = _option(
        "style_taps", "Layers the painting's look is taken from, separated by commas."
    )
    pooling: Annotated[Literal["average", "max"], _flag(METHOD)] = _option("pooling", "How the encoder pools, average or max.")
    padding: Annotated[Literal["zero", "replicate"], _flag(METHOD)] = _option(
        "padding", "What the encoder sees beyond the picture's edge; zero may leave a border."
    )
    seed: Annotated[int, _flag(METHOD)] = _option(
        "seed", "Seed of the noise; the same seed gives the same picture.", ge=0, lt=2**63
    )
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], _flag(MACHINE)] = _option(
        "device", "Where to compute; auto takes a GPU if there is one."
    )
    precision: Annotated[Literal["auto", "fp32", "bf16"], _flag(MACHINE)] = _option(
        "precision", "Arithmetic of the encoder; auto takes bf16 where it is fast; it takes less memory everywhere."
    )
    max_memory: Annotated[str | None, _flag(MACHINE)] = Field(
        default=None,
        description="Memory to make do with, such as 2GB or 800MB: what does not fit is computed in blocks, which gives the same "
        "picture, to rounding, in more time. [default: what is free]",
    )
    max_pixels: Annotated[int, _flag(PICTURE)] = _option("max_pixels", "Refuse pictures of more pixels than this.", ge=1)

    @model_validator(mode="wrap")
    @classmethod
    def _fill(cls, given: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        """Fill what is not given from DEFAULTS; `model_fields_set` remembers what was."""
        if not isinstance(given, dict):
            return build(given)
        place = (str(given.get(name, cls.model_fields[name].default)) for name in ("method", "encoder", "quality"))
        options = build(defaults(*place) | given)
        object.__setattr__(options, "__pydantic_fields_set__", set(given))
        return options

    @field_validator("size", mode="before")
    @classmethod
    def _number_or_original(cls, size: Any) -> Any:
        if isinstance(size, str) and size != "original" and not re.fullmatch(r"[+-]?\d+", size):
            raise ValueError("must be a whole number of pixels, or 'original'")
        return size

    @field_validator("size", mode="after")
    @classmethod
    def _size_in_range(cls, size: int | str) -> int | str:
        if isinstance(size, int) and not 16 <= size <= 65_535:
            raise ValueError("must be from 16 to 65535, or 'original'")
        return size

    @field_validator("max_memory", mode="after")
    @classmethod
    def _amount(cls, size: str | None) -> str | None:
        if size is not None and not _AMOUNT.fullmatch(size.strip()):
            raise ValueError("must be a size such as 2GB, 1.5GiB or 800MB")
        return size

    @property
    def memory_limit(self) -> int | None:
        """`max_memory` in bytes."""
        found = _AMOUNT.fullmatch(self.max_memory.strip()) if self.max_memory else None
        return round(float(found[1]) * _UNITS[found[2].upper()]) if found else None

    @field_validator("content_taps", "style_taps", mode="before")
    @classmethod
    def _split(cls, taps: Any) -> Any:
        """Accept "relu1_1,relu2_1" and sequences of such."""
        parts = [taps] if isinstance(taps, str) else taps
        if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
            raise ValueError("must be names of taps, such as relu3_1,relu4_1")
        return tuple(name.strip() for part in parts for name in part.split(","))

    @field_validator("content_taps", "style_taps", mode="after")
    @classmethod
    def _named_once(cls, taps: tuple[str, ...]) -> tuple[str, ...]:
        if not all(taps) or not taps:
            raise ValueError("must name at least one tap, such as relu4_1")
        if len(set(taps)) < len(taps):
            raise ValueError("must name each tap once")
        return taps

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.content_weight == self.style_weight == self.palette_weight == 0:
            raise ValueError("content_weight, style_weight and palette_weight must not all be 0")
        return self

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.blend and not sum(self.blend):
            raise ValueError("blend must have a number above 0")
        if (self.content_mask is None) != (self.style_mask is None):
            raise ValueError("content_mask and style_mask go together; only one is given")
        for text in self.mask:
            mask, equals, style = text.rpartition("=")
            if not (mask and equals and style):
                raise ValueError(f"mask must be MASK=STYLE or MASK=keep, not {text!r}")
        if self.content_mask and self.mask:
            raise ValueError("content_mask and mask are two ways to name regions; use one of them")
        return self

    @classmethod
    def create(cls, **given: Any) -> Self:
        """Options from keyword arguments. Raises OptionError, one line, for a name that is unknown or a value out of range."""
        try:
            return cls(**given)
        except ValidationError as error:
            raise OptionError(explain(error)) from None

    def changed(self, **given: Any) -> Self:
        """These options with `given` on top; what was never asked for follows the new method's and encoder's defaults."""
        return self.create(**{name: getattr(self, name) for name in self.model_fields_set} | given)


class Saying(BaseModel):
    """What is said on the way and whether files are replaced: the command line's own options, for every command that writes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    output: Annotated[Path | None, _flag(OUTPUT, "--output", "-o")] = None
    overwrite: Annotated[bool, _flag(OUTPUT)] = Field(default=False, description="Replace the output if it exists.")
    quiet: Annotated[bool, _flag(OUTPUT, "--quiet", "-q")] = Field(default=False, description="Say nothing but errors.")
    json_line: Annotated[bool, _flag(OUTPUT, "--json")] = Field(
        default=False, description="End with one line of JSON on standard output, for programs."
    )


class Output(Saying):
    """Where a painted picture goes, and what is kept of its making."""

    output: Annotated[Path | None, _flag(OUTPUT, "--output", "-o")] = Field(
        default=None,
        description="File to write: .png, .jpg, .webp or .tif. [default: PHOTO-STYLE.png beside the photograph; "
        "demo: impasto-demo.png here; again: FILE-again beside FILE, in its format]",
    )
    no_metadata: Annotated[bool, _flag(OUTPUT)] = Field(
        default=False,
        description="Keep no settings in the file, and no word of impasto: it cannot be asked how it was made, nor made again.",
    )
    keep_exif: Annotated[bool, _flag(OUTPUT)] = Field(
        default=False,
        description="Keep in the file what the photograph's says of camera, exposure, date, owner and place, GPS among it; "
        "without this nothing of it goes into the result.",
    )
    preview: Annotated[int | None, _flag(OUTPUT)] = Field(
        default=None,
        ge=1,
        description="Also save the picture every so many steps, beside the output, as ...-step00050.png. [default: none]",
    )
    dry_run: Annotated[bool, _flag(OUTPUT)] = Field(
        default=False,
        description="Paint nothing; say how large the picture would be, how it would be computed, and what memory and time it takes.",
    )
    frames: Annotated[Path | None, _flag(OUTPUT)] = Field(
        default=None,
        description="Keep the making-of: a folder, a .gif, or an .mp4 (needs `pip install 'impasto[video]'`). [default: none]",
    )

    @model_validator(mode="after")
    def _all_or_nothing(self) -> Self:
        if self.no_metadata and self.keep_exif:
            raise ValueError("--no-metadata and --keep-exif exclude each other")
        return self


def _same(name: str) -> Any:
    """The field of Options of that name, for another model."""
    return Options.model_fields[name]


class StyleFile(Saying):
    """What a style file is made for and what is written on it; what the encoder sees through, as in Options."""

    output: Annotated[Path | None, _flag(OUTPUT, "--output", "-o")] = Field(
        default=None, description="File to write, .style. [default: PAINTING.style beside the painting]"
    )
    title: Annotated[str, _flag(CARD)] = Field(default="", max_length=300, description="What the painting is called.")
    source: Annotated[str, _flag(CARD)] = Field(
        default="", max_length=300, description="Who painted it, when, where it is from."
    )
    licence: Annotated[str, _flag(CARD, "--licence", "--license")] = Field(
        default="", max_length=300, description="What others may do with it."
    )
    encoder: Annotated[EncoderName, _flag(METHOD)] = _same("encoder")
    weights: Annotated[Path | None, _flag(METHOD)] = _same("weights")
    pooling: Annotated[Literal["average", "max"], _flag(METHOD)] = _same("pooling")
    padding: Annotated[Literal["zero", "replicate"], _flag(METHOD)] = _same("padding")

    def options(self) -> Options:
        """What of it is for a Stylizer. Raises OptionError."""
        return Options.create(**{name: getattr(self, name) for name in self.model_fields_set & Options.model_fields.keys()})


def explain(error: ValidationError, *, flags: bool = False) -> str:
    """One line for the first thing wrong: the option, the rule, the value. flags: write --style-weight for style_weight."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    shown = _flag_of(name) if flags else name
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Options.model_fields, n=1)
        return f"unknown option {shown}" + (f" (did you mean {_flag_of(near[0]) if flags else near[0]}?)" if near else "")
    message = _rule(first)
    if name:
        value = first["input"]
        return f"{shown} {message}, not {value[0] if isinstance(value, list) and len(value) == 1 else value!r}"
    # a rule about several options names them itself
    return re.sub("|".join(Options.model_fields), lambda field: _flag_of(field[0]), message) if flags else message


def _flag_of(name: str) -> str:
    """The flag of a field: --style-weight for style_weight."""
    return f"--{name.replace('_', '-')}"


def _rule(detail: ErrorDetails) -> str:
    """What the value must be."""
    kind, limits = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        names = re.findall(r"'(.*?)'", limits["expected"])
        near = difflib.get_close_matches(str(detail["input"]), names, n=1)
        return f"must be {limits['expected']}" + (f" (did you mean {near[0]!r}?)" if near else "")
    bounds = {
        "greater_than_equal": "must be at least {ge:g}",
        "less_than_equal": "must be at most {le:g}",
        "less_than": "must be less than {lt}",
        "finite_number": "must be a finite number",
        "value_error": "{error}",
    }
    if kind in bounds:
        return bounds[kind].format(**limits)
    return {"int": "must be a whole number", "float": "must be a number"}.get(kind.partition("_")[0], detail["msg"])
