"""Clips that video programs get wrong, read and written, against formulas, ffprobe and ffmpeg's own pictures."""

from __future__ import annotations

import itertools
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_cases.make import Nasty
from clip_cases.measure import color_error, expected, measured, probed, times_by_ffprobe
from clip_cases.table import BY_NAME, CLIPS

from impasto import clips
from impasto.errors import PictureError

EXACT = 2e-5  # seconds: ffprobe writes six digits
READABLE = [clip for clip in CLIPS if not clip.error]
REFUSED = [clip for clip in CLIPS if clip.error]
CONVERTED = {"prores.mov", "interlaced.mpg"}  # sound that an MP4 cannot hold for browsers
REPACKED = {"tracks.ts", "late-start.ts"}  # the same sound without the heads that MPEG-TS gives every packet
# what ffmpeg converts in another way: it maps no tones and no primaries, guesses the matrix by another rule, drops transparency
OTHERWISE = {"bt2020.mp4", "display-p3.mp4", "hlg.mov", "pq.mp4", "telephone.mov", "transparent.mov", "wide-pixels.mp4"}
OTHERWISE |= {"untagged-large.mp4", "tiny.mp4", "size-changes.ts", "interlaced.mpg", "cover.mp4"}


def named(clips: list[Nasty]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("clip", clips, ids=[clip.name for clip in clips])


@named(REFUSED)
def test_what_is_no_video_is_refused_in_one_line(nasty: Path, clip: Nasty) -> None:
    with pytest.raises(PictureError) as caught:
        clips.open_clip(nasty / clip.name)
    assert str(caught.value) == f"clip {nasty / clip.name}: {clip.error}"


@named(READABLE)
def test_frames_are_those_that_players_show(nasty: Path, clip: Nasty) -> None:
    source = clips.open_clip(nasty / clip.name)
    frames = list(source.frames())
    assert source.size == clip.size
    assert len(frames) == source.count == (clip.frames or len(frames))
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert [frame.time for frame in frames] == source.times()
    assert source.seconds == frames[-1].time + frames[-1].duration
    for before, after in itertools.pairwise(frames):
        assert before.time + before.duration == after.time
    times = times_by_ffprobe(nasty / clip.name)[: len(frames)]
    assert np.nanmax(np.abs(np.array([float(frame.time) for frame in frames]) - times)) < EXACT
    for frame in frames:
        assert frame.pixels.shape == (1, 3, *clip.size)
        assert frame.pixels.dtype == torch.float32
        assert frame.pixels.is_contiguous()
        assert 0 <= frame.pixels.min() <= frame.pixels.max() <= 1
    if clip.colors is not None:
        assert color_error(clip, frames) < clip.colors
    assert any(clip.note in note for note in source.notes) if clip.note else not source.notes


@named([clip for clip in READABLE if clip.name not in OTHERWISE])
def test_the_first_frame_is_that_of_ffmpeg(nasty: Path, clip: Nasty) -> None:
    """Which way is up, and colors, by another program."""
    first = next(clips.open_clip(nasty / clip.name).frames()).pixels[0].permute(1, 2, 0).numpy()
    flags = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    words = ["-frames:v", "1", "-pix_fmt", "rgb24", "-sws_flags", flags, "-f", "rawvideo", "-"]
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(nasty / clip.name), *words]
    shown = subprocess.run(command, capture_output=True, check=True).stdout
    theirs = np.frombuffer(shown, np.uint8).reshape(first.shape)
    assert np.abs(first * 255 - theirs).mean() < 1.5


