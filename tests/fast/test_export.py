"""The exported network against three independent programs: the product, torch, and ONNX Runtime. No test depends on trained values."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from command_line import ROOT, Cli
from filelock import FileLock
from PIL import Image
from torch import Tensor

from impasto import Stylizer, palette
from impasto.errors import RunError, UsageError
from impasto.fast import export, onnxfile, recolor, searched
from impasto.fast.export import Portable, code_length, level_count, style_code
from impasto.styles import Style

ROUNDING = 2e-4  # between the module and the product; 5e-6 is found. They sum in another order, and steep colors enlarge that
ODD = ((64, 64), (97, 131), (201, 75), (143, 256))  # (height, width)


def stylizer(size: int, strength: float = 0.5) -> Stylizer:
    return Stylizer(quality="instant", precision="fp32", device="cpu", size=size, strength=strength)


def photograph(height: int, width: int) -> Tensor:
    return onnxfile.sample((height, width))


def product(photo: Tensor, style: object, **options: float) -> Tensor:
    """What the product paints, 1x3xHxW: at the photograph's own size, without rounding to bytes."""
    session = stylizer(max(photo.shape[-2:]), **options).run(photo[0], style)
    *_, last = session
    return session.problem.finished(last.image)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have torch export two levels once for all tests in all processes: it takes longer than everything else here."""
    folder = tmp_path_factory.getbasetemp()
    file = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "two-levels.graph"
    exported = onnxfile._exported

    def once(painter: Portable, examples: Any) -> Any:
        assert (painter.levels, painter.strength, painter.dtype) == (2, 0.5, torch.float32)
        with FileLock(f"{file}.lock"):
            if not file.exists():
                file.write_bytes(exported(painter, examples).SerializeToString())
        return importlib.import_module("onnx").GraphProto.FromString(file.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxfile, "_exported", once)
        yield


@pytest.fixture(scope="module")
def any_style(graph: None) -> SimpleNamespace:
    """A file for any style with two levels, its painter, and a code."""
    painter = Portable(2)
    data = onnxfile.made(painter, {"impasto.levels": "2"})
    code = style_code(stylizer(256).style("the-scream"), 256)
    return SimpleNamespace(painter=painter, data=data, session=onnxfile.opened(data), code=code)


@pytest.fixture(scope="module")
def one_style(graph: None, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A file with a painting's style, written by the command, and what the command said."""
    from impasto.cli import main

    folder = tmp_path_factory.mktemp("one")
    file, painting = folder / "strokes.onnx", ROOT / "impasto" / "assets" / "strokes.jpg"
    said = list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("impasto.cli.export.tell", said.append)
        patch.setattr("impasto.cli.export.report", said.append)
        assert main(["export", "--style", str(painting), "-o", str(file), "--size", "256", "--json"]) == 0
    assert [one.name for one in folder.iterdir()] == [file.name]
    return SimpleNamespace(file=file, said=said, painting=painting)


@pytest.mark.parametrize(("size", "strength"), [((85, 128), 0.5), ((150, 101), 0.05), ((256, 171), 1.0)])
def test_the_module_paints_like_the_product(size: tuple[int, int], strength: float) -> None:
    photo, longer = photograph(*size), max(size)
    code = style_code(stylizer(longer, strength).style("great-wave"), longer, strength)
    with torch.inference_mode():
        found = Portable(level_count(longer), strength)(photo, code)
    assert float((found - product(photo, "great-wave", strength=strength)).abs().max()) < ROUNDING


def test_a_gray_painting_gives_a_gray_image_as_in_the_product(tmp_path: Path, painting: Path) -> None:
    Image.open(painting).convert("L").save(tmp_path / "gray.png")
    photo = photograph(96, 128)
    code = style_code(stylizer(128).style(tmp_path / "gray.png"), 128)
    with torch.inference_mode():
        found = Portable(1)(photo, code)
    assert float((found - found.mean(1, keepdim=True)).abs().max()) < 1e-5
    assert float((found - product(photo, tmp_path / "gray.png")).abs().max()) < ROUNDING


@pytest.mark.parametrize("size", ODD)
def test_onnx_runtime_paints_like_torch(any_style: SimpleNamespace, size: tuple[int, int]) -> None:
    photo = photograph(*size)
    with torch.inference_mode():
        expected = any_style.painter(photo, any_style.code)
    found = onnxfile.run(any_style.session, photo, any_style.code)
    assert found.shape == photo.shape
    assert onnxfile.distance(found, expected).largest < onnxfile.TOLERANCE


def test_onnx_runtime_paints_like_the_product(any_style: SimpleNamespace) -> None:
    photo = photograph(189, 256)
    found = onnxfile.run(any_style.session, photo, any_style.code)
    assert onnxfile.distance(found, product(photo, "the-scream")).largest < onnxfile.TOLERANCE


