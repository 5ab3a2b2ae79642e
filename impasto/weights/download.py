"""Fetching weights: a partial file beside the target, resumed, checked, converted, renamed. Nothing unchecked is ever used."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import DownloadError, MissingWeightsError, SaveError
from impasto.weights.store import entry_path, locked, missing, require_complete, save
from impasto.weights.table import Entry, lookup

Progress = Callable[[int, int], None]

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""

_CHUNK = 1 << 18


@dataclass(frozen=True)
class _Job:
    """What is to be brought, from where, and the partial file it grows in."""

    entry: Entry
    url: str
    part: Path
    progress: Progress
    timeout: float

    def failed(self, reason: str) -> DownloadError:
        """Return the error that says what went wrong, and the other way to get the weights."""
        return DownloadError(
            f"could not download {self.entry.title}'s weights from {self.url}: {reason}. "
            f"With a file fetched by other means: `impasto weights import {self.entry.file}`"
        )


@dataclass(frozen=True)
class _Answer:
    """A server's answer: its body begins at byte `start` of a file of `total` bytes, if it says how many."""

    body: http.client.HTTPResponse
    start: int
    total: int | None


def fetch(name: str | Entry, *, progress: Progress | None = None, url: str | None = None, timeout: float = TIMEOUT) -> Path:
    """Download weights unless they are here already, and return their converted file.

    name: a name from the table, or an Entry of your own; progress: called with bytes so far and bytes in all, both of the
    original file; url: another address with the same file; timeout: seconds without a byte. A download that broke off goes on
    where it stopped. A second process that fetches the same weights waits for the first and finds them done.
    Raises DownloadError (no connection, or not the bytes the table promises), MissingWeightsError if $IMPASTO_OFFLINE is set
    (to anything but 0), SaveError or UnknownNameError.
    """
    entry = name if isinstance(name, Entry) else lookup(name)
    target = entry_path(entry)
    if target.is_file() or entry.url is None:
        return target
    if os.environ.get("IMPASTO_OFFLINE", "0") not in ("", "0"):
        raise MissingWeightsError(f"{missing(entry)}; IMPASTO_OFFLINE is set, so nothing is downloaded")
    job = _Job(entry, url or entry.url, target.parent / f"{entry.file}.part", progress or _silent, timeout)
    with locked(entry):
        if not target.is_file():  # the process that held the lock may have brought it
            _download(job)
            _verify(job)
            _convert(job, target)
    return target


def _silent(done: int, total: int) -> None:
    """Report nothing."""


def _download(job: _Job) -> None:
    """Bring the partial file to its full size, going on from what is there."""
    size = job.entry.bytes
    have = job.part.stat().st_size if job.part.exists() else 0
    if have > size:
        have = 0
    job.progress(have, size)
    if have == size:
        return
    answer = _ask(job, have)
    with answer.body:
        if answer.total not in (None, size):
            raise job.failed(f"it offers {answer.total} bytes, expected {size}")
        done = _receive(job, answer)
    if done > size:
        job.part.unlink()
        raise job.failed(f"it sends more than the {size} bytes expected")
    if done < size:
        raise job.failed(f"the connection broke after {done} of {size} bytes; run it again to go on from there")


def _ask(job: _Job, have: int) -> _Answer:
    """Request the file from byte `have` on. A server may answer with all of it, or refuse the range: then from the start."""
    headers = {"User-Agent": "impasto", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    if not job.url.startswith(("https://", "http://")):
        raise job.failed("the address is neither http nor https")
    try:
        request = urllib.request.Request(job.url, headers=headers)  # noqa: S310 (the scheme is checked)
        body = urllib.request.urlopen(request, timeout=job.timeout)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return _ask(job, 0)
        raise job.failed(f"the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise job.failed(_reason(error, job.timeout)) from error
    start, total = _extent(body)
    if start > have:
        body.close()
        raise job.failed(f"it sends the file from byte {start} on, asked for from {have}")
    return _Answer(body, start, total)


def _extent(body: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Return where in the file the body begins, and how large the server says the file is."""
    if body.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = re.match(r"bytes (\d+)-\d+/(\d+)?", body.headers.get("Content-Range", ""))
        if match:
            return int(match[1]), int(match[2]) if match[2] else None
    length = body.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _receive(job: _Job, answer: _Answer) -> int:
    """Write the body into the partial file from `answer.start` on and return the size reached; stop if it is too large."""
    done = answer.start
    try:
        with job.part.open("r+b" if job.part.exists() else "wb") as stream:
            stream.truncate(done)
            stream.seek(done)
            while done <= job.entry.bytes and (chunk := _read(job, answer.body)):
                stream.write(chunk)
                done += len(chunk)
                job.progress(min(done, job.entry.bytes), job.entry.bytes)
    except OSError as error:
        raise SaveError(f"cannot write {job.part}: {error.strerror or error}") from error
    return done


def _read(job: _Job, body: http.client.HTTPResponse) -> bytes:
    try:
        return body.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise job.failed(f"{_reason(error, job.timeout)}; run it again to go on from there") from error


def _reason(error: BaseException, timeout: float) -> str:
    cause = getattr(error, "reason", error)
    if isinstance(cause, TimeoutError):
        return f"no answer for {timeout:g} s"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


def _verify(job: _Job) -> None:
    """Compare the digest. Raises DownloadError and removes what was downloaded."""
    algorithm, _, expected = job.entry.digest.partition(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with job.part.open("rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        job.part.unlink()
        raise job.failed(f"the bytes are wrong: expected {job.entry.digest}, found {algorithm}:{digest.hexdigest()}")


def _convert(job: _Job, target: Path) -> None:
    from impasto.weights.formats import read_file

    weights = read_file(job.part, network=job.entry.network)
    require_complete(weights, job.part)
    save(weights, target, job.entry)
    job.part.unlink()
