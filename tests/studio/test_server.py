"""A real server with its processes: what a person does, and what may happen to them."""

from __future__ import annotations

import io
import signal
import socket
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from filelock import FileLock
from PIL import Image
from studio.running import Studio, png

from impasto import pictures
from impasto.jobs import records


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    running = Studio(tmp_path_factory.mktemp("studio") / "data")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.logged()


def test_a_picture_from_upload_to_download(studio: Studio) -> None:
    photo = studio.upload(png(96, 64), "../../Katze <b>.png")
    assert photo == {"id": photo["id"], "name": "Katze <b>.png", "width": 96, "height": 64, "notes": [], "clip": None}
    body = {"photo": photo["id"], "styles": [{"id": "starry-night"}], "options": {"size": 96}}
    at_once = studio.client.post("/api/instant", json=body)
    assert (at_once.status_code, at_once.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(at_once.content)).size == (96, 64)
    with studio.events() as events:
        number = studio.add(photo["id"], "starry-night", size=64, iterations=6)["id"]
        seen = []
        for last, name, data in events:
            assert name == "job"
            seen.append((last, data))
            if data["id"] == number and data["state"] == "done":
                break
    assert [int(last) for last, _ in seen] == sorted({int(last) for last, _ in seen})
    mine = [data for _, data in seen if data["id"] == number]
    assert mine[-1]["state"] == "done"
    shares = [data["done"] for data in mine]
    assert shares == sorted(shares)
    with studio.events(after=seen[0][0]) as again:  # nothing that happened meanwhile is lost
        assert next(again)[2]["id"] == number
    job = studio.json("GET", f"/jobs/{number}")
    assert (job["state"], job["place"], job["whole"], job["error"]) == ("done", None, True, None)
    assert (job["result"]["width"], job["result"]["height"]) == (64, 43)
    assert studio.result(number).shape == (43, 64, 3)
    record = studio.json("GET", f"/jobs/{number}/record")
    assert (record["size"], record["iterations"], record["inputs"]["photo"]["name"]) == (64, 6, "Katze <b>.png")
    for form, kind in (("png", "PNG"), ("jpg", "JPEG")):
        answer = studio.client.get(f"/api/jobs/{number}/result?format={form}&download=1")
        assert "attachment" in answer.headers["content-disposition"]
        assert "<" not in answer.headers["content-disposition"]
        with Image.open(io.BytesIO(answer.content)) as image:
            assert (image.format, image.size) == (kind, (64, 43))
        assert pictures.read_settings(answer.content)["iterations"] == 6
    assert Image.open(io.BytesIO(studio.client.get(f"/api/jobs/{number}/result?size=20").content)).size == (20, 13)
    found = studio.json("GET", "/jobs?query=katze starry&result=true&state=done")
    assert [one["id"] for one in found["jobs"]] == [number]
    assert studio.json("DELETE", f"/images/{photo['id']}", 409)["error"] == "A job needs this picture. Delete the job first."
    studio.json("DELETE", f"/jobs/{number}", 204)
    studio.json("GET", f"/jobs/{number}", 404)
    studio.json("DELETE", f"/images/{photo['id']}", 204)
    assert list((studio.data / "results").iterdir()) == []


def test_the_result_is_the_command_lines(studio: Studio, tmp_path: Path) -> None:
    """The same pixels as the library gives for the same inputs and options, blended and with a mask."""
    from impasto import Stylizer

    photo, painting = png(80, 60), png(90, 70, seed=3)
    left = np.zeros((60, 80), np.uint8)
    left[:, :40] = 255
    mask = io.BytesIO()
    Image.fromarray(left).save(mask, "PNG")
    ids = [studio.upload(data)["id"] for data in (photo, mask.getvalue())]
    style = studio.upload(painting, "mine.png", "/styles")
    assert (style["name"], style["kind"], style["tuned"]) == ("mine", "painting", False)
    body = {
        "photo": ids[0],
        "styles": [{"id": style["id"], "weight": 2}, {"id": "udnie", "weight": 1}],
        "masks": [{"mask": ids[1], "style": "keep"}],
        "options": {"size": 64, "iterations": 3, "device": None},
    }
    assert studio.json("POST", "/jobs", 400, json=body)["option"] == "device"
    del body["options"]["device"]
    number = studio.json("POST", "/jobs", 202, json=body)["id"]
    studio.finished(number)
    run = Stylizer(size=64, iterations=3, blend=(2, 1)).run(photo, [painting, "udnie"], masks=[(mask.getvalue(), None)])
    difference = np.abs(np.asarray(run.finish()).astype(int) - studio.result(number))
    assert difference.mean() < 0.5  # the number of threads may differ, and with it the last bits
    assert studio.json("DELETE", f"/styles/{style['id']}", 204) is None
    assert studio.json("POST", "/jobs", 404, json=body)["error"] == "This style is not here any more."


