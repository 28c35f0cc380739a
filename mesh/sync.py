"""Keeping members' ledgers and epoch keys equal over their links (decisions 14 and 20 of docs/protocol.md).

    HEADS       [[[author, seq, id]...], membership number, [key id...]]    when a session comes up, and on change
    ENTRIES     [more, [entry...]]                                          what the other lacks, parents first
    EPOCH_KEYS  [[number, generation, id, secret]...]                       the same for keys

One batch of entries answers one HEADS: who still lacks some asks again, so a long ledger never fills a queue.  A new
entry goes to every neighbour at once, and on from there; what is known already goes no further.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from mesh.allowance import Allowance
from mesh.community import CommunityStore
from mesh.core import codec, crypto
from mesh.core.entries import MAX_ENTRY_BYTES, Entry
from mesh.core.envelope import Envelope, MeshKind
from mesh.core.epochs import MAX_KEYS, MAX_NUMBER, EpochKey
from mesh.core.frames import KEY_ID_BYTES
from mesh.core.ledger import MAX_HEADS, Head
from mesh.counters import Counted, Counters
from mesh.errors import MalformedError, MeshError, StorageError

log = logging.getLogger(__name__)

BATCH_BYTES: Final = 256 * 1024
MAX_BATCH_ENTRIES: Final = 4096
MAX_SENT_KEYS: Final = 64
TTL_S: Final = 30.0
COMPARED_PER_S: Final = 4.0  # HEADS of one neighbour; each may cost a whole batch
COMPARED_BURST: Final = 128.0
CHECKED_PER_S: Final = 50.0  # entries of one neighbour's, unknown here, whose signatures are looked at
CHECKED_BURST: Final = 8192.0
SURPLUS_BYTES_PER_S: Final = 256.0  # of one neighbour: what is more than its authors are owed (core/surplus.py)
SURPLUS_BURST_BYTES: Final = 1024.0 * 1024.0
SURPLUS_AGAIN_S: Final = 60.0
ASK_AGAIN_S: Final = 5.0
CLAIMED_S: Final = 60.0
LIMITS: Final[dict[int, tuple[int, int]]] = {  # bytes and items of a body: all that is needed, and looked at first
    MeshKind.HEADS: (384 * 1024, 4 * (1 + MAX_HEADS) + MAX_KEYS),
    MeshKind.ENTRIES: (384 * 1024, 3 + MAX_BATCH_ENTRIES),
    MeshKind.EPOCH_KEYS: (8 * 1024, 1 + 5 * MAX_SENT_KEYS),
}


class Peer(Protocol):
    """A link as the exchange needs it."""

    peer_id: str

    def send(self, kind: int, body: bytes, *, ttl_s: float) -> bytes:
        """Seal and publish a message."""
        ...


class _Share:
    """What one neighbour may cost this node."""

    def __init__(self) -> None:
        self.compared = Allowance(COMPARED_PER_S, COMPARED_BURST)
        self.checked = Allowance(CHECKED_PER_S, CHECKED_BURST)
        self.surplus = Allowance(SURPLUS_BYTES_PER_S, SURPLUS_BURST_BYTES)
        self.surplus_sent = Allowance(SURPLUS_BYTES_PER_S, SURPLUS_BURST_BYTES)  # no more than it would take
        self.claimed: bytes | None = None  # the id of what it says this node signed last; empty if it knows of nothing
        self.claimed_at = 0.0
        self.claimed_of = b""  # the community


class LedgerSync:
    """Exchanges ledger and keys; `on_ledger` and `on_keys` are called when they have changed here."""

    def __init__(
        self,
        store: CommunityStore,
        *,
        own_id: str,
        peers: Callable[[], Sequence[Peer]],
        on_ledger: Callable[[], None],
        on_keys: Callable[[], None],
        on_compared: Callable[[], None] = lambda: None,
        counters: Counters | None = None,
    ) -> None:
        """on_compared: called when a neighbour has told what it holds."""
        self._on_compared = on_compared
        self._shares: dict[str, _Share] = {}  # by neighbour: no more than were ever admitted
        self._counters = counters or Counters()
        self._store = store
        self._own_id = own_id
        self._peers = peers
        self._on_ledger = on_ledger
        self._on_keys = on_keys
        self._missed = asyncio.Event()  # what could not be written here, as on a full disk
        self._left_out = asyncio.Event()  # what was more than could be taken at once

    async def run(self) -> None:
        """Ask again for what was not taken when it came, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ask_again(self._missed, ASK_AGAIN_S), name="what could not be written")
            tasks.create_task(self._ask_again(self._left_out, SURPLUS_AGAIN_S), name="what was too much")

    async def _ask_again(self, missed: asyncio.Event, after_s: float) -> None:
        while True:
            await missed.wait()
            await asyncio.sleep(after_s)
            missed.clear()
            for peer in self._peers():
                self.compare(peer)

    @property
    def knows_own_feed(self) -> bool:
        """Whether a neighbour has been asked since the start, and nothing is missing here of what this node signed.

        A backup that was put back lacks the end of it.  Who claims what never comes is believed for CLAIMED_S.
        """
        ledger = self._store.ledger
        if ledger is None:
            return False
        here = (share for share in self._shares.values() if share.claimed_of == ledger.community)
        claims = [share for share in here if share.claimed is not None]
        missing = (one for one in claims if one.claimed and one.claimed not in ledger)
        return bool(claims) and all(time.monotonic() - one.claimed_at > CLAIMED_S for one in missing)

    def compare(self, peer: Peer) -> None:
        """Tell a neighbour what is here; it answers with what is missing."""
        ledger = self._store.ledger
        if ledger is None:
            return
        heads: list[codec.Item] = [head.to_item() for head in ledger.heads()[:MAX_HEADS]]
        keys: list[codec.Item] = [key.id for key in self._store.keys.current]
        self._send(peer, MeshKind.HEADS, [heads, self._store.keys.number, keys])

    def spread(self, entries: Iterable[Entry], *, known_to: Peer | None = None) -> None:
        """Send new entries to every neighbour but the one they came from."""
        rest = [*entries]
        while rest:
            batch = _batch(rest)
            rest = rest[len(batch) :]
            for peer in self._peers():
                if peer is not known_to:
                    self._send(peer, MeshKind.ENTRIES, [False, [one.raw for one in batch]])

    def spread_keys(self, keys: Iterable[EpochKey], *, known_to: Peer | None = None) -> None:
        """Send new epoch keys to every neighbour but the one they came from."""
        items: list[codec.Item] = [key.to_item() for key in keys]
        for peer in self._peers():
            if peer is not known_to:
                self._send(peer, MeshKind.EPOCH_KEYS, items)

    def receive(self, peer: Peer, envelope: Envelope) -> None:
        """Take one of the mesh's own messages.

        Errors: PeerMisbehavedError; StorageError, after which `run` asks for it again.
        """
        try:
            self._receive(peer, envelope)
        except StorageError:
            self._missed.set()
            raise

    def _receive(self, peer: Peer, envelope: Envelope) -> None:
        share = self._shares.setdefault(peer.peer_id, _Share())
        if self._store.membership is None or self._is_too_much(envelope.kind == MeshKind.HEADS, share.compared):
            return
        max_bytes, max_items = LIMITS.get(envelope.kind, (0, 0))
        fields = codec.decode_array(envelope.body, max_bytes=max_bytes, max_items=max_items)
        match envelope.kind, fields:
            case MeshKind.HEADS, [heads, number, key_ids]:
                self._compared(
                    peer,
                    [Head.parse(head) for head in codec.short_array(heads, MAX_HEADS)],
                    codec.unsigned(number, MAX_NUMBER),
                    {codec.fixed_bytes(one, KEY_ID_BYTES) for one in codec.short_array(key_ids, MAX_KEYS)},
                )
            case MeshKind.ENTRIES, [bool(more), items]:
                raws = [codec.short_bytes(raw, MAX_ENTRY_BYTES) for raw in codec.short_array(items, MAX_BATCH_ENTRIES)]
                unknown = [raw for raw in raws if not self._is_known(raw)]
                if not self._is_too_much(len(unknown), share.checked):
                    entries = self._affordable([Entry.parse(raw, trusted=True) for raw in unknown], share)
                    for entry in entries:
                        entry.verify()
                    new = self._take(peer, entries, more=more)
                    share.checked.give_back(new)  # how much may become part of the ledger is bounded
            case MeshKind.EPOCH_KEYS, items:
                self._take_keys(peer, [EpochKey.parse(item) for item in codec.short_array(items, MAX_SENT_KEYS)])
            case _:
                raise MalformedError(f"a message of unknown kind {envelope.kind}")

    def _is_too_much(self, amount: float, allowance: Allowance) -> bool:
        if allowance.take(amount):
            return False
        self._counters.count(Counted.DROPPED_RATE_LIMITED)
        return True

    def _affordable(self, entries: Sequence[Entry], share: _Share) -> list[Entry]:
        """Leave out what is surplus, once a neighbour has brought as much as it may; signatures are looked at after."""
        ledger = self._store.ledger
        if ledger is None:
            return []
        surplus = ledger.surplus_among(entries)
        kept = [one for one in entries if one.id not in surplus or share.surplus.take(len(one.raw))]
        if len(kept) < len(entries):
            self._counters.count(Counted.DROPPED_RATE_LIMITED)
            self._left_out.set()
        return kept

    def _is_known(self, raw: bytes) -> bool:
        """Whether an entry is here already, before its signature is looked at."""
        ledger = self._store.ledger
        return ledger is not None and hashlib.sha256(raw[: -crypto.SIGNATURE_BYTES]).digest() in ledger

    def _compared(self, peer: Peer, heads: list[Head], number: int, key_ids: set[bytes]) -> None:
        ledger, ring = self._store.ledger, self._store.keys
        if ledger is None:
            return
        share = self._shares.setdefault(peer.peer_id, _Share())
        own = (head.id for head in heads if head.author == self._store.own)
        share.claimed, share.claimed_at, share.claimed_of = next(own, b""), time.monotonic(), ledger.community
        missing = ledger.missing_at(heads)
        first = _batch(missing)
        batch = [one for one in first if not ledger.is_surplus(one) or share.surplus_sent.take(len(one.raw))]
        if batch:
            more = len(batch) == len(first) < len(missing)
            self._send(peer, MeshKind.ENTRIES, [more, [one.raw for one in batch]])
        self._on_compared()
        if number > ring.number:
            self.compare(peer)  # for what this node lacks; the keys of a past number are nobody's business
            return
        if not ring.current and not key_ids and (self._store.is_voter or self._own_id < peer.peer_id):
            self._make_key()
        wanted: list[codec.Item] = [key.to_item() for key in self._store.keys.current if key.id not in key_ids]
        if wanted:
            self._send(peer, MeshKind.EPOCH_KEYS, wanted)

    def ensure_key(self) -> None:
        """Make an epoch key if there is none for the present membership number and this node votes."""
        if self._store.is_voter and not self._store.keys.current:
            self._make_key()

    def _make_key(self) -> None:
        key = self._store.make_key()
        self._on_keys()
        self.spread_keys([key])

    def _take(self, peer: Peer, entries: list[Entry], *, more: bool) -> int:
        """Take entries and tell others of what is new; return how many are."""
        number, ledger = self._store.keys.number, self._store.ledger
        new = self._store.take(entries)
        if more and new:
            self.compare(peer)
        if not new:
            return 0
        if ledger is not None:
            # Surplus is not pushed, who wants it asks for it; but all must come to one number, or they share no key.
            is_pushed = self._store.keys.number != number
            owed = [one for one in (*ledger.pop_released(), *new) if is_pushed or not ledger.is_surplus(one)]
            self.spread(owed, known_to=peer)
            self.spread(ledger.rivals_of(owed))  # to the sender too: heads alone do not tell it of a shorter branch
        self._on_ledger()
        self.ensure_key()
        if self._store.keys.number != number:
            for other in self._peers():
                self.compare(other)  # who has a key of the new number sends it
        return len(new)

    def _take_keys(self, peer: Peer, keys: list[EpochKey]) -> None:
        new = self._store.take_keys(keys)
        if new:
            self._on_keys()
            self.spread_keys(new, known_to=peer)

    def _send(self, peer: Peer, kind: MeshKind, fields: list[codec.Item]) -> None:
        """Send, or leave it to the next comparison: each new session begins with one."""
        try:
            peer.send(kind, codec.encode(fields), ttl_s=TTL_S)
        except MeshError as error:
            log.debug("ledger exchange with %s waits: %s", peer.peer_id[:8], error)


def _batch(entries: Sequence[Entry]) -> list[Entry]:
    """Return as many of the first entries as one message holds."""
    batch: list[Entry] = []
    size = 0
    for entry in entries[:MAX_BATCH_ENTRIES]:
        size += len(entry.raw)
        if batch and size > BATCH_BYTES:
            break
        batch.append(entry)
    return batch
