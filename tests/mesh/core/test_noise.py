"""The handshakes interoperate with an independent implementation, in both roles."""

import pytest
from noise.connection import Keypair, NoiseConnection

from mesh.core import crypto
from mesh.core.noise import MAX_MESSAGE_BYTES, Handshake, Pattern
from mesh.errors import CryptoError, MalformedError

PROLOGUE = b"hearthmesh/test/1\0"
PSK = b"p" * 32
STATIC_SECRETS = (b"\1" * 32, b"\2" * 32)
EPHEMERALS = (b"\3" * 32, b"\4" * 32)
PATTERNS = list(Pattern)


def ours(pattern: Pattern, *, initiator: bool, psk: bytes = PSK, prologue: bytes = PROLOGUE) -> Handshake:
    """Make our end of a handshake between the two fixed key pairs."""
    me = 0 if initiator else 1
    known = crypto.x25519_public(STATIC_SECRETS[1]) if initiator and pattern.responder_known else None
    return Handshake(
        pattern,
        initiator=initiator,
        static=STATIC_SECRETS[me],
        ephemeral=EPHEMERALS[me],
        prologue=prologue,
        remote_static=known,
        psk=psk,
    )


def oracle(pattern: Pattern, *, initiator: bool) -> NoiseConnection:
    """Make the other implementation's end."""
    connection = NoiseConnection.from_name(f"Noise_{pattern.label}_25519_ChaChaPoly_BLAKE2b".encode())
    connection.set_prologue(PROLOGUE)
    if "psk" in pattern.label:
        connection.set_psks(PSK)
    me = 0 if initiator else 1
    connection.set_keypair_from_private_bytes(Keypair.STATIC, STATIC_SECRETS[me])
    if initiator and pattern.responder_known:
        connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, crypto.x25519_public(STATIC_SECRETS[1]))
    if initiator:
        connection.set_as_initiator()
    else:
        connection.set_as_responder()
    connection.start_handshake()
    return connection


@pytest.mark.parametrize("size", [0, 1, 1000, 60_000])
@pytest.mark.parametrize("we_begin", [True, False])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_interoperates_with_the_oracle(pattern: Pattern, we_begin: bool, size: int) -> None:  # noqa: FBT001  a test's parameter
    """Every message is read by the other side, and both directions of the transport agree."""
    mine, other = ours(pattern, initiator=we_begin), oracle(pattern, initiator=not we_begin)
    payload = bytes(size)
    my_turn = we_begin
    while not mine.finished:
        if my_turn:
            assert payload == other.read_message(mine.write(payload))
        else:
            assert payload == mine.read(bytes(other.write_message(payload)))
        my_turn = not my_turn
    keys = mine.split()
    assert crypto.x25519_public(STATIC_SECRETS[1 if we_begin else 0]) == mine.remote_static
    assert other.decrypt(crypto.seal(keys.send, 0, b"", b"there")) == b"there"
    assert crypto.unseal(keys.receive, 0, b"", bytes(other.encrypt(b"back"))) == b"back"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_any_flipped_byte_ends_the_handshake(pattern: Pattern) -> None:
    """A change anywhere in any message is seen at that message or, for a bare key, at the next."""
    sizes = []
    initiator, responder = ours(pattern, initiator=True), ours(pattern, initiator=False)
    for turn in range(len(pattern.messages)):
        writer, reader = (initiator, responder) if turn % 2 == 0 else (responder, initiator)
        message = writer.write(b"payload")
        sizes.append(len(message))
        reader.read(message)
    for turn, size in enumerate(sizes):
        for place in range(0, size, 5):
            with pytest.raises((CryptoError, MalformedError)):
                _run_with_flip(pattern, turn, place)


def _run_with_flip(pattern: Pattern, flipped_turn: int, place: int) -> None:
    initiator, responder = ours(pattern, initiator=True), ours(pattern, initiator=False)
    for turn in range(len(pattern.messages)):
        writer, reader = (initiator, responder) if turn % 2 == 0 else (responder, initiator)
        message = bytearray(writer.write(b"payload"))
        if turn == flipped_turn:
            message[place] ^= 1
        reader.read(bytes(message))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_messages_cut_short_are_malformed(pattern: Pattern) -> None:
    """However short the message, it is refused."""
    message = ours(pattern, initiator=True).write(b"")
    for length in range(len(message)):
        with pytest.raises((CryptoError, MalformedError)):
            ours(pattern, initiator=False).read(message[:length])


@pytest.mark.parametrize("pattern", [Pattern.XXPSK3, Pattern.IKPSK2])
def test_another_psk_fails_at_its_message(pattern: Pattern) -> None:
    """The pre-shared key is a lock of its own."""
    initiator, responder = ours(pattern, initiator=True), ours(pattern, initiator=False, psk=b"q" * 32)
    last = len(pattern.messages) - 1
    for turn in range(last):
        writer, reader = (initiator, responder) if turn % 2 == 0 else (responder, initiator)
        reader.read(writer.write(b""))
    writer, reader = (initiator, responder) if last % 2 == 0 else (responder, initiator)
    message = writer.write(b"")
    with pytest.raises(CryptoError):
        reader.read(message)


def test_another_prologue_fails_at_once() -> None:
    """Both ends must mean the same conversation."""
    message = ours(Pattern.IK, initiator=True).write(b"")
    with pytest.raises(CryptoError):
        ours(Pattern.IK, initiator=False, prologue=b"other").read(message)


def test_a_missing_key_is_an_error() -> None:
    """An IK initiator must know the responder, a psk pattern its key."""
    with pytest.raises(CryptoError, match="missing"):
        Handshake(Pattern.IK, initiator=True, static=STATIC_SECRETS[0], ephemeral=EPHEMERALS[0], prologue=b"")


def test_the_limit_of_the_specification_holds() -> None:
    """65,535 bytes a message, both ways."""
    assert len(ours(Pattern.IK, initiator=True).write(bytes(MAX_MESSAGE_BYTES - 96))) == MAX_MESSAGE_BYTES
    with pytest.raises(MalformedError):
        ours(Pattern.IK, initiator=True).write(bytes(MAX_MESSAGE_BYTES - 95))
    with pytest.raises(MalformedError):
        ours(Pattern.IK, initiator=False).read(bytes(MAX_MESSAGE_BYTES + 1))
