"""The tree at the community's last decision: worked out here, and held against what each voter signs of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from mesh.community import CommunityStore
from mesh.core.entries import Entry
from mesh.core.notes import Checkpoint
from mesh.core.record import checkpoint_of, note_of
from mesh.core.tree_order import fixed
from mesh.errors import NoCommunityError


@dataclass(frozen=True)
class Fixed:
    """What a decision has fixed.

    number: of the decision, 0 for the founding; decided: the id of what was decided on; attested: what voters say of
    the tree, by the keys of their seats.
    """

    number: int
    decided: bytes
    checkpoint: Checkpoint
    attested: Sequence[tuple[bytes, Entry]]

    @property
    def signed(self) -> frozenset[bytes]:
        """The seats whose holders sign this very tree."""
        return frozenset(seat for seat, entry in self.attested if self._agrees(entry))

    @property
    def disputed(self) -> frozenset[bytes]:
        """The seats whose holders sign another: they were shown another history, or lie, or this node was or does."""
        return frozenset(seat for seat, entry in self.attested if not self._agrees(entry))

    def _agrees(self, entry: Entry) -> bool:
        return note_of(self.checkpoint, [entry]).signatures != ()


class Checkpoints:
    """Works out the tree once a decision; the daemon goes on meanwhile."""

    def __init__(self, store: CommunityStore) -> None:
        self._store = store
        self._known: tuple[bytes, Checkpoint] | None = None  # the id of what was decided, and the tree then

    async def latest(self) -> Fixed:
        """Return what is fixed by the last decision, or by the founding.  Errors: NoCommunityError."""
        while True:
            ledger = self._store.ledger
            if ledger is None:
                raise NoCommunityError("this node belongs to no community")
            decided = ledger.membership().decided
            if self._known is not None and self._known[0] == decided[-1]:
                return Fixed(len(decided) - 1, decided[-1], self._known[1], ledger.attestations())
            checkpoint = await asyncio.to_thread(_checkpoint, ledger.entries, decided)
            self._known = decided[-1], checkpoint


def _checkpoint(entries: Sequence[Entry], decided: Sequence[bytes]) -> Checkpoint:
    return checkpoint_of(fixed(entries, decided))
