"""The front door: `stylize` for one picture, `Stylizer` for many, `Run` to follow one as it is painted."""

from __future__ import annotations

import difflib
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from impasto import blocks, colors, devices, encoders, pictures, regions, weights
from impasto.devices import Appetite, HistoryKind, Plan
from impasto.errors import MemoryLimitError, OptionError, PictureError, UnknownNameError
from impasto.graphs import Recorded
from impasto.history import Compact, History, put_down
from impasto.losses import (
    ContentLoss,
    PaletteLoss,
    StyleLoss,
    Term,
    VariationLoss,
    detail,
    halved,
    relative,
    relative_style_loss,
    style_loss,
    weighted,
)
from impasto.optimize import (
    Metric,
    Objective,
    Scale,
    Size,
    State,
    Step,
    coarse_to_fine,
    evaluate,
    longer_sides,
    pink,
    schedule,
)
from impasto.options import AUTO_ENCODER, Options
from impasto.pictures import Picture, Source
from impasto.regions import Layout as Indexed
from impasto.regions import guidance
from impasto.styles import Blend, Painted, Style, named, stored
from impasto.weights import VGGWeights

StyleLike: TypeAlias = Source | Style

KEEP = "keep"  # instead of a style: the photograph stays

FILE_OPTIONS = ("weights", "init", "content_mask", "style_mask")  # those that name a file
ALL = slice(None)
RECORDED = 1 << 21  # pixels: steps of larger pictures keep a GPU busy for longer than it takes to describe them
NOISE_DEVIATION = 0.1  # of the white noise around mid-grey that a run may start from
# Each method's measures at a tap: the papers' sums, or distances relative to the target (docs/method.md).
CONTENT_MEASURE = {"gatys": halved, "impasto": relative}
WEIGHED = ("impasto",)  # the methods that hold on to the photograph where its detail is
STYLE_MEASURE = {"gatys": style_loss, "impasto": relative_style_loss}


def stylize(content: Source, style: StyleLike | Sequence[StyleLike], **options: Any) -> Image.Image:
    """Repaint a photograph in the style of a painting.

    content, style: paths, PIL images, HxW, HxWx3 or HxWx4 arrays (uint8, uint16, or float in 0..1), or 3xHxW tensors in 0..1.
    style: or a list of several, blended. options: see `Options`. Returns an RGB image, or RGBA where the photograph has transparency.
    Raises ImpastoError for whatever the caller can mend.
    """
    return Stylizer(**options).run(content, style).finish()


