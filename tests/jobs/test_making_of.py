"""The making-of: previews, folders of frames and films of a job."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.cli import main


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Path, painting: Path) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int:
        return main([str(photo), str(painting), "-o", "out.png", "-q", "--size", "48", "--iterations", "12", *words])

    return run


def test_previews_come_every_so_many_steps(cli: Callable[..., int], tmp_path: Path) -> None:
    assert cli("--preview", "5") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"out.png", "out-step00005.png", "out-step00010.png"}
    assert (np.asarray(Image.open("out-step00005.png")) != np.asarray(Image.open("out.png"))).any()


def test_frames_go_to_a_folder_or_a_gif(cli: Callable[..., int]) -> None:
    assert cli("--frames", "making") == 0
    names = sorted(path.name for path in Path("making").iterdir())
    assert names == [f"{number:04}.png" for number in range(1, len(names) + 1)]
    assert len(names) == 12
    assert (np.asarray(Image.open(f"making/{names[-1]}")) == np.asarray(Image.open("out.png"))).all()
    assert cli("--frames", "making.gif", "--overwrite") == 0
    with Image.open("making.gif") as film:
        assert 6 <= getattr(film, "n_frames", 1) <= 12  # Pillow joins frames that are alike: a step may bring nothing better
        assert film.size == (48, 32)


def test_frames_of_an_earlier_run_are_no_part_of_the_next_making_of(cli: Callable[..., int]) -> None:
    assert cli("--frames", "making") == 0
    Path("making/0012.png").rename("making/0099.png")
    Path("making/mine.txt").write_text("mine")
    assert cli("--frames", "making", "--overwrite") == 0
    assert sorted(path.name for path in Path("making").iterdir()) == [*(f"{n:04}.png" for n in range(1, 13)), "mine.txt"]


def test_frames_become_a_film(cli: Callable[..., int]) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    assert cli("--frames", "making.mp4") == 0
    words = [ffmpeg, "-loglevel", "error", "-i", "making.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    film = np.frombuffer(subprocess.run(words, capture_output=True, check=True).stdout, np.uint8).reshape(-1, 32, 48, 3)
    assert len(film) == 12 + 24  # every step, and the last for two seconds more
    assert np.abs(film[-1].astype(float) - np.asarray(Image.open("out.png"))).mean() < 12


def test_frames_never_replace_existing_files(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    Path("making").mkdir()
    Path("making", "mine.txt").write_text("mine")
    Path("film.gif").write_text("mine")
    for place, says in (("making", "not an empty folder"), ("film.gif", "exists"), ("film.avi", "a folder, a .gif or an .mp4")):
        assert cli("--frames", place) == 2
        assert says in capsys.readouterr().err
    assert not Path("out.png").exists()


def test_at_strength_0_the_one_frame_is_the_picture(cli: Callable[..., int]) -> None:
    assert cli("--strength", "0", "--frames", "making") == 0
    assert [path.name for path in Path("making").iterdir()] == ["0001.png"]
    assert (np.asarray(Image.open("making/0001.png")) == np.asarray(Image.open("out.png"))).all()
    assert cli("--strength", "0", "--frames", "making.gif", "--overwrite") == 0
    with Image.open("making.gif") as film:
        assert (getattr(film, "n_frames", 1), film.size) == (1, (48, 32))


def test_a_refusal_leaves_no_folder_for_frames(cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    late = ("--method", "gatys", "--encoder", "lite", "--style-scale", "0.25")
    Path("out-step00005.png").write_text("mine")
    for words, says in ((late, "12x8 pixels"), (("--preview", "5"), "out-step00005.png exists")):
        assert cli("--frames", "making", *words) == 2
        assert says in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["out-step00005.png"]


def test_a_film_never_replaces_an_input(
    cli: Callable[..., int], photo: Path, painting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open(photo).save("photo.gif")
    before = Path("photo.gif").read_bytes()
    words = ("photo.gif", str(painting), "-o", "out.png", "-q", "--size", "48", "--iterations", "2", "--overwrite")
    assert main([*words, "--frames", "photo.gif"]) == 2
    assert "would replace the input photo.gif" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photo.gif"]
    assert Path("photo.gif").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "words"), [("frames/0001.png", ("--frames", "frames")), ("o-step00001.png", ("--preview", "1"))]
)
def test_a_frame_or_a_preview_never_replaces_an_input(
    cli: Callable[..., int], photo: Path, painting: Path, name: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("frames").mkdir()
    Image.open(photo).save(name)
    before = Path(name).read_bytes()
    assert main([name, str(painting), "-o", "o.png", "-q", "--size", "48", "--iterations", "2", "--overwrite", *words]) == 2
    assert f"would replace the input {name}" in capsys.readouterr().err
    assert Path(name).read_bytes() == before
    assert not Path("o.png").exists()
