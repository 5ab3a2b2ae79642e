"""The folder of an unfinished video, next to its output: painted frames, encoded parts, and a card that says how far it is.

Frames are painted in any order and stored without loss. The frames of a part are encoded as soon as all of them are there, and removed
when painting no longer needs them. So the folder stays small however long the clip is, and at most the frame in work is lost.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from impasto import files
from impasto.clips import FRAME_NAME, Format, encode
from impasto.errors import SaveError, StateFileError
from impasto.files import printable
from impasto.jobs.lock import state_of

if TYPE_CHECKING:
    from torch import Tensor

CARD = "card.json"
FOLDER = "folder"
PART = 48  # frames that are encoded together


class Card(BaseModel):
    """What an unfinished video is.

    job: as `Video.to_json` stores it. clip: the clip's digest. made_by: versions and digests on which the frames depend. memory: bytes
    that frames are planned for. needs: the earliest frame that painting goes on from. frames: how many there are, about. painted: how
    many are. encoded: how many are encoded. seconds: of work so far. mine: SHA-256 of the output that the run may replace. whole: that
    of the finished file, before it gets its name; FOLDER for a folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: dict[str, Any]
    clip: str
    made_by: dict[str, str]
    memory: int
    frames: int
    needs: int = 0
    painted: int = 0
    encoded: int = 0
    seconds: float = 0.0
    mine: str = ""
    whole: str = ""


class Workspace:
    """The folder of an output. kind: the format of the output. time_base, rate: of its times, see `clips.encode`."""

    def __init__(self, output: Path, kind: Format, card: Card, time_base: Fraction, rate: Fraction) -> None:
        self.folder, self.kind, self.card = state_of(output), kind, card
        self.time_base, self.rate = time_base, rate

    @classmethod
    def there(cls, output: Path) -> bool:
        """Whether an output has an unfinished video."""
        return (state_of(output) / CARD).is_file()

    @staticmethod
    def read(output: Path) -> Card:
        """The card of an output. Raises StateFileError."""
        file = state_of(output) / CARD
        try:
            return Card.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise StateFileError(f"{printable(file)} is damaged, or from another version of impasto") from error

    @staticmethod
    def finished(output: Path, card: Card) -> bool:
        """Whether the output is there, finished, and a run was killed before it removed its folder."""
        if card.whole == FOLDER:
            return output.is_dir() and any(output.iterdir()) and not (state_of(output) / "whole").exists()
        return bool(card.whole) and files.digest(output) == card.whole

    def begin(self) -> None:
        """Make the folder, without what an earlier run left in it."""
        self.remove()
        self.folder.mkdir()
        self.save()

    def save(self, **news: Any) -> None:
        """Write the card with news. Raises SaveError."""
        self.card = self.card.model_copy(update=news)
        files.write(self.folder / CARD, self.card.model_dump_json(indent=1).encode(), overwrite=True)

    def frame_file(self, number: int) -> Path:
        """Where a painted frame is."""
        return self.folder / f"frame-{number:07d}.png"

    def kept(self, number: int) -> Tensor | None:
        """A painted frame, 1x3xHxW in 0..1; None if it is not there."""
        import torch  # here: `impasto info` reads the card without torch

        found = self.pixels(number)
        return None if found is None else torch.from_numpy(found).permute(2, 0, 1)[None].contiguous().float() / 255

    def pixels(self, number: int) -> Any:
        """A painted frame, HxWx3 uint8; None if it is not there."""
        with contextlib.suppress(OSError), Image.open(self.frame_file(number)) as image:
            return np.array(image.convert("RGB"))
        return None

    def store(self, number: int, image: Tensor) -> Path:
        """Write a painted frame, 1x3xHxW in whole levels. Raises SaveError."""
        levels = (image[0].permute(1, 2, 0) * 255).round().byte().numpy()
        buffer = io.BytesIO()
        Image.fromarray(levels).save(buffer, "PNG", compress_level=1)
        file = self.frame_file(number)
        files.write(file, buffer.getvalue(), overwrite=True)
        return file

    def has(self, number: int) -> bool:
        """Whether a frame is painted."""
        return number < self.card.encoded or self.frame_file(number).exists()

    @property
    def whole_from_start(self) -> int:
        """How many frames are painted from the first on, without a gap."""
        return next(number for number in itertools.count(self.card.encoded) if not self.has(number))

    def parts(self) -> list[Path]:
        """The encoded parts in order."""
        return sorted(self.folder.glob(f"part-*{self.kind.suffix}"))

    def encode_up_to(self, last: int, times: list[Any]) -> None:
        """Encode frames that are not encoded yet, as one part, up to but without `last`. times: of all frames. Raises SaveError."""
        first = self.card.encoded
        if last > first:
            frames = ((self.pixels(number), *times[number]) for number in range(first, last))
            encode(
                frames, self.folder / f"part-{first:07d}{self.kind.suffix}", self.kind, time_base=self.time_base, rate=self.rate
            )
            self.save(encoded=last)
        self.clean()

    def clean(self) -> None:
        """Remove frames that are encoded and that painting no longer needs."""
        for file in self.folder.glob("frame-*.png"):
            if int(file.stem[6:]) < min(self.card.needs, self.card.encoded):
                file.unlink(missing_ok=True)

    def all_frames(self, count: int) -> Iterator[Any]:
        """The pixels of all frames, HxWx3 uint8."""
        for number in range(count):
            yield self.pixels(number)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def copy_frames(self, place: Path, count: int) -> None:
        """Make a folder of the frames, 000001.png and so on. Raises SaveError."""
        shutil.rmtree(place, ignore_errors=True)
        try:
            place.mkdir()
            for number in range(count):
                shutil.copyfile(self.frame_file(number), place / FRAME_NAME.format(number + 1))
        except OSError as error:
            raise SaveError(f"{printable(place)} could not be written: {files.reason(error)}") from error
