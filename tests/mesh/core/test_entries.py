"""An entry has one form, one id and one author; anything else is refused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import codec, crypto
from mesh.core.attestation import Attestation
from mesh.core.ballots import BALLOT_KINDS, Ballot, Commit, Lock, Proposal, Slot, Vote
from mesh.core.community_fork import Fork
from mesh.core.contributions import Contribution
from mesh.core.entries import (
    KINDS,
    MAX_ENTRY_BYTES,
    MAX_LICENCE,
    MAX_REASON,
    Admit,
    Entry,
    Genesis,
    Known,
    Place,
    PublishModel,
    Remove,
    RetireModel,
    RotateKey,
    Unknown,
    write_entry,
)
from mesh.errors import CryptoError, MalformedError
from tests.mesh.core.world import Person

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")
ID = b"\7" * 32
SLOT = Slot("epoch", 3)


def resigned(entry: Entry, place: int, value: codec.Item, person: Person = ANNA) -> bytes:
    """Change one field of an entry's payload and sign it properly."""
    fields = codec.decode_array(entry.raw[:-64], max_bytes=MAX_ENTRY_BYTES)
    fields[place] = value
    return _signed(fields, person)


def _signed(fields: list[codec.Item], person: Person = ANNA) -> bytes:
    payload = codec.encode(fields)
    community = fields[1] if isinstance(fields[1], bytes) else b""
    return payload + crypto.sign(person.seed, "entry", community, payload)


def test_each_kind_survives_the_wire() -> None:
    """What is signed is what is read."""
    ledger = ANNA.founds()
    entries = [ledger.genesis, ANNA.admits(ledger, BEN), BEN.publishes(ledger, "tiny"), BEN.retires(ledger, "tiny")]
    entries += [BEN.signs(ledger, Fork((ledger.genesis.raw,)))]
    entries += [BEN.signs(ledger, Attestation(ledger.community, 1, b"r" * 32, b"s" * 64))]
    entries += [BEN.receives(ledger, ANNA, 300), BEN.removes(ledger, BEN), ANNA.becomes(ledger, CLEO)]
    kinds: list[type[Known]] = [
        Genesis,
        Admit,
        PublishModel,
        RetireModel,
        Fork,
        Attestation,
        Contribution,
        Remove,
        RotateKey,
    ]
    assert {kind.KIND for kind in kinds} == KINDS - BALLOT_KINDS
    for entry, kind in zip(entries, kinds, strict=True):
        assert isinstance(entry.body, kind)
        assert entry.kind == kind.KIND
        assert Entry.parse(entry.raw) == entry
        assert Entry.parse(entry.raw, trusted=True) == entry
        assert entry.community == ledger.genesis.id


def test_an_entry_is_small() -> None:
    """An admission costs a few hundred bytes."""
    assert len(ANNA.admits(ANNA.founds(), BEN).raw) < 500


