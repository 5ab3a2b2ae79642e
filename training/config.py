"""Everything that decides what a training run makes: one frozen object, saved in its checkpoint; the flags are read from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from impasto.errors import OptionError
from impasto.options import explain

Values = dict[str, Any]
Five = tuple[int, int, int, int, int]
Weights = tuple[float, float, float, float, float]

TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CHANNELS = (64, 128, 256, 512, 512)  # VGG-19's own, at these taps
PRESETS = {
    "lite": "16,32/48,80,96/112,48,48,56/128,80,80,80/128",
    "nano": "8,16/24,40,48/56,24,24,28/64,40,40,40/64",
}
DEFAULT_STEPS = 10_000
MEASURED = 50  # steps after which --minutes becomes a number of steps

NETWORK = Group("Network", sort_key=1)
LENGTH = Group("Optimisation", sort_key=2)
LOSS = Group("Loss", sort_key=3)
DATA = Group("Pictures", sort_key=4)


def _flag(group: Group) -> Parameter:
    return Parameter(group=group, negative=())


class Config(BaseModel):
    """What is trained, on what, how long. An instance never changes; `create` raises OptionError, one line, for a bad value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Annotated[Literal["lite", "nano"], _flag(NETWORK)] = Field(
        default="lite", description="Widths to use when --widths is not given; nano has half of lite's."
    )
    widths: Annotated[str, _flag(NETWORK)] = Field(
        default="", description="Channels of every 3x3 convolution, blocks parted by /: 16,32/48,64/... [default: the preset's]"
    )
    heads_at: Annotated[Five, _flag(NETWORK)] = Field(
        default=(0, 2, 1, 1, 1),
        description="After which convolution of its block each head is taken, five numbers from 1. The first may be 0: relu1_1 is then "
        "the teacher's own 3x3 convolution of the pixels, which is not trained.",
    )
    dense_heads: Annotated[bool, Parameter(group=NETWORK)] = Field(
        default=True, description="Heads read all features of their block up to there, not the last alone."
    )
    residual: Annotated[bool, _flag(NETWORK)] = Field(
        default=False, description="Add a convolution's input to its output where the widths agree."
    )

    steps: Annotated[int | None, _flag(LENGTH)] = Field(
        default=None, ge=1, description=f"Steps to train for. [default: {DEFAULT_STEPS}]"
    )
    minutes: Annotated[float | None, _flag(LENGTH)] = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description=f"Train about this long instead: the first {MEASURED} steps are timed, then the number of steps is fixed and kept "
        "in the checkpoint, so that resuming ends at the same result.",
    )
    batch: Annotated[int, _flag(LENGTH)] = Field(default=8, ge=1, description="Crops a step.")
    seed: Annotated[int, _flag(LENGTH)] = Field(
        default=0, ge=0, lt=2**63, description="Seed of weights, order and augmentation."
    )
    rate: Annotated[float, _flag(LENGTH)] = Field(
        default=1e-3, gt=0, description="AdamW's learning rate at its highest, before the cosine, of layers that read little."
    )
    fan_in: Annotated[int, _flag(LENGTH)] = Field(
        default=120,
        ge=1,
        description="Layers that read more values than this for one of theirs learn in proportion more slowly, so that a step moves "
        "no response by more than its range.",
    )
    warmup: Annotated[int, _flag(LENGTH)] = Field(default=200, ge=0, description="Steps over which the rate rises.")
    weight_decay: Annotated[float, _flag(LENGTH)] = Field(default=0.01, ge=0, description="AdamW's weight decay.")
    clip: Annotated[float, _flag(LENGTH)] = Field(default=5.0, gt=0, description="Largest norm of the gradient.")
    precision: Annotated[Literal["bf16", "fp32"], _flag(LENGTH)] = Field(
        default="bf16", description="Arithmetic of convolutions, the teachers' too."
    )
    ema: Annotated[float, _flag(LENGTH)] = Field(
        default=0.999, ge=0, lt=1, description="Decay of the moving average of the weights, which is what is exported."
    )

    learned: Annotated[tuple[int, int], _flag(LOSS)] = Field(
        default=(1, 5),
        description="The first and the last tap that are learned, from 1. What shallower taps need stays as it is, what only deeper "
        "ones need is not computed: a network can be learned from the pixels on, one part after the other, in less time.",
    )
    tap_weights: Annotated[Weights, _flag(LOSS)] = Field(
        default=(1.0, 1.0, 1.0, 1.0, 1.0), description="How much each tap counts, five numbers, relu1_1 first."
    )
    gram_weight: Annotated[float, _flag(LOSS)] = Field(
        default=0.5, ge=0, description="Weight of the relative squared error of Gram matrices beside that of features."
    )
    drift_weight: Annotated[float, _flag(LOSS)] = Field(
        default=0.0,
        ge=0,
        description="Weight of the relative squared error of what Gram matrices differ in between pictures of the pool and their "
        "paintings, which then are in the batch too.",
    )
    strides: Annotated[Five, _flag(LOSS)] = Field(
        default=(4, 2, 1, 1, 1), description="Taps are compared at every n-th position, at a random offset; five numbers."
    )
    per_channel: Annotated[bool, _flag(LOSS)] = Field(
        default=False, description="Divide a channel's error by its own variance, not by the tap's."
    )
    gradient_matching: Annotated[bool, _flag(LOSS)] = Field(
        default=False, description="On some steps also compare the gradients that a style loss has through student and teacher."
    )
    gradient_rate: Annotated[float, _flag(LOSS)] = Field(default=0.05, ge=0, le=1, description="Share of those steps.")
    gradient_weight: Annotated[float, _flag(LOSS)] = Field(
        default=0.5, ge=0, description="Weight of 1 - cosine on those steps."
    )

    crop: Annotated[int, _flag(DATA)] = Field(default=128, ge=16, description="Side of a crop in pixels, a multiple of 16.")
    held_out: Annotated[int, _flag(DATA)] = Field(
        default=300, ge=1, description="Pictures of each kind, the last by name, kept for `evaluate`."
    )
    zoom: Annotated[float, _flag(DATA)] = Field(
        default=0.5, gt=0, le=1, description="Least side of a crop's window, as a share of the picture's shorter side."
    )
    flip_rate: Annotated[float, _flag(DATA)] = Field(default=0.5, ge=0, le=1, description="Share of crops mirrored.")
    upside_down_rate: Annotated[float, _flag(DATA)] = Field(default=0.1, ge=0, le=1, description="Share of crops upside down.")
    contrast: Annotated[float, _flag(DATA)] = Field(default=0.3, ge=0, le=1, description="Contrast is 1 give or take this.")
    brightness: Annotated[float, _flag(DATA)] = Field(default=0.1, ge=0, le=1, description="Brightness moves by up to this.")
    tint: Annotated[float, _flag(DATA)] = Field(default=0.08, ge=0, le=1, description="Each of RGB moves by up to this.")
    saturation: Annotated[float, _flag(DATA)] = Field(default=0.8, ge=0, description="Saturation is 0.8 to 1 plus this.")
    noise_rate: Annotated[float, _flag(DATA)] = Field(default=0.125, ge=0, le=1, description="Share of crops mixed with noise.")
    mix_rate: Annotated[float, _flag(DATA)] = Field(
        default=0.125, ge=0, le=1, description="Share of half-stylised stand-ins: a photograph and a painting mixed."
    )
    blank_rate: Annotated[float, _flag(DATA)] = Field(
        default=0.0625, ge=0, le=1, description="Share of crops that are noise, or grey with noise, alone."
    )
    pool: Annotated[int, _flag(DATA)] = Field(
        default=32,
        ge=0,
        description="Pictures kept that are optimised through the student; some of them are learned from in a step. 0: none.",
    )
    pool_batch: Annotated[int, _flag(DATA)] = Field(default=1, ge=1, description="How many of them a step learns from.")
    pool_visits: Annotated[int, _flag(DATA)] = Field(default=60, ge=1, description="Visits until such a picture is replaced.")
    pool_step: Annotated[float, _flag(DATA)] = Field(
        default=0.04, gt=0, le=1, description="Root mean square change by a visit, less and less towards the last."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        """Write out what the preset and the default length stand for, so that the checkpoint says it."""
        if not isinstance(given, dict):
            return given
        filled = {name: value for name, value in given.items() if value is not None}
        if not filled.get("widths") and filled.get("preset", "lite") in PRESETS:
            filled["widths"] = PRESETS[filled.get("preset", "lite")]
        if "minutes" not in filled:
            filled.setdefault("steps", DEFAULT_STEPS)
        return filled

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.steps and self.minutes:
            raise ValueError("steps and minutes are two ways to say how long; use one of them")
        if self.noise_rate + self.mix_rate + self.blank_rate > 1:
            raise ValueError("noise_rate, mix_rate and blank_rate must not be more than 1 together")
        if self.pool and self.pool_batch > min(self.pool, self.batch // (1 + self.paired)):
            raise ValueError(
                f"pool_batch {self.pool_batch} is more than the pool or the batch has room for"
                + (", their paintings being in the batch too" if self.paired else "")
            )
        if self.crop % 16:
            raise ValueError(f"crop must be a multiple of 16, not {self.crop}")
        if not 1 <= self.learned[0] <= self.learned[1] <= len(TAPS):
            raise ValueError(f"learned must be two taps from 1 to {len(TAPS)}, the first one first, not {_shown(self.learned)}")
        if min(self.strides) < 1:
            raise ValueError("strides must be at least 1")
        for block, (head, row) in enumerate(zip(self.heads_at, self.blocks, strict=True), start=1):
            if not (block > 1) <= head <= len(row):
                raise ValueError(f"heads_at {head} is not one of the {len(row)} convolutions of block {block}")
        if self.heads_at[-1] < len(self.blocks[-1]):
            raise ValueError(f"heads_at {self.heads_at[-1]} leaves the last block's convolutions behind that without a use")
        return self

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """`widths` as numbers: ((16, 32), (48, 64), ...). Raises ValueError for anything but five blocks of whole numbers."""
        return read_widths(self.widths)

    @property
    def taps(self) -> tuple[str, ...]:
        """Those that are learned."""
        first, last = self.learned
        return TAPS[first - 1 : last]

    @property
    def paired(self) -> bool:
        """Whether the paintings of the pool's pictures are in the batch."""
        return bool(self.pool and self.drift_weight)

    @classmethod
    def create(cls, **given: Any) -> Self:
        """A config from keyword arguments. Raises OptionError."""
        try:
            return cls(**given)
        except ValidationError as error:
            raise OptionError(explain(error)) from None

    def difference(self, other: Config) -> str:
        """The first setting in which another config differs, in words; empty if it makes the same network in the same way."""
        for name in type(self).model_fields:
            mine, its = getattr(self, name), getattr(other, name)
            if mine != its and name != "preset":  # the preset is written out as widths
                return f"--{name.replace('_', '-')} is {_shown(its)} there and {_shown(mine)} here"
        return ""


def read_widths(text: str) -> tuple[tuple[int, ...], ...]:
    """Five blocks of channels from text. Raises ValueError, worded for `explain`."""
    rows = [row.split(",") for row in text.split("/")]
    if len(rows) != len(TAPS) or not all(word.isascii() and word.isdecimal() and int(word) for row in rows for word in row):
        raise ValueError(f"widths must be five blocks such as {PRESETS['lite']}, not {text!r}")
    return tuple(tuple(int(word) for word in row) for row in rows)


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else "not given" if value is None else str(value)
