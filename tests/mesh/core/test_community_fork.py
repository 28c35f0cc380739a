"""The entry by which somebody begins the community anew: bounded, and read no further than that."""

import pytest

from mesh.core.codec import Item
from mesh.core.community_fork import MAX_COMING, MAX_PART_BYTES, Fork, nonce_of, parse_fork
from mesh.errors import MalformedError


def test_what_is_written_is_read_again() -> None:
    """As many as may come along, whatever their entries say."""
    fork = Fork((b"genesis", *[b"x" * MAX_PART_BYTES] * 60))
    assert parse_fork(fork.to_items()) == fork
    assert parse_fork([[]]) == Fork(())


@pytest.mark.parametrize(
    "items", [[b"entries"], [["text"]], [[b"x" * (MAX_PART_BYTES + 1)]], [[b"x"] * (MAX_COMING + 2)], [[[b"x"]]]]
)
def test_what_is_too_large_or_no_bytes_is_refused(items: list[Item]) -> None:
    """Before anybody looks into it."""
    with pytest.raises(MalformedError):
        parse_fork(items)


@pytest.mark.parametrize("items", [[], [[], []]])
def test_another_body_is_none(items: list[Item]) -> None:
    """The entry that has it is refused."""
    assert parse_fork(items) is None


def test_the_nonce_stands_for_what_it_goes_on_from() -> None:
    """In whatever order that is given, and for nothing else."""
    one, two, community = b"\1" * 32, b"\2" * 32, b"\3" * 32
    assert nonce_of(community, [one, two]) == nonce_of(community, [two, one])
    assert len({nonce_of(community, [one]), nonce_of(community, [two]), nonce_of(one, [community])}) == 3
