"""Whose entries count; docs/governance.md has the rules in plain words."""

import pytest

from mesh.core.ballots import MAKE_OBSERVER, MAKE_VOTER, SHOW_OUT, Amendment, Commit, Lock, Recovery, Vote
from mesh.core.community_fork import Fork
from mesh.core.entries import Entry, RotateKey
from mesh.core.ledger import Ledger
from mesh.core.roll import fold
from mesh.core.standing import Standing
from tests.mesh.core.council import decided
from tests.mesh.core.world import Person, copy_of, of_the_future

ANNA, BEN, CLEO, DARA = (Person(name) for name in ("Anna", "Ben", "Cleo", "Dara"))


def standing(ledger: Ledger) -> Standing:
    """What a ledger makes of itself."""
    return Standing(ledger.entries, fold(ledger.entries))


def counted(ledger: Ledger, *entries: Entry) -> list[bool]:
    """Which of some entries count."""
    judge = standing(ledger)
    return [judge.counts(entry) for entry in entries]


@pytest.fixture
def ledger() -> Ledger:
    """Anna's community, with Ben."""
    ledger = ANNA.founds()
    ANNA.admits(ledger, BEN)
    return ledger


def test_members_count(ledger: Ledger) -> None:
    """The founder and whom it let in, each by the name it was let in under."""
    entries = [ANNA.publishes(ledger, "one"), BEN.publishes(ledger, "two"), BEN.retires(ledger, "one")]
    assert counted(ledger, *entries) == [True, True, True]
    judge = standing(ledger)
    assert [judge.name_of(one.public) for one in (ANNA, BEN, CLEO)] == ["Anna", "Ben", ""]
    assert [judge.votes(one.public) for one in (ANNA, BEN, CLEO)] == [True, False, False]
    assert [judge.is_voters(one) for one in entries] == [True, False, False]


def test_strangers_do_not_count(ledger: Ledger) -> None:
    """Whom an observer let in, and whom the budget did not hold, were never let in."""
    BEN.admits(ledger, CLEO)
    assert counted(ledger, CLEO.publishes(ledger, "one")) == [False]
    full = ANNA.founds(budget=1)
    ANNA.admits(full, BEN)
    ANNA.admits(full, CLEO)
    assert counted(full, BEN.publishes(full, "one"), CLEO.publishes(full, "two")) == [True, False]


def test_a_fork_counts_nothing_from_there_on(ledger: Ledger) -> None:
    """What was signed before it does; another's entries do too."""
    before = BEN.publishes(ledger, "one")
    place = ledger.next_place(BEN.public)
    forked = [BEN.publishes(ledger, name, place=place) for name in ("two", "three")]
    after = BEN.publishes(ledger, "four")
    assert counted(ledger, before, *forked, after, ANNA.publishes(ledger, "five")) == [True, False, False, False, True]


def test_after_a_removal_nothing_counts(ledger: Ledger) -> None:
    """Neither on top of it nor backdated; what the remover had seen does count."""
    seen = BEN.publishes(ledger, "one")
    place = ledger.next_place(BEN.public)
    apart = copy_of(ledger)
    unseen = BEN.publishes(apart, "at the same time")
    ANNA.removes(ledger, BEN)
    ledger.add(unseen)
    knowing = BEN.publishes(ledger, "on top")
    assert unseen.place == place
    assert counted(ledger, seen, unseen, knowing) == [True, False, False]


def test_who_left_counts_up_to_there(ledger: Ledger) -> None:
    """Leaving is a removal by oneself, and what was published before stands."""
    before = BEN.publishes(ledger, "one")
    BEN.removes(ledger, BEN)
    assert counted(ledger, before, BEN.publishes(ledger, "two")) == [True, False]


def test_a_removal_by_somebody_else_takes_nothing(ledger: Ledger) -> None:
    """Only the founder and the removed one itself are heard."""
    ANNA.admits(ledger, CLEO)
    away = CLEO.removes(ledger, BEN)
    assert counted(ledger, BEN.publishes(ledger, "one"), away) == [True, False]


