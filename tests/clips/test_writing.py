"""Segments, sound, settings, and what happens when something cannot be written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clip_cases.make import pattern
from clip_cases.measure import decoded_times, probed, rewritten, sound_md5
from PIL import Image

from impasto import clips
from impasto.clips import Window, encode, format_of, join, open_clip, settings_of, write_gif
from impasto.clips.sound import Sound
from impasto.errors import OutputError, UsageError

RATE = Fraction(30000, 1001)
Timed = tuple[np.ndarray, Fraction, Fraction]


def painted(count: int, first: int = 0, size: tuple[int, int] = (32, 48), rate: Fraction = RATE) -> Iterator[Timed]:
    for number in range(first, first + count):
        yield np.rint(pattern(number, size) * 255).astype(np.uint8), number / rate, 1 / rate


def segments(folder: Path, kind: str, *counts: int) -> list[Path]:
    made, first = list[Path](), 0
    for count in counts:
        made.append(folder / f"{first}.segment")
        assert encode(painted(count, first), made[-1], format_of(f"x{kind}"), time_base=1 / RATE, rate=RATE) == ()
        first += count
    return made


@pytest.mark.parametrize("kind", [".mp4", ".webm"])
def test_segments_follow_one_another_exactly(tmp_path: Path, kind: str) -> None:
    target = tmp_path / f"film{kind}"
    assert join(segments(tmp_path, kind, 5, 1, 7), target) == ()
    film = open_clip(target)
    step = Fraction(1, 1000) if kind == ".webm" else Fraction(0)  # WebM counts milliseconds
    assert film.count == 13
    assert all(abs(time - number / RATE) <= step for number, time in enumerate(film.times()))
    assert abs(film.seconds - 13 / RATE) <= step
    assert film.notes == ()
    for frame in film.frames():
        wanted = pattern(frame.number, (32, 48))
        assert np.abs(frame.pixels[0].permute(1, 2, 0).numpy() - wanted).mean() < 2.5 / 255
    with av.open(str(target)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert {0, 5, 6} <= {number for number, packet in enumerate(packets) if packet.is_keyframe}


@pytest.mark.parametrize("kind", [".mp4", ".webm"])
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    files = list[bytes]()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        target = tmp_path / f"{name}{kind}"
        join(segments(tmp_path / name, kind, 6, 4), target, metadata={"size": 48})
        files.append(target.read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("kind", [".mp4", ".webm", ".gif"])
def test_settings_are_kept(tmp_path: Path, kind: str) -> None:
    target, settings = tmp_path / f"film{kind}", {"style": "é\"'\\", "numbers": [1, 2.5], "long": "x" * 700}
    if kind == ".gif":
        write_gif(painted(2), target, metadata=settings)
    else:
        join(segments(tmp_path, kind, 2), target, metadata=settings)
    assert settings_of(target) == settings


def test_files_of_other_programs_have_no_settings(nasty: Path, tmp_path: Path) -> None:
    assert settings_of(nasty / "plain.mp4") is None
    Image.new("RGB", (4, 4)).save(tmp_path / "still.gif", comment=b"impasto [1, 2]")
    assert settings_of(tmp_path / "still.gif") is None


def test_odd_sides_lose_a_row_or_a_column(tmp_path: Path) -> None:
    file = tmp_path / "odd.segment"
    notes = encode(painted(2, size=(33, 47)), file, format_of("x.mp4"))
    assert notes == (f"{file}: one row or column of pixels is left out, because a video needs even sides",)
    assert open_clip(file).size == (32, 46)


def test_what_cannot_be_encoded(tmp_path: Path) -> None:
    file = tmp_path / "a.segment"
    with pytest.raises(OutputError, match="there are no frames to write"):
        encode([], file, format_of("x.mp4"))
    with pytest.raises(OutputError, match="at least 2 pixels wide and high"):
        encode(painted(1, size=(1, 8)), file, format_of("x.mp4"))
    with pytest.raises(ValueError, match="and the first one"):
        encode([*painted(1), *painted(1, 1, size=(8, 8))], file, format_of("x.mp4"))
    with pytest.raises(OutputError, match=r"film\.gif: segments become \.mp4 or \.webm"):
        join([], tmp_path / "film.gif")
    assert list(tmp_path.iterdir()) == []


def test_formats_go_by_suffix() -> None:
    found = [format_of(name) for name in ("a.MP4", "b.webm", "c.gif", "frames")]
    assert [(kind.suffix, kind.is_film, kind.can_hold_sound) for kind in found] == [
        (".mp4", True, True),
        (".webm", True, True),
        (".gif", False, False),
        ("", False, False),
    ]
    with pytest.raises(OutputError) as caught:
        format_of("film.mpg4")
    known = "known: .mp4, .webm, .gif, and no suffix for a folder of PNGs"
    assert str(caught.value) == f"film.mpg4: unknown suffix '.mpg4'; did you mean '.mp4'? {known}"


def test_a_file_that_exists_stays(tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    target.write_bytes(b"mine")
    parts = segments(tmp_path, ".mp4", 2)
    with pytest.raises(OutputError, match=r"film\.mp4 exists; use overwrite to replace it"):
        join(parts, target)
    assert target.read_bytes() == b"mine"
    join(parts, target, overwrite=True)
    assert open_clip(target).count == 2


FULL = """
import resource, signal, sys
from pathlib import Path
from impasto.clips import encode, format_of, join
from impasto.clips.sound import Sound
from impasto.errors import SaveError
import numpy as np
from fractions import Fraction
folder = Path(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 256, (20, 64, 96, 3), dtype=np.uint8)
frames = [(image, Fraction(number, 10), Fraction(1, 10)) for number, image in enumerate(noise)]
encode(frames, folder / "a.segment", format_of("x.mp4"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
segment, film = folder / "b.segment", folder / "film.mp4"
for call in (lambda: encode(frames, segment, format_of("x.mp4")), lambda: join([folder / "a.segment"], film)):
    try:
        call()
    except SaveError as error:
        print(error)
"""


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, check=True, text=True)
    assert done.stdout.splitlines() == [
        f"{tmp_path / name} could not be written: file too large" for name in ("b.segment", "film.mp4")
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["a.segment"]


@pytest.mark.parametrize("kind", [".mp4", ".webm"])
def test_part_of_the_sound_goes_with_part_of_the_pictures(nasty: Path, tmp_path: Path, kind: str) -> None:
    source, target = open_clip(nasty / "plain.mp4"), tmp_path / f"part{kind}"
    window = Window(start=Fraction(1, 4), end=Fraction(5, 8))
    notes = rewritten(source, target, window)
    assert notes == ((f"{target}: its sound is converted from aac to opus",) if kind == ".webm" else ())
    sound, pictures = decoded_times(target, "audio"), decoded_times(target, "video")
    assert len(pictures) == 9
    assert abs(pictures[0]) < 0.001
    assert abs(sound[0]) < 0.03
    assert abs(sound[-1] - 0.375) < 0.05
    # the sweep is where it was; WebM and its readers round times to milliseconds
    tone, whole = (samples(file) for file in (target, nasty / "plain.mp4"))
    part = tone[3000:13000]
    lags = range(-600, 601)
    scores = [np.corrcoef(part, whole[12000 + 3000 + lag :][: len(part)])[0, 1] for lag in lags]
    assert max(scores) > 0.95
    assert abs(lags[int(np.argmax(scores))]) <= (60 if kind == ".webm" else 2)


def samples(path: Path) -> np.ndarray:
    """48,000 a second, from the file's time 0 on."""
    words = ["-map", "0:a:0", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "48000", "-f", "f32le", "-"]
    done = subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), *words], capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


