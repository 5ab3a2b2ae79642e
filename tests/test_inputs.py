"""Every row of scripts/inputs.py on the real command line, and that script's own judgment of good and bad outcomes."""

from __future__ import annotations

import io
import json
import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import inputs
import numpy as np
import pytest
from inputs import Outcome, Row
from inputs_cases import checks, files
from PIL import Image

REFUSAL = Row("refusal", "photo.png painting.png", r"photo\.png")
REFUSED = Outcome(2, b"", "impasto: photo.png: no such file\n", {})
PAINTING = Row("painting", "photo.png painting.png", "a note", code=0, size=(64, 43), writes="film.gif")
SAID = {"output": "out.png", "width": 64, "height": 43, "exit_code": 0, "losses": {"style": 1.5}, "notes": ["a note"]}
WROTE = "wrote out.png (64x43) in 1 s\n"
PROGRESS = "impasto: 50%, 1 s left  step 1/2\n"
PAINTED = Outcome(
    0, f"{WROTE}{json.dumps(SAID)}".encode(), f"{PROGRESS}impasto: a note\n", {"out.png": "new", "film.gif": "new"}
)
JSON_REFUSAL = replace(REFUSAL, words="photo.png painting.png --json")
STDOUT = Row("stdout", "photo.png painting.png -o -", code=0, size=(64, 43))
REFUSED_IN_JSON = replace(REFUSED, stdout=b'{"error": "photo.png: no such file", "exit_code": 2}\n')


@pytest.mark.parametrize("row", inputs.ROWS, ids=[row.name for row in inputs.ROWS])
def test_a_row_of_the_table(row: Row, tmp_path: Path) -> None:
    if row.skip:
        pytest.skip(row.skip)
    with inputs.new_folder() as folder:
        outcome, problems = inputs.run(row, folder)
    assert problems == [], outcome.stderr


def test_no_two_rows_are_alike() -> None:
    assert len({row.name for row in inputs.ROWS}) == len(inputs.ROWS)
    parts = {(*row.command, row.files, row.stdin, row.own_process, *row.environment.items()) for row in inputs.ROWS}
    assert len(parts) == len(inputs.ROWS)


def test_good_outcomes_pass() -> None:
    assert inputs.judge(REFUSAL, REFUSED) == []
    assert inputs.judge(JSON_REFUSAL, REFUSED_IN_JSON) == []
    assert inputs.judge(PAINTING, PAINTED) == []
    assert inputs.judge(STDOUT, Outcome(0, _png(np.zeros((43, 64, 3))), PROGRESS, {})) == []


@pytest.mark.parametrize(
    ("row", "outcome", "changes", "problem"),
    [
        (REFUSAL, REFUSED, {"code": 1}, "exit code 1, expected 2"),
        (
            REFUSAL,
            REFUSED,
            {"code": "ValueError left main()", "stderr": "Traceback (most recent call last):\nNo"},
            "traceback: No",
        ),
        (REFUSAL, REFUSED, {"stderr": ""}, "0 lines on standard error, expected 1"),
        (REFUSAL, REFUSED, {"stderr": REFUSED.stderr * 2}, "2 lines on standard error, expected 1"),
        (REFUSAL, REFUSED, {"stderr": "photo.png: no such file\n"}, "does not begin with 'impasto: '"),
        (REFUSAL, REFUSED, {"stderr": "impasto: no such file\n"}, "match 'photo"),
        (REFUSAL, REFUSED, {"stderr": PROGRESS + REFUSED.stderr}, "painted before it refused"),
        (REFUSAL, REFUSED, {"stdout": b"wrote an image\n"}, "on standard output"),
        (REFUSAL, REFUSED, {"changes": {"out.png": "new"}}, "new file: out.png"),
        (REFUSAL, REFUSED, {"warned": ("deprecated",)}, "warning: deprecated"),
        (JSON_REFUSAL, REFUSED, {}, "not one line of JSON"),
        (JSON_REFUSAL, REFUSED_IN_JSON, {"stdout": b'{"error": "another", "exit_code": 2}'}, "the JSON differs"),
        (PAINTING, PAINTED, {"code": 1}, "exit code 1, expected 0"),
        (PAINTING, PAINTED, {"stderr": ""}, "0 lines on standard error, expected 1"),
        (PAINTING, PAINTED, {"changes": {"out.png": "new"}}, "did not write film.gif"),
        (PAINTING, PAINTED, {"changes": {**(PAINTED.changes or {}), "photo.png": "changed"}}, "changed file: photo.png"),
        (PAINTING, PAINTED, {"stdout": WROTE.encode()}, "no line of JSON"),
        (PAINTING, PAINTED, {"stdout": json.dumps(SAID).encode()}, "not one line with the name and the size"),
        (PAINTING, PAINTED, {"stdout": PAINTED.stdout.replace(b"x43", b"x44")}, "not one line with the name and the size"),
        (PAINTING, PAINTED, {"stdout": PAINTED.stdout.replace(b": 43", b": 44")}, "the JSON says"),
        (PAINTING, PAINTED, {"stdout": PAINTED.stdout.replace(b'"a note"', b"")}, "the JSON's notes differ"),
        (PAINTING, PAINTED, {"stdout": PAINTED.stdout.replace(b"1.5", b"NaN")}, "not finite"),
        (STDOUT, PAINTED, {}, "standard output is not a PNG"),
    ],
)
def test_every_fault_is_found(row: Row, outcome: Outcome, changes: dict[str, Any], problem: str) -> None:
    assert problem in "; ".join(inputs.judge(row, replace(outcome, **changes)))


