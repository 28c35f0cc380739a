"""The community's record as the device reads it, and the few things that the device signs into it."""

from collections.abc import Callable
from dataclasses import dataclass

from mesh.community import CommunityStore
from mesh.core.entries import Entry, PublishModel, RetireModel
from mesh.core.membership import FounderMembership
from mesh.errors import KeyInDisputeError, NoCommunityError


@dataclass(frozen=True)
class RecordView:
    """All that a node holds of one community's record: entries in the order in which they came, and who belongs."""

    entries: tuple[Entry, ...]
    membership: FounderMembership


class Record:
    """The record of the community this node belongs to, or was removed from."""

    def __init__(
        self, store: CommunityStore, *, own: bytes, spread: Callable[[Entry], None], on_change: Callable[[], None]
    ) -> None:
        """own: this node's public key; spread: called with each entry that is signed; on_change: when one has been."""
        self._store = store
        self.own = own
        self._spread = spread
        self._on_change = on_change

    def view(self) -> RecordView:
        """Look at all of it.  Errors: NoCommunityError."""
        ledger, folded = self._store.ledger, self._store.folded
        if ledger is None or folded is None:
            raise NoCommunityError("this node belongs to no community")
        return RecordView(ledger.entries, folded)

    def sign(self, body: PublishModel | RetireModel) -> Entry:
        """Sign something about a model, and tell the neighbours; whether it counts is for the caller to know.

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