def test_pause_resume_cancel_move_and_sheet(studio: Studio) -> None:
    photo = studio.upload(png(96, 64))["id"]
    long = studio.add(photo, "udnie", size=64, iterations=3000)["id"]
    second, third = (studio.add(photo, "udnie", size=32, iterations=1)["id"] for _ in range(2))
    assert studio.json("PUT", f"/jobs/{third}/place", json={"place": 1})["place"] == 1
    assert studio.json("GET", f"/jobs/{second}")["place"] == 2
    studio.json("POST", f"/jobs/{second}/cancel")
    shown = studio.until(long, lambda job: job["preview"] > 1)
    assert Image.open(io.BytesIO(studio.client.get(f"/api/jobs/{long}/preview").content)).format == "JPEG"
    assert shown["state"] == "running"
    studio.json("POST", f"/jobs/{long}/pause")
    paused = studio.until(long, lambda job: job["state"] == "paused")
    studio.finished(third)
    studio.json("POST", f"/jobs/{long}/resume")
    resumed = studio.until(long, lambda job: job["state"] == "running" and job["done"] >= paused["done"])
    assert resumed["done"] >= paused["done"] > 0
    studio.json("POST", f"/jobs/{long}/cancel")
    stopped = studio.finished(long)
    assert (stopped["state"], stopped["whole"]) == ("cancelled", False)
    assert studio.result(long).shape == (43, 64, 3)  # the best so far
    assert 0 < records.read(studio.data / "results" / f"{long}.png").record.done < 1
    assert studio.json("POST", f"/jobs/{long}/pause", 409)["error"] == "The job is cancelled, so it cannot be paused."
    sheet = studio.add(photo, "udnie", "great-wave", kind="sheet", quality="instant", size=48)["id"]
    assert studio.finished(sheet)["result"]["width"] > 96
    studio.json("DELETE", f"/jobs/{long}", 204)


def test_a_painting_is_tuned_as_a_job(studio: Studio) -> None:
    style = studio.upload(png(90, 70, seed=3), "mine.png", "/styles")["id"]
    assert studio.json("POST", "/styles/udnie/tune", 409)["error"] == "Only a painting that was added can be tuned."
    job = studio.json("POST", f"/styles/{style}/tune", 202)
    assert (job["kind"], job["photo"], job["styles"][0]["id"]) == ("tune", None, style)
    again = studio.json("POST", f"/styles/{style}/tune", 409)
    assert again["error"] == "This painting is being tuned already."
    running = studio.until(job["id"], lambda job: job["done"] > 0)
    assert running["progress"]["step"] > 0
    assert studio.json("DELETE", f"/styles/{style}", 409)["error"] == "A job that is not finished needs this style."
    studio.json("POST", f"/jobs/{job['id']}/cancel")
    assert studio.finished(job["id"])["state"] == "cancelled"
    found = [one for one in studio.json("GET", "/styles")["styles"] if one["id"] == style]
    assert (found[0]["kind"], found[0]["tuned"]) == ("painting", False)
    studio.json("DELETE", f"/styles/{style}", 204)


def test_what_people_get_wrong_is_one_sentence(studio: Studio) -> None:
    photo = studio.upload(png(40, 30))["id"]
    for body, status, error in (
        ({"photo": photo, "styles": []}, 400, "Choose a style."),
        ({"photo": photo, "styles": [{"id": "no-such"}]}, 404, "This style is not here any more."),
        ({"photo": "0" * 16, "styles": [{"id": "udnie"}]}, 404, "This picture is not here any more."),
        ({"photo": photo, "styles": [{"id": "udnie"}], "options": {"strength": 7}}, 400, "Strength must be at most 1, not 7."),
        ({"photo": photo, "styles": [{"id": "udnie"}], "options": {"colour": 1}}, 400, "Unknown option 'colour'."),
        (
            {"photo": photo, "styles": [{"id": "udnie"}], "options": {"max_pixels": 1}},
            400,
            "The server decides about max_pixels.",
        ),
        ({"photo": photo, "styles": [{"id": "udnie"}], "options": {"self": 1}}, 400, "Unknown option 'self'."),
        ([], 422, "The request is not as it should be: Input should be"),
        ({"photo": "../../etc/passwd", "styles": []}, 422, "The request is not as it should be: photo:"),
        ({"photo": "http://example.org/a.jpg", "styles": []}, 422, "The request is not as it should be: photo:"),
        ({"photo": photo, "styles": [{"id": "file:///etc"}]}, 422, "The request is not as it should be: styles 0 id:"),
        ({"photo": photo, "stiles": []}, 422, "The request is not as it should be: stiles:"),
        ({"photo": photo, "styles": [{"id": "udnie"}] * 9}, 422, "The request is not as it should be: styles:"),
    ):
        assert studio.json("POST", "/jobs", status, json=body)["error"].startswith(error)
    assert studio.client.post("/api/jobs", content=b"{nonsense").status_code == 422
    endless = studio.client.post(
        "/api/jobs", content=(bytes(100_000) for _ in range(20)), headers={"content-type": "application/json"}
    )
    assert (endless.status_code, endless.json()["error"]) == (413, "This is too large: at most 1 MB can be sent.")
    text = studio.json("POST", "/images", 422, files={"file": (None, b"text")})
    assert text["error"] == "The request is not as it should be: file: a file is expected."
    assert studio.json("GET", "/nothing", 404)["error"] == "There is nothing at this address."
    thin = studio.upload(png(400, 2))["id"]
    body = {"photo": thin, "styles": [{"id": "udnie"}], "options": {"size": 64}}
    assert "at least 16x16" in studio.client.post("/api/instant", json=body).json()["error"]


