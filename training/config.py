"""All settings that decide the result of a training run: one frozen object, stored in the checkpoint. The flags come from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from impasto.catalog import defaults
from impasto.options import invalid

Values = dict[str, Any]
Five = tuple[int, int, int, int, int]
Weights = tuple[float, float, float, float, float]

TAPS: tuple[str, ...] = defaults("impasto")["style_taps"]
CHANNELS = (64, 128, 256, 512, 512)  # VGG-19's, at these taps
PRESETS = {
    "lite": "16,32/48,80,96/112,48,48,56/128,80,80,80/128",
    "nano": "8,16/24,40,48/56,24,24,28/64,40,40,40/64",
}
DEFAULT_STEPS = 10_000
MEASURED = 50  # steps after which --minutes becomes a number of steps

NETWORK = Parameter(group=Group("Network", sort_key=1), negative=())
LENGTH = Parameter(group=Group("Optimization", sort_key=2), negative=())
LOSS = Parameter(group=Group("Loss", sort_key=3), negative=())
DATA = Parameter(group=Group("Images", sort_key=4), negative=())


def _option(default: Any, description: str, **limits: Any) -> Any:
    return Field(default=default, description=description, **limits)


class Config(BaseModel):
    """The network, the data and the length of training. Immutable; `create` raises a one-line OptionError for a bad value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Annotated[Literal["lite", "nano"], NETWORK] = _option(
        "lite", "Layer widths if --widths is not given; nano is half as wide as lite."
    )
    widths: Annotated[str, NETWORK] = _option(
        "", "Channels of every 3x3 convolution; / separates blocks: 16,32/48,64/... [default: the preset's]"
    )
    heads_at: Annotated[Five, NETWORK] = _option(
        (0, 2, 1, 1, 1),
        "The convolution in each block that its head follows, counted from 1. The first may be 0: relu1_1 is then "
        "the teacher's own 3x3 convolution of the pixels, which is not trained.",
    )
    dense_heads: Annotated[bool, Parameter(group=NETWORK.group)] = _option(
        True, "Heads read all features of their block up to that convolution, not only the last."
    )
    residual: Annotated[bool, NETWORK] = _option(False, "Add a convolution's input to its output where the widths match.")

    steps: Annotated[int | None, LENGTH] = _option(None, f"Number of training steps. [default: {DEFAULT_STEPS}]", ge=1)
    minutes: Annotated[float | None, LENGTH] = _option(
        None,
        f"Train for about this long instead of --steps. The first {MEASURED} steps are timed; then the number of steps "
        "is fixed and stored in the checkpoint, so that a resumed run gives the same result.",
        gt=0,
        allow_inf_nan=False,
    )
    batch: Annotated[int, LENGTH] = _option(8, "Crops per step.", ge=1)
    seed: Annotated[int, LENGTH] = _option(
        0, "Seed of the initial weights, the order of images and the augmentation.", ge=0, lt=2**63
    )
    rate: Annotated[float, LENGTH] = _option(
        1e-3, "Peak learning rate of AdamW for layers with a fan-in of up to --fan-in.", gt=0
    )
    fan_in: Annotated[int, LENGTH] = _option(
        120,
        "Layers with a larger fan-in get a proportionally lower learning rate, so that one step cannot move a "
        "response by more than its range.",
        ge=1,
    )
    warmup: Annotated[int, LENGTH] = _option(200, "Steps of linear warm-up.", ge=0)
    weight_decay: Annotated[float, LENGTH] = _option(0.01, "Weight decay of AdamW.", ge=0)
    clip: Annotated[float, LENGTH] = _option(5.0, "Maximum norm of the gradient.", gt=0)
    precision: Annotated[Literal["bf16", "fp32"], LENGTH] = _option(
        "bf16", "Precision of convolutions, including the teachers'."
    )
    ema: Annotated[float, LENGTH] = _option(
        0.999, "Decay of the moving average of the weights. `export` writes the average.", ge=0, lt=1
    )

    learned: Annotated[tuple[int, int], LOSS] = _option(
        (1, 5),
        "First and last tap to train, counted from 1. Layers of shallower taps are frozen; layers that only deeper "
        "taps need are not computed.",
    )
    tap_weights: Annotated[Weights, LOSS] = _option((1.0, 1.0, 1.0, 1.0, 1.0), "Loss weight of each tap, relu1_1 first.")
    gram_weight: Annotated[float, LOSS] = _option(
        0.5, "Weight of the relative squared error of Gram matrices; features have weight 1.", ge=0
    )
    drift_weight: Annotated[float, LOSS] = _option(
        0.0,
        "Weight of the relative squared error in the difference between the Gram matrices of a pool image and of its "
        "painting. If above 0, the paintings are added to the batch.",
        ge=0,
    )
    strides: Annotated[Five, LOSS] = _option((4, 2, 1, 1, 1), "Compare each tap at every n-th position, from a random offset.")
    per_channel: Annotated[bool, LOSS] = _option(False, "Divide each channel's error by its own variance instead of the tap's.")
    gradient_matching: Annotated[bool, LOSS] = _option(
        False, "On some steps, also compare the gradients of a style loss through student and teacher."
    )
    gradient_rate: Annotated[float, LOSS] = _option(0.05, "Fraction of steps with gradient matching.", ge=0, le=1)
    gradient_weight: Annotated[float, LOSS] = _option(0.5, "Weight of 1 - cosine similarity on those steps.", ge=0)

    crop: Annotated[int, DATA] = _option(128, "Side of a crop in pixels, a multiple of 16.", ge=16)
    held_out: Annotated[int, DATA] = _option(300, "Images of each kind, the last by name, held out for `evaluate`.", ge=1)
    zoom: Annotated[float, DATA] = _option(
        0.5, "Smallest side of a crop, as a fraction of the image's shorter side.", gt=0, le=1
    )
    flip_rate: Annotated[float, DATA] = _option(0.5, "Fraction of crops mirrored.", ge=0, le=1)
    upside_down_rate: Annotated[float, DATA] = _option(0.1, "Fraction of crops turned upside down.", ge=0, le=1)
    contrast: Annotated[float, DATA] = _option(0.3, "Contrast: 1 plus or minus this.", ge=0, le=1)
    brightness: Annotated[float, DATA] = _option(0.1, "Largest change in brightness.", ge=0, le=1)
    tint: Annotated[float, DATA] = _option(0.08, "Largest change of each of R, G and B.", ge=0, le=1)
    saturation: Annotated[float, DATA] = _option(0.8, "Saturation: from 0.8 to 1 plus this.", ge=0)
    noise_rate: Annotated[float, DATA] = _option(0.125, "Fraction of crops mixed with noise.", ge=0, le=1)
    mix_rate: Annotated[float, DATA] = _option(0.125, "Fraction of crops that mix a photograph and a painting.", ge=0, le=1)
    blank_rate: Annotated[float, DATA] = _option(
        0.0625, "Fraction of crops that are noise only, or one color with noise.", ge=0, le=1
    )
    pool: Annotated[int, DATA] = _option(
        32, "Size of the pool of images that are optimized through the student. 0: no pool.", ge=0
    )
    pool_batch: Annotated[int, DATA] = _option(1, "Pool images in each batch.", ge=1)
    pool_visits: Annotated[int, DATA] = _option(60, "Visits after which a pool image is replaced.", ge=1)
    pool_step: Annotated[float, DATA] = _option(
        0.04, "RMS change of a pool image in its first visit; it falls linearly to 0.", gt=0, le=1
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        """Store the preset's widths and the default length explicitly, so that the checkpoint contains them."""
        if not isinstance(given, dict):
            return given
        filled = {name: value for name, value in given.items() if value is not None}
        if not filled.get("widths") and filled.get("preset", "lite") in PRESETS:
            filled["widths"] = PRESETS[filled.get("preset", "lite")]
        if "minutes" not in filled:
            filled.setdefault("steps", DEFAULT_STEPS)
        return filled

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.steps and self.minutes:
            raise ValueError("steps and minutes both set the length; use only one of them")
        if self.noise_rate + self.mix_rate + self.blank_rate > 1:
            raise ValueError("the sum of noise_rate, mix_rate and blank_rate must be at most 1")
        if self.pool and self.pool_batch > (limit := min(self.pool, self.batch // (1 + self.paired))):
            raise ValueError(
                f"pool_batch must be at most {limit} with this pool and batch"
                + (", because drift_weight adds their paintings to the batch" if self.paired else "")
                + f", not {self.pool_batch}"
            )
        if self.crop % 16:
            raise ValueError(f"crop must be a multiple of 16, not {self.crop}")
        if not 1 <= self.learned[0] <= self.learned[1] <= len(TAPS):
            raise ValueError(f"learned must be two taps from 1 to {len(TAPS)} in ascending order, not {_shown(self.learned)}")
        if min(self.strides) < 1:
            raise ValueError("strides must be at least 1")
        for block, (head, row) in enumerate(zip(self.heads_at, self.blocks, strict=True), start=1):
            if not (block > 1) <= head <= len(row):
                raise ValueError(f"heads_at {head} is not one of the {len(row)} convolutions of block {block}")
        if self.heads_at[-1] < len(self.blocks[-1]):
            raise ValueError(f"heads_at {self.heads_at[-1]} leaves convolutions of the last block unused")
        return self

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """`widths` as numbers: ((16, 32), (48, 64), ...). Raises ValueError unless it has five blocks of positive integers."""
        return read_widths(self.widths)

    @property
    def taps(self) -> tuple[str, ...]:
        """The taps that are trained."""
        first, last = self.learned
        return TAPS[first - 1 : last]

    @property
    def paired(self) -> bool:
        """Whether the batch contains the paintings of the pool images."""
        return bool(self.pool and self.drift_weight)

    @classmethod
    def create(cls, **given: Any) -> Self:
        """A config from keyword arguments. Raises OptionError."""
        try:
            return cls(**given)
        except ValidationError as error:
            raise invalid(error, cls) from None

    def difference(self, other: Config) -> str:
        """Describe the first setting in which another config differs; empty if both give the same result."""
        for name in type(self).model_fields:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs and name != "preset":  # the preset is stored as widths
                return f"--{name.replace('_', '-')} is {_shown(theirs)} there and {_shown(mine)} here"
        return ""


def read_widths(text: str) -> tuple[tuple[int, ...], ...]:
    """Parse five blocks of channel counts. Raises ValueError with a message that fits `invalid`."""
    rows = [row.split(",") for row in text.split("/")]
    if len(rows) != len(TAPS) or not all(word.isascii() and word.isdecimal() and int(word) for row in rows for word in row):
        raise ValueError(f"widths must be five blocks such as {PRESETS['lite']}, not {text!r}")
    return tuple(tuple(int(word) for word in row) for row in rows)


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else "not given" if value is None else str(value)