class Stylizer:
    """An encoder that is loaded once, and options; makes any number of pictures."""

    def __init__(self, options: Options | None = None, **changes: Any) -> None:
        """options: all of them; changes: single ones on top. Raises OptionError, UnknownNameError and the errors of weights."""
        asked = (options or Options()).changed(**changes)
        found, self.notes = _find_weights(asked)
        self.options = asked.changed(encoder=found.network)
        self.device = devices.choose(self.options.device)
        taps = {*self.options.content_taps, *self.options.style_taps}
        encoder = encoders.build(found, taps, pooling=self.options.pooling, padding=self.options.padding)
        self.encoder = encoder.prepare(self.device, devices.encoder_dtype(self.options.precision, self.device))

    def run(self, content: Source, style: StyleLike | Sequence[StyleLike] = ()) -> Run:
        """Load and check the pictures; iterate over the Run to paint.

        style: a picture, a Style that this Stylizer made, or a list of such, which the option `blend` mixes; an empty list where the
        option `mask` names all styles. Raises PictureError for what cannot be used, OptionError for a Style that was made with other
        options and for options that do not fit the styles.
        """
        asked: list[StyleLike] = list(style) if isinstance(style, (list, tuple)) else [style]  # type: ignore[list-item]
        photo = pictures.load(content, max_pixels=self.options.max_pixels, role="photograph")
        return Run(self, photo, self._lay_out(photo, [self.style(one) for one in asked]))

    def style(self, source: StyleLike) -> Style:
        """A painting's targets, to use for several photographs; or those in a style file, or of one of the styles that have names.

        Raises PictureError and StyleFileError; UnknownNameError for what is nearly a name; OptionError for another Stylizer's Style.
        """
        if isinstance(source, Style):
            if source.encoder is not self.encoder:
                raise OptionError("a Style can only be used with the Stylizer that made it")
            return source
        file = named.style_file(source)
        if file is not None:
            return stored.load(file, self.encoder, self.options.style_taps)
        return self.painting(source)

    def painting(self, source: Source) -> Painted:
        """A painting's style, made from the picture itself. Raises PictureError."""
        picture = pictures.load(source, max_pixels=self.options.max_pixels, role="style picture")
        self.encoder.check_size(*picture.size, "style picture")
        return Painted(picture.pixels.to(self.device), self.encoder, self.options.style_taps, picture.notes)

    def _lay_out(self, photo: Picture, styles: list[Style]) -> Layout:
        """Which region gets which style, by the options on blends and masks."""
        options, known = self.options, list[Style]()
        if styles or options.blend:
            known.append(_blended(styles, options.blend))
        if not known and not options.mask:
            raise OptionError("a style is needed: a painting, or --mask MASK=STYLE")
        if options.content_mask and options.style_mask:
            if not known:
                raise OptionError("content_mask and style_mask need a painting")
            here, there = self._mask(options.content_mask, "content mask"), self._mask(options.style_mask, "style mask")
            painting = known[0].painting.shape[-2:] if isinstance(known[0], Painted) else there.size
            return Layout.of(regions.paired(here, there, photo.size, (painting[0], painting[1])), known)
        layers = list[tuple[Picture, int | None]]()
        base = 0 if known else None
        for file, _, style in (text.rpartition("=") for text in options.mask):
            layers.append((self._mask(file, "mask"), None if style == KEEP else len(known)))
            known += [] if style == KEEP else [self.style(style)]
        return Layout.of(regions.layered(layers, photo.size, base), known)

    def _mask(self, file: str | Path, role: str) -> Picture:
        return pictures.load(file, max_pixels=self.options.max_pixels, role=role)


def _blended(styles: Sequence[Style], blend: Sequence[float]) -> Style:
    """One style of several. blend: a number for each, of any sum; none for equal shares. Raises OptionError for another count."""
    if blend and len(blend) != len(styles):
        raise OptionError(f"blend must have one number for each of the {len(styles)} styles, not {len(blend)}")
    if len(styles) == 1:
        return styles[0]
    shares = blend or (1.0,) * len(styles)
    return Blend([(style, share / sum(shares)) for style, share in zip(styles, shares, strict=True) if share])


@dataclass(frozen=True)
class Region:
    """A region with its style itself, see `regions.Region`."""

    style: Style
    weight: Tensor | None
    share: float


@dataclass(frozen=True)
class Layout:
    """A layout with its styles, see `regions.Layout`."""

    regions: tuple[Region, ...]
    painted: Tensor | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, found: Indexed, styles: Sequence[Style]) -> Layout:
        """The layout with the styles that its indices name."""
        chosen = [(region, styles[region.style]) for region in found.regions]
        with_styles = (
            Region(style if region.part is None else style.masked(region.part), region.weight, region.share)
            for region, style in chosen
        )
        return cls(tuple(with_styles), found.painted, found.notes)

    def recoloured(self, change: Callable[[Tensor], Tensor]) -> Layout:
        """The same with other colors of every painting; see `Style.recoloured`."""
        return replace(self, regions=tuple(replace(one, style=one.style.recoloured(change)) for one in self.regions))


