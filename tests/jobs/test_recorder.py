"""Previews and the making-of: they resume where they were, films are made of whole folders of frames, and no frame is stale."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import after_step, names, pixels_of
from jobs.small import OUT, STEPS, finish, interrupt, job, same
from PIL import Image

from impasto import jobs, pictures
from impasto.clips import open_clip
from impasto.errors import OutputError, PictureError, SaveError
from impasto.inputs import Inputs
from impasto.jobs import film, recorder
from impasto.jobs.lock import alone

pytestmark = pytest.mark.usefixtures("here")


def contents(folder: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def recorded(path: str | Path, frames: str, **output: Any) -> jobs.Job:
    return job(path, output={"frames": Path(frames), **output})


def test_previews_and_a_folder_of_frames_resume(here: Path) -> None:
    finish(recorded("whole.png", "all", preview=2))
    assert sorted(contents("all")) == [f"{number:04}.png" for number in range(1, STEPS + 1)]
    interrupt(recorded(OUT, "some", preview=2), 5)
    previews = {f"out-step{count:05}.png" for count in (2, 4)}
    assert names(here) >= previews
    assert "out-step00006.png" not in names(here)
    finish(recorded(OUT, "some", preview=2))
    for count in ("00002", "00004", "00006", "00008"):
        assert Path(f"out-step{count}.png").read_bytes() == Path(f"whole-step{count}.png").read_bytes()
    assert contents("some") == contents("all")
    assert pictures.read_settings("out-step00002.png") is None
    assert (pixels_of("out-step00002.png") != pixels_of(OUT)).any()


def test_frames_are_spread_over_the_work_and_stale_ones_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MOST_FRAMES", 20)
    finish(job("long.png", iterations=30, output={"frames": Path("frames")}))
    many = len(contents("frames"))
    assert 15 <= many <= 21
    Path("frames/mine.txt").write_text("not a frame")
    with pytest.raises(OutputError, match="frames exists and is not an empty folder; name another, or use overwrite"):
        finish(recorded(OUT, "frames"))
    interrupt(recorded(OUT, "frames", overwrite=True), 5)
    assert len(contents("frames")) == many + 1  # nothing is removed before the new frames are whole
    finish(recorded(OUT, "frames", overwrite=True))
    assert sorted(contents("frames")) == [*(f"{number:04}.png" for number in range(1, STEPS + 1)), "mine.txt"]
    with Image.open(f"frames/{STEPS:04}.png") as last, Image.open(OUT) as image:
        assert last.tobytes() == image.tobytes()


@pytest.mark.parametrize("kind", [".gif", ".mp4"])
def test_a_film_resumes(here: Path, kind: str) -> None:
    if kind == ".mp4":
        pytest.importorskip("av")
    finish(recorded("whole.png", f"whole{kind}"))
    folder = here / f"film{kind}.unfinished"
    folder.mkdir()
    (folder / "0009.png").touch()  # of an abandoned run
    interrupt(recorded(OUT, f"film{kind}"), 5)
    part = Path(f"film{kind}").read_bytes()
    assert len(list(folder.iterdir())) == 5
    finish(recorded(OUT, f"film{kind}"))
    assert Path(f"film{kind}").read_bytes() == Path(f"whole{kind}").read_bytes() != part
    assert names(here) == {OUT.name, f"film{kind}", "whole.png", f"whole{kind}"}
    if kind == ".gif":
        with Image.open("film.gif") as shown:
            assert (getattr(shown, "n_frames", 1), shown.size) == (STEPS, (40, 33))
        return
    shown = open_clip("film.mp4")
    assert (shown.count, shown.seconds, shown.size) == (STEPS, Fraction(STEPS, 12) + 2, (32, 40))
    image = [np.rint(frame.pixels[0].permute(1, 2, 0).numpy() * 255) for frame in shown.frames()][-1]
    luma = (0.299, 0.587, 0.114)  # color has a quarter of the pixels
    assert np.abs(image @ luma - pixels_of(OUT)[:32] @ luma).mean() < 12


def test_a_film_that_cannot_be_written_is_made_later(here: Path, often: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bytes:
        raise SaveError("the disk is full")

    finish(recorded("whole.png", "whole.gif"))
    with monkeypatch.context() as patch:
        patch.setattr(film, "_gif", full)
        with pytest.raises(SaveError) as caught:
            finish(recorded(OUT, "film.gif"))
    assert str(caught.value) == "the disk is full; `impasto resume out.png` resumes it"
    assert same(OUT, "whole.png")
    film.finish(Path("film.gif"))
    assert Path("film.gif").read_bytes() == Path("whole.gif").read_bytes()


@pytest.mark.parametrize("lost", ["film.gif.unfinished", "film.gif.unfinished/0002.png"])
def test_a_film_never_starts_in_its_middle(here: Path, lost: str) -> None:
    interrupt(recorded(OUT, "film.gif"), 5)
    part = Path("film.gif").read_bytes()
    shutil.rmtree(lost) if Path(lost).is_dir() else Path(lost).unlink()
    assert (
        "film.gif will not be written: the frames from before the interruption are missing"
        in finish(recorded(OUT, "film.gif")).notes
    )
    assert Path("film.gif").read_bytes() == part


def test_what_cannot_hold_frames_is_refused_before_painting(here: Path) -> None:
    Path("mine.gif").write_text("mine")
    for frames, says in (
        ("photo.png", "frame or a preview would replace the input photo.png"),
        ("film.avi", "frames go to a folder, a .gif or an .mp4, not to film.avi"),
        ("no/frames", "no/frames cannot be used for frames: no such file"),
        ("mask.png", "frames go to a folder"),
        ("mine.gif", "mine.gif exists"),
    ):
        with pytest.raises(OutputError, match=says):
            finish(recorded(OUT, frames))
    with alone(Path("film.gif")), pytest.raises(OutputError, match=r"^another run is writing film.gif; wait for it, or choose"):
        finish(recorded(OUT, "film.gif"))
    Path("out-step00003.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"out-step00003.png exists"):
        finish(recorded(OUT, "frames", preview=3))
    with pytest.raises(PictureError, match="pixels"):  # found out only when the targets are computed
        finish(job(method="gatys", encoder="lite", style_scale=0.25, output={"frames": Path("frames")}))
    assert names(here) == {"out-step00003.png", "mine.gif"}


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("frames/0001.png", {"frames": Path("frames")}),
        ("photo.gif", {"frames": Path("photo.gif")}),
        ("out-step00001.png", {"preview": 1}),
    ],
)
def test_an_input_is_never_replaced(here: Path, name: str, output: dict[str, Any]) -> None:
    Path("frames").mkdir()
    with Image.open("photo.png") as image:
        image.save(name)
    before = Path(name).read_bytes()
    with pytest.raises(OutputError, match=f"would replace the input {name}"):
        finish(job(inputs=Inputs(name, ("style.png",)), output={"overwrite": True, **output}))
    assert Path(name).read_bytes() == before
    assert not OUT.exists()


def test_a_folder_without_frames_is_removed_and_strength_0_has_one(here: Path) -> None:
    with after_step(0):
        list(jobs.run(recorded(OUT, "frames")))
    assert names(here) == set()
    finish(job(strength=0, output={"frames": Path("frames")}))
    assert sorted(contents("frames")) == ["0001.png"]
    assert (pixels_of("frames/0001.png") == pixels_of(OUT)).all()
    finish(job(strength=0, output={"frames": Path("film.gif"), "overwrite": True}))
    with Image.open("film.gif") as shown:
        assert (getattr(shown, "n_frames", 1), shown.size) == (1, (40, 33))
