"""The Noise handshakes of this mesh: XXpsk3, IK and IKpsk2 over 25519, ChaChaPoly and BLAKE2b (Noise, revision 34).

A `Handshake` turns payloads into messages and back until `split` gives the two keys; what follows is our own
(`session.py`).  The ephemeral key is an argument: this module has no randomness.
"""

import enum
import hashlib
import hmac
from typing import Final, NamedTuple

from mesh.core import crypto
from mesh.errors import CryptoError, MalformedError

MAX_MESSAGE_BYTES: Final = 65_535  # the specification's limit
_KEY: Final = crypto.KEY_BYTES
_TAG: Final = crypto.TAG_BYTES


class Pattern(enum.Enum):
    """A handshake pattern: whether the responder's static key is known before, and the tokens of each message."""

    XXPSK3 = ("XXpsk3", False, (("e",), ("e", "ee", "s", "es"), ("s", "se", "psk")))
    IK = ("IK", True, (("e", "es", "s", "ss"), ("e", "ee", "se")))
    IKPSK2 = ("IKpsk2", True, (("e", "es", "s", "ss"), ("e", "ee", "se", "psk")))

    def __init__(self, label: str, responder_known: bool, messages: tuple[tuple[str, ...], ...]) -> None:  # noqa: FBT001  enum members are written as tuples
        self.label = label
        self.responder_known = responder_known
        self.messages = messages


class SplitKeys(NamedTuple):
    """What a finished handshake leaves: one key a direction, 32 bytes each."""

    send: bytes
    receive: bytes


class Handshake:
    """One end of one handshake (the specification's HandshakeState).

    static, ephemeral: own 32-byte secrets; remote_static: known at once by the initiator of an IK pattern, learnt
    otherwise; psk may be set later, before the message that mixes it in.
    Errors: CryptoError or MalformedError for a message that does not fit; the handshake is dead after one.
    """

    def __init__(
        self,
        pattern: Pattern,
        *,
        initiator: bool,
        static: bytes,
        ephemeral: bytes,
        prologue: bytes,
        remote_static: bytes | None = None,
        psk: bytes | None = None,
    ) -> None:
        self.initiator = initiator
        self.remote_static = remote_static
        self.psk = psk
        self._static = static
        self._ephemeral = ephemeral
        self._remote_ephemeral: bytes | None = None
        self._messages = list(pattern.messages)
        self._psk_pattern = any("psk" in tokens for tokens in pattern.messages)
        name = f"Noise_{pattern.label}_25519_ChaChaPoly_BLAKE2b".encode()
        self._hash = name.ljust(64, b"\0")  # every name here is shorter than the hash
        self._chain = self._hash
        self._key = bytes(_KEY)  # every pattern here mixes a real key in before it seals anything
        self._counter = 0
        self._mix_hash(prologue)
        if pattern.responder_known:
            known = remote_static if initiator else crypto.x25519_public(static)
            self._mix_hash(_present(known))

    @property
    def finished(self) -> bool:
        """Whether every message has been written or read."""
        return not self._messages

    def write(self, payload: bytes) -> bytes:
        """Make the next message around a payload."""
        parts = []
        for token in self._messages.pop(0):
            if token == "e":  # noqa: S105  a token of the pattern, not a password
                public = crypto.x25519_public(self._ephemeral)
                parts.append(public)
                self._mix_ephemeral(public)
            elif token == "s":  # noqa: S105  same
                parts.append(self._encrypt(crypto.x25519_public(self._static)))
            else:
                self._mix_token(token)
        parts.append(self._encrypt(payload))
        message = b"".join(parts)
        if len(message) > MAX_MESSAGE_BYTES:
            raise MalformedError("a handshake payload over the limit")
        return message

    def read(self, message: bytes) -> bytes:
        """Read the peer's next message and return its payload."""
        if len(message) > MAX_MESSAGE_BYTES:
            raise MalformedError("a handshake message over the limit")
        for token in self._messages.pop(0):
            if token == "e":  # noqa: S105  a token of the pattern, not a password
                self._remote_ephemeral, message = _cut(message, _KEY)
                self._mix_ephemeral(self._remote_ephemeral)
            elif token == "s":  # noqa: S105  same
                sealed, message = _cut(message, _KEY + _TAG)
                self.remote_static = self._decrypt(sealed)
            else:
                self._mix_token(token)
        return self._decrypt(message)

    def split(self) -> SplitKeys:
        """Return the keys of both directions, once finished."""
        first, second = _hkdf(self._chain, b"", 2)
        keys = SplitKeys(first[:_KEY], second[:_KEY])
        return keys if self.initiator else SplitKeys(keys.receive, keys.send)

    def _mix_token(self, token: str) -> None:
        """Mix in a pre-shared key, or the agreement of the initiator's (first letter) and responder's key."""
        if token == "psk":  # noqa: S105  a token of the pattern, not a password
            self._chain, mixed, key = _hkdf(self._chain, _present(self.psk), 3)
            self._mix_hash(mixed)
            self._set_key(key)
            return
        mine, theirs = (token[0], token[1]) if self.initiator else (token[1], token[0])
        secret = self._ephemeral if mine == "e" else self._static
        public = self._remote_ephemeral if theirs == "e" else self.remote_static
        self._mix_key(crypto.x25519(secret, _present(public)))

    def _mix_ephemeral(self, public: bytes) -> None:
        self._mix_hash(public)
        if self._psk_pattern:
            self._mix_key(public)

    def _mix_key(self, material: bytes) -> None:
        self._chain, key = _hkdf(self._chain, material, 2)
        self._set_key(key)

    def _set_key(self, key: bytes) -> None:
        self._key, self._counter = key[:_KEY], 0

    def _mix_hash(self, data: bytes) -> None:
        self._hash = hashlib.blake2b(self._hash + data).digest()

    def _encrypt(self, plaintext: bytes) -> bytes:
        sealed = crypto.seal(self._key, self._counter, self._hash, plaintext)
        self._counter += 1
        self._mix_hash(sealed)
        return sealed

    def _decrypt(self, sealed: bytes) -> bytes:
        plaintext = crypto.unseal(self._key, self._counter, self._hash, sealed)
        self._counter += 1
        self._mix_hash(sealed)
        return plaintext


def _hkdf(chain: bytes, material: bytes, outputs: int) -> list[bytes]:
    temporary = hmac.digest(chain, material, "blake2b")
    result, previous = [], b""
    for number in range(1, outputs + 1):
        previous = hmac.digest(temporary, previous + bytes([number]), "blake2b")
        result.append(previous)
    return result


def _cut(message: bytes, size: int) -> tuple[bytes, bytes]:
    if len(message) < size:
        raise MalformedError("a handshake message is cut short")
    return message[:size], message[size:]


def _present(key: bytes | None) -> bytes:
    if key is None:
        raise CryptoError("a key of the handshake is missing")
    return key
