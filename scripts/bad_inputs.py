"""Try bad inputs on the command line and print what each gets: exit code, message, verdict.

    python scripts/bad_inputs.py [WORDS IN A CASE'S NAME]

Every case must end with its exit code (2 usage, 1 failure), say what is wrong in exactly one line on standard error (notes and
progress may come before it), print no traceback, and leave the folder it ran in as it was. Exits 1 if one does not.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import shlex
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, MappingProxyType

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
USAGE, FAILURE = 2, 1
MOST_SECONDS = 10  # of any case: what is refused must not have been painted first
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
ENVIRONMENT = {"IMPASTO_HOME": "home", "IMPASTO_OFFLINE": ""}
# What may be said before the error: progress, and notes on what was not taken as it stood.
NOTE = re.compile(
    r"impasto: (\d+%, .*|.*(is animated|holds several pictures|color profile|8 of its|so lite stands in,|the nearest stands in,).*)"
)


@dataclass(frozen=True)
class Case:
    """A bad input: the command line, the exit code it must end with, and a pattern its error line must match."""

    name: str
    words: tuple[str, ...]
    says: str
    code: int = USAGE
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    real: bool = False  # also run as a process of its own
    skip: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a command did. changes: what became of the files around it."""

    code: int | str
    stdout: str
    stderr: str
    seconds: float
    changes: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------------------------ files


