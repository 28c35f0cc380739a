"""Giving: in turn, within bounds, and only what was asked for."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from device.core.offering import EVERYTHING, Offering
from device.core.sharing_messages import (
    GiveChunk,
    GiveHolding,
    Given,
    GivePage,
    GiveRelease,
    Reason,
    Refused,
    Want,
    WantChunks,
    WantHolding,
    WantPage,
    WantRelease,
    parse_message,
)
from device.errors import BusyError, NotSharedError
from device.sharing.serving import MAX_NEIGHBOURS, MAX_WAITING, Server
from mesh.errors import LinkDownError
from models.core.hash_tree import CHUNK_BYTES, PageId
from models.errors import CorruptStoreError
from tests.models.waiting import until
from tests.sim.mesh_net import SimulatedMesh, SimulatedNet

MODEL, BLOB = "0f" * 32, "f0" * 32
CHUNK = WantChunks(MODEL, BLOB, (0,))


class ShortStock:
    """Gives the same of every model; `error` is raised instead, `gate` waited for; it takes `takes_s`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.takes_s = 0.0

    async def release(self, model: str) -> bytes | None:
        """Whatever the model."""
        return await self._give(b"{}" if model == MODEL else None)

    async def holding(self, model: str) -> Mapping[str, bytes | None] | None:
        """All of one blob."""
        assert model
        await self._give(b"")
        return {BLOB: None}

    async def chunk(self, model: str, blob: str, index: int) -> bytes | None:
        """One chunk there is."""
        assert model
        assert blob
        return await self._give(bytes(CHUNK_BYTES) if index == 0 else None)

    async def page(self, model: str, blob: str, page: PageId) -> bytes | None:
        """One page there is."""
        assert model
        assert blob
        return await self._give(bytes(32) if page == PageId(0, 0) else None)

    async def _give(self, data: bytes | None) -> bytes | None:
        await self.gate.wait()
        await asyncio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        return data


class Giver:
    """A server on a net, and neighbours that ask it."""

    def __init__(self, neighbours: int, *, bytes_per_s: float = 0.0, offering: Offering = EVERYTHING) -> None:
        self.net = SimulatedNet()
        self.mesh = self.net.node("ember")
        self.others = [self.net.node(f"n{number:02}x") for number in range(neighbours)]
        for other in self.others:
            self.net.link(self.mesh, other)
        self.stock = ShortStock()
        self.offering = offering
        self.server = Server(
            self.mesh, self.stock, bytes_per_s=bytes_per_s, offering=lambda: self.offering, look_every_s=0.0
        )
        self.asked = 0

    def ask(self, other: SimulatedMesh, want: Want = CHUNK) -> bytes:
        """Take a request as if it had come over the net."""
        self.asked += 1
        message_id = self.asked.to_bytes(16, "big")
        self.server.want(other.node_id, message_id, want)
        return message_id

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Giver"]:
        """Answer while the block runs."""
        task = asyncio.create_task(self.server.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait((task,))


def heard(other: SimulatedMesh, kind: int = GiveChunk.KIND) -> int:
    """How many answers of a kind a neighbour has."""
    return len(other.seen[kind])


async def test_each_want_has_its_answer() -> None:
    """Named by the request's id; what is not there is said too."""
    giver = Giver(1)
    [other] = giver.others
    answers: dict[Want, Given] = {
        WantRelease(MODEL): GiveRelease(b"{}"),
        WantRelease(BLOB): Refused("not_here"),
        WantHolding(MODEL): GiveHolding({BLOB: None}),
        CHUNK: GiveChunk(0, bytes(CHUNK_BYTES)),
        WantChunks(MODEL, BLOB, (1,)): Refused("no_such_chunk", 1),
        WantPage(MODEL, BLOB, 0, 0): GivePage(bytes(32)),
        WantPage(MODEL, BLOB, 0, 1): Refused("no_such_chunk"),
    }
    async with giver.running():
        asked = {giver.ask(other, want): answer for want, answer in answers.items()}
        await until(lambda: sum(map(len, other.seen.values())) == len(answers))
        got = {one.re: parse_message(one.kind, one.body) for kind in other.seen.values() for one in kind}
        assert got == asked
        assert giver.server.serving == 0
        assert giver.server.bytes_sent == CHUNK_BYTES


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotSharedError("no", hint="-"), "not_shared"),
        (BusyError("soon", retry_after_s=1), "busy"),
        (CorruptStoreError("gone"), "not_here"),
        (LinkDownError("no key"), "not_here"),
    ],
)
async def test_what_cannot_be_given_is_refused_with_a_reason(error: Exception, reason: Reason) -> None:
    """And nothing of the error itself goes out."""
    giver = Giver(1)
    giver.stock.error = error
    async with giver.running():
        giver.ask(giver.others[0])
        await until(lambda: heard(giver.others[0], Refused.KIND) == 1)
        assert parse_message(Refused.KIND, giver.others[0].seen[Refused.KIND][0].body) == Refused(reason, 0)