def test_files_that_are_gone_say_so_and_not_where_they_were(studio: Studio) -> None:
    photo = studio.upload(png(40, 30))["id"]
    (studio.data / "images" / photo).unlink()
    gone = "This picture is not here any more."
    assert studio.json("GET", f"/images/{photo}/picture", 404)["error"] == gone
    body = {"photo": photo, "styles": [{"id": "udnie"}]}
    assert studio.json("POST", "/instant", 404, json=body)["error"] == gone
    number = studio.add(photo, "udnie", size=32, iterations=1)["id"]
    failed = studio.until(number, lambda job: job["state"] == "failed")
    assert failed["error"] == "Photograph: no such file or directory."
    (studio.data / "results" / f"{number}.png").write_bytes(b"x")
    assert str(studio.data) not in studio.client.get(f"/api/jobs/{number}/result?format=jpg").text
    studio.json("DELETE", f"/jobs/{number}", 204)


def test_changes_of_one_job_at_the_same_time_are_all_answered(studio: Studio) -> None:
    photo = studio.upload(png(40, 30))["id"]
    for _ in range(3):
        number = studio.add(photo, "udnie", size=32, iterations=2)["id"]
        calls = [("POST", f"/{action}") for action in ("cancel", "pause", "resume", "retry")] + [("DELETE", "")] * 3
        with ThreadPoolExecutor(len(calls)) as pool:
            answers = [pool.submit(studio.client.request, method, f"/api/jobs/{number}{end}") for method, end in calls]
        assert {answer.result().status_code for answer in answers} <= {200, 204, 404, 409}


def test_hostile_uploads_are_refused_and_nothing_breaks(studio: Studio) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb += chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    studio.upload(png(40, 30))  # which starts the previewer
    before = {worker.pid for worker in studio.workers()}
    for data, name, says in (
        (b"", "empty.png", "empty"),
        (bomb, "bomb.png", "3,600,000,000 pixels"),
        (png(40, 30)[:200], "cut.png", "truncated"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "x.png", "SVG"),
        (b"<!doctype html><script>alert(1)</script>", "x.jpg", "web page"),
        (b"MZ" + bytes(500), "x.exe", "not an image"),
        (b"GIF89a" + b"\xff" * 300, "x.gif", ""),
    ):
        answer = studio.upload(data, name, status=415)
        assert says in answer["error"]
        assert "\n" not in answer["error"]
    assert studio.upload(b"\0" * 500, "x.style", "/styles", 415)["error"].startswith(
        "The file is not a style file, or is cut short"
    )
    assert before <= {worker.pid for worker in studio.workers()}
    uploaded = studio.upload(png(40, 30) + b"<script>alert(1)</script>", "x.html")
    view = studio.client.get(f"/api/images/{uploaded['id']}/picture")
    assert view.headers["content-type"] == "image/jpeg"
    assert b"script" not in view.content
    for name in ("..", "a/../../b.png", "\\\\host\\c$\\x.png", "x" * 5000, "\x1b[31m.png", ""):
        answer = studio.client.post("/api/images", files={"file": (name or "n", png(20, 20))})
        found = answer.json()
        assert answer.status_code == 201 or found["error"]
        assert "/" not in found.get("name", "")
        assert found.get("name", "").isprintable()
    known = {one.name for one in (studio.data / "images").iterdir()}
    assert all(len(name) == 16 for name in known)


