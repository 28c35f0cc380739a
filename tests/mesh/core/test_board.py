"""Which board an identity was made on: hashes, and what is another one now."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.core import codec
from mesh.core.board import HASH_BYTES, MAX_CARDS, Board
from mesh.errors import MalformedError

NODE = bytes(32)
HOME = Board.of(NODE, processor="10000000abc", cards=["c1", "c2"], system="m1")
LAPTOP = Board.of(NODE, processor="", cards=[], system="m1")
HASH = bytes(HASH_BYTES)


def board(processor: str = "10000000abc", cards: tuple[str, ...] = ("c1", "c2"), system: str = "m1") -> Board:
    """Describe a board that is HOME but for what is given."""
    return Board.of(NODE, processor=processor, cards=cards, system=system)


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        (board(), ()),
        (board(cards=("c2", "c1")), ()),
        (board(cards=("c2", "c3")), ()),  # one was added, one taken out
        (board(system="m2"), ()),  # the hardware has numbers
        (board(processor="10000000fff"), ("board",)),
        (board(processor=""), ("board",)),
        (board(cards=("c9",)), ("SD card",)),
        (board(cards=()), ("SD card",)),
        (board(processor="10000000fff", cards=("c9",)), ("board", "SD card")),
        (LAPTOP, ("board", "SD card")),
    ],
)
def test_what_is_another_one_is_named(now: Board, changed: tuple[str, ...]) -> None:
    """As people say it."""
    assert HOME.changed(now) == changed


def test_without_numbers_the_installation_counts() -> None:
    """A laptop is known by its machine id; where there is nothing at all, nothing can change."""
    assert LAPTOP.changed(LAPTOP) == ()
    assert LAPTOP.changed(Board.of(NODE, processor="", cards=[], system="m2")) == ("installation",)
    assert LAPTOP.changed(HOME) == ("installation",)
    nothing = Board.of(NODE, processor="", cards=[], system="")
    assert nothing == Board()
    assert nothing.changed(HOME) == ()


def test_hashes_are_of_one_node_and_one_kind() -> None:
    """The same number gives another hash for another node, or in another place; cards alone are enough."""
    other = Board.of(bytes([1]) * 32, processor="10000000abc", cards=["c1", "c2"], system="m1")
    assert HOME.changed(other) == ("board", "SD card")
    same = Board.of(NODE, processor="c1", cards=["c1", "c1"], system="")
    assert same.processor not in same.cards
    assert len(same.cards) == 1
    assert Board.of(NODE, processor="", cards=["c1"], system="m1").system is None
    assert len(Board.of(NODE, processor="", cards=[str(n) for n in range(99)], system="").cards) == MAX_CARDS


@given(st.text(), st.lists(st.text(min_size=1)), st.text())
def test_a_record_reads_as_it_was_written(processor: str, cards: list[str], system: str) -> None:
    """Whatever the numbers are."""
    known = Board.of(NODE, processor=processor, cards=cards, system=system)
    assert Board.parse(known.to_bytes()) == known


@pytest.mark.parametrize(
    "fields",
    [
        [2, None, [], None],
        [1, None, []],
        [1, b"short", [], None],
        [1, None, None, None],
        [1, None, [b"short"], None],
        [1, None, [HASH] * (MAX_CARDS + 1), None],
        [1, None, [], 7],
    ],
)
def test_a_damaged_record_is_refused(fields: list[codec.Item]) -> None:
    """Nothing is guessed."""
    with pytest.raises(MalformedError):
        Board.parse(codec.encode(fields))