@given(st.data())
def test_any_flipped_bit_is_seen(data: st.DataObject) -> None:
    """One bit anywhere breaks the form or the signature."""
    ledger = ANNA.founds()
    raw = bytearray(ANNA.admits(ledger, BEN).raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((MalformedError, CryptoError)):
        Entry.parse(bytes(raw))


@pytest.mark.parametrize(
    "ballot",
    [
        Proposal("promote", ID, "she keeps the longest hours"),
        Vote(SLOT, 0, ID),
        Vote(SLOT, 7, None),
        Lock(SLOT, 0, ID, (b"1" * 32, b"2" * 32)),
        Lock(SLOT, 0, None, ()),
        Commit(SLOT, 0, ID, (b"1" * 32,)),
    ],
)
def test_what_voters_sign_survives_the_wire(ballot: Ballot) -> None:
    """What is signed is what is read."""
    ledger = ANNA.founds()
    entry = write_entry(ANNA.seed, ledger.community, ledger.next_place(ANNA.public), ballot)
    assert Entry.parse(entry.raw).body == ballot


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        ("proposal", ["promote", ID]),
        ("proposal", ["promote", b"short", ""]),
        ("proposal", ["bell\a", ID, ""]),
        ("vote", ["epoch", 3, 0]),
        ("vote", ["epoch", -1, 0, ID]),
        ("vote", ["epoch", 3, True, ID]),
        ("vote", ["epoch", 3, 2**20 + 1, ID]),
        ("vote", ["epoch", 3, 0, "value"]),
        ("vote", ["x" * 65, 3, 0, ID]),
        ("lock", ["epoch", 3, 0, ID, [b"2" * 32, b"1" * 32]]),
        ("lock", ["epoch", 3, 0, ID, [ID, ID]]),
        ("lock", ["epoch", 3, 0, ID, [b"short"]]),
        ("lock", ["epoch", 3, 0, ID, [bytes([n % 256, n // 256]) * 16 for n in range(257)]]),
        ("commit", ["epoch", 3, 0, None, [ID]]),
        ("commit", [["epoch", 3], 0, ID, [ID]]),
    ],
)
def test_ballots_of_another_shape_are_refused_though_well_signed(kind: str, items: list[codec.Item]) -> None:
    """Each kind has its body."""
    admit = ANNA.admits(ANNA.founds(), BEN)
    fields = codec.decode_array(resigned(admit, 7, kind)[:-64], max_bytes=MAX_ENTRY_BYTES)
    with pytest.raises(MalformedError):
        Entry.parse(_signed([*fields[:8], items]))


def test_unknown_kinds_are_kept_unread() -> None:
    """A later version's entry is an entry."""
    admit = ANNA.admits(ANNA.founds(), BEN)
    entry = Entry.parse(resigned(admit, 7, "policy"))
    assert (entry.body, entry.kind) == (Unknown("policy"), "policy")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 2),
        (0, "1"),
        (0, True),
        (1, crypto.NO_COMMUNITY),
        (1, b"short"),
        (2, b"short"),
        (3, -1),
        (3, 0),
        (4, None),
        (4, b"short"),
        (5, [ID, ID]),
        (5, [b"\2" * 32, b"\1" * 32]),
        (5, [bytes([n]) * 32 for n in range(65)]),
        (5, None),
        (6, -1),
        (7, 5),
        (7, "bell\a"),
        (7, "genesis"),
        (7, "remove"),
        (8, []),
        (8, None),
        (8, [BEN.public, BEN.statement.static, bytes(64), "Ben", "observer"]),
        (8, [BEN.public, BEN.statement.static, BEN.statement.signature, " ", "observer"]),
        (8, [BEN.public, BEN.statement.static, BEN.statement.signature, "\x1b[2J", "observer"]),
        (8, [BEN.public, BEN.statement.static, BEN.statement.signature, "Ben", 1]),
    ],
)
def test_entries_of_another_shape_are_refused_though_well_signed(place: int, value: codec.Item) -> None:
    """The author's signature does not make up for a wrong type, range or place."""
    admit = ANNA.admits(ANNA.founds(), BEN)
    with pytest.raises((MalformedError, CryptoError)):
        Entry.parse(resigned(admit, place, value))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("model", [ID, ID, "tiny"]),
        ("model", [ID, ID, "tiny", "MIT", ""]),
        ("model", [ID[1:], ID, "tiny", "MIT"]),
        ("model", [ID, "release", "tiny", "MIT"]),
        ("model", [ID, ID, " ", "MIT"]),
        ("model", [ID, ID, "\u202etiny", "MIT"]),
        ("model", [ID, ID, "n" * 65, "MIT"]),
        ("model", [ID, ID, "tiny", "M\x1bT"]),
        ("model", [ID, ID, "tiny", "M" * (MAX_LICENCE + 1)]),
        ("model", [ID, ID, "tiny", None]),
        ("retire", [ID]),
        ("retire", [ID + ID, "worse"]),
        ("retire", [ID, "worse\n"]),
        ("retire", [ID, "r" * (MAX_REASON + 1)]),
        ("retire", [ID, b"worse"]),
    ],
)
def test_a_model_is_published_and_retired_in_one_form(kind: str, body: list[codec.Item]) -> None:
    """Digests of 32 bytes, a name, a licence and a reason that can be shown; anything else is refused."""
    fields = codec.decode_array(ANNA.admits(ANNA.founds(), BEN).raw[:-64], max_bytes=MAX_ENTRY_BYTES)
    payload = codec.encode([*fields[:7], kind, body])
    assert isinstance(fields[1], bytes)
    with pytest.raises(MalformedError):
        Entry.parse(payload + crypto.sign(ANNA.seed, "entry", fields[1], payload))


