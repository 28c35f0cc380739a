"""What a node exports of its community's record: everything it holds, under its own signature."""

import asyncio
from collections.abc import Sequence

from mesh.community import CommunityStore
from mesh.core import notes
from mesh.core.entries import Entry
from mesh.core.ledger import Head
from mesh.core.notes import Note
from mesh.core.record import Record, snapshot_of
from mesh.core.tree_order import ordered
from mesh.errors import NoCommunityError
from mesh.identity import Identity


class Recorder:
    """Writes the record for one node."""

    def __init__(self, identity: Identity, store: CommunityStore) -> None:
        self._identity = identity
        self._store = store

    async def record(self, frontiers: Sequence[Sequence[Head]] = ()) -> Record:
        """Return all this node holds: what is at or below the frontiers the community decided on, then the rest.

        Whoever holds the same signs the same note, so that others' signatures can be added to it.  The daemon goes on
        meanwhile.  Errors: NoCommunityError, BoardChangedError, MalformedError when a frontier is not held whole.
        """
        ledger = self._store.ledger
        if ledger is None or self._store.membership is None:
            raise NoCommunityError("this node belongs to no community, and so has no record to show")
        self._store.require_signing()
        return await asyncio.to_thread(self._write, ledger.entries, [*frontiers, ledger.heads()])

    def _write(self, entries: Sequence[Entry], frontiers: Sequence[Sequence[Head]]) -> Record:
        leaves = ordered(entries, frontiers)
        note = Note(snapshot_of(leaves))
        return Record(leaves, note.signed(self._identity.seed, name=notes.key_name(leaves[0].community)))
