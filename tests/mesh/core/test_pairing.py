"""Pairing: who knows the words gets in, nobody else learns or changes anything."""

import random
from collections.abc import Callable, Iterator
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core import codec, crypto, joiner, offerer
from mesh.core.door_messages import (
    MAX_MESSAGE_BYTES,
    REFUSAL_TEXTS,
    DoorReader,
    DoorType,
    Grant,
    HangUpError,
    Ports,
    Refusal,
    SealedChannel,
    framed,
    parse_message,
    refused,
)
from mesh.core.epochs import EpochKey
from mesh.core.joiner import Accepted, Joiner
from mesh.core.noise import Handshake, Pattern, SplitKeys
from mesh.core.offerer import Joined, Offerer, Proven
from mesh.core.pairing import (
    MAX_ADMISSION_BYTES,
    MAX_SOURCES,
    TRIES_PER_SOURCE,
    Admission,
    Form,
    Introduction,
    PairingKey,
    Tries,
    choose_words,
    derive_key,
    prologue,
    qr_text,
)
from mesh.errors import CryptoError, DoorRefusedError, MalformedError, MeshError, NoOfferError, WrongWordsError
from tests.mesh.core.world import Person

WORDS = resources.files("mesh.core").joinpath("wordlist.txt").read_text().split()
ANNA, BEN, EVE = Person("Anna"), Person("Ben"), Person("Eve")
GRANT = Grant(b"ca", b"ctl", b"bulk")
PORTS = Ports(8883, 8884)
KEY = PairingKey(Form.WORDS, b"p" * 32, b"q" * 32)
QR = PairingKey(Form.QR, b"r" * 32, b"s" * 32)
OTHER = PairingKey(Form.WORDS, b"o" * 32, b"o" * 32)
ADMISSION = Admission((b"entry",) * 2, (EpochKey(0, 1, b"i" * 16, b"s" * 32),), GRANT, PORTS)
BIG_ADMISSION = Admission((bytes(60_000),), (), GRANT, PORTS)


def introduction(person: Person) -> Introduction:
    """What a person says of itself."""
    return Introduction(person.statement, person.name, b"tls key")


def repeatable(seed: int) -> Callable[[int], bytes]:
    """Make a source of bytes that a failing test repeats."""
    return random.Random(seed).randbytes  # noqa: S311  nothing here is secret


def offerer_of(*keys: PairingKey, person: Person = ANNA, refusal: Refusal | None = None, seed: int = 1) -> Offerer:
    """Make the side with the open offer."""
    return Offerer(
        introduction(person), person.static_secret, keys=keys, begin_try=lambda: refusal, random=repeatable(seed)
    )


def joiner_with(key: PairingKey, person: Person = BEN, seed: int = 2) -> Joiner:
    """Make the side that typed the words."""
    return Joiner(introduction(person), person.static_secret, key=key, random=repeatable(seed))


def messages(data: bytes) -> Iterator[tuple[DoorType, bytes]]:
    """Take what was sent apart again."""
    for message in DoorReader().receive(data):
        yield parse_message(message)


def tell(machine: Offerer | Joiner, data: bytes) -> tuple[bytes, object]:
    """Deliver one message."""
    [(kind, body)] = messages(data)
    return machine.receive(kind, body)


def introduce(one: Offerer, two: Joiner) -> tuple[bytes, object]:
    """Run a conversation up to the proof."""
    offer, _ = tell(one, two.probe())
    tell(two, offer)
    greeting, _ = tell(one, two.begin())
    proof, _ = tell(two, greeting)
    return tell(one, proof)


@pytest.mark.parametrize("key", [KEY, QR])
@pytest.mark.parametrize("admission", [ADMISSION, BIG_ADMISSION])
def test_who_knows_the_secret_is_let_in(key: PairingKey, admission: Admission) -> None:
    """Both ends learn who the other is, the joiner gets the admission, the offerer a grant."""
    one, two = offerer_of(KEY, QR), joiner_with(key)
    sent, proven = introduce(one, two)
    assert (sent, proven) == (b"", Proven(introduction(BEN)))
    events = []
    for data in one.accept(admission):
        assert len(data) <= MAX_MESSAGE_BYTES + 2
        events.append(tell(two, data)[1])
    assert events[-1] == Accepted(introduction(ANNA), admission)
    assert not any(events[:-1])
    assert tell(one, two.confirm(GRANT, PORTS)) == (b"", Joined(GRANT, PORTS))
    assert (one.state, two.state) == (offerer.State.JOINED, joiner.State.JOINED)


