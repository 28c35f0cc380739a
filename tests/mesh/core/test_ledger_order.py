"""The ledger is the set of its entries: order, duplicates and detours change nothing."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.core import codec, crypto
from mesh.core.ballots import MAKE_OBSERVER, MAKE_VOTER, REFRESH, SHOW_OUT, Proposal, Recovery
from mesh.core.entries import Admit, Entry, Place, Remove, RotateKey, write_entry
from mesh.core.ledger import (
    LAST_WORDS_BYTES,
    MAX_FEED_BYTES,
    MAX_FOUNDER_FEED_BYTES,
    MAX_VOTER_FEED_BYTES,
    MAX_WAITING,
    Head,
    Ledger,
)
from mesh.core.membership import INVITE_BUDGET, OBSERVER, VOTER, Membership
from mesh.core.pairing import MAX_ADMISSION_BYTES
from mesh.core.roll import fold
from mesh.errors import MalformedError
from tests.mesh.core.council import agree
from tests.mesh.core.world import Person, copy_of, of_the_future

PEOPLE = [Person(name) for name in ("Anna", "Ben", "Cleo", "Dara", "Eli", "Finn")]
ANNA, BEN, CLEO, DARA, ELI, FINN = PEOPLE

PAPERS = [Person(f"{person.name}'s paper") for person in PEOPLE]
DECIDED = {"voter": MAKE_VOTER, "observer": MAKE_OBSERVER, "oust": SHOW_OUT, "refresh": REFRESH}

ACTIONS = st.tuples(
    st.sampled_from(
        [
            "admit",
            "admit",
            "remove",
            "rotate",
            "fork",
            "voter",
            "voter",
            "observer",
            "oust",
            "refresh",
            "paper",
            "recover",
        ]
    ),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 1),
)


def lived(actions: list[tuple[str, int, int, int]]) -> Ledger:
    """Let the six act on two copies of the ledger that meet only at the end, and return the union."""
    copies = [ANNA.founds(), ANNA.founds()]
    everything = copy_of(copies[0])
    for what, author, subject, side in actions:
        ledger, person, other = copies[side], PEOPLE[author], PEOPLE[subject]
        if what == "admit":
            entry = person.admits(ledger, other)
        elif what == "remove":
            entry = person.removes(ledger, other)
        elif what == "rotate":
            entry = person.becomes(ledger, other)
        elif what == "paper":
            entry = person.signs(ledger, Recovery(PAPERS[subject].public))
        elif what == "recover":
            entry = PAPERS[author].signs(ledger, RotateKey(person.public, other.statement))
        elif what in DECIDED:
            entry = person.signs(ledger, Proposal(DECIDED[what], other.public, ""))
            agree(ledger, PEOPLE, entry)
        else:
            place = ledger.next_place(person.public)
            first = Place(0, None, (ledger.community,)) if place.seq == 0 else place
            entry = person.signs(ledger, Remove(other.public, f"fork {side}"), place=first)
        everything.add(entry)
    for entry in (entry for ledger in copies for entry in ledger.entries):
        everything.add(entry)
    return everything


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=14), st.randoms(use_true_random=False))
def test_ledger_any_order_gives_one_membership(actions: list[tuple[str, int, int, int]], rng: random.Random) -> None:
    """However entries arrive, and however often, the same set and the same members come out."""
    ledger = lived(actions)
    shuffled = [*ledger.entries, *ledger.entries[: len(ledger) // 2]]
    rng.shuffle(shuffled)
    other = Ledger(ledger.genesis)
    for entry in shuffled:
        other.add(Entry.parse(entry.raw))
    assert {entry.id for entry in other.entries} == {entry.id for entry in ledger.entries}
    assert fold([*shuffled, ledger.genesis]) == fold(ledger.entries)
    assert {h.author for h in other.heads()} == {h.author for h in ledger.heads()}


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTIONS, max_size=14), st.randoms(use_true_random=False))
def test_ledger_in_any_order_is_at_each_step_what_a_fold_gives(
    actions: list[tuple[str, int, int, int]], rng: random.Random
) -> None:
    """What is kept up as entries come in is what their fold defines."""
    shuffled = [*lived(actions).entries]
    rng.shuffle(shuffled)
    growing = Ledger(lived([]).genesis)
    for entry in shuffled:
        if growing.add(entry):
            assert growing.membership() == fold(growing.entries)


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, max_size=14), st.lists(ACTIONS, max_size=6))
def test_ledger_heads_are_enough_to_meet(
    ours: list[tuple[str, int, int, int]], theirs: list[tuple[str, int, int, int]]
) -> None:
    """Exchanging what the other's heads lack makes two ledgers one, in whatever order they grew."""
    one, two = lived(ours), lived(theirs)
    sizes = (0, 0)
    while sizes != (len(one), len(two)):  # what was waited for may come free and be news in its turn
        sizes = (len(one), len(two))
        for entry in two.missing_at(one.heads()):
            one.add(entry)
        for entry in one.missing_at(two.heads()):
            two.add(entry)
    assert {entry.id for entry in one.entries} == {entry.id for entry in two.entries}
    assert fold(one.entries) == fold(two.entries)


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTIONS, max_size=14), st.integers(0, 14))
def test_ledger_fold_is_total_over_parts_in_order(actions: list[tuple[str, int, int, int]], count: int) -> None:
    """Every part that begins with the genesis folds, and keeps its own laws."""
    membership = fold(lived(actions).entries[: count + 1])
    voters = {member.public for member in membership.members.values() if member.role == VOTER}
    assert voters == {member.public for member in membership.voters.values()}
    assert {seat.public for seat in membership.charter.seats} >= membership.voters.keys()
    assert membership.charter.quorum <= len(membership.charter.seats)
    assert all(raw == member.raw_id == crypto.raw_id(member.public) for raw, member in membership.members.items())
    assert membership.number >= 0
    assert all(left >= 0 for left in membership.invitations.values())


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTIONS, max_size=16))
def test_ledger_what_was_taken_up_needs_not_be_taken_up_again(actions: list[tuple[str, int, int, int]]) -> None:
    """Whatever anybody signed: boards that take up by themselves what needs nobody's consent come to rest."""
    ledger = lived(actions)
    for person in PEOPLE:
        refresh = person.signs(ledger, Proposal(REFRESH, person.public, ""))
        membership = agree(ledger, PEOPLE, refresh)
        assert not (membership.charter.decided == refresh.id and membership.is_stale)


