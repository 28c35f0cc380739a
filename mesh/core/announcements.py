"""What a member tells everyone: signed, flooded from link to link, the newest of each author and topic alone kept.

    announcement = payload ‖ signature(64)        payload = [1, author(32), topic, boot, seq, body]

Only state that replaces itself travels like this, never a command: an announcement that comes late or twice changes
nothing.  (boot, seq) orders them without a clock (decision 15 of docs/protocol.md): boot counts the starts of the
author's daemon, seq its announcements since.
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mesh.core import codec, crypto
from mesh.errors import MalformedError

VERSION: Final = 1
SIGNATURE_KIND: Final = "announcement"
MAX_ANNOUNCEMENT_BYTES: Final = 16 * 1024
OVERHEAD_BYTES: Final = 160  # signature, author, stamp and the arrays' heads
MAX_BODY_BYTES: Final = MAX_ANNOUNCEMENT_BYTES - OVERHEAD_BYTES
MAX_BOOT: Final = 2**48
MAX_SEQ: Final = 2**48
REFRESH_S: Final = 60.0  # an author says its own again this often
EXPIRE_S: Final = 200.0  # three refreshes and some; measured by each receiver's own clock


class Topic(enum.IntEnum):
    """What an announcement is about."""

    LINKS = 0  # the author's links and where it listens (routes.py)
    DEVICE = 1  # the device's own; opaque here


@dataclass(frozen=True, order=True)
class Stamp:
    """When an announcement was made, as its author counts."""

    boot: int
    seq: int


@dataclass(frozen=True)
class Announcement:
    """A parsed announcement; `verify` says whether its author made it."""

    author: bytes
    topic: Topic
    stamp: Stamp
    body: bytes
    raw: bytes

    @property
    def head(self) -> "Head":
        """What stands for it in a summary."""
        return Head(self.author, self.topic, self.stamp)

    @classmethod
    def parse(cls, raw: bytes) -> "Announcement":
        """Read a foreign announcement; its signature is not looked at.  Errors: MalformedError."""
        if not crypto.SIGNATURE_BYTES < len(raw) <= MAX_ANNOUNCEMENT_BYTES:
            raise MalformedError(f"an announcement of {len(raw)} bytes")
        payload = raw[: -crypto.SIGNATURE_BYTES]
        match codec.decode_array(payload, max_bytes=MAX_ANNOUNCEMENT_BYTES, max_items=7):
            case [version, author, topic, boot, seq, bytes(body)] if codec.unsigned(version, codec.INT_MAX) == VERSION:
                return cls(
                    codec.fixed_bytes(author, crypto.KEY_BYTES), _topic(topic), _stamp(boot, seq), body, bytes(raw)
                )
        raise MalformedError("not an announcement")

    def verify(self, public: bytes, community: bytes) -> None:
        """Check that the holder of this key made it for this community.  Errors: CryptoError."""
        payload, signature = self.raw[: -crypto.SIGNATURE_BYTES], self.raw[-crypto.SIGNATURE_BYTES :]
        crypto.verify(public, signature, SIGNATURE_KIND, community, payload)


def announce(seed: bytes, community: bytes, topic: Topic, stamp: Stamp, body: bytes) -> Announcement:
    """Sign an announcement.  Errors: MalformedError for a body that is too large."""
    if len(body) > MAX_BODY_BYTES:
        raise MalformedError(f"an announcement of {len(body)} bytes; one holds at most {MAX_BODY_BYTES}")
    author = crypto.raw_id(crypto.ed25519_public(seed))
    payload = codec.encode([VERSION, author, topic, stamp.boot, stamp.seq, body])
    return Announcement(author, topic, stamp, body, payload + crypto.sign(seed, SIGNATURE_KIND, community, payload))


@dataclass(frozen=True)
class Head:
    """The name of an announcement: whose, about what, and which."""

    author: bytes
    topic: Topic
    stamp: Stamp

    def to_item(self) -> codec.Item:
        """Write it for a summary."""
        return [self.author, self.topic, self.stamp.boot, self.stamp.seq]

    @classmethod
    def parse(cls, item: codec.Item) -> "Head":
        """Read it from a foreign summary.  Errors: MalformedError."""
        match item:
            case [author, topic, boot, seq]:
                return cls(codec.fixed_bytes(author, crypto.KEY_BYTES), _topic(topic), _stamp(boot, seq))
        raise MalformedError("not the head of an announcement")


class Board:
    """The newest announcement of each author and topic; times are the receiver's monotonic seconds."""

    def __init__(self) -> None:
        self._held: dict[tuple[bytes, Topic], tuple[Announcement, float]] = {}
        self._stamps: dict[tuple[bytes, Topic], Stamp] = {}  # of what has expired too: it must not come back

    @property
    def held(self) -> Iterable[Announcement]:
        """Everything that has not expired."""
        return [announcement for announcement, _ in self._held.values()]

    def of(self, author: bytes, topic: Topic) -> Announcement | None:
        """Return an author's newest on a topic."""
        found = self._held.get((author, topic))
        return None if found is None else found[0]

    def about(self, topic: Topic) -> Mapping[bytes, Announcement]:
        """Return the newest of each author on a topic."""
        return {author: one for (author, its), (one, _) in self._held.items() if its is topic}

    def is_news(self, head: Head) -> bool:
        """Whether an announcement of this name is newer than anything seen of its author and topic."""
        stamp = self._stamps.get((head.author, head.topic))
        return stamp is None or head.stamp > stamp

    def take(self, announcement: Announcement, *, now: float) -> bool:
        """Keep a verified announcement if it is news; return whether it was."""
        if not self.is_news(announcement.head):
            return False
        key = (announcement.author, announcement.topic)
        self._held[key] = (announcement, now)
        self._stamps[key] = announcement.stamp
        return True

    def heads(self) -> list[Head]:
        """Name everything held, for a summary."""
        return [announcement.head for announcement in self.held]

    def missing_at(self, heads: Iterable[Head]) -> list[Announcement]:
        """Return what is held here and is newer than, or absent from, a neighbour's summary."""
        there = {(head.author, head.topic): head.stamp for head in heads}
        return [one for key, (one, _) in self._held.items() if (stamp := there.get(key)) is None or one.stamp > stamp]

    def prune(self, *, now: float, is_member: Callable[[bytes], bool]) -> bool:
        """Drop what has expired, and whatever came of nodes that are members no more; return whether anything went."""
        gone = [key for key, (_, heard_at) in self._held.items() if now - heard_at > EXPIRE_S or not is_member(key[0])]
        for key in gone:
            del self._held[key]
        for key in [key for key in self._stamps if not is_member(key[0])]:
            del self._stamps[key]
        return bool(gone)


def _topic(item: codec.Item) -> Topic:
    return Topic(codec.unsigned(item, max(Topic)))


def _stamp(boot: codec.Item, seq: codec.Item) -> Stamp:
    return Stamp(codec.unsigned(boot, MAX_BOOT), codec.unsigned(seq, MAX_SEQ))
