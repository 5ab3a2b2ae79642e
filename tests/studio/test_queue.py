"""The queue and the data directory, in one process: what each change does, and what may not happen."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import LIMIT

from impasto import files
from impasto.options import Options
from impasto.studio.events import Events
from impasto.studio.kinds import source_of
from impasto.studio.previewer import Answer
from impasto.studio.processes import MOST_EACH, Painting, Previewing, SupersededError
from impasto.studio.queue import ConflictError, FullError, GoneError, Queue
from impasto.studio.store import KEPT_EVENTS, Store, announce, is_id, new_id
from impasto.studio.words import without_paths

PHOTO = {"id": "0" * 16, "name": "Köln.jpg", "width": 9, "height": 8}


def spec(*styles: str) -> dict[str, Any]:
    return {
        "photo": PHOTO,
        "styles": [{"id": name, "name": name, "weight": 1.0} for name in styles],
        "masks": [],
        "options": {},
    }


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(Store(tmp_path / "data"))


def states(queue: Queue) -> list[str]:
    return [job["state"] for job in reversed(queue.list())]


def add(queue: Queue, count: int) -> list[str]:
    return [queue.add("paint", spec("udnie"))["id"] for _ in range(count)]


def test_jobs_are_claimed_in_order_each_once(queue: Queue) -> None:
    numbers = add(queue, 40)
    assert [queue.get(number)["place"] for number in numbers] == list(range(1, 41))
    claimed: list[str] = []

    def work(worker: int) -> None:
        while job := queue.claim(worker):
            claimed.append(job["id"])

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(numbers)
    queue.add("paint", spec("udnie"))
    assert queue.claim(1)["place"] is None


def test_jobs_are_moved(queue: Queue) -> None:
    a, b, c, d = add(queue, 4)

    def order() -> list[str]:
        return [number for _, number in sorted((queue.get(number)["place"], number) for number in (a, b, c, d))]

    queue.move(d, 1)
    assert order() == [d, a, b, c]
    queue.move(d, 99)
    assert order() == [a, b, c, d]
    queue.move(a, 2)
    assert order() == [b, a, c, d]
    for _ in range(60):  # positions do not run out
        queue.move(order()[-1], 2)
    assert queue.claim(1)["id"] == b
    with pytest.raises(ConflictError):
        queue.move(b, 1)


def test_what_people_ask_for(queue: Queue) -> None:
    a, b, c = add(queue, 3)
    assert queue.claim(7)["id"] == a
    queue.pause(a)
    queue.pause(b)
    queue.cancel(c)
    assert (queue.wanted(a), states(queue)) == ("pause", ["running", "paused", "cancelled"])
    queue.leave(a, "paused")
    assert (queue.wanted(a), queue.claim(7)) == ("", None)
    queue.go_on(a, states=("paused",))
    queue.go_on(c, states=("cancelled",))
    assert states(queue) == ["queued", "paused", "queued"]
    assert queue.claim(7)["id"] == a
    queue.leave(a, "done", result={"width": 3, "height": 2, "bytes": 9})
    for forbidden in (queue.pause, queue.cancel, lambda number: queue.go_on(number, states=("paused",))):
        with pytest.raises(ConflictError):
            forbidden(a)
    assert queue.get(a)["finished"] == pytest.approx(time.time(), abs=60)
    assert queue.get(a)["result"] == {"width": 3, "height": 2, "bytes": 9}


def test_cancelling_what_was_interrupted_lets_a_worker_write_it(queue: Queue) -> None:
    (a,) = add(queue, 1)
    queue.claim(7)
    queue.leave(a, "paused")
    state = queue.store.files.result(a).with_name(f"{a}.png.unfinished")
    state.write_bytes(b"state")
    queue.cancel(a)
    assert (queue.get(a)["state"], queue.claim(7)["wanted"]) == ("queued", "cancel")


def test_a_job_that_kills_its_worker_twice_waits_for_a_person(queue: Queue) -> None:
    a, b = add(queue, 2)
    queue.claim(7)
    queue.crashed(8)
    assert states(queue) == ["running", "queued"]
    queue.crashed(7)
    assert queue.claim(9)["id"] == a
    queue.crashed(9)
    assert states(queue) == ["held", "queued"]
    assert "died 2 times" in queue.get(a)["error"]
    queue.go_on(a, states=("held",))
    assert queue.get(a)["attempts"] == 0
    assert queue.claim(7)["id"] == a
    queue.leave(a, "queued")  # the server ended in good order, which counts for nothing
    assert queue.get(a)["attempts"] == 0
    queue.claim(7)
    queue.claim(8)
    queue.crashed()
    assert states(queue) == ["queued", "queued"]
    assert queue.get(b)["attempts"] == 1


def test_the_queue_has_a_limit(queue: Queue) -> None:
    for _ in range(3):
        queue.add("paint", spec("udnie"), client="a", most=4, most_each=3)
    with pytest.raises(FullError, match="You have 3 jobs"):
        queue.add("paint", spec("udnie"), client="a", most=4, most_each=3)
    queue.add("paint", spec("udnie"), client="b", most=4, most_each=3)
    with pytest.raises(FullError, match="The queue is full: it holds 4 jobs"):
        queue.add("paint", spec("udnie"), client="c", most=4, most_each=3)


def test_searching_and_going_through(queue: Queue) -> None:
    for names in (("starry-night",), ("udnie", "great-wave"), ("udnie",)):
        queue.add("paint", spec(*names))
        time.sleep(0.002)
    assert [job["spec"]["styles"][0]["id"] for job in queue.list()] == ["udnie", "udnie", "starry-night"]
    assert len(queue.list(query="wave UDNIE")) == 1
    assert len(queue.list(query="köln")) == 3
    for odd in ("%", "_", "' OR 1", '"', "\0"):
        assert queue.list(query=odd) == []
    first = queue.list(limit=2)
    assert [job["id"] for job in queue.list(before=first[-1]["id"])] == [queue.list()[-1]["id"]]
    assert queue.list(states=("done",)) == queue.list(with_result=True) == []


def test_removing_leaves_no_files(queue: Queue) -> None:
    a, b = add(queue, 2)
    places = queue.store.files
    queue.claim(7)
    for number in (a, b):
        for file in (
            places.result(number),
            places.preview(number),
            places.preview(number).with_suffix(".part"),
            places.result(number).with_name(f"{number}.png.unfinished"),
        ):
            file.write_bytes(b"x")
    queue.remove(a)
    assert queue.wanted(a) == "remove"
    queue.remove(b)
    queue.forget(a)
    assert queue.list() == []
    assert [file for folder in ("results", "previews") for file in (places.root / folder).iterdir()] == []
    assert queue.wanted(a) == "remove"  # a worker that did not know yet


def test_what_is_asked_for_at_the_last_moment_counts(queue: Queue) -> None:
    """The worker is done, or its server ends, before it has looked."""
    a, b, c, d = add(queue, 4)
    for _ in range(4):
        queue.claim(7)
    for number, asks in ((a, queue.remove), (b, queue.pause), (c, queue.cancel), (d, queue.remove)):
        asks(number)
    queue.leave(a, "done")
    queue.leave(b, "queued")
    queue.leave(c, "queued")
    queue.crashed(7)
    assert queue.get(a) is queue.get(d) is None
    assert [(job["id"], job["state"], job["wanted"]) for job in queue.list()] == [(c, "queued", "cancel"), (b, "paused", "")]
    queue.leave(a, "done")
    assert queue.get(a) is None


def test_a_worker_that_dies_leaves_no_half_written_files(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    (a,) = add(queue, 1)
    style = new_id()
    tune = queue.add("tune", {"photo": None, "styles": [{"id": style, "name": "mine"}]})["id"]
    places = queue.store.files
    results = [places.result(a), places.result(a).with_name(f"{a}.png.unfinished")]
    targets = [*results, places.style(style, "file")]

    def dies() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Path, "unlink", lambda *_, **__: None)
        for target in targets:
            with pytest.raises(KeyboardInterrupt):
                files.write(target, dies())
    half = [file for folder in ("results", "styles") for file in (places.root / folder).iterdir()]
    assert len(half) == 3
    assert (queue.claim(7)["id"], queue.claim(8)["id"]) == (a, tune)
    queue.crashed(7)
    assert [file.exists() for file in half].count(True) == 1
    queue.crashed(8)
    assert not any(file.exists() for file in half)


def test_jobs_that_are_deleted_meanwhile(queue: Queue) -> None:
    (a,) = add(queue, 1)
    queue.remove(a)
    for change in (queue.cancel, queue.pause, queue.remove):
        with pytest.raises(GoneError):
            change(a)
    with pytest.raises(GoneError):
        queue.move(a, 1)
    with pytest.raises(GoneError):
        queue.go_on(a, states=("failed",))


def test_paused_jobs_are_in_the_queue(queue: Queue) -> None:
    queue.pause(queue.add("paint", spec("udnie"), client="a", most_each=1)["id"])
    with pytest.raises(FullError, match="You have 1 job"):
        queue.add("paint", spec("udnie"), client="a", most_each=1)


def test_a_tuned_style_keeps_its_painting(queue: Queue) -> None:
    """Jobs that are not finished, and options about its colors, still need it."""
    store, number = queue.store, new_id()
    painting, tuned = store.files.style(number, "painting"), store.files.style(number, "file")
    for file in (painting, tuned):
        file.write_bytes(b"x")
    style = store.add_style(number, "mine", "painting", tuned=False)
    assert source_of(store.files, style, Options(quality="instant")) == painting
    store.enter_tuned(number)
    style = store.style(number) or {}
    assert (style["kind"], style["tuned"], painting.exists()) == ("painting", True, True)
    assert source_of(store.files, style, Options(quality="instant")) == tuned
    for options in (Options(quality="instant", keep_colors="match"), Options()):
        assert source_of(store.files, style, options) == painting
    store.sweep()
    store.remove_style(number)
    assert not painting.exists()
    assert not tuned.exists()


def test_a_database_that_fails_for_a_moment_ends_no_watch(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full, or no more files could be opened."""
    failures: list[str] = []

    def failing(name: str) -> None:
        working = getattr(queue if name == "crashed" else queue.store, name)

        def fail_once(*arguments: Any) -> Any:
            if name in failures:
                return working(*arguments)
            failures.append(name)
            raise sqlite3.OperationalError("unable to open database file")

        monkeypatch.setattr(queue if name == "crashed" else queue.store, name, fail_once)

    async def next_event() -> str:
        events = Events(queue.store)
        await events.start()
        stream = events.stream(None, lambda kind, subject: (kind, {"id": subject}))
        await anext(stream)
        failing("last_event")
        add(queue, 1)
        found = await anext(stream)
        await events.stop()
        return found

    assert "event: job" in asyncio.run(next_event())
    failing("crashed")
    painting = Painting(queue, ["cpu"])
    try:
        first = running(painting)
        os.kill(first, signal.SIGKILL)
        while running(painting) == first:
            time.sleep(0.05)
    finally:
        painting.end()
    assert failures == ["last_event", "crashed"]


