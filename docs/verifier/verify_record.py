#!/usr/bin/env python3
"""Check the exported record of a Hearthmesh community: `verify_record.py FILE`.

Written from docs/record.md alone, without a line of Hearthmesh, so that nobody has to believe what Hearthmesh says of
itself.  Needs Python 3.11 or newer and the package `cryptography`.  Exit code: 0 it holds, 1 it does not, 2 usage.
"""

import base64
import hashlib
import sys
from collections import Counter
from typing import Any, BinaryIO, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HEADER, END_OF_ENTRIES = b"hearthmesh/record/1", b"checkpoint"
MAX_ENTRY, MAX_ENTRIES, MAX_NOTE, MAX_SIGNATURES, MAX_DEPS, MAX_DEPTH = 65536, 131_072, 131072, 512, 64, 16
ZEROS = bytes(32)


class RefusedError(Exception):
    """The file is not what its authors and signers signed."""


def refuse(what: str) -> NoReturn:
    """Stop with a reason."""
    raise RefusedError(what)


class Cbor:
    """A reader of deterministic CBOR: integers, bytes, text, arrays, true, false, null, each in its shortest form."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > len(self.data) - self.at:
            refuse("its CBOR is cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def item(self, depth: int = 0) -> Any:  # noqa: ANN401  whatever is written there
        """The next item."""
        first = self.take(1)[0]
        major, value = first >> 5, first & 31
        if major == 7 and value in (20, 21, 22):
            return {20: False, 21: True, 22: None}[value]
        if value > 27 or major in (5, 6, 7) or (major == 4 and depth == MAX_DEPTH):
            refuse("it is not in the CBOR of records")
        if value > 23:
            size = 1 << (value - 24)
            value = int.from_bytes(self.take(size), "big")
            if value < (24 if size == 1 else 1 << (4 * size)):
                refuse("it is not in the shortest CBOR")
        if major < 2:
            return value if major == 0 else -1 - value
        if major == 4:
            return [self.item(depth + 1) for _ in range(value)]
        return self.take(value) if major == 2 else self.take(value).decode()


def from_base64(text: bytes) -> bytes:
    """Bytes of base64 that is written in the one right way."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data) != text:
        refuse("its base64 is not the one right way to write it")
    return data


