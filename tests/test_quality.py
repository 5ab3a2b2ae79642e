"""benchmarks/quality.py: fixed, balanced pairs; nothing is made twice; existing images are compared but not changed."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import quality
from PIL import Image


def test_the_sample_is_fixed_and_balanced() -> None:
    photos, paintings = ([Path(f"{kind}{number:02}.jpg") for number in range(count)] for kind, count in (("a", 12), ("b", 14)))
    pairs = quality.choose_pairs(photos, paintings, sample=24, zipped=False)
    assert pairs == quality.choose_pairs(photos, paintings, sample=24, zipped=False)
    assert len(set(pairs)) == 24
    assert set(Counter(pair.photo for pair in pairs).values()) == {2}
    assert set(Counter(pair.painting for pair in pairs).values()) <= {1, 2}
    assert len(quality.choose_pairs(photos, paintings, sample=0, zipped=False)) == 12 * 14
    assert [pair.name for pair in quality.choose_pairs(photos, paintings, sample=24, zipped=True)][:2] == [
        "a00--b00",
        "a01--b01",
    ]


def test_an_interrupted_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for folder, name in (("photos", "sea"), ("paintings", "night"), ("theirs", "sea--night")):
        (tmp_path / folder).mkdir()
        Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / folder / f"{name}.png")
    words = ["quality.py", "--pairs", str(tmp_path / "photos"), str(tmp_path / "paintings"), "-o", str(tmp_path / "out")]
    words += ["--size", "32", "--setting", "one=--iterations 1", "--pictures", f"other={tmp_path / 'theirs'}"]
    monkeypatch.setattr(sys, "argv", [*words, "--table", str(tmp_path / "page.md")])
    quality.main()
    picture = tmp_path / "out" / "one" / "sea--night.png"
    with Image.open(picture) as image:
        assert image.size == (32, 26)
    measures = json.loads((tmp_path / "out" / "measures.json").read_text())
    assert measures["one"]["sea--night"]["seconds"] > 0
    assert measures["one"]["sea--night"]["memory_mb"] > 50
    assert "seconds" not in measures["other"]["sea--night"]
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert f"| content | one | {measures['one']['sea--night']['content']:.3g} |" in page
    assert (tmp_path / "out" / "sheet-1.jpg").exists()
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["sea--night.png"]  # unchanged

    assert f"| style, 3 sizes | one | {measures['one']['sea--night']['style_sizes']:.3g} |" in page
    (kept,) = (tmp_path / "out" / "one").glob(".*.json")
    cached = json.loads(kept.read_text())
    assert cached["measures"] == measures["one"]["sea--night"]
    cached["stamp"][-1].remove("style_sizes")  # as an older version wrote it
    del cached["measures"]["style_sizes"]
    kept.write_text(json.dumps(cached))

    assert "Seconds and memory are those of the whole process." in page

    painted = picture.stat().st_mtime_ns
    quality.main()
    assert picture.stat().st_mtime_ns == painted
    assert json.loads((tmp_path / "out" / "measures.json").read_text()) == measures

    picture.with_suffix(".cost.json").unlink()  # as where all images come from elsewhere
    kept.unlink()
    quality.main()
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| content | one |" in page
    assert "| seconds | one |" not in page
    assert "Seconds and memory" not in page
    monkeypatch.setattr(sys, "argv", [word.replace("--iterations 1", "--iterations 2") for word in words])
    with pytest.raises(SystemExit, match="contains images made with"):
        quality.main()