def test_other_words_end_at_the_probe() -> None:
    """The joiner sees it before the handshake; no try is used up."""
    one, two = offerer_of(KEY), joiner_with(OTHER)
    offer, _ = tell(one, two.probe())
    with pytest.raises(WrongWordsError):
        tell(two, offer)


def test_a_qr_code_does_not_open_an_offer_of_words() -> None:
    """A form without a secret has a random proof."""
    one, two = offerer_of(KEY), joiner_with(QR)
    offer, _ = tell(one, two.probe())
    with pytest.raises(WrongWordsError):
        tell(two, offer)


def test_an_offer_has_one_length() -> None:
    """A shorter one is malformed."""
    with pytest.raises(MalformedError):
        joiner_with(KEY).receive(DoorType.OFFER, bytes(79))


@pytest.mark.parametrize("begin", [b"", b"\x07" + bytes(80), b"\x01" + bytes(80)])
def test_a_form_without_a_secret_is_refused(begin: bytes) -> None:
    """A joiner can only begin what the offer has."""
    one, two = offerer_of(KEY), joiner_with(KEY)
    tell(one, two.probe())
    with pytest.raises(MalformedError):
        tell(one, framed(DoorType.PAIR, begin))


def test_a_closed_door_says_so() -> None:
    """No keys, no offer; the joiner tells it from wrong words."""
    one, two = offerer_of(), joiner_with(KEY)
    closed, _ = tell(one, two.probe())
    with pytest.raises(NoOfferError):
        tell(two, closed)
    with pytest.raises(MalformedError):
        tell(one, two.probe())


def test_a_joiner_who_guesses_fails_at_the_proof() -> None:
    """Without the psk message 3 does not open, and the offerer says why it hangs up."""
    one, eve = offerer_of(KEY), joiner_with(PairingKey(Form.WORDS, b"x" * 32, KEY.probe))
    with pytest.raises(HangUpError) as caught:
        introduce(one, eve)
    assert caught.value.reason is Refusal.PROOF


def test_a_false_offerer_is_not_believed() -> None:
    """Who knows the probe's half but not the handshake's cannot make the first sealed message."""
    eve, two = offerer_of(PairingKey(Form.WORDS, b"x" * 32, KEY.probe), person=EVE), joiner_with(KEY)
    offer, _ = tell(eve, two.probe())
    tell(two, offer)
    greeting, _ = tell(eve, two.begin())
    tell(two, greeting)
    with pytest.raises(CryptoError):
        tell(two, SealedChannel(SplitKeys(b"1" * 32, b"2" * 32)).seal([1, 10]))
    assert two.state is joiner.State.PROVING


def test_an_offerer_must_be_the_node_it_names() -> None:
    """Another's id in the offer does not pass the greeting, though all proofs hold."""
    eve, two = offerer_of(KEY, person=EVE), joiner_with(KEY)
    eve._introduction = Introduction(ANNA.statement, "Anna", b"")
    offer, _ = tell(eve, two.probe())
    tell(two, offer)
    [(_, begin)] = messages(two.begin())
    handshake = Handshake(
        Pattern.XXPSK3,
        initiator=False,
        static=EVE.static_secret,
        ephemeral=b"e" * 32,
        prologue=prologue(Form.WORDS, *eve._nonces, ANNA.raw_id),
        psk=KEY.psk,
    )
    handshake.read(begin[1:])
    with pytest.raises(CryptoError, match="not the node"):
        tell(two, framed(DoorType.HANDSHAKE, handshake.write(introduction(EVE).to_bytes())))


def test_a_statement_must_name_the_handshakes_key() -> None:
    """Somebody else's statement is refused."""
    with pytest.raises(CryptoError):
        Introduction.parse(introduction(ANNA).to_bytes(), BEN.statement.static)
    with pytest.raises(MalformedError):
        Introduction.parse(b"\x80", BEN.statement.static)


