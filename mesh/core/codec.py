"""Deterministic CBOR of arrays (RFC 8949, 4.2.1), the one encoding of everything that is signed or sealed.

Maps, floats and tags do not exist here: cbor2 orders maps in the old way, and nothing needs them.
"""

from collections.abc import Callable, Iterator, Mapping

import cbor2

from mesh.errors import MalformedError

Item = int | bytes | str | bool | None | list["Item"]

MAX_DEPTH = 16
MAX_ITEMS = 20_000  # of one message; an item can be one byte, and costs a microsecond or two wherever it is looked at
INT_MIN, INT_MAX = -(2**63), 2**64 - 1


_LARGE_BYTES = 4096
_BYTES, _ARRAY = 2, 4  # major types
_PLAIN = frozenset({bytes, str, bool, type(None)})  # nothing in them can be wrong
_STRINGS = (2, 3)  # major types whose content follows the head
_FIRST_LONG, _FIRST_RESERVED = 24, 28  # additional information: the argument is in the bytes behind; or there is none


def _refuse(*_arguments: object) -> object:
    raise MalformedError("CBOR tags are not used here")


class _RefuseTags(Mapping[int, Callable[..., object]]):
    """Stands for every tag at once, so that no decoder of cbor2 (regex, dates) runs on foreign bytes."""

    def __getitem__(self, tag: int) -> Callable[..., object]:
        return _refuse

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 0


_REFUSE_TAGS = _RefuseTags()


def encode(item: Item) -> bytes:
    """Encode an item in the one way `decode` accepts.

    Errors: MalformedError for a type or integer outside the subset (a mistake of the caller's, caught early).
    """
    return b"".join(_pieces(_check(item, MAX_DEPTH)))


def decode(data: bytes, *, max_bytes: int, max_items: int = MAX_ITEMS) -> Item:
    """Decode foreign bytes that hold exactly one item, encoded deterministically.

    Errors: MalformedError when longer than max_bytes, of more than max_items (arrays and what is in them), deeper than
    MAX_DEPTH, or not what `encode` would write.
    """
    if len(data) > max_bytes:
        raise MalformedError(f"{len(data)} bytes where at most {max_bytes} are allowed")
    if len(data) > max_items and _has_more_items(data, max_items):  # an item is a byte at least
        raise MalformedError(f"more than {max_items} items")
    try:
        item = cbor2.loads(data, semantic_decoders=_REFUSE_TAGS, max_depth=MAX_DEPTH, allow_indefinite=False)
    except cbor2.CBORDecodeError as error:
        raise MalformedError(f"not CBOR: {error}") from error
    checked = _check(item, MAX_DEPTH)
    if not _is_written(checked, data):
        raise MalformedError("not the deterministic encoding")
    return checked


def decode_array(data: bytes, *, max_bytes: int, max_items: int = MAX_ITEMS) -> list[Item]:
    """Decode foreign bytes that hold one array; every message is one."""
    item = decode(data, max_bytes=max_bytes, max_items=max_items)
    if not isinstance(item, list):
        raise MalformedError("an array was expected")
    return item


def _pieces(item: Item) -> list[bytes]:
    """Write an item; what is large in an array is a piece by itself, where cbor2 would let a buffer grow for it."""
    if not isinstance(item, list) or not any(isinstance(one, bytes) and len(one) >= _LARGE_BYTES for one in item):
        return [cbor2.dumps(item)]
    pieces = [_head(_ARRAY, len(item))]
    for one in item:
        pieces += [_head(_BYTES, len(one)), one] if isinstance(one, bytes) else [cbor2.dumps(one)]
    return pieces


def _is_written(item: Item, data: bytes) -> bool:
    """Whether `data` is how an item is written; compared where it lies."""
    if len(data) < _LARGE_BYTES:
        return cbor2.dumps(item) == data
    position = 0
    for piece in _pieces(item):
        if not data.startswith(piece, position):
            return False
        position += len(piece)
    return position == len(data)


def _head(major: int, argument: int) -> bytes:
    """Write the head of an array or a byte string: its size is an argument like a number's (RFC 8949, 3)."""
    number = cbor2.dumps(argument)
    return bytes([number[0] | major << 5]) + number[1:]


def _has_more_items(data: bytes, most: int) -> bool:
    """Walk from head to head without building anything; bytes that are no CBOR end the walk and fail in the decoder."""
    position = 0
    for _ in range(most):
        if position >= len(data):
            return False
        major, argument = data[position] >> 5, data[position] & 31
        position += 1
        if argument >= _FIRST_RESERVED:
            return False
        if argument >= _FIRST_LONG:
            size = 1 << (argument - _FIRST_LONG)
            argument = int.from_bytes(data[position : position + size], "big")
            position += size
        if major in _STRINGS:
            position += argument
    return position < len(data)


def _check(item: object, depth: int) -> Item:
    if isinstance(item, list):
        if depth == 0:
            raise MalformedError("nested too deep")
        for child in item:
            kind = type(child)
            if kind not in _PLAIN and not (kind is int and 0 <= child <= INT_MAX):  # most are one or the other
                _check(child, depth - 1)
        return item
    if item is None or isinstance(item, (bytes, str, bool)):
        return item
    if isinstance(item, int):
        if INT_MIN <= item <= INT_MAX:
            return item
        raise MalformedError("an integer of more than 64 bits")
    raise MalformedError(f"{type(item).__name__} is not used here")


def unsigned(item: Item, maximum: int) -> int:
    """Take a foreign item as an integer of 0..maximum.  Errors: MalformedError."""
    if isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= maximum:
        return item
    raise MalformedError(f"an integer of 0 to {maximum} was expected")


def fixed_bytes(item: Item, length: int) -> bytes:
    """Take a foreign item as bytes of exactly this length.  Errors: MalformedError."""
    if isinstance(item, bytes) and len(item) == length:
        return item
    raise MalformedError(f"{length} bytes were expected")


def short_bytes(item: Item, maximum: int) -> bytes:
    """Take a foreign item as at most `maximum` bytes.  Errors: MalformedError."""
    if isinstance(item, bytes) and len(item) <= maximum:
        return item
    raise MalformedError(f"at most {maximum} bytes were expected")


def short_text(item: Item, maximum: int) -> str:
    """Take a foreign item as printable text of at most `maximum` characters: it may end up on a terminal."""
    if isinstance(item, str) and len(item) <= maximum and item.isprintable():
        return item
    raise MalformedError(f"printable text of at most {maximum} characters was expected")


def short_array(item: Item, maximum: int) -> list[Item]:
    """Take a foreign item as an array of at most `maximum` items.  Errors: MalformedError."""
    if isinstance(item, list) and len(item) <= maximum:
        return item
    raise MalformedError(f"an array of at most {maximum} items was expected")