def _find_weights(options: Options) -> tuple[VGGWeights, tuple[str, ...]]:
    """The weights of the encoder asked for, and a word for the user when it is not the one the method wants."""
    network = None if options.encoder == "auto" else options.encoder
    if options.weights is not None:
        return weights.load(options.weights, network=network), ()
    wanted = network or AUTO_ENCODER[options.method]
    if network is None and not weights.find(wanted):
        word = (
            f"{wanted}'s weights are not on this machine, so lite stands in, which is not the published result; "
            f"`impasto weights fetch {wanted}` gets them"
        )
        return weights.load("lite"), (word,)
    return weights.load(wanted), ()


class Run:
    """One photograph on its way to being repainted: iterate for Steps, stop whenever you like, and take `image()`."""

    def __init__(self, stylizer: Stylizer, photo: Picture, layout: Layout) -> None:
        self.options = stylizer.options
        self.encoder = stylizer.encoder
        self.device = stylizer.device
        self.photo = photo
        self.pixels = photo.pixels.to(self.device)
        self.layout = self._coloured(layout)
        longer = max(photo.size) if self.options.size == "original" else int(self.options.size)
        self.size = pictures.fit(photo.size, longer)
        self._check_size()
        self._limit = self.options.memory_limit or devices.limit_of(self.device)
        self.scales = self._planned(self._scales(longer)) if self.options.strength else []
        self._check_memory()
        self.notes = (*stylizer.notes, *photo.notes, *layout.notes, *self._words_of_styles())
        self.start = self._start()
        self.last: Step | None = None
        self.state: State | None = None  # the engine's, after the last step

    def _coloured(self, layout: Layout) -> Layout:
        """The layout with the paintings' colours as keep_colors wants them; "luma" paints in grey (Gatys et al. 2017, section 5)."""
        if self.options.keep_colors == "match":
            return layout.recoloured(lambda painting: colors.match(painting, self.pixels))
        if self.options.keep_colors == "luma":
            coloured, self.pixels = self.pixels, colors.grey(self.pixels)
            return layout.recoloured(lambda painting: colors.match_luminance(painting, coloured))
        return layout

    def _words_of_styles(self) -> tuple[str, ...]:
        sides = [self._style_side(max(scale.size)) for scale in self.scales]
        words = (region.style.notes + (region.style.words_at(sides) if sides else ()) for region in self.layout.regions)
        return tuple(dict.fromkeys(word for some in words for word in some))

    def _style_side(self, longer: int) -> float:
        """The longer side of the painting for a picture whose own is `longer`."""
        return longer * self.options.style_scale

    def _check_size(self) -> None:
        """Raise PictureError if the photograph or the result is too small for the encoder, or the result too large."""
        limit = self.options.max_pixels
        if math.prod(self.size) > limit:
            raise PictureError(f"the result would have {self.size[1]}x{self.size[0]} pixels, more than --max-pixels {limit}")
        self.encoder.check_size(*self.photo.size, "photograph")
        self.encoder.check_size(*self.size, "photograph resized to the size asked for")

    def _check_memory(self) -> None:
        """Raise MemoryLimitError if even the smallest blocks take more than the option max_memory."""
        asked = self.options.memory_limit
        if not (asked and self.scales):
            return
        in_either = (self.appetite, self._appetite(torch.bfloat16))
        needed, halved = (devices.plan(self.size, appetite, asked).peak for appetite in in_either)
        if needed > asked:
            way = f"; --precision bf16 needs {halved / 1e9:.2f}" if halved <= asked else ""
            raise MemoryLimitError(
                f"{self._work} need {needed / 1e9:.2f} GB in blocks, more than --max-memory {self.options.max_memory}{way}"
            )

    def plan(self, size: Size) -> Plan:
        """How a picture of (height, width) is computed here: at once or in blocks, and where L-BFGS keeps its history."""
        return devices.plan(size, self.appetite, self._limit)

    def _planned(self, scales: Sequence[Scale]) -> list[Scale]:
        """Scales with what a step of theirs takes as it is computed here, by which progress is told."""
        return [replace(scale, work=self.plan(scale.size).work) for scale in scales]

    @cached_property
    def appetite(self) -> Appetite:
        """What computing takes with this encoder and these regions."""
        return self._appetite(self.encoder.dtype)

    def _appetite(self, dtype: torch.dtype) -> Appetite:
        """The same with the encoder in some dtype."""
        return Appetite(
            tuple(_taken(one, self.encoder) for one in blocks.stretches(self.encoder)),
            widest=self.encoder.widest,
            content=self.encoder.density(self.options.content_taps),
            bytes_each=dtype.itemsize,
            stood_in=devices.stood_in(dtype, self.device),
            regions=sum(region.weight is not None for region in self.layout.regions),
        )

    def __iter__(self) -> Iterator[Step]:
        """Paint, yielding every step; again, from where it was left. After DivergenceError or MemoryLimitError `image()` still gives
        the last good picture.
        """
        steps = coarse_to_fine(
            self.start,
            self.scales,
            self._objective,
            pictures.enlarge,
            metric_at=self.metric,
            history_at=lambda size: self.history(self.plan(size).history),
            state=self.state,
            keep=self._keep,
        )
        device, dtype = self.device, self.encoder.dtype
        with devices.clear_memory_errors(self._work), devices.repeatable(device, dtype), devices.memory_kept():
            for self.last in steps:
                yield self.last

    def _keep(self, state: State) -> None:
        self.state = state

    @property
    def limit(self) -> int:
        """Bytes of memory that it is planned to make do with."""
        return self._limit

    def go_on(self, state: State, limit: int | None = None) -> None:
        """Start from the state of an earlier Run of the same pictures and options, which ends as that one would have.

        On the same machine with as many threads, to the last bit, unless the state is one without L-BFGS's memory. limit: the earlier
        one's, since what is computed in blocks differs in its last bits.
        """
        self._limit = limit or self._limit
        self.scales = self._planned(self.scales)
        self.state = state
        self.last = state.at(self.scales)

    def finish(self) -> Image.Image:
        """Paint to the end and return the picture."""
        for _ in self:
            pass
        return self.image()

    def image(self) -> Image.Image:
        """The best picture so far at its final size, under the photograph's transparency. Before the first step: the start.

        What no style covers is the photograph at that size, to the last bit; so is everything at strength 0.
        """
        alpha = self.photo.alpha
        with devices.clear_memory_errors(self._work):
            full = self._finished()
            return pictures.to_image(full, alpha if alpha is None else pictures.resize(alpha, self.size))

    def _finished(self) -> Tensor:
        """The picture at its final size on the CPU, 1x3xHxW, with the photograph's colours and unpainted parts where asked."""
        photo = pictures.resize(self.photo.pixels, self.size)
        if not self.options.strength:
            return photo
        pixels = self.last.picture if self.last else self.start
        full = pictures.resize(pixels.clamp(0, 1).cpu(), self.size)
        if self.options.keep_colors == "luma":
            full = colors.with_luminance(photo, full)
        painted = self.layout.painted
        return full if painted is None else torch.lerp(photo, full, guidance(painted, self.size))

    def settings(self) -> dict[str, object]:
        """What was asked for and settled on, for storing inside the picture; values that JSON can hold, files by name only."""
        settings = self.options.model_dump(mode="json", exclude={"max_pixels", "max_memory"})
        names = {name: Path(settings[name]).name for name in FILE_OPTIONS if settings[name]}
        masks = ["=".join(Path(file).name for file in text.rpartition("=")[::2]) for text in settings["mask"]]
        return settings | names | {"mask": masks}

    @property
    def _work(self) -> str:
        return f"{self.size[1]}x{self.size[0]} pixels with encoder {self.options.encoder}"

    def _scales(self, longer: int) -> list[Scale]:
        if self.options.method == "gatys":
            return schedule([self.size], self.options.iterations)
        sizes = [pictures.fit(self.photo.size, side) for side in longer_sides(longer)]
        large_enough = [size for size in sizes if min(size) >= self.encoder.minimum_side]
        return schedule(large_enough, self.options.iterations)

    def _start(self) -> Tensor:
        """What the first scale starts from, 1x3xHxW at that scale's size."""
        size, init = self.scales[0].size if self.scales else self.size, self.options.init
        if init == "content":
            return pictures.resize(self.pixels, size)
        if init == "noise":
            generator = torch.Generator().manual_seed(self.options.seed)  # on the CPU: the same noise for every device
            return (0.5 + NOISE_DEVIATION * torch.randn(1, 3, *size, generator=generator)).to(self.device)
        return pictures.resize(self._init_picture(Path(init)).to(self.device), size)

    def _init_picture(self, file: Path) -> Tensor:
        try:
            return pictures.load(file, max_pixels=self.options.max_pixels, role="picture to start from (--init)").pixels
        except PictureError:
            if difflib.get_close_matches(str(file), ("content", "noise"), n=1):
                raise UnknownNameError("start (--init)", str(file), ("content", "noise")) from None
            raise

    def metric(self, size: Size) -> Metric | None:
        """What the optimiser starts from; the published method's starts from the identity."""
        return None if self.options.method == "gatys" else pink(size, self.device)

    def history(self, kind: HistoryKind) -> History:
        """Where L-BFGS keeps its pairs."""
        return History() if kind == "memory" else Compact(self._folder(kind))

    @staticmethod
    def _folder(kind: HistoryKind) -> Path | None:
        """Where to keep in files what memory has no room for; None where it has."""
        return Path(tempfile.gettempdir()) if kind == "disk" else None

    def _objective(self, size: Size) -> Objective:
        return blocks.Sturdy(lambda side: self.way(size, side), max(size), self.plan(size).side)

    def way(self, size: Size, side: int | None) -> blocks.Way:
        """How to the losses and the gradient of a picture of (height, width): in blocks of `side` pixels, or with None at once."""
        if side is not None:
            devices.keep_blocks_apart(size, side, self.appetite)
        photo = self._look_at_photo(size, side)
        terms = [*self._content_terms(photo), *self._style_terms(size, side)]
        if self.options.tv_weight:
            terms.append(Term("variation", self.options.tv_weight, VariationLoss()))
        show = self._shower(size)
        if side is not None:
            return self._in_blocks(size, side, photo, terms, show)

        def objective(picture: Tensor) -> dict[str, Tensor]:
            shown = show(picture)
            return weighted(terms, shown, self.encoder(shown))

        if self._repeats(size):
            return Recorded(objective).evaluate
        return lambda picture: evaluate(objective, picture)

    def _in_blocks(
        self, size: Size, side: int, photo: Mapping[str, Tensor], terms: Sequence[Term], show: blocks.Show
    ) -> blocks.Way:
        """`way` in blocks, within the limit. photo: its features at the content's taps, which may be in files."""
        devices.keep_blocks_apart(size, side, self.appetite)  # again, and with that what targets took is given back
        block, step = devices.largest_block(size, side, self.appetite), devices.moving(size)

        def rest() -> None:
            for features in photo.values():
                put_down(features)
            self._leave_room_for(block)

        in_blocks = blocks.Blockwise(self.encoder, terms, side, show, rest)

        def way(picture: Tensor) -> tuple[dict[str, float], Tensor]:
            found = in_blocks.evaluate(picture)
            self._leave_room_for(step)
            return found

        return way

    def _leave_room_for(self, need: int) -> None:
        """Give back what is kept of blocks, between which many leave gaps, if `need` bytes more would be beyond the limit."""
        if self.device.type == "cpu":
            devices.give_back_above(self._limit - devices.SPARE - need)

    def _repeats(self, size: Size) -> bool:
        """Whether a step is better recorded than told anew: on CUDA, for small pictures, without masks, which are looked into."""
        masked = self.layout.painted is not None or any(region.weight is not None for region in self.layout.regions)
        return self.device.type == "cuda" and math.prod(size) <= RECORDED and not masked

    def _shower(self, size: Size) -> blocks.Show:
        """What the encoder is shown of a picture: the photograph where nothing is painted, so that nothing there can change."""
        if self.layout.painted is None:
            return blocks.as_it_is
        painted = guidance(self.layout.painted, size).to(self.device)
        photo = pictures.resize(self.pixels, size)
        return lambda picture, rows=ALL, columns=ALL: torch.lerp(
            photo[..., rows, columns], picture, painted[..., rows, columns]
        )

    @torch.no_grad()
    def _look_at_photo(self, size: Size, side: int | None) -> dict[str, Tensor]:
        """The photograph's features at the content's taps; in files where L-BFGS's history is."""
        photo, taps = pictures.resize(self.pixels, size), self.options.content_taps
        if side is None:
            features: dict[str, Tensor] = self.encoder.only(taps)(photo)
            return features
        return blocks.features_of(self.encoder, photo, taps, side, self._folder(self.plan(size).history))

    @torch.no_grad()
    def _content_terms(self, photo: Mapping[str, Tensor]) -> Iterator[Term]:
        """photo: its features at the content's taps."""
        measure, weighed = CONTENT_MEASURE[self.options.method], self.options.method in WEIGHED
        weight = self._dialled(content=True) * self.options.content_weight / len(photo)
        for tap, P in photo.items():
            yield Term("content", weight, ContentLoss(tap, P, measure, detail(P) if weighed else None))
            put_down(P)

    def _style_terms(self, size: Size, side: int | None = None) -> list[Term]:
        for region in self.layout.regions:
            region.style.look_in_blocks(side)
        return [term for region in self.layout.regions for term in self._terms_of(region, size)]

    def _terms_of(self, region: Region, size: Size) -> Iterator[Term]:
        """The style and palette terms of one region: it weighs as much as its share of the picture, like its share of the content."""
        scale = self.options.style_scale
        # the published method squeezes the painting to the photograph's size, ours keeps its proportions
        squeeze = self.options.method == "gatys"
        square = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        targets = region.style.squeezed(square) if squeeze else region.style.targets(self._style_side(max(size)))
        measure = STYLE_MEASURE[self.options.method]
        weight = self._dialled(content=False) * region.share
        for tap, A in targets.items():
            T = None if region.weight is None else guidance(region.weight, self.encoder.size_at(tap, size)).to(self.device)
            yield Term("style", weight * self.options.style_weight / len(targets), StyleLoss(tap, A, measure, T))
        if self.options.palette_weight:
            T = None if region.weight is None else region.weight.to(self.device)
            yield Term("palette", weight * self.options.palette_weight, PaletteLoss(region.style.quantiles(), T))

    def _dialled(self, *, content: bool) -> float:
        """What strength makes of a weight: 4 (1 - t)^2 for the content, 4 t^2 for the style, both 1 at strength 0.5.

        t is 0.8 at strength 1, where style counts 16 times what it does at 0.5: with more, no picture comes nearer to the painting.
        """
        t = self.options.strength * (1.2 - 0.4 * self.options.strength)
        return 4 * ((1 - t) if content else t) ** 2


def _taken(stretch: blocks.Stretch, whole: encoders.Encoder) -> devices.Demand:
    """What a part of an encoder takes."""
    encoder = stretch.encoder
    return devices.Demand(
        trunk=encoder.values("conv"),
        heads=encoder.values("head"),
        margin=max(map(encoder.reach, encoder.taps)),
        wider=stretch.wider,
        # layers of many values and few filters take as long for their memory as others for their products
        share=(encoder.arithmetic / whole.arithmetic + encoder.computed / whole.computed) / 2,
        handed=whole.density([stretch.handed]) if stretch.handed else 0.0,
    )
