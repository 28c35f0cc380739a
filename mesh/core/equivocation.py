"""Proofs that a key signed two different entries for one place in its feed: it is used twice, or stolen.

The two entries are the proof.  Both are in the ledger, where whoever holds it finds them; so a proof needs no message
and no entry of its own, travels as entries do, and is found by everyone who holds the same set.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mesh.core.entries import Entry


@dataclass(frozen=True)
class Equivocation:
    """The first place at which an author signed two entries, and the two of the lowest ids, in ascending order."""

    author: bytes
    seq: int
    ids: tuple[bytes, bytes]


def proof_of(entry: Entry, twins: Collection[bytes], *, known: Equivocation | None) -> Equivocation:
    """Give the proof against an author whose entry is not the only one of its seq; it depends on the set alone.

    twins: the ids of the others, at least one; known: the proof without this entry.
    """
    if known is not None and known.seq < entry.seq:
        return known
    one, two, *_ = sorted((entry.id, *twins))
    return Equivocation(entry.author, entry.seq, (one, two))


def equivocations(entries: Iterable[Entry]) -> dict[bytes, Equivocation]:
    """Find, by author, who signed two entries of one seq: a function of the set, whatever the order and repetitions."""
    found: dict[bytes, Equivocation] = {}
    places: dict[tuple[bytes, int], set[bytes]] = {}
    for entry in entries:
        twins = places.setdefault((entry.author, entry.seq), set()) - {entry.id}
        if twins:
            found[entry.author] = proof_of(entry, twins, known=found.get(entry.author))
        places[entry.author, entry.seq].add(entry.id)
    return found