def test_sound_before_the_first_picture_stays_there(nasty: Path, tmp_path: Path) -> None:
    target = tmp_path / "late.mp4"
    rewritten(open_clip(nasty / "late-video.mp4"), target)
    assert decoded_times(target, "video")[0] - decoded_times(target, "audio")[0] == pytest.approx(0.25, abs=1e-4)


def test_sound_that_cannot_be_copied_is_converted_or_left_out(
    nasty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise av.error.InvalidDataError(1, "refused")

    source, target = open_clip(nasty / "plain.mp4"), tmp_path / "film.mp4"
    said = f"{target}: its sound could not be copied as it is and is "
    monkeypatch.setattr(Sound, "_copied", refuse)
    assert rewritten(source, target) == (f"{said}converted",)
    assert len(decoded_times(target, "audio")) > 30
    monkeypatch.setattr(Sound, "_converted", refuse)
    assert rewritten(source, target) == (f"{said}left out",)
    assert open_clip(target).count == 18
    assert not open_clip(target).has_sound
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]


def test_another_rate_is_stored_exactly(nasty: Path, tmp_path: Path) -> None:
    source, target = open_clip(nasty / "variable-rate.mp4"), tmp_path / "film.mp4"
    window = Window(fps=RATE, every=2)
    rewritten(source, target, window)
    assert open_clip(target).times() == source.times(window) == [2 * number / RATE for number in range(source.count_in(window))]
    assert sound_md5(target) == sound_md5(nasty / "variable-rate.mp4")


