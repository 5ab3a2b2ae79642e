"""benchmarks/blind.py: the key leads back to the right images, nothing else does, and answers are checked and counted."""

from __future__ import annotations

import sys
from pathlib import Path

import blind
import numpy as np
import pytest
from PIL import Image

COLORS = {"sea": (250, 0, 0), "hill": (0, 250, 0), "night": (0, 0, 250), "wave": (250, 250, 0)}
SHADES = {"we": 40, "they": 120, "others": 200}  # gray level of each maker's images, plus 10 for hill and 20 for wave


def shade(name: str, pair: str) -> int:
    return SHADES[name] + 10 * ("hill" in pair) + 20 * ("wave" in pair)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Photographs of 60x40 pixels, paintings of 20x50, and images of all four pairs; others have only one of them."""
    for folder, names, size in (("photos", ("sea", "hill"), (60, 40)), ("paintings", ("night", "wave"), (20, 50))):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("RGB", size, COLORS[name]).save(tmp_path / folder / f"{name}.png")
    pairs = [f"{photo}--{painting}" for photo in ("sea", "hill") for painting in ("night", "wave")]
    for name, made, suffix, size in (
        ("we", pairs, "png", (60, 40)),
        ("they", pairs, "jpg", (30, 20)),
        ("others", pairs[:1], "webp", (120, 80)),
    ):
        (tmp_path / name).mkdir()
        for pair in made:
            Image.new("RGB", size, (shade(name, pair),) * 3).save(tmp_path / name / f"{pair}.{suffix}")
    return tmp_path


def sheets(folders: Path, monkeypatch: pytest.MonkeyPatch, *words: str, key: str = "key.json") -> blind.Key:
    named = [word for name in ("they", "others") for word in ("--peer", f"{name}={folders / name}")]
    arguments = ["sheets", str(folders / "photos"), str(folders / "paintings"), "--ours", f"we={folders / 'we'}", *named]
    arguments += ["-o", str(folders / "out"), "--key", str(folders / key), "--size", "60", *words]
    monkeypatch.setattr(sys, "argv", ["blind.py", *arguments])
    blind.main()
    return blind.read_key((folders / key).read_text())


def test_the_order_is_random_and_depends_on_the_seed_only() -> None:
    candidates = {f"pair{n}": ["we", "they", "others"] for n in range(40)}
    found = blind.shuffled(candidates, seed=1)
    backwards = {pair: candidates[pair][::-1] for pair in reversed(candidates)}
    assert found == blind.shuffled(backwards, seed=1) != blind.shuffled(candidates, seed=2)
    assert list(found) == list(range(1, 41))
    assert {sheet.pair: sorted(sheet.names) for sheet in found.values()} == {
        pair: sorted(names) for pair, names in candidates.items()
    }
    assert [sheet.pair for sheet in found.values()] != sorted(candidates)
    assert len({sheet.names for sheet in found.values()}) == 6  # every order of three appears
    key = blind.Key("we", found)
    assert blind.read_key(key.to_json()) == key


def test_the_key_leads_back_to_the_images(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = sheets(folders, monkeypatch)
    assert sorted(sheet.pair for sheet in key.sheets.values()) == ["hill--night", "hill--wave", "sea--night", "sea--wave"]
    assert sorted(file.name for file in (folders / "out").iterdir()) == ["01.png", "02.png", "03.png", "04.png"]
    for number, sheet in key.sheets.items():
        assert len(sheet.names) == (3 if sheet.pair == "sea--night" else 2)
        with Image.open(folders / "out" / f"{number:02}.png") as image:
            pixels = np.asarray(image, dtype=int)
            assert image.info == {}
        photo, painting = sheet.pair.split("--")
        assert pixels[10, 30] == pytest.approx(COLORS[photo], abs=6)  # of 38x25 pixels, in the middle of 60
        assert pixels[13, 60 + 8 + 30] == pytest.approx(COLORS[painting], abs=6)
        for column, name in enumerate(sheet.names):  # all of 60x40 pixels, below
            assert pixels[-35 - 20, column * (60 + 8) + 30] == pytest.approx([shade(name, sheet.pair)] * 3, abs=3)


def test_some_pairs_only(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folders / "we" / "sea--wave.png").unlink()
    (folders / "they" / "hill--wave.jpg").unlink()
    for pair, message in (
        ("sea--moon", "no photograph and painting make the pair sea--moon"),
        ("sea--wave", "we has no image of the pair sea--wave"),
        ("hill--wave", "no peer has an image of the pair hill--wave"),
    ):
        with pytest.raises(SystemExit, match=f"^{message}$"):
            sheets(folders, monkeypatch, "--pairs", "sea--night", pair)
    key = sheets(folders, monkeypatch, "--pairs", "hill--night")
    assert [sheet.pair for sheet in key.sheets.values()] == ["hill--night"]
    every = sheets(folders, monkeypatch, "-o", str(folders / "more"), key="more.json")
    assert sorted(sheet.pair for sheet in every.sheets.values()) == ["hill--night", "sea--night"]


def test_an_image_that_cannot_be_read_leaves_neither_sheets_nor_a_key(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file.name for file in folders.iterdir()}
    (folders / "photos" / "sea.png").write_bytes(b"no image")
    with pytest.raises(SystemExit, match=r"sea\.png"):
        sheets(folders, monkeypatch)
    assert {file.name for file in folders.iterdir()} == before


def test_the_key_stays_apart_and_nothing_is_overwritten(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="must not be in the folder of the sheets"):
        sheets(folders, monkeypatch, key="out/key.json")
    assert not (folders / "out").exists()
    (folders / "old.json").write_text("{}")
    with pytest.raises(SystemExit, match="exists"):
        sheets(folders, monkeypatch, key="old.json")
    sheets(folders, monkeypatch)
    with pytest.raises(SystemExit, match="is not an empty folder"):
        sheets(folders, monkeypatch, key="new.json")


KEY = blind.Key(
    "we",
    {
        1: blind.Sheet("sea--wave", ("they", "we")),
        2: blind.Sheet("hill--wave", ("others", "we", "they")),
        3: blind.Sheet("sea--night", ("we", "others", "they")),
    },
)


def test_scores_of_an_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key.json").write_text(KEY.to_json())
    (tmp_path / "anna.txt").write_text("# anna\n01: B A; a good sky: calm\n\n2: b, c, a\n03:ABC\n")
    (tmp_path / "ben.txt").write_text("03: C > A > B\n02: B A C\n01: A B\n")
    words = ["score", "--key", str(tmp_path / "key.json"), str(tmp_path / "anna.txt"), str(tmp_path / "ben.txt")]
    monkeypatch.setattr(sys, "argv", ["blind.py", *words])
    blind.main()
    assert (
        capsys.readouterr().out
        == """Ranks by anna, ben, in this order. 1 is the best.

