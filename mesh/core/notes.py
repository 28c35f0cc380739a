"""Signed notes and checkpoints, as https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint write them.

    note        text, an empty line, signature lines
    text        origin LF, number of leaves in decimal LF, root in base64 LF
    signature   "— ", key name, " ", base64 of key id(4), Ed25519 signature(64) over the text, LF
    key id      the first bytes of SHA-256(key name, LF, 0x01, public key)

The key name is the community's, `hearthmesh/ID`, whoever signs; the origin is that name too, or a path below it.  A
log must never sign two checkpoints of which neither goes on from the other.  So what is exported between two
checkpoints that the community decided on is a log of its own, named by its root (`snapshot_origin`), which never grows;
members who hold the same entries sign the same one.

Signatures carry no time (`cosignature/v1` is for witnesses with a clock).  The text begins like nothing else that a
node signs, so its signature needs no prefix.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from mesh.core import crypto, merkle
from mesh.errors import CryptoError, MalformedError

MAX_SIGNATURES: Final = 512
MAX_NOTE_BYTES: Final = 128 * 1024  # that many signatures, and the text
MAX_ORIGIN: Final = 160
KEY_ID_BYTES: Final = 4
_ED25519: Final = b"\x01"
_MARK: Final = "\N{EM DASH} "
_NAME_PREFIX: Final = "hearthmesh/"
_MAX_DIGITS: Final = 19


def key_name(community: bytes) -> str:
    """Return the name under which members of a community sign notes."""
    return _NAME_PREFIX + crypto.node_id(community)


def snapshot_origin(community: bytes, root: bytes) -> str:
    """Return the origin of a tree that nobody decided on yet: a name that no other tree has."""
    return f"{key_name(community)}/{crypto.node_id(root)}"


def key_id(name: str, public: bytes) -> bytes:
    """Return the four bytes by which a signature line hints at its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True)
class Checkpoint:
    """A tree at one size."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read a note's text; extension lines, which no tree bears out, are refused.  Errors: MalformedError."""
        match text.split("\n"):
            case [origin, size, root, ""] if 0 < len(origin) <= MAX_ORIGIN and origin.isprintable():
                return cls(origin, _decimal(size), from_base64(root, merkle.HASH_BYTES))
        raise MalformedError("not the three lines of a checkpoint")


@dataclass(frozen=True)
class NoteSignature:
    """One signature line."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line, with its line feed."""
        return f"{_MARK}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> "NoteSignature":
        """Read a line without its line feed.  Errors: MalformedError."""
        match line.removeprefix(_MARK).split(" "):
            case [name, text] if line.startswith(_MARK) and _is_key_name(name):
                data = from_base64(text, KEY_ID_BYTES + crypto.SIGNATURE_BYTES)
                return cls(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])
        raise MalformedError("not a signature line")


@dataclass(frozen=True)
class Note:
    """A checkpoint and who signed it; further members' signatures can be added whenever they come."""

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...] = ()

    def to_bytes(self) -> bytes:
        """Write the note."""
        return (self.checkpoint.text + "\n" + "".join(one.line for one in self.signatures)).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Note":
        """Read a note, written in the one way `to_bytes` writes it; nothing is verified.  Errors: MalformedError."""
        if len(data) > MAX_NOTE_BYTES:
            raise MalformedError(f"a note of more than {MAX_NOTE_BYTES} bytes")
        try:
            text, _, signed = data.decode().partition("\n\n")
        except UnicodeDecodeError as error:
            raise MalformedError("a note that is no text") from error
        *lines, end = signed.split("\n")
        if end or not 0 < len(lines) <= MAX_SIGNATURES:
            raise MalformedError(f"a note has 1 to {MAX_SIGNATURES} signature lines, each with its end")
        return cls(Checkpoint.parse(text + "\n"), tuple(map(NoteSignature.parse, lines)))

    def signed(self, seed: bytes, *, name: str) -> "Note":
        """Return the note with the signature of this key too."""
        own = key_id(name, crypto.ed25519_public(seed))
        signature = crypto.sign_plainly(seed, self.checkpoint.text.encode())
        return self.with_signatures([NoteSignature(name, own, signature)])

    def with_signatures(self, others: Iterable[NoteSignature]) -> "Note":
        """Return the note with these signatures too, each once and in one order, whoever came first."""
        ordered = sorted({*self.signatures, *others}, key=lambda one: (one.name, one.key_id, one.signature))
        return replace(self, signatures=tuple(ordered))

    def signers(self, keys: Iterable[bytes], *, name: str) -> tuple[bytes, ...]:
        """Return which of these public keys signed, in the order of the lines.

        A line by none of them, or a second one by the same key, is an error and not passed over: of an exported
        record, nothing may be altered unseen.  Errors: CryptoError.
        """
        by_id: dict[bytes, list[bytes]] = {}
        for public in sorted(set(keys)):
            by_id.setdefault(key_id(name, public), []).append(public)
        found: list[bytes] = []
        for number, line in enumerate(self.signatures, 1):
            candidates = by_id.get(line.key_id, []) if line.name == name else []
            signer = next((public for public in candidates if self._is_signed_by(public, line)), None)
            if signer is None:
                what = "does not hold" if candidates else "is not by a key of the record"
                raise CryptoError(f"signature {number} of the note {what}")
            if signer in found:
                raise CryptoError(f"signature {number} of the note repeats another")
            found.append(signer)
        return tuple(found)

    def _is_signed_by(self, public: bytes, line: NoteSignature) -> bool:
        try:
            crypto.verify_plainly(public, line.signature, self.checkpoint.text.encode())
        except CryptoError:
            return False  # an answer here: two keys can share an id
        return True


def from_base64(text: str, size: int | None = None) -> bytes:
    """Read base64 (RFC 4648, 4) as it is written in one way, of `size` bytes if given.  Errors: MalformedError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise MalformedError("not the one way to write base64")
    if size is not None and len(data) != size:
        raise MalformedError(f"{size} bytes were expected")
    return data


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS) or str(int(text)) != text:
        raise MalformedError("not a number of leaves")
    return int(text)


def _is_key_name(name: str) -> bool:
    return 0 < len(name) <= MAX_ORIGIN and name.isprintable() and "+" not in name
