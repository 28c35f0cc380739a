"""Beginning a community anew, and going along with somebody who does.

Models, name and settings stay, and so does the record of the community that is left, as a file.  It is the way out
where so many boards are lost that nothing can be decided any more.  Who begins is the founder, the others come as
observers; whoever does not choose it stays where it is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh.certificates import write_private
from mesh.community import CommunityStore
from mesh.core import crypto
from mesh.core.community_fork import MAX_COMING, Fork, nonce_of
from mesh.core.entries import Admit, Entry, Genesis, Place, statement_in, write_entry, write_genesis
from mesh.core.ledger import Ledger
from mesh.core.membership import INVITE_BUDGET, OBSERVER, Member
from mesh.errors import (
    MalformedError,
    NoCommunityError,
    NotAllowedError,
    PeerMisbehavedError,
    StorageError,
    UnknownNodeError,
    UnknownProposalError,
)
from mesh.identity import Identity
from mesh.record import Record

log = logging.getLogger(__name__)

RECORDS: Final = "records"


@dataclass(frozen=True)
class OfferedFork:
    """A community that a member began anew.  id: of the entry that says so; members: names, the founder's first."""

    id: bytes
    by: bytes
    members: tuple[str, ...]


class CommunityFork:
    """Leaves the community for one that goes on from it."""

    def __init__(
        self,
        identity: Identity,
        name: str,
        store: CommunityStore,
        record: Record,
        folder: Path,
        *,
        spread: Callable[[Entry], None],
        farewell: Callable[..., Awaitable[None]],
        on_ledger: Callable[[], None],
    ) -> None:
        """folder: for records of communities that are left; farewell: says that this node leaves, and why."""
        self._identity = identity
        self._name = name
        self._store = store
        self._record = record
        self._folder = folder
        self._spread = spread
        self._farewell = farewell
        self._on_ledger = on_ledger

    def offered(self) -> list[OfferedFork]:
        """Return what members of this community have begun, and this node could go along with."""
        ledger = self._store.ledger
        last = {entry.author: entry for entry in ledger.entries if isinstance(entry.body, Fork)} if ledger else {}
        read = [(entry, self._read(entry)) for entry in last.values()]
        begun = [(entry, new.membership().members) for entry, new in read if new is not None]
        return [
            OfferedFork(entry.id, entry.author, tuple(one.name for one in members.values()))
            for entry, members in begun
            if self._identity.raw_id in members
        ]

    async def begin(self, without: Collection[bytes]) -> Path:
        """Begin anew without some members, by raw id; return where the record of the old community is kept.

        Errors: NoCommunityError, UnknownNodeError, NotAllowedError for too many members, FeedBehindError, StorageError.
        """
        membership, ledger = self._store.membership, self._store.ledger
        if membership is None or ledger is None:
            raise NoCommunityError("this node belongs to no community")
        if not set(without) <= {one.raw_id for one in self._store.others}:
            raise UnknownNodeError("no other member has this id")
        coming = [one for one in self._store.others if one.raw_id not in without]
        if len(coming) > MAX_COMING:
            raise NotAllowedError(f"{len(coming)} members would come along; {MAX_COMING} can")
        self._store.require_signing()
        place = ledger.next_place(self._identity.public)
        parents = [*place.deps, *([place.prev] if place.prev else [])]
        entries = self._written(membership.name, nonce_of(ledger.community, parents), coming, ledger.entries)
        kept = await self._keep_record()
        fork = self._store.sign(Fork(tuple(entry.raw for entry in entries)))
        self._spread(fork)
        await self._move(Ledger.of(entries), fork)
        self._store.make_key()
        return kept

    async def choose(self, fork: bytes) -> Path:
        """Go along with what a member began, by the id of its entry; return where the old record is kept.

        Errors: UnknownProposalError, NoCommunityError, FeedBehindError, StorageError.
        """
        ledger = self._store.ledger
        if ledger is None:
            raise NoCommunityError("this node belongs to no community")
        found = next((entry for entry in ledger.entries if entry.id == fork), None)
        new = self._read(found) if found is not None else None
        if new is None:
            raise UnknownProposalError("no member has begun a community anew by this id")
        kept = await self._keep_record()
        await self._move(new)
        return kept

    def _read(self, entry: Entry) -> Ledger | None:
        """Return a new community's ledger; None where an entry is no fork, or not one that holds."""
        if not isinstance(entry.body, Fork):
            return None
        try:
            entries = [Entry.parse(raw) for raw in entry.body.entries]
            ledger = Ledger.of(entries)
        except PeerMisbehavedError as error:
            log.debug("%s began a community that is none: %s", crypto.node_id(crypto.raw_id(entry.author))[:8], error)
            return None
        genesis = ledger.genesis.body
        if ledger.genesis.author != entry.author or len(ledger) != len(entries) or not isinstance(genesis, Genesis):
            return None
        holds = genesis.nonce == nonce_of(entry.community, entry.parents)
        return ledger if holds else None

    def _written(self, name: str, nonce: bytes, coming: Collection[Member], old: Collection[Entry]) -> list[Entry]:
        """Sign the new community's first entries."""
        stated = (statement_in(entry.body) for entry in old)
        statements = {(one.public, one.static): one for one in stated if one is not None}
        body = Genesis(name, self._identity.statement, self._name, nonce, INVITE_BUDGET)
        entries = [write_genesis(self._identity.seed, body)]
        for member in coming:
            statement = statements.get((member.public, member.static))
            if statement is None:
                raise MalformedError(f"the ledger has no identity of {member.name}")
            place = Place(len(entries), entries[-1].id, ())
            admit = Admit(statement, member.name, OBSERVER)
            entries.append(write_entry(self._identity.seed, entries[0].id, place, admit))
        return entries

    async def _move(self, ledger: Ledger, *told: Entry) -> None:
        """Leave, so that those who stay can decide without this node, and be a member there."""
        await self._farewell("went on elsewhere", *told)
        self._store.enter(ledger, [])
        self._on_ledger()

    async def _keep_record(self) -> Path:
        """Write the record of the community that is left into a file, whole or not at all."""
        written = await self._record.export()
        path = self._folder / f"{crypto.node_id(self._record.view().membership.community)[:16]}.record"

        def write() -> None:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_private(path, b"".join(written.pieces()))
            except OSError as error:
                raise StorageError(f"{path} cannot be written: {error.strerror}") from error

        await asyncio.to_thread(write)
        return path