@settings(max_examples=200, deadline=None)
@given(st.lists(ACTIONS, max_size=16), st.randoms(use_true_random=False))
def test_ledger_growth_gives_nothing_back(actions: list[tuple[str, int, int, int]], rng: random.Random) -> None:
    """In whatever order entries come, forks or not, what was taken stays taken.

    The number never falls and rises whenever somebody falls out, a removal lets nobody in, and no key that has been
    rotated away is a member's.
    """
    ledger = lived([("admit", 0, subject, 0) for subject in (1, 2)] + actions)
    rest = [*ledger.entries[1:]]
    rng.shuffle(rest)
    grown = Ledger(ledger.genesis)
    before = fold(grown.entries)
    for entry in rest:
        new = grown.add(entry)
        after = fold(grown.entries)
        assert after.number >= before.number
        if before.members.keys() - after.members.keys():
            assert after.number > before.number
        if all(isinstance(one.body, Remove) for one in new):
            assert after.members.keys() <= before.members.keys()
        rotated = {
            one.author for one in grown.entries if isinstance(one.body, RotateKey) and one.body.old == one.author
        }
        assert rotated.isdisjoint(member.public for member in after.members.values())
        before = after


def folded(ledger: Ledger) -> Membership:
    """Fold a ledger's entries."""
    return fold(ledger.entries)


def names(ledger: Ledger) -> set[str]:
    """The names of its members."""
    return {member.name for member in folded(ledger).members.values()}


