"""Writing, compared with numpy, with Pillow and tifffile as readers, and with what a failing system leaves on the disk."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pictures.samples import colors, encoded, property_test, random_bytes, written
from PIL import Image, ImageCms

from impasto import pictures
from impasto.errors import OutputError, PictureError, SaveError, UnknownNameError, UsageError

SUFFIXES = sorted(pictures.SUFFIXES)
PHOTOGRAPHED = {0: {0x010F: "Leica"}, 0x8769: {0x9003: "2024:05:01 10:00:00"}, 0x8825: {1: "N"}}


def sample(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(random_bytes(24, 33, len(mode), seed=7))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


# ----------------------------------------------------------------------------------------------------------------- images


@property_test
@given(stored=hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([3, 4]))))
def test_bytes_survive_the_round_trip(stored: np.ndarray) -> None:
    if stored.shape[2] == 4:
        stored[..., 3] |= 1
    picture = pictures.load(stored)
    image = pictures.to_image(picture.pixels, picture.alpha)
    opaque = stored.shape[2] == 3 or (stored[..., 3] == 255).all()
    assert image.mode == ("RGB" if opaque else "RGBA")
    np.testing.assert_array_equal(np.asarray(image), stored[..., :3] if opaque else stored)
    assert torch.equal(pictures.load(image).pixels, picture.pixels)


@property_test
@given(values=hnp.arrays(np.float32, (1, 3, 3, 4), elements=st.floats(0, 1, width=32)))
def test_at_most_half_a_rounding_step(values: np.ndarray) -> None:
    image = pictures.to_image(torch.from_numpy(values))
    step = np.asarray(image).transpose(2, 0, 1)[None].astype(np.float64) / 255
    assert np.abs(step - values.astype(np.float64)).max() <= 0.5 / 255 + 1e-7


def test_to_image_clips_and_refuses() -> None:
    image = pictures.to_image(torch.tensor([-1.0, 0.5, 2.0]).reshape(1, 3, 1, 1).requires_grad_())
    np.testing.assert_array_equal(np.asarray(image), [[[0, 128, 255]]])
    half = pictures.to_image(torch.full((1, 3, 2, 2), 0.6, dtype=torch.bfloat16))
    assert np.asarray(half)[0, 0, 0] == round(float(torch.tensor(0.6, dtype=torch.bfloat16)) * 255)
    for pixels, alpha, words in (
        (torch.zeros(3, 4, 4), None, "pixels must be 1x3xHxW, not 3x4x4"),
        (torch.full((1, 3, 2, 2), torch.nan), None, "NaN"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 5), "alpha must be 1x1x4x4 like the pixels, not 1x1x4x5"),
    ):
        with pytest.raises(PictureError, match=words):
            pictures.to_image(pixels, alpha)


def test_flatten_is_alpha_compositing() -> None:
    image, alpha = sample("RGBA"), random_bytes(24, 33, 4, seed=7)[..., 3:] / 255
    for color, rgb in (("white", (255, 255, 255)), ("black", (0, 0, 0)), ("#ff8000", (255, 128, 0))):
        expected = alpha * random_bytes(24, 33, 4, seed=7)[..., :3] + (1 - alpha) * np.array(rgb)
        flat = pictures.flatten(image, color)
        assert flat.mode == "RGB"
        np.testing.assert_allclose(np.asarray(flat, float), expected, atol=1)
    np.testing.assert_array_equal(np.asarray(pictures.flatten(sample())), np.asarray(sample()))


# ---------------------------------------------------------------------------------------------------------------- encoding


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_encoded_images_hold_the_pixels_and_declare_srgb(tmp_path: Path, suffix: str) -> None:
    jpeg = pictures.SUFFIXES[suffix] == "JPEG"
    for mode in ("RGB", "RGBA"):
        data, notes = pictures.encode(sample(mode), suffix.upper(), settings={"seed": 3, "style": "Öl"})
        assert pictures.encode(sample(mode), suffix, settings={"seed": 3, "style": "Öl"})[0] == data
        assert notes == (("JPEG has no transparency, so transparent parts are white",) if jpeg and mode == "RGBA" else ())
        with opened(data) as image:
            assert image.format == pictures.SUFFIXES[suffix]
            assert image.mode == ("RGB" if jpeg else mode)
            if not jpeg:
                np.testing.assert_array_equal(np.asarray(image), np.asarray(sample(mode)))
            profile = image.info["icc_profile"]
        if suffix == ".tif":
            np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)), np.asarray(sample(mode)))
        assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        assert struct.unpack(">6H", profile[24:36]) == (2000, 1, 1, 0, 0, 0)  # not today's date
        assert pictures.load(data).notes == ()
        path = tmp_path / f"{mode}{suffix}"
        assert pictures.save(sample(mode), path, settings={"seed": 3, "style": "Öl"}) == tuple(f"{path}: {n}" for n in notes)
        assert path.read_bytes() == data


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits(tmp_path: Path, suffix: str, channels: int) -> None:
    values = np.random.default_rng(5).random((1, channels, 6, 7)).astype(np.float32)
    pixels, alpha = torch.from_numpy(values[:, :3]), torch.from_numpy(values[:, 3:]) if channels == 4 else None
    words = pictures.to_words(pixels, alpha)
    assert np.abs(words - values[0].transpose(1, 2, 0).astype(float) * 65535).max() < 0.51
    exif = {} if suffix == ".tif" else PHOTOGRAPHED
    path = tmp_path / f"deep{suffix}"
    assert pictures.save(words, path, settings=SETTINGS, exif=exif) == ()
    again = pictures.load(path)
    np.testing.assert_allclose(again.pixels.numpy() * 65535, words[..., :3].transpose(2, 0, 1)[None], atol=0.01)
    assert (again.exif, again.notes) == (exif, ())
    assert pictures.read_settings(path) == SETTINGS
    assert pictures.encode(words, suffix, settings=SETTINGS, exif=exif)[0] == path.read_bytes()
    if suffix == ".tif":
        np.testing.assert_array_equal(tifffile.imread(path), words)
    else:  # by the PNG specification: 16 bits, filter Sub in every row
        data = path.read_bytes()
        assert data[24:26] == bytes([16, 6 if channels == 4 else 2])
        rows = zlib.decompress(data[data.index(b"IDAT") + 4 : data.rindex(b"IEND") - 8])
        rows = np.frombuffer(rows, np.uint8).reshape(6, 1 + 7 * 2 * channels)
        assert (rows[:, 0] == 1).all()
        stored = np.cumsum(rows[:, 1:].reshape(6, 7, 2 * channels), axis=1, dtype=np.uint8).reshape(6, -1)
        np.testing.assert_array_equal(stored.view(">u2").reshape(6, 7, channels), words)
        np.testing.assert_array_equal(np.asarray(Image.open(path)), words >> 8)  # Pillow's own reading
    with pytest.raises(OutputError, match=r"JPEG holds 8 bits per channel, not 16; use \.png or \.tif"):
        pictures.save(words, tmp_path / "deep.jpg")


def test_jpeg_is_composited_over_white_and_keeps_color_resolution() -> None:
    flat = np.full((16, 16, 4), (200, 100, 50, 102), np.uint8)
    data, _ = pictures.encode(Image.fromarray(flat), ".jpg")
    expected = 1 - 0.4 + 0.4 * np.array([200, 100, 50]) / 255
    np.testing.assert_allclose(colors(pictures.load(data)), np.tile(expected, (16, 16, 1)), atol=2 / 255)
    flat[..., 3] = 255
    assert pictures.encode(Image.fromarray(flat), ".jpg")[1] == ()
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 255
    data, _ = pictures.encode(Image.fromarray(stripes), ".jpg")
    np.testing.assert_allclose(colors(pictures.load(data)), stripes / 255, atol=0.06)


def test_other_modes_and_the_images_own_metadata() -> None:
    for mode in ("L", "LA", "P", "1", "CMYK", "I;16"):
        data, _ = pictures.encode(sample().convert("L").convert(mode), ".png")
        assert pictures.load(data).size == (24, 33)
    image = sample()
    image.info.update(icc_profile=b"secret", dpi=(7, 7), comment=b"secret", exif=b"Exif\0\0secret", xmp=b"secret")
    before = dict(image.info)
    assert all(b"secret" not in pictures.encode(image, suffix)[0] for suffix in SUFFIXES)
    assert image.info == before
    with pytest.raises(UnknownNameError, match=r"unknown suffix '\.jpgg'; did you mean '\.jpg'"):
        pictures.encode(image, ".jpgg")


# ---------------------------------------------------------------------------------------------------------------- metadata

SETTINGS = {"seed": 7, "taps": ["relu1_1"], "weight": 1e-3, "title": "Öl auf 画布 \U0001f58c \0", "none": None}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_settings_round_trip(tmp_path: Path, suffix: str) -> None:
    for settings in (SETTINGS, {}, None, {"text": "x" * 50_000}):
        data, _ = pictures.encode(sample(), suffix, settings=settings)
        assert pictures.read_settings(data) == settings
        assert pictures.read_settings(written(tmp_path / f"out{suffix}", data)) == settings
        assert pictures.read_settings(io.BytesIO(data)) == settings
        assert (b"impasto" in data) == (settings is not None)
    with pytest.raises(SaveError, match=r"settings take 70,0\d\d bytes, more than the 60,000 that fit"):
        pictures.encode(sample(), suffix, settings={"text": "x" * 70_000})


def test_settings_are_where_exif_has_user_comments() -> None:
    with opened(pictures.encode(sample(), ".jpg", settings=SETTINGS)[0]) as image:
        assert image.getexif()[0x0131] == "impasto"
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment.startswith(b"ASCII\0\0\0")
    assert comment.isascii()
    assert json.loads(comment[8:]) == SETTINGS
    with tifffile.TiffFile(io.BytesIO(pictures.encode(sample(), ".tif", settings={"seed": 1})[0])) as file:
        assert file.pages[0].tags[0x0131].value == "impasto"
        assert file.pages[0].tags[0x9286].value == b'ASCII\0\0\0{"seed": 1}'


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_settings_of_other_programs_are_none(suffix: str) -> None:
    for software, comment in (
        ("impasto", b"ASCII\0\0\0not json"),
        ("impasto", b"ASCII\0\0\0[1, 2]"),
        ("impasto", b"ASCII\0\0\0\xff\xfe"),
        ("impasto", b"UNICODE\0" + '{"seed": 1}'.encode("utf-16")),
        ("impasto", b"ASCII\0\0\0" + b"[" * 50_000),
        ("impasto", b'ASCII\0\0\0{"seed": 1e999}'),
        ("impasto", b""),
        ("other", b'ASCII\0\0\0{"seed": 1}'),
    ):
        exif = Image.Exif()
        exif[0x0131] = software
        exif[0x8769] = {0x9286: comment}
        assert pictures.read_settings(encoded(sample(), pictures.SUFFIXES[suffix], exif=exif.tobytes())) is None
    with pytest.raises(PictureError, match="image: not an image"):
        pictures.read_settings(b"words" * 20)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_photographs_exif_is_kept_except_in_tiff(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    notes = pictures.save(sample(), path, settings={"seed": 1}, exif=PHOTOGRAPHED)
    assert pictures.read_settings(path) == {"seed": 1}
    if pictures.SUFFIXES[suffix] == "TIFF":
        assert notes == (f"{path}: the photograph's EXIF is not kept in TIFF files",)
        assert pictures.load(path).exif == {}
        assert b"Leica" not in path.read_bytes()
    else:
        assert notes == ()
        assert pictures.load(path).exif == PHOTOGRAPHED  # without the settings
        for odd in ({0x8769: {0x9003: "x" * 70_000}}, {0x8769: {0x829A: object()}}, {0x8825: {2: (1, "x", None)}}):
            data, notes = pictures.encode(sample(), suffix, settings={"seed": 1}, exif=odd)
            assert notes == ("the photograph's EXIF is damaged or too large and is not kept",)
            assert pictures.read_settings(data) == {"seed": 1}


def test_settings_that_json_cannot_hold_are_a_bug_and_write_nothing(tmp_path: Path) -> None:
    for bad in ({"x": object()}, {"x": float("nan")}):
        with pytest.raises((TypeError, ValueError)) as caught:
            pictures.save(sample(), tmp_path / "out.png", settings=bad)
        assert not isinstance(caught.value, UsageError)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------- where it may be written


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are a POSIX thing")
def test_outputs_that_are_refused_and_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "old.png", b"old")
    written(tmp_path / "file", b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name, words in {
        "out.pgn": "unknown suffix '.pgn'; did you mean '.png'? known: .png, .jpg, .jpeg, .webp, .tif, .tiff",
        "out": "no suffix; known: ",
        "old.png": "exists; use overwrite to replace it",
        "folder.png": "is a directory; name a file in it",
        "missing/out.png": "there is no directory ",
        "file/out.png": "there is no directory ",
        "dangling.png": "is a broken link",
        "a\0b.png": "a\\x00b.png: not a valid file name",
        "n" * 300 + ".png": "name too long",
        "pipe.png": "is not a regular file",
    }.items():
        for action in (pictures.check_output, lambda path: pictures.save(sample(), path)):
            with pytest.raises(OutputError) as caught:
                action(name)
            assert words in str(caught.value)
            assert "\n" not in str(caught.value)
    assert (tmp_path / "old.png").read_bytes() == b"old"
    assert pictures.check_output("old.png", overwrite=True) == Path("old.png")
    for suffix in SUFFIXES:
        assert pictures.check_output(tmp_path / f"new{suffix.upper()}") == tmp_path / f"new{suffix.upper()}"
        assert not (tmp_path / f"new{suffix.upper()}").exists()


@pytest.mark.parametrize(("suffix", "limit"), [(".webp", 16383), (".jpg", 65500)])
def test_formats_have_a_longest_side(tmp_path: Path, suffix: str, limit: int) -> None:
    words = f"at most {limit} pixels a side, not {limit + 1}x2; use .png or .tif"
    with pytest.raises(OutputError, match=words):
        pictures.check_output(tmp_path / f"out{suffix}", size=(2, limit + 1))
    with pytest.raises(OutputError, match=words):
        pictures.save(Image.new("RGB", (limit + 1, 2)), tmp_path / f"out{suffix}")
    pictures.encode(Image.new("RGB", (limit, 2)), suffix)
    pictures.encode(Image.new("RGB", (limit + 1, 2)), ".png")


# ------------------------------------------------------------------------------------------------------- whole or not at all


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and links")
def test_an_existing_file_is_replaced_in_place(tmp_path: Path) -> None:
    real, link = written(tmp_path / "real.png", b"old"), tmp_path / "link.png"
    link.symlink_to(real)
    real.chmod(0o600)
    before = os.umask(0o027)
    try:
        pictures.save(sample(), link, overwrite=True)
        pictures.save(sample(), tmp_path / "new.png")
    finally:
        os.umask(before)
    assert link.is_symlink()
    np.testing.assert_array_equal(np.asarray(Image.open(real)), np.asarray(sample()))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (real, tmp_path / "new.png")] == [0o600, 0o640]


@contextlib.contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond limit bytes: write() fails as it does on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path, existing: bool) -> None:
    path = tmp_path / "out.tif"
    if existing:
        written(path, b"old")
    with full_disk(1000), pytest.raises(SaveError, match=r"out\.tif could not be written: file too large"):
        pictures.save(sample(), path, overwrite=existing)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"] * existing


def test_bytes_are_announced_before_they_are_written(tmp_path: Path) -> None:
    path, announced = written(tmp_path / "out.png", b"old"), list[bytes]()

    def announce(data: bytes) -> None:
        assert path.read_bytes() == b"old"
        announced.append(data)

    pictures.save(sample(), path, overwrite=True, announce=announce)
    assert [path.read_bytes()] == announced


def fail(error: BaseException) -> Callable[[Any], None]:
    def failing(_: Any) -> None:
        raise error

    return failing


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_a_failure_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    path = written(tmp_path / "out.png", b"old")
    monkeypatch.setattr(os, "fsync", fail(error))
    with pytest.raises(SaveError if isinstance(error, OSError) else KeyboardInterrupt):
        pictures.save(sample(), path, overwrite=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fsync = tmp_path / "out.png", os.fsync

    def meanwhile(descriptor: int) -> None:
        written(path, b"someone else's")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(OutputError, match="exists; use overwrite"):
        pictures.save(sample(), path)
    assert path.read_bytes() == b"someone else's"
    assert list(tmp_path.iterdir()) == [path]
