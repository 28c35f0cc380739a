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
from mesh.core import codec, crypto
from mesh.core.announcements import MAX_ANNOUNCEMENT_BYTES, REFRESH_S, Announcement, Board, Head, Stamp, Topic
from mesh.core.envelope import Envelope, MeshKind
from mesh.core.flooding import Flood, Verdict
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
JUMPS_PER_S: Final = 0.05  # past an own announcement of a life this node knows nothing of
CHECK_EVERY_S: Final = 5.0
COMPARED_PER_S: Final = 1.0  # summaries of one neighbour; each may cost everything there is
COMPARED_BURST: Final = 64.0
HEARD_BYTES_PER_S: Final = 256e3  # of one neighbour; more than 200 members of the most words have to say
HEARD_BURST_BYTES: Final = 16e6


class _Share:
    """What one neighbour may cost this node."""

    def __init__(self) -> None:
        self.compared = Allowance(COMPARED_PER_S, COMPARED_BURST)
        self.heard = Allowance(HEARD_BYTES_PER_S, HEARD_BURST_BYTES)


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
        self._flood = Flood(identity.raw_id, store.next_boot())
        self._bodies: dict[Topic, Callable[[], bytes]] = {}
        self._gathering: dict[Topic, asyncio.TimerHandle] = {}
        self._jumps = Allowance(JUMPS_PER_S, burst=3)
        self._community: bytes | None = None
        self._shares: dict[str, _Share] = {}  # by neighbour: no more than were ever admitted

    @property
    def board(self) -> Board:
        """What was heard, and said."""
        return self._flood.board

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
            pause_s = self._flood.pause_s(topic, now=loop.time())
            self._gathering[topic] = loop.call_later(pause_s, self._announce, topic)

    def ledger_changed(self) -> None:
        """Members may have come or gone: forget the latter's, ask for the former's, say our own to a new community."""
        membership = self._store.membership
        community = membership.community if membership else None
        if community != self._community:
            self._community = community
            self._flood.board = Board()
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
        share = self._shares.setdefault(peer.peer_id, _Share())
        compares = envelope.kind == MeshKind.SUMMARY
        if not (share.compared.take() if compares else share.heard.take(len(envelope.body))):
            self._counters.count(Counted.DROPPED_RATE_LIMITED)
        elif compares:
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
        now = asyncio.get_running_loop().time()
        sender = crypto.parse_node_id(peer.peer_id)
        news = [one for one in announcements if self._is_good_news(one, sender, now=now)]
        news = [one for one in news if self.board.take(one, now=now)]
        self._spread(news, [other for other in self._peers() if other is not peer])
        for one in news:
            self._on_news(one)

    def _is_good_news(self, one: Announcement, sender: bytes, *, now: float) -> bool:
        """Check everything about an announcement but whether it is understood.  Errors: CryptoError for a forgery."""
        membership = self._store.membership
        member = membership.members.get(one.author) if membership else None
        if membership is None or member is None or one.author in self._store.blocked:
            return False
        verdict = self._flood.judge(one, sender=sender, public=member.public, community=membership.community, now=now)
        if verdict is Verdict.OF_ANOTHER_LIFE:
            self._jump_past(one.stamp)
        elif verdict is Verdict.TOO_MANY:
            self._counters.count(Counted.DROPPED_RATE_LIMITED)
        return verdict is Verdict.NEWS

    def _jump_past(self, stamp: Stamp) -> None:
        """Go on from what this identity said in a life unknown to this board: of a restored backup, or of a clone."""
        if not self._jumps.take():
            self._on_double()
            return
        self._flood.live_again(self._store.next_boot(at_least=stamp.boot + 1))
        for topic in self._bodies:
            self.changed(topic)

    def _announce(self, topic: Topic) -> None:
        del self._gathering[topic]
        membership = self._store.membership
        if membership is None:
            return
        now = asyncio.get_running_loop().time()
        try:
            one = self._flood.say(self._identity.seed, membership.community, topic, self._bodies[topic](), now=now)
        except MalformedError as error:
            log.error("what this node has to say is too long: %s", error)  # noqa: TRY400  for people
            return
        self._spread([one], self._peers())

    def _prune(self) -> None:
        membership = self._store.membership
        members = membership.members if membership else {}
        now = asyncio.get_running_loop().time()
        if self._flood.prune(now=now, is_member=lambda one: one in members and one not in self._store.blocked):
            self._on_expired()

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