def test_a_founder_is_a_voter_and_admits_observers() -> None:
    """The first two rules."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    membership = folded(ledger)
    assert [(m.name, m.role) for m in membership.members.values()] == [("Anna", VOTER), ("Ben", OBSERVER)]
    assert (membership.name, membership.community, membership.number) == ("Harbour", ledger.community, 0)
    assert membership.members[BEN.raw_id].static == BEN.statement.static
    assert membership.members[BEN.raw_id].node_id == BEN.statement.node_id
    assert membership.may_admit(ANNA.public)
    assert not membership.may_admit(BEN.public)
    assert membership.may_remove(ANNA.public, BEN.public)
    assert membership.may_remove(BEN.public, BEN.public)
    assert not membership.may_remove(BEN.public, ANNA.public)
    assert not membership.may_remove(CLEO.public, CLEO.public)


def test_an_observer_admits_nobody_and_nobody_makes_voters() -> None:
    """Such entries are kept and have no effect."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    BEN.admits(ledger, CLEO)
    ANNA.admits(ledger, DARA, role="voter")
    ANNA.admits(ledger, ANNA)
    assert len(ledger) == 5
    assert names(ledger) == {"Anna", "Ben"}


def test_the_budget_bounds_admissions() -> None:
    """What is over it does not count."""
    ledger = ANNA.founds(budget=1)
    ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, CLEO)
    assert names(ledger) == {"Anna", "Ben"}
    assert not folded(ledger).may_admit(ANNA.public)


def test_removed_by_the_founder_and_by_oneself() -> None:
    """Each counts once in the membership number; others' removals do not."""
    ledger = ANNA.founds()
    for person in (BEN, CLEO, DARA):
        ANNA.admits(ledger, person)
    ANNA.removes(ledger, BEN)
    CLEO.removes(ledger, CLEO)
    CLEO.removes(ledger, DARA)
    ANNA.removes(ledger, ELI)
    assert names(ledger) == {"Anna", "Dara"}
    assert folded(ledger).number == 2


def test_who_comes_back_is_a_member_again() -> None:
    """An admission that knows of the removal stands; a repeated old one does not."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    BEN.removes(ledger, BEN)
    assert names(ledger) == {"Anna"}
    ANNA.admits(ledger, BEN)
    assert names(ledger) == {"Anna", "Ben"}
    assert folded(ledger).number == 1


def test_a_removal_outweighs_an_admission_that_knew_nothing_of_it() -> None:
    """Leaving is not undone by an entry signed at the same time elsewhere."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, CLEO)
    CLEO.removes(ledger, CLEO)
    ANNA.admits(ledger, CLEO)
    elsewhere = copy_of(ledger)
    BEN.removes(ledger, BEN)
    ledger.add(ANNA.admits(elsewhere, BEN))
    assert names(ledger) == {"Anna", "Cleo"}


def test_a_founder_that_left_decides_nothing_more() -> None:
    """Its later entries are kept without effect, and its leaving is counted."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    ANNA.removes(ledger, ANNA)
    ANNA.admits(ledger, CLEO)
    assert names(ledger) == {"Ben"}
    assert folded(ledger).number == 1
    assert not folded(ledger).may_admit(ANNA.public)


def test_a_rotated_key_is_the_same_member() -> None:
    """Role and name stay, id and keys change; the founder's new key decides, the old one no more."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    BEN.becomes(ledger, CLEO)
    ANNA.becomes(ledger, DARA)
    ANNA.admits(ledger, ELI)
    DARA.admits(ledger, FINN)
    membership = folded(ledger)
    assert membership.members.keys() == {CLEO.raw_id, DARA.raw_id, FINN.raw_id}
    assert membership.members[CLEO.raw_id].name == "Ben"
    assert membership.members[CLEO.raw_id].static == CLEO.statement.static
    assert membership.members[DARA.raw_id].role == VOTER
    assert membership.number == 2
    assert membership.may_admit(DARA.public)
    DARA.removes(ledger, BEN)
    assert CLEO.raw_id not in folded(ledger).members


