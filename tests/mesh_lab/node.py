"""A node of the mesh without a device: `python -m tests.mesh_lab.node DATA-DIR NAME OPTIONS` (JSON).

It is told what to do by lines of JSON on standard input, `{"n": 1, "do": VERB, …}`, and answers each with
`{"n": 1, "said": …}` or `{"n": 1, "error": …}`.  What happens by itself is a line with "event"; "at" is monotonic
time, which all processes of a machine share.  The end of its input ends it.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from mesh.core import crypto
from mesh.core.ballots import Amendment
from mesh.core.membership import VOTER
from mesh.errors import MeshError
from mesh.node import Lane, MeshConfig, MeshNode, Received

NOTE: Final = 100  # a number, the time it was sent at, and filling
PING: Final = 101
PONG: Final = 102
BLOCK: Final = 103
TAKEN: Final = 104
FILLING: Final = 105  # what nobody looks at
NUMBER_BYTES: Final = 8
TRY_AGAIN_S: Final = 0.02
NOTE_TTL_S: Final = 120.0

Verb = Callable[..., Awaitable[Any]]


class NodeProgram:
    """The node, and what can be asked of it: each public coroutine is a verb."""

    def __init__(self, config: MeshConfig) -> None:
        self._node = MeshNode(config)
        self._node.on_message(self._hear)
        self._node.on_change(self._look)
        self._seen: dict[str, dict[str, Any]] = {}  # what was told last, by event
        self._answers: dict[bytes, asyncio.Future[float]] = {}  # to pings and blocks, by the id of what was sent
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Live until the input ends or SIGTERM comes; then say goodbye."""
        ready, ended = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        living = asyncio.create_task(self._node.run(ready), name="node")
        waiting = asyncio.create_task(ready.wait(), name="ready")
        await asyncio.wait((living, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not living.done():
            _say(event="ready", at=time.monotonic(), **await self.ports())
            self._look()
            listening = asyncio.create_task(self._listen(ended), name="orders")
            ending = asyncio.create_task(ended.wait(), name="end")
            await asyncio.wait((living, ending), return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            ending.cancel()
        living.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await living

    async def ports(self) -> dict[str, Any]:
        """Tell the node's id, ports and broker."""
        node = self._node
        kind, pid = node.broker_kind, node._broker.pid
        return {"id": node.node_id, "mqtt": node.mqtt_port, "door": node.door_port, "broker": kind, "broker_pid": pid}

    async def offer(self) -> str:
        """Open an offer and tell its words."""
        return (await self._node.open_offer()).words

    async def join(self, words: str, at: str | None = None) -> str:
        """Join by words; tell whose they were."""
        return (await self._node.join(words, at=at)).name

    async def leave(self) -> None:
        """Leave the community."""
        await self._node.belonging.leave()

    async def forget(self, node_id: str) -> None:
        """Remove a member."""
        self._node.belonging.forget(node_id)

    async def block(self, node_id: str) -> None:
        """Block a node."""
        self._node.belonging.block(node_id)

    async def propose(self, what: str, node_id: str, reason: str = "") -> str:
        """Propose something about a member, and agree; tell the proposal's id."""
        return self._node.council.propose(what, crypto.parse_node_id(node_id), reason).id.hex()

    async def amend(self, invitations: int, margin: int = 0, notice: int = 0, reason: str = "") -> str:
        """Propose other rules, and agree; tell the proposal's id."""
        return self._node.council.amend(Amendment(margin, notice, invitations, reason)).id.hex()

    async def answer(self, proposal: str, *, agrees: bool) -> float:
        """Say what this node's owner thinks of a proposal; tell when it was asked to."""
        asked = time.monotonic()
        self._node.council.answer(bytes.fromhex(proposal), agrees=agrees)
        return asked

    async def agenda(self) -> dict[str, Any]:
        """Tell how many decide, how many each voter may invite, and whose feed forked."""
        agenda, ledger = self._node.council.agenda(), self._node._store.ledger
        return {
            "quorum": agenda.membership.charter.quorum,
            "invitations": agenda.membership.charter.rules.invitations,
            "forked": [author.hex() for author in ledger.equivocations] if ledger else [],
        }

    async def duplicate(self) -> bool:
        """Tell whether it knows of another machine with its identity."""
        return self._node.duplicate

    async def replace_identity(self) -> None:
        """Be another node at the next start."""
        self._node.replace_identity()

    async def nearby(self) -> dict[str, list[str]]:
        """Tell who is sighted, and at which addresses."""
        return {one.node_id: [*one.addresses] for one in self._node.nearby()}

    async def clock(self) -> float:
        """Tell what time this node thinks it is."""
        return time.time()

    async def counters(self) -> dict[str, int]:
        """Tell what was dropped, sent and received."""
        return dict(self._node.counters())

    async def notes(self, peer: str, count: int, every_s: float, first: int, size: int) -> list[int]:
        """Send numbered notes at a steady pace; one that is refused is tried until it is taken.

        Returns the numbers that were refused at first: the link was down, and said so.
        """
        refused: list[int] = []
        filling = bytes(size)
        due = time.monotonic()
        for number in range(first, first + count):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += every_s
            while True:
                body = number.to_bytes(NUMBER_BYTES) + time.monotonic_ns().to_bytes(NUMBER_BYTES) + filling
                try:
                    await self._node.send(peer, NOTE, body, ttl_s=NOTE_TTL_S)
                except MeshError:
                    if not refused or refused[-1] != number:
                        refused.append(number)
                    await asyncio.sleep(TRY_AGAIN_S)
                else:
                    break
        return refused

    async def ping(self, peer: str, count: int, every_s: float = 0.0) -> list[float]:
        """Ping one after the other; the times of the round trips in ms."""
        trips = []
        for _ in range(count):
            began = time.monotonic()
            trips.append(1000 * (await self._asked(peer, PING, b"", Lane.CTL) - began))
            await asyncio.sleep(every_s)
        return trips

    async def bulk(self, peer: str, blocks: int, size: int, window: int) -> float:
        """Send blocks on the lane for them, so many on their way at most; the seconds until all were taken."""
        began, places, filling = time.monotonic(), asyncio.Semaphore(window), os.urandom(size)

        async def one() -> None:
            try:
                await self._asked(peer, BLOCK, filling, Lane.BULK)
            finally:
                places.release()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(blocks):
                await places.acquire()
                tasks.create_task(one())
        return time.monotonic() - began

    async def flood(self, peer: str, seconds: float, size: int) -> dict[str, int]:
        """Send large notes on the lane for bulk as fast as they are taken; count what was and what was not."""
        counts = {"taken": 0, "refused": 0}
        body, until = bytes(size), time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                await self._node.send(peer, FILLING, body, lane=Lane.BULK)
            except MeshError:
                counts["refused"] += 1
                await asyncio.sleep(TRY_AGAIN_S)
            else:
                counts["taken"] += 1
                await asyncio.sleep(0)
        return counts

    async def _asked(self, peer: str, kind: int, body: bytes, lane: Lane) -> float:
        message_id = await self._node.send(peer, kind, body, lane=lane)
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._answers[message_id] = answer
        try:
            return await answer
        finally:
            del self._answers[message_id]

    async def _listen(self, ended: asyncio.Event) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            order = json.loads(line)
            verb: Verb = getattr(self, order.pop("do"))
            self._spawn(self._answer(order.pop("n"), verb(**order)))
        ended.set()

    async def _answer(self, number: int, doing: Awaitable[Any]) -> None:
        try:
            _say(n=number, said=await doing)
        except MeshError as error:
            _say(n=number, error=f"{type(error).__name__}: {error}")

    def _hear(self, message: Received) -> None:
        if message.kind == NOTE:
            number, sent = (int.from_bytes(message.body[at : at + NUMBER_BYTES]) for at in (0, NUMBER_BYTES))
            _say(event="note", peer=message.peer, number=number, sent=sent / 1e9, at=time.monotonic())
        elif message.kind in {PING, BLOCK}:
            kind, lane = (PONG, Lane.CTL) if message.kind == PING else (TAKEN, Lane.BULK)
            self._spawn(self._reply(message, kind, lane))
        elif message.re is not None and message.re in self._answers:
            self._answers[message.re].set_result(time.monotonic())

    async def _reply(self, message: Received, kind: int, lane: Lane) -> None:
        with contextlib.suppress(MeshError):  # who asked is gone
            await self._node.send(message.peer, kind, b"", re=message.message_id, lane=lane)

    def _look(self) -> None:
        """Tell what the node sees, if it is news; what is voted on by itself, for that changes often."""
        community, ledger = self._node.community(), self._node._store.ledger
        self._tell(
            "view",
            {
                "neighbours": {one.node_id: [one.state, one.hops] for one in self._node.neighbours()},
                "members": sorted(one.name for one in community.members) if community else [],
                "epoch": community.epoch if community else None,
            },
        )
        if community is not None and ledger is not None:
            self._tell(
                "council",
                {
                    "decisions": ledger.membership().charter.number,
                    "state": community.state,
                    "voters": sorted(one.name for one in community.members if one.role == VOTER),
                    "motions": {one.id.hex(): len(one.agreed) for one in ledger.motions()},
                    "signed": Counter(type(entry.body).__name__ for entry in ledger.ballots()),
                },
            )

    def _tell(self, event: str, seen: dict[str, Any]) -> None:
        if seen != self._seen.get(event):
            self._seen[event] = seen
            _say(event=event, at=time.monotonic(), **seen)

    def _spawn(self, doing: Awaitable[None]) -> None:
        task = asyncio.ensure_future(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _say(**line: Any) -> None:  # noqa: ANN401  whatever JSON can hold
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run one node."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S")
    directory, name, options = sys.argv[1:]
    config = MeshConfig(data_dir=Path(directory), name=name, **json.loads(options))
    asyncio.run(NodeProgram(config).run())


if __name__ == "__main__":
    main()
