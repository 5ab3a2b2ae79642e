"""Batches in the studio: zips, also hostile ones, folders on the server, and what may happen to a batch."""

from __future__ import annotations

import io
import stat
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from studio.running import PATIENCE, Studio, png, zipped

from impasto import pictures
from impasto.errors import PictureError
from impasto.inputs import style_names
from impasto.studio import batching, folders, unpack
from impasto.studio.queue import Queue
from impasto.studio.store import Store

QUICK = {"quality": "instant", "size": 32}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    running = Studio(tmp_path_factory.mktemp("batches") / "data", "--max-upload", "1", "--device", "cpu")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.logged()


def photos(count: int, start: int = 0) -> bytes:
    return zipped(*((f"{number}.png", png(24, 20, seed=start + number)) for number in range(count)))


def add(studio: Studio, folder: str, *styles: str, status: int = 202, options: Any = None, **more: Any) -> Any:
    body = {"folder": folder, "styles": styles or ("udnie",), "options": QUICK if options is None else options} | more
    return studio.json("POST", "/batches", status, json=body)


def images(studio: Studio, number: str) -> dict[str, bytes]:
    answer = studio.client.get(f"/api/jobs/{number}/images")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_zip_from_upload_to_download(studio: Studio) -> None:
    content = zipped(
        ("cats/tom.jpg", png(48, 40, seed=1)),
        ("cats/tom.png", png(40, 48, seed=2)),
        ("broken <b>.jpg", b"no image"),
        ("readme.txt", b"text"),
        ("__MACOSX/cats/._tom.jpg", b"x"),
        (".hidden.png", b"x"),
    )
    folder = studio.upload(content, "../../My <photos>.zip", "/folders")
    assert (folder["name"], folder["kind"], folder["photos"]) == ("My <photos>.zip", "zip", 3)
    assert folder["notes"] == ["1 file without the suffix of an image is left out, such as readme.txt."]
    assert folder in studio.json("GET", "/folders")["folders"]
    with studio.events() as events:
        job = add(studio, folder["id"], "udnie", "mondrian")
        assert (job["kind"], job["batch"]["images"], job["folder"]["name"]) == ("batch", 6, "My <photos>.zip")
        mine: list[Any] = []
        while not mine or mine[-1]["state"] != "done":
            _, name, data = next(events)
            mine += [data] if name == "job" and data["id"] == job["id"] else []
    number, end = job["id"], mine[-1]
    assert (end["progress"]["painted"], end["progress"]["failed"], end["result"]["images"], end["whole"]) == (4, 2, 4, True)
    found = images(studio, number)
    assert set(found) == {f"cats/tom.{kind}--{style}.png" for kind in ("jpg", "png") for style in ("udnie", "mondrian")}
    with Image.open(io.BytesIO(found["cats/tom.jpg--udnie.png"])) as image:
        assert image.size == (32, 27)
    settings = pictures.read_settings(found["cats/tom.jpg--udnie.png"])
    assert settings is not None
    assert (settings["quality"], settings["inputs"]["style"]["name"]) == ("instant", "udnie.style")
    failed = studio.json("GET", f"/jobs/{number}/failures")["failures"]
    assert failed[0] == {
        "name": "broken _b_.jpg--mondrian.png",
        "photo": "broken _b_.jpg",
        "styles": ["mondrian"],
        "problem": "Photograph: not an image, or its format is not supported.",
    }
    assert studio.json("GET", f"/jobs/{number}/result", 409)["error"] == "The results of a batch are at images."
    studio.json("DELETE", f"/folders/{folder['id']}", 409)
    studio.json("DELETE", f"/jobs/{number}", 204)
    studio.json("DELETE", f"/folders/{folder['id']}", 204)
    assert not list((studio.data / "zips").iterdir())
    assert not list((studio.data / "results").glob(f"*{number}*"))


