"""Epoch keys: one is greatest, the past is gone, and memory has an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import codec
from mesh.core.epochs import MAX_AHEAD, MAX_KEYS, EpochKey, KeyRing
from mesh.errors import MalformedError

KEYS = st.builds(
    EpochKey,
    st.integers(0, 5),
    st.integers(0, 3),
    st.integers(1, 255).map(lambda n: bytes([n]) * 16),
    st.just(b"s" * 32),
)


@given(st.lists(KEYS, max_size=40), st.randoms())
def test_any_order_of_keys_gives_one_ring(keys: list[EpochKey], rng: object) -> None:
    """Two nodes with the same keys send under the same one."""
    one = KeyRing(1).with_keys(keys)
    rng.shuffle(keys)  # type: ignore[attr-defined]  # a random.Random
    two = KeyRing(1)
    for key in keys:
        two = two.with_keys([key])
    assert one == two
    assert all(key.number >= 1 for key in one.keys)
    assert one.at(3).current == tuple(sorted({k for k in one.keys if k.number == 3}, reverse=True))[:MAX_KEYS]


def test_the_greatest_shared_key_is_chosen() -> None:
    """Generation first, then id; keys of other numbers do not count."""
    low, high, later = (EpochKey(1, g, bytes([i]) * 16, b"s" * 32) for g, i in ((0, 9), (1, 2), (2, 3)))
    ring = KeyRing(1).with_keys([low, high, EpochKey(2, 2, later.id, later.secret)])
    assert ring.current == (high, low)
    assert ring.greatest_of([low.id, later.id]) == low
    assert ring.greatest_of([]) is None
    assert ring.find(high.id) == high
    assert ring.find(later.id) is None


def test_a_ring_is_bounded() -> None:
    """Neither many keys nor keys of a far future pile up."""
    ring = KeyRing(0).with_keys(EpochKey(0, 0, bytes([n + 1]) * 16, bytes(32)) for n in range(40))
    assert len(ring.keys) == MAX_KEYS
    assert KeyRing(0).with_keys([EpochKey(MAX_AHEAD + 1, 0, b"1" * 16, bytes(32))]).keys == ()


def test_keys_survive_the_wire() -> None:
    """And nothing else is one; sixteen zero bytes mean "no key"."""
    key = EpochKey(3, 1, b"i" * 16, b"s" * 32)
    assert EpochKey.parse(key.to_item()) == key
    bad: list[codec.Item] = [None, [1, 1, bytes(16), bytes(32)], [1, 1, b"i" * 16, b""], [-1, 0, b"i" * 16, bytes(32)]]
    for item in bad:
        with pytest.raises(MalformedError):
            EpochKey.parse(item)
    assert "ssss" not in repr(key)
