"""A job: inputs, options and an output. It can be turned into JSON and back, so that a queue or another machine can hold it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from impasto import files
from impasto.errors import OptionError, OutputError, PictureError
from impasto.inputs import Inputs
from impasto.jobs.lock import state_of
from impasto.options import Options, invalid

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")  # of `pictures.SUFFIXES`, known before torch is loaded
FILMS = (".gif", ".mp4")
DEEP_SUFFIXES = (".png", ".tif", ".tiff")
BYTE_DEPTH = 8


class Output(BaseModel):
    """Where the image goes, and what else is saved.

    path: the file; None to return its bytes, in the format of `suffix`. metadata: store settings in it. repeatable: leave the time it
    took out of them, so that the same job gives the same bytes again. keep_exif: copy the
    photograph's EXIF to it. depth: bits per channel; 16 for PNG and TIFF only. preview: also save the image every so many steps, as
    ...-step00050.png, and before the first one what quality "instant" makes of it, as ...-step00000.png (`look.first_look`). frames:
    keep the making-of in a folder, a .gif or an .mp4. Raises OptionError.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = None
    suffix: str = ".png"
    overwrite: bool = False
    metadata: bool = True
    repeatable: bool = False
    keep_exif: bool = False
    depth: Literal[8, 16] = 8
    preview: Annotated[int, Field(ge=1)] | None = None
    frames: Path | None = None

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise invalid(error, type(self)) from None

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.keep_exif and not self.metadata:
            raise PydanticCustomError("rule", "EXIF cannot be kept without metadata", {"remedy": "drop {keep_exif}"})
        suffix = self.suffix if self.path is None else self.path.suffix
        if self.depth > BYTE_DEPTH and suffix.lower() not in DEEP_SUFFIXES:
            raise PydanticCustomError("rule", "16 bits per channel need a .png or a .tif", {"remedy": "drop {depth}"})
        if self.path is None and (self.preview or self.frames):
            raise PydanticCustomError("rule", "previews and frames need an output file")
        return self


@dataclass(frozen=True)
class Job:
    """An image to be painted."""

    inputs: Inputs
    options: Options
    output: Output

    def to_json(self) -> dict[str, Any]:
        """The job as JSON holds it. Inputs are absolute paths, or names of built-in styles. Raises PictureError for inputs in
        memory.
        """
        places = {name: place.absolute() for name in ("path", "frames") if (place := getattr(self.output, name))}
        return {
            "inputs": {role: self._place(role, source) for role, source in self.inputs.sources().items()},
            "options": self.options.model_dump(mode="json", exclude_unset=True),
            "output": self.output.model_copy(update=places).model_dump(mode="json", exclude={"overwrite"}),
        }

    @property
    def storable(self) -> bool:
        """Whether all inputs are files, so that `to_json` can store the job."""
        return len(self.inputs.files()) == len(self.inputs.sources())

    def _place(self, role: str, source: object) -> str:
        if not isinstance(source, (str, os.PathLike)):
            raise PictureError(f"{role}: a job with inputs in memory cannot be stored; save them to files first")
        built_in = self.inputs.files()[role] != Path(source)
        return os.fspath(source) if built_in else str(Path(source).absolute())

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Job:
        """The job that `to_json` stored. Raises OptionError for anything else."""
        try:
            options, output = Options(**stored["options"]), Output(**stored["output"])
            return cls(Inputs.of(stored["inputs"]), options, output)
        except (KeyError, TypeError, AttributeError) as error:
            raise OptionError(f"not a job: {files.one_line(repr(error))}") from error


def check_no_input(target: Path, inputs: Inputs) -> None:
    """Raise OutputError if the output is one of the input files."""
    for file in inputs.files().values():
        if target.exists() and file.exists() and target.samefile(file):
            raise OutputError(
                f"output {files.printable(target)} is the input {files.printable(file)} itself; choose another name"
            )


def check_frames(place: Path, *, overwrite: bool) -> None:
    """Raise OutputError if a film, or frames in a folder, cannot go there."""
    name, kind = files.printable(place), place.suffix.lower()
    if kind in FILMS:
        files.check(place, (kind,), overwrite=overwrite)
        return
    if kind:
        raise OutputError(f"frames go to a folder, a .gif or an .mp4, not to {name}")
    try:
        taken = place.exists() and (not place.is_dir() or (any(place.iterdir()) and not overwrite))
    except (OSError, ValueError) as error:
        raise OutputError(f"{name} cannot be used for frames: {files.reason(error)}") from error
    if taken:
        raise OutputError(f"{name} exists and is not an empty folder", remedy="name another, or use {overwrite}")


def preview_of(target: Path, count: int) -> Path:
    """The file of a preview after `count` steps."""
    return target.with_name(f"{target.stem}-step{count:05}{target.suffix}")


def replaces(output: Output, target: Path, file: Path) -> bool:
    """Whether a frame or a preview might replace `file`."""
    file = files.real(file)
    if output.frames:
        frames = files.real(output.frames)
        if file == frames or (file.parent in (frames, state_of(frames)) and re.fullmatch(r"\d{4,}\.png", file.name)):
            return True
    preview = rf"{re.escape(target.stem)}-step\d{{5,}}{re.escape(target.suffix)}"
    return bool(output.preview and file.parent == files.real(target).parent and re.fullmatch(preview, file.name))
