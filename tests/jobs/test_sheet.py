"""Contact sheets without the command line: events, inputs in memory, one Stylizer, and where tiles are."""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import names, pixels_of
from PIL import Image

from impasto import inputs
from impasto.errors import OptionError
from impasto.jobs import Note, Output, Saved
from impasto.jobs import sheet as sheets
from impasto.jobs.events import Tile
from impasto.jobs.sheet import Grid, Sheet
from impasto.options import Options
from impasto.stylizer import Stylizer

OPTIONS: dict[str, Any] = {"quality": "instant", "size": 48, "device": "cpu"}
TILE = (40, 48)

pytestmark = pytest.mark.usefixtures("here")


def sheet(photo: Any, *styles: Any, columns: int | None = None, path: str | None = "sheet.png", **options: Any) -> Sheet:
    return Sheet(photo, styles, Options(**OPTIONS | options), Output(path=path), columns)


def test_events_come_in_order_and_survive_pickling() -> None:
    events = list(sheets.run(sheet("photo.png", "style.png", "udnie", size=64)))
    assert pickle.loads(pickle.dumps(events)) == events
    note, *painted, saved = events
    assert isinstance(note, Note)
    assert isinstance(saved, Saved)
    assert all(isinstance(event, Tile) for event in painted)
    found = [(tile.name, tile.number, tile.of) for tile in painted if isinstance(tile, Tile)]
    assert list(dict.fromkeys(found)) == [("style", 1, 2), ("udnie", 2, 2)]
    done = [tile.done for tile in painted if isinstance(tile, Tile)]
    assert done == sorted(done)
    assert (done[-1], 0.5 in done) == (1.0, True)
    assert (saved.path, saved.width, saved.height) == (Path("sheet.png"), *Grid.of(3, (53, 64)).size[::-1])
    assert (saved.notes, saved.exit_code) == ((note.text,), 0)


def test_inputs_may_be_in_memory_and_an_encoder_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stylizer = Stylizer(**OPTIONS)
    whole = list(sheets.run(sheet("photo.png", "style.png")))
    monkeypatch.setattr("impasto.encoders.build", lambda *words, **more: pytest.fail("another encoder was built"))
    photo, style = io.BytesIO(Path("photo.png").read_bytes()), stylizer.style(pixels_of("style.png"))
    *events, saved = sheets.run(sheet(photo, style, pixels_of("style.png"), path=None, columns=3), stylizer)
    assert isinstance(saved, Saved)
    assert saved.path is None
    assert [tile.name for tile in events if isinstance(tile, Tile)][:: len(events) - 1] == ["style 1", "style 2"]
    made = pixels_of(io.BytesIO(saved.data))
    step = TILE[1] + Grid.of(3, TILE, 3).margin
    first, *others = (made[6:46, 6 + x * step : 54 + x * step] for x in range(3))
    assert (first == pixels_of("photo.png")).all()
    assert all((tile == others[0]).all() and (tile != first).any() for tile in others)
    assert isinstance(whole[-1], Saved)


def test_each_image_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from impasto import pictures

    read: list[str] = []
    load = pictures.load

    def seen(source: Any, **more: Any) -> Any:
        read.append(str(source))
        return load(source, **more)

    monkeypatch.setattr(pictures, "load", seen)
    list(sheets.run(sheet("photo.png", "style.png", "another.png")))
    assert read == ["photo.png", "style.png", "another.png"]


def test_closing_leaves_nothing_and_frees_the_output(here: Path) -> None:
    for _ in range(2):
        events = sheets.run(sheet("photo.png", "udnie", "style.png"))
        next(events)
        events.close()
        assert names(here) == set()
    list(sheets.run(sheet("photo.png", "udnie")))
    assert names(here) == {"sheet.png"}


def test_no_columns_are_an_option_error() -> None:
    with pytest.raises(OptionError, match=r"^columns must be at least 1, not 0$"):
        sheet("photo.png", columns=0)


# ---------------------------------------------------------------------------------------------------------------- layout


@pytest.mark.parametrize("tile", [(21, 32), (32, 21), (3, 32), (32, 3)])
@pytest.mark.parametrize("count", [1, 2, 7, 13, 50])
def test_every_tile_has_a_place_of_its_own(tile: tuple[int, int], count: int) -> None:
    for columns in (None, 1, 4, 99):
        grid = Grid.of(count, tile, columns)
        assert (grid.rows - 1) * grid.columns < count <= grid.rows * grid.columns
        assert columns is None or grid.columns == min(columns, count)
        paper = grid.paper()
        for number in range(count):
            grid.place(paper, number, "x" * 20, Image.new("RGB", tile[::-1], (9, number, 9)))
        pixels = np.asarray(paper)
        drawn = pixels[..., 1][(pixels[..., (0, 2)] == 9).all(2)]
        assert np.bincount(drawn, minlength=count).tolist() == [math.prod(tile)] * count
        edge = grid.margin
        assert all((side == 255).all() for side in (pixels[:edge], pixels[-edge:], pixels[:, :edge], pixels[:, -edge:]))


def test_a_dozen_tiles_have_about_the_shape_of_a_screen() -> None:
    for tile in ((213, 320), (320, 213), (320, 320)):
        height, width = Grid.of(len(inputs.style_names()) + 1, tile).size
        assert 1.2 < width / height < 2.4


def test_a_long_name_is_cut_to_the_width_of_its_tile() -> None:
    grid = Grid.of(2, (40, 60), 2)
    short, long = grid.paper(), grid.paper()
    grid.place(short, 0, "udnie", Image.new("RGB", (60, 40)))
    grid.place(long, 0, "wreck-of-the-minotaur-and-more", Image.new("RGB", (60, 40)))
    drawn = [np.asarray(image)[grid.margin + 40 :].min(2) < 255 for image in (short, long)]
    assert drawn[1].sum() > drawn[0].sum() > 0
    assert not any(words[:, : grid.margin].any() or words[:, grid.margin + 60 :].any() for words in drawn)
