"""Contributions between this node and others: claimed by who received, counter-signed by who gave, put on the record.

Whatever is sent was on the disk before.  The record is what counts: an entry that is there is settled, whatever the
counts say, and no period is signed twice.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from device.contributions.accounts_file import AccountsFile
from device.core.contribution_accounts import Pace
from device.core.contribution_messages import Claim, ContributionMessage, CounterSigned, parse_message
from device.core.contribution_room import OwnFeed
from device.drops import Drops
from device.errors import DeviceError, NeighbourMisbehavedError
from device.ports import Mesh, Record
from mesh.core.contributions import NOTHING, Amount, Contribution
from mesh.core.membership import Member
from mesh.core.token_bucket import TokenBucket
from mesh.errors import CryptoError, MeshError, NoCommunityError
from mesh.node import Received
from mesh.record import RecordView

MESSAGES_PER_S: Final = 0.1  # of one member: each may cost a signature and a write
MESSAGES_AT_ONCE: Final = 8

log = logging.getLogger(__name__)


class Contributions:
    """Counts what members and this node give each other, and brings it on the record; `run` must be running."""

    def __init__(
        self,
        *,
        mesh: Mesh,
        record: Record,
        file: AccountsFile,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mesh = mesh
        self._record = record
        self._file = file
        self._pace = pace or Pace()
        self._clock = clock
        self._write_at = clock() + self._pace.write_every_s
        self._inbox: dict[tuple[str, type[ContributionMessage]], tuple[bytes, ContributionMessage]] = {}
        self._asked_at: dict[str, float] = {}
        self._allowed: dict[str, TokenBucket] = {}
        self._drops = Drops()
        self._stirred = asyncio.Event()

    def received(self, peer: str, amount: Amount) -> None:
        """Count what a member gave this node, as far as it was what it should be."""
        self._file.accounts.received(peer, amount)

    def gave(self, peer: str, amount: Amount) -> None:
        """Count what this node gave a member."""
        self._file.accounts.gave(peer, amount)

    def listen(self) -> None:
        """Take messages from now on; they are looked at by `look`."""
        self._mesh.on_message(self._on_message)

    async def run(self) -> None:
        """Listen, and look as often as there is something to do, until cancelled."""
        self.listen()
        while True:
            self._stirred.clear()
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.look_every_s):
                    await self._stirred.wait()

    async def look(self) -> None:
        """Do what there is to do now; what cannot be done is tried again later."""
        try:
            view = self._record.view()
            members = self._members(view)
        except NoCommunityError:
            self._inbox.clear()
            return
        self._file.belong(f"{view.membership.community.hex()} {self._record.own.hex()}")
        self._file.accounts.keep(frozenset(members))
        self._allowed = {peer: bucket for peer, bucket in self._allowed.items() if peer in members}
        inbox, self._inbox = self._inbox, {}
        for (peer, _), (message_id, message) in inbox.items():
            if peer in members:
                await self._tried(self._answer(members[peer], message_id, message))
        await self._tried(self._claim())
        if self._clock() >= self._write_at:
            self._write_at = self._clock() + self._pace.write_every_s
            await self._tried(self._file.write_age())

    async def aclose(self) -> None:
        """Write what is not written yet."""
        try:
            await self._file.write_age()
        except DeviceError as error:
            log.error("%s; %s", error, error.hint)  # noqa: TRY400  a message for people; the cause is in it

    def _on_message(self, received: Received) -> None:
        """Keep the last message of each kind of each member until it is its turn."""
        try:
            message = parse_message(received.kind, received.body)
        except NeighbourMisbehavedError as error:
            self._drops.dropped(received.peer, error)
            return
        if message is None:
            return
        bucket = self._allowed.setdefault(received.peer, TokenBucket(MESSAGES_PER_S, MESSAGES_AT_ONCE))
        if bucket.take(now=self._clock()):  # else it comes again
            self._inbox[received.peer, type(message)] = (received.message_id, message)
            self._stirred.set()

    async def _tried(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something; where disk or mesh do not let it be done, it is tried again later."""
        try:
            await work
        except (DeviceError, MeshError) as error:
            log.warning("a contribution has to wait: %s", error)

    def _members(self, view: RecordView) -> dict[str, Member]:
        """Give the others by node id.  Raises NoCommunityError where this node is none any more."""
        members = {one.node_id: one for one in view.membership.members.values()}
        if not any(one.public == self._record.own for one in members.values()):
            raise NoCommunityError("this node is no member any more")
        return {node_id: one for node_id, one in members.items() if one.public != self._record.own}

    async def _answer(self, peer: Member, message_id: bytes, message: ContributionMessage) -> None:
        match message:
            case Claim():
                await self._counter_sign(peer, message_id, message)
            case CounterSigned():
                await self._settle(peer, message)

    async def _counter_sign(self, receiver: Member, message_id: bytes, claim: Claim) -> None:
        """Sign, as the giver, as much of a claim as was given."""
        peer = receiver.node_id
        amount = self._file.accounts.counter_sign(peer, claim.period, claim.amount, self._pace)
        if amount is None:
            return
        signature = self._record.counter_sign(receiver.public, claim.period, amount)
        await self._file.write()
        answer = CounterSigned(claim.period, amount, signature)
        await self._mesh.send(peer, answer.KIND, answer.to_body(), re=message_id)

    async def _settle(self, giver: Member, answer: CounterSigned) -> None:
        """Put on the record what a giver has counter-signed, if it is what was claimed and there is room for it."""
        peer, accounts = giver.node_id, self._file.accounts
        if not accounts.accepts(peer, answer.period, answer.amount):
            return
        body = Contribution(giver.public, answer.period, answer.amount, answer.signature)
        try:
            body.verify(self._record.view().membership.community, self._record.own)
        except CryptoError as error:
            self._drops.dropped(peer, NeighbourMisbehavedError(str(error)))
            return
        may_say = await self._may_say()
        if not accounts.accepts(peer, answer.period, answer.amount):
            return  # it is on the record already
        if not self._pace.is_worth(answer.amount):
            accounts.settle(peer, answer.period, NOTHING)  # the giver signs no other of that period any more
        elif may_say:
            self._record.sign(body)
            accounts.settle(peer, answer.period, answer.amount)
            self._file.said_at_s = self._file.age()
            await self._file.write()
            log.info("a contribution is on the record", extra={"peer": peer, "period": answer.period})

    async def _claim(self) -> None:
        """Ask one giver for its signature: of those from whom enough has come, one that was not asked just now."""
        now, accounts = self._clock(), self._file.accounts
        reachable = {one.node_id for one in self._mesh.neighbours() if one.reachable}
        self._asked_at = {peer: at for peer, at in self._asked_at.items() if now - at < self._pace.ask_again_s}
        waiting = [peer for peer in accounts.worthy(self._pace) if peer in reachable and peer not in self._asked_at]
        if not waiting or not await self._may_say():
            return
        peer, account = waiting[0], accounts.of(waiting[0])
        self._asked_at[peer] = now
        if self._pace.is_worth(account.received):  # an entry that was there may have settled it
            await self._file.write()
            claim = Claim(account.period, account.received)
            await self._mesh.send(peer, claim.KIND, claim.to_body())

    async def _may_say(self) -> bool:
        """Whether a contribution may be signed now; what the own feed says already is settled by the way."""
        view, own = self._record.view(), self._record.own
        feed = await asyncio.to_thread(OwnFeed.of, view.entries, own, votes=view.membership.votes(own))
        for peer, period, amount in feed.said:
            self._file.accounts.settle(peer, period, amount)
        wait_s = feed.wait_s(self._pace)
        return wait_s is not None and self._file.age() - self._file.said_at_s >= wait_s