def holds(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature is by this key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def base32(raw: bytes) -> str:
    """Bytes as Hearthmesh writes ids."""
    return base64.b32encode(raw).decode().rstrip("=").lower()


def node_id(public: bytes) -> str:
    """A key as people see it."""
    return base32(hashlib.blake2b(public, digest_size=32).digest())


def are_bytes(*items: Any) -> bool:  # noqa: ANN401  as above
    """Whether all are byte strings of 32 bytes."""
    return all(isinstance(item, bytes) and len(item) == 32 for item in items)


class Record:
    """What is known after the entries so far."""

    def __init__(self) -> None:
        self.community = b""
        self.places: dict[bytes, tuple[bytes, int]] = {}  # by entry id: author, seq
        self.let_in: dict[bytes, str] = {}  # public key -> name
        self.full: list[tuple[int, bytes]] = []  # subtrees of the Merkle tree: number of leaves, root

    def add(self, raw: bytes) -> None:
        """Check one entry against all before it."""
        payload, signature = raw[:-64], raw[-64:]
        reader = Cbor(payload)
        fields = reader.item()
        if not isinstance(fields, list) or len(fields) != 9 or reader.at != len(payload):
            refuse("it is not an array of nine fields")
        version, community, author, seq, prev, deps, ts, kind, body = fields
        numbers = all(type(number) is int and number >= 0 for number in (version, seq, ts))
        lists = isinstance(deps, list) and len(deps) <= MAX_DEPS and isinstance(body, list)
        if not (numbers and lists and version == 1 and are_bytes(community, author, *deps) and isinstance(kind, str)):
            refuse("its fields are not those of an entry")
        if not holds(author, signature, b"hearthmesh/entry/1\0" + community + payload):
            refuse("its signature does not hold")
        if (seq == 0) != (prev is None) or not (prev is None or are_bytes(prev)):
            refuse("the first entry of an author, and only that, has no predecessor")
        if deps != sorted(set(deps)) or prev in deps:
            refuse("its deps are not in ascending order")
        entry_id = hashlib.sha256(payload).digest()
        self.community = self.community or entry_id
        if self.places:
            self.check_place(entry_id, kind, fields)
        elif kind != "genesis" or community != ZEROS or deps or prev is not None:
            refuse("the first entry is not a genesis")
        self.let_in_by(kind, body, author)
        self.places[entry_id] = (author, seq)
        self.grow(hashlib.sha256(b"\0" + payload).digest())

    def check_place(self, entry_id: bytes, kind: str, fields: list[Any]) -> None:
        """Check that an entry, which is not the first, goes on from what stands before it."""
        _, community, author, seq, prev, deps, *_ = fields
        parents = deps if prev is None else [prev, *deps]
        if kind == "genesis" or community != self.community:
            refuse("it belongs to another community")
        if author not in self.let_in:
            refuse("nobody before it let its author in")
        if entry_id in self.places:
            refuse("it stands here twice")
        if not parents or any(parent not in self.places for parent in parents):
            refuse("an entry that it follows does not stand before it")
        if prev is not None and self.places[prev] != (author, seq - 1):
            refuse("its predecessor is not its author's entry before")

    def let_in_by(self, kind: str, body: list[Any], author: bytes) -> None:
        """Note the key that an entry lets in."""
        shape = {"genesis": 6, "admit": 5, "rotate-key": 4, "recovery": 1}
        if kind in shape and (len(body) != shape[kind] or not are_bytes(*body[: kind == "recovery"])):
            refuse("its body is not one of its kind")
        if kind == "recovery":
            self.let_in[body[0]] = self.let_in[author]
        if kind == "recovery" or kind not in shape:
            return
        if kind == "rotate-key":
            body = [*body[1:], self.let_in[author]]
        key, static, signature, name = [author, *body[1:4]] if kind == "genesis" else body[:4]
        if not (are_bytes(key, static) and isinstance(signature, bytes) and isinstance(name, str)):
            refuse("its body is not one of its kind")
        stated = b"\x82\x58\x20" + key + b"\x58\x20" + static  # the CBOR of [key, static]
        if not holds(key, signature, b"hearthmesh/identity/1\0" + ZEROS + stated):
            refuse("the identity in it is not signed by its key")
        self.let_in[key] = "".join(character if character.isprintable() else "?" for character in name)

    def grow(self, leaf: bytes) -> None:
        """Append a leaf to the tree of RFC 6962; equal subtrees merge."""
        self.full.append((1, leaf))
        while len(self.full) > 1 and self.full[-1][0] == self.full[-2][0]:
            (size, left), (_, right) = self.full[-2:]
            self.full[-2:] = [(2 * size, hashlib.sha256(b"\1" + left + right).digest())]

    def root(self) -> bytes:
        """The root over all leaves."""
        node = self.full[-1][1] if self.full else refuse("checkpoint: there are no entries before it")
        for _, left in reversed(self.full[:-1]):
            node = hashlib.sha256(b"\1" + left + node).digest()
        return node

    def signers(self, note: bytes) -> list[bytes]:
        """Check the signed note, and say whose keys signed it."""
        name, root = f"hearthmesh/{base32(self.community)}", self.root()
        text, _, signed = note.partition(b"\n\n")
        *lines, end = signed.split(b"\n")
        if end or not 0 < len(lines) <= MAX_SIGNATURES:
            refuse("checkpoint: it has no signatures, too many, or something behind them")
        tree = f"\n{len(self.places)}\n{base64.b64encode(root).decode()}"
        if text not in (f"{name}{tree}".encode(), f"{name}/{base32(root)}{tree}".encode()):
            refuse("checkpoint: it is not of these entries: another community, number of entries, or root")
        found: list[bytes] = []
        hints = {key: hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4] for key in self.let_in}
        for line in lines:
            start = f"\N{EM DASH} {name} ".encode()
            data = from_base64(line[len(start) :])
            keys = [key for key, hint in hints.items() if hint == data[:4]]
            by = next((key for key in keys if holds(key, data[4:], text + b"\n")), None)
            if not line.startswith(start) or by is None or by in found:
                refuse("checkpoint: a signature that does not hold, repeats another, or is by nobody in the record")
            found.append(by)
        return found


def check(file: BinaryIO) -> tuple[Record, list[bytes]]:
    """Read a record from its beginning to its end; RefusedError names the entry at fault."""
    if file.readline(len(HEADER) + 1) != HEADER + b"\n":
        refuse("this is not the record of a community, or one of another version")
    record = Record()
    while (line := file.readline(MAX_ENTRY * 4 // 3 + 8)) != END_OF_ENTRIES + b"\n":
        raw = b""
        try:
            if not line.endswith(b"\n") or len(record.places) == MAX_ENTRIES:
                refuse("the file ends here, or is larger than any record")
            raw = from_base64(line[:-1])
            if not 64 < len(raw) <= MAX_ENTRY:
                refuse("it has no length of an entry")
            record.add(raw)
        except (RefusedError, ValueError) as error:
            named = f" ({hashlib.sha256(raw[:-64]).hexdigest()[:12]}, by {node_id(raw[38:70])[:8]})" if raw else ""
            refuse(f"entry {len(record.places)}{named}: {error}")
    try:
        return record, record.signers(file.read(MAX_NOTE + 1))
    except ValueError as error:  # base64
        refuse(f"checkpoint: {error}")


def main(arguments: list[str]) -> int:
    """Check the file that is named, and say what was checked."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: verify_record.py FILE", file=sys.stderr)
        return 2
    try:
        with open(arguments[0], "rb") as file:  # noqa: PTH123  short, and known to everybody
            record, signers = check(file)
    except (RefusedError, OSError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    authors = {author for author, _ in record.places.values()}
    print(f"The record holds: {len(record.places)} entries by {len(authors)} authors, tree {record.root().hex()}")
    print(f"community  {base32(record.community)}")
    for key in signers:
        print(f"signed by  {node_id(key)}  {record.let_in[key]}")
    for (author, seq), count in Counter(record.places.values()).items():
        if count > 1:
            print(f"fork       {node_id(author)}  signed {count} entries numbered {seq}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