def test_a_folder_on_the_server_and_nothing_outside_it(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(20, 20))
    home = studio.data / "folders"
    (home / "Holidays" / "sea").mkdir(parents=True)
    (home / "Holidays" / "sea" / "a.png").write_bytes(png(24, 20))
    (home / "Holidays" / "out.png").symlink_to(tmp_path / "secret.png")
    (home / "link").symlink_to(tmp_path)
    names = [one["id"] for one in studio.json("GET", "/folders")["folders"] if one["kind"] == "folder"]
    assert names == ["Holidays"]
    for name in ("link", "..", "../folders/Holidays", "Holidays/sea", "/etc", ".", "\0"):
        assert add(studio, name, status=404)["error"] == "These photographs are not here any more."
    painting = studio.upload(png(30, 30), "St. Remy / night.jpg", "/styles")["id"]
    number = add(studio, "Holidays", painting, format="jpg", pairs="random:1")["id"]
    assert studio.finished(number)["state"] == "done"
    (found,) = images(studio, number).items()
    assert (found[0], found[1][:3]) == ("sea/a--night.jpg", b"\xff\xd8\xff")
    assert studio.json("DELETE", "/folders/Holidays", 409)["error"] == "A folder on the server cannot be deleted from here."


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"styles": ["nosuch"]}, "This style is not here any more."),
        ({"pairs": "some"}, "Pairs must be all, zip or random:N with a number from 1, not 'some'."),
        ({"pairs": "zip"}, "Zip needs as many styles as photographs, not 1 and 2; use pairs all or random:N."),
        ({"styles": style_names()}, "These are 24,000 images; a batch has at most 20,000."),
        ({"options": {"size": 3}}, "Size must be from 16"),
        ({"options": {"device": "cuda"}}, "The server decides about device."),
    ],
)
def test_what_cannot_be_done_is_refused_before_it_is_queued(studio: Studio, more: Any, problem: str) -> None:
    content = zipped(*((f"{number}.jpg", b"x") for number in range(2000))) if "images" in problem else photos(2)
    folder = studio.upload(content, "a.zip", "/folders")["id"]
    answer = studio.client.post("/api/batches", json={"folder": folder, "styles": ["udnie"]} | more)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"].startswith(problem)


def test_a_cancelled_batch_keeps_its_images_and_jobs_of_others_go_first(studio: Studio) -> None:
    folder, photo = studio.upload(photos(8), "many.zip", "/folders")["id"], studio.upload(png(24, 20))["id"]
    number = add(studio, folder, options={"quality": "normal", "size": 48, "iterations": 40})["id"]
    studio.until(number, lambda job: (job["progress"] or {}).get("painted", 0) > 0)
    studio.json("POST", f"/jobs/{number}/pause")
    studio.until(number, lambda job: job["state"] == "paused")
    studio.json("POST", f"/jobs/{number}/cancel")
    job = studio.finished(number)
    assert (job["state"], job["whole"]) == ("cancelled", False)
    assert len(images(studio, number)) == job["result"]["images"] > 0
    studio.json("POST", f"/jobs/{number}/retry")
    studio.until(number, lambda job: job["state"] == "running" and job["progress"]["kept"])
    other = studio.add(photo, "udnie", **QUICK)["id"]
    assert studio.finished(other)["state"] == "done"
    assert studio.json("GET", f"/jobs/{number}")["finished"] is None
    studio.json("DELETE", f"/jobs/{number}", 204)


def test_a_batch_continues_after_the_server_was_killed(tmp_path: Path) -> None:
    studio = Studio(tmp_path / "data", "--device", "cpu")
    folder = studio.upload(photos(4), "many.zip", "/folders")["id"]
    number = add(studio, folder, options={"quality": "draft", "size": 32})["id"]
    studio.until(number, lambda job: (job["progress"] or {}).get("painted", 0) > 0)
    studio.kill()  # which waits for the workers of the batch: they end by themselves
    studio.start()
    assert studio.finished(number)["result"]["images"] == 4
    assert all(pictures.read_settings(data) for data in images(studio, number).values())
    assert studio.stop() == 0
    assert "Traceback" not in studio.logged()


def table(disks: bytes) -> bytes:
    """A zip that consists of a large table of contents. disks: 4 bytes that zipfile does not look at."""
    name = b"a.png"
    one = b"PK\1\2" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name
    found = one * 90_000
    return found + b"PK\5\6" + disks + struct.pack("<HHIIH", 1, 1, len(found), 0, 0)


