"""Whether an item's result is there already: whole, and made from these inputs with these options."""

from __future__ import annotations

import enum
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from PIL import Image

from impasto import pictures
from impasto.batches.events import Made
from impasto.errors import ImpastoError
from impasto.jobs import records
from impasto.jobs.records import HARDLY_CHANGES, Record
from impasto.options import Options
from impasto.pictures.png import SIGNATURE


class Verdict(enum.Enum):
    """What is at an item's output. FOREIGN: a file that impasto did not make, or without a record."""

    DONE = "done"
    CHANGED = "changed"
    DAMAGED = "damaged"
    FOREIGN = "foreign"


def verdict(data: bytes, options: Options, hashes: Mapping[str, str], *, keep_exif: bool, depth: int) -> Verdict:
    """What a file is to an item. options: as the item would store them; hashes: {role: SHA-256} of its inputs."""
    try:
        settings = pictures.read_settings(data)
        if settings is None:
            return Verdict.FOREIGN
        record = records.record_of(settings, "image")
    except ImpastoError:
        return Verdict.FOREIGN
    if not matches(settings, record, options, hashes, keep_exif=keep_exif, depth=depth):
        return Verdict.CHANGED
    return Verdict.DONE if is_whole(data) else Verdict.DAMAGED


def matches(
    settings: Mapping[str, Any], record: Record, options: Options, hashes: Mapping[str, str], *, keep_exif: bool, depth: int
) -> bool:
    """Whether a finished image was made from these inputs with these options."""
    made = {role: one.sha256 for role, one in record.inputs.items()}
    if record.done < 1 or made != dict(hashes) or (record.keep_exif, record.depth) != (keep_exif, depth):
        return False
    wanted = records.settings(options)
    return all(settings.get(name) == value for name, value in wanted.items() if name not in HARDLY_CHANGES)


def verdict_unmarked(data: bytes, wanted: str, made: Made | None) -> Verdict:
    """What a file is to an item whose results store no metadata. wanted: from `digest`; made: what is known of the item's result."""
    if made is None:
        return Verdict.CHANGED if _is_ours(data) else Verdict.FOREIGN
    if hashlib.sha256(data).hexdigest() == made.sha256:
        return Verdict.DONE if made.of == wanted else Verdict.CHANGED
    return Verdict.FOREIGN if made.sha256 and not made.open and is_whole(data) and not _is_ours(data) else Verdict.DAMAGED


def digest(options: Options, hashes: Mapping[str, str], depth: int) -> str:
    """A digest of what an image without metadata is made from, and how."""
    kept = {name: value for name, value in records.settings(options).items() if name not in HARDLY_CHANGES}
    return hashlib.sha256(json.dumps([kept, dict(hashes), depth], sort_keys=True).encode()).hexdigest()


def _is_ours(data: bytes) -> bool:
    try:
        return pictures.read_settings(data) is not None
    except ImpastoError:
        return False


def is_whole(data: bytes) -> bool:
    """Whether an image file has all its bytes, undamaged. A PNG has checksums; others are decoded."""
    if data.startswith(SIGNATURE):
        return _is_whole_png(memoryview(data))
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception:  # decoders raise nearly anything when fed damaged files
        return False
    return True


def _is_whole_png(data: memoryview) -> bool:
    at, kind = len(SIGNATURE), b""
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        kind = bytes(data[at + 4 : at + 8])
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            return False
        at = end + 4
    return kind == b"IEND" and at == len(data)
