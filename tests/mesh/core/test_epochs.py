"""Epoch keys: one is greatest, the past is gone, and memory has an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import codec
from mesh.core.epochs import BY_VOTER, MAX_KEYS, EpochKey, KeyRing
from mesh.errors import MalformedError

KEYS = st.builds(
    EpochKey,
    st.integers(0, 5),
    st.integers(0, BY_VOTER),
    st.integers(1, 255).map(lambda n: bytes([n]) * 16),
    st.just(b"s" * 32),
)


@given(st.lists(KEYS, max_size=40, unique_by=lambda key: key.id), st.randoms())
def test_any_order_of_keys_gives_one_ring(keys: list[EpochKey], rng: object) -> None:
    """Two nodes with the same keys send under the same one."""
    one = KeyRing(1).with_keys(keys)
    rng.shuffle(keys)  # type: ignore[attr-defined]  # a random.Random
    two = KeyRing(1)
    for key in keys:
        two = two.with_keys([key])
    assert one == two
    assert one.keys == one.current == tuple(sorted({k for k in keys if k.number == 1}, reverse=True))[:MAX_KEYS]
    assert one.at(1) == one
    assert one.at(3) == KeyRing(3)


@given(st.lists(KEYS, max_size=20))
def test_no_key_is_kept_for_a_later_number(planted: list[EpochKey]) -> None:
    """Who plants the next key before it is removed has planted nothing."""
    assert KeyRing(0).with_keys(planted).at(1).keys == ()


@given(st.lists(KEYS, max_size=20), st.lists(KEYS, max_size=20))
def test_a_held_id_keeps_its_secret(ours: list[EpochKey], twins: list[EpochKey]) -> None:
    """Another key under a known id would part who has restarted from who has not."""
    ring = KeyRing(1).with_keys(ours)
    grown = ring.with_keys(EpochKey(key.number, key.generation, key.id, b"t" * 32) for key in twins)
    assert all(grown.find(key.id) in {key, None} for key in ring.keys)


def test_the_greatest_shared_key_is_chosen() -> None:
    """Generation first, then id; keys of other numbers do not count."""
    low, high, later = (EpochKey(1, g, bytes([i]) * 16, b"s" * 32) for g, i in ((0, 9), (1, 2), (1, 3)))
    ring = KeyRing(1).with_keys([low, high, EpochKey(2, 1, later.id, later.secret)])
    assert ring.current == (high, low)
    assert ring.greatest_of([low.id, later.id]) == low
    assert ring.greatest_of([]) is None
    assert ring.find(high.id) == high
    assert ring.find(later.id) is None


def test_a_ring_is_bounded() -> None:
    """Many keys do not pile up."""
    ring = KeyRing(0).with_keys(EpochKey(0, 0, bytes([n + 1]) * 16, bytes(32)) for n in range(40))
    assert len(ring.keys) == MAX_KEYS


def test_keys_survive_the_wire() -> None:
    """And nothing else is one; sixteen zero bytes mean "no key"."""
    key = EpochKey(3, 1, b"i" * 16, b"s" * 32)
    assert EpochKey.parse(key.to_item()) == key
    bad: list[codec.Item] = [None, [1, 1, bytes(16), bytes(32)], [1, 1, b"i" * 16, b""], [-1, 0, b"i" * 16, bytes(32)]]
    bad.append([1, BY_VOTER + 1, b"i" * 16, bytes(32)])  # nothing outweighs a voter's
    for item in bad:
        with pytest.raises(MalformedError):
            EpochKey.parse(item)
    assert "ssss" not in repr(key)