def entry(name: str, **more: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for key, value in more.items():
        setattr(info, key, value)
    return info


def cut(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


PHOTO = png(24, 20)
HOSTILE = {
    "empty": (zipped(), "There are no photographs in this zip."),
    "no zip": (PHOTO, "This zip cannot be unpacked: it is not a zip file, or it is incomplete."),
    "cut": (zipped(("a.png", PHOTO))[:-40], "This zip cannot be unpacked: it is not a zip file, or it is incomplete."),
    "texts": (
        zipped(("a.txt", b"a"), ("b.zip", zipped())),
        "There are no photographs in this zip; 2 files without the suffix of an image are left out, such as a.txt.",
    ),
    "up": (zipped(("../../a.png", PHOTO)), "The file ../../a.png in this zip leads out of it."),
    "absolute": (zipped(("/etc/a.png", PHOTO)), "The file /etc/a.png in this zip leads out of it."),
    "backslashes": (zipped(("a\\..\\..\\a.png", PHOTO)), "The file a/../../a.png in this zip leads out of it."),
    "twice": (zipped(("a.png", PHOTO), ("./a.png", PHOTO)), "This zip has two files of one name, a.png and a.png."),
    "case": (zipped(("a.png", PHOTO), ("A.PNG", PHOTO)), "This zip has two files of one name, a.png and A.PNG."),
    "long": (zipped((f"{'a' * 300}.png", PHOTO)), "A name in this zip is too long: aaa"),
    "link": (
        zipped((entry("a.png", create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16), b"/etc/passwd")),
        "There are no photographs in this zip; 1 file without the suffix of an image is left out, such as a.png.",
    ),
    "damaged": (cut(zipped(("a.png", PHOTO)), PHOTO[40:60], b"\0" * 20), "The file a.png in this zip is damaged."),
}


def bomb(size: int, count: int = 1) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(count):
            archive.writestr(f"{number}.bmp", bytes(size))
    return data.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_zips_are_refused_in_one_line(studio: Studio, kind: str) -> None:
    data, problem = HOSTILE[kind]
    answer = studio.client.post("/api/folders", files={"file": ("a.zip", data)})
    assert answer.status_code == 415
    assert answer.json()["error"].startswith(problem)
    assert "\n" not in answer.json()["error"]
    known = {one["id"] for one in studio.json("GET", "/folders")["folders"]}
    assert {file.name for file in (studio.data / "zips").iterdir()} <= known


def test_bombs_are_refused_before_they_are_unpacked(studio: Studio, tmp_path: Path) -> None:
    large = bomb(60_000_000)
    assert len(large) < 1_000_000
    began = time.monotonic()
    error = studio.json("POST", "/folders", 415, files={"file": ("a.zip", large)})["error"]
    assert error.startswith("This zip would unpack to ")
    assert error.endswith(" times its size, which photographs do not.")
    error = studio.json("POST", "/folders", 415, files={"file": ("a.zip", bomb(5_000_000))})["error"]
    assert error == "This zip would unpack to 5 MB; at most 4 MB are taken at once."
    assert studio.json("POST", "/folders", 413, files={"file": ("a.zip", bytes(3_000_000))})["error"].startswith(
        "This is too large"
    )
    lying = bytearray(bomb(3_000_000))  # it says that it has 1000 bytes, and has more
    size = struct.pack("<I", 3_000_000)
    assert lying.count(size) == 2
    file = tmp_path / "lying.zip"
    file.write_bytes(lying.replace(size, struct.pack("<I", 1000)))
    with pytest.raises(PictureError, match=r"^the file 0\.bmp in this zip is damaged$"):
        unpack.unpack(file, tmp_path / "lying", 10_000_000)
    assert not (tmp_path / "lying").exists()
    assert time.monotonic() - began < PATIENCE


def test_encrypted_files_and_odd_names(tmp_path: Path) -> None:
    data = bytearray(zipped(("a.png", PHOTO)))
    for start, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(start) + place] |= 1
    file = tmp_path / "a.zip"
    file.write_bytes(data)
    with pytest.raises(PictureError, match=r"^the file a\.png in this zip is encrypted; make one without a password$"):
        unpack.unpack(file, tmp_path / "out", 10_000_000)
    names = ("\u00fcber/\u6f22.png", "cafe\u0301.png", "a:b?.png", "line\nbreak.png")
    raw = zipped(*((name, PHOTO) for name in names))
    file.write_bytes(raw)
    found = unpack.unpack(file, tmp_path / "utf", 10_000_000)
    assert found == {"photos": 4, "notes": []}
    store = Store(tmp_path / "data")
    target = folders.place_of(store, "0" * 16)
    unpack.unpack(file, target, 10_000_000)
    assert {one.key for one in folders.photos_of(store, "0" * 16)} == {
        "\u00fcber/\u6f22.png",
        "caf\u00e9.png",
        "a_b_.png",
        "line_break.png",
    }
    assert sorted(one.name for one in target.iterdir()) == [*(f"{number:06}.png" for number in range(1, 5)), folders.NAMES]
    unmarked = bytearray(zipped(("\u00fc.png", PHOTO)))  # UTF-8 without the mark that says so, as many programs write it
    for start, place in ((b"PK\3\4", 7), (b"PK\1\2", 9)):
        unmarked[unmarked.index(start) + place] &= ~8
    file.write_bytes(unmarked)
    unpack.unpack(file, folders.place_of(store, "1" * 16), 10_000_000)
    assert [one.key for one in folders.photos_of(store, "1" * 16)] == ["\u00fc.png"]
    file.write_bytes(zipped(*((f"{number}.jpg", b"x") for number in range(3000))))
    assert unpack.unpack(file, tmp_path / "thousands", 10_000_000)["photos"] == 3000


def test_batches_wait_behind_other_jobs_and_old_zips_are_deleted(tmp_path: Path) -> None:
    queue = Queue(Store(tmp_path))
    spec = {"photo": None, "styles": [], "masks": [], "options": {}}
    first = queue.add("batch", spec | {"folder": {"id": "0" * 16, "name": "a.zip", "kind": "zip"}, "batch": {}})["id"]
    second = queue.add("paint", spec)["id"]
    places = {number: (queue.get(number) or {})["place"] for number in (first, second)}
    assert places == {first: 2, second: 1}
    assert queue.others_wait()
    assert [(queue.claim(1) or {})["id"] for _ in range(2)] == [second, first]
    assert not queue.others_wait()
    for number in ("0" * 16, "1" * 16):
        folders.place_of(queue.store, number).mkdir()
        folders.add(queue.store, number, "a.zip", 3, [])
    folders.remove_unused(queue.store, hours=-1)
    assert [row["id"] for row in folders.listed(queue.store)] == ["0" * 16]
    assert [one.name for one in (tmp_path / "zips").iterdir()] == ["0" * 16]
    assert batching.failures(tmp_path / "results" / "nothing") == []


def test_the_zip_is_sent_while_it_is_made(studio: Studio) -> None:
    folder = studio.upload(photos(1), "one.zip", "/folders")["id"]
    number = add(studio, folder)["id"]
    assert studio.finished(number)["state"] == "done"
    with studio.client.stream("GET", f"/api/jobs/{number}/images") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''one-painted.zip"
    assert studio.json("POST", f"/jobs/{number}/retry")["state"] == "queued"
    other = studio.add(studio.upload(png(24, 20))["id"], "udnie", **QUICK)["id"]
    assert studio.json("GET", f"/jobs/{other}/images", 409)["error"] == "This job is not a batch."
    for one in (number, other):
        studio.json("DELETE", f"/jobs/{one}", 204)
    assert httpx.get(f"{studio.base}/api/folders").status_code == 401


@pytest.mark.parametrize("disks", [bytes(4), b"PK\5\6"], ids=["as it should be", "a false end"])
def test_a_large_table_of_contents_is_not_read(tmp_path: Path, disks: bytes) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(table(disks))
    with zipfile.ZipFile(file) as opened:
        assert len(opened.infolist()) == 90_000
    with pytest.raises(
        PictureError, match=r"^this zip has more than 10,000 files or very long names; split it into several zips$"
    ):
        unpack.unpack(file, tmp_path / "out", 10_000_000)