@pytest.mark.parametrize(("place", "value"), [(1, ID), (5, [ID]), (7, "admit"), (8, [1])])
def test_a_genesis_stands_alone(place: int, value: codec.Item) -> None:
    """It names no community and follows nothing."""
    with pytest.raises(MalformedError):
        Entry.parse(resigned(ANNA.founds().genesis, place, value))


def test_a_predecessor_is_not_cited_twice() -> None:
    """`prev` is not among the deps."""
    admit = ANNA.admits(ANNA.founds(), BEN)
    with pytest.raises(MalformedError):
        Entry.parse(resigned(admit, 5, [admit.place.prev]))


@pytest.mark.parametrize("raw", [b"", bytes(64), bytes(MAX_ENTRY_BYTES + 1), b"\x80" + bytes(64)])
def test_other_bytes_are_no_entries(raw: bytes) -> None:
    """Too short, too long, or an array of another length."""
    with pytest.raises(MalformedError):
        Entry.parse(raw)


def test_a_removal_signed_with_anothers_key_is_refused() -> None:
    """The signature is the author's or nobody's."""
    admit = ANNA.admits(ANNA.founds(), BEN)
    with pytest.raises(CryptoError):
        Entry.parse(resigned(admit, 3, 1, person=BEN))


def test_places_name_their_parents() -> None:
    """The predecessor comes first."""
    ledger = ANNA.founds()
    admit = ANNA.admits(ledger, BEN)
    assert admit.parents == (ledger.genesis.id,)
    assert admit.place == Place(1, ledger.genesis.id, ())
    assert BEN.removes(ledger, BEN).parents == (admit.id,)


@pytest.mark.parametrize(
    "encode",
    [
        lambda fields: b"\x9f" + codec.encode(fields)[1:] + b"\xff",  # an array without a length
        lambda fields: b"\x98\x09" + codec.encode(fields)[1:],  # a length in more bytes than it needs
        lambda fields: codec.encode(fields)[:1] + b"\x18\x01" + codec.encode(fields)[2:],  # so is the version
        lambda fields: codec.encode(fields) + b"\x00",  # a byte behind it
        lambda fields: b"\xd9\xd9\xf7" + codec.encode(fields),  # a tag
        lambda fields: codec.encode([*fields[:7], "of the future", []])[:-1] + b"\x81" * 17 + b"\x80",  # too deep
        lambda fields: codec.encode([*fields[:7], "of the future", [bytes(MAX_ENTRY_BYTES)]]),  # too large
        lambda fields: codec.encode([*fields[:7], "of the future", [[0] * 20_000]]),  # too many items
        lambda fields: codec.encode([*fields, 0]),
        lambda fields: codec.encode(fields[:8]),
    ],
)
def test_an_entry_in_another_encoding_is_refused_though_well_signed(
    encode: Callable[[list[codec.Item]], bytes],
) -> None:
    """Else one entry would have several ids, or cost more to look at than it is worth."""
    admit = ANNA.admits(ANNA.founds(), BEN)
    fields = codec.decode_array(admit.raw[:-64], max_bytes=MAX_ENTRY_BYTES)
    assert Entry.parse(_signed(fields)) == admit
    payload = encode(fields)
    with pytest.raises(MalformedError):
        Entry.parse(payload + crypto.sign(ANNA.seed, "entry", admit.community, payload))


def test_an_entry_cannot_be_said_again_in_another_community() -> None:
    """Its signature is for one alone, and its id with it."""
    here, there = ANNA.founds(), ANNA.founds("Elsewhere")
    admit = ANNA.admits(there, BEN)
    with pytest.raises(MalformedError, match="another community"):
        here.add(admit)
    raw = admit.raw.replace(there.community, here.community)
    with pytest.raises(CryptoError):
        Entry.parse(raw)
