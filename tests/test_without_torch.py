"""What works where torch is not installed: reading and writing images, and the commands that paint nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import QUICK, Cli
from fuzz_cases import images
from jobs.small import INPUTS, STATE, job, leave
from PIL import Image

from impasto import clips, pictures
from impasto.errors import PictureError
from impasto.video.workspace import Card as VideoCard

WITHOUT = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoTorch())
"""
# Reads every file of the folder in, and writes what it read of photo.png in every format, in both depths
IMAGES = """
from pathlib import Path
import numpy as np
from impasto import pictures
from impasto.errors import OutputError, PictureError

for file in sorted(Path("in").iterdir()):
    try:
        still = pictures.load_still(file)
    except PictureError as error:
        np.savez(Path("read", file.name), error=str(error))
        continue
    alpha = np.zeros(0) if still.alpha is None else still.alpha
    labels = np.zeros(0) if still.labels is None else still.labels
    words = [*still.notes, still.name, still.digest, repr(still.exif), str(still.lossless), str(still.size)]
    np.savez(Path("read", file.name), color=still.color, alpha=alpha, labels=labels, words=words)
noise = np.random.default_rng(3).random((21, 17, 4), dtype=np.float32)
for suffix in pictures.SUFFIXES:
    for depth, make in ((8, pictures.image_of), (16, pictures.words_of)):
        for name, image in (("opaque", make(noise[..., :3])), ("clear", make(noise[..., :3], noise[..., 3]))):
            file = Path(f"written/{name}-{depth}{suffix}")
            try:
                pictures.save(image, file, settings={"size": 64})
            except OutputError:
                assert (depth, suffix) not in ((8, suffix), (16, ".png"), (16, ".tif"), (16, ".tiff"))
            else:
                assert pictures.read_settings(file) == {"size": 64}
assert "torch" not in sys.modules
"""
COMMANDS = """
import contextlib, io, json
from impasto.cli import main
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()) as wrong:
        code = main(words)
    print(json.dumps([code, said.getvalue(), wrong.getvalue()]))
"""
INSTALL = "needs torch; install it: pip install 'impasto[paint]'"
MISSING = f"impasto: this {INSTALL}\n"


def without_torch(program: str, *words: str) -> str:
    command = [sys.executable, "-W", "error", "-c", WITHOUT + program, *words]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def said(*commands: tuple[object, ...]) -> list[list[Any]]:
    words = json.dumps([list(map(str, command)) for command in commands])
    return [json.loads(line) for line in without_torch(COMMANDS, words).splitlines()]


def test_images_of_every_format_are_read_and_written_as_with_torch(here: Path) -> None:
    for folder in ("in", "read", "written"):
        Path(folder).mkdir()
    made = images.made()
    for number, data in enumerate(made.values()):
        Path("in", str(number)).write_bytes(data)
    Path("in", "damaged").write_bytes(made["webp lossy"][:40])
    without_torch(IMAGES)
    refused = 0
    for file in Path("in").iterdir():
        with np.load(Path("read", f"{file.name}.npz")) as found:
            if "error" in found:
                refused += 1
                with pytest.raises(PictureError, match=f"^{re.escape(str(found['error']))}$"):
                    pictures.load(file)
                continue
            picture = pictures.load(file)
            assert (found["color"] == picture.pixels[0].permute(1, 2, 0).numpy()).all()
            for name, tensor in (("alpha", picture.alpha), ("labels", picture.labels)):
                assert (found[name].size == 0) if tensor is None else (found[name] == np.asarray(tensor).squeeze()).all()
            facts = (picture.name, picture.digest, repr(picture.exif), str(picture.lossless), str(picture.size))
            assert found["words"].tolist() == [*picture.notes, *facts]
    assert 0 < refused < len(made) / 4, refused
    noise = np.random.default_rng(3).random((21, 17, 4), dtype=np.float32)
    pixels = pictures.load(noise[..., :3]).pixels
    alpha = pictures.load(np.ascontiguousarray(noise[..., 3])).pixels[:, :1]
    written = sorted(Path("written").iterdir())
    assert len(written) == 2 * (len(pictures.SUFFIXES) + 3)
    for file in written:
        make = pictures.to_words if "-16" in file.name else pictures.to_image
        image = make(pixels, alpha if "clear" in file.name else None)
        assert file.read_bytes() == pictures.encode(image, file.suffix, settings={"size": 64})[0], file


