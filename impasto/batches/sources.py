"""Photographs and styles from words: files, folders, patterns, addresses, and names of built-in styles."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from impasto import files, inputs
from impasto.batches import places
from impasto.errors import PictureError
from impasto.inputs import STYLE_SUFFIX

READ = (
    *(
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".tif",
        ".tiff",
        ".gif",
        ".bmp",
        ".dib",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ),
    *(
        ".jp2",
        ".j2k",
        ".jpf",
        ".jpx",
        ".avif",
        ".heic",
        ".heif",
        ".jxl",
        ".ico",
        ".icns",
        ".psd",
        ".pcx",
        ".sgi",
        ".qoi",
        ".dds",
    ),
    ".tga",
)
# Images that are refused with a reason, which is better than to leave them out.
REFUSED = (
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".exr", ".hdr", ".psb", ".xcf", ".svg"),
    *(".pam", ".pfm", ".jxr", ".bpg", ".flif", ".fits", ".xpm"),
)
IMAGES = frozenset((*READ, *REFUSED))
MAGIC = "*?["


@dataclass(frozen=True)
class Source:
    """A photograph or a style. place: its file, its address, or the name of a built-in style.

    key: its path within the folder that was named, with slashes. Pairs are drawn by it and results are named after it, so that both
    are the same wherever the folder is.
    """

    place: str
    key: str

    @property
    def stem(self) -> str:
        """Its name without folders and suffix."""
        return PurePosixPath(self.key).stem

    @property
    def kind(self) -> str:
        """Its suffix without the dot, in lower case."""
        return PurePosixPath(self.key).suffix.removeprefix(".").lower()


@dataclass(frozen=True)
class Found:
    """sources: sorted by key within each word, each once. notes: about files that were left out."""

    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()


def key_of(path: str) -> str:
    """A path within a folder as a key: with slashes, and with accents as one character, as file systems differ in both."""
    return unicodedata.normalize("NFC", path.replace(os.sep, "/"))


def find(words: Iterable[str], *, styles: bool = False, leave_out: str = "") -> Found:
    """The photographs, or the styles, that words name. leave_out: a folder whose files are results, not photographs.

    A folder is searched with its sub-folders, for files with a suffix of images. Of several folders, each keeps its name in the keys.
    Raises PictureError for a word that names nothing, and UnknownNameError for what is nearly the name of a style.
    """
    words = [places.plain(word) for word in words]
    several = sum(is_folder(word) for word in words) > 1
    sources, notes = dict[str, Source](), list[str]()
    for word in words:
        found, others = _of_word(word, styles=styles, leave_out=leave_out)
        if not found:
            what = "styles" if styles else "photographs"
            more = f"; {left_out(others)}" if others else ""
            raise PictureError(f"{files.printable(word)}: there are no {what} in it{more}")
        prefix = f"{PurePosixPath(key_of(word).rstrip('/')).name}/" if several and is_folder(word) else ""
        for place, path in sorted(found, key=lambda one: key_of(one[1])):
            sources.setdefault(place, Source(place, key_of(prefix + path)))
        if others:
            notes.append(f"{files.printable(word)}: {left_out(others)}")
    return Found(tuple(sources.values()), tuple(notes))


def is_folder(word: str) -> bool:
    """Whether a word names a folder, of this machine or at an address."""
    if places.is_address(word):
        return not PurePosixPath(word).suffix and not _is_pattern(word)
    return Path(word).is_dir()


def _is_pattern(word: str) -> bool:
    return any(character in word for character in MAGIC) and not os.path.lexists(word)


def left_out(others: Sequence[str]) -> str:
    """A note about files that are no images by their suffix."""
    count, verb = ("1 file", "is") if len(others) == 1 else (f"{len(others)} files", "are")
    return f"{count} without the suffix of an image {verb} left out, such as {files.printable(min(others))}"


def _of_word(word: str, *, styles: bool, leave_out: str) -> tuple[list[tuple[str, str]], list[str]]:
    """(place, path within the folder) of what a word names, and the files that are left out."""
    if places.is_address(word):
        return _split(places.listed(word), styles=styles, named=bool(PurePosixPath(word).suffix))
    path = Path(word)
    try:
        if path.is_dir():
            return _split(_walked(path, leave_out), styles=styles, named=False)
        if not os.path.lexists(path) and _is_pattern(word):
            return _split(_matching(word, leave_out), styles=styles, named=True)
    except (OSError, ValueError) as error:
        raise PictureError(f"{files.printable(word)}: {files.reason(error)}") from error
    if styles and not files.is_file(word) and inputs.style_file(word) is not None:
        return [(word, word)], []  # a built-in style; what is nearly the name of one is refused
    if not os.path.lexists(path):
        raise PictureError(f"{files.printable(word)}: no such file or folder")
    return [(word, path.name)], []


def _split(found: Iterable[tuple[str, str]], *, styles: bool, named: bool) -> tuple[list[tuple[str, str]], list[str]]:
    """Those that are images by name, or that were named by the user, and the others. Hidden files are neither."""
    kept, others = list[tuple[str, str]](), list[str]()
    for place, path in found:
        if any(part.startswith(".") for part in PurePosixPath(key_of(path)).parts):
            continue
        suffix = PurePosixPath(path).suffix.lower()
        if named or suffix in IMAGES or (styles and suffix == STYLE_SUFFIX):
            kept.append((place, path))
        else:
            others.append(path)
    return kept, others


def _walked(folder: Path, leave_out: str) -> Iterator[tuple[str, str]]:
    """Every file below a folder, each once, whatever its links lead to."""
    seen, out = set[tuple[int, int]](), os.path.realpath(leave_out) if leave_out else ""
    for place, folders, names in os.walk(folder, followlinks=True):
        found = Path(place).stat()
        if (found.st_dev, found.st_ino) in seen or (out and os.path.realpath(place) == out):
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        folders.sort()
        for name in names:
            file = Path(place, name)
            yield str(file), str(file.relative_to(folder))


def _matching(pattern: str, leave_out: str) -> Iterator[tuple[str, str]]:
    """The files that a pattern matches, with their paths below its last folder without a wildcard."""
    parts = Path(pattern).parts
    first = next(number for number, part in enumerate(parts) if any(character in part for character in MAGIC))
    fixed = Path(*parts[:first]) if first else Path()
    out = os.path.realpath(leave_out) if leave_out else ""
    found = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207  (of Path, only 3.13 follows "**" to links)
    for file in found:
        if file.is_file() and not (out and os.path.realpath(file).startswith(f"{out}{os.sep}")):
            yield str(file), str(file.relative_to(fixed))