async def test_several_chunks_are_asked_for_at_once_and_answered_one_by_one() -> None:
    """Each may be refused by itself; where there is no room for all, nothing is taken."""
    giver = Giver(1)
    [other] = giver.others
    asked = giver.ask(other, WantChunks(MODEL, BLOB, (1, 0, 2)))
    for _ in range(MAX_WAITING - 4):
        giver.ask(other, WantRelease(MODEL))
    giver.ask(other, WantChunks(MODEL, BLOB, (0, 1)))
    await until(lambda: heard(other, Refused.KIND) == 1)
    [busy] = other.seen[Refused.KIND]
    assert parse_message(busy.kind, busy.body) == Refused("busy")
    async with giver.running():
        await until(lambda: giver.server.serving == 0)
        answers = [one for kind in other.seen.values() for one in kind if one.re == asked]
        got = {parse_message(one.kind, one.body) for one in answers}
        assert got == {Refused("no_such_chunk", 1), GiveChunk(0, bytes(CHUNK_BYTES)), Refused("no_such_chunk", 2)}


async def test_who_asks_much_does_not_keep_others_waiting() -> None:
    """One answer each in turn."""
    giver = Giver(2)
    greedy, modest = giver.others
    for _ in range(MAX_WAITING):
        giver.ask(greedy)
    giver.ask(modest)
    before: list[int] = []
    modest.on_message(lambda _: before.append(heard(greedy)))
    async with giver.running():
        await until(lambda: heard(modest) == 1)
        assert before[0] <= 2
        await until(lambda: heard(greedy) == MAX_WAITING)


async def test_more_than_the_queues_hold_is_refused_at_once() -> None:
    """Of one neighbour, and of too many."""
    giver = Giver(MAX_NEIGHBOURS + 1)
    *served, late = giver.others
    for _ in range(MAX_WAITING + 2):
        giver.ask(served[0])
    for other in served[1:]:
        giver.ask(other)
    giver.ask(late)
    await until(lambda: heard(late, Refused.KIND) == 1)
    assert heard(served[0], Refused.KIND) == 2
    giver.server.gone(served[0].node_id)
    giver.ask(late)
    async with giver.running():
        await until(lambda: heard(late) == 1)
        assert heard(served[0]) == 0


async def test_a_full_lane_holds_up_nobody_else() -> None:
    """What found no room waits for it, and comes then."""
    giver = Giver(2)
    slow, quick = giver.others
    full = True
    giver.net.full = lambda peer, _: full and peer == slow.node_id
    async with giver.running():
        for _ in range(3):
            giver.ask(slow)
            giver.ask(quick)
        await until(lambda: heard(quick) == 3)
        assert heard(slow) == 0
        full = False
        await until(lambda: heard(slow) == 3)


async def test_who_is_out_of_reach_is_forgotten() -> None:
    """With everything it had asked for."""
    giver = Giver(1)
    [other] = giver.others
    for _ in range(5):
        giver.ask(other)
    giver.net.cut(giver.mesh, other)
    async with giver.running():
        await until(lambda: giver.server.serving == 0)
    assert heard(other) == 0


async def test_the_owners_limit_holds() -> None:
    """Twenty chunks at ten megabytes a second take half a second, but for what may be sent at once."""
    giver = Giver(1, bytes_per_s=10e6)
    [other] = giver.others
    async with giver.running():
        began = asyncio.get_running_loop().time()
        for _ in range(20):
            giver.ask(other)
        await until(lambda: heard(other) == 20)
        assert asyncio.get_running_loop().time() - began >= 20 * CHUNK_BYTES / 10e6 - 0.15


async def test_a_hot_board_gives_nothing() -> None:
    """It says so at once, and whoever asks may come again."""
    giver = Giver(1, offering=Offering(share=0.0, reason="the board is at 81 °C"))
    [other] = giver.others
    async with giver.running():
        giver.ask(other)
        await until(lambda: heard(other, Refused.KIND) == 1)
    assert parse_message(Refused.KIND, other.seen[Refused.KIND][0].body) == Refused("busy")
    assert giver.server.bytes_sent == 0


async def test_what_waits_when_a_board_has_become_hot_is_refused() -> None:
    """It is not served on and on."""
    giver = Giver(1)
    [other] = giver.others
    for _ in range(3):
        giver.ask(other)
    giver.offering = Offering(share=0.0, reason="the board is at 81 °C")
    async with giver.running():
        await until(lambda: heard(other, Refused.KIND) == 3)
    assert giver.server.bytes_sent == 0


async def test_a_warm_board_rests_as_long_as_it_does_not_offer() -> None:
    """A tenth of its time: ten answers that took it 10 ms each take a second."""
    giver = Giver(1, offering=Offering(share=0.1, reason="the board is at 79 °C"))
    [other] = giver.others
    giver.stock.takes_s = 0.01
    async with giver.running():
        began = asyncio.get_running_loop().time()
        for _ in range(10):
            giver.ask(other)
        await until(lambda: heard(other) == 10)
        assert asyncio.get_running_loop().time() - began >= 9 * 0.01 / 0.1
