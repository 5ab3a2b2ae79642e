#!/usr/bin/env python
"""Put a studio under load, kill it at random moments, and send it hostile files. Writes the tables of docs/studio.md.

python scripts/studio_trials.py load --clients 50 --uploads 500
python scripts/studio_trials.py kill --times 30
python scripts/studio_trials.py hostile --files 1000
python scripts/studio_trials.py dials
... --write docs/studio.md
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from machine import processor, write_between  # noqa: E402  (it is in benchmarks/)
from studio.running import Studio, png  # noqa: E402  (the tests' way to start a studio)

Rows = list[tuple[str, str]]
SEED = 20261129


def memory_of(studio: Studio) -> float:
    """Megabytes of the server and its processes."""
    processes = [psutil.Process(studio.process.pid), *studio.workers()]
    return sum(process.memory_info().rss for process in processes) / 1e6


def load(studio: Studio, clients: int, uploads: int) -> Rows:
    """Many clients upload photographs and queue a small painting for each. Every accepted job must finish, once."""
    photo, answers, jobs, lock = png(160, 120), Counter[int](), list[str](), threading.Lock()
    started, before = time.monotonic(), memory_of(studio)
    peak = before

    def work(count: int) -> None:
        for _ in range(count):
            uploaded = _patient(studio, answers, lock, "/api/images", files={"file": ("p.png", photo)})
            if uploaded is None:
                continue
            options = {"size": 32, "quality": "instant"}
            body = {"photo": uploaded["id"], "styles": [{"id": "udnie"}], "options": options}
            job = _patient(studio, answers, lock, "/api/jobs", json=body)
            with lock:
                jobs.extend([job["id"]] if job else [])

    threads = [threading.Thread(target=work, args=(uploads // clients,)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, memory_of(studio))
        time.sleep(0.5)
    accepted = time.monotonic() - started
    states = Counter(studio.finished(number)["state"] for number in jobs)
    peak = max(peak, memory_of(studio))
    listed = studio.json("GET", "/jobs?limit=200")
    assert len(set(jobs)) == len(jobs)
    assert len(listed["jobs"]) == min(200, len(jobs))
    codes = ", ".join(f"{count:,} x {code}" for code, count in sorted(answers.items()))
    return [
        ("clients, uploads", f"{clients}, {uploads}"),
        ("answers", codes),
        ("all accepted after", f"{accepted:.0f} s"),
        ("jobs accepted, finished", f"{len(jobs)}, {states['done']}"),
        ("all finished after", f"{time.monotonic() - started:.0f} s"),
        ("memory of all processes: before, at most", f"{before:.0f} MB, {peak:.0f} MB"),
    ]


def _patient(studio: Studio, answers: Counter[int], lock: threading.Lock, path: str, **body: Any) -> Any:
    """Send until it is accepted, waiting as the server asks to; None for any other answer than 2xx and 429."""
    while True:
        answer = studio.client.post(path, **body)
        with lock:
            answers[answer.status_code] += 1
        if answer.status_code != 429:
            return answer.json() if answer.is_success else None
        time.sleep(float(answer.headers.get("retry-after", 1)) * random.random())


def kill(studio: Studio, times: int) -> Rows:
    """Kill the server or a worker at random moments while jobs come in; then every job must be finished or listed with a reason."""
    chance = random.Random(SEED)
    photo = studio.upload(png(160, 120))["id"]
    jobs, killed, restarts = list[str](), Counter[str](), list[float]()
    for _ in range(times):
        jobs += [studio.add(photo, "udnie", size=64, iterations=chance.randint(2, 20))["id"] for _ in range(2)]
        time.sleep(chance.random() * 2)
        if chance.random() < 0.5 or not studio.workers():
            killed["server"] += 1
            studio.kill()
            started = time.monotonic()
            studio.start()
            restarts.append(time.monotonic() - started)
        else:
            killed["worker"] += 1
            chance.choice(studio.workers()).kill()
    states = Counter[str]()
    for number in jobs:
        job = studio.until(number, lambda job: job["state"] in ("done", "cancelled", "failed", "held"))
        states[job["state"]] += 1
        if job["state"] == "done":
            assert studio.result(number).shape == (48, 64, 3)
        else:
            assert job["error"]
    known = {f"{number}.png" for number in jobs}
    orphans = [file.name for file in (studio.data / "results").iterdir() if file.name not in known]
    assert len(studio.json("GET", "/jobs?limit=200")["jobs"]) == len(jobs)
    return [
        ("kills: server, a worker", f"{killed['server']}, {killed['worker']}"),
        ("jobs accepted", str(len(jobs))),
        ("jobs at the end", ", ".join(f"{count} {state}" for state, count in states.items())),
        ("files that belong to no job", str(len([name for name in orphans if ".impasto-lock" not in name]))),
        ("restart until the address is printed", f"{statistics.median(restarts):.1f} s (median)"),
    ]


def hostile(studio: Studio, count: int) -> Rows:
    """Bombs, cut files, wrong types, polyglots, odd names. Each is answered by 4xx in one sentence, or read; the processes live on."""
    before = {process.pid for process in studio.workers()}
    answers, slowest = Counter[int](), 0.0
    for name, data in hostile_files(count):
        started = time.monotonic()
        answer = studio.client.post("/api/images", files={"file": (name, data)})
        slowest = max(slowest, time.monotonic() - started)
        answers[answer.status_code] += 1
        if answer.status_code == 429:
            time.sleep(1)
        elif answer.is_success:
            studio.client.delete(f"/api/images/{answer.json()['id']}")
        else:
            assert 400 <= answer.status_code < 500, answer.text
            assert answer.json()["error"].endswith((".", "!")), answer.text
            assert "\n" not in answer.json()["error"], answer.text
    alive = {process.pid for process in studio.workers()}
    assert "Traceback" not in studio.logged(), studio.logged()[-3000:]
    return [
        ("files", f"{count:,}"),
        ("answers", ", ".join(f"{number:,} x {code}" for code, number in sorted(answers.items()))),
        ("slowest", f"{slowest:.1f} s"),
        ("processes that died", str(len(before - alive))),
    ]


def hostile_files(count: int) -> Iterator[tuple[str, bytes]]:
    """(name, data) of files that are wrong in many ways, the same every time."""
    chance = random.Random(SEED)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    good = {}
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000", "ICO", "TGA"):
        buffer = io.BytesIO()
        image.save(buffer, kind)
        good[kind] = buffer.getvalue()
    names = (
        "a.png",
        "../../etc/passwd",
        "a\0b.png",
        "x" * 3000,
        "\x1b[2J.png",
        "<img src=x onerror=alert(1)>.png",
        "CON",
        ".",
        "",
    )
    for number in range(count):
        kind = chance.choice(sorted(good))
        data = bytearray(good[kind])
        match number % 6:
            case 0:
                data = data[: chance.randrange(len(data))]
            case 1:
                for _ in range(chance.randint(1, 20)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
            case 2:
                data = bytearray(_bomb(chance))
            case 3:
                data = bytearray(chance.randbytes(chance.randint(1, 4000)))
            case 4:
                data = (
                    bytearray(
                        chance.choice((b"<svg onload=alert(1)>", b"<html>", b"%PDF-1.7", b"PK\3\4", b"MZ", b"#!/bin/sh\n"))
                    )
                    + data
                )
            case 5:
                data = data + b"<script>alert(1)</script>" + chance.randbytes(200)
        yield chance.choice(names) or "n", bytes(data)


def _bomb(chance: random.Random) -> bytes:
    side = chance.choice((20_000, 60_000, 2**31 - 1))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(chance.randint(1, 5_000_000)))),
        (b"IEND", b""),
    )
    chunks = (struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def dials(studio: Studio, moves: int) -> Rows:
    """A dial that is moved: the time from each move to its picture of 512 pixels."""
    photo = studio.upload((ROOT / "impasto" / "assets" / "chelsea.jpg").read_bytes(), "chelsea.jpg")["id"]
    times = []
    for number in range(moves + 1):
        body = {"photo": photo, "styles": [{"id": "udnie"}], "options": {"size": 512, "strength": 0.2 + 0.6 * number / moves}}
        started = time.monotonic()
        answer = studio.client.post("/api/instant", json=body)
        assert answer.status_code == 200, answer.text
        times.append(time.monotonic() - started)
    first, *others = times
    return [
        ("the first picture, with loading", f"{first:.2f} s"),
        (f"{moves} moves: median, slowest", f"{statistics.median(others):.2f} s, {max(others):.2f} s"),
    ]


TRIALS: dict[str, tuple[str, Callable[..., Rows]]] = {
    "load": ("Load", lambda studio, asked: load(studio, asked.clients, asked.uploads)),
    "kill": ("Kills", lambda studio, asked: kill(studio, asked.times)),
    "hostile": ("Hostile uploads", lambda studio, asked: hostile(studio, asked.files)),
    "dials": ("Dials", lambda studio, asked: dials(studio, 10)),
}


def main() -> None:
    """Run a trial and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", choices=TRIALS)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--uploads", type=int, default=500)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--write", type=Path, help="also put the table into this page")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder) / "data", threads="")
        try:
            rows = TRIALS[asked.trial][1](studio, asked)
        finally:
            studio.stop()
    head = f"| {TRIALS[asked.trial][0]} | {processor()}, {psutil.cpu_count()} cores |\n|---|---|"
    table = "\n".join([head, *(f"| {name} | {value} |" for name, value in rows)])
    print(table)
    if asked.write:
        write_between(asked.write, asked.trial, table)


if __name__ == "__main__":
    main()
