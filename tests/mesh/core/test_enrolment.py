"""Enrolment: members exchange grants, and only they can."""

import pytest

from mesh.core import codec, crypto, enrolment
from mesh.core.door_messages import DoorReader, DoorType, Grant, Ports, SealedChannel, framed, parse_message
from mesh.core.enrolment import Applicant, Granted, Owner, Place, Request, Returned
from mesh.errors import CryptoError, MalformedError
from tests.mesh.core.world import Person

ANNA, BEN = Person("Anna"), Person("Ben")
PLACE = Place(b"c" * 32, ANNA.raw_id)
GRANT, BACK = Grant(b"ca" * 300, b"ctl" * 300, b"bulk" * 200), Grant(b"1", b"2", b"3")
PORTS, OTHER_PORTS = Ports(1, 2), Ports(3, 4)


def body(data: bytes) -> tuple[DoorType, bytes]:
    """Take one sent message apart."""
    [message] = DoorReader().receive(data)
    return parse_message(message)


def both(place: Place = PLACE) -> tuple[Owner, Applicant]:
    """Make the two sides; the applicant believes in a place."""
    owner = Owner(PLACE, ANNA.static_secret, ephemeral=b"1" * 32)
    return owner, Applicant(place, BEN.static_secret, owner_static=ANNA.statement.static, ephemeral=b"2" * 32)


def test_members_exchange_grants() -> None:
    """One round trip and a half: each ends with a key to the other's broker."""
    owner, applicant = both()
    assert owner.request(body(applicant.request(b"ben's tls"))[1]) == Request(BEN.statement.static, b"ben's tls")
    assert applicant.granted(*body(owner.grant(GRANT, b"anna's tls", PORTS))) == Granted(GRANT, b"anna's tls", PORTS)
    assert owner.returned(body(applicant.give_back(BACK, OTHER_PORTS))[1]) == Returned(BACK, OTHER_PORTS)
    assert owner.state is enrolment.State.DONE


@pytest.mark.parametrize("place", [Place(b"d" * 32, ANNA.raw_id), Place(b"c" * 32, BEN.raw_id)])
def test_another_community_or_owner_is_another_conversation(place: Place) -> None:
    """The first message does not open."""
    owner, applicant = both(place)
    with pytest.raises(CryptoError):
        owner.request(body(applicant.request(b""))[1])


def test_steps_have_a_turn() -> None:
    """On both sides."""
    owner, applicant = both()
    with pytest.raises(MalformedError):
        owner.grant(GRANT, b"", PORTS)
    request = body(applicant.request(b""))[1]
    with pytest.raises(CryptoError):
        applicant.granted(DoorType.SEALED, b"")
    owner.request(request)
    with pytest.raises(MalformedError):
        owner.request(request)
    answer = body(owner.grant(GRANT, b"", PORTS))
    applicant.granted(*answer)
    with pytest.raises(CryptoError):
        applicant.granted(*answer)


def test_payloads_of_another_shape_are_malformed() -> None:
    """Well sealed nonsense is nonsense still."""
    owner, applicant = both()
    with pytest.raises(MalformedError):
        owner.request(applicant._handshake.write(codec.encode([])))
    owner, applicant = both()
    owner.request(body(applicant.request(b""))[1])
    with pytest.raises(MalformedError):
        applicant.granted(DoorType.HANDSHAKE, owner._handshake.write(codec.encode([1])))
    owner, applicant = both()
    owner.request(body(applicant.request(b""))[1])
    applicant.granted(*body(owner.grant(GRANT, b"", PORTS)))
    sealed = SealedChannel(applicant._handshake.split()).seal([9])
    with pytest.raises(MalformedError):
        owner.returned(body(sealed)[1])


@pytest.mark.parametrize("item", [None, [b"", b""], [b"", b"", bytes(2000)]])
def test_grants_have_a_size(item: codec.Item) -> None:
    """Three texts of bounded length."""
    with pytest.raises(MalformedError):
        Grant.parse(item)


def test_an_answer_fits_one_message() -> None:
    """The largest grant allowed does."""
    pem = bytes(1100)
    owner, applicant = both()
    owner.request(body(applicant.request(bytes(512)))[1])
    kind, answer = body(owner.grant(Grant(pem, pem, pem), bytes(512), PORTS))
    assert applicant.granted(kind, answer).grant == Grant(pem, pem, pem)
    assert framed(kind, answer)
    assert crypto.KEY_BYTES == 32
