"""What one file of vectors holds, and how values of the wire are written in JSON."""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypedDict

from mesh.core import codec

Json = dict[str, object]
MAX_JSON_INT = 2**53


class Family(TypedDict):
    """One file."""

    about: str
    cases: list[Json]
    invalid: list[Json]


def as_json(item: codec.Item) -> object:
    """Write an item so that its type can be told: {"bytes": hex}, {"int": text} where JSON's numbers end."""
    if isinstance(item, bytes):
        return {"bytes": item.hex()}
    if isinstance(item, list):
        return [as_json(child) for child in item]
    if isinstance(item, int) and abs(item) > MAX_JSON_INT:
        return {"int": str(item)}
    return item


def case(name: str, data: bytes, /, **inputs: object) -> Json:
    """One valid case."""
    return {"name": name, **inputs, "bytes": data.hex()}


def invalid(reason: str, data: bytes, /, **context: object) -> Json:
    """One case that must be refused."""
    return {"reason": reason, **context, "bytes": data.hex()}


def flipped(data: bytes, at: int) -> bytes:
    """Flip the lowest bit of one byte."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def fixed_random(label: str) -> Callable[[int], bytes]:
    """Stand for a random source: the n-th call gives the first bytes of SHA-256(label, n), repeated as needed."""
    calls = iter(range(1_000_000))

    def draw(size: int) -> bytes:
        number = next(calls)
        blocks = [hashlib.sha256(f"{label} {number} {at}".encode()).digest() for at in range(0, size, 32)]
        return b"".join(blocks)[:size]

    return draw


def varied(fields: list[codec.Item], changes: Iterable[tuple[str, int, codec.Item]]) -> list[tuple[str, bytes]]:
    """Encode an array once for each change of one field: (reason, place, value)."""
    made = []
    for reason, place, value in changes:
        changed = [*fields]
        changed[place] = value
        made.append((reason, codec.encode(changed)))
    return made
