"""When neighbours are chosen: not in the first confusion, and no link is given up for a moment's view."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mesh import choosing
from mesh.choosing import LET_GO_S, LOOK_AROUND_S, QUIET_S, REST_S, UNWANTED_S, VAIN_S, Choosing
from mesh.core import neighbour_choice
from mesh.core.membership import OBSERVER, Member
from mesh.slots import Slot
from tests.mesh.core.world import Person

MANY = 40


def slots(count: int) -> list[Slot]:
    """Make the slots of other members."""
    people = [Person(f"n{number}") for number in range(count)]
    return [Slot(Member(one.statement.raw_id, one.public, one.statement.static, one.name, OBSERVER)) for one in people]


@pytest.fixture
async def busy() -> "AsyncIterator[asyncio.Task[None]]":
    """Something that goes on for as long as a test does, as a link would."""
    task: asyncio.Task[None] = asyncio.create_task(asyncio.sleep(3600))
    yield task
    task.cancel()


def test_among_few_everybody_is_chosen_at_once() -> None:
    """A node that starts does not wait for more."""
    choice, others = Choosing(bytes(32)), slots(5)
    choice.began(now=0.0)
    choice.heard(now=0.0)
    begin, let_go = choice.choose(others, len(others), now=0.0)
    assert (set(begin), let_go) == (set(others), [])


def test_among_many_a_node_looks_around_first() -> None:
    """Until nobody new has been seen for a moment, or for so long at most; and then it takes a few of them."""
    choice, others = Choosing(bytes(32)), slots(MANY)
    choice.began(now=0.0)
    for number in range(10):
        choice.heard(now=0.1 * number)
        assert choice.choose(others[:number], MANY, now=0.1 * number) == ((), ())
    begin, _ = choice.choose(others[:10], MANY, now=0.9 + 2 * QUIET_S)
    assert 0 < len(begin) < 10
    late = Choosing(bytes(32))
    late.began(now=0.0)
    late.heard(now=LOOK_AROUND_S)
    assert late.choose(others, MANY, now=LOOK_AROUND_S)[0]


async def test_a_link_is_kept_for_a_while_after_others_were_chosen(busy: "asyncio.Task[None]") -> None:
    """A view that changes back within that time costs no handshake."""
    choice, others = Choosing(bytes(32)), slots(MANY)
    chosen = set(choice.choose(others, MANY, now=0.0)[0])
    unwanted = next(slot for slot in others if slot not in chosen)
    unwanted.task = busy
    assert choice.choose(others, MANY, now=1.0)[1] == []
    assert choice.choose([*others[:3], unwanted], MANY, now=2.0)[1] == []  # all of so few are wanted
    assert choice.choose(others, MANY, now=3.0)[1] == []
    assert choice.choose(others, MANY, now=2.9 + UNWANTED_S)[1] == []
    assert choice.choose(others, MANY, now=3.0 + UNWANTED_S)[1] == [unwanted]


def test_who_was_let_go_is_not_taken_back_at_once() -> None:
    """It is to look around first; later it is taken if it still asks, and then so often at most."""
    choice = Choosing(bytes(32))
    [asker] = slots(1)
    asker.let_go_at = 0.0
    assert not choice.takes(asker, now=LET_GO_S - 1)
    assert choice.takes(asker, now=LET_GO_S)
    assert not choice.takes(asker, now=LET_GO_S + 1)
    assert choice.takes(asker, now=LET_GO_S + choosing.CHOOSE_EVERY_S)


def test_who_asked_first_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is room for one more, a later asker does not push an earlier one out."""
    choice, others = Choosing(bytes(32)), slots(MANY)
    chosen = set(choice.choose(others, MANY, now=0.0)[0])
    monkeypatch.setattr(neighbour_choice, "MAX_NEIGHBOURS", len(chosen) + 1)
    first, second = sorted(others, key=lambda slot: slot.member.raw_id)[18:20]  # far from every place on the ring
    for slot, at in ((second, 2.0), (first, 1.0)):
        assert choice.takes(slot, now=at)
    begin, _ = choice.choose(others, MANY, now=3.0)
    assert first in begin
    assert second not in begin


async def test_who_is_tried_in_vain_rests(busy: "asyncio.Task[None]") -> None:
    """Among many another takes its place for a while."""
    choice, others = Choosing(bytes(32)), slots(MANY)
    vain = choice.choose(others, MANY, now=0.0)[0][0]
    vain.task, vain.tried_since = busy, 0.0
    choice.tire(others, now=VAIN_S)
    begin, _ = choice.choose(others, MANY, now=VAIN_S)
    assert vain not in begin
    assert vain in choice.choose(others, MANY, now=VAIN_S + UNWANTED_S)[1]
    vain.task = None
    assert vain in choice.choose(others, MANY, now=VAIN_S + REST_S)[0]
