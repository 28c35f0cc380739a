"""The primitives, by name: the only module that imports nacl.

Seals are ChaCha20-Poly1305 (RFC 8439), by OpenSSL, which uses what the processor has for it and is several times as
fast as libsodium with large messages; signatures Ed25519 over a prefix that says what is signed, key agreement
X25519, hashes BLAKE2b; words are stretched with Argon2id.
"""

import base64
import functools
import hashlib
from typing import Final

import nacl.bindings as sodium
import nacl.exceptions
import nacl.pwhash.argon2id
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from mesh.errors import CryptoError

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
SIGNATURE_BYTES: Final = 64
NO_COMMUNITY: Final = bytes(32)  # what stands for the community in signatures that belong to none

_STRETCH_OPS: Final = 2
_STRETCH_MEMORY_BYTES: Final = 64 * 1024 * 1024  # 64 MiB: affordable on a 512 MB board, once a join


def seal(key: bytes, counter: int, associated: bytes, plaintext: bytes) -> bytes:
    """Encrypt and authenticate; the nonce is Noise's: four zero bytes, then the counter, little endian."""
    return ChaCha20Poly1305(key).encrypt(_nonce(counter), plaintext, associated)


def unseal(key: bytes, counter: int, associated: bytes, ciphertext: bytes | memoryview) -> bytes:
    """Undo `seal`.  Errors: CryptoError when one bit of anything is not what was sealed."""
    if len(ciphertext) < TAG_BYTES:
        raise CryptoError("a sealed text is cut short")
    try:
        return ChaCha20Poly1305(key).decrypt(_nonce(counter), ciphertext, associated)
    except InvalidTag as error:
        raise CryptoError("the seal does not hold") from error


def _nonce(counter: int) -> bytes:
    return bytes(4) + counter.to_bytes(8, "little")


def x25519_public(secret: bytes) -> bytes:
    """Return the public key of a 32-byte X25519 secret."""
    return sodium.crypto_scalarmult_base(secret)


def x25519(secret: bytes, public: bytes) -> bytes:
    """Agree on 32 bytes.  Errors: CryptoError for a public key of low order, whose result anyone knows."""
    try:
        return sodium.crypto_scalarmult(secret, public)
    except nacl.exceptions.RuntimeError as error:
        raise CryptoError("a public key of low order") from error


def ed25519_public(seed: bytes) -> bytes:
    """Return the public key of a 32-byte Ed25519 seed."""
    public, _ = sodium.crypto_sign_seed_keypair(seed)
    return bytes(public)


def sign(seed: bytes, kind: str, community: bytes, data: bytes) -> bytes:
    """Sign data as a thing of one kind in one community (64 bytes), so that it counts nowhere else."""
    return sign_plainly(seed, _prefixed(kind, community, data))


def verify(public: bytes, signature: bytes, kind: str, community: bytes, data: bytes) -> None:
    """Check what `sign` made.  Errors: CryptoError."""
    verify_plainly(public, signature, _prefixed(kind, community, data))


def sign_plainly(seed: bytes, message: bytes) -> bytes:
    """Sign a message as it is (RFC 8032, 64 bytes); it must say by itself what it is."""
    _, secret = sodium.crypto_sign_seed_keypair(seed)
    return bytes(sodium.crypto_sign(message, secret)[:SIGNATURE_BYTES])


def verify_plainly(public: bytes, signature: bytes, message: bytes) -> None:
    """Check what `sign_plainly` made.  Errors: CryptoError."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise CryptoError("a key or signature of the wrong length")
    try:
        sodium.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError as error:
        raise CryptoError("the signature does not hold") from error


def _prefixed(kind: str, community: bytes, data: bytes) -> bytes:
    return f"hearthmesh/{kind}/1".encode() + b"\0" + community + data


def raw_id(public: bytes) -> bytes:
    """Return the 32 bytes of a node id: BLAKE2b-256 of the Ed25519 public key."""
    return hashlib.blake2b(public, digest_size=32).digest()


@functools.lru_cache(maxsize=1024)  # asked for every frame
def node_id(raw: bytes) -> str:
    """Write 32 raw bytes as a node id: lower-case base32 without padding, 52 characters."""
    return base64.b32encode(raw).decode().rstrip("=").lower()


@functools.lru_cache(maxsize=1024)
def parse_node_id(text: str) -> bytes:
    """Read a node id back.  Errors: CryptoError when it is not one, or not written the one way."""
    try:
        raw = base64.b32decode(text.upper() + "====")
    except ValueError as error:
        raise CryptoError("not a node id") from error
    if len(raw) != KEY_BYTES or node_id(raw) != text:
        raise CryptoError("not a node id")
    return raw


def stretch(words: str) -> bytes:
    """Turn pairing words into 64 bytes with Argon2id (64 MiB, two passes, some 0.2 s: call it off the loop)."""
    salt = hashlib.blake2b(b"hearthmesh/pair/1", digest_size=16).digest()
    return nacl.pwhash.argon2id.kdf(64, words.encode(), salt, _STRETCH_OPS, _STRETCH_MEMORY_BYTES)


def expand(secret: bytes) -> bytes:
    """Turn a uniformly random secret (of a QR code) into 64 bytes; it needs no stretching."""
    return hashlib.blake2b(b"hearthmesh/pair-qr/1\0" + secret, digest_size=64).digest()


def keyed_digest(key: bytes, data: bytes) -> bytes:
    """Return BLAKE2b-128 under a key: the proof of the probe at a door."""
    return hashlib.blake2b(data, key=key, digest_size=16).digest()