def test_changed_files_are_noticed(tmp_path: Path) -> None:
    for name in ("changed", "removed", "kept"):
        (tmp_path / name).write_text("before")
    before = inputs.snapshot(tmp_path)
    (tmp_path / "changed").write_text("after!")
    (tmp_path / "removed").unlink()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "result.png").write_text("an image")
    expected = {"changed": "changed", "removed": "removed", "new": "new", "new/result.png": "new"}
    assert inputs.differences(before, inputs.snapshot(tmp_path)) == expected


def test_exceptions_warnings_and_failing_later_commands_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def main(words: list[str]) -> int:
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        if words[0] == "info":
            return 1
        raise RuntimeError("a bug")

    monkeypatch.setattr("impasto.cli.main", main)
    outcome = inputs.call(["photo.png"], PAINTING, tmp_path)
    assert (outcome.code, outcome.warned) == ("RuntimeError left main()", ("old",))
    assert "RuntimeError: a bug" in outcome.stderr
    (problem,) = inputs._follow(replace(PAINTING, then=(("info out.png", ""),)), tmp_path)
    assert "then info out.png: exit code 1" in problem


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "png")
    return file.getvalue()


def test_images_that_are_not_what_they_should_be_are_noticed(tmp_path: Path) -> None:
    files.make(["photo.png"], tmp_path)
    photo = checks.photograph_at(tmp_path / "photo.png", (64, 43)).round()
    other, flat, gray = photo[::-1], np.full_like(photo, 90), photo.mean(axis=2, keepdims=True).repeat(3, 2)
    left, right = photo.copy(), photo.copy()
    left[:, :32], right[:, 32:] = other[:, :32], other[:, 32:]

    def problems(pixels: np.ndarray, *tests: Any, flat: bool = False) -> str:
        (tmp_path / "out.png").write_bytes(_png(pixels))
        return "; ".join(inputs.examine(replace(PAINTING, checks=tests, flat=flat, writes=""), PAINTED, tmp_path))

    for good in (
        problems(photo, checks.photograph, checks.same_hues, checks.changed(0, 1)),
        problems(other, checks.changed()),
        problems(left, checks.kept_right),
        problems(right, checks.kept_left),
        problems(gray, checks.less_color, checks.gray),
        problems(flat, flat=True),
    ):
        assert good == ""
    assert "64x42" in problems(photo[:42])
    assert "single color" in problems(flat)
    assert "mode L" in problems(photo[..., 0])
    assert "mode RGBA" in problems(np.dstack([photo, np.full((43, 64), 200)]))
    assert "by up to" in problems(np.clip(photo + 2, 0, 255), checks.photograph)
    assert "is 0." in problems(photo, checks.changed())
    assert "mean difference" in problems(other, checks.changed(0, 1))
    assert "kept half" in problems(right, checks.kept_right)
    assert "kept half" in problems(photo, checks.kept_left)
    assert "color went" in problems(photo, checks.less_color)
    assert "channels" in problems(photo, checks.gray)
    assert "hues" in problems(photo[..., ::-1], checks.same_hues)
    (tmp_path / "out.png").write_bytes(_png(photo)[:500])
    assert inputs.examine(PAINTING, PAINTED, tmp_path)[0].startswith("not a whole image")


def test_the_evil_pickle_would_create_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(files.content("evil.pth")).close()
    assert [path.name for path in tmp_path.iterdir()] == ["evil-was-here"]
