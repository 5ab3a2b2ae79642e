"""Animated pictures, folders of images, and what is a clip."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_cases.make import pattern
from PIL import Image

from impasto.clips import Window, is_clip, open_clip
from impasto.errors import OptionError, PictureError

SIZE = (12, 20)


def image(number: int, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.fromarray(np.rint(pattern(number, size) * 255).astype(np.uint8))


def animation(path: Path, durations: list[int], **words: object) -> Path:
    first, *others = [image(number) for number in range(len(durations))]
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, **words)
    return path


@pytest.mark.parametrize(("kind", "words"), [(".png", {}), (".webp", {"lossless": True}), (".gif", {})])
def test_animations_keep_their_times(tmp_path: Path, kind: str, words: dict[str, object]) -> None:
    clip = open_clip(animation(tmp_path / f"a{kind}", [100, 40, 250], **words))
    frames = list(clip.frames())
    assert (clip.size, clip.count, clip.seconds, clip.has_sound) == (SIZE, 3, Fraction(39, 100), False)
    assert [frame.time for frame in frames] == clip.times() == [Fraction(0), Fraction(1, 10), Fraction(14, 100)]
    assert [frame.duration for frame in frames] == [Fraction(1, 10), Fraction(4, 100), Fraction(25, 100)]
    for frame in frames:
        apart = np.abs(frame.pixels[0].permute(1, 2, 0).numpy() - pattern(frame.number, SIZE)).mean()
        assert apart < (0.03 if kind == ".gif" else 0.5 / 255)
    assert torch.equal(next(clip.frames(first=2)).pixels, frames[2].pixels)
    assert next(clip.frames(size=(6, 10))).pixels.shape == (1, 3, 6, 10)
    assert clip.digest == hashlib.sha256((tmp_path / f"a{kind}").read_bytes()).hexdigest()
    assert clip.notes == ()


def test_a_gif_that_states_no_durations_plays_as_in_browsers(tmp_path: Path) -> None:
    clip = open_clip(animation(tmp_path / "fast.gif", [0, 10, 30]))
    assert clip.times() == [Fraction(0), Fraction(1, 10), Fraction(2, 10)]
    assert clip.notes == (f"{tmp_path / 'fast.gif'} frames of less than 20 ms are shown for 100 ms, as browsers do",)


def test_transparency_is_shown_on_white(tmp_path: Path) -> None:
    frames = [Image.new("RGBA", (4, 4), (0, 0, 200, alpha)) for alpha in (0, 128, 255)]
    frames[0].putpixel((0, 0), (0, 0, 200, 255))
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=100, blend=0)
    clip = open_clip(tmp_path / "a.png")
    last = [frame.pixels[0, :, 3, 3].tolist() for frame in clip.frames()]
    half = 1 - 128 / 255
    assert last == [
        pytest.approx(color, abs=1e-3) for color in ([1, 1, 1], [half, half, 1 - (1 - half) * 55 / 255], [0, 0, 200 / 255])
    ]
    assert clip.notes == (f"{tmp_path / 'a.png'} is shown on white where it is transparent",)


def test_an_animation_that_is_cut_off(tmp_path: Path) -> None:
    data = animation(tmp_path / "whole.gif", [100] * 6).read_bytes()
    (tmp_path / "cut.gif").write_bytes(data[: len(data) * 2 // 3])
    clip = open_clip(tmp_path / "cut.gif")
    assert 1 <= len(list(clip.frames())) == clip.count < 6
    assert any("is cut off" in note for note in clip.notes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images 1, 2, 9, 10 and 11; the last is larger. A text and a hidden file."""
    place = tmp_path / "frames"
    place.mkdir()
    for number in (1, 2, 9, 10):
        image(number).save(place / f"shot{number}.png")
    image(11, (24, 40)).save(place / "shot11.PNG")
    (place / "shot3.txt").write_text("no")
    (place / ".shot4.png").write_text("no")
    (place / "cover.png").write_text("no")
    return place


def test_a_folder_is_read_in_the_order_of_numbers(folder: Path) -> None:
    clip = open_clip(folder)
    frames = list(clip.frames())
    for frame, number in zip(frames, (1, 2, 9, 10), strict=False):
        assert np.abs(frame.pixels[0].permute(1, 2, 0).numpy() - pattern(number, SIZE)).max() < 0.6 / 255
    assert frames[-1].pixels.shape == (1, 3, *SIZE)
    assert (clip.count, clip.seconds, clip.rate, clip.size) == (5, Fraction(5, 24), 24, SIZE)
    assert clip.notes == (f"{folder} holds images of several sizes, which are resized to the first's",)
    assert torch.equal(next(clip.frames(first=3)).pixels, frames[3].pixels)


def test_the_rate_of_a_folder_is_what_is_asked_for(folder: Path) -> None:
    clip = open_clip(folder)
    slow = Window(fps=Fraction(10), start=Fraction(1, 10), end=Fraction(3, 10))
    assert clip.times(slow) == [Fraction(0), Fraction(1, 10)]
    assert clip.times(Window(fps=Fraction(10))) == [Fraction(number, 10) for number in range(5)]
    assert clip.times() == [Fraction(number, 24) for number in range(5)]


def test_the_digest_of_a_folder_follows_names_and_bytes(folder: Path) -> None:
    before = open_clip(folder).digest
    (folder / "shot3.txt").write_text("other")
    assert open_clip(folder).digest == before
    (folder / "shot9.png").rename(folder / "shot8.png")
    renamed = open_clip(folder).digest
    image(30).save(folder / "shot8.png")
    assert len({before, renamed, open_clip(folder).digest}) == 3


def test_what_is_no_clip(tmp_path: Path, folder: Path) -> None:
    image(0).save(tmp_path / "still.png")
    image(0).save(tmp_path / "still.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.mp4").touch()
    for name, problem in {
        "still.png": "is a still image, not a clip",
        "still.jpg": "is a still image, not a clip",
        "empty": "the folder holds no numbered images",
        "nothing.mp4": "the file is empty",
        "absent.mp4": "no such file or directory",
        "a\0b.mp4": "not a valid file name",
    }.items():
        with pytest.raises(PictureError) as caught:
            open_clip(tmp_path / name)
        assert str(caught.value).endswith(f": {problem}")
    image(0).save(tmp_path / "large.gif", save_all=True, append_images=[image(1)])
    with pytest.raises(PictureError, match=r"240 pixels, more than the limit of 200; raise max_pixels$"):
        open_clip(tmp_path / "large.gif", max_pixels=200)
    with pytest.raises(OptionError, match=r"^start is after the end: .*frames is 0.21 s long$"):
        list(open_clip(folder).frames(Window(start=Fraction(9))))


def test_clips_are_told_from_pictures(tmp_path: Path, folder: Path) -> None:
    image(0).save(tmp_path / "still.png")
    image(0).save(tmp_path / "still.mp4", "PNG")
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "film.bin").write_bytes(b"\0\0\0\x18ftypisom" + bytes(40))
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (tmp_path / "empty").mkdir()
    moving = [animation(tmp_path / f"a{kind}", [100, 100]) for kind in (".gif", ".webp", ".png")]
    assert all(map(is_clip, [*moving, folder, tmp_path / "text.mp4", tmp_path / "film.bin", "absent.mov"]))
    still = ["still.png", "still.mp4", "photo.heic", "empty", "absent.png", "a\0.png"]
    assert not any(is_clip(tmp_path / name) for name in still)
