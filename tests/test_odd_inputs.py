"""Odd but legal inputs of scripts/odd_inputs.py on the real command line: one of every kind; and that script's own judgement.

All of them take a minute and a half: `python scripts/odd_inputs.py` runs them.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def _import(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up, and one script imports the other
    spec.loader.exec_module(module)
    return module


bad: Any = _import("bad_inputs")
script: Any = _import("odd_inputs")
CASES = script.cases()
SOME = [case for case in CASES if case.real]
SAID = {"output": "out.png", "width": 64, "height": 43, "exit_code": 0, "losses": {"style": 1.5}, "notes": ["a note"]}
NOTED = "impasto: 50%, 1 s left  scale 1/1 64x43  step 1/2  style 3\nimpasto: a note\n"
WROTE = "wrote out.png (64x43) in 1 s\n"
GOOD = bad.Outcome(0, f"{WROTE}{json.dumps(SAID)}\n", NOTED, 0.1, ("left out.png",))
CASE = script.Case("example", "photo.png painting.png", says="a note").whole


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("odd inputs")
    script.make_files(place)
    return place


@pytest.mark.parametrize("case", SOME, ids=[case.name for case in SOME])
def test_an_odd_input_is_painted_or_refused_in_one_line(case: Any, folder: Path) -> None:
    assert script.run(case, folder).problems == ()


def test_there_are_many_cases_and_no_two_are_alike() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 150
    assert len({case.words for case in CASES}) == len(CASES)
    assert len(SOME) >= 10


def test_a_good_outcome_passes() -> None:
    assert script.judge(CASE, GOOD) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"code": 1}, "exit code 1, expected 0"),
        ({"code": "RuntimeError left main()"}, "exit code RuntimeError left main(), expected 0"),
        ({"stderr": "Traceback (most recent call last):\n  ...\nValueError: no\n"}, "traceback"),
        ({"stderr": ""}, "0 notes, expected 1"),
        ({"stderr": f"{NOTED}lib.py:3: UserWarning: old\n"}, "2 notes, expected 1"),
        ({"stderr": "impasto: another word\n"}, "does not match 'a note'"),
        ({"stderr": "a note\n"}, "does not match 'a note'"),
        ({"changes": ()}, "has not left out.png"),
        ({"changes": ("left out.png", "changed photo.png")}, "changed photo.png"),
        ({"stdout": WROTE}, "no line of JSON"),
        ({"stdout": json.dumps(SAID)}, "not one line that says what was written"),
        ({"stdout": f"{WROTE}more\n{json.dumps(SAID)}"}, "not one line that says what was written"),
        ({"stdout": WROTE.replace("43", "44") + json.dumps(SAID)}, "not one line that says what was written"),
        ({"stdout": WROTE + json.dumps(SAID | {"height": 44})}, "the JSON says"),
        ({"stdout": WROTE + json.dumps(SAID | {"notes": []})}, "the JSON's notes are []"),
        ({"stdout": WROTE + json.dumps(SAID | {"losses": {"style": float("nan")}})}, "NaN among its numbers"),
    ],
)
def test_every_fault_is_found(changes: dict[str, Any], problem: str) -> None:
    assert problem in "; ".join(script.judge(CASE, bad.Outcome(**(vars(GOOD) | changes))))


def test_a_refusal_is_judged_as_a_bad_input() -> None:
    case = replace(CASE, size=None)
    words = bad.Outcome(2, '{"error": "a note", "exit_code": 2}', "impasto: a note\n", 0.1)
    assert script.judge(case, words) == []
    assert script.judge(case, GOOD) != []
    assert script.judge(case, replace(words, changes=("left making",))) == ["left making"]


def _judged(folder: Path, pixels: np.ndarray, **changes: Any) -> str:
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "out.png")
    return "; ".join(script.look_at(replace(CASE, **changes), folder)[1])


def test_pictures_that_are_not_what_they_should_be(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes((folder / "photo.png").read_bytes())
    photo = script.photograph_at(folder / "photo.png", (64, 43)).round()
    other = photo[::-1]
    assert _judged(tmp_path, photo) == _judged(tmp_path, photo, checks=(script.photograph,)) == ""
    assert "expected (64, 43)" in _judged(tmp_path, photo[:42])
    assert "one flat colour" in _judged(tmp_path, np.full_like(photo, 90))
    assert _judged(tmp_path, np.full_like(photo, 90), flat=True) == ""
    assert "mode L" in _judged(tmp_path, photo[..., 0])
    assert "mode RGBA" in _judged(tmp_path, np.dstack([photo, np.full((43, 64), 200)]))
    assert "from the photograph" in _judged(tmp_path, np.clip(photo + 2, 0, 255), checks=(script.photograph,))
    assert _judged(tmp_path, other, checks=(script.changed(),)) == ""
    assert "changed by 0" in _judged(tmp_path, photo, checks=(script.changed(),))
    assert "changed by" in _judged(tmp_path, other, checks=(script.changed(0, 8),))
    left, right = photo.copy(), photo.copy()
    left[:, :32], right[:, 32:] = other[:, :32], other[:, 32:]
    assert _judged(tmp_path, left, checks=(script.kept_right,)) == _judged(tmp_path, right, checks=(script.kept_left,)) == ""
    assert "half" in _judged(tmp_path, right, checks=(script.kept_right,))
    assert "half" in _judged(tmp_path, photo, checks=(script.kept_left,))
    grey = photo.mean(axis=2, keepdims=True).repeat(3, 2)
    assert _judged(tmp_path, grey, checks=(script.drained, script.colourless)) == ""
    assert "colour" in _judged(tmp_path, photo, checks=(script.drained,))
    assert "apart" in _judged(tmp_path, photo, checks=(script.colourless,))
    assert "hues" in _judged(tmp_path, photo[..., ::-1], checks=(script.same_chroma,))
    whole = (tmp_path / "out.png").read_bytes()
    (tmp_path / "out.png").write_bytes(whole[: len(whole) // 2])
    assert script.look_at(CASE, tmp_path)[1][0].startswith("no complete picture")


def test_a_librarys_warning_and_a_failing_second_command_are_faults(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    outcomes = iter([GOOD, bad.Outcome(1, "", "impasto: no\n", 0.1)])

    def call(words: Any, place: Path, *, real: bool) -> Any:
        (place / "out.png").write_bytes((place / "photo.png").read_bytes())
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return next(outcomes)

    monkeypatch.setattr(bad, "call", call)
    tried = script.run(replace(CASE, size=(192, 128), then=(("info out.png", "made"),)), folder)
    assert {"warning: old", "then info out.png: exit code 1, 'impasto: no\\n'"} <= set(tried.problems)
    assert not (folder / "out.png").exists()
