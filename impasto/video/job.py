"""A video job: a clip, its styles, options and an output. It can be turned into JSON and back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from impasto import files
from impasto.clips import Window, format_of
from impasto.errors import OptionError, OutputError
from impasto.inputs import Inputs, Layer, StyleSource
from impasto.options import Options
from impasto.video.blending import Blending

QUALITIES = ("instant", "normal", "best")
FRESH = (
    "init",
    "init_size",
    "iterations",
)  # options of the optimizer that say where a frame starts, which the qualities decide


@dataclass(frozen=True)
class Output:
    """Where the clip goes.

    path: .mp4, .webm or .gif, or a folder of PNGs. metadata: store settings in it. preview: write the first frame and the first two
    seconds as soon as they are painted, to ...-preview.png and ...-preview.mp4.
    """

    path: Path
    overwrite: bool = False
    metadata: bool = True
    preview: bool = False


@dataclass(frozen=True)
class Video:
    """A clip to be painted.

    clip: a video file, an animated image, or a folder of frames. styles, layers, weights: as in `Inputs`; the mask of a layer may be a
    clip too. options: of every frame; size is that of the result, and `blend` that of the first frame. window: the part that is
    painted. blending: the weights of the styles over time; None for the option `blend` all the time. Raises OptionError.
    """

    clip: Path
    styles: tuple[StyleSource, ...]
    options: Options
    output: Output
    layers: tuple[Layer, ...] = ()
    window: Window = field(default_factory=Window)
    blending: Blending | None = None
    weights: Path | None = None

    def __post_init__(self) -> None:
        if self.options.quality not in QUALITIES:
            raise OptionError(f"must be {', '.join(QUALITIES)} for a video, not {self.options.quality!r}", option="quality")
        if self.options.method != Options.model_fields["method"].default:
            raise OptionError("must be the default for a video", option="method")
        for name in FRESH:
            if name in self.options.model_fields_set:
                raise OptionError("is chosen by the quality of a video", option=name)
        if not self.options.strength:
            raise OptionError("must be above 0 for a video: at 0 the clip stays as it is", option="strength")
        if self.blending is not None:
            self.blending.check(len(self.styles))
        self.inputs()  # raises for what cannot go together

    def inputs(self) -> Inputs:
        """The inputs; the clip is the photograph. Raises OptionError for what cannot go together."""
        return Inputs(self.clip, self.styles, self.layers, weights=self.weights)

    def check(self) -> None:
        """Make sure, before torch is loaded, that every input is there and the output can be written.

        Raises OutputError, and the errors of missing inputs.
        """
        target = self.output.path
        kind = format_of(target)
        self._without_folders().check()
        sources = [files.real(file) for file in self.inputs().files().values()]
        if files.real(target) in sources:
            raise OutputError(f"output {files.printable(target)} is an input itself; choose another name")
        if kind.suffix:
            files.check(target, (kind.suffix,), overwrite=self.output.overwrite)
            return
        if not target.parent.is_dir():
            raise OutputError(f"{files.printable(target)}: there is no directory {files.printable(target.parent)}")
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise OutputError(f"{files.printable(target)} exists and is not an empty folder", remedy="name another")

    def _without_folders(self) -> Inputs:
        """The inputs that are files: the clip and masks may be folders."""
        layers = tuple(layer for layer in self.layers if not Path(layer.mask).is_dir())
        styles = (*self.styles, *(layer.style for layer in self.layers if layer.style is not None))
        return Inputs(b"" if self.clip.is_dir() else self.clip, styles, layers, weights=self.weights)

    def to_json(self) -> dict[str, Any]:
        """The job as JSON holds it, with absolute paths."""
        inputs = self.inputs()
        places = inputs.files()
        sources = {
            role: os.fspath(source) if places[role] != Path(source) else str(Path(source).absolute())
            for role, source in inputs.sources().items()
        }
        window = {name: None if value is None else str(value) for name, value in vars(self.window).items()}
        return {
            "inputs": sources,
            "options": self.options.model_dump(mode="json", exclude_unset=True),
            "window": window,
            "blending": None if self.blending is None else self.blending.to_json(),
            "output": {
                "path": str(self.output.path.absolute()),
                "metadata": self.output.metadata,
                "preview": self.output.preview,
            },
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Video:
        """The job that `to_json` stored. Raises OptionError for anything else."""
        try:
            inputs, window = Inputs.of(stored["inputs"]), stored["window"]
            output = stored["output"]
            return cls(
                Path(inputs.photo),
                inputs.styles,
                Options(**stored["options"]),
                Output(Path(output["path"]), metadata=bool(output["metadata"]), preview=bool(output["preview"])),
                inputs.layers,
                _window(window),
                None if stored["blending"] is None else Blending(tuple(map(tuple, stored["blending"]))),
                None if inputs.weights is None else Path(inputs.weights),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, OptionError):
                raise
            raise OptionError(f"not a video job: {files.one_line(repr(error))}") from error

    def same_as(self, stored: Mapping[str, Any]) -> bool:
        """Whether a stored job paints the same clip in the same way, wherever its output is."""
        mine = self.to_json()
        return all(mine[name] == stored.get(name) for name in ("inputs", "options", "window", "blending"))


def _window(stored: Mapping[str, Any]) -> Window:
    start, end, fps = (None if stored[name] is None else Fraction(stored[name]) for name in ("start", "end", "fps"))
    return Window(start, end, fps, int(stored["every"]))


def styles_of(styles: StyleSource | Sequence[StyleSource]) -> tuple[StyleSource, ...]:
    """One style, or several, as a tuple."""
    return tuple(styles) if isinstance(styles, (list, tuple)) else (styles,)
