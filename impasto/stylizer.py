"""`Stylizer`: an encoder loaded once, for any number of images."""

from __future__ import annotations

import copy
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from impasto import encoders, fast, inputs, regions, weights
from impasto.catalog import AUTO_ENCODER
from impasto.compute import device as devices
from impasto.compute import settings
from impasto.errors import OptionError
from impasto.inputs import Inputs, StyleFile, StyleSource
from impasto.options import Options
from impasto.pictures import Picture, Source
from impasto.problem import Problem
from impasto.run import Run
from impasto.session import Session
from impasto.styles import Painted, Style, blended, load
from impasto.weights import Weights

# Options that an encoder is built for.
FIXED = ("encoder", "method", "content_taps", "style_taps", "pooling", "padding", "device", "precision")


class Stylizer:
    """An encoder, loaded once, and options; makes any number of images.

    notes: for the user, from choosing the encoder.
    """

    @settings.default_settings()
    def __init__(
        self,
        options: Options | None = None,
        *,
        weights: str | os.PathLike[str] | None = None,
        remember: int = 0,
        **changes: Any,
    ) -> None:
        """options: all of them; changes: single ones on top; weights: a weights file for the encoder.

        remember: how many styles are kept, so that a file that comes again is not analyzed again. Raises OptionError,
        UnknownNameError and the errors of weights.
        """
        self._remember, self._styles = remember, OrderedDict[tuple[str, str], Style]()
        asked = (options or Options()).changed(**changes)
        found, self.notes = _find_weights(asked, weights)
        self.options = asked.changed(encoder=found.network)
        device = devices.choose(self.options.device)
        taps = {*self.options.content_taps, *self.options.style_taps}
        encoder = encoders.build(found, taps, pooling=self.options.pooling, padding=self.options.padding)
        self.encoder = encoder.prepare(device, devices.encoder_dtype(self.options.precision, device))

    def changed(self, **changes: Any) -> Stylizer:
        """One with other options and the same encoder, so that both can use each other's styles.

        Raises OptionError, also for options that would change the encoder.
        """
        return self.having(self.options.changed(**changes))

    def having(self, options: Options) -> Stylizer:
        """One with these options and the same encoder and styles. Raises OptionError for options that need another encoder."""
        if options.encoder == "auto":
            options = options.changed(encoder=self.options.encoder)
        for name in FIXED:
            if getattr(options, name) != getattr(self.options, name):
                raise OptionError("needs a Stylizer of its own", option=name)
        other = copy.copy(self)
        other.options = options
        return other

    @settings.default_settings()
    def run(
        self,
        photo: Source,
        style: StyleSource | Sequence[StyleSource] = (),
        *,
        masks: Sequence[tuple[Source, StyleSource | None]] = (),
        pair: tuple[Source, Source] | None = None,
        start: Source | None = None,
    ) -> Session:
        """Load and check the images. Iterate over the Session to paint.

        style: an image, a Style that this Stylizer made, a built-in name, or a list of such, which the option `blend` weighs. masks:
        (mask, style) pairs, later ones on top: where the mask is white the result gets that style, or stays the photograph for None.
        pair: color masks of the photograph and of the painting, in which equal colors belong together. start: an image to start from.
        Raises PictureError for unusable images, OptionError for options that do not fit the inputs.
        """
        return self.paint(Inputs.to_repaint(photo, style, masks, pair, start).load(self.options.max_pixels))

    @settings.default_settings()
    def paint(self, loaded: Inputs, limit: int | None = None) -> Session:
        """The session of inputs from `Inputs.load`. limit: bytes of memory to plan for. Raises as `run` does."""
        problem = self.problem(loaded)
        if self.options.quality == "instant":
            return fast.Instant(problem, limit)
        if self.options.init == "instant" and problem.start_image is None:
            network = fast.load()
            fast.check_encoder(problem, network, "init")
            run = Run(problem, limit, start_at=fast.start_at)
            run.network = network.digest
            return run
        return Run(problem, limit)

    @settings.default_settings()
    def problem(self, loaded: Inputs) -> Problem:
        """What is to be painted. Raises as `run` does."""
        base = [self._style(style) for style in loaded.styles]
        if self.options.blend and not base:
            raise OptionError("needs several styles", option="blend")
        styles = [blended(base, self.options.blend)] if base else []
        layers: list[tuple[Picture, int | None]] = []
        for layer in loaded.layers:
            layers.append((layer.mask, None if layer.style is None else len(styles)))
            styles += [] if layer.style is None else [self._style(layer.style)]
        if loaded.pair:
            size = styles[0].size or loaded.pair[1].size  # without a painting, taking a part of it fails below
            layout = regions.paired(*loaded.pair, loaded.photo.size, size)
        elif layers:
            layout = regions.layered(layers, loaded.photo.size, 0 if base else None)
        else:
            layout = regions.whole()
        return Problem(self.options, self.encoder, loaded.photo, styles, layout, loaded.start)

    @settings.default_settings()
    def style(self, source: StyleSource) -> Style:
        """A style to use for several photographs: a painting's targets, or those of a style file or a built-in style.

        Raises PictureError and StyleFileError; UnknownNameError for what is nearly a name; OptionError for another Stylizer's Style.
        """
        return self._style(inputs.open_style(source, self.options.max_pixels))

    def _style(self, opened: Picture | StyleFile | Style) -> Style:
        if isinstance(opened, Style):
            if opened.encoder is not self.encoder:
                raise OptionError("a Style can only be used with the Stylizer that made it")
            return opened
        key = (opened.digest, opened.name)
        if self._remember and opened.digest:
            if key not in self._styles:
                self._styles[key] = self._analyzed(opened)
                while len(self._styles) > self._remember:
                    self._styles.popitem(last=False)
            self._styles.move_to_end(key)
            return self._styles[key]
        return self._analyzed(opened)

    def _analyzed(self, opened: Picture | StyleFile) -> Style:
        if isinstance(opened, StyleFile):
            return load(opened.path, self.encoder, self.options.style_taps)
        self.encoder.check_size(*opened.size, "style image")
        device = next(self.encoder.parameters()).device
        return Painted(opened.pixels.to(device), self.encoder, self.options.style_taps, opened.notes)


def _find_weights(options: Options, file: str | os.PathLike[str] | None) -> tuple[Weights, tuple[str, ...]]:
    """The weights of the encoder asked for, and a note if it is not the one that the method wants."""
    network = None if options.encoder == "auto" else options.encoder
    if file is not None:
        return weights.load(file, network=network), ()
    wanted = network or AUTO_ENCODER[options.method]
    if network is None and not weights.find(wanted):
        note = (
            f"{wanted}'s weights are not on this machine, so lite is used, which is not the published result; "
            f"`impasto weights fetch {wanted}` downloads them"
        )
        return weights.load("lite"), (note,)
    return weights.load(wanted), ()