def test_a_key_is_rotated_once_and_by_itself() -> None:
    """Second thoughts and another's rotation do not count; who goes on as another member is gone."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    ANNA.admits(ledger, CLEO)
    BEN.becomes(ledger, CLEO)
    CLEO.becomes(ledger, DARA)
    CLEO.becomes(ledger, ELI)
    entry = write_entry(
        ANNA.seed,
        ledger.community,
        ledger.next_place(ANNA.public),
        ANNA.becomes(copy_of(ledger), FINN).body,  # type: ignore[arg-type]  # a RotateKey
    )
    assert entry.author == ANNA.public
    assert folded(ledger).members.keys() == {ANNA.raw_id, DARA.raw_id}
    assert folded(ledger).number == 2


def test_a_stranger_who_rotates_counts_for_nothing() -> None:
    """Neither as a member nor in the number, not even when admitted in a way that does not count."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    BEN.admits(ledger, CLEO)
    CLEO.becomes(ledger, DARA)
    DARA.removes(ledger, DARA)
    assert names(ledger) == {"Anna", "Ben"}
    assert folded(ledger).number == 0


def test_who_signs_two_entries_of_one_seq_is_heard_no_more_from_there() -> None:
    """The fork voids itself and what follows, not what came before."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    elsewhere = copy_of(ledger)
    ANNA.admits(ledger, CLEO)
    other = ANNA.admits(elsewhere, DARA)
    ledger.add(other)
    ANNA.admits(ledger, ELI)
    assert names(ledger) == {"Anna", "Ben"}
    assert other.id in ledger
    assert folded(ledger).invitations[ANNA.public] > 0
    assert not folded(ledger).may_admit(ANNA.public)


def test_a_stolen_key_does_not_undo_its_rotation() -> None:
    """A second entry at the rotation's seq, or below it, changes nothing about who goes on."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    BEN.removes(ledger, DARA)
    place = ledger.next_place(BEN.public)
    BEN.becomes(ledger, CLEO)
    number, members = folded(ledger).number, folded(ledger).members
    assert CLEO.raw_id in members
    BEN.signs(ledger, Remove(DARA.public, "x"), place=place)
    BEN.signs(ledger, Remove(DARA.public, "y"), place=Place(0, None, (ledger.community,)))
    assert (folded(ledger).number, folded(ledger).members) == (number, members)
    assert folded(ledger).equivocations == {}  # none is against a key in use


def test_a_founders_stolen_key_neither_undoes_its_rotation_nor_its_admissions() -> None:
    """What the rotation was built on stands; what the old key admits elsewhere does not."""
    ledger = ANNA.founds()
    place = ledger.next_place(ANNA.public)
    ANNA.admits(ledger, BEN)
    ANNA.becomes(ledger, CLEO)
    ANNA.signs(ledger, Admit(DARA.statement, "Dara", OBSERVER), place=place)
    assert folded(ledger).members.keys() == {BEN.raw_id, CLEO.raw_id}


def test_of_several_rotations_one_counts_for_everyone() -> None:
    """The one of the lowest id; none brings the old key back."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    place = ledger.next_place(BEN.public)
    rotations = [BEN.signs(ledger, RotateKey(BEN.public, new.statement), place=place) for new in (CLEO, DARA, ELI)]
    winner = min(rotations, key=lambda entry: entry.id)
    assert isinstance(winner.body, RotateKey)
    assert folded(ledger).members.keys() == {ANNA.raw_id, winner.body.new.raw_id}
    assert folded(ledger).number == 3


def test_a_key_that_goes_round_in_a_circle_is_nobodys() -> None:
    """The fold ends, and no old key comes back."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    BEN.becomes(ledger, CLEO)
    CLEO.becomes(ledger, BEN)
    assert names(ledger) == {"Anna"}
    ANNA.becomes(ledger, ANNA)
    assert names(ledger) == set()


def test_a_fork_brings_nobody_back() -> None:
    """Neither who left nor whom the founder removed, though either signs a second entry at that seq."""
    ledger = ANNA.founds()
    for person in (BEN, CLEO):
        ANNA.admits(ledger, person)
    bens, annas = ledger.next_place(BEN.public), ledger.next_place(ANNA.public)
    BEN.removes(ledger, BEN)
    ANNA.removes(ledger, CLEO)
    BEN.signs(ledger, Remove(DARA.public, "x"), place=bens)
    ANNA.signs(ledger, Remove(DARA.public, "x"), place=annas)
    assert names(ledger) == {"Anna"}
    assert folded(ledger).number == 2