def running(painting: Painting) -> int:
    """The number of its first process, as soon as it runs."""
    while not painting.alive[0]:
        time.sleep(0.05)
    one = painting._running[0]
    assert one is not None
    return int(one[0].pid)


def test_a_job_can_be_deleted_from_a_full_disk(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    (a,) = add(queue, 1)
    result = queue.store.files.result(a)
    result.write_bytes(b"x")
    assert (queue.store.files.root / "studio.sqlite-shm").exists()  # so that it can be read
    forget = queue._forget

    def needs_room(number: str) -> None:
        if result.exists():
            raise sqlite3.OperationalError("database or disk is full")
        forget(number)

    monkeypatch.setattr(queue, "_forget", needs_room)
    queue.remove(a)
    assert (queue.get(a), result.exists()) == (None, False)


def test_one_client_cannot_fill_the_previewer(monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on = threading.Event(), threading.Event()

    def answer(self: Previewing, request: Any) -> Answer:
        started.set()
        assert go_on.wait(60)
        return Answer(request.arguments["number"])

    monkeypatch.setattr(Previewing, "_answer", answer)
    previewing = Previewing(1000, "cpu")

    def ask(number: int, client: str) -> Future[Answer]:
        return previewing.ask("paint", client=client, stream=f"s{number}", number=number)

    first = ask(0, "a")
    assert started.wait(60)
    asked = [ask(number, "a") for number in range(MOST_EACH + 1)]
    other = ask(99, "b")
    newer = ask(3, "a")  # takes the place of the one before
    go_on.set()
    assert asked[-1].result().error == "The server is busy. Try again in a moment."
    with pytest.raises(SupersededError):
        asked[3].result()
    assert [one.result().value for one in (first, asked[0], other, newer)] == [0, 0, 99, 3]
    previewing.end()


def test_messages_say_nothing_about_the_servers_files(tmp_path: Path) -> None:
    root = tmp_path / "my data"
    command = f"`impasto resume '{root}/results/x.png'` resumes it"
    for text, says in (
        (f"Photograph {root}/images/{'a' * 16}: no such file", "Photograph: no such file"),
        (
            f"{root}/results/x.png.unfinished cannot be resumed: a style has changed",
            "the file cannot be resumed: a style has changed",
        ),
        (f"{root}/results/x.png could not be written; {command}", "the file could not be written; retry it"),
        ("Choose a style.", "Choose a style."),
    ):
        assert without_paths(text, root) == says


def test_old_results_go_only_when_they_are_asked_to(queue: Queue) -> None:
    a, b = add(queue, 2)
    queue.claim(7)
    queue.leave(a, "done")
    assert queue.remove_old(1) == 0
    queue.report(a, finished=time.time() - 2 * 86_400)
    queue.report(b, created=time.time() - 9 * 86_400)
    assert queue.remove_old(1) == 1
    assert [job["id"] for job in queue.list()] == [b]


def test_uploads_and_leftovers(queue: Queue) -> None:
    store = queue.store
    used, unused, gone = new_id(), new_id(), new_id()
    for number in (used, unused, gone):
        store.files.image(number).write_bytes(b"x")
    for number in (used, unused):
        store.add_image(number, "a.jpg", (4, 5), ("a note",))
    assert store.image(used) == {**store.image(used), "width": 5, "height": 4, "notes": ["a note"]}
    queue.add("paint", spec() | {"photo": PHOTO | {"id": used}})
    assert (store.in_use(used), store.in_use(unused)) == (True, False)
    assert store.sweep() == 1
    assert not store.files.image(gone).exists()
    store.remove_unused_images(hours=1)
    assert store.image(unused)
    store.remove_unused_images(hours=-1)
    assert (bool(store.image(used)), store.image(unused)) == (True, None)
    assert [file.name for file in (store.files.root / "images").iterdir()] == [used]


def test_events_are_numbered_and_merged_by_subject(queue: Queue) -> None:
    start = queue.store.last_event()
    a, b = add(queue, 2)
    for share in (0.1, 0.2, 0.3):
        queue.report(a, done=share)
    found = queue.store.events(start)
    assert [(kind, subject) for _, kind, subject in found] == [("job", b), ("job", a)]
    assert found[-1][0] == queue.store.last_event()
    assert queue.store.events(queue.store.last_event()) == []
    with queue.store.changing() as db:
        db.execute("DELETE FROM events WHERE id <= ?", (start + 2,))
    assert queue.store.events(start) is None
    with queue.store.changing() as db:
        db.execute("INSERT INTO events (id, kind, subject) VALUES (?, 'job', 'x')", (KEPT_EVENTS + 1999,))
        announce(db, "job", "y")
    assert len(queue.store.events(KEPT_EVENTS + 1998)) == 2


def test_a_change_that_fails_changes_nothing(queue: Queue) -> None:
    (a,) = add(queue, 1)

    def fail() -> None:
        with queue.store.changing() as db:
            db.execute("UPDATE jobs SET state = 'done'")
            db.execute("INSERT INTO images SELECT id, NULL, 1, 1, '', 1, NULL FROM jobs")

    with pytest.raises(sqlite3.IntegrityError):
        fail()
    assert queue.get(a)["state"] == "queued"


def test_ids() -> None:
    assert all(is_id(new_id()) for _ in range(50))
    for odd in ("", "0" * 15, "0" * 17, "../../../../etc", "ABCDEFABCDEFABCD", "0" * 15 + "\n", "\uff10" * 16):
        assert not is_id(odd)


def test_a_program_that_ends_without_ending_its_painters_does_not_wait_for_them(tmp_path: Path) -> None:
    """Painters are no daemons, and multiprocessing waits for such processes."""
    program = """
import sys, time
from pathlib import Path
from impasto.studio.processes import Painting
from impasto.studio.queue import Queue
from impasto.studio.store import Store
painting = Painting(Queue(Store(Path(sys.argv[1]))), ["cpu"])
while not painting.alive[0]:
    time.sleep(0.05)
print(painting._running[0][0].pid)
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (0, "")
    assert not psutil.pid_exists(int(done.stdout))
