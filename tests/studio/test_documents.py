"""The examples of docs/studio.md and the client of the README, run against a studio, and its description of the API."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from PIL import Image
from small_clips import film, pictures
from studio.running import Studio, png, zipped

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "studio.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = PAGE) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return [one for one in found if "STUDIO" in one]


def run(block: str, folder: Path, environment: dict[str, str]) -> None:
    """Run lines for a shell."""
    done = subprocess.run(["bash", "-euc", block], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def client() -> str:
    """The client of the README, in twenty lines at most."""
    (found,) = blocks("python", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(found.splitlines()) <= 20
    return found


def test_the_examples_work(tmp_path: Path) -> None:
    studio = Studio(tmp_path / "data")
    (tmp_path / "photo.jpg").write_bytes(png(96, 64))
    photo = studio.upload(png(96, 64))["id"]
    clip = studio.upload(film(tmp_path / "clip.mp4", pictures("pan", 8)).read_bytes(), "clip.mp4")["id"]
    (tmp_path / "photos.zip").write_bytes(zipped(("a/b.png", png(48, 40)), ("bad.jpg", b"no image")))
    environment = {
        "STUDIO": studio.base,
        "TOKEN": studio.token,
        "PHOTO": photo,
        "CLIP": clip,
        "FOLDER": studio.upload((tmp_path / "photos.zip").read_bytes(), "photos.zip", "/folders")["id"],
        "PATH": "/usr/bin:/bin:/usr/local/bin",
    }
    done = subprocess.run(
        [sys.executable, "-c", client()], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "painted.png") as image:
        assert image.size == (64, 43)
    if shutil.which("curl"):
        first, second, third = blocks("sh")
        run(first, tmp_path, environment)
        found = studio.json("GET", "/jobs?limit=1")["jobs"][0]
        assert (found["kind"], studio.finished(found["id"])["video"]["format"]) == ("video", "webm")
        with Image.open(tmp_path / "instant.jpg") as image:
            assert image.size == (256, 171)
        run(second, tmp_path, environment)
        batch = studio.json("GET", "/jobs?kind=batch")["jobs"][0]["id"]
        assert studio.finished(batch)["progress"]["failed"] == 1
        run(third, tmp_path, environment | {"BATCH": batch})
        with zipfile.ZipFile(tmp_path / "painted.zip") as archive:
            assert [name.rpartition("--")[0] for name in archive.namelist()] == ["a/b"]
    described = studio.json("GET", "/openapi.json")
    assert studio.stop() == 0
    calls = {f"{method.upper()} {path}" for path, methods in described["paths"].items() for method in methods}
    for path in described["paths"]:
        assert path.startswith("/api/")
    named = set(re.findall(r"/api/[a-z]+", PAGE)) | {"/api/limits", "/api/health", "/api/session"}
    assert {"/".join(call.split(" ")[1].split("/")[:3]) for call in calls} <= named
    for path, methods in described["paths"].items():
        for method, call in methods.items():
            assert call["description"], (path, method)
    assert "Traceback" not in json.dumps(described)
