"""A studio in processes of its own, as a user starts it, and a client for it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

PATIENCE = 600.0  # seconds: a busy machine is slow, and nothing here waits for longer than it must


class Studio:
    """A running studio. Its server can be killed and started again on the same data."""

    def __init__(self, data: Path, *arguments: str, threads: str = "1") -> None:
        """threads: that torch uses in each process; "" for its own choice."""
        self.data, self.arguments = data, arguments
        self.environment = {"PYTHONUNBUFFERED": "1", "IMPASTO_SAVE_EVERY": "0.5"} | (
            {"OMP_NUM_THREADS": threads} if threads else {}
        )
        self.process: subprocess.Popen[str]
        self.client: httpx.Client
        self.base = self.token = ""
        self.start()

    def start(self, port: int = 0) -> None:
        """Start the server, and wait until it has printed its address. port: 0 for a free one."""
        command = [sys.executable, "-m", "impasto", "studio", "--port", str(port), "--data", str(self.data), "--no-browser"]
        environment = os.environ | self.environment
        self.log = self.data.with_name(f"{self.data.name}.log").open("a")
        self.process = subprocess.Popen(
            [*command, *self.arguments], stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = re.search(r"(http://[^/]+)/#token=(\S+)", line)
        assert found, (line, self.logged())
        self.base, self.token = found[1], found[2]
        self.client = httpx.Client(base_url=self.base, headers={"authorization": f"Bearer {self.token}"}, timeout=PATIENCE)

    def logged(self) -> str:
        """What the server and its processes wrote on standard error."""
        return Path(self.log.name).read_text()

    def workers(self) -> list[psutil.Process]:
        """The painters and the previewer."""
        behind = psutil.Process(self.process.pid).children(recursive=True)
        return [one for one in behind if _is_worker(one)]

    def kill(self) -> None:
        """End the server as a power cut does, and wait until its processes have noticed."""
        behind = self.workers()
        self.process.send_signal(signal.SIGKILL)
        self._close()
        psutil.wait_procs(behind, timeout=PATIENCE)

    def stop(self) -> int:
        """Ctrl-C. Returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self._close()

    def _close(self) -> int:
        self.client.close()
        code = self.process.wait(timeout=PATIENCE)
        assert self.process.stdout
        self.process.stdout.close()
        self.log.close()
        return code

    # ---------------------------------------------------------------------------------------------------------- requests

    def json(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The answer to a request of the API."""
        answer = self.client.request(method, f"/api{path}", **options)
        assert answer.status_code == status, (answer.status_code, answer.text, self.logged()[-2000:])
        return answer.json() if answer.content else None

    def upload(self, data: bytes, name: str = "photo.png", to: str = "/images", status: int = 201) -> Any:
        """Upload a file."""
        return self.json("POST", to, status, files={"file": (name, data)})

    def add(self, photo: str, *styles: str, kind: str = "paint", status: int = 202, **options: Any) -> Any:
        """Queue a job."""
        body = {"kind": kind, "photo": photo, "styles": [{"id": style} for style in styles], "options": options}
        return self.json("POST", "/jobs", status, json=body)

    def until(self, number: str, is_so: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait for something about a job."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            job: dict[str, Any] = self.json("GET", f"/jobs/{number}")
            if is_so(job):
                return job
            if job["state"] in ("failed", "held"):
                break  # it will not change any more
            time.sleep(0.1)
        raise AssertionError((job, self.logged()[-3000:]))

    def finished(self, number: str) -> dict[str, Any]:
        """Wait for the end of a job."""
        return self.until(number, lambda job: job["state"] in ("done", "cancelled"))

    def result(self, number: str) -> np.ndarray:
        """The pixels of a result."""
        answer = self.client.get(f"/api/jobs/{number}/result")
        assert answer.status_code == 200, answer.text
        return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))

    @contextlib.contextmanager
    def events(self, after: str = "") -> Iterator[Iterator[tuple[str, str, Any]]]:
        """(id, name, data) of server-sent events."""
        headers = {"last-event-id": after} if after else {}
        with self.client.stream("GET", "/api/events", headers=headers) as stream:
            yield _parsed(stream.iter_lines())


def _is_worker(process: psutil.Process) -> bool:
    """Whether a process is a painter or the previewer, and not multiprocessing's own."""
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.Error:  # it has just died
        return False


def _parsed(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if fields.get("event", "ping") != "ping":
                yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


def png(*size: int, seed: int = 0, mode: str = "RGB") -> bytes:
    """A picture of soft colored blobs."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode).save(data, "PNG")
    return data.getvalue()


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    """A zip of files."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return data.getvalue()
