"""The page as the studio serves it, behind the studio's guard."""

from __future__ import annotations

from pathlib import Path

import pytest
from studio.running import Studio

from impasto.page import runtime


def test_the_studio_serves_the_page(site: Path, runtime_at: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "home"))
    runtime.provide(runtime_at)
    studio = Studio(tmp_path / "data")
    try:
        assert studio.json("GET", "/limits")["anywhere"] is True
        for file in (one for one in site.rglob("*") if one.is_file()):
            name = file.relative_to(site).as_posix()
            answer = studio.client.get(f"/anywhere/{name}", headers={"authorization": ""})
            assert (answer.status_code, answer.content) == (200, file.read_bytes())
            assert ("javascript" in answer.headers["content-type"]) == (file.suffix in (".js", ".mjs"))
        page = studio.client.get("/anywhere", follow_redirects=True)
        assert page.content == (site / "index.html").read_bytes()
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cross-origin-opener-policy"] == "same-origin"
        assert page.headers["cross-origin-embedder-policy"] == "require-corp"
        assert "'wasm-unsafe-eval'" in page.headers["content-security-policy"]
        assert studio.client.get("/anywhere/nothing.js").status_code == 404
        assert studio.client.get("/anywhere/", headers={"host": "evil.example"}).status_code == 403
    finally:
        assert studio.stop() == 0
