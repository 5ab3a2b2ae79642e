"""What is at an output: a whole result of the same inputs and options, another one, a damaged one, or no result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import noise
from jobs.small import INPUTS, finish

from impasto import pictures
from impasto.batches.done import Verdict, is_whole, verdict
from impasto.files import digest
from impasto.jobs import Job, Output, records
from impasto.options import Options

SUFFIXES = (".png", ".jpg", ".webp", ".tif")
QUICK: dict[str, Any] = {"quality": "instant", "size": 32, "encoder": "lite"}

pytestmark = pytest.mark.usefixtures("here")


def made(suffix: str = ".png", **output: Any) -> bytes:
    path = Path(f"out{suffix}")
    finish(Job(INPUTS, Options(**QUICK, device="cpu"), Output(path=path, overwrite=True, **output)))
    return path.read_bytes()


def asked(
    data: bytes, hashes: dict[str, str] | None = None, *, keep_exif: bool = False, depth: int = 8, **options: Any
) -> Verdict:
    hashes = hashes or {"photo": digest("photo.png"), "style": digest("style.png")}
    return verdict(data, Options(**QUICK | {"device": "cpu"} | options), hashes, keep_exif=keep_exif, depth=depth)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_result_is_done_until_an_input_or_an_option_changes(suffix: str) -> None:
    data = made(suffix)
    assert asked(data) is Verdict.DONE
    assert asked(data, device="auto", precision="fp32", max_pixels=10**6) is Verdict.DONE
    assert {asked(data, strength=0.4), asked(data, size=33), asked(data, quality="draft")} == {Verdict.CHANGED}
    assert {asked(data, keep_exif=True), asked(data, depth=16)} == {Verdict.CHANGED}
    noise(Path("photo.png"), 40, 48, seed=9)
    assert asked(data) is Verdict.CHANGED


def test_more_or_fewer_inputs_are_a_change() -> None:
    data, known = made(), {"photo": digest("photo.png"), "style": digest("style.png")}
    assert asked(data, known) is Verdict.DONE
    assert asked(data, known | {"style 2": known["style"]}) is Verdict.CHANGED
    assert asked(data, {"photo": known["photo"]}) is Verdict.CHANGED


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_cut_short_is_never_done(suffix: str) -> None:
    data = made(suffix)
    assert is_whole(data)
    for length in (1, 10, len(data) // 2, len(data) - 1):
        assert not is_whole(data[:-length])
        assert asked(data[:-length]) in (Verdict.DAMAGED, Verdict.FOREIGN)


def test_a_png_with_a_changed_byte_is_damaged() -> None:
    data = made()
    for place in range(len(data) // 2, len(data) - 12, max(1, len(data) // 40)):
        changed = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
        assert asked(changed) is not Verdict.DONE
    assert asked(data + b"\0") is Verdict.DAMAGED


def test_other_files_are_foreign() -> None:
    for data in (b"", b"text", Path("photo.png").read_bytes(), made(metadata=False)):
        assert asked(data) is Verdict.FOREIGN


def test_an_interrupted_image_is_not_done() -> None:
    data = made()
    settings = records.read(Path("out.png")).settings
    pictures.save(pictures.to_image(pictures.load(data).pixels), "out.png", settings=settings | {"done": 0.5}, overwrite=True)
    assert asked(Path("out.png").read_bytes()) is Verdict.CHANGED
