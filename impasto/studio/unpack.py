"""A zip of photographs, unpacked: by the previewer, as whatever a client sent.

Files are named by number, so that no name in a zip becomes a path. Which of them can be read is found out when they are painted.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from impasto import files
from impasto.batches.sources import IMAGES, left_out
from impasto.errors import PictureError
from impasto.studio.folders import NAMES
from impasto.studio.words import sentence

MOST_FILES = 10_000  # entries of a zip
MOST_LISTED = 4_000_000  # bytes of a zip's table of contents, which is read into memory
MOST_TIMES = 100  # its own size, to which a zip may unpack, above SMALL
SMALL = 50_000_000
LONGEST = 200  # bytes of a name, and characters of a path
BLOCK = 1 << 20


def unpack(archive: Path, target: Path, most: int) -> dict[str, Any]:
    """Unpack the photographs of a zip into a new folder. most: bytes that they may have.

    Returns how many they are, and notes. Raises PictureError, and then nothing is left.
    """
    try:
        with archive.open("rb") as file, zipfile.ZipFile(cast("IO[bytes]", _Bounded(file))) as opened:
            taken, notes = _chosen(opened.infolist())
            _check_size([info for info, _ in taken], archive.stat().st_size, most)
            _write(opened, taken, target)
    except PictureError:
        shutil.rmtree(target, ignore_errors=True)
        raise
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        struct.error,
        ValueError,
        OSError,
        MemoryError,
    ) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise PictureError(f"this zip cannot be unpacked: {_why(error)}") from error
    return {"photos": len(taken), "notes": notes}


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "a file name in it cannot be decoded"
    if isinstance(error, OSError) and error.strerror:
        return files.reason(error)
    if isinstance(error, zipfile.BadZipFile) and "not a zip file" in str(error):
        return "it is not a zip file, or it is incomplete"
    return files.one_line(str(error)) or "it is damaged"


class _Bounded:
    """A file that gives no more than MOST_LISTED bytes at once, which is how zipfile reads the table of contents."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        """As a file's. Raises PictureError for more."""
        if count > MOST_LISTED:
            raise PictureError(f"this zip has more than {MOST_FILES:,} files or very long names; split it into several zips")
        data = self._file.read(MOST_LISTED + 1 if count < 0 else count)
        return data if len(data) <= MOST_LISTED else self.read(len(data))


def _chosen(entries: list[zipfile.ZipInfo]) -> tuple[list[tuple[zipfile.ZipInfo, str]], list[str]]:
    """(entry, name) of the photographs, and notes on what is left out. Raises PictureError."""
    if len(entries) > MOST_FILES:
        raise PictureError(f"this zip has more than {MOST_FILES:,} files; split it into several zips")
    taken, others, known = list[tuple[zipfile.ZipInfo, str]](), list[str](), dict[str, str]()
    for info in entries:
        if info.is_dir():
            continue
        name = _name(info)
        parts = PurePosixPath(name).parts
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        if not _is_file(info) or PurePosixPath(name).suffix.lower() not in IMAGES:
            others.append(name)
            continue
        if info.flag_bits & 1:
            raise PictureError(f"the file {files.one_line(name)} in this zip is encrypted; make one without a password")
        other = known.get(name.casefold())
        if other is not None:
            raise PictureError(f"this zip has two files of one name, {files.one_line(other)} and {files.one_line(name)}")
        known[name.casefold()] = name
        taken.append((info, name))
    if not taken:
        more = f"; {left_out(others)}" if others else ""
        raise PictureError(f"there are no photographs in this zip{more}")
    taken.sort(key=lambda one: one[1])
    return taken, [sentence(left_out(others))] if others else []


def _is_file(info: zipfile.ZipInfo) -> bool:
    """Whether an entry is a file, and no link or device of a Unix."""
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0
    return kind in (0, stat.S_IFREG)


def _name(info: zipfile.ZipInfo) -> str:
    """An entry's path with slashes. Raises PictureError for one that leads out of the zip, or is too long."""
    text = info.filename
    if not info.flag_bits & 0x800:  # zipfile takes it for the code page of DOS; most programs write UTF-8 all the same
        with contextlib.suppress(UnicodeEncodeError, UnicodeDecodeError):
            text = text.encode("cp437").decode("utf-8")
    text = unicodedata.normalize("NFC", text.replace("\\", "/"))
    text = "".join(one if one.isprintable() and one not in ':*?"<>|' else "_" for one in text)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or text.startswith("/"):
        raise PictureError(f"the file {files.one_line(text)} in this zip leads out of it")
    path = "/".join(parts)
    if len(path) > LONGEST or any(len(part.encode("utf-8", "replace")) > LONGEST for part in parts):
        raise PictureError(f"a name in this zip is too long: {files.one_line(path[:80])}...")
    return path


def _check_size(entries: list[zipfile.ZipInfo], own: int, most: int) -> None:
    """Raise PictureError for a zip that unpacks to too much. zipfile reads no more of an entry than it says here."""
    total = sum(info.file_size for info in entries)
    if total > max(SMALL, own * MOST_TIMES):
        raise PictureError(f"this zip would unpack to {total / max(own, 1):,.0f} times its size, which photographs do not")
    if total > most:
        raise PictureError(f"this zip would unpack to {total / 1e6:,.0f} MB; at most {most / 1e6:,.0f} MB are taken at once")


def _write(opened: zipfile.ZipFile, taken: list[tuple[zipfile.ZipInfo, str]], target: Path) -> None:
    target.mkdir(mode=0o700)
    named = list[tuple[str, str]]()
    for number, (info, name) in enumerate(taken, 1):
        file = f"{number:06}{PurePosixPath(name).suffix.lower()}"
        try:
            with opened.open(info) as source, (target / file).open("xb") as copy:
                shutil.copyfileobj(source, copy, BLOCK)
        except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError) as error:
            why = "is packed in a way that is not supported" if isinstance(error, NotImplementedError) else "is damaged"
            raise PictureError(f"the file {files.one_line(name)} in this zip {why}") from error
        named.append((file, name))
    (target / NAMES).write_text(json.dumps(named), encoding="utf-8")
