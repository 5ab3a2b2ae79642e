"""The fuzzer itself, some hundred of its cases, and every input it has made impasto fail with, each made by code."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz_cases import KINDS, SCHEDULE, Case, build, calls, images, others, page, perform, records, tiffs
from fuzz_cases.perform import Sandbox
from fuzz_cases.tiffs import DEFLATE, SHORT, Page, tiff

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the fuzzer watches memory as on Linux")
CASES = 200
PIXELS = np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("fuzz")) as opened:
        yield opened


def test_some_hundred_cases(sandbox: Sandbox) -> None:
    verdicts = [sandbox.run(build.case(number), number) for number in range(CASES)]
    assert [f"case {verdict.number}: {page.described(verdict)}" for verdict in verdicts if verdict.problems] == []
    assert {verdict.kind for verdict in verdicts} == KINDS.keys()
    accepted = sum(verdict.outcome == "accepted" for verdict in verdicts)
    assert CASES / 10 < accepted < CASES / 2


# ------------------------------------------------------------------------------------------------- what it found, by hand


def _image(data: bytes, name: str = "image.tif") -> Case:
    return Case("image", name, {name: data}, call=("image", name, "bytes", "photograph"))


def _weights(data: bytes, name: str) -> Case:
    return Case("weights", name, {name: data}, call=("weights", name, "vgg19", ""))


def _style(**changes: Any) -> Case:
    """A style file that holds no painting, with a changed card."""
    header, rest = records.split(others.styles()[0])
    entries = json.loads(header)
    card = json.loads(entries["__metadata__"]["impasto style"]) | changes
    entries["__metadata__"]["impasto style"] = json.dumps(card)
    data = records.joined(json.dumps(entries).encode(), rest)
    return Case("style", "", {"night.style": data}, call=("style", "night.style"))


def _line(*words: str) -> Case:
    return Case("line", " ".join(words), others.basic(), words)


def _zipped(pickled: bytes) -> bytes:
    """A .pth file whose pickle is this."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (("data.pkl", pickled), ("byteorder", b"little"), ("version", b"3\n")):
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def _safetensors(dtype: str) -> bytes:
    return records.joined(
        json.dumps({"features.0.weight": {"dtype": dtype, "shape": [0], "data_offsets": [0, 0]}}).encode(), b""
    )


def _png_with(name: bytes) -> bytes:
    """A PNG with an empty chunk whose checksum is wrong."""
    return (whole := images.encoded(images.image(), "png"))[:33] + bytes(4) + name + bytes(4) + whole[33:]


def _keras() -> bytes:
    """A .keras file whose HDF5 has offsets that are too large."""
    data = others.keras()
    return others.keras_zip(data[:147] + b"\xff" * 40 + data[187:])


def _broken(data: bytes) -> bytes:
    """Deflated strips whose checksums are wrong."""
    middle = data.index(b"x\x9c") + 8
    return data[:middle] + bytes(4) + data[middle + 4 :]