class Evil:
    """Creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("evil-was-here", "w")


def make_files(folder: Path) -> None:
    """Fill a folder with a good photograph and painting, and with everything that is not."""
    random = np.random.default_rng(0)
    photo = Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    photo.save(folder / "photo.png")
    Image.fromarray(random.integers(0, 256, (48, 40, 3), dtype=np.uint8)).save(folder / "style.png")
    photo.save(folder / "taken.png")
    photo.save(folder / f"{'s' * 250}.png")
    photo.save(folder / "taken.jpg")
    (folder / "taken.html").write_text("<!doctype html><title>somebody's own</title>\n")
    for suffix in ("png", "jpg", "webp", "tif"):
        whole = io.BytesIO()
        photo.save(whole, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix))
        (folder / f"cut.{suffix}").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    _make_odd_pictures(folder, random)
    _make_no_pictures(folder)
    _make_weights(folder)
    _make_remembering(folder, photo)
    _make_styles(folder)
    _make_forbidden(folder, photo)


def _make_odd_pictures(folder: Path, random: np.random.Generator) -> None:
    for name, width, height in (("1x1", 1, 1), ("4x4", 4, 4), ("2000x2", 2000, 2)):
        Image.new("RGB", (width, height), "teal").save(folder / f"{name}.png")
    Image.fromarray(random.integers(0, 256, (17, 16400, 3), dtype=np.uint8)).save(folder / "16400x17.png", compress_level=1)
    Image.new("RGBA", (48, 40), (200, 100, 50, 0)).save(folder / "clear.png")
    for name, value in (("nan", np.nan), ("inf", np.inf), ("negative", -1)):
        grey = np.full((40, 48), 0.5, np.float32)
        grey[0, 0] = value
        Image.fromarray(grey).save(folder / f"{name}.tif")
    (folder / "bomb.png").write_bytes(_png_header(60_000, 60_000))
    (folder / "0x0.png").write_bytes(_png_header(0, 0))


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 64)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _make_no_pictures(folder: Path) -> None:
    (folder / "a-folder").mkdir()
    (folder / "folder.png").mkdir()
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("This is no picture.\n" * 50)
    (folder / "page.jpg").write_text("<!doctype html><title>404</title>\n")
    (folder / "zeros.png").write_bytes(bytes(4096))
    (folder / "movie.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(1000))
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "fifo.png")
        (folder / "dangling.png").symlink_to("nowhere.png")
        (folder / "two\nlines.jpg").write_text("no picture either")


def _make_weights(folder: Path) -> None:
    import h5py
    from safetensors.numpy import save_file

    with h5py.File(folder / "whole.h5", "w") as file:
        for layer in ("block1_conv1", "block1_conv2"):
            file.create_dataset(f"{layer}/{layer}_W_1:0", data=np.zeros((3, 3, 3, 64), np.float32))
    (folder / "cut.h5").write_bytes((folder / "whole.h5").read_bytes()[:3000])
    (folder / "whole.h5").unlink()
    (folder / "evil.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    with zipfile.ZipFile(folder / "evil-zip.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(), protocol=2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    (folder / "cut.pth").write_bytes((folder / "evil-zip.pth").read_bytes()[:100])
    save_file({"encoder.layer.0.weight": np.zeros((4, 4), np.float32)}, folder / "other.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "other.safetensors").read_bytes()[:-20])
    (folder / "huge-header.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    (folder / "text.h5").write_text("These are no weights.\n")
    (folder / "matlab.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + bytes(50))


# what a picture's settings say, by the picture's name; JSON, and not
REMEMBERED = {
    "foreign.png": None,
    "gone.png": '{"inputs": {"photo": {"name": "photo.png", "sha256": ""}, "style": {"name": "gone.jpg", "sha256": ""}}}',
    "no-inputs.png": '{"method": "impasto"}',
    "no-init.png": '{"init": "photo.png", "inputs": {"photo": {"name": "photo.png", "sha256": ""}}}',
    "fifo-input.png": '{"inputs": {"photo": {"name": "fifo.png", "sha256": ""}}}',
    "folder-input.png": '{"inputs": {"photo": {"name": "a-folder", "sha256": ""}}}',
    "long-input.png": '{"inputs": {"photo": {"name": "' + "n" * 5000 + '", "sha256": ""}}}',
    "path-input.png": '{"inputs": {"photo": {"name": "../../etc/passwd", "sha256": ""}}}',
    "types.png": '{"inputs": [1, 2], "seconds": {}}',
    "nan.png": '{"seconds": NaN}',
    "infinite.png": '{"seconds": 1e999}',
    "huge-number.png": '{"size": 1' + "0" * 400 + "}",
    "endless-number.png": '{"size": 1' + "0" * 50_000 + "}",
    "huge-text.png": '{"seconds": "' + "s" * 50_000 + '"}',
    "deep.png": "[" * 50_000,
    "method.png": '{"method": "magic"}',
    "list.png": "[]",
    "null-option.png": '{"iterations": null}',
}


def _make_remembering(folder: Path, photo: Image.Image) -> None:
    for name, settings in REMEMBERED.items():
        exif = Image.Exif()
        exif[0x0131] = "impasto" if settings is not None else "GIMP"
        exif[0x8769] = {0x9286: b"ASCII\0\0\0" + (settings or "a comment").encode()}
        photo.save(folder / name, exif=exif)


def _make_forbidden(folder: Path, photo: Image.Image) -> None:
    for name in ("unreadable.png", "locked.png"):
        photo.save(folder / name)
    (folder / "unreadable.png").chmod(0)
    (folder / "locked.png").chmod(0o444)
    (folder / "closed").mkdir(mode=0o555)


def _make_styles(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    whole = (ROOT / "impasto" / "assets" / "styles" / "great-wave.style").read_bytes()
    (folder / "good.style").write_bytes(whole)
    (folder / "cut.style").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.style").touch()
    (folder / "text.style").write_text("This is no style.\n" * 50)
    (folder / "folder.style").mkdir()
    save_file({"x": np.zeros(3, np.float32)}, folder / "other.style")
    length = int.from_bytes(whole[:8], "little")
    card = json.loads(json.loads(whole[8 : 8 + length])["__metadata__"]["impasto style"])
    kept = ("-2/", "quantiles")
    tensors = {key: tensor for key, tensor in load_file(folder / "good.style").items() if key.startswith(kept)}
    changes: dict[str, dict[str, object]] = {
        "vgg19": {"encoder": "vgg19"},
        "retrained": {"digest": "0" * 64},
        "format-9": {"format": 9, "impasto": "9.0"},
        "no-taps": {"taps": []},
        "typed": {"rungs": "all of them"},
        "deep-card": {"title": ["x"] * 9},
        "more-rungs": {"rungs": [-2, 7]},
    }
    for name, change in changes.items():
        save_file(tensors, folder / f"{name}.style", {"impasto style": json.dumps(card | change)})
    save_file(tensors, folder / "no-json.style", {"impasto style": "{" * 5000})
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "fifo.style")


# ------------------------------------------------------------------------------------------------------------------ cases


def paint(line: str = "", *, photo: str = "photo.png", style: str = "style.png") -> tuple[str, ...]:
    """A command line that paints; small and short, so that a case wrongly accepted does not take long."""
    words = shlex.split(line)
    quick = (("--size", "32"), ("--iterations", "2"), ("--device", "cpu"))
    return (photo, style, *words, *(word for pair in quick if not any(w.startswith(pair[0]) for w in words) for word in pair))


def _picture_cases() -> Iterator[Case]:
    files = {
        "missing.png": "no such file",
        "a-folder": "is a directory",
        ".": "is a directory",
        "..": "is a directory",
        "": "directory|no such file|name",
        "/": "directory",
        os.devnull: "not a regular file|empty",
        "text.jpg": "not a picture",
        "page.jpg": "not a picture",
        "movie.mp4": "not a picture",
        "empty.png": "empty",
        "zeros.png": "not a picture",
        "cut.png": "truncated",
        "cut.jpg": "truncated",
        "cut.webp": "truncated|not a picture",
        "cut.tif": "truncated|not a picture",
        "0x0.png": "zero size|damaged|not a picture",
        "bomb.png": "3,600,000,000 pixels.*--max-pixels",
        "clear.png": "transparent everywhere",
        "nan.tif": "nan",
        "inf.tif": "inf",
        "negative.tif": "-1",
        "http://127.0.0.1/photo.png": "addresses are not fetched",
    }
    for file, says in files.items():
        yield Case(f"photo {file!r}", paint(photo=file), says, real=file in (".", "text.jpg"))
        yield Case(f"style {file!r}", paint(style=file), says)
    yield Case("photo in a missing folder", paint(photo="nowhere/photo.png"), "photo.*no such file|photograph")
    yield Case("photo with an endless name", paint(photo="a" * 300 + ".png"), "too long")
    yield Case("default output with an endless name", paint(style="s" * 250 + ".png"), "photo-s.*too long")
    unreadable = "not as root" if AS_ROOT else ""
    yield Case("photo without permission", paint(photo="unreadable.png"), "permission denied", skip=unreadable)
    yield Case("style without permission", paint(style="unreadable.png"), "permission denied", skip=unreadable)
    no_links = "" if hasattr(os, "mkfifo") else "needs a POSIX system"
    yield Case("photo is a FIFO", paint(photo="fifo.png"), "not a regular file", skip=no_links)
    yield Case("photo is a dangling link", paint(photo="dangling.png"), "no such file", skip=no_links)
    yield Case(
        "a name of two lines", paint("-o new.png", photo="two\nlines.jpg"), "two.*lines.jpg.*not a picture", skip=no_links
    )


def _size_cases() -> Iterator[Case]:
    yield Case("too many pixels for --max-pixels", paint("--max-pixels 10"), "1,920 pixels.*10.*--max-pixels")
    yield Case("1x1 photo", paint(photo="1x1.png"), "1x1.*at least")
    yield Case("4x4 photo", paint(photo="4x4.png"), "4x4.*at least")
    yield Case("1x1 style", paint(style="1x1.png"), "1x1.*at least")
    yield Case("1x1 photo, --size original", paint("--size original", photo="1x1.png"), "1x1.*at least")
    yield Case("4x4 photo, --size original", paint("--size original", photo="4x4.png"), "4x4.*at least")
    yield Case("2000x2 photo at 512", paint("--size 512", photo="2000x2.png"), "at least 16")
    yield Case("2000x2 style at 512", paint("--size 512", style="2000x2.png"), "style.*at least 16")
    yield Case("shorter side too small for the taps", paint("--size 16 --taps relu5_1"), "16x13.*at least 16")
    # a format's limit must be known before the work, not after it
    long = paint("--size original --iterations 5000 -o long.webp", photo="16400x17.png")
    yield Case("too long for WebP", long, "WEBP holds at most 16383")


def _output_cases() -> Iterator[Case]:
    outputs = {
        "result.gif": "unknown suffix '.gif'",
        "result.xyz": "unknown suffix '.xyz'",
        "result.pgn": "did you mean '.png'",
        "result": "no suffix",
        "nowhere/result.png": "no directory nowhere",
        "photo.png/result.png": "directory",
        "a-folder": "is a directory",
        "folder.png": "is a directory",
        "''": "directory|no suffix|name",
        os.devnull: "suffix|regular",
        "taken.png": "taken.png exists; add --overwrite",
        "taken.jpg": "taken.jpg exists; add --overwrite",
        "photo.png": "photo.png exists; add --overwrite",
        "style.png": "style.png exists; add --overwrite",
        f"{'n' * 300}.png": "too long",
    }
    for output, says in outputs.items():
        shown = output if len(output) < 100 else "with an endless name"
        yield Case(f"output {shown}", paint(f"-o {output}"), says, real=output == "taken.png")
    yield Case("--overwrite a folder", paint("-o folder.png --overwrite"), "is a directory")
    as_root = "not as root" if AS_ROOT else ""
    yield Case("output in a folder without permission", paint("-o closed/result.png"), "not writable", skip=as_root)
    yield Case("--overwrite a write-protected file", paint("-o locked.png --overwrite"), "write-protected", skip=as_root)
    if hasattr(os, "mkfifo"):
        yield Case("output is a dangling link", paint("-o dangling.png"), "link that leads nowhere")
        yield Case("output is a FIFO", paint("-o fifo.png --overwrite"), "not a regular file")


# words behind PHOTO STYLE, and a pattern of what is said of them
OPTION_LINES = {
    "--size 0": "--size must be from 16 to 65535.*0",
    "--size -5": "--size must be from 16 to 65535.*-5",
    "--size 15": "--size must be from 16 to 65535.*15",
    "--size 65536": "--size must be from 16 to 65535.*65536",
    "--size 1e9": "--size must be.*1e9",
    "--size abc": "--size must be.*abc",
    "--size nan": "--size must be.*nan",
    "--size 32.5": "--size must be.*32.5",
    "--size 32 --size 48": "--size.*multiple times",
    "--style-weight nan": "--style-weight must be a finite number.*nan",
    "--style-weight -1": "--style-weight must be at least 0.*-1",
    "--style-weight inf": "--style-weight must be a finite number.*inf",
    "--style-weight abc": "--style-weight must be a number.*abc",
    "--style-weight 1e13": "--style-weight must be at most 1.*1e13",
    "--content-weight -1": "--content-weight must be at least 0.*-1",
    "--content-weight nan": "--content-weight must be a finite number.*nan",
    "--content-weight 0 --style-weight 0 --palette-weight 0": "--content-weight, --style-weight and --palette-weight must not all be 0",
    "--tv-weight nan": "--tv-weight must be a finite number.*nan",
    "--tv-weight -0.1": "--tv-weight must be at least 0.*-0.1",
    "--iterations 0": "--iterations must be at least 1.*0",
    "--iterations -3": "--iterations must be at least 1.*-3",
    "--iterations 1.5": "--iterations must be a whole number.*1.5",
    "--iterations 1000000": "--iterations must be at most 100000.*1000000",
    "--seed -1": "--seed must be at least 0.*-1",
    "--seed abc": "--seed must be a whole number.*abc",
    "--seed 9223372036854775808": "--seed must be.*9223372036854775808",
    "--max-pixels 0": "--max-pixels must be at least 1.*0",
    "--init missing.png": "--init.*missing.png.*no such file",
    "--init text.jpg": "--init.*text.jpg.*not a picture",
    "--init a-folder": "--init.*a-folder.*directory",
    "--init ''": "--init.*(directory|name|no such file)",
    "--encoder vgg20": "--encoder must be.*did you mean 'vgg.*vgg20",
    "--taps relu9_9": "tap.*'relu9_9'.*did you mean",
    "--taps relu1_9": "tap.*'relu1_9'.*did you mean 'relu1_1'",
    "--taps rleu4_1": "tap.*'rleu4_1'.*did you mean 'relu4_1'",
    "--taps ''": "taps must name at least one",
    "--taps relu1_1,,relu2_1": "taps must name at least one",
    "--taps relu1_1,relu1_1": "taps must name each tap once",
    "--content-taps relu4_2 --encoder lite": "tap.*'relu4_2'.*did you mean 'relu4_1'",
    "--pooling median": "--pooling must be 'average' or 'max'.*median",
    "--padding wrap": "--padding must be 'zero' or 'replicate'.*wrap",
    "--device tpu": "--device must be.*tpu",
    "--precision fp8": "--precision must be.*fp8",
    "--method gattys": "--method must be.*did you mean 'gatys'.*gattys",
    "--stile-weight 3": "--stile-weight.*[Dd]id you mean.*--style-weight",
    "--stlye-weight=3": "--stlye-weight.*[Dd]id you mean.*--style-weight",
    "-z": "-z",
    "--overwrite=perhaps": "--overwrite.*perhaps",
    "third.png": "third.png",
    "--json --style-weight nan": "--style-weight must be a finite number.*nan",
    "--quiet --style-weight nan": "--style-weight must be a finite number.*nan",
}


def _option_cases() -> Iterator[Case]:
    for line, says in OPTION_LINES.items():
        yield Case(line, paint(line), says, real=line in ("--style-weight nan", "--init missing.png", "--stile-weight 3"))
    yield Case("--style-weight without its value", (*paint(), "--style-weight"), "--style-weight requires an argument")
    yield Case("--output without its value", (*paint(), "-o"), "(-o|--output) requires an argument")
    yield Case("no style", ("photo.png",), "STYLE")
    yield Case("options only", ("--size", "32"), "PHOTO")
    yield Case("a third picture for the demo", ("demo", "photo.png"), "photo.png")
    yield Case("demo --size 15", ("demo", "--size", "15"), "--size must be from 16")
    yield Case("--device cuda without one", paint("--device cuda"), "'cuda'|CUDA", skip=_why_not_cuda())


def _why_not_cuda() -> str:
    import torch

    return "this machine has one" if torch.cuda.is_available() else ""


def _weights_cases() -> Iterator[Case]:
    absent = "VGG-19's weights are not on this machine.*impasto weights fetch vgg19.*impasto weights import"
    yield Case("--encoder vgg19 without its weights", paint("--encoder vgg19"), absent, FAILURE, real=True)
    yield Case("gatys with vgg19, without its weights", paint("--method gatys --encoder vgg19"), absent, FAILURE)
    yield Case("weights fetch, offline", ("weights", "fetch", "vgg19"), "IMPASTO_OFFLINE", FAILURE, {"IMPASTO_OFFLINE": "1"})
    home = {"IMPASTO_HOME": "photo.png"}
    yield Case(
        "weights fetch, IMPASTO_HOME is a file", ("weights", "fetch", "vgg19"), "cannot write in photo.png", FAILURE, home
    )
    nobody = {"IMPASTO_HOME": "~nobody-of-that-name/impasto"}
    yield Case("IMPASTO_HOME of nobody", ("weights", "path", "vgg19"), "nobody-of-that-name", USAGE, nobody)
    yield Case("weights fetch nosuch", ("weights", "fetch", "nosuch"), "unknown weights 'nosuch'")
    yield Case("weights fetch vgg91", ("weights", "fetch", "vgg91"), "unknown weights 'vgg91'.*did you mean 'vgg19'")
    yield Case("weights fetch nothing", ("weights", "fetch"), "NAME")
    yield Case("weights path nosuch", ("weights", "path", "nosuch"), "unknown weights 'nosuch'")
    yield Case("weights fecth", ("weights", "fecth", "vgg19"), "fecth")
    yield Case("weights import as lite", ("weights", "import", "text.h5", "--name", "lite"), "lite comes with impasto")
    yield Case("weights import as vgg20", ("weights", "import", "text.h5", "--name", "vgg20"), "unknown weights 'vgg20'")
    yield Case("weights import --convention caffee", ("weights", "import", "text.h5", "--convention", "caffee"), "caffee")
    files = {
        "missing.h5": "does not exist|no such file",
        "a-folder": "is a directory",
        "''": "is a directory|does not exist|no such file",
        os.devnull: "empty|regular",
        "/dev/zero": "regular|not a weights file",
        "empty.png": "empty",
        "text.h5": "not a weights file",
        "cut.h5": "cut|truncated|damaged|cannot be read|incomplete",
        "evil.pth": "evil.pth",
        "evil-zip.pth": "evil-zip.pth",
        "cut.pth": "cut.pth",
        "other.safetensors": "other.safetensors.*expected",
        "cut.safetensors": "cut.safetensors",
        "huge-header.safetensors": "huge-header.safetensors",
        "matlab.mat": "matlab.mat",
        "photo.png": "not a weights file",
        "fifo.png": "regular|not a weights file",
    }
    for file, says in files.items():
        skip = "" if file != "fifo.png" or hasattr(os, "mkfifo") else "needs a POSIX system"
        yield Case(f"weights import {file}", ("weights", "import", file.strip("'")), says, real=file == "evil.pth", skip=skip)
        yield Case(f"--weights {file}", paint(f"--encoder vgg16 --weights {file}"), says, skip=skip)
    yield Case("--weights of another network", paint(f"--encoder vgg16 --weights {_lite()}"), "holds lite.*VGG-16")
    yield Case("weights import lite", ("weights", "import", _lite()), "lite.*comes with impasto")


def compare(line: str = "taken.png", *, photo: str = "photo.png", style: str = "style.png") -> tuple[str, ...]:
    """A command line that compares."""
    return ("compare", photo, style, *shlex.split(line))


COMPARE_LINES = {
    "''": "a result is FILE or NAME=FILE",
    "=taken.png": "a result is FILE or NAME=FILE",
    "other=": "a result is FILE or NAME=FILE",
    "missing.png": "result missing.png: no such file",
    "other=missing.png": "result missing.png: no such file",
    "text.jpg": "result text.jpg: not a picture",
    "a-folder": "result a-folder: is a directory",
    "cut.jpg empty.png": "result cut.jpg: truncated",
    "4x4.png": "result is 4x4 pixels",
    "http://127.0.0.1/a.png": "addresses are not fetched",
    "taken.png taken.jpg": "two results are called 'taken'",
    "a=taken.png a=taken.jpg": "two results are called 'a'",
    "taken.png -o nowhere/report.html": "no directory nowhere",
    "taken.png -o report.pdf": "unknown suffix '.pdf'.*known: .html",
    "taken.png -o report": "no suffix",
    "taken.png -o report.hmtl": "did you mean '.html'",
    "taken.png -o a-folder": "a-folder is a directory",
    "taken.png -o taken.html": "taken.html exists; add --overwrite",
    "taken.png --judge vgg91": "--judge must be.*did you mean 'vgg19'.*vgg91",
    "taken.png --size 15": "--size must be at least 16.*15",
    "taken.png --size 99999": "--size must be at most 65535.*99999",
    "taken.png --size original": "--size must be a whole number.*original",
    "taken.png --jduge lite": "--jduge.*[Dd]id you mean.*--judge",
    "taken.png --json -o report.pdf": "unknown suffix '.pdf'",
}


def _compare_cases() -> Iterator[Case]:
    for line, says in COMPARE_LINES.items():
        yield Case(f"compare {line}", compare(line), says, real=line == "text.jpg")
    yield Case("compare without results", compare(""), "a result is needed.*compare PHOTO STYLE RESULT")
    yield Case("compare without a painting", ("compare", "photo.png"), "needed: impasto compare PHOTO STYLE")
    yield Case("compare a missing photo", compare(photo="missing.png"), "photograph missing.png: no such file")
    yield Case("compare with a painting that is none", compare(style="text.jpg"), "style picture text.jpg: not a picture")
    closed = "not as root" if AS_ROOT else ""
    yield Case(
        "compare into a closed folder", compare("taken.png -o closed/report.html"), "closed is not writable", skip=closed
    )
    yield Case("compare by absent weights", compare("taken.png --judge vgg19"), "weights are not on this machine", FAILURE)


# FILE and what follows it, and a pattern of what is said of it by `impasto again`
AGAIN_LINES = {
    "missing.png": "picture missing.png: no such file",
    "text.jpg": "picture text.jpg: not a picture",
    "a-folder": "picture a-folder: is a directory",
    "photo.png": "photo.png has no settings: it was not made by impasto, or with --no-metadata",
    "foreign.png": "foreign.png has no settings",
    "http://127.0.0.1/a.png": "addresses are not fetched",
    "gone.png": "style gone.jpg is neither beside gone.png nor in this folder; name it: impasto again",
    "gone.png photo.png missing.jpg": "style picture missing.jpg: no such file",
    "gone.png missing.jpg style.png": "photograph missing.jpg: no such file",
    "gone.png --size 7": "--size must be from 16 to 65535",
    "gone.png --sise 64": "--sise.*[Dd]id you mean.*--size",
    "gone.png --method magic": "--method must be.*magic",
    "gone.png photo.png style.png -o taken.png --size 32": "taken.png exists; add --overwrite",
    "gone.png photo.png style.png -o photo.png --overwrite --size 32": "output photo.png is the input photo.png itself",
    "gone.png photo.png style.png -o result.gif --size 32": "unknown suffix '.gif'",
    "gone.png --no-metadata --keep-exif": "--no-metadata and --keep-exif exclude each other",
    "gone.png --init missing.png photo.png style.png --size 32": "--init.*missing.png.*no such file",
    "no-inputs.png": "no-inputs.png does not remember its photo; name it: impasto again",
    "no-init.png": "no-init.png does not remember its init; name it: --init FILE",
    "fifo-input.png": "photo fifo.png is neither beside",
    "folder-input.png": "photo a-folder is neither beside",
    "long-input.png": "photo n+ is neither beside",
    "path-input.png": "its settings are damaged: inputs must name files without their folders.*passwd",
    "types.png": "its settings are damaged: inputs",
    "nan.png": "nan.png has no settings",
    "infinite.png": "infinite.png has no settings",
    "huge-number.png": "its settings cannot be used: size",
    "endless-number.png": "endless-number.png has no settings",
    "huge-text.png": "its settings are damaged: seconds must be a number, not 'ssss",
    "deep.png": "deep.png has no settings",
    "method.png": "its settings cannot be used: method must be 'impasto' or 'gatys', not 'magic'",
    "list.png": "list.png has no settings",
    "null-option.png": "its settings cannot be used: iterations must be a whole number, not None",
    "foreign.png --json": "foreign.png has no settings",
}
INFO_FILES = {
    "missing.png": "picture missing.png: no such file",
    "text.jpg": "picture text.jpg: not a picture",
    "a-folder": "picture a-folder: is a directory",
    "photo.png": "photo.png has no settings: it was not made by impasto, or with --no-metadata",
    "foreign.png": "foreign.png has no settings",
    "http://127.0.0.1/a.png": "addresses are not fetched",
    "path-input.png": "its settings are damaged: inputs",
    "types.png": "its settings are damaged: inputs",
    "nan.png": "nan.png has no settings",
    "huge-text.png": "its settings are damaged: seconds",
    "deep.png": "deep.png has no settings",
    "foreign.png --json": "foreign.png has no settings",
    "photo.png style.png": "style.png",
    "photo.png --josn": "--josn",
}


def _again_cases() -> Iterator[Case]:
    for line, says in AGAIN_LINES.items():
        yield Case(f"again {line}", ("again", *shlex.split(line)), says, real=line == "gone.png")
    for line, says in INFO_FILES.items():
        yield Case(f"info {line}", ("info", *shlex.split(line)), says, real=line == "photo.png")
    yield Case("again without a picture", ("again",), "FILE")
    yield Case("info without a picture", ("info",), "FILE")
    yield Case("--no-metadata --keep-exif", paint("--no-metadata --keep-exif"), "exclude each other")


STYLE_FILES = {
    "missing.style": "style file missing.style: no such file",
    "cut.style": "cut.style is not a style file, or is cut short",
    "empty.style": "empty.style is empty",
    "text.style": "text.style is not a style file",
    "folder.style": "folder.style is a directory",
    "other.style": "other.style is safetensors, but not a style",
    "format-9.style": "format-9.style is a style file of format 9, made by impasto 9.0.*reads format 2",
    "no-taps.style": "no-taps.style.*card is damaged: taps",
    "typed.style": "typed.style.*card is damaged: rungs",
    "deep-card.style": "deep-card.style.*card is damaged: title",
    "no-json.style": "no-json.style.*card is damaged",
    f"{'s' * 300}.style": "too long",
    "fifo.style": "fifo.style is not a regular file",
    "sarry-night": "unknown style 'sarry-night'; did you mean 'starry-night'",
}
# behind PHOTO STYLE, where STYLE is a style file that is good for the defaults
STORED_LINES = {
    "--keep-colors luma": "keep_colors needs the painting itself",
    "--keep-colors match": "keep_colors needs the painting itself",
    "--content-mask photo.png --style-mask style.png": "style_mask needs the painting itself|no region|color",
    "--pooling average": "good.style was made for lite with max pooling.*not for lite with average pooling",
    "--padding zero": "good.style was made for lite.*replicate padding, not for lite.*zero padding",
    "--method gatys --encoder lite": "good.style was made for lite with max pooling",
    "--taps trunk3_1": "good.style has no trunk3_1, only relu1_1",
    "--mask taken.png=sarry-night": "unknown style 'sarry-night'; did you mean 'starry-night'",
    "--mask taken.png=missing.style": "style file missing.style: no such file",
}
MAKE_LINES = {
    "style.png -o new.stile": "unknown suffix '.stile'; did you mean '.style'",
    "style.png -o good.style": "good.style exists; add --overwrite",
    "style.png -o nowhere/new.style": "no directory nowhere",
    "style.png -o folder.style --overwrite": "folder.style is a directory",
    "missing.png": "style picture missing.png: no such file",
    "text.jpg": "style picture text.jpg: not a picture",
    "good.style": "style picture good.style: not a picture",
    "4x4.png": "style picture is 4x4 pixels",
    ".": "is a directory",
    "http://127.0.0.1/a.png": "addresses are not fetched",
    f"style.png --title {'t' * 301}": "--title must have at most 300|--title.*300 characters",
    "style.png --encoder vgg20": "--encoder must be.*vgg20",
    "style.png --pooling median": "--pooling must be.*median",
    "style.png --titel x": "--titel.*[Dd]id you mean.*--title",
    "style.png other.png": "other.png",
    "style.png --json -o new.stile": "unknown suffix '.stile'",
    "": "PAINTING",
}


def _style_cases() -> Iterator[Case]:
    no_pipes = "" if hasattr(os, "mkfifo") else "needs a POSIX system"
    for file, says in STYLE_FILES.items():
        shown, skip = file if len(file) < 100 else "with an endless name", no_pipes if file == "fifo.style" else ""
        yield Case(f"style file {shown}", paint(style=file), says, real=file in ("cut.style", "sarry-night"), skip=skip)
        yield Case(f"style show {shown}", ("style", "show", file), says, skip=skip)
    for file, says in {"vgg19.style": "made for vgg19", "retrained.style": "made for other weights of lite"}.items():
        yield Case(f"style file {file}", paint(style=file), f"{file} was {says}.*impasto style make PAINTING --encoder lite")
    yield Case("style file more-rungs.style", paint(style="more-rungs.style"), "damaged: it has no relu1_1 for 1448 pixels")
    for line, says in STORED_LINES.items():
        yield Case(f"good.style {line}", paint(line, style="good.style"), says)
    for line, says in MAKE_LINES.items():
        shown = line if len(line) < 100 else "with an endless title"
        yield Case(f"style make {shown}", ("style", "make", *shlex.split(line)), says)
    closed = "not as root" if AS_ROOT else ""
    yield Case(
        "style make into a closed folder", ("style", "make", "style.png", "-o", "closed/x.style"), "not writable", skip=closed
    )
    yield Case(
        "style make for absent weights", ("style", "make", "style.png", "--encoder", "vgg19"), "not on this machine", FAILURE
    )
    yield Case("style show a picture", ("style", "show", "photo.png"), "photo.png is neither a .style file nor one")
    yield Case("style show nothing", ("style", "show"), "STYLE")
    yield Case("styles of what", ("styles", "photo.png"), "photo.png")


def _lite() -> str:
    return str(ROOT / "impasto" / "assets" / "lite.safetensors")


def cases() -> list[Case]:
    """Every case, in the order of the table."""
    return [
        *_picture_cases(),
        *_size_cases(),
        *_output_cases(),
        *_option_cases(),
        *_weights_cases(),
        *_compare_cases(),
        *_again_cases(),
        *_style_cases(),
    ]


# ---------------------------------------------------------------------------------------------------------------- running


class TooLongError(BaseException):
    """A case ran out of time; no `except Exception` on the way may take it for something else."""


def run(case: Case, folder: Path, *, real: bool = False) -> Outcome:
    """Run a case in the folder, in this process or in one of its own, and put the folder back as it was."""
    with restored(folder) as changes:
        outcome = call(case.words, folder, case.environment, real=real)
    return replace(outcome, changes=tuple(changes))


def call(words: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, *, real: bool = False) -> Outcome:
    """Run a command line in the folder, in this process or in one of its own. environment: variables on top of ENVIRONMENT."""
    variables = ENVIRONMENT | dict(environment or {})
    return _run_process(words, folder, variables) if real else _run_here(words, folder, variables)


def _run_process(words: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Outcome:
    began = time.monotonic()
    environment = os.environ | dict(variables) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "impasto", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def _run_here(words: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Outcome:
    from impasto.cli import main

    stdout, stderr, code = io.StringIO(), io.StringIO(), "no exit code"
    result: int | str = code
    began = time.monotonic()
    with _inside(folder, variables), contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            with _time_limit():
                result = main(list(words))
        except TooLongError:
            result = f"took more than {MOST_SECONDS} s"
        except SystemExit as error:
            result = f"SystemExit({error.code})"
        except BaseException as error:  # what a user would see as a traceback
            result = f"{type(error).__name__} left main()"
            stderr.write(traceback.format_exc())
    return Outcome(result, stdout.getvalue(), stderr.getvalue(), time.monotonic() - began)


@contextlib.contextmanager
def _inside(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    here, kept = Path.cwd(), {name: os.environ.get(name) for name in environment}
    os.chdir(folder)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.chdir(here)
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def restored(folder: Path) -> Iterator[list[str]]:
    """Put the folder back as it was when the block ends, and add to the list what had changed."""
    before, changes = snapshot(folder), list[str]()
    try:
        yield changes
    finally:
        changes.extend(_undo(folder, before))


def snapshot(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    """{path: (mode, time of change, content or target)} of everything below a folder."""
    return {path: _state(path) for path in sorted(folder.rglob("*"))}


def _state(path: Path) -> tuple[int, int, bytes]:
    found = path.lstat()
    if stat.S_ISREG(found.st_mode) and os.access(path, os.R_OK):
        content = path.read_bytes()
    else:
        content = os.fsencode(path.readlink()) if stat.S_ISLNK(found.st_mode) else b""
    return found.st_mode, 0 if stat.S_ISDIR(found.st_mode) else found.st_mtime_ns, content


def _undo(folder: Path, before: Mapping[Path, tuple[int, int, bytes]]) -> Iterator[str]:
    """Name what changed, and change it back."""
    after = snapshot(folder)
    for path in sorted(after.keys() - before.keys(), reverse=True):
        yield f"left {path.relative_to(folder)}"
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for path, (mode, _, content) in before.items():
        if after.get(path) == before[path]:
            continue
        yield f"changed {path.relative_to(folder)}" if path in after else f"removed {path.relative_to(folder)}"
        if stat.S_ISREG(mode):
            path.write_bytes(content)
            before_times = before[path][1]
            os.utime(path, ns=(before_times, before_times))


# ---------------------------------------------------------------------------------------------------------------- judging


def judge(case: Case, outcome: Outcome) -> list[str]:
    """Everything that is wrong with how a case went; empty if nothing is."""
    lines = outcome.stderr.splitlines()
    problems = [] if outcome.code == case.code else [f"exit code {outcome.code}, expected {case.code}"]
    if "Traceback (most recent call last)" in outcome.stderr + outcome.stdout:
        return [*problems, "traceback"]
    errors = [line for line in lines if not NOTE.fullmatch(line)]
    if len(errors) != 1:
        problems.append(f"{len(errors)} error lines: {errors}" if errors else "no error line")
    elif lines[-1] != errors[0] or not re.match(r"impasto: \S", errors[0]):
        problems.append("the error is not the last line, or does not begin with 'impasto: '")
    elif not re.search(case.says, errors[0]):
        problems.append(f"the message does not match {case.says!r}")
    return [*problems, *_judge_output(case, outcome, errors), *outcome.changes]


def _judge_output(case: Case, outcome: Outcome, errors: Sequence[str]) -> Iterator[str]:
    """Standard output stays empty, but for the one line of JSON that was asked for."""
    if "--json" not in case.words:
        if outcome.stdout:
            yield "words on standard output"
        return
    try:
        said = json.loads(outcome.stdout)
    except ValueError:
        yield "no line of JSON on standard output"
        return
    if said.get("exit_code") != case.code or [f"impasto: {said.get('error')}"] != list(errors):
        yield f"the JSON says something else: {said}"


def report(case: Case, outcome: Outcome, problems: Sequence[str], *, real: bool) -> str:
    """Two lines of the table: the case with its exit code and verdict, and the last line it said."""
    verdict = "ok" if not problems else "BAD: " + "; ".join(problems)
    last = outcome.stderr.strip().rpartition("\n")[2]
    name = case.name if len(case.name) <= 60 else case.name[:57] + "..."
    return f"{outcome.code!s:>4}  {'process' if real else ''!s:7}  {name:60}  {verdict}\n      {last[:200]}"


def main(words: Sequence[str]) -> int:
    """Run the cases whose names hold all of `words`; print the table. Returns 1 if any went wrong."""
    chosen = [case for case in cases() if all(word in case.name for word in words)]
    bad = count = 0
    with tempfile.TemporaryDirectory(prefix="impasto-bad-inputs-") as name:
        make_files(Path(name))
        for case in chosen:
            if case.skip:
                print(f"   -           {case.name:60}  skipped: {case.skip}")
                continue
            for real in (False, True)[: 1 + case.real]:
                outcome = run(case, Path(name), real=real)
                problems = judge(case, outcome)
                count, bad = count + 1, bad + bool(problems)
                print(report(case, outcome, problems, real=real), flush=True)
    print(f"\n{count} runs of {sum(not case.skip for case in chosen)} cases, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
