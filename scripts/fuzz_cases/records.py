"""JSON in files: the headers and cards of safetensors files, the settings in images. Changed values, lengths that stay right."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from typing import Any

from fuzz_cases import Random

CARDS = ("impasto style", "impasto state", "impasto instant network")
SMALL_ONLY = ("size", "iterations", "init_size", "preview", "init-size")  # numbers that decide how long a run takes
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"), -float("inf")),
    *(2**31, 2**53, 2**63, 2**64, 10**400, -(2**63)),
    *(
        "",
        "a",
        "\0",
        "\n",
        "x" * 5000,
        "é",
        "\ud800",
        "../x.png",
        "..",
        ".",
        "/dev/null",
        "photo.png",
        "nan",
        "\x1b[31m",
        "\u202e",
    ),
    *("auto", "cuda", "vgg19", "gatys", "instant", "keep", "original", "relu1_1"),
    *([], {}, [[]], [None], ["a", "b"], {"a": 1}, [0] * 300, [1, 2, 3], {"": ""}, [1.5, float("nan")]),
)
SMALL_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    1,
    2,
    -1,
    16,
    33,
    1.5,
    float("nan"),
    10**10,
    10**30,
    "",
    "12",
    "original",
    [],
    {},
)


def split(data: bytes) -> tuple[bytes, bytes]:
    """The header and the tensors of a safetensors file. Raises ValueError."""
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= len(data) - 8:
        raise ValueError("no header")
    return data[8 : 8 + length], data[8 + length :]


def joined(header: bytes, rest: bytes) -> bytes:
    """A safetensors file."""
    return struct.pack("<Q", len(header)) + header + rest


def sealed(data: bytes) -> bytes:
    """A saved state with right checksums; other bytes as they are."""
    try:
        header, rest = split(data)
        entries = json.loads(header)
        tensors = {name: entry["data_offsets"] for name, entry in entries.items() if name != "__metadata__"}
        start, end = tensors.pop("sums")
        order = sorted(tensors.values())
        sums = [zlib.crc32(data[: 8 + len(header)]), *(zlib.crc32(rest[first:last]) for first, last in order)]
        packed = struct.pack(f"<{len(sums)}q", *sums)
        fits = end - start == len(packed)
    except Exception:  # not a state, or one whose header is no longer what it was
        return data
    return data[: 8 + len(header)] + rest[:start] + packed + rest[end:] if fits else data


def change_header(header: bytes, rng: Random) -> tuple[bytes, str]:
    """Change the JSON of a header: the card in it, or the entries of tensors, or its text."""
    try:
        entries = json.loads(header)
        card = next((name for name in CARDS if name in entries.get("__metadata__", {})), None)
    except (ValueError, AttributeError, RecursionError):
        card, entries = None, None
    if entries is None or rng.random() < 0.1:
        text, what = change_text(header, rng)
        return text, f"header: {what}"
    if card and rng.random() < 0.7:
        entries["__metadata__"][card], what = changed(entries["__metadata__"][card], rng)
        return _dumped(entries), f"card: {what}"
    entries, what = change_value(entries, rng)
    return _dumped(entries), f"header: {what}"


def changed(text: str, rng: Random) -> tuple[str, str]:
    """Some JSON with a changed value, or with changed characters."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if value is None or rng.random() < 0.1:
        new, what = change_text(text.encode("utf-8", "replace"), rng)
        return new.decode("utf-8", "replace"), what
    what = ""
    for _ in range(rng.choice((1, 1, 2))):
        value, one = change_value(value, rng)
        what += f"{'; ' if what else ''}{one}"
    return json.dumps(value), what


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def change_text(text: bytes, rng: Random) -> tuple[bytes, str]:
    """Change the characters of a JSON text."""
    new = rng.choice(
        (b"{", b"[" * 2000, b"}", b'"', b"\\", b"\\u0000", b"\\ud800", b"1e999", b"NaN", b"\xff", b"\0", b"", b"9" * 5000)
    )
    at, length = rng.randrange(len(text) + 1), rng.choice((0, 1, 10))
    return text[:at] + new + text[at + length :], f"{new[:12]!r} in the text at {at}"


def change_value(value: Any, rng: Random) -> tuple[Any, str]:
    """Change, remove, rename or repeat one value somewhere in a JSON value."""
    value = copy.deepcopy(value)
    if not isinstance(value, (dict, list)) or not value:
        new = rng.choice(VALUES)
        return new, f"{_short(value)} becomes {_short(new)}"
    parent, path = value, []
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key: Any = rng.choice(keys)
        path.append(str(key))
        child = parent[key]
        if not (isinstance(child, (dict, list)) and child and rng.random() < 0.75):
            break
        parent = child
    where, kind = ".".join(path), rng.random()
    if kind < 0.12:
        del parent[key]
        return value, f"{where} removed"
    if kind < 0.2:
        if isinstance(parent, list):
            parent.insert(key, parent[key])
        else:
            parent[rng.choice(("", "x", "__metadata__", key + " ", "\n", rng.choice(keys)))] = child
        return value, f"{where} repeated"
    new = _near(child, rng) if kind < 0.5 else rng.choice(SMALL_VALUES if key in SMALL_ONLY else VALUES)
    parent[key] = rng.choice(SMALL_VALUES) if key in SMALL_ONLY else new
    return value, f"{where}: {_short(child)} becomes {_short(parent[key])}"


def _near(value: Any, rng: Random) -> Any:
    """A value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, value * 2, 0, 2**31, 2**63, 10**20))
    if isinstance(value, float):
        return rng.choice((-value, value * 1e30, value / 1e30, 1e308, float("nan"), float("inf")))
    if isinstance(value, str):
        return rng.choice(
            (value[:-1], value + "x", value.upper(), f" {value}", value + "\0", value * 50, "F64", "I8", "U8", "BF16")
        )
    if isinstance(value, list):
        return rng.choice((value[:-1], [*value, *value], value[::-1], [value]))
    return [value]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:36]}..."