def test_what_paints_nothing_works_and_the_rest_names_what_to_install(cli: Cli, often: None, here: Path) -> None:
    assert cli("photo.png", "style.png", *QUICK, "-o", "done.png").code == 0
    leave(job(inputs=INPUTS), 3)
    frame = np.zeros((8, 8, 3), np.uint8)
    timed = [(frame, Fraction(number, 10), Fraction(1, 10)) for number in range(2)]
    clips.write_gif(timed, "clip.gif", metadata={"size": 64, "clip": {"frames": 2}})
    Path("film.mp4.unfinished").mkdir()
    card = VideoCard(job={}, clip="", made_by={}, memory=0, frames=9, painted=4)
    Path("film.mp4.unfinished", "card.json").write_text(card.model_dump_json())
    shown: list[tuple[object, ...]] = [
        *(
            ("info", file, *more)
            for file in ("done.png", "clip.gif", "out.png", "film.mp4", STATE)
            for more in ((), ("--json",))
        ),
        *(("--help",), ("--version",), ("styles",), ("style", "show", "great-wave"), ("info", "photo.png")),
        ("no.png", "style.png"),
    ]
    expected = [cli(*words) for words in shown]
    assert [end.code for end in expected] == [0] * (len(shown) - 2) + [2, 2]
    assert said(*shown) == [[end.code, end.stdout, end.stderr] for end in expected]
    others: list[tuple[object, ...]] = [
        ("sheet", "photo.png"),
        ("style", "make", "style.png"),
        ("batch", "photo.png", "udnie", "-o", "out"),
    ]
    paints = {
        ("photo.png", "style.png", "--quality", "best"): f"impasto: quality 'best' {INSTALL}\n",
        ("photo.png", "style.png", "--quality", "instant", "--mask", "photo.png=keep"): f"impasto: a mask {INSTALL}\n",
        ("photo.png", "style.png", "--quality", "instant", "--frames", "film.gif"): f"impasto: a making-of {INSTALL}\n",
        ("photo.png", "style.png", *QUICK, "-o", "more.png"): f"impasto: quality 'normal' {INSTALL}\n",
        ("again", "done.png", "-o", "more.png"): f"impasto: quality 'normal' {INSTALL}\n",
        ("resume", "out.png"): f"impasto: resuming at 33%\nimpasto: resuming a run {INSTALL}\n",
        **dict.fromkeys(others, MISSING),
    }
    before = {file: file.stat().st_mtime_ns for file in here.rglob("*")}
    assert said(*paints) == [[2, "", wrong] for wrong in paints.values()]
    assert {file: file.stat().st_mtime_ns for file in here.rglob("*")} == before
    ((code, out, wrong),) = said((*others[0], "--json"))
    assert (code, json.loads(out), wrong) == (2, {"error": MISSING[len("impasto: ") : -1], "exit_code": 2}, MISSING)


def test_quality_instant_paints_and_records_like_torch(cli: Cli, here: Path) -> None:
    words = ("photo.png", "style.png", "--size", "100", "--quality", "instant")
    assert cli(*words, "--device", "cpu", "--precision", "fp32", "-o", "torch.png").code == 0
    (code, out, wrong), (again, same, _), plain = said(
        (*words, "-o", "bare.png", "--json"),
        ("again", "bare.png", "-o", "twice.png"),
        (*words[:4], "-o", "plain.tif", "--depth", 16),
    )
    assert (code, again, plain[0], "torch" in wrong) == (0, 0, 0, False)
    assert "torch is not installed, so quality 'instant' is used" in plain[2]
    assert "the same image, pixel by pixel" in same
    assert json.loads(out.splitlines()[-1])["width"] == 100
    found, expected = (pictures.read_settings(f"{name}.png") or {} for name in ("bare", "torch"))
    same_keys = ("size", "quality", "inputs", "network", "encoder_digest", "width", "height", "impasto")
    assert [found[key] for key in same_keys] == [expected[key] for key in same_keys]
    assert str(found["ran_on"]).startswith("cpu fp32, ONNX Runtime ")
    apart = np.abs(*[np.subtract(*(np.asarray(Image.open(f"{name}.png"), int) for name in ("bare", "torch")))])
    assert apart.max() <= 2
    assert Path("bare.png").read_bytes() == Path("twice.png").read_bytes()


@pytest.mark.parametrize("name", ["torch.nothing", "nothing"])
def test_another_missing_module_is_a_bug(cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def missing() -> list[str]:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("impasto.cli.styles.style_names", missing)
    with pytest.raises(ModuleNotFoundError):
        cli("styles")