@pytest.mark.parametrize("refusal", [Refusal.BUSY, Refusal.TOO_MANY_TRIES])
def test_tries_are_bounded_before_the_handshake(refusal: Refusal) -> None:
    """A refused try costs the offerer no key agreement."""
    one, two = offerer_of(KEY, refusal=refusal), joiner_with(KEY)
    offer, _ = tell(one, two.probe())
    tell(two, offer)
    with pytest.raises(HangUpError) as caught:
        tell(one, two.begin())
    assert one.state is offerer.State.GREETED
    [message] = DoorReader().receive(refused(caught.value.reason))
    with pytest.raises(DoorRefusedError, match=REFUSAL_TEXTS[refusal]):
        parse_message(message)


def test_five_tries_a_source_and_one_a_second() -> None:
    """A stranger's tries do not end the offer for others."""
    tries = Tries()
    assert tries.begin("stranger", now=0.0) is None
    assert tries.begin("other", now=0.5) is Refusal.BUSY
    for number in range(1, TRIES_PER_SOURCE):
        assert tries.begin("stranger", now=float(number)) is None
    assert tries.begin("stranger", now=99.0) is Refusal.TOO_MANY_TRIES
    assert tries.begin("friend", now=100.0) is None
    tries.forgive("stranger")
    assert tries.begin("stranger", now=101.0) is None
    for number in range(MAX_SOURCES):
        tries.begin(str(number), now=200.0 + number)
    assert tries.begin("one too many", now=9999.0) is Refusal.TOO_MANY_TRIES


OFFERER_SENDS: list[bytes] = [
    framed(DoorType.CLOSED),
    framed(DoorType.OFFER, bytes(80)),
    framed(DoorType.HANDSHAKE, bytes(200)),
    framed(DoorType.SEALED, bytes(40)),
    framed(DoorType.ENROL, bytes(40)),
    framed(DoorType.PROBE, bytes(17)),
    framed(DoorType.PROBE, bytes([1]) + bytes(16)),
    framed(DoorType.PAIR, bytes(80)),
    framed(DoorType.PAIR, b"\x07" + bytes(80)),
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(OFFERER_SENDS), max_size=6), st.integers(0, 4), st.booleans())
def test_messages_out_of_turn_are_refused(sent: list[bytes], progress: int, to_joiner: bool) -> None:  # noqa: FBT001  drawn by hypothesis
    """Whatever comes when, a machine moves along its table or raises an error of the mesh."""
    one, two = offerer_of(KEY), joiner_with(KEY)
    try:
        if progress > 0:
            offer, _ = tell(one, two.probe())
            tell(two, offer)
        if progress > 1:
            greeting, _ = tell(one, two.begin())
            proof, _ = tell(two, greeting)
        if progress > 2:
            tell(one, proof)
        if progress > 3:
            tell(two, next(iter(one.accept(ADMISSION))))
        for data in sent:
            tell(two if to_joiner else one, data)
    except MeshError:
        return
    assert one.state in offerer.TRANSITIONS
    assert two.state in joiner.TRANSITIONS


def test_nothing_is_done_before_its_turn() -> None:
    """The caller's own steps have a turn too."""
    one, two = offerer_of(KEY), joiner_with(KEY)
    with pytest.raises(MalformedError):
        two.begin()
    with pytest.raises(MalformedError):
        two.confirm(GRANT, PORTS)
    with pytest.raises(MalformedError):
        next(one.accept(ADMISSION))
    introduce(one, two)
    with pytest.raises(MalformedError):
        two.begin()
    with pytest.raises(MalformedError):
        two.confirm(GRANT, PORTS)
    with pytest.raises(MalformedError):
        tell(one, two.probe())


@pytest.mark.parametrize("fields", [[2, b"part"], [1], [1, -1], [1, MAX_ADMISSION_BYTES + 1]])
def test_the_first_sealed_message_is_an_acceptance(fields: list[codec.Item]) -> None:
    """Nothing else opens the admission, and its size has an end."""
    one, two = offerer_of(KEY), joiner_with(KEY)
    introduce(one, two)
    assert one._channel is not None
    with pytest.raises(MalformedError):
        tell(two, one._channel.seal(fields))


@pytest.mark.parametrize("fields", [[1, 5], [2, b""], [2, b"longer"], [2, "text"], [2, b"12345"]])
def test_parts_add_up_to_what_was_announced(fields: list[codec.Item]) -> None:
    """Empty, longer and wrong parts are refused, and so is an admission that is none."""
    one, two = offerer_of(KEY), joiner_with(KEY)
    introduce(one, two)
    channel = one._channel
    assert channel is not None
    tell(two, channel.seal([1, 5]))
    with pytest.raises(MalformedError):
        tell(two, channel.seal(fields))


