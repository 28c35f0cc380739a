"""What this node holds of its community, on disk: ledger, epoch keys, grants, and whom it blocks.

Every change is one SQLite transaction, written through to the disk before it is acted on.  What is signed is saved
together with its seq, before anyone sees it: a node never signs two entries of one seq.
"""

import contextlib
import itertools
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from mesh.core import crypto
from mesh.core.door_messages import Grant
from mesh.core.entries import Entry, Genesis, Known, write_entry, write_genesis
from mesh.core.epochs import BY_OBSERVER, BY_VOTER, EpochKey, KeyRing
from mesh.core.frames import KEY_ID_BYTES
from mesh.core.ledger import Ledger
from mesh.core.membership import INVITE_BUDGET, VOTER, Member, Membership
from mesh.errors import (
    BoardChangedError,
    FeedBehindError,
    FeedFullError,
    MalformedError,
    NoCommunityError,
    StorageError,
)
from mesh.identity import Identity
from mesh.migrations import migrate

NONCE_BYTES: Final = 16
OF_ONE_COMMUNITY: Final = ("entries", "epoch_keys", "grants", "answers")


class CommunityStore:
    """The node's copy of its community; `membership` is None while it belongs to none, or was removed."""

    def __init__(self, path: Path, identity: Identity) -> None:
        """Open or create the database.  Errors: StorageError."""
        self._identity = identity
        self.may_sign = True  # not on another board than the identity's, for that one may sign too
        with _translated():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA synchronous = EXTRA")  # a lost commit would let a seq be signed twice
            migrate(self._database)
            self.ledger = self._read_ledger()
            self.keys = self._read_keys()
            self.blocked = {raw_id for (raw_id,) in self._database.execute("SELECT raw_id FROM blocks")}

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @property
    def own(self) -> bytes:
        """This node's public key."""
        return self._identity.public

    @property
    def folded(self) -> Membership | None:
        """The community as the ledger here has it, though this node may have been removed."""
        return self.ledger.membership() if self.ledger is not None else None

    @property
    def membership(self) -> Membership | None:
        """The community as the ledger has it, if this node belongs to it."""
        folded = self.folded
        return folded if folded is not None and self._identity.raw_id in folded.members else None

    @property
    def others(self) -> tuple[Member, ...]:
        """The other members."""
        membership = self.membership
        members = membership.members.values() if membership else ()
        return tuple(member for member in members if member.raw_id != self._identity.raw_id)

    @property
    def is_voter(self) -> bool:
        """Whether this node votes."""
        membership = self.membership
        return membership is not None and membership.members[self._identity.raw_id].role == VOTER

    def found(self, name: str, node_name: str) -> None:
        """Found a community of one.  Errors: BoardChangedError, StorageError."""
        self.require_signing()
        nonce = secrets.token_bytes(NONCE_BYTES)
        body = Genesis(name, self._identity.statement, node_name, nonce, INVITE_BUDGET)
        genesis = write_genesis(self._identity.seed, body)
        self.enter(Ledger(genesis), [])
        self.make_key()

    def enter(self, ledger: Ledger, keys: Iterable[EpochKey]) -> None:
        """Belong to the community of this ledger from now on, in place of any other; it is this store's from then on.

        Errors: MalformedError when this node is no member in it; nothing has changed then.
        """
        folded = ledger.membership()
        if self._identity.raw_id not in folded.members:
            raise MalformedError("an admission without this node among the members")
        ring = KeyRing(folded.number).with_keys(keys)
        with self._transaction():
            self._wipe(*OF_ONE_COMMUNITY)
            self._insert_entries(ledger.entries)
            self._insert_keys(ring.keys)
            place = ledger.next_place(self._identity.public)
            self._save_seq(ledger.community, place.seq - 1)
        self.ledger, self.keys = ledger, ring

    def sign(self, body: Known) -> Entry:
        """Sign an entry, save it and its seq, and make it part of the ledger.

        Errors: NoCommunityError, FeedBehindError, BoardChangedError, StorageError.
        """
        self.require_signing()
        ledger = self._require_ledger()
        place = ledger.next_place(self._identity.public)
        if place.seq <= self._last_signed(ledger.community):
            raise FeedBehindError("this node has signed more than its copy of the ledger shows")
        with self._transaction():
            self._save_seq(ledger.community, place.seq)
            entry = write_entry(self._identity.seed, ledger.community, place, body)
            if not ledger.has_room_for(entry):
                raise FeedFullError("this node has signed as much as a ledger holds of one author")
            self._insert_entries([entry])
        ledger.add(entry)
        self._renew_keys()
        return entry

    def require_signing(self) -> None:
        """Refuse what would be signed where nothing may be.  Errors: BoardChangedError."""
        if not self.may_sign:
            raise BoardChangedError("this node's identity was made on another board: nothing is signed here")

    def take(self, entries: Iterable[Entry]) -> list[Entry]:
        """Take entries a neighbour sent; return those that are new here.  Errors: MalformedError, StorageError."""
        ledger = self._require_ledger()
        entries = [*entries]
        if any(entry.community != ledger.community for entry in entries):
            raise MalformedError("entries of another community")
        before = ledger.mark()
        try:
            admitted = [new for entry in entries for new in ledger.add(entry)]
            if admitted:
                with self._transaction():
                    self._insert_entries(admitted)
        except BaseException:
            ledger.back_to(before)  # what cannot be written must not be known either
            raise
        if admitted:
            self._renew_keys()
        return admitted

    def take_keys(self, keys: Iterable[EpochKey]) -> list[EpochKey]:
        """Take epoch keys; return those that are new here."""
        ring = self.keys.with_keys(keys)
        new = [key for key in ring.keys if key not in self.keys.keys]
        if new:
            with self._transaction():
                self._insert_keys(new)
            self.keys = ring
        return new

    def make_key(self) -> EpochKey:
        """Make an epoch key for the present membership number; a voter's outweighs an observer's."""
        generation = BY_VOTER if self.is_voter else BY_OBSERVER
        identity, secret = secrets.token_bytes(KEY_ID_BYTES), secrets.token_bytes(crypto.KEY_BYTES)
        key = EpochKey(self.keys.number, generation, identity, secret)
        self.take_keys([key])
        return key

    def leave(self) -> None:
        """Forget the community; only the identity, and what was signed last, stay."""
        with self._transaction():
            self._wipe(*OF_ONE_COMMUNITY, "blocks")
        self.ledger, self.keys = None, KeyRing(0)
        self.blocked = set()

    def block(self, raw_id: bytes) -> None:
        """Keep a node out on this side, whatever the ledger says."""
        with self._transaction():
            self._database.execute("INSERT OR IGNORE INTO blocks VALUES (?)", (raw_id,))
            self._database.execute("DELETE FROM grants WHERE raw_id = ?", (raw_id,))
        self.blocked.add(raw_id)

    def unblock(self, raw_id: bytes) -> None:
        """Let a node in again: its owner and this node's have just paired."""
        with self._transaction():
            self._database.execute("DELETE FROM blocks WHERE raw_id = ?", (raw_id,))
        self.blocked.discard(raw_id)

    def grant_of(self, raw_id: bytes) -> Grant | None:
        """Return the key to a member's broker, if it gave one."""
        with _translated():
            row = self._database.execute("SELECT ca, ctl, bulk FROM grants WHERE raw_id = ?", (raw_id,)).fetchone()
        return Grant(*row) if row else None

    def save_grant(self, raw_id: bytes, grant: Grant) -> None:
        """Keep the key to a member's broker."""
        with self._transaction():
            row = (raw_id, grant.ca, grant.ctl, grant.bulk)
            self._database.execute("INSERT OR REPLACE INTO grants VALUES (?, ?, ?, ?)", row)

    def answers(self) -> dict[bytes, bool]:
        """Return what the owner said to proposals, by their ids."""
        with _translated():
            rows = self._database.execute("SELECT proposal, agrees FROM answers").fetchall()
        return {proposal: bool(agrees) for proposal, agrees in rows}

    def answer(self, proposal: bytes, *, agrees: bool) -> None:
        """Keep what the owner says to a proposal, in place of what was said before."""
        with self._transaction():
            self._database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (proposal, agrees))

    def next_boot(self, *, at_least: int = 1) -> int:
        """Count a start of the daemon, and have the count on the disk before anyone hears of it."""
        with self._transaction():
            self._database.execute("UPDATE boots SET number = max(number + 1, ?)", (at_least,))
            (number,) = self._database.execute("SELECT number FROM boots").fetchone()
        return int(number)

    def _require_ledger(self) -> Ledger:
        if self.ledger is None:
            raise NoCommunityError("this node belongs to no community")
        return self.ledger

    def _renew_keys(self) -> None:
        self.keys = self.keys.at(self._require_ledger().membership().number)

    def _read_ledger(self) -> Ledger | None:
        rows = self._database.execute("SELECT raw FROM entries ORDER BY position")
        entries = (Entry.parse(raw, trusted=True) for (raw,) in rows)
        first = next(entries, None)
        return None if first is None else Ledger.of(itertools.chain([first], entries))

    def _read_keys(self) -> KeyRing:
        rows = self._database.execute("SELECT number, generation, id, secret FROM epoch_keys").fetchall()
        number = self.ledger.membership().number if self.ledger is not None else 0
        return KeyRing(number).with_keys(EpochKey(*row) for row in rows)

    def _last_signed(self, community: bytes) -> int:
        row = self._database.execute("SELECT seq FROM signed WHERE community = ?", (community,)).fetchone()
        return row[0] if row else -1

    def _save_seq(self, community: bytes, seq: int) -> None:
        self._database.execute(
            "INSERT INTO signed VALUES (?, ?) ON CONFLICT (community) DO UPDATE SET seq = max(seq, excluded.seq)",
            (community, seq),
        )

    def _insert_entries(self, entries: Iterable[Entry]) -> None:
        rows = ((entry.id, entry.raw) for entry in entries)
        self._database.executemany("INSERT OR IGNORE INTO entries (id, raw) VALUES (?, ?)", rows)

    def _insert_keys(self, keys: Iterable[EpochKey]) -> None:
        self._database.execute("DELETE FROM epoch_keys WHERE number <> ?", (self.keys.number,))
        rows = ((key.id, key.number, key.generation, key.secret) for key in keys)
        self._database.executemany("INSERT OR IGNORE INTO epoch_keys VALUES (?, ?, ?, ?)", rows)

    def _wipe(self, *tables: str) -> None:
        for table in tables:
            self._database.execute(f"DELETE FROM {table}")  # noqa: S608  names from this file

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:  # SQLite has rolled back by itself when the disk is full
                    self._database.execute("ROLLBACK")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"the community's database cannot be read or written: {error}") from error
