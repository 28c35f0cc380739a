"""The community's record as the device reads, exports and signs it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mesh.checkpoints import Checkpoints, Fixed
from mesh.community import CommunityStore
from mesh.core import notes
from mesh.core.contributions import Amount, Contribution, counter_sign
from mesh.core.entries import Entry, PublishModel, RetireModel
from mesh.core.membership import Membership
from mesh.core.record import RecordFile, note_of, snapshot_of
from mesh.core.tree_order import fixed, in_order
from mesh.errors import KeyInDisputeError, NoCommunityError, NothingSignedError
from mesh.identity import Identity


@dataclass(frozen=True)
class RecordView:
    """All that a node holds of one community's record: entries in the order in which they came, and who belongs."""

    entries: tuple[Entry, ...]
    membership: Membership


class Record:
    """The record of the community this node belongs to, or was removed from."""

    def __init__(
        self,
        identity: Identity,
        store: CommunityStore,
        *,
        spread: Callable[[Entry], None],
        on_change: Callable[[], None],
    ) -> None:
        """spread: called with each entry that is signed; on_change: when one has been."""
        self._identity = identity
        self._store = store
        self.checkpoints = Checkpoints(store)
        """What was decided, as a tree."""
        self.own = identity.public
        """This node's public key."""
        self._spread = spread
        self._on_change = on_change

    def view(self) -> RecordView:
        """Look at all of it.  Errors: NoCommunityError."""
        ledger, folded = self._store.ledger, self._store.folded
        if ledger is None or folded is None:
            raise NoCommunityError("this node belongs to no community")
        return RecordView(ledger.entries, folded)

    async def export(self, *, fixed_only: bool = False) -> RecordFile:
        """Return all this node holds, signed by it: what decisions fixed, then the rest.

        fixed_only: no more than what decisions fixed, signed also by all voters whose signature is here.  Whoever holds
        the same signs the same note.  The daemon goes on meanwhile.

        Errors: NoCommunityError, BoardChangedError, NothingSignedError.
        """
        ledger = self._store.ledger
        if ledger is None or self._store.membership is None:
            raise NoCommunityError("this node belongs to no community, and so has no record to show")
        self._store.require_signing()
        last = await self.checkpoints.latest() if fixed_only else None
        return await asyncio.to_thread(self._write, ledger.entries, ledger.membership().decided, last)

    def sign(self, body: PublishModel | RetireModel | Contribution) -> Entry:
        """Sign what is about a model or a contribution, and tell the neighbours; if it counts is the caller's to know.

        Errors: NoCommunityError, KeyInDisputeError, FeedBehindError, BoardChangedError, StorageError.
        """
        membership = self._store.membership
        if membership is None:
            raise NoCommunityError("this node belongs to no community")
        if any(proof.author == self.own for proof in membership.equivocations.values()):
            raise KeyInDisputeError("this node's key has signed two entries for one place of the ledger")
        entry = self._store.sign(body)
        self._spread(entry)
        self._on_change()
        return entry

    def counter_sign(self, receiver: bytes, period: int, amount: Amount) -> bytes:
        """Sign, as the giver, what a member says that it received; the entry itself is for the receiver to sign.

        Errors: NoCommunityError, BoardChangedError.
        """
        membership = self._store.membership
        if membership is None:
            raise NoCommunityError("this node belongs to no community")
        self._store.require_signing()
        return counter_sign(self._identity.seed, membership.community, receiver, period, amount)

    def _write(self, entries: Sequence[Entry], decided: Sequence[bytes], last: Fixed | None) -> RecordFile:
        leaves = in_order(entries, decided) if last is None else fixed(entries, decided[: last.number + 1])
        # Nobody can check a signature by a key that the file does not name.
        named = {leaves[0].author, *(entry.lets_in for entry in leaves)}
        attested = [entry for _, entry in last.attested if entry.author in named] if last is not None else []
        note = note_of(snapshot_of(leaves) if last is None else last.checkpoint, attested)
        if self.own in named:
            note = note.signed(self._identity.seed, name=notes.key_name(leaves[0].community))
        if not note.signatures:
            raise NothingSignedError("nobody whom it names has signed what decisions have fixed so far")
        return RecordFile(leaves, note)
