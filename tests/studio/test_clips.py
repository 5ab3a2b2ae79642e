"""Clips in the studio: uploads, jobs of kind video, and what may happen to them."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from studio.running import Studio, png

pytest.importorskip("cv2")
pytest.importorskip("av")

from small_clips import film, pictures

from impasto import clips
from impasto.errors import PictureError, UsageError
from impasto.studio import films
from impasto.studio.queue import Queue
from impasto.studio.store import Store

COUNT = 12  # frames of the clip
FILM = {"start": None, "end": None, "fps": None, "every": 1, "blend": [], "format": "mp4"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film(tmp_path_factory.mktemp("clip") / "clip.mp4", pictures("pan", COUNT)).read_bytes()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    running = Studio(tmp_path_factory.mktemp("clips") / "data", "--max-pixels", "20000", "--max-upload", "1")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.logged()


def add(studio: Studio, number: str, *styles: str, status: int = 202, film: Any = None, **options: Any) -> Any:
    options = {"size": 32, "quality": "instant"} | options
    chosen = [{"id": style} for style in styles or ("udnie",)]
    body = {"kind": "video", "photo": number, "styles": chosen, "options": options} | ({"video": film} if film else {})
    return studio.json("POST", "/jobs", status, json=body)


def frame(job: dict[str, Any]) -> int:
    return int((job["progress"] or {}).get("frame", 0))


def files_of(studio: Studio, number: str) -> list[str]:
    return sorted(file.name for folder in ("results", "previews") for file in (studio.data / folder).glob(f"*{number}*"))


def test_a_clip_from_upload_to_download(studio: Studio, clip: bytes, tmp_path: Path) -> None:
    uploaded = studio.upload(clip, "../../Wellen <b>.jpg")  # its content decides what it is
    assert (uploaded["name"], uploaded["width"], uploaded["height"]) == ("Wellen <b>.jpg", 64, 48)
    assert uploaded["clip"] == {"frames": COUNT, "seconds": 0.5, "sound": False}
    assert uploaded["notes"] == ["The clip has a variable frame rate, which is kept."]
    assert studio.upload(png(20, 20))["clip"] is None
    first = studio.client.get(f"/api/images/{uploaded['id']}/picture?size=64")
    assert Image.open(io.BytesIO(first.content)).size == (64, 48)
    body = {"photo": uploaded["id"], "styles": [{"id": "udnie"}], "options": {"size": 32}}
    assert studio.client.post("/api/instant", json=body).status_code == 200
    with studio.events() as events:
        number = add(studio, uploaded["id"])["id"]
        mine: list[Any] = []
        while not mine or mine[-1]["state"] != "done":
            _, name, data = next(events)
            mine += [data] if name == "job" else []
    frames = [frame(job) for job in mine]
    assert frames == sorted(frames)
    assert (mine[-1]["progress"]["frame"], mine[-1]["progress"]["frames"]) == (COUNT, COUNT)
    assert mine[-1]["preview"] > 0
    assert (mine[-1]["result"]["width"], mine[-1]["result"]["height"], mine[-1]["whole"]) == (32, 24, True)
    address = f"/api/jobs/{number}/result"
    whole = studio.client.get(f"{address}?download=1")
    assert (whole.headers["content-type"], whole.headers["x-content-type-options"]) == ("video/mp4", "nosniff")
    assert "attachment" in whole.headers["content-disposition"]
    assert "<" not in whole.headers["content-disposition"]
    assert "media-src 'self'" in whole.headers["content-security-policy"]
    (tmp_path / "result.mp4").write_bytes(whole.content)
    (tmp_path / "clip.mp4").write_bytes(clip)
    assert clips.open_clip(tmp_path / "result.mp4").times() == clips.open_clip(tmp_path / "clip.mp4").times()
    for asked, status, part in (
        ("bytes=0-9", 206, whole.content[:10]),
        ("bytes=10-", 206, whole.content[10:]),
        ("bytes=-5", 206, whole.content[-5:]),
        ("bytes=99999999-", 416, None),
        ("lines=1-2", 400, None),
    ):
        answer = studio.client.get(f"{address}?format=mp4", headers={"range": asked})
        assert answer.status_code == status, asked
        assert part in (None, answer.content)
    assert Image.open(io.BytesIO(studio.client.get(f"{address}?size=16").content)).size == (16, 12)
    assert studio.json("GET", f"/jobs/{number}/result?format=png", 400)["error"] == "This result is stored as mp4."
    record = studio.json("GET", f"/jobs/{number}/record")
    assert (record["clip"]["frames"], record["quality"], record["inputs"]["photo"]["name"]) == (
        COUNT,
        "instant",
        "Wellen <b>.jpg",
    )
    assert files_of(studio, number) == [f"{number}.jpg", f"{number}.mp4"]
    studio.json("DELETE", f"/images/{uploaded['id']}", 409)
    studio.json("DELETE", f"/jobs/{number}", 204)
    studio.json("DELETE", f"/images/{uploaded['id']}", 204)
    assert files_of(studio, number) == []
    assert not list((studio.data / "images").glob(f"{uploaded['id']}*"))


def test_files_that_are_no_clips_are_refused(studio: Studio, clip: bytes, tmp_path: Path) -> None:
    large = film(tmp_path / "large.mp4", pictures("pan", 2, (128, 192))).read_bytes()
    before = len(list((studio.data / "images").iterdir()))
    for data, name, says in (
        (clip[: len(clip) // 2], "cut.mp4", "Clip"),
        (b"hello", "text.mp4", "not an image"),
        (clip[:40] + bytes(3000), "zeros.mp4", "Clip is not a video, or its format is not supported."),
        (b"#EXTM3U\nhttp://127.0.0.1/x.ts\n", "list.m3u8", "not an image"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "list.mp4", "not an image"),
        (b"\x1aE\xdf\xa3" + bytes(300), "x.mkv", "not a video"),
        (large, "large.mp4", "24,576 pixels, more than the limit of 20,000"),
    ):
        answer = studio.upload(data, name, status=415)
        assert says in answer["error"], (name, answer)
        assert str(studio.data) not in answer["error"]
        assert "\n" not in answer["error"]
    assert "at most" in studio.upload(clip + bytes(3_000_000), "long.mp4", status=413)["error"]
    assert len(list((studio.data / "images").iterdir())) == before
    assert studio.upload(clip, "clip.mp4", "/styles", 415)["error"].startswith("Painting: is a video")


def test_what_does_not_go_together_is_said_before_it_is_queued(studio: Studio, clip: bytes) -> None:
    number, picture = studio.upload(clip, "c.mp4")["id"], studio.upload(png(20, 20))["id"]
    for film_, styles, options, says in (
        ({"start": 9}, ("udnie",), {}, "Start is after the end: the file is 0.50 s long."),
        ({"start": 1, "end": 0.5}, ("udnie",), {}, "End must be after the start of 1 s, not 0.5."),
        ({"blend": ["1..0"]}, ("udnie",), {}, "Blend needs several styles."),
        ({"blend": ["x"]}, ("udnie", "great-wave"), {}, "Blend must be numbers such as 0.7"),
        ({}, ("udnie",), {"quality": "draft"}, "Quality must be instant, normal, best for a video"),
        ({}, ("udnie",), {"strength": 0}, "Strength must be above 0 for a video"),
    ):
        answer = add(studio, number, *styles, status=400, film=FILM | film_, **options)
        assert answer["error"].startswith(says), answer
    for wrong in ({"every": 0}, {"fps": 0}, {"format": "../x"}, {"path": "x"}):
        assert "\n" not in add(studio, number, status=422, film=FILM | wrong)["error"]
    assert add(studio, picture, status=400)["error"] == "This is a picture, not a clip."
    body = {"photo": picture, "styles": [{"id": "udnie"}], "video": FILM}
    assert studio.json("POST", "/jobs", 400, json=body)["error"] == "Only a job of kind video says how a clip is painted."
    assert studio.json("GET", "/jobs?state=queued,running")["jobs"] == []


def test_styles_that_change_masks_and_a_gif(studio: Studio, clip: bytes) -> None:
    number, mask = studio.upload(clip, "c.mp4")["id"], studio.upload(png(64, 48), "mask.png")["id"]
    body = {
        "kind": "video",
        "photo": number,
        "styles": [{"id": "udnie"}, {"id": "great-wave"}],
        "masks": [{"mask": mask, "style": "keep"}],
        "options": {"size": 32, "quality": "instant"},
        "video": {"blend": ["1..0"], "start": 0.1, "end": 0.4, "every": 2, "format": "gif"},
    }
    job = studio.json("POST", "/jobs", 202, json=body)["id"]
    assert studio.finished(job)["whole"]
    answer = studio.client.get(f"/api/jobs/{job}/result")
    assert answer.headers["content-type"] == "image/gif"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert getattr(image, "n_frames", 0) == studio.json("GET", f"/jobs/{job}")["progress"]["frames"] < COUNT / 2
    assert studio.json("GET", f"/jobs/{job}/record")["clip"]["blending"] == [[1.0, 0.0]]


def test_pause_resume_and_cancel_keep_what_is_painted(studio: Studio, clip: bytes) -> None:
    number = studio.upload(clip, "c.mp4")["id"]
    job = add(studio, number, size=64, quality="best")["id"]
    waiting = add(studio, number)["id"]
    shown = studio.until(job, lambda job: frame(job) >= 2)
    assert shown["state"] == "running"
    with Image.open(io.BytesIO(studio.client.get(f"/api/jobs/{job}/preview").content)) as image:
        assert (image.format, image.size) == ("JPEG", (64, 48))
    studio.json("POST", f"/jobs/{waiting}/cancel")
    assert studio.finished(waiting)["result"] is None
    studio.json("POST", f"/jobs/{job}/pause")
    paused = studio.until(job, lambda job: job["state"] == "paused")
    assert any(name.endswith(".mp4.unfinished") for name in files_of(studio, job))
    studio.json("POST", f"/jobs/{job}/cancel")
    stopped = studio.finished(job)
    assert (stopped["state"], stopped["whole"]) == ("cancelled", False)
    record = studio.json("GET", f"/jobs/{job}/record")
    assert frame(paused) <= record["clip"]["frames"] < COUNT
    assert record["done"] == pytest.approx(record["clip"]["frames"] / COUNT, abs=0.01)
    assert files_of(studio, job) == [f"{job}.jpg", f"{job}.mp4"]
    running = add(studio, number, size=64, quality="best")["id"]
    studio.until(running, lambda job: frame(job) >= 1)
    studio.json("POST", f"/jobs/{running}/cancel")
    assert studio.finished(running)["result"]["bytes"] > 0
    studio.json("DELETE", f"/jobs/{job}", 204)
    assert files_of(studio, job) == []


def test_a_clip_goes_on_when_its_worker_dies_and_is_held_after_the_second_time(studio: Studio, clip: bytes) -> None:
    job = add(studio, studio.upload(clip, "c.mp4")["id"], size=96, quality="best")["id"]
    folder = studio.data / "results" / f"{job}.mp4.unfinished"

    def kill() -> int:
        """Kill every worker. Returns how many frames are painted."""
        workers = studio.workers()
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        psutil.wait_procs(workers)
        return int(json.loads((folder / "card.json").read_text())["painted"])

    studio.until(job, lambda job: frame(job) >= 2)
    painted = kill()
    first = (folder / "frame-0000000.png").stat().st_mtime_ns
    studio.until(job, lambda job: frame(job) > painted)
    assert (folder / "frame-0000000.png").stat().st_mtime_ns == first  # it is not painted again
    kill()
    held = studio.until(job, lambda job: job["state"] == "held")
    assert held["error"] == "The process that painted it died 2 times. Retry it, or delete it."
    assert folder.exists()
    studio.json("DELETE", f"/jobs/{job}", 204)
    assert files_of(studio, job) == []


def test_a_server_without_the_video_extra_says_so(clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise UsageError("video needs the video extra")

    (tmp_path / "clip").write_bytes(clip)
    moving = [Image.new("RGB", (20, 10), color) for color in ("red", "blue")]
    moving[0].save(tmp_path / "moving", "GIF", save_all=True, append_images=moving[1:])
    monkeypatch.setattr(films.clips, "check_extra", missing)
    with pytest.raises(PictureError, match="this server reads no clips, because impasto's video extra is not installed"):
        films.check(tmp_path / "clip", tmp_path / "still.png", 10**6)
    assert films.check(tmp_path / "moving", tmp_path / "still.png", 10**6) is None
    monkeypatch.undo()
    assert (films.check(tmp_path / "moving", tmp_path / "still.png", 10**6) or {})["clip"]["frames"] == 2


def test_the_folder_of_an_unfinished_clip_belongs_to_its_job(tmp_path: Path) -> None:
    queue = Queue(Store(tmp_path / "data"))
    spec = {"photo": {"id": "0" * 16, "name": "c.mp4"}, "styles": [], "video": FILM}
    number = queue.add("video", spec)["id"]
    folder = queue.store.files.result(number, spec).with_name(f"{number}.mp4.unfinished")
    orphan = folder.with_name(f"{'f' * 16}.mp4.unfinished")
    for one in (folder, orphan):
        one.mkdir()
        (one / "frame-0000000.png").write_bytes(b"x")
    assert queue.store.sweep() == 1
    assert (folder.exists(), orphan.exists()) == (True, False)
    queue.pause(number)
    queue.cancel(number)  # a worker writes what is painted
    assert (queue.get(number) or {})["state"] == "queued"
    queue.remove(number)
    assert not folder.exists()


def test_a_data_directory_of_an_earlier_version_is_still_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    with store.changing() as db:
        db.execute("ALTER TABLE images DROP COLUMN clip")
        db.execute("INSERT INTO images VALUES ('a', 'old.png', 2, 1, '[]', 0)")
    store = Store(tmp_path / "data")
    assert (store.image("a") or {})["clip"] is None
    assert store.add_image("b", "c.mp4", (1, 2), (), {"frames": 3})["clip"] == {"frames": 3}
