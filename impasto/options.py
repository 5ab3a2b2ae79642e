"""Every option once: its type, range, default and help. Values only: whatever names a file is an input (`inputs`).

`Options` is what the library runs with. The flags of the command line, their help and their errors are generated from it, and so are
the settings stored inside an image. Defaults depend on the method and the encoder; `DEFAULTS` is the one table of them.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from impasto.errors import OptionError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Method = Literal["impasto", "gatys"]
Quality = Literal["draft", "normal", "best"]
EncoderName = Literal["auto", "lite", "vgg16", "vgg19"]
Group = Literal["Image", "Look", "Method", "Machine"]
Values = dict[str, Any]
_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([KMGT]i?B)", re.IGNORECASE)


def _number_or_original(size: Any) -> Any:
    if isinstance(size, str) and size != "original" and not re.fullmatch(r"[+-]?\d+", size):
        raise ValueError("must be a whole number of pixels, or 'original'")
    return size


def _in_range(size: int | str) -> int | str:
    if isinstance(size, int) and not 16 <= size <= 65_535:
        raise ValueError("must be from 16 to 65535, or 'original'")
    return size


def _adds_up(blend: tuple[float, ...]) -> tuple[float, ...]:
    if blend and not sum(blend):
        raise ValueError("must have a number above 0")
    return blend


def _split(taps: Any) -> Any:
    """Accept "relu1_1,relu2_1" and sequences of such."""
    parts = [taps] if isinstance(taps, str) else taps
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be names of taps, such as relu3_1,relu4_1")
    return tuple(name.strip() for part in parts for name in part.split(","))


def _named_once(taps: tuple[str, ...]) -> tuple[str, ...]:
    if not all(taps) or not taps:
        raise ValueError("must name at least one tap, such as relu4_1")
    if len(set(taps)) < len(taps):
        raise ValueError("must name each tap once")
    return taps


def _amount(size: str) -> str:
    found = _AMOUNT.fullmatch(size.strip())
    if not (found and float(found[1])):
        raise ValueError("must be a size such as 2GB, 1.5GiB or 800MB")
    return size


Share = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Size = Annotated[int | Literal["original"], BeforeValidator(_number_or_original), AfterValidator(_in_range)]
Blend = Annotated[tuple[Share, ...], AfterValidator(_adds_up)]
Taps = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_named_once)]
Amount = Annotated[str, AfterValidator(_amount)]

# Rows of (condition, defaults); a later row overrides an earlier one. Where the numbers come from: docs/method.md.
DEFAULTS: tuple[tuple[Values, Values], ...] = (
    (
        {},
        {
            "size": 512,
            "strength": 0.5,
            "style_scale": 1.0,
            "keep_colors": "off",
            "init": "content",
            "iterations": 48,
            "content_taps": ("relu3_1",),
            "style_taps": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
            "content_weight": 1.0,
            "style_weight": 30.0,
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
    ({"quality": "draft"}, {"iterations": 20}),
    ({"quality": "best"}, {"iterations": 150}),
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
# The encoder that "auto" stands for, before it is known whether VGG-19's weights are on this machine.
AUTO_ENCODER: dict[str, str] = {"impasto": "lite", "gatys": "vgg19"}


def defaults(method: str, encoder: str = "auto", quality: str = "normal") -> Values:
    """The defaults of a method with an encoder at a quality, from DEFAULTS."""
    encoder = AUTO_ENCODER.get(method, "lite") if encoder == "auto" else encoder
    place = {"method": method, "encoder": encoder, "quality": quality}
    values: Values = {}
    for where, row in DEFAULTS:
        if where.items() <= place.items():
            values |= row
    return values


PLACE = ("method", "encoder", "quality")  # the options that the defaults of others depend on
_BASE = defaults("impasto")


def _option(name: str, group: Group, help_: str, *, common: bool = False) -> Any:
    """A field whose default is found in DEFAULTS. Its help says how method gatys differs, with VGG-19 and with lite.

    group: the heading it is listed under; common: whether a short help lists it.
    """
    shown, published, standin = (_shown(row[name]) for row in (_BASE, defaults("gatys", "vgg19"), defaults("gatys", "lite")))
    gatys = published if published == standin else f"{published}, or {standin} with lite"
    both = shown if shown == gatys else f"{shown}; gatys: {gatys}"

    def default(values: Values) -> Any:
        return defaults(*(str(values.get(one, "")) for one in PLACE))[name]

    extra: dict[str, Any] = {"group": group, "common": common}
    return Field(default_factory=default, description=f"{help_} [default: {both}]", json_schema_extra=extra)


def _choice(default: Any, group: Group, help_: str, *, common: bool = False) -> Any:
    """A field with a default of its own."""
    return Field(default=default, description=help_, json_schema_extra={"group": group, "common": common})


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


class Options(BaseModel):
    """How to repaint. Every field has a default, and an instance never changes.

    Raises OptionError for an unknown name or a value out of range.
    """

    # built at first use: `--help` makes none
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, defer_build=True)

    method: Method = _choice(
        "impasto", "Method", "impasto: coarse to fine, with its own losses; gatys: as published in 2016. [default: impasto]"
    )
    encoder: EncoderName = _choice(
        "auto",
        "Method",
        "Network whose features are compared. lite comes with impasto. "
        "[default: lite; gatys: vgg19 if its weights are on this machine, else lite]",
    )
    quality: Quality = _choice("normal", "Image", "draft: a quick look; best: for prints. [default: normal]", common=True)
    size: Size = _option(
        "size", "Image", "Longer side of the result in pixels, or 'original' for the photograph's size.", common=True
    )
    strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = _option(
        "strength",
        "Look",
        "How strongly to apply the style: 0 returns the photograph unchanged, 1 favors the painting as far as possible.",
        common=True,
    )
    style_scale: Annotated[float, Field(ge=0.25, le=4, allow_inf_nan=False)] = _option(
        "style_scale",
        "Look",
        "Brush-stroke size relative to the painting, 0.25 to 4. At 2, strokes are twice as large.",
        common=True,
    )
    blend: Blend = _choice(
        (), "Look", "Weight of each of several styles, such as 0.7 0.3. [default: equal weights]", common=True
    )
    keep_colors: Literal["off", "luma", "match"] = _option(
        "keep_colors",
        "Look",
        "Keep the photograph's colors. luma: paint the brightness only; match: move the painting's colors to the photograph's mean and "
        "covariance first.",
        common=True,
    )
    init: Literal["content", "noise"] = _option(
        "init", "Method", "What to start from: the photograph (content) or noise; on the command line also an image file."
    )
    init_size: Annotated[int, Field(ge=16, le=65_535)] | None = _choice(
        None, "Method", "Longer side in pixels of the first scale; coarser scales are skipped. [default: 128]"
    )
    iterations: Annotated[int, Field(ge=1, le=100_000)] = _option(
        "iterations", "Method", "Optimization steps over all scales. More steps are slower and converge further."
    )
    content_weight: Weight = _option(
        "content_weight", "Method", "Weight of the content loss (alpha); 0 ignores the photograph."
    )
    style_weight: Weight = _option("style_weight", "Method", "Weight of the style loss (beta).")
    palette_weight: Weight = _option(
        "palette_weight",
        "Method",
        "Weight of the palette loss. Higher values match the painting's color distribution more closely.",
    )
    tv_weight: Weight = _option("tv_weight", "Method", "Weight of total variation. Higher values are smoother.")
    content_taps: Taps = _option("content_taps", "Method", "Layers of the content loss, separated by commas.")
    style_taps: Taps = _option("style_taps", "Method", "Layers of the style loss, separated by commas.")
    pooling: Literal["average", "max"] = _option("pooling", "Method", "Pooling of the encoder.")
    padding: Literal["zero", "replicate"] = _option(
        "padding", "Method", "Padding of the encoder at the image's edge. zero may leave a border."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = _option("seed", "Method", "Seed of the noise.")
    device: Literal["auto", "cpu", "cuda", "mps"] = _option("device", "Machine", "Device to compute on. auto prefers a GPU.")
    precision: Literal["auto", "fp32", "bf16"] = _option(
        "precision",
        "Machine",
        "Arithmetic of the encoder. auto uses bf16 if it is fast here; bf16 takes less memory everywhere.",
    )
    max_memory: Amount | None = _choice(
        None,
        "Machine",
        "Memory limit, such as 2GB or 800MB. Larger images are computed in blocks: the same result up to rounding, but slower. "
        "[default: the free memory]",
    )
    max_pixels: Annotated[int, Field(ge=1)] = _option("max_pixels", "Image", "Refuse images of more pixels than this.")

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise invalid(error, type(self)) from None

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.content_weight == self.style_weight == self.palette_weight == 0:
            remedy = "raise {content_weight}, {style_weight} or {palette_weight}"
            raise PydanticCustomError("rule", "the weights of content, style and palette are all 0", {"remedy": remedy})
        return self

    @property
    def memory_limit(self) -> int | None:
        """`max_memory` in bytes."""
        found = _AMOUNT.fullmatch(self.max_memory.strip()) if self.max_memory else None
        return round(float(found[1]) * _UNITS[found[2].upper()]) if found else None

    def changed(self, **given: Any) -> Self:
        """These options with `given` on top. An option that was never given follows the defaults of the new method and encoder."""
        return type(self)(**{name: getattr(self, name) for name in self.model_fields_set} | given)


def group_of(name: str) -> tuple[str, bool]:
    """The heading an option is listed under, and whether a short help lists it."""
    extra = Options.model_fields[name].json_schema_extra
    return (str(extra["group"]), bool(extra["common"])) if isinstance(extra, dict) else ("", False)


def invalid(error: ValidationError, model: type[BaseModel]) -> OptionError:
    """The first thing wrong as an OptionError: the option, the rule, the value. model: whose names are valid."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        return OptionError(f"unknown option {name!r}", remedy=f"did you mean {{{near[0]}}}?" if near else "")
    rule, remedy = _rule(first), str(first.get("ctx", {}).get("remedy", ""))
    if not name:
        return OptionError(rule, remedy=remedy)
    value = first["input"]
    return OptionError(f"{rule}, not {value[0] if isinstance(value, list) and len(value) == 1 else value!r}", option=name)


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
