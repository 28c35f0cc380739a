"""One value has one encoding, and nothing else decodes."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import codec
from mesh.errors import MalformedError

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20)
ITEMS = st.recursive(SCALARS, lambda children: st.lists(children, max_size=4), max_leaves=12)


@given(ITEMS)
def test_items_survive_the_wire(item: codec.Item) -> None:
    """What is encoded is decoded to the same."""
    assert codec.decode(codec.encode(item), max_bytes=10_000) == item


@pytest.mark.parametrize("size", [4095, 4096, 65_535, 65_536, 300_000])
def test_large_bytes_are_written_as_all_others(size: int) -> None:
    """By another way, with the same result, whatever stands beside them."""
    item: codec.Item = [7, b"id", None, bytes(size), [1, b"place"], -1, bytes(size), "text", True]
    assert cbor2.dumps(item) == codec.encode(item)
    assert codec.decode(codec.encode(item), max_bytes=2**20) == item


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x5b" + (5000).to_bytes(8, "big") + bytes(5000),  # a length in more bytes than it needs
        b"\x98\x01\x59" + (5000).to_bytes(2, "big") + bytes(5000),  # so is the array's
        b"\x82\x59" + (5000).to_bytes(2, "big") + bytes(5000) + b"\x18\x01",  # something small behind it
        b"\x81\x59" + (5000).to_bytes(2, "big") + bytes(5001),  # a byte too many
    ],
)
def test_large_bytes_are_held_to_the_one_encoding_too(data: bytes) -> None:
    """Although they are compared where they lie."""
    with pytest.raises(MalformedError):
        codec.decode(data, max_bytes=2**20)


@given(st.binary(max_size=60))
def test_foreign_bytes_decode_canonically_or_not_at_all(data: bytes) -> None:
    """Whatever decodes, encodes to the very bytes it came from."""
    try:
        item = codec.decode(data, max_bytes=60)
    except MalformedError:
        return
    assert codec.encode(item) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xa0",  # a map
        b"\x18\x01",  # 1 in two bytes
        b"\x01\x02",  # bytes behind the item
        b"\x9f\xff",  # indefinite length
        b"\xc2\x41\x01",  # bignum tag
        b"\xd8\x23\x61a",  # regex tag
        b"\xf9\x3c\x00",  # a float
        b"\x61\xff",  # not UTF-8
        b"\x9b\x00\x00\x00\x01\xff\xff\xff\xff",  # an array of eight thousand millions
        b"\x5b\x00\x00\x00\x10\xff\xff\xff\xff",  # as many bytes
        b"\x81" * 17 + b"\x00",
        b"\x81" * 5000,
        b"\xf7",  # undefined
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Types and encodings outside the subset, and lengths that lie, are malformed."""
    with pytest.raises(MalformedError):
        codec.decode(data, max_bytes=10_000)


def test_the_deepest_allowed_nesting_decodes() -> None:
    """Sixteen arrays in one another are the limit."""
    data = b"\x81" * 15 + b"\x80"
    assert data == codec.encode(codec.decode(data, max_bytes=100))


def test_too_many_bytes_are_refused_unread() -> None:
    """The size is looked at first."""
    with pytest.raises(MalformedError, match="3 bytes where at most 2"):
        codec.decode(b"\x01\x02\x03", max_bytes=2)


@given(ITEMS, st.integers(1, 40))
def test_items_are_counted_before_they_are_built(item: codec.Item, most: int) -> None:
    """An item for each array and each thing in it, whatever their sizes."""

    def count(one: codec.Item) -> int:
        return 1 + sum(count(child) for child in one) if isinstance(one, list) else 1

    data = codec.encode(item)
    if count(item) <= most:
        assert codec.decode(data, max_bytes=10_000, max_items=most) == item
    else:
        with pytest.raises(MalformedError, match=f"more than {most} items"):
            codec.decode(data, max_bytes=10_000, max_items=most)


@pytest.mark.parametrize("one", [b"\x80", b"\x00"])
def test_a_mebibyte_of_tiny_items_is_refused_unbuilt(one: bytes) -> None:
    """What each byte can be an item of costs as much as the bound allows, not as much as the bytes do."""
    count = 2**20 - 5
    with pytest.raises(MalformedError, match="more than 20000 items"):
        codec.decode(b"\x9a" + count.to_bytes(4, "big") + one * count, max_bytes=2**20)


def test_a_message_is_an_array() -> None:
    """Only arrays are messages."""
    assert codec.decode_array(b"\x81\x01", max_bytes=9) == [1]
    with pytest.raises(MalformedError, match="array"):
        codec.decode_array(b"\x01", max_bytes=9)


@pytest.mark.parametrize("item", [2**64, -(2**63) - 1, [1.5], [[[{}]]]])
def test_what_cannot_be_decoded_is_not_encoded(item: codec.Item) -> None:
    """The sender learns of its mistake before the wire does."""
    with pytest.raises(MalformedError):
        codec.encode(item)


def test_nested_too_deep_is_not_encoded() -> None:
    """The depth holds for the sender too."""
    item: codec.Item = 1
    for _ in range(17):
        item = [item]
    with pytest.raises(MalformedError, match="deep"):
        codec.encode(item)


def test_tags_are_never_looked_into() -> None:
    """The stand-in for tag decoders names no tag and refuses each."""
    assert list(codec._REFUSE_TAGS) == []
    assert len(codec._REFUSE_TAGS) == 0
    with pytest.raises(cbor2.CBORDecodeError):
        cbor2.loads(b"\xd8\x23\x61a", semantic_decoders=codec._REFUSE_TAGS)


def test_foreign_items_are_taken_as_what_they_must_be() -> None:
    """Right types pass through."""
    assert codec.unsigned(5, 5) == 5
    assert codec.fixed_bytes(b"ab", 2) == b"ab"
    assert codec.short_bytes(b"a", 2) == b"a"
    assert codec.short_text("é", 1) == "é"
    assert codec.short_array([1], 1) == [1]


@pytest.mark.parametrize("item", [-1, 6, True, None, "5"])
def test_other_items_are_no_unsigned(item: codec.Item) -> None:
    """Truth is not a number here."""
    with pytest.raises(MalformedError):
        codec.unsigned(item, 5)


@pytest.mark.parametrize("item", ["ab", b"abc", None])
def test_other_items_are_no_bytes_of_that_length(item: codec.Item) -> None:
    """Text and other lengths are refused."""
    with pytest.raises(MalformedError):
        codec.fixed_bytes(item, 2)
    with pytest.raises(MalformedError):
        codec.short_bytes(item, 2)


@pytest.mark.parametrize("item", ["\x1b[2J", "abc\n", "abcd", b"a"])
def test_other_items_are_no_short_text(item: codec.Item) -> None:
    """What could steer a terminal is refused."""
    with pytest.raises(MalformedError):
        codec.short_text(item, 3 + ("\n" in str(item)))


@pytest.mark.parametrize("item", [[1, 2], b"", None])
def test_other_items_are_no_short_array(item: codec.Item) -> None:
    """Longer arrays and other types are refused."""
    with pytest.raises(MalformedError):
        codec.short_array(item, 1)
