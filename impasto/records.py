"""What a picture remembers of its making, and what making it again needs: the record stored in its file beside the options.

Names are those of files without their folders; nothing tells who or which machine made the picture.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Annotated, Any

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from impasto import __version__, pictures
from impasto.errors import ImpastoError, OptionError, UsageError
from impasto.files import one_line, printable
from impasto.options import Options, defaults, explain
from impasto.styles import named
from impasto.stylizer import KEEP, Run

PLACE = ("method", "encoder", "quality")  # the options that others' defaults depend on
HARDLY_CHANGES = frozenset(
    {"device", "precision", "max_pixels", "max_memory"}
)  # options that are not meant to make another picture
_CHUNK = 1 << 20

Number = Annotated[float, Field(allow_inf_nan=False)]


class Input(BaseModel):
    """A file a picture was made from: its name, and its SHA-256."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str

    @field_validator("name")
    @classmethod
    def _no_folders(cls, name: str) -> str:
        """A picture from anywhere may not name files in other places."""
        if name in ("", "..") or Path(name).name != name or "\0" in name:
            raise ValueError("must name files without their folders")
        return name


class Made(BaseModel):
    """What is stored beside the options.

    impasto, torch: versions. encoder_digest: SHA-256 over the encoder's weights. ran_on: device and arithmetic, "cpu bf16".
    photo, styles: names; inputs: {role: Input} of every file that went in, for a style that has a name its file. width, height: in
    pixels. seconds: how long it took. losses: {name: weighted loss} at the end. picture: SHA-256 over the pixels before the file's
    format. done: share of the work, less than 1 where it was interrupted. keep_exif: whether the photograph's EXIF was kept.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    impasto: str = ""
    torch: str = ""
    encoder_digest: str = ""
    ran_on: str = ""
    photo: str = ""
    styles: tuple[str, ...] = ()
    inputs: dict[str, Input] = {}
    width: int = 0
    height: int = 0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    losses: dict[str, Number] = {}
    picture: str = ""
    done: Annotated[float, Field(ge=0, le=1)] = 1.0
    keep_exif: bool = False

    def stored(self) -> dict[str, object]:
        """As JSON holds it; what says nothing is left out."""
        return self.model_dump(mode="json", exclude_defaults=True)


# ---------------------------------------------------------------------------------------------------------------- writing


def sources(photo: Path, styles: tuple[Path, ...], options: Options) -> dict[str, Path]:
    """{role: file} of all that goes into a picture: "photo", "style", "style 2", "mask", "style of mask", "init", ..."""
    found = {"photo": photo} | {role("style", number): _style_file(style) for number, style in enumerate(styles, 1)}
    for number, text in enumerate(options.mask, 1):
        mask, _, style = text.rpartition("=")
        found[role("mask", number)] = Path(mask)
        if style != KEEP:
            found[role("style of mask", number)] = _style_file(style)
    single = {"content_mask": options.content_mask, "style_mask": options.style_mask, "weights": options.weights}
    found |= {name: file for name, file in single.items() if file}
    return found | ({"init": Path(options.init)} if options.init not in ("content", "noise") else {})


def _style_file(style: str | Path) -> Path:
    """The file of a style, which may be one of those that have names."""
    return named.style_file(style) or Path(style)


def role(kind: str, number: int) -> str:
    """The name of the first, second, ... input of a kind: "style", "style 2"."""
    return kind if number == 1 else f"{kind} {number}"


def roles(kind: str, known: Collection[str]) -> list[str]:
    """The names of all inputs of a kind."""
    return list(takewhile(known.__contains__, (role(kind, number) for number in count(1))))


def begin(run: Run, files: Mapping[str, Path], *, keep_exif: bool = False) -> Made:
    """What is known before a picture is painted. files: from `sources`; they are read, to be hashed."""
    height, width = run.size
    return Made(
        impasto=__version__,
        torch=str(torch.__version__),
        encoder_digest=run.encoder.digest,
        ran_on=f"{run.device.type} {'bf16' if run.encoder.dtype == torch.bfloat16 else 'fp32'}",
        photo=files["photo"].name,
        styles=tuple(files[name].name for name in roles("style", files)),
        inputs={name: Input(name=file.name, sha256=digest_of_file(file)) for name, file in files.items()},
        width=width,
        height=height,
        keep_exif=keep_exif,
    )


def finish(begun: Made, run: Run, image: Image.Image, seconds: float, *, whole: bool) -> Made:
    """The record of a painted picture. whole: whether the run came to its end."""
    step = run.last
    news: dict[str, Any] = {"seconds": round(seconds, 1), "picture": digest_of_pixels(image)}
    if step is not None:
        news |= {"losses": {name: float(loss) for name, loss in step.losses.items()}}
        news |= {} if whole else {"done": round(step.done, 4)}
    return begun.model_copy(update=news)


def digest_of_file(file: Path) -> str:
    """SHA-256 of a file's bytes; "" for what is no file."""
    if not _is_file(file):
        return ""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digest_of_pixels(image: Image.Image) -> str:
    """SHA-256 over an image's mode, size and pixels."""
    head = f"{image.mode} {image.width}x{image.height}\n".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):  # a name no file can have
        return False


