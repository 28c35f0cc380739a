"""A contribution needs both ends: whatever one of them signs alone is refused where it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import codec, crypto
from mesh.core.contributions import (
    MAX_AMOUNT,
    MAX_PERIOD,
    MOST,
    NOTHING,
    Amount,
    Contribution,
    counter_sign,
    parse_contribution,
)
from mesh.core.entries import Entry
from mesh.core.ledger import Ledger
from mesh.errors import CryptoError, MalformedError
from tests.mesh.core.world import Person

ANNA, BEN, CLEO = Person("Anna"), Person("Ben"), Person("Cleo")
SOME = Amount(3, 400, 5_000_000)
amounts = st.builds(Amount, *[st.integers(0, MAX_AMOUNT)] * 3)


@pytest.fixture
def ledger() -> Ledger:
    """Anna's community, with Ben and Cleo."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, CLEO)
    return ledger


def raw(ledger: Ledger, author: Person, items: list[codec.Item]) -> bytes:
    """Sign an entry of the kind as its author would, whatever is in it."""
    place = ledger.next_place(author.public)
    head: list[codec.Item] = [1, ledger.community, author.public, place.seq, place.prev, [*place.deps], 0]
    payload = codec.encode([*head, "contribution", items])
    return payload + crypto.sign(author.seed, "entry", ledger.community, payload)


def test_both_ends_make_one(ledger: Ledger) -> None:
    """The receiver signs the entry, the giver what is said in it."""
    signature = counter_sign(ANNA.seed, ledger.community, BEN.public, 0, SOME)
    body = Contribution(ANNA.public, 0, SOME, signature)
    entry = Entry.parse(raw(ledger, BEN, body.to_items()))
    assert entry.body == body
    assert signature == counter_sign(ANNA.seed, ledger.community, BEN.public, 0, SOME)
    assert len(entry.raw) < 400


def test_nobody_mints_its_own(ledger: Ledger) -> None:
    """Neither by signing both ends with one key, nor by signing the giver's end as the receiver."""
    of_itself = counter_sign(BEN.seed, ledger.community, BEN.public, 0, SOME)
    with pytest.raises(MalformedError, match="to itself"):
        Entry.parse(raw(ledger, BEN, Contribution(BEN.public, 0, SOME, of_itself).to_items()))
    for signature in (of_itself, bytes(64)):
        with pytest.raises(CryptoError):
            Entry.parse(raw(ledger, BEN, Contribution(ANNA.public, 0, SOME, signature).to_items()))


def test_a_givers_signature_serves_one_purpose(ledger: Ledger) -> None:
    """Of another period, amount, community, receiver or giver, or of another kind, it is none."""
    community = ledger.community
    said = codec.encode([BEN.public, ANNA.public, 0, *SOME.to_items()])
    for signature in (
        counter_sign(ANNA.seed, community, BEN.public, 1, SOME),
        counter_sign(ANNA.seed, community, BEN.public, 0, Amount(3, 400, 5_000_001)),
        counter_sign(ANNA.seed, CLEO.founds().community, BEN.public, 0, SOME),
        counter_sign(ANNA.seed, community, CLEO.public, 0, SOME),
        counter_sign(CLEO.seed, community, BEN.public, 0, SOME),
        crypto.sign(ANNA.seed, "entry", community, said),
    ):
        with pytest.raises(CryptoError):
            Entry.parse(raw(ledger, BEN, Contribution(ANNA.public, 0, SOME, signature).to_items()))


def test_what_lies_on_the_own_disk_was_checked_before(ledger: Ledger) -> None:
    """And is only read."""
    body = Contribution(ANNA.public, 0, SOME, bytes(64))
    assert Entry.parse(raw(ledger, BEN, body.to_items()), trusted=True).body == body


@pytest.mark.parametrize(
    "items",
    [
        [],
        [b"short", 0, 1, 1, 1, bytes(64)],
        [ANNA.public, -1, 1, 1, 1, bytes(64)],
        [ANNA.public, MAX_PERIOD + 1, 1, 1, 1, bytes(64)],
        [ANNA.public, True, 1, 1, 1, bytes(64)],
        [ANNA.public, 0, 0, 0, 0, bytes(64)],
        [ANNA.public, 0, -1, 1, 1, bytes(64)],
        [ANNA.public, 0, 1, MAX_AMOUNT + 1, 1, bytes(64)],
        [ANNA.public, 0, 1, 1, "1", bytes(64)],
        [ANNA.public, 0, 1, 1, 1, bytes(63)],
        [ANNA.public, 0, 1, 1, 1, bytes(64), 0],
    ],
)
def test_another_body_is_none(items: list[codec.Item]) -> None:
    """Types, lengths, bounds; and nothing is no contribution."""
    with pytest.raises(MalformedError):
        parse_contribution(BEN.public, items)


@given(amounts, amounts)
def test_amounts(one: Amount, other: Amount) -> None:
    """What is common to two was in both, and with what is left it is the whole."""
    common = one.common(other)
    assert common == other.common(one)
    assert one.less(common) + common == one
    assert one.less(other) == one.less(common)
    assert bool(one) == any((one.answers, one.tokens, one.model_bytes))
    assert one.common(MOST) == one
    assert one.common(NOTHING) == NOTHING
