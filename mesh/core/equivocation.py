"""Proofs that a key signed two different entries for one place in its feed: it is used twice, or stolen.

The two entries are the proof.  Both are in the ledger, where whoever holds it finds them; so a proof needs no message
and no entry of its own, travels as entries do, and is found by everyone who holds the same set.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from mesh.core.entries import Entry


@dataclass(frozen=True)
class Equivocation:
    """The first place at which an author signed two entries, and the two of the lowest ids, in ascending order."""

    author: bytes
    seq: int
    ids: tuple[bytes, bytes]


def equivocations(entries: Iterable[Entry]) -> dict[bytes, Equivocation]:
    """Find, by author, who signed two entries of one seq: a function of the set, whatever the order and repetitions."""
    found: dict[bytes, Equivocation] = {}
    places = sorted({(entry.author, entry.seq, entry.id) for entry in entries})
    for (author, seq, one), (other, other_seq, two) in pairwise(places):
        if (author, seq) == (other, other_seq):
            found.setdefault(author, Equivocation(author, seq, (one, two)))
    return found