# ---------------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Earlier:
    """A picture impasto made, and its record. settings: all of it, as stored; made: the part beside the options, checked.
    changed: whether it is to become another picture.
    """

    file: Path
    settings: Mapping[str, object]
    made: Made
    changed: bool = False

    @property
    def unknown(self) -> list[str]:
        """What this version of impasto does not know."""
        return [name for name in self.settings if name not in Options.model_fields and name not in Made.model_fields]

    @property
    def stored(self) -> dict[str, Any]:
        """The options, as stored."""
        return {name: value for name, value in self.settings.items() if name in Options.model_fields}

    def options(self, changes: Mapping[str, Any]) -> Options:
        """The stored options with changes on top.

        What was stored counts as given, whatever the defaults are today. Only where the method, the encoder or the quality changes,
        a default that depends on it does too: `--quality best` has more iterations. Raises OptionError, which names the picture
        where its settings are to blame.
        """
        kept, place = self.stored, {name: field.default for name, field in Options.model_fields.items() if name in PLACE}
        before, after = (
            defaults(*(str(some.get(name, place[name])) for name in PLACE)) for some in (kept, kept | dict(changes))
        )
        follow = {name for name in before if before[name] != after[name] and _as_json(before[name]) == kept.get(name)}
        if "encoder" in changes:
            follow.add("weights")
        try:
            stored = Options.create(**{name: value for name, value in kept.items() if name not in follow})
        except OptionError as error:
            raise OptionError(f"picture {printable(self.file)}: its settings cannot be used: {one_line(str(error))}") from error
        return stored.changed(**changes)

    def differences(self, begun: Made) -> Iterator[str]:
        """In what the same picture is now made differently, in words."""
        was = self.made
        for name in self.others(begun):
            yield f"{name} {printable(begun.inputs[name].name)} is not the one it was made from (its hash differs)"
        for what in ("impasto", "torch"):
            before, now = getattr(was, what), getattr(begun, what)
            if before and before != now:
                yield f"it was made with {what} {one_line(before)}, and this is {now}"
        if was.encoder_digest not in ("", begun.encoder_digest):
            yield "the encoder's weights are not those it was made with (their hash differs)"
        if was.ran_on not in ("", begun.ran_on):
            yield f"it was computed on {one_line(was.ran_on)}, and this is {begun.ran_on}"
        if was.done < 1:
            yield f"it was interrupted at {was.done:.0%}; this one goes to the end"

    def others(self, begun: Made) -> list[str]:
        """The roles of inputs that are not those it was made from."""
        known = self.made.inputs
        return [name for name, found in begun.inputs.items() if name in known and known[name].sha256 != found.sha256]

    def settled(self, made: Made) -> Made:
        """The record of the same picture made again.

        Where every pixel is what it was, how long it took the first time is kept: nothing else in the file differs from run to run,
        so the same picture is the same file, byte by byte.
        """
        return made.model_copy(update={"seconds": self.made.seconds}) if made.picture == self.made.picture else made

    def compared(self, image: Image.Image, made: Made) -> str:
        """Whether it became the same picture, in words; "" where nobody expects it to."""
        if made.picture == self.made.picture:
            return "the same picture, pixel by pixel"
        if self.changed or self.others(made) or self.made.done < 1:
            return ""
        try:
            share, most = apart(image, self.file)
        except ImpastoError:  # it was there before the work began; whatever became of it since is no reason to lose the new one
            return "not the same picture"
        if not most:
            return "the same picture as far as its file tells, which does not keep every pixel"
        return f"not the same picture: {share:.1%} of its pixels differ, by at most {most} of the levels of 8 bits"


def apart(image: Image.Image, path: str | os.PathLike[str]) -> tuple[float, int]:
    """How much an image would differ from an image file if it were saved in that file's format.

    Returns the share of pixels that differ, and by how many of 255 levels at most; all of them if the sizes differ.
    Raises PictureError when path is not a picture.
    """
    stored = pictures.load(path)
    suffix = Path(path).suffix.lower()
    data, _ = pictures.encode(image, suffix if suffix in pictures.SUFFIXES else ".png")
    again = pictures.load(data)
    if stored.size != again.size:
        return 1.0, 255
    change = (stored.pixels - again.pixels).abs_().amax(dim=1)
    return float((change > 0).float().mean()), round(float(change.max()) * 255)


def _as_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def read(file: Path) -> Earlier:
    """The record in a picture. Raises PictureError for no picture, UsageError for one without settings or with damaged ones."""
    settings = pictures.read_settings(file)
    name = f"picture {printable(file)}"
    if settings is None:
        raise UsageError(f"{name} has no settings: it was not made by impasto, or with --no-metadata")
    try:
        return Earlier(file, settings, Made.model_validate(settings))
    except ValidationError as error:
        raise UsageError(f"{name}: its settings are damaged: {one_line(explain(error))}") from error


def find(source: Input, folders: tuple[Path, ...]) -> Path | None:
    """A file by its name: the first in these folders whose hash is right, or else the first there is."""
    there = [file for file in (Path(os.path.normpath(folder / source.name)) for folder in folders) if _is_file(file)]
    return next((file for file in there if digest_of_file(file) == source.sha256), there[0] if there else None)
