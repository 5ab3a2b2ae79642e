"""Lists of work: rows of CSV and JSON lines, and lines that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from impasto.batches import manifest
from impasto.batches.manifest import Row
from impasto.batches.sources import Source
from impasto.errors import PictureError, UsageError


def read(file: Path, text: str) -> list[Row]:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text.encode())
    return manifest.read(str(file))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_table_and_lines_of_json_say_the_same(tmp_path: Path, separator: str, start: str) -> None:
    cells = (
        ("photo", "style", "output", "strength", "blend"),
        ("a/b.jpg", "udnie", "x/y.png", "0.7", ""),
        ("c.jpg", "art/n.jpg", "", "", "0.5 1"),
    )
    table = read(tmp_path / "here" / "work.csv", start + "\r\n".join(map(separator.join, cells)) + "\r\n\r\n")
    lines = [
        {"photo": "a/b.jpg", "style": "udnie", "output": "x/y.png", "strength": "0.7"},
        {"photo": "c.jpg", "style": ["art/n.jpg"], "options": {"blend": ["0.5", "1"]}},
    ]
    assert read(tmp_path / "here" / "work.jsonl", start + "\n\n".join(map(json.dumps, lines))) == table
    here = tmp_path / "here"
    assert table[0] == Row(
        Source(str(here / "a/b.jpg"), "a/b.jpg"), (Source("udnie", "udnie"),), "x/y.png", {"strength": "0.7"}
    )
    assert table[1].styles == (Source(str(here / "art/n.jpg"), "art/n.jpg"),)


def test_a_place_outside_the_lists_folder_keeps_its_name_only(tmp_path: Path) -> None:
    rows = read(tmp_path / "w.csv", "photo\n../x/a.jpg\n/abs/b.jpg\ns3://bucket/c/d.jpg\n./e/../f.jpg\n")
    assert [row.photo.key for row in rows] == ["a.jpg", "b.jpg", "d.jpg", "f.jpg"]
    assert [row.photo.place for row in rows][1:3] == ["/abs/b.jpg", "s3://bucket/c/d.jpg"]


def test_a_file_comes_before_a_built_in_style_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "udnie").write_bytes(b"an image")
    (row,) = read(tmp_path / "w.csv", "photo,style\na.jpg,udnie\n")
    assert row.styles[0].place == str(tmp_path / "udnie")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("w.csv", "style,photos\na,b\n", "line 1: must name the columns"),
        ("w.csv", "photo,photo\na,b\n", "line 1: must name the columns"),
        ("w.csv", "photo,stile\na,udnie\n", "line 2: unknown column 'stile'; did you mean style"),
        ("w.csv", "photo,style\na.jpg,udnie\n,udnie\n", "line 3: has no photo"),
        ("w.csv", "photo\na,b\n", "line 2: has 2 cells for 1 columns"),
        ("w.csv", 'photo\n"a', "line 2: "),
        ("w.csv", "photo,output\na,../b.png\n", "line 2: output must be a name within the output folder"),
        ("w.csv", "photo,output\na,b.gif\n", "line 2: output must end with one of"),
        ("w.csv", "photo\n", "has no rows"),
        ("w.csv", "", "the file is empty"),
        ("w.jsonl", '{"photo": "a"}\n{"photo": 3}', "line 2: has no photo"),
        ("w.jsonl", "[1]", "line 1: must be an object"),
        ("w.jsonl", "{", "line 1: is not JSON"),
        ("w.jsonl", "[" * 100_000, "line 1: is not JSON"),
        ("w.jsonl", '{"photo": "a", "style": [1]}', "line 1: style must be a name"),
        ("w.jsonl", '{"photo": "a", "options": 1}', "line 1: options must be an object"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, name: str, text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path / name, text)
    assert str(tmp_path / name) in str(caught.value)
    assert problem in str(caught.value)


def test_a_list_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(UsageError, match="is not text in UTF-8"):
        manifest.read(str(tmp_path / "w.csv"))
    with pytest.raises(PictureError, match=r"list .*no\.csv: no such file"):
        manifest.read(str(tmp_path / "no.csv"))
