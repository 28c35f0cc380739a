"""Announcements over the links: told to every neighbour once, and compared whenever a link comes up.

    SUMMARY        [[author, topic, boot, seq]...]      when a session comes up; the other sends what is missing
    ANNOUNCEMENTS  [announcement...]

Nothing of it is believed but what its author signed and the ledger knows as a member's.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mesh.allowance import Allowance
from mesh.community import CommunityStore
from mesh.core import codec
from mesh.core.announcements import (
    MAX_ANNOUNCEMENT_BYTES,
    REFRESH_S,
    Announcement,
    Board,
    Head,
    Stamp,
    Topic,
    announce,
)
from mesh.core.envelope import Envelope, MeshKind
from mesh.counters import Counted, Counters
from mesh.errors import MalformedError, MeshError
from mesh.identity import Identity
from mesh.sync import Peer

log = logging.getLogger(__name__)

TTL_S: Final = 30.0
BATCH_BYTES: Final = 256 * 1024
MAX_BATCH: Final = 512
MAX_HEADS: Final = 1024
MAX_SUMMARY_BYTES: Final = 64 * 1024
OWN_PER_S: Final = 0.2  # announcements of this node on a topic; ten at once, as links come and go in groups
GATHER_S: Final = 0.01  # changes this close together are told as one
FOREIGN_PER_S: Final = 2 * OWN_PER_S  # of one author
FOREIGN_BURST: Final = 40.0
CHECKED_PER_S: Final = 50.0  # signatures looked at for one neighbour; it cannot keep this node busy with forged ones
CHECKED_BURST: Final = 1024.0  # as many as a summary may bring
JUMPS_PER_S: Final = 0.05  # past an own announcement of a life this node knows nothing of
CHECK_EVERY_S: Final = 5.0


class Announcer:
    """This node's announcements and everybody's; `on_news` is called with each that is new here, own ones excepted."""

    def __init__(
        self,
        *,
        identity: Identity,
        store: CommunityStore,
        peers: Callable[[], Sequence[Peer]],
        on_news: Callable[[Announcement], None],
        on_expired: Callable[[], None],
        on_double: Callable[[], None],
        counters: Counters,
    ) -> None:
        self._identity = identity
        self._store = store
        self._peers = peers
        self._on_news = on_news
        self._on_expired = on_expired
        self._on_double = on_double
        self._counters = counters
        self.board = Board()
        self._boot = store.next_boot()
        self._seqs: dict[Topic, int] = dict.fromkeys(Topic, 0)
        self._bodies: dict[Topic, Callable[[], bytes]] = {}
        self._gathering: dict[Topic, asyncio.TimerHandle] = {}
        self._allowed: dict[Topic, Allowance] = {topic: Allowance(OWN_PER_S) for topic in Topic}
        self._foreign: dict[bytes, Allowance] = {}
        self._checked: dict[str, Allowance] = {}
        self._jumps = Allowance(JUMPS_PER_S, burst=3)
        self._community: bytes | None = None

    async def run(self) -> None:
        """Say this node's own again now and then, and let go of what has expired, until cancelled."""
        loop = asyncio.get_running_loop()
        refreshed_at = loop.time()
        try:
            while True:
                await asyncio.sleep(CHECK_EVERY_S)
                self._prune()
                if loop.time() - refreshed_at >= REFRESH_S:
                    refreshed_at = loop.time()
                    for topic in self._bodies:
                        self.changed(topic)
        finally:
            for timer in self._gathering.values():
                timer.cancel()

    def tell(self, topic: Topic, body: Callable[[], bytes]) -> None:
        """Announce what `body` gives from now on; `changed` says that it gives something else."""
        self._bodies[topic] = body
        self.changed(topic)

    def changed(self, topic: Topic) -> None:
        """Announce a topic soon: changes that come together are told together, and too many of them later."""
        if topic in self._bodies and topic not in self._gathering:
            loop = asyncio.get_running_loop()
            wait_s = GATHER_S if self._allowed[topic].take() else 1 / OWN_PER_S
            self._gathering[topic] = loop.call_later(wait_s, self._announce, topic)

    def ledger_changed(self) -> None:
        """Members may have come or gone: forget the latter's, ask for the former's, say our own to a new community."""
        membership = self._store.membership
        community = membership.community if membership else None
        if community != self._community:
            self._community = community
            self.board = Board()
            for topic in self._bodies:
                self.changed(topic)
        self._prune()
        for peer in self._peers():
            self.compare(peer)

    def compare(self, peer: Peer) -> None:
        """Tell a neighbour what is known here, so that it sends what is not."""
        heads: list[codec.Item] = [head.to_item() for head in self.board.heads()[:MAX_HEADS]]
        self._send(peer, MeshKind.SUMMARY, heads)

    def receive(self, peer: Peer, envelope: Envelope) -> None:
        """Take a SUMMARY or ANNOUNCEMENTS.  Errors: PeerMisbehavedError."""
        if envelope.kind == MeshKind.SUMMARY:
            items = codec.decode_array(envelope.body, max_bytes=MAX_SUMMARY_BYTES, max_items=5 * MAX_HEADS + 1)
            heads = [Head.parse(item) for item in codec.short_array([*items], MAX_HEADS)]
            self._spread(self.board.missing_at(heads), [peer])
        else:
            items = codec.decode_array(
                envelope.body, max_bytes=BATCH_BYTES + MAX_ANNOUNCEMENT_BYTES, max_items=MAX_BATCH + 1
            )
            raws = [codec.short_bytes(item, MAX_ANNOUNCEMENT_BYTES) for item in items]
            self._take(peer, [Announcement.parse(raw) for raw in raws])

    def _take(self, peer: Peer, announcements: list[Announcement]) -> None:
        news = [one for one in announcements if self._is_good_news(one, peer)]
        now = asyncio.get_running_loop().time()
        news = [one for one in news if self.board.take(one, now=now)]
        self._spread(news, [other for other in self._peers() if other is not peer])
        for one in news:
            self._on_news(one)

    def _is_good_news(self, one: Announcement, peer: Peer) -> bool:
        """Check everything about an announcement but whether it is understood.  Errors: CryptoError for a forgery."""
        membership = self._store.membership
        member = membership.members.get(one.author) if membership else None
        if membership is None or member is None or one.author in self._store.blocked:
            return False
        own = one.author == self._identity.raw_id
        if not (self._is_of_another_life(one) if own else self.board.is_news(one.head)):
            return False
        if not self._checked.setdefault(peer.peer_id, Allowance(CHECKED_PER_S, CHECKED_BURST)).take():
            self._counters.count(Counted.DROPPED_RATE_LIMITED)
            return False
        one.verify(member.public, membership.community)
        if own:
            self._jump_past(one.stamp)
            return False
        # Only now: what others forge must not use up an author's share.
        if not self._foreign.setdefault(one.author, Allowance(FOREIGN_PER_S, FOREIGN_BURST)).take():
            self._counters.count(Counted.DROPPED_RATE_LIMITED)
            return False
        return True

    def _is_of_another_life(self, one: Announcement) -> bool:
        return one.stamp > Stamp(self._boot, self._seqs[one.topic])

    def _jump_past(self, stamp: Stamp) -> None:
        """Go on from what this identity said in a life unknown to this board: of a restored backup, or of a clone."""
        if not self._jumps.take():
            self._on_double()
            return
        self._boot = self._store.next_boot(at_least=stamp.boot + 1)
        for topic in self._bodies:
            self.changed(topic)

    def _announce(self, topic: Topic) -> None:
        del self._gathering[topic]
        membership = self._store.membership
        if membership is None:
            return
        self._seqs[topic] += 1
        stamp = Stamp(self._boot, self._seqs[topic])
        try:
            one = announce(self._identity.seed, membership.community, topic, stamp, self._bodies[topic]())
        except MalformedError as error:
            log.error("what this node has to say is too long: %s", error)  # noqa: TRY400  for people
            return
        self.board.take(one, now=asyncio.get_running_loop().time())
        self._spread([one], self._peers())

    def _prune(self) -> None:
        membership = self._store.membership
        members = membership.members if membership else {}
        now = asyncio.get_running_loop().time()
        if self.board.prune(now=now, is_member=lambda author: author in members and author not in self._store.blocked):
            self._on_expired()
        for author in [author for author in self._foreign if author not in members]:
            del self._foreign[author]
        ids = {member.node_id for member in members.values()}
        for node_id in [node_id for node_id in self._checked if node_id not in ids]:
            del self._checked[node_id]

    def _spread(self, announcements: Iterable[Announcement], peers: Sequence[Peer]) -> None:
        for batch in _batches(announcements):
            for peer in peers:
                self._send(peer, MeshKind.ANNOUNCEMENTS, batch)

    def _send(self, peer: Peer, kind: MeshKind, items: list[codec.Item]) -> None:
        """Send, or leave it to the next comparison: each new session begins with one."""
        try:
            peer.send(kind, codec.encode(items), ttl_s=TTL_S)
        except MeshError as error:
            log.debug("announcements for %s wait: %s", peer.peer_id[:8], error)


def _batches(announcements: Iterable[Announcement]) -> Iterable[list[codec.Item]]:
    batch: list[codec.Item] = []
    size = 0
    for one in announcements:
        if batch and (size + len(one.raw) > BATCH_BYTES or len(batch) == MAX_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(one.raw)
        size += len(one.raw)
    if batch:
        yield batch