def test_who_is_let_in_again_counts_again(ledger: Ledger) -> None:
    """From the new admission on; what was signed in between does not count."""
    removal = ANNA.removes(ledger, BEN)
    between = BEN.publishes(ledger, "between")
    ANNA.admits(ledger, BEN)
    again = BEN.publishes(ledger, "again")
    assert counted(ledger, removal, between, again) == [True, False, True]


def test_every_removal_counts(ledger: Ledger) -> None:
    """Who left while it was removed and let in again is let in by an admission that knows of both, or by none."""
    first = BEN.publishes(ledger, "first")
    apart = copy_of(ledger)
    ANNA.removes(ledger, BEN)
    ANNA.admits(ledger, BEN)
    ledger.add(BEN.removes(apart, BEN))
    again = BEN.publishes(ledger, "again")
    assert counted(ledger, first, again) == [True, False]
    ANNA.admits(ledger, BEN)
    assert counted(ledger, first, again, BEN.publishes(ledger, "now")) == [True, False, True]


def test_a_rotated_key_goes_on(ledger: Ledger) -> None:
    """Old and new key count as one person; the old one's later entries do not count."""
    before = BEN.publishes(ledger, "one")
    rotation = BEN.becomes(ledger, CLEO)
    late = BEN.publishes(ledger, "late")
    now = CLEO.publishes(ledger, "two")
    assert counted(ledger, before, rotation, late, now) == [True, True, False, True]
    judge = standing(ledger)
    assert judge.name_of(CLEO.public) == "Ben"
    assert judge.goes_on_from(CLEO.public, BEN.public)
    assert not judge.goes_on_from(BEN.public, CLEO.public)


def test_a_thief_who_forks_a_rotated_key_takes_nothing_back(ledger: Ledger) -> None:
    """What the rotation was built on counts, though the key is forked below it."""
    place = ledger.next_place(BEN.public)
    honest = BEN.publishes(ledger, "one", place=place)
    BEN.becomes(ledger, CLEO)
    stolen = BEN.publishes(ledger, "stolen", place=place)
    assert counted(ledger, honest, stolen) == [True, False]


def test_rotating_to_anothers_key_gains_nothing(ledger: Ledger) -> None:
    """Neither the founder's vote, nor another's name, nor a say over another's publications."""
    ANNA.admits(ledger, CLEO)
    ANNA.admits(ledger, DARA)
    CLEO.becomes(ledger, ANNA)
    DARA.becomes(ledger, BEN)
    judge = standing(ledger)
    assert not judge.votes(CLEO.public)
    assert [judge.name_of(one.public) for one in (ANNA, BEN, CLEO)] == ["Anna", "Ben", "Cleo"]
    assert not judge.goes_on_from(DARA.public, BEN.public)


def test_keys_that_rotate_in_a_circle_end_nowhere(ledger: Ledger) -> None:
    """Each is then the other's past."""
    ANNA.admits(ledger, CLEO)
    BEN.becomes(ledger, CLEO)
    CLEO.becomes(ledger, BEN)
    judge = standing(ledger)
    assert judge.goes_on_from(CLEO.public, BEN.public)
    assert judge.goes_on_from(BEN.public, CLEO.public)


def test_the_founder_who_left_counts_up_to_there(ledger: Ledger) -> None:
    """And lets nobody in any more."""
    before = ANNA.publishes(ledger, "one")
    ANNA.removes(ledger, ANNA)
    late = ANNA.admits(ledger, CLEO)
    assert counted(ledger, before, ANNA.publishes(ledger, "two"), late) == [True, False, False]


