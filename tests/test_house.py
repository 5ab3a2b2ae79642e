"""The house: who may import whom, how long things may be, what is public, what help costs, what the documents say."""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import impasto

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "impasto"
RINGS = (
    {"catalog", "dials", "errors", "extras", "files", "ladder", "lazy"},
    {"options", "pictures", "compute", "weights", "cards"},
    {"inputs", "clips", "colors", "extent", "palette", "regions", "encoders", "losses"},
    {"objective", "lbfgs", "optimize", "portable", "styles"},
    {"terms", "problem", "session", "run", "fast", "front", "stylizer"},
    {"report", "jobs"},
    {"batches", "page", "video"},
    {"studio"},
    {"cli"},
)
RING = {room: number for number, rooms in enumerate(RINGS) for room in rooms}
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.rglob("*.py"))}
LONGEST = {ast.Module: 400, ast.ClassDef: 150, ast.FunctionDef: 60}  # lines


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.Module) -> set[str]:
    """All rooms that a module imports, also inside functions and for types only."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "impasto":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("impasto."):
            names.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("impasto.")}
    return names - {"__version__"}


def test_every_room_has_its_ring_and_imports_only_from_rings_below_without_cycles() -> None:
    assert {room(file) for file in TREES} - {"__init__", "__main__"} == set(RING)
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"(\d) ([a-z, ]+?)(?= ·|\n\n)", page)
    assert [(int(number), set(names.split(", "))) for number, names in listed] == list(enumerate(RINGS))
    graph: dict[str, set[str]] = {name: set() for name in RING}
    for file, tree in TREES.items():
        if room(file) in RING:
            wrong = {other for other in imported_rooms(tree) if RING[other] > RING[room(file)]}
            assert not wrong, f"{file.relative_to(ROOT)} imports {wrong}"
            graph[room(file)] |= imported_rooms(tree) - {room(file)}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the rooms


def test_modules_classes_and_functions_are_short() -> None:
    def spans() -> Iterator[tuple[str, int, int]]:
        for file, tree in TREES.items():
            yield file.name, len(file.read_text(encoding="utf-8").splitlines()), LONGEST[ast.Module]
            for node in ast.walk(tree):
                if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                    length = int(node.end_lineno or 0) - node.lineno + 1
                    yield f"{file.name}:{node.name}", length, LONGEST[type(node)]

    assert [(name, length) for name, length, most in spans() if length > most] == []


def test_only_tables_know_methods_by_name() -> None:
    """What distinguishes a method is in METHODS and in DEFAULTS; a comparison with its name elsewhere would be a third place."""
    found = {
        f"{file.name}:{node.lineno}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Constant) and side.value in ("gatys", "impasto")
    }
    assert not found


def test_losses_see_neither_files_nor_encoders_and_encoders_no_files() -> None:
    assert not imported_rooms(TREES[PACKAGE / "losses.py"]) & {"encoders", "files"}
    assert "mapped" not in (PACKAGE / "losses.py").read_text(encoding="utf-8")
    for file in (PACKAGE / "encoders").glob("*.py"):
        assert not re.search(r"\b(open|Path|pathlib)\b", file.read_text(encoding="utf-8")), file


def test_public_names_are_sorted_and_load() -> None:
    assert impasto.__all__ == sorted(impasto.__all__)
    for name in impasto.__all__:
        assert getattr(impasto, name).__name__ == name
        assert getattr(impasto, name).__doc__
    with pytest.raises(AttributeError, match="nonsense"):
        _ = impasto.nonsense


LAZY = [
    file for file, tree in TREES.items() if file.name == "__init__.py" and "lazy.exports(" in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("file", LAZY, ids=lambda file: file.parent.name)
def test_lazy_packages_say_the_same_to_programs_and_to_type_checkers(file: Path) -> None:
    """Their names are written three times: with the module that has them, in __all__, and in an import that no program runs."""
    package = importlib.import_module(".".join(file.parent.relative_to(ROOT).parts))
    checked = {
        alias.name: str(node.module)
        for block in TREES[file].body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(package.__all__) == sorted(checked)
    assert {*package.__all__} <= {*dir(package)}
    for name, module in checked.items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nonsense'"):
        _ = package.nonsense


# What no usage error waits for, and what help does not wait for either.
HEAVY = ("torch", "numpy", "PIL", "h5py", "scipy", "safetensors", "av", "cv2")
HEAVY_FOR_HELP = (*HEAVY, "pydantic", "impasto.options", "impasto.jobs.job", "impasto.jobs.events", "rich.progress")


HELP = (
    *("", "--help", "--help-all", "--version", "demo --help", "again -h", "sheet -h", "batch -h", "video -h"),
    *("compare -h", "style make -h", "weights -h", "weights fetch --help"),
)
INFORMATION = {"weights list": ("torch",), "weights path vgg19": ("torch",)}
ERRORS = {
    "a.jpg b.jpg --sise 3": HEAVY_FOR_HELP,
    **dict.fromkeys(
        (
            "a.jpg",
            "a.jpg b.jpg --size 3",
            "a.jpg b.jpg --style-weight nan",
            "sheet a.jpg",
            "sheet a.jpg --size 3",
            "batch a b",
            "batch a b c",
        ),
        HEAVY,
    ),
    "weights fetch nosuch": ("torch",),
}
COMMANDS = """
import contextlib, io, sys
from impasto.cli import main
for words, absent in {!r}.items():
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()) as wrong:
        code = main(words.split())
    print((words, code, bool(said.getvalue().strip()), bool(wrong.getvalue().strip()), sorted({{*absent}} & sys.modules.keys())))
