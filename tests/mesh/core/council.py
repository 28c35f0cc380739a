"""Voters of a ledger who sign what honest ones sign, for the tests of what is decided."""

from collections.abc import Sequence
from itertools import cycle

from mesh.core.ballots import MAKE_VOTER, REFRESH, Amendment, Proposal
from mesh.core.entries import Entry
from mesh.core.ledger import Ledger
from mesh.core.membership import Membership
from mesh.core.roll import fold
from mesh.core.voting import VotingLog, next_step
from tests.mesh.core.world import Person


def proposed(ledger: Ledger, person: Person, what: str, whom: Person | None = None, reason: str = "") -> Entry:
    """Have somebody propose something."""
    return person.signs(ledger, Proposal(what, (whom or person).public, reason))


def agree(ledger: Ledger, people: Sequence[Person], *approved: Entry) -> Membership:
    """Have these vote for one of the proposals, in the order of their liking, for as long as anything comes of it."""
    slot, turns, idle = ledger.epoch().tally.slot, cycle(people), 0
    while idle < len(people) and ledger.epoch().tally.slot == slot:
        idle = 0 if _acts(ledger, next(turns), approved) else idle + 1
    return folded(ledger)


def decided(ledger: Ledger, people: Sequence[Person], what: str, whom: Person | None = None) -> Membership:
    """Have the first of these propose something, and all agree."""
    return agree(ledger, people, proposed(ledger, people[0], what, whom))


def amended(ledger: Ledger, people: Sequence[Person], amendment: Amendment) -> Membership:
    """Have the first of these propose other rules, and all agree."""
    return agree(ledger, people, people[0].signs(ledger, amendment))


def voters(ledger: Ledger, *people: Person) -> Ledger:
    """Have the first found nothing new: let the others in, and make voters of them, one after another."""
    founder, *others = people
    for number, person in enumerate(others, 1):
        founder.admits(ledger, person)
        decided(ledger, people[:number], MAKE_VOTER, person)
    return ledger


def refreshed(ledger: Ledger, people: Sequence[Person]) -> Membership:
    """Have these take up what needs nobody's consent."""
    return decided(ledger, people, REFRESH)


def folded(ledger: Ledger) -> Membership:
    """Fold it, and hold the ledger's own view against that."""
    membership = fold(ledger.entries)
    assert ledger.membership() == membership
    return membership


def roles(membership: Membership) -> dict[str, str]:
    """Give everybody's role by name."""
    return {member.name: member.role for member in membership.members.values()}


def _acts(ledger: Ledger, person: Person, approved: Sequence[Entry]) -> bool:
    if not ledger.membership().votes(person.public):
        return False
    epoch = ledger.epoch()
    own = (entry.body for entry in ledger.entries if entry.author == person.public)
    log = VotingLog.of(epoch.tally.slot, own)
    body = next_step(epoch.tally, log, approved=[entry.id for entry in approved])
    if body is not None:
        person.signs(ledger, body)
    return body is not None