def test_the_joiner_answers_with_a_grant() -> None:
    """Anything else ends the conversation."""
    one, two = offerer_of(KEY), joiner_with(KEY)
    introduce(one, two)
    list(one.accept(ADMISSION))
    assert two._channel is not None
    with pytest.raises(MalformedError):
        tell(one, two._channel[0].seal([3, None]))


def test_words_are_six_of_the_list() -> None:
    """All bits of the random bytes that are needed are used."""
    assert len(set(WORDS)) == 2048
    assert choose_words(WORDS, bytes) == " ".join(["abandon"] * 6)
    assert choose_words(WORDS, lambda n: b"\xff" * n) == " ".join(["zoo"] * 6)
    assert len(choose_words(WORDS, repeatable(5)).split()) == 6


def test_words_are_read_kindly() -> None:
    """Case, hyphens and spaces do not matter; a wrong word is named."""
    key = derive_key("  Abandon-abandon abandon ABANDON abandon zoo ", WORDS)
    assert key == derive_key("abandon abandon abandon abandon abandon zoo", WORDS)
    assert key.form is Form.WORDS
    assert repr(key.psk) not in repr(key)
    with pytest.raises(WrongWordsError, match="hearthh"):
        derive_key("hearthh abandon", WORDS)
    with pytest.raises(WrongWordsError, match="5 words where 6"):
        derive_key("zoo zoo zoo zoo zoo", WORDS)


def test_a_qr_text_is_read_back() -> None:
    """Damaged ones are refused."""
    text = qr_text(b"0123456789abcdef")
    assert text.startswith("HEARTH:")
    key = derive_key(f" {text.lower()} ", WORDS)
    assert (key.form, key.psk + key.probe) == (Form.QR, crypto.expand(b"0123456789abcdef"))
    for damaged in ("HEARTH:", "HEARTH:AA", "HEARTH:1", "HEARTH:" + "A" * 27):
        with pytest.raises(WrongWordsError, match="damaged"):
            derive_key(damaged, WORDS)


def test_admissions_survive_the_wire() -> None:
    """And nothing else is one."""
    assert Admission.parse(ADMISSION.to_bytes()) == ADMISSION
    grant = GRANT.to_item()
    bad: list[codec.Item] = [[], [[], [], None, None], [[b""], [], grant, [1]], [[1], [], grant, [1, 2]]]
    for item in bad:
        with pytest.raises(MalformedError):
            Admission.parse(codec.encode(item))


@given(st.lists(st.binary(min_size=0, max_size=30), max_size=5), st.integers(1, 7))
def test_door_messages_survive_any_chunking(bodies: list[bytes], chunk: int) -> None:
    """However the wire slices them, the same messages come out."""
    stream = b"".join(framed(DoorType.SEALED, body) for body in bodies)
    reader = DoorReader()
    seen = [m for at in range(0, len(stream), chunk) for m in reader.receive(stream[at : at + chunk])]
    assert seen == [bytes([DoorType.SEALED]) + body for body in bodies]


@pytest.mark.parametrize("data", [b"\0\0", b"\x10\x01", b"\xff\xff"])
def test_door_messages_have_a_size(data: bytes) -> None:
    """Empty ones and ones over 4 KiB are refused before they are read."""
    with pytest.raises(MalformedError):
        list(DoorReader().receive(data))
    with pytest.raises(MalformedError):
        framed(DoorType.SEALED, bytes(MAX_MESSAGE_BYTES))


@pytest.mark.parametrize("message", [b"\x55", b"\x7f", b"\x7f\x63"])
def test_unknown_messages_are_malformed(message: bytes) -> None:
    """Types and refusals that do not exist."""
    with pytest.raises(MalformedError):
        parse_message(message)


def test_a_truth_value_is_no_kind_of_a_sealed_message() -> None:
    """True equals 1, but not on the wire: ACCEPT has one encoding."""
    one, other = SplitKeys(b"1" * 32, b"2" * 32), SplitKeys(b"2" * 32, b"1" * 32)
    sealed = SealedChannel(one).seal([True, 10])
    with pytest.raises(MalformedError, match="truth value"):
        SealedChannel(other).open(sealed[3:])
