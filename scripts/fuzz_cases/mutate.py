"""Mutations: of any bytes, and of files whose structure is known (`structure`). Each returns the bytes and says what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from fuzz_cases import Random, structure

Mutated: TypeAlias = tuple[bytes, str]
Mutation: TypeAlias = Callable[[bytes, Random], Mutated]

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
MOST_BYTES = 4_000_000  # of a mutated file


def _place(data: bytes, rng: Random) -> int:
    """A position: in half of all cases near the beginning, where headers are."""
    return rng.randrange(min(len(data), 160) if rng.random() < 0.5 else len(data))


def flip_bits(data: bytes, rng: Random) -> Mutated:
    """Flip one to eight bits."""
    changed = bytearray(data)
    places = [_place(data, rng) for _ in range(rng.choice((1, 1, 2, 8)))]
    for at in places:
        changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed), f"bits of bytes {places} flipped"


def replace_bytes(data: bytes, rng: Random) -> Mutated:
    """Replace a few bytes by random or extreme ones."""
    at, count = _place(data, rng), rng.choice((1, 2, 4, 8, 40))
    new = rng.choice((bytes(count), b"\xff" * count, rng.randbytes(count)))
    return data[:at] + new + data[at + count :], f"{count} bytes at {at} replaced by {new[:8].hex()}"


def extreme_number(data: bytes, rng: Random) -> Mutated:
    """Write an extreme number of 1, 2, 4 or 8 bytes, in either byte order."""
    width, order = rng.choice((1, 2, 4, 4, 8)), rng.choice(("little", "big"))
    number = rng.choice(EXTREMES) % 256**width
    at = _place(data, rng)
    at -= at % rng.choice((1, width))
    written = number.to_bytes(width, "little" if order == "little" else "big")
    return data[:at] + written + data[at + width :], f"{number:#x} in {width} bytes, {order}-endian, at {at}"


def truncate(data: bytes, rng: Random) -> Mutated:
    """Keep the beginning."""
    length = rng.choice(
        (rng.randrange(len(data)), max(0, len(data) - rng.randrange(1, 64)), rng.randrange(min(len(data), 200)))
    )
    return data[:length], f"cut to {length} bytes"


def insert(data: bytes, rng: Random) -> Mutated:
    """Insert or append random bytes."""
    at, new = rng.choice((_place(data, rng), len(data))), rng.randbytes(rng.choice((1, 3, 16, 500)))
    return data[:at] + new + data[at:], f"{len(new)} bytes inserted at {at}"


def repeat(data: bytes, rng: Random) -> Mutated:
    """Repeat a block."""
    at, length, times = _place(data, rng), rng.choice((1, 4, 30, 300)), rng.choice((1, 1, 2, 50))
    return data[:at] + data[at : at + length] * times + data[at:], f"{length} bytes at {at} repeated {times} times"


def remove(data: bytes, rng: Random) -> Mutated:
    """Remove a block."""
    at, length = _place(data, rng), rng.choice((1, 2, 4, 30, 300))
    return data[:at] + data[at + length :], f"{length} bytes at {at} removed"


PLAIN: tuple[Mutation, ...] = (flip_bits, replace_bytes, extreme_number, truncate, insert, repeat, remove)


def splice(data: bytes, other: bytes, rng: Random) -> Mutated:
    """The beginning of one file and the end of another, or a block of another inside."""
    at, place = _place(data, rng), _place(other, rng)
    if rng.random() < 0.5:
        return data[:at] + other[place:], f"from {at} the end of another file from {place}"
    length = rng.choice((4, 40, 400))
    return data[:at] + other[place : place + length] + data[at + length :], f"{length} bytes at {at} from another file"


def mutated(data: bytes, rng: Random, others: Sequence[bytes]) -> Mutated:
    """One to three mutations of a file; of one in twenty none."""
    if rng.random() < 0.05:
        return data, "as it is"
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data, what = _one(data or b"\0", rng, others)
        data = data[:MOST_BYTES]
        done.append(what)
    return data, "; ".join(done)


def _one(data: bytes, rng: Random, others: Sequence[bytes]) -> Mutated:
    kind = rng.random()
    if kind < 0.08:
        return splice(data, rng.choice(others), rng)
    if kind < (0.85 if data[8:9] == b"{" else 0.6) and (known := structure.of(data)):
        try:
            return rng.choice(known)(data, rng)
        except Exception:  # an earlier mutation broke the structure
            pass
    return rng.choice(PLAIN)(data, rng)
