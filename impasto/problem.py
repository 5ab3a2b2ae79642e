"""What is to be painted: from images, styles and options to a start, an objective at every size, and the finished image.

Nothing here decides about memory: `run` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from impasto import colors, extent, pictures, terms
from impasto.compute.memory import MemoryModel, Plan
from impasto.encoders import Encoder
from impasto.ladder import FROM_INSTANT, SCALES, Scale, Size, longer_sides, schedule
from impasto.lbfgs import Metric
from impasto.losses import Term, VariationLoss
from impasto.objective import blocks
from impasto.objective.cost import memory_model
from impasto.objective.evaluate import Evaluate, at_once
from impasto.objective.levels import LevelsInBlocks, losses_of
from impasto.objective.recorded import Recorded
from impasto.options import Options
from impasto.pictures import Picture
from impasto.regions import Layout, guidance
from impasto.styles import Style
from impasto.terms import METHODS

ALL = slice(None)
RECORDED = 1 << 21  # pixels: larger images keep a GPU busy for longer than their layers take to launch
NOISE_DEVIATION = 0.1  # of the white noise around mid-gray that a run may start from


class Problem:
    """One photograph to be repainted.

    photo: with the pixels and the transparency of the result. styles: those that the layout's regions refer to by number; start: the
    image to start from, None for what the option `init` says. Raises PictureError for a photograph, or a result, that is too small for
    the encoder or too large, OptionError for a style that the options cannot be used with.
    """

    def __init__(
        self,
        options: Options,
        encoder: Encoder,
        photo: Picture,
        styles: Sequence[Style],
        layout: Layout,
        start: Picture | None = None,
    ) -> None:
        encoder.check_size(*photo.size, "photograph")
        options, remarks = extent.sized(options, photo.size, encoder.minimum_side)
        photo = replace(photo, notes=(*photo.notes, *remarks))
        self.options, self.encoder, self.photo, self.layout = options, encoder, photo, layout
        self.method = METHODS[options.method]
        self.device = next(encoder.parameters()).device
        self.size = extent.result_size(options, photo.size, encoder.minimum_side, encoder.name)
        pixels = photo.pixels.to(self.device)
        # luma paints in gray, at the photograph's brightness (Gatys et al. 2017, section 5)
        self.pixels = colors.gray(pixels) if options.keep_colors == "luma" else pixels
        recolored = [self._recolored(style, pixels) for style in styles]
        parts = [(region, recolored[region.style]) for region in layout.regions]
        self.regions = [(region, style if region.part is None else style.part(region.part)) for region, style in parts]
        self.scales = self._scales() if options.strength else []
        self.start_image = None if start is None else start.pixels.to(self.device)
        self._prepared = dict[Size, tuple[Tensor, Tensor]]()  # of the start, until the objective of its size is made

    def _recolored(self, style: Style, photo: Tensor) -> Style:
        """A style with the colors that the option keep_colors asks for."""
        if self.options.keep_colors == "match":
            return style.recolored(lambda painting: colors.match(painting, photo))
        if self.options.keep_colors == "luma":
            return style.recolored(lambda painting: colors.match_luminance(painting, photo))
        return style

    def _scales(self) -> list[Scale]:
        if self.method.one_scale:
            return schedule([self.size], self.options.iterations)
        most = FROM_INSTANT if self.options.init == "instant" else SCALES
        sizes = [pictures.fit(self.photo.size, side) for side in longer_sides(max(self.size), self.options.init_size, most)]
        return schedule([size for size in sizes if min(size) >= self.encoder.minimum_side], self.options.iterations)

    @property
    def name(self) -> str:
        """What it is, for messages about memory."""
        return f"{self.size[1]}x{self.size[0]} pixels with encoder {self.encoder.name}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about the images and styles."""
        sides = [max(scale.size) * self.options.style_scale for scale in self.scales]
        squeeze = self.method.squeeze
        of_styles = (style.notes + (style.notes_at(sides, squeeze=squeeze) if sides else ()) for _, style in self.regions)
        return (*self.photo.notes, *self.layout.notes, *dict.fromkeys(note for notes in of_styles for note in notes))

    def start(self, size: Size) -> Tensor:
        """What a scale of (height, width) starts from, 1x3xHxW."""
        if self.start_image is not None:
            return pictures.resize(self.start_image, size)
        if self.options.init != "noise":  # `run` gives the network's result
            self._prepared = {size: self._photo_and_target(size)}  # which the objective at this size needs next
            return self._prepared[size][1]
        generator = torch.Generator().manual_seed(self.options.seed)  # on the CPU: the same noise for every device
        return (0.5 + NOISE_DEVIATION * torch.randn(1, 3, *size, generator=generator)).to(self.device)

    def metric(self, size: Size) -> Metric | None:
        """What L-BFGS starts from at a size; None for the identity."""
        return None if self.method.metric is None else self.method.metric(size, self.device)

    def objective(self, size: Size, plan: Plan, extra: Sequence[Term] = (), folder: Path | None = None) -> Evaluate:
        """The losses and their gradient for images of (height, width), computed as the plan says.

        extra: further terms. folder: keep the photograph's features in files there when computing in blocks.
        """
        pixels, target = self._prepared.pop(size) if size in self._prepared else self._photo_and_target(size)
        photo = terms.photo_features(self.encoder, target, self.options.content_taps, plan.side, folder)
        whole = [
            *terms.content_terms(self.options, self.method, photo, target),
            *terms.palette_terms(self.options, self.regions),
            *extra,
        ]
        if self.options.tv_weight:
            whole.append(Term("variation", self.options.tv_weight, VariationLoss()))
        levels = terms.in_levels(self.options, self.method, self.regions, size, whole, plan.side)
        composite = _composite(pixels, self.layout.painted)
        if plan.side is not None:
            return LevelsInBlocks(self.encoder, levels, plan.side, composite, lambda: terms.drop_pages(photo))
        losses = losses_of(levels, self.encoder, composite)
        return Recorded(losses) if self._records(size) else at_once(losses)

    def _photo_and_target(self, size: Size) -> tuple[Tensor, Tensor]:
        """The photograph at (height, width), and the image whose features are kept."""
        photo = pictures.resize(self.pixels, size)
        return photo, terms.target(self.options, self.method, photo, self.regions)

    def _records(self, size: Size) -> bool:
        """Whether a step is recorded as a CUDA graph: for small images without masks, whose values are read during a step."""
        masked = self.layout.painted is not None or any(region.weight is not None for region in self.layout.regions)
        return self.device.type == "cuda" and math.prod(size) <= RECORDED and not masked

    def memory(self, dtype: torch.dtype | None = None) -> MemoryModel:
        """What computing takes with this encoder and these regions. dtype: of another encoder's values."""
        masked = sum(region.weight is not None for region in self.layout.regions)
        factors = (factor for factor, _ in self.method.levels)
        return memory_model(self.encoder, self.options.content_taps, dtype or self.encoder.dtype, self.device, masked, factors)

    def alpha(self) -> Tensor | None:
        """The photograph's transparency at the final size."""
        alpha = self.photo.alpha
        return alpha if alpha is None else pictures.resize(alpha, self.size)

    def finished(self, pixels: Tensor) -> Tensor:
        """Pixels at the final size on the CPU, 1x3xHxW, with the photograph's colors and unpainted parts where asked.

        What no style covers is the photograph at that size, to the last bit; so is everything at strength 0.
        """
        photo = pictures.resize(self.photo.pixels, self.size)
        if not self.options.strength:
            return photo
        full = pictures.resize(pixels.clamp(0, 1).cpu(), self.size)
        full = terms.in_gray(self.options, self.method, full, self.photo.pixels, self.regions)
        if self.options.keep_colors == "luma":
            full = colors.with_luminance(photo, full)
        painted = self.layout.painted
        return full if painted is None else torch.lerp(photo, full, guidance(painted, self.size))


def _composite(photo: Tensor, painted: Tensor | None) -> blocks.Composite:
    """What the encoder sees of an image: the photograph where nothing is painted, so that nothing changes there.

    photo: 1x3xHxW, at the image's size; painted: 1x1xhxw of any size, 0..1, or None for 1 everywhere.
    """
    if painted is None:
        return blocks.unchanged
    share = guidance(painted, (photo.shape[-2], photo.shape[-1])).to(photo.device)

    def composite(image: Tensor, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        return torch.lerp(photo[..., rows, columns], image, share[..., rows, columns])

    return composite
