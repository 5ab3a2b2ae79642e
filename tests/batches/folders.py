"""Folders of small photographs, and what tests of batches ask about results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from command_line import noise
from jobs.small import record
from PIL import Image

from impasto.batches import Item, Settings, Work, plan
from impasto.batches.crew import Done, Report
from impasto.batches.painter import Painter
from impasto.batches.sources import Source

SMALL: dict[str, Any] = {"quality": "instant", "size": 48, "device": "cpu"}
STYLE = "udnie"


class Here:
    """A crew of one in this process, which saves the time that processes take to start. items: those it was given."""

    def __init__(self, settings: Settings) -> None:
        self.painter, self.waiting = Painter(settings), list[tuple[int, Item]]()
        self.items = list[Item]()

    def start(self, count: int) -> None:
        pass

    def loads(self) -> dict[int, int]:
        return {0: len(self.waiting)}

    def give(self, worker: int, number: int, item: Item) -> None:
        self.waiting.append((number, item))
        self.items.append(item)

    def wait(self, seconds: float) -> list[Report]:
        return [Done(0, self.painter.paint(*self.waiting.pop(0)))]

    def stop(self, *, finished: bool) -> None:
        pass


def photos(folder: Path, *names: str) -> Path:
    """Photographs of noise, each of its own."""
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise(folder / name, 40, 48, seed=seed)
    return folder


def work(where: str | list[str], *styles: str, output: str | Path = "out", **more: Any) -> Work:
    settings = {
        name: more.pop(name) for name in ("overwrite", "metadata", "keep_exif", "depth", "weights", "threads") if name in more
    }
    plans = {name: more.pop(name) for name in ("pairs", "template") if name in more}
    words = [where] if isinstance(where, str) else where
    return plan(words, styles or (STYLE,), Settings(str(output), **settings), options=SMALL | more, **plans)


def item(photo: str, *styles: str, output: str = "one.png", **options: Any) -> Item:
    (found,) = work(photo, *styles, template="{photo}.png", **options).items
    return Item(found.photo, found.styles, found.options, output)


def sources(*keys: str) -> list[Source]:
    return [Source(f"/somewhere/{key}", key) for key in keys]


def tree(folder: str | Path) -> dict[str, bytes]:
    """Every file below a folder, without the list of the batch."""
    files = (file for file in Path(folder).rglob("*") if file.is_file() and file.name != "batch.json")
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def same_image(one: Path, other: Path) -> bool:
    """Whether the pixels and what the image remembers are the same."""
    with Image.open(one) as a, Image.open(other) as b:
        return a.tobytes() == b.tobytes() and record(one) == record(other)