"""


@pytest.mark.parametrize(("commands", "code"), [(dict.fromkeys(HELP, HEAVY_FOR_HELP) | INFORMATION, 0), (ERRORS, 2)])
def test_help_and_usage_errors_import_little(commands: dict[str, tuple[str, ...]], code: int) -> None:
    """One after another in one process. Help is on standard output only, and errors on standard error only."""
    program = [sys.executable, "-W", "error", "-c", COMMANDS.format(commands)]
    done = subprocess.run(program, capture_output=True, check=False, text=True)
    assert done.stderr == ""
    expected = [(words, code, code == 0, code == 2, []) for words in commands]
    assert list(map(ast.literal_eval, done.stdout.splitlines())) == expected


def test_nothing_but_the_command_line_prints_or_exits() -> None:
    for file, tree in TREES.items():
        if room(file) not in ("cli", "__main__"):
            names = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
            assert not names & {"print", "exit", "input", "breakpoint"}, file


def test_the_generated_page_is_up_to_date() -> None:
    if f'cyclopts=={version("cyclopts")}; python_version >= "3.11"' not in (ROOT / "constraints.txt").read_text(
        encoding="utf-8"
    ):
        pytest.skip("the page shows help as the pinned cyclopts draws it")
    done = subprocess.run([sys.executable, ROOT / "scripts" / "write_docs.py", "--check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_python_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, assets: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes((assets / "chelsea.jpg").read_bytes())
    (tmp_path / "painting.jpg").write_bytes((assets / "strokes.jpg").read_bytes())
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        if 'environ["STUDIO"]' in block:
            continue  # needs a running studio: tests/studio/test_documents.py
        small = re.sub(r"size=\d+", "size=48, iterations=6", block)
        assert small != block, "a block in the README names no size, so this test cannot make it small"
        exec(compile(small, "README.md", "exec"), {})


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md")))])
def test_links_in_the_documents_lead_somewhere(page: str) -> None:
    file = ROOT / page
    text = file.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert [target for target in targets if "://" not in target and not (file.parent / target).exists()] == []


def test_every_option_is_in_the_documents() -> None:
    text = (ROOT / "docs" / "commandline.md").read_text(encoding="utf-8")
    assert all(f"--{name.replace('_', '-')}" in text for name in impasto.Options.model_fields)
