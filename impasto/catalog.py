"""Every option as the help shows it: its kind, heading, help and default. `options` adds what is valid.

It is apart from `options` so that help does not wait for pydantic. Defaults depend on the method and the encoder; `DEFAULTS` is the
one table of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Method = Literal["impasto", "gatys"]
Quality = Literal["instant", "draft", "normal", "best"]
EncoderName = Literal["auto", "lite", "vgg16", "vgg19"]
Size = int | Literal["original"]
KeepColors = Literal["off", "luma", "match"]
Init = Literal["instant", "content", "noise"]
Pooling = Literal["average", "max"]
Padding = Literal["zero", "replicate"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]
Group = Literal["Image", "Look", "Method", "Machine"]
Values = dict[str, Any]


@dataclass(frozen=True)
class Option:
    """An option without its name. kind: the type of its values. group: its heading. common: whether a short help lists it."""

    kind: Any
    group: Group
    about: str
    common: bool = False


OPTIONS = {
    "method": Option(
        Method, "Method", "impasto: coarse to fine, with its own losses; gatys: as published in 2016. [default: impasto]"
    ),
    "encoder": Option(
        EncoderName,
        "Method",
        "Network whose features are compared. lite comes with impasto. "
        "[default: lite; gatys: vgg19 if its weights are on this machine, else lite]",
    ),
    "quality": Option(
        Quality,
        "Image",
        "instant: a network paints in a fraction of a second; draft: a quick look; best: for prints. [default: normal]",
        common=True,
    ),
    "size": Option(Size, "Image", "Longer side of the result in pixels, or 'original' for the photograph's size.", common=True),
    "strength": Option(
        float,
        "Look",
        "How strongly to apply the style: 0 returns the photograph unchanged, 1 favors the painting as far as possible.",
        common=True,
    ),
    "style_scale": Option(
        float, "Look", "Brush-stroke size relative to the painting, 0.25 to 4. At 2, strokes are twice as large.", common=True
    ),
    "blend": Option(
        tuple[float, ...], "Look", "Weight of each of several styles, such as 0.7 0.3. [default: equal weights]", common=True
    ),
    "keep_colors": Option(
        KeepColors,
        "Look",
        "Keep the photograph's colors. luma: paint the brightness only; match: move the painting's colors to the photograph's mean and "
        "covariance first.",
        common=True,
    ),
    "init": Option(
        Init,
        "Method",
        "What to start from: the photograph (content), the network's result (instant) or noise; on the command line also an image "
        "file.",
    ),
    "init_size": Option(
        int,
        "Method",
        "Longer side in pixels of the first scale; coarser scales are skipped. [default: 128, or a quarter of a larger size]",
    ),
    "iterations": Option(int, "Method", "Optimization steps over all scales. More steps are slower and converge further."),
    "content_weight": Option(float, "Method", "Weight of the content loss (alpha); 0 ignores the photograph."),
    "style_weight": Option(float, "Method", "Weight of the style loss (beta)."),
    "palette_weight": Option(
        float, "Method", "Weight of the palette loss. Higher values match the painting's color distribution more closely."
    ),
    "tv_weight": Option(float, "Method", "Weight of total variation. Higher values are smoother."),
    "content_taps": Option(tuple[str, ...], "Method", "Layers of the content loss, separated by commas."),
    "style_taps": Option(tuple[str, ...], "Method", "Layers of the style loss, separated by commas."),
    "pooling": Option(Pooling, "Method", "Pooling of the encoder."),
    "padding": Option(Padding, "Method", "Padding of the encoder at the image's edge. zero may leave a border."),
    "seed": Option(int, "Method", "Seed of the noise."),
    "device": Option(Device, "Machine", "Device to compute on. auto prefers a GPU."),
    "precision": Option(
        Precision, "Machine", "Arithmetic of the encoder. auto uses bf16 if it is fast here; bf16 takes less memory everywhere."
    ),
    "max_memory": Option(
        str,
        "Machine",
        "Memory limit, such as 2GB or 800MB. Larger images are computed in blocks: the same result up to rounding, but slower. "
        "[default: the free memory]",
    ),
    "max_pixels": Option(int, "Image", "Refuse images of more pixels than this."),
}

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
            "iterations": 40,
            "content_taps": ("relu3_1",),
            "style_taps": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
            "content_weight": 1.0,
            "style_weight": 40.0,
            "palette_weight": 10.0,
            "tv_weight": 0.0,
            "pooling": "average",
            "padding": "replicate",
            "precision": "auto",
            "device": "auto",
            "seed": 0,
            "max_pixels": 200_000_000,
        },
    ),
    ({"quality": "instant"}, {"iterations": 1}),
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
# Options of the optimizer, which mean nothing where a network paints.
OF_THE_OPTIMIZER = (
    *("init", "init_size", "iterations", "content_weight", "style_weight", "palette_weight", "tv_weight"),
    *("content_taps", "style_taps", "pooling", "padding"),
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


def help_of(name: str) -> str:
    """The help of an option with its default, and with that of method gatys, with VGG-19 and with lite, where it differs."""
    if name not in _BASE:
        return OPTIONS[name].about
    shown, published, standin = (_shown(row[name]) for row in (_BASE, defaults("gatys", "vgg19"), defaults("gatys", "lite")))
    gatys = published if published == standin else f"{published}, or {standin} with lite"
    return f"{OPTIONS[name].about} [default: {shown if shown == gatys else f'{shown}; gatys: {gatys}'}]"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