def test_leaving_again_takes_nothing() -> None:
    """Only the first departure counts, until the node is let in again."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    for number in range(5):
        BEN.signs(ledger, Remove(BEN.public, str(number)))
    assert folded(ledger).number == 1
    ANNA.admits(ledger, BEN)
    assert folded(ledger).number == 1
    BEN.removes(ledger, BEN)
    assert folded(ledger).number == 2


def test_a_ledger_takes_what_fits() -> None:
    """Not another community's, not a stranger's, not one that contradicts its predecessor; forks as they are."""
    ledger = ANNA.founds()
    with pytest.raises(MalformedError):
        ledger.add(ANNA.admits(ANNA.founds(name="Other"), BEN))
    with pytest.raises(MalformedError):
        Ledger(ANNA.admits(ledger, BEN))
    stranger = write_entry(FINN.seed, ledger.community, ledger.next_place(FINN.public), Remove(FINN.public, ""))
    assert ledger.add(stranger) == []
    foreign_prev = write_entry(BEN.seed, ledger.community, Place(1, ledger.genesis.id, ()), Remove(BEN.public, ""))
    assert ledger.add(foreign_prev) == []
    size = len(ledger)
    place = ledger.next_place(BEN.public)
    for number in range(8):
        BEN.signs(ledger, Remove(BEN.public, str(number)), place=place)
    assert len(ledger) == size + 8
    with pytest.raises(MalformedError):
        fold([stranger])


def test_an_entry_waits_for_its_parents() -> None:
    """It is admitted with the last of them, and the waiting room has an end."""
    source = ANNA.founds()
    first, second = ANNA.admits(source, BEN), ANNA.admits(source, CLEO)
    ledger = ANNA.founds()
    assert ledger.add(second) == []
    assert ledger.add(first) == [first, second]
    assert ledger.add(first) == []
    for number in range(MAX_WAITING + 1):
        body = Admit(DARA.statement, str(number + 1), OBSERVER)
        orphan = write_entry(ANNA.seed, ledger.community, Place(9, b"\1" * 32, ()), body)
        ledger.add(orphan)
    assert len(ledger._waiting) == MAX_WAITING


def test_heads_tell_what_is_missing() -> None:
    """Of a feed known in part the rest, of an unknown one everything, of one the other knows better nothing."""
    ledger = ANNA.founds()
    old = ledger.heads()
    entries = [ANNA.admits(ledger, BEN), BEN.removes(ledger, BEN)]
    assert ledger.missing_at(old) == entries
    assert ledger.missing_at([]) == [ledger.genesis, *entries]
    assert ledger.missing_at(ledger.heads()) == []
    assert ANNA.founds().missing_at(ledger.heads()) == []
    assert ledger.missing_at([*old, Head(FINN.public, 3, b"\1" * 32)]) == entries
    assert ledger.missing_at([Head(ANNA.public, 1, b"\1" * 32)]) == list(ledger.entries)


def test_heads_survive_the_wire() -> None:
    """And nothing else is one."""
    head = ANNA.founds().heads()[0]
    assert Head.parse(head.to_item()) == head
    bad: list[codec.Item] = [None, [], [b"", 0, b""], [ANNA.public, -1, ANNA.public], [ANNA.public, 0, b""]]
    for item in bad:
        with pytest.raises(MalformedError):
            Head.parse(item)


def fed(ledger: Ledger, author: Person) -> int:
    """The bytes of one author's entries."""
    return sum(len(entry.raw) for entry in ledger.entries if entry.author == author.public)


