"""The instant painter as one plain module, all of it, for runtimes other than torch.

`Portable` paints like `painter.Instant`. It consists of operations that ONNX has: convolutions, matrix products, comparisons, lookups
by index, and resizing. Its sizes follow from those of the photograph, so that one exported graph paints photographs of any size.

A style enters as its *code*, one vector of float32 with no limits on its values (`style_code`):

- the palette, 7x256: the painting's colors along seven directions, sorted (`palette.quantiles`), 0..1 along red, green and blue;
- then for every level, from coarse to fine:
    - the network's modulation, MODULATION values: a scale and a shift for every channel, and the shares of mixed filters;
    - for each of the taps SEEN the style's moments at half the level's size: the mean, K, and the covariance, KxK, row by row.

How it differs from the product: the sides of a level are those of the photograph divided by a power of 2, halves up. The product
divides the longer side, halves down, and then takes the nearest shorter one. Both are the same if the longer side is divisible by that
power of 2. There are no blocks, masks and blends of the photograph's own colors.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from impasto import dials, encoders, palette, terms, weights
from impasto.colors import LUMA
from impasto.compute import settings
from impasto.encoders.lite import HEADS, POOL
from impasto.errors import OptionError, WeightsFileError
from impasto.fast import net as nets
from impasto.fast import searched
from impasto.fast.looks import look_of, tuning_of
from impasto.fast.moments import Moments, guarded, mapping, moments
from impasto.fast.net import MODULATED, MULTIPLE, Filters
from impasto.fast.searched import Flow
from impasto.fast.stored import Stored, load
from impasto.ladder import SMALLEST, level_sizes
from impasto.options import Options
from impasto.portable.network import KEPT, SEEN, TAPS
from impasto.styles import Style
from impasto.weights.networks import LITE_HEADS

# Layers with few weights that "int8" keeps in 16 bits too. The mean difference to float32 is then 0.001; with all filters, 0.01.
KEPT_EXACT = ("rise", "half", "fine", "out")
Unpacked = Mapping[str, Tensor]  # filters by name
Precision = Literal["fp32", "fp16", "int8"]

MODULATION = sum(map(sum, MODULATED))
PALETTE = len(palette.DIRECTIONS) * palette.QUANTILES
PARTS = [MODULATION, *(count for tap in SEEN for count in (KEPT[tap], KEPT[tap] ** 2))]  # of a level's part of a code
LEVEL = sum(PARTS)


def code_length(levels: int) -> int:
    """How many values a style code has."""
    return PALETTE + levels * LEVEL


def level_count(size: int) -> int:
    """How many levels there are for a longer side of `size` pixels: three for 512."""
    return len(level_sizes((size, size)))


@settings.default_settings()
@torch.no_grad()
def style_code(style: Style, size: int = 512, strength: float = 0.5, stored: Stored | None = None) -> Tensor:
    """A style as the exported network takes it: `code_length` values, float32.

    style: from `Stylizer.style`, with quality "instant". size: longer side of the photographs, in pixels, that the network is exported
    for; strength: that of the export, above 0 to 1. stored: the network; None for the one that ships with impasto.
    Raises OptionError for a strength that the network cannot have, and WeightsFileError for a damaged network.
    """
    stored = stored or load()
    _check(strength)
    quantiles, net = style.quantiles().cpu().float(), stored.on(torch.device("cpu"))
    tuning, parts = tuning_of(stored.digest, style), [quantiles.flatten()]
    looked = partial(look_of, net, stored.digest, style)
    for height, width in level_sizes((size, size)):
        longer = max(height, width)
        modulation = net.modulation(nets.code(looked(longer), quantiles, longer, dials.for_network(strength)))
        look = looked(max(longer / 2, SMALLEST))
        parts += [modulation if tuning is None else modulation + tuning]
        parts += [value.flatten() for tap in SEEN for value in look[tap]]
    return torch.cat(parts)


def _check(strength: float) -> None:
    if not 0 < strength <= 1:
        raise OptionError(f"must be above 0 and at most 1 to export, not {strength:g}", option="strength")


class Packed(nn.Module):
    """A filter as the file keeps it. Calling it unpacks it to float32, which runtimes do once, when they load the file.

    The weights that ship with impasto are float16, so nothing is lost. bits: 16, or 8 for integers with a factor for each output.
    """

    def __init__(self, weight: Tensor, bits: int = 16) -> None:
        super().__init__()
        self.values: Tensor
        self.scale: Tensor | None
        scale = weight.float().abs().amax((-3, -2, -1), keepdim=True).clamp_min(1e-12) / 127 if bits == 8 else None
        self.register_buffer("values", weight.half() if scale is None else (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self) -> Tensor:
        """The filter in float32."""
        values = self.values.float()
        return values if self.scale is None else values * self.scale


class Portable(nn.Module):
    """The instant painter for any photograph and style.

    levels: see `level_count`. strength: above 0 to 1. precision: "fp16" computes convolutions in float16. "int8" keeps most of the
    network's own filters in 8 bits; lite's stay in 16, since moments enlarge their errors. Colors and moments are always computed in
    float32. stored: the network; None for the one that ships with impasto.
    Raises OptionError for a strength out of range, and WeightsFileError for a damaged network.
    """

    @settings.default_settings()
    def __init__(self, levels: int, strength: float = 0.5, precision: Precision = "fp32", stored: Stored | None = None) -> None:
        super().__init__()
        _check(strength)
        stored = stored or load()
        found = weights.load("lite")
        lite = encoders.Lite(found.tensors, TAPS)
        if found.digest != stored.card.encoder:
            raise WeightsFileError("the network of quality 'instant' was trained with another lite")
        self.levels, self.strength = levels, strength
        options = Options(quality="instant", strength=strength)
        self.register_buffer(
            "share", torch.tensor(terms.recolored_share(options, terms.METHODS[options.method])), persistent=False
        )
        self.register_buffer("fade", torch.tensor(dials.shown(strength)), persistent=False)
        self.share: Tensor
        self.fade: Tensor
        self.dtype = torch.float16 if precision == "fp16" else torch.float32
        self.operations = lite.operations
        self.lite, self.shifts = nn.ModuleDict(), nn.ParameterDict()
        for name, value in lite.filters.items():
            if name.endswith("weight"):
                self.lite[name] = Packed(value.data)
            else:
                self.shifts[name] = nn.Parameter(value.data, requires_grad=False)
        net = stored.on(torch.device("cpu"))
        fewer = {name for name in net.weights if precision == "int8" and not name.startswith(KEPT_EXACT)}
        self.own = nn.ModuleDict({name: Packed(value.data, 8 if name in fewer else 16) for name, value in net.weights.items()})
        for tap in TAPS:
            center, directions = net.basis.of(tap)
            self.lite[f"basis_{tap}"] = Packed(directions)
            self.shifts[f"basis_{tap}"] = nn.Parameter(-(center @ directions), requires_grad=False)
        self.net = copy.deepcopy(net)  # for its way of painting and its noise
        self.net.noise = net.noise.half()
        self.register_buffer("directions", palette.directions_on(torch.float32, torch.device("cpu")), persistent=False)
        self.directions: Tensor

    @property
    def code_length(self) -> int:
        """How many values a style code has."""
        return code_length(self.levels)

    def forward(self, photo: Tensor, style: Tensor) -> Tensor:
        """Paint. photo: 1x3xHxW, RGB in 0..1, sides of 64 pixels at least; style: its code. Returns 1x3xHxW in 0..1."""
        found: Tensor = painted(self, photo, style)
        return found

    # ---------------------------------------------------------------------- parts, in the order in which `painted` calls them

    def split(self, style: Tensor) -> tuple[Tensor, ...]:
        """The palette, 7xQUANTILES, and each level's part of a code, LEVEL."""
        Q, *levels = torch.split_with_sizes(style, [PALETTE, *(LEVEL for _ in range(self.levels))])
        return Q.view(len(palette.DIRECTIONS), -1), *levels

    def reduced(self, photo: Tensor) -> tuple[Tensor, ...]:
        """The photograph at every level, 1x3xhxw, and then the parts of the `Flow` of its colors."""
        photo = photo.clamp(0, 1)
        photos = [reduced(photo, 2**level) for level in reversed(range(self.levels))]
        return *photos, *searched.first_flow(photos[-1:])

    def stepped(self, Q: Tensor, *flow: Tensor) -> Tensor:
        """The colors of a flow after a step."""
        return searched.stepped(Flow(*flow), Q)

    def tables(self, colors: Tensor) -> tuple[Tensor, ...]:
        """See `searched.tables`."""
        return searched.tables(colors)

    def colored(self, image: Tensor, table: Tensor, share: Tensor) -> Tensor:
        """A level's photograph in the painting's colors. table: from `tables`; share: how far, see `terms.recolored_share`."""
        return torch.lerp(image, searched.looked_up(table, image), share)

    def start(self, below: Tensor, colored: Tensor, smaller: Tensor) -> Tensor:
        """See `net.start`."""
        return nets.start(below, colored, smaller)

    def padded(self, image: Tensor) -> Tensor:
        """With replicated rows and columns, to sides that are multiples of MULTIPLE. image: 1x3xHxW."""
        for axis in (2, 3):
            length = image.shape[axis]
            wide = (length + MULTIPLE - 1) // MULTIPLE * MULTIPLE
            image = image.index_select(axis, torch.arange(wide, device=image.device).clamp_max(length - 1))
        return image

    def paint(self, photo: Tensor, start: Tensor, style: Tensor) -> Tensor:
        """A level painted by the network, see `Instant._paint`. photo, start: `padded`; style: the level's part of the code."""
        return self.paint_in(photo, start, *torch.split_with_sizes(style, PARTS))

    def paint_in(self, photo: Tensor, start: Tensor, modulation: Tensor, *look: Tensor) -> Tensor:
        """The same with the parts of the level's part. look: mean, K, and covariance, KxK in any shape, of each of the taps SEEN."""
        own = nets.folded({name: one() for name, one in self.own.items()}, modulation)
        if self.dtype != torch.float32:
            own = {name: Filters(weight.to(self.dtype), bias.to(self.dtype)) for name, (weight, bias) in own.items()}
        z = self.projected(functional.avg_pool2d(start, 2), SEEN)
        moves = _moves({tap: moments(one) for tap, one in z.items()}, _look(look))
        return self.net.paint(photo, start, nets.moved(z, moves), own)

    def cropped(self, wide: Tensor, colored: Tensor, fade: Tensor) -> Tensor:
        """A level's result from what `paint` returns: of the size of the photograph, which shows by 1 - fade."""
        for axis in (2, 3):
            wide = wide.index_select(axis, torch.arange(colored.shape[axis], device=wide.device))
        return torch.lerp(colored, wide.clamp(0, 1), fade)

    def finished(self, image: Tensor, Q: Tensor, share: Tensor) -> Tensor:
        """In grays if the painting has no colors, see `Problem.finished`."""
        along = self.directions.sum(1, keepdim=True)
        gray = ((Q - along * Q[:3].mean(0)).abs().amax((0, 1)) < palette.GRAY).float()
        luma = (image * image.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        return image + (luma - image) * (gray * share)

    # ------------------------------------------------------------------------------------------------------ lite's features

    def projected(self, image: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """The kept directions of lite's features, {tap: BxKxhxw}: `Lite.compute` and `Basis.project` without gradients."""
        lite = {name: one().to(self.dtype) for name, one in self.lite.items()}
        x = pixels = image.to(self.dtype)
        outputs, found = list[Tensor](), dict[str, Tensor]()
        for operation in self.operations:
            if len(found) == len(taps):
                break
            if operation.startswith(POOL):
                x, outputs = functional.max_pool2d(x, 2), []
                continue
            x = self._convolved(x, f"conv{operation.removeprefix('trunk')}", lite)
            outputs.append(x)
            if operation in HEADS:
                block = HEADS[operation]
                F = self._convolved(torch.cat(outputs, 1) if LITE_HEADS[block - 1] else pixels, f"head{block}_1", lite)
                tap = f"relu{block}_1"
                name = f"basis_{tap}"
                found[tap] = functional.conv2d(F, lite[name].T[:, :, None, None], self.shifts[name].to(self.dtype))
        return found

    def _convolved(self, x: Tensor, name: str, lite: Unpacked) -> Tensor:
        """A rectified convolution of lite, with replicate padding."""
        weight = lite[f"{name}_weight"]
        if weight.shape[-1] == 3:
            x = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return functional.relu(functional.conv2d(x, weight, self.shifts[f"{name}_bias"].to(self.dtype)))


def painted(painter: Any, photo: Any, style: Any) -> Any:
    """How a `Portable` paints with its parts. Called with the names of values, it builds the graph of an ONNX file."""
    Q, *levels = painter.split(style)
    found = painter.reduced(photo)
    photos, colors, known = found[: len(levels)], found[len(levels)], found[len(levels) + 1 :]
    for _ in range(palette.STEPS):
        colors = painter.stepped(Q, colors, *known)
    (table,) = painter.tables(colors)
    photos = [painter.colored(image, table, painter.share) for image in photos]
    result = None
    for level, (colored, own) in enumerate(zip(photos, levels, strict=True)):
        start = painter.start(result, colored, photos[level - 1]) if level else colored
        result = painter.cropped(painter.paint(painter.padded(colored), painter.padded(start), own), colored, painter.fade)
    return painter.finished(result, Q, painter.share)


def _moves(photo: Mapping[str, Moments], style: Mapping[str, Moments]) -> dict[str, tuple[Tensor, Tensor]]:
    """`net.moves`, with the matrices of all taps side by side: rows and columns of zeros change no product."""
    most = max(KEPT[tap] for tap in SEEN)
    pairs = [guarded(photo[tap], style[tap]) for tap in SEEN]
    wide = [
        [functional.pad(C, (0, most - C.shape[1], 0, most - C.shape[1])) for C in matrices]
        for matrices in zip(*pairs, strict=True)
    ]
    A = mapping(*(torch.cat(matrices) for matrices in wide))
    parts = {tap: A[None, row, : KEPT[tap], : KEPT[tap]] for row, tap in enumerate(SEEN)}
    return {tap: (one, style[tap].mean[..., None] - one @ photo[tap].mean[..., None]) for tap, one in parts.items()}


def _look(parts: Sequence[Tensor]) -> dict[str, Moments]:
    """The moments in a level's part of a code, by tap. parts: K and K^2 values for each."""
    pairs = zip(SEEN, parts[::2], parts[1::2], strict=True)
    return {tap: Moments(mean[None], covariance.view(1, KEPT[tap], KEPT[tap])) for tap, mean, covariance in pairs}


# ------------------------------------------------------------------------------------------------------------- sizes


def reduced(image: Tensor, factor: int) -> Tensor:
    """The image at 1/factor of its size, as `pictures.resize` makes it. image: 1x3xHxW, 0..1."""
    if factor == 1:
        return image
    height, width = image.shape[-2:]
    size = ((height + factor // 2) // factor, (width + factor // 2) // factor)
    return functional.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
