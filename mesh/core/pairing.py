r"""Pairing by words: how a lone node comes into a community (decisions 2 and 5 to 8 of docs/protocol.md).

    joiner    PROBE    version(1), nonce(16)
    offerer   OFFER    raw id(32), nonce2(16), proof of the words(16), proof of the QR secret(16)
    joiner    PAIR     form(1), Noise XXpsk3 message 1
    offerer   HANDSHAKE message 2, payload [public, statement, name, TLS key]
    joiner    HANDSHAKE message 3, payload the same of its own
    offerer   SEALED   [1, size], then [2, bytes] until the admission is complete
    joiner    SEALED   [3, grant, ports]

The joiner finds the right door by the proof, without burning a try; it believes nothing before the first sealed
message opens, for only that shows that the offerer knows the words.  The machines are in `offerer.py` and `joiner.py`.
"""

import base64
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from mesh.core import codec, crypto
from mesh.core.codec import Item
from mesh.core.door_messages import MAX_TLS_KEY_BYTES, Grant, Ports, Refusal
from mesh.core.entries import MAX_ENTRY_BYTES, MAX_NAME
from mesh.core.epochs import EpochKey
from mesh.core.statement import IdentityStatement
from mesh.errors import MalformedError, WrongWordsError

VERSION: Final = 1
WORD_COUNT: Final = 6  # 66 bits; never fewer, for message 3 gives a false offerer something to try words on
NONCE_BYTES: Final = 16
QR_SECRET_BYTES: Final = 16
QR_PREFIX: Final = "HEARTH:"
TRIES_PER_SOURCE: Final = 5
TRY_EVERY_S: Final = 1.0
MAX_SOURCES: Final = 1024
MAX_ADMISSION_BYTES: Final = 32 * 1024 * 1024  # what a founder, a hundred voters and all they let in may sign
MAX_ADMISSION_ITEMS: Final = 256 * 1024  # as many entries, of which none is shorter than 128 bytes
MAX_ADMISSION_KEYS: Final = 64
PROOF_BYTES: Final = 16

Random = Callable[[int], bytes]


class SealedKind(enum.IntEnum):
    """The first field of a sealed message at a door."""

    ACCEPT = 1
    PART = 2
    JOINED = 3


class Form(enum.IntEnum):
    """How the secret came from one owner to the other."""

    WORDS = 0
    QR = 1


@dataclass(frozen=True)
class PairingKey:
    """A shared secret's two halves: one for the handshake, one for the probe."""

    form: Form
    psk: bytes = field(repr=False)
    probe: bytes = field(repr=False)

    def proof(self, nonce: bytes, nonce2: bytes, raw_id: bytes) -> bytes:
        """Prove to the one who sent the nonce that this node knows the secret."""
        return crypto.keyed_digest(self.probe, nonce + nonce2 + raw_id)


def choose_words(wordlist: Sequence[str], random: Random) -> str:
    """Choose six of 2048 words, eleven bits each."""
    number = int.from_bytes(random(9), "big")
    return " ".join(wordlist[(number >> (11 * place)) & 0x7FF] for place in range(WORD_COUNT))


def qr_text(secret: bytes) -> str:
    """Write the secret of a QR code: upper case only, which QR codes hold densely."""
    return QR_PREFIX + base64.b32encode(secret).decode().rstrip("=")


def derive_key(text: str, wordlist: Sequence[str]) -> PairingKey:
    """Turn what the owner typed or scanned into a key; words are stretched (0.2 s: call it off the loop).

    Errors: WrongWordsError, naming the word that is none.
    """
    if text.strip().upper().startswith(QR_PREFIX):
        try:
            secret = base64.b32decode(text.strip()[len(QR_PREFIX) :].upper() + "======")
        except ValueError as error:
            raise WrongWordsError("the text of the QR code is damaged") from error
        if len(secret) != QR_SECRET_BYTES:
            raise WrongWordsError("the text of the QR code is damaged")
        key, form = crypto.expand(secret), Form.QR
    else:
        words = text.lower().replace("-", " ").split()
        known = set(wordlist)
        wrong = [word for word in words if word not in known]
        if wrong:
            raise WrongWordsError(f"“{wrong[0][:20]}” is not in the word list")
        if len(words) != WORD_COUNT:
            raise WrongWordsError(f"{len(words)} words where {WORD_COUNT} are needed")
        key, form = crypto.stretch(" ".join(words)), Form.WORDS
    return PairingKey(form, key[:32], key[32:])


@dataclass
class Tries:
    """Bounds guessing: five tries a source, one a second overall; a stranger's tries do not end the offer."""

    _by_source: dict[str, int] = field(default_factory=dict)
    _last: float = float("-inf")

    def begin(self, source: str, *, now: float) -> Refusal | None:
        """Count a try, or say why there is none."""
        used = self._by_source.get(source, 0)
        if used >= TRIES_PER_SOURCE or (used == 0 and len(self._by_source) >= MAX_SOURCES):
            return Refusal.TOO_MANY_TRIES
        if now - self._last < TRY_EVERY_S:
            return Refusal.BUSY
        self._last = now
        self._by_source[source] = used + 1
        return None

    def forgive(self, source: str) -> None:
        """Give the tries back to a source that proved to know the words."""
        self._by_source.pop(source, None)


@dataclass(frozen=True)
class Introduction:
    """What a node says of itself under the handshake."""

    statement: IdentityStatement
    name: str
    tls_public: bytes

    def to_bytes(self) -> bytes:
        """Write the payload; the static key is the handshake's own."""
        return codec.encode([self.statement.public, self.statement.signature, self.name, self.tls_public])

    @classmethod
    def parse(cls, payload: bytes, static: bytes | None) -> "Introduction":
        """Read the payload and check that the statement names the handshake's static key."""
        match codec.decode_array(payload, max_bytes=2048):
            case [public, signature, name, tls_public]:
                statement = IdentityStatement.parse(public, static, signature)
                statement.verify()
                return cls(
                    statement, codec.short_text(name, MAX_NAME), codec.short_bytes(tls_public, MAX_TLS_KEY_BYTES)
                )
        raise MalformedError("not an introduction")


@dataclass(frozen=True)
class Admission:
    """What a new member gets: the ledger, the epoch keys, and a key to the offerer's broker."""

    entries: tuple[bytes, ...]
    keys: tuple[EpochKey, ...]
    grant: Grant
    ports: Ports

    def to_bytes(self) -> bytes:
        """Write it for sealing in parts."""
        keys: list[Item] = [key.to_item() for key in self.keys]
        return codec.encode([[*self.entries], keys, self.grant.to_item(), self.ports.to_item()])

    @classmethod
    def parse(cls, data: bytes) -> "Admission":
        """Read it.  Errors: MalformedError; the entries are still to be parsed."""
        match codec.decode_array(data, max_bytes=MAX_ADMISSION_BYTES, max_items=MAX_ADMISSION_ITEMS):
            case [list(entries), keys, grant, ports]:
                return cls(
                    tuple(codec.short_bytes(entry, MAX_ENTRY_BYTES) for entry in entries),
                    tuple(EpochKey.parse(key) for key in codec.short_array(keys, MAX_ADMISSION_KEYS)),
                    Grant.parse(grant),
                    Ports.parse(ports),
                )
        raise MalformedError("not an admission")


def prologue(form: Form, nonce: bytes, nonce2: bytes, offerer: bytes) -> bytes:
    """Return what both ends must agree on before the handshake."""
    return b"hearthmesh/pair/1\0" + bytes([form]) + nonce + nonce2 + offerer
