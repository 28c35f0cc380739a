"""One node's part in flooding: what it says itself and how often, and which announcements of others it passes on.

News goes to every neighbour but the one it came from; the shell does the sending (mesh/announcing.py).
"""

import enum
from collections.abc import Callable
from typing import Final

from mesh.core.announcements import Announcement, Board, Stamp, Topic, announce
from mesh.core.token_bucket import TokenBucket

OWN_PER_S: Final = 0.2  # announcements of this node on a topic; ten at once, as links come and go in groups
OWN_BURST: Final = 10.0
GATHER_S: Final = 0.01  # changes this close together are told as one
FOREIGN_PER_S: Final = 2 * OWN_PER_S  # of one author, over one neighbour
FOREIGN_BURST: Final = 4 * OWN_BURST
NEIGHBOURS_HEARD: Final = 4  # so many times as much over all of them: who tells each something else is not heard by all
CHECKED_PER_S: Final = 50.0  # signatures looked at for one neighbour; it cannot keep this node busy with forged ones
CHECKED_BURST: Final = 1024.0  # as many as a summary may bring


class Verdict(enum.Enum):
    """What becomes of a member's announcement."""

    NEWS = enum.auto()  # to be kept and passed on
    KNOWN = enum.auto()  # this one or a newer one is here
    TOO_MANY = enum.auto()
    OF_ANOTHER_LIFE = enum.auto()  # this node's own, newer than any it remembers


class Flood:
    """The board, and what may come on it; times are monotonic seconds, nodes are raw ids."""

    def __init__(self, own: bytes, boot: int) -> None:
        self.board = Board()
        self._own = own
        self._boot = boot
        self._seqs: dict[Topic, int] = dict.fromkeys(Topic, 0)
        self._pace = {topic: TokenBucket(OWN_PER_S, OWN_BURST) for topic in Topic}
        self._authors: dict[tuple[bytes, bytes], TokenBucket] = {}  # by who passed it on, and author
        self._totals: dict[bytes, TokenBucket] = {}  # by author
        self._senders: dict[bytes, TokenBucket] = {}

    def pause_s(self, topic: Topic, *, now: float) -> float:
        """Say how long to wait before a change is told."""
        return GATHER_S if self._pace[topic].take(now=now) else 1 / OWN_PER_S

    def say(self, seed: bytes, community: bytes, topic: Topic, body: bytes, *, now: float) -> Announcement:
        """Sign what this node has to say, newer than all it said before.  Errors: MalformedError for too much of it."""
        self._seqs[topic] += 1
        one = announce(seed, community, topic, Stamp(self._boot, self._seqs[topic]), body)
        self.board.take(one, now=now)
        return one

    def judge(self, one: Announcement, *, sender: bytes, public: bytes, community: bytes, now: float) -> Verdict:
        """Check what a neighbour passed on of a member with this key.  Errors: CryptoError for a forgery."""
        own = one.author == self._own
        if not (self._is_of_another_life(one) if own else self.board.is_news(one.head)):
            return Verdict.KNOWN
        if not self._senders.setdefault(sender, TokenBucket(CHECKED_PER_S, CHECKED_BURST)).take(now=now):
            return Verdict.TOO_MANY
        one.verify(public, community)
        if own:
            return Verdict.OF_ANOTHER_LIFE
        # Only now, and by neighbour: what one of them forges, or has kept of old, must not use up an author's share.
        share = self._authors.setdefault((sender, one.author), TokenBucket(FOREIGN_PER_S, FOREIGN_BURST))
        most = TokenBucket(NEIGHBOURS_HEARD * FOREIGN_PER_S, NEIGHBOURS_HEARD * FOREIGN_BURST)
        if not (share.take(now=now) and self._totals.setdefault(one.author, most).take(now=now)):
            return Verdict.TOO_MANY
        return Verdict.NEWS

    def live_again(self, boot: int) -> None:
        """Count from another start on."""
        self._boot = boot

    def prune(self, *, now: float, is_member: Callable[[bytes], bool]) -> bool:
        """Let go of what has expired, and of who is a member no more; return whether an announcement went."""
        for both in [both for both in self._authors if not all(is_member(raw_id) for raw_id in both)]:
            del self._authors[both]
        for buckets in (self._totals, self._senders):
            for raw_id in [raw_id for raw_id in buckets if not is_member(raw_id)]:
                del buckets[raw_id]
        return self.board.prune(now=now, is_member=is_member)

    def _is_of_another_life(self, one: Announcement) -> bool:
        return one.stamp > Stamp(self._boot, self._seqs[one.topic])