FOUND: dict[str, Callable[[], Case]] = {
    "an ICC profile that is a number": lambda: _image(tiff(Page(PIXELS, tags={34675: (SHORT, [5])}))),
    "an ICC profile that is several numbers": lambda: _image(tiff(Page(PIXELS, tags={34675: (SHORT, [5, 6])}))),
    "an ICC profile that is several numbers, in a TIFF that Pillow does not read": lambda: _image(
        tiff(Page(PIXELS, tags={34675: (SHORT, [5, 6]), 338: (SHORT, [34675])}))
    ),
    "strips that do not inflate": lambda: _image(_broken(tiff(Page(PIXELS, DEFLATE)))),
    "an invalid planar configuration": lambda: _image(tiff(Page(PIXELS, tags={tiffs.PLANAR: (SHORT, [0])}))),
    "more samples than Pillow knows": lambda: _image(tiff(Page(PIXELS, tags={tiffs.SAMPLES: (SHORT, [32])}))),
    "a directory that links to itself": lambda: _image(
        tiffs.looped(tiff(Page(PIXELS, tags={tag: (SHORT, [1]) for tag in range(40_000, 44_000)})))
    ),
    "a damaged chunk whose name is not letters": lambda: _image(_png_with(b"\0\0\0\x08")),
    "film frames in a folder whose name has a NUL": lambda: _line("photo.png", "udnie", "--frames=a\0.png", "--size", "32"),
    "a value of several lines": lambda: Case("option", "", call=("option", "Options", {"size": np.zeros((3, 3))})),
    "a value of 5000 characters": lambda: Case("option", "", call=("option", "Options", {"seed": "x" * 5000})),
    "offsets in HDF5 that are too large": lambda: _weights(_keras(), "vgg.keras"),
    "a pickle of a protocol to come": lambda: _weights(_zipped(b"\x80\x3a}."), "vgg.pth"),
    "a pickled name with control characters": lambda: _weights(_zipped(b"\x80\x02ctorch._\x1b[31m\nx\n."), "vgg.pth"),
    "a type of tensors that turns the line around": lambda: _weights(_safetensors("\u202e"), "vgg.safetensors"),
    "a type of tensors of 5000 characters": lambda: _weights(_safetensors("x" * 5000), "vgg.safetensors"),
    "a style made for padding with control characters": lambda: _style(padding="replicate\0"),
    "an unknown flag that turns the line around": lambda: _line("photo.png", "painting.png", "--n\u202e"),
    "a word too many with control characters": lambda: _line("weights", "path", "lite", "\x1b[31m"),
    "a value for a switch with a NUL": lambda: _line("weights", "path", "lite", "--name=\0"),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_it_found(name: str, sandbox: Sandbox) -> None:
    verdict = sandbox.run(FOUND[name](), 1)
    assert verdict.problems == ()


# --------------------------------------------------------------------------------------------------- the fuzzer itself


def test_every_kind_has_its_builder_and_the_same_number_is_the_same_case() -> None:
    assert build.BUILDERS.keys() == KINDS.keys() == set(SCHEDULE)
    for number in range(50):
        assert repr(build.case(number)) == repr(build.case(number)) != repr(build.case(number, 1))


def test_every_seed_is_accepted_or_a_known_refusal(sandbox: Sandbox) -> None:
    outcomes = {name: sandbox.run(_image(data, "x.bin"), 1).outcome for name, data in images.made().items()}
    assert len(outcomes) > 130
    assert sum(outcome == "refused" for outcome in outcomes.values()) < 8
    for kind, name, data in (
        *(("weights", name, data) for name, data in others.weights().items() if name != "lite.safetensors"),
        ("style", "night.style", others.styles()[0]),
        ("network", "net.safetensors", others.network()),
    ):
        call = ("weights", name, "vgg19", "") if kind == "weights" else (kind, name)
        assert sandbox.run(Case(kind, name, {name: data}, call=call), 1).outcome == "accepted", name
    for state in others.states():
        case = Case("state", "", {**others.basic(), others.STATE: state}, ("resume", others.OUT))
        assert sandbox.run(case, 1).outcome == "accepted"
    for suffix in others.RECORDED:
        found = {**others.basic(), f"made{suffix}": others.recorded(others.settings(), suffix)}
        assert sandbox.run(Case("record", "", found, ("again", f"made{suffix}", *build.SMALL)), 1).outcome == "accepted"


def _fails(change: Callable[[], Any]) -> Callable[..., Iterator[str]]:
    def call(*_: str) -> Iterator[str]:
        change()
        yield from ()

    return call


def _raise() -> None:
    raise KeyError("a bug")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_raise, "KeyError: \"'a bug'\" at test_fuzz.py"),
        (lambda: warnings.warn("old", DeprecationWarning, stacklevel=1), "warning: DeprecationWarning: old"),
        (lambda: os.write(2, b"from a codec"), "on the real standard error: 'from a codec'"),
        (lambda: Path("left.png").touch(), "left in left.png"),
        (lambda: Path(os.environ["TMPDIR"], "t").touch(), "left in TMPDIR: t"),
        (lambda: Path("image.tif").write_bytes(b"other"), "image.tif has changed"),
        (lambda: Path("image.tif").unlink(), "image.tif is gone"),
    ],
)
def test_every_fault_is_found(change: Callable[[], Any], says: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(calls.CALLS, "image", _fails(change))
    verdict = sandbox.run(_image(b"x"), 1)
    assert verdict.outcome == "failed"
    assert says in "; ".join(verdict.problems)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("code", "said", "printed", "says"),
    [
        (3, "", "", "exit code 3"),
        (2, "", "", "without an error"),
        (2, "impasto: wrong\n", "painted\n", "an error, and on standard output"),
        (2, "Traceback\n", "", "on standard error: 'Traceback'"),
        (2, "impasto: a\x1b[31m\n", "", "not one printable line"),
        (2, "impasto: a\nimpasto: a\n", "", "says the same twice"),
        (1, f"impasto: {'x' * 3000}\n", "", "an error of 3009 characters"),
    ],
)
def test_every_wrong_end_of_a_command_is_found(
    code: int, said: str, printed: str, says: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(words: list[str]) -> int:
        sys.stderr.write(said)
        sys.stdout.write(printed)
        return code

    monkeypatch.setattr("impasto.cli.main", main)
    verdict = sandbox.run(_line("styles"), 1)
    assert says in "; ".join(verdict.problems)


def test_the_page_keeps_the_words_around_its_table(tmp_path: Path) -> None:
    file = tmp_path / "robustness.md"
    verdict = perform.Verdict(7, "image", "png: cut", "failed", problems=("KeyError: 'x' at a.py:3 f",), seconds=0.5)
    summary = page.Summary()
    assert [summary.add(verdict) for _ in range(5)] == [True, True, True, False, False]
    assert not summary.add(perform.Verdict(8, "line", "", "refused"))
    page.write(file, summary)
    file.write_text(file.read_text().replace("# Robustness", "# Words\n\nmore"))
    page.write(file, summary)
    text = file.read_text()
    assert text.startswith("# Words\n\nmore")
    assert text.count("| image |") == text.count("case 7, 7, 7: image, png: cut: KeyError") == 1
    assert "5 times, as in case 7, 7, 7: " in summary.table()
    assert (summary.cases, summary.failed) == (6, 5)
