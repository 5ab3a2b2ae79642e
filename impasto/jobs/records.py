"""What an image remembers of its making: the record stored in its file with the options, and making it again from that.

Names are those of files without their folders. Nothing tells who made the image, or on which machine.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from impasto import clips, files, pictures
from impasto.catalog import PLACE, defaults
from impasto.errors import ImpastoError, OptionError, PictureError, UsageError
from impasto.files import one_line, printable
from impasto.inputs import ASSETS, STYLE_SUFFIX, STYLES, Inputs, kind_of, style_names
from impasto.options import Options, invalid
from impasto.pictures.spaces import BYTE

HARDLY_CHANGES = frozenset({"device", "precision", "max_pixels", "max_memory"})  # options not meant to make another image
NOT_STORED = frozenset({"max_pixels", "max_memory"})

Number = Annotated[float, Field(allow_inf_nan=False)]


class Input(BaseModel):
    """A file an image was made from: its name, "" for bytes that were not a file, and its SHA-256."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str

    @field_validator("name")
    @classmethod
    def _no_folders(cls, name: str) -> str:
        """An image from any source must not name files in other folders."""
        if name == ".." or Path(name).name != name or "\0" in name:
            raise ValueError("must name files without their folders")
        return name


class Record(BaseModel):
    """What is stored in addition to the options.

    impasto, torch: versions. encoder_digest: SHA-256 of the encoder's weights. network: SHA-256 of the network of quality
    "instant", if it was used. ran_on: device and arithmetic, "cpu bf16". threads: of torch. memory: bytes the run was planned for,
    on which its last bits depend if the image was computed in blocks. inputs: {role: Input}. width, height: in pixels. seconds:
    time taken. losses: {name: weighted loss} at the end. picture: SHA-256 of the pixels before the file's format. done: share of
    the work, less than 1 if interrupted. keep_exif: whether the photograph's EXIF was kept. depth: bits
    per channel of the file. clip: of a painted clip the number of frames, the part that was painted, and the styles' weights over time.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    impasto: str = ""
    torch: str = ""
    encoder_digest: str = ""
    network: str = ""
    ran_on: str = ""
    threads: Annotated[int, Field(ge=0)] = 0
    memory: Annotated[int, Field(ge=0)] = 0
    inputs: dict[str, Input] = {}
    width: int = 0
    height: int = 0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    losses: dict[str, Number] = {}
    picture: str = ""
    done: Annotated[float, Field(ge=0, le=1)] = 1.0
    keep_exif: bool = False
    depth: Literal[8, 16] = 8
    clip: dict[str, Any] = {}

    def stored(self) -> dict[str, Any]:
        """As JSON; fields at their defaults are left out."""
        return self.model_dump(mode="json", exclude_defaults=True)


# ---------------------------------------------------------------------------------------------------------------- writing


def settings(options: Options) -> dict[str, Any]:
    """The options as they are stored in an image."""
    return options.model_dump(mode="json", exclude=set(NOT_STORED))


def digest_of_pixels(image: Image.Image) -> str:
    """SHA-256 of an image's mode, size and pixels."""
    head = f"{image.mode} {image.width}x{image.height}\n".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


# ---------------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Previous:
    """An image that impasto made, with its record. settings: all that is stored in it. changed: whether it is to become another
    image.
    """

    file: Path
    settings: Mapping[str, Any]
    record: Record
    changed: bool = False

    @property
    def unknown(self) -> list[str]:
        """The names of settings that this version of impasto does not know."""
        return [name for name in self.settings if name not in Options.model_fields and name not in Record.model_fields]

    @property
    def stored(self) -> dict[str, Any]:
        """The options, as stored."""
        return {name: value for name, value in self.settings.items() if name in Options.model_fields}

    def options(self, changes: Mapping[str, Any]) -> Options:
        """The stored options with changes on top.

        Stored values count as given, whatever the defaults are today. Only where the method, the encoder or the quality changes, a
        default that depends on it changes too: `quality="best"` has more iterations. Raises OptionError, which names the image if its
        settings are at fault.
        """
        kept, place = self.stored, {name: Options.model_fields[name].default for name in PLACE}
        before, after = (
            defaults(*(str(some.get(name, place[name])) for name in PLACE)) for some in (kept, kept | dict(changes))
        )
        follow = {name for name in before if before[name] != after[name] and _as_json(before[name]) == kept.get(name)}
        try:
            stored = Options(**{name: value for name, value in kept.items() if name not in follow})
        except OptionError as error:
            raise OptionError(f"image {printable(self.file)}: its settings cannot be used: {one_line(str(error))}") from error
        return stored.changed(**changes)

    def differences(self, record: Record) -> Iterator[str]:
        """How the same image is made differently now, in words."""
        was = self.record
        for role in (role for role in self.other_inputs(record) if role in was.inputs and role in record.inputs):
            yield f"{role} {printable(record.inputs[role].name)} has changed (its hash differs)"
        for what in ("impasto", "torch"):
            before, now = getattr(was, what), getattr(record, what)
            if before and before != now:
                yield f"it was made with {what} {one_line(before)}, and this is {now}"
        if was.encoder_digest not in ("", record.encoder_digest):
            yield "the encoder's weights have changed (their hash differs)"
        if was.network not in ("", record.network):
            yield "the network of quality 'instant' has changed (its hash differs)"
        if was.ran_on not in ("", record.ran_on):
            yield f"it was computed on {one_line(was.ran_on)}, and this is {record.ran_on}"
        if was.threads not in (0, record.threads):
            yield f"it was computed with {was.threads} threads, and these are {record.threads}: the last bits may differ"
        if was.done < 1:
            yield f"it was interrupted at {was.done:.0%}; this one will be finished"

    def other_inputs(self, record: Record) -> list[str]:
        """The roles of inputs that differ from those it was made from."""
        known, now = self.record.inputs, record.inputs
        return [
            role for role in {**known, **now} if role not in known or role not in now or known[role].sha256 != now[role].sha256
        ]

    def settled(self, record: Record) -> Record:
        """The record of the same image made again.

        If every pixel is the same, the first run's time and memory are kept. With the same versions and threads, the file is then the
        same, byte for byte.
        """
        same = record.picture == self.record.picture
        return record.model_copy(update={"seconds": self.record.seconds, "memory": self.record.memory}) if same else record

    def compared(self, image: Image.Image, record: Record) -> str:
        """Whether it became the same image, in words; "" if that is not expected."""
        if record.picture == self.record.picture:
            return "the same image, pixel by pixel"
        if self.changed or self.other_inputs(record) or self.record.done < 1:
            return ""
        try:
            share, most = apart(image, self.file)
        except ImpastoError:  # its file has vanished since the work began
            return "not the same image"
        if not most:
            return "the same image as far as its file tells, which does not keep every pixel"
        return f"not the same image: {share:.1%} of its pixels differ, by at most {most} of 255 levels"


