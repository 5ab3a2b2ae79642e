"""What a run reads: the photograph, its styles, masks, a start image, weights.

`Inputs` names them, by anything an image can be read from. `Inputs.load` reads each image once, with its pixels, transparency, EXIF,
hash and notes together. Every input has a role ("photo", "style", "style 2", "mask", ...) by which records and saved states name it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from impasto import files
from impasto.errors import OptionError, PictureError, StyleFileError, UnknownNameError, WeightsFileError

if TYPE_CHECKING:
    from impasto.pictures import Picture, Source, Still

KEEP = "keep"  # written for a style: the photograph stays
STYLE_SUFFIX = ".style"
ASSETS = Path(__file__).parent / "assets"
STYLES = ASSETS / "styles"  # the built-in ones
SAMPLE = ASSETS / "chelsea.jpg"  # the photograph that comes with impasto

ImageSource: TypeAlias = Any  # a `pictures.Source`; a Picture once it is loaded
StyleSource: TypeAlias = Any  # an ImageSource, a StyleFile, a built-in name, or a Style that a Stylizer made


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
    if isinstance(name, str) and "," in name and not files.is_file(file):
        parts = [part.strip() for part in name.split(",")]
        if any(part in style_names() or files.is_file(part) for part in parts):
            raise PictureError(
                f"{files.printable(name)} is not one style; name several one by one: {files.printable(' '.join(parts))}"
            )
    if not isinstance(name, str) or not name or file.suffix or file.name != name or files.is_file(file):
        return None
    known = style_names()
    return built_in(name) if name in known or difflib.get_close_matches(name, known, n=1) else None


# ---------------------------------------------------------------------------------------------------------- inputs


@dataclass(frozen=True)
class Layer:
    """A mask and what it applies: a style where the mask is white, or the photograph unchanged (None)."""

    mask: ImageSource
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

    photo: ImageSource
    styles: tuple[StyleSource, ...] = ()
    layers: tuple[Layer, ...] = ()
    pair: tuple[ImageSource, ImageSource] | None = None
    start: ImageSource | None = None
    weights: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.photo is None:
            raise PictureError("a photograph is needed, not None")
        if self.pair and self.layers:
            raise OptionError("two kinds of masks are given", remedy="use either {content_mask} with {style_mask}, or {mask}")
        if self.pair and not self.styles:
            raise OptionError("a pair of masks needs a painting")
        if not self.styles and not any(layer.style is not None for layer in self.layers):
            raise OptionError("a style is needed", remedy="name a painting, or use {mask} with a style")

    def sources(self) -> dict[str, Any]:
        """{role: source} of all inputs."""
        found = {"photo": self.photo} | {_role("style", number): style for number, style in enumerate(self.styles, 1)}
        for number, layer in enumerate(self.layers, 1):
            found |= {_role("mask", number): layer.mask, _role("style of mask", number): layer.style}
        found |= dict(zip(("content mask", "style mask"), self.pair or (), strict=False))
        found |= {"start": self.start, "weights": self.weights}
        return {role: source for role, source in found.items() if source is not None}

    @classmethod
    def of(cls, sources: Mapping[str, Any]) -> Inputs:
        """The inputs whose `sources` these are. "styles" and "masks" may hold the styles and the layers. Raises OptionError."""
        layers = sources.get("masks")
        if layers is None:
            masks = (role for role in sources if kind_of(role) == "mask")
            layers = (Layer(sources[role], sources.get(f"style of {role}")) for role in masks)
        pair = (sources["content mask"], sources["style mask"]) if "content mask" in sources else None
        styles = sources.get("styles") or (source for role, source in sources.items() if kind_of(role) == "style")
        return cls(sources["photo"], tuple(styles), tuple(layers), pair, sources.get("start"), sources.get("weights"))

    @classmethod
    def to_repaint(
        cls,
        photo: ImageSource,
        style: StyleSource | Sequence[StyleSource],
        masks: Sequence[tuple[ImageSource, StyleSource | None]] = (),
        pair: tuple[ImageSource, ImageSource] | None = None,
        start: ImageSource | None = None,
        weights: str | os.PathLike[str] | None = None,
    ) -> Inputs:
        """The inputs as `Stylizer.run` takes them. Raises OptionError."""
        styles = tuple(style) if isinstance(style, (list, tuple)) else (style,)
        return cls(photo, styles, tuple(Layer(mask, applied) for mask, applied in masks), pair, start, weights)

    def files(self) -> dict[str, Path]:
        """{role: path} of those that are files; for a built-in style its file. Raises UnknownNameError."""
        named = {role: source for role, source in self.sources().items() if isinstance(source, (str, os.PathLike))}
        return {role: (style_file(source) if _is_style(role) else None) or Path(source) for role, source in named.items()}

    def check(self) -> None:
        """Make sure, before torch is loaded, that every file is there. Raises PictureError, StyleFileError and WeightsFileError."""
        for role, file in self.files().items():
            styles = StyleFileError if file.suffix.lower() == STYLE_SUFFIX else PictureError
            files.open_regular(file, WeightsFileError if role == "weights" else styles, words_of(role)).close()

    def load(self, max_pixels: int, *, stills: bool = False) -> Inputs:
        """These inputs with images read, as `pictures.Picture`, and style files as StyleFile. Raises PictureError, UnknownNameError.

        Each image is opened once, with its pixels, transparency, EXIF, hash and notes. stills: read images as `pictures.Still`, which
        needs no torch.
        """
        return Inputs.of({role: _open(role, source, max_pixels, stills) for role, source in self.sources().items()})

    def hashes(self) -> dict[str, tuple[str, str]]:
        """{role: (name, SHA-256)} of loaded inputs that came from files or bytes."""
        found = {role: (one.name, one.digest) for role, one in self.sources().items() if getattr(one, "digest", "")}
        return found | ({} if self.weights is None else {"weights": (Path(self.weights).name, files.digest(self.weights))})


WORDS = {
    "photo": "photograph",
    "style": "style image",
    "style of mask": "style image",
    "start": "start image",
    "weights": "weights file",
}


def _role(kind: str, number: int) -> str:
    """The role of the first, second, ... input of a kind: "style", "style 2"."""
    return kind if number == 1 else f"{kind} {number}"


def kind_of(role: str) -> str:
    """The kind of a role: "style" for "style 2"."""
    return role.rstrip("0123456789").rstrip()


def words_of(role: str) -> str:
    """What an input is called in messages."""
    return WORDS.get(kind_of(role), kind_of(role))


def _is_style(role: str) -> bool:
    return kind_of(role) in ("style", "style of mask")


def _open(role: str, source: Any, max_pixels: int, stills: bool) -> Any:
    if role == "weights":
        return source
    return open_style(source, max_pixels, stills) if _is_style(role) else _read(source, max_pixels, words_of(role), stills)


def open_style(source: StyleSource, max_pixels: int, stills: bool = False) -> Any:
    """A painting as a Picture, or as a Still, a style file as a StyleFile, a Style as it is. Raises PictureError, UnknownNameError."""
    file = style_file(source)
    if file is not None:
        return StyleFile(file, files.digest(file))
    # a Style has targets; its class is defined above this module
    known = isinstance(source, StyleFile) or hasattr(source, "targets")
    return source if known else _read(source, max_pixels, "style image", stills)


def _read(source: Source, max_pixels: int, what: str, stills: bool) -> Picture | Still:
    from impasto import pictures  # torch: not before it is needed

    if stills:
        return pictures.load_still(source, max_pixels=max_pixels, role=what)
    return source if isinstance(source, pictures.Picture) else pictures.load(source, max_pixels=max_pixels, role=what)