@named(READABLE)
def test_frames_do_not_depend_on_where_reading_starts(nasty: Path, clip: Nasty) -> None:
    source = clips.open_clip(nasty / clip.name)
    whole = list(source.frames())
    for first in {len(whole) // 2, len(whole) - 1}:
        rest = list(source.frames(first=first))
        assert len(rest) == len(whole) - first
        for one, other in zip(rest, whole[first:], strict=True):
            assert (one.number, one.time, one.duration) == (other.number, other.time, other.duration)
            assert torch.equal(one.pixels, other.pixels)
    assert list(source.frames(first=len(whole))) == []


@named(READABLE)
def test_what_is_written_has_the_same_times_and_the_same_sound_in_step(nasty: Path, clip: Nasty, tmp_path: Path) -> None:
    found = measured(clip, nasty / clip.name, tmp_path)
    assert max(found.drift, found.result) < EXACT
    has_sound = clips.open_clip(nasty / clip.name).has_sound
    kind = "converted" if clip.name in CONVERTED else "the same samples" if clip.name in REPACKED else "the same bytes"
    assert found.sound == (f"{kind}, in step" if has_sound else "none")
    made = tmp_path / f"{clip.name}.mp4"
    streams = probed(made)["streams"]
    assert [stream["codec_type"] for stream in streams] == ["video", "audio"] if has_sound else ["video"]
    video = streams[0]
    assert (video["codec_name"], video["pix_fmt"], video["color_range"]) == ("h264", "yuv420p", "tv")
    assert {video[key] for key in ("color_space", "color_transfer", "color_primaries")} == {"bt709"}
    assert video["has_b_frames"] == 0
    assert "side_data_list" not in video
    height, width = clip.size
    assert (video["height"], video["width"]) == (height - height % 2, width - width % 2)
    again = clips.open_clip(made)
    assert again.count == found.frames
    if clip.colors is not None:
        even = [frame.pixels[0].permute(1, 2, 0).numpy() for frame in again.frames()]
        wanted = [expected(clip, number)[: height - height % 2, : width - width % 2] for number in range(found.frames)]
        assert max(np.abs(one - other).mean() for one, other in zip(even, wanted, strict=True)) < (2 * clip.colors + 1.5) / 255


def test_a_limit_of_pixels_is_that_of_the_shown_size(nasty: Path) -> None:
    assert clips.open_clip(nasty / "wide-pixels.mp4", max_pixels=128 * 64).size == (64, 128)
    with pytest.raises(PictureError, match=r"8,192 pixels, more than the limit of 8,191; raise max_pixels$"):
        clips.open_clip(nasty / "wide-pixels.mp4", max_pixels=128 * 64 - 1)


def test_a_size_is_asked_for_upright(nasty: Path) -> None:
    clip = BY_NAME["turned-90.mp4"]
    small = [frame.pixels for frame in clips.open_clip(nasty / clip.name).frames(size=(48, 32))]
    assert small[0].shape == (1, 3, 48, 32)
    wanted = torch.from_numpy(expected(clip, 0).copy()).permute(2, 0, 1)[None].float()
    averaged = torch.nn.functional.avg_pool2d(wanted, 2)
    assert (small[0] - averaged).abs().mean() < 1.5 / 255


def test_part_of_a_clip_by_time(nasty: Path) -> None:
    source = clips.open_clip(nasty / "plain.mp4")
    whole = list(source.frames())
    window = clips.Window(start=Fraction(1, 4), end=Fraction(1, 2))
    part = list(source.frames(window))
    assert source.count_in(window) == len(part) == 6
    assert source.start(window) == Fraction(6, 24)
    assert all(torch.equal(one.pixels, other.pixels) for one, other in zip(part, whole[6:12], strict=True))
    assert [frame.time for frame in part] == [Fraction(number, 24) for number in range(6)] == source.times(window)


def test_an_address_is_the_name_of_a_file_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for address in ("http://127.0.0.1/clip.mp4", "concat:a.mp4|b.mp4", "data:video/mp4;base64,AAAA", "file:/etc/passwd"):
        with pytest.raises(PictureError, match="no such file or directory"):
            clips.open_clip(address)


def test_a_file_that_is_named_like_an_address_is_opened(nasty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("concat:x|y.mp4").write_bytes((nasty / "plain.mp4").read_bytes())
    assert clips.open_clip("concat:x|y.mp4").count == 18


def test_a_title_in_another_encoding_is_no_obstacle(nasty: Path, tmp_path: Path) -> None:
    file = tmp_path / "titled.mkv"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(nasty / "plain.mp4"), "-c", "copy", "-metadata", "title=abcdefgh"]
    subprocess.run([*command, str(file)], check=True)
    file.write_bytes(file.read_bytes().replace(b"abcdefgh", b"abc\xff\xfefgh"))
    assert clips.open_clip(file).count == 18
    assert clips.settings_of(file) is None
