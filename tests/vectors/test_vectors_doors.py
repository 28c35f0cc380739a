"""At a door both sides say exactly the committed bytes, and hang up on what the files call invalid."""

import functools
from collections.abc import Callable
from importlib import resources

import pytest

from mesh.core import crypto
from mesh.core.door_messages import DoorReader, DoorType, Grant, HangUpError, Ports, framed, parse_message
from mesh.core.enrolment import Applicant, Owner, Place, Request, Returned
from mesh.core.joiner import Accepted, Joiner
from mesh.core.offerer import Joined, Offerer
from mesh.core.pairing import Admission, Form, Introduction, PairingKey, derive_key
from mesh.core.statement import IdentityStatement
from mesh.errors import DoorRefusedError, MalformedError, MeshError, PeerMisbehavedError, WrongWordsError
from tests.vectors.reading import Case, cases, data_of, invalid, title

WORDLIST = resources.files("mesh.core").joinpath("wordlist.txt").read_text().split()


def taken_apart(data: bytes) -> tuple[DoorType, bytes]:
    """Read one message off the stream."""
    [message] = DoorReader().receive(data)
    return parse_message(message)


@pytest.mark.parametrize("case", cases("door"), ids=title)
def test_door_messages(case: Case) -> None:
    """Written and read, also byte by byte."""
    kind, body = DoorType(case["type"]), bytes.fromhex(case["body"])
    assert framed(kind, body) == data_of(case)
    reader = DoorReader()
    read = [parse_message(message) for byte in data_of(case) for message in reader.receive(bytes([byte]))]
    assert read == [(kind, body)]


@pytest.mark.parametrize("case", invalid("door"), ids=title)
def test_what_is_no_door_message(case: Case) -> None:
    """Is malformed."""
    with pytest.raises(MalformedError):
        taken_apart(data_of(case))


@pytest.mark.parametrize("case", cases("pairing-keys"), ids=title)
def test_pairing_keys(case: Case) -> None:
    """From words or QR text to the keys and the proof."""
    key = derive_key(case["text"], WORDLIST)
    whole = bytes.fromhex(case["K"])
    assert key == PairingKey(Form(case["form"]), whole[:32], whole[32:])
    assert key.psk.hex() == case["psk"]
    nonce, nonce2, raw_id = (bytes.fromhex(case[name]) for name in ("nonce", "nonce2", "raw_id"))
    assert key.proof(nonce, nonce2, raw_id) == data_of(case)


@pytest.mark.parametrize("case", invalid("pairing-keys"), ids=title)
def test_what_is_no_secret(case: Case) -> None:
    """Is refused with a word on what is wrong."""
    with pytest.raises(WrongWordsError):
        derive_key(case["text"], WORDLIST)


def drawing(party: Case) -> Callable[[int], bytes]:
    """Stand for the random source of one end: its nonce, then its ephemeral key."""
    draws = iter([bytes.fromhex(party["nonce"]), bytes.fromhex(party["ephemeral"])])
    return lambda _size: next(draws)


def introduction(party: Case) -> Introduction:
    """What an end says of itself."""
    static = crypto.x25519_public(bytes.fromhex(party["static_secret"]))
    statement = IdentityStatement.make(bytes.fromhex(party["seed"]), static)
    return Introduction(statement, party["name"], bytes.fromhex(party["tls_public"]))


def grant(fields: Case) -> Grant:
    """Read a grant."""
    return Grant(bytes.fromhex(fields["ca"]), bytes.fromhex(fields["ctl"]), bytes.fromhex(fields["bulk"]))


@functools.cache
def stretched(text: str) -> PairingKey:
    """Derive a key once for all tests."""
    return derive_key(text, WORDLIST)


class Pairing:
    """Both ends of a committed conversation, brought forward message by message."""

    def __init__(self, case: Case) -> None:
        self.case = case
        key, other = stretched(case["text"]), stretched(case["other_text"])
        one, two = case["joiner"], case["offerer"]
        static = bytes.fromhex(one["static_secret"])
        self.joiner = Joiner(introduction(one), static, key=key, random=drawing(one))
        self.offerer = Offerer(
            introduction(two),
            bytes.fromhex(two["static_secret"]),
            keys=(key, other),
            begin_try=lambda: None,
            random=drawing(two),
        )
        self.said: list[bytes] = []
        self.events: list[object] = []

    def tell(self, to: str, data: bytes) -> bytes:
        """Hand a message to one end; return what it says to it."""
        end = self.offerer if to == "offerer" else self.joiner
        reply, event = end.receive(*taken_apart(data))
        self.events.append(event)
        return reply

    def go_on(self, steps: int) -> None:
        """Bring the conversation to its `steps`-th message."""
        makers: list[Callable[[], list[bytes]]] = [
            lambda: [self.joiner.probe()],
            lambda: [self.tell("offerer", self.said[0])],
            lambda: [self.tell("joiner", self.said[1]) or self.joiner.begin()],
            lambda: [self.tell("offerer", self.said[2])],
            lambda: [self.tell("joiner", self.said[3])],
            self.admitted,
            lambda: [self.joiner.confirm(grant(self.case["grant"]), Ports(*self.case["ports"]))],
        ]
        for make in makers:
            if len(self.said) >= steps:
                return
            self.said += make()

    def admitted(self) -> list[bytes]:
        """Let the joiner in."""
        self.tell("offerer", self.said[4])
        admission = Admission.parse(bytes.fromhex(self.case["admission"]))
        assert admission.to_bytes().hex() == self.case["admission"]
        messages = [*self.offerer.accept(admission)]
        for message in messages:
            self.tell("joiner", message)
        return messages