def test_another_code_is_another_style(any_style: SimpleNamespace) -> None:
    photo = photograph(96, 128)
    other = style_code(stylizer(256).style("mondrian"), 256)
    assert other.shape == (code_length(2),)
    found = onnxfile.run(any_style.session, photo, other)
    assert onnxfile.distance(found, onnxfile.run(any_style.session, photo, any_style.code)).mean > 0.01


def test_a_file_for_any_style_is_small_and_says_what_it_takes(any_style: SimpleNamespace) -> None:
    assert len(any_style.data) < 4e6
    names = {value.name: value.shape for value in any_style.session.get_inputs()}
    assert names == {"photo": [1, 3, "height", "width"], "style": [code_length(2)]}
    (image,) = any_style.session.get_outputs()
    assert (image.name, image.shape) == ("image", [1, 3, "height", "width"])
    assert any_style.session.get_modelmeta().custom_metadata_map["impasto.levels"] == "2"


def test_one_style_as_the_command_writes_it(one_style: SimpleNamespace) -> None:
    found = re.fullmatch(r"wrote .*strokes\.onnx: fp32, (\S+) MB; ONNX Runtime and torch differ by (\S+)", one_style.said[0])
    assert found
    size = one_style.file.stat().st_size
    assert (float(found[1]), size < 4e6) == (round(size / 1e6, 2), True)
    told = json.loads(one_style.said[1])
    assert (told["bytes"], told["precision"], told["exit_code"]) == (size, "fp32", 0)
    assert f"{told['difference']:.1g}" == found[2]
    photo = photograph(256, 171)
    session = onnxfile.opened(one_style.file.read_bytes())
    assert [value.name for value in session.get_inputs()] == ["photo"]
    assert session.get_modelmeta().custom_metadata_map["impasto.style"] == "strokes"
    expected = product(photo, one_style.painting)
    assert onnxfile.distance(onnxfile.run(session, photo, None), expected).largest < onnxfile.TOLERANCE


def test_a_runtime_folds_the_style_into_plain_convolutions(one_style: SimpleNamespace, tmp_path: Path) -> None:
    onnx, onnxruntime = (importlib.import_module(name) for name in ("onnx", "onnxruntime"))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(one_style.file), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "loaded.onnx").graph
    constants = {tensor.name for tensor in graph.initializer}
    filters = [node.input[1] for node in graph.node if node.op_type == "Conv"]
    assert len(filters) > 30
    assert set(filters) <= constants


def test_the_page_of_the_documents_runs(one_style: SimpleNamespace, here: Path, photo: Path) -> None:
    (here / "night.onnx").write_bytes(one_style.file.read_bytes())
    Image.open(photo).resize((160, 107)).save(here / "photo.jpg")
    page = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "onnx.md", "exec"), {})
    with Image.open(here / "night.png") as image:
        assert image.size == (160, 107)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_other_precisions_are_near_and_need_no_other_code(precision: export.Precision) -> None:
    photo, code = photograph(64, 96), style_code(stylizer(128).style("udnie"), 128)
    exact, other = Portable(1), Portable(1, precision=precision)
    with torch.inference_mode():
        found = other(photo, code)
        assert found.dtype == torch.float32
        assert 0 < onnxfile.distance(found, exact(photo, code)).mean < 0.02


def test_8_bits_keep_every_output_to_half_a_step() -> None:
    torch.manual_seed(0)
    weight = torch.randn(2, 5, 4, 3, 3) * torch.logspace(-3, 3, 5).view(-1, 1, 1, 1)
    error = (export.Packed(weight, 8)() - weight).abs().amax((2, 3, 4))
    assert bool((error <= weight.abs().amax((2, 3, 4)) / 127 * 0.501).all())
    assert torch.equal(export.Packed(weight.half().float(), 16)(), weight.half().float())


# ------------------------------------------------------------------------------------------------------------ colors


@pytest.mark.parametrize("make", [torch.rand, lambda *size: (torch.rand(*size) * 9).round() / 9], ids=["any", "tied"])
def test_searching_by_sorting_is_searchsorted(make: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    rows, values = make(2, 7, palette.QUANTILES).sort(2).values, make(2, 7, 300)
    values[..., :2] = torch.tensor([-1.0, 2.0])
    counts = searched._counted(rows, values)
    assert bool((counts >= torch.searchsorted(rows, values)).all())
    assert bool((counts <= torch.searchsorted(rows, values, right=True)).all())
    Q = torch.rand(2, 7, palette.QUANTILES).sort(2).values
    wanted = palette.at_middle_ranks(Q.flatten(0, 1), rows.flatten(0, 1)).view_as(rows)
    assert torch.allclose(searched._at_middle_ranks(Q, rows), wanted)
    expected = palette.interpolated(*(each.flatten(0, 1) for each in (values, rows, wanted))).view_as(values)
    assert torch.allclose(searched._mapped(values, rows, wanted), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (129, 97), (20, 300), (48, 49)])
