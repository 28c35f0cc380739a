"""Which members to keep links with when there are many: a few on the ring of their sorted ids, the same from both ends.

Up to ALL_UP_TO others in reach are all linked.  Among more, each node takes those 1, 3, 10 and (of more than 80) 40
places before and after it on the ring: whoever sees the same nodes chooses the same links, the graph is connected,
and of 300 nodes the farthest are 7 hops apart.  A link that is there and nearly in the right place is kept, so that
one node that comes or goes moves a handful of links; and whoever chose this node is taken while there is room.
"""

from collections.abc import Collection, Sequence
from typing import Final

ALL_UP_TO: Final = 24
FEW_FROM: Final = 32  # up to here whoever has many links keeps them, lest one node more or less cut and make them all
MAX_NEIGHBOURS: Final = 12
NEARLY: Final = {1: (1, 1), 3: (2, 5), 10: (6, 16), 40: (24, 66)}  # by offset: where a link need not be moved


def choose(
    own: bytes, in_reach: Collection[bytes], engaged: Sequence[bytes], *, more_to_come: bool = False
) -> frozenset[bytes]:
    """Choose whom to keep links with, of the raw ids in reach; at most MAX_NEIGHBOURS of more than FEW_FROM.

    engaged: those linked with now or asking for it, the first to be kept standing first.
    more_to_come: these are the first of many to be seen, and most links with them would soon be given up.
    """
    others = set(in_reach) - {own}
    if len(others) <= ALL_UP_TO and not more_to_come:
        return frozenset(others)
    kept = [one for one in dict.fromkeys(engaged) if one in others]
    chosen = _on_the_ring(own, sorted(others), set(kept))
    many = len(others) <= FEW_FROM and len(kept) > MAX_NEIGHBOURS
    room = (ALL_UP_TO if many else MAX_NEIGHBOURS) - len(chosen)
    return chosen.union([one for one in kept if one not in chosen][:room])


def _on_the_ring(own: bytes, others: Sequence[bytes], linked: Collection[bytes]) -> frozenset[bytes]:
    """Choose one for each offset and direction: who is linked and nearly there, else who is there."""
    here = sum(other < own for other in others)
    onward = [*others[here:], *others[:here]]
    half = len(others) // 2
    chosen: set[bytes] = set()
    for ring in (onward, onward[::-1]):
        for offset, (first, last) in NEARLY.items():
            if offset <= half:
                nearly = [at for at in range(first, min(last, half) + 1) if ring[at - 1] in linked]
                _, at = min(((abs(at - offset), at) for at in nearly), default=(0, offset))
                chosen.add(ring[at - 1])
    return frozenset(chosen)
