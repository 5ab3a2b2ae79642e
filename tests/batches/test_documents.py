"""The Python of docs/batch.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from batches.folders import Here, photos
from command_line import ROOT

from impasto.batches import runner


def test_python_in_the_page_runs(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(runner, "_crew", lambda work, workers, ray: (Here(work.settings), 1))
    photos(here, "photos/a.jpg", "paintings/p.png", "paintings/q.png")
    photos(here / "data" / "train", *(f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(3)))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "batch.md").read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        small = re.sub(r"\bsize=\d{3}\b", "size=48, device='cpu'", block)
        assert small != block
        exec(compile(small, "batch.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["painted a--starry-night.png ", "painted a--udnie.png "]
    shapes = [line.partition("]) ")[0] for line in lines[2:]]
    assert shapes == ["torch.Size([8, 3, 64, 64", "torch.Size([8, 3, 64, 64", "torch.Size([2, 3, 64, 64"]
    assert sorted(re.findall(r"\d", "".join(line.rpartition("[")[2] for line in lines[2:]))) == ["0"] * 9 + ["1"] * 9