def test_colors_of_a_fixed_count_are_those_of_the_product(size: tuple[int, int]) -> None:
    photo, Q = photograph(*size), stylizer(128).style("starry-night").quantiles()
    found, inside = searched.colors_of(photo)
    expected = recolor.colors_of(photo)[0]
    assert torch.allclose(found[:, inside].sort(1).values, expected.sort(1).values, atol=1e-6)
    flow = searched.first_flow([photo])
    for _ in range(palette.STEPS):
        flow = flow._replace(colors=searched.stepped(flow, Q))
    (table,) = searched.tables(flow.colors)
    known = recolor.table(expected[None], Q)
    assert float((table - known[0].flatten(1)).abs().max()) < ROUNDING
    assert torch.allclose(searched.looked_up(table, photo), recolor.looked_up(known, photo), atol=ROUNDING)


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.fixture
def stored(any_style: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command write a file that was exported before: exporting takes seconds."""
    monkeypatch.setattr(onnxfile, "made", lambda painter, properties, code: any_style.data)
    monkeypatch.setattr(onnxfile, "SIZES", ODD[:1])


@pytest.mark.usefixtures("stored", "here")
def test_codes_go_to_a_folder(cli: Cli, any_style: SimpleNamespace) -> None:
    words = ("export", "--size", 256, "--codes", "codes", "--style", "the-scream", "--style", "style.png")
    said = cli(*words)
    assert (said.code, said.stdout.splitlines()[1]) == (0, "wrote 2 style codes to codes")
    assert Path("impasto.onnx").read_bytes() == any_style.data
    assert np.array_equal(np.load("codes/the-scream.npy"), any_style.code.numpy())
    assert np.load("codes/style.npy").shape == (code_length(2),)
    assert cli(*words).line == "impasto.onnx exists; use --overwrite to replace it"
    assert cli(*words, "-o", "b.onnx").line == "codes/the-scream.npy exists; use --overwrite to replace it"
    assert cli(*words, "--overwrite", "--json", "-q").json["codes"] == ["codes/the-scream.npy", "codes/style.npy"]


@pytest.mark.usefixtures("stored")
def test_a_file_that_is_wrong_is_not_written(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxfile, "TOLERANCE", 0.0)
    before = sorted(here.iterdir())
    said = cli("export", "--size", 256)
    assert (said.code, said.line[:49]) == (1, "the exported network is wrong: ONNX Runtime and t")
    monkeypatch.setattr(onnxfile, "made", lambda painter, properties, code: b"nothing")
    said = cli("export", "--size", 256)
    assert (said.code, said.line[:49]) == (1, "ONNX Runtime does not open the exported network: ")
    assert sorted(here.iterdir()) == before


def test_an_input_of_another_size_is_one_error(any_style: SimpleNamespace) -> None:
    with pytest.raises(RunError, match="does not run the exported network") as caught:
        onnxfile.run(any_style.session, photograph(64, 64), torch.zeros(5))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", onnxfile.MODULES)
def test_without_the_extra(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    said = cli("export")
    assert (said.code, said.line) == (2, f"exporting needs {missing}; install it: pip install 'impasto[onnx]'")
    with pytest.raises(UsageError):
        onnxfile.made(Portable(1), {})


MISTAKES = {
    "--strength 0": "--strength must be above 0 to export",
    "--strength 2": "--strength must be at most 1, not '2'",
    "--size 64": "--size must be at least 128, not '64'",
    "--size 1e9": "--size must be a whole number, not '1e9'",
    "--style a.jpg --style b.jpg": "--style is given several times; name one, or add --codes",
    "--style a.jpg --style b/a.png --codes c": "two styles are called 'a'",
    "--style stary-night": "unknown style 'stary-night'; did you mean 'starry-night'?",
    "--style none.jpg": "style image none.jpg: no such file or directory",
    "--style photo.png -o a.png": "a.png: unknown suffix '.png'; known: .onnx",
    "-o none/a.onnx": "none/a.onnx: there is no directory none",
    "--codes photo.png": "photo.png is not a folder",
    "--codes none/codes": "none/codes: there is no directory none",
    "--precision fp8": 'Invalid value "fp8" for --precision',
    "--style https://a/b.jpg": "https:// addresses are not fetched",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_get_one_line(cli: Cli, here: Path, words: str) -> None:
    before = sorted(here.iterdir())
    said = cli("export", *words.split())
    assert said.code == 2
    assert MISTAKES[words] in said.line
    assert sorted(here.iterdir()) == before


def test_a_strength_of_zero_is_an_error_in_python() -> None:
    style: Style = stylizer(128).style("udnie")
    for wrong in (lambda: Portable(1, 0.0), lambda: style_code(style, 128, 1.5)):
        with pytest.raises(UsageError, match="strength must be above 0 and at most 1 to export"):
            wrong()
