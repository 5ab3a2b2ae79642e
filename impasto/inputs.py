"""What a run reads: the photograph, its styles, masks, a start image, weights.

`Inputs` names them, by anything an image can be read from; `Inputs.load` opens each source once, with its pixels, transparency, EXIF,
hash and notes together. Every input has a role ("photo", "style", "style 2", "mask", ...) by which records and saved states name it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from impasto import files
from impasto.errors import OptionError, PictureError, StyleFileError, UnknownNameError, WeightsFileError

if TYPE_CHECKING:
    from impasto.pictures import Picture, Source

KEEP = "keep"  # written for a style: the photograph stays
STYLE_SUFFIX = ".style"
STYLES = Path(__file__).parent / "assets" / "styles"  # the built-in ones

StyleSource: TypeAlias = Any  # a Source, a StyleFile, a built-in name, or a Style that a Stylizer made


# -------------------------------------------------------------------------------------------------- styles by name


@dataclass(frozen=True)
class StyleFile:
    """A style file. digest: SHA-256 of its bytes."""

    path: Path
    digest: str

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.name


def style_names() -> list[str]:
    """The names of the built-in styles, in alphabetical order."""
    return sorted(file.stem for file in STYLES.glob(f"*{STYLE_SUFFIX}"))


def built_in(name: str) -> Path:
    """The file of a built-in style. Raises UnknownNameError."""
    if name not in style_names():
        raise UnknownNameError("style", name, style_names())
    return STYLES / f"{name}{STYLE_SUFFIX}"


def style_file(source: object) -> Path | None:
    """The style file that a source names, by its suffix or by a built-in name; None for anything else, such as an image.

    An existing file takes precedence over a built-in name. Raises UnknownNameError for what is nearly a name and no file.
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    file = Path(source)
    if file.suffix.lower() == STYLE_SUFFIX:
        return file
    name = os.fspath(source)
    if not isinstance(name, str) or not name or file.suffix or file.name != name or files.is_file(file):
        return None
    known = style_names()
    return built_in(name) if name in known or difflib.get_close_matches(name, known, n=1) else None


# ---------------------------------------------------------------------------------------------------------- inputs


@dataclass(frozen=True)
class Layer:
    """A mask and what it applies: a style where the mask is white, or the photograph unchanged (None)."""

    mask: Source
    style: StyleSource | None

    @classmethod
    def parse(cls, text: str) -> Layer:
        """From "MASK=STYLE" or "MASK=keep". Raises OptionError."""
        mask, equals, style = text.rpartition("=")
        if not (mask and equals and style):
            raise OptionError(f"must be MASK=STYLE or MASK={KEEP}, not {text!r}", option="mask")
        return cls(mask, None if style == KEEP else style)


@dataclass(frozen=True)
class Inputs:
    """What a run reads.

    photo: what the result shows. styles: what it looks like; several are blended. layers: styles for regions, later ones on top. pair:
    color masks of the photograph and of the painting, in which equal colors belong together. start: an image to start from.
    weights: a weights file for the encoder. Each is a path, bytes, a binary file, a PIL image, an array or a tensor (`pictures.load`);
    a style may also be a style file, a built-in name, or a Style that a Stylizer made. Raises OptionError for what cannot go together.
    """

    photo: Source
    styles: tuple[StyleSource, ...] = ()
    layers: tuple[Layer, ...] = ()
    pair: tuple[Source, Source] | None = None
    start: Source | None = None
    weights: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.pair and self.layers:
            raise OptionError("two kinds of masks are given", remedy="use either {content_mask} with {style_mask}, or {mask}")
        if self.pair and not self.styles:
            raise OptionError("a pair of masks needs a painting")
        if not self.styles and not any(layer.style is not None for layer in self.layers):
            raise OptionError("a style is needed", remedy="name a painting, or use {mask} with a style")

    def sources(self) -> dict[str, Any]:
        """{role: source} of all inputs."""
        layers = [(layer.mask, layer.style) for layer in self.layers]
        found = _by_role(self.photo, self.styles, layers, self.pair, self.start)
        return found | ({} if self.weights is None else {"weights": self.weights})

    @classmethod
    def of(cls, sources: Mapping[str, Any]) -> Inputs:
        """The inputs whose `sources` these are."""
        layers = (Layer(sources[name], sources.get(of)) for name, of in _numbered("mask", "style of mask") if name in sources)
        pair = (sources["content mask"], sources["style mask"]) if "content mask" in sources else None
        styles = tuple(sources[name] for name in roles("style", sources))
        return cls(sources["photo"], styles, tuple(layers), pair, sources.get("start"), sources.get("weights"))

    def files(self) -> dict[str, Path]:
        """{role: path} of those that are files; for a built-in style its file. Raises UnknownNameError."""
        found = {}
        for name, source in self.sources().items():
            if isinstance(source, (str, os.PathLike)):
                found[name] = (style_file(source) if name.startswith("style") and name != "style mask" else None) or Path(
                    source
                )
        return found

    def check(self) -> None:
        """Make sure, before torch is loaded, that every file is there. Raises PictureError, StyleFileError and WeightsFileError."""
        for name, file in self.files().items():
            kind = name.rstrip(" 0123456789")
            error = (
                WeightsFileError
                if kind == "weights"
                else StyleFileError
                if file.suffix.lower() == STYLE_SUFFIX
                else PictureError
            )
            files.open_regular(file, error, WORDS.get(kind, kind)).close()

    def load(self, max_pixels: int) -> Loaded:
        """Open each source once. Raises PictureError, UnknownNameError."""
        photo = read(self.photo, max_pixels, "photograph")
        styles = tuple(open_style(style, max_pixels) for style in self.styles)
        layers = tuple((read(layer.mask, max_pixels, "mask"), open_style(layer.style, max_pixels)) for layer in self.layers)
        pair = None
        if self.pair:
            pair = read(self.pair[0], max_pixels, "content mask"), read(self.pair[1], max_pixels, "style mask")
        start = None if self.start is None else read(self.start, max_pixels, "start image")
        weights = None
        if self.weights is not None:
            weights = (Path(self.weights).name, files.digest(self.weights))
        return Loaded(photo, styles, layers, pair, start, weights)