def _as_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def apart(image: Image.Image, path: Path) -> tuple[float, int]:
    """How much an image would differ from a file if it were saved in that file's format.

    Returns the share of pixels that differ, and by how many of 255 levels at most; all of them if the sizes differ. Raises
    PictureError.
    """
    stored, suffix = pictures.load_still(path), path.suffix.lower()
    data, _ = pictures.encode(image, suffix if suffix in pictures.SUFFIXES else ".png")
    with Image.open(io.BytesIO(data)) as opened:
        again = pictures.load_still(opened)
    if stored.size != again.size:
        return 1.0, 255
    levels = [np.rint(each.color * BYTE) for each in (stored, again)]  # a file may have 16 bits
    change = np.abs(levels[0] - levels[1]).max(axis=-1)
    return float((change > 0).mean()), round(float(change.max()))


def read(file: Path) -> Previous:
    """The record in an image or a clip.

    Raises PictureError for neither, UsageError for one without settings or with damaged ones.
    """
    kind, settings = ("clip", clips.settings_of(file)) if clips.is_clip(file) else ("image", pictures.read_settings(file))
    if settings is None:
        raise UsageError(f"{kind} {printable(file)} has no settings: it was not made by impasto, or without metadata")
    return Previous(file, settings, record_of(settings, f"{kind} {printable(file)}"))


def record_of(settings: Mapping[str, Any], what: str) -> Record:
    """The record among settings. what: where they are from, for the message. Raises UsageError for damaged ones."""
    try:
        return Record.model_validate(settings)
    except ValidationError as error:
        raise UsageError(f"{what}: its settings are damaged: {one_line(str(invalid(error, Record)))}") from error


# ---------------------------------------------------------------------------------------------------- finding its inputs


def inputs_again(previous: Previous, given: Sequence[Path] = (), changes: Mapping[str, Any] | None = None) -> Inputs:
    """The inputs an image was made from, looked for in its folder, in the current one, and among those that come with impasto.

    given: the photograph and the styles, if they are named again. changes: other inputs by their role, None for no such
    input; "masks" holds layers. Raises PictureError for an input that is not found.
    """
    changes = dict(changes or {}) | ({"photo": given[0]} if given else {}) | ({"styles": given[1:]} if len(given) > 1 else {})
    gone = {kind for kind, other in (("style", "styles"), ("mask", "masks"), ("style of mask", "masks")) if other in changes}
    kept = [role for role in previous.record.inputs if role not in changes and kind_of(role) not in gone]
    sources = {role: find(previous, role) for role in kept} | changes
    if "photo" not in sources:
        raise PictureError(f"image {printable(previous.file)} does not name its photograph; name it after the image")
    return Inputs.of(sources)


def find(previous: Previous, role: str) -> Path | str:
    """The file of a role: the first with the right hash, or else the first of its name. A built-in style keeps its name."""
    source = previous.record.inputs[role]
    if not source.name:
        raise PictureError(f"{role} of {printable(previous.file)} was not a file; name one")
    name = source.name.removesuffix(STYLE_SUFFIX)
    if role.startswith("style") and name in style_names() and files.digest(STYLES / source.name) == source.sha256:
        return name
    folders = (previous.file.parent, Path(), ASSETS, STYLES)
    there = [folder / source.name for folder in folders if files.is_file(folder / source.name)]
    right = [file for file in there if files.digest(file) == source.sha256]
    if not there:
        raise PictureError(
            f"{role} {one_line(source.name)} is not in the folder of {printable(previous.file)} and not in the current one; name it"
        )
    return (right or there)[0]