def test_the_clip_itself_is_not_replaced(nasty: Path, tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    source.write_bytes((nasty / "silent.mp4").read_bytes())
    (tmp_path / "link.mp4").symlink_to(source)
    with pytest.raises(OutputError, match=r"link\.mp4 is the clip itself; name another file"):
        join([], tmp_path / "link.mp4", clip=open_clip(source), overwrite=True)


def test_opus_stays_in_a_webm(nasty: Path, tmp_path: Path) -> None:
    target = tmp_path / "same.webm"
    assert rewritten(open_clip(nasty / "vp9.webm"), target) == ()
    assert sound_md5(target) == sound_md5(nasty / "vp9.webm")
    assert {stream["codec_name"] for stream in probed(target)["streams"]} == {"vp9", "opus"}
    assert np.allclose(decoded_times(target, "video"), decoded_times(nasty / "vp9.webm", "video"), atol=1e-6)
    assert np.allclose(decoded_times(target, "audio"), decoded_times(nasty / "vp9.webm", "audio"), atol=1e-6)


def test_a_gif_counts_hundredths_without_drift(tmp_path: Path) -> None:
    target = tmp_path / "film.gif"
    write_gif(painted(60, size=(6, 8)), target)
    found = open_clip(target)
    assert (found.count, found.size) == (60, (6, 8))
    assert all(abs(time - number / RATE) <= Fraction(1, 200) for number, time in enumerate(found.times()))
    first = next(found.frames()).pixels[0].permute(1, 2, 0).numpy()
    assert np.abs(first - pattern(0, (6, 8))).mean() < 0.03
    with Image.open(target) as image:
        assert image.info["loop"] == 0
    with pytest.raises(OutputError, match="there are no frames to write"):
        write_gif([], tmp_path / "none.gif")
    assert not (tmp_path / "none.gif").exists()


def test_without_the_extra_one_line_says_what_to_install(nasty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    line = "^video needs the video extra: pip install 'impasto\\[video\\]'$"
    with pytest.raises(UsageError, match=line):
        open_clip(nasty / "plain.mp4")
    with pytest.raises(UsageError, match=line):
        encode(painted(1), tmp_path / "a.segment", format_of("x.mp4"))
    with pytest.raises(UsageError, match=line):
        join([], tmp_path / "film.mp4")
    assert clips.is_clip(nasty / "plain.mp4")
    write_gif(painted(2, size=(6, 8)), tmp_path / "film.gif")
    assert open_clip(tmp_path / "film.gif").count == 2


def test_importing_the_room_does_not_import_pyav() -> None:
    program = "import sys, impasto.clips; print({'av', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "set()"