def test_an_author_fills_its_feed_and_nothing_else() -> None:
    """Beyond the bound nothing is taken but its leaving and its rotation, and they too come to an end."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    while ledger.add(of_the_future(BEN, ledger, 2000)):
        pass
    assert MAX_FEED_BYTES - 2500 < fed(ledger, BEN) <= MAX_FEED_BYTES
    filled = copy_of(ledger)
    assert BEN.becomes(filled, CLEO).id in filled
    assert folded(filled).members.keys() == {ANNA.raw_id, CLEO.raw_id}
    BEN.removes(ledger, BEN)
    assert names(ledger) == {"Anna"}
    for number in range(40):
        BEN.signs(ledger, Remove(BEN.public, str(number)))
    assert fed(ledger, BEN) <= MAX_FEED_BYTES + LAST_WORDS_BYTES


def test_a_voters_feed_is_longer_under_every_key() -> None:
    """It has admissions to sign, before a rotation and after."""
    ledger = ANNA.founds()
    ANNA.becomes(ledger, BEN)
    for _ in range(3):
        assert ledger.add(of_the_future(BEN, ledger, MAX_FEED_BYTES))


def test_the_feeds_of_all_that_can_be_admitted_fit_an_admission() -> None:
    """So nobody who is let in can keep the next one out, nor do years of deciding."""
    observers, voters = INVITE_BUDGET, 90
    feeds = MAX_FOUNDER_FEED_BYTES + voters * MAX_VOTER_FEED_BYTES + observers * MAX_FEED_BYTES
    feeds += (1 + voters + observers) * LAST_WORDS_BYTES
    keys_grant_and_heads_of_items = 2**18
    assert feeds + keys_grant_and_heads_of_items < MAX_ADMISSION_BYTES


def test_a_fork_comes_after_everything_else() -> None:
    """Unless somebody built on it; and what the other holds of it is not sent again."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    other = copy_of(ledger)
    place = ledger.next_place(BEN.public)
    forks = [BEN.signs(ledger, Remove(DARA.public, str(number)), place=place) for number in range(3)]
    last = ANNA.signs(ledger, Admit(CLEO.statement, "Cleo", OBSERVER))
    assert set(last.deps) == {entry.id for entry in forks}
    assert [entry.id for entry in ledger.missing_at(other.heads())][-1] == last.id
    late = BEN.signs(ledger, Remove(DARA.public, "late"), place=place)
    assert ledger.missing_at(other.heads())[-1] == late
    assert len(ledger.heads()) == 5
    assert ledger.heads()[0].author == ANNA.public
    for entry in forks[:2]:
        other.add(entry)
    assert {entry.id for entry in ledger.missing_at(other.heads())} == {forks[2].id, last.id, late.id}
    assert ledger.missing_at(ledger.heads()) == []


def test_the_branch_that_was_here_first_is_told_once() -> None:
    """From the fork on, when the second branch comes; not for news that fork nothing, nor for a third branch."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    BEN.signs(ledger, Remove(DARA.public, "common"))
    branches = [copy_of(ledger) for _ in range(3)]
    signed = [
        [BEN.signs(branch, Remove(DARA.public, f"{n} {m}")) for m in range(2)] for n, branch in enumerate(branches)
    ]
    here = branches[0]
    assert here.rivals_of(here.add(ANNA.admits(copy_of(ledger), CLEO))) == []
    assert here.rivals_of(here.add(CLEO.signs(copy_of(here), Remove(CLEO.public, "its first")))) == []
    second = [new for entry in signed[1] for new in here.add(entry)]
    assert here.rivals_of(second) == here.rivals_of(second[::-1]) == signed[0]
    assert here.rivals_of([new for entry in signed[2] for new in here.add(entry)]) == []


def test_an_unknown_kind_is_kept_and_passed_on_and_never_acted_on() -> None:
    """Whoever signs it, others can build on it, and it changes nothing of who belongs."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    before, heads = folded(ledger), ledger.heads()
    unknown = [of_the_future(person, ledger, 10) for person in (ANNA, BEN)]
    for entry in unknown:
        assert ledger.add(entry) == [entry]
    assert folded(ledger) == before
    assert ledger.missing_at(heads) == unknown
    assert {*unknown[0].parents, *ANNA.admits(ledger, CLEO).parents} >= {entry.id for entry in unknown}
