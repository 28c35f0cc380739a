"""What receivers and givers say to each other: what is written is read back, all else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.core import query_messages
from device.core.contribution_messages import MAX_BYTES, Claim, ContributionMessage, CounterSigned, parse_message
from device.core.sharing_messages import SHARING_KINDS
from device.errors import NeighbourMisbehavedError
from mesh.core.codec import Item, encode
from mesh.core.contributions import MAX_AMOUNT, MAX_PERIOD, MOST, Amount
from mesh.core.envelope import BULK_KINDS

periods = st.integers(0, MAX_PERIOD)
amounts = st.builds(Amount, *[st.integers(0, MAX_AMOUNT)] * 3).filter(bool)
messages = st.one_of(
    st.builds(Claim, periods, amounts),
    st.builds(CounterSigned, periods, amounts, st.binary(min_size=64, max_size=64)),
)


@given(messages)
def test_what_is_written_is_read_back(message: ContributionMessage) -> None:
    """Every message survives the wire unchanged."""
    assert parse_message(message.KIND, message.to_body()) == message


def test_the_largest_fits() -> None:
    """And is no longer than a message may be."""
    assert len(CounterSigned(MAX_PERIOD, MOST, bytes(64)).to_body()) <= MAX_BYTES


def test_kinds_are_nobody_elses() -> None:
    """And other kinds are left to others."""
    kinds = {Claim.KIND, CounterSigned.KIND}
    assert not kinds & {*BULK_KINDS, *SHARING_KINDS, *query_messages._KINDS}
    assert parse_message(22, b"") is None


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (23, []),
        (23, [0, 1, 1, 1, 1]),
        (23, [-1, 1, 1, 1]),
        (23, [MAX_PERIOD + 1, 1, 1, 1]),
        (23, [True, 1, 1, 1]),
        (23, [0, 0, 0, 0]),
        (23, [0, 1, -1, 0]),
        (23, [0, 1, MAX_AMOUNT + 1, 0]),
        (23, [0, 1, "1", 0]),
        (24, [0, 1, 1, 1]),
        (24, [0, 1, 1, 1, bytes(63)]),
        (24, [0, 0, 0, 0, bytes(64)]),
        (24, [0, 1, 1, 1, bytes(200)]),
    ],
)
def test_what_is_none_of_its_kind_is_refused(kind: int, fields: list[Item]) -> None:
    """Types, lengths, numbers."""
    with pytest.raises(NeighbourMisbehavedError):
        parse_message(kind, encode(fields))
