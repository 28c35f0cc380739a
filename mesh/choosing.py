"""When to choose neighbours, and how long a choice stands; whom to choose among many is neighbour_choice's to say.

Views change while nodes come and go, and every link costs both ends handshakes: so a node that starts among many looks
around first, lets go of a link only after a while, and takes nobody back at once that it has let go of.
Times are monotonic seconds.
"""

import math
from collections.abc import Collection, Sequence
from typing import Final

from mesh.core.neighbour_choice import ALL_UP_TO, choose
from mesh.links import LinkState
from mesh.slots import Slot

CHOOSE_EVERY_S: Final = 10.0
ASKED_S: Final = 60.0  # for so long a member that wanted a link comes before others that were not chosen
VAIN_S: Final = 60.0  # where there are many, a link that is down for so long makes room for others
REST_S: Final = 600.0
LOOK_AROUND_S: Final = 5.0  # at most, before a node that starts among many chooses
QUIET_S: Final = 0.5  # without another sighting, it has seen most
STARTING_S: Final = 60.0  # for so long those in reach may be the first of many
UNWANTED_S: Final = 10.0  # for so long a link is kept that others were chosen over
LET_GO_S: Final = 30.0  # for so long whom this node let go of is not taken again: it is to look around first


class Choosing:
    """One node's choices; `began` at its start, `heard` with each sighting of a member."""

    def __init__(self, own: bytes) -> None:
        self._own = own
        self._began_at = -math.inf
        self._heard_at = -math.inf

    def began(self, *, now: float) -> None:
        """Take note of the start."""
        self._began_at = now

    def heard(self, *, now: float) -> None:
        """Take note of a member that was sighted."""
        self._heard_at = now

    def looks_around(self, members: int, *, now: float) -> bool:
        """Whether this node has just started among many."""
        return self._expects_many(members, LOOK_AROUND_S, now=now)

    def takes(self, slot: Slot, *, now: float) -> bool:
        """Whether a member that asks for a link, though it was not chosen, is to be considered now."""
        if now - slot.asked_at < CHOOSE_EVERY_S or now - slot.let_go_at < LET_GO_S:
            return False
        slot.asked_at, slot.resting_until = now, 0.0
        return True

    def tire(self, slots: Collection[Slot], *, now: float) -> None:
        """Where there are many, let rest for a while who is tried in vain."""
        for slot in slots:
            if slot.state is LinkState.LINKED:
                slot.tried_since = now
            elif slot.task is not None and now - slot.tried_since >= VAIN_S:
                slot.resting_until = now + REST_S

    def choose(self, in_place: Collection[Slot], members: int, *, now: float) -> tuple[Sequence[Slot], Sequence[Slot]]:
        """Choose among those that may be dialled; return whom to begin a link with, and whom to let go of."""
        if self.looks_around(members, now=now) and now - self._heard_at < QUIET_S:
            return (), ()
        many = len(in_place) > ALL_UP_TO
        slots = {slot.member.raw_id: slot for slot in in_place if slot.resting_until <= now or not many}
        linked = {raw_id: slot.link for raw_id, slot in slots.items() if slot.state is LinkState.LINKED and slot.link}
        asking = sorted((slot.asked_at, raw_id) for raw_id, slot in slots.items() if now - slot.asked_at < ASKED_S)
        # Who asks goes first: it may know nobody else yet, and learns of the others over this link.
        engaged = [*(raw_id for _, raw_id in asking), *sorted(linked, key=lambda raw_id: linked[raw_id].since)]
        more_to_come = self._expects_many(members, STARTING_S, now=now)
        chosen = choose(self._own, slots, engaged, more_to_come=more_to_come)
        for slot in in_place:
            unwanted = slot.task is not None and slot.member.raw_id not in chosen
            slot.unwanted_since = min(slot.unwanted_since, now) if unwanted else math.inf
        let_go = [slot for slot in in_place if now - slot.unwanted_since >= UNWANTED_S]
        for slot in let_go:
            slot.let_go_at, slot.unwanted_since = now, math.inf
        return [slot for raw_id, slot in slots.items() if raw_id in chosen and slot.task is None], let_go

    def _expects_many(self, members: int, within_s: float, *, now: float) -> bool:
        return members > ALL_UP_TO and now - self._began_at < within_s
