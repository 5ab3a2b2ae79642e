"""Download one file of known size and digest. An interrupted download is resumed. Nothing here depends on what the file is for."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from impasto import files
from impasto.errors import DownloadError, SaveError

Progress = Callable[[int, int], None]

TIMEOUT = 30.0  # seconds without a byte


def download(url: str, part: Path, *, size: int, digest: str, progress: Progress | None, timeout: float) -> None:
    """Complete the partial file `part` and verify it.

    size: of the whole file in bytes. digest: "sha256:..." or "md5:...". progress: called with the bytes received so far and `size`.
    timeout: seconds without a byte. Processes may share `part`: they write the same bytes at the same offsets and truncate nothing.
    Raises DownloadError or SaveError. Afterwards `part` can be resumed, unless its content was wrong: then it has been removed.
    """
    try:
        _complete(url, part, size, progress or (lambda done, total: None), timeout)
        _verify(part, digest)
    except DownloadError as error:
        raise DownloadError(f"could not download {url}: {files.one_line(error.problem)}") from error.__cause__
    except OSError as error:
        raise SaveError(f"cannot write {files.printable(part)}: {files.reason(error)}") from error


def _complete(url: str, part: Path, size: int, progress: Progress, timeout: float) -> None:
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    have = part.stat().st_size if part.exists() else 0
    progress(have, size)
    if have == size:
        return
    with _connected(timeout):
        answer = urllib.request.urlopen(_request(url, have), timeout=timeout)  # noqa: S310 (_request checks the scheme)
    with answer:
        done = _first_byte(answer, have, size)
        part.touch()
        with part.open("r+b") as stream:
            stream.seek(done)
            while done <= size:
                with _connected(timeout):
                    chunk = answer.read1(1 << 18)
                if not chunk:
                    break
                stream.write(chunk)
                done += len(chunk)
                progress(min(done, size), size)
    if done > size:
        part.unlink()
        raise DownloadError(f"the server sends more than the expected {size} bytes")
    if done < size:
        raise DownloadError(f"the connection broke after {done} of {size} bytes")


def _request(url: str, have: int) -> urllib.request.Request:
    if not url.startswith(("https://", "http://")):
        raise DownloadError("the address is neither http nor https")
    headers = {"User-Agent": "impasto", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    return urllib.request.Request(url, headers=headers)  # noqa: S310 (the scheme is checked)


def _first_byte(answer: http.client.HTTPResponse, have: int, size: int) -> int:
    """Return the offset of the body in the file. It is less than the `have` that was requested if the server ignores ranges."""
    start, total = 0, answer.headers.get("Content-Length")
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        stated = re.match(r"bytes (\d{1,15})-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        start, total = (int(stated[1]), stated[2]) if stated else (size, None)
    if total not in (None, "*", str(size)):
        raise DownloadError(f"the server offers {total} bytes, expected {size}")
    if start > have:
        raise DownloadError(f"the server does not send the part that was requested, which starts at byte {have}")
    return start


@contextlib.contextmanager
def _connected(timeout: float) -> Iterator[None]:
    """Turn every failure of the connection into a DownloadError that says why."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)  # URLError's
        reason = f"no answer for {timeout:g} s" if isinstance(cause, TimeoutError) else getattr(cause, "strerror", None)
        raise DownloadError(str(reason or cause or type(cause).__name__).lower()) from error


def _verify(part: Path, digest: str) -> None:
    """Remove `part` and raise DownloadError if its digest is another."""
    algorithm, _, expected = digest.partition(":")
    if algorithm == "sha256":
        found = files.digest(part)
    else:
        found = hashlib.new(algorithm, part.read_bytes(), usedforsecurity=False).hexdigest()
    if found != expected:
        part.unlink()
        raise DownloadError(f"the content is wrong: expected {digest}, found {algorithm}:{found}")