def test_entries_of_membership_count_as_membership_has_them(ledger: Ledger) -> None:
    """An observer lets nobody in, a rotation is signed by the key itself, an unknown kind says nothing here."""
    genesis, admission = ledger.entries
    idle = BEN.admits(ledger, CLEO)
    foreign = BEN.signs(ledger, RotateKey(ANNA.public, CLEO.statement))
    future = of_the_future(BEN, ledger, 10)
    ledger.add(future)
    assert counted(ledger, genesis, admission, idle, foreign, future) == [True, True, False, False, False]
    assert counted(ledger, BEN.becomes(ledger, CLEO)) == [True]


def test_parents_may_be_missing(ledger: Ledger) -> None:
    """The rest is judged as far as it goes."""
    BEN.publishes(ledger, "one")
    BEN.publishes(ledger, "two")
    rotation = BEN.becomes(ledger, CLEO)
    without = [entry for entry in ledger.entries if (entry.author, entry.seq) != (BEN.public, 1)]
    judge = Standing(without, fold(without))
    assert judge.counts(rotation)


def test_whose_a_key_is(ledger: Ledger) -> None:
    """The one it was made for before whoever rotated to it; nobody's that was never let in."""
    assert standing(ledger).people_of(BEN.public) == (BEN.public,)
    ANNA.admits(ledger, CLEO)
    CLEO.becomes(ledger, BEN)
    assert standing(ledger).people_of(BEN.public) == (BEN.public, CLEO.public)
    BEN.becomes(ledger, DARA)
    judge = standing(ledger)
    assert set(judge.people_of(DARA.public)) == {BEN.public, CLEO.public}
    assert judge.name_of(DARA.public) == judge.name_of(judge.people_of(DARA.public)[0])
    assert judge.people_of(b"nobody's") == ()


def test_ballots_count_if_their_author_votes_or_did(ledger: Ledger) -> None:
    """Whatever came of them; a fork is anybody's who was let in."""
    ANNA.admits(ledger, CLEO)
    decided(ledger, [ANNA], MAKE_VOTER, BEN)
    mine = [ANNA.signs(ledger, Amendment(0, 0, 5, "")), BEN.signs(ledger, Recovery(DARA.public))]
    theirs = [CLEO.signs(ledger, Amendment(0, 0, 5, "")), CLEO.signs(ledger, Fork(()))]
    assert counted(ledger, *mine) == [True, True]
    assert counted(ledger, *theirs) == [False, True]
    assert counted(ledger, *(one for one in ledger.entries if isinstance(one.body, Vote | Lock | Commit))) == [True] * 3


def test_a_voters_retirement_counts_for_its_term(ledger: Ledger) -> None:
    """Not before it knew that it votes, nor after what ended that, unless that knew of it."""
    before = BEN.retires(ledger, "one")
    decided(ledger, [ANNA], MAKE_VOTER, BEN)
    during = BEN.retires(ledger, "one")
    elsewhere = copy_of(ledger)
    meanwhile = BEN.retires(elsewhere, "two")
    decided(ledger, [ANNA, BEN], MAKE_OBSERVER, BEN)
    ledger.add(meanwhile)
    after = BEN.retires(ledger, "one")
    judge = standing(ledger)
    assert [judge.is_voters(one) for one in (before, during, meanwhile, after)] == [False, True, False, False]
    assert not judge.votes(BEN.public)


def test_who_is_shown_out_by_decision_counts_up_to_the_proposal(ledger: Ledger) -> None:
    """And again from where it was let in anew."""
    ANNA.admits(ledger, CLEO)
    decided(ledger, [ANNA], MAKE_VOTER, BEN)
    known = CLEO.publishes(ledger, "one")
    elsewhere = copy_of(ledger)
    meanwhile = CLEO.publishes(elsewhere, "two")
    decided(ledger, [ANNA, BEN], SHOW_OUT, CLEO)
    ledger.add(meanwhile)
    assert counted(ledger, known, meanwhile) == [True, False]
    BEN.admits(ledger, CLEO)
    assert counted(ledger, known, CLEO.publishes(ledger, "three")) == [True, True]
