"""Every bad input of scripts/bad_inputs.py, on the real command line; and that script's own judgement."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "bad_inputs.py"


def _import(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


script: Any = _import(SCRIPT)
CASES = script.cases()
GOOD = script.Outcome(2, "", "impasto: 50%, 1 s left  scale 1/1 8x8  step 1/2  style 3\nimpasto: no such file\n", 0.1)
CASE = script.Case("example", ("photo.png", "style.png"), "no such file")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("bad inputs")
    script.make_files(place)
    yield place
    (place / "closed").chmod(0o755)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_bad_input_is_refused_in_one_line_and_leaves_nothing(case: Any, folder: Path) -> None:
    if case.skip:
        pytest.skip(case.skip)
    outcome = script.run(case, folder)
    assert script.judge(case, outcome) == [], outcome.stderr


@pytest.mark.parametrize("name", ["--style-weight nan", "photo 'text.jpg'"])
def test_a_process_of_its_own_ends_the_same_way(name: str, folder: Path) -> None:
    (case,) = [case for case in CASES if case.name == name]
    here, there = script.run(case, folder), script.run(case, folder, real=True)
    assert script.judge(case, there) == [], there.stderr
    assert (here.code, here.stderr) == (there.code, there.stderr)


def test_there_are_enough_cases_and_no_two_are_alike() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 45
    assert len({(case.words, *case.environment.items()) for case in CASES}) == len(CASES)


def test_a_good_outcome_passes() -> None:
    assert script.judge(CASE, GOOD) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"code": 1}, "exit code 1, expected 2"),
        ({"code": 0}, "exit code 0, expected 2"),
        ({"code": "ValueError left main()"}, "exit code ValueError left main(), expected 2"),
        ({"stderr": "Traceback (most recent call last):\n  ...\nValueError: no such file\n"}, "traceback"),
        ({"stderr": ""}, "no error line"),
        ({"stderr": "impasto: no such file\nimpasto: no such file\n"}, "2 error lines"),
        ({"stderr": "\nimpasto: no such file\n"}, "2 error lines"),
        ({"stderr": "no such file\n"}, "does not begin with 'impasto: '"),
        ({"stderr": GOOD.stderr.splitlines()[1] + "\n" + GOOD.stderr.splitlines()[0]}, "the error is not the last line"),
        ({"stderr": "impasto: something else\n"}, "does not match"),
        ({"stdout": "wrote a picture\n"}, "words on standard output"),
        ({"changes": ("left result.png",)}, "left result.png"),
    ],
)
def test_every_fault_is_found(changes: dict[str, Any], problem: str) -> None:
    outcome = script.Outcome(**(vars(GOOD) | changes))
    assert problem in "; ".join(script.judge(CASE, outcome))


@pytest.mark.parametrize(
    "said", ["", "{}", '{"error": "another", "exit_code": 2}', '{"error": "no such file", "exit_code": 0}']
)
def test_json_that_does_not_say_the_same_is_a_fault(said: str) -> None:
    case = script.Case("example", ("photo.png", "style.png", "--json"), "no such file")
    assert script.judge(case, script.Outcome(2, said, GOOD.stderr, 0.1))
    assert script.judge(case, script.Outcome(2, '{"error": "no such file", "exit_code": 2}\n', GOOD.stderr, 0.1)) == []


def test_files_left_changed_and_removed_are_noticed_and_put_right(tmp_path: Path) -> None:
    for name in ("changed", "removed", "kept"):
        (tmp_path / name).write_text("before")
    before = script.snapshot(tmp_path)
    (tmp_path / "changed").write_text("after!")
    (tmp_path / "removed").unlink()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "result.png").write_text("picture")
    changes = set(script._undo(tmp_path, before))
    assert changes == {"changed changed", "removed removed", "left new", f"left {Path('new', 'result.png')}"}
    assert script.snapshot(tmp_path) == before


def test_the_evil_pickle_of_the_cases_would_create_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(script.Evil(), protocol=2)).close()
    assert [path.name for path in tmp_path.iterdir()] == ["evil-was-here"]