@pytest.mark.parametrize("case", cases("pairing"), ids=title)
def test_a_pairing_is_these_bytes(case: Case) -> None:
    """Every message of both sides, and what each ends with."""
    pairing = Pairing(case)
    pairing.go_on(len(case["messages"]))
    assert [data.hex() for data in pairing.said] == [message["bytes"] for message in case["messages"]]
    admission = Admission.parse(bytes.fromhex(case["admission"]))
    assert pairing.events[-1] == Accepted(introduction(case["offerer"]), admission)
    pairing.tell("offerer", pairing.said[-1])
    assert pairing.events.pop() == Joined(grant(case["grant"]), Ports(*case["ports"]))


@pytest.mark.parametrize("case", invalid("pairing"), ids=title)
def test_a_pairing_ends_at_these_bytes(case: Case) -> None:
    """Nobody is let in, and nobody believes anything."""
    pairing = Pairing(cases("pairing")[0])
    pairing.go_on(case["after"] + 1 if case["to"] == "joiner" and case["after"] == 5 else case["after"])
    before = len(pairing.events)
    with pytest.raises((PeerMisbehavedError, HangUpError, WrongWordsError, DoorRefusedError, MeshError)):
        pairing.tell(case["to"], data_of(case))
    assert pairing.events[before:] == []


def enrolling(case: Case) -> tuple[Owner, Applicant]:
    """Make both ends of a committed enrolment."""
    one, two = case["owner"], case["member"]
    place = Place(bytes.fromhex(case["community"]), introduction(one).statement.raw_id)
    owner = Owner(place, bytes.fromhex(one["static_secret"]), ephemeral=bytes.fromhex(one["ephemeral"]))
    applicant = Applicant(
        place,
        bytes.fromhex(two["static_secret"]),
        owner_static=introduction(one).statement.static,
        ephemeral=bytes.fromhex(two["ephemeral"]),
    )
    return owner, applicant


def enrol(case: Case, owner: Owner, applicant: Applicant, steps: int) -> list[bytes]:
    """Bring an enrolment to its `steps`-th message."""
    one, two = case["owner"], case["member"]
    said: list[bytes] = []
    if steps > 0:
        said.append(applicant.request(bytes.fromhex(two["tls_public"])))
    if steps > 1:
        request = owner.request(taken_apart(said[0])[1])
        assert request == Request(introduction(two).statement.static, bytes.fromhex(two["tls_public"]))
        given = grant(case["owners_grant"])
        said.append(owner.grant(given, bytes.fromhex(one["tls_public"]), Ports(*case["owners_ports"])))
    if steps > 2:
        applicant.granted(*taken_apart(said[1]))
        said.append(applicant.give_back(grant(case["members_grant"]), Ports(*case["members_ports"])))
    return said


@pytest.mark.parametrize("case", cases("enrolment"), ids=title)
def test_an_enrolment_is_these_bytes(case: Case) -> None:
    """Three messages, and a grant for each."""
    owner, applicant = enrolling(case)
    said = enrol(case, owner, applicant, 3)
    assert [data.hex() for data in said] == [message["bytes"] for message in case["messages"]]
    expected = Returned(grant(case["members_grant"]), Ports(*case["members_ports"]))
    assert owner.returned(taken_apart(said[2])[1]) == expected


@pytest.mark.parametrize("case", invalid("enrolment"), ids=title)
def test_an_enrolment_ends_at_these_bytes(case: Case) -> None:
    """Nothing is granted for them."""
    owner, applicant = enrolling(cases("enrolment")[0])
    enrol(cases("enrolment")[0], owner, applicant, case["after"])
    kind, body = taken_apart(data_of(case))
    hear: dict[tuple[str, int], Callable[[], object]] = {
        ("owner", 0): lambda: owner.request(body),
        ("member", 1): lambda: applicant.granted(kind, body),
        ("owner", 2): lambda: owner.returned(body),
    }
    with pytest.raises(PeerMisbehavedError):
        hear[case["to"], case["after"]]()