def test_sessions_and_the_page(studio: Studio) -> None:
    import httpx

    with httpx.Client(base_url=studio.base, headers={"origin": studio.base}, timeout=60) as browser:
        assert browser.get("/api/jobs").status_code == 401
        assert browser.post("/api/session", json={"token": "wrong"}).json()["error"] == "This is not the token of this studio."
        entered = browser.post("/api/session", json={"token": studio.token})
        assert entered.status_code == 204
        assert all(word in entered.headers["set-cookie"].lower() for word in ("httponly", "samesite=strict", "path=/"))
        assert browser.get("/api/jobs").status_code == 200
        assert browser.post("/api/jobs", json={}, headers={"origin": "http://evil.example"}).status_code == 403
        page = browser.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for odd in ("/page/../store.py", "/page/%2e%2e/store.py", "/page//etc/passwd", "/page/"):
            assert browser.get(odd).status_code in (404, 405)
        assert browser.delete("/api/session").status_code == 204
        assert browser.get("/api/jobs").status_code == 401


def test_a_worker_that_dies_is_replaced_and_the_job_goes_on(studio: Studio) -> None:
    photo = studio.upload(png(96, 64))["id"]
    number = studio.add(photo, "udnie", size=64, iterations=60)["id"]
    studio.until(number, lambda job: job["done"] > 0)
    for worker in studio.workers():
        worker.send_signal(signal.SIGKILL)
    again = studio.finished(number)
    assert again["state"] == "done"
    assert studio.client.get(f"/api/images/{photo}/picture?size=64").status_code == 200  # the previewer too


def test_killed_servers_lose_nothing(tmp_path: Path) -> None:
    studio = Studio(tmp_path / "data")
    photo = studio.upload(png(96, 64))["id"]
    assert studio.client.get(f"/api/images/{photo}/picture").status_code == 200
    loaded = {Path(one.path).name for one in psutil.Process(studio.process.pid).memory_maps()}
    assert not any(name.startswith(("_imaging", "libtorch")) for name in loaded)  # the server itself decodes no upload
    numbers = [studio.add(photo, "udnie", size=64, iterations=count)["id"] for count in (60, 3)]
    studio.until(numbers[0], lambda job: job["done"] > 0)
    studio.kill()
    (studio.data / "images" / ".half.part").write_bytes(b"x")
    studio.start()
    for number in numbers:
        assert studio.finished(number)["whole"]
        assert studio.result(number).shape == (43, 64, 3)
    assert not (studio.data / "images" / ".half.part").exists()
    assert sorted(file.name for file in (studio.data / "results").iterdir()) == sorted(f"{number}.png" for number in numbers)
    assert studio.stop() == 0
    assert "Traceback" not in studio.logged()


def test_a_server_for_others_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from impasto.cli import main
    from impasto.studio import server

    monkeypatch.setattr(server, "serve", lambda settings, started: started("http://address/#token=x"))
    monkeypatch.setattr("webbrowser.open", lambda address: pytest.fail("no browser for others"))
    for host in ("0.0.0.0", "192.168.1.7", "::", "studio.example.org"):
        assert main(["studio", "--host", host, "--data", str(tmp_path)]) == 0
        assert "others on the network can reach this server" in capsys.readouterr().err
    for host in ("127.0.0.1", "::1", "localhost"):
        assert main(["studio", "--host", host, "--data", str(tmp_path), "--no-browser"]) == 0
        assert capsys.readouterr().err == ""


def test_what_keeps_a_studio_from_starting_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from impasto.cli import main

    (tmp_path / "file").write_text("no folder")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, says in (
            (["--data", str(tmp_path / "file")], "data directory"),
            (["--data", str(tmp_path / "file" / "below")], "data directory"),
            (["--data", str(tmp_path / "d"), "--port", str(port)], "--port or --host"),
            (["--data", str(tmp_path / "d"), "--host", "no.such.host.invalid"], "cannot be used"),
            (["--data", str(tmp_path / "d"), "--port", "70000"], "--port must be at most 65535"),
            (["--data", str(tmp_path / "d"), "--device", "tpu"], "--device must be auto, cpu, cuda or mps"),
        ):
            assert main(["studio", "--no-browser", *words]) == 2
            printed = capsys.readouterr().err
            assert says in printed.splitlines()[-1]
            assert "Traceback" not in printed
    with FileLock(tmp_path / "d" / ".lock"):
        assert main(["studio", "--no-browser", "--data", str(tmp_path / "d")]) == 2
    assert "another studio uses the data directory" in (line := capsys.readouterr().err)
    assert line.endswith("use another --data\n")