| pair | we | others | they |
|---|---|---|---|
| hill--wave | 1 1 | 3 2 | 2 3 |
| sea--night | 1 2 | 2 3 | 3 1 |
| sea--wave | 1 2 |  | 2 1 |

| we preferred over | every judge | anna | ben |
|---|---:|---:|---:|
| all peers | 1 of 3 | 3 of 3 | 1 of 3 |
| others | 2 of 2 | 2 of 2 | 2 of 2 |
| they | 1 of 3 | 3 of 3 | 1 of 3 |
"""
    )


@pytest.mark.parametrize(
    ("answers", "mistakes"),
    [
        ("1: AB\n2: ABC", ["no answer for sheet 03"]),
        ("", ["no answer for sheets 01, 02, 03"]),
        ("1: AB\n2: ABC\n3: ABD", ["sheet 03 has no candidate D", "sheet 03 has no rank for C"]),
        ("1: AA\n2: ABC\n3: ABC", ["sheet 01 names A more than once", "sheet 01 has no rank for B"]),
        ("1: AB\n2: ABC\n3: ABC\n02: CBA", ["sheet 02 is answered twice"]),
        ("1: AB\n2: ABC\n3: ABC\n4: AB", ["there is no sheet 4"]),
        ("1: AB\n2 ABC\n3: ABC", ["line 2 is not NUMBER: LETTERS, but '2 ABC'", "no answer for sheet 02"]),
        ("1: A B both gray\n2: ABC\n3: ABC", ["sheet 01: 'A B both gray' is not a list of letters; write words after a ;"]),
        ("1: \n2: ABC\n3: ABC", ["sheet 01: '' is not a list of letters; write words after a ;"]),
    ],
)
def test_each_mistake_has_a_line(answers: str, mistakes: list[str]) -> None:
    assert blind.read_answers(answers, KEY)[1] == mistakes


def test_answers_with_mistakes_are_not_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"key.json": KEY.to_json(), "anna.txt": "1: AB\n2: ABC\n3: ABC", "ben.txt": "1: AC"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    anna, ben = tmp_path / "anna.txt", tmp_path / "ben.txt"

    def score(key: str, *answers: Path) -> str:
        monkeypatch.setattr(sys, "argv", ["blind.py", "score", "--key", str(tmp_path / key), *map(str, answers)])
        with pytest.raises(SystemExit) as stopped:
            blind.main()
        return str(stopped.value)

    assert score("key.json", anna, ben) == "\n".join(
        f"{ben}: {mistake}"
        for mistake in ("sheet 01 has no candidate C", "sheet 01 has no rank for B", "no answer for sheets 02, 03")
    )
    assert score("key.json", anna, anna) == f"{anna}: another file has the same name, anna"
    assert score("anna.txt", anna) == f"{anna} is not a key that `blind.py sheets` wrote"
    assert "no such file" in score("key.json", tmp_path / "nobody.txt").lower()