MOST = 1000  # layers or styles that are looked for
WORDS = {
    "photo": "photograph",
    "style": "style image",
    "style of mask": "style image",
    "start": "start image",
    "weights": "weights file",
}


def _numbered(*kinds: str) -> Iterator[tuple[str, ...]]:
    return (tuple(role(kind, number) for kind in kinds) for number in range(1, MOST))


def role(kind: str, number: int) -> str:
    """The role of the first, second, ... input of a kind: "style", "style 2"."""
    return kind if number == 1 else f"{kind} {number}"


def roles(kind: str, known: Mapping[str, object]) -> list[str]:
    """The roles of all inputs of a kind."""
    return [name for (name,) in _numbered(kind) if name in known]


@dataclass(frozen=True)
class Loaded:
    """Inputs, read. layers: (mask, style or None to keep the photograph). weights: name and SHA-256 of the weights file."""

    photo: Picture
    styles: tuple[Any, ...]
    layers: tuple[tuple[Picture, Any], ...] = ()
    pair: tuple[Picture, Picture] | None = None
    start: Picture | None = None
    weights: tuple[str, str] | None = None

    def hashes(self) -> dict[str, tuple[str, str]]:
        """{role: (name, SHA-256)} of the inputs that came from files or bytes."""
        found = _by_role(self.photo, self.styles, self.layers, self.pair, self.start)
        hashes = {name: (one.name, one.digest) for name, one in found.items() if getattr(one, "digest", "")}
        return hashes | ({"weights": self.weights} if self.weights else {})


def _by_role(
    photo: Any, styles: Sequence[Any], layers: Sequence[tuple[Any, Any]], pair: Sequence[Any] | None, start: Any
) -> dict[str, Any]:
    """{role: input} of what there is."""
    found = {"photo": photo} | {role("style", number): style for number, style in enumerate(styles, 1)}
    for number, (mask, style) in enumerate(layers, 1):
        found |= {role("mask", number): mask, role("style of mask", number): style}
    found |= dict(zip(("content mask", "style mask"), pair or (), strict=False))
    return {name: one for name, one in (found | {"start": start}).items() if one is not None}


def read(source: Source, max_pixels: int, what: str) -> Picture:
    """Read an image. what: its role in error messages. Raises PictureError."""
    from impasto import pictures  # torch: not before it is needed

    return pictures.load(source, max_pixels=max_pixels, role=what)


def open_style(source: StyleSource, max_pixels: int) -> Any:
    """A painting as a Picture, a style file as a StyleFile, a Style as it is, None as None."""
    file = style_file(source)
    if file is not None:
        files.open_regular(file, PictureError, "style file").close()
        return StyleFile(file, files.digest(file))
    from impasto.pictures import Picture

    # a Style has targets; its class is defined above this module
    known = source is None or isinstance(source, (Picture, StyleFile)) or hasattr(source, "targets")
    return source if known else read(source, max_pixels, "style image")
