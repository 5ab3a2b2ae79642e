"""Every option's type and range. Its help and its default are in `catalog`. Whatever names a file is an input (`inputs`).

`Options` is what the library runs with. The errors of the command line come from it, and so do the settings stored inside an image.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from impasto import catalog
from impasto.catalog import PLACE, Device, EncoderName, Init, KeepColors, Method, Padding, Pooling, Precision, Quality
from impasto.errors import OptionError
from impasto.files import one_line

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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
Size = Annotated[catalog.Size, BeforeValidator(_number_or_original), AfterValidator(_in_range)]
Blend = Annotated[tuple[Share, ...], AfterValidator(_adds_up)]
Taps = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_named_once)]
Amount = Annotated[str, AfterValidator(_amount)]


def _option(name: str) -> Any:
    """A field whose default is found in `catalog.DEFAULTS`."""

    def default(values: dict[str, Any]) -> Any:
        return catalog.defaults(*(str(values.get(one, "")) for one in PLACE))[name]

    return Field(default_factory=default, description=catalog.help_of(name))


def _choice(name: str, default: Any) -> Any:
    """A field with a default of its own."""
    return Field(default=default, description=catalog.help_of(name))


class Options(BaseModel):
    """How to repaint. Every field has a default, and an instance never changes.

    Raises OptionError for an unknown name or a value out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    method: Method = _choice("method", "impasto")
    encoder: EncoderName = _choice("encoder", "auto")
    quality: Quality = _choice("quality", "normal")
    size: Size = _option("size")
    strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = _option("strength")
    style_scale: Annotated[float, Field(ge=0.25, le=4, allow_inf_nan=False)] = _option("style_scale")
    blend: Blend = _choice("blend", ())
    keep_colors: KeepColors = _option("keep_colors")
    init: Init = _option("init")
    init_size: Annotated[int, Field(ge=16, le=65_535)] | None = _choice("init_size", None)
    iterations: Annotated[int, Field(ge=1, le=100_000)] = _option("iterations")
    content_weight: Weight = _option("content_weight")
    style_weight: Weight = _option("style_weight")
    palette_weight: Weight = _option("palette_weight")
    tv_weight: Weight = _option("tv_weight")
    content_taps: Taps = _option("content_taps")
    style_taps: Taps = _option("style_taps")
    pooling: Pooling = _option("pooling")
    padding: Padding = _option("padding")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = _option("seed")
    device: Device = _option("device")
    precision: Precision = _option("precision")
    max_memory: Amount | None = _choice("max_memory", None)
    max_pixels: Annotated[int, Field(ge=1)] = _option("max_pixels")

    def __init__(self, /, **given: Any) -> None:
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

    @model_validator(mode="after")
    def _fits_the_painter(self) -> Self:
        if self.quality != "instant":
            return self
        usual = {"method": "impasto", "init_size": None, **catalog.defaults("impasto", "lite", self.quality)}
        usual["encoder"] = self.encoder if self.encoder == "auto" else "lite"
        for name in ("method", "encoder", *catalog.OF_THE_OPTIMIZER):
            if getattr(self, name) != usual[name]:
                told = {"option": name, "remedy": "drop it, or choose another {quality}"}
                raise PydanticCustomError("rule", "does not apply to quality 'instant'", told)
        return self

    @property
    def memory_limit(self) -> int | None:
        """`max_memory` in bytes."""
        found = _AMOUNT.fullmatch(self.max_memory.strip()) if self.max_memory else None
        return round(float(found[1]) * _UNITS[found[2].upper()]) if found else None

    def changed(self, **given: Any) -> Self:
        """These options with `given` on top. An option that was never given follows the defaults of the new method and encoder."""
        return type(self)(**{name: getattr(self, name) for name in self.model_fields_set} | given)


def blend_shares(weights: Sequence[float], count: int) -> list[float]:
    """The share of each of `count` styles; they sum to 1. weights: any numbers; none for equal ones.

    Raises OptionError for another count.
    """
    if weights and len(weights) != count:
        raise OptionError(f"must have one number for each of the {count} styles, not {len(weights)}", option="blend")
    given = weights or (1.0,) * count
    return [weight / sum(given) for weight in given]


def invalid(error: ValidationError, model: type[BaseModel]) -> OptionError:
    """The first thing wrong as an OptionError: the option, the rule, the value. model: whose names are valid."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        return OptionError(f"unknown option {one_line(repr(name))}", remedy=f"did you mean {{{near[0]}}}?" if near else "")
    more = first.get("ctx", {})
    rule, remedy = _rule(first), str(more.get("remedy", ""))
    if not name:
        return OptionError(rule, option=str(more.get("option", "")), remedy=remedy)
    value = first["input"]
    shown = str(value[0]) if isinstance(value, list) and len(value) == 1 else repr(value)
    return OptionError(f"{rule}, not {one_line(shown)}", option=name)


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
